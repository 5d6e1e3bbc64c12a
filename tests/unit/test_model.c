/* Model folders through the public functions: the shipped one, a tiny one, and folders that are wrong. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/model_folder.h"

/* ---- helpers ------------------------------------------------------------------------------------- */

static vipo_model *open_model(const char *folder)
{
    vipo_model *model;
    vipo_error error = {0};
    assert_ok(vipo_model_open(&model, folder, NULL, &error), &error);
    return model;
}

/* Opening must fail with one line that begins with `file` of the folder and has `part` in it. */
static void assert_refused(const char *folder, vipo_status expected, const char *file, const char *part)
{
    vipo_model *model = (vipo_model *)1;
    vipo_error error = {0};
    const vipo_status status = vipo_model_open(&model, folder, NULL, &error);
    assert_null(model);
    const char *path = test_in_folder(folder, file);
    if (status != expected || error.status != expected || strncmp(error.message, path, strlen(path)) != 0 ||
        !strstr(error.message, part))
        fail_msg("%s: \"%s\"; expected %s: \"%s: %s\"", vipo_status_text(status), error.message,
                 vipo_status_text(expected), path, part);
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(vipo_model_open(&model, folder, NULL, NULL), expected);
}

static vipo_array filled(int rank, const size_t *shape, uint64_t seed)
{
    vipo_array array;
    vipo_error error = {0};
    assert_ok(vipo_array_alloc(&array, rank, shape, &error), &error);
    for (size_t i = 0; i < vipo_array_size(&array); i++) array.data[i] = test_uniform(seed, i);
    return array;
}

/* One network call on made-up inputs. */
static vipo_array denoise(const vipo_model *model)
{
    vipo_model_info info;
    vipo_model_get_info(model, &info);
    const size_t h = (size_t)info.height, w = (size_t)info.width;
    vipo_array x = filled(5, (const size_t[]){1, (size_t)info.frames, h, w, 3}, 1);
    vipo_array cond = filled(4, (const size_t[]){1, h, w, 3}, 2);
    vipo_array tokens = filled(3, (const size_t[]){1, 4, (size_t)info.token_channels}, 3), v;
    for (size_t i = 0; i < vipo_array_size(&cond); i++) cond.data[i] = 0.5F + 0.5F * cond.data[i];
    vipo_planner *planner;
    vipo_error error = {0};
    const int t = 11;
    const vipo_denoise_request request = {.x = &x, .cond = &cond, .tokens = &tokens, .t = &t, .n_t = 1};
    assert_ok(vipo_planner_open(&planner, model, NULL, &error), &error);
    assert_ok(vipo_planner_denoise(planner, &request, &v, NULL, &error), &error);
    vipo_planner_close(&planner);
    vipo_array_free(&x);
    vipo_array_free(&cond);
    vipo_array_free(&tokens);
    return v;
}

static vipo_array denoise_folder(const char *folder)
{
    vipo_model *model = open_model(folder);
    vipo_array v = denoise(model);
    vipo_model_close(&model);
    return v;
}

static void assert_same_bits(vipo_array *a, vipo_array *b)
{
    assert_int_equal(vipo_array_size(a), vipo_array_size(b));
    assert_memory_equal(a->data, b->data, vipo_array_size(a) * sizeof *a->data);
    vipo_array_free(a);
    vipo_array_free(b);
}

/* ---- the shipped model --------------------------------------------------------------------------- */

