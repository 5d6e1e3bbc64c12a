/* Animated GIF through giflib: one palette for the whole film, so that nothing flickers. */
#include <errno.h>
#include <gif_lib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file_output.h"
#include "media/canvas.h"
#include "media/film.h"
#include "media/palette.h"
#include "media/picture.h"
#include "media/plan_writer.h"

/* The observation and the last frame stay this many times longer than the others. */
enum { HOLD = 3 };
/* Dithering hides the steps of smooth shades. It is ordered (Bayer), fixed in place, so still parts of a
 * film stay still; below this palette error in levels it is not worth its grain. */
#define DITHER_FROM 2.5

typedef struct colour_cache_entry {
    uint32_t key; /* 1 + 24-bit colour; 0: empty */
    uint8_t index;
} colour_cache_entry;

enum { CACHE_SIZE = 1 << 15 };

typedef struct gif_job {
    const char *path;
    const vipo_film *film;
    FILE *stream;
    vipo_palette palette;
    int dither; /* amplitude in levels, 0: none */
    vipo_image canvas;
    GifPixelType *row; /* [width] palette indices */
    colour_cache_entry *cache;
    GifFileType *gif;
    int write_error; /* errno of the first write that failed */
} gif_job;

static vipo_status choose_palette(gif_job *job, vipo_error *error)
{
    vipo_histogram *histogram;
    VIPO_TRY(vipo_histogram_open(&histogram, error));
    const vipo_film *film = job->film;
    const size_t pixels = film->video->shape[2] * film->video->shape[3];
    for (size_t sample = 0; sample < film->samples; sample++)
        for (size_t i = 0; i < film->frames; i++) {
            const float *frame = vipo_plan_frame(film->video, film->cond, sample, i);
            for (size_t p = 0; p < pixels; p++, frame += 3) {
                const uint8_t colour[3] = {vipo_canvas_level(frame[0]), vipo_canvas_level(frame[1]),
                                           vipo_canvas_level(frame[2])};
                vipo_histogram_add(histogram, colour);
            }
        }
    int n_fixed = 0;
    const uint8_t(*fixed)[3] = vipo_film_colours(&n_fixed);
    double rms = 0;
    const bool plain = film->n_lines == 0 && film->samples == 1; /* frames alone */
    const vipo_status status =
        vipo_palette_build(&job->palette, fixed, plain ? 0 : n_fixed, histogram, &rms, error);
    vipo_histogram_close(&histogram);
    job->dither = rms >= DITHER_FROM ? (int)(rms + 0.5) : 0;
    return status;
}

/* ---- pixels to palette indices ---- */

/* Threshold of an 8x8 Bayer matrix, -amplitude..amplitude. */
static int dither_at(int y, int x, int amplitude)
{
    int rank = 0; /* 0..63: bits of x^y and y interleaved, lowest first */
    for (int bit = 0; bit < 3; bit++) {
        rank = rank << 2 | (((x ^ y) >> bit & 1) << 1) | (y >> bit & 1);
    }
    return ((2 * rank - 63) * amplitude) / 63;
}

static uint8_t shift_level(uint8_t level, int by)
{
    const int shifted = level + by;
    return (uint8_t)(shifted < 0 ? 0 : shifted > 255 ? 255 : shifted);
}

static uint8_t find_index(gif_job *job, const uint8_t colour[3])
{
    const uint32_t key = ((uint32_t)colour[0] << 16 | (uint32_t)colour[1] << 8 | colour[2]) + 1;
    colour_cache_entry *entry = &job->cache[(key * 2654435761U) >> 17]; /* the upper 15 bits */
    if (entry->key != key) {
        entry->key = key;
        entry->index = (uint8_t)vipo_palette_nearest(&job->palette, colour);
    }
    return entry->index;
}

static void index_row(gif_job *job, int y)
{
    const uint8_t *pixel = job->canvas.data + (size_t)y * (size_t)job->canvas.width * 3;
    for (int x = 0; x < job->canvas.width; x++, pixel += 3) {
        uint8_t colour[3] = {pixel[0], pixel[1], pixel[2]};
        if (job->dither > 0 && vipo_film_is_frame(job->film, y, x)) {
            const int by = dither_at(y, x, job->dither);
            for (int k = 0; k < 3; k++) colour[k] = shift_level(colour[k], by);
        }
        job->row[x] = find_index(job, colour);
    }
}

/* ---- writing; false: giflib failed, which is out of memory or a stream that failed ---- */

static int write_bytes(GifFileType *gif, const GifByteType *data, int size)
{
    gif_job *job = gif->UserData;
    const size_t written = fwrite(data, 1, (size_t)size, job->stream);
    if (written < (size_t)size && !job->write_error) job->write_error = errno;
    return (int)written;
}

