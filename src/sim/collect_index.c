/* Complete episodes, and the index of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file_output.h"
#include "sim/collect.h"
#include "weights/safetensors.h"

/* ---- reading an episode back -------------------------------------------------------------------------------- */

/* A list of numbers in the file, at most `capacity` of them. */
static bool read_list(const vipo_safetensors *file, const char *name, double *out, size_t capacity, size_t *n)
{
    const vipo_tensor_view *const view = vipo_safetensors_find(file, name);
    if (!view || view->rank != 1 || view->count < 1 || view->count > capacity) return false;
    *n = view->count;
    return vipo_tensor_to_double(view, name, out, NULL) == VIPO_OK;
}

static bool read_tensors(const vipo_safetensors *file, const vipo_collection *collection,
                         vipo_kept_episode *out)
{
    double values[VIPO_SIM_MAX_STEPS + 1];
    size_t n;
    if (!read_list(file, "step/success", values, VIPO_SIM_MAX_STEPS, &n)) return false;
    out->steps = (int)n;
    for (size_t i = n; i-- > 0;)
        if (values[i] > 0.5) out->first_success = (int)i + 1;
    if (!read_list(file, "video/step", values, VIPO_SIM_MAX_STEPS + 1, &n)) return false;
    out->n_frames = (int)n;
    for (size_t i = 0; i < n; i++) out->frames[i] = (int)values[i];
    const size_t cameras = (size_t)collection->n_cameras;
    for (size_t i = 0; i < VIPO_COLLECT_CAMERAS; i++) out->drawn[i] = -1;
    if (vipo_safetensors_find(file, "video/drawn") &&
        !(read_list(file, "video/drawn", out->drawn, VIPO_COLLECT_CAMERAS, &n) && n == cameras))
        return false;
    return read_list(file, "video/psnr", out->psnr, VIPO_COLLECT_CAMERAS, &n) && n == cameras;
}

/* Bytes of a file, 0 if there is none. */
static size_t file_size(const vipo_collection *collection, const char *name)
{
    char *path;
    struct stat info;
    if (vipo_collection_path(collection, name, &path, NULL) != VIPO_OK) return 0;
    const bool there = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    return there ? (size_t)info.st_size : 0;
}

bool vipo_kept_episode_read(const vipo_collection *collection, int task, uint64_t seed,
                            vipo_kept_episode *out)
{
    char name[VIPO_COLLECT_NAME];
    char *path;
    vipo_safetensors *file;
    memset(out, 0, sizeof *out);
    out->task = task;
    out->seed = seed;
    vipo_collection_episode(collection, task, seed, name);
    if (file_size(collection, name) == 0) return false;
    if (vipo_collection_path(collection, name, &path, NULL) != VIPO_OK) return false;
    bool complete = vipo_safetensors_open(&file, path, NULL) == VIPO_OK;
    free(path);
    if (!complete) return false;
    complete = read_tensors(file, collection, out);
    vipo_safetensors_close(&file);
    for (int camera = 0; camera < collection->n_cameras && complete; camera++) {
        vipo_collection_video(collection, task, seed, camera, name);
        const size_t size = file_size(collection, name);
        out->video_bytes += size;
        complete = size > 0;
    }
    return complete;
}

/* ---- writing the index -------------------------------------------------------------------------------------- */

static json_t *phrases_json(const char *(*phrase)(int task, int i), int task)
{
    json_t *const list = json_array();
    for (int i = 0; phrase(task, i); i++) json_array_append_new(list, json_string(phrase(task, i)));
    return list;
}

static json_t *psnr_json(double psnr)
{
    return psnr > 0 ? json_real(round(psnr * 1000) / 1000) : json_null();
}

static json_t *drawn_json(double drawn)
{
    return drawn >= 0 ? json_sprintf("%08x", (unsigned)drawn) : json_null();
}

