/* One page that needs nothing else: tables, drawings, films. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/mapped_file.h"
#include "eval/report.h"

enum { PATH_ROOM = 2048 };

static const char head[] =
    "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n"
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1c1c22;--paper:#fff;--line:#d6d6de;--soft:#f4f4f8}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e8ee;--paper:#16161a;--line:#3a3a44;--soft:#202028}}\n"
    "body{font:15px/1.5 "
    "system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;"
    "padding:0 1rem}\n"
    "h1,h2{line-height:1.2}.scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{border-bottom:1px solid var(--line);padding:.3em .7em;text-align:right;white-space:nowrap}\n"
    "th:first-child,td:first-child{text-align:left}tr:hover td{background:var(--soft)}\n"
    ".note{opacity:.75}svg{max-width:48rem;width:100%;display:block}svg "
    "text{font-size:12px;fill:currentColor}\n"
    ".grid{stroke:var(--line)}.thick{stroke-width:3}.s0{stroke:#3465a4}\n"
    ".f0{fill:#3465a4}.f1{fill:#e08e0b}.f2{fill:#8f5ba6}.f3{fill:#4e9a51}.f4{fill:#c4493d}.f5{fill:#8a8a94}\n"
    ".films{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:34rem}video{width:100%}\n"
    "pre{background:var(--soft);padding:.7em;overflow-x:auto}\n"
    "</style>\n";

static void add_table(const vipo_report *report, const vipo_table *table, vipo_text *out)
{
    char cell[VIPO_TABLE_CELL];
    vipo_text_add(out, "<div class=\"scroll\"><table>\n");
    for (int row = -1; row < table->rows; row++) {
        vipo_text_add(out, "<tr>");
        for (int column = 0; column < table->columns; column++) {
            table->cell(report, row, column, cell);
            vipo_text_add(out, row < 0 ? "<th>" : "<td>");
            vipo_text_add_html(out, cell);
            vipo_text_add(out, row < 0 ? "</th>" : "</td>");
        }
        vipo_text_add(out, "</tr>\n");
    }
    vipo_text_add(out, "</table></div>\n");
}

/* ---- films ----------------------------------------------------------------------------------------------- */

static vipo_status add_film(const vipo_report *report, const vipo_settings_summary *s, const vipo_record *r,
                            vipo_text *out, vipo_error *error)
{
    char path[PATH_ROOM];
    vipo_mapped_file file;
    snprintf(path, sizeof path, "%s/%s", report->videos, r->video);
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_text_add(out, "<figure><video controls loop muted playsinline src=\"data:video/mp4;base64,");
    vipo_text_add_base64(out, file.data, file.size);
    vipo_mapped_file_close(&file);
    vipo_text_add(out, "\"></video><figcaption>");
    vipo_text_add_html(out, r->task);
    vipo_text_add(out, ", ");
    vipo_text_add_html(out, r->camera);
    vipo_text_add(out, ", seed %llu, ", (unsigned long long)r->seed);
    vipo_text_add_html(out, s->settings.label);
    vipo_text_add(out, ": %s</figcaption></figure>\n", r->success ? "success" : "failure");
    return VIPO_OK;
}

/* A store may have been joined from several machines, and films may have been tidied away: what is not in the folder is
 * not shown. */
static bool has_film(const vipo_report *report, const vipo_record *r)
{
    char path[PATH_ROOM];
    if (!r->video[0] || strchr(r->video, '/')) return false;
    snprintf(path, sizeof path, "%s/%s", report->videos, r->video);
    return access(path, F_OK) == 0;
}

/* Is this the first film of its task and settings, with that outcome? Those are shown before others. */
static bool is_first(const vipo_report *report, const vipo_settings_summary *s, int k)
{
    const vipo_record *const r = &report->records[s->first + k];
    for (int i = 0; i < k; i++) {
        const vipo_record *const other = &report->records[s->first + i];
        if (strcmp(other->task, r->task) == 0 && other->success == r->success && has_film(report, other))
            return false;
    }
    return true;
}

static vipo_status add_films(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    int left = report->max_videos;
    bool begun = false;
    if (!report->videos[0]) return VIPO_OK;
    if (access(report->videos, F_OK) != 0)
        return vipo_fail(error, VIPO_IO, "%.400s: no such folder of films", report->videos);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < report->n_settings; i++) {
            const vipo_settings_summary *const s = &report->settings[i];
            for (int k = 0; k < s->n && left > 0; k++) {
                const vipo_record *const r = &report->records[s->first + k];
                if (!has_film(report, r) || is_first(report, s, k) != (pass == 0)) continue;
                if (!begun) vipo_text_add(out, "<h2>Films</h2>\n<div class=\"films\">\n");
                begun = true;
                VIPO_TRY(add_film(report, s, r, out, error));
                left--;
            }
        }
    if (begun) vipo_text_add(out, "</div>\n");
    return VIPO_OK;
}

/* ---- the page -------------------------------------------------------------------------------------------- */

static void add_settings(const vipo_report *report, vipo_text *out)
{
    vipo_text_add(out, "<h2>Settings</h2>\n");
    for (int i = 0; i < report->n_settings; i++) {
        vipo_text_add(out, "<details><summary>");
        vipo_text_add_html(out, report->settings[i].settings.label);
        vipo_text_add(out, " (%s)</summary><pre>", report->settings[i].settings.hash);
        vipo_text_add_html(out, report->settings[i].settings.json);
        vipo_text_add(out, "</pre></details>\n");
    }
}

static void add_drawings(const vipo_report *report, int table, vipo_text *out)
{
    if (table == 0) vipo_plot_success(report, out);
    if (table == 3) {
        vipo_plot_acceptance(report, out);
        vipo_plot_success_by_time(report, out);
    }
    if (table == 4) vipo_plot_time(report, out);
}

static vipo_status write_html(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    vipo_report_info info;
    vipo_report_get_info(report, &info);
    vipo_text_add(out, "<!doctype html>\n<html lang=\"en\">\n<title>");
    vipo_text_add_html(out, report->title);
    vipo_text_add(out, "</title>\n%s<h1>", head);
    vipo_text_add_html(out, report->title);
    vipo_text_add(out, "</h1>\n<p>%d episodes, %d with success; results %s</p>\n", info.episodes,
                  info.successes, info.digest);
    for (int i = 0; i < VIPO_REPORT_TABLES; i++) {
        vipo_table table;
        vipo_report_table(report, i, &table);
        if (!table.rows) continue;
        vipo_text_add(out, "<h2>%s</h2>\n", table.title);
        if (table.note) vipo_text_add(out, "<p class=\"note\">%s</p>\n", table.note);
        add_drawings(report, i, out);
        add_table(report, &table, out);
    }
    VIPO_TRY(add_films(report, out, error));
    add_settings(report, out);
    vipo_text_add(out, "<p class=\"note\">vipo %s</p>\n</html>\n", vipo_version());
    return VIPO_OK;
}

const vipo_report_form vipo_report_form_html = {.kind = "html", .write = write_html};
