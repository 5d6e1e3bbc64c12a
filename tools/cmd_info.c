/* vipo info: what a model folder, a .safetensors file or a PyTorch checkpoint holds; reads headers only. */
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "policy_info.h"
#include "vipo/action.h"

typedef struct info_options {
    common_options common;
} info_options;

static const option_group groups[] = {{"Common", common_option_table, offsetof(info_options, common)}, {0}};

/* ---- a model folder -------------------------------------------------------------------------------- */

static void print_ints(const char *title, const int *values, int n)
{
    printf("%-16s", title);
    for (int i = 0; i < n; i++) printf("%s%d", i ? ", " : "", values[i]);
    printf("%s\n", n == 0 ? "none" : "");
}

static void print_weights(const char *title, size_t parameters, const char *dtype, size_t file_bytes)
{
    char bytes[32];
    printf("%-16s%zu parameters, %s, %s\n", title, parameters, dtype,
           format_bytes((double)file_bytes, bytes, sizeof bytes));
}

/* Of draft-target-lazy. */
static void print_calibration(const vipo_calibration *c)
{
    if (c->draft_stride == 0) return;
    printf("%-16sdraft-target-lazy %d/%d, measured on %d plan%s\n%-16s", "calibration", c->draft_stride,
           c->target_stride, c->plans, c->plans == 1 ? "" : "s", "  ratios");
    for (int i = 0; i < c->n_ratios; i++)
        printf("%s%.3g%s",
               i == 0   ? ""
               : i % 10 ? ", "
                        : ",\n                ",
               c->ratios[i], i + 1 == c->n_ratios ? "\n" : "");
}

static void print_model(const vipo_model_info *m)
{
    printf("%-16s%s\n", "name", m->name);
    printf("%-16s%d frames of %dx%d\n", "video", m->frames, m->width, m->height);
    printf("%-16s%s\n", "preprocess", m->preprocess);
    printf("%-16s%d timesteps, %s\n", "diffusion", m->timesteps, m->objective);
    print_calibration(&m->calibration);
    print_weights("network", m->unet_parameters, m->unet_dtype, m->unet_file_bytes);
    printf("%-16s%d\n", "  channels", m->model_channels);
    print_ints("  levels", m->channel_mult, m->levels);
    printf("%-16s%d per level\n", "  blocks", m->res_blocks);
    print_ints("  attention at", m->attention_ds, m->attention_levels);
    printf("%-16s%d channels\n", "  head", m->head_channels);
    printf("%-16s%d channels\n", "  task tokens", m->token_channels);
    if (m->has_text_encoder) {
        print_weights("text encoder", m->text_parameters, m->text_dtype, m->text_file_bytes);
        printf("%-16s%d\n%-16s%d\n%-16s%d\n", "  width", m->text_width, "  layers", m->text_layers,
               "  vocabulary", m->vocabulary);
    } else {
        printf("%-16snone (give --tokens in place of --text)\n", "text encoder");
    }
}

/* How the convolutions are computed on this machine; nothing if that cannot be told. */
static bool read_methods(tool *t, const char *folder, vipo_methods *out)
{
    vipo_error error = {0};
    if (vipo_model_read_methods(folder, NULL, out, &error) == VIPO_OK) return true;
    tool_warn(t, "methods: %s", error.message);
    return false;
}

static void print_methods(const vipo_methods *m)
{
    printf("%-16s%s, kernels %s\n", "methods", m->name, m->compute);
    for (int i = 0; i < m->n_layers; i++) {
        const vipo_layer_method *l = &m->layers[i];
        printf("  %-14s%4d ->%5d  %d x %3d x %3d  %2dx  %s", l->kind, l->in, l->out, l->frames, l->height,
               l->width, l->uses, l->method);
        if (l->seconds > 0) printf("  %.2f ms", 1000 * l->seconds);
        putchar('\n');
    }
}

