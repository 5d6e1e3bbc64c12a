/* Optical flow by dense inverse search (Kroeger, Timofte, Dai, Van Gool, ECCV 2016), OpenCV's. */
#ifndef VIPO_MEDIA_DIS_H
#define VIPO_MEDIA_DIS_H

#include "core/status.h"

enum { VIPO_DIS_MIN_SIDE = 24 /* two patches */ };

/* flow [height][width][2] from picture a to b, RGB8 [height][width][3], sides of at least VIPO_DIS_MIN_SIDE. Sets the
 * number of OpenCV's threads to 1. VIPO_UNSUPPORTED in a build without OpenCV. */
vipo_status vipo_dis_flow(const uint8_t *a, const uint8_t *b, int height, int width, float *flow,
                          vipo_error *error);
/* VIPO_OK, or VIPO_UNSUPPORTED in a build without OpenCV. */
vipo_status vipo_dis_available(vipo_error *error);

#endif
