/* AVDC's flow policy (Ko et al. 2024, "Learning to Act from Actionless Videos through Dense Correspondences"): optical flow
 * between the frames of a plan -> rigid motions of the task's object -> subgoals, followed by a proportional controller which
 * wants a new plan when the hand stands still. The steps are those of vipo/action.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/predictor.h"
#include "eval/scene_frames.h"
#include "eval/settings.h"
#include "vipo/action.h"

typedef struct flow_model {
    vipo_flow_options flow;
    vipo_motion_options motion;
    vipo_flow_controller_options controller;
    vipo_border border;
    bool crop_only; /* of the mask, only what the frames show */
    char *weights;  /* of the flow method, NULL: it has none */
    char fingerprint[VIPO_SETTINGS_HASH];
} flow_model;

typedef struct flow_session {
    const flow_model *model;
    vipo_flow *flow;
    vipo_flow_controller *controller;
    int observed; /* the step whose hand the controller has been given; -1: none yet */
    int frames, subgoals;
} flow_session;

enum { MOST_NAMES = 8 };
static const char *const borders[] = {"picture", "black", NULL};

/* Reads a setting that is one of the names of name_of. */
static vipo_status setting_name(vipo_setting_list *list, const char *key, const char *(*name_of)(int),
                                int *out, vipo_error *error)
{
    const char *names[MOST_NAMES + 1] = {0};
    for (int i = 0; i < MOST_NAMES && name_of(i); i++) names[i] = name_of(i);
    return vipo_setting_choice(list, key, names, out, error);
}

static vipo_status read_settings(flow_model *model, vipo_setting_list *list, bool weights, vipo_error *error)
{
    vipo_motion_options *motion = &model->motion;
    int method = -1, sampling = VIPO_MOTION_ROBUST, fit = VIPO_MOTION_LM;
    VIPO_TRY(setting_name(list, "flow", vipo_flow_method_name, &method, error));
    VIPO_TRY(setting_name(list, "sampling", vipo_motion_sampling_name, &sampling, error));
    VIPO_TRY(setting_name(list, "fit", vipo_motion_fit_name, &fit, error));
    model->flow.method = method >= 0 ? vipo_flow_method_name(method) : weights ? "unimatch" : "dis";
    motion->sampling = (vipo_motion_sampling)sampling;
    motion->fit = (vipo_motion_fit)fit;
    /* As AVDC: frames on black, all of the mask. */
    int border = sampling == VIPO_MOTION_AVDC ? VIPO_BORDER_BLACK : VIPO_BORDER_PICTURE;
    model->crop_only = sampling != VIPO_MOTION_AVDC;
    VIPO_TRY(vipo_setting_choice(list, "border", borders, &border, error));
    model->border = (vipo_border)border;
    VIPO_TRY(vipo_setting_bool(list, "crop-mask", &model->crop_only, error));
    VIPO_TRY(vipo_setting_int(list, "samples", 2, 100000, &motion->samples, error));
    VIPO_TRY(vipo_setting_int(list, "tries", 1, 100000, &motion->tries, error));
    VIPO_TRY(vipo_setting_double(list, "threshold", 1e-3, 1e3, &motion->threshold, error));
    return vipo_setting_double(list, "round-trip", 0, 1e3, &motion->round_trip, error);
}

static void flow_unload(void **data)
{
    flow_model *model = *data;
    if (!model) return;
    free(model->weights);
    free(model);
    *data = NULL;
}

static vipo_status read_weights(flow_model *model, const char *folder, vipo_error *error)
{
    if (!folder) return VIPO_OK;
    if (strcmp(model->flow.method, "dis") == 0)
        return vipo_fail(
            error, VIPO_INVALID_ARGUMENT,
            "flow=dis has no weights: --predictor-file is of --predictor-settings flow=unimatch");
    model->weights = strdup(folder);
    if (!model->weights) return vipo_fail_memory(error, strlen(folder) + 1, "a path");
    model->flow.model = model->weights;
    return vipo_fingerprint_folder(folder, model->fingerprint, error);
}

