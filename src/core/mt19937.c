#include "core/mt19937.h"

enum { MIDDLE = 397 };

void vipo_mt19937_seed(vipo_mt19937 *mt, uint32_t seed)
{
    mt->words[0] = seed;
    for (uint32_t i = 1; i < VIPO_MT_WORDS; i++) {
        const uint32_t before = mt->words[i - 1];
        mt->words[i] = 1812433253U * (before ^ before >> 30) + i;
    }
    mt->next = VIPO_MT_WORDS;
}

static void refill(vipo_mt19937 *mt)
{
    uint32_t *w = mt->words;
    for (int i = 0; i < VIPO_MT_WORDS; i++) {
        const uint32_t mixed = (w[i] & 0x80000000U) | (w[(i + 1) % VIPO_MT_WORDS] & 0x7fffffffU);
        w[i] = w[(i + MIDDLE) % VIPO_MT_WORDS] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908b0dfU : 0);
    }
    mt->next = 0;
}

uint32_t vipo_mt19937_next(vipo_mt19937 *mt)
{
    if (mt->next == VIPO_MT_WORDS) refill(mt);
    uint32_t word = mt->words[mt->next++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c5680U;
    word ^= word << 15 & 0xefc60000U;
    return word ^ word >> 18;
}

double vipo_mt19937_res53(vipo_mt19937 *mt)
{
    const double high = vipo_mt19937_next(mt) >> 5; /* 27 bits, and 26 */
    return (high * 0x1p26 + (vipo_mt19937_next(mt) >> 6)) * 0x1p-53;
}
