/* Reference convolutions: the definition, one output element at a time, sums in double. */
#include "compute/ref/ref.h"

#include <math.h>

#include "compute/ref/strip_stats.h"

void vipo_ref_accumulate(double *restrict sum, const double *restrict x, const float *restrict weights,
                         size_t in, size_t out)
{
    for (size_t c = 0; c < in; c++)
        for (size_t o = 0; o < out; o++) sum[o] += x[c] * (double)weights[c * out + o];
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

/* Activated input of a spatial convolution at (y, x), channel c of all sources; 0 outside the frame. */
static double activated(const vipo_conv_space *args, int sample, int frame, int y, int x, int c, int channels)
{
    if (y < 0 || x < 0 || y >= args->in[0].height || x >= args->in[0].width) return 0;
    const vipo_map *map = &args->in[0];
    int local = c;
    if (args->n_in == 2 && c >= map->channels) {
        local = c - map->channels;
        map = &args->in[1];
    }
    double value = vipo_map_frame(
        map, sample,
        frame)[((size_t)y * (size_t)map->width + (size_t)x) * (size_t)map->channels + (size_t)local];
    if (args->norm.scale) {
        const size_t row =
            args->norm.per_frame ? (size_t)sample * (size_t)args->out.frames + (size_t)frame : (size_t)sample;
        const size_t i = row * (size_t)channels + (size_t)c;
        value = value * (double)args->norm.scale[i] + (double)args->norm.shift[i];
    }
    return args->silu ? silu(value) : value;
}

/* One row of outputs: task i = (sample * frames + frame) * height + y. The activated input rows are laid out
 * in scratch as doubles first, or each would be recomputed for every output channel. */
static void conv_space_row(void *arg, int i, int thread)
{
    const struct ref_task *task = arg;
    const vipo_conv_space *args = task->args;
    const vipo_map *out = &args->out;
    const int y = i % out->height, frame = i / out->height % out->frames,
              sample = i / out->height / out->frames;
    const int channels = args->weights->in;
    const int in_width = args->in[0].width;
    const bool one = args->weights->kind == VIPO_WEIGHT_LINEAR;
    const bool up = args->weights->kind == VIPO_WEIGHT_3X3_UPSAMPLE2;
    const int stride = args->weights->kind == VIPO_WEIGHT_3X3_STRIDE2 ? 2 : 1;
    const int taps = one ? 1 : 3, pad = one ? 0 : 1;

    /* rows[ky][x + pad][c] */
    double *rows = vipo_compute_scratch(task->compute, thread);
    const int row_width = (up ? out->width : in_width) + 2 * pad;
    for (int ky = 0; ky < taps; ky++) {
        const int source_y = y * stride + ky - pad;
        for (int x = 0; x < row_width; x++) {
            const int source_x = x - pad;
            double *pixel = rows + ((size_t)ky * (size_t)row_width + (size_t)x) * (size_t)channels;
            for (int c = 0; c < channels; c++) {
                if (up && (source_y < 0 || source_x < 0))
                    pixel[c] = 0;
                else
                    pixel[c] = activated(args, sample, frame, up ? source_y / 2 : source_y,
                                         up ? source_x / 2 : source_x, c, channels);
            }
        }
    }
    const size_t filter = (size_t)(taps * taps), width = (size_t)out->channels;
    double *sum = rows + (size_t)taps * (size_t)row_width * (size_t)channels;
    float *target =
        out->data +
        ((((size_t)sample * (size_t)out->frames + (size_t)frame) * (size_t)out->height + (size_t)y) *
         (size_t)out->width) *
            width;
    for (int x = 0; x < out->width; x++) {
        for (size_t o = 0; o < width; o++) sum[o] = (double)args->weights->bias[o];
        for (size_t tap = 0; tap < filter; tap++) {
            const size_t ky = tap / (size_t)taps, kx = tap % (size_t)taps;
            const double *pixel =
                rows + (ky * (size_t)row_width + (size_t)(x * stride) + kx) * (size_t)channels;
            vipo_ref_accumulate(sum, pixel, args->weights->data + tap * (size_t)channels * width,
                                (size_t)channels, width);
        }
        for (size_t o = 0; o < width; o++) target[(size_t)x * width + o] = (float)sum[o];
    }
}

size_t vipo_ref_conv_space_scratch(const vipo_conv_space *args)
{
    const int width = args->out.width > args->in[0].width ? args->out.width : args->in[0].width;
    return (3 * (size_t)(width + 2) * (size_t)args->weights->in + (size_t)args->weights->out) *
           sizeof(double);
}

void vipo_ref_conv_space(const vipo_compute *compute, const vipo_conv_space *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->out.samples * args->out.frames * args->out.height, conv_space_row,
                  &task);
}

