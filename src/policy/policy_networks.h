/* The networks of an action policy, and where their weights come from. */
#ifndef VIPO_POLICY_POLICY_NETWORKS_H
#define VIPO_POLICY_POLICY_NETWORKS_H

#include "nets/action_head.h"
#include "nets/image_encoder.h"
#include "nets/unet1d.h"
#include "weights/weight_file.h"

/* Constant once open. */
typedef struct vipo_policy_networks {
    vipo_policy_config config;
    vipo_weight_store store;
    vipo_image_encoder encoders[VIPO_MAX_PICTURES]; /* of config.pictures */
    vipo_unet1d unet;                               /* gcp */
    vipo_action_head head;                          /* bc */
} vipo_policy_networks;

vipo_status vipo_policy_networks_open(vipo_policy_networks *out, const vipo_policy_config *config,
                                      const vipo_packer *packer, const vipo_weight_source *source,
                                      size_t expected, const vipo_callbacks *callbacks, vipo_error *error);
void vipo_policy_networks_close(vipo_policy_networks *networks);

/* A weight source over an open file in which a policy's tensors have a prefix. The reference registers encoders twice: what
 * is not there as "nets.0." or "nets.1." is read as "backbone." or "pool."; a softmax without a temperature has 1. */
typedef struct vipo_policy_weights {
    vipo_weight_file *file;
    const char *path;
    char prefix[64];
    bool *used; /* [tensors of the file] */
} vipo_policy_weights;

vipo_status vipo_policy_weights_open(vipo_policy_weights *out, vipo_weight_file *file, const char *path,
                                     const char *prefix, vipo_error *error);
void vipo_policy_weights_close(vipo_policy_weights *weights);
vipo_weight_source vipo_policy_weights_source(vipo_policy_weights *weights);
/* VIPO_MISMATCH if tensors with the prefix were not read that are neither constants nor registered twice. */
vipo_status vipo_policy_weights_check(const vipo_policy_weights *weights, vipo_error *error);

#endif
