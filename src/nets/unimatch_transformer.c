/* Six layers of attention of both pictures to themselves and to each other, inside windows of the map that every other
 * layer shifts by half a window (Liu et al., "Swin Transformer", ICCV 2021). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "nets/unimatch_private.h"

/* ---- weights --------------------------------------------------------------------------------------------- */

static vipo_status linear(vipo_weight_store *store, const char *name, int in, int out, bool bias,
                          const vipo_packed **packed, vipo_error *error)
{
    const vipo_layer layer = vipo_linear_layer(in, out);
    return vipo_weight_store_packed(store, name, &layer, 2, bias, packed, error);
}

static vipo_status open_norm(vipo_weight_store *store, const char *name, const float **gain,
                             const float **bias, vipo_error *error)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    VIPO_TRY(vipo_weight_store_vector(store, full, CHANNELS, gain, error));
    snprintf(full, sizeof full, "%s.bias", name);
    return vipo_weight_store_vector(store, full, CHANNELS, bias, error);
}

static vipo_status open_attention(vipo_weight_store *store, const char *name, attention_block *block,
                                  vipo_error *error)
{
    static const char *const parts[4] = {"q_proj", "k_proj", "v_proj", "merge"};
    const vipo_packed **const packed[4] = {&block->q, &block->k, &block->v, &block->merge};
    char full[96];
    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s", name, parts[i]);
        VIPO_TRY(linear(store, full, CHANNELS, CHANNELS, false, packed[i], error));
    }
    snprintf(full, sizeof full, "%s.norm1", name);
    return open_norm(store, full, &block->norm_gain, &block->norm_bias, error);
}

vipo_status unimatch_open_transformer(vipo_unimatch *net, vipo_error *error)
{
    vipo_weight_store *store = &net->store;
    for (int i = 0; i < LAYERS; i++) {
        char name[64], full[96];
        transformer_layer *layer = &net->layers[i];
        snprintf(name, sizeof name, "transformer.layers.%d.self_attn", i);
        VIPO_TRY(open_attention(store, name, &layer->self, error));
        snprintf(name, sizeof name, "transformer.layers.%d.cross_attn_ffn", i);
        VIPO_TRY(open_attention(store, name, &layer->cross, error));
        snprintf(full, sizeof full, "%s.mlp.0", name);
        VIPO_TRY(linear(store, full, 2 * CHANNELS, HIDDEN, false, &layer->mlp1, error));
        snprintf(full, sizeof full, "%s.mlp.2", name);
        VIPO_TRY(linear(store, full, HIDDEN, CHANNELS, false, &layer->mlp2, error));
        snprintf(full, sizeof full, "%s.norm2", name);
        VIPO_TRY(open_norm(store, full, &layer->norm2_gain, &layer->norm2_bias, error));
    }
    VIPO_TRY(linear(store, "feature_flow_attn.q_proj", CHANNELS, CHANNELS, true, &net->flow_q, error));
    return linear(store, "feature_flow_attn.k_proj", CHANNELS, CHANNELS, true, &net->flow_k, error);
}

/* ---- windows ------------------------------------------------------------------------------------------------ */

enum { SPANS = 10, GROUPS = 9, MAX_WINDOWS = 8 };

/* Rows or columns of windows. */
typedef struct span {
    int first, length;
} span;

/* Tokens in the order of the windows; windows of one size are a group. In a shifted layer a window at the border holds
 * parts of the map that do not touch. The published network lowers scores between them by 100, which makes e^-100 of
 * their weight: here the parts are windows of their own. */
typedef struct window_order {
    int *token; /* [height x width] position in the map */
    int n_groups;
    struct {
        int first, windows, tokens; /* first place in the order; tokens of one window */
    } groups[GROUPS];
} window_order;