static json_t *methods_json(const vipo_methods *m)
{
    json_t *const out = json_object(), *const layers = json_array();
    for (int i = 0; i < m->n_layers; i++) {
        const vipo_layer_method *l = &m->layers[i];
        json_t *const layer = json_object();
        json_object_set_new(layer, "kind", json_text(l->kind));
        json_object_set_new(layer, "in", json_integer(l->in));
        json_object_set_new(layer, "out", json_integer(l->out));
        json_object_set_new(layer, "frames", json_integer(l->frames));
        json_object_set_new(layer, "height", json_integer(l->height));
        json_object_set_new(layer, "width", json_integer(l->width));
        json_object_set_new(layer, "uses", json_integer(l->uses));
        json_object_set_new(layer, "method", json_text(l->method));
        json_object_set_new(layer, "seconds", l->seconds > 0 ? json_number(l->seconds) : json_null());
        json_array_append_new(layers, layer);
    }
    json_object_set_new(out, "compute", json_text(m->compute));
    json_object_set_new(out, "name", json_text(m->name));
    json_object_set_new(out, "layers", layers);
    return out;
}

static json_t *json_ints(const int *values, int n)
{
    json_t *const list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(values[i]));
    return list;
}

static json_t *json_doubles(const double *values, int n)
{
    json_t *const list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_number(values[i]));
    return list;
}

static json_t *calibration_json(const vipo_calibration *c)
{
    if (c->draft_stride == 0) return json_null();
    json_t *const out = json_object();
    json_object_set_new(out, "draft_stride", json_integer(c->draft_stride));
    json_object_set_new(out, "target_stride", json_integer(c->target_stride));
    json_object_set_new(out, "plans", json_integer(c->plans));
    json_object_set_new(out, "ratios", json_doubles(c->ratios, c->n_ratios));
    json_object_set_new(out, "log_spread", json_doubles(c->log_spread, c->n_ratios));
    return out;
}

static json_t *model_json(const vipo_model_info *m)
{
    json_t *const out = json_object(), *const unet = json_object();
    json_object_set_new(out, "name", json_text(m->name));
    json_object_set_new(out, "height", json_integer(m->height));
    json_object_set_new(out, "width", json_integer(m->width));
    json_object_set_new(out, "frames", json_integer(m->frames));
    json_object_set_new(out, "preprocess", json_text(m->preprocess));
    json_object_set_new(out, "timesteps", json_integer(m->timesteps));
    json_object_set_new(out, "objective", json_text(m->objective));
    json_object_set_new(out, "calibration", calibration_json(&m->calibration));
    json_object_set_new(unet, "parameters", json_integer((json_int_t)m->unet_parameters));
    json_object_set_new(unet, "dtype", json_text(m->unet_dtype));
    json_object_set_new(unet, "file_bytes", json_integer((json_int_t)m->unet_file_bytes));
    json_object_set_new(unet, "tensors", json_integer(m->n_tensors));
    json_object_set_new(unet, "model_channels", json_integer(m->model_channels));
    json_object_set_new(unet, "channel_mult", json_ints(m->channel_mult, m->levels));
    json_object_set_new(unet, "res_blocks", json_integer(m->res_blocks));
    json_object_set_new(unet, "attention_ds", json_ints(m->attention_ds, m->attention_levels));
    json_object_set_new(unet, "head_channels", json_integer(m->head_channels));
    json_object_set_new(unet, "token_channels", json_integer(m->token_channels));
    json_object_set_new(out, "unet", unet);
    if (m->has_text_encoder) {
        json_t *const text = json_object();
        json_object_set_new(text, "parameters", json_integer((json_int_t)m->text_parameters));
        json_object_set_new(text, "dtype", json_text(m->text_dtype));
        json_object_set_new(text, "file_bytes", json_integer((json_int_t)m->text_file_bytes));
        json_object_set_new(text, "width", json_integer(m->text_width));
        json_object_set_new(text, "layers", json_integer(m->text_layers));
        json_object_set_new(text, "vocabulary", json_integer(m->vocabulary));
        json_object_set_new(out, "text_encoder", text);
    } else {
        json_object_set_new(out, "text_encoder", json_null());
    }
    return out;
}

/* ---- a file of tensors ----------------------------------------------------------------------------- */

