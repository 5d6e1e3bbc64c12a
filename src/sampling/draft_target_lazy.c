/* Draft-and-Target Sampling that decides without a verification call.
 *
 * While drafting, the network's v is known at both ends of an interval of length h (in phi = atan2(sigma, alpha)) as soon
 * as the next draft step is taken. If v turned with the rotation that a DDIM step assumes, the one at the end would be
 * cos(h) v - sin(h) x; the difference estimates how far M small steps would land from the big one:
 *   D^ = (1 - 1/M) tan(|h|/2) ||v_next - (cos(h) v - sin(h) x)||.
 * Drafting stops at the first token whose D^, divided by the model's calibration ratio for it, exceeds the threshold,
 * or after k tokens; only that token is refined, by its M small steps with one row each (the first one reuses v). The
 * paper's algorithm takes the same way when its distances fall on the same sides of the threshold, with a third of the
 * evaluations.
 *
 * Several videos go in lock-step, one row each in a call. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sampling/sampler.h"
#include "sampling/trace.h"

/* What a video does with its next network output. */
typedef enum phase { PHASE_DRAFT, PHASE_REFINE, PHASE_FINISHED } phase;

typedef struct chain {
    phase phase;
    int token; /* reached: its state is sampling->x */
    int round;
    int k;     /* most tokens of this round */
    int j;     /* DRAFT: drafts made; REFINE: the interval to refine */
    int small; /* REFINE: small steps made */
    int calls; /* of this round */
    int time;  /* of the state `now` */
} chain;

typedef struct work {
    vipo_sampling *sampling;
    int tokens, small_steps;
    size_t dim;
    /* [videos][dim]: the state that the next output is for; the last interval's beginning and v there */
    float *now, *begin, *begin_v, *batch_x, *batch_v;
    chain *chains;
    double *estimates; /* [videos][tokens] of the round, for the trace */
    int *row_video, *row_t;
} work;

static int token_count(const vipo_sampler_options *o, const vipo_schedule *schedule)
{
    return schedule->timesteps / o->draft_stride;
}

static void describe(const vipo_sampler_options *o, const vipo_schedule *schedule, char *text, size_t size)
{
    (void)schedule;
    snprintf(text, size, "draft-target-lazy k=%d %d/%d lambda=%g", o->chunk, o->draft_stride,
             o->target_stride, o->threshold);
}

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    return vipo_sampler_draft_target.check(options, schedule, error);
}

static int stride(const vipo_sampler_options *options)
{
    return options->draft_stride;
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    const size_t n = (size_t)videos, tokens = (size_t)token_count(options, schedule);
    return 5 * vipo_whole_lines(n * dim) + vipo_floats_for(n, sizeof(chain)) +
           vipo_floats_for(n * tokens, sizeof(double)) + 2 * vipo_floats_for(n, sizeof(int));
}

static work lay_out(vipo_sampling *sampling)
{
    const vipo_sampler_options *options = sampling->options;
    work w = {.sampling = sampling,
              .tokens = token_count(options, sampling->schedule),
              .small_steps = options->draft_stride / options->target_stride,
              .dim = sampling->denoiser->dim};
    const size_t n = (size_t)sampling->videos;
    float *at = sampling->memory;
    float **const states[] = {&w.now, &w.begin, &w.begin_v, &w.batch_x, &w.batch_v};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++, at += vipo_whole_lines(n * w.dim))
        *states[i] = at;
    w.estimates = (double *)(void *)at;
    at += vipo_floats_for(n * (size_t)w.tokens, sizeof(double));
    w.chains = (chain *)(void *)at;
    at += vipo_floats_for(n, sizeof(chain));
    w.row_video = (int *)(void *)at;
    at += vipo_floats_for(n, sizeof(int));
    w.row_t = (int *)(void *)at;
    memset(w.chains, 0, n * sizeof *w.chains);
    const int first = (sampling->schedule->timesteps - 1 - sampling->from) / options->draft_stride;
    for (int video = 0; video < sampling->videos; video++) w.chains[video].token = first;
    return w;
}

static float *of(const work *w, float *array, int video)
{
    return array + (size_t)video * w->dim;
}

static int token_time(const work *w, int token)
{
    return w->sampling->schedule->timesteps - 1 - w->sampling->options->draft_stride * token;
}

static void begin_round(const work *w, int video)
{
    const vipo_sampler_options *options = w->sampling->options;
    chain *c = &w->chains[video];
    const int left = w->tokens - c->token;
    c->k = options->chunk_rule == VIPO_CHUNK_REMAINDER ? options->chunk - c->token % options->chunk
                                                       : options->chunk;
    if (c->k > left) c->k = left;
    c->phase = left > 0 ? PHASE_DRAFT : PHASE_FINISHED;
    c->j = c->small = c->calls = 0;
    if (c->phase == PHASE_FINISHED) return;
    c->time = token_time(w, c->token);
    memcpy(of(w, w->now, video), of(w, w->sampling->x, video), w->dim * sizeof(float));
}

