#include "support/scripted_ops.h"

#include <string.h>

scripted_state scripted;

void scripted_reset(double direct, double winograd2, double winograd4)
{
    scripted = (scripted_state){.knows = {true, true, true},
                                .seconds = {direct, winograd2, winograd4},
                                .floats = {9, 16, 36},
                                .plausible = true};
}

static double seconds(void)
{
    return scripted.now;
}

static long interruptions(void)
{
    return scripted.interruptions;
}

const vipo_tuner_clock scripted_clock = {seconds, interruptions};

static bool knows(const vipo_layer *layer, vipo_method method)
{
    (void)layer;
    return method == VIPO_METHOD_DIRECT || scripted.knows[method];
}

static vipo_method choose(const vipo_layer *layer)
{
    (void)layer;
    return scripted.fixed;
}

static size_t packed_floats(const vipo_layer *layer, vipo_method method)
{
    (void)layer;
    return scripted.floats[method];
}

static void pack(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                 float *memory, vipo_packed *packed, vipo_pool *pool)
{
    (void)pool;
    (void)bias;
    const size_t last = (size_t)layer->in * (size_t)layer->out * (size_t)vipo_weight_taps(layer->kind) - 1;
    for (size_t i = 0; i < scripted.floats[method]; i++) memory[i] = weights[i % 2 ? 0 : last];
    *packed = (vipo_packed){.kind = layer->kind,
                            .method = method,
                            .half = layer->half,
                            .in = layer->in,
                            .out = layer->out,
                            .data = memory,
                            .bias = memory};
    scripted.packs++;
}

static size_t space_scratch(const vipo_conv_space *args)
{
    return 4 * (size_t)args->weights->in;
}

static size_t time_scratch(const vipo_conv_time *args)
{
    return 4 * (size_t)args->weights->in;
}

static void pass(const vipo_packed *weights, const vipo_map *in)
{
    const double products = (double)weights->in * weights->out * vipo_weight_taps(weights->kind) *
                            in->frames * in->height * in->width;
    const bool disturbed = scripted.disturbed > 0;
    scripted.now += (disturbed ? 10 : 1) * scripted.seconds[weights->method] * products * 1e-6;
    scripted.disturbed -= disturbed;
    scripted.interruptions += disturbed;
    scripted.calls[weights->method]++;
}

static void look_at(const float *data, size_t n)
{
    size_t same = 0;
    for (size_t i = 0; data && i < n; i++) {
        scripted.plausible = scripted.plausible && data[i] >= -2 && data[i] <= 2;
        same += data[i] == data[0];
    }
    if (data && n > 1 && same == n) scripted.plausible = false;
}

static size_t map_floats(const vipo_map *map)
{
    return (size_t)(map->frames * map->height * map->width * map->channels);
}

static void conv_space(const vipo_compute *compute, const vipo_conv_space *args)
{
    memset(vipo_compute_scratch(compute, 0), 0, space_scratch(args));
    look_at(args->in[0].data, map_floats(&args->in[0]));
    look_at(args->norm.scale, (size_t)args->in[0].channels);
    look_at(args->norm.shift, (size_t)args->in[0].channels);
    memset(args->out.data, 0, map_floats(&args->out) * sizeof(float));
    pass(args->weights, &args->in[0]);
    scripted.space = *args;
}

static void conv_time(const vipo_compute *compute, const vipo_conv_time *args)
{
    memset(vipo_compute_scratch(compute, 0), 0, time_scratch(args));
    look_at(args->in.data, map_floats(&args->in));
    look_at(args->residual.data, map_floats(&args->residual));
    look_at(args->embedding, (size_t)args->out.channels);
    memset(args->out.data, 0, map_floats(&args->out) * sizeof(float));
    const size_t strips = (size_t)(args->out.frames * vipo_map_strips(&args->out));
    memset(args->out.stats, 0, strips * 2 * (size_t)args->out.channels * sizeof(float));
    pass(args->weights, &args->in);
    scripted.time = *args;
}

const vipo_ops scripted_ops = {.name = "scripted",
                               .knows = knows,
                               .choose = choose,
                               .packed_floats = packed_floats,
                               .pack = pack,
                               .conv_space_scratch = space_scratch,
                               .conv_time_scratch = time_scratch,
                               .conv_space = conv_space,
                               .conv_time = conv_time};
