/* config.json of an action policy: what pictures become before they are actions. Two kinds share a folder format:
 * "gcp", a diffusion policy that draws a sequence of actions given an observation and a goal picture (Luo and Du 2024,
 * after Chi et al. 2023), and "bc", behaviour cloning that maps the same inputs to a sequence at once. */
#ifndef VIPO_NETS_POLICY_CONFIG_H
#define VIPO_NETS_POLICY_CONFIG_H

#include <jansson.h>

#include "core/status.h"

enum {
    VIPO_MAX_STAGES = 8,       /* of a ResNet, levels of a 1-D UNet, hidden layers of a head */
    VIPO_MAX_PICTURES = 2,     /* goal and observation */
    VIPO_MAX_VECTOR_PARTS = 8, /* of the input that is no picture */
    VIPO_MAX_VECTOR = 512,
    VIPO_MAX_ACTION = 64,
    VIPO_MAX_TASKS = 64, /* named ones */
    VIPO_TASK_ROOM = 64,
};

typedef enum vipo_policy_kind { VIPO_POLICY_GCP, VIPO_POLICY_BC, VIPO_POLICY_KINDS } vipo_policy_kind;
typedef enum vipo_picture { VIPO_PICTURE_GOAL, VIPO_PICTURE_OBS } vipo_picture;
typedef enum vipo_prediction { VIPO_PREDICT_EPSILON, VIPO_PREDICT_SAMPLE, VIPO_PREDICT_V } vipo_prediction;

/* "gcp", "bc"; "goal", "obs" */
const char *vipo_policy_kind_name(vipo_policy_kind kind);
const char *vipo_picture_name(vipo_picture picture);

/* ResNet of basic blocks with GroupNorm, then the expected places of keypoints, then a linear layer. */
typedef struct vipo_encoder_config {
    int height, width; /* of the picture */
    int stem_channels, stem_kernel;
    int stages, widths[VIPO_MAX_STAGES], blocks[VIPO_MAX_STAGES];
    int channels_per_group;
    int keypoints, feature_size;
    float norm_eps;
} vipo_encoder_config;

typedef struct vipo_unet1d_config {
    int action_dim, horizon;
    int condition; /* numbers of the global condition */
    int levels, widths[VIPO_MAX_STAGES];
    int kernel, groups, step_embedding;
    bool scale; /* the condition gives a factor besides the summand */
    float norm_eps;
} vipo_unet1d_config;

/* A run of the vector input. Values are mapped from [min, max] to [-1, 1] where that is asked for. */
typedef struct vipo_vector_part_config {
    char name[VIPO_TASK_ROOM];
    int offset, size;
    bool tasks; /* a one-hot over vipo_policy_config.tasks */
} vipo_vector_part_config;

typedef struct vipo_policy_config {
    char name[64];
    vipo_policy_kind kind;
    vipo_encoder_config encoder;
    int n_pictures;
    vipo_picture pictures[VIPO_MAX_PICTURES]; /* in the order of their features */
    int n_vector_parts, vector_dim;
    vipo_vector_part_config vector_parts[VIPO_MAX_VECTOR_PARTS];
    float vector_min[VIPO_MAX_VECTOR], vector_max[VIPO_MAX_VECTOR]; /* min = -1, max = 1: as it is */
    int n_tasks;
    char tasks[VIPO_MAX_TASKS][VIPO_TASK_ROOM];
    int action_dim, horizon, executed;
    float action_min[VIPO_MAX_ACTION], action_max[VIPO_MAX_ACTION];
    /* gcp */
    vipo_unet1d_config unet;
    int timesteps;
    vipo_prediction prediction;
    bool clip;
    double clip_range;
    char sampler[16]; /* default of a run */
    int steps;        /* 0: the sampler's own */
    /* bc */
    int hidden_layers, hidden[VIPO_MAX_STAGES];
} vipo_policy_config;

/* Numbers of the global condition: features of the pictures, then the vector. */
static inline int vipo_policy_condition(const vipo_policy_config *config)
{
    return config->n_pictures * config->encoder.feature_size + config->vector_dim;
}

/* Is this the config.json of an action policy? Looks at "format" alone. */
bool vipo_policy_config_is(const json_t *root);

/* `file` is for messages. Members that are not known are left alone. */
vipo_status vipo_policy_config_parse(vipo_policy_config *out, const json_t *root, const char *file,
                                     vipo_error *error);

/* The folder's config.json as vipo_policy_config_parse reads it; a new reference, NULL without memory. */
json_t *vipo_policy_config_json(const vipo_policy_config *config);

#endif
