/* 3x3 and 1x1 convolutions as split products. Pixels of a zero-padded, activated, split window are numbered row by row, its borders
 * included, so that 32 successive ones are 32 rows of a product at one distance, whatever the width; sums of border pixels are
 * dropped. As in conv_space.c, large maps go by strips of rows, each activated by the task that makes all its outputs; of small
 * maps, whose weights outweigh them, all threads fill one buffer of frames, then a task makes one panel. */
#include <string.h>

#include "compute/amx/split.h"

enum {
    SMALL_MAP_PIXELS = 256,
    SMALL_FRAME_BYTES = 2 << 20,
    GROUP_BYTES = 4 << 20,   /* frames of the buffer */
    STRIP_BYTES = 512 << 10, /* a window: a part of L2 */
    ROW_BYTES = 16 << 10,    /* activated pixels before they are split, if not a single one is larger */
    SLACK_PIXELS = SPLIT_ROWS,
    TASKS_PER_THREAD = 4,
    STRIPS_PER_THREAD = 4, /* fewer, for their edges are activated twice */
};

struct split_plan {
    const vipo_conv_space *args;
    int taps, parities;   /* 3 of an axis and 1; after enlargement 2 and 4; 1x1: 1 and 1 */
    int pad;              /* 1; 1x1: 0 */
    int channels, chunks; /* inputs; chunks of all taps */
    int height, width;    /* of the input, and of the grid of outputs or of one parity */
    int row_pixels;       /* of the window: with borders */
    int frames;           /* of all samples */
    size_t pitch;         /* bytes of a split pixel */
    bool small;
    int group;          /* small: frames in the buffer */
    int strip_rows;     /* otherwise: grid rows of a strip, at most */
    size_t frame_bytes; /* padded, split */
    size_t window_bytes, row_bytes, chunk_bytes;
};

static size_t window_bytes(const struct split_plan *plan, int padded_rows)
{
    return (size_t)padded_rows * (size_t)plan->row_pixels * plan->pitch;
}

static void plan_space(struct split_plan *plan, const vipo_conv_space *args)
{
    const vipo_map *in = &args->in[0];
    const bool up = args->weights->kind == VIPO_WEIGHT_3X3_UPSAMPLE2,
               one = args->weights->kind == VIPO_WEIGHT_LINEAR;
    *plan = (struct split_plan){.args = args,
                                .taps = one  ? 1
                                        : up ? 2
                                             : 3,
                                .parities = up ? 4 : 1,
                                .pad = one ? 0 : 1,
                                .channels = args->weights->in,
                                .height = in->height,
                                .width = in->width,
                                .row_pixels = in->width + (one ? 0 : 2),
                                .frames = args->out.samples * args->out.frames,
                                .pitch = split_pitch(args->weights->in)};
    plan->chunks = plan->taps * plan->taps * split_chunks(plan->channels);
    plan->frame_bytes = window_bytes(plan, plan->height + 2 * plan->pad);
    plan->small = plan->height * plan->width <= SMALL_MAP_PIXELS && plan->frame_bytes <= SMALL_FRAME_BYTES;
    if (plan->small) {
        plan->group = least(plan->frames, (int)(GROUP_BYTES / plan->frame_bytes));
        plan->window_bytes = (size_t)plan->group * plan->frame_bytes;
    } else {
        int rows = 1;
        while (rows < plan->height && window_bytes(plan, rows + 1 + 2 * plan->pad) <= STRIP_BYTES) rows++;
        plan->strip_rows = rows;
        plan->window_bytes = window_bytes(plan, rows + 2 * plan->pad);
    }
    plan->window_bytes += SLACK_PIXELS * plan->pitch;
    const size_t pixel = (size_t)plan->channels * sizeof(float);
    plan->row_bytes = line_bytes(pixel > ROW_BYTES ? pixel : ROW_BYTES);
    plan->chunk_bytes = line_bytes((size_t)plan->chunks * sizeof(ptrdiff_t));
}

/* Scratch: window, activated floats, sums of a product, places of chunks. */
size_t vipo_split_space_scratch(const vipo_conv_space *args)
{
    struct split_plan plan;
    plan_space(&plan, args);
    return plan.window_bytes + plan.row_bytes + SPLIT_SUMS_BYTES + plan.chunk_bytes;
}

struct scratch {
    char *window;
    float *row, *sums;
    ptrdiff_t *chunks;
};

static struct scratch scratch_of(const vipo_compute *compute, const struct split_plan *plan, int thread)
{
    char *const start = vipo_compute_scratch(compute, thread);
    char *const row = start + plan->window_bytes, *const sums = row + plan->row_bytes;
    return (struct scratch){start, (void *)row, (void *)sums, (void *)(sums + SPLIT_SUMS_BYTES)};
}

/* ---- input ---------------------------------------------------------------------------------------------- */

