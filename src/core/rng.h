/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011; Random123). A number is a pure
 * function of (seed, stream, element), so it does not depend on threads, shards or what was drawn
 * before. */
#ifndef VIPO_CORE_RNG_H
#define VIPO_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What the numbers are for; parts of the Philox counter. */
typedef struct vipo_rng_stream {
    uint32_t episode; /* closed-loop evaluation; 0 for a single plan */
    uint32_t plan;    /* plan of the episode */
    uint32_t sample;  /* sample (video) of the plan */
    uint32_t purpose; /* 0: x_T; 1 + i: noise of ancestral step i; from 0xf00: actions */
} vipo_rng_stream;

/* out[i] for i in [0, n): standard normals, elements first..first+n-1 of the stream. */
void vipo_rng_normal(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n, float *out);
/* The same without rounding to float. */
void vipo_rng_normal_double(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n,
                            double *out);

/* out[i] for i in [0, n): 64 random bits each, elements first..first+n-1 of the stream. Not independent of the normals of the
 * same stream: give each its own purpose. */
void vipo_rng_bits(uint64_t seed, const vipo_rng_stream *stream, uint64_t first, size_t n, uint64_t *out);

#endif
