/* Resize, crop and box mean beyond the golden pictures (test_image.c): odd sizes and enlargement against
 * a plain double-precision version, and the properties that every size must have. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/resize.h"

static vipo_image make_image(int height, int width, uint64_t seed)
{
    const size_t n = (size_t)height * (size_t)width * 3;
    vipo_image image = {malloc(n), height, width};
    assert_non_null(image.data);
    for (size_t i = 0; i < n; i++) image.data[i] = (uint8_t)(127.5F * (test_uniform(seed, i) + 1));
    return image;
}

/* Weight of input sample j for output i, not normalised: a triangle as wide as the reduction. */
static double triangle(int in, int out, int i, int j)
{
    const double scale = (double)in / out, support = scale > 1 ? scale : 1;
    const double distance = fabs(j + 0.5 - (i + 0.5) * scale) / support;
    return distance < 1 ? 1 - distance : 0;
}

/* One pass over `in` samples that lie `stride` apart. */
static double plain_sample(const double *line, int in, size_t stride, int out, int i)
{
    double sum = 0, weights = 0;
    for (int j = 0; j < in; j++) {
        const double weight = triangle(in, out, i, j);
        sum += weight * line[(size_t)j * stride];
        weights += weight;
    }
    return sum / weights;
}

static void near_exact(void **state)
{
    (void)state;
    static const int sizes[][4] = {{7, 5, 3, 9},     {1, 1, 4, 4},     {1, 33, 2, 8},  {31, 2, 5, 2},
                                   {13, 17, 26, 34}, {40, 30, 39, 31}, {50, 50, 1, 1}, {16, 300, 64, 64}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int h = sizes[s][0], w = sizes[s][1], to_h = sizes[s][2], to_w = sizes[s][3];
        vipo_image in = make_image(h, w, s), out;
        vipo_error error;
        assert_ok(vipo_resize_bilinear(&in, to_h, to_w, &out, &error), &error);
        double *exact = malloc((size_t)h * (size_t)w * 3 * sizeof *exact);
        double *middle = malloc((size_t)h * (size_t)to_w * 3 * sizeof *middle);
        assert_true(exact && middle);
        for (size_t i = 0; i < (size_t)h * (size_t)w * 3; i++) exact[i] = in.data[i];
        for (int y = 0; y < h; y++)
            for (int x = 0; x < to_w; x++)
                for (int k = 0; k < 3; k++)
                    middle[(y * to_w + x) * 3 + k] = plain_sample(exact + y * w * 3 + k, w, 3, to_w, x);
        for (int y = 0; y < to_h; y++)
            for (int x = 0; x < to_w; x++)
                for (int k = 0; k < 3; k++) {
                    const double want = plain_sample(middle + x * 3 + k, h, (size_t)to_w * 3, to_h, y);
                    const double got = out.data[(y * to_w + x) * 3 + k];
                    /* half a level of rounding in each of the two passes */
                    if (fabs(got - want) > 1.001)
                        fail_msg("size %zu at %d,%d: %g, expected %g", s, y, x, got, want);
                }
        free(exact);
        free(middle);
        vipo_image_free(&in);
        vipo_image_free(&out);
    }
}

static void keeps_constants_and_itself(void **state)
{
    (void)state;
    vipo_image in = make_image(9, 14, 3), out;
    vipo_error error;
    assert_ok(vipo_resize_bilinear(&in, 9, 14, &out, &error), &error);
    assert_memory_equal(in.data, out.data, 9 * 14 * 3);
    vipo_image_free(&out);
    static const uint8_t levels[] = {0, 1, 128, 254, 255};
    for (int l = 0; l < 5; l++)
        for (int to = 1; to < 40; to += 3) {
            memset(in.data, levels[l], 9 * 14 * 3);
            assert_ok(vipo_resize_bilinear(&in, to, 41 - to, &out, &error), &error);
            for (int i = 0; i < to * (41 - to) * 3; i++) assert_int_equal(out.data[i], levels[l]);
            vipo_image_free(&out);
        }
    assert_int_equal(vipo_resize_bilinear(&in, 0, 5, &out, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_resize_bilinear(&in, 5, 20000, &out, &error), VIPO_UNSUPPORTED);
    assert_null(out.data);
    vipo_image_free(&in);
}

static void crops_the_centre(void **state)
{
    (void)state;
    /* int(round((size - cropped) / 2.0)) of Python, which rounds halves to even */
    assert_int_equal(vipo_crop_offset(240, 128), 56);
    assert_int_equal(vipo_crop_offset(320, 128), 96);
    assert_int_equal(vipo_crop_offset(5, 5), 0);
    assert_int_equal(vipo_crop_offset(6, 5), 0);
    assert_int_equal(vipo_crop_offset(8, 5), 2);
    assert_int_equal(vipo_crop_offset(10, 5), 2);
    assert_int_equal(vipo_crop_offset(12, 5), 4);

    vipo_image in = make_image(8, 6, 1), out;
    vipo_error error;
    assert_ok(vipo_crop_centre(&in, 5, 4, &out, &error), &error);
    for (int y = 0; y < 5; y++)
        assert_memory_equal(out.data + y * 4 * 3, in.data + ((y + 2) * 6 + 1) * 3, 4 * 3);
    vipo_image_free(&out);
    assert_int_equal(vipo_crop_centre(&in, 9, 4, &out, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "9x4"));
    vipo_image_free(&in);
}

static void averages_boxes(void **state)
{
    (void)state;
    vipo_image in = make_image(12, 18, 2), out;
    vipo_error error;
    assert_ok(vipo_box_mean(&in, 2, &out, &error), &error);
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 9; x++)
            for (int k = 0; k < 3; k++) {
                const uint8_t *p = in.data + (2 * y * 18 + 2 * x) * 3 + k;
                assert_int_equal(out.data[(y * 9 + x) * 3 + k],
                                 (p[0] + p[3] + p[18 * 3] + p[18 * 3 + 3] + 2) >> 2);
            }
    vipo_image_free(&out);
    assert_ok(vipo_box_mean(&in, 3, &out, &error), &error);
    assert_int_equal(out.height, 4);
    assert_int_equal(out.width, 6);
    int sum = 4;
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++) sum += in.data[(y * 18 + x) * 3];
    assert_int_equal(out.data[0], sum / 9);
    vipo_image_free(&out);
    assert_int_equal(vipo_box_mean(&in, 5, &out, &error), VIPO_MISMATCH);
    assert_int_equal(vipo_box_mean(&in, 0, &out, &error), VIPO_MISMATCH);
    vipo_image_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_exact),
        cmocka_unit_test(keeps_constants_and_itself),
        cmocka_unit_test(crops_the_centre),
        cmocka_unit_test(averages_boxes),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
