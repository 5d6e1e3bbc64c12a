/* Policies from pictures (vipo/action.h): "goal" takes each imagined frame in turn as a goal and asks a goal-conditioned policy
 * how to get there (Luo and Du 2024, "Grounding Video Models to Actions through Goal Conditioned Exploration"); "bc" is the
 * baseline without imagined frames, behaviour cloning. Both see the part of the picture that a plan shows. */
#include <stdlib.h>
#include <string.h>

#include "eval/predictor.h"
#include "eval/scene_frames.h"
#include "eval/settings.h"
#include "media/resize.h"
#include "vipo/action.h"

enum { MOST_INPUTS = 256 };

typedef struct goal_model {
    char *folder;
    vipo_goal_policy_info info;
    char fingerprint[VIPO_SETTINGS_HASH];
    const char *sampler; /* NULL: the policy's own */
    int steps;           /* 0: the policy's own */
    int calls;           /* of the policy for a goal */
    int executed;        /* actions carried out of each call */
    int max_plans;
    const char *compute;
} goal_model;

typedef struct goal_session {
    const goal_model *model;
    vipo_goal_policy *policy;
    vipo_crop crop;
    int picture_height, picture_width;
    float vector[MOST_INPUTS];
    /* of the episode */
    uint64_t key;
    uint32_t asked; /* calls of the policy so far */
    /* of the plan */
    vipo_array goals; /* [n][H][W][3] */
    int goal, calls;  /* the goal at work, and calls for it so far */
    /* of the last call */
    vipo_goal_actions actions;
    int next; /* action; model->executed: the policy has to be asked */
} goal_session;

/* ---- the model -------------------------------------------------------------------------------------------- */

static void goal_unload(void **data)
{
    goal_model *model = *data;
    if (!model) return;
    free(model->folder);
    free(model);
    *data = NULL;
}

static vipo_status read_settings(goal_model *model, vipo_setting_list *list, bool goals, vipo_error *error)
{
    const vipo_goal_policy_info *info = &model->info;
    enum { MOST = 8 };
    const char *names[MOST + 1] = {0};
    int sampler = -1;
    for (int i = 0; i < MOST && vipo_action_sampler_name(i); i++) names[i] = vipo_action_sampler_name(i);
    model->executed = info->executed;
    model->calls = 2;
    VIPO_TRY(vipo_setting_int(list, "executed", 1, info->horizon, &model->executed, error));
    if (goals) VIPO_TRY(vipo_setting_int(list, "calls", 1, 1000, &model->calls, error));
    if (!info->timesteps) return VIPO_OK;
    VIPO_TRY(vipo_setting_choice(list, "sampler", names, &sampler, error));
    if (sampler >= 0) model->sampler = names[sampler];
    return vipo_setting_int(list, "steps", 1, info->timesteps, &model->steps, error);
}

/* `goals`: a policy that looks at goals is wanted, else one that does not. */
static vipo_status check_policy(const vipo_goal_policy_info *info, const char *folder, bool goals,
                                vipo_error *error)
{
    if (info->goal != goals)
        return vipo_fail(error, VIPO_MISMATCH, "%s: a policy (%s) that %s; use --policy %s", folder,
                         info->kind, info->goal ? "looks at goals" : "looks at no goal",
                         info->goal ? "goal" : "bc");
    if (info->action_dim != VIPO_SIM_ACTION)
        return vipo_fail(error, VIPO_MISMATCH, "%s: actions of %d numbers, the simulator's have %d", folder,
                         info->action_dim, VIPO_SIM_ACTION);
    if (info->vector_dim > MOST_INPUTS)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: a vector input of %d numbers, more than %d", folder,
                         info->vector_dim, (int)MOST_INPUTS);
    for (int i = 0; i < info->n_parts; i++)
        if (!info->parts[i].tasks && (strcmp(info->parts[i].name, "hand") != 0 || info->parts[i].size != 4))
            return vipo_fail(
                error, VIPO_UNSUPPORTED,
                "%s: input '%s' of %d numbers; known: hand (4: position, opening), task (a one-hot)", folder,
                info->parts[i].name, info->parts[i].size);
    return VIPO_OK;
}

