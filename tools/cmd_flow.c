/* vipo flow: how pixels move from one picture to the next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "vipo/action.h"

typedef struct flow_options {
    common_options common;
    vipo_flow_options flow;
    string_list images;
    const char *out, *backward;
} flow_options;

#define AT(member) offsetof(flow_options, member)
static const option own_options[] = {
    {.name = "method",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(flow.method),
     .choice = vipo_flow_method_name,
     .default_text = "unimatch with --model, else dis",
     .help = "how to compute it, see below"},
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(flow.model),
     .help = "unimatch: folder that vipo convert --from unimatch made"},
    {.name = "image",
     .letter = 'i',
     .placeholder = "FILE",
     .kind = OPTION_STRINGS,
     .offset = AT(images),
     .endings = "png jpg jpeg",
     .required = true,
     .help = "PNG or JPEG; give two, or more for the flow from each to the next"},
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .required = true,
     .help = "float32 [H][W][2], x and y in pixels; of more than two pictures [pictures - 1][H][W][2]"},
    {.name = "backward",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(backward),
     .help = "also the flow from the second picture to the first"},
    {.name = "native",
     .kind = OPTION_FLAG,
     .offset = AT(flow.native),
     .help = "unimatch: compute at the pictures' size, not at 480x640 as AVDC does; sides are rounded up to "
             "multiples "
             "of 32"},
    {.name = "compute",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(flow.compute),
     .choice = compute_name,
     .default_text = "the fastest in float32",
     .help = "unimatch: kernels to compute with"},
    {0},
};
static const option_group groups[] = {
    {"Options", own_options, 0}, {"Common", common_option_table, AT(common)}, {0}};
static const glossary methods = {"Methods", vipo_flow_method_name, vipo_flow_method_summary};

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

typedef struct flow_pictures {
    vipo_image images[LIST_CAPACITY];
    int n;
} flow_pictures;

static int read_pictures(tool *t, const string_list *paths, flow_pictures *pictures)
{
    vipo_error error = {0};
    const vipo_image *const first = &pictures->images[0];
    for (int i = 0; i < paths->count; i++) {
        vipo_image *const image = &pictures->images[i];
        if (interrupt_signal()) return tool_interrupted(t);
        if (vipo_image_read(paths->items[i], image, &error) != VIPO_OK) return tool_library_error(t, &error);
        pictures->n++;
        if (image->height != first->height || image->width != first->width)
            return tool_fail(t, "%.300s: %dx%d, expected %dx%d (height x width) as in %.300s",
                             paths->items[i], image->height, image->width, first->height, first->width,
                             paths->items[0]);
    }
    return STATUS_DONE;
}

/* [1][H][W][2] -> [H][W][2] */
static void drop_first_axis(vipo_array *flow)
{
    if (!flow->data || flow->shape[0] != 1) return;
    flow->rank = 3;
    memmove(flow->shape, flow->shape + 1, 3 * sizeof flow->shape[0]);
}

/* Mean and largest length of the vectors. */
static void measure(const vipo_array *flow, double *mean, double *most)
{
    const size_t n = vipo_array_size(flow) / 2;
    *mean = *most = 0;
    for (size_t i = 0; i < n; i++) {
        const double length = hypot((double)flow->data[2 * i], (double)flow->data[2 * i + 1]);
        *mean += length / (double)n;
        if (length > *most) *most = length;
    }
}

static int print_results(tool *t, const flow_options *options, const vipo_flow *flow,
                         const vipo_array *forward, double seconds)
{
    double mean, most;
    measure(forward, &mean, &most);
    if (t->common->json) {
        json_t *const out = json_object();
        json_object_set_new(out, "method", json_text(vipo_flow_method(flow)));
        json_object_set_new(out, "shape", json_shape(forward));
        json_object_set_new(out, "mean_length", json_number(mean));
        json_object_set_new(out, "max_length", json_number(most));
        json_object_set_new(out, "seconds", json_number(seconds));
        json_object_set_new(out, "out", json_text(options->out));
        if (options->backward) json_object_set_new(out, "backward", json_text(options->backward));
        return tool_print_json(t, out);
    }
    progress_erase(&t->bar);
    if (t->common->quiet) return STATUS_DONE;
    printf("%s: vectors of %.2f pixels on average, at most %.2f, in %.3f s\n", vipo_flow_method(flow), mean,
           most, seconds);
    tool_print_file(t, options->out);
    if (options->backward) tool_print_file(t, options->backward);
    return STATUS_DONE;
}