static int make_spans(span *spans, int size, int windows, bool shifted)
{
    const int length = size / windows, shift = shifted ? length / 2 : 0;
    int n = 0;
    for (int i = 0; i < windows; i++) {
        const bool cut = shift > 0 && i == windows - 1;
        spans[n++] = (span){i * length + shift, cut ? length - shift : length};
        if (cut) spans[n++] = (span){0, shift};
    }
    return n;
}

/* Lengths that occur, each once. */
static int lengths_of(const span *spans, int n, int lengths[3])
{
    int found = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < found && lengths[k] != spans[i].length) k++;
        if (k == found) lengths[found++] = spans[i].length;
    }
    return found;
}

static void make_order(window_order *order, int *tokens, int height, int width, int windows, bool shifted)
{
    span rows[SPANS], columns[SPANS];
    int heights[3], widths[3];
    const int n_rows = make_spans(rows, height, windows, shifted),
              n_columns = make_spans(columns, width, windows, shifted);
    const int n_heights = lengths_of(rows, n_rows, heights),
              n_widths = lengths_of(columns, n_columns, widths);
    int at = 0;
    *order = (window_order){.token = tokens};
    for (int group = 0; group < n_heights * n_widths; group++) {
        const int h = heights[group / n_widths], w = widths[group % n_widths], first = at;
        for (int r = 0; r < n_rows; r++)
            for (int c = 0; c < n_columns; c++) {
                if (rows[r].length != h || columns[c].length != w) continue;
                for (int y = rows[r].first; y < rows[r].first + h; y++)
                    for (int x = columns[c].first; x < columns[c].first + w; x++)
                        tokens[at++] = y * width + x;
            }
        order->groups[order->n_groups].first = first;
        order->groups[order->n_groups].tokens = h * w;
        order->groups[order->n_groups++].windows = (at - first) / (h * w);
    }
}

struct move {
    float *map, *ordered; /* of one picture */
    const int *token;
    int n;
    bool back;
};

enum { MOVE_BLOCK = 256 };

static void move_block(void *arg, int i, int thread)
{
    (void)thread;
    const struct move *m = arg;
    const int end = (i + 1) * MOVE_BLOCK < m->n ? (i + 1) * MOVE_BLOCK : m->n;
    for (int k = i * MOVE_BLOCK; k < end; k++) {
        float *in_map = m->map + (size_t)m->token[k] * CHANNELS,
              *in_order = m->ordered + (size_t)k * CHANNELS;
        memcpy(m->back ? in_map : in_order, m->back ? in_order : in_map, CHANNELS * sizeof(float));
    }
}

/* Both pictures' maps to the order of windows, or back. */
static void move(vipo_unimatch_session *s, float *map, float *ordered, const window_order *order, int tokens,
                 bool back)
{
    for (size_t picture = 0; picture < 2; picture++) {
        const size_t at = picture * (size_t)tokens * CHANNELS;
        struct move m = {map + at, ordered + at, order->token, tokens, back};
        unimatch_each(s, (tokens + MOVE_BLOCK - 1) / MOVE_BLOCK, move_block, &m);
    }
}

/* ---- layers --------------------------------------------------------------------------------------------------- */

/* What a layer works on: maps of both pictures in the order of windows, [2][tokens][128]. */
typedef struct layer_memory {
    int tokens;
    float *x, *q, *k, *v, *k2, *v2, *m, *mlp;
    window_order orders[2]; /* plain, shifted */
} layer_memory;

enum { MLP_ROWS = 2048, MLP_WIDTH = 2 * CHANNELS + HIDDEN + CHANNELS };

/* Attention inside windows; with `cross`, of each picture to the other one. */
static vipo_status attend(vipo_unimatch_session *s, const layer_memory *l, const window_order *order,
                          const float *k, const float *v, bool cross, float *out, vipo_error *error)
{
    const size_t map = (size_t)l->tokens * CHANNELS;
    for (size_t picture = 0; picture < 2; picture++)
        for (int g = 0; g < order->n_groups; g++) {
            const size_t first = (size_t)order->groups[g].first * CHANNELS;
            const size_t own = picture * map + first, other = (cross ? 1 - picture : picture) * map + first;
            const int n = order->groups[g].tokens;
            VIPO_TRY(unimatch_attention(s, order->groups[g].windows, n, n, l->q + own, k + other, v + other,
                                        CHANNELS, out + own, error));
        }
    return VIPO_OK;
}

