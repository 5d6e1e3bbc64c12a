/* Scores of the plans of one batch: which of them to follow. */
#ifndef VIPO_POLICY_SCORE_H
#define VIPO_POLICY_SCORE_H

#include "policy/planner.h"

/* Fills scores, best, score_evaluations and score_seconds of a plan with a video, and writes the trace event; nothing
 * without a score in the request. task: [embedding]. */
vipo_status vipo_planner_score(vipo_planner *planner, const vipo_request *request, const float *task,
                               vipo_plan *plan, vipo_error *error);

/* Minus the mean rms distance, in [-1,1] units, of each of n videos in [0,1] to the others; 0 for a single one. */
vipo_status vipo_score_consensus(const float *videos, int n, size_t dim, const vipo_callbacks *callbacks,
                                 float *scores, vipo_error *error);

/* The largest one, the first of several. */
int vipo_score_best(const float *scores, int n);

#endif
