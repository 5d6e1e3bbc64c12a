/* vipo eval: closed-loop episodes of a policy, kept in a store of results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "sampler.h"
#include "sim.h"
#include "vipo/eval.h"

enum { MAX_NAMES = 16 };

typedef struct eval_command_options {
    common_options common;
    const char *out, *suite, *tasks, *cameras, *profile, *shard, *samplers, *compute;
    bool half_weights;
    vipo_sampler_options sampler;
    vipo_eval_options eval;
} eval_command_options;

static const char *suite_name(int i)
{
    const vipo_eval_suite *const suite = vipo_eval_suite_at(i);
    return suite ? suite->name : NULL;
}

#define AT(member) offsetof(eval_command_options, member)
static const option what_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .endings = "db",
     .required = true,
     .help = "store of results: a new one, or one to go on with"},
    {.name = "suite",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(suite),
     .choice = suite_name,
     .default_text = "",
     .help = "tasks, cameras, seeds and samplers of a ready-made evaluation"},
    {.name = "tasks",
     .letter = 't',
     .placeholder = "LIST",
     .kind = OPTION_STRING,
     .offset = AT(tasks),
     .help = "names with commas between them, or all; `vipo sim list` shows them"},
    {.name = "cameras",
     .letter = 'c',
     .placeholder = "LIST",
     .kind = OPTION_STRING,
     .offset = AT(cameras),
     .help = "corner, corner2, corner3, with commas between them, or all"},
    {.name = "seeds",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(eval.seeds),
     .min = 1,
     .max = 1000000,
     .help = "episodes of each task and camera, of --seed and those that follow"},
    {.name = "seed",
     .placeholder = "N",
     .kind = OPTION_UINT64,
     .offset = AT(eval.seed),
     .help = "the first one"},
    {.name = "profile",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(profile),
     .choice = vipo_sim_profile_name,
     .default_text = "farama-v3, or the suite's",
     .help = "farama-v3: Meta-World 3.1.1; avdc-v2: the Meta-World that AVDC's results come from"},
    {.name = "shard",
     .placeholder = "I/N",
     .kind = OPTION_STRING,
     .offset = AT(shard),
     .default_text = "all, or by Slurm's array variables",
     .help = "of N parts only the I-th, counted from 1 (0 is the N-th)"},
    {0},
};
static const option policy_options[] = {
    {.name = "policy",
     .letter = 'p',
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(eval.policy),
     .choice = vipo_eval_policy_name,
     .help = "what turns plans into actions"},
    {.name = "predictor-file",
     .placeholder = "PATH",
     .kind = OPTION_STRING,
     .offset = AT(eval.predictor_file),
     .help = "model of the policy's own: a folder or a file"},
    {.name = "predictor-settings",
     .placeholder = "LIST",
     .kind = OPTION_STRING,
     .offset = AT(eval.predictor_settings),
     .help = "settings of the policy: key=value,key=value"},
    {0},
};
static const option plan_options[] = {
    {.name = "plan",
     .placeholder = "KIND",
     .kind = OPTION_CHOICE,
     .offset = AT(eval.plan),
     .choice = vipo_eval_plan_name,
     .default_text = "model for policies that need plans, else none",
     .help = "model: a video model imagines plans; truth: the future that the scripted expert would bring "
             "about, drawn by "
             "the simulator"},
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(eval.model),
     .help = "folder of the video model; --plan truth takes the size and number of its frames"},
    {.name = "plan-frames",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(eval.plan_frames),
     .min = 1,
     .max = 64,
     .help = "frames of --plan truth without a model"},
    {.name = "warm",
     .kind = OPTION_FLAG,
     .offset = AT(eval.warm),
     .help = "a new plan starts from the one before, noised to --from-step, in place of pure noise"},
    {.name = "from-step",
     .placeholder = "T",
     .kind = OPTION_INT,
     .offset = AT(eval.from_step),
     .min = 0,
     .max = 100000,
     .default_text = "35 % of the timesteps",
     .help = "timestep that warm plans start from"},
    {.name = "ahead",
     .placeholder = "STEPS",
     .kind = OPTION_INT,
     .offset = AT(eval.ahead),
     .min = 0,
     .max = VIPO_SIM_MAX_STEPS,
     .help = "plan while acting: the arm follows the plan it has for so many more steps while the next one "
             "is made; 0: it "
             "waits"},
    {.name = "patience",
     .placeholder = "STEPS",
     .kind = OPTION_INT,
     .offset = AT(eval.patience),
     .min = 1,
     .max = VIPO_SIM_MAX_STEPS,
     .help = "steps in which the hand stands still until there is a new plan"},
    {.name = "max-plans",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(eval.max_plans),
     .min = 1,
     .max = VIPO_SIM_MAX_STEPS,
     .default_text = "6, or as the policy says",
     .help = "plans of an episode"},
    {.name = "samplers",
     .placeholder = "LIST",
     .kind = OPTION_STRING,
     .offset = AT(samplers),
     .help = "several samplers on the same episodes and noise, as `vipo compare` reads them: "
             "ddim:100,draft-target:chunk=10"},
    {0},
};
static const option picture_options[] = {
    {.name = "videos",
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(eval.videos),
     .help = "a film of every episode: the camera's view with the plan beside it"},
    {.name = "video-stride",
     .placeholder = "STEPS",
     .kind = OPTION_INT,
     .offset = AT(eval.video_stride),
     .min = 1,
     .max = VIPO_SIM_MAX_STEPS,
     .help = "from picture to picture of the film"},
    {0},
};
static const option work_options[] = {
    {.name = "workers",
     .letter = 'w',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(eval.workers),
     .min = 1,
     .max = 1024,
     .default_text = "one per core; 1 with a video model or under mpirun",
     .help = "episodes at a time; results do not depend on it"},
    {.name = "compute",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(compute),
     .choice = compute_name,
     .default_text = "$VIPO_COMPUTE, else the fastest in float32",
     .help = "kernels: ref, avx2, avx512 or amx"},
    {.name = "half-weights",
     .kind = OPTION_FLAG,
     .offset = AT(half_weights),
     .help = "keep weights of low resolutions as 16-bit floats"},
    {0},
};
static const option_group groups[] = {
    {"Episodes", what_options, 0},
    {"Policy", policy_options, 0},
    {"Plans", plan_options, 0},
    {"Sampling", sampler_option_table, AT(sampler)},
    {"Draft-and-target sampling", draft_target_option_table, AT(sampler)},
    {"Pictures", picture_options, 0},
    {"", sim_picture_options, AT(eval.sim)},
    {"Work", work_options, 0},
    {"", sim_gl_options, AT(eval.sim)},
    {"", sim_assets_options, AT(eval.sim)},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    eval_command_options *const options = values;
    vipo_eval_default_options(&options->eval);
    vipo_sampler_default_options(&options->sampler);
    options->tasks = options->cameras = "all";
}

/* ---- what to run ----------------------------------------------------------------------------------------- */

