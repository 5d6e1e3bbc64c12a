/* config.json: both spellings, and every way in which it can be wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "nets/config.h"
#include "support/golden.h"

static void test_model_folder(void **state)
{
    (void)state;
    const vipo_config c = golden_config("models/metaworld-64/config.json");
    const vipo_unet_config *u = &c.unet;
    assert_int_equal(u->height, 64);
    assert_int_equal(u->width, 64);
    assert_int_equal(u->frames, 7);
    assert_int_equal(u->in_channels, 6);
    assert_int_equal(u->out_channels, 3);
    assert_int_equal(u->model_channels, 32);
    assert_int_equal(u->levels, 4);
    const int mult[4] = {1, 1, 2, 4};
    assert_memory_equal(u->channel_mult, mult, sizeof mult);
    assert_int_equal(u->res_blocks, 1);
    assert_int_equal(u->attention_levels, 2);
    assert_false(vipo_unet_config_attends(u, 1));
    assert_false(vipo_unet_config_attends(u, 2));
    assert_true(vipo_unet_config_attends(u, 4));
    assert_true(vipo_unet_config_attends(u, 8));
    assert_int_equal(u->head_channels, 32);
    assert_int_equal(u->token_channels, 128);
    assert_int_equal(u->groups, 32);
    assert_true(u->norm_eps == 1e-5F);
    assert_int_equal(u->perceiver.depth, 2);
    assert_int_equal(u->perceiver.heads, 8);
    assert_int_equal(u->perceiver.head_dim, 64);
    assert_int_equal(u->perceiver.latents, 64);
    assert_int_equal(u->perceiver.mean_pooled_latents, 4);
    assert_int_equal(u->perceiver.max_length, 512);
    assert_int_equal(u->perceiver.ff_mult, 4);
    assert_true(u->perceiver.logit_scale == 8);
    assert_int_equal(c.diffusion.timesteps, 100);
    assert_true(c.has_text);
    assert_int_equal(c.text.width, 128);
    assert_int_equal(c.text.intermediate, 256);
    assert_int_equal(c.text.layers, 2);
    assert_int_equal(c.text.heads, 4);
    assert_int_equal(c.text.positions, 77);
    assert_int_equal(c.text.vocabulary, 743);
    assert_true(c.text.quick_gelu);
    assert_true(c.text.norm_eps == 1e-5F);
}

static void test_flat(void **state)
{
    (void)state;
    const vipo_config square = golden_config("tests/golden/unet/square.config.json");
    assert_string_equal(square.name, "square");
    assert_int_equal(square.unet.height, 16);
    assert_int_equal(square.unet.width, 16);
    assert_int_equal(square.unet.frames, 7);
    assert_int_equal(square.unet.levels, 2);
    assert_true(vipo_unet_config_attends(&square.unet, 2));
    assert_false(vipo_unet_config_attends(&square.unet, 1));
    assert_int_equal(square.unet.token_channels, 64);
    assert_int_equal(square.unet.perceiver.depth, 2);
    assert_false(square.has_text);
    assert_int_equal(square.diffusion.timesteps, 100);

    const vipo_config wide = golden_config("tests/golden/unet/wide.config.json");
    assert_int_equal(wide.unet.height, 12);
    assert_int_equal(wide.unet.width, 16);
    assert_int_equal(wide.unet.frames, 6);
    assert_int_equal(wide.unet.levels, 3);
    assert_int_equal(wide.unet.res_blocks, 2);
    assert_int_equal(wide.unet.attention_levels, 2);
}

/* ---- one member changed at a time ---------------------------------------------------------------- */

/* The smallest configurations of both spellings; the second has every section. */
static const char flat[] =
    "{\"image_size\": [16, 16], \"frames\": 3, \"model_channels\": 32, \"channel_mult\": [1, 2],"
    " \"num_res_blocks\": 1, \"attention_ds\": [2], \"task_token_channels\": 64}";
static const char nested[] =
    "{\"name\": \"n\", \"image\": {\"height\": 16, \"width\": 32, \"future_frames\": 3},"
    " \"unet\": {\"model_channels\": 32, \"channel_mult\": [1, 2], \"num_res_blocks\": 1,"
    "  \"attention_resolutions\": [2], \"task_token_channels\": 64, \"task_attnpool\": {}},"
    " \"diffusion\": {},"
    " \"text_encoder\": {\"hidden_size\": 64, \"intermediate_size\": 128, \"num_hidden_layers\": 1,"
    "  \"num_attention_heads\": 2, \"vocab_size\": 600}}";

