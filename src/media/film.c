#include "media/film.h"

#include <stdio.h>
#include <string.h>

#include "media/canvas.h"
#include "media/picture.h"
#include "media/plan_writer.h"

/* Pixels. */
enum { SAMPLE_GAP = 4, BAR_HEIGHT = 3, TEXT_MARGIN = 5, LINE_GAP = 2, LARGE_TEXT_FROM = 260 };

/* From paper to ink in steps, which covers smoothed letters, then the bar. */
enum { SHADES = 9, N_COLOURS = SHADES + 2 };
static const uint8_t colours[N_COLOURS][3] = {
    {251, 251, 249}, {224, 224, 223}, {196, 197, 197}, {169, 170, 171}, {141, 143, 145}, {114, 117, 119},
    {87, 90, 94},    {59, 63, 68},    {32, 36, 42},    {214, 215, 212}, {196, 60, 48},
};

static vipo_colour colour_at(int i)
{
    return (vipo_colour){colours[i][0], colours[i][1], colours[i][2]};
}

const uint8_t (*vipo_film_colours(int *n))[3]
{
    *n = N_COLOURS;
    return colours;
}

static void break_caption(vipo_film *film, const char *caption)
{
    film->text_size = film->width >= LARGE_TEXT_FROM ? 2 : 1;
    const int room = film->width - 2 * TEXT_MARGIN;
    while (*caption && film->n_lines < VIPO_FILM_CAPTION_LINES) {
        const char *rest;
        size_t length = vipo_text_line(caption, film->text_size, room, &rest);
        if (length == 0) return;
        if (length >= VIPO_FILM_CAPTION_ROOM) { /* a very wide film */
            length = VIPO_FILM_CAPTION_ROOM - 1;
            while (((unsigned char)caption[length] & 0xC0) == 0x80) length--; /* not within a character */
            rest = caption + length;
        }
        char *line = film->lines[film->n_lines++];
        if (film->n_lines == VIPO_FILM_CAPTION_LINES)
            vipo_text_shorten(line, VIPO_FILM_CAPTION_ROOM, caption, film->text_size, room);
        else
            snprintf(line, VIPO_FILM_CAPTION_ROOM, "%.*s", (int)length, caption);
        caption = rest;
    }
}

vipo_status vipo_film_init(vipo_film *out, const char *path, const vipo_array *video, const vipo_array *cond,
                           const vipo_write_options *options, const char *caption, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const size_t *shape = video->shape; /* no overflow: the pixels are in memory, scale <= 128 */
    vipo_film film = {.video = video, .cond = cond, .samples = shape[0], .frames = shape[1] + 1};
    film.scale = vipo_plan_scale(options, shape[2]);
    const size_t scale = (size_t)film.scale;
    const size_t width = shape[0] * shape[3] * scale + (shape[0] - 1) * SAMPLE_GAP;
    VIPO_TRY(vipo_picture_check_size(path, shape[2] * scale, width, error));
    film.frame_height = (int)(shape[2] * scale);
    film.frame_width = (int)(shape[3] * scale);
    film.height = film.frame_height;
    film.width = (int)width;
    if (caption) break_caption(&film, caption);
    if (film.n_lines > 0)
        film.height += BAR_HEIGHT + 2 * TEXT_MARGIN +
                       film.n_lines * (vipo_text_height(film.text_size) + LINE_GAP) - LINE_GAP;
    VIPO_TRY(vipo_picture_check_size(path, (size_t)film.height, width, error));
    *out = film;
    return VIPO_OK;
}

static int sample_left(const vipo_film *film, size_t sample)
{
    return (int)sample * (film->frame_width + SAMPLE_GAP);
}

bool vipo_film_is_frame(const vipo_film *film, int y, int x)
{
    return y < film->frame_height && x % (film->frame_width + SAMPLE_GAP) < film->frame_width;
}

void vipo_film_draw(const vipo_film *film, size_t i, vipo_image *canvas)
{
    vipo_canvas_fill(canvas, colour_at(0));
    for (size_t sample = 0; sample < film->samples; sample++)
        vipo_canvas_frame(canvas, 0, sample_left(film, sample),
                          vipo_plan_frame(film->video, film->cond, sample, i), (int)film->video->shape[2],
                          (int)film->video->shape[3], film->scale);
    if (film->n_lines == 0) return;

    int y = film->frame_height;
    const int done = (int)((size_t)film->width * i / (film->frames - 1));
    vipo_canvas_rectangle(canvas, y, 0, BAR_HEIGHT, film->width, colour_at(SHADES));
    vipo_canvas_rectangle(canvas, y, 0, BAR_HEIGHT, done, colour_at(SHADES + 1));
    y += BAR_HEIGHT + TEXT_MARGIN;
    for (int n = 0; n < film->n_lines; n++) {
        vipo_canvas_text(canvas, y, TEXT_MARGIN, film->lines[n], film->text_size, colour_at(SHADES - 1));
        y += vipo_text_height(film->text_size) + LINE_GAP;
    }
}