static vipo_status load(void **out, const vipo_predictor_options *options, bool goals, vipo_error *error)
{
    goal_model *model = calloc(1, sizeof *model);
    *out = model;
    if (!model) return vipo_fail_memory(error, sizeof *model, "a policy");
    model->max_plans = options->max_plans;
    model->compute = options->compute;
    model->folder = strdup(options->file);
    vipo_status status = model->folder ? VIPO_OK : vipo_fail_memory(error, strlen(options->file), "a path");
    if (!status) status = vipo_goal_policy_read_info(options->file, &model->info, error);
    if (!status) status = check_policy(&model->info, options->file, goals, error);
    if (!status) status = read_settings(model, options->settings, goals, error);
    if (!status) status = vipo_fingerprint_folder(options->file, model->fingerprint, error);
    /* Broken weights are told now, not when the first episode begins. */
    vipo_goal_policy *policy = NULL;
    vipo_goal_policy_options opening;
    vipo_goal_policy_default_options(&opening);
    opening.compute = options->compute;
    if (!status) status = vipo_goal_policy_open(&policy, options->file, &opening, NULL, error);
    vipo_goal_policy_close(&policy);
    if (status) goal_unload(out);
    return status;
}

static vipo_status goal_load(void **out, const vipo_predictor_options *options, vipo_error *error)
{
    return load(out, options, true, error);
}

static vipo_status bc_load(void **out, const vipo_predictor_options *options, vipo_error *error)
{
    return load(out, options, false, error);
}

static vipo_status goal_describe(const void *data, json_t *into, vipo_error *error)
{
    const goal_model *model = data;
    json_t *object = json_pack("{ss si}", "policy_model", model->fingerprint, "executed", model->executed);
    int failed = !object || json_object_update(into, object);
    json_decref(object);
    if (!failed && model->info.goal) failed = json_object_set_new(into, "calls", json_integer(model->calls));
    if (!failed && model->info.timesteps) {
        const bool own = !model->sampler || strcmp(model->sampler, model->info.sampler) == 0;
        failed = json_object_set_new(into, "policy_sampler",
                                     json_string(model->sampler ? model->sampler : model->info.sampler)) ||
                 json_object_set_new(into, "policy_steps",
                                     json_integer(model->steps ? model->steps
                                                  : own        ? model->info.steps
                                                               : 0));
    }
    return failed ? vipo_fail(error, VIPO_OUT_OF_MEMORY, "no memory for the settings of the policy")
                  : VIPO_OK;
}

/* ---- sessions ----------------------------------------------------------------------------------------------- */

static void forget_plan(goal_session *session)
{
    vipo_array_free(&session->goals);
    vipo_goal_actions_free(&session->actions);
    session->goal = session->calls = 0;
    session->next = session->model->executed;
}

static void goal_close(void **data)
{
    goal_session *session = *data;
    if (!session) return;
    forget_plan(session);
    vipo_goal_policy_close(&session->policy);
    free(session);
    *data = NULL;
}

/* The one-hot of the task, where the policy wants it. */
static vipo_status set_task(goal_session *session, const char *task, vipo_error *error)
{
    const vipo_goal_policy_info *info = &session->model->info;
    for (int p = 0; p < info->n_parts; p++) {
        if (!info->parts[p].tasks) continue;
        int found = -1;
        for (int i = 0; i < info->n_tasks; i++)
            if (strcmp(info->tasks[i], task) == 0) found = i;
        if (found < 0)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: this policy was not trained for %s",
                             session->model->folder, task);
        session->vector[info->parts[p].offset + found] = 1;
    }
    return VIPO_OK;
}

static vipo_status goal_open(void **out, const void *model, const vipo_predictor_place *place,
                             vipo_error *error)
{
    goal_session *session = calloc(1, sizeof *session);
    *out = session;
    if (!session) return vipo_fail_memory(error, sizeof *session, "a policy");
    session->model = model;
    session->crop = place->crop;
    session->picture_height = place->height;
    session->picture_width = place->width;
    forget_plan(session);
    vipo_goal_policy_options options;
    vipo_goal_policy_default_options(&options);
    options.threads = place->threads;
    options.compute = session->model->compute;
    vipo_status status = set_task(session, place->task, error);
    if (!status)
        status = vipo_goal_policy_open(&session->policy, session->model->folder, &options, NULL, error);
    if (!status) status = vipo_fingerprint_check(session->model->folder, session->model->fingerprint, error);
    if (status) goal_close(out);
    return status;
}

