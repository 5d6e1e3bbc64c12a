/* Conversion to model folders: equal weights, configurations that read back, and nothing left after a failure. */
#include "support/golden.h"
#include "support/model_folder.h"
#include "support/torch_file.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json_util.h"
#include "media/preprocess.h"
#include "policy/model_config.h"
#include "policy/preset.h"
#include "policy/tensor_list.h"
#include "weights/torch_checkpoint.h"

/* Entries of the folder that a path is in whose names begin like its own: the result and whatever is left of a
 * temporary one. */
static int count_leftovers(const char *path)
{
    char folder[1200];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    DIR *list = opendir(folder);
    assert_non_null(list);
    int n = 0;
    for (const struct dirent *entry; (entry = readdir(list));)
        if (strncmp(entry->d_name, slash + 1, strlen(slash + 1)) == 0) n++;
    closedir(list);
    return n;
}

static vipo_convert_options tiny_options(void)
{
    static char checkpoint[600], config[600];
    if (!checkpoint[0]) {
        const char *folder = test_tiny_folder("tiny");
        snprintf(checkpoint, sizeof checkpoint, "%s/unet.safetensors", folder);
        snprintf(config, sizeof config, "%s/config.json", folder);
    }
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.from = "safetensors";
    options.checkpoint = checkpoint;
    options.config = config;
    return options;
}

static void fails(const vipo_convert_options *options, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    const char *out = test_temporary("failed");
    const vipo_status status = vipo_convert(out, options, &error);
    if (status == VIPO_OK) fail_msg("converted, expected: %s", part);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
    assert_int_equal(count_leftovers(out), 0);
}

/* ---- results -------------------------------------------------------------------------------------------- */

static void test_equal_weights(void **state)
{
    (void)state;
    vipo_error error = {0};
    const char *folder = golden_square_folder("ema");
    vipo_torch_checkpoint *c;
    vipo_safetensors *result;
    assert_ok(vipo_torch_checkpoint_open(&c, test_path("tests/golden/unet/square.model-24.pt"), &error),
              &error);
    assert_ok(vipo_safetensors_open(&result, test_in_folder(folder, "unet.safetensors"), &error), &error);
    static const char prefix[] = "ema/ema_model.model.unet.";
    int compared = 0;
    for (int i = 0; i < vipo_torch_checkpoint_count(c); i++) {
        vipo_tensor_view source;
        assert_ok(vipo_torch_checkpoint_load(c, i, &source, &error), &error);
        if (strncmp(source.name, prefix, strlen(prefix)) != 0) continue;
        const vipo_tensor_view *copy = vipo_safetensors_find(result, source.name + strlen(prefix));
        assert_non_null(copy);
        assert_int_equal(copy->dtype, VIPO_DTYPE_F32);
        assert_int_equal(copy->count, source.count);
        assert_memory_equal(copy->data, source.data, source.count * sizeof(float));
        compared++;
    }
    assert_int_equal(compared, vipo_safetensors_count(result));
    vipo_safetensors_close(&result);
    vipo_torch_checkpoint_close(&c);
}

static void make_clip(const char *folder, bool nested, const char *weights)
{
    const char *metaworld = test_metaworld_folder("clip-source");
    mkdir(folder, 0777);
    static const char *const files[] = {"vocab.json", "merges.txt"};
    for (int i = 0; i < 2; i++) {
        size_t size;
        char *bytes = test_file_read(test_in_folder(metaworld, files[i]), &size);
        test_file_write(test_in_folder(folder, files[i]), bytes, size);
        free(bytes);
    }
    json_t *root = json_load_file(test_in_folder(metaworld, "config.json"), 0, NULL);
    json_t *text = json_object_get(root, "text_encoder");
    json_object_del(text, "hidden_act"); /* what is not said is as in CLIPTextConfig */
    json_t *config =
        nested ? json_pack("{s:s, s:O}", "model_type", "clip", "text_config", text) : json_incref(text);
    assert_int_equal(json_dump_file(config, test_in_folder(folder, "config.json"), 0), 0);
    json_decref(config);
    json_decref(root);
    if (!weights) return;
    test_tensors tensors = {0};
    test_tensors_read(&tensors, test_in_folder(metaworld, "text_encoder.safetensors"));
    test_tensors_add(&tensors, "vision_model.class_embedding", "F32", 1, (const size_t[]){2}, NULL, 8);
    test_tensors_add(&tensors, "text_model.embeddings.position_ids", "I64", 2, (const size_t[]){1, 2}, NULL,
                     16);
    test_tensors_write(&tensors, test_in_folder(folder, weights));
    test_tensors_free(&tensors);
}