struct beside {
    const float *x, *m;
    float *out;
    int rows;
};

/* [x | m] of 64 rows. */
static void beside_block(void *arg, int i, int thread)
{
    (void)thread;
    const struct beside *b = arg;
    const int end = (i + 1) * 64 < b->rows ? (i + 1) * 64 : b->rows;
    for (int r = i * 64; r < end; r++) {
        float *out = b->out + (size_t)r * 2 * CHANNELS;
        memcpy(out, b->x + (size_t)r * CHANNELS, CHANNELS * sizeof(float));
        memcpy(out + CHANNELS, b->m + (size_t)r * CHANNELS, CHANNELS * sizeof(float));
    }
}

/* x += LN(W2 gelu(W1 [x | q])), a block of rows at a time. */
static vipo_status add_mlp(vipo_unimatch_session *s, const transformer_layer *layer, const layer_memory *l,
                           vipo_error *error)
{
    const int rows = 2 * l->tokens;
    for (int first = 0; first < rows; first += MLP_ROWS) {
        const int n = rows - first < MLP_ROWS ? rows - first : MLP_ROWS;
        float *x = l->x + (size_t)first * CHANNELS, *in = l->mlp, *hidden = in + (size_t)n * 2 * CHANNELS,
              *out = hidden + (size_t)n * HIDDEN;
        struct beside b = {x, l->q + (size_t)first * CHANNELS, in, n};
        unimatch_each(s, (n + 63) / 64, beside_block, &b);
        VIPO_TRY(unimatch_linear(s, layer->mlp1, n, in, 2 * CHANNELS, VIPO_ACT_GELU, hidden, error));
        VIPO_TRY(unimatch_linear(s, layer->mlp2, n, hidden, HIDDEN, VIPO_ACT_NONE, out, error));
        unimatch_layer_norm(s, out, n, layer->norm2_gain, layer->norm2_bias);
        unimatch_add(s, x, out, (size_t)n * CHANNELS);
    }
    return VIPO_OK;
}

/* LN(merge(attention)) in place of the queries, l->q. */
static vipo_status finish(vipo_unimatch_session *s, const attention_block *block, const layer_memory *l,
                          const window_order *order, const float *k, const float *v, bool cross,
                          vipo_error *error)
{
    const int rows = 2 * l->tokens;
    VIPO_TRY(attend(s, l, order, k, v, cross, l->m, error));
    VIPO_TRY(unimatch_linear(s, block->merge, rows, l->m, CHANNELS, VIPO_ACT_NONE, l->q, error));
    unimatch_layer_norm(s, l->q, rows, block->norm_gain, block->norm_bias);
    return VIPO_OK;
}

static vipo_status run_layer(vipo_unimatch_session *s, const transformer_layer *layer, const layer_memory *l,
                             const window_order *order, vipo_error *error)
{
    const int rows = 2 * l->tokens;
    /* The other picture is seen as it was before this layer. */
    VIPO_TRY(unimatch_linear(s, layer->cross.k, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->k2, error));
    VIPO_TRY(unimatch_linear(s, layer->cross.v, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->v2, error));
    VIPO_TRY(unimatch_linear(s, layer->self.q, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->q, error));
    VIPO_TRY(unimatch_linear(s, layer->self.k, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->k, error));
    VIPO_TRY(unimatch_linear(s, layer->self.v, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->v, error));
    VIPO_TRY(finish(s, &layer->self, l, order, l->k, l->v, false, error));
    unimatch_add(s, l->x, l->q, (size_t)rows * CHANNELS);
    VIPO_TRY(unimatch_linear(s, layer->cross.q, rows, l->x, CHANNELS, VIPO_ACT_NONE, l->q, error));
    VIPO_TRY(finish(s, &layer->cross, l, order, l->k2, l->v2, true, error));
    return add_mlp(s, layer, l, error);
}

