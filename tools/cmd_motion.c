/* vipo motion: optical flow, depth and a mask -> grasp point, rigid motions, subgoals; or navigation's actions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "vipo/action.h"

typedef struct motion_options {
    common_options common;
    const char *mask, *depth, *matrix, *draws;
    string_list flow, backward;
    bool median, positive_depth, navigation;
    vipo_motion_options motion;
} motion_options;

#define AT(member) offsetof(motion_options, member)
static const option input_options_table[] = {
    {.name = "flow",
     .letter = 'f',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRINGS,
     .offset = AT(flow),
     .help = "optical flow in pixels (u, v), [n][H][W][2] or [H][W][2]; repeat it for further frames"},
    {.name = "depth",
     .letter = 'd',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(depth),
     .required = true,
     .help = "depth of the first frame, metres, [H][W]; negative for a camera that looks along -z"},
    {.name = "cmat",
     .letter = 'c',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(matrix),
     .required = true,
     .help = "camera matrix [3][4]: (u, v, 1) z = matrix (x, y, z, 1), z the depth"},
    {.name = "mask",
     .letter = 'm',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(mask),
     .endings = "npy png",
     .help = "the object in the first frame, [H][W], or a picture: where it is not 0"},
    {.name = "backward",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRINGS,
     .offset = AT(backward),
     .help = "flow back from each frame to the one before; points that it does not bring back are dropped"},
    {.name = "median",
     .kind = OPTION_FLAG,
     .offset = AT(median),
     .help = "AVDC's 3x3 median filter on the mask first"},
    {.name = "positive-depth",
     .kind = OPTION_FLAG,
     .offset = AT(positive_depth),
     .help = "the depth is positive although the matrix wants it negative: files of vipo sim render"},
    {0},
};
static const option method_options[] = {
    {.name = "sampling",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(motion.sampling),
     .choice = vipo_motion_sampling_name,
     .default_text = "robust, avdc with --draws",
     .help = "points to follow: robust, not where the depth jumps; avdc, failing where AVDC's code fails"},
    {.name = "fit",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(motion.fit),
     .choice = vipo_motion_fit_name,
     .help = "rigid fit: Levenberg-Marquardt, or AVDC's BFGS with restarts"},
    {.name = "draws",
     .placeholder = "FILE.safetensors",
     .kind = OPTION_STRING,
     .offset = AT(draws),
     .help = "recorded random draws in place of --seed: draw.sample_index, draw.sample_jitter, "
             "draw.ransac_pairs, "
             "draw.start_x0"},
    {.name = "seed",
     .letter = 's',
     .placeholder = "N",
     .kind = OPTION_UINT64,
     .offset = AT(motion.seed),
     .help = "of the random draws"},
    {.name = "samples",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(motion.samples),
     .min = 2,
     .max = 100000,
     .default_text = "500, 1000 with --navigation",
     .help = "points taken from the mask"},
    {.name = "tries",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(motion.tries),
     .min = 1,
     .max = 100000,
     .help = "pairs of points that RANSAC tries"},
    {.name = "threshold",
     .placeholder = "PIXELS",
     .kind = OPTION_DOUBLE,
     .offset = AT(motion.threshold),
     .min = 1e-6,
     .max = 1e6,
     .help = "what an inlier of RANSAC may be off"},
    {.name = "round-trip",
     .placeholder = "PIXELS",
     .kind = OPTION_DOUBLE,
     .offset = AT(motion.round_trip),
     .min = 0,
     .max = 1e6,
     .help = "what --backward may be off; 0: anything"},
    {.name = "navigation",
     .kind = OPTION_FLAG,
     .offset = AT(navigation),
     .help = "the camera moves: a step or turn for each flow, as AVDC in iTHOR; no mask"},
    {0},
};
static const option_group groups[] = {{"Input", input_options_table, 0},
                                      {"Method", method_options, 0},
                                      {"Common", common_option_table, AT(common)},
                                      {0}};

static void set_defaults(void *values)
{
    vipo_motion_default_options(&((motion_options *)values)->motion);
}

/* ---- input ---------------------------------------------------------------------------------------------- */

typedef struct inputs {
    vipo_array depth, flow, backward;
    uint8_t *mask; /* [H][W] */
    double matrix[12];
    vipo_motion_draws *draws;
} inputs;

