/* Masks of an object, before points are taken from it. */
#include "vipo/action.h"

void vipo_mask_median(const uint8_t *in, int height, int width, uint8_t *out)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int set = 0;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const int ny = y + dy < 0 ? 0 : y + dy >= height ? height - 1 : y + dy;
                    const int nx = x + dx < 0 ? 0 : x + dx >= width ? width - 1 : x + dx;
                    set += in[(size_t)ny * (size_t)width + (size_t)nx] != 0;
                }
            out[(size_t)y * (size_t)width + (size_t)x] = set > 4 ? 255 : 0;
        }
}
