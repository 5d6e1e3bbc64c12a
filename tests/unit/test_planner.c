/* Plans through the public functions, on a tiny model. Single network calls: test_denoise.c. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

/* A request of few steps. */
static vipo_request request_for(const tiny_session *f, const char *sampler)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.seed = 7;
    request.sampler.name = sampler;
    if (strcmp(sampler, "ddim") == 0) request.sampler.steps = 3;
    request.sampler.chunk = 2;
    request.sampler.draft_stride = 5;
    request.sampler.target_stride = 1;
    request.sampler.threshold = 30;
    request.sampler.threshold_growth = 10;
    return request;
}

static vipo_plan plan_with(vipo_planner *planner, const vipo_request *request)
{
    vipo_plan plan;
    vipo_error error = {0};
    assert_ok(vipo_planner_plan(planner, request, &plan, &error), &error);
    return plan;
}

/* Compares `floats` numbers from place `at` of a plan's video and frees the plan. */
static void assert_video(vipo_plan plan, size_t at, const float *expected, size_t floats, const char *what)
{
    assert_true(vipo_array_size(&plan.video) >= at + floats);
    if (memcmp(plan.video.data + at, expected, floats * sizeof *expected) != 0)
        fail_msg("%s: largest difference %g", what, test_max_abs(plan.video.data + at, expected, floats));
    vipo_plan_free(&plan);
    assert_null(plan.video.data);
}

static const char *const samplers[] = {"ddim", "ddpm", "draft-target"};

/* ---- same numbers, whatever the machine does ------------------------------------------------------ */

static void test_threads_and_batches(void **state)
{
    const tiny_session *f = *state;
    static const int threads[] = {1, 2, 4, 1, 2}, batches[] = {1, 2, 8, 8, 1};
    for (size_t s = 0; s < 3; s++)
        for (int guided = 0; guided < 2; guided++) {
            if (guided && s == 1) continue; /* 20 steps are long enough once */
            vipo_request request = request_for(f, samplers[s]);
            request.samples = 3;
            request.cond = &f->conds;
            request.sampler.guidance = guided ? 0.7 : 0;
            vipo_plan first = {.calls = 0};
            for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
                vipo_planner *planner = tiny_planner(f->model, threads[i], batches[i]);
                assert_int_equal(vipo_planner_threads(planner), threads[i]);
                vipo_plan plan = plan_with(planner, &request);
                vipo_planner_close(&planner);
                if (!first.video.data) {
                    first = plan;
                    continue;
                }
                assert_int_equal(plan.calls, first.calls);
                assert_int_equal(plan.evaluations, first.evaluations);
                assert_int_equal(plan.network_rows, first.network_rows);
                assert_int_equal(plan.accepted, first.accepted);
                char what[96];
                snprintf(what, sizeof what, "%s, %d threads, batches of %d", samplers[s], threads[i],
                         batches[i]);
                assert_video(plan, 0, first.video.data, 3 * VIDEO, what);
            }
            vipo_plan_free(&first);
        }
}

static void test_repeated(void **state)
{
    const tiny_session *f = *state;
    for (size_t s = 0; s < 3; s++) {
        vipo_request request = request_for(f, samplers[s]);
        vipo_plan first = plan_with(f->planner, &request);
        assert_video(plan_with(f->planner, &request), 0, first.video.data, VIDEO, "again");
        request.seed++;
        vipo_plan other = plan_with(f->planner, &request);
        assert_true(vipo_array_rms_difference(&first.video, &other.video) > 0.01);
        vipo_plan_free(&other);
        vipo_plan_free(&first);
    }
}

