/* Whole runs of the samplers on a trained network, against AVDC's sampler and a float64 reference of
 * Draft-and-Target Sampling. The public way: a model folder, a planner, requests. */
#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"

typedef struct fixture {
    bool slow; /* the reference table: a few runs must do, the others run everything */
    vipo_safetensors *golden, *dts;
    vipo_model *model;
    vipo_planner *planner;
    vipo_array cond, tokens, x_start, step_noise;
} fixture;

static void open_fixture(fixture *f, const char *compute)
{
    vipo_error error = {0};
    f->golden = golden_open("tests/golden/sampler/samplers.safetensors");
    f->dts = golden_open("tests/golden/sampler/dts.safetensors");
    vipo_model_options options;
    vipo_model_default_options(&options);
    options.compute = compute;
    f->slow = strcmp(compute, "ref") == 0;
    assert_ok(vipo_model_open(&f->model, golden_square_folder("ema"), &options, &error), &error);
    assert_ok(vipo_planner_open(&f->planner, f->model, NULL, &error), &error);
    f->cond = golden_video(f->golden, "x_cond");
    f->tokens = golden_array(f->golden, "task_tokens");
    f->x_start = golden_video(f->golden, "x_T");
    vipo_array noise = golden_video(f->golden, "ddpm_noise"); /* [99][7][16][16][3] -> [99][1][7]... */
    const size_t shape[6] = {noise.shape[0], 1, noise.shape[1], noise.shape[2], noise.shape[3],
                             noise.shape[4]};
    assert_ok(vipo_array_alloc(&f->step_noise, 6, shape, &error), &error);
    memcpy(f->step_noise.data, noise.data, vipo_array_size(&noise) * sizeof *noise.data);
    vipo_array_free(&noise);
}

static void close_fixture(fixture *f)
{
    vipo_array_free(&f->cond), vipo_array_free(&f->tokens), vipo_array_free(&f->x_start),
        vipo_array_free(&f->step_noise);
    vipo_planner_close(&f->planner);
    vipo_model_close(&f->model);
    vipo_safetensors_close(&f->golden);
    vipo_safetensors_close(&f->dts);
}

static vipo_request request_of(const fixture *f)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.noise = &f->x_start;
    return request;
}

static void compare_video(const vipo_safetensors *file, const char *name, const vipo_array *video)
{
    vipo_array golden = golden_video(file, name);
    const size_t n = vipo_array_size(&golden);
    assert_int_equal(n, vipo_array_size(video));
    const double distance = test_relative_l2(video->data, golden.data, n),
                 worst = test_max_abs(video->data, golden.data, n);
    if (!(distance <= 2e-5 && worst <= 1e-4))
        fail_msg("%s: relative L2 %.1e, max %.1e", name, distance, worst);
    vipo_array_free(&golden);
}

static void check_classic(fixture *f)
{
    static const struct {
        const char *run, *sampler;
        int steps;
    } runs[] = {{"ddim100", "ddim", 100},
                {"ddim50", "ddim", 50},
                {"ddim25", "ddim", 25},
                {"ddim10", "ddim", 10},
                {"ddpm100", "ddpm", 0}};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        for (int w = 0; w <= 2; w += 2) {
            if (f->slow && strcmp(runs[i].run, "ddim10") != 0) continue;
            vipo_error error = {0};
            vipo_request request = request_of(f);
            request.sampler.name = runs[i].sampler;
            request.sampler.steps = runs[i].steps;
            request.sampler.guidance = w;
            if (strcmp(runs[i].sampler, "ddpm") == 0) request.step_noise = &f->step_noise;
            vipo_plan plan;
            assert_ok(vipo_planner_plan(f->planner, &request, &plan, &error), &error);
            const int steps = runs[i].steps ? runs[i].steps : 100;
            assert_int_equal(plan.calls, steps);
            assert_int_equal(plan.evaluations, steps);
            assert_int_equal(plan.network_rows, w ? 2 * steps : steps);
            char name[64];
            snprintf(name, sizeof name, "%s.g%d.video_f64", runs[i].run, w);
            compare_video(f->golden, name, &plan.video);
            vipo_plan_free(&plan);
        }
}

