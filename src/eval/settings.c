#include "eval/settings.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/hash.h"
#include "core/mapped_file.h"
#include "core/rng.h"

/* ---- settings -------------------------------------------------------------------------------------------- */

static void print_hash(uint64_t hash, char out[VIPO_SETTINGS_HASH])
{
    snprintf(out, VIPO_SETTINGS_HASH, "%016" PRIx64, hash);
}

void vipo_settings_hash(const char *json, char out[VIPO_SETTINGS_HASH])
{
    print_hash(vipo_hash64_bytes(VIPO_HASH64_START, json, strlen(json)), out);
}

vipo_status vipo_settings_make(vipo_settings *out, json_t *object, const char *label, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->json = object ? json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(object);
    if (!out->json) return vipo_fail_memory(error, 4096, "the settings of an evaluation");
    vipo_settings_hash(out->json, out->hash);
    snprintf(out->label, sizeof out->label, "%s", label);
    return VIPO_OK;
}

void vipo_settings_free(vipo_settings *settings)
{
    free(settings->json);
    memset(settings, 0, sizeof *settings);
}

/* ---- content of files ------------------------------------------------------------------------------------ */

/* Eight bytes at a time: models have hundreds of megabytes. */
static uint64_t hash_content(const uint8_t *data, size_t size)
{
    uint64_t hash = VIPO_HASH64_START ^ size;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        hash = (hash ^ word) * UINT64_C(1099511628211);
        hash ^= hash >> 32;
    }
    return vipo_hash64_bytes(hash, data + i, size - i);
}

static vipo_status hash_file(const char *path, uint64_t *out, vipo_error *error)
{
    vipo_mapped_file file;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    *out = hash_content(file.data, file.size);
    vipo_mapped_file_close(&file);
    return VIPO_OK;
}

vipo_status vipo_fingerprint_file(const char *path, char out[VIPO_SETTINGS_HASH], vipo_error *error)
{
    uint64_t hash;
    VIPO_TRY(hash_file(path, &hash, error));
    print_hash(hash, out);
    return VIPO_OK;
}

/* What a policy or a flow network is made of; whatever else lies in its folder (a card, results, logs) may change. */
static int is_content(const struct dirent *entry)
{
    static const char end[] = ".safetensors";
    const size_t n = strlen(entry->d_name), length = sizeof end - 1;
    return strcmp(entry->d_name, "config.json") == 0 ||
           (entry->d_name[0] != '.' && n > length && strcmp(entry->d_name + n - length, end) == 0);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not by the locale, as alphasort */
}

static vipo_status hash_member(const char *folder, const char *name, uint64_t *hash, vipo_error *error)
{
    char path[4096];
    struct stat info;
    uint64_t content;
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: the path is too long", folder);
    if (stat(path, &info) != 0) return vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return VIPO_OK;
    VIPO_TRY(hash_file(path, &content, error));
    *hash = vipo_hash64_bytes(*hash, name, strlen(name) + 1);
    *hash = vipo_hash64_bytes(*hash, &content, sizeof content);
    return VIPO_OK;
}

vipo_status vipo_fingerprint_folder(const char *path, char out[VIPO_SETTINGS_HASH], vipo_error *error)
{
    struct dirent **entries;
    const int n = scandir(path, &entries, is_content, by_bytes);
    if (n < 0) return vipo_fail(error, VIPO_IO, "%s: %s", path, strerror(errno));
    uint64_t hash = VIPO_HASH64_START;
    vipo_status status = VIPO_OK;
    for (int i = 0; i < n; i++) {
        if (status == VIPO_OK) status = hash_member(path, entries[i]->d_name, &hash, error);
        free(entries[i]);
    }
    free(entries);
    if (status == VIPO_OK) print_hash(hash, out);
    return status;
}

vipo_status vipo_fingerprint_check(const char *path, const char expected[VIPO_SETTINGS_HASH],
                                   vipo_error *error)
{
    char now[VIPO_SETTINGS_HASH];
    VIPO_TRY(vipo_fingerprint_folder(path, now, error));
    if (strcmp(now, expected) == 0) return VIPO_OK;
    return vipo_fail(error, VIPO_MISMATCH, "%s: has changed since the evaluation began", path);
}

/* ---- random numbers -------------------------------------------------------------------------------------- */

enum { PURPOSE_EPISODE, PURPOSE_NOISE, PURPOSE_PREDICTOR };

static uint64_t draw(uint64_t key, uint32_t plan, uint32_t purpose)
{
    const vipo_rng_stream stream = {.plan = plan, .purpose = purpose};
    uint64_t bits;
    vipo_rng_bits(key, &stream, 0, 1, &bits);
    return bits;
}

uint64_t vipo_episode_key(const char *profile, const char *task, const char *camera, uint64_t seed)
{
    uint64_t hash = VIPO_HASH64_START;
    hash = vipo_hash64_bytes(hash, profile, strlen(profile) + 1);
    hash = vipo_hash64_bytes(hash, task, strlen(task) + 1);
    hash = vipo_hash64_bytes(hash, camera, strlen(camera) + 1);
    for (int i = 0; i < 8; i++) {
        const uint8_t byte = (uint8_t)(seed >> (8 * i));
        hash = vipo_hash64_bytes(hash, &byte, 1);
    }
    return draw(hash, 0, PURPOSE_EPISODE);
}

uint64_t vipo_plan_seed(uint64_t episode_key, int plan)
{
    return draw(episode_key, (uint32_t)plan, PURPOSE_NOISE) >> 1;
}

uint64_t vipo_plan_key(uint64_t episode_key, int plan)
{
    return draw(episode_key, (uint32_t)plan, PURPOSE_PREDICTOR);
}
