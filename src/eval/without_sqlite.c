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

void vipo_report_default_options(vipo_report_options *options)
{
    memset(options, 0, sizeof *options);
}

vipo_status vipo_report_open(vipo_report **out, const vipo_report_options *options, vipo_error *error)
{
    (void)options;
    *out = NULL;
    return absent(error);
}

/* There is no report to call the rest with. */

void vipo_report_close(vipo_report **report)
{
    *report = NULL;
}

void vipo_report_get_info(const vipo_report *report, vipo_report_info *out)
{
    (void)report;
    memset(out, 0, sizeof *out);
}

vipo_status vipo_report_write(const vipo_report *report, const char *path, vipo_error *error)
{
    (void)report, (void)path;
    return absent(error);
}

vipo_status vipo_report_check_path(const char *path, vipo_error *error)
{
    (void)path;
    return absent(error);
}

vipo_status vipo_report_text(const vipo_report *report, const char *kind, char **out, vipo_error *error)
{
    (void)report, (void)kind;
    *out = NULL;
    return absent(error);
}
