/* Sampler "auto": the choice for made-up batch costs, and its way through a planner. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/planner.h"
#include "sampling/auto.h"
#include "support/tiny_session.h"

/* ---- cost --------------------------------------------------------------------------------------------- */

static void test_fit(void **state)
{
    (void)state;
    static const struct {
        double one;
        int rows;
        double several, fixed, per_row;
    } cases[] = {
        {1, 4, 4, 0, 1},                           /* proportional */
        {1, 4, 1, 1, 0},                           /* free */
        {1, 4, 2.5, 0.5, 0.5},                     /* between */
        {1, 2, 1.25, 0.75, 0.25}, {1, 4, 9, 0, 1}, /* the larger batch was disturbed */
        {1, 4, 0.5, 1, 0},                         /* the single row was */
        {1, 1, 3, 0, 1},                           /* batches are split */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vipo_batch_cost cost = vipo_batch_cost_fit(cases[i].one, cases[i].rows, cases[i].several, 8);
        if (fabs(cost.seconds_fixed - cases[i].fixed) > 1e-12 ||
            fabs(cost.seconds_per_row - cases[i].per_row) > 1e-12 || cost.max_batch != 8)
            fail_msg("case %zu: %g + %g b", i, cost.seconds_fixed, cost.seconds_per_row);
    }
}

static void test_seconds(void **state)
{
    (void)state;
    const vipo_batch_cost cost = {.seconds_fixed = 10, .seconds_per_row = 1, .max_batch = 4};
    static const struct {
        int rows;
        double seconds;
    } cases[] = {{0, 0}, {1, 11}, {4, 14}, {5, 25}, {8, 28}, {9, 39}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(vipo_batch_cost_seconds(&cost, cases[i].rows) == cases[i].seconds);
}

/* ---- choice ------------------------------------------------------------------------------------------- */

static const vipo_batch_cost proportional = {.seconds_per_row = 0.065, .max_batch = 8},
                             nearly_free = {.seconds_fixed = 0.065, .seconds_per_row = 1e-6, .max_batch = 64};

typedef struct chosen {
    vipo_sampler_choice choice;
    vipo_sampler_options sampler;
    const char *name;
    double seconds;
} chosen;

static chosen choose(const vipo_auto_wish *wish, const vipo_batch_cost *cost)
{
    static chosen c;
    vipo_error error = {0};
    vipo_schedule schedule;
    vipo_auto_wish whole = *wish;
    assert_ok(vipo_schedule_open(&schedule, 100, &error), &error);
    whole.schedule = &schedule;
    if (!whole.samples) whole.samples = 1;
    if (!whole.from) whole.from = 99;
    assert_ok(vipo_auto_choose(&whole, cost, &c.choice, &c.sampler, &error), &error);
    vipo_schedule_close(&schedule);
    c.name = c.choice.candidates[c.choice.chosen].sampler;
    c.seconds = c.choice.candidates[c.choice.chosen].seconds;
    return c;
}

static const vipo_sampler_candidate *candidate(const vipo_sampler_choice *choice, const char *name)
{
    for (int i = 0; i < choice->n_candidates; i++)
        if (strcmp(choice->candidates[i].sampler, name) == 0) return &choice->candidates[i];
    fail_msg("%s is no candidate", name);
    return NULL;
}

/* Whatever the numbers of the table: the chosen one is within the distance, and no other within it is faster. */
static void test_recorded(void **state)
{
    (void)state;
    static const double distances[] = {0.008, 0.015, 0.02, 0.03, 0.06, 1};
    double before = INFINITY;
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        const chosen c = choose(&(vipo_auto_wish){.distance = distances[i]}, &proportional);
        assert_true(c.choice.within);
        assert_true(c.choice.distance == distances[i]);
        assert_true(c.choice.seconds_per_row == 0.065);
        assert_true(c.choice.candidates[c.choice.chosen].distance <= distances[i]);
        for (int j = 0; j < c.choice.n_candidates; j++)
            assert_true(c.choice.candidates[j].distance > distances[i] ||
                        c.choice.candidates[j].seconds >= c.seconds);
        assert_true(c.seconds <= before); /* a wider wish is never slower */
        before = c.seconds;
    }
    /* the cost of every kind of sampler where batches are split to single rows, and where they are free */
    const vipo_batch_cost rows = {.seconds_per_row = 1, .max_batch = 1},
                          calls = {.seconds_fixed = 1, .max_batch = 64};
    const vipo_sampler_choice by_rows = choose(&(vipo_auto_wish){.distance = 1}, &rows).choice,
                              by_calls = choose(&(vipo_auto_wish){.distance = 1}, &calls).choice;
    static const struct {
        const char *name;
        int evaluations, calls; /* as the samplers' own tests count them */
    } costs[] = {{"ab2:6", 6, 6},
                 {"ddim:100", 100, 100},
                 {"draft-target", 50, 18},
                 {"draft-target:chunk=10", 50, 14},
                 {"draft-target-lazy", 18, 18},
                 {"draft-target-lazy:chunk=10", 14, 14}};
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        assert_true(candidate(&by_rows, costs[i].name)->seconds == costs[i].evaluations);
        assert_true(candidate(&by_calls, costs[i].name)->seconds == costs[i].calls);
    }
}

