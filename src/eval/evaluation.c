#include "eval/evaluation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/number.h"
#include "core/threads.h"
#include "policy/model.h"
#include "sampling/sampler.h"

static const char *const plan_names[] = {"none", "model", "truth"};

const char *vipo_eval_plan_name(int i)
{
    return i >= 0 && i < 3 ? plan_names[i] : NULL;
}

int vipo_plan_kind_find(const char *name)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(plan_names[i], name) == 0) return i;
    return -1;
}

const char *vipo_eval_policy_name(int i)
{
    const vipo_predictor *const predictor = vipo_predictor_at(i);
    return predictor ? predictor->name : NULL;
}

const char *vipo_eval_policy_summary(int i)
{
    const vipo_predictor *const predictor = vipo_predictor_at(i);
    return predictor ? predictor->summary : NULL;
}

const char *vipo_eval_policy_settings(int i)
{
    const vipo_predictor *const predictor = vipo_predictor_at(i);
    return predictor ? predictor->settings : NULL;
}

bool vipo_eval_policy_follows_plans(int i)
{
    const vipo_predictor *const predictor = vipo_predictor_at(i);
    return predictor && (predictor->needs & VIPO_NEEDS_FRAMES);
}

void vipo_eval_default_options(vipo_eval_options *options)
{
    static const vipo_sampler_options *const none = NULL;
    memset(options, 0, sizeof *options);
    vipo_sim_default_options(&options->sim);
    vipo_model_default_options(&options->model_options);
    options->policy = "flow";
    options->samplers = none;
    options->plan_frames = 7;
    options->from_step = -1;
    options->patience = 15;
    options->seeds = 1;
    options->shards = 1;
    options->video_stride = 4;
}

/* ---- names ----------------------------------------------------------------------------------------------- */

static vipo_status list_names(const char **out, int *count, int capacity, const char *what,
                              const char *const *wanted, int n, const char *(*known)(int i),
                              vipo_error *error)
{
    char all[400] = "";
    int n_known = 0;
    for (; known(n_known); n_known++) {
        const size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", n_known ? ", " : "", known(n_known));
    }
    if (n == 0)
        for (int i = 0; i < n_known && i < capacity; i++) out[(*count)++] = known(i);
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (known(k) && strcmp(known(k), wanted[i]) != 0) k++;
        if (!known(k))
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown %s '%.60s', expected %s", what, wanted[i],
                             all);
        for (int j = 0; j < *count; j++)
            if (strcmp(out[j], known(k)) == 0)
                return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s %s is there twice", what, known(k));
        if (*count == capacity)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "more than %d %ss", capacity, what);
        out[(*count)++] = known(k);
    }
    return VIPO_OK;
}

static vipo_status check_range(const char *what, long long value, long long low, long long high,
                               vipo_error *error)
{
    if (value >= low && value <= high) return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: %lld, expected %lld to %lld", what, value, low, high);
}

static vipo_status check_numbers(const vipo_eval_options *o, vipo_error *error)
{
    VIPO_TRY(check_range("seeds", o->seeds, 1, 1000000, error));
    VIPO_TRY(check_range("patience", o->patience, 1, VIPO_SIM_MAX_STEPS, error));
    VIPO_TRY(check_range("plans", o->max_plans, 0, VIPO_SIM_MAX_STEPS, error));
    VIPO_TRY(check_range("steps ahead", o->ahead, 0, VIPO_SIM_MAX_STEPS, error));
    VIPO_TRY(check_range("frames of a plan", o->plan_frames, 1, 64, error));
    VIPO_TRY(check_range("video stride", o->video_stride, 1, VIPO_SIM_MAX_STEPS, error));
    VIPO_TRY(check_range("workers", o->workers, 0, 1024, error));
    VIPO_TRY(check_range("threads", o->threads, 0, 4096, error));
    VIPO_TRY(check_range("shards", o->shards, 1, 1000000, error));
    VIPO_TRY(check_range("shard", o->shard, 0, o->shards, error));
    if (o->seed > UINT32_MAX || UINT32_MAX - o->seed < (uint64_t)o->seeds - 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "seed %llu: NumPy's legacy generator takes 0..4294967295",
                         (unsigned long long)o->seed);
    return VIPO_OK;
}

