/* Action policies by the public interface: folders, calls, what is refused. Their numbers: tests/parity. */
#include "support/policy_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/tiny_session.h"
#include "vipo/action.h"

enum { HEIGHT = 20, WIDTH = 24, HORIZON = 8, DIM = 2 };

static vipo_goal_policy *open_policy(const char *folder, const char *compute, int threads)
{
    vipo_error error = {0};
    vipo_goal_policy *policy;
    const vipo_goal_policy_options options = {compute, threads};
    assert_ok(vipo_goal_policy_open(&policy, folder, &options, NULL, &error), &error);
    return policy;
}

static vipo_array pictures(size_t n, uint64_t seed)
{
    return made_up_array(4, SHAPE(n, HEIGHT, WIDTH, 3), seed, 0.5F, 0.5F);
}

static vipo_goal_actions act(vipo_goal_policy *policy, const vipo_goal_request *request)
{
    vipo_error error = {0};
    vipo_goal_actions out;
    assert_ok(vipo_goal_policy_act(policy, request, &out, &error), &error);
    return out;
}

static void assert_same(const vipo_array *a, size_t from, const vipo_array *b, size_t n)
{
    assert_memory_equal(a->data + from, b->data, n * sizeof *a->data);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static void test_actions(void **state)
{
    (void)state;
    const char *folder = test_policy_folder("gcp", test_policy_gcp, VIPO_DTYPE_F32);
    vipo_goal_policy *policy = open_policy(folder, NULL, 2);
    vipo_array obs = pictures(3, 1), goal = pictures(1, 2);
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    request.samples = 3;
    request.obs = &obs;
    request.goal = &goal;
    request.seed = 7;
    vipo_goal_actions all = act(policy, &request);
    assert_int_equal(all.actions.rank, 3);
    assert_int_equal(vipo_array_size(&all.actions), 3 * HORIZON * DIM);
    assert_string_equal(all.sampler, "ddim-5");
    assert_int_equal(all.calls, 5);
    assert_false(all.goal_reused);
    for (size_t i = 0; i < vipo_array_size(&all.actions); i++) {
        const float x = all.actions.data[i];
        assert_true(i % 2 ? x >= 0 && x <= 10 : x >= -1 && x <= 1);
    }

    /* again: the goal's features are kept, bits are the same; with another plan's noise they are not */
    vipo_goal_actions again = act(policy, &request);
    assert_true(again.goal_reused);
    assert_same(&again.actions, 0, &all.actions, 3 * HORIZON * DIM);
    vipo_goal_actions_free(&again);
    request.plan = 1;
    again = act(policy, &request);
    assert_true(test_max_abs(again.actions.data, all.actions.data, 3 * HORIZON * DIM) > 0.01);
    vipo_goal_actions_free(&again);
    request.plan = 0;

    /* the first sample by itself, by one thread, after calls of other sizes */
    vipo_goal_policy *other = open_policy(folder, NULL, 1);
    vipo_array first = {obs.data, 3, {HEIGHT, WIDTH, 3}};
    request.obs = &first;
    request.samples = 1;
    for (int i = 0; i < 2; i++) {
        vipo_goal_actions one = act(i ? policy : other, &request);
        assert_same(&all.actions, 0, &one.actions, HORIZON * DIM);
        vipo_goal_actions_free(&one);
    }

    /* another goal is encoded and matters */
    goal.data[100] += 0.5F;
    again = act(policy, &request);
    assert_false(again.goal_reused);
    assert_true(test_max_abs(again.actions.data, all.actions.data, HORIZON * DIM) > 0);
    vipo_goal_actions_free(&again);
    vipo_goal_actions_free(&all);
    vipo_goal_policy_close(&policy);
    vipo_goal_policy_close(&other);
    vipo_array_free(&obs);
    vipo_array_free(&goal);
}

/* All tables give the same actions but for rounding; ddpm takes given noise and its own. */
static void test_tables(void **state)
{
    (void)state;
    const char *folder = test_policy_folder("tables", test_policy_gcp, VIPO_DTYPE_F32);
    vipo_array obs = pictures(1, 3), goal = pictures(1, 4);
    vipo_array noise = made_up_array(3, SHAPE(1, HORIZON, DIM), 5, 0, 2);
    vipo_array step_noise = made_up_array(4, SHAPE(19, 1, HORIZON, DIM), 6, 0, 2);
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    request.obs = &obs;
    request.goal = &goal;
    request.sampler = "ddpm";
    float expected[HORIZON * DIM] = {0};
    for (int i = 0; i < 4; i++) {
        static const char *const tables[] = {"ref", "avx2", "avx512", "amx"};
        vipo_goal_policy *policy;
        const vipo_goal_policy_options options = {tables[i], 1};
        if (vipo_goal_policy_open(&policy, folder, &options, NULL, NULL) != VIPO_OK) continue;
        assert_string_equal(vipo_goal_policy_compute(policy), tables[i]);
        request.noise = &noise;
        request.step_noise = &step_noise;
        vipo_goal_actions given = act(policy, &request);
        assert_string_equal(given.sampler, "ddpm-20");
        if (i == 0)
            memcpy(expected, given.actions.data, sizeof expected);
        else
            assert_true(test_max_abs(given.actions.data, expected, HORIZON * DIM) < 1e-4);
        vipo_goal_actions_free(&given);
        request.noise = request.step_noise = NULL;
        vipo_goal_actions drawn = act(policy, &request);
        assert_true(test_max_abs(drawn.actions.data, expected, HORIZON * DIM) > 0.01);
        vipo_goal_actions_free(&drawn);
        vipo_goal_policy_close(&policy);
    }
    vipo_array_free(&obs);
    vipo_array_free(&goal);
    vipo_array_free(&noise);
    vipo_array_free(&step_noise);
}

static void test_cloning(void **state)
{
    (void)state;
    static const vipo_dtype dtypes[] = {VIPO_DTYPE_F32, VIPO_DTYPE_F16, VIPO_DTYPE_BF16};
    static const double bounds[] = {0, 5e-3, 4e-2};
    vipo_array obs = pictures(2, 3), vector = made_up_array(2, SHAPE(2, 5), 4, 0, 1);
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    request.obs = &obs;
    request.vector = &vector;
    request.samples = 2;
    float expected[2 * 6 * 4] = {0};
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "bc%d", i);
        vipo_goal_policy *policy = open_policy(test_policy_folder(name, test_policy_bc, dtypes[i]), NULL, 1);
        vipo_goal_policy_info info;
        vipo_goal_policy_get_info(policy, &info);
        assert_string_equal(info.dtype, vipo_dtype_name(dtypes[i]));
        vipo_goal_actions out = act(policy, &request);
        assert_int_equal(out.calls, 1);
        assert_string_equal(out.sampler, "");
        assert_int_equal(vipo_array_size(&out.actions), 2 * 6 * 4);
        if (i == 0) memcpy(expected, out.actions.data, sizeof expected);
        const double difference = test_max_abs(out.actions.data, expected, 2 * 6 * 4);
        assert_true(difference <= bounds[i] && (i == 0 || difference > 0));
        vipo_goal_actions_free(&out);
        vipo_goal_policy_close(&policy);
    }
    vipo_array_free(&obs);
    vipo_array_free(&vector);
}

