/* Motions of made-up scenes, whose truth is known: how near the two samplings and the two fits come, and what must not
 * matter. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy/rigid_motion.h"
#include "support/flow_scene.h"

enum { HEIGHT = 120, WIDTH = 160 };

static void open_scene(flow_scene *out, uint64_t seed, flow_scene_options options)
{
    options.seed = seed;
    options.box = seed % 2;
    options.height = HEIGHT;
    options.width = WIDTH;
    if (!options.frames) options.frames = 4;
    flow_scene_open(out, &options);
}

static vipo_motion solve(const vipo_motion_request *request, vipo_motion_sampling sampling,
                         vipo_motion_fit fit)
{
    vipo_motion motion;
    vipo_motion_options options;
    vipo_error error = {0};
    vipo_motion_default_options(&options);
    options.sampling = sampling;
    options.fit = fit;
    options.restarts = 6;
    assert_ok(vipo_motion_solve(request, &options, &motion, &error), &error);
    return motion;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- errors ----------------------------------------------------------------------------------------------- */

/* The median error of a sampling over scenes of a kind, metres. */
static double median_error(flow_scene_options kind, vipo_motion_sampling sampling, bool backward)
{
    enum { SCENES = 11 };
    double errors[SCENES];
    for (uint64_t i = 0; i < SCENES; i++) {
        flow_scene scene;
        open_scene(&scene, i, kind);
        if (backward) scene.request.backward = &scene.backward;
        vipo_motion motion = solve(&scene.request, sampling, VIPO_MOTION_LM);
        errors[i] = motion.end == VIPO_MOTION_COMPLETE ? flow_scene_error(&scene, &motion) : INFINITY;
        vipo_motion_free(&motion);
        flow_scene_close(&scene);
    }
    qsort(errors, SCENES, sizeof *errors, compare);
    return errors[SCENES / 2];
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        flow_scene_options scene;
        double most;  /* of robust, metres */
        double times; /* that AVDC's error is larger at least */
    } kinds[] = {
        {{.translation = 0.02}, 0.001, 5},
        {{.translation = 0.02, .turn = 6, .any_axis = true}, 0.004, 2},
        {{.translation = 0.02, .turn = 3, .any_axis = true, .noise = 0.2}, 0.02, 1},
        {{.translation = 0.02, .turn = 3, .any_axis = true, .wrong = 0.25}, 0.015, 2},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const double robust = median_error(kinds[i].scene, VIPO_MOTION_ROBUST, false);
        const double avdc = median_error(kinds[i].scene, VIPO_MOTION_AVDC, false);
        if (robust > kinds[i].most || avdc < kinds[i].times * robust)
            fail_msg("kind %zu: robust %.2f mm, avdc %.2f mm", i, 1e3 * robust, 1e3 * avdc);
    }
}

/* The backward flow drops points in blocks that are wrong. */
static void test_backward(void **state)
{
    (void)state;
    flow_scene scene;
    for (uint64_t seed = 0; seed < 8; seed++) {
        open_scene(&scene, seed,
                   (flow_scene_options){.frames = 1, .translation = 0.02, .turn = 3, .wrong = 0.2});
        vipo_motion without = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
        scene.request.backward = &scene.backward;
        vipo_motion with = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
        assert_int_equal(with.end, VIPO_MOTION_COMPLETE);
        assert_true(with.steps[0].points < without.steps[0].points);
        assert_true(flow_scene_error(&scene, &with) < 0.0005);
        vipo_motion_free(&with);
        vipo_motion_free(&without);
        flow_scene_close(&scene);
    }
    const flow_scene_options exact = {.translation = 0.02, .turn = 3};
    assert_true(median_error(exact, VIPO_MOTION_ROBUST, true) < 0.002);
}

/* ---- fits -------------------------------------------------------------------------------------------------- */

