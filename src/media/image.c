/* Public vipo_image: reading by content, writing, size limits. */
#include <stdlib.h>
#include <string.h>

#include "core/file_output.h"
#include "core/memory.h"
#include "media/picture.h"

vipo_status vipo_picture_check_size(const char *name, size_t height, size_t width, vipo_error *error)
{
    if (height < 1 || width < 1 || height > VIPO_PICTURE_MAX_SIDE || width > VIPO_PICTURE_MAX_SIDE)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "%s: picture of %zux%zu (height x width), expected sides of 1..%d", name, height,
                         width, VIPO_PICTURE_MAX_SIDE);
    if (height * width > VIPO_PICTURE_MAX_PIXELS)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "%s: picture of %zux%zu (height x width), expected at most %d pixels", name, height,
                         width, VIPO_PICTURE_MAX_PIXELS);
    return VIPO_OK;
}

vipo_status vipo_picture_alloc(vipo_image *out, const char *name, size_t height, size_t width,
                               vipo_error *error)
{
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_picture_check_size(name, height, width, error));
    const size_t bytes = height * width * 3;
    /* calloc: a file that claims a large picture and then ends costs address space, not memory */
    out->data = calloc(bytes, 1);
    if (!out->data) return vipo_fail_memory(error, bytes, "a picture");
    out->height = (int)height;
    out->width = (int)width;
    return VIPO_OK;
}

void vipo_image_free(vipo_image *image)
{
    if (!image) return;
    free(image->data);
    memset(image, 0, sizeof *image);
}

vipo_status vipo_image_read(const char *path, vipo_image *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    vipo_mapped_file file;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_status status;
    if (vipo_png_matches(&file))
        status = vipo_png_decode(&file, path, out, error);
    else if (vipo_jpeg_matches(&file))
        status = vipo_jpeg_decode(&file, path, out, error);
    else
        status = vipo_fail(error, VIPO_FORMAT, "%s: not a PNG or JPEG image", path);
    vipo_mapped_file_close(&file);
    return status;
}

vipo_status vipo_image_write_png(const char *path, const vipo_image *image, vipo_error *error)
{
    if (!image->data)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: the picture to write is empty", path);
    VIPO_TRY(vipo_picture_check_size(path, image->height > 0 ? (size_t)image->height : 0,
                                     image->width > 0 ? (size_t)image->width : 0, error));
    vipo_file_output output;
    VIPO_TRY(vipo_file_output_open(&output, path, error));
    const vipo_status status = vipo_png_encode(output.stream, path, image, error);
    if (status != VIPO_OK) {
        vipo_file_output_abandon(&output);
        return status;
    }
    return vipo_file_output_commit(&output, error);
}