/* models/metaworld-64 through the converter makes the same plans. */
static void test_with_text_encoder(void **state)
{
    (void)state;
    vipo_error error = {0};
    char clip[600], out[600];
    const char *metaworld = test_metaworld_folder("metaworld");
    for (int nested = 0; nested < 2; nested++) {
        snprintf(clip, sizeof clip, "%s", test_temporary(nested ? "clip-nested" : "clip-flat"));
        snprintf(out, sizeof out, "%s", test_temporary(nested ? "from-nested" : "from-flat"));
        make_clip(clip, nested, "model.safetensors");
        vipo_convert_options options;
        vipo_convert_default_options(&options);
        options.from = "safetensors";
        options.dtype = "f16";
        options.checkpoint = test_in_folder(metaworld, "unet.safetensors");
        options.config = test_in_folder(metaworld, "config.json");
        options.clip = clip;
        assert_ok(vipo_convert(out, &options, &error), &error);
        assert_int_equal(count_leftovers(out), 1);
        static const char *const files[] = {"unet.safetensors", "text_encoder.safetensors"};
        for (int f = 0; f < 2; f++) {
            test_tensors before = {0}, after = {0};
            test_tensors_read(&before, test_in_folder(metaworld, files[f]));
            test_tensors_read(&after, test_in_folder(out, files[f]));
            for (int i = 0; i < after.count; i++) {
                const test_tensor *source = test_tensors_find(&before, after.list[i].name);
                assert_string_equal(after.list[i].dtype, "F16");
                assert_int_equal(after.list[i].bytes, source->bytes);
                assert_memory_equal(after.list[i].data, source->data, source->bytes);
            }
            if (f == 0) assert_int_equal(before.count, after.count);
            test_tensors_free(&before);
            test_tensors_free(&after);
        }
        vipo_model_info a, b;
        assert_ok(vipo_model_read_info(metaworld, &a, &error), &error);
        assert_ok(vipo_model_read_info(out, &b, &error), &error);
        assert_true(b.has_text_encoder);
        assert_string_equal(a.preprocess, b.preprocess);
        assert_int_equal(a.unet_parameters, b.unet_parameters);
    }
}

/* A configuration is written as it was read. */
static void test_configurations(void **state)
{
    (void)state;
    static const char *const files[] = {"models/metaworld-64/config.json",
                                        "tests/golden/unet/square.config.json",
                                        "tests/golden/unet/wide.config.json"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        vipo_error error = {0};
        const vipo_config config = golden_config(files[i]);
        vipo_config again;
        json_t *root;
        vipo_preprocess_steps steps, steps_again;
        assert_ok(vipo_json_load(&root, test_path(files[i]), &error), &error);
        assert_ok(
            vipo_preprocess_from_config(&steps, root, config.unet.height, config.unet.width, "a", &error),
            &error);
        json_decref(root);
        root = vipo_model_config_json(&config, &steps, "float32", NULL);
        assert_non_null(root);
        char *text = json_dumps(root, JSON_REAL_PRECISION(7));
        json_decref(root);
        root = json_loads(text, 0, NULL);
        free(text);
        assert_ok(vipo_config_parse(&again, root, "again", &error), &error);
        assert_ok(
            vipo_preprocess_from_config(&steps_again, root, again.unet.height, again.unet.width, "b", &error),
            &error);
        json_decref(root);
        assert_memory_equal(&again.unet, &config.unet, sizeof config.unet);
        assert_memory_equal(&again.text, &config.text, sizeof config.text);
        assert_memory_equal(&again.diffusion, &config.diffusion, sizeof config.diffusion);
        assert_memory_equal(&steps_again, &steps, sizeof steps);
    }
}

