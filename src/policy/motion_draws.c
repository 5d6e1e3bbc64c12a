#include "policy/motion_draws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "weights/safetensors.h"

struct vipo_motion_draws {
    char *path;
    int32_t *index; /* [samples] */
    double *jitter; /* [samples][2] */
    int32_t *pairs; /* [frames][tries][2] */
    double *starts; /* [n_starts][6] */
    int samples, frames, tries, n_starts;
};

/* Purposes of the counter's streams (core/rng.h). */
enum { PURPOSE_INDEX = 0xf00, PURPOSE_JITTER, PURPOSE_PAIRS, PURPOSE_STARTS };
enum { MOST = 1 << 24 }; /* elements of a recorded tensor */

/* ---- recorded ------------------------------------------------------------------------------------------- */

/* Tensor `name` of rank `rank` whose last dimensions are `last` (0: any), NULL if there is none; the first one's size into
 * *first. */
static vipo_status find(const vipo_safetensors *file, const char *path, const char *name, int rank,
                        size_t last, const vipo_tensor_view **out, vipo_error *error)
{
    *out = vipo_safetensors_find(file, name);
    if (!*out) return VIPO_OK;
    if ((*out)->rank != rank || (last && (*out)->shape[rank - 1] != last) || (*out)->count == 0 ||
        (*out)->count > MOST)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %s: expected shape [%s%s%.0zu], not empty", path,
                         name, rank > 2 ? "n, " : "", rank > 1 ? "n, " : "n", last);
    return VIPO_OK;
}

static vipo_status read_doubles(const vipo_tensor_view *view, const char *path, double **out,
                                vipo_error *error)
{
    *out = malloc(view->count * sizeof **out);
    if (!*out) return vipo_fail_memory(error, view->count * sizeof **out, "recorded draws");
    VIPO_TRY(vipo_tensor_to_double(view, path, *out, error));
    for (size_t i = 0; i < view->count; i++)
        if (!isfinite((*out)[i]))
            return vipo_fail(error, VIPO_NUMERIC, "%s: tensor %s: element %zu is not finite", path,
                             view->name, i);
    return VIPO_OK;
}

static vipo_status read_indices(const vipo_tensor_view *view, const char *path, int32_t **out,
                                vipo_error *error)
{
    *out = malloc(view->count * sizeof **out);
    if (!*out) return vipo_fail_memory(error, view->count * sizeof **out, "recorded draws");
    for (size_t i = 0; i < view->count; i++) {
        int64_t value = 0;
        if (view->dtype == VIPO_DTYPE_I64) {
            memcpy(&value, (const char *)view->data + 8 * i, 8);
        } else if (view->dtype == VIPO_DTYPE_I32) {
            int32_t narrow;
            memcpy(&narrow, (const char *)view->data + 4 * i, 4);
            value = narrow;
        } else {
            return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %s: expected I32 or I64, found %s", path,
                             view->name, vipo_dtype_name(view->dtype));
        }
        if (value < 0 || value > INT32_MAX)
            return vipo_fail(error, VIPO_FORMAT, "%s: tensor %s: element %zu is %lld, expected an index",
                             path, view->name, i, (long long)value);
        (*out)[i] = (int32_t)value;
    }
    return VIPO_OK;
}

static vipo_status read_draws(vipo_motion_draws *draws, const vipo_safetensors *file, vipo_error *error)
{
    const char *const path = draws->path;
    const vipo_tensor_view *index, *jitter, *pairs, *starts;
    VIPO_TRY(find(file, path, "draw.sample_index", 1, 0, &index, error));
    VIPO_TRY(find(file, path, "draw.sample_jitter", 2, 2, &jitter, error));
    VIPO_TRY(find(file, path, "draw.ransac_pairs", 3, 2, &pairs, error));
    VIPO_TRY(find(file, path, "draw.start_x0", 2, 6, &starts, error));
    if (!index || !jitter)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor draw.sample_%s is missing", path,
                         index ? "jitter" : "index");
    if (index->shape[0] != jitter->shape[0])
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: %zu draws in draw.sample_index, %zu in draw.sample_jitter", path,
                         index->shape[0], jitter->shape[0]);
    draws->samples = (int)index->shape[0];
    VIPO_TRY(read_indices(index, path, &draws->index, error));
    VIPO_TRY(read_doubles(jitter, path, &draws->jitter, error));
    if (pairs) {
        draws->frames = (int)pairs->shape[0];
        draws->tries = (int)pairs->shape[1];
        VIPO_TRY(read_indices(pairs, path, &draws->pairs, error));
    }
    if (starts) {
        draws->n_starts = (int)starts->shape[0];
        VIPO_TRY(read_doubles(starts, path, &draws->starts, error));
    }
    return VIPO_OK;
}

vipo_status vipo_motion_draws_open(vipo_motion_draws **out, const char *path, vipo_error *error)
{
    vipo_safetensors *file = NULL;
    vipo_status status;
    *out = NULL;
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    vipo_motion_draws *draws = calloc(1, sizeof *draws);
    if (draws) draws->path = strdup(path);
    if (!draws || !draws->path)
        status = vipo_fail_memory(error, sizeof *draws, "recorded draws");
    else
        status = read_draws(draws, file, error);
    vipo_safetensors_close(&file);
    if (status != VIPO_OK)
        vipo_motion_draws_close(&draws);
    else
        *out = draws;
    return status;
}

