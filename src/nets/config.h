/* Sizes of the networks, read from a model folder's config.json. Two spellings are understood: the model
 * folder's (members "image", "unet", "diffusion", "text_encoder") and the flat one of AVDC-style
 * configurations (all members at the top). */
#ifndef VIPO_NETS_CONFIG_H
#define VIPO_NETS_CONFIG_H

#include <jansson.h>

#include "core/status.h"

/* Positions of CLIP's text encoder; vipo_planner_encode_text promises its callers no more. */
enum { VIPO_MAX_LEVELS = 8, VIPO_MAX_TEXT_POSITIONS = 77 };

typedef struct vipo_perceiver_config {
    int depth, heads, head_dim;
    int latents, mean_pooled_latents; /* the mean-pooled ones come first */
    int max_length;                   /* tokens */
    int ff_mult;
    float logit_scale;
} vipo_perceiver_config;

typedef struct vipo_unet_config {
    int height, width, frames; /* of the video */
    int in_channels, out_channels;
    int model_channels, levels, channel_mult[VIPO_MAX_LEVELS], res_blocks;
    int attention_levels, attention_ds[VIPO_MAX_LEVELS]; /* downsampling factors that have attention */
    int head_channels;
    int token_channels; /* width of the task tokens */
    int groups;
    float norm_eps;
    vipo_perceiver_config perceiver;
} vipo_unet_config;

typedef struct vipo_text_config {
    int width, intermediate, layers, heads, positions, vocabulary;
    int begin_id, end_id; /* -1: by the tokenizer */
    bool quick_gelu;      /* else exact GELU */
    float norm_eps;
} vipo_text_config;

typedef struct vipo_diffusion_config {
    int timesteps;
} vipo_diffusion_config;

typedef struct vipo_config {
    char name[64];
    vipo_unet_config unet;
    vipo_diffusion_config diffusion;
    bool has_text; /* text is filled in */
    vipo_text_config text;
    /* the model's own distances of samplers, for sampler "auto"; names are checked by sampling/auto.h */
    vipo_sampler_candidate distances[VIPO_MAX_CANDIDATES];
    int n_distances;
    vipo_calibration calibration; /* nets/calibration.h */
} vipo_config;

/* Reads and checks root, which came from a file called `file`; sizes that contradict each other are refused
 * here, before anything is allocated. */
vipo_status vipo_config_parse(vipo_config *out, const json_t *root, const char *file, vipo_error *error);

/* The text encoder alone; `path` is the dotted path of the object, for messages. */
vipo_status vipo_config_parse_text(vipo_text_config *out, const json_t *text, const char *file,
                                   const char *path, vipo_error *error);

/* True if the level with downsampling factor ds has attention. */
bool vipo_unet_config_attends(const vipo_unet_config *config, int ds);

#endif
