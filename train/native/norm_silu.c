/* SiLU(GroupNorm(x + e)) and its backward for training on a processor, in one pass over memory where PyTorch takes ten.
 *
 * x, y, dx, dy are [b][n][c] in memory, bfloat16 (the functions ending in _bf16) or float32; e is [b][c], what is added to
 * every row of a sample (an embedding), or NULL; gain and bias are [c]; all of these and the results over rows are float32.
 * Groups are c / groups neighbouring channels; statistics are over n and the channels of a group.
 * With x' = x + e - mean, r = 1 / std, z = r g x' + d, y = z sigmoid(z) and dz the gradient of z:
 *   dx = r (g dz - mean(g dz) - r^2 x' mean(g dz x')),   dg = sum of r dz x',   dd = sum of dz,   de = sum of dx over rows
 * (Wu & He 2018). Compiled by train/native.py for the machine at hand.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHANNELS = 4096, CHUNK_ELEMENTS = 1 << 16 };

typedef struct {
  int64_t b, n, c, groups;
  int64_t rows, chunks; /* rows of a chunk, chunks of a sample */
} Shape;

static Shape shape_of(int64_t b, int64_t n, int64_t c, int64_t groups) {
  Shape s = {b, n, c, groups, CHUNK_ELEMENTS / c, 0};
  if (s.rows < 1) s.rows = 1;
  s.chunks = (n + s.rows - 1) / s.rows;
  return s;
}

static int64_t rows_of(const Shape *s, int64_t chunk) {
  int64_t first = chunk * s->rows;
  return s->n - first < s->rows ? s->n - first : s->rows;
}

static float from_bf16(uint16_t v) {
  uint32_t bits = (uint32_t)v << 16;
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}

/* To the nearest, ties to even; a NaN stays one. */
static uint16_t to_bf16(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  uint32_t nan = bits >> 16 | 0x40;
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

static float from_float(float v) { return v; }
static float to_float(float v) { return v; }

static float sigmoid(float z) { return 1.0f / (1.0f + expf(-z)); }

/* The derivative of z sigmoid(z). */
static float silu_slope(float z) {
  float q = sigmoid(z);
  return q * (1.0f + z * (1.0f - q));
}

/* sums [b][chunks][2][c] of the chunks -> total [2][c] of sample i */
static void add_chunks(const Shape *s, const float *sums, int64_t i, double *total) {
  memset(total, 0, (size_t)(2 * s->c) * sizeof *total);
  for (int64_t k = 0; k < s->chunks; k++)
    for (int64_t j = 0; j < 2 * s->c; j++) total[j] += sums[(i * s->chunks + k) * 2 * s->c + j];
}

/* From the sums of x and x^2: mean [b][groups], rstd [b][groups], and the sum over rows of x' [b][c]. */
static void statistics(const Shape *s, const float *sums, const float *e, float eps, float *mean, float *rstd, float *centred) {
  int64_t width = s->c / s->groups;
  for (int64_t i = 0; i < s->b; i++) {
    double total[2 * MOST_CHANNELS];
    add_chunks(s, sums, i, total);
    for (int64_t g = 0; g < s->groups; g++) {
      double m = 0.0, square = 0.0, n = (double)s->n;
      for (int64_t j = g * width; j < (g + 1) * width; j++) {
        double a = e ? e[i * s->c + j] : 0.0;
        m += total[j] + n * a;
        square += total[s->c + j] + 2 * a * total[j] + n * a * a;
      }
      m /= n * (double)width;
      square = square / (n * (double)width) - m * m;
      mean[i * s->groups + g] = (float)m;
      rstd[i * s->groups + g] = (float)(1.0 / sqrt((square > 0 ? square : 0) + eps));
      for (int64_t j = g * width; j < (g + 1) * width; j++)
        centred[i * s->c + j] = (float)(total[j] + n * ((e ? e[i * s->c + j] : 0.0) - m));
    }
  }
}

/* z = x slope + offset for each channel of sample i */
static void line_of(const Shape *s, int64_t i, const float *e, const float *gain, const float *bias, const float *mean,
                    const float *rstd, float *slope, float *offset) {
  int64_t width = s->c / s->groups;
  for (int64_t j = 0; j < s->c; j++) {
    int64_t g = i * s->groups + j / width;
    slope[j] = rstd[g] * gain[j];
    offset[j] = bias[j] + slope[j] * ((e ? e[i * s->c + j] : 0.0f) - mean[g]);
  }
}

/* From the sums of dz and dz x: dx = dz a + x b + c for each channel ([b][3][c]), and the parameters' gradients, to which it adds. */
static void gradients(const Shape *s, const float *sums, const float *e, const float *gain, const float *mean, const float *rstd,
                      const float *centred, float *line, float *de, float *dgain, float *dbias) {
  int64_t width = s->c / s->groups;
  for (int64_t i = 0; i < s->b; i++) {
    double total[2 * MOST_CHANNELS];
    add_chunks(s, sums, i, total);
    float *row = line + i * 3 * s->c;
    for (int64_t g = 0; g < s->groups; g++) {
      double r = rstd[i * s->groups + g], m = mean[i * s->groups + g], first = 0.0, second = 0.0;
      for (int64_t j = g * width; j < (g + 1) * width; j++) {
        double shift = (e ? e[i * s->c + j] : 0.0) - m, with_x = total[s->c + j] + shift * total[j];
        first += gain[j] * total[j];
        second += gain[j] * with_x;
        dgain[j] += (float)(r * with_x);
        dbias[j] += (float)total[j];
      }
      first /= (double)(s->n * width);
      second /= (double)(s->n * width);
      for (int64_t j = g * width; j < (g + 1) * width; j++) {
        double shift = (e ? e[i * s->c + j] : 0.0) - m, slope = -r * r * r * second;
        row[j] = (float)(r * gain[j]);
        row[s->c + j] = (float)slope;
        row[2 * s->c + j] = (float)(slope * shift - r * first);
        if (de)
          de[i * s->c + j] = (float)(r * gain[j] * total[j] - r * first * (double)s->n + slope * centred[i * s->c + j]);
      }
    }
  }
}

#define T uint16_t
#define READ from_bf16
#define WRITE to_bf16
#define NAME(x) x##_bf16
#include "norm_silu_passes.h"
#undef T
#undef READ
#undef WRITE
#undef NAME
#define T float
#define READ from_float
#define WRITE to_float
#define NAME(x) x##_f32
#include "norm_silu_passes.h"
