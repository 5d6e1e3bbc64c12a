#include "support/geometry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool geometry_has(const vipo_safetensors *file, const char *name)
{
    return vipo_safetensors_find(file, name) != NULL;
}

double *geometry_doubles(const vipo_safetensors *file, const char *name, size_t *count)
{
    const vipo_tensor_view *const view = vipo_safetensors_find(file, name);
    if (!view) fail_msg("golden tensor %s is missing", name);
    double *const out = calloc(view->count, sizeof *out);
    float *const floats = calloc(view->count, sizeof *floats);
    vipo_error error = {0};
    assert_non_null(out);
    assert_non_null(floats);
    if (view->dtype == VIPO_DTYPE_F64)
        assert_ok(vipo_tensor_to_double(view, "golden", out, &error), &error);
    else if (view->dtype == VIPO_DTYPE_F32 || view->dtype == VIPO_DTYPE_F16)
        assert_ok(vipo_tensor_to_float(view, "golden", floats, &error), &error);
    for (size_t i = 0; i < view->count && view->dtype != VIPO_DTYPE_F64; i++) {
        int32_t whole = 0;
        if (view->dtype == VIPO_DTYPE_I32) {
            memcpy(&whole, (const char *)view->data + 4 * i, 4);
            out[i] = whole;
        } else if (view->dtype == VIPO_DTYPE_U8) {
            out[i] = ((const unsigned char *)view->data)[i];
        } else {
            out[i] = (double)floats[i];
        }
    }
    free(floats);
    if (count) *count = view->count;
    return out;
}

double *geometry_frame(const vipo_safetensors *file, int k, const char *name, size_t *count)
{
    char full[160];
    snprintf(full, sizeof full, "frame%d.%s", k, name);
    return geometry_doubles(file, full, count);
}

void geometry_compare(const char *what, const double *a, const double *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= tolerance))
            fail_msg("%s: element %zu is %.17g, expected %.17g within %g", what, i, a[i], b[i], tolerance);
}

/* A map [n][h][w][channels] of the crop, if there is one, put where it was. */
static void place(const vipo_safetensors *file, const char *name, const double *crop, int n, size_t channels,
                  vipo_array *out)
{
    const size_t height = out->shape[n ? 1 : 0], width = out->shape[n ? 2 : 1];
    const size_t h = crop ? (size_t)crop[2] : height, w = crop ? (size_t)crop[3] : width;
    const size_t top = crop ? (size_t)crop[0] : 0, left = crop ? (size_t)crop[1] : 0;
    size_t count;
    double *const values = geometry_doubles(file, name, &count);
    assert_int_equal(count, (size_t)(n ? n : 1) * h * w * channels);
    for (size_t i = 0; i < count; i++) {
        const size_t c = i % channels, x = i / channels % w, y = i / channels / w % h,
                     f = i / channels / w / h;
        out->data[((f * height + top + y) * width + left + x) * channels + c] = (float)values[i];
    }
    free(values);
}

static void open_mask(geometry_case *c, const double *crop)
{
    const size_t height = c->depth.shape[0], width = c->depth.shape[1];
    c->mask = calloc(height * width, 1);
    assert_non_null(c->mask);
    if (!crop) {
        double *const bits = geometry_doubles(c->file, "mask_bits", NULL);
        for (size_t i = 0; i < height * width; i++) c->mask[i] = (int)bits[i / 8] >> i % 8 & 1 ? 255 : 0;
        free(bits);
        return;
    }
    double *const values = geometry_doubles(c->file, "mask", NULL);
    for (size_t y = 0; y < (size_t)crop[2]; y++)
        for (size_t x = 0; x < (size_t)crop[3]; x++)
            c->mask[((size_t)crop[0] + y) * width + (size_t)crop[1] + x] =
                (uint8_t)values[y * (size_t)crop[3] + x];
    free(values);
}

void geometry_open(geometry_case *out, const char *name)
{
    char relative[200];
    vipo_error error = {0};
    memset(out, 0, sizeof *out);
    snprintf(relative, sizeof relative, "tests/golden/geometry/%s.safetensors", name);
    snprintf(out->path, sizeof out->path, "%s", test_path(relative));
    out->file = golden_open(relative);
    assert_ok(vipo_motion_draws_open(&out->draws, out->path, &error), &error);
    double *const matrix = geometry_doubles(out->file, "cmat", NULL);
    memcpy(out->matrix, matrix, sizeof out->matrix);
    free(matrix);

    const bool navigation = !geometry_has(out->file, "size");
    double *const crop = geometry_has(out->file, "crop") ? geometry_doubles(out->file, "crop", NULL) : NULL;
    double size[3] = {64, 64, 0};
    if (!navigation) {
        double *const found = geometry_doubles(out->file, "size", NULL);
        memcpy(size, found, sizeof size);
        free(found);
    } else {
        size[2] = (double)vipo_safetensors_find(out->file, "flow")->shape[0];
    }
    const size_t shape[4] = {(size_t)size[2], (size_t)size[0], (size_t)size[1], 2};
    assert_ok(vipo_array_alloc(&out->depth, 2, shape + 1, &error), &error);
    assert_ok(vipo_array_alloc(&out->flow, 4, shape, &error), &error);
    if (geometry_has(out->file, "depth")) place(out->file, "depth", crop, 0, 1, &out->depth);
    if (geometry_has(out->file, "flow")) place(out->file, "flow", crop, (int)shape[0], 2, &out->flow);
    if (!navigation) open_mask(out, crop);
    free(crop);
    out->request = (vipo_motion_request){
        .depth = &out->depth, .matrix = out->matrix, .mask = out->mask, .flow = &out->flow};
}

void geometry_close(geometry_case *c)
{
    vipo_safetensors_close(&c->file);
    vipo_motion_draws_close(&c->draws);
    vipo_array_free(&c->depth);
    vipo_array_free(&c->flow);
    free(c->mask);
    memset(c, 0, sizeof *c);
}
