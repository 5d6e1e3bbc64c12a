#include "support/policy_folder.h"

#include <stdlib.h>
#include <string.h>

#include "policy/tensor_list.h"
#include "support/golden.h"

const char test_policy_gcp[] =
    "{\"format\": \"vipo-policy\", \"version\": 1, \"kind\": \"gcp\", \"name\": \"small\",\n"
    " \"image\": {\"height\": 20, \"width\": 24},\n"
    " \"encoder\": {\"widths\": [4, 8], \"blocks\": [1, 2], \"channels_per_group\": 2, \"keypoints\": 3,\n"
    "  \"feature_size\": 5},\n"
    " \"action\": {\"dim\": 2, \"horizon\": 8, \"executed\": 4, \"min\": [-1, 0], \"max\": [1, 10]},\n"
    " \"unet\": {\"widths\": [8, 16], \"kernel\": 3, \"groups\": 4, \"step_embedding\": 8},\n"
    " \"diffusion\": {\"timesteps\": 20}, \"sampler\": {\"name\": \"ddim\", \"steps\": 5}}\n";

const char test_policy_bc[] =
    "{\"format\": \"vipo-policy\", \"kind\": \"bc\",\n"
    " \"image\": {\"height\": 20, \"width\": 24},\n"
    " \"encoder\": {\"widths\": [4, 8], \"channels_per_group\": 2, \"keypoints\": 3, \"feature_size\": 5},\n"
    " \"vector\": [{\"name\": \"hand\", \"size\": 3, \"min\": [-1, 0, 0], \"max\": [1, 2, 1]},\n"
    "  {\"name\": \"task\", \"size\": 2, \"tasks\": [\"door-open\", \"faucet-close\"]}],\n"
    " \"action\": {\"dim\": 4, \"horizon\": 6, \"executed\": 3}, \"head\": {\"widths\": [12, 10]}}\n";

vipo_policy_config test_policy_config(const char *config)
{
    vipo_error error = {0};
    vipo_policy_config out;
    json_t *root = json_loads(config, 0, NULL);
    assert_non_null(root);
    assert_ok(vipo_policy_config_parse(&out, root, "config.json", &error), &error);
    json_decref(root);
    return out;
}

const char *test_policy_folder(const char *name, const char *config, vipo_dtype dtype)
{
    vipo_error error = {0};
    const vipo_policy_config parsed = test_policy_config(config);
    const char *folder = test_folder(name);
    test_file_write(test_in_folder(folder, "config.json"), config, strlen(config));
    vipo_tensor_list list = {.count = 0};
    vipo_safetensors_writer writer;
    generated_weights weights;
    assert_ok(vipo_tensor_list_policy(&list, &parsed, &error), &error);
    generated_weights_open(&weights, NULL);
    const vipo_weight_source source = generated_weights_source(&weights);
    assert_ok(vipo_safetensors_writer_open(&writer, test_in_folder(folder, "policy.safetensors"), dtype,
                                           list.entries, list.count, &error),
              &error);
    for (int i = 0; i < list.count; i++) {
        const vipo_tensor_entry *entry = &list.entries[i];
        float *values = malloc(vipo_tensor_entry_count(entry) * sizeof *values);
        assert_non_null(values);
        assert_ok(source.read(source.user, entry->name, entry->rank, entry->shape, values, &error), &error);
        if (strstr(entry->name, "temperature")) values[0] = 0.7F;
        assert_ok(vipo_safetensors_writer_add(&writer, values, &error), &error);
        free(values);
    }
    assert_ok(vipo_safetensors_writer_commit(&writer, &error), &error);
    generated_weights_close(&weights);
    vipo_tensor_list_free(&list);
    return folder;
}
