#include "eval/summary.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"

/* ---- tallies --------------------------------------------------------------------------------------------- */

void vipo_tally_add(vipo_tally *t, const vipo_record *r)
{
    t->episodes++;
    t->successes += r->success;
    t->errors += r->error[0] != '\0';
    t->steps += r->steps;
    if (r->success) t->steps_to_success += r->first_success;
    t->total_reward += r->total_reward;
    t->max_reward += r->max_reward;
    t->plans += r->plans;
    t->replans += r->replans;
    t->calls += r->calls;
    t->evaluations += r->evaluations;
    t->rounds += r->rounds;
    t->drafted += r->drafted;
    t->accepted += r->accepted;
    t->seconds += r->seconds;
    t->planning_seconds += r->planning_seconds;
    t->flow_seconds += r->flow_seconds;
    t->acting_seconds += r->acting_seconds;
    t->physics_seconds += r->physics_seconds;
    t->rendering_seconds += r->rendering_seconds;
}

void vipo_tally_finish(vipo_tally *t)
{
    vipo_wilson_interval(t->successes, t->episodes, &t->low, &t->high);
}

double vipo_ratio(double sum, double count)
{
    return count > 0 ? sum / count : NAN;
}

double vipo_tally_rate(const vipo_tally *t)
{
    return vipo_ratio(t->successes, t->episodes);
}

/* ---- names and order ------------------------------------------------------------------------------------- */

