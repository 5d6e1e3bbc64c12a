/* The threads of this process that run episodes: jobs go in, results come out. */
#ifndef VIPO_EVAL_CREW_H
#define VIPO_EVAL_CREW_H

#include "eval/rollout.h"

typedef struct vipo_crew vipo_crew;

/* A job that is over. */
typedef struct vipo_outcome {
    int number; /* of the job */
    vipo_status status;
    vipo_error error;
    vipo_record record; /* if status is VIPO_OK */
} vipo_outcome;

/* Starts the evaluation's workers. */
vipo_status vipo_crew_open(vipo_crew **out, const vipo_evaluation *evaluation, vipo_error *error);
/* Ends episodes under way, and waits. */
void vipo_crew_close(vipo_crew **crew);

/* How many jobs could be begun at once. */
int vipo_crew_idle(vipo_crew *crew);
/* Hands over a job, if someone is idle. */
void vipo_crew_push(vipo_crew *crew, int number);
/* The next outcome; waits for it up to so many seconds. False: there is none. */
bool vipo_crew_pop(vipo_crew *crew, double seconds, vipo_outcome *out);
/* Episodes under way end with VIPO_CANCELLED. */
void vipo_crew_stop(vipo_crew *crew);

#endif
