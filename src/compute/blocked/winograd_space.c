/* Winograd convolution in space (README.md): a task takes a block of tiles of one frame, activates their
 * inputs, transforms them to V [product][tile][channel], and for each panel of output channels multiplies
 * to M [product][tile][column] and transforms back. All of it stays in L2 but the weights, which stream by.
 *
 * Small maps, whose weights outweigh them: all threads fill one V of several frames, then a task makes one
 * panel of many tiles, so that weights are read once. */
#include "compute/blocked/winograd_space.h"

#include <string.h>

#include "compute/blocked/winograd_v.h"

enum {
    /* V and M have a few lines between products, lest those of one tile fall into one set of the cache. */
    PRODUCT_GAP = 48,
    LINE_FLOATS = 16,
    BLOCK_BYTES = 640 << 10, /* V and M of a block of tiles */
    SLICE_BYTES = 160 << 10, /* activated pixels of a block, some channels at a time */
    SHARED_BYTES = 6 << 20,  /* V of small maps */
    SMALL_MAP_TILES = 32,    /* tiles of a frame */
    MOST_TILES = 96,         /* of a block */
    SMALL_TILES = 64,        /* of a task on small maps */
    TASKS_PER_THREAD = 4,
};

struct winograd_plan {
    const vipo_conv_space *args;
    int m, axis;          /* outputs and products of an axis */
    int products;         /* axis^2 */
    int enlarge;          /* 2 for upsampling, else 1 */
    int channels;         /* inputs of all sources */
    size_t v_row;         /* floats of a row of V */
    int height, width;    /* of the output */
    int tiles_y, tiles_x; /* of a frame */
    int frames;           /* of all samples */
    bool small;           /* one V for some frames */
    int group;            /* small: frames of V */
    int block_y, block_x; /* tiles of a block, at most */
    int tiles;            /* rows of V: of a block, or of a group */
    int slice;            /* channels activated together, a multiple of V_CHANNELS */
    size_t v_product;     /* floats of one product of V */
    int task_tiles;       /* rows of M */
    size_t m_product;     /* floats of one product of M */
    size_t slice_bytes, v_bytes, m_bytes, offset_bytes;
};

/* ---- planning --------------------------------------------------------------------------------------- */

static int block_pixels(const struct winograd_plan *plan, int y, int x)
{
    return (y * plan->m + 2) * (x * plan->m + 2);
}

/* Cycles per input channel of all blocks of a frame, roughly: products, activation, weights streaming by. */
static double block_cost(const struct winograd_plan *plan, int block_y, int block_x)
{
    const double vectors = parts(plan->args->weights->out, LANES);
    double cost = 0;
    for (int y = 0; y < plan->tiles_y; y += block_y)
        for (int x = 0; x < plan->tiles_x; x += block_x) {
            const int rows = least(block_y, plan->tiles_y - y), columns = least(block_x, plan->tiles_x - x);
            cost += plan->products * vectors * product_cycles(rows * columns);
            cost += 1.5 * block_pixels(plan, rows, columns);
        }
    return cost;
}

/* The cheapest blocks of at most `most` tiles. */
static void choose_blocks(struct winograd_plan *plan, int most)
{
    double best = 0;
    for (int y = 1; y <= least(plan->tiles_y, most); y++)
        for (int x = 1; x <= least(plan->tiles_x, most / y); x++) {
            const double cost = block_cost(plan, y, x);
            if (best > 0 && cost >= best) continue;
            best = cost;
            plan->block_y = y;
            plan->block_x = x;
        }
}

