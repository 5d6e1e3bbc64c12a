/* Made-up scenes with known answers: an ellipsoid or a box that moves over a table, seen by a pinhole camera that looks along
 * -z, with exact depth, mask and flow, which can be spoilt. */
#ifndef VIPO_TESTS_FLOW_SCENE_H
#define VIPO_TESTS_FLOW_SCENE_H

#include "support/support.h"

#include "vipo/action.h"

typedef struct flow_scene_options {
    uint64_t seed; /* of everything that is not said here */
    int height, width, frames;
    bool box;           /* else an ellipsoid; half axes 2 to 5 cm, 0.8 to 1.2 m from the camera */
    double translation; /* metres from frame to frame, along a table or up */
    double turn;        /* degrees from frame to frame */
    bool any_axis;      /* turns about any axis, else about the vertical */
    double noise;       /* standard deviation of every flow vector, pixels */
    double
        blur; /* half the width of a box filter over the flow, pixels: motion boundaries of a network are soft */
    double wrong; /* share of 8x8 blocks whose flow is off by up to 6 pixels */
} flow_scene_options;

typedef struct flow_scene {
    vipo_array depth, flow, backward; /* [H][W] negative metres, [n][H][W][2] each */
    uint8_t *mask;
    double matrix[12];
    double (*motions)[16];       /* [n] of the world */
    double center[3];            /* of the object, at first */
    vipo_motion_request request; /* without the backward flow */
} flow_scene;

void flow_scene_open(flow_scene *out, const flow_scene_options *options);
void flow_scene_close(flow_scene *scene);

/* Where the true motions take a point of the object. */
void flow_scene_carry(const flow_scene *scene, int frames, const double point[3], double out[3]);
/* Distance of a plan's last subgoal from where it should be, metres. */
double flow_scene_error(const flow_scene *scene, const vipo_motion *motion);

#endif
