/* What samplers see of a network: a function that predicts v of noisy videos.
 *
 * Angle form (sampling.md of the design, after Salimans & Ho 2022): with alpha = sqrt(abar_t), sigma = sqrt(1
 * - abar_t), x = alpha x0 + sigma eps and v = alpha eps - sigma x0. */
#ifndef VIPO_SAMPLING_DENOISER_H
#define VIPO_SAMPLING_DENOISER_H

#include "core/status.h"

typedef struct vipo_denoiser {
    void *user;
    size_t dim; /* floats of a video */
    /* v[r] = network(x[r], t[r]) for r in [0, rows): rows of one batch, each a state of video[r] (which has
     * its own condition frame) at timestep t[r]. x, v: [rows][dim], in [-1,1] units. Guidance happens inside.
     * The result of a row does not depend on the other rows. */
    vipo_status (*denoise)(void *user, int rows, const int *video, const int *t, const float *x, float *v,
                           vipo_error *error);
} vipo_denoiser;

#endif
