/* How an initial state comes about: numbers from NumPy's legacy generator, the hand pulled to its start by 250 steps, bodies and
 * the object put down. Upstream resets twice (farama-v3: four times); a later reset finds the model's bodies where the one before
 * put them, so that its state follows from the drawn numbers alone. */
#include <string.h>

#include "core/mt19937.h"
#include "sim/metaworld.h"
#include "sim/vector.h"

enum { HAND_STEPS = 50, FRAME_SKIP = 5, OBJECT_QPOS = 9, OBJECT_QVELS = 6 };

static void draw_space(vipo_mt19937 *mt, const vipo_task_space *space, bool single, double *out)
{
    for (int i = 0; i < space->size; i++) {
        double low = space->low[i], high = space->high[i];
        if (single) { /* bounds of a gym.spaces.Box of that time */
            low = (float)low;
            high = (float)high;
        }
        const double range = high - low;
        out[i] = low + range * vipo_mt19937_res53(mt);
    }
}

static void draw_vector(vipo_mt19937 *mt, const vipo_task_rules *rules, bool single, double *out)
{
    do {
        draw_space(mt, &rules->vector, single, out);
    } while (rules->min_distance > 0 && vipo_distance_xy(out, out + 3) < rules->min_distance);
}

void vipo_sim_draw(vipo_sim *sim, uint32_t seed)
{
    const vipo_task_rules *rules = sim->rules;
    vipo_mt19937 mt;
    vipo_mt19937_seed(&mt, seed);
    double offset[VIPO_TASK_VECTOR] = {0};
    draw_space(&mt, &rules->hand, false, offset);
    vipo_add3(sim->task->hand_start, offset, sim->hand_start);
    for (int i = 0; i < rules->unused_draws; i++) vipo_mt19937_res53(&mt);
    memset(sim->vector, 0, sizeof sim->vector);
    if (sim->profile == VIPO_SIM_AVDC_V2) {
        draw_vector(&mt, rules, true, sim->vector);
    } else { /* Farama's constructor draws twice and keeps the second */
        draw_vector(&mt, rules, false, sim->vector);
        draw_vector(&mt, rules, false, sim->vector);
    }
}

static vipo_status reset_hand(vipo_sim *sim, vipo_error *error)
{
    mjData *data = sim->scene->data;
    static const mjtNum down[4] = {1, 0, 1, 0};
    for (int i = 0; i < HAND_STEPS; i++) {
        memcpy(data->mocap_pos, sim->hand_start, sizeof sim->hand_start);
        memcpy(data->mocap_quat, down, sizeof down);
        data->ctrl[0] = -1;
        data->ctrl[1] = 1;
        VIPO_TRY(vipo_scene_step(sim->scene, FRAME_SKIP, error));
    }
    return VIPO_OK;
}

static void place_body(vipo_sim *sim)
{
    const vipo_task *task = sim->task;
    if (sim->at.placed_body >= 0)
        vipo_add3(sim->vector + task->placed_from, task->placed_offset,
                  sim->scene->model->body_pos + 3 * sim->at.placed_body);
}

/* Where the object starts; rest: its height after the hand was reset. */
static void start_object(vipo_sim *sim, double rest)
{
    memcpy(sim->object_start, sim->vector, sizeof sim->object_start);
    if (sim->task->object_rule == VIPO_OBJECT_DRAWN_XY) sim->object_start[2] = sim->task->object_height;
    if (sim->task->object_rule == VIPO_OBJECT_DRAWN_ON_TABLE) sim->object_start[2] = rest;
}

static vipo_status write_object(vipo_sim *sim, vipo_error *error)
{
    mjData *data = sim->scene->data;
    if (sim->task->object_rule == VIPO_OBJECT_NONE) return VIPO_OK;
    if (sim->task->object_rule == VIPO_OBJECT_JOINT) {
        data->qpos[OBJECT_QPOS] = sim->task->object_joint;
        data->qvel[OBJECT_QPOS] = 0;
    } else {
        memcpy(data->qpos + OBJECT_QPOS, sim->object_start, sizeof sim->object_start);
        memset(data->qvel + OBJECT_QPOS, 0, OBJECT_QVELS * sizeof *data->qvel);
    }
    return vipo_scene_forward(sim->scene, error);
}

static void find_target(vipo_sim *sim)
{
    const vipo_task *task = sim->task;
    const mjModel *model = sim->scene->model;
    switch (task->target_rule) {
    case VIPO_TARGET_OFFSET:
        vipo_add3(sim->vector, task->target_offset, sim->target);
        break;
    case VIPO_TARGET_DRAWN:
        memcpy(sim->target, sim->vector + 3, sizeof sim->target);
        break;
    case VIPO_TARGET_SITE:
        memcpy(sim->target, sim->scene->data->site_xpos + 3 * sim->at.target_site, sizeof sim->target);
        break;
    case VIPO_TARGET_SITE_IN_BODY:
        vipo_add3(model->site_pos + 3 * sim->at.target_site, model->body_pos + 3 * sim->at.placed_body,
                  sim->target);
        break;
    }
    if (sim->at.moved_site >= 0)
        memcpy(model->site_pos + 3 * sim->at.moved_site, sim->target, sizeof sim->target);
}

/* One reset of upstream's. */
static vipo_status reset_once(vipo_sim *sim, vipo_error *error)
{
    mjData *data = sim->scene->data;
    VIPO_TRY(vipo_scene_reset(sim->scene, error));
    VIPO_TRY(reset_hand(sim, error));
    vipo_sim_finger_center(sim, sim->finger_start);
    const bool on_table = sim->task->object_rule == VIPO_OBJECT_DRAWN_ON_TABLE;
    start_object(sim, on_table ? data->xpos[3 * sim->at.object[0] + 2] : 0);
    place_body(sim);
    if (sim->rules->forward) VIPO_TRY(vipo_scene_forward(sim->scene, error));
    VIPO_TRY(write_object(sim, error));
    find_target(sim);
    if (sim->at.start_site >= 0)
        memcpy(sim->site_start, data->site_xpos + 3 * sim->at.start_site, sizeof sim->site_start);
    return VIPO_OK;
}

vipo_status vipo_sim_make_state(vipo_sim *sim, double observation[VIPO_SIM_OBSERVATION], vipo_error *error)
{
    mjModel *model = sim->scene->model;
    double *const now = observation, *const before = observation + VIPO_OBSERVATION_HALF;
    sim->ready = false;
    memcpy(model->body_pos, sim->model_body_pos, (size_t)model->nbody * 3 * sizeof *model->body_pos);
    memcpy(model->site_pos, sim->model_site_pos, (size_t)model->nsite * 3 * sizeof *model->site_pos);
    if (sim->profile == VIPO_SIM_AVDC_V2) {
        /* The first reset has the body at its place in the file; its picture of the scene stays in the second half. */
        VIPO_TRY(reset_once(sim, error));
        vipo_sim_observe_half(sim, before);
    }
    place_body(sim);
    VIPO_TRY(reset_once(sim, error));
    vipo_sim_observe_half(sim, now);
    if (sim->profile == VIPO_SIM_FARAMA_V3) memcpy(before, now, VIPO_OBSERVATION_HALF * sizeof *now);
    memcpy(observation + VIPO_SIM_OBSERVATION - 3, sim->target, sizeof sim->target);
    vipo_sim_begin(sim, observation);
    return VIPO_OK;
}
