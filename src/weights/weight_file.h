/* A file of tensors in either format, told apart by its first bytes: safetensors or a PyTorch checkpoint. */
#ifndef VIPO_WEIGHTS_WEIGHT_FILE_H
#define VIPO_WEIGHTS_WEIGHT_FILE_H

#include "weights/safetensors.h"

typedef struct vipo_weight_file vipo_weight_file;

vipo_status vipo_weight_file_open(vipo_weight_file **out, const char *path, vipo_error *error);
void vipo_weight_file_close(vipo_weight_file **file);

bool vipo_weight_file_is_torch(const vipo_weight_file *file);
int vipo_weight_file_count(const vipo_weight_file *file);
/* Tensor i in name order; its data may be NULL. */
const vipo_tensor_view *vipo_weight_file_at(const vipo_weight_file *file, int i);
/* NULL if there is none of that name. */
const vipo_tensor_view *vipo_weight_file_find(const vipo_weight_file *file, const char *name);

/* Floats of tensor `name`, which must have this shape; floating-point types including F64. Fails like a weight
 * source. */
vipo_status vipo_weight_file_read(vipo_weight_file *file, const char *name, int rank, const size_t *shape,
                                  float *out, vipo_error *error);

/* A weight source that puts `prefix` before every name and remembers what was read. */
typedef struct vipo_weight_reader {
    vipo_weight_file *file;
    char prefix[64];
    bool *used; /* [count] */
} vipo_weight_reader;

vipo_status vipo_weight_reader_open(vipo_weight_reader *out, vipo_weight_file *file, const char *prefix,
                                    vipo_error *error);
void vipo_weight_reader_close(vipo_weight_reader *reader);
vipo_weight_source vipo_weight_reader_source(vipo_weight_reader *reader);
/* Name of the first tensor with the prefix that was never read, NULL if all were; *count is how many. */
const char *vipo_weight_reader_unused(const vipo_weight_reader *reader, int *count);

#endif
