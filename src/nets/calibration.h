/* The member "calibration" of config.json: numbers that make samplers sharper on one network and belong to its weights.
 *   "calibration": {"draft_target_lazy": {"draft_stride": 10, "target_stride": 2, "plans": 24,
 *                                         "ratios": [...], "log_spread": [...]}}
 * Other members of "calibration" are left alone. */
#ifndef VIPO_NETS_CALIBRATION_H
#define VIPO_NETS_CALIBRATION_H

#include <jansson.h>

#include "core/status.h"

/* Reads and checks it; draft_stride is 0 if there is none. root: the whole configuration, which came from a file called
 * `file`. */
vipo_status vipo_calibration_parse(vipo_calibration *out, const json_t *root, int timesteps, const char *file,
                                   vipo_error *error);

/* The value of "draft_target_lazy", a new reference; NULL when out of memory. Numbers must be finite. */
json_t *vipo_calibration_json(const vipo_calibration *calibration);

#endif