static void test_metaworld(void **state)
{
    (void)state;
    vipo_model *model = open_model(test_path("models/metaworld-64"));
    vipo_model_info info, read;
    vipo_error error = {0};
    vipo_model_get_info(model, &info);
    assert_ok(vipo_model_read_info(test_path("models/metaworld-64"), &read, &error), &error);
    assert_memory_equal(&info, &read, sizeof info);
    assert_int_equal(info.height, 64);
    assert_int_equal(info.width, 64);
    assert_int_equal(info.frames, 7);
    assert_int_equal(info.model_channels, 32);
    assert_int_equal(info.levels, 4);
    assert_int_equal(info.channel_mult[3], 4);
    assert_int_equal(info.res_blocks, 1);
    assert_int_equal(info.attention_levels, 2);
    assert_int_equal(info.attention_ds[0], 4);
    assert_int_equal(info.attention_ds[1], 8);
    assert_int_equal(info.head_channels, 32);
    assert_int_equal(info.token_channels, 128);
    assert_int_equal(info.timesteps, 100);
    assert_string_equal(info.objective, "pred_v");
    assert_true(info.has_text_encoder);
    assert_int_equal(info.text_width, 128);
    assert_int_equal(info.text_layers, 2);
    assert_int_equal(info.vocabulary, 743);
    assert_true(info.unet_parameters > 4500000 && info.unet_parameters < 4600000);
    assert_true(info.text_parameters > 370000 && info.text_parameters < 390000);
    size_t size;
    free(test_file_read(test_path("models/metaworld-64/unet.safetensors"), &size));
    assert_int_equal(info.unet_file_bytes, size);
    assert_string_equal(info.unet_dtype, "F16");
    assert_string_equal(info.text_dtype, "F16");
    assert_non_null(strstr(info.preprocess, "crop 128x128"));
    assert_true(info.n_tensors > 100);
    assert_non_null(vipo_model_compute(model));
    vipo_model_close(&model);
    assert_null(model);
    /* an open model does not notice what becomes of its folder */
    const char *folder = test_metaworld_folder("info");
    model = open_model(folder);
    vipo_model_get_info(model, &info);
    unlink(test_in_folder(folder, "config.json"));
    unlink(test_in_folder(folder, "unet.safetensors"));
    vipo_model_get_info(model, &read);
    assert_memory_equal(&info, &read, sizeof info);
    assert_true(read.unet_file_bytes > 0);
    vipo_model_close(&model);
    vipo_model_close(&model);
}

