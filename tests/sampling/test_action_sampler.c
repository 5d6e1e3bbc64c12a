/* Samplers of action sequences: diffusers' recorded tables and steps, closed forms, bad arguments. */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampling/action_sampler.h"

enum { T = 100, SIZE = 16 * 7 };

static vipo_action_schedule schedule_of(int timesteps)
{
    vipo_error error = {0};
    vipo_action_schedule schedule;
    assert_ok(vipo_action_schedule_open(&schedule, timesteps, &error), &error);
    return schedule;
}

static void test_schedule(void **state)
{
    (void)state;
    vipo_safetensors *file = golden_open("tests/golden/policy/case.safetensors");
    vipo_array golden = golden_array(file, "sched.alphas_cumprod");
    vipo_action_schedule schedule = schedule_of(T);
    for (int t = 0; t < T; t++) {
        const double expected = (double)golden.data[t];
        const double bound = t == T - 1 ? 1e-4 : 1e-6;
        assert_true(fabs((double)schedule.alphas_cumprod[t] - expected) <= bound * expected);
    }
    vipo_action_schedule_close(&schedule);
    vipo_array_free(&golden);
    vipo_safetensors_close(&file);
}

/* diffusers' DDIMScheduler.set_timesteps, "leading", 100 timesteps */
static void test_timesteps(void **state)
{
    (void)state;
    static const struct {
        int steps, first, second, last;
    } known[] = {{1, 0, 0, 0},    {4, 75, 50, 0},  {5, 80, 60, 0},  {8, 84, 72, 0},  {10, 90, 80, 0},
                 {12, 88, 80, 0}, {16, 90, 84, 0}, {20, 95, 90, 0}, {50, 98, 96, 0}, {100, 99, 98, 0}};
    vipo_action_schedule schedule = schedule_of(T);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const int steps = known[i].steps;
        assert_int_equal(vipo_action_timestep(&schedule, steps, 0), known[i].first);
        if (steps > 1) assert_int_equal(vipo_action_timestep(&schedule, steps, 1), known[i].second);
        assert_int_equal(vipo_action_timestep(&schedule, steps, steps - 1), known[i].last);
    }
    vipo_action_schedule_close(&schedule);
}

