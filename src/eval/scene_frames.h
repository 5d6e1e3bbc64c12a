/* Plan frames as pictures, by themselves or put back into the picture that they were cut from. */
#ifndef VIPO_EVAL_SCENE_FRAMES_H
#define VIPO_EVAL_SCENE_FRAMES_H

#include "eval/predictor.h"
#include "vipo/vipo.h"

/* Frame i at its own size, 8 bit: 255 x + up, cut to a whole number (up = .5: to the nearest); what lies outside [0,1] becomes 0
 * or 255. The caller frees *out. VIPO_NUMERIC for a number that is not finite. */
vipo_status vipo_frame_picture(const vipo_imagined *imagined, int i, float up, vipo_image *out,
                               vipo_error *error);

/* What is around a frame. */
typedef enum vipo_border {
    VIPO_BORDER_PICTURE, /* what was seen: it does not move */
    VIPO_BORDER_BLACK,   /* as AVDC */
} vipo_border;

/* out: the 1 + n pictures of the view's size, allocated; the caller frees each (vipo_image_free) and the list. Numbers become
 * 8 bit as in AVDC (255 x, cut to a whole number), but what lies outside [0,1] becomes 0 or 255; frames of another size than
 * the crop are resized. VIPO_NUMERIC for a number that is not finite. */
vipo_status vipo_scene_frames(const vipo_imagined *imagined, vipo_border border, vipo_image **out,
                              vipo_error *error);
void vipo_scene_frames_free(vipo_image **pictures, int n);

#endif
