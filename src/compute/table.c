/* Which op table to use. */
#include <stdio.h>
#include <string.h>

#include "compute/ops.h"
#include "core/environment.h"

static const vipo_ops *const tables[] = {
    &vipo_ops_ref,
#ifdef VIPO_X86
    &vipo_ops_avx2,
    &vipo_ops_avx512,
#endif
#ifdef VIPO_AMX
    &vipo_ops_amx,
#endif
};

enum { TABLES = sizeof tables / sizeof tables[0] };

int vipo_weight_taps(vipo_weight_kind kind)
{
    switch (kind) {
    case VIPO_WEIGHT_LINEAR:
        return 1;
    case VIPO_WEIGHT_TIME:
        return 3;
    case VIPO_WEIGHT_3X3:
    case VIPO_WEIGHT_3X3_STRIDE2:
    case VIPO_WEIGHT_3X3_UPSAMPLE2:
        return 9;
    }
    return 0;
}

const char *vipo_weight_kind_name(vipo_weight_kind kind)
{
    static const char *const names[VIPO_WEIGHT_KINDS] = {"linear", "3x3", "3x3-stride2", "3x3-upsample2",
                                                         "time"};
    return (unsigned)kind < VIPO_WEIGHT_KINDS ? names[kind] : "unknown";
}

const char *vipo_method_name(vipo_method method)
{
    static const char *const names[VIPO_METHODS] = {"direct", "winograd2", "winograd4", "split",
                                                    "split-winograd2"};
    return (unsigned)method < VIPO_METHODS ? names[method] : "unknown";
}

const vipo_ops *vipo_ops_available(int i)
{
    for (int j = 0; j < TABLES; j++)
        if (tables[j]->supported() && i-- == 0) return tables[j];
    return NULL;
}

vipo_status vipo_ops_find(const vipo_ops **out, const char *name, vipo_error *error)
{
    *out = NULL;
    if (!name) name = vipo_environment("VIPO_COMPUTE");
    const vipo_ops *best = NULL;
    char known[128] = "";
    for (int i = 0; vipo_ops_available(i); i++) {
        const vipo_ops *const ops = vipo_ops_available(i);
        if (name && strcmp(ops->name, name) == 0) {
            *out = ops;
            return VIPO_OK;
        }
        if (!ops->by_name) best = ops;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", ops->name);
    }
    if (name)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "op table \"%s\" is not there; this machine has: %s",
                         name, known);
    *out = best;
    return VIPO_OK;
}
