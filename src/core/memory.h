/* Allocation with overflow checks, 64-byte alignment for everything that kernels touch. */
#ifndef VIPO_CORE_MEMORY_H
#define VIPO_CORE_MEMORY_H

#include "core/status.h"

#define VIPO_ALIGNMENT 64

/* count * size bytes, not set to anything, aligned to VIPO_ALIGNMENT; NULL as below. Release with
 * vipo_aligned_free. */
void *vipo_aligned_alloc(size_t count, size_t size);

/* count * size bytes, zeroed, aligned to VIPO_ALIGNMENT; NULL when out of memory, on overflow or when
 * the product is 0. Release with vipo_aligned_free. */
void *vipo_aligned_calloc(size_t count, size_t size);
void vipo_aligned_free(void *memory);

/* a * b into *out; false on overflow. */
bool vipo_mul_size(size_t a, size_t b, size_t *out);

#endif
