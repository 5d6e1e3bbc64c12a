/* The `vipo` command: finds the command of the first argument, parses its options, runs it, and sees
 * that what it printed has arrived. A command is one file cmd_*.c and one line in commands.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "process.h"

/* ---- running a command ----------------------------------------------------------------------------- */

static int run_parsed(tool *t, const command *c, void *values)
{
    const int n = t->use->arguments.count;
    if (n > c->max_arguments)
        return tool_usage_error(t, "unexpected argument '%.80s' (--help shows the usage)",
                                t->use->arguments.items[c->max_arguments]);
    if (n < c->min_arguments) return tool_usage_error(t, "expected %s", c->usage);
    if (strcmp(t->common->device, "cuda") == 0)
        return tool_fail(t, "--device cuda: this version of vipo computes on the CPU only, use --device cpu");
    return c->run(t, values);
}

static int run_command(const command *c, int argc, char *const *argv)
{
    option_use use;
    char message[MESSAGE_SIZE];
    tool t = {.command = c, .use = &use, .begun = clock_seconds() - process_seconds()};
    void *const values = command_new_values(c);
    if (!values) return tool_fail(&t, "out of memory");
    t.common = (const common_options *)((const char *)values + c->common);

    int status;
    if (!options_parse(c->groups, values, argc, argv, &use, message)) {
        status = tool_usage_error(&t, "%s", message);
    } else if (t.common->help) {
        void *const defaults = command_new_values(c); /* values may hold what came before --help */
        if (defaults) help_print_text(stdout, c, defaults);
        free(defaults);
        status = defaults ? STATUS_DONE : tool_fail(&t, "out of memory");
    } else {
        interrupt_install();
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
    if (interrupt_signal()) { /* while it waited for the reader */
        fprintf(stderr, "vipo%s%s: interrupted\n", name ? " " : "", name ? name : "");
        return 128 + interrupt_signal();
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
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is a full disk: an error, not the end */
    tool t = {0};
    if (argc < 2) {
        fputs("Usage: vipo COMMAND [options]\nCommands:", stderr);
        for (int i = 0; command_name(i); i++) fprintf(stderr, " %s", command_name(i));
        fputs("\n`vipo help` describes them.\n", stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    int words = 1;
    const command *c = command_find_words(argc - 1, argv + 1, &words);
    if (!c) { /* --help, --version */
        c = command_find(name);
        words = 1;
    }
    if (!c) return command_unknown(&t, argc - 1, argv + 1);
    return close_standard_output(c->name, run_command(c, argc - 1 - words, argv + 1 + words), pipe_action);
}
