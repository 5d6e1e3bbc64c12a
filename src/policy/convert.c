/* Published checkpoints -> model folder. Everything is checked before the first byte is written: the list of
 * tensors that the network wants is compared with what the file holds. Then tensors are copied one at a
 * time, and the result is opened as any model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/folder_output.h"
#include "core/json_util.h"
#include "core/log.h"
#include "core/mapped_file.h"
#include "core/memory.h"
#include "policy/convert_policy.h"
#include "policy/convert_tensors.h"
#include "policy/model.h"
#include "policy/model_config.h"
#include "policy/preset.h"

enum { PATH_ROOM = 4096 };

typedef struct conversion {
    const vipo_convert_options *options;
    bool from_avdc, from_gcp;
    vipo_dtype dtype;
    vipo_config config;
    vipo_preprocess_steps preprocess;
    vipo_weight_file *unet_file, *text_file;
    vipo_weight_reader unet_reader, text_reader;
    vipo_tensor_list unet_list, text_list;
    vipo_folder_output folder;
    vipo_convert_progress progress;
} conversion;

static vipo_status join(char *path, const char *folder, const char *file, vipo_error *error)
{
    const int n = snprintf(path, PATH_ROOM, "%s/%s", folder, file);
    if (n < 0 || n >= PATH_ROOM)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "path too long: %.200s...", folder);
    return VIPO_OK;
}

/* ---- options ------------------------------------------------------------------------------------------- */

void vipo_convert_default_options(vipo_convert_options *options)
{
    *options = (vipo_convert_options){.from = "avdc", .weights = "ema", .dtype = "f32"};
}

static vipo_status check_options(conversion *c, vipo_error *error)
{
    const vipo_convert_options *o = c->options;
    c->from_avdc = strcmp(o->from, "avdc") == 0;
    c->from_gcp = strcmp(o->from, "gcp") == 0;
    if (!c->from_avdc && !c->from_gcp && strcmp(o->from, "safetensors") != 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "cannot convert from \"%.40s\", expected avdc, safetensors, gcp or unimatch",
                         o->from);
    if (strcmp(o->weights, "ema") != 0 && strcmp(o->weights, "online") != 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "weights: \"%.40s\", expected ema or online",
                         o->weights);
    if (!o->checkpoint) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a conversion needs a checkpoint");
    if (!c->from_gcp && !o->preset == !o->config)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a conversion needs one of preset and config");
    if (o->frames < 0 || o->frames > 64)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "frames: %d, expected 1..64 (0: those of the preset)",
                         o->frames);
    return vipo_convert_dtype(o->dtype, &c->dtype, error);
}

/* ---- configuration -------------------------------------------------------------------------------------- */

/* A text encoder that the file may describe is not the one of the result; nor is a calibration, which belongs to the
 * weights that it was measured on. */
static vipo_status file_config(conversion *c, vipo_error *error)
{
    const char *path = c->options->config;
    json_t *root;
    VIPO_TRY(vipo_json_load(&root, path, error));
    if (json_is_object(root)) json_object_del(root, "text_encoder");
    if (json_is_object(root) && json_object_del(root, "calibration") == 0)
        vipo_log(&c->options->callbacks, VIPO_LOG_INFO,
                 "%s: its calibration is not taken over, the new model needs its own", path);
    vipo_status status = vipo_config_parse(&c->config, root, path, error);
    if (status == VIPO_OK)
        status = vipo_preprocess_from_config(&c->preprocess, root, c->config.unet.height,
                                             c->config.unet.width, path, error);
    json_decref(root);
    return status;
}

/* The text encoder's configuration in Hugging Face's config.json, of a whole CLIP model or of its text part. What
 * is not said there is as in CLIPTextConfig. */
