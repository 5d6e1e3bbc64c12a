/* What every command of the tool shares: its description, its common options, the way it reports
 * results, errors and progress. */
#ifndef VIPO_TOOLS_TOOL_H
#define VIPO_TOOLS_TOOL_H

#include <jansson.h>

#include "options.h"
#include "progress.h"
#include "vipo/vipo.h"

/* Exit statuses; 128 + signal after an interruption. */
enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

typedef struct common_options {
    bool help, json, quiet;
    int verbose;
    int threads; /* 0: all cores */
    const char *device;
} common_options;
extern const option common_option_table[];
/* Kernels that --compute can name; which of them there are depends on the machine. */
const char *compute_name(int i);

typedef struct tool tool;

/* Names that the help of a command explains, such as samplers. */
typedef struct glossary {
    const char *title;
    const char *(*name)(int i); /* i-th name, NULL past the end */
    const char *(*meaning)(int i);
} glossary;

typedef struct command {
    const char *name;
    const char *summary; /* one line for the list of commands */
    const char *usage;   /* what follows the name */
    const char *description;
    const option_group *groups;
    const glossary *glossary;           /* printed after the options; may be NULL */
    const char *examples;               /* lines, without indent */
    size_t values_size;                 /* of the struct that the options fill */
    size_t common;                      /* offset of its common_options */
    int min_arguments, max_arguments;   /* besides options */
    const char *(*argument)(int i);     /* what they can be; NULL: files */
    void (*set_defaults)(void *values); /* on zeroed memory; NULL: zeros */
    int (*run)(tool *t, void *values);  /* returns the exit status */
} command;

struct tool {
    const command *command;
    const common_options *common;
    const option_use *use;
    progress bar;
    double begun;           /* clock_seconds() when the process was started */
    vipo_output *trace;     /* where trace lines go, if open */
    bool has_written;       /* one output of several is complete */
    vipo_error trace_error; /* why they no longer do; ends the library call under way */
};

/* Reporting a failure: one line on standard error. Each returns the exit status. */
int tool_fail(tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
int tool_usage_error(tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
int tool_library_error(tool *t, const vipo_error *error);
int tool_interrupted(tool *t);
/* The same of a command that keeps what is complete: `episodes`, "3 of 12 episodes", are in `out`; `some`: more than none. */
int tool_resumable_error(tool *t, const vipo_error *error, const char *episodes, bool some, const char *out);

void tool_warn(tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Only with --verbose. */
void tool_note(tool *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Log, progress, trace and cancellation wired to the tool. */
vipo_callbacks tool_callbacks(tool *t);

/* Checks all outputs before the work: each can be written, and no two are one file. NULL: an output that is not
 * wanted. Returns the exit status. */
int tool_check_outputs(tool *t, const char *const *paths, int n);

/* ---- printing results ------------------------------------------------------------------------------ */

/* Prints one JSON value on a line of its own and releases it. */
int tool_print_json(tool *t, json_t *value);
/* The same with so many digits of each number, 17 for all of a double; it is 9 otherwise. */
int tool_print_json_digits(tool *t, json_t *value, int digits);
json_t *json_number(double value);   /* null if it is not finite */
json_t *json_text(const char *text); /* bytes that are not UTF-8 become '?' */
json_t *json_shape(const vipo_array *array);
/* "plan.gif  214.3 kB", unless --quiet */
void tool_print_file(tool *t, const char *path);
/* "12.3 MB" */
const char *format_bytes(double bytes, char *out, size_t size);
/* The middle value (the mean of two); sorts. */
double median(double *values, int n);

/* Text to standard output with control characters and bytes that are not printable replaced. */
void print_safe(FILE *stream, const char *text);

#endif
