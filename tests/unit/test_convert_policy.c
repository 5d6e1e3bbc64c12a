/* Checkpoints of goal-conditioned policies -> policy folders. */
#include "support/policy_folder.h"
#include "support/torch_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vipo/action.h"

/* The sizes of test_policy_gcp that do not follow from its tensors. */
static const char rest[] =
    "{\"image\": {\"height\": 20, \"width\": 24}, \"encoder\": {\"channels_per_group\": 2}, \"unet\": "
    "{\"groups\": 4},\n"
    " \"action\": {\"horizon\": 8, \"executed\": 4, \"min\": [-1, 0], \"max\": [1, 10]},\n"
    " \"diffusion\": {\"timesteps\": 20}, \"sampler\": {\"name\": \"ddim\", \"steps\": 5}, \"name\": "
    "\"small\"}\n";

/* Tensors of test_policy_gcp with a prefix before their names; scaled by `factor` where they are matrices. */
static void add_policy(test_tensors *out, const char *prefix, float factor)
{
    test_tensors own = {0};
    test_tensors_read(&own, test_in_folder(test_policy_folder("source", test_policy_gcp, VIPO_DTYPE_F32),
                                           "policy.safetensors"));
    for (int i = 0; i < own.count; i++) {
        test_tensor *tensor = &own.list[i];
        char name[256];
        float *numbers = (void *)tensor->data;
        for (size_t k = 0; k < tensor->bytes / sizeof *numbers; k++)
            if (tensor->rank > 1) numbers[k] *= factor;
        snprintf(name, sizeof name, "%s%s", prefix, tensor->name);
        test_tensors_add(out, name, "F32", tensor->rank, tensor->shape, tensor->data, tensor->bytes);
    }
    test_tensors_free(&own);
}

/* The tensors as a PyTorch checkpoint of one dict. */
static const char *write_checkpoint(const char *path, const test_tensors *tensors)
{
    const size_t n = (size_t)tensors->count;
    const char **names = calloc(n, sizeof *names);
    test_view *views = calloc(n, sizeof *views);
    test_zip_entry *storages = calloc(n, sizeof *storages);
    char(*keys)[16] = calloc(n, sizeof *keys), (*files)[24] = calloc(n, sizeof *files);
    assert_true(names && views && storages && keys && files);
    for (size_t i = 0; i < n; i++) {
        const test_tensor *tensor = &tensors->list[i];
        snprintf(keys[i], sizeof keys[i], "%zu", i);
        snprintf(files[i], sizeof files[i], "data/%zu", i);
        names[i] = tensor->name;
        views[i] = (test_view){.type = "FloatStorage",
                               .key = keys[i],
                               .elements = (int64_t)(tensor->bytes / sizeof(float)),
                               .rank = tensor->rank};
        int64_t stride = 1;
        for (int d = tensor->rank - 1; d >= 0; d--) {
            views[i].shape[d] = (int64_t)tensor->shape[d];
            views[i].stride[d] = stride;
            stride *= views[i].shape[d];
        }
        storages[i] = (test_zip_entry){.name = files[i], .data = tensor->data, .size = tensor->bytes};
    }
    test_checkpoint_write(path, names, views, (int)n, storages, (int)n);
    free(names);
    free(views);
    free(storages);
    free(keys);
    free(files);
    return path;
}

static vipo_convert_options options_of(const char *checkpoint)
{
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.from = "gcp";
    options.checkpoint = checkpoint;
    static char config[1200]; /* test_temporary's path would not last */
    snprintf(config, sizeof config, "%s", test_temporary("rest.json"));
    options.config = test_file_write(config, rest, strlen(rest));
    return options;
}

/* A path of the temporary folder that outlives other calls. */
static const char *path_of(char out[1200], const char *name)
{
    snprintf(out, 1200, "%s", test_temporary(name));
    return out;
}

static void assert_equal_weights(const char *folder)
{
    test_tensors own = {0}, expected = {0};
    test_tensors_read(&own, test_in_folder(folder, "policy.safetensors"));
    add_policy(&expected, "", 1);
    assert_int_equal(own.count, expected.count);
    for (int i = 0; i < own.count; i++) {
        const test_tensor *other = test_tensors_find(&expected, own.list[i].name);
        assert_non_null(other);
        assert_int_equal(own.list[i].bytes, other->bytes);
        assert_memory_equal(own.list[i].data, other->data, other->bytes);
    }
    test_tensors_free(&own);
    test_tensors_free(&expected);
}

