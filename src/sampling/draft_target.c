/* Draft-and-Target Sampling (arXiv 2603.13438, Algorithm 1).
 *
 * Tokens are the states at the draft times t_i = T-1 - delta i, i = 0..n, t_n = -1. From token s a round does
 *   draft    k big DDIM steps of stride delta, one after another;
 *   target   the same k intervals in M = delta/tau small steps of stride tau, each begun at the draft token
 *            before it, all intervals as one batch;
 *   accept   the longest prefix whose distances ||draft_j - target_j||_2 stay within lambda_0 + growth * round;
 *   restart  from the target token after that prefix (the last one if all were accepted).
 * A round gains at least one token, so it ends. With draft reuse the first small step takes the v that the
 * draft already computed at the same state: the same numbers with one batched call less.
 *
 * Several videos go in lock-step: each has its own rounds, their rows share the batched calls. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "sampling/sampler.h"
#include "sampling/trace.h"

/* One video on its way. */
typedef struct chain {
    int token; /* reached: its state is sampling->x */
    int round; /* rounds finished */
    int k;     /* tokens of the present round; 0: the video is finished */
} chain;

typedef struct work {
    vipo_sampling *sampling;
    int tokens;      /* n: tokens after the start */
    int small_steps; /* M */
    int chunk;       /* most tokens of a round */
    size_t dim;
    /* Per video and place j in the chunk: the draft token, the target token, and v at the draft token's
     * predecessor. */
    float *draft, *target, *draft_v; /* [videos][chunk][dim] */
    /* One batch: rows of states and of network outputs, and whose they are. */
    float *batch_x, *batch_v;           /* [videos * chunk][dim] */
    int *row_video, *row_place, *row_t; /* [videos * chunk] */
    chain *chains;                      /* [videos] */
    double *distances;                  /* [chunk] */
} work;

/* ---- options ---------------------------------------------------------------------------------------- */

static int token_count(const vipo_sampler_options *o, const vipo_schedule *schedule)
{
    return schedule->timesteps / o->draft_stride;
}

static int chunk_length(const vipo_sampler_options *o, const vipo_schedule *schedule)
{
    const int tokens = token_count(o, schedule);
    return o->chunk < tokens ? o->chunk : tokens;
}

static vipo_status check(const vipo_sampler_options *o, const vipo_schedule *schedule, vipo_error *error)
{
    const int timesteps = schedule->timesteps;
    if (o->steps != 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "draft-target has no steps; its strides and chunk say how it goes");
    if (o->chunk < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "chunk: %d, expected 1 or more", o->chunk);
    if (o->draft_stride < 1 || timesteps % o->draft_stride)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "draft stride: %d does not divide the model's %d timesteps", o->draft_stride,
                         timesteps);
    if (o->target_stride < 1 || o->draft_stride % o->target_stride)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "target stride: %d does not divide the draft stride %d", o->target_stride,
                         o->draft_stride);
    if (!isfinite(o->threshold) || !isfinite(o->threshold_growth))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threshold and its growth must be finite numbers");
    return VIPO_OK;
}

void vipo_draft_target_describe_rest(const vipo_sampler_options *o, char *text, size_t size)
{
    vipo_sampler_options usual;
    vipo_sampler_default_options(&usual);
    char growth[32] = "";
    if (o->threshold_growth < usual.threshold_growth || o->threshold_growth > usual.threshold_growth)
        vipo_snprintf(growth, sizeof growth, "%+g", o->threshold_growth);
    snprintf(text, size, "%s%s", growth, o->chunk_rule == usual.chunk_rule ? "" : " remainder");
}

static void describe(const vipo_sampler_options *o, const vipo_schedule *schedule, char *text, size_t size)
{
    (void)schedule;
    char rest[64];
    vipo_draft_target_describe_rest(o, rest, sizeof rest);
    vipo_snprintf(text, size, "draft-target k=%d %d/%d lambda=%g%s%s", o->chunk, o->draft_stride,
                  o->target_stride, o->threshold, rest, o->draft_reuse ? "" : " no-reuse");
}

static int stride(const vipo_sampler_options *o)
{
    return o->draft_stride;
}

