#include "eval/rollout.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "eval/reel.h"
#include "eval/view.h"

/* AVDC's rules: of an episode (it goes on while success lasts, for this many steps) and of a replan. */
enum { AFTER_SUCCESS = 10, MOST_PICTURES = VIPO_SIM_MAX_STEPS };
static const double stands_still = 0.001; /* metres in a step */

/* A plan in the making, or made. */
typedef struct plan_work {
    vipo_imaginer *imaginer;
    vipo_wish wish;
    vipo_seen seen;
    double observation[VIPO_SIM_OBSERVATION];
    int number, step, due; /* due: the step at which it takes effect */
    bool running;          /* asked for and not yet delivered */
    bool threaded;
    pthread_t thread;
    vipo_dream dream;
    vipo_status status;
    vipo_error error;
} plan_work;

struct vipo_rollout {
    const vipo_evaluation *e;
    const vipo_stop *stop;
    int task; /* of sim and session; -1: none */
    vipo_sim *sim;
    void *session;
    vipo_imaginer *imaginer;
    /* of the episode */
    vipo_job job;
    vipo_record *record;
    uint64_t key;
    double observation[VIPO_SIM_OBSERVATION];
    double last_hand[3];
    int countdown;
    plan_work work;
    vipo_array frames; /* of the plan in force: [1 + n][H][W][3] */
    vipo_reel *reel;
};

/* ---- opening --------------------------------------------------------------------------------------------- */

vipo_status vipo_rollout_open(vipo_rollout **out, const vipo_evaluation *evaluation, const vipo_stop *stop,
                              vipo_error *error)
{
    vipo_rollout *rollout = calloc(1, sizeof *rollout);
    *out = NULL;
    if (!rollout) return vipo_fail_memory(error, sizeof *rollout, "a worker");
    rollout->e = evaluation;
    rollout->stop = stop;
    rollout->task = -1;
    vipo_status status = VIPO_OK;
    if (evaluation->plan != VIPO_PLAN_NONE)
        status = vipo_imaginer_open(&rollout->imaginer, evaluation, stop, error);
    if (status != VIPO_OK) vipo_rollout_close(&rollout);
    *out = rollout;
    return status;
}

static void close_task(vipo_rollout *r)
{
    if (r->session) r->e->predictor->close(&r->session);
    vipo_sim_close(&r->sim);
    r->task = -1;
}

void vipo_rollout_close(vipo_rollout **rollout)
{
    if (!*rollout) return;
    close_task(*rollout);
    vipo_imaginer_close(&(*rollout)->imaginer);
    free(*rollout);
    *rollout = NULL;
}

static const char *text_of(const char *task)
{
    for (int i = 0; vipo_sim_task_name(i); i++)
        if (strcmp(vipo_sim_task_name(i), task) == 0) return vipo_sim_task_text(i);
    return task;
}

static vipo_status open_task(vipo_rollout *r, int task, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    if (r->task == task) return VIPO_OK;
    close_task(r);
    VIPO_TRY(vipo_sim_open(&r->sim, e->tasks[task], &e->options.sim, error));
    const vipo_predictor_place place = {.profile = e->options.sim.profile,
                                        .task = e->tasks[task],
                                        .text = text_of(e->tasks[task]),
                                        .height = VIPO_EVAL_HEIGHT,
                                        .width = VIPO_EVAL_WIDTH,
                                        .crop = e->format.crop,
                                        .threads = e->threads};
    if (e->predictor->open) VIPO_TRY(e->predictor->open(&r->session, e->predictor_model, &place, error));
    r->task = task;
    return VIPO_OK;
}

/* ---- plans ----------------------------------------------------------------------------------------------- */

static void *make_plan(void *argument)
{
    plan_work *const work = argument;
    work->status = vipo_imaginer_dream(work->imaginer, &work->wish, &work->dream, &work->error);
    return NULL;
}

static double lap(double *since)
{
    const double now = vipo_clock_seconds(), passed = now - *since;
    *since = now;
    return passed;
}

