/* Deterministic DDIM (Song et al. 2021), eta 0, on a uniform time grid, without clipping: AVDC's fast
 * sampler. */
#include <stdio.h>

#include "sampling/sampler.h"
#include "sampling/trace.h"

enum { MAX_TIMESTEPS = 10000 };

static int step_count(const vipo_sampler_options *options, const vipo_schedule *schedule)
{
    return options->steps == 0 ? schedule->timesteps : options->steps;
}

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    if (options->steps < 0 || options->steps > schedule->timesteps)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "ddim steps: %d, expected 1..%d (the model's timesteps)", options->steps,
                         schedule->timesteps);
    return VIPO_OK;
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    snprintf(text, size, "ddim-%d", step_count(options, schedule));
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    (void)options, (void)schedule;
    return (size_t)videos * dim; /* v */
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const vipo_schedule *schedule = sampling->schedule;
    const int steps = step_count(sampling->options, schedule);
    const size_t dim = sampling->denoiser->dim;
    float *v = sampling->memory;
    int times[MAX_TIMESTEPS + 1];
    vipo_schedule_uniform_grid(schedule, steps, times);
    sampling->expected_evaluations = (double)steps * (double)sampling->videos;
    for (int i = 0; i < steps; i++) {
        VIPO_TRY(vipo_sampling_call_all(sampling, times[i], sampling->x, v, error));
        vipo_ddim_step(schedule, times[i], times[i + 1], (size_t)sampling->videos * dim, sampling->x, v,
                       sampling->x);
        vipo_trace_step(sampling, i, times[i], times[i + 1]);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_ddim = {.name = "ddim",
                                        .summary = "deterministic DDIM on a uniform grid of --steps steps",
                                        .check = check,
                                        .describe = describe,
                                        .memory = memory,
                                        .sample = sample};
