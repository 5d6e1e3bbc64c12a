#include "nets/clip_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

/* ---- loading --------------------------------------------------------------------------------------- */

static vipo_status vector(vipo_weight_store *store, const char *prefix, const char *name, int n,
                          const float **out, vipo_error *error)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return vipo_weight_store_vector(store, full, n, out, error);
}

static vipo_status linear(vipo_weight_store *store, const char *prefix, const char *name, int in, int out,
                          const vipo_packed **packed, vipo_error *error)
{
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const vipo_layer layer = vipo_linear_layer(in, out);
    return vipo_weight_store_packed(store, full, &layer, 2, true, packed, error);
}

static vipo_status open_layer(vipo_clip_layer *layer, const vipo_text_config *c, int i,
                              vipo_weight_store *store, vipo_error *error)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "text_model.encoder.layers.%d.", i);
    VIPO_TRY(vector(store, prefix, "layer_norm1.weight", c->width, &layer->norm1_gain, error));
    VIPO_TRY(vector(store, prefix, "layer_norm1.bias", c->width, &layer->norm1_bias, error));
    VIPO_TRY(linear(store, prefix, "self_attn.q_proj", c->width, c->width, &layer->q, error));
    VIPO_TRY(linear(store, prefix, "self_attn.k_proj", c->width, c->width, &layer->k, error));
    VIPO_TRY(linear(store, prefix, "self_attn.v_proj", c->width, c->width, &layer->v, error));
    VIPO_TRY(linear(store, prefix, "self_attn.out_proj", c->width, c->width, &layer->out, error));
    VIPO_TRY(vector(store, prefix, "layer_norm2.weight", c->width, &layer->norm2_gain, error));
    VIPO_TRY(vector(store, prefix, "layer_norm2.bias", c->width, &layer->norm2_bias, error));
    VIPO_TRY(linear(store, prefix, "mlp.fc1", c->width, c->intermediate, &layer->fc1, error));
    return linear(store, prefix, "mlp.fc2", c->intermediate, c->width, &layer->fc2, error);
}

static vipo_status open_all(vipo_clip_text *out, vipo_error *error)
{
    const vipo_text_config *c = &out->config;
    const size_t tokens[2] = {(size_t)c->vocabulary, (size_t)c->width};
    const size_t positions[2] = {(size_t)c->positions, (size_t)c->width};
    VIPO_TRY(vipo_weight_store_tensor(&out->store, "text_model.embeddings.token_embedding.weight", 2, tokens,
                                      &out->tokens, error));
    VIPO_TRY(vipo_weight_store_tensor(&out->store, "text_model.embeddings.position_embedding.weight", 2,
                                      positions, &out->positions, error));
    for (int i = 0; i < c->layers; i++) VIPO_TRY(open_layer(&out->layers[i], c, i, &out->store, error));
    VIPO_TRY(
        vector(&out->store, "text_model.final_layer_norm.", "weight", c->width, &out->final_gain, error));
    return vector(&out->store, "text_model.final_layer_norm.", "bias", c->width, &out->final_bias, error);
}

vipo_status vipo_clip_text_open(vipo_clip_text *out, const vipo_text_config *config,
                                const vipo_packer *packer, const vipo_weight_source *source,
                                const vipo_callbacks *callbacks, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->config = *config;
    out->store = (vipo_weight_store){.packer = *packer, .source = source, .callbacks = callbacks};
    const vipo_status status = open_all(out, error);
    out->store.source = NULL;
    out->store.packer.pool = NULL;
    out->store.packer.choices = NULL;
    out->store.callbacks = NULL;
    if (status != VIPO_OK) vipo_clip_text_close(out);
    return status;
}

void vipo_clip_text_close(vipo_clip_text *text)
{
    vipo_weight_store_free(&text->store);
    memset(text, 0, sizeof *text);
}

