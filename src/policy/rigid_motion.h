/* Rigid motions of the world as 4x4 matrices, row by row, and as AVDC's six numbers (x, y, z, roll, pitch, yaw):
 * [Rx(roll) Ry(pitch) Rz(yaw) | (x, y, z)], metres and radians, about the world's origin. */
#ifndef VIPO_POLICY_RIGID_MOTION_H
#define VIPO_POLICY_RIGID_MOTION_H

#include "policy/projection.h"

void vipo_rigid_identity(double out[16]);
void vipo_rigid_from_parameters(const double x[6], double out[16]);
void vipo_rigid_to_parameters(const double motion[16], double x[6]);
/* in and out may be the same. */
void vipo_rigid_move(const double motion[16], const double in[3], double out[3]);

/* Points and where the next frame shows them; borrowed. */
typedef struct vipo_matches {
    const vipo_projection *camera;
    const double *points; /* [n][3] */
    const double *uv;     /* [n][2] */
    int n;                /* >= 1 */
} vipo_matches;

/* AVDC's loss: the mean over 2n numbers of (project(motion points) - uv)^2, in square pixels, plus max(1, |t|) - 1 for a
 * translation t of more than a metre. Not finite if a point comes into the camera's plane. */
double vipo_rigid_loss(const vipo_matches *matches, const double motion[16]);

typedef struct vipo_rigid_fit {
    double motion[16];
    double loss;
    int iterations; /* of all starts */
    int starts;     /* that were run */
} vipo_rigid_fit;

/* Levenberg-Marquardt from the identity on the same loss: rotations about the points' centroid, analytic derivatives, 6x6
 * normal equations. Fewer than 3 points leave the motion underdetermined: one of the best is found. */
void vipo_rigid_fit_lm(const vipo_matches *matches, vipo_rigid_fit *out);

/* AVDC's: BFGS with forward differences from 0; unless that reaches a loss of 1e-3, `restarts` more from x0
 * [restarts][6], of which the best counts. `draw` gives x0 when it is needed. */
typedef struct vipo_start_source {
    void *user;
    vipo_status (*draw)(void *user, int n, double *x0, vipo_error *error);
} vipo_start_source;
vipo_status vipo_rigid_fit_reference(const vipo_matches *matches, int restarts,
                                     const vipo_start_source *starts, vipo_rigid_fit *out, vipo_error *error);

#endif
