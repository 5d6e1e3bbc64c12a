#include "support/model_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json_util.h"
#include "nets/unet3d.h"
#include "support/golden.h"

enum { PATH_ROOM = 1200, ALIVE = 4, FOLDERS = 32 };

const char *test_in_folder(const char *folder, const char *file)
{
    static char paths[ALIVE][PATH_ROOM];
    static unsigned next;
    char *path = paths[next++ % ALIVE];
    snprintf(path, PATH_ROOM, "%s/%s", folder, file);
    return path;
}

const char *test_folder(const char *name)
{
    static char folders[FOLDERS][PATH_ROOM];
    static int count;
    assert_true(count < FOLDERS);
    char *folder = folders[count++];
    snprintf(folder, PATH_ROOM, "%s", test_temporary(name));
    mkdir(folder, 0777);
    return folder;
}

static void link_file(const char *folder, const char *file)
{
    char from[PATH_ROOM];
    snprintf(from, sizeof from, "%s/%s", test_path("models/metaworld-64"), file);
    remove(test_in_folder(folder, file));
    if (symlink(from, test_in_folder(folder, file)) != 0) fail_msg("cannot link %s", from);
}

const char *test_metaworld_folder(const char *name)
{
    static const char *const files[] = {"config.json", "unet.safetensors", "text_encoder.safetensors",
                                        "vocab.json", "merges.txt"};
    const char *folder = test_folder(name);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) link_file(folder, files[i]);
    return folder;
}

const char test_tiny_config[] =
    "{\"name\": \"tiny\", \"image\": {\"height\": 16, \"width\": 16, \"future_frames\": 3},\n"
    " \"unet\": {\"model_channels\": 32, \"channel_mult\": [1, 2], \"num_res_blocks\": 1,\n"
    "  \"attention_resolutions\": [2], \"task_token_channels\": 128,\n"
    "  \"task_attnpool\": {\"perceiver_depth\": 1, \"heads\": 2, \"dim_head\": 16, \"num_latents\": 8,\n"
    "   \"num_latents_mean_pooled\": 2, \"ff_mult\": 2}},\n"
    " \"diffusion\": {\"timesteps\": 20},\n"
    " \"text_encoder\": {\"hidden_size\": 128, \"intermediate_size\": 256, \"num_hidden_layers\": 2,\n"
    "  \"num_attention_heads\": 4, \"vocab_size\": 743}}\n";

/* A weight source that makes weights up and keeps them. */
typedef struct collector {
    vipo_weight_source made_up;
    test_tensors *tensors;
} collector;

static vipo_status collect(void *user, const char *name, int rank, const size_t *shape, float *out,
                           vipo_error *error)
{
    collector *c = user;
    VIPO_TRY(c->made_up.read(c->made_up.user, name, rank, shape, out, error));
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    test_tensors_add(c->tensors, name, "F32", rank, shape, out, count * sizeof *out);
    return VIPO_OK;
}

void test_tiny_unet(test_tensors *out)
{
    vipo_error error = {0};
    memset(out, 0, sizeof *out);
    json_t *root = json_loads(test_tiny_config, 0, NULL);
    assert_non_null(root);
    vipo_config config;
    assert_ok(vipo_config_parse(&config, root, "tiny", &error), &error);
    json_decref(root);
    generated_weights generated;
    generated_weights_open(&generated, NULL);
    collector c = {.made_up = generated_weights_source(&generated), .tensors = out};
    const vipo_weight_source source = {.user = &c, .read = collect};
    vipo_unet3d *unet = calloc(1, sizeof *unet);
    assert_non_null(unet);
    assert_ok(
        vipo_unet3d_open(unet, &config.unet, &(vipo_packer){.ops = &vipo_ops_ref}, &source, 0, NULL, &error),
        &error);
    vipo_unet3d_close(unet);
    free(unet);
    generated_weights_close(&generated);
}

const char *test_tiny_folder(const char *name)
{
    const char *folder = test_metaworld_folder(name);
    test_file_write(test_in_folder(folder, "config.json"), test_tiny_config, strlen(test_tiny_config));
    test_tensors tensors;
    test_tiny_unet(&tensors);
    test_tensors_write(&tensors, test_in_folder(folder, "unet.safetensors"));
    test_tensors_free(&tensors);
    return folder;
}
