/* A palette of 256 colours for a set of pictures. */
#ifndef VIPO_MEDIA_PALETTE_H
#define VIPO_MEDIA_PALETTE_H

#include "core/status.h"

enum { VIPO_PALETTE_MAX = 256 };

typedef struct vipo_palette {
    int count;
    uint8_t colours[VIPO_PALETTE_MAX][3];
} vipo_palette;

typedef struct vipo_histogram vipo_histogram;

/* Counts of colours in cells of 4 x 4 x 4 levels. */
vipo_status vipo_histogram_open(vipo_histogram **out, vipo_error *error);
void vipo_histogram_close(vipo_histogram **histogram);
void vipo_histogram_add(vipo_histogram *histogram, const uint8_t colour[3]);

/* The palette begins with the given colours (at most 64) and goes on with up to 256 in all that fit the
 * histogram: median cut by variance, then a few rounds of k-means. *rms is the root mean square error of
 * a channel in levels. */
vipo_status vipo_palette_build(vipo_palette *out, const uint8_t (*fixed)[3], int n_fixed,
                               const vipo_histogram *histogram, double *rms, vipo_error *error);

/* Index of the nearest colour. */
int vipo_palette_nearest(const vipo_palette *palette, const uint8_t colour[3]);

#endif
