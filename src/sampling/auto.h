/* Sampler "auto": the fastest of the known samplers that are as near to the exact flow as wanted. Pure functions of a
 * measured batch cost; policy/auto.c measures it. */
#ifndef VIPO_SAMPLING_AUTO_H
#define VIPO_SAMPLING_AUTO_H

#include "sampling/sampler.h"

/* Time of one network call of b rows: seconds_fixed + seconds_per_row b for b <= max_batch; larger ones are split. */
typedef struct vipo_batch_cost {
    double seconds_fixed, seconds_per_row;
    int max_batch;
} vipo_batch_cost;

/* The line through the seconds of one row and of `rows` rows (rows > 1). A disturbed measurement does no worse than to
 * make batches look proportional, seconds_fixed = 0, or free, seconds_per_row = 0: both members stay in
 * 0..seconds_of_one. rows 1: proportional, as where every batch is split into single rows. */
vipo_batch_cost vipo_batch_cost_fit(double seconds_of_one, int rows, double seconds_of_rows, int max_batch);
double vipo_batch_cost_seconds(const vipo_batch_cost *cost, int rows);

/* What is wanted, and of which model. */
typedef struct vipo_auto_wish {
    double distance;
    int samples;
    bool guidance; /* doubles rows */
    const vipo_schedule *schedule;
    int from; /* timestep to start from; samplers that cannot are left out. Costs and distances are those of plans from T - 1 */
    const vipo_sampler_candidate *own; /* distances of the model's own, by name; seconds are not read */
    int n_own;                         /* 0: the recorded ones */
} vipo_auto_wish;

/* Fills `out` with the candidates, their predicted seconds and the choice, and `sampler` with the settings of the
 * chosen one. Among candidates within the wanted distance that of the smallest predicted time is chosen, the nearer one
 * of two that take equally long; if there is none, the nearest of all. Fails where the schedule has no candidate. */
vipo_status vipo_auto_choose(const vipo_auto_wish *wish, const vipo_batch_cost *cost,
                             vipo_sampler_choice *out, vipo_sampler_options *sampler, vipo_error *error);

/* VIPO_FORMAT, with the list of known names, for an own distance of a sampler that is no candidate; `file` is where it
 * came from. */
vipo_status vipo_auto_check_own(const vipo_sampler_candidate *own, int n_own, const char *file,
                                vipo_error *error);

#endif