static int number_of(const char *name)
{
    const char *const text = getenv(name);
    char *end;
    const long value = text ? strtol(text, &end, 10) : -1;
    return text && end != text && !*end && value >= 0 && value <= 1000000 ? (int)value : -1;
}

/* --shard, else what Slurm says of the array that this process is a task of. */
static int choose_shard(tool *t, const char *shard, vipo_eval_options *eval)
{
    if (shard) {
        char *end;
        const long i = strtol(shard, &end, 10);
        const char *const slash = end;
        const long n = *slash == '/' ? strtol(slash + 1, &end, 10) : 0;
        if (slash == shard || end == slash + 1 || *end || n < 1 || n > 1000000 || i < 0 || i > n)
            return tool_usage_error(t, "--shard %.40s: expected I/N, such as 1/4, with I from 1 to N", shard);
        eval->shard = (int)i;
        eval->shards = (int)n;
        return STATUS_DONE;
    }
    const int task = number_of("SLURM_ARRAY_TASK_ID"), count = number_of("SLURM_ARRAY_TASK_COUNT");
    const int first = number_of("SLURM_ARRAY_TASK_MIN"), step = number_of("SLURM_ARRAY_TASK_STEP");
    if (task >= 0 &&
        count == 1) /* such as one of many that is submitted again: it must not do the others' work */
        return tool_usage_error(
            t, "a Slurm array of one task (%d) has no parts: say which by --shard I/N (1/1: all)", task);
    if (task < 0 || count < 2 || first < 0 || task < first) return STATUS_DONE;
    eval->shard = (task - first) / (step > 0 ? step : 1) + 1;
    eval->shards = count;
    if (eval->shard > count)
        return tool_fail(t, "Slurm's array is no range (task %d of %d from %d): give --shard", task, count,
                         first);
    if (!t->common->quiet)
        fprintf(stderr, "vipo eval: shard %d/%d by Slurm's array variables\n", eval->shard, eval->shards);
    return STATUS_DONE;
}

