/* One call of an action policy: pictures -> features -> a sequence of actions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/rng.h"
#include "policy/goal_policy.h"

enum { MOST_SAMPLES = 256, USUAL_STEPS = 8, NOISE_PURPOSE = 0xf80, COLOURS = 3 };

const char *vipo_action_sampler_name(int i)
{
    const vipo_action_sampler *sampler = vipo_action_sampler_at(i);
    return sampler ? sampler->name : NULL;
}

const char *vipo_action_sampler_summary(int i)
{
    const vipo_action_sampler *sampler = vipo_action_sampler_at(i);
    return sampler ? sampler->summary : NULL;
}

void vipo_goal_request_default(vipo_goal_request *request)
{
    *request = (vipo_goal_request){.samples = 1};
}

void vipo_goal_actions_free(vipo_goal_actions *actions)
{
    vipo_array_free(&actions->actions);
    memset(actions, 0, sizeof *actions);
}

/* What a call does, once its request has been checked. */
typedef struct call {
    vipo_goal_policy *policy;
    const vipo_goal_request *request;
    const vipo_action_sampler *sampler; /* gcp */
    int steps, calls;
} call;

/* ---- checking --------------------------------------------------------------------------------------------- */

static vipo_status check_finite(const vipo_array *array, const char *what, vipo_error *error)
{
    for (size_t i = 0; i < vipo_array_size(array); i++)
        if (!isfinite(array->data[i]))
            return vipo_fail(error, VIPO_NUMERIC, "%s: element %zu is not a finite number", what, i);
    return VIPO_OK;
}

/* Is the array of this shape? The first `free_dims` dimensions may be left out where they are 1. */
static bool has_shape(const vipo_array *array, int rank, const size_t *shape, int free_dims)
{
    int skip = rank - array->rank;
    if (skip < 0 || skip > free_dims) return false;
    for (int i = 0; i < skip; i++)
        if (shape[i] != 1) return false;
    for (int i = skip; i < rank; i++)
        if (array->shape[i - skip] != shape[i]) return false;
    return true;
}

static vipo_status check_shape(const vipo_array *array, const char *what, int rank, const size_t *shape,
                               int free_dims, vipo_error *error)
{
    if (has_shape(array, rank, shape, free_dims)) return check_finite(array, what, error);
    char expected[128] = "", found[128] = "";
    for (int i = 0, used = 0; i < rank; i++)
        used += snprintf(expected + used, sizeof expected - (size_t)used, "[%zu]", shape[i]);
    for (int i = 0, used = 0; i < array->rank; i++)
        used += snprintf(found + used, sizeof found - (size_t)used, "[%zu]", array->shape[i]);
    return vipo_fail(error, VIPO_MISMATCH, "%s: shape %s, expected %s", what, found, expected);
}

static const vipo_array *picture_of(const vipo_goal_request *r, vipo_picture picture)
{
    return picture == VIPO_PICTURE_GOAL ? r->goal : r->obs;
}

static vipo_status check_inputs(const vipo_policy_config *c, const vipo_goal_request *r, vipo_error *error)
{
    const size_t samples = (size_t)r->samples;
    if (r->samples < 1 || r->samples > MOST_SAMPLES)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "samples: %d, expected 1..%d", r->samples,
                         (int)MOST_SAMPLES);
    for (int i = 0; i < c->n_pictures; i++) {
        const char *name = vipo_picture_name(c->pictures[i]);
        const vipo_array *picture = picture_of(r, c->pictures[i]);
        if (!picture)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: missing, the policy looks at this picture",
                             name);
        const size_t n = picture->rank == 3 || picture->shape[0] == 1 ? 1 : samples;
        const size_t shape[4] = {n, (size_t)c->encoder.height, (size_t)c->encoder.width, COLOURS};
        VIPO_TRY(check_shape(picture, name, 4, shape, 1, error));
    }
    if (c->vector_dim > 0 && !r->vector)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "vector: missing, the policy takes %d numbers",
                         c->vector_dim);
    if (c->vector_dim == 0 && r->vector)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "vector: the policy takes none");
    if (r->vector) {
        const size_t n = r->vector->rank == 1 || r->vector->shape[0] == 1 ? 1 : samples;
        VIPO_TRY(check_shape(r->vector, "vector", 2, (const size_t[]){n, (size_t)c->vector_dim}, 1, error));
    }
    return VIPO_OK;
}

