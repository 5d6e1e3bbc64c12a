/* DPM-Solver++(2M), data prediction (Lu et al. 2022): with l = ln(alpha/sigma) and h = l' - l,
 *   D  = x0 + h / (2 h_prev) (x0 - x0_prev)
 *   x' = (sigma'/sigma) x - alpha' (exp(-h) - 1) D
 * The first step and the one to the clean video (which gives x0) are of first order. */
#include <math.h>
#include <string.h>

#include "sampling/grid.h"
#include "sampling/trace.h"

static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.5};

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    vipo_grid grid;
    return vipo_grid_make(&grid, options, &defaults, schedule, error);
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    vipo_grid_describe("dpm-solver++", options, &defaults, schedule, text, size);
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    (void)options, (void)schedule;
    return 2 * (size_t)videos * dim; /* v, previous x0 */
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const vipo_schedule *schedule = sampling->schedule;
    const size_t n = (size_t)sampling->videos * sampling->denoiser->dim;
    float *x = sampling->x, *v = sampling->memory, *x0_previous = v + n;
    vipo_grid grid;
    VIPO_TRY(vipo_grid_make(&grid, sampling->options, &defaults, schedule, error));
    sampling->expected_evaluations = (double)grid.steps * (double)sampling->videos;
    double h_previous = 0;
    for (int i = 0; i < grid.steps; i++) {
        const int t = grid.times[i], next = grid.times[i + 1];
        const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
        VIPO_TRY(vipo_sampling_call_all(sampling, t, x, v, error));
        if (next < 0) {
            vipo_ddim_step(schedule, t, next, n, x, v, x);
        } else {
            const double h =
                vipo_schedule_log_snr_half(schedule, next) - vipo_schedule_log_snr_half(schedule, t);
            const double of_x = vipo_schedule_sigma(schedule, next) / sigma;
            const double of_d = -vipo_schedule_alpha(schedule, next) * expm1(-h);
            const double ratio = i > 0 ? h / (2 * h_previous) : 0;
            for (size_t j = 0; j < n; j++) {
                const double x0 = alpha * (double)x[j] - sigma * (double)v[j];
                const double d = x0 + ratio * (x0 - (double)x0_previous[j]);
                x[j] = (float)(of_x * (double)x[j] + of_d * d);
                x0_previous[j] = (float)x0;
            }
            h_previous = h;
        }
        vipo_trace_step(sampling, i, t, next);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_dpm_solver = {.name = "dpm-solver++",
                                              .summary = "DPM-Solver++(2M), second-order multistep",
                                              .check = check,
                                              .describe = describe,
                                              .memory = memory,
                                              .sample = sample};