static void plan_winograd(struct winograd_plan *plan, const vipo_conv_space *args)
{
    const vipo_packed *weights = args->weights;
    const int m = winograd_outputs(weights->method);
    const vipo_map *out = &args->out;
    *plan = (struct winograd_plan){
        .args = args,
        .m = m,
        .axis = m + 2,
        .products = (m + 2) * (m + 2),
        .enlarge = weights->kind == VIPO_WEIGHT_3X3_UPSAMPLE2 ? 2 : 1,
        .channels = weights->in,
        .v_row = v_row_floats(weights->in),
        .height = out->height,
        .width = out->width,
        .tiles_y = parts(out->height, m),
        .tiles_x = parts(out->width, m),
        .frames = out->samples * out->frames,
    };
    const int frame_tiles = plan->tiles_y * plan->tiles_x;
    const size_t tile_bytes = (size_t)plan->products * sizeof(float) * plan->v_row;
    plan->small = frame_tiles <= SMALL_MAP_TILES;
    const size_t block_bytes = tile_bytes + (size_t)plan->products * sizeof(float) * PANEL;
    int most = (int)(BLOCK_BYTES / block_bytes);
    most = most < LEAST_TILES ? LEAST_TILES : least(most, MOST_TILES);
    choose_blocks(plan, most);
    const int pixels = block_pixels(plan, plan->block_y, plan->block_x);
    const int slices = SLICE_BYTES / (pixels * V_CHANNELS * (int)sizeof(float));
    plan->slice = least(slices > 1 ? slices : 1, parts(plan->channels, V_CHANNELS)) * V_CHANNELS;
    plan->slice_bytes = line_bytes((size_t)pixels * (size_t)plan->slice * sizeof(float));
    if (plan->small) {
        const int fitting = (int)(SHARED_BYTES / (tile_bytes * (size_t)frame_tiles));
        plan->group = least(plan->frames, fitting > 1 ? fitting : 1);
        plan->tiles = plan->group * frame_tiles;
        plan->task_tiles = least(plan->tiles, SMALL_TILES);
    } else {
        plan->tiles = plan->task_tiles = plan->block_y * plan->block_x;
    }
    plan->v_product = (size_t)plan->tiles * plan->v_row + PRODUCT_GAP;
    plan->m_product = (size_t)(parts(plan->task_tiles, M_ROWS) * M_ROWS) * PANEL + PRODUCT_GAP;
    plan->v_bytes =
        line_bytes(((size_t)plan->products * plan->v_product + V_SLACK * plan->v_row) * sizeof(float));
    plan->m_bytes = line_bytes((size_t)plan->products * plan->m_product * sizeof(float));
    plan->offset_bytes = line_bytes((size_t)plan->task_tiles * sizeof(ptrdiff_t));
}

size_t WINOGRAD(winograd_space_scratch)(const vipo_conv_space *args)
{
    struct winograd_plan plan;
    plan_winograd(&plan, args);
    return plan.v_bytes + plan.slice_bytes + plan.m_bytes + 2 * plan.offset_bytes;
}

/* A thread's parts of the scratch. The V of small maps is thread 0's. */
struct winograd_scratch {
    float *v, *slice, *m;
    ptrdiff_t *v_rows, *m_rows;
};

static struct winograd_scratch scratch_of(const vipo_compute *compute, const struct winograd_plan *plan,
                                          int thread)
{
    char *base = vipo_compute_scratch(compute, thread);
    struct winograd_scratch s = {.v = vipo_compute_scratch(compute, plan->small ? 0 : thread)};
    s.slice = (void *)(base + plan->v_bytes);
    s.m = (void *)(base + plan->v_bytes + plan->slice_bytes);
    s.v_rows = (void *)(base + plan->v_bytes + plan->slice_bytes + plan->m_bytes);
    s.m_rows = (void *)((char *)s.v_rows + plan->offset_bytes);
    return s;
}

/* ---- input ------------------------------------------------------------------------------------------ */

/* A block of tiles. */
struct block {
    int frame;          /* of all samples */
    int tile_y, tile_x; /* first tile */
    int tiles_y, tiles_x;
};

