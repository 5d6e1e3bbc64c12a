/* The noise schedule against AVDC's buffers, time grids, single DDIM steps. */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampling/grid.h"
#include "sampling/schedule.h"

static double golden_double(const vipo_safetensors *file, const char *name, int i)
{
    const vipo_tensor_view *view = vipo_safetensors_find(file, name);
    assert_non_null(view);
    assert_int_equal(view->dtype, VIPO_DTYPE_F64);
    double value;
    memcpy(&value, (const char *)view->data + 8 * i, 8);
    return value;
}

static void assert_close(double own, double golden, const char *what, int t)
{
    if (!(fabs(own - golden) <= 1e-12 * fabs(golden) + 1e-15))
        fail_msg("%s at t = %d: %.17g, golden %.17g", what, t, own, golden);
}

static void test_buffers(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_schedule schedule;
    vipo_safetensors *file = golden_open("tests/golden/sampler/schedule.safetensors");
    assert_ok(vipo_schedule_open(&schedule, 100, &error), &error);
    for (int t = 0; t < 100; t++) {
        const vipo_posterior posterior = vipo_schedule_posterior(&schedule, t);
        const double alpha = vipo_schedule_alpha(&schedule, t), sigma = vipo_schedule_sigma(&schedule, t);
        assert_close(schedule.beta[t], golden_double(file, "f64.betas", t), "beta", t);
        assert_close(schedule.alpha_bar[t], golden_double(file, "f64.alphas_cumprod", t), "alpha_bar", t);
        assert_close(alpha, golden_double(file, "f64.sqrt_alphas_cumprod", t), "alpha", t);
        assert_close(sigma, golden_double(file, "f64.sqrt_one_minus_alphas_cumprod", t), "sigma", t);
        assert_close(1 / alpha, golden_double(file, "f64.sqrt_recip_alphas_cumprod", t), "1/alpha", t);
        assert_close(posterior.variance, golden_double(file, "f64.posterior_variance", t),
                     "posterior variance", t);
        assert_close(posterior.log_variance, golden_double(file, "f64.posterior_log_variance_clipped", t),
                     "log variance", t);
        assert_close(posterior.coefficient_x0, golden_double(file, "f64.posterior_mean_coef1", t),
                     "coefficient of x0", t);
        assert_close(posterior.coefficient_x, golden_double(file, "f64.posterior_mean_coef2", t),
                     "coefficient of x", t);
    }
    assert_true(vipo_schedule_alpha(&schedule, -1) == 1 && vipo_schedule_sigma(&schedule, -1) == 0);
    vipo_schedule_close(&schedule);
    vipo_safetensors_close(&file);
}

/* linspace(-1, 99, S + 1) truncated, reversed; values from torch.linspace. */
static void test_grids(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_schedule schedule;
    assert_ok(vipo_schedule_open(&schedule, 100, &error), &error);
    int times[101];
    vipo_schedule_uniform_grid(&schedule, 10, times);
    for (int i = 0; i <= 10; i++) assert_int_equal(times[i], 99 - 10 * i);
    vipo_schedule_uniform_grid(&schedule, 100, times);
    for (int i = 0; i <= 100; i++) assert_int_equal(times[i], 99 - i);
    static const int seven[] = {99, 84, 70, 56, 41, 27, 13, -1};
    vipo_schedule_uniform_grid(&schedule, 7, times);
    assert_memory_equal(times, seven, sizeof seven);
    static const int three[] = {99, 65, 32, -1};
    vipo_schedule_uniform_grid(&schedule, 3, times);
    assert_memory_equal(times, three, sizeof three);
    vipo_schedule_uniform_grid(&schedule, 1, times);
    assert_true(times[0] == 99 && times[1] == -1);
    vipo_schedule_uniform_grid(&schedule, 60, times); /* truncation towards zero: 0.67 -> 0, -0.. stays */
    assert_true(times[0] == 99 && times[59] == 0 && times[60] == -1);
    vipo_schedule_uniform_grid(&schedule, 90, times); /* float32 in the reference: 48, not 49 */
    assert_true(times[44] == 50 && times[45] == 48 && times[46] == 47);
    vipo_schedule_close(&schedule);
}