static void widen(double *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (double)in[i];
}

size_t vipo_ref_conv_time_scratch(const vipo_conv_time *args)
{
    size_t in = (size_t)args->weights->in;
    for (int s = 0; s < args->n_skip; s++)
        if ((size_t)args->skip[s].channels > in) in = (size_t)args->skip[s].channels;
    return (in + (size_t)args->weights->out) * sizeof(double);
}

/* One strip of pixels of a frame: task i = (sample * frames + frame) * strips + strip. */
static void conv_time_strip(void *arg, int i, int thread)
{
    const struct ref_task *task = arg;
    const vipo_conv_time *args = task->args;
    const vipo_map *out = &args->out;
    const int strips = vipo_map_strips(out);
    const int strip = i % strips, frame = i / strips % out->frames, sample = i / strips / out->frames;
    const size_t channels = (size_t)args->weights->in;
    const size_t taps = (size_t)vipo_weight_taps(args->weights->kind);
    const size_t first = (size_t)strip * VIPO_STRIP_PIXELS;
    size_t end = first + VIPO_STRIP_PIXELS;
    if (end > (size_t)out->height * (size_t)out->width) end = (size_t)out->height * (size_t)out->width;
    const size_t width = (size_t)out->channels;
    float *target = out->data + ((size_t)sample * (size_t)out->frames + (size_t)frame) * (size_t)out->height *
                                    (size_t)out->width * width;

    double *sum = vipo_compute_scratch(task->compute, thread);
    double *x = sum + width;
    for (size_t p = first; p < end; p++) {
        for (size_t o = 0; o < width; o++) {
            sum[o] = (double)args->weights->bias[o];
            if (args->embedding)
                sum[o] += (double)args->embedding[(size_t)sample * args->embedding_stride + o];
            if (args->residual.data)
                sum[o] += (double)vipo_map_frame(&args->residual, sample, frame)[p * width + o];
            if (args->n_skip) sum[o] += (double)args->skip_weights->bias[o];
        }
        for (size_t tap = 0; tap < taps; tap++) {
            const int source = frame + (int)tap - (taps == 3 ? 1 : 0);
            if (source < 0 || source >= out->frames) continue;
            widen(x, vipo_map_frame(&args->in, sample, source) + p * channels, channels);
            vipo_ref_accumulate(sum, x, args->weights->data + tap * channels * width, channels, width);
        }
        for (int s = 0, offset = 0; s < args->n_skip; s++) {
            const size_t n = (size_t)args->skip[s].channels;
            widen(x, vipo_map_frame(&args->skip[s], sample, frame) + p * n, n);
            vipo_ref_accumulate(sum, x, args->skip_weights->data + (size_t)offset * width, n, width);
            offset += args->skip[s].channels;
        }
        for (size_t o = 0; o < width; o++) target[p * width + o] = (float)sum[o];
    }
    if (out->stats) vipo_strip_stats(out, sample, frame, strip);
}

void vipo_ref_conv_time(const vipo_compute *compute, const vipo_conv_time *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->out.samples * args->out.frames * vipo_map_strips(&args->out),
                  conv_time_strip, &task);
}
