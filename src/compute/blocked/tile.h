/* The microkernel: up to TILE_ROWS rows of one panel, accumulators in registers. */
#ifndef VIPO_COMPUTE_BLOCKED_TILE_H
#define VIPO_COMPUTE_BLOCKED_TILE_H

#include "compute/blocked/gemm.h"

/* Read by assembly at 8-byte steps: a, rows, k, b. */
struct tile_segment {
    const float *a;
    const ptrdiff_t *rows; /* byte offsets of the rows of tile 0 from a */
    size_t k;              /* >= 1 */
    const void *b;         /* [k][panel width] floats, or halves */
};

struct tile {
    const struct tile_segment *segments, *end; /* at least one */
    size_t first;                              /* bytes to add to each segment's rows: 8 x first row */
    const float *init;
    const ptrdiff_t *init_rows;
    const float *bias; /* [panel width] */
    float *out;
    const ptrdiff_t *out_rows;
};

typedef void tile_kernel(const struct tile *tile);

/* Kernels for [rows - 1][vectors of the panel - 1]; weights are float, or IEEE binary16. */
extern tile_kernel *const BLOCKED(tile_kernels)[TILE_ROWS][2];
extern tile_kernel *const BLOCKED(half_tile_kernels)[TILE_ROWS][2];

#endif
