#include "sim/metaworld.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mapped_file.h"
#include "sim/assets.h"
#include "sim/vector.h"

enum { FRAME_SKIP = 5 };

static const double hand_space[2][4] = {{-0.525, 0.348, -0.0525, -1},
                                        {0.525, 1.025, 0.7, 1}}; /* hand, gripper */
static const double step_metres = 1.0 / 100;

/* ---- opening ------------------------------------------------------------------------------------ */

/* Number of a named object, -1 where the task has none. */
static vipo_status find(const vipo_sim *sim, mjtObj type, const char *name, int *out, vipo_error *error)
{
    *out = -1;
    return name ? vipo_scene_find(sim->scene, type, name, out, error) : VIPO_OK;
}

static vipo_status find_places(vipo_sim *sim, vipo_error *error)
{
    const vipo_task *task = sim->task;
    vipo_sim_places *at = &sim->at;
    const struct {
        mjtObj type;
        const char *name;
        int *out;
    } wanted[] = {
        {mjOBJ_BODY, "hand", &at->hand},
        {mjOBJ_BODY, "rightclaw", &at->right_claw},
        {mjOBJ_BODY, "leftclaw", &at->left_claw},
        {mjOBJ_BODY, "rightpad", &at->right_pad},
        {mjOBJ_BODY, "leftpad", &at->left_pad},
        {mjOBJ_SITE, "rightEndEffector", &at->right_finger},
        {mjOBJ_SITE, "leftEndEffector", &at->left_finger},
        {mjOBJ_BODY, task->placed_body, &at->placed_body},
        {mjOBJ_SITE, sim->rules->moved_site, &at->moved_site},
        {mjOBJ_SITE, task->target_site, &at->target_site},
        {mjOBJ_SITE, task->marker_site, &at->marker_site},
        {mjOBJ_SITE, task->hidden_site, &at->hidden_site},
        {mjOBJ_SITE, task->start_site, &at->start_site},
        {mjOBJ_SITE, task->center_site, &at->center_site},
        {mjOBJ_JOINT, task->joint, &at->joint},
        {task->objects[0].type, task->objects[0].name, &at->object[0]},
        {task->objects[1].type, task->objects[1].name, &at->object[1]},
        {task->objects[0].orientation_type, task->objects[0].orientation, &at->orientation[0]},
        {task->objects[1].orientation_type, task->objects[1].orientation, &at->orientation[1]},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        VIPO_TRY(find(sim, wanted[i].type, wanted[i].name, wanted[i].out, error));
    if (at->joint >= 0) at->joint = sim->scene->model->jnt_qposadr[at->joint];
    return VIPO_OK;
}

/* What a model must have for the table's numbers to be right. */
static vipo_status check_model(const vipo_sim *sim, const char *path, vipo_error *error)
{
    const mjModel *model = sim->scene->model;
    const int qpos = sim->task->object_rule == VIPO_OBJECT_JOINT ? 10 : 15;
    if (model->nmocap != 1 || model->nu != 2 ||
        (sim->task->object_rule != VIPO_OBJECT_NONE && (model->nq < qpos || model->nv < qpos)))
        return vipo_fail(
            error, VIPO_MISMATCH,
            "%s: expected one mocap body, two actuators and an object after nine joints, found %d, %d "
            "and %d numbers of positions",
            path, (int)model->nmocap, (int)model->nu, (int)model->nq);
    return VIPO_OK;
}

/* The weld between mocap body and hand. Before MuJoCo 2.2.2 the rotational rows took the weight of the translational ones;
 * a torquescale of this size does the same. */
static void set_weld(vipo_sim *sim)
{
    mjModel *model = sim->scene->model;
    const mjtNum *weight = model->body_invweight0 + 2 * sim->at.hand;
    const bool old = sim->profile == VIPO_SIM_AVDC_V2;
    const mjtNum scale = old ? sqrt(weight[1] / weight[0]) : 5;
    const mjtNum data[mjNEQDATA] = {0, 0, 0, 0, 0, 0, old ? 1 : -1, 0, 0, 0, scale};
    for (int i = 0; i < model->neq; i++)
        if (model->eq_type[i] == mjEQ_WELD) memcpy(model->eq_data + mjNEQDATA * i, data, sizeof data);
}

static vipo_status unknown_task(const char *task, vipo_error *error)
{
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < VIPO_TASKS; i++)
        used +=
            (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", vipo_tasks[i].name);
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown task \"%.64s\", expected one of %s", task, known);
}

