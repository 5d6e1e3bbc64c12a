/* One episode of a data set: run, recorded, drawn, written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file_output.h"
#include "core/hash.h"
#include "core/rng.h"
#include "media/video_decoder.h"
#include "media/video_encoder.h"
#include "sim/collect.h"
#include "sim/vector.h"
#include "weights/safetensors_writer.h"

enum { MAX_PARTS = 16, MAX_ENTRIES = MAX_PARTS + 10, NAME = 96, MOCAP = 7 };
enum { TURNING_POINT = 4094, ACTION_NOISE = 4095 }; /* purposes of random numbers */

/* Share of its way that the opposite task gets. */
static const double least_share = 0.15, most_share = 0.9;

/* A part of the initial state. */
typedef struct initial_part {
    char name[NAME];
    int rank;
    size_t shape[VIPO_MAX_RANK];
    double *values;
} initial_part;

struct vipo_take {
    const vipo_collection *collection;
    const vipo_take_watch *watch;
    vipo_sim *sim, *opposite; /* opposite: NULL if nothing is to be undone */
    uint64_t seed;
    vipo_sim_episode episode;
    initial_part parts[MAX_PARTS];
    int n_parts;
    size_t nq, nv;
    /* states[0] and the state after each step, for pictures: qpos, mocap_pos, mocap_quat */
    double *states;
    /* per step */
    double *action, *expert, *observation, *reward, *success, *qpos, *qvel;
    double *memory; /* owns them */
    int n_frames, stride, frames[VIPO_SIM_MAX_STEPS + 1];
    double psnr[VIPO_COLLECT_CAMERAS], drawn[VIPO_COLLECT_CAMERAS];
    bool out_of_memory, stopped;
};

/* ---- running ------------------------------------------------------------------------------------------------ */

static vipo_status allocate(vipo_take *take, vipo_error *error)
{
    const mjModel *const model = take->sim->scene->model;
    take->nq = (size_t)model->nq;
    take->nv = (size_t)model->nv;
    const struct {
        double **values;
        size_t size; /* per step */
    } arrays[] = {
        {&take->states, take->nq + MOCAP},
        {&take->action, VIPO_SIM_ACTION},
        {&take->expert, VIPO_SIM_ACTION},
        {&take->observation, VIPO_SIM_OBSERVATION},
        {&take->reward, 1},
        {&take->success, 1},
        {&take->qpos, take->nq},
        {&take->qvel, take->nv},
    };
    enum { ARRAYS = sizeof arrays / sizeof *arrays, ROWS = VIPO_SIM_MAX_STEPS + 1 };
    size_t row = 0;
    for (int i = 0; i < ARRAYS; i++) row += arrays[i].size;
    take->memory = malloc(ROWS * row * sizeof *take->memory);
    if (!take->memory) return vipo_fail_memory(error, ROWS * row * sizeof *take->memory, "an episode");
    double *next = take->memory;
    for (int i = 0; i < ARRAYS; i++) {
        *arrays[i].values = next;
        next += ROWS * arrays[i].size;
    }
    return VIPO_OK;
}

static void keep_part(void *user, const char *name, int rank, const size_t *shape, const double *values)
{
    vipo_take *const take = user;
    initial_part *const part = &take->parts[take->n_parts];
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    if (take->n_parts == MAX_PARTS || !(part->values = malloc(n * sizeof *values))) {
        take->out_of_memory = true;
        return;
    }
    snprintf(part->name, sizeof part->name, "init/%s", name);
    part->rank = rank;
    memcpy(part->shape, shape, (size_t)rank * sizeof *shape);
    memcpy(part->values, values, n * sizeof *values);
    take->n_parts++;
}

static void release(vipo_take *take)
{
    for (int i = 0; i < take->n_parts; i++) free(take->parts[i].values);
    free(take->memory);
}

