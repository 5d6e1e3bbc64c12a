/* PyTorch's random normals, against hashes of what torch 2.15 draws: torch.manual_seed(seed); torch.randn(n). */
#include "support/torch_file.h"
#include "support/tiny_session.h"

#include <stdlib.h>
#include <string.h>

#include "core/torch_rng.h"
#include "nets/config.h"
#include "policy/noise.h"

static const struct {
    uint64_t seed;
    size_t n;
    uint64_t hash;
} draws[] = {
    {0ULL, 1, 0x1877733c12d64cbcULL},
    {0ULL, 7, 0xe617d5727cfa3a9dULL},
    {0ULL, 15, 0x52b8f3bcc098f4b9ULL},
    {0ULL, 16, 0x28d49f8f92bf21d6ULL},
    {0ULL, 17, 0x9151e09be6bcf07aULL},
    {0ULL, 31, 0x3e39671abab4a234ULL},
    {0ULL, 48, 0xfbbee0444f116d5eULL},
    {0ULL, 100, 0x6b680134d3d69e1bULL},
    {0ULL, 4101, 0x762929fac76c0f5eULL},
    {42ULL, 1, 0x339a81d29fc978d3ULL},
    {42ULL, 7, 0xe39489a9dac5097cULL},
    {42ULL, 15, 0x4c7fdcb26081ae6bULL},
    {42ULL, 16, 0x080ffa5fbeb15154ULL},
    {42ULL, 17, 0x91ae8bd790a50356ULL},
    {42ULL, 31, 0xbcc1254f5a30e3c3ULL},
    {42ULL, 48, 0xa8893cc07c529430ULL},
    {42ULL, 100, 0x7ea02704af7a98a3ULL},
    {42ULL, 4101, 0x05d083615aad0378ULL},
    {4294967301ULL, 1, 0x98e5cffa3bb28dc7ULL},
    {4294967301ULL, 7, 0xdcda8970463b8f48ULL},
    {4294967301ULL, 15, 0x2ba446d6f6e8dcbbULL},
    {4294967301ULL, 16, 0x3c61a7c281fb0730ULL},
    {4294967301ULL, 17, 0x41fad463f58112d2ULL},
    {4294967301ULL, 31, 0x39dbe9c6f5d1d00fULL},
    {4294967301ULL, 48, 0x36a0c96d9a8fa73fULL},
    {4294967301ULL, 100, 0x821693f9a621b93aULL},
    {4294967301ULL, 4101, 0x07249822336a3de8ULL},
    {123456789012ULL, 1, 0x294615142904fba4ULL},
    {123456789012ULL, 7, 0x696a3d90e23c6db5ULL},
    {123456789012ULL, 15, 0x61e15867a719c075ULL},
    {123456789012ULL, 16, 0xe92b765f7ee12882ULL},
    {123456789012ULL, 17, 0x965b9fe7ba3632a3ULL},
    {123456789012ULL, 31, 0x2743051d9f222624ULL},
    {123456789012ULL, 48, 0x1a446d1ac9ff74c0ULL},
    {123456789012ULL, 100, 0xe9ccebbce993811bULL},
    {123456789012ULL, 4101, 0x51131dedc63fd5faULL},
};

static void test_single_draws(void **state)
{
    (void)state;
    float *values = malloc(5000 * sizeof *values);
    assert_non_null(values);
    vipo_torch_rng rng;
    for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++) {
        vipo_torch_rng_seed(&rng, draws[i].seed);
        vipo_torch_rng_normal(&rng, draws[i].n, values);
        if (test_hash(values, draws[i].n * sizeof *values) != draws[i].hash)
            fail_msg("seed %llu, n %zu: other numbers, the first is %g", (unsigned long long)draws[i].seed,
                     draws[i].n, (double)values[0]);
    }
    free(values);
}

static void test_numbers(void **state)
{
    (void)state;
    vipo_torch_rng rng;
    float values[16];
    vipo_torch_rng_seed(&rng, 0);
    vipo_torch_rng_normal(&rng, 4, values); /* torch.manual_seed(0); torch.randn(4): a well-known sight */
    const float known[4] = {1.5409960746765137F, -0.293428897857666F, -2.1787893772125244F,
                            0.5684312582015991F};
    assert_memory_equal(values, known, sizeof known);
    vipo_torch_rng_normal(&rng, 16, values);
    const float next[4] = {-0.35612836480140686F, 0.4372227191925049F, 0.4913049638271332F,
                           -0.20410172641277313F};
    assert_memory_equal(values, next, sizeof next);
}

