/* Condition -> sequence of actions at once: linear layers with ReLU between them. Parameters "head.0", "head.2" and so on,
 * as nn.Sequential numbers them. Constant once open; weights belong to the store. */
#ifndef VIPO_NETS_ACTION_HEAD_H
#define VIPO_NETS_ACTION_HEAD_H

#include "nets/policy_config.h"
#include "nets/weight_store.h"

typedef struct vipo_action_head {
    const vipo_packed *layers[VIPO_MAX_STAGES + 1];
    int n_layers;
    size_t widest; /* numbers between two layers */
} vipo_action_head;

vipo_status vipo_action_head_open(vipo_action_head *out, const vipo_policy_config *config,
                                  vipo_weight_store *store, vipo_error *error);

/* Memory of a session: floats; scratch bytes per thread. */
size_t vipo_action_head_memory(const vipo_action_head *head, int samples);
size_t vipo_action_head_scratch(const vipo_action_head *head, const vipo_ops *ops, int samples);

/* condition [samples][condition] -> out [samples][horizon][action_dim], nominally in [-1, 1]. */
void vipo_action_head_forward(const vipo_action_head *head, const vipo_compute *compute, int samples,
                              const float *condition, float *memory, float *out);

#endif
