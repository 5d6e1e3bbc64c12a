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
    .conv_space = BLOCKED(conv_space),
    .conv_time = BLOCKED(conv_time),
    BLOCKED_OTHER_OPS,
};
