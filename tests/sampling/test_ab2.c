/* The error that ab2 estimates, and its fallback to DDIM, on networks whose flow is known. */
#include "support/support.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "sampling/sampler.h"

enum { DIM = 24, T = 100, VIDEOS = 3, MOST_STEPS = 100 };

static vipo_schedule schedule;

/* Networks that predict x0 = middle + rate * phi: v = (alpha x - x0) / sigma. The rates differ between videos. */
typedef struct known {
    double rate[VIDEOS];
} known;

static double angle(int t)
{
    return vipo_schedule_angle(&schedule, t);
}

static double middle(int i)
{
    return (double)i / DIM - 0.5;
}

static vipo_status known_network(void *user, int rows, const int *video, const int *t, const float *x,
                                 float *v, vipo_error *error)
{
    (void)error;
    const known *k = user;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < DIM; i++) {
            const double x0 = middle(i) + k->rate[video[r]] * angle(t[r]);
            const double alpha = cos(angle(t[r])), sigma = sin(angle(t[r]));
            v[r * DIM + i] = (float)((alpha * (double)x[r * DIM + i] - x0) / sigma);
        }
    return VIPO_OK;
}

static vipo_status smooth_network(void *user, int rows, const int *video, const int *t, const float *x,
                                  float *v, vipo_error *error)
{
    (void)user, (void)error;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < DIM; i++) {
            const float s = x[r * DIM + i];
            v[r * DIM + i] = sinf(1.3F * s + 0.04F * (float)t[r]) - 0.2F * s +
                             (0.1F + 0.2F * (float)video[r]) * (float)(i % 5);
        }
    return VIPO_OK;
}

/* What the trace said of each step. */
typedef struct result {
    float x[VIDEOS * DIM];
    vipo_sampler_stats stats;
    int steps, fallbacks[MOST_STEPS];
    double errors[MOST_STEPS]; /* -1: none */
} result;

static void on_trace(void *user, const char *line)
{
    result *r = user;
    json_t *event = json_loads(line, 0, NULL);
    assert_non_null(event);
    const json_t *error = json_object_get(event, "error_rms");
    r->errors[r->steps] = error ? json_number_value(error) : -1;
    r->fallbacks[r->steps++] = (int)json_integer_value(json_object_get(event, "fallbacks"));
    json_decref(event);
}

static vipo_sampler_options ab2(vipo_ab2_form form, int steps, double fallback)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = "ab2";
    options.form = form;
    options.steps = steps;
    options.fallback = fallback;
    return options;
}

typedef vipo_status network(void *user, int rows, const int *video, const int *t, const float *x, float *v,
                            vipo_error *error);

static result run(const vipo_sampler *sampler, const vipo_sampler_options *options, network *denoise,
                  const known *k, int videos)
{
    result out = {.steps = 0};
    vipo_error error = {0};
    for (int i = 0; i < videos * DIM; i++) out.x[i] = 2 * test_uniform(7, (uint64_t)i);
    assert_ok(vipo_sampler_check(sampler, options, &schedule, T - 1, &error), &error);
    float *memory =
        vipo_aligned_calloc(vipo_sampler_memory(sampler, options, &schedule, videos, DIM), sizeof *memory);
    assert_non_null(memory);
    const vipo_denoiser denoiser = {.user = (void *)k, .dim = DIM, .denoise = denoise};
    const vipo_callbacks callbacks = {.user = &out, .trace = on_trace};
    vipo_sampling sampling = {.denoiser = &denoiser,
                              .schedule = &schedule,
                              .options = options,
                              .callbacks = &callbacks,
                              .videos = videos,
                              .from = T - 1,
                              .x = out.x,
                              .memory = memory};
    assert_ok(vipo_sampler_run(sampler, &sampling, &error), &error);
    out.stats = sampling.stats;
    vipo_aligned_free(memory);
    return out;
}

/* ---- the estimate -------------------------------------------------------------------------------------- */

