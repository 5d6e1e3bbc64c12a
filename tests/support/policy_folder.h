/* Folders of action policies with made-up weights. */
#ifndef VIPO_TESTS_POLICY_FOLDER_H
#define VIPO_TESTS_POLICY_FOLDER_H

#include "support/model_folder.h"

#include "nets/policy_config.h"
#include "weights/safetensors.h"

/* A goal-conditioned policy of milliseconds, 20x24 pictures, 8 actions of 2 numbers; and a cloning one of 6 actions of 4
 * that takes a vector of 3 numbers and a one-hot of 2 tasks. */
extern const char test_policy_gcp[], test_policy_bc[];

vipo_policy_config test_policy_config(const char *config);

/* Makes a folder of that name for config.json's text; weights F32, F16 or BF16. Returns its path (model_folder.h). */
const char *test_policy_folder(const char *name, const char *config, vipo_dtype dtype);

#endif
