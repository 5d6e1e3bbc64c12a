/* vipo encode-text: text -> token ids and text features. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"

enum { MAX_TOKENS = 77 }; /* positions of CLIP's text encoder */

typedef struct encode_options {
    common_options common;
    const char *model, *compute, *text, *out;
    bool ids_only;
} encode_options;

#define AT(member) offsetof(encode_options, member)
static const option input_options_here[] = {
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(model),
     .required = true,
     .help = "model folder; ids need vocab.json and merges.txt only"},
    {.name = "text",
     .letter = 't',
     .placeholder = "TEXT",
     .kind = OPTION_STRING,
     .offset = AT(text),
     .required = true,
     .help = "UTF-8"},
    {.name = "compute",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(compute),
     .choice = compute_name,
     .default_text = "$VIPO_COMPUTE, else the fastest in float32",
     .help = "kernels: ref, avx2, avx512 or amx"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .help = "text features, float32 [1][L][C]: input for --tokens of plan and denoise"},
    {.name = "ids-only",
     .kind = OPTION_FLAG,
     .offset = AT(ids_only),
     .help = "token ids and no features (as without --out)"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_options_here, 0},
    {"Output", output_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static vipo_status encode(tool *t, const encode_options *options, vipo_array *features, vipo_error *error)
{
    vipo_model *model = NULL;
    vipo_planner *planner = NULL;
    const vipo_callbacks callbacks = tool_callbacks(t);
    vipo_model_options model_options;
    vipo_planner_options planner_options;
    vipo_model_default_options(&model_options);
    model_options.threads = t->common->threads;
    vipo_planner_default_options(&planner_options);
    model_options.compute = options->compute;
    planner_options.threads = t->common->threads;
    model_options.parts = VIPO_MODEL_TEXT;
    model_options.callbacks = &callbacks;
    vipo_status status = vipo_model_open(&model, options->model, &model_options, error);
    if (status == VIPO_OK) status = vipo_planner_open(&planner, model, &planner_options, error);
    if (status == VIPO_OK)
        status = vipo_planner_encode_text(planner, options->text, NULL, NULL, features, &callbacks, error);
    if (status == VIPO_OK) status = vipo_npy_write(options->out, features, error);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    return status;
}

static int print_json(tool *t, const encode_options *options, const int32_t *ids, int count, bool truncated,
                      const vipo_array *features)
{
    json_t *const out = json_object(), *const list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    json_object_set_new(out, "ids", list);
    json_object_set_new(out, "count", json_integer(count));
    json_object_set_new(out, "truncated", json_boolean(truncated));
    json_object_set_new(out, "shape", features->data ? json_shape(features) : json_null());
    json_object_set_new(out, "out", options->out ? json_text(options->out) : json_null());
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    const encode_options *const options = values;
    if (options->out && options->ids_only)
        return tool_usage_error(t, "--ids-only makes no features for --out, give one of them");
    if (options->out) {
        const size_t length = strlen(options->out);
        if (length < 4 || strcmp(options->out + length - 4, ".npy") != 0)
            return tool_usage_error(t, "--out %.300s: the name must end in .npy", options->out);
        if (tool_check_outputs(t, &options->out, 1) != STATUS_DONE) return STATUS_FAILED;
    }

    int32_t ids[MAX_TOKENS];
    int count = 0;
    bool truncated = false;
    vipo_array features = {0};
    vipo_error error = {0};
    vipo_status status =
        vipo_tokenize(options->model, options->text, MAX_TOKENS, ids, MAX_TOKENS, &count, &truncated, &error);
    if (status == VIPO_OK && options->out) status = encode(t, options, &features, &error);
    if (status != VIPO_OK) {
        vipo_array_free(&features);
        return tool_library_error(t, &error);
    }
    if (truncated && !options->out) /* else the library has said so */
        tool_warn(t, "the text has more than %d tokens and was cut", MAX_TOKENS);

    int result = STATUS_DONE;
    if (t->common->json) {
        result = print_json(t, options, ids, count, truncated, &features);
    } else {
        progress_erase(&t->bar);
        for (int i = 0; i < count; i++) printf("%s%d", i ? " " : "", (int)ids[i]);
        printf("\n");
        if (options->out) tool_print_file(t, options->out);
    }
    vipo_array_free(&features);
    return result;
}

const command command_encode_text = {
    .name = "encode-text",
    .summary = "text -> token ids and text features",
    .usage = "--model DIR --text TEXT [--out FILE.npy] [options]",
    .description =
        "Prints the token ids of a text, begin and end token included, and writes the features that "
        "the text encoder makes of them.",
    .groups = groups,
    .examples = "vipo encode-text -m models/metaworld-64 -t \"door open\"\n"
                "vipo encode-text -m models/metaworld-64 -t \"door open\" -o K.npy --json",
    .values_size = sizeof(encode_options),
    .common = AT(common),
    .run = run,
};
