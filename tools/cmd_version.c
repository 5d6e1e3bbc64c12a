/* vipo version. */
#include "commands.h"

typedef struct version_options {
    common_options common;
} version_options;

static const option_group groups[] = {{"Common", common_option_table, offsetof(version_options, common)},
                                      {0}};

static int run(tool *t, void *values)
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

const command command_version = {
    .name = "version",
    .summary = "version of the library",
    .usage = "",
    .description = "Prints the version.",
    .groups = groups,
    .examples = "vipo version --json",
    .values_size = sizeof(version_options),
    .run = run,
};
