/* The folder of an optical flow network: config.json and flow.safetensors. */
#ifndef VIPO_POLICY_FLOW_FOLDER_H
#define VIPO_POLICY_FLOW_FOLDER_H

#include <jansson.h>

#include "nets/unimatch.h"

#define VIPO_FLOW_NETWORK "gmflow-scale2-regrefine6"
#define VIPO_FLOW_WEIGHTS "flow.safetensors"

typedef struct vipo_flow_config {
    int height, width; /* that pictures are enlarged to; multiples of 32 */
} vipo_flow_config;

/* A new reference: {"kind": "flow", "network": ..., "height": 480, "width": 640, "dtype": ..., "source": origin}; NULL:
 * out of memory. */
json_t *vipo_flow_config_json(const vipo_flow_config *config, const char *dtype, json_t *origin);
vipo_status vipo_flow_config_read(const char *folder, vipo_flow_config *config, vipo_error *error);
/* Every tensor is checked by name, shape and type. */
vipo_status vipo_flow_folder_open(const char *folder, vipo_flow_config *config, vipo_unimatch **net,
                                  const vipo_packer *packer, const vipo_callbacks *callbacks,
                                  vipo_error *error);

#endif
