/* Samplers of action sequences with the arithmetic of the diffusers package, which diffusion policies are trained and
 * run with: float32 products, "leading" timesteps, x0 clipped before a step and the noise not recomputed from it. They
 * differ from the video samplers (sampler.h), whose schedule is continuous and whose network predicts v. */
#ifndef VIPO_SAMPLING_ACTION_SAMPLER_H
#define VIPO_SAMPLING_ACTION_SAMPLER_H

#include "core/status.h"

/* What the network predicts. */
typedef enum vipo_action_prediction {
    VIPO_ACTION_EPSILON,
    VIPO_ACTION_SAMPLE,
    VIPO_ACTION_V
} vipo_action_prediction;

typedef struct vipo_action_schedule {
    int timesteps;
    float *alphas_cumprod; /* [timesteps] */
    vipo_action_prediction prediction;
    bool clip; /* x0 to [-range, range] */
    float clip_range;
} vipo_action_schedule;

/* "squaredcos_cap_v2" (Nichol and Dhariwal 2021): beta_i = min(1 - f((i+1)/T) / f(i/T), 0.999), f(u) = cos^2((u +
 * 0.008) / 1.008 pi / 2), in double; 1 - beta and its running product in float32. Clips to [-1, 1]. */
vipo_status vipo_action_schedule_open(vipo_action_schedule *out, int timesteps, vipo_error *error);
void vipo_action_schedule_close(vipo_action_schedule *schedule);

/* One step of one element list: x of timestep t becomes x of timestep `previous` (below 0: the end). */
typedef struct vipo_action_step {
    const vipo_action_schedule *schedule;
    int t, previous;
    size_t n;
    float *x;
    const float *output; /* of the network */
    const float *noise;  /* NULL: none is drawn in this step */
} vipo_action_step;

typedef struct vipo_action_sampler {
    const char *name, *summary;
    bool draws; /* noise in every step but the last */
    void (*step)(const vipo_action_step *step);
} vipo_action_sampler;

/* Denoising diffusion implicit models, eta 0 (Song et al. 2021); denoising diffusion probabilistic models, the smaller
 * variance (Ho et al. 2020). */
extern const vipo_action_sampler vipo_action_ddim, vipo_action_ddpm;

/* NULL past the end. */
const vipo_action_sampler *vipo_action_sampler_at(int i);
/* An unknown name is told the known ones. */
vipo_status vipo_action_sampler_find(const vipo_action_sampler **out, const char *name, vipo_error *error);

/* Timestep of step i of `steps`: floor(T / steps) * (steps - 1 - i). */
int vipo_action_timestep(const vipo_action_schedule *schedule, int steps, int i);

/* What a run asks for. */
typedef struct vipo_action_source {
    void *user;
    /* output = network(x, t) */
    vipo_status (*denoise)(void *user, const float *x, int t, float *output, vipo_error *error);
    /* Noise of step i; for samplers that draw. */
    void (*draw)(void *user, int i, float *noise);
} vipo_action_source;

/* Runs all steps on x, n numbers. work: 2 n numbers. */
vipo_status vipo_action_sample(const vipo_action_sampler *sampler, const vipo_action_schedule *schedule,
                               int steps, const vipo_action_source *source, size_t n, float *x, float *work,
                               vipo_error *error);

#endif