static void inputs_free(inputs *in)
{
    vipo_array_free(&in->depth);
    vipo_array_free(&in->flow);
    vipo_array_free(&in->backward);
    vipo_motion_draws_close(&in->draws);
    free(in->mask);
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static int wrong_shape(tool *t, const char *path, const vipo_array *found, const char *wanted)
{
    char text[160] = "";
    for (int i = 0, used = 0; i < found->rank; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%zu", i ? ", " : "", found->shape[i]);
    return tool_fail(t, "%.300s: expected shape %s, found [%s]", path, wanted, text);
}

/* The mask of a .npy or picture, which must be as large as the depth. */
static int read_mask(tool *t, const motion_options *options, inputs *in)
{
    const size_t height = in->depth.shape[0], width = in->depth.shape[1];
    vipo_array array = {0};
    vipo_image image = {0};
    vipo_error error = {0};
    int status = STATUS_DONE;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "[%zu, %zu] as the depth has it", height, width);
    uint8_t *const raw = malloc(height * width);
    in->mask = malloc(height * width);
    if (!raw || !in->mask) {
        status = tool_fail(t, "out of memory for a mask");
    } else if (ends_in(options->mask, ".npy")) {
        if (vipo_npy_read(options->mask, &array, &error) != VIPO_OK)
            status = tool_library_error(t, &error);
        else if (array.rank != 2 || array.shape[0] != height || array.shape[1] != width)
            status = wrong_shape(t, options->mask, &array, wanted);
        for (size_t i = 0; i < height * width && status == STATUS_DONE; i++)
            raw[i] = array.data[i] != 0 ? 255 : 0;
    } else if (vipo_image_read(options->mask, &image, &error) != VIPO_OK) {
        status = tool_library_error(t, &error);
    } else if ((size_t)image.height != height || (size_t)image.width != width) {
        status = tool_fail(t, "%.300s: %dx%d pixels, the depth has %zux%zu", options->mask, image.width,
                           image.height, width, height);
    } else {
        for (size_t i = 0; i < height * width; i++)
            raw[i] = image.data[3 * i] || image.data[3 * i + 1] || image.data[3 * i + 2] ? 255 : 0;
    }
    if (status == STATUS_DONE) {
        if (options->median)
            vipo_mask_median(raw, (int)height, (int)width, in->mask);
        else
            memcpy(in->mask, raw, height * width);
    }
    free(raw);
    vipo_array_free(&array);
    vipo_image_free(&image);
    return status;
}

/* Appends `more` to a flow of whole frames; both have the same height and width. */
static bool append(vipo_array *flow, const vipo_array *more)
{
    const size_t shape[4] = {flow->shape[0] + more->shape[0], flow->shape[1], flow->shape[2], 2};
    vipo_array both;
    if (vipo_array_alloc(&both, 4, shape, NULL) != VIPO_OK) return false;
    memcpy(both.data, flow->data, vipo_array_size(flow) * sizeof(float));
    memcpy(both.data + vipo_array_size(flow), more->data, vipo_array_size(more) * sizeof(float));
    vipo_array_free(flow);
    *flow = both;
    return true;
}

/* Files of one or more frames each -> [n][H][W][2]. */
static int read_flow(tool *t, const string_list *files, vipo_array *out)
{
    for (int i = 0; i < files->count; i++) {
        vipo_array flow = {0};
        vipo_error error = {0};
        if (vipo_npy_read(files->items[i], &flow, &error) != VIPO_OK) return tool_library_error(t, &error);
        if (flow.rank == 3) { /* one frame */
            memmove(flow.shape + 1, flow.shape, 3 * sizeof *flow.shape);
            flow.shape[0] = 1;
            flow.rank = 4;
        }
        int status = STATUS_DONE;
        if (flow.rank != 4 || flow.shape[3] != 2)
            status = wrong_shape(t, files->items[i], &flow, "[n, H, W, 2] or [H, W, 2]");
        else if (i > 0 && (flow.shape[1] != out->shape[1] || flow.shape[2] != out->shape[2]))
            status = tool_fail(t, "%.300s: %zux%zu pixels, the flow before has %zux%zu", files->items[i],
                               flow.shape[2], flow.shape[1], out->shape[2], out->shape[1]);
        if (i == 0 && status == STATUS_DONE) {
            *out = flow;
            continue;
        }
        if (status == STATUS_DONE && !append(out, &flow)) status = tool_fail(t, "out of memory for the flow");
        vipo_array_free(&flow);
        if (status != STATUS_DONE) return status;
    }
    return STATUS_DONE;
}

static int read_inputs(tool *t, const motion_options *options, inputs *in)
{
    vipo_error error = {0};
    if (vipo_npy_read(options->depth, &in->depth, &error) != VIPO_OK) return tool_library_error(t, &error);
    if (in->depth.rank != 2) return wrong_shape(t, options->depth, &in->depth, "[H, W]");
    if (vipo_camera_matrix_read(options->matrix, in->matrix, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    if (options->draws && vipo_motion_draws_open(&in->draws, options->draws, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    int status = options->mask ? read_mask(t, options, in) : STATUS_DONE;
    if (status == STATUS_DONE) status = read_flow(t, &options->flow, &in->flow);
    if (status == STATUS_DONE) status = read_flow(t, &options->backward, &in->backward);
    return status;
}

/* ---- results -------------------------------------------------------------------------------------------- */

static json_t *json_numbers(const double *values, int n)
{
    json_t *const out = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(out, json_number(values[i]));
    return out;
}

static json_t *json_of(const motion_options *options, const vipo_motion *m)
{
    json_t *const out = json_object(), *const transforms = json_array(), *const matrices = json_array();
    json_t *const inliers = json_array(), *const losses = json_array(), *const centers = json_array();
    json_t *const subgoals = json_array(), *const iterations = json_array();
    for (int k = 0; k < m->n_steps; k++) {
        const vipo_motion_step *const s = &m->steps[k];
        json_array_append_new(transforms, json_numbers(s->parameters, 6));
        json_array_append_new(matrices, json_numbers(s->motion, 16));
        json_array_append_new(inliers, json_integer(s->points));
        json_array_append_new(losses, json_number(s->loss));
        json_array_append_new(iterations, json_integer(s->iterations));
        json_array_append_new(centers, json_numbers(s->center_uv, 2));
    }
    for (int k = options->navigation ? 1 : 0; k <= m->n_steps && m->samples > 0; k++)
        json_array_append_new(subgoals, json_numbers(m->subgoals[k], 3));
    if (!options->navigation) {
        json_object_set_new(out, "grasp", json_numbers(m->grasp, 3));
        json_object_set_new(out, "mode",
                            m->mode_known ? json_string(vipo_motion_mode_name((int)m->mode)) : json_null());
        json_object_set_new(out, "largest_rise", m->mode_known ? json_number(m->largest_rise) : json_null());
        json_object_set_new(out, "center_uv", centers);
    } else {
        json_decref(centers);
    }
    json_object_set_new(out, "transforms", transforms);
    json_object_set_new(out, "matrices", matrices);
    json_object_set_new(out, "inliers", inliers);
    json_object_set_new(out, "losses", losses);
    json_object_set_new(out, "iterations", iterations);
    json_object_set_new(out, "subgoals", subgoals);
    json_object_set_new(out, "samples", json_integer(m->samples));
    json_object_set_new(out, "end", json_string(vipo_motion_end_name((int)m->end)));
    if (!options->navigation)
        json_object_set_new(out, "sampling",
                            json_string(vipo_motion_sampling_name((int)options->motion.sampling)));
    json_object_set_new(out, "fit", json_string(vipo_motion_fit_name((int)options->motion.fit)));
    json_object_set_new(out, "seconds", json_number(m->seconds));
    return out;
}

static double length(const double *v)
{
    return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

/* How far a motion turns, degrees. */
static double angle(const double motion[16])
{
    const double cosine = (motion[0] + motion[5] + motion[10] - 1) / 2;
    return acos(fmin(1, fmax(-1, cosine))) * 180 / acos(-1.0);
}

static void print_table(const motion_options *options, const vipo_motion *m)
{
    if (!options->navigation)
        printf("grasp point %.4f %.4f %.4f m, of %d points\n", m->grasp[0], m->grasp[1], m->grasp[2],
               m->samples);
    if (m->n_steps)
        printf("frame  points  error px  moves m  turns deg  %s\n",
               options->navigation ? "ahead" : "subgoal m");
    for (int k = 0; k < m->n_steps; k++) {
        const vipo_motion_step *const s = &m->steps[k];
        const double *const to = m->subgoals[k + 1], *const from = m->subgoals[options->navigation ? 0 : k];
        const double moved[3] = {to[0] - from[0], to[1] - from[1], to[2] - from[2]};
        printf("%5d  %6d  %8.3f  %7.4f  %9.2f  %.4f %.4f %.4f\n", k + 1, s->points, sqrt(s->loss),
               length(moved), angle(s->motion), to[0], to[1], to[2]);
    }
    if (options->navigation) return;
    if (m->mode_known)
        printf("mode %s: the largest rise between subgoals is %.4f m\n", vipo_motion_mode_name((int)m->mode),
               m->largest_rise);
    else
        printf("mode unknown: too few subgoals\n");
}

static int print_motion(tool *t, const motion_options *options, const vipo_motion *m, int frames)
{
    if (m->end == VIPO_MOTION_NOT_SEEN)
        return tool_fail(t, "%.300s: object not seen: no pixel of the mask has a known depth", options->mask);
    if (m->end == VIPO_MOTION_FEW_POINTS)
        tool_warn(t, "the plan ends after %d of %d flows: too few points", m->n_steps, frames);
    vipo_navigation_action *const actions = calloc((size_t)frames, sizeof *actions);
    if (!actions) return tool_fail(t, "out of memory for the actions");
    const int n = options->navigation ? vipo_navigation_actions(m, actions) : 0;
    json_t *const names = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(names, json_string(vipo_navigation_action_name((int)actions[i])));
    free(actions);
    int status = STATUS_DONE;
    if (t->common->json) {
        json_t *const out = json_of(options, m);
        if (options->navigation) json_object_set(out, "actions", names);
        status = tool_print_json_digits(t, out, 17);
    } else {
        print_table(options, m);
        if (options->navigation) printf("actions");
        for (int i = 0; i < n; i++) printf(" %s", json_string_value(json_array_get(names, (size_t)i)));
        if (options->navigation) printf("%s\n", n ? "" : " none");
    }
    json_decref(names);
    return status;
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static int check(tool *t, motion_options *options)
{
    static const char *const of_masks[] = {"mask",  "backward",  "median",    "sampling",
                                           "tries", "threshold", "round-trip"};
    if (options->flow.count == 0) return tool_usage_error(t, "--flow FILE.npy is missing");
    if (options->navigation) {
        for (size_t i = 0; i < sizeof of_masks / sizeof *of_masks; i++)
            if (option_was_given(t->use, of_masks[i]))
                return tool_usage_error(t, "--navigation takes no --%s", of_masks[i]);
        if (!option_was_given(t->use, "samples")) options->motion.samples = 1000;
        return STATUS_DONE;
    }
    if (!options->mask) return tool_usage_error(t, "--mask FILE is missing");
    if (!option_was_given(t->use, "sampling"))
        options->motion.sampling = options->draws ? VIPO_MOTION_AVDC : VIPO_MOTION_ROBUST;
    if (options->draws && options->motion.sampling != VIPO_MOTION_AVDC)
        return tool_usage_error(t, "--draws are of --sampling avdc");
    if (options->backward.count && options->motion.sampling == VIPO_MOTION_AVDC)
        return tool_usage_error(t, "--backward is of --sampling robust");
    return STATUS_DONE;
}

static int solve(tool *t, motion_options *options, const inputs *in)
{
    const vipo_motion_request request = {.depth = &in->depth,
                                         .matrix = in->matrix,
                                         .positive_depth = options->positive_depth,
                                         .mask = in->mask,
                                         .flow = &in->flow,
                                         .backward = in->backward.data ? &in->backward : NULL};
    vipo_motion motion = {0};
    vipo_error error = {0};
    vipo_status status;
    if (options->navigation) {
        vipo_navigation_options own;
        vipo_navigation_default_options(&own);
        own.fit = options->motion.fit;
        own.samples = options->motion.samples;
        own.seed = options->motion.seed;
        own.draws = in->draws;
        status = vipo_navigation_solve(&request, &own, &motion, &error);
    } else {
        options->motion.draws = in->draws;
        status = vipo_motion_solve(&request, &options->motion, &motion, &error);
    }
    const int result = status == VIPO_OK ? print_motion(t, options, &motion, (int)in->flow.shape[0])
                                         : tool_library_error(t, &error);
    vipo_motion_free(&motion);
    return result;
}

static int run(tool *t, void *values)
{
    motion_options *const options = values;
    inputs in = {0};
    int status = check(t, options);
    if (status == STATUS_DONE) status = read_inputs(t, options, &in);
    if (status == STATUS_DONE && interrupt_signal()) status = tool_interrupted(t);
    if (status == STATUS_DONE) status = solve(t, options, &in);
    inputs_free(&in);
    return status;
}

const command command_motion = {
    .name = "motion",
    .summary = "optical flow, depth and a mask -> rigid motions and subgoals",
    .usage = "--mask FILE --depth FILE.npy --cmat FILE.npy --flow FILE.npy [options]",
    .description =
        "AVDC's step from the flow between imagined frames to what the robot has to do: points of the "
        "object are lifted by the depth and followed by the flow, a rigid motion is fitted from frame to "
        "frame, and the grasp point, carried along, gives the subgoals.",
    .groups = groups,
    .examples =
        "vipo motion --mask m.npy --depth d.npy --cmat c.npy --flow f.npy\n"
        "vipo motion --mask m.png --depth d.npy --positive-depth --cmat c.npy --flow f1.npy --flow f2.npy "
        "--json\n"
        "vipo motion --mask m.npy --depth d.npy --cmat c.npy --flow f.npy --draws recorded.safetensors --fit "
        "reference --json\n"
        "vipo motion --navigation --depth d.npy --cmat c.npy --flow f.npy",
    .values_size = sizeof(motion_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
