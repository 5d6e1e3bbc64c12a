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
 * Several videos go in lock-step, one row each in a call.
 *
 * With verification each round also computes, when it is over and only to be reported, the true distances of the drafts
 * that it judged by their estimates: M small steps from each one's predecessor, all as one batch. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/number.h"
#include "sampling/sampler.h"
#include "sampling/trace.h"

/* What a video does with its next network output. */
typedef enum phase { PHASE_DRAFT, PHASE_REFINE, PHASE_ROUND_OVER, PHASE_FINISHED } phase;

typedef struct chain {
    phase phase;
    int token; /* reached: its state is sampling->x */
    int round;
    int k;     /* most tokens of this round */
    int j;     /* DRAFT: drafts made; REFINE, ROUND_OVER: the refined interval */
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
    /* Verification only; places: most decisions of a round. */
    int places;
    float *path_x;              /* [videos][places + 1][dim]: the round's first state and its drafts */
    float *path_v;              /* [videos][places][dim]: v there */
    float *verify_x, *verify_v; /* [videos * places][dim]: the batch */
    int *verify_video, *verify_place, *verify_t;
    double *true_distances; /* [videos][places] */
} work;

static int token_count(const vipo_sampler_options *o, const vipo_schedule *schedule)
{
    return schedule->timesteps / o->draft_stride;
}

/* Estimates that a round decides by: of all its drafts but the last. */
static int place_count(const vipo_sampler_options *o, const vipo_schedule *schedule)
{
    const int tokens = token_count(o, schedule);
    return (o->chunk < tokens ? o->chunk : tokens) - 1;
}

