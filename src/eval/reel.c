#include "eval/reel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file_output.h"
#include "media/canvas.h"
#include "media/picture.h"
#include "media/video_encoder.h"

/* Seconds of simulated time are seconds of the film: a control step is 12.5 ms. */
enum { STEPS_PER_SECOND = 80, GAP = 4, COLUMNS = 4, BAR = 22, TEXT = 1, PATH_ROOM = 4096 };
static const vipo_colour ground = {24, 24, 28}, ink = {235, 235, 235}, good = {60, 190, 90},
                         bad = {210, 70, 60};

struct vipo_reel {
    const vipo_evaluation *e;
    vipo_job job;
    char path[PATH_ROOM];
    vipo_video_encoder *encoder;
    vipo_image canvas;
    int scale; /* of the plan's frames; 0: there is no plan */
    int cell_height, cell_width;
    int last_step; /* of the last picture */
    bool seen_success;
};

/* ---- geometry -------------------------------------------------------------------------------------------- */

static void lay_out(vipo_reel *reel, int *height, int *width)
{
    const vipo_frame_format *const f = &reel->e->format;
    *height = VIPO_EVAL_HEIGHT;
    *width = VIPO_EVAL_WIDTH;
    if (reel->e->plan != VIPO_PLAN_NONE) {
        const int rows = (f->n + COLUMNS) / COLUMNS; /* of 1 + n frames */
        reel->scale = f->height >= 120 ? 1 : (120 + f->height / 2) / f->height;
        reel->cell_height = f->height * reel->scale;
        reel->cell_width = f->width * reel->scale;
        const int plan_height = rows * (reel->cell_height + GAP) + GAP;
        if (plan_height > *height) *height = plan_height;
        *width += COLUMNS * (reel->cell_width + GAP) + GAP;
    }
    *height += BAR;
}

static void draw_view(vipo_reel *reel, const vipo_image *view, bool success)
{
    const int top = (reel->canvas.height - BAR - view->height) / 2;
    for (int y = 0; y < view->height; y++)
        memcpy(reel->canvas.data + (size_t)(top + y) * (size_t)reel->canvas.width * 3,
               view->data + (size_t)y * (size_t)view->width * 3, (size_t)view->width * 3);
    for (int i = 0; success && i < 3; i++)
        vipo_canvas_outline(&reel->canvas, top + i, i, view->height - 2 * i, view->width - 2 * i, good);
}

static void draw_plan(vipo_reel *reel, const vipo_array *frames)
{
    const vipo_frame_format *const f = &reel->e->format;
    if (!reel->scale || !frames->data) return;
    for (int i = 0; i <= f->n; i++)
        vipo_canvas_frame(&reel->canvas, GAP + i / COLUMNS * (reel->cell_height + GAP),
                          VIPO_EVAL_WIDTH + GAP + i % COLUMNS * (reel->cell_width + GAP),
                          frames->data + (size_t)i * vipo_frame_size(f), f->height, f->width, reel->scale);
}

static void draw_bar(vipo_reel *reel, const char *text, const char *verdict, vipo_colour colour)
{
    const int y = reel->canvas.height - BAR + (BAR - vipo_text_height(TEXT)) / 2;
    const int verdict_width = vipo_text_width(verdict, TEXT);
    char shown[256];
    vipo_text_shorten(shown, sizeof shown, text, TEXT, reel->canvas.width - verdict_width - 4 * GAP);
    vipo_canvas_rectangle(&reel->canvas, reel->canvas.height - BAR, 0, BAR, reel->canvas.width, ground);
    vipo_canvas_text(&reel->canvas, y, GAP, shown, TEXT, ink);
    vipo_canvas_text(&reel->canvas, y, reel->canvas.width - verdict_width - GAP, verdict, TEXT, colour);
}

static void caption(const vipo_reel *reel, int step, int plans, char *out, size_t size)
{
    const vipo_evaluation *const e = reel->e;
    const int n = snprintf(out, size, "%s, %s, seed %llu, step %d", e->tasks[reel->job.task],
                           e->cameras[reel->job.camera], (unsigned long long)reel->job.seed, step);
    if (plans && n > 0 && (size_t)n < size) snprintf(out + n, size - (size_t)n, ", plan %d", plans);
}

/* ---- the film -------------------------------------------------------------------------------------------- */

