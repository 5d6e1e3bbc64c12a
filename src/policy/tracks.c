#include "policy/tracks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

vipo_status vipo_tracks_open(vipo_tracks *out, const double *points, const double *uv, int n,
                             vipo_error *error)
{
    const size_t count = (size_t)n;
    *out = (vipo_tracks){.n = n};
    out->points = malloc(3 * count * sizeof *out->points);
    out->uv = malloc(2 * count * sizeof *out->uv);
    out->to = malloc(2 * count * sizeof *out->to);
    out->inside = malloc(count * sizeof *out->inside);
    if (!out->points || !out->uv || !out->to || !out->inside) {
        vipo_tracks_close(out);
        return vipo_fail_memory(error, count * (7 * sizeof(double) + sizeof(bool)), "tracks");
    }
    memcpy(out->points, points, 3 * count * sizeof *points);
    memcpy(out->uv, uv, 2 * count * sizeof *uv);
    for (int i = 0; i < n; i++) out->inside[i] = true;
    return VIPO_OK;
}

void vipo_tracks_close(vipo_tracks *tracks)
{
    free(tracks->points);
    free(tracks->uv);
    free(tracks->to);
    free(tracks->inside);
    memset(tracks, 0, sizeof *tracks);
}

void vipo_tracks_add(vipo_tracks *out, const vipo_tracks *from, int i)
{
    memmove(out->uv + 2 * out->n, from->uv + 2 * i, 2 * sizeof *out->uv);
    memmove(out->to + 2 * out->n, from->to + 2 * i, 2 * sizeof *out->to);
    memmove(out->points + 3 * out->n, from->points + 3 * i, 3 * sizeof *out->points);
    out->n++;
}

void vipo_tracks_select(const vipo_tracks *tracks, vipo_tracks *out)
{
    const int n = tracks->n;
    out->n = 0;
    for (int i = 0; i < n; i++)
        if (tracks->inside[i]) vipo_tracks_add(out, tracks, i);
}

void vipo_tracks_keep(vipo_tracks *tracks)
{
    vipo_tracks_select(tracks, tracks);
}

void vipo_tracks_move(vipo_tracks *tracks, const vipo_projection *camera, const double motion[16])
{
    for (int i = 0; i < tracks->n; i++) {
        vipo_rigid_move(motion, tracks->points + 3 * i, tracks->points + 3 * i);
        vipo_project(camera, tracks->points + 3 * i, tracks->uv + 2 * i);
    }
}

vipo_status vipo_tracks_fit(const vipo_tracks *tracks, const vipo_projection *camera, vipo_motion_fit fit,
                            int restarts, vipo_draw_source *source, vipo_rigid_fit *out, vipo_error *error)
{
    const vipo_matches matches = {camera, tracks->points, tracks->to, tracks->n};
    if (fit == VIPO_MOTION_LM) {
        vipo_rigid_fit_lm(&matches, out);
    } else {
        const vipo_start_source starts = {source, vipo_draw_starts};
        VIPO_TRY(vipo_rigid_fit_reference(&matches, restarts, &starts, out, error));
    }
    if (!isfinite(out->loss))
        return vipo_fail(error, VIPO_NUMERIC, "frame %d: the rigid fit of %d points has no finite loss",
                         source->frame, tracks->n);
    return VIPO_OK;
}

vipo_field vipo_flow_frame(const vipo_array *flow, int k)
{
    const size_t size = flow->shape[1] * flow->shape[2] * 2;
    return (vipo_field){flow->data + (size_t)k * size, (int)flow->shape[1], (int)flow->shape[2], 2};
}

/* ---- checking what comes in ------------------------------------------------------------------------------- */

vipo_status vipo_motion_check_counts(int samples, int restarts, vipo_error *error)
{
    if (samples < 2 || samples > 100000)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d samples, expected 2..100000", samples);
    if (restarts < 0 || restarts > 1024)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d restarts, expected 0..1024", restarts);
    return VIPO_OK;
}

/* A flow of any number of frames that fits the depth map. */
static vipo_status check_flow(const vipo_array *flow, const vipo_array *depth, const char *what,
                              vipo_error *error)
{
    if (!flow->data || flow->rank != 4 || flow->shape[3] != 2)
        return vipo_fail(error, VIPO_MISMATCH, "%s: expected shape [frames, H, W, 2], found %d dimensions",
                         what, flow->rank);
    if (flow->shape[1] != depth->shape[0] || flow->shape[2] != depth->shape[1])
        return vipo_fail(error, VIPO_MISMATCH, "%s: %zux%zu pixels, the depth has %zux%zu (height x width)",
                         what, flow->shape[1], flow->shape[2], depth->shape[0], depth->shape[1]);
    if (flow->shape[0] > 10000)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: %zu frames, at most 10000", what, flow->shape[0]);
    const size_t n = vipo_array_size(flow);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(flow->data[i]))
            return vipo_fail(error, VIPO_NUMERIC, "%s: element %zu is not finite", what, i);
    return VIPO_OK;
}

vipo_status vipo_motion_check_request(const vipo_motion_request *r, bool with_mask, vipo_error *error)
{
    if (!r->depth || !r->matrix || !r->flow || (with_mask && !r->mask))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "depth, camera matrix%s and flow are needed",
                         with_mask ? ", mask" : "");
    if (!r->depth->data || r->depth->rank != 2 || r->depth->shape[0] < 2 || r->depth->shape[1] < 2)
        return vipo_fail(error, VIPO_MISMATCH,
                         "depth: expected shape [H, W] of at least 2x2, found %d dimensions", r->depth->rank);
    if (r->depth->shape[0] > 16384 || r->depth->shape[1] > 16384)
        return vipo_fail(error, VIPO_UNSUPPORTED, "depth: %zux%zu pixels, at most 16384x16384",
                         r->depth->shape[0], r->depth->shape[1]);
    VIPO_TRY(check_flow(r->flow, r->depth, "flow", error));
    if (!r->backward) return VIPO_OK;
    VIPO_TRY(check_flow(r->backward, r->depth, "backward flow", error));
    if (r->backward->shape[0] != r->flow->shape[0])
        return vipo_fail(error, VIPO_MISMATCH, "backward flow: %zu frames, the flow has %zu",
                         r->backward->shape[0], r->flow->shape[0]);
    return VIPO_OK;
}