/* Sample i of a batch is what its noise gives alone. */
static void test_samples(void **state)
{
    const tiny_session *f = *state;
    vipo_array one = tiny_video(1, 1), frame = made_up_array(4, SHAPE(1, TINY_SIDE, TINY_SIDE, 3), 1, 0, 1);
    vipo_array step_noise =
        made_up_array(6, SHAPE(TINY_TIMESTEPS - 1, 3, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), 5, 0, 1.7F);
    vipo_array one_step_noise =
        made_up_array(6, SHAPE(TINY_TIMESTEPS, 1, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), 5, 0, 1.7F);
    for (size_t s = 0; s < 3; s++) {
        vipo_request request = request_for(f, samplers[s]);
        const bool ddpm = s == 1;
        request.samples = 3;
        request.cond = &f->conds;
        request.noise = &f->noise;
        if (ddpm) request.step_noise = &step_noise;
        vipo_plan all = plan_with(f->planner, &request);
        assert_int_equal(all.video.rank, 5);
        assert_int_equal(all.video.shape[0], 3);
        request.samples = 1;
        request.cond = &frame;
        request.noise = &one;
        if (ddpm) request.step_noise = &one_step_noise;
        for (size_t i = 0; i < 3; i++) {
            memcpy(one.data, f->noise.data + i * VIDEO, VIDEO * sizeof(float));
            memcpy(frame.data, f->conds.data + i * FRAME, FRAME * sizeof(float));
            for (size_t step = 0; step < TINY_TIMESTEPS - 1; step++)
                memcpy(one_step_noise.data + step * VIDEO, step_noise.data + (3 * step + i) * VIDEO,
                       VIDEO * sizeof(float));
            assert_video(plan_with(f->planner, &request), 0, all.video.data + i * VIDEO, VIDEO, samplers[s]);
        }
        /* drawn from the seed, the first sample does not depend on how many there are */
        request.noise = NULL;
        request.step_noise = NULL;
        request.cond = &f->cond;
        vipo_plan first = plan_with(f->planner, &request);
        request.samples = 3;
        vipo_plan drawn = plan_with(f->planner, &request);
        assert_true(test_max_abs(drawn.video.data, drawn.video.data + VIDEO, VIDEO) > 0.1);
        assert_video(drawn, 0, first.video.data, VIDEO, "first of three");
        vipo_plan_free(&first);
        vipo_plan_free(&all);
    }
    vipo_array_free(&one);
    vipo_array_free(&frame);
    vipo_array_free(&step_noise);
    vipo_array_free(&one_step_noise);
}

