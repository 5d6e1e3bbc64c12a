/* Sampling that starts below T - 1: which times are visited, and that what follows is the tail of the plain run. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "sampling/sampler.h"

enum { DIM = 24, T = 100, MOST_ROWS = 1000 };

static vipo_schedule schedule;

/* What a network was asked: row by row. */
typedef struct record {
    int rows;
    int t[MOST_ROWS];
    float x[MOST_ROWS][DIM];
    double first_total, last_total; /* progress */
} record;

/* Smooth and nonlinear, element by element. */
static vipo_status smooth_network(void *user, int rows, const int *video, const int *t, const float *x,
                                  float *v, vipo_error *error)
{
    (void)video, (void)error;
    record *log = user;
    for (int r = 0; r < rows; r++) {
        assert_true(log->rows < MOST_ROWS);
        log->t[log->rows] = t[r];
        memcpy(log->x[log->rows++], x + (size_t)r * DIM, DIM * sizeof *x);
        for (int i = 0; i < DIM; i++) {
            const float s = x[r * DIM + i];
            v[r * DIM + i] = sinf(1.3F * s + 0.04F * (float)t[r]) - 0.2F * s + 0.1F * (float)(i % 5);
        }
    }
    return VIPO_OK;
}

/* The exact v of a single video, whose element i is i / DIM - 0.5. */
static vipo_status one_video(void *user, int rows, const int *video, const int *t, const float *x, float *v,
                             vipo_error *error)
{
    (void)user, (void)video, (void)error;
    for (int r = 0; r < rows; r++) {
        const double alpha = vipo_schedule_alpha(&schedule, t[r]),
                     sigma = vipo_schedule_sigma(&schedule, t[r]);
        for (int i = 0; i < DIM; i++) /* x = alpha x0 + sigma eps, v = alpha eps - sigma x0 */
            v[r * DIM + i] = (float)((alpha * (double)x[r * DIM + i] - ((double)i / DIM - 0.5)) / sigma);
    }
    return VIPO_OK;
}

/* A noise that tells its step. */
static void draw(void *user, int step, int video, size_t dim, float *out)
{
    (void)user, (void)video;
    for (size_t i = 0; i < dim; i++) out[i] = test_uniform((uint64_t)step, i);
}

static void on_progress(void *user, const char *phase, double done, double total)
{
    (void)phase, (void)done;
    record *log = user;
    if (log->first_total == 0) log->first_total = total;
    log->last_total = total;
}

/* Runs from `x` at timestep `from`, in place. */
static void run_from(const vipo_sampler_options *options, int from,
                     vipo_status (*network)(void *, int, const int *, const int *, const float *, float *,
                                            vipo_error *),
                     float *x, record *log)
{
    const vipo_sampler *sampler;
    vipo_error error = {0};
    memset(log, 0, sizeof *log);
    assert_ok(vipo_sampler_find(&sampler, options->name, &error), &error);
    assert_ok(vipo_sampler_check(sampler, options, &schedule, from, &error), &error);
    float *memory =
        vipo_aligned_calloc(vipo_sampler_memory(sampler, options, &schedule, 1, DIM), sizeof *memory);
    assert_non_null(memory);
    const vipo_denoiser denoiser = {.user = log, .dim = DIM, .denoise = network};
    const vipo_callbacks callbacks = {.user = log, .progress = on_progress};
    vipo_sampling sampling = {.denoiser = &denoiser,
                              .schedule = &schedule,
                              .options = options,
                              .callbacks = &callbacks,
                              .noise = {.draw = draw},
                              .videos = 1,
                              .from = from,
                              .x = x,
                              .memory = memory};
    assert_ok(vipo_sampler_run(sampler, &sampling, &error), &error);
    assert_true(log->last_total == sampling.stats.evaluations);
    vipo_aligned_free(memory);
}

static void start(float *x)
{
    for (int i = 0; i < DIM; i++) x[i] = 2 * test_uniform(7, (uint64_t)i);
}

static vipo_sampler_options options_for(const char *name)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = name;
    options.threshold = 1e6;
    return options;
}