int vipo_report_name(const char (*names)[VIPO_RECORD_NAME], int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

static bool keep_name(char (*names)[VIPO_RECORD_NAME], int *n, const char *name)
{
    if (vipo_report_name((const char(*)[VIPO_RECORD_NAME])names, *n, name) >= 0) return true;
    if (*n == VIPO_REPORT_NAMES) return false;
    snprintf(names[(*n)++], VIPO_RECORD_NAME, "%s", name);
    return true;
}

/* In the simulator's order, others behind. */
static vipo_status list_names(vipo_report *report, vipo_error *error)
{
    for (int i = 0; vipo_sim_task_name(i); i++)
        for (int k = 0; k < report->n_records; k++)
            if (strcmp(report->records[k].task, vipo_sim_task_name(i)) == 0) {
                keep_name(report->tasks, &report->n_tasks, vipo_sim_task_name(i));
                break;
            }
    for (int k = 0; k < report->n_records; k++)
        if (!keep_name(report->tasks, &report->n_tasks, report->records[k].task) ||
            !keep_name(report->cameras, &report->n_cameras, report->records[k].camera))
            return vipo_fail(error, VIPO_UNSUPPORTED, "more than %d tasks or cameras", VIPO_REPORT_NAMES);
    return VIPO_OK;
}

static int settings_index(const vipo_report *report, const char *hash)
{
    for (int i = 0; i < report->n_settings; i++)
        if (strcmp(report->settings[i].settings.hash, hash) == 0) return i;
    return -1;
}

/* By the names alone: pairs of episodes are found by going through both in this order. */
static int compare_keys(const vipo_record *a, const vipo_record *b)
{
    const int task = strcmp(a->task, b->task);
    if (task) return task;
    const int camera = strcmp(a->camera, b->camera);
    if (camera) return camera;
    return (a->seed > b->seed) - (a->seed < b->seed);
}

static int compare_records(const void *a, const void *b)
{
    const vipo_record *const x = a, *const y = b;
    const int settings = strcmp(x->settings, y->settings);
    return settings ? settings : compare_keys(x, y);
}

static void drop_settings_without_records(vipo_report *report)
{
    int kept = 0;
    for (int i = 0; i < report->n_settings; i++) {
        vipo_settings_summary s = report->settings[i];
        s.n = 0;
        for (int k = 0; k < report->n_records; k++) {
            if (strcmp(report->records[k].settings, s.settings.hash) != 0) continue;
            if (s.n++ == 0) s.first = k;
        }
        if (s.n)
            report->settings[kept++] = s;
        else
            vipo_settings_free(&s.settings);
    }
    for (int i = kept; i < report->n_settings; i++) memset(&report->settings[i], 0, sizeof *report->settings);
    report->n_settings = kept;
}

/* Two settings that a person would call the same get their hashes to be told apart by. */
static vipo_status make_labels_unique(vipo_report *report, vipo_error *error)
{
    const int n = report->n_settings;
    bool *const twice = calloc((size_t)n + 1, sizeof *twice);
    if (!twice) return vipo_fail_memory(error, (size_t)n, "labels");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            twice[i] |=
                k != i && strcmp(report->settings[i].settings.label, report->settings[k].settings.label) == 0;
    for (int i = 0; i < n; i++) {
        vipo_settings *const s = &report->settings[i].settings;
        const size_t length = strlen(s->label), most = VIPO_SETTINGS_LABEL - 8;
        const size_t used = length < most ? length : most;
        if (twice[i]) snprintf(s->label + used, VIPO_SETTINGS_LABEL - used, "#%.6s", s->hash);
    }
    free(twice);
    return VIPO_OK;
}

static const char *text_member(const json_t *object, const char *key)
{
    const char *const text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* ---- sums ------------------------------------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static vipo_status find_median(const vipo_report *report, vipo_settings_summary *s, vipo_error *error)
{
    int n = 0;
    s->median_plan_seconds = NAN;
    for (int i = 0; i < s->n; i++) n += vipo_record_listed(&report->records[s->first + i]);
    if (n == 0) return VIPO_OK;
    double *const all = malloc((size_t)n * sizeof *all);
    if (!all) return vipo_fail_memory(error, (size_t)n * sizeof *all, "times of plans");
    n = 0;
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < vipo_record_listed(&report->records[s->first + i]); k++)
            all[n++] = report->records[s->first + i].plan_seconds[k];
    qsort(all, (size_t)n, sizeof *all, compare_doubles);
    s->median_plan_seconds = (all[(n - 1) / 2] + all[n / 2]) / 2;
    free(all);
    return VIPO_OK;
}

static vipo_status sum_settings(vipo_report *report, vipo_settings_summary *s, vipo_error *error)
{
    s->json = json_loads(s->settings.json, 0, NULL);
    s->policy = text_member(s->json, "policy");
    s->plan = text_member(s->json, "plan");
    s->profile = text_member(s->json, "profile");
    s->sampler = text_member(json_object_get(s->json, "sampler"), "resolved");
    s->by_task = calloc((size_t)report->n_tasks, sizeof *s->by_task);
    s->by_camera = calloc((size_t)report->n_cameras, sizeof *s->by_camera);
    if (!s->json || !s->by_task || !s->by_camera) return vipo_fail_memory(error, 4096, "a summary");
    for (int i = 0; i < s->n; i++) {
        const vipo_record *const r = &report->records[s->first + i];
        vipo_tally_add(&s->all, r);
        vipo_tally_add(&s->by_task[vipo_report_name((const char(*)[VIPO_RECORD_NAME])report->tasks,
                                                    report->n_tasks, r->task)],
                       r);
        vipo_tally_add(&s->by_camera[vipo_report_name((const char(*)[VIPO_RECORD_NAME])report->cameras,
                                                      report->n_cameras, r->camera)],
                       r);
    }
    vipo_tally_finish(&s->all);
    for (int i = 0; i < report->n_tasks; i++) vipo_tally_finish(&s->by_task[i]);
    for (int i = 0; i < report->n_cameras; i++) vipo_tally_finish(&s->by_camera[i]);
    return find_median(report, s, error);
}

/* ---- comparisons ----------------------------------------------------------------------------------------- */

/* Only of one profile: a seed of another is another episode. */
static void compare(const vipo_report *report, int a, int b, vipo_comparison *out)
{
    const vipo_settings_summary *const x = &report->settings[a], *const y = &report->settings[b];
    *out = (vipo_comparison){.a = a, .b = b};
    for (int i = 0, k = 0; i < x->n && k < y->n && strcmp(x->profile, y->profile) == 0;) {
        const vipo_record *const p = &report->records[x->first + i], *const q =
                                                                         &report->records[y->first + k];
        const int order = compare_keys(p, q);
        if (order == 0) {
            out->pairs++;
            out->successes_a += p->success;
            out->successes_b += q->success;
            out->only_a += p->success && !q->success;
            out->only_b += q->success && !p->success;
        }
        i += order <= 0;
        k += order >= 0;
    }
    out->p = vipo_mcnemar(out->only_a, out->only_b);
}

/* All pairs of few settings, of many each with the baseline. */
static vipo_status compare_all(vipo_report *report, vipo_error *error)
{
    const int n = report->n_settings;
    const bool all = n <= 6;
    report->comparisons = calloc((size_t)n * (size_t)n + 1, sizeof *report->comparisons);
    if (!report->comparisons) return vipo_fail_memory(error, (size_t)n * (size_t)n * 32, "comparisons");
    for (int i = 0; i < n; i++) {
        const int a = i == 0 ? report->baseline : i <= report->baseline ? i - 1 : i; /* the baseline first */
        for (int k = i + 1; k < n && (all || i == 0); k++) {
            const int b = k <= report->baseline ? k - 1 : k;
            vipo_comparison one;
            compare(report, a, b, &one);
            if (one.pairs) report->comparisons[report->n_comparisons++] = one;
        }
    }
    return VIPO_OK;
}

static vipo_status find_baseline(vipo_report *report, const char *wanted, vipo_error *error)
{
    char known[400] = "";
    report->baseline = 0;
    if (!wanted) return VIPO_OK;
    for (int i = 0; i < report->n_settings; i++) {
        const vipo_settings *const s = &report->settings[i].settings;
        report->baseline = i;
        if (strcmp(s->label, wanted) == 0 || strcmp(s->hash, wanted) == 0) return VIPO_OK;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s'%s'", i ? ", " : "", s->label);
    }
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "no settings are called '%.60s', expected %s", wanted,
                     known);
}

