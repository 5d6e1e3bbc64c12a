/* Subgoals of the hand from rigid motions, and what kind of motion they ask for. */
#ifndef VIPO_POLICY_SUBGOALS_H
#define VIPO_POLICY_SUBGOALS_H

#include <stdbool.h>

/* subgoals [n + 1][3]: the grasp point, then each motion (4x4, `stride` doubles from one to the next) applied to the one
 * before. */
void vipo_subgoals_chain(const double grasp[3], const double *motions, int n, int stride,
                         double (*subgoals)[3]);

/* AVDC's measure for picking the object up: the largest rise or fall, in metres, between neighbours of the `count` subgoals, the
 * first and the last such step left out. False if there are fewer than 4; then, if `short_too` and there are 2, over all
 * steps. */
bool vipo_subgoals_rise(double (*const subgoals)[3], int count, bool short_too, double *rise);
/* More than this is a grasp, else the object is pushed. */
#define VIPO_GRASP_RISE 0.1

#endif
