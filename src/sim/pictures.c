/* What a task's cameras see (Meta-World's corner cameras, as AVDC uses them), and where. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gl_context.h"
#include "sim/metaworld.h"

const char *vipo_sim_camera_name(int i)
{
    static const char *const names[] = {"corner", "corner2", "corner3"};
    return i >= 0 && i < 3 ? names[i] : NULL;
}

const char *vipo_sim_gl(const vipo_sim *sim)
{
    return sim->renderer ? vipo_renderer_gl(sim->renderer) : NULL;
}

const char *vipo_sim_gl_device(const vipo_sim *sim)
{
    return sim->renderer ? vipo_renderer_device(sim->renderer) : NULL;
}

const char *vipo_sim_gl_name(int i)
{
    return vipo_gl_backend(i);
}

vipo_status vipo_sim_gl_probe(const char *gl, char *device, size_t size, vipo_error *error)
{
    vipo_gl *context;
    if (size) device[0] = '\0';
    VIPO_TRY(vipo_gl_open(&context, gl, error));
    const vipo_status status = vipo_gl_begin(context, error);
    if (status == VIPO_OK) {
        snprintf(device, size, "%s", vipo_gl_device(context));
        vipo_gl_end(context);
    }
    vipo_gl_close(&context);
    return status;
}

static vipo_status find_camera(const vipo_sim *sim, const char *name, int *id, vipo_error *error)
{
    for (int i = 0; vipo_sim_camera_name(i); i++)
        if (strcmp(name, vipo_sim_camera_name(i)) == 0)
            return vipo_scene_find(sim->scene, mjOBJ_CAMERA, name, id, error);
    return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                     "unknown camera '%.64s', expected corner, corner2 or corner3", name);
}

/* ---- drawing ------------------------------------------------------------------------------------------------ */

static vipo_status allocate(vipo_sim_picture *out, int height, int width, unsigned parts, vipo_error *error)
{
    const size_t pixels = (size_t)height * (size_t)width;
    const bool segmentation = parts & VIPO_SIM_SEGMENTATION;
    out->height = height;
    out->width = width;
    if (parts & VIPO_SIM_RGB) out->rgb = (vipo_image){malloc(3 * pixels), height, width};
    if (segmentation) out->type = malloc(pixels * sizeof *out->type);
    if (segmentation) out->id = malloc(pixels * sizeof *out->id);
    if (((parts & VIPO_SIM_RGB) && !out->rgb.data) || (segmentation && (!out->type || !out->id)))
        return vipo_fail_memory(error, 11 * pixels, "a picture");
    if (parts & VIPO_SIM_DEPTH)
        VIPO_TRY(vipo_array_alloc(&out->depth, 2, (const size_t[]){(size_t)height, (size_t)width}, error));
    return VIPO_OK;
}

void vipo_sim_picture_free(vipo_sim_picture *picture)
{
    vipo_image_free(&picture->rgb);
    vipo_array_free(&picture->depth);
    free(picture->type);
    free(picture->id);
    memset(picture, 0, sizeof *picture);
}

/* A renderer with room for that size, and everything in its place. */
static vipo_status prepare(vipo_sim *sim, int height, int width, vipo_error *error)
{
    VIPO_TRY(vipo_scene_place(sim->scene, error));
    if (sim->steps > 0) vipo_sim_place_markers(sim);
    if (sim->renderer) return VIPO_OK;
    vipo_renderer_options options = sim->picture;
    options.gl = sim->gl[0] ? sim->gl : NULL;
    options.height = height;
    options.width = width;
    return vipo_renderer_open(&sim->renderer, sim->scene, &options, error);
}