static vipo_status text_config(conversion *c, vipo_error *error)
{
    char path[PATH_ROOM];
    json_t *root;
    VIPO_TRY(join(path, c->options->clip, "config.json", error));
    VIPO_TRY(vipo_json_load(&root, path, error));
    const json_t *found = json_object_get(root, "text_config");
    if (!json_is_object(found)) found = root;
    json_t *text = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "hidden_size", 512, "intermediate_size",
                             2048, "num_hidden_layers", 12, "num_attention_heads", 8,
                             "max_position_embeddings", 77, "vocab_size", 49408, "hidden_act", "quick_gelu");
    const bool merged =
        text && json_is_object(found) && json_object_update(text, (json_t *)(uintptr_t)found) == 0;
    vipo_status status =
        merged ? VIPO_OK
               : vipo_fail(error, VIPO_FORMAT, "%s: expected a JSON object that describes CLIP", path);
    if (status == VIPO_OK) status = vipo_config_parse_text(&c->config.text, text, path, "text_config", error);
    json_decref(text);
    json_decref(root);
    VIPO_TRY(status);
    if (c->config.text.width != c->config.unet.token_channels)
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: hidden_size is %d, the network expects task tokens of %d channels", path,
                         c->config.text.width, c->config.unet.token_channels);
    c->config.has_text = true;
    return VIPO_OK;
}

static vipo_status read_config(conversion *c, vipo_error *error)
{
    if (c->options->preset)
        VIPO_TRY(vipo_preset_find(&c->config, &c->preprocess, c->options->preset, error));
    else
        VIPO_TRY(file_config(c, error));
    if (c->options->frames > 0) c->config.unet.frames = c->options->frames;
    return c->options->clip ? text_config(c, error) : VIPO_OK;
}

/* ---- inputs --------------------------------------------------------------------------------------------- */

static bool has_prefix(const vipo_weight_file *file, const char *prefix)
{
    char name[160];
    snprintf(name, sizeof name, "%stime_embed.0.weight", prefix);
    return vipo_weight_file_find(file, name) != NULL;
}

/* Where in the file the network is; the online weights are never taken for the EMA. */
static vipo_status find_unet(const conversion *c, const char **prefix, vipo_error *error)
{
    static const char ema[] = "ema/ema_model.model.unet.", online[] = "model/model.unet.";
    static const char *const plain[] = {"", "unet.", "model.unet."};
    const vipo_convert_options *o = c->options;
    if (c->from_avdc) {
        const bool wants_ema = strcmp(o->weights, "ema") == 0;
        *prefix = wants_ema ? ema : online;
        if (has_prefix(c->unet_file, *prefix)) return VIPO_OK;
        if (!has_prefix(c->unet_file, wants_ema ? online : ema))
            return vipo_fail(error, VIPO_MISMATCH,
                             "%s: not an AVDC checkpoint: it has neither ema[\"ema_model.model.unet.*\"] nor "
                             "model[\"model.unet.*\"]",
                             o->checkpoint);
        return vipo_fail(error, VIPO_MISMATCH, "%s: has no %s weights; weights \"%s\" would take the others",
                         o->checkpoint, wants_ema ? "EMA" : "online", wants_ema ? "online" : "ema");
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        *prefix = plain[i];
        if (has_prefix(c->unet_file, *prefix)) return VIPO_OK;
    }
    return vipo_fail(
        error, VIPO_MISMATCH,
        "%s: holds no AVDC network: expected tensors time_embed.0.weight ..., also with unet. or "
        "model.unet. before them",
        o->checkpoint);
}

/* The checkpoint's own noise schedule, where it has one, must be the one that config.json stands for. */
static vipo_status check_schedule(conversion *c, vipo_error *error)
{
    const bool wants_ema = strcmp(c->options->weights, "ema") == 0;
    const char *name = wants_ema ? "ema/ema_model.alphas_cumprod" : "model/alphas_cumprod";
    const vipo_tensor_view *view = c->from_avdc ? vipo_weight_file_find(c->unet_file, name) : NULL;
    if (!view) return VIPO_OK;
    const size_t timesteps = (size_t)c->config.diffusion.timesteps;
    VIPO_TRY(vipo_tensor_expect(view, c->options->checkpoint, name, 1, &timesteps, error));
    vipo_schedule schedule;
    float *found = malloc(timesteps * sizeof *found);
    if (!found) return vipo_fail_memory(error, timesteps * sizeof *found, "a noise schedule");
    vipo_status status = vipo_schedule_open(&schedule, (int)timesteps, error);
    if (status == VIPO_OK) {
        status = vipo_weight_file_read(c->unet_file, name, 1, &timesteps, found, error);
        for (size_t t = 0; t < timesteps && status == VIPO_OK; t++)
            if (fabs((double)found[t] - schedule.alpha_bar[t]) > 1e-5)
                status =
                    vipo_fail(error, VIPO_UNSUPPORTED,
                              "%s: %s[%zu] is %g, the cosine schedule has %g: it was trained with another "
                              "schedule",
                              c->options->checkpoint, name, t, (double)found[t], schedule.alpha_bar[t]);
        vipo_schedule_close(&schedule);
    }
    free(found);
    return status;
}