static vipo_status goal_reset(void *data, const vipo_predictor_episode *episode, vipo_error *error)
{
    (void)error;
    goal_session *session = data;
    forget_plan(session);
    session->key = episode->key;
    session->asked = 0;
    return VIPO_OK;
}

/* ---- pictures ----------------------------------------------------------------------------------------------- */

/* As the network was trained: means of boxes where the size divides, [0,1]. out: [height][width][3]. Takes `picture` over. */
static vipo_status fit(vipo_image *picture, const vipo_goal_policy_info *info, float *out, vipo_error *error)
{
    vipo_image fitting = {0};
    const int boxes = picture->height / info->height;
    vipo_status status = VIPO_OK;
    if (picture->height == info->height && picture->width == info->width) {
        fitting = *picture;
        *picture = (vipo_image){0};
    } else if (boxes > 1 && picture->height == boxes * info->height &&
               picture->width == boxes * info->width) {
        status = vipo_box_mean(picture, boxes, &fitting, error);
    } else {
        status = vipo_resize_bilinear(picture, info->height, info->width, &fitting, error);
    }
    vipo_image_free(picture);
    if (status) return status;
    const size_t size = (size_t)info->height * (size_t)info->width * 3;
    for (size_t i = 0; i < size; i++) out[i] = (float)fitting.data[i] / 255;
    vipo_image_free(&fitting);
    return VIPO_OK;
}

/* Imagined frame i as a goal. */
static vipo_status fit_frame(const vipo_imagined *imagined, int i, const vipo_goal_policy_info *info,
                             float *out, vipo_error *error)
{
    vipo_image picture;
    VIPO_TRY(vipo_frame_picture(imagined, i, .5F, &picture, error));
    return fit(&picture, info, out, error);
}

static vipo_status fit_picture(const goal_session *session, const uint8_t *picture, float *out,
                               vipo_error *error)
{
    const vipo_crop *crop = &session->crop;
    const size_t row = (size_t)crop->width * 3;
    const size_t size = (size_t)crop->height * row;
    vipo_image seen = {malloc(size), crop->height, crop->width};
    if (!seen.data) return vipo_fail_memory(error, size, "a picture");
    for (int y = 0; y < crop->height; y++)
        memcpy(seen.data + (size_t)y * row,
               picture + ((size_t)(crop->y + y) * (size_t)session->picture_width + (size_t)crop->x) * 3, row);
    return fit(&seen, &session->model->info, out, error);
}

/* ---- plans and actions -------------------------------------------------------------------------------------- */

static vipo_status goal_plan(void *data, const vipo_imagined *imagined, vipo_error *error)
{
    goal_session *session = data;
    const vipo_goal_policy_info *info = &session->model->info;
    const size_t shape[] = {(size_t)imagined->n, (size_t)info->height, (size_t)info->width, 3};
    forget_plan(session);
    if (!imagined->n) return VIPO_OK;
    VIPO_TRY(vipo_array_alloc(&session->goals, 4, shape, error));
    for (int i = 0; i < imagined->n; i++)
        VIPO_TRY(fit_frame(imagined, i + 1, info, session->goals.data + (size_t)i * shape[1] * shape[2] * 3,
                           error));
    return VIPO_OK;
}

static bool ask_again(const goal_session *session)
{
    return session->next >= session->model->executed;
}

/* After the last goal has had its calls; when there are no more plans the last goal stays. */
static bool goal_wants_plan(void *data, const vipo_moment *moment, int plans)
{
    (void)moment;
    const goal_session *session = data;
    if (!plans) return true;
    return plans < session->model->max_plans && ask_again(session) && session->goals.rank &&
           session->goal == (int)session->goals.shape[0] - 1 && session->calls >= session->model->calls;
}

static int goal_executed(const void *data)
{
    const goal_session *session = data;
    if (!session->goals.rank) return 0;
    return session->goal + (session->calls >= session->model->calls && ask_again(session));
}

