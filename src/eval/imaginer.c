#include "eval/imaginer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

struct vipo_imaginer {
    const vipo_evaluation *e;
    const vipo_stop *stop;
    vipo_planner *planner;
    vipo_array tokens; /* of the task below, as the text encoder gave them */
    int tokens_task;   /* -1: none */
    /* plan "truth" */
    vipo_sim *looked, *played; /* the state that was looked at; the one that goes on from it */
    int sim_task;
    double observation[VIPO_SIM_OBSERVATION];
};

vipo_status vipo_imaginer_open(vipo_imaginer **out, const vipo_evaluation *evaluation, const vipo_stop *stop,
                               vipo_error *error)
{
    vipo_imaginer *imaginer = calloc(1, sizeof *imaginer);
    *out = NULL;
    if (!imaginer) return vipo_fail_memory(error, sizeof *imaginer, "plans");
    imaginer->e = evaluation;
    imaginer->stop = stop;
    imaginer->tokens_task = imaginer->sim_task = -1;
    vipo_status status = VIPO_OK;
    if (evaluation->plan == VIPO_PLAN_MODEL) {
        vipo_planner_options options;
        vipo_planner_default_options(&options);
        options.threads = evaluation->threads;
        status = vipo_planner_open(&imaginer->planner, evaluation->model, &options, error);
    }
    if (status != VIPO_OK) vipo_imaginer_close(&imaginer);
    *out = imaginer;
    return status;
}

void vipo_imaginer_close(vipo_imaginer **imaginer)
{
    if (!*imaginer) return;
    vipo_planner_close(&(*imaginer)->planner);
    vipo_array_free(&(*imaginer)->tokens);
    vipo_sim_close(&(*imaginer)->looked);
    vipo_sim_close(&(*imaginer)->played);
    free(*imaginer);
    *imaginer = NULL;
}

void vipo_dream_free(vipo_dream *dream)
{
    vipo_array_free(&dream->frames);
    memset(dream, 0, sizeof *dream);
}

static bool stop_wanted(void *user)
{
    const vipo_stop *const stop = user;
    return stop->wanted && stop->wanted(stop->user);
}

static vipo_callbacks callbacks_of(const vipo_imaginer *imaginer)
{
    return (vipo_callbacks){.user = (void *)(uintptr_t)imaginer->stop, .cancelled = stop_wanted};
}

/* ---- a video model --------------------------------------------------------------------------------------- */

static vipo_status encode_task(vipo_imaginer *imaginer, const vipo_job *job, vipo_error *error)
{
    const vipo_callbacks callbacks = callbacks_of(imaginer);
    if (imaginer->tokens_task == job->task) return VIPO_OK;
    imaginer->tokens_task = -1;
    vipo_array_free(&imaginer->tokens);
    const char *text = NULL;
    for (int i = 0; vipo_sim_task_name(i); i++)
        if (strcmp(vipo_sim_task_name(i), imaginer->e->tasks[job->task]) == 0) text = vipo_sim_task_text(i);
    VIPO_TRY(
        vipo_planner_encode_text(imaginer->planner, text, NULL, NULL, &imaginer->tokens, &callbacks, error));
    imaginer->tokens_task = job->task;
    return VIPO_OK;
}

/* The condition frame and n frames behind it as one array. */
static vipo_status join(const vipo_imaginer *imaginer, const float *cond, const float *video, vipo_array *out,
                        vipo_error *error)
{
    const vipo_frame_format *const f = &imaginer->e->format;
    const size_t frame = vipo_frame_size(f), n = (size_t)f->n;
    const size_t shape[4] = {n + 1, (size_t)f->height, (size_t)f->width, 3};
    VIPO_TRY(vipo_array_alloc(out, 4, shape, error));
    memcpy(out->data, cond, frame * sizeof(float));
    if (video) memcpy(out->data + frame, video, n * frame * sizeof(float));
    return VIPO_OK;
}

static vipo_status dream_by_model(vipo_imaginer *imaginer, const vipo_wish *wish, const vipo_array *cond,
                                  vipo_dream *out, vipo_error *error)
{
    const vipo_evaluation *const e = imaginer->e;
    vipo_request request;
    vipo_plan plan;
    VIPO_TRY(encode_task(imaginer, wish->job, error));
    vipo_request_default(&request);
    request.cond = cond;
    request.tokens = &imaginer->tokens;
    request.samples = 1;
    request.seed = wish->noise;
    request.warm = wish->warm;
    if (wish->warm) {
        request.from_step = e->options.from_step;
        request.executed = wish->executed;
    }
    request.sampler = e->variants[wish->job->variant].sampler;
    request.callbacks = callbacks_of(imaginer);
    VIPO_TRY(vipo_planner_plan(imaginer->planner, &request, &plan, error));
    out->calls = plan.calls;
    out->evaluations = plan.evaluations;
    out->network_rows = plan.network_rows;
    out->rounds = plan.rounds;
    out->drafted = plan.drafted;
    out->accepted = plan.accepted;
    snprintf(out->compute, sizeof out->compute, "%s", plan.compute);
    snprintf(out->methods, sizeof out->methods, "%s", plan.methods);
    const vipo_status status = join(imaginer, cond->data, plan.video.data, &out->frames, error);
    vipo_plan_free(&plan);
    return status;
}

/* ---- the simulator --------------------------------------------------------------------------------------- */

