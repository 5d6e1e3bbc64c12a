/* Points of an object: drawn from a mask, lifted by a depth map; and where to grasp among them. */
#ifndef VIPO_POLICY_POINT_SAMPLER_H
#define VIPO_POLICY_POINT_SAMPLER_H

#include "policy/field.h"
#include "policy/motion_draws.h"
#include "policy/projection.h"

typedef struct vipo_samples {
    double *uv;     /* [n][2] pixels */
    double *depth;  /* [n] as the map has it */
    double *points; /* [n][3] */
    int n;
} vipo_samples;

typedef enum vipo_sampler_rule {
    VIPO_SAMPLE_STRICT, /* as AVDC's manipulation: an empty mask means every pixel, reads outside of the map fail */
    VIPO_SAMPLE_CLAMPED, /* as AVDC's navigation: the same with clamped reads */
    VIPO_SAMPLE_EVEN, /* as clamped, but no pixels are taken for an empty mask, and no points where the depth jumps or
                            is not known */
} vipo_sampler_rule;

/* Draws n points of mask [height][width] of depth. Even points: none of those whose four depths span more than
 * depth_jump; if that leaves fewer than a tenth, as of a thin object, points are the middles of pixels, at the
 * pixel's own depth. *out is zeroed on failure, may have fewer than n points, even none, and is freed by
 * vipo_samples_free. */
vipo_status vipo_samples_draw(const uint8_t *mask, const vipo_field *depth, const vipo_projection *camera,
                              vipo_sampler_rule rule, double depth_jump, int n,
                              const vipo_draw_source *source, vipo_samples *out, vipo_error *error);
void vipo_samples_free(vipo_samples *samples);

/* AVDC's grasp point: the first sample whose distances to all others in the picture have the smallest sum, at the median
 * depth of the samples less than 5 pixels from it. scratch: [n]; n >= 1. */
void vipo_samples_grasp(const vipo_samples *samples, const vipo_projection *camera, double *scratch,
                        double grasp[3]);

#endif
