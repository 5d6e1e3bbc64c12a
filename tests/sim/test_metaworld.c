/* Environments: initial states and episodes against recordings of the Python packages (tests/golden/metaworld), and their rules. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/metaworld.h"
#include "support/files.h"
#include "support/golden.h"

static const char recorded_on[] = "3.3.0";

static vipo_sim *open_sim(const char *task, vipo_sim_profile profile)
{
    vipo_error error = {0};
    vipo_sim_options options;
    vipo_sim *sim;
    vipo_sim_default_options(&options);
    options.profile = profile;
    assert_ok(vipo_sim_open(&sim, task, &options, &error), &error);
    return sim;
}

static void reset(vipo_sim *sim, uint64_t seed, double observation[VIPO_SIM_OBSERVATION])
{
    vipo_error error = {0};
    assert_ok(vipo_sim_reset(sim, seed, observation, &error), &error);
}

static const char *recording(const char *kind, const char *task)
{
    char name[128];
    snprintf(name, sizeof name, "tests/golden/metaworld/%s_%s_0.safetensors", kind, task);
    return test_path(name);
}

/* ---- initial states ----------------------------------------------------------------------------- */

/* A state beside a recorded one. Names: prefix + the state's own; row: of tensors with a row per seed, -1: whole. */
typedef struct comparison {
    const vipo_safetensors *file;
    const char *prefix;
    int row, compared;
    bool engine; /* also what depends on MuJoCo's version */
} comparison;

/* Numbers that follow from the drawn ones alone. */
static bool is_exact(const char *name)
{
    return strcmp(name, "rand_vec") == 0 || strcmp(name, "hand_init_pos") == 0 ||
           strncmp(name, "body_pos/", 9) == 0;
}

static void compare_part(void *user, const char *name, int rank, const size_t *shape, const double *values)
{
    comparison *c = user;
    char full[128];
    snprintf(full, sizeof full, "%s/%s", c->prefix, name);
    const vipo_tensor_view *view = vipo_safetensors_find(c->file, full);
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    if (!view) { /* of seeds, not everything was kept */
        if (c->row < 0) fail_msg("%s: not recorded", full);
        return;
    }
    if (!is_exact(name) && !c->engine) return;
    const size_t first = c->row < 0 ? 0 : (size_t)c->row * n;
    if (c->row >= 0 && (size_t)c->row >= view->shape[0]) return;
    if (c->row < 0) assert_int_equal(view->count, n);
    for (size_t i = 0; i < n; i++) {
        double recorded;
        memcpy(&recorded, (const char *)view->data + (first + i) * sizeof recorded, sizeof recorded);
        if (!(fabs(values[i] - recorded) <= (is_exact(name) ? 1e-15 : 1e-9)))
            fail_msg("%s, row %d, element %zu: %.17g, recorded %.17g", full, c->row, i, values[i], recorded);
    }
    c->compared++;
}

static bool same_engine(void)
{
    return strcmp(vipo_sim_mujoco_version(), recorded_on) == 0;
}

static void test_initial_farama(void **state)
{
    (void)state;
    vipo_error error = {0};
    for (int i = 0; vipo_sim_task_name(i); i++) {
        vipo_sim *sim = open_sim(vipo_sim_task_name(i), VIPO_SIM_FARAMA_V3);
        double observation[VIPO_SIM_OBSERVATION];
        vipo_safetensors *file;
        assert_ok(vipo_safetensors_open(&file, recording("expert", vipo_sim_task_name(i)), &error), &error);
        reset(sim, 0, observation);
        comparison c = {.file = file, .prefix = "init", .row = -1, .engine = same_engine()};
        assert_ok(vipo_sim_get_state(sim, compare_part, &c, &error), &error);
        if (same_engine()) { /* all of init/ was compared */
            int recorded = 0;
            for (int k = 0; k < vipo_safetensors_count(file); k++)
                recorded += strncmp(vipo_safetensors_at(file, k)->name, "init/", 5) == 0;
            assert_int_equal(c.compared, recorded);
        }
        vipo_safetensors_close(&file);
        vipo_sim_close(&sim);
    }
}

