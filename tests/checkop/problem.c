#include "checkop/checkop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* What a buffer of a problem holds. */
enum {
    BUFFER_IN,
    BUFFER_IN2,
    BUFFER_SCALE, /* also gamma, beta; and q, k, v, each its own */
    BUFFER_SHIFT,
    BUFFER_WEIGHTS,
    BUFFER_BIAS,
    BUFFER_EMBEDDING,
    BUFFER_RESIDUAL,
    BUFFER_SKIP,
    BUFFER_SKIP2,
    BUFFER_SKIP_WEIGHTS,
    BUFFER_SKIP_BIAS,
};

static const char *const input_names[CHECKOP_INPUTS] = {"normal", "constant", "huge", "denormal", "offset"};

const char *checkop_input_name(checkop_input input)
{
    return input_names[input];
}

static float *allocate(size_t n)
{
    float *p = vipo_aligned_calloc(n, sizeof *p);
    if (!p) {
        fprintf(stderr, "checkop: no memory for %zu floats\n", n);
        abort();
    }
    return p;
}

/* splitmix64 of a counter. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Nearly normal: the sum of four uniform 16-bit numbers, mean 0, deviation 1. */
static float normal(uint64_t seed, uint64_t i)
{
    const uint64_t bits = mix(seed * 0xd1342543de82ef95u + i);
    double sum = 0;
    for (int k = 0; k < 4; k++) sum += (double)((bits >> (16 * k)) & 0xffff);
    return (float)((sum / 65536.0 - 2.0) * 1.7320508);
}

static float *random_buffer(size_t n, uint64_t seed, double mean, double deviation)
{
    float *p = allocate(n);
    for (size_t i = 0; i < n; i++) p[i] = (float)(mean + deviation * (double)normal(seed, i));
    return p;
}

/* Data of an input class. */
static float *data_buffer(size_t n, uint64_t seed, checkop_input input)
{
    switch (input) {
    case INPUT_CONSTANT:
        return random_buffer(n, seed, 0.5, 0);
    case INPUT_HUGE:
        return random_buffer(n, seed, 0, 1e15);
    case INPUT_DENORMAL:
        return random_buffer(n, seed, 0, 1e-40);
    case INPUT_OFFSET:
        return random_buffer(n, seed, 1000, 1);
    case INPUT_NORMAL:
    case CHECKOP_INPUTS:
        break;
    }
    return random_buffer(n, seed, 0, 1);
}

static size_t map_floats(const int *v, int frames, int channels)
{
    return (size_t)frames * (size_t)v[KEY_HEIGHT] * (size_t)v[KEY_WIDTH] * (size_t)channels;
}

static int second_frames(const int *v)
{
    return v[KEY_FRAMES2] ? v[KEY_FRAMES2] : v[KEY_FRAMES];
}

static int out_side(const int *v, checkop_key side)
{
    if (v[KEY_KIND] == VIPO_WEIGHT_3X3_STRIDE2) return (v[side] + 1) / 2;
    return v[KEY_KIND] == VIPO_WEIGHT_3X3_UPSAMPLE2 ? 2 * v[side] : v[side];
}

static int strips_of(const int *v)
{
    return (v[KEY_HEIGHT] * v[KEY_WIDTH] + VIPO_STRIP_PIXELS - 1) / VIPO_STRIP_PIXELS;
}

static void set_output(checkop_problem *p, const char *name, size_t floats)
{
    p->output_names[p->outputs] = name;
    p->output_floats[p->outputs++] = floats;
}