/* ---- failures -------------------------------------------------------------------------------------------- */

static int compare_failures(const void *a, const void *b)
{
    const vipo_failure *const x = a, *const y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : strcmp(x->error, y->error);
}

static vipo_status list_failures(vipo_report *report, vipo_error *error)
{
    for (int i = 0; i < report->n_records; i++) {
        const char *const text = report->records[i].error;
        int k = 0;
        if (!text[0]) continue;
        while (k < report->n_failures && strcmp(report->failures[k].error, text) != 0) k++;
        if (k == report->n_failures) {
            vipo_failure *const more = realloc(report->failures, ((size_t)k + 1) * sizeof *more);
            if (!more) return vipo_fail_memory(error, ((size_t)k + 1) * sizeof *more, "reasons of failures");
            report->failures = more;
            more[k].count = 0;
            snprintf(more[k].error, sizeof more[k].error, "%s", text);
            report->n_failures++;
        }
        report->failures[k].count++;
    }
    if (report->n_failures)
        qsort(report->failures, (size_t)report->n_failures, sizeof *report->failures, compare_failures);
    return VIPO_OK;
}

vipo_status vipo_report_sum_up(vipo_report *report, const char *baseline, vipo_error *error)
{
    if (report->n_records)
        qsort(report->records, (size_t)report->n_records, sizeof *report->records, compare_records);
    uint64_t hash = VIPO_HASH64_START;
    for (int i = 0; i < report->n_records; i++) {
        hash = vipo_record_digest(hash, &report->records[i]);
        if (settings_index(report, report->records[i].settings) < 0)
            return vipo_fail(error, VIPO_FORMAT,
                             "an episode refers to settings %s, which are not in the store",
                             report->records[i].settings);
    }
    snprintf(report->digest, sizeof report->digest, "%016" PRIx64, hash);
    VIPO_TRY(list_names(report, error));
    drop_settings_without_records(report);
    VIPO_TRY(make_labels_unique(report, error));
    for (int i = 0; i < report->n_settings; i++) VIPO_TRY(sum_settings(report, &report->settings[i], error));
    VIPO_TRY(find_baseline(report, baseline, error));
    VIPO_TRY(compare_all(report, error));
    return list_failures(report, error);
}