static void keep_state(vipo_take *take, int n)
{
    const mjData *const data = take->sim->scene->data;
    double *const to = take->states + (size_t)n * (take->nq + MOCAP);
    memcpy(to, data->qpos, take->nq * sizeof *to);
    memcpy(to + take->nq, data->mocap_pos, 3 * sizeof *to);
    memcpy(to + take->nq + 3, data->mocap_quat, 4 * sizeof *to);
}

static bool before_step(void *user, vipo_sim *sim, int step)
{
    vipo_take *const take = user;
    (void)sim, (void)step;
    take->stopped = take->watch->stop(take->watch->user, 0);
    return !take->stopped;
}

/* Exploration: the expert's action within what the arm obeys, plus noise that is a function of seed, task and step alone. */
static void disturb(void *user, int step, double action[VIPO_SIM_ACTION])
{
    vipo_take *const take = user;
    const vipo_sim_collect_options *const options = &take->collection->options;
    const vipo_rng_stream stream = {.episode = (uint32_t)vipo_task_find(take->sim->task->name),
                                    .purpose = ACTION_NOISE};
    const uint64_t draw = (uint64_t)(step / options->noise_hold);
    float noise[VIPO_SIM_ACTION];
    memcpy(take->expert + (size_t)step * VIPO_SIM_ACTION, action, VIPO_SIM_ACTION * sizeof *action);
    vipo_rng_normal(take->seed, &stream, draw * VIPO_SIM_ACTION, VIPO_SIM_ACTION, noise);
    for (int i = 0; i < VIPO_SIM_ACTION; i++) {
        const double wanted = vipo_clip(action[i], -1, 1) + options->action_noise * (double)noise[i];
        action[i] = vipo_clip(wanted, -1, 1);
    }
}

static void after_step(void *user, const vipo_sim *sim, int step, const double action[VIPO_SIM_ACTION],
                       const vipo_sim_step_result *result)
{
    vipo_take *const take = user;
    const size_t t = (size_t)step;
    memcpy(take->action + t * VIPO_SIM_ACTION, action, VIPO_SIM_ACTION * sizeof *action);
    memcpy(take->observation + t * VIPO_SIM_OBSERVATION, result->observation, sizeof result->observation);
    take->reward[t] = result->reward;
    take->success[t] = result->success;
    memcpy(take->qpos + t * take->nq, sim->scene->data->qpos, take->nq * sizeof(double));
    memcpy(take->qvel + t * take->nv, sim->scene->data->qvel, take->nv * sizeof(double));
    keep_state(take, step + 1);
}

/* A share of the way that is a function of seed and task alone. */
static double turning_point(const vipo_take *take)
{
    const vipo_rng_stream stream = {.episode = (uint32_t)vipo_task_find(take->sim->task->name),
                                    .purpose = TURNING_POINT};
    uint64_t bits;
    vipo_rng_bits(take->seed, &stream, 0, 1, &bits);
    return least_share + (most_share - least_share) * ldexp((double)(bits >> 11), -53);
}

/* An episode of the opposite task until its object is that far on its way; from there on the scene is this task's.
 * *reached: whether it came so far. */
static vipo_status begin_amid(vipo_take *take, double observation[VIPO_SIM_OBSERVATION], bool *reached,
                              vipo_error *error)
{
    vipo_sim *const other = take->opposite;
    vipo_sim_step_result step;
    double start[3], action[VIPO_SIM_ACTION];
    *reached = false;
    VIPO_TRY(vipo_sim_reset(other, take->seed, step.observation, error));
    const double *const object = step.observation + 4;
    memcpy(start, object, sizeof start);
    const double way = turning_point(take) * vipo_distance(start, other->target);
    while (vipo_distance(start, object) < way) {
        if (other->steps == VIPO_SIM_MAX_STEPS) return VIPO_OK;
        if (take->watch->stop(take->watch->user, 0)) return vipo_fail(error, VIPO_CANCELLED, "cancelled");
        VIPO_TRY(vipo_sim_expert(other, step.observation, action, error));
        VIPO_TRY(vipo_sim_step(other, action, &step, error));
    }
    *reached = true;
    return vipo_sim_turn_round(take->sim, other, observation, error);
}

