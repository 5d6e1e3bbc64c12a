/* Linear layers: tasks divide rows and panels, so that few rows still read the weights once and by all
 * threads. */
#include "compute/blocked/blocked.h"

enum { LINEAR_ROWS = 128 };

struct linear_loop {
    const vipo_compute *compute;
    const vipo_linear *args;
    int groups, group_panels; /* panels are shared out among `groups` tasks */
};

/* Scratch: offsets of x and y, offsets of the block below; with an activation that block [rows][PANEL]. */
static size_t offsets_bytes(const vipo_linear *args)
{
    return line_bytes((size_t)least(args->rows, LINEAR_ROWS) * sizeof(ptrdiff_t));
}

size_t BLOCKED(linear_scratch)(const vipo_linear *args)
{
    const size_t block = (size_t)least(args->rows, LINEAR_ROWS) * PANEL * sizeof(float);
    return 3 * offsets_bytes(args) + (args->activation == VIPO_ACT_NONE ? 0 : block);
}

static void activate_block(const vipo_linear *args, int first_row, int rows, int column, const float *block)
{
    const int columns = least(args->weights->out - column, PANEL);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c += LANES) {
            const int n = least(columns - c, LANES);
            const size_t at = (size_t)(first_row + r) * args->y_stride + (size_t)(column + c);
            vfloat y = activation_of(v_load(block + r * PANEL + c), args->activation);
            if (args->residual) y = v_add(y, v_load_n(args->residual + at, n));
            v_store_n(args->y + at, y, n);
        }
}

/* Task i = group * row blocks + block: neighbours share weights. */
static void linear_task(void *arg, int i, int thread)
{
    const struct linear_loop *loop = arg;
    const vipo_linear *args = loop->args;
    const vipo_packed *weights = args->weights;
    const int blocks = parts(args->rows, LINEAR_ROWS), first_row = i % blocks * LINEAR_ROWS;
    const int rows = least(args->rows - first_row, LINEAR_ROWS);
    const int first_panel = i / blocks * loop->group_panels;
    const int end_panel = least(first_panel + loop->group_panels, panel_count(weights->out));
    char *scratch = vipo_compute_scratch(loop->compute, thread);
    ptrdiff_t *x_rows = (void *)scratch, *y_rows = (void *)(scratch + offsets_bytes(args));
    ptrdiff_t *block_rows = (void *)(scratch + 2 * offsets_bytes(args));
    float *block = (void *)(scratch + 3 * offsets_bytes(args));
    for (int r = 0; r < rows; r++) {
        x_rows[r] = (ptrdiff_t)((size_t)(first_row + r) * args->x_stride * sizeof(float));
        y_rows[r] = (ptrdiff_t)((size_t)(first_row + r) * args->y_stride * sizeof(float));
        block_rows[r] = r * PANEL * (ptrdiff_t)sizeof(float);
    }
    if (args->activation == VIPO_ACT_NONE) {
        const struct gemm gemm = {
            .rows = rows,
            .columns = weights->out,
            .n_segments = 1,
            .segments = {{args->x, x_rows, weights->in, weights->data, weights->in, 0}},
            .bias = weights->bias,
            .init = args->residual,
            .init_rows = y_rows,
            .out = args->y,
            .out_rows = y_rows,
        };
        BLOCKED(gemm)(&gemm, first_panel, end_panel);
        return;
    }
    for (int panel = first_panel; panel < end_panel; panel++) {
        /* A matrix of this panel alone. */
        const size_t column = (size_t)panel * PANEL;
        const float *own = weights->data + column * (size_t)weights->in;
        const struct gemm gemm = {
            .rows = rows,
            .columns = least(weights->out - (int)column, PANEL),
            .n_segments = 1,
            .segments = {{args->x, x_rows, weights->in, own, weights->in, 0}},
            .bias = weights->bias + column,
            .out = block,
            .out_rows = block_rows,
        };
        BLOCKED(gemm)(&gemm, 0, 1);
        activate_block(args, first_row, rows, (int)column, block);
    }
}

void BLOCKED(linear)(const vipo_compute *compute, const vipo_linear *args)
{
    const int panels = panel_count(args->weights->out), blocks = parts(args->rows, LINEAR_ROWS);
    const int wanted = 8 * vipo_pool_threads(compute->pool);
    struct linear_loop loop = {compute, args, 1, panels};
    if (blocks < wanted) loop.groups = blocks == 0 ? 1 : least(panels, parts(wanted, blocks));
    loop.group_panels = parts(panels, loop.groups);
    loop.groups = parts(panels, loop.group_panels);
    vipo_pool_run(compute->pool, blocks * loop.groups, linear_task, &loop);
}
