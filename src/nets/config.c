#include "nets/config.h"

#include <stdio.h>
#include <string.h>

#include "core/json_util.h"
#include "nets/calibration.h"

bool vipo_unet_config_attends(const vipo_unet_config *config, int ds)
{
    for (int i = 0; i < config->attention_levels; i++)
        if (config->attention_ds[i] == ds) return true;
    return false;
}

/* The first of two members that is there: config files spell some names in two ways. */
static const char *spelling(const json_t *object, const char *first, const char *second)
{
    return json_object_get(object, first) ? first : second;
}

static vipo_status parse_perceiver(vipo_perceiver_config *out, const json_t *object, vipo_json_at at,
                                   vipo_error *error)
{
    *out = (vipo_perceiver_config){.depth = 2,
                                   .heads = 8,
                                   .head_dim = 64,
                                   .latents = 64,
                                   .mean_pooled_latents = 4,
                                   .max_length = 512,
                                   .ff_mult = 4,
                                   .logit_scale = 8};
    if (!object) return VIPO_OK;
    VIPO_TRY(vipo_json_int(object, at, spelling(object, "perceiver_depth", "depth"), false, 1, 64,
                           &out->depth, error));
    VIPO_TRY(vipo_json_int(object, at, "heads", false, 1, 256, &out->heads, error));
    VIPO_TRY(vipo_json_int(object, at, "dim_head", false, 1, 1024, &out->head_dim, error));
    VIPO_TRY(vipo_json_int(object, at, "num_latents", false, 1, 4096, &out->latents, error));
    VIPO_TRY(vipo_json_int(object, at, "num_latents_mean_pooled", false, 0, 4096, &out->mean_pooled_latents,
                           error));
    VIPO_TRY(vipo_json_int(object, at, "max_seq_len", false, 1, 1 << 16, &out->max_length, error));
    VIPO_TRY(vipo_json_int(object, at, "ff_mult", false, 1, 64, &out->ff_mult, error));
    double scale = (double)out->logit_scale;
    VIPO_TRY(vipo_json_double(object, at, "sim_scale", false, 1e-3, 1e3, &scale, error));
    out->logit_scale = (float)scale;
    return VIPO_OK;
}

static vipo_status parse_image_size(vipo_unet_config *out, const json_t *root, const json_t *unet,
                                    vipo_json_at at, vipo_error *error)
{
    const json_t *image = NULL;
    int size[2] = {0, 0}, count = 0, frames = 0;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){at.file, ""}, "image", false, &image, error));
    VIPO_TRY(vipo_json_ints(unet, at, "image_size", false, 1, 2048, size, 2, &count, error));
    out->height = size[0];
    out->width = count == 2 ? size[1] : size[0];
    const vipo_json_at image_at = {at.file, "image"};
    if (image) {
        VIPO_TRY(vipo_json_int(image, image_at, "height", false, 1, 2048, &out->height, error));
        VIPO_TRY(vipo_json_int(image, image_at, "width", false, 1, 2048, &out->width, error));
        VIPO_TRY(vipo_json_int(image, image_at, "future_frames", false, 1, 64, &out->frames, error));
        if (count > 0 && (size[0] != out->height || size[count - 1] != out->width))
            return vipo_fail(error, VIPO_FORMAT,
                             "%s: image.height x width is %dx%d, image_size %dx%d: expected the same",
                             at.file, out->height, out->width, size[0], size[count - 1]);
    }
    VIPO_TRY(vipo_json_int(unet, at, "frames", false, 1, 64, &frames, error));
    if (frames > 0 && out->frames > 0 && frames != out->frames)
        return vipo_fail(error, VIPO_FORMAT, "%s: image.future_frames is %d, frames %d: expected the same",
                         at.file, out->frames, frames);
    if (frames > 0) out->frames = frames;
    if (out->height == 0 || out->width == 0 || out->frames == 0)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: expected image_size [height, width] and the number of frames", at.file);
    return VIPO_OK;
}