static bool write_header(gif_job *job)
{
    GifColorType colours[VIPO_PALETTE_MAX] = {{0, 0, 0}};
    for (int i = 0; i < job->palette.count; i++)
        colours[i] = (GifColorType){job->palette.colours[i][0], job->palette.colours[i][1],
                                    job->palette.colours[i][2]};
    ColorMapObject *map = GifMakeMapObject(VIPO_PALETTE_MAX, colours);
    if (!map) return false;
    EGifSetGifVersion(job->gif, true); /* 89a */
    bool good = EGifPutScreenDesc(job->gif, job->canvas.width, job->canvas.height, 8, 0, map) == GIF_OK;
    GifFreeMapObject(map);
    /* Netscape's extension: loop for ever */
    static const GifByteType name[11] = {'N', 'E', 'T', 'S', 'C', 'A', 'P', 'E', '2', '.', '0'};
    static const GifByteType forever[3] = {1, 0, 0};
    good = good && EGifPutExtensionLeader(job->gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK;
    good = good && EGifPutExtensionBlock(job->gif, sizeof name, name) == GIF_OK;
    good = good && EGifPutExtensionBlock(job->gif, sizeof forever, forever) == GIF_OK;
    return good && EGifPutExtensionTrailer(job->gif) == GIF_OK;
}

/* delay in hundredths of a second */
static bool write_frame(gif_job *job, size_t i, int delay)
{
    vipo_film_draw(job->film, i, &job->canvas);
    const GraphicsControlBlock control = {
        .DisposalMode = DISPOSE_DO_NOT, .DelayTime = delay, .TransparentColor = NO_TRANSPARENT_COLOR};
    GifByteType bytes[4];
    EGifGCBToExtension(&control, bytes);
    if (EGifPutExtension(job->gif, GRAPHICS_EXT_FUNC_CODE, sizeof bytes, bytes) != GIF_OK) return false;
    if (EGifPutImageDesc(job->gif, 0, 0, job->canvas.width, job->canvas.height, false, NULL) != GIF_OK)
        return false;
    for (int y = 0; y < job->canvas.height; y++) {
        index_row(job, y);
        if (EGifPutLine(job->gif, job->row, job->canvas.width) != GIF_OK) return false;
    }
    return true;
}

static bool write_frames(gif_job *job, double fps)
{
    const int delay = fps < 50 ? (int)lround(100 / fps) : 2; /* viewers slow down shorter delays */
    for (size_t i = 0; i < job->film->frames; i++) {
        const bool held = i == 0 || i + 1 == job->film->frames;
        if (!write_frame(job, i, held ? HOLD * delay : delay)) return false;
    }
    return true;
}

static vipo_status write_all(gif_job *job, double fps, vipo_error *error)
{
    int code = 0;
    job->gif = EGifOpen(job, write_bytes, &code);
    if (!job->gif) return vipo_fail(error, VIPO_OUT_OF_MEMORY, "out of memory for the GIF encoder");
    const bool good = write_header(job) && write_frames(job, fps);
    const bool closed = EGifCloseFile(job->gif, &code) == GIF_OK;
    if (good && closed) return VIPO_OK;
    return vipo_fail_write(error, job->path, job->write_error);
}

static vipo_status write_gif(const char *path, const vipo_array *video, const vipo_array *cond,
                             const vipo_write_options *options, vipo_error *error)
{
    vipo_film film;
    VIPO_TRY(vipo_film_init(&film, path, video, cond, options, options->caption, error));
    gif_job job = {.path = path, .film = &film};
    vipo_file_output output = {0};
    vipo_status status;
    VIPO_TRY_GOTO(choose_palette(&job, error), end);
    VIPO_TRY_GOTO(vipo_picture_alloc(&job.canvas, path, (size_t)film.height, (size_t)film.width, error), end);
    job.row = calloc((size_t)film.width, sizeof *job.row);
    job.cache = calloc(CACHE_SIZE, sizeof *job.cache);
    if (!job.row || !job.cache) {
        status = vipo_fail_memory(error, CACHE_SIZE * sizeof *job.cache, "the GIF encoder");
        goto end;
    }
    VIPO_TRY_GOTO(vipo_file_output_open(&output, path, error), end);
    job.stream = output.stream;
    VIPO_TRY_GOTO(write_all(&job, options->fps, error), end);
    status = vipo_file_output_commit(&output, error);
end:
    vipo_file_output_abandon(&output);
    free(job.row);
    free(job.cache);
    vipo_image_free(&job.canvas);
    return status;
}

static vipo_status fits_gif(const char *path, const vipo_array *video, const vipo_write_options *options,
                            vipo_error *error)
{
    vipo_film film;
    return vipo_film_init(&film, path, video, NULL, options, options->caption, error);
}

const vipo_plan_writer vipo_plan_writer_gif = {".gif", true, write_gif, fits_gif};
