/* From flow, depth and a mask to rigid motions: AVDC's get_transforms (AVDC_experiments), and a form of it that does not
 * trip over the silhouette. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "policy/point_sampler.h"
#include "policy/ransac.h"
#include "policy/rigid_motion.h"
#include "policy/subgoals.h"

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
    if (o->samples < 2 || o->samples > 100000)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d samples, expected 2..100000", o->samples);
    if (o->tries < 1 || o->tries > 100000)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d tries, expected 1..100000", o->tries);
    if (!(o->threshold > 0 && isfinite(o->threshold)))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "threshold %g, expected pixels above 0", o->threshold);
    if (o->restarts < 0 || o->restarts > 1024)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%d restarts, expected 0..1024", o->restarts);
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

static vipo_status check_request(const vipo_motion_request *r, vipo_error *error)
{
    if (!r->depth || !r->matrix || !r->mask || !r->flow)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "depth, camera matrix, mask and flow are needed");
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

/* ---- one frame ------------------------------------------------------------------------------------------ */

/* The points that are followed, and where the frame at hand shows them. */
struct chain {
    const vipo_motion_options *options;
    vipo_projection camera;
    vipo_draw_source source;
    int height, width;
    double *uv, *to, *points; /* [n][2], [n][2], [n][3] */
    int n;
    bool *inside;    /* [samples] */
    int32_t *pairs;  /* [tries][2] */
    double *scratch; /* [samples] */
};

static vipo_field frame_of(const vipo_array *flow, int k)
{
    const size_t size = flow->shape[1] * flow->shape[2] * 2;
    return (vipo_field){flow->data + (size_t)k * size, (int)flow->shape[1], (int)flow->shape[2], 2};
}

/* Keeps the points that are `inside`. */
static void compact(struct chain *c)
{
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        if (!c->inside[i]) continue;
        memmove(c->uv + 2 * kept, c->uv + 2 * i, 2 * sizeof *c->uv);
        memmove(c->to + 2 * kept, c->to + 2 * i, 2 * sizeof *c->to);
        memmove(c->points + 3 * kept, c->points + 3 * i, 3 * sizeof *c->points);
        kept++;
    }
    c->n = kept;
}

/* AVDC's: what leaves the picture is held at its edge, a flow that cannot be read fails. */
static vipo_status warp_strict(struct chain *c, const vipo_field *flow, vipo_error *error)
{
    const double last[2] = {c->width - 2, c->height - 2};
    for (int i = 0; i < c->n; i++) {
        double moved[2];
        if (!vipo_field_read_strict(flow, c->uv + 2 * i, moved))
            return vipo_fail(
                error, VIPO_INVALID_ARGUMENT,
                "flow %d: point %d at (%.3f, %.3f) is outside of %dx%d, where AVDC's sampling fails; "
                "'robust' does not",
                c->source.frame, i, c->uv[2 * i], c->uv[2 * i + 1], c->width, c->height);
        for (int k = 0; k < 2; k++) c->to[2 * i + k] = fmin(fmax(c->uv[2 * i + k] + moved[k], 0), last[k]);
    }
    return VIPO_OK;
}

static bool in_picture(const struct chain *c, const double uv[2])
{
    return uv[0] >= 0 && uv[0] <= c->width - 1 && uv[1] >= 0 && uv[1] <= c->height - 1;
}

/* Drops points that leave the picture or that the backward flow does not bring back. */
static void warp_robust(struct chain *c, const vipo_field *flow, const vipo_field *backward)
{
    const double most = c->options->round_trip;
    for (int i = 0; i < c->n; i++) {
        const double *const uv = c->uv + 2 * i;
        double *const to = c->to + 2 * i, moved[2];
        c->inside[i] = in_picture(c, uv);
        if (!c->inside[i]) continue;
        vipo_field_read_clamped(flow, uv, moved);
        for (int k = 0; k < 2; k++) to[k] = uv[k] + moved[k];
        c->inside[i] = in_picture(c, to);
        if (!c->inside[i] || !backward || most <= 0) continue;
        vipo_field_read_clamped(backward, to, moved);
        c->inside[i] = hypot(to[0] + moved[0] - uv[0], to[1] + moved[1] - uv[1]) <= most;
    }
    compact(c);
}

static vipo_status fit(struct chain *c, vipo_rigid_fit *out, vipo_error *error)
{
    const vipo_matches matches = {&c->camera, c->points, c->to, c->n};
    if (c->options->fit == VIPO_MOTION_LM) {
        vipo_rigid_fit_lm(&matches, out);
    } else {
        const vipo_start_source starts = {&c->source, vipo_draw_starts};
        VIPO_TRY(vipo_rigid_fit_reference(&matches, c->options->restarts, &starts, out, error));
    }
    if (!isfinite(out->loss))
        return vipo_fail(error, VIPO_NUMERIC, "frame %d: the rigid fit of %d points has no finite loss",
                         c->source.frame, c->n);
    return VIPO_OK;
}