static vipo_status run(vipo_take *take, vipo_error *error)
{
    double observation[VIPO_SIM_OBSERVATION];
    bool reached = true;
    VIPO_TRY(allocate(take, error));
    if (take->opposite)
        VIPO_TRY(begin_amid(take, observation, &reached, error));
    else
        VIPO_TRY(vipo_sim_reset(take->sim, take->seed, observation, error));
    if (!reached) return VIPO_OK;
    VIPO_TRY(vipo_sim_get_state(take->sim, keep_part, take, error));
    if (take->out_of_memory) return vipo_fail_memory(error, sizeof *take, "an initial state");
    keep_state(take, 0);
    const vipo_expert_hooks hooks = {.user = take,
                                     .before_step = before_step,
                                     .on_action = take->collection->options.action_noise > 0 ? disturb : NULL,
                                     .after_step = after_step};
    VIPO_TRY(vipo_sim_play_expert(take->sim, observation, &hooks, &take->episode, error));
    return take->stopped ? vipo_fail(error, VIPO_CANCELLED, "cancelled") : VIPO_OK;
}

/* ---- pictures ----------------------------------------------------------------------------------------------- */

int vipo_take_frames(const vipo_sim_collect_options *options, int steps, int *frames, int *stride)
{
    *stride = options->stride;
    if (!*stride) *stride = (steps + options->max_frames - 2) / (options->max_frames - 1);
    if (*stride < 1) *stride = 1;
    int n = 0;
    if (steps % *stride) frames[n++] = 0;
    for (int step = steps % *stride; step <= steps; step += *stride) frames[n++] = step;
    return n;
}

static void show(vipo_take *take, int step)
{
    mjData *const data = take->sim->scene->data;
    const double *const from = take->states + (size_t)step * (take->nq + MOCAP);
    memcpy(data->qpos, from, take->nq * sizeof *from);
    memcpy(data->mocap_pos, from + take->nq, 3 * sizeof *from);
    memcpy(data->mocap_quat, from + take->nq + 3, 4 * sizeof *from);
    take->sim->steps = step;
}

/* All frames of a camera: [frames][height][width][3]. */
static vipo_status draw(vipo_take *take, int camera, uint8_t *rgb, vipo_error *error)
{
    const vipo_sim_collect_options *const options = &take->collection->options;
    const size_t picture = (size_t)options->height * (size_t)options->width * 3;
    const int pictures = take->n_frames * take->collection->n_cameras;
    for (int i = 0; i < take->n_frames; i++) {
        const double done = (double)(camera * take->n_frames + i) / pictures;
        if (take->watch->stop(take->watch->user, done)) return vipo_fail(error, VIPO_CANCELLED, "cancelled");
        show(take, take->frames[i]);
        VIPO_TRY(vipo_sim_render_middle(take->sim, take->collection->cameras[camera], options->picture_height,
                                        options->picture_width, options->height, options->width,
                                        rgb + (size_t)i * picture, error));
    }
    return VIPO_OK;
}

/* 10 log10(255^2 / mean squared difference), dB. */
static double peak_to_noise(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (uint64_t)((a[i] - b[i]) * (a[i] - b[i]));
    return sum ? 10 * log10(255.0 * 255.0 * (double)n / (double)sum) : HUGE_VAL;
}

static vipo_status encode(const vipo_take *take, const vipo_video_settings *settings, const uint8_t *rgb,
                          vipo_video_encoder *encoder, const uint8_t **bytes, size_t *size, vipo_error *error)
{
    const size_t picture = (size_t)settings->height * (size_t)settings->width * 3;
    for (int i = 0; i < take->n_frames; i++)
        VIPO_TRY(vipo_video_encoder_add(encoder, rgb + (size_t)i * picture, take->frames[i], error));
    return vipo_video_encoder_finish(encoder, bytes, size, error);
}