static void open_conv(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    float **b = p->buffers;
    const size_t n = (size_t)p->items, out = (size_t)v[KEY_OUT], in = (size_t)(v[KEY_IN] + v[KEY_IN2]);
    const double small = p->input == INPUT_DENORMAL ? 1e-40 : 1;
    b[BUFFER_IN] = data_buffer(n * map_floats(v, v[KEY_FRAMES], v[KEY_IN]), seed + 1, p->input);
    if (v[KEY_IN2])
        b[BUFFER_IN2] = data_buffer(n * map_floats(v, second_frames(v), v[KEY_IN2]), seed + 2, p->input);
    const size_t depth = in * (size_t)vipo_weight_taps((vipo_weight_kind)v[KEY_KIND]);
    b[BUFFER_WEIGHTS] = random_buffer(out * depth, seed + 3, 0, 1 / sqrt((double)depth));
    b[BUFFER_BIAS] = random_buffer(out, seed + 4, 0, small);
    if (p->shape.op == CHECKOP_CONV_SPACE) {
        const size_t rows = n * (size_t)(v[KEY_NORM] == 2 ? v[KEY_FRAMES] : 1);
        if (v[KEY_NORM]) {
            b[BUFFER_SCALE] = random_buffer(rows * in, seed + 5, 1, 0.3);
            b[BUFFER_SHIFT] = random_buffer(rows * in, seed + 6, 0, 0.3 * small);
        }
        set_output(p, "out",
                   (size_t)v[KEY_FRAMES] * (size_t)out_side(v, KEY_HEIGHT) * (size_t)out_side(v, KEY_WIDTH) *
                       out);
        return;
    }
    const size_t skip = (size_t)(v[KEY_SKIP] + v[KEY_SKIP2]),
                 map = n * map_floats(v, v[KEY_FRAMES], v[KEY_OUT]);
    if (v[KEY_EMBEDDING]) b[BUFFER_EMBEDDING] = random_buffer(n * (out + 5), seed + 5, 0, small);
    if (v[KEY_RESIDUAL]) b[BUFFER_RESIDUAL] = data_buffer(map, seed + 6, p->input);
    if (v[KEY_SKIP]) {
        b[BUFFER_SKIP] = data_buffer(n * map_floats(v, v[KEY_FRAMES], v[KEY_SKIP]), seed + 7, p->input);
        b[BUFFER_SKIP_WEIGHTS] = random_buffer(out * skip, seed + 8, 0, 1 / sqrt((double)skip));
        b[BUFFER_SKIP_BIAS] = random_buffer(out, seed + 9, 0, small);
    }
    if (v[KEY_SKIP2])
        b[BUFFER_SKIP2] = data_buffer(n * map_floats(v, v[KEY_FRAMES], v[KEY_SKIP2]), seed + 10, p->input);
    set_output(p, "out", map / n);
    if (v[KEY_STATS]) set_output(p, "stats", (size_t)(v[KEY_FRAMES] * strips_of(v)) * 2 * out);
}

/* Strip statistics of one source: means, and sums of squares that belong to a deviation near 1. */
static float *statistics(const int *v, int items, int channels, uint64_t seed, checkop_input input)
{
    const size_t row = (size_t)channels, rows = (size_t)(items * v[KEY_FRAMES] * strips_of(v));
    float *stats = data_buffer(rows * 2 * row, seed, input);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < row; c++) {
            float *m2 = &stats[(r * 2 + 1) * row + c];
            const float d = input == INPUT_OFFSET ? *m2 - 1000 : *m2;
            *m2 = VIPO_STRIP_PIXELS * d * d;
        }
    return stats;
}

static void open_group_norm(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t channels = (size_t)(v[KEY_IN] + v[KEY_IN2]);
    p->buffers[BUFFER_IN] = statistics(v, p->items, v[KEY_IN], seed + 1, p->input);
    if (v[KEY_IN2]) p->buffers[BUFFER_IN2] = statistics(v, p->items, v[KEY_IN2], seed + 2, p->input);
    p->buffers[BUFFER_SCALE] = random_buffer(channels, seed + 3, 1, 0.3);
    p->buffers[BUFFER_SHIFT] = random_buffer(channels, seed + 4, 0, 0.3);
    const size_t row = channels * (size_t)(v[KEY_NORM] == 2 ? v[KEY_FRAMES] : 1);
    set_output(p, "scale", row);
    set_output(p, "shift", row);
}

