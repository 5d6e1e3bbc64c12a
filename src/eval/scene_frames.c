#include "eval/scene_frames.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/resize.h"

vipo_status vipo_frame_picture(const vipo_imagined *imagined, int i, float up, vipo_image *out,
                               vipo_error *error)
{
    const size_t size = (size_t)imagined->frame_height * (size_t)imagined->frame_width * 3;
    const float *x = imagined->frames + (size_t)i * size;
    *out = (vipo_image){malloc(size), imagined->frame_height, imagined->frame_width};
    if (!out->data) return vipo_fail_memory(error, size, "a frame");
    for (size_t j = 0; j < size; j++) {
        if (!isfinite(x[j])) {
            vipo_image_free(out);
            return vipo_fail(error, VIPO_NUMERIC, "frame %d of plan %d has a number that is not finite", i,
                             imagined->number);
        }
        out->data[j] = (uint8_t)(255 * (x[j] < 0 ? 0 : x[j] > 1 ? 1 : x[j]) + up);
    }
    return VIPO_OK;
}

static vipo_status scene_picture(const vipo_imagined *imagined, int i, vipo_border border, vipo_image *out,
                                 vipo_error *error)
{
    const vipo_view *view = imagined->view;
    const vipo_crop *crop = &imagined->crop;
    const size_t size = (size_t)view->height * (size_t)view->width * 3;
    vipo_image frame, fitting = {0};
    VIPO_TRY(vipo_frame_picture(imagined, i, 0, &frame, error));
    vipo_status status = VIPO_OK;
    if (frame.height == crop->height && frame.width == crop->width) {
        fitting = frame;
        frame = (vipo_image){0};
    } else {
        status = vipo_resize_bilinear(&frame, crop->height, crop->width, &fitting, error);
    }
    vipo_image_free(&frame);
    if (status) return status;
    *out = (vipo_image){calloc(size, 1), view->height, view->width};
    if (!out->data) {
        vipo_image_free(&fitting);
        return vipo_fail_memory(error, size, "a picture");
    }
    if (border == VIPO_BORDER_PICTURE) memcpy(out->data, view->rgb, size);
    const size_t row = (size_t)crop->width * 3;
    for (int y = 0; y < crop->height; y++)
        memcpy(out->data + ((size_t)(crop->y + y) * (size_t)view->width + (size_t)crop->x) * 3,
               fitting.data + (size_t)y * row, row);
    vipo_image_free(&fitting);
    return VIPO_OK;
}

vipo_status vipo_scene_frames(const vipo_imagined *imagined, vipo_border border, vipo_image **out,
                              vipo_error *error)
{
    const int n = imagined->n + 1;
    *out = calloc((size_t)n, sizeof **out);
    if (!*out) return vipo_fail_memory(error, (size_t)n * sizeof **out, "pictures");
    for (int i = 0; i < n; i++) {
        const vipo_status status = scene_picture(imagined, i, border, &(*out)[i], error);
        if (!status) continue;
        vipo_scene_frames_free(out, n);
        return status;
    }
    return VIPO_OK;
}

void vipo_scene_frames_free(vipo_image **pictures, int n)
{
    for (int i = 0; i < n && *pictures; i++) vipo_image_free(&(*pictures)[i]);
    free(*pictures);
    *pictures = NULL;
}
