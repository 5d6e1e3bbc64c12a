#include "policy/preset.h"

#include <string.h>

/* Sizes of AVDC's released models (flow-diffusion, unet.py); the future frames are those of its training
 * scripts, the task tokens those of CLIP ViT-B/32. */
static const struct {
    const char *name;
    vipo_unet_config unet;
} presets[] = {
    {"mw",
     {.height = 128,
      .width = 128,
      .frames = 7,
      .model_channels = 128,
      .levels = 5,
      .channel_mult = {1, 2, 3, 4, 5},
      .res_blocks = 2,
      .attention_levels = 2,
      .attention_ds = {8, 16}}},
    {"thor",
     {.height = 64,
      .width = 64,
      .frames = 7,
      .model_channels = 128,
      .levels = 3,
      .channel_mult = {1, 2, 4},
      .res_blocks = 3,
      .attention_levels = 2,
      .attention_ds = {4, 8}}},
    {"bridge",
     {.height = 48,
      .width = 64,
      .frames = 6,
      .model_channels = 160,
      .levels = 3,
      .channel_mult = {1, 2, 4},
      .res_blocks = 3,
      .attention_levels = 2,
      .attention_ds = {4, 8}}},
};
enum { PRESETS = sizeof presets / sizeof presets[0] };

vipo_status vipo_preset_find(vipo_config *config, vipo_preprocess_steps *preprocess, const char *name,
                             vipo_error *error)
{
    int i = 0;
    while (i < PRESETS && strcmp(presets[i].name, name) != 0) i++;
    if (i == PRESETS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "unknown preset \"%.40s\", expected mw, thor or bridge", name);
    *config = (vipo_config){.diffusion = {.timesteps = 100}};
    vipo_unet_config *unet = &config->unet;
    *unet = presets[i].unet;
    unet->in_channels = 6;
    unet->out_channels = 3;
    unet->head_channels = 32;
    unet->token_channels = 512;
    unet->groups = 32;
    unet->norm_eps = 1e-5F;
    unet->perceiver = (vipo_perceiver_config){.depth = 2,
                                              .heads = 8,
                                              .head_dim = 64,
                                              .latents = 64,
                                              .mean_pooled_latents = 4,
                                              .max_length = 512,
                                              .ff_mult = 4,
                                              .logit_scale = 8};
    return vipo_preprocess_from_preset(preprocess, name, error);
}
