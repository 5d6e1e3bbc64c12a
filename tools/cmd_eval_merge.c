/* vipo eval merge: stores of results into one. */
#include "commands.h"
#include "vipo/eval.h"

typedef struct merge_options {
    common_options common;
    const char *out;
} merge_options;

#define AT(member) offsetof(merge_options, member)
static const option own_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .endings = "db",
     .required = true,
     .help = "store that the episodes are added to; made if it is not there"},
    {0},
};
static const option_group groups[] = {
    {"Stores", own_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static int run(tool *t, void *values)
{
    const merge_options *const options = values;
    const string_list *const others = &t->use->arguments;
    vipo_eval_merge_result r;
    vipo_error error = {0};
    if (vipo_eval_merge(options->out, others->items, others->count, &r, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    if (r.different)
        tool_warn(t, "%d episodes have other results in another store: the ones that came first stay",
                  r.different);
    if (t->common->json) {
        json_t *const out = json_object();
        json_object_set_new(out, "out", json_text(options->out));
        json_object_set_new(out, "episodes", json_integer(r.episodes));
        json_object_set_new(out, "added", json_integer(r.added));
        json_object_set_new(out, "present", json_integer(r.present));
        json_object_set_new(out, "different", json_integer(r.different));
        json_object_set_new(out, "digest", json_text(r.digest));
        return tool_print_json(t, out);
    }
    printf("%d episodes added, %d were there before; %d in all\n", r.added, r.present + r.different,
           r.episodes);
    tool_print_file(t, options->out);
    return STATUS_DONE;
}

const command command_eval_merge = {
    .name = "eval-merge",
    .summary = "joins the stores of several evaluations",
    .usage = "--out FILE.db STORE.db...",
    .description = "Adds the episodes of the given stores to another one. Episodes that it has already stay "
                   "as they are; "
                   "where results differ there is a warning.",
    .groups = groups,
    .examples = "vipo eval merge --out all.db part1.db part2.db",
    .values_size = sizeof(merge_options),
    .common = AT(common),
    .min_arguments = 1,
    .max_arguments = LIST_CAPACITY,
    .run = run,
};
