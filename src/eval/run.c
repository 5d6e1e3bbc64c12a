/* An evaluation from its options to its store: what is missing, who does it, what came back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/log.h"
#include "eval/spread.h"
#include "eval/store.h"

typedef struct evaluation_run {
    const char *path;
    vipo_evaluation e;
    vipo_spread spread;
    vipo_store *store;
    vipo_crew *crew;
    int *missing; /* numbers of jobs that the store does not have */
    int n_missing, next;
    int out; /* handed out, and not back */
    bool halted;
    vipo_status status; /* of what went wrong first */
    vipo_error error;
    vipo_eval_result result;
} evaluation_run;

/* ---- the store ------------------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static void count(vipo_eval_result *result, const vipo_record *record)
{
    result->successes += record->success;
    result->errors += record->error[0] != '\0';
}

static vipo_status find_missing(evaluation_run *run, vipo_error *error)
{
    const vipo_evaluation *const e = &run->e;
    const int jobs = vipo_evaluation_jobs(e);
    run->missing = malloc((size_t)jobs * sizeof *run->missing);
    if (!run->missing)
        return vipo_fail_memory(error, (size_t)jobs * sizeof *run->missing, "a list of episodes");
    for (int i = 0; i < jobs; i++) {
        vipo_job job;
        vipo_record record;
        bool found = false;
        if (!vipo_evaluation_wants(e, i)) continue;
        vipo_evaluation_job(e, i, &job);
        if (run->store)
            VIPO_TRY(vipo_store_find(run->store, e->variants[job.variant].settings.hash, e->tasks[job.task],
                                     e->cameras[job.camera], job.seed, &found, &record, error));
        run->result.episodes++;
        run->result.earlier += found;
        if (found)
            count(&run->result, &record);
        else
            run->missing[run->n_missing++] = i;
    }
    return VIPO_OK;
}

/* A store that is not there is made once everything else is there: a mistake leaves no empty one behind. */
static vipo_status prepare(evaluation_run *run, vipo_error *error)
{
    const bool known = exists(run->path);
    if (known)
        VIPO_TRY(vipo_store_open(&run->store, run->path, VIPO_STORE_WRITE, error));
    else
        VIPO_TRY(vipo_output_check(run->path, error));
    VIPO_TRY(find_missing(run, error));
    if (run->n_missing > 0) VIPO_TRY(vipo_evaluation_open_model(&run->e, error));
    if (!known) VIPO_TRY(vipo_store_open(&run->store, run->path, VIPO_STORE_WRITE, error));
    for (int i = 0; i < run->e.n_variants; i++)
        VIPO_TRY(vipo_store_add_settings(run->store, &run->e.variants[i].settings, error));
    return run->n_missing > 0 ? vipo_crew_open(&run->crew, &run->e, error) : VIPO_OK;
}

/* ---- what comes back ------------------------------------------------------------------------------------- */

/* The first thing that goes wrong ends the rest. */
static void give_up(evaluation_run *run, vipo_status status, const vipo_error *error)
{
    if (run->status == VIPO_OK) {
        run->status = status;
        run->error = *error;
    }
    if (run->halted) return;
    run->halted = true;
    if (run->crew) vipo_crew_stop(run->crew);
    vipo_spread_halt(&run->spread);
}

static void tell(const evaluation_run *run, int number, const vipo_record *record)
{
    vipo_job job;
    if (!run->e.options.episode) return;
    vipo_evaluation_job(&run->e, number, &job);
    const vipo_eval_episode episode = {.settings = run->e.variants[job.variant].settings.label,
                                       .task = record->task,
                                       .camera = record->camera,
                                       .seed = record->seed,
                                       .success = record->success,
                                       .first_success = record->first_success,
                                       .steps = record->steps,
                                       .plans = record->plans,
                                       .total_reward = record->total_reward,
                                       .seconds = record->seconds,
                                       .error = record->error};
    run->e.options.episode(run->e.options.callbacks.user, &episode);
}

