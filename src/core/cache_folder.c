#include "core/cache_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/environment.h"
#include "core/file_output.h"

static vipo_status join(char **out, const char *folder, const char *rest, vipo_error *error)
{
    const size_t size = strlen(folder) + strlen(rest) + 1;
    *out = malloc(size);
    if (!*out) return vipo_fail_memory(error, size, "a path");
    snprintf(*out, size, "%s%s", folder, rest);
    return VIPO_OK;
}

/* A variable that names a folder from the root on. */
static const char *absolute(const char *name)
{
    const char *value = vipo_environment(name);
    return value && value[0] == '/' ? value : NULL;
}

vipo_status vipo_cache_folder_find(char **out, const char *wanted, vipo_error *error)
{
    *out = NULL;
    if (!wanted || !wanted[0]) wanted = vipo_environment("VIPO_CACHE");
    if (wanted) return join(out, wanted, "", error);
    if (absolute("XDG_CACHE_HOME")) return join(out, absolute("XDG_CACHE_HOME"), "/vipo", error);
    if (absolute("HOME")) return join(out, absolute("HOME"), "/.cache/vipo", error);
    return vipo_fail(error, VIPO_UNSUPPORTED,
                     "no folder to keep results in: VIPO_CACHE, XDG_CACHE_HOME and HOME are not set");
}

vipo_status vipo_cache_folder_make(const char *path, vipo_error *error)
{
    char *part;
    VIPO_TRY(join(&part, path, "", error));
    vipo_status status = VIPO_OK;
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = '\0';
        const bool made = mkdir(part, 0700) == 0 || errno == EEXIST;
        if (!made && (!slash || errno == ENOTDIR)) status = vipo_fail_write(error, path, errno);
        if (!slash || status != VIPO_OK) break;
        *slash = '/'; /* a folder above may be there and refuse: only the last one counts */
    }
    free(part);
    return status;
}
