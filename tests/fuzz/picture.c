#include "picture.h"

#include "media/picture.h"

static const char in_path[] = "fuzz:in", out_path[] = "fuzz:out.png";

enum { SLOW_PIXELS = 4 << 20, USED_PIXELS = 1 << 16 };

static bool is_slow(size_t height, size_t width)
{
    return height <= VIPO_PICTURE_MAX_SIDE && width <= VIPO_PICTURE_MAX_SIDE &&
           height * width > SLOW_PIXELS && height * width <= VIPO_PICTURE_MAX_PIXELS;
}

static size_t big_endian(const uint8_t *at, size_t n)
{
    size_t value = 0;
    for (size_t i = 0; i < n; i++) value = value << 8 | at[i];
    return value;
}

/* Does the header, or anything in a JPEG that could be one, promise a picture that takes long? */
static bool promises_slow(const uint8_t *data, size_t size)
{
    if (size >= 24 && memcmp(data + 12, "IHDR", 4) == 0)
        return is_slow(big_endian(data + 20, 4), big_endian(data + 16, 4));
    for (size_t i = 0; i + 9 <= size; i++)
        if (data[i] == 0xff && data[i + 1] >= 0xc0 && data[i + 1] <= 0xcf &&
            is_slow(big_endian(data + i + 5, 2), big_endian(data + i + 7, 2)))
            return true;
    return false;
}

static void check_use(const vipo_image *image)
{
    vipo_error error = {0};
    vipo_array cond;
    const vipo_status status = vipo_preprocess_preset("thor", image, &cond, &error);
    if (status == VIPO_OK) {
        for (size_t i = 0; i < vipo_array_size(&cond); i++)
            FUZZ_CHECK(cond.data[i] >= 0 && cond.data[i] <= 1);
        vipo_array_free(&cond);
    } else {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(image->height < 16 || image->width < 16);
    }

    size_t written;
    vipo_image again;
    FUZZ_CHECK(vipo_image_write_png(out_path, image, &error) == VIPO_OK);
    FUZZ_CHECK(fuzz_written(out_path, &written));
    FUZZ_CHECK(vipo_image_read(out_path, &again, &error) == VIPO_OK);
    FUZZ_CHECK(again.height == image->height && again.width == image->width);
    FUZZ_CHECK(memcmp(again.data, image->data, (size_t)image->height * (size_t)image->width * 3) == 0);
    vipo_image_free(&again);
}

void fuzz_picture(const uint8_t *data, size_t size)
{
    if (promises_slow(data, size)) return;
    vipo_error error = {0};
    vipo_image image;
    fuzz_file(in_path, data, size);
    const vipo_status status = vipo_image_read(in_path, &image, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&image, sizeof image));
    } else {
        FUZZ_CHECK(vipo_picture_check_size("fuzz", (size_t)image.height, (size_t)image.width, &error) ==
                   VIPO_OK);
        if (image.height * image.width <= USED_PIXELS) check_use(&image);
        vipo_image_free(&image);
    }
    fuzz_forget_files();
}
