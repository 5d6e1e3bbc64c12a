#include "support/sampling.h"

#include <math.h>

#include "core/memory.h"

enum { DIM = TEST_SAMPLING_DIM };

vipo_status test_smooth_network(void *user, int rows, const int *video, const int *t, const float *x,
                                float *v, vipo_error *error)
{
    (void)user, (void)error;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < DIM; i++) {
            const float s = x[r * DIM + i];
            v[r * DIM + i] =
                sinf(1.3F * s + 0.04F * (float)t[r]) - 0.2F * s + 0.1F * (float)(video[r] + i % 5);
        }
    return VIPO_OK;
}

void test_start(float *x, int videos, int first)
{
    for (int i = 0; i < videos * DIM; i++) x[i] = 2 * test_uniform(7, (uint64_t)(first * DIM + i));
}

vipo_sampler_stats test_sample(const vipo_sampler *sampler, vipo_sampling *sampling, int videos, float *x)
{
    vipo_error error = {0};
    sampling->from = sampling->schedule->timesteps - 1;
    assert_ok(vipo_sampler_check(sampler, sampling->options, sampling->schedule, sampling->from, &error),
              &error);
    const size_t floats =
        vipo_sampler_memory(sampler, sampling->options, sampling->schedule, videos, sampling->denoiser->dim);
    float *memory = vipo_aligned_calloc(floats + 16, sizeof *memory);
    assert_non_null(memory);
    for (int i = 0; i < 16; i++)
        memory[floats + (size_t)i] = 17; /* nothing is written behind what was asked for */
    sampling->videos = videos;
    sampling->x = x;
    sampling->memory = memory;
    assert_ok(vipo_sampler_run(sampler, sampling, &error), &error);
    for (int i = 0; i < 16; i++) assert_true(memory[floats + (size_t)i] == 17);
    vipo_aligned_free(memory);
    return sampling->stats;
}