/* Encodes with settings->crf and looks at the result as its readers will; writes it if it is good enough. */
static vipo_status try_quality(const vipo_take *take, const char *path, const vipo_video_settings *settings,
                               const uint8_t *rgb, double *psnr, vipo_error *error)
{
    const vipo_sim_collect_options *const options = &take->collection->options;
    const size_t n = (size_t)take->n_frames * (size_t)settings->height * (size_t)settings->width * 3;
    vipo_video_encoder *encoder;
    vipo_video video = {0};
    const uint8_t *bytes;
    size_t size;
    VIPO_TRY(vipo_video_encoder_open(&encoder, path, settings, error));
    vipo_status status;
    VIPO_TRY_GOTO(encode(take, settings, rgb, encoder, &bytes, &size, error), done);
    VIPO_TRY_GOTO(vipo_video_decode(&video, bytes, size, path, error), done);
    if (video.frames != (size_t)take->n_frames || video.height != settings->height ||
        video.width != settings->width) {
        status = vipo_fail(error, VIPO_INTERNAL, "%s: %zu pictures of %dx%d came back for %d of %dx%d", path,
                           video.frames, video.width, video.height, take->n_frames, settings->width,
                           settings->height);
        goto done;
    }
    *psnr = peak_to_noise(rgb, video.rgb, n);
    if (options->lossless && *psnr < HUGE_VAL)
        status = vipo_fail(error, VIPO_INTERNAL, "%s: other pixels came back (%.1f dB)", path, *psnr);
    else if (*psnr > options->min_psnr || settings->crf <= 0)
        status = vipo_file_write(path, bytes, size, error);
done:
    vipo_video_free(&video);
    vipo_video_encoder_close(&encoder);
    return status;
}

static vipo_status write_video(vipo_take *take, int camera, const uint8_t *rgb, vipo_error *error)
{
    const vipo_sim_collect_options *const options = &take->collection->options;
    vipo_video_settings settings = {.height = options->height,
                                    .width = options->width,
                                    .clock = VIPO_COLLECT_CLOCK,
                                    .spacing = take->stride,
                                    .colour = options->lossless ? VIPO_VIDEO_RGB : VIPO_VIDEO_444,
                                    .crf = options->lossless ? 0 : options->crf,
                                    .preset = "slow",
                                    .tune = options->lossless ? NULL : "psnr"};
    char name[VIPO_COLLECT_NAME];
    char *path;
    vipo_collection_video(take->collection, vipo_task_find(take->sim->task->name), take->seed, camera, name);
    VIPO_TRY(vipo_collection_path(take->collection, name, &path, error));
    vipo_status status;
    for (bool last = false; !last; settings.crf = fmax(settings.crf - 1, 0)) {
        double psnr = 0;
        VIPO_TRY_GOTO(try_quality(take, path, &settings, rgb, &psnr, error), done);
        last = psnr > options->min_psnr || settings.crf <= 0;
        take->psnr[camera] = psnr < HUGE_VAL ? psnr : 0;
    }
done:
    free(path);
    return status;
}

static vipo_status write_videos(vipo_take *take, vipo_error *error)
{
    const vipo_sim_collect_options *const options = &take->collection->options;
    const size_t size = (size_t)take->n_frames * (size_t)options->height * (size_t)options->width * 3;
    uint8_t *const rgb = malloc(size);
    if (!rgb) return vipo_fail_memory(error, size, "the frames of an episode");
    vipo_status status = VIPO_OK;
    for (int camera = 0; camera < take->collection->n_cameras && status == VIPO_OK; camera++) {
        status = draw(take, camera, rgb, error);
        take->drawn[camera] = vipo_hash_bytes(VIPO_HASH_START, rgb, size);
        if (status == VIPO_OK) status = write_video(take, camera, rgb, error);
    }
    free(rgb);
    return status;
}

