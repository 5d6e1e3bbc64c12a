/* Temporal convolution as split products: a block of pixels is split for all frames once; the frames before, at and after are
 * chunks of one product, the 1x1 skip convolution is a second one. A task takes a strip, whose statistics it writes, block by
 * block, and some of the panels. */
#include <string.h>

#include "compute/amx/split.h"

enum {
    BLOCK_BYTES = 1 << 20, /* of a window: a part of L2 */
    ROW_BYTES = 16 << 10,  /* of pixels whose sources are put together, if not a single one is larger */
    TASKS_PER_THREAD = 2,  /* few, for every group of panels splits the inputs again */
};

/* Inputs of a product: maps that lie beside each other along their channels. */
struct operand {
    const vipo_map *maps;
    int n, taps;
    const vipo_packed *weights;
    size_t pitch, frame_bytes; /* of the window: pixel, frame */
    size_t start;              /* bytes from the window's begin */
};

struct split_plan {
    vipo_conv_time args;
    int pixels, strips;         /* of a frame */
    int block;                  /* pixels of the window, at most */
    struct operand operands[2]; /* the convolution, the skip */
    int n;
    size_t window_bytes, row_bytes, chunk_bytes, bias_bytes, offset_bytes;
};

static bool is_split(const vipo_packed *weights)
{
    return weights->method == VIPO_METHOD_SPLIT;
}

static void add_operand(struct split_plan *plan, const vipo_map *maps, int n, const vipo_packed *weights)
{
    plan->operands[plan->n++] =
        (struct operand){.maps = maps, .n = n, .taps = vipo_weight_taps(weights->kind), .weights = weights};
}

/* Of the whole call; of its skip convolution alone if that is all that is split. */
static void plan_time(struct split_plan *plan, const vipo_conv_time *args)
{
    const vipo_map *out = &args->out;
    *plan = (struct split_plan){.args = *args,
                                .pixels = out->height * out->width,
                                .strips = vipo_map_strips(out),
                                .block = VIPO_STRIP_PIXELS};
    if (is_split(args->weights)) add_operand(plan, &args->in, 1, args->weights);
    if (args->n_skip && is_split(args->skip_weights))
        add_operand(plan, args->skip, args->n_skip, args->skip_weights);
    if (!is_split(args->weights)) {
        plan->args.weights = args->skip_weights;
        plan->args.embedding = NULL;
        plan->args.n_skip = 0;
        plan->args.out.stats = NULL;
    }
    size_t pixel_bytes = 0, most_pitch = 0, most_channels = 0;
    int chunks = 0;
    for (int i = 0; i < plan->n; i++) {
        struct operand *const o = &plan->operands[i];
        o->pitch = split_pitch(o->weights->in);
        pixel_bytes += o->pitch * (size_t)out->frames;
        if (o->pitch > most_pitch) most_pitch = o->pitch;
        if ((size_t)o->weights->in > most_channels) most_channels = (size_t)o->weights->in;
        if (o->taps * split_chunks(o->weights->in) > chunks) chunks = o->taps * split_chunks(o->weights->in);
    }
    if ((size_t)least(plan->block, plan->pixels) * pixel_bytes > BLOCK_BYTES) plan->block = SPLIT_ROWS;
    plan->block = least(plan->block, plan->pixels);
    for (int i = 0; i < plan->n; i++) {
        struct operand *const o = &plan->operands[i];
        o->frame_bytes = (size_t)plan->block * o->pitch;
        o->start = plan->window_bytes;
        plan->window_bytes += (size_t)out->frames * o->frame_bytes;
    }
    plan->window_bytes += SPLIT_ROWS * most_pitch;
    const size_t pixel = most_channels * sizeof(float);
    plan->row_bytes = line_bytes(pixel > ROW_BYTES ? pixel : ROW_BYTES);
    plan->chunk_bytes = line_bytes((size_t)chunks * sizeof(ptrdiff_t));
    plan->bias_bytes = line_bytes(padded_columns(out->channels) * sizeof(float));
    plan->offset_bytes = VIPO_STRIP_PIXELS * sizeof(ptrdiff_t);
}

