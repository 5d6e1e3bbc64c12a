#include "nets/perceiver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

static const float norm_eps = 1e-5F;       /* of every LayerNorm here, in float32 */
static const double normalize_eps = 1e-12; /* of the L2 normalisation of q and k */

/* ---- loading ------------------------------------------------------------------------------------- */

static vipo_status vector(vipo_weight_store *store, const char *prefix, const char *name, int n,
                          const float **out, vipo_error *error)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return vipo_weight_store_vector(store, full, n, out, error);
}

static vipo_status linear(vipo_weight_store *store, const char *prefix, const char *name, int in, int out,
                          bool has_bias, const vipo_packed **packed, vipo_error *error)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const vipo_layer layer = vipo_linear_layer(in, out);
    return vipo_weight_store_packed(store, full, &layer, 2, has_bias, packed, error);
}

static vipo_status open_layer(vipo_perceiver_layer *layer, const vipo_perceiver *p, int i,
                              vipo_weight_store *store, vipo_error *error)
{
    const int width = p->width, inner = p->config.heads * p->config.head_dim,
              hidden = width * p->config.ff_mult;
    char attn[96], ff[96];
    snprintf(attn, sizeof attn, "task_attnpool.0.layers.%d.0", i);
    snprintf(ff, sizeof ff, "task_attnpool.0.layers.%d.1", i);
    VIPO_TRY(vector(store, attn, "q_scale", p->config.head_dim, &layer->q_scale, error));
    VIPO_TRY(vector(store, attn, "k_scale", p->config.head_dim, &layer->k_scale, error));
    VIPO_TRY(vector(store, attn, "norm.weight", width, &layer->norm_gain, error));
    VIPO_TRY(vector(store, attn, "norm.bias", width, &layer->norm_bias, error));
    VIPO_TRY(vector(store, attn, "norm_latents.weight", width, &layer->norm_latents_gain, error));
    VIPO_TRY(vector(store, attn, "norm_latents.bias", width, &layer->norm_latents_bias, error));
    VIPO_TRY(linear(store, attn, "to_q", width, inner, false, &layer->to_q, error));
    VIPO_TRY(linear(store, attn, "to_kv", width, 2 * inner, false, &layer->to_kv, error));
    VIPO_TRY(linear(store, attn, "to_out.0", inner, width, false, &layer->to_out, error));
    VIPO_TRY(vector(store, attn, "to_out.1.weight", width, &layer->out_gain, error));
    VIPO_TRY(vector(store, attn, "to_out.1.bias", width, &layer->out_bias, error));
    VIPO_TRY(vector(store, ff, "0.g", width, &layer->ff_gain_in, error));
    VIPO_TRY(linear(store, ff, "1", width, hidden, false, &layer->ff_in, error));
    VIPO_TRY(vector(store, ff, "3.g", hidden, &layer->ff_gain_hidden, error));
    return linear(store, ff, "4", hidden, width, false, &layer->ff_out, error);
}

vipo_status vipo_perceiver_open(vipo_perceiver *out, const vipo_perceiver_config *config, int width,
                                int out_width, vipo_weight_store *store, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->config = *config;
    out->width = width;
    out->out_width = out_width;
    const char *const prefix = "task_attnpool.0";
    const size_t latents[2] = {(size_t)config->latents, (size_t)width};
    const size_t positions[2] = {(size_t)config->max_length, (size_t)width};
    VIPO_TRY(vipo_weight_store_tensor(store, "task_attnpool.0.latents", 2, latents, &out->latents, error));
    VIPO_TRY(vipo_weight_store_tensor(store, "task_attnpool.0.pos_emb.weight", 2, positions, &out->positions,
                                      error));
    if (config->mean_pooled_latents > 0) {
        VIPO_TRY(vector(store, prefix, "to_latents_from_mean_pooled_seq.0.g", width, &out->mean_gain, error));
        VIPO_TRY(linear(store, prefix, "to_latents_from_mean_pooled_seq.1", width,
                        width * config->mean_pooled_latents, true, &out->mean_out, error));
    }
    for (int i = 0; i < config->depth; i++) VIPO_TRY(open_layer(&out->layers[i], out, i, store, error));
    return linear(store, "task_attnpool", "1", width, out_width, true, &out->out, error);
}

/* ---- forward --------------------------------------------------------------------------------------- */

/* Working arrays of one forward; n latents in all, L tokens. */
typedef struct work {
    const vipo_compute *compute;
    int n, length;
    float *tokens;  /* [L][width] with positions */
    float *latents; /* [n][width] */
    float *normed;  /* [L + n][width]: LN(tokens), LN(latents) */
    float *q;       /* [n][inner] */
    float *kv;      /* [L + n][2 inner] */
    float *mixed;   /* [n][inner] */
    float *branch;  /* [n][width] */
    float *hidden;  /* [n][ff_mult width], twice */
    vipo_dump_function dump;
    void *dump_user;
    vipo_error *error;
} work;