/* ---- plans and samplers ---------------------------------------------------------------------------------- */

static vipo_status choose_plan(vipo_evaluation *e, vipo_error *error)
{
    const vipo_eval_options *const o = &e->options;
    const bool needs = e->predictor->needs & VIPO_NEEDS_FRAMES;
    const int kind = o->plan ? vipo_plan_kind_find(o->plan) : needs ? VIPO_PLAN_MODEL : VIPO_PLAN_NONE;
    if (kind < 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "unknown plan \"%.60s\", expected none, model or truth", o->plan);
    e->plan = (vipo_plan_kind)kind;
    if (e->plan == VIPO_PLAN_NONE && needs)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "policy %s follows plans: expected plan model or truth", e->predictor->name);
    if (e->plan == VIPO_PLAN_MODEL && !o->model)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "plan model needs a video model (--model DIR); plan truth needs none");
    if (e->plan == VIPO_PLAN_NONE && o->model)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "policy %s makes no plan: a model is of no use without plan model or truth",
                         e->predictor->name);
    if (o->warm && e->plan != VIPO_PLAN_MODEL)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "a warm start is one of a video model: expected plan model");
    if (o->ahead && e->plan == VIPO_PLAN_NONE)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "planning while acting needs plans: expected plan model or truth");
    return VIPO_OK;
}

/* The files that a plan depends on. */
static vipo_status fingerprint_model(const vipo_evaluation *e, char out[VIPO_SETTINGS_HASH],
                                     vipo_error *error)
{
    static const char *const files[] = {"config.json", "unet.safetensors", "text_encoder.safetensors",
                                        "vocab.json", "merges.txt"};
    char path[VIPO_PATH_ROOM], one[VIPO_SETTINGS_HASH];
    uint64_t hash = VIPO_HASH64_START;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        VIPO_TRY(vipo_model_path(path, e->options.model, files[i], error));
        if (i > 0 && access(path, F_OK) != 0) continue; /* its absence is told when the model is opened */
        VIPO_TRY(vipo_fingerprint_file(path, one, error));
        hash = vipo_hash64_bytes(hash, files[i], strlen(files[i]) + 1);
        hash = vipo_hash64_bytes(hash, one, strlen(one));
    }
    snprintf(out, VIPO_SETTINGS_HASH, "%016llx", (unsigned long long)hash);
    return VIPO_OK;
}

/* All that a sampler depends on; a default and the same value given are one. */
static json_t *sampler_json(const vipo_sampler *sampler, const vipo_sampler_options *o,
                            const vipo_schedule *schedule, char label[VIPO_SETTINGS_LABEL])
{
    vipo_sampler_describe(sampler, o, schedule, schedule->timesteps - 1, label, VIPO_SETTINGS_LABEL);
    json_t *const out =
        json_pack("{s:s, s:s, s:f}", "name", o->name, "resolved", label, "guidance", o->guidance);
    if (strncmp(o->name, "draft-target", 12) == 0) {
        json_object_set_new(out, "chunk", json_integer(o->chunk));
        json_object_set_new(out, "draft_stride", json_integer(o->draft_stride));
        json_object_set_new(out, "target_stride", json_integer(o->target_stride));
        json_object_set_new(out, "threshold", json_real(o->threshold));
        json_object_set_new(out, "threshold_growth", json_real(o->threshold_growth));
        json_object_set_new(out, "chunk_rule", json_integer(o->chunk_rule));
        json_object_set_new(out, "draft_reuse", json_boolean(o->draft_reuse));
        if (strcmp(o->name, "draft-target-lazy") == 0)
            json_object_set_new(out, "calibrated", json_boolean(o->lazy_calibrated));
    }
    if (strcmp(o->name, "unipc") == 0)
        json_object_set_new(out, "order", json_integer(o->order ? o->order : 2));
    if (strcmp(o->name, "ab2") == 0) {
        json_object_set_new(out, "form", json_integer(o->form));
        json_object_set_new(out, "fallback", json_real(o->fallback));
    }
    if (o->guidance > 0) {
        const size_t used = strlen(label);
        vipo_snprintf(label + used, VIPO_SETTINGS_LABEL - used, " w=%g", o->guidance);
    }
    return out;
}

