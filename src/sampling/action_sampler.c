#include "sampling/action_sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

static const double pi = 3.14159265358979323846, offset = 0.008, largest_beta = 0.999;
static const float least_variance = 1e-20F;

static const vipo_action_sampler *const samplers[] = {&vipo_action_ddim, &vipo_action_ddpm};
enum { SAMPLERS = sizeof samplers / sizeof samplers[0] };

/* ---- schedule ------------------------------------------------------------------------------------------ */

static double alpha_bar(double u)
{
    const double c = cos((u + offset) / (1 + offset) * pi / 2);
    return c * c;
}

vipo_status vipo_action_schedule_open(vipo_action_schedule *out, int timesteps, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const size_t n = (size_t)timesteps;
    float *products = vipo_aligned_calloc(n, sizeof *products);
    if (!products) return vipo_fail_memory(error, n * sizeof *products, "a noise schedule");
    float product = 1;
    for (int i = 0; i < timesteps; i++) {
        const double beta = 1 - alpha_bar((double)(i + 1) / timesteps) / alpha_bar((double)i / timesteps);
        product *= 1 - (float)fmin(beta, largest_beta);
        products[i] = product;
    }
    *out = (vipo_action_schedule){
        .timesteps = timesteps, .alphas_cumprod = products, .clip = true, .clip_range = 1};
    return VIPO_OK;
}

void vipo_action_schedule_close(vipo_action_schedule *schedule)
{
    vipo_aligned_free(schedule->alphas_cumprod);
    memset(schedule, 0, sizeof *schedule);
}

/* Product at a timestep; 1 at the end. */
static float product_at(const vipo_action_schedule *schedule, int t)
{
    return t >= 0 ? schedule->alphas_cumprod[t] : 1;
}

/* ---- one step ------------------------------------------------------------------------------------------- */

/* Factors of a timestep: x = a x0 + s epsilon. */
struct mixture {
    float a, s;
};

static struct mixture mixture_at(const vipo_action_schedule *schedule, int t)
{
    const float product = product_at(schedule, t);
    return (struct mixture){sqrtf(product), sqrtf(1 - product)};
}

/* x0 of element i, clipped, and the noise that the network's output stands for. */
static float estimate(const vipo_action_step *step, size_t i, struct mixture m, float *epsilon)
{
    const vipo_action_schedule *schedule = step->schedule;
    const float x = step->x[i], output = step->output[i];
    float x0 = output;
    *epsilon = output;
    switch (schedule->prediction) {
    case VIPO_ACTION_EPSILON:
        x0 = (x - m.s * output) / m.a;
        break;
    case VIPO_ACTION_SAMPLE:
        *epsilon = (x - m.a * output) / m.s;
        break;
    case VIPO_ACTION_V:
        x0 = m.a * x - m.s * output;
        *epsilon = m.a * output + m.s * x;
        break;
    }
    if (schedule->clip) x0 = fminf(fmaxf(x0, -schedule->clip_range), schedule->clip_range);
    return x0;
}

static void ddim_step(const vipo_action_step *step)
{
    const struct mixture now = mixture_at(step->schedule, step->t),
                         next = mixture_at(step->schedule, step->previous);
    for (size_t i = 0; i < step->n; i++) {
        float epsilon;
        const float x0 = estimate(step, i, now, &epsilon);
        step->x[i] = next.a * x0 + next.s * epsilon;
    }
}

static void ddpm_step(const vipo_action_step *step)
{
    const float product = product_at(step->schedule, step->t),
                before = product_at(step->schedule, step->previous);
    const float alpha = product / before, beta = 1 - alpha;
    const float of_x0 = sqrtf(before) * beta / (1 - product),
                of_x = sqrtf(alpha) * (1 - before) / (1 - product);
    const float deviation = sqrtf(fmaxf((1 - before) / (1 - product) * beta, least_variance));
    const struct mixture now = mixture_at(step->schedule, step->t);
    for (size_t i = 0; i < step->n; i++) {
        float epsilon;
        const float x0 = estimate(step, i, now, &epsilon);
        float x = of_x0 * x0 + of_x * step->x[i];
        if (step->noise) x += deviation * step->noise[i];
        step->x[i] = x;
    }
}

const vipo_action_sampler vipo_action_ddim = {
    .name = "ddim", .summary = "few steps, nothing drawn after the start", .step = ddim_step};
const vipo_action_sampler vipo_action_ddpm = {.name = "ddpm",
                                              .summary = "ancestral: noise in every step but the last",
                                              .draws = true,
                                              .step = ddpm_step};

/* ---- running --------------------------------------------------------------------------------------------- */

const vipo_action_sampler *vipo_action_sampler_at(int i)
{
    return i >= 0 && i < SAMPLERS ? samplers[i] : NULL;
}

vipo_status vipo_action_sampler_find(const vipo_action_sampler **out, const char *name, vipo_error *error)
{
    char known[64] = "";
    *out = NULL;
    for (int i = 0; i < SAMPLERS; i++) {
        if (strcmp(samplers[i]->name, name) == 0) *out = samplers[i];
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? " or " : "", samplers[i]->name);
    }
    if (*out) return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown sampler \"%.40s\" of actions, expected %s", name,
                     known);
}

int vipo_action_timestep(const vipo_action_schedule *schedule, int steps, int i)
{
    return schedule->timesteps / steps * (steps - 1 - i);
}

vipo_status vipo_action_sample(const vipo_action_sampler *sampler, const vipo_action_schedule *schedule,
                               int steps, const vipo_action_source *source, size_t n, float *x, float *work,
                               vipo_error *error)
{
    if (steps < 1 || steps > schedule->timesteps)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "steps: %d, the policy has 1..%d", steps,
                         schedule->timesteps);
    float *output = work, *noise = work + n;
    for (int i = 0; i < steps; i++) {
        const int t = vipo_action_timestep(schedule, steps, i);
        const bool draws = sampler->draws && i + 1 < steps;
        VIPO_TRY(source->denoise(source->user, x, t, output, error));
        if (draws) source->draw(source->user, i, noise);
        sampler->step(&(vipo_action_step){.schedule = schedule,
                                          .t = t,
                                          .previous = t - schedule->timesteps / steps,
                                          .n = n,
                                          .x = x,
                                          .output = output,
                                          .noise = draws ? noise : NULL});
    }
    return VIPO_OK;
}
