#include "nets/raster.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"

size_t vipo_raster_floats(int height, int width, int channels, int border)
{
    const size_t rows = (size_t)(height == 1 ? 1 : height + 2 * border);
    return rows * (size_t)(width + 2 * border) * (size_t)channels;
}

vipo_raster vipo_raster_inside(float *memory, int height, int width, int channels, int border)
{
    const vipo_raster raster = {.data = memory,
                                .sample = vipo_raster_floats(height, width, channels, border),
                                .row = (size_t)(width + 2 * border) * (size_t)channels,
                                .pixel = (size_t)channels};
    return vipo_raster_moved(raster, height == 1 ? 0 : border, border);
}

void vipo_raster_copy(const vipo_raster *to, const vipo_raster *from, int samples, int height, int width,
                      int channels)
{
    for (int s = 0; s < samples; s++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                memcpy(to->data + (size_t)s * to->sample + (size_t)y * to->row + (size_t)x * to->pixel,
                       from->data + (size_t)s * from->sample + (size_t)y * from->row +
                           (size_t)x * from->pixel,
                       (size_t)channels * sizeof(float));
}

vipo_status vipo_raster_dump(vipo_dump_function dump, void *user, const char *prefix, const char *name,
                             const vipo_raster *raster, int rank, int samples, int height, int width,
                             int channels, vipo_error *error)
{
    if (!dump) return VIPO_OK;
    char full[160];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const size_t shape[4] = {(size_t)samples, (size_t)channels, (size_t)(rank == 3 ? width : height),
                             (size_t)width};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, rank, shape, error));
    float *to = array.data;
    for (int s = 0; s < samples; s++)
        for (int c = 0; c < channels; c++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++)
                    *to++ = raster->data[(size_t)s * raster->sample + (size_t)y * raster->row +
                                         (size_t)x * raster->pixel + (size_t)c];
    dump(user, full, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

/* ---- weights -------------------------------------------------------------------------------------------- */

/* Tensor "<name>.<what>" into out. */
static vipo_status read_part(vipo_weight_store *store, const char *name, const char *what, int rank,
                             const size_t *shape, float *out, vipo_error *error)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", name, what);
    return vipo_weight_store_read(store, full, rank, shape, out, error);
}

vipo_status vipo_window_packed(vipo_weight_store *store, const char *name, const vipo_window *window,
                               const vipo_packed **packed, vipo_error *error)
{
    const size_t in = (size_t)window->in, out = (size_t)window->out;
    const size_t taps = (size_t)(window->height * window->width), count = in * out * taps;
    const size_t shapes[5][4] = {[2] = {out, in},
                                 [3] = {out, in, (size_t)window->width},
                                 [4] = {out, in, (size_t)window->height, (size_t)window->width}};
    float *memory = vipo_aligned_alloc(2 * count + out, sizeof *memory);
    if (!memory) return vipo_fail_memory(error, (2 * count + out) * sizeof *memory, "weights");
    float *runs = memory + count, *bias = runs + count;
    vipo_status status = read_part(store, name, "weight", window->rank, shapes[window->rank], memory, error);
    if (status == VIPO_OK && window->has_bias) status = read_part(store, name, "bias", 1, &out, bias, error);
    if (status == VIPO_OK) {
        for (size_t o = 0; o < out; o++)
            for (size_t c = 0; c < in; c++)
                for (size_t t = 0; t < taps; t++)
                    runs[(o * taps + t) * in + c] = memory[(o * in + c) * taps + t];
        status = vipo_weight_store_linear(store, (int)(taps * in), window->out, runs,
                                          window->has_bias ? bias : NULL, packed, error);
    }
    vipo_aligned_free(memory);
    return status;
}

vipo_status vipo_window_packed_transposed(vipo_weight_store *store, const char *name, int channels,
                                          const vipo_packed *packed[2], vipo_error *error)
{
    /* output position o takes tap k of input i where o = 2 i - 1 + k */
    static const size_t taps_of[2][2] = {{3, 1}, {2, 0}};
    enum { TAPS = 4 };
    const size_t n = (size_t)channels, count = n * n * TAPS, shape[3] = {n, n, TAPS};
    float *memory = vipo_aligned_alloc(count + count / 2 + n, sizeof *memory);
    if (!memory) return vipo_fail_memory(error, (count + count / 2 + n) * sizeof *memory, "weights");
    float *runs = memory + count, *bias = runs + count / 2;
    vipo_status status = read_part(store, name, "weight", 3, shape, memory, error);
    if (status == VIPO_OK) status = read_part(store, name, "bias", 1, &n, bias, error);
    for (int parity = 0; parity < 2 && status == VIPO_OK; parity++) {
        for (size_t o = 0; o < n; o++)
            for (size_t pixel = 0; pixel < 2; pixel++)
                for (size_t c = 0; c < n; c++)
                    runs[(o * 2 + pixel) * n + c] = memory[(c * n + o) * TAPS + taps_of[parity][pixel]];
        status = vipo_weight_store_linear(store, 2 * channels, channels, runs, bias, &packed[parity], error);
    }
    vipo_aligned_free(memory);
    return status;
}
