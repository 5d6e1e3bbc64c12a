/* Meta-World's scripted policies. Each looks at an observation and says where the hand should be; the action is the way there times
 * a gain, and an effort of the gripper. Version 3 rounds actions to single precision. */
#include <string.h>

#include "sim/metaworld.h"
#include "sim/vector.h"

/* What a policy looks at, and what it answers. */
typedef struct expert_view {
    const double *hand, *object, *goal;
    vipo_sim_profile profile;
} expert_view;

typedef struct expert_answer {
    double aim[3];
    double effort;
} expert_answer;

static expert_answer aim_at(const double base[3], double x, double y, double z, double effort)
{
    return (expert_answer){{base[0] + x, base[1] + y, base[2] + z}, effort};
}

static expert_answer go_to(double x, double y, double z, double effort)
{
    return (expert_answer){{x, y, z}, effort};
}

/* Distance in height. */
static double rise(const double a[3], const double b[3])
{
    return fabs(a[2] - b[2]);
}

static expert_answer door_open(const expert_view *view)
{
    const double door[3] = {view->object[0] - 0.05, view->object[1], view->object[2]};
    if (vipo_distance_xy(view->hand, door) > 0.12) return aim_at(door, 0.06, 0.02, 0.2, 1);
    if (rise(view->hand, door) > 0.04) return aim_at(door, 0.06, 0.02, 0, 1);
    return aim_at(door, 0, 0, 0, 1);
}

static expert_answer door_close(const expert_view *view)
{
    double door[3];
    const double edge[3] = {0.05, 0.12, 0.1}, *hand = view->hand;
    vipo_add3(view->object, edge, door);
    if (view->profile == VIPO_SIM_FARAMA_V3) { /* AVDC's goes straight for the goal */
        if (hand[0] > door[0]) {
            if (hand[2] < door[2] + 0.2) return go_to(hand[0], hand[1], door[2] + 0.25, 1);
            return go_to(door[0] - 0.02, door[1], hand[2], 1);
        }
        if (rise(hand, door) > 0.04) return aim_at(door, -0.02, 0, 0, 1);
    }
    return aim_at(view->goal, 0, 0, 0, 1);
}

static expert_answer basketball(const expert_view *view)
{
    const double ball[3] = {view->object[0], view->object[1], view->object[2] + 0.01};
    const double hoop[3] = {view->goal[0], 0.875, 0.35}, *hand = view->hand;
    const bool away = vipo_distance_xy(hand, ball) > 0.04;
    const double effort = away || rise(hand, view->object) > 0.15 ? -1 : 0.6;
    if (away) return aim_at(ball, 0, 0, 0.3, effort);
    if (rise(hand, ball) > 0.025) return aim_at(ball, 0, 0, 0, effort);
    if (rise(ball, hoop) > 0.025) return go_to(hand[0], hand[1], hoop[2], effort);
    return aim_at(hoop, 0, 0, 0, effort);
}

static expert_answer shelf_place(const expert_view *view)
{
    const double offset[3] = {-0.005, 0, 0.015}, *hand = view->hand;
    double block[3];
    vipo_add3(view->object, offset, block);
    const bool open = vipo_distance_xy(hand, view->object) > 0.04 || rise(hand, view->object) > 0.15;
    const double effort = open ? -1 : 0.7;
    if (vipo_distance_xy(hand, block) > 0.04) return aim_at(block, 0, 0, 0.3, effort);
    if (rise(hand, block) > 0.04) return aim_at(block, 0, 0, 0, effort);
    if (fabs(hand[0] - view->goal[0]) > 0.02) return go_to(view->goal[0], hand[1], 0.3, effort);
    if (hand[2] < 0.30) return aim_at(hand, 0, 0, 0.30, effort);
    return aim_at(hand, 0, 0.05, 0, effort);
}

/* numpy.isclose with atol = 0.02 */
static bool close_to(double a, double b)
{
    return fabs(a - b) <= 0.02 + 1e-5 * fabs(b);
}

static expert_answer button_press(const expert_view *view)
{
    const double *button = view->object, *hand = view->hand, z = button[2] - 0.07;
    if (!close_to(hand[0], button[0]) || !close_to(hand[2], z)) return go_to(button[0], hand[1] - 0.1, z, 0);
    return go_to(button[0], button[1] + 0.02, z, 0);
}

static expert_answer button_press_topdown(const expert_view *view)
{
    const bool away = vipo_distance_xy(view->hand, view->object) > 0.04;
    return aim_at(view->object, 0, 0, away ? 0.1 : 0, 1);
}

