/* Draft-and-Target Sampling on a scripted network: the exact identities and the calls/evaluations table. */
#include "support/sampling.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = TEST_SAMPLING_DIM, T = 100, VIDEOS = 3 };

typedef struct result {
    float x[VIDEOS * DIM];
    vipo_sampler_stats stats;
} result;

static vipo_schedule schedule;

static void run_with(const vipo_sampler *sampler, const vipo_sampler_options *options,
                     const vipo_denoiser *denoiser, const vipo_callbacks *callbacks, int videos, result *out)
{
    vipo_sampling sampling = {
        .denoiser = denoiser, .schedule = &schedule, .options = options, .callbacks = callbacks};
    out->stats = test_sample(sampler, &sampling, videos, out->x);
}

static result run(const vipo_sampler *sampler, const vipo_sampler_options *options)
{
    static const vipo_denoiser denoiser = {.dim = DIM, .denoise = test_smooth_network};
    result out = {.x = {0}};
    test_start(out.x, 1, 0);
    run_with(sampler, options, &denoiser, NULL, 1, &out);
    return out;
}

static vipo_sampler_options draft_target(int chunk, int tau, double threshold)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = "draft-target";
    options.chunk = chunk;
    options.target_stride = tau;
    options.threshold = threshold;
    options.threshold_growth = 0;
    return options;
}

static result ddim_on(const int *times, int steps)
{
    result out = {.x = {0}};
    float v[DIM];
    const int video = 0;
    test_start(out.x, 1, 0);
    for (int i = 0; i < steps; i++) {
        test_smooth_network(NULL, 1, &video, &times[i], out.x, v, NULL);
        vipo_ddim_step(&schedule, times[i], times[i + 1], DIM, out.x, v, out.x);
    }
    return out;
}

static void assert_same(const result *a, const result *b)
{
    assert_memory_equal(a->x, b->x, DIM * sizeof *a->x);
}

static void test_accept_all_is_ddim_on_a_fixed_grid(void **state)
{
    (void)state;
    static const int six[] = {99, 89, 79, 69, 59, 49, 47, 45, 43, 41, 39, 29, 19, 9, 7, 5, 3, 1, -1};
    const vipo_sampler_options options = draft_target(6, 2, 1e6);
    const result own = run(&vipo_sampler_draft_target, &options), grid = ddim_on(six, 18);
    assert_same(&own, &grid);
    assert_int_equal(own.stats.accepted, 10);
    static const int ten[] = {99, 89, 79, 69, 59, 49, 39, 29, 19, 9, 7, 5, 3, 1, -1};
    const vipo_sampler_options all = draft_target(10, 2, 1e6);
    const result one_round = run(&vipo_sampler_draft_target, &all), ten_grid = ddim_on(ten, 14);
    assert_same(&one_round, &ten_grid);
    assert_int_equal(one_round.stats.rounds, 1);
}

static void test_reject_all_is_fine_ddim(void **state)
{
    (void)state;
    for (int tau = 1; tau <= 2; tau++) {
        const vipo_sampler_options options = draft_target(6, tau, 0);
        vipo_sampler_options ddim = options;
        ddim.steps = T / tau;
        const result own = run(&vipo_sampler_draft_target, &options), fine = run(&vipo_sampler_ddim, &ddim);
        assert_same(&own, &fine);
        assert_int_equal(own.stats.accepted, 0);
    }
}

static void test_chunk_of_one_is_fine_ddim(void **state)
{
    (void)state;
    static const double thresholds[] = {0, 0.3, 1e6};
    for (int i = 0; i < 3; i++) {
        const vipo_sampler_options options = draft_target(1, 2, thresholds[i]);
        vipo_sampler_options ddim = options;
        ddim.steps = 50;
        const result own = run(&vipo_sampler_draft_target, &options), fine = run(&vipo_sampler_ddim, &ddim);
        assert_same(&own, &fine);
        assert_int_equal(own.stats.evaluations, 50);
    }
}

static void test_reuse_changes_nothing_but_the_cost(void **state)
{
    (void)state;
    for (int chunk = 1; chunk <= 10; chunk++)
        for (int i = 0; i < 6; i++) {
            vipo_sampler_options options = draft_target(chunk, i % 2 ? 2 : 5, 0.05 * i);
            options.threshold_growth = 0.02 * i;
            const result with = run(&vipo_sampler_draft_target, &options);
            options.draft_reuse = false;
            const result without = run(&vipo_sampler_draft_target, &options);
            assert_same(&with, &without);
            assert_int_equal(without.stats.calls - with.stats.calls, with.stats.rounds);
            assert_int_equal(without.stats.evaluations - with.stats.evaluations, with.stats.drafted);
        }
}