static void open_linear(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t n = (size_t)p->items, in = (size_t)v[KEY_IN], out = (size_t)v[KEY_OUT];
    const double small = p->input == INPUT_DENORMAL ? 1e-40 : 1;
    p->buffers[BUFFER_IN] = data_buffer(n * (in + 3), seed + 1, p->input);
    p->buffers[BUFFER_WEIGHTS] = random_buffer(out * in, seed + 2, 0, 1 / sqrt((double)in));
    p->buffers[BUFFER_BIAS] = random_buffer(out, seed + 3, 0, small);
    if (v[KEY_RESIDUAL]) p->buffers[BUFFER_RESIDUAL] = data_buffer(n * out, seed + 4, p->input);
    set_output(p, "y", out);
}

static int value_dim(const int *v)
{
    return v[KEY_VALUES] ? v[KEY_VALUES] : v[KEY_DIM];
}

static void open_attention(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t n = (size_t)(p->items * v[KEY_HEADS] * v[KEY_DIM]);
    p->buffers[BUFFER_IN] = data_buffer(n * (size_t)v[KEY_QUERIES], seed + 1, p->input);
    p->buffers[BUFFER_IN2] = data_buffer(n * (size_t)v[KEY_KEYS], seed + 2, p->input);
    const size_t values = (size_t)(p->items * v[KEY_HEADS] * value_dim(v));
    p->buffers[BUFFER_SKIP] = data_buffer(values * (size_t)v[KEY_KEYS], seed + 3, p->input);
    if (v[KEY_COUNTS]) {
        p->key_counts = (int *)(void *)allocate((size_t)p->items);
        for (int i = 0; i < p->items; i++)
            p->key_counts[i] = 1 + (int)(mix(seed + (uint64_t)i) % (uint64_t)v[KEY_KEYS]);
    }
    set_output(p, "out", values / (size_t)p->items * (size_t)v[KEY_QUERIES]);
}

static void open_layer_norm(checkop_problem *p, uint64_t seed)
{
    const size_t width = (size_t)p->shape.v[KEY_WIDTH];
    p->buffers[BUFFER_IN] = data_buffer((size_t)p->items * width, seed + 1, p->input);
    p->buffers[BUFFER_SCALE] = random_buffer(width, seed + 2, 1, 0.3);
    if (p->shape.v[KEY_BETA]) p->buffers[BUFFER_SHIFT] = random_buffer(width, seed + 3, 0, 0.3);
    set_output(p, "y", width);
}

/* height and width are those of the output, without the border. */
static size_t window_input_floats(const int *v)
{
    return (size_t)((v[KEY_HEIGHT] - 1) * v[KEY_STRIDE] + v[KEY_KERNEL]) *
           (size_t)((v[KEY_WIDTH] - 1) * v[KEY_STRIDE] + v[KEY_KERNEL2]) * (size_t)v[KEY_IN];
}

static void open_window(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t out = (size_t)v[KEY_OUT];
    const size_t depth = (size_t)v[KEY_KERNEL] * (size_t)v[KEY_KERNEL2] * (size_t)v[KEY_IN];
    p->buffers[BUFFER_IN] = data_buffer((size_t)p->items * window_input_floats(v), seed + 1, p->input);
    p->buffers[BUFFER_WEIGHTS] = random_buffer(out * depth, seed + 2, 0, 1 / sqrt((double)depth));
    p->buffers[BUFFER_BIAS] = random_buffer(out, seed + 3, 0, p->input == INPUT_DENORMAL ? 1e-40 : 1);
    set_output(p, "y", (size_t)v[KEY_HEIGHT] * (size_t)v[KEY_WIDTH] * out);
}

