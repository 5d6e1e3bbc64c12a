#include "sim/metaworld_rewards.h"

#include "sim/reward_terms.h"
#include "sim/vector.h"

static const double pi = 3.14159265358979323846;
static const double place_radius = 0.05; /* of a placed object around its target */

/* In an observation. */
enum { HAND = 0, GRIPPER = 3, OBJECT = 4, ORIENTATION = 7 };

static double fingers_to(const vipo_sim *sim, const double position[3])
{
    double fingers[3];
    vipo_sim_finger_center(sim, fingers);
    return vipo_distance(position, fingers);
}

static const double *site(const vipo_sim *sim, int number)
{
    return sim->scene->data->site_xpos + 3 * number;
}

VIPO_REWARD(door_open)
{
    const double *hand = obs + HAND, angle = -sim->scene->data->qpos[sim->at.joint];
    const double door[3] = {obs[OBJECT] - 0.05, obs[OBJECT + 1], obs[OBJECT + 2]};
    /* Away from the handle the hand stays above a funnel. */
    const double funnel = 0.12, radius = vipo_distance_xy(hand, door);
    const double floor = radius <= funnel ? 0 : 0.04 * log(radius - funnel) + 0.4;
    const double above =
        hand[2] >= floor ? 1 : vipo_tolerance(floor - hand[2], 0, 0.01, floor / 2, VIPO_LONG_TAIL);
    const double between[3] = {door[0] + 0.05, door[1] + 0.03, door[2] - 0.01};
    const double in_place = vipo_tolerance(vipo_distance(hand, between), 0, funnel / 2, 0.5, VIPO_LONG_TAIL);
    const double opened = 0.2 * (angle > pi / 90) +
                          0.8 * vipo_tolerance(pi / 2 + pi / 6 - angle, 0, 0.5, pi / 3, VIPO_LONG_TAIL);
    const vipo_term effort = {vipo_clip(action[3], -1, 1), sim->profile == VIPO_SIM_FARAMA_V3};
    const double closed = vipo_term_scale(vipo_term_add(effort, 1), 0.5).value;
    const double reward = 2 * vipo_hamacher(vipo_hamacher(above, in_place), closed) + 8 * opened;
    const bool success = fabs(obs[OBJECT] - sim->target[0]) <= sim->rules->success_distance;
    return (vipo_task_outcome){success ? 10 : reward, success};
}

VIPO_REWARD(door_close)
{
    (void)action;
    const double *object = obs + OBJECT, *target = sim->target;
    const double distance = vipo_distance(object, target);
    const double in_place =
        vipo_tolerance(distance, 0, place_radius, vipo_distance(sim->object_start, target), VIPO_GAUSSIAN);
    const double hand_margin = vipo_distance(sim->hand_start, object) + 0.1;
    const double hand =
        vipo_tolerance(fingers_to(sim, target), 0, 0.25 * place_radius, hand_margin, VIPO_GAUSSIAN);
    const double reward = 3 * hand + 6 * in_place;
    return (vipo_task_outcome){distance < place_radius ? 10 : reward,
                               distance <= sim->rules->success_distance};
}

VIPO_REWARD(basketball)
{
    const double *object = obs + OBJECT, *start = sim->object_start;
    /* A little above the hoop; height counts twice. */
    const double target[3] = {sim->target[0], sim->target[1], 0.3};
    const double near = sim->rules->success_distance;
    double scaled[3][3]; /* object, start, target */
    for (int i = 0; i < 3; i++) {
        const double scale = i == 2 ? 2 : 1;
        scaled[0][i] = scale * object[i];
        scaled[1][i] = scale * start[i];
        scaled[2][i] = scale * target[i];
    }
    const double distance = vipo_distance(scaled[0], scaled[2]);
    const double in_place =
        vipo_tolerance(distance, 0, near, vipo_distance(scaled[1], scaled[2]), VIPO_LONG_TAIL);
    const bool lifted = fingers_to(sim, object) < 0.035 && obs[GRIPPER] > 0 && object[2] - 0.01 > start[2];
    const vipo_caging caging = {
        .object_radius = 0.025, .pad_distance = 0.06, .xz_distance = 0.005, .density = VIPO_CAGING_HIGH};
    if (lifted) {
        const double reward = vipo_hamacher(1, in_place) + (1 + 5 * in_place);
        return (vipo_task_outcome){distance < near ? 10 : reward, distance <= near};
    }
    const double reward =
        vipo_term_hamacher(vipo_caging_reward(sim, &caging, object, action[3]), in_place).value;
    return (vipo_task_outcome){distance < near ? 10 : reward, distance <= near};
}

