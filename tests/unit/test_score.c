/* Scores of plans: on made-up videos, and on plans of a tiny model. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/rng.h"
#include "policy/score.h"
#include "support/tiny_session.h"

/* ---- consensus on made-up videos -------------------------------------------------------------------- */

static void check_consensus(const float *values, int n, const double *expected, int best)
{
    enum { DIM = 6 };
    float videos[8 * DIM], scores[8];
    vipo_error error = {0};
    for (int i = 0; i < n * DIM; i++) videos[i] = values[i / DIM];
    assert_ok(vipo_score_consensus(videos, n, DIM, NULL, scores, &error), &error);
    for (int i = 0; i < n; i++)
        if (fabs((double)scores[i] - expected[i]) > 1e-6) fail_msg("score %d is %g", i, (double)scores[i]);
    assert_int_equal(vipo_score_best(scores, n), best);
}

static void test_consensus(void **state)
{
    (void)state;
    /* videos in [0,1], distances in [-1,1] units: twice */
    check_consensus((const float[]){0, 0.125F, 0.5F}, 3, (const double[]){-0.625, -0.5, -0.875}, 1);
    check_consensus((const float[]){0.5F, 0, 0.125F}, 3, (const double[]){-0.875, -0.625, -0.5}, 2);
    check_consensus((const float[]){0.25F, 1, 0.25F, 1, 0.25F}, 5,
                    (const double[]){-0.75, -1.125, -0.75, -1.125, -0.75}, 0); /* the first of equals */
    check_consensus((const float[]){1, 0.25F}, 2, (const double[]){-1.5, -1.5}, 0);
    check_consensus((const float[]){0.5F}, 1, (const double[]){0}, 0);
    /* one pixel of six: rms, not mean */
    static const float one[12] = {[8] = 0.5F};
    float scores[2];
    vipo_error error = {0};
    assert_ok(vipo_score_consensus(one, 2, 6, NULL, scores, &error), &error);
    assert_true(fabs((double)scores[0] + sqrt(1.0 / 6)) < 1e-6);
}

static void test_best(void **state)
{
    (void)state;
    assert_int_equal(vipo_score_best((const float[]){-3}, 1), 0);
    assert_int_equal(vipo_score_best((const float[]){-3, -2, -2, -5}, 4), 1);
    assert_int_equal(vipo_score_best((const float[]){-3, -4, 0}, 3), 2);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(vipo_score_name(VIPO_SCORE_NONE), "none");
    assert_string_equal(vipo_score_name(VIPO_SCORE_CONSENSUS), "consensus");
    assert_string_equal(vipo_score_name(VIPO_SCORE_DENOISING), "denoising");
    assert_null(vipo_score_name(3));
    assert_null(vipo_score_name(-1));
}

/* ---- plans -------------------------------------------------------------------------------------------- */

/* What a plan told while it worked. */
typedef struct watch {
    char events[64][16]; /* their names */
    char scores[1024];
    int n_events, scored; /* scored: progress calls of the phase */
    bool stop_scoring;
} watch;

static void on_trace(void *user, const char *line)
{
    watch *w = user;
    if (sscanf(line, "{\"event\":\"%15[^\"]", w->events[w->n_events]) == 1 && w->n_events < 63) w->n_events++;
    if (strstr(line, "\"event\":\"scores\"")) snprintf(w->scores, sizeof w->scores, "%s", line);
}
static void on_progress(void *user, const char *phase, double done, double total)
{
    if (strcmp(phase, "score") == 0) ((watch *)user)->scored++;
    assert_true(done <= total);
}
static bool on_cancelled(void *user)
{
    const watch *w = user;
    return w->stop_scoring && w->scored > 1;
}

static vipo_request request_for(const tiny_session *f, vipo_score score, int samples, watch *w)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.seed = 3;
    request.samples = samples;
    request.sampler.name = "ddim";
    request.sampler.steps = 2;
    request.score = score;
    request.callbacks =
        (vipo_callbacks){.user = w, .trace = on_trace, .progress = on_progress, .cancelled = on_cancelled};
    return request;
}

static vipo_plan plan_with(vipo_planner *planner, const vipo_request *request)
{
    vipo_plan plan;
    vipo_error error = {0};
    assert_ok(vipo_planner_plan(planner, request, &plan, &error), &error);
    return plan;
}

/* A score changes nothing of the plan it judges. */
static void test_plan(void **state)
{
    const tiny_session *f = *state;
    for (int score = VIPO_SCORE_CONSENSUS; score <= VIPO_SCORE_DENOISING; score++)
        for (int n = 1; n <= 5; n += 2) {
            watch w = {.n_events = 0};
            vipo_request request = request_for(f, VIPO_SCORE_NONE, n, &w);
            vipo_plan plain = plan_with(f->planner, &request);
            assert_null(plain.scores.data);
            assert_int_equal(plain.best, 0);
            assert_int_equal(w.scores[0], '\0');
            w.n_events = 0;
            request.score = (vipo_score)score;
            vipo_plan plan = plan_with(f->planner, &request);
            assert_memory_equal(plan.video.data, plain.video.data, (size_t)n * VIDEO * sizeof(float));
            assert_int_equal(plan.evaluations, plain.evaluations);
            assert_int_equal(plan.network_rows, plain.network_rows);
            assert_int_equal(plan.score_evaluations, score == VIPO_SCORE_DENOISING ? 3 * n : 0);
            assert_int_equal(plan.scores.rank, 1);
            assert_int_equal(plan.scores.shape[0], n);
            assert_int_equal(plan.best, vipo_score_best(plan.scores.data, n));
            for (int i = 0; i < n; i++)
                assert_true(n == 1 && score == VIPO_SCORE_CONSENSUS ? plan.scores.data[i] == 0
                                                                    : plan.scores.data[i] < 0);
            assert_int_equal(w.n_events, 4); /* two steps, scores, end */
            assert_string_equal(w.events[2], "scores");
            assert_string_equal(w.events[3], "end");
            char part[32];
            snprintf(part, sizeof part, "\"best\":%d", plan.best);
            assert_non_null(strstr(w.scores, part));
            assert_non_null(strstr(w.scores, vipo_score_name(score)));
            vipo_plan_free(&plan);
            assert_null(plan.scores.data);
            vipo_plan_free(&plain);
        }
}

