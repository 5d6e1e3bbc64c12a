/* Single network calls: parity checks and benchmarks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/folder_output.h"
#include "core/memory.h"
#include "core/npy.h"
#include "policy/planner.h"

enum { MAX_STACKED = 160, MAX_ROWS = 1024, PATH_ROOM = 4096 };

/* Intermediates that are computed for one sample at a time, joined to one array per name. */
typedef struct stack {
    int samples, sample;
    int count;
    struct {
        char name[96];
        vipo_array array; /* [samples]... */
    } entries[MAX_STACKED];
} stack;

static void stack_push(void *user, const char *name, const vipo_array *value)
{
    stack *s = user;
    int i = 0;
    while (i < s->count && strcmp(s->entries[i].name, name) != 0) i++;
    if (i == MAX_STACKED) return;
    if (i == s->count) {
        size_t shape[VIPO_MAX_RANK];
        memcpy(shape, value->shape, sizeof shape);
        shape[0] = (size_t)s->samples;
        if (strlen(name) >= sizeof s->entries[i].name ||
            vipo_array_alloc(&s->entries[i].array, value->rank, shape, NULL) != VIPO_OK)
            return; /* this one is left out */
        strcpy(s->entries[i].name, name);
        s->count++;
    }
    const size_t n = vipo_array_size(value);
    memcpy(s->entries[i].array.data + (size_t)s->sample * n, value->data, n * sizeof *value->data);
}

static void stack_emit(stack *s, vipo_dump_function dump, void *user)
{
    for (int i = 0; i < s->count; i++) {
        dump(user, s->entries[i].name, &s->entries[i].array);
        vipo_array_free(&s->entries[i].array);
    }
    s->count = 0;
}

static vipo_status check(const vipo_planner *planner, const vipo_denoise_request *r, vipo_error *error)
{
    const vipo_unet_config *c = &planner->model->config.unet;
    const size_t h = (size_t)c->height, w = (size_t)c->width, ch = (size_t)c->out_channels;
    if (!planner->model->unet)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "the model was opened without its network");
    if (!r->x || !r->cond || !r->t || (!r->tokens && !r->text))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "a network call needs x, cond, t, and tokens or a text");
    if (r->x->rank != 5 || r->x->shape[0] < 1 || r->x->shape[0] > MAX_ROWS ||
        r->x->shape[1] != (size_t)c->frames || r->x->shape[2] != h || r->x->shape[3] != w ||
        r->x->shape[4] != ch)
        return vipo_fail(error, VIPO_MISMATCH, "x: expected shape [B][%d][%zu][%zu][%zu] with B in 1..%d",
                         c->frames, h, w, ch, MAX_ROWS);
    const size_t batch = r->x->shape[0];
    if (r->cond->rank != 4 || (r->cond->shape[0] != 1 && r->cond->shape[0] != batch) ||
        r->cond->shape[1] != h || r->cond->shape[2] != w || r->cond->shape[3] != ch)
        return vipo_fail(error, VIPO_MISMATCH, "cond: expected shape [%zu or 1][%zu][%zu][%zu]", batch, h, w,
                         ch);
    if (r->n_t != 1 && (size_t)r->n_t != batch)
        return vipo_fail(error, VIPO_MISMATCH, "t: expected 1 or %zu values, found %d", batch, r->n_t);
    for (int i = 0; i < r->n_t; i++)
        if (r->t[i] < 0 || r->t[i] >= planner->model->schedule.timesteps)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "t: %d, expected 0..%d", r->t[i],
                             planner->model->schedule.timesteps - 1);
    if (r->tokens) {
        VIPO_TRY(vipo_planner_check_tokens(planner, r->tokens, error));
        if (r->tokens->shape[0] != 1 && r->tokens->shape[0] != batch)
            return vipo_fail(error, VIPO_MISMATCH, "tokens: expected shape [%zu or 1][L][C], found %zu texts",
                             batch, r->tokens->shape[0]);
    }
    const vipo_array *const arrays[2] = {r->x, r->cond};
    for (int a = 0; a < 2; a++)
        for (size_t i = 0; i < vipo_array_size(arrays[a]); i++)
            if (!isfinite(arrays[a]->data[i]))
                return vipo_fail(error, VIPO_NUMERIC, "%s: element %zu is not a finite number",
                                 a ? "cond" : "x", i);
    return VIPO_OK;
}

/* Task embeddings [texts][embedding] of every text of the request. */
static vipo_status embed(vipo_planner *planner, const vipo_denoise_request *r, const vipo_array *tokens,
                         float *task, vipo_error *error)
{
    const int texts = (int)tokens->shape[0], length = (int)tokens->shape[1];
    const size_t width = (size_t)planner->model->unet->embedding_width,
                 size = tokens->shape[1] * tokens->shape[2];
    stack *dumps = r->dump ? calloc(1, sizeof *dumps) : NULL;
    if (r->dump && !dumps) return vipo_fail_memory(error, sizeof *dumps, "a dump");
    vipo_status status = VIPO_OK;
    if (dumps) dumps->samples = texts;
    for (int i = 0; i < texts && status == VIPO_OK; i++) {
        if (dumps) dumps->sample = i;
        status = vipo_planner_embed_tokens(planner, tokens->data + (size_t)i * size, length, r->unconditional,
                                           task + (size_t)i * width, dumps ? stack_push : NULL, dumps, error);
    }
    if (dumps) {
        stack_emit(dumps, r->dump, r->dump_user);
        free(dumps);
    }
    return status;
}