VIPO_REWARD(shelf_place)
{
    const double *object = obs + OBJECT, *target = sim->target, *start = sim->object_start;
    const double distance = vipo_distance(object, target);
    double in_place = vipo_tolerance(distance, 0, place_radius, vipo_distance(start, target), VIPO_LONG_TAIL);
    const vipo_caging caging = {.object_radius = 0.02, .pad_distance = 0.05, .xz_distance = 0.01};
    vipo_term reward = vipo_term_hamacher(vipo_caging_reward(sim, &caging, object, action[3]), in_place);
    /* Below the board: nothing behind its edge, less and less before it. */
    const double depth = 3 * place_radius, board = 0.24;
    if (object[2] > 0 && object[2] < board && fabs(object[0] - target[0]) < 0.15) {
        const double inside = object[1] - (target[1] - depth);
        if (inside > 0 && object[1] < target[1]) {
            const double loss = vipo_hamacher(inside / depth, (board - object[2]) / board);
            in_place = vipo_clip(in_place - loss, 0, 1);
            reward.single = false; /* what is added is an array's number, not a plain one */
        } else if (object[1] > target[1]) {
            in_place = 0;
        }
    }
    if (fingers_to(sim, object) < 0.025 && obs[GRIPPER] > 0 && object[2] - 0.01 > start[2])
        reward = vipo_term_add(reward, 1 + 5 * in_place);
    return (vipo_task_outcome){distance < place_radius ? 10 : reward.value,
                               distance <= sim->rules->success_distance};
}

/* Both buttons: pressed along one axis; the gripper is open (first) or closed. */
static vipo_task_outcome press(const vipo_sim *sim, const double *obs, int axis, double gripper,
                               double near_bound, double contact, double near_weight, double pressed_weight)
{
    const double *object = obs + OBJECT;
    const double to_button = fingers_to(sim, object);
    const double distance = fabs(sim->target[axis] - object[axis]);
    const double near =
        vipo_tolerance(to_button, 0, near_bound, vipo_distance(object, sim->finger_start), VIPO_LONG_TAIL);
    const double pressed =
        vipo_tolerance(distance, 0, 0.005, fabs(sim->target[axis] - sim->site_start[axis]), VIPO_LONG_TAIL);
    double reward = near_weight * vipo_hamacher(gripper, near);
    if (to_button <= contact) reward += pressed_weight * pressed;
    return (vipo_task_outcome){reward, distance <= sim->rules->success_distance};
}

VIPO_REWARD(button_press)
{
    (void)action;
    return press(sim, obs, 1, obs[GRIPPER], 0.05, 0.05, 2, 8);
}

VIPO_REWARD(button_press_topdown)
{
    (void)action;
    return press(sim, obs, 2, 1 - obs[GRIPPER], 0.01, 0.03, 5, 5);
}

/* Both faucets. */
static vipo_task_outcome turn(const vipo_sim *sim, const double object[3])
{
    const double radius = sim->rules->success_distance, reach_radius = 0.01;
    const double distance = vipo_distance(object, sim->target);
    const double in_place = vipo_tolerance(
        distance, 0, radius, fabs(vipo_distance(sim->object_start, sim->target) - radius), VIPO_LONG_TAIL);
    const double reach = vipo_tolerance(
        fingers_to(sim, object), 0, reach_radius,
        fabs(vipo_distance(sim->object_start, sim->finger_start) - reach_radius), VIPO_GAUSSIAN);
    const bool success = distance <= radius;
    return (vipo_task_outcome){success ? 10 : 2 * (2 * reach + 3 * in_place), success};
}

VIPO_REWARD(faucet_close)
{
    (void)action;
    return turn(sim, obs + OBJECT);
}

