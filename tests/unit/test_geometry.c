/* Single functions between flow and motion, against AVDC's (tests/golden/geometry/units.safetensors) and against what must
 * hold of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/field.h"
#include "policy/point_sampler.h"
#include "policy/ransac.h"
#include "policy/rigid_motion.h"
#include "policy/subgoals.h"
#include "support/files.h"
#include "support/geometry.h"

static vipo_safetensors *units;

static int open_units(void **state)
{
    (void)state;
    units = golden_open("tests/golden/geometry/units.safetensors");
    return 0;
}
static int close_units(void **state)
{
    (void)state;
    vipo_safetensors_close(&units);
    return 0;
}

static vipo_projection open_camera(const char *name)
{
    vipo_projection camera;
    vipo_error error = {0};
    double *const matrix = geometry_doubles(units, name, NULL);
    assert_ok(vipo_projection_open(&camera, matrix, &error), &error);
    free(matrix);
    return camera;
}

/* ---- projection ----------------------------------------------------------------------------------------- */

static void test_projection(void **state)
{
    (void)state;
    size_t n;
    const vipo_projection camera = open_camera("proj.cmat");
    double *const points = geometry_doubles(units, "proj.points", &n), *const uv = geometry_doubles(
                                                                           units, "proj.uv", NULL);
    double *const depth = geometry_doubles(units, "proj.depth", NULL), *const back = geometry_doubles(
                                                                           units, "proj.back", NULL);
    for (size_t i = 0; i < n / 3; i++) {
        double found[2], lifted[3], again[2];
        vipo_project(&camera, points + 3 * i, found);
        geometry_compare("uv", found, uv + 2 * i, 2, 1e-9);
        vipo_lift(&camera, uv + 2 * i, depth[i], lifted);
        geometry_compare("back", lifted, back + 3 * i, 3, 1e-9);
        vipo_project(&camera, lifted, again);
        geometry_compare("round trip", again, uv + 2 * i, 2, 1e-9);
    }
    free(points), free(uv), free(depth), free(back);
}

static void test_flipped_depth(void **state)
{
    (void)state;
    vipo_projection camera = open_camera("proj.cmat");
    const double uv[2] = {11.5, 3.25};
    double a[3], b[3];
    vipo_lift(&camera, uv, -0.8, a);
    camera.flipped_depth = true;
    vipo_lift(&camera, uv, 0.8, b);
    geometry_compare("point", a, b, 3, 0);
}

static void test_bad_matrix(void **state)
{
    (void)state;
    vipo_projection camera;
    vipo_error error = {0};
    double matrix[12] = {1, 2, 3, 0, 2, 4, 6, 0, 0, 0, 1, 0};
    assert_int_equal(vipo_projection_open(&camera, matrix, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "camera matrix: its left 3x3 part cannot be inverted"));
    matrix[1] = NAN;
    assert_int_equal(vipo_projection_open(&camera, matrix, &error), VIPO_NUMERIC);
    assert_string_equal(error.message, "camera matrix: row 0, column 1 is not finite");
}

