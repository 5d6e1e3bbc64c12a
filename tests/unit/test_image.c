/* Reading PNG and JPEG, and AVDC's transforms of them, against Pillow and torchvision
 * (tests/golden/media). */
#include "support/support.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "media/picture.h"
#include "media/preprocess.h"
#include "weights/safetensors.h"

static const char *const golden_names[] = {
    "100x1000.rgb.jpg", "100x1000.rgb.png",    "128x128.rgb.jpg", "128x128.rgb.png",  "240x320.gray.png",
    "240x320.rgb.jpg",  "240x320.palette.png", "240x320.rgb.png", "240x320.rgba.png", "333x500.rgb.jpg",
    "480x640.rgb.jpg",  "64x64.rgb.jpg",       "64x64.rgb.png",
};

enum { N_GOLDEN = sizeof golden_names / sizeof golden_names[0], JPEG_LEVELS = 2 };

static vipo_safetensors *golden;

static int open_golden(void **state)
{
    (void)state;
    vipo_error error;
    assert_ok(vipo_safetensors_open(&golden, test_path("tests/golden/media/transforms.safetensors"), &error),
              &error);
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    vipo_safetensors_close(&golden);
    return 0;
}

static const vipo_tensor_view *find(const char *file, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s", file, what);
    return vipo_safetensors_find(golden, name);
}

static int tolerance_of(const char *file)
{
    return strstr(file, ".jpg") ? JPEG_LEVELS : 0;
}

static const char *golden_path(const char *file)
{
    char relative[256];
    snprintf(relative, sizeof relative, "tests/golden/media/%s", file);
    return test_path(relative);
}

static void read_golden(const char *file, vipo_image *out)
{
    vipo_error error;
    assert_ok(vipo_image_read(golden_path(file), out, &error), &error);
}

/* What is kept of a decoded picture: all of it, every 4th or 16th row and column, or (PNG) its FNV-1a. */
static const vipo_tensor_view *find_decoded(const char *file, size_t *step)
{
    static const struct {
        const char *name;
        size_t step;
    } kinds[] = {{"decoded", 1}, {"decoded_4x", 4}, {"decoded_16x", 16}};
    const vipo_tensor_view *found = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !found; i++) {
        *step = kinds[i].step;
        found = find(file, kinds[i].name);
    }
    return found;
}

static void check_hash(const char *file, const vipo_image *image, const vipo_tensor_view *want)
{
    const uint8_t *const b = want->data;
    const uint32_t expected =
        (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    const size_t n = (size_t)image->height * (size_t)image->width * 3;
    if (vipo_hash_bytes(VIPO_HASH_START, image->data, n) != expected) fail_msg("%s: other pixels", file);
}

static void decodes_as_pillow(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        const vipo_tensor_view *const hash = find(golden_names[i], "decoded_fnv1a");
        size_t step;
        vipo_image image;
        read_golden(golden_names[i], &image);
        if (hash) {
            check_hash(golden_names[i], &image, hash);
            vipo_image_free(&image);
            continue;
        }
        const vipo_tensor_view *const want = find_decoded(golden_names[i], &step);
        assert_non_null(want);
        assert_int_equal(want->shape[0], ((size_t)image.height + step - 1) / step);
        assert_int_equal(want->shape[1], ((size_t)image.width + step - 1) / step);
        int worst = 0;
        const uint8_t *expected = want->data;
        for (size_t y = 0; y < (size_t)image.height; y += step)
            for (size_t x = 0; x < (size_t)image.width; x += step)
                for (size_t k = 0; k < 3; k++) {
                    const int d = abs(image.data[(y * (size_t)image.width + x) * 3 + k] - *expected++);
                    if (d > worst) worst = d;
                }
        if (worst > tolerance_of(golden_names[i])) fail_msg("%s: off by %d levels", golden_names[i], worst);
        vipo_image_free(&image);
    }
}

