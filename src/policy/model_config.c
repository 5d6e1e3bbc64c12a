#include "policy/model_config.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *ints(const int *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

/* The number of fewest digits that is the same float: 0.1 for 0.1F. The exact value, 0.100000001..., may lie beyond a
 * limit that 0.1 keeps. */
static double shortest(float value)
{
    enum { ENOUGH_DIGITS = 9 };
    double decimal = (double)value;
    for (int digits = 1; digits <= ENOUGH_DIGITS; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        decimal = strtod(text, NULL);
        if ((float)decimal == value) break;
    }
    return decimal;
}

/* The steps as phrases, each understood by media/preprocess.c. */
static json_t *preprocess_json(const vipo_preprocess_steps *steps)
{
    json_t *list = json_array();
    for (int i = 0; i < steps->count; i++) {
        const vipo_preprocess_step *step = &steps->steps[i];
        char phrase[96];
        switch (step->kind) {
        case VIPO_PREPROCESS_RESIZE:
            snprintf(phrase, sizeof phrase, "resize to %dx%d", step->height, step->width);
            break;
        case VIPO_PREPROCESS_CROP:
            snprintf(phrase, sizeof phrase, "centre crop %dx%d", step->height, step->width);
            break;
        default:
            snprintf(phrase, sizeof phrase, "%dx%d box mean", step->height, step->width);
        }
        json_array_append_new(list, json_string(phrase));
    }
    json_array_append_new(list, json_string("/255"));
    return list;
}

static json_t *perceiver_json(const vipo_perceiver_config *c)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f}", "perceiver_depth", c->depth, "dim_head",
                     c->head_dim, "heads", c->heads, "num_latents", c->latents, "num_latents_mean_pooled",
                     c->mean_pooled_latents, "max_seq_len", c->max_length, "ff_mult", c->ff_mult, "sim_scale",
                     shortest(c->logit_scale));
}

static json_t *unet_json(const vipo_unet_config *c)
{
    const int size[2] = {c->height, c->width};
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:o, s:o, s:i, s:i, s:i, s:f, s:o}", "image_size",
                     ints(size, 2), "in_channels", c->in_channels, "model_channels", c->model_channels,
                     "out_channels", c->out_channels, "num_res_blocks", c->res_blocks,
                     "attention_resolutions", ints(c->attention_ds, c->attention_levels), "channel_mult",
                     ints(c->channel_mult, c->levels), "num_head_channels", c->head_channels,
                     "task_token_channels", c->token_channels, "group_norm_groups", c->groups,
                     "group_norm_eps", shortest(c->norm_eps), "task_attnpool", perceiver_json(&c->perceiver));
}

static json_t *text_json(const vipo_text_config *c)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:i}", "type", "CLIPTextModel", "hidden_size",
                     c->width, "intermediate_size", c->intermediate, "num_hidden_layers", c->layers,
                     "num_attention_heads", c->heads, "max_position_embeddings", c->positions, "hidden_act",
                     c->quick_gelu ? "quick_gelu" : "gelu", "layer_norm_eps", shortest(c->norm_eps),
                     "vocab_size", c->vocabulary);
}

json_t *vipo_model_config_json(const vipo_config *config, const vipo_preprocess_steps *preprocess,
                               const char *dtype, json_t *origin)
{
    const vipo_unet_config *unet = &config->unet;
    json_t *root = json_pack("{s:s, s:i, s:s}", "format", "avdc-unet", "version", 1, "dtype", dtype);
    if (!root) return NULL;
    if (config->name[0]) json_object_set_new(root, "name", json_string(config->name));
    if (origin) json_object_set(root, "converted_from", origin);
    json_object_set_new(root, "image",
                        json_pack("{s:i, s:i, s:i, s:i, s:o, s:[i, i], s:[i, i]}", "height", unet->height,
                                  "width", unet->width, "channels", unet->out_channels, "future_frames",
                                  unet->frames, "preprocess", preprocess_json(preprocess), "condition_range",
                                  0, 1, "target_range", -1, 1));
    json_object_set_new(root, "unet", unet_json(unet));
    json_object_set_new(root, "diffusion",
                        json_pack("{s:i, s:s, s:f, s:f, s:s}", "timesteps", config->diffusion.timesteps,
                                  "beta_schedule", "cosine", "cosine_s", 0.008, "beta_max", 0.999,
                                  "objective", "pred_v"));
    if (config->has_text) {
        json_object_set_new(root, "text_encoder", text_json(&config->text));
        json_object_set_new(root, "tokenizer",
                            json_pack("{s:s, s:b, s:s, s:s}", "type", "CLIP byte-level BPE", "lowercase", 1,
                                      "vocab", "vocab.json", "merges", "merges.txt"));
    }
    const size_t members =
        6U + (config->name[0] ? 1U : 0U) + (origin ? 1U : 0U) + (config->has_text ? 2U : 0U);
    if (json_object_size(root) == members) return root;
    json_decref(root);
    return NULL;
}
