#include "compute/choice_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "compute/tuner.h"
#include "core/cache_folder.h"
#include "core/clock.h"
#include "core/file_output.h"
#include "core/hash.h"
#include "core/json_util.h"
#include "core/log.h"

/* Of the layout of the file. */
enum { FORMAT = 1, MAX_SIZE = 1 << 20, MAX_SECONDS = 3600 };

/* ---- names ---------------------------------------------------------------------------------------------- */

/* What the times hold for. */
static char *make_key(const vipo_processor *processor, const vipo_ops *ops, int cores)
{
    json_t *caches = json_array();
    for (int i = 0; i < processor->n_caches; i++)
        json_array_append_new(caches, json_string(processor->caches[i]));
    json_t *key =
        json_pack("{s:s, s:i, s:i, s:i, s:s, s:o, s:s, s:i, s:s, s:i}", "vendor", processor->vendor, "family",
                  processor->family, "model", processor->model, "stepping", processor->stepping, "processor",
                  processor->name, "caches", caches, "compute", ops->name, "cores", cores, "version",
                  vipo_version(), "kernels", VIPO_KERNEL_REVISION);
    char *text = key ? json_dumps(key, 0) : NULL;
    json_decref(key);
    return text;
}

vipo_status vipo_choice_file_open(vipo_choice_file *out, const char *folder, const vipo_processor *processor,
                                  const vipo_ops *ops, int cores, vipo_error *error)
{
    const size_t room = strlen(folder) + strlen(ops->name) + 32;
    *out = (vipo_choice_file){.lock = -1,
                              .path = malloc(room),
                              .lock_path = malloc(room),
                              .folder = strdup(folder),
                              .key = make_key(processor, ops, cores)};
    if (!out->path || !out->lock_path || !out->folder || !out->key) {
        vipo_choice_file_close(out);
        return vipo_fail_memory(error, 4 * room, "the name of a file");
    }
    const unsigned hash = vipo_hash_text(VIPO_HASH_START, out->key);
    snprintf(out->path, room, "%s/methods-%s-%08x.json", folder, ops->name, hash);
    snprintf(out->lock_path, room, "%s/methods-%s-%08x.lock", folder, ops->name, hash);
    return VIPO_OK;
}

void vipo_choice_file_close(vipo_choice_file *file)
{
    if (file->lock >= 0) close(file->lock); /* unlocks */
    free(file->path);
    free(file->lock_path);
    free(file->folder);
    free(file->key);
    *file = (vipo_choice_file){.lock = -1};
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

/* The index of a name of one of n things, -1 if it is none. */
static int find_name(const char *name, const char *(*name_of)(int i), int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, name_of(i)) == 0) return i;
    return -1;
}

static const char *kind_name(int i)
{
    return vipo_weight_kind_name((vipo_weight_kind)i);
}

static const char *method_name(int i)
{
    return vipo_method_name((vipo_method)i);
}

static vipo_status read_choice(vipo_choice *out, const json_t *object, vipo_json_at at, const vipo_ops *ops,
                               vipo_error *error)
{
    const char *kind, *method;
    const json_t *times = NULL;
    vipo_layer *layer = &out->layer;
    *out = (vipo_choice){.uses = 0};
    if (!json_is_object(object))
        return vipo_fail(error, VIPO_FORMAT, "%s: %s: expected an object", at.file, at.path);
    VIPO_TRY(vipo_json_string(object, at, "kind", true, &kind, error));
    VIPO_TRY(vipo_json_int(object, at, "in", true, 1, MAX_SIZE, &layer->in, error));
    VIPO_TRY(vipo_json_int(object, at, "out", true, 1, MAX_SIZE, &layer->out, error));
    VIPO_TRY(vipo_json_int(object, at, "frames", true, 1, MAX_SIZE, &layer->frames, error));
    VIPO_TRY(vipo_json_int(object, at, "height", true, 1, MAX_SIZE, &layer->height, error));
    VIPO_TRY(vipo_json_int(object, at, "width", true, 1, MAX_SIZE, &layer->width, error));
    VIPO_TRY(vipo_json_bool(object, at, "half_weights", true, &layer->half, error));
    VIPO_TRY(vipo_json_string(object, at, "method", true, &method, error));
    VIPO_TRY(vipo_json_object(object, at, "milliseconds", false, &times, error));
    const int k = find_name(kind, kind_name, VIPO_WEIGHT_KINDS),
              m = find_name(method, method_name, VIPO_METHODS);
    layer->kind = k < 0 ? VIPO_WEIGHT_LINEAR : (vipo_weight_kind)k;
    out->method = m < 0 ? VIPO_METHOD_DIRECT : (vipo_method)m;
    if (k < 0 || m < 0 || !ops->knows(layer, out->method))
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: %s: the kernels of %s have no method \"%.32s\" for a layer \"%.32s\"", at.file,
                         at.path, ops->name, method, kind);
    for (int i = 0; times && i < VIPO_METHODS; i++) {
        VIPO_TRY(vipo_json_double(times, at, method_name(i), false, 0, 1000.0 * MAX_SECONDS, &out->seconds[i],
                                  error));
        out->seconds[i] /= 1000;
    }
    return VIPO_OK;
}