/* Takes the picture and begins the plan: at once, or beside the steps that come. */
static vipo_status begin_plan(vipo_rollout *r, int step, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    plan_work *const work = &r->work;
    const bool all = e->predictor->needs & VIPO_NEEDS_VIEW;
    double time = vipo_clock_seconds();
    VIPO_TRY(vipo_seen_take(&work->seen, r->sim, e->cameras[r->job.camera], VIPO_EVAL_HEIGHT, VIPO_EVAL_WIDTH,
                            all, error));
    r->record->rendering_seconds += lap(&time);
    VIPO_TRY(vipo_imaginer_look(r->imaginer, r->sim, &r->job, error));
    memcpy(work->observation, r->observation, sizeof work->observation);
    work->imaginer = r->imaginer;
    work->number = r->record->plans++;
    work->step = step;
    work->due = step + (work->number ? e->options.ahead : 0);
    work->wish = (vipo_wish){.job = &r->job,
                             .number = work->number,
                             .noise = vipo_plan_seed(r->key, work->number),
                             .picture = &work->seen.picture.rgb,
                             .observation = work->observation};
    r->countdown = e->options.patience;
    work->running = true;
    work->threaded = false;
    if (work->number < VIPO_RECORD_PLANS) r->record->plan_steps[work->number] = step;
    return VIPO_OK;
}

/* The video of the plan in force, as a warm start has it: [1][n][H][W][3]. Borrowed. */
static vipo_array plan_before(const vipo_rollout *r)
{
    const vipo_frame_format *const f = &r->e->format;
    return (vipo_array){.data = r->frames.data + vipo_frame_size(f),
                        .rank = 5,
                        .shape = {1, (size_t)f->n, (size_t)f->height, (size_t)f->width, 3}};
}

static void keep_counts(vipo_record *record, const plan_work *work)
{
    const vipo_dream *const dream = &work->dream;
    record->calls += dream->calls;
    record->evaluations += dream->evaluations;
    record->network_rows += dream->network_rows;
    record->rounds += dream->rounds;
    record->drafted += dream->drafted;
    record->accepted += dream->accepted;
    record->planning_seconds += dream->seconds;
    if (work->number < VIPO_RECORD_PLANS) record->plan_seconds[work->number] = dream->seconds;
    snprintf(record->compute, sizeof record->compute, "%s", dream->compute);
    snprintf(record->methods, sizeof record->methods, "%s", dream->methods);
}

/* Waits for the plan if it is still being made. */
static vipo_status finish_plan(vipo_rollout *r, vipo_error *error)
{
    plan_work *const work = &r->work;
    if (work->threaded) pthread_join(work->thread, NULL);
    work->threaded = work->running = false;
    if (work->status == VIPO_OK)
        keep_counts(r->record, work);
    else if (error)
        *error = work->error;
    return work->status;
}

static void drop_plan(vipo_rollout *r)
{
    vipo_seen_free(&r->work.seen);
    vipo_dream_free(&r->work.dream);
}

/* The plan takes effect. */
static vipo_status deliver_plan(vipo_rollout *r, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    plan_work *const work = &r->work;
    VIPO_TRY(finish_plan(r, error));
    vipo_array_free(&r->frames);
    r->frames = work->dream.frames;
    memset(&work->dream.frames, 0, sizeof work->dream.frames);
    const vipo_imagined imagined = {.number = work->number,
                                    .step = work->step,
                                    .key = vipo_plan_key(r->key, work->number),
                                    .n = e->format.n,
                                    .frame_height = e->format.height,
                                    .frame_width = e->format.width,
                                    .frames = r->frames.data,
                                    .crop = e->format.crop,
                                    .view = &work->seen.view,
                                    .observation = work->observation};
    double time = vipo_clock_seconds();
    vipo_status status = VIPO_OK;
    if (e->predictor->plan) status = e->predictor->plan(r->session, &imagined, error);
    r->record->flow_seconds += lap(&time);
    drop_plan(r);
    return status;
}

