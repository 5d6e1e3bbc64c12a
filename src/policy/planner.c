#include "policy/planner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/memory.h"
#include "policy/noise.h"
#include "policy/score.h"
#include "sampling/sampler.h"
#include "sampling/trace.h"

enum { DEFAULT_BATCH = 8 };
static const double warm_share = 0.35; /* of the timesteps: where a warm start begins by default */
/* Aim of the default batch size: the two rows of a guided step of the largest published network fit. */
static const size_t default_arena_bytes = 1000000000;

/* ---- session ------------------------------------------------------------------------------------------ */

size_t vipo_planner_video_size(const vipo_planner *planner)
{
    const vipo_unet_config *c = &planner->model->config.unet;
    return (size_t)c->frames * vipo_planner_cond_size(planner);
}

size_t vipo_planner_cond_size(const vipo_planner *planner)
{
    const vipo_unet_config *c = &planner->model->config.unet;
    return (size_t)c->height * (size_t)c->width * (size_t)c->out_channels;
}

void vipo_planner_default_options(vipo_planner_options *options)
{
    *options = (vipo_planner_options){.threads = 0};
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* As many rows as the aim allows, at least one. */
static int default_batch(const vipo_unet3d *unet)
{
    const size_t rows = default_arena_bytes / (vipo_unet3d_memory(unet, 1) * sizeof(float));
    return rows < 1 ? 1 : rows > DEFAULT_BATCH ? DEFAULT_BATCH : (int)rows;
}

vipo_status vipo_planner_open(vipo_planner **out, const vipo_model *model,
                              const vipo_planner_options *options, vipo_error *error)
{
    *out = NULL;
    vipo_planner_options defaults;
    vipo_planner_default_options(&defaults);
    if (!options) options = &defaults;
    if (options->max_batch < 0 || options->max_batch > 1024)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "max_batch: %d, expected 0 (by memory) to 1024",
                         options->max_batch);
    vipo_planner *planner = calloc(1, sizeof *planner);
    if (!planner) return vipo_fail_memory(error, sizeof *planner, "a planner");
    planner->model = model;
    planner->compute.ops = model->ops;
    vipo_status status = vipo_pool_open(&planner->compute.pool, options->threads, error);
    if (status == VIPO_OK) {
        size_t scratch = 64;
        if (model->unet) {
            planner->max_batch = options->max_batch ? options->max_batch : default_batch(model->unet);
            scratch = larger(scratch, vipo_unet3d_scratch(model->unet, model->ops, planner->max_batch));
        }
        if (model->text) scratch = larger(scratch, vipo_clip_text_scratch(model->text, model->ops));
        scratch = (scratch + VIPO_ALIGNMENT - 1) / VIPO_ALIGNMENT * VIPO_ALIGNMENT;
        const size_t threads = (size_t)vipo_pool_threads(planner->compute.pool);
        planner->compute.scratch_bytes = scratch;
        planner->compute.scratch = vipo_aligned_calloc(threads, scratch);
        if (!planner->compute.scratch) status = vipo_fail_memory(error, threads * scratch, "scratch memory");
    }
    if (status != VIPO_OK) vipo_planner_close(&planner);
    *out = planner;
    return status;
}

static void free_batch(vipo_planner *planner)
{
    vipo_aligned_free(planner->arena);
    vipo_aligned_free(planner->row_x);
    vipo_aligned_free(planner->row_v);
    vipo_aligned_free(planner->row_cond);
    vipo_aligned_free(planner->row_task);
    vipo_aligned_free(planner->row_t);
    planner->arena = planner->row_x = planner->row_v = planner->row_cond = planner->row_task = NULL;
    planner->row_t = NULL;
    planner->batch = 0;
    planner->arena_bytes = 0;
}

void vipo_planner_close(vipo_planner **planner_pointer)
{
    vipo_planner *planner = *planner_pointer;
    if (!planner) return;
    free_batch(planner);
    vipo_aligned_free(planner->compute.scratch);
    vipo_pool_close(&planner->compute.pool);
    free(planner);
    *planner_pointer = NULL;
}

int vipo_planner_threads(const vipo_planner *planner)
{
    return vipo_pool_threads(planner->compute.pool);
}

