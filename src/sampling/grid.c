#include "sampling/grid.h"

#include <math.h>
#include <stdio.h>

static void choose(vipo_grid *grid, const vipo_sampler_options *options, const vipo_grid_defaults *defaults,
                   const vipo_schedule *schedule)
{
    grid->steps = options->steps ? options->steps : defaults->steps ? defaults->steps : schedule->timesteps;
    grid->kind = options->grid == VIPO_GRID_DEFAULT ? defaults->kind : options->grid;
    grid->p = options->grid == VIPO_GRID_S ? options->grid_p : defaults->p;
    grid->q = options->grid == VIPO_GRID_S ? options->grid_q : defaults->q;
}

/* Rounds half up, as the grids were defined. */
static bool make_s_grid(vipo_grid *grid, int timesteps)
{
    for (int i = 0; i <= grid->steps; i++) {
        const double u = (double)(grid->steps - i) / (double)grid->steps;
        const double up = pow(u, grid->p), down = pow(1 - u, grid->q);
        grid->times[i] = (int)floor(-1 + (double)timesteps * up / (up + down) + 0.5);
        if (i > 0 && grid->times[i] >= grid->times[i - 1]) return false;
    }
    return true;
}

vipo_status vipo_grid_make(vipo_grid *grid, const vipo_sampler_options *options,
                           const vipo_grid_defaults *defaults, const vipo_schedule *schedule,
                           vipo_error *error)
{
    const int timesteps = schedule->timesteps;
    choose(grid, options, defaults, schedule);
    if (grid->steps < 1 || grid->steps > timesteps || grid->steps > VIPO_MAX_STEPS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s steps: %d, expected 1..%d (the model's timesteps)",
                         options->name, grid->steps, timesteps);
    if (grid->kind == VIPO_GRID_UNIFORM) {
        vipo_schedule_uniform_grid(schedule, grid->steps, grid->times);
        return VIPO_OK;
    }
    if (!(grid->p > 0 && grid->q > 0 && grid->p <= 100 && grid->q <= 100))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "grid s:%g,%g: expected two numbers in (0, 100]",
                         grid->p, grid->q);
    if (make_s_grid(grid, timesteps)) return VIPO_OK;
    const int asked = grid->steps;
    while (grid->steps > 1 && !make_s_grid(grid, timesteps)) grid->steps--;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                     "grid s:%g,%g visits a timestep twice with %d steps, it has room for %d", grid->p,
                     grid->q, asked, grid->steps);
}

void vipo_grid_describe(const char *name, const vipo_sampler_options *options,
                        const vipo_grid_defaults *defaults, const vipo_schedule *schedule, char *text,
                        size_t size)
{
    vipo_grid grid;
    choose(&grid, options, defaults, schedule);
    if (options->grid == VIPO_GRID_DEFAULT)
        snprintf(text, size, "%s-%d", name, grid.steps);
    else if (grid.kind == VIPO_GRID_UNIFORM)
        snprintf(text, size, "%s-%d uniform", name, grid.steps);
    else
        snprintf(text, size, "%s-%d s:%g:%g", name, grid.steps, grid.p, grid.q);
}
