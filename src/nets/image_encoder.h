/* Picture -> feature: a ResNet of basic blocks with GroupNorm (He et al. 2016, Wu and He 2018), the expected place of
 * each of its keypoints under a softmax over the last map (Finn et al. 2016, Levine et al. 2016), a linear layer.
 * Parameter names are those of torchvision's ResNet and robomimic's SpatialSoftmax as the Diffusion Policy code nests
 * them. Constant once open; weights belong to the store. */
#ifndef VIPO_NETS_IMAGE_ENCODER_H
#define VIPO_NETS_IMAGE_ENCODER_H

#include "nets/policy_config.h"
#include "nets/program.h"
#include "nets/weight_store.h"

typedef struct vipo_encoder_norm {
    const float *gamma, *beta;
} vipo_encoder_norm;

typedef struct vipo_encoder_block {
    int stage, in, out, stride, height, width; /* size of its input */
    const vipo_packed *conv[2], *skip;         /* skip NULL: the input itself */
    vipo_encoder_norm norm[2], skip_norm;
} vipo_encoder_block;

typedef struct vipo_image_encoder {
    vipo_encoder_config config;
    const vipo_packed *stem, *keypoints, *linear;
    vipo_encoder_norm stem_norm;
    vipo_encoder_block *blocks; /* [n_blocks] */
    int n_blocks;
    int height, width; /* of the last map */
    float temperature;
    size_t map_floats; /* of the largest map */
} vipo_image_encoder;

/* Parameters are "<prefix>nets.0...", "<prefix>nets.1...", "<prefix>nets.3...". */
vipo_status vipo_image_encoder_open(vipo_image_encoder *out, const vipo_encoder_config *config,
                                    vipo_weight_store *store, const char *prefix, vipo_error *error);
void vipo_image_encoder_close(vipo_image_encoder *encoder);

/* Memory of a session for `samples` pictures: floats; scratch bytes per thread. */
size_t vipo_image_encoder_memory(const vipo_image_encoder *encoder, int samples);
size_t vipo_image_encoder_scratch(const vipo_image_encoder *encoder, const vipo_ops *ops, int samples);

typedef struct vipo_image_encoder_run {
    const vipo_compute *compute;
    float *memory; /* 64-byte aligned */
    int samples;
    const float *pictures; /* [samples][height][width][3] in [0,1]; the network sees 2x - 1 */
    float *features;       /* [samples][feature_stride], feature_size of it written */
    size_t feature_stride;
    vipo_dump_function
        dump; /* NULL: off. Names: dump_prefix and conv1, gn1, pool, layer1..., kp_logits, keypoints,
                                feature */
    void *dump_user;
    const char *dump_prefix;
} vipo_image_encoder_run;

vipo_status vipo_image_encoder_forward(const vipo_image_encoder *encoder, const vipo_image_encoder_run *run,
                                       vipo_error *error);

#endif
