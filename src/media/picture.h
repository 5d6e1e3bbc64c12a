/* What the picture codecs share. A picture is the public vipo_image: RGB8, [height][width][3]. */
#ifndef VIPO_MEDIA_PICTURE_H
#define VIPO_MEDIA_PICTURE_H

#include <stdio.h>

#include "core/mapped_file.h"
#include "core/status.h"

/* Limits of everything that is read or drawn. */
enum { VIPO_PICTURE_MAX_SIDE = 16384, VIPO_PICTURE_MAX_PIXELS = 64 * 1024 * 1024 };

/* VIPO_UNSUPPORTED if a side is outside 1..16384 or there are more than 64 Mi pixels; `name` begins the
 * message. */
vipo_status vipo_picture_check_size(const char *name, size_t height, size_t width, vipo_error *error);

/* A black picture of that size, sizes checked; release with vipo_image_free. Zeroed on failure. */
vipo_status vipo_picture_alloc(vipo_image *out, const char *name, size_t height, size_t width,
                               vipo_error *error);

/* Decoders of a whole file in memory; `name` is for messages. Pixel values are taken as they are: no
 * gamma, no colour profile, no EXIF rotation, as AVDC's loader (Pillow) leaves them. */
bool vipo_png_matches(const vipo_mapped_file *file);
vipo_status vipo_png_decode(const vipo_mapped_file *file, const char *name, vipo_image *out,
                            vipo_error *error);
bool vipo_jpeg_matches(const vipo_mapped_file *file);
vipo_status vipo_jpeg_decode(const vipo_mapped_file *file, const char *name, vipo_image *out,
                             vipo_error *error);

/* Encodes to an open stream; a stream that fails is an error here or, because of buffering, when it is
 * closed. */
vipo_status vipo_png_encode(FILE *stream, const char *name, const vipo_image *image, vipo_error *error);

#endif
