/* vipo sim render: what a camera sees of a task, at first or in the middle of an episode of its scripted policy. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "sim.h"

typedef struct render_options {
    common_options common;
    sim_inputs inputs;
    int steps;
    const char *camera, *size, *out, *depth, *segmentation, *mask, *matrix;
} render_options;

#define AT(member) offsetof(render_options, member)
static const option step_options[] = {
    {.name = "steps",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(steps),
     .max = VIPO_SIM_MAX_STEPS,
     .help = "steps of the scripted policy before the picture"},
    {0},
};
static const option own_options[] = {
    {.name = "camera",
     .letter = 'c',
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(camera),
     .choice = vipo_sim_camera_name,
     .help = "corner, corner2 or corner3"},
    {.name = "size",
     .placeholder = "WxH",
     .kind = OPTION_STRING,
     .offset = AT(size),
     .help = "width and height in pixels"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .default_text = "",
     .endings = "png",
     .help = ".png: the picture, as AVDC's models see it: upright and mirrored"},
    {.name = "depth",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(depth),
     .default_text = "",
     .endings = "npy",
     .help = ".npy: metres along the view axis, [height][width]"},
    {.name = "segmentation",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(segmentation),
     .default_text = "",
     .endings = "npy",
     .help = ".npy: what is seen, [height][width][2]: 5 a geom, 6 a site, -1 nothing; then its number in the "
             "model"},
    {.name = "mask",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(mask),
     .default_text = "",
     .endings = "png",
     .help = ".png: white where the task's object is seen"},
    {.name = "matrix",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(matrix),
     .default_text = "",
     .endings = "npy",
     .help = ".npy: AVDC's camera matrix [3][4]; (u, v, 1) z = matrix (x, y, z, 1), z the negative depth"},
    {0},
};
static const option_group groups[] = {
    {"Scene", sim_scene_options, AT(inputs)},
    {"", sim_assets_options, AT(inputs.sim)},
    {"", step_options, 0},
    {"Camera", own_options, 0},
    {"", sim_gl_options, AT(inputs.sim)},
    {"", sim_picture_options, AT(inputs.sim)},
    {"Output", output_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    render_options *const options = values;
    options->camera = "corner";
    options->size = "320x240";
}

/* ---- outputs -------------------------------------------------------------------------------------------- */

typedef struct result {
    int height, width;
    vipo_sim_picture picture;
    uint8_t *mask; /* [height][width] */
    double matrix[12];
    vipo_sim_episode episode; /* before the picture */
} result;

enum { OUTPUTS = 5 };

static void list_outputs(const render_options *options, const char *paths[OUTPUTS])
{
    paths[0] = options->out;
    paths[1] = options->depth;
    paths[2] = options->segmentation;
    paths[3] = options->mask;
    paths[4] = options->matrix;
}

static int check(tool *t, const render_options *options, result *r)
{
    static const char *const names[OUTPUTS] = {"out", "depth", "segmentation", "mask", "matrix"};
    static const char *const endings[OUTPUTS] = {".png", ".npy", ".npy", ".png", ".npy"};
    const char *paths[OUTPUTS];
    int n = 0;
    if (!sim_parse_size(options->size, &r->height, &r->width))
        return tool_usage_error(t, "--size %.80s: expected WIDTHxHEIGHT, each from 1 to 8192", options->size);
    list_outputs(options, paths);
    for (int i = 0; i < OUTPUTS; i++) {
        if (!paths[i]) continue;
        n++;
        const size_t length = strlen(paths[i]);
        if (length < 4 || strcmp(paths[i] + length - 4, endings[i]) != 0)
            return tool_usage_error(t, "--%s %.300s: the name must end in %s", names[i], paths[i],
                                    endings[i]);
    }
    if (n == 0 && !t->common->json)
        return tool_usage_error(t, "give --out, --depth, --segmentation, --mask, --matrix or --json");
    return tool_check_outputs(t, paths, OUTPUTS);
}

static vipo_status write_mask(const char *path, const result *r, vipo_error *error)
{
    const size_t n = (size_t)r->height * (size_t)r->width;
    vipo_image image = {malloc(3 * n), r->height, r->width};
    if (!image.data) {
        *error = (vipo_error){VIPO_OUT_OF_MEMORY, "out of memory for the mask"};
        return VIPO_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < n; i++) memset(image.data + 3 * i, r->mask[i], 3);
    const vipo_status status = vipo_image_write_png(path, &image, error);
    vipo_image_free(&image);
    return status;
}

static vipo_status write_segmentation(const char *path, const result *r, vipo_error *error)
{
    const size_t n = (size_t)r->height * (size_t)r->width;
    vipo_array array;
    vipo_status status =
        vipo_array_alloc(&array, 3, (const size_t[]){(size_t)r->height, (size_t)r->width, 2}, error);
    if (status != VIPO_OK) return status;
    for (size_t i = 0; i < n; i++) {
        array.data[2 * i] = (float)r->picture.type[i];
        array.data[2 * i + 1] = (float)r->picture.id[i];
    }
    status = vipo_npy_write(path, &array, error);
    vipo_array_free(&array);
    return status;
}

static vipo_status write_matrix(const char *path, const result *r, vipo_error *error)
{
    float values[12];
    for (int i = 0; i < 12; i++) values[i] = (float)r->matrix[i];
    const vipo_array array = {.data = values, .rank = 2, .shape = {3, 4}};
    return vipo_npy_write(path, &array, error);
}

