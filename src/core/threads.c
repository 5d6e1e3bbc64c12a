#define _GNU_SOURCE
#include "core/threads.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Workers spin this many times for the next loop before they sleep: the loops of one network call follow
 * each other within microseconds. */
enum { SPINS = 4000, MAX_THREADS = 1024 };

/* State word of a pool: the number of the current loop in the upper half, whether workers may still enter
 * it, and how many are inside. Who has not woken up when the last task is handed out is not waited for. */
#define LOOP_ONE  (UINT64_C(1) << 32)
#define LOOP_OPEN (UINT64_C(1) << 31)
#define INSIDE    (LOOP_OPEN - 1)

struct vipo_pool {
    int threads;
    pthread_t *workers; /* threads - 1 */
    struct worker *worker_args;
    /* The loop; written only while it is closed and nobody is inside. */
    void (*task)(void *arg, int i, int thread);
    void *arg;
    unsigned n;
    atomic_uint next; /* next task to hand out; runs past n, hence unsigned */
    _Atomic uint64_t state;
    atomic_bool stop;
    pthread_mutex_t mutex; /* protects sleeping on `wake` */
    pthread_cond_t wake;
};

struct worker {
    vipo_pool *pool;
    int thread;
};

static void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

int vipo_core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        const int n = CPU_COUNT(&set);
        if (n > 0) return n;
    }
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static void work(vipo_pool *pool, int thread)
{
    for (;;) {
        const unsigned i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= pool->n) return;
        pool->task(pool->arg, (int)i, thread);
    }
}

static uint32_t current_loop(vipo_pool *pool)
{
    return (uint32_t)(atomic_load_explicit(&pool->state, memory_order_acquire) >> 32);
}

/* Returns the number of a loop other than `seen`. */
static uint32_t wait_for_loop(vipo_pool *pool, uint32_t seen)
{
    for (int spins = 0; spins < SPINS; spins++) {
        const uint32_t loop = current_loop(pool);
        if (loop != seen) return loop;
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    while (current_loop(pool) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    return current_loop(pool);
}

/* False if the loop is closed or over: then its tasks are all handed out. */
static bool enter_loop(vipo_pool *pool, uint32_t loop)
{
    uint64_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    while ((state & LOOP_OPEN) && (uint32_t)(state >> 32) == loop)
        if (atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

static void *worker_main(void *arg)
{
    const struct worker *worker = arg;
    vipo_pool *pool = worker->pool;
    uint32_t loop = 0;
    for (;;) {
        loop = wait_for_loop(pool, loop);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) return NULL;
        if (!enter_loop(pool, loop)) continue;
        work(pool, worker->thread);
        atomic_fetch_sub_explicit(&pool->state, 1, memory_order_release);
    }
}

/* Only the caller changes the loop's number, and only while nobody is inside. */
static void next_loop(vipo_pool *pool, uint64_t flags)
{
    pthread_mutex_lock(&pool->mutex);
    const uint64_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    const uint64_t number = (state & ~(LOOP_OPEN | INSIDE)) + LOOP_ONE;
    atomic_store_explicit(&pool->state, number | flags, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

/* Signals go to the application's own threads. */
static int start_worker(pthread_t *thread, struct worker *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

vipo_status vipo_pool_open(vipo_pool **out, int threads, vipo_error *error)
{
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threads: %d, expected 0 (all cores) to %d", threads,
                         MAX_THREADS);
    if (threads == 0) threads = vipo_core_count();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    vipo_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return vipo_fail_memory(error, sizeof *pool, "a thread pool");
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pool->worker_args = calloc((size_t)threads, sizeof *pool->worker_args);
    if (!pool->workers || !pool->worker_args) {
        free(pool->workers);
        free(pool->worker_args);
        free(pool);
        return vipo_fail_memory(error, (size_t)threads * sizeof *pool->workers, "a thread pool");
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = 1;
    for (int i = 1; i < threads; i++) {
        pool->worker_args[i] = (struct worker){pool, i};
        const int code = start_worker(&pool->workers[i], &pool->worker_args[i]);
        if (code != 0) {
            vipo_pool_close(&pool);
            return vipo_fail(error, VIPO_OUT_OF_MEMORY, "cannot start thread %d: %s", i, strerror(code));
        }
        pool->threads++;
    }
    *out = pool;
    return VIPO_OK;
}

void vipo_pool_close(vipo_pool **pool_pointer)
{
    vipo_pool *pool = *pool_pointer;
    if (!pool) return;
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    next_loop(pool, 0);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool->workers);
    free(pool->worker_args);
    free(pool);
    *pool_pointer = NULL;
}

int vipo_pool_threads(const vipo_pool *pool)
{
    return pool->threads;
}

void vipo_pool_run(vipo_pool *pool, int n, void (*task)(void *arg, int i, int thread), void *arg)
{
    if (n <= 0) return;
    if (!pool || pool->threads == 1 || n == 1) {
        for (int i = 0; i < n; i++) task(arg, i, 0);
        return;
    }
    pool->task = task;
    pool->arg = arg;
    pool->n = (unsigned)n;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    next_loop(pool, LOOP_OPEN);
    work(pool, 0);
    atomic_fetch_and_explicit(&pool->state, ~LOOP_OPEN, memory_order_relaxed);
    for (unsigned spins = 1; atomic_load_explicit(&pool->state, memory_order_acquire) & INSIDE; spins++) {
        spin_pause();
        if (spins % SPINS == 0) sched_yield();
    }
}

void vipo_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

void vipo_moment_from_now(double seconds, struct timespec *out)
{
    clock_gettime(CLOCK_MONOTONIC, out);
    const double whole = floor(seconds);
    out->tv_sec += (time_t)whole;
    out->tv_nsec += (long)((seconds - whole) * 1e9);
    out->tv_sec += out->tv_nsec / 1000000000;
    out->tv_nsec %= 1000000000;
}
