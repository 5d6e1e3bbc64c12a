/* Weights by the recipe of tests/golden/policy: a number follows from the case's seed, the tensor's place in a list and
 * its own place in the tensor. */
#ifndef VIPO_TESTS_RECIPE_H
#define VIPO_TESTS_RECIPE_H

#include <jansson.h>

#include "support/support.h"

#include "weights/weight_source.h"

/* root: {"seed": n, "crc32": {name: hex, ...}, "weights": [[name, offset, scale], ...]}, borrowed. */
typedef struct recipe_weights {
    const json_t *root;
    uint64_t seed;
    int reads; /* tensors asked for */
    int sums;  /* that were compared with the recorded CRC-32 */
} recipe_weights;

recipe_weights recipe_weights_of(const json_t *root);
/* Fails the test on a name that is not in the list, or a tensor whose sum is another. */
vipo_weight_source recipe_weights_source(recipe_weights *weights);

/* One number. */
float recipe_number(uint64_t seed, uint64_t index, uint64_t element, double offset, double scale);

#endif
