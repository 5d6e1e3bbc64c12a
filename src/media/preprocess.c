#include "media/preprocess.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "media/picture.h"
#include "media/resize.h"

/* ---- presets ---- */

typedef struct preset_entry {
    const char *name;
    vipo_preprocess_steps steps;
} preset_entry;

/* AVDC, flowdiffusion: Resize((240,320)) + CenterCrop((128,128)) for Meta-World, Resize((64,64)) for iTHOR,
 * Resize((48,64)) for Bridge. */
static const preset_entry presets[] = {
    {"mw", {2, {{VIPO_PREPROCESS_RESIZE, 240, 320}, {VIPO_PREPROCESS_CROP, 128, 128}}}},
    {"thor", {1, {{VIPO_PREPROCESS_RESIZE, 64, 64}}}},
    {"bridge", {1, {{VIPO_PREPROCESS_RESIZE, 48, 64}}}},
};

static const vipo_preprocess_steps *find_preset(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i].steps;
    return NULL;
}

static void list_presets(char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof presets / sizeof presets[0] && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "", presets[i].name);
}

vipo_status vipo_preprocess_from_preset(vipo_preprocess_steps *out, const char *preset, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const vipo_preprocess_steps *found = find_preset(preset);
    if (!found) {
        char known[64];
        list_presets(known, sizeof known);
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown preset \"%s\", expected one of: %s", preset,
                         known);
    }
    *out = *found;
    return VIPO_OK;
}

/* ---- phrases ---- */

/* What a phrase says; 0 where it says nothing, rows and columns -1. */
typedef struct phrase_numbers {
    int size[2];    /* H, W: of the step or, for a box, of its result */
    int box[2];     /* N, M */
    int rows[2];    /* A, B: first and last row kept */
    int columns[2]; /* C, D */
} phrase_numbers;

static int *slot_of(phrase_numbers *numbers, char capture)
{
    switch (capture) {
    case 'H':
        return &numbers->size[0];
    case 'W':
        return &numbers->size[1];
    case 'N':
        return &numbers->box[0];
    case 'M':
        return &numbers->box[1];
    case 'A':
        return &numbers->rows[0];
    case 'B':
        return &numbers->rows[1];
    case 'C':
        return &numbers->columns[0];
    case 'D':
        return &numbers->columns[1];
    default:
        return NULL;
    }
}

/* Matches all of `text`, case ignored, with a pattern: a capital letter is a number, a space is white
 * space (one or more), '_' is optional white space, [...] is optional and does not nest. */
static bool match(const char *text, const char *pattern, phrase_numbers *numbers)
{
    for (; *pattern; pattern++) {
        int *slot = slot_of(numbers, *pattern);
        if (*pattern == '[') {
            const char *after = strchr(pattern, ']') + 1;
            char with[96];
            snprintf(with, sizeof with, "%.*s%s", (int)(after - pattern - 2), pattern + 1, after);
            const phrase_numbers kept = *numbers;
            if (match(text, with, numbers)) return true;
            *numbers = kept;
            return match(text, after, numbers);
        }
        if (*pattern == ' ' || *pattern == '_') {
            if (*pattern == ' ' && !isspace((unsigned char)*text)) return false;
            while (isspace((unsigned char)*text)) text++;
        } else if (slot) {
            int value = 0, digits = 0;
            for (; digits < 5 && isdigit((unsigned char)*text); digits++)
                value = value * 10 + (*text++ - '0');
            if (digits == 0) return false;
            *slot = value;
        } else {
            if (tolower((unsigned char)*text) != *pattern) return false;
            text++;
        }
    }
    return *text == '\0';
}

enum { DIVIDE = -1 };

static const struct {
    int kind; /* vipo_preprocess_kind or DIVIDE */
    const char *pattern;
} phrases[] = {
    {VIPO_PREPROCESS_RESIZE, "_resize [to ]H_x_W[ bilinear][_(bilinear)][ if it is not][ if needed]_"},
    {VIPO_PREPROCESS_CROP, "_centre crop [to ]H_x_W[_(rows A..B,_columns C..D)]_"},
    {VIPO_PREPROCESS_CROP, "_center crop [to ]H_x_W[_(rows A..B,_columns C..D)]_"},
    {VIPO_PREPROCESS_BOX, "_N_x_M box mean[_(a+b+c+d+2)>>2][ to H_x_W]_"},
    {VIPO_PREPROCESS_BOX, "_box mean N_x_M[_(a+b+c+d+2)>>2][ to H_x_W]_"},
    {DIVIDE, "_/_255_"},
};

/* Follows the size of the picture through the steps; 0x0 while it depends on the input. */
typedef struct traced_size {
    int height, width;
} traced_size;

