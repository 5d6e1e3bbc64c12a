/* The thread pool hands out every task exactly once, and results do not depend on the number of threads. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/threads.h"
#include "support/support.h"

enum { MAX_TASKS = 1000 };

struct counts {
    atomic_int runs[MAX_TASKS];
    int threads;
    atomic_int strangers; /* thread numbers out of range */
    int plain[MAX_TASKS]; /* not atomic: written by the task's own thread alone */
    int loop;
};

static void count_task(void *arg, int i, int thread)
{
    struct counts *counts = arg;
    atomic_fetch_add(&counts->runs[i], 1);
    if (thread < 0 || thread >= counts->threads) atomic_fetch_add(&counts->strangers, 1);
    counts->plain[i] = counts->loop + i;
}

static void test_every_task_once(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 2, 3, 4, 5, 17, 64, MAX_TASKS};
    enum { SIZES = sizeof sizes / sizeof sizes[0], LOOPS = 3000 };
    struct counts *counts = malloc(sizeof *counts);
    assert_non_null(counts);
    for (int threads = 1; threads <= 4; threads++) {
        vipo_pool *pool;
        vipo_error error;
        assert_ok(vipo_pool_open(&pool, threads, &error), &error);
        assert_int_equal(vipo_pool_threads(pool), threads);
        memset(counts, 0, sizeof *counts);
        counts->threads = threads;
        int expected[MAX_TASKS] = {0};
        for (int loop = 0; loop < LOOPS; loop++) {
            const int n = sizes[loop % SIZES];
            counts->loop = loop;
            vipo_pool_run(pool, n, count_task, counts);
            for (int i = 0; i < n; i++) {
                expected[i]++;
                if (counts->plain[i] != loop + i)
                    fail_msg("task %d of loop %d was not done in time", i, loop);
            }
            if (loop % 1000 == 999) { /* let the workers fall asleep */
                const struct timespec pause = {.tv_nsec = 5000000};
                nanosleep(&pause, NULL);
            }
        }
        for (int i = 0; i < MAX_TASKS; i++) assert_int_equal(atomic_load(&counts->runs[i]), expected[i]);
        assert_int_equal(atomic_load(&counts->strangers), 0);
        vipo_pool_close(&pool);
        assert_null(pool);
    }
    free(counts);
}

static void sum_task(void *arg, int i, int thread)
{
    (void)thread;
    double *sums = arg, sum = 0;
    for (uint64_t k = 0; k < 500; k++) sum += (double)test_uniform((uint64_t)i, k);
    sums[i] = sum;
}

static void test_same_sums(void **state)
{
    (void)state;
    enum { N = 97 };
    double reference[N], sums[N];
    for (int threads = 1; threads <= 4; threads++) {
        vipo_pool *pool;
        vipo_error error;
        assert_ok(vipo_pool_open(&pool, threads, &error), &error);
        memset(sums, 0, sizeof sums);
        vipo_pool_run(pool, N, sum_task, sums);
        if (threads == 1) memcpy(reference, sums, sizeof sums);
        assert_memory_equal(sums, reference, sizeof sums);
        vipo_pool_close(&pool);
    }
}

static void test_open_and_close(void **state)
{
    (void)state;
    vipo_pool *pool;
    vipo_error error;
    for (int i = 0; i < 200; i++) { /* closed before its workers have started */
        assert_ok(vipo_pool_open(&pool, 1 + i % 4, &error), &error);
        vipo_pool_close(&pool);
    }
    vipo_pool_close(&pool);
    assert_ok(vipo_pool_open(&pool, 0, &error), &error);
    assert_int_equal(vipo_pool_threads(pool), vipo_core_count());
    vipo_pool_close(&pool);
    assert_int_equal(vipo_pool_open(&pool, -1, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_pool_open(&pool, 100000, &error), VIPO_INVALID_ARGUMENT);
    assert_null(pool);
}

/* A timed wait ends when it should, whatever fraction of a second that is. */
static void test_timed_wait(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;
    vipo_condition_init(&condition);
    pthread_mutex_lock(&mutex);
    static const double waits[] = {0, 0.002, 0.05, 1.01};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        const double start = vipo_clock_seconds();
        struct timespec until;
        vipo_moment_from_now(waits[i], &until);
        assert_true(until.tv_nsec >= 0 && until.tv_nsec < 1000000000);
        int code;
        while ((code = pthread_cond_timedwait(&condition, &mutex, &until)) == 0) {
        }
        assert_int_equal(code, ETIMEDOUT);
        assert_true(vipo_clock_seconds() - start >= waits[i] - 1e-6);
    }
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&condition);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_once), cmocka_unit_test(test_same_sums),
        cmocka_unit_test(test_open_and_close), cmocka_unit_test(test_timed_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
