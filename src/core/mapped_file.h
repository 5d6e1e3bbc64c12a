/* A whole file, read-only, mapped into memory. */
#ifndef VIPO_CORE_MAPPED_FILE_H
#define VIPO_CORE_MAPPED_FILE_H

#include "core/status.h"

typedef struct vipo_mapped_file {
    const unsigned char *data; /* page-aligned; NULL for an empty file */
    size_t size;               /* bytes */
} vipo_mapped_file;

vipo_status vipo_mapped_file_open(vipo_mapped_file *out, const char *path, vipo_error *error);
/* Bytes [start, start + size) will hardly be read again: their pages no longer count as this process's memory. They can
 * be read all the same. */
void vipo_mapped_file_release(const vipo_mapped_file *file, const void *start, size_t size);
void vipo_mapped_file_close(vipo_mapped_file *file); /* accepts a zeroed struct */

#endif
