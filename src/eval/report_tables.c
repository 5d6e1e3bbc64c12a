/* The tables of a report: what stands in each cell. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/report.h"

#define CELL char out[VIPO_TABLE_CELL]

void vipo_format_rate(const vipo_tally *t, char out[VIPO_CELL])
{
    out[0] = '\0';
    if (t->episodes)
        snprintf(out, VIPO_CELL, "%.1f %% [%.1f, %.1f]", 100 * vipo_tally_rate(t), 100 * t->low,
                 100 * t->high);
}

void vipo_format_number(double value, const char *format, char out[VIPO_CELL])
{
    if (isfinite(value)) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(out, VIPO_CELL, format, value);
#pragma GCC diagnostic pop
    } else {
        snprintf(out, VIPO_CELL, "-");
    }
}

static void put_number(CELL, double value, const char *format)
{
    char text[VIPO_CELL];
    vipo_format_number(value, format, text);
    snprintf(out, VIPO_TABLE_CELL, "%s", text);
}

static void put_text(CELL, const char *text)
{
    snprintf(out, VIPO_TABLE_CELL, "%s", text);
}

static void put_rate(CELL, const vipo_tally *t)
{
    char text[VIPO_CELL];
    vipo_format_rate(t, text);
    put_text(out, text);
}

/* ---- 0: success ------------------------------------------------------------------------------------------ */

static void success_cell(const vipo_report *report, int row, int column, CELL)
{
    static const char *const names[] = {"settings",         "profile", "episodes", "success [95 %]",
                                        "steps to success", "plans",   "return",   "failed early"};
    if (row < 0) {
        put_text(out, names[column]);
        return;
    }
    const vipo_settings_summary *const s = &report->settings[row];
    const vipo_tally *const t = &s->all;
    switch (column) {
    case 0:
        put_text(out, s->settings.label);
        break;
    case 1:
        put_text(out, s->profile);
        break;
    case 2:
        put_number(out, t->episodes, "%.0f");
        break;
    case 3:
        put_rate(out, t);
        break;
    case 4:
        put_number(out, vipo_ratio(t->steps_to_success, t->successes), "%.1f");
        break;
    case 5:
        put_number(out, vipo_ratio(t->plans, t->episodes), "%.2f");
        break;
    case 6:
        put_number(out, vipo_ratio(t->total_reward, t->episodes), "%.1f");
        break;
    default:
        put_number(out, t->errors, "%.0f");
        break;
    }
}

/* ---- 1, 2: success by task, by camera -------------------------------------------------------------------- */

static void grid_cell(const vipo_report *report, int row, int column, bool tasks, CELL)
{
    const int n = tasks ? report->n_tasks : report->n_cameras;
    if (column == 0) {
        put_text(out, row < 0            ? (tasks ? "task" : "camera")
                      : row < n && tasks ? report->tasks[row]
                      : row < n          ? report->cameras[row]
                                         : "all");
        return;
    }
    const vipo_settings_summary *const s = &report->settings[column - 1];
    if (row < 0)
        put_text(out, s->settings.label);
    else
        put_rate(out, row == n ? &s->all : tasks ? &s->by_task[row] : &s->by_camera[row]);
}

static void task_cell(const vipo_report *report, int row, int column, CELL)
{
    grid_cell(report, row, column, true, out);
}

static void camera_cell(const vipo_report *report, int row, int column, CELL)
{
    grid_cell(report, row, column, false, out);
}

/* ---- 3: what plans cost ---------------------------------------------------------------------------------- */

static void cost_cell(const vipo_report *report, int row, int column, CELL)
{
    static const char *const names[] = {"settings",        "calls per plan",  "evaluations per plan",
                                        "rounds per plan", "drafts accepted", "s per plan",
                                        "median s",        "speed-up"};
    if (row < 0) {
        put_text(out, names[column]);
        return;
    }
    const vipo_settings_summary *const s = &report->settings[row], *const base =
                                                                       &report->settings[report->baseline];
    const vipo_tally *const t = &s->all;
    switch (column) {
    case 0:
        put_text(out, s->settings.label);
        break;
    case 1:
        put_number(out, vipo_ratio(t->calls, t->plans), "%.2f");
        break;
    case 2:
        put_number(out, vipo_ratio(t->evaluations, t->plans), "%.2f");
        break;
    case 3:
        put_number(out, t->rounds > 0 ? vipo_ratio(t->rounds, t->plans) : NAN, "%.2f");
        break;
    case 4:
        put_number(out, 100 * vipo_ratio(t->accepted, t->drafted), "%.1f %%");
        break;
    case 5:
        put_number(out, vipo_ratio(t->planning_seconds, t->plans), "%.3f");
        break;
    case 6:
        put_number(out, s->median_plan_seconds, "%.3f");
        break;
    default:
        put_number(out,
                   vipo_ratio(base->all.planning_seconds, base->all.plans) /
                       vipo_ratio(t->planning_seconds, t->plans),
                   "%.2f");
        break;
    }
}

/* ---- 4: where the time of an episode goes ----------------------------------------------------------------- */

