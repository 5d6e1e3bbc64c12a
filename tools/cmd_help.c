/* vipo help: the commands' tables in every form. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "help.h"

typedef struct help_options {
    common_options common;
    bool man, markdown;
    const char *completion;
} help_options;

/* ---- what the printers share ------------------------------------------------------------------------- */

const char help_about[] =
    "Video-generation robot policies: an observation and a task in, imagined frames out.";
const char help_exit_status[] = "0 done, 1 failed, 2 wrong usage, 130 interrupted.";

void help_each_line(FILE *stream, const char *text, void (*line)(FILE *stream, const char *at, int length))
{
    while (*text) {
        const int length = (int)strcspn(text, "\n");
        line(stream, text, length);
        text += length + (text[length] == '\n');
    }
}

const char *help_brief(const option *o, char *out, size_t size)
{
    enum { SHORTEST = 12 }; /* what ends before is a word that the rest explains: ".npy: float32 ..." */
    size_t length = strlen(o->help);
    for (size_t i = SHORTEST; i + 1 < length; i++)
        if (strchr(";:.", o->help[i]) && o->help[i + 1] == ' ') length = i;
    snprintf(out, size, "%.*s", (int)length, o->help);
    return out;
}

void help_print_marked(FILE *stream, const char *text, const char *set, const char *mark)
{
    for (; *text; text++) {
        if (strchr(set, *text)) fputs(mark, stream);
        fputc(*text, stream);
    }
}

/* ---- the command ------------------------------------------------------------------------------------- */

static const struct shell {
    const char *name;
    void (*print)(FILE *stream);
} shells[] = {
    {"bash", help_print_bash},
    {"zsh", help_print_zsh},
    {"fish", help_print_fish},
};
enum { N_SHELLS = sizeof shells / sizeof *shells };

static const char *shell_name(int i)
{
    return i < N_SHELLS ? shells[i].name : NULL;
}

#define AT(member) offsetof(help_options, member)
static const option form_options[] = {
    {.name = "man", .kind = OPTION_FLAG, .offset = AT(man), .help = "as a manual page, for `man -l`"},
    {.name = "markdown",
     .kind = OPTION_FLAG,
     .offset = AT(markdown),
     .help = "the options as Markdown tables"},
    {.name = "completion",
     .placeholder = "SHELL",
     .kind = OPTION_CHOICE,
     .offset = AT(completion),
     .choice = shell_name,
     .help = "a script that completes vipo's command line, for this shell"},
    {0},
};
static const option_group groups[] = {
    {"Form", form_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static int print_completion(tool *t, const help_options *options)
{
    if (t->use->arguments.count > 0)
        return tool_usage_error(t, "--completion is for all commands at once, unexpected argument '%.80s'",
                                t->use->arguments.items[0]);
    for (int i = 0; i < N_SHELLS; i++)
        if (strcmp(options->completion, shells[i].name) == 0) shells[i].print(stdout);
    return STATUS_DONE;
}

static int run(tool *t, void *values)
{
    const help_options *const options = values;
    const bool json = t->common->json;
    if (options->man + options->markdown + (options->completion != NULL) + json > 1)
        return tool_usage_error(t, "give one of --man, --markdown, --completion and --json");
    if (options->completion) return print_completion(t, options);

    const command *c = NULL;
    void *defaults = NULL;
    if (t->use->arguments.count > 0) {
        int words;
        char *const *const items = (char *const *)t->use->arguments.items;
        c = command_find_words(t->use->arguments.count, items, &words);
        if (!c) return command_unknown(t, t->use->arguments.count, items);
        if (words < t->use->arguments.count)
            return tool_usage_error(t, "unexpected argument '%.80s' (--help shows the usage)",
                                    t->use->arguments.items[words]);
        defaults = command_new_values(c);
        if (!defaults) return tool_fail(t, "out of memory");
    }
    int status = STATUS_DONE;
    if (json)
        status = tool_print_json(t, help_json(c));
    else if (options->man)
        help_print_man(stdout, c, defaults);
    else if (options->markdown)
        help_print_markdown(stdout, c, defaults);
    else
        help_print_text(stdout, c, defaults);
    free(defaults);
    return status;
}

const command command_help = {
    .name = "help",
    .summary = "help on a command, manual pages, completion for shells",
    .usage = "[COMMAND] [options]",
    .description = "Prints the list of commands, or the help of one; with --json their options as data.",
    .groups = groups,
    .examples = "vipo help plan\n"
                "vipo help --man plan | man -l -\n"
                "source <(vipo help --completion bash)",
    .values_size = sizeof(help_options),
    .max_arguments = 2,
    .argument = command_name,
    .run = run,
};
