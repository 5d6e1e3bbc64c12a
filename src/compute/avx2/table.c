/* The AVX2 op table. */
#include <cpuid.h>

#include "compute/blocked/blocked.h"

/* Called on any CPU, so it must stay plain integer code. */
static bool supported(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C)) return false;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const vipo_ops vipo_ops_avx2 = {
    .name = "avx2",
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
