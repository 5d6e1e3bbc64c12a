/* Reports: from stores to a summary, from a summary to files. */
#include "eval/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file_output.h"
#include "core/hash.h"
#include "core/number.h"
#include "eval/store.h"

static const vipo_report_form *const forms[] = {
    &vipo_report_form_eval_info, &vipo_report_form_markdown, &vipo_report_form_html,
    &vipo_report_form_json,      &vipo_report_form_csv,
};
enum { FORMS = sizeof forms / sizeof *forms };

/* ---- reading --------------------------------------------------------------------------------------------- */

typedef struct reading {
    vipo_report *report;
    int before; /* records of earlier stores, in order of their keys */
    vipo_status status;
    vipo_error *error;
} reading;

static bool keep_settings(void *user, const vipo_settings *settings)
{
    reading *const r = user;
    vipo_report *const report = r->report;
    for (int i = 0; i < report->n_settings; i++)
        if (strcmp(report->settings[i].settings.hash, settings->hash) == 0) return true;
    vipo_settings_summary *const more =
        realloc(report->settings, ((size_t)report->n_settings + 1) * sizeof *more);
    if (more) report->settings = more;
    char *const json = strdup(settings->json);
    if (!more || !json) {
        free(json);
        r->status = vipo_fail_memory(r->error, sizeof *more, "settings");
        return false;
    }
    vipo_settings_summary *const one = &more[report->n_settings++];
    memset(one, 0, sizeof *one);
    one->settings = *settings;
    one->settings.json = json;
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const vipo_record *const x = a, *const y = b;
    const int settings = strcmp(x->settings, y->settings), task = strcmp(x->task, y->task),
              camera = strcmp(x->camera, y->camera);
    return settings ? settings : task ? task : camera ? camera : (x->seed > y->seed) - (x->seed < y->seed);
}

static bool keep_record(void *user, const vipo_record *record)
{
    reading *const r = user;
    vipo_report *const report = r->report;
    const vipo_record *const known =
        r->before ? bsearch(record, report->records, (size_t)r->before, sizeof *record, compare_keys) : NULL;
    if (known) {
        report->different +=
            vipo_record_digest(VIPO_HASH64_START, known) != vipo_record_digest(VIPO_HASH64_START, record);
        return true;
    }
    if (report->n_records == report->room) {
        const int room = report->room ? 2 * report->room : 256;
        vipo_record *const more = realloc(report->records, (size_t)room * sizeof *more);
        if (!more) {
            r->status = vipo_fail_memory(r->error, (size_t)room * sizeof *more, "episodes");
            return false;
        }
        report->records = more;
        report->room = room;
    }
    report->records[report->n_records++] = *record;
    return true;
}

static vipo_status read_store(vipo_report *report, const char *path, vipo_error *error)
{
    vipo_store *store;
    reading r = {.report = report, .before = report->n_records, .error = error};
    VIPO_TRY(vipo_store_open(&store, path, VIPO_STORE_READ, error));
    vipo_status status = vipo_store_begin_reading(store, error);
    if (status == VIPO_OK) status = vipo_store_each_settings(store, keep_settings, &r, error);
    if (status == VIPO_OK) status = r.status;
    if (status == VIPO_OK) status = vipo_store_each(store, NULL, keep_record, &r, error);
    if (status == VIPO_OK) status = r.status;
    vipo_store_close(&store);
    if (report->n_records)
        qsort(report->records, (size_t)report->n_records, sizeof *report->records, compare_keys);
    return status;
}

void vipo_report_default_options(vipo_report_options *options)
{
    *options = (vipo_report_options){.max_videos = 6};
}

vipo_status vipo_report_open(vipo_report **out, const vipo_report_options *options, vipo_error *error)
{
    *out = NULL;
    vipo_report *report = calloc(1, sizeof *report);
    if (!report) return vipo_fail_memory(error, sizeof *report, "a report");
    snprintf(report->title, sizeof report->title, "%s", options->title ? options->title : "Evaluation");
    snprintf(report->videos, sizeof report->videos, "%s", options->videos ? options->videos : "");
    report->max_videos = options->max_videos;
    vipo_status status = VIPO_OK;
    for (int i = 0; i < options->n_stores && status == VIPO_OK; i++)
        status = read_store(report, options->stores[i], error);
    if (status == VIPO_OK && report->n_records == 0)
        status = vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: holds no episodes",
                           options->n_stores ? options->stores[0] : "no store");
    if (status == VIPO_OK) status = vipo_report_sum_up(report, options->baseline, error);
    if (status != VIPO_OK) vipo_report_close(&report);
    *out = report;
    return status;
}

