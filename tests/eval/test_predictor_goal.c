/* Policies from pictures in an evaluation: what they are asked, when, and what comes out, beside direct calls of the policy
 * with the goals and pictures that the rules say. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/predictor.h"
#include "media/resize.h"
#include "support/policy_folder.h"
#include "support/support.h"
#include "vipo/action.h"

enum { HEIGHT = 60, WIDTH = 80, CROP = 40, SIDE = 20, FRAMES = 3, EXECUTED = 3, CALLS = 2 };
enum { FRAME_SIZE = CROP * CROP * 3 };

static const char gcp[] =
    "{\"format\": \"vipo-policy\", \"version\": 1, \"kind\": \"gcp\", \"image\": {\"height\": 20, \"width\": "
    "20},\n"
    " \"encoder\": {\"widths\": [4, 8], \"channels_per_group\": 2, \"keypoints\": 3, \"feature_size\": 5},\n"
    " \"vector\": [{\"name\": \"hand\", \"size\": 4}],\n"
    " \"action\": {\"dim\": 4, \"horizon\": 8, \"executed\": 3},\n"
    " \"unet\": {\"widths\": [8, 16], \"kernel\": 3, \"groups\": 4, \"step_embedding\": 8},\n"
    " \"diffusion\": {\"timesteps\": 20}, \"sampler\": {\"name\": \"ddim\", \"steps\": 5}}\n";
static const char bc[] =
    "{\"format\": \"vipo-policy\", \"kind\": \"bc\", \"image\": {\"height\": 20, \"width\": 20},\n"
    " \"encoder\": {\"widths\": [4, 8], \"channels_per_group\": 2, \"keypoints\": 3, \"feature_size\": 5},\n"
    " \"vector\": [{\"name\": \"task\", \"size\": 2, \"tasks\": [\"door-open\", \"faucet-close\"]},\n"
    "  {\"name\": \"hand\", \"size\": 4}],\n"
    " \"action\": {\"dim\": 4, \"horizon\": 6, \"executed\": 3}, \"head\": {\"widths\": [12]}}\n";

static const vipo_predictor_place place = {
    .task = "faucet-close", .height = HEIGHT, .width = WIDTH, .crop = {10, 20, CROP, CROP}, .threads = 1};

/* A byte of picture `number`. */
static uint8_t byte_of(int number, int i)
{
    return (uint8_t)((unsigned)(i * 37 + number * 101 + i / 7 * 11) % 256);
}

static vipo_status try_load(void **model, const vipo_predictor *p, const char *folder, const char *settings,
                            vipo_error *error)
{
    vipo_setting_list list;
    assert_ok(vipo_setting_list_parse(&list, "--predictor-settings", settings, error), error);
    const vipo_predictor_options options = {
        .file = folder, .settings = &list, .threads = 1, .patience = 15, .max_plans = 2};
    VIPO_TRY(p->load(model, &options, error));
    return vipo_setting_list_finish(&list, error);
}

/* The policy's answer to 8-bit pictures of SIDE x SIDE, given as they come out of media/resize.h. */
static void expect(vipo_goal_policy *policy, const vipo_image *obs, const vipo_image *goal,
                   const float *vector, size_t vector_dim, uint64_t key, int asked, float out[EXECUTED * 4])
{
    float pixels[2][SIDE * SIDE * 3], numbers[8];
    memcpy(numbers, vector, vector_dim * sizeof *numbers);
    vipo_array arrays[3] = {{pixels[0], 4, {1, SIDE, SIDE, 3}},
                            {pixels[1], 4, {1, SIDE, SIDE, 3}},
                            {numbers, 2, {1, vector_dim}}};
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        pixels[0][i] = (float)obs->data[i] / 255;
        if (goal) pixels[1][i] = (float)goal->data[i] / 255;
    }
    vipo_goal_request request;
    vipo_goal_actions actions;
    vipo_error error;
    vipo_goal_request_default(&request);
    request.obs = &arrays[0];
    if (goal) request.goal = &arrays[1];
    request.vector = &arrays[2];
    request.seed = key;
    request.plan = (uint32_t)asked;
    assert_ok(vipo_goal_policy_act(policy, &request, &actions, &error), &error);
    memcpy(out, actions.actions.data, EXECUTED * 4 * sizeof *out);
    vipo_goal_actions_free(&actions);
}

