/* Winograd convolution over frames (README.md). The frames of a pixel are cut into runs of 4 outputs, and at
 * the end one of 3, one of 2 or both:
 *
 *   run       products  at the points
 *   F(4, 3)   6         0, +-A, +-B, infinity
 *   F(3, 3)   5            +-A, +-B, infinity
 *   F(2, 3)   4            +-A, +-B
 *
 * All runs share one set of six transformed weights, because a weight's transform is its polynomial's value
 * at the point up to a factor, which the shorter runs put into their input transform. So 7 frames take 11
 * products in place of 19, and the products at one point are one matrix product over the pixels of all runs
 * that use it.
 *
 * A task takes a strip of pixels block by block: the transformed inputs V [product][run, pixel][channel] of a
 * block stay in L2 while the weights stream by; for each panel of output channels the products M
 * [product][run, pixel][column] become outputs, and statistics of them, while they are in registers. Small
 * maps, whose weights outweigh them: all threads fill one V of several strips, then a task makes one panel of
 * one strip. */
#include <string.h>

#include "compute/blocked/time_plan.h"
#include "compute/blocked/winograd.h"

enum {
    SMALL_PIXELS = 256,     /* of a map whose weights are read once in all */
    SHARED_BYTES = 8 << 20, /* V of small maps */
    BLOCK_BYTES =
        LANES == 16 ? 576 << 10 : 320 << 10, /* V of a block: a part of L2, more where L2 is larger */
    LEAST_PIXELS = 12,                       /* of a block; strips are multiples of it */
    FILL_FLOATS = 4096,                      /* of a frame, that a task of a small map transforms */
    PRODUCT_GAP = 5 * 16, /* floats between products, lest all lie in the same lines of L1 */
    TASKS_PER_THREAD = 8,
};

static void plan_time(struct time_plan *plan, const vipo_conv_time *args)
{
    const vipo_map *out = &args->out;
    *plan = (struct time_plan){
        .args = args,
        .runs = time_runs_of(out->frames),
        .channels = args->weights->in,
        .pixels = out->height * out->width,
        .block = VIPO_STRIP_PIXELS,
        .group = 1,
    };
    size_t products = 0; /* of a pixel */
    for (int p = 0; p < TIME_PRODUCTS; p++) products += (size_t)product_runs(&plan->runs, p);
    const size_t pixel_bytes = products * (size_t)plan->channels * sizeof(float);
    const size_t strip_bytes = pixel_bytes * (size_t)least(plan->block, plan->pixels);
    plan->small = plan->pixels <= SMALL_PIXELS && strip_bytes <= SHARED_BYTES;
    while (!plan->small && plan->block > LEAST_PIXELS && (size_t)plan->block * pixel_bytes > BLOCK_BYTES)
        plan->block /= 2;
    plan->blocks = parts(plan->pixels, plan->block);
    plan->block = least(plan->block, plan->pixels);
    if (plan->small) plan->group = least(out->samples * plan->blocks, (int)(SHARED_BYTES / strip_bytes));
    const size_t rows = (size_t)run_count(&plan->runs) * (size_t)plan->block;
    const size_t skip_rows = args->n_skip ? (size_t)out->frames * (size_t)plan->block : 0;
    plan->v_product = rows * (size_t)plan->channels + PRODUCT_GAP;
    plan->v_block = TIME_PRODUCTS * plan->v_product;
    plan->m_product = rows * PANEL + PRODUCT_GAP;
    plan->v_bytes = line_bytes((size_t)plan->group * plan->v_block * sizeof(float));
    plan->m_bytes = line_bytes(TIME_PRODUCTS * plan->m_product * sizeof(float));
    plan->skip_bytes = line_bytes(skip_rows * PANEL * sizeof(float));
    plan->bias_bytes = line_bytes(padded_columns(out->channels) * sizeof(float));
    plan->sums_bytes = TIME_SUMS * plan->bias_bytes * (size_t)out->frames;
    plan->row_bytes = line_bytes(rows * sizeof(ptrdiff_t));
    plan->skip_row_bytes = line_bytes(skip_rows * sizeof(ptrdiff_t));
}

