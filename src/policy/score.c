#include "policy/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/rng.h"
#include "sampling/trace.h"

static const char *const names[] = {"none", "consensus", "denoising"};
enum { SCORES = sizeof names / sizeof names[0] };
_Static_assert(VIPO_SCORE_CONSENSUS == 1 && VIPO_SCORE_DENOISING == 2, "the order of the names");

const char *vipo_score_name(int i)
{
    return i >= 0 && i < SCORES ? names[i] : NULL;
}

int vipo_score_best(const float *scores, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (scores[i] > scores[best]) best = i;
    return best;
}

/* ---- consensus ------------------------------------------------------------------------------------------ */

/* Rms distance in [-1,1] units (x = 2 video - 1). */
static double distance(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return 2 * sqrt(sum / (double)dim);
}

vipo_status vipo_score_consensus(const float *videos, int n, size_t dim, const vipo_callbacks *callbacks,
                                 float *scores, vipo_error *error)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        VIPO_TRY(vipo_check_cancelled(callbacks, error));
        for (int j = 0; j < n; j++)
            if (j != i) sum += distance(videos + (size_t)i * dim, videos + (size_t)j * dim, dim);
        scores[i] = n > 1 ? (float)(-sum / (n - 1)) : 0;
    }
    return VIPO_OK;
}

/* ---- denoising ------------------------------------------------------------------------------------------ */

/* Shares of the schedule that a plan is noised to. */
static const double noised_to[] = {0.3, 0.5, 0.7};
enum { NOISED = sizeof noised_to / sizeof noised_to[0] };

/* One set of noise for all plans, and none that a plan begins with (core/rng.h). */
static void draw_noise(int which, size_t dim, float *noise)
{
    const vipo_rng_stream stream = {.episode = UINT32_MAX, .plan = UINT32_MAX, .sample = (uint32_t)which};
    vipo_rng_normal(0, &stream, 0, dim, noise);
}

/* Mean squared error of v, predicted at x = alpha x0 + sigma noise, against alpha noise - sigma x0. */
static double squared_error(double alpha, double sigma, const float *video, const float *noise,
                            const float *v, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        const double x0 = 2 * (double)video[i] - 1;
        const double d = (double)v[i] - (alpha * (double)noise[i] - sigma * x0);
        sum += d * d;
    }
    return sum / (double)dim;
}

/* `rows` plans from `first` on, as one batch in the session's rows; adds to sums. */
static vipo_status noised_batch(vipo_planner *planner, const vipo_request *request, const float *task, int t,
                                const float *videos, int rows, const float *noise, double *sums,
                                vipo_error *error)
{
    enum { MOST = 1024 };
    static const int first_video[MOST];
    int times[MOST];
    const vipo_schedule *schedule = &planner->model->schedule;
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    const size_t dim = vipo_planner_video_size(planner);
    for (int r = 0; r < rows; r++) {
        const float *video = videos + (size_t)r * dim;
        float *x = planner->row_x + (size_t)r * dim;
        times[r] = t;
        for (size_t i = 0; i < dim; i++)
            x[i] = (float)(alpha * (2 * (double)video[i] - 1) + sigma * (double)noise[i]);
    }
    const vipo_rows_run run = {.rows = rows,
                               .video = first_video, /* one condition frame, one task */
                               .t = times,
                               .x = planner->row_x,
                               .v = planner->row_v,
                               .cond = request->cond->data,
                               .task = task,
                               .callbacks = &request->callbacks};
    VIPO_TRY(vipo_planner_run_rows(planner, &run, error));
    for (int r = 0; r < rows; r++)
        sums[r] += squared_error(alpha, sigma, videos + (size_t)r * dim, noise,
                                 planner->row_v + (size_t)r * dim, dim);
    return VIPO_OK;
}

/* The condition alone speaks, also in a plan with guidance: guided predictions are no likelihood of anything. */
static vipo_status denoising(vipo_planner *planner, const vipo_request *request, const float *task,
                             vipo_plan *plan, vipo_error *error)
{
    const int n = request->samples, timesteps = planner->model->schedule.timesteps;
    const size_t dim = vipo_planner_video_size(planner);
    float *noise = vipo_aligned_calloc(dim, sizeof *noise);
    double *sums = calloc((size_t)n, sizeof *sums);
    vipo_status status = VIPO_OK;
    if (!noise || !sums)
        status = vipo_fail_memory(error, dim * sizeof *noise + (size_t)n * sizeof *sums, "scores");
    for (int k = 0; k < NOISED && status == VIPO_OK; k++) {
        draw_noise(k, dim, noise);
        for (int first = 0; first < n && status == VIPO_OK; first += planner->batch) {
            const int rows = n - first < planner->batch ? n - first : planner->batch;
            vipo_progress(&request->callbacks, "score", plan->score_evaluations, (double)n * NOISED);
            status = noised_batch(planner, request, task, (int)(noised_to[k] * timesteps),
                                  plan->video.data + (size_t)first * dim, rows, noise, sums + first, error);
            plan->score_evaluations += rows;
        }
    }
    for (int i = 0; i < n && status == VIPO_OK; i++) {
        plan->scores.data[i] = (float)(-sums[i] / NOISED);
        if (!isfinite(plan->scores.data[i]))
            status = vipo_fail(error, VIPO_NUMERIC, "the score of sample %d is not finite", i);
    }
    vipo_aligned_free(noise);
    free(sums);
    return status;
}

/* ---- a plan --------------------------------------------------------------------------------------------- */

vipo_status vipo_planner_score(vipo_planner *planner, const vipo_request *request, const float *task,
                               vipo_plan *plan, vipo_error *error)
{
    if (request->score == VIPO_SCORE_NONE) return VIPO_OK;
    const size_t n = (size_t)request->samples;
    const double start = vipo_clock_seconds();
    VIPO_TRY(vipo_array_alloc(&plan->scores, 1, &n, error));
    if (request->score == VIPO_SCORE_CONSENSUS)
        VIPO_TRY(vipo_score_consensus(plan->video.data, request->samples, vipo_planner_video_size(planner),
                                      &request->callbacks, plan->scores.data, error));
    else
        VIPO_TRY(denoising(planner, request, task, plan, error));
    plan->best = vipo_score_best(plan->scores.data, request->samples);
    plan->score_seconds = vipo_clock_seconds() - start;
    vipo_trace_scores(&request->callbacks, vipo_score_name((int)request->score), plan);
    return VIPO_OK;
}
