/* Memory of a session, and ops with scratch that grows to what they need. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "nets/unimatch_private.h"

enum { BLOCK = 1 << 16 /* floats of a task over single numbers */ };

vipo_status vipo_unimatch_session_open(vipo_unimatch_session **out, const vipo_unimatch *net, vipo_pool *pool,
                                       vipo_error *error)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return vipo_fail_memory(error, sizeof **out, "an optical flow session");
    (*out)->net = net;
    (*out)->compute = (vipo_compute){.ops = net->store.packer.ops, .pool = pool};
    return VIPO_OK;
}

void vipo_unimatch_session_close(vipo_unimatch_session **session)
{
    if (!*session) return;
    for (int i = 0; i < BUFFERS; i++) vipo_aligned_free((*session)->buffers[i].data);
    vipo_aligned_free((*session)->compute.scratch);
    free(*session);
    *session = NULL;
}

void vipo_unimatch_session_dump(vipo_unimatch_session *session, vipo_unimatch_dump *dump, void *user)
{
    session->dump = dump;
    session->dump_user = user;
}

size_t vipo_unimatch_session_bytes(const vipo_unimatch_session *session)
{
    size_t bytes = session->scratch_capacity;
    for (int i = 0; i < BUFFERS; i++) bytes += session->buffers[i].capacity * sizeof(float);
    return bytes;
}

vipo_status unimatch_buffer_get(vipo_unimatch_session *s, unimatch_buffer which, size_t n, float **out,
                                vipo_error *error)
{
    if (n > s->buffers[which].capacity) {
        vipo_aligned_free(s->buffers[which].data);
        s->buffers[which].capacity = 0;
        s->buffers[which].data = vipo_aligned_alloc(n, sizeof(float));
        if (!s->buffers[which].data) return vipo_fail_memory(error, n * sizeof(float), "optical flow");
        s->buffers[which].capacity = n;
    }
    *out = s->buffers[which].data;
    return VIPO_OK;
}

void unimatch_dump(vipo_unimatch_session *s, const char *name, int item, const float *value, int height,
                   int width, int channels)
{
    if (s->dump) s->dump(s->dump_user, name, item, value, height, width, channels);
}

static vipo_status reserve(vipo_unimatch_session *s, size_t bytes, vipo_error *error)
{
    const size_t each = (bytes + 63) / 64 * 64, threads = (size_t)vipo_pool_threads(s->compute.pool);
    if (each * threads > s->scratch_capacity) {
        vipo_aligned_free(s->compute.scratch);
        s->scratch_capacity = 0;
        s->compute.scratch = vipo_aligned_alloc(each * threads, 1);
        if (!s->compute.scratch) return vipo_fail_memory(error, each * threads, "optical flow");
        s->scratch_capacity = each * threads;
    }
    s->compute.scratch_bytes = each;
    return VIPO_OK;
}

static vipo_map as_map(unimatch_map map)
{
    return (vipo_map){.data = map.data,
                      .samples = 1,
                      .frames = 1,
                      .height = map.height,
                      .width = map.width,
                      .channels = map.channels};
}

vipo_status unimatch_conv(vipo_unimatch_session *s, const vipo_packed *weights, unimatch_map in,
                          unimatch_map second, unimatch_map out, vipo_error *error)
{
    const vipo_conv_space args = {.in = {as_map(in), as_map(second)},
                                  .n_in = second.data ? 2 : 1,
                                  .weights = weights,
                                  .out = as_map(out)};
    VIPO_TRY(reserve(s, s->compute.ops->conv_space_scratch(&args), error));
    s->compute.ops->conv_space(&s->compute, &args);
    return VIPO_OK;
}

vipo_status unimatch_linear(vipo_unimatch_session *s, const vipo_packed *weights, int rows, const float *x,
                            size_t x_stride, vipo_activation activation, float *y, vipo_error *error)
{
    const vipo_linear args = {.rows = rows,
                              .x = x,
                              .x_stride = x_stride,
                              .weights = weights,
                              .activation = activation,
                              .y = y,
                              .y_stride = (size_t)weights->out};
    VIPO_TRY(reserve(s, s->compute.ops->linear_scratch(&args), error));
    s->compute.ops->linear(&s->compute, &args);
    return VIPO_OK;
}

static vipo_rows rows_of(const float *data, int rows, int width)
{
    return (vipo_rows){.data = (float *)(uintptr_t)data,
                       .batch = (size_t)rows * (size_t)width,
                       .row = (size_t)width,
                       .head = 0};
}

vipo_status unimatch_attention(vipo_unimatch_session *s, int batch, int queries, int keys, const float *q,
                               const float *k, const float *v, int value_dim, float *out, vipo_error *error)
{
    const vipo_attention args = {.batch = batch,
                                 .heads = 1,
                                 .queries = queries,
                                 .keys = keys,
                                 .head_dim = CHANNELS,
                                 .value_dim = value_dim,
                                 .q = rows_of(q, queries, CHANNELS),
                                 .k = rows_of(k, keys, CHANNELS),
                                 .v = rows_of(v, keys, value_dim),
                                 .out = rows_of(out, queries, value_dim),
                                 .scale = (float)(1 / sqrt((double)CHANNELS))};
    VIPO_TRY(reserve(s, s->compute.ops->attention_scratch(&args), error));
    s->compute.ops->attention(&s->compute, &args);
    return VIPO_OK;
}