static void run_linear(const work *w, int rows, const float *x, const vipo_packed *weights,
                       vipo_activation activation, float *y)
{
    const vipo_linear args = {.rows = rows,
                              .x = x,
                              .x_stride = (size_t)weights->in,
                              .weights = weights,
                              .activation = activation,
                              .y = y,
                              .y_stride = (size_t)weights->out};
    w->compute->ops->linear(w->compute, &args);
}

static void run_layer_norm(const work *w, int rows, int width, const float *x, const float *gain,
                           const float *bias, float *y)
{
    const vipo_layer_norm args = {
        .rows = rows, .width = width, .x = x, .gamma = gain, .beta = bias, .eps = norm_eps, .y = y};
    w->compute->ops->layer_norm(w->compute, &args);
}

/* x / max(||x||, eps) * scale for each head of each row; heads begin every head_dim floats. */
static void normalize_heads(float *x, int rows, size_t row_stride, int heads, int head_dim,
                            const float *scale)
{
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < heads; h++) {
            float *head = x + (size_t)r * row_stride + (size_t)h * (size_t)head_dim;
            double sum = 0;
            for (int i = 0; i < head_dim; i++) sum += (double)head[i] * (double)head[i];
            const double norm = sqrt(sum), factor = 1.0 / (norm > normalize_eps ? norm : normalize_eps);
            for (int i = 0; i < head_dim; i++) head[i] = (float)((double)head[i] * factor * (double)scale[i]);
        }
}

