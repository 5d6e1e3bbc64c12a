/* Timing methods: which is taken, what is computed, how often. */
#include <math.h>
#include <string.h>

#include "support/scripted_ops.h"

/* 589824 products of the plain method for each of 448 pixels: 264 million in all. */
static const vipo_layer small = {VIPO_WEIGHT_3X3, 256, 256, 7, 8, 8, false};
static const double millions = 256.0 * 256 * 9 * 448 * 1e-6;

static int setup(void **state)
{
    vipo_error error = {0};
    assert_ok(vipo_pool_open((vipo_pool **)state, 2, &error), &error);
    return 0;
}

static int teardown(void **state)
{
    vipo_pool_close((vipo_pool **)state);
    return 0;
}

static vipo_choice tune_with(vipo_pool *pool, const vipo_layer *layer, size_t weight_bytes)
{
    vipo_choice choice = {.layer = *layer, .uses = 3};
    vipo_error error = {0};
    const vipo_tuner tuner = {.ops = &scripted_ops,
                              .pool = pool,
                              .weight_bytes = weight_bytes,
                              .cache_bytes = 1 << 16,
                              .clock = &scripted_clock};
    assert_ok(vipo_tuner_run(&tuner, &choice, 1, &error), &error);
    assert_int_equal(choice.uses, 3);
    return choice;
}

static vipo_choice tune(vipo_pool *pool, const vipo_layer *layer)
{
    return tune_with(pool, layer, 0);
}

