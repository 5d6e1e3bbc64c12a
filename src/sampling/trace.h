/* Trace events: one JSON object per line through callbacks.trace. Nothing is formatted when nobody listens.
 */
#ifndef VIPO_SAMPLING_TRACE_H
#define VIPO_SAMPLING_TRACE_H

#include "sampling/sampler.h"

/* {"event":"step","step":0,"t":99,"t_next":97,"calls":1,"evals":1}: one step of all videos, counts so far; if the sampler
 * estimates its error, also "error_rms" of this step and "fallbacks" so far. */
void vipo_trace_step(const vipo_sampling *sampling, int step, int t, int t_next);

/* One draft-verify round of one video. */
typedef struct vipo_round {
    int video, round;
    int start_token, start_t; /* where it began */
    int k;                    /* tokens drafted */
    double threshold;
    const double *distances; /* L2 between draft and target, or estimates of it */
    int n_distances;
    const double *true_distances; /* where distances are estimates that were verified; else NULL */
    int accepted;                 /* longest prefix within the threshold */
    int advance;                  /* tokens gained */
    int next_token, next_t;
    int calls, evals; /* of this round, as if the video ran alone */
} vipo_round;
void vipo_trace_round(const vipo_sampling *sampling, const vipo_round *round);

/* {"event":"auto","sampler":"ab2:12","distance":0.015,"within":true,"batch_seconds":{"fixed":...,"per_row":...},
 * "measure_seconds":...,"candidates":[{"sampler":...,"distance":...,"predicted_seconds":...}, ...]} */
void vipo_trace_choice(const vipo_callbacks *callbacks, const vipo_sampler_choice *choice);

/* {"event":"scores","score":"consensus","scores":[...],"best":2,"evals":0,"seconds":...} */
void vipo_trace_scores(const vipo_callbacks *callbacks, const char *score, const vipo_plan *plan);

/* {"event":"end","sampler":"...","compute":"avx2","methods":"fixed","calls":18,"evals":50,"network_rows":50,
 * "seconds":1.5,"peak_bytes":...} */
void vipo_trace_end(const vipo_callbacks *callbacks, const vipo_plan *plan, const vipo_sampler_stats *stats);

#endif