size_t BLOCKED(winograd_time_scratch)(const vipo_conv_time *args)
{
    struct time_plan plan;
    plan_time(&plan, args);
    return plan.v_bytes + plan.m_bytes + plan.skip_bytes + 2 * plan.row_bytes + 3 * plan.skip_row_bytes +
           plan.bias_bytes + plan.sums_bytes;
}

static void *take(char **scratch, size_t bytes)
{
    void *part = *scratch;
    *scratch += bytes;
    return part;
}

static struct time_scratch scratch_of(const vipo_compute *compute, const struct time_plan *plan, int thread)
{
    char *rest = vipo_compute_scratch(compute, thread);
    struct time_scratch s = {.v = take(&rest, plan->v_bytes)};
    if (plan->small) s.v = vipo_compute_scratch(compute, 0);
    s.m = take(&rest, plan->m_bytes);
    s.skip = take(&rest, plan->skip_bytes);
    s.v_rows = take(&rest, plan->row_bytes);
    s.m_rows = take(&rest, plan->row_bytes);
    s.skip_out_rows = take(&rest, plan->skip_row_bytes);
    for (int i = 0; i < 2; i++) s.skip_in_rows[i] = take(&rest, plan->skip_row_bytes);
    s.bias = take(&rest, plan->bias_bytes);
    s.sums = (float *)rest;
    return s;
}

/* Block i, counted through samples. */
static struct time_block block_at(const struct time_plan *plan, int i)
{
    struct time_block block = {.sample = i / plan->blocks, .first = i % plan->blocks * plan->block};
    block.n = least(plan->block, plan->pixels - block.first);
    return block;
}

/* ---- products ---------------------------------------------------------------------------------------- */

/* Byte offsets of the rows of V and M, and of the pixels of all frames for the skip convolution, where a row of
 * its output is (frame, pixel). */
static void fill_rows(const struct time_plan *plan, const struct time_scratch *s, int n)
{
    const vipo_conv_time *args = plan->args;
    const ptrdiff_t size = (ptrdiff_t)sizeof(float);
    for (int i = 0; i < run_count(&plan->runs) * n; i++) {
        s->v_rows[i] = (ptrdiff_t)i * plan->channels * size;
        s->m_rows[i] = (ptrdiff_t)i * PANEL * size;
    }
    if (!args->n_skip) return;
    for (int i = 0; i < args->out.frames * n; i++) s->skip_out_rows[i] = (ptrdiff_t)i * PANEL * size;
    for (int k = 0; k < args->n_skip; k++) {
        const vipo_map *skip = &args->skip[k];
        ptrdiff_t *row = s->skip_in_rows[k];
        for (int f = 0; f < args->out.frames; f++) {
            const ptrdiff_t frame = skip->frames == 1 ? 0 : (ptrdiff_t)f * plan->pixels;
            for (int i = 0; i < n; i++) *row++ = (frame + i) * skip->channels * size;
        }
    }
}

static void multiply_skip(const struct time_plan *plan, const struct time_scratch *s,
                          const struct time_block *block, int panel)
{
    const vipo_conv_time *args = plan->args;
    const vipo_packed *weights = args->skip_weights;
    struct gemm gemm = {.rows = args->out.frames * block->n,
                        .columns = panel_width(weights->out, panel),
                        .n_segments = args->n_skip,
                        .out = s->skip,
                        .out_rows = s->skip_out_rows};
    for (int k = 0, first_k = 0; k < args->n_skip; first_k += args->skip[k].channels, k++)
        gemm.segments[k] = (struct gemm_segment){
            .a = vipo_map_frame(&args->skip[k], block->sample, 0) +
                 (size_t)block->first * (size_t)args->skip[k].channels,
            .rows = s->skip_in_rows[k],
            .k = args->skip[k].channels,
            .weights = weights->data + (size_t)weights->in * (size_t)panel * PANEL,
            .weights_k = weights->in,
            .first_k = first_k,
        };
    BLOCKED(gemm)(&gemm, 0, 1);
}

