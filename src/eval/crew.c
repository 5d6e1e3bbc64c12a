#include "eval/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/threads.h"

enum { NOTHING = -1 };

typedef struct member {
    vipo_crew *crew;
    pthread_t thread;
    bool started;
    int job;       /* to do or being done; NOTHING: idle */
    bool finished; /* outcome is to be fetched */
    vipo_outcome outcome;
} member;

struct vipo_crew {
    const vipo_evaluation *e;
    vipo_stop stop;
    pthread_mutex_t mutex; /* protects all that follows, and the members */
    pthread_cond_t changed;
    bool stopping, closing;
    int n;
    member *members;
};

static bool stop_wanted(void *user)
{
    vipo_crew *const crew = user;
    pthread_mutex_lock(&crew->mutex);
    const bool wanted = crew->stopping;
    pthread_mutex_unlock(&crew->mutex);
    return wanted;
}

/* ---- a worker's thread ----------------------------------------------------------------------------------- */

/* The next job; false at the end. */
static bool wait_for_job(member *m, int *job)
{
    vipo_crew *const crew = m->crew;
    pthread_mutex_lock(&crew->mutex);
    while (!crew->closing && (m->job == NOTHING || m->finished))
        pthread_cond_wait(&crew->changed, &crew->mutex);
    const bool go_on = !crew->closing;
    *job = m->job;
    pthread_mutex_unlock(&crew->mutex);
    return go_on;
}

static void work(member *m, vipo_rollout **rollout, int number)
{
    vipo_crew *const crew = m->crew;
    vipo_outcome *const outcome = &m->outcome;
    vipo_job job;
    memset(outcome, 0, sizeof *outcome);
    outcome->number = number;
    vipo_evaluation_job(crew->e, number, &job);
    if (!*rollout) outcome->status = vipo_rollout_open(rollout, crew->e, &crew->stop, &outcome->error);
    if (outcome->status == VIPO_OK)
        outcome->status = vipo_rollout_run(*rollout, &job, &outcome->record, &outcome->error);
}

static void *member_main(void *argument)
{
    member *const m = argument;
    vipo_crew *const crew = m->crew;
    vipo_rollout *rollout = NULL;
    int job;
    while (wait_for_job(m, &job)) {
        work(m, &rollout, job);
        pthread_mutex_lock(&crew->mutex);
        m->finished = true;
        pthread_cond_broadcast(&crew->changed);
        pthread_mutex_unlock(&crew->mutex);
    }
    vipo_rollout_close(&rollout);
    return NULL;
}

/* ---- the caller's thread --------------------------------------------------------------------------------- */

vipo_status vipo_crew_open(vipo_crew **out, const vipo_evaluation *evaluation, vipo_error *error)
{
    vipo_crew *crew = calloc(1, sizeof *crew);
    *out = NULL;
    if (crew) crew->members = calloc((size_t)evaluation->workers, sizeof *crew->members);
    if (!crew || !crew->members) {
        free(crew);
        return vipo_fail_memory(error, (size_t)evaluation->workers * sizeof(member), "workers");
    }
    crew->e = evaluation;
    crew->n = evaluation->workers;
    crew->stop = (vipo_stop){crew, stop_wanted};
    pthread_mutex_init(&crew->mutex, NULL);
    vipo_condition_init(&crew->changed);
    vipo_status status = VIPO_OK;
    for (int i = 0; i < crew->n && status == VIPO_OK; i++) {
        member *const m = &crew->members[i];
        m->crew = crew;
        m->job = NOTHING;
        const int code = pthread_create(&m->thread, NULL, member_main, m);
        m->started = code == 0;
        if (code) status = vipo_fail(error, VIPO_INTERNAL, "cannot start a thread: %s", strerror(code));
    }
    if (status != VIPO_OK) vipo_crew_close(&crew);
    *out = crew;
    return status;
}

void vipo_crew_close(vipo_crew **crew_pointer)
{
    vipo_crew *const crew = *crew_pointer;
    if (!crew) return;
    pthread_mutex_lock(&crew->mutex);
    crew->stopping = crew->closing = true;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->mutex);
    for (int i = 0; i < crew->n; i++)
        if (crew->members[i].started) pthread_join(crew->members[i].thread, NULL);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->mutex);
    free(crew->members);
    free(crew);
    *crew_pointer = NULL;
}

int vipo_crew_idle(vipo_crew *crew)
{
    int idle = 0;
    pthread_mutex_lock(&crew->mutex);
    for (int i = 0; i < crew->n; i++) idle += crew->members[i].job == NOTHING;
    pthread_mutex_unlock(&crew->mutex);
    return idle;
}

void vipo_crew_push(vipo_crew *crew, int number)
{
    pthread_mutex_lock(&crew->mutex);
    for (int i = 0; i < crew->n; i++)
        if (crew->members[i].job == NOTHING) {
            crew->members[i].job = number;
            break;
        }
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->mutex);
}

/* With the mutex held. */
static bool fetch(vipo_crew *crew, vipo_outcome *out)
{
    for (int i = 0; i < crew->n; i++) {
        member *const m = &crew->members[i];
        if (!m->finished) continue;
        *out = m->outcome;
        m->finished = false;
        m->job = NOTHING;
        return true;
    }
    return false;
}

bool vipo_crew_pop(vipo_crew *crew, double seconds, vipo_outcome *out)
{
    struct timespec until;
    vipo_moment_from_now(seconds, &until);
    pthread_mutex_lock(&crew->mutex);
    bool found;
    int code = 0;
    while (!(found = fetch(crew, out)) && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&crew->changed, &crew->mutex, &until);
    pthread_mutex_unlock(&crew->mutex);
    return found;
}

void vipo_crew_stop(vipo_crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    crew->stopping = true;
    pthread_mutex_unlock(&crew->mutex);
}