static void transforms_as_torchvision(void **state)
{
    (void)state;
    static const char *const presets[] = {"mw", "thor", "bridge"};
    for (int i = 0; i < N_GOLDEN; i++) {
        vipo_image image;
        read_golden(golden_names[i], &image);
        for (int p = 0; p < 3; p++) {
            vipo_error error;
            vipo_array out;
            assert_ok(vipo_preprocess_preset(presets[p], &image, &out, &error), &error);
            const vipo_tensor_view *want = find(golden_names[i], presets[p]); /* [3][H][W] */
            assert_non_null(want);
            assert_int_equal(out.rank, 4);
            assert_int_equal(out.shape[0], 1);
            assert_int_equal(out.shape[1], want->shape[1]);
            assert_int_equal(out.shape[2], want->shape[2]);
            const size_t plane = want->shape[1] * want->shape[2];
            const uint8_t *expected = want->data;
            double worst = 0;
            for (size_t at = 0; at < plane; at++)
                for (size_t k = 0; k < 3; k++) {
                    const double got = (double)out.data[at * 3 + k];
                    if (tolerance_of(golden_names[i]) == 0 &&
                        out.data[at * 3 + k] != (float)expected[k * plane + at] / 255.0F)
                        fail_msg("%s %s: pixel %zu differs: %g, expected %d", golden_names[i], presets[p], at,
                                 got * 255, expected[k * plane + at]);
                    const double d = got * 255 - expected[k * plane + at];
                    if (d > worst || -d > worst) worst = d < 0 ? -d : d;
                }
            if (worst > tolerance_of(golden_names[i]) + 0.001)
                fail_msg("%s %s: off by %g levels", golden_names[i], presets[p], worst);
            vipo_array_free(&out);
        }
        vipo_image_free(&image);
    }
}

/* ---- files that are wrong ---- */

static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_refused(const char *path, vipo_status expected, const char *words)
{
    vipo_error error = {0};
    vipo_image image;
    const vipo_status status = vipo_image_read(path, &image, &error);
    if (status != expected)
        fail_msg("%s: status %d, expected %d (%s)", path, status, expected, error.message);
    assert_null(image.data);
    assert_non_null(strstr(error.message, path));
    if (words && !strstr(error.message, words)) fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    assert_null(strchr(error.message, '\n'));
}

static void refuses_truncated(void **state)
{
    (void)state;
    static const char *const names[] = {"64x64.rgb.png", "240x320.palette.png", "64x64.rgb.jpg",
                                        "333x500.rgb.jpg"};
    const char *path = test_temporary("cut");
    for (int i = 0; i < 4; i++) {
        vipo_error error;
        vipo_mapped_file file;
        assert_ok(vipo_mapped_file_open(&file, golden_path(names[i]), &error), &error);
        const size_t cuts[] = {
            9, 20, 40, file.size / 3, file.size / 2, file.size - 40, file.size - 2, file.size - 1};
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            write_bytes(path, file.data, cuts[c]);
            assert_refused(path, VIPO_FORMAT, "damaged");
        }
        vipo_mapped_file_close(&file);
    }
}

static void refuses_what_is_no_image(void **state)
{
    (void)state;
    const char *path = test_temporary("text.png");
    write_bytes(path, "", 0);
    assert_refused(path, VIPO_FORMAT, "not a PNG or JPEG image");
    write_bytes(path, "GIF89a and more", 15);
    assert_refused(path, VIPO_FORMAT, "not a PNG or JPEG image");
    write_bytes(path, "\x89PNG\r\n\x1a\n", 8);
    assert_refused(path, VIPO_FORMAT, "damaged PNG");
    write_bytes(path, "\xff\xd8\xff", 3);
    assert_refused(path, VIPO_FORMAT, "damaged JPEG");
    assert_refused(test_temporary("absent.png"), VIPO_IO, NULL);
    assert_refused(test_path("tests"), VIPO_IO, NULL);
}

/* Any change of any byte gives a picture or an error, never a crash; sanitizers look on. */
static void survives_changed_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"64x64.rgb.png", "64x64.rgb.jpg"};
    const char *path = test_temporary("changed");
    for (int i = 0; i < 2; i++) {
        vipo_error error;
        vipo_mapped_file file;
        assert_ok(vipo_mapped_file_open(&file, golden_path(names[i]), &error), &error);
        uint8_t *bytes = malloc(file.size);
        assert_non_null(bytes);
        for (size_t at = 3; at < file.size; at += at < 700 ? 1 : 97) {
            memcpy(bytes, file.data, file.size);
            bytes[at] = (uint8_t)(bytes[at] ^ 0x55);
            write_bytes(path, bytes, file.size);
            vipo_image image;
            if (vipo_image_read(path, &image, &error) == VIPO_OK) {
                assert_non_null(image.data);
                vipo_image_free(&image);
            } else {
                assert_null(image.data);
            }
        }
        free(bytes);
        vipo_mapped_file_close(&file);
    }
}

/* ---- kinds of PNG ---- */

/* Writes rows as they are with libpng; without data a file that ends where the pixels begin. */
static void write_png(const char *path, int height, int width, int bits, int colour_type, const uint8_t *data,
                      size_t stride, int interlace)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, bits, colour_type, interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    const int passes = png_set_interlace_handling(png);
    for (int pass = 0; data && pass < passes; pass++)
        for (int y = 0; y < height; y++) png_write_row(png, data + (size_t)y * stride);
    if (data)
        png_write_end(png, NULL);
    else
        fwrite("\0\0\0\0IDAT\x35\xaf\x06\x1e", 1, 12, file); /* the header is read up to the pixels */
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

