/* Weights of Winograd convolutions in space: G w G^T, panels of [product][in][columns]. */
#include <string.h>

#include "compute/blocked/winograd_v.h"

enum { HALVES = 8 /* converted at a time; panels are multiples of it wide */ };

struct pack_loop {
    const vipo_layer *layer;
    const float *weights;
    float *memory; /* or halves */
    int axis;
    bool half;
};

/* The nine taps of some output channels for one input channel, to one row of each product. In double, and the
 * sums of both steps as they are written: the same bits everywhere. */
struct filter {
    const float *taps; /* of the first output */
    size_t step;       /* floats from output to output */
    int columns;
    double half[WINOGRAD_MOST][3][PANEL]; /* G w */
};

static void transform_columns(struct filter *filter, const double (*g)[3], int axis)
{
    double tap[9][PANEL];
    for (int o = 0; o < filter->columns; o++)
        for (int t = 0; t < 9; t++) tap[t][o] = (double)filter->taps[(size_t)o * filter->step + (size_t)t];
    for (int i = 0; i < axis; i++)
        for (int x = 0; x < 3; x++)
            for (int o = 0; o < filter->columns; o++)
                filter->half[i][x][o] =
                    g[i][0] * tap[x][o] + g[i][1] * tap[3 + x][o] + g[i][2] * tap[6 + x][o];
}

/* (G w)_i G_j^T; columns that do not exist are 0. */
static void transform_rows(const struct filter *filter, int i, const double g[3], float line[PANEL])
{
    memset(line, 0, PANEL * sizeof *line);
    for (int o = 0; o < filter->columns; o++)
        line[o] = (float)(g[0] * filter->half[i][0][o] + g[1] * filter->half[i][1][o] +
                          g[2] * filter->half[i][2][o]);
}

#ifdef VIPO_SPLIT

static bool halves(const vipo_layer *layer, vipo_method method)
{
    (void)layer, (void)method;
    return false;
}

static size_t weight_floats(int products, int in, int out, bool half)
{
    (void)half;
    return (size_t)products * panel_floats(split_chunks(in) * SPLIT_CHUNK, out);
}

static float *panel_of(const struct pack_loop *loop, int p)
{
    const size_t depth = (size_t)split_chunks(loop->layer->in) * SPLIT_CHUNK;
    return loop->memory + (size_t)(loop->axis * loop->axis) * depth * (size_t)p * PANEL;
}

/* Chunks end in inputs that do not exist. */
static void clear_panel(const struct pack_loop *loop, int p)
{
    const size_t depth = (size_t)split_chunks(loop->layer->in) * SPLIT_CHUNK;
    const size_t floats =
        (size_t)(loop->axis * loop->axis) * depth * (size_t)panel_width(loop->layer->out, p);
    memset(panel_of(loop, p), 0, floats * sizeof(float));
}

/* Weights of input c and one product, panel p. */
static void store_line(const struct pack_loop *loop, int p, int product, int c, const float *line)
{
    const int width = panel_width(loop->layer->out, p);
    const size_t depth = (size_t)split_chunks(loop->layer->in) * SPLIT_CHUNK;
    const size_t chunk = (size_t)product * depth + (size_t)(c / SPLIT_CHUNK * SPLIT_CHUNK);
    vipo_split_store_weights(panel_of(loop, p) + chunk * (size_t)width, width, c % SPLIT_CHUNK, line);
}

#else

static bool halves(const vipo_layer *layer, vipo_method method)
{
    return BLOCKED(halves)(layer, method);
}

static size_t weight_floats(int products, int in, int out, bool half)
{
    const size_t count = (size_t)products * panel_floats(in, out);
    return half ? (count + 1) / 2 : count;
}

static void store_halves(uint16_t *out, const float *x, int n)
{
    for (int i = 0; i < n; i += HALVES)
        _mm_storeu_si128(
            (__m128i *)(void *)(out + i),
            _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static void clear_panel(const struct pack_loop *loop, int p)
{
    (void)loop, (void)p;
}

/* Weights of input c and one product, panel p. */
static void store_line(const struct pack_loop *loop, int p, int product, int c, const float *line)
{
    const size_t in = (size_t)loop->layer->in, width = (size_t)panel_width(loop->layer->out, p);
    const size_t at = (size_t)(loop->axis * loop->axis) * in * (size_t)p * PANEL +
                      ((size_t)product * in + (size_t)c) * width;
    if (loop->half)
        store_halves((uint16_t *)(void *)loop->memory + at, line, (int)width);
    else
        memcpy(loop->memory + at, line, width * sizeof *line);
}

#endif

size_t WINOGRAD(winograd_space_floats)(const vipo_layer *layer, vipo_method method)
{
    const int axis = winograd_outputs(method) + 2;
    return weight_floats(axis * axis, layer->in, layer->out, halves(layer, method));
}

/* Task p: a panel of columns. */
static void pack_panel(void *arg, int p, int thread)
{
    (void)thread;
    const struct pack_loop *loop = arg;
    const double(*g)[3] = loop->axis == 6 ? winograd_filter_4 : winograd_filter_2;
    const int in = loop->layer->in, out = loop->layer->out, width = panel_width(out, p), axis = loop->axis;
    struct filter filter = {.step = (size_t)in * 9, .columns = least(out - p * PANEL, width)};
    clear_panel(loop, p);
    for (int c = 0; c < in; c++) {
        filter.taps = loop->weights + ((size_t)p * PANEL * (size_t)in + (size_t)c) * 9;
        transform_columns(&filter, g, axis);
        for (int i = 0; i < axis; i++)
            for (int j = 0; j < axis; j++) {
                float line[PANEL];
                transform_rows(&filter, i, g[j], line);
                store_line(loop, p, i * axis + j, c, line);
            }
    }
}

void WINOGRAD(winograd_space_pack)(const vipo_layer *layer, vipo_method method, const float *weights,
                                   float *memory, vipo_pool *pool)
{
    struct pack_loop loop = {layer, weights, memory, winograd_outputs(method) + 2, halves(layer, method)};
    vipo_pool_run(pool, panel_count(layer->out), pack_panel, &loop);
}
