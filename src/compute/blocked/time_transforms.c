/* Both transforms of the Winograd convolution over frames: inputs to V, M to outputs and their statistics. */
#include "compute/blocked/time_plan.h"
#include "compute/blocked/winograd.h"

enum {
    LONGEST = 4,      /* outputs of a run, at most */
    FIRST_PIXELS = 8, /* of a strip, whose mean the deviations of the others are taken from */
};

/* ---- input ------------------------------------------------------------------------------------------- */

/* Inputs x[0], x[1] ... of F(4, 3), F(3, 3) or F(2, 3); y in the order of the products. */
static ALWAYS_INLINE void transform_input(vfloat y[TIME_PRODUCTS], const vfloat x[LONGEST + 2], int length)
{
    if (length == 4) {
        winograd_input_4(y, 1, x);
        return;
    }
    const vfloat two = v_set(2), half = v_set(.5f);
    const vfloat even_a = v_sub(v_mul(half, x[2]), x[0]), even_b = v_sub(v_add(x[2], x[2]), x[0]);
    const vfloat odd_a = v_mul(v_set((float)WINOGRAD_A), v_fnma(two, x[1], x[3]));
    const vfloat odd_b = v_mul(v_set((float)WINOGRAD_B), v_fnma(half, x[1], x[3]));
    y[1] = v_add(even_a, odd_a);
    y[2] = v_sub(even_a, odd_a);
    y[3] = v_add(even_b, odd_b);
    y[4] = v_sub(even_b, odd_b);
    if (length == 3) y[TIME_INFINITE] = v_fnma(v_set(2.5f), x[2], v_add(x[0], x[4]));
}

/* Products of a run that are used. */
static ALWAYS_INLINE bool uses(int length, int product)
{
    return length == 4 || (product > 0 && (length == 3 || product != TIME_INFINITE));
}

/* Inputs of a run: n floats of each frame. A frame that does not exist is one vector of zeros. */
struct run_input {
    const float *frame[LONGEST + 2];
    size_t mask[LONGEST + 2]; /* 0 for a frame that does not exist, all ones else */
};

static ALWAYS_INLINE void fill_run(const struct run_input *in, float *v, size_t v_product, size_t n,
                                   int length)
{
    vfloat x[LONGEST + 2], y[TIME_PRODUCTS];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int f = 0; f < length + 2; f++) x[f] = v_load(in->frame[f] + (i & in->mask[f]));
        transform_input(y, x, length);
        for (int p = 0; p < TIME_PRODUCTS; p++)
            if (uses(length, p)) v_store(v + (size_t)p * v_product + i, y[p]);
    }
    if (i == n) return;
    const int lanes = (int)(n - i);
    for (int f = 0; f < length + 2; f++) x[f] = v_load_n(in->frame[f] + (i & in->mask[f]), lanes);
    transform_input(y, x, length);
    for (int p = 0; p < TIME_PRODUCTS; p++)
        if (uses(length, p)) v_store_n(v + (size_t)p * v_product + i, y[p], lanes);
}

/* Floats [first, first + n) of a block's frames, into V of the block. */
void BLOCKED(time_input)(const struct time_plan *plan, const struct time_block *block, size_t first, size_t n,
                         float *v)
{
    static const float zeros[LANES];
    const vipo_map *in = &plan->args->in;
    const size_t channels = (size_t)plan->channels, start = (size_t)block->first * channels + first;
    for (int run = 0; run < run_count(&plan->runs); run++) {
        const int length = run_length(&plan->runs, run), frame = run_frame(&plan->runs, run) - 1;
        struct run_input input;
        for (int f = 0; f < length + 2; f++) {
            const bool exists = frame + f >= 0 && frame + f < plan->args->out.frames;
            input.frame[f] = exists ? vipo_map_frame(in, block->sample, frame + f) + start : zeros;
            input.mask[f] = exists ? SIZE_MAX : 0;
        }
        float *target = v + (size_t)(run * block->n) * channels + first;
        if (length == 4)
            fill_run(&input, target, plan->v_product, n, 4);
        else if (length == 3)
            fill_run(&input, target, plan->v_product, n, 3);
        else
            fill_run(&input, target, plan->v_product, n, 2);
    }
}

/* ---- output ------------------------------------------------------------------------------------------ */

