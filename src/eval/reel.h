/* The film of an episode: the camera's view with the plan beside it. */
#ifndef VIPO_EVAL_REEL_H
#define VIPO_EVAL_REEL_H

#include "eval/evaluation.h"

typedef struct vipo_reel vipo_reel;

/* Of the job's episode, in the folder of the options, which is made if it is not there. */
vipo_status vipo_reel_open(vipo_reel **out, const vipo_evaluation *evaluation, const vipo_job *job,
                           vipo_error *error);
/* The state after `step` steps: a picture of every video_stride-th. frames: [1 + n][H][W][3] of the plan in force, empty
 * before the first; plans: how many there were. */
vipo_status vipo_reel_add(vipo_reel *reel, vipo_sim *sim, int step, bool success, const vipo_array *frames,
                          int plans, vipo_error *error);
/* Marks how it ended and writes the file; name: of the file inside the folder. */
vipo_status vipo_reel_finish(vipo_reel *reel, bool success, char *name, size_t size, vipo_error *error);
void vipo_reel_close(vipo_reel **reel);

#endif
