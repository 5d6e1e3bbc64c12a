#include "policy/tensor_list.h"

#include <stdlib.h>
#include <string.h>

#include "nets/clip_text.h"
#include "nets/unet3d.h"
#include "nets/unimatch.h"
#include "policy/policy_networks.h"

/* A weight source that notes what is asked for and leaves the memory as it is. */
static vipo_status note(void *user, const char *name, int rank, const size_t *shape, float *out,
                        vipo_error *error)
{
    (void)out;
    vipo_tensor_list *list = user;
    if (list->count > 0 && strcmp(list->entries[list->count - 1].name, name) == 0)
        return VIPO_OK; /* packed for two layers */
    if (list->count == list->capacity) {
        const int capacity = list->capacity ? 2 * list->capacity : 64;
        vipo_tensor_entry *entries = realloc(list->entries, (size_t)capacity * sizeof *entries);
        if (!entries) return vipo_fail_memory(error, (size_t)capacity * sizeof *entries, "a tensor list");
        list->entries = entries;
        list->capacity = capacity;
    }
    vipo_tensor_entry *entry = &list->entries[list->count];
    *entry = (vipo_tensor_entry){.name = strdup(name), .rank = rank};
    if (!entry->name) return vipo_fail_memory(error, strlen(name), "a tensor's name");
    memcpy(entry->shape, shape, (size_t)rank * sizeof *shape);
    list->count++;
    return VIPO_OK;
}

/* Packing for a network that is never run. */
static size_t no_floats(const vipo_layer *layer, vipo_method method)
{
    (void)layer, (void)method;
    return 1;
}

static void pack_nothing(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                         float *memory, vipo_packed *packed, vipo_pool *pool)
{
    (void)weights, (void)bias, (void)pool;
    *packed = (vipo_packed){.kind = layer->kind,
                            .method = method,
                            .in = layer->in,
                            .out = layer->out,
                            .data = memory,
                            .bias = memory};
}

static vipo_ops listing_ops(void)
{
    vipo_ops ops = vipo_ops_ref;
    ops.packed_floats = no_floats;
    ops.pack = pack_nothing;
    return ops;
}

vipo_status vipo_tensor_list_unet(vipo_tensor_list *list, const vipo_unet_config *config, vipo_error *error)
{
    const vipo_ops ops = listing_ops();
    const vipo_weight_source source = {.user = list, .read = note};
    vipo_unet3d *unet = calloc(1, sizeof *unet);
    if (!unet) return vipo_fail_memory(error, sizeof *unet, "a network");
    const vipo_status status =
        vipo_unet3d_open(unet, config, &(vipo_packer){.ops = &ops}, &source, 0, NULL, error);
    if (status == VIPO_OK) vipo_unet3d_close(unet);
    free(unet);
    return status;
}

vipo_status vipo_tensor_list_text(vipo_tensor_list *list, const vipo_text_config *config, vipo_error *error)
{
    const vipo_ops ops = listing_ops();
    const vipo_weight_source source = {.user = list, .read = note};
    vipo_clip_text *text = calloc(1, sizeof *text);
    if (!text) return vipo_fail_memory(error, sizeof *text, "a text encoder");
    const vipo_status status =
        vipo_clip_text_open(text, config, &(vipo_packer){.ops = &ops}, &source, NULL, error);
    if (status == VIPO_OK) vipo_clip_text_close(text);
    free(text);
    return status;
}

vipo_status vipo_tensor_list_policy(vipo_tensor_list *list, const vipo_policy_config *config,
                                    vipo_error *error)
{
    const vipo_ops ops = listing_ops();
    const vipo_weight_source source = {.user = list, .read = note};
    vipo_policy_networks *networks = calloc(1, sizeof *networks);
    if (!networks) return vipo_fail_memory(error, sizeof *networks, "a policy");
    const vipo_status status =
        vipo_policy_networks_open(networks, config, &(vipo_packer){.ops = &ops}, &source, 0, NULL, error);
    if (status == VIPO_OK) vipo_policy_networks_close(networks);
    free(networks);
    return status;
}

vipo_status vipo_tensor_list_unimatch(vipo_tensor_list *list, vipo_error *error)
{
    const vipo_ops ops = listing_ops();
    const vipo_weight_source source = {.user = list, .read = note};
    vipo_unimatch *net;
    VIPO_TRY(vipo_unimatch_open(&net, &(vipo_packer){.ops = &ops}, &source, NULL, error));
    vipo_unimatch_close(&net);
    return VIPO_OK;
}

void vipo_tensor_list_free(vipo_tensor_list *list)
{
    for (int i = 0; i < list->count; i++) free((void *)(uintptr_t)list->entries[i].name);
    free(list->entries);
    memset(list, 0, sizeof *list);
}

size_t vipo_tensor_entry_count(const vipo_tensor_entry *entry)
{
    size_t count = 1;
    for (int i = 0; i < entry->rank; i++) count *= entry->shape[i];
    return count;
}