static void test_initial_avdc(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_safetensors *file = golden_open("tests/golden/metaworld/avdc-v2.safetensors");
    for (int i = 0; vipo_sim_task_name(i); i++) {
        vipo_sim *sim = open_sim(vipo_sim_task_name(i), VIPO_SIM_AVDC_V2);
        for (int seed = 0; seed < 25; seed++) {
            double observation[VIPO_SIM_OBSERVATION];
            comparison c = {
                .file = file, .prefix = vipo_sim_task_name(i), .row = seed, .engine = same_engine()};
            if (seed < 5) {
                reset(sim, (uint64_t)seed, observation);
                assert_ok(vipo_sim_get_state(sim, compare_part, &c, &error), &error);
            } else { /* what needs no physics */
                const size_t size = (size_t)sim->rules->vector.size, three = 3;
                vipo_sim_draw(sim, (uint32_t)seed);
                compare_part(&c, "rand_vec", 1, &size, sim->vector);
                compare_part(&c, "hand_init_pos", 1, &three, sim->hand_start);
            }
            assert_true(c.compared >= 2);
        }
        vipo_sim_close(&sim);
    }
    vipo_safetensors_close(&file);
}

/* ---- the same again ----------------------------------------------------------------------------- */

/* All bytes of a state, one after the other. */
typedef struct state_bytes {
    double values[512];
    size_t n;
} state_bytes;

static void append_part(void *user, const char *name, int rank, const size_t *shape, const double *values)
{
    state_bytes *bytes = user;
    size_t n = 1;
    (void)name;
    for (int i = 0; i < rank; i++) n *= shape[i];
    assert_true(bytes->n + n <= sizeof bytes->values / sizeof bytes->values[0]);
    memcpy(bytes->values + bytes->n, values, n * sizeof *values);
    bytes->n += n;
}

static state_bytes state_of(const vipo_sim *sim)
{
    vipo_error error = {0};
    state_bytes bytes = {.n = 0};
    assert_ok(vipo_sim_get_state(sim, append_part, &bytes, &error), &error);
    return bytes;
}

static void assert_state(const vipo_sim *sim, const state_bytes *expected)
{
    const state_bytes found = state_of(sim);
    assert_int_equal(found.n, expected->n);
    assert_memory_equal(found.values, expected->values, found.n * sizeof found.values[0]);
}

static void step(vipo_sim *sim, int t, vipo_sim_step_result *out)
{
    vipo_error error = {0};
    double action[VIPO_SIM_ACTION];
    for (int i = 0; i < VIPO_SIM_ACTION; i++) action[i] = test_uniform(7, (uint64_t)(4 * t + i));
    assert_ok(vipo_sim_step(sim, action, out, &error), &error);
}

/* A reset depends on its seed alone: after other episodes it gives what it gave in the new environment, bit for bit, and so do the
 * steps that follow. */
static void test_reset_forgets(void **state)
{
    (void)state;
    enum { STEPS = 5 };
    for (int profile = 0; profile < VIPO_TASK_PROFILES; profile++)
        for (int i = 0; vipo_sim_task_name(i); i++) {
            vipo_sim *sim = open_sim(vipo_sim_task_name(i), (vipo_sim_profile)profile);
            double first[VIPO_SIM_OBSERVATION], again[VIPO_SIM_OBSERVATION], other[VIPO_SIM_OBSERVATION];
            vipo_sim_step_result steps[STEPS], out;
            reset(sim, 4, first);
            const state_bytes fresh = state_of(sim);
            for (int t = 0; t < STEPS; t++) step(sim, t, &steps[t]);
            const state_bytes fresh_after = state_of(sim);

            reset(sim, 11, other);
            assert_true(memcmp(first, other, sizeof first) != 0);
            for (int t = 0; t < 15; t++) step(sim, 100 + t, &out);

            reset(sim, 4, again);
            assert_memory_equal(again, first, sizeof first);
            assert_state(sim, &fresh);
            for (int t = 0; t < STEPS; t++) {
                step(sim, t, &out);
                assert_memory_equal(out.observation, steps[t].observation, sizeof out.observation);
                assert_true(out.reward == steps[t].reward);
            }
            assert_state(sim, &fresh_after);
            vipo_sim_close(&sim);
        }
}

/* ---- rules of steps ----------------------------------------------------------------------------- */