static vipo_status trace_step(traced_size *size, const vipo_preprocess_step *step, const char *place,
                              vipo_error *error)
{
    const bool known = size->height > 0;
    if (step->kind != VIPO_PREPROCESS_BOX) {
        if (step->kind == VIPO_PREPROCESS_CROP && known &&
            (step->height > size->height || step->width > size->width))
            return vipo_fail(error, VIPO_MISMATCH,
                             "%s: centre crop of %dx%d from %dx%d, expected one that fits", place,
                             step->height, step->width, size->height, size->width);
        *size = (traced_size){step->height, step->width};
        return VIPO_OK;
    }
    if (known && (size->height % step->height != 0 || size->width % step->width != 0))
        return vipo_fail(error, VIPO_MISMATCH, "%s: box mean %dx%d of %dx%d, expected sides that divide",
                         place, step->height, step->width, size->height, size->width);
    if (known) *size = (traced_size){size->height / step->height, size->width / step->width};
    return VIPO_OK;
}

/* A range "first..last" must be what a centre crop keeps. */
static vipo_status check_range(const int range[2], int size, int cropped, const char *what, const char *place,
                               vipo_error *error)
{
    if (range[0] < 0 || size == 0) return VIPO_OK;
    const int first = vipo_crop_offset(size, cropped), last = first + cropped - 1;
    if (range[0] == first && range[1] == last) return VIPO_OK;
    return vipo_fail(error, VIPO_MISMATCH, "%s: %s %d..%d, expected %d..%d, the centre %d of %d", place, what,
                     range[0], range[1], first, last, cropped, size);
}

static bool is_side(int value)
{
    return value >= 1 && value <= VIPO_PICTURE_MAX_SIDE;
}

static vipo_status check_numbers(int kind, const phrase_numbers *numbers, const char *place,
                                 vipo_error *error)
{
    const bool box = kind == VIPO_PREPROCESS_BOX;
    const int *size = box ? numbers->box : numbers->size;
    if (!is_side(size[0]) || !is_side(size[1]))
        return vipo_fail(error, VIPO_FORMAT, "%s: size %dx%d, expected sides of 1..%d", place, size[0],
                         size[1], VIPO_PICTURE_MAX_SIDE);
    if (box && size[0] != size[1])
        return vipo_fail(error, VIPO_FORMAT, "%s: box of %dx%d, expected a square one", place, size[0],
                         size[1]);
    return VIPO_OK;
}

/* Appends the step that `text` says. *divided: "/255" has been seen, which ends the list. */
static vipo_status add_phrase(vipo_preprocess_steps *out, traced_size *size, bool *divided, const char *text,
                              const char *place, vipo_error *error)
{
    const size_t n_phrases = sizeof phrases / sizeof phrases[0];
    phrase_numbers numbers;
    size_t i = 0;
    for (; i < n_phrases; i++) {
        numbers = (phrase_numbers){.rows = {-1, -1}, .columns = {-1, -1}};
        if (match(text, phrases[i].pattern, &numbers)) break;
    }
    if (i == n_phrases)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: unknown step \"%.80s\", expected \"resize to HxW\", \"centre crop HxW\", "
                         "\"NxN box mean\" or \"/255\"",
                         place, text);
    if (*divided)
        return vipo_fail(error, VIPO_FORMAT, "%s: a step after \"/255\", expected it to be the last", place);
    if (phrases[i].kind == DIVIDE) {
        *divided = true;
        return VIPO_OK;
    }
    VIPO_TRY(check_numbers(phrases[i].kind, &numbers, place, error));
    if (out->count == VIPO_PREPROCESS_MAX_STEPS)
        return vipo_fail(error, VIPO_FORMAT, "%s: more than %d steps", place, VIPO_PREPROCESS_MAX_STEPS);

    vipo_preprocess_step *step = &out->steps[out->count++];
    step->kind = (vipo_preprocess_kind)phrases[i].kind;
    const int *said = step->kind == VIPO_PREPROCESS_BOX ? numbers.box : numbers.size;
    step->height = said[0];
    step->width = said[1];
    const traced_size before = *size;
    VIPO_TRY(trace_step(size, step, place, error));
    if (step->kind == VIPO_PREPROCESS_CROP) {
        VIPO_TRY(check_range(numbers.rows, before.height, step->height, "rows", place, error));
        VIPO_TRY(check_range(numbers.columns, before.width, step->width, "columns", place, error));
    }
    if (step->kind == VIPO_PREPROCESS_BOX && numbers.size[0] > 0 && before.height > 0 &&
        (numbers.size[0] != size->height || numbers.size[1] != size->width))
        return vipo_fail(error, VIPO_MISMATCH, "%s: box mean to %dx%d, but the steps give %dx%d", place,
                         numbers.size[0], numbers.size[1], size->height, size->width);
    return VIPO_OK;
}

static vipo_status add_phrases(vipo_preprocess_steps *out, const json_t *list, const char *file,
                               vipo_error *error)
{
    traced_size size = {0, 0};
    bool divided = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[256];
        snprintf(place, sizeof place, "%.200s: image.preprocess[%zu]", file, i);
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) return vipo_fail(error, VIPO_FORMAT, "%s: expected a string", place);
        VIPO_TRY(add_phrase(out, &size, &divided, text, place, error));
    }
    return VIPO_OK;
}

