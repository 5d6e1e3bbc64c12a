/* What the camera sees when a plan is made. */
#ifndef VIPO_EVAL_VIEW_H
#define VIPO_EVAL_VIEW_H

#include "eval/predictor.h"

/* Owns what `view` shows. */
typedef struct vipo_seen {
    vipo_sim_picture picture;
    uint8_t *mask;
    vipo_view view;
} vipo_seen;

/* Draws the picture, and with `all` depth and mask. */
vipo_status vipo_seen_take(vipo_seen *out, vipo_sim *sim, const char *camera, int height, int width, bool all,
                           vipo_error *error);
void vipo_seen_free(vipo_seen *seen);

/* A 3x3 median of a mask of 0 and 255, the border repeated (cv2.medianBlur): the majority of nine. */
void vipo_median_mask(const uint8_t *in, int height, int width, uint8_t *out);

#endif
