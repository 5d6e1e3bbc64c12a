/* Reports for machines: JSON of this project's own shape, and of LeRobot's eval_info.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report.h"

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void set_number(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, number(value));
}

static void set_int(json_t *object, const char *key, long long value)
{
    json_object_set_new(object, key, json_integer(value));
}

static vipo_status dump(json_t *root, vipo_text *out, vipo_error *error)
{
    char *const text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (!text) return vipo_fail_memory(error, 1 << 16, "a report");
    vipo_text_add_bytes(out, text, strlen(text));
    vipo_text_add_bytes(out, "\n", 1);
    free(text);
    return VIPO_OK;
}

/* ---- our own ---------------------------------------------------------------------------------------------- */

static json_t *tally_json(const char *name_key, const char *name, const vipo_tally *t)
{
    json_t *const out = json_object();
    if (name_key) json_object_set_new(out, name_key, json_string(name));
    set_int(out, "episodes", t->episodes);
    set_int(out, "successes", t->successes);
    set_number(out, "success_rate", vipo_tally_rate(t));
    json_object_set_new(out, "interval_95", json_pack("[f, f]", t->low, t->high));
    set_int(out, "errors", t->errors);
    set_number(out, "steps", vipo_ratio(t->steps, t->episodes));
    set_number(out, "steps_to_success", vipo_ratio(t->steps_to_success, t->successes));
    set_number(out, "total_reward", vipo_ratio(t->total_reward, t->episodes));
    set_number(out, "max_reward", vipo_ratio(t->max_reward, t->episodes));
    set_number(out, "plans", vipo_ratio(t->plans, t->episodes));
    set_number(out, "replans", vipo_ratio(t->replans, t->episodes));
    return out;
}

static json_t *times_json(const vipo_tally *t)
{
    json_t *const out = json_object();
    set_number(out, "seconds", vipo_ratio(t->seconds, t->episodes));
    set_number(out, "planning", vipo_ratio(t->planning_seconds, t->episodes));
    set_number(out, "flow", vipo_ratio(t->flow_seconds, t->episodes));
    set_number(out, "acting", vipo_ratio(t->acting_seconds, t->episodes));
    set_number(out, "physics", vipo_ratio(t->physics_seconds, t->episodes));
    set_number(out, "rendering", vipo_ratio(t->rendering_seconds, t->episodes));
    return out;
}

static json_t *plans_json(const vipo_settings_summary *s)
{
    const vipo_tally *const t = &s->all;
    json_t *const out = json_object();
    set_int(out, "count", t->plans);
    set_number(out, "calls", vipo_ratio(t->calls, t->plans));
    set_number(out, "evaluations", vipo_ratio(t->evaluations, t->plans));
    set_number(out, "rounds", vipo_ratio(t->rounds, t->plans));
    set_number(out, "acceptance", vipo_ratio(t->accepted, t->drafted));
    set_number(out, "seconds", vipo_ratio(t->planning_seconds, t->plans));
    set_number(out, "median_seconds", s->median_plan_seconds);
    return out;
}

static json_t *settings_json(const vipo_report *report, const vipo_settings_summary *s)
{
    json_t *const out = tally_json("label", s->settings.label, &s->all);
    json_t *const tasks = json_array(), *const cameras = json_array();
    json_object_set_new(out, "hash", json_string(s->settings.hash));
    json_object_set(out, "settings", s->json);
    json_object_set_new(out, "per_episode", times_json(&s->all));
    json_object_set_new(out, "per_plan", plans_json(s));
    for (int i = 0; i < report->n_tasks; i++)
        if (s->by_task[i].episodes)
            json_array_append_new(tasks, tally_json("task", report->tasks[i], &s->by_task[i]));
    for (int i = 0; i < report->n_cameras; i++)
        if (s->by_camera[i].episodes)
            json_array_append_new(cameras, tally_json("camera", report->cameras[i], &s->by_camera[i]));
    json_object_set_new(out, "tasks", tasks);
    json_object_set_new(out, "cameras", cameras);
    return out;
}

static json_t *comparison_json(const vipo_report *report, const vipo_comparison *c)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:f}", "a", report->settings[c->a].settings.label,
                     "b", report->settings[c->b].settings.label, "pairs", c->pairs, "successes_a",
                     c->successes_a, "successes_b", c->successes_b, "only_a", c->only_a, "only_b", c->only_b,
                     "p", c->p);
}

/* Every value that a column has. */
static json_t *distinct(const vipo_report *report, const char *column)
{
    json_t *const seen = json_object(), *const out = json_array();
    const char *name;
    json_t *count;
    for (int f = 0; f < vipo_n_fields; f++) {
        if (strcmp(vipo_fields[f].name, column) != 0) continue;
        for (int i = 0; i < report->n_records; i++) {
            const char *const text = (const char *)&report->records[i] + vipo_fields[f].offset;
            if (text[0]) json_object_set_new(seen, text, json_true());
        }
    }
    json_object_foreach(seen, name, count) json_array_append_new(out, json_string(name));
    json_decref(seen);
    return out;
}