/* The presets ask for exactly the tensors of the released checkpoints. */
static void test_presets(void **state)
{
    (void)state;
    static const struct {
        const char *preset, *manifest;
        int frames;
    } cases[] = {{"mw", "MW", 7}, {"thor", "Thor", 7}, {"bridge", "Bridge", 6}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        vipo_error error = {0};
        json_t *root;
        vipo_config config;
        vipo_preprocess_steps steps;
        vipo_tensor_list list = {0};
        assert_ok(vipo_preset_find(&config, &steps, cases[i].preset, &error), &error);
        assert_int_equal(config.unet.frames, cases[i].frames);
        snprintf(path, sizeof path, "tests/golden/unet/param_manifest.%s.json", cases[i].manifest);
        assert_ok(vipo_json_load(&root, test_path(path), &error), &error);
        const json_t *parameters = json_object_get(root, "parameters");
        assert_ok(vipo_tensor_list_unet(&list, &config.unet, &error), &error);
        assert_int_equal(list.count, (int)json_object_size(parameters));
        for (int k = 0; k < list.count; k++) {
            char name[256];
            snprintf(name, sizeof name, "unet.%s", list.entries[k].name);
            const json_t *shape = json_object_get(parameters, name);
            if (json_is_object(shape)) shape = json_object_get(shape, "shape");
            if (!json_is_array(shape)) fail_msg("%s: no %s", path, name);
            assert_int_equal(list.entries[k].rank, (int)json_array_size(shape));
            for (int d = 0; d < list.entries[k].rank; d++)
                assert_int_equal(list.entries[k].shape[d],
                                 json_integer_value(json_array_get(shape, (size_t)d)));
        }
        vipo_tensor_list_free(&list);
        json_decref(root);
    }
}

/* ---- destinations ---------------------------------------------------------------------------------------- */