static ALWAYS_INLINE void transform_output(vfloat y[LONGEST], const vfloat m[TIME_PRODUCTS], int length)
{
    if (length == 4) {
        winograd_output_4(y, 1, m);
        return;
    }
    const vfloat even_a = v_add(m[1], m[2]), odd_a = v_sub(m[1], m[2]);
    const vfloat even_b = v_add(m[3], m[4]), odd_b = v_sub(m[3], m[4]);
    y[0] = v_add(even_a, even_b);
    y[1] = v_fma(v_set((float)WINOGRAD_A), odd_a, v_mul(v_set((float)WINOGRAD_B), odd_b));
    if (length == 3) y[2] = v_add(v_fma(v_set(.5f), even_a, v_add(even_b, even_b)), m[TIME_INFINITE]);
}

/* One vector of output channels of a run. */
struct run_output {
    int pixels;     /* of the block */
    int done;       /* pixels of the strip before the block */
    const float *m; /* [product][pixel][PANEL] */
    size_t m_product;
    const float *bias;
    const float *skip;     /* [frame][pixel][PANEL] or NULL */
    const float *residual; /* laid out as the output, or NULL */
    float *out;
    size_t frame, pixel; /* floats from one to the next */
    float *sums;         /* of the strip so far, for each frame [TIME_SUMS] vectors; NULL: no statistics */
    size_t sum;          /* floats from one of them to the next */
    float *stats;        /* of the first frame, written with the last block of a strip; else NULL */
    size_t stats_frame, stats_channels;
};

/* Makes the mean of the n pixels summed so far the pivot. */
static ALWAYS_INLINE void move_pivot(float *sums, size_t step, int n)
{
    const vfloat pivot = v_load(sums), sum = v_load(sums + step), square = v_load(sums + 2 * step);
    const vfloat mean = v_fma(sum, v_set(1 / (float)n), pivot), d = v_sub(mean, pivot);
    const vfloat rest = v_fnma(d, v_set((float)n), sum);
    v_store(sums, mean);
    v_store(sums + step, rest);
    v_store(sums + 2 * step, v_max(v_zero(), v_fnma(d, v_add(sum, rest), square)));
}

static ALWAYS_INLINE void store_stats(const float *sums, size_t step, int n, int lanes, float *mean,
                                      float *squares)
{
    const vfloat sum = v_load(sums + step), offset = v_div(sum, v_set((float)n));
    v_store_n(mean, v_add(v_load(sums), offset), lanes);
    v_store_n(squares, v_max(v_zero(), v_fnma(sum, offset, v_load(sums + 2 * step))), lanes);
}

/* Pixels [first, end) of the block. */
static ALWAYS_INLINE void finish_pixels(const struct run_output *o, int first, int end, int length, int lanes)
{
    const bool begins = o->done + first == 0;
    const size_t pixels = (size_t)o->pixels, step = o->sum;
    const vfloat bias = v_load(o->bias);
    vfloat m[TIME_PRODUCTS], y[LONGEST], pivot[LONGEST], sum[LONGEST], square[LONGEST];
    for (int f = 0; f < length; f++) {
        const float *sums = o->sums + (size_t)f * TIME_SUMS * step;
        pivot[f] = sum[f] = square[f] = v_zero();
        if (!o->sums || begins) continue;
        pivot[f] = v_load(sums);
        sum[f] = v_load(sums + step);
        square[f] = v_load(sums + 2 * step);
    }
    for (size_t i = (size_t)first; i < (size_t)end; i++) {
        for (int p = 0; p < TIME_PRODUCTS; p++)
            if (uses(length, p)) m[p] = v_load(o->m + (size_t)p * o->m_product + i * PANEL);
        transform_output(y, m, length);
        for (int f = 0; f < length; f++) {
            y[f] = v_add(y[f], bias);
            if (o->skip) y[f] = v_add(y[f], v_load(o->skip + ((size_t)f * pixels + i) * PANEL));
            const size_t at = (size_t)f * o->frame + i * o->pixel;
            if (o->residual)
                y[f] = v_add(y[f],
                             lanes == LANES ? v_load(o->residual + at) : v_load_n(o->residual + at, lanes));
            if (lanes == LANES)
                v_store(o->out + at, y[f]);
            else
                v_store_n(o->out + at, y[f], lanes);
            if (begins && i == 0) pivot[f] = y[f];
            const vfloat d = v_sub(y[f], pivot[f]);
            sum[f] = v_add(sum[f], d);
            square[f] = v_fma(d, d, square[f]);
        }
    }
    for (int f = 0; f < length && o->sums; f++) {
        float *sums = o->sums + (size_t)f * TIME_SUMS * step;
        v_store(sums, pivot[f]);
        v_store(sums + step, sum[f]);
        v_store(sums + 2 * step, square[f]);
    }
}

