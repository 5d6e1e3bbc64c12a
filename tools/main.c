/* The `vipo` command: finds the command of the first argument, parses its options, runs it, and sees
 * that what it printed has arrived. A command is one file cmd_*.c and one line in the table below. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

static int run_help(tool *t, void *values);
static int run_version(tool *t, void *values);

typedef struct plain_options {
    common_options common;
} plain_options;
static const option_group plain_groups[] = {{"Common", common_option_table, offsetof(plain_options, common)},
                                            {0}};

static const command command_help = {
    .name = "help",
    .summary = "help on a command",
    .usage = "[COMMAND]",
    .description = "Prints the list of commands, or the help of one.",
    .groups = plain_groups,
    .examples = "vipo help plan",
    .values_size = sizeof(plain_options),
    .max_arguments = 1,
    .run = run_help,
};
static const command command_version = {
    .name = "version",
    .summary = "version of the library",
    .usage = "",
    .description = "Prints the version.",
    .groups = plain_groups,
    .examples = "vipo version --json",
    .values_size = sizeof(plain_options),
    .run = run_version,
};

static const command *const commands[] = {
    &command_plan, &command_compare, &command_denoise, &command_encode_text, &command_preprocess,
    &command_info, &command_convert, &command_help,    &command_version,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const char *command_name(int i)
{
    return i < N_COMMANDS ? commands[i]->name : NULL;
}

static const char *command_name_of(const void *list, int i)
{
    (void)list;
    return command_name(i);
}

static const command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static int unknown_command(tool *t, const char *name)
{
    char known[400];
    const char *const near = closest_name(name, command_name_of, NULL);
    join_choices(command_name, known, sizeof known);
    return tool_usage_error(t, "unknown command '%.80s', %s%s%sexpected %s", name,
                            near ? "did you mean " : "", near ? near : "", near ? "? " : "", known);
}

/* ---- help ------------------------------------------------------------------------------------------ */

static void print_overview(FILE *stream)
{
    fputs("Usage: vipo COMMAND [options]\n\n", stream);
    fputs(
        "Video-generation robot policies: an observation and a task in, imagined frames out.\n\nCommands:\n",
        stream);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(stream, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`vipo COMMAND --help` explains a command and shows examples.\n", stream);
}

static void print_command_help(FILE *stream, const command *c, const void *defaults)
{
    fprintf(stream, "Usage: vipo %s %s\n\n", c->name, c->usage);
    print_wrapped(stream, c->description, 0, 0);
    options_print_help(stream, c->groups, defaults);
    if (c->print_more) c->print_more(stream);
    fputs("\nExamples:\n", stream);
    for (const char *at = c->examples; *at;) {
        const int length = (int)strcspn(at, "\n");
        fprintf(stream, "  %.*s\n", length, at);
        at += length + (at[length] == '\n');
    }
    fputs("\nExit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n", stream);
}

static void *new_values(const command *c)
{
    char *const values = calloc(1, c->values_size);
    if (!values) return NULL;
    ((common_options *)(values + c->common))->device = "cpu";
    if (c->set_defaults) c->set_defaults(values);
    return values;
}

static int run_help(tool *t, void *values)
{
    (void)values;
    if (t->use->arguments.count == 0) {
        print_overview(stdout);
        return STATUS_DONE;
    }
    const command *const c = find_command(t->use->arguments.items[0]);
    if (!c) return unknown_command(t, t->use->arguments.items[0]);
    void *const defaults = new_values(c);
    if (!defaults) return tool_fail(t, "out of memory");
    print_command_help(stdout, c, defaults);
    free(defaults);
    return STATUS_DONE;
}

static int run_version(tool *t, void *values)
{
    (void)values;
    if (!t->common->json) {
        printf("vipo %s\n", vipo_version());
        return STATUS_DONE;
    }
    json_t *const out = json_object(), *const samplers = json_array();
    for (int i = 0; vipo_sampler_name(i); i++)
        json_array_append_new(samplers, json_text(vipo_sampler_name(i)));
    json_object_set_new(out, "version", json_text(vipo_version()));
    json_object_set_new(out, "samplers", samplers);
    return tool_print_json(t, out);
}

/* ---- running a command ----------------------------------------------------------------------------- */

static int run_parsed(tool *t, const command *c, void *values)
{
    const int n = t->use->arguments.count;
    if (n > c->max_arguments)
        return tool_usage_error(t, "unexpected argument '%.80s' (--help shows the usage)",
                                t->use->arguments.items[c->max_arguments]);
    if (n < c->min_arguments) return tool_usage_error(t, "expected %s", c->usage);
    if (strcmp(t->common->device, "cuda") == 0)
        return tool_fail(t, "--device cuda: this vipo was not built with CUDA, use --device cpu");
    return c->run(t, values);
}

static int run_command(const command *c, int argc, char *const *argv)
{
    option_use use;
    char message[MESSAGE_SIZE];
    tool t = {.command = c, .use = &use};
    void *const values = new_values(c);
    if (!values) return tool_fail(&t, "out of memory");
    t.common = (const common_options *)((const char *)values + c->common);

    int status;
    if (!options_parse(c->groups, values, argc, argv, &use, message)) {
        status = tool_usage_error(&t, "%s", message);
    } else if (t.common->help) {
        void *const defaults = new_values(c); /* values may hold what came before --help */
        if (defaults) print_command_help(stdout, c, defaults);
        free(defaults);
        status = defaults ? STATUS_DONE : tool_fail(&t, "out of memory");
    } else {
        progress_init(&t.bar, !t.common->quiet);
        status = run_parsed(&t, c, values);
        progress_erase(&t.bar);
    }
    free(values);
    return status;
}

/* Standard descriptors that the caller closed would be given to the next file that is opened, which
 * would then receive what is printed. */
static void occupy_standard_descriptors(void)
{
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", i == 2 ? O_WRONLY : O_RDONLY) != i)
            _exit(STATUS_FAILED);
}

/* A full disk under standard output is a failure; a reader that has seen enough (`| head`) ends the
 * process in the way that is usual, by SIGPIPE, without a message. */
static int close_standard_output(const char *name, int status, void (*pipe_action)(int))
{
    errno = 0;
    const bool failed = ferror(stdout) != 0;
    const bool flushed = fflush(stdout) == 0;
    if (!failed && flushed) return status;
    if (errno == EPIPE) {
        signal(SIGPIPE, pipe_action);
        raise(SIGPIPE);
        return status ? status : STATUS_FAILED;
    }
    fprintf(stderr, "vipo%s%s: cannot write to standard output: %s\n", name ? " " : "", name ? name : "",
            strerror(errno ? errno : EIO));
    return status ? status : STATUS_FAILED;
}

int main(int argc, char **argv)
{
    /* room for whatever a command prints: one write at the end, whose errno says why it failed */
    static char standard_output[1 << 18];
    occupy_standard_descriptors();
    setvbuf(stdout, standard_output, _IOFBF, sizeof standard_output);
    void (*const pipe_action)(int) = signal(SIGPIPE, SIG_IGN);
    tool t = {0};
    if (argc < 2) {
        fputs("Usage: vipo COMMAND [options]\nCommands:", stderr);
        for (int i = 0; i < N_COMMANDS; i++) fprintf(stderr, " %s", commands[i]->name);
        fputs("\n`vipo help` describes them.\n", stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const command *const c = find_command(name);
    if (!c) return unknown_command(&t, name);
    return close_standard_output(name, run_command(c, argc - 2, argv + 2), pipe_action);
}