/* A matrix file keeps all bits of doubles, in either order of elements. */
static void test_matrix_file(void **state)
{
    (void)state;
    double *const matrix = geometry_doubles(units, "proj.cmat", NULL);
    double other[12];
    for (int i = 0; i < 12; i++) other[i / 4 + i % 4 * 3] = matrix[i];
    for (int fortran = 0; fortran < 2; fortran++) {
        char header[128] = {0};
        unsigned char file[128 + 12 * sizeof(double)];
        double found[12];
        vipo_error error = {0};
        memcpy(file, "\x93NUMPY\1\0\x76\0", 10);
        snprintf(header, sizeof header, "{'descr': '<f8', 'fortran_order': %s, 'shape': (3, 4)}%70s",
                 fortran ? "True" : "False", "");
        memcpy(file + 10, header, 118);
        memcpy(file + 128, fortran ? other : matrix, 12 * sizeof(double));
        const char *const path = test_file_write(test_temporary("matrix.npy"), file, sizeof file);
        assert_ok(vipo_camera_matrix_read(path, found, &error), &error);
        assert_memory_equal(found, matrix, sizeof found);
        memset(file + 128, 0, 12 * sizeof(double));
        test_file_write(path, file, sizeof file);
        assert_int_equal(vipo_camera_matrix_read(path, found, &error), VIPO_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "matrix.npy: camera matrix: its left 3x3 part"));
    }
    free(matrix);
    vipo_error error = {0};
    double found[12];
    const size_t shape[3] = {1, 3, 4};
    vipo_array array;
    assert_ok(vipo_array_alloc(&array, 3, shape, &error), &error);
    assert_ok(vipo_npy_write(test_temporary("matrix.npy"), &array, &error), &error);
    assert_int_equal(vipo_camera_matrix_read(test_temporary("matrix.npy"), found, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "matrix.npy: expected shape [3, 4], found [1, 3, 4]"));
    vipo_array_free(&array);
    assert_int_equal(vipo_camera_matrix_read(test_temporary("none.npy"), found, &error), VIPO_IO);
}

/* ---- maps ----------------------------------------------------------------------------------------------- */

static vipo_field open_field(const char *name, int channels, vipo_array *array)
{
    *array = golden_array(units, name);
    return (vipo_field){array->data, (int)array->shape[0], (int)array->shape[1], channels};
}

static void test_bilinear(void **state)
{
    (void)state;
    size_t n, n_edge;
    vipo_array array;
    const vipo_field map = open_field("bilinear.map", 1, &array);
    double *const at = geometry_doubles(units, "bilinear.points", &n), *const edge = geometry_doubles(
                                                                           units, "bilinear.points_edge",
                                                                           &n_edge);
    double *const strict = geometry_doubles(units, "bilinear.value", NULL), *const clamped = geometry_doubles(
                                                                                units, "bilinear.value_v2",
                                                                                NULL);
    double *const clamped_edge = geometry_doubles(units, "bilinear.value_edge_v2", NULL);
    for (size_t i = 0; i < n / 2; i++) {
        double found;
        assert_true(vipo_field_read_strict(&map, at + 2 * i, &found));
        geometry_compare("strict", &found, strict + i, 1, 1e-9);
        vipo_field_read_clamped(&map, at + 2 * i, &found);
        geometry_compare("clamped", &found, clamped + i, 1, 1e-9);
    }
    for (size_t i = 0; i < n_edge / 2; i++) {
        double found;
        vipo_field_read_clamped(&map, edge + 2 * i, &found);
        geometry_compare("clamped at the edge", &found, clamped_edge + i, 1, 1e-9);
    }
    free(at), free(edge), free(strict), free(clamped), free(clamped_edge);
    vipo_array_free(&array);
}

static void test_warp(void **state)
{
    (void)state;
    size_t n, n_edge;
    vipo_array array;
    const vipo_field flow = open_field("bilinear.flow", 2, &array);
    double *const at = geometry_doubles(units, "bilinear.points", &n), *const edge = geometry_doubles(
                                                                           units, "bilinear.points_edge",
                                                                           &n_edge);
    double *const clipped = geometry_doubles(units, "warp.clipped", NULL), *const free_ends =
                                                                               geometry_doubles(
                                                                                   units, "warp.v2_unclipped",
                                                                                   NULL);
    const double last[2] = {flow.width - 2, flow.height - 2};
    for (size_t i = 0; i < n / 2; i++) {
        double moved[2];
        assert_true(vipo_field_read_strict(&flow, at + 2 * i, moved));
        for (int k = 0; k < 2; k++) moved[k] = fmin(fmax(at[2 * i + (size_t)k] + moved[k], 0), last[k]);
        geometry_compare("clipped", moved, clipped + 2 * i, 2, 1e-9);
    }
    for (size_t i = 0; i < n_edge / 2; i++) {
        double moved[2];
        vipo_field_read_clamped(&flow, edge + 2 * i, moved);
        for (int k = 0; k < 2; k++) moved[k] += edge[2 * i + (size_t)k];
        geometry_compare("not clipped", moved, free_ends + 2 * i, 2, 1e-9);
    }
    free(at), free(edge), free(clipped), free(free_ends);
    vipo_array_free(&array);
}

