#include "nets/policy_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"

static const char format_name[] = "vipo-policy";
static const double norm_eps = 1e-5, largest_limit = 0x1p100; /* a float, so that none rounds beyond it */
enum { FORMAT_VERSION = 1, MOST_CHANNELS = 2048, MOST_HORIZON = 1024, GROUP_CHANNELS = 16 };

static const char *const kind_names[VIPO_POLICY_KINDS] = {"gcp", "bc"};
static const char *const picture_names[VIPO_MAX_PICTURES] = {"goal", "obs"};
static const char *const prediction_names[] = {"epsilon", "sample", "v_prediction"};

const char *vipo_policy_kind_name(vipo_policy_kind kind)
{
    return kind_names[kind];
}

const char *vipo_picture_name(vipo_picture picture)
{
    return picture_names[picture];
}

/* Place of a word in a list; *out keeps its value if the member is absent and not required. */
static vipo_status word(const json_t *object, vipo_json_at at, const char *key, bool required,
                        const char *const *words, int n, int *out, vipo_error *error)
{
    const char *text = NULL;
    VIPO_TRY(vipo_json_string(object, at, key, required, &text, error));
    if (!text) return VIPO_OK;
    char known[96] = "";
    for (int i = 0; i < n; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return VIPO_OK;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", words[i]);
    }
    return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %s%s%s is \"%.40s\"; known are %s", at.file, at.path,
                     at.path[0] ? "." : "", key, text, known);
}

/* Cut to fit, but not inside of a character. */
static void copy_text(char *out, size_t room, const char *text)
{
    size_t length = strlen(text);
    if (length >= room)
        for (length = room - 1; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80;) length--;
    memcpy(out, text, length);
    out[length] = '\0';
}

/* ---- pictures and their encoder --------------------------------------------------------------------- */

static vipo_status parse_encoder(vipo_encoder_config *out, const json_t *root, const char *file,
                                 vipo_error *error)
{
    const vipo_json_at top = {file, ""}, at = {file, "encoder"}, image_at = {file, "image"};
    const json_t *image, *encoder;
    *out = (vipo_encoder_config){
        .stem_kernel = 7, .channels_per_group = GROUP_CHANNELS, .norm_eps = (float)norm_eps};
    VIPO_TRY(vipo_json_object(root, top, "image", true, &image, error));
    VIPO_TRY(vipo_json_int(image, image_at, "height", true, 8, 1024, &out->height, error));
    VIPO_TRY(vipo_json_int(image, image_at, "width", true, 8, 1024, &out->width, error));
    VIPO_TRY(vipo_json_object(root, top, "encoder", true, &encoder, error));
    VIPO_TRY(vipo_json_ints(encoder, at, "widths", true, 1, MOST_CHANNELS, out->widths, VIPO_MAX_STAGES,
                            &out->stages, error));
    if (out->stages < 1)
        return vipo_fail(error, VIPO_FORMAT, "%s: encoder.widths is empty, expected 1 to %d stages", file,
                         (int)VIPO_MAX_STAGES);
    int blocks = out->stages;
    for (int i = 0; i < out->stages; i++) out->blocks[i] = 2;
    VIPO_TRY(
        vipo_json_ints(encoder, at, "blocks", false, 1, 64, out->blocks, VIPO_MAX_STAGES, &blocks, error));
    if (blocks != out->stages)
        return vipo_fail(error, VIPO_FORMAT, "%s: encoder.blocks has %d stages, widths has %d", file, blocks,
                         out->stages);
    out->stem_channels = out->widths[0];
    VIPO_TRY(
        vipo_json_int(encoder, at, "stem_channels", false, 1, MOST_CHANNELS, &out->stem_channels, error));
    VIPO_TRY(vipo_json_int(encoder, at, "stem_kernel", false, 1, 7, &out->stem_kernel, error));
    if (out->stem_kernel % 2 == 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: encoder.stem_kernel is %d, expected 1, 3, 5 or 7", file,
                         out->stem_kernel);
    VIPO_TRY(vipo_json_int(encoder, at, "channels_per_group", false, 1, MOST_CHANNELS,
                           &out->channels_per_group, error));
    for (int i = -1; i < out->stages; i++) {
        const int channels = i < 0 ? out->stem_channels : out->widths[i];
        if (channels % out->channels_per_group)
            return vipo_fail(error, VIPO_FORMAT,
                             "%s: encoder: %d channels do not split into groups of %d (channels_per_group)",
                             file, channels, out->channels_per_group);
    }
    VIPO_TRY(vipo_json_int(encoder, at, "keypoints", true, 1, 1024, &out->keypoints, error));
    return vipo_json_int(encoder, at, "feature_size", true, 1, 1024, &out->feature_size, error);
}

