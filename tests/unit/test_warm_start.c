/* Plans that start from an earlier plan, on a tiny model. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sampling/schedule.h"
#include "support/tiny_session.h"

static vipo_request request_for(const tiny_session *f, const char *sampler)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.seed = 7;
    request.sampler.name = sampler;
    if (strcmp(sampler, "ddpm") != 0 && strcmp(sampler, "auto") != 0 && strncmp(sampler, "draft", 5) != 0)
        request.sampler.steps = 4;
    request.sampler.draft_stride = 5;
    request.sampler.target_stride = 1;
    return request;
}

static vipo_plan plan_with(const tiny_session *f, const vipo_request *request)
{
    vipo_plan plan;
    vipo_error error = {0};
    assert_ok(vipo_planner_plan(f->planner, request, &plan, &error), &error);
    return plan;
}

/* Compares `floats` numbers from place `at` of a plan's video and frees the plan. */
static void assert_video(vipo_plan plan, size_t at, const float *expected, size_t floats, const char *what)
{
    assert_true(vipo_array_size(&plan.video) >= at + floats);
    if (memcmp(plan.video.data + at, expected, floats * sizeof *expected) != 0)
        fail_msg("%s: largest difference %g", what, test_max_abs(plan.video.data + at, expected, floats));
    vipo_plan_free(&plan);
}

/* A video as a plan has it. */
static vipo_array made_up_plan(size_t samples, uint64_t seed)
{
    return made_up_array(5, SHAPE(samples, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), seed, 0.5F, 0.6F);
}

/* ---- identities --------------------------------------------------------------------------------------- */

/* A video and a noise whose state at timestep t is exactly `x`: rounding makes some states out of reach for one video,
 * so others are tried. */
static void split(const vipo_schedule *schedule, int t, float x, float *warm, float *noise)
{
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    for (int i = 0; i < 1000; i++) {
        *warm = 0.25F + 0.0005F * (float)i;
        *noise = (float)(((double)x - alpha * (2 * (double)*warm - 1)) / sigma);
        if ((float)(alpha * (2 * (double)*warm - 1) + sigma * (double)*noise) == x) return;
    }
    fail_msg("no video and noise give %.9g", (double)x);
}

/* From a state of the plain run, the rest is the plain run's rest. */
static void test_tail_of_the_plain_run(void **state)
{
    const tiny_session *f = *state;
    static const int grid[] = {19, 14, 9, 4, -1}; /* ddim-4 of 20 timesteps */
    vipo_error error = {0};
    vipo_schedule schedule;
    assert_ok(vipo_schedule_open(&schedule, TINY_TIMESTEPS, &error), &error);
    vipo_array x = tiny_video(1, 4), warm = tiny_video(1, 1), noise = tiny_video(1, 1);
    vipo_request request = request_for(f, "ddim");
    request.noise = &x;
    vipo_plan plain = plan_with(f, &request);
    assert_int_equal(plain.from_step, TINY_TIMESTEPS - 1);
    request.noise = &noise;
    request.warm = &warm;
    for (int step = 0; step < 4; step++) {
        for (size_t i = 0; i < VIDEO; i++)
            split(&schedule, grid[step], x.data[i], &warm.data[i], &noise.data[i]);
        request.from_step = grid[step];
        vipo_plan tail = plan_with(f, &request);
        assert_int_equal(tail.from_step, grid[step]);
        assert_int_equal(tail.evaluations, 4 - step);
        char name[32];
        snprintf(name, sizeof name, step ? "ddim-4 from %d" : "ddim-4", grid[step]);
        assert_string_equal(tail.sampler, name);
        assert_video(tail, 0, plain.video.data, VIDEO, name);
        const vipo_denoise_request denoise = {
            .x = &x, .cond = &f->cond, .tokens = &f->tokens, .t = &grid[step], .n_t = 1};
        vipo_array v;
        assert_ok(vipo_planner_denoise(f->planner, &denoise, &v, NULL, &error), &error);
        vipo_ddim_step(&schedule, grid[step], grid[step + 1], VIDEO, x.data, v.data, x.data);
        vipo_array_free(&v);
    }
    vipo_plan_free(&plain);
    vipo_array_free(&x), vipo_array_free(&warm), vipo_array_free(&noise);
    vipo_schedule_close(&schedule);
}

static void test_plain_plan(void **state)
{
    const tiny_session *f = *state;
    for (int i = 0; vipo_sampler_name(i); i++) {
        if (strcmp(vipo_sampler_name(i), "auto") == 0) continue; /* chooses by time */
        vipo_request request = request_for(f, vipo_sampler_name(i));
        vipo_plan plain = plan_with(f, &request);
        request.from_step = TINY_TIMESTEPS - 1;
        vipo_plan same = plan_with(f, &request);
        assert_string_equal(same.sampler, plain.sampler);
        assert_int_equal(same.from_step, TINY_TIMESTEPS - 1);
        assert_video(same, 0, plain.video.data, VIDEO, vipo_sampler_name(i));
        vipo_plan_free(&plain);
    }
}

