#include "core/file_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SUFFIX_ROOM = 32, ATTEMPTS = 100 };

static void release(vipo_file_output *out)
{
    free(out->path);
    free(out->temporary);
    memset(out, 0, sizeof *out);
}

/* Descriptor that a path such as /dev/stdout or /dev/fd/3 names, -1 if none. Replacing what such a name
 * leads to would lose what else is written there (or the name itself). */
static int named_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const size_t n = strlen(folders[i]);
        if (strncmp(path, folders[i], n) != 0) continue;
        char *end;
        const long fd = strtol(path + n, &end, 10);
        if (path[n] >= '0' && path[n] <= '9' && *end == '\0' && fd <= 0xffff) return (int)fd;
    }
    return -1;
}

/* A new file beside the destination; its mode is the destination's if that exists, else the usual one
 * (the system applies the umask: changing it to read it would race with other threads). */
static int open_temporary(vipo_file_output *out, size_t room, const struct stat *existing)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned long tag =
        (unsigned long)now.tv_nsec ^ (unsigned long)getpid() << 16 ^ (unsigned long)(uintptr_t)out;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++, tag = tag * 69069 + 1) {
        snprintf(out->temporary, room, "%s.%08lx.tmp", out->path, tag & 0xffffffffUL);
        const mode_t mode = existing ? existing->st_mode & 0777 : 0666;
        const int fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno == EEXIST) continue;
        /* On file systems without modes this fails, and there is nothing to keep. */
        if (fd >= 0 && existing) (void)fchmod(fd, mode);
        return fd;
    }
    return -1;
}

vipo_status vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (!*path) return vipo_fail(error, VIPO_IO, "the name of a file to write is empty");
    struct stat info;
    const int named = named_descriptor(path);
    const bool exists = named < 0 && stat(path, &info) == 0;
    const bool direct = named >= 0 || (exists && !S_ISREG(info.st_mode));
    if (exists && S_ISDIR(info.st_mode))
        return vipo_fail(error, VIPO_IO, "%s: is a folder, expected a file to write", path);
    if (exists && access(path, W_OK) != 0) /* renaming over it would need no right to write it */
        return vipo_fail(error, VIPO_IO, "%s: cannot write: %s", path, strerror(errno));

    /* Through a symbolic link the file it leads to is replaced, not the link. */
    out->path = exists && !direct ? realpath(path, NULL) : NULL;
    if (!out->path) out->path = strdup(path);
    const size_t room = (out->path ? strlen(out->path) : 0) + SUFFIX_ROOM;
    out->temporary = malloc(room);
    if (!out->path || !out->temporary) {
        release(out);
        return vipo_fail_memory(error, room, "a file name");
    }
    int fd;
    if (direct) {
        strcpy(out->temporary, path);
        fd = named >= 0 ? fcntl(named, F_DUPFD_CLOEXEC, 0) : open(path, O_WRONLY | O_CLOEXEC);
    } else {
        fd = open_temporary(out, room, exists ? &info : NULL);
    }
    if (fd >= 0) out->stream = fdopen(fd, "wb");
    if (!out->stream) {
        const int code = errno;
        if (fd >= 0) close(fd);
        if (fd >= 0 && !direct) unlink(out->temporary);
        release(out);
        return vipo_fail(error, VIPO_IO, "%s: cannot write: %s", path, strerror(code));
    }
    return VIPO_OK;
}

vipo_status vipo_file_output_commit(vipo_file_output *out, vipo_error *error)
{
    const bool direct = strcmp(out->path, out->temporary) == 0;
    int code = 0;
    /* Of an earlier failed write only the flag is left, and as a rule errno. */
    if (ferror(out->stream) || fflush(out->stream) != 0) code = errno ? errno : EIO;
    if (fclose(out->stream) != 0 && !code) code = errno;
    out->stream = NULL;
    if (!code && !direct && rename(out->temporary, out->path) != 0) code = errno;
    vipo_status status = VIPO_OK;
    if (code) {
        if (!direct) unlink(out->temporary);
        status = vipo_fail(error, VIPO_IO, "%s: cannot write: %s", out->path, strerror(code));
    }
    release(out);
    return status;
}

void vipo_file_output_abandon(vipo_file_output *out)
{
    if (!out->path) return;
    if (out->stream) fclose(out->stream);
    if (strcmp(out->path, out->temporary) != 0) unlink(out->temporary);
    release(out);
}