static void open_norm_act(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t n = (size_t)p->items, channels = (size_t)v[KEY_IN];
    const size_t map = (size_t)v[KEY_HEIGHT] * (size_t)v[KEY_WIDTH] * channels;
    p->buffers[BUFFER_IN] = data_buffer(n * map, seed + 1, p->input);
    p->buffers[BUFFER_SCALE] = random_buffer(channels, seed + 2, 1, 0.3);
    p->buffers[BUFFER_SHIFT] = random_buffer(channels, seed + 3, 0, 0.3);
    if (v[KEY_FILM]) p->buffers[BUFFER_EMBEDDING] = random_buffer(n * (2 * channels + 3), seed + 4, 0, 1);
    /* what GroupNorm makes has deviation 1, whatever comes in */
    if (v[KEY_RESIDUAL]) p->buffers[BUFFER_RESIDUAL] = random_buffer(n * map, seed + 5, 0, 1);
    set_output(p, "y", map);
}

/* Flows of a few pixels, of whole numbers, over all borders, and some that are no flow. */
static void open_correlation(checkop_problem *p, uint64_t seed)
{
    const int *v = p->shape.v;
    const size_t n = (size_t)p->items, map = n * map_floats(v, 1, v[KEY_IN]),
                 side = 2 * (size_t)v[KEY_RADIUS] + 1;
    p->buffers[BUFFER_IN] = data_buffer(map, seed + 1, p->input);
    p->buffers[BUFFER_IN2] = data_buffer(map, seed + 2, p->input);
    if (v[KEY_FLOW]) {
        const size_t flows = n * map_floats(v, 1, 2);
        float *flow = p->buffers[BUFFER_SHIFT] = random_buffer(flows, seed + 3, 0, 3);
        const float odd[] = {-2, 1e30F, NAN, -1e9F, (float)v[KEY_WIDTH], -INFINITY, 0.5F};
        for (size_t i = 0; i < flows; i += 7) flow[i] = odd[i / 7 % 7];
    }
    set_output(p, "out", map_floats(v, 1, (int)(side * side)));
}

checkop_problem *checkop_problem_open(const checkop_shape *shape, checkop_input input, uint64_t seed)
{
    checkop_problem *p = calloc(1, sizeof *p);
    if (!p) abort();
    const bool rows = shape->op == CHECKOP_LINEAR || shape->op == CHECKOP_LAYER_NORM;
    p->shape = *shape;
    p->input = input;
    p->items = shape->v[rows ? KEY_ROWS : KEY_SAMPLES];
    static void (*const open[CHECKOP_OPS])(checkop_problem *, uint64_t) = {
        open_conv,       open_conv,   open_group_norm, open_linear,     open_attention,
        open_layer_norm, open_window, open_norm_act,   open_correlation};
    open[shape->op](p, seed * 1000);
    return p;
}

void checkop_problem_close(checkop_problem **problem)
{
    for (int i = 0; i < CHECKOP_BUFFERS; i++) vipo_aligned_free((*problem)->buffers[i]);
    vipo_aligned_free((*problem)->key_counts);
    free(*problem);
    *problem = NULL;
}

/* ---- calls ----------------------------------------------------------------------------------------------
 */

/* Items [first, first + n) of a buffer as a map. */
static vipo_map map_of(const checkop_problem *p, int buffer, int first, int n, int frames, int channels)
{
    const int *v = p->shape.v;
    return (vipo_map){.data = p->buffers[buffer] + (size_t)first * map_floats(v, frames, channels),
                      .samples = n,
                      .frames = frames,
                      .height = v[KEY_HEIGHT],
                      .width = v[KEY_WIDTH],
                      .channels = channels};
}

static void pack(checkop_call *call, const checkop_problem *problem, int i, vipo_weight_kind kind, int in,
                 int out, const float *weights, const float *bias)
{
    const vipo_ops *ops = call->compute.ops;
    const int *v = problem->shape.v;
    vipo_layer layer = {kind, in, out, 1, 1, 1, v[KEY_HALF] != 0};
    if (problem->shape.op == CHECKOP_CONV_SPACE || problem->shape.op == CHECKOP_CONV_TIME) {
        layer.frames = v[KEY_FRAMES];
        layer.height = v[KEY_HEIGHT];
        layer.width = v[KEY_WIDTH];
    }
    const vipo_method method = v[KEY_METHOD] == 0 || !ops->knows(&layer, (vipo_method)(v[KEY_METHOD] - 1))
                                   ? ops->choose(&layer)
                                   : (vipo_method)(v[KEY_METHOD] - 1);
    call->packed_memory[i] = allocate(ops->packed_floats(&layer, method));
    ops->pack(&layer, method, weights, bias, call->packed_memory[i], &call->packed[i], call->compute.pool);
}

