/* The zip archive of a PyTorch checkpoint: one folder with data.pkl and data/KEY. Everything that the archive says
 * about itself is checked before anything is unpacked. */
#ifndef VIPO_WEIGHTS_TORCH_ARCHIVE_H
#define VIPO_WEIGHTS_TORCH_ARCHIVE_H

#include "core/mapped_file.h"

enum { VIPO_TORCH_MAX_NAME = 512 }; /* bytes of an entry's name, and of a tensor's */

typedef struct vipo_torch_archive {
    char *path;
    vipo_mapped_file map;
    struct zip *zip;
    char root[VIPO_TORCH_MAX_NAME]; /* the only top folder */
} vipo_torch_archive;

/* Fails as vipo_torch_checkpoint_open does; vipo_torch_archive_close in every case. */
vipo_status vipo_torch_archive_open(vipo_torch_archive *out, const char *path, vipo_error *error);
void vipo_torch_archive_close(vipo_torch_archive *archive);

/* Entry "<root>/name" and its size in bytes (unpacked); false if there is none. */
bool vipo_torch_archive_find(const vipo_torch_archive *archive, const char *name, uint64_t *entry,
                             size_t *size);
/* A whole entry, checksum compared; *out is to be freed. Its size is bounded by that of the file. */
vipo_status vipo_torch_archive_read(const vipo_torch_archive *archive, uint64_t entry, unsigned char **out,
                                    size_t *size, vipo_error *error);

/* True if the first bytes are those of a zip archive or of what PyTorch wrote before version 1.6. */
bool vipo_torch_archive_recognise(const vipo_mapped_file *map);

#endif
