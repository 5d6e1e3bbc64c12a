#define _GNU_SOURCE /* dladdr */
#include "sim/assets.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/environment.h"

/* VIPO_ASSETS_INSTALLED, relative to the folder of this library; false if nothing is there. */
static bool installed_folder(char *out, size_t size)
{
    Dl_info info;
    if (!dladdr((const void *)VIPO_ASSETS_BUILT, &info) || !info.dli_fname) return false;
    const char *const slash = strrchr(info.dli_fname, '/');
    const int length = slash ? (int)(slash - info.dli_fname) : 1;
    const int n = snprintf(out, size, "%.*s/%s", length, slash ? info.dli_fname : ".", VIPO_ASSETS_INSTALLED);
    return n > 0 && (size_t)n < size && access(out, R_OK) == 0;
}

vipo_status vipo_assets_find(char **path, const char *folder, const char *model, vipo_error *error)
{
    char installed[PATH_MAX];
    *path = NULL;
    if (!folder) folder = vipo_environment("VIPO_METAWORLD_ASSETS");
    if (!folder) folder = installed_folder(installed, sizeof installed) ? installed : VIPO_ASSETS_BUILT;
    const size_t size = strlen(folder) + strlen(model) + sizeof "/sawyer_xyz/.xml";
    char *const out = malloc(size);
    if (!out) return vipo_fail_memory(error, size, "a path");
    snprintf(out, size, "%s/sawyer_xyz/%s.xml", folder, model);
    if (access(out, R_OK) == 0) {
        *path = out;
        return VIPO_OK;
    }
    const vipo_status status = vipo_fail(error, VIPO_IO,
                                         "%s: not found; scripts/setup.sh fetches Meta-World's models, "
                                         "VIPO_METAWORLD_ASSETS says where they are",
                                         out);
    free(out);
    return status;
}