/* Levenberg-Marquardt finds what AVDC's restarts find, or better; large motions too. */
static void test_fits(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        flow_scene scene;
        open_scene(
            &scene, seed,
            (flow_scene_options){
                .frames = 2, .translation = 0.05, .turn = seed < 3 ? 5 : 12, .any_axis = true, .noise = 0.1});
        vipo_motion lm = solve(&scene.request, VIPO_MOTION_AVDC, VIPO_MOTION_LM);
        vipo_motion reference = solve(&scene.request, VIPO_MOTION_AVDC, VIPO_MOTION_REFERENCE);
        assert_int_equal(lm.steps[0].points, reference.steps[0].points);
        if (lm.steps[0].loss > reference.steps[0].loss + 1e-7)
            fail_msg("seed %d: loss %g, reference %g", (int)seed, lm.steps[0].loss, reference.steps[0].loss);
        if (reference.steps[0].loss > lm.steps[0].loss + 1e-6 + 1e-3 * lm.steps[0].loss)
            fail_msg("seed %d: reference %g, loss %g", (int)seed, reference.steps[0].loss, lm.steps[0].loss);
        assert_true(lm.steps[0].iterations * 5 < reference.steps[0].iterations);
        vipo_motion_free(&lm);
        vipo_motion_free(&reference);
        flow_scene_close(&scene);
    }
}

static double farthest(const double a[3], const double b[3])
{
    return fmax(fabs(a[0] - b[0]), fmax(fabs(a[1] - b[1]), fabs(a[2] - b[2])));
}

/* A world that is turned and moved with its camera moves alike: T' = G T G^-1. */
static void test_equivariance(void **state)
{
    (void)state;
    static const double x[6] = {0.4, -0.3, 0.2, 0.5, -0.4, 1.1};
    double g[16], moved_matrix[12] = {0};
    flow_scene scene;
    open_scene(&scene, 2,
               (flow_scene_options){.translation = 0.02, .turn = 4, .any_axis = true, .noise = 0.1});
    vipo_motion at_home = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    vipo_rigid_from_parameters(x, g);
    for (int i = 0; i < 3; i++) /* matrix G^-1 */
        for (int j = 0; j < 4; j++) {
            for (int k = 0; k < 3; k++)
                moved_matrix[4 * i + j] += scene.matrix[4 * i + k] * (j < 3 ? g[4 * j + k] : 0);
            if (j == 3) {
                moved_matrix[4 * i + 3] = scene.matrix[4 * i + 3];
                for (int k = 0; k < 3; k++) moved_matrix[4 * i + 3] -= moved_matrix[4 * i + k] * g[4 * k + 3];
            }
        }
    scene.request.matrix = moved_matrix;
    vipo_motion away = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    for (int k = 0; k <= at_home.n_steps; k++) {
        double expected[3];
        vipo_rigid_move(g, at_home.subgoals[k], expected);
        assert_true(farthest(away.subgoals[k], expected) < 1e-6);
    }
    vipo_motion_free(&at_home);
    vipo_motion_free(&away);
    flow_scene_close(&scene);
}

/* No flow, no motion. A depth of the other sign is the same scene when that is said. */
static void test_identity(void **state)
{
    (void)state;
    double identity[16];
    flow_scene scene;
    open_scene(&scene, 3, (flow_scene_options){.translation = 0});
    vipo_rigid_identity(identity);
    vipo_motion a = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    assert_int_equal(a.n_steps, 4);
    for (int k = 0; k < a.n_steps; k++)
        for (int i = 0; i < 16; i++) assert_true(fabs(a.steps[k].motion[i] - identity[i]) < 1e-5);
    for (size_t i = 0; i < vipo_array_size(&scene.depth); i++) scene.depth.data[i] = -scene.depth.data[i];
    scene.request.positive_depth = true;
    vipo_motion b = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    assert_memory_equal(a.grasp, b.grasp, sizeof a.grasp);
    vipo_motion_free(&a);
    vipo_motion_free(&b);
    flow_scene_close(&scene);
}

/* ---- what can be wrong ------------------------------------------------------------------------------------- */

