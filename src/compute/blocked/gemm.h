/* The one matrix product under all ops: out[row][column] = init + bias + sum over segments of a b, where a
 * segment names for every row where its k contiguous inputs lie, so that convolutions need no copy of their
 * inputs (README.md). */
#ifndef VIPO_COMPUTE_BLOCKED_GEMM_H
#define VIPO_COMPUTE_BLOCKED_GEMM_H

#include "compute/blocked/simd.h"
#include "compute/ops.h"

enum {
    PANEL = 2 * LANES,               /* columns of a panel; the last may be LANES wide */
    TILE_ROWS = LANES == 16 ? 8 : 6, /* rows held in registers */
    CHUNK_K = 1024, /* depth whose panel piece shares L2 with the inputs; bounds rounding too */
    GEMM_SEGMENTS = VIPO_MAX_WINDOW, /* or three frames and two skip sources */
};

/* Rows are byte offsets from a base; entry r belongs to row r. */
struct gemm_segment {
    const float *a;
    const ptrdiff_t *rows;
    int k;
    const float *weights; /* panels, [panel][weights_k][columns of the panel] */
    int weights_k;        /* depth of a panel */
    int first_k;          /* where in it this segment begins */
};

struct gemm {
    int rows, columns;
    int n_segments;
    struct gemm_segment segments[GEMM_SEGMENTS];
    const float *bias; /* [columns rounded up to LANES], NULL: 0 */
    const float *init; /* NULL: 0; may be out itself */
    const ptrdiff_t *init_rows;
    float *out;
    const ptrdiff_t *out_rows;
};

static inline int panel_count(int columns)
{
    return (columns + PANEL - 1) / PANEL;
}

static inline size_t padded_columns(int columns)
{
    return ((size_t)columns + LANES - 1) / LANES * LANES;
}

/* Columns of a panel as it is stored: PANEL or LANES. */
static inline int panel_width(int columns, int panel)
{
    return columns - panel * PANEL <= LANES ? LANES : PANEL;
}

/* out = a b for one whole panel: rows at byte offsets, weights [k][width] floats, or halves. */
void BLOCKED(gemm_panel)(int rows, int k, const float *a, const ptrdiff_t *a_rows, const float *weights,
                         int width, float *out, const ptrdiff_t *out_rows);
void BLOCKED(gemm_half_panel)(int rows, int k, const float *a, const ptrdiff_t *a_rows,
                              const uint16_t *weights, int width, float *out, const ptrdiff_t *out_rows);

/* Panels [first, end) of all rows. */
void BLOCKED(gemm)(const struct gemm *gemm, int first_panel, int end_panel);

#endif