static void test_batches_decide(void **state)
{
    (void)state;
    static const vipo_sampler_candidate own[] = {{.sampler = "ddim:50", .distance = 0.01},
                                                 {.sampler = "draft-target-lazy", .distance = 0.01},
                                                 {.sampler = "draft-target:chunk=10", .distance = 0.01},
                                                 {.sampler = "ab2:6", .distance = 0.02}};
    const vipo_auto_wish wish = {.distance = 0.01, .own = own, .n_own = 4};
    chosen c = choose(&wish, &proportional); /* 50, 18 and 50 rows */
    assert_string_equal(c.name, "draft-target-lazy");
    assert_string_equal(c.sampler.name, "draft-target-lazy");
    assert_int_equal(c.sampler.chunk, 6);
    assert_int_equal(c.choice.n_candidates, 4);
    assert_true(fabs(c.seconds - 18 * 0.065) < 1e-9);
    c = choose(&wish, &nearly_free); /* 50, 18 and 14 calls */
    assert_string_equal(c.name, "draft-target:chunk=10");
    assert_string_equal(c.sampler.name, "draft-target");
    assert_int_equal(c.sampler.chunk, 10);
    assert_int_equal(c.sampler.steps, 0);
    assert_true(c.sampler.draft_reuse);
    assert_true(fabs(c.seconds - (14 * 0.065 + 50e-6)) < 1e-9);
}

/* Rows multiply, and large batches are split. */
static void test_samples_and_guidance(void **state)
{
    (void)state;
    static const vipo_sampler_candidate own[] = {{.sampler = "draft-target", .distance = 0.01},
                                                 {.sampler = "ddim:25", .distance = 0.01}};
    const vipo_batch_cost cost = {.seconds_fixed = 1, .max_batch = 8}; /* counts network calls */
    static const struct {
        int samples;
        bool guidance;
        double draft_target, ddim;
    } cases[] = {
        {1, false, 18, 25},
        {1, true, 10 + 4 * 2 + 4, 25},      /* 2, 12 and 8 rows */
        {4, false, 10 + 4 * 3 + 4 * 2, 25}, /* 4, 24 and 16 rows */
        {4, true, 10 + 4 * 6 + 4 * 4, 25},
        {9, false, 20 + 4 * 7 + 4 * 5, 50},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const chosen c = choose(&(vipo_auto_wish){.distance = 0.01,
                                                  .samples = cases[i].samples,
                                                  .guidance = cases[i].guidance,
                                                  .own = own,
                                                  .n_own = 2},
                                &cost);
        assert_true(candidate(&c.choice, "draft-target")->seconds == cases[i].draft_target);
        assert_true(candidate(&c.choice, "ddim:25")->seconds == cases[i].ddim);
        assert_string_equal(c.name, cases[i].draft_target < cases[i].ddim ? "draft-target" : "ddim:25");
    }
}

