#include "sampling/grid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"

/* "s:P,Q" or "s/P/Q". */
static bool parse_s_grid(const char *text, double *p, double *q)
{
    char *end;
    if (text[0] != 's' || (text[1] != ':' && text[1] != '/')) return false;
    *p = vipo_strtod(text + 2, &end);
    if (end == text + 2 || (*end != ',' && *end != '/')) return false;
    const char *second = end + 1;
    *q = vipo_strtod(second, &end);
    return end != second && *end == '\0' && *p > 0 && *q > 0 && *p <= 100 && *q <= 100;
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

/* A model of few timesteps has no room for the default number of steps; it gets as many as there is room for. */
static void fit_default_steps(vipo_grid *grid, int timesteps)
{
    if (grid->steps > timesteps) grid->steps = timesteps;
    if (grid->kind == VIPO_GRID_S)
        while (grid->steps > 1 && !make_s_grid(grid, timesteps)) grid->steps--;
}

static vipo_status choose(vipo_grid *grid, const vipo_sampler_options *options,
                          const vipo_grid_defaults *defaults, const vipo_schedule *schedule,
                          vipo_error *error)
{
    grid->steps = options->steps ? options->steps : defaults->steps ? defaults->steps : schedule->timesteps;
    grid->kind = defaults->kind;
    grid->p = defaults->p;
    grid->q = defaults->q;
    if (options->grid) grid->kind = strcmp(options->grid, "uniform") == 0 ? VIPO_GRID_UNIFORM : VIPO_GRID_S;
    if (options->grid && grid->kind == VIPO_GRID_S && !parse_s_grid(options->grid, &grid->p, &grid->q))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "grid \"%.60s\": expected uniform or s:P,Q with P and Q in (0, 100]", options->grid);
    if (!options->steps) fit_default_steps(grid, schedule->timesteps);
    return VIPO_OK;
}

vipo_status vipo_grid_make(vipo_grid *grid, const vipo_sampler_options *options,
                           const vipo_grid_defaults *defaults, const vipo_schedule *schedule,
                           vipo_error *error)
{
    const int timesteps = schedule->timesteps;
    VIPO_TRY(choose(grid, options, defaults, schedule, error));
    if (grid->steps < 1 || grid->steps > timesteps || grid->steps > VIPO_MAX_STEPS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s steps: %d, expected 1..%d (the model's timesteps)",
                         options->name, grid->steps, timesteps);
    if (grid->kind == VIPO_GRID_UNIFORM) {
        vipo_schedule_uniform_grid(schedule, grid->steps, grid->times);
        return VIPO_OK;
    }
    if (make_s_grid(grid, timesteps)) return VIPO_OK;
    const int asked = grid->steps;
    while (grid->steps > 1 && !make_s_grid(grid, timesteps)) grid->steps--;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                     "grid s:%g,%g visits a timestep twice with %d steps, it has room for %d", grid->p,
                     grid->q, asked, grid->steps);
}

void vipo_grid_start_at(vipo_grid *grid, int from)
{
    int above = 0; /* the last place whose time is not below from */
    while (grid->times[above + 1] >= from) above++;
    const int gap = grid->times[above] - grid->times[above + 1];
    int next = above + 1;
    if (grid->times[above] != from && next < grid->steps && 2 * (from - grid->times[next]) <= gap) next++;
    grid->steps -= next - 1;
    grid->times[0] = from;
    memmove(grid->times + 1, grid->times + next, (size_t)grid->steps * sizeof *grid->times);
}

void vipo_grid_describe(const vipo_sampler_options *options, const vipo_grid_defaults *defaults,
                        const vipo_schedule *schedule, char *text, size_t size)
{
    vipo_grid grid;
    const bool known = choose(&grid, options, defaults, schedule, NULL) == VIPO_OK;
    const bool usual = grid.kind == defaults->kind &&
                       (grid.kind == VIPO_GRID_UNIFORM || (grid.p == defaults->p && grid.q == defaults->q));
    if (!options->grid || !known || usual) /* the default, also where it is spelled out */
        snprintf(text, size, "-%d", grid.steps);
    else if (grid.kind == VIPO_GRID_UNIFORM)
        snprintf(text, size, "-%d uniform", grid.steps);
    else
        vipo_snprintf(text, size, "-%d s:%g:%g", grid.steps, grid.p, grid.q);
}