/* ---- times ------------------------------------------------------------------------------------------- */

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *sampler, *grid;
        int steps, from, n, times[16];
    } cases[] = {
        /* a time of the grid: its tail */
        {"ab2", NULL, 12, 99, 12, {99, 93, 84, 74, 63, 51, 40, 29, 19, 11, 5, 1}},
        {"ab2", NULL, 12, 40, 6, {40, 29, 19, 11, 5, 1}},
        {"ab2", NULL, 12, 1, 1, {1}},
        {"ddim", NULL, 10, 39, 4, {39, 29, 19, 9}},
        {"dpm-solver++", "s:1.7,1.15", 12, 29, 5, {29, 19, 11, 5, 1}},
        {"unipc", "uniform", 10, 9, 1, {9}},
        /* between 40 and 29, 11 apart: 29 follows if it is more than 5.5 away */
        {"ab2", NULL, 12, 39, 6, {39, 29, 19, 11, 5, 1}},
        {"ab2", NULL, 12, 35, 6, {35, 29, 19, 11, 5, 1}},
        {"ab2", NULL, 12, 34, 5, {34, 19, 11, 5, 1}},
        {"unipc", "s:1.7,1.15", 12, 30, 5, {30, 19, 11, 5, 1}},
        /* half a step exactly is too near */
        {"ddim", NULL, 10, 34, 3, {34, 19, 9}},
        {"ddim", NULL, 10, 35, 4, {35, 29, 19, 9}},
        /* the end stays however near it is */
        {"ab2", NULL, 12, 0, 1, {0}},
        {"ddim", NULL, 10, 0, 1, {0}},
        {"ddim", NULL, 1, 50, 1, {50}},
        {"ddim", NULL, 100, 3, 4, {3, 2, 1, 0}},
    };
    static record log;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        vipo_sampler_options options = options_for(cases[c].sampler);
        options.grid = cases[c].grid;
        options.steps = cases[c].steps;
        float x[DIM];
        start(x);
        run_from(&options, cases[c].from, smooth_network, x, &log);
        if (log.rows != cases[c].n || memcmp(log.t, cases[c].times, (size_t)cases[c].n * sizeof(int)) != 0)
            fail_msg("%s-%d from %d: %d times, %d %d ...", cases[c].sampler, cases[c].steps, cases[c].from,
                     log.rows, log.t[0], log.t[1]);
        assert_true(log.first_total == cases[c].n); /* progress knew it from the beginning */
    }
}

/* ---- tails ------------------------------------------------------------------------------------------- */

/* Samplers that keep nothing but the state: from any state of the plain run they come to its end. */
static void test_tails(void **state)
{
    (void)state;
    static record plain, tail;
    static const struct {
        const char *sampler;
        int steps, chunk, growth;
        vipo_chunk_rule rule;
    } cases[] = {{"ddim", 100, 6, 0, VIPO_CHUNK_FRESH},
                 {"ddim", 12, 6, 0, VIPO_CHUNK_FRESH},
                 {"ddpm", 0, 6, 0, VIPO_CHUNK_FRESH},
                 {"draft-target", 0, 1, 0, VIPO_CHUNK_FRESH},
                 {"draft-target", 0, 6, 0, VIPO_CHUNK_FRESH},
                 {"draft-target", 0, 4, 0, VIPO_CHUNK_REMAINDER},
                 {"draft-target-lazy", 0, 6, 0, VIPO_CHUNK_FRESH},
                 {"draft-target-lazy", 0, 3, 0, VIPO_CHUNK_REMAINDER}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        vipo_sampler_options options = options_for(cases[c].sampler);
        options.steps = cases[c].steps;
        options.chunk = cases[c].chunk;
        options.chunk_rule = cases[c].rule;
        const bool draft = strncmp(options.name, "draft", 5) == 0;
        float end[DIM], x[DIM];
        start(end);
        run_from(&options, T - 1, smooth_network, end, &plain);
        int tails = 0;
        for (int row = 0; row < plain.rows; row++) {
            /* drafted times hold drafts too; rounds begin after every `chunk` tokens, and the state there comes last */
            if (draft && (T - 1 - plain.t[row]) % (10 * options.chunk)) continue;
            bool last = true;
            for (int later = row + 1; later < plain.rows; later++)
                if (plain.t[later] == plain.t[row]) last = false;
            if (!last) continue;
            memcpy(x, plain.x[row], sizeof x);
            run_from(&options, plain.t[row], smooth_network, x, &tail);
            if (memcmp(x, end, sizeof x) != 0)
                fail_msg("%s (case %zu) from %d: off by %g", options.name, c, plain.t[row],
                         test_max_abs(x, end, DIM));
            tails++;
        }
        if (tails < (T + 10 * options.chunk - 1) / (10 * options.chunk) && draft)
            fail_msg("%s: %d tails", options.name, tails);
        if (!draft) assert_int_equal(tails, options.steps ? options.steps : T);
    }
}

/* A network that knows the video brings every sampler to it from every time. */
static void test_exact(void **state)
{
    (void)state;
    static record log;
    for (int i = 0; vipo_sampler_name(i); i++) {
        if (strcmp(vipo_sampler_name(i), "auto") == 0) continue; /* takes one of the others */
        const vipo_sampler_options options = options_for(vipo_sampler_name(i));
        const int stride = strncmp(options.name, "draft", 5) == 0 ? 10 : 1;
        for (int from = stride - 1; from < T; from += stride) {
            float x[DIM], video[DIM];
            start(x);
            for (int j = 0; j < DIM; j++) video[j] = (float)j / DIM - 0.5F;
            run_from(&options, from, one_video, x, &log);
            const double worst = test_max_abs(x, video, DIM);
            if (!(worst < 2e-4)) fail_msg("%s from %d: off by %g", options.name, from, worst);
        }
    }
}

