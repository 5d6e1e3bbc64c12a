/* draft-target-lazy: its decisions, their calibration, and the verification of both, on networks of known truth. */
#include "support/sampling.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { DIM = TEST_SAMPLING_DIM, T = 100, VIDEOS = 3, TOKENS = 10, MAX_ROUNDS = 32 };

static vipo_schedule schedule;

/* A round as the trace tells it. */
typedef struct lazy_round {
    int video, start_token, k, n, advance, accepted;
    double threshold, distances[TOKENS], true_distances[TOKENS];
    bool verified;
} lazy_round;

typedef struct result {
    float x[VIDEOS * DIM];
    vipo_sampler_stats stats;
    int n_rounds;
    lazy_round rounds[MAX_ROUNDS];
} result;

static int integer(const json_t *event, const char *key)
{
    return (int)json_integer_value(json_object_get(event, key));
}

static void follow(void *user, const char *line)
{
    result *out = user;
    json_t *event = json_loads(line, 0, NULL);
    assert_non_null(event);
    assert_string_equal(json_string_value(json_object_get(event, "event")), "round");
    assert_true(out->n_rounds < MAX_ROUNDS);
    const json_t *distances = json_object_get(event, "distances"),
                 *truth = json_object_get(event, "true_distances");
    lazy_round *r = &out->rounds[out->n_rounds++];
    *r = (lazy_round){.video = integer(event, "video"),
                      .start_token = integer(event, "start_token"),
                      .k = integer(event, "k"),
                      .n = (int)json_array_size(distances),
                      .advance = integer(event, "advance"),
                      .accepted = integer(event, "accepted"),
                      .threshold = json_real_value(json_object_get(event, "threshold")),
                      .verified = truth != NULL};
    if (truth) assert_int_equal(json_array_size(truth), r->n);
    for (int i = 0; i < r->n; i++) {
        r->distances[i] = json_real_value(json_array_get(distances, (size_t)i));
        if (truth) r->true_distances[i] = json_real_value(json_array_get(truth, (size_t)i));
    }
    json_decref(event);
}

static result run_on(const vipo_sampler *sampler, const vipo_sampler_options *options,
                     const vipo_denoiser *denoiser, const double *ratios, int videos)
{
    result out = {.n_rounds = 0};
    const vipo_callbacks callbacks = {.user = &out, .trace = follow};
    vipo_sampling sampling = {.denoiser = denoiser,
                              .schedule = &schedule,
                              .options = options,
                              .callbacks = &callbacks,
                              .lazy_ratios = ratios,
                              .n_lazy_ratios = ratios ? TOKENS - 1 : 0};
    test_start(out.x, videos, 0);
    out.stats = test_sample(sampler, &sampling, videos, out.x);
    return out;
}

static const vipo_denoiser smooth = {.dim = DIM, .denoise = test_smooth_network};

static result run(const vipo_sampler *sampler, const vipo_sampler_options *options)
{
    return run_on(sampler, options, &smooth, NULL, 1);
}

static vipo_sampler_options lazy_options(int chunk, int tau, double threshold)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = "draft-target-lazy";
    options.chunk = chunk;
    options.target_stride = tau;
    options.threshold = threshold;
    options.threshold_growth = 0;
    return options;
}

static void assert_same(const result *a, const result *b, int videos)
{
    assert_memory_equal(a->x, b->x, (size_t)(videos * DIM) * sizeof *a->x);
}

/* ---- decisions ------------------------------------------------------------------------------------------------ */

/* The estimate takes the paper's decisions on this smooth network, at a third of the cost; accept-all and reject-all
 * are exact. */
static void test_decisions(void **state)
{
    (void)state;
    static const double thresholds[] = {1e6, 0};
    for (int i = 0; i < 2; i++)
        for (int chunk = 1; chunk <= 10; chunk++) {
            const vipo_sampler_options options = lazy_options(chunk, 2, thresholds[i]);
            const result lazy = run(&vipo_sampler_draft_target_lazy, &options);
            const result full = run(&vipo_sampler_draft_target, &options);
            assert_same(&lazy, &full, 1);
            assert_int_equal(lazy.stats.rounds, full.stats.rounds);
            assert_int_equal(lazy.stats.calls, lazy.stats.evaluations);
            assert_int_equal(lazy.stats.verified, 0);
            assert_false(lazy.rounds[0].verified);
        }
    const vipo_sampler_options six = lazy_options(6, 2, 1e6), ten = lazy_options(10, 2, 1e6);
    assert_int_equal(run(&vipo_sampler_draft_target_lazy, &six).stats.evaluations, 18);
    assert_int_equal(run(&vipo_sampler_draft_target_lazy, &ten).stats.evaluations, 14);
    int agree = 0, runs = 0;
    for (int chunk = 2; chunk <= 10; chunk++)
        for (double threshold = 0.02; threshold < 1; threshold *= 1.3, runs++) {
            const vipo_sampler_options options = lazy_options(chunk, 2, threshold);
            const result lazy = run(&vipo_sampler_draft_target_lazy, &options);
            const result full = run(&vipo_sampler_draft_target, &options);
            agree += memcmp(lazy.x, full.x, DIM * sizeof *lazy.x) == 0;
            assert_true(lazy.stats.evaluations < full.stats.evaluations);
        }
    print_message("lazy decisions: %d of %d runs take the same way\n", agree, runs);
    assert_true(agree * 2 > runs);
}

