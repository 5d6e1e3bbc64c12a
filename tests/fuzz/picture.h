/* What the picture targets share. */
#ifndef VIPO_TESTS_FUZZ_PICTURE_H
#define VIPO_TESTS_FUZZ_PICTURE_H

#include "fuzz.h"

/* Reads the bytes as a picture file. A picture is used as any: preprocessed, written as PNG and read again. Pictures
 * of more than 4 Mi pixels are only looked at by their headers, for speed. */
void fuzz_picture(const uint8_t *data, size_t size);

#endif
