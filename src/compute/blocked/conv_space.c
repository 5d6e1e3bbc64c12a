/* Spatial convolution as a matrix product over a zero-padded, activated copy of the input (README.md).
 *
 * Two ways to divide the work. Large maps: a task activates a strip of rows into its own scratch and makes
 * all outputs of it. Small maps, whose weights outweigh them: the activated frames lie in one buffer that
 * all threads fill, then read; a task makes some columns of many pixels, so weights are read once. */
#include <string.h>

#include "compute/blocked/blocked.h"
#include "compute/blocked/winograd_space.h"

enum {
    SMALL_MAP_PIXELS = 256,
    SMALL_FRAME_BYTES = 2 << 20, /* a larger frame goes by strips in any case */
    GROUP_BYTES = 4 << 20,       /* frames activated together */
    STRIP_BYTES = 384 << 10,     /* activated strip: a part of L2 */
    STRIP_PIXELS = 2048,
    TASK_PIXELS = 512, /* of a task on small maps */
    LEAST_TASK_PIXELS = 48,
    TASKS_PER_THREAD = 8,
    STRIPS_PER_THREAD = 4, /* fewer, for their edges are activated twice */
};

/* How one call is computed. The grid is the output pixels, or those of one parity of an upsampling. */
struct space_plan {
    const vipo_conv_space *args;
    int taps, pad, stride;  /* of a row; 1x1: 1, 0, 1 */
    int parities;           /* 4 for upsampling, else 1 */
    int channels;           /* inputs of all sources */
    int height, width;      /* grid of a frame */
    int row_floats;         /* padded input row: (in width + 2 pad) channels */
    int frames;             /* of all samples */
    bool small;             /* frames in a shared buffer; otherwise strips */
    int group;              /* small: frames activated together */
    int strip_rows;         /* otherwise: grid rows of a strip, at most */
    size_t frame_floats;    /* small: padded frame */
    size_t activated_bytes; /* the buffer or a strip */
    int task_pixels;        /* most grid pixels of a task */
};

/* Padded input rows under `rows` rows of the grid. */
static int rows_under(const struct space_plan *plan, int rows)
{
    return (rows - 1) * plan->stride + plan->taps;
}

static void plan_space(struct space_plan *plan, const vipo_conv_space *args)
{
    const vipo_weight_kind kind = args->weights->kind;
    const bool up = kind == VIPO_WEIGHT_3X3_UPSAMPLE2, one = kind == VIPO_WEIGHT_LINEAR;
    const vipo_map *in = &args->in[0], *out = &args->out;
    *plan = (struct space_plan){
        .args = args,
        .taps = one ? 1 : 3,
        .pad = one ? 0 : 1,
        .stride = kind == VIPO_WEIGHT_3X3_STRIDE2 ? 2 : 1,
        .parities = up ? 4 : 1,
        .channels = args->weights->in,
        .height = up ? in->height : out->height,
        .width = up ? in->width : out->width,
        .frames = out->samples * out->frames,
    };
    plan->row_floats = (in->width + 2 * plan->pad) * plan->channels;
    plan->frame_floats = (size_t)plan->row_floats * (size_t)(in->height + 2 * plan->pad);
    const size_t frame_bytes = plan->frame_floats * sizeof(float);
    plan->small = !one && plan->height * plan->width <= SMALL_MAP_PIXELS && frame_bytes <= SMALL_FRAME_BYTES;
    if (plan->small) {
        plan->group = least(plan->frames, (int)(GROUP_BYTES / frame_bytes));
        plan->activated_bytes = line_bytes((size_t)plan->group * frame_bytes);
        plan->task_pixels = least(TASK_PIXELS, plan->group * plan->height * plan->width);
        return;
    }
    int rows = 1;
    while (rows < plan->height && (rows + 1) * plan->width <= STRIP_PIXELS &&
           (size_t)rows_under(plan, rows + 1) * (size_t)plan->row_floats * sizeof(float) <= STRIP_BYTES)
        rows++;
    plan->strip_rows = rows;
    plan->activated_bytes =
        line_bytes((size_t)rows_under(plan, rows) * (size_t)plan->row_floats * sizeof(float));
    plan->task_pixels = rows * plan->width;
}

/* Scratch: the activated input, then byte offsets of the task's pixels in the input and in the output. */
static size_t offsets_bytes(const struct space_plan *plan)
{
    return line_bytes((size_t)plan->task_pixels * sizeof(ptrdiff_t));
}

size_t BLOCKED(conv_space_scratch)(const vipo_conv_space *args)
{
    if (args->weights->method != VIPO_METHOD_DIRECT) return BLOCKED(winograd_space_scratch)(args);
    struct space_plan plan;
    plan_space(&plan, args);
    return plan.activated_bytes + 2 * offsets_bytes(&plan);
}

