#include "media/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "media/picture.h"

/* Pillow's fixed point: 32 bits less 8 for the sample and 2 for weights that sum to more than one. */
enum { WEIGHT_BITS = 32 - 8 - 2 };

/* How one axis is resampled: output i is the sum of weights[i * taps + j] * input[first[i] + j], j <
 * count[i]. */
typedef struct axis_filter {
    int taps;
    int *first, *count;
    int32_t *weights;
} axis_filter;

static void filter_free(axis_filter *filter)
{
    free(filter->first);
    free(filter->count);
    free(filter->weights);
}

static vipo_status filter_make(axis_filter *out, int in_size, int out_size, vipo_error *error)
{
    const double scale = (double)in_size / (double)out_size;
    const double support = scale > 1 ? scale : 1; /* half width of the triangle in input samples */
    axis_filter filter = {.taps = (int)ceil(support) * 2 + 1};
    const size_t n = (size_t)out_size, taps = (size_t)filter.taps;
    double *exact = malloc(taps * sizeof *exact);
    filter.first = malloc(n * sizeof *filter.first);
    filter.count = malloc(n * sizeof *filter.count);
    filter.weights = calloc(n * taps, sizeof *filter.weights); /* sides <= 16384: no overflow */
    if (!exact || !filter.first || !filter.count || !filter.weights) {
        free(exact);
        filter_free(&filter);
        return vipo_fail_memory(error, n * taps * sizeof *filter.weights, "the weights of a resize");
    }
    for (int i = 0; i < out_size; i++) {
        const double centre = (i + 0.5) * scale;
        int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
        if (first < 0) first = 0;
        if (end > in_size) end = in_size;
        double sum = 0;
        for (int j = 0; j < end - first; j++) {
            const double distance = fabs((j + first - centre + 0.5) * (1.0 / support));
            exact[j] = distance < 1 ? 1 - distance : 0;
            sum += exact[j];
        }
        for (int j = 0; j < end - first; j++) {
            const double weight = sum != 0 ? exact[j] / sum : exact[j];
            filter.weights[(size_t)i * taps + (size_t)j] = (int32_t)(0.5 + weight * (1 << WEIGHT_BITS));
        }
        filter.first[i] = first;
        filter.count[i] = end - first;
    }
    free(exact);
    *out = filter;
    return VIPO_OK;
}