static vipo_status check_unet(const vipo_unet_config *c, const char *file, vipo_error *error)
{
    const int largest = 1 << (c->levels - 1);
    if (c->height % largest || c->width % largest)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: image %dx%d does not halve %d times, expected multiples of %d", file, c->height,
                         c->width, c->levels - 1, largest);
    if (c->in_channels != 2 * c->out_channels || c->out_channels != 3)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: in_channels %d, out_channels %d: expected 6 (noisy + condition) and 3", file,
                         c->in_channels, c->out_channels);
    if (c->model_channels % c->groups)
        return vipo_fail(error, VIPO_FORMAT, "%s: model_channels %d is not a multiple of the %d norm groups",
                         file, c->model_channels, c->groups);
    for (int i = 0; i < c->levels; i++)
        if (c->channel_mult[i] * c->model_channels > 8192)
            return vipo_fail(error, VIPO_FORMAT, "%s: channel_mult %d x model_channels %d exceeds 8192", file,
                             c->channel_mult[i], c->model_channels);
    for (int i = 0; i < c->levels; i++) {
        const int channels = c->channel_mult[i] * c->model_channels;
        const bool attends = vipo_unet_config_attends(c, 1 << i) || i == c->levels - 1;
        if (attends && channels % c->head_channels)
            return vipo_fail(error, VIPO_FORMAT, "%s: %d channels do not split into heads of %d", file,
                             channels, c->head_channels);
    }
    return VIPO_OK;
}

/* Members that choose another architecture of guided-diffusion's UNet. Some of these have tensors of the same
 * names and shapes, so nothing but this check would notice. */
static vipo_status check_variants(const json_t *unet, vipo_json_at at, vipo_error *error)
{
    static const struct {
        const char *key;
        bool only;
    } members[] = {{"use_scale_shift_norm", false},
                   {"resblock_updown", false},
                   {"use_new_attention_order", false},
                   {"conv_resample", true},
                   {"task_tokens", true}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        bool value = members[i].only;
        VIPO_TRY(vipo_json_bool(unet, at, members[i].key, false, &value, error));
        if (value != members[i].only)
            return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %s is %s, only %s is supported", at.file,
                             members[i].key, value ? "true" : "false", value ? "false" : "true");
    }
    return VIPO_OK;
}

static vipo_status parse_unet(vipo_unet_config *out, const json_t *root, const char *file, vipo_error *error)
{
    const json_t *unet = NULL;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "unet", false, &unet, error));
    const vipo_json_at at = {file, unet ? "unet" : ""};
    if (!unet) unet = root;
    *out = (vipo_unet_config){
        .in_channels = 6, .out_channels = 3, .head_channels = 32, .groups = 32, .norm_eps = 1e-5F};

    VIPO_TRY(parse_image_size(out, root, unet, at, error));
    VIPO_TRY(vipo_json_int(unet, at, "in_channels", false, 1, 64, &out->in_channels, error));
    VIPO_TRY(vipo_json_int(unet, at, "out_channels", false, 1, 64, &out->out_channels, error));
    VIPO_TRY(vipo_json_int(unet, at, "model_channels", true, 1, 4096, &out->model_channels, error));
    VIPO_TRY(vipo_json_ints(unet, at, "channel_mult", true, 1, 64, out->channel_mult, VIPO_MAX_LEVELS,
                            &out->levels, error));
    VIPO_TRY(vipo_json_int(unet, at, "num_res_blocks", true, 1, 32, &out->res_blocks, error));
    VIPO_TRY(vipo_json_ints(unet, at, spelling(unet, "attention_ds", "attention_resolutions"), true, 1, 1024,
                            out->attention_ds, VIPO_MAX_LEVELS, &out->attention_levels, error));
    VIPO_TRY(vipo_json_int(unet, at, "num_head_channels", false, 1, 1024, &out->head_channels, error));
    VIPO_TRY(vipo_json_int(unet, at, "task_token_channels", true, 1, 8192, &out->token_channels, error));
    VIPO_TRY(vipo_json_int(unet, at, "group_norm_groups", false, 1, 1024, &out->groups, error));
    double eps = (double)out->norm_eps;
    VIPO_TRY(vipo_json_double(unet, at, "group_norm_eps", false, 1e-12, 1e-1, &eps, error));
    out->norm_eps = (float)eps;
    VIPO_TRY(check_variants(unet, at, error));

    const char *perceiver_key = spelling(unet, "task_attnpool", "perceiver");
    const json_t *perceiver = NULL;
    char perceiver_path[32];
    snprintf(perceiver_path, sizeof perceiver_path, "%s%s%s", at.path, at.path[0] ? "." : "", perceiver_key);
    VIPO_TRY(vipo_json_object(unet, at, perceiver_key, false, &perceiver, error));
    VIPO_TRY(parse_perceiver(&out->perceiver, perceiver, (vipo_json_at){file, perceiver_path}, error));
    if (out->levels < 1)
        return vipo_fail(error, VIPO_FORMAT, "%s: channel_mult is empty, expected 1 to %d levels", file,
                         (int)VIPO_MAX_LEVELS);
    return check_unet(out, file, error);
}

