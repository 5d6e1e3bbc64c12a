/* PyTorch's random normals on a CPU: torch.manual_seed(seed), then torch.randn(shape) in float32, number by
 * number. The sequence depends on what was drawn before, so it is for parity only; rng.h is the library's
 * own. The last bit is that of PyTorch's vector code (every x86 processor with AVX2): its scalar code, on
 * other machines, differs from it by rounding, 1e-7 relative. */
#ifndef VIPO_CORE_TORCH_RNG_H
#define VIPO_CORE_TORCH_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mt19937.h"

/* The state of torch.Generator: mt19937 and the half of a pair of normals that a draw of an odd number of small
 * tensors leaves behind. */
typedef struct vipo_torch_rng {
    vipo_mt19937 mt;
    bool has_kept; /* kept is valid */
    double kept;
} vipo_torch_rng;

/* manual_seed; like PyTorch's it uses the low 32 bits. */
void vipo_torch_rng_seed(vipo_torch_rng *rng, uint64_t seed);
/* randn of n elements in one call; two calls of n/2 draw other numbers unless n/2 is a multiple of 16. */
void vipo_torch_rng_normal(vipo_torch_rng *rng, size_t n, float *out);

#endif