/* Follows a golden trace, event by event. */
typedef struct follower {
    const json_t *rounds;
    size_t next;
    bool ended;
    const json_t *run;
} follower;

static void same_int(const json_t *own, const json_t *golden, const char *key)
{
    if (json_integer_value(json_object_get(own, key)) != json_integer_value(json_object_get(golden, key)) ||
        !json_object_get(own, key))
        fail_msg("trace: %s is %lld, golden %lld", key,
                 (long long)json_integer_value(json_object_get(own, key)),
                 (long long)json_integer_value(json_object_get(golden, key)));
}

static void follow(void *user, const char *line)
{
    follower *f = user;
    json_t *event = json_loads(line, 0, NULL);
    assert_non_null(event);
    const char *kind = json_string_value(json_object_get(event, "event"));
    if (strcmp(kind, "end") == 0) {
        f->ended = true;
        same_int(event, f->run, "calls");
        same_int(event, f->run, "evals");
    } else {
        assert_string_equal(kind, "round");
        const json_t *golden = json_array_get(f->rounds, f->next++);
        assert_non_null(golden);
        static const char *const keys[] = {"round",   "start_token", "start_t", "k",     "accepted",
                                           "advance", "next_token",  "next_t",  "calls", "evals"};
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) same_int(event, golden, keys[i]);
        assert_true(fabs(json_number_value(json_object_get(event, "threshold")) -
                         json_number_value(json_object_get(golden, "threshold"))) < 1e-9);
        const json_t *own = json_object_get(event, "distances"),
                     *expected = json_object_get(golden, "distances");
        assert_int_equal(json_array_size(own), json_array_size(expected));
        for (size_t i = 0; i < json_array_size(own); i++) {
            const double a = json_number_value(json_array_get(own, i)),
                         b = json_number_value(json_array_get(expected, i));
            if (!(fabs(a - b) <= 1e-3 * b + 1e-4))
                fail_msg("trace: distance %zu is %.6f, golden %.6f", i, a, b);
        }
    }
    json_decref(event);
}

static void check_dts(fixture *f)
{
    vipo_error error = {0};
    json_t *traces;
    assert_ok(vipo_json_load(&traces, test_path("tests/golden/sampler/dts.traces.json"), &error), &error);
    size_t i;
    const json_t *run;
    json_array_foreach(json_object_get(traces, "runs"), i, run)
    {
        if (f->slow && i != 0 && i != 8) continue;
        vipo_request request = request_of(f);
        request.sampler.name = "draft-target";
        request.sampler.chunk = (int)json_integer_value(json_object_get(run, "k"));
        request.sampler.draft_stride = (int)json_integer_value(json_object_get(run, "delta"));
        request.sampler.target_stride = (int)json_integer_value(json_object_get(run, "tau"));
        request.sampler.threshold = json_number_value(json_object_get(run, "lambda0"));
        request.sampler.threshold_growth = json_number_value(json_object_get(run, "growth"));
        request.sampler.draft_reuse = json_is_true(json_object_get(run, "reuse"));
        request.sampler.chunk_rule =
            json_is_true(json_object_get(run, "remainder")) ? VIPO_CHUNK_REMAINDER : VIPO_CHUNK_FRESH;
        follower trace = {.rounds = json_object_get(run, "rounds"), .run = run};
        request.callbacks = (vipo_callbacks){.user = &trace, .trace = follow};
        vipo_plan plan;
        assert_ok(vipo_planner_plan(f->planner, &request, &plan, &error), &error);
        assert_true(trace.ended);
        assert_int_equal(trace.next, json_array_size(trace.rounds));
        char name[64];
        snprintf(name, sizeof name, "%s.video", json_string_value(json_object_get(run, "name")));
        compare_video(f->dts, name, &plan.video);
        vipo_plan_free(&plan);
    }
    assert_int_equal(i, 14);
    json_decref(traces);
}

