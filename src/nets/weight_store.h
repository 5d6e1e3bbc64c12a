/* Weights of one network, read from a source and packed for one op table. Constant once filled. */
#ifndef VIPO_NETS_WEIGHT_STORE_H
#define VIPO_NETS_WEIGHT_STORE_H

#include "compute/choices.h"
#include "weights/weight_source.h"

/* For whom weights are packed, and with whose hands. */
typedef struct vipo_packer {
    const vipo_ops *ops;
    vipo_pool *pool;             /* used while filling only; NULL: the caller alone */
    const vipo_choices *choices; /* the same; NULL: the table's fixed ones */
    bool half_weights;           /* of layers over small maps, whose weights outweigh them, as binary16 */
} vipo_packer;

typedef struct vipo_weight_store {
    vipo_packer packer;
    const vipo_weight_source *source; /* used while filling only */
    const vipo_callbacks *callbacks;  /* used while filling only */
    struct vipo_weight_block *blocks; /* list of what is owned */
    size_t bytes;                     /* memory held */
    size_t parameters;                /* numbers read from the source */
    size_t expected_parameters;       /* for progress; 0: unknown, none is reported */
    vipo_choices *
        survey; /* not NULL: layers are noted here, nothing is read, and what is handed out must not be used */
} vipo_weight_store;

void vipo_weight_store_free(vipo_weight_store *store);

/* A tensor as it is: [shape...] floats, owned by the store. */
vipo_status vipo_weight_store_tensor(vipo_weight_store *store, const char *name, int rank,
                                     const size_t *shape, const float **out, vipo_error *error);
/* Vector of n. */
vipo_status vipo_weight_store_vector(vipo_weight_store *store, const char *name, int n, const float **out,
                                     vipo_error *error);

/* A tensor into memory of the caller. */
vipo_status vipo_weight_store_read(vipo_weight_store *store, const char *name, int rank, const size_t *shape,
                                   float *out, vipo_error *error);

/* "<name>.weight" of rank 2 (linear), 3 (time taps, or 1 tap) or 4 (3x3 or 1x1) as `rank` says, and
 * "<name>.bias" if has_bias; packed for the table and the method chosen for the layer. */
vipo_status vipo_weight_store_packed(vipo_weight_store *store, const char *name, const vipo_layer *layer,
                                     int rank, bool has_bias, const vipo_packed **packed, vipo_error *error);

/* A layer that sees no maps. */
static inline vipo_layer vipo_linear_layer(int in, int out)
{
    return (vipo_layer){VIPO_WEIGHT_LINEAR, in, out, 1, 1, 1, false};
}

/* Packs a linear layer from memory: weights [out][in], bias [out]. */
vipo_status vipo_weight_store_linear(vipo_weight_store *store, int in, int out, const float *weights,
                                     const float *bias, const vipo_packed **packed, vipo_error *error);

#endif