static void test_last_token_of_a_chunk_decides_nothing(void **state)
{
    (void)state;
    /* k = 2: the first rejection possible that matters is token 1's; whether token 2 is accepted must not */
    const vipo_sampler_options options = draft_target(10, 2, 1e6);
    vipo_sampler_options nearly = options;
    const result all = run(&vipo_sampler_draft_target, &options);
    /* find the distance of the last token by bisection over thresholds that accept exactly nine */
    for (double threshold = 1e-3; threshold < 100; threshold *= 1.02) {
        nearly.threshold = threshold;
        const result other = run(&vipo_sampler_draft_target, &nearly);
        if (other.stats.rounds == 1) assert_same(&all, &other);
    }
}

/* ---- scripted acceptance ---------------------------------------------------------------------------- */

typedef enum script { ACCEPT_ALL, REJECT_MIDDLE, REJECT_FIRST } script;

/* Rejects where the script says: between draft times, in the interval to be rejected, the network answers so that
 * the target moves away from the draft by about three thresholds (not so far that later rounds notice). Which interval that is follows from the round's first token. */
typedef struct scripted {
    script script;
    int chunk, stride;
    int token; /* where the present round began */
} scripted;

static vipo_status scripted_network(void *user, int rows, const int *video, const int *t, const float *x,
                                    float *v, vipo_error *error)
{
    (void)video, (void)x, (void)error;
    const scripted *s = user;
    const int left = T / s->stride - s->token, k = s->chunk < left ? s->chunk : left;
    const int rejected = s->script == REJECT_FIRST ? 0 : s->script == REJECT_MIDDLE ? k / 2 : k;
    for (int r = 0; r < rows; r++) {
        const int place = (T - 1 - t[r]) / s->stride - s->token;
        const bool inside = (T - 1 - t[r]) % s->stride != 0;
        for (int i = 0; i < DIM; i++) v[r * DIM + i] = inside && place == rejected ? 40.0F : 0;
    }
    return VIPO_OK;
}

static void follow(void *user, const char *line)
{
    json_t *event = json_loads(line, 0, NULL);
    assert_non_null(event);
    const json_t *next = json_object_get(event, "next_token");
    if (next) ((scripted *)user)->token = (int)json_integer_value(next);
    json_decref(event);
}

static void check_cost(int chunk, int tau, script what, bool reuse, int calls, int evaluations)
{
    scripted s = {.script = what, .chunk = chunk, .stride = 10};
    const vipo_denoiser denoiser = {.user = &s, .dim = DIM, .denoise = scripted_network};
    const vipo_callbacks callbacks = {.user = &s, .trace = follow};
    vipo_sampler_options options = draft_target(chunk, tau, 11);
    options.draft_reuse = reuse;
    result out = {.x = {0}};
    run_with(&vipo_sampler_draft_target, &options, &denoiser, &callbacks, 1, &out);
    if (out.stats.calls != calls || out.stats.evaluations != evaluations)
        fail_msg("k %d tau %d script %d reuse %d: %d/%d, expected %d/%d", chunk, tau, what, reuse,
                 out.stats.calls, out.stats.evaluations, calls, evaluations);
}

/* Calls / evaluations for one video of 10 tokens: accept all, a rejection in the middle of every chunk, reject
 * the first token of every chunk; each without and with draft reuse. */
