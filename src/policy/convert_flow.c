/* The published checkpoint of the optical flow network (.pth: {"model": {name: tensor}}) -> a folder for vipo flow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/folder_output.h"
#include "core/log.h"
#include "policy/convert_tensors.h"
#include "policy/flow_folder.h"
#include "policy/model.h"
#include "vipo/action.h"

/* AVDC's inference size. */
static const vipo_flow_config avdc_config = {480, 640};

typedef struct flow_conversion {
    const vipo_convert_options *options;
    vipo_dtype dtype;
    vipo_weight_file *file;
    vipo_weight_reader reader;
    vipo_tensor_list list;
    vipo_folder_output folder;
} flow_conversion;

static vipo_status check_options(flow_conversion *c, vipo_error *error)
{
    const vipo_convert_options *o = c->options;
    if (!o->checkpoint) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a conversion needs a checkpoint");
    const char *const odd = o->preset   ? "preset"
                            : o->config ? "config"
                            : o->clip   ? "clip"
                            : o->frames ? "frames"
                                        : NULL;
    if (odd) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "from unimatch: %s is not for optical flow", odd);
    return vipo_convert_dtype(o->dtype, &c->dtype, error);
}

/* Under which names the file holds the network. */
static vipo_status find_prefix(const flow_conversion *c, const char **prefix, vipo_error *error)
{
    static const char *const prefixes[] = {"model/", "", "model/module.", "module."};
    char name[96];
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        snprintf(name, sizeof name, "%sbackbone.conv1.weight", prefixes[i]);
        *prefix = prefixes[i];
        if (vipo_weight_file_find(c->file, name)) return VIPO_OK;
    }
    return vipo_fail(error, VIPO_MISMATCH,
                     "%s: holds no optical flow network: expected the tensors of UniMatch's "
                     "gmflow-scale2-regrefine6, model[\"backbone.conv1.weight\"] ...",
                     c->options->checkpoint);
}

static vipo_status open_checkpoint(flow_conversion *c, vipo_error *error)
{
    const char *prefix, *path = c->options->checkpoint;
    VIPO_TRY(vipo_weight_file_open(&c->file, path, error));
    VIPO_TRY(find_prefix(c, &prefix, error));
    VIPO_TRY(vipo_weight_reader_open(&c->reader, c->file, prefix, error));
    VIPO_TRY(vipo_tensor_list_unimatch(&c->list, error));
    return vipo_convert_check(&c->list, c->file, path, prefix, false, error);
}

static vipo_status write_config(const flow_conversion *c, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    const char *checkpoint = strrchr(c->options->checkpoint, '/');
    VIPO_TRY(vipo_folder_output_file(&c->folder, "config.json", path, sizeof path, error));
    json_t *origin = json_pack("{s:s, s:s*}", "format", c->options->from, "file",
                               checkpoint ? checkpoint + 1 : c->options->checkpoint);
    json_t *root = vipo_flow_config_json(&avdc_config, vipo_convert_dtype_text(c->dtype), origin);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(origin);
    json_decref(root);
    if (!text) return vipo_fail_memory(error, 0, "config.json");
    const size_t length = strlen(text);
    text[length] = '\n'; /* in place of the terminating zero */
    const vipo_status status = vipo_file_write(path, text, length + 1, error);
    free(text);
    return status;
}

static vipo_status write_folder(flow_conversion *c, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    vipo_convert_progress progress = {.callbacks = &c->options->callbacks, .total = VIPO_UNIMATCH_PARAMETERS};
    VIPO_TRY(vipo_folder_output_file(&c->folder, VIPO_FLOW_WEIGHTS, path, sizeof path, error));
    VIPO_TRY(vipo_convert_copy(&c->list, &c->reader, path, c->dtype, &progress, error));
    return write_config(c, error);
}

/* Opens the result as a user would. */
static vipo_status verify(const flow_conversion *c, vipo_error *error)
{
    vipo_flow_config config;
    vipo_unimatch *net;
    VIPO_TRY(vipo_flow_folder_open(c->folder.temporary, &config, &net, &(vipo_packer){.ops = &vipo_ops_ref},
                                   &c->options->callbacks, error));
    vipo_unimatch_close(&net);
    return VIPO_OK;
}

static vipo_status convert(flow_conversion *c, const char *folder, vipo_error *error)
{
    static const char *const none[] = {NULL};
    VIPO_TRY(check_options(c, error));
    VIPO_TRY(vipo_folder_output_open(&c->folder, folder, c->options->force, error));
    VIPO_TRY(open_checkpoint(c, error));
    VIPO_TRY(write_folder(c, error));
    VIPO_TRY(verify(c, error));
    VIPO_TRY(vipo_check_cancelled(&c->options->callbacks, error));
    return vipo_folder_output_commit(&c->folder, none, "config.json", error);
}

vipo_status vipo_convert_flow(const char *folder, const vipo_convert_options *options, vipo_error *error)
{
    flow_conversion c = {.options = options};
    const vipo_status status = convert(&c, folder, error);
    vipo_folder_output_abandon(&c.folder);
    vipo_tensor_list_free(&c.list);
    vipo_weight_reader_close(&c.reader);
    vipo_weight_file_close(&c.file);
    return status;
}

/* ---- what a folder holds --------------------------------------------------------------------------------- */

vipo_status vipo_flow_read_info(const char *folder, vipo_flow_info *out, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    vipo_flow_config config;
    vipo_safetensors *file;
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_flow_config_read(folder, &config, error));
    VIPO_TRY(vipo_model_path(path, folder, VIPO_FLOW_WEIGHTS, error));
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    snprintf(out->network, sizeof out->network, "%s", VIPO_FLOW_NETWORK);
    out->height = config.height;
    out->width = config.width;
    out->file_bytes = vipo_safetensors_file_bytes(file);
    for (int i = 0; i < vipo_safetensors_count(file); i++) {
        const vipo_tensor_view *view = vipo_safetensors_at(file, i);
        if (i == 0) snprintf(out->dtype, sizeof out->dtype, "%s", vipo_dtype_name(view->dtype));
        out->parameters += view->count;
    }
    vipo_safetensors_close(&file);
    return VIPO_OK;
}