/* The crop of picture `number`, halved. */
static void seen(int number, uint8_t *picture, vipo_image *out)
{
    vipo_error error;
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) picture[i] = byte_of(number, i);
    static uint8_t crop[FRAME_SIZE];
    for (int y = 0; y < CROP; y++)
        memcpy(crop + y * CROP * 3, picture + ((10 + y) * WIDTH + 20) * 3, CROP * 3);
    const vipo_image image = {crop, CROP, CROP};
    assert_ok(vipo_box_mean(&image, 2, out, &error), &error);
}

static void goals_in_turn(void **state)
{
    (void)state;
    const vipo_predictor *p = &vipo_predictor_goal;
    const char *folder = test_policy_folder("goal_predictor", gcp, VIPO_DTYPE_F32);
    vipo_error error;
    void *model = NULL, *session = NULL;
    vipo_goal_policy *policy = NULL;
    assert_ok(try_load(&model, p, folder, "calls=2", &error), &error);
    assert_ok(p->open(&session, model, &place, &error), &error);
    assert_ok(vipo_goal_policy_open(&policy, folder, NULL, NULL, &error), &error);
    double observation[VIPO_SIM_OBSERVATION] = {.1, .6, .2, .5};
    const vipo_predictor_episode episode = {.camera = "corner", .key = 77, .observation = observation};
    assert_ok(p->reset(session, &episode, &error), &error);

    static uint8_t picture[HEIGHT * WIDTH * 3], bytes[FRAME_SIZE];
    static float frames[(1 + FRAMES) * FRAME_SIZE];
    vipo_image goals[FRAMES];
    for (int k = 0; k <= FRAMES; k++)
        for (int i = 0; i < FRAME_SIZE; i++) frames[k * FRAME_SIZE + i] = (float)byte_of(50 + k, i) / 255;
    for (int k = 0; k < FRAMES; k++) {
        for (int i = 0; i < FRAME_SIZE; i++) bytes[i] = byte_of(51 + k, i);
        const vipo_image image = {bytes, CROP, CROP};
        assert_ok(vipo_box_mean(&image, 2, &goals[k], &error), &error);
    }
    const vipo_view view = {.height = HEIGHT, .width = WIDTH, .rgb = picture};
    vipo_imagined imagined = {.n = FRAMES,
                              .frame_height = CROP,
                              .frame_width = CROP,
                              .frames = frames,
                              .crop = place.crop,
                              .view = &view};
    int plans = 0, asked = 0;
    float wanted[EXECUTED * 4];
    /* Two plans, then the last goal stays. */
    const int whole = FRAMES * CALLS * EXECUTED;
    for (int step = 0; step < 2 * whole + 2 * CALLS * EXECUTED; step++) {
        observation[0] += .001;
        const vipo_moment moment = {.step = step, .observation = observation, .picture = picture};
        const bool wants = p->wants_plan(session, &moment, plans);
        assert_int_equal(wants, step == 0 || step == whole);
        if (wants) {
            assert_int_equal(p->executed(session), plans ? FRAMES : 0);
            assert_ok(p->plan(session, &imagined, &error), &error);
            plans++;
        }
        const bool ask = step % EXECUTED == 0;
        assert_int_equal(p->wants_picture(session, step), ask);
        if (ask) {
            vipo_image obs;
            seen(step, picture, &obs);
            const int turn = step % whole / (CALLS * EXECUTED);
            const int goal = step < 2 * whole ? turn : FRAMES - 1;
            float hand[4];
            for (int i = 0; i < 4; i++) hand[i] = (float)observation[i];
            expect(policy, &obs, &goals[goal], hand, 4, 77, asked++, wanted);
            vipo_image_free(&obs);
        }
        double action[VIPO_SIM_ACTION];
        assert_ok(p->act(session, &moment, action, &error), &error);
        for (int i = 0; i < 4; i++)
            if ((float)action[i] != wanted[step % EXECUTED * 4 + i])
                fail_msg("step %d: action %d is %g, expected %g", step, i, action[i],
                         (double)wanted[step % EXECUTED * 4 + i]);
    }
    frames[FRAME_SIZE + 4] = INFINITY;
    assert_int_equal(p->plan(session, &imagined, &error), VIPO_NUMERIC);
    for (int k = 0; k < FRAMES; k++) vipo_image_free(&goals[k]);
    vipo_goal_policy_close(&policy);
    p->close(&session);
    p->unload(&model);
}