/* Panels [first, end) of a block whose V is there. */
static void make_panels(const struct time_plan *plan, const struct time_scratch *s,
                        const struct time_block *block, const float *v, int first, int end)
{
    const vipo_packed *weights = plan->args->weights;
    for (int panel = first; panel < end; panel++) {
        const int width = panel_width(weights->out, panel);
        const size_t product = (size_t)plan->channels * (size_t)width;
        const float *w = weights->data + TIME_PRODUCTS * (size_t)plan->channels * (size_t)panel * PANEL;
        for (int p = 0; p < TIME_PRODUCTS; p++, w += product) BLOCKED(gemm_panel)
        (product_runs(&plan->runs, p) * block->n, plan->channels, v + (size_t)p * plan->v_product, s->v_rows,
         w, width, s->m + (size_t)p * plan->m_product, s->m_rows);
        if (plan->args->n_skip) multiply_skip(plan, s, block, panel);
        BLOCKED(time_output)(plan, s, block, panel);
    }
}

/* ---- tasks ------------------------------------------------------------------------------------------- */

struct time_loop {
    const vipo_compute *compute;
    const struct time_plan *plan;
    int group_panels;        /* of a task */
    int first_block, blocks; /* small: those of V, counted through samples */
};

/* Task i = (panel group * samples + sample) * strips + strip. */
static void strip_task(void *arg, int i, int thread)
{
    const struct time_loop *loop = arg;
    const struct time_plan *plan = loop->plan;
    const vipo_map *out = &plan->args->out;
    const struct time_scratch s = scratch_of(loop->compute, plan, thread);
    const int strips = vipo_map_strips(out), strip = i % strips, sample = i / strips % out->samples;
    const int first_panel = i / strips / out->samples * loop->group_panels;
    const int end_panel = least(first_panel + loop->group_panels, panel_count(out->channels));
    const int blocks = parts(VIPO_STRIP_PIXELS, plan->block);
    BLOCKED(sum_biases)(plan->args, sample, s.bias);
    int rows = 0;
    for (int b = strip * blocks; b < least((strip + 1) * blocks, plan->blocks); b++) {
        const struct time_block block = block_at(plan, sample * plan->blocks + b);
        if (block.n != rows) fill_rows(plan, &s, block.n);
        rows = block.n;
        BLOCKED(time_input)(plan, &block, 0, (size_t)(block.n * plan->channels), s.v);
        make_panels(plan, &s, &block, s.v, first_panel, end_panel);
    }
}

/* Task i = block * parts + part of its floats. */
static void small_fill(void *arg, int i, int thread)
{
    (void)thread;
    const struct time_loop *loop = arg;
    const struct time_plan *plan = loop->plan;
    const int fills = parts(plan->block * plan->channels, FILL_FLOATS), b = i / fills;
    const struct time_block block = block_at(plan, loop->first_block + b);
    const int first = i % fills * FILL_FLOATS, n = least(block.n * plan->channels - first, FILL_FLOATS);
    float *v = vipo_compute_scratch(loop->compute, 0);
    if (n > 0) BLOCKED(time_input)(plan, &block, (size_t)first, (size_t)n, v + (size_t)b * plan->v_block);
}

/* Task i = panel * blocks + block: neighbours share weights. */
static void small_task(void *arg, int i, int thread)
{
    const struct time_loop *loop = arg;
    const struct time_plan *plan = loop->plan;
    const struct time_scratch s = scratch_of(loop->compute, plan, thread);
    const int b = i % loop->blocks, panel = i / loop->blocks;
    const struct time_block block = block_at(plan, loop->first_block + b);
    BLOCKED(sum_biases)(plan->args, block.sample, s.bias);
    fill_rows(plan, &s, block.n);
    make_panels(plan, &s, &block, s.v + (size_t)b * plan->v_block, panel, panel + 1);
}