/* Every step of the golden DDIM-10 run from its stored x and v. */
static void check_steps(const char *x_name, const char *v_name, const char *u_name, double w)
{
    vipo_error error = {0};
    vipo_schedule schedule;
    vipo_safetensors *file = golden_open("tests/golden/sampler/samplers.safetensors");
    assert_ok(vipo_schedule_open(&schedule, 100, &error), &error);
    vipo_array x = golden_array(file, x_name), v = golden_array(file, v_name), own;
    if (u_name) {
        vipo_array u = golden_array(file, u_name);
        for (size_t i = 0; i < vipo_array_size(&v); i++)
            v.data[i] = (float)((1 + w) * (double)v.data[i] - w * (double)u.data[i]);
        vipo_array_free(&u);
    }
    const size_t dim = vipo_array_size(&x) / 11;
    assert_ok(vipo_array_alloc(&own, 1, &dim, &error), &error);
    for (int i = u_name ? 1 : 0; i < 10; i++) { /* AVDC's guided first step is off by 4e-4 in float32 */
        vipo_ddim_step(&schedule, 99 - 10 * i, 89 - 10 * i, dim, x.data + (size_t)i * dim,
                       v.data + (size_t)i * dim, own.data);
        const double worst = test_max_abs(own.data, x.data + (size_t)(i + 1) * dim, dim);
        if (worst > (u_name ? 1e-5 : 2e-6)) fail_msg("%s step %d: max abs %.1e", x_name, i, worst);
    }
    vipo_array_free(&x), vipo_array_free(&v), vipo_array_free(&own);
    vipo_schedule_close(&schedule);
    vipo_safetensors_close(&file);
}

static void test_single_steps(void **state)
{
    (void)state;
    check_steps("ddim10.g0.x", "ddim10.g0.v", NULL, 0);
}

static void test_guided_steps(void **state)
{
    (void)state;
    check_steps("ddim10.g2.x", "ddim10.g2.v", "ddim10.g2.v_uncond", 2);
}

/* Models of few timesteps: the default number of steps gives way, one that was asked for does not. */
static void test_default_steps(void **state)
{
    (void)state;
    static const struct {
        int timesteps, steps; /* the most of an S grid of that length */
    } cases[] = {{1, 1}, {2, 2}, {20, 9}, {100, 12}};
    static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.5};
    vipo_grid grid;
    vipo_error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_schedule schedule;
        char text[64];
        assert_ok(vipo_schedule_open(&schedule, cases[i].timesteps, &error), &error);
        vipo_sampler_options options = {.name = "unipc"};
        assert_ok(vipo_grid_make(&grid, &options, &defaults, &schedule, &error), &error);
        assert_int_equal(grid.steps, cases[i].steps);
        assert_int_equal(grid.times[0], cases[i].timesteps - 1);
        assert_int_equal(grid.times[grid.steps], -1);
        vipo_grid_describe(&options, &defaults, &schedule, text, sizeof text);
        assert_int_equal(atoi(text + 1), cases[i].steps);
        options.steps = cases[i].steps + 1;
        if (cases[i].timesteps < 100)
            assert_int_equal(vipo_grid_make(&grid, &options, &defaults, &schedule, &error),
                             VIPO_INVALID_ARGUMENT);
        options = (vipo_sampler_options){.name = "unipc", .grid = "uniform"};
        assert_ok(vipo_grid_make(&grid, &options, &defaults, &schedule, &error), &error);
        assert_int_equal(grid.steps, cases[i].timesteps < 12 ? cases[i].timesteps : 12);
        vipo_schedule_close(&schedule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffers),       cmocka_unit_test(test_grids),
        cmocka_unit_test(test_default_steps), cmocka_unit_test(test_single_steps),
        cmocka_unit_test(test_guided_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