static void test_parts(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("parts");
    vipo_model_options options;
    vipo_error error = {0};
    vipo_model *model;
    vipo_planner *planner;
    vipo_array features, cond = filled(4, (const size_t[]){1, TINY_SIDE, TINY_SIDE, 3}, 1);
    vipo_model_default_options(&options);
    assert_int_equal(options.parts, VIPO_MODEL_UNET | VIPO_MODEL_TEXT);
    assert_null(options.compute);

    options.parts = VIPO_MODEL_TEXT;
    vipo_model_info info;
    test_file_write(test_in_folder(folder, "unet.safetensors"), "broken", 6); /* not asked for */
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    vipo_model_get_info(model, &info);
    assert_int_equal(info.height, TINY_SIDE);
    assert_true(info.has_text_encoder);
    vipo_model_close(&model);
    unlink(test_in_folder(folder, "unet.safetensors"));
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    assert_ok(vipo_planner_open(&planner, model, NULL, &error), &error);
    int32_t ids[77];
    int n_ids;
    assert_ok(vipo_planner_encode_text(planner, "door open", ids, &n_ids, &features, NULL, &error), &error);
    assert_int_equal(n_ids, 4);
    assert_int_equal(ids[1], 526);
    assert_int_equal(features.shape[1], 4);
    assert_int_equal(features.shape[2], 128);
    vipo_request request;
    vipo_plan plan;
    vipo_request_default(&request);
    request.cond = &cond;
    request.tokens = &features;
    assert_int_equal(vipo_planner_plan(planner, &request, &plan, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "the model was opened without its network");
    const vipo_denoise_request call = {.x = &cond};
    vipo_array v;
    assert_int_equal(vipo_planner_denoise(planner, &call, &v, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "the model was opened without its network");
    vipo_array_free(&features);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    vipo_array_free(&cond);

    folder = test_tiny_folder("parts");
    options.parts = VIPO_MODEL_UNET;
    unlink(test_in_folder(folder, "vocab.json"));
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    v = denoise(model);
    vipo_array_free(&v);
    vipo_model_close(&model);

    options.compute = "ref";
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    assert_string_equal(vipo_model_compute(model), "ref");
    vipo_model_close(&model);
    options.compute = "abacus";
    assert_int_equal(vipo_model_open(&model, folder, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "op table \"abacus\" is not there; this machine has: ref"));
    assert_null(model);
}

/* ---- progress and cancellation ------------------------------------------------------------------- */

typedef struct watch {
    double done, total;
    int calls, cancel_at;
} watch;

static void on_progress(void *user, const char *phase, double done, double total)
{
    watch *w = user;
    assert_string_equal(phase, "load");
    assert_true(done >= w->done && done <= total && (w->total == 0 || total == w->total));
    w->done = done;
    w->total = total;
    w->calls++;
}

static bool on_cancelled(void *user)
{
    watch *w = user;
    return w->cancel_at > 0 && w->calls >= w->cancel_at;
}

static void test_loading(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("loading");
    watch w = {0};
    const vipo_callbacks callbacks = {.user = &w, .progress = on_progress, .cancelled = on_cancelled};
    vipo_model_options options;
    vipo_model_default_options(&options);
    options.callbacks = &callbacks;
    vipo_model *model;
    vipo_error error = {0};
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    vipo_model_info info;
    vipo_model_get_info(model, &info);
    vipo_model_close(&model);
    assert_true(w.calls > 10);
    assert_true(w.done == w.total && w.total == (double)info.unet_parameters);
    for (int at = 1; at < w.calls; at += 7) {
        watch early = {.cancel_at = at};
        const vipo_callbacks stop = {.user = &early, .progress = on_progress, .cancelled = on_cancelled};
        options.callbacks = &stop;
        assert_int_equal(vipo_model_open(&model, folder, &options, &error), VIPO_CANCELLED);
        assert_null(model);
        assert_true(early.calls < w.calls);
    }
}

/* The threads of this process. */
static int count_threads(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    char line[256];
    int threads = 0;
    while (threads == 0 && fgets(line, sizeof line, f)) (void)sscanf(line, "Threads: %d", &threads);
    fclose(f);
    assert_true(threads > 0);
    return threads;
}

static void most_threads(void *user, const char *what, double done, double total)
{
    (void)what, (void)done, (void)total;
    int *most = user;
    const int now = count_threads();
    if (now > *most) *most = now;
}

static void test_loading_threads(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("loading-threads");
    vipo_model_options options;
    vipo_model_default_options(&options);
    options.tuning = VIPO_TUNING_OFF;
    vipo_model *model;
    vipo_error error = {0};
    const int before = count_threads();
    for (options.threads = 1; options.threads <= 5; options.threads += 2) {
        while (count_threads() > before)
            usleep(1000); /* those that have ended, not yet gone from the kernel's list */
        int most = 0;
        const vipo_callbacks callbacks = {.user = &most, .progress = most_threads};
        options.callbacks = &callbacks;
        assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
        vipo_model_close(&model);
        assert_int_equal(most - before, options.threads - 1);
        options.callbacks = NULL;
    }
    options.threads = -1;
    assert_int_equal(vipo_model_open(&model, folder, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_null(model);
}

/* ---- folders that are wrong ---------------------------------------------------------------------- */

static void test_missing_files(void **state)
{
    (void)state;
    static const char none[] = "No such file or directory";
    assert_refused("/no/such/folder", VIPO_IO, "config.json", none);
    vipo_model_info info;
    vipo_error error = {0};
    assert_int_equal(vipo_model_read_info("/no/such/folder", &info, &error), VIPO_IO);
    assert_string_equal(error.message, "/no/such/folder/config.json: No such file or directory");
    const char *folder = test_tiny_folder("missing");
    unlink(test_in_folder(folder, "config.json"));
    assert_refused(folder, VIPO_IO, "config.json", none);
    folder = test_tiny_folder("missing");
    unlink(test_in_folder(folder, "unet.safetensors"));
    assert_refused(folder, VIPO_IO, "unet.safetensors", none);
    assert_ok(vipo_model_read_info(folder, &info, &error), &error);
    assert_int_equal(info.unet_parameters, 0);
    assert_true(info.has_text_encoder);
    /* half a text encoder is a mistake, none is not */
    folder = test_tiny_folder("missing");
    unlink(test_in_folder(folder, "vocab.json"));
    assert_refused(folder, VIPO_IO, "vocab.json", none);
    folder = test_tiny_folder("missing");
    unlink(test_in_folder(folder, "merges.txt"));
    assert_refused(folder, VIPO_IO, "merges.txt", none);

    char *longest = malloc(5000);
    assert_non_null(longest);
    memset(longest, 'x', 4999);
    longest[4999] = '\0';
    vipo_model *model;
    assert_int_equal(vipo_model_open(&model, longest, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "path too long"));
    free(longest);
}

static void test_bad_config(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("config");
    const char *path = test_in_folder(folder, "config.json");
    static const char broken[] = "{\"image\": {",
                      wrong[] = "{\"image\": {\"height\": 16, \"width\": \"16\"}}";
    test_file_write(path, broken, sizeof broken - 1);
    assert_refused(folder, VIPO_FORMAT, "config.json", "line 1, column ");
    test_file_write(path, wrong, sizeof wrong - 1);
    assert_refused(folder, VIPO_FORMAT, "config.json",
                   "image.width: expected an integer in 1..2048, found string \"16\"");
    char unknown[4096];
    const int length =
        snprintf(unknown, sizeof unknown,
                 "{\"calibration\": {\"samplers\": [{\"sampler\": \"ddmi:10\", \"distance\": 1}]}, %s",
                 strchr(test_tiny_config, '{') + 1);
    assert_true(length > 0 && length < (int)sizeof unknown);
    test_file_write(path, unknown, (size_t)length);
    assert_refused(folder, VIPO_FORMAT, "config.json",
                   "calibration.samplers[0].sampler: \"ddmi:10\", expected one of ab2:6, ");
    test_file_write(path, "", 0);
    assert_refused(folder, VIPO_FORMAT, "config.json", "empty file, expected JSON");
    vipo_model_info info;
    vipo_error error = {0};
    assert_int_equal(vipo_model_read_info(folder, &info, &error), VIPO_FORMAT);
}

static void test_truncated_weights(void **state)
{
    (void)state;
    const char *folder = test_metaworld_folder("truncated");
    size_t size;
    char *whole = test_file_read(test_path("models/metaworld-64/unet.safetensors"), &size);
    const size_t cuts[] = {0, 7, 8, 100, 20000, size / 2, size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        test_file_write(test_in_folder(folder, "unet.safetensors"), whole, cuts[i]);
        assert_refused(folder, VIPO_FORMAT, "unet.safetensors", cuts[i] < 9 ? "expected" : "truncated");
    }
    vipo_model_info info;
    memset(&info, 1, sizeof info);
    assert_int_equal(vipo_model_read_info(folder, &info, NULL), VIPO_FORMAT);
    assert_int_equal(info.height, 0);
    assert_int_equal(info.name[0], 0);
    free(whole);
    folder = test_metaworld_folder("truncated");
    whole = test_file_read(test_path("models/metaworld-64/text_encoder.safetensors"), &size);
    test_file_write(test_in_folder(folder, "text_encoder.safetensors"), whole, size - 1);
    assert_refused(folder, VIPO_FORMAT, "text_encoder.safetensors", "truncated");
    free(whole);
}

/* Writes the tiny UNet with one change. */
typedef void change(test_tensors *tensors);

static const char *changed_folder(change *how)
{
    const char *folder = test_tiny_folder("changed");
    test_tensors tensors;
    test_tiny_unet(&tensors);
    how(&tensors);
    test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
    test_tensors_free(&tensors);
    return folder;
}

static const char changed_name[] = "input_blocks.1.0.in_layers.2.spatial_conv.weight";

static void put(test_tensors *tensors, size_t element, float value)
{
    memcpy(test_tensors_find(tensors, changed_name)->data + 4 * element, &value, 4);
}

static void put_nan(test_tensors *tensors)
{
    put(tensors, 1234, NAN);
}

static void put_infinity(test_tensors *tensors)
{
    put(tensors, 0, -INFINITY);
}

static void add_tensor(test_tensors *tensors)
{
    const size_t shape[1] = {4};
    test_tensors_add(tensors, "a.stranger", "F32", 1, shape, NULL, 16);
    test_tensors_add(tensors, "b.stranger", "F32", 1, shape, NULL, 16);
}

static void rename_tensor(test_tensors *tensors)
{
    strcpy(test_tensors_find(tensors, changed_name)->name, "elsewhere");
}

static void reshape(test_tensors *tensors)
{
    test_tensor *tensor = test_tensors_find(tensors, changed_name);
    tensor->rank = 2;
    tensor->shape[1] *= 9;
}

static void use_integers(test_tensors *tensors)
{
    strcpy(test_tensors_find(tensors, changed_name)->dtype, "I32");
}

static void test_wrong_tensors(void **state)
{
    (void)state;
    static const struct {
        change *how;
        vipo_status status;
        const char *part;
    } cases[] = {
        {put_nan, VIPO_NUMERIC,
         "tensor input_blocks.1.0.in_layers.2.spatial_conv.weight: element 1234 is NaN, expected a finite "
         "number"},
        {put_infinity, VIPO_NUMERIC, "spatial_conv.weight: element 0 is infinite, expected a finite number"},
        {add_tensor, VIPO_MISMATCH,
         "2 tensors are not part of the network that config.json describes, the first is a.stranger"},
        {rename_tensor, VIPO_MISMATCH,
         "tensor input_blocks.1.0.in_layers.2.spatial_conv.weight is missing, expected shape [32, 32, 3, 3]"},
        {reshape, VIPO_MISMATCH, "spatial_conv.weight: expected shape [32, 32, 3, 3], found [32, 288]"},
        {use_integers, VIPO_MISMATCH, "spatial_conv.weight: expected F32, F16 or BF16, found I32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(changed_folder(cases[i].how), cases[i].status, "unet.safetensors", cases[i].part);
}

/* The same in half precision, in the text encoder, of the shipped model. */
static void test_wrong_text_tensors(void **state)
{
    (void)state;
    const char *folder = test_metaworld_folder("wrong_text");
    test_tensors tensors;
    test_tensors_read(&tensors, test_path("models/metaworld-64/text_encoder.safetensors"));
    test_tensor *tensor = &tensors.list[3];
    const uint16_t nan = 0x7e01, before = (uint16_t)(tensor->data[10] | tensor->data[11] << 8);
    memcpy(tensor->data + 10, &nan, 2);
    test_tensors_write(&tensors, test_in_folder(folder, "text_encoder.safetensors"));
    char part[320];
    snprintf(part, sizeof part, "tensor %s: element 5 is NaN", tensor->name);
    assert_refused(folder, VIPO_NUMERIC, "text_encoder.safetensors", part);
    /* tensors of other towers are not looked at */
    memcpy(tensor->data + 10, &before, 2);
    const size_t shape[1] = {4};
    test_tensors_add(&tensors, "vision_model.stranger", "I64", 1, shape, NULL, 32);
    test_tensors_write(&tensors, test_in_folder(folder, "text_encoder.safetensors"));
    vipo_model *model = open_model(folder);
    vipo_model_close(&model);
    test_tensors_free(&tensors);

    /* fewer embeddings than the tokenizer has tokens */
    char *config = test_file_read(test_path("models/metaworld-64/config.json"), NULL);
    char *vocabulary = strstr(config, "\"vocab_size\": 743");
    assert_non_null(vocabulary);
    memcpy(vocabulary, "\"vocab_size\": 742", strlen("\"vocab_size\": 742"));
    test_file_write(test_in_folder(folder, "config.json"), config, strlen(config));
    free(config);
    assert_refused(folder, VIPO_MISMATCH, "vocab.json", "has 743 tokens, config.json says vocab_size 742");
}

/* Geometry that the file does not have is noticed by name and shape. */
static void test_other_geometry(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("geometry");
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"\"model_channels\": 32", "\"model_channels\": 64",
         "tensor time_embed.0.weight: expected shape [256, 64], found [128, 32]"},
        {"\"num_res_blocks\": 1", "\"num_res_blocks\": 2", "expected shape"},
        {"[1, 2]", "[1, 3]", "expected shape"},
        {"\"num_latents\": 8", "\"num_latents\": 9", "expected shape [9, 128], found [8, 128]"},
        {"\"attention_resolutions\": [2]", "\"attention_resolutions\": [1]",
         "tensor input_blocks.1.1.norm.weight is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *at = strstr(test_tiny_config, cases[i].from);
        assert_non_null(at);
        char config[2048];
        snprintf(config, sizeof config, "%.*s%s%s", (int)(at - test_tiny_config), test_tiny_config,
                 cases[i].to, at + strlen(cases[i].from));
        test_file_write(test_in_folder(folder, "config.json"), config, strlen(config));
        assert_refused(folder, VIPO_MISMATCH, "unet.safetensors", cases[i].part);
    }
}

/* ---- without a text encoder ---------------------------------------------------------------------- */

static void test_no_text_encoder(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("no_text");
    unlink(test_in_folder(folder, "text_encoder.safetensors"));
    unlink(test_in_folder(folder, "vocab.json"));
    unlink(test_in_folder(folder, "merges.txt"));
    vipo_model *model = open_model(folder);
    vipo_model_info info;
    vipo_model_get_info(model, &info);
    assert_false(info.has_text_encoder);
    assert_int_equal(info.text_parameters, 0);
    vipo_planner *planner;
    vipo_error error = {0};
    assert_ok(vipo_planner_open(&planner, model, NULL, &error), &error);
    vipo_array cond = filled(4, (const size_t[]){1, TINY_SIDE, TINY_SIDE, 3}, 1);
    vipo_array tokens = filled(3, (const size_t[]){1, 5, TINY_TOKEN_WIDTH}, 2);
    vipo_request request;
    vipo_plan plan;
    vipo_request_default(&request);
    request.cond = &cond;
    request.text = "door open";
    request.sampler.name = "ddim";
    request.sampler.steps = 2;
    assert_int_equal(vipo_planner_plan(planner, &request, &plan, &error), VIPO_UNSUPPORTED);
    assert_null(plan.video.data);
    char expected[1400];
    snprintf(expected, sizeof expected,
             "%s: has no text encoder (text_encoder.safetensors, vocab.json, merges.txt); give task tokens "
             "instead",
             folder);
    assert_string_equal(error.message, expected);
    int n;
    assert_int_equal(vipo_planner_encode_text(planner, "x", NULL, &n, NULL, NULL, &error), VIPO_UNSUPPORTED);
    request.tokens = &tokens; /* they take precedence */
    assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
    vipo_plan_free(&plan);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    vipo_array_free(&cond);
    vipo_array_free(&tokens);
}

/* ---- other spellings of the same weights --------------------------------------------------------- */

static void test_prefixes(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("prefix");
    vipo_array plain = denoise_folder(folder);
    static const char *const prefixes[] = {"unet.", "model.unet."};
    for (size_t p = 0; p < 2; p++) {
        test_tensors tensors;
        test_tiny_unet(&tensors);
        for (int i = 0; i < tensors.count; i++) {
            char name[192];
            snprintf(name, sizeof name, "%s%.160s", prefixes[p], tensors.list[i].name);
            strcpy(tensors.list[i].name, name);
        }
        test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
        vipo_array v = denoise_folder(folder);
        assert_memory_equal(v.data, plain.data, vipo_array_size(&v) * sizeof *v.data);
        vipo_array_free(&v);
        test_tensor *tensor = &tensors.list[7];
        memmove(tensor->name, tensor->name + 1, strlen(tensor->name));
        test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
        assert_refused(folder, VIPO_MISMATCH, "unet.safetensors", "is missing, expected shape");
        test_tensors_free(&tensors);
    }
    vipo_array_free(&plain);
}

/* F16 numbers are F32 numbers: the same bits come out. */
static void test_half_and_single(void **state)
{
    (void)state;
    const char *folder = test_metaworld_folder("single");
    vipo_array half = denoise_folder(folder);
    test_tensors tensors;
    test_tensors_read(&tensors, test_path("models/metaworld-64/unet.safetensors"));
    test_tensors_to_f32(&tensors);
    test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
    test_tensors_free(&tensors);
    vipo_model_info info;
    vipo_error error = {0};
    assert_ok(vipo_model_read_info(folder, &info, &error), &error);
    assert_string_equal(info.unet_dtype, "F32");
    vipo_array single = denoise_folder(folder);
    assert_same_bits(&half, &single);
}

/* BF16, and a file of several types. */
static void test_bfloat(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("bfloat");
    test_tensors tensors;
    test_tiny_unet(&tensors);
    for (int i = 0; i < tensors.count; i++) /* numbers that BF16 holds exactly */
        for (size_t byte = 0; byte < tensors.list[i].bytes; byte += 4)
            tensors.list[i].data[byte] = tensors.list[i].data[byte + 1] = 0;
    test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
    vipo_array single = denoise_folder(folder);
    for (int i = 0; i < tensors.count; i += 2) {
        test_tensor *tensor = &tensors.list[i];
        for (size_t k = 0; k < tensor->bytes / 4; k++)
            memcpy(tensor->data + 2 * k, tensor->data + 4 * k + 2, 2);
        tensor->bytes /= 2;
        strcpy(tensor->dtype, "BF16");
    }
    test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
    test_tensors_free(&tensors);
    vipo_model_info info;
    vipo_error error = {0};
    assert_ok(vipo_model_read_info(folder, &info, &error), &error);
    assert_string_equal(info.unet_dtype, "mixed");
    vipo_array mixed = denoise_folder(folder);
    assert_same_bits(&single, &mixed);
}

/* ---- preprocessing and listing ------------------------------------------------------------------- */

static void test_preprocess(void **state)
{
    (void)state;
    enum { H = 240, W = 320 };
    vipo_image image = {.data = malloc(H * W * 3), .height = H, .width = W};
    assert_non_null(image.data);
    for (size_t i = 0; i < H * W * 3; i++) image.data[i] = (uint8_t)(127.5F + 127.5F * test_uniform(1, i));
    vipo_model *model = open_model(test_path("models/metaworld-64"));
    vipo_array out, same;
    vipo_error error = {0};
    assert_ok(vipo_model_preprocess(model, &image, &out, &error), &error);
    assert_int_equal(out.rank, 4);
    const size_t shape[4] = {1, 64, 64, 3};
    assert_memory_equal(out.shape, shape, sizeof shape);
    for (size_t y = 0; y < 64; y++)
        for (size_t x = 0; x < 64; x++)
            for (size_t c = 0; c < 3; c++) {
                const uint8_t *from = image.data + ((56 + 2 * y) * W + 96 + 2 * x) * 3 + c;
                const int mean = (from[0] + from[3] + from[3 * W] + from[3 * W + 3] + 2) >> 2;
                assert_true(fabsf(out.data[(y * 64 + x) * 3 + c] - (float)mean / 255) < 1e-7F);
            }
    assert_ok(vipo_preprocess_folder(test_path("models/metaworld-64"), &image, &same, &error), &error);
    assert_same_bits(&out, &same);
    const vipo_image small = {.data = image.data, .height = 8, .width = 8};
    assert_int_equal(vipo_model_preprocess(model, &small, &out, &error), VIPO_UNSUPPORTED);
    assert_null(out.data);
    vipo_model_close(&model);
    assert_int_equal(vipo_preprocess_folder("/no/such/folder", &image, &out, &error), VIPO_IO);
    assert_null(out.data);
    free(image.data);
}

static void count_tensor(void *user, const vipo_tensor_info *info)
{
    int *count = user;
    assert_string_equal(info->dtype, "F16");
    assert_true(info->bytes > 0 && info->rank >= 1);
    ++*count;
}

static void test_list(void **state)
{
    (void)state;
    int count = 0;
    vipo_error error = {0};
    vipo_model_info info;
    assert_ok(vipo_safetensors_list(test_path("models/metaworld-64/unet.safetensors"), count_tensor, &count,
                                    &error),
              &error);
    assert_ok(vipo_safetensors_list(test_path("models/metaworld-64/text_encoder.safetensors"), count_tensor,
                                    &count, &error),
              &error);
    assert_ok(vipo_model_read_info(test_path("models/metaworld-64"), &info, &error), &error);
    assert_int_equal(count, info.n_tensors);
    assert_int_equal(vipo_safetensors_list(test_path("README.nowhere"), count_tensor, &count, &error),
                     VIPO_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metaworld),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_loading_threads),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_truncated_weights),
        cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_wrong_text_tensors),
        cmocka_unit_test(test_other_geometry),
        cmocka_unit_test(test_no_text_encoder),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_half_and_single),
        cmocka_unit_test(test_bfloat),
        cmocka_unit_test(test_preprocess),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