typedef struct listing {
    json_t *tensors; /* NULL: print lines */
    size_t count, elements, bytes;
    int width; /* of the longest name; 0: still to be found */
} listing;

static void measure_tensor(void *user, const vipo_tensor_info *info)
{
    listing *const l = user;
    size_t elements = 1;
    for (int i = 0; i < info->rank; i++) elements *= info->shape[i];
    l->count++;
    l->elements += elements;
    l->bytes += info->bytes;
    if ((int)strlen(info->name) > l->width) l->width = (int)strlen(info->name);
}

static void print_tensor(void *user, const vipo_tensor_info *info)
{
    const listing *const l = user;
    print_safe(stdout, info->name);
    printf("%*s  %-5s [", l->width - (int)strlen(info->name), "", info->dtype);
    for (int i = 0; i < info->rank; i++) printf("%s%zu", i ? ", " : "", info->shape[i]);
    printf("]\n");
}

static void collect_tensor(void *user, const vipo_tensor_info *info)
{
    json_t *const tensor = json_object(), *const shape = json_array();
    for (int i = 0; i < info->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)info->shape[i]));
    json_object_set_new(tensor, "name", json_text(info->name));
    json_object_set_new(tensor, "dtype", json_text(info->dtype));
    json_object_set_new(tensor, "shape", shape);
    json_object_set_new(tensor, "bytes", json_integer((json_int_t)info->bytes));
    json_array_append_new(((listing *)user)->tensors, tensor);
}

static int list_file(tool *t, const char *path)
{
    listing l = {0};
    vipo_error error = {0};
    if (vipo_weights_list(path, measure_tensor, &l, &error) != VIPO_OK) return tool_library_error(t, &error);
    if (l.width > 100) l.width = 100;
    if (t->common->json) l.tensors = json_array();
    if (vipo_weights_list(path, l.tensors ? collect_tensor : print_tensor, &l, &error) != VIPO_OK) {
        json_decref(l.tensors);
        return tool_library_error(t, &error);
    }
    if (!t->common->json) {
        char bytes[32];
        printf("%zu tensors, %zu elements, %s\n", l.count, l.elements,
               format_bytes((double)l.bytes, bytes, sizeof bytes));
        return STATUS_DONE;
    }
    json_t *const out = json_object();
    json_object_set_new(out, "tensors", l.tensors);
    json_object_set_new(out, "count", json_integer((json_int_t)l.count));
    json_object_set_new(out, "elements", json_integer((json_int_t)l.elements));
    json_object_set_new(out, "bytes", json_integer((json_int_t)l.bytes));
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    (void)values;
    const char *const path = t->use->arguments.items[0];
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) return list_file(t, path);
    if (vipo_goal_policy_is(path)) return policy_info(t, path);
    vipo_model_info model;
    vipo_error error = {0};
    if (vipo_model_read_info(path, &model, &error) != VIPO_OK) return tool_library_error(t, &error);
    vipo_methods methods = {0};
    const bool wanted = t->common->json || t->common->verbose;
    const bool known = wanted && read_methods(t, path, &methods);
    int status = STATUS_DONE;
    if (t->common->json) {
        json_t *const out = model_json(&model);
        json_object_set_new(out, "methods", known ? methods_json(&methods) : json_null());
        status = tool_print_json(t, out);
    } else {
        print_model(&model);
        if (known) print_methods(&methods);
    }
    vipo_methods_free(&methods);
    return status;
}

const command command_info = {
    .name = "info",
    .summary = "what a model folder or a file of tensors holds",
    .usage = "DIR|FILE [options]",
    .description =
        "Prints the configuration and the sizes of a model folder, or the tensors of a .safetensors file or "
        "a PyTorch checkpoint (.pt). Only headers are read, and nothing in a checkpoint is run. With "
        "--verbose or --json also how each convolution of a model is computed on this machine.",
    .groups = groups,
    .examples = "vipo info models/metaworld-64\n"
                "vipo info models/metaworld-64/unet.safetensors --json",
    .values_size = sizeof(info_options),
    .common = offsetof(info_options, common),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
