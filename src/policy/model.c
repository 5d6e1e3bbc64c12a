#include "policy/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json_util.h"
#include "core/log.h"
#include "sampling/auto.h"
#include "weights/safetensors.h"

vipo_status vipo_model_path(char path[VIPO_PATH_ROOM], const char *folder, const char *file,
                            vipo_error *error)
{
    const int n = snprintf(path, VIPO_PATH_ROOM, "%s/%s", folder, file);
    if (n < 0 || n >= VIPO_PATH_ROOM)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "path too long: %.200s...", folder);
    return VIPO_OK;
}

static bool exists(const char *folder, const char *file)
{
    char path[VIPO_PATH_ROOM];
    return vipo_model_path(path, folder, file, NULL) == VIPO_OK && access(path, F_OK) == 0;
}

vipo_status vipo_model_read_config(const char *folder, vipo_config *config, vipo_preprocess_steps *preprocess,
                                   vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    VIPO_TRY(vipo_model_path(path, folder, "config.json", error));
    json_t *root;
    VIPO_TRY(vipo_json_load(&root, path, error));
    vipo_status status = vipo_config_parse(config, root, path, error);
    if (status == VIPO_OK) status = vipo_auto_check_own(config->distances, config->n_distances, path, error);
    if (status == VIPO_OK)
        status = vipo_preprocess_from_config(preprocess, root, config->unet.height, config->unet.width, path,
                                             error);
    json_decref(root);
    return status;
}

/* AVDC's checkpoints and wrappers put a prefix before UNetModel's own names. */
static const char *find_prefix(const vipo_safetensors *file)
{
    static const char *const prefixes[] = {"", "unet.", "model.unet."};
    char name[96];
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        snprintf(name, sizeof name, "%stime_embed.0.weight", prefixes[i]);
        if (vipo_safetensors_find(file, name)) return prefixes[i];
    }
    return "";
}

static size_t count_parameters(const vipo_safetensors *file)
{
    size_t n = 0;
    for (int i = 0; i < vipo_safetensors_count(file); i++) n += vipo_safetensors_at(file, i)->count;
    return n;
}

/* A file's tensors, and the seconds that reading them took. */
typedef struct timed_source {
    vipo_weight_source file;
    double seconds;
} timed_source;

static vipo_status timed_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                              vipo_error *error)
{
    timed_source *timed = user;
    const double start = vipo_clock_seconds();
    const vipo_status status = timed->file.read(timed->file.user, name, rank, shape, out, error);
    timed->seconds += vipo_clock_seconds() - start;
    return status;
}

/* Seconds since *from, which becomes now. */
static double lap(double *from)
{
    const double now = vipo_clock_seconds(), seconds = now - *from;
    *from = now;
    return seconds;
}

static vipo_status load_unet(vipo_model *model, const vipo_model_options *options, vipo_packer *packer,
                             vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    VIPO_TRY(vipo_model_path(path, model->folder, "unet.safetensors", error));
    double time = vipo_clock_seconds();
    vipo_safetensors *file;
    vipo_safetensors_reader reader = {.file = NULL};
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    vipo_status status = vipo_safetensors_reader_open(&reader, file, find_prefix(file), error);
    if (status != VIPO_OK) goto done;
    VIPO_TRY_GOTO(vipo_model_choose_methods(model, options, packer->pool, error), done);
    packer->choices = &model->choices;
    model->unet = calloc(1, sizeof *model->unet);
    if (!model->unet) {
        status = vipo_fail_memory(error, sizeof *model->unet, "a network");
        goto done;
    }
    timed_source timed = {.file = vipo_safetensors_reader_source(&reader)};
    const vipo_weight_source source = {.user = &timed, .read = timed_read};
    model->load.map += lap(&time);
    VIPO_TRY_GOTO(vipo_unet3d_open(model->unet, &model->config.unet, packer, &source, count_parameters(file),
                                   options->callbacks, error),
                  done);
    model->load.read += timed.seconds;
    model->load.pack += lap(&time) - timed.seconds;
    int unused;
    const char *name = vipo_safetensors_reader_unused(&reader, &unused);
    if (name)
        status = vipo_fail(
            error, VIPO_MISMATCH,
            "%s: %d tensors are not part of the network that config.json describes, the first is %s", path,
            unused, name);
done:
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&file);
    return status;
}

