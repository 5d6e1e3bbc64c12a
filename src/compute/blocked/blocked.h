/* The slots that both blocked tables fill, and packing. */
#ifndef VIPO_COMPUTE_BLOCKED_BLOCKED_H
#define VIPO_COMPUTE_BLOCKED_BLOCKED_H

#include "compute/blocked/gemm.h"

/* Bytes of n floats or offsets rounded up to a cache line. */
static inline size_t line_bytes(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

static inline int parts(int n, int part)
{
    return (n + part - 1) / part;
}

static inline vfloat activation_of(vfloat x, vipo_activation activation)
{
    switch (activation) {
    case VIPO_ACT_NONE:
        return x;
    case VIPO_ACT_SILU:
        return v_swish(x, 1);
    case VIPO_ACT_GELU:
        return v_gelu(x);
    case VIPO_ACT_QUICK_GELU:
        return v_swish(x, 1.702f);
    case VIPO_ACT_RELU:
        return v_relu(x);
    case VIPO_ACT_SIGMOID:
        return v_sigmoid(x);
    case VIPO_ACT_TANH:
        return v_tanh(x);
    case VIPO_ACT_MISH:
        return v_mish(x);
    }
    return x;
}

/* Convolutions in space that Winograd's algorithms know. */
static inline bool in_space(vipo_weight_kind kind)
{
    return kind == VIPO_WEIGHT_3X3 || kind == VIPO_WEIGHT_3X3_UPSAMPLE2;
}

/* Floats of the panels of a [columns][k] matrix, without bias. */
static inline size_t panel_floats(int k, int columns)
{
    return (size_t)k * padded_columns(columns);
}

/* Depth of a packed weight's panels; an upsampling one has four sets of panels, one for each parity
 * 2 (y mod 2) + (x mod 2) of output pixels, each a 2x2 convolution of the input. */
int BLOCKED(packed_depth)(vipo_weight_kind kind, int in);
/* Can weights of this layer be halves? Winograd's of 3x3 convolutions. */
bool BLOCKED(halves)(const vipo_layer *layer, vipo_method method);
bool BLOCKED(knows)(const vipo_layer *layer, vipo_method method);
vipo_method BLOCKED(choose)(const vipo_layer *layer);
size_t BLOCKED(packed_floats)(const vipo_layer *layer, vipo_method method);
void BLOCKED(pack)(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                   float *memory, vipo_packed *packed, vipo_pool *pool);
/* The bias behind packed weights, with zeros up to a whole vector and where a layer has none; returns `packed`. */
const float *BLOCKED(pack_bias)(float *packed, const float *bias, int out);

/* out[i][c] = silu(scale[c] x[i][c] + shift[c]) for `channels` floats of n pixels; scale NULL: no norm. */
void BLOCKED(activate)(float *out, size_t out_stride, const float *x, size_t x_stride, int channels, int n,
                       const float *scale, const float *shift, bool silu);

/* Statistics of channels [first, end) of a strip (vipo_map.stats). */
void BLOCKED(strip_stats)(const vipo_map *map, int sample, int frame, int strip, int first, int end);

/* Biases of a sample's output channels: of both weights and the embedding; sum has padded_columns. */
const float *BLOCKED(sum_biases)(const vipo_conv_time *args, int sample, float *sum);

size_t BLOCKED(conv_space_scratch)(const vipo_conv_space *args);
size_t BLOCKED(conv_time_scratch)(const vipo_conv_time *args);
size_t BLOCKED(linear_scratch)(const vipo_linear *args);
size_t BLOCKED(attention_scratch)(const vipo_attention *args);
void BLOCKED(conv_space)(const vipo_compute *compute, const vipo_conv_space *args);
void BLOCKED(conv_time)(const vipo_compute *compute, const vipo_conv_time *args);
void BLOCKED(group_norm)(const vipo_compute *compute, const vipo_group_norm *args);
void BLOCKED(linear)(const vipo_compute *compute, const vipo_linear *args);
void BLOCKED(attention)(const vipo_compute *compute, const vipo_attention *args);
void BLOCKED(layer_norm)(const vipo_compute *compute, const vipo_layer_norm *args);
size_t BLOCKED(conv_window_scratch)(const vipo_conv_window *args);
void BLOCKED(conv_window)(const vipo_compute *compute, const vipo_conv_window *args);
void BLOCKED(norm_act)(const vipo_compute *compute, const vipo_norm_act *args);
void BLOCKED(correlation)(const vipo_compute *compute, const vipo_correlation *args);

/* The slots of a table that are not about packed convolutions. */
#define BLOCKED_OTHER_OPS                                                                                    \
    .linear_scratch = BLOCKED(linear_scratch), .attention_scratch = BLOCKED(attention_scratch),              \
    .conv_window_scratch = BLOCKED(conv_window_scratch), .group_norm = BLOCKED(group_norm),                  \
    .linear = BLOCKED(linear), .attention = BLOCKED(attention), .layer_norm = BLOCKED(layer_norm),           \
    .conv_window = BLOCKED(conv_window), .norm_act = BLOCKED(norm_act), .correlation = BLOCKED(correlation)

#endif
