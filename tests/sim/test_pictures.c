/* Pictures of tasks through the public header: matrices, names, masks, refusals. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files.h"
#include "vipo/sim.h"

static const char *golden_path(void)
{
    return test_path("tests/golden/metaworld/render_door-open_0.safetensors");
}

static vipo_sim *open_task(const char *task)
{
    vipo_error error = {0};
    vipo_sim *sim;
    vipo_sim_options options;
    vipo_sim_default_options(&options);
    options.shadow_size = options.multisamples = -1;
    assert_ok(vipo_sim_open(&sim, task, &options, &error), &error);
    return sim;
}

static vipo_sim *open_golden(void)
{
    vipo_error error = {0};
    double observation[VIPO_SIM_OBSERVATION];
    vipo_sim *const sim = open_task("door-open");
    assert_ok(vipo_sim_load_state(sim, golden_path(), observation, &error), &error);
    return sim;
}

static void test_matrices(void **state)
{
    (void)state;
    vipo_error error = {0};
    test_tensors tensors = {0};
    test_tensors_read(&tensors, golden_path());
    vipo_sim *sim = open_golden();
    int n = 0;
    for (; vipo_sim_camera_name(n); n++) {
        char name[64];
        double matrix[12], golden[12], smaller[12];
        snprintf(name, sizeof name, "matrix/%s", vipo_sim_camera_name(n));
        memcpy(golden, test_tensors_find(&tensors, name)->data, sizeof golden);
        assert_ok(vipo_sim_camera_matrix(sim, vipo_sim_camera_name(n), 240, 320, matrix, &error), &error);
        for (int i = 0; i < 12; i++)
            if (!(fabs(matrix[i] - golden[i]) < 1e-9))
                fail_msg("%s[%d]: %.17g, expected %.17g", name, i, matrix[i], golden[i]);
        /* half the size: u' = u / 2 - 1/4 */
        assert_ok(vipo_sim_camera_matrix(sim, vipo_sim_camera_name(n), 120, 160, smaller, &error), &error);
        for (int i = 0; i < 4; i++)
            assert_true(fabs(smaller[i] - (matrix[i] / 2 - matrix[8 + i] / 4)) < 1e-9);
    }
    assert_int_equal(n, 3);
    vipo_sim_close(&sim);
    test_tensors_free(&tensors);
}

static void test_geom_names(void **state)
{
    (void)state;
    size_t size;
    uint64_t length_of_header;
    char *const file = test_file_read(golden_path(), &size);
    memcpy(&length_of_header, file, sizeof length_of_header);
    json_t *const header = json_loadb(file + sizeof length_of_header, length_of_header, 0, NULL);
    const char *at = json_string_value(json_object_get(json_object_get(header, "__metadata__"), "geoms"));
    assert_non_null(at);
    vipo_sim *sim = open_golden();
    int id = 0;
    for (;; id++) {
        const size_t length = strcspn(at, "\n");
        const char *const name = vipo_sim_geom_name(sim, id);
        assert_non_null(name);
        if (strlen(name) != length || strncmp(name, at, length) != 0)
            fail_msg("geom %d is %s, expected %.*s", id, name, (int)length, at);
        if (!at[length]) break;
        at += length + 1;
    }
    assert_true(id > 40);
    assert_null(vipo_sim_geom_name(sim, id + 1));
    assert_null(vipo_sim_geom_name(sim, -1));
    vipo_sim_close(&sim);
    json_decref(header);
    free(file);
}

/* In every task and camera the mask covers something, and the middle of door-open's lies on the projected handle. */
static void test_masks(void **state)
{
    (void)state;
    enum { H = 120, W = 160 };
    vipo_error error = {0};
    uint8_t *mask = malloc((size_t)H * W);
    for (int task = 0; vipo_sim_task_name(task); task++) {
        vipo_sim *sim = open_task(vipo_sim_task_name(task));
        double observation[VIPO_SIM_OBSERVATION], matrix[12];
        assert_ok(vipo_sim_reset(sim, 0, observation, &error), &error);
        for (int camera = 0; vipo_sim_camera_name(camera); camera++) {
            const char *const eye = vipo_sim_camera_name(camera);
            vipo_sim_picture picture;
            assert_ok(vipo_sim_render(sim, eye, H, W, VIPO_SIM_SEGMENTATION, &picture, &error), &error);
            assert_true(picture.height == H && picture.width == W && picture.type && picture.id);
            assert_true(!picture.rgb.data && !picture.depth.data);
            assert_ok(vipo_sim_object_mask(sim, &picture, mask, &error), &error);
            double n = 0, u = 0, v = 0;
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    if (mask[y * W + x]) n++, u += x, v += y;
            vipo_sim_picture_free(&picture);
            assert_null(picture.type);
            if (n == 0) fail_msg("%s: %s: nothing is seen of the object", vipo_sim_task_name(task), eye);
            if (strcmp(vipo_sim_task_name(task), "door-open") != 0) continue;
            assert_ok(vipo_sim_camera_matrix(sim, eye, H, W, matrix, &error), &error);
            double p[3];
            for (int i = 0; i < 3; i++)
                p[i] = matrix[4 * i] * observation[4] + matrix[4 * i + 1] * observation[5] +
                       matrix[4 * i + 2] * observation[6] + matrix[4 * i + 3];
            const double far = hypot(p[0] / p[2] - u / n, p[1] / p[2] - v / n);
            if (far > 1.5) fail_msg("%s: the handle's mask is %g pixels from where it should be", eye, far);
        }
        vipo_sim_close(&sim);
    }
    free(mask);
}

