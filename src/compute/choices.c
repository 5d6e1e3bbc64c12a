#include "compute/choices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/choice_file.h"
#include "compute/processor.h"
#include "compute/tuner.h"
#include "core/cache_folder.h"
#include "core/clock.h"
#include "core/hash.h"
#include "core/log.h"

static const double usual_wait = 60;

/* ---- the list ----------------------------------------------------------------------------------------- */

void vipo_choices_free(vipo_choices *choices)
{
    free(choices->list);
    memset(choices, 0, sizeof *choices);
}

static bool same_layer(const vipo_layer *a, const vipo_layer *b)
{
    return a->kind == b->kind && a->in == b->in && a->out == b->out && a->frames == b->frames &&
           a->height == b->height && a->width == b->width && a->half == b->half;
}

vipo_choice *vipo_choices_find(const vipo_choices *choices, const vipo_layer *layer)
{
    for (int i = 0; i < choices->n; i++)
        if (same_layer(&choices->list[i].layer, layer)) return &choices->list[i];
    return NULL;
}

vipo_status vipo_choices_add(vipo_choices *choices, const vipo_layer *layer, vipo_error *error)
{
    vipo_choice *known = vipo_choices_find(choices, layer);
    if (known) {
        known->uses++;
        return VIPO_OK;
    }
    const size_t bytes = ((size_t)choices->n + 1) * sizeof *choices->list;
    vipo_choice *list = realloc(choices->list, bytes);
    if (!list) return vipo_fail_memory(error, bytes, "a list of layers");
    choices->list = list;
    list[choices->n++] = (vipo_choice){.layer = *layer, .uses = 1};
    return VIPO_OK;
}

vipo_method vipo_choices_method(const vipo_choices *choices, const vipo_ops *ops, const vipo_layer *layer)
{
    const vipo_choice *known = choices ? vipo_choices_find(choices, layer) : NULL;
    return known ? known->method : ops->choose(layer);
}

int vipo_choices_known(const vipo_ops *ops, const vipo_layer *layer)
{
    int n = 0;
    for (int m = 0; m < VIPO_METHODS; m++) n += ops->knows(layer, (vipo_method)m);
    return n;
}

/* ---- states -------------------------------------------------------------------------------------------- */

static void take_fixed(vipo_choices *choices, const vipo_ops *ops, vipo_choices_state state)
{
    for (int i = 0; i < choices->n; i++) {
        vipo_choice *choice = &choices->list[i];
        choice->method = ops->choose(&choice->layer);
        memset(choice->seconds, 0, sizeof choice->seconds);
    }
    choices->state = state;
    snprintf(choices->name, sizeof choices->name, state == VIPO_CHOICES_UNTUNED ? "untuned" : "fixed");
}

/* Names what is computed: the same name, the same arithmetic in every layer. */
static void name_tuned(vipo_choices *choices, const vipo_ops *ops)
{
    uint32_t hash = vipo_hash_text(VIPO_HASH_START, ops->name);
    for (int i = 0; i < choices->n; i++) {
        const vipo_choice *c = &choices->list[i];
        char line[160];
        snprintf(line, sizeof line, "\n%s%s %d %d %d %d %d %s", vipo_weight_kind_name(c->layer.kind),
                 c->layer.half ? " half" : "", c->layer.in, c->layer.out, c->layer.frames, c->layer.height,
                 c->layer.width, vipo_method_name(c->method));
        hash = vipo_hash_text(hash, line);
    }
    choices->state = VIPO_CHOICES_TUNED;
    snprintf(choices->name, sizeof choices->name, "tuned %08x", (unsigned)hash);
}

/* Layers that have a choice and no entry in `stored`. */
static int count_missing(const vipo_choices *choices, const vipo_ops *ops, const vipo_choices *stored)
{
    int n = 0;
    for (int i = 0; i < choices->n; i++)
        n += vipo_choices_known(ops, &choices->list[i].layer) > 1 &&
             !vipo_choices_find(stored, &choices->list[i].layer);
    return n;
}

static void take_stored(vipo_choices *choices, const vipo_ops *ops, const vipo_choices *stored)
{
    take_fixed(choices, ops, VIPO_CHOICES_TUNED);
    for (int i = 0; i < choices->n; i++) {
        vipo_choice *choice = &choices->list[i];
        const vipo_choice *known = vipo_choices_find(stored, &choice->layer);
        if (!known || vipo_choices_known(ops, &choice->layer) < 2) continue;
        choice->method = known->method;
        memcpy(choice->seconds, known->seconds, sizeof choice->seconds);
    }
    name_tuned(choices, ops);
}

/* ---- making them ------------------------------------------------------------------------------------------ */

/* What ends the caller's work, whereas other failures only end the search for better methods. */
static bool is_fatal(vipo_status status)
{
    return status == VIPO_OUT_OF_MEMORY || status == VIPO_CANCELLED;
}

static void log_fixed(const vipo_choosing *how, const vipo_error *why)
{
    vipo_log(how->callbacks, VIPO_LOG_INFO, "methods are the fixed ones: %s", why->message);
}

