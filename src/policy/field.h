/* Maps read between their pixels. */
#ifndef VIPO_POLICY_FIELD_H
#define VIPO_POLICY_FIELD_H

#include "core/status.h"

enum { VIPO_FIELD_CHANNELS = 2 };

/* [height][width][channels], borrowed; channels at most VIPO_FIELD_CHANNELS. */
typedef struct vipo_field {
    const float *data;
    int height, width, channels;
} vipo_field;

/* Bilinear as AVDC's manipulation code: corners trunc(u) and one further, the fraction from there, so that it goes on
 * linearly for u in (-1, 0). False where that code fails, u >= width - 1 or v >= height - 1; its negative indices count
 * from the end, as NumPy's do. */
bool vipo_field_read_strict(const vipo_field *field, const double uv[2], double *out);
/* Bilinear as AVDC's navigation code: the nearest inside where uv is outside. uv finite. */
void vipo_field_read_clamped(const vipo_field *field, const double uv[2], double *out);
/* Largest minus smallest of channel 0 at the four corners of a clamped read; NAN if one is not finite. */
double vipo_field_span(const vipo_field *field, const double uv[2]);

#endif
