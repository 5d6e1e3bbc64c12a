#include "sampling/sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sampling/grid.h"
#include "sampling/trace.h"

static const vipo_sampler *const samplers[] = {
    &vipo_sampler_ddpm, &vipo_sampler_ddim,         &vipo_sampler_dpm_solver,        &vipo_sampler_unipc,
    &vipo_sampler_ab2,  &vipo_sampler_draft_target, &vipo_sampler_draft_target_lazy, &vipo_sampler_auto,
};

enum { SAMPLERS = sizeof samplers / sizeof samplers[0], GROUP = 64 };

const char *vipo_sampler_name(int i)
{
    return i >= 0 && i < SAMPLERS ? samplers[i]->name : NULL;
}
const char *vipo_sampler_summary(int i)
{
    return i >= 0 && i < SAMPLERS ? samplers[i]->summary : NULL;
}

vipo_status vipo_sampler_find(const vipo_sampler **out, const char *name, vipo_error *error)
{
    char known[256] = "";
    *out = NULL;
    for (int i = 0; i < SAMPLERS; i++) {
        if (strcmp(name, samplers[i]->name) == 0) {
            *out = samplers[i];
            return VIPO_OK;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", samplers[i]->name);
    }
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown sampler \"%s\", known ones: %s", name, known);
}

/* About as far from the exact flow as DDIM with 50 to 100 steps, AVDC's and the paper's reference (0.015 and 0.007 on the
 * shipped model): a plan by "auto" is no coarser than what those call converged. */
static const double default_distance = 0.015;

/* unipc: the nearest to the exact flow of all samplers with 12 evaluations (docs/samplers.md). draft-target: the paper's
 * settings (Section 4; iTHOR's chunk length). */
void vipo_sampler_default_options(vipo_sampler_options *options)
{
    *options = (vipo_sampler_options){.name = "unipc",
                                      .chunk = 6,
                                      .draft_stride = 10,
                                      .target_stride = 2,
                                      .threshold = 11,
                                      .threshold_growth = 1.5,
                                      .chunk_rule = VIPO_CHUNK_FRESH,
                                      .draft_reuse = true,
                                      .lazy_calibrated = true,
                                      .distance = default_distance};
}

/* ---- running one --------------------------------------------------------------------------------------- */

/* At least 1 also for options that were not checked. */
static int stride_of(const vipo_sampler *sampler, const vipo_sampler_options *options)
{
    const int stride = sampler->stride ? sampler->stride(options) : 1;
    return stride < 1 ? 1 : stride;
}

vipo_status vipo_sampler_check(const vipo_sampler *sampler, const vipo_sampler_options *options,
                               const vipo_schedule *schedule, int from, vipo_error *error)
{
    vipo_grid grid;
    if (sampler->check) VIPO_TRY(sampler->check(options, schedule, error));
    if (sampler->grid) VIPO_TRY(vipo_grid_make(&grid, options, sampler->grid, schedule, error));
    if (from < 0 || from >= schedule->timesteps)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "from step: %d, expected 0..%d (the model's timesteps)", from,
                         schedule->timesteps - 1);
    const int stride = stride_of(sampler, options), over = (from + 1) % stride;
    if (over == 0) return VIPO_OK;
    if (from < stride)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "from step: %d, %s starts at its draft times only, the nearest is %d", from,
                         sampler->name, stride - 1);
    return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                     "from step: %d, %s starts at its draft times only, the nearest are %d and %d", from,
                     sampler->name, from - over, from - over + stride);
}

int vipo_sampler_nearest_start(const vipo_sampler *sampler, const vipo_sampler_options *options,
                               const vipo_schedule *schedule, int t)
{
    const int stride = stride_of(sampler, options), most = schedule->timesteps / stride;
    const int strides = (t + 1 + stride / 2) / stride;
    return (strides < 1 ? 1 : strides > most ? most : strides) * stride - 1;
}

