#include "compute/tuner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"

enum {
    LEAST_PIXELS = 4096, /* of a part of a map: enough for weights to be used as often as in a large one */
    THREAD_PRODUCTS = 500000000, /* or as many as this asks for, for each thread: about 10 ms */
    LEAST_ROUNDS = 2,
    MOST_REPEATS = 4, /* of a call that was interrupted */
    MOST_ROUNDS = 10,
    USUAL_CACHE = 32 << 20,
    MOST_SWEPT = 256 << 20, /* bytes */
    SWEEPS_PER_THREAD = 4,
    PATTERN = 1 << 16, /* numbers before they repeat */
};
static const double hopeless = 1.5;       /* times the best: not tried again */
static const double worthwhile = 0.03;    /* gain that more weights must bring */
static const double layer_seconds = 0.02; /* of rounds, once the least of them are done */
static const double short_seconds = 0.01; /* a call below it is tried twice before it is hopeless */
static const double patience = 0.25;      /* for a layer: later, interrupted calls count as they are */
static const vipo_tuner_clock usual_clock = {vipo_clock_seconds, vipo_clock_interruptions};

/* Everything that calls need, for the largest layer. */
typedef struct workspace {
    const vipo_tuner *tuner;
    const vipo_tuner_clock *clock;
    double layer_start;
    vipo_compute compute;
    float *in, *out, *residual, *stats;
    float *scale, *shift, *embedding; /* of as many channels as there are */
    float *weights;                   /* as pack takes them */
    float *packed[VIPO_METHODS];
    float *swept;
    size_t swept_floats;
    float *sums; /* one for each task of a sweep, so that reading has a result */
    int n_sums;
} workspace;

/* A layer to be timed by one method. Which op depends on its kind. */
typedef struct job {
    vipo_packed packed;
    vipo_conv_space space;
    vipo_conv_time time;
} job;

/* ---- what is computed --------------------------------------------------------------------------------------- */

/* Products of the plain method for each pixel of the input. */
static double products(const vipo_layer *layer)
{
    const double all = (double)layer->in * layer->out * vipo_weight_taps(layer->kind);
    return layer->kind == VIPO_WEIGHT_3X3_UPSAMPLE2 ? 4 * all
           : layer->kind == VIPO_WEIGHT_3X3_STRIDE2 ? all / 4
                                                    : all;
}

static double pixels(const vipo_layer *layer)
{
    return (double)layer->frames * layer->height * layer->width;
}

static int at_least(double wanted, int step, int most)
{
    const int n = (int)ceil(wanted / step) * step;
    return n < most ? n : most;
}

/* The part of a layer that is timed: fewer frames, then fewer rows; all frames where they are what is convolved. */
static vipo_layer part_of(const vipo_layer *layer, int threads)
{
    const double wanted = fmax(LEAST_PIXELS, (double)THREAD_PRODUCTS * threads / products(layer));
    vipo_layer part = *layer;
    if (pixels(layer) <= wanted) return part;
    const double frame = (double)layer->height * layer->width;
    if (layer->kind != VIPO_WEIGHT_TIME) part.frames = at_least(wanted / frame, 1, layer->frames);
    if (pixels(&part) > wanted)
        part.height = at_least(wanted / ((double)part.frames * layer->width), 8, layer->height);
    return part;
}

static vipo_map map_of(float *data, const vipo_layer *layer, int height, int width, int channels)
{
    return (vipo_map){.data = data,
                      .samples = 1,
                      .frames = layer->frames,
                      .height = height,
                      .width = width,
                      .channels = channels};
}

