/* Contact sheets: a row per plan, its caption above, the observation first, then the future frames. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "media/canvas.h"
#include "media/picture.h"
#include "media/plan_writer.h"

/* Pixels. */
enum {
    MARGIN = 20,
    FRAME_GAP = 4,
    OBSERVATION_GAP = 21, /* with a line in its middle */
    CAPTION_GAP = 4,      /* between a caption and its row, the labels and what follows */
    ROW_GAP = 16,
    RULE_GAP = 7,   /* between the labels' rule and the first caption */
    TITLE_SIZE = 2, /* font sizes */
    CAPTION_SIZE = 2,
    LABEL_SIZE = 1,
};

static const vipo_colour paper = {251, 251, 249}, ink = {32, 36, 42}, grey = {112, 117, 125},
                         line = {214, 215, 212};

typedef struct sheet_layout {
    int scale;
    size_t frames;           /* future frames of the longest row */
    size_t cell_width;       /* of the widest frame, enlarged */
    size_t height, width;    /* of the sheet */
    const char *title;       /* NULL: none */
    const char *observation; /* label of the first column, NULL: does not fit */
    bool numbered;           /* "+1" ... fit */
    bool ruled;
} sheet_layout;

static bool has_text(const char *text)
{
    return text && *text;
}

static size_t frame_height(const vipo_sheet_row *row, int scale)
{
    return row->video->shape[2] * (size_t)scale;
}

static void choose_labels(sheet_layout *layout)
{
    static const char *const names[] = {"observation", "obs."};
    layout->observation = NULL;
    for (int i = 0; i < 2 && !layout->observation; i++)
        if ((size_t)vipo_text_width(names[i], LABEL_SIZE) <= layout->cell_width)
            layout->observation = names[i];
    char last[32];
    snprintf(last, sizeof last, "+%zu", layout->frames);
    layout->numbered = (size_t)vipo_text_width(last, LABEL_SIZE) <= layout->cell_width;
}

/* The labels stand over a rule where a caption comes between them and the frames. */
static int labels_height(const sheet_layout *layout)
{
    if (!layout->observation && !layout->numbered) return 0;
    return vipo_text_height(LABEL_SIZE) + CAPTION_GAP + (layout->ruled ? 1 + RULE_GAP : 0);
}

static vipo_status make_layout(sheet_layout *out, const char *path, const vipo_sheet_row *rows, int n_rows,
                               const vipo_write_options *options, vipo_error *error)
{
    sheet_layout layout = {.title = has_text(options->caption) ? options->caption : NULL};
    layout.scale = vipo_plan_scale(options, rows[0].video->shape[2]);
    for (int i = 0; i < n_rows; i++) {
        const size_t *shape = rows[i].video->shape; /* no overflow: the pixels are in memory, scale <= 128 */
        if (shape[1] > layout.frames) layout.frames = shape[1];
        if (shape[3] * (size_t)layout.scale > layout.cell_width)
            layout.cell_width = shape[3] * (size_t)layout.scale;
    }
    choose_labels(&layout);
    layout.ruled = has_text(rows[0].caption);
    layout.width = 2 * MARGIN + (layout.frames + 1) * layout.cell_width + OBSERVATION_GAP +
                   (layout.frames - 1) * FRAME_GAP;
    layout.height = 2 * MARGIN;
    if (layout.title) layout.height += (size_t)vipo_text_height(TITLE_SIZE) + ROW_GAP / 2;
    layout.height += (size_t)labels_height(&layout);
    for (int i = 0; i < n_rows; i++) {
        if (has_text(rows[i].caption)) layout.height += (size_t)vipo_text_height(CAPTION_SIZE) + CAPTION_GAP;
        layout.height += frame_height(&rows[i], layout.scale) + (i > 0 ? ROW_GAP : 0);
    }
    VIPO_TRY(vipo_picture_check_size(path, layout.height, layout.width, error));
    *out = layout;
    return VIPO_OK;
}

/* Left edge of column i; 0 is the observation. */
static int column_left(const sheet_layout *layout, size_t i)
{
    const int cell = (int)layout->cell_width, future = MARGIN + cell + OBSERVATION_GAP;
    return i == 0 ? MARGIN : future + (int)(i - 1) * (cell + FRAME_GAP);
}

static void draw_centred(vipo_image *canvas, const sheet_layout *layout, int y, size_t column,
                         const char *text)
{
    const int spare = (int)layout->cell_width - vipo_text_width(text, LABEL_SIZE);
    vipo_canvas_text(canvas, y, column_left(layout, column) + spare / 2, text, LABEL_SIZE, grey);
}

/* One line, shortened to the sheet's width. Returns its height with the gap below. */
static int draw_line(vipo_image *canvas, int y, const char *text, int size, bool bold, int gap)
{
    char fitting[512];
    vipo_text_shorten(fitting, sizeof fitting, text, size, canvas->width - 2 * MARGIN);
    vipo_canvas_text(canvas, y, MARGIN, fitting, size, ink);
    if (bold) vipo_canvas_text(canvas, y, MARGIN + 1, fitting, size, ink);
    return vipo_text_height(size) + gap;
}

static int draw_labels(vipo_image *canvas, const sheet_layout *layout, int y)
{
    if (!layout->observation && !layout->numbered) return 0;
    if (layout->observation) draw_centred(canvas, layout, y, 0, layout->observation);
    for (size_t i = 1; layout->numbered && i <= layout->frames; i++) {
        char label[32];
        snprintf(label, sizeof label, "+%zu", i);
        draw_centred(canvas, layout, y, i, label);
    }
    if (layout->ruled)
        vipo_canvas_rectangle(canvas, y + vipo_text_height(LABEL_SIZE) + CAPTION_GAP, MARGIN, 1,
                              canvas->width - 2 * MARGIN, line);
    return labels_height(layout);
}

