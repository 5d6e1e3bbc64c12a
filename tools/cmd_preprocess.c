/* vipo preprocess: a camera picture -> the condition frame that a model sees. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"

typedef struct preprocess_options {
    common_options common;
    const char *model, *preset, *image, *out;
} preprocess_options;

/* The presets that vipo_preprocess_preset knows. */
static const char *preset_name(int i)
{
    static const char *const names[] = {"mw", "thor", "bridge"};
    return i < 3 ? names[i] : NULL;
}

#define AT(member) offsetof(preprocess_options, member)
static const option own_options[] = {
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(model),
     .help = "as this model folder's config.json says"},
    {.name = "preset",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(preset),
     .choice = preset_name,
     .help = "or as AVDC does for one of its data sets"},
    {.name = "image",
     .letter = 'i',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(image),
     .endings = "png jpg jpeg",
     .required = true,
     .help = "PNG or JPEG"},
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .endings = "npy png",
     .required = true,
     .help = ".npy: float32 [1][H][W][3] in [0,1]; .png: to look at"},
    {0},
};
static const option_group groups[] = {
    {"Options", own_options, 0}, {"Common", common_option_table, AT(common)}, {0}};

/* cond [1][H][W][3] in [0,1] -> 8 bit */
static vipo_status write_png(const char *path, const vipo_array *cond, vipo_error *error)
{
    const size_t n = vipo_array_size(cond);
    vipo_image image = {malloc(n), (int)cond->shape[1], (int)cond->shape[2]};
    if (!image.data) {
        *error = (vipo_error){VIPO_OUT_OF_MEMORY, "out of memory for the picture"};
        return VIPO_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < n; i++) image.data[i] = (uint8_t)lrintf(255 * fminf(fmaxf(cond->data[i], 0), 1));
    const vipo_status status = vipo_image_write_png(path, &image, error);
    free(image.data);
    return status;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static int print_results(tool *t, const char *path, const vipo_array *cond)
{
    if (!t->common->json) {
        if (!t->common->quiet) printf("%zux%zu  ", cond->shape[2], cond->shape[1]);
        tool_print_file(t, path);
        return STATUS_DONE;
    }
    json_t *const out = json_object();
    json_object_set_new(out, "shape", json_shape(cond));
    json_object_set_new(out, "out", json_text(path));
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    const preprocess_options *const options = values;
    if (!options->model == !options->preset)
        return tool_usage_error(t, "give one of --model DIR and --preset NAME");
    const bool png = ends_in(options->out, ".png");
    if (!png && !ends_in(options->out, ".npy"))
        return tool_usage_error(t, "--out %.300s: the name must end in .npy or .png", options->out);
    if (tool_check_outputs(t, &options->out, 1) != STATUS_DONE) return STATUS_FAILED;

    vipo_error error = {0};
    vipo_image image = {0};
    vipo_array cond = {0};
    vipo_status status = vipo_image_read(options->image, &image, &error);
    if (status == VIPO_OK)
        status = options->model ? vipo_preprocess_folder(options->model, &image, &cond, &error)
                                : vipo_preprocess_preset(options->preset, &image, &cond, &error);
    if (interrupt_signal()) status = VIPO_CANCELLED;
    if (status == VIPO_OK)
        status = png ? write_png(options->out, &cond, &error) : vipo_npy_write(options->out, &cond, &error);
    const int result =
        status == VIPO_OK ? print_results(t, options->out, &cond) : tool_library_error(t, &error);
    vipo_image_free(&image);
    vipo_array_free(&cond);
    return result;
}

const command command_preprocess = {
    .name = "preprocess",
    .summary = "camera picture -> the frame that the model sees",
    .usage = "--model DIR | --preset NAME --image FILE --out FILE [options]",
    .description = "Resizes and crops a picture as a model expects it.",
    .groups = groups,
    .examples = "vipo preprocess -m models/metaworld-64 -i frame.png -o C.npy\n"
                "vipo preprocess --preset mw -i frame.png -o look.png",
    .values_size = sizeof(preprocess_options),
    .common = AT(common),
    .run = run,
};
