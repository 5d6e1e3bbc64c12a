/* The op table for processors with AMX: the AVX-512 one, and convolutions as split products (split.h). */
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compute/amx/split.h"
#include "compute/blocked/winograd_space.h"

/* Linux gives a process the registers of tiles when it asks (arch_prctl(2): ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA); asking
 * again changes nothing. Called on any CPU, so it must stay plain integer code. */
static bool supported(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!vipo_ops_avx512.supported() || !__builtin_cpu_supports("avx512bf16")) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const unsigned bf16 = 1u << 22, tile = 1u << 24; /* CPUID 7, EDX */
    return (d & bf16) && (d & tile) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool knows(const vipo_layer *layer, vipo_method method)
{
    if (method == VIPO_METHOD_SPLIT) return vipo_split_knows(layer);
    if (method == VIPO_METHOD_SPLIT_WINOGRAD_2) return in_space(layer->kind);
    return BLOCKED(knows)(layer, method);
}

static vipo_method choose(const vipo_layer *layer)
{
    const bool small = layer->kind != VIPO_WEIGHT_LINEAR && layer->in < LANES;
    return vipo_split_knows(layer) && !small ? VIPO_METHOD_SPLIT : BLOCKED(choose)(layer);
}

static size_t weight_floats(const vipo_layer *layer, vipo_method method)
{
    return method == VIPO_METHOD_SPLIT ? vipo_split_weight_floats(layer)
                                       : vipo_split_winograd_space_floats(layer, method);
}

static bool is_split(vipo_method method)
{
    return method == VIPO_METHOD_SPLIT || method == VIPO_METHOD_SPLIT_WINOGRAD_2;
}

static size_t packed_floats(const vipo_layer *layer, vipo_method method)
{
    return is_split(method) ? weight_floats(layer, method) + padded_columns(layer->out)
                            : BLOCKED(packed_floats)(layer, method);
}

static void pack(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                 float *memory, vipo_packed *packed, vipo_pool *pool)
{
    if (!is_split(method)) {
        BLOCKED(pack)(layer, method, weights, bias, memory, packed, pool);
        return;
    }
    if (method == VIPO_METHOD_SPLIT)
        vipo_split_pack(layer, weights, memory, pool);
    else
        vipo_split_winograd_space_pack(layer, method, weights, memory, pool);
    *packed =
        (vipo_packed){.kind = layer->kind,
                      .method = method,
                      .in = layer->in,
                      .out = layer->out,
                      .data = memory,
                      .bias = BLOCKED(pack_bias)(memory + weight_floats(layer, method), bias, layer->out)};
}

static size_t conv_space_scratch(const vipo_conv_space *args)
{
    if (args->weights->method == VIPO_METHOD_SPLIT) return vipo_split_space_scratch(args);
    if (args->weights->method == VIPO_METHOD_SPLIT_WINOGRAD_2) return vipo_split_winograd_space_scratch(args);
    return BLOCKED(conv_space_scratch)(args);
}

static void conv_space(const vipo_compute *compute, const vipo_conv_space *args)
{
    if (args->weights->method == VIPO_METHOD_SPLIT)
        vipo_split_space(compute, args);
    else if (args->weights->method == VIPO_METHOD_SPLIT_WINOGRAD_2)
        vipo_split_winograd_space(compute, args);
    else
        BLOCKED(conv_space)(compute, args);
}

const vipo_ops vipo_ops_amx = {
    .name = "amx",
    .supported = supported,
    .by_name = true,
    .knows = knows,
    .choose = choose,
    .packed_floats = packed_floats,
    .pack = pack,
    .conv_space_scratch = conv_space_scratch,
    .conv_time_scratch = vipo_split_time_scratch,
    .conv_space = conv_space,
    .conv_time = vipo_split_time,
    BLOCKED_OTHER_OPS,
};