static int draw_row(vipo_image *canvas, const sheet_layout *layout, int y, const vipo_sheet_row *row)
{
    const int top = y;
    if (has_text(row->caption)) y += draw_line(canvas, y, row->caption, CAPTION_SIZE, false, CAPTION_GAP);
    const int height = (int)row->video->shape[2], width = (int)row->video->shape[3];
    for (size_t i = 0; i <= row->video->shape[1]; i++)
        vipo_canvas_frame(canvas, y, column_left(layout, i), vipo_plan_frame(row->video, row->cond, 0, i),
                          height, width, layout->scale);
    const int between = column_left(layout, 1) - OBSERVATION_GAP / 2 - 1;
    vipo_canvas_rectangle(canvas, y, between, height * layout->scale, 1, line);
    return y + height * layout->scale - top;
}

static void draw_sheet(vipo_image *canvas, const sheet_layout *layout, const vipo_sheet_row *rows, int n_rows)
{
    vipo_canvas_fill(canvas, paper);
    int y = MARGIN;
    if (layout->title) y += draw_line(canvas, y, layout->title, TITLE_SIZE, true, ROW_GAP / 2);
    y += draw_labels(canvas, layout, y);
    for (int i = 0; i < n_rows; i++) y += draw_row(canvas, layout, y, &rows[i]) + ROW_GAP;
}

static vipo_status check_rows(const char *path, const vipo_sheet_row *rows, int n_rows,
                              const vipo_write_options *options, vipo_error *error)
{
    if (!rows || n_rows < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: a sheet of %d rows, expected at least 1", path,
                         n_rows);
    for (int i = 0; i < n_rows; i++) {
        VIPO_TRY(vipo_plan_check(path, rows[i].video, rows[i].cond, options, error));
        if (rows[i].video->shape[0] != 1)
            return vipo_fail(error, VIPO_MISMATCH, "%s: row %d holds %zu samples, expected 1", path, i,
                             rows[i].video->shape[0]);
    }
    return VIPO_OK;
}

vipo_status vipo_sheet_write(const char *path, const vipo_sheet_row *rows, int n_rows,
                             const vipo_write_options *options, vipo_error *error)
{
    vipo_write_options defaults;
    vipo_write_default_options(&defaults);
    if (!options) options = &defaults;
    VIPO_TRY(check_rows(path, rows, n_rows, options, error));
    sheet_layout layout;
    VIPO_TRY(make_layout(&layout, path, rows, n_rows, options, error));
    vipo_image canvas;
    VIPO_TRY(vipo_picture_alloc(&canvas, path, layout.height, layout.width, error));
    draw_sheet(&canvas, &layout, rows, n_rows);
    const vipo_status status = vipo_image_write_png(path, &canvas, error);
    vipo_image_free(&canvas);
    return status;
}

/* ---- the .png writer of plans: a row per sample ---- */

typedef struct sample_row {
    vipo_array video, cond; /* borrowed views of one sample */
    char caption[32];
} sample_row;

/* cond NULL: only its shape is looked at. */
static void view_sample(sample_row *out, const vipo_array *video, const vipo_array *cond, size_t sample)
{
    out->video = *video;
    out->video.shape[0] = 1;
    if (cond) {
        out->video.data += sample * (vipo_array_size(video) / video->shape[0]);
        out->cond = *cond;
        out->cond.shape[0] = 1;
        if (cond->shape[0] > 1) out->cond.data += sample * (vipo_array_size(cond) / cond->shape[0]);
    }
    snprintf(out->caption, sizeof out->caption, "sample %zu", sample + 1);
}

/* cond NULL: only whether it fits. */
static vipo_status make_png(const char *path, const vipo_array *video, const vipo_array *cond,
                            const vipo_write_options *options, vipo_error *error)
{
    const size_t n = video->shape[0];
    if (n > VIPO_PICTURE_MAX_SIDE)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %zu samples, expected at most %d", path, n,
                         VIPO_PICTURE_MAX_SIDE);
    sample_row *samples = calloc(n, sizeof *samples);
    vipo_sheet_row *rows = calloc(n, sizeof *rows);
    vipo_status status;
    if (!samples || !rows) {
        status = vipo_fail_memory(error, n * (sizeof *samples + sizeof *rows), "the rows of a contact sheet");
    } else {
        sheet_layout layout;
        for (size_t i = 0; i < n; i++) {
            view_sample(&samples[i], video, cond, i);
            rows[i] =
                (vipo_sheet_row){n > 1 ? samples[i].caption : NULL, &samples[i].cond, &samples[i].video};
        }
        status = cond ? vipo_sheet_write(path, rows, (int)n, options, error)
                      : make_layout(&layout, path, rows, (int)n, options, error);
    }
    free(samples);
    free(rows);
    return status;
}

static vipo_status write_png(const char *path, const vipo_array *video, const vipo_array *cond,
                             const vipo_write_options *options, vipo_error *error)
{
    return make_png(path, video, cond, options, error);
}

static vipo_status fits_png(const char *path, const vipo_array *video, const vipo_write_options *options,
                            vipo_error *error)
{
    return make_png(path, video, NULL, options, error);
}

const vipo_plan_writer vipo_plan_writer_png = {".png", true, write_png, fits_png};