/* Another process has files of its own, and with others it would have made another evaluation's episode. */
static vipo_status check_settings(const evaluation_run *run, const vipo_outcome *outcome, vipo_error *error)
{
    vipo_job job;
    vipo_evaluation_job(&run->e, outcome->number, &job);
    if (strcmp(outcome->record.settings, run->e.variants[job.variant].settings.hash) == 0) return VIPO_OK;
    return vipo_fail(
        error, VIPO_MISMATCH,
        "process on %s has other settings (%s, here %s): the model's and the policy's files must be "
        "the same everywhere",
        outcome->record.host, outcome->record.settings, run->e.variants[job.variant].settings.hash);
}

static void take_outcome(evaluation_run *run, const vipo_outcome *outcome)
{
    vipo_error error = outcome->error;
    vipo_status status = outcome->status;
    bool added;
    run->out--;
    if (status == VIPO_OK) status = check_settings(run, outcome, &error);
    if (status == VIPO_OK) status = vipo_store_add(run->store, &outcome->record, &added, &error);
    if (status != VIPO_OK) {
        give_up(run, status, &error);
        return;
    }
    run->result.done++;
    count(&run->result, &outcome->record);
    tell(run, outcome->number, &outcome->record);
}

static bool may_hand_out(const evaluation_run *run)
{
    return !run->halted && run->next < run->n_missing;
}

/* Messages of the other processes, all that have come. */
static vipo_status hear(evaluation_run *run, vipo_error *error)
{
    vipo_message message;
    bool found = true;
    for (;;) {
        VIPO_TRY(vipo_spread_receive(&run->spread, &message, &found, error));
        if (!found) return VIPO_OK;
        switch (message.kind) {
        case VIPO_MESSAGE_ASK: {
            const bool job = may_hand_out(run);
            const int number = job ? run->missing[run->next] : 0;
            VIPO_TRY(vipo_spread_answer(&run->spread, message.from, job, number, error));
            run->next += job;
            run->out += job;
            break;
        }
        case VIPO_MESSAGE_RESULT:
            take_outcome(run, &message.outcome);
            break;
        case VIPO_MESSAGE_LEAVE:
            if (message.outcome.status != VIPO_OK) {
                vipo_error prefixed = message.outcome.error;
                char who[64];
                snprintf(who, sizeof who, "process %d", message.from);
                if (prefixed.status != VIPO_CANCELLED) vipo_fail_prefix(&prefixed, prefixed.status, who);
                give_up(run, message.outcome.status, &prefixed);
            }
            break;
        default:
            return vipo_fail(error, VIPO_INTERNAL, "MPI: an unexpected message");
        }
    }
}

/* ---- the first process ----------------------------------------------------------------------------------- */

static void look_around(evaluation_run *run)
{
    vipo_error error = {0};
    vipo_outcome outcome;
    const vipo_callbacks *const callbacks = &run->e.options.callbacks;
    vipo_status status = hear(run, &error);
    if (status != VIPO_OK) give_up(run, status, &error);
    while (may_hand_out(run) && vipo_crew_idle(run->crew) > 0) {
        vipo_crew_push(run->crew, run->missing[run->next++]);
        run->out++;
    }
    if (vipo_crew_pop(run->crew, run->spread.present > 0 ? 0.002 : 0.1, &outcome))
        take_outcome(run, &outcome);
    vipo_progress(callbacks, "episodes", run->result.done, run->n_missing);
    if (!run->halted && vipo_check_cancelled(callbacks, &error) != VIPO_OK)
        give_up(run, VIPO_CANCELLED, &error);
}