static void test_consensus_of_plans(void **state)
{
    const tiny_session *f = *state;
    watch w = {.n_events = 0};
    const vipo_request request = request_for(f, VIPO_SCORE_CONSENSUS, 3, &w);
    vipo_plan plan = plan_with(f->planner, &request);
    for (size_t i = 0; i < 3; i++) {
        double sum = 0;
        for (size_t j = 0; j < 3; j++) {
            vipo_array a = plan.video, b = plan.video;
            a.shape[0] = b.shape[0] = 1;
            a.data += i * VIDEO;
            b.data += j * VIDEO;
            sum += 2 * vipo_array_rms_difference(&a, &b);
        }
        assert_true(fabs((double)plan.scores.data[i] + sum / 2) < 1e-6);
    }
    vipo_plan_free(&plan);
}

/* The score by its definition, from single network calls. */
static void test_denoising(void **state)
{
    const tiny_session *f = *state;
    enum { N = 5 };
    static const int times[] = {6, 10, 14}; /* 0.3, 0.5, 0.7 of 20 */
    watch w = {.n_events = 0};
    vipo_request request = request_for(f, VIPO_SCORE_DENOISING, N, &w);
    request.sampler.guidance = 0.7; /* not of the score's calls */
    vipo_plan plan = plan_with(f->planner, &request);
    double expected[N] = {0};
    for (int k = 0; k < 3; k++) {
        static float noise[VIDEO];
        vipo_rng_normal(0,
                        &(vipo_rng_stream){.episode = UINT32_MAX, .plan = UINT32_MAX, .sample = (uint32_t)k},
                        0, VIDEO, noise);
        const double a = vipo_schedule_alpha(&f->model->schedule, times[k]),
                     s = vipo_schedule_sigma(&f->model->schedule, times[k]);
        vipo_array x = tiny_video(N, 1), v;
        for (size_t i = 0; i < N * VIDEO; i++)
            x.data[i] = (float)(a * (2 * (double)plan.video.data[i] - 1) + s * (double)noise[i % VIDEO]);
        const vipo_denoise_request call = {
            .x = &x, .cond = &f->cond, .tokens = &f->tokens, .t = &times[k], .n_t = 1};
        vipo_error error = {0};
        assert_ok(vipo_planner_denoise(f->planner, &call, &v, NULL, &error), &error);
        for (size_t i = 0; i < N * VIDEO; i++) {
            const double x0 = 2 * (double)plan.video.data[i] - 1;
            const double d = (double)v.data[i] - (a * (double)noise[i % VIDEO] - s * x0);
            expected[i / VIDEO] -= d * d / VIDEO / 3;
        }
        vipo_array_free(&x);
        vipo_array_free(&v);
    }
    for (int i = 0; i < N; i++)
        if (fabs((double)plan.scores.data[i] / expected[i] - 1) > 1e-5)
            fail_msg("score %d: %g, expected %g", i, (double)plan.scores.data[i], expected[i]);
    assert_true(fabs(expected[0] - expected[1]) > 1e-4 * fabs(expected[0]));
    /* in batches of any size, the same bits */
    vipo_planner *planner = tiny_planner(f->model, 1, 2);
    vipo_plan split = plan_with(planner, &request);
    assert_memory_equal(split.scores.data, plan.scores.data, N * sizeof(float));
    assert_int_equal(split.score_evaluations, 3 * N);
    vipo_plan_free(&split);
    vipo_plan_free(&plan);
    vipo_planner_close(&planner);
}

static void assert_refused(const tiny_session *f, const vipo_request *request, vipo_status expected,
                           const char *message)
{
    static const vipo_plan nothing;
    vipo_plan plan;
    vipo_error error = {0};
    memset(&plan, 1, sizeof plan);
    assert_int_equal(vipo_planner_plan(f->planner, request, &plan, &error), expected);
    assert_string_equal(error.message, message);
    assert_memory_equal(&plan, &nothing, sizeof plan);
}

static void test_refused(void **state)
{
    const tiny_session *f = *state;
    watch w = {.n_events = 0};
    vipo_request request = request_for(f, VIPO_SCORE_CONSENSUS, 3, &w);
    request.cond = &f->conds;
    assert_refused(f, &request, VIPO_INVALID_ARGUMENT,
                   "a score compares plans from one condition frame, found 3");
    request = request_for(f, (vipo_score)7, 3, &w);
    assert_refused(f, &request, VIPO_INVALID_ARGUMENT, "score: 7, expected a vipo_score");
    w.stop_scoring = true;
    request = request_for(f, VIPO_SCORE_DENOISING, 3, &w);
    assert_refused(f, &request, VIPO_CANCELLED, "interrupted");
    assert_int_equal(w.scored, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consensus),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_consensus_of_plans),
        cmocka_unit_test(test_denoising),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