/* Sets the member at a dotted path to a JSON text, or removes it (value NULL). */
static json_t *changed(const char *base, const char *path, const char *value)
{
    json_t *root = json_loads(base, 0, NULL), *object = root;
    assert_non_null(root);
    if (!path) return root;
    char copy[128], *member = copy;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *dot = strchr(member, '.'); dot; dot = strchr(member, '.')) {
        *dot = '\0';
        object = json_object_get(object, member);
        assert_non_null(object);
        member = dot + 1;
    }
    if (value) {
        json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
        if (!parsed) fail_msg("not JSON: %s", value);
        json_object_set_new(object, member, parsed);
    } else {
        assert_int_equal(json_object_del(object, member), 0);
    }
    return root;
}

static void accept(const char *base, const char *path, const char *value, vipo_config *config)
{
    vipo_error error = {0};
    json_t *root = changed(base, path, value);
    assert_ok(vipo_config_parse(config, root, "c.json", &error), &error);
    json_decref(root);
}

static void refuse(const char *base, const char *path, const char *value, vipo_status expected,
                   const char *part)
{
    vipo_error error = {0};
    vipo_config config;
    json_t *root = changed(base, path, value);
    const vipo_status status = vipo_config_parse(&config, root, "c.json", &error);
    json_decref(root);
    if (status != expected || !strstr(error.message, part) || strncmp(error.message, "c.json: ", 8) != 0)
        fail_msg("%s = %s: %s: \"%s\"; expected %s: \"%s\"", path, value ? value : "(removed)",
                 vipo_status_text(status), error.message, vipo_status_text(expected), part);
    assert_null(strchr(error.message, '\n'));
}

static void test_defaults(void **state)
{
    (void)state;
    vipo_config c;
    accept(flat, NULL, NULL, &c);
    assert_string_equal(c.name, "");
    assert_int_equal(c.unet.in_channels, 6);
    assert_int_equal(c.unet.head_channels, 32);
    assert_int_equal(c.unet.perceiver.latents, 64);
    assert_int_equal(c.diffusion.timesteps, 100);
    accept(nested, NULL, NULL, &c);
    assert_int_equal(c.unet.height, 16);
    assert_int_equal(c.unet.width, 32);
    assert_int_equal(c.text.positions, 77);
    accept(nested, "text_encoder", "null", &c);
    assert_false(c.has_text);
    accept(nested, "text_encoder.hidden_act", "\"gelu\"", &c);
    assert_false(c.text.quick_gelu);
    accept(nested, "unet.task_attnpool.perceiver_depth", "3", &c);
    assert_int_equal(c.unet.perceiver.depth, 3);
    accept(nested, "unet.task_attnpool.depth", "3", &c);
    assert_int_equal(c.unet.perceiver.depth, 3);
    accept(nested, "unet.attention_resolutions", "[]", &c);
    assert_int_equal(c.unet.attention_levels, 0);
    accept(flat, "image_size", "[16]", &c);
    assert_int_equal(c.unet.width, 16);
    accept(flat, "timesteps", "20", &c);
    assert_int_equal(c.diffusion.timesteps, 20);
    refuse(flat, "objective", "\"pred_noise\"", VIPO_UNSUPPORTED, "c.json: objective is \"pred_noise\"");
    refuse(flat, "beta_schedule", "\"linear\"", VIPO_UNSUPPORTED, "c.json: beta_schedule is \"linear\"");
    /* said twice, but the same */
    accept(nested, "unet.image_size", "[16, 32]", &c);
    accept(nested, "unet.frames", "3", &c);
    accept(nested, "name", "\"a name of more than sixty-three letters, which is cut to fit its place\"", &c);
    assert_int_equal(strlen(c.name), 63);
}