/* Where AVDC's read fails and where it does not; on an affine map both reads are exact inside. */
static void test_edges(void **state)
{
    (void)state;
    float values[6 * 4];
    for (int i = 0; i < 24; i++) values[i] = (float)(2 * (i % 6) - 3 * (i / 6) + 1);
    const vipo_field map = {values, 4, 6, 1};
    double found;
    for (double u = 0; u < 4.99; u += 0.37)
        for (double v = 0; v < 2.99; v += 0.41) {
            const double uv[2] = {u, v}, expected = 2 * u - 3 * v + 1;
            assert_true(vipo_field_read_strict(&map, uv, &found));
            geometry_compare("strict", &found, &expected, 1, 1e-12);
            vipo_field_read_clamped(&map, uv, &found);
            geometry_compare("clamped", &found, &expected, 1, 1e-12);
        }
    static const double outside[][2] = {{5, 1},  {5.3, 1},  {2, 3},     {2, 3.4},
                                        {-7, 1}, {2, -5.5}, {1e300, 0}, {NAN, 1}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_false(vipo_field_read_strict(&map, outside[i], &found));
    assert_true(vipo_field_read_strict(&map, (const double[]){-0.5, 1}, &found)); /* goes on linearly */
    assert_true(fabs(found - (2 * -0.5 - 3 + 1)) < 1e-12);
    assert_true(vipo_field_read_strict(&map, (const double[]){-1, 0}, &found)); /* the last column */
    assert_true(fabs(found - 11) < 1e-12);
    vipo_field_read_clamped(&map, (const double[]){-0.5, 1}, &found);
    assert_true(fabs(found + 2) < 1e-12);
    vipo_field_read_clamped(&map, (const double[]){1e300, -1e300}, &found);
    assert_true(fabs(found - 11) < 1e-12);
    assert_true(fabs(vipo_field_span(&map, (const double[]){1.5, 1.5}) - 5) < 1e-12);
    assert_true(vipo_field_span(&map, (const double[]){9, 9}) == 0);
    values[8] = NAN;
    assert_true(isnan(vipo_field_span(&map, (const double[]){1.5, 1.5})));
}

static void test_median(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        char in_name[20], out_name[20];
        size_t n;
        snprintf(in_name, sizeof in_name, "median.in%d", k);
        snprintf(out_name, sizeof out_name, "median.out%d", k);
        double *const in = geometry_doubles(units, in_name, &n), *const out =
                                                                     geometry_doubles(units, out_name, NULL);
        const size_t *shape = vipo_safetensors_find(units, in_name)->shape;
        uint8_t *const mask = malloc(n), *const found = malloc(n);
        assert_true(mask && found);
        for (size_t i = 0; i < n; i++) mask[i] = (uint8_t)in[i];
        vipo_mask_median(mask, (int)shape[0], (int)shape[1], found);
        for (size_t i = 0; i < n; i++)
            if (found[i] != (uint8_t)out[i]) fail_msg("%s: pixel %zu", in_name, i);
        free(in), free(out), free(mask), free(found);
    }
    static const uint8_t narrow[3] = {1, 0, 7};
    uint8_t out[3];
    vipo_mask_median(narrow, 3, 1, out); /* rows 1 1 0 | 1 0 1 | 0 1 1 of three columns each */
    assert_memory_equal(out, ((const uint8_t[]){255, 255, 255}), 3);
}

/* ---- rigid motions --------------------------------------------------------------------------------------- */