static vipo_status parse_text(vipo_text_config *out, const json_t *text, vipo_json_at at, vipo_error *error)
{
    *out = (vipo_text_config){
        .positions = 77, .begin_id = -1, .end_id = -1, .quick_gelu = true, .norm_eps = 1e-5F};
    VIPO_TRY(vipo_json_int(text, at, "hidden_size", true, 1, 8192, &out->width, error));
    VIPO_TRY(vipo_json_int(text, at, "intermediate_size", true, 1, 65536, &out->intermediate, error));
    VIPO_TRY(vipo_json_int(text, at, "num_hidden_layers", true, 1, 128, &out->layers, error));
    VIPO_TRY(vipo_json_int(text, at, "num_attention_heads", true, 1, 256, &out->heads, error));
    VIPO_TRY(vipo_json_int(text, at, "max_position_embeddings", false, 2, VIPO_MAX_TEXT_POSITIONS,
                           &out->positions, error));
    VIPO_TRY(vipo_json_int(text, at, "vocab_size", true, 1, 1 << 24, &out->vocabulary, error));
    double eps = (double)out->norm_eps;
    VIPO_TRY(vipo_json_double(text, at, "layer_norm_eps", false, 1e-12, 1e-1, &eps, error));
    out->norm_eps = (float)eps;
    const char *act = "quick_gelu";
    VIPO_TRY(vipo_json_string(text, at, "hidden_act", false, &act, error));
    out->quick_gelu = strcmp(act, "quick_gelu") == 0;
    if (!out->quick_gelu && strcmp(act, "gelu") != 0)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %s.hidden_act is \"%s\", expected quick_gelu or gelu",
                         at.file, at.path, act);
    if (out->width % out->heads)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s.hidden_size %d does not split into %d heads", at.file,
                         at.path, out->width, out->heads);
    return VIPO_OK;
}

vipo_status vipo_config_parse_text(vipo_text_config *out, const json_t *text, const char *file,
                                   const char *path, vipo_error *error)
{
    const vipo_status status = parse_text(out, text, (vipo_json_at){file, path}, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}

static vipo_status parse_diffusion(vipo_diffusion_config *out, const json_t *root, const char *file,
                                   vipo_error *error)
{
    *out = (vipo_diffusion_config){.timesteps = 100};
    const json_t *diffusion = NULL;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "diffusion", false, &diffusion, error));
    const vipo_json_at at = {file, diffusion ? "diffusion" : ""};
    if (!diffusion) diffusion = root; /* a flat configuration */
    /* core/rng.h has 4096 purposes: x_T and the noise of each step but the last */
    VIPO_TRY(vipo_json_int(diffusion, at, "timesteps", false, 2, 4096, &out->timesteps, error));
    double offset = 0.008, largest = 0.999; /* sampling/schedule.h */
    VIPO_TRY(vipo_json_double(diffusion, at, "cosine_s", false, offset, offset, &offset, error));
    VIPO_TRY(vipo_json_double(diffusion, at, "beta_max", false, largest, largest, &largest, error));
    const struct {
        const char *key, *only;
    } fixed[] = {{"beta_schedule", "cosine"}, {"objective", "pred_v"}};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        const char *value = fixed[i].only;
        VIPO_TRY(vipo_json_string(diffusion, at, fixed[i].key, false, &value, error));
        if (strcmp(value, fixed[i].only) != 0)
            return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %s%s%s is \"%s\", only \"%s\" is supported", file,
                             at.path, *at.path ? "." : "", fixed[i].key, value, fixed[i].only);
    }
    return VIPO_OK;
}