/* Activates and splits padded rows [first, first + n) of a frame, row 0 being the border above. */
static void fill_rows(const struct split_plan *plan, int frame, int first, int n, char *target, float *row)
{
    const vipo_conv_space *args = plan->args;
    const int sample = frame / args->out.frames, frame_of_sample = frame % args->out.frames;
    const size_t channels = (size_t)plan->channels;
    const size_t norm_row = (size_t)(args->norm.per_frame ? frame : sample) * channels;
    const int most = least((int)(plan->row_bytes / (channels * sizeof(float))), plan->width);
    const bool norm = args->norm.scale != NULL;
    for (int r = first; r < first + n; r++, target += (size_t)plan->row_pixels * plan->pitch) {
        const int y = r - plan->pad;
        if (y < 0 || y >= plan->height) {
            memset(target, 0, (size_t)plan->row_pixels * plan->pitch);
            continue;
        }
        if (plan->pad) {
            memset(target, 0, plan->pitch);
            memset(target + (size_t)(plan->row_pixels - 1) * plan->pitch, 0, plan->pitch);
        }
        for (int x = 0; x < plan->width; x += most) {
            const int pixels = least(most, plan->width - x);
            size_t channel = 0;
            for (int s = 0; s < args->n_in; s++) {
                const vipo_map *map = &args->in[s];
                const float *from = vipo_map_frame(map, sample, frame_of_sample) +
                                    ((size_t)y * (size_t)plan->width + (size_t)x) * (size_t)map->channels;
                BLOCKED(activate)
                (row + channel, channels, from, (size_t)map->channels, map->channels, pixels,
                 norm ? args->norm.scale + norm_row + channel : NULL,
                 norm ? args->norm.shift + norm_row + channel : NULL, args->silu);
                channel += (size_t)map->channels;
            }
            vipo_split_pixels(target + (size_t)(plan->pad + x) * plan->pitch, plan->pitch, row,
                              plan->channels, pixels);
        }
    }
}

/* ---- products ------------------------------------------------------------------------------------------- */

static void fill_chunks(const struct split_plan *plan, ptrdiff_t *chunks)
{
    for (int y = 0; y < plan->taps; y++)
        for (int c = 0; c < split_chunks(plan->channels); c++)
            for (int x = 0; x < plan->taps; x++)
                *chunks++ = (ptrdiff_t)(y * plan->row_pixels + x) * (ptrdiff_t)plan->pitch +
                            (ptrdiff_t)c * SPLIT_CHUNK_BYTES;
}

/* Sums of window pixels [first, first + n) of the strip that begins at grid row y, with the bias, to the output. */
static void store(const struct split_plan *plan, int frame, int y, int parity, int panel, int first, int n,
                  const float *sums)
{
    const vipo_map *out = &plan->args->out;
    const int enlarge = plan->parities == 4 ? 2 : 1, column = panel * PANEL;
    const int columns = least(PANEL, out->channels - column);
    const float *const bias = plan->args->weights->bias + column;
    const vfloat bias0 = v_load(bias), bias1 = columns > LANES ? v_load(bias + LANES) : v_zero();
    const size_t step = (size_t)(enlarge * out->channels);
    float *const start =
        out->data + (size_t)frame * (size_t)out->height * (size_t)out->width * (size_t)out->channels + column;
    int x = first % plan->row_pixels, row = first / plan->row_pixels;
    for (int i = 0; i < n; x = 0, row++) {
        const int out_y = (y + row) * enlarge + parity / 2, pixels = least(plan->width - x, n - i);
        float *to = start + ((size_t)out_y * (size_t)out->width + (size_t)(x * enlarge + parity % 2)) *
                                (size_t)out->channels;
        const float *from = sums + (size_t)i * PANEL;
        if (columns == PANEL)
            for (int p = 0; p < pixels; p++, to += step, from += PANEL) {
                v_store(to, v_add(v_load(from), bias0));
                v_store(to + LANES, v_add(v_load(from + LANES), bias1));
            }
        else
            for (int p = 0; p < pixels; p++, to += step, from += PANEL) {
                v_store_n(to, v_add(v_load(from), bias0), least(columns, LANES));
                if (columns > LANES)
                    v_store_n(to + LANES, v_add(v_load(from + LANES), bias1), columns - LANES);
            }
        i += plan->row_pixels - x;
    }
}

