/* The workers of a data set: threads with an environment each, which take seeds from the tasks.
 *
 * A task's seeds are handed out in order, and never more at a time than episodes are missing. So what is kept is the first
 * `episodes` seeds that succeed, whoever worked on them. */
#include "sim/collect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/threads.h"

static const double TICK_SECONDS = 0.1;

/* A task's seeds: next is the first that nobody has taken. */
typedef struct task_state {
    uint64_t next;
    int kept, at_work, skipped;
} task_state;

typedef struct seed_list {
    vipo_seed *items;
    int n, capacity;
} seed_list;

typedef struct worker worker;

typedef struct crew {
    vipo_collection collection;
    pthread_mutex_t mutex; /* protects all that follows, and what workers say of themselves */
    pthread_cond_t changed;
    task_state tasks[VIPO_TASKS]; /* in the collection's order */
    seed_list kept, skipped;
    int earlier; /* episodes that were there */
    bool stop;
    vipo_status status; /* of the first that failed */
    vipo_error error;
    worker *workers;
    int n_workers, running;
} crew;

struct worker {
    crew *crew;
    pthread_t thread;
    int task;    /* at which it is, -1: none */
    double done; /* share of its episode */
    /* of the task before or this one; only the worker's own thread uses them; opposite: NULL without `undo` */
    vipo_sim *sim, *opposite;
    int sim_task;
};

/* ---- handing out -------------------------------------------------------------------------------------------- */

static int missing(const crew *c, int task)
{
    return c->collection.options.episodes - c->tasks[task].kept - c->tasks[task].at_work;
}

/* The task to go on with, -1 if there is nothing to hand out: the one whose environment is open, else one that nobody is
 * at, else the one that misses most. */
static int choose(const crew *c, const worker *w)
{
    int best = -1, best_value = 0;
    for (int task = 0; task < c->collection.n_tasks; task++) {
        const int left = missing(c, task);
        if (left < 1) continue;
        if (w->sim && task == w->sim_task) return task;
        const int value = left + (c->tasks[task].at_work ? 0 : c->collection.options.episodes);
        if (value > best_value) {
            best = task;
            best_value = value;
        }
    }
    return best;
}

static bool anything_at_work(const crew *c)
{
    for (int task = 0; task < c->collection.n_tasks; task++)
        if (c->tasks[task].at_work) return true;
    return false;
}

/* Takes a seed; false if there is no more to do. */
static bool take_seed(worker *w, uint64_t *seed)
{
    crew *const c = w->crew;
    pthread_mutex_lock(&c->mutex);
    int task;
    /* What others are at may fail, and then another seed is needed. */
    while ((task = c->stop ? -1 : choose(c, w)) < 0 && !c->stop && anything_at_work(c))
        pthread_cond_wait(&c->changed, &c->mutex);
    if (task >= 0) {
        *seed = c->tasks[task].next++;
        c->tasks[task].at_work++;
    }
    w->task = task;
    w->done = 0;
    pthread_mutex_unlock(&c->mutex);
    return task >= 0;
}

static vipo_status append(seed_list *list, int task, uint64_t seed, vipo_error *error)
{
    if (list->n == list->capacity) {
        const int capacity = list->capacity ? 2 * list->capacity : 64;
        vipo_seed *const items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items) return vipo_fail_memory(error, (size_t)capacity * sizeof *items, "a list of episodes");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = (vipo_seed){task, seed};
    return VIPO_OK;
}

/* Seeds without success until a task is given up: an expert that hardly ever succeeds would go on for ever. */
static int most_skipped(const crew *c)
{
    return 20 + 4 * c->collection.options.episodes;
}

static vipo_status check_skipped(const crew *c, int task, vipo_error *error)
{
    const task_state *const state = &c->tasks[task];
    if (state->skipped <= most_skipped(c)) return VIPO_OK;
    return vipo_fail(
        error, VIPO_UNSUPPORTED,
        "%s: the expert succeeded with %d of %d seeds, which does not look like ever becoming %d",
        vipo_sim_task_name(c->collection.tasks[task]), state->kept, state->kept + state->skipped,
        c->collection.options.episodes);
}