static vipo_status describe_sampler(const vipo_evaluation *e, const vipo_sampler_options *o, json_t **out,
                                    char label[VIPO_SETTINGS_LABEL], vipo_error *error)
{
    const vipo_sampler *sampler;
    vipo_schedule schedule = {0};
    vipo_config config;
    vipo_preprocess_steps preprocess;
    *out = NULL;
    VIPO_TRY(vipo_sampler_find(&sampler, o->name, error));
    if (strcmp(o->name, "auto") == 0)
        return vipo_fail(
            error, VIPO_INVALID_ARGUMENT,
            "sampler auto chooses by the speed of the machine, and an episode must not depend on "
            "that: name a sampler");
    VIPO_TRY(vipo_model_read_config(e->options.model, &config, &preprocess, error));
    VIPO_TRY(vipo_schedule_open(&schedule, config.diffusion.timesteps, error));
    vipo_status status = vipo_sampler_check(sampler, o, &schedule, schedule.timesteps - 1, error);
    if (status == VIPO_OK && e->options.warm && e->options.from_step >= 0)
        status = vipo_sampler_check(sampler, o, &schedule, e->options.from_step, error);
    if (status == VIPO_OK && o->verify)
        status = vipo_fail(error, VIPO_INVALID_ARGUMENT,
                           "verify costs evaluations and an episode keeps nothing of it: leave it out");
    if (status == VIPO_OK) *out = sampler_json(sampler, o, &schedule, label);
    vipo_schedule_close(&schedule);
    return status;
}

/* ---- settings -------------------------------------------------------------------------------------------- */

static void describe_frames(const vipo_evaluation *e, json_t *into)
{
    char text[256];
    const vipo_frame_format *const f = &e->format;
    vipo_preprocess_describe(&f->preprocess, text, sizeof text);
    json_object_set_new(into, "frames",
                        json_pack("{s:i, s:i, s:i, s:s}", "count", f->n, "height", f->height, "width",
                                  f->width, "preprocess", text));
}

/* How pictures are drawn, for those that look at some. */
static void describe_pictures(const vipo_evaluation *e, json_t *into)
{
    if (e->plan == VIPO_PLAN_NONE && !(e->predictor->needs & VIPO_NEEDS_PICTURE)) return;
    json_object_set_new(into, "pictures",
                        json_pack("{s:i, s:i}", "shadow_size", e->options.sim.shadow_size, "multisamples",
                                  e->options.sim.multisamples));
}

static vipo_status describe_policy(const vipo_evaluation *e, json_t *into, vipo_error *error)
{
    json_t *const own = json_object();
    json_object_set_new(into, "policy", json_string(e->predictor->name));
    vipo_status status = own ? VIPO_OK : vipo_fail_memory(error, 64, "settings");
    if (status == VIPO_OK && e->predictor->describe)
        status = e->predictor->describe(e->predictor_model, own, error);
    if (json_object_size(own))
        json_object_set_new(into, "policy_settings", own);
    else
        json_decref(own);
    return status;
}

static void describe_plan(const vipo_evaluation *e, json_t *into)
{
    const vipo_eval_options *const o = &e->options;
    json_object_set_new(into, "plan", json_string(plan_names[e->plan]));
    if (e->plan == VIPO_PLAN_NONE) return;
    describe_frames(e, into);
    json_object_set_new(into, "patience", json_integer(o->patience));
    /* The usual number spelled out and left out are one: 0 for a rule of the policy's own, which has been told it. */
    const int plans = o->max_plans ? o->max_plans : VIPO_AVDC_PLANS;
    json_object_set_new(into, "max_plans",
                        json_integer(e->predictor->wants_plan && plans == VIPO_AVDC_PLANS ? 0 : plans));
    json_object_set_new(into, "ahead", json_integer(o->ahead));
    if (e->plan != VIPO_PLAN_MODEL) return;
    json_object_set_new(into, "model", json_string(e->fingerprint));
    if (o->model_options.half_weights) json_object_set_new(into, "half_weights", json_true());
    if (o->warm) json_object_set_new(into, "warm", json_integer(o->from_step));
}

