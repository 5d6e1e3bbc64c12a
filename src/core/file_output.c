#include "core/file_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A name has at most 255 bytes on usual file systems; what a temporary one keeps of it. */
enum { MAX_KEPT = 200 };

static void release(vipo_file_output *out)
{
    free(out->path);
    free(out->temporary);
    memset(out, 0, sizeof *out);
}

vipo_status vipo_fail_write(vipo_error *error, const char *path, int code)
{
    const char *why = code == ENOENT    ? "its folder does not exist"
                      : code == ENOTDIR ? "what should be its folder is a file"
                                        : strerror(code ? code : EIO);
    return vipo_fail(error, VIPO_IO, "%.400s: cannot write: %s", path, why);
}

void vipo_temporary_name(char *out, const char *path, int attempt)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    const unsigned long tag =
        ((unsigned long)now.tv_nsec ^ (unsigned long)getpid() << 16 ^ (unsigned long)(uintptr_t)out) +
        (unsigned long)attempt * 69069;
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0, name = strlen(path + folder);
    const size_t kept = folder + (name < MAX_KEPT ? name : MAX_KEPT);
    memcpy(out, path, kept);
    snprintf(out + kept, VIPO_TEMPORARY_ROOM, ".%08lx.tmp", tag & 0xffffffffUL);
}

bool vipo_is_temporary_name(const char *name)
{
    static const char form[] = ".xxxxxxxx.tmp";
    const size_t n = strlen(name), length = sizeof form - 1;
    if (n <= length) return false;
    for (size_t i = 0; i < length; i++) {
        const char c = name[n - length + i];
        if (form[i] == 'x' ? !strchr("0123456789abcdef", c) : c != form[i]) return false;
    }
    return true;
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
static int open_temporary(vipo_file_output *out, const struct stat *existing)
{
    const mode_t mode = existing ? existing->st_mode & 0777 : 0666;
    for (int attempt = 0; attempt < VIPO_TEMPORARY_ATTEMPTS; attempt++) {
        vipo_temporary_name(out->temporary, out->path, attempt);
        const int fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno == EEXIST) continue;
        /* On file systems without modes this fails, and there is nothing to keep. */
        if (fd >= 0 && existing) (void)fchmod(fd, mode);
        return fd;
    }
    return -1;
}

/* What a path leads to. */
typedef struct destination {
    int named; /* an open descriptor, -1 if it is none */
    bool exists, direct;
    struct stat info;
} destination;

static vipo_status look_at(destination *out, const char *path, vipo_error *error)
{
    *out = (destination){.named = named_descriptor(path)};
    if (!*path) return vipo_fail(error, VIPO_IO, "the name of a file to write is empty");
    out->exists = out->named < 0 && stat(path, &out->info) == 0;
    if (out->named < 0 && !out->exists && errno != ENOENT) return vipo_fail_write(error, path, errno);
    out->direct = out->named >= 0 || (out->exists && !S_ISREG(out->info.st_mode));
    if (out->exists && S_ISDIR(out->info.st_mode))
        return vipo_fail(error, VIPO_IO, "%s: cannot write: it is a folder", path);
    if (out->exists && access(path, W_OK) != 0) /* renaming over it would need no right to write it */
        return vipo_fail_write(error, path, errno);
    return VIPO_OK;
}

vipo_status vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    destination to;
    VIPO_TRY(look_at(&to, path, error));

    /* Through a symbolic link the file it leads to is replaced, not the link. */
    out->path = to.exists && !to.direct ? realpath(path, NULL) : NULL;
    if (!out->path) out->path = strdup(path);
    const size_t room = (out->path ? strlen(out->path) : 0) + VIPO_TEMPORARY_ROOM;
    out->temporary = malloc(room);
    if (!out->path || !out->temporary) {
        release(out);
        return vipo_fail_memory(error, room, "a file name");
    }
    int fd;
    if (to.direct) {
        strcpy(out->temporary, path);
        fd = to.named >= 0 ? fcntl(to.named, F_DUPFD_CLOEXEC, 0) : open(path, O_WRONLY | O_CLOEXEC);
    } else {
        fd = open_temporary(out, to.exists ? &to.info : NULL);
    }
    if (fd >= 0) out->stream = fdopen(fd, "wb");
    if (!out->stream) {
        const int code = errno;
        if (fd >= 0) close(fd);
        if (fd >= 0 && !to.direct) unlink(out->temporary);
        release(out);
        return vipo_fail_write(error, path, code);
    }
    return VIPO_OK;
}

vipo_status vipo_file_output_write(const vipo_file_output *out, const void *bytes, size_t size,
                                   vipo_error *error)
{
    /* a line whose flush fails may count as written */
    if (fwrite(bytes, 1, size, out->stream) == size && !ferror(out->stream)) return VIPO_OK;
    return vipo_fail_write(error, out->path, errno);
}

/* To the disk, so that a power failure cannot leave the name with nothing behind it. Where that is not known it is not needed. */
static int store(FILE *stream)
{
    const bool known = fsync(fileno(stream)) == 0 || errno == EINVAL || errno == ENOSYS || errno == ENOTSUP;
    return known ? 0 : errno;
}

vipo_status vipo_file_output_commit(vipo_file_output *out, vipo_error *error)
{
    const bool direct = strcmp(out->path, out->temporary) == 0;
    int code = 0;
    /* Of an earlier failed write only the flag is left, and as a rule errno. */
    if (ferror(out->stream) || fflush(out->stream) != 0) code = errno ? errno : EIO;
    if (!code && !direct) code = store(out->stream);
    if (fclose(out->stream) != 0 && !code) code = errno;
    out->stream = NULL;
    if (!code && !direct && rename(out->temporary, out->path) != 0) code = errno;
    vipo_status status = VIPO_OK;
    if (code) {
        if (!direct) unlink(out->temporary);
        status = vipo_fail_write(error, out->path, code);
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

vipo_status vipo_output_check(const char *path, vipo_error *error)
{
    destination to;
    VIPO_TRY(look_at(&to, path, error));
    if (to.named >= 0) {
        const int flags = fcntl(to.named, F_GETFL);
        if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) return VIPO_OK;
        return vipo_fail_write(error, path, EBADF);
    }
    if (to.direct) return VIPO_OK; /* a pipe without a reader would have to be waited for */
    vipo_file_output trial;
    VIPO_TRY(vipo_file_output_open(&trial, path, error));
    vipo_file_output_abandon(&trial);
    return VIPO_OK;
}