void vipo_sampler_describe(const vipo_sampler *sampler, const vipo_sampler_options *options,
                           const vipo_schedule *schedule, int from, char *text, size_t size)
{
    if (sampler->describe)
        sampler->describe(options, schedule, text, size);
    else
        snprintf(text, size, "%s", sampler->name);
    if (sampler->grid) {
        const size_t used = strlen(text);
        vipo_grid_describe(options, sampler->grid, schedule, text + used, size - used);
    }
    if (sampler->describe_rest) {
        const size_t used = strlen(text);
        sampler->describe_rest(options, text + used, size - used);
    }
    if (from < schedule->timesteps - 1) {
        const size_t used = strlen(text);
        snprintf(text + used, size - used, " from %d", from);
    }
}

size_t vipo_sampler_memory(const vipo_sampler *sampler, const vipo_sampler_options *options,
                           const vipo_schedule *schedule, int videos, size_t dim)
{
    return sampler->memory ? sampler->memory(options, schedule, videos, dim)
                           : (size_t)sampler->states * (size_t)videos * dim;
}

vipo_status vipo_sampler_run(const vipo_sampler *sampler, vipo_sampling *sampling, vipo_error *error)
{
    if (sampler->sample) return sampler->sample(sampling, error);
    vipo_grid grid;
    VIPO_TRY(vipo_grid_make(&grid, sampling->options, sampler->grid, sampling->schedule, error));
    vipo_grid_start_at(&grid, sampling->from);
    sampling->expected_evaluations = (double)grid.steps * (double)sampling->videos;
    for (int i = 0; i < grid.steps; i++) {
        VIPO_TRY(vipo_sampling_call_all(sampling, grid.times[i], sampling->x, sampling->memory, error));
        sampling->step_error = -1;
        sampler->step(sampling, &grid, i);
        if (sampling->step_error >= 0) {
            sampling->stats.has_error = true;
            sampling->stats.error_squares += sampling->step_error * sampling->step_error;
        }
        vipo_trace_step(sampling, i, grid.times[i], grid.times[i + 1]);
    }
    return VIPO_OK;
}

/* ---- for samplers --------------------------------------------------------------------------------------- */

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

static vipo_status call(vipo_sampling *sampling, int rows, const int *video, const int *t, const float *x,
                        float *v, int *calls, int *evaluations, vipo_error *error)
{
    const vipo_denoiser *denoiser = sampling->denoiser;
    VIPO_TRY(vipo_check_cancelled(sampling->callbacks, error));
    VIPO_TRY(denoiser->denoise(denoiser->user, rows, video, t, x, v, error));
    for (int r = 0; r < rows; r++)
        if (!all_finite(v + (size_t)r * denoiser->dim, denoiser->dim))
            return vipo_fail(error, VIPO_NUMERIC, "the network's output at t = %d is not finite", t[r]);
    *calls += 1;
    *evaluations += rows;
    const int done = sampling->stats.evaluations + sampling->stats.verify_evaluations;
    if (sampling->expected_evaluations < done) sampling->expected_evaluations = done;
    vipo_progress(sampling->callbacks, "plan", done, sampling->expected_evaluations);
    return VIPO_OK;
}

vipo_status vipo_sampling_call(vipo_sampling *sampling, int rows, const int *video, const int *t,
                               const float *x, float *v, vipo_error *error)
{
    return call(sampling, rows, video, t, x, v, &sampling->stats.calls, &sampling->stats.evaluations, error);
}

vipo_status vipo_sampling_verify_call(vipo_sampling *sampling, int rows, const int *video, const int *t,
                                      const float *x, float *v, vipo_error *error)
{
    return call(sampling, rows, video, t, x, v, &sampling->stats.verify_calls,
                &sampling->stats.verify_evaluations, error);
}

vipo_status vipo_sampling_call_all(vipo_sampling *sampling, int t, const float *x, float *v,
                                   vipo_error *error)
{
    /* a call's row lists come in fixed-size pieces only when there are very many videos */
    int video[GROUP], times[GROUP];
    const size_t dim = sampling->denoiser->dim;
    const int calls = sampling->stats.calls;
    for (int first = 0; first < sampling->videos; first += GROUP) {
        const int rows = sampling->videos - first < GROUP ? sampling->videos - first : GROUP;
        for (int r = 0; r < rows; r++) {
            video[r] = first + r;
            times[r] = t;
        }
        VIPO_TRY(vipo_sampling_call(sampling, rows, video, times, x + (size_t)first * dim,
                                    v + (size_t)first * dim, error));
    }
    sampling->stats.calls = calls + 1;
    return VIPO_OK;
}
