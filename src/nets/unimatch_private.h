/* The parts of nets/unimatch*.c. */
#ifndef VIPO_NETS_UNIMATCH_PRIVATE_H
#define VIPO_NETS_UNIMATCH_PRIVATE_H

#include "core/log.h"
#include "nets/unimatch.h"

enum {
    CHANNELS = VIPO_UNIMATCH_CHANNELS,
    LAYERS = 6,
    HIDDEN = 1024, /* of a transformer layer's MLP */
    REFINEMENTS = 6,
    GRU_TAPS = 5,
    GRU_IN = 3 * CHANNELS, /* state, context, motion */
    MATCH_RADIUS = 4,
    MATCH_WINDOW = (2 * MATCH_RADIUS + 1) * (2 * MATCH_RADIUS + 1),
    UPSAMPLE = 4,
    MASK = 9 * UPSAMPLE * UPSAMPLE,
};

/* ---- weights ------------------------------------------------------------------------------------------- */

typedef struct residual_block {
    int in, out, stride;
    const vipo_packed *conv1, *conv2, *downsample; /* downsample NULL: the input itself */
} residual_block;

typedef struct attention_block {
    const vipo_packed *q, *k, *v, *merge;
    const float *norm_gain, *norm_bias;
} attention_block;

typedef struct transformer_layer {
    attention_block self, cross;
    const vipo_packed *mlp1, *mlp2;
    const float *norm2_gain, *norm2_bias;
} transformer_layer;

/* A pass of the recurrent unit, along rows or columns. */
typedef struct gru_pass {
    const vipo_packed *zr, *q;
} gru_pass;

struct vipo_unimatch {
    vipo_weight_store store;
    /* backbone */
    const vipo_packed *stem, *project, *trident_fine, *trident_coarse;
    residual_block blocks[6];
    transformer_layer layers[LAYERS];
    const vipo_packed *flow_q, *flow_k;
    /* refinement */
    const vipo_packed *state, *context, *corr1, *corr2, *flow1, *flow2, *motion;
    gru_pass gru[2];
    const vipo_packed *head1, *head2, *mask1, *mask2;
};

/* ---- session ------------------------------------------------------------------------------------------- */

/* Memory by what it is for. */
typedef enum unimatch_buffer {
    BUFFER_COLUMNS, /* inputs of a convolution beside each other */
    BUFFER_MAP_A,
    BUFFER_MAP_B,
    BUFFER_MAP_C,
    BUFFER_STATS,
    BUFFER_ORDER, /* of tokens in windows */
    BUFFER_X,
    BUFFER_Q,
    BUFFER_K,
    BUFFER_V,
    BUFFER_K2,
    BUFFER_V2,
    BUFFER_M,
    BUFFER_MLP,
    BUFFER_TOKENS,
    BUFFER_GRID,
    BUFFER_COARSE_FLOW,
    BUFFER_FLOW,
    BUFFER_CORRELATION,
    BUFFER_STATE,
    BUFFER_CONTEXT,
    BUFFER_MOTION,
    BUFFER_GRU_IN,
    BUFFER_GRU_ZR,
    BUFFER_GRU_Q,
    BUFFERS
} unimatch_buffer;

struct vipo_unimatch_session {
    const vipo_unimatch *net;
    vipo_compute compute;
    size_t scratch_capacity; /* bytes of all threads */
    struct {
        float *data;
        size_t capacity; /* floats */
    } buffers[BUFFERS];
    vipo_unimatch_dump *dump;
    void *dump_user;
};

/* Room for n floats; what was in the buffer is kept only if it had that room already. */
vipo_status unimatch_buffer_get(vipo_unimatch_session *s, unimatch_buffer which, size_t n, float **out,
                                vipo_error *error);
void unimatch_dump(vipo_unimatch_session *s, const char *name, int item, const float *value, int height,
                   int width, int channels);

