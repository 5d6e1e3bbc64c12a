/* vipo convert: a published checkpoint -> model folder. */
#include <string.h>

#include "commands.h"
#include "vipo/action.h"

typedef struct convert_options {
    common_options common;
    vipo_convert_options convert;
    const char *out;
} convert_options;

static const char *format_name(int i)
{
    static const char *const names[] = {"avdc", "safetensors", "gcp", "unimatch"};
    return i < 4 ? names[i] : NULL;
}

static const char *preset_name(int i)
{
    static const char *const names[] = {"mw", "thor", "bridge"};
    return i < 3 ? names[i] : NULL;
}

static const char *weights_name(int i)
{
    static const char *const names[] = {"ema", "online"};
    return i < 2 ? names[i] : NULL;
}

static const char *dtype_name(int i)
{
    static const char *const names[] = {"f32", "f16", "bf16"};
    return i < 3 ? names[i] : NULL;
}

#define AT(member) offsetof(convert_options, member)
static const option input_options[] = {
    {.name = "from",
     .placeholder = "FORMAT",
     .kind = OPTION_CHOICE,
     .offset = AT(convert.from),
     .choice = format_name,
     .help = "avdc: a checkpoint of AVDC's trainer (model-N.pt); safetensors: its network alone; gcp: a "
             "goal-conditioned policy (model-N.pt or its tensors); unimatch: the optical flow network "
             "gmflow-scale2-regrefine6 (.pth), for vipo flow"},
    {.name = "checkpoint",
     .letter = 'c',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(convert.checkpoint),
     .endings = "pt pth safetensors",
     .required = true,
     .help = "the file; it is read as data, nothing in it is run"},
    {.name = "weights",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(convert.weights),
     .choice = weights_name,
     .help = "which of a checkpoint's two sets; AVDC and GCP sample with ema"},
    {.name = "clip",
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(convert.clip),
     .default_text = "none, the model is then used with --tokens",
     .help = "Hugging Face folder of the CLIP text encoder: config.json, model.safetensors or "
             "pytorch_model.bin, vocab.json, merges.txt"},
    {0},
};
static const option shape_options[] = {
    {.name = "preset",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(convert.preset),
     .choice = preset_name,
     .help = "sizes and preprocessing of one of AVDC's released models"},
    {.name = "config",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(convert.config),
     .endings = "json",
     .help =
         "or of this JSON file, like a model folder's config.json; of gcp what differs from the published "
         "policy and does not follow from the tensors"},
    {.name = "frames",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(convert.frames),
     .min = 1,
     .max = 64,
     .default_text = "those of the preset or file",
     .help = "future frames of a plan"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .required = true,
     .help = "the model folder to make"},
    {.name = "dtype",
     .placeholder = "TYPE",
     .kind = OPTION_CHOICE,
     .offset = AT(convert.dtype),
     .choice = dtype_name,
     .help = "of the weights in the folder"},
    {.name = "force",
     .kind = OPTION_FLAG,
     .offset = AT(convert.force),
     .help = "replace the model in a folder that is not empty; other files in it stay"},
    {0},
};
static const option_group groups[] = {{"Input", input_options, 0},
                                      {"Model", shape_options, 0},
                                      {"Output", output_options, 0},
                                      {"Common", common_option_table, AT(common)},
                                      {0}};

static void set_defaults(void *values)
{
    vipo_convert_default_options(&((convert_options *)values)->convert);
}

static int print_result(tool *t, const convert_options *options, const vipo_model_info *info)
{
    char size[32];
    const double bytes = (double)(info->unet_file_bytes + info->text_file_bytes);
    if (t->common->json) {
        json_t *const out = json_object();
        json_object_set_new(out, "out", json_text(options->out));
        json_object_set_new(out, "parameters", json_integer((json_int_t)info->unet_parameters));
        json_object_set_new(out, "dtype", json_text(info->unet_dtype));
        json_object_set_new(out, "height", json_integer(info->height));
        json_object_set_new(out, "width", json_integer(info->width));
        json_object_set_new(out, "frames", json_integer(info->frames));
        json_object_set_new(out, "text_encoder", json_boolean(info->has_text_encoder));
        json_object_set_new(out, "bytes", json_integer((json_int_t)bytes));
        return tool_print_json(t, out);
    }
    if (t->common->quiet) return STATUS_DONE;
    print_safe(stdout, options->out);
    printf(": %zu parameters, %s, %d frames of %dx%d, %s text encoder, %s\n", info->unet_parameters,
           info->unet_dtype, info->frames, info->width, info->height,
           info->has_text_encoder ? "with" : "without", format_bytes(bytes, size, sizeof size));
    return STATUS_DONE;
}