/* ---- working memory --------------------------------------------------------------------------------- */

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    const size_t chunk = (size_t)chunk_length(options, schedule), rows = (size_t)videos * chunk;
    return 5 * vipo_whole_lines(rows * dim) + 3 * vipo_floats_for(rows, sizeof(int)) +
           vipo_floats_for((size_t)videos, sizeof(chain)) + vipo_floats_for(chunk, sizeof(double));
}

static work lay_out(vipo_sampling *sampling)
{
    work w = {.sampling = sampling,
              .tokens = token_count(sampling->options, sampling->schedule),
              .small_steps = sampling->options->draft_stride / sampling->options->target_stride,
              .chunk = chunk_length(sampling->options, sampling->schedule),
              .dim = sampling->denoiser->dim};
    const size_t rows = (size_t)sampling->videos * (size_t)w.chunk;
    float *at = sampling->memory;
    float **const states[] = {&w.draft, &w.target, &w.draft_v, &w.batch_x, &w.batch_v};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++, at += vipo_whole_lines(rows * w.dim))
        *states[i] = at;
    int **const lists[] = {&w.row_video, &w.row_place, &w.row_t};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++, at += vipo_floats_for(rows, sizeof(int)))
        *lists[i] = (int *)(void *)at;
    w.distances = (double *)(void *)at;
    at += vipo_floats_for((size_t)w.chunk, sizeof(double));
    w.chains = (chain *)(void *)at;
    memset(w.chains, 0, (size_t)sampling->videos * sizeof *w.chains);
    const int first = (sampling->schedule->timesteps - 1 - sampling->from) / sampling->options->draft_stride;
    for (int video = 0; video < sampling->videos; video++) w.chains[video].token = first;
    return w;
}

/* Element j of video's part of an array [videos][chunk][dim]. */
static float *place(const work *w, float *array, int video, int j)
{
    return array + ((size_t)video * (size_t)w->chunk + (size_t)j) * w->dim;
}

static float *state_of(const work *w, int video)
{
    return w->sampling->x + (size_t)video * w->dim;
}

/* The state that interval j begins at: the video's own for j = 0, else the draft token before it. */
static float *predecessor(const work *w, int video, int j)
{
    return j == 0 ? state_of(w, video) : place(w, w->draft, video, j - 1);
}

static int token_time(const work *w, int token)
{
    return w->sampling->schedule->timesteps - 1 - w->sampling->options->draft_stride * token;
}

/* ---- one round ---------------------------------------------------------------------------------------- */

/* How many tokens each video drafts now; false when all are finished. */
static bool begin_round(const work *w)
{
    const vipo_sampler_options *options = w->sampling->options;
    bool active = false;
    for (int video = 0; video < w->sampling->videos; video++) {
        chain *c = &w->chains[video];
        const int left = w->tokens - c->token;
        c->k = options->chunk_rule == VIPO_CHUNK_REMAINDER ? w->chunk - c->token % w->chunk : w->chunk;
        if (c->k > left) c->k = left;
        active = active || c->k > 0;
    }
    return active;
}

/* Draft: interval j of every video that has one, j = 0, 1, ...; one row per video in a call. */
static vipo_status draft(const work *w, vipo_error *error)
{
    const vipo_schedule *schedule = w->sampling->schedule;
    for (int j = 0; j < w->chunk; j++) {
        int rows = 0;
        for (int video = 0; video < w->sampling->videos; video++) {
            if (j >= w->chains[video].k) continue;
            memcpy(w->batch_x + (size_t)rows * w->dim, predecessor(w, video, j), w->dim * sizeof(float));
            w->row_video[rows] = video;
            w->row_t[rows] = token_time(w, w->chains[video].token + j);
            rows++;
        }
        if (rows == 0) break;
        VIPO_TRY(
            vipo_sampling_call(w->sampling, rows, w->row_video, w->row_t, w->batch_x, w->batch_v, error));
        for (int r = 0; r < rows; r++) {
            const int video = w->row_video[r];
            const float *x = w->batch_x + (size_t)r * w->dim, *v = w->batch_v + (size_t)r * w->dim;
            vipo_ddim_step(schedule, w->row_t[r], w->row_t[r] - w->sampling->options->draft_stride, w->dim, x,
                           v, place(w, w->draft, video, j));
            memcpy(place(w, w->draft_v, video, j), v, w->dim * sizeof(float));
        }
    }
    return VIPO_OK;
}

