/* The cosine noise schedule of AVDC (Nichol & Dhariwal 2021: s = 0.008, betas clipped to 0.999), in double.
 */
#ifndef VIPO_SAMPLING_SCHEDULE_H
#define VIPO_SAMPLING_SCHEDULE_H

#include "core/status.h"

typedef struct vipo_schedule {
    int timesteps;     /* T; t = T - 1 is the noisiest, t = -1 the clean video */
    double *alpha_bar; /* [T] cumulative product of 1 - beta */
    double *beta;      /* [T] */
} vipo_schedule;

vipo_status vipo_schedule_open(vipo_schedule *out, int timesteps, vipo_error *error);
void vipo_schedule_close(vipo_schedule *schedule);

/* sqrt(abar_t) and sqrt(1 - abar_t); 1 and 0 at t = -1. */
double vipo_schedule_alpha(const vipo_schedule *schedule, int t);
double vipo_schedule_sigma(const vipo_schedule *schedule, int t);
/* phi = atan2(sigma, alpha), 0 at t = -1; and ln(alpha / sigma), infinite there. */
double vipo_schedule_angle(const vipo_schedule *schedule, int t);
double vipo_schedule_log_snr_half(const vipo_schedule *schedule, int t);

/* The posterior q(x_{t-1} | x_t, x0) = N(coefficient_x0 x0 + coefficient_x x_t, variance). */
typedef struct vipo_posterior {
    double coefficient_x0, coefficient_x;
    double variance;
    double log_variance; /* of the variance clipped to 1e-20 */
} vipo_posterior;
vipo_posterior vipo_schedule_posterior(const vipo_schedule *schedule, int t);

/* Times of a uniform grid of `steps` steps: linspace(-1, T - 1, steps + 1), truncated towards zero, from T -
 * 1 down to -1; times has room for steps + 1. */
void vipo_schedule_uniform_grid(const vipo_schedule *schedule, int steps, int *times);

/* A deterministic DDIM step (eta 0) from t to t_next <= t, out = alpha' x0 + sigma' eps; out may be x. At
 * t_next = -1 it is the prediction of x0. */
void vipo_ddim_step(const vipo_schedule *schedule, int t, int t_next, size_t dim, const float *x,
                    const float *v, float *out);

#endif