static vipo_status parse_pictures(vipo_policy_config *out, const json_t *root, const char *file,
                                  vipo_error *error)
{
    const json_t *list = json_object_get(root, "condition");
    out->n_pictures = out->kind == VIPO_POLICY_GCP ? 2 : 1;
    out->pictures[0] = out->kind == VIPO_POLICY_GCP ? VIPO_PICTURE_GOAL : VIPO_PICTURE_OBS;
    out->pictures[1] = VIPO_PICTURE_OBS;
    if (!list || json_is_null(list)) return VIPO_OK;
    bool good = json_is_array(list) && json_array_size(list) >= 1 && json_array_size(list) <= 2;
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        good = name && (strcmp(name, "goal") == 0 || strcmp(name, "obs") == 0);
        if (good) out->pictures[i] = strcmp(name, "goal") == 0 ? VIPO_PICTURE_GOAL : VIPO_PICTURE_OBS;
    }
    out->n_pictures = (int)json_array_size(list);
    if (!good || (out->n_pictures == 2 && out->pictures[0] == out->pictures[1]))
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: condition: expected one or both of \"goal\" and \"obs\", in the order of their "
                         "features",
                         file);
    return VIPO_OK;
}

/* ---- the vector ----------------------------------------------------------------------------------------- */

/* n numbers, or none: then *out keeps its values. Each max must exceed its min. */
static vipo_status parse_limits(const json_t *object, vipo_json_at at, int n, float *min, float *max,
                                vipo_error *error)
{
    double values[2][VIPO_MAX_VECTOR];
    int counts[2] = {-1, -1};
    for (int k = 0; k < 2; k++) {
        const char *key = k ? "max" : "min";
        VIPO_TRY(vipo_json_doubles(object, at, key, false, -largest_limit, largest_limit, values[k],
                                   VIPO_MAX_VECTOR, &counts[k], error));
        if (counts[k] >= 0 && counts[k] != n)
            return vipo_fail(error, VIPO_FORMAT, "%s: %s.%s has %d numbers, expected %d", at.file, at.path,
                             key, counts[k], n);
    }
    if (counts[0] != counts[1])
        return vipo_fail(error, VIPO_FORMAT, "%s: %s: has only one of min and max, expected both or none",
                         at.file, at.path);
    for (int i = 0; counts[0] >= 0 && i < n; i++) {
        min[i] = (float)values[0][i];
        max[i] = (float)values[1][i];
        if (!(max[i] > min[i]))
            return vipo_fail(error, VIPO_FORMAT, "%s: %s: max[%d] %g is not above min[%d] %g", at.file,
                             at.path, i, (double)max[i], i, (double)min[i]);
    }
    return VIPO_OK;
}

static vipo_status parse_tasks(vipo_policy_config *out, const json_t *list, int size, vipo_json_at at,
                               vipo_error *error)
{
    if (out->n_tasks > 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s.tasks: a part before has tasks too, expected one",
                         at.file, at.path);
    if (!json_is_array(list) || json_array_size(list) != (size_t)size || size > VIPO_MAX_TASKS)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s.tasks: expected %d names, at most %d", at.file, at.path,
                         size, (int)VIPO_MAX_TASKS);
    for (int i = 0; i < size; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        if (!name || !name[0] || strlen(name) >= VIPO_TASK_ROOM)
            return vipo_fail(error, VIPO_FORMAT, "%s: %s.tasks[%d]: expected a name of 1 to %d bytes",
                             at.file, at.path, i, VIPO_TASK_ROOM - 1);
        copy_text(out->tasks[i], VIPO_TASK_ROOM, name);
    }
    out->n_tasks = size;
    return VIPO_OK;
}

