/* What happens to single elements and channels: norm and activation before a convolution, statistics after
 * one, GroupNorm's coefficients, LayerNorm. */
#include <math.h>
#include <string.h>

#include "compute/blocked/blocked.h"

/* ---- activation --------------------------------------------------------------------------------------- */

static inline vfloat activated(vfloat x, vfloat scale, vfloat shift, bool norm, bool silu)
{
    if (norm) x = v_fma(x, scale, shift);
    return silu ? v_swish(x, 1) : x;
}

/* Inlined with constant norm and silu. */
static inline void activate_pixels(float *out, size_t out_stride, const float *x, size_t x_stride,
                                   int channels, int n, const float *scale, const float *shift, bool norm,
                                   bool silu)
{
    const int whole = channels / LANES * LANES, rest = channels - whole;
    const vfloat zero = v_zero();
    for (int i = 0; i < n; i++, x += x_stride, out += out_stride) {
        for (int c = 0; c < whole; c += LANES)
            v_store(out + c, activated(v_load(x + c), norm ? v_load(scale + c) : zero,
                                       norm ? v_load(shift + c) : zero, norm, silu));
        if (rest)
            v_store_n(out + whole,
                      activated(v_load_n(x + whole, rest), norm ? v_load_n(scale + whole, rest) : zero,
                                norm ? v_load_n(shift + whole, rest) : zero, norm, silu),
                      rest);
    }
}

void BLOCKED(activate)(float *out, size_t out_stride, const float *x, size_t x_stride, int channels, int n,
                       const float *scale, const float *shift, bool silu)
{
    if (scale && silu)
        activate_pixels(out, out_stride, x, x_stride, channels, n, scale, shift, true, true);
    else if (scale)
        activate_pixels(out, out_stride, x, x_stride, channels, n, scale, shift, true, false);
    else if (silu)
        activate_pixels(out, out_stride, x, x_stride, channels, n, NULL, NULL, false, true);
    else if (out_stride == (size_t)channels && x_stride == out_stride)
        memcpy(out, x, (size_t)n * out_stride * sizeof *x);
    else
        activate_pixels(out, out_stride, x, x_stride, channels, n, NULL, NULL, false, false);
}

/* ---- statistics of a strip ------------------------------------------------------------------------------
 */

/* Mean and sum of squared deviations of one vector of channels. Deviations are taken from the mean of every
 * eighth pixel: it lies within sqrt(8) standard deviations of the mean, so that removing its share from the
 * squares costs no accuracy however far the mean is from zero. */
static inline void channel_stats(const float *x, size_t stride, int pixels, int lanes, float *mean, float *m2)
{
#define LOAD(pixel)                                                                                          \
    (lanes == LANES ? v_load(x + (size_t)(pixel)*stride) : v_load_n(x + (size_t)(pixel)*stride, lanes))
    enum { SAMPLE = 8, WAYS = 4 };
    vfloat pivot = v_zero();
    for (int p = 0; p < pixels; p += SAMPLE) pivot = v_add(pivot, LOAD(p));
    pivot = v_div(pivot, v_set((float)((pixels + SAMPLE - 1) / SAMPLE)));
    vfloat sum[WAYS], square[WAYS];
    for (int w = 0; w < WAYS; w++) sum[w] = square[w] = v_zero();
    int p = 0;
    for (; p + WAYS <= pixels; p += WAYS)
        for (int w = 0; w < WAYS; w++) {
            const vfloat d = v_sub(LOAD(p + w), pivot);
            sum[w] = v_add(sum[w], d);
            square[w] = v_fma(d, d, square[w]);
        }
    for (; p < pixels; p++) {
        const vfloat d = v_sub(LOAD(p), pivot);
        sum[0] = v_add(sum[0], d);
        square[0] = v_fma(d, d, square[0]);
    }
#undef LOAD
    const vfloat s = v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]));
    const vfloat q = v_add(v_add(square[0], square[1]), v_add(square[2], square[3]));
    const vfloat offset = v_div(s, v_set((float)pixels));
    v_store_n(mean, v_add(pivot, offset), lanes);
    v_store_n(m2, v_max(v_zero(), v_fnma(s, offset, q)), lanes);
}

void BLOCKED(strip_stats)(const vipo_map *map, int sample, int frame, int strip, int first, int end)
{
    const size_t channels = (size_t)map->channels;
    const int start = strip * VIPO_STRIP_PIXELS;
    const int pixels = least(map->height * map->width - start, VIPO_STRIP_PIXELS);
    const float *x = vipo_map_frame(map, sample, frame) + (size_t)start * channels;
    const size_t row = ((size_t)sample * (size_t)map->frames + (size_t)frame) * (size_t)vipo_map_strips(map);
    float *stats = map->stats + (row + (size_t)strip) * 2 * channels;
    int c = first;
    for (; c + LANES <= end; c += LANES)
        channel_stats(x + c, channels, pixels, LANES, stats + c, stats + channels + c);
    if (c < end) channel_stats(x + c, channels, pixels, end - c, stats + c, stats + channels + c);
}

/* ---- GroupNorm --------------------------------------------------------------------------------------------
 */

struct norm_loop {
    const void *args;
};

/* What one group's statistics are summed from: rows of [2][channels] in each source. */
struct norm_rows {
    const float *stats; /* of the channel range in row 0 */
    size_t channels;    /* of the map */
    int width;          /* channels of the range */
    int rows, strips, pixels;
};

static int row_pixels(const struct norm_rows *r, int row)
{
    return least(r->pixels - row % r->strips * VIPO_STRIP_PIXELS, VIPO_STRIP_PIXELS);
}