vipo_status vipo_planner_reserve(vipo_planner *planner, int rows, vipo_error *error)
{
    if (rows > planner->max_batch) rows = planner->max_batch;
    if (rows <= planner->batch) return VIPO_OK;
    free_batch(planner);
    const vipo_unet3d *unet = planner->model->unet;
    const size_t n = (size_t)rows, video = vipo_planner_video_size(planner),
                 cond = vipo_planner_cond_size(planner);
    const size_t width = (size_t)unet->embedding_width, arena = vipo_unet3d_memory(unet, rows);
    planner->arena = vipo_aligned_calloc(arena, sizeof(float));
    planner->row_x = vipo_aligned_calloc(n * video, sizeof(float));
    planner->row_v = vipo_aligned_calloc(n * video, sizeof(float));
    planner->row_cond = vipo_aligned_calloc(n * cond, sizeof(float));
    planner->row_task = vipo_aligned_calloc(n * width, sizeof(float));
    planner->row_t = vipo_aligned_calloc(n, sizeof(int));
    planner->arena_bytes = (arena + n * (2 * video + cond + width)) * sizeof(float) + n * sizeof(int);
    if (!planner->arena || !planner->row_x || !planner->row_v || !planner->row_cond || !planner->row_task ||
        !planner->row_t) {
        const size_t bytes = planner->arena_bytes;
        free_batch(planner);
        return vipo_fail_memory(error, bytes, "network batches");
    }
    planner->batch = rows;
    return VIPO_OK;
}

/* ---- a plan --------------------------------------------------------------------------------------------- */

/* One plan being made: what the sampler's callbacks need. */
typedef struct planning {
    vipo_planner *planner;
    const vipo_request *request;
    vipo_error *error;
    vipo_noise noise;
    float *task, *no_task; /* [embedding], shared by all samples */
    double start;          /* when the planning began */
    int network_rows;
} planning;

void vipo_request_default(vipo_request *request)
{
    *request = (vipo_request){.samples = 1, .from_step = -1};
    vipo_sampler_default_options(&request->sampler);
}

int vipo_planner_start_time(const vipo_planner *planner, const vipo_request *request,
                            const vipo_sampler *sampler)
{
    const vipo_schedule *schedule = &planner->model->schedule;
    if (request->from_step != -1) return request->from_step;
    if (!request->warm) return schedule->timesteps - 1;
    return vipo_sampler_nearest_start(sampler, &request->sampler, schedule,
                                      (int)(warm_share * schedule->timesteps));
}

static vipo_status check_finite(const char *what, const vipo_array *array, vipo_error *error)
{
    for (size_t i = 0; i < vipo_array_size(array); i++)
        if (!isfinite(array->data[i]))
            return vipo_fail(error, VIPO_NUMERIC, "%s: element %zu is not a finite number", what, i);
    return VIPO_OK;
}

/* Fails unless the array's last dimensions are those of `tail`. */
static bool ends_with(const vipo_array *array, int rank, const size_t *tail, int n_tail)
{
    if (array->rank != rank) return false;
    for (int i = 0; i < n_tail; i++)
        if (array->shape[rank - n_tail + i] != tail[i]) return false;
    return true;
}

static vipo_status bad_shape(const char *what, const char *leading, const vipo_array *array,
                             const size_t *tail, int n_tail, vipo_error *error)
{
    char expected[128] = "", found[128] = "";
    for (int i = 0; i < n_tail; i++) {
        const size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "[%zu]", tail[i]);
    }
    for (int i = 0; i < array->rank; i++) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "[%zu]", array->shape[i]);
    }
    return vipo_fail(error, VIPO_MISMATCH, "%s: expected shape %s%s, found %s", what, leading, expected,
                     found[0] ? found : "a single number");
}