static int print_policy(tool *t, const convert_options *options, const vipo_goal_policy_info *info)
{
    char size[32];
    if (t->common->json) {
        json_t *const out = json_object();
        json_object_set_new(out, "out", json_text(options->out));
        json_object_set_new(out, "kind", json_text(info->kind));
        json_object_set_new(out, "parameters", json_integer((json_int_t)info->parameters));
        json_object_set_new(out, "dtype", json_text(info->dtype));
        json_object_set_new(out, "height", json_integer(info->height));
        json_object_set_new(out, "width", json_integer(info->width));
        json_object_set_new(out, "vector_dim", json_integer(info->vector_dim));
        json_object_set_new(out, "horizon", json_integer(info->horizon));
        json_object_set_new(out, "action_dim", json_integer(info->action_dim));
        json_object_set_new(out, "bytes", json_integer((json_int_t)info->file_bytes));
        return tool_print_json(t, out);
    }
    if (t->common->quiet) return STATUS_DONE;
    print_safe(stdout, options->out);
    printf(": %zu parameters, %s, %d actions of %d numbers from pictures of %dx%d, %s\n", info->parameters,
           info->dtype, info->horizon, info->action_dim, info->width, info->height,
           format_bytes((double)info->file_bytes, size, sizeof size));
    return STATUS_DONE;
}

static int run_policy(tool *t, const convert_options *options)
{
    vipo_error error = {0};
    vipo_goal_policy_info info;
    if (vipo_convert(options->out, &options->convert, &error) != VIPO_OK ||
        vipo_goal_policy_read_info(options->out, &info, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    progress_erase(&t->bar);
    return print_policy(t, options, &info);
}

static int print_flow(tool *t, const convert_options *options, const vipo_flow_info *info)
{
    char size[32];
    if (t->common->json) {
        json_t *const out = json_object();
        json_object_set_new(out, "out", json_text(options->out));
        json_object_set_new(out, "network", json_text(info->network));
        json_object_set_new(out, "parameters", json_integer((json_int_t)info->parameters));
        json_object_set_new(out, "dtype", json_text(info->dtype));
        json_object_set_new(out, "height", json_integer(info->height));
        json_object_set_new(out, "width", json_integer(info->width));
        json_object_set_new(out, "bytes", json_integer((json_int_t)info->file_bytes));
        return tool_print_json(t, out);
    }
    if (t->common->quiet) return STATUS_DONE;
    print_safe(stdout, options->out);
    printf(": %s, %zu parameters, %s, optical flow at %dx%d, %s\n", info->network, info->parameters,
           info->dtype, info->width, info->height, format_bytes((double)info->file_bytes, size, sizeof size));
    return STATUS_DONE;
}

static int run_flow(tool *t, convert_options *options)
{
    static const char *const others[] = {"weights", "clip", "preset", "config", "frames"};
    vipo_error error = {0};
    vipo_flow_info info;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (option_was_given(t->use, others[i]))
            return tool_usage_error(t, "--%s is not for --from unimatch", others[i]);
    options->convert.callbacks = tool_callbacks(t);
    if (vipo_convert(options->out, &options->convert, &error) != VIPO_OK ||
        vipo_flow_read_info(options->out, &info, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    progress_erase(&t->bar);
    return print_flow(t, options, &info);
}

static int run(tool *t, void *values)
{
    convert_options *const options = values;
    if (strcmp(options->convert.from, "unimatch") == 0) return run_flow(t, options);
    if (strcmp(options->convert.from, "gcp") == 0) {
        if (options->convert.preset || options->convert.clip || options->convert.frames > 0)
            return tool_usage_error(t, "--%s is not for a policy",
                                    options->convert.preset ? "preset"
                                    : options->convert.clip ? "clip"
                                                            : "frames");
        options->convert.callbacks = tool_callbacks(t);
        return run_policy(t, options);
    }
    if (!options->convert.preset == !options->convert.config)
        return tool_usage_error(t, "give one of --preset NAME and --config FILE");
    if (strcmp(options->convert.from, "safetensors") == 0 && option_was_given(t->use, "weights"))
        return tool_usage_error(t, "--weights is for --from avdc: a safetensors file holds one set of them");
    vipo_error error = {0};
    vipo_model_info info;
    options->convert.callbacks = tool_callbacks(t);
    if (vipo_convert(options->out, &options->convert, &error) != VIPO_OK ||
        vipo_model_read_info(options->out, &info, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    progress_erase(&t->bar);
    return print_result(t, options, &info);
}

const command command_convert = {
    .name = "convert",
    .summary = "published checkpoint -> model folder",
    .usage = "--checkpoint FILE --preset NAME | --config FILE | --from gcp|unimatch --out DIR [options]",
    .description =
        "Makes a model folder from a checkpoint that AVDC's trainer wrote, or from its network in a "
        "safetensors file, and a Hugging Face folder of CLIP; or a policy folder from a checkpoint of GCP's. "
        "Every tensor is checked by name, shape and "
        "type; "
        "the folder appears when it is complete and opens as a model. With --from unimatch it holds the "
        "optical "
        "flow network that AVDC uses.",
    .groups = groups,
    .examples =
        "vipo convert --from avdc -c model-24.pt --clip clip-vit-base-patch32 --preset mw -o models/mw\n"
        "vipo convert -c model-24.pt --preset thor --dtype f16 -o models/thor\n"
        "vipo convert --from safetensors -c unet.safetensors --config sizes.json -o models/mine\n"
        "vipo convert --from gcp -c model-4.pt -o policies/libero\n"
        "vipo convert --from unimatch -c gmflow-scale2-regrefine6.pth -o models/flow",
    .values_size = sizeof(convert_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
