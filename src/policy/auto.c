/* Sampler "auto" of a session: measures once what batches cost, then puts the chosen sampler into a request. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/peak.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/rng.h"
#include "policy/planner.h"
#include "sampling/trace.h"

enum { MAX_ROWS = 1024, MAX_REPEAT = 1000, FEW_ROWS = 4 };

/* ---- measuring ----------------------------------------------------------------------------------------- */

/* Input of network calls whose time counts and whose result does not: the states are noise, as in a plan. */
typedef struct made_up {
    float *cond, *task; /* [H][W][3] of grey; [embedding] of zeros */
    int *video, *t;     /* [batch] */
} made_up;

static void made_up_close(made_up *m)
{
    vipo_aligned_free(m->cond);
    vipo_aligned_free(m->task);
    free(m->video);
    free(m->t);
}

/* Room for `rows` rows was reserved. Release in every case. */
static vipo_status made_up_open(made_up *m, vipo_planner *planner, vipo_error *error)
{
    const size_t batch = (size_t)planner->batch, video = vipo_planner_video_size(planner),
                 cond = vipo_planner_cond_size(planner),
                 width = (size_t)planner->model->unet->embedding_width;
    *m = (made_up){.cond = vipo_aligned_calloc(cond, sizeof(float)),
                   .task = vipo_aligned_calloc(width, sizeof(float)),
                   .video = calloc(batch, sizeof(int)),
                   .t = calloc(batch, sizeof(int))};
    if (!m->cond || !m->task || !m->video || !m->t)
        return vipo_fail_memory(error, (cond + width) * sizeof(float) + 2 * batch * sizeof(int),
                                "a measurement");
    for (size_t i = 0; i < cond; i++) m->cond[i] = 0.5F;
    for (size_t i = 0; i < batch; i++) m->t[i] = planner->model->schedule.timesteps / 2;
    const vipo_rng_stream stream = {.sample = 0};
    vipo_rng_normal(0, &stream, 0, video, planner->row_x);
    for (size_t i = 1; i < batch; i++)
        memcpy(planner->row_x + i * video, planner->row_x, video * sizeof(float));
    return VIPO_OK;
}

static vipo_status time_call(vipo_planner *planner, const made_up *m, int rows,
                             const vipo_callbacks *callbacks, double *seconds, vipo_error *error)
{
    const double start = vipo_clock_seconds();
    for (int left = rows; left > 0; left -= planner->batch) {
        const vipo_rows_run run = {.rows = left < planner->batch ? left : planner->batch,
                                   .video = m->video,
                                   .t = m->t,
                                   .x = planner->row_x,
                                   .v = planner->row_v,
                                   .cond = m->cond,
                                   .task = m->task,
                                   .callbacks = callbacks};
        VIPO_TRY(vipo_planner_run_rows(planner, &run, error));
    }
    *seconds = vipo_clock_seconds() - start;
    return VIPO_OK;
}

static vipo_status measure(vipo_planner *planner, const made_up *m, const int *rows, int n, int repeat,
                           double *seconds, const vipo_callbacks *callbacks, vipo_error *error)
{
    double taken, done = rows[0], total = rows[0];
    for (int i = 0; i < n; i++) {
        seconds[i] = INFINITY;
        total += (double)rows[i] * repeat;
    }
    vipo_progress(callbacks, "measure", 0, total);
    VIPO_TRY(time_call(planner, m, rows[0], callbacks, &taken, error));
    for (int r = 0; r < repeat; r++) /* in turn, so that a machine that grows slower treats all alike */
        for (int i = 0; i < n; i++) {
            vipo_progress(callbacks, "measure", done, total);
            VIPO_TRY(time_call(planner, m, rows[i], callbacks, &taken, error));
            if (taken < seconds[i]) seconds[i] = taken;
            done += rows[i];
        }
    vipo_progress(callbacks, "measure", total, total);
    return VIPO_OK;
}

