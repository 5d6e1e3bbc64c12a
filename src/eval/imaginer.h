/* Where a worker's plans come from: a video model, or the simulator itself. */
#ifndef VIPO_EVAL_IMAGINER_H
#define VIPO_EVAL_IMAGINER_H

#include "eval/evaluation.h"

/* Asked for by what runs long; true: VIPO_CANCELLED. May be called from any thread. */
typedef struct vipo_stop {
    void *user;
    bool (*wanted)(void *user);
} vipo_stop;

typedef struct vipo_imaginer vipo_imaginer;

/* Used by one thread at a time. `stop` is borrowed. */
vipo_status vipo_imaginer_open(vipo_imaginer **out, const vipo_evaluation *evaluation, const vipo_stop *stop,
                               vipo_error *error);
void vipo_imaginer_close(vipo_imaginer **imaginer);

/* A plan that is asked for. */
typedef struct vipo_wish {
    const vipo_job *job;
    int number;                /* of the plan in its episode */
    uint64_t noise;            /* seed of its noise */
    const vipo_image *picture; /* what the camera sees; borrowed */
    const double *observation; /* borrowed */
    const vipo_array *warm;    /* the plan before, [1][n][H][W][3], to start from; NULL */
    int executed;              /* frames of it that have been carried out */
} vipo_wish;

typedef struct vipo_dream {
    vipo_array frames; /* [1 + n][H][W][3]: what is seen, then what is imagined */
    int calls, evaluations, network_rows, rounds, drafted, accepted;
    double seconds;
    char compute[16], methods[24]; /* "" without a model */
} vipo_dream;

/* Looks at the environment, which may go on afterwards. */
vipo_status vipo_imaginer_look(vipo_imaginer *imaginer, const vipo_sim *sim, const vipo_job *job,
                               vipo_error *error);
/* The plan for what was looked at last. */
vipo_status vipo_imaginer_dream(vipo_imaginer *imaginer, const vipo_wish *wish, vipo_dream *out,
                                vipo_error *error);
void vipo_dream_free(vipo_dream *dream);

#endif
