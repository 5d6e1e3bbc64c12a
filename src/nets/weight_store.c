#include "nets/weight_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/memory.h"

struct vipo_weight_block {
    struct vipo_weight_block *next;
    float *memory;
    vipo_packed packed;
};

void vipo_weight_store_free(vipo_weight_store *store)
{
    while (store->blocks) {
        struct vipo_weight_block *block = store->blocks;
        store->blocks = block->next;
        vipo_aligned_free(block->memory);
        free(block);
    }
    store->bytes = 0;
}

static vipo_status add_block(vipo_weight_store *store, size_t floats, struct vipo_weight_block **out,
                             vipo_error *error)
{
    struct vipo_weight_block *block = calloc(1, sizeof *block);
    if (!block) return vipo_fail_memory(error, sizeof *block, "weights");
    block->memory = vipo_aligned_alloc(floats, sizeof(float));
    if (!block->memory) {
        free(block);
        return vipo_fail_memory(error, floats * sizeof(float), "weights");
    }
    block->next = store->blocks;
    store->blocks = block;
    store->bytes += floats * sizeof(float);
    *out = block;
    return VIPO_OK;
}

vipo_status vipo_weight_store_read(vipo_weight_store *store, const char *name, int rank, const size_t *shape,
                                   float *out, vipo_error *error)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    if (store->survey) return VIPO_OK;
    VIPO_TRY(vipo_check_cancelled(store->callbacks, error));
    VIPO_TRY(store->source->read(store->source->user, name, rank, shape, out, error));
    store->parameters += count;
    if (store->expected_parameters > 0)
        vipo_progress(store->callbacks, "load", (double)store->parameters,
                      (double)store->expected_parameters);
    return VIPO_OK;
}

vipo_status vipo_weight_store_tensor(vipo_weight_store *store, const char *name, int rank,
                                     const size_t *shape, const float **out, vipo_error *error)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    struct vipo_weight_block *block = NULL;
    VIPO_TRY(add_block(store, store->survey ? 1 : count, &block, error));
    VIPO_TRY(vipo_weight_store_read(store, name, rank, shape, block->memory, error));
    *out = block->memory;
    return VIPO_OK;
}

vipo_status vipo_weight_store_vector(vipo_weight_store *store, const char *name, int n, const float **out,
                                     vipo_error *error)
{
    const size_t shape[1] = {(size_t)n};
    return vipo_weight_store_tensor(store, name, 1, shape, out, error);
}

/* Layers over maps are noted; linear ones have no choice of methods. */
static vipo_status note(vipo_weight_store *store, const vipo_layer *layer, const vipo_packed **packed,
                        vipo_error *error)
{
    struct vipo_weight_block *block = NULL;
    if (layer->kind != VIPO_WEIGHT_LINEAR) VIPO_TRY(vipo_choices_add(store->survey, layer, error));
    VIPO_TRY(add_block(store, 1, &block, error));
    block->packed = (vipo_packed){.kind = layer->kind, .in = layer->in, .out = layer->out};
    *packed = &block->packed;
    return VIPO_OK;
}

static vipo_status pack(vipo_weight_store *store, const vipo_layer *layer, const float *weights,
                        const float *bias, const vipo_packed **packed, vipo_error *error)
{
    const vipo_packer *packer = &store->packer;
    struct vipo_weight_block *block = NULL;
    if (store->survey) return note(store, layer, packed, error);
    const vipo_method method = vipo_choices_method(packer->choices, packer->ops, layer);
    VIPO_TRY(add_block(store, packer->ops->packed_floats(layer, method), &block, error));
    packer->ops->pack(layer, method, weights, bias, block->memory, &block->packed, packer->pool);
    *packed = &block->packed;
    return VIPO_OK;
}

vipo_status vipo_weight_store_packed(vipo_weight_store *store, const char *name, const vipo_layer *layer,
                                     int rank, bool has_bias, const vipo_packed **packed, vipo_error *error)
{
    const size_t taps = (size_t)vipo_weight_taps(layer->kind);
    const size_t in = (size_t)layer->in, out = (size_t)layer->out, count = out * in * taps;
    const size_t side = rank == 4 && taps == 9 ? 3 : taps == 3 ? 3 : 1;
    const size_t shape[4] = {out, in, side, side};
    char full[256];
    if (store->survey) return note(store, layer, packed, error);
    float *temporary = vipo_aligned_alloc(count + out, sizeof *temporary);
    if (!temporary) return vipo_fail_memory(error, count * sizeof *temporary, "weights");
    snprintf(full, sizeof full, "%s.weight", name);
    vipo_status status = vipo_weight_store_read(store, full, rank, shape, temporary, error);
    if (status == VIPO_OK && has_bias) {
        snprintf(full, sizeof full, "%s.bias", name);
        status = vipo_weight_store_read(store, full, 1, shape, temporary + count, error);
    }
    if (status == VIPO_OK)
        status = pack(store, layer, temporary, has_bias ? temporary + count : NULL, packed, error);
    vipo_aligned_free(temporary);
    return status;
}

vipo_status vipo_weight_store_linear(vipo_weight_store *store, int in, int out, const float *weights,
                                     const float *bias, const vipo_packed **packed, vipo_error *error)
{
    const vipo_layer layer = vipo_linear_layer(in, out);
    return pack(store, &layer, weights, bias, packed, error);
}
