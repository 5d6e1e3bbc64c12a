/* The config.json of a model folder as it is written: what nets/config.h and media/preprocess.h read back. */
#ifndef VIPO_POLICY_MODEL_CONFIG_H
#define VIPO_POLICY_MODEL_CONFIG_H

#include <jansson.h>

#include "media/preprocess.h"
#include "nets/config.h"

/* A new object, NULL when out of memory. dtype: "float32" ... of the network's file; origin: what the model was
 * made from, borrowed, may be NULL. */
json_t *vipo_model_config_json(const vipo_config *config, const vipo_preprocess_steps *preprocess,
                               const char *dtype, json_t *origin);

#endif
