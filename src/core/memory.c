#include "core/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool vipo_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Blocks from here on begin at huge pages, where the system has them: fewer faults while they are filled, fewer
 * misses of the address cache while they are read. */
#define HUGE_PAGE ((size_t)2 << 20)

void *vipo_aligned_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!vipo_mul_size(count, size, &bytes) || bytes == 0 || bytes > SIZE_MAX - HUGE_PAGE) return NULL;
    const size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : VIPO_ALIGNMENT;
    void *memory;
    if (posix_memalign(&memory, alignment, (bytes + VIPO_ALIGNMENT - 1) / VIPO_ALIGNMENT * VIPO_ALIGNMENT) !=
        0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (alignment == HUGE_PAGE) (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}

void *vipo_aligned_calloc(size_t count, size_t size)
{
    void *memory = vipo_aligned_alloc(count, size);
    if (memory) memset(memory, 0, count * size);
    return memory;
}

void vipo_aligned_free(void *memory)
{
    free(memory);
}
