/* AVDC's navigation in iTHOR: how the scene moves before the camera, and which way that turns it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "policy/point_sampler.h"
#include "policy/tracks.h"

static const char *const actions_known[] = {"MoveAhead", "RotateLeft", "RotateRight", "Done"};

const char *vipo_navigation_action_name(int i)
{
    return i >= 0 && (size_t)i < sizeof actions_known / sizeof *actions_known ? actions_known[i] : NULL;
}

void vipo_navigation_default_options(vipo_navigation_options *options)
{
    *options = (vipo_navigation_options){
        .samples = 1000, .restarts = 8, .moving = 1, .border = 4, .min_points = 100};
}

static vipo_status check_options(const vipo_navigation_options *o, vipo_error *error)
{
    VIPO_TRY(vipo_motion_check_counts(o->samples, o->restarts, error));
    if (!(o->moving >= 0))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "motion of %g, expected pixels, 0 or more", o->moving);
    if (o->border < 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "border of %d, expected pixels, 0 or more", o->border);
    if (o->min_points < 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "at least %d points, expected 1 or more",
                         o->min_points);
    return VIPO_OK;
}

struct walk {
    const vipo_navigation_options *options;
    vipo_projection camera;
    vipo_draw_source source;
    int height, width;
    vipo_tracks tracks;
};

/* Keeps the points that are away from the border in at[n][2]; true if they are enough. */
static bool keep_central(struct walk *w, const double *at)
{
    const int border = w->options->border;
    for (int i = 0; i < w->tracks.n; i++) {
        const double u = at[2 * i], v = at[2 * i + 1];
        w->tracks.inside[i] = u >= border && u < w->width - border && v >= border && v < w->height - border;
    }
    vipo_tracks_keep(&w->tracks);
    return w->tracks.n >= w->options->min_points;
}

static vipo_status step(struct walk *w, const vipo_array *flows, int k, vipo_motion_step *out, bool *enough,
                        vipo_error *error)
{
    const vipo_field flow = vipo_flow_frame(flows, k);
    vipo_rigid_fit found;
    w->source.frame = k;
    for (int i = 0; i < w->tracks.n; i++) {
        double *const to = w->tracks.to + 2 * i;
        vipo_field_read_clamped(&flow, w->tracks.uv + 2 * i, to);
        for (int axis = 0; axis < 2; axis++) to[axis] += w->tracks.uv[2 * i + axis];
    }
    *enough = keep_central(w, w->tracks.to);
    if (!*enough) return VIPO_OK;
    VIPO_TRY(vipo_tracks_fit(&w->tracks, &w->camera, w->options->fit, w->options->restarts, &w->source,
                             &found, error));
    memcpy(out->motion, found.motion, sizeof out->motion);
    vipo_rigid_to_parameters(found.motion, out->parameters);
    out->points = w->tracks.n;
    out->iterations = found.iterations;
    out->loss = found.loss;
    vipo_tracks_move(&w->tracks, &w->camera, found.motion);
    *enough = keep_central(w, w->tracks.uv);
    return VIPO_OK;
}

/* 255 where the first flow moves. */
static void mark_moving(const vipo_array *flow, double least, uint8_t *mask)
{
    const size_t n = flow->shape[1] * flow->shape[2];
    for (size_t i = 0; i < n; i++)
        mask[i] = hypot((double)flow->data[2 * i], (double)flow->data[2 * i + 1]) > least ? 255 : 0;
}

static vipo_status solve(struct walk *w, const vipo_motion_request *request, uint8_t *mask,
                         vipo_samples *samples, vipo_motion *out, vipo_error *error)
{
    static const double ahead[3] = {0, 0, 1};
    const int frames = (int)request->flow->shape[0];
    const vipo_field depth = {request->depth->data, w->height, w->width, 1};
    out->steps = calloc((size_t)frames, sizeof *out->steps);
    out->subgoals = calloc((size_t)frames + 1, sizeof *out->subgoals);
    if (!out->steps || !out->subgoals)
        return vipo_fail_memory(error, (size_t)frames * sizeof *out->steps, "motions");
    mark_moving(request->flow, w->options->moving, mask);
    VIPO_TRY(vipo_samples_draw(mask, &depth, &w->camera, VIPO_SAMPLE_CLAMPED, 0, w->options->samples,
                               &w->source, samples, error));
    out->samples = samples->n;
    VIPO_TRY(vipo_tracks_open(&w->tracks, samples->points, samples->uv, samples->n, error));
    memcpy(out->subgoals[0], ahead, sizeof ahead);
    for (int k = 0; k < frames && out->end == VIPO_MOTION_COMPLETE; k++) {
        bool enough;
        VIPO_TRY(step(w, request->flow, k, &out->steps[k], &enough, error));
        if (!enough) {
            out->end = VIPO_MOTION_FEW_POINTS;
            continue;
        }
        vipo_rigid_move(out->steps[k].motion, ahead, out->subgoals[k + 1]);
        out->n_steps++;
    }
    return VIPO_OK;
}

vipo_status vipo_navigation_solve(const vipo_motion_request *request, const vipo_navigation_options *options,
                                  vipo_motion *out, vipo_error *error)
{
    const double start = vipo_clock_seconds();
    struct walk w = {.options = options};
    vipo_samples samples = {0};
    memset(out, 0, sizeof *out);
    VIPO_TRY(check_options(options, error));
    VIPO_TRY(vipo_motion_check_request(request, false, error));
    VIPO_TRY(vipo_projection_open(&w.camera, request->matrix, error));
    w.camera.flipped_depth = request->positive_depth;
    w.source = (vipo_draw_source){.recorded = options->draws,
                                  .seed = options->seed,
                                  .episode = options->episode,
                                  .plan = options->plan};
    w.height = (int)request->depth->shape[0];
    w.width = (int)request->depth->shape[1];
    uint8_t *const mask = malloc((size_t)w.height * (size_t)w.width);
    if (!mask) return vipo_fail_memory(error, (size_t)w.height * (size_t)w.width, "a mask");
    const vipo_status status = solve(&w, request, mask, &samples, out, error);
    vipo_tracks_close(&w.tracks);
    vipo_samples_free(&samples);
    free(mask);
    if (status != VIPO_OK)
        vipo_motion_free(out);
    else
        out->seconds = vipo_clock_seconds() - start;
    return status;
}

/* As numpy.allclose(q, (0, 0, 1), atol=1e-3). */
static bool at_rest(const double q[3])
{
    return fabs(q[0]) <= 1e-3 && fabs(q[1]) <= 1e-3 && fabs(q[2] - 1) <= 1e-3 + 1e-5;
}

int vipo_navigation_actions(const vipo_motion *motion, vipo_navigation_action *actions)
{
    for (int k = 0; k < motion->n_steps; k++) {
        const double *const q = motion->subgoals[k + 1]; /* turning right moves what is ahead to the left */
        actions[k] = at_rest(q)    ? VIPO_NAVIGATION_DONE
                     : q[0] > 0.2  ? VIPO_ROTATE_LEFT
                     : q[0] < -0.2 ? VIPO_ROTATE_RIGHT
                                   : VIPO_MOVE_AHEAD;
        if (actions[k] == VIPO_NAVIGATION_DONE) return k + 1;
    }
    return motion->n_steps;
}
