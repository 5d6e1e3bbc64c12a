#include "compute/peak.h"

#include "core/clock.h"

#ifdef VIPO_X86

enum { ROUNDS = 100000, CHAINS = 12, TASKS_PER_THREAD = 4, TRIES = 5 };

/* A task is twelve independent chains of FMAs, 16 or 8 lanes wide: enough to hide their latency. */
static void fma_512(void *arg, int i, int thread)
{
    (void)arg, (void)i, (void)thread;
    long n = ROUNDS;
    __asm__ volatile("vxorps %%xmm12,%%xmm12,%%xmm12\n"
                     "1: .irp r,0,1,2,3,4,5,6,7,8,9,10,11\n"
                     "vfmadd231ps %%zmm12,%%zmm12,%%zmm\\r\n .endr\n dec %0\n jnz 1b\n vzeroupper\n"
                     : "+r"(n)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12");
}

static void fma_256(void *arg, int i, int thread)
{
    (void)arg, (void)i, (void)thread;
    long n = ROUNDS;
    __asm__ volatile("vxorps %%xmm12,%%xmm12,%%xmm12\n"
                     "1: .irp r,0,1,2,3,4,5,6,7,8,9,10,11\n"
                     "vfmadd231ps %%ymm12,%%ymm12,%%ymm\\r\n .endr\n dec %0\n jnz 1b\n vzeroupper\n"
                     : "+r"(n)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12");
}

double vipo_peak_measure(vipo_pool *pool, const vipo_ops *ops)
{
    void (*task)(void *, int, int) = NULL;
    double lanes = 8;
    if (vipo_ops_avx2.supported()) task = fma_256;
    if (vipo_ops_avx512.supported() && ops != &vipo_ops_avx2) {
        task = fma_512;
        lanes = 16;
    }
    const int tasks = TASKS_PER_THREAD * vipo_pool_threads(pool);
    double best = 0;
    for (int i = 0; task && i < TRIES; i++) {
        const double start = vipo_clock_seconds();
        vipo_pool_run(pool, tasks, task, NULL);
        const double rate = 2e-9 * lanes * ROUNDS * CHAINS * tasks / (vipo_clock_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

#else

double vipo_peak_measure(vipo_pool *pool, const vipo_ops *ops)
{
    (void)pool, (void)ops;
    return 0;
}

#endif
