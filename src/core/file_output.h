/* Atomic output: bytes go to a temporary file beside the destination, which is renamed over it by
 * commit. Whatever goes wrong - a full disk, a failed call, an interruption - the destination keeps its
 * old content (or absence) and no temporary file stays. */
#ifndef VIPO_CORE_FILE_OUTPUT_H
#define VIPO_CORE_FILE_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/status.h"

typedef struct vipo_file_output {
    FILE *stream;    /* write here */
    char *path;      /* destination */
    char *temporary; /* path of the file being written, for libraries that want a name */
} vipo_file_output;

/* Destinations that exist and are no regular files (pipes, devices) and the names of open descriptors
 * (/dev/stdout, /dev/fd/N) are written directly. A destination that exists keeps its mode; one that is a
 * symbolic link stays one. */
vipo_status vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error);
vipo_status vipo_file_output_write(const vipo_file_output *out, const void *bytes, size_t size,
                                   vipo_error *error);
/* Flushes, to the disk where there is one, checks for write errors, renames. Releases the struct in every case. */
vipo_status vipo_file_output_commit(vipo_file_output *out, vipo_error *error);
/* Removes the temporary file. Accepts a struct that is zeroed or already committed. */
void vipo_file_output_abandon(vipo_file_output *out);

/* A whole file at once. */
vipo_status vipo_file_write(const char *path, const void *bytes, size_t size, vipo_error *error);

/* Name number `attempt` for something temporary beside `path`, no longer than a file system allows; room for
 * strlen(path) + VIPO_TEMPORARY_ROOM bytes. */
enum { VIPO_TEMPORARY_ROOM = 32, VIPO_TEMPORARY_ATTEMPTS = 100 };
void vipo_temporary_name(char *out, const char *path, int attempt);
/* Is a file's name of that form? */
bool vipo_is_temporary_name(const char *name);

/* VIPO_IO "path: cannot write: why" */
vipo_status vipo_fail_write(vipo_error *error, const char *path, int code);

#endif
