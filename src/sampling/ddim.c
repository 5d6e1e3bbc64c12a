/* Deterministic DDIM (Song et al. 2021), eta 0, without clipping: AVDC's fast sampler. */
#include "sampling/grid.h"
#include "sampling/trace.h"

static const vipo_grid_defaults defaults = {.kind = VIPO_GRID_UNIFORM, .p = 1.7, .q = 1.5};

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    vipo_grid grid;
    return vipo_grid_make(&grid, options, &defaults, schedule, error);
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    vipo_grid_describe("ddim", options, &defaults, schedule, text, size);
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    (void)options, (void)schedule;
    return (size_t)videos * dim; /* v */
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    float *v = sampling->memory;
    vipo_grid grid;
    VIPO_TRY(vipo_grid_make(&grid, sampling->options, &defaults, sampling->schedule, error));
    sampling->expected_evaluations = (double)grid.steps * (double)sampling->videos;
    for (int i = 0; i < grid.steps; i++) {
        VIPO_TRY(vipo_sampling_call_all(sampling, grid.times[i], sampling->x, v, error));
        vipo_ddim_step(sampling->schedule, grid.times[i], grid.times[i + 1], n, sampling->x, v, sampling->x);
        vipo_trace_step(sampling, i, grid.times[i], grid.times[i + 1]);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_ddim = {.name = "ddim",
                                        .summary = "deterministic DDIM",
                                        .check = check,
                                        .describe = describe,
                                        .memory = memory,
                                        .sample = sample};
