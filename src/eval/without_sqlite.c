/* What libvipo_eval has where SQLite was not found. */
#include <string.h>

#include "core/status.h"
#include "vipo/eval.h"

static vipo_status absent(vipo_error *error)
{
    return vipo_fail(
        error, VIPO_UNSUPPORTED,
        "this vipo was built without SQLite: install libsqlite3-dev (scripts/setup.sh) and build again");
}

vipo_status vipo_eval_run(const char *path, const vipo_eval_options *options, vipo_eval_result *out,
                          vipo_error *error)
{
    (void)path, (void)options;
    memset(out, 0, sizeof *out);
    return absent(error);
}

vipo_status vipo_eval_merge(const char *path, const char *const *others, int n, vipo_eval_merge_result *out,
                            vipo_error *error)
{
    (void)path, (void)others, (void)n;
    memset(out, 0, sizeof *out);
    return absent(error);
}