/* executed moves the frames, the last one fills the end. */
static void test_executed(void **state)
{
    const tiny_session *f = *state;
    vipo_array warm = made_up_plan(2, 5), moved = made_up_plan(2, 5);
    vipo_request request = request_for(f, "ab2");
    request.samples = 2;
    request.from_step = 6;
    vipo_plan first = {.calls = 0};
    for (int executed = 0; executed <= TINY_FRAMES; executed++) {
        for (size_t sample = 0; sample < 2; sample++)
            for (int frame = 0; frame < TINY_FRAMES; frame++) {
                const int old = frame + executed < TINY_FRAMES ? frame + executed : TINY_FRAMES - 1;
                memcpy(moved.data + sample * VIDEO + (size_t)frame * FRAME,
                       warm.data + sample * VIDEO + (size_t)old * FRAME, FRAME * sizeof(float));
            }
        request.warm = &warm;
        request.executed = executed;
        vipo_plan own = plan_with(f, &request);
        request.warm = &moved;
        request.executed = 0;
        assert_video(plan_with(f, &request), 0, own.video.data, 2 * VIDEO, "moved by hand");
        if (executed == 0)
            first = own;
        else {
            assert_true(vipo_array_rms_difference(&first.video, &own.video) > 1e-3);
            vipo_plan_free(&own);
        }
    }
    vipo_plan_free(&first);
    vipo_array_free(&warm), vipo_array_free(&moved);
}

/* One plan serves all samples; a sample is what it would be alone. */
static void test_samples(void **state)
{
    const tiny_session *f = *state;
    vipo_array one = made_up_plan(1, 5), three = made_up_plan(3, 5), noise = tiny_video(1, 4);
    for (size_t i = 0; i < 3; i++) memcpy(three.data + i * VIDEO, one.data, VIDEO * sizeof(float));
    static const char *const samplers[] = {"ab2", "ddpm", "draft-target", "draft-target-lazy"};
    for (size_t s = 0; s < sizeof samplers / sizeof samplers[0]; s++) {
        vipo_request request = request_for(f, samplers[s]);
        request.samples = 3;
        request.cond = &f->conds;
        request.noise = &f->noise;
        request.from_step = 9;
        request.warm = &one;
        vipo_plan all = plan_with(f, &request);
        request.warm = &three;
        assert_video(plan_with(f, &request), 0, all.video.data, 3 * VIDEO, "copies");
        request.samples = 1;
        request.warm = &one;
        request.noise = &noise;
        for (size_t i = 0; i < 3; i++) {
            if (strcmp(samplers[s], "ddpm") == 0 && i > 0)
                break; /* step noise differs from sample to sample */
            const vipo_array cond = {
                .data = f->conds.data + i * FRAME, .rank = 4, .shape = {1, TINY_SIDE, TINY_SIDE, 3}};
            memcpy(noise.data, f->noise.data + i * VIDEO, VIDEO * sizeof(float));
            request.cond = &cond;
            assert_video(plan_with(f, &request), 0, all.video.data + i * VIDEO, VIDEO, samplers[s]);
        }
        vipo_plan_free(&all);
    }
    vipo_array_free(&one), vipo_array_free(&three), vipo_array_free(&noise);
}

/* Little noise keeps the plan, much noise forgets it. */
static void test_how_much_is_kept(void **state)
{
    const tiny_session *f = *state;
    vipo_array warm = made_up_plan(1, 5);
    vipo_request request = request_for(f, "ddim");
    request.sampler.steps = 1; /* x0 predicted from the start */
    vipo_plan cold = plan_with(f, &request);
    request.warm = &warm;
    request.from_step = 0;
    vipo_plan near = plan_with(f, &request);
    request.from_step = TINY_TIMESTEPS - 1;
    vipo_plan far = plan_with(f, &request);
    const double kept = vipo_array_rms_difference(&near.video, &warm);
    assert_true(kept < 0.5 * vipo_array_rms_difference(&cold.video, &warm));
    assert_true(vipo_array_rms_difference(&far.video, &cold.video) < 1e-2);
    vipo_plan_free(&cold), vipo_plan_free(&near), vipo_plan_free(&far);
    vipo_array_free(&warm);
}

/* About 35 % of 20 timesteps: 7; draft times are 19, 14, 9, 4. */
static void test_default_start(void **state)
{
    const tiny_session *f = *state;
    vipo_array warm = made_up_plan(1, 5);
    for (int i = 0; vipo_sampler_name(i); i++) {
        if (strcmp(vipo_sampler_name(i), "auto") == 0) continue;
        const bool draft = strncmp(vipo_sampler_name(i), "draft", 5) == 0;
        vipo_request request = request_for(f, vipo_sampler_name(i));
        request.warm = &warm;
        vipo_plan own = plan_with(f, &request);
        assert_int_equal(own.from_step, draft ? 9 : 7);
        assert_non_null(strstr(own.sampler, draft ? " from 9" : " from 7"));
        request.from_step = draft ? 9 : 7;
        assert_video(plan_with(f, &request), 0, own.video.data, VIDEO, vipo_sampler_name(i));
        vipo_plan_free(&own);
    }
    vipo_array_free(&warm);
}