/* "calibration": {"samplers": [{"sampler": "ab2:12", "distance": 0.0138}, ...]} */
static vipo_status parse_distances(vipo_config *out, const json_t *root, const char *file, vipo_error *error)
{
    const json_t *calibration = NULL;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "calibration", false, &calibration, error));
    const json_t *list = json_object_get(calibration, "samplers");
    if (!list || json_is_null(list)) return VIPO_OK;
    if (!json_is_array(list) || json_array_size(list) > VIPO_MAX_CANDIDATES)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: calibration.samplers: expected a list of at most %d objects", file,
                         (int)VIPO_MAX_CANDIDATES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        vipo_sampler_candidate *entry = &out->distances[i];
        char path[48];
        snprintf(path, sizeof path, "calibration.samplers[%zu]", i);
        const json_t *object = json_array_get(list, i);
        if (!json_is_object(object))
            return vipo_fail(error, VIPO_FORMAT, "%s: %s: expected an object with sampler and distance", file,
                             path);
        const char *name = NULL;
        VIPO_TRY(vipo_json_string(object, (vipo_json_at){file, path}, "sampler", true, &name, error));
        VIPO_TRY(vipo_json_double(object, (vipo_json_at){file, path}, "distance", true, 0, 1e6,
                                  &entry->distance, error));
        snprintf(entry->sampler, sizeof entry->sampler, "%s", name);
    }
    out->n_distances = (int)json_array_size(list);
    return VIPO_OK;
}

/* Cut to fit, but not inside of a character: the name is written to JSON again. */
static void copy_name(char *out, size_t room, const char *name)
{
    size_t length = strlen(name);
    if (length >= room)
        for (length = room - 1; length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80;) length--;
    memcpy(out, name, length);
    out[length] = '\0';
}

static vipo_status parse_config(vipo_config *out, const json_t *root, const char *file, vipo_error *error)
{
    if (!json_is_object(root)) return vipo_fail(error, VIPO_FORMAT, "%s: expected a JSON object", file);
    const char *name = "";
    VIPO_TRY(vipo_json_string(root, (vipo_json_at){file, ""}, "name", false, &name, error));
    copy_name(out->name, sizeof out->name, name);
    VIPO_TRY(parse_unet(&out->unet, root, file, error));
    VIPO_TRY(parse_diffusion(&out->diffusion, root, file, error));
    VIPO_TRY(parse_distances(out, root, file, error));
    VIPO_TRY(vipo_calibration_parse(&out->calibration, root, out->diffusion.timesteps, file, error));
    const json_t *text = NULL;
    VIPO_TRY(vipo_json_object(root, (vipo_json_at){file, ""}, "text_encoder", false, &text, error));
    if (text) {
        VIPO_TRY(vipo_config_parse_text(&out->text, text, file, "text_encoder", error));
        out->has_text = true;
        if (out->text.width != out->unet.token_channels)
            return vipo_fail(error, VIPO_FORMAT,
                             "%s: text_encoder.hidden_size %d and task_token_channels %d differ", file,
                             out->text.width, out->unet.token_channels);
    }
    return VIPO_OK;
}

vipo_status vipo_config_parse(vipo_config *out, const json_t *root, const char *file, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const vipo_status status = parse_config(out, root, file, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}