static bool goal_wants_picture(const void *data, int step)
{
    (void)step;
    return ask_again(data);
}

/* The next goal, when this one has had its calls. */
static vipo_array next_goal(goal_session *session)
{
    const vipo_array *goals = &session->goals;
    if (session->calls >= session->model->calls && session->goal + 1 < (int)goals->shape[0]) {
        session->goal++;
        session->calls = 0;
    }
    const size_t size = goals->shape[1] * goals->shape[2] * 3;
    return (vipo_array){
        goals->data + (size_t)session->goal * size, 4, {1, goals->shape[1], goals->shape[2], 3}};
}

static vipo_status ask(goal_session *session, const vipo_moment *moment, vipo_error *error)
{
    const goal_model *model = session->model;
    const vipo_goal_policy_info *info = &model->info;
    const size_t shape[] = {1, (size_t)info->height, (size_t)info->width, 3};
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    vipo_array obs = {0}, goal = {0}, vector = {session->vector, 2, {1, (size_t)info->vector_dim}};
    if (info->goal && !session->goals.rank)
        return vipo_fail(error, VIPO_NUMERIC, "there is no plan, so no goal");
    VIPO_TRY(vipo_array_alloc(&obs, 4, shape, error));
    vipo_status status = fit_picture(session, moment->picture, obs.data, error);
    if (!status) {
        for (int p = 0; p < info->n_parts; p++)
            for (int i = 0; i < info->parts[p].size && !info->parts[p].tasks; i++)
                session->vector[info->parts[p].offset + i] = (float)moment->observation[i];
        if (info->obs) request.obs = &obs;
        if (info->goal) {
            goal = next_goal(session);
            request.goal = &goal;
        }
        if (info->vector_dim) request.vector = &vector;
        request.sampler = model->sampler;
        request.steps = model->steps;
        request.seed = session->key;
        request.plan = session->asked++;
        vipo_goal_actions_free(&session->actions);
        status = vipo_goal_policy_act(session->policy, &request, &session->actions, error);
    }
    vipo_array_free(&obs);
    session->calls++;
    session->next = 0;
    return status;
}

static vipo_status goal_act(void *data, const vipo_moment *moment, double action[VIPO_SIM_ACTION],
                            vipo_error *error)
{
    goal_session *session = data;
    if (ask_again(session)) VIPO_TRY(ask(session, moment, error));
    const float *a = session->actions.actions.data + (size_t)session->next * VIPO_SIM_ACTION;
    for (int i = 0; i < VIPO_SIM_ACTION; i++) action[i] = (double)a[i];
    session->next++;
    return VIPO_OK;
}

static const char *goal_compute(const void *data)
{
    const goal_session *session = data;
    return vipo_goal_policy_compute(session->policy);
}

const vipo_predictor vipo_predictor_goal = {
    .name = "goal",
    .summary = "GCP's: a goal-conditioned policy goes from imagined frame to imagined frame",
    .needs = VIPO_NEEDS_FRAMES | VIPO_NEEDS_PICTURE | VIPO_NEEDS_FILE,
    .settings =
        "calls=N of the policy for each frame, executed=N actions of a call, sampler=ddim|ddpm, steps=N",
    .load = goal_load,
    .unload = goal_unload,
    .describe = goal_describe,
    .open = goal_open,
    .close = goal_close,
    .reset = goal_reset,
    .wants_plan = goal_wants_plan,
    .plan = goal_plan,
    .executed = goal_executed,
    .wants_picture = goal_wants_picture,
    .act = goal_act,
    .compute = goal_compute,
};

const vipo_predictor vipo_predictor_bc = {
    .name = "bc",
    .summary = "behaviour cloning, the baseline: a policy that knows the task and imagines nothing",
    .needs = VIPO_NEEDS_PICTURE | VIPO_NEEDS_FILE,
    .settings = "executed=N actions of a call",
    .load = bc_load,
    .unload = goal_unload,
    .describe = goal_describe,
    .open = goal_open,
    .close = goal_close,
    .reset = goal_reset,
    .wants_picture = goal_wants_picture,
    .act = goal_act,
    .compute = goal_compute,
};
