/* The factorised 3-D UNet of AVDC (flow-diffusion; architecture of guided-diffusion): every 3x3 convolution
 * works on each frame and is followed by three taps over the frames; attention works inside each frame;
 * residual blocks add a time + task embedding. Predicts v of a noisy video given a condition frame.
 *
 * A vipo_unet3d is constant once open and shareable; each session brings its own memory. */
#ifndef VIPO_NETS_UNET3D_H
#define VIPO_NETS_UNET3D_H

#include "nets/config.h"
#include "nets/perceiver.h"
#include "nets/program.h"
#include "nets/weight_store.h"

/* A residual block's part of the stacked embeddings, for dumps. */
typedef struct vipo_embedding_part {
    char name[64];
    int offset, channels;
} vipo_embedding_part;

typedef struct vipo_unet3d {
    vipo_unet_config config;
    vipo_weight_store store;
    vipo_program *program;
    int embedding_width;        /* 4 x model_channels */
    int embedding_total;        /* channels of all residual blocks' embeddings together */
    vipo_embedding_part *parts; /* [n_parts] */
    int n_parts;
    const vipo_packed *time_in, *time_out, *embeddings;
    vipo_perceiver perceiver;
} vipo_unet3d;

/* Parameter names are those of AVDC's UNetModel.state_dict(). `expected` is the number of parameters for
 * progress, 0 if unknown. */
vipo_status vipo_unet3d_open(vipo_unet3d *out, const vipo_unet_config *config, const vipo_packer *packer,
                             const vipo_weight_source *source, size_t expected,
                             const vipo_callbacks *callbacks, vipo_error *error);
void vipo_unet3d_close(vipo_unet3d *unet);

/* The layers of a network that would be opened, but for the linear ones; reads and packs nothing. Release with
 * vipo_choices_free. */
vipo_status vipo_unet3d_survey(const vipo_unet_config *config, bool half_weights, vipo_choices *out,
                               vipo_error *error);

/* Memory of a session for batches up to `samples`: floats and scratch bytes per thread. */
size_t vipo_unet3d_memory(const vipo_unet3d *unet, int samples);
size_t vipo_unet3d_scratch(const vipo_unet3d *unet, const vipo_ops *ops, int samples);

typedef struct vipo_unet3d_run {
    const vipo_compute *compute;
    float *memory; /* vipo_unet3d_memory floats, 64-byte aligned */
    int samples;
    const float *x;              /* [samples][frames][H][W][3] */
    const float *cond;           /* [samples][H][W][3] in [0,1] */
    const int *t;                /* [samples] */
    const float *task_embedding; /* [samples][4 x model_channels], see perceiver.h */
    float *v;                    /* like x */
    const vipo_callbacks *callbacks;
    vipo_dump_function dump;
    void *dump_user;
    vipo_profile_function profile;
    void *profile_user;
} vipo_unet3d_run;

vipo_status vipo_unet3d_forward(const vipo_unet3d *unet, const vipo_unet3d_run *run, vipo_error *error);

#endif