static void test_destinations(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_convert_options options = tiny_options();
    char out[600], slash[620];
    snprintf(out, sizeof out, "%s", test_temporary("destination"));
    snprintf(slash, sizeof slash, "%s///", out);
    mkdir(out, 0777); /* an empty folder is fine, so is a '/' at the end */
    assert_ok(vipo_convert(slash, &options, &error), &error);
    assert_int_equal(access(test_in_folder(out, "unet.safetensors"), F_OK), 0);
    /* the current folder, and a link to an empty one */
    char empty[600], link[600], before[600];
    snprintf(empty, sizeof empty, "%s", test_temporary("empty"));
    snprintf(link, sizeof link, "%s", test_temporary("link"));
    mkdir(empty, 0777);
    assert_int_equal(symlink(empty, link), 0);
    assert_ok(vipo_convert(link, &options, &error), &error);
    assert_int_equal(access(test_in_folder(empty, "unet.safetensors"), F_OK), 0);
    assert_int_equal(lstat(link, &(struct stat){0}), 0);
    snprintf(empty, sizeof empty, "%s", test_temporary("here"));
    mkdir(empty, 0777);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(empty), 0);
    const vipo_status here = vipo_convert(".", &options, &error);
    assert_int_equal(chdir(before), 0);
    assert_ok(here, &error);
    assert_int_equal(access(test_in_folder(empty, "config.json"), F_OK), 0);
    /* a folder with something in it */
    assert_int_equal(vipo_convert(out, &options, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "is not empty"));
    assert_int_equal(count_leftovers(out), 1);
    /* by force: files of the model are replaced, stale ones removed, others stay */
    test_file_write(test_in_folder(out, "README.md"), "mine", 4);
    test_file_write(test_in_folder(out, "vocab.json"), "stale", 5);
    test_file_write(test_in_folder(out, "unet.safetensors"), "broken", 6);
    options.force = true;
    options.dtype = "bf16";
    assert_ok(vipo_convert(out, &options, &error), &error);
    vipo_model_info info;
    assert_ok(vipo_model_read_info(out, &info, &error), &error);
    assert_string_equal(info.unet_dtype, "BF16");
    assert_int_equal(access(test_in_folder(out, "README.md"), F_OK), 0);
    assert_int_not_equal(access(test_in_folder(out, "vocab.json"), F_OK), 0);
    assert_int_equal(count_leftovers(out), 1);
    /* by force, failing on the way: what is left is no model, rather than one of old and new parts */
    unlink(test_in_folder(out, "unet.safetensors"));
    assert_int_equal(mkdir(test_in_folder(out, "unet.safetensors"), 0777), 0);
    assert_int_equal(access(test_in_folder(out, "config.json"), F_OK), 0);
    assert_int_equal(vipo_convert(out, &options, &error), VIPO_IO);
    assert_int_not_equal(access(test_in_folder(out, "config.json"), F_OK), 0);
    assert_int_equal(access(test_in_folder(out, "README.md"), F_OK), 0);
    assert_int_equal(count_leftovers(out), 1);
    rmdir(test_in_folder(out, "unet.safetensors"));
    assert_ok(vipo_convert(out, &options, &error), &error);
    assert_ok(vipo_model_read_info(out, &info, &error), &error);
    /* a file, a folder that is not there, no name */
    char file[600];
    snprintf(file, sizeof file, "%s", test_temporary("a-file"));
    test_file_write(file, "x", 1);
    assert_int_equal(vipo_convert(file, &options, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "is a file"));
    assert_int_equal(vipo_convert(test_temporary("no/such/folder"), &options, &error), VIPO_IO);
    assert_int_equal(vipo_convert("", &options, &error), VIPO_IO);
}

static bool stop_at_tenth(void *user)
{
    int *asked = user;
    return ++*asked == 10;
}

static void test_cancelled(void **state)
{
    (void)state;
    vipo_convert_options options = tiny_options();
    int asked = 0;
    options.callbacks = (vipo_callbacks){.user = &asked, .cancelled = stop_at_tenth};
    fails(&options, VIPO_CANCELLED, "interrupted");
    assert_int_equal(asked, 10);
}

/* ---- inputs ---------------------------------------------------------------------------------------------- */

static void test_options(void **state)
{
    (void)state;
    vipo_convert_options options = tiny_options();
    options.from = "onnx";
    fails(&options, VIPO_INVALID_ARGUMENT, "expected avdc, safetensors, gcp or unimatch");
    options = tiny_options();
    options.preset = "mw";
    fails(&options, VIPO_INVALID_ARGUMENT, "one of preset and config");
    options.config = options.preset = NULL;
    fails(&options, VIPO_INVALID_ARGUMENT, "one of preset and config");
    options.preset = "mars";
    fails(&options, VIPO_INVALID_ARGUMENT, "expected mw, thor or bridge");
    options = tiny_options();
    options.dtype = "f8";
    fails(&options, VIPO_INVALID_ARGUMENT, "expected f32, f16 or bf16");
    options = tiny_options();
    options.weights = "best";
    fails(&options, VIPO_INVALID_ARGUMENT, "expected ema or online");
    options = tiny_options();
    options.frames = 65;
    fails(&options, VIPO_INVALID_ARGUMENT, "frames: 65");
    options = tiny_options();
    options.checkpoint = NULL;
    fails(&options, VIPO_INVALID_ARGUMENT, "needs a checkpoint");
}

