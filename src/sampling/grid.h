/* Which timesteps a deterministic sampler visits. */
#ifndef VIPO_SAMPLING_GRID_H
#define VIPO_SAMPLING_GRID_H

#include "sampling/sampler.h"

enum { VIPO_MAX_STEPS = 10000 };

typedef enum vipo_grid_kind { VIPO_GRID_UNIFORM, VIPO_GRID_S } vipo_grid_kind;

/* What a sampler uses where the options leave it open. */
struct vipo_grid_defaults {
    int steps; /* 0: all timesteps */
    vipo_grid_kind kind;
    double p, q;
};

/* The grid that the options ask for: steps and, for S grids, p and q. */
struct vipo_grid {
    int steps;
    vipo_grid_kind kind;
    double p, q;
    int times[VIPO_MAX_STEPS + 1]; /* decreasing, from T - 1 to -1 */
};

/* VIPO_INVALID_ARGUMENT for a grid that is not understood, for steps out of range, for p or q that are no positive numbers, and for so many steps that an S
 * grid would visit a timestep twice. */
vipo_status vipo_grid_make(vipo_grid *out, const vipo_sampler_options *options,
                           const vipo_grid_defaults *defaults, const vipo_schedule *schedule,
                           vipo_error *error);

/* Cuts the grid to its part below `from`, its new first time: all of its times less than from if `from` is one of them,
 * else those that are also more than half the step below it in which `from` lies. The last time stays -1. */
void vipo_grid_start_at(vipo_grid *grid, int from);

/* "-12", with the grid behind it if the options name one: "-12 s:1.7:1.5". */
void vipo_grid_describe(const vipo_sampler_options *options, const vipo_grid_defaults *defaults,
                        const vipo_schedule *schedule, char *text, size_t size);

#endif