/* Padded rows [first, first + n) of a frame, row 0 being the padding above. */
static void activate_rows(const struct space_plan *plan, int frame, int first, int n, float *target)
{
    const vipo_conv_space *args = plan->args;
    const int sample = frame / args->out.frames, frame_of_sample = frame % args->out.frames;
    const int height = args->in[0].height, width = args->in[0].width;
    const size_t channels = (size_t)plan->channels, edge = (size_t)plan->pad * channels;
    const size_t norm_row = (size_t)(args->norm.per_frame ? frame : sample) * channels;
    for (int row = first; row < first + n; row++, target += plan->row_floats) {
        const int y = row - plan->pad;
        if (y < 0 || y >= height) {
            memset(target, 0, (size_t)plan->row_floats * sizeof(float));
            continue;
        }
        memset(target, 0, edge * sizeof(float));
        memset(target + (size_t)plan->row_floats - edge, 0, edge * sizeof(float));
        size_t channel = 0;
        for (int s = 0; s < args->n_in; s++) {
            const vipo_map *map = &args->in[s];
            const float *x = vipo_map_frame(map, sample, frame_of_sample) +
                             (size_t)y * (size_t)width * (size_t)map->channels;
            const bool norm = args->norm.scale != NULL;
            BLOCKED(activate)
            (target + edge + channel, channels, x, (size_t)map->channels, map->channels, width,
             norm ? args->norm.scale + norm_row + channel : NULL,
             norm ? args->norm.shift + norm_row + channel : NULL, args->silu);
            channel += (size_t)map->channels;
        }
    }
}

/* The product of grid pixels whose inputs and outputs the offsets give, for one parity. */
static void multiply(const struct space_plan *plan, int parity, int pixels, const float *activated,
                     const ptrdiff_t *in_rows, float *out, const ptrdiff_t *out_rows, int first_panel,
                     int end_panel)
{
    const vipo_packed *weights = plan->args->weights;
    const bool up = plan->parities == 4;
    const int depth = BLOCKED(packed_depth)(weights->kind, weights->in);
    const int parity_y = parity / 2, parity_x = parity % 2;
    const int segments = up ? 2 : plan->taps, segment_k = segments * plan->channels;
    struct gemm gemm = {.rows = pixels,
                        .columns = weights->out,
                        .n_segments = segments,
                        .bias = weights->bias,
                        .out = out + (size_t)(parity_y * plan->args->out.width + parity_x) *
                                         (size_t)plan->args->out.channels,
                        .out_rows = out_rows};
    const float *first = activated;
    if (up) first += (size_t)parity_y * (size_t)plan->row_floats + (size_t)(parity_x * plan->channels);
    for (int i = 0; i < segments; i++)
        gemm.segments[i] = (struct gemm_segment){
            .a = first + (size_t)i * (size_t)plan->row_floats,
            .rows = in_rows,
            .k = segment_k,
            .weights = weights->data + (size_t)parity * panel_floats(depth, weights->out),
            .weights_k = depth,
            .first_k = i * segment_k,
        };
    BLOCKED(gemm)(&gemm, first_panel, end_panel);
}

/* Offsets of n grid pixels from pixel `first` on, counted through frames. */
static void fill_offsets(const struct space_plan *plan, int first, int n, ptrdiff_t *in_rows,
                         ptrdiff_t *out_rows)
{
    const vipo_map *out = &plan->args->out;
    const int enlarge = plan->parities == 4 ? 2 : 1;
    const ptrdiff_t in_step = (ptrdiff_t)sizeof(float) * plan->stride * plan->channels;
    const ptrdiff_t out_step = (ptrdiff_t)sizeof(float) * enlarge * out->channels;
    int x = first % plan->width, y = first / plan->width % plan->height;
    int frame = first / plan->width / plan->height;
    for (int i = 0; i < n;) {
        ptrdiff_t in = (ptrdiff_t)sizeof(float) * ((ptrdiff_t)frame * (ptrdiff_t)plan->frame_floats +
                                                   (ptrdiff_t)y * plan->stride * plan->row_floats) +
                       x * in_step;
        ptrdiff_t to = (ptrdiff_t)sizeof(float) * ((ptrdiff_t)frame * out->height + (ptrdiff_t)y * enlarge) *
                           out->width * out->channels +
                       x * out_step;
        for (; x < plan->width && i < n; x++, i++, in += in_step, to += out_step) {
            in_rows[i] = in;
            out_rows[i] = to;
        }
        x = 0;
        if (++y == plan->height) {
            y = 0;
            frame++;
        }
    }
}

/* ---- small maps ------------------------------------------------------------------------------------- */

struct small_loop {
    const vipo_compute *compute;
    const struct space_plan *plan;
    int first_frame, frames; /* group at work */
    int task_pixels;
};

/* Task i: padded row i of the group. */
static void small_activate(void *arg, int i, int thread)
{
    (void)thread;
    const struct small_loop *loop = arg;
    const int rows = loop->plan->args->in[0].height + 2 * loop->plan->pad;
    float *buffer = vipo_compute_scratch(loop->compute, 0);
    activate_rows(loop->plan, loop->first_frame + i / rows, i % rows, 1,
                  buffer + (size_t)i * (size_t)loop->plan->row_floats);
}