/* The text of a model with the arm's inclusion moved to right before a body. */
static vipo_status move_arm(char **out, const char *path, const char *body, vipo_error *error)
{
    static const char arm[] = "<include file=\"../objects/assets/xyz_base.xml\"/>";
    const size_t length = sizeof arm - 1;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "<body name=\"%s\"", body);
    vipo_mapped_file file;
    *out = NULL;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_status status = VIPO_OK;
    char *text = malloc(file.size + 1);
    if (!text) {
        status = vipo_fail_memory(error, file.size, path);
        goto done;
    }
    memcpy(text, file.data, file.size);
    text[file.size] = '\0';
    char *from = strstr(text, arm), *to = strstr(text, wanted);
    if (!from || !to) {
        status = vipo_fail(error, VIPO_MISMATCH, "%s: not Meta-World's model: it has no %s", path,
                           from ? wanted : arm);
        free(text);
        goto done;
    }
    if (from < to) { /* what lies between moves up */
        memmove(from, from + length, (size_t)(to - from) - length);
        memcpy(to - length, arm, length);
    } else {
        memmove(to + length, to, (size_t)(from - to));
        memcpy(to, arm, length);
    }
    *out = text;
done:
    vipo_mapped_file_close(&file);
    return status;
}

static vipo_status open_scene(vipo_sim *sim, const char *assets, vipo_error *error)
{
    char *path, *text = NULL;
    VIPO_TRY(vipo_assets_find(&path, assets, sim->task->model, error));
    vipo_status status = VIPO_OK;
    if (sim->rules->arm_before) VIPO_TRY_GOTO(move_arm(&text, path, sim->rules->arm_before, error), done);
    VIPO_TRY_GOTO(vipo_scene_open_text(&sim->scene, path, text, error), done);
    VIPO_TRY_GOTO(find_places(sim, error), done);
    VIPO_TRY_GOTO(check_model(sim, path, error), done);
    set_weld(sim);
    const mjModel *model = sim->scene->model;
    const size_t bodies = (size_t)model->nbody * 3 * sizeof(mjtNum),
                 sites = (size_t)model->nsite * 3 * sizeof(mjtNum);
    sim->model_body_pos = malloc(bodies);
    sim->model_site_pos = malloc(sites);
    if (!sim->model_body_pos || !sim->model_site_pos) {
        status = vipo_fail_memory(error, bodies + sites, "a model");
        goto done;
    }
    memcpy(sim->model_body_pos, model->body_pos, bodies);
    memcpy(sim->model_site_pos, model->site_pos, sites);
    status = vipo_sim_name_geoms(sim, error);
done:
    free(text);
    free(path);
    return status;
}

void vipo_sim_default_options(vipo_sim_options *options)
{
    *options = (vipo_sim_options){.profile = VIPO_SIM_FARAMA_V3};
}

vipo_status vipo_sim_open(vipo_sim **out, const char *task, const vipo_sim_options *options,
                          vipo_error *error)
{
    vipo_sim_options defaults;
    vipo_sim_default_options(&defaults);
    if (!options) options = &defaults;
    *out = NULL;
    const int number = vipo_task_find(task);
    if (number < 0) return unknown_task(task, error);
    if (!vipo_sim_profile_name((int)options->profile))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown profile %d, expected farama-v3 or avdc-v2",
                         (int)options->profile);
    vipo_sim *sim = calloc(1, sizeof *sim);
    if (!sim) return vipo_fail_memory(error, sizeof *sim, "an environment");
    sim->task = &vipo_tasks[number];
    sim->rules = &sim->task->rules[options->profile];
    sim->profile = options->profile;
    sim->picture.shadow_size = options->shadow_size;
    sim->picture.multisamples = options->multisamples;
    snprintf(sim->gl, sizeof sim->gl, "%s", options->gl ? options->gl : "");
    vipo_status status = open_scene(sim, options->assets, error);
    if (status != VIPO_OK) vipo_sim_close(&sim);
    *out = sim;
    return status;
}

void vipo_sim_close(vipo_sim **sim_pointer)
{
    vipo_sim *const sim = *sim_pointer;
    if (!sim) return;
    vipo_renderer_close(&sim->renderer);
    vipo_scene_close(&sim->scene);
    free(sim->model_body_pos);
    free(sim->model_site_pos);
    free(sim->geom_names);
    free(sim);
    *sim_pointer = NULL;
}

const char *vipo_sim_mujoco_version(void)
{
    return mj_versionString();
}

/* ---- looking ------------------------------------------------------------------------------------ */