static void give_back(worker *w, uint64_t seed, vipo_status status, bool kept, bool earlier,
                      const vipo_error *error)
{
    crew *const c = w->crew;
    vipo_error own = *error;
    pthread_mutex_lock(&c->mutex);
    task_state *const state = &c->tasks[w->task];
    state->at_work--;
    if (status == VIPO_OK) {
        status = append(kept ? &c->kept : &c->skipped, w->task, seed, &own);
        state->kept += kept;
        state->skipped += !kept;
        c->earlier += earlier;
        if (status == VIPO_OK) status = check_skipped(c, w->task, &own);
    }
    if (status != VIPO_OK) {
        /* a worker that was told to stop because another one failed has nothing to add */
        if (c->status == VIPO_OK || c->status == VIPO_CANCELLED) {
            c->status = status;
            c->error = own;
        }
        c->stop = true;
    }
    w->task = -1;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
}

/* ---- working ------------------------------------------------------------------------------------------------ */

static bool should_stop(void *user, double done)
{
    worker *const w = user;
    pthread_mutex_lock(&w->crew->mutex);
    w->done = done;
    const bool stop = w->crew->stop;
    pthread_mutex_unlock(&w->crew->mutex);
    return stop;
}

static vipo_status open_task(worker *w, vipo_error *error)
{
    const vipo_collection *const collection = &w->crew->collection;
    if (w->sim && w->sim_task == w->task) return VIPO_OK;
    const vipo_task *const task = &vipo_tasks[collection->tasks[w->task]];
    vipo_sim_close(&w->sim);
    vipo_sim_close(&w->opposite);
    w->sim_task = w->task;
    if (collection->options.undo)
        VIPO_TRY(vipo_sim_open(&w->opposite, task->opposite, &collection->options.sim, error));
    return vipo_sim_open(&w->sim, task->name, &collection->options.sim, error);
}

static vipo_status work_on(worker *w, uint64_t seed, bool *kept, bool *earlier, vipo_error *error)
{
    const vipo_collection *const collection = &w->crew->collection;
    const vipo_take_watch watch = {w, should_stop};
    vipo_kept_episode episode;
    *kept = *earlier = vipo_kept_episode_read(collection, collection->tasks[w->task], seed, &episode);
    if (*earlier) return VIPO_OK;
    VIPO_TRY(open_task(w, error));
    return vipo_take_make(collection, w->sim, w->opposite, seed, &watch, kept, error);
}