static void assert_pixels(const char *path, int height, int width, const uint8_t *expected)
{
    vipo_error error;
    vipo_image image;
    assert_ok(vipo_image_read(path, &image, &error), &error);
    assert_int_equal(image.height, height);
    assert_int_equal(image.width, width);
    assert_memory_equal(image.data, expected, (size_t)height * (size_t)width * 3);
    vipo_image_free(&image);
}

static void reads_every_kind(void **state)
{
    (void)state;
    const char *path = test_temporary("kind.png");
    static const uint8_t grey16[] = {0x12, 0xff, 0xfe, 0x01};
    write_png(path, 1, 2, 16, PNG_COLOR_TYPE_GRAY, grey16, 4, PNG_INTERLACE_NONE);
    assert_pixels(path, 1, 2, (const uint8_t[]){0x12, 0x12, 0x12, 0xfe, 0xfe, 0xfe});
    static const uint8_t rgb16[] = {1, 200, 2, 200, 3, 200};
    write_png(path, 1, 1, 16, PNG_COLOR_TYPE_RGB, rgb16, 6, PNG_INTERLACE_NONE);
    assert_pixels(path, 1, 1, (const uint8_t[]){1, 2, 3});
    static const uint8_t bits[] = {0xA0};
    write_png(path, 1, 3, 1, PNG_COLOR_TYPE_GRAY, bits, 1, PNG_INTERLACE_NONE);
    assert_pixels(path, 1, 3, (const uint8_t[]){255, 255, 255, 0, 0, 0, 255, 255, 255});
    static const uint8_t grey_alpha[] = {90, 0, 10, 255};
    write_png(path, 2, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, grey_alpha, 2, PNG_INTERLACE_NONE);
    assert_pixels(path, 2, 1, (const uint8_t[]){90, 90, 90, 10, 10, 10});
    static const uint8_t rgba[] = {9, 8, 7, 0};
    write_png(path, 1, 1, 8, PNG_COLOR_TYPE_RGBA, rgba, 4, PNG_INTERLACE_NONE);
    assert_pixels(path, 1, 1, (const uint8_t[]){9, 8, 7});
    uint8_t many[11 * 13 * 3];
    for (size_t i = 0; i < sizeof many; i++) many[i] = (uint8_t)(i * 37);
    write_png(path, 11, 13, 8, PNG_COLOR_TYPE_RGB, many, 13 * 3, PNG_INTERLACE_ADAM7);
    assert_pixels(path, 11, 13, many);
}

static void refuses_sizes(void **state)
{
    (void)state;
    const char *path = test_temporary("large.png");
    write_png(path, 20000, 20, 8, PNG_COLOR_TYPE_RGB, NULL, 0, PNG_INTERLACE_NONE);
    assert_refused(path, VIPO_UNSUPPORTED, "20000x20 ");
    write_png(path, 16000, 16000, 8, PNG_COLOR_TYPE_RGB, NULL, 0, PNG_INTERLACE_NONE);
    assert_refused(path, VIPO_UNSUPPORTED, "16000x16000");

    static uint8_t pixel[3] = {1, 2, 3};
    const vipo_image one = {pixel, 1, 1};
    vipo_error error;
    assert_ok(vipo_image_write_png(path, &one, &error), &error);
    assert_pixels(path, 1, 1, pixel);
    vipo_array out;
    assert_int_equal(vipo_preprocess_preset("mw", &one, &out, &error), VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, "1x1"));
    assert_null(out.data);
    const vipo_image none = {0};
    assert_int_equal(vipo_image_write_png(path, &none, &error), VIPO_INVALID_ARGUMENT);
    const vipo_image negative = {pixel, -1, 1};
    assert_int_equal(vipo_image_write_png(path, &negative, &error), VIPO_UNSUPPORTED);
    assert_int_equal(vipo_image_write_png("/nonexistent/x.png", &one, &error), VIPO_IO);
    assert_int_equal(vipo_image_write_png("/dev/full", &one, &error), VIPO_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_pillow),      cmocka_unit_test(transforms_as_torchvision),
        cmocka_unit_test(refuses_truncated),      cmocka_unit_test(refuses_what_is_no_image),
        cmocka_unit_test(survives_changed_bytes), cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(refuses_sizes),
    };
    return cmocka_run_group_tests_name("image", tests, open_golden, close_golden);
}