/* Sampler and number of steps. */
static vipo_status choose_sampler(call *k, const vipo_policy_config *c, vipo_error *error)
{
    const vipo_goal_request *r = k->request;
    VIPO_TRY(vipo_action_sampler_find(&k->sampler, r->sampler ? r->sampler : c->sampler, error));
    const bool own = strcmp(k->sampler->name, c->sampler) == 0;
    const int usual = k->sampler->draws || c->timesteps < USUAL_STEPS ? c->timesteps : USUAL_STEPS;
    k->steps = r->steps ? r->steps : own && c->steps ? c->steps : usual;
    if (k->steps < 1 || k->steps > c->timesteps)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "steps: %d, the policy has 1..%d", k->steps,
                         c->timesteps);
    return VIPO_OK;
}

static vipo_status check_noise(const call *k, const vipo_policy_config *c, vipo_error *error)
{
    const vipo_goal_request *r = k->request;
    const size_t shape[4] = {(size_t)(k->steps > 1 ? k->steps - 1 : 0), (size_t)r->samples,
                             (size_t)c->horizon, (size_t)c->action_dim};
    if (r->noise) VIPO_TRY(check_shape(r->noise, "noise", 3, shape + 1, 1, error));
    if (r->step_noise && !k->sampler->draws)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "step noise: %s draws none", k->sampler->name);
    if (r->step_noise && r->step_noise->rank == 3 && r->samples == 1) { /* [steps - 1][horizon][action_dim] */
        const size_t without[3] = {shape[0], shape[2], shape[3]};
        return check_shape(r->step_noise, "step noise", 3, without, 0, error);
    }
    return r->step_noise ? check_shape(r->step_noise, "step noise", 4, shape, 0, error) : VIPO_OK;
}

static vipo_status check(call *k, vipo_error *error)
{
    const vipo_policy_config *c = &k->policy->networks->config;
    const vipo_goal_request *r = k->request;
    VIPO_TRY(check_inputs(c, r, error));
    if (c->kind == VIPO_POLICY_GCP) {
        VIPO_TRY(choose_sampler(k, c, error));
        return check_noise(k, c, error);
    }
    if (r->sampler || r->steps || r->noise || r->step_noise)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "%s: a policy of kind bc draws nothing and takes no steps",
                         r->sampler ? "sampler"
                         : r->steps ? "steps"
                                    : "noise");
    return VIPO_OK;
}

/* ---- the condition ---------------------------------------------------------------------------------------- */

static vipo_status encode(const call *k, int i, const vipo_array *picture, int n, float *features,
                          vipo_error *error)
{
    vipo_goal_policy *p = k->policy;
    const vipo_policy_config *c = &p->networks->config;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "enc.%s.", vipo_picture_name(c->pictures[i]));
    return vipo_image_encoder_forward(
        &p->networks->encoders[i],
        &(vipo_image_encoder_run){.compute = &p->compute,
                                  .memory = p->encoder,
                                  .samples = n,
                                  .pictures = picture->data,
                                  .features = features,
                                  .feature_stride = (size_t)c->encoder.feature_size,
                                  .dump = k->request->dump,
                                  .dump_user = k->request->dump_user,
                                  .dump_prefix = prefix},
        error);
}