static void test_distances(void **state)
{
    (void)state;
    vipo_config c;
    accept(nested, NULL, NULL, &c);
    assert_int_equal(c.n_distances, 0);
    accept(nested, "calibration", "{}", &c);
    assert_int_equal(c.n_distances, 0);
    accept(nested, "calibration", "{\"samplers\": null}", &c);
    assert_int_equal(c.n_distances, 0);
    accept(nested, "calibration",
           "{\"samplers\": [{\"sampler\": \"ab2:12\", \"distance\": 0.0138}, {\"sampler\": \"ddim:100\", "
           "\"distance\": 0}]}",
           &c);
    assert_int_equal(c.n_distances, 2);
    assert_string_equal(c.distances[0].sampler, "ab2:12");
    assert_true(c.distances[0].distance == 0.0138);
    assert_string_equal(c.distances[1].sampler, "ddim:100");
    assert_true(c.distances[1].distance == 0);
    static const struct {
        const char *value, *part;
    } bad[] = {
        {"{\"samplers\": {}}", "calibration.samplers: expected a list of at most 32 objects"},
        {"{\"samplers\": 3}", "calibration.samplers: expected a list"},
        {"{\"samplers\": [3]}", "calibration.samplers[0]: expected an object with sampler and distance"},
        {"{\"samplers\": [{\"distance\": 1}]}", "calibration.samplers[0].sampler"},
        {"{\"samplers\": [{\"sampler\": 3, \"distance\": 1}]}",
         "calibration.samplers[0].sampler: expected a string, found 3"},
        {"{\"samplers\": [{\"sampler\": \"ddim:10\"}]}", "calibration.samplers[0].distance"},
        {"{\"samplers\": [{\"sampler\": \"ddim:10\", \"distance\": 0}, {\"sampler\": \"a\", \"distance\": "
         "-1}]}",
         "calibration.samplers[1].distance"},
        {"3", "calibration: expected an object, found 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(nested, "calibration", bad[i].value, VIPO_FORMAT, bad[i].part);
    char long_list[33 * 40] = "{\"samplers\": [{}";
    for (int i = 0; i < 32; i++) strcat(long_list, ", {}");
    strcat(long_list, "]}");
    refuse(nested, "calibration", long_list, VIPO_FORMAT, "expected a list of at most 32");
}

static void test_roots(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]", "1", "\"x\"", "null", "true"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        vipo_error error = {0};
        vipo_config config;
        json_t *root = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        assert_int_equal(vipo_config_parse(&config, root, "c.json", &error), VIPO_FORMAT);
        assert_string_equal(error.message, "c.json: expected a JSON object");
        json_decref(root);
    }
    static const char *const sections[] = {"image", "unet", "diffusion", "text_encoder",
                                           "unet.task_attnpool"};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        char part[96];
        snprintf(part, sizeof part, "%s: expected an object, found 3", sections[i]);
        refuse(nested, sections[i], "3", VIPO_FORMAT, part);
    }
    refuse("{}", NULL, NULL, VIPO_FORMAT, "expected image_size [height, width] and the number of frames");
    refuse(nested, "name", "3", VIPO_FORMAT, "name: expected a string, found 3");
}

