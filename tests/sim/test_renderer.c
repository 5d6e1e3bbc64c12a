/* Pictures of a scene against those of the Python packages, sizes, threads, and what can go wrong. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/assets.h"
#include "sim/gl_context.h"
#include "sim/renderer.h"
#include "support/files.h"
#include "weights/safetensors.h"

enum { HEIGHT = 240, WIDTH = 320, PIXELS = HEIGHT * WIDTH, STRIDE = 4 };

static vipo_safetensors *golden_file(void)
{
    vipo_error error = {0};
    vipo_safetensors *file;
    assert_ok(vipo_safetensors_open(&file, test_path("tests/golden/metaworld/render_door-open_0.safetensors"),
                                    &error),
              &error);
    return file;
}

static int find(const vipo_scene *scene, mjtObj type, const char *name)
{
    vipo_error error = {0};
    int id;
    assert_ok(vipo_scene_find(scene, type, name, &id, &error), &error);
    return id;
}

/* door-open, seed 0, as the golden pictures show it. */
static vipo_scene *open_scene(void)
{
    vipo_error error = {0};
    char *path;
    vipo_scene *scene;
    assert_ok(vipo_assets_find(&path, NULL, "sawyer_door_pull", &error), &error);
    assert_ok(vipo_scene_open(&scene, path, &error), &error);
    free(path);
    vipo_safetensors *file = golden_file();
    const struct {
        const char *name;
        double *to;
    } parts[] = {{"init/qpos", scene->data->qpos},
                 {"init/mocap_pos", scene->data->mocap_pos},
                 {"init/mocap_quat", scene->data->mocap_quat},
                 {"init/body_pos/door", scene->model->body_pos + 3 * find(scene, mjOBJ_BODY, "door")},
                 {"init/site_pos/goal", scene->model->site_pos + 3 * find(scene, mjOBJ_SITE, "goal")}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const vipo_tensor_view *view = vipo_safetensors_find(file, parts[i].name);
        assert_non_null(view);
        memcpy(parts[i].to, view->data, view->count * sizeof(double));
    }
    vipo_safetensors_close(&file);
    assert_ok(vipo_scene_forward(scene, &error), &error);
    return scene;
}

static vipo_renderer *open_renderer(vipo_scene *scene, int height, int width, int shadow_size,
                                    int multisamples)
{
    vipo_error error = {0};
    vipo_renderer *renderer;
    const vipo_renderer_options options = {NULL, height, width, shadow_size, multisamples};
    assert_ok(vipo_renderer_open(&renderer, scene, &options, &error), &error);
    return renderer;
}

/* A quick one, for tests that do not look at shadows. */
static vipo_renderer *open_plain(vipo_scene *scene)
{
    return open_renderer(scene, 48, 64, -1, -1);
}

static void draw(vipo_renderer *renderer, int camera, int height, int width, uint8_t *rgb, float *depth,
                 int32_t *type, int32_t *id)
{
    vipo_error error = {0};
    assert_ok(vipo_renderer_draw(renderer, camera, height, width, rgb, depth, type, id, &error), &error);
}

/* ---- pictures ----------------------------------------------------------------------------------------------- */

static const vipo_tensor_view *tensor(const vipo_safetensors *file, const char *part, const char *camera)
{
    char name[64];
    snprintf(name, sizeof name, "%s/%s", part, camera);
    const vipo_tensor_view *view = vipo_safetensors_find(file, name);
    assert_non_null(view);
    return view;
}

static void check_colours(const char *camera, const uint8_t *rgb)
{
    char name[96];
    vipo_error error = {0};
    vipo_image golden;
    snprintf(name, sizeof name, "tests/golden/metaworld/render_door-open_0_%s.png", camera);
    assert_ok(vipo_image_read(test_path(name), &golden, &error), &error);
    assert_int_equal(golden.height, HEIGHT);
    assert_int_equal(golden.width, WIDTH);
    double sum = 0;
    for (size_t i = 0; i < (size_t)PIXELS * 3; i++) sum += abs(rgb[i] - golden.data[i]);
    vipo_image_free(&golden);
    print_message("%s: mean difference %.4f grey levels\n", camera, sum / (PIXELS * 3));
    /* 0 with the same Mesa; other rasterisers differ along edges */
    if (sum / (PIXELS * 3) > 1) fail_msg("%s: mean difference %g grey levels", camera, sum / (PIXELS * 3));
}

