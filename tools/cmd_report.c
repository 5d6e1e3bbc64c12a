/* vipo report: tables, statistics and pages from stores of results. */
#include <string.h>

#include "commands.h"
#include "vipo/eval.h"

typedef struct report_options {
    common_options common;
    string_list out;
    vipo_report_options report;
} report_options;

#define AT(member) offsetof(report_options, member)
static const option own_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRINGS,
     .offset = AT(out),
     .endings = "md html json csv",
     .default_text = "Markdown on standard output",
     .help = ".md, .html (one page with everything in it), .json or .csv (a row per episode); "
             "eval_info.json: in LeRobot's "
             "shape; may repeat"},
    {.name = "baseline",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(report.baseline),
     .default_text = "the first settings of the first store",
     .help = "settings that others are compared with, by label or hash"},
    {.name = "title",
     .placeholder = "TEXT",
     .kind = OPTION_STRING,
     .offset = AT(report.title),
     .help = "of the report"},
    {.name = "videos",
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(report.videos),
     .help = "folder of films (`vipo eval --videos`) for the HTML page"},
    {.name = "max-videos",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(report.max_videos),
     .min = 0,
     .max = 1000,
     .help = "films in the page: of each task a success and a failure first"},
    {0},
};
static const option_group groups[] = {
    {"Report", own_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    report_options *const options = values;
    vipo_report_default_options(&options->report);
    options->report.title = "Evaluation";
}

static int print_text(tool *t, const vipo_report *report, const char *kind)
{
    char *text;
    vipo_error error = {0};
    if (vipo_report_text(report, kind, &text, &error) != VIPO_OK) return tool_library_error(t, &error);
    fputs(text, stdout);
    vipo_text_free(&text);
    return STATUS_DONE;
}

static int write_all(tool *t, const report_options *options, const vipo_report *report)
{
    vipo_error error = {0};
    for (int i = 0; i < options->out.count; i++) {
        if (vipo_report_write(report, options->out.items[i], &error) != VIPO_OK)
            return tool_library_error(t, &error);
        t->has_written = true;
        if (!t->common->json) tool_print_file(t, options->out.items[i]);
    }
    if (t->common->json) return print_text(t, report, "json");
    return options->out.count ? STATUS_DONE : print_text(t, report, "md");
}

static int run(tool *t, void *values)
{
    report_options *const options = values;
    vipo_report *report;
    vipo_report_info info;
    vipo_error error = {0};
    options->report.stores = t->use->arguments.items;
    options->report.n_stores = t->use->arguments.count;
    for (int i = 0; i < options->out.count; i++)
        if (vipo_report_check_path(options->out.items[i], &error) != VIPO_OK)
            return tool_usage_error(t, "%s", error.message);
    int status = tool_check_outputs(t, options->out.items, options->out.count);
    if (status != STATUS_DONE) return status;
    if (vipo_report_open(&report, &options->report, &error) != VIPO_OK) return tool_library_error(t, &error);
    vipo_report_get_info(report, &info);
    if (info.different)
        tool_warn(t, "%d episodes have other results in another store: the first ones count", info.different);
    status = write_all(t, options, report);
    vipo_report_close(&report);
    return status;
}

const command command_report = {
    .name = "report",
    .summary = "tables, statistics and pages from the results of evaluations",
    .usage = "STORE.db... [--out FILE]... [options]",
    .description = "Sums up what one or several stores hold: success by settings, task and camera with "
                   "intervals, what plans "
                   "cost, where the time goes, and samplers against each other on equal episodes.",
    .groups = groups,
    .examples =
        "vipo report results.db\n"
        "vipo report part1.db part2.db --out report.html --videos films --out tables.md --out episodes.csv\n"
        "vipo report results.db --baseline \"flow ddim-100\" --out eval_info.json",
    .values_size = sizeof(report_options),
    .common = AT(common),
    .min_arguments = 1,
    .max_arguments = LIST_CAPACITY,
    .set_defaults = set_defaults,
    .run = run,
};
