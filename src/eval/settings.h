/* What an episode depends on besides its task, camera and seed: a JSON object, whose hash is the name that results are kept
 * under. Equal settings, equal hash, on any machine; whatever changes results must be among them, and nothing else (threads,
 * workers, places of files). */
#ifndef VIPO_EVAL_SETTINGS_H
#define VIPO_EVAL_SETTINGS_H

#include <jansson.h>

#include "core/status.h"

enum { VIPO_SETTINGS_HASH = 17, VIPO_SETTINGS_LABEL = 96 };

typedef struct vipo_settings {
    char hash[VIPO_SETTINGS_HASH];   /* 16 hexadecimal digits */
    char label[VIPO_SETTINGS_LABEL]; /* what a person calls them, "flow, ddim-100"; not part of the hash */
    char *json;                      /* keys sorted; owned */
} vipo_settings;

/* Takes over a reference to `object`, also on failure. NULL counts as out of memory. */
vipo_status vipo_settings_make(vipo_settings *out, json_t *object, const char *label, vipo_error *error);
void vipo_settings_free(vipo_settings *settings);
/* The hash of a text that vipo_settings_make wrote. */
void vipo_settings_hash(const char *json, char out[VIPO_SETTINGS_HASH]);

/* 16 hexadecimal digits for the content of a file; of a folder, for the names and contents of its config.json and
 * *.safetensors, in order of names: whatever else lies there may change. */
vipo_status vipo_fingerprint_file(const char *path, char out[VIPO_SETTINGS_HASH], vipo_error *error);
vipo_status vipo_fingerprint_folder(const char *path, char out[VIPO_SETTINGS_HASH], vipo_error *error);
/* Of a folder that was read after its fingerprint was taken: is it still the same? */
vipo_status vipo_fingerprint_check(const char *path, const char expected[VIPO_SETTINGS_HASH],
                                   vipo_error *error);

/* ---- random numbers of an episode ---- */

/* Counter-based keys (core/rng.h): of profile, task, camera and seed alone, not of policy and sampler. So samplers are compared
 * on the same noise, and any shard may run any episode. */
uint64_t vipo_episode_key(const char *profile, const char *task, const char *camera, uint64_t seed);
/* The seed of plan number `plan`'s noise, below 2^63; the key that its predictor gets. */
uint64_t vipo_plan_seed(uint64_t episode_key, int plan);
uint64_t vipo_plan_key(uint64_t episode_key, int plan);

#endif