/* Features of goals, as the call before had them if it had the same ones. */
static vipo_status encode_goal(const call *k, int i, const vipo_array *picture, int n, bool *reused,
                               vipo_error *error)
{
    vipo_goal_policy *p = k->policy;
    const size_t bytes = vipo_array_size(picture) * sizeof *picture->data;
    *reused = p->goals == n && !k->request->dump && memcmp(p->goal, picture->data, bytes) == 0;
    if (*reused) return VIPO_OK;
    p->goals = 0;
    VIPO_TRY(encode(k, i, picture, n, p->goal_features, error));
    memcpy(p->goal, picture->data, bytes);
    p->goals = n;
    return VIPO_OK;
}

static void place_vector(const call *k, size_t offset)
{
    const vipo_policy_config *c = &k->policy->networks->config;
    const vipo_array *vector = k->request->vector;
    const size_t width = (size_t)vipo_policy_condition(c), n = (size_t)c->vector_dim;
    for (size_t s = 0; s < (size_t)k->request->samples; s++) {
        const float *from = vector->data + (vipo_array_size(vector) == n ? 0 : s * n);
        float *to = k->policy->condition + s * width + offset;
        for (size_t i = 0; i < n; i++) {
            const float range = c->vector_max[i] - c->vector_min[i];
            to[i] = from[i] * (2 / range) - (c->vector_max[i] + c->vector_min[i]) / range;
        }
    }
}

static vipo_status make_condition(const call *k, bool *reused, vipo_error *error)
{
    vipo_goal_policy *p = k->policy;
    const vipo_policy_config *c = &p->networks->config;
    const size_t samples = (size_t)k->request->samples, width = (size_t)vipo_policy_condition(c);
    const size_t feature = (size_t)c->encoder.feature_size;
    for (int i = 0; i < c->n_pictures; i++) {
        VIPO_TRY(vipo_check_cancelled(&k->request->callbacks, error));
        const vipo_array *picture = picture_of(k->request, c->pictures[i]);
        const int n = picture->rank == 4 ? (int)picture->shape[0] : 1;
        const bool goal = c->pictures[i] == VIPO_PICTURE_GOAL;
        VIPO_TRY(goal ? encode_goal(k, i, picture, n, reused, error)
                      : encode(k, i, picture, n, p->features, error));
        const float *features = goal ? p->goal_features : p->features;
        for (size_t s = 0; s < samples; s++)
            memcpy(p->condition + s * width + (size_t)i * feature, features + (n == 1 ? 0 : s * feature),
                   feature * sizeof *features);
    }
    if (c->vector_dim > 0) place_vector(k, (size_t)c->n_pictures * feature);
    if (k->request->dump) {
        const vipo_array all = {.data = p->condition, .rank = 2, .shape = {samples, width}};
        k->request->dump(k->request->dump_user, "global_cond", &all);
    }
    return VIPO_OK;
}

/* ---- actions ---------------------------------------------------------------------------------------------- */

static vipo_status denoise(void *user, const float *x, int t, float *output, vipo_error *error)
{
    call *k = user;
    vipo_goal_policy *p = k->policy;
    const vipo_goal_request *r = k->request;
    int timesteps[MOST_SAMPLES];
    VIPO_TRY(vipo_check_cancelled(&r->callbacks, error));
    for (int s = 0; s < r->samples; s++) timesteps[s] = t;
    const bool first = k->calls++ == 0;
    return vipo_unet1d_forward(&p->networks->unet,
                               &(vipo_unet1d_run){.compute = &p->compute,
                                                  .memory = p->network,
                                                  .samples = r->samples,
                                                  .x = x,
                                                  .t = timesteps,
                                                  .condition = p->condition,
                                                  .out = output,
                                                  .dump = first ? r->dump : NULL,
                                                  .dump_user = r->dump_user,
                                                  .dump_prefix = "unet."},
                               error);
}

static size_t sequence_size(const call *k)
{
    const vipo_policy_config *c = &k->policy->networks->config;
    return (size_t)c->horizon * (size_t)c->action_dim;
}

