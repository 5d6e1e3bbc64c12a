/* Other entry points to .npy files than the public vipo_npy_read / vipo_npy_write. */
#ifndef VIPO_CORE_NPY_H
#define VIPO_CORE_NPY_H

#include "core/status.h"

/* Parses a .npy file held in memory; `name` is for messages. */
vipo_status vipo_npy_parse(const void *data, size_t size, const char *name, vipo_array *out,
                           vipo_error *error);

/* A file of this shape as doubles, as they are in the file. */
vipo_status vipo_npy_read_matrix(const char *path, size_t rows, size_t columns, double *out,
                                 vipo_error *error);

/* vipo_npy_read; *bytes: the elements are uint8. */
vipo_status vipo_npy_read_typed(const char *path, vipo_array *out, bool *bytes, vipo_error *error);

#endif
