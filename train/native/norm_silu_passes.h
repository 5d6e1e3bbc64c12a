/* The passes over memory of norm_silu.c, once for each type T of a map's elements. Chunks of rows go to threads. */

/* 0, or -1 when there is no memory or more channels than it can hold. mean, rstd [b][groups] and centred [b][c] are for the backward. */
int NAME(norm_silu)(const T *x, const float *e, const float *gain, const float *bias, int64_t b, int64_t n, int64_t c,
                    int64_t groups, float eps, T *y, float *mean, float *rstd, float *centred) {
  Shape s = shape_of(b, n, c, groups);
  if (c > MOST_CHANNELS) return -1;
  float *sums = calloc((size_t)(b * s.chunks * 2 * c), sizeof *sums);
  if (!sums) return -1;
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < b * s.chunks; k++) {
    const T *from = x + (k / s.chunks * n + k % s.chunks * s.rows) * c;
    float *sum = sums + k * 2 * c, *square = sum + c;
    int64_t rows = rows_of(&s, k % s.chunks);
    for (int64_t row = 0; row < rows; row++, from += c)
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float v = READ(from[j]);
        sum[j] += v;
        square[j] += v * v;
      }
  }
  statistics(&s, sums, e, eps, mean, rstd, centred);
  free(sums);
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < b * s.chunks; k++) {
    float slope[MOST_CHANNELS], offset[MOST_CHANNELS];
    line_of(&s, k / s.chunks, e, gain, bias, mean, rstd, slope, offset);
    int64_t at = (k / s.chunks * n + k % s.chunks * s.rows) * c, rows = rows_of(&s, k % s.chunks);
    for (int64_t row = 0; row < rows; row++, at += c) {
      const T *restrict from = x + at;
      T *restrict to = y + at;
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float z = READ(from[j]) * slope[j] + offset[j];
        to[j] = WRITE(z * sigmoid(z));
      }
    }
  }
  return 0;
}

/* de [b][c] may be NULL; dgain and dbias [c] are written. */
int NAME(norm_silu_backward)(const T *x, const T *dy, const float *e, const float *gain, const float *bias, int64_t b, int64_t n,
                             int64_t c, int64_t groups, const float *mean, const float *rstd, const float *centred, T *dx, float *de,
                             float *dgain, float *dbias) {
  Shape s = shape_of(b, n, c, groups);
  if (c > MOST_CHANNELS) return -1;
  float *sums = calloc((size_t)(b * s.chunks * 2 * c + b * 3 * c), sizeof *sums);
  if (!sums) return -1;
  float *lines = sums + b * s.chunks * 2 * c;
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < b * s.chunks; k++) {
    float slope[MOST_CHANNELS], offset[MOST_CHANNELS];
    line_of(&s, k / s.chunks, e, gain, bias, mean, rstd, slope, offset);
    int64_t at = (k / s.chunks * n + k % s.chunks * s.rows) * c, rows = rows_of(&s, k % s.chunks);
    float *sum = sums + k * 2 * c, *with_x = sum + c;
    for (int64_t row = 0; row < rows; row++, at += c) {
      const T *restrict from = x + at, *restrict grad = dy + at;
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float v = READ(from[j]), dz = READ(grad[j]) * silu_slope(v * slope[j] + offset[j]);
        sum[j] += dz;
        with_x[j] += dz * v;
      }
    }
  }
  memset(dgain, 0, (size_t)c * sizeof *dgain);
  memset(dbias, 0, (size_t)c * sizeof *dbias);
  gradients(&s, sums, e, gain, mean, rstd, centred, lines, de, dgain, dbias);
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < b * s.chunks; k++) {
    float slope[MOST_CHANNELS], offset[MOST_CHANNELS];
    line_of(&s, k / s.chunks, e, gain, bias, mean, rstd, slope, offset);
    const float *of_dz = lines + k / s.chunks * 3 * c, *of_x = of_dz + c, *alone = of_x + c;
    int64_t at = (k / s.chunks * n + k % s.chunks * s.rows) * c, rows = rows_of(&s, k % s.chunks);
    for (int64_t row = 0; row < rows; row++, at += c) {
      const T *restrict from = x + at, *restrict grad = dy + at;
      T *restrict to = dx + at;
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float v = READ(from[j]), dz = READ(grad[j]) * silu_slope(v * slope[j] + offset[j]);
        to[j] = WRITE(dz * of_dz[j] + v * of_x[j] + alone[j]);
      }
    }
  }
  free(sums);
  return 0;
}
