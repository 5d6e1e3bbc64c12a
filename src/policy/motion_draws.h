/* The random draws of the flow policies: recorded ones, in AVDC's order, or numbers of a counter. */
#ifndef VIPO_POLICY_MOTION_DRAWS_H
#define VIPO_POLICY_MOTION_DRAWS_H

#include "vipo/action.h"

#include "core/status.h"

typedef struct vipo_draw_source {
    const vipo_motion_draws *recorded; /* or NULL: of the counter */
    uint64_t seed;
    uint32_t episode, plan;
    int frame;       /* whose pairs and starts are drawn */
    int starts_used; /* recorded ones, so far */
} vipo_draw_source;

/* `n` of `pixels` indices, with repetition, and where in the pixel, [n][2] in (-0.5, 0.5). */
vipo_status vipo_draw_samples(const vipo_draw_source *source, int pixels, int n, int32_t *index,
                              double *jitter, vipo_error *error);
/* `tries` pairs of two different indices below n (>= 2), [tries][2]. */
vipo_status vipo_draw_pairs(const vipo_draw_source *source, int n, int tries, int32_t *pairs,
                            vipo_error *error);
/* x0 [n][6], standard normals: vipo_start_source.draw with the source as its user. */
vipo_status vipo_draw_starts(void *source, int n, double *x0, vipo_error *error);

#endif
