/* From a picture to the condition frame a model sees. */
#ifndef VIPO_MEDIA_PREPROCESS_H
#define VIPO_MEDIA_PREPROCESS_H

#include <jansson.h>

#include "core/status.h"

typedef enum vipo_preprocess_kind {
    VIPO_PREPROCESS_RESIZE, /* to height x width, media/resize.h */
    VIPO_PREPROCESS_CROP,   /* the centre, height x width */
    VIPO_PREPROCESS_BOX,    /* mean of boxes; height = width = their side */
} vipo_preprocess_kind;

typedef struct vipo_preprocess_step {
    vipo_preprocess_kind kind;
    int height, width;
} vipo_preprocess_step;

enum { VIPO_PREPROCESS_MAX_STEPS = 8, VIPO_PREPROCESS_MIN_SIDE = 16 };

/* Steps on 8-bit pixels, in order; the result is divided by 255. */
typedef struct vipo_preprocess_steps {
    int count;
    vipo_preprocess_step steps[VIPO_PREPROCESS_MAX_STEPS];
} vipo_preprocess_steps;

/* AVDC's inference transforms: "mw", "thor", "bridge"; VIPO_INVALID_ARGUMENT for other names. */
vipo_status vipo_preprocess_from_preset(vipo_preprocess_steps *out, const char *preset, vipo_error *error);

/* From a model's config.json (`file` is its name for messages). image.preprocess is a list of phrases
 * such as "resize to 240x320 if it is not", "centre crop 128x128 (rows 56..183, columns 96..223)",
 * "2x2 box mean (a+b+c+d+2)>>2 to 64x64", "/255"; or the name of a preset; or absent: "mw" for a model of
 * 128x128, else a resize. VIPO_FORMAT for phrases that are not understood, VIPO_MISMATCH if the steps
 * contradict each other or do not end at the model's height x width. */
vipo_status vipo_preprocess_from_config(vipo_preprocess_steps *out, const json_t *config_root, int height,
                                        int width, const char *file, vipo_error *error);

/* out: [1][H][W][3] in [0,1], owned by the caller. VIPO_UNSUPPORTED for pictures with a side below 16. */
vipo_status vipo_preprocess_apply(const vipo_preprocess_steps *steps, const vipo_image *image,
                                  vipo_array *out, vipo_error *error);

/* "resize 240x320, centre crop 128x128, box mean 2x2", cut to fit. */
void vipo_preprocess_describe(const vipo_preprocess_steps *steps, char *out, size_t size);

#endif
