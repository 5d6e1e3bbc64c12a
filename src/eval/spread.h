/* Processes that work together on an evaluation: the first one, which keeps the store, hands out episodes as the others ask
 * for them. A process by itself is the first of one. */
#ifndef VIPO_EVAL_SPREAD_H
#define VIPO_EVAL_SPREAD_H

#include "eval/crew.h"
#include "eval/transport.h"

typedef struct vipo_spread {
    const vipo_transport *transport; /* NULL: there are no others */
    void *library;
    int process, processes, on_this_host;
    int present; /* of the others: those that may still ask */
} vipo_spread;

/* Under mpirun meets the others; else there are none. */
vipo_status vipo_spread_start(vipo_spread *out, vipo_error *error);
/* All processes must come here. */
void vipo_spread_finish(vipo_spread *spread);

/* ---- the first process ---- */

typedef struct vipo_message {
    enum {
        VIPO_MESSAGE_ASK,    /* to the first: a job, please */
        VIPO_MESSAGE_JOB,    /* to others: number */
        VIPO_MESSAGE_ENOUGH, /* to others: there is no job, and there will be none */
        VIPO_MESSAGE_HALT,   /* to others: end what you are at */
        VIPO_MESSAGE_RESULT, /* to the first: an outcome */
        VIPO_MESSAGE_LEAVE   /* to the first: the last word; status says whether all was well */
    } kind;
    int from, number;
    vipo_outcome outcome;
} vipo_message;

/* *found false: nothing has come. A process that leaves is no longer present. */
vipo_status vipo_spread_receive(vipo_spread *spread, vipo_message *out, bool *found, vipo_error *error);
/* JOB or ENOUGH. */
vipo_status vipo_spread_answer(vipo_spread *spread, int to, bool job, int number, vipo_error *error);
/* HALT to all that are present. */
void vipo_spread_halt(vipo_spread *spread);
/* Tells those that are present that there is nothing to do, and waits until they have left. */
void vipo_spread_dismiss(vipo_spread *spread);

/* ---- the others ---- */

/* Asks, works and tells until there is no more to do; `ready` may have failed, which is told too. */
vipo_status vipo_spread_serve(vipo_spread *spread, vipo_evaluation *e, vipo_status ready, vipo_error *error);

#endif