vipo_status vipo_sim_render(vipo_sim *sim, const char *camera, int height, int width, unsigned parts,
                            vipo_sim_picture *out, vipo_error *error)
{
    int id;
    memset(out, 0, sizeof *out);
    if (!parts || (parts & ~(unsigned)(VIPO_SIM_RGB | VIPO_SIM_DEPTH | VIPO_SIM_SEGMENTATION)))
        return vipo_fail(
            error, VIPO_INVALID_ARGUMENT,
            "parts 0x%x: expected VIPO_SIM_RGB, VIPO_SIM_DEPTH, VIPO_SIM_SEGMENTATION or several", parts);
    if (!sim->ready)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "there is nothing to see before a reset or a loaded state");
    VIPO_TRY(find_camera(sim, camera, &id, error));
    VIPO_TRY(vipo_renderer_check_size(height, width, error));
    vipo_status status;
    VIPO_TRY_GOTO(allocate(out, height, width, parts, error), fail);
    VIPO_TRY_GOTO(prepare(sim, height, width, error), fail);
    VIPO_TRY_GOTO(vipo_renderer_draw(sim->renderer, id, height, width, out->rgb.data, out->depth.data,
                                     out->type, out->id, error),
                  fail);
    return VIPO_OK;
fail:
    vipo_sim_picture_free(out);
    return status;
}

vipo_status vipo_sim_render_middle(vipo_sim *sim, const char *camera, int picture_height, int picture_width,
                                   int height, int width, uint8_t *rgb, vipo_error *error)
{
    int id;
    VIPO_TRY(find_camera(sim, camera, &id, error));
    VIPO_TRY(prepare(sim, height, width, error));
    return vipo_renderer_draw_middle(sim->renderer, id, picture_height, picture_width, height, width, rgb,
                                     error);
}

/* ---- geometry ----------------------------------------------------------------------------------------------- */

/* AVDC's get_cmat: K diag(-f, -f, 1) R^T (x - p), with the principal point in the middle of the picture and f in pixels. */
vipo_status vipo_sim_camera_matrix(const vipo_sim *sim, const char *camera, int height, int width,
                                   double matrix[12], vipo_error *error)
{
    int id;
    memset(matrix, 0, 12 * sizeof *matrix);
    VIPO_TRY(find_camera(sim, camera, &id, error));
    VIPO_TRY(vipo_renderer_check_size(height, width, error));
    const mjModel *const model = sim->scene->model;
    const mjtNum *const place = sim->scene->data->cam_xpos + 3 * id;
    const mjtNum *const axes = sim->scene->data->cam_xmat + 9 * id; /* in columns */
    const double half_angle = model->cam_fovy[id] * 3.14159265358979323846 / 360;
    const double f = height / 2.0 / tan(half_angle), middle[2] = {(width - 1) / 2.0, (height - 1) / 2.0};
    double local[3][4]; /* x, y, z in the camera's axes */
    for (int i = 0; i < 3; i++) {
        local[i][3] = 0;
        for (int j = 0; j < 3; j++) {
            local[i][j] = axes[3 * j + i];
            local[i][3] -= axes[3 * j + i] * place[j];
        }
    }
    for (int j = 0; j < 4; j++) {
        matrix[j] = middle[0] * local[2][j] - f * local[0][j];
        matrix[4 + j] = middle[1] * local[2][j] - f * local[1][j];
        matrix[8 + j] = local[2][j];
    }
    return VIPO_OK;
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static const char *name_of(const mjModel *model, mjtObj type, int id)
{
    const char *const name = mj_id2name(model, type, id);
    return name ? name : "";
}

vipo_status vipo_sim_name_geoms(vipo_sim *sim, vipo_error *error)
{
    const mjModel *const model = sim->scene->model;
    const size_t pointers = (size_t)model->ngeom * sizeof(char *);
    size_t size = pointers;
    for (int i = 0; i < model->ngeom; i++)
        size += strlen(name_of(model, mjOBJ_GEOM, i)) +
                strlen(name_of(model, mjOBJ_BODY, model->geom_bodyid[i])) + 2;
    sim->geom_names = malloc(size);
    if (!sim->geom_names) return vipo_fail_memory(error, size, "names");
    char *at = (char *)sim->geom_names + pointers, *const end = (char *)sim->geom_names + size;
    for (int i = 0; i < model->ngeom; i++) {
        sim->geom_names[i] = at;
        at += 1 + snprintf(at, (size_t)(end - at), "%s|%s", name_of(model, mjOBJ_GEOM, i),
                           name_of(model, mjOBJ_BODY, model->geom_bodyid[i]));
    }
    return VIPO_OK;
}

const char *vipo_sim_geom_name(const vipo_sim *sim, int id)
{
    return id >= 0 && id < sim->scene->model->ngeom ? sim->geom_names[id] : NULL;
}