static void test_wrong_files(void **state)
{
    (void)state;
    vipo_convert_options options = tiny_options();
    options.checkpoint = test_temporary("absent.pt");
    fails(&options, VIPO_IO, "No such file");
    options = tiny_options();
    options.from = "avdc";
    fails(&options, VIPO_FORMAT, "is a safetensors file, expected a PyTorch checkpoint");
    options = tiny_options();
    options.checkpoint = test_path("tests/golden/unet/square.model-24.pt");
    fails(&options, VIPO_FORMAT, "is a PyTorch checkpoint, expected a safetensors file");
    options.from = "avdc"; /* the tiny sizes: another network */
    fails(&options, VIPO_MISMATCH, "ema/ema_model.model.unet.");
    options.config = NULL;
    options.preset = "thor";
    fails(&options, VIPO_MISMATCH, "time_embed.0.weight: expected shape [512, 128], found [128, 32]");
    options = tiny_options();
    options.checkpoint = test_path("models/metaworld-64/text_encoder.safetensors");
    fails(&options, VIPO_MISMATCH, "holds no AVDC network");
    options = tiny_options();
    options.config = test_path("models/metaworld-64/merges.txt");
    fails(&options, VIPO_FORMAT, "merges.txt");
}

/* A damaged copy of the tiny weights. */
static vipo_convert_options damaged(test_tensors *tensors)
{
    vipo_convert_options options = tiny_options();
    static char path[600];
    snprintf(path, sizeof path, "%s", test_temporary("damaged.safetensors"));
    test_tensors_write(tensors, path);
    test_tensors_free(tensors);
    options.checkpoint = path;
    return options;
}

static void test_damaged_weights(void **state)
{
    (void)state;
    test_tensors tensors = {0};
    test_tiny_unet(&tensors);
    test_tensors_add(&tensors, "discriminator.weight", "F32", 1, (const size_t[]){1}, NULL, 4);
    vipo_convert_options options = damaged(&tensors);
    fails(&options, VIPO_MISMATCH,
          "1 tensors are not part of the network described, the first is discriminator");

    test_tiny_unet(&tensors);
    strcpy(test_tensors_find(&tensors, "out.2.temporal_conv.bias")->name, "out.2.temporal_conv.shift");
    options = damaged(&tensors);
    fails(&options, VIPO_MISMATCH, "out.2.temporal_conv.bias is missing");

    static const uint32_t nan_bits = 0x7fc00000U;
    test_tiny_unet(&tensors);
    memcpy(test_tensors_find(&tensors, "time_embed.2.weight")->data + 400, &nan_bits, sizeof nan_bits);
    options = damaged(&tensors);
    fails(&options, VIPO_NUMERIC, "time_embed.2.weight: element 100 is NaN");

    static const float large = 1e6F;
    test_tiny_unet(&tensors);
    memcpy(test_tensors_find(&tensors, "time_embed.2.weight")->data + 40, &large, sizeof large);
    options = damaged(&tensors);
    options.dtype = "f16";
    fails(&options, VIPO_NUMERIC, "time_embed.2.weight: element 10 is 1e+06, too large for F16");

    test_tiny_unet(&tensors);
    strcpy(test_tensors_find(&tensors, "time_embed.2.bias")->dtype, "I32");
    options = damaged(&tensors);
    fails(&options, VIPO_MISMATCH, "time_embed.2.bias: expected F32, F16 or BF16, found I32");
}

/* Checkpoints with one of AVDC's two sets only, or trained with another schedule. The weights themselves are not
 * reached. */
