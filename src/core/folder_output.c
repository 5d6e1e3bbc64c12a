#include "core/folder_output.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file_output.h"

enum { PATH_ROOM = 4096 };

static void release(vipo_folder_output *out)
{
    free(out->path);
    free(out->temporary);
    memset(out, 0, sizeof *out);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Entries of a folder, at most `most`; -1 with errno if it cannot be read. */
static int count_entries(const char *path, int most)
{
    DIR *folder = opendir(path);
    if (!folder) return -1;
    int n = 0;
    for (const struct dirent *entry; n < most && (entry = readdir(folder));)
        if (!is_dot(entry->d_name)) n++;
    closedir(folder);
    return n;
}

/* Beside a new folder; within one that exists, which may be a file system of its own or not ours to have neighbours. */
static bool make_temporary(vipo_folder_output *out)
{
    char beside[PATH_ROOM];
    const int n = snprintf(beside, sizeof beside, out->merge ? "%s/vipo" : "%s", out->path);
    if (n < 0 || (size_t)n >= sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (int attempt = 0; attempt < VIPO_TEMPORARY_ATTEMPTS; attempt++) {
        vipo_temporary_name(out->temporary, beside, attempt);
        if (mkdir(out->temporary, 0777) == 0) return true;
        if (errno != EEXIST) return false;
    }
    return false;
}

/* What is at the destination already. */
static vipo_status check_destination(vipo_folder_output *out, bool force, vipo_error *error)
{
    struct stat info;
    if (stat(out->path, &info) != 0)
        return errno == ENOENT ? VIPO_OK : vipo_fail_write(error, out->path, errno);
    if (!S_ISDIR(info.st_mode))
        return vipo_fail(error, VIPO_IO, "%s: is a file, expected a new folder", out->path);
    const int entries = count_entries(out->path, 1);
    if (entries < 0) return vipo_fail_write(error, out->path, errno);
    if (entries > 0 && !force)
        return vipo_fail(error, VIPO_IO,
                         "%s: is not empty, expected a new folder (force replaces the model in it)",
                         out->path);
    if (access(out->path, W_OK) != 0) return vipo_fail_write(error, out->path, errno);
    out->merge = true; /* "." and links to folders cannot be renamed over */
    return VIPO_OK;
}

vipo_status vipo_folder_output_open(vipo_folder_output *out, const char *path, bool force, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (!*path) return vipo_fail(error, VIPO_IO, "the name of a folder to write is empty");
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    out->path = strndup(path, length);
    out->temporary = malloc(length + sizeof "/vipo" + VIPO_TEMPORARY_ROOM);
    vipo_status status =
        out->path && out->temporary ? VIPO_OK : vipo_fail_memory(error, length, "a folder name");
    if (status == VIPO_OK) status = check_destination(out, force, error);
    if (status == VIPO_OK && !make_temporary(out)) status = vipo_fail_write(error, out->path, errno);
    if (status != VIPO_OK) release(out);
    return status;
}

vipo_status vipo_folder_output_file(const vipo_folder_output *out, const char *file, char *path, size_t size,
                                    vipo_error *error)
{
    const int n = snprintf(path, size, "%s/%s", out->temporary, file);
    if (n >= 0 && (size_t)n < size) return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "path too long: %.200s...", out->path);
}

static bool move_file(const vipo_folder_output *out, const char *name)
{
    char from[PATH_ROOM], to[PATH_ROOM];
    snprintf(from, sizeof from, "%s/%s", out->temporary, name);
    snprintf(to, sizeof to, "%s/%s", out->path, name);
    return rename(from, to) == 0;
}

/* Moves the files into the existing destination; errno after a failure. */
static bool move_files(const vipo_folder_output *out, const char *const *stale, const char *key)
{
    char from[PATH_ROOM], to[PATH_ROOM];
    if (key) {
        snprintf(to, sizeof to, "%s/%s", out->path, key);
        if (unlink(to) != 0 && errno != ENOENT) return false;
    }
    for (; *stale; stale++) {
        snprintf(from, sizeof from, "%s/%s", out->temporary, *stale);
        snprintf(to, sizeof to, "%s/%s", out->path, *stale);
        if (access(from, F_OK) != 0 && unlink(to) != 0 && errno != ENOENT) return false;
    }
    DIR *folder = opendir(out->temporary);
    if (!folder) return false;
    bool moved = true;
    for (const struct dirent *entry; moved && (entry = readdir(folder));) {
        if (is_dot(entry->d_name) || (key && strcmp(entry->d_name, key) == 0)) continue;
        moved = move_file(out, entry->d_name);
    }
    const int code = errno;
    closedir(folder);
    errno = code;
    if (moved && key) moved = move_file(out, key) || errno == ENOENT;
    return moved && rmdir(out->temporary) == 0;
}

vipo_status vipo_folder_output_commit(vipo_folder_output *out, const char *const *stale, const char *key,
                                      vipo_error *error)
{
    const bool done = out->merge ? move_files(out, stale, key) : rename(out->temporary, out->path) == 0;
    const vipo_status status = done ? VIPO_OK : vipo_fail_write(error, out->path, errno);
    if (status == VIPO_OK)
        release(out);
    else
        vipo_folder_output_abandon(out);
    return status;
}

void vipo_folder_output_abandon(vipo_folder_output *out)
{
    if (!out->path) return;
    char path[PATH_ROOM];
    DIR *folder = opendir(out->temporary);
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", out->temporary, entry->d_name);
        if (!is_dot(entry->d_name)) unlink(path);
    }
    if (folder) closedir(folder);
    rmdir(out->temporary);
    release(out);
}
