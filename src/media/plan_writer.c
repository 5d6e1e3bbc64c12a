/* Public vipo_plan_write: finds the writer of an extension and checks what all of them need. */
#include "media/plan_writer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SCALE_MAX = 64, HEIGHT_WANTED = 128 };

static vipo_status write_npy(const char *path, const vipo_array *video, const vipo_array *cond,
                             const vipo_write_options *options, vipo_error *error)
{
    (void)cond, (void)options;
    return vipo_npy_write(path, video, error);
}

static const vipo_plan_writer npy_writer = {".npy", false, write_npy, NULL};

static const vipo_plan_writer *const writers[] = {
    &vipo_plan_writer_gif,
    &vipo_plan_writer_mp4,
    &vipo_plan_writer_png,
    &npy_writer,
};

enum { N_WRITERS = sizeof writers / sizeof writers[0] };

/* The extension with its dot, "" if there is none. */
static const char *extension_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    return dot ? dot : "";
}

static const vipo_plan_writer *find_writer(const char *path)
{
    const char *extension = extension_of(path);
    for (int i = 0; i < N_WRITERS; i++)
        if (strcasecmp(writers[i]->extension, extension) == 0) return writers[i];
    return NULL;
}

bool vipo_plan_can_write(const char *path)
{
    return find_writer(path) != NULL;
}

void vipo_write_default_options(vipo_write_options *options)
{
    *options = (vipo_write_options){.fps = 4, .scale = 0, .caption = NULL};
}

const float *vipo_plan_frame(const vipo_array *video, const vipo_array *cond, size_t sample, size_t i)
{
    const size_t size = video->shape[2] * video->shape[3] * video->shape[4];
    if (i == 0) return cond->data + (cond->shape[0] == 1 ? 0 : sample) * size;
    return video->data + (sample * video->shape[1] + i - 1) * size;
}

int vipo_plan_scale(const vipo_write_options *options, size_t height)
{
    if (options->scale > 0) return options->scale;
    const size_t scale = (HEIGHT_WANTED + height / 2) / height;
    return scale > 1 ? (int)scale : 1;
}

static vipo_status check_finite(const char *path, const char *what, const vipo_array *array,
                                vipo_error *error)
{
    const size_t n = vipo_array_size(array);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(array->data[i]))
            return vipo_fail(error, VIPO_NUMERIC, "%s: element %zu of the %s is %s, expected finite numbers",
                             path, i, what, isnan(array->data[i]) ? "NaN" : "infinite");
    return VIPO_OK;
}

static vipo_status check_options(const char *path, const vipo_write_options *options, vipo_error *error)
{
    if (options->scale < 0 || options->scale > SCALE_MAX)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: enlargement %d, expected 0..%d", path,
                         options->scale, SCALE_MAX);
    if (!(options->fps >= 0.1 && options->fps <= 120))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: %g frames per second, expected 0.1..120", path,
                         options->fps);
    return VIPO_OK;
}

vipo_status vipo_plan_check(const char *path, const vipo_array *video, const vipo_array *cond,
                            const vipo_write_options *options, vipo_error *error)
{
    if (!video || vipo_array_size(video) == 0 || video->rank != 5 || video->shape[4] != 3)
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: expected a video [samples][frames][H][W][3], found rank %d", path,
                         video ? video->rank : 0);
    if (!cond || vipo_array_size(cond) == 0 || cond->rank != 4 || cond->shape[3] != 3 ||
        (cond->shape[0] != 1 && cond->shape[0] != video->shape[0]))
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: expected a condition frame [1 or samples][H][W][3], found rank %d", path,
                         cond ? cond->rank : 0);
    if (cond->shape[1] != video->shape[2] || cond->shape[2] != video->shape[3])
        return vipo_fail(error, VIPO_MISMATCH, "%s: condition frame of %zux%zu, expected the video's %zux%zu",
                         path, cond->shape[1], cond->shape[2], video->shape[2], video->shape[3]);
    VIPO_TRY(check_options(path, options, error));
    VIPO_TRY(check_finite(path, "video", video, error));
    return check_finite(path, "condition frame", cond, error);
}

static vipo_status choose_writer(const vipo_plan_writer **out, const char *path, vipo_error *error)
{
    *out = find_writer(path);
    if (*out) return VIPO_OK;
    char known[64] = "";
    for (int i = 0, used = 0; i < N_WRITERS; i++)
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", i > 0 ? ", " : "",
                         writers[i]->extension);
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: unknown extension \"%s\", expected one of: %s", path,
                     extension_of(path), known);
}

vipo_status vipo_plan_write_check(const char *path, int samples, const vipo_model_info *model,
                                  const vipo_write_options *options, vipo_error *error)
{
    const vipo_plan_writer *writer;
    VIPO_TRY(choose_writer(&writer, path, error));
    if (!writer->picture) return VIPO_OK;
    VIPO_TRY(check_options(path, options, error));
    if (samples < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: %d samples, expected 1 or more", path, samples);
    const vipo_array video = {
        .rank = 5,
        .shape = {(size_t)samples, (size_t)model->frames, (size_t)model->height, (size_t)model->width, 3}};
    return writer->fits(path, &video, options, error);
}

vipo_status vipo_plan_write(const char *path, const vipo_array *video, const vipo_array *cond,
                            const vipo_write_options *options, vipo_error *error)
{
    vipo_write_options defaults;
    vipo_write_default_options(&defaults);
    if (!options) options = &defaults;

    const vipo_plan_writer *writer;
    VIPO_TRY(choose_writer(&writer, path, error));
    if (writer->picture) VIPO_TRY(vipo_plan_check(path, video, cond, options, error));
    return writer->write(path, video, cond, options, error);
}