static void describe(const vipo_sampler_options *o, const vipo_schedule *schedule, char *text, size_t size)
{
    (void)schedule;
    char rest[64];
    vipo_draft_target_describe_rest(o, rest, sizeof rest);
    vipo_snprintf(text, size, "draft-target-lazy k=%d %d/%d lambda=%g%s%s", o->chunk, o->draft_stride,
                  o->target_stride, o->threshold, rest, o->lazy_calibrated ? "" : " uncalibrated");
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

/* Working memory given out piece by piece; at NULL: only counted. */
typedef struct pieces {
    float *at;
    size_t used;
} pieces;

static void *piece(pieces *p, size_t n, size_t bytes)
{
    float *const place = p->at ? p->at + p->used : NULL;
    p->used += vipo_floats_for(n, bytes);
    return place;
}

static work divide(pieces *p, const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                   size_t dim)
{
    work w = {.tokens = token_count(options, schedule),
              .small_steps = options->draft_stride / options->target_stride,
              .places = options->verify ? place_count(options, schedule) : 0,
              .dim = dim};
    const size_t n = (size_t)videos, state = dim * sizeof(float);
    w.now = piece(p, n, state);
    w.begin = piece(p, n, state);
    w.begin_v = piece(p, n, state);
    w.batch_x = piece(p, n, state);
    w.batch_v = piece(p, n, state);
    w.estimates = piece(p, n * (size_t)w.tokens, sizeof(double));
    w.chains = piece(p, n, sizeof(chain));
    w.row_video = piece(p, n, sizeof(int));
    w.row_t = piece(p, n, sizeof(int));
    if (w.places == 0) return w;
    const size_t rows = n * (size_t)w.places;
    w.path_x = piece(p, rows + n, state);
    w.path_v = piece(p, rows, state);
    w.verify_x = piece(p, rows, state);
    w.verify_v = piece(p, rows, state);
    w.verify_video = piece(p, rows, sizeof(int));
    w.verify_place = piece(p, rows, sizeof(int));
    w.verify_t = piece(p, rows, sizeof(int));
    w.true_distances = piece(p, rows, sizeof(double));
    return w;
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    pieces p = {.at = NULL};
    (void)divide(&p, options, schedule, videos, dim);
    return p.used;
}

static work lay_out(vipo_sampling *sampling)
{
    pieces p = {.at = sampling->memory};
    work w = divide(&p, sampling->options, sampling->schedule, sampling->videos, sampling->denoiser->dim);
    w.sampling = sampling;
    memset(w.chains, 0, (size_t)sampling->videos * sizeof *w.chains);
    const int first = (sampling->schedule->timesteps - 1 - sampling->from) / sampling->options->draft_stride;
    for (int video = 0; video < sampling->videos; video++) w.chains[video].token = first;
    return w;
}

static float *of(const work *w, float *array, int video)
{
    return array + (size_t)video * w->dim;
}

/* The state at the beginning of interval j of the round, and v there. */
static float *path_x(const work *w, int video, int j)
{
    return w->path_x + ((size_t)video * (size_t)(w->places + 1) + (size_t)j) * w->dim;
}

static float *path_v(const work *w, int video, int j)
{
    return w->path_v + ((size_t)video * (size_t)w->places + (size_t)j) * w->dim;
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

/* Decisions that the round took by estimates: one per draft, the last of a whole chunk excepted. */
static int decision_count(const chain *c)
{
    return c->j + 1 < c->k ? c->j + 1 : c->k - 1;
}

/* The round is over: interval j of it is refined, its end in `now`. */
static void finish_round(const work *w, int video)
{
    chain *c = &w->chains[video];
    const int advance = c->j + 1;
    const double *distances = w->estimates + (size_t)video * (size_t)w->tokens;
    const double *true_distances =
        w->places > 0 ? w->true_distances + (size_t)video * (size_t)w->places : NULL;
    memcpy(of(w, w->sampling->x, video), of(w, w->now, video), w->dim * sizeof(float));
    const vipo_round round = {.video = video,
                              .round = c->round,
                              .start_token = c->token,
                              .start_t = token_time(w, c->token),
                              .k = c->k,
                              .threshold = threshold(w, c),
                              .distances = distances,
                              .n_distances = decision_count(c),
                              .true_distances = true_distances,
                              .accepted = advance < c->k ? advance - 1 : c->k,
                              .advance = advance,
                              .next_token = c->token + advance,
                              .next_t = token_time(w, c->token + advance),
                              .calls = c->calls,
                              .evals = c->calls};
    vipo_trace_round(w->sampling, &round);
    vipo_sampler_stats *stats = &w->sampling->stats;
    stats->rounds++;
    stats->drafted += advance < c->k ? advance + 1 : c->k;
    stats->accepted += round.accepted;
    for (int i = 0; true_distances && i < round.n_distances; i++) {
        stats->verified++;
        stats->agreed += (distances[i] <= round.threshold) == (true_distances[i] <= round.threshold);
    }
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
    if (++c->small == w->small_steps) c->phase = PHASE_ROUND_OVER;
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
    if (w->places > 0) {
        memcpy(path_x(w, video, c->j), of(w, w->now, video), w->dim * sizeof(float));
        if (c->j < w->places) memcpy(path_v(w, video, c->j), v, w->dim * sizeof(float));
    }
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

/* True distances of the drafts judged in the rounds that are over, of all videos as one batch. */
static vipo_status verify(const work *w, vipo_error *error)
{
    const vipo_schedule *schedule = w->sampling->schedule;
    const int stride = w->sampling->options->target_stride;
    int rows = 0;
    for (int video = 0; video < w->sampling->videos; video++) {
        const chain *c = &w->chains[video];
        const int decisions = c->phase == PHASE_ROUND_OVER ? decision_count(c) : 0;
        for (int i = 0; i < decisions; i++, rows++) {
            float *x = w->verify_x + (size_t)rows * w->dim;
            w->verify_video[rows] = video;
            w->verify_place[rows] = i;
            w->verify_t[rows] = token_time(w, c->token + i) - stride;
            vipo_ddim_step(schedule, w->verify_t[rows] + stride, w->verify_t[rows], w->dim,
                           path_x(w, video, i), path_v(w, video, i), x);
        }
    }
    for (int m = 1; m < w->small_steps && rows > 0; m++) {
        VIPO_TRY(vipo_sampling_verify_call(w->sampling, rows, w->verify_video, w->verify_t, w->verify_x,
                                           w->verify_v, error));
        for (int r = 0; r < rows; r++) {
            float *x = w->verify_x + (size_t)r * w->dim;
            vipo_ddim_step(schedule, w->verify_t[r], w->verify_t[r] - stride, w->dim, x,
                           w->verify_v + (size_t)r * w->dim, x);
            w->verify_t[r] -= stride;
        }
    }
    for (int r = 0; r < rows; r++) {
        const float *target = w->verify_x + (size_t)r * w->dim,
                    *drafted = path_x(w, w->verify_video[r], w->verify_place[r] + 1);
        double sum = 0;
        for (size_t i = 0; i < w->dim; i++) {
            const double d = (double)drafted[i] - (double)target[i];
            sum += d * d;
        }
        w->true_distances[w->verify_video[r] * w->places + w->verify_place[r]] = sqrt(sum);
    }
    return VIPO_OK;
}

/* Each video's next network output, all as one call. *active: were there any? */
static vipo_status advance_all(const work *w, bool *active, vipo_error *error)
{
    int rows = 0;
    for (int video = 0; video < w->sampling->videos; video++) {
        chain *c = &w->chains[video];
        if (c->phase == PHASE_FINISHED) continue;
        memcpy(w->batch_x + (size_t)rows * w->dim, of(w, w->now, video), w->dim * sizeof(float));
        w->row_video[rows] = video;
        w->row_t[rows++] = c->time;
        c->calls++;
    }
    *active = rows > 0;
    if (rows == 0) return VIPO_OK;
    VIPO_TRY(vipo_sampling_call(w->sampling, rows, w->row_video, w->row_t, w->batch_x, w->batch_v, error));
    for (int r = 0; r < rows; r++) {
        const int video = w->row_video[r];
        const float *v = w->batch_v + (size_t)r * w->dim;
        if (w->chains[video].phase == PHASE_DRAFT)
            draft(w, video, v);
        else
            refine(w, video, v);
    }
    return VIPO_OK;
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const work w = lay_out(sampling);
    for (int video = 0; video < sampling->videos; video++) begin_round(&w, video);
    /* if everything is accepted: one evaluation for each token, M - 1 more for each round */
    const int left =
        w.tokens - (sampling->schedule->timesteps - 1 - sampling->from) / sampling->options->draft_stride;
    const int rounds = (left - 1) / sampling->options->chunk + 1;
    const int refined = w.places > 0 ? left : rounds; /* with verification the others' M - 1 steps too */
    sampling->expected_evaluations = (double)sampling->videos * (left + refined * (w.small_steps - 1));
    for (bool active = true; active;) {
        VIPO_TRY(advance_all(&w, &active, error));
        if (w.places > 0) VIPO_TRY(verify(&w, error));
        for (int video = 0; video < sampling->videos; video++)
            if (w.chains[video].phase == PHASE_ROUND_OVER) finish_round(&w, video);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_draft_target_lazy = {
    .name = "draft-target-lazy",
    .summary = "Draft-and-Target Sampling that estimates its distances from the drafts alone",
    .check = check,
    .describe = describe,
    .memory = memory,
    .stride = stride,
    .sample = sample};
