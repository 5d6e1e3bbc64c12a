/* A text that grows. */
#ifndef VIPO_EVAL_TEXT_H
#define VIPO_EVAL_TEXT_H

#include <stdarg.h>

#include "core/status.h"

typedef struct vipo_text {
    char *data; /* ends with 0; NULL: empty */
    size_t size, room;
    bool failed; /* out of memory: nothing more is added */
} vipo_text;

void vipo_text_add(vipo_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vipo_text_add_bytes(vipo_text *text, const char *bytes, size_t n);
/* With &, <, >, " and ' as HTML has them. */
void vipo_text_add_html(vipo_text *text, const char *plain);
/* With | and line ends as a Markdown table has them. */
void vipo_text_add_cell(vipo_text *text, const char *plain);
/* In quotes if it needs them. */
void vipo_text_add_csv(vipo_text *text, const char *plain);
void vipo_text_add_base64(vipo_text *text, const uint8_t *bytes, size_t n);

/* Hands the text over: *out is owned by the caller. Releases the struct in every case. */
vipo_status vipo_text_take(vipo_text *text, char **out, vipo_error *error);

#endif