static vipo_status dump_rows(const work *w, const char *name, const float *rows, int n, int width)
{
    if (!w->dump) return VIPO_OK;
    const size_t shape[3] = {1, (size_t)n, (size_t)width};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, 3, shape, w->error));
    memcpy(array.data, rows, shape[1] * shape[2] * sizeof *rows);
    w->dump(w->dump_user, name, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

/* latents += LN(to_out(attention(q of latents; k, v of [tokens, latents]))) */
static vipo_status attention_branch(const vipo_perceiver *p, const vipo_perceiver_layer *layer, const work *w)
{
    const int width = p->width, heads = p->config.heads, d = p->config.head_dim, keys = w->length + w->n;
    const size_t inner = (size_t)heads * (size_t)d;
    float *normed_latents = w->normed + (size_t)w->length * (size_t)width;
    run_layer_norm(w, w->length, width, w->tokens, layer->norm_gain, layer->norm_bias, w->normed);
    run_layer_norm(w, w->n, width, w->latents, layer->norm_latents_gain, layer->norm_latents_bias,
                   normed_latents);
    run_linear(w, w->n, normed_latents, layer->to_q, VIPO_ACT_NONE, w->q);
    run_linear(w, keys, w->normed, layer->to_kv, VIPO_ACT_NONE, w->kv);
    normalize_heads(w->q, w->n, inner, heads, d, layer->q_scale);
    normalize_heads(w->kv, keys, 2 * inner, heads, d, layer->k_scale);
    const vipo_attention args = {.batch = 1,
                                 .heads = heads,
                                 .queries = w->n,
                                 .keys = keys,
                                 .head_dim = d,
                                 .q = {.data = w->q, .row = inner, .head = (size_t)d},
                                 .k = {.data = w->kv, .row = 2 * inner, .head = (size_t)d},
                                 .v = {.data = w->kv + inner, .row = 2 * inner, .head = (size_t)d},
                                 .out = {.data = w->mixed, .row = inner, .head = (size_t)d},
                                 .scale = p->config.logit_scale};
    w->compute->ops->attention(w->compute, &args);
    run_linear(w, w->n, w->mixed, layer->to_out, VIPO_ACT_NONE, w->normed);
    run_layer_norm(w, w->n, width, w->normed, layer->out_gain, layer->out_bias, w->branch);
    return VIPO_OK;
}

/* latents += ff_out(LN(gelu(ff_in(LN(latents))))) */
static void feed_forward_branch(const vipo_perceiver *p, const vipo_perceiver_layer *layer, const work *w)
{
    const int hidden = p->width * p->config.ff_mult;
    float *activated = w->hidden + (size_t)w->n * (size_t)hidden;
    run_layer_norm(w, w->n, p->width, w->latents, layer->ff_gain_in, NULL, w->normed);
    run_linear(w, w->n, w->normed, layer->ff_in, VIPO_ACT_GELU, w->hidden);
    run_layer_norm(w, w->n, hidden, w->hidden, layer->ff_gain_hidden, NULL, activated);
    run_linear(w, w->n, activated, layer->ff_out, VIPO_ACT_NONE, w->branch);
}

static vipo_status add_branch(const vipo_perceiver *p, const work *w, int layer, const char *kind)
{
    char name[64];
    snprintf(name, sizeof name, "perceiver.layers.%d.%s_branch", layer, kind);
    VIPO_TRY(dump_rows(w, name, w->branch, w->n, p->width));
    for (size_t i = 0; i < (size_t)w->n * (size_t)p->width; i++) w->latents[i] += w->branch[i];
    return VIPO_OK;
}

static vipo_status forward(const vipo_perceiver *p, const work *w, const float *tokens, float *embedding)
{
    const size_t width = (size_t)p->width, length = (size_t)w->length;
    const int pooled = p->config.mean_pooled_latents;
    for (size_t i = 0; i < length * width; i++) w->tokens[i] = tokens[i] + p->positions[i];
    if (pooled > 0) {
        for (size_t c = 0; c < width; c++) {
            double sum = 0;
            for (size_t i = 0; i < length; i++) sum += (double)tokens[i * width + c];
            w->normed[c] = (float)(sum / (double)length);
        }
        run_layer_norm(w, 1, p->width, w->normed, p->mean_gain, NULL, w->branch);
        run_linear(w, 1, w->branch, p->mean_out, VIPO_ACT_NONE, w->latents);
        VIPO_TRY(dump_rows(w, "perceiver.mean_pooled_latents", w->latents, pooled, p->width));
    }
    memcpy(w->latents + (size_t)pooled * width, p->latents,
           (size_t)p->config.latents * width * sizeof *w->latents);
    for (int i = 0; i < p->config.depth; i++) {
        VIPO_TRY(attention_branch(p, &p->layers[i], w));
        VIPO_TRY(add_branch(p, w, i, "attn"));
        feed_forward_branch(p, &p->layers[i], w);
        VIPO_TRY(add_branch(p, w, i, "ff"));
    }
    VIPO_TRY(dump_rows(w, "perceiver_out", w->latents, w->n, p->width));

    const size_t out_width = (size_t)p->out_width;
    run_linear(w, w->n, w->latents, p->out, VIPO_ACT_NONE, w->hidden);
    for (size_t c = 0; c < out_width; c++) {
        double sum = 0;
        for (size_t i = 0; i < (size_t)w->n; i++) sum += (double)w->hidden[i * out_width + c];
        embedding[c] = (float)(sum / (double)w->n);
    }
    if (w->dump) {
        const size_t shape[2] = {1, out_width};
        vipo_array array;
        VIPO_TRY(vipo_array_alloc(&array, 2, shape, w->error));
        memcpy(array.data, embedding, out_width * sizeof *embedding);
        w->dump(w->dump_user, "task_embed", &array);
        vipo_array_free(&array);
    }
    return VIPO_OK;
}

vipo_status vipo_perceiver_forward(const vipo_perceiver *p, const vipo_compute *compute, const float *tokens,
                                   int length, float *embedding, vipo_dump_function dump, void *dump_user,
                                   vipo_error *error)
{
    if (length < 1 || length > p->config.max_length)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d task tokens, expected 1..%d", length,
                         p->config.max_length);
    const int n = p->config.latents + p->config.mean_pooled_latents;
    const size_t width = (size_t)p->width, inner = (size_t)(p->config.heads * p->config.head_dim);
    const size_t rows = (size_t)n, keys = (size_t)(n + length);
    const size_t out = (size_t)p->out_width, ff = 2 * width * (size_t)p->config.ff_mult;
    const size_t hidden = ff > out ? ff : out;
    const size_t floats = (size_t)length * width + rows * width + keys * width + rows * inner +
                          keys * 2 * inner + rows * inner + rows * width + rows * hidden;
    float *memory = vipo_aligned_calloc(floats, sizeof *memory);
    if (!memory) return vipo_fail_memory(error, floats * sizeof *memory, "the task embedding");
    work w = {
        .compute = compute, .n = n, .length = length, .dump = dump, .dump_user = dump_user, .error = error};
    w.tokens = memory;
    w.latents = w.tokens + (size_t)length * width;
    w.normed = w.latents + rows * width;
    w.q = w.normed + keys * width;
    w.kv = w.q + rows * inner;
    w.mixed = w.kv + keys * 2 * inner;
    w.branch = w.mixed + rows * inner;
    w.hidden = w.branch + rows * width;
    const vipo_status status = forward(p, &w, tokens, embedding);
    vipo_aligned_free(memory);
    return status;
}

size_t vipo_perceiver_scratch(const vipo_perceiver *p, const vipo_ops *ops)
{
    const vipo_perceiver_layer *layer = &p->layers[0];
    const vipo_packed *const layers[] = {p->mean_out,   p->out,       layer->to_q,  layer->to_kv,
                                         layer->to_out, layer->ff_in, layer->ff_out};
    const int n = p->config.latents + p->config.mean_pooled_latents, keys = n + p->config.max_length;
    size_t most = 0;
    for (size_t i = 0; ops->linear_scratch && i < sizeof layers / sizeof layers[0]; i++) {
        if (!layers[i]) continue;
        const vipo_linear args = {.rows = keys, .weights = layers[i]};
        const size_t bytes = ops->linear_scratch(&args);
        if (bytes > most) most = bytes;
    }
    if (ops->attention_scratch) {
        const vipo_attention args = {
            .batch = 1, .heads = p->config.heads, .queries = n, .keys = keys, .head_dim = p->config.head_dim};
        const size_t bytes = ops->attention_scratch(&args);
        if (bytes > most) most = bytes;
    }
    return most;
}