static void test_info(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_goal_policy_info info;
    const char *folder = test_policy_folder("info", test_policy_bc, VIPO_DTYPE_BF16);
    assert_ok(vipo_goal_policy_read_info(folder, &info, &error), &error);
    assert_string_equal(info.kind, "bc");
    assert_true(info.obs && !info.goal);
    assert_int_equal(info.vector_dim, 5);
    assert_int_equal(info.n_parts, 2);
    assert_string_equal(info.parts[1].name, "task");
    assert_int_equal(info.parts[1].offset, 3);
    assert_true(info.parts[1].tasks && !info.parts[0].tasks);
    assert_int_equal(info.n_tasks, 2);
    assert_string_equal(info.tasks[1], "faucet-close");
    assert_int_equal(info.executed, 3);
    assert_string_equal(info.dtype, "BF16");
    assert_true(vipo_goal_policy_is(folder));
    assert_false(vipo_goal_policy_is(test_path("models/metaworld-64")));
    assert_false(vipo_goal_policy_is("/nowhere"));
    assert_ok(vipo_goal_policy_read_info(test_policy_folder("info2", test_policy_gcp, VIPO_DTYPE_F32), &info,
                                         &error),
              &error);
    assert_true(info.obs && info.goal);
    assert_string_equal(info.sampler, "ddim");
    assert_int_equal(info.steps, 5);
    assert_int_equal(info.timesteps, 20);
    assert_true(info.action_min[1] == 0 && info.action_max[1] == 10);
}

/* ---- configurations ---------------------------------------------------------------------------------------- */

