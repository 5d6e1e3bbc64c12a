/* The closed loop of the flow policy: AVDC's step by step on recorded traces (tests/golden/geometry), and what it does
 * where AVDC's fails. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/geometry.h"

static vipo_flow_controller *open_controller(int plans, int patience)
{
    vipo_flow_controller *c;
    vipo_flow_controller_options options;
    vipo_error error = {0};
    vipo_flow_controller_default_options(&options);
    if (plans) options.plans = plans;
    if (patience) options.patience = patience;
    assert_ok(vipo_flow_controller_open(&c, &options, &error), &error);
    return c;
}

static void plan(vipo_flow_controller *c, const double grasp[3], const double *motions, int n)
{
    vipo_error error = {0};
    assert_ok(vipo_flow_controller_plan(c, grasp, motions, n, &error), &error);
}

/* ---- recorded traces --------------------------------------------------------------------------------------- */

static void give_plan(vipo_flow_controller *c, const vipo_safetensors *file, int i)
{
    char name[40];
    size_t n;
    snprintf(name, sizeof name, "plan%d.grasp", i);
    double *const grasp = geometry_doubles(file, name, NULL);
    snprintf(name, sizeof name, "plan%d.transforms", i);
    double *const motions = geometry_doubles(file, name, &n);
    plan(c, grasp, motions, (int)n / 16);
    free(grasp), free(motions);
}

/* before: the first plan is there before the first step, as in AVDC; else when it is asked for. */
static void check_trace(const char *name, bool before)
{
    char relative[100];
    size_t steps;
    snprintf(relative, sizeof relative, "tests/golden/geometry/controller_%s.safetensors", name);
    vipo_safetensors *file = golden_open(relative);
    double *const hand = geometry_doubles(file, "trace.hand", &steps), *const actions = geometry_doubles(
                                                                           file, "trace.action", NULL);
    double *const grasped = geometry_doubles(file, "trace.grasped", NULL), *const left = geometry_doubles(
                                                                               file, "trace.n_subgoals",
                                                                               NULL);
    double *const countdown = geometry_doubles(file, "trace.countdown", NULL), *const replans =
                                                                                   geometry_doubles(
                                                                                       file, "trace.replans",
                                                                                       NULL);
    double *const grasp = geometry_doubles(file, "initial_grasp", NULL), *const subgoals = geometry_doubles(
                                                                             file, "initial_subgoals", NULL);
    vipo_flow_controller *c = open_controller(0, 0);
    vipo_flow_controller_state s;
    int plans = 0;
    for (size_t i = 0; i < steps / 3; i++) {
        double action[4];
        if (i == 0 && before) give_plan(c, file, plans++);
        const bool wanted = vipo_flow_controller_observe(c, hand + 3 * i);
        if (wanted) give_plan(c, file, plans++);
        if (i == 0) {
            assert_int_equal(wanted, !before);
            vipo_flow_controller_get_state(c, &s);
            geometry_compare("first grasp", s.grasp, grasp, 3, 1e-12);
            assert_int_equal(s.n_subgoals, 8);
            geometry_compare("first subgoals", *s.subgoals, subgoals, 24, 1e-12);
        }
        vipo_flow_controller_act(c, action);
        geometry_compare(name, action, actions + 4 * i, 4, 1e-12);
        vipo_flow_controller_get_state(c, &s);
        if (s.grasped != (grasped[i] != 0) || s.n_subgoals != (int)left[i] ||
            s.countdown != (int)countdown[i] || s.plans_left != (int)replans[i])
            fail_msg("%s, step %zu: grasped %d, %d subgoals, countdown %d, %d plans left", name, i, s.grasped,
                     s.n_subgoals, s.countdown, s.plans_left);
        assert_int_equal(s.mode, strcmp(name, "grasp") == 0 ? VIPO_MOTION_GRASP : VIPO_MOTION_PUSH);
    }
    assert_true(plans >= 3);
    vipo_flow_controller_close(&c);
    assert_null(c);
    vipo_safetensors_close(&file);
    free(hand), free(actions), free(grasped), free(left), free(countdown), free(replans), free(grasp),
        free(subgoals);
}

static void test_traces(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        check_trace("push", before);
        check_trace("grasp", before);
        check_trace("push_blocked", before);
    }
}

/* ---- beyond AVDC ------------------------------------------------------------------------------------------- */

/* n motions that each move by (x, y, z). */
static void translations(double (*out)[16], int n, double x, double y, double z)
{
    for (int k = 0; k < n; k++)
        memcpy(out[k], ((const double[16]){1, 0, 0, x, 0, 1, 0, y, 0, 0, 1, z, 0, 0, 0, 1}), sizeof out[k]);
}

