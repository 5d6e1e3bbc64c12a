/* Reference of the local correlation: every product where it is needed, sums in double. */
#include "compute/ref/ref.h"

static double dot(const vipo_correlation *args, int item, const float *a, int x, int y)
{
    if (x < 0 || y < 0 || x >= args->width || y >= args->height) return 0;
    const size_t pixel = ((size_t)item * (size_t)args->height + (size_t)y) * (size_t)args->width + (size_t)x;
    const float *b = args->b + pixel * (size_t)args->channels;
    double sum = 0;
    for (int c = 0; c < args->channels; c++) sum += (double)a[c] * (double)b[c];
    return sum;
}

/* Task i = item * height + y. */
static void correlation_row(void *arg, int i, int thread)
{
    (void)thread;
    const vipo_correlation *args = ((const struct ref_task *)arg)->args;
    const int item = i / args->height, y = i % args->height, side = 2 * args->radius + 1;
    for (int x = 0; x < args->width; x++) {
        const size_t pixel = (size_t)i * (size_t)args->width + (size_t)x;
        const float *a = args->a + pixel * (size_t)args->channels;
        float *out = args->out + pixel * (size_t)(side * side), fx, fy;
        int left, top;
        const bool seen = vipo_correlation_window(args, x, y, args->flow ? args->flow + 2 * pixel : NULL,
                                                  &left, &top, &fx, &fy);
        for (int d = 0; d < side * side; d++) {
            const int u = left + d % side, v = top + d / side;
            double sum = 0;
            for (int corner = 0; corner < 4 && seen; corner++) {
                const double wx = corner & 1 ? (double)fx : 1 - (double)fx,
                             wy = corner & 2 ? (double)fy : 1 - (double)fy;
                if (wx * wy > 0) sum += wx * wy * dot(args, item, a, u + (corner & 1), v + (corner >> 1));
            }
            out[d] = (float)(sum * (double)args->scale);
        }
    }
}

void vipo_ref_correlation(const vipo_compute *compute, const vipo_correlation *args)
{
    struct ref_task task = {compute, args};
    vipo_pool_run(compute->pool, args->items * args->height, correlation_row, &task);
}