VIPO_REWARD(faucet_open)
{
    (void)action;
    const double object[3] = {obs[OBJECT] - 0.04, obs[OBJECT + 1], obs[OBJECT + 2] + 0.03};
    return turn(sim, object);
}

VIPO_REWARD(handle_press)
{
    (void)action;
    const double *object = obs + OBJECT, radius = sim->rules->success_distance;
    const double distance = fabs(object[2] - sim->target[2]);
    const double in_place = vipo_tolerance(
        distance, 0, radius, fabs(fabs(sim->site_start[2] - sim->target[2]) - radius), VIPO_LONG_TAIL);
    const double reach =
        vipo_tolerance(fingers_to(sim, object), 0, 0.02,
                       fabs(vipo_distance(sim->site_start, sim->finger_start) - 0.02), VIPO_LONG_TAIL);
    const bool success = distance <= radius;
    return (vipo_task_outcome){10 * (success ? 1 : vipo_hamacher(reach, in_place)), success};
}

/* A long handle counts as held where the hand is along x. */
static vipo_term held(const vipo_sim *sim, const double *obs, double half_length, vipo_caging_density density,
                      double effort)
{
    double object[3] = {obs[OBJECT], obs[OBJECT + 1], obs[OBJECT + 2]};
    if (fabs(object[0] - obs[HAND]) < half_length) object[0] = obs[HAND];
    const vipo_caging caging = {.object_radius = 0.015,
                                .pad_distance = 0.02,
                                .xz_distance = 0.01,
                                .reach_radius = 0.01,
                                .density = density};
    return vipo_caging_reward(sim, &caging, object, effort);
}

/* (2 grab + 6 in_place) orientation */
static double use_tool(vipo_term grab, double in_place, double orientation)
{
    return vipo_term_scale(vipo_term_add(vipo_term_scale(grab, 2), 6 * in_place), orientation).value;
}

static double upright(const double *obs, const double ideal[4])
{
    const double reward = 1 - vipo_distance_n(obs + ORIENTATION, ideal, 4) / 0.4;
    return reward > 0 ? reward : 0;
}

VIPO_REWARD(hammer)
{
    const double head[3] = {obs[OBJECT] + 0.16, obs[OBJECT + 1] + 0.06, obs[OBJECT + 2]};
    const double ideal[4] = {1, 0, 0, 0};
    const double in_place = 0.1 * (head[2] > 0.02) + 0.9 * vipo_tolerance(vipo_distance(sim->target, head), 0,
                                                                          0.02, 0.2, VIPO_LONG_TAIL);
    const vipo_term grab = held(sim, obs, 0.07, VIPO_CAGING_HIGH, action[3]);
    const double reward = use_tool(grab, in_place, upright(obs, ideal));
    const bool success = sim->scene->data->qpos[sim->at.joint] > sim->rules->success_distance;
    return (vipo_task_outcome){success && reward > 5 ? 10 : reward, success};
}

VIPO_REWARD(assembly)
{
    const double *center = site(sim, sim->at.center_site), ideal[4] = {0.707, 0, 0, 0.707};
    const double radius = vipo_distance_xy(sim->target, center), aligned = sim->rules->success_distance;
    const bool success = radius < aligned && sim->target[2] - center[2] > 0;
    /* Away from the peg the wrench stays above a funnel. */
    const double threshold = success ? 0.02 : 0.01;
    const double height = radius > threshold ? 0.02 * log(radius - threshold) + 0.2 : 0;
    const double error[3] = {sim->target[0] - center[0], sim->target[1] - center[1],
                             3 * (height - center[2])};
    const double zero[3] = {0};
    const double in_place = 0.1 * (center[2] > 0.02 || radius < threshold) +
                            0.9 * vipo_tolerance(vipo_distance(error, zero), 0, 0.02, 0.4, VIPO_LONG_TAIL);
    const vipo_term grab = held(sim, obs, 0.01, VIPO_CAGING_MEDIUM, action[3]);
    const double reward = use_tool(grab, in_place, upright(obs, ideal));
    return (vipo_task_outcome){success ? 10 : reward, success};
}