/* One panel of `rows` grid rows from y on; window: the padded row above them. */
static void multiply(const struct split_plan *plan, const struct scratch *s, const char *window, int frame,
                     int y, int rows, int parity, int panel)
{
    const vipo_packed *weights = plan->args->weights;
    const int depth = plan->chunks * SPLIT_CHUNK, pixels = rows * plan->row_pixels - 2 * plan->pad;
    const char *a = window;
    if (plan->parities == 4) a += (size_t)(parity / 2 * plan->row_pixels + parity % 2) * plan->pitch;
    struct split_product product = {
        .pitch = plan->pitch,
        .low = (size_t)split_chunks(plan->channels) * SPLIT_CHUNK_BYTES,
        .chunks = s->chunks,
        .n = plan->chunks,
        .weights = (const char *)(weights->data + (size_t)parity * panel_floats(depth, weights->out) +
                                  (size_t)(panel * PANEL) * (size_t)depth),
        .width = panel_width(weights->out, panel),
    };
    for (int first = 0; first < pixels; first += SPLIT_ROWS) {
        const int n = least(SPLIT_ROWS, pixels - first);
        product.a = a + (size_t)first * plan->pitch;
        vipo_split_multiply(&product, n, false, s->sums);
        store(plan, frame, y, parity, panel, first, n, s->sums);
    }
}

/* ---- tasks ---------------------------------------------------------------------------------------------- */

struct split_loop {
    const vipo_compute *compute;
    const struct split_plan *plan;
    int rows;                /* of a strip */
    int first_frame, frames; /* small: those in the buffer */
    int task_frames;         /* small */
};

/* Task i = frame * strips + strip. */
static void strip_task(void *arg, int i, int thread)
{
    const struct split_loop *loop = arg;
    const struct split_plan *plan = loop->plan;
    const struct scratch s = scratch_of(loop->compute, plan, thread);
    const int strips = parts(plan->height, loop->rows), frame = i / strips, y = i % strips * loop->rows;
    const int rows = least(loop->rows, plan->height - y);
    fill_chunks(plan, s.chunks);
    fill_rows(plan, frame, y, rows + 2 * plan->pad, s.window, s.row);
    vipo_split_begin();
    for (int parity = 0; parity < plan->parities; parity++)
        for (int panel = 0; panel < panel_count(plan->args->weights->out); panel++)
            multiply(plan, &s, s.window, frame, y, rows, parity, panel);
    vipo_split_end();
}

/* Task i: padded row i of the buffer. */
static void small_fill(void *arg, int i, int thread)
{
    const struct split_loop *loop = arg;
    const struct split_plan *plan = loop->plan;
    const int rows = plan->height + 2 * plan->pad;
    fill_rows(plan, loop->first_frame + i / rows, i % rows, 1,
              scratch_of(loop->compute, plan, 0).window + (size_t)i * (size_t)plan->row_pixels * plan->pitch,
              scratch_of(loop->compute, plan, thread).row);
}

/* Task i = (parity * panels + panel) * parts of the frames + part: neighbours share weights. */
static void small_multiply(void *arg, int i, int thread)
{
    const struct split_loop *loop = arg;
    const struct split_plan *plan = loop->plan;
    const struct scratch s = scratch_of(loop->compute, plan, thread);
    const char *const window = scratch_of(loop->compute, plan, 0).window;
    const int frame_parts = parts(loop->frames, loop->task_frames),
              panels = panel_count(plan->args->weights->out);
    const int first = i % frame_parts * loop->task_frames, panel = i / frame_parts % panels;
    fill_chunks(plan, s.chunks);
    vipo_split_begin();
    for (int f = first; f < least(first + loop->task_frames, loop->frames); f++)
        multiply(plan, &s, window + (size_t)f * plan->frame_bytes, loop->first_frame + f, 0, plan->height,
                 i / frame_parts / panels, panel);
    vipo_split_end();
}

void vipo_split_space(const vipo_compute *compute, const vipo_conv_space *args)
{
    struct split_plan plan;
    plan_space(&plan, args);
    struct split_loop loop = {.compute = compute, .plan = &plan};
    if (!plan.small) {
        /* Equal strips, and enough of them to keep all threads busy to the end. */
        const int wanted = STRIPS_PER_THREAD * vipo_pool_threads(compute->pool);
        int strips = parts(plan.height, plan.strip_rows);
        while (plan.frames * strips < wanted && plan.height / (strips + 1) >= 4) strips++;
        loop.rows = parts(plan.height, strips);
        vipo_pool_run(compute->pool, plan.frames * parts(plan.height, loop.rows), strip_task, &loop);
        return;
    }
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int panels = panel_count(args->weights->out) * plan.parities;
    for (int first = 0; first < plan.frames; first += plan.group) {
        loop.first_frame = first;
        loop.frames = least(plan.group, plan.frames - first);
        const int frame_parts = least(loop.frames, parts(wanted, panels));
        loop.task_frames = parts(loop.frames, frame_parts);
        vipo_pool_run(compute->pool, loop.frames * (plan.height + 2 * plan.pad), small_fill, &loop);
        vipo_pool_run(compute->pool, panels * parts(loop.frames, loop.task_frames), small_multiply, &loop);
    }
}