static void test_step_rules(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_sim *sim = open_sim("handle-press", VIPO_SIM_FARAMA_V3);
    vipo_sim_step_result out;
    double observation[VIPO_SIM_OBSERVATION], action[VIPO_SIM_ACTION] = {0};
    assert_int_equal(vipo_sim_step(sim, action, &out, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "handle-press: no episode was begun: reset first");
    assert_int_equal(vipo_sim_get_state(sim, append_part, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_sim_reset(sim, 1ULL << 32, observation, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "seed 4294967296: NumPy's legacy generator takes 0..4294967295");

    reset(sim, 2, observation);
    const state_bytes before = state_of(sim);
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < VIPO_SIM_ACTION; i++)
        for (size_t k = 0; k < 3; k++) {
            double broken[VIPO_SIM_ACTION] = {0.5, 0.5, 0.5, 0.5};
            broken[i] = bad[k];
            assert_int_equal(vipo_sim_step(sim, broken, &out, &error), VIPO_NUMERIC);
            assert_non_null(strstr(error.message, "expected a finite number"));
            const state_bytes after = state_of(sim);
            assert_memory_equal(before.values, after.values, before.n * sizeof before.values[0]);
        }
    for (int t = 0; t < VIPO_SIM_MAX_STEPS; t++) assert_ok(vipo_sim_step(sim, action, &out, &error), &error);
    assert_int_equal(vipo_sim_step(sim, action, &out, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "handle-press: an episode has at most 500 steps: reset first");
    reset(sim, 2, observation);
    assert_ok(vipo_sim_step(sim, action, &out, &error), &error);
    vipo_sim_close(&sim);
}

/* What lies outside -1..1 counts as its bound; the largest numbers do no harm. */
static void test_actions_are_clipped(void **state)
{
    (void)state;
    vipo_error error = {0};
    static const double inside[VIPO_SIM_ACTION] = {1, -1, 1, 1},
                        outside[][VIPO_SIM_ACTION] = {{1.5, -30, 7, 1}, {DBL_MAX, -DBL_MAX, 1e30, DBL_MAX}};
    for (int profile = 0; profile < VIPO_TASK_PROFILES; profile++) {
        vipo_sim *sim = open_sim("hammer", (vipo_sim_profile)profile);
        vipo_sim_step_result a, b;
        double observation[VIPO_SIM_OBSERVATION];
        reset(sim, 0, observation);
        for (int t = 0; t < 3; t++) assert_ok(vipo_sim_step(sim, inside, &a, &error), &error);
        for (size_t k = 0; k < 2; k++) {
            reset(sim, 0, observation);
            for (int t = 0; t < 3; t++) assert_ok(vipo_sim_step(sim, outside[k], &b, &error), &error);
            assert_memory_equal(a.observation, b.observation, sizeof a.observation);
            assert_true(a.reward == b.reward && isfinite(a.reward));
        }
        vipo_sim_close(&sim);
    }
}

static void test_instability(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_sim *sim = open_sim("door-open", VIPO_SIM_FARAMA_V3);
    double observation[VIPO_SIM_OBSERVATION], again[VIPO_SIM_OBSERVATION], action[VIPO_SIM_ACTION] = {0};
    vipo_sim_step_result stable, out;
    reset(sim, 0, observation);
    assert_ok(vipo_sim_step(sim, action, &stable, &error), &error);
    assert_true(stable.reward > 0);
    sim->scene->data->qvel[0] = 1e12;
    for (int t = 0; t < 2; t++) {
        assert_ok(vipo_sim_step(sim, action, &out, &error), &error);
        assert_memory_equal(out.observation, stable.observation, sizeof out.observation);
        assert_true(out.reward == 0 && !out.success);
    }
    reset(sim, 0, again);
    assert_memory_equal(observation, again, sizeof again);
    assert_ok(vipo_sim_step(sim, action, &out, &error), &error);
    assert_true(out.reward == stable.reward);
    vipo_sim_close(&sim);
}

/* ---- opening and masks -------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_sim *sim = (vipo_sim *)&error;
    assert_int_equal(vipo_sim_open(&sim, "window-open", NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_null(sim);
    assert_string_equal(
        error.message,
        "unknown task \"window-open\", expected one of door-open, door-close, basketball, shelf-place, "
        "button-press, button-press-topdown, faucet-close, faucet-open, handle-press, hammer, assembly");
    vipo_sim_options options;
    vipo_sim_default_options(&options);
    options.assets = "/nonexistent/models";
    assert_int_equal(vipo_sim_open(&sim, "door-open", &options, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "/nonexistent/models/sawyer_xyz/sawyer_door_pull.xml"));
    options.assets = NULL;
    options.profile = (vipo_sim_profile)7;
    assert_int_equal(vipo_sim_open(&sim, "door-open", &options, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "unknown profile 7, expected farama-v3 or avdc-v2");

    int n = 0;
    while (vipo_sim_task_name(n)) n++;
    assert_int_equal(n, VIPO_TASKS);
    assert_null(vipo_sim_task_name(-1));
    assert_null(vipo_sim_task_text(VIPO_TASKS));
    assert_string_equal(vipo_sim_task_text(5), "button press topdown");
    assert_string_equal(vipo_sim_profile_name(0), "farama-v3");
    assert_string_equal(vipo_sim_profile_name(1), "avdc-v2");
    assert_null(vipo_sim_profile_name(2));
}

static void test_other_models(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_sim *sim;
    vipo_sim_options options;
    vipo_sim_default_options(&options);
    char folder[512], command[1200];
    snprintf(folder, sizeof folder, "%s", test_temporary("models"));
    snprintf(command, sizeof command, "mkdir -p '%s/sawyer_xyz'", folder);
    assert_int_equal(system(command), 0);
    options.assets = folder;
    const char pole[] =
        "<mujoco><worldbody><body name='pole'><joint/><geom size='1'/></body></worldbody></mujoco>";
    test_file_write(test_temporary("models/sawyer_xyz/sawyer_hammer.xml"), pole, sizeof pole - 1);
    test_file_write(test_temporary("models/sawyer_xyz/sawyer_basketball.xml"), pole, sizeof pole - 1);
    assert_int_equal(vipo_sim_open(&sim, "hammer", &options, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "sawyer_hammer.xml: the model has no body called 'hand'"));
    options.profile = VIPO_SIM_AVDC_V2;
    assert_int_equal(vipo_sim_open(&sim, "basketball", &options, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "not Meta-World's model"));
    assert_null(sim);
}

/* AVDC's numbers of geoms (its name2maskid.json), in its own order of bodies. */
static void test_masks(void **state)
{
    (void)state;
    vipo_error error = {0};
    static const struct {
        const char *task;
        int geoms[2];
    } expected[] = {
        {"door-open", {43, -1}},    {"door-close", {42, 43}},   {"basketball", {9, -1}},
        {"shelf-place", {36, -1}},  {"button-press", {43, 44}}, {"button-press-topdown", {43, 44}},
        {"faucet-close", {39, 41}}, {"faucet-open", {39, 41}},  {"handle-press", {42, 43}},
        {"hammer", {36, -1}},       {"assembly", {37, 38}}};
    enum { PIXELS = 120 };
    int32_t type[PIXELS], id[PIXELS];
    uint8_t mask[PIXELS];
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        vipo_sim *sim = open_sim(expected[i].task, VIPO_SIM_AVDC_V2);
        vipo_sim_picture picture = {.height = 2, .width = PIXELS / 2, .type = type, .id = id};
        for (int k = 0; k < PIXELS; k++) { /* geoms 0..59, then sites 0..59 */
            type[k] = k < PIXELS / 2 ? 5 : 6;
            id[k] = k % (PIXELS / 2);
        }
        assert_ok(vipo_sim_object_mask(sim, &picture, mask, &error), &error);
        for (int k = 0; k < PIXELS; k++)
            assert_int_equal(mask[k],
                             k < PIXELS / 2 && (k == expected[i].geoms[0] || k == expected[i].geoms[1]) ? 255
                                                                                                        : 0);
        picture.id = NULL;
        assert_int_equal(vipo_sim_object_mask(sim, &picture, mask, &error), VIPO_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "VIPO_SIM_SEGMENTATION"));
        vipo_sim_close(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_other_models),
        cmocka_unit_test(test_masks),        cmocka_unit_test(test_initial_farama),
        cmocka_unit_test(test_initial_avdc), cmocka_unit_test(test_reset_forgets),
        cmocka_unit_test(test_step_rules),   cmocka_unit_test(test_actions_are_clipped),
        cmocka_unit_test(test_instability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