size_t vipo_clip_text_scratch(const vipo_clip_text *text, const vipo_ops *ops)
{
    const vipo_text_config *c = &text->config;
    const vipo_packed *const layers[] = {text->layers[0].q, text->layers[0].fc1, text->layers[0].fc2};
    size_t most = 0;
    for (size_t i = 0; ops->linear_scratch && i < sizeof layers / sizeof layers[0]; i++) {
        const vipo_linear args = {.rows = c->positions, .weights = layers[i]};
        const size_t bytes = ops->linear_scratch(&args);
        if (bytes > most) most = bytes;
    }
    if (ops->attention_scratch) {
        const vipo_attention args = {.batch = 1,
                                     .heads = c->heads,
                                     .queries = c->positions,
                                     .keys = c->positions,
                                     .head_dim = c->width / c->heads,
                                     .causal = true};
        const size_t bytes = ops->attention_scratch(&args);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* ---- forward ------------------------------------------------------------------------------------------ */

static vipo_status dump_state(vipo_dump_function dump, void *user, int i, const float *h, int batch,
                              int length, int width, vipo_error *error)
{
    if (!dump) return VIPO_OK;
    char name[32];
    snprintf(name, sizeof name, "hidden_states.%d", i);
    const size_t shape[3] = {(size_t)batch, (size_t)length, (size_t)width};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, 3, shape, error));
    memcpy(array.data, h, shape[0] * shape[1] * shape[2] * sizeof *h);
    dump(user, name, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

/* h += out(attention(LN(h))); h += fc2(gelu(fc1(LN(h)))). Work arrays: normed, q, k, v [rows][width], hidden
 * [rows][intermediate]. */
static void forward_layer(const vipo_clip_text *text, const vipo_clip_layer *layer,
                          const vipo_compute *compute, float *h, int batch, int length, const int *lengths,
                          float *work)
{
    const vipo_text_config *c = &text->config;
    const int rows = batch * length, head_dim = c->width / c->heads;
    const size_t width = (size_t)c->width, size = (size_t)rows * width, wide = (size_t)c->intermediate;
    float *normed = work, *q = normed + size, *k = q + size, *v = k + size, *hidden = v + size;
    const vipo_ops *ops = compute->ops;

    ops->layer_norm(compute, &(vipo_layer_norm){.rows = rows,
                                                .width = c->width,
                                                .x = h,
                                                .gamma = layer->norm1_gain,
                                                .beta = layer->norm1_bias,
                                                .eps = c->norm_eps,
                                                .y = normed});
    const vipo_packed *const projections[3] = {layer->q, layer->k, layer->v};
    float *const outputs[3] = {q, k, v};
    for (int i = 0; i < 3; i++)
        ops->linear(compute, &(vipo_linear){.rows = rows,
                                            .x = normed,
                                            .x_stride = width,
                                            .weights = projections[i],
                                            .y = outputs[i],
                                            .y_stride = width});
    const vipo_rows like = {.batch = (size_t)length * width, .row = width, .head = (size_t)head_dim};
    vipo_attention attention = {.batch = batch,
                                .heads = c->heads,
                                .queries = length,
                                .keys = length,
                                .head_dim = head_dim,
                                .q = like,
                                .k = like,
                                .v = like,
                                .out = like,
                                .scale = 1.0F / sqrtf((float)head_dim),
                                .causal = true,
                                .key_counts = lengths};
    attention.q.data = q;
    attention.k.data = k;
    attention.v.data = v;
    attention.out.data = normed;
    ops->attention(compute, &attention);
    ops->linear(compute, &(vipo_linear){.rows = rows,
                                        .x = normed,
                                        .x_stride = width,
                                        .weights = layer->out,
                                        .residual = h,
                                        .y = h,
                                        .y_stride = width});
    ops->layer_norm(compute, &(vipo_layer_norm){.rows = rows,
                                                .width = c->width,
                                                .x = h,
                                                .gamma = layer->norm2_gain,
                                                .beta = layer->norm2_bias,
                                                .eps = c->norm_eps,
                                                .y = normed});
    ops->linear(compute, &(vipo_linear){.rows = rows,
                                        .x = normed,
                                        .x_stride = width,
                                        .weights = layer->fc1,
                                        .activation = c->quick_gelu ? VIPO_ACT_QUICK_GELU : VIPO_ACT_GELU,
                                        .y = hidden,
                                        .y_stride = wide});
    ops->linear(compute, &(vipo_linear){.rows = rows,
                                        .x = hidden,
                                        .x_stride = wide,
                                        .weights = layer->fc2,
                                        .residual = h,
                                        .y = h,
                                        .y_stride = width});
}

vipo_status vipo_clip_text_forward(const vipo_clip_text *text, const vipo_compute *compute,
                                   const int32_t *ids, int batch, int length, const int *lengths, float *out,
                                   vipo_dump_function dump, void *dump_user, vipo_error *error)
{
    const vipo_text_config *c = &text->config;
    if (length < 1 || length > c->positions)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "text of %d token ids, expected 1..%d", length,
                         c->positions);
    const size_t width = (size_t)c->width, rows = (size_t)batch * (size_t)length;
    for (size_t r = 0; r < rows; r++)
        if (ids[r] < 0 || ids[r] >= c->vocabulary)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "token id %d, the text encoder knows 0..%d",
                             (int)ids[r], c->vocabulary - 1);
    const size_t floats = rows * (5 * width + (size_t)c->intermediate);
    float *h = vipo_aligned_calloc(floats, sizeof *h);
    if (!h) return vipo_fail_memory(error, floats * sizeof *h, "the text encoder");
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < width; i++)
            h[r * width + i] =
                text->tokens[(size_t)ids[r] * width + i] + text->positions[r % (size_t)length * width + i];
    vipo_status status = dump_state(dump, dump_user, 0, h, batch, length, c->width, error);
    for (int i = 0; i < c->layers && status == VIPO_OK; i++) {
        forward_layer(text, &text->layers[i], compute, h, batch, length, lengths, h + rows * width);
        status = dump_state(dump, dump_user, i + 1, h, batch, length, c->width, error);
    }
    if (status == VIPO_OK)
        compute->ops->layer_norm(compute, &(vipo_layer_norm){.rows = (int)rows,
                                                             .width = c->width,
                                                             .x = h,
                                                             .gamma = text->final_gain,
                                                             .beta = text->final_bias,
                                                             .eps = c->norm_eps,
                                                             .y = out});
    vipo_aligned_free(h);
    return status;
}