static size_t open_space_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int *v = p->shape.v;
    float *const *b = p->buffers;
    const int in = v[KEY_IN] + v[KEY_IN2];
    pack(call, p, 0, (vipo_weight_kind)v[KEY_KIND], in, v[KEY_OUT], b[BUFFER_WEIGHTS], b[BUFFER_BIAS]);
    const size_t norm = (size_t)first * (size_t)in * (size_t)(v[KEY_NORM] == 2 ? v[KEY_FRAMES] : 1);
    call->u.space = (vipo_conv_space){
        .in = {map_of(p, BUFFER_IN, first, n, v[KEY_FRAMES], v[KEY_IN])},
        .n_in = v[KEY_IN2] ? 2 : 1,
        .silu = v[KEY_SILU],
        .weights = &call->packed[0],
        .out = {.data = out,
                .samples = n,
                .frames = v[KEY_FRAMES],
                .height = out_side(v, KEY_HEIGHT),
                .width = out_side(v, KEY_WIDTH),
                .channels = v[KEY_OUT]},
    };
    if (v[KEY_IN2]) call->u.space.in[1] = map_of(p, BUFFER_IN2, first, n, second_frames(v), v[KEY_IN2]);
    if (v[KEY_NORM])
        call->u.space.norm = (vipo_affine){b[BUFFER_SCALE] + norm, b[BUFFER_SHIFT] + norm, v[KEY_NORM] == 2};
    return call->compute.ops->conv_space_scratch(&call->u.space);
}

static size_t open_time_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out,
                             float *stats)
{
    const int *v = p->shape.v;
    float *const *b = p->buffers;
    const size_t stride = (size_t)v[KEY_OUT] + 5;
    pack(call, p, 0, (vipo_weight_kind)v[KEY_KIND], v[KEY_IN], v[KEY_OUT], b[BUFFER_WEIGHTS], b[BUFFER_BIAS]);
    call->u.time = (vipo_conv_time){
        .in = map_of(p, BUFFER_IN, first, n, v[KEY_FRAMES], v[KEY_IN]),
        .weights = &call->packed[0],
        .embedding = b[BUFFER_EMBEDDING] ? b[BUFFER_EMBEDDING] + (size_t)first * stride : NULL,
        .embedding_stride = stride,
        .n_skip = (v[KEY_SKIP] > 0) + (v[KEY_SKIP2] > 0),
        .out = {.data = out,
                .samples = n,
                .frames = v[KEY_FRAMES],
                .height = v[KEY_HEIGHT],
                .width = v[KEY_WIDTH],
                .channels = v[KEY_OUT],
                .stats = stats},
    };
    if (v[KEY_RESIDUAL])
        call->u.time.residual = map_of(p, BUFFER_RESIDUAL, first, n, v[KEY_FRAMES], v[KEY_OUT]);
    if (v[KEY_SKIP]) {
        pack(call, p, 1, VIPO_WEIGHT_LINEAR, v[KEY_SKIP] + v[KEY_SKIP2], v[KEY_OUT], b[BUFFER_SKIP_WEIGHTS],
             b[BUFFER_SKIP_BIAS]);
        call->u.time.skip_weights = &call->packed[1];
        call->u.time.skip[0] = map_of(p, BUFFER_SKIP, first, n, v[KEY_FRAMES], v[KEY_SKIP]);
    }
    if (v[KEY_SKIP2]) call->u.time.skip[1] = map_of(p, BUFFER_SKIP2, first, n, v[KEY_FRAMES], v[KEY_SKIP2]);
    return call->compute.ops->conv_time_scratch(&call->u.time);
}

