#include "eval/frame_format.h"

#include <math.h>

#include "media/resize.h"
#include "policy/model.h"

/* A side of what the steps keep: where it is in the picture, and how many pixels it has by now. */
typedef struct side {
    double at, length;
    int now;
} side;

static void crop_side(side *s, int to)
{
    const double scale = s->length / s->now;
    s->at += vipo_crop_offset(s->now, to) * scale;
    s->length = to * scale;
    s->now = to;
}

void vipo_frame_format_trace(const vipo_preprocess_steps *steps, int height, int width, vipo_crop *crop,
                             int *frame_height, int *frame_width)
{
    side y = {0, height, height}, x = {0, width, width};
    for (int i = 0; i < steps->count; i++) {
        const vipo_preprocess_step *const step = &steps->steps[i];
        switch (step->kind) {
        case VIPO_PREPROCESS_RESIZE:
            y.now = step->height;
            x.now = step->width;
            break;
        case VIPO_PREPROCESS_CROP:
            crop_side(&y, step->height);
            crop_side(&x, step->width);
            break;
        case VIPO_PREPROCESS_BOX:
            y.now /= step->height;
            x.now /= step->width;
            break;
        }
    }
    *crop = (vipo_crop){(int)lround(y.at), (int)lround(x.at), (int)lround(y.length), (int)lround(x.length)};
    *frame_height = y.now;
    *frame_width = x.now;
}

vipo_status vipo_frame_format_init(vipo_frame_format *out, const char *folder, int n, vipo_error *error)
{
    out->n = n;
    if (folder) {
        vipo_config config;
        VIPO_TRY(vipo_model_read_config(folder, &config, &out->preprocess, error));
        out->n = config.unet.frames;
    } else {
        VIPO_TRY(vipo_preprocess_from_preset(&out->preprocess, "mw", error));
    }
    vipo_frame_format_trace(&out->preprocess, VIPO_EVAL_HEIGHT, VIPO_EVAL_WIDTH, &out->crop, &out->height,
                            &out->width);
    return VIPO_OK;
}