static void time_small(const vipo_compute *compute, const struct time_plan *plan)
{
    const int blocks = plan->args->out.samples * plan->blocks, panels = panel_count(plan->args->out.channels);
    const int fills = parts(plan->block * plan->channels, FILL_FLOATS);
    for (int first = 0; first < blocks; first += plan->group) {
        struct time_loop loop = {.compute = compute,
                                 .plan = plan,
                                 .first_block = first,
                                 .blocks = least(plan->group, blocks - first)};
        vipo_pool_run(compute->pool, loop.blocks * fills, small_fill, &loop);
        vipo_pool_run(compute->pool, loop.blocks * panels, small_task, &loop);
    }
}

void BLOCKED(winograd_time)(const vipo_compute *compute, const vipo_conv_time *args)
{
    struct time_plan plan;
    plan_time(&plan, args);
    if (plan.small) {
        time_small(compute, &plan);
        return;
    }
    /* Every group of panels transforms the input again, so there are no more than the threads need. */
    const int panels = panel_count(args->out.channels),
              strips = args->out.samples * vipo_map_strips(&args->out);
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int groups = strips < wanted ? least(panels, parts(wanted, strips)) : 1;
    struct time_loop loop = {.compute = compute, .plan = &plan, .group_panels = parts(panels, groups)};
    vipo_pool_run(compute->pool, strips * parts(panels, loop.group_panels), strip_task, &loop);
}

/* ---- weights ----------------------------------------------------------------------------------------- */

enum { PACK_CHANNELS = 16 /* transformed at a time: writes stay in L1 */ };

size_t BLOCKED(winograd_time_floats)(const vipo_layer *layer)
{
    return TIME_PRODUCTS * panel_floats(layer->in, layer->out);
}

struct pack_loop {
    const vipo_layer *layer;
    const float *weights;
    float *memory;
};

/* Task p: a panel of columns. */
static void pack_panel(void *arg, int p, int thread)
{
    (void)thread;
    const struct pack_loop *loop = arg;
    const int in = loop->layer->in, out = loop->layer->out, width = panel_width(out, p);
    const int columns = least(out - p * PANEL, width);
    const float *weights = loop->weights + (size_t)p * PANEL * (size_t)in * 3;
    float *panel = loop->memory + TIME_PRODUCTS * (size_t)in * (size_t)p * PANEL;
    float block[TIME_PRODUCTS][PACK_CHANNELS][PANEL];
    memset(block, 0, sizeof block);
    for (int first = 0; first < in; first += PACK_CHANNELS) {
        const int n = least(in - first, PACK_CHANNELS);
        for (int o = 0; o < columns; o++) {
            const float *w = weights + ((size_t)o * (size_t)in + (size_t)first) * 3;
            for (int c = 0; c < n; c++, w += 3)
                for (int i = 0; i < TIME_PRODUCTS; i++) {
                    const double *g = winograd_filter_4[i];
                    block[i][c][o] = (float)(g[0] * (double)w[0] + g[1] * (double)w[1] + g[2] * (double)w[2]);
                }
        }
        for (int i = 0; i < TIME_PRODUCTS; i++)
            for (int c = 0; c < n; c++)
                memcpy(panel + ((size_t)i * (size_t)in + (size_t)(first + c)) * (size_t)width, block[i][c],
                       (size_t)width * sizeof(float));
    }
}

void BLOCKED(winograd_time_pack)(const vipo_layer *layer, const float *weights, float *memory,
                                 vipo_pool *pool)
{
    struct pack_loop loop = {layer, weights, memory};
    vipo_pool_run(pool, panel_count(layer->out), pack_panel, &loop);
}
