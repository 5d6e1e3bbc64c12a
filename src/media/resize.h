/* Geometry of RGB8 pictures. Outputs belong to the caller (vipo_image_free); zeroed on failure. */
#ifndef VIPO_MEDIA_RESIZE_H
#define VIPO_MEDIA_RESIZE_H

#include "core/status.h"

/* Pillow's Image.resize with the BILINEAR filter, bit for bit: a triangle filter that widens with the
 * reduction, columns first, rounded to 8 bits between the passes. VIPO_UNSUPPORTED for sizes outside
 * media/picture.h's limits, VIPO_OUT_OF_MEMORY. */
vipo_status vipo_resize_bilinear(const vipo_image *in, int height, int width, vipo_image *out,
                                 vipo_error *error);

/* torchvision's CenterCrop: an odd margin is halved and rounded to the even number. Where torchvision
 * would pad, VIPO_MISMATCH. */
vipo_status vipo_crop_centre(const vipo_image *in, int height, int width, vipo_image *out, vipo_error *error);

/* First row (column) that a centre crop from `size` to `cropped` keeps; cropped <= size. */
int vipo_crop_offset(int size, int cropped);

/* Mean of n x n boxes, halves rounded up ((a+b+c+d+2)>>2 for n = 2). VIPO_MISMATCH if a side is no
 * multiple of n. */
vipo_status vipo_box_mean(const vipo_image *in, int n, vipo_image *out, vipo_error *error);

#endif
