#include "sim/renderer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gl_context.h"

struct vipo_renderer {
    vipo_scene *scene;
    vipo_gl *gl;
    mjvScene picture; /* what is drawn, kept from picture to picture */
    mjvOption shown;
    mjrContext context;
    unsigned char *codes; /* segmentation: a number per pixel in three bytes */
    size_t codes_size;
    char device[96];
    bool broken; /* an error has left the context as it was in the middle of something */
};

/* ---- opening ------------------------------------------------------------------------------------------------ */

typedef struct open_work {
    vipo_renderer *renderer;
    const vipo_renderer_options *options;
} open_work;

static void make(void *argument)
{
    const open_work *const work = argument;
    vipo_renderer *const r = work->renderer;
    mjModel *const model = r->scene->model;
    const vipo_renderer_options *const options = work->options;
    snprintf(r->device, sizeof r->device, "%s", vipo_gl_device(r->gl));
    /* geoms and sites, twice over for what visualisation may add */
    mjv_makeScene(model, &r->picture, 2 * (model->ngeom + model->nsite) + 100);
    if (options->shadow_size < 0) r->picture.flags[mjRND_SHADOW] = 0;
    if (options->shadow_size)
        model->vis.quality.shadowsize = options->shadow_size > 0 ? options->shadow_size : 0;
    if (options->multisamples)
        model->vis.quality.offsamples = options->multisamples > 0 ? options->multisamples : 0;
    model->vis.global.offwidth = options->width;
    model->vis.global.offheight = options->height;
    mjr_makeContext(model, &r->context, mjFONTSCALE_100);
    mjr_setBuffer(mjFB_OFFSCREEN, &r->context);
    if (r->context.currentBuffer != mjFB_OFFSCREEN) mju_error("OpenGL has no off-screen buffers");
    /* Far is 0: floats are finest there, and so are the depths of what is far. */
    r->context.readDepthMap = mjDEPTH_ZEROFAR;
}

vipo_status vipo_renderer_check_size(int height, int width, vipo_error *error)
{
    if (height >= 1 && width >= 1 && height <= VIPO_RENDERER_MAX_SIDE && width <= VIPO_RENDERER_MAX_SIDE)
        return VIPO_OK;
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "a picture of %dx%d: expected sides from 1 to %d", width,
                     height, VIPO_RENDERER_MAX_SIDE);
}

vipo_status vipo_renderer_open(vipo_renderer **out, vipo_scene *scene, const vipo_renderer_options *options,
                               vipo_error *error)
{
    *out = NULL;
    VIPO_TRY(vipo_renderer_check_size(options->height, options->width, error));
    vipo_renderer *r = calloc(1, sizeof *r);
    if (!r) return vipo_fail_memory(error, sizeof *r, "a renderer");
    r->scene = scene;
    mjv_defaultScene(&r->picture);
    mjv_defaultOption(&r->shown);
    mjr_defaultContext(&r->context);
    vipo_status status;
    VIPO_TRY_GOTO(vipo_gl_open(&r->gl, options->gl, error), fail);
    VIPO_TRY_GOTO(vipo_gl_claim(r->gl, error), fail);
    VIPO_TRY_GOTO(vipo_gl_begin(r->gl, error), fail);
    /* The settings of the model count while a context is made. */
    mjModel *const model = scene->model;
    const mjVisual authored = model->vis;
    open_work work = {r, options};
    status = vipo_mujoco_run(make, &work, "the renderer could not be set up", error);
    model->vis = authored;
    vipo_gl_end(r->gl);
    if (status != VIPO_OK) goto fail;
    *out = r;
    return VIPO_OK;
fail:
    vipo_renderer_close(&r);
    return status;
}

static void release(void *argument)
{
    vipo_renderer *const r = argument;
    mjr_freeContext(&r->context);
    mjv_freeScene(&r->picture);
}

void vipo_renderer_close(vipo_renderer **renderer)
{
    vipo_renderer *const r = *renderer;
    if (!r) return;
    if (r->gl && vipo_gl_begin(r->gl, NULL) == VIPO_OK) {
        vipo_mujoco_run(release, r, "closing", NULL);
        vipo_gl_end(r->gl);
    }
    vipo_gl_close(&r->gl);
    free(r->codes);
    free(r);
    *renderer = NULL;
}

const char *vipo_renderer_gl(const vipo_renderer *renderer)
{
    return vipo_gl_name(renderer->gl);
}

const char *vipo_renderer_device(const vipo_renderer *renderer)
{
    return renderer->device;
}

/* ---- drawing ------------------------------------------------------------------------------------------------ */

typedef struct draw_work {
    vipo_renderer *renderer;
    int camera, height, width;
    int picture_height, picture_width; /* what is read is its middle */
    uint8_t *rgb;
    float *depth;
    bool segmentation;
} draw_work;