static vipo_status check_request(const vipo_planner *planner, const vipo_request *r, vipo_error *error)
{
    const vipo_unet_config *c = &planner->model->config.unet;
    const size_t video[4] = {(size_t)c->frames, (size_t)c->height, (size_t)c->width, (size_t)c->out_channels};
    const size_t samples = (size_t)r->samples, timesteps = (size_t)planner->model->schedule.timesteps;
    char leading[64];
    if (!planner->model->unet)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "the model was opened without its network");
    if (r->samples < 1 || r->samples > 4096)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "samples: %d, expected 1..4096", r->samples);
    if (!r->sampler.name)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a plan needs the name of a sampler");
    if (!r->cond) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a plan needs a condition frame");
    snprintf(leading, sizeof leading, "[%d or 1]", r->samples);
    if (!ends_with(r->cond, 4, video + 1, 3) || (r->cond->shape[0] != 1 && r->cond->shape[0] != samples))
        return bad_shape("condition frame (cond)", leading, r->cond, video + 1, 3, error);
    if (r->score != VIPO_SCORE_NONE && r->cond->shape[0] != 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "a score compares plans from one condition frame, found %zu", r->cond->shape[0]);
    if (!vipo_score_name((int)r->score))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "score: %d, expected a vipo_score", (int)r->score);
    VIPO_TRY(check_finite("condition frame (cond)", r->cond, error));
    if (r->noise) {
        snprintf(leading, sizeof leading, "[%d]", r->samples);
        if (!ends_with(r->noise, 5, video, 4) || r->noise->shape[0] != samples)
            return bad_shape("noise", leading, r->noise, video, 4, error);
        VIPO_TRY(check_finite("noise", r->noise, error));
    }
    if (r->step_noise) {
        snprintf(leading, sizeof leading, "[%zu][%d]", timesteps - 1, r->samples);
        const size_t steps = r->step_noise->shape[0];
        if (!ends_with(r->step_noise, 6, video, 4) || r->step_noise->shape[1] != samples ||
            (steps != timesteps && steps != timesteps - 1))
            return bad_shape("step noise", leading, r->step_noise, video, 4, error);
        VIPO_TRY(check_finite("step noise", r->step_noise, error));
        if (strcmp(r->sampler.name, "ddpm") != 0)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "step noise: %s draws none, ddpm alone does",
                             r->sampler.name);
    }
    if (r->warm) {
        snprintf(leading, sizeof leading, "[%d or 1]", r->samples);
        if (!ends_with(r->warm, 5, video, 4) || (r->warm->shape[0] != 1 && r->warm->shape[0] != samples))
            return bad_shape("warm start (warm)", leading, r->warm, video, 4, error);
        VIPO_TRY(check_finite("warm start (warm)", r->warm, error));
        if (r->executed < 0 || r->executed > c->frames)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "executed: %d, expected 0..%d (the plan's frames)",
                             r->executed, c->frames);
    } else {
        if (r->from_step != -1 && r->from_step != (int)timesteps - 1)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                             "from step: %d needs a warm start; without one a plan starts at %zu (or -1)",
                             r->from_step, timesteps - 1);
        if (r->executed != 0)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "executed: %d needs a warm start", r->executed);
    }
    if (r->tokens) {
        VIPO_TRY(vipo_planner_check_tokens(planner, r->tokens, error));
        if (r->tokens->shape[0] != 1)
            return vipo_fail(error, VIPO_MISMATCH, "task tokens: expected one text, [1][L][C], found %zu",
                             r->tokens->shape[0]);
    } else if (!r->text) {
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a plan needs a task text or task tokens");
    }
    if (!isfinite(r->sampler.guidance) || fabs(r->sampler.guidance) > 1e4)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "guidance: %g, expected a number within -10000..10000",
                         r->sampler.guidance);
    return VIPO_OK;
}

/* Text or tokens -> task embedding, and the one of the guidance branch. */
static vipo_status embed_task(planning *p)
{
    const vipo_request *request = p->request;
    vipo_array features = {.data = NULL};
    const vipo_array *tokens = request->tokens;
    if (!tokens) {
        VIPO_TRY(vipo_planner_encode_text(p->planner, request->text, NULL, NULL, &features,
                                          &request->callbacks, p->error));
        tokens = &features;
    }
    const int length = (int)tokens->shape[1];
    vipo_status status =
        vipo_planner_embed_tokens(p->planner, tokens->data, length, false, p->task, NULL, NULL, p->error);
    if (status == VIPO_OK && request->sampler.guidance != 0)
        status = vipo_planner_embed_tokens(p->planner, tokens->data, length, true, p->no_task, NULL, NULL,
                                           p->error);
    vipo_array_free(&features);
    return status;
}

static vipo_status denoise(void *user, int rows, const int *video, const int *t, const float *x, float *v,
                           vipo_error *error)
{
    planning *p = user;
    const vipo_request *request = p->request;
    const double guidance = request->sampler.guidance;
    const vipo_rows_run run = {.rows = rows,
                               .video = video,
                               .t = t,
                               .x = x,
                               .v = v,
                               .cond = request->cond->data,
                               .cond_stride =
                                   request->cond->shape[0] == 1 ? 0 : vipo_planner_cond_size(p->planner),
                               .task = p->task,
                               .no_task = p->no_task,
                               .guidance = guidance,
                               .callbacks = &request->callbacks};
    p->network_rows += guidance == 0 ? rows : 2 * rows;
    return vipo_planner_run_rows(p->planner, &run, error);
}

