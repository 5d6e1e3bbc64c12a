/* Times the methods of layers and picks the fastest (choices.h keeps what it finds). */
#ifndef VIPO_COMPUTE_TUNER_H
#define VIPO_COMPUTE_TUNER_H

#include "compute/choices.h"

/* For tests. */
typedef struct vipo_tuner_clock {
    double (*seconds)(void);
    long (*interruptions)(void);
} vipo_tuner_clock;

typedef struct vipo_tuner {
    const vipo_ops *ops;
    vipo_pool *pool;
    const vipo_callbacks *callbacks; /* progress "tune", cancelled; may be NULL */
    size_t weight_bytes; /* of the whole network: what goes through the caches between two uses of a layer */
    size_t cache_bytes;  /* of the processor's largest cache; 0: unknown */
    const vipo_tuner_clock *clock; /* NULL: core/clock.h */
} vipo_tuner;

/* Fills in method and seconds of n choices. A layer is computed for one sample, as the networks use it: a 3x3 one with
 * norm and SiLU before it, one over frames with embedding, residual and statistics; all by made-up numbers. Of a large map
 * only a part is computed, since a method's time grows with it evenly. Every method is tried; those that take more than
 * 1.5 times the best time are then left alone, the others are repeated in turn, and the shortest time of each counts. A
 * call that was interrupted is repeated a few times. The method with the least weights is taken of those within 3 % of
 * the best. */
vipo_status vipo_tuner_run(const vipo_tuner *tuner, vipo_choice *choices, int n, vipo_error *error);

#endif
