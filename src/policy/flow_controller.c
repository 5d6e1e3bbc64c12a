/* The closed loop of AVDC's flow policy on Meta-World (MyPolicy_CL of AVDC_experiments), step by step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/status.h"
#include "policy/subgoals.h"
#include "vipo/action.h"

static const double still = 0.001;      /* metres that count as standing still */
static const double height_above = 0.2; /* of the way point over the grasp point */
static const double near_xy = 0.02, near_z = 0.04;
static const double push_margin = 0.12, grasp_margin = 0.04; /* at which a subgoal is reached */
static const double push_depth = 0.03;     /* subgoals of a first push are lowered by this */
static const double approach_from = 0.08;  /* a push begins so far behind the object */
static const double clear_direction = 0.1; /* of the first subgoal further away than this */
static const double gain = 20;             /* of the environment's units per metre */
static const double grip_below = 0.08;     /* the hand closes on its way down */

struct vipo_flow_controller {
    vipo_flow_controller_options options;
    double position[3], last[3];
    int plans_left, countdown;
    bool has_plan, mode_known, grasped;
    bool fresh; /* a new plan since observe: its first subgoal is the target, whatever the rules say */
    vipo_motion_mode mode;
    double grasp[3];
    double (*subgoals)[3]; /* owned */
    int first, count;      /* subgoals[first..count) are left */
};

void vipo_flow_controller_default_options(vipo_flow_controller_options *options)
{
    *options = (vipo_flow_controller_options){.plans = 6, .patience = 15};
}

vipo_status vipo_flow_controller_open(vipo_flow_controller **out, const vipo_flow_controller_options *options,
                                      vipo_error *error)
{
    *out = NULL;
    if (options->plans < 1 || options->patience < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d plans, patience %d, expected 1 or more each",
                         options->plans, options->patience);
    vipo_flow_controller *const c = calloc(1, sizeof *c);
    if (!c) return vipo_fail_memory(error, sizeof *c, "a controller");
    c->options = *options;
    c->plans_left = options->plans;
    *out = c;
    return VIPO_OK;
}

void vipo_flow_controller_close(vipo_flow_controller **controller)
{
    if (!controller || !*controller) return;
    free((*controller)->subgoals);
    free(*controller);
    *controller = NULL;
}

static double distance(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

bool vipo_flow_controller_observe(vipo_flow_controller *c, const double position[3])
{
    memcpy(c->position, position, sizeof c->position);
    if (distance(position, c->last, 3) < still) c->countdown--;
    memcpy(c->last, position, sizeof c->last);
    c->fresh = false;
    return c->countdown <= 0 && c->plans_left > 0;
}

void vipo_flow_controller_skip_plan(vipo_flow_controller *c)
{
    c->plans_left--;
    c->countdown = c->options.patience;
}

/* The hand has to go to the grasp point again; to push, to a point behind it. `shared`: the first subgoal is the grasp point
 * itself and moves with it, as the one array that AVDC has for both after the first plan. */
static void approach(vipo_flow_controller *c, bool shared)
{
    double direction[2] = {0, 0}, length = 0;
    c->grasped = false;
    if (c->mode != VIPO_MOTION_PUSH) return;
    for (int k = 0; k < c->count && length <= clear_direction; k++) {
        length = distance(c->subgoals[k], c->grasp, 2);
        for (int i = 0; i < 2; i++)
            direction[i] = length > 0 ? (c->subgoals[k][i] - c->grasp[i]) / length : 0;
    }
    for (int i = 0; i < 2; i++) {
        c->grasp[i] -= approach_from * direction[i];
        if (shared) c->subgoals[0][i] = c->grasp[i];
    }
}

vipo_status vipo_flow_controller_plan(vipo_flow_controller *c, const double grasp[3], const double *motions,
                                      int n, vipo_error *error)
{
    if (n < 0) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a plan of %d motions", n);
    double(*const subgoals)[3] = calloc((size_t)n + 1, sizeof *subgoals);
    if (!subgoals) return vipo_fail_memory(error, ((size_t)n + 1) * sizeof *subgoals, "subgoals");
    vipo_subgoals_chain(grasp, motions, n, 16, subgoals);
    for (int k = 0; k <= n; k++)
        for (int i = 0; i < 3; i++)
            if (!isfinite(subgoals[k][i])) {
                free(subgoals);
                return vipo_fail(error, VIPO_NUMERIC, "subgoal %d of the plan is not finite", k);
            }
    free(c->subgoals);
    c->subgoals = subgoals;
    c->first = 0;
    c->count = n + 1;
    memcpy(c->grasp, grasp, sizeof c->grasp);
    if (!c->mode_known) {
        double rise;
        c->mode_known = vipo_subgoals_rise(subgoals, n + 1, true, &rise);
        c->mode = rise > VIPO_GRASP_RISE ? VIPO_MOTION_GRASP : VIPO_MOTION_PUSH;
    }
    const bool first = !c->has_plan;
    if (first && c->mode == VIPO_MOTION_PUSH)
        for (int k = 0; k <= n; k++) subgoals[k][2] -= push_depth;
    if (first || c->mode == VIPO_MOTION_PUSH) approach(c, !first);
    c->has_plan = true;
    c->fresh = !first;
    c->plans_left--;
    c->countdown = c->options.patience;
    return VIPO_OK;
}

/* ---- one step ------------------------------------------------------------------------------------------- */

/* Where to go now; the first rule that holds. */
static const double *target(vipo_flow_controller *c, double above[3])
{
    const double margin = c->mode == VIPO_MOTION_PUSH ? push_margin : grasp_margin;
    if (c->fresh) return c->subgoals[0];
    if (!c->grasped && distance(c->position, c->grasp, 2) > near_xy) {
        memcpy(above, c->grasp, sizeof c->grasp);
        above[2] += height_above;
        return above;
    }
    if (!c->grasped) {
        c->grasped = fabs(c->position[2] - c->grasp[2]) <= near_z;
        return c->grasp;
    }
    if (distance(c->position, c->subgoals[c->first], 3) <= margin && c->first + 1 < c->count) c->first++;
    return c->subgoals[c->first];
}

void vipo_flow_controller_act(vipo_flow_controller *c, double action[4])
{
    double above[3];
    const double *const goal = c->has_plan ? target(c, above) : c->position;
    for (int i = 0; i < 3; i++) action[i] = gain * (goal[i] - c->position[i]);
    const bool closed = c->has_plan && (c->grasped || c->mode == VIPO_MOTION_PUSH ||
                                        fabs(c->position[2] - c->grasp[2]) < grip_below);
    action[3] = closed ? 0.8 : -0.8;
}

void vipo_flow_controller_get_state(const vipo_flow_controller *c, vipo_flow_controller_state *out)
{
    *out = (vipo_flow_controller_state){.plans_left = c->plans_left,
                                        .countdown = c->countdown,
                                        .grasped = c->grasped,
                                        .mode = c->mode,
                                        .n_subgoals = c->count - c->first,
                                        .subgoals = c->subgoals ? (const double(*)[3])(c->subgoals + c->first)
                                                                : NULL};
    memcpy(out->grasp, c->grasp, sizeof out->grasp);
}
