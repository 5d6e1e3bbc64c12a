/* From flow, depth and a mask to rigid motions: AVDC's get_transforms (AVDC_experiments), and a form of it that does not
 * trip over the silhouette. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "policy/point_sampler.h"
#include "policy/ransac.h"
#include "policy/subgoals.h"
#include "policy/tracks.h"

static const char *const samplings[] = {"robust", "avdc"};
static const char *const fits[] = {"lm", "reference"};
static const char *const ends[] = {"complete", "object not seen", "too few points"};
static const char *const modes[] = {"push", "grasp"};
#define NAME_OF(names, i) ((i) >= 0 && (size_t)(i) < sizeof names / sizeof *names ? names[i] : NULL)

const char *vipo_motion_sampling_name(int i)
{
    return NAME_OF(samplings, i);
}
const char *vipo_motion_fit_name(int i)
{
    return NAME_OF(fits, i);
}
const char *vipo_motion_end_name(int i)
{
    return NAME_OF(ends, i);
}
const char *vipo_motion_mode_name(int i)
{
    return NAME_OF(modes, i);
}

void vipo_motion_default_options(vipo_motion_options *options)
{
    *options = (vipo_motion_options){
        .samples = 500,
        .tries = 100,
        .threshold = 0.5,
        .restarts = 50,
        .depth_jump = 0.02,
        .min_points = 6,
        .round_trip = 1,
    };
}

void vipo_motion_free(vipo_motion *motion)
{
    if (!motion) return;
    free(motion->subgoals);
    free(motion->steps);
    memset(motion, 0, sizeof *motion);
}

/* ---- checking ------------------------------------------------------------------------------------------- */

static vipo_status check_options(const vipo_motion_options *o, vipo_error *error)
{
    VIPO_TRY(vipo_motion_check_counts(o->samples, o->restarts, error));
    if (o->tries < 1 || o->tries > 100000)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d tries, expected 1..100000", o->tries);
    if (!(o->threshold > 0 && isfinite(o->threshold)))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threshold %g, expected pixels above 0", o->threshold);
    if (!(o->depth_jump > 0))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "depth jump %g, expected metres above 0",
                         o->depth_jump);
    if (o->min_points < 3)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "at least %d points, expected 3 or more",
                         o->min_points);
    if (!(o->round_trip >= 0))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "round trip %g, expected pixels, 0 or more",
                         o->round_trip);
    if (o->draws && o->sampling != VIPO_MOTION_AVDC)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "recorded draws are of sampling 'avdc', not '%s'",
                         vipo_motion_sampling_name((int)o->sampling));
    return VIPO_OK;
}

/* ---- one frame ------------------------------------------------------------------------------------------ */

struct chain {
    const vipo_motion_options *options;
    vipo_projection camera;
    vipo_draw_source source;
    int height, width;
    vipo_tracks tracks; /* that are followed */
    vipo_tracks chosen; /* robust: those that a motion is fitted to */
    int used;           /* points that the last motion was fitted to */
    double *distances;  /* [2][samples] */
    int32_t *pairs;     /* [tries][2] */
};

/* AVDC's: what leaves the picture is held at its edge, a flow that cannot be read fails. */
static vipo_status warp_strict(struct chain *c, const vipo_field *flow, vipo_error *error)
{
    const double last[2] = {c->width - 2, c->height - 2};
    for (int i = 0; i < c->tracks.n; i++) {
        const double *const uv = c->tracks.uv + 2 * i;
        double moved[2];
        if (!vipo_field_read_strict(flow, uv, moved))
            return vipo_fail(
                error, VIPO_NUMERIC,
                "flow %d: point %d at (%.3f, %.3f) is outside of %dx%d, where AVDC's sampling fails; "
                "'robust' does not",
                c->source.frame, i, uv[0], uv[1], c->width, c->height);
        for (int k = 0; k < 2; k++) c->tracks.to[2 * i + k] = fmin(fmax(uv[k] + moved[k], 0), last[k]);
    }
    return VIPO_OK;
}

static bool in_picture(const struct chain *c, const double uv[2])
{
    return uv[0] >= 0 && uv[0] <= c->width - 1 && uv[1] >= 0 && uv[1] <= c->height - 1;
}

/* Marks the points that stay in the picture and that the backward flow (NULL: there is none) brings back. */
static void warp_robust(struct chain *c, const vipo_field *flow, const vipo_field *backward)
{
    const double most = c->options->round_trip;
    for (int i = 0; i < c->tracks.n; i++) {
        const double *const uv = c->tracks.uv + 2 * i;
        double *const to = c->tracks.to + 2 * i, moved[2];
        bool *const inside = c->tracks.inside + i;
        *inside = in_picture(c, uv);
        if (!*inside) continue;
        vipo_field_read_clamped(flow, uv, moved);
        for (int k = 0; k < 2; k++) to[k] = uv[k] + moved[k];
        *inside = in_picture(c, to);
        if (!*inside || !backward || most <= 0) continue;
        vipo_field_read_clamped(backward, to, moved);
        *inside = hypot(to[0] + moved[0] - uv[0], to[1] + moved[1] - uv[1]) <= most;
    }
}

