#include "eval/view.h"

#include <stdlib.h>
#include <string.h>

void vipo_seen_free(vipo_seen *seen)
{
    vipo_sim_picture_free(&seen->picture);
    free(seen->mask);
    memset(seen, 0, sizeof *seen);
}

static int clamp(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

void vipo_median_mask(const uint8_t *in, int height, int width, uint8_t *out)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int on = 0;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const size_t row = (size_t)clamp(y + dy, height), column = (size_t)clamp(x + dx, width);
                    on += in[row * (size_t)width + column] != 0;
                }
            out[(size_t)y * (size_t)width + (size_t)x] = on > 4 ? 255 : 0;
        }
}

static vipo_status find_object(vipo_seen *seen, const vipo_sim *sim, vipo_error *error)
{
    const int height = seen->picture.height, width = seen->picture.width;
    const size_t pixels = (size_t)height * (size_t)width;
    uint8_t *const raw = malloc(pixels);
    seen->mask = malloc(pixels);
    vipo_status status = raw && seen->mask ? VIPO_OK : vipo_fail_memory(error, 2 * pixels, "a mask");
    if (status == VIPO_OK) status = vipo_sim_object_mask(sim, &seen->picture, raw, error);
    if (status == VIPO_OK) vipo_median_mask(raw, height, width, seen->mask);
    free(raw);
    return status;
}

vipo_status vipo_seen_take(vipo_seen *out, vipo_sim *sim, const char *camera, int height, int width, bool all,
                           vipo_error *error)
{
    const unsigned parts = VIPO_SIM_RGB | (all ? VIPO_SIM_DEPTH | VIPO_SIM_SEGMENTATION : 0u);
    memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_sim_render(sim, camera, height, width, parts, &out->picture, error));
    vipo_status status = vipo_sim_camera_matrix(sim, camera, height, width, out->view.camera_matrix, error);
    if (status == VIPO_OK && all) status = find_object(out, sim, error);
    if (status != VIPO_OK) {
        vipo_seen_free(out);
        return status;
    }
    /* the library's depth is positive, AVDC's the coordinate along the camera's axis, which points backwards */
    for (size_t i = 0; all && i < vipo_array_size(&out->picture.depth); i++)
        out->picture.depth.data[i] = -out->picture.depth.data[i];
    out->view.height = height;
    out->view.width = width;
    out->view.rgb = out->picture.rgb.data;
    out->view.depth = out->picture.depth.data;
    out->view.mask = out->mask;
    return VIPO_OK;
}