static vipo_status write_all(const render_options *options, const result *r, vipo_error *error)
{
    vipo_status status = VIPO_OK;
    if (options->out) status = vipo_image_write_png(options->out, &r->picture.rgb, error);
    if (status == VIPO_OK && options->depth)
        status = vipo_npy_write(options->depth, &r->picture.depth, error);
    if (status == VIPO_OK && options->segmentation)
        status = write_segmentation(options->segmentation, r, error);
    if (status == VIPO_OK && options->mask) status = write_mask(options->mask, r, error);
    if (status == VIPO_OK && options->matrix) status = write_matrix(options->matrix, r, error);
    return status;
}

static json_t *path_json(const char *path)
{
    return path ? json_text(path) : json_null();
}

static int print_results(tool *t, const render_options *options, const vipo_sim *sim, const result *r)
{
    const char *paths[OUTPUTS];
    list_outputs(options, paths);
    if (!t->common->json) {
        if (vipo_sim_gl(sim)) tool_note(t, "drawn by %s, %s", vipo_sim_gl(sim), vipo_sim_gl_device(sim));
        for (int i = 0; i < OUTPUTS; i++)
            if (paths[i]) tool_print_file(t, paths[i]);
        return STATUS_DONE;
    }
    json_t *const out = json_object(), *const matrix = json_array();
    for (int i = 0; i < 3; i++) {
        json_t *const row = json_array();
        for (int j = 0; j < 4; j++) json_array_append_new(row, json_number(r->matrix[4 * i + j]));
        json_array_append_new(matrix, row);
    }
    int pixels = 0;
    for (size_t i = 0; r->mask && i < (size_t)r->height * (size_t)r->width; i++) pixels += r->mask[i] != 0;
    json_object_set_new(out, "task", json_text(options->inputs.task));
    json_object_set_new(
        out, "profile",
        json_text(options->inputs.profile ? options->inputs.profile : vipo_sim_profile_name(0)));
    json_object_set_new(
        out, "seed", options->inputs.initial ? json_null() : json_integer((json_int_t)options->inputs.seed));
    json_object_set_new(out, "initial", path_json(options->inputs.initial));
    json_object_set_new(out, "steps", json_integer(r->episode.steps));
    json_object_set_new(out, "camera", json_text(options->camera));
    json_object_set_new(out, "width", json_integer(r->width));
    json_object_set_new(out, "height", json_integer(r->height));
    json_object_set_new(out, "matrix", matrix);
    json_object_set_new(out, "mask_pixels", r->mask ? json_integer(pixels) : json_null());
    json_object_set_new(out, "mujoco", json_text(vipo_sim_mujoco_version()));
    json_object_set_new(out, "gl", path_json(vipo_sim_gl(sim)));
    json_object_set_new(out, "device", path_json(vipo_sim_gl_device(sim)));
    json_t *const files = json_array();
    for (int i = 0; i < OUTPUTS; i++)
        if (paths[i]) json_array_append_new(files, json_text(paths[i]));
    json_object_set_new(out, "files", files);
    return tool_print_json(t, out);
}

static bool before_step(void *user, vipo_sim *sim, int step)
{
    (void)sim;
    return step < *(const int *)user;
}

static int run(tool *t, void *values)
{
    const render_options *const options = values;
    result r = {0};
    vipo_sim *sim;
    double observation[VIPO_SIM_OBSERVATION];
    vipo_error error = {0};
    int status = check(t, options, &r);
    if (status == STATUS_DONE) status = sim_open(t, &options->inputs, &sim, observation);
    if (status != STATUS_DONE) return status;

    const unsigned parts = (options->out ? VIPO_SIM_RGB : 0U) | (options->depth ? VIPO_SIM_DEPTH : 0U) |
                           (options->segmentation || options->mask ? VIPO_SIM_SEGMENTATION : 0U);
    vipo_status done = vipo_sim_camera_matrix(sim, options->camera, r.height, r.width, r.matrix, &error);
    if (done == VIPO_OK && options->steps) {
        int steps = options->steps;
        done = vipo_sim_run_expert(sim, observation, before_step, &steps, &r.episode, &error);
        if (done == VIPO_OK && r.episode.steps < steps)
            tool_warn(t, "the episode ends after %d steps: that is what is drawn", r.episode.steps);
    }
    if (done == VIPO_OK && parts)
        done = vipo_sim_render(sim, options->camera, r.height, r.width, parts, &r.picture, &error);
    if (done == VIPO_OK && options->mask) {
        r.mask = malloc((size_t)r.height * (size_t)r.width);
        done = r.mask ? vipo_sim_object_mask(sim, &r.picture, r.mask, &error) : VIPO_OUT_OF_MEMORY;
    }
    if (done == VIPO_OK) done = write_all(options, &r, &error);
    if (done != VIPO_OK) {
        error.status = done;
        status = tool_library_error(t, &error);
    } else {
        status = print_results(t, options, sim, &r);
    }
    vipo_sim_picture_free(&r.picture);
    free(r.mask);
    vipo_sim_close(&sim);
    return status;
}

const command command_sim_render = {
    .name = "sim-render",
    .summary = "simulator: picture, depth, segmentation of a task",
    .usage = "--task NAME [--camera NAME] [--seed N] [--steps N] --out FILE [options]",
    .description = "Draws what a camera sees of a Meta-World task, in the initial state of a seed or of a "
                   "recorded episode, or after steps of the task's scripted policy. "
                   "The rows are those of AVDC's data: upright, mirrored left to right.",
    .groups = groups,
    .examples = "vipo sim render -t door-open --seed 3 -o frame.png\n"
                "vipo sim render -t door-open --steps 60 -o later.png\n"
                "vipo sim render -t hammer -c corner3 --size 640x480 -o a.png --depth d.npy --mask m.png "
                "--matrix c.npy",
    .values_size = sizeof(render_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
