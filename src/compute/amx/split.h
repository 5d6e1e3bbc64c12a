/* Products of float32 numbers by AMX, whose tiles multiply bfloat16 (8 significant bits) and add in float32. Every number
 * is split into two: x = high + low + what is left, high = bf16(x), low = bf16(x - high), and
 *
 *   x w  ~  low(x) high(w) + high(x) high(w) + high(x) low(w)
 *
 * is wrong by about 2^-18, the product of both low parts and what is left of both numbers (the splitting is Dekker's, "A
 * floating-point technique for extending the available precision", 1971; three products of bfloat16 parts as in Henry, Tang
 * and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations", 2019). Numbers
 * below 1.2e-38 count as 0, infinite ones may become NaN.
 *
 * Chunks: 32 inputs of a tap, padded with zeros where channels end. The split inputs of a pixel are [high of all
 * channels][low of all channels]. Packed weights are [panel of 32 or 16 outputs][chunk][high, low][16 outputs]: tiles of 1 KB,
 * 16 pairs of inputs x 16 outputs x 2. */
#ifndef VIPO_COMPUTE_AMX_SPLIT_H
#define VIPO_COMPUTE_AMX_SPLIT_H

#include <math.h>

#include "compute/blocked/blocked.h"

enum {
    SPLIT_CHUNK = 32,       /* inputs of a tile's row */
    SPLIT_CHUNK_BYTES = 64, /* of high or low parts */
    SPLIT_TILE_BYTES = 1024,
    SPLIT_ROWS = 32,                   /* pixels of a product: two tiles */
    SPLIT_SUMS = SPLIT_ROWS * PANEL,   /* floats */
    SPLIT_SUMS_BYTES = SPLIT_SUMS * 4, /* of a thread's scratch */
};

static inline int split_chunks(int channels)
{
    return parts(channels, SPLIT_CHUNK);
}

/* Bytes from pixel to pixel: high and low parts, and a cache line more where rows of tiles would fall into few sets of the
 * first-level cache. */
static inline size_t split_pitch(int channels)
{
    const size_t bytes = (size_t)split_chunks(channels) * 2 * SPLIT_CHUNK_BYTES;
    return bytes >= 1024 ? bytes + 64 : bytes;
}

/* Bytes of one chunk's weights in a panel. */
static inline size_t split_weight_bytes(int width)
{
    return (size_t)(width / LANES) * 2 * SPLIT_TILE_BYTES;
}

/* The first n numbers of a vector as 16 high and 16 low parts; the others, and the low parts of numbers that are not finite, are
 * 0. */
static inline void split_vector(char *high, char *low, vfloat x, int n)
{
    if (n < LANES) x = _mm512_maskz_mov_ps(n > 0 ? v_mask(n) : 0, x);
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(x);
    const vfloat back = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
    const __mmask16 finite = _mm512_cmp_ps_mask(v_abs(back), v_set((float)INFINITY), _CMP_LT_OQ);
    _mm256_storeu_si256((__m256i *)(void *)high, rounded);
    _mm256_storeu_si256((__m256i *)(void *)low,
                        (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_sub_ps(finite, x, back)));
}

/* Up to SPLIT_ROWS pixels times one panel. Memory is read for 16 or 32 pixels. */
struct split_product {
    const char *a;           /* high parts of the first pixel */
    size_t pitch, low;       /* bytes to the next pixel; to the low parts */
    const ptrdiff_t *chunks; /* where each chunk begins, bytes from a; NULL: one behind the other */
    int n;                   /* chunks, at least 1 */
    const char *weights;     /* of the first chunk */
    int width;               /* LANES or PANEL */
};

/* Tiles are there between these two, for the calling thread. */
void vipo_split_begin(void);
void vipo_split_end(void);

/* sums[pixel][PANEL] = or += product: the first `rows` pixels, `width` of each. */
void vipo_split_multiply(const struct split_product *product, int rows, bool add, float *sums);

/* Splits the `channels` floats of n pixels, which lie side by side. */
void vipo_split_pixels(char *out, size_t pitch, const float *x, int channels, int n);

/* Weights of input 0..31 of a chunk and a panel's outputs, line[width]; inputs that are never stored have to be 0 already. */
void vipo_split_store_weights(float *chunk, int width, int input, const float *line);

bool vipo_split_knows(const vipo_layer *layer);
size_t vipo_split_weight_floats(const vipo_layer *layer);
void vipo_split_pack(const vipo_layer *layer, const float *weights, float *memory, vipo_pool *pool);

size_t vipo_split_space_scratch(const vipo_conv_space *args);
void vipo_split_space(const vipo_compute *compute, const vipo_conv_space *args);
size_t vipo_split_time_scratch(const vipo_conv_time *args);
void vipo_split_time(const vipo_compute *compute, const vipo_conv_time *args);

#endif
