#include "commands.h"

#include <stdlib.h>
#include <string.h>

static const command *const commands[] = {
    &command_plan,       &command_compare,     &command_denoise,   &command_encode_text, &command_preprocess,
    &command_info,       &command_convert,     &command_calibrate, &command_bench,       &command_flow,
    &command_motion,     &command_act,         &command_sim_list,  &command_sim_render,  &command_sim_expert,
    &command_sim_replay, &command_sim_collect, &command_eval,      &command_eval_merge,  &command_report,
    &command_help,       &command_version,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

const command *command_at(int i)
{
    return i < N_COMMANDS ? commands[i] : NULL;
}

const char *command_name(int i)
{
    return i < N_COMMANDS ? commands[i]->name : NULL;
}

const command *command_find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

const command *command_find_words(int argc, char *const *argv, int *words)
{
    char joined[64];
    *words = 1;
    const command *const c = argc > 0 ? command_find(argv[0]) : NULL;
    if (argc < 2) return c;
    /* the longer name first: "eval merge" is not "eval" with an argument */
    const int n = snprintf(joined, sizeof joined, "%s-%s", argv[0], argv[1]);
    const command *const longer = n > 0 && (size_t)n < sizeof joined ? command_find(joined) : NULL;
    if (longer || !c) *words = 2;
    return longer ? longer : c;
}

void *command_new_values(const command *c)
{
    char *const values = calloc(1, c->values_size);
    if (!values) return NULL;
    ((common_options *)(values + c->common))->device = "cpu";
    if (c->set_defaults) c->set_defaults(values);
    return values;
}

static const char *name_of(const void *list, int i)
{
    (void)list;
    return command_name(i);
}

/* "list", "render" ...: what may follow the word `first` in the names of two words; returns how many there are. */
static int second_words(const char *first, char *out, size_t size)
{
    const size_t length = strlen(first);
    const char *seconds[N_COMMANDS];
    int n = 0;
    for (int i = 0; i < N_COMMANDS; i++)
        if (strncmp(commands[i]->name, first, length) == 0 && commands[i]->name[length] == '-')
            seconds[n++] = commands[i]->name + length + 1;
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < n && used < size; i++) {
        const int written = snprintf(out + used, size - used, "%s%s",
                                     i == 0      ? ""
                                     : i + 1 < n ? ", "
                                                 : " or ",
                                     seconds[i]);
        used += written > 0 ? (size_t)written : 0;
    }
    return n;
}

int command_unknown(tool *t, int argc, char *const *argv)
{
    char known[400];
    const char *const name = argv[0];
    if (*name && second_words(name, known, sizeof known) > 1) {
        if (argc == 1 || argv[1][0] == '-')
            return tool_usage_error(t, "'%.80s' needs a second word: %s", name, known);
        return tool_usage_error(t, "unknown command '%.80s %.80s', after '%.80s' expected %s", name, argv[1],
                                name, known);
    }
    const char *const near = closest_name(name, name_of, NULL);
    join_choices(command_name, known, sizeof known);
    return tool_usage_error(t, "unknown command '%.80s', %s%s%sexpected %s", name,
                            near ? "did you mean " : "", near ? near : "", near ? "? " : "", known);
}
