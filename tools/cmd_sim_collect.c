/* vipo sim collect: episodes of the scripted policies as a data set of videos. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "sim.h"

enum { MAX_NAMES = 16 };

typedef struct collect_options {
    common_options common;
    const char *out, *tasks, *cameras, *size, *picture, *profile;
    vipo_sim_collect_options set;
} collect_options;

#define AT(member) offsetof(collect_options, member)
static const option what_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .required = true,
     .help = "folder of the data set: a new one, or one to go on with"},
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
    {.name = "episodes",
     .letter = 'n',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(set.episodes),
     .min = 1,
     .max = 1000000,
     .help = "of each task"},
    {.name = "seed",
     .placeholder = "N",
     .kind = OPTION_UINT64,
     .offset = AT(set.seed),
     .help = "of the first episode; the next ones follow, and those without success are passed over"},
    {.name = "profile",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(profile),
     .choice = vipo_sim_profile_name,
     .default_text = "farama-v3",
     .help = "farama-v3: Meta-World 3.1.1; avdc-v2: the Meta-World that AVDC's results come from"},
    {.name = "keep-failures",
     .kind = OPTION_FLAG,
     .offset = AT(set.keep_failures),
     .help = "keep the episodes without success too"},
    {.name = "undo",
     .kind = OPTION_FLAG,
     .offset = AT(set.undo),
     .help = "begin amid the opposite task, with a half-open door: of door-open and door-close"},
    {.name = "action-noise",
     .placeholder = "S",
     .kind = OPTION_DOUBLE,
     .offset = AT(set.action_noise),
     .min = 0,
     .max = 2,
     .default_text = "none",
     .help = "exploration: standard deviation of Gaussian noise on the actions, which end at +-1"},
    {.name = "noise-hold",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(set.noise_hold),
     .min = 1,
     .max = VIPO_SIM_MAX_STEPS,
     .help = "steps for which a draw of that noise stays"},
    {0},
};
static const option picture_options[] = {
    {.name = "size",
     .placeholder = "WxH",
     .kind = OPTION_STRING,
     .offset = AT(size),
     .help = "width and height of a frame, the middle of the picture"},
    {.name = "picture",
     .placeholder = "WxH",
     .kind = OPTION_STRING,
     .offset = AT(picture),
     .help = "width and height of the picture"},
    {.name = "stride",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(set.stride),
     .min = 1,
     .max = VIPO_SIM_MAX_STEPS,
     .default_text = "what --max-frames needs",
     .help = "environment steps from frame to frame, counted from the last"},
    {.name = "max-frames",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(set.max_frames),
     .min = 2,
     .max = VIPO_SIM_MAX_STEPS + 1,
     .help = "most frames of a clip, without --stride"},
    {.name = "crf",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(set.crf),
     .min = 0,
     .max = 51,
     .help = "x264's quality, lower is better; clips that would fall below --min-psnr get a better one"},
    {.name = "min-psnr",
     .placeholder = "DB",
     .kind = OPTION_DOUBLE,
     .offset = AT(set.min_psnr),
     .min = 0,
     .max = 100,
     .help = "least peak signal-to-noise ratio of a clip in RGB"},
    {.name = "lossless",
     .kind = OPTION_FLAG,
     .offset = AT(set.lossless),
     .help = "the very pixels, at many times the size"},
    {0},
};
static const option work_options[] = {
    {.name = "workers",
     .letter = 'w',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(set.workers),
     .min = 1,
     .max = 256,
     .default_text = "one per core",
     .help = "environments at a time; the files do not depend on it"},
    {0},
};
static const option_group groups[] = {
    {"Data set", what_options, 0},
    {"Pictures", picture_options, 0},
    {"", sim_picture_options, AT(set.sim)},
    {"Work", work_options, 0},
    {"", sim_gl_options, AT(set.sim)},
    {"", sim_assets_options, AT(set.sim)},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    collect_options *const options = values;
    vipo_sim_default_collect_options(&options->set);
    options->tasks = options->cameras = "all";
    options->size = "128x128";
    options->picture = "320x240";
}

static json_t *result_json(const collect_options *options, const vipo_sim_collect_result *r)
{
    json_t *const out = json_object();
    json_object_set_new(out, "out", json_text(options->out));
    json_object_set_new(out, "episodes", json_integer(r->episodes));
    json_object_set_new(out, "earlier", json_integer(r->earlier));
    json_object_set_new(out, "skipped", json_integer(r->skipped));
    json_object_set_new(out, "clips", json_integer(r->clips));
    json_object_set_new(out, "frames", json_integer((json_int_t)r->frames));
    json_object_set_new(out, "video_bytes", json_integer((json_int_t)r->video_bytes));
    json_object_set_new(out, "worst_psnr", r->worst_psnr > 0 ? json_number(r->worst_psnr) : json_null());
    json_object_set_new(out, "mujoco", json_text(vipo_sim_mujoco_version()));
    return out;
}

static int print_results(tool *t, const collect_options *options, const vipo_sim_collect_result *r)
{
    if (t->common->json) return tool_print_json(t, result_json(options, r));
    char bytes[32], psnr[48] = "lossless";
    if (r->worst_psnr > 0) snprintf(psnr, sizeof psnr, "at least %.1f dB", r->worst_psnr);
    progress_erase(&t->bar);
    printf("%d episodes, %d clips, %zu frames, videos %s, %s\n", r->episodes, r->clips, r->frames,
           format_bytes((double)r->video_bytes, bytes, sizeof bytes), psnr);
    if (r->earlier) printf("%d of the episodes were there before\n", r->earlier);
    if (r->skipped) printf("%d seeds without success were passed over\n", r->skipped);
    return STATUS_DONE;
}

/* What is complete is kept: how to go on belongs to what went wrong. */
static int report(tool *t, const collect_options *options, const vipo_sim_collect_result *r,
                  const vipo_error *error)
{
    char episodes[64];
    snprintf(episodes, sizeof episodes, "%d complete episodes", r->episodes);
    return tool_resumable_error(t, error, episodes, r->episodes > 0, options->out);
}

