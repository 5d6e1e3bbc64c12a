/* A pinhole camera as a 3x4 matrix: h = matrix (x, y, z, 1), pixel (u, v) = (h0/h2, h1/h2), depth h2. AVDC's Meta-World
 * cameras look along -z, so their depths are negative. Points are in metres, doubles throughout. */
#ifndef VIPO_POLICY_PROJECTION_H
#define VIPO_POLICY_PROJECTION_H

#include "core/status.h"

typedef struct vipo_projection {
    double matrix[12];  /* row by row */
    double inverse[9];  /* of the left 3x3 part */
    bool flipped_depth; /* depth maps hold -h2 */
} vipo_projection;

/* VIPO_INVALID_ARGUMENT unless the matrix is finite and its left part can be inverted. */
vipo_status vipo_projection_open(vipo_projection *out, const double matrix[12], vipo_error *error);
/* Pixel of a point; not finite for one in the camera's plane. */
void vipo_project(const vipo_projection *camera, const double point[3], double uv[2]);
/* The point at pixel (u, v) whose depth map says z. */
void vipo_lift(const vipo_projection *camera, const double uv[2], double z, double point[3]);

/* a (3x3, row by row) inverted by LU with partial pivoting, as LAPACK does it; false if a pivot is exactly 0. */
bool vipo_invert_3x3(const double a[9], double out[9]);

#endif
