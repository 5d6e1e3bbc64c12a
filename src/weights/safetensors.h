/* The safetensors format: 8 bytes header length (little-endian), JSON header, tensor bytes. Opening maps
 * the file and checks the header completely: types, shapes, offsets in order, without holes or overlaps,
 * ending at the end of the file. */
#ifndef VIPO_WEIGHTS_SAFETENSORS_H
#define VIPO_WEIGHTS_SAFETENSORS_H

#include "weights/weight_source.h"

typedef enum vipo_dtype {
    VIPO_DTYPE_F32,
    VIPO_DTYPE_F16,
    VIPO_DTYPE_BF16,
    VIPO_DTYPE_F64,
    VIPO_DTYPE_I64,
    VIPO_DTYPE_I32,
    VIPO_DTYPE_I16,
    VIPO_DTYPE_I8,
    VIPO_DTYPE_U8,
    VIPO_DTYPE_BOOL,
} vipo_dtype;

/* "F32" ... and bytes of an element. */
const char *vipo_dtype_name(vipo_dtype dtype);
size_t vipo_dtype_size(vipo_dtype dtype);

typedef struct vipo_tensor_view {
    const char *name; /* borrowed from the file object, as is data */
    vipo_dtype dtype;
    int rank;
    size_t shape[VIPO_MAX_RANK];
    size_t count;     /* elements */
    const void *data; /* may be unaligned */
} vipo_tensor_view;

/* What the public API tells of a tensor; the name is borrowed. */
vipo_tensor_info vipo_tensor_describe(const vipo_tensor_view *view);

typedef struct vipo_safetensors vipo_safetensors;

vipo_status vipo_safetensors_open(vipo_safetensors **out, const char *path, vipo_error *error);
void vipo_safetensors_close(vipo_safetensors **file);

int vipo_safetensors_count(const vipo_safetensors *file);
/* Tensor i in name order. */
const vipo_tensor_view *vipo_safetensors_at(const vipo_safetensors *file, int i);
/* NULL if there is none of that name. */
const vipo_tensor_view *vipo_safetensors_find(const vipo_safetensors *file, const char *name);
size_t vipo_safetensors_file_bytes(const vipo_safetensors *file);

/* Converts F32, F16, BF16 or F64 elements to float32; VIPO_MISMATCH for other types. */
vipo_status vipo_tensor_to_float(const vipo_tensor_view *view, const char *file, float *out,
                                 vipo_error *error);

/* Copies F64 elements as they are; VIPO_MISMATCH for other types. */
vipo_status vipo_tensor_to_double(const vipo_tensor_view *view, const char *file, double *out,
                                  vipo_error *error);

/* vipo_tensor_to_float, and VIPO_NUMERIC unless every number is finite. */
vipo_status vipo_tensor_to_finite(const vipo_tensor_view *view, const char *file, float *out,
                                  vipo_error *error);
/* VIPO_MISMATCH (name, expected, found) unless view, the tensor called `name` of `file`, is there (not NULL)
 * and has exactly this shape. */
vipo_status vipo_tensor_expect(const vipo_tensor_view *view, const char *file, const char *name, int rank,
                               const size_t *shape, vipo_error *error);

/* A weight source over an open file that remembers what was read. prefix is put before every name. */
typedef struct vipo_safetensors_reader {
    const vipo_safetensors *file;
    char prefix[64];
    bool *used; /* [count] */
} vipo_safetensors_reader;

vipo_status vipo_safetensors_reader_open(vipo_safetensors_reader *out, const vipo_safetensors *file,
                                         const char *prefix, vipo_error *error);
void vipo_safetensors_reader_close(vipo_safetensors_reader *reader);
vipo_weight_source vipo_safetensors_reader_source(vipo_safetensors_reader *reader);
/* Name of the first tensor that was never read, NULL if all were; *count is how many. */
const char *vipo_safetensors_reader_unused(const vipo_safetensors_reader *reader, int *count);

#endif