static void test_euler(void **state)
{
    (void)state;
    size_t n;
    double *const x = geometry_doubles(units, "euler.x", &n), *const matrices = geometry_doubles(
                                                                  units, "euler.matrix", NULL);
    for (size_t i = 0; i < n / 6; i++) {
        double motion[16], again[16], parameters[6];
        vipo_rigid_from_parameters(x + 6 * i, motion);
        geometry_compare("matrix", motion, matrices + 16 * i, 16, 1e-12);
        vipo_rigid_to_parameters(motion, parameters);
        vipo_rigid_from_parameters(parameters, again);
        geometry_compare("from its parameters", again, motion, 16, 1e-12);
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 3; c++) {
                double product = 0;
                for (int k = 0; k < 3; k++) product += motion[4 * k + r] * motion[4 * k + c];
                assert_true(fabs(product - (r == c)) < 1e-12);
            }
    }
    free(x), free(matrices);
}

static void test_loss(void **state)
{
    (void)state;
    size_t n;
    const vipo_projection camera = open_camera("proj.cmat");
    double *const points = geometry_doubles(units, "proj.points", &n), *const uv = geometry_doubles(
                                                                           units, "loss.points2_uv", NULL);
    double *const x = geometry_doubles(units, "euler.x", NULL), *const values = geometry_doubles(
                                                                    units, "loss.value", NULL);
    const vipo_matches matches = {&camera, points, uv, (int)n / 3};
    for (size_t i = 0; i < 16; i++) {
        double motion[16];
        vipo_rigid_from_parameters(x + 6 * i, motion);
        const double found = vipo_rigid_loss(&matches, motion);
        geometry_compare("loss", &found, values + i, 1, 1e-9 * fmax(1, values[i]));
    }
    free(points), free(uv), free(x), free(values);
}

/* ---- RANSAC ---------------------------------------------------------------------------------------------- */

static void test_similarity(void **state)
{
    (void)state;
    double *const ins = geometry_doubles(units, "similarity.ins", NULL), *const outs = geometry_doubles(
                                                                             units, "similarity.outs", NULL);
    double *const pairs = geometry_doubles(units, "similarity.pairs", NULL), *const a = geometry_doubles(
                                                                                 units, "similarity.A", NULL);
    double *const center = geometry_doubles(units, "similarity.center", NULL);
    for (int i = 0; i < 3; i++) {
        double p[4], q[4], found[9];
        for (int k = 0; k < 2; k++) {
            const int at = (int)pairs[2 * i + k];
            memcpy(p + 2 * k, ins + 2 * at, 2 * sizeof *p);
            memcpy(q + 2 * k, outs + 2 * at, 2 * sizeof *q);
        }
        vipo_similarity(p, q, center, found);
        geometry_compare("A", found, a + 9 * i, 9, 1e-9);
    }
    free(ins), free(outs), free(pairs), free(a), free(center);
    /* three pixels on a line: the identity */
    double found[9], identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    vipo_similarity((const double[]){0, 0, 2, 2}, (const double[]){5, 0, 9, 1}, (const double[]){1, 1},
                    found);
    geometry_compare("on a line", found, identity, 9, 0);
}

/* A similarity, noise of less than the threshold, and points that go elsewhere. */
static void test_ransac(void **state)
{
    (void)state;
    enum { N = 60 };
    double from[2 * N], to[2 * N], best[9];
    bool inside[N];
    int32_t pairs[80];
    const double c = 1.1 * cos(0.3), s = 1.1 * sin(0.3), center[2] = {40, 30};
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 2; k++)
            from[2 * i + k] = 40 + 35 * (double)test_uniform(3, (uint64_t)(2 * i + k));
        to[2 * i] = c * from[2 * i] - s * from[2 * i + 1] + 7;
        to[2 * i + 1] = s * from[2 * i] + c * from[2 * i + 1] - 3;
        if (i % 3 == 2) to[2 * i] += 5 + i;
    }
    for (int i = 0; i < 40; i++) {
        pairs[2 * i] = i;
        pairs[2 * i + 1] = (i + 7) % N;
    }
    assert_int_equal(vipo_ransac(from, to, N, center, pairs, 40, 0.5, inside, best), 40);
    for (int i = 0; i < N; i++) assert_int_equal(inside[i], i % 3 != 2);
    assert_true(fabs(best[0] - c) < 1e-9 && fabs(best[3] - s) < 1e-9 && fabs(best[2] - 7) < 1e-8);
}