static void test_videos_do_not_disturb_each_other(void **state)
{
    (void)state;
    for (int verify = 0; verify < 2; verify++) {
        vipo_sampler_options options = lazy_options(6, 2, 0.08);
        options.verify = verify != 0;
        const result together = run_on(&vipo_sampler_draft_target_lazy, &options, &smooth, NULL, VIDEOS);
        for (int videos = 1; videos < VIDEOS; videos++) {
            const result fewer = run_on(&vipo_sampler_draft_target_lazy, &options, &smooth, NULL, videos);
            assert_same(&fewer, &together, videos);
        }
    }
}

/* ---- verification --------------------------------------------------------------------------------------------- */

static void test_verification_changes_nothing(void **state)
{
    (void)state;
    int verified = 0;
    for (int videos = 1; videos <= VIDEOS; videos += 2)
        for (int chunk = 1; chunk <= 10; chunk++)
            for (double threshold = 0.02; threshold < 2; threshold *= 2) {
                vipo_sampler_options options = lazy_options(chunk, chunk % 2 ? 2 : 5, threshold);
                options.threshold_growth = 0.01 * chunk;
                options.chunk_rule = chunk % 3 ? VIPO_CHUNK_FRESH : VIPO_CHUNK_REMAINDER;
                const result without =
                    run_on(&vipo_sampler_draft_target_lazy, &options, &smooth, NULL, videos);
                options.verify = true;
                const result with = run_on(&vipo_sampler_draft_target_lazy, &options, &smooth, NULL, videos);
                assert_same(&with, &without, videos);
                assert_int_equal(with.stats.calls, without.stats.calls);
                assert_int_equal(with.stats.evaluations, without.stats.evaluations);
                assert_int_equal(with.stats.rounds, without.stats.rounds);
                assert_int_equal(with.stats.drafted, without.stats.drafted);
                assert_int_equal(with.stats.accepted, without.stats.accepted);
                assert_int_equal(with.n_rounds, without.n_rounds);
                int decisions = 0, agreed = 0;
                for (int i = 0; i < with.n_rounds; i++) {
                    const lazy_round *r = &with.rounds[i];
                    assert_int_equal(r->n, without.rounds[i].n);
                    assert_memory_equal(r->distances, without.rounds[i].distances, sizeof r->distances);
                    assert_false(without.rounds[i].verified);
                    for (int j = 0; j < r->n; j++, decisions++)
                        agreed += (r->distances[j] <= r->threshold) == (r->true_distances[j] <= r->threshold);
                }
                assert_int_equal(with.stats.verified, decisions);
                assert_int_equal(with.stats.agreed, agreed);
                const int small_steps = 10 / options.target_stride;
                assert_int_equal(with.stats.verify_evaluations, decisions * (small_steps - 1));
                assert_int_equal(without.stats.verify_calls + without.stats.verified, 0);
                verified += decisions;
            }
    assert_true(verified > 500);
}