static vipo_status get_memory(vipo_unimatch_session *s, layer_memory *l, int height, int width, int windows,
                              vipo_error *error)
{
    static const unimatch_buffer which[] = {BUFFER_X,  BUFFER_Q,  BUFFER_K, BUFFER_V,
                                            BUFFER_K2, BUFFER_V2, BUFFER_M};
    l->tokens = height * width;
    float **const parts[] = {&l->x, &l->q, &l->k, &l->v, &l->k2, &l->v2, &l->m}, *order;
    for (int i = 0; i < 7; i++)
        VIPO_TRY(unimatch_buffer_get(s, which[i], 2 * (size_t)l->tokens * CHANNELS, parts[i], error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_MLP, (size_t)MLP_ROWS * MLP_WIDTH, &l->mlp, error));
    _Static_assert(sizeof(int) == sizeof(float), "orders lie in memory for floats");
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_ORDER, 2 * (size_t)l->tokens, &order, error));
    int *const tokens = (int *)(void *)order;
    make_order(&l->orders[0], tokens, height, width, windows, false);
    make_order(&l->orders[1], tokens + l->tokens, height, width, windows, true);
    return VIPO_OK;
}

vipo_status unimatch_transform(vipo_unimatch_session *s, float *x, int height, int width, int windows,
                               const char *name, int item, const vipo_callbacks *callbacks, vipo_error *error)
{
    layer_memory l;
    VIPO_TRY(get_memory(s, &l, height, width, windows, error));
    for (int i = 0; i < LAYERS; i++) {
        char full[48];
        const window_order *order = &l.orders[i % 2];
        VIPO_TRY(vipo_check_cancelled(callbacks, error));
        move(s, x, l.x, order, l.tokens, false);
        VIPO_TRY(run_layer(s, &s->net->layers[i], &l, order, error));
        move(s, x, l.x, order, l.tokens, true);
        for (int picture = 0; picture < 2 && i < 2; picture++) {
            snprintf(full, sizeof full, "%s.block%d%s.%d", name, i, i ? "_shifted" : "", picture);
            unimatch_dump(s, full, item, x + (size_t)picture * (size_t)l.tokens * CHANNELS, height, width,
                          CHANNELS);
        }
    }
    return VIPO_OK;
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

struct positions {
    float *x;
    int height, width, windows;
};

/* 32 pairs of sine and cosine of a position among n. */
static void encode(float *x, int i, int n)
{
    const double p = 2 * 3.14159265358979323846 * (i + 1) / (n + 1e-6);
    for (int j = 0; j < CHANNELS / 4; j++) {
        const double angle = p / pow(10000, 2.0 * j / (CHANNELS / 2));
        x[2 * j] += (float)sin(angle);
        x[2 * j + 1] += (float)cos(angle);
    }
}

static void positions_row(void *arg, int y, int thread)
{
    (void)thread;
    const struct positions *p = arg;
    const int height = p->height / p->windows, width = p->width / p->windows;
    float row[CHANNELS / 2] = {0};
    encode(row, y % height, height);
    float *x = p->x + (size_t)y * (size_t)p->width * CHANNELS;
    for (int u = 0; u < p->width; u++, x += CHANNELS) {
        for (int c = 0; c < CHANNELS / 2; c++) x[c] += row[c];
        encode(x + CHANNELS / 2, u % width, width);
    }
}

void unimatch_add_positions(vipo_unimatch_session *s, float *x, int height, int width, int windows)
{
    struct positions p = {x, height, width, windows};
    unimatch_each(s, height, positions_row, &p);
}