static void test_cost_table(void **state)
{
    (void)state;
    static const struct {
        int chunk, tau, cost[3][2][2];
    } rows[] = {
        {2, 2, {{{35, 60}, {30, 50}}, {{35, 60}, {30, 50}}, {{69, 114}, {59, 95}}}},
        {4, 2, {{{25, 60}, {22, 50}}, {{33, 78}, {29, 65}}, {{84, 204}, {74, 170}}}},
        {6, 2, {{{20, 60}, {18, 50}}, {{29, 84}, {26, 70}}, {{95, 270}, {85, 225}}}},
        {8, 2, {{{20, 60}, {18, 50}}, {{30, 90}, {27, 75}}, {{102, 312}, {92, 260}}}},
        {10, 2, {{{15, 60}, {14, 50}}, {{30, 90}, {27, 75}}, {{105, 330}, {95, 275}}}},
        {6, 1, {{{30, 110}, {28, 100}}, {{44, 154}, {41, 140}}, {{145, 495}, {135, 450}}}},
        {6, 5, {{{14, 30}, {12, 20}}, {{20, 42}, {17, 28}}, {{65, 135}, {55, 90}}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int what = ACCEPT_ALL; what <= REJECT_FIRST; what++)
            for (int reuse = 0; reuse < 2; reuse++)
                check_cost(rows[i].chunk, rows[i].tau, (script)what, reuse, rows[i].cost[what][reuse][0],
                           rows[i].cost[what][reuse][1]);
}

/* ---- several videos ------------------------------------------------------------------------------------ */

static void test_videos_do_not_disturb_each_other(void **state)
{
    (void)state;
    static const vipo_denoiser denoiser = {.dim = DIM, .denoise = test_smooth_network};
    for (int chunk = 2; chunk <= 10; chunk += 2)
        for (int remainder = 0; remainder < 2; remainder++) {
            vipo_sampler_options options = draft_target(chunk, 2, 0.08);
            options.chunk_rule = remainder ? VIPO_CHUNK_REMAINDER : VIPO_CHUNK_FRESH;
            result together = {.x = {0}};
            test_start(together.x, VIDEOS, 0);
            run_with(&vipo_sampler_draft_target, &options, &denoiser, NULL, VIDEOS, &together);
            int evaluations = 0, rounds = 0;
            for (int video = 0; video < VIDEOS; video++) {
                /* the network knows videos by number, so a lone run of video i is a run of 1 + i with others ignored */
                result alone = {.x = {0}};
                test_start(alone.x, video + 1, 0);
                run_with(&vipo_sampler_draft_target, &options, &denoiser, NULL, video + 1, &alone);
                assert_memory_equal(alone.x + video * DIM, together.x + video * DIM, DIM * sizeof *alone.x);
                if (video == VIDEOS - 1) {
                    evaluations = alone.stats.evaluations;
                    rounds = alone.stats.rounds;
                }
            }
            assert_int_equal(evaluations, together.stats.evaluations);
            assert_int_equal(rounds, together.stats.rounds);
        }
}

static void test_bad_options(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_sampler_options options = draft_target(0, 2, 11);
    assert_int_equal(vipo_sampler_check(&vipo_sampler_draft_target, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    options = draft_target(6, 3, 11);
    assert_int_equal(vipo_sampler_check(&vipo_sampler_draft_target, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    options = draft_target(6, 2, 11);
    options.draft_stride = 30;
    assert_int_equal(vipo_sampler_check(&vipo_sampler_draft_target, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    options = draft_target(6, 2, NAN);
    assert_int_equal(vipo_sampler_check(&vipo_sampler_draft_target, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    options.steps = 101;
    assert_int_equal(vipo_sampler_check(&vipo_sampler_ddim, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "steps"));
    static const char *const bad_grids[] = {"",      "s",      "s:",      "s:1",   "s:1.7,", "s:1.7,1.5x",
                                            "s:0,1", "s:-1,2", "s:nan,1", "S:1,1", "even"};
    options.steps = 10;
    for (size_t i = 0; i < sizeof bad_grids / sizeof bad_grids[0]; i++) {
        options.grid = bad_grids[i];
        assert_int_equal(vipo_sampler_check(&vipo_sampler_ddim, &options, &schedule, T - 1, &error),
                         VIPO_INVALID_ARGUMENT);
    }
    options.grid = "s:1.7,1.5";
    options.steps = 60; /* more than such a grid has different timesteps */
    assert_int_equal(vipo_sampler_check(&vipo_sampler_ab2, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "room for"));
    options.steps = 12;
    options.order = 4;
    assert_int_equal(vipo_sampler_check(&vipo_sampler_unipc, &options, &schedule, T - 1, &error),
                     VIPO_INVALID_ARGUMENT);
    const vipo_sampler *sampler;
    assert_int_equal(vipo_sampler_find(&sampler, "euler", &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "draft-target"));
}

static vipo_status broken_network(void *user, int rows, const int *video, const int *t, const float *x,
                                  float *v, vipo_error *error)
{
    test_smooth_network(user, rows, video, t, x, v, error);
    if (t[0] < 50) v[5] = NAN;
    return VIPO_OK;
}

static void test_a_network_that_breaks_down(void **state)
{
    (void)state;
    vipo_error error = {0};
    const vipo_denoiser denoiser = {.dim = DIM, .denoise = broken_network};
    vipo_sampler_options options = draft_target(6, 2, 11);
    options.steps = 10;
    float x[DIM], memory[DIM];
    test_start(x, 1, 0);
    vipo_sampling sampling = {.denoiser = &denoiser,
                              .schedule = &schedule,
                              .options = &options,
                              .videos = 1,
                              .from = T - 1,
                              .x = x,
                              .memory = memory};
    assert_int_equal(vipo_sampler_run(&vipo_sampler_ddim, &sampling, &error), VIPO_NUMERIC);
    assert_non_null(strstr(error.message, "t = 49"));
}

int main(void)
{
    vipo_error error = {0};
    if (vipo_schedule_open(&schedule, T, &error) != VIPO_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_all_is_ddim_on_a_fixed_grid),
        cmocka_unit_test(test_reject_all_is_fine_ddim),
        cmocka_unit_test(test_chunk_of_one_is_fine_ddim),
        cmocka_unit_test(test_reuse_changes_nothing_but_the_cost),
        cmocka_unit_test(test_last_token_of_a_chunk_decides_nothing),
        cmocka_unit_test(test_cost_table),
        cmocka_unit_test(test_videos_do_not_disturb_each_other),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_a_network_that_breaks_down),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vipo_schedule_close(&schedule);
    return failed;
}