static vipo_status parse_vector(vipo_policy_config *out, const json_t *root, const char *file,
                                vipo_error *error)
{
    const json_t *list = json_object_get(root, "vector");
    if (!list || json_is_null(list)) return VIPO_OK;
    if (!json_is_array(list) || json_array_size(list) > VIPO_MAX_VECTOR_PARTS)
        return vipo_fail(error, VIPO_FORMAT, "%s: vector: expected a list of at most %d parts", file,
                         (int)VIPO_MAX_VECTOR_PARTS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char path[32];
        snprintf(path, sizeof path, "vector[%zu]", i);
        const vipo_json_at at = {file, path};
        const json_t *object = json_array_get(list, i);
        vipo_vector_part_config *part = &out->vector_parts[i];
        const char *name = "";
        if (!json_is_object(object))
            return vipo_fail(error, VIPO_FORMAT, "%s: %s: expected an object with name and size", file, path);
        VIPO_TRY(vipo_json_string(object, at, "name", true, &name, error));
        copy_text(part->name, sizeof part->name, name);
        VIPO_TRY(vipo_json_int(object, at, "size", true, 1, VIPO_MAX_VECTOR, &part->size, error));
        part->offset = out->vector_dim;
        if (part->offset + part->size > VIPO_MAX_VECTOR)
            return vipo_fail(error, VIPO_FORMAT, "%s: vector: more than %d numbers together", file,
                             (int)VIPO_MAX_VECTOR);
        for (int k = part->offset; k < part->offset + part->size; k++) {
            out->vector_min[k] = -1;
            out->vector_max[k] = 1;
        }
        VIPO_TRY(parse_limits(object, at, part->size, out->vector_min + part->offset,
                              out->vector_max + part->offset, error));
        const json_t *tasks = json_object_get(object, "tasks");
        if (tasks && !json_is_null(tasks)) {
            VIPO_TRY(parse_tasks(out, tasks, part->size, at, error));
            part->tasks = true;
        }
        out->vector_dim += part->size;
        out->n_vector_parts++;
    }
    return VIPO_OK;
}

/* ---- actions -------------------------------------------------------------------------------------------- */

static vipo_status parse_action(vipo_policy_config *out, const json_t *root, const char *file,
                                vipo_error *error)
{
    const vipo_json_at at = {file, "action"};
    const json_t *action;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "action", true, &action, error));
    VIPO_TRY(vipo_json_int(action, at, "dim", true, 1, VIPO_MAX_ACTION, &out->action_dim, error));
    VIPO_TRY(vipo_json_int(action, at, "horizon", true, 1, MOST_HORIZON, &out->horizon, error));
    VIPO_TRY(vipo_json_int(action, at, "executed", true, 1, out->horizon, &out->executed, error));
    for (int i = 0; i < out->action_dim; i++) {
        out->action_min[i] = -1;
        out->action_max[i] = 1;
    }
    return parse_limits(action, at, out->action_dim, out->action_min, out->action_max, error);
}

