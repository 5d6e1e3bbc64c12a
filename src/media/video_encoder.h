/* Pictures to MP4, through libavcodec and libavformat. A video is muxed in memory (what is written here is a few dozen small
 * pictures), so outputs that cannot seek work and a failed write is ours to report. The same pictures give the same bytes. */
#ifndef VIPO_MEDIA_VIDEO_ENCODER_H
#define VIPO_MEDIA_VIDEO_ENCODER_H

#include "core/status.h"

typedef enum vipo_video_colour {
    VIPO_VIDEO_420, /* H.264 that plays everywhere, else MPEG-4 part 2; odd sizes are made even by repeating the edge */
    VIPO_VIDEO_444, /* H.264, each pixel with a colour of its own; players built on libavcodec */
    VIPO_VIDEO_RGB, /* H.264, lossless: the same bytes come back */
} vipo_video_colour;

typedef struct vipo_video_settings {
    int height, width;
    double clock; /* ticks per second, the unit of the pictures' times */
    int spacing;  /* ticks between most pictures; those of the last one */
    vipo_video_colour colour;
    double crf;                /* x264's quality, 0..51, lower is better; not for RGB */
    const char *preset, *tune; /* x264's names; tune may be NULL */
} vipo_video_settings;

typedef struct vipo_video_encoder vipo_video_encoder;

/* `name` begins messages. VIPO_UNSUPPORTED if this libavcodec has no encoder for it. */
vipo_status vipo_video_encoder_open(vipo_video_encoder **out, const char *name,
                                    const vipo_video_settings *settings, vipo_error *error);
/* rgb: [height][width][3]; times increase. */
vipo_status vipo_video_encoder_add(vipo_video_encoder *encoder, const uint8_t *rgb, int64_t time,
                                   vipo_error *error);
/* The complete file, once; borrowed from the encoder. */
vipo_status vipo_video_encoder_finish(vipo_video_encoder *encoder, const uint8_t **bytes, size_t *size,
                                      vipo_error *error);
void vipo_video_encoder_close(vipo_video_encoder **encoder);

#endif