static vipo_status load_text(vipo_model *model, const vipo_packer *packer, const vipo_callbacks *callbacks,
                             vipo_error *error)
{
    char path[VIPO_PATH_ROOM], merges[VIPO_PATH_ROOM];
    VIPO_TRY(vipo_model_path(path, model->folder, "vocab.json", error));
    VIPO_TRY(vipo_model_path(merges, model->folder, "merges.txt", error));
    double time = vipo_clock_seconds();
    VIPO_TRY(vipo_clip_bpe_open(&model->bpe, path, merges, error));
    model->load.tokenizer += lap(&time);
    if (vipo_clip_bpe_vocabulary(model->bpe) > model->config.text.vocabulary)
        return vipo_fail(error, VIPO_MISMATCH, "%s: has %d tokens, config.json says vocab_size %d", path,
                         vipo_clip_bpe_vocabulary(model->bpe), model->config.text.vocabulary);
    VIPO_TRY(vipo_model_path(path, model->folder, "text_encoder.safetensors", error));
    vipo_safetensors *file;
    vipo_safetensors_reader reader = {.file = NULL};
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    vipo_status status = vipo_safetensors_reader_open(&reader, file, "", error);
    if (status == VIPO_OK) {
        model->text = calloc(1, sizeof *model->text);
        if (!model->text) status = vipo_fail_memory(error, sizeof *model->text, "a text encoder");
    }
    model->load.map += lap(&time);
    if (status == VIPO_OK) {
        timed_source timed = {.file = vipo_safetensors_reader_source(&reader)};
        const vipo_weight_source source = {.user = &timed, .read = timed_read};
        /* published files also hold the vision tower and projections: other tensors are not looked at */
        status = vipo_clip_text_open(model->text, &model->config.text, packer, &source, callbacks, error);
        model->load.read += timed.seconds;
        model->load.pack += lap(&time) - timed.seconds;
        if (status != VIPO_OK) {
            free(model->text);
            model->text = NULL;
        }
    }
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&file);
    return status;
}

void vipo_model_default_options(vipo_model_options *options)
{
    *options = (vipo_model_options){.parts = VIPO_MODEL_UNET | VIPO_MODEL_TEXT};
}

vipo_status vipo_model_open_pool(vipo_pool **out, int threads, vipo_error *error)
{
    const vipo_status status = vipo_pool_open(out, threads, error);
    return status != VIPO_OK && threads == 0 ? vipo_pool_open(out, 1, error) : status;
}

static void fill_info(vipo_model_info *out, const char *folder, const vipo_config *config,
                      const vipo_preprocess_steps *preprocess);
static vipo_status fill_files(vipo_model_info *out, const char *folder, const vipo_config *config,
                              vipo_error *error);

static vipo_status open_parts(vipo_model *model, const vipo_model_options *options, vipo_error *error)
{
    double time = vipo_clock_seconds();
    VIPO_TRY(vipo_model_read_config(model->folder, &model->config, &model->preprocess, error));
    /* Kept: what others do to the folder later is not noticed. */
    fill_info(&model->info, model->folder, &model->config, &model->preprocess);
    model->load.config = lap(&time);
    VIPO_TRY(vipo_ops_find(&model->ops, options->compute, error));
    VIPO_TRY(vipo_schedule_open(&model->schedule, model->config.diffusion.timesteps, error));
    const bool has_text = model->config.has_text && exists(model->folder, "text_encoder.safetensors");
    /* A file that cannot be read is told by whoever loads it, and is no matter where it is not asked for. */
    if (fill_files(&model->info, model->folder, &model->config, NULL) != VIPO_OK)
        model->info.has_text_encoder = has_text;
    vipo_packer packer = {.ops = model->ops, .half_weights = options->half_weights};
    VIPO_TRY(vipo_model_open_pool(&packer.pool, options->threads, error));
    vipo_status status = VIPO_OK;
    if ((options->parts & VIPO_MODEL_TEXT) && has_text)
        status = load_text(model, &packer, options->callbacks, error);
    if (status == VIPO_OK && (options->parts & VIPO_MODEL_UNET))
        status = load_unet(model, options, &packer, error);
    vipo_pool_close(&packer.pool);
    return status;
}

vipo_status vipo_model_open(vipo_model **out, const char *folder, const vipo_model_options *options,
                            vipo_error *error)
{
    *out = NULL;
    vipo_model_options defaults;
    vipo_model_default_options(&defaults);
    if (!options) options = &defaults;
    vipo_model *model = calloc(1, sizeof *model);
    if (!model) return vipo_fail_memory(error, sizeof *model, "a model");
    const double start = vipo_clock_seconds();
    model->folder = strdup(folder);
    const vipo_status status = model->folder ? open_parts(model, options, error)
                                             : vipo_fail_memory(error, strlen(folder) + 1, "a path");
    model->load.total = vipo_clock_seconds() - start;
    if (status != VIPO_OK) vipo_model_close(&model);
    *out = model;
    return status;
}

void vipo_model_close(vipo_model **model_pointer)
{
    vipo_model *model = *model_pointer;
    if (!model) return;
    if (model->unet) vipo_unet3d_close(model->unet);
    if (model->text) vipo_clip_text_close(model->text);
    free(model->unet);
    free(model->text);
    vipo_clip_bpe_close(&model->bpe);
    vipo_schedule_close(&model->schedule);
    vipo_choices_free(&model->choices);
    free(model->folder);
    free(model);
    *model_pointer = NULL;
}