static void test_step_noise(void **state)
{
    const tiny_session *f = *state;
    vipo_array noise =
        made_up_array(6, SHAPE(TINY_TIMESTEPS, 1, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), 5, 0, 1.7F);
    vipo_request request = request_for(f, "ddpm");
    vipo_plan drawn = plan_with(f->planner, &request);
    request.step_noise = &noise;
    vipo_plan given = plan_with(f->planner, &request);
    assert_true(vipo_array_rms_difference(&drawn.video, &given.video) > 0.001);
    noise.data[(TINY_TIMESTEPS - 1) * VIDEO] = 5; /* the last step has none */
    assert_video(plan_with(f->planner, &request), 0, given.video.data, VIDEO, "noise of the last step");
    noise.shape[0] = TINY_TIMESTEPS - 1;
    assert_video(plan_with(f->planner, &request), 0, given.video.data, VIDEO, "one step less");
    /* clipped predictions: the video stays in range */
    for (size_t i = 0; i < VIDEO; i++)
        assert_true(given.video.data[i] >= -1e-6F && given.video.data[i] <= 1 + 1e-6F);
    /* where none is drawn, none is ignored either */
    vipo_plan none;
    vipo_error error = {0};
    request.sampler.name = "ddim";
    assert_int_equal(vipo_planner_plan(f->planner, &request, &none, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "step noise: ddim draws none, ddpm alone does");
    vipo_plan_free(&drawn);
    vipo_plan_free(&given);
    vipo_array_free(&noise);
}

/* ---- guidance ------------------------------------------------------------------------------------ */

static void test_guidance(void **state)
{
    const tiny_session *f = *state;
    vipo_request request = request_for(f, "ddim");
    vipo_array zeros = made_up_array(3, SHAPE(1, 5, TINY_TOKEN_WIDTH), 1, 0, 0);
    request.sampler.steps = 1; /* linear in the network's output */
    vipo_plan plain = plan_with(f->planner, &request);
    assert_int_equal(plain.network_rows, 1);
    request.sampler.guidance = 2;
    vipo_plan guided = plan_with(f->planner, &request);
    assert_int_equal(guided.network_rows, 2);
    assert_int_equal(guided.evaluations, 1);
    request.sampler.guidance = -1; /* nothing of the task is left */
    vipo_plan without = plan_with(f->planner, &request);
    double worst = 0, spread = 0;
    for (size_t i = 0; i < VIDEO; i++) {
        const double c = (double)plain.video.data[i], u = (double)without.video.data[i];
        const double d = fabs((double)guided.video.data[i] - (3 * c - 2 * u));
        worst = d > worst ? d : worst;
        spread = fabs(c - u) > spread ? fabs(c - u) : spread;
    }
    assert_true(spread > 1e-3);
    if (worst > 1e-5) fail_msg("guidance is off by %g", worst);
    request.sampler.guidance = 0;
    request.tokens = &zeros;
    assert_video(plan_with(f->planner, &request), 0, without.video.data, VIDEO, "tokens of zeros");
    vipo_plan_free(&plain);
    vipo_plan_free(&guided);
    vipo_plan_free(&without);
    vipo_array_free(&zeros);
}

/* ---- callbacks ------------------------------------------------------------------------------------ */

typedef struct watch {
    int calls, warnings, lines, ends, steps, rounds;
    double done, total;
    double stop_at; /* evaluations after which to cancel; 0: never */
    char warning[256];
    const vipo_plan *plan;
    int end_calls, end_evals, end_rows;
} watch;

static void on_progress(void *user, const char *phase, double done, double total)
{
    watch *w = user;
    assert_string_equal(phase, "plan");
    assert_true(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    w->calls++;
}

static void on_log(void *user, vipo_log_level level, const char *line)
{
    watch *w = user;
    if (level > VIPO_LOG_WARNING) return;
    w->warnings++;
    snprintf(w->warning, sizeof w->warning, "%s", line);
}

static int integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("trace: no integer %s", key);
    return (int)json_integer_value(value);
}

static void on_trace(void *user, const char *line)
{
    watch *w = user;
    json_error_t where;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &where);
    if (!object) fail_msg("trace: %s: %s", line, where.text);
    assert_null(strchr(line, '\n'));
    const char *event = json_string_value(json_object_get(object, "event"));
    assert_non_null(event);
    assert_int_equal(w->ends, 0); /* nothing after the end */
    w->lines++;
    if (strcmp(event, "end") == 0) {
        w->ends++;
        w->end_calls = integer(object, "calls");
        w->end_evals = integer(object, "evals");
        w->end_rows = integer(object, "network_rows");
        assert_true(json_real_value(json_object_get(object, "seconds")) > 0);
        assert_true(integer(object, "peak_bytes") > 0);
    } else if (strcmp(event, "step") == 0) {
        assert_int_equal(integer(object, "step"), w->steps++);
        assert_true(integer(object, "t") > integer(object, "t_next"));
    } else {
        assert_string_equal(event, "round");
        const int k = integer(object, "k");
        assert_int_equal(json_array_size(json_object_get(object, "distances")), k);
        assert_true(integer(object, "accepted") <= k);
        assert_true(integer(object, "advance") >= 1);
        assert_true(integer(object, "video") >= 0);
        w->rounds++;
    }
    json_decref(object);
}

static bool on_cancelled(void *user)
{
    const watch *w = user;
    return w->stop_at > 0 && w->done >= w->stop_at;
}

static vipo_callbacks callbacks_for(watch *w)
{
    return (vipo_callbacks){
        .user = w, .log = on_log, .progress = on_progress, .trace = on_trace, .cancelled = on_cancelled};
}