vipo_status vipo_planner_measure_batches(vipo_planner *planner, const int *rows, int n, int repeat,
                                         double *seconds, const vipo_callbacks *callbacks, vipo_error *error)
{
    int largest = 0;
    for (int i = 0; i < n; i++) seconds[i] = 0;
    if (!planner->model->unet)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "the model was opened without its network");
    if (n < 1) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "batch sizes: %d, expected 1 or more", n);
    if (repeat < 1 || repeat > MAX_REPEAT)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "repeat: %d, expected 1..%d", repeat, MAX_REPEAT);
    for (int i = 0; i < n; i++) {
        if (rows[i] < 1 || rows[i] > MAX_ROWS)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "rows[%d]: %d, expected 1..%d", i, rows[i],
                             MAX_ROWS);
        if (rows[i] > largest) largest = rows[i];
    }
    VIPO_TRY(vipo_planner_reserve(planner, largest, error));
    made_up m;
    vipo_status status = made_up_open(&m, planner, error);
    if (status == VIPO_OK) status = measure(planner, &m, rows, n, repeat, seconds, callbacks, error);
    made_up_close(&m);
    for (int i = 0; i < n && status != VIPO_OK; i++) seconds[i] = 0;
    return status;
}

double vipo_planner_measure_peak(vipo_planner *planner)
{
    return vipo_peak_measure(planner->compute.pool, planner->compute.ops);
}

/* A call of one row, one of a few, and the single row again: one of them may be disturbed. */
static vipo_status measure_cost(vipo_planner *planner, const vipo_callbacks *callbacks, vipo_error *error)
{
    const int few = planner->max_batch < FEW_ROWS ? planner->max_batch : FEW_ROWS;
    const int rows[3] = {1, few, 1};
    double seconds[3];
    VIPO_TRY(vipo_planner_measure_batches(planner, rows, 3, 1, seconds, callbacks, error));
    planner->batch_cost =
        vipo_batch_cost_fit(fmin(seconds[0], seconds[2]), few, seconds[1], planner->max_batch);
    planner->batch_cost_known = true;
    return VIPO_OK;
}

/* ---- choosing ------------------------------------------------------------------------------------------- */

static void report(const vipo_callbacks *callbacks, const vipo_sampler_choice *choice)
{
    const vipo_sampler_candidate *c = &choice->candidates[choice->chosen];
    vipo_log(
        callbacks, VIPO_LOG_INFO,
        "sampler auto: %s, %s %g (recorded distance %g, %.3g s predicted); a network call of b rows takes "
        "%.3g + %.3g b s",
        c->sampler, choice->within ? "the fastest within distance" : "the nearest, none is within distance",
        choice->distance, c->distance, c->seconds, choice->seconds_fixed, choice->seconds_per_row);
    vipo_trace_choice(callbacks, choice);
}

static vipo_status choose(vipo_planner *planner, vipo_request *request, vipo_sampler_choice *choice,
                          vipo_error *error)
{
    const vipo_model *model = planner->model;
    const double start = vipo_clock_seconds(), guidance = request->sampler.guidance;
    const bool known = planner->batch_cost_known;
    if (!known) VIPO_TRY(measure_cost(planner, &request->callbacks, error));
    const double end = vipo_clock_seconds();
    const vipo_auto_wish wish = {.distance = request->sampler.distance,
                                 .samples = request->samples,
                                 .guidance = guidance != 0,
                                 .schedule = &model->schedule,
                                 .from = request->from_step == -1 ? model->schedule.timesteps - 1
                                                                  : request->from_step,
                                 .own = model->config.distances,
                                 .n_own = model->config.n_distances};
    VIPO_TRY(vipo_auto_choose(&wish, &planner->batch_cost, choice, &request->sampler, error));
    request->sampler.guidance = guidance;
    choice->measure_seconds = known ? 0 : end - start;
    report(&request->callbacks, choice);
    return VIPO_OK;
}

vipo_status vipo_planner_resolve(vipo_planner *planner, vipo_request *request, vipo_sampler_choice **out,
                                 vipo_error *error)
{
    const vipo_sampler *sampler;
    *out = NULL;
    VIPO_TRY(vipo_sampler_find(&sampler, request->sampler.name, error));
    VIPO_TRY(vipo_sampler_check(sampler, &request->sampler, &planner->model->schedule,
                                vipo_planner_start_time(planner, request, sampler), error));
    if (sampler != &vipo_sampler_auto) return VIPO_OK;
    vipo_sampler_choice *choice = calloc(1, sizeof *choice);
    if (!choice) return vipo_fail_memory(error, sizeof *choice, "the choice of a sampler");
    const vipo_status status = choose(planner, request, choice, error);
    if (status == VIPO_OK)
        *out = choice;
    else
        free(choice);
    return status;
}