/* Asks for the same columns of the next row, which the processor does not foresee. */
static inline void fetch_row(const float *x, size_t step, int count, int n)
{
    for (int i = 0; i < n; i++, x += step)
        for (int c = 0; c < count; c += LINE_FLOATS) _mm_prefetch((const char *)(x + c), _MM_HINT_T0);
}

/* One row of the convolution's input, columns [first, first + n) which may reach outside, channels
 * [channel, channel + count) at `stride` floats to a pixel. */
static void activate_row(const struct winograd_plan *plan, const struct block *block, int y, int first, int n,
                         int channel, int count, float *target)
{
    const vipo_conv_space *args = plan->args;
    const size_t stride = (size_t)plan->slice;
    const int enlarge = plan->enlarge;
    const int height = args->in[0].height * enlarge, width = args->in[0].width * enlarge;
    if (y < 0 || y >= height) {
        memset(target, 0, (size_t)n * stride * sizeof(float));
        return;
    }
    const int before = first < 0 ? -first : 0;
    const int after = first + n > width ? least(first + n - width, n) : 0;
    memset(target, 0, (size_t)before * stride * sizeof(float));
    memset(target + (size_t)(n - after) * stride, 0, (size_t)after * stride * sizeof(float));
    target += (size_t)before * stride;
    first += before;
    n -= before + after;
    const int sample = block->frame / args->out.frames, frame = block->frame % args->out.frames;
    const bool norm = args->norm.scale != NULL;
    const size_t norm_row = (size_t)(args->norm.per_frame ? block->frame : sample) * (size_t)plan->channels;
    for (int s = 0, offset = 0; s < args->n_in; offset += args->in[s].channels, s++) {
        const vipo_map *map = &args->in[s];
        const int from = channel > offset ? channel : offset;
        const int to = least(channel + count, offset + map->channels);
        if (from >= to) continue;
        const size_t step = (size_t)map->channels;
        const float *x = vipo_map_frame(map, sample, frame) +
                         (size_t)(y / enlarge) * (size_t)map->width * step + (size_t)(from - offset);
        const float *scale = norm ? args->norm.scale + norm_row + from : NULL;
        const float *shift = norm ? args->norm.shift + norm_row + from : NULL;
        float *to_pixel = target + (from - channel);
        if (enlarge == 1) {
            fetch_row(x + (size_t)first * step + (size_t)map->width * step, step, to - from, n);
            BLOCKED(activate)
            (to_pixel, stride, x + (size_t)first * step, step, to - from, n, scale, shift, args->silu);
            continue;
        }
        for (int i = 0; i < n;) {
            BLOCKED(activate)
            (to_pixel + (size_t)i * stride, stride, x + (size_t)((first + i) / 2) * step, step, to - from, 1,
             scale, shift, args->silu);
            const bool twice = (first + i) % 2 == 0 && i + 1 < n;
            if (twice)
                memcpy(to_pixel + (size_t)(i + 1) * stride, to_pixel + (size_t)i * stride,
                       (size_t)(to - from) * sizeof(float));
            i += twice ? 2 : 1;
        }
    }
}

/* The activated inputs of a block, channels [channel, channel + count). */
static void activate_block(const struct winograd_plan *plan, const struct block *block, int channel,
                           int count, float *slice)
{
    const int rows = block->tiles_y * plan->m + 2, columns = block->tiles_x * plan->m + 2;
    const int first_y = block->tile_y * plan->m - 1, first_x = block->tile_x * plan->m - 1;
    const size_t row_floats = (size_t)columns * (size_t)plan->slice;
    if (count % V_CHANNELS) /* the rest is read, never used: let it be zero */
        memset(slice, 0, (size_t)rows * row_floats * sizeof(float));
    for (int r = 0; r < rows; r++) {
        const int y = first_y + r;
        float *target = slice + (size_t)r * row_floats;
        if (plan->enlarge == 2 && r > 0 && y % 2 == 1 && y < plan->height)
            memcpy(target, target - row_floats, row_floats * sizeof(float));
        else
            activate_row(plan, block, y, first_x, columns, channel, count, target);
    }
}