/* A text with one part replaced. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("no %s in the configuration", from);
    char *out = calloc(strlen(text) + strlen(to) + 1, 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void test_bad_configurations(void **state)
{
    (void)state;
    static const struct {
        const char *config, *from, *to, *message;
    } cases[] = {
        {test_policy_gcp, "vipo-policy", "avdc-unet", "not the folder of an action policy"},
        {test_policy_gcp, "\"gcp\"", "\"vla\"", "kind is \"vla\"; known are gcp, bc"},
        {test_policy_gcp, "\"version\": 1", "\"version\": 2", "version: expected an integer in 1..1"},
        {test_policy_gcp, "\"height\": 20", "\"height\": 2", "image.height: expected an integer in 8..1024"},
        {test_policy_gcp, "[4, 8]", "[]", "encoder.widths is empty"},
        {test_policy_gcp, "[4, 8]", "[4, 7]", "7 channels do not split into groups of 2"},
        {test_policy_gcp, "[1, 2]", "[1]", "encoder.blocks has 1 stages, widths has 2"},
        {test_policy_gcp, "\"keypoints\": 3,", "", "encoder.keypoints: missing"},
        {test_policy_gcp, "\"keypoints\": 3", "\"keypoints\": 3, \"stem_kernel\": 4",
         "expected 1, 3, 5 or 7"},
        {test_policy_gcp, "\"executed\": 4", "\"executed\": 9",
         "action.executed: expected an integer in 1..8"},
        {test_policy_gcp, "\"horizon\": 8", "\"horizon\": 7", "expected a multiple of 2"},
        {test_policy_gcp, "\"max\": [1, 10]", "\"max\": [1, 0]", "max[1] 0 is not above min[1] 0"},
        {test_policy_gcp, "\"max\": [1, 10]", "\"max\": [1]", "action.max has 1 numbers, expected 2"},
        {test_policy_gcp, ", \"max\": [1, 10]", "", "only one of min and max"},
        {test_policy_gcp, "\"kernel\": 3", "\"kernel\": 4", "unet.kernel is 4, expected an odd number"},
        {test_policy_gcp, "\"groups\": 4", "\"groups\": 5", "8 channels do not split into 5 groups"},
        {test_policy_gcp, "\"step_embedding\": 8", "\"step_embedding\": 9", "expected an even number"},
        {test_policy_gcp, "\"timesteps\": 20", "\"timesteps\": 0",
         "diffusion.timesteps: expected an integer in 1..4096"},
        {test_policy_gcp, "\"timesteps\": 20", "\"timesteps\": 20, \"prediction_type\": \"x\"",
         "diffusion.prediction_type is \"x\"; known are epsilon, sample, v_prediction"},
        {test_policy_gcp, "\"timesteps\": 20", "\"timesteps\": 20, \"beta_schedule\": \"linear\"",
         "diffusion.beta_schedule is \"linear\"; known are squaredcos_cap_v2"},
        {test_policy_gcp, "\"ddim\"", "\"euler\"", "sampler.name is \"euler\"; known are ddim, ddpm"},
        {test_policy_gcp, "\"steps\": 5", "\"steps\": 21", "sampler.steps: expected an integer in 1..20"},
        {test_policy_gcp, "\"name\": \"small\"", "\"condition\": [\"goal\", \"goal\"]",
         "one or both of \"goal\" and"},
        {test_policy_gcp, "\"name\": \"small\"", "\"condition\": [\"depth\"]",
         "one or both of \"goal\" and \"obs\""},
        {test_policy_bc, "\"head\"", "\"heads\"", "head: missing"},
        {test_policy_bc, "\"size\": 3", "\"size\": 2", "vector[0].min has 3 numbers, expected 2"},
        {test_policy_bc, ", \"faucet-close\"", "", "vector[1].tasks: expected 2 names"},
        {test_policy_bc, "\"faucet-close\"", "\"\"", "vector[1].tasks[1]: expected a name"},
        {test_policy_bc, "\"size\": 3", "\"size\": 513", "vector[0].size: expected an integer in 1..512"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vipo_error error = {0};
        vipo_policy_config config;
        char *text = replaced(cases[i].config, cases[i].from, cases[i].to);
        json_t *root = json_loads(text, 0, NULL);
        assert_non_null(root);
        const vipo_status status = vipo_policy_config_parse(&config, root, "config.json", &error);
        if (status == VIPO_OK || !strstr(error.message, cases[i].message))
            fail_msg("%s -> %s: \"%s\", expected \"%s\"", cases[i].from, cases[i].to, error.message,
                     cases[i].message);
        assert_int_equal(config.horizon, 0);
        json_decref(root);
        free(text);
    }
}

/* What is written is read back as the same. */
static void test_config_round_trip(void **state)
{
    (void)state;
    const char *const texts[] = {test_policy_gcp, test_policy_bc};
    for (int i = 0; i < 2; i++) {
        vipo_error error = {0};
        const vipo_policy_config config = test_policy_config(texts[i]);
        vipo_policy_config again;
        json_t *root = vipo_policy_config_json(&config);
        assert_non_null(root);
        assert_ok(vipo_policy_config_parse(&again, root, "again", &error), &error);
        assert_memory_equal(&again, &config, sizeof config);
        json_decref(root);
    }
}

