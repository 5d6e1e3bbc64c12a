/* Pictures of a scene without a window: an off-screen OpenGL context (gl_context.h) and MuJoCo's renderer in it. */
#ifndef VIPO_SIM_RENDERER_H
#define VIPO_SIM_RENDERER_H

#include "sim/scene.h"

typedef struct vipo_renderer vipo_renderer;

typedef struct vipo_renderer_options {
    const char *gl;                /* as for vipo_gl_open */
    int height, width;             /* of the first picture; later ones may be larger */
    int shadow_size, multisamples; /* as in vipo_sim_options */
} vipo_renderer_options;

enum { VIPO_RENDERER_MAX_SIDE = 8192 };
/* VIPO_INVALID_ARGUMENT unless both are from 1 to VIPO_RENDERER_MAX_SIDE. */
vipo_status vipo_renderer_check_size(int height, int width, vipo_error *error);

/* The scene must outlive the renderer. */
vipo_status vipo_renderer_open(vipo_renderer **out, vipo_scene *scene, const vipo_renderer_options *options,
                               vipo_error *error);
void vipo_renderer_close(vipo_renderer **renderer);
/* Name of the backend; who draws: "llvmpipe (LLVM 15.0.6, 256 bits)". */
const char *vipo_renderer_gl(const vipo_renderer *renderer);
const char *vipo_renderer_device(const vipo_renderer *renderer);

/* What camera (its number in the model) sees of the scene's present state, each side at most VIPO_RENDERER_MAX_SIDE. Any
 * of the outputs may be NULL: rgb [h][w][3]; depth [h][w], metres along the view axis; type and id [h][w], -1 where there
 * is nothing. Rows as glReadPixels gives them. From any thread, one at a time. */
vipo_status vipo_renderer_draw(vipo_renderer *renderer, int camera, int height, int width, uint8_t *rgb,
                               float *depth, int32_t *type, int32_t *id, vipo_error *error);

/* The middle [height][width] of the picture of picture_height x picture_width, without drawing the rest: the same bytes. Of
 * an odd difference the larger half is cut from the end. */
vipo_status vipo_renderer_draw_middle(vipo_renderer *renderer, int camera, int picture_height,
                                      int picture_width, int height, int width, uint8_t *rgb,
                                      vipo_error *error);

#endif
