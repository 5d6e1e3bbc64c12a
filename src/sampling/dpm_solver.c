/* DPM-Solver++(2M), data prediction (Lu et al. 2022): with l = ln(alpha/sigma) and h = l' - l,
 *   D  = x0 + h / (2 h_prev) (x0 - x0_prev)
 *   x' = (sigma'/sigma) x - alpha' (exp(-h) - 1) D
 * The first step and the one to the clean video (which gives x0) are of first order. */
#include <math.h>

#include "sampling/grid.h"

static void step(vipo_sampling *sampling, const vipo_grid *grid, int i)
{
    const vipo_schedule *schedule = sampling->schedule;
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    const int t = grid->times[i], next = grid->times[i + 1];
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    float *x = sampling->x, *v = sampling->memory, *x0_previous = v + n;
    if (next < 0) {
        vipo_ddim_step(schedule, t, next, n, x, v, x);
        return;
    }
    const double l = vipo_schedule_log_snr_half(schedule, t),
                 h = vipo_schedule_log_snr_half(schedule, next) - l;
    const double of_x = vipo_schedule_sigma(schedule, next) / sigma;
    const double of_d = -vipo_schedule_alpha(schedule, next) * expm1(-h);
    const double ratio = i > 0 ? h / (2 * (l - vipo_schedule_log_snr_half(schedule, grid->times[i - 1]))) : 0;
    for (size_t j = 0; j < n; j++) {
        const double x0 = alpha * (double)x[j] - sigma * (double)v[j];
        const double d = x0 + ratio * (x0 - (double)x0_previous[j]);
        x[j] = (float)(of_x * (double)x[j] + of_d * d);
        x0_previous[j] = (float)x0;
    }
}

static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.5};

const vipo_sampler vipo_sampler_dpm_solver = {.name = "dpm-solver++",
                                              .summary = "DPM-Solver++(2M), second-order multistep",
                                              .states = 2, /* v, previous x0 */
                                              .grid = &defaults,
                                              .step = step};
