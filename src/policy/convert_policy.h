/* Checkpoints of the goal-conditioned policy -> policy folder. */
#ifndef VIPO_POLICY_CONVERT_POLICY_H
#define VIPO_POLICY_CONVERT_POLICY_H

#include "weights/safetensors.h"

/* vipo_convert for from "gcp"; its options have been checked but for those that only other formats have. */
vipo_status vipo_convert_policy(const char *folder, const vipo_convert_options *options, vipo_dtype dtype,
                                vipo_error *error);

#endif
