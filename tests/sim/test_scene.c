/* Loading and stepping MuJoCo models: what goes wrong becomes a status and one line. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/assets.h"
#include "sim/scene.h"
#include "support/files.h"

static const char pendulum[] = "<mujoco><option timestep='0.01'/><worldbody><body name='bob' pos='0 0 1'>"
                               "<joint name='hinge' axis='0 1 0'/><geom size='.1' pos='.5 0 0'/></body>"
                               "</worldbody><actuator><motor joint='hinge'/></actuator></mujoco>";

static const char *model(const char *name, const char *xml)
{
    return test_file_write(test_temporary(name), xml, strlen(xml));
}

static vipo_scene *open_pendulum(void)
{
    vipo_error error = {0};
    vipo_scene *scene;
    assert_ok(vipo_scene_open(&scene, model("pendulum.xml", pendulum), &error), &error);
    return scene;
}

static void test_steps(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_scene *scene = open_pendulum();
    assert_ok(vipo_scene_step(scene, 5, &error), &error);
    assert_true(fabs(scene->data->time - 0.05) < 1e-12);
    const double moved = scene->data->qpos[0];
    assert_true(moved > 0); /* it falls */
    assert_ok(vipo_scene_reset(scene, &error), &error);
    assert_true(scene->data->time == 0 && scene->data->qpos[0] == 0);
    assert_ok(vipo_scene_forward(scene, &error), &error);
    assert_ok(vipo_scene_step(scene, 5, &error), &error);
    assert_true(scene->data->qpos[0] == moved);
    vipo_scene_close(&scene);
    assert_null(scene);
    vipo_scene_close(&scene);
}

static void test_find(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_scene *scene = open_pendulum();
    int id = -5;
    assert_ok(vipo_scene_find(scene, mjOBJ_BODY, "bob", &id, &error), &error);
    assert_int_equal(id, 1);
    assert_int_equal(vipo_scene_find(scene, mjOBJ_CAMERA, "eye", &id, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "pendulum.xml: the model has no camera called 'eye'"));
    vipo_scene_close(&scene);
}

/* ---- what is wrong with a model --------------------------------------------------------------------------- */

static void expect_refused(const char *path, vipo_status status, const char *message)
{
    vipo_error error = {0};
    vipo_scene *scene = (vipo_scene *)&error;
    assert_int_equal(vipo_scene_open(&scene, path, &error), status);
    assert_null(scene);
    if (!strstr(error.message, message)) fail_msg("'%s' does not contain '%s'", error.message, message);
    assert_null(strchr(error.message, '\n'));
    if (strstr(error.message, "?Element")) fail_msg("a control character in '%s'", error.message);
    if (strncmp(error.message, path, strlen(path)) != 0)
        fail_msg("'%s' does not name the file", error.message);
}

static void test_wrong_models(void **state)
{
    (void)state;
    expect_refused(test_temporary("none.xml"), VIPO_IO, "No such file");
    expect_refused(model("empty.xml", ""), VIPO_FORMAT, "MuJoCo cannot load it: ");
    expect_refused(model("cut.xml", "<mujoco><worldbody>"), VIPO_FORMAT, "MuJoCo cannot load it: ");
    expect_refused(model("noise.xml", "\x01\x02\xff\xfe"), VIPO_FORMAT, "MuJoCo cannot load it: ");
    expect_refused(model("word.xml", "<mujoco><worldbody><gem/></worldbody></mujoco>"), VIPO_FORMAT, "gem");
    expect_refused(model("body.xml", "<mujoco><worldbody><geom size='-1'/></worldbody></mujoco>"),
                   VIPO_FORMAT, "size");
    expect_refused(model("include.xml", "<mujoco><include file='not-there.xml'/></mujoco>"), VIPO_FORMAT,
                   "not-there.xml");
    static const char mesh[] =
        "<mujoco><asset><mesh name='m' file='%s'/></asset><worldbody><geom type='mesh' "
        "mesh='m'/></worldbody></mujoco>";
    char xml[512];
    snprintf(xml, sizeof xml, mesh, "not-there.stl");
    expect_refused(model("mesh.xml", xml), VIPO_FORMAT, "not-there.stl");
    test_file_write(test_temporary("short.stl"), "abc", 3);
    snprintf(xml, sizeof xml, mesh, "short.stl");
    expect_refused(model("mesh.xml", xml), VIPO_FORMAT, "STL");
    unsigned char stl[84 + 50] = {0};
    memset(stl + 80, 0xff, 4); /* 4 billion faces */
    test_file_write(test_temporary("faces.stl"), stl, sizeof stl);
    snprintf(xml, sizeof xml, mesh, "faces.stl");
    expect_refused(model("mesh.xml", xml), VIPO_FORMAT,
                   "faces.stl'; perhaps this is an ASCII file?; Element name 'm'");
    test_file_write(test_temporary("bad.png"), "\x89PNG....", 8);
    expect_refused(
        model("texture.xml", "<mujoco><asset><texture name='t' type='2d' file='bad.png'/></asset></mujoco>"),
        VIPO_FORMAT, "bad.png");
}

/* ---- what goes wrong while simulating -------------------------------------------------------------------- */

