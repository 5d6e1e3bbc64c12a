/* Configurations of action policies: what is accepted has sizes that networks can be made of, is written as a config.json
 * that is accepted again and says the same, and describes a folder. */
#include "fuzz.h"

#include "core/json_util.h"
#include "nets/policy_config.h"
#include "policy/tensor_list.h"
#include "vipo/action.h"

static const char path[] = "fuzz:/config.json";

static void check_config(const vipo_policy_config *c)
{
    FUZZ_CHECK(c->encoder.stages >= 1 && c->encoder.stages <= VIPO_MAX_STAGES);
    FUZZ_CHECK(c->n_pictures >= 1 && c->n_pictures <= VIPO_MAX_PICTURES);
    FUZZ_CHECK(c->vector_dim >= 0 && c->vector_dim <= VIPO_MAX_VECTOR);
    FUZZ_CHECK(c->executed >= 1 && c->executed <= c->horizon && c->action_dim >= 1);
    FUZZ_CHECK(memchr(c->name, 0, sizeof c->name));
    for (int i = 0; i < c->action_dim; i++) FUZZ_CHECK(c->action_max[i] > c->action_min[i]);
    for (int i = 0; i < c->vector_dim; i++) FUZZ_CHECK(c->vector_max[i] > c->vector_min[i]);
    if (c->kind == VIPO_POLICY_GCP) {
        FUZZ_CHECK(c->timesteps >= 1 && c->steps >= 0 && c->steps <= c->timesteps);
        FUZZ_CHECK(c->unet.horizon % (1 << (c->unet.levels - 1)) == 0);
    }
    /* The networks can be written down; wide ones would take too much memory for a fuzzer. */
    int widest = c->encoder.stem_channels;
    for (int i = 0; i < VIPO_MAX_STAGES; i++) {
        const int widths[] = {c->encoder.widths[i], c->unet.widths[i], c->hidden[i]};
        for (int k = 0; k < 3; k++)
            if (widths[k] > widest) widest = widths[k];
    }
    if (widest > 64) return;
    vipo_error error = {0};
    vipo_tensor_list list = {0};
    const vipo_status listed = vipo_tensor_list_policy(&list, c, &error);
    if (listed != VIPO_OK) fuzz_check_failure(listed, &error);
    for (int i = 0; i < list.count; i++) FUZZ_CHECK(vipo_tensor_entry_count(&list.entries[i]) > 0);
    vipo_tensor_list_free(&list);
}

static void check_written(const vipo_policy_config *config)
{
    vipo_error error = {0};
    vipo_policy_config again;
    json_t *json = vipo_policy_config_json(config);
    FUZZ_CHECK(json);
    char *text = json_dumps(json, 0);
    FUZZ_CHECK(text);
    json_t *read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(read && json_equal(read, json));
    if (vipo_policy_config_parse(&again, read, path, &error) != VIPO_OK)
        fuzz_violated(__FILE__, __LINE__, error.message);
    FUZZ_CHECK(memcmp(config, &again, sizeof again) == 0);
    json_decref(read);
    json_decref(json);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    json_t *root;
    vipo_policy_config config;
    vipo_goal_policy_info info;
    fuzz_file(path, data, size);
    const vipo_status loaded = vipo_json_load(&root, path, &error);
    if (loaded == VIPO_OK) {
        const vipo_status status = vipo_policy_config_parse(&config, root, path, &error);
        if (status != VIPO_OK) {
            fuzz_check_failure(status, &error);
            FUZZ_CHECK(fuzz_is_zero(&config, sizeof config));
        } else {
            FUZZ_CHECK(vipo_goal_policy_is("fuzz:"));
            check_config(&config);
            check_written(&config);
        }
        json_decref(root);
    } else {
        fuzz_check_failure(loaded, &error);
    }
    const vipo_status described =
        vipo_goal_policy_read_info("fuzz:", &info, &error); /* there are no weights */
    FUZZ_CHECK(described != VIPO_OK && fuzz_is_zero(&info, sizeof info));
    fuzz_check_failure(described, &error);
    fuzz_forget_files();
    return 0;
}
