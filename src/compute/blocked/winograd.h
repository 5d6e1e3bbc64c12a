/* Winograd's minimal filtering F(m, 3) of one axis: m outputs of three taps from m + 2 products (Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2015). y = A^T ((G w) . (B^T x)).
 *
 * F(4, 3) uses the points 0, +-1/sqrt 2, +-sqrt 2 and infinity, whose rounding error is a third of that of 0, +-1,
 * +-2 (points of this kind: Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution",
 * 2020); F(2, 3) uses 0, +-1 and infinity. */
#ifndef VIPO_COMPUTE_BLOCKED_WINOGRAD_H
#define VIPO_COMPUTE_BLOCKED_WINOGRAD_H

#include "compute/blocked/simd.h"
#include "compute/ops.h"

/* Loops over the products of an axis unroll only where the callers are inlined. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { WINOGRAD_MOST = 6 /* products of an axis */ };

#define WINOGRAD_A 0.70710678118654752440 /* points +-A, +-B; A^2 = 1/2, B^2 = 2, A B = 1 */
#define WINOGRAD_B 1.41421356237309504880

/* Outputs of a tile along one axis: 2 or 4. */
static inline int winograd_outputs(vipo_method method)
{
    return method == VIPO_METHOD_WINOGRAD_4 ? 4 : 2;
}

/* G of F(2, 3) and F(4, 3). */
static const double winograd_filter_2[4][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
static const double winograd_filter_4[6][3] = {
    {1, 0, 0},
    {-2 / 3., -2 / 3. * WINOGRAD_A, -1 / 3.},
    {-2 / 3., 2 / 3. * WINOGRAD_A, -1 / 3.},
    {1 / 6., 1 / 6. * WINOGRAD_B, 1 / 3.},
    {1 / 6., -1 / 6. * WINOGRAD_B, 1 / 3.},
    {0, 0, 1},
};

/* B^T of F(4, 3): six inputs at x[0], x[x_step], ... to six at y. */
static ALWAYS_INLINE void winograd_input_4(vfloat *y, int y_step, const vfloat x[6])
{
    const vfloat two = v_set(2), half = v_set(.5f);
    const vfloat even_a = v_fnma(two, x[2], x[4]);
    const vfloat odd_a = v_mul(v_set((float)WINOGRAD_A), v_fnma(two, x[1], x[3]));
    const vfloat even_b = v_fnma(half, x[2], x[4]);
    const vfloat odd_b = v_mul(v_set((float)WINOGRAD_B), v_fnma(half, x[1], x[3]));
    y[0] = v_fnma(v_set(2.5f), x[2], v_add(x[0], x[4]));
    y[y_step] = v_add(even_a, odd_a);
    y[2 * y_step] = v_sub(even_a, odd_a);
    y[3 * y_step] = v_add(even_b, odd_b);
    y[4 * y_step] = v_sub(even_b, odd_b);
    y[5 * y_step] = v_fnma(v_set(2.5f), x[3], v_add(x[1], x[5]));
}

/* A^T of F(4, 3): six products to four outputs. */
static ALWAYS_INLINE void winograd_output_4(vfloat *y, int y_step, const vfloat m[6])
{
    const vfloat even_a = v_add(m[1], m[2]), odd_a = v_sub(m[1], m[2]);
    const vfloat even_b = v_add(m[3], m[4]), odd_b = v_sub(m[3], m[4]);
    const vfloat a = v_set((float)WINOGRAD_A), b = v_set((float)WINOGRAD_B);
    const vfloat a3 = v_set((float)(WINOGRAD_A / 2)), b3 = v_set((float)(2 * WINOGRAD_B));
    y[0] = v_add(m[0], v_add(even_a, even_b));
    y[y_step] = v_fma(a, odd_a, v_mul(b, odd_b));
    y[2 * y_step] = v_fma(v_set(.5f), even_a, v_add(even_b, even_b));
    y[3 * y_step] = v_fma(a3, odd_a, v_fma(b3, odd_b, m[5]));
}

/* The same of F(2, 3). */
static ALWAYS_INLINE void winograd_input_2(vfloat *y, int y_step, const vfloat x[4])
{
    y[0] = v_sub(x[0], x[2]);
    y[y_step] = v_add(x[1], x[2]);
    y[2 * y_step] = v_sub(x[2], x[1]);
    y[3 * y_step] = v_sub(x[3], x[1]);
}

static ALWAYS_INLINE void winograd_output_2(vfloat *y, int y_step, const vfloat m[4])
{
    y[0] = v_add(m[0], v_add(m[1], m[2]));
    y[y_step] = v_add(v_sub(m[1], m[2]), m[3]);
}

#endif