/* One tile, channels [first, first + count) and the rest of the last V_CHANNELS: B^T x B. v: the tile's row of product 0. */
static ALWAYS_INLINE void transform_tile(const struct winograd_plan *plan, float *v, const float *x,
                                         size_t row, int first, int count, int axis)
{
    const size_t pixel = (size_t)plan->slice;
    for (int c = 0; c < parts(count, V_CHANNELS) * V_CHANNELS; c += LANES) {
        vfloat half[WINOGRAD_MOST * WINOGRAD_MOST], line[WINOGRAD_MOST], out[WINOGRAD_MOST];
        for (int j = 0; j < axis; j++) {
            for (int i = 0; i < axis; i++)
                line[i] = v_load(x + (size_t)i * row + (size_t)j * pixel + (size_t)c);
            if (axis == 6)
                winograd_input_4(half + j, 6, line);
            else
                winograd_input_2(half + j, 4, line);
        }
        for (int i = 0; i < axis; i++) {
            if (axis == 6)
                winograd_input_4(out, 1, half + i * 6);
            else
                winograd_input_2(out, 1, half + i * 4);
            for (int j = 0; j < axis; j++)
                put_v(v + (size_t)(i * axis + j) * plan->v_product, plan->channels, first + c, out[j]);
        }
    }
}

/* v: the row of the block's first tile in product 0. */
static void transform_block(const struct winograd_plan *plan, const struct block *block, const float *slice,
                            int first, int count, float *v)
{
    const size_t pixel = (size_t)plan->slice;
    const size_t row = (size_t)(block->tiles_x * plan->m + 2) * pixel;
    for (int ty = 0; ty < block->tiles_y; ty++)
        for (int tx = 0; tx < block->tiles_x; tx++, v += plan->v_row) {
            const float *x = slice + (size_t)(ty * plan->m) * row + (size_t)(tx * plan->m) * pixel;
            if (plan->m == 4)
                transform_tile(plan, v, x, row, first, count, 6);
            else
                transform_tile(plan, v, x, row, first, count, 4);
        }
}

/* V of a block from tile row `first` of V on. */
static void make_v(const struct winograd_plan *plan, const struct block *block, float *slice, float *v,
                   int first)
{
    for (int channel = 0; channel < plan->channels; channel += plan->slice) {
        const int count = least(plan->slice, plan->channels - channel);
        activate_block(plan, block, channel, count, slice);
        transform_block(plan, block, slice, channel, count, v + (size_t)first * plan->v_row);
    }
}

/* ---- products and output ------------------------------------------------------------------------------ */

/* Panel `panel` of V's tiles [first, first + n): M. */
static void multiply(const struct winograd_plan *plan, const struct winograd_scratch *s, int panel, int first,
                     int n)
{
    const struct v_product product = {.products = plan->products,
                                      .rows = n,
                                      .v = s->v + (size_t)first * plan->v_row,
                                      .v_product = plan->v_product,
                                      .v_rows = s->v_rows,
                                      .m = s->m,
                                      .m_product = plan->m_product,
                                      .m_rows = s->m_rows};
    multiply_v(&product, plan->args->weights, panel);
}

/* One tile, one vector of columns of which `lanes` exist: A^T m A + bias, to `rows` x `columns` pixels. */
static ALWAYS_INLINE void store_tile(const float *m, size_t m_product, const float *bias, float *out,
                                     size_t row, size_t pixel, int rows, int columns, int lanes, int axis)
{
    const int n = axis - 2;
    vfloat half[WINOGRAD_MOST * 4], line[WINOGRAD_MOST], y[4];
    for (int j = 0; j < axis; j++) {
        for (int i = 0; i < axis; i++) line[i] = v_load(m + (size_t)(i * axis + j) * m_product);
        if (axis == 6)
            winograd_output_4(half + j, 6, line);
        else
            winograd_output_2(half + j, 4, line);
    }
    const vfloat b = v_load(bias);
    for (int i = 0; i < n; i++) {
        if (axis == 6)
            winograd_output_4(y, 1, half + i * 6);
        else
            winograd_output_2(y, 1, half + i * 4);
        if (i >= rows) return;
        float *target = out + (size_t)i * row;
        if (columns == n && lanes == LANES)
            for (int j = 0; j < n; j++) v_store(target + (size_t)j * pixel, v_add(y[j], b));
        else
            for (int j = 0; j < n && j < columns; j++)
                v_store_n(target + (size_t)j * pixel, v_add(y[j], b), lanes);
    }
}