void vipo_motion_draws_close(vipo_motion_draws **draws)
{
    if (!draws || !*draws) return;
    free((*draws)->path);
    free((*draws)->index);
    free((*draws)->jitter);
    free((*draws)->pairs);
    free((*draws)->starts);
    free(*draws);
    *draws = NULL;
}

/* ---- the counter ---------------------------------------------------------------------------------------- */

static vipo_rng_stream stream(const vipo_draw_source *source, uint32_t purpose)
{
    return (vipo_rng_stream){.episode = source->episode,
                             .plan = source->plan,
                             .sample = (uint32_t)source->frame,
                             .purpose = purpose};
}

/* An index below n of 64 random bits; the bias is n / 2^32. */
static int32_t below(uint64_t bits, int n)
{
    return (int32_t)((bits >> 32) * (uint64_t)n >> 32);
}

/* ---- both ----------------------------------------------------------------------------------------------- */

vipo_status vipo_draw_samples(const vipo_draw_source *source, int pixels, int n, int32_t *index,
                              double *jitter, vipo_error *error)
{
    const vipo_motion_draws *const r = source->recorded;
    if (r) {
        if (r->samples != n)
            return vipo_fail(error, VIPO_MISMATCH, "%s: draw.sample_index has %d draws, expected %d", r->path,
                             r->samples, n);
        for (int i = 0; i < n; i++)
            if (r->index[i] >= pixels)
                return vipo_fail(error, VIPO_MISMATCH,
                                 "%s: draw.sample_index: element %d is %d, expected one of the %d pixels",
                                 r->path, i, (int)r->index[i], pixels);
        memcpy(index, r->index, (size_t)n * sizeof *index);
        memcpy(jitter, r->jitter, 2 * (size_t)n * sizeof *jitter);
        return VIPO_OK;
    }
    const vipo_rng_stream indices = stream(source, PURPOSE_INDEX), jitters = stream(source, PURPOSE_JITTER);
    for (int i = 0; i < n; i++) {
        uint64_t bits[3];
        vipo_rng_bits(source->seed, &indices, (uint64_t)i, 1, bits);
        vipo_rng_bits(source->seed, &jitters, 2 * (uint64_t)i, 2, bits + 1);
        index[i] = below(bits[0], pixels);
        for (int k = 0; k < 2; k++) jitter[2 * i + k] = ((double)(bits[1 + k] >> 12) + 0.5) * 0x1p-52 - 0.5;
    }
    return VIPO_OK;
}

vipo_status vipo_draw_pairs(const vipo_draw_source *source, int n, int tries, int32_t *pairs,
                            vipo_error *error)
{
    const vipo_motion_draws *const r = source->recorded;
    if (r) {
        if (!r->pairs || source->frame >= r->frames || r->tries != tries)
            return vipo_fail(
                error, VIPO_MISMATCH,
                "%s: draw.ransac_pairs: expected %d pairs for each of at least %d frames, found %d for "
                "%d",
                r->path, tries, source->frame + 1, r->tries, r->frames);
        memcpy(pairs, r->pairs + (size_t)source->frame * (size_t)tries * 2,
               (size_t)tries * 2 * sizeof *pairs);
        for (int i = 0; i < 2 * tries; i++)
            if (pairs[i] >= n || (i % 2 && pairs[i] == pairs[i - 1]))
                return vipo_fail(
                    error, VIPO_MISMATCH,
                    "%s: draw.ransac_pairs: frame %d, pair %d is (%d, %d), expected two of the %d "
                    "points",
                    r->path, source->frame, i / 2, (int)pairs[i & ~1], (int)pairs[i | 1], n);
        return VIPO_OK;
    }
    const vipo_rng_stream s = stream(source, PURPOSE_PAIRS);
    for (int i = 0; i < tries; i++) {
        uint64_t bits[2];
        vipo_rng_bits(source->seed, &s, 2 * (uint64_t)i, 2, bits);
        pairs[2 * i] = below(bits[0], n);
        pairs[2 * i + 1] = below(bits[1], n - 1);
        pairs[2 * i + 1] += pairs[2 * i + 1] >= pairs[2 * i];
    }
    return VIPO_OK;
}

vipo_status vipo_draw_starts(void *source, int n, double *x0, vipo_error *error)
{
    vipo_draw_source *const s = source;
    const vipo_motion_draws *const r = s->recorded;
    if (r) {
        if (r->n_starts - s->starts_used < n)
            return vipo_fail(error, VIPO_MISMATCH,
                             "%s: draw.start_x0 has %d starts, frame %d needs %d more after %d", r->path,
                             r->n_starts, s->frame, n, s->starts_used);
        memcpy(x0, r->starts + 6 * (size_t)s->starts_used, 6 * (size_t)n * sizeof *x0);
        s->starts_used += n;
        return VIPO_OK;
    }
    const vipo_rng_stream normals = stream(s, PURPOSE_STARTS);
    vipo_rng_normal_double(s->seed, &normals, 0, 6 * (size_t)n, x0);
    return VIPO_OK;
}
