/* Writes a safetensors file tensor by tensor; the file appears under its name when it is complete. */
#ifndef VIPO_WEIGHTS_SAFETENSORS_WRITER_H
#define VIPO_WEIGHTS_SAFETENSORS_WRITER_H

#include "core/file_output.h"
#include "weights/safetensors.h"

/* One tensor to be written. */
typedef struct vipo_tensor_entry {
    const char *name;
    int rank;
    size_t shape[VIPO_MAX_RANK];
} vipo_tensor_entry;

typedef struct vipo_safetensors_writer {
    vipo_file_output output;
    vipo_dtype dtype;
    const vipo_tensor_entry *entries; /* borrowed */
    int count, next;
} vipo_safetensors_writer;

/* Writes the header: all tensors get the type dtype (F32, F16, BF16 or F64). entries must stay until the end. On
 * failure there is nothing to release. */
vipo_status vipo_safetensors_writer_open(vipo_safetensors_writer *out, const char *path, vipo_dtype dtype,
                                         const vipo_tensor_entry *entries, int count, vipo_error *error);
/* The next tensor, rounded to nearest even if need be; VIPO_NUMERIC if a number is too large for F16. */
vipo_status vipo_safetensors_writer_add(vipo_safetensors_writer *writer, const float *values,
                                        vipo_error *error);
/* The same for a file of F64, as they are. */
vipo_status vipo_safetensors_writer_add_double(vipo_safetensors_writer *writer, const double *values,
                                               vipo_error *error);
/* After all tensors were added. Releases the writer in every case. */
vipo_status vipo_safetensors_writer_commit(vipo_safetensors_writer *writer, vipo_error *error);
/* Leaves nothing; accepts a writer that is zeroed or already committed. */
void vipo_safetensors_writer_abandon(vipo_safetensors_writer *writer);

#endif