void vipo_report_close(vipo_report **report_pointer)
{
    vipo_report *const report = *report_pointer;
    if (!report) return;
    for (int i = 0; i < report->n_settings; i++) {
        vipo_settings_free(&report->settings[i].settings);
        json_decref(report->settings[i].json);
        free(report->settings[i].by_task);
        free(report->settings[i].by_camera);
    }
    free(report->settings);
    free(report->records);
    free(report->comparisons);
    free(report->failures);
    free(report);
    *report_pointer = NULL;
}

void vipo_report_get_info(const vipo_report *report, vipo_report_info *out)
{
    *out = (vipo_report_info){.episodes = report->n_records,
                              .settings = report->n_settings,
                              .tasks = report->n_tasks,
                              .cameras = report->n_cameras,
                              .different = report->different};
    for (int i = 0; i < report->n_records; i++) out->successes += report->records[i].success;
    snprintf(out->digest, sizeof out->digest, "%s", report->digest);
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static const vipo_report_form *form_of(const char *path)
{
    const char *const slash = strrchr(path, '/'), *const name = slash ? slash + 1 : path;
    const char *const dot = strrchr(name, '.');
    for (int i = 0; i < FORMS; i++) {
        if (forms[i]->file && strcmp(forms[i]->file, name) == 0) return forms[i];
        if (!forms[i]->file && dot && strcmp(forms[i]->kind, dot + 1) == 0) return forms[i];
    }
    return NULL;
}

vipo_status vipo_report_check_path(const char *path, vipo_error *error)
{
    if (form_of(path)) return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                     "%s: unknown kind of report, expected a name that ends with .md, .html, .json or .csv",
                     path);
}

static vipo_status make(const vipo_report *report, const vipo_report_form *form, char **out,
                        vipo_error *error)
{
    vipo_text text = {0};
    const locale_t before = vipo_points_begin();
    const vipo_status status = form->write(report, &text, error);
    vipo_points_end(before);
    if (status == VIPO_OK) return vipo_text_take(&text, out, error);
    free(text.data);
    *out = NULL;
    return status;
}

vipo_status vipo_report_text(const vipo_report *report, const char *kind, char **out, vipo_error *error)
{
    *out = NULL;
    for (int i = 0; i < FORMS; i++)
        if (strcmp(forms[i]->kind, kind) == 0) return make(report, forms[i], out, error);
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown kind of report \"%.40s\"", kind);
}

vipo_status vipo_report_write(const vipo_report *report, const char *path, vipo_error *error)
{
    char *text;
    VIPO_TRY(vipo_report_check_path(path, error));
    VIPO_TRY(make(report, form_of(path), &text, error));
    const vipo_status status = vipo_file_write(path, text, strlen(text), error);
    vipo_text_free(&text);
    return status;
}

/* ---- CSV ------------------------------------------------------------------------------------------------- */

static vipo_status write_csv(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    char cell[VIPO_RECORD_PLANS * 24];
    (void)error;
    vipo_text_add(out, "label,profile,policy,plan,sampler");
    for (int i = 0; i < vipo_n_fields; i++) vipo_text_add(out, ",%s", vipo_fields[i].name);
    vipo_text_add(out, "\n");
    for (int i = 0; i < report->n_settings; i++) {
        const vipo_settings_summary *const s = &report->settings[i];
        for (int k = 0; k < s->n; k++) {
            const char *const names[] = {s->settings.label, s->profile, s->policy, s->plan, s->sampler};
            for (int j = 0; j < 5; j++) {
                if (j) vipo_text_add(out, ",");
                vipo_text_add_csv(out, names[j]);
            }
            for (int j = 0; j < vipo_n_fields; j++) {
                vipo_field_print(&vipo_fields[j], &report->records[s->first + k], cell, sizeof cell);
                vipo_text_add(out, ",");
                vipo_text_add_csv(out, cell);
            }
            vipo_text_add(out, "\n");
        }
    }
    return VIPO_OK;
}

const vipo_report_form vipo_report_form_csv = {.kind = "csv", .write = write_csv};