/* A picture does not change the state, and shows the one there is. */
static void test_states(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    vipo_error error = {0};
    const double action[VIPO_SIM_ACTION] = {1, 0, 0, 0};
    double observation[VIPO_SIM_OBSERVATION];
    vipo_sim_step_result with, without;
    vipo_sim_picture first, second;
    vipo_sim *sim = open_task("button-press");
    assert_ok(vipo_sim_reset(sim, 3, observation, &error), &error);
    for (int i = 0; i < 10; i++) assert_ok(vipo_sim_step(sim, action, &without, &error), &error);
    assert_ok(vipo_sim_reset(sim, 3, observation, &error), &error);
    assert_null(vipo_sim_gl(sim));
    assert_null(vipo_sim_gl_device(sim));
    const unsigned all = VIPO_SIM_RGB | VIPO_SIM_DEPTH | VIPO_SIM_SEGMENTATION;
    assert_ok(vipo_sim_render(sim, "corner", SIDE, SIDE, all, &first, &error), &error);
    assert_non_null(vipo_sim_gl(sim));
    assert_true(strlen(vipo_sim_gl_device(sim)) > 0);
    for (int i = 0; i < 10; i++) assert_ok(vipo_sim_step(sim, action, &with, &error), &error);
    assert_memory_equal(with.observation, without.observation, sizeof with.observation);
    assert_ok(vipo_sim_render(sim, "corner", SIDE, SIDE, all, &second, &error), &error);
    assert_memory_not_equal(first.rgb.data, second.rgb.data, SIDE * SIDE * 3);
    vipo_sim_picture_free(&second);
    assert_ok(vipo_sim_reset(sim, 3, observation, &error), &error);
    assert_ok(vipo_sim_render(sim, "corner", SIDE, SIDE, all, &second, &error), &error);
    assert_memory_equal(first.rgb.data, second.rgb.data, SIDE * SIDE * 3);
    assert_memory_equal(first.depth.data, second.depth.data, SIDE * SIDE * sizeof(float));
    assert_memory_equal(first.id, second.id, SIDE * SIDE * sizeof(int32_t));
    vipo_sim_picture_free(&first);
    vipo_sim_picture_free(&second);
    vipo_sim_close(&sim);
}

/* The picture of a seed is that of the recorded state, to the pixel: sites that reset has moved are where they belong. */
static void test_seed_and_record(void **state)
{
    (void)state;
    enum { H = 48, W = 64 };
    vipo_error error = {0};
    double observation[VIPO_SIM_OBSERVATION];
    vipo_sim_picture seed, record;
    vipo_sim *made = open_task("door-open"), *loaded = open_golden();
    assert_ok(vipo_sim_reset(made, 0, observation, &error), &error);
    assert_ok(vipo_sim_render(made, "corner", H, W, VIPO_SIM_RGB, &seed, &error), &error);
    assert_ok(vipo_sim_render(loaded, "corner", H, W, VIPO_SIM_RGB, &record, &error), &error);
    assert_memory_equal(seed.rgb.data, record.rgb.data, H * W * 3);
    vipo_sim_picture_free(&seed);
    vipo_sim_picture_free(&record);
    vipo_sim_close(&made);
    vipo_sim_close(&loaded);
}

/* Environments with pictures come and go, states too: memory stays as it is. Mesa's threads free late, so the least of
 * several readings counts, and only large losses show; small ones are LeakSanitizer's. */
