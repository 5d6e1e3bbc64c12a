#include "sampling/schedule.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static const double pi = 3.14159265358979323846;

vipo_status vipo_schedule_open(vipo_schedule *out, int timesteps, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const size_t n = (size_t)timesteps;
    double *memory = vipo_aligned_calloc(2 * n, sizeof *memory);
    if (!memory) return vipo_fail_memory(error, 2 * n * sizeof *memory, "a noise schedule");
    *out = (vipo_schedule){.timesteps = timesteps, .alpha_bar = memory, .beta = memory + n};
    const double s = 0.008;
    double previous = 1, product = 1;
    const double first = pow(cos(s / (1 + s) * pi * 0.5), 2);
    for (int t = 0; t < timesteps; t++) {
        const double u = (double)(t + 1) / (double)timesteps;
        const double f = pow(cos((u + s) / (1 + s) * pi * 0.5), 2) / first;
        const double beta = 1 - f / previous;
        out->beta[t] = beta < 0 ? 0 : beta > 0.999 ? 0.999 : beta;
        previous = f;
        product *= 1 - out->beta[t];
        out->alpha_bar[t] = product;
    }
    return VIPO_OK;
}

void vipo_schedule_close(vipo_schedule *schedule)
{
    vipo_aligned_free(schedule->alpha_bar);
    memset(schedule, 0, sizeof *schedule);
}

static double alpha_bar(const vipo_schedule *schedule, int t)
{
    return t < 0 ? 1 : schedule->alpha_bar[t];
}

double vipo_schedule_alpha(const vipo_schedule *schedule, int t)
{
    return sqrt(alpha_bar(schedule, t));
}

double vipo_schedule_sigma(const vipo_schedule *schedule, int t)
{
    return sqrt(1 - alpha_bar(schedule, t));
}

double vipo_schedule_angle(const vipo_schedule *schedule, int t)
{
    return atan2(vipo_schedule_sigma(schedule, t), vipo_schedule_alpha(schedule, t));
}

double vipo_schedule_log_snr_half(const vipo_schedule *schedule, int t)
{
    return log(vipo_schedule_alpha(schedule, t) / vipo_schedule_sigma(schedule, t));
}

vipo_posterior vipo_schedule_posterior(const vipo_schedule *schedule, int t)
{
    const double beta = schedule->beta[t], bar = alpha_bar(schedule, t), before = alpha_bar(schedule, t - 1);
    const double variance = beta * (1 - before) / (1 - bar);
    return (vipo_posterior){.coefficient_x0 = beta * sqrt(before) / (1 - bar),
                            .coefficient_x = (1 - before) * sqrt(1 - beta) / (1 - bar),
                            .variance = variance,
                            .log_variance = log(variance < 1e-20 ? 1e-20 : variance)};
}

/* PyTorch's linspace works in float32, from the nearer end; at some step counts (T = 100, S = 90) rounding puts
 * a time below the integer that exact arithmetic gives. Reproduced, since AVDC's results depend on it. */
void vipo_schedule_uniform_grid(const vipo_schedule *schedule, int steps, int *times)
{
    const float last = (float)(schedule->timesteps - 1), step = (last + 1) / (float)steps;
    for (int i = 0; i <= steps; i++) {
        const int from_below = steps - i; /* index in the increasing grid of steps + 1 points */
        const float time =
            from_below < (steps + 1) / 2 ? -1 + step * (float)from_below : last - step * (float)i;
        times[i] = (int)time;
    }
}

void vipo_ddim_step(const vipo_schedule *schedule, int t, int t_next, size_t dim, const float *x,
                    const float *v, float *out)
{
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    const double alpha_next = vipo_schedule_alpha(schedule, t_next),
                 sigma_next = vipo_schedule_sigma(schedule, t_next);
    /* x0 = alpha x - sigma v and eps = alpha v + sigma x, so x' is a rotation in the (x, v) plane */
    const double of_x = alpha_next * alpha + sigma_next * sigma,
                 of_v = sigma_next * alpha - alpha_next * sigma;
    for (size_t i = 0; i < dim; i++) out[i] = (float)(of_x * (double)x[i] + of_v * (double)v[i]);
}