void unimatch_correlation(vipo_unimatch_session *s, const float *a, const float *b, const float *flow,
                          int height, int width, int radius, float *out)
{
    s->compute.ops->correlation(&s->compute, &(vipo_correlation){.items = 1,
                                                                 .height = height,
                                                                 .width = width,
                                                                 .channels = CHANNELS,
                                                                 .a = a,
                                                                 .b = b,
                                                                 .flow = flow,
                                                                 .radius = radius,
                                                                 .scale = (float)(1 / sqrt((double)CHANNELS)),
                                                                 .out = out});
}

void unimatch_layer_norm(vipo_unimatch_session *s, float *x, int rows, const float *gain, const float *bias)
{
    s->compute.ops->layer_norm(
        &s->compute,
        &(vipo_layer_norm){
            .rows = rows, .width = CHANNELS, .x = x, .gamma = gain, .beta = bias, .eps = 1e-5F, .y = x});
}

void unimatch_each(vipo_unimatch_session *s, int n, void (*task)(void *arg, int i, int thread), void *arg)
{
    vipo_pool_run(s->compute.pool, n, task, arg);
}

/* ---- single numbers ------------------------------------------------------------------------------------- */

struct numbers {
    float *restrict x;
    const float *restrict y;
    size_t n;
};

static size_t block_end(const struct numbers *args, int i)
{
    const size_t end = ((size_t)i + 1) * BLOCK;
    return end < args->n ? end : args->n;
}

static void relu_block(void *arg, int i, int thread)
{
    (void)thread;
    const struct numbers *args = arg;
    float *x = args->x;
    for (size_t k = (size_t)i * BLOCK, end = block_end(args, i); k < end; k++) x[k] = x[k] > 0 ? x[k] : 0;
}

static void add_block(void *arg, int i, int thread)
{
    (void)thread;
    const struct numbers *args = arg;
    float *restrict x = args->x;
    const float *restrict y = args->y;
    for (size_t k = (size_t)i * BLOCK, end = block_end(args, i); k < end; k++) x[k] += y[k];
}

static int blocks(size_t n)
{
    return (int)((n + BLOCK - 1) / BLOCK);
}

void unimatch_relu(vipo_unimatch_session *s, float *x, size_t n)
{
    struct numbers args = {x, NULL, n};
    unimatch_each(s, blocks(n), relu_block, &args);
}

void unimatch_add(vipo_unimatch_session *s, float *x, const float *y, size_t n)
{
    struct numbers args = {x, y, n};
    unimatch_each(s, blocks(n), add_block, &args);
}

/* ---- bilinear ------------------------------------------------------------------------------------------- */

struct bilinear {
    const float *in, *gain;
    float *out;
    int in_height, in_width, channels, out_height, out_width;
};

/* Position i of n_out as a whole source and a fraction; the last one is n_in - 2 and 1. */
static int source(int i, int n_in, int n_out, float *fraction)
{
    const double at = n_out > 1 ? (double)i * (n_in - 1) / (n_out - 1) : 0;
    int whole = (int)at;
    if (whole > n_in - 2) whole = n_in - 2;
    if (whole < 0) whole = 0;
    *fraction = n_in > 1 ? (float)(at - whole) : 0;
    return whole;
}

static void bilinear_row(void *arg, int y, int thread)
{
    (void)thread;
    const struct bilinear *b = arg;
    const size_t channels = (size_t)b->channels;
    float fy, fx;
    const int top = source(y, b->in_height, b->out_height, &fy);
    const float *row = b->in + (size_t)top * (size_t)b->in_width * channels;
    const float *below = b->in_height > 1 ? row + (size_t)b->in_width * channels : row;
    float *out = b->out + (size_t)y * (size_t)b->out_width * channels;
    for (int x = 0; x < b->out_width; x++) {
        const int left = source(x, b->in_width, b->out_width, &fx);
        const size_t at = (size_t)left * channels, next = b->in_width > 1 ? at + channels : at;
        for (size_t c = 0; c < channels; c++) {
            const float upper = row[at + c] * (1 - fx) + row[next + c] * fx;
            const float lower = below[at + c] * (1 - fx) + below[next + c] * fx;
            const float value = upper * (1 - fy) + lower * fy;
            *out++ = b->gain ? value * b->gain[c] : value;
        }
    }
}

void vipo_bilinear_corners(vipo_pool *pool, const float *in, int in_height, int in_width, int channels,
                           float *out, int out_height, int out_width, const float *gain)
{
    struct bilinear b = {in, gain, out, in_height, in_width, channels, out_height, out_width};
    vipo_pool_run(pool, out_height, bilinear_row, &b);
}
