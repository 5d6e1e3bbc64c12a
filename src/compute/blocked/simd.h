/* One float vector of the instruction set this file is compiled for: 8 lanes (AVX2) or 16 (AVX-512). */
#ifndef VIPO_COMPUTE_BLOCKED_SIMD_H
#define VIPO_COMPUTE_BLOCKED_SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* The sources of this folder are compiled once for each instruction set; BLOCKED(x) is vipo_x_avx2 or
 * vipo_x_avx512. */
#define BLOCKED_JOIN_(name, simd) vipo_##name##_##simd
#define BLOCKED_JOIN(name, simd)  BLOCKED_JOIN_(name, simd)
#define BLOCKED(name)             BLOCKED_JOIN(name, VIPO_SIMD)

#ifdef __AVX512F__

enum { LANES = 16 };
typedef __m512 vfloat;

static inline vfloat v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vfloat x)
{
    _mm512_storeu_ps(p, x);
}
static inline vfloat v_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vfloat v_zero(void)
{
    return _mm512_setzero_ps();
}
static inline vfloat v_add(vfloat a, vfloat b)
{
    return _mm512_add_ps(a, b);
}
static inline vfloat v_sub(vfloat a, vfloat b)
{
    return _mm512_sub_ps(a, b);
}
static inline vfloat v_mul(vfloat a, vfloat b)
{
    return _mm512_mul_ps(a, b);
}
static inline vfloat v_div(vfloat a, vfloat b)
{
    return _mm512_div_ps(a, b);
}
static inline vfloat v_max(vfloat a, vfloat b)
{
    return _mm512_max_ps(a, b);
}
static inline vfloat v_min(vfloat a, vfloat b)
{
    return _mm512_min_ps(a, b);
}
/* a b + c, a b - c and c - a b */
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vfloat v_fms(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fmsub_ps(a, b, c);
}
static inline vfloat v_fnma(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vfloat v_round(vfloat x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x 2^n for a whole n, both x and the result normal */
static inline vfloat v_scale(vfloat x, vfloat n)
{
    return _mm512_scalef_ps(x, n);
}
static inline vfloat v_abs(vfloat x)
{
    return _mm512_abs_ps(x);
}
/* a where x < 0, b elsewhere */
static inline vfloat v_if_negative(vfloat x, vfloat a, vfloat b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a);
}
static inline float v_sum(vfloat x)
{
    return _mm512_reduce_add_ps(x);
}
static inline float v_top(vfloat x)
{
    return _mm512_reduce_max_ps(x);
}
/* The first n lanes, 1 <= n <= LANES; the others read 0 and are not written. */
static inline __mmask16 v_mask(int n)
{
    return (__mmask16)(0xffffu >> (16 - n));
}
static inline vfloat v_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v_mask(n), p);
}
static inline void v_store_n(float *p, vfloat x, int n)
{
    _mm512_mask_storeu_ps(p, v_mask(n), x);
}

#else

enum { LANES = 8 };
typedef __m256 vfloat;