static void check_objects_and_depth(const vipo_safetensors *file, const char *camera, const float *depth,
                                    const int32_t *type, const int32_t *id, double near)
{
    const int8_t *const types = tensor(file, "type", camera)->data, *const ids =
                                                                        tensor(file, "id", camera)->data;
    const vipo_tensor_view *const depths = tensor(file, "depth", camera);
    enum { ROWS = HEIGHT / STRIDE, COLUMNS = WIDTH / STRIDE, MARGIN = 1 };
    int other = 0, compared = 0;
    double worst = 0;
    for (int y = MARGIN; y < ROWS - MARGIN; y++)
        for (int x = MARGIN; x < COLUMNS - MARGIN; x++) {
            const int at = STRIDE * (y * WIDTH + x);
            const int golden = y * COLUMNS + x;
            if (type[at] != types[golden] || id[at] != ids[golden]) other++;
            bool edge = false;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++)
                    edge |= id[at + dy * WIDTH + dx] != ids[golden] ||
                            type[at + dy * WIDTH + dx] != types[golden];
            if (edge || types[golden] < 0) continue;
            float expected;
            memcpy(&expected, (const char *)depths->data + 4 * golden, sizeof expected);
            /* the reference was computed from a depth buffer in single precision: half a unit in the last place */
            const double rounding = (double)expected * (double)expected / near * 0x1p-24;
            worst = fmax(worst, fabs((double)depth[at] - (double)expected) - rounding);
            compared++;
        }
    const double share = (double)other / ((ROWS - 2 * MARGIN) * (COLUMNS - 2 * MARGIN));
    print_message("%s: %.3f %% of the pixels show another object, depth within %.4f mm (%d pixels)\n", camera,
                  100 * share, 1000 * worst, compared);
    if (share > 0.005) fail_msg("%s: %.2f %% of the pixels show another object", camera, 100 * share);
    if (worst > 1e-3) fail_msg("%s: depth off by %g mm", camera, 1000 * worst);
    assert_true(compared > 2000);
}

static const char *const cameras[] = {"corner", "corner2", "corner3"};

static void test_golden(void **state)
{
    (void)state;
    vipo_scene *scene = open_scene();
    vipo_safetensors *file = golden_file();
    vipo_renderer *renderer = open_renderer(scene, HEIGHT, WIDTH, 0, 0);
    print_message("%s: %s\n", vipo_renderer_gl(renderer), vipo_renderer_device(renderer));
    assert_true(strlen(vipo_renderer_device(renderer)) > 0);
    uint8_t *rgb = malloc((size_t)PIXELS * 3);
    float *depth = malloc(PIXELS * sizeof *depth);
    int32_t *type = malloc(PIXELS * sizeof *type), *id = malloc(PIXELS * sizeof *id);
    const double near = (double)scene->model->vis.map.znear * scene->model->stat.extent;
    for (size_t c = 0; c < sizeof cameras / sizeof *cameras; c++) {
        draw(renderer, find(scene, mjOBJ_CAMERA, cameras[c]), HEIGHT, WIDTH, rgb, depth, type, id);
        check_colours(cameras[c], rgb);
        check_objects_and_depth(file, cameras[c], depth, type, id, near);
    }
    free(rgb);
    free(depth);
    free(type);
    free(id);
    vipo_renderer_close(&renderer);
    assert_null(renderer);
    vipo_safetensors_close(&file);
    vipo_scene_close(&scene);
}

/* ---- sizes and parts ---------------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
    (void)state;
    enum { LARGE_H = 300, LARGE_W = 200 };
    vipo_scene *scene = open_scene();
    vipo_renderer *renderer = open_plain(scene);
    const int camera = find(scene, mjOBJ_CAMERA, "corner");
    uint8_t *first = calloc((size_t)48 * 64, 3), *again = calloc((size_t)48 * 64, 3),
            *large = calloc((size_t)LARGE_H * LARGE_W, 3);
    float depth[6];
    int32_t id[6];
    draw(renderer, camera, 48, 64, first, NULL, NULL, NULL);
    draw(renderer, camera, LARGE_H, LARGE_W, large, NULL, NULL, NULL); /* grows */
    draw(renderer, camera, 48, 64, again, NULL, NULL, NULL);
    assert_memory_equal(first, again, (size_t)48 * 64 * 3);
    draw(renderer, camera, 2, 3, NULL, depth, NULL, id);
    for (int i = 0; i < 6; i++) {
        assert_true(depth[i] > 0.3F && depth[i] < 200);
        assert_true(id[i] >= -1 && id[i] < scene->model->ngeom);
    }
    /* the parts do not depend on what else is asked for */
    float *alone = malloc((size_t)48 * 64 * sizeof *alone),
          *together = malloc((size_t)48 * 64 * sizeof *together);
    int32_t *type = malloc((size_t)48 * 64 * sizeof *type);
    draw(renderer, camera, 48, 64, NULL, alone, NULL, NULL);
    draw(renderer, camera, 48, 64, again, together, type, NULL);
    assert_memory_equal(alone, together, (size_t)48 * 64 * sizeof *alone);
    assert_memory_equal(first, again, (size_t)48 * 64 * 3);
    free(alone);
    free(together);
    free(type);
    free(first);
    free(again);
    free(large);
    vipo_renderer_close(&renderer);
    vipo_scene_close(&scene);
}