static void cloning_knows_the_task(void **state)
{
    (void)state;
    const vipo_predictor *p = &vipo_predictor_bc;
    const char *folder = test_policy_folder("bc_predictor", bc, VIPO_DTYPE_F16);
    vipo_error error;
    void *model = NULL, *session = NULL;
    vipo_goal_policy *policy = NULL;
    assert_ok(try_load(&model, p, folder, "", &error), &error);
    assert_ok(p->open(&session, model, &place, &error), &error);
    assert_ok(vipo_goal_policy_open(&policy, folder, NULL, NULL, &error), &error);
    const double observation[VIPO_SIM_OBSERVATION] = {.1, .6, .2, .5};
    const vipo_predictor_episode episode = {.camera = "corner", .key = 5, .observation = observation};
    assert_ok(p->reset(session, &episode, &error), &error);
    static uint8_t picture[HEIGHT * WIDTH * 3];
    vipo_image obs;
    seen(3, picture, &obs);
    const float vector[] = {0, 1, .1F, .6F, .2F, .5F};
    float wanted[EXECUTED * 4];
    expect(policy, &obs, NULL, vector, 6, 5, 0, wanted);
    for (int step = 0; step < EXECUTED; step++) {
        const vipo_moment moment = {.step = step, .observation = observation, .picture = picture};
        double action[VIPO_SIM_ACTION];
        assert_ok(p->act(session, &moment, action, &error), &error);
        for (int i = 0; i < 4; i++) assert_true((float)action[i] == wanted[step * 4 + i]);
    }
    vipo_image_free(&obs);
    p->close(&session);
    /* A task that it was not trained for. */
    vipo_predictor_place elsewhere = place;
    elsewhere.task = "hammer";
    assert_int_equal(p->open(&session, model, &elsewhere, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "hammer"));
    assert_null(session);
    p->unload(&model);
    vipo_goal_policy_close(&policy);
}

static void refused(void **state)
{
    (void)state;
    vipo_error error;
    void *model = NULL;
    const char *goal_folder = test_policy_folder("goal_predictor", gcp, VIPO_DTYPE_F32);
    const char *bc_folder = test_policy_folder("bc_predictor", bc, VIPO_DTYPE_F16);
    const char *narrow = test_policy_folder("narrow_predictor", test_policy_gcp, VIPO_DTYPE_F32);
    const char *other = test_policy_folder("other_predictor", test_policy_bc, VIPO_DTYPE_F32);
    assert_int_equal(try_load(&model, &vipo_predictor_goal, bc_folder, "", &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "--policy bc"));
    assert_int_equal(try_load(&model, &vipo_predictor_bc, goal_folder, "", &error), VIPO_MISMATCH);
    assert_int_equal(try_load(&model, &vipo_predictor_goal, narrow, "", &error), VIPO_MISMATCH);
    assert_int_equal(try_load(&model, &vipo_predictor_bc, other, "", &error), VIPO_UNSUPPORTED);
    assert_int_equal(try_load(&model, &vipo_predictor_goal, goal_folder, "executed=9", &error),
                     VIPO_INVALID_ARGUMENT);
    assert_int_equal(try_load(&model, &vipo_predictor_goal, goal_folder, "sampler=magic", &error),
                     VIPO_INVALID_ARGUMENT);
    assert_null(model);
    assert_true(try_load(&model, &vipo_predictor_goal, "/nonexistent", "", &error) != VIPO_OK);
    assert_null(model);
}

static void settings(void **state)
{
    (void)state;
    vipo_error error;
    void *model = NULL;
    const vipo_predictor *p = &vipo_predictor_goal;
    const char *folder = test_policy_folder("goal_predictor", gcp, VIPO_DTYPE_F32);
    assert_ok(try_load(&model, p, folder, "sampler=ddpm,steps=4,executed=5,calls=3", &error), &error);
    json_t *object = json_object();
    assert_ok(p->describe(model, object, &error), &error);
    assert_string_equal(json_string_value(json_object_get(object, "policy_sampler")), "ddpm");
    assert_int_equal(json_integer_value(json_object_get(object, "policy_steps")), 4);
    assert_int_equal(json_integer_value(json_object_get(object, "executed")), 5);
    assert_int_equal(json_integer_value(json_object_get(object, "calls")), 3);
    assert_int_equal(strlen(json_string_value(json_object_get(object, "policy_model"))), 16);
    json_decref(object);
    p->unload(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goals_in_turn),
        cmocka_unit_test(cloning_knows_the_task),
        cmocka_unit_test(refused),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
