/* Text files the command writes itself: a temporary file beside the destination, renamed when it is
 * complete. (The library does the same for pictures and arrays.) */
#ifndef VIPO_TOOLS_OUTPUT_H
#define VIPO_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

typedef struct output {
    FILE *stream;           /* NULL: closed */
    char *path, *temporary; /* the same text for a destination that is written directly */
} output;

/* Can `path` be written? Asked before the work is done. message: MESSAGE_SIZE bytes (options.h). */
bool output_check(const char *path, char *message);

/* Lines reach the file as they are written. */
bool output_open(output *out, const char *path, char *message);
bool output_commit(output *out, char *message); /* closes in every case */
void output_abandon(output *out);               /* accepts a closed or zeroed one */

/* Bytes of a file, -1 if it cannot be told. */
double file_bytes(const char *path);

#endif
