#include "policy/goal_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "core/memory.h"
#include "policy/model.h"

static const char weights_file[] = "policy.safetensors";

void vipo_goal_policy_default_options(vipo_goal_policy_options *options)
{
    *options = (vipo_goal_policy_options){.threads = 0};
}

vipo_status vipo_goal_policy_read_config(const char *folder, vipo_policy_config *out, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    json_t *root;
    VIPO_TRY(vipo_model_path(path, folder, "config.json", error));
    VIPO_TRY(vipo_json_load(&root, path, error));
    const vipo_status status = vipo_policy_config_parse(out, root, path, error);
    json_decref(root);
    return status;
}

bool vipo_goal_policy_is(const char *folder)
{
    char path[VIPO_PATH_ROOM];
    json_t *root;
    if (vipo_model_path(path, folder, "config.json", NULL) != VIPO_OK) return false;
    if (vipo_json_load(&root, path, NULL) != VIPO_OK) return false;
    const bool is = vipo_policy_config_is(root);
    json_decref(root);
    return is;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

static vipo_status load(vipo_goal_policy *p, const vipo_policy_config *config,
                        const vipo_callbacks *callbacks, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    vipo_weight_file *file;
    vipo_policy_weights weights;
    size_t expected = 0;
    VIPO_TRY(vipo_model_path(path, p->folder, weights_file, error));
    VIPO_TRY(vipo_weight_file_open(&file, path, error));
    vipo_status status = vipo_policy_weights_open(&weights, file, path, "", error);
    for (int i = 0; i < vipo_weight_file_count(file); i++) expected += vipo_weight_file_at(file, i)->count;
    const vipo_weight_source source = vipo_policy_weights_source(&weights);
    const vipo_packer packer = {.ops = p->compute.ops, .pool = p->compute.pool};
    if (status == VIPO_OK)
        status = vipo_policy_networks_open(p->networks, config, &packer, &source, expected, callbacks, error);
    if (status == VIPO_OK) status = vipo_policy_weights_check(&weights, error);
    vipo_policy_weights_close(&weights);
    vipo_weight_file_close(&file);
    return status;
}

static vipo_action_prediction prediction_of(vipo_prediction prediction)
{
    switch (prediction) {
    case VIPO_PREDICT_SAMPLE:
        return VIPO_ACTION_SAMPLE;
    case VIPO_PREDICT_V:
        return VIPO_ACTION_V;
    case VIPO_PREDICT_EPSILON:
        break;
    }
    return VIPO_ACTION_EPSILON;
}

static vipo_status open_all(vipo_goal_policy *p, const vipo_goal_policy_options *options,
                            const vipo_callbacks *callbacks, vipo_error *error)
{
    vipo_policy_config config;
    if (options->threads < 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threads: %d, expected 0 (all cores) or more",
                         options->threads);
    VIPO_TRY(vipo_goal_policy_read_config(p->folder, &config, error));
    VIPO_TRY(vipo_ops_find(&p->compute.ops, options->compute, error));
    VIPO_TRY(vipo_pool_open(&p->compute.pool, options->threads, error));
    VIPO_TRY(load(p, &config, callbacks, error));
    if (config.kind == VIPO_POLICY_GCP) {
        VIPO_TRY(vipo_action_schedule_open(&p->schedule, config.timesteps, error));
        p->schedule.prediction = prediction_of(config.prediction);
        p->schedule.clip = config.clip;
        p->schedule.clip_range = (float)config.clip_range;
    }
    return vipo_goal_policy_reserve(p, 1, error);
}

vipo_status vipo_goal_policy_open(vipo_goal_policy **out, const char *folder,
                                  const vipo_goal_policy_options *options, const vipo_callbacks *callbacks,
                                  vipo_error *error)
{
    *out = NULL;
    vipo_goal_policy_options defaults;
    vipo_goal_policy_default_options(&defaults);
    vipo_goal_policy *p = calloc(1, sizeof *p);
    if (!p) return vipo_fail_memory(error, sizeof *p, "a policy");
    p->folder = strdup(folder);
    p->networks = calloc(1, sizeof *p->networks);
    const vipo_status status = p->folder && p->networks
                                   ? open_all(p, options ? options : &defaults, callbacks, error)
                                   : vipo_fail_memory(error, sizeof *p->networks, "a policy");
    if (status != VIPO_OK) vipo_goal_policy_close(&p);
    *out = p;
    return status;
}

void vipo_goal_policy_close(vipo_goal_policy **policy)
{
    vipo_goal_policy *p = policy ? *policy : NULL;
    if (!p) return;
    if (p->networks) vipo_policy_networks_close(p->networks);
    free(p->networks);
    vipo_action_schedule_close(&p->schedule);
    vipo_pool_close(&p->compute.pool);
    vipo_aligned_free(p->compute.scratch);
    vipo_aligned_free(p->memory);
    free(p->folder);
    free(p);
    *policy = NULL;
}

const char *vipo_goal_policy_compute(const vipo_goal_policy *policy)
{
    return policy->compute.ops->name;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static vipo_status reserve_scratch(vipo_goal_policy *p, int samples, vipo_error *error)
{
    const vipo_policy_networks *n = p->networks;
    const vipo_ops *ops = p->compute.ops;
    const bool gcp = n->config.kind == VIPO_POLICY_GCP;
    size_t bytes = vipo_image_encoder_scratch(&n->encoders[0], ops, samples);
    bytes = most(bytes, vipo_image_encoder_scratch(&n->encoders[0], ops, 1)); /* one goal for all */
    bytes = most(bytes, gcp ? vipo_unet1d_scratch(&n->unet, ops, samples)
                            : vipo_action_head_scratch(&n->head, ops, samples));
    bytes = (bytes + VIPO_ALIGNMENT - 1) / VIPO_ALIGNMENT * VIPO_ALIGNMENT;
    if (bytes <= p->compute.scratch_bytes) return VIPO_OK;
    char *scratch = vipo_aligned_calloc((size_t)vipo_pool_threads(p->compute.pool), bytes);
    if (!scratch) return vipo_fail_memory(error, bytes, "scratch memory");
    vipo_aligned_free(p->compute.scratch);
    p->compute.scratch = scratch;
    p->compute.scratch_bytes = bytes;
    return VIPO_OK;
}

/* The next n floats of a block, at an aligned place. */
static float *take(float **at, size_t n)
{
    const size_t line = VIPO_ALIGNMENT / sizeof(float);
    float *out = *at;
    *at += (n + line - 1) / line * line;
    return out;
}

vipo_status vipo_goal_policy_reserve(vipo_goal_policy *p, int samples, vipo_error *error)
{
    if (samples == p->samples) return VIPO_OK;
    const vipo_policy_networks *n = p->networks;
    const vipo_policy_config *c = &n->config;
    const bool gcp = c->kind == VIPO_POLICY_GCP;
    const size_t count = (size_t)samples, feature = count * (size_t)c->encoder.feature_size;
    const size_t sequence = count * (size_t)c->horizon * (size_t)c->action_dim;
    const size_t picture = count * (size_t)c->encoder.height * (size_t)c->encoder.width * 3;
    const size_t condition = count * (size_t)vipo_policy_condition(c);
    const size_t encoder = vipo_image_encoder_memory(&n->encoders[0], samples);
    const size_t network =
        gcp ? vipo_unet1d_memory(&n->unet, samples) : vipo_action_head_memory(&n->head, samples);
    VIPO_TRY(reserve_scratch(p, samples, error));
    enum { PLACES = 8 };
    const size_t total = encoder + network + 2 * feature + condition + 3 * sequence + picture +
                         PLACES * (VIPO_ALIGNMENT / sizeof(float));
    float *memory = vipo_aligned_calloc(total, sizeof *memory); /* zeros, as the UNet wants them */
    if (!memory) return vipo_fail_memory(error, total * sizeof *memory, "a policy's memory");
    vipo_aligned_free(p->memory);
    p->memory = memory;
    p->samples = samples;
    p->goals = 0;
    float *at = memory;
    p->encoder = take(&at, encoder);
    p->network = take(&at, network);
    p->features = take(&at, feature);
    p->goal_features = take(&at, feature);
    p->condition = take(&at, condition);
    p->x = take(&at, sequence);
    p->work = take(&at, 2 * sequence);
    p->goal = take(&at, picture);
    return VIPO_OK;
}

/* ---- information ------------------------------------------------------------------------------------------ */

static void describe(vipo_goal_policy_info *out, const vipo_policy_config *c)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", c->name);
    snprintf(out->kind, sizeof out->kind, "%s", vipo_policy_kind_name(c->kind));
    for (int i = 0; i < c->n_pictures; i++)
        *(c->pictures[i] == VIPO_PICTURE_OBS ? &out->obs : &out->goal) = true;
    out->height = c->encoder.height;
    out->width = c->encoder.width;
    out->vector_dim = c->vector_dim;
    out->n_parts = c->n_vector_parts;
    for (int i = 0; i < c->n_vector_parts; i++) {
        const vipo_vector_part_config *part = &c->vector_parts[i];
        out->parts[i] = (vipo_vector_part){.offset = part->offset, .size = part->size, .tasks = part->tasks};
        snprintf(out->parts[i].name, sizeof out->parts[i].name, "%s", part->name);
    }
    out->n_tasks = c->n_tasks;
    for (int i = 0; i < c->n_tasks; i++) snprintf(out->tasks[i], sizeof out->tasks[i], "%s", c->tasks[i]);
    out->action_dim = c->action_dim;
    out->horizon = c->horizon;
    out->executed = c->executed;
    memcpy(out->action_min, c->action_min, sizeof out->action_min);
    memcpy(out->action_max, c->action_max, sizeof out->action_max);
    out->timesteps = c->timesteps;
    snprintf(out->sampler, sizeof out->sampler, "%s", c->sampler);
    out->steps = c->steps ? c->steps : strcmp(c->sampler, vipo_action_ddpm.name) == 0 ? c->timesteps : 0;
}

/* Headers only. */
static vipo_status describe_file(vipo_goal_policy_info *out, const char *folder, vipo_error *error)
{
    char path[VIPO_PATH_ROOM];
    vipo_safetensors *file;
    VIPO_TRY(vipo_model_path(path, folder, weights_file, error));
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    out->n_tensors = vipo_safetensors_count(file);
    out->file_bytes = vipo_safetensors_file_bytes(file);
    for (int i = 0; i < out->n_tensors; i++) {
        const vipo_tensor_view *view = vipo_safetensors_at(file, i);
        const char *dtype = vipo_dtype_name(view->dtype);
        const bool same = i == 0 || strcmp(out->dtype, dtype) == 0; /* never again once they differ */
        snprintf(out->dtype, sizeof out->dtype, "%s", same ? dtype : "mixed");
        out->parameters += view->count;
    }
    vipo_safetensors_close(&file);
    return VIPO_OK;
}

void vipo_goal_policy_get_info(const vipo_goal_policy *policy, vipo_goal_policy_info *out)
{
    describe(out, &policy->networks->config);
    describe_file(out, policy->folder, NULL); /* the file may be gone by now */
    out->parameters = policy->networks->store.parameters;
}

vipo_status vipo_goal_policy_read_info(const char *folder, vipo_goal_policy_info *out, vipo_error *error)
{
    vipo_policy_config config;
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_goal_policy_read_config(folder, &config, error));
    describe(out, &config);
    const vipo_status status = describe_file(out, folder, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}