static uint8_t round_weighted(int32_t sum)
{
    const int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Sums count samples that lie `stride` bytes apart, for the three channels. */
static void filter_pixel(const uint8_t *in, size_t stride, const int32_t *weights, int count, uint8_t out[3])
{
    int32_t r = 1 << (WEIGHT_BITS - 1), g = r, b = r;
    for (int j = 0; j < count; j++, in += stride) {
        r += weights[j] * in[0];
        g += weights[j] * in[1];
        b += weights[j] * in[2];
    }
    out[0] = round_weighted(r);
    out[1] = round_weighted(g);
    out[2] = round_weighted(b);
}

static vipo_status resize_width(const vipo_image *in, int width, vipo_image *out, vipo_error *error)
{
    axis_filter filter;
    VIPO_TRY(vipo_picture_alloc(out, "resize", (size_t)in->height, (size_t)width, error));
    const vipo_status status = filter_make(&filter, in->width, width, error);
    if (status != VIPO_OK) {
        vipo_image_free(out);
        return status;
    }
    for (int y = 0; y < in->height; y++) {
        const uint8_t *row = in->data + (size_t)y * (size_t)in->width * 3;
        uint8_t *to = out->data + (size_t)y * (size_t)width * 3;
        for (int x = 0; x < width; x++, to += 3)
            filter_pixel(row + (size_t)filter.first[x] * 3, 3,
                         filter.weights + (size_t)x * (size_t)filter.taps, filter.count[x], to);
    }
    filter_free(&filter);
    return VIPO_OK;
}

static vipo_status resize_height(const vipo_image *in, int height, vipo_image *out, vipo_error *error)
{
    axis_filter filter;
    VIPO_TRY(vipo_picture_alloc(out, "resize", (size_t)height, (size_t)in->width, error));
    const vipo_status status = filter_make(&filter, in->height, height, error);
    if (status != VIPO_OK) {
        vipo_image_free(out);
        return status;
    }
    const size_t stride = (size_t)in->width * 3;
    for (int y = 0; y < height; y++) {
        const uint8_t *from = in->data + (size_t)filter.first[y] * stride;
        uint8_t *to = out->data + (size_t)y * stride;
        for (int x = 0; x < in->width; x++, from += 3, to += 3)
            filter_pixel(from, stride, filter.weights + (size_t)y * (size_t)filter.taps, filter.count[y], to);
    }
    filter_free(&filter);
    return VIPO_OK;
}

vipo_status vipo_resize_bilinear(const vipo_image *in, int height, int width, vipo_image *out,
                                 vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (height < 1 || width < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "resize to %dx%d, expected sides of at least 1",
                         height, width);
    VIPO_TRY(vipo_picture_check_size("resize", (size_t)height, (size_t)width, error));
    if (height == in->height && width == in->width) {
        VIPO_TRY(vipo_picture_alloc(out, "resize", (size_t)height, (size_t)width, error));
        memcpy(out->data, in->data, (size_t)height * (size_t)width * 3);
        return VIPO_OK;
    }
    if (width == in->width) return resize_height(in, height, out, error);
    if (height == in->height) return resize_width(in, width, out, error);
    vipo_image narrow;
    VIPO_TRY(resize_width(in, width, &narrow, error));
    const vipo_status status = resize_height(&narrow, height, out, error);
    vipo_image_free(&narrow);
    return status;
}

int vipo_crop_offset(int size, int cropped)
{
    const int margin = size - cropped, half = margin / 2;
    return margin % 2 == 1 && half % 2 == 1 ? half + 1 : half;
}

vipo_status vipo_crop_centre(const vipo_image *in, int height, int width, vipo_image *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (height < 1 || width < 1 || height > in->height || width > in->width)
        return vipo_fail(error, VIPO_MISMATCH,
                         "centre crop of %dx%d from a picture of %dx%d, expected one that fits", height,
                         width, in->height, in->width);
    VIPO_TRY(vipo_picture_alloc(out, "centre crop", (size_t)height, (size_t)width, error));
    const size_t top = (size_t)vipo_crop_offset(in->height, height);
    const size_t left = (size_t)vipo_crop_offset(in->width, width);
    for (size_t y = 0; y < (size_t)height; y++)
        memcpy(out->data + y * (size_t)width * 3, in->data + ((top + y) * (size_t)in->width + left) * 3,
               (size_t)width * 3);
    return VIPO_OK;
}

vipo_status vipo_box_mean(const vipo_image *in, int n, vipo_image *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (n < 1 || n > VIPO_PICTURE_MAX_SIDE || in->height % n != 0 || in->width % n != 0)
        return vipo_fail(error, VIPO_MISMATCH,
                         "box mean %dx%d of a picture of %dx%d, expected sides that divide", n, n, in->height,
                         in->width);
    const size_t box = (size_t)n, in_stride = (size_t)in->width * 3;
    const size_t height = (size_t)in->height / box, width = (size_t)in->width / box;
    VIPO_TRY(vipo_picture_alloc(out, "box mean", height, width, error));
    const uint64_t area = (uint64_t)box * box;
    uint8_t *to = out->data;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t channel = 0; channel < 3; channel++) {
                const uint8_t *from = in->data + y * box * in_stride + x * box * 3 + channel;
                uint64_t sum = area / 2;
                for (size_t i = 0; i < box; i++)
                    for (size_t j = 0; j < box; j++) sum += from[i * in_stride + j * 3];
                *to++ = (uint8_t)(sum / area);
            }
    return VIPO_OK;
}