/* An option of samplers that was given; NULL: none was. */
static const char *given_sampler_option(const tool *t, const eval_command_options *options)
{
    const option *const tables[] = {sampler_option_table, draft_target_option_table};
    if (options->samplers) return "samplers";
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const option *o = tables[i]; o->name; o++)
            if (option_was_given(t->use, o->name)) return o->name;
    return NULL;
}

/* Are plans made by a model? A name that is none is told later. */
static bool plans_by_model(const vipo_eval_options *eval)
{
    if (eval->plan) return strcmp(eval->plan, "truth") != 0 && strcmp(eval->plan, "none") != 0;
    for (int i = 0; vipo_eval_policy_name(i); i++)
        if (strcmp(vipo_eval_policy_name(i), eval->policy) == 0) return vipo_eval_policy_follows_plans(i);
    return true;
}

static int choose_suite(tool *t, eval_command_options *options)
{
    vipo_eval_options *const eval = &options->eval;
    const vipo_eval_suite *suite = NULL;
    for (int i = 0; options->suite && vipo_eval_suite_at(i); i++)
        if (strcmp(vipo_eval_suite_at(i)->name, options->suite) == 0) suite = vipo_eval_suite_at(i);
    if (!suite) return STATUS_DONE;
    const char *const given = given_sampler_option(t, options);
    if (suite->n_samplers && given)
        return tool_usage_error(t, "--suite %s brings its samplers, so there is no --%s", suite->name, given);
    if (!options->profile) eval->sim.profile = suite->profile;
    if (!option_was_given(t->use, "seeds")) eval->seeds = suite->seeds;
    if (!option_was_given(t->use, "cameras") && suite->n_cameras) {
        eval->cameras = suite->cameras;
        eval->n_cameras = suite->n_cameras;
    }
    eval->samplers = suite->samplers;
    eval->n_samplers = suite->n_samplers;
    return STATUS_DONE;
}

/* Sampler settings are of plans by a model; `several` has room for the list. */
static int choose_samplers(tool *t, eval_command_options *options, vipo_sampler_options *several)
{
    char message[MESSAGE_SIZE];
    vipo_eval_options *const eval = &options->eval;
    const char *const given = given_sampler_option(t, options);
    if (given && !plans_by_model(eval))
        return tool_usage_error(t, "--%s is of plans by a model, and here there are none (--policy %s%s%s)",
                                given, eval->policy, eval->plan ? " --plan " : "",
                                eval->plan ? eval->plan : "");
    if (eval->n_samplers) return STATUS_DONE; /* the suite's */
    if (options->samplers) {
        if (option_was_given(t->use, "sampler"))
            return tool_usage_error(t, "give one of --sampler and --samplers");
        eval->n_samplers = sampler_parse_list(options->samplers, &options->sampler, several,
                                              VIPO_EVAL_MAX_SAMPLERS, message);
        if (!eval->n_samplers) return tool_usage_error(t, "%s", message);
        eval->samplers = several;
        return STATUS_DONE;
    }
    if (!sampler_check(&options->sampler, t->use, message)) return tool_usage_error(t, "%s", message);
    eval->samplers = &options->sampler;
    eval->n_samplers = 1;
    return STATUS_DONE;
}

