/* How the transformed inputs V of a Winograd convolution lie and what multiplies them: floats and gemm_panel, or, in the copy
 * compiled with VIPO_SPLIT, high and low parts and AMX (amx/split.h). */
#ifndef VIPO_COMPUTE_BLOCKED_WINOGRAD_V_H
#define VIPO_COMPUTE_BLOCKED_WINOGRAD_V_H

#include "compute/blocked/winograd.h"
#include "compute/blocked/winograd_space.h"
#ifdef VIPO_SPLIT
#include "compute/amx/split.h"
#endif

/* Numbers [c, c + LANES) of a row of V with `channels` of them; those from `channels` on are 0. */
static ALWAYS_INLINE void put_v(float *row, int channels, int c, vfloat x)
{
#ifdef VIPO_SPLIT
    char *const high = (char *)row + (size_t)c * sizeof(uint16_t);
    split_vector(high, high + (size_t)split_chunks(channels) * SPLIT_CHUNK_BYTES, x, channels - c);
#else
    (void)channels;
    v_store(row + c, x);
#endif
}

/* One panel of all products: m = v w, row by row. */
struct v_product {
    int products, rows;
    const float *v;                   /* row 0 of product 0 */
    float *m;                         /* [PANEL] a row */
    size_t v_product, m_product;      /* floats */
    const ptrdiff_t *v_rows, *m_rows; /* bytes */
};

#ifdef VIPO_SPLIT

enum {
    V_CHANNELS = SPLIT_CHUNK, /* rows hold multiples of it */
    V_ROWS = 16,              /* of a tile of a product */
    V_SLACK = SPLIT_ROWS,     /* rows that may be read behind the last */
    M_ROWS = SPLIT_ROWS,      /* of M are written together */
    LEAST_TILES = 32,         /* of a block, however many channels */
};

static inline size_t v_row_floats(int channels)
{
    return split_pitch(channels) / sizeof(float);
}

/* Cycles of one input channel, a vector of outputs and `tiles` rows of a product, roughly. */
static inline double product_cycles(int tiles)
{
    return .12 * (parts(tiles, V_ROWS) * V_ROWS) + 6;
}

/* Weights: [panel][product][chunk]. */
static inline void multiply_v(const struct v_product *p, const vipo_packed *weights, int panel)
{
    const int width = panel_width(weights->out, panel), chunks = split_chunks(weights->in);
    const size_t pitch = split_pitch(weights->in), bytes = (size_t)chunks * split_weight_bytes(width);
    struct split_product product = {
        .pitch = pitch,
        .low = (size_t)chunks * SPLIT_CHUNK_BYTES,
        .n = chunks,
        .weights = (const char *)(weights->data +
                                  (size_t)(p->products * chunks * SPLIT_CHUNK) * (size_t)panel * PANEL),
        .width = width,
    };
    vipo_split_begin();
    for (int i = 0; i < p->products; i++, product.weights += bytes)
        for (int row = 0; row < p->rows; row += SPLIT_ROWS) {
            product.a = (const char *)(p->v + (size_t)i * p->v_product) + (size_t)row * pitch;
            vipo_split_multiply(&product, least(p->rows - row, SPLIT_ROWS), false,
                                p->m + (size_t)i * p->m_product + (size_t)row * PANEL);
        }
    vipo_split_end();
}

#else

enum {
    V_CHANNELS = LANES,
    V_ROWS = TILE_ROWS,
    V_SLACK = 0,
    M_ROWS = 1,
    LEAST_TILES = LANES == 16 ? 16 : 24,
};

static inline size_t v_row_floats(int channels)
{
    return padded_columns(channels);
}

static inline double product_cycles(int tiles)
{
    return .5 * (tiles + parts(tiles, V_ROWS) * V_ROWS) + 6;
}

/* Weights: [panel][product][input]. */
static inline void multiply_v(const struct v_product *p, const vipo_packed *weights, int panel)
{
    const int width = panel_width(weights->out, panel);
    const size_t step = (size_t)weights->in * (size_t)width;
    size_t at = (size_t)p->products * (size_t)weights->in * (size_t)panel * PANEL;
    const uint16_t *const halves = (const void *)weights->data;
    for (int i = 0; i < p->products; i++, at += step) {
        const float *const v = p->v + (size_t)i * p->v_product;
        float *const m = p->m + (size_t)i * p->m_product;
        if (weights->half)
            BLOCKED(gemm_half_panel)(p->rows, weights->in, v, p->v_rows, halves + at, width, m, p->m_rows);
        else
            BLOCKED(gemm_panel)(p->rows, weights->in, v, p->v_rows, weights->data + at, width, m, p->m_rows);
    }
}

#endif

#endif
