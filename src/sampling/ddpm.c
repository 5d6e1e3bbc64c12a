/* Ancestral sampling over all timesteps (Ho et al. 2020) with x0 clipped to [-1,1]: what AVDC runs at 100
 * steps. */
#include <math.h>
#include <stdio.h>

#include "sampling/sampler.h"
#include "sampling/trace.h"

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    if (options->steps != 0 && options->steps != schedule->timesteps)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "ddpm steps: %d, it always runs all %d timesteps of the model", options->steps,
                         schedule->timesteps);
    return VIPO_OK;
}

static void describe(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size)
{
    (void)options;
    snprintf(text, size, "ddpm-%d", schedule->timesteps);
}

static size_t memory(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim)
{
    (void)options, (void)schedule;
    return ((size_t)videos + 1) * dim; /* v, noise of one video */
}

/* x_{t-1} ~ q(x_{t-1} | x_t, clipped x0); noise NULL: the mean. */
static void ancestral_step(const vipo_schedule *schedule, int t, size_t dim, float *x, const float *v,
                           const float *noise)
{
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    const vipo_posterior posterior = vipo_schedule_posterior(schedule, t);
    const double deviation = exp(0.5 * posterior.log_variance);
    for (size_t i = 0; i < dim; i++) {
        double x0 = alpha * (double)x[i] - sigma * (double)v[i];
        x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
        double next = posterior.coefficient_x0 * x0 + posterior.coefficient_x * (double)x[i];
        if (noise) next += deviation * (double)noise[i];
        x[i] = (float)next;
    }
}

static vipo_status sample(vipo_sampling *sampling, vipo_error *error)
{
    const int timesteps = sampling->schedule->timesteps;
    const size_t dim = sampling->denoiser->dim;
    float *v = sampling->memory, *noise = v + (size_t)sampling->videos * dim;
    sampling->expected_evaluations = ((double)sampling->from + 1) * (double)sampling->videos;
    sampling->step_error = -1;
    for (int t = sampling->from; t >= 0; t--) {
        VIPO_TRY(vipo_sampling_call_all(sampling, t, sampling->x, v, error));
        for (int video = 0; video < sampling->videos; video++) {
            if (t > 0) sampling->noise.draw(sampling->noise.user, timesteps - 1 - t, video, dim, noise);
            ancestral_step(sampling->schedule, t, dim, sampling->x + (size_t)video * dim,
                           v + (size_t)video * dim, t > 0 ? noise : NULL);
        }
        vipo_trace_step(sampling, sampling->from - t, t, t - 1);
    }
    return VIPO_OK;
}

const vipo_sampler vipo_sampler_ddpm = {.name = "ddpm",
                                        .summary =
                                            "ancestral sampling over all timesteps, as AVDC at 100 steps",
                                        .check = check,
                                        .describe = describe,
                                        .memory = memory,
                                        .sample = sample};
