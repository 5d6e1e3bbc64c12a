#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"

static bool cannot_write(const char *path, const char *why, char *message)
{
    snprintf(message, MESSAGE_SIZE, "%.400s: cannot write: %s", path, why);
    return false;
}

bool output_check(const char *path, char *message)
{
    struct stat info;
    if (!path[0]) return cannot_write("''", "the name is empty", message);
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) return cannot_write(path, "it is a folder", message);
        if (!S_ISREG(info.st_mode))
            return access(path, W_OK) == 0 || cannot_write(path, strerror(errno), message);
    }
    char *const folder = strdup(path);
    if (!folder) return cannot_write(path, strerror(ENOMEM), message);
    char *const slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0'; /* "/a" -> "/", "b/a" -> "b" */
    const char *const parent = slash ? folder : ".";
    bool fine = true;
    if (stat(parent, &info) != 0)
        fine = cannot_write(path, errno == ENOENT ? "its folder does not exist" : strerror(errno), message);
    else if (!S_ISDIR(info.st_mode))
        fine = cannot_write(path, "what should be its folder is a file", message);
    else if (access(parent, W_OK | X_OK) != 0)
        fine = cannot_write(path, strerror(errno), message);
    free(folder);
    return fine;
}

static void release(output *out)
{
    if (out->stream) fclose(out->stream);
    free(out->path);
    free(out->temporary);
    memset(out, 0, sizeof *out);
}

bool output_open(output *out, const char *path, char *message)
{
    memset(out, 0, sizeof *out);
    if (!output_check(path, message)) return false;
    struct stat info;
    const bool direct = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    const size_t size = strlen(path) + 16;
    out->path = strdup(path);
    out->temporary = malloc(size);
    if (out->path && out->temporary && direct) {
        snprintf(out->temporary, size, "%s", path);
        out->stream = fopen(path, "w");
    } else if (out->path && out->temporary) {
        snprintf(out->temporary, size, "%s.XXXXXX", path);
        const int descriptor = mkstemp(out->temporary);
        if (descriptor >= 0) {
            const mode_t mask = umask(0);
            umask(mask);
            fchmod(descriptor, 0666 & ~mask); /* a plain file, as open() would have made it */
            out->stream = fdopen(descriptor, "w");
            if (!out->stream) {
                close(descriptor);
                unlink(out->temporary);
            }
        }
    }
    if (!out->stream) {
        cannot_write(path, strerror(errno ? errno : ENOMEM), message);
        release(out);
        return false;
    }
    setvbuf(out->stream, NULL, _IOLBF, 0);
    return true;
}

bool output_commit(output *out, char *message)
{
    const bool direct = strcmp(out->path, out->temporary) == 0;
    errno = 0;
    int code = fflush(out->stream) != 0 || ferror(out->stream) ? (errno ? errno : EIO) : 0;
    if (fclose(out->stream) != 0 && !code) code = errno ? errno : EIO;
    out->stream = NULL;
    if (!code && !direct && rename(out->temporary, out->path) != 0) code = errno;
    if (code) {
        if (!direct) unlink(out->temporary);
        cannot_write(out->path, strerror(code), message);
    }
    release(out);
    return code == 0;
}

void output_abandon(output *out)
{
    if (!out->stream) return;
    if (strcmp(out->path, out->temporary) != 0) unlink(out->temporary);
    release(out);
}

double file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (double)info.st_size : -1;
}