/* Drawing number `index` (0: the start) of every sample. */
static void draw_normals(const call *k, size_t index, float *out)
{
    const vipo_goal_request *r = k->request;
    const size_t n = sequence_size(k);
    for (int s = 0; s < r->samples; s++) {
        const vipo_rng_stream stream = {
            .episode = r->episode, .plan = r->plan, .sample = (uint32_t)s, .purpose = NOISE_PURPOSE};
        vipo_rng_normal(r->seed, &stream, index * n, n, out + (size_t)s * n);
    }
}

static void draw(void *user, int i, float *noise)
{
    const call *k = user;
    const size_t n = sequence_size(k) * (size_t)k->request->samples;
    if (k->request->step_noise)
        memcpy(noise, k->request->step_noise->data + (size_t)i * n, n * sizeof *noise);
    else
        draw_normals(k, (size_t)i + 1, noise);
}

static vipo_status sample(call *k, vipo_error *error)
{
    vipo_goal_policy *p = k->policy;
    const size_t n = sequence_size(k) * (size_t)k->request->samples;
    if (k->request->noise)
        memcpy(p->x, k->request->noise->data, n * sizeof *p->x);
    else
        draw_normals(k, 0, p->x);
    const vipo_action_source source = {.user = k, .denoise = denoise, .draw = draw};
    return vipo_action_sample(k->sampler, &p->schedule, k->steps, &source, n, p->x, p->work, error);
}

/* [-1, 1] -> the range of each action. */
static vipo_status unnormalise(const call *k, vipo_array *actions, vipo_error *error)
{
    const vipo_policy_config *c = &k->policy->networks->config;
    const size_t dim = (size_t)c->action_dim, n = sequence_size(k) * (size_t)k->request->samples;
    for (size_t i = 0; i < n; i++) {
        const float x = k->policy->x[i], min = c->action_min[i % dim], max = c->action_max[i % dim];
        if (!isfinite(x))
            return vipo_fail(error, VIPO_NUMERIC,
                             "%s: the policy's networks give numbers that are not finite", k->policy->folder);
        actions->data[i] = (fminf(fmaxf(x, -1), 1) + 1) / 2 * (max - min) + min;
    }
    return VIPO_OK;
}

static vipo_status act(call *k, vipo_goal_actions *out, vipo_error *error)
{
    vipo_goal_policy *p = k->policy;
    const vipo_policy_config *c = &p->networks->config;
    const double begun = vipo_clock_seconds();
    VIPO_TRY(check(k, error));
    VIPO_TRY(vipo_goal_policy_reserve(p, k->request->samples, error));
    VIPO_TRY(make_condition(k, &out->goal_reused, error));
    out->encode_seconds = vipo_clock_seconds() - begun;
    if (c->kind == VIPO_POLICY_GCP) {
        VIPO_TRY(sample(k, error));
        snprintf(out->sampler, sizeof out->sampler, "%s-%d", k->sampler->name, k->steps);
    } else {
        VIPO_TRY(vipo_check_cancelled(&k->request->callbacks, error));
        vipo_action_head_forward(&p->networks->head, &p->compute, k->request->samples, p->condition,
                                 p->network, p->x);
        k->calls = 1;
    }
    const size_t shape[3] = {(size_t)k->request->samples, (size_t)c->horizon, (size_t)c->action_dim};
    VIPO_TRY(vipo_array_alloc(&out->actions, 3, shape, error));
    VIPO_TRY(unnormalise(k, &out->actions, error));
    out->calls = k->calls;
    out->seconds = vipo_clock_seconds() - begun;
    return VIPO_OK;
}

vipo_status vipo_goal_policy_act(vipo_goal_policy *policy, const vipo_goal_request *request,
                                 vipo_goal_actions *out, vipo_error *error)
{
    call k = {.policy = policy, .request = request};
    memset(out, 0, sizeof *out);
    const vipo_status status = act(&k, out, error);
    if (status != VIPO_OK) vipo_goal_actions_free(out);
    return status;
}