static void test_wrong_checkpoints(void **state)
{
    (void)state;
    static const float weights[4];
    const test_zip_entry storage = {.name = "data/0", .data = weights, .size = sizeof weights};
    const test_view view = {"FloatStorage", "0", 4, 0, 2, {2, 2}, {2, 1}};
    static const char *const online[] = {"model/model.unet.time_embed.0.weight"};
    static const char *const ema[] = {"ema/ema_model.model.unet.time_embed.0.weight"};
    static const char *const neither[] = {"model.unet.time_embed.0.weight"};
    vipo_convert_options options = tiny_options();
    options.from = "avdc";
    char path[600];
    snprintf(path, sizeof path, "%s", test_temporary("avdc.pt"));
    options.checkpoint = path;
    test_checkpoint_write(path, online, &view, 1, &storage, 1);
    fails(&options, VIPO_MISMATCH, "has no EMA weights; weights \"online\" would take");
    options.weights = "online";
    test_checkpoint_write(path, ema, &view, 1, &storage, 1);
    fails(&options, VIPO_MISMATCH, "has no online weights; weights \"ema\" would take");
    test_checkpoint_write(path, neither, &view, 1, &storage, 1);
    fails(&options, VIPO_MISMATCH, "not an AVDC checkpoint");
    /* the schedule of the golden checkpoint has 100 timesteps */
    options.weights = "ema";
    options.checkpoint = test_path("tests/golden/unet/square.model-24.pt");
    json_t *config = json_load_file(test_path("tests/golden/unet/square.config.json"), 0, NULL);
    json_object_set_new(config, "diffusion", json_pack("{s:i}", "timesteps", 50));
    char changed[600];
    snprintf(changed, sizeof changed, "%s", test_temporary("changed.json"));
    assert_int_equal(json_dump_file(config, changed, 0), 0);
    json_decref(config);
    options.config = changed;
    fails(&options, VIPO_MISMATCH, "alphas_cumprod: expected shape [50], found [100]");
}

static void test_wrong_clip(void **state)
{
    (void)state;
    char clip[600];
    vipo_convert_options options = tiny_options();
    snprintf(clip, sizeof clip, "%s", test_temporary("clip-wrong"));
    options.clip = clip;
    fails(&options, VIPO_IO, "clip-wrong/config.json");
    make_clip(clip, true, NULL);
    fails(&options, VIPO_IO, "has neither model.safetensors nor pytorch_model.bin");
    test_file_write(test_in_folder(clip, "pytorch_model.bin"), "PK\3\4....", 8);
    fails(&options, VIPO_FORMAT, "damaged zip");
    test_file_write(test_in_folder(clip, "config.json"), "[1]", 3);
    fails(&options, VIPO_FORMAT, "expected a JSON object");
    static const char other[] = "{\"hidden_size\": 512}";
    test_file_write(test_in_folder(clip, "config.json"), other, sizeof other - 1);
    fails(&options, VIPO_MISMATCH, "hidden_size is 512, the network expects task tokens of 128");
    static const char small[] = "{\"text_config\": {\"hidden_size\": 128, \"vocab_size\": 500}}";
    test_file_write(test_in_folder(clip, "config.json"), small, sizeof small - 1);
    fails(&options, VIPO_MISMATCH, "has 743 tokens, config.json says vocab_size 500");
    static const char deep[] = "{\"hidden_size\": 128, \"vocab_size\": 743, \"num_hidden_layers\": 3,"
                               " \"intermediate_size\": 256, \"num_attention_heads\": 4}";
    make_clip(clip, false, "model.safetensors");
    test_file_write(test_in_folder(clip, "config.json"), deep, sizeof deep - 1);
    fails(&options, VIPO_MISMATCH, "text_model.encoder.layers.2.layer_norm1.weight is missing");
    remove(test_in_folder(clip, "merges.txt"));
    fails(&options, VIPO_IO, "merges.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_weights),   cmocka_unit_test(test_with_text_encoder),
        cmocka_unit_test(test_configurations),  cmocka_unit_test(test_presets),
        cmocka_unit_test(test_destinations),    cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_options),         cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_damaged_weights), cmocka_unit_test(test_wrong_checkpoints),
        cmocka_unit_test(test_wrong_clip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
