/* Maps as rasters (compute/ops.h): what networks on conv_window and norm_act share. */
#ifndef VIPO_NETS_RASTER_H
#define VIPO_NETS_RASTER_H

#include "nets/program.h"
#include "nets/weight_store.h"

/* A map of height x width pixels of `channels` floats inside a border of zeros that is `border` pixels wide; height 1 has
 * none above and below. memory has vipo_raster_floats of it per sample; the raster begins at the first pixel inside. */
size_t vipo_raster_floats(int height, int width, int channels, int border);
vipo_raster vipo_raster_inside(float *memory, int height, int width, int channels, int border);

/* One without a border. */
static inline vipo_raster vipo_raster_dense(float *memory, int height, int width, int channels)
{
    return vipo_raster_inside(memory, height, width, channels, 0);
}

/* The raster moved by whole pixels. */
static inline vipo_raster vipo_raster_moved(vipo_raster raster, int rows, int pixels)
{
    raster.data += (ptrdiff_t)raster.row * rows + (ptrdiff_t)raster.pixel * pixels;
    return raster;
}

void vipo_raster_copy(const vipo_raster *to, const vipo_raster *from, int samples, int height, int width,
                      int channels);

/* Hands a map to dump in PyTorch's layout: [samples][channels][height][width], or [samples][channels][width] if rank is
 * 3. The name is prefix and name. */
vipo_status vipo_raster_dump(vipo_dump_function dump, void *user, const char *prefix, const char *name,
                             const vipo_raster *raster, int rank, int samples, int height, int width,
                             int channels, vipo_error *error);

/* "<name>.weight" of PyTorch's layout [out][in][height][width] (rank 4), [out][in][width] (3) or [out][in] (2), and
 * "<name>.bias" if has_bias, packed for conv_window. */
typedef struct vipo_window {
    int rank, in, out, height, width;
    bool has_bias;
} vipo_window;
vipo_status vipo_window_packed(vipo_weight_store *store, const char *name, const vipo_window *window,
                               const vipo_packed **packed, vipo_error *error);

/* ConvTranspose1d with 4 taps, stride 2 and padding 1, "<name>.weight" [channels][channels][4]: two windows of 2 pixels.
 * Output 2i sees pixels i - 1 and i, output 2i + 1 pixels i and i + 1. */
vipo_status vipo_window_packed_transposed(vipo_weight_store *store, const char *name, int channels,
                                          const vipo_packed *packed[2], vipo_error *error);

/* Scratch bytes per thread that both ops need at most for these weights. */
static inline size_t vipo_window_scratch(const vipo_ops *ops, const vipo_packed *weights)
{
    return ops->conv_window_scratch
               ? ops->conv_window_scratch(&(vipo_conv_window){.kernel_height = 1, .weights = weights})
               : 0;
}

#endif
