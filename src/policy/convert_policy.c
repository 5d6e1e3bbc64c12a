/* The trainer of the published goal-conditioned policy saves {"gcp_model": ..., "ema": {"ema_model.*"}} without its sizes;
 * most of them follow from the shapes of tensors, the rest is what the release was trained with, and a JSON file can say
 * otherwise. */
#include "policy/convert_policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/folder_output.h"
#include "core/json_util.h"
#include "core/log.h"
#include "core/memory.h"
#include "policy/model.h"
#include "policy/policy_networks.h"
#include "policy/tensor_list.h"
#include "vipo/action.h"

enum { NAME_ROOM = 320 };

typedef struct policy_conversion {
    const vipo_convert_options *options;
    vipo_dtype dtype;
    vipo_weight_file *file;
    vipo_policy_weights weights;
    vipo_tensor_list list;
    vipo_policy_config config;
    vipo_folder_output folder;
} policy_conversion;

/* ---- where the policy is in the file ----------------------------------------------------------------------- */

static bool has_policy(const vipo_weight_file *file, const char *prefix)
{
    char name[NAME_ROOM];
    snprintf(name, sizeof name, "%smodel.final_conv.1.weight", prefix);
    return vipo_weight_file_find(file, name) != NULL;
}

/* The online weights are never taken for the average. A file of one set has no names for them. */
static vipo_status find_policy(policy_conversion *c, const char **prefix, vipo_error *error)
{
    static const char *const sets[2][4] = {{"ema/ema_model.", "ema_model.", "ema/", NULL},
                                           {"gcp_model/", "model/", "ema/online_model.", NULL}};
    static const char *const plain[] = {"", "state_dict/", "policy."};
    const vipo_convert_options *o = c->options;
    const int wanted = strcmp(o->weights, "ema") == 0 ? 0 : 1;
    for (int set = 0; set < 2; set++)
        for (int i = 0; sets[(wanted + set) % 2][i]; i++) {
            *prefix = sets[(wanted + set) % 2][i];
            if (!has_policy(c->file, *prefix)) continue;
            if (set == 0) return VIPO_OK;
            return vipo_fail(error, VIPO_MISMATCH,
                             "%s: has no %s weights; weights \"%s\" would take the others", o->checkpoint,
                             wanted == 0 ? "EMA" : "online", wanted == 0 ? "online" : "ema");
        }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        *prefix = plain[i];
        if (has_policy(c->file, *prefix)) return VIPO_OK;
    }
    return vipo_fail(error, VIPO_MISMATCH,
                     "%s: holds no goal-conditioned policy: it has neither ema[\"ema_model.model.*\"] nor "
                     "gcp_model[\"model.*\"], nor model.final_conv.1.weight by itself",
                     o->checkpoint);
}

/* ---- sizes ---------------------------------------------------------------------------------------------------- */

/* Dimension `axis` of a tensor of that rank, 0 if there is none of that name and rank. */
static int dimension(const policy_conversion *c, const char *name, int rank, int axis)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", c->weights.prefix, name);
    const vipo_tensor_view *view = vipo_weight_file_find(c->file, full);
    return view && view->rank == rank && view->shape[axis] <= 1 << 20 ? (int)view->shape[axis] : 0;
}

/* The same for a tensor of a picture's encoder, which may have two names. */
static int encoder_dimension(const policy_conversion *c, const char *picture, const char *first,
                             const char *second, const char *name, int rank, int axis)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "obs_encoder.key_model_map.img_%s_1.%s%s", picture, first, name);
    const int found = dimension(c, full, rank, axis);
    if (found) return found;
    snprintf(full, sizeof full, "obs_encoder.key_model_map.img_%s_1.%s%s", picture, second, name);
    return dimension(c, full, rank, axis);
}

static int resnet_dimension(const policy_conversion *c, const char *picture, const char *name, int axis)
{
    return encoder_dimension(c, picture, "nets.0.", "backbone.", name, 4, axis);
}

/* The side of the square picture whose last map has as many cells as the softmax over places has; else that of the release. */
static int picture_side(const policy_conversion *c, const char *picture, int stages)
{
    enum { RELEASED = 128, STEM = 4 };
    const int cells = encoder_dimension(c, picture, "nets.1.", "pool.", "pos_x", 2, 1);
    const int side = (int)lround(sqrt((double)cells));
    return cells > 0 && side * side == cells && stages > 0 ? side * (STEM << (stages - 1)) : RELEASED;
}

