/* The AVX-512 op table. */
#include "compute/blocked/blocked.h"

/* Called on any CPU, so it must stay plain integer code. */
static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const vipo_ops vipo_ops_avx512 = {
    .name = "avx512",
    .supported = supported,
    .knows = BLOCKED(knows),
    .choose = BLOCKED(choose),
    .packed_floats = BLOCKED(packed_floats),
    .pack = BLOCKED(pack),
    .conv_space_scratch = BLOCKED(conv_space_scratch),
    .conv_time_scratch = BLOCKED(conv_time_scratch),
    .linear_scratch = BLOCKED(linear_scratch),
    .attention_scratch = BLOCKED(attention_scratch),
    .conv_window_scratch = BLOCKED(conv_window_scratch),
    .conv_space = BLOCKED(conv_space),
    .conv_time = BLOCKED(conv_time),
    .group_norm = BLOCKED(group_norm),
    .linear = BLOCKED(linear),
    .attention = BLOCKED(attention),
    .layer_norm = BLOCKED(layer_norm),
    .conv_window = BLOCKED(conv_window),
    .norm_act = BLOCKED(norm_act),
    .correlation = BLOCKED(correlation),
};