/* D^ of the interval that began at `begin` and ended where v_next was just computed. */
static double estimate(const work *w, int video, const float *v_next)
{
    const chain *c = &w->chains[video];
    const int interval = c->token + c->j - 1;
    const double h = vipo_schedule_angle(w->sampling->schedule, token_time(w, interval + 1)) -
                     vipo_schedule_angle(w->sampling->schedule, token_time(w, interval));
    const float *x = of(w, w->begin, video), *v = of(w, w->begin_v, video);
    double sum = 0;
    for (size_t i = 0; i < w->dim; i++) {
        const double d = (double)v_next[i] - (cos(h) * (double)v[i] - sin(h) * (double)x[i]);
        sum += d * d;
    }
    const double ratio = w->sampling->n_lazy_ratios == w->tokens - 1 ? w->sampling->lazy_ratios[interval] : 1;
    return (1 - 1 / (double)w->small_steps) * tan(fabs(h) / 2) * sqrt(sum) / ratio;
}

static double threshold(const work *w, const chain *c)
{
    return w->sampling->options->threshold + w->sampling->options->threshold_growth * (double)c->round;
}

/* The round is over: token j of it is refined, its state in `now`. */
static void finish_round(const work *w, int video)
{
    chain *c = &w->chains[video];
    const int advance = c->j + 1;
    memcpy(of(w, w->sampling->x, video), of(w, w->now, video), w->dim * sizeof(float));
    const vipo_round round = {.video = video,
                              .round = c->round,
                              .start_token = c->token,
                              .start_t = token_time(w, c->token),
                              .k = c->k,
                              .threshold = threshold(w, c),
                              .distances = w->estimates + (size_t)video * (size_t)w->tokens,
                              .n_distances = advance < c->k ? advance : c->k - 1,
                              .accepted = advance < c->k ? advance - 1 : c->k,
                              .advance = advance,
                              .next_token = c->token + advance,
                              .next_t = token_time(w, c->token + advance),
                              .calls = c->calls,
                              .evals = c->calls};
    vipo_trace_round(w->sampling, &round);
    w->sampling->stats.rounds++;
    w->sampling->stats.drafted += advance < c->k ? advance + 1 : c->k;
    w->sampling->stats.accepted += round.accepted;
    c->token += advance;
    c->round++;
    begin_round(w, video);
}

/* A small step of the refined interval; its last one ends the round. */
static void refine(const work *w, int video, const float *v)
{
    chain *c = &w->chains[video];
    const int stride = w->sampling->options->target_stride;
    float *x = of(w, w->now, video);
    vipo_ddim_step(w->sampling->schedule, c->time, c->time - stride, w->dim, x, v, x);
    c->time -= stride;
    if (++c->small == w->small_steps) finish_round(w, video);
}

/* Goes back to the beginning of interval j, whose v is known, and refines it. */
static void start_refining(const work *w, int video, int j)
{
    chain *c = &w->chains[video];
    c->phase = PHASE_REFINE;
    c->j = j;
    c->small = 0;
    c->time = token_time(w, c->token + j);
    memcpy(of(w, w->now, video), of(w, w->begin, video), w->dim * sizeof(float));
    refine(w, video, of(w, w->begin_v, video));
}

/* v at the end of j drafts: is the last of them good enough? Then on with the next. */
static void draft(const work *w, int video, const float *v)
{
    chain *c = &w->chains[video];
    if (c->j > 0) {
        const double d = estimate(w, video, v);
        w->estimates[(size_t)video * (size_t)w->tokens + (size_t)c->j - 1] = d;
        if (!(d <= threshold(w, c))) {
            start_refining(w, video, c->j - 1);
            return;
        }
    }
    memcpy(of(w, w->begin, video), of(w, w->now, video), w->dim * sizeof(float));
    memcpy(of(w, w->begin_v, video), v, w->dim * sizeof(float));
    if (c->j == c->k - 1) { /* the last token is refined whatever its distance */
        start_refining(w, video, c->j);
        return;
    }
    const int stride = w->sampling->options->draft_stride;
    vipo_ddim_step(w->sampling->schedule, c->time, c->time - stride, w->dim, of(w, w->begin, video), v,
                   of(w, w->now, video));
    c->time -= stride;
    c->j++;
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const work w = lay_out(sampling);
    for (int video = 0; video < sampling->videos; video++) begin_round(&w, video);
    /* if everything is accepted: one evaluation for each token, M - 1 more for each round */
    const int left =
        w.tokens - (sampling->schedule->timesteps - 1 - sampling->from) / sampling->options->draft_stride;
    const int rounds = (left - 1) / sampling->options->chunk + 1;
    sampling->expected_evaluations = (double)sampling->videos * (left + rounds * (w.small_steps - 1));
    for (;;) {
        int rows = 0;
        for (int video = 0; video < sampling->videos; video++) {
            chain *c = &w.chains[video];
            if (c->phase == PHASE_FINISHED) continue;
            memcpy(w.batch_x + (size_t)rows * w.dim, of(&w, w.now, video), w.dim * sizeof(float));
            w.row_video[rows] = video;
            w.row_t[rows++] = c->time;
            c->calls++;
        }
        if (rows == 0) return VIPO_OK;
        VIPO_TRY(vipo_sampling_call(sampling, rows, w.row_video, w.row_t, w.batch_x, w.batch_v, error));
        for (int r = 0; r < rows; r++) {
            const int video = w.row_video[r];
            const float *v = w.batch_v + (size_t)r * w.dim;
            if (w.chains[video].phase == PHASE_DRAFT)
                draft(&w, video, v);
            else
                refine(&w, video, v);
        }
    }
}

const vipo_sampler vipo_sampler_draft_target_lazy = {
    .name = "draft-target-lazy",
    .summary = "Draft-and-Target Sampling that estimates its distances from the drafts alone",
    .check = check,
    .describe = describe,
    .memory = memory,
    .stride = stride,
    .sample = sample};