static vipo_status flow_load(void **out, const vipo_predictor_options *options, vipo_error *error)
{
    flow_model *model = calloc(1, sizeof *model);
    *out = model;
    if (!model) return vipo_fail_memory(error, sizeof *model, "the flow policy");
    vipo_flow_default_options(&model->flow);
    vipo_motion_default_options(&model->motion);
    vipo_flow_controller_default_options(&model->controller);
    model->flow.threads = options->threads;
    model->flow.compute = options->compute;
    model->controller.plans = options->max_plans;
    model->controller.patience = options->patience;
    vipo_flow *flow = NULL;
    vipo_status status = read_settings(model, options->settings, options->file != NULL, error);
    if (!status) status = read_weights(model, options->file, error);
    /* Whether it can be had is told now, not when the first episode begins. */
    if (!status) status = vipo_flow_open(&flow, &model->flow, NULL, error);
    vipo_flow_close(&flow);
    if (status) flow_unload(out);
    return status;
}

static vipo_status flow_describe(const void *data, json_t *into, vipo_error *error)
{
    const flow_model *model = data;
    const vipo_motion_options *motion = &model->motion;
    json_t *object = json_pack(
        "{ss ss ss ss sb si si sf sf}", "flow", model->flow.method, "sampling",
        vipo_motion_sampling_name((int)motion->sampling), "fit", vipo_motion_fit_name((int)motion->fit),
        "border", borders[model->border], "crop-mask", model->crop_only, "samples", motion->samples, "tries",
        motion->tries, "threshold", motion->threshold, "round-trip", motion->round_trip);
    int failed = !object || json_object_update(into, object);
    json_decref(object);
    if (!failed && model->weights)
        failed = json_object_set_new(into, "flow_weights", json_string(model->fingerprint));
    return failed ? vipo_fail(error, VIPO_OUT_OF_MEMORY, "no memory for the settings of the flow policy")
                  : VIPO_OK;
}

static void flow_close(void **data)
{
    flow_session *session = *data;
    if (!session) return;
    vipo_flow_close(&session->flow);
    vipo_flow_controller_close(&session->controller);
    free(session);
    *data = NULL;
}

static vipo_status flow_open(void **out, const void *model, const vipo_predictor_place *place,
                             vipo_error *error)
{
    flow_session *session = calloc(1, sizeof *session);
    *out = session;
    if (!session) return vipo_fail_memory(error, sizeof *session, "the flow policy");
    session->model = model;
    vipo_flow_options options = session->model->flow;
    options.threads = place->threads;
    vipo_status status = vipo_flow_open(&session->flow, &options, NULL, error);
    if (!status && session->model->weights)
        status = vipo_fingerprint_check(session->model->weights, session->model->fingerprint, error);
    if (status) flow_close(out);
    return status;
}

static vipo_status flow_reset(void *data, const vipo_predictor_episode *episode, vipo_error *error)
{
    (void)episode;
    flow_session *session = data;
    vipo_flow_controller_close(&session->controller);
    session->observed = -1;
    session->frames = session->subgoals = 0;
    return vipo_flow_controller_open(&session->controller, &session->model->controller, error);
}

/* The mask, or the part of it that the frames show; `room` is the view's size. */
static const uint8_t *object_mask(const vipo_imagined *imagined, bool crop_only, uint8_t *room)
{
    const vipo_view *view = imagined->view;
    const vipo_crop *crop = &imagined->crop;
    if (!crop_only) return view->mask;
    memset(room, 0, (size_t)view->height * (size_t)view->width);
    for (int y = crop->y; y < crop->y + crop->height; y++) {
        const size_t at = (size_t)y * (size_t)view->width + (size_t)crop->x;
        memcpy(room + at, view->mask + at, (size_t)crop->width);
    }
    return room;
}

static vipo_status follow(flow_session *session, const vipo_motion *motion, vipo_error *error)
{
    double(*const motions)[16] = calloc((size_t)motion->n_steps + 1, sizeof *motions);
    if (!motions) return vipo_fail_memory(error, (size_t)motion->n_steps * sizeof *motions, "motions");
    for (int k = 0; k < motion->n_steps; k++) memcpy(motions[k], motion->steps[k].motion, sizeof motions[k]);
    const vipo_status status =
        vipo_flow_controller_plan(session->controller, motion->grasp, motions[0], motion->n_steps, error);
    free(motions);
    session->subgoals = status ? 0 : motion->n_steps + 1;
    return status;
}