static void test_progress_and_trace(void **state)
{
    const tiny_session *f = *state;
    for (size_t s = 0; s < 3; s++)
        for (int samples = 1; samples <= 2; samples++) {
            watch w = {0};
            vipo_request request = request_for(f, samplers[s]);
            request.samples = samples;
            request.sampler.guidance = samples == 2 ? 1 : 0;
            request.callbacks = callbacks_for(&w);
            vipo_plan plan = plan_with(f->planner, &request);
            assert_true(w.calls > 0 && w.done == w.total);
            assert_true(w.done == plan.evaluations);
            assert_int_equal(w.warnings, 0);
            assert_int_equal(w.ends, 1);
            assert_int_equal(w.end_calls, plan.calls);
            assert_int_equal(w.end_evals, plan.evaluations);
            assert_int_equal(w.end_rows, plan.network_rows);
            assert_int_equal(plan.network_rows, plan.evaluations * samples);
            assert_int_equal(w.lines, 1 + w.steps + w.rounds);
            assert_int_equal(w.rounds, plan.rounds);
            assert_true(plan.seconds > 0 && plan.text_seconds >= 0);
            assert_true(plan.peak_bytes > sizeof(float) * VIDEO);
            if (s == 0) {
                assert_string_equal(plan.sampler, "ddim-3");
                assert_int_equal(plan.calls, 3);
                assert_int_equal(plan.evaluations, 3 * samples);
                assert_int_equal(w.steps, 3);
            } else if (s == 1) {
                assert_string_equal(plan.sampler, "ddpm-20");
                assert_int_equal(plan.calls, TINY_TIMESTEPS);
            } else {
                assert_string_equal(plan.sampler, "draft-target k=2 5/1 lambda=30+10");
                assert_true(plan.rounds >= 2 * samples);
                assert_true(plan.accepted <= plan.drafted);
            }
            /* nobody listening changes nothing */
            request.callbacks = (vipo_callbacks){.user = NULL};
            vipo_plan quiet = plan_with(f->planner, &request);
            assert_video(quiet, 0, plan.video.data, (size_t)samples * VIDEO, "quiet");
            vipo_plan_free(&plan);
        }
}

/* The sum of the traced errors of the steps. */
static void add_error(void *user, const char *line)
{
    json_t *object = json_loads(line, 0, NULL);
    const double error = json_number_value(json_object_get(object, "error_rms"));
    *(double *)user += error * error;
    json_decref(object);
}

static void test_error_estimate(void **state)
{
    const tiny_session *f = *state;
    double squares = 0;
    vipo_request request = request_for(f, "ab2");
    request.samples = 2;
    request.sampler.steps = 5;
    request.callbacks = (vipo_callbacks){.user = &squares, .trace = add_error};
    vipo_plan own = plan_with(f->planner, &request);
    assert_true(own.error_estimate > 0 && fabs(own.error_estimate - sqrt(squares)) < 1e-12);
    assert_int_equal(own.fallbacks, 0);
    request.callbacks = (vipo_callbacks){.user = NULL};
    request.sampler.fallback = 1e-12;
    vipo_plan first_order = plan_with(f->planner, &request);
    assert_int_equal(first_order.fallbacks, 8);
    request.sampler.name = "ddim";
    request.sampler.grid = "s:1.7,1.15";
    vipo_plan ddim = plan_with(f->planner, &request);
    assert_true(isnan(ddim.error_estimate));
    assert_int_equal(ddim.fallbacks, 0);
    assert_video(first_order, 0, ddim.video.data, 2 * VIDEO, "fallback at every step");
    vipo_plan_free(&ddim);
    vipo_plan_free(&own);
}

static void test_cancel(void **state)
{
    const tiny_session *f = *state;
    for (size_t s = 0; s < 3; s++) {
        vipo_request request = request_for(f, samplers[s]);
        vipo_plan whole = plan_with(f->planner, &request);
        for (int stop = 1; stop < 5; stop++) {
            if (stop >= whole.evaluations) break;
            watch w = {.stop_at = stop};
            vipo_plan plan;
            vipo_error error = {0};
            request.callbacks = callbacks_for(&w);
            assert_int_equal(vipo_planner_plan(f->planner, &request, &plan, &error), VIPO_CANCELLED);
            assert_int_equal(error.status, VIPO_CANCELLED);
            assert_null(plan.video.data);
            assert_int_equal(plan.evaluations, 0);
            assert_string_equal(plan.sampler, "");
            assert_true(w.done >= stop && w.done < whole.evaluations);
            assert_int_equal(w.ends, 0);
        }
        /* the session is as good as before */
        request.callbacks = (vipo_callbacks){.user = NULL};
        assert_video(plan_with(f->planner, &request), 0, whole.video.data, VIDEO, "after cancelling");
        vipo_plan_free(&whole);
    }
}

/* ---- texts ---------------------------------------------------------------------------------------- */

