/* Pictures of a scene without a window: an off-screen OpenGL context (gl_context.c: EGL without a surface, or OSMesa; both
 * opened at run time, so that nothing but pictures needs them) and MuJoCo's renderer in it. */
#ifndef VIPO_SIM_RENDERER_H
#define VIPO_SIM_RENDERER_H

#include "sim/scene.h"

typedef struct vipo_renderer vipo_renderer;

typedef struct vipo_renderer_options {
    const char *gl;                /* "egl", "osmesa", NULL: the first that works */
    int height, width;             /* largest picture */
    int shadow_size, multisamples; /* as in vipo_sim_options */
} vipo_renderer_options;

/* The scene must outlive the renderer; its model's visual quality settings are changed to those asked for. */
vipo_status vipo_renderer_open(vipo_renderer **out, vipo_scene *scene, const vipo_renderer_options *options,
                               vipo_error *error);
void vipo_renderer_close(vipo_renderer **renderer);
const char *vipo_renderer_gl(const vipo_renderer *renderer);

/* What camera (its number in the model) sees of the scene's present state, height x width at most those of the options. Any of
 * the outputs may be NULL: rgb [h][w][3], depth [h][w] in metres, type and id [h][w]. Rows as glReadPixels gives them. */
vipo_status vipo_renderer_draw(vipo_renderer *renderer, int camera, int height, int width, uint8_t *rgb,
                               float *depth, int32_t *type, int32_t *id, vipo_error *error);

#endif