static int check(tool *t, eval_command_options *options)
{
    if (option_was_given(t->use, "from-step") && !options->eval.warm)
        return tool_usage_error(t, "--from-step is of --warm, which is not given");
    if (option_was_given(t->use, "plan-frames") && options->eval.model)
        return tool_usage_error(
            t, "--plan-frames is for --plan truth without --model, which has its own number");
    if (option_was_given(t->use, "video-stride") && !options->eval.videos)
        return tool_usage_error(t, "--video-stride is of --videos, which is not given");
    if (options->profile && vipo_sim_mujoco_version()) {
        const int profile = sim_profile(options->profile);
        if (profile < 0)
            return tool_usage_error(t, "--profile %.80s: expected farama-v3 or avdc-v2", options->profile);
        options->eval.sim.profile = (vipo_sim_profile)profile;
    }
    return STATUS_DONE;
}

/* ---- while it runs --------------------------------------------------------------------------------------- */

typedef struct eval_watch {
    tool *t;
    int done, successes;
} eval_watch;

static void on_log(void *user, vipo_log_level level, const char *line)
{
    const vipo_callbacks callbacks = tool_callbacks(((eval_watch *)user)->t);
    callbacks.log(callbacks.user, level, line);
}

static void on_progress(void *user, const char *phase, double done, double total)
{
    progress_update(&((eval_watch *)user)->t->bar, phase, done, total);
}

static bool on_cancelled(void *user)
{
    (void)user;
    return interrupt_signal() != 0;
}

static void on_episode(void *user, const vipo_eval_episode *episode)
{
    eval_watch *const watch = user;
    watch->done++;
    watch->successes += episode->success;
    snprintf(watch->t->bar.note, sizeof watch->t->bar.note, "success %d/%d (%.0f %%)", watch->successes,
             watch->done, 100.0 * watch->successes / watch->done);
    tool_note(watch->t, "%s, %s, %s, seed %llu: %s, %d steps, %d plan%s, %.1f s%s%s", episode->settings,
              episode->task, episode->camera, (unsigned long long)episode->seed,
              episode->success ? "success" : "failure", episode->steps, episode->plans,
              episode->plans == 1 ? "" : "s", episode->seconds, episode->error[0] ? ": " : "",
              episode->error);
}

/* ---- results --------------------------------------------------------------------------------------------- */

static json_t *result_json(const eval_command_options *options, const vipo_eval_result *r)
{
    const int known = r->earlier + r->done;
    json_t *const out = json_object();
    json_object_set_new(out, "out", json_text(options->out));
    json_object_set_new(out, "episodes", json_integer(r->episodes));
    json_object_set_new(out, "earlier", json_integer(r->earlier));
    json_object_set_new(out, "done", json_integer(r->done));
    json_object_set_new(out, "successes", json_integer(r->successes));
    json_object_set_new(out, "success_rate", known ? json_number((double)r->successes / known) : json_null());
    json_object_set_new(out, "errors", json_integer(r->errors));
    json_object_set_new(out, "seconds", json_number(r->seconds));
    json_object_set_new(out, "processes", json_integer(r->processes));
    json_object_set_new(out, "digest", json_text(r->digest));
    return out;
}

static int print_results(tool *t, const eval_command_options *options, const vipo_eval_result *r)
{
    if (t->common->json) return tool_print_json(t, result_json(options, r));
    progress_erase(&t->bar);
    printf("%d of %d episodes succeed (%.1f %%)\n", r->successes, r->episodes,
           r->episodes ? 100.0 * r->successes / r->episodes : 0);
    if (r->earlier) printf("%d of the episodes were there before\n", r->earlier);
    if (r->errors) printf("%d episodes could not go on; the column error of the store says why\n", r->errors);
    tool_print_file(t, options->out);
    return STATUS_DONE;
}

/* What is complete is kept: how to go on belongs to what went wrong. */
static int report(tool *t, const eval_command_options *options, const vipo_eval_result *r,
                  const vipo_error *error)
{
    const int known = r->earlier + r->done;
    char episodes[64];
    snprintf(episodes, sizeof episodes, "%d of %d episodes", known, r->episodes);
    return tool_resumable_error(t, error, episodes, known > 0, options->out);
}

