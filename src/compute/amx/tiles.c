/* The microkernel on AMX tiles: tmm0 to tmm3 hold sums of 2 x 2 tiles, tmm4 and 5 inputs, tmm6 and 7 weights. */
#include "compute/amx/split.h"
#include "compute/blocked/winograd.h" /* ALWAYS_INLINE */

/* Sums go through float32 once for each input pair; after so many chunks they are put aside, which bounds rounding. */
enum { PIECE = 32 };

/* Palette 1: eight tiles of 16 rows of 64 bytes (Intel's manual, LDTILECFG). A constant, for the compiler knows nothing of what
 * tile instructions read. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tiles = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

void vipo_split_begin(void)
{
    _tile_loadconfig(&tiles);
}

void vipo_split_end(void)
{
    _tile_release();
}

#define FENCE() __asm__ volatile("" ::: "memory")

/* Products of one chunk, for `down` x `across` tiles of 16. */
#define LOAD_A(from)                                                                                         \
    _tile_loadd(4, from, pitch);                                                                             \
    if (down == 2) _tile_loadd(5, (from) + 16 * pitch, pitch)
#define LOAD_B(from)                                                                                         \
    _tile_loadd(6, from, 64);                                                                                \
    if (across == 2) _tile_loadd(7, (from) + SPLIT_TILE_BYTES, 64)
#define MULTIPLY()                                                                                           \
    _tile_dpbf16ps(0, 4, 6);                                                                                 \
    if (across == 2) _tile_dpbf16ps(1, 4, 7);                                                                \
    if (down == 2) _tile_dpbf16ps(2, 5, 6);                                                                  \
    if (down == 2 && across == 2) _tile_dpbf16ps(3, 5, 7)

static ALWAYS_INLINE void sum_chunks(const struct split_product *p, int first, int end, float *sums, int down,
                                     int across)
{
    const size_t pitch = p->pitch, step = (size_t)across * 2 * SPLIT_TILE_BYTES;
    const char *b = p->weights + (size_t)first * step;
    FENCE();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = first; i < end; i++, b += step) {
        const char *const high = p->a + (p->chunks ? p->chunks[i] : (ptrdiff_t)i * SPLIT_CHUNK_BYTES);
        const char *const low = high + p->low;
        LOAD_A(low);
        LOAD_B(b);
        MULTIPLY();
        LOAD_A(high);
        MULTIPLY();
        LOAD_B(b + (size_t)across * SPLIT_TILE_BYTES);
        MULTIPLY();
    }
    const size_t row = PANEL * sizeof(float);
    _tile_stored(0, sums, row);
    if (across == 2) _tile_stored(1, sums + LANES, row);
    if (down == 2) _tile_stored(2, sums + 16 * PANEL, row);
    if (down == 2 && across == 2) _tile_stored(3, sums + 16 * PANEL + LANES, row);
    FENCE();
}

static ALWAYS_INLINE void multiply(const struct split_product *p, bool add, float *sums, int down, int across)
{
    float piece[SPLIT_SUMS] __attribute__((aligned(64)));
    const int pieces = parts(p->n, PIECE), most = parts(p->n, pieces);
    for (int first = 0; first < p->n; first += most) {
        sum_chunks(p, first, least(first + most, p->n), first || add ? piece : sums, down, across);
        if (!first && !add) continue;
        for (int row = 0; row < 16 * down; row++)
            for (int c = 0; c < across * LANES; c += LANES) {
                float *const sum = sums + (size_t)row * PANEL + c;
                v_store(sum, v_add(v_load(sum), v_load(piece + (size_t)row * PANEL + c)));
            }
    }
}

void vipo_split_multiply(const struct split_product *product, int rows, bool add, float *sums)
{
    if (rows > 16 && product->width == PANEL)
        multiply(product, add, sums, 2, 2);
    else if (rows > 16)
        multiply(product, add, sums, 2, 1);
    else if (product->width == PANEL)
        multiply(product, add, sums, 1, 2);
    else
        multiply(product, add, sums, 1, 1);
}

void vipo_split_pixels(char *out, size_t pitch, const float *x, int channels, int n)
{
    const size_t low = (size_t)split_chunks(channels) * SPLIT_CHUNK_BYTES;
    const int padded = split_chunks(channels) * SPLIT_CHUNK;
    for (int i = 0; i < n; i++, out += pitch, x += channels)
        for (int c = 0; c < padded; c += LANES) {
            const int rest = channels - c;
            char *const to = out + (size_t)c * sizeof(uint16_t);
            split_vector(to, to + low,
                         rest >= LANES ? v_load(x + c)
                         : rest > 0    ? v_load_n(x + c, rest)
                                       : v_zero(),
                         rest);
        }
}