static void test_texts(void **state)
{
    const tiny_session *f = *state;
    vipo_array features;
    vipo_error error = {0};
    int32_t ids[77];
    int n;
    assert_ok(vipo_planner_encode_text(f->planner, "open the door", ids, &n, &features, NULL, &error),
              &error);
    assert_int_equal(n, 5);
    assert_int_equal(ids[0], 741);
    assert_int_equal(ids[4], 742);
    assert_int_equal(features.rank, 3);
    assert_int_equal(features.shape[1], 5);

    /* a text and its features are the same request */
    vipo_request request = request_for(f, "ddim");
    request.tokens = &features;
    vipo_plan by_features = plan_with(f->planner, &request);
    request.tokens = NULL;
    request.text = "open the door";
    watch w = {0};
    request.callbacks = callbacks_for(&w);
    vipo_plan by_text = plan_with(f->planner, &request);
    assert_int_equal(w.warnings, 0);
    assert_true(by_text.text_seconds > 0);
    assert_video(by_text, 0, by_features.video.data, VIDEO, "text");
    vipo_plan_free(&by_features);
    vipo_array_free(&features);
    assert_ok(vipo_planner_encode_text(f->planner, "", NULL, &n, NULL, NULL, &error), &error);
    assert_int_equal(n, 2);
}

static void test_long_text(void **state)
{
    const tiny_session *f = *state;
    char text[1024] = "";
    for (int i = 0; i < 80; i++) strcat(text, "open ");
    watch w = {0};
    vipo_request request = request_for(f, "ddim");
    request.tokens = NULL;
    request.text = text;
    request.callbacks = callbacks_for(&w);
    vipo_plan plan = plan_with(f->planner, &request);
    vipo_plan_free(&plan);
    assert_int_equal(w.warnings, 1);
    if (!strstr(w.warning, "77")) fail_msg("%s", w.warning);
    assert_null(strchr(w.warning, '\n'));
    int32_t ids[77];
    int n;
    vipo_array features;
    vipo_error error = {0};
    w.warnings = 0;
    assert_ok(vipo_planner_encode_text(f->planner, text, ids, &n, &features, &request.callbacks, &error),
              &error);
    assert_int_equal(w.warnings, 1);
    assert_int_equal(n, 77);
    assert_int_equal(ids[76], 742);
    assert_int_equal(features.shape[1], 77);
    vipo_array_free(&features);
    text[5 * 75] = '\0'; /* 75 words and both ends fit */
    w.warnings = 0;
    assert_ok(vipo_planner_encode_text(f->planner, text, ids, &n, NULL, &request.callbacks, &error), &error);
    assert_int_equal(n, 77);
    assert_int_equal(w.warnings, 0);
}

static void assert_plan_refused(const tiny_session *f, const vipo_request *request, vipo_status expected,
                                const char *part)
{
    vipo_plan plan;
    vipo_error error = {0};
    memset(&plan, 1, sizeof plan);
    const vipo_status status = vipo_planner_plan(f->planner, request, &plan, &error);
    if (status != expected || !strstr(error.message, part))
        fail_msg("%s: \"%s\"; expected %s: \"%s\"", vipo_status_text(status), error.message,
                 vipo_status_text(expected), part);
    assert_null(strchr(error.message, '\n'));
    static const vipo_plan nothing;
    assert_memory_equal(&plan, &nothing, sizeof plan);
    assert_int_equal(vipo_planner_plan(f->planner, request, &plan, NULL), expected);
}

static void test_bad_texts(void **state)
{
    const tiny_session *f = *state;
    vipo_request request = request_for(f, "ddim");
    request.tokens = NULL;
    request.text = "open the d\xf6r";
    assert_plan_refused(f, &request, VIPO_FORMAT, "text: byte 10 is not UTF-8");
    request.text = NULL;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "a plan needs a task text or task tokens");
}

/* ---- wrong requests -------------------------------------------------------------------------------- */

