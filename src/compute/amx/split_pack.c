/* Weights of the split products, [panel][chunk][high, low][16 outputs][pair of inputs][output][2]; bias behind as ever. */
#include <string.h>

#include "compute/amx/split.h"
#include "compute/blocked/upsample_taps.h"

bool vipo_split_knows(const vipo_layer *layer)
{
    /* what is not over a map is the business of other ops */
    if (layer->kind == VIPO_WEIGHT_LINEAR) return layer->frames * layer->height * layer->width > 1;
    return in_space(layer->kind) || layer->kind == VIPO_WEIGHT_TIME;
}

static bool is_upsampling(const vipo_layer *layer)
{
    return layer->kind == VIPO_WEIGHT_3X3_UPSAMPLE2;
}

/* Taps of a product. */
static int taps_of(const vipo_layer *layer)
{
    return is_upsampling(layer) ? UPSAMPLE_TAPS : vipo_weight_taps(layer->kind);
}

size_t vipo_split_weight_floats(const vipo_layer *layer)
{
    const int depth = taps_of(layer) * split_chunks(layer->in) * SPLIT_CHUNK;
    return (size_t)upsample_parities(layer->kind) * panel_floats(depth, layer->out);
}

/* A weight of one output and input, by tap: of an upsampling the sum of what a parity's tap stands for. */
static float weight_of(const vipo_layer *layer, const float *taps, int set, int tap)
{
    return is_upsampling(layer) ? upsample_weight(taps, 1, set, tap) : taps[tap];
}

/* Place of a chunk of a tap: over frames by taps; in space by rows of taps, then chunks, then columns, for taps of a row read
 * nearly the same pixels, which are then in the first-level cache. */
static int chunk_of(const vipo_layer *layer, int tap, int chunk)
{
    const int chunks = split_chunks(layer->in), columns = is_upsampling(layer) ? 2 : 3;
    if (layer->kind == VIPO_WEIGHT_TIME || layer->kind == VIPO_WEIGHT_LINEAR) return tap * chunks + chunk;
    return (tap / columns * chunks + chunk) * columns + tap % columns;
}

/* bfloat16 of a float, to nearest, ties to even, as VCVTNE2PS2BF16: what is below the normal numbers is 0. */
static uint16_t round_to_bfloat(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7f800000u) == 0x7f800000u) return (uint16_t)(bits >> 16 | (bits & 0xffffu ? 0x40u : 0));
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static float float_of_bfloat(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

void vipo_split_store_weights(float *chunk, int width, int input, const float *line)
{
    const size_t tile = SPLIT_TILE_BYTES / sizeof(uint16_t), low = (size_t)(width / LANES) * tile;
    uint16_t *const to = (uint16_t *)(void *)chunk + (size_t)(input / 2 * 2 * LANES + input % 2);
    for (int o = 0; o < width; o++) {
        const size_t at = (size_t)(o / LANES) * tile + (size_t)(o % LANES * 2);
        const uint16_t high = round_to_bfloat(line[o]);
        const float rest = line[o] - float_of_bfloat(high);
        to[at] = high;
        to[low + at] = rest - rest == 0 ? round_to_bfloat(rest) : 0;
    }
}

struct pack_loop {
    const vipo_layer *layer;
    const float *weights;
    float *memory;
};

/* Task i = set * panels + panel. */
static void pack_panel(void *arg, int i, int thread)
{
    (void)thread;
    const struct pack_loop *loop = arg;
    const vipo_layer *layer = loop->layer;
    const int panels = panel_count(layer->out), set = i / panels, panel = i % panels;
    const int width = panel_width(layer->out, panel), first = panel * PANEL;
    const int all = vipo_weight_taps(layer->kind), taps = taps_of(layer), chunks = split_chunks(layer->in);
    const int depth = taps * chunks * SPLIT_CHUNK;
    float *const start =
        loop->memory + (size_t)set * panel_floats(depth, layer->out) + (size_t)first * (size_t)depth;
    memset(start, 0, (size_t)depth * (size_t)width * sizeof *start);
    for (int c = 0; c < layer->in; c++)
        for (int tap = 0; tap < taps; tap++) {
            float line[PANEL] = {0};
            for (int o = 0; o < least(width, layer->out - first); o++)
                line[o] = weight_of(layer,
                                    loop->weights +
                                        ((size_t)(first + o) * (size_t)layer->in + (size_t)c) * (size_t)all,
                                    set, tap);
            vipo_split_store_weights(start + (size_t)(chunk_of(layer, tap, c / SPLIT_CHUNK) * SPLIT_CHUNK) *
                                                 (size_t)width,
                                     width, c % SPLIT_CHUNK, line);
        }
}

void vipo_split_pack(const vipo_layer *layer, const float *weights, float *memory, vipo_pool *pool)
{
    struct pack_loop loop = {layer, weights, memory};
    vipo_pool_run(pool, upsample_parities(layer->kind) * panel_count(layer->out), pack_panel, &loop);
}
