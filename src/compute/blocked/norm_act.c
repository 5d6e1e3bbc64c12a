/* GroupNorm with all that follows it, one group of channels of one sample at a time. */
#include <math.h>

#include "compute/blocked/blocked.h"

/* Channels [c, c + lanes) of a pixel. */
static inline vfloat load_channels(const float *x, int lanes)
{
    return lanes == LANES ? v_load(x) : v_load_n(x, lanes);
}

/* A number within a few deviations of the group's mean: the mean over every eighth pixel of the first ones. */
static float pivot_of(const float *x, size_t stride, int pixels, int width)
{
    enum { SAMPLE = 8, MOST = 256 };
    double sum = 0;
    int n = 0;
    for (int p = 0; p < pixels && p < MOST; p += SAMPLE, n++)
        for (int c = 0; c < width; c++) sum += (double)x[(size_t)p * stride + (size_t)c];
    return (float)(sum / ((double)n * width));
}

/* Mean and 1 / deviation of a group over all pixels. Deviations from a pivot and their squares are summed by lanes for
 * a strip, then in double. */
static void group_stats(const vipo_norm_act *args, const float *x, int width, double *mean, double *rstd)
{
    const int pixels = args->height * args->width;
    const size_t stride = (size_t)args->channels;
    const float pivot = pivot_of(x, stride, pixels, width);
    double sum = 0, squares = 0;
    for (int first = 0; first < pixels; first += VIPO_STRIP_PIXELS) {
        const int end = least(pixels, first + VIPO_STRIP_PIXELS);
        for (int c = 0; c < width; c += LANES) {
            const int lanes = least(width - c, LANES);
            float s[LANES], q[LANES];
            vfloat lane_sum = v_zero(), lane_squares = v_zero();
            for (int p = first; p < end; p++) {
                const vfloat d =
                    v_sub(load_channels(x + (size_t)p * stride + (size_t)c, lanes), v_set(pivot));
                lane_sum = v_add(lane_sum, d);
                lane_squares = v_fma(d, d, lane_squares);
            }
            v_store(s, lane_sum);
            v_store(q, lane_squares);
            for (int l = 0; l < lanes; l++) {
                sum += (double)s[l];
                squares += (double)q[l];
            }
        }
    }
    const double count = (double)pixels * width, offset = sum / count;
    *mean = (double)pivot + offset;
    *rstd = 1.0 / sqrt(fmax(0, squares / count - offset * offset) + (double)args->eps);
}

/* What a vector of channels is mapped with. The mean is the sum of two floats: one alone is too coarse if it is far
 * above the deviation. */
struct coefficients {
    vfloat mean_high, mean_low, gain, beta, factor, summand;
};

static inline vfloat mapped(vfloat x, const struct coefficients *k, vipo_activation activation, bool film)
{
    x = v_sub(v_sub(x, k->mean_high), k->mean_low);
    x = activation_of(v_fma(x, k->gain, k->beta), activation);
    return film ? v_fma(x, k->factor, k->summand) : x;
}

/* One vector of channels, all pixels. */
static void map_channels(const vipo_norm_act *args, int sample, int channel, int lanes,
                         const struct coefficients *k)
{
    const bool film = args->factor || args->summand, whole = lanes == LANES;
    const size_t stride = (size_t)args->channels;
    const float *x =
        args->x + (size_t)sample * (size_t)args->height * (size_t)args->width * stride + (size_t)channel;
    for (int row = 0; row < args->height; row++) {
        const size_t r = (size_t)row, s = (size_t)sample;
        float *y = args->y.data + s * args->y.sample + r * args->y.row + (size_t)channel;
        const float *residual = args->residual.data ? args->residual.data + s * args->residual.sample +
                                                          r * args->residual.row + (size_t)channel
                                                    : NULL;
        for (int column = 0; column < args->width; column++, x += stride, y += args->y.pixel) {
            vfloat v = mapped(load_channels(x, lanes), k, args->activation, film);
            if (residual) {
                v = v_add(v, load_channels(residual, lanes));
                residual += args->residual.pixel;
            }
            v = activation_of(v, args->last);
            if (whole)
                v_store(y, v);
            else
                v_store_n(y, v, lanes);
        }
    }
}

/* Task i = sample * groups + group. */
static void norm_act_group(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_norm_act *args = *(const vipo_norm_act *const *)arg;
    const int sample = i / args->groups, width = args->channels / args->groups;
    const int first = i % args->groups * width, end = first + width;
    const size_t pixels = (size_t)args->height * (size_t)args->width;
    double mean, rstd;
    group_stats(args, args->x + (size_t)sample * pixels * (size_t)args->channels + (size_t)first, width,
                &mean, &rstd);
    for (int c = first; c < end; c += LANES) {
        const int lanes = least(end - c, LANES);
        const size_t film = (size_t)sample * args->film_stride + (size_t)c;
        const struct coefficients k = {v_set((float)mean),
                                       v_set((float)(mean - (double)(float)mean)),
                                       v_mul(v_load_n(args->gamma + c, lanes), v_set((float)rstd)),
                                       v_load_n(args->beta + c, lanes),
                                       args->factor ? v_load_n(args->factor + film, lanes) : v_set(1),
                                       args->summand ? v_load_n(args->summand + film, lanes) : v_zero()};
        map_channels(args, sample, c, lanes, &k);
    }
}

void BLOCKED(norm_act)(const vipo_compute *compute, const vipo_norm_act *args)
{
    vipo_pool_run(compute->pool, args->samples * args->groups, norm_act_group, &args);
}
