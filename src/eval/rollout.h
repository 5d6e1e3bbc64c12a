/* One worker: an environment, a policy's session, a source of plans; and an episode run by it. */
#ifndef VIPO_EVAL_ROLLOUT_H
#define VIPO_EVAL_ROLLOUT_H

#include "eval/imaginer.h"
#include "eval/record.h"

typedef struct vipo_rollout vipo_rollout;

/* Used by one thread at a time; opens nothing before the first episode. `stop` is borrowed. */
vipo_status vipo_rollout_open(vipo_rollout **out, const vipo_evaluation *evaluation, const vipo_stop *stop,
                              vipo_error *error);
void vipo_rollout_close(vipo_rollout **rollout);

/* Runs the episode. What went wrong with the episode itself (VIPO_NUMERIC from the policy or the planner) is in out->error;
 * any other failure is returned, VIPO_CANCELLED if `stop` wanted it. */
vipo_status vipo_rollout_run(vipo_rollout *rollout, const vipo_job *job, vipo_record *out, vipo_error *error);

#endif
