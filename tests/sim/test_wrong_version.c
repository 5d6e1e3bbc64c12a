/* A MuJoCo library of another version than the headers: the program's own mj_version comes before the library's. */
#include <mujoco/mujoco.h>
#include <string.h>

#include "sim/scene.h"
#include "support/files.h"

int mj_version(void)
{
    return 222;
}

static void test_refused(void **state)
{
    (void)state;
    vipo_error error = {0};
    const char xml[] = "<mujoco/>";
    vipo_scene *scene = (vipo_scene *)&error;
    assert_int_equal(
        vipo_scene_open(&scene, test_file_write(test_temporary("model.xml"), xml, strlen(xml)), &error),
        VIPO_UNSUPPORTED);
    assert_null(scene);
    assert_non_null(
        strstr(error.message, "was loaded, but this vipo was built with 3.3.0: check LD_LIBRARY_PATH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
