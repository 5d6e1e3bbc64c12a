/* Packing weights into panels [panel][k][columns], k in the order in which the ops read their inputs. */
#include <string.h>

#include "compute/blocked/blocked.h"
#include "compute/blocked/upsample_taps.h"
#include "compute/blocked/winograd_space.h"
#include "compute/blocked/winograd_time.h"

/* Input channels copied at a time, so that reads use whole cache lines and writes stay in L1. */
enum { PACK_CHANNELS = 16 };

int BLOCKED(packed_depth)(vipo_weight_kind kind, int in)
{
    return kind == VIPO_WEIGHT_3X3_UPSAMPLE2 ? 4 * in : vipo_weight_taps(kind) * in;
}

bool BLOCKED(knows)(const vipo_layer *layer, vipo_method method)
{
    if (method == VIPO_METHOD_DIRECT) return true;
    if (method > VIPO_METHOD_WINOGRAD_4) return false;
    if (layer->kind == VIPO_WEIGHT_TIME) return method == VIPO_METHOD_WINOGRAD_4 && layer->frames >= 2;
    return in_space(layer->kind);
}

bool BLOCKED(halves)(const vipo_layer *layer, vipo_method method)
{
    return layer->half && method != VIPO_METHOD_DIRECT && in_space(layer->kind);
}

vipo_method BLOCKED(choose)(const vipo_layer *layer)
{
    if (in_space(layer->kind) && layer->in >= LANES) return VIPO_METHOD_WINOGRAD_4;
    /* two frames take as many products as directly */
    if (layer->kind == VIPO_WEIGHT_TIME && layer->in >= LANES && layer->frames > 2)
        return VIPO_METHOD_WINOGRAD_4;
    return VIPO_METHOD_DIRECT;
}

static size_t direct_floats(const vipo_layer *layer)
{
    return (size_t)upsample_parities(layer->kind) *
           panel_floats(BLOCKED(packed_depth)(layer->kind, layer->in), layer->out);
}

static size_t weight_floats(const vipo_layer *layer, vipo_method method)
{
    if (method == VIPO_METHOD_DIRECT) return direct_floats(layer);
    return layer->kind == VIPO_WEIGHT_TIME ? BLOCKED(winograd_time_floats)(layer)
                                           : BLOCKED(winograd_space_floats)(layer, method);
}

size_t BLOCKED(packed_floats)(const vipo_layer *layer, vipo_method method)
{
    return weight_floats(layer, method) + padded_columns(layer->out);
}

/* block[tap][channel][column] of channels [first, first + n) and `columns` outputs from `weights` on. */
static void read_block(float (*block)[PACK_CHANNELS][PANEL], int in, int taps, int first, int n, int columns,
                       const float *weights)
{
    for (int o = 0; o < columns; o++) {
        const float *w = weights + ((size_t)o * (size_t)in + (size_t)first) * (size_t)taps;
        for (int c = 0; c < n; c++)
            for (int t = 0; t < taps; t++) block[t][c][o] = *w++;
    }
}

static void write_block(float *panel, int width, vipo_weight_kind kind, int in, int first, int n,
                        float (*block)[PACK_CHANNELS][PANEL])
{
    for (int t = 0; t < vipo_weight_taps(kind); t++)
        for (int c = 0; c < n; c++)
            memcpy(panel + ((size_t)t * (size_t)in + (size_t)(first + c)) * (size_t)width, block[t][c],
                   (size_t)width * sizeof(float));
}

static void write_merged_block(float *panel, int width, int parity, int in, int first, int n,
                               float (*block)[PACK_CHANNELS][PANEL])
{
    for (int tap = 0; tap < 4; tap++)
        for (int c = 0; c < n; c++) {
            float *row = panel + ((size_t)tap * (size_t)in + (size_t)(first + c)) * (size_t)width;
            for (int o = 0; o < width; o++)
                row[o] = upsample_weight(&block[0][c][o], sizeof block[0] / sizeof(float), parity, tap);
        }
}

struct pack_loop {
    const vipo_layer *layer;
    const float *weights;
    float *memory;
};

/* Task p: a panel of columns. */
static void pack_direct(void *arg, int p, int thread)
{
    (void)thread;
    const struct pack_loop *loop = arg;
    const vipo_weight_kind kind = loop->layer->kind;
    const int in = loop->layer->in, out = loop->layer->out;
    const int taps = vipo_weight_taps(kind), depth = BLOCKED(packed_depth)(kind, in);
    const size_t set = panel_floats(depth, out);
    const int column = p * PANEL, width = panel_width(out, p);
    float *panel = loop->memory + (size_t)column * (size_t)depth;
    float block[9][PACK_CHANNELS][PANEL];
    memset(block, 0, sizeof block);
    for (int first = 0; first < in; first += PACK_CHANNELS) {
        const int n = least(in - first, PACK_CHANNELS);
        read_block(block, in, taps, first, n, least(out - column, width),
                   loop->weights + (size_t)column * (size_t)in * (size_t)taps);
        if (kind == VIPO_WEIGHT_3X3_UPSAMPLE2)
            for (int parity = 0; parity < UPSAMPLE_PARITIES; parity++)
                write_merged_block(panel + (size_t)parity * set, width, parity, in, first, n, block);
        else
            write_block(panel, width, kind, in, first, n, block);
    }
}

const float *BLOCKED(pack_bias)(float *packed, const float *bias, int out)
{
    memset(packed, 0, padded_columns(out) * sizeof(float));
    if (bias) memcpy(packed, bias, (size_t)out * sizeof(float));
    return packed;
}

void BLOCKED(pack)(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                   float *memory, vipo_packed *packed, vipo_pool *pool)
{
    struct pack_loop loop = {layer, weights, memory};
    if (method == VIPO_METHOD_DIRECT)
        vipo_pool_run(pool, panel_count(layer->out), pack_direct, &loop);
    else if (layer->kind == VIPO_WEIGHT_TIME)
        BLOCKED(winograd_time_pack)(layer, weights, memory, pool);
    else
        BLOCKED(winograd_space_pack)(layer, method, weights, memory, pool);
    *packed =
        (vipo_packed){.kind = layer->kind,
                      .method = method,
                      .half = BLOCKED(halves)(layer, method),
                      .in = layer->in,
                      .out = layer->out,
                      .data = memory,
                      .bias = BLOCKED(pack_bias)(memory + weight_floats(layer, method), bias, layer->out)};
}