/* As nets/unet3d.c has them. */
static void describe(job *out, const workspace *w, const vipo_layer *layer)
{
    const vipo_map in = map_of(w->in, layer, layer->height, layer->width, layer->in);
    if (layer->kind == VIPO_WEIGHT_TIME) {
        out->time = (vipo_conv_time){.in = in,
                                     .weights = &out->packed,
                                     .embedding = w->embedding,
                                     .embedding_stride = (size_t)layer->out,
                                     .out = map_of(w->out, layer, layer->height, layer->width, layer->out)};
        out->time.residual = out->time.out;
        out->time.residual.data = w->residual;
        out->time.out.stats = w->stats;
        return;
    }
    const bool up = layer->kind == VIPO_WEIGHT_3X3_UPSAMPLE2, down = layer->kind == VIPO_WEIGHT_3X3_STRIDE2;
    const bool normed = layer->kind == VIPO_WEIGHT_3X3;
    const int height = up ? 2 * layer->height : down ? (layer->height + 1) / 2 : layer->height;
    const int width = up ? 2 * layer->width : down ? (layer->width + 1) / 2 : layer->width;
    out->space = (vipo_conv_space){.in = {in},
                                   .n_in = 1,
                                   .silu = normed,
                                   .weights = &out->packed,
                                   .out = map_of(w->out, layer, height, width, layer->out)};
    if (normed) out->space.norm = (vipo_affine){.scale = w->scale, .shift = w->shift};
}

static const vipo_map *output(const job *j)
{
    return j->packed.kind == VIPO_WEIGHT_TIME ? &j->time.out : &j->space.out;
}

static size_t map_floats(const vipo_map *map)
{
    return (size_t)map->frames * (size_t)map->height * (size_t)map->width * (size_t)map->channels;
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

typedef struct sizes {
    size_t in, out, stats, channels, weights, packed[VIPO_METHODS], scratch;
} sizes;

static void grow(size_t *a, size_t b)
{
    if (b > *a) *a = b;
}

static void need(sizes *s, const vipo_ops *ops, const vipo_layer *layer)
{
    static const workspace nothing = {.in = NULL};
    grow(&s->channels, (size_t)(layer->in > layer->out ? layer->in : layer->out));
    grow(&s->weights, (size_t)layer->in * (size_t)layer->out * (size_t)vipo_weight_taps(layer->kind));
    for (int m = 0; m < VIPO_METHODS; m++) {
        if (!ops->knows(layer, (vipo_method)m)) continue;
        job j = {.packed = {.kind = layer->kind,
                            .method = (vipo_method)m,
                            .half = layer->half,
                            .in = layer->in,
                            .out = layer->out}};
        describe(&j, &nothing, layer);
        const vipo_map *out = output(&j);
        grow(&s->in, (size_t)pixels(layer) * (size_t)layer->in);
        grow(&s->out, map_floats(out));
        grow(&s->stats, (size_t)out->frames * (size_t)vipo_map_strips(out) * 2 * (size_t)out->channels);
        grow(&s->packed[m], ops->packed_floats(layer, (vipo_method)m));
        grow(&s->scratch, layer->kind == VIPO_WEIGHT_TIME ? ops->conv_time_scratch(&j.time)
                                                          : ops->conv_space_scratch(&j.space));
    }
}

/* Numbers in [-size, size) around `middle`, none of them tiny. */
static float *made_up(size_t n, double middle, double size)
{
    float *data = vipo_aligned_calloc(n, sizeof *data);
    for (size_t i = 0; data && i < n && i < PATTERN; i++)
        data[i] = (float)(middle + size * ((double)((uint32_t)i * UINT32_C(2654435761) >> 8) * 0x1p-23 - 1));
    for (size_t i = PATTERN; data && i < n; i += PATTERN)
        memcpy(data + i, data, (n - i < PATTERN ? n - i : PATTERN) * sizeof *data);
    return data;
}

static void workspace_close(workspace *w)
{
    float *const blocks[] = {w->in,    w->out,       w->residual, w->stats, w->scale,
                             w->shift, w->embedding, w->weights,  w->swept, w->sums};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) vipo_aligned_free(blocks[i]);
    for (int m = 0; m < VIPO_METHODS; m++) vipo_aligned_free(w->packed[m]);
    vipo_aligned_free(w->compute.scratch);
}