const char *vipo_model_compute(const vipo_model *model)
{
    return model->ops->name;
}

void vipo_model_load_times(const vipo_model *model, vipo_load_times *out)
{
    *out = model->load;
}

vipo_status vipo_model_need_text(const vipo_model *model, vipo_error *error)
{
    if (model->text) return VIPO_OK;
    return vipo_fail(error, VIPO_UNSUPPORTED,
                     "%s: has no text encoder (text_encoder.safetensors, vocab.json, merges.txt); give task "
                     "tokens instead",
                     model->folder);
}

/* ---- information ------------------------------------------------------------------------------------- */

/* The last part of a path: the name of a model whose configuration does not give one. */
static void folder_name(const char *folder, char *name, size_t size)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/') start--;
    snprintf(name, size, "%.*s", (int)(end - start), folder + start);
}

static void fill_info(vipo_model_info *out, const char *folder, const vipo_config *config,
                      const vipo_preprocess_steps *preprocess)
{
    const vipo_unet_config *unet = &config->unet;
    memset(out, 0, sizeof *out);
    if (config->name[0])
        snprintf(out->name, sizeof out->name, "%s", config->name);
    else
        folder_name(folder, out->name, sizeof out->name);
    out->height = unet->height;
    out->width = unet->width;
    out->frames = unet->frames;
    out->model_channels = unet->model_channels;
    out->levels = unet->levels;
    memcpy(out->channel_mult, unet->channel_mult, sizeof out->channel_mult);
    out->res_blocks = unet->res_blocks;
    memcpy(out->attention_ds, unet->attention_ds, sizeof out->attention_ds);
    out->attention_levels = unet->attention_levels;
    out->head_channels = unet->head_channels;
    out->token_channels = unet->token_channels;
    out->timesteps = config->diffusion.timesteps;
    out->calibration = config->calibration;
    snprintf(out->objective, sizeof out->objective, "pred_v");
    if (config->has_text) {
        out->text_width = config->text.width;
        out->text_layers = config->text.layers;
        out->vocabulary = config->text.vocabulary;
    }
    vipo_preprocess_describe(preprocess, out->preprocess, sizeof out->preprocess);
}

/* Headers only. A file that is not there leaves its numbers 0. */
static vipo_status fill_file(const char *folder, const char *name, size_t *parameters, size_t *bytes,
                             char *dtype, size_t dtype_size, int *n_tensors, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    if (!exists(folder, name)) return VIPO_OK;
    VIPO_TRY(vipo_model_path(path, folder, name, error));
    vipo_safetensors *file;
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    *parameters = count_parameters(file);
    *bytes = vipo_safetensors_file_bytes(file);
    *n_tensors += vipo_safetensors_count(file);
    const char *first = NULL;
    for (int i = 0; i < vipo_safetensors_count(file); i++) {
        const char *found = vipo_dtype_name(vipo_safetensors_at(file, i)->dtype);
        if (first && strcmp(first, found) != 0) {
            first = "mixed";
            break;
        }
        first = found;
    }
    snprintf(dtype, dtype_size, "%s", first ? first : "");
    vipo_safetensors_close(&file);
    return VIPO_OK;
}

static vipo_status fill_files(vipo_model_info *out, const char *folder, const vipo_config *config,
                              vipo_error *error)
{
    VIPO_TRY(fill_file(folder, "unet.safetensors", &out->unet_parameters, &out->unet_file_bytes,
                       out->unet_dtype, sizeof out->unet_dtype, &out->n_tensors, error));
    VIPO_TRY(fill_file(folder, "text_encoder.safetensors", &out->text_parameters, &out->text_file_bytes,
                       out->text_dtype, sizeof out->text_dtype, &out->n_tensors, error));
    out->has_text_encoder = config->has_text && out->text_file_bytes > 0;
    return VIPO_OK;
}

vipo_status vipo_model_read_info(const char *folder, vipo_model_info *out, vipo_error *error)
{
    vipo_config config;
    vipo_preprocess_steps preprocess;
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_model_read_config(folder, &config, &preprocess, error));
    fill_info(out, folder, &config, &preprocess);
    const vipo_status status = fill_files(out, folder, &config, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}

void vipo_model_get_info(const vipo_model *model, vipo_model_info *out)
{
    *out = model->info;
}

/* ---- preprocessing ------------------------------------------------------------------------------------ */

vipo_status vipo_model_preprocess(const vipo_model *model, const vipo_image *image, vipo_array *out,
                                  vipo_error *error)
{
    return vipo_preprocess_apply(&model->preprocess, image, out, error);
}

vipo_status vipo_preprocess_folder(const char *folder, const vipo_image *image, vipo_array *out,
                                   vipo_error *error)
{
    vipo_config config;
    vipo_preprocess_steps preprocess;
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_model_read_config(folder, &config, &preprocess, error));
    return vipo_preprocess_apply(&preprocess, image, out, error);
}
