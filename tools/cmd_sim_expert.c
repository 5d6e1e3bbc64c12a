/* vipo sim expert: episodes of a task's scripted policy. */
#include <stdlib.h>
#include <time.h>

#include "commands.h"
#include "interrupt.h"
#include "sim.h"

typedef struct expert_options {
    common_options common;
    sim_inputs inputs;
    int episodes;
} expert_options;

#define AT(member) offsetof(expert_options, member)
static const option own_options[] = {
    {.name = "episodes",
     .letter = 'n',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(episodes),
     .min = 1,
     .max = 1000000,
     .help = "episodes: of --seed, the seed after it, ..."},
    {0},
};
static const option_group groups[] = {
    {"Scene", sim_scene_options, AT(inputs)},
    {"", sim_assets_options, AT(inputs.sim)},
    {"Episodes", own_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    ((expert_options *)values)->episodes = 1;
}

/* Ctrl-C ends the episode. */
static bool go_on(void *user, vipo_sim *sim, int step)
{
    (void)user, (void)sim, (void)step;
    return !interrupt_signal();
}

static json_t *episode_json(const vipo_sim_episode *episode)
{
    json_t *const out = json_object();
    json_object_set_new(out, "first_success",
                        episode->first_success ? json_integer(episode->first_success) : json_null());
    json_object_set_new(out, "steps", json_integer(episode->steps));
    json_object_set_new(out, "return", json_number(episode->total_reward));
    return out;
}

static void print_episode(const vipo_sim_episode *episode)
{
    if (episode->first_success)
        printf("success at step %d, ", episode->first_success);
    else
        printf("no success, ");
    printf("%d steps, return %.3f\n", episode->steps, episode->total_reward);
}

/* What all episodes gave. */
typedef struct results {
    json_t *list; /* an object per episode */
    int successes;
    double reset_seconds, step_seconds;
} results;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void add(tool *t, const expert_options *options, results *r, uint64_t seed,
                const vipo_sim_episode *episode)
{
    r->successes += episode->first_success > 0;
    if (t->common->json) {
        json_t *const one = episode_json(episode);
        if (options->episodes > 1) json_object_set_new(one, "seed", json_integer((json_int_t)seed));
        json_array_append_new(r->list, one);
        return;
    }
    progress_erase(&t->bar);
    if (options->episodes > 1) printf("seed %llu: ", (unsigned long long)seed);
    print_episode(episode);
}

/* One episode; observation is that of the state in `--initial`. */
static vipo_status run_one(const expert_options *options, vipo_sim *sim, uint64_t seed, double *observation,
                           results *r, vipo_sim_episode *episode, vipo_error *error)
{
    const double start = now();
    vipo_status status = options->inputs.initial ? VIPO_OK : vipo_sim_reset(sim, seed, observation, error);
    if (status != VIPO_OK) return status;
    const double middle = now();
    r->reset_seconds += middle - start;
    status = vipo_sim_run_expert(sim, observation, go_on, NULL, episode, error);
    r->step_seconds += now() - middle;
    return status == VIPO_OK && interrupt_signal() ? VIPO_CANCELLED : status;
}

static vipo_status run_all(tool *t, const expert_options *options, vipo_sim *sim, double *observation,
                           results *r, vipo_error *error)
{
    const vipo_callbacks callbacks = tool_callbacks(t);
    for (int i = 0; i < options->episodes; i++) {
        const uint64_t seed = options->inputs.seed + (uint64_t)i;
        vipo_sim_episode episode;
        const vipo_status status = run_one(options, sim, seed, observation, r, &episode, error);
        if (status != VIPO_OK) return status;
        add(t, options, r, seed, &episode);
        if (callbacks.progress) callbacks.progress(callbacks.user, "episodes", i + 1, options->episodes);
    }
    return VIPO_OK;
}

static int print_results(tool *t, const expert_options *options, const results *r)
{
    if (!t->common->json) {
        progress_erase(&t->bar);
        if (options->episodes > 1) printf("%d of %d succeed\n", r->successes, options->episodes);
        return STATUS_DONE;
    }
    json_t *const out = json_object();
    json_object_set_new(out, "task", json_text(options->inputs.task));
    json_object_set_new(
        out, "profile",
        json_text(options->inputs.profile ? options->inputs.profile : vipo_sim_profile_name(0)));
    json_object_set_new(
        out, "seed", options->inputs.initial ? json_null() : json_integer((json_int_t)options->inputs.seed));
    json_object_set_new(out, "mujoco", json_text(vipo_sim_mujoco_version()));
    json_object_set_new(out, "reset_seconds", json_number(r->reset_seconds));
    json_object_set_new(out, "step_seconds", json_number(r->step_seconds));
    if (options->episodes == 1) {
        json_object_update(out, json_array_get(r->list, 0));
    } else {
        json_object_set_new(out, "successes", json_integer(r->successes));
        json_object_set(out, "episodes", r->list);
    }
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    const expert_options *const options = values;
    vipo_sim *sim;
    vipo_error error = {0};
    double observation[VIPO_SIM_OBSERVATION];
    if (options->inputs.initial && options->episodes > 1)
        return tool_usage_error(t,
                                "--initial is one state, which --episodes %d would repeat: give one of them",
                                options->episodes);
    int result = sim_open(t, &options->inputs, &sim, observation);
    if (result != STATUS_DONE) return result;
    interrupt_install();
    results r = {.list = json_array()};
    const vipo_status status = run_all(t, options, sim, observation, &r, &error);
    if (status == VIPO_OK)
        result = print_results(t, options, &r);
    else
        result = status == VIPO_CANCELLED ? tool_interrupted(t) : tool_library_error(t, &error);
    json_decref(r.list);
    vipo_sim_close(&sim);
    return result;
}

const command command_sim_expert = {
    .name = "sim-expert",
    .summary = "simulator: episodes of a task's scripted policy",
    .usage = "--task NAME [--seed N | --initial FILE] [--episodes N] [options]",
    .description =
        "Runs the scripted policy of a task until 10 steps after its first success, or for 500 steps, and "
        "tells the step of the first success, the number of steps and the sum of rewards.",
    .groups = groups,
    .examples = "vipo sim expert --task door-open --seed 0\n"
                "vipo sim expert --task assembly --profile avdc-v2 --episodes 25 --json",
    .set_defaults = set_defaults,
    .values_size = sizeof(expert_options),
    .common = AT(common),
    .run = run,
};