static vipo_status read_choices(vipo_choices *out, const json_t *root, const vipo_choice_file *file,
                                const vipo_ops *ops, vipo_error *error)
{
    const vipo_json_at top = {file->path, ""};
    int format;
    const json_t *key;
    if (!json_is_object(root)) return vipo_fail(error, VIPO_FORMAT, "%s: expected an object", file->path);
    VIPO_TRY(vipo_json_int(root, top, "format", true, FORMAT, FORMAT, &format, error));
    VIPO_TRY(vipo_json_object(root, top, "key", true, &key, error));
    json_t *own = json_loads(file->key, 0, NULL);
    if (!own) return vipo_fail_memory(error, strlen(file->key), file->path);
    const bool foreign = !json_equal(own, key);
    json_decref(own);
    if (foreign) return vipo_fail(error, VIPO_FORMAT, "%s: key: of another machine or version", file->path);
    const json_t *list = json_object_get(root, "layers");
    if (!json_is_array(list))
        return vipo_fail(error, VIPO_FORMAT, "%s: layers: expected an array", file->path);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char place[32];
        vipo_choice choice;
        snprintf(place, sizeof place, "layers[%zu]", i);
        VIPO_TRY(
            read_choice(&choice, json_array_get(list, i), (vipo_json_at){file->path, place}, ops, error));
        if (vipo_choices_find(out, &choice.layer))
            return vipo_fail(error, VIPO_FORMAT, "%s: %s: a second time", file->path, place);
        VIPO_TRY(vipo_choices_add(out, &choice.layer, error));
        choice.uses = 1;
        out->list[out->n - 1] = choice;
    }
    return VIPO_OK;
}

vipo_status vipo_choice_file_load(const vipo_choice_file *file, const vipo_ops *ops, vipo_choices *out,
                                  vipo_error *error)
{
    json_t *root;
    memset(out, 0, sizeof *out);
    if (access(file->path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) return VIPO_OK;
    VIPO_TRY(vipo_json_load(&root, file->path, error));
    const vipo_status status = read_choices(out, root, file, ops, error);
    json_decref(root);
    if (status != VIPO_OK) vipo_choices_free(out);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

static json_t *choice_json(const vipo_choice *choice)
{
    const vipo_layer *l = &choice->layer;
    json_t *times = json_object();
    for (int m = 0; m < VIPO_METHODS; m++)
        if (choice->seconds[m] > 0)
            json_object_set_new(times, method_name(m), json_real(1000 * choice->seconds[m]));
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:o}", "kind", kind_name((int)l->kind), "in",
                     l->in, "out", l->out, "frames", l->frames, "height", l->height, "width", l->width,
                     "half_weights", (int)l->half, "method", method_name((int)choice->method), "milliseconds",
                     times);
}

/* A line for each layer. */
static bool print_choices(FILE *stream, const vipo_choice_file *file, const vipo_choices *choices)
{
    fprintf(stream,
            "{\"about\": \"How vipo computes convolutions on this machine, measured once; without this file "
            "they are "
            "measured again.\",\n \"format\": %d,\n \"key\": %s,\n \"layers\": [",
            (int)FORMAT, file->key);
    for (int i = 0; i < choices->n; i++) {
        json_t *object = choice_json(&choices->list[i]);
        char *line = object ? json_dumps(object, JSON_REAL_PRECISION(4)) : NULL;
        json_decref(object);
        if (!line) return false;
        fprintf(stream, "%s\n  %s", i ? "," : "", line);
        free(line);
    }
    fputs("\n ]}\n", stream);
    return true;
}

vipo_status vipo_choice_file_store(const vipo_choice_file *file, const vipo_choices *choices,
                                   vipo_error *error)
{
    vipo_file_output output;
    VIPO_TRY(vipo_file_output_open(&output, file->path, error));
    if (print_choices(output.stream, file, choices)) return vipo_file_output_commit(&output, error);
    vipo_file_output_abandon(&output);
    return vipo_fail_memory(error, 0, file->path);
}

/* ---- the lock ------------------------------------------------------------------------------------------------ */

/* flock: of an open file, so that it also keeps threads of one process apart, and gone with the process. */
vipo_status vipo_choice_file_lock(vipo_choice_file *file, const vipo_callbacks *callbacks, double seconds,
                                  vipo_error *error)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    VIPO_TRY(vipo_cache_folder_make(file->folder, error));
    file->lock = open(file->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file->lock < 0) return vipo_fail_write(error, file->lock_path, errno);
    const double start = vipo_clock_seconds();
    for (bool told = false; flock(file->lock, LOCK_EX | LOCK_NB) != 0; told = true) {
        const bool waiting = errno == EWOULDBLOCK || errno == EINTR;
        vipo_status status = VIPO_OK;
        if (!waiting)
            status = vipo_fail_write(error, file->lock_path, errno);
        else if (vipo_clock_seconds() - start > seconds)
            status = vipo_fail(error, VIPO_IO, "%s: locked by another process for %.3g s", file->lock_path,
                               seconds);
        else
            status = vipo_check_cancelled(callbacks, error);
        if (status != VIPO_OK) {
            close(file->lock);
            file->lock = -1;
            return status;
        }
        if (!told)
            vipo_log(callbacks, VIPO_LOG_INFO, "waiting for another process that measures methods (%s)",
                     file->lock_path);
        nanosleep(&pause, NULL);
    }
    return VIPO_OK;
}
