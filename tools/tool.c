#include "tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "interrupt.h"

static const char *device_name(int i)
{
    static const char *const names[] = {"cpu", "cuda", NULL};
    return i < 2 ? names[i] : NULL;
}

const char *compute_name(int i)
{
    static const char *const names[] = {"ref", "avx2", "avx512", "amx"};
    return i < (int)(sizeof names / sizeof names[0]) ? names[i] : NULL;
}

#define AT(member) offsetof(common_options, member)
const option common_option_table[] = {
    {.name = "json", .kind = OPTION_FLAG, .offset = AT(json), .help = "print results as JSON"},
    {.name = "threads",
     .letter = 'j',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(threads),
     .min = 1,
     .max = 1024,
     .default_text = "all cores",
     .help = "threads to compute with; results do not depend on it"},
    {.name = "device",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(device),
     .choice = device_name,
     .help = "where to compute; this version: cpu only"},
    {.name = "quiet",
     .letter = 'q',
     .kind = OPTION_FLAG,
     .offset = AT(quiet),
     .help = "no progress, no warnings, no list of written files"},
    {.name = "verbose",
     .letter = 'v',
     .kind = OPTION_COUNT,
     .offset = AT(verbose),
     .help = "say what is being done; twice: every detail"},
    {.name = "help", .letter = 'h', .kind = OPTION_FLAG, .offset = AT(help), .help = "print this help"},
    {0},
};

/* ---- standard error -------------------------------------------------------------------------------- */

void print_safe(FILE *stream, const char *text)
{
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text, next = (unsigned char)text[1];
        const bool is_c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080..U+009F, UTF-8 */
        fputc(byte < 32 || byte == 127 || is_c1 ? '?' : byte, stream);
        text += is_c1;
    }
}

static void say(tool *t, const char *kind, const char *line)
{
    progress_erase(&t->bar);
    fprintf(stderr, "vipo%s%s: %s", t->command ? " " : "", t->command ? t->command->name : "", kind);
    print_safe(stderr, line);
    fputc('\n', stderr);
}

#define SAY(kind)                                                                                            \
    do {                                                                                                     \
        char line_[1024];                                                                                    \
        va_list arguments_;                                                                                  \
        va_start(arguments_, format);                                                                        \
        vsnprintf(line_, sizeof line_, format, arguments_);                                                  \
        va_end(arguments_);                                                                                  \
        say(t, kind, line_);                                                                                 \
    } while (0)

int tool_fail(tool *t, const char *format, ...)
{
    SAY("");
    return STATUS_FAILED;
}

int tool_usage_error(tool *t, const char *format, ...)
{
    SAY("");
    return STATUS_USAGE;
}

#define CUT_SHORT "a file was cut short while it was being read"

int tool_interrupted(tool *t)
{
    say(t, "",
        interrupt_signal() == SIGBUS ? CUT_SHORT ", nothing was written"
        : t->has_written             ? "interrupted, not all outputs were written"
                                     : "interrupted, nothing was written");
    if (interrupt_signal() == SIGBUS) return STATUS_FAILED;
    return 128 + interrupt_signal();
}

int tool_library_error(tool *t, const vipo_error *error)
{
    if (interrupt_signal()) return tool_interrupted(t); /* whatever it made fail */
    if (t->trace_error.status != VIPO_OK) error = &t->trace_error;
    say(t, "", error->message[0] ? error->message : vipo_status_text(error->status));
    return STATUS_FAILED;
}

int tool_resumable_error(tool *t, const vipo_error *error, const char *episodes, bool some, const char *out)
{
    static const char again[] = "the same command goes on from there";
    const int number = interrupt_signal();
    if (number && number != SIGBUS) {
        tool_fail(t, "interrupted; %s are in %.300s, %s", episodes, out, again);
        return 128 + number;
    }
    if (!some) return tool_library_error(t, error);
    return tool_fail(t, "%s; %s are kept, %s", number ? CUT_SHORT : error->message, episodes, again);
}

void tool_warn(tool *t, const char *format, ...)
{
    if (!t->common->quiet) SAY("warning: ");
}

void tool_note(tool *t, const char *format, ...)
{
    if (t->common->verbose) SAY("");
}