static inline vfloat v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vfloat x)
{
    _mm256_storeu_ps(p, x);
}
static inline vfloat v_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vfloat v_zero(void)
{
    return _mm256_setzero_ps();
}
static inline vfloat v_add(vfloat a, vfloat b)
{
    return _mm256_add_ps(a, b);
}
static inline vfloat v_sub(vfloat a, vfloat b)
{
    return _mm256_sub_ps(a, b);
}
static inline vfloat v_mul(vfloat a, vfloat b)
{
    return _mm256_mul_ps(a, b);
}
static inline vfloat v_div(vfloat a, vfloat b)
{
    return _mm256_div_ps(a, b);
}
static inline vfloat v_max(vfloat a, vfloat b)
{
    return _mm256_max_ps(a, b);
}
static inline vfloat v_min(vfloat a, vfloat b)
{
    return _mm256_min_ps(a, b);
}
/* a b + c, a b - c and c - a b */
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vfloat v_fms(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fmsub_ps(a, b, c);
}
static inline vfloat v_fnma(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vfloat v_round(vfloat x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x 2^n for a whole n, both x and the result normal: n is added to the exponent of x. */
static inline vfloat v_scale(vfloat x, vfloat n)
{
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
static inline vfloat v_abs(vfloat x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
/* a where x < 0, b elsewhere */
static inline vfloat v_if_negative(vfloat x, vfloat a, vfloat b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
static inline float v_sum(vfloat x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float v_top(vfloat x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
/* The first n lanes, 1 <= n <= LANES; the others read 0 and are not written. */
static inline __m256i v_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vfloat v_load_n(const float *p, int n)
{
    return _mm256_maskload_ps(p, v_mask(n));
}
static inline void v_store_n(float *p, vfloat x, int n)
{
    _mm256_maskstore_ps(p, v_mask(n), x);
}

#endif

/* 2^(x log2e) to about 1 ulp: 2^n 2^r with |r| <= 1/2, a polynomial of least relative error (2e-9) on that
 * interval. r is found with one rounding, so that the error of log2e grows with |x| only by 1e-8. `factor`
 * is log2e or a multiple of it. Arguments x factor are cut to [-126, 126], so that results are normal floats;
 * NaN stays NaN. */
static inline vfloat v_exp2_of(vfloat x, vfloat factor)
{
    const vfloat n = v_round(v_min(v_set(126), v_max(v_set(-126), v_mul(x, factor))));
    const vfloat r = v_min(v_set(.5f), v_max(v_set(-.5f), v_fms(x, factor, n)));
    vfloat y = v_set(1.53458110e-4f);
    y = v_fma(y, r, v_set(1.33999309e-3f));
    y = v_fma(y, r, v_set(9.61848907e-3f));
    y = v_fma(y, r, v_set(5.55032864e-2f));
    y = v_fma(y, r, v_set(2.40226462e-1f));
    y = v_fma(y, r, v_set(6.93147182e-1f));
    y = v_fma(y, r, v_set(1));
    return v_scale(y, n);
}

static inline vfloat v_exp(vfloat x)
{
    return v_exp2_of(x, v_set(1.44269504088896341f));
}

/* x / (1 + e^(-slope x)): SiLU for slope 1, quick GELU for 1.702. */
static inline vfloat v_swish(vfloat x, float slope)
{
    return v_div(x, v_add(v_set(1), v_exp2_of(x, v_set(-1.44269504088896341f * slope))));
}

/* 1 / (1 + e^-x) */
static inline vfloat v_sigmoid(vfloat x)
{
    return v_div(v_set(1), v_add(v_set(1), v_exp2_of(x, v_set(-1.44269504088896341f))));
}

/* The series of x near 0, (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x elsewhere. */
static inline vfloat v_tanh(vfloat x)
{
    const vfloat z = v_abs(x), e = v_exp2_of(z, v_set(-2 * 1.44269504088896341f));
    const vfloat large = v_div(v_sub(v_set(1), e), v_add(v_set(1), e));
    const vfloat square = v_mul(x, x);
    vfloat series = v_set(-17.0f / 315);
    series = v_fma(series, square, v_set(2.0f / 15));
    series = v_fma(series, square, v_set(-1.0f / 3));
    series = v_fma(v_mul(series, square), x, x);
    const vfloat far = v_if_negative(x, v_sub(v_zero(), large), large);
    return v_if_negative(v_sub(z, v_set(0.15f)), series, far);
}

/* x (1 + erf(x / sqrt 2)) / 2, erfc from Abramowitz and Stegun 7.1.26 (error 1.5e-7). */
static inline vfloat v_gelu(vfloat x)
{
    const vfloat z = v_mul(v_abs(x), v_set(0.70710678118654752f));
    const vfloat t = v_div(v_set(1), v_fma(z, v_set(0.3275911f), v_set(1)));
    vfloat y = v_set(1.061405429f);
    y = v_fma(y, t, v_set(-1.453152027f));
    y = v_fma(y, t, v_set(1.421413741f));
    y = v_fma(y, t, v_set(-0.284496736f));
    y = v_fma(y, t, v_set(0.254829592f));
    const vfloat erfc = v_mul(v_mul(y, t), v_exp(v_mul(z, v_sub(v_zero(), z))));
    return v_mul(v_mul(x, v_set(0.5f)), v_if_negative(x, erfc, v_sub(v_set(2), erfc)));
}

/* 0 where x < 0; NaN stays NaN. */
static inline vfloat v_relu(vfloat x)
{
    return v_if_negative(x, v_zero(), x);
}

/* x tanh(log(1 + e)) with e = e^x, which is x (e^2 + 2 e) / (e^2 + 2 e + 2); from x = 40 on that is x. */
static inline vfloat v_mish(vfloat x)
{
    const vfloat e = v_exp(v_min(v_set(40), x)), n = v_mul(e, v_add(e, v_set(2)));
    return v_mul(x, v_div(n, v_add(n, v_set(2))));
}

#endif