static double most_difference(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* Recorded network outputs in place of a network: every state of DDIM-8. */
typedef struct playback {
    const vipo_array *outputs, *states;
    int step;
    double worst;
} playback;

static vipo_status play(void *user, const float *x, int t, float *output, vipo_error *error)
{
    (void)error;
    playback *p = user;
    const size_t at = (size_t)p->step * SIZE;
    assert_int_equal(t, 84 - 12 * p->step);
    p->worst = fmax(p->worst, most_difference(x, p->states->data + at, SIZE));
    memcpy(output, p->outputs->data + at, SIZE * sizeof *output);
    p->step++;
    return VIPO_OK;
}

static void test_ddim(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_safetensors *file = golden_open("tests/golden/policy/case.safetensors");
    vipo_array outputs = golden_array(file, "ddim.eps"), states = golden_array(file, "ddim.x_in");
    vipo_array start = golden_array(file, "ddim_init_noise"),
               actions = golden_array(file, "ddim.action_pred");
    vipo_action_schedule schedule = schedule_of(T);
    playback p = {&outputs, &states, 0, 0};
    float work[2 * SIZE];
    assert_ok(vipo_action_sample(&vipo_action_ddim, &schedule, 8, &(vipo_action_source){&p, play, NULL}, SIZE,
                                 start.data, work, &error),
              &error);
    assert_int_equal(p.step, 8);
    print_message("ddim: states off by at most %.1e\n", p.worst);
    assert_true(p.worst <= 2e-6);
    assert_true(most_difference(start.data, actions.data, SIZE) <= 2e-6);
    vipo_action_schedule_close(&schedule);
    vipo_array_free(&outputs);
    vipo_array_free(&states);
    vipo_array_free(&start);
    vipo_array_free(&actions);
    vipo_safetensors_close(&file);
}

static void test_ddpm(void **state)
{
    (void)state;
    static const int picks[] = {0, 1, 2, 25, 50, 75, 97, 98, 99};
    vipo_safetensors *file = golden_open("tests/golden/policy/case.safetensors");
    vipo_array x = golden_array(file, "ddpm.x_in"), outputs = golden_array(file, "ddpm.eps");
    vipo_array next = golden_array(file, "ddpm.x_out"), noise = golden_array(file, "ddpm.noise");
    vipo_array actions = golden_array(file, "ddpm.action_pred");
    vipo_action_schedule schedule = schedule_of(T);
    double worst = 0;
    for (size_t k = 0; k < sizeof picks / sizeof picks[0]; k++) {
        const bool last = picks[k] == T - 1;
        const int t = T - 1 - picks[k];
        vipo_action_ddpm.step(&(vipo_action_step){&schedule, t, t - 1, SIZE, x.data + k * SIZE,
                                                  outputs.data + k * SIZE,
                                                  last ? NULL : noise.data + k * SIZE});
        const float *expected = last ? actions.data : next.data + k * SIZE;
        worst = fmax(worst, most_difference(x.data + k * SIZE, expected, SIZE));
    }
    print_message("ddpm: states off by at most %.1e\n", worst);
    assert_true(worst <= 2e-6);
    vipo_action_schedule_close(&schedule);
    vipo_array_free(&x);
    vipo_array_free(&outputs);
    vipo_array_free(&next);
    vipo_array_free(&noise);
    vipo_array_free(&actions);
    vipo_safetensors_close(&file);
}

/* A network that knows x0: whatever it predicts and however x0 is told, both samplers end there. */
typedef struct oracle {
    const vipo_action_schedule *schedule;
    const float *x0;
    int calls, draws;
} oracle;

static vipo_status know(void *user, const float *x, int t, float *output, vipo_error *error)
{
    (void)error;
    oracle *o = user;
    const double product = (double)o->schedule->alphas_cumprod[t], a = sqrt(product), s = sqrt(1 - product);
    for (size_t i = 0; i < SIZE; i++) {
        const double x0 = (double)o->x0[i], epsilon = ((double)x[i] - a * x0) / s;
        output[i] = (float)(o->schedule->prediction == VIPO_ACTION_EPSILON  ? epsilon
                            : o->schedule->prediction == VIPO_ACTION_SAMPLE ? x0
                                                                            : a * epsilon - s * x0);
    }
    o->calls++;
    return VIPO_OK;
}

static void draw(void *user, int i, float *noise)
{
    oracle *o = user;
    assert_int_equal(i, o->draws);
    for (uint64_t k = 0; k < SIZE; k++) noise[k] = 2 * test_uniform(50 + (uint64_t)i, k);
    o->draws++;
}

static void test_known_x0(void **state)
{
    (void)state;
    static const int counts[] = {1, 3, 7, 37};
    vipo_error error = {0};
    vipo_action_schedule schedule = schedule_of(37);
    float x0[SIZE], x[SIZE], work[2 * SIZE];
    for (uint64_t i = 0; i < SIZE; i++) x0[i] = 0.9F * test_uniform(1, i);
    for (int s = 0; vipo_action_sampler_at(s); s++)
        for (int prediction = 0; prediction < 3; prediction++)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                schedule.prediction = (vipo_action_prediction)prediction;
                oracle o = {&schedule, x0, 0, 0};
                for (uint64_t i = 0; i < SIZE; i++) x[i] = 2 * test_uniform(2, i);
                assert_ok(vipo_action_sample(vipo_action_sampler_at(s), &schedule, counts[c],
                                             &(vipo_action_source){&o, know, draw}, SIZE, x, work, &error),
                          &error);
                assert_int_equal(o.calls, counts[c]);
                assert_int_equal(o.draws, vipo_action_sampler_at(s)->draws ? counts[c] - 1 : 0);
                assert_true(most_difference(x, x0, SIZE) <= 1e-4);
            }
    vipo_action_schedule_close(&schedule);
}

/* x0 beyond the range is clipped; without clipping it is reached. */
static void test_clip(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_action_schedule schedule = schedule_of(20);
    float x0[SIZE], x[SIZE] = {0}, work[2 * SIZE];
    for (uint64_t i = 0; i < SIZE; i++) x0[i] = i % 2 ? 3 : -3;
    oracle o = {&schedule, x0, 0, 0};
    schedule.prediction = VIPO_ACTION_SAMPLE;
    schedule.clip_range = 2;
    const vipo_action_source source = {&o, know, draw};
    assert_ok(vipo_action_sample(&vipo_action_ddim, &schedule, 5, &source, SIZE, x, work, &error), &error);
    for (size_t i = 0; i < SIZE; i++) assert_true(fabsf(x[i] - (i % 2 ? 2 : -2)) < 1e-5F);
    schedule.clip = false;
    assert_ok(vipo_action_sample(&vipo_action_ddim, &schedule, 5, &source, SIZE, x, work, &error), &error);
    assert_true(most_difference(x, x0, SIZE) < 1e-5);
    vipo_action_schedule_close(&schedule);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    vipo_error error = {0};
    const vipo_action_sampler *sampler;
    vipo_action_schedule schedule = schedule_of(20);
    float x[1] = {0}, work[2];
    assert_int_equal(vipo_action_sampler_find(&sampler, "euler", &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "unknown sampler \"euler\" of actions, expected ddim or ddpm");
    assert_ok(vipo_action_sampler_find(&sampler, "ddpm", &error), &error);
    assert_ptr_equal(sampler, &vipo_action_ddpm);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            vipo_action_sample(sampler, &schedule, i ? 21 : 0, &(vipo_action_source){0}, 1, x, work, &error),
            VIPO_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "1..20"));
    }
    vipo_action_schedule_close(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),      cmocka_unit_test(test_timesteps), cmocka_unit_test(test_ddim),
        cmocka_unit_test(test_ddpm),          cmocka_unit_test(test_known_x0),  cmocka_unit_test(test_clip),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
