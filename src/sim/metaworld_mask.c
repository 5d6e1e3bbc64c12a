#include <string.h>

#include "sim/metaworld.h"

enum { MASK_GEOMS = sizeof((vipo_task *)0)->mask / sizeof((vipo_task *)0)->mask[0] };

/* Numbers in the model of the geoms that the task's object is seen by. */
static vipo_status find_geoms(const vipo_sim *sim, int out[MASK_GEOMS], int *count, vipo_error *error)
{
    const mjModel *model = sim->scene->model;
    *count = 0;
    for (const vipo_task_geom *geom = sim->task->mask; geom->body; geom++) {
        int body;
        VIPO_TRY(vipo_scene_find(sim->scene, mjOBJ_BODY, geom->body, &body, error));
        if (geom->number >= model->body_geomnum[body])
            return vipo_fail(error, VIPO_MISMATCH, "%s: body %s has %d geoms, expected more than %d",
                             sim->scene->path, geom->body, model->body_geomnum[body], geom->number);
        out[(*count)++] = model->body_geomadr[body] + geom->number;
    }
    return VIPO_OK;
}

vipo_status vipo_sim_object_mask(const vipo_sim *sim, const vipo_sim_picture *picture, uint8_t *mask,
                                 vipo_error *error)
{
    int geoms[MASK_GEOMS], count;
    if (!picture->type || !picture->id)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "the picture has no segmentation: draw it with VIPO_SIM_SEGMENTATION");
    VIPO_TRY(find_geoms(sim, geoms, &count, error));
    const size_t pixels = (size_t)picture->height * (size_t)picture->width;
    memset(mask, 0, pixels);
    for (size_t i = 0; i < pixels; i++)
        for (int k = 0; k < count; k++)
            if (picture->type[i] == mjOBJ_GEOM && picture->id[i] == geoms[k]) mask[i] = 255;
    return VIPO_OK;
}
