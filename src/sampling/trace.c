#include "sampling/trace.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

/* Takes the reference. A line that cannot be built for want of memory is left out: tracing never fails a
 * plan. */
static void send(const vipo_callbacks *callbacks, json_t *object)
{
    char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (line) vipo_trace(callbacks, line);
    free(line);
    json_decref(object);
}

static bool listening(const vipo_callbacks *callbacks)
{
    return callbacks && callbacks->trace;
}

void vipo_trace_step(const vipo_sampling *sampling, int step, int t, int t_next)
{
    if (!listening(sampling->callbacks)) return;
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "event", "step", "step", step, "t", t, "t_next", t_next,
                  "calls", sampling->stats.calls, "evals", sampling->stats.evaluations);
    if (object && sampling->step_error >= 0) {
        json_object_set_new(object, "error_rms", json_real(sampling->step_error));
        json_object_set_new(object, "fallbacks", json_integer(sampling->stats.fallbacks));
    }
    send(sampling->callbacks, object);
}

static json_t *reals(const double *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_real(values[i]));
    return list;
}

void vipo_trace_round(const vipo_sampling *sampling, const vipo_round *round)
{
    if (!listening(sampling->callbacks)) return;
    const double root = sqrt((double)sampling->denoiser->dim);
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:o, s:i, s:i, s:i, s:i, s:i, s:i}", "event",
                  "round", "video", round->video, "round", round->round, "start_token", round->start_token,
                  "start_t", round->start_t, "k", round->k, "threshold", round->threshold, "threshold_rms",
                  round->threshold / root, "distances", reals(round->distances, round->n_distances),
                  "accepted", round->accepted, "advance", round->advance, "next_token", round->next_token,
                  "next_t", round->next_t, "calls", round->calls, "evals", round->evals);
    if (object && round->true_distances)
        json_object_set_new(object, "true_distances", reals(round->true_distances, round->n_distances));
    send(sampling->callbacks, object);
}

void vipo_trace_choice(const vipo_callbacks *callbacks, const vipo_sampler_choice *choice)
{
    if (!listening(callbacks)) return;
    json_t *candidates = json_array();
    for (int i = 0; i < choice->n_candidates; i++) {
        const vipo_sampler_candidate *c = &choice->candidates[i];
        json_array_append_new(candidates, json_pack("{s:s, s:f, s:f}", "sampler", c->sampler, "distance",
                                                    c->distance, "predicted_seconds", c->seconds));
    }
    send(callbacks, json_pack("{s:s, s:s, s:f, s:b, s:{s:f, s:f}, s:f, s:o}", "event", "auto", "sampler",
                              choice->candidates[choice->chosen].sampler, "distance", choice->distance,
                              "within", choice->within, "batch_seconds", "fixed", choice->seconds_fixed,
                              "per_row", choice->seconds_per_row, "measure_seconds", choice->measure_seconds,
                              "candidates", candidates));
}

void vipo_trace_scores(const vipo_callbacks *callbacks, const char *score, const vipo_plan *plan)
{
    if (!listening(callbacks)) return;
    json_t *scores = json_array();
    for (size_t i = 0; i < vipo_array_size(&plan->scores); i++)
        json_array_append_new(scores, json_real((double)plan->scores.data[i]));
    send(callbacks,
         json_pack("{s:s, s:s, s:o, s:i, s:i, s:f}", "event", "scores", "score", score, "scores", scores,
                   "best", plan->best, "evals", plan->score_evaluations, "seconds", plan->score_seconds));
}

void vipo_trace_end(const vipo_callbacks *callbacks, const vipo_plan *plan, const vipo_sampler_stats *stats)
{
    if (!listening(callbacks)) return;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:I}", "event", "end", "sampler",
                               plan->sampler, "compute", plan->compute, "methods", plan->methods, "calls",
                               stats->calls, "evals", stats->evaluations, "network_rows", plan->network_rows,
                               "seconds", plan->seconds, "peak_bytes", (json_int_t)plan->peak_bytes);
    if (object && stats->rounds) {
        json_object_set_new(object, "rounds", json_integer(stats->rounds));
        json_object_set_new(object, "drafted", json_integer(stats->drafted));
        json_object_set_new(object, "accepted", json_integer(stats->accepted));
    }
    if (object && stats->verified) {
        json_object_set_new(object, "verify_calls", json_integer(stats->verify_calls));
        json_object_set_new(object, "verify_evals", json_integer(stats->verify_evaluations));
        json_object_set_new(object, "verified", json_integer(stats->verified));
        json_object_set_new(object, "agreed", json_integer(stats->agreed));
    }
    send(callbacks, object);
}
