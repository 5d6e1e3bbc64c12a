#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

bool vipo_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

void *vipo_aligned_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!vipo_mul_size(count, size, &bytes) || bytes == 0 || bytes > SIZE_MAX - VIPO_ALIGNMENT) return NULL;
    const size_t rounded = (bytes + VIPO_ALIGNMENT - 1) / VIPO_ALIGNMENT * VIPO_ALIGNMENT;
    void *memory = aligned_alloc(VIPO_ALIGNMENT, rounded);
    if (memory) memset(memory, 0, rounded);
    return memory;
}

void vipo_aligned_free(void *memory)
{
    free(memory);
}
