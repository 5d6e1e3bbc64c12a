/* What conversions of every kind of network share. */
#ifndef VIPO_POLICY_CONVERT_TENSORS_H
#define VIPO_POLICY_CONVERT_TENSORS_H

#include "policy/tensor_list.h"
#include "weights/weight_file.h"

/* "f32", "f16", "bf16" */
vipo_status vipo_convert_dtype(const char *name, vipo_dtype *out, vipo_error *error);
/* "float32" ... as config.json says it */
const char *vipo_convert_dtype_text(vipo_dtype dtype);

/* Compares wanted tensors with a file: all there, of these shapes, and unless `others` no more with the prefix. */
vipo_status vipo_convert_check(const vipo_tensor_list *list, const vipo_weight_file *file, const char *path,
                               const char *prefix, bool others, vipo_error *error);

/* Numbers written and to be written, for progress. */
typedef struct vipo_convert_progress {
    const vipo_callbacks *callbacks;
    double done, total;
} vipo_convert_progress;
/* Tensors one at a time into a safetensors file. */
vipo_status vipo_convert_copy(const vipo_tensor_list *list, vipo_weight_reader *reader, const char *path,
                              vipo_dtype dtype, vipo_convert_progress *progress, vipo_error *error);

/* --from unimatch (convert_flow.c). */
vipo_status vipo_convert_flow(const char *folder, const vipo_convert_options *options, vipo_error *error);

#endif
