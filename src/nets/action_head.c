#include "nets/action_head.h"

#include <stdio.h>
#include <string.h>

vipo_status vipo_action_head_open(vipo_action_head *out, const vipo_policy_config *config,
                                  vipo_weight_store *store, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    int width = vipo_policy_condition(config);
    for (int i = 0; i <= config->hidden_layers; i++) {
        char name[32];
        const int next = i < config->hidden_layers ? config->hidden[i] : config->horizon * config->action_dim;
        const vipo_layer layer = vipo_linear_layer(width, next);
        snprintf(name, sizeof name, "head.%d", 2 * i);
        VIPO_TRY(vipo_weight_store_packed(store, name, &layer, 2, true, &out->layers[i], error));
        if (i < config->hidden_layers && (size_t)next > out->widest) out->widest = (size_t)next;
        width = next;
    }
    out->n_layers = config->hidden_layers + 1;
    return VIPO_OK;
}

size_t vipo_action_head_memory(const vipo_action_head *head, int samples)
{
    return 2 * head->widest * (size_t)samples;
}

/* Layer i. */
static vipo_linear linear_of(const vipo_action_head *head, int i, int samples, const float *x, float *y)
{
    return (vipo_linear){.rows = samples,
                         .x = x,
                         .x_stride = (size_t)head->layers[i]->in,
                         .weights = head->layers[i],
                         .activation = i + 1 < head->n_layers ? VIPO_ACT_RELU : VIPO_ACT_NONE,
                         .y = y,
                         .y_stride = (size_t)head->layers[i]->out};
}

size_t vipo_action_head_scratch(const vipo_action_head *head, const vipo_ops *ops, int samples)
{
    size_t most = 0;
    for (int i = 0; i < head->n_layers && ops->linear_scratch; i++) {
        const vipo_linear args = linear_of(head, i, samples, NULL, NULL);
        const size_t bytes = ops->linear_scratch(&args);
        if (bytes > most) most = bytes;
    }
    return most;
}

void vipo_action_head_forward(const vipo_action_head *head, const vipo_compute *compute, int samples,
                              const float *condition, float *memory, float *out)
{
    float *const between[2] = {memory, memory + head->widest * (size_t)samples};
    const float *x = condition;
    for (int i = 0; i < head->n_layers; i++) {
        float *y = i + 1 < head->n_layers ? between[i % 2] : out;
        const vipo_linear args = linear_of(head, i, samples, x, y);
        compute->ops->linear(compute, &args);
        x = y;
    }
}