static vipo_map stats_of(const checkop_problem *p, int buffer, int first, int n, int channels)
{
    const int *v = p->shape.v;
    const size_t item = (size_t)(v[KEY_FRAMES] * strips_of(v)) * 2 * (size_t)channels;
    vipo_map map = map_of(p, buffer, 0, n, v[KEY_FRAMES], channels);
    map.data = NULL;
    map.stats = p->buffers[buffer] + (size_t)first * item;
    return map;
}

static size_t open_norm_call(checkop_call *call, const checkop_problem *p, int first, int n,
                             float *const out[])
{
    const int *v = p->shape.v;
    call->u.norm = (vipo_group_norm){
        .in = {stats_of(p, BUFFER_IN, first, n, v[KEY_IN])},
        .n_in = v[KEY_IN2] ? 2 : 1,
        .groups = v[KEY_GROUPS],
        .eps = 1e-5f,
        .gamma = p->buffers[BUFFER_SCALE],
        .beta = p->buffers[BUFFER_SHIFT],
        .out = {out[0], out[1], v[KEY_NORM] == 2},
    };
    if (v[KEY_IN2]) call->u.norm.in[1] = stats_of(p, BUFFER_IN2, first, n, v[KEY_IN2]);
    return 0;
}

static size_t open_linear_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int *v = p->shape.v;
    const size_t in = (size_t)v[KEY_IN] + 3, width = (size_t)v[KEY_OUT];
    pack(call, p, 0, VIPO_WEIGHT_LINEAR, v[KEY_IN], v[KEY_OUT], p->buffers[BUFFER_WEIGHTS],
         p->buffers[BUFFER_BIAS]);
    const float *residual = v[KEY_RESIDUAL] ? p->buffers[BUFFER_RESIDUAL] + (size_t)first * width : NULL;
    if (v[KEY_RESIDUAL] == 2) {
        memcpy(out, residual, (size_t)n * width * sizeof *out);
        residual = out;
    }
    call->u.linear = (vipo_linear){.rows = n,
                                   .x = p->buffers[BUFFER_IN] + (size_t)first * in,
                                   .x_stride = in,
                                   .weights = &call->packed[0],
                                   .activation = (vipo_activation)v[KEY_ACT],
                                   .residual = residual,
                                   .y = out,
                                   .y_stride = width};
    return call->compute.ops->linear_scratch(&call->u.linear);
}

static vipo_rows rows_of(float *data, const int *v, int first, int rows, int dim)
{
    const size_t row = (size_t)(v[KEY_HEADS] * dim), batch = (size_t)rows * row;
    return (vipo_rows){data + (size_t)first * batch, batch, row, (size_t)dim};
}

static size_t open_attention_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int *v = p->shape.v;
    call->u.attention = (vipo_attention){
        .batch = n,
        .heads = v[KEY_HEADS],
        .queries = v[KEY_QUERIES],
        .keys = v[KEY_KEYS],
        .head_dim = v[KEY_DIM],
        .value_dim = v[KEY_VALUES],
        .q = rows_of(p->buffers[BUFFER_IN], v, first, v[KEY_QUERIES], v[KEY_DIM]),
        .k = rows_of(p->buffers[BUFFER_IN2], v, first, v[KEY_KEYS], v[KEY_DIM]),
        .v = rows_of(p->buffers[BUFFER_SKIP], v, first, v[KEY_KEYS], value_dim(v)),
        .out = rows_of(out, v, 0, v[KEY_QUERIES], value_dim(v)),
        .scale = 1 / sqrtf((float)v[KEY_DIM]),
        .causal = v[KEY_CAUSAL],
        .key_counts = p->key_counts ? p->key_counts + first : NULL,
    };
    return call->compute.ops->attention_scratch(&call->u.attention);
}

