/* Navigation: AVDC's recordings (tests/golden/geometry), with their draws and with others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "policy/rigid_motion.h"
#include "support/geometry.h"

static const char *const names[] = {"nav_ahead", "nav_rotate_right_20deg", "nav_rotate_left_45deg"};

static vipo_motion solve(const geometry_case *c, const vipo_navigation_options *options)
{
    vipo_motion motion;
    vipo_error error = {0};
    assert_ok(vipo_navigation_solve(&c->request, options, &motion, &error), &error);
    return motion;
}

static void check_actions(const vipo_motion *motion, const json_t *expected, const char *name)
{
    vipo_navigation_action actions[8];
    const int n = vipo_navigation_actions(motion, actions);
    assert_int_equal(n, json_array_size(expected));
    for (int i = 0; i < n; i++)
        if (strcmp(vipo_navigation_action_name((int)actions[i]),
                   json_string_value(json_array_get(expected, (size_t)i))) != 0)
            fail_msg("%s: action %d is %s", name, i, vipo_navigation_action_name((int)actions[i]));
}

static void check(const char *name, const json_t *facts, vipo_motion_fit fit, bool recorded)
{
    geometry_case c;
    vipo_navigation_options options;
    size_t n;
    geometry_open(&c, name);
    vipo_navigation_default_options(&options);
    options.fit = fit;
    options.draws = recorded ? c.draws : NULL;
    options.seed = 12;
    vipo_motion motion = solve(&c, &options);
    double *const transforms = geometry_doubles(c.file, "transforms", &n);
    const json_t *const subgoals = json_object_get(facts, "subgoals");
    assert_int_equal(motion.n_steps, n / 6);
    assert_int_equal(motion.end, n / 6 < c.flow.shape[0] ? VIPO_MOTION_FEW_POINTS : VIPO_MOTION_COMPLETE);
    for (int k = 0; k < motion.n_steps; k++) {
        double expected[3], exact[16];
        for (int i = 0; i < 3; i++)
            expected[i] = json_number_value(json_array_get(json_array_get(subgoals, (size_t)k), (size_t)i));
        geometry_compare(name, motion.subgoals[k + 1], expected, 3, recorded ? 2e-3 : 5e-3);
        vipo_rigid_from_parameters(transforms + 6 * k, exact);
        geometry_compare(name, motion.steps[k].motion, exact, 16, recorded ? 2e-4 : 5e-3);
    }
    check_actions(&motion, json_object_get(facts, "actions"), name);
    free(transforms);
    vipo_motion_free(&motion);
    geometry_close(&c);
}

static void test_recordings(void **state)
{
    (void)state;
    json_t *cases;
    vipo_error error = {0};
    assert_ok(vipo_json_load(&cases, test_path("tests/golden/geometry/cases.json"), &error), &error);
    for (int i = 0; i < 3; i++) {
        const json_t *const facts = json_object_get(cases, names[i]);
        check(names[i], facts, VIPO_MOTION_LM, true);
        check(names[i], facts, VIPO_MOTION_REFERENCE, true);
        check(names[i], facts, VIPO_MOTION_LM, false);
    }
    json_decref(cases);
}

/* No flow: every pixel is sampled, nothing moves, and that is the end. */
static void test_static(void **state)
{
    (void)state;
    geometry_case c;
    vipo_navigation_options options;
    vipo_navigation_action actions[8];
    geometry_open(&c, "nav_ahead");
    memset(c.flow.data, 0, vipo_array_size(&c.flow) * sizeof *c.flow.data);
    vipo_navigation_default_options(&options);
    vipo_motion motion = solve(&c, &options);
    assert_int_equal(motion.n_steps, 3);
    assert_int_equal(vipo_navigation_actions(&motion, actions), 1);
    assert_int_equal(actions[0], VIPO_NAVIGATION_DONE);
    vipo_motion_free(&motion);
    geometry_close(&c);
}

/* Nothing but the list of actions: where (0, 0, 1) goes says which. */
static void test_actions(void **state)
{
    (void)state;
    double subgoals[7][3] = {{0, 0, 1},     {0, 0, 0.75},         {0.21, 0, 0.9}, {-0.21, 0, 0.9},
                             {0.2, 0, 0.9}, {1e-4, -9e-4, 1.001}, {0, 0, 0.5}};
    const vipo_motion motion = {.subgoals = subgoals, .n_steps = 6};
    vipo_navigation_action actions[6];
    assert_int_equal(vipo_navigation_actions(&motion, actions), 5);
    static const vipo_navigation_action expected[] = {VIPO_MOVE_AHEAD, VIPO_ROTATE_LEFT, VIPO_ROTATE_RIGHT,
                                                      VIPO_MOVE_AHEAD, VIPO_NAVIGATION_DONE};
    assert_memory_equal(actions, expected, sizeof expected);
    assert_null(vipo_navigation_action_name(4));
    assert_null(vipo_navigation_action_name(-1));
}

static void test_bad_input(void **state)
{
    (void)state;
    geometry_case c;
    vipo_motion motion;
    vipo_error error = {0};
    vipo_navigation_options options;
    geometry_open(&c, "nav_ahead");
    vipo_navigation_default_options(&options);
    options.samples = 1;
    assert_int_equal(vipo_navigation_solve(&c.request, &options, &motion, &error), VIPO_INVALID_ARGUMENT);
    vipo_navigation_default_options(&options);
    options.min_points = 0;
    assert_int_equal(vipo_navigation_solve(&c.request, &options, &motion, &error), VIPO_INVALID_ARGUMENT);
    vipo_navigation_default_options(&options);
    options.draws = c.draws;
    options.samples = 999;
    assert_int_equal(vipo_navigation_solve(&c.request, &options, &motion, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "draw.sample_index has 1000 draws, expected 999"));
    vipo_navigation_default_options(&options);
    c.depth.data[70] = NAN; /* in row 1, which a thousand samples of all pixels reach */
    for (size_t i = 0; i < vipo_array_size(&c.depth); i++)
        if (i / 64 == 1) c.depth.data[i] = NAN;
    assert_int_equal(vipo_navigation_solve(&c.request, &options, &motion, &error), VIPO_NUMERIC);
    assert_null(motion.steps);
    c.flow.data[7] = INFINITY;
    assert_int_equal(vipo_navigation_solve(&c.request, &options, &motion, &error), VIPO_NUMERIC);
    assert_string_equal(error.message, "flow: element 7 is not finite");
    options.border = 40; /* nothing is away from it */
    c.flow.data[7] = 0;
    for (size_t i = 0; i < vipo_array_size(&c.depth); i++) c.depth.data[i] = 1;
    assert_ok(vipo_navigation_solve(&c.request, &options, &motion, &error), &error);
    assert_int_equal(motion.end, VIPO_MOTION_FEW_POINTS);
    assert_int_equal(motion.n_steps, 0);
    vipo_motion_free(&motion);
    geometry_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recordings), cmocka_unit_test(test_static),
                                       cmocka_unit_test(test_actions), cmocka_unit_test(test_bad_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