static void test_bad_arrays(void **state)
{
    const tiny_session *f = *state;
    const size_t side = TINY_SIDE, frames = TINY_FRAMES, width = TINY_TOKEN_WIDTH;
    const struct {
        int which; /* 0 cond, 1 noise, 2 step noise, 3 tokens */
        int rank;
        size_t shape[VIPO_MAX_RANK];
        const char *part;
    } cases[] = {
        {0,
         4,
         {2, side, side, 3},
         "condition frame (cond): expected shape [1 or 1][16][16][3], found [2][16][16][3]"},
        {0, 4, {1, side, side, 4}, "found [1][16][16][4]"},
        {0, 4, {1, 3, side, side}, "found [1][3][16][16]"},
        {0, 3, {side, side, 3}, "found [16][16][3]"},
        {0, 5, {1, 1, side, side, 3}, "found [1][1][16][16][3]"},
        {1,
         5,
         {2, frames, side, side, 3},
         "noise: expected shape [1][3][16][16][3], found [2][3][16][16][3]"},
        {1, 5, {1, frames + 1, side, side, 3}, "found [1][4][16][16][3]"},
        {1, 5, {1, 3 * frames, side, side, 1}, "found [1][9][16][16][1]"},
        {1, 4, {frames, side, side, 3}, "found [3][16][16][3]"},
        {2,
         6,
         {18, 1, frames, side, side, 3},
         "step noise: expected shape [19][1][3][16][16][3], found [18][1]"},
        {2, 6, {21, 1, frames, side, side, 3}, "found [21][1]"},
        {2, 6, {19, 2, frames, side, side, 3}, "found [19][2]"},
        {2, 5, {19, frames, side, side, 3}, "found [19][3][16][16][3]"},
        {3,
         3,
         {1, 5, width - 1},
         "task tokens: expected shape [1][L in 1..512][128], found rank 3 [1][5][127]"},
        {3, 3, {1, 513, width}, "found rank 3 [1][513][128]"},
        {3, 3, {2, 5, width}, "task tokens: expected one text, [1][L][C], found 2"},
        {3, 2, {5, width}, "found rank 2 [5][128]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_request request = request_for(f, "ddpm");
        vipo_array array = made_up_array(cases[i].rank, cases[i].shape, 1, 0, 1);
        const vipo_array **const places[] = {&request.cond, &request.noise, &request.step_noise,
                                             &request.tokens};
        *places[cases[i].which] = &array;
        assert_plan_refused(f, &request, VIPO_MISMATCH, cases[i].part);
        vipo_array_free(&array);
    }
    /* arrays that nobody allocated */
    for (int which = 0; which < 4; which++) {
        vipo_request request = request_for(f, "ddpm");
        const vipo_array nothing = {.data = NULL},
                         none = {.rank = 3, .shape = {1, 0, TINY_TOKEN_WIDTH}, .data = NULL};
        const vipo_array **const places[] = {&request.cond, &request.noise, &request.step_noise,
                                             &request.tokens};
        *places[which] = &nothing;
        assert_plan_refused(f, &request, VIPO_MISMATCH, "expected shape");
        request = request_for(f, "ddpm");
        request.tokens = &none;
        assert_plan_refused(f, &request, VIPO_MISMATCH, "found rank 3 [1][0][128]");
    }
}

static void test_not_finite(void **state)
{
    const tiny_session *f = *state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const char *const names[] = {"condition frame (cond): element 5", "noise: element 5",
                                        "step noise: element 5", "task tokens: element 5"};
    for (int which = 0; which < 4; which++)
        for (size_t i = 0; i < 3; i++) {
            vipo_request request = request_for(f, "ddpm");
            const size_t side = TINY_SIDE;
            vipo_array array = which == 0   ? made_up_array(4, SHAPE(1, side, side, 3), 1, 0, 1)
                               : which == 1 ? tiny_video(1, 1)
                               : which == 2
                                   ? made_up_array(6, SHAPE(19, 1, TINY_FRAMES, side, side, 3), 1, 0, 1)
                                   : made_up_array(3, SHAPE(1, 5, TINY_TOKEN_WIDTH), 1, 0, 1);
            array.data[5] = values[i];
            const vipo_array **const places[] = {&request.cond, &request.noise, &request.step_noise,
                                                 &request.tokens};
            *places[which] = &array;
            assert_plan_refused(f, &request, VIPO_NUMERIC, names[which]);
            vipo_array_free(&array);
        }
    /* a state so large that the network's output is not finite */
    vipo_request request = request_for(f, "ddim");
    vipo_array huge = tiny_video(1, 1);
    for (size_t i = 0; i < VIDEO; i++) huge.data[i] *= 1e38F;
    request.noise = &huge;
    assert_plan_refused(f, &request, VIPO_NUMERIC, "the network's output at t = 19 is not finite");
    vipo_array_free(&huge);
}

static void test_bad_options(void **state)
{
    const tiny_session *f = *state;
    vipo_request request = request_for(f, "ddim");
    request.cond = NULL;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "a plan needs a condition frame");
    static const int samples[] = {0, -1, 4097};
    for (size_t i = 0; i < 3; i++) {
        request = request_for(f, "ddim");
        request.samples = samples[i];
        assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "expected 1..4096");
    }
    request = request_for(f, "ddim");
    request.sampler.name = "euler";
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT,
                        "unknown sampler \"euler\", known ones: ddpm, ddim, ");
    request.sampler.name = NULL;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "a plan needs the name of a sampler");
    request = request_for(f, "ddim");
    request.sampler.steps = TINY_TIMESTEPS + 1;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "steps: 21, expected 1..20");
    request.sampler.steps = -1;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "steps: -1");
    request = request_for(f, "ddpm");
    request.sampler.steps = 7;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "ddpm steps: 7");
    static const double weights[] = {NAN, INFINITY, -INFINITY, 1e5};
    for (size_t i = 0; i < 4; i++) {
        request = request_for(f, "ddim");
        request.sampler.guidance = weights[i];
        assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "guidance: ");
    }
    request = request_for(f, "draft-target");
    request.sampler.chunk = 0;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "chunk: 0, expected 1 or more");
    request = request_for(f, "draft-target");
    request.sampler.draft_stride = 3;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "draft stride: 3 does not divide");
    request = request_for(f, "draft-target");
    request.sampler.target_stride = 2;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT,
                        "target stride: 2 does not divide the draft stride 5");
    request = request_for(f, "draft-target");
    request.sampler.threshold = NAN;
    assert_plan_refused(f, &request, VIPO_INVALID_ARGUMENT, "threshold");

    vipo_planner *planner;
    vipo_error error = {0};
    static const int batches[] = {-1, 1025};
    for (size_t i = 0; i < 2; i++) {
        const vipo_planner_options options = {.max_batch = batches[i]};
        assert_int_equal(vipo_planner_open(&planner, f->model, &options, &error), VIPO_INVALID_ARGUMENT);
        assert_null(planner);
        assert_non_null(strstr(error.message, "max_batch: "));
    }
    const vipo_planner_options options = {.threads = -1};
    assert_int_equal(vipo_planner_open(&planner, f->model, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_null(planner);
}

/* ---- batches ------------------------------------------------------------------------------------- */

static bool count_asked(void *user)
{
    ++*(int *)user;
    return false;
}

/* How often a plan asks whether it is cancelled: once for every operation of a network call. */
static int asked(vipo_planner *planner, const tiny_session *f, const char *sampler, int samples,
                 double guidance)
{
    int count = 0;
    vipo_request request = request_for(f, sampler);
    request.samples = samples;
    request.sampler.guidance = guidance;
    request.callbacks = (vipo_callbacks){.user = &count, .cancelled = count_asked};
    vipo_plan plan = plan_with(planner, &request);
    vipo_plan_free(&plan);
    return count;
}

/* Samples and guidance pairs run as one batch where it fits: no further network calls. */
static void test_batches(void **state)
{
    const tiny_session *f = *state;
    static const char *const names[] = {"ddim", "ddpm", "unipc", "ab2"};
    vipo_planner *four = tiny_planner(f->model, 1, 4), *two = tiny_planner(f->model, 1, 2),
                 *one = tiny_planner(f->model, 1, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int single = asked(one, f, names[i], 1, 0);
        assert_true(single > 100);
        assert_int_equal(asked(four, f, names[i], 2, 1), single);
        assert_int_equal(asked(four, f, names[i], 4, 0), single);
        assert_int_equal(asked(two, f, names[i], 1, 1), single);
        assert_true(asked(two, f, names[i], 2, 1) > 1.8 * single);
        assert_true(asked(one, f, names[i], 2, 1) > 3.6 * single);
    }
    vipo_planner_close(&four);
    vipo_planner_close(&two);
    vipo_planner_close(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_batches),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_step_noise),
        cmocka_unit_test(test_guidance),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_progress_and_trace),
        cmocka_unit_test(test_error_estimate),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_bad_arrays),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