typedef struct playing {
    const vipo_stop *stop;
    vipo_imaginer *imaginer;
    const vipo_wish *wish;
    float *frames;      /* [n][H][W][3]; NULL: nothing is drawn */
    const int *step_of; /* [n]: the steps, from the present, after which frames are drawn */
    int drawn;
    bool stopped;
    vipo_status status;
    vipo_error *error;
} playing;

static vipo_status draw_frame(playing *p, vipo_sim *sim, float *out)
{
    const vipo_evaluation *const e = p->imaginer->e;
    vipo_sim_picture picture;
    vipo_array frame = {0};
    VIPO_TRY(vipo_sim_render(sim, e->cameras[p->wish->job->camera], VIPO_EVAL_HEIGHT, VIPO_EVAL_WIDTH,
                             VIPO_SIM_RGB, &picture, p->error));
    const vipo_status status = vipo_preprocess_apply(&e->format.preprocess, &picture.rgb, &frame, p->error);
    if (status == VIPO_OK) memcpy(out, frame.data, vipo_frame_size(&e->format) * sizeof *out);
    vipo_array_free(&frame);
    vipo_sim_picture_free(&picture);
    return status;
}

/* Before a step: the state after `step` steps from the present. */
static bool watch(void *user, vipo_sim *sim, int step)
{
    playing *const p = user;
    const vipo_frame_format *const f = &p->imaginer->e->format;
    p->stopped = stop_wanted((void *)(uintptr_t)p->stop);
    while (p->frames && p->status == VIPO_OK && p->drawn < f->n && p->step_of[p->drawn] == step) {
        p->status = draw_frame(p, sim, p->frames + (size_t)p->drawn * vipo_frame_size(f));
        p->drawn++;
    }
    return !p->stopped && p->status == VIPO_OK;
}

static vipo_status play(playing *p, vipo_sim_episode *episode)
{
    vipo_imaginer *const imaginer = p->imaginer;
    VIPO_TRY(vipo_sim_copy_state(imaginer->played, imaginer->looked, p->error));
    VIPO_TRY(vipo_sim_run_expert(imaginer->played, p->wish->observation, watch, p, episode, p->error));
    VIPO_TRY(p->status);
    return p->stopped ? vipo_fail(p->error, VIPO_CANCELLED, "cancelled") : VIPO_OK;
}

/* What the scripted expert would bring about from here until ten steps after its success, or the end of the episode: the n
 * frames lie evenly over that time, the last one at its end (AVDC's videos are cut so from whole episodes). */
static vipo_status dream_truth(vipo_imaginer *imaginer, const vipo_wish *wish, const vipo_array *cond,
                               vipo_dream *out, vipo_error *error)
{
    const vipo_frame_format *const f = &imaginer->e->format;
    int step_of[64];
    vipo_sim_episode episode;
    playing p = {
        .stop = imaginer->stop, .imaginer = imaginer, .wish = wish, .step_of = step_of, .error = error};
    VIPO_TRY(play(&p, &episode));
    for (int i = 0; i < f->n; i++) step_of[i] = (int)lround((double)episode.steps * (i + 1) / f->n);
    VIPO_TRY(join(imaginer, cond->data, NULL, &out->frames, error));
    p.frames = out->frames.data + vipo_frame_size(f);
    vipo_status status = play(&p, &episode);
    while (status == VIPO_OK && p.drawn < f->n) /* those of the last state */
        status = draw_frame(&p, imaginer->played, p.frames + (size_t)p.drawn++ * vipo_frame_size(f));
    return status;
}

static vipo_status open_sims(vipo_imaginer *imaginer, const vipo_job *job, vipo_error *error)
{
    const vipo_evaluation *const e = imaginer->e;
    if (imaginer->sim_task == job->task) return VIPO_OK;
    vipo_sim_close(&imaginer->looked);
    vipo_sim_close(&imaginer->played);
    imaginer->sim_task = -1;
    VIPO_TRY(vipo_sim_open(&imaginer->looked, e->tasks[job->task], &e->options.sim, error));
    VIPO_TRY(vipo_sim_open(&imaginer->played, e->tasks[job->task], &e->options.sim, error));
    imaginer->sim_task = job->task;
    return VIPO_OK;
}

/* ---- both ------------------------------------------------------------------------------------------------ */

vipo_status vipo_imaginer_look(vipo_imaginer *imaginer, const vipo_sim *sim, const vipo_job *job,
                               vipo_error *error)
{
    if (imaginer->e->plan != VIPO_PLAN_TRUTH) return VIPO_OK;
    VIPO_TRY(open_sims(imaginer, job, error));
    return vipo_sim_copy_state(imaginer->looked, sim, error);
}

vipo_status vipo_imaginer_dream(vipo_imaginer *imaginer, const vipo_wish *wish, vipo_dream *out,
                                vipo_error *error)
{
    vipo_array cond;
    const double start = vipo_clock_seconds();
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_preprocess_apply(&imaginer->e->format.preprocess, wish->picture, &cond, error));
    const vipo_status status = imaginer->e->plan == VIPO_PLAN_MODEL
                                   ? dream_by_model(imaginer, wish, &cond, out, error)
                                   : dream_truth(imaginer, wish, &cond, out, error);
    vipo_array_free(&cond);
    if (status != VIPO_OK) vipo_dream_free(out);
    out->seconds = vipo_clock_seconds() - start;
    return status;
}
