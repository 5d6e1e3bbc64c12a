/* The models that AVDC released, by name: sizes and preprocessing. */
#ifndef VIPO_POLICY_PRESET_H
#define VIPO_POLICY_PRESET_H

#include "media/preprocess.h"
#include "nets/config.h"

/* "mw", "thor" or "bridge"; without a text encoder. VIPO_INVALID_ARGUMENT for other names. */
vipo_status vipo_preset_find(vipo_config *config, vipo_preprocess_steps *preprocess, const char *name,
                             vipo_error *error);

#endif
