/* Atomic output of a folder of files: they are written into a temporary folder beside the destination, which
 * becomes the destination when all of them are complete. */
#ifndef VIPO_CORE_FOLDER_OUTPUT_H
#define VIPO_CORE_FOLDER_OUTPUT_H

#include "core/status.h"

typedef struct vipo_folder_output {
    char *path;      /* destination, without '/' at the end */
    char *temporary; /* the folder to write files into (no folders) */
    bool merge;      /* the destination exists and holds something */
} vipo_folder_output;

/* The destination may be absent or an empty folder; anything else is VIPO_IO, except that `force` accepts a
 * folder that holds something. Its parent must exist. */
vipo_status vipo_folder_output_open(vipo_folder_output *out, const char *path, bool force, vipo_error *error);
/* "<temporary folder>/file" into path; VIPO_INVALID_ARGUMENT if it is too long. */
vipo_status vipo_folder_output_file(const vipo_folder_output *out, const char *file, char *path, size_t size,
                                    vipo_error *error);
/* Puts the folder in its place. In a destination that holds something, files of the same names are replaced one by
 * one, of `stale` (ends with NULL) those that were not written anew are removed, and others stay. `key` is a file
 * without which the folder is nothing, or NULL: it goes first and comes last, so that whatever ends the process in
 * between leaves no folder that looks whole and is of two minds. Releases the struct in every case. */
vipo_status vipo_folder_output_commit(vipo_folder_output *out, const char *const *stale, const char *key,
                                      vipo_error *error);
/* Removes the temporary folder. Accepts a struct that is zeroed or already committed. */
void vipo_folder_output_abandon(vipo_folder_output *out);

#endif