static vipo_status flow_plan(void *data, const vipo_imagined *imagined, vipo_error *error)
{
    flow_session *session = data;
    const flow_model *model = session->model;
    const vipo_view *view = imagined->view;
    const size_t pixels = (size_t)view->height * (size_t)view->width;
    const bool check = model->motion.sampling == VIPO_MOTION_ROBUST && model->motion.round_trip > 0;
    vipo_image *pictures = NULL;
    vipo_array forward = {0}, backward = {0};
    vipo_motion motion = {0};
    uint8_t *room = malloc(pixels);
    vipo_status status = room ? vipo_scene_frames(imagined, model->border, &pictures, error)
                              : vipo_fail_memory(error, pixels, "a mask");
    if (!status)
        status = vipo_flow_images(session->flow, pictures, imagined->n + 1, &forward,
                                  check ? &backward : NULL, NULL, error);
    if (!status) {
        /* The view's depth is only read. */
        const vipo_array depth = {
            (float *)(uintptr_t)view->depth, 2, {(size_t)view->height, (size_t)view->width}};
        vipo_motion_options options = model->motion;
        options.seed = imagined->key;
        options.plan = (uint32_t)imagined->number;
        const vipo_motion_request request = {.depth = &depth,
                                             .matrix = view->camera_matrix,
                                             .mask = object_mask(imagined, model->crop_only, room),
                                             .flow = &forward,
                                             .backward = check ? &backward : NULL};
        status = vipo_motion_solve(&request, &options, &motion, error);
    }
    if (!status && motion.end == VIPO_MOTION_NOT_SEEN) {
        vipo_flow_controller_skip_plan(session->controller);
        session->subgoals = 0; /* nothing of these frames will have been carried out */
    } else if (!status)
        status = follow(session, &motion, error);
    session->frames = imagined->n;
    vipo_motion_free(&motion);
    vipo_array_free(&forward);
    vipo_array_free(&backward);
    vipo_scene_frames_free(&pictures, imagined->n + 1);
    free(room);
    return status;
}

/* The hand's position is told once a step, by whichever of the two is called first. */
static bool observe(flow_session *session, const vipo_moment *moment)
{
    if (session->observed == moment->step) return false;
    session->observed = moment->step;
    return vipo_flow_controller_observe(session->controller, moment->observation);
}

static bool flow_wants_plan(void *session, const vipo_moment *moment, int plans)
{
    (void)plans;
    return observe(session, moment);
}

static int flow_executed(const void *data)
{
    const flow_session *session = data;
    vipo_flow_controller_state state;
    vipo_flow_controller_get_state(session->controller, &state);
    const int done = session->subgoals ? session->subgoals - state.n_subgoals : 0;
    return done < session->frames ? done : session->frames;
}

static vipo_status flow_act(void *data, const vipo_moment *moment, double action[VIPO_SIM_ACTION],
                            vipo_error *error)
{
    (void)error;
    flow_session *session = data;
    observe(session, moment);
    vipo_flow_controller_act(session->controller, action);
    return VIPO_OK;
}

const vipo_predictor vipo_predictor_flow = {
    .name = "flow",
    .summary = "AVDC's: optical flow of the plan -> motion of the object -> subgoals",
    .needs = VIPO_NEEDS_FRAMES | VIPO_NEEDS_VIEW,
    .settings = "flow=dis|unimatch (its weights: --predictor-file), fit=lm|reference, sampling=robust|avdc, "
                "border=picture|black, crop-mask=on|off, samples=N, tries=N, threshold=PX, round-trip=PX",
    .load = flow_load,
    .unload = flow_unload,
    .describe = flow_describe,
    .open = flow_open,
    .close = flow_close,
    .reset = flow_reset,
    .wants_plan = flow_wants_plan,
    .plan = flow_plan,
    .executed = flow_executed,
    .act = flow_act,
};
