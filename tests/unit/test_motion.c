/* The way from flow to subgoals on AVDC's recordings (tests/golden/geometry). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/point_sampler.h"
#include "policy/ransac.h"
#include "policy/rigid_motion.h"
#include "support/geometry.h"

static const char *const solved[] = {"translation", "rotation_translation", "outliers", "degenerate_5x5_mask",
                                     "full_size"};
enum { SOLVED = sizeof solved / sizeof *solved };

/* ---- parts, on recorded inputs --------------------------------------------------------------------------- */

static void test_sampler(void **state)
{
    (void)state;
    geometry_case c;
    vipo_projection camera;
    vipo_samples samples;
    vipo_error error = {0};
    geometry_open(&c, "translation");
    double *const uv = geometry_doubles(c.file, "samples_uv", NULL), *const grasp = geometry_doubles(
                                                                         c.file, "grasp", NULL);
    double scratch[500], found[3];
    const vipo_field depth = {c.depth.data, (int)c.depth.shape[0], (int)c.depth.shape[1], 1};
    const vipo_draw_source source = {.recorded = c.draws};
    assert_ok(vipo_projection_open(&camera, c.matrix, &error), &error);
    assert_ok(
        vipo_samples_draw(c.mask, &depth, &camera, VIPO_SAMPLE_STRICT, 0, 500, &source, &samples, &error),
        &error);
    assert_int_equal(samples.n, 500);
    geometry_compare("samples", samples.uv, uv, 1000, 0);
    vipo_samples_grasp(&samples, &camera, scratch, found);
    geometry_compare("grasp", found, grasp, 3, 1e-9);
    vipo_samples_free(&samples);
    free(uv), free(grasp);
    geometry_close(&c);
}

/* Frames whose RANSAC inputs were recorded. */
static int check_ransac(const geometry_case *c, int frames)
{
    int checked = 0;
    size_t n, n_inliers;
    double *const all_pairs = geometry_doubles(c->file, "draw.ransac_pairs", NULL), *const centers =
                                                                                        geometry_doubles(
                                                                                            c->file,
                                                                                            "center_uv",
                                                                                            NULL);
    for (int k = 0; k < frames; k++) {
        char name[60];
        snprintf(name, sizeof name, "frame%d.ransac_A", k);
        if (!geometry_has(c->file, name)) continue;
        double *const from = geometry_frame(c->file, k, "points1_uv_before_ransac", &n),
                      *const to = geometry_frame(c->file, k, "points2_uv_before_ransac", NULL);
        double *const inliers = geometry_frame(c->file, k, "inliers", &n_inliers), *const a = geometry_frame(
                                                                                       c->file, k, "ransac_A",
                                                                                       NULL);
        int32_t pairs[200];
        double best[9];
        bool *const inside = calloc(n / 2, sizeof *inside);
        for (int i = 0; i < 200; i++) pairs[i] = (int32_t)all_pairs[200 * k + i];
        const int found = vipo_ransac(from, to, (int)n / 2, centers + 2 * k, pairs, 100, 0.5, inside, best);
        geometry_compare("A", best, a, 9, 1e-7);
        assert_int_equal(found, n_inliers);
        for (size_t i = 0; i < n_inliers; i++) assert_true(inside[(int)inliers[i]]);
        free(from), free(to), free(inliers), free(a), free(inside);
        checked++;
    }
    free(all_pairs), free(centers);
    return checked;
}

static void test_ransac(void **state)
{
    (void)state;
    int checked = 0;
    for (int i = 0; i <= SOLVED; i++) {
        geometry_case c;
        geometry_open(&c, i < SOLVED ? solved[i] : "random_flow_underdetermined");
        checked += check_ransac(&c, (int)c.flow.shape[0]);
        geometry_close(&c);
    }
    assert_int_equal(checked, 4);
}

/* Largest distance between the points moved by a and by b. */
static double apart(const double *points, size_t n, const double a[16], const double b[16])
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double p[3], q[3];
        vipo_rigid_move(a, points + 3 * i, p);
        vipo_rigid_move(b, points + 3 * i, q);
        for (int k = 0; k < 3; k++) most = fmax(most, fabs(p[k] - q[k]));
    }
    return most;
}