/* ---- folders and requests that are refused ------------------------------------------------------------------ */

static void assert_refused(const char *folder, vipo_status status, const char *message)
{
    vipo_error error = {0};
    vipo_goal_policy *policy = (void *)&error;
    assert_int_equal(vipo_goal_policy_open(&policy, folder, NULL, NULL, &error), status);
    assert_null(policy);
    if (!strstr(error.message, message)) fail_msg("\"%s\", expected \"%s\"", error.message, message);
}

static void test_bad_folders(void **state)
{
    (void)state;
    assert_refused("/nowhere", VIPO_IO, "/nowhere/config.json");
    const char *folder = test_policy_folder("broken", test_policy_gcp, VIPO_DTYPE_F32);
    const char *weights = test_in_folder(folder, "policy.safetensors");
    test_tensors tensors = {0};
    test_tensors_read(&tensors, weights);
    static const char last[] = "model.final_conv.1.weight";
    test_tensor *tensor = test_tensors_find(&tensors, last);
    float *numbers = (void *)tensor->data;
    const float kept = numbers[3];
    numbers[3] = NAN;
    test_tensors_write(&tensors, test_in_folder(folder, "policy.safetensors"));
    assert_refused(folder, VIPO_NUMERIC, "model.final_conv.1.weight: element 3 is NaN");
    numbers[3] = kept;
    strcpy(tensor->name, "model.final_conv.2.weight");
    test_tensors_write(&tensors, test_in_folder(folder, "policy.safetensors"));
    assert_refused(folder, VIPO_MISMATCH, "model.final_conv.1.weight is missing, expected shape [2, 8, 1]");
    strcpy(tensor->name, last);
    test_tensors_add(&tensors, "model.more", "F32", 1, SHAPE(2), NULL, 8);
    test_tensors_write(&tensors, test_in_folder(folder, "policy.safetensors"));
    assert_refused(folder, VIPO_MISMATCH, "1 tensors are not part of the policy");
    test_tensors_free(&tensors);
    remove(test_in_folder(folder, "policy.safetensors"));
    assert_refused(folder, VIPO_IO, "policy.safetensors");
    const vipo_goal_policy_options options = {"sse9", 1};
    vipo_goal_policy *policy;
    vipo_error error = {0};
    assert_int_equal(vipo_goal_policy_open(&policy, folder, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
}

/* Encoders under their second name, constants, no temperature: all as good. */
static void test_second_names(void **state)
{
    (void)state;
    const char *folder = test_policy_folder("second", test_policy_gcp, VIPO_DTYPE_F32);
    vipo_array obs = pictures(1, 3), goal = pictures(1, 4);
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    request.obs = &obs;
    request.goal = &goal;
    test_tensors tensors = {0};
    test_tensors_read(&tensors, test_in_folder(folder, "policy.safetensors"));
    for (int i = 0; i < tensors.count; i++)
        if (strstr(tensors.list[i].name, "temperature")) ((float *)(void *)tensors.list[i].data)[0] = 1;
    test_tensors_write(&tensors, test_in_folder(folder, "policy.safetensors"));
    vipo_goal_policy *policy = open_policy(folder, NULL, 1);
    vipo_goal_actions expected = act(policy, &request);
    vipo_goal_policy_close(&policy);
    const int count = tensors.count;
    for (int i = 0; i < count;
         i++) { /* a copy of everything of nets.0 and nets.1 in turn, the original or both */
        char other[192];
        const char *at = strstr(tensors.list[i].name, "_1.nets.0."), *to = "_1.backbone.";
        if (!at) {
            at = strstr(tensors.list[i].name, "_1.nets.1.");
            to = "_1.pool.";
        }
        if (!at) continue;
        snprintf(other, sizeof other, "%.*s%s%s", (int)(at - tensors.list[i].name), tensors.list[i].name, to,
                 at + strlen("_1.nets.0."));
        const test_tensor tensor = tensors.list[i];
        if (i % 2)
            test_tensors_add(&tensors, other, "F32", tensor.rank, tensor.shape, tensor.data, tensor.bytes);
        else
            strcpy(tensors.list[i].name, strstr(other, "temperature") ? "_dummy_variable" : other);
    }
    test_tensors_add(&tensors, "obs_encoder.key_model_map.img_obs_1.pool.pos_x", "F32", 2, SHAPE(1, 6), NULL,
                     24);
    test_tensors_write(&tensors, test_in_folder(folder, "policy.safetensors"));
    test_tensors_free(&tensors);
    policy = open_policy(folder, NULL, 1);
    vipo_goal_actions found = act(policy, &request);
    assert_same(&found.actions, 0, &expected.actions, HORIZON * DIM);
    vipo_goal_actions_free(&found);
    vipo_goal_actions_free(&expected);
    vipo_goal_policy_close(&policy);
    vipo_array_free(&obs);
    vipo_array_free(&goal);
}

static void assert_call_refused(vipo_goal_policy *policy, const vipo_goal_request *request,
                                vipo_status status, const char *message)
{
    vipo_error error = {0};
    vipo_goal_actions out;
    assert_int_equal(vipo_goal_policy_act(policy, request, &out, &error), status);
    assert_null(out.actions.data);
    if (!strstr(error.message, message)) fail_msg("\"%s\", expected \"%s\"", error.message, message);
}

static bool stop(void *user)
{
    int *calls = user;
    return ++*calls > 3;
}

static void test_bad_requests(void **state)
{
    (void)state;
    vipo_goal_policy *gcp =
        open_policy(test_policy_folder("calls", test_policy_gcp, VIPO_DTYPE_F32), NULL, 1);
    vipo_goal_policy *bc = open_policy(test_policy_folder("calls2", test_policy_bc, VIPO_DTYPE_F32), NULL, 1);
    vipo_array one = pictures(1, 3), two = pictures(2, 4),
               noise = made_up_array(3, SHAPE(1, 7, DIM), 5, 0, 1);
    vipo_array wrong = made_up_array(4, SHAPE(1, HEIGHT, HEIGHT, 3), 5, 0, 1),
               vector = made_up_array(1, SHAPE(4), 1, 0, 1);
    vipo_goal_request request, good;
    vipo_goal_request_default(&good);
    good.obs = good.goal = &one;
#define WITH(member, value, status, message)                                                                 \
    do {                                                                                                     \
        request = good;                                                                                      \
        request.member = value;                                                                              \
        assert_call_refused(gcp, &request, status, message);                                                 \
    } while (0)
    WITH(goal, NULL, VIPO_INVALID_ARGUMENT, "goal: missing");
    WITH(obs, &two, VIPO_MISMATCH, "obs: shape [2][20][24][3], expected [1][20][24][3]");
    WITH(obs, &wrong, VIPO_MISMATCH, "obs: shape [1][20][20][3], expected [1][20][24][3]");
    WITH(samples, 0, VIPO_INVALID_ARGUMENT, "samples: 0, expected 1..256");
    WITH(samples, 257, VIPO_INVALID_ARGUMENT, "samples: 257");
    WITH(vector, &vector, VIPO_INVALID_ARGUMENT, "the policy takes none");
    WITH(sampler, "euler", VIPO_INVALID_ARGUMENT, "expected ddim or ddpm");
    WITH(steps, 21, VIPO_INVALID_ARGUMENT, "steps: 21, the policy has 1..20");
    WITH(steps, -1, VIPO_INVALID_ARGUMENT, "steps: -1");
    WITH(noise, &noise, VIPO_MISMATCH, "noise: shape [1][7][2], expected [1][8][2]");
    WITH(step_noise, &noise, VIPO_INVALID_ARGUMENT, "step noise: ddim draws none");
    request = good;
    request.sampler = "ddpm";
    request.step_noise = &noise;
    assert_call_refused(gcp, &request, VIPO_MISMATCH, "step noise: shape [1][7][2], expected [19][8][2]");
    one.data[5] = NAN;
    assert_call_refused(gcp, &good, VIPO_NUMERIC, "element 5 is not a finite number");
    one.data[5] = 0;
    int calls = 0;
    request = good;
    request.callbacks.user = &calls;
    request.callbacks.cancelled = stop;
    assert_call_refused(gcp, &request, VIPO_CANCELLED, "");
    request = good;
    assert_call_refused(bc, &request, VIPO_INVALID_ARGUMENT, "vector: missing, the policy takes 5 numbers");
    request.vector = &vector;
    assert_call_refused(bc, &request, VIPO_MISMATCH, "vector: shape [4], expected [1][5]");
    vipo_array_free(&vector);
    vector = made_up_array(1, SHAPE(5), 1, 0, 1);
    request.steps = 3;
    assert_call_refused(bc, &request, VIPO_INVALID_ARGUMENT, "steps: a policy of kind bc");
    request = good; /* after all that a good call works */
    vipo_goal_actions out = act(gcp, &request);
    vipo_goal_actions_free(&out);
    vipo_goal_policy_close(&gcp);
    vipo_goal_policy_close(&bc);
    vipo_array_free(&one);
    vipo_array_free(&two);
    vipo_array_free(&noise);
    vipo_array_free(&wrong);
    vipo_array_free(&vector);
}

/* ---- pictures ------------------------------------------------------------------------------------------------ */

static void test_pictures(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_goal_policy *policy =
        open_policy(test_policy_folder("pictures", test_policy_gcp, VIPO_DTYPE_F32), NULL, 1);
    const char *path = test_temporary("p.npy");
    vipo_array packed = pictures(2, 9), planar, out;
    assert_ok(vipo_array_alloc(&planar, 5, SHAPE(2, 1, 3, HEIGHT, WIDTH), &error), &error);
    for (size_t s = 0; s < 2; s++)
        for (size_t p = 0; p < HEIGHT * WIDTH; p++)
            for (size_t c = 0; c < 3; c++)
                planar.data[(s * 3 + c) * HEIGHT * WIDTH + p] = packed.data[(s * HEIGHT * WIDTH + p) * 3 + c];
    const vipo_array *const same[] = {&packed, &planar};
    for (int i = 0; i < 2; i++) {
        assert_ok(vipo_npy_write(path, same[i], &error), &error);
        assert_ok(vipo_goal_policy_read_picture(policy, path, &out, &error), &error);
        assert_int_equal(out.rank, 4);
        assert_int_equal(out.shape[0], 2);
        assert_same(&out, 0, &packed, vipo_array_size(&packed));
        vipo_array_free(&out);
    }
    vipo_image image = {malloc((size_t)HEIGHT * WIDTH * 3), HEIGHT, WIDTH};
    assert_non_null(image.data);
    for (size_t i = 0; i < HEIGHT * WIDTH * 3; i++) image.data[i] = (uint8_t)(7 * i);
    char file[1200];
    snprintf(file, sizeof file, "%s.png", path);
    assert_ok(vipo_image_write_png(file, &image, &error), &error);
    assert_ok(vipo_goal_policy_read_picture(policy, file, &out, &error), &error);
    for (size_t i = 0; i < HEIGHT * WIDTH * 3; i++) assert_true(out.data[i] == (float)image.data[i] / 255);
    vipo_array_free(&out);
    image.height = 10;
    assert_ok(vipo_image_write_png(file, &image, &error), &error);
    assert_int_equal(vipo_goal_policy_read_picture(policy, file, &out, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "10x24, the policy takes pictures of 20x24"));
    vipo_image_free(&image);

    packed.data[7] = 200;
    assert_ok(vipo_npy_write(path, &packed, &error), &error);
    assert_int_equal(vipo_goal_policy_read_picture(policy, path, &out, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "element 7 is 200, expected numbers in [0,1], or uint8"));
    assert_null(out.data);
    packed.data[7] = INFINITY;
    assert_ok(vipo_npy_write(path, &packed, &error), &error);
    assert_int_equal(vipo_goal_policy_read_picture(policy, path, &out, &error), VIPO_NUMERIC);
    packed.rank = 1;
    assert_ok(vipo_npy_write(path, &(vipo_array){packed.data, 2, {HEIGHT, WIDTH}}, &error), &error);
    assert_int_equal(vipo_goal_policy_read_picture(policy, path, &out, &error), VIPO_MISMATCH);
    vipo_array_free(&packed);
    vipo_array_free(&planar);
    vipo_goal_policy_close(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_cloning),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_config_round_trip),
        cmocka_unit_test(test_bad_folders),
        cmocka_unit_test(test_second_names),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
