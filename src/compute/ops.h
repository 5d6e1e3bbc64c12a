/* The op table: the fused steps of the networks, each with a plain C reference (ref/) and faster versions
 * for an instruction set. All tables have the same signatures and memory layouts except for packed
 * weights, which belong to the table that packed them.
 *
 * Feature maps are [sample][frame][y][x][channel] floats without padding. Every output element is computed by
 * an order of operations that depends on shapes alone: not on the number of threads, not on the other
 * samples of the batch. */
#ifndef VIPO_COMPUTE_OPS_H
#define VIPO_COMPUTE_OPS_H

#include "core/status.h"
#include "core/threads.h"

/* ---- values ----------------------------------------------------------------------------------- */

/* Pixels per strip of channel statistics: strip s of a frame covers its pixels [96 s, 96 (s+1)). */
enum { VIPO_STRIP_PIXELS = 96 };

typedef struct vipo_map {
    float *data; /* [samples][frames][height][width][channels] */
    int samples, frames, height, width, channels;
    /* Channel statistics written by the producer for a later GroupNorm, or NULL:
     * [samples][frames][strips][2][channels]: mean, then sum of squared deviations from it, of a strip. */
    float *stats;
} vipo_map;

/* Strips of a frame. */
static inline int vipo_map_strips(const vipo_map *map)
{
    return (map->height * map->width + VIPO_STRIP_PIXELS - 1) / VIPO_STRIP_PIXELS;
}

/* Start of a frame; a map with one frame stands for every frame. */
static inline const float *vipo_map_frame(const vipo_map *map, int sample, int frame)
{
    const size_t size = (size_t)map->height * (size_t)map->width * (size_t)map->channels;
    const int f = map->frames == 1 ? 0 : frame;
    return map->data + ((size_t)sample * (size_t)map->frames + (size_t)f) * size;
}

/* Per-channel affine map y = scale x + shift that a GroupNorm comes down to:
 * [samples][frames if per_frame, else 1][channels of all sources]. scale NULL: no norm. */
typedef struct vipo_affine {
    float *scale, *shift;
    bool per_frame;
} vipo_affine;

/* ---- weights ------------------------------------------------------------------------------------ */

typedef enum vipo_weight_kind {
    VIPO_WEIGHT_LINEAR,        /* [out][in]: linear layers and 1x1 convolutions */
    VIPO_WEIGHT_3X3,           /* [out][in][3][3], stride 1, padding 1 */
    VIPO_WEIGHT_3X3_STRIDE2,   /* the same with stride 2 */
    VIPO_WEIGHT_3X3_UPSAMPLE2, /* the same after nearest-neighbour enlargement by 2 */
    VIPO_WEIGHT_TIME,          /* [out][in][3]: three taps over frames, padding 1 */
} vipo_weight_kind;

enum { VIPO_WEIGHT_KINDS = VIPO_WEIGHT_TIME + 1 };

/* Taps of a kind: 1, 9, 9, 9, 3. */
int vipo_weight_taps(vipo_weight_kind kind);

/* "linear", "3x3", "3x3-stride2", "3x3-upsample2", "time" */
const char *vipo_weight_kind_name(vipo_weight_kind kind);

/* How a convolution is computed. Winograd's algorithms (Lavin and Gray 2015) trade products for sums and need
 * weights of their own, so the method is chosen before packing; a table may know only some for a kind. */
typedef enum vipo_method {
    VIPO_METHOD_DIRECT,
    VIPO_METHOD_WINOGRAD_2, /* F(2x2, 3x3): 16 products for 4 outputs, in place of 36 */
    VIPO_METHOD_WINOGRAD_4, /* F(4x4, 3x3): 36 for 16 in place of 144; over frames F(4, 3): 6 for 4 in place of 12 */
    VIPO_METHOD_SPLIT, /* three bfloat16 products of high and low parts for one of floats (amx/split.h) */
    VIPO_METHOD_SPLIT_WINOGRAD_2, /* F(2x2, 3x3) with such products; F(4x4) loses too many digits */
    VIPO_METHODS
} vipo_method;

/* "direct", "winograd2", "winograd4", "split", "split-winograd2" */
const char *vipo_method_name(vipo_method method);

/* A layer whose weights are to be packed, and the size of its input maps; a linear layer has 1 x 1 x 1. */
typedef struct vipo_layer {
    vipo_weight_kind kind;
    int in, out;
    int frames, height, width;
    bool
        half; /* store the weights as IEEE binary16 where the table can: half the memory, about 1e-3 of a step */
} vipo_layer;

/* Weights in the layout of one table. data is owned by whoever allocated it (see vipo_ops.packed_floats);
 * bias follows the weights inside the same block. */
typedef struct vipo_packed {
    vipo_weight_kind kind;
    vipo_method method;
    bool half; /* data holds binary16 */
    int in, out;
    const float *data;
    const float *bias; /* [out rounded up to the table's panel], zeros where the layer has none */
} vipo_packed;

/* ---- ops: arguments ------------------------------------------------------------------------------- */

typedef struct vipo_compute vipo_compute;