static vipo_status start_plan(vipo_rollout *r, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    plan_work *const work = &r->work;
    vipo_array before;
    if (e->options.warm && r->frames.data) {
        before = plan_before(r);
        work->wish.warm = &before;
        work->wish.executed = e->predictor->executed ? e->predictor->executed(r->session) : 0;
    }
    /* beside the steps only if there are some, and from a plan that no one replaces meanwhile */
    if (work->due > work->step && !work->wish.warm &&
        pthread_create(&work->thread, NULL, make_plan, work) == 0) {
        work->threaded = true;
        return VIPO_OK;
    }
    make_plan(work);
    work->wish.warm = NULL;
    return work->due > work->step ? VIPO_OK : deliver_plan(r, error);
}

static bool wants_plan(const vipo_rollout *r, const vipo_moment *moment)
{
    const vipo_evaluation *const e = r->e;
    const int plans = r->record->plans, most = e->options.max_plans;
    if (e->predictor->wants_plan)
        return (!most || plans < most) && e->predictor->wants_plan(r->session, moment, plans);
    return plans == 0 || (r->countdown <= 0 && plans < (most ? most : VIPO_AVDC_PLANS));
}

static vipo_status look_after_plans(vipo_rollout *r, const vipo_moment *moment, vipo_error *error)
{
    if (r->e->plan == VIPO_PLAN_NONE) return VIPO_OK;
    if (r->work.running) return moment->step >= r->work.due ? deliver_plan(r, error) : VIPO_OK;
    if (!wants_plan(r, moment)) return VIPO_OK;
    VIPO_TRY(begin_plan(r, moment->step, error));
    return start_plan(r, error);
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

/* Counts the steps in which the hand stood still. */
static void watch_hand(vipo_rollout *r)
{
    double moved = 0;
    for (int i = 0; i < 3; i++) {
        const double by = r->observation[i] - r->last_hand[i];
        moved += by * by;
        r->last_hand[i] = r->observation[i];
    }
    if (sqrt(moved) < stands_still) r->countdown--;
}

static vipo_status act(vipo_rollout *r, vipo_moment *moment, double action[VIPO_SIM_ACTION],
                       vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    const vipo_predictor *const predictor = e->predictor;
    vipo_sim_picture picture = {0};
    double time = vipo_clock_seconds();
    if ((predictor->needs & VIPO_NEEDS_PICTURE) &&
        (!predictor->wants_picture || predictor->wants_picture(r->session, moment->step)))
        VIPO_TRY(vipo_sim_render(r->sim, e->cameras[r->job.camera], VIPO_EVAL_HEIGHT, VIPO_EVAL_WIDTH,
                                 VIPO_SIM_RGB, &picture, error));
    moment->picture = picture.rgb.data;
    r->record->rendering_seconds += lap(&time);
    const vipo_status status = predictor->act(r->session, moment, action, error);
    r->record->acting_seconds += lap(&time);
    vipo_sim_picture_free(&picture);
    return status;
}

static vipo_status show_step(vipo_rollout *r, int step, bool success, vipo_error *error)
{
    if (!r->reel) return VIPO_OK;
    double time = vipo_clock_seconds();
    const vipo_status status =
        vipo_reel_add(r->reel, r->sim, step, success, &r->frames, r->record->plans, error);
    r->record->rendering_seconds += lap(&time);
    return status;
}

/* AVDC's rule (collect_video): after the first success up to ten more steps while it lasts; an episode is a success if its
 * pictures, one of the initial state and one after each step but that in which success is lost, are at most 500. */
static vipo_status run_steps(vipo_rollout *r, vipo_error *error)
{
    vipo_record *const record = r->record;
    vipo_sim_step_result result = {0};
    int pictures = 1, left = AFTER_SUCCESS;
    VIPO_TRY(show_step(r, 0, false, error));
    for (int step = 0; step < VIPO_SIM_MAX_STEPS && left > 0; step++) {
        double action[VIPO_SIM_ACTION] = {0};
        vipo_moment moment = {.step = step, .observation = r->observation, .sim = r->sim};
        if (r->stop->wanted && r->stop->wanted(r->stop->user))
            return vipo_fail(error, VIPO_CANCELLED, "cancelled");
        watch_hand(r);
        VIPO_TRY(look_after_plans(r, &moment, error));
        VIPO_TRY(act(r, &moment, action, error));
        double time = vipo_clock_seconds();
        VIPO_TRY(vipo_sim_step(r->sim, action, &result, error));
        record->physics_seconds += lap(&time);
        memcpy(r->observation, result.observation, sizeof r->observation);
        record->steps++;
        record->total_reward += result.reward;
        record->max_reward = fmax(record->max_reward, result.reward);
        if (result.success) {
            if (!record->first_success) record->first_success = record->steps;
            left--;
        }
        VIPO_TRY(show_step(r, record->steps, result.success, error));
        if (left < AFTER_SUCCESS && !result.success) break;
        pictures++;
    }
    record->success = record->first_success > 0 && pictures <= MOST_PICTURES;
    return VIPO_OK;
}

static vipo_status begin_episode(vipo_rollout *r, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    const char *const task = e->tasks[r->job.task], *const camera = e->cameras[r->job.camera];
    double time = vipo_clock_seconds();
    r->key = vipo_episode_key(vipo_sim_profile_name((int)e->options.sim.profile), task, camera, r->job.seed);
    VIPO_TRY(vipo_sim_reset(r->sim, r->job.seed, r->observation, error));
    r->record->physics_seconds += lap(&time);
    memset(r->last_hand, 0, sizeof r->last_hand);
    r->countdown = 0;
    memset(&r->work, 0, sizeof r->work);
    const vipo_predictor_episode episode = {camera, r->job.seed, r->key, r->observation};
    if (e->predictor->reset) VIPO_TRY(e->predictor->reset(r->session, &episode, error));
    if (e->options.videos) VIPO_TRY(vipo_reel_open(&r->reel, e, &r->job, error));
    return VIPO_OK;
}

/* Nothing of the episode stays, whatever came of it. */
static void end_episode(vipo_rollout *r)
{
    if (r->work.running) finish_plan(r, NULL);
    drop_plan(r);
    vipo_array_free(&r->frames);
    vipo_reel_close(&r->reel);
    r->record->replans = r->record->plans > 0 ? r->record->plans - 1 : 0;
}

static void sign(const vipo_rollout *r, vipo_record *out)
{
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts)) strftime(out->finished, sizeof out->finished, "%Y-%m-%dT%H:%M:%SZ", &parts);
    snprintf(out->host, sizeof out->host, "%s", r->e->host);
    snprintf(out->version, sizeof out->version, "%s", vipo_version());
    snprintf(out->mujoco, sizeof out->mujoco, "%s", vipo_sim_mujoco_version());
    if (vipo_sim_gl(r->sim))
        snprintf(out->gl, sizeof out->gl, "%s %s", vipo_sim_gl(r->sim), vipo_sim_gl_device(r->sim));
}