/* Close in every case. */
static vipo_status workspace_open(workspace *w, const vipo_tuner *tuner, const vipo_choice *choices, int n,
                                  vipo_error *error)
{
    sizes s = {.channels = 1, .stats = 1, .scratch = 1};
    const int threads = vipo_pool_threads(tuner->pool);
    for (int i = 0; i < n; i++) {
        const vipo_layer part = part_of(&choices[i].layer, threads);
        need(&s, tuner->ops, &part);
    }
    const size_t most = tuner->cache_bytes ? 2 * tuner->cache_bytes : 2 * (size_t)USUAL_CACHE;
    size_t swept = tuner->weight_bytes < most ? tuner->weight_bytes : most;
    if (swept > MOST_SWEPT) swept = MOST_SWEPT;
    *w = (workspace){
        .tuner = tuner,
        .clock = tuner->clock ? tuner->clock : &usual_clock,
        .compute = {.ops = tuner->ops, .pool = tuner->pool, .scratch_bytes = (s.scratch + 63) / 64 * 64},
        .in = made_up(s.in, 0, 1),
        .out = made_up(s.out, 0, 1),
        .residual = made_up(s.out, 0, 1),
        .stats = made_up(s.stats, 0, 1),
        .scale = made_up(s.channels, 1, 0.5),
        .shift = made_up(s.channels, 0, 0.5),
        .embedding = made_up(s.channels, 0, 1),
        .weights = made_up(s.weights, 0, 0.05),
        .swept_floats = swept / sizeof(float) + 1,
        .n_sums = SWEEPS_PER_THREAD * threads};
    w->swept = made_up(w->swept_floats, 0, 1);
    w->sums = made_up((size_t)w->n_sums, 0, 1);
    w->compute.scratch = vipo_aligned_calloc((size_t)threads, w->compute.scratch_bytes);
    bool complete = w->in && w->out && w->residual && w->stats && w->scale && w->shift && w->embedding &&
                    w->weights && w->swept && w->sums && w->compute.scratch;
    size_t bytes = (s.in + 2 * s.out + s.weights + w->swept_floats) * sizeof(float);
    for (int m = 0; m < VIPO_METHODS; m++) {
        if (!s.packed[m]) continue;
        w->packed[m] = vipo_aligned_calloc(s.packed[m], sizeof(float));
        complete = complete && w->packed[m];
        bytes += s.packed[m] * sizeof(float);
    }
    return complete ? VIPO_OK : vipo_fail_memory(error, bytes, "measuring methods");
}

/* ---- timing ------------------------------------------------------------------------------------------------- */

static void sweep_task(void *arg, int i, int thread)
{
    (void)thread;
    const workspace *w = arg;
    const size_t first = w->swept_floats / (size_t)w->n_sums * (size_t)i,
                 n = w->swept_floats / (size_t)w->n_sums;
    float sum = 0;
    for (size_t k = first; k < first + n; k += VIPO_ALIGNMENT / sizeof(float)) sum += w->swept[k];
    w->sums[i] = sum;
}

/* In a network the weights of all other layers come between two uses of a layer's. Where weights outweigh maps, that is
 * most of the time a call takes. */
static bool is_weight_bound(const workspace *w, const job *jobs, size_t most_floats)
{
    const vipo_map *out = output(jobs);
    const vipo_map *in = jobs->packed.kind == VIPO_WEIGHT_TIME ? &jobs->time.in : &jobs->space.in[0];
    return w->tuner->weight_bytes > 0 && most_floats > map_floats(in) + map_floats(out);
}

static void call(const workspace *w, const job *j)
{
    if (j->packed.kind == VIPO_WEIGHT_TIME)
        w->compute.ops->conv_time(&w->compute, &j->time);
    else
        w->compute.ops->conv_space(&w->compute, &j->space);
}

/* *seconds becomes the shortest so far. */
static vipo_status time_call(workspace *w, const job *j, bool sweep, double *seconds, vipo_error *error)
{
    bool interrupted = true;
    for (int i = 0; i < MOST_REPEATS && interrupted; i++) {
        VIPO_TRY(vipo_check_cancelled(w->tuner->callbacks, error));
        if (sweep) vipo_pool_run(w->compute.pool, w->n_sums, sweep_task, w);
        const long interruptions = w->clock->interruptions();
        const double start = w->clock->seconds();
        call(w, j);
        *seconds = fmin(*seconds, w->clock->seconds() - start);
        interrupted =
            w->clock->interruptions() != interruptions && w->clock->seconds() - w->layer_start < patience;
    }
    return VIPO_OK;
}