/* out = conv(silu(scale x + shift)) + bias on every frame, where x is one map or two beside each other along
 * channels. Padding is zero after the activation. */
typedef struct vipo_conv_space {
    vipo_map in[2];
    int n_in;
    vipo_affine norm; /* norm.scale NULL: none */
    bool silu;
    const vipo_packed *weights; /* any kind but TIME */
    vipo_map out;               /* out.stats is not written */
} vipo_conv_space;

/* out = conv(in over frames) + bias + embedding + residual + skip_weights * skip, with statistics of out.
 * weights: TIME, or LINEAR for a single tap. */
typedef struct vipo_conv_time {
    vipo_map in;
    const vipo_packed *weights;
    const float *embedding;          /* [samples][embedding_stride], out.channels of it used; NULL: none */
    size_t embedding_stride;         /* floats */
    vipo_map residual;               /* same shape as out; data NULL: none */
    vipo_map skip[2];                /* 1x1 convolution of one or two maps */
    int n_skip;                      /* 0: none */
    const vipo_packed *skip_weights; /* LINEAR */
    vipo_map out;
} vipo_conv_time;

/* Merges the statistics of one or two maps into the affine map of GroupNorm(groups) over their channels:
 * over all frames of a sample, or each frame alone if out.per_frame. */
typedef struct vipo_group_norm {
    vipo_map in[2]; /* stats set */
    int n_in;
    int groups;
    float eps;
    const float *gamma, *beta; /* [channels of all sources] */
    vipo_affine out;
} vipo_group_norm;

typedef enum vipo_activation {
    VIPO_ACT_NONE,
    VIPO_ACT_SILU,
    VIPO_ACT_GELU,
    VIPO_ACT_QUICK_GELU,
    VIPO_ACT_RELU,
    VIPO_ACT_MISH, /* x tanh(log(1 + e^x)), Misra 2019 */
    VIPO_ACT_SIGMOID,
    VIPO_ACT_TANH
} vipo_activation;

/* y = act(x W^T + bias) + residual, row by row. */
typedef struct vipo_linear {
    int rows;
    const float *x;
    size_t x_stride;            /* floats between rows */
    const vipo_packed *weights; /* LINEAR */
    vipo_activation activation;
    const float *residual; /* rows at y_stride, or NULL; may be y itself */
    float *y;
    size_t y_stride;
} vipo_linear;

/* Where the rows of q, k, v or the output of attention lie, strides in floats; head h of row r of batch b
 * begins at data + b * batch + r * row + h * head and has head_dim contiguous floats. */
typedef struct vipo_rows {
    float *data;
    size_t batch, row, head;
} vipo_rows;

/* out = softmax(scale q k^T) v for every batch entry and head. */
typedef struct vipo_attention {
    int batch, heads, queries, keys, head_dim;
    int value_dim; /* floats of a row of v and of out; 0: head_dim */
    vipo_rows q, k, v, out;
    float scale;
    bool causal;           /* query i sees keys 0..i */
    const int *key_counts; /* [batch]: keys that exist, or NULL for all */
} vipo_attention;

/* y = (x - mean) / sqrt(var + eps) * gamma + beta for every row. */
typedef struct vipo_layer_norm {
    int rows, width;
    const float *x;
    const float *gamma;
    const float *beta; /* or NULL */
    float eps;
    float *y;
} vipo_layer_norm;

/* Where the pixels of maps lie: pixel (y, x) of sample s begins at data + s * sample + y * row + x * pixel, in floats. So
 * a map may lie inside of a larger one, with a border that stays zero, or beside another along its channels. */
typedef struct vipo_raster {
    float *data;
    size_t sample, row, pixel;
} vipo_raster;

enum { VIPO_MAX_WINDOW = 7 }; /* rows of a window */

/* y(s, y, x) = W window + bias: any convolution over maps that bring their border with them. The window of output pixel
 * (y, x) is kernel_height runs of weights->in / kernel_height floats; run k begins at pixel (stride y + k, stride x) of
 * the input, whose pixels touch each other. Over time steps: height 1 and kernel_height 1. */
typedef struct vipo_conv_window {
    int samples, height, width; /* of the output */
    int kernel_height;          /* 1..VIPO_MAX_WINDOW */
    int stride;
    vipo_raster x;
    const vipo_packed *weights; /* LINEAR: [out][kernel height][kernel width][channels] */
    vipo_raster y;
} vipo_conv_window;

/* y = last(factor * act(GroupNorm(x)) + summand + residual), channel by channel. */
typedef struct vipo_norm_act {
    int samples, height, width, channels, groups;
    float eps;
    const float *gamma, *beta; /* [channels] */
    const float *x;            /* [samples][height][width][channels] */
    vipo_activation activation;
    const float *factor, *summand; /* [samples][film_stride], channels of it used; each NULL: none */
    size_t film_stride;
    vipo_raster residual; /* data NULL: none */
    vipo_activation last;
    vipo_raster y;
} vipo_norm_act;
/* out(p, d) = scale a(p) . b(p + flow(p) + d) for every pixel p and every d = (x, y) in [-radius, radius]^2, y outer; b
 * between pixels is bilinear, and 0 outside of the map. Where a flow is not finite or leads far away, out is 0. */