enum { OFFSET_LISTS = 3 /* of a skip convolution that is not split: output, two sources */ };

/* Scratch: window, sources put together, sums of a product, places of chunks, sum of biases, offsets. */
static size_t scratch_bytes(const struct split_plan *plan)
{
    return plan->window_bytes + plan->row_bytes + SPLIT_SUMS_BYTES + plan->chunk_bytes + plan->bias_bytes +
           OFFSET_LISTS * plan->offset_bytes;
}

/* Is a part of the call split? */
static bool uses_split(const vipo_conv_time *args)
{
    return is_split(args->weights) || (args->n_skip && is_split(args->skip_weights));
}

/* What is left when the split skip convolution is in the output. */
static vipo_conv_time without_skip(const vipo_conv_time *args)
{
    vipo_conv_time rest = *args;
    rest.n_skip = 0;
    rest.residual = args->out;
    return rest;
}

size_t vipo_split_time_scratch(const vipo_conv_time *args)
{
    struct split_plan plan;
    if (!uses_split(args)) return BLOCKED(conv_time_scratch)(args);
    plan_time(&plan, args);
    const size_t bytes = scratch_bytes(&plan);
    if (is_split(args->weights)) return bytes;
    const vipo_conv_time rest = without_skip(args);
    const size_t more = BLOCKED(conv_time_scratch)(&rest);
    return more > bytes ? more : bytes;
}

struct scratch {
    char *window;
    float *row, *sums, *bias;
    ptrdiff_t *chunks, *offsets[OFFSET_LISTS];
};

static struct scratch scratch_of(const vipo_compute *compute, const struct split_plan *plan, int thread)
{
    struct scratch s = {.window = vipo_compute_scratch(compute, thread)};
    char *at = s.window + plan->window_bytes;
    s.row = (void *)at;
    s.sums = (void *)(at += plan->row_bytes);
    s.chunks = (void *)(at += SPLIT_SUMS_BYTES);
    s.bias = (void *)(at += plan->chunk_bytes);
    at += plan->bias_bytes;
    for (int i = 0; i < OFFSET_LISTS; i++) s.offsets[i] = (void *)(at + (size_t)i * plan->offset_bytes);
    return s;
}

/* ---- inputs --------------------------------------------------------------------------------------------- */

/* Pixels [first, first + n) of all frames of a sample. */
struct block {
    int sample, first, n;
};

static const float *pixels_of(const vipo_map *map, const struct block *block, int frame)
{
    return vipo_map_frame(map, block->sample, frame) + (size_t)block->first * (size_t)map->channels;
}

static void split_operand(const struct split_plan *plan, const struct operand *o, const struct block *block,
                          char *window, float *row)
{
    const int channels = o->weights->in, most = (int)(plan->row_bytes / ((size_t)channels * sizeof(float)));
    for (int f = 0; f < plan->args.out.frames; f++) {
        char *const to = window + o->start + (size_t)f * o->frame_bytes;
        if (o->n == 1) {
            vipo_split_pixels(to, o->pitch, pixels_of(o->maps, block, f), channels, block->n);
            continue;
        }
        for (int first = 0; first < block->n; first += most) {
            const int n = least(most, block->n - first);
            float *at = row;
            for (int m = 0; m < o->n; at += o->maps[m].channels, m++) BLOCKED(activate)
            (at, (size_t)channels,
             pixels_of(&o->maps[m], block, f) + (size_t)first * (size_t)o->maps[m].channels,
             (size_t)o->maps[m].channels, o->maps[m].channels, n, NULL, NULL, false);
            vipo_split_pixels(to + (size_t)first * o->pitch, o->pitch, row, channels, n);
        }
    }
}