/* ---- callbacks ------------------------------------------------------------------------------------- */

static void on_log(void *user, vipo_log_level level, const char *line)
{
    tool *const t = user;
    const int loudest = t->common->quiet ? VIPO_LOG_ERROR : VIPO_LOG_WARNING + t->common->verbose;
    if ((int)level > loudest) return;
    say(t, level == VIPO_LOG_WARNING ? "warning: " : "", line);
}

static void on_progress(void *user, const char *phase, double done, double total)
{
    progress_update(&((tool *)user)->bar, phase, done, total);
}

static void on_trace(void *user, const char *json_line)
{
    tool *const t = user;
    if (vipo_output_write(t->trace, json_line, strlen(json_line), &t->trace_error) == VIPO_OK)
        vipo_output_write(t->trace, "\n", 1, &t->trace_error);
}

static bool on_cancelled(void *user)
{
    return ((tool *)user)->trace_error.status != VIPO_OK || interrupt_signal() != 0;
}

vipo_callbacks tool_callbacks(tool *t)
{
    return (vipo_callbacks){.user = t,
                            .log = on_log,
                            .progress = on_progress,
                            .trace = t->trace ? on_trace : NULL,
                            .cancelled = on_cancelled};
}

/* The folder that a path's last part is in: device and number. */
static bool find_folder(const char *path, struct stat *out)
{
    char *const folder = strdup(path);
    if (!folder) return false;
    char *const slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0'; /* "/a" -> "/", "b/a" -> "b" */
    const bool found = stat(slash ? folder : ".", out) == 0;
    free(folder);
    return found;
}

static const char *last_part(const char *path)
{
    const char *const slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Are two outputs one file? Devices and pipes may be written twice. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    const bool there = stat(a, &x) == 0;
    if (there != (stat(b, &y) == 0)) return false;
    if (there) return S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return strcmp(last_part(a), last_part(b)) == 0 && find_folder(a, &x) && find_folder(b, &y) &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int tool_check_outputs(tool *t, const char *const *paths, int n)
{
    vipo_error error = {0};
    for (int i = 0; i < n; i++) {
        if (!paths[i]) continue;
        for (int j = 0; j < i; j++)
            if (paths[j] && same_file(paths[i], paths[j]))
                return tool_usage_error(t, "%.300s: two outputs have this name, expected different files",
                                        paths[i]);
        if (vipo_output_check(paths[i], &error) != VIPO_OK) return tool_library_error(t, &error);
    }
    return STATUS_DONE;
}

/* ---- results --------------------------------------------------------------------------------------- */

int tool_print_json(tool *t, json_t *value)
{
    return tool_print_json_digits(t, value, 9);
}

int tool_print_json_digits(tool *t, json_t *value, int digits)
{
    progress_erase(&t->bar);
    if (!value) return tool_fail(t, "out of memory for the results");
    const int failed = json_dumpf(value, stdout, JSON_REAL_PRECISION((size_t)digits) | JSON_ENCODE_ANY);
    json_decref(value);
    fputc('\n', stdout);
    /* A failed write is found when standard output is closed. */
    return failed && !ferror(stdout) ? tool_fail(t, "out of memory for the results") : STATUS_DONE;
}

json_t *json_number(double value)
{
    json_t *const number = json_real(value);
    return number ? number : json_null();
}

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value) return value;
    char *const copy = strdup(text);
    if (!copy) return NULL;
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at > 126) *at = '?';
    value = json_string(copy);
    free(copy);
    return value;
}

json_t *json_shape(const vipo_array *array)
{
    json_t *const shape = json_array();
    for (int i = 0; i < array->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)array->shape[i]));
    return shape;
}

const char *format_bytes(double bytes, char *out, size_t size)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    int unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
    snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

/* Bytes of a file, -1 if it cannot be told. */
static double file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (double)info.st_size : -1;
}

void tool_print_file(tool *t, const char *path)
{
    char bytes[32];
    if (t->common->quiet) return;
    print_safe(stdout, path);
    printf("  %s\n", format_bytes(file_bytes(path), bytes, sizeof bytes));
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int n)
{
    if (n < 1) return 0;
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}