static size_t open_layer_norm_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int width = p->shape.v[KEY_WIDTH];
    call->u.layer_norm = (vipo_layer_norm){.rows = n,
                                           .width = width,
                                           .x = p->buffers[BUFFER_IN] + (size_t)first * (size_t)width,
                                           .gamma = p->buffers[BUFFER_SCALE],
                                           .beta = p->buffers[BUFFER_SHIFT],
                                           .eps = 1e-5f,
                                           .y = out};
    return 0;
}

static vipo_raster raster_of(float *data, int rows, int columns, int pixel)
{
    return (vipo_raster){data, (size_t)rows * (size_t)columns * (size_t)pixel,
                         (size_t)columns * (size_t)pixel, (size_t)pixel};
}

static size_t open_window_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int *v = p->shape.v;
    const int columns = (v[KEY_WIDTH] - 1) * v[KEY_STRIDE] + v[KEY_KERNEL2];
    const int rows = (v[KEY_HEIGHT] - 1) * v[KEY_STRIDE] + v[KEY_KERNEL];
    pack(call, p, 0, VIPO_WEIGHT_LINEAR, v[KEY_KERNEL] * v[KEY_KERNEL2] * v[KEY_IN], v[KEY_OUT],
         p->buffers[BUFFER_WEIGHTS], p->buffers[BUFFER_BIAS]);
    call->u.window = (vipo_conv_window){
        .samples = n,
        .height = v[KEY_HEIGHT],
        .width = v[KEY_WIDTH],
        .kernel_height = v[KEY_KERNEL],
        .stride = v[KEY_STRIDE],
        .x = raster_of(p->buffers[BUFFER_IN] + (size_t)first * window_input_floats(v), rows, columns,
                       v[KEY_IN]),
        .weights = &call->packed[0],
        .y = raster_of(out, v[KEY_HEIGHT], v[KEY_WIDTH], v[KEY_OUT]),
    };
    return call->compute.ops->conv_window_scratch(&call->u.window);
}

static size_t open_norm_act_call(checkop_call *call, const checkop_problem *p, int first, int n, float *out)
{
    const int *v = p->shape.v;
    const size_t channels = (size_t)v[KEY_IN], film = 2 * channels + 3;
    const size_t map = (size_t)v[KEY_HEIGHT] * (size_t)v[KEY_WIDTH] * channels;
    const float *factors = v[KEY_FILM] ? p->buffers[BUFFER_EMBEDDING] + (size_t)first * film : NULL;
    call->u.norm_act = (vipo_norm_act){
        .samples = n,
        .height = v[KEY_HEIGHT],
        .width = v[KEY_WIDTH],
        .channels = v[KEY_IN],
        .groups = v[KEY_GROUPS],
        .eps = 1e-5f,
        .gamma = p->buffers[BUFFER_SCALE],
        .beta = p->buffers[BUFFER_SHIFT],
        .x = p->buffers[BUFFER_IN] + (size_t)first * map,
        .activation = (vipo_activation)v[KEY_ACT],
        .factor = v[KEY_FILM] == 1 ? factors : NULL,
        .summand = factors ? factors + channels : NULL,
        .film_stride = film,
        .last = (vipo_activation)v[KEY_LAST],
        .y = raster_of(out, v[KEY_HEIGHT], v[KEY_WIDTH], v[KEY_IN]),
    };
    if (v[KEY_RESIDUAL])
        call->u.norm_act.residual = raster_of(p->buffers[BUFFER_RESIDUAL] + (size_t)first * map,
                                              v[KEY_HEIGHT], v[KEY_WIDTH], v[KEY_IN]);
    return 0;
}

