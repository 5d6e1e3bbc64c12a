#include "core/rng.h"

#include <math.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

/* Key = seed. Counter: 32 bits of element block, then episode, plan, and sample | purpose. Samples and
 * purposes share one word: 2^20 samples, 2^12 purposes. */
static philox4x32_ctr_t block(uint64_t seed, const vipo_rng_stream *stream, uint32_t index)
{
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    const philox4x32_ctr_t counter = {
        {index, stream->episode, stream->plan, (stream->purpose << 20) | (stream->sample & 0xfffffU)}};
    return philox4x32(counter, key);
}

/* Box-Muller on (0,1] x [0,1), in double: two normals from two 32-bit words. */
static void normal_pair(uint32_t a, uint32_t b, double *z0, double *z1)
{
    const double u = ((double)a + 1.0) * 0x1p-32;
    const double angle = 2.0 * 3.14159265358979323846 * ((double)b * 0x1p-32);
    const double radius = sqrt(-2.0 * log(u));
    *z0 = radius * cos(angle);
    *z1 = radius * sin(angle);
}

/* Elements first..first+n-1 to one of the two. */
static void normals(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n, float *floats,
                    double *doubles)
{
    size_t i = 0;
    while (i < n) {
        const uint64_t element = first + i;
        const philox4x32_ctr_t words = block(seed, stream, (uint32_t)(element / 4));
        double z[4];
        normal_pair(words.v[0], words.v[1], &z[0], &z[1]);
        normal_pair(words.v[2], words.v[3], &z[2], &z[3]);
        for (unsigned lane = (unsigned)(element % 4); lane < 4 && i < n; lane++, i++) {
            if (floats)
                floats[i] = (float)z[lane];
            else
                doubles[i] = z[lane];
        }
    }
}

void vipo_rng_bits(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n, uint64_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t element = first + i;
        const philox4x32_ctr_t words = block(seed, stream, (uint32_t)(element / 2));
        const unsigned lane = (unsigned)(element % 2) * 2;
        out[i] = (uint64_t)words.v[lane] | (uint64_t)words.v[lane + 1] << 32;
    }
}

void vipo_rng_normal(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n, float *out)
{
    normals(seed, stream, first, n, out, NULL);
}

void vipo_rng_normal_double(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n,
                            double *out)
{
    normals(seed, stream, first, n, NULL, out);
}