static void test_none_qualifies(void **state)
{
    (void)state;
    const chosen c = choose(&(vipo_auto_wish){.distance = 0}, &proportional);
    assert_false(c.choice.within);
    for (int i = 0; i < c.choice.n_candidates; i++)
        assert_true(c.choice.candidates[i].distance >= c.choice.candidates[c.choice.chosen].distance);
}

static void test_ties(void **state)
{
    (void)state;
    static const vipo_sampler_candidate own[] = {{.sampler = "ab2:12", .distance = 0.014},
                                                 {.sampler = "unipc:12", .distance = 0.012},
                                                 {.sampler = "dpm-solver++:12", .distance = 0.013},
                                                 {.sampler = "ddim:100", .distance = 0.012}};
    vipo_auto_wish wish = {.distance = 0.02, .own = own, .n_own = 4};
    assert_string_equal(choose(&wish, &proportional).name, "unipc:12"); /* as fast, nearer */
    wish.distance = 0.001;
    assert_string_equal(choose(&wish, &proportional).name, "unipc:12"); /* as near, faster */
}

/* A plan that starts late leaves out what cannot start there. */
static void test_start(void **state)
{
    (void)state;
    static const int starts[] = {39, 35, 99};
    for (int i = 0; i < 3; i++) {
        const chosen c = choose(&(vipo_auto_wish){.distance = 1, .from = starts[i]}, &proportional);
        int drafts = 0, others = 0;
        for (int j = 0; j < c.choice.n_candidates; j++)
            *(strstr(c.choice.candidates[j].sampler, "draft-target") ? &drafts : &others) += 1;
        assert_int_equal(drafts, starts[i] == 35 ? 0 : 4);
        assert_int_equal(others, 15);
    }
}

static void test_no_candidates(void **state)
{
    (void)state;
    vipo_schedule schedule;
    vipo_error error = {0};
    vipo_sampler_choice choice;
    vipo_sampler_options sampler;
    assert_ok(vipo_schedule_open(&schedule, 4, &error), &error);
    vipo_auto_wish wish = {.distance = 1, .samples = 1, .schedule = &schedule, .from = 3};
    assert_int_equal(vipo_auto_choose(&wish, &proportional, &choice, &sampler, &error), VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, "none of its candidates runs on a model of 4 timesteps"));
    vipo_schedule_close(&schedule);
    /* by 50 timesteps draft-target has other calls than recorded */
    assert_ok(vipo_schedule_open(&schedule, 50, &error), &error);
    wish.from = 49;
    assert_ok(vipo_auto_choose(&wish, &proportional, &choice, &sampler, &error), &error);
    for (int i = 0; i < choice.n_candidates; i++)
        assert_null(strstr(choice.candidates[i].sampler, "draft-target"));
    vipo_schedule_close(&schedule);
    static const vipo_sampler_candidate unknown = {.sampler = "ab3:12", .distance = 1};
    assert_int_equal(vipo_auto_check_own(&unknown, 1, "m/config.json", &error), VIPO_FORMAT);
    assert_non_null(strstr(
        error.message, "m/config.json: calibration.samplers[0].sampler: \"ab3:12\", expected one of ab2:6,"));
}

/* ---- in a planner --------------------------------------------------------------------------------------- */

/* What a plan told while it worked. */
typedef struct watch {
    int measured; /* progress calls of the phase */
    int events, lines;
    char line[512], event[4096];
    bool cancel;
} watch;

static void on_progress(void *user, const char *phase, double done, double total)
{
    if (strcmp(phase, "measure") == 0) ((watch *)user)->measured++;
    assert_true(done <= total);
}
static void on_log(void *user, vipo_log_level level, const char *line)
{
    watch *w = user;
    if (level != VIPO_LOG_INFO || !strstr(line, "sampler auto")) return;
    w->lines++;
    snprintf(w->line, sizeof w->line, "%s", line);
}
static void on_trace(void *user, const char *json_line)
{
    watch *w = user;
    if (!strstr(json_line, "\"event\":\"auto\"")) return;
    w->events++;
    snprintf(w->event, sizeof w->event, "%s", json_line);
}
static bool on_cancelled(void *user)
{
    return ((watch *)user)->cancel;
}

