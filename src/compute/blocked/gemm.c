/* Loops around the microkernel: panels, then depth in chunks that stay in L2, then tiles of rows. */
#include "compute/blocked/gemm.h"

#include <string.h>

#include "compute/blocked/tile.h"

enum { FETCH_AHEAD = 2 /* tiles */, LINE_FLOATS = 16 };

static const ptrdiff_t zero_rows[TILE_ROWS];
static const float zeros[PANEL];

/* Offsets of the rows of a dense [TILE_ROWS][PANEL] block. */
static const ptrdiff_t block_rows[8] = {0 * 4 * PANEL, 1 * 4 * PANEL, 2 * 4 * PANEL, 3 * 4 * PANEL,
                                        4 * 4 * PANEL, 5 * 4 * PANEL, 6 * 4 * PANEL, 7 * 4 * PANEL};

static const float *shifted(const float *base, ptrdiff_t bytes)
{
    return (const float *)(const void *)((const char *)base + bytes);
}

/* All rows of one panel over the depth of some segments. */
struct panel {
    const struct gemm *gemm;
    const float *init, *bias;
    int first_column, columns; /* columns that exist; the kernel computes width of them */
    int width;
    const ptrdiff_t *init_rows;
};

/* A panel with fewer columns than the kernel writes goes through a block on the stack. */
static void narrow_tile(const struct panel *panel, const struct tile *tile, tile_kernel *kernel, int rows)
{
    _Alignas(64) float block[TILE_ROWS][PANEL];
    const size_t bytes = (size_t)panel->columns * sizeof(float);
    memset(block, 0, sizeof block);
    for (int r = 0; r < rows && panel->init; r++)
        memcpy(block[r], shifted(tile->init, tile->init_rows[r]), bytes);
    struct tile inner = *tile;
    inner.init = inner.out = block[0];
    inner.init_rows = inner.out_rows = block_rows;
    kernel(&inner);
    for (int r = 0; r < rows; r++) memcpy((char *)tile->out + tile->out_rows[r], block[r], bytes);
}

/* Asks for what the tile that begins at `row` adds: rows of one or two lines far apart, which the processor
 * does not foresee. */
static void fetch_init(const struct panel *panel, int row)
{
    const int rows = panel->gemm->rows;
    const int end = rows - row < TILE_ROWS ? rows : row + TILE_ROWS;
    for (int r = row; r < end; r++)
        for (int c = 0; c < panel->columns; c += LINE_FLOATS)
            _mm_prefetch((const char *)(panel->init + c) + panel->init_rows[r], _MM_HINT_T0);
}

static void panel_rows(const struct panel *panel, const struct tile_segment *segments, int n)
{
    const struct gemm *gemm = panel->gemm;
    tile_kernel *const(*kernels)[2] = BLOCKED(tile_kernels);
    const int vectors = panel->width / LANES;
    struct tile tile = {
        .segments = segments,
        .end = segments + n,
        .init = panel->init ? panel->init : zeros,
        .init_rows = panel->init ? panel->init_rows : zero_rows,
        .bias = panel->bias ? panel->bias : zeros,
        .out = gemm->out + panel->first_column,
        .out_rows = gemm->out_rows,
    };
    for (int row = 0; row < gemm->rows; row += TILE_ROWS) {
        const int rows = gemm->rows - row < TILE_ROWS ? gemm->rows - row : TILE_ROWS;
        tile_kernel *kernel = kernels[rows - 1][vectors - 1];
        if (panel->init) fetch_init(panel, row + FETCH_AHEAD * TILE_ROWS);
        if (panel->columns == panel->width)
            kernel(&tile);
        else
            narrow_tile(panel, &tile, kernel, rows);
        tile.first += TILE_ROWS * sizeof(ptrdiff_t);
        tile.out_rows += TILE_ROWS;
        if (panel->init) tile.init_rows += TILE_ROWS;
    }
}

