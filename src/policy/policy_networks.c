#include "policy/policy_networks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 320 };

/* ---- networks -------------------------------------------------------------------------------------------- */

static vipo_status open_all(vipo_policy_networks *n, vipo_error *error)
{
    const vipo_policy_config *c = &n->config;
    for (int i = 0; i < c->n_pictures; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "obs_encoder.key_model_map.img_%s_1.",
                 vipo_picture_name(c->pictures[i]));
        VIPO_TRY(vipo_image_encoder_open(&n->encoders[i], &c->encoder, &n->store, prefix, error));
    }
    return c->kind == VIPO_POLICY_GCP ? vipo_unet1d_open(&n->unet, &c->unet, &n->store, "model.", error)
                                      : vipo_action_head_open(&n->head, c, &n->store, error);
}

vipo_status vipo_policy_networks_open(vipo_policy_networks *out, const vipo_policy_config *config,
                                      const vipo_packer *packer, const vipo_weight_source *source,
                                      size_t expected, const vipo_callbacks *callbacks, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->config = *config;
    out->store = (vipo_weight_store){
        .packer = *packer, .source = source, .callbacks = callbacks, .expected_parameters = expected};
    const vipo_status status = open_all(out, error);
    out->store.source = NULL;
    out->store.callbacks = NULL;
    out->store.packer.pool = NULL;
    if (status != VIPO_OK) vipo_policy_networks_close(out);
    return status;
}

void vipo_policy_networks_close(vipo_policy_networks *networks)
{
    for (int i = 0; i < VIPO_MAX_PICTURES; i++) vipo_image_encoder_close(&networks->encoders[i]);
    vipo_weight_store_free(&networks->store);
    memset(networks, 0, sizeof *networks);
}

/* ---- weights --------------------------------------------------------------------------------------------- */

/* Modules that are registered under two names; `first` is what networks ask for. */
static const struct {
    const char *first, *second;
} twice[] = {{".nets.0.", ".backbone."}, {".nets.1.", ".pool."}};
enum { TWICE = sizeof twice / sizeof twice[0] };

/* Constants and empty tensors of the reference that nothing reads. */
static const char *const constants[] = {".pos_x", ".pos_y", ".temperature", "_dummy_variable"};

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The name with `from` replaced by `to` where it first occurs behind the picture's key; false if it does not. */
static bool renamed(char out[NAME_ROOM], const char *name, const char *from, const char *to)
{
    const char *key = strstr(name, "key_model_map."), *at = key ? strstr(key, from) : NULL;
    /* the whole key is one part: "img_obs_1", so the module follows at once */
    if (!at || strchr(key + strlen("key_model_map."), '.') != at) return false;
    const int n = snprintf(out, NAME_ROOM, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from));
    return n > 0 && n < NAME_ROOM;
}

static void mark(vipo_policy_weights *w, const char *name)
{
    for (int i = 0; i < vipo_weight_file_count(w->file); i++)
        if (strcmp(vipo_weight_file_at(w->file, i)->name, name) == 0) w->used[i] = true;
}

static vipo_status read_tensor(void *user, const char *name, int rank, const size_t *shape, float *out,
                               vipo_error *error)
{
    vipo_policy_weights *w = user;
    char full[NAME_ROOM], other[NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", w->prefix, name);
    if (!vipo_weight_file_find(w->file, full)) {
        for (int i = 0; i < TWICE; i++)
            if (renamed(other, full, twice[i].first, twice[i].second) &&
                vipo_weight_file_find(w->file, other)) {
                mark(w, other);
                return vipo_weight_file_read(w->file, other, rank, shape, out, error);
            }
        if (ends_in(name, ".temperature")) {
            *out = 1;
            return VIPO_OK;
        }
    }
    mark(w, full);
    return vipo_weight_file_read(w->file, full, rank, shape, out, error);
}

vipo_status vipo_policy_weights_open(vipo_policy_weights *out, vipo_weight_file *file, const char *path,
                                     const char *prefix, vipo_error *error)
{
    const size_t n = (size_t)vipo_weight_file_count(file);
    *out = (vipo_policy_weights){.file = file, .path = path};
    snprintf(out->prefix, sizeof out->prefix, "%s", prefix);
    out->used = calloc(n + 1, sizeof *out->used);
    return out->used ? VIPO_OK : vipo_fail_memory(error, n, "a tensor list");
}

void vipo_policy_weights_close(vipo_policy_weights *weights)
{
    free(weights->used);
    memset(weights, 0, sizeof *weights);
}

vipo_weight_source vipo_policy_weights_source(vipo_policy_weights *weights)
{
    return (vipo_weight_source){.user = weights, .read = read_tensor};
}

/* May a tensor be there without being read? */
static bool may_be_left(const vipo_policy_weights *w, const char *name)
{
    char other[NAME_ROOM];
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (ends_in(name, constants[i])) return true;
    for (int i = 0; i < TWICE; i++)
        if (renamed(other, name, twice[i].second, twice[i].first) && vipo_weight_file_find(w->file, other))
            return true;
    return false;
}

vipo_status vipo_policy_weights_check(const vipo_policy_weights *w, vipo_error *error)
{
    const char *first = NULL;
    int left = 0;
    for (int i = 0; i < vipo_weight_file_count(w->file); i++) {
        const char *name = vipo_weight_file_at(w->file, i)->name;
        if (w->used[i] || strncmp(name, w->prefix, strlen(w->prefix)) != 0 || may_be_left(w, name)) continue;
        if (!first) first = name;
        left++;
    }
    if (!first) return VIPO_OK;
    return vipo_fail(
        error, VIPO_MISMATCH,
        "%s: %d tensors are not part of the policy that the configuration describes, the first is %s",
        w->path, left, first);
}