static vipo_status write_json(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    static const char *const columns[] = {"version", "mujoco", "compute", "methods", "gl", "host"};
    vipo_report_info info;
    vipo_report_get_info(report, &info);
    json_t *const root = json_object(), *const settings = json_array(), *const comparisons = json_array(),
                  *const failures = json_array(), *const by = json_object();
    json_object_set_new(root, "title", json_string(report->title));
    set_int(root, "episodes", info.episodes);
    set_int(root, "successes", info.successes);
    json_object_set_new(root, "digest", json_string(info.digest));
    json_object_set_new(root, "baseline", json_string(report->settings[report->baseline].settings.label));
    for (int i = 0; i < report->n_settings; i++)
        json_array_append_new(settings, settings_json(report, &report->settings[i]));
    for (int i = 0; i < report->n_comparisons; i++)
        json_array_append_new(comparisons, comparison_json(report, &report->comparisons[i]));
    for (int i = 0; i < report->n_failures; i++)
        json_array_append_new(failures, json_pack("{s:s, s:i}", "error", report->failures[i].error,
                                                  "episodes", report->failures[i].count));
    for (int i = 0; i < 6; i++) json_object_set_new(by, columns[i], distinct(report, columns[i]));
    json_object_set_new(root, "settings", settings);
    json_object_set_new(root, "comparisons", comparisons);
    json_object_set_new(root, "errors", failures);
    json_object_set_new(root, "by", by);
    return dump(root, out, error);
}

const vipo_report_form vipo_report_form_json = {.kind = "json", .write = write_json};

/* ---- LeRobot's -------------------------------------------------------------------------------------------- */

/* What both of its shapes call the same. seconds: of all episodes. */
static json_t *aggregate(const vipo_tally *t)
{
    json_t *const out = json_object();
    set_number(out, "avg_sum_reward", vipo_ratio(t->total_reward, t->episodes));
    set_number(out, "avg_max_reward", vipo_ratio(t->max_reward, t->episodes));
    set_number(out, "pc_success", 100 * vipo_tally_rate(t));
    set_int(out, "n_episodes", t->episodes);
    set_number(out, "eval_s", t->seconds);
    set_number(out, "eval_ep_s", vipo_ratio(t->seconds, t->episodes));
    return out;
}

static json_t *task_json(const vipo_report *report, const vipo_settings_summary *s, int task)
{
    json_t *const sums = json_array(), *const most = json_array(), *const successes = json_array(),
                  *const videos = json_array();
    for (int i = 0; i < s->n; i++) {
        const vipo_record *const r = &report->records[s->first + i];
        if (strcmp(r->task, report->tasks[task]) != 0) continue;
        json_array_append_new(sums, json_real(r->total_reward));
        json_array_append_new(most, json_real(r->max_reward));
        json_array_append_new(successes, json_boolean(r->success));
        if (r->video[0]) json_array_append_new(videos, json_string(r->video));
    }
    json_t *const out = json_object();
    json_object_set_new(out, "task_group", json_string("metaworld"));
    json_object_set_new(out, "task", json_string(report->tasks[task]));
    set_int(out, "task_id", task);
    json_object_set_new(out, "metrics",
                        json_pack("{s:o, s:o, s:o, s:o}", "sum_rewards", sums, "max_rewards", most,
                                  "successes", successes, "video_paths", videos));
    return out;
}

/* Of one policy: the baseline. Both shapes that LeRobot has had: "per_episode" and "aggregated"; "per_task", "per_group" and
 * "overall". */
static vipo_status write_eval_info(const vipo_report *report, vipo_text *out, vipo_error *error)
{
    const vipo_settings_summary *const s = &report->settings[report->baseline];
    json_t *const root = json_object(), *const episodes = json_array(), *const tasks = json_array(),
                  *const videos = json_array(), *const group = aggregate(&s->all),
                  *const overall = aggregate(&s->all);
    for (int i = 0; i < s->n; i++) {
        const vipo_record *const r = &report->records[s->first + i];
        json_t *const one = json_object();
        set_int(one, "episode_ix", i);
        set_number(one, "sum_reward", r->total_reward);
        set_number(one, "max_reward", r->max_reward);
        json_object_set_new(one, "success", json_boolean(r->success));
        set_int(one, "seed", (long long)r->seed);
        json_object_set_new(one, "task", json_string(r->task));
        json_object_set_new(one, "camera", json_string(r->camera));
        json_array_append_new(episodes, one);
        if (r->video[0]) json_array_append_new(videos, json_string(r->video));
    }
    for (int i = 0; i < report->n_tasks; i++)
        if (s->by_task[i].episodes) json_array_append_new(tasks, task_json(report, s, i));
    json_object_set(group, "video_paths", videos);
    json_object_set(overall, "video_paths", videos);
    json_object_set_new(root, "per_episode", episodes);
    json_object_set_new(root, "aggregated", aggregate(&s->all));
    json_object_set_new(root, "per_task", tasks);
    json_object_set_new(root, "per_group", json_pack("{s:o}", "metaworld", group));
    json_object_set_new(root, "overall", overall);
    json_object_set_new(root, "video_paths", videos);
    return dump(root, out, error);
}

const vipo_report_form vipo_report_form_eval_info = {
    .kind = "eval_info", .file = "eval_info.json", .write = write_eval_info};