/* The true distances are those that draft-target computes, bit for bit. */
static void test_true_distances(void **state)
{
    (void)state;
    for (int chunk = 2; chunk <= 10; chunk++) {
        vipo_sampler_options options = lazy_options(chunk, 2, 1e6);
        options.verify = true;
        const result lazy = run(&vipo_sampler_draft_target_lazy, &options);
        const result full = run(&vipo_sampler_draft_target, &options);
        assert_int_equal(lazy.n_rounds, full.n_rounds);
        for (int i = 0; i < lazy.n_rounds; i++) {
            assert_int_equal(lazy.rounds[i].n, full.rounds[i].n - 1);
            assert_true(lazy.rounds[i].n == 0 || lazy.rounds[i].verified);
            for (int j = 0; j < lazy.rounds[i].n; j++)
                assert_true(lazy.rounds[i].true_distances[j] == full.rounds[i].distances[j]);
        }
        assert_int_equal(lazy.stats.agreed, lazy.stats.verified);
    }
    /* the rejected draft's too: it is the last of the list */
    vipo_sampler_options options = lazy_options(6, 2, 1e-6);
    options.verify = true;
    const result lazy = run(&vipo_sampler_draft_target_lazy, &options);
    const result full = run(&vipo_sampler_draft_target, &options);
    assert_int_equal(lazy.n_rounds, TOKENS);
    for (int i = 0; i < TOKENS - 1; i++) {
        assert_int_equal(lazy.rounds[i].n, 1);
        assert_true(lazy.rounds[i].true_distances[0] == full.rounds[i].distances[0]);
    }
    assert_int_equal(lazy.stats.verified, TOKENS - 1);
    assert_int_equal(lazy.stats.agreed, TOKENS - 1);
}

/* ---- known truth ---------------------------------------------------------------------------------------------- */

/* v = 0, so that every step is x' = cos(h) x; but between the draft times of interval `wild` (-1: none) v is 40, which
 * drafts, and so estimates, never see. */
typedef struct script {
    int wild;
} script;

static vipo_status scripted_network(void *user, int rows, const int *video, const int *t, const float *x,
                                    float *v, vipo_error *error)
{
    (void)video, (void)x, (void)error;
    const script *s = user;
    for (int r = 0; r < rows; r++) {
        const bool inside = (T - 1 - t[r]) % 10 != 0 && (T - 1 - t[r]) / 10 == s->wild;
        for (int i = 0; i < DIM; i++) v[r * DIM + i] = inside ? 40.0F : 0;
    }
    return VIPO_OK;
}

static double angle(int t)
{
    return vipo_schedule_angle(&schedule, t);
}

/* Estimates and true distances of tokens 1 ... 9 of the script without a wild interval, all drafts accepted. */
static void expected_distances(double *estimates, double *truth)
{
    float x[DIM];
    double norm = 0;
    test_start(x, 1, 0);
    for (int i = 0; i < DIM; i++) norm += (double)x[i] * (double)x[i];
    norm = sqrt(norm);
    for (int i = 0; i < TOKENS - 1; i++) {
        const int t = T - 1 - 10 * i;
        const double h = angle(t - 10) - angle(t);
        double small = 1;
        for (int m = 0; m < 5; m++) small *= cos(angle(t - 2 * m - 2) - angle(t - 2 * m));
        /* v at the end is 0, the turning v would be -sin(h) x */
        estimates[i] = 0.8 * tan(fabs(h) / 2) * fabs(sin(h)) * norm;
        truth[i] = fabs(small - cos(h)) * norm;
        norm *= cos(h);
    }
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-5 * fabs(expected))) fail_msg("%.9g, expected %.9g", value, expected);
}

static void test_known_distances(void **state)
{
    (void)state;
    script s = {.wild = -1};
    const vipo_denoiser denoiser = {.user = &s, .dim = DIM, .denoise = scripted_network};
    double estimates[TOKENS], truth[TOKENS];
    expected_distances(estimates, truth);
    vipo_sampler_options options = lazy_options(10, 2, 1e6);
    options.verify = true;
    const result own = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, NULL, 1);
    assert_int_equal(own.n_rounds, 1);
    assert_int_equal(own.rounds[0].n, TOKENS - 1);
    for (int i = 0; i < TOKENS - 1; i++) {
        assert_near(own.rounds[0].distances[i], estimates[i]);
        assert_true(fabs(own.rounds[0].true_distances[i] - truth[i]) < 1e-5 * (truth[0] + truth[i]));
    }
    assert_int_equal(own.stats.verify_calls, 4);
    assert_int_equal(own.stats.verify_evaluations, 4 * 9);
}

/* Decisions against the truth, as many as the script says. */
static void test_agreement(void **state)
{
    (void)state;
    vipo_sampler_options options = lazy_options(6, 2, 3);
    options.verify = true;
    for (int wild = -1; wild < TOKENS; wild++) {
        script s = {.wild = wild};
        const vipo_denoiser denoiser = {.user = &s, .dim = DIM, .denoise = scripted_network};
        const result own = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, NULL, 1);
        /* tokens 1 ... 5 and 7 ... 9 are judged; a wild one is accepted against the truth. Token 6 (interval 5) is
         * refined, which makes the state large: what follows is judged by other distances. */
        const bool judged = wild >= 0 && wild != 5 && wild != 9;
        assert_int_equal(own.rounds[0].n, 5);
        assert_int_equal(own.rounds[0].accepted, 6);
        if (wild == 5) continue;
        assert_int_equal(own.n_rounds, 2);
        assert_int_equal(own.stats.verified, 8);
        assert_int_equal(own.stats.verify_calls, 8);
        assert_int_equal(own.stats.verify_evaluations, 8 * 4);
        assert_int_equal(own.stats.agreed, judged ? 7 : 8);
        for (int r = 0; r < 2; r++)
            for (int i = 0; i < own.rounds[r].n; i++) {
                assert_true(own.rounds[r].distances[i] <= 3);
                assert_int_equal(own.rounds[r].true_distances[i] > 3, own.rounds[r].start_token + i == wild);
            }
    }
}

