/* A 3x3 convolution of a map enlarged by 2 is, for each parity 2 (y mod 2) + (x mod 2) of output pixels, a 2x2 convolution of
 * the map itself. */
#ifndef VIPO_COMPUTE_BLOCKED_UPSAMPLE_TAPS_H
#define VIPO_COMPUTE_BLOCKED_UPSAMPLE_TAPS_H

#include "compute/ops.h"

enum { UPSAMPLE_PARITIES = 4, UPSAMPLE_TAPS = 4 /* of a parity */ };

/* Sets of panels of a kind: one for each parity. */
static inline int upsample_parities(vipo_weight_kind kind)
{
    return kind == VIPO_WEIGHT_3X3_UPSAMPLE2 ? UPSAMPLE_PARITIES : 1;
}

/* Which of the three taps of an axis reach input pixel `tap` (0 or 1) of the 2-tap filter of a parity: the
 * enlarged picture's pixels 2 i + parity - 1, + 0, + 1 are input pixels i - 1, i, i for parity 0 and i, i,
 * i + 1 for parity 1. */
static inline void upsample_taps(int parity, int tap, int *first, int *end)
{
    *first = tap == 0 ? 0 : parity == 0 ? 1 : 2;
    *end = tap == 1 ? 3 : parity == 0 ? 1 : 2;
}

/* Weight of tap 2 y + x of a parity: the sum of those that it stands for, of nine that lie `step` floats apart. */
static inline float upsample_weight(const float *weights, size_t step, int parity, int tap)
{
    int y0, y1, x0, x1;
    upsample_taps(parity / 2, tap / 2, &y0, &y1);
    upsample_taps(parity % 2, tap % 2, &x0, &x1);
    double sum = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) sum += (double)weights[(size_t)(y * 3 + x) * step];
    return (float)sum;
}

#endif