static void test_memory(void **state)
{
    (void)state;
    enum { WARM = 3, ROUNDS = 6, RESETS = 20, MOST = 20000 /* kB per environment; a renderer has 90 MB */ };
    vipo_error error = {0};
    double observation[VIPO_SIM_OBSERVATION];
    long least[2] = {LONG_MAX, LONG_MAX}; /* after the first and the second ROUNDS environments */
    for (int i = 0; i < WARM + 2 * ROUNDS; i++) {
        vipo_sim_picture picture;
        vipo_sim *sim = open_task("hammer");
        assert_ok(vipo_sim_reset(sim, (uint64_t)i, observation, &error), &error);
        assert_ok(vipo_sim_render(sim, "corner", 16, 16, VIPO_SIM_RGB, &picture, &error), &error);
        vipo_sim_picture_free(&picture);
        vipo_sim_close(&sim);
        const long now = test_resident();
        long *const window = &least[i >= WARM + ROUNDS];
        if (i >= WARM && now < *window) *window = now;
    }
    const long environments = least[1] - least[0];
    vipo_sim *sim = open_task("faucet-open");
    assert_ok(vipo_sim_reset(sim, 0, observation, &error), &error);
    const long before = test_resident();
    for (int i = 1; i <= RESETS; i++)
        assert_ok(vipo_sim_reset(sim, (uint64_t)i, observation, &error), &error);
    const long resets = test_resident() - before;
    vipo_sim_close(&sim);
    print_message("%d environments with a picture: %+ld kB, %d resets: %+ld kB\n", ROUNDS, environments,
                  RESETS, resets);
#if !defined(__SANITIZE_ADDRESS__) /* keeps freed memory back */
    if (environments > ROUNDS * MOST) fail_msg("%ld kB for %d environments", environments, ROUNDS);
    if (resets > 500) fail_msg("%ld kB for %d resets", resets, RESETS);
#endif
}

static void test_refusals(void **state)
{
    (void)state;
    vipo_error error = {0};
    double observation[VIPO_SIM_OBSERVATION], matrix[12];
    vipo_sim_picture picture;
    memset(&picture, 1, sizeof picture);
    vipo_sim *sim = open_task("hammer");
    assert_int_equal(vipo_sim_render(sim, "corner", 8, 8, VIPO_SIM_RGB, &picture, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "there is nothing to see before a reset or a loaded state");
    assert_null(picture.rgb.data);
    assert_ok(vipo_sim_reset(sim, 0, observation, &error), &error);
    assert_int_equal(vipo_sim_render(sim, "topview", 8, 8, VIPO_SIM_RGB, &picture, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "unknown camera 'topview', expected corner, corner2 or corner3");
    assert_int_equal(vipo_sim_camera_matrix(sim, "", 8, 8, matrix, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_sim_camera_matrix(sim, "corner", 0, 8, matrix, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_sim_render(sim, "corner", 8, 8, 0, &picture, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_sim_render(sim, "corner", 8, 8, 64, &picture, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_sim_render(sim, "corner", 100000, 8, VIPO_SIM_RGB, &picture, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_ok(vipo_sim_render(sim, "corner", 8, 8, VIPO_SIM_RGB, &picture, &error), &error);
    uint8_t mask[64];
    assert_int_equal(vipo_sim_object_mask(sim, &picture, mask, &error), VIPO_INVALID_ARGUMENT);
    vipo_sim_picture_free(&picture);
    vipo_sim_picture_free(&picture);
    vipo_sim_close(&sim);

    vipo_sim_options options;
    vipo_sim_default_options(&options);
    options.gl = "vulkan";
    assert_ok(vipo_sim_open(&sim, "hammer", &options, &error), &error);
    assert_ok(vipo_sim_reset(sim, 0, observation, &error), &error);
    assert_int_equal(vipo_sim_render(sim, "corner", 8, 8, VIPO_SIM_RGB, &picture, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "OpenGL by 'vulkan': expected egl or osmesa");
    assert_null(vipo_sim_gl(sim));
    vipo_sim_close(&sim);
    char device[8] = "full";
    assert_int_equal(vipo_sim_gl_probe("vulkan", device, sizeof device, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(device, "");
}

int main(void)
{
    vipo_error error = {0};
    char device[128];
    if (vipo_sim_gl_probe(NULL, device, sizeof device, &error) != VIPO_OK) {
        printf("skipped: %s\n", error.message);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),        cmocka_unit_test(test_geom_names),
        cmocka_unit_test(test_masks),           cmocka_unit_test(test_states),
        cmocka_unit_test(test_seed_and_record), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