void vipo_sim_finger_center(const vipo_sim *sim, double out[3])
{
    const mjtNum *sites = sim->scene->data->site_xpos;
    for (int i = 0; i < 3; i++)
        out[i] = (sites[3 * sim->at.right_finger + i] + sites[3 * sim->at.left_finger + i]) / 2;
}

/* Quaternion x y z w of a rotation matrix, from the largest of its four components (Shepperd 1978), which gets the sign +. */
static void matrix_quaternion(const mjtNum m[9], double out[4])
{
    const double trace = m[0] + m[4] + m[8];
    int largest = 3;
    double most = trace;
    for (int i = 2; i >= 0; i--)
        if (m[4 * i] >= most) most = m[4 * i], largest = i;
    if (largest == 3) {
        out[0] = m[7] - m[5];
        out[1] = m[2] - m[6];
        out[2] = m[3] - m[1];
        out[3] = 1 + trace;
    } else {
        const int i = largest, j = (i + 1) % 3, k = (j + 1) % 3;
        out[i] = 1 - trace + 2 * m[4 * i];
        out[j] = m[3 * j + i] + m[3 * i + j];
        out[k] = m[3 * k + i] + m[3 * i + k];
        out[3] = m[3 * k + j] - m[3 * j + k];
    }
    const double zero[4] = {0}, norm = vipo_distance_n(out, zero, 4);
    for (int i = 0; i < 4; i++) out[i] /= norm;
}

static void observe_object(const vipo_sim *sim, int i, double out[7])
{
    const mjData *data = sim->scene->data;
    const vipo_task_object *object = &sim->task->objects[i];
    const mjtNum *place = object->type == mjOBJ_BODY   ? data->xpos
                          : object->type == mjOBJ_GEOM ? data->geom_xpos
                                                       : data->site_xpos;
    vipo_add3(place + 3 * sim->at.object[i], object->offset, out);
    if (object->orientation_type == mjOBJ_BODY)
        memcpy(out + 3, data->xquat + 4 * sim->at.orientation[i], 4 * sizeof *out);
    else if (object->orientation_type == mjOBJ_GEOM)
        matrix_quaternion(data->geom_xmat + 9 * sim->at.orientation[i], out + 3);
}

void vipo_sim_observe_half(const vipo_sim *sim, double out[VIPO_OBSERVATION_HALF])
{
    const mjData *data = sim->scene->data;
    memset(out, 0, VIPO_OBSERVATION_HALF * sizeof *out);
    memcpy(out, data->xpos + 3 * sim->at.hand, 3 * sizeof *out);
    const double opening =
        sim->profile == VIPO_SIM_AVDC_V2
            ? vipo_distance(data->site_xpos + 3 * sim->at.right_finger,
                            data->site_xpos + 3 * sim->at.left_finger)
            : vipo_distance(data->xpos + 3 * sim->at.right_claw, data->xpos + 3 * sim->at.left_claw);
    out[3] = vipo_clip(opening / 0.1, 0, 1);
    for (int i = 0; i < 2; i++)
        if (sim->at.object[i] >= 0) observe_object(sim, i, out + 4 + 7 * i);
}

void vipo_sim_begin(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION])
{
    memcpy(sim->previous, observation, sizeof sim->previous);
    memcpy(sim->observation, observation, sizeof sim->observation);
    sim->steps = 0;
    sim->unstable = false;
    sim->ready = true;
}

static void clip_all(double *values, const double *low, const double *high, int n)
{
    for (int i = 0; i < n; i++) values[i] = vipo_clip(values[i], low[i], high[i]);
}

/* The observation after a step. Version 2 does not clip it. */
static void observe(vipo_sim *sim)
{
    double *const now = sim->observation, *const before = now + VIPO_OBSERVATION_HALF;
    double *const goal = before + VIPO_OBSERVATION_HALF;
    vipo_sim_observe_half(sim, now);
    memcpy(before, sim->previous, sizeof sim->previous);
    memcpy(goal, sim->target, sizeof sim->target);
    memcpy(sim->previous, now, sizeof sim->previous);
    if (sim->profile == VIPO_SIM_AVDC_V2) return;
    clip_all(now, hand_space[0], hand_space[1], 4);
    clip_all(before, hand_space[0], hand_space[1], 4);
    clip_all(goal, sim->task->goal_low, sim->task->goal_high, 3);
}

/* ---- episodes ----------------------------------------------------------------------------------- */

