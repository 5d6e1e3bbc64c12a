/* The folder of a data set: its settings, its names, its lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file_output.h"
#include "core/json_util.h"
#include "sim/assets.h"
#include "sim/collect.h"

static const char settings_name[] = "collect.json";
static const char *const subfolders[] = {"episodes", "videos"};
enum { SUBFOLDERS = 2, MOST_EPISODES = 1000000, MOST_WORKERS = 256, MOST_NOISE = 2 };

/* ---- options ------------------------------------------------------------------------------------------------ */

static vipo_status check_number(const char *name, double value, double low, double high, vipo_error *error)
{
    if (value >= low && value <= high) return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s %g: expected %g to %g", name, value, low, high);
}

static vipo_status check_numbers(const vipo_sim_collect_options *o, vipo_error *error)
{
    VIPO_TRY(vipo_renderer_check_size(o->picture_height, o->picture_width, error));
    VIPO_TRY(vipo_renderer_check_size(o->height, o->width, error));
    if (o->height > o->picture_height || o->width > o->picture_width)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "frames of %dx%d: expected at most the size of the picture they are the middle of, "
                         "%dx%d",
                         o->width, o->height, o->picture_width, o->picture_height);
    if (!vipo_sim_profile_name((int)o->sim.profile))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "unknown profile %d, expected farama-v3 or avdc-v2",
                         (int)o->sim.profile);
    VIPO_TRY(check_number("episodes", o->episodes, 1, MOST_EPISODES, error));
    VIPO_TRY(check_number("stride", o->stride, 0, VIPO_SIM_MAX_STEPS, error));
    VIPO_TRY(check_number("most frames", o->max_frames, 2, VIPO_SIM_MAX_STEPS + 1, error));
    VIPO_TRY(check_number("workers", o->workers, 0, MOST_WORKERS, error));
    VIPO_TRY(check_number("action noise", o->action_noise, 0, MOST_NOISE, error));
    VIPO_TRY(check_number("steps of a draw of the noise", o->noise_hold, 1, VIPO_SIM_MAX_STEPS, error));
    if (o->lossless) return VIPO_OK;
    VIPO_TRY(check_number("crf", o->crf, 0, 51, error));
    return check_number("least PSNR", o->min_psnr, 0, 100, error);
}

/* Of all tasks, those are meant that can undo something. */
static vipo_status add_task(vipo_collection *c, int task, vipo_error *error)
{
    if (!c->options.undo || vipo_tasks[task].opposite)
        c->tasks[c->n_tasks++] = task;
    else if (c->options.tasks)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "%s undoes no other task, expected door-open or door-close", vipo_tasks[task].name);
    return VIPO_OK;
}

static vipo_status resolve_tasks(vipo_collection *c, vipo_error *error)
{
    const vipo_sim_collect_options *const o = &c->options;
    bool seen[VIPO_TASKS] = {false};
    const int n = o->tasks ? o->n_tasks : VIPO_TASKS;
    if (n < 1) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "no tasks to collect");
    for (int i = 0; i < n; i++) {
        const int task = o->tasks ? vipo_task_find(o->tasks[i]) : i;
        if (task < 0) { /* opening says which there are */
            vipo_sim *sim;
            return vipo_sim_open(&sim, o->tasks[i], &o->sim, error);
        }
        if (seen[task]) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "task %s is there twice", o->tasks[i]);
        seen[task] = true;
        VIPO_TRY(add_task(c, task, error));
    }
    return VIPO_OK;
}

static vipo_status resolve_cameras(vipo_collection *c, vipo_error *error)
{
    const vipo_sim_collect_options *const o = &c->options;
    const int n = o->cameras ? o->n_cameras : VIPO_COLLECT_CAMERAS;
    if (n < 1) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "no cameras to collect");
    for (int i = 0; i < n; i++) {
        const char *const wanted = o->cameras ? o->cameras[i] : vipo_sim_camera_name(i);
        const char *found = NULL;
        for (int k = 0; vipo_sim_camera_name(k); k++)
            if (strcmp(wanted, vipo_sim_camera_name(k)) == 0) found = vipo_sim_camera_name(k);
        if (!found)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                             "unknown camera '%.64s', expected corner, corner2 or corner3", wanted);
        for (int k = 0; k < c->n_cameras; k++)
            if (c->cameras[k] == found)
                return vipo_fail(error, VIPO_INVALID_ARGUMENT, "camera %s is there twice", found);
        c->cameras[c->n_cameras++] = found;
    }
    return VIPO_OK;
}

