/* Optical flow: methods by name, pictures checked and made 8 bit, results allocated. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "media/picture.h"
#include "policy/flow_method.h"

static const vipo_flow_method_table *const methods[] = {&vipo_flow_dis, &vipo_flow_unimatch};
enum { METHODS = sizeof methods / sizeof methods[0], MAX_FRAMES = 4096 };

struct vipo_flow {
    const vipo_flow_method_table *method;
    void *state;
};

const char *vipo_flow_method_name(int i)
{
    return i >= 0 && i < METHODS ? methods[i]->name : NULL;
}

const char *vipo_flow_method_summary(int i)
{
    return i >= 0 && i < METHODS ? methods[i]->summary : NULL;
}

void vipo_flow_default_options(vipo_flow_options *options)
{
    *options = (vipo_flow_options){.method = NULL};
}

static vipo_status find_method(const vipo_flow_method_table **out, const char *name, vipo_error *error)
{
    char known[128] = "";
    for (int i = 0; i < METHODS; i++) {
        const size_t used = strlen(known);
        if (strcmp(methods[i]->name, name) == 0) {
            *out = methods[i];
            return VIPO_OK;
        }
        snprintf(known + used, sizeof known - used, "%s%s", i ? " or " : "", methods[i]->name);
    }
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown flow method \"%.40s\", expected %s", name, known);
}

vipo_status vipo_flow_open(vipo_flow **out, const vipo_flow_options *options, const vipo_callbacks *callbacks,
                           vipo_error *error)
{
    vipo_flow_options defaults;
    *out = NULL;
    vipo_flow_default_options(&defaults);
    if (!options) options = &defaults;
    const vipo_flow_method_table *method = NULL;
    const char *usual = options->model ? vipo_flow_unimatch.name : vipo_flow_dis.name;
    VIPO_TRY(find_method(&method, options->method ? options->method : usual, error));
    if (options->model && !method->needs_model)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "flow method %s takes no model", method->name);
    if (options->threads < 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threads: %d, expected 0 (all cores) or more",
                         options->threads);
    vipo_flow *flow = calloc(1, sizeof *flow);
    if (!flow) return vipo_fail_memory(error, sizeof *flow, "optical flow");
    flow->method = method;
    const vipo_status status = method->open(&flow->state, options, callbacks, error);
    if (status != VIPO_OK) {
        free(flow);
        return status;
    }
    *out = flow;
    return VIPO_OK;
}

void vipo_flow_close(vipo_flow **flow)
{
    if (!flow || !*flow) return;
    (*flow)->method->close((*flow)->state);
    free(*flow);
    *flow = NULL;
}

const char *vipo_flow_method(const vipo_flow *flow)
{
    return flow->method->name;
}

static vipo_status run(vipo_flow *flow, const vipo_flow_frames *frames, vipo_array *forward,
                       vipo_array *backward, const vipo_callbacks *callbacks, vipo_error *error)
{
    const size_t shape[4] = {(size_t)frames->n - 1, (size_t)frames->height, (size_t)frames->width, 2};
    vipo_status status = VIPO_OK;
    VIPO_TRY_GOTO(vipo_array_alloc(forward, 4, shape, error), fail);
    if (backward) VIPO_TRY_GOTO(vipo_array_alloc(backward, 4, shape, error), fail);
    VIPO_TRY_GOTO(flow->method->run(flow->state, frames, forward->data, backward ? backward->data : NULL,
                                    callbacks, error),
                  fail);
    return VIPO_OK;
fail:
    vipo_array_free(forward);
    vipo_array_free(backward);
    return status;
}

/* Of the pictures that a flow is wanted between. */
static vipo_status check_pictures(const vipo_flow *flow, size_t n, size_t height, size_t width,
                                  vipo_error *error)
{
    const int least = flow->method->min_side;
    if (n < 2 || n > MAX_FRAMES)
        return vipo_fail(error, VIPO_MISMATCH, "optical flow: %zu pictures, expected 2..%d", n, MAX_FRAMES);
    VIPO_TRY(vipo_picture_check_size("optical flow", height, width, error));
    if (height < (size_t)least || width < (size_t)least)
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "flow method %s: pictures of %zux%zu (height x width), expected sides of at least %d",
            flow->method->name, height, width, least);
    return VIPO_OK;
}

static void clear(vipo_array *forward, vipo_array *backward)
{
    memset(forward, 0, sizeof *forward);
    if (backward) memset(backward, 0, sizeof *backward);
}

vipo_status vipo_flow_images(vipo_flow *flow, const vipo_image *images, int n, vipo_array *forward,
                             vipo_array *backward, const vipo_callbacks *callbacks, vipo_error *error)
{
    clear(forward, backward);
    const int height = n > 0 ? images[0].height : 0, width = n > 0 ? images[0].width : 0;
    VIPO_TRY(check_pictures(flow, n > 0 ? (size_t)n : 0, height > 0 ? (size_t)height : 0,
                            width > 0 ? (size_t)width : 0, error));
    const size_t size = (size_t)height * (size_t)width * 3;
    for (int i = 0; i < n; i++) {
        if (!images[i].data)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "optical flow: picture %d is empty", i);
        if (images[i].height != height || images[i].width != width)
            return vipo_fail(
                error, VIPO_MISMATCH,
                "optical flow: picture %d has %dx%d, the first one %dx%d (height x width), expected "
                "equal sizes",
                i, images[i].height, images[i].width, height, width);
    }
    uint8_t *frames = malloc((size_t)n * size);
    if (!frames) return vipo_fail_memory(error, (size_t)n * size, "pictures");
    for (int i = 0; i < n; i++) memcpy(frames + (size_t)i * size, images[i].data, size);
    const vipo_status status =
        run(flow, &(vipo_flow_frames){frames, n, height, width}, forward, backward, callbacks, error);
    free(frames);
    return status;
}

/* 255 x without its fraction, as numpy's astype(uint8) of what lies in [0,1]. */
static vipo_status make_bytes(const vipo_array *video, uint8_t *out, vipo_error *error)
{
    const size_t n = vipo_array_size(video), frame = n / video->shape[0];
    for (size_t i = 0; i < n; i++) {
        const float x = video->data[i] * 255.0F;
        if (!isfinite(x))
            return vipo_fail(error, VIPO_NUMERIC, "optical flow: frame %zu holds a number that is not finite",
                             i / frame);
        out[i] = x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)x;
    }
    return VIPO_OK;
}

vipo_status vipo_flow_video(vipo_flow *flow, const vipo_array *video, vipo_array *forward,
                            vipo_array *backward, const vipo_callbacks *callbacks, vipo_error *error)
{
    clear(forward, backward);
    if (!video->data || video->rank != 4 || video->shape[3] != 3)
        return vipo_fail(error, VIPO_MISMATCH, "optical flow: expected a video [frames][height][width][3]");
    VIPO_TRY(check_pictures(flow, video->shape[0], video->shape[1], video->shape[2], error));
    const int height = (int)video->shape[1], width = (int)video->shape[2];
    uint8_t *frames = malloc(vipo_array_size(video));
    if (!frames) return vipo_fail_memory(error, vipo_array_size(video), "the frames of a video");
    vipo_status status = make_bytes(video, frames, error);
    if (status == VIPO_OK)
        status = run(flow, &(vipo_flow_frames){frames, (int)video->shape[0], height, width}, forward,
                     backward, callbacks, error);
    free(frames);
    return status;
}