vipo_status vipo_sim_reset(vipo_sim *sim, uint64_t seed, double observation[VIPO_SIM_OBSERVATION],
                           vipo_error *error)
{
    memset(observation, 0, VIPO_SIM_OBSERVATION * sizeof *observation);
    if (seed > UINT32_MAX)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "seed %llu: NumPy's legacy generator takes 0..4294967295", (unsigned long long)seed);
    double state[VIPO_SIM_OBSERVATION];
    vipo_sim_draw(sim, (uint32_t)seed);
    VIPO_TRY(vipo_sim_make_state(sim, state, error));
    memcpy(observation, state, sizeof state);
    return VIPO_OK;
}

/* The action as upstream's functions get it: version 3's experts give single precision. Far beyond what any of them tells
 * apart, numbers are cut, so that MuJoCo does not take them for errors. */
static void receive_action(const vipo_sim *sim, const double action[VIPO_SIM_ACTION],
                           double out[VIPO_SIM_ACTION])
{
    for (int i = 0; i < VIPO_SIM_ACTION; i++) {
        out[i] = vipo_clip(action[i], -1e6, 1e6);
        if (sim->profile == VIPO_SIM_FARAMA_V3) out[i] = (float)out[i];
    }
}

/* Moves the mocap body, in the precision of the action. */
static void apply_action(vipo_sim *sim, const double action[VIPO_SIM_ACTION])
{
    mjData *data = sim->scene->data;
    static const mjtNum down[4] = {1, 0, 1, 0};
    const bool single = sim->profile == VIPO_SIM_FARAMA_V3;
    for (int i = 0; i < 3; i++) {
        const double low = i == 2 ? sim->task->hand_low_z : vipo_hand_low[i];
        const double move = vipo_clip(action[i], -1, 1);
        const double delta = single ? (double)((float)move * (float)step_metres) : move * step_metres;
        data->mocap_pos[i] = vipo_clip(data->mocap_pos[i] + delta, low, vipo_hand_high[i]);
    }
    memcpy(data->mocap_quat, down, sizeof down);
    data->ctrl[0] = action[3];
    data->ctrl[1] = -data->ctrl[0];
}

void vipo_sim_place_markers(vipo_sim *sim)
{
    static const mjtNum out_of_sight[3] = {10, 10, 10};
    mjData *data = sim->scene->data;
    if (sim->profile == VIPO_SIM_FARAMA_V3) return;
    if (sim->at.marker_site >= 0)
        memcpy(data->site_xpos + 3 * sim->at.marker_site, sim->target, sizeof sim->target);
    if (sim->at.hidden_site >= 0)
        memcpy(data->site_xpos + 3 * sim->at.hidden_site, out_of_sight, sizeof out_of_sight);
}

/* Version 2 looks at the scene as the last of the five steps found it. */
static vipo_status finish_step(vipo_sim *sim, vipo_error *error)
{
    if (sim->profile == VIPO_SIM_FARAMA_V3) return vipo_scene_forward(sim->scene, error);
    vipo_sim_place_markers(sim);
    return VIPO_OK;
}

vipo_status vipo_sim_step(vipo_sim *sim, const double action[VIPO_SIM_ACTION], vipo_sim_step_result *out,
                          vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (!sim->ready)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: no episode was begun: reset first",
                         sim->task->name);
    if (sim->steps >= VIPO_SIM_MAX_STEPS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: an episode has at most %d steps: reset first",
                         sim->task->name, VIPO_SIM_MAX_STEPS);
    for (int i = 0; i < VIPO_SIM_ACTION; i++)
        if (!isfinite(action[i]))
            return vipo_fail(error, VIPO_NUMERIC, "action[%d] is %f, expected a finite number", i, action[i]);
    sim->steps++;
    vipo_status status = VIPO_OK;
    double received[VIPO_SIM_ACTION];
    receive_action(sim, action, received);
    if (!sim->unstable) {
        apply_action(sim, received);
        status = vipo_scene_step(sim->scene, FRAME_SKIP, error);
        if (status == VIPO_OK) status = finish_step(sim, error);
    }
    if (status == VIPO_NUMERIC) { /* as upstream: the episode stands still, without reward */
        sim->unstable = true;
        status = VIPO_OK;
    }
    if (status != VIPO_OK) {
        sim->ready = false;
        return status;
    }
    if (!sim->unstable) {
        observe(sim);
        const vipo_task_outcome outcome = sim->task->evaluate(sim, sim->observation, received);
        out->reward = outcome.reward;
        out->success = outcome.success;
    }
    memcpy(out->observation, sim->observation, sizeof out->observation);
    return VIPO_OK;
}