/* Depth of a chunk: equal parts of at most CHUNK_K. */
static int chunk_depth(const struct gemm *gemm)
{
    int k = 0;
    for (int i = 0; i < gemm->n_segments; i++) k += gemm->segments[i].k;
    const int chunks = (k + CHUNK_K - 1) / CHUNK_K;
    return ((k + chunks - 1) / chunks + 3) / 4 * 4;
}

void BLOCKED(gemm)(const struct gemm *gemm, int first_panel, int end_panel)
{
    const int limit = chunk_depth(gemm);
    for (int p = first_panel; p < end_panel; p++) {
        const int column = p * PANEL, left = gemm->columns - column;
        const int width = panel_width(gemm->columns, p);
        struct panel panel = {.gemm = gemm,
                              .init = gemm->init ? gemm->init + column : NULL,
                              .init_rows = gemm->init_rows,
                              .bias = gemm->bias ? gemm->bias + column : NULL,
                              .first_column = column,
                              .columns = left < width ? left : width,
                              .width = width};
        struct tile_segment chunk[GEMM_SEGMENTS];
        int n = 0, depth = 0, segment = 0, done = 0;
        while (segment < gemm->n_segments) {
            const struct gemm_segment *s = &gemm->segments[segment];
            const int k = s->k - done < limit - depth ? s->k - done : limit - depth;
            const size_t start = (size_t)column * (size_t)s->weights_k;
            chunk[n++] =
                (struct tile_segment){s->a + done, s->rows, (size_t)k,
                                      s->weights + start + (size_t)(s->first_k + done) * (size_t)width};
            depth += k;
            done += k;
            if (done == s->k) {
                segment++;
                done = 0;
            }
            if (depth == limit || segment == gemm->n_segments) {
                panel_rows(&panel, chunk, n);
                panel.init = gemm->out + column;
                panel.init_rows = gemm->out_rows;
                panel.bias = NULL;
                n = depth = 0;
            }
        }
    }
}

static void whole_panel(tile_kernel *const (*kernels)[2], int rows, int k, const float *a,
                        const ptrdiff_t *a_rows, const void *weights, size_t weight_bytes, int width,
                        float *out, const ptrdiff_t *out_rows)
{
    const int chunks = (k + CHUNK_K - 1) / CHUNK_K, limit = ((k + chunks - 1) / chunks + 3) / 4 * 4;
    for (int done = 0; done < k; done += limit) {
        const struct tile_segment segment = {a + done, a_rows, (size_t)(k - done < limit ? k - done : limit),
                                             (const char *)weights +
                                                 (size_t)done * (size_t)width * weight_bytes};
        struct tile tile = {.segments = &segment,
                            .end = &segment + 1,
                            .init = done ? out : zeros,
                            .init_rows = done ? out_rows : zero_rows,
                            .bias = zeros,
                            .out = out,
                            .out_rows = out_rows};
        for (int row = 0; row < rows; row += TILE_ROWS) {
            const int n = rows - row < TILE_ROWS ? rows - row : TILE_ROWS;
            kernels[n - 1][width / LANES - 1](&tile);
            tile.first += TILE_ROWS * sizeof(ptrdiff_t);
            tile.out_rows += TILE_ROWS;
            if (done) tile.init_rows += TILE_ROWS;
        }
    }
}

void BLOCKED(gemm_panel)(int rows, int k, const float *a, const ptrdiff_t *a_rows, const float *weights,
                         int width, float *out, const ptrdiff_t *out_rows)
{
    whole_panel(BLOCKED(tile_kernels), rows, k, a, a_rows, weights, sizeof *weights, width, out, out_rows);
}

void BLOCKED(gemm_half_panel)(int rows, int k, const float *a, const ptrdiff_t *a_rows,
                              const uint16_t *weights, int width, float *out, const ptrdiff_t *out_rows)
{
    whole_panel(BLOCKED(half_tile_kernels), rows, k, a, a_rows, weights, sizeof *weights, width, out,
                out_rows);
}