static vipo_status make_variant(vipo_evaluation *e, const vipo_sampler_options *sampler, vipo_error *error)
{
    char label[VIPO_SETTINGS_LABEL] = "", whole[2 * VIPO_SETTINGS_LABEL];
    vipo_variant *const variant = &e->variants[e->n_variants];
    json_t *own = NULL, *const all = json_object();
    vipo_status status = VIPO_OK;
    if (sampler) VIPO_TRY_GOTO(describe_sampler(e, sampler, &own, label, error), fail);
    json_object_set_new(all, "format", json_integer(1));
    json_object_set_new(all, "profile", json_string(vipo_sim_profile_name((int)e->options.sim.profile)));
    VIPO_TRY_GOTO(describe_policy(e, all, error), fail);
    describe_plan(e, all);
    describe_pictures(e, all);
    if (own) json_object_set(all, "sampler", own);
    const bool half = sampler && e->options.model_options.half_weights;
    snprintf(whole, sizeof whole, "%s%s%s%s%s%s%s", e->predictor->name,
             e->plan == VIPO_PLAN_TRUTH ? " truth" : "", label[0] ? " " : "", label, half ? " half" : "",
             e->options.warm ? " warm" : "", e->options.ahead ? " ahead" : "");
    if (sampler) variant->sampler = *sampler;
    json_incref(all);
    status = vipo_settings_make(&variant->settings, all, whole, error);
    if (status == VIPO_OK) e->n_variants++;
    for (int i = 0; i + 1 < e->n_variants && status == VIPO_OK; i++)
        if (strcmp(e->variants[i].settings.hash, variant->settings.hash) == 0)
            status = vipo_fail(error, VIPO_INVALID_ARGUMENT, "sampler %s is there twice", label);
fail:
    json_decref(own);
    json_decref(all);
    return status;
}

static vipo_status make_variants(vipo_evaluation *e, vipo_error *error)
{
    const vipo_eval_options *const o = &e->options;
    if (e->plan != VIPO_PLAN_MODEL) return make_variant(e, NULL, error);
    VIPO_TRY(check_range("samplers", o->n_samplers, 0, VIPO_EVAL_MAX_SAMPLERS, error));
    vipo_sampler_options defaults;
    vipo_sampler_default_options(&defaults);
    if (o->n_samplers == 0) return make_variant(e, &defaults, error);
    for (int i = 0; i < o->n_samplers; i++) VIPO_TRY(make_variant(e, &o->samplers[i], error));
    return VIPO_OK;
}

/* ---- jobs ------------------------------------------------------------------------------------------------ */

int vipo_evaluation_jobs(const vipo_evaluation *e)
{
    return e->n_tasks * e->options.seeds * e->n_cameras * e->n_variants;
}

void vipo_evaluation_job(const vipo_evaluation *e, int number, vipo_job *out)
{
    out->variant = number % e->n_variants;
    number /= e->n_variants;
    out->camera = number % e->n_cameras;
    number /= e->n_cameras;
    out->seed = e->options.seed + (uint64_t)(number % e->options.seeds);
    out->task = number / e->options.seeds;
}