/* Ops with scratch that grows. */
typedef struct unimatch_map {
    float *data;
    int height, width, channels;
} unimatch_map;
/* kind of weights: 3x3, 3x3 with stride 2, or linear for 1x1; a second source may have data NULL. */
vipo_status unimatch_conv(vipo_unimatch_session *s, const vipo_packed *weights, unimatch_map in,
                          unimatch_map second, unimatch_map out, vipo_error *error);
vipo_status unimatch_linear(vipo_unimatch_session *s, const vipo_packed *weights, int rows, const float *x,
                            size_t x_stride, vipo_activation activation, float *y, vipo_error *error);
/* Rows of 128 without heads. */
vipo_status unimatch_attention(vipo_unimatch_session *s, int batch, int queries, int keys, const float *q,
                               const float *k, const float *v, int value_dim, float *out, vipo_error *error);
void unimatch_correlation(vipo_unimatch_session *s, const float *a, const float *b, const float *flow,
                          int height, int width, int radius, float *out);
void unimatch_layer_norm(vipo_unimatch_session *s, float *x, int rows, const float *gain, const float *bias);

/* x = max(x, 0) */
void unimatch_relu(vipo_unimatch_session *s, float *x, size_t n);
/* x += y */
void unimatch_add(vipo_unimatch_session *s, float *x, const float *y, size_t n);

/* Tasks over rows of a map or blocks of a row. */
void unimatch_each(vipo_unimatch_session *s, int n, void (*task)(void *arg, int i, int thread), void *arg);

/* ---- parts ---------------------------------------------------------------------------------------------- */

/* [out][in][height][width] of "<name>.weight" -> linear weights over columns [tap][in], with "<name>.bias" if has_bias.
 * Several names: their outputs one after another. */
vipo_status unimatch_columns(vipo_weight_store *store, const char *const *names, int n, int in, int out_each,
                             int tap_rows, int tap_columns, bool has_bias, const vipo_packed **packed,
                             vipo_error *error);
vipo_status unimatch_open_backbone(vipo_unimatch *net, vipo_error *error);
vipo_status unimatch_open_transformer(vipo_unimatch *net, vipo_error *error);
vipo_status unimatch_open_refinement(vipo_unimatch *net, vipo_error *error);

/* x [2 pictures][height][width][128], positions added before; windows: number along each side. */
vipo_status unimatch_transform(vipo_unimatch_session *s, float *x, int height, int width, int windows,
                               const char *name, int item, const vipo_callbacks *callbacks,
                               vipo_error *error);
/* Adds sines of positions in windows. */
void unimatch_add_positions(vipo_unimatch_session *s, float *x, int height, int width, int windows);

/* flow from a to b by softmax over the whole map. */
vipo_status unimatch_match_global(vipo_unimatch_session *s, const float *a, const float *b, int height,
                                  int width, float *flow, vipo_error *error);
/* flow += what softmax over 9x9 neighbours says; *residual, if not NULL, is that. */
vipo_status unimatch_match_local(vipo_unimatch_session *s, const float *a, const float *b, int height,
                                 int width, float *flow, int item, vipo_error *error);
/* flow becomes the mean of flows where features are alike. */
vipo_status unimatch_propagate_global(vipo_unimatch_session *s, const float *features, int height, int width,
                                      float *flow, vipo_error *error);
vipo_status unimatch_propagate_local(vipo_unimatch_session *s, const float *features, int height, int width,
                                     float *flow, vipo_error *error);
/* out(p) = x(p + flow(p)), bilinear, 0 outside. */
void unimatch_warp(vipo_unimatch_session *s, const float *x, const float *flow, int height, int width,
                   float *out);

/* Refines flow in place; features: transformed ones of picture a; a, b: as the backbone made them. out: flow of the
 * pictures, 4 times as high and wide. */
vipo_status unimatch_refine(vipo_unimatch_session *s, const float *features, const float *a, const float *b,
                            int height, int width, float *flow, float *out, int item,
                            const vipo_callbacks *callbacks, vipo_error *error);

#endif
