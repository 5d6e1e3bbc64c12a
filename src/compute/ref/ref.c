/* Reference ops other than the convolutions: the definitions, sums in double. */
#include "compute/ref/ref.h"

#include <math.h>
#include <string.h>

#include "compute/ref/strip_stats.h"

static bool always(void)
{
    return true;
}

bool vipo_ref_knows(const vipo_layer *layer, vipo_method method)
{
    (void)layer;
    return method == VIPO_METHOD_DIRECT;
}

vipo_method vipo_ref_choose(const vipo_layer *layer)
{
    (void)layer;
    return VIPO_METHOD_DIRECT;
}

size_t vipo_ref_packed_floats(const vipo_layer *layer, vipo_method method)
{
    (void)method;
    return (size_t)layer->out * (size_t)layer->in * (size_t)vipo_weight_taps(layer->kind) +
           (size_t)layer->out;
}

void vipo_ref_pack(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                   float *memory, vipo_packed *packed, vipo_pool *pool)
{
    (void)pool;
    const size_t taps = (size_t)vipo_weight_taps(layer->kind);
    const size_t inputs = (size_t)layer->in, outputs = (size_t)layer->out;
    const size_t n = outputs * inputs * taps;
    for (size_t o = 0; o < outputs; o++)
        for (size_t c = 0; c < inputs; c++)
            for (size_t t = 0; t < taps; t++)
                memory[(t * inputs + c) * outputs + o] = weights[(o * inputs + c) * taps + t];
    if (bias)
        memcpy(memory + n, bias, outputs * sizeof *memory);
    else
        memset(memory + n, 0, outputs * sizeof *memory);
    *packed = (vipo_packed){.kind = layer->kind,
                            .method = method,
                            .in = layer->in,
                            .out = layer->out,
                            .data = memory,
                            .bias = memory + n};
}

void vipo_strip_stats(const vipo_map *map, int sample, int frame, int strip)
{
    const size_t channels = (size_t)map->channels, pixels = (size_t)map->height * (size_t)map->width;
    const size_t first = (size_t)strip * VIPO_STRIP_PIXELS;
    const size_t end = first + VIPO_STRIP_PIXELS < pixels ? first + VIPO_STRIP_PIXELS : pixels;
    const float *x = vipo_map_frame(map, sample, frame);
    const size_t row = ((size_t)sample * (size_t)map->frames + (size_t)frame) * (size_t)vipo_map_strips(map);
    float *stats = map->stats + (row + (size_t)strip) * 2 * channels;
    for (size_t c = 0; c < channels; c++) {
        double sum = 0, m2 = 0;
        for (size_t p = first; p < end; p++) sum += (double)x[p * channels + c];
        const double mean = sum / (double)(end - first);
        for (size_t p = first; p < end; p++) {
            const double d = (double)x[p * channels + c] - mean;
            m2 += d * d;
        }
        stats[c] = (float)mean;
        stats[channels + c] = (float)m2;
    }
}

/* One group of one row of the result. Means and squared deviations of strips merge by the parallel formula
 * of Chan, Golub and LeVeque (1979). */
static void group_norm_row(void *arg, int i, int thread)
{
    (void)thread;
    const struct ref_task *task = arg;
    const vipo_group_norm *args = task->args;
    const int frames = args->in[0].frames;
    const int rows = args->out.per_frame ? frames : 1;
    const int sample = i / rows;
    const int first_frame = args->out.per_frame ? i % rows : 0;
    const int end_frame = args->out.per_frame ? first_frame + 1 : frames;
    int channels = 0;
    for (int s = 0; s < args->n_in; s++) channels += args->in[s].channels;
    const int width = channels / args->groups;
    const int pixels = args->in[0].height * args->in[0].width;
    const int strips = vipo_map_strips(&args->in[0]);
    float *scale = args->out.scale + (size_t)i * (size_t)channels;
    float *shift = args->out.shift + (size_t)i * (size_t)channels;

    for (int group = 0; group < args->groups; group++) {
        double n = 0, mean = 0, m2 = 0;
        for (int c = group * width; c < (group + 1) * width; c++) {
            const bool second = c >= args->in[0].channels;
            const vipo_map *map = &args->in[second ? 1 : 0];
            const size_t local = (size_t)(second ? c - args->in[0].channels : c);
            for (int f = first_frame; f < end_frame; f++)
                for (int s = 0; s < strips; s++) {
                    const size_t row =
                        ((size_t)sample * (size_t)frames + (size_t)f) * (size_t)strips + (size_t)s;
                    const float *stats = map->stats + row * 2 * (size_t)map->channels;
                    const int left = pixels - s * VIPO_STRIP_PIXELS;
                    const double count = left < VIPO_STRIP_PIXELS ? left : VIPO_STRIP_PIXELS;
                    const double delta = (double)stats[local] - mean;
                    const double total = n + count;
                    mean += delta * count / total;
                    m2 += (double)stats[(size_t)map->channels + local] + delta * delta * n * count / total;
                    n = total;
                }
        }
        const double rstd = 1.0 / sqrt(m2 / n + (double)args->eps);
        for (int c = group * width; c < (group + 1) * width; c++) {
            const double gain = (double)args->gamma[c] * rstd;
            scale[c] = (float)gain;
            shift[c] = (float)((double)args->beta[c] - mean * gain);
        }
    }
}

void vipo_ref_group_norm(const vipo_compute *compute, const vipo_group_norm *args)
{
    struct ref_task task = {compute, args};
    const int rows = args->out.per_frame ? args->in[0].frames : 1;
    vipo_pool_run(compute->pool, args->in[0].samples * rows, group_norm_row, &task);
}