/* From frame k to the next; center is moved along. *enough false: the plan ends before this step. */
static vipo_status step(struct chain *c, const vipo_motion_request *request, int k, double center[3],
                        vipo_motion_step *out, bool *enough, vipo_error *error)
{
    const bool robust = c->options->sampling == VIPO_MOTION_ROBUST;
    const vipo_field flow = frame_of(request->flow, k);
    vipo_rigid_fit found;
    c->source.frame = k;
    vipo_project(&c->camera, center, out->center_uv);
    if (robust) {
        const vipo_field backward = request->backward ? frame_of(request->backward, k) : flow;
        warp_robust(c, &flow, request->backward ? &backward : NULL);
    } else {
        VIPO_TRY(warp_strict(c, &flow, error));
    }
    *enough = c->n >= (robust ? c->options->min_points : 2);
    if (*enough) {
        VIPO_TRY(vipo_draw_pairs(&c->source, c->n, c->options->tries, c->pairs, error));
        vipo_ransac(c->uv, c->to, c->n, out->center_uv, c->pairs, c->options->tries, c->options->threshold,
                    c->inside, NULL);
        compact(c);
        *enough = c->n >= (robust ? c->options->min_points : 1);
    }
    if (!*enough && robust) return VIPO_OK;
    if (!*enough)
        return vipo_fail(error, VIPO_NUMERIC,
                         "frame %d: %d points are left, AVDC's sampling fails; 'robust' ends "
                         "the plan",
                         k, c->n);
    VIPO_TRY(fit(c, &found, error));
    memcpy(out->motion, found.motion, sizeof out->motion);
    vipo_rigid_to_parameters(found.motion, out->parameters);
    out->points = c->n;
    out->iterations = found.iterations;
    out->loss = found.loss;
    vipo_rigid_move(found.motion, center, center);
    for (int i = 0; i < c->n; i++) {
        vipo_rigid_move(found.motion, c->points + 3 * i, c->points + 3 * i);
        vipo_project(&c->camera, c->points + 3 * i, c->uv + 2 * i);
    }
    return VIPO_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static vipo_status follow(struct chain *c, const vipo_motion_request *request, vipo_motion *out,
                          vipo_error *error)
{
    const int frames = (int)request->flow->shape[0];
    double center[3];
    memcpy(center, out->grasp, sizeof center);
    for (int k = 0; k < frames; k++) {
        bool enough;
        VIPO_TRY(step(c, request, k, center, &out->steps[k], &enough, error));
        if (!enough) {
            out->end = VIPO_MOTION_FEW_POINTS;
            break;
        }
        out->n_steps++;
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
    const size_t frames = request->flow->shape[0], n = (size_t)o->samples;
    const vipo_field depth = {request->depth->data, c->height, c->width, 1};
    const vipo_sampler_rule rule = o->sampling == VIPO_MOTION_AVDC ? VIPO_SAMPLE_STRICT : VIPO_SAMPLE_EVEN;
    out->steps = calloc(frames, sizeof *out->steps);
    out->subgoals = calloc(frames + 1, sizeof *out->subgoals);
    c->inside = malloc(n * sizeof *c->inside);
    c->pairs = malloc(2 * (size_t)o->tries * sizeof *c->pairs);
    c->scratch = malloc(n * sizeof *c->scratch);
    c->to = malloc(2 * n * sizeof *c->to);
    if (!out->steps || !out->subgoals || !c->inside || !c->pairs || !c->scratch || !c->to)
        return vipo_fail_memory(error, frames * sizeof *out->steps + n * 4 * sizeof(double), "motions");
    VIPO_TRY(vipo_samples_draw(request->mask, &depth, &c->camera, rule, o->depth_jump, o->samples, &c->source,
                               samples, error));
    out->samples = samples->n;
    if (samples->n == 0) {
        out->end = VIPO_MOTION_NOT_SEEN;
        return VIPO_OK;
    }
    vipo_samples_grasp(samples, &c->camera, c->scratch, out->grasp);
    c->uv = samples->uv;
    c->points = samples->points;
    c->n = samples->n;
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
    VIPO_TRY(check_request(request, error));
    VIPO_TRY(vipo_projection_open(&c.camera, request->matrix, error));
    c.camera.flipped_depth = request->positive_depth;
    c.source = (vipo_draw_source){.recorded = options->draws,
                                  .seed = options->seed,
                                  .episode = options->episode,
                                  .plan = options->plan};
    c.height = (int)request->depth->shape[0];
    c.width = (int)request->depth->shape[1];
    const vipo_status status = solve(&c, &samples, request, out, error);
    vipo_samples_free(&samples);
    free(c.inside);
    free(c.pairs);
    free(c.scratch);
    free(c.to);
    if (status != VIPO_OK)
        vipo_motion_free(out);
    else
        out->seconds = vipo_clock_seconds() - start;
    return status;
}