static void test_missing(void **state)
{
    (void)state;
    static const char *const required[] = {"unet.model_channels",
                                           "unet.channel_mult",
                                           "unet.num_res_blocks",
                                           "unet.attention_resolutions",
                                           "unet.task_token_channels",
                                           "text_encoder.hidden_size",
                                           "text_encoder.intermediate_size",
                                           "text_encoder.num_hidden_layers",
                                           "text_encoder.num_attention_heads",
                                           "text_encoder.vocab_size"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        char part[96];
        snprintf(part, sizeof part, "%s: missing, expected ", required[i]);
        refuse(nested, required[i], NULL, VIPO_FORMAT, part);
    }
    refuse(flat, "model_channels", NULL, VIPO_FORMAT, "c.json: model_channels: missing, expected ");
    refuse(flat, "attention_ds", NULL, VIPO_FORMAT, "attention_resolutions: missing");
    static const char size[] = "expected image_size [height, width] and the number of frames";
    refuse(flat, "image_size", NULL, VIPO_FORMAT, size);
    refuse(flat, "frames", NULL, VIPO_FORMAT, size);
    refuse(nested, "image", NULL, VIPO_FORMAT, size);
    refuse(nested, "image.height", NULL, VIPO_FORMAT, size);
    refuse(nested, "image.width", NULL, VIPO_FORMAT, size);
    refuse(nested, "image.future_frames", NULL, VIPO_FORMAT, size);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *path, *low, *high; /* the values just outside */
    } numbers[] = {
        {"image.height", "0", "2049"},
        {"image.width", "-1", "2049"},
        {"image.future_frames", "0", "65"},
        {"unet.frames", "0", "65"},
        {"unet.in_channels", "0", "65"},
        {"unet.out_channels", "0", "65"},
        {"unet.model_channels", "0", "4097"},
        {"unet.num_res_blocks", "0", "33"},
        {"unet.num_head_channels", "-1", "1025"},
        {"unet.task_token_channels", "0", "8193"},
        {"unet.group_norm_groups", "0", "1025"},
        {"unet.group_norm_eps", "0", "0.2"},
        {"unet.task_attnpool.perceiver_depth", "0", "65"},
        {"unet.task_attnpool.heads", "0", "257"},
        {"unet.task_attnpool.dim_head", "0", "1025"},
        {"unet.task_attnpool.num_latents", "0", "4097"},
        {"unet.task_attnpool.num_latents_mean_pooled", "-1", "4097"},
        {"unet.task_attnpool.max_seq_len", "0", "65537"},
        {"unet.task_attnpool.ff_mult", "0", "65"},
        {"unet.task_attnpool.sim_scale", "0", "1001"},
        {"diffusion.timesteps", "1", "4097"},
        {"text_encoder.hidden_size", "0", "8193"},
        {"text_encoder.intermediate_size", "0", "65537"},
        {"text_encoder.num_hidden_layers", "0", "129"},
        {"text_encoder.num_attention_heads", "0", "257"},
        {"text_encoder.max_position_embeddings", "1", "78"},
        {"text_encoder.vocab_size", "0", "16777217"},
        {"text_encoder.layer_norm_eps", "0", "0.2"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char part[96];
        snprintf(part, sizeof part, "c.json: %s: expected a", numbers[i].path);
        refuse(nested, numbers[i].path, numbers[i].low, VIPO_FORMAT, part);
        refuse(nested, numbers[i].path, numbers[i].high, VIPO_FORMAT, part);
        refuse(nested, numbers[i].path, "\"8\"", VIPO_FORMAT, part);
        refuse(nested, numbers[i].path, "9223372036854775807", VIPO_FORMAT, part);
        refuse(nested, numbers[i].path, "[]", VIPO_FORMAT, part);
    }
    refuse(nested, "unet.model_channels", "32.0", VIPO_FORMAT, "unet.model_channels: expected an integer");

    static const struct {
        const char *path, *value, *part;
    } lists[] = {
        {"unet.image_size", "16", "expected an array of at most 2 integers"},
        {"unet.image_size", "[16, 16, 3]", "found an array of 3"},
        {"unet.image_size", "[16, 0]", "unet.image_size[1]: expected an integer in 1..2048, found 0"},
        {"unet.channel_mult", "[1, \"2\"]",
         "unet.channel_mult[1]: expected an integer in 1..64, found string"},
        {"unet.channel_mult", "[0, 1]", "unet.channel_mult[0]"},
        {"unet.channel_mult", "[1, 65]", "unet.channel_mult[1]"},
        {"unet.channel_mult", "[1, 1, 1, 1, 1, 1, 1, 1, 1]", "found an array of 9"},
        {"unet.channel_mult", "[]", "channel_mult is empty, expected 1 to 8 levels"},
        {"unet.attention_resolutions", "[1, 2, 4, 8, 16, 32, 64, 128, 256]", "found an array of 9"},
        {"unet.attention_resolutions", "[-2]", "unet.attention_resolutions[0]"},
        {"unet.attention_resolutions", "2", "unet.attention_resolutions: expected an array"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        refuse(nested, lists[i].path, lists[i].value, VIPO_FORMAT, lists[i].part);
    refuse(flat, "attention_ds", "[0]", VIPO_FORMAT, "attention_ds[0]");
}

/* Other architectures and schedules, which this code would run wrongly. */
static void test_unsupported(void **state)
{
    (void)state;
    refuse(nested, "unet.use_scale_shift_norm", "true", VIPO_UNSUPPORTED,
           "use_scale_shift_norm is true, only false is supported");
    refuse(nested, "unet.resblock_updown", "true", VIPO_UNSUPPORTED, "resblock_updown is true");
    refuse(nested, "unet.use_new_attention_order", "true", VIPO_UNSUPPORTED,
           "use_new_attention_order is true");
    refuse(nested, "unet.conv_resample", "false", VIPO_UNSUPPORTED,
           "conv_resample is false, only true is supported");
    refuse(nested, "unet.task_tokens", "false", VIPO_UNSUPPORTED, "task_tokens is false");
    refuse(nested, "unet.resblock_updown", "0", VIPO_FORMAT,
           "unet.resblock_updown: expected true or false, found 0");
    refuse(nested, "diffusion.beta_schedule", "\"linear\"", VIPO_UNSUPPORTED,
           "diffusion.beta_schedule is \"linear\", only \"cosine\" is supported");
    refuse(nested, "diffusion.objective", "\"pred_noise\"", VIPO_UNSUPPORTED,
           "diffusion.objective is \"pred_noise\", only \"pred_v\" is supported");
    refuse(nested, "diffusion.objective", "7", VIPO_FORMAT,
           "diffusion.objective: expected a string, found 7");
    refuse(nested, "diffusion.cosine_s", "0.01", VIPO_FORMAT,
           "diffusion.cosine_s: expected a number in 0.008");
    refuse(nested, "diffusion.beta_max", "1", VIPO_FORMAT, "diffusion.beta_max: expected a number in 0.999");
    refuse(nested, "text_encoder.hidden_act", "\"relu\"", VIPO_UNSUPPORTED,
           "text_encoder.hidden_act is \"relu\", expected quick_gelu or gelu");
}

static void test_contradictions(void **state)
{
    (void)state;
    refuse(nested, "image.height", "17", VIPO_FORMAT,
           "image 17x32 does not halve 1 times, expected multiples of 2");
    refuse(nested, "image.width", "33", VIPO_FORMAT, "image 16x33 does not halve");
    refuse(flat, "channel_mult", "[1, 1, 1, 1, 1, 1]", VIPO_FORMAT, "expected multiples of 32");
    refuse(nested, "unet.image_size", "[32, 16]", VIPO_FORMAT,
           "image.height x width is 16x32, image_size 32x16: expected the same");
    refuse(nested, "unet.image_size", "[16]", VIPO_FORMAT, "image.height x width is 16x32, image_size 16x16");
    refuse(nested, "unet.frames", "4", VIPO_FORMAT, "image.future_frames is 3, frames 4: expected the same");
    refuse(nested, "unet.in_channels", "3", VIPO_FORMAT, "in_channels 3, out_channels 3: expected 6");
    refuse(nested, "unet.out_channels", "6", VIPO_FORMAT, "in_channels 6, out_channels 6: expected 6");
    refuse(nested, "unet.model_channels", "48", VIPO_FORMAT,
           "model_channels 48 is not a multiple of the 32 norm groups");
    refuse(nested, "unet.group_norm_groups", "64", VIPO_FORMAT, "is not a multiple of the 64 norm groups");
    vipo_config config;
    accept(flat, "model_channels", "4096", &config); /* 2 x 4096 is the most */
    refuse(flat, "model_channels", "4128", VIPO_FORMAT, "model_channels: expected an integer in 1..4096");
    refuse("{\"image_size\": [16, 16], \"frames\": 3, \"model_channels\": 2048, \"num_res_blocks\": 1,"
           " \"attention_ds\": [], \"task_token_channels\": 64}",
           "channel_mult", "[1, 5]", VIPO_FORMAT, "channel_mult 5 x model_channels 2048 exceeds 8192");
    refuse(nested, "unet.num_head_channels", "48", VIPO_FORMAT, "64 channels do not split into heads of 48");
    /* heads matter only where there is attention, but always in the middle */
    refuse(flat, "num_head_channels", "128", VIPO_FORMAT, "64 channels do not split into heads of 128");
    accept(flat, "num_head_channels", "64", &config);
    refuse(nested, "text_encoder.num_attention_heads", "3", VIPO_FORMAT,
           "text_encoder.hidden_size 64 does not split into 3 heads");
    refuse(nested, "unet.task_token_channels", "32", VIPO_FORMAT,
           "text_encoder.hidden_size 64 and task_token_channels 32 differ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_folder),   cmocka_unit_test(test_flat),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_distances),
        cmocka_unit_test(test_roots),          cmocka_unit_test(test_missing),
        cmocka_unit_test(test_ranges),         cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_contradictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