/* Until everything is done, or, after a failure, everybody has stopped. What others were at when they failed is lost. */
static void lead(evaluation_run *run)
{
    while ((may_hand_out(run) || run->out > 0) && !(run->halted && run->spread.transport)) look_around(run);
    while (run->halted && run->spread.present > 0) { /* results on their way still count */
        vipo_error error = {0};
        vipo_outcome outcome;
        if (hear(run, &error) != VIPO_OK) break;
        if (run->crew && vipo_crew_pop(run->crew, 0.002, &outcome)) take_outcome(run, &outcome);
    }
}

static vipo_status run_first(evaluation_run *run, vipo_error *error)
{
    run->status = prepare(run, &run->error);
    if (run->status == VIPO_OK && run->crew) lead(run);
    vipo_spread_dismiss(&run->spread);
    vipo_crew_close(&run->crew);
    vipo_error late;
    if (run->store && run->result.done + run->result.earlier > 0) {
        const vipo_status status = vipo_store_digest(run->store, run->result.digest, NULL, &late);
        if (run->status == VIPO_OK && status != VIPO_OK) {
            run->status = status;
            run->error = late;
        }
    }
    if (run->status != VIPO_OK && error) *error = run->error;
    return run->status;
}

vipo_status vipo_eval_run(const char *path, const vipo_eval_options *options, vipo_eval_result *out,
                          vipo_error *error)
{
    vipo_error own = {0};
    memset(out, 0, sizeof *out);
    evaluation_run *run = calloc(1, sizeof *run);
    if (!run) return vipo_fail_memory(error, sizeof *run, "an evaluation");
    const double start = vipo_clock_seconds();
    run->path = path;
    if (!error) error = &own;
    vipo_status status = vipo_spread_start(&run->spread, error);
    if (status == VIPO_OK) {
        status = vipo_evaluation_init(&run->e, options, run->spread.on_this_host, error);
        if (run->spread.process > 0)
            status = vipo_spread_serve(&run->spread, &run->e, status, error);
        else if (status == VIPO_OK)
            status = run_first(run, error);
        else
            vipo_spread_dismiss(&run->spread);
        if (run->spread.process == 0) *out = run->result;
        out->process = run->spread.process;
        out->processes = run->spread.processes;
        vipo_store_close(&run->store);
        vipo_spread_finish(&run->spread);
    }
    vipo_evaluation_release(&run->e);
    free(run->missing);
    free(run);
    out->seconds = vipo_clock_seconds() - start;
    return status;
}

/* ---- merging --------------------------------------------------------------------------------------------- */

static vipo_status merge_one(vipo_store *store, const char *path, vipo_eval_merge_result *out,
                             vipo_error *error)
{
    vipo_store *other;
    vipo_merge_counts counts;
    VIPO_TRY(vipo_store_open(&other, path, VIPO_STORE_READ, error));
    const vipo_status status = vipo_store_merge(store, other, &counts, error);
    vipo_store_close(&other);
    VIPO_TRY(status);
    out->added += counts.added;
    out->present += counts.present;
    out->different += counts.different;
    return VIPO_OK;
}

/* A mistake in one of the names leaves no new store behind. */
static vipo_status check_others(const char *const *others, int n, vipo_error *error)
{
    for (int i = 0; i < n; i++) {
        vipo_store *other;
        VIPO_TRY(vipo_store_open(&other, others[i], VIPO_STORE_READ, error));
        vipo_store_close(&other);
    }
    return VIPO_OK;
}

vipo_status vipo_eval_merge(const char *path, const char *const *others, int n, vipo_eval_merge_result *out,
                            vipo_error *error)
{
    vipo_store *store;
    memset(out, 0, sizeof *out);
    VIPO_TRY(check_others(others, n, error));
    VIPO_TRY(vipo_store_open(&store, path, VIPO_STORE_WRITE, error));
    vipo_status status = VIPO_OK;
    for (int i = 0; i < n && status == VIPO_OK; i++) status = merge_one(store, others[i], out, error);
    if (status == VIPO_OK) status = vipo_store_digest(store, out->digest, &out->episodes, error);
    vipo_store_close(&store);
    return status;
}
