/* The conditional UNet over time steps of the Diffusion Policy (Chi et al. 2023, after Janner et al. 2022): residual
 * blocks of convolution, GroupNorm and Mish whose middle is scaled and shifted by the diffusion step and the condition.
 * Predicts the noise (or x0, or v) of a noisy sequence of actions. Parameter names are those of its ConditionalUnet1D.
 * Constant once open; weights belong to the store. */
#ifndef VIPO_NETS_UNET1D_H
#define VIPO_NETS_UNET1D_H

#include "nets/policy_config.h"
#include "nets/program.h"
#include "nets/weight_store.h"

typedef struct vipo_unet1d_block {
    char name[24]; /* as dumps call it: "down0.res1", "mid0" */
    int in, out, length;
    const vipo_packed *conv[2], *residual; /* residual NULL: the input itself */
    const float *gamma[2], *beta[2];
    size_t film;          /* offset of its factors and summands among those of all blocks */
    size_t input, middle; /* places of its padded maps in the memory of one sample */
} vipo_unet1d_block;

/* A change of length between levels; its padded input. */
typedef struct vipo_unet1d_resample {
    const vipo_packed *weights[2]; /* down: one; up: outputs of even and of odd place */
    size_t input;
} vipo_unet1d_resample;

enum { VIPO_UNET1D_BLOCKS = 4 * VIPO_MAX_STAGES };

typedef struct vipo_unet1d {
    vipo_unet1d_config config;
    vipo_unet1d_block blocks[VIPO_UNET1D_BLOCKS]; /* down 2 each, mid 2, up 2 each */
    int n_blocks;
    vipo_unet1d_resample down[VIPO_MAX_STAGES], up[VIPO_MAX_STAGES];
    const vipo_packed *step[2], *films; /* of the diffusion step; of all blocks' conditions together */
    const vipo_packed *last_conv, *last;
    const float *last_gamma, *last_beta;
    size_t last_input, last_middle;
    int border;        /* steps of zeros at both ends of a padded map */
    size_t film_total; /* numbers of all blocks' factors and summands */
    size_t padded;     /* floats of all padded maps of a sample */
    size_t dense;      /* floats of the largest map */
} vipo_unet1d;

/* Parameters are "<prefix>down_modules..." and so on. */
vipo_status vipo_unet1d_open(vipo_unet1d *out, const vipo_unet1d_config *config, vipo_weight_store *store,
                             const char *prefix, vipo_error *error);

/* Memory of a session for batches of `samples`: floats, all zero before the first run with that number of samples;
 * scratch bytes per thread. */
size_t vipo_unet1d_memory(const vipo_unet1d *unet, int samples);
size_t vipo_unet1d_scratch(const vipo_unet1d *unet, const vipo_ops *ops, int samples);

typedef struct vipo_unet1d_run {
    const vipo_compute *compute;
    float *memory; /* 64-byte aligned; its zeros are kept */
    int samples;
    const float *x;          /* [samples][horizon][action_dim] */
    const int *t;            /* [samples] */
    const float *condition;  /* [samples][condition] */
    float *out;              /* like x */
    vipo_dump_function dump; /* NULL: off */
    void *dump_user;
    const char *dump_prefix;
} vipo_unet1d_run;

vipo_status vipo_unet1d_forward(const vipo_unet1d *unet, const vipo_unet1d_run *run, vipo_error *error);

#endif