/* <solver>.<grid>.<steps>.video */
static void check_solvers(fixture *f)
{
    static const struct {
        const char *golden, *sampler;
        int order;
        vipo_ab2_form form;
    } solvers[] = {{"ddim", "ddim", 0, VIPO_AB2_X0},    {"dpmpp2m", "dpm-solver++", 0, VIPO_AB2_X0},
                   {"ab2x0", "ab2", 0, VIPO_AB2_X0},    {"ab2r", "ab2", 0, VIPO_AB2_R},
                   {"unipc2", "unipc", 2, VIPO_AB2_X0}, {"unipc3", "unipc", 3, VIPO_AB2_X0}};
    static const struct {
        const char *golden, *grid;
        int steps;
    } grids[] = {{"S1.7_1.15.12", "s:1.7,1.15", 12}, {"S1.7_1.15.8", "s/1.7/1.15", 8},
                 {"S1.7_1.5.12", "s:1.7,1.5", 12},   {"S1.7_1.5.8", "s:1.7,1.5", 8},
                 {"uniform.10", "uniform", 10},      {"uniform.20", "uniform", 20}};
    vipo_safetensors *file = golden_open("tests/golden/sampler/solvers.safetensors");
    int compared = 0;
    for (size_t s = 0; s < sizeof solvers / sizeof solvers[0]; s++)
        for (size_t g = 0; g < sizeof grids / sizeof grids[0]; g++) {
            char name[96];
            snprintf(name, sizeof name, "%s.%s.video", solvers[s].golden, grids[g].golden);
            if (!vipo_safetensors_find(file, name) || (f->slow && grids[g].steps != 8)) continue;
            vipo_error error = {0};
            vipo_request request = request_of(f);
            request.sampler.name = solvers[s].sampler;
            request.sampler.order = solvers[s].order;
            request.sampler.form = solvers[s].form;
            request.sampler.grid = grids[g].grid;
            request.sampler.steps = grids[g].steps;
            vipo_plan plan;
            assert_ok(vipo_planner_plan(f->planner, &request, &plan, &error), &error);
            assert_int_equal(plan.evaluations, grids[g].steps);
            compare_video(file, name, &plan.video);
            vipo_plan_free(&plan);
            compared++;
        }
    assert_int_equal(compared, f->slow ? 12 : 28);
    vipo_safetensors_close(&file);
}

static void with_every_table(void (*check)(fixture *f))
{
    const vipo_ops *ops;
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        fixture f;
        open_fixture(&f, ops->name);
        check(&f);
        close_fixture(&f);
    }
}

static void test_ddim_and_ddpm(void **state)
{
    (void)state;
    with_every_table(check_classic);
}

static void test_draft_target(void **state)
{
    (void)state;
    with_every_table(check_dts);
}

static void test_multistep_solvers(void **state)
{
    (void)state;
    with_every_table(check_solvers);
}

/* The identities on a real network: bits, not tolerances. */
static void check_identities(fixture *f)
{
    vipo_error error = {0};
    vipo_plan fine, reject, single, no_reuse;
    if (f->slow) return;
    vipo_request request = request_of(f);
    request.sampler.name = "ddim";
    request.sampler.steps = 50;
    assert_ok(vipo_planner_plan(f->planner, &request, &fine, &error), &error);
    request = request_of(f);
    request.sampler.name = "draft-target";
    request.sampler.threshold = 0;
    request.sampler.threshold_growth = 0;
    assert_ok(vipo_planner_plan(f->planner, &request, &reject, &error), &error);
    request.sampler.draft_reuse = false;
    assert_ok(vipo_planner_plan(f->planner, &request, &no_reuse, &error), &error);
    request.sampler.chunk = 1;
    assert_ok(vipo_planner_plan(f->planner, &request, &single, &error), &error);
    const size_t bytes = vipo_array_size(&fine.video) * sizeof(float);
    assert_memory_equal(fine.video.data, reject.video.data, bytes);
    assert_memory_equal(fine.video.data, no_reuse.video.data, bytes);
    assert_memory_equal(fine.video.data, single.video.data, bytes);
    assert_int_equal(reject.evaluations, 225);
    assert_int_equal(no_reuse.evaluations, 270);
    vipo_plan_free(&fine), vipo_plan_free(&reject), vipo_plan_free(&single), vipo_plan_free(&no_reuse);
}

static void test_identities(void **state)
{
    (void)state;
    with_every_table(check_identities);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ddim_and_ddpm),
        cmocka_unit_test(test_draft_target),
        cmocka_unit_test(test_multistep_solvers),
        cmocka_unit_test(test_identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