/* x: noise -> the warm start's state at timestep t. */
static void add_warm_start(const vipo_planner *planner, const vipo_request *request, int t, float *x)
{
    const vipo_schedule *schedule = &planner->model->schedule;
    const double alpha = vipo_schedule_alpha(schedule, t), sigma = vipo_schedule_sigma(schedule, t);
    const int frames = planner->model->config.unet.frames;
    const size_t frame_size = vipo_planner_cond_size(planner), video_size = vipo_planner_video_size(planner);
    for (int sample = 0; sample < request->samples; sample++) {
        const size_t of = request->warm->shape[0] == 1 ? 0 : (size_t)sample;
        for (int f = 0; f < frames; f++) {
            const int old = f + request->executed < frames ? f + request->executed : frames - 1;
            const float *warm = request->warm->data + of * video_size + (size_t)old * frame_size;
            for (size_t i = 0; i < frame_size; i++, x++)
                *x = (float)(alpha * (2 * (double)warm[i] - 1) + sigma * (double)*x);
        }
    }
}

/* The model's ratios for draft-target-lazy if they are wanted and hold for the request's draft stride, else NULL. The
 * factor 1 - 1/M of an estimate leaves little for ratios to depend on the target stride: on models/metaworld-64 those
 * of strides 1 and 5 differ by 3 % at most, less than over noise and scenes. */
static const vipo_calibration *find_calibration(const planning *p, const vipo_sampler *sampler)
{
    const vipo_sampler_options *o = &p->request->sampler;
    const vipo_calibration *c = &p->planner->model->config.calibration;
    if (sampler != &vipo_sampler_draft_target_lazy || !o->lazy_calibrated || c->draft_stride == 0)
        return NULL;
    if (c->draft_stride == o->draft_stride) return c;
    vipo_log(&p->request->callbacks, VIPO_LOG_INFO,
             "the model's calibration is for draft stride %d, it is not used for %d", c->draft_stride,
             o->draft_stride);
    return NULL;
}

/* Samples out->video; x lives in its memory throughout. */
static vipo_status sample(planning *p, const vipo_sampler *sampler, float *memory, size_t memory_bytes,
                          vipo_plan *out)
{
    const vipo_planner *planner = p->planner;
    const vipo_request *request = p->request;
    const size_t dim = vipo_planner_video_size(planner), n = (size_t)request->samples * dim;
    const vipo_denoiser denoiser = {.user = p, .dim = dim, .denoise = denoise};
    const vipo_calibration *calibration = find_calibration(p, sampler);
    vipo_sampling sampling = {.denoiser = &denoiser,
                              .schedule = &planner->model->schedule,
                              .options = &request->sampler,
                              .callbacks = &request->callbacks,
                              .noise = {.user = &p->noise, .draw = vipo_noise_draw},
                              .lazy_ratios = calibration ? calibration->ratios : NULL,
                              .n_lazy_ratios = calibration ? calibration->n_ratios : 0,
                              .videos = request->samples,
                              .from = out->from_step,
                              .x = out->video.data,
                              .memory = memory};
    vipo_noise_start(&p->noise, sampling.x);
    if (request->warm) add_warm_start(planner, request, out->from_step, sampling.x);
    const double start = vipo_clock_seconds();
    out->start_seconds = start - p->start;
    VIPO_TRY(vipo_sampler_run(sampler, &sampling, p->error));
    for (size_t i = 0; i < n; i++) out->video.data[i] = (out->video.data[i] + 1) * 0.5F;
    out->seconds = vipo_clock_seconds() - start;
    out->calls = sampling.stats.calls;
    out->evaluations = sampling.stats.evaluations;
    out->network_rows = p->network_rows;
    out->rounds = sampling.stats.rounds;
    out->drafted = sampling.stats.drafted;
    out->accepted = sampling.stats.accepted;
    out->error_estimate = sampling.stats.has_error ? sqrt(sampling.stats.error_squares) : (double)NAN;
    out->fallbacks = sampling.stats.fallbacks;
    out->calibrated = calibration != NULL;
    out->verify_calls = sampling.stats.verify_calls;
    out->verify_evaluations = sampling.stats.verify_evaluations;
    out->verified = sampling.stats.verified;
    out->agreed = sampling.stats.agreed;
    const vipo_model *model = planner->model;
    snprintf(out->compute, sizeof out->compute, "%s", vipo_model_compute(model));
    snprintf(out->methods, sizeof out->methods, "%s", vipo_model_methods(model));
    out->weight_bytes = model->unet->store.bytes + (model->text ? model->text->store.bytes : 0);
    out->arena_bytes = planner->arena_bytes;
    out->scratch_bytes = (size_t)vipo_pool_threads(planner->compute.pool) * planner->compute.scratch_bytes;
    out->sampler_bytes = memory_bytes + n * sizeof(float);
    out->peak_bytes = out->weight_bytes + out->arena_bytes + out->scratch_bytes + out->sampler_bytes;
    VIPO_TRY(vipo_planner_score(p->planner, request, p->task, out, p->error));
    vipo_trace_end(&request->callbacks, out, &sampling.stats);
    return VIPO_OK;
}