static void expect(const vipo_motion_request *request, const vipo_motion_options *options, vipo_status status,
                   const char *message)
{
    vipo_motion motion;
    vipo_error error = {0};
    assert_int_equal(vipo_motion_solve(request, options, &motion, &error), status);
    if (!strstr(error.message, message)) fail_msg("'%s' is not in '%s'", message, error.message);
    assert_null(motion.steps);
    assert_null(motion.subgoals);
}

static void test_bad_options(void **state)
{
    (void)state;
    flow_scene scene;
    open_scene(&scene, 1, (flow_scene_options){.translation = 0.01, .frames = 1});
    vipo_motion_options good, o;
    vipo_motion_default_options(&good);
    o = good, o.samples = 1,
    expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "1 samples, expected 2..100000");
    o = good, o.tries = 0, expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "0 tries, expected");
    o = good, o.threshold = NAN, expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "threshold nan");
    o = good, o.restarts = 1025,
    expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "1025 restarts, expected 0..1024");
    o = good, o.depth_jump = 0, expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "depth jump 0");
    o = good, o.min_points = 2, expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "at least 2 points");
    o = good, o.round_trip = -1, expect(&scene.request, &o, VIPO_INVALID_ARGUMENT, "round trip -1");

    vipo_motion_request r = scene.request;
    double zeros[12] = {0};
    r.mask = NULL, expect(&r, &good, VIPO_INVALID_ARGUMENT, "mask"), r = scene.request;
    r.matrix = zeros, expect(&r, &good, VIPO_INVALID_ARGUMENT, "camera matrix"), r = scene.request;
    r.depth = &scene.flow, expect(&r, &good, VIPO_MISMATCH, "depth: expected shape [H, W]"),
    r = scene.request;
    r.flow = &scene.depth, expect(&r, &good, VIPO_MISMATCH, "flow: expected shape [frames, H, W, 2]"),
    r = scene.request;
    flow_scene other;
    open_scene(&other, 1, (flow_scene_options){.frames = 2});
    r.backward = &other.backward, expect(&r, &good, VIPO_MISMATCH, "backward flow: 2 frames, the flow has 1"),
    r = scene.request;
    scene.flow.data[11] = NAN;
    expect(&r, &good, VIPO_NUMERIC, "flow: element 11 is not finite");
    flow_scene_close(&other);
    flow_scene_close(&scene);
}

/* Bad scenes end a plan and are no errors; AVDC's sampling calls them what they are there. */
static void test_hard_scenes(void **state)
{
    (void)state;
    vipo_motion_options avdc;
    vipo_motion_default_options(&avdc);
    avdc.sampling = VIPO_MOTION_AVDC;
    flow_scene scene;
    open_scene(&scene, 1, (flow_scene_options){.translation = 0.01});
    const size_t frame = HEIGHT * WIDTH * 2;
    for (size_t i = 0; i < frame; i++)
        scene.flow.data[2 * frame + i] = 1e6F; /* the third flow leaves the picture */
    vipo_motion motion = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    assert_int_equal(motion.end, VIPO_MOTION_FEW_POINTS);
    assert_int_equal(motion.n_steps, 2);
    assert_true(motion.mode_known);
    vipo_motion_free(&motion);

    for (size_t i = 0; i < vipo_array_size(&scene.depth); i++)
        if (scene.mask[i]) scene.depth.data[i] = i % 2 ? NAN : 0;
    motion = solve(&scene.request, VIPO_MOTION_ROBUST, VIPO_MOTION_LM);
    assert_int_equal(motion.end, VIPO_MOTION_NOT_SEEN);
    assert_false(motion.mode_known);
    assert_int_equal(motion.n_steps, 0);
    vipo_motion_free(&motion);
    expect(&scene.request, &avdc, VIPO_NUMERIC, "is not finite");
    flow_scene_close(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_backward),
        cmocka_unit_test(test_fits),        cmocka_unit_test(test_equivariance),
        cmocka_unit_test(test_identity),    cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_hard_scenes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