/* ---- the episode's file ------------------------------------------------------------------------------------- */

/* Tensors of the file, in order. */
typedef struct tensor_list {
    vipo_tensor_entry entries[MAX_ENTRIES];
    const double *values[MAX_ENTRIES];
    int n;
} tensor_list;

/* columns 0: a number per row. */
static void add(tensor_list *list, const char *name, size_t rows, size_t columns, const double *values)
{
    list->entries[list->n] =
        (vipo_tensor_entry){.name = name, .rank = columns ? 2 : 1, .shape = {rows, columns}};
    list->values[list->n++] = values;
}

static vipo_status write_episode(const vipo_take *take, vipo_error *error)
{
    tensor_list list = {.n = 0};
    double frames[VIPO_SIM_MAX_STEPS + 1];
    const size_t n = (size_t)take->episode.steps;
    for (int i = 0; i < take->n_frames; i++) frames[i] = take->frames[i];
    for (int i = 0; i < take->n_parts; i++) {
        const initial_part *const part = &take->parts[i];
        add(&list, part->name, part->shape[0], part->rank > 1 ? part->shape[1] : 0, part->values);
    }
    add(&list, "step/action", n, VIPO_SIM_ACTION, take->action);
    if (take->collection->options.action_noise > 0)
        add(&list, "step/expert", n, VIPO_SIM_ACTION, take->expert);
    add(&list, "step/obs", n, VIPO_SIM_OBSERVATION, take->observation);
    add(&list, "step/qpos", n, take->nq, take->qpos);
    add(&list, "step/qvel", n, take->nv, take->qvel);
    add(&list, "step/reward", n, 0, take->reward);
    add(&list, "step/success", n, 0, take->success);
    add(&list, "video/step", (size_t)take->n_frames, 0, frames);
    add(&list, "video/psnr", (size_t)take->collection->n_cameras, 0, take->psnr);
    add(&list, "video/drawn", (size_t)take->collection->n_cameras, 0, take->drawn);

    char name[VIPO_COLLECT_NAME];
    char *path;
    vipo_collection_episode(take->collection, vipo_task_find(take->sim->task->name), take->seed, name);
    VIPO_TRY(vipo_collection_path(take->collection, name, &path, error));
    vipo_safetensors_writer writer = {0};
    vipo_status status =
        vipo_safetensors_writer_open(&writer, path, VIPO_DTYPE_F64, list.entries, list.n, error);
    for (int i = 0; i < list.n && status == VIPO_OK; i++)
        status = vipo_safetensors_writer_add_double(&writer, list.values[i], error);
    if (status == VIPO_OK) status = vipo_safetensors_writer_commit(&writer, error);
    vipo_safetensors_writer_abandon(&writer);
    free(path);
    return status;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static vipo_status make(vipo_take *take, bool *kept, vipo_error *error)
{
    VIPO_TRY(run(take, error));
    if (!take->episode.steps) return VIPO_OK; /* there was no scene to begin in */
    if (!take->episode.first_success && !take->collection->options.keep_failures) return VIPO_OK;
    take->n_frames =
        vipo_take_frames(&take->collection->options, take->episode.steps, take->frames, &take->stride);
    VIPO_TRY(write_videos(take, error));
    VIPO_TRY(write_episode(take, error));
    *kept = true;
    return VIPO_OK;
}

vipo_status vipo_take_make(const vipo_collection *collection, vipo_sim *sim, vipo_sim *opposite,
                           uint64_t seed, const vipo_take_watch *watch, bool *kept, vipo_error *error)
{
    *kept = false;
    vipo_take *const take = calloc(1, sizeof *take);
    if (!take) return vipo_fail_memory(error, sizeof *take, "an episode");
    take->collection = collection;
    take->watch = watch;
    take->sim = sim;
    take->opposite = opposite;
    take->seed = seed;
    const vipo_status status = make(take, kept, error);
    release(take);
    free(take);
    return status;
}
