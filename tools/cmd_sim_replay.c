/* vipo sim replay: a recorded episode again, and how far from the recording it comes. */
#include "commands.h"
#include "sim.h"

typedef struct replay_options {
    common_options common;
    sim_inputs inputs;
    const char *episode;
} replay_options;

#define AT(member) offsetof(replay_options, member)
static const option own_options[] = {
    {.name = "task",
     .letter = 't',
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(inputs.task),
     .choice = vipo_sim_task_name,
     .required = true,
     .help = "of the recording; `vipo sim list` shows all"},
    {.name = "episode",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(episode),
     .endings = "safetensors",
     .required = true,
     .help =
         ".safetensors, float64: init/..., the initial state, and step/action, obs, qpos, reward, success"},
    {.name = "profile",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(inputs.profile),
     .choice = vipo_sim_profile_name,
     .default_text = "farama-v3",
     .help = "of the recording: farama-v3 or avdc-v2"},
    {0},
};
static const option_group groups[] = {
    {"Recording", own_options, 0},
    {"", sim_assets_options, AT(inputs.sim)},
    {"Common", common_option_table, AT(common)},
    {0},
};

static int print_json(tool *t, const replay_options *options, const vipo_sim_replay_result *r)
{
    const vipo_sim_episode *const episode = &r->episode;
    json_t *const out = json_object();
    json_object_set_new(out, "task", json_text(options->inputs.task));
    json_object_set_new(
        out, "profile",
        json_text(options->inputs.profile ? options->inputs.profile : vipo_sim_profile_name(0)));
    json_object_set_new(out, "mujoco", json_text(vipo_sim_mujoco_version()));
    json_object_set_new(out, "first_success",
                        episode->first_success ? json_integer(episode->first_success) : json_null());
    json_object_set_new(out, "steps", json_integer(episode->steps));
    json_object_set_new(out, "return", json_number(episode->total_reward));
    json_object_set_new(out, "max_obs_diff", json_number(r->max_observation_difference));
    json_object_set_new(out, "first_obs_diff", json_number(r->first_observation_difference));
    json_object_set_new(out, "max_qpos_diff", json_number(r->max_qpos_difference));
    json_object_set_new(out, "max_reward_diff", json_number(r->max_reward_difference));
    json_object_set_new(out, "success_diffs", json_integer(r->success_differences));
    return tool_print_json(t, out);
}

static void print_text(const vipo_sim_replay_result *r)
{
    if (r->episode.first_success)
        printf("%d steps, success at step %d, return %.3f\n", r->episode.steps, r->episode.first_success,
               r->episode.total_reward);
    else
        printf("%d steps, no success, return %.3f\n", r->episode.steps, r->episode.total_reward);
    printf("greatest differences: observations %.3g (step 1: %.3g), positions %.3g, rewards %.3g; success in "
           "%d steps\n",
           r->max_observation_difference, r->first_observation_difference, r->max_qpos_difference,
           r->max_reward_difference, r->success_differences);
}

static int run(tool *t, void *values)
{
    const replay_options *const options = values;
    vipo_error error = {0};
    vipo_sim *sim = NULL;
    vipo_sim_replay_result r;
    sim_inputs inputs = options->inputs;
    inputs.initial = options->episode;
    double observation[VIPO_SIM_OBSERVATION];
    int result = sim_open(t, &inputs, &sim, observation);
    if (result != STATUS_DONE) return result;
    if (vipo_sim_replay(sim, options->episode, &r, &error) != VIPO_OK)
        result = tool_library_error(t, &error);
    else if (t->common->json)
        result = print_json(t, options, &r);
    else
        print_text(&r);
    vipo_sim_close(&sim);
    return result;
}

const command command_sim_replay = {
    .name = "sim-replay",
    .summary = "simulator: a recorded episode again",
    .usage = "--task NAME --episode FILE [options]",
    .description = "Sets a recorded initial state, repeats the recorded actions, and tells the greatest "
                   "differences from "
                   "what was recorded.",
    .groups = groups,
    .examples =
        "vipo sim replay --task hammer --episode tests/golden/metaworld/expert_hammer_0.safetensors\n"
        "vipo sim replay --task hammer --episode tests/golden/metaworld/expert_hammer_0.safetensors --json",
    .values_size = sizeof(replay_options),
    .common = AT(common),
    .run = run,
};