/* Keeps those of `tracks` that move together in the picture. */
static vipo_status keep_similar(struct chain *c, vipo_tracks *tracks, const double center_uv[2],
                                vipo_error *error)
{
    const vipo_motion_options *const o = c->options;
    VIPO_TRY(vipo_draw_pairs(&c->source, tracks->n, o->tries, c->pairs, error));
    vipo_ransac(tracks->uv, tracks->to, tracks->n, center_uv, c->pairs, o->tries, o->threshold,
                tracks->inside, NULL);
    vipo_tracks_keep(tracks);
    return VIPO_OK;
}

static vipo_status fit(struct chain *c, const vipo_tracks *tracks, vipo_rigid_fit *out, vipo_error *error)
{
    return vipo_tracks_fit(tracks, &c->camera, c->options->fit, c->options->restarts, &c->source, out, error);
}

/* AVDC's: points that do not move with the others are never used again. */
static vipo_status step_avdc(struct chain *c, const vipo_motion_request *request, const double center_uv[2],
                             vipo_rigid_fit *out, vipo_error *error)
{
    const vipo_field flow = vipo_flow_frame(request->flow, c->source.frame);
    VIPO_TRY(warp_strict(c, &flow, error));
    const bool pairs = c->tracks.n >= 2;
    if (pairs) VIPO_TRY(keep_similar(c, &c->tracks, center_uv, error));
    c->used = c->tracks.n;
    if (!pairs || c->used == 0)
        return vipo_fail(
            error, VIPO_NUMERIC,
            "frame %d: %d points move together, where AVDC's sampling fails; 'robust' ends the plan",
            c->source.frame, c->used);
    return fit(c, &c->tracks, out, error);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Chooses, of the points inside, those that `motion` takes to where they should be: nearer than twice the median distance,
 * but not nearer than `least_limit` asks and not further than RANSAC's threshold. Returns how many. */
static int choose_near(struct chain *c, const double motion[16])
{
    static const double least_limit = 0.05;
    vipo_tracks *const t = &c->tracks;
    double *const distances = c->distances, *const sorted = c->distances + t->n;
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        double point[3], uv[2];
        if (!t->inside[i]) continue;
        vipo_rigid_move(motion, t->points + 3 * i, point);
        vipo_project(&c->camera, point, uv);
        distances[i] = hypot(uv[0] - t->to[2 * i], uv[1] - t->to[2 * i + 1]);
        sorted[n++] = distances[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
    const double limit = fmin(c->options->threshold, fmax(least_limit, 2 * sorted[n / 2]));
    c->chosen.n = 0;
    for (int i = 0; i < t->n; i++)
        if (t->inside[i] && distances[i] < limit) vipo_tracks_add(&c->chosen, t, i);
    return c->chosen.n;
}

/* Points are outliers of a frame, not for ever: the rigid motion moves them all. RANSAC's similarity only begins; what the
 * object's own motion explains is chosen anew and fitted again, so that neither parallax nor the soft flow at the
 * silhouette decides. */
static vipo_status step_robust(struct chain *c, const vipo_motion_request *request, const double center_uv[2],
                               vipo_rigid_fit *out, bool *enough, vipo_error *error)
{
    enum { REFITS = 3 };
    const int k = c->source.frame, least = c->options->min_points;
    const vipo_field flow = vipo_flow_frame(request->flow, k);
    const vipo_field backward = request->backward ? vipo_flow_frame(request->backward, k) : flow;
    warp_robust(c, &flow, request->backward ? &backward : NULL);
    vipo_tracks_select(&c->tracks, &c->chosen);
    *enough = c->chosen.n >= least;
    if (!*enough) return VIPO_OK;
    VIPO_TRY(keep_similar(c, &c->chosen, center_uv, error));
    c->used = c->chosen.n;
    *enough = c->used >= least;
    if (!*enough) return VIPO_OK;
    VIPO_TRY(fit(c, &c->chosen, out, error));
    for (int r = 0; r < REFITS && choose_near(c, out->motion) >= least; r++) {
        const int iterations = out->iterations;
        c->used = c->chosen.n;
        VIPO_TRY(fit(c, &c->chosen, out, error));
        out->iterations += iterations;
    }
    return VIPO_OK;
}

/* From frame k to the next; center is moved along. *enough false: the plan ends before this step. */
static vipo_status step(struct chain *c, const vipo_motion_request *request, int k, double center[3],
                        vipo_motion_step *out, bool *enough, vipo_error *error)
{
    vipo_rigid_fit found;
    c->source.frame = k;
    *enough = true;
    vipo_project(&c->camera, center, out->center_uv);
    if (c->options->sampling == VIPO_MOTION_AVDC)
        VIPO_TRY(step_avdc(c, request, out->center_uv, &found, error));
    else
        VIPO_TRY(step_robust(c, request, out->center_uv, &found, enough, error));
    if (!*enough) return VIPO_OK;
    memcpy(out->motion, found.motion, sizeof out->motion);
    vipo_rigid_to_parameters(found.motion, out->parameters);
    out->points = c->used;
    out->iterations = found.iterations;
    out->loss = found.loss;
    vipo_rigid_move(found.motion, center, center);
    vipo_tracks_move(&c->tracks, &c->camera, found.motion);
    return VIPO_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static vipo_status follow(struct chain *c, const vipo_motion_request *request, vipo_motion *out,
                          vipo_error *error)
{
    const int frames = (int)request->flow->shape[0];
    double center[3];
    memcpy(center, out->grasp, sizeof center);
    for (int k = 0; k < frames && out->end == VIPO_MOTION_COMPLETE; k++) {
        bool enough;
        VIPO_TRY(step(c, request, k, center, &out->steps[k], &enough, error));
        if (enough)
            out->n_steps++;
        else
            out->end = VIPO_MOTION_FEW_POINTS;
    }
    vipo_subgoals_chain(out->grasp, out->steps[0].motion, out->n_steps, sizeof *out->steps / sizeof(double),
                        out->subgoals);
    out->mode_known = vipo_subgoals_rise(out->subgoals, out->n_steps + 1,
                                         c->options->sampling == VIPO_MOTION_ROBUST, &out->largest_rise);
    out->mode = out->largest_rise > VIPO_GRASP_RISE ? VIPO_MOTION_GRASP : VIPO_MOTION_PUSH;
    return VIPO_OK;
}

static vipo_status solve(struct chain *c, vipo_samples *samples, const vipo_motion_request *request,
                         vipo_motion *out, vipo_error *error)
{
    const vipo_motion_options *const o = c->options;
    const size_t frames = request->flow->shape[0];
    const vipo_field depth = {request->depth->data, c->height, c->width, 1};
    const vipo_sampler_rule rule = o->sampling == VIPO_MOTION_AVDC ? VIPO_SAMPLE_STRICT : VIPO_SAMPLE_EVEN;
    out->steps = calloc(frames, sizeof *out->steps);
    out->subgoals = calloc(frames + 1, sizeof *out->subgoals);
    c->pairs = malloc(2 * (size_t)o->tries * sizeof *c->pairs);
    c->distances = malloc(2 * (size_t)o->samples * sizeof *c->distances);
    if (!out->steps || !out->subgoals || !c->pairs || !c->distances)
        return vipo_fail_memory(error, frames * sizeof *out->steps + 2 * (size_t)o->tries * sizeof *c->pairs,
                                "motions");
    VIPO_TRY(vipo_samples_draw(request->mask, &depth, &c->camera, rule, o->depth_jump, o->samples, &c->source,
                               samples, error));
    out->samples = samples->n;
    if (samples->n == 0) {
        out->end = VIPO_MOTION_NOT_SEEN;
        return VIPO_OK;
    }
    VIPO_TRY(vipo_tracks_open(&c->tracks, samples->points, samples->uv, samples->n, error));
    VIPO_TRY(vipo_tracks_open(&c->chosen, samples->points, samples->uv, samples->n, error));
    vipo_samples_grasp(samples, &c->camera, c->tracks.to, out->grasp); /* `to` is not in use yet */
    return follow(c, request, out, error);
}

vipo_status vipo_motion_solve(const vipo_motion_request *request, const vipo_motion_options *options,
                              vipo_motion *out, vipo_error *error)
{
    const double start = vipo_clock_seconds();
    struct chain c = {.options = options};
    vipo_samples samples = {0};
    memset(out, 0, sizeof *out);
    VIPO_TRY(check_options(options, error));
    VIPO_TRY(vipo_motion_check_request(request, true, error));
    VIPO_TRY(vipo_projection_open(&c.camera, request->matrix, error));
    c.camera.flipped_depth = request->positive_depth;
    c.source = (vipo_draw_source){.recorded = options->draws,
                                  .seed = options->seed,
                                  .episode = options->episode,
                                  .plan = options->plan};
    c.height = (int)request->depth->shape[0];
    c.width = (int)request->depth->shape[1];
    const vipo_status status = solve(&c, &samples, request, out, error);
    vipo_tracks_close(&c.tracks);
    vipo_tracks_close(&c.chosen);
    vipo_samples_free(&samples);
    free(c.pairs);
    free(c.distances);
    if (status != VIPO_OK)
        vipo_motion_free(out);
    else
        out->seconds = vipo_clock_seconds() - start;
    return status;
}
