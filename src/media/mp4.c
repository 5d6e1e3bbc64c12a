/* A plan as MP4: H.264 by libx264, else MPEG-4 part 2, which every libavcodec can encode. */
#include "core/file_output.h"
#include "media/film.h"
#include "media/picture.h"
#include "media/plan_writer.h"
#include "media/video_encoder.h"

static vipo_status encode_film(vipo_video_encoder *encoder, const vipo_film *film, vipo_image *canvas,
                               const char *path, vipo_error *error)
{
    VIPO_TRY(vipo_picture_alloc(canvas, path, (size_t)film->height, (size_t)film->width, error));
    for (size_t i = 0; i < film->frames; i++) {
        vipo_film_draw(film, i, canvas);
        VIPO_TRY(vipo_video_encoder_add(encoder, canvas->data, (int64_t)i, error));
    }
    return VIPO_OK;
}

static vipo_status write_mp4(const char *path, const vipo_array *video, const vipo_array *cond,
                             const vipo_write_options *options, vipo_error *error)
{
    vipo_film film;
    VIPO_TRY(vipo_film_init(&film, path, video, cond, options, NULL, error));
    /* Nearly lossless to the eye; a plan takes 20 to 100 kB. */
    const vipo_video_settings settings = {.height = film.height,
                                          .width = film.width,
                                          .clock = options->fps,
                                          .spacing = 1,
                                          .colour = VIPO_VIDEO_420,
                                          .crf = 14,
                                          .preset = "medium"};
    vipo_video_encoder *encoder;
    vipo_image canvas = {0};
    const uint8_t *bytes;
    size_t size;
    VIPO_TRY(vipo_video_encoder_open(&encoder, path, &settings, error));
    vipo_status status = encode_film(encoder, &film, &canvas, path, error);
    if (status == VIPO_OK) status = vipo_video_encoder_finish(encoder, &bytes, &size, error);
    if (status == VIPO_OK) status = vipo_file_write(path, bytes, size, error);
    vipo_image_free(&canvas);
    vipo_video_encoder_close(&encoder);
    return status;
}

static vipo_status fits_mp4(const char *path, const vipo_array *video, const vipo_write_options *options,
                            vipo_error *error)
{
    vipo_film film;
    return vipo_film_init(&film, path, video, NULL, options, NULL, error);
}

const vipo_plan_writer vipo_plan_writer_mp4 = {".mp4", true, write_mp4, fits_mp4};