bool vipo_evaluation_wants(const vipo_evaluation *e, int number)
{
    return number / e->n_variants % e->options.shards == e->options.shard % e->options.shards;
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static void share_threads(vipo_evaluation *e, int processes)
{
    const int cores = e->options.threads ? e->options.threads : vipo_core_count() / processes;
    e->workers = e->options.workers;
    if (!e->workers) e->workers = processes > 1 || e->plan == VIPO_PLAN_MODEL ? 1 : cores;
    if (e->workers < 1) e->workers = 1;
    e->threads = cores / e->workers < 1 ? 1 : cores / e->workers;
}

static vipo_status load_predictor(vipo_evaluation *e, vipo_error *error)
{
    const vipo_predictor *const predictor = e->predictor;
    const vipo_eval_options *const o = &e->options;
    if (o->predictor_file && !predictor->load)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "policy %s has no file of its own, found %.200s",
                         predictor->name, o->predictor_file);
    if (!o->predictor_file && (predictor->needs & VIPO_NEEDS_FILE))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "policy %s needs a model of its own (--predictor-file)", predictor->name);
    VIPO_TRY(vipo_setting_list_parse(&e->predictor_settings, "--predictor-settings", o->predictor_settings,
                                     error));
    const vipo_predictor_options options = {.file = o->predictor_file,
                                            .settings = &e->predictor_settings,
                                            .threads = e->threads,
                                            .compute = o->model_options.compute,
                                            .patience = o->patience,
                                            .max_plans = o->max_plans ? o->max_plans : VIPO_AVDC_PLANS};
    if (predictor->load) VIPO_TRY(predictor->load(&e->predictor_model, &options, error));
    return vipo_setting_list_finish(&e->predictor_settings, error);
}

vipo_status vipo_evaluation_init(vipo_evaluation *out, const vipo_eval_options *options, int processes,
                                 vipo_error *error)
{
    vipo_sim *none;
    memset(out, 0, sizeof *out);
    out->options = *options;
    if (!vipo_sim_mujoco_version())
        return vipo_sim_open(&none, "", NULL, error); /* which says what is missing */
    VIPO_TRY(check_numbers(options, error));
    VIPO_TRY(list_names(out->tasks, &out->n_tasks, VIPO_EVAL_MAX_TASKS, "task", options->tasks,
                        options->n_tasks, vipo_sim_task_name, error));
    VIPO_TRY(list_names(out->cameras, &out->n_cameras, VIPO_EVAL_MAX_CAMERAS, "camera", options->cameras,
                        options->n_cameras, vipo_sim_camera_name, error));
    VIPO_TRY(vipo_predictor_find(&out->predictor, options->policy, error));
    VIPO_TRY(choose_plan(out, error));
    share_threads(out, processes);
    VIPO_TRY(load_predictor(out, error));
    /* without plans too: a policy that looks at pictures sees the part that a plan would show */
    const char *const frames_of = out->plan != VIPO_PLAN_NONE ? options->model : NULL;
    VIPO_TRY(vipo_frame_format_init(&out->format, frames_of, options->plan_frames, error));
    if (out->plan == VIPO_PLAN_MODEL) VIPO_TRY(fingerprint_model(out, out->fingerprint, error));
    VIPO_TRY(make_variants(out, error));
    const double jobs = (double)out->n_tasks * options->seeds * out->n_cameras * out->n_variants;
    if (jobs > 1e8) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%.0f episodes are too many", jobs);
    if (gethostname(out->host, sizeof out->host - 1) != 0) out->host[0] = '\0';
    return VIPO_OK;
}

vipo_status vipo_evaluation_open_model(vipo_evaluation *e, vipo_error *error)
{
    if (e->plan != VIPO_PLAN_MODEL) return VIPO_OK;
    vipo_model_options options = e->options.model_options;
    options.threads = e->workers * e->threads; /* no episode runs yet */
    if (!options.callbacks) options.callbacks = &e->options.callbacks;
    VIPO_TRY(vipo_model_open(&e->model, e->options.model, &options, error));
    char now[VIPO_SETTINGS_HASH];
    VIPO_TRY(fingerprint_model(e, now, error));
    if (strcmp(now, e->fingerprint) != 0)
        return vipo_fail(error, VIPO_MISMATCH, "%s: has changed since the evaluation began",
                         e->options.model);
    return vipo_model_need_text(e->model, error);
}

void vipo_evaluation_release(vipo_evaluation *e)
{
    if (e->predictor_model) e->predictor->unload(&e->predictor_model);
    vipo_model_close(&e->model);
    for (int i = 0; i < VIPO_EVAL_MAX_SAMPLERS; i++) vipo_settings_free(&e->variants[i].settings);
}