/* A folder and those above it. */
static vipo_status make_folder(const char *path, vipo_error *error)
{
    char part[PATH_ROOM];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; *at; at++) {
        if (*at != '/') continue;
        *at = '\0';
        mkdir(part, 0777); /* what matters is the last one */
        *at = '/';
    }
    if (mkdir(part, 0777) == 0 || errno == EEXIST) return VIPO_OK;
    return vipo_fail(error, VIPO_IO, "%s: cannot make the folder: %s", path, strerror(errno));
}

static void file_name(const vipo_reel *reel, char *out, size_t size)
{
    const vipo_evaluation *const e = reel->e;
    snprintf(out, size, "%.8s_%s_%s_%05llu.mp4", e->variants[reel->job.variant].settings.hash,
             e->tasks[reel->job.task], e->cameras[reel->job.camera], (unsigned long long)reel->job.seed);
}

vipo_status vipo_reel_open(vipo_reel **out, const vipo_evaluation *evaluation, const vipo_job *job,
                           vipo_error *error)
{
    int height, width;
    char name[160];
    vipo_reel *reel = calloc(1, sizeof *reel);
    *out = NULL;
    if (!reel) return vipo_fail_memory(error, sizeof *reel, "a film");
    reel->e = evaluation;
    reel->job = *job;
    reel->last_step = -1;
    file_name(reel, name, sizeof name);
    lay_out(reel, &height, &width);
    const vipo_video_settings settings = {.height = height,
                                          .width = width,
                                          .clock = STEPS_PER_SECOND,
                                          .spacing = evaluation->options.video_stride,
                                          .colour = VIPO_VIDEO_420,
                                          .crf = 24,
                                          .preset = "veryfast"};
    vipo_status status = VIPO_OK;
    const int n = snprintf(reel->path, sizeof reel->path, "%s/%s", evaluation->options.videos, name);
    if (n < 0 || (size_t)n >= sizeof reel->path)
        status =
            vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: the path is too long", evaluation->options.videos);
    if (status == VIPO_OK) status = make_folder(evaluation->options.videos, error);
    if (status == VIPO_OK)
        status = vipo_picture_alloc(&reel->canvas, reel->path, (size_t)height, (size_t)width, error);
    if (status == VIPO_OK) status = vipo_video_encoder_open(&reel->encoder, reel->path, &settings, error);
    if (status != VIPO_OK) vipo_reel_close(&reel);
    *out = reel;
    return status;
}

vipo_status vipo_reel_add(vipo_reel *reel, vipo_sim *sim, int step, bool success, const vipo_array *frames,
                          int plans, vipo_error *error)
{
    char text[256];
    vipo_sim_picture picture;
    reel->seen_success |= success;
    if (step % reel->e->options.video_stride) return VIPO_OK;
    VIPO_TRY(vipo_sim_render(sim, reel->e->cameras[reel->job.camera], VIPO_EVAL_HEIGHT, VIPO_EVAL_WIDTH,
                             VIPO_SIM_RGB, &picture, error));
    caption(reel, step, plans, text, sizeof text);
    vipo_canvas_fill(&reel->canvas, ground);
    draw_view(reel, &picture.rgb, success);
    draw_plan(reel, frames);
    draw_bar(reel, text, reel->seen_success ? "success" : "", good);
    vipo_sim_picture_free(&picture);
    reel->last_step = step;
    return vipo_video_encoder_add(reel->encoder, reel->canvas.data, step, error);
}

/* The last picture stays for a second, with the verdict. */
vipo_status vipo_reel_finish(vipo_reel *reel, bool success, char *name, size_t size, vipo_error *error)
{
    const uint8_t *bytes;
    size_t n;
    char text[256];
    const vipo_colour colour = success ? good : bad;
    caption(reel, reel->last_step, 0, text, sizeof text);
    draw_bar(reel, text, success ? "success" : "failure", colour);
    for (int i = 0; i < 2; i++)
        vipo_canvas_outline(&reel->canvas, i, i, reel->canvas.height - 2 * i, reel->canvas.width - 2 * i,
                            colour);
    for (int i = 1; i <= 2; i++)
        VIPO_TRY(vipo_video_encoder_add(reel->encoder, reel->canvas.data,
                                        reel->last_step + i * STEPS_PER_SECOND / 2, error));
    VIPO_TRY(vipo_video_encoder_finish(reel->encoder, &bytes, &n, error));
    VIPO_TRY(vipo_file_write(reel->path, bytes, n, error));
    file_name(reel, name, size);
    return VIPO_OK;
}

void vipo_reel_close(vipo_reel **reel)
{
    if (!*reel) return;
    vipo_video_encoder_close(&(*reel)->encoder);
    vipo_image_free(&(*reel)->canvas);
    free(*reel);
    *reel = NULL;
}