static vipo_status parse_unet(vipo_policy_config *out, const json_t *root, const char *file,
                              vipo_error *error)
{
    const vipo_json_at at = {file, "unet"};
    vipo_unet1d_config *c = &out->unet;
    const json_t *unet;
    *c = (vipo_unet1d_config){.action_dim = out->action_dim,
                              .horizon = out->horizon,
                              .condition = vipo_policy_condition(out),
                              .scale = true,
                              .norm_eps = (float)norm_eps};
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "unet", true, &unet, error));
    VIPO_TRY(vipo_json_ints(unet, at, "widths", true, 1, MOST_CHANNELS, c->widths, VIPO_MAX_STAGES,
                            &c->levels, error));
    if (c->levels < 1)
        return vipo_fail(error, VIPO_FORMAT, "%s: unet.widths is empty, expected 1 to %d levels", file,
                         (int)VIPO_MAX_STAGES);
    VIPO_TRY(vipo_json_int(unet, at, "kernel", true, 1, 15, &c->kernel, error));
    VIPO_TRY(vipo_json_int(unet, at, "groups", true, 1, MOST_CHANNELS, &c->groups, error));
    VIPO_TRY(vipo_json_int(unet, at, "step_embedding", true, 4, 1024, &c->step_embedding, error));
    VIPO_TRY(vipo_json_bool(unet, at, "cond_predict_scale", false, &c->scale, error));
    if (c->kernel % 2 == 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: unet.kernel is %d, expected an odd number", file,
                         c->kernel);
    if (c->step_embedding % 2)
        return vipo_fail(error, VIPO_FORMAT, "%s: unet.step_embedding is %d, expected an even number", file,
                         c->step_embedding);
    for (int i = 0; i < c->levels; i++)
        if (c->widths[i] % c->groups)
            return vipo_fail(error, VIPO_FORMAT, "%s: unet: %d channels do not split into %d groups", file,
                             c->widths[i], c->groups);
    const int step = 1 << (c->levels - 1);
    if (c->horizon % step)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: action.horizon %d does not halve %d times, expected a multiple of %d", file,
                         c->horizon, c->levels - 1, step);
    return VIPO_OK;
}

static vipo_status parse_diffusion(vipo_policy_config *out, const json_t *root, const char *file,
                                   vipo_error *error)
{
    const vipo_json_at at = {file, "diffusion"}, sampler_at = {file, "sampler"};
    static const char *const schedules[] = {"squaredcos_cap_v2"};
    static const char *const samplers[] = {"ddim", "ddpm"};
    const json_t *diffusion, *sampler;
    int prediction = VIPO_PREDICT_EPSILON, schedule = 0, named = 0;
    out->clip = true;
    out->clip_range = 1;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "diffusion", true, &diffusion, error));
    VIPO_TRY(vipo_json_int(diffusion, at, "timesteps", true, 1, 4096, &out->timesteps, error));
    VIPO_TRY(word(diffusion, at, "beta_schedule", false, schedules, 1, &schedule, error));
    VIPO_TRY(word(diffusion, at, "prediction_type", false, prediction_names, 3, &prediction, error));
    VIPO_TRY(vipo_json_bool(diffusion, at, "clip_sample", false, &out->clip, error));
    VIPO_TRY(vipo_json_double(diffusion, at, "clip_sample_range", false, 1e-6, 1e6, &out->clip_range, error));
    out->prediction = (vipo_prediction)prediction;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "sampler", false, &sampler, error));
    out->steps = out->timesteps < 8 ? out->timesteps : 8;
    if (sampler) {
        out->steps = 0;
        VIPO_TRY(word(sampler, sampler_at, "name", true, samplers, 2, &named, error));
        VIPO_TRY(vipo_json_int(sampler, sampler_at, "steps", false, 1, out->timesteps, &out->steps, error));
    }
    copy_text(out->sampler, sizeof out->sampler, samplers[named]);
    return VIPO_OK;
}

static vipo_status parse_head(vipo_policy_config *out, const json_t *root, const char *file,
                              vipo_error *error)
{
    const json_t *head;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "head", true, &head, error));
    return vipo_json_ints(head, (vipo_json_at){file, "head"}, "widths", true, 1, MOST_CHANNELS, out->hidden,
                          VIPO_MAX_STAGES, &out->hidden_layers, error);
}

bool vipo_policy_config_is(const json_t *root)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    return format && strcmp(format, format_name) == 0;
}

static vipo_status parse(vipo_policy_config *out, const json_t *root, const char *file, vipo_error *error)
{
    if (!json_is_object(root)) return vipo_fail(error, VIPO_FORMAT, "%s: expected a JSON object", file);
    const vipo_json_at at = {file, ""};
    const char *name = "";
    int kind = 0, version = FORMAT_VERSION;
    if (!vipo_policy_config_is(root))
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: \"format\" is not \"%s\": not the folder of an action policy", file,
                         format_name);
    VIPO_TRY(vipo_json_int(root, at, "version", false, FORMAT_VERSION, FORMAT_VERSION, &version, error));
    VIPO_TRY(vipo_json_string(root, at, "name", false, &name, error));
    copy_text(out->name, sizeof out->name, name);
    VIPO_TRY(word(root, at, "kind", true, kind_names, VIPO_POLICY_KINDS, &kind, error));
    out->kind = (vipo_policy_kind)kind;
    VIPO_TRY(parse_encoder(&out->encoder, root, file, error));
    VIPO_TRY(parse_pictures(out, root, file, error));
    VIPO_TRY(parse_vector(out, root, file, error));
    VIPO_TRY(parse_action(out, root, file, error));
    if (out->kind == VIPO_POLICY_BC) return parse_head(out, root, file, error);
    VIPO_TRY(parse_unet(out, root, file, error));
    return parse_diffusion(out, root, file, error);
}