static void time_cell(const vipo_report *report, int row, int column, CELL)
{
    static const char *const names[] = {"settings", "s per episode", "planning",  "flow",
                                        "acting",   "physics",       "rendering", "other"};
    if (row < 0) {
        put_text(out, names[column]);
        return;
    }
    const vipo_tally *const t = &report->settings[row].all;
    const double n = t->episodes;
    const double known =
        t->planning_seconds + t->flow_seconds + t->acting_seconds + t->physics_seconds + t->rendering_seconds;
    const double values[] = {0,
                             t->seconds,
                             t->planning_seconds,
                             t->flow_seconds,
                             t->acting_seconds,
                             t->physics_seconds,
                             t->rendering_seconds,
                             fmax(t->seconds - known, 0)};
    if (column == 0)
        put_text(out, report->settings[row].settings.label);
    else
        put_number(out, vipo_ratio(values[column], n), "%.3f");
}

/* ---- 5: settings against each other ------------------------------------------------------------------------ */

static void comparison_cell(const vipo_report *report, int row, int column, CELL)
{
    static const char *const names[] = {"A", "B", "pairs", "success A", "success B", "only A", "only B", "p"};
    if (row < 0) {
        put_text(out, names[column]);
        return;
    }
    const vipo_comparison *const c = &report->comparisons[row];
    switch (column) {
    case 0:
        put_text(out, report->settings[c->a].settings.label);
        break;
    case 1:
        put_text(out, report->settings[c->b].settings.label);
        break;
    case 2:
        put_number(out, c->pairs, "%.0f");
        break;
    case 3:
        put_number(out, 100.0 * c->successes_a / c->pairs, "%.1f %%");
        break;
    case 4:
        put_number(out, 100.0 * c->successes_b / c->pairs, "%.1f %%");
        break;
    case 5:
        put_number(out, c->only_a, "%.0f");
        break;
    case 6:
        put_number(out, c->only_b, "%.0f");
        break;
    default:
        put_number(out, c->p, "%.3g");
        break;
    }
}

/* ---- 6: reasons -------------------------------------------------------------------------------------------- */

static void failure_cell(const vipo_report *report, int row, int column, CELL)
{
    if (row < 0)
        put_text(out, column ? "episodes" : "reason");
    else if (column)
        put_number(out, report->failures[row].count, "%.0f");
    else
        put_text(out, report->failures[row].error);
}

void vipo_report_table(const vipo_report *report, int i, vipo_table *out)
{
    const int n = report->n_settings;
    int plans = 0;
    for (int k = 0; k < n; k++) plans += report->settings[k].all.plans;
    const vipo_table tables[VIPO_REPORT_TABLES] = {
        {"Success", "Rates with Wilson's 95 % interval. A step is 12.5 ms of simulated time.", n, 8,
         success_cell},
        {"Success by task", NULL, report->n_tasks + 1, n + 1, task_cell},
        {"Success by camera", NULL, report->n_cameras > 1 ? report->n_cameras + 1 : 0, n + 1, camera_cell},
        {"Cost of plans",
         "A call is one run of the network, of any number of rows; evaluations are rows. Speed-up: of the "
         "mean time of a "
         "plan, over the baseline's.",
         plans ? n : 0, 8, cost_cell},
        {"Seconds of an episode",
         "Means. Planning: making videos; flow: from video to motion; acting: deciding steps; physics and "
         "rendering: the "
         "simulator.",
         n, 8, time_cell},
        {"Paired comparisons",
         "Episodes of equal task, camera and seed. p: McNemar's exact test, two-sided; no correction for "
         "several tests.",
         report->n_comparisons, 8, comparison_cell},
        {"Episodes that could not go on", "They count as failures.", report->n_failures, 2, failure_cell}};
    *out = tables[i];
}

/* ---- Markdown ---------------------------------------------------------------------------------------------- */

static void add_row(const vipo_report *report, const vipo_table *table, int row, vipo_text *out)
{
    char cell[VIPO_TABLE_CELL];
    vipo_text_add(out, "|");
    for (int column = 0; column < table->columns; column++) {
        table->cell(report, row, column, cell);
        vipo_text_add(out, " ");
        vipo_text_add_cell(out, cell);
        vipo_text_add(out, " |");
    }
    vipo_text_add(out, "\n");
}

static vipo_status write_markdown(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    vipo_report_info info;
    (void)error;
    vipo_report_get_info(report, &info);
    vipo_text_add(out, "# %s\n\n%d episodes, %d with success; results %s\n", report->title, info.episodes,
                  info.successes, info.digest);
    for (int i = 0; i < VIPO_REPORT_TABLES; i++) {
        vipo_table table;
        vipo_report_table(report, i, &table);
        if (!table.rows) continue;
        vipo_text_add(out, "\n## %s\n\n", table.title);
        if (table.note) vipo_text_add(out, "%s\n\n", table.note);
        add_row(report, &table, -1, out);
        vipo_text_add(out, "|---|");
        for (int k = 1; k < table.columns; k++) vipo_text_add(out, "---:|");
        vipo_text_add(out, "\n");
        for (int row = 0; row < table.rows; row++) add_row(report, &table, row, out);
    }
    return VIPO_OK;
}

const vipo_report_form vipo_report_form_markdown = {.kind = "md", .write = write_markdown};