/* ---- samples and the grasp point -------------------------------------------------------------------------- */

static void test_grasp(void **state)
{
    (void)state;
    size_t n;
    vipo_array array;
    const vipo_projection camera = open_camera("proj.cmat");
    const vipo_field depth = open_field("grasp.depth", 1, &array);
    double *const uv = geometry_doubles(units, "grasp.samples", &n), *const point = geometry_doubles(
                                                                         units, "grasp.point", NULL);
    const int count = (int)n / 2;
    double *const depths = calloc((size_t)count, sizeof *depths),
                  *const scratch = calloc((size_t)count, sizeof *scratch), found[3];
    for (int i = 0; i < count; i++) assert_true(vipo_field_read_strict(&depth, uv + 2 * i, depths + i));
    const vipo_samples samples = {uv, depths, NULL, count};
    vipo_samples_grasp(&samples, &camera, scratch, found);
    geometry_compare("grasp", found, point, 3, 1e-9);
    /* in another order */
    for (int i = 0; i < count / 2; i++) {
        const int j = count - 1 - i;
        for (int k = 0; k < 2; k++) {
            const double kept = uv[2 * i + k];
            uv[2 * i + k] = uv[2 * j + k];
            uv[2 * j + k] = kept;
        }
        const double kept = depths[i];
        depths[i] = depths[j];
        depths[j] = kept;
    }
    vipo_samples_grasp(&samples, &camera, scratch, found);
    geometry_compare("grasp of the reversed list", found, point, 3, 1e-9);
    free(uv), free(point), free(depths), free(scratch);
    vipo_array_free(&array);
}

static vipo_samples draw(const uint8_t *mask, const vipo_field *depth, vipo_sampler_rule rule, int n,
                         uint64_t seed)
{
    static const double matrix[12] = {10, 0, 4, 0, 0, 10, 3, 0, 0, 0, 1, 0};
    const vipo_draw_source source = {.seed = seed};
    vipo_projection camera;
    vipo_samples samples;
    vipo_error error = {0};
    assert_ok(vipo_projection_open(&camera, matrix, &error), &error);
    assert_ok(vipo_samples_draw(mask, depth, &camera, rule, 0.02, n, &source, &samples, &error), &error);
    return samples;
}

/* Points come from the mask's pixels alone, and from all of them; the same seed gives the same. */
static void test_samples(void **state)
{
    (void)state;
    enum { W = 9, H = 7, N = 4000 };
    uint8_t mask[W * H] = {0};
    float values[W * H];
    int seen[W * H] = {0}, set = 0;
    for (int i = 0; i < W * H; i++) {
        values[i] = 1;
        mask[i] = i / W > 1 && i / W < 5 && i % W > 2 && i % W < 7;
        set += mask[i];
    }
    const vipo_field depth = {values, H, W, 1};
    vipo_samples samples = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 5),
                 again = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 5);
    vipo_samples other = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 6);
    assert_int_equal(samples.n, N);
    assert_memory_equal(samples.uv, again.uv, 2 * N * sizeof(double));
    assert_memory_not_equal(samples.uv, other.uv, 2 * N * sizeof(double));
    double mean = 0;
    for (int i = 0; i < N; i++) {
        const int x = (int)lround(samples.uv[2 * i]), y = (int)lround(samples.uv[2 * i + 1]);
        assert_true(mask[y * W + x]);
        seen[y * W + x]++;
        mean += samples.uv[2 * i] - x;
        assert_true(fabs(samples.points[3 * i + 2] - 1) < 1e-12);
    }
    assert_true(fabs(mean / N) < 4 * 0.2887 / sqrt(N));
    for (int i = 0; i < W * H; i++) /* binomial: mean N/set = 333, deviation 18 */
        if (mask[i]) assert_true(abs(seen[i] - N / set) < 90);
    vipo_samples_free(&samples);
    vipo_samples_free(&again);
    vipo_samples_free(&other);
}

