/* CLIP's text transformer (Radford et al. 2021): token ids -> last hidden state, as Hugging Face's
 * CLIPTextModel returns it (after the final LayerNorm, no projection). Parameter names: text_model.*.
 * Constant once open. */
#ifndef VIPO_NETS_CLIP_TEXT_H
#define VIPO_NETS_CLIP_TEXT_H

#include "nets/config.h"
#include "nets/program.h"
#include "nets/weight_store.h"

enum { VIPO_MAX_TEXT_LAYERS = 128 };

typedef struct vipo_clip_layer {
    const float *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias;
    const vipo_packed *q, *k, *v, *out, *fc1, *fc2;
} vipo_clip_layer;

typedef struct vipo_clip_text {
    vipo_text_config config;
    vipo_weight_store store;
    const float *tokens;    /* [vocabulary][width] */
    const float *positions; /* [positions][width] */
    const float *final_gain, *final_bias;
    vipo_clip_layer layers[VIPO_MAX_TEXT_LAYERS];
} vipo_clip_text;

vipo_status vipo_clip_text_open(vipo_clip_text *out, const vipo_text_config *config,
                                const vipo_packer *packer, const vipo_weight_source *source,
                                const vipo_callbacks *callbacks, vipo_error *error);
void vipo_clip_text_close(vipo_clip_text *text);

size_t vipo_clip_text_scratch(const vipo_clip_text *text, const vipo_ops *ops); /* bytes per thread */

/* ids [batch][length], 1 <= length <= positions; lengths [batch]: ids of each text that are not padding
 * (NULL: all); out [batch][length][width]. Causal; padded keys are masked. Allocates while it runs. dump gets
 * "hidden_states.i" [batch][length][width]; may be NULL. */
vipo_status vipo_clip_text_forward(const vipo_clip_text *text, const vipo_compute *compute,
                                   const int32_t *ids, int batch, int length, const int *lengths, float *out,
                                   vipo_dump_function dump, void *dump_user, vipo_error *error);

#endif