static vipo_status check_result(const vipo_preprocess_steps *steps, int height, int width, const char *file,
                                vipo_error *error)
{
    traced_size size = {0, 0};
    for (int i = 0; i < steps->count; i++) VIPO_TRY(trace_step(&size, &steps->steps[i], file, error));
    if (size.height == 0)
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: image.preprocess leaves the size open, expected steps to %dx%d", file, height,
                         width);
    if (size.height != height || size.width != width)
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: image.preprocess ends at %dx%d, expected the model's %dx%d", file, size.height,
                         size.width, height, width);
    return VIPO_OK;
}

vipo_status vipo_preprocess_from_config(vipo_preprocess_steps *out, const json_t *config_root, int height,
                                        int width, const char *file, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    const json_t *said = json_object_get(json_object_get(config_root, "image"), "preprocess");
    vipo_preprocess_steps steps = {0};
    if (!said || json_is_null(said)) {
        if (height == 128 && width == 128)
            steps = *find_preset("mw");
        else
            steps = (vipo_preprocess_steps){1, {{VIPO_PREPROCESS_RESIZE, height, width}}};
    } else if (json_is_string(said)) {
        const vipo_preprocess_steps *found = find_preset(json_string_value(said));
        char known[64];
        list_presets(known, sizeof known);
        if (!found)
            return vipo_fail(error, VIPO_FORMAT,
                             "%s: image.preprocess: unknown preset \"%.80s\", expected one of: %s", file,
                             json_string_value(said), known);
        steps = *found;
    } else if (json_is_array(said)) {
        VIPO_TRY(add_phrases(&steps, said, file, error));
    } else {
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: image.preprocess: expected a list of steps or the name of a preset", file);
    }
    VIPO_TRY(check_result(&steps, height, width, file, error));
    *out = steps;
    return VIPO_OK;
}

/* ---- use ---- */

static vipo_status run_step(const vipo_preprocess_step *step, const vipo_image *in, vipo_image *out,
                            vipo_error *error)
{
    switch (step->kind) {
    case VIPO_PREPROCESS_RESIZE:
        return vipo_resize_bilinear(in, step->height, step->width, out, error);
    case VIPO_PREPROCESS_CROP:
        return vipo_crop_centre(in, step->height, step->width, out, error);
    case VIPO_PREPROCESS_BOX:
        return vipo_box_mean(in, step->height, out, error);
    }
    return vipo_fail(error, VIPO_INTERNAL, "unknown preprocessing step");
}

vipo_status vipo_preprocess_apply(const vipo_preprocess_steps *steps, const vipo_image *image,
                                  vipo_array *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (!image->data || image->height < VIPO_PREPROCESS_MIN_SIDE || image->width < VIPO_PREPROCESS_MIN_SIDE)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "image of %dx%d (height x width) is too small, expected at least %dx%d",
                         image->height, image->width, VIPO_PREPROCESS_MIN_SIDE, VIPO_PREPROCESS_MIN_SIDE);
    VIPO_TRY(vipo_picture_check_size("image", (size_t)image->height, (size_t)image->width, error));

    vipo_status status = VIPO_OK;
    vipo_image current = *image; /* borrowed until the first step */
    vipo_image owned = {0};
    for (int i = 0; i < steps->count; i++) {
        vipo_image next;
        VIPO_TRY_GOTO(run_step(&steps->steps[i], &current, &next, error), end);
        vipo_image_free(&owned);
        current = owned = next;
    }
    const size_t shape[4] = {1, (size_t)current.height, (size_t)current.width, 3};
    VIPO_TRY_GOTO(vipo_array_alloc(out, 4, shape, error), end);
    const size_t n = vipo_array_size(out);
    for (size_t i = 0; i < n; i++) out->data[i] = (float)current.data[i] / 255.0F;
end:
    vipo_image_free(&owned);
    return status;
}

void vipo_preprocess_describe(const vipo_preprocess_steps *steps, char *out, size_t size)
{
    static const char *const words[] = {"resize", "centre crop", "box mean"};
    size_t used = 0;
    if (size > 0) out[0] = '\0';
    for (int i = 0; i < steps->count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s %dx%d", i > 0 ? ", " : "",
                                 words[steps->steps[i].kind], steps->steps[i].height, steps->steps[i].width);
}

vipo_status vipo_preprocess_preset(const char *preset, const vipo_image *image, vipo_array *out,
                                   vipo_error *error)
{
    memset(out, 0, sizeof *out);
    vipo_preprocess_steps steps;
    VIPO_TRY(vipo_preprocess_from_preset(&steps, preset, error));
    return vipo_preprocess_apply(&steps, image, out, error);
}