/* The output of one tile of M, all columns of the panel. */
static void finish_tile(const struct winograd_plan *plan, const float *m, int panel, int frame, int tile_y,
                        int tile_x)
{
    const vipo_map *out = &plan->args->out;
    const int y = tile_y * plan->m, x = tile_x * plan->m, first = panel * PANEL;
    const int rows = least(plan->m, plan->height - y), columns = least(plan->m, plan->width - x);
    const int end = least(first + PANEL, out->channels);
    const size_t pixel = (size_t)out->channels, row = (size_t)out->width * pixel;
    float *target = out->data + ((size_t)frame * (size_t)out->height + (size_t)y) * row + (size_t)x * pixel;
    for (int c = first; c < end; c += LANES) {
        const int lanes = least(end - c, LANES);
        const float *bias = plan->args->weights->bias + c;
        if (plan->m == 4)
            store_tile(m + (c - first), plan->m_product, bias, target + c, row, pixel, rows, columns, lanes,
                       6);
        else
            store_tile(m + (c - first), plan->m_product, bias, target + c, row, pixel, rows, columns, lanes,
                       4);
    }
}

static void fill_rows(const struct winograd_plan *plan, const struct winograd_scratch *s, int n)
{
    for (int i = 0; i < n; i++) {
        s->v_rows[i] = (ptrdiff_t)i * (ptrdiff_t)(plan->v_row * sizeof(float));
        s->m_rows[i] = (ptrdiff_t)i * PANEL * (ptrdiff_t)sizeof(float);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------------ */

struct winograd_loop {
    const vipo_compute *compute;
    const struct winograd_plan *plan;
    int first_frame, frames; /* small: the group at work */
    int task_tiles;
};

static int blocks_of_frame(const struct winograd_plan *plan)
{
    return parts(plan->tiles_y, plan->block_y) * parts(plan->tiles_x, plan->block_x);
}

/* Block i, counted through frames. */
static struct block block_at(const struct winograd_plan *plan, int i)
{
    const int across = parts(plan->tiles_x, plan->block_x), each = blocks_of_frame(plan);
    struct block block = {
        .frame = i / each, .tile_y = i % each / across * plan->block_y, .tile_x = i % across * plan->block_x};
    block.tiles_y = least(plan->block_y, plan->tiles_y - block.tile_y);
    block.tiles_x = least(plan->block_x, plan->tiles_x - block.tile_x);
    return block;
}

static void block_task(void *arg, int i, int thread)
{
    const struct winograd_loop *loop = arg;
    const struct winograd_plan *plan = loop->plan;
    const struct winograd_scratch s = scratch_of(loop->compute, plan, thread);
    const struct block block = block_at(plan, i);
    const int tiles = block.tiles_y * block.tiles_x;
    make_v(plan, &block, s.slice, s.v, 0);
    fill_rows(plan, &s, tiles);
    for (int panel = 0; panel < panel_count(plan->args->weights->out); panel++) {
        multiply(plan, &s, panel, 0, tiles);
        for (int t = 0; t < tiles; t++)
            finish_tile(plan, s.m + (size_t)t * PANEL, panel, block.frame, block.tile_y + t / block.tiles_x,
                        block.tile_x + t % block.tiles_x);
    }
}

/* ---- small maps -------------------------------------------------------------------------------------- */

/* Tiles of a block lie in V in the order of the blocks: a frame's blocks one after the other. */
static void small_input(void *arg, int i, int thread)
{
    const struct winograd_loop *loop = arg;
    const struct winograd_plan *plan = loop->plan;
    const struct winograd_scratch s = scratch_of(loop->compute, plan, thread);
    struct block block = block_at(plan, i);
    const int frame_tiles = plan->tiles_y * plan->tiles_x;
    const int first = block.frame * frame_tiles + block.tile_y * plan->tiles_x + block.tile_x * block.tiles_y;
    block.frame += loop->first_frame;
    make_v(plan, &block, s.slice, s.v, first);
}

/* Where tile t of a frame of V lies, the inverse of `first` above. */
static void small_tile_place(const struct winograd_plan *plan, int t, int *tile_y, int *tile_x)
{
    const int band = t / (plan->block_y * plan->tiles_x), rest = t - band * plan->block_y * plan->tiles_x;
    const int tiles_y = least(plan->block_y, plan->tiles_y - band * plan->block_y);
    const int block = rest / (tiles_y * plan->block_x), inside = rest - block * tiles_y * plan->block_x;
    const int tiles_x = least(plan->block_x, plan->tiles_x - block * plan->block_x);
    *tile_y = band * plan->block_y + inside / tiles_x;
    *tile_x = block * plan->block_x + inside % tiles_x;
}

/* Task i = panel * blocks + block of tiles: neighbours share weights. */
static void small_multiply(void *arg, int i, int thread)
{
    const struct winograd_loop *loop = arg;
    const struct winograd_plan *plan = loop->plan;
    const struct winograd_scratch s = scratch_of(loop->compute, plan, thread);
    const int frame_tiles = plan->tiles_y * plan->tiles_x, tiles = loop->frames * frame_tiles;
    const int blocks = parts(tiles, loop->task_tiles), panel = i / blocks;
    const int first = i % blocks * loop->task_tiles, n = least(loop->task_tiles, tiles - first);
    fill_rows(plan, &s, n);
    multiply(plan, &s, panel, first, n);
    for (int t = 0; t < n; t++) {
        int tile_y, tile_x;
        small_tile_place(plan, (first + t) % frame_tiles, &tile_y, &tile_x);
        finish_tile(plan, s.m + (size_t)t * PANEL, panel, loop->first_frame + (first + t) / frame_tiles,
                    tile_y, tile_x);
    }
}

static void winograd_small(const vipo_compute *compute, const struct winograd_plan *plan)
{
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    const int panels = panel_count(plan->args->weights->out);
    for (int first = 0; first < plan->frames; first += plan->group) {
        struct winograd_loop loop = {compute, plan, first, least(plan->group, plan->frames - first), 0};
        const int tiles = loop.frames * plan->tiles_y * plan->tiles_x;
        int blocks = parts(tiles, plan->task_tiles);
        while (blocks * panels < wanted && tiles / (blocks + 1) >= 2 * TILE_ROWS) blocks++;
        loop.task_tiles = least(parts(parts(tiles, blocks), TILE_ROWS) * TILE_ROWS, plan->task_tiles);
        vipo_pool_run(compute->pool, loop.frames * blocks_of_frame(plan), small_input, &loop);
        vipo_pool_run(compute->pool, parts(tiles, loop.task_tiles) * panels, small_multiply, &loop);
    }
}

void WINOGRAD(winograd_space)(const vipo_compute *compute, const vipo_conv_space *args)
{
    struct winograd_plan plan;
    plan_winograd(&plan, args);
    struct winograd_loop loop = {.compute = compute, .plan = &plan};
    if (plan.small)
        winograd_small(compute, &plan);
    else
        vipo_pool_run(compute->pool, plan.frames * blocks_of_frame(&plan), block_task, &loop);
}