vipo_status vipo_policy_config_parse(vipo_policy_config *out, const json_t *root, const char *file,
                                     vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const vipo_status status = parse(out, root, file, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static json_t *ints(const int *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

static json_t *floats(const float *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static json_t *vector_json(const vipo_policy_config *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->n_vector_parts; i++) {
        const vipo_vector_part_config *part = &c->vector_parts[i];
        json_t *object = json_pack("{s:s, s:i, s:o, s:o}", "name", part->name, "size", part->size, "min",
                                   floats(c->vector_min + part->offset, part->size), "max",
                                   floats(c->vector_max + part->offset, part->size));
        if (object && part->tasks) {
            json_t *tasks = json_array();
            for (int k = 0; k < c->n_tasks; k++) json_array_append_new(tasks, json_string(c->tasks[k]));
            json_object_set_new(object, "tasks", tasks);
        }
        json_array_append_new(list, object);
    }
    return list;
}

json_t *vipo_policy_config_json(const vipo_policy_config *c)
{
    const vipo_encoder_config *e = &c->encoder;
    json_t *pictures = json_array();
    for (int i = 0; i < c->n_pictures; i++)
        json_array_append_new(pictures, json_string(vipo_picture_name(c->pictures[i])));
    json_t *root = json_pack(
        "{s:s, s:i, s:s, s:s, s:{s:i, s:i}, s:{s:o, s:o, s:i, s:i, s:i, s:i, s:i}, s:o, s:{s:i, s:i, s:i, "
        "s:o, "
        "s:o}}",
        "format", format_name, "version", FORMAT_VERSION, "kind", vipo_policy_kind_name(c->kind), "name",
        c->name, "image", "height", e->height, "width", e->width, "encoder", "widths",
        ints(e->widths, e->stages), "blocks", ints(e->blocks, e->stages), "stem_channels", e->stem_channels,
        "stem_kernel", e->stem_kernel, "channels_per_group", e->channels_per_group, "keypoints", e->keypoints,
        "feature_size", e->feature_size, "condition", pictures, "action", "dim", c->action_dim, "horizon",
        c->horizon, "executed", c->executed, "min", floats(c->action_min, c->action_dim), "max",
        floats(c->action_max, c->action_dim));
    if (!root) return NULL;
    if (c->n_vector_parts > 0) json_object_set_new(root, "vector", vector_json(c));
    if (c->kind == VIPO_POLICY_BC) {
        json_object_set_new(root, "head", json_pack("{s:o}", "widths", ints(c->hidden, c->hidden_layers)));
        return root;
    }
    const vipo_unet1d_config *u = &c->unet;
    json_object_set_new(root, "unet",
                        json_pack("{s:o, s:i, s:i, s:i, s:b}", "widths", ints(u->widths, u->levels), "kernel",
                                  u->kernel, "groups", u->groups, "step_embedding", u->step_embedding,
                                  "cond_predict_scale", u->scale));
    json_object_set_new(root, "diffusion",
                        json_pack("{s:i, s:s, s:s, s:b, s:f}", "timesteps", c->timesteps, "beta_schedule",
                                  "squaredcos_cap_v2", "prediction_type", prediction_names[c->prediction],
                                  "clip_sample", c->clip, "clip_sample_range", c->clip_range));
    json_t *sampler = json_pack("{s:s}", "name", c->sampler);
    if (c->steps > 0) json_object_set_new(sampler, "steps", json_integer(c->steps));
    json_object_set_new(root, "sampler", sampler);
    return root;
}