/* Points where the depth jumps are left out, unless hardly any are left; unknown depths always. */
static void test_even_samples(void **state)
{
    (void)state;
    enum { W = 16, H = 12, N = 500 };
    uint8_t mask[W * H] = {0};
    float values[W * H];
    for (int i = 0; i < W * H; i++) {
        mask[i] = i % W >= 4 && i % W < 12;
        values[i] = mask[i] ? 1.0F + 0.001F * (float)(i % W) : 1.5F;
    }
    const vipo_field depth = {values, H, W, 1};
    vipo_samples samples = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 1);
    assert_in_range(samples.n, N * 6 / 8 + 1,
                    N - 1); /* half of the first and of the last column is left out */
    for (int i = 0; i < samples.n; i++) assert_true(samples.depth[i] < 1.02);
    vipo_samples_free(&samples);

    for (int i = 0; i < W * H; i++) { /* one pixel wide: the middles of pixels */
        mask[i] = i % W == 5;
        values[i] = mask[i] ? 1.0F : 1.5F;
    }
    samples = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 1);
    assert_int_equal(samples.n, N);
    for (int i = 0; i < samples.n; i++) {
        assert_true(samples.depth[i] == 1);
        assert_true(samples.uv[2 * i] == 5);
    }
    vipo_samples_free(&samples);

    for (int i = 0; i < W * H; i++)
        if (i / W % 2) values[i] = i / W % 4 == 1 ? 0 : NAN; /* not known in every other row */
    samples = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 1);
    assert_in_range(samples.n, N / 3, N * 2 / 3);
    for (int i = 0; i < samples.n; i++) assert_true(samples.depth[i] == 1);
    vipo_samples_free(&samples);

    memset(mask, 0, sizeof mask);
    samples = draw(mask, &depth, VIPO_SAMPLE_EVEN, N, 1);
    assert_int_equal(samples.n, 0);
    vipo_samples_free(&samples);
    for (int i = 0; i < W * H; i++) values[i] = 1;
    samples = draw(mask, &depth, VIPO_SAMPLE_CLAMPED, N, 1); /* AVDC: all pixels */
    assert_int_equal(samples.n, N);
    vipo_samples_free(&samples);
}

static void test_rise(void **state)
{
    (void)state;
    double subgoals[8][3] = {{0, 0, 0.9},  {0, 0, 0.1},  {0, 0, 0.15}, {0, 0, 0.05},
                             {0, 0, 0.05}, {0, 0, 0.06}, {0, 0, 0.06}, {0, 0, 0.7}};
    double rise;
    assert_true(vipo_subgoals_rise(subgoals, 8, false, &rise)); /* neither the first step nor the last */
    assert_true(fabs(rise - 0.1) < 1e-12);
    assert_true(vipo_subgoals_rise(subgoals, 4, false, &rise));
    assert_true(fabs(rise - 0.05) < 1e-12);
    assert_false(vipo_subgoals_rise(subgoals, 3, false, &rise));
    assert_true(vipo_subgoals_rise(subgoals, 3, true, &rise));
    assert_true(fabs(rise - 0.8) < 1e-12);
    assert_false(vipo_subgoals_rise(subgoals, 1, true, &rise));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_projection),   cmocka_unit_test(test_flipped_depth),
        cmocka_unit_test(test_bad_matrix),   cmocka_unit_test(test_matrix_file),
        cmocka_unit_test(test_bilinear),     cmocka_unit_test(test_warp),
        cmocka_unit_test(test_edges),        cmocka_unit_test(test_median),
        cmocka_unit_test(test_euler),        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_similarity),   cmocka_unit_test(test_ransac),
        cmocka_unit_test(test_grasp),        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_even_samples), cmocka_unit_test(test_rise),
    };
    return cmocka_run_group_tests(tests, open_units, close_units);
}