/* ---- settings ----------------------------------------------------------------------------------------------- */

/* Everything that the files depend on. */
static json_t *settings_json(const vipo_collection *c)
{
    const vipo_sim_collect_options *const o = &c->options;
    json_t *const tasks = json_array(), *const cameras = json_array();
    for (int i = 0; i < c->n_tasks; i++)
        json_array_append_new(tasks, json_string(vipo_sim_task_name(c->tasks[i])));
    for (int i = 0; i < c->n_cameras; i++) json_array_append_new(cameras, json_string(c->cameras[i]));
    json_t *const settings =
        json_pack("{s:i, s:s, s:s, s:o, s:o, s:i, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, "
                  "s:o, s:o}",
                  "format", VIPO_COLLECT_FORMAT, "mujoco", vipo_sim_mujoco_version(), "profile",
                  vipo_sim_profile_name((int)o->sim.profile), "tasks", tasks, "cameras", cameras, "episodes",
                  o->episodes, "seed", (json_int_t)o->seed, "picture_height", o->picture_height,
                  "picture_width", o->picture_width, "height", o->height, "width", o->width, "shadow_size",
                  o->sim.shadow_size, "multisamples", o->sim.multisamples, "stride", o->stride, "max_frames",
                  o->max_frames, "keep_failures", o->keep_failures, "lossless", o->lossless, "crf",
                  o->lossless ? json_null() : json_real(o->crf), "min_psnr",
                  o->lossless ? json_null() : json_real(o->min_psnr));
    if (settings && o->action_noise > 0) { /* folders without it are as those of versions that had none */
        json_object_set_new(settings, "action_noise", json_real(o->action_noise));
        json_object_set_new(settings, "noise_hold", json_integer(o->noise_hold));
    }
    if (settings && o->undo) json_object_set_new(settings, "undo", json_true());
    return settings;
}

/* NULL: unset. */
static vipo_status compare_setting(const char *path, const char *key, const json_t *before, const json_t *now,
                                   vipo_error *error)
{
    if (before && now && json_equal(before, now)) return VIPO_OK;
    char *const now_text = now ? json_dumps(now, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    char *const before_text = before ? json_dumps(before, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    vipo_fail(error, VIPO_MISMATCH,
              "%s: this folder was begun with %.60s %.120s, not %.120s: give the same options or another "
              "folder",
              path, key, before_text ? before_text : "unset", now_text ? now_text : "unset");
    free(now_text);
    free(before_text);
    return VIPO_MISMATCH;
}

static vipo_status compare_settings(const char *path, const json_t *found, const json_t *wanted,
                                    vipo_error *error)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wanted, key, value)
        VIPO_TRY(compare_setting(path, key, json_object_get(found, key), value, error));
    json_object_foreach((json_t *)(uintptr_t)found, key, value)
        VIPO_TRY(compare_setting(path, key, value, json_object_get(wanted, key), error));
    return VIPO_OK;
}