static int run_lists(tool *t, collect_options *options, char *tasks, char *cameras)
{
    const char *task_names[MAX_NAMES], *camera_names[MAX_NAMES];
    vipo_sim_collect_options *const set = &options->set;
    if (strcmp(tasks, "all") != 0) {
        set->n_tasks = sim_split_names(tasks, task_names, MAX_NAMES);
        set->tasks = task_names;
    }
    if (strcmp(cameras, "all") != 0) {
        set->n_cameras = sim_split_names(cameras, camera_names, MAX_NAMES);
        set->cameras = camera_names;
    }
    set->callbacks = tool_callbacks(t);
    vipo_error error = {0};
    vipo_sim_collect_result r;
    const vipo_status status = vipo_sim_collect(options->out, set, &r, &error);
    return status == VIPO_OK ? print_results(t, options, &r) : report(t, options, &r, &error);
}

static int run(tool *t, void *values)
{
    collect_options *const options = values;
    vipo_sim_collect_options *const set = &options->set;
    if (!sim_parse_size(options->size, &set->height, &set->width))
        return tool_usage_error(t, "--size %.80s: expected WIDTHxHEIGHT, each from 1 to 8192", options->size);
    if (!sim_parse_size(options->picture, &set->picture_height, &set->picture_width))
        return tool_usage_error(t, "--picture %.80s: expected WIDTHxHEIGHT, each from 1 to 8192",
                                options->picture);
    if (set->lossless && (option_was_given(t->use, "crf") || option_was_given(t->use, "min-psnr")))
        return tool_usage_error(t, "--lossless has no --crf and no --min-psnr");
    if (option_was_given(t->use, "stride") && option_was_given(t->use, "max-frames"))
        return tool_usage_error(t, "give one of --stride and --max-frames");
    if (option_was_given(t->use, "noise-hold") && set->action_noise <= 0)
        return tool_usage_error(t, "--noise-hold is of --action-noise, which is not given or 0");
    if (options->profile && vipo_sim_mujoco_version()) {
        const int profile = sim_profile(options->profile);
        if (profile < 0)
            return tool_usage_error(t, "--profile %.80s: expected farama-v3 or avdc-v2", options->profile);
        set->sim.profile = (vipo_sim_profile)profile;
    }
    /* What a driver would say about its failures is in our one line. */
    setenv("EGL_LOG_LEVEL", "fatal", 0);
    char *const tasks = strdup(options->tasks), *const cameras = strdup(options->cameras);
    const int status =
        tasks && cameras ? run_lists(t, options, tasks, cameras) : tool_fail(t, "out of memory for names");
    free(tasks);
    free(cameras);
    return status;
}

const command command_sim_collect = {
    .name = "sim-collect",
    .summary = "simulator: episodes of the scripted policies as a data set of videos",
    .usage = "--out DIR [--tasks LIST] [--cameras LIST] [--episodes N] [options]",
    .description = "Runs the scripted policy of each task from seed after seed, keeps the episodes that "
                   "succeed, and writes a "
                   "video per camera, the recorded episode, and an index with texts. What is complete "
                   "stays after an interruption; the same command goes on from there.",
    .groups = groups,
    .examples = "vipo sim collect --out out/metaworld --episodes 20\n"
                "vipo sim collect --out out/door --tasks door-open,door-close --cameras corner --episodes 5 "
                "--lossless",
    .values_size = sizeof(collect_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
