/* Deterministic DDIM (Song et al. 2021), eta 0, without clipping: AVDC's fast sampler. */
#include "sampling/grid.h"

static void step(vipo_sampling *sampling, const vipo_grid *grid, int i)
{
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    vipo_ddim_step(sampling->schedule, grid->times[i], grid->times[i + 1], n, sampling->x, sampling->memory,
                   sampling->x);
}

static const vipo_grid_defaults defaults = {.steps = 100, .kind = VIPO_GRID_UNIFORM, .p = 1.7, .q = 1.5};

const vipo_sampler vipo_sampler_ddim = {
    .name = "ddim", .summary = "deterministic DDIM", .states = 1 /* v */, .grid = &defaults, .step = step};