static void test_the_fastest(void **state)
{
    static const struct {
        double seconds[VIPO_METHODS];
        vipo_method expected;
    } cases[] = {
        {{3, 2, 1}, VIPO_METHOD_WINOGRAD_4},
        {{3, 1, 2}, VIPO_METHOD_WINOGRAD_2},
        {{1, 2, 3}, VIPO_METHOD_DIRECT},
        /* more weights must bring 3 % */
        {{1.02, 1, 1}, VIPO_METHOD_DIRECT},
        {{1.1, 1.02, 1}, VIPO_METHOD_WINOGRAD_2},
        {{1.1, 1.04, 1}, VIPO_METHOD_WINOGRAD_4},
        {{1, 1, 1}, VIPO_METHOD_DIRECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double *s = cases[i].seconds;
        scripted_reset(1e-6 * s[0], 1e-6 * s[1], 1e-6 * s[2]);
        const vipo_choice choice = tune(*state, &small);
        assert_int_equal(choice.method, cases[i].expected);
        for (int m = 0; m < SCRIPTED_METHODS; m++)
            assert_true(fabs(choice.seconds[m] / (1e-6 * s[m] * millions) - 1) < 1e-6);
        assert_int_equal(scripted.packs, 3);
    }
}

/* The order of weights, not of methods. */
static void test_least_weights(void **state)
{
    scripted_reset(1e-6, 1e-6, 1e-6);
    scripted.floats[VIPO_METHOD_WINOGRAD_2] = 4;
    assert_int_equal(tune(*state, &small).method, VIPO_METHOD_WINOGRAD_2);
}

static void test_unknown_methods(void **state)
{
    scripted_reset(3e-6, 2e-6, 1e-6);
    scripted.knows[VIPO_METHOD_WINOGRAD_4] = false;
    const vipo_choice choice = tune(*state, &small);
    assert_int_equal(choice.method, VIPO_METHOD_WINOGRAD_2);
    assert_int_equal(scripted.calls[VIPO_METHOD_WINOGRAD_4], 0);
    assert_true(choice.seconds[VIPO_METHOD_WINOGRAD_4] == 0);
    const vipo_tuner nothing = {.ops = &scripted_ops, .pool = *state};
    assert_int_equal(vipo_tuner_run(&nothing, NULL, 0, NULL), VIPO_OK);
}

/* What takes more than 1.5 times the best time is left alone: after two calls if they are short, else after one. */
static void test_hopeless_methods(void **state)
{
    scripted_reset(1.6e-6, 1.4e-6, 1e-6);
    tune(*state, &small);
    assert_int_equal(scripted.calls[VIPO_METHOD_DIRECT], 2);
    assert_true(scripted.calls[VIPO_METHOD_WINOGRAD_2] > 6);
    assert_int_equal(scripted.calls[VIPO_METHOD_WINOGRAD_2], scripted.calls[VIPO_METHOD_WINOGRAD_4]);
    scripted_reset(4e-4, 1e-4, 1e-5);
    tune(*state, &small);
    assert_int_equal(scripted.calls[VIPO_METHOD_DIRECT], 1);
    assert_int_equal(scripted.calls[VIPO_METHOD_WINOGRAD_2], 1);
    assert_int_equal(scripted.calls[VIPO_METHOD_WINOGRAD_4], 2);
    /* calls of 26 ms: once to look, and the least number of rounds */
    scripted_reset(1e-4, 1e-4, 1e-4);
    tune(*state, &small);
    assert_int_equal(scripted.calls[VIPO_METHOD_DIRECT], 3);
    assert_int_equal(scripted.calls[VIPO_METHOD_WINOGRAD_4], 3);
}

/* A machine that has other things to do as well. */
static void test_interrupted_calls(void **state)
{
    scripted_reset(1e-6, 2e-6, 3e-6);
    scripted.disturbed = 3;
    vipo_choice choice = tune(*state, &small);
    assert_int_equal(choice.method, VIPO_METHOD_DIRECT);
    assert_true(fabs(choice.seconds[VIPO_METHOD_DIRECT] / (1e-6 * millions) - 1) < 1e-6);
    /* always: no end of repeats, and the choice is made from what there is */
    scripted_reset(1e-6, 2e-6, 3e-6);
    scripted.disturbed = 1000;
    choice = tune(*state, &small);
    assert_int_equal(choice.method, VIPO_METHOD_DIRECT);
    assert_true(scripted.disturbed > 800);
}

static void assert_map(const vipo_map *map, int frames, int height, int width, int channels)
{
    assert_non_null(map->data);
    assert_int_equal(map->samples, 1);
    assert_int_equal(map->frames, frames);
    assert_int_equal(map->height, height);
    assert_int_equal(map->width, width);
    assert_int_equal(map->channels, channels);
}

/* Layers are computed as the networks use them. */
static void test_surroundings(void **state)
{
    const vipo_layer three = {VIPO_WEIGHT_3X3, 8, 12, 7, 6, 4, false};
    scripted_reset(1e-6, 2e-6, 3e-6);
    tune(*state, &three);
    const vipo_conv_space *s = &scripted.space;
    assert_map(&s->in[0], 7, 6, 4, 8);
    assert_map(&s->out, 7, 6, 4, 12);
    assert_int_equal(s->n_in, 1);
    assert_true(s->silu && !s->norm.per_frame);
    assert_non_null(s->norm.scale);
    assert_non_null(s->norm.shift);
    assert_true(scripted.plausible);

    const vipo_layer up = {VIPO_WEIGHT_3X3_UPSAMPLE2, 12, 8, 3, 6, 4, false};
    scripted_reset(1e-6, 2e-6, 3e-6);
    tune(*state, &up);
    assert_map(&s->in[0], 3, 6, 4, 12);
    assert_map(&s->out, 3, 12, 8, 8);
    assert_true(!s->silu && !s->norm.scale);

    const vipo_layer down = {VIPO_WEIGHT_3X3_STRIDE2, 8, 8, 3, 7, 5, false};
    tune(*state, &down);
    assert_map(&s->out, 3, 4, 3, 8);

    const vipo_layer time = {VIPO_WEIGHT_TIME, 12, 8, 7, 6, 4, false};
    tune(*state, &time);
    const vipo_conv_time *t = &scripted.time;
    assert_map(&t->in, 7, 6, 4, 12);
    assert_map(&t->residual, 7, 6, 4, 8);
    assert_map(&t->out, 7, 6, 4, 8);
    assert_true(t->residual.data != t->out.data);
    assert_non_null(t->out.stats);
    assert_non_null(t->embedding);
    assert_int_equal(t->embedding_stride, 8);
    assert_int_equal(t->n_skip, 0);
    assert_true(scripted.plausible);
}

/* Of large maps a part is computed, and the times are those of the whole. */
static void test_parts(void **state)
{
    const vipo_layer large = {VIPO_WEIGHT_3X3, 64, 64, 7, 256, 256, false};
    const double products = 64.0 * 64 * 9 * 7 * 256 * 256 * 1e-6;
    scripted_reset(3e-9, 2e-9, 1e-9);
    vipo_choice choice = tune(*state, &large);
    const vipo_map *in = &scripted.space.in[0];
    assert_int_equal(in->frames, 1);
    assert_true(in->height < 256 && in->height % 8 == 0 && in->height * in->width >= 4096);
    assert_int_equal(in->width, 256);
    for (int m = 0; m < SCRIPTED_METHODS; m++)
        assert_true(fabs(choice.seconds[m] / ((3 - m) * 1e-9 * products) - 1) < 1e-6);

    const vipo_layer frames = {VIPO_WEIGHT_3X3, 512, 512, 7, 32, 32, false};
    tune(*state, &frames);
    assert_map(in, 4, 32, 32, 512);

    const vipo_layer time = {VIPO_WEIGHT_TIME, 128, 128, 7, 128, 128, false};
    tune(*state, &time);
    assert_int_equal(scripted.time.in.frames, 7);
    assert_true(scripted.time.in.height < 128);

    tune(*state, &small);
    assert_map(in, 7, 8, 8, 256);
}

/* Weights of other layers go through the caches in between: nothing to see but the time, which is not counted. */
static void test_sweeps(void **state)
{
    scripted_reset(1e-6, 2e-6, 3e-6);
    scripted.floats[VIPO_METHOD_WINOGRAD_4] = 1 << 20;
    const vipo_choice choice = tune_with(*state, &small, 1 << 22);
    assert_true(fabs(choice.seconds[VIPO_METHOD_DIRECT] / (1e-6 * millions) - 1) < 1e-6);
    assert_int_equal(choice.method, VIPO_METHOD_DIRECT);
}

typedef struct watch {
    int steps, cancel_at;
    double done, total;
} watch;

static void on_progress(void *user, const char *phase, double done, double total)
{
    watch *w = user;
    assert_string_equal(phase, "tune");
    w->steps++;
    w->done = done;
    w->total = total;
}

static bool on_cancelled(void *user)
{
    watch *w = user;
    return w->cancel_at > 0 && --w->cancel_at == 0;
}

static void test_progress_and_cancelling(void **state)
{
    vipo_choice choices[3];
    vipo_error error = {0};
    for (int at = 0; at < 60; at += 7) {
        watch w = {.cancel_at = at};
        const vipo_callbacks callbacks = {.user = &w, .progress = on_progress, .cancelled = on_cancelled};
        const vipo_tuner tuner = {
            .ops = &scripted_ops, .pool = *state, .callbacks = &callbacks, .clock = &scripted_clock};
        scripted_reset(1e-6, 1e-6, 1e-6);
        for (int i = 0; i < 3; i++) choices[i] = (vipo_choice){.layer = small};
        const vipo_status status = vipo_tuner_run(&tuner, choices, 3, &error);
        if (at > 0) {
            assert_int_equal(status, VIPO_CANCELLED);
            continue;
        }
        assert_ok(status, &error);
        assert_int_equal(w.steps, 4);
        assert_true(w.done == 3 && w.total == 3);
    }
}

/* Real kernels and the real clock: some method that the table knows, and times above 0. */
static void test_real_kernels(void **state)
{
    const vipo_layer layers[] = {{VIPO_WEIGHT_3X3, 32, 48, 3, 20, 12, false},
                                 {VIPO_WEIGHT_3X3, 3, 32, 2, 8, 8, false},
                                 {VIPO_WEIGHT_3X3_UPSAMPLE2, 32, 32, 3, 10, 6, false},
                                 {VIPO_WEIGHT_3X3_STRIDE2, 32, 32, 3, 9, 7, false},
                                 {VIPO_WEIGHT_TIME, 32, 32, 7, 10, 6, false}};
    enum { LAYERS = sizeof layers / sizeof layers[0] };
    for (int i = 0; vipo_ops_available(i); i++) {
        const vipo_ops *ops = vipo_ops_available(i);
        const vipo_tuner tuner = {
            .ops = ops, .pool = *state, .weight_bytes = 1 << 20, .cache_bytes = 1 << 16};
        vipo_choice choices[LAYERS];
        vipo_error error = {0};
        for (int k = 0; k < LAYERS; k++) choices[k] = (vipo_choice){.layer = layers[k]};
        assert_ok(vipo_tuner_run(&tuner, choices, LAYERS, &error), &error);
        for (int k = 0; k < LAYERS; k++) {
            assert_true(ops->knows(&layers[k], choices[k].method));
            for (int m = 0; m < VIPO_METHODS; m++)
                assert_true((choices[k].seconds[m] > 0) == ops->knows(&layers[k], (vipo_method)m));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_fastest),
        cmocka_unit_test(test_least_weights),
        cmocka_unit_test(test_unknown_methods),
        cmocka_unit_test(test_hopeless_methods),
        cmocka_unit_test(test_interrupted_calls),
        cmocka_unit_test(test_surroundings),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_progress_and_cancelling),
        cmocka_unit_test(test_real_kernels),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