/* Quality settings change the picture, and the model is as it was. */
static void test_quality(void **state)
{
    (void)state;
    vipo_scene *scene = open_scene();
    const int camera = find(scene, mjOBJ_CAMERA, "corner2");
    enum { SIDE = 96 };
    static uint8_t pictures[4][SIDE * SIDE * 3];
    static const int settings[4][2] = {{0, 0}, {-1, 0}, {0, -1}, {512, 2}};
    const mjVisual authored = scene->model->vis;
    for (int i = 0; i < 4; i++) {
        vipo_renderer *renderer = open_renderer(scene, SIDE, SIDE, settings[i][0], settings[i][1]);
        draw(renderer, camera, SIDE, SIDE, pictures[i], NULL, NULL, NULL);
        vipo_renderer_close(&renderer);
        assert_memory_equal(&scene->model->vis, &authored, sizeof authored);
        for (int j = 0; j < i; j++)
            if (memcmp(pictures[i], pictures[j], sizeof pictures[i]) == 0)
                fail_msg("settings %d and %d give the same picture", j, i);
    }
    vipo_scene_close(&scene);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

typedef struct painter {
    vipo_renderer *renderer; /* NULL: its own scene and renderer */
    int camera;
    uint8_t rgb[48 * 64 * 3];
    vipo_status status;
    vipo_error error;
} painter;

static void *paint(void *argument)
{
    painter *const p = argument;
    p->status = vipo_renderer_draw(p->renderer, p->camera, 48, 64, p->rgb, NULL, NULL, NULL, &p->error);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static painter here, there[2];
    vipo_scene *scene = open_scene(), *second_scene = open_scene();
    vipo_renderer *renderer = open_plain(scene), *second = open_plain(second_scene);
    const int camera = find(scene, mjOBJ_CAMERA, "corner3");
    here = (painter){.renderer = renderer, .camera = camera};
    paint(&here);
    assert_ok(here.status, &here.error);
    for (int round = 0; round < 3; round++) {
        pthread_t threads[2];
        there[0] = (painter){.renderer = renderer, .camera = camera};
        there[1] = (painter){.renderer = second, .camera = camera};
        for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, paint, &there[i]), 0);
        for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < 2; i++) {
            assert_ok(there[i].status, &there[i].error);
            assert_memory_equal(there[i].rgb, here.rgb, sizeof here.rgb);
        }
    }
    vipo_renderer_close(&second);
    paint(&here); /* one renderer's end does not touch another */
    assert_ok(here.status, &here.error);
    vipo_renderer_close(&renderer);
    vipo_scene_close(&scene);
    vipo_scene_close(&second_scene);
}

/* ---- what can go wrong -------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_scene *scene = open_scene();
    vipo_renderer *renderer = (vipo_renderer *)&error;
    vipo_renderer_options options = {"vulkan", 48, 64, 0, 0};
    assert_int_equal(vipo_renderer_open(&renderer, scene, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_null(renderer);
    assert_string_equal(error.message, "OpenGL by 'vulkan': expected egl or osmesa");
    options = (vipo_renderer_options){NULL, 0, 64, 0, 0};
    assert_int_equal(vipo_renderer_open(&renderer, scene, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "a picture of 64x0: expected sides from 1 to 8192");
    renderer = open_plain(scene);
    uint8_t pixel[3];
    assert_int_equal(vipo_renderer_draw(renderer, scene->model->ncam, 1, 1, pixel, NULL, NULL, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_renderer_draw(renderer, -1, 1, 1, pixel, NULL, NULL, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_renderer_draw(renderer, 0, 1, 8193, pixel, NULL, NULL, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_renderer_draw(renderer, 0, -3, 1, pixel, NULL, NULL, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    draw(renderer, 0, 1, 1, pixel, NULL, NULL, NULL); /* refusals do no harm */
    /* OpenGL functions are found once per process */
    const char *const other = strcmp(vipo_renderer_gl(renderer), "egl") == 0 ? "osmesa" : "egl";
    vipo_renderer *second;
    options = (vipo_renderer_options){other, 48, 64, 0, 0};
    assert_int_equal(vipo_renderer_open(&second, scene, &options, &error), VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, "this process uses OpenGL otherwise"));
    vipo_renderer_close(&renderer);
    vipo_renderer_close(&renderer);
    vipo_scene_close(&scene);
}

int main(void)
{
    vipo_error error = {0};
    vipo_gl *gl;
    if (vipo_gl_open(&gl, NULL, &error) != VIPO_OK) {
        printf("skipped: %s\n", error.message);
        return 77;
    }
    vipo_gl_close(&gl);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),  cmocka_unit_test(test_sizes),    cmocka_unit_test(test_quality),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