/* Small draws of odd sizes keep half a pair, which the next small draw uses, however many large ones lie
 * between; a tail of a large draw is drawn twice. */
static void test_mixed_draws(void **state)
{
    (void)state;
    static const size_t sizes[] = {5, 16, 3, 33, 7, 16, 2};
    float values[128];
    size_t n = 0;
    vipo_torch_rng rng;
    vipo_torch_rng_seed(&rng, 3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        vipo_torch_rng_normal(&rng, sizes[i], values + n);
        n += sizes[i];
    }
    assert_int_equal(test_hash(values, n * sizeof *values), 0x94973210befb151cULL);
}

/* torch.manual_seed(11); x = randn(2, 9, 16, 16); three times randn_like(x); each as [2][3][16][16][3]. */
static const uint64_t in_our_layout[] = {0x1ec16d58b32d83e7ULL, 0xaf75ea8d936ab93eULL, 0xe726993ecbc403bcULL,
                                         0xe50392911d053eceULL};

static void test_order_of_a_plan(void **state)
{
    (void)state;
    vipo_error error = {0};
    const vipo_unet_config config = {.height = 16, .width = 16, .frames = 3, .out_channels = 3};
    const size_t dim = 3 * 16 * 16 * 3;
    vipo_request request;
    vipo_request_default(&request);
    assert_int_equal(request.rng, VIPO_RNG_PHILOX);
    request.rng = VIPO_RNG_TORCH;
    request.seed = 11;
    request.samples = 2;
    vipo_noise noise;
    assert_ok(vipo_noise_open(&noise, &request, &config, &error), &error);
    float *values = malloc(2 * dim * sizeof *values);
    assert_non_null(values);
    vipo_noise_start(&noise, values);
    assert_int_equal(test_hash(values, 2 * dim * sizeof *values), in_our_layout[0]);
    for (int step = 0; step < 3; step++) {
        for (int video = 0; video < 2; video++)
            vipo_noise_draw(&noise, step, video, dim, values + (size_t)video * dim);
        assert_int_equal(test_hash(values, 2 * dim * sizeof *values), in_our_layout[step + 1]);
    }
    vipo_noise_close(&noise);
    request.rng = (vipo_rng)7;
    assert_int_equal(vipo_noise_open(&noise, &request, &config, &error), VIPO_INVALID_ARGUMENT);
    free(values);
}

/* A plan with VIPO_RNG_TORCH is the plan with the same noise given as arrays. */
static void test_plan(void **state)
{
    tiny_session *s = *state;
    vipo_error error = {0};
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &s->cond;
    request.tokens = &s->tokens;
    request.samples = 2;
    request.seed = 5;
    request.rng = VIPO_RNG_TORCH;
    request.sampler.name = "ddpm";
    request.sampler.steps = 0;
    vipo_plan drawn, given;
    assert_ok(vipo_planner_plan(s->planner, &request, &drawn, &error), &error);

    vipo_array start = {0}, steps = {0};
    assert_ok(vipo_array_alloc(&start, 5, SHAPE(2, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), &error), &error);
    assert_ok(vipo_array_alloc(&steps, 6, SHAPE(TINY_TIMESTEPS - 1, 2, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3),
                               &error),
              &error);
    const vipo_unet_config config = {
        .height = TINY_SIDE, .width = TINY_SIDE, .frames = TINY_FRAMES, .out_channels = 3};
    vipo_noise noise;
    assert_ok(vipo_noise_open(&noise, &request, &config, &error), &error);
    vipo_noise_start(&noise, start.data);
    for (int i = 0; i < 2 * (TINY_TIMESTEPS - 1); i++)
        vipo_noise_draw(&noise, i / 2, i % 2, VIDEO, steps.data + (size_t)i * VIDEO);
    vipo_noise_close(&noise);
    request.rng = VIPO_RNG_PHILOX;
    request.noise = &start;
    request.step_noise = &steps;
    assert_ok(vipo_planner_plan(s->planner, &request, &given, &error), &error);
    assert_memory_equal(drawn.video.data, given.video.data, 2 * VIDEO * sizeof(float));
    vipo_array_free(&start);
    vipo_array_free(&steps);
    vipo_plan_free(&drawn);
    vipo_plan_free(&given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_draws), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_mixed_draws),  cmocka_unit_test(test_order_of_a_plan),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
