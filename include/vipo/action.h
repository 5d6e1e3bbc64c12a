/* vipo: from an imagined video to robot actions.
 *
 *   1. optical flow: how pixels move from one frame to the next
 *   2. motion: flow, depth and a mask -> rigid motions, subgoals, a controller (AVDC's flow policy)
 *   3. goal-conditioned policy: observation and goal frame -> a short sequence of actions (GCP)
 *
 * Conventions are those of vipo.h: statuses and errors, ownership, arrays in C order. Pixel (u, v): u column, v row,
 * centres at integers, (0, 0) the first pixel of the first row.
 */
#ifndef VIPO_ACTION_H
#define VIPO_ACTION_H

#include "vipo/vipo.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. optical flow ---------------------------------------------------------------------------- */

/* ---- 2. motion ---------------------------------------------------------------------------------- */

/* ---- 3. goal-conditioned policy ----------------------------------------------------------------- */

#ifdef __cplusplus
}
#endif

#endif
