#include "policy/flow_folder.h"

#include <string.h>

#include "core/json_util.h"
#include "policy/model.h"
#include "weights/safetensors.h"

enum { LEAST_SIDE = VIPO_UNIMATCH_MULTIPLE, MOST_SIDE = 4096 };

json_t *vipo_flow_config_json(const vipo_flow_config *config, const char *dtype, json_t *origin)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:O}", "kind", "flow", "network", VIPO_FLOW_NETWORK, "height",
                     config->height, "width", config->width, "dtype", dtype, "source", origin);
}

static vipo_status parse(const json_t *root, const char *path, vipo_flow_config *config, vipo_error *error)
{
    const vipo_json_at at = {path, ""};
    const char *kind = NULL, *network = NULL;
    if (!json_is_object(root))
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: expected a JSON object that describes an optical flow network", path);
    VIPO_TRY(vipo_json_string(root, at, "kind", false, &kind, error));
    if (!kind || strcmp(kind, "flow") != 0)
        return vipo_fail(
            error, VIPO_MISMATCH,
            "%s: kind is \"%.40s\", expected \"flow\": this is no folder of an optical flow network "
            "(vipo convert --from unimatch makes one)",
            path, kind ? kind : "");
    VIPO_TRY(vipo_json_string(root, at, "network", true, &network, error));
    if (strcmp(network, VIPO_FLOW_NETWORK) != 0)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: network is \"%.60s\", expected \"%s\"", path, network,
                         VIPO_FLOW_NETWORK);
    VIPO_TRY(vipo_json_int(root, at, "height", true, LEAST_SIDE, MOST_SIDE, &config->height, error));
    VIPO_TRY(vipo_json_int(root, at, "width", true, LEAST_SIDE, MOST_SIDE, &config->width, error));
    if (config->height % VIPO_UNIMATCH_MULTIPLE || config->width % VIPO_UNIMATCH_MULTIPLE)
        return vipo_fail(error, VIPO_FORMAT, "%s: height and width are %d and %d, expected multiples of %d",
                         path, config->height, config->width, VIPO_UNIMATCH_MULTIPLE);
    return VIPO_OK;
}

vipo_status vipo_flow_config_read(const char *folder, vipo_flow_config *config, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    json_t *root;
    VIPO_TRY(vipo_model_path(path, folder, "config.json", error));
    VIPO_TRY(vipo_json_load(&root, path, error));
    const vipo_status status = parse(root, path, config, error);
    json_decref(root);
    return status;
}

vipo_status vipo_flow_folder_open(const char *folder, vipo_flow_config *config, vipo_unimatch **net,
                                  const vipo_packer *packer, const vipo_callbacks *callbacks,
                                  vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    vipo_safetensors *file = NULL;
    vipo_safetensors_reader reader = {.file = NULL};
    int unused;
    *net = NULL;
    VIPO_TRY(vipo_flow_config_read(folder, config, error));
    VIPO_TRY(vipo_model_path(path, folder, VIPO_FLOW_WEIGHTS, error));
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    vipo_status status = vipo_safetensors_reader_open(&reader, file, "", error);
    if (status == VIPO_OK) {
        const vipo_weight_source source = vipo_safetensors_reader_source(&reader);
        status = vipo_unimatch_open(net, packer, &source, callbacks, error);
    }
    if (status == VIPO_OK) {
        const char *name = vipo_safetensors_reader_unused(&reader, &unused);
        if (name)
            status =
                vipo_fail(error, VIPO_MISMATCH, "%s: %d tensors are not part of the network, the first is %s",
                          path, unused, name);
    }
    if (status != VIPO_OK) vipo_unimatch_close(net);
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&file);
    return status;
}