static int run_lists(tool *t, eval_command_options *options, char *tasks, char *cameras)
{
    const char *task_names[MAX_NAMES], *camera_names[MAX_NAMES];
    vipo_eval_options *const eval = &options->eval;
    vipo_sampler_options several[VIPO_EVAL_MAX_SAMPLERS];
    int status = check(t, options);
    if (status == STATUS_DONE) status = choose_shard(t, options->shard, eval);
    if (status == STATUS_DONE) status = choose_suite(t, options);
    if (status == STATUS_DONE) status = choose_samplers(t, options, several);
    if (status != STATUS_DONE) return status;
    if (strcmp(tasks, "all") != 0) {
        eval->n_tasks = sim_split_names(tasks, task_names, MAX_NAMES);
        eval->tasks = task_names;
    }
    if (option_was_given(t->use, "cameras") && strcmp(cameras, "all") != 0) {
        eval->n_cameras = sim_split_names(cameras, camera_names, MAX_NAMES);
        eval->cameras = camera_names;
    }
    eval->model_options.compute = options->compute;
    eval->model_options.half_weights = options->half_weights;
    eval->threads = t->common->threads;
    eval_watch watch = {.t = t};
    eval->callbacks =
        (vipo_callbacks){.user = &watch, .log = on_log, .progress = on_progress, .cancelled = on_cancelled};
    eval->episode = on_episode;
    vipo_error error = {0};
    vipo_eval_result r;
    const vipo_status result = vipo_eval_run(options->out, eval, &r, &error);
    if (r.process > 0) return STATUS_DONE; /* the first process has been told, and speaks */
    return result == VIPO_OK ? print_results(t, options, &r) : report(t, options, &r, &error);
}

static int run(tool *t, void *values)
{
    eval_command_options *const options = values;
    /* What a driver would say about its failures is in our one line. */
    setenv("EGL_LOG_LEVEL", "fatal", 0);
    char *const tasks = strdup(options->tasks), *const cameras = strdup(options->cameras);
    const int status =
        tasks && cameras ? run_lists(t, options, tasks, cameras) : tool_fail(t, "out of memory for names");
    free(tasks);
    free(cameras);
    return status;
}

/* Policies, settings of those that have some, suites: the i-th of all of them. */
typedef struct entry {
    const char *name, *meaning; /* NULL past the end */
} entry;

static entry entry_at(int i)
{
    for (int k = 0; vipo_eval_policy_name(k); k++)
        if (i-- == 0) return (entry){vipo_eval_policy_name(k), vipo_eval_policy_summary(k)};
    for (int k = 0; vipo_eval_policy_name(k); k++) {
        static char names[16][32];
        if (!vipo_eval_policy_settings(k) || i-- != 0) continue;
        snprintf(names[k % 16], sizeof names[0], "%s settings", vipo_eval_policy_name(k));
        return (entry){names[k % 16], vipo_eval_policy_settings(k)};
    }
    const vipo_eval_suite *const suite = vipo_eval_suite_at(i);
    return suite ? (entry){suite->name, suite->summary} : (entry){NULL, NULL};
}

static const char *entry_name(int i)
{
    return entry_at(i).name;
}

static const char *entry_summary(int i)
{
    return entry_at(i).meaning;
}

static const glossary policies_and_suites = {"Policies and suites", entry_name, entry_summary};

const command command_eval = {
    .name = "eval",
    .summary = "closed-loop episodes of a policy in the simulator, resumable, results in SQLite",
    .usage = "--out FILE.db [--suite NAME | --tasks LIST --cameras LIST --seeds N] [--policy NAME] [options]",
    .description =
        "Runs every task with every camera and seed that the store does not have yet, and adds a row per "
        "episode. A "
        "row is complete or absent, whatever ends the process: the same command goes on from there. Parts "
        "can be run "
        "by --shard on several machines and joined by `vipo eval merge`, or by `mpirun vipo eval ...`.",
    .groups = groups,
    .glossary = &policies_and_suites,
    .examples = "vipo eval --out quick.db --suite quick --model models/metaworld-64\n"
                "vipo eval --out truth.db --plan truth --tasks door-open --seeds 2 --videos films\n"
                "vipo eval --out part1.db --suite paper-metaworld --model models/metaworld-64 "
                "--shard 1/4\n"
                "mpirun -n 4 vipo eval --out expert.db --policy expert --seeds 25",
    .values_size = sizeof(eval_command_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