static size_t open_correlation_call(checkop_call *call, const checkop_problem *p, int first, int n,
                                    float *out)
{
    const int *v = p->shape.v;
    const size_t map = (size_t)first * map_floats(v, 1, v[KEY_IN]);
    call->u.correlation = (vipo_correlation){
        .items = n,
        .height = v[KEY_HEIGHT],
        .width = v[KEY_WIDTH],
        .channels = v[KEY_IN],
        .a = p->buffers[BUFFER_IN] + map,
        .b = p->buffers[BUFFER_IN2] + map,
        .flow = v[KEY_FLOW] ? p->buffers[BUFFER_SHIFT] + (size_t)first * map_floats(v, 1, 2) : NULL,
        .radius = v[KEY_RADIUS],
        .scale = 1 / sqrtf((float)v[KEY_IN]),
        .out = out,
    };
    return 0;
}

enum { SCRATCH_GUARD = 64 }; /* floats */

void checkop_call_open(checkop_call *call, const checkop_problem *problem, const vipo_ops *ops,
                       vipo_pool *pool, int first, int n, float *const out[])
{
    *call = (checkop_call){.compute = {.ops = ops, .pool = pool}, .op = problem->shape.op};
    size_t bytes = 0;
    switch (call->op) {
    case CHECKOP_CONV_SPACE:
        bytes = open_space_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_CONV_TIME:
        bytes = open_time_call(call, problem, first, n, out[0], problem->outputs == 2 ? out[1] : NULL);
        break;
    case CHECKOP_GROUP_NORM:
        bytes = open_norm_call(call, problem, first, n, out);
        break;
    case CHECKOP_LINEAR:
        bytes = open_linear_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_ATTENTION:
        bytes = open_attention_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_LAYER_NORM:
        bytes = open_layer_norm_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_CONV_WINDOW:
        bytes = open_window_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_NORM_ACT:
        bytes = open_norm_act_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_CORRELATION:
        bytes = open_correlation_call(call, problem, first, n, out[0]);
        break;
    case CHECKOP_OPS:
        break;
    }
    call->compute.scratch_bytes = (bytes + 63) / 64 * 64;
    call->scratch_floats = call->compute.scratch_bytes / sizeof(float) * (size_t)vipo_pool_threads(pool);
    float *scratch = allocate(call->scratch_floats + SCRATCH_GUARD);
    memset(scratch, 0xff, (call->scratch_floats + SCRATCH_GUARD) * sizeof *scratch); /* NaN */
    call->scratch_block = (char *)scratch;
    call->compute.scratch = call->scratch_block;
}

void checkop_call_run(checkop_call *call)
{
    const vipo_ops *ops = call->compute.ops;
    switch (call->op) {
    case CHECKOP_CONV_SPACE:
        ops->conv_space(&call->compute, &call->u.space);
        break;
    case CHECKOP_CONV_TIME:
        ops->conv_time(&call->compute, &call->u.time);
        break;
    case CHECKOP_GROUP_NORM:
        ops->group_norm(&call->compute, &call->u.norm);
        break;
    case CHECKOP_LINEAR:
        ops->linear(&call->compute, &call->u.linear);
        break;
    case CHECKOP_ATTENTION:
        ops->attention(&call->compute, &call->u.attention);
        break;
    case CHECKOP_LAYER_NORM:
        ops->layer_norm(&call->compute, &call->u.layer_norm);
        break;
    case CHECKOP_CONV_WINDOW:
        ops->conv_window(&call->compute, &call->u.window);
        break;
    case CHECKOP_NORM_ACT:
        ops->norm_act(&call->compute, &call->u.norm_act);
        break;
    case CHECKOP_CORRELATION:
        ops->correlation(&call->compute, &call->u.correlation);
        break;
    case CHECKOP_OPS:
        break;
    }
}

bool checkop_call_close(checkop_call *call)
{
    bool intact = true;
    const char *guard = call->scratch_block + call->scratch_floats * sizeof(float);
    for (size_t i = 0; i < SCRATCH_GUARD * sizeof(float); i++) intact = intact && guard[i] == (char)0xff;
    vipo_aligned_free(call->scratch_block);
    for (int i = 0; i < 2; i++) vipo_aligned_free(call->packed_memory[i]);
    return intact;
}