/* ---- wrong requests -------------------------------------------------------------------------------------- */

static void assert_refused(const tiny_session *f, const vipo_request *request, vipo_status expected,
                           const char *message)
{
    vipo_plan plan;
    vipo_error error = {0};
    memset(&plan, 1, sizeof plan);
    const vipo_status status = vipo_planner_plan(f->planner, request, &plan, &error);
    if (status != expected || strcmp(error.message, message) != 0)
        fail_msg("%s: \"%s\"; expected %s: \"%s\"", vipo_status_text(status), error.message,
                 vipo_status_text(expected), message);
    static const vipo_plan nothing;
    assert_memory_equal(&plan, &nothing, sizeof plan);
}

static void test_bad_shapes(void **state)
{
    const tiny_session *f = *state;
    static const struct {
        int rank;
        size_t shape[VIPO_MAX_RANK];
        const char *found;
    } cases[] = {
        {5, {2, 3, 16, 16, 3}, "[2][3][16][16][3]"}, {5, {1, 4, 16, 16, 3}, "[1][4][16][16][3]"},
        {5, {1, 3, 16, 8, 3}, "[1][3][16][8][3]"},   {5, {1, 3, 3, 16, 16}, "[1][3][3][16][16]"},
        {4, {3, 16, 16, 3}, "[3][16][16][3]"},       {6, {1, 1, 3, 16, 16, 3}, "[1][1][3][16][16][3]"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_request request = request_for(f, "ab2");
        vipo_array warm = made_up_array(cases[i].rank, cases[i].shape, 1, 0, 1);
        request.samples = 3;
        request.warm = &warm;
        char message[256];
        snprintf(message, sizeof message,
                 "warm start (warm): expected shape [3 or 1][3][16][16][3], found %s", cases[i].found);
        assert_refused(f, &request, VIPO_MISMATCH, message);
        vipo_array_free(&warm);
    }
    const vipo_array nothing = {.data = NULL};
    vipo_request request = request_for(f, "ab2");
    request.warm = &nothing;
    assert_refused(f, &request, VIPO_MISMATCH,
                   "warm start (warm): expected shape [1 or 1][3][16][16][3], found a single number");
}

static void test_bad_values(void **state)
{
    const tiny_session *f = *state;
    vipo_array warm = made_up_plan(1, 5);
    static const struct {
        const char *sampler;
        bool warm;
        int from_step, executed;
        const char *message;
    } cases[] = {
        {"ab2", true, 20, 0, "from step: 20, expected 0..19 (the model's timesteps)"},
        {"ab2", true, -2, 0, "from step: -2, expected 0..19 (the model's timesteps)"},
        {"ab2", true, 7, 4, "executed: 4, expected 0..3 (the plan's frames)"},
        {"ab2", true, 7, -1, "executed: -1, expected 0..3 (the plan's frames)"},
        {"draft-target", true, 7, 0,
         "from step: 7, draft-target starts at its draft times only, the nearest are 4 and 9"},
        {"auto", true, 20, 0, "from step: 20, expected 0..19 (the model's timesteps)"},
        {"ab2", false, 7, 0, "from step: 7 needs a warm start; without one a plan starts at 19 (or -1)"},
        {"ab2", false, -1, 1, "executed: 1 needs a warm start"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_request request = request_for(f, cases[i].sampler);
        request.warm = cases[i].warm ? &warm : NULL;
        request.from_step = cases[i].from_step;
        request.executed = cases[i].executed;
        assert_refused(f, &request, VIPO_INVALID_ARGUMENT, cases[i].message);
    }
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        vipo_request request = request_for(f, "ab2");
        request.warm = &warm;
        warm.data[VIDEO - 1] = values[i];
        assert_refused(f, &request, VIPO_NUMERIC, "warm start (warm): element 2303 is not a finite number");
    }
    /* a stride that divides nothing is told as such, whatever the start */
    vipo_request request = request_for(f, "draft-target");
    warm.data[VIDEO - 1] = 0;
    request.warm = &warm;
    request.sampler.draft_stride = 0;
    assert_refused(f, &request, VIPO_INVALID_ARGUMENT,
                   "draft stride: 0 does not divide the model's 20 timesteps");
    vipo_array_free(&warm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail_of_the_plain_run),
        cmocka_unit_test(test_plain_plan),
        cmocka_unit_test(test_executed),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_how_much_is_kept),
        cmocka_unit_test(test_default_start),
        cmocka_unit_test(test_bad_shapes),
        cmocka_unit_test(test_bad_values),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