static vipo_status open_unet(conversion *c, vipo_error *error)
{
    const char *prefix, *path = c->options->checkpoint;
    VIPO_TRY(vipo_weight_file_open(&c->unet_file, path, error));
    if (c->from_avdc != vipo_weight_file_is_torch(c->unet_file))
        return vipo_fail(error, VIPO_FORMAT, "%s: is %s, expected %s", path,
                         c->from_avdc ? "a safetensors file" : "a PyTorch checkpoint",
                         c->from_avdc ? "a PyTorch checkpoint (.pt)" : "a safetensors file");
    VIPO_TRY(find_unet(c, &prefix, error));
    VIPO_TRY(vipo_weight_reader_open(&c->unet_reader, c->unet_file, prefix, error));
    VIPO_TRY(vipo_tensor_list_unet(&c->unet_list, &c->config.unet, error));
    VIPO_TRY(vipo_convert_check(&c->unet_list, c->unet_file, path, prefix, false, error));
    return check_schedule(c, error);
}

static vipo_status open_text(conversion *c, vipo_error *error)
{
    char path[PATH_ROOM], merges[PATH_ROOM];
    const char *clip = c->options->clip;
    VIPO_TRY(join(path, clip, "vocab.json", error));
    VIPO_TRY(join(merges, clip, "merges.txt", error));
    vipo_clip_bpe *bpe;
    VIPO_TRY(vipo_clip_bpe_open(&bpe, path, merges, error));
    const int tokens = vipo_clip_bpe_vocabulary(bpe);
    vipo_clip_bpe_close(&bpe);
    if (tokens > c->config.text.vocabulary)
        return vipo_fail(error, VIPO_MISMATCH, "%s: has %d tokens, config.json says vocab_size %d", path,
                         tokens, c->config.text.vocabulary);
    VIPO_TRY(join(path, clip, "model.safetensors", error));
    if (access(path, F_OK) != 0) VIPO_TRY(join(path, clip, "pytorch_model.bin", error));
    if (access(path, F_OK) != 0)
        return vipo_fail(error, VIPO_IO, "%s: has neither model.safetensors nor pytorch_model.bin", clip);
    VIPO_TRY(vipo_weight_file_open(&c->text_file, path, error));
    VIPO_TRY(vipo_weight_reader_open(&c->text_reader, c->text_file, "", error));
    VIPO_TRY(vipo_tensor_list_text(&c->text_list, &c->config.text, error));
    /* published files also hold the vision tower and projections */
    return vipo_convert_check(&c->text_list, c->text_file, path, "", true, error);
}

/* ---- output --------------------------------------------------------------------------------------------- */

static vipo_status copy_tensors(conversion *c, const vipo_tensor_list *list, vipo_weight_reader *reader,
                                const char *file, vipo_error *error)
{
    char path[PATH_ROOM];
    VIPO_TRY(vipo_folder_output_file(&c->folder, file, path, sizeof path, error));
    return vipo_convert_copy(list, reader, path, c->dtype, &c->progress, error);
}

/* Writes bytes as a file of the folder. */
static vipo_status write_bytes(const conversion *c, const char *file, const void *bytes, size_t size,
                               vipo_error *error)
{
    char path[PATH_ROOM];
    VIPO_TRY(vipo_folder_output_file(&c->folder, file, path, sizeof path, error));
    return vipo_file_write(path, bytes, size, error);
}

static vipo_status copy_file(const conversion *c, const char *file, vipo_error *error)
{
    char path[PATH_ROOM];
    vipo_mapped_file map;
    VIPO_TRY(join(path, c->options->clip, file, error));
    VIPO_TRY(vipo_mapped_file_open(&map, path, error));
    const vipo_status status = write_bytes(c, file, map.data, map.size, error);
    vipo_mapped_file_close(&map);
    return status;
}