/* Rows of the largest batch that the sampler asks for. */
static int largest_batch(const vipo_request *request, const vipo_sampler *sampler)
{
    const bool batches = sampler == &vipo_sampler_draft_target ||
                         (sampler == &vipo_sampler_draft_target_lazy && request->sampler.verify);
    const long chunk = batches ? request->sampler.chunk : 1;
    const long rows =
        (request->sampler.guidance == 0 ? 1L : 2L) * request->samples * (chunk > 1024 ? 1024 : chunk);
    return rows > 1024 ? 1024 : (int)rows;
}

/* A checked request whose sampler has been resolved. */
static vipo_status make_plan(vipo_planner *planner, const vipo_request *request, vipo_plan *out,
                             vipo_error *error)
{
    const double start = vipo_clock_seconds();
    const vipo_sampler *sampler;
    const vipo_schedule *schedule = &planner->model->schedule;
    VIPO_TRY(vipo_sampler_find(&sampler, request->sampler.name, error));
    VIPO_TRY(vipo_planner_reserve(planner, largest_batch(request, sampler), error));
    out->from_step = vipo_planner_start_time(planner, request, sampler);
    vipo_sampler_describe(sampler, &request->sampler, schedule, out->from_step, out->sampler,
                          sizeof out->sampler);

    const vipo_unet_config *c = &planner->model->config.unet;
    const size_t shape[5] = {(size_t)request->samples, (size_t)c->frames, (size_t)c->height, (size_t)c->width,
                             (size_t)c->out_channels};
    const size_t width = (size_t)planner->model->unet->embedding_width;
    const size_t floats = vipo_sampler_memory(sampler, &request->sampler, schedule, request->samples,
                                              vipo_planner_video_size(planner));
    planning p = {.planner = planner, .request = request, .error = error, .start = start};
    float *memory = vipo_aligned_calloc(floats, sizeof *memory);
    p.task = vipo_aligned_calloc(2 * width, sizeof *p.task);
    vipo_status status = VIPO_OK;
    if (!memory || !p.task) status = vipo_fail_memory(error, floats * sizeof *memory, "the sampler");
    if (status == VIPO_OK) {
        p.no_task = p.task + width;
        status = vipo_array_alloc(&out->video, 5, shape, error);
    }
    if (status == VIPO_OK) status = vipo_noise_open(&p.noise, request, c, error);
    if (status == VIPO_OK) {
        const double before = vipo_clock_seconds();
        status = embed_task(&p);
        out->text_seconds = vipo_clock_seconds() - before;
    }
    if (status == VIPO_OK) status = sample(&p, sampler, memory, floats * sizeof *memory, out);
    vipo_noise_close(&p.noise);
    vipo_aligned_free(memory);
    vipo_aligned_free(p.task);
    return status;
}

vipo_status vipo_planner_plan(vipo_planner *planner, const vipo_request *request, vipo_plan *out,
                              vipo_error *error)
{
    memset(out, 0, sizeof *out);
    VIPO_TRY(check_request(planner, request, error));
    vipo_request resolved = *request;
    vipo_status status = vipo_planner_resolve(planner, &resolved, &out->choice, error);
    if (status == VIPO_OK) status = make_plan(planner, &resolved, out, error);
    if (status != VIPO_OK) vipo_plan_free(out);
    return status;
}

void vipo_plan_free(vipo_plan *plan)
{
    if (!plan) return;
    vipo_array_free(&plan->video);
    vipo_array_free(&plan->scores);
    free(plan->choice);
    memset(plan, 0, sizeof *plan);
}