double vipo_ref_activate(double x, vipo_activation activation)
{
    switch (activation) {
    case VIPO_ACT_NONE:
        return x;
    case VIPO_ACT_SILU:
        return x / (1.0 + exp(-x));
    case VIPO_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
    case VIPO_ACT_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case VIPO_ACT_RELU:
        return x < 0 ? 0 : x;
    case VIPO_ACT_MISH:
        return x * tanh(x > 30 ? x : log1p(exp(x)));
    case VIPO_ACT_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case VIPO_ACT_TANH:
        return tanh(x);
    }
    return x;
}

static void linear_row(void *arg, int i, int thread)
{
    const struct ref_task *task = arg;
    const vipo_linear *args = task->args;
    const size_t in = (size_t)args->weights->in, out = (size_t)args->weights->out;
    const float *row = args->x + (size_t)i * args->x_stride;
    float *y = args->y + (size_t)i * args->y_stride;
    const float *residual = args->residual ? args->residual + (size_t)i * args->y_stride : NULL;
    double *sum = vipo_compute_scratch(task->compute, thread);
    double *x = sum + out;
    for (size_t o = 0; o < out; o++) sum[o] = (double)args->weights->bias[o];
    for (size_t c = 0; c < in; c++) x[c] = (double)row[c];
    vipo_ref_accumulate(sum, x, args->weights->data, in, out);
    for (size_t o = 0; o < out; o++) {
        const double value = vipo_ref_activate(sum[o], args->activation);
        y[o] = (float)(residual ? value + (double)residual[o] : value);
    }
}

size_t vipo_ref_linear_scratch(const vipo_linear *args)
{
    return (size_t)(args->weights->in + args->weights->out) * sizeof(double);
}

void vipo_ref_linear(const vipo_compute *compute, const vipo_linear *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->rows, linear_row, &task);
}

size_t vipo_ref_attention_scratch(const vipo_attention *args)
{
    return (size_t)args->keys * sizeof(double);
}

static void attention_head(void *arg, int i, int thread)
{
    const struct ref_task *task = arg;
    const vipo_attention *args = task->args;
    const size_t head = (size_t)(i % args->heads), batch = (size_t)(i / args->heads);
    const int existing = args->key_counts ? args->key_counts[batch] : args->keys;
    const float *q = args->q.data + batch * args->q.batch + head * args->q.head;
    const float *k = args->k.data + batch * args->k.batch + head * args->k.head;
    const float *v = args->v.data + batch * args->v.batch + head * args->v.head;
    float *out = args->out.data + batch * args->out.batch + head * args->out.head;
    const int values = args->value_dim ? args->value_dim : args->head_dim;
    double *p = vipo_compute_scratch(task->compute, thread);
    for (int r = 0; r < args->queries; r++) {
        const int keys = args->causal && r + 1 < existing ? r + 1 : existing;
        double max = -INFINITY, sum = 0;
        for (int j = 0; j < keys; j++) {
            double dot = 0;
            for (int c = 0; c < args->head_dim; c++)
                dot += (double)q[(size_t)r * args->q.row + (size_t)c] *
                       (double)k[(size_t)j * args->k.row + (size_t)c];
            p[j] = dot * (double)args->scale;
            if (p[j] > max) max = p[j];
        }
        for (int j = 0; j < keys; j++) {
            p[j] = exp(p[j] - max);
            sum += p[j];
        }
        for (int c = 0; c < values; c++) {
            double value = 0;
            for (int j = 0; j < keys; j++) value += p[j] * (double)v[(size_t)j * args->v.row + (size_t)c];
            out[(size_t)r * args->out.row + (size_t)c] = (float)(value / sum);
        }
    }
}

void vipo_ref_attention(const vipo_compute *compute, const vipo_attention *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->batch * args->heads, attention_head, &task);
}

static void layer_norm_row(void *arg, int i, int thread)
{
    (void)thread;
    const struct ref_task *task = arg;
    const vipo_layer_norm *args = task->args;
    const size_t width = (size_t)args->width;
    const float *x = args->x + (size_t)i * width;
    float *y = args->y + (size_t)i * width;
    double mean = 0, variance = 0;
    for (size_t c = 0; c < width; c++) mean += (double)x[c];
    mean /= (double)width;
    for (size_t c = 0; c < width; c++) variance += ((double)x[c] - mean) * ((double)x[c] - mean);
    const double rstd = 1.0 / sqrt(variance / (double)width + (double)args->eps);
    for (size_t c = 0; c < width; c++)
        y[c] = (float)(((double)x[c] - mean) * rstd * (double)args->gamma[c] +
                       (args->beta ? (double)args->beta[c] : 0));
}

void vipo_ref_layer_norm(const vipo_compute *compute, const vipo_layer_norm *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->rows, layer_norm_row, &task);
}

const vipo_ops vipo_ops_ref = {
    .name = "ref",
    .supported = always,
    .knows = vipo_ref_knows,
    .choose = vipo_ref_choose,
    .packed_floats = vipo_ref_packed_floats,
    .pack = vipo_ref_pack,
    .conv_space_scratch = vipo_ref_conv_space_scratch,
    .conv_time_scratch = vipo_ref_conv_time_scratch,
    .linear_scratch = vipo_ref_linear_scratch,
    .attention_scratch = vipo_ref_attention_scratch,
    .conv_window_scratch = vipo_ref_conv_window_scratch,
    .conv_space = vipo_ref_conv_space,
    .conv_time = vipo_ref_conv_time,
    .group_norm = vipo_ref_group_norm,
    .linear = vipo_ref_linear,
    .attention = vipo_ref_attention,
    .layer_norm = vipo_ref_layer_norm,
    .conv_window = vipo_ref_conv_window,
    .norm_act = vipo_ref_norm_act,
    .correlation = vipo_ref_correlation,
};