/* Both sets in one checkpoint of either format; the average is taken unless it is not wanted. */
static void test_sets(void **state)
{
    (void)state;
    vipo_error error = {0};
    char path[1200], torch[1200], out[1200];
    test_tensors tensors = {0};
    add_policy(&tensors, "ema_model.", 1);
    add_policy(&tensors, "model/", 2);
    path_of(path, "sets.safetensors");
    path_of(torch, "sets.pt");
    test_tensors_write(&tensors, path);
    write_checkpoint(torch, &tensors);
    test_tensors_free(&tensors);
    for (int i = 0; i < 2; i++) {
        vipo_convert_options options = options_of(i ? torch : path);
        vipo_goal_policy_info info;
        path_of(out, i ? "from-torch" : "from-safetensors");
        assert_ok(vipo_convert(out, &options, &error), &error);
        assert_equal_weights(out);
        assert_ok(vipo_goal_policy_read_info(out, &info, &error), &error);
        assert_string_equal(info.name, "small");
        assert_int_equal(info.height, 20);
        assert_int_equal(info.horizon, 8);
        assert_int_equal(info.executed, 4);
        assert_int_equal(info.steps, 5);
        assert_true(info.action_max[1] == 10);
        path_of(out, i ? "online-torch" : "online-safetensors");
        options.weights = "online";
        options.dtype = "bf16";
        assert_ok(vipo_convert(out, &options, &error), &error);
        assert_ok(vipo_goal_policy_read_info(out, &info, &error), &error);
        assert_string_equal(info.dtype, "BF16");
    }
}

static void test_plain(void **state)
{
    (void)state;
    vipo_error error = {0};
    char path[1200], out[1200];
    test_tensors tensors = {0};
    add_policy(&tensors, "", 1);
    for (int i = 0; i < tensors.count; i++) { /* as the reference names encoders a second time, and only so */
        char *at = strstr(tensors.list[i].name, "_1.nets.1."), rest_of[192];
        if (!at) continue;
        snprintf(rest_of, sizeof rest_of, "%s", at + strlen("_1.nets.1."));
        snprintf(at, 96, "_1.pool.%s", rest_of);
    }
    path_of(path, "plain.safetensors");
    test_tensors_write(&tensors, path);
    test_tensors_free(&tensors);
    const vipo_convert_options options = options_of(path);
    path_of(out, "from-plain");
    assert_ok(vipo_convert(out, &options, &error), &error);
    assert_equal_weights(out);
}

static void fails(const vipo_convert_options *options, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    char out[1200];
    struct stat info;
    path_of(out, "failed");
    const vipo_status status = vipo_convert(out, options, &error);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
    assert_int_not_equal(stat(out, &info), 0);
}

static void test_refused(void **state)
{
    (void)state;
    char path[1200], config[1200];
    test_tensors tensors = {0};
    path_of(path, "refused.safetensors");
    path_of(config, "other.json");
    add_policy(&tensors, "ema_model.", 1);
    test_tensors_write(&tensors, path);
    vipo_convert_options good = options_of(path), options = good;
    options.weights = "online";
    fails(&options, VIPO_MISMATCH, "has no online weights; weights \"ema\" would take the others");
    options = good;
    options.preset = "mw";
    fails(&options, VIPO_INVALID_ARGUMENT, "preset: a policy has none");
    options = good;
    options.clip = "clip";
    fails(&options, VIPO_INVALID_ARGUMENT, "clip: a policy has none");
    options = good;
    options.dtype = "f8";
    fails(&options, VIPO_INVALID_ARGUMENT, "expected f32, f16 or bf16");
    options = good;
    options.config = NULL; /* the released sizes are others */
    fails(&options, VIPO_FORMAT, "4 channels do not split into groups of 16");
    static const char other[] =
        "{\"encoder\": {\"channels_per_group\": 2, \"keypoints\": 4}, \"unet\": {\"groups\": 4}}";
    options.config = test_file_write(config, other, strlen(other));
    fails(&options, VIPO_MISMATCH, "nets.1.nets.weight: expected shape [4, 8, 1, 1], found [3, 8, 1, 1]");
    static const char kind[] =
        "{\"kind\": \"bc\", \"encoder\": {\"channels_per_group\": 2}, \"head\": {\"widths\": []}}";
    options.config = test_file_write(config, kind, strlen(kind));
    fails(&options, VIPO_UNSUPPORTED, "kind is \"bc\", expected gcp");
    test_tensors_add(&tensors, "ema_model.model.more", "F32", 1, (const size_t[]){1}, NULL, 4);
    test_tensors_write(&tensors, path);
    fails(&good, VIPO_MISMATCH, "1 tensors are not part of the policy");
    test_tensors_free(&tensors);
    options = good;
    options.checkpoint = test_path("models/metaworld-64/unet.safetensors");
    fails(&options, VIPO_MISMATCH, "holds no goal-conditioned policy");
    options.checkpoint = "/nowhere.pt";
    fails(&options, VIPO_IO, "/nowhere.pt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