/* Chunks of all taps of the convolution; the skip has those of the first one. */
static void fill_chunks(const struct operand *o, ptrdiff_t *places)
{
    const int chunks = split_chunks(o->weights->in);
    for (int tap = 0; tap < o->taps; tap++)
        for (int c = 0; c < chunks; c++)
            places[tap * chunks + c] =
                (ptrdiff_t)tap * (ptrdiff_t)o->frame_bytes + (ptrdiff_t)c * SPLIT_CHUNK_BYTES;
}

/* ---- products ------------------------------------------------------------------------------------------- */

/* Of one panel and output frame; taps that reach over the ends are left out. product.a: the block's first pixel. */
static struct split_product product_of(const struct split_plan *plan, const struct scratch *s, int operand,
                                       int frame, int panel)
{
    const struct operand *o = &plan->operands[operand];
    const int frames = plan->args.out.frames, width = panel_width(o->weights->out, panel);
    const int chunks = split_chunks(o->weights->in), depth = o->taps * chunks * SPLIT_CHUNK,
              before = o->taps / 2;
    const int first = frame < before ? before - frame : 0, end = least(o->taps, frames - frame + before);
    return (struct split_product){
        .a = s->window + o->start + (size_t)(frame - before + first) * o->frame_bytes,
        .pitch = o->pitch,
        .low = (size_t)chunks * SPLIT_CHUNK_BYTES,
        .chunks = o->taps == 1 ? NULL : s->chunks,
        .n = (end - first) * chunks,
        .weights = (const char *)(o->weights->data + (size_t)(panel * PANEL) * (size_t)depth) +
                   (size_t)(first * chunks) * split_weight_bytes(width),
        .width = width,
    };
}

static float *output_of(const struct split_plan *plan, const struct block *block, int frame)
{
    const vipo_map *out = &plan->args.out;
    return out->data + (((size_t)block->sample * (size_t)out->frames + (size_t)frame) * (size_t)plan->pixels +
                        (size_t)block->first) *
                           (size_t)out->channels;
}

/* What the sums of a frame are added to, apart from the bias: the residual, and a skip convolution that is not split, which goes
 * to the output first; NULL: nothing. */
static const float *beginning(const struct split_plan *plan, const struct scratch *s,
                              const struct block *block, int frame, int panel)
{
    const vipo_conv_time *args = &plan->args;
    const float *residual = args->residual.data ? pixels_of(&args->residual, block, frame) : NULL;
    if (args->n_skip == 0 || plan->n == 2) return residual;
    float *const out = output_of(plan, block, frame);
    struct gemm gemm = {.rows = block->n,
                        .columns = args->out.channels,
                        .init = residual,
                        .init_rows = s->offsets[2],
                        .out = out,
                        .out_rows = s->offsets[2]};
    for (int i = 0; i < block->n; i++)
        s->offsets[2][i] = (ptrdiff_t)i * args->out.channels * (ptrdiff_t)sizeof(float);
    for (int k = 0, first_k = 0; k < args->n_skip; first_k += args->skip[k].channels, k++) {
        for (int i = 0; i < block->n; i++)
            s->offsets[k][i] = (ptrdiff_t)i * args->skip[k].channels * (ptrdiff_t)sizeof(float);
        gemm.segments[gemm.n_segments++] = (struct gemm_segment){.a = pixels_of(&args->skip[k], block, frame),
                                                                 .rows = s->offsets[k],
                                                                 .k = args->skip[k].channels,
                                                                 .weights = args->skip_weights->data,
                                                                 .weights_k = args->skip_weights->in,
                                                                 .first_k = first_k};
    }
    BLOCKED(gemm)(&gemm, panel, panel + 1);
    return out;
}

/* out = sums + bias + init for n pixels; init lies as out does. */
static void store(float *out, const float *init, size_t channels, const float *sums, const float *bias,
                  int columns, int n)
{
    for (int i = 0; i < n; i++, out += channels, sums += PANEL)
        for (int c = 0; c < columns; c += LANES) {
            const int lanes = least(columns - c, LANES);
            vfloat sum = v_add(v_load(sums + c), v_load(bias + c));
            if (init) sum = v_add(sum, v_load_n(init + (size_t)i * channels + c, lanes));
            v_store_n(out + c, sum, lanes);
        }
}

