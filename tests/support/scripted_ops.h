/* An op table whose methods take as long as a test says, by a clock that only its calls move. It computes nothing. */
#ifndef VIPO_TESTS_SCRIPTED_OPS_H
#define VIPO_TESTS_SCRIPTED_OPS_H

#include "compute/tuner.h"
#include "support/support.h"

extern const vipo_ops scripted_ops;
extern const vipo_tuner_clock scripted_clock;

typedef struct scripted_state {
    double now;
    long interruptions;
    bool knows[VIPO_METHODS];
    vipo_method fixed;            /* what choose says */
    double seconds[VIPO_METHODS]; /* of a call, for each million products of the plain method */
    size_t floats[VIPO_METHODS];  /* of packed weights */
    int disturbed;                /* calls to come that are interrupted and take ten times as long */
    int calls[VIPO_METHODS], packs;
    vipo_conv_space space; /* of the last calls; what they point to is gone */
    vipo_conv_time time;
    bool plausible; /* all numbers of all calls so far were in [-2, 2] and not all the same */
} scripted_state;
extern scripted_state scripted;

enum { SCRIPTED_METHODS = 3 }; /* direct and both of Winograd */

/* All three methods known, direct fixed, packed weights of 9, 16 and 36 floats, seconds as given. */
void scripted_reset(double direct, double winograd2, double winograd4);

#endif
