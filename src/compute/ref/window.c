/* Reference of the ops on rasters: the definitions, sums in double. */
#include "compute/ref/ref.h"

#include <math.h>

static float *at(const vipo_raster *raster, int sample, int y, int x)
{
    return raster->data + (size_t)sample * raster->sample + (size_t)y * raster->row +
           (size_t)x * raster->pixel;
}

size_t vipo_ref_conv_window_scratch(const vipo_conv_window *args)
{
    return (size_t)(args->weights->in + args->weights->out) * sizeof(double);
}

/* Task i = (sample * height + y) * width + x. */
static void conv_window_pixel(void *arg, int i, int thread)
{
    const struct ref_task *task = arg;
    const vipo_conv_window *args = task->args;
    const vipo_packed *weights = args->weights;
    const int x = i % args->width, y = i / args->width % args->height,
              sample = i / args->width / args->height;
    const size_t in = (size_t)weights->in, out = (size_t)weights->out, run = in / (size_t)args->kernel_height;
    double *sum = vipo_compute_scratch(task->compute, thread);
    double *window = sum + out;
    for (size_t o = 0; o < out; o++) sum[o] = (double)weights->bias[o];
    for (size_t c = 0; c < in; c++)
        window[c] =
            (double)at(&args->x, sample, y * args->stride + (int)(c / run), x * args->stride)[c % run];
    vipo_ref_accumulate(sum, window, weights->data, in, out);
    float *target = at(&args->y, sample, y, x);
    for (size_t o = 0; o < out; o++) target[o] = (float)sum[o];
}

void vipo_ref_conv_window(const vipo_compute *compute, const vipo_conv_window *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->samples * args->height * args->width, conv_window_pixel, &task);
}

/* Task i = sample * groups + group. */
static void norm_act_group(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_norm_act *args = ((const struct ref_task *)arg)->args;
    const int sample = i / args->groups, width = args->channels / args->groups;
    const size_t channels = (size_t)args->channels, pixels = (size_t)args->height * (size_t)args->width;
    const size_t first = (size_t)(i % args->groups * width), end = first + (size_t)width;
    const float *x = args->x + (size_t)sample * pixels * channels;
    double mean = 0, variance = 0;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = first; c < end; c++) mean += (double)x[p * channels + c];
    mean /= (double)pixels * (double)width;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = first; c < end; c++) {
            const double d = (double)x[p * channels + c] - mean;
            variance += d * d;
        }
    variance /= (double)pixels * (double)width;
    const double rstd = 1.0 / sqrt(variance + (double)args->eps);
    const size_t film = (size_t)sample * args->film_stride;
    for (size_t p = 0; p < pixels; p++) {
        const int row = (int)p / args->width, column = (int)p % args->width;
        float *y = at(&args->y, sample, row, column);
        const float *residual = args->residual.data ? at(&args->residual, sample, row, column) : NULL;
        for (size_t c = first; c < end; c++) {
            double v = ((double)x[p * channels + c] - mean) * rstd;
            v = vipo_ref_activate(v * (double)args->gamma[c] + (double)args->beta[c], args->activation);
            if (args->factor) v *= (double)args->factor[film + c];
            if (args->summand) v += (double)args->summand[film + c];
            if (residual) v += (double)residual[c];
            y[c] = (float)vipo_ref_activate(v, args->last);
        }
    }
}

void vipo_ref_norm_act(const vipo_compute *compute, const vipo_norm_act *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->samples * args->groups, norm_act_group, &task);
}