/* The first pixels of a strip take deviations from one pixel, the others from the mean of the first: it lies
 * within sqrt(pixels / FIRST_PIXELS) standard deviations of the strip's, so that removing its share from the
 * squares costs no accuracy however far the mean is from zero. */
static ALWAYS_INLINE void finish_run(const struct run_output *o, int length, int lanes)
{
    int first = 0;
    if (o->sums && o->done == 0) {
        first = least(FIRST_PIXELS, o->pixels);
        finish_pixels(o, 0, first, length, lanes);
        for (int f = 0; f < length; f++) move_pivot(o->sums + (size_t)f * TIME_SUMS * o->sum, o->sum, first);
    }
    finish_pixels(o, first, o->pixels, length, lanes);
    for (int f = 0; f < length && o->stats; f++) {
        float *mean = o->stats + (size_t)f * o->stats_frame;
        store_stats(o->sums + (size_t)f * TIME_SUMS * o->sum, o->sum, o->done + o->pixels, lanes, mean,
                    mean + o->stats_channels);
    }
}

static void finish_vector(const struct run_output *o, int length, int lanes)
{
    if (lanes < LANES && length == 4)
        finish_run(o, 4, lanes);
    else if (lanes < LANES && length == 3)
        finish_run(o, 3, lanes);
    else if (lanes < LANES)
        finish_run(o, 2, lanes);
    else if (length == 4)
        finish_run(o, 4, LANES);
    else if (length == 3)
        finish_run(o, 3, LANES);
    else
        finish_run(o, 2, LANES);
}

/* A panel of a block from M and the skip convolution to the output. */
void BLOCKED(time_output)(const struct time_plan *plan, const struct time_scratch *s,
                          const struct time_block *block, int panel)
{
    const vipo_conv_time *args = plan->args;
    const vipo_map *out = &args->out;
    const size_t channels = (size_t)out->channels, frame = (size_t)plan->pixels * channels;
    const int first_column = panel * PANEL, end = least(first_column + PANEL, out->channels);
    const int strips = vipo_map_strips(out), strip = block->first / VIPO_STRIP_PIXELS;
    const int next = block->first + block->n;
    const bool last = next == plan->pixels || next % VIPO_STRIP_PIXELS == 0;
    for (int run = 0; run < run_count(&plan->runs); run++) {
        const int first_frame = run_frame(&plan->runs, run);
        const size_t row = (size_t)block->sample * (size_t)out->frames + (size_t)first_frame;
        for (int c = first_column; c < end; c += LANES) {
            const size_t at = row * frame + (size_t)block->first * channels + (size_t)c;
            const size_t column = (size_t)(c - first_column);
            struct run_output o = {
                .pixels = block->n,
                .done = block->first % VIPO_STRIP_PIXELS,
                .m = s->m + (size_t)(run * block->n) * PANEL + column,
                .m_product = plan->m_product,
                .bias = s->bias + c,
                .skip = args->n_skip ? s->skip + (size_t)(first_frame * block->n) * PANEL + column : NULL,
                .residual = args->residual.data ? args->residual.data + at : NULL,
                .out = out->data + at,
                .frame = frame,
                .pixel = channels,
                .sum = padded_columns(out->channels),
                .stats_frame = (size_t)strips * 2 * channels,
                .stats_channels = channels,
            };
            if (out->stats) o.sums = s->sums + (size_t)first_frame * TIME_SUMS * o.sum + (size_t)c;
            if (out->stats && last)
                o.stats = out->stats + (row * (size_t)strips + (size_t)strip) * 2 * channels + (size_t)c;
            finish_vector(&o, run_length(&plan->runs, run), least(end - c, LANES));
        }
    }
}
