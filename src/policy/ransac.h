/* AVDC's choice of the points that move together: 2-D similarities of random pairs, the one that most points follow. */
#ifndef VIPO_POLICY_RANSAC_H
#define VIPO_POLICY_RANSAC_H

#include <stdbool.h>
#include <stdint.h>

/* The 3x3 matrix, row by row, of the similarity that takes two pixels, from (u, v, u, v), to two others: the affine map that
 * agrees with it there and at `center`, as AVDC computes it; the identity if those three pixels are exactly on a line. */
void vipo_similarity(const double from[4], const double to[4], const double center[2], double out[9]);

/* Tries the `tries` pairs of indices in order; a point is an inlier if it ends less than `threshold` pixels from where it
 * should. The first pair of the most inliers wins: inside[n] says who they are, *best (may be NULL) is its matrix. Returns
 * how many there are. from, to: [n][2]; tries >= 1. */
int vipo_ransac(const double *from, const double *to, int n, const double center[2], const int32_t *pairs,
                int tries, double threshold, bool *inside, double *best);

#endif