enum { VIPO_CORRELATION_RADIUS = 8 };
typedef struct vipo_correlation {
    int items, height, width, channels;
    const float *a, *b; /* [items][height][width][channels] */
    const float *flow;  /* [items][height][width][2], x and y in pixels; NULL: 0 */
    int radius;         /* 0..VIPO_CORRELATION_RADIUS */
    float scale;
    float *out; /* [items][height][width][(2 radius + 1)^2] */
} vipo_correlation;

/* Where the window of pixel (x, y) begins: (left, top) is the pixel at or before its first corner, and fx, fy are the
 * fractions beyond. False: nothing of the window is on the map. */
static inline bool vipo_correlation_window(const vipo_correlation *args, int x, int y, const float *flow,
                                           int *left, int *top, float *fx, float *fy)
{
    const float u = (float)x + (flow ? flow[0] : 0), v = (float)y + (flow ? flow[1] : 0);
    const float far = (float)(args->radius + 1);
    *left = *top = 0;
    *fx = *fy = 0;
    if (!(u >= -far && v >= -far && u <= (float)args->width + far && v <= (float)args->height + far))
        return false;
    /* conversion truncates, so positions are moved to where that is the floor */
    const int column = (int)(u + far) - args->radius - 1, row = (int)(v + far) - args->radius - 1;
    *fx = u - (float)column;
    *fy = v - (float)row;
    *left = column - args->radius;
    *top = row - args->radius;
    return true;
}

/* ---- the table -------------------------------------------------------------------------------------- */

typedef struct vipo_ops {
    const char *name;
    bool (*supported)(void); /* by this CPU */
    bool by_name; /* only taken by its name: its rounding errors are about ten times those of float32 */

    /* Can this layer be computed by this method? Direct always can. */
    bool (*knows)(const vipo_layer *layer, vipo_method method);
    /* A method that suits the layer on most processors; depends on its arguments alone. */
    vipo_method (*choose)(const vipo_layer *layer);

    /* Size of a packed weight, bias included, and packing. weights: PyTorch layout, [out][in][taps]; bias
     * may be NULL; memory has packed_floats floats at a 64-byte boundary. The pool shares out the work. */
    size_t (*packed_floats)(const vipo_layer *layer, vipo_method method);
    void (*pack)(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                 float *memory, vipo_packed *packed, vipo_pool *pool);

    /* Scratch bytes per thread that an op needs for these shapes (data pointers are not looked at). */
    size_t (*conv_space_scratch)(const vipo_conv_space *args);
    size_t (*conv_time_scratch)(const vipo_conv_time *args);
    size_t (*linear_scratch)(const vipo_linear *args);
    size_t (*attention_scratch)(const vipo_attention *args);
    size_t (*conv_window_scratch)(const vipo_conv_window *args);

    void (*conv_space)(const vipo_compute *compute, const vipo_conv_space *args);
    void (*conv_time)(const vipo_compute *compute, const vipo_conv_time *args);
    void (*group_norm)(const vipo_compute *compute, const vipo_group_norm *args);
    void (*linear)(const vipo_compute *compute, const vipo_linear *args);
    void (*attention)(const vipo_compute *compute, const vipo_attention *args);
    void (*layer_norm)(const vipo_compute *compute, const vipo_layer_norm *args);
    void (*conv_window)(const vipo_compute *compute, const vipo_conv_window *args);
    void (*norm_act)(const vipo_compute *compute, const vipo_norm_act *args);
    void (*correlation)(const vipo_compute *compute, const vipo_correlation *args);
} vipo_ops;

/* Counted up whenever a change of kernels makes some method faster or slower than before: what was measured with
 * another revision (choices.h) is measured again. */
enum { VIPO_KERNEL_REVISION = 1 };

extern const vipo_ops vipo_ops_ref;
extern const vipo_ops vipo_ops_avx2;
extern const vipo_ops vipo_ops_avx512;
extern const vipo_ops vipo_ops_amx;

/* The table of that name; NULL: the one named by the environment variable VIPO_COMPUTE, else the fastest this
 * CPU runs that computes in float32. An unknown or unsupported name fails with the list of those that would work. */
vipo_status vipo_ops_find(const vipo_ops **out, const char *name, vipo_error *error);
/* Table i of those that this CPU runs, slowest first, those taken by name only last; NULL past the end. */
const vipo_ops *vipo_ops_available(int i);

/* ---- running ops --------------------------------------------------------------------------------------- */

/* What an op needs besides its arguments. One op at a time. */
struct vipo_compute {
    const vipo_ops *ops;
    vipo_pool *pool;
    char *scratch;        /* threads blocks of scratch_bytes, 64-byte aligned */
    size_t scratch_bytes; /* per thread, a multiple of 64 */
};

static inline void *vipo_compute_scratch(const vipo_compute *compute, int thread)
{
    return compute->scratch + (size_t)thread * compute->scratch_bytes;
}

#endif
