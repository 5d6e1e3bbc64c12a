/* A pool of worker threads for data-parallel loops. Work is split into tasks that write disjoint
 * outputs and whose arithmetic does not depend on who runs them, so results are the same bits for any
 * number of threads. */
#ifndef VIPO_CORE_THREADS_H
#define VIPO_CORE_THREADS_H

#include <pthread.h>
#include <time.h>

#include "core/status.h"

typedef struct vipo_pool vipo_pool;

/* threads >= 1, the caller included; 0: all cores this process may use. */
vipo_status vipo_pool_open(vipo_pool **out, int threads, vipo_error *error);
void vipo_pool_close(vipo_pool **pool);
int vipo_pool_threads(const vipo_pool *pool);

/* Runs task(arg, i, thread) for every i in [0, n), thread in [0, threads), and returns when all are done.
 * Tasks are handed out in increasing order, one at a time. One caller at a time; not reentrant. pool NULL: the
 * caller does them all. */
void vipo_pool_run(vipo_pool *pool, int n, void (*task)(void *arg, int i, int thread), void *arg);

/* A condition whose timed waits follow a clock that only goes forward, and the moment some seconds (>= 0) from now. */
void vipo_condition_init(pthread_cond_t *condition);
void vipo_moment_from_now(double seconds, struct timespec *out);

/* Number of cores this process may use, >= 1. */
int vipo_core_count(void);

#endif