/* Nothing to correct where x0 never changes: the estimate is rounding. */
static void test_constant(void **state)
{
    (void)state;
    static const known k = {.rate = {0}};
    for (int form = 0; form < 2; form++) {
        const vipo_sampler_options options = ab2((vipo_ab2_form)form, 12, 0);
        const result r = run(&vipo_sampler_ab2, &options, known_network, &k, 1);
        assert_int_equal(r.steps, 12);
        assert_true(r.errors[0] == -1); /* the first step knows nothing */
        for (int i = 1; i < 12; i++)
            if (!(r.errors[i] >= 0 && r.errors[i] < 1e-6)) fail_msg("step %d: %g", i, r.errors[i]);
        assert_true(r.stats.has_error && sqrt(r.stats.error_squares) < 2e-6);
        for (int i = 0; i < DIM; i++) assert_true(fabs((double)r.x[i] - middle(i)) < 1e-5);
    }
}

/* x0 linear in phi: the rotation misses exactly the correction, which makes form x0 exact. */
static void test_linear(void **state)
{
    (void)state;
    static const known k = {.rate = {0.3}};
    vipo_sampler_options options = ab2(VIPO_AB2_X0, 12, 0);
    const result r = run(&vipo_sampler_ab2, &options, known_network, &k, 1);
    static const int grid[] = {99, 93, 84, 74, 63, 51, 40, 29, 19, 11, 5, 1, -1};
    double squares = 0;
    for (int i = 1; i < 12; i++) {
        const double p = angle(grid[i]), q = angle(grid[i + 1]), h = q - p;
        const double expected =
            0.3 * fabs(q <= 0 ? h : h * cos(q) - sin(q) * log(sin(q) / sin(p))); /* all elements alike */
        if (!(fabs(r.errors[i] - expected) < 1e-5 * expected + 1e-7))
            fail_msg("step %d: error %g, expected %g", i, r.errors[i], expected);
        squares += expected * expected;
    }
    assert_true(fabs(r.stats.error_squares - squares) < 1e-4 * squares);
    /* Form x0 with all timesteps and with 12 differ by the first step alone, which is of first order in both. */
    const double first = angle(99) - angle(93);
    const vipo_sampler_options fine = ab2(VIPO_AB2_X0, 100, 0);
    vipo_sampler_options uniform = fine;
    uniform.grid = "uniform";
    const result exact = run(&vipo_sampler_ab2, &uniform, known_network, &k, 1);
    const double off = test_max_abs(r.x, exact.x, DIM);
    if (!(off < 0.3 * first * first)) fail_msg("off by %g", off);
    const vipo_sampler_options ddim = ab2(VIPO_AB2_X0, 12, 1e-300);
    const result plain = run(&vipo_sampler_ab2, &ddim, known_network, &k, 1);
    assert_true(test_max_abs(plain.x, exact.x, DIM) > 5 * off);
}

/* Several videos: one number for the step, the root of their mean square. */
static void test_videos(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        const vipo_sampler_options options = ab2((vipo_ab2_form)form, 12, 0);
        const known k = {.rate = {0.3, 0.1, -0.2}};
        const result all = run(&vipo_sampler_ab2, &options, known_network, &k, VIDEOS);
        double squares[MOST_STEPS] = {0};
        for (int video = 0; video < VIDEOS; video++) {
            const known alone = {.rate = {k.rate[video]}};
            const result one = run(&vipo_sampler_ab2, &options, known_network, &alone, 1);
            for (int i = 1; i < 12; i++) squares[i] += one.errors[i] * one.errors[i] / VIDEOS;
        }
        for (int i = 1; i < 12; i++) assert_true(fabs(all.errors[i] - sqrt(squares[i])) < 1e-6);
    }
}

/* ---- the fallback ---------------------------------------------------------------------------------------- */