/* The least weights of those that are fast enough. */
static vipo_method pick(const vipo_ops *ops, const vipo_layer *layer, const double *seconds)
{
    double best = INFINITY;
    for (int m = 0; m < VIPO_METHODS; m++) best = fmin(best, seconds[m]);
    int chosen = -1;
    size_t least = 0;
    for (int m = 0; m < VIPO_METHODS; m++) {
        if (!(seconds[m] < INFINITY) || seconds[m] * (1 - worthwhile) > best) continue;
        const size_t floats = ops->packed_floats(layer, (vipo_method)m);
        if (chosen >= 0 && floats >= least) continue;
        chosen = m;
        least = floats;
    }
    return chosen >= 0 ? (vipo_method)chosen : ops->choose(layer);
}

/* By a part of the whole layer. seconds: INFINITY where a method is unknown. */
static vipo_status time_methods(workspace *w, const vipo_layer *whole, const vipo_layer *layer,
                                double *seconds, vipo_error *error)
{
    const vipo_ops *ops = w->tuner->ops;
    job jobs[VIPO_METHODS];
    int order[VIPO_METHODS], n = 0;
    size_t most_floats = 0;
    double best = INFINITY;
    for (int m = 0; m < VIPO_METHODS; m++) {
        seconds[m] = INFINITY;
        if (!ops->knows(whole, (vipo_method)m) || !ops->knows(layer, (vipo_method)m)) continue;
        ops->pack(layer, (vipo_method)m, w->weights, NULL, w->packed[m], &jobs[m].packed, w->compute.pool);
        describe(&jobs[m], w, layer);
        grow(&most_floats, ops->packed_floats(layer, (vipo_method)m));
        order[n++] = m;
    }
    if (n == 0) return VIPO_OK;
    w->layer_start = w->clock->seconds();
    const bool sweep = is_weight_bound(w, &jobs[order[0]], most_floats);
    for (int i = 0; i < n; i++) {
        double *taken = &seconds[order[i]];
        VIPO_TRY(time_call(w, &jobs[order[i]], sweep, taken, error));
        if (*taken < short_seconds) VIPO_TRY(time_call(w, &jobs[order[i]], sweep, taken, error));
        best = fmin(best, *taken);
    }
    int left = 0;
    for (int i = 0; i < n; i++)
        if (seconds[order[i]] <= hopeless * best) order[left++] = order[i];
    const double start = w->clock->seconds();
    for (int round = 0; round < MOST_ROUNDS && left > 1; round++) {
        if (round >= LEAST_ROUNDS && w->clock->seconds() - start > layer_seconds) break;
        for (int i = 0; i < left; i++) { /* there and back, so that none is always first */
            const int m = order[round % 2 ? i : left - 1 - i];
            VIPO_TRY(time_call(w, &jobs[m], sweep, &seconds[m], error));
        }
    }
    return VIPO_OK;
}

vipo_status vipo_tuner_run(const vipo_tuner *tuner, vipo_choice *choices, int n, vipo_error *error)
{
    workspace w;
    if (n == 0) return VIPO_OK;
    vipo_status status = workspace_open(&w, tuner, choices, n, error);
    for (int i = 0; i < n && status == VIPO_OK; i++) {
        vipo_choice *choice = &choices[i];
        const vipo_layer part = part_of(&choice->layer, vipo_pool_threads(tuner->pool));
        double seconds[VIPO_METHODS];
        vipo_progress(tuner->callbacks, "tune", i, n);
        status = time_methods(&w, &choice->layer, &part, seconds, error);
        if (status != VIPO_OK) break;
        choice->method = pick(tuner->ops, &choice->layer, seconds);
        for (int m = 0; m < VIPO_METHODS; m++)
            choice->seconds[m] =
                seconds[m] < INFINITY ? seconds[m] * pixels(&choice->layer) / pixels(&part) : 0;
    }
    if (status == VIPO_OK) vipo_progress(tuner->callbacks, "tune", n, n);
    workspace_close(&w);
    return status;
}