static vipo_status write_config(const conversion *c, vipo_error *error)
{
    const char *checkpoint = strrchr(c->options->checkpoint, '/');
    json_t *origin = json_pack("{s:s, s:s*}", "format", c->options->from, "file",
                               checkpoint ? checkpoint + 1 : c->options->checkpoint);
    if (origin && c->from_avdc) json_object_set_new(origin, "weights", json_string(c->options->weights));
    json_t *root =
        vipo_model_config_json(&c->config, &c->preprocess, vipo_convert_dtype_text(c->dtype), origin);
    json_decref(origin);
    /* seven digits: all a float has, and 1e-05 stays 1e-05 */
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(7)) : NULL;
    json_decref(root);
    if (!text) return vipo_fail_memory(error, 0, "config.json");
    const size_t length = strlen(text);
    text[length] = '\n'; /* in place of the terminating zero */
    const vipo_status status = write_bytes(c, "config.json", text, length + 1, error);
    free(text);
    return status;
}

static vipo_status write_model(conversion *c, vipo_error *error)
{
    for (int i = 0; i < c->unet_list.count; i++)
        c->progress.total += (double)vipo_tensor_entry_count(&c->unet_list.entries[i]);
    for (int i = 0; i < c->text_list.count; i++)
        c->progress.total += (double)vipo_tensor_entry_count(&c->text_list.entries[i]);
    VIPO_TRY(copy_tensors(c, &c->unet_list, &c->unet_reader, "unet.safetensors", error));
    if (c->options->clip) {
        VIPO_TRY(copy_tensors(c, &c->text_list, &c->text_reader, "text_encoder.safetensors", error));
        VIPO_TRY(copy_file(c, "vocab.json", error));
        VIPO_TRY(copy_file(c, "merges.txt", error));
    }
    return write_config(c, error);
}

/* Opens the result as a user would; the plain table, because it needs the least memory. */
static vipo_status verify(const conversion *c, vipo_error *error)
{
    vipo_model_options options;
    vipo_model *model;
    vipo_model_default_options(&options);
    options.compute = "ref";
    options.tuning = VIPO_TUNING_OFF;
    options.callbacks = &c->options->callbacks;
    const vipo_status status = vipo_model_open(&model, c->folder.temporary, &options, error);
    vipo_model_close(&model);
    return status;
}

static vipo_status convert(conversion *c, const char *folder, vipo_error *error)
{
    static const char *const parts[] = {"text_encoder.safetensors", "vocab.json", "merges.txt", NULL};
    VIPO_TRY(check_options(c, error));
    if (c->from_gcp) return vipo_convert_policy(folder, c->options, c->dtype, error);
    VIPO_TRY(read_config(c, error));
    VIPO_TRY(vipo_folder_output_open(&c->folder, folder, c->options->force, error));
    VIPO_TRY(open_unet(c, error));
    if (c->options->clip) VIPO_TRY(open_text(c, error));
    VIPO_TRY(write_model(c, error));
    VIPO_TRY(verify(c, error));
    VIPO_TRY(vipo_check_cancelled(&c->options->callbacks, error));
    return vipo_folder_output_commit(&c->folder, parts, "config.json", error);
}

vipo_status vipo_convert(const char *folder, const vipo_convert_options *options, vipo_error *error)
{
    if (strcmp(options->from, "unimatch") == 0) return vipo_convert_flow(folder, options, error);
    conversion *c = calloc(1, sizeof *c);
    if (!c) return vipo_fail_memory(error, sizeof *c, "a conversion");
    c->options = options;
    c->progress.callbacks = &options->callbacks;
    const vipo_status status = convert(c, folder, error);
    vipo_folder_output_abandon(&c->folder);
    vipo_tensor_list_free(&c->unet_list);
    vipo_tensor_list_free(&c->text_list);
    vipo_weight_reader_close(&c->unet_reader);
    vipo_weight_reader_close(&c->text_reader);
    vipo_weight_file_close(&c->unet_file);
    vipo_weight_file_close(&c->text_file);
    free(c);
    return status;
}
