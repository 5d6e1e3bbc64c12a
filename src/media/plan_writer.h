/* Files of plans: one writer per extension. */
#ifndef VIPO_MEDIA_PLAN_WRITER_H
#define VIPO_MEDIA_PLAN_WRITER_H

#include "core/status.h"

typedef struct vipo_plan_writer {
    const char *extension; /* lower case, with its dot */
    /* Pictures clamp values to [0,1]; their arguments have passed vipo_plan_check. */
    bool picture;
    vipo_status (*write)(const char *path, const vipo_array *video, const vipo_array *cond,
                         const vipo_write_options *options, vipo_error *error);
    /* Would pictures of a video of that shape be too large? No element is read; sane options. NULL: never. */
    vipo_status (*fits)(const char *path, const vipo_array *video, const vipo_write_options *options,
                        vipo_error *error);
} vipo_plan_writer;

extern const vipo_plan_writer vipo_plan_writer_gif;
extern const vipo_plan_writer vipo_plan_writer_mp4;
extern const vipo_plan_writer vipo_plan_writer_png;

/* video [samples][frames][H][W][3] and cond [1 or samples][H][W][3] of finite numbers, sane options.
 * VIPO_MISMATCH, VIPO_NUMERIC, VIPO_INVALID_ARGUMENT with `path` before the message. */
vipo_status vipo_plan_check(const char *path, const vipo_array *video, const vipo_array *cond,
                            const vipo_write_options *options, vipo_error *error);

/* Frame i of a sample's film: the condition frame, then the plan. [H][W][3], borrowed. */
const float *vipo_plan_frame(const vipo_array *video, const vipo_array *cond, size_t sample, size_t i);

/* Enlargement of frames of that height: options->scale, or for 0 about 128 rows. */
int vipo_plan_scale(const vipo_write_options *options, size_t height);

#endif
