/* Numbers in text have a point, also in a program that has set a locale where they have a comma (setlocale): what is stored,
 * hashed and compared is the same everywhere. */
#ifndef VIPO_CORE_NUMBER_H
#define VIPO_CORE_NUMBER_H

#include <locale.h>
#include <stddef.h>

double vipo_strtod(const char *text, char **end);
__attribute__((format(printf, 3, 4))) int vipo_snprintf(char *out, size_t size, const char *format, ...);

/* The same for all that the calling thread does in between, which should be nothing of others: no callbacks. */
locale_t vipo_points_begin(void);
void vipo_points_end(locale_t before);

#endif