/* Beside the handle (side: -1 or 1), down, and across it. */
static expert_answer faucet(const expert_view *view, double side)
{
    const double offset[3] = {0.04 * side, 0, 0.03};
    double beside[3];
    vipo_add3(view->object, offset, beside);
    if (vipo_distance_xy(view->hand, beside) > 0.04) return aim_at(beside, 0, 0, 0.1, 1);
    if (rise(view->hand, beside) > 0.04) return aim_at(beside, 0, 0, 0, 1);
    return aim_at(beside, -0.1 * side, 0.05, 0, 1);
}

static expert_answer faucet_close(const expert_view *view)
{
    return faucet(view, 1);
}

static expert_answer faucet_open(const expert_view *view)
{
    return faucet(view, -1);
}

static expert_answer handle_press(const expert_view *view)
{
    const double handle[3] = {view->object[0], view->object[1] - 0.02, view->object[2]};
    return aim_at(handle, 0, 0, vipo_distance_xy(view->hand, handle) > 0.02 ? 0.2 : -0.5, -1);
}

static expert_answer hammer(const expert_view *view)
{
    const double offset[3] = {-0.04, 0, -0.01}, *hand = view->hand;
    const double goal[3] = {0.24 + -0.19, 0.71, 0.11 + 0.05};
    double grip[3];
    vipo_add3(view->object, offset, grip);
    const bool away = vipo_distance_xy(hand, grip) > 0.04;
    const double effort = away || rise(hand, grip) > 0.1 ? 0 : 0.8;
    const double hand_xz[2] = {hand[0], hand[2]}, goal_xz[2] = {goal[0], goal[2]};
    if (away) return aim_at(grip, 0, 0, 0.1, effort);
    if (rise(hand, grip) > 0.05 && grip[2] < 0.03) return aim_at(grip, 0, 0, 0.03, effort);
    if (vipo_distance_xy(hand_xz, goal_xz) > 0.02) return go_to(goal[0], hand[1], goal[2], effort);
    return aim_at(goal, 0, 0, 0, effort);
}

static expert_answer assembly(const expert_view *view)
{
    const double wrench_offset[3] = {-0.02, 0, 0}, peg_offset[3] = {0.12, 0, 0.14}, *hand = view->hand;
    double wrench[3], peg[3];
    vipo_add3(view->object, wrench_offset, wrench);
    vipo_add3(view->goal, peg_offset, peg);
    const bool away = vipo_distance_xy(hand, wrench) > 0.02;
    const double grip = view->profile == VIPO_SIM_AVDC_V2 ? 0.2 : 0.6;
    const double effort = away || rise(hand, wrench) > 0.12 ? 0 : grip;
    if (away) return aim_at(wrench, 0, 0, 0.1, effort);
    if (vipo_distance_xy(hand, peg) <= 0.02) return aim_at(peg, 0, 0, -0.2, effort);
    if (rise(hand, wrench) > 0.05) return aim_at(wrench, 0, 0, 0.03, effort);
    if (rise(hand, peg) > 0.04) return go_to(hand[0], hand[1], peg[2], effort);
    return aim_at(peg, 0, 0, 0, effort);
}

static const struct {
    const char *task;
    expert_answer (*policy)(const expert_view *view);
    double gain;
} experts[VIPO_TASKS] = {
    {"door-open", door_open, 25},       {"door-close", door_close, 25},
    {"basketball", basketball, 25},     {"shelf-place", shelf_place, 25},
    {"button-press", button_press, 25}, {"button-press-topdown", button_press_topdown, 25},
    {"faucet-close", faucet_close, 25}, {"faucet-open", faucet_open, 25},
    {"handle-press", handle_press, 25}, {"hammer", hammer, 10},
    {"assembly", assembly, 10},
};

vipo_status vipo_sim_expert(const vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                            double action[VIPO_SIM_ACTION], vipo_error *error)
{
    memset(action, 0, VIPO_SIM_ACTION * sizeof *action);
    for (int i = 0; i < VIPO_SIM_OBSERVATION; i++)
        if (!isfinite(observation[i]))
            return vipo_fail(error, VIPO_NUMERIC, "observation[%d] is %f, expected a finite number", i,
                             observation[i]);
    const expert_view view = {.hand = observation,
                              .object = observation + 4,
                              .goal = observation + VIPO_SIM_OBSERVATION - 3,
                              .profile = sim->profile};
    for (int i = 0; i < VIPO_TASKS; i++) {
        if (strcmp(experts[i].task, sim->task->name) != 0) continue;
        const expert_answer answer = experts[i].policy(&view);
        for (int k = 0; k < 3; k++) action[k] = experts[i].gain * (answer.aim[k] - view.hand[k]);
        action[3] = answer.effort;
        if (sim->profile == VIPO_SIM_FARAMA_V3)
            for (int k = 0; k < VIPO_SIM_ACTION; k++) action[k] = (float)action[k];
        return VIPO_OK;
    }
    return vipo_fail(error, VIPO_INTERNAL, "%s has no expert", sim->task->name);
}
