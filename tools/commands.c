#include "commands.h"

#include <stdlib.h>
#include <string.h>

static const command *const commands[] = {
    &command_plan,       &command_compare,    &command_denoise,     &command_encode_text, &command_preprocess,
    &command_info,       &command_convert,    &command_calibrate,   &command_sim_list,    &command_sim_render,
    &command_sim_expert, &command_sim_replay, &command_sim_collect, &command_help,        &command_version,
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
    if (c || argc < 2) return c;
    *words = 2;
    const int n = snprintf(joined, sizeof joined, "%s-%s", argv[0], argv[1]);
    return n > 0 && (size_t)n < sizeof joined ? command_find(joined) : NULL;
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

int command_unknown(tool *t, const char *name)
{
    char known[400];
    const char *const near = closest_name(name, name_of, NULL);
    join_choices(command_name, known, sizeof known);
    return tool_usage_error(t, "unknown command '%.80s', %s%s%sexpected %s", name,
                            near ? "did you mean " : "", near ? near : "", near ? "? " : "", known);
}
