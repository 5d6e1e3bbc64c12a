/* Perceiver resampler: task tokens [L][C] -> one task embedding (the mean over its latents of a linear
 * layer). Parameter names: task_attnpool.0.* and task_attnpool.1.* of AVDC's UNetModel. */
#ifndef VIPO_NETS_PERCEIVER_H
#define VIPO_NETS_PERCEIVER_H

#include "nets/config.h"
#include "nets/program.h"
#include "nets/weight_store.h"

enum { VIPO_MAX_PERCEIVER_DEPTH = 64 };

typedef struct vipo_perceiver_layer {
    const float *norm_gain, *norm_bias, *norm_latents_gain, *norm_latents_bias;
    const float *q_scale, *k_scale; /* [head_dim] */
    const vipo_packed *to_q, *to_kv, *to_out;
    const float *out_gain, *out_bias;
    const float *ff_gain_in, *ff_gain_hidden;
    const vipo_packed *ff_in, *ff_out;
} vipo_perceiver_layer;

typedef struct vipo_perceiver {
    vipo_perceiver_config config;
    int width; /* of tokens and latents */
    int out_width;
    const float *latents;   /* [latents][width] */
    const float *positions; /* [max_length][width] */
    const float *mean_gain;
    const vipo_packed *mean_out; /* width -> mean_pooled_latents * width */
    const vipo_packed *out;      /* width -> out_width */
    vipo_perceiver_layer layers[VIPO_MAX_PERCEIVER_DEPTH];
} vipo_perceiver;

/* The weights belong to the store. */
vipo_status vipo_perceiver_open(vipo_perceiver *out, const vipo_perceiver_config *config, int width,
                                int out_width, vipo_weight_store *store, vipo_error *error);

/* Scratch bytes per thread. */
size_t vipo_perceiver_scratch(const vipo_perceiver *perceiver, const vipo_ops *ops);

/* tokens [length][width], 1 <= length <= max_length; embedding [out_width]. Allocates while it runs. dump
 * gets "perceiver_out" [1][latents][width], "task_embed" and the branches of every layer; may be NULL. */
vipo_status vipo_perceiver_forward(const vipo_perceiver *perceiver, const vipo_compute *compute,
                                   const float *tokens, int length, float *embedding, vipo_dump_function dump,
                                   void *dump_user, vipo_error *error);

#endif