/* Returns the number of features of all pictures. */
static int infer_pictures(const policy_conversion *c, json_t *root)
{
    static const char *const names[] = {"goal", "obs"}; /* the reference sorts them */
    json_t *condition = json_array(), *widths = json_array(), *blocks = json_array();
    const char *picture = NULL;
    for (int i = 0; i < 2; i++) {
        if (!resnet_dimension(c, names[i], "nets.0.weight", 0)) continue;
        picture = names[i];
        json_array_append_new(condition, json_string(picture));
    }
    if (!picture) picture = "obs"; /* what is missing will be named */
    int stages = 0;
    for (int n = 1; n > 0 && stages<VIPO_MAX_STAGES; stages += n> 0) {
        char name[64];
        int width = 0;
        for (n = 0; n < 64; n++) {
            snprintf(name, sizeof name, "nets.%d.%d.conv1.weight", stages + 4, n);
            const int found = resnet_dimension(c, picture, name, 0);
            if (!found) break;
            width = found;
        }
        if (n == 0) break;
        json_array_append_new(widths, json_integer(width));
        json_array_append_new(blocks, json_integer(n));
    }
    const int side = picture_side(c, picture, stages);
    const int keypoints = encoder_dimension(c, picture, "nets.1.", "pool.", "nets.weight", 4, 0);
    const int feature = encoder_dimension(c, picture, "nets.3.", "nets.3.", "weight", 2, 0);
    json_object_set_new(root, "image", json_pack("{s:i, s:i}", "height", side, "width", side));
    json_object_set_new(root, "encoder",
                        json_pack("{s:o, s:o, s:i, s:i, s:i, s:i}", "widths", widths, "blocks", blocks,
                                  "stem_channels", resnet_dimension(c, picture, "nets.0.weight", 0),
                                  "stem_kernel", resnet_dimension(c, picture, "nets.0.weight", 2),
                                  "keypoints", keypoints, "feature_size", feature));
    const int pictures = (int)json_array_size(condition);
    json_object_set_new(root, "condition", condition);
    return pictures * feature;
}

/* The file's sizes with those of the release where shapes do not tell. */
static json_t *infer(const policy_conversion *c)
{
    enum { HORIZON = 16, EXECUTED = 8, GROUPS = 8, TIMESTEPS = 100 };
    json_t *root = json_pack("{s:s, s:i, s:s}", "format", "vipo-policy", "version", 1, "kind", "gcp");
    if (!root) return NULL;
    const int features = infer_pictures(c, root);
    json_t *widths = json_array();
    for (int level = 0; level < VIPO_MAX_STAGES; level++) {
        char name[64];
        snprintf(name, sizeof name, "model.down_modules.%d.0.blocks.0.block.0.weight", level);
        const int width = dimension(c, name, 3, 0);
        if (!width) break;
        json_array_append_new(widths, json_integer(width));
    }
    static const char film[] = "model.down_modules.0.0.cond_encoder.1.weight";
    const int first = dimension(c, "model.down_modules.0.0.blocks.0.block.0.weight", 3, 0);
    const int step = dimension(c, "model.diffusion_step_encoder.1.weight", 2, 1);
    const int rest = dimension(c, film, 2, 1) - step - features;
    json_object_set_new(root, "unet",
                        json_pack("{s:o, s:i, s:i, s:i, s:b}", "widths", widths, "kernel",
                                  dimension(c, "model.down_modules.0.0.blocks.0.block.0.weight", 3, 2),
                                  "groups", (int)GROUPS, "step_embedding", step, "cond_predict_scale",
                                  dimension(c, film, 2, 0) == 2 * first));
    json_object_set_new(root, "action",
                        json_pack("{s:i, s:i, s:i}", "dim", dimension(c, "model.final_conv.1.weight", 3, 0),
                                  "horizon", (int)HORIZON, "executed", (int)EXECUTED));
    json_object_set_new(root, "diffusion", json_pack("{s:i}", "timesteps", (int)TIMESTEPS));
    if (rest > 0)
        json_object_set_new(root, "vector", json_pack("[{s:s, s:i}]", "name", "vector", "size", rest));
    return root;
}

static vipo_status read_config(policy_conversion *c, vipo_error *error)
{
    const char *place = c->options->config ? c->options->config : c->options->checkpoint;
    json_t *given = NULL;
    if (c->options->config) VIPO_TRY(vipo_json_load(&given, c->options->config, error));
    json_t *root = infer(c);
    vipo_status status = root ? VIPO_OK : vipo_fail_memory(error, 0, "a configuration");
    if (status == VIPO_OK && given && !json_is_object(given))
        status = vipo_fail(error, VIPO_FORMAT, "%s: expected a JSON object", place);
    const char *key;
    json_t *value;
    if (status == VIPO_OK && given) json_object_foreach(given, key, value)
        {
            json_t *own = json_object_get(root, key); /* members of a part take the place of single sizes */
            const int failed = json_is_object(own) && json_is_object(value)
                                   ? json_object_update(own, value)
                                   : json_object_set(root, key, value);
            if (failed && status == VIPO_OK) status = vipo_fail_memory(error, 0, "a configuration");
        }
    if (status == VIPO_OK) status = vipo_policy_config_parse(&c->config, root, place, error);
    if (status == VIPO_OK && c->config.kind != VIPO_POLICY_GCP)
        status = vipo_fail(error, VIPO_UNSUPPORTED, "%s: kind is \"%s\", expected gcp", place,
                           vipo_policy_kind_name(c->config.kind));
    json_decref(root);
    json_decref(given);
    return status;
}