vipo_status vipo_rollout_run(vipo_rollout *r, const vipo_job *job, vipo_record *out, vipo_error *error)
{
    const vipo_evaluation *const e = r->e;
    vipo_error own = {0};
    memset(out, 0, sizeof *out);
    snprintf(out->settings, sizeof out->settings, "%s", e->variants[job->variant].settings.hash);
    snprintf(out->task, sizeof out->task, "%s", e->tasks[job->task]);
    snprintf(out->camera, sizeof out->camera, "%s", e->cameras[job->camera]);
    out->seed = job->seed;
    r->job = *job;
    r->record = out;
    VIPO_TRY(open_task(r, job->task, error));
    const double start = vipo_clock_seconds();
    vipo_status status = begin_episode(r, &own);
    if (status == VIPO_OK) status = run_steps(r, &own);
    if (status == VIPO_NUMERIC) { /* the episode's own fault */
        snprintf(out->error, sizeof out->error, "%s", own.message);
        out->success = false;
        status = VIPO_OK;
    }
    if (!out->compute[0] && e->predictor->compute) /* no video model of which it would be */
        snprintf(out->compute, sizeof out->compute, "%s", e->predictor->compute(r->session));
    if (status == VIPO_OK && r->reel)
        status = vipo_reel_finish(r->reel, out->success, out->video, sizeof out->video, &own);
    end_episode(r);
    out->seconds = vipo_clock_seconds() - start;
    sign(r, out);
    if (status != VIPO_OK && error) *error = own;
    return status;
}