static int write_results(tool *t, const flow_options *options, vipo_array *forward, vipo_array *backward)
{
    vipo_error error = {0};
    drop_first_axis(forward);
    drop_first_axis(backward);
    if (vipo_npy_write(options->out, forward, &error) != VIPO_OK) return tool_library_error(t, &error);
    t->has_written = true;
    if (options->backward && vipo_npy_write(options->backward, backward, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    return STATUS_DONE;
}

static int compute(tool *t, const flow_options *options, const flow_pictures *pictures)
{
    vipo_error error = {0};
    vipo_flow *flow = NULL;
    vipo_array forward = {0}, backward = {0};
    const vipo_callbacks callbacks = tool_callbacks(t);
    int result = STATUS_DONE;
    vipo_status status = vipo_flow_open(&flow, &options->flow, &callbacks, &error);
    const double begun = clock_seconds();
    if (status == VIPO_OK)
        status = vipo_flow_images(flow, pictures->images, pictures->n, &forward,
                                  options->backward ? &backward : NULL, &callbacks, &error);
    const double seconds = clock_seconds() - begun;
    if (status == VIPO_OK)
        result = write_results(t, options, &forward, &backward);
    else
        result = tool_library_error(t, &error);
    if (result == STATUS_DONE) result = print_results(t, options, flow, &forward, seconds);
    vipo_flow_close(&flow);
    vipo_array_free(&forward);
    vipo_array_free(&backward);
    return result;
}

static int run(tool *t, void *values)
{
    flow_options *const options = values;
    if (options->images.count < 2)
        return tool_usage_error(t,
                                "one picture, give --image at least twice: flow leads from each to the next");
    const char *const outputs[] = {options->out, options->backward};
    for (int i = 0; i < 2; i++)
        if (outputs[i] && !ends_in(outputs[i], ".npy"))
            return tool_usage_error(t, "--%s %.300s: the name must end in .npy", i ? "backward" : "out",
                                    outputs[i]);
    const char *const method = options->flow.method;
    if (method && strcmp(method, "unimatch") == 0 && !options->flow.model)
        return tool_usage_error(
            t, "--method unimatch needs --model DIR (vipo convert --from unimatch makes one)");
    if (!options->flow.model && (options->flow.native || options->flow.compute))
        return tool_usage_error(t, "--%s is for --method unimatch --model DIR",
                                options->flow.native ? "native" : "compute");
    if (method && strcmp(method, "dis") == 0 && options->flow.model)
        return tool_usage_error(t, "--method dis takes no --model");
    const int checked = tool_check_outputs(t, outputs, 2);
    if (checked != STATUS_DONE) return checked;
    options->flow.threads = options->common.threads;

    flow_pictures pictures = {.n = 0};
    int result = read_pictures(t, &options->images, &pictures);
    if (result == STATUS_DONE) result = compute(t, options, &pictures);
    for (int i = 0; i < pictures.n; i++) vipo_image_free(&pictures.images[i]);
    return result;
}

const command command_flow = {
    .name = "flow",
    .summary = "two pictures -> optical flow between them",
    .usage = "[--method NAME] [--model DIR] --image A --image B --out FILE.npy [options]",
    .description = "Finds for every pixel of the first picture where it is in the second one.",
    .groups = groups,
    .glossary = &methods,
    .examples = "vipo flow -i a.png -i b.png -o F.npy\n"
                "vipo flow --method unimatch -m models/flow -i a.png -i b.png -o F.npy\n"
                "vipo flow -i 0.png -i 1.png -i 2.png -o F.npy --backward B.npy",
    .values_size = sizeof(flow_options),
    .common = AT(common),
    .run = run,
};
