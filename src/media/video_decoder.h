/* The pictures of a small video in memory, through libavformat and libavcodec. For files that this project wrote: they are
 * held in memory as a whole. */
#ifndef VIPO_MEDIA_VIDEO_DECODER_H
#define VIPO_MEDIA_VIDEO_DECODER_H

#include "core/status.h"

typedef struct vipo_video {
    size_t frames;
    int height, width;
    uint8_t *rgb;    /* [frames][height][width][3] */
    double *seconds; /* [frames]: when each is shown */
} vipo_video;

/* `name` is for messages. VIPO_FORMAT: no video, damaged, pictures of several sizes; VIPO_UNSUPPORTED: more than 1 GiB of
 * pictures. */
vipo_status vipo_video_decode(vipo_video *out, const uint8_t *bytes, size_t size, const char *name,
                              vipo_error *error);
void vipo_video_free(vipo_video *video);

#endif