/* A file that cannot be used is as good as none. */
static vipo_status load(const vipo_choice_file *file, const vipo_choosing *how, vipo_log_level level,
                        vipo_choices *stored, vipo_error *error)
{
    vipo_error why = {0};
    const vipo_status status = vipo_choice_file_load(file, how->ops, stored, &why);
    if (is_fatal(status)) return vipo_fail(error, status, "%s", why.message);
    if (status != VIPO_OK) vipo_log(how->callbacks, level, "%s; it is not used", why.message);
    return VIPO_OK;
}

/* Measures what `stored` lacks and adds it there. */
static vipo_status measure(const vipo_choices *choices, const vipo_choosing *how,
                           const vipo_processor *processor, vipo_choices *stored, vipo_error *error)
{
    const int first = stored->n;
    size_t floats = 0;
    for (int i = 0; i < choices->n; i++) {
        const vipo_choice *c = &choices->list[i];
        floats += (size_t)c->uses * how->ops->packed_floats(&c->layer, how->ops->choose(&c->layer));
        if (vipo_choices_known(how->ops, &c->layer) > 1 && !vipo_choices_find(stored, &c->layer))
            VIPO_TRY(vipo_choices_add(stored, &c->layer, error));
    }
    const vipo_tuner tuner = {.ops = how->ops,
                              .pool = how->pool,
                              .callbacks = how->callbacks,
                              .weight_bytes = floats * sizeof(float),
                              .cache_bytes = processor->largest_cache,
                              .clock = how->clock};
    return vipo_tuner_run(&tuner, stored->list + first, stored->n - first, error);
}

/* With the file locked: looks again, for another process may just have stored what is missing, else measures. Not done:
 * the log has said why. */
static vipo_status measure_and_store(const vipo_choices *choices, const vipo_choosing *how,
                                     const vipo_processor *processor, vipo_choice_file *file,
                                     vipo_choices *stored, bool *done, vipo_error *error)
{
    vipo_error why = {0};
    vipo_choices_free(stored);
    /* First, for a network file system then looks at the folder anew, too. */
    vipo_status status = vipo_output_check(file->path, &why);
    VIPO_TRY(load(file, how, VIPO_LOG_WARNING, stored, error));
    const int missing = count_missing(choices, how->ops, stored);
    *done = missing == 0;
    if (*done) return VIPO_OK;
    const double start = vipo_clock_seconds();
    if (status == VIPO_OK) {
        VIPO_TRY(measure(choices, how, processor, stored, error));
        status = vipo_choice_file_store(file, stored, &why);
    }
    if (is_fatal(status)) return vipo_fail(error, status, "%s", why.message);
    *done = status == VIPO_OK;
    if (*done)
        vipo_log(how->callbacks, VIPO_LOG_INFO, "methods of %d layer%s measured in %.2f s, stored in %s",
                 missing, missing == 1 ? "" : "s", vipo_clock_seconds() - start, file->path);
    else
        log_fixed(how, &why);
    return VIPO_OK;
}

static vipo_status make(vipo_choices *choices, const vipo_choosing *how, const vipo_processor *processor,
                        vipo_choice_file *file, vipo_choices *stored, vipo_error *error)
{
    const bool may_measure = how->mode == VIPO_CHOOSE_MEASURE;
    VIPO_TRY(load(file, how, VIPO_LOG_DEBUG, stored, error));
    bool done = count_missing(choices, how->ops, stored) == 0;
    if (!done && may_measure) {
        vipo_error why = {0};
        const double wait = how->wait > 0 ? how->wait : usual_wait;
        const vipo_status status = vipo_choice_file_lock(file, how->callbacks, wait, &why);
        if (is_fatal(status)) return vipo_fail(error, status, "%s", why.message);
        if (status == VIPO_OK)
            VIPO_TRY(measure_and_store(choices, how, processor, file, stored, &done, error));
        else
            log_fixed(how, &why);
    }
    if (done)
        take_stored(choices, how->ops, stored);
    else
        take_fixed(choices, how->ops, may_measure ? VIPO_CHOICES_FIXED : VIPO_CHOICES_UNTUNED);
    return VIPO_OK;
}

vipo_status vipo_choices_make(vipo_choices *choices, const vipo_choosing *how, vipo_error *error)
{
    vipo_choices stored = {0};
    take_fixed(choices, how->ops, VIPO_CHOICES_FIXED);
    if (how->mode == VIPO_CHOOSE_FIXED || count_missing(choices, how->ops, &stored) == 0) return VIPO_OK;
    char *folder;
    vipo_error why = {0};
    vipo_status status = vipo_cache_folder_find(&folder, how->cache, &why);
    if (status == VIPO_UNSUPPORTED) {
        log_fixed(how, &why);
        return VIPO_OK;
    }
    if (status != VIPO_OK) return vipo_fail(error, status, "%s", why.message);
    vipo_processor processor;
    vipo_choice_file file;
    vipo_processor_find(&processor);
    status = vipo_choice_file_open(&file, folder, &processor, how->ops,
                                   how->pool ? vipo_pool_threads(how->pool) : vipo_core_count(), error);
    free(folder);
    if (status != VIPO_OK) return status;
    status = make(choices, how, &processor, &file, &stored, error);
    vipo_choices_free(&stored);
    vipo_choice_file_close(&file);
    return status;
}
