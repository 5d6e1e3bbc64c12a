/* The noise of one plan: x_T and, for ancestral samplers, that of each step; given by the request or drawn. */
#ifndef VIPO_POLICY_NOISE_H
#define VIPO_POLICY_NOISE_H

#include "core/status.h"
#include "core/torch_rng.h"
#include "nets/config.h"

typedef struct vipo_noise {
    const vipo_request *request;
    size_t frames, pixels, channels; /* of one video; pixels of a frame */
    /* VIPO_RNG_TORCH: the stream, and the tensor drawn last, which AVDC lays out [samples][frames][3][H][W] */
    vipo_torch_rng torch;
    float *drawn;
    int drawn_step; /* step that `drawn` is for, -1: x_T */
} vipo_noise;

/* request must stay. Release in every case. */
vipo_status vipo_noise_open(vipo_noise *out, const vipo_request *request, const vipo_unet_config *config,
                            vipo_error *error);
void vipo_noise_close(vipo_noise *noise);

/* x_T into x, [samples][frames][H][W][3]; before any step. */
void vipo_noise_start(vipo_noise *noise, float *x);
/* Noise of a step for one video; the steps in order, the `draw` of vipo_step_noise (sampling/sampler.h). */
void vipo_noise_draw(void *noise, int step, int video, size_t dim, float *out);

#endif