/* Both fits on recorded points, against the recorded optimum. */
static void check_fit(const geometry_case *c, int k, bool underdetermined)
{
    size_t n, n_inliers;
    const bool navigation = !c->mask;
    double *const points = geometry_frame(c->file, k, "points1", &n);
    double *to = geometry_frame(c->file, k, navigation ? "points2_uv" : "points2_uv_before_ransac", NULL);
    double *const x = geometry_frame(c->file, k, "lm_x", NULL);
    if (!navigation) {
        double *const inliers = geometry_frame(c->file, k, "inliers", &n_inliers);
        for (size_t i = 0; i < n_inliers; i++)
            memmove(to + 2 * i, to + 2 * (size_t)inliers[i], 2 * sizeof *to);
        assert_int_equal(n_inliers, n / 3);
        free(inliers);
    }
    vipo_projection camera;
    vipo_rigid_fit lm, reference;
    vipo_error error = {0};
    double optimum[16];
    assert_ok(vipo_projection_open(&camera, c->matrix, &error), &error);
    const vipo_matches matches = {&camera, points, to, (int)n / 3};
    vipo_rigid_from_parameters(x, optimum);
    const double loss = vipo_rigid_loss(&matches, optimum);
    vipo_rigid_fit_lm(&matches, &lm);
    if (!(lm.loss <= loss + fmax(1e-9, 1e-7 * loss)))
        fail_msg("%s, frame %d: lm %g, optimum %g", c->path, k, lm.loss, loss);
    assert_in_range(lm.iterations, 1, underdetermined ? 200 : 40);
    vipo_draw_source source = {.seed = 9, .frame = k};
    const vipo_start_source starts = {&source, vipo_draw_starts};
    assert_ok(vipo_rigid_fit_reference(&matches, 4, &starts, &reference, &error), &error);
    assert_int_equal(reference.starts, loss < 1e-3 ? 1 : 5);
    if (!(reference.loss <= loss + fmax(1e-6, 1e-3 * loss)))
        fail_msg("%s, frame %d: reference %g, optimum %g", c->path, k, reference.loss, loss);
    if (!underdetermined) {
        if (apart(points, n / 3, lm.motion, optimum) > 1e-5)
            fail_msg("%s, frame %d: lm is %g m off", c->path, k, apart(points, n / 3, lm.motion, optimum));
        if (apart(points, n / 3, reference.motion, optimum) > 1e-4)
            fail_msg("%s, frame %d: reference is %g m off", c->path, k,
                     apart(points, n / 3, reference.motion, optimum));
    }
    free(points), free(to), free(x);
}

static void test_fit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int frame;
    } frames[] = {{"rotation_translation", 2},
                  {"outliers", 0},
                  {"random_flow_underdetermined", 0},
                  {"random_flow_underdetermined", 1}};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        geometry_case c;
        geometry_open(&c, frames[i].name);
        check_fit(&c, frames[i].frame, strncmp(frames[i].name, "random", 6) == 0);
        geometry_close(&c);
    }
}

/* ---- the whole chain, with the recorded draws ------------------------------------------------------------ */

static vipo_motion solve(const geometry_case *c, const vipo_motion_options *options)
{
    vipo_motion motion;
    vipo_error error = {0};
    assert_ok(vipo_motion_solve(&c->request, options, &motion, &error), &error);
    return motion;
}

static vipo_motion_options recorded(const geometry_case *c, vipo_motion_fit fit)
{
    vipo_motion_options options;
    vipo_motion_default_options(&options);
    options.sampling = VIPO_MOTION_AVDC;
    options.fit = fit;
    options.draws = c->draws;
    return options;
}

static void check_chain(const char *name, vipo_motion_fit fit)
{
    geometry_case c;
    size_t n;
    geometry_open(&c, name);
    const vipo_motion_options options = recorded(&c, fit);
    vipo_motion motion = solve(&c, &options);
    double *const grasp = geometry_doubles(c.file, "grasp", NULL), *const subgoals = geometry_doubles(
                                                                       c.file, "subgoals", &n);
    double *const inliers = geometry_doubles(c.file, "n_inliers", NULL), *const centers = geometry_doubles(
                                                                             c.file, "center_uv", NULL);
    assert_int_equal(motion.end, VIPO_MOTION_COMPLETE);
    assert_int_equal(motion.n_steps, n / 3 - 1);
    geometry_compare("grasp", motion.grasp, grasp, 3, 1e-9);
    geometry_compare(name, *motion.subgoals, subgoals, n, 1e-3);
    for (int k = 0; k < motion.n_steps; k++) {
        if (motion.steps[k].points != (int)inliers[k])
            fail_msg("%s: frame %d has %d inliers, expected %d", name, k, motion.steps[k].points,
                     (int)inliers[k]);
        geometry_compare("center", motion.steps[k].center_uv, centers + 2 * k, 2, 1e-2);
        double again[16];
        vipo_rigid_from_parameters(motion.steps[k].parameters, again);
        geometry_compare("parameters", again, motion.steps[k].motion, 16, 1e-12);
    }
    assert_int_equal(motion.mode_known, n / 3 >= 4);
    if (motion.mode_known) assert_int_equal(motion.mode, strcmp(name, "full_size") == 0);
    free(grasp), free(subgoals), free(inliers), free(centers);
    vipo_motion_free(&motion);
    geometry_close(&c);
}

static void test_chain_lm(void **state)
{
    (void)state;
    for (int i = 0; i < SOLVED; i++) check_chain(solved[i], VIPO_MOTION_LM);
}

static void test_chain_reference(void **state)
{
    (void)state;
    for (int i = 0; i < SOLVED; i++)
        if (i != 2) check_chain(solved[i], VIPO_MOTION_REFERENCE);
}

