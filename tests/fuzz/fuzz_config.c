/* Model configurations in both spellings, Hugging Face's text configuration, and what is made of them: whatever is
 * accepted is written as a config.json that is accepted again and says the same. */
#include "fuzz.h"

#include "core/json_util.h"
#include "policy/model_config.h"
#include "policy/tensor_list.h"
#include "sampling/auto.h"

static const char path[] = "fuzz:/config.json";

static void check_config(const vipo_config *config)
{
    const vipo_unet_config *unet = &config->unet;
    FUZZ_CHECK(unet->levels >= 1 && unet->levels <= VIPO_MAX_LEVELS);
    FUZZ_CHECK(unet->attention_levels >= 0 && unet->attention_levels <= VIPO_MAX_LEVELS);
    FUZZ_CHECK(unet->height % (1 << (unet->levels - 1)) == 0 && unet->width % (1 << (unet->levels - 1)) == 0);
    FUZZ_CHECK(unet->height > 0 && unet->width > 0 && unet->frames > 0 && unet->token_channels > 0);
    FUZZ_CHECK(memchr(config->name, 0, sizeof config->name));
    if (config->has_text) FUZZ_CHECK(config->text.width == unet->token_channels);

    /* The networks can be written down, each tensor with a size. */
    vipo_error error = {0};
    vipo_tensor_list unet_list = {0}, text_list = {0};
    const vipo_status listed = vipo_tensor_list_unet(&unet_list, unet, &error);
    if (listed != VIPO_OK) fuzz_check_failure(listed, &error);
    if (config->has_text)
        FUZZ_CHECK(vipo_tensor_list_text(&text_list, &config->text, &error) == VIPO_OK &&
                   text_list.count > 0);
    for (int i = 0; i < unet_list.count; i++) FUZZ_CHECK(vipo_tensor_entry_count(&unet_list.entries[i]) > 0);
    vipo_tensor_list_free(&unet_list);
    vipo_tensor_list_free(&text_list);
}

static void check_written(const vipo_config *config, const vipo_preprocess_steps *steps)
{
    vipo_error error = {0};
    vipo_config config_again;
    vipo_preprocess_steps steps_again;
    json_t *json = vipo_model_config_json(config, steps, "float32", NULL);
    FUZZ_CHECK(json);
    char *text = json_dumps(json, 0);
    FUZZ_CHECK(text);
    json_t *read = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(read && json_equal(read, json));
    if (vipo_config_parse(&config_again, read, path, &error) != VIPO_OK)
        fuzz_violated(__FILE__, __LINE__, error.message);
    FUZZ_CHECK(vipo_preprocess_from_config(&steps_again, read, config->unet.height, config->unet.width, path,
                                           &error) == VIPO_OK);
    json_t *json_again = vipo_model_config_json(&config_again, &steps_again, "float32", NULL);
    FUZZ_CHECK(json_again && json_equal(json, json_again));
    FUZZ_CHECK(strcmp(config->name, config_again.name) == 0);
    json_decref(json_again);
    json_decref(read);
    json_decref(json);
    free(text);
}

static void check_folder(bool parses)
{
    vipo_error error = {0};
    vipo_model_info info;
    const vipo_status status = vipo_model_read_info("fuzz:", &info, &error);
    FUZZ_CHECK((status == VIPO_OK) == parses);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&info, sizeof info));
    } else {
        FUZZ_CHECK(info.name[0] && info.preprocess[0] && info.timesteps > 1);
    }
}

/* A conversion reads its configuration first; it ends when it cannot make its folder. */
static void check_conversion(const char *config, const char *preset)
{
    vipo_error error = {0};
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.checkpoint = "fuzz:absent.pt";
    options.config = config;
    options.preset = preset;
    options.clip = "fuzz:";
    const vipo_status status = vipo_convert("/dev/null/model", &options, &error);
    fuzz_check_failure(status, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    json_t *root;
    vipo_config config;
    vipo_preprocess_steps steps;
    bool parses = false;
    fuzz_file(path, data, size);
    const vipo_status loaded = vipo_json_load(&root, path, &error);
    if (loaded != VIPO_OK) {
        fuzz_check_failure(loaded, &error);
        FUZZ_CHECK(!root);
    } else {
        const vipo_status status = vipo_config_parse(&config, root, path, &error);
        if (status != VIPO_OK) {
            fuzz_check_failure(status, &error);
            FUZZ_CHECK(fuzz_is_zero(&config, sizeof config));
        } else {
            check_config(&config);
            const vipo_status prepared = vipo_preprocess_from_config(&steps, root, config.unet.height,
                                                                     config.unet.width, path, &error);
            if (prepared == VIPO_OK) {
                check_written(&config, &steps);
            } else {
                fuzz_check_failure(prepared, &error);
                FUZZ_CHECK(fuzz_is_zero(&steps, sizeof steps));
            }
            FUZZ_CHECK(config.n_distances >= 0 && config.n_distances <= VIPO_MAX_CANDIDATES);
            const vipo_status known = vipo_auto_check_own(config.distances, config.n_distances, path, &error);
            if (known != VIPO_OK) fuzz_check_failure(known, &error);
            parses = prepared == VIPO_OK && known == VIPO_OK;
        }
        json_decref(root);
        check_conversion(path, NULL);
        check_conversion(NULL, "mw");
    }
    check_folder(parses);
    fuzz_forget_files();
    return 0;
}