/* ---- what can be asked for ------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sampler;
        int from;
        const char *message;
    } cases[] = {
        {"ab2", -1, "from step: -1, expected 0..99 (the model's timesteps)"},
        {"ddpm", 100, "from step: 100, expected 0..99 (the model's timesteps)"},
        {"draft-target", 35,
         "from step: 35, draft-target starts at its draft times only, the nearest are 29 and 39"},
        {"draft-target-lazy", 98,
         "from step: 98, draft-target-lazy starts at its draft times only, the nearest are 89 and 99"},
        {"draft-target", 3, "from step: 3, draft-target starts at its draft times only, the nearest is 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vipo_sampler *sampler;
        vipo_error error = {0};
        const vipo_sampler_options options = options_for(cases[i].sampler);
        assert_ok(vipo_sampler_find(&sampler, cases[i].sampler, &error), &error);
        assert_int_equal(vipo_sampler_check(sampler, &options, &schedule, cases[i].from, &error),
                         VIPO_INVALID_ARGUMENT);
        assert_string_equal(error.message, cases[i].message);
    }
}

static void test_nearest_start(void **state)
{
    (void)state;
    static const int cases[][2] = {{0, 9}, {9, 9}, {13, 9}, {14, 19}, {35, 39}, {34, 39}, {33, 29}, {99, 99}};
    vipo_sampler_options options = options_for("draft-target");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            vipo_sampler_nearest_start(&vipo_sampler_draft_target, &options, &schedule, cases[i][0]),
            cases[i][1]);
        assert_int_equal(vipo_sampler_nearest_start(&vipo_sampler_ab2, &options, &schedule, cases[i][0]),
                         cases[i][0]);
    }
    options.draft_stride = 0; /* refused by the check, but no reason to divide by it */
    vipo_sampler_nearest_start(&vipo_sampler_draft_target, &options, &schedule, 35);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *sampler, *grid;
        int steps, order, from;
        const char *name;
    } cases[] = {{"ab2", NULL, 0, 0, 99, "ab2-12"},
                 {"ab2", NULL, 0, 0, 35, "ab2-12 from 35"},
                 {"unipc", "s/1.7/1.15", 20, 3, 0, "unipc3-20 s:1.7:1.15 from 0"},
                 {"ddim", "uniform", 0, 0, 98, "ddim-100 from 98"}, /* the default, spelled out */
                 {"ddim", "s/1.7/1.5", 10, 0, 99, "ddim-10 s:1.7:1.5"},
                 {"unipc", "s/1.7/1.5", 12, 0, 99, "unipc2-12"},
                 {"ddpm", NULL, 0, 0, 39, "ddpm-100 from 39"},
                 {"draft-target", NULL, 0, 0, 99, "draft-target k=6 10/2 lambda=1e+06"},
                 {"draft-target-lazy", NULL, 0, 0, 39, "draft-target-lazy k=6 10/2 lambda=1e+06 from 39"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_sampler_options options = options_for(cases[i].sampler);
        options.grid = cases[i].grid;
        options.steps = cases[i].steps;
        options.order = cases[i].order;
        char text[sizeof(((vipo_plan *)0)->sampler)];
        const vipo_sampler *sampler;
        assert_int_equal(vipo_sampler_find(&sampler, cases[i].sampler, NULL), VIPO_OK);
        vipo_sampler_describe(sampler, &options, &schedule, cases[i].from, text, sizeof text);
        assert_string_equal(text, cases[i].name);
    }
    vipo_sampler_options options = options_for("draft-target");
    char text[sizeof(((vipo_plan *)0)->sampler)];
    options.threshold_growth += 1;
    options.draft_reuse = false;
    vipo_sampler_describe(&vipo_sampler_draft_target, &options, &schedule, 99, text, sizeof text);
    assert_non_null(strstr(text, "lambda=1e+06+2.5 no-reuse"));
    options = options_for("ab2");
    options.fallback = 0.03;
    vipo_sampler_describe(&vipo_sampler_ab2, &options, &schedule, 35, text, sizeof text);
    assert_string_equal(text, "ab2-12 fallback=0.03 from 35");
    /* the longest fits */
    options = options_for("draft-target-lazy");
    options.chunk = 10000;
    options.draft_stride = options.target_stride = 10000;
    options.threshold = options.threshold_growth = -1.23456e-12;
    options.chunk_rule = VIPO_CHUNK_REMAINDER;
    const vipo_schedule long_schedule = {.timesteps = 10000};
    vipo_sampler_describe(&vipo_sampler_draft_target_lazy, &options, &long_schedule, 9998, text, sizeof text);
    assert_string_equal(
        text, "draft-target-lazy k=10000 10000/10000 lambda=-1.23456e-12-1.23456e-12 remainder from 9998");
}

int main(void)
{
    vipo_error error = {0};
    if (vipo_schedule_open(&schedule, T, &error) != VIPO_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),   cmocka_unit_test(test_tails),         cmocka_unit_test(test_exact),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_nearest_start), cmocka_unit_test(test_names),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vipo_schedule_close(&schedule);
    return failed;
}