static void test_fallback_is_ddim(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++)
        for (int steps = 3; steps <= 20; steps++) {
            vipo_sampler_options options = ab2((vipo_ab2_form)form, steps, 1e-300);
            options.grid = "s:1.7,1.15";
            const result own = run(&vipo_sampler_ab2, &options, smooth_network, NULL, VIDEOS);
            const result ddim = run(&vipo_sampler_ddim, &options, smooth_network, NULL, VIDEOS);
            assert_memory_equal(own.x, ddim.x, sizeof own.x);
            assert_int_equal(own.stats.fallbacks, VIDEOS * (steps - 1));
            assert_int_equal(own.stats.evaluations, ddim.stats.evaluations);
            assert_false(ddim.stats.has_error);
            assert_true(ddim.errors[1] == -1);
            /* a high threshold changes nothing */
            options.fallback = 1e6;
            const result never = run(&vipo_sampler_ab2, &options, smooth_network, NULL, VIDEOS);
            options.fallback = 0;
            const result off = run(&vipo_sampler_ab2, &options, smooth_network, NULL, VIDEOS);
            assert_memory_equal(never.x, off.x, sizeof off.x);
            assert_int_equal(never.stats.fallbacks, 0);
            if (steps > 3) assert_true(memcmp(off.x, ddim.x, sizeof off.x) != 0);
        }
}

/* Just above the largest error nothing falls back, just below it one step does. */
static void test_threshold(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        vipo_sampler_options options = ab2((vipo_ab2_form)form, 12, 0);
        const result off = run(&vipo_sampler_ab2, &options, smooth_network, NULL, 1);
        int largest = 1;
        for (int i = 1; i < 12; i++)
            if (off.errors[i] > off.errors[largest]) largest = i;
        options.fallback = off.errors[largest] * (1 + 1e-9);
        const result above = run(&vipo_sampler_ab2, &options, smooth_network, NULL, 1);
        assert_int_equal(above.stats.fallbacks, 0);
        assert_memory_equal(above.x, off.x, DIM * sizeof *off.x);
        options.fallback = off.errors[largest] * (1 - 1e-9);
        const result below = run(&vipo_sampler_ab2, &options, smooth_network, NULL, 1);
        assert_int_equal(below.fallbacks[largest], 1);
        assert_int_equal(below.fallbacks[largest - 1], 0);
        assert_true(below.errors[largest] ==
                    off.errors[largest]); /* what it would have corrected is still told */
    }
}

/* A video falls back by its own error, not by its neighbours'. */
static void test_videos_do_not_disturb_each_other(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        int some = 0;
        for (double fallback = 0.001; fallback < 1; fallback *= 1.5) {
            const vipo_sampler_options options = ab2((vipo_ab2_form)form, 12, fallback);
            const result all = run(&vipo_sampler_ab2, &options, smooth_network, NULL, VIDEOS);
            for (int videos = 1; videos < VIDEOS; videos++) {
                const result fewer = run(&vipo_sampler_ab2, &options, smooth_network, NULL, videos);
                assert_memory_equal(fewer.x, all.x, (size_t)(videos * DIM) * sizeof *all.x);
            }
            some += all.stats.fallbacks > 0 && all.stats.fallbacks < VIDEOS * 11;
        }
        assert_true(some > 3);
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    static const double bad[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        vipo_error error = {0};
        const vipo_sampler_options options = ab2(VIPO_AB2_X0, 12, bad[i]);
        assert_int_equal(vipo_sampler_check(&vipo_sampler_ab2, &options, &schedule, T - 1, &error),
                         VIPO_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "expected 0 (never) or more"));
    }
}

int main(void)
{
    vipo_error error = {0};
    if (vipo_schedule_open(&schedule, T, &error) != VIPO_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),    cmocka_unit_test(test_linear),
        cmocka_unit_test(test_videos),      cmocka_unit_test(test_fallback_is_ddim),
        cmocka_unit_test(test_threshold),   cmocka_unit_test(test_videos_do_not_disturb_each_other),
        cmocka_unit_test(test_bad_options),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vipo_schedule_close(&schedule);
    return failed;
}
