#include "core/torch_rng.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 16 };

void vipo_torch_rng_seed(vipo_torch_rng *rng, uint64_t seed)
{
    memset(rng, 0, sizeof *rng);
    vipo_mt19937_seed(&rng->mt, (uint32_t)seed);
}

/* [0, 1) with 24 and with 53 bits */
static float uniform_float(vipo_torch_rng *rng)
{
    return (float)(vipo_mt19937_next(&rng->mt) & 0xffffffU) * 0x1p-24F;
}

static double uniform_double(vipo_torch_rng *rng)
{
    const uint64_t high = vipo_mt19937_next(&rng->mt);
    return (double)((high << 32 | vipo_mt19937_next(&rng->mt)) & 0x1fffffffffffffU) * 0x1p-53;
}

/* The single-precision logarithm of the Cephes library (S. Moshier, logf.c) in the order of operations of
 * PyTorch's vector code as compiled with fused multiply-add; x in (0, 1]. */
static float cephes_log(float x)
{
    static const float p[] = {7.0376836292e-2F,  -1.1514610310e-1F, 1.1676998740e-1F,
                              -1.2420140846e-1F, 1.4249322787e-1F,  -1.6668057665e-1F,
                              2.0000714765e-1F,  -2.4999993993e-1F, 3.3333331174e-1F};
    int exponent;
    float m = frexpf(x, &exponent);
    if (m < 0.707106781186547524F) {
        exponent--;
        m += m;
    }
    m -= 1;
    const float e = (float)exponent, square = m * m;
    float y = p[0];
    for (int i = 1; i < 9; i++) y = fmaf(y, m, p[i]);
    y = fmaf(y * m, square, e * -2.12194440e-4F);
    y = fmaf(square, -0.5F, y);
    return fmaf(e, 0.693359375F, m + y);
}

/* Sine and cosine in the same way (Cephes, sinf.c); 0 <= x <= 2 pi. */
static void cephes_sine_cosine(float x, float *sine, float *cosine)
{
    const int octant = ((int)(x * 1.27323954473516F) + 1) & ~1;
    const float n = (float)octant;
    float r = fmaf(n, -0.78515625F, x); /* x - n pi/4 in three parts */
    r = fmaf(n, -2.4187564849853515625e-4F, r);
    r = fmaf(n, -3.77489497744594108e-8F, r);
    const float z = r * r;
    float c = fmaf(2.443315711809948e-5F, z, -1.388731625493765e-3F);
    c = fmaf(c, z, 4.166664568298827e-2F);
    c = fmaf(c * z, z, -0.5F * z) + 1;
    float s = fmaf(-1.9515295891e-4F, z, 8.3321608736e-3F);
    s = fmaf(s, z, -1.6666654611e-1F);
    s = fmaf(s * z, r, r);
    *sine = octant & 2 ? c : s;
    *cosine = octant & 2 ? s : c;
    if (octant & 4) *sine = -*sine;
    if ((octant + 2) & 4) *cosine = -*cosine;
}

/* Box-Muller on 8 + 8 uniforms in place. */
static void transform_block(float *data)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        const float radius = sqrtf(-2 * cephes_log(1 - data[i]));
        float sine, cosine;
        cephes_sine_cosine(6.283185307179586F * data[i + BLOCK / 2], &sine, &cosine);
        data[i] = radius * cosine;
        data[i + BLOCK / 2] = radius * sine;
    }
}

/* What PyTorch does for tensors below 16 elements: pairs in double, the second of a pair kept. */
static double normal_of_pair(vipo_torch_rng *rng)
{
    if (rng->has_kept) {
        rng->has_kept = false;
        return rng->kept;
    }
    const double angle = 2 * 3.14159265358979323846 * uniform_double(rng);
    const double radius = sqrt(-2 * log1p(-uniform_double(rng)));
    rng->kept = radius * sin(angle);
    rng->has_kept = true;
    return radius * cos(angle);
}

void vipo_torch_rng_normal(vipo_torch_rng *rng, size_t n, float *out)
{
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) out[i] = (float)normal_of_pair(rng);
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = uniform_float(rng);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) transform_block(out + i);
    if (n % BLOCK == 0) return;
    /* A last part of less than a block: the last 16 elements are drawn anew. */
    float *tail = out + n - BLOCK;
    for (int i = 0; i < BLOCK; i++) tail[i] = uniform_float(rng);
    transform_block(tail);
}
