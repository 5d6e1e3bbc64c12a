/* Convolution over maps with a border: every row of the window is a segment of one matrix product, whose rows are
 * output pixels. Tasks divide pixels and panels, so that few pixels still read the weights once and by all threads. */
#include "compute/blocked/blocked.h"

enum { WINDOW_PIXELS = 240, WINDOW_TASKS_PER_THREAD = 8 }; /* a multiple of every TILE_ROWS */

struct window_loop {
    const vipo_compute *compute;
    const vipo_conv_window *args;
    int pixels, blocks, block_pixels; /* of all samples; their parts */
    int group_panels;                 /* panels of a task */
};

/* Scratch: offsets of a block's pixels in the input and in the output. */
static size_t offsets_bytes(void)
{
    return line_bytes(WINDOW_PIXELS * sizeof(ptrdiff_t));
}

size_t BLOCKED(conv_window_scratch)(const vipo_conv_window *args)
{
    (void)args;
    return 2 * offsets_bytes();
}

/* Task i = group of panels * blocks + block: neighbours share weights. */
static void window_task(void *arg, int i, int thread)
{
    const struct window_loop *loop = arg;
    const vipo_conv_window *args = loop->args;
    const vipo_packed *weights = args->weights;
    const int first = i % loop->blocks * loop->block_pixels;
    const int n = least(loop->pixels - first, loop->block_pixels);
    const int first_panel = i / loop->blocks * loop->group_panels;
    const int end_panel = least(first_panel + loop->group_panels, panel_count(weights->out));
    char *scratch = vipo_compute_scratch(loop->compute, thread);
    ptrdiff_t *x_rows = (void *)scratch, *y_rows = (void *)(scratch + offsets_bytes());
    for (int r = 0; r < n; r++) {
        const int p = first + r;
        const size_t x = (size_t)(p % args->width), y = (size_t)(p / args->width % args->height);
        const size_t sample = (size_t)(p / args->width / args->height), stride = (size_t)args->stride;
        x_rows[r] =
            (ptrdiff_t)((sample * args->x.sample + y * stride * args->x.row + x * stride * args->x.pixel) *
                        sizeof(float));
        y_rows[r] =
            (ptrdiff_t)((sample * args->y.sample + y * args->y.row + x * args->y.pixel) * sizeof(float));
    }
    struct gemm gemm = {.rows = n,
                        .columns = weights->out,
                        .n_segments = args->kernel_height,
                        .bias = weights->bias,
                        .out = args->y.data,
                        .out_rows = y_rows};
    const int run = weights->in / args->kernel_height;
    for (int k = 0; k < args->kernel_height; k++)
        gemm.segments[k] = (struct gemm_segment){.a = args->x.data + (size_t)k * args->x.row,
                                                 .rows = x_rows,
                                                 .k = run,
                                                 .weights = weights->data,
                                                 .weights_k = weights->in,
                                                 .first_k = k * run};
    BLOCKED(gemm)(&gemm, first_panel, end_panel);
}

void BLOCKED(conv_window)(const vipo_compute *compute, const vipo_conv_window *args)
{
    const int panels = panel_count(args->weights->out);
    const int wanted = WINDOW_TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int pixels = args->samples * args->height * args->width;
    struct window_loop loop = {compute, args, pixels, 0, WINDOW_PIXELS, panels};
    loop.blocks = parts(pixels, WINDOW_PIXELS);
    loop.block_pixels = parts(parts(pixels, loop.blocks), TILE_ROWS) * TILE_ROWS;
    loop.blocks = parts(pixels, loop.block_pixels);
    if (loop.blocks < wanted) loop.group_panels = parts(panels, least(panels, parts(wanted, loop.blocks)));
    vipo_pool_run(compute->pool, loop.blocks * parts(panels, loop.group_panels), window_task, &loop);
}
