/* Weights of the optical flow network by a recipe (tests/golden/flow/param_manifest.json): a number follows from the
 * seed, the tensor's index and the number's. */
#ifndef VIPO_TESTS_FLOW_WEIGHTS_H
#define VIPO_TESTS_FLOW_WEIGHTS_H

#include <jansson.h>

#include "support/support.h"

#include "nets/unimatch.h"

typedef struct flow_weights {
    json_t *manifest;
    uint64_t seed;
    const char *zeroed; /* names that begin so are all zeros; NULL: none */
} flow_weights;

void flow_weights_open(flow_weights *out, uint64_t seed);
void flow_weights_close(flow_weights *weights);
vipo_weight_source flow_weights_source(flow_weights *weights);
int flow_weights_count(const flow_weights *weights);
/* Name, shape and checksum (of the seed that the manifest names; of others NULL) of tensor i. */
const char *flow_weights_name(const flow_weights *weights, int i, int *rank, size_t shape[4],
                              const char **crc32);

/* The network with these weights for a table. */
vipo_unimatch *flow_weights_network(flow_weights *weights, const vipo_ops *ops);

/* A checkpoint as published, {"model": {name: tensor}}; outer NULL: the tensors alone. Tensor `changed` (-1: none) has
 * one row less. */
void flow_weights_checkpoint(flow_weights *weights, const char *path, const char *outer, int changed);

#endif