/* One panel of a block. */
static void multiply(const struct split_plan *plan, const struct scratch *s, const struct block *block,
                     int panel)
{
    const vipo_map *out = &plan->args.out;
    const size_t channels = (size_t)out->channels, column = (size_t)panel * PANEL;
    for (int frame = 0; frame < out->frames; frame++) {
        const float *const init = beginning(plan, s, block, frame, panel);
        float *const to = output_of(plan, block, frame);
        struct split_product products[2];
        for (int i = 0; i < plan->n; i++) products[i] = product_of(plan, s, i, frame, panel);
        for (int first = 0; first < block->n; first += SPLIT_ROWS) {
            const int n = least(SPLIT_ROWS, block->n - first);
            const size_t at = (size_t)first * channels + column;
            for (int i = 0; i < plan->n; i++) {
                vipo_split_multiply(&products[i], n, i > 0, s->sums);
                products[i].a += SPLIT_ROWS * products[i].pitch;
            }
            store(to + at, init ? init + at : NULL, channels, s->sums, s->bias + column,
                  least(PANEL, out->channels - (int)column), n);
        }
    }
}

/* ---- tasks ---------------------------------------------------------------------------------------------- */

struct split_loop {
    const vipo_compute *compute;
    const struct split_plan *plan;
    int groups, group_panels; /* panels are shared out among `groups` tasks */
};

/* Task i = (sample * strips + strip) * groups + group: neighbours share inputs. */
static void strip_task(void *arg, int i, int thread)
{
    const struct split_loop *loop = arg;
    const struct split_plan *plan = loop->plan;
    const vipo_map *out = &plan->args.out;
    const struct scratch s = scratch_of(loop->compute, plan, thread);
    const int strip = i / loop->groups % plan->strips, sample = i / loop->groups / plan->strips;
    const int first_panel = i % loop->groups * loop->group_panels;
    const int end_panel = least(first_panel + loop->group_panels, panel_count(out->channels));
    const int first = strip * VIPO_STRIP_PIXELS, end = least(first + VIPO_STRIP_PIXELS, plan->pixels);
    fill_chunks(&plan->operands[0], s.chunks);
    BLOCKED(sum_biases)(&plan->args, sample, s.bias);
    vipo_split_begin();
    for (int pixel = first; pixel < end; pixel += plan->block) {
        const struct block block = {sample, pixel, least(plan->block, end - pixel)};
        for (int o = 0; o < plan->n; o++) split_operand(plan, &plan->operands[o], &block, s.window, s.row);
        for (int panel = first_panel; panel < end_panel; panel++) multiply(plan, &s, &block, panel);
    }
    vipo_split_end();
    for (int frame = 0; out->stats && frame < out->frames; frame++) BLOCKED(strip_stats)
    (out, sample, frame, strip, first_panel * PANEL, least(end_panel * PANEL, out->channels));
}

void vipo_split_time(const vipo_compute *compute, const vipo_conv_time *args)
{
    struct split_plan plan;
    if (!uses_split(args)) {
        BLOCKED(conv_time)(compute, args);
        return;
    }
    plan_time(&plan, args);
    const int panels = panel_count(args->out.channels), strips = args->out.samples * plan.strips;
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    struct split_loop loop = {.compute = compute, .plan = &plan};
    loop.group_panels = parts(panels, least(panels, parts(wanted, strips)));
    loop.groups = parts(panels, loop.group_panels);
    vipo_pool_run(compute->pool, strips * loop.groups, strip_task, &loop);
    if (is_split(args->weights)) return;
    const vipo_conv_time rest = without_skip(args);
    BLOCKED(conv_time)(compute, &rest);
}