static vipo_status denoise(vipo_planner *planner, const vipo_denoise_request *request, vipo_array *v,
                           double *seconds, vipo_error *error)
{
    VIPO_TRY(check(planner, request, error));
    const int batch = (int)request->x->shape[0];
    if ((request->dump || request->profile) && batch > planner->max_batch)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a %s needs the whole batch at once: at most %d rows",
                         request->dump ? "dump" : "profile", planner->max_batch);
    VIPO_TRY(vipo_planner_reserve(planner, batch, error));
    vipo_array features = {.data = NULL};
    const vipo_array *tokens = request->tokens;
    if (!tokens) {
        VIPO_TRY(vipo_planner_encode_text(planner, request->text, NULL, NULL, &features, &request->callbacks,
                                          error));
        tokens = &features;
    }
    const size_t width = (size_t)planner->model->unet->embedding_width;
    float *task = vipo_aligned_calloc(tokens->shape[0] * width, sizeof *task);
    vipo_status status =
        task ? embed(planner, request, tokens, task, error)
             : vipo_fail_memory(error, tokens->shape[0] * width * sizeof *task, "task embeddings");
    if (status == VIPO_OK) status = vipo_array_alloc(v, request->x->rank, request->x->shape, error);
    if (status == VIPO_OK) {
        int video[MAX_ROWS], t[MAX_ROWS];
        for (int i = 0; i < batch; i++) {
            video[i] = i;
            t[i] = request->t[request->n_t == 1 ? 0 : i];
        }
        const vipo_rows_run run = {.rows = batch,
                                   .video = video,
                                   .t = t,
                                   .x = request->x->data,
                                   .v = v->data,
                                   .cond = request->cond->data,
                                   .cond_stride =
                                       request->cond->shape[0] == 1 ? 0 : vipo_planner_cond_size(planner),
                                   .task = task,
                                   .task_stride = tokens->shape[0] == 1 ? 0 : width,
                                   .callbacks = &request->callbacks,
                                   .dump = request->dump,
                                   .dump_user = request->dump_user,
                                   .profile = request->profile,
                                   .profile_user = request->profile_user};
        const double start = vipo_clock_seconds();
        status = vipo_planner_run_rows(planner, &run, error);
        if (seconds) *seconds = vipo_clock_seconds() - start;
    }
    vipo_aligned_free(task);
    vipo_array_free(&features);
    if (status != VIPO_OK) vipo_array_free(v);
    return status;
}

/* ---- intermediates as files ----------------------------------------------------------------------------- */

typedef struct file_dump {
    const vipo_denoise_request *request;
    vipo_folder_output folder;
    vipo_error error; /* of the first file that could not be written */
} file_dump;

static vipo_status dump_file(const file_dump *d, const char *name, const vipo_array *value, vipo_error *error)
{
    char file[128], path[PATH_ROOM];
    snprintf(file, sizeof file, "%.120s.npy", name);
    for (char *at = file; *at; at++)
        if (*at == '/') *at = '_';
    VIPO_TRY(vipo_folder_output_file(&d->folder, file, path, sizeof path, error));
    return vipo_npy_write(path, value, error);
}

static void on_dump(void *user, const char *name, const vipo_array *value)
{
    file_dump *d = user;
    if (d->error.status == VIPO_OK) dump_file(d, name, value, &d->error);
    if (d->request->dump) d->request->dump(d->request->dump_user, name, value);
}

vipo_status vipo_planner_denoise(vipo_planner *planner, const vipo_denoise_request *request, vipo_array *v,
                                 double *seconds, vipo_error *error)
{
    memset(v, 0, sizeof *v);
    if (!request->dump_folder) return denoise(planner, request, v, seconds, error);
    static const char *const none[] = {NULL};
    file_dump d = {.request = request};
    vipo_denoise_request dumping = *request;
    dumping.dump = on_dump;
    dumping.dump_user = &d;
    VIPO_TRY(vipo_folder_output_open(&d.folder, request->dump_folder, true, error));
    vipo_status status = denoise(planner, &dumping, v, seconds, error);
    if (status == VIPO_OK && d.error.status != VIPO_OK) {
        status = d.error.status;
        if (error) *error = d.error;
    }
    if (status == VIPO_OK) status = vipo_folder_output_commit(&d.folder, none, NULL, error);
    vipo_folder_output_abandon(&d.folder);
    if (status != VIPO_OK) vipo_array_free(v);
    return status;
}