/* Adds sum over the range of pixels x mean, and of squared deviations from `mean`. */
static double sum_means(const struct norm_rows *r)
{
    double sum = 0;
    for (int row = 0; row < r->rows; row++) {
        const float *mean = r->stats + (size_t)row * 2 * r->channels;
        double part = 0;
        for (int c = 0; c < r->width; c++) part += (double)mean[c];
        sum += part * row_pixels(r, row);
    }
    return sum;
}

static double sum_squares(const struct norm_rows *r, double mean)
{
    double sum = 0;
    for (int row = 0; row < r->rows; row++) {
        const float *means = r->stats + (size_t)row * 2 * r->channels, *m2 = means + r->channels;
        double inner = 0, outer = 0;
        for (int c = 0; c < r->width; c++) {
            const double d = (double)means[c] - mean;
            inner += (double)m2[c];
            outer += d * d;
        }
        sum += inner + outer * row_pixels(r, row);
    }
    return sum;
}

/* Task i = row of the result * groups + group. */
static void group_norm_task(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_group_norm *args = ((const struct norm_loop *)arg)->args;
    const vipo_map *in = args->in;
    const int frames = in[0].frames, groups = args->groups, group = i % groups;
    const int first_row = i / groups * (args->out.per_frame ? 1 : frames);
    const int channels = in[0].channels + (args->n_in == 2 ? in[1].channels : 0);
    const int first = group * (channels / groups), end = first + channels / groups;
    const int strips = vipo_map_strips(&in[0]), pixels = in[0].height * in[0].width;
    struct norm_rows rows[2];
    int n = 0;
    for (int s = 0, offset = 0; s < args->n_in; offset += in[s].channels, s++) {
        const int from = first > offset ? first - offset : 0;
        const int to = least(end - offset, in[s].channels);
        if (from >= to) continue;
        rows[n++] = (struct norm_rows){
            .stats = in[s].stats + (size_t)first_row * (size_t)strips * 2 * (size_t)in[s].channels + from,
            .channels = (size_t)in[s].channels,
            .width = to - from,
            .rows = strips * (args->out.per_frame ? 1 : frames),
            .strips = strips,
            .pixels = pixels};
    }
    const double count = (double)pixels * (args->out.per_frame ? 1 : frames) * (end - first);
    double sum = 0, squares = 0;
    for (int s = 0; s < n; s++) sum += sum_means(&rows[s]);
    const double mean = sum / count;
    for (int s = 0; s < n; s++) squares += sum_squares(&rows[s], mean);
    const double rstd = 1.0 / sqrt(squares / count + (double)args->eps);
    float *scale = args->out.scale + (size_t)(i / groups) * (size_t)channels;
    float *shift = args->out.shift + (size_t)(i / groups) * (size_t)channels;
    for (int c = first; c < end; c++) {
        const double gain = (double)args->gamma[c] * rstd;
        scale[c] = (float)gain;
        shift[c] = (float)((double)args->beta[c] - mean * gain);
    }
}

void BLOCKED(group_norm)(const vipo_compute *compute, const vipo_group_norm *args)
{
    struct norm_loop loop = {args};
    const int rows = args->in[0].samples * (args->out.per_frame ? args->in[0].frames : 1);
    vipo_pool_run(compute->pool, rows * args->groups, group_norm_task, &loop);
}

/* ---- LayerNorm --------------------------------------------------------------------------------------------
 */

/* The mean as the sum of two floats: one alone is too coarse if it is far above the deviation. */
struct row_mean {
    float high, low;
};

/* Sum of (x - mean) or of its square over a row. */
static inline float row_sum(const float *x, int n, struct row_mean mean, bool square)
{
    vfloat sum = v_zero();
    for (int c = 0; c < n; c += LANES) {
        const int lanes = least(n - c, LANES);
        vfloat d = v_sub(v_sub(v_load_n(x + c, lanes), v_set(mean.high)), v_set(mean.low));
        if (square) d = v_mul(d, d);
        if (lanes < LANES) {
            float part[LANES] = {0};
            v_store_n(part, d, lanes);
            d = v_load(part);
        }
        sum = v_add(sum, d);
    }
    return v_sum(sum);
}

static void layer_norm_row(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_layer_norm *args = ((const struct norm_loop *)arg)->args;
    const int width = args->width;
    const float *x = args->x + (size_t)i * (size_t)width;
    float *y = args->y + (size_t)i * (size_t)width;
    const float count = (float)width;
    struct row_mean mean = {0, 0};
    mean.high = row_sum(x, width, mean, false) / count;
    mean.low = row_sum(x, width, mean, false) / count;
    const float rstd = 1.0f / sqrtf(row_sum(x, width, mean, true) / count + args->eps);
    for (int c = 0; c < width; c += LANES) {
        const int lanes = least(width - c, LANES);
        const vfloat gain = v_mul(v_load_n(args->gamma + c, lanes), v_set(rstd));
        const vfloat beta = args->beta ? v_load_n(args->beta + c, lanes) : v_zero();
        const vfloat d = v_sub(v_sub(v_load_n(x + c, lanes), v_set(mean.high)), v_set(mean.low));
        v_store_n(y + c, v_fma(d, gain, beta), lanes);
    }
}

void BLOCKED(layer_norm)(const vipo_compute *compute, const vipo_layer_norm *args)
{
    struct norm_loop loop = {args};
    vipo_pool_run(compute->pool, args->rows, layer_norm_row, &loop);
}
