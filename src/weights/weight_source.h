/* Where a network's weights come from: a file, or numbers made up by a test. */
#ifndef VIPO_WEIGHTS_WEIGHT_SOURCE_H
#define VIPO_WEIGHTS_WEIGHT_SOURCE_H

#include "core/status.h"

typedef struct vipo_weight_source {
    void *user;
    /* Fills out with the tensor of that name as float32, C order; fails with VIPO_MISMATCH (name, expected,
     * found) unless it is there with exactly this shape and a floating-point type, VIPO_NUMERIC if it holds
     * a NaN or infinity. */
    vipo_status (*read)(void *user, const char *name, int rank, const size_t *shape, float *out,
                        vipo_error *error);
} vipo_weight_source;

#endif