static json_t *clip_json(const vipo_collection *c, const vipo_kept_episode *episode, int camera)
{
    char video[VIPO_COLLECT_NAME], file[VIPO_COLLECT_NAME];
    json_t *const steps = json_array();
    for (int i = 0; i < episode->n_frames; i++)
        json_array_append_new(steps, json_integer(episode->frames[i]));
    vipo_collection_video(c, episode->task, episode->seed, camera, video);
    vipo_collection_episode(c, episode->task, episode->seed, file);
    json_t *const clip =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:s, s:s, s:i, s:i, s:i, s:o, s:f, s:i, s:o, s:o, s:o, s:s, "
                  "s:s, s:o, s:o}",
                  "format", VIPO_COLLECT_FORMAT, "task", vipo_sim_task_name(episode->task), "camera",
                  c->cameras[camera], "profile", vipo_sim_profile_name((int)c->options.sim.profile), "seed",
                  (json_int_t)episode->seed, "video", video, "episode", file, "height", c->options.height,
                  "width", c->options.width, "frames", episode->n_frames, "steps", steps, "step_seconds",
                  1 / VIPO_COLLECT_CLOCK, "episode_steps", episode->steps, "first_success",
                  episode->first_success ? json_integer(episode->first_success) : json_null(), "psnr",
                  psnr_json(episode->psnr[camera]), "drawn", drawn_json(episode->drawn[camera]), "mujoco",
                  vipo_sim_mujoco_version(), "text", vipo_sim_task_text(episode->task), "texts",
                  phrases_json(vipo_sim_task_phrase, episode->task), "held_out_texts",
                  phrases_json(vipo_sim_task_held_out_phrase, episode->task));
    if (clip && c->options.action_noise > 0)
        json_object_set_new(clip, "action_noise", json_real(c->options.action_noise));
    if (clip && c->options.undo) json_object_set_new(clip, "undo", json_true());
    return clip;
}

/* False: no memory for it. What cannot be written is found when the file is committed. */
static bool write_line(FILE *stream, json_t *value)
{
    char *const text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    const bool made = text != NULL;
    if (text) fprintf(stream, "%s\n", text);
    free(text);
    json_decref(value);
    return made;
}

static bool write_clips(FILE *stream, const vipo_collection *c, const vipo_kept_episode *episode,
                        vipo_sim_collect_result *result)
{
    bool made = true;
    result->episodes++;
    result->video_bytes += episode->video_bytes;
    for (int camera = 0; camera < c->n_cameras; camera++) {
        const double psnr = episode->psnr[camera];
        result->clips++;
        result->frames += (size_t)episode->n_frames;
        if (psnr > 0 && (result->worst_psnr <= 0 || psnr < result->worst_psnr)) result->worst_psnr = psnr;
        made = write_line(stream, clip_json(c, episode, camera)) && made;
    }
    return made;
}

/* Opens a file of the folder for writing. */
static vipo_status open_output(const vipo_collection *c, const char *name, vipo_file_output *out,
                               vipo_error *error)
{
    char *path;
    VIPO_TRY(vipo_collection_path(c, name, &path, error));
    const vipo_status status = vipo_file_output_open(out, path, error);
    free(path);
    return status;
}

vipo_status vipo_collection_write_index(const vipo_collection *collection, const vipo_seed *kept, int n_kept,
                                        const vipo_seed *skipped, int n_skipped,
                                        vipo_sim_collect_result *result, vipo_error *error)
{
    vipo_file_output output;
    vipo_kept_episode episode;
    bool made = true;
    int lost = 0;
    VIPO_TRY(open_output(collection, "index.jsonl", &output, error));
    for (int i = 0; i < n_kept; i++)
        if (vipo_kept_episode_read(collection, kept[i].task, kept[i].seed, &episode))
            made = write_clips(output.stream, collection, &episode, result) && made;
        else
            lost++;
    VIPO_TRY(vipo_file_output_commit(&output, error));
    VIPO_TRY(open_output(collection, "skipped.jsonl", &output, error));
    result->skipped = n_skipped;
    for (int i = 0; i < n_skipped; i++)
        made = write_line(output.stream,
                          json_pack("{s:s, s:I, s:s}", "task", vipo_sim_task_name(skipped[i].task), "seed",
                                    (json_int_t)skipped[i].seed, "why", "the expert did not succeed")) &&
               made;
    VIPO_TRY(vipo_file_output_commit(&output, error));
    if (!made) return vipo_fail_memory(error, 1 << 12, "a line of the index");
    if (lost)
        return vipo_fail(error, VIPO_IO,
                         "%s: %d complete episodes could not be read again for the index: repeat the command",
                         collection->folder, lost);
    return VIPO_OK;
}