/* ---- output --------------------------------------------------------------------------------------------------- */

static vipo_status copy_tensors(policy_conversion *c, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    size_t largest = 0, total = 0, done = 0;
    for (int i = 0; i < c->list.count; i++) {
        const size_t count = vipo_tensor_entry_count(&c->list.entries[i]);
        if (count > largest) largest = count;
        total += count;
    }
    VIPO_TRY(vipo_folder_output_file(&c->folder, "policy.safetensors", path, sizeof path, error));
    float *values = vipo_aligned_calloc(largest, sizeof *values);
    if (!values) return vipo_fail_memory(error, largest * sizeof *values, "a tensor");
    vipo_safetensors_writer writer;
    const vipo_weight_source source = vipo_policy_weights_source(&c->weights);
    vipo_status status =
        vipo_safetensors_writer_open(&writer, path, c->dtype, c->list.entries, c->list.count, error);
    for (int i = 0; i < c->list.count && status == VIPO_OK; i++) {
        const vipo_tensor_entry *entry = &c->list.entries[i];
        status = vipo_check_cancelled(&c->options->callbacks, error);
        if (status == VIPO_OK)
            status = source.read(source.user, entry->name, entry->rank, entry->shape, values, error);
        if (status == VIPO_OK) status = vipo_safetensors_writer_add(&writer, values, error);
        done += vipo_tensor_entry_count(entry);
        vipo_progress(&c->options->callbacks, "convert", (double)done, (double)total);
    }
    if (status == VIPO_OK)
        status = vipo_safetensors_writer_commit(&writer, error);
    else
        vipo_safetensors_writer_abandon(&writer);
    vipo_aligned_free(values);
    return status;
}

static vipo_status write_config(const policy_conversion *c, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    const char *checkpoint = strrchr(c->options->checkpoint, '/');
    VIPO_TRY(vipo_folder_output_file(&c->folder, "config.json", path, sizeof path, error));
    json_t *root = vipo_policy_config_json(&c->config);
    if (root)
        json_object_set_new(root, "origin",
                            json_pack("{s:s, s:s*, s:s}", "format", c->options->from, "file",
                                      checkpoint ? checkpoint + 1 : c->options->checkpoint, "weights",
                                      c->options->weights));
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text) return vipo_fail_memory(error, 0, "config.json");
    const size_t length = strlen(text);
    text[length] = '\n'; /* in place of the terminating zero */
    const vipo_status status = vipo_file_write(path, text, length + 1, error);
    free(text);
    return status;
}

/* Opens the result as a user would; the plain table, because it needs the least memory. */
static vipo_status verify(const policy_conversion *c, vipo_error *error)
{
    vipo_goal_policy *policy;
    const vipo_goal_policy_options options = {.compute = "ref", .threads = 1};
    const vipo_status status =
        vipo_goal_policy_open(&policy, c->folder.temporary, &options, &c->options->callbacks, error);
    vipo_goal_policy_close(&policy);
    return status;
}

static vipo_status convert(policy_conversion *c, const char *folder, vipo_error *error)
{
    static const char *const none[] = {NULL};
    const vipo_convert_options *o = c->options;
    const char *prefix;
    if (o->preset || o->clip || o->frames > 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "%s: a policy has none; it is converted by its checkpoint "
                         "and, if need be, a config",
                         o->preset ? "preset"
                         : o->clip ? "clip"
                                   : "frames");
    VIPO_TRY(vipo_folder_output_open(&c->folder, folder, o->force, error));
    VIPO_TRY(vipo_weight_file_open(&c->file, o->checkpoint, error));
    VIPO_TRY(find_policy(c, &prefix, error));
    VIPO_TRY(vipo_policy_weights_open(&c->weights, c->file, o->checkpoint, prefix, error));
    VIPO_TRY(read_config(c, error));
    VIPO_TRY(vipo_tensor_list_policy(&c->list, &c->config, error));
    VIPO_TRY(copy_tensors(c, error));
    VIPO_TRY(vipo_policy_weights_check(&c->weights, error));
    VIPO_TRY(write_config(c, error));
    VIPO_TRY(verify(c, error));
    VIPO_TRY(vipo_check_cancelled(&o->callbacks, error));
    return vipo_folder_output_commit(&c->folder, none, "config.json", error);
}

vipo_status vipo_convert_policy(const char *folder, const vipo_convert_options *options, vipo_dtype dtype,
                                vipo_error *error)
{
    policy_conversion *c = calloc(1, sizeof *c);
    if (!c) return vipo_fail_memory(error, sizeof *c, "a conversion");
    c->options = options;
    c->dtype = dtype;
    const vipo_status status = convert(c, folder, error);
    vipo_folder_output_abandon(&c->folder);
    vipo_tensor_list_free(&c->list);
    vipo_policy_weights_close(&c->weights);
    vipo_weight_file_close(&c->file);
    free(c);
    return status;
}
