/* FNV-1a of 32 and 64 bits (Fowler, Noll and Vo): short names for long data, no protection against anybody. */
#ifndef VIPO_CORE_HASH_H
#define VIPO_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define VIPO_HASH_START UINT32_C(2166136261)

/* `hash` carried on over the bytes of a text. */
static inline uint32_t vipo_hash_text(uint32_t hash, const char *text)
{
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * UINT32_C(16777619);
    return hash;
}

/* The same for bytes, of any value. */
static inline uint32_t vipo_hash_bytes(uint32_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT32_C(16777619);
    return hash;
}

#define VIPO_HASH64_START UINT64_C(14695981039346656037)

static inline uint64_t vipo_hash64_bytes(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

#endif