static void *worker_main(void *argument)
{
    worker *const w = argument;
    crew *const c = w->crew;
    uint64_t seed = 0;
    while (take_seed(w, &seed)) {
        vipo_error error = {0};
        bool kept = false, earlier = false;
        const vipo_status status = work_on(w, seed, &kept, &earlier, &error);
        give_back(w, seed, status, kept, earlier, &error);
    }
    vipo_sim_close(&w->sim);
    vipo_sim_close(&w->opposite);
    pthread_mutex_lock(&c->mutex);
    c->running--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

/* ---- the caller's thread: progress, cancellation ------------------------------------------------------------ */

/* Of this call's episodes. */
static void measure(const crew *c, double *done, double *total)
{
    *total = (double)c->collection.n_tasks * c->collection.options.episodes - c->earlier;
    *done = c->kept.n - c->earlier;
    for (int i = 0; i < c->n_workers; i++)
        if (c->workers[i].task >= 0) *done += c->workers[i].done;
}

static void wait_for_workers(crew *c)
{
    const vipo_callbacks *const callbacks = &c->collection.options.callbacks;
    pthread_mutex_lock(&c->mutex);
    while (c->running > 0) {
        struct timespec until;
        double done, total;
        vipo_moment_from_now(TICK_SECONDS, &until);
        pthread_cond_timedwait(&c->changed, &c->mutex, &until);
        measure(c, &done, &total);
        const bool stopping = c->stop;
        pthread_mutex_unlock(&c->mutex);
        if (callbacks->progress && total > 0) callbacks->progress(callbacks->user, "episodes", done, total);
        const bool cancelled = !stopping && callbacks->cancelled && callbacks->cancelled(callbacks->user);
        pthread_mutex_lock(&c->mutex);
        if (cancelled && !c->stop) {
            c->stop = true;
            c->status = vipo_fail(&c->error, VIPO_CANCELLED, "cancelled");
            pthread_cond_broadcast(&c->changed);
        }
    }
    pthread_mutex_unlock(&c->mutex);
}

/* After an early end: episodes of an earlier call that this one has not come to. */
static vipo_status find_others(crew *c, vipo_error *error)
{
    const int most = c->collection.options.episodes;
    vipo_kept_episode episode;
    for (int task = 0; task < c->collection.n_tasks; task++) {
        task_state *const state = &c->tasks[task];
        const uint64_t end = state->next + (uint64_t)(most + most_skipped(c) - state->skipped);
        for (uint64_t seed = state->next; seed < end && state->kept < most; seed++) {
            if (!vipo_kept_episode_read(&c->collection, c->collection.tasks[task], seed, &episode)) continue;
            VIPO_TRY(append(&c->kept, task, seed, error));
            state->kept++;
            c->earlier++;
        }
    }
    return VIPO_OK;
}

static int by_task_and_seed(const void *a, const void *b)
{
    const vipo_seed *const x = a, *const y = b;
    if (x->task != y->task) return x->task < y->task ? -1 : 1;
    return x->seed < y->seed ? -1 : x->seed > y->seed;
}

/* From the order of the collection to the numbers of tasks. */
static void sort(const crew *c, seed_list *list)
{
    if (list->n) qsort(list->items, (size_t)list->n, sizeof *list->items, by_task_and_seed);
    for (int i = 0; i < list->n; i++) list->items[i].task = c->collection.tasks[list->items[i].task];
}

static void run_workers(crew *c)
{
    for (int i = 0; i < c->n_workers; i++) {
        c->workers[i] = (worker){.crew = c, .task = -1, .sim_task = -1};
        pthread_mutex_lock(&c->mutex);
        c->running++;
        pthread_mutex_unlock(&c->mutex);
        if (pthread_create(&c->workers[i].thread, NULL, worker_main, &c->workers[i]) == 0) continue;
        pthread_mutex_lock(&c->mutex);
        c->running--;
        if (i == 0) c->status = vipo_fail(&c->error, VIPO_OUT_OF_MEMORY, "no thread can be started");
        pthread_mutex_unlock(&c->mutex);
        c->n_workers = i; /* fewer do the same */
    }
    wait_for_workers(c);
    for (int i = 0; i < c->n_workers; i++) pthread_join(c->workers[i].thread, NULL);
}

static vipo_status collect(crew *c, vipo_sim_collect_result *out, vipo_error *error)
{
    const vipo_sim_collect_options *const options = &c->collection.options;
    const int most = c->collection.n_tasks * options->episodes;
    c->n_workers = options->workers ? options->workers : vipo_core_count();
    if (c->n_workers > most) c->n_workers = most;
    c->workers = calloc((size_t)c->n_workers, sizeof *c->workers);
    if (!c->workers) return vipo_fail_memory(error, (size_t)c->n_workers * sizeof *c->workers, "workers");
    for (int task = 0; task < c->collection.n_tasks; task++) c->tasks[task].next = options->seed;
    run_workers(c);
    free(c->workers);
    if (c->status != VIPO_OK) VIPO_TRY(find_others(c, error));
    sort(c, &c->kept);
    sort(c, &c->skipped);
    /* What is complete is in the index even after a failure. */
    const vipo_status status = vipo_collection_write_index(&c->collection, c->kept.items, c->kept.n,
                                                           c->skipped.items, c->skipped.n, out, error);
    out->earlier = c->earlier;
    if (c->status == VIPO_OK) return status;
    if (error) *error = c->error;
    return c->status;
}

vipo_status vipo_sim_collect(const char *folder, const vipo_sim_collect_options *options,
                             vipo_sim_collect_result *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    crew c = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    VIPO_TRY(vipo_collection_open(&c.collection, folder, options, error));
    vipo_condition_init(&c.changed);
    const vipo_status status = collect(&c, out, error);
    free(c.kept.items);
    free(c.skipped.items);
    pthread_cond_destroy(&c.changed);
    pthread_mutex_destroy(&c.mutex);
    vipo_collection_close(&c.collection);
    return status;
}