/* ---- calibration ---------------------------------------------------------------------------------------------- */

/* Estimates are divided by the ratio of their token, counted from the start of the video. */
static void test_ratios(void **state)
{
    (void)state;
    static const double ratios[TOKENS - 1] = {1.01, 0.98, 1.04, 0.79, 0.69, 1.28, 0.89, 1.17, 1.53};
    script s = {.wild = -1};
    const vipo_denoiser denoiser = {.user = &s, .dim = DIM, .denoise = scripted_network};
    double estimates[TOKENS], truth[TOKENS];
    expected_distances(estimates, truth);
    for (int chunk = 2; chunk <= 10; chunk += 4) {
        const vipo_sampler_options options = lazy_options(chunk, 2, 1e6);
        const result plain = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, NULL, 1);
        const result own = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, ratios, 1);
        assert_same(&own, &plain, 1);
        assert_int_equal(own.n_rounds, plain.n_rounds);
        for (int r = 0; r < own.n_rounds; r++)
            for (int i = 0; i < own.rounds[r].n; i++) {
                const int token = own.rounds[r].start_token + i;
                assert_true(fabs(own.rounds[r].distances[i] * ratios[token] / plain.rounds[r].distances[i] -
                                 1) < 1e-14);
                if (chunk == 10) assert_near(own.rounds[r].distances[i], estimates[token] / ratios[token]);
            }
    }
}

/* A ratio turns an acceptance into a rejection and a rejection into an acceptance. */
static void test_ratios_decide(void **state)
{
    (void)state;
    script s = {.wild = -1};
    const vipo_denoiser denoiser = {.user = &s, .dim = DIM, .denoise = scripted_network};
    double estimates[TOKENS], truth[TOKENS], ratios[TOKENS - 1], largest = 0;
    expected_distances(estimates, truth);
    for (int i = 0; i < TOKENS - 1; i++) largest = fmax(largest, estimates[i]);
    for (int token = 0; token < TOKENS - 1; token++) {
        for (int i = 0; i < TOKENS - 1; i++) ratios[i] = 1;
        vipo_sampler_options options = lazy_options(10, 2, 1.1 * largest);
        options.verify = true;
        const result accepted = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, ratios, 1);
        assert_int_equal(accepted.n_rounds, 1);
        assert_int_equal(accepted.stats.agreed, TOKENS - 1);
        ratios[token] = estimates[token] / (1.2 * largest); /* its estimate becomes 1.2 largest */
        const result rejected = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, ratios, 1);
        assert_int_equal(rejected.rounds[0].advance, token + 1);
        assert_int_equal(rejected.rounds[0].accepted, token);
        assert_int_equal(rejected.rounds[0].n, token + 1);
        assert_near(rejected.rounds[0].distances[token], 1.2 * largest);
        assert_int_equal(rejected.stats.agreed, rejected.stats.verified - 1); /* this one is wrong now */
        /* and back: a threshold below this token's estimate, ratios that lift it for all */
        options.threshold = 0.5 * estimates[token];
        const result refused = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, NULL, 1);
        assert_true(refused.rounds[0].advance <= token + 1);
        for (int i = 0; i < TOKENS - 1; i++) ratios[i] = estimates[i] / (0.4 * estimates[token]);
        const result lifted = run_on(&vipo_sampler_draft_target_lazy, &options, &denoiser, ratios, 1);
        assert_int_equal(lifted.n_rounds, 1);
    }
}

int main(void)
{
    vipo_error error = {0};
    if (vipo_schedule_open(&schedule, T, &error) != VIPO_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_videos_do_not_disturb_each_other),
        cmocka_unit_test(test_verification_changes_nothing),
        cmocka_unit_test(test_true_distances),
        cmocka_unit_test(test_known_distances),
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_ratios),
        cmocka_unit_test(test_ratios_decide),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vipo_schedule_close(&schedule);
    return failed;
}