/* Target: all intervals of all videos advance together by M small steps. */
static vipo_status target(const work *w, vipo_error *error)
{
    const vipo_sampler_options *options = w->sampling->options;
    int rows = 0;
    for (int video = 0; video < w->sampling->videos; video++)
        for (int j = 0; j < w->chains[video].k; j++, rows++) {
            w->row_video[rows] = video;
            w->row_place[rows] = j;
            w->row_t[rows] = token_time(w, w->chains[video].token + j);
            memcpy(w->batch_x + (size_t)rows * w->dim, predecessor(w, video, j), w->dim * sizeof(float));
        }
    for (int m = 0; m < w->small_steps; m++) {
        if (m == 0 && options->draft_reuse) {
            for (int r = 0; r < rows; r++)
                memcpy(w->batch_v + (size_t)r * w->dim,
                       place(w, w->draft_v, w->row_video[r], w->row_place[r]), w->dim * sizeof(float));
        } else {
            VIPO_TRY(
                vipo_sampling_call(w->sampling, rows, w->row_video, w->row_t, w->batch_x, w->batch_v, error));
        }
        for (int r = 0; r < rows; r++) {
            float *x = w->batch_x + (size_t)r * w->dim;
            vipo_ddim_step(w->sampling->schedule, w->row_t[r], w->row_t[r] - options->target_stride, w->dim,
                           x, w->batch_v + (size_t)r * w->dim, x);
            w->row_t[r] -= options->target_stride;
        }
    }
    for (int r = 0; r < rows; r++)
        memcpy(place(w, w->target, w->row_video[r], w->row_place[r]), w->batch_x + (size_t)r * w->dim,
               w->dim * sizeof(float));
    return VIPO_OK;
}

static double distance(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* Accept and restart. */
static void accept(const work *w, int video)
{
    const vipo_sampler_options *options = w->sampling->options;
    chain *c = &w->chains[video];
    const double threshold = options->threshold + options->threshold_growth * (double)c->round;
    for (int j = 0; j < c->k; j++)
        w->distances[j] = distance(place(w, w->draft, video, j), place(w, w->target, video, j), w->dim);
    int accepted = 0;
    while (accepted < c->k && w->distances[accepted] <= threshold) accepted++;
    const int advance = accepted < c->k ? accepted + 1 : c->k;
    memcpy(state_of(w, video), place(w, w->target, video, advance - 1), w->dim * sizeof(float));

    const int batched_steps = w->small_steps - (options->draft_reuse ? 1 : 0);
    const vipo_round round = {.video = video,
                              .round = c->round,
                              .start_token = c->token,
                              .start_t = token_time(w, c->token),
                              .k = c->k,
                              .threshold = threshold,
                              .distances = w->distances,
                              .n_distances = c->k,
                              .accepted = accepted,
                              .advance = advance,
                              .next_token = c->token + advance,
                              .next_t = token_time(w, c->token + advance),
                              .calls = c->k + batched_steps,
                              .evals = c->k * (1 + batched_steps)};
    vipo_trace_round(w->sampling, &round);
    w->sampling->stats.rounds++;
    w->sampling->stats.drafted += c->k;
    w->sampling->stats.accepted += accepted;
    c->token += advance;
    c->round++;
}

/* Evaluations so far plus what is left if everything is accepted. */
static void expect(const work *w)
{
    const int per_token = 1 + w->small_steps - (w->sampling->options->draft_reuse ? 1 : 0);
    double left = 0;
    for (int video = 0; video < w->sampling->videos; video++)
        left += (double)(w->tokens - w->chains[video].token) * per_token;
    w->sampling->expected_evaluations = w->sampling->stats.evaluations + left;
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const work w = lay_out(sampling);
    expect(&w);
    while (begin_round(&w)) {
        VIPO_TRY(draft(&w, error));
        VIPO_TRY(target(&w, error));
        for (int video = 0; video < sampling->videos; video++)
            if (w.chains[video].k > 0) accept(&w, video);
        expect(&w);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_draft_target = {
    .name = "draft-target",
    .summary = "Draft-and-Target Sampling: big steps checked in batch by small ones",
    .check = check,
    .describe = describe,
    .memory = memory,
    .stride = stride,
    .sample = sample};