static vipo_callbacks callbacks_of(watch *w)
{
    return (vipo_callbacks){
        .user = w, .log = on_log, .progress = on_progress, .trace = on_trace, .cancelled = on_cancelled};
}

static vipo_request request_for(const tiny_session *f, watch *w)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.sampler.name = "auto";
    request.callbacks = callbacks_of(w);
    return request;
}

static void test_measure(void **state)
{
    const tiny_session *f = *state;
    vipo_planner *planner = tiny_planner(f->model, 2, 2);
    static const int rows[] = {1, 5, 2}, bad_rows[] = {1, 0}, many[] = {1025};
    double seconds[3];
    vipo_error error = {0};
    watch w = {0};
    const vipo_callbacks callbacks = callbacks_of(&w);
    assert_ok(vipo_planner_measure_batches(planner, rows, 3, 2, seconds, &callbacks, &error), &error);
    for (int i = 0; i < 3; i++) assert_true(seconds[i] > 0 && seconds[i] < 60);
    assert_int_equal(w.measured, 2 + 2 * 3);
    assert_int_equal(planner->batch, 2);
    assert_ok(vipo_planner_measure_batches(planner, rows, 1, 1, seconds, NULL, &error), &error);

    w.cancel = true;
    assert_int_equal(vipo_planner_measure_batches(planner, rows, 3, 1, seconds, &callbacks, &error),
                     VIPO_CANCELLED);
    for (int i = 0; i < 3; i++) assert_true(seconds[i] == 0);
    assert_int_equal(vipo_planner_measure_batches(planner, bad_rows, 2, 1, seconds, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "rows[1]: 0, expected 1..1024");
    assert_int_equal(vipo_planner_measure_batches(planner, many, 1, 1, seconds, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_planner_measure_batches(planner, rows, 3, 0, seconds, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "repeat: 0, expected 1..1000");
    assert_int_equal(vipo_planner_measure_batches(planner, rows, 0, 1, seconds, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    vipo_planner_close(&planner);
}

/* The plan is that of the chosen sampler, named by hand; what is measured is kept. */
static void test_plan(void **state)
{
    const tiny_session *f = *state;
    vipo_error error = {0};
    for (int max_batch = 1; max_batch <= 8; max_batch *= 8) {
        vipo_planner *planner = tiny_planner(f->model, 1, max_batch);
        watch w = {0};
        vipo_request request = request_for(f, &w);
        request.sampler.guidance = 0.5;
        request.sampler.distance = 0.05;
        vipo_plan plan, again, pinned;
        assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
        assert_non_null(plan.choice);
        assert_int_equal(w.measured, 1 + 1 + 3);
        assert_int_equal(w.lines, 1);
        assert_int_equal(w.events, 1);
        assert_true(planner->batch_cost_known);
        assert_true(plan.choice->measure_seconds > 0);
        assert_true(plan.choice->seconds_fixed + plan.choice->seconds_per_row > 0);
        const char *name = plan.choice->candidates[plan.choice->chosen].sampler;
        assert_non_null(strstr(w.line, name));
        assert_non_null(strstr(w.event, "\"batch_seconds\":{\"fixed\":"));
        assert_non_null(strstr(w.event, "\"predicted_seconds\":"));

        assert_ok(vipo_planner_plan(planner, &request, &again, &error), &error);
        assert_int_equal(w.measured, 5);
        assert_int_equal(w.events, 2);
        assert_true(again.choice->measure_seconds == 0);
        assert_string_equal(again.sampler, plan.sampler);

        char sampler[40];
        request.sampler.name = sampler;
        if (sscanf(name, "%39[^:]:%d", sampler, &request.sampler.steps) != 2) fail_msg("%s", name);
        assert_ok(vipo_planner_plan(planner, &request, &pinned, &error), &error);
        assert_null(pinned.choice);
        assert_int_equal(w.events, 2);
        assert_string_equal(pinned.sampler, plan.sampler);
        assert_int_equal(plan.network_rows, 2 * request.sampler.steps);
        assert_memory_equal(plan.video.data, pinned.video.data, VIDEO * sizeof(float));
        assert_memory_equal(plan.video.data, again.video.data, VIDEO * sizeof(float));
        vipo_plan_free(&plan);
        vipo_plan_free(&again);
        vipo_plan_free(&pinned);
        assert_null(plan.choice);
        vipo_planner_close(&planner);
    }
}

/* With a known cost the choice is certain; the model's own distances come before the recorded ones. */
static void test_known_cost(void **state)
{
    const tiny_session *f = *state;
    vipo_error error = {0};
    watch w = {0};
    vipo_model model = *f->model;
    vipo_planner *planner = tiny_planner(&model, 1, 0);
    planner->batch_cost = (vipo_batch_cost){.seconds_per_row = 1, .max_batch = planner->max_batch};
    planner->batch_cost_known = true;
    model.config.distances[0] = (vipo_sampler_candidate){.sampler = "ddim:10", .distance = 0.5};
    model.config.distances[1] = (vipo_sampler_candidate){.sampler = "ab2:6", .distance = 0.6};
    model.config.n_distances = 2;
    vipo_request request = request_for(f, &w);
    request.samples = 2;
    request.sampler.distance = 0.5;
    vipo_plan plan;
    assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
    assert_int_equal(w.measured, 0);
    assert_string_equal(plan.sampler, "ddim-10");
    assert_int_equal(plan.evaluations, 20);
    assert_int_equal(plan.choice->n_candidates, 2);
    assert_true(plan.choice->candidates[0].seconds == 20);
    assert_non_null(strstr(w.line, "ddim:10, the fastest within distance 0.5"));
    vipo_plan_free(&plan);
    request.sampler.distance = 0.1;
    assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
    assert_string_equal(plan.sampler, "ddim-10");
    assert_non_null(strstr(w.line, "ddim:10, the nearest, none is within distance 0.1"));
    vipo_plan_free(&plan);
    request.sampler.distance = 1;
    assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
    assert_string_equal(plan.sampler, "ab2-6");
    vipo_plan_free(&plan);
    vipo_planner_close(&planner);
}

static void test_refused(void **state)
{
    const tiny_session *f = *state;
    static const vipo_plan nothing;
    vipo_planner *planner = tiny_planner(f->model, 1, 0);
    watch w = {.cancel = true};
    const struct {
        vipo_sampler_options sampler;
        vipo_status status;
        const char *part;
    } cases[] = {
        {{.name = "auto", .steps = 3}, VIPO_INVALID_ARGUMENT, "auto chooses the steps itself, found steps 3"},
        {{.name = "auto", .grid = "uniform"}, VIPO_INVALID_ARGUMENT, "auto chooses the grid itself"},
        {{.name = "auto", .distance = -1}, VIPO_INVALID_ARGUMENT, "distance: -1, expected 0 or more"},
        {{.name = "auto", .distance = NAN}, VIPO_INVALID_ARGUMENT, "distance: "},
        {{.name = "auto", .distance = INFINITY}, VIPO_INVALID_ARGUMENT, "distance: inf"},
        {{.name = "auto"}, VIPO_CANCELLED, "interrupted"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_request request = request_for(f, &w);
        request.sampler = cases[i].sampler;
        vipo_plan plan;
        vipo_error error = {0};
        memset(&plan, 1, sizeof plan);
        assert_int_equal(vipo_planner_plan(planner, &request, &plan, &error), cases[i].status);
        if (!strstr(error.message, cases[i].part)) fail_msg("%s", error.message);
        assert_memory_equal(&plan, &nothing, sizeof plan);
        assert_false(planner->batch_cost_known);
    }
    vipo_planner_close(&planner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_batches_decide),
        cmocka_unit_test(test_samples_and_guidance),
        cmocka_unit_test(test_none_qualifies),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_no_candidates),
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_known_cost),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