/* No flow: all points stay, and so does the grasp point. */
static void test_static(void **state)
{
    (void)state;
    geometry_case c;
    geometry_open(&c, "translation");
    memset(c.flow.data, 0, vipo_array_size(&c.flow) * sizeof *c.flow.data);
    for (int fit = 0; fit < 2; fit++) {
        const vipo_motion_options options = recorded(&c, (vipo_motion_fit)fit);
        vipo_motion motion = solve(&c, &options);
        assert_int_equal(motion.n_steps, 3);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(motion.steps[k].points, 500);
            geometry_compare("subgoal", motion.subgoals[k + 1], motion.grasp, 3, 1e-9);
        }
        assert_int_equal(motion.mode, VIPO_MOTION_PUSH);
        vipo_motion_free(&motion);
    }
    geometry_close(&c);
}

/* The first frame's inliers, then a loss that is no higher. */
static void test_underdetermined(void **state)
{
    (void)state;
    geometry_case c;
    geometry_open(&c, "random_flow_underdetermined");
    for (int fit = 0; fit < 2; fit++) {
        const vipo_motion_options options = recorded(&c, (vipo_motion_fit)fit);
        vipo_motion motion = solve(&c, &options);
        assert_int_equal(motion.steps[0].points, 6);
        assert_true(motion.steps[0].loss <= 0.014814813084408351 + 1e-6);
        vipo_motion_free(&motion);
    }
    geometry_close(&c);
}

/* Where AVDC raises, its sampling fails with a reason and the robust one goes on. */
static void test_failures(void **state)
{
    (void)state;
    static const char *const names[] = {"empty_mask", "border_sample_error"};
    for (int i = 0; i < 2; i++) {
        geometry_case c;
        vipo_motion motion;
        vipo_error error = {0};
        geometry_open(&c, names[i]);
        vipo_motion_options options = recorded(&c, VIPO_MOTION_LM);
        for (size_t k = 0; k < vipo_array_size(&c.depth); k++) c.depth.data[k] = -1;
        assert_int_equal(vipo_motion_solve(&c.request, &options, &motion, &error), VIPO_NUMERIC);
        assert_non_null(strstr(error.message,
                               "reads past the last column or row of 160x120, where AVDC's sampling fails"));
        assert_null(motion.steps);
        options.sampling = VIPO_MOTION_ROBUST;
        assert_int_equal(vipo_motion_solve(&c.request, &options, &motion, &error), VIPO_INVALID_ARGUMENT);
        assert_string_equal(error.message, "recorded draws are of sampling 'avdc', not 'robust'");
        options.draws = NULL;
        assert_ok(vipo_motion_solve(&c.request, &options, &motion, &error), &error);
        assert_int_equal(motion.end, i < 1 ? VIPO_MOTION_NOT_SEEN : VIPO_MOTION_COMPLETE);
        assert_int_equal(motion.n_steps, i < 1 ? 0 : 1);
        vipo_motion_free(&motion);
        geometry_close(&c);
    }
}

/* ---- the robust form --------------------------------------------------------------------------------------- */

/* Distance of the last subgoal from where the true motion takes the grasp point, metres. */
static double final_error(const geometry_case *c, const vipo_motion *motion)
{
    double at[3];
    double *const truth = geometry_doubles(c->file, "true_transforms", NULL);
    memcpy(at, motion->grasp, sizeof at);
    for (int k = 0; k < motion->n_steps; k++) vipo_rigid_move(truth + 16 * k, at, at);
    free(truth);
    const double *const last = motion->subgoals[motion->n_steps];
    return sqrt((at[0] - last[0]) * (at[0] - last[0]) + (at[1] - last[1]) * (at[1] - last[1]) +
                (at[2] - last[2]) * (at[2] - last[2]));
}

/* Metres that the final subgoal may be off, the mean of 8 seeds, and AVDC's sampling with its recorded draws. */
static void test_robust(void **state)
{
    (void)state;
    static const double most[SOLVED] = {0.0003, 0.015, 0.020, 1e-4, 0.003};
    static const double avdc[SOLVED] = {0.0215, 0.0043, 0.0807, 2e-5, 0.0154};
    for (int i = 0; i < SOLVED; i++) {
        geometry_case c;
        vipo_motion_options options;
        double sum = 0;
        geometry_open(&c, solved[i]);
        options = recorded(&c, VIPO_MOTION_LM);
        vipo_motion motion = solve(&c, &options);
        const double off = final_error(&c, &motion);
        geometry_compare(solved[i], &off, avdc + i, 1, 1e-4);
        vipo_motion_free(&motion);
        vipo_motion_default_options(&options);
        for (options.seed = 0; options.seed < 8; options.seed++) {
            motion = solve(&c, &options);
            assert_int_equal(motion.end, VIPO_MOTION_COMPLETE);
            assert_true(motion.mode_known);
            sum += final_error(&c, &motion);
            vipo_motion_free(&motion);
        }
        if (sum / 8 > most[i]) fail_msg("%s: %g m off on average", solved[i], sum / 8);
        geometry_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sampler),
        cmocka_unit_test(test_ransac),
        cmocka_unit_test(test_fit),
        cmocka_unit_test(test_chain_lm),
        cmocka_unit_test(test_chain_reference),
        cmocka_unit_test(test_static),
        cmocka_unit_test(test_underdetermined),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_robust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