static vipo_status write_settings(const char *path, const json_t *settings, vipo_error *error)
{
    char *const text = json_dumps(settings, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    if (!text) return vipo_fail_memory(error, 1, path);
    const size_t n = strlen(text);
    text[n] = '\n'; /* in place of the 0 */
    const vipo_status status = vipo_file_write(path, text, n + 1, error);
    free(text);
    return status;
}

/* ---- names -------------------------------------------------------------------------------------------------- */

void vipo_collection_episode(const vipo_collection *collection, int task, uint64_t seed,
                             char out[VIPO_COLLECT_NAME])
{
    (void)collection;
    snprintf(out, VIPO_COLLECT_NAME, "episodes/%s_%05llu.safetensors", vipo_sim_task_name(task),
             (unsigned long long)seed);
}

void vipo_collection_video(const vipo_collection *collection, int task, uint64_t seed, int camera,
                           char out[VIPO_COLLECT_NAME])
{
    snprintf(out, VIPO_COLLECT_NAME, "videos/%s_%05llu_%s.mp4", vipo_sim_task_name(task),
             (unsigned long long)seed, collection->cameras[camera]);
}

vipo_status vipo_collection_path(const vipo_collection *collection, const char *name, char **out,
                                 vipo_error *error)
{
    const size_t size = strlen(collection->folder) + strlen(name) + 2;
    *out = malloc(size);
    if (!*out) return vipo_fail_memory(error, size, "a file name");
    snprintf(*out, size, "%s/%s", collection->folder, name);
    return VIPO_OK;
}

/* ---- the folder --------------------------------------------------------------------------------------------- */

/* The folder and those above it. */
static vipo_status make_folders(const char *path, vipo_error *error)
{
    char *const part = strdup(path);
    if (!part) return vipo_fail_memory(error, strlen(path), "a file name");
    vipo_status status = VIPO_OK;
    for (char *at = part + 1; status == VIPO_OK; at++) {
        const char kept = *at;
        if (kept && kept != '/') continue;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            status = vipo_fail(error, VIPO_IO, "%s: cannot make the folder: %s", part, strerror(errno));
        *at = kept;
        if (!kept) break;
    }
    free(part);
    return status;
}

/* *others is how many entries are no temporary files of ours, which a killed process may have left; `clean` removes those. */
static vipo_status look_into(const char *path, bool clean, int *others, vipo_error *error)
{
    DIR *const folder = opendir(path);
    *others = 0;
    if (!folder) return vipo_fail(error, VIPO_IO, "%s: cannot read the folder: %s", path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!vipo_is_temporary_name(entry->d_name))
            (*others)++;
        else if (clean)
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
    return VIPO_OK;
}

/* Locks before looking, so that nobody else's temporary files are taken for left-overs. */
static vipo_status lock_folder(vipo_collection *c, vipo_error *error)
{
    c->lock = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0) return vipo_fail(error, VIPO_IO, "%s: %s", c->folder, strerror(errno));
    if (flock(c->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return VIPO_OK;
    return vipo_fail(error, VIPO_IO, "%s: another process is collecting into this folder", c->folder);
}

/* A folder that was begun before has the same settings; any other one is empty. */
static vipo_status settle(vipo_collection *c, const char *path, const json_t *settings, vipo_error *error)
{
    int others;
    if (access(path, F_OK) == 0) {
        json_t *found;
        VIPO_TRY(vipo_json_load(&found, path, error));
        const vipo_status status = compare_settings(path, found, settings, error);
        json_decref(found);
        VIPO_TRY(status);
        return look_into(c->folder, true, &others, error);
    }
    VIPO_TRY(look_into(c->folder, false, &others, error));
    if (others)
        return vipo_fail(error, VIPO_IO, "%s: the folder holds other files, expected a new or empty one",
                         c->folder);
    VIPO_TRY(look_into(c->folder, true, &others, error));
    return write_settings(path, settings, error);
}

static vipo_status prepare(vipo_collection *c, vipo_error *error)
{
    char *path;
    VIPO_TRY(make_folders(c->folder, error));
    VIPO_TRY(lock_folder(c, error));
    VIPO_TRY(vipo_collection_path(c, settings_name, &path, error));
    json_t *const settings = settings_json(c);
    vipo_status status =
        settings ? settle(c, path, settings, error) : vipo_fail_memory(error, sizeof *c, "settings");
    json_decref(settings);
    free(path);
    for (int i = 0; i < SUBFOLDERS && status == VIPO_OK; i++) {
        int others;
        VIPO_TRY(vipo_collection_path(c, subfolders[i], &path, error));
        status = make_folders(path, error);
        if (status == VIPO_OK) status = look_into(path, true, &others, error);
        free(path);
    }
    return status;
}

/* What every worker needs, before a folder is made. */
static vipo_status check_installation(const vipo_collection *c, vipo_error *error)
{
    const vipo_sim_options *const o = &c->options.sim;
    for (int i = 0; i < c->n_tasks; i++) {
        char *path;
        VIPO_TRY(vipo_assets_find(&path, o->assets, vipo_tasks[c->tasks[i]].model, error));
        free(path);
    }
    return vipo_sim_gl_probe(o->gl, NULL, 0, error);
}

vipo_status vipo_collection_open(vipo_collection *out, const char *folder,
                                 const vipo_sim_collect_options *options, vipo_error *error)
{
    *out = (vipo_collection){.folder = folder, .options = *options, .lock = -1};
    if (!*folder) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "the name of the folder is empty");
    VIPO_TRY(check_numbers(options, error));
    VIPO_TRY(resolve_tasks(out, error));
    VIPO_TRY(resolve_cameras(out, error));
    VIPO_TRY(check_installation(out, error));
    const vipo_status status = prepare(out, error);
    if (status != VIPO_OK) vipo_collection_close(out);
    return status;
}

void vipo_collection_close(vipo_collection *collection)
{
    if (collection->lock >= 0) close(collection->lock);
    collection->lock = -1;
}
