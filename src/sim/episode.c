/* Whole episodes: of the scripted expert, and recorded ones again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/metaworld.h"
#include "sim/vector.h"

enum { AFTER_SUCCESS = 10 };

static void count(vipo_sim_episode *episode, const vipo_sim_step_result *step)
{
    episode->steps++;
    episode->total_reward += step->reward;
    if (step->success && !episode->first_success) episode->first_success = episode->steps;
}

vipo_status vipo_sim_play_expert(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                 const vipo_expert_hooks *hooks, vipo_sim_episode *out, vipo_error *error)
{
    vipo_sim_step_result step;
    vipo_sim_episode episode = {0};
    double action[VIPO_SIM_ACTION];
    *out = episode;
    memcpy(step.observation, observation, sizeof step.observation);
    while (sim->steps < VIPO_SIM_MAX_STEPS &&
           !(episode.first_success && episode.steps == episode.first_success + AFTER_SUCCESS)) {
        if (hooks->before_step && !hooks->before_step(hooks->user, sim, episode.steps)) break;
        VIPO_TRY(vipo_sim_expert(sim, step.observation, action, error));
        if (hooks->on_action) hooks->on_action(hooks->user, episode.steps, action);
        VIPO_TRY(vipo_sim_step(sim, action, &step, error));
        count(&episode, &step);
        if (hooks->after_step) hooks->after_step(hooks->user, sim, episode.steps - 1, action, &step);
    }
    *out = episode;
    return VIPO_OK;
}

vipo_status vipo_sim_run_expert(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                bool (*before_step)(void *user, vipo_sim *sim, int step), void *user,
                                vipo_sim_episode *out, vipo_error *error)
{
    const vipo_expert_hooks hooks = {.user = user, .before_step = before_step};
    return vipo_sim_play_expert(sim, observation, &hooks, out, error);
}

/* The "step/..." part of a recorded episode. */
typedef struct recorded_steps {
    int n;
    double *memory; /* owns the rest */
    double *action, *observation, *qpos, *reward, *success;
} recorded_steps;

static vipo_status read_steps(recorded_steps *out, const vipo_sim *sim, const vipo_safetensors *record,
                              const char *file, vipo_error *error)
{
    const size_t nq = (size_t)sim->scene->model->nq;
    const vipo_tensor_view *actions = vipo_safetensors_find(record, "step/action");
    memset(out, 0, sizeof *out);
    if (!actions || actions->rank != 2 || actions->shape[0] < 1 || actions->shape[0] > VIPO_SIM_MAX_STEPS)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor step/action: expected shape [1..%d, %d], %s", file,
                         VIPO_SIM_MAX_STEPS, VIPO_SIM_ACTION, actions ? "found another" : "found none");
    const size_t n = actions->shape[0];
    const struct {
        const char *name;
        size_t columns; /* 0: a number per step */
        double **values;
    } tensors[] = {{"step/action", VIPO_SIM_ACTION, &out->action},
                   {"step/obs", VIPO_SIM_OBSERVATION, &out->observation},
                   {"step/qpos", nq, &out->qpos},
                   {"step/reward", 0, &out->reward},
                   {"step/success", 0, &out->success}};
    enum { TENSORS = sizeof tensors / sizeof tensors[0] };
    size_t columns = 0;
    for (int i = 0; i < TENSORS; i++) columns += tensors[i].columns ? tensors[i].columns : 1;
    out->n = (int)n;
    out->memory = malloc(n * columns * sizeof *out->memory);
    if (!out->memory) return vipo_fail_memory(error, n * columns * sizeof *out->memory, "an episode");
    double *next = out->memory;
    for (int i = 0; i < TENSORS; i++) {
        const size_t shape[2] = {n, tensors[i].columns};
        *tensors[i].values = next;
        next += n * (tensors[i].columns ? tensors[i].columns : 1);
        const vipo_status status = vipo_record_read(record, file, tensors[i].name, tensors[i].columns ? 2 : 1,
                                                    shape, *tensors[i].values, error);
        if (status != VIPO_OK) {
            free(out->memory);
            memset(out, 0, sizeof *out);
            return status;
        }
    }
    return VIPO_OK;
}

static double greatest_difference(const double *a, const double *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* From the loaded state. */
static vipo_status replay_steps(vipo_sim *sim, const recorded_steps *steps, vipo_sim_replay_result *out,
                                vipo_error *error)
{
    const size_t nq = (size_t)sim->scene->model->nq;
    for (int t = 0; t < steps->n; t++) {
        vipo_sim_step_result step;
        const size_t row = (size_t)t;
        VIPO_TRY(vipo_sim_step(sim, steps->action + row * VIPO_SIM_ACTION, &step, error));
        count(&out->episode, &step);
        const double observation = greatest_difference(
            step.observation, steps->observation + row * VIPO_SIM_OBSERVATION, VIPO_SIM_OBSERVATION);
        if (t == 0) out->first_observation_difference = observation;
        out->max_observation_difference = fmax(out->max_observation_difference, observation);
        out->max_qpos_difference =
            fmax(out->max_qpos_difference,
                 greatest_difference(sim->scene->data->qpos, steps->qpos + row * nq, nq));
        out->max_reward_difference = fmax(out->max_reward_difference, fabs(step.reward - steps->reward[t]));
        if (step.success != (steps->success[t] > 0.5)) out->success_differences++;
    }
    return VIPO_OK;
}

vipo_status vipo_sim_replay(vipo_sim *sim, const char *path, vipo_sim_replay_result *out, vipo_error *error)
{
    vipo_safetensors *record;
    recorded_steps steps = {0};
    double observation[VIPO_SIM_OBSERVATION];
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_safetensors_open(&record, path, error));
    vipo_status status = vipo_sim_load_record(sim, record, path, observation, error);
    if (status == VIPO_OK) status = read_steps(&steps, sim, record, path, error);
    if (status == VIPO_OK) status = replay_steps(sim, &steps, out, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    free(steps.memory);
    vipo_safetensors_close(&record);
    return status;
}
