/* Local correlation: the samples of a window share their fractions, so bilinear samples of b are never made; products
 * with whole pixels are, and those are mixed. */
#include "compute/blocked/blocked.h"

struct correlation_loop {
    const vipo_correlation *args;
};

enum { WINDOW = 2 * VIPO_CORRELATION_RADIUS + 2 };

static inline float dot(const float *a, const float *b, int channels)
{
    const int whole = channels / LANES * LANES, rest = channels - whole;
    vfloat sum = v_zero();
    for (int c = 0; c < whole; c += LANES) sum = v_fma(v_load(a + c), v_load(b + c), sum);
    if (rest) sum = v_fma(v_load_n(a + whole, rest), v_load_n(b + whole, rest), sum);
    return v_sum(sum);
}

/* products[y][x] of a with the pixels of a window of side x side from (left, top) on. */
static void multiply(const vipo_correlation *args, const float *b, const float *a, int left, int top,
                     int side, float (*products)[WINDOW])
{
    for (int j = 0; j < side; j++) {
        const int y = top + j;
        const bool inside = y >= 0 && y < args->height;
        const float *row = b + (ptrdiff_t)(inside ? y : 0) * args->width * args->channels;
        for (int i = 0; i < side; i++) {
            const int x = left + i;
            products[j][i] = inside && x >= 0 && x < args->width
                                 ? dot(a, row + (ptrdiff_t)x * args->channels, args->channels)
                                 : 0;
        }
    }
}

/* Task i = item * height + y. */
static void correlation_row(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_correlation *args = ((const struct correlation_loop *)arg)->args;
    const int y = i % args->height, side = 2 * args->radius + 1;
    const size_t width = (size_t)args->width, channels = (size_t)args->channels;
    const float *b = args->b + (size_t)(i / args->height) * (size_t)args->height * width * channels;
    float products[WINDOW][WINDOW];
    for (int x = 0; x < args->width; x++) {
        const size_t pixel = (size_t)i * width + (size_t)x;
        const float *flow = args->flow ? args->flow + 2 * pixel : NULL;
        float *out = args->out + pixel * (size_t)(side * side), fx, fy;
        int left, top;
        if (!vipo_correlation_window(args, x, y, flow, &left, &top, &fx, &fy)) {
            for (int d = 0; d < side * side; d++) out[d] = 0;
            continue;
        }
        multiply(args, b, args->a + pixel * channels, left, top, flow ? side + 1 : side, products);
        for (int v = 0; v < side; v++)
            for (int u = 0; u < side; u++) {
                const float *p = &products[v][u];
                float value = p[0];
                if (flow)
                    value = (1 - fy) * ((1 - fx) * p[0] + fx * p[1]) +
                            fy * ((1 - fx) * p[WINDOW] + fx * p[WINDOW + 1]);
                out[v * side + u] = value * args->scale;
            }
    }
}

void BLOCKED(correlation)(const vipo_compute *compute, const vipo_correlation *args)
{
    struct correlation_loop loop = {args};
    vipo_pool_run(compute->pool, args->items * args->height, correlation_row, &loop);
}
