/* mt19937 (Matsumoto & Nishimura, ACM TOMACS 1998), the generator below NumPy's legacy random numbers and PyTorch's on a
 * CPU. For parity with them only; rng.h is the library's own. */
#ifndef VIPO_CORE_MT19937_H
#define VIPO_CORE_MT19937_H

#include <stdint.h>

enum { VIPO_MT_WORDS = 624 };

typedef struct vipo_mt19937 {
    uint32_t words[VIPO_MT_WORDS];
    int next; /* word that is given out next; VIPO_MT_WORDS: none is left */
} vipo_mt19937;

/* init_genrand */
void vipo_mt19937_seed(vipo_mt19937 *mt, uint32_t seed);
uint32_t vipo_mt19937_next(vipo_mt19937 *mt);
/* genrand_res53: [0, 1) with 53 bits of two words, as numpy.random.seed(s); numpy.random.random_sample(). */
double vipo_mt19937_res53(vipo_mt19937 *mt);

#endif