static void render(const draw_work *work, bool segmentation, uint8_t *rgb, float *depth)
{
    vipo_renderer *const r = work->renderer;
    const mjrRect read = {0, 0, work->width, work->height};
    /* The picture may stand out beyond the buffer; what does is not drawn. */
    const mjrRect picture = {-(work->picture_width - work->width) / 2,
                             -(work->picture_height - work->height) / 2, work->picture_width,
                             work->picture_height};
    r->picture.flags[mjRND_SEGMENT] = r->picture.flags[mjRND_IDCOLOR] = segmentation;
    mjr_render(picture, &r->picture, &r->context);
    mjr_readPixels(rgb, depth, read, &r->context);
}

static void draw(void *argument)
{
    const draw_work *const work = argument;
    vipo_renderer *const r = work->renderer;
    mjvCamera camera;
    mjv_defaultCamera(&camera);
    camera.type = mjCAMERA_FIXED;
    camera.fixedcamid = work->camera;
    if (work->width > r->context.offWidth || work->height > r->context.offHeight) {
        mjr_resizeOffscreen(mjMAX(work->width, r->context.offWidth),
                            mjMAX(work->height, r->context.offHeight), &r->context);
        mjr_setBuffer(mjFB_OFFSCREEN, &r->context);
    }
    mjv_updateScene(r->scene->model, r->scene->data, &r->shown, NULL, &camera, mjCAT_ALL, &r->picture);
    if (work->rgb || work->depth) render(work, false, work->rgb, work->depth);
    if (work->segmentation) render(work, true, r->codes, NULL);
    const int problem = mjr_getError();
    if (problem) mju_error("OpenGL error 0x%x", (unsigned)problem);
}

/* What is read is 1 near the eye and 0 far away, linear in 1/depth. */
static void depth_to_metres(const vipo_scene *scene, float *depth, size_t n)
{
    const mjModel *const model = scene->model;
    const double near = (double)model->vis.map.znear * model->stat.extent;
    const double ratio = (double)model->vis.map.znear / (double)model->vis.map.zfar;
    for (size_t i = 0; i < n; i++) depth[i] = (float)(near / (ratio + (double)depth[i] * (1 - ratio)));
}

/* A pixel's number is that of a geom of the picture, plus 1; 0 is the background. */
static void codes_to_objects(const vipo_renderer *r, size_t n, int32_t *type, int32_t *id)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char *const code = r->codes + 3 * i;
        const int number = (code[0] | code[1] << 8 | code[2] << 16) - 1;
        const mjvGeom *geom = NULL;
        if (number >= 0 && number < r->picture.ngeom && r->picture.geoms[number].segid == number)
            geom = &r->picture.geoms[number];
        if (type) type[i] = geom ? geom->objtype : -1;
        if (id) id[i] = geom ? geom->objid : -1;
    }
}

static vipo_status run_draw(draw_work *work, vipo_error *error)
{
    vipo_renderer *const r = work->renderer;
    VIPO_TRY(vipo_renderer_check_size(work->height, work->width, error));
    if (work->camera < 0 || work->camera >= r->scene->model->ncam)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "camera %d: the model has %d", work->camera,
                         r->scene->model->ncam);
    if (r->broken)
        return vipo_fail(error, VIPO_INTERNAL, "the renderer failed before and cannot draw any more");
    const size_t codes_size = 3 * (size_t)work->height * (size_t)work->width;
    if (work->segmentation && r->codes_size < codes_size) {
        unsigned char *const codes = realloc(r->codes, codes_size);
        if (!codes) return vipo_fail_memory(error, codes_size, "a segmentation");
        r->codes = codes;
        r->codes_size = codes_size;
    }
    VIPO_TRY(vipo_gl_begin(r->gl, error));
    const vipo_status status = vipo_mujoco_run(draw, work, "drawing", error);
    vipo_gl_end(r->gl);
    if (status != VIPO_OK) r->broken = true;
    return status;
}

vipo_status vipo_renderer_draw(vipo_renderer *renderer, int camera, int height, int width, uint8_t *rgb,
                               float *depth, int32_t *type, int32_t *id, vipo_error *error)
{
    const size_t n = (size_t)height * (size_t)width;
    draw_work work = {renderer, camera, height, width, height, width, rgb, depth, type || id};
    VIPO_TRY(run_draw(&work, error));
    if (depth) depth_to_metres(renderer->scene, depth, n);
    if (work.segmentation) codes_to_objects(renderer, n, type, id);
    return VIPO_OK;
}

vipo_status vipo_renderer_draw_middle(vipo_renderer *renderer, int camera, int picture_height,
                                      int picture_width, int height, int width, uint8_t *rgb,
                                      vipo_error *error)
{
    VIPO_TRY(vipo_renderer_check_size(picture_height, picture_width, error));
    if (height > picture_height || width > picture_width)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "the middle %dx%d of a picture of %dx%d", width,
                         height, picture_width, picture_height);
    draw_work work = {renderer, camera, height, width, picture_height, picture_width, rgb, NULL, false};
    return run_draw(&work, error);
}