static void test_no_plan(void **state)
{
    (void)state;
    static const double hand[3] = {0.1, 0.6, 0.2}, expected[4] = {0, 0, 0, -0.8};
    vipo_flow_controller *c = open_controller(2, 3);
    double action[4];
    vipo_flow_controller_state s;
    vipo_flow_controller_get_state(c, &s);
    assert_int_equal(s.n_subgoals, 0);
    assert_null(s.subgoals);
    /* wanted, none made; after three steps without motion wanted again; then no more */
    const bool wanted[] = {true, false, false, true, false, false, false, false};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_int_equal(vipo_flow_controller_observe(c, hand), wanted[i]);
        if (wanted[i]) vipo_flow_controller_skip_plan(c);
        vipo_flow_controller_act(c, action);
        geometry_compare("action", action, expected, 4, 0);
    }
    vipo_flow_controller_get_state(c, &s);
    assert_int_equal(s.plans_left, 0);
    vipo_flow_controller_close(&c);
}

/* A skipped plan leaves the old one in place. */
static void test_skipped(void **state)
{
    (void)state;
    static const double grasp[3] = {0, 0.6, 0.1};
    double motions[7][16], before[4], after[4];
    translations(motions, 7, 0, 0.05, 0);
    vipo_flow_controller *c = open_controller(3, 2);
    assert_true(vipo_flow_controller_observe(c, grasp));
    plan(c, grasp, motions[0], 7);
    vipo_flow_controller_act(c, before);
    assert_false(vipo_flow_controller_observe(c, grasp));
    assert_true(vipo_flow_controller_observe(c, grasp));
    vipo_flow_controller_skip_plan(c);
    vipo_flow_controller_act(c, after);
    geometry_compare("action", after, before, 4, 0);
    vipo_flow_controller_close(&c);
}

/* Straight up: no direction to come from, and no NaN. */
static void test_vertical_push(void **state)
{
    (void)state;
    static const double grasp[3] = {0, 0.6, 0.1}, hand[3] = {0, 0.6, 0.5};
    double motions[7][16], action[4];
    translations(motions, 7, 0, 0, 0.01);
    vipo_flow_controller *c = open_controller(0, 0);
    assert_true(vipo_flow_controller_observe(c, hand));
    plan(c, grasp, motions[0], 7);
    vipo_flow_controller_act(c, action);
    const double expected[4] = {0, 0, 20 * (0.1 - 0.5), 0.8};
    geometry_compare("action", action, expected, 4, 1e-12);
    vipo_flow_controller_close(&c);
}

/* Short plans: a push until a plan tells more; then the mode stays. */
static void test_short_plans(void **state)
{
    (void)state;
    static const double grasp[3] = {0, 0.6, 0.1}, hand[3] = {0, 0.6, 0.5};
    double up[7][16], flat[7][16];
    translations(up, 7, 0, 0.01, 0.11);
    translations(flat, 7, 0, 0.05, 0);
    vipo_flow_controller_state s;
    vipo_flow_controller *c = open_controller(0, 0);
    vipo_flow_controller_observe(c, hand);
    plan(c, grasp, NULL, 0);
    vipo_flow_controller_get_state(c, &s);
    assert_int_equal(s.mode, VIPO_MOTION_PUSH);
    assert_int_equal(s.n_subgoals, 1);
    plan(c, grasp, up[0], 1);
    vipo_flow_controller_get_state(c, &s);
    assert_int_equal(s.mode, VIPO_MOTION_GRASP);
    plan(c, grasp, flat[0], 7);
    vipo_flow_controller_get_state(c, &s);
    assert_int_equal(s.mode, VIPO_MOTION_GRASP);
    assert_int_equal(s.n_subgoals, 8);
    vipo_flow_controller_close(&c);
}

static void test_bad_input(void **state)
{
    (void)state;
    static const double grasp[3] = {0, 0.6, 0.1};
    double motions[7][16], before[4], after[4];
    vipo_error error = {0};
    vipo_flow_controller *c;
    assert_int_equal(
        vipo_flow_controller_open(&c, &(vipo_flow_controller_options){.plans = 0, .patience = 15}, &error),
        VIPO_INVALID_ARGUMENT);
    assert_null(c);
    translations(motions, 7, 0, 0.05, 0);
    c = open_controller(0, 0);
    vipo_flow_controller_observe(c, grasp);
    plan(c, grasp, motions[0], 7);
    vipo_flow_controller_act(c, before);
    motions[3][7] = NAN;
    assert_int_equal(vipo_flow_controller_plan(c, grasp, motions[0], 7, &error), VIPO_NUMERIC);
    assert_string_equal(error.message, "subgoal 4 of the plan is not finite");
    assert_int_equal(vipo_flow_controller_plan(c, grasp, motions[0], -1, &error), VIPO_INVALID_ARGUMENT);
    vipo_flow_controller_act(c, after);
    geometry_compare("action", after, before, 4, 0);
    vipo_flow_controller_close(&c);
    vipo_flow_controller_close(&c);
    vipo_flow_controller_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces),      cmocka_unit_test(test_no_plan),
        cmocka_unit_test(test_skipped),     cmocka_unit_test(test_vertical_push),
        cmocka_unit_test(test_short_plans), cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