static void test_unstable(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_scene *scene = open_pendulum();
    assert_ok(vipo_scene_step(scene, 3, &error), &error);
    scene->data->qpos[0] = NAN;
    assert_int_equal(vipo_scene_step(scene, 2, &error), VIPO_NUMERIC);
    assert_non_null(strstr(error.message, "pendulum.xml: the simulation became unstable: "));
    assert_non_null(strstr(error.message, "QPOS"));
    assert_true(scene->data->qpos[0] == 0 && scene->data->time == 0);
    scene->data->qvel[0] = 1e200;
    assert_int_equal(vipo_scene_step(scene, 1, &error), VIPO_NUMERIC);
    assert_non_null(strstr(error.message, "QVEL"));
    scene->data->ctrl[0] = NAN;
    assert_int_equal(vipo_scene_step(scene, 1, &error), VIPO_NUMERIC);
    assert_non_null(strstr(error.message, "CTRL"));
    /* and every time anew */
    scene->data->qpos[0] = NAN;
    assert_int_equal(vipo_scene_step(scene, 1, &error), VIPO_NUMERIC);
    scene->data->qpos[0] = NAN;
    assert_int_equal(vipo_scene_step(scene, 1, &error), VIPO_NUMERIC);
    assert_ok(vipo_scene_step(scene, 1, &error), &error);
    vipo_scene_close(&scene);
    if (access("MUJOCO_LOG.TXT", F_OK) == 0) fail_msg("MuJoCo wrote a log file");
}

static void raise(void *argument)
{
    mju_error("first line of %s\nsecond line\n", (const char *)argument);
}

static void warn_and_return(void *argument)
{
    mju_warning("a warning");
    *(int *)argument = 1;
}

static void test_errors(void **state)
{
    (void)state;
    vipo_error error = {0};
    char text[] = "it";
    int returned = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vipo_mujoco_run(raise, text, "here", &error), VIPO_INTERNAL);
        assert_non_null(strstr(error.message, "here: "));
        assert_non_null(strstr(error.message, "first line of it; second line"));
        assert_int_equal(vipo_mujoco_run(raise, text, "here", NULL), VIPO_INTERNAL);
    }
    assert_int_equal(vipo_mujoco_run(warn_and_return, &returned, "here", &error), VIPO_OK);
    assert_int_equal(returned, 1);
}

/* An error inside mj_step. */
static void stop(const mjModel *m, mjData *d)
{
    (void)m;
    if (d->time > 0.015) mju_error("the controller gave up");
}

static void test_error_in_step(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_scene *scene = open_pendulum();
    mjcb_control = stop;
    const vipo_status status = vipo_scene_step(scene, 5, &error);
    mjcb_control = NULL;
    assert_int_equal(status, VIPO_INTERNAL);
    assert_non_null(strstr(error.message, "pendulum.xml: "));
    assert_non_null(strstr(error.message, "the controller gave up"));
    assert_true(scene->data->time == 0);
    assert_ok(vipo_scene_step(scene, 5, &error), &error);
    vipo_scene_close(&scene);
}

/* Scenes of several threads: errors reach the thread that made them. */
enum { THREADS = 4, ROUNDS = 200 };

static const char *scene_path;

static void *fail_often(void *argument)
{
    const int number = *(const int *)argument;
    char text[32], expected[96];
    snprintf(text, sizeof text, "thread %d", number);
    snprintf(expected, sizeof expected, "first line of %s; second line", text);
    vipo_scene *scene;
    if (vipo_scene_open(&scene, scene_path, NULL) != VIPO_OK) return NULL;
    int right = 0;
    for (int i = 0; i < ROUNDS; i++) {
        vipo_error error = {0};
        right +=
            vipo_mujoco_run(raise, text, "here", &error) == VIPO_INTERNAL && strstr(error.message, expected);
        scene->data->qpos[0] = NAN;
        right += vipo_scene_step(scene, 1, &error) == VIPO_NUMERIC;
        right += vipo_scene_step(scene, 3, &error) == VIPO_OK;
    }
    vipo_scene_close(&scene);
    return right == 3 * ROUNDS ? argument : NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int numbers[THREADS];
    scene_path = model("pendulum.xml", pendulum);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, fail_often, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, &numbers[i]);
    }
}

/* ---- Meta-World's models ------------------------------------------------------------------------------------ */

static void test_assets(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int qpos;
    } models[] = {
        {"assembly_peg", 16}, {"basketball", 16}, {"button_press", 10}, {"button_press_topdown", 10},
        {"door_pull", 10},    {"faucet", 10},     {"hammer", 17},       {"handle_press", 10},
        {"shelf_placing", 16}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        vipo_error error = {0};
        char *path, name[64];
        snprintf(name, sizeof name, "sawyer_%s", models[i].name);
        assert_ok(vipo_assets_find(&path, NULL, name, &error), &error);
        vipo_scene *scene;
        assert_ok(vipo_scene_open(&scene, path, &error), &error);
        assert_int_equal(scene->model->nq, models[i].qpos);
        assert_ok(vipo_scene_step(scene, 20, &error), &error);
        vipo_scene_close(&scene);
        free(path);
    }
}

static void test_missing_assets(void **state)
{
    (void)state;
    vipo_error error = {0};
    char *path = (char *)&error;
    assert_int_equal(vipo_assets_find(&path, "not/there", "sawyer_door_pull", &error), VIPO_IO);
    assert_null(path);
    assert_string_equal(error.message,
                        "not/there/sawyer_xyz/sawyer_door_pull.xml: not found; scripts/setup.sh fetches "
                        "Meta-World's models, VIPO_METAWORLD_ASSETS says where they are");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),    cmocka_unit_test(test_find),   cmocka_unit_test(test_wrong_models),
        cmocka_unit_test(test_unstable), cmocka_unit_test(test_errors), cmocka_unit_test(test_error_in_step),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_assets), cmocka_unit_test(test_missing_assets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
