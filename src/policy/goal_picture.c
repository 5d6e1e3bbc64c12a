/* Picture files as an action policy takes them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/npy.h"
#include "policy/goal_policy.h"

enum { COLOURS = 3 };
static const float largest = 16; /* of a number that is meant to be in [0,1] */

static vipo_status from_image(const vipo_encoder_config *c, const char *path, vipo_array *out,
                              vipo_error *error)
{
    vipo_image image;
    const size_t shape[4] = {1, (size_t)c->height, (size_t)c->width, COLOURS};
    VIPO_TRY(vipo_image_read(path, &image, error));
    vipo_status status = image.height == c->height && image.width == c->width
                             ? vipo_array_alloc(out, 4, shape, error)
                             : vipo_fail(error, VIPO_MISMATCH,
                                         "%s: %dx%d, the policy takes pictures of %dx%d (height x width)",
                                         path, image.height, image.width, c->height, c->width);
    for (size_t i = 0; status == VIPO_OK && i < vipo_array_size(out); i++)
        out->data[i] = (float)image.data[i] / 255;
    vipo_image_free(&image);
    return status;
}

/* [n] planar pictures -> interleaved ones. */
static void interleave(const float *from, float *to, size_t n, size_t pixels)
{
    for (size_t s = 0; s < n; s++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t k = 0; k < COLOURS; k++)
                to[(s * pixels + p) * COLOURS + k] = from[(s * COLOURS + k) * pixels + p];
}

static vipo_status from_array(const vipo_encoder_config *c, const char *path, vipo_array *out,
                              vipo_error *error)
{
    vipo_array array;
    bool bytes;
    size_t n = 1;
    const size_t height = (size_t)c->height, width = (size_t)c->width;
    VIPO_TRY(vipo_npy_read_typed(path, &array, &bytes, error));
    const int rank = array.rank;
    const size_t *last = array.shape + (rank >= 3 ? rank - 3 : 0);
    const bool shaped = rank >= 3 && rank <= 5 && (rank < 5 || array.shape[0] == 1 || array.shape[1] == 1);
    const bool planar = shaped && last[0] == COLOURS && last[1] == height && last[2] == width;
    const bool packed = shaped && last[0] == height && last[1] == width && last[2] == COLOURS;
    for (int i = 0; i < rank - 3; i++) n *= array.shape[i];
    vipo_status status = VIPO_OK;
    if (!planar && !packed) {
        char found[128] = "";
        for (int d = 0, used = 0; d < rank; d++)
            used += snprintf(found + used, sizeof found - (size_t)used, "[%zu]", array.shape[d]);
        status = vipo_fail(error, VIPO_MISMATCH,
                           "%s: shape %s, expected [n][%d][%d][3] or [n][3][%d][%d], or one without n", path,
                           found, c->height, c->width, c->height, c->width);
    }
    const size_t shape[4] = {n, height, width, COLOURS};
    if (status == VIPO_OK) status = vipo_array_alloc(out, 4, shape, error);
    for (size_t i = 0; status == VIPO_OK && i < vipo_array_size(&array); i++) {
        const float value = array.data[i];
        if (!isfinite(value))
            status = vipo_fail(error, VIPO_NUMERIC, "%s: element %zu is not a finite number", path, i);
        else if (!bytes && fabsf(value) > largest)
            status = vipo_fail(error, VIPO_INVALID_ARGUMENT,
                               "%s: element %zu is %g, expected numbers in [0,1], or uint8 in 0..255", path,
                               i, (double)value);
        if (bytes) array.data[i] = value / 255;
    }
    if (status == VIPO_OK) {
        if (planar && !packed)
            interleave(array.data, out->data, n, height * width);
        else
            memcpy(out->data, array.data, vipo_array_size(out) * sizeof *out->data);
    }
    vipo_array_free(&array);
    if (status != VIPO_OK) vipo_array_free(out);
    return status;
}

vipo_status vipo_goal_policy_read_picture(const vipo_goal_policy *policy, const char *path, vipo_array *out,
                                          vipo_error *error)
{
    const vipo_encoder_config *c = &policy->networks->config.encoder;
    const size_t length = strlen(path);
    memset(out, 0, sizeof *out);
    return length >= 4 && strcmp(path + length - 4, ".npy") == 0 ? from_array(c, path, out, error)
                                                                 : from_image(c, path, out, error);
}
