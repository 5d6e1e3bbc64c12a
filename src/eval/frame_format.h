/* The shape of a plan's frames, and which part of a picture they show. */
#ifndef VIPO_EVAL_FRAME_FORMAT_H
#define VIPO_EVAL_FRAME_FORMAT_H

#include "eval/predictor.h"
#include "media/preprocess.h"

enum { VIPO_EVAL_HEIGHT = 240, VIPO_EVAL_WIDTH = 320 }; /* of pictures, AVDC's */

typedef struct vipo_frame_format {
    vipo_preprocess_steps preprocess; /* from a picture to a frame */
    int n;                            /* imagined frames */
    int height, width;
    vipo_crop crop;
} vipo_frame_format;

/* Of a model's folder (config.json alone is read), or, folder NULL, n frames of AVDC's crop of 128x128. */
vipo_status vipo_frame_format_init(vipo_frame_format *out, const char *folder, int n, vipo_error *error);
/* The part of a height x width picture that the steps keep, and the size they bring it to. */
void vipo_frame_format_trace(const vipo_preprocess_steps *steps, int height, int width, vipo_crop *crop,
                             int *frame_height, int *frame_width);
static inline size_t vipo_frame_size(const vipo_frame_format *format)
{
    return (size_t)format->height * (size_t)format->width * 3;
}

#endif