/* Task i = (parity * panels + panel) * pixel blocks + block: neighbours share weights. */
static void small_multiply(void *arg, int i, int thread)
{
    const struct small_loop *loop = arg;
    const struct space_plan *plan = loop->plan;
    const vipo_map *out = &plan->args->out;
    const int pixels = loop->frames * plan->height * plan->width;
    const int blocks = parts(pixels, loop->task_pixels), panels = panel_count(plan->args->weights->out);
    const int first = i % blocks * loop->task_pixels, panel = i / blocks % panels;
    const int n = least(pixels - first, loop->task_pixels);
    char *scratch = (char *)vipo_compute_scratch(loop->compute, thread) + plan->activated_bytes;
    ptrdiff_t *in_rows = (void *)scratch, *out_rows = (void *)(scratch + offsets_bytes(plan));
    fill_offsets(plan, first, n, in_rows, out_rows);
    float *group_out = out->data + (size_t)loop->first_frame * (size_t)out->height * (size_t)out->width *
                                       (size_t)out->channels;
    multiply(plan, i / blocks / panels, n, vipo_compute_scratch(loop->compute, 0), in_rows, group_out,
             out_rows, panel, panel + 1);
}

static void conv_space_small(const vipo_compute *compute, const struct space_plan *plan)
{
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int panels = panel_count(plan->args->weights->out) * plan->parities;
    for (int first = 0; first < plan->frames; first += plan->group) {
        struct small_loop loop = {compute, plan, first, least(plan->group, plan->frames - first),
                                  plan->task_pixels};
        const int pixels = loop.frames * plan->height * plan->width;
        int blocks = parts(pixels, plan->task_pixels);
        while (blocks * panels < wanted && pixels / (blocks + 1) >= LEAST_TASK_PIXELS) blocks++;
        loop.task_pixels = least(parts(parts(pixels, blocks), TILE_ROWS) * TILE_ROWS, plan->task_pixels);
        vipo_pool_run(compute->pool, loop.frames * (plan->args->in[0].height + 2 * plan->pad), small_activate,
                      &loop);
        vipo_pool_run(compute->pool, parts(pixels, loop.task_pixels) * panels, small_multiply, &loop);
    }
}

/* ---- strips ----------------------------------------------------------------------------------------- */

struct strip_loop {
    const vipo_compute *compute;
    const struct space_plan *plan;
    int rows; /* of a strip */
};

/* Task i = frame * strips + strip. */
static void conv_space_strip(void *arg, int i, int thread)
{
    const struct strip_loop *loop = arg;
    const struct space_plan *plan = loop->plan;
    const vipo_map *out = &plan->args->out;
    const int strips = parts(plan->height, loop->rows), frame = i / strips, y = i % strips * loop->rows;
    const int rows = least(loop->rows, plan->height - y), pixels = rows * plan->width;
    char *scratch = vipo_compute_scratch(loop->compute, thread);
    float *activated = (void *)scratch;
    ptrdiff_t *in_rows = (void *)(scratch + plan->activated_bytes);
    ptrdiff_t *out_rows = (void *)(scratch + plan->activated_bytes + offsets_bytes(plan));
    activate_rows(plan, frame, y * plan->stride, rows_under(plan, rows), activated);
    fill_offsets(plan, 0, pixels, in_rows, out_rows);
    const int enlarge = plan->parities == 4 ? 2 : 1;
    float *target = out->data + ((size_t)frame * (size_t)out->height + (size_t)(y * enlarge)) *
                                    (size_t)out->width * (size_t)out->channels;
    for (int parity = 0; parity < plan->parities; parity++)
        multiply(plan, parity, pixels, activated, in_rows, target, out_rows, 0,
                 panel_count(plan->args->weights->out));
}

void BLOCKED(conv_space)(const vipo_compute *compute, const vipo_conv_space *args)
{
    if (args->weights->method != VIPO_METHOD_DIRECT) {
        BLOCKED(winograd_space)(compute, args);
        return;
    }
    struct space_plan plan;
    plan_space(&plan, args);
    if (plan.small) {
        conv_space_small(compute, &plan);
        return;
    }
    /* Equal strips, and enough of them to keep all threads busy to the end. */
    const int wanted = STRIPS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int least_rows = plan.taps == 1 ? parts(LEAST_TASK_PIXELS, plan.width) : 4;
    int strips = parts(plan.height, plan.strip_rows);
    while (plan.frames * strips < wanted && plan.height / (strips + 1) >= least_rows) strips++;
    struct strip_loop loop = {compute, &plan, parts(plan.height, strips)};
    vipo_pool_run(compute->pool, plan.frames * parts(plan.height, loop.rows), conv_space_strip, &loop);
}
