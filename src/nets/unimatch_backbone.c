/* Features of one picture: a small residual network with instance norms, and one 3x3 convolution that is applied with
 * strides 1 and 2. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nets/unimatch_private.h"

enum { STEM = 64, STEM_TAPS = 7, STEM_ROWS = 16 /* of outputs made at a time */, STRIP = 1024 /* pixels */ };

/* ---- weights --------------------------------------------------------------------------------------------- */

static vipo_status conv(vipo_weight_store *store, const char *name, vipo_weight_kind kind, int in, int out,
                        bool bias, const vipo_packed **packed, vipo_error *error)
{
    /* a size that stands for the maps of pictures of 480x640 */
    const vipo_layer layer = {kind, in, out, 1, 120, 160, false};
    return vipo_weight_store_packed(store, name, &layer, 4, bias, packed, error);
}

static vipo_status open_block(vipo_weight_store *store, const char *name, residual_block *block,
                              vipo_error *error)
{
    char full[96];
    const vipo_weight_kind first = block->stride == 2 ? VIPO_WEIGHT_3X3_STRIDE2 : VIPO_WEIGHT_3X3;
    snprintf(full, sizeof full, "%s.conv1", name);
    VIPO_TRY(conv(store, full, first, block->in, block->out, false, &block->conv1, error));
    snprintf(full, sizeof full, "%s.conv2", name);
    VIPO_TRY(conv(store, full, VIPO_WEIGHT_3X3, block->out, block->out, false, &block->conv2, error));
    if (block->in == block->out && block->stride == 1) return VIPO_OK;
    snprintf(full, sizeof full, "%s.downsample.0", name);
    return conv(store, full, VIPO_WEIGHT_LINEAR, block->in, block->out, true, &block->downsample, error);
}

vipo_status unimatch_open_backbone(vipo_unimatch *net, vipo_error *error)
{
    static const residual_block blocks[6] = {
        {.in = 64, .out = 64, .stride = 1},  {.in = 64, .out = 64, .stride = 1},
        {.in = 64, .out = 96, .stride = 2},  {.in = 96, .out = 96, .stride = 1},
        {.in = 96, .out = 128, .stride = 1}, {.in = 128, .out = 128, .stride = 1}};
    static const char *const stem[] = {"backbone.conv1"};
    vipo_weight_store *store = &net->store;
    VIPO_TRY(unimatch_columns(store, stem, 1, 3, STEM, STEM_TAPS, STEM_TAPS, false, &net->stem, error));
    for (int i = 0; i < 6; i++) {
        char name[64];
        net->blocks[i] = blocks[i];
        snprintf(name, sizeof name, "backbone.layer%d.%d", i / 2 + 1, i % 2);
        VIPO_TRY(open_block(store, name, &net->blocks[i], error));
    }
    VIPO_TRY(
        conv(store, "backbone.conv2", VIPO_WEIGHT_LINEAR, CHANNELS, CHANNELS, true, &net->project, error));
    const char *trident = "backbone.trident_conv";
    VIPO_TRY(conv(store, trident, VIPO_WEIGHT_3X3, CHANNELS, CHANNELS, false, &net->trident_fine, error));
    return conv(store, trident, VIPO_WEIGHT_3X3_STRIDE2, CHANNELS, CHANNELS, false, &net->trident_coarse,
                error);
}

/* ---- instance norm ------------------------------------------------------------------------------------- */

struct norm {
    float *x;          /* [pixels][channels] */
    const float *skip; /* NULL: none */
    float *
        sums; /* [strips][channels]: mean or mean square of a strip; then [2][channels]: mean, 1 / deviation */
    int pixels, channels, strips;
    bool relu;
};

static int strip_pixels(const struct norm *n, int strip)
{
    const int left = n->pixels - strip * STRIP;
    return left < STRIP ? left : STRIP;
}

static float *totals(const struct norm *n)
{
    return n->sums + (size_t)n->strips * (size_t)n->channels;
}

static void mean_strip(void *arg, int i, int thread)
{
    (void)thread;
    const struct norm *n = arg;
    const int pixels = strip_pixels(n, i), channels = n->channels;
    const float *x = n->x + (size_t)i * STRIP * (size_t)channels;
    double sum[CHANNELS] = {0};
    for (int p = 0; p < pixels; p++, x += channels)
        for (int c = 0; c < channels; c++) sum[c] += (double)x[c];
    for (int c = 0; c < channels; c++) n->sums[i * channels + c] = (float)(sum[c] / pixels);
}

static void square_strip(void *arg, int i, int thread)
{
    (void)thread;
    const struct norm *n = arg;
    const int pixels = strip_pixels(n, i), channels = n->channels;
    const float *x = n->x + (size_t)i * STRIP * (size_t)channels, *mean = totals(n);
    double sum[CHANNELS] = {0};
    for (int p = 0; p < pixels; p++, x += channels)
        for (int c = 0; c < channels; c++) {
            const double d = (double)(x[c] - mean[c]);
            sum[c] += d * d;
        }
    for (int c = 0; c < channels; c++) n->sums[i * channels + c] = (float)(sum[c] / pixels);
}

static double over_strips(const struct norm *n, int c)
{
    double sum = 0;
    for (int i = 0; i < n->strips; i++) sum += (double)n->sums[i * n->channels + c] * strip_pixels(n, i);
    return sum / n->pixels;
}

static void apply_strip(void *arg, int i, int thread)
{
    (void)thread;
    const struct norm *n = arg;
    const int pixels = strip_pixels(n, i), channels = n->channels;
    const size_t at = (size_t)i * STRIP * (size_t)channels;
    float *restrict x = n->x + at;
    const float *restrict mean = totals(n), *restrict gain = mean + channels;
    for (int p = 0; p < pixels; p++, x += channels)
        for (int c = 0; c < channels; c++) {
            const float y = (x[c] - mean[c]) * gain[c];
            x[c] = n->relu && !(y > 0) ? 0 : y;
        }
    if (!n->skip) return;
    const float *restrict skip = n->skip + at;
    x = n->x + at;
    for (int k = 0; k < pixels * channels; k++) {
        const float y = x[k] + skip[k];
        x[k] = y > 0 ? y : 0;
    }
}

/* x = IN(x), rectified if `relu`, then ReLU(skip + x) with a skip. */
static vipo_status normalise(vipo_unimatch_session *s, unimatch_map x, bool relu, const float *skip,
                             vipo_error *error)
{
    struct norm n = {
        .x = x.data, .skip = skip, .pixels = x.height * x.width, .channels = x.channels, .relu = relu};
    n.strips = (n.pixels + STRIP - 1) / STRIP;
    VIPO_TRY(
        unimatch_buffer_get(s, BUFFER_STATS, ((size_t)n.strips + 2) * (size_t)n.channels, &n.sums, error));
    float *mean = totals(&n), *gain = mean + n.channels;
    unimatch_each(s, n.strips, mean_strip, &n);
    for (int c = 0; c < n.channels; c++) mean[c] = (float)over_strips(&n, c);
    unimatch_each(s, n.strips, square_strip, &n);
    for (int c = 0; c < n.channels; c++) gain[c] = (float)(1 / sqrt(over_strips(&n, c) + 1e-5));
    unimatch_each(s, n.strips, apply_strip, &n);
    return VIPO_OK;
}

/* ---- stem --------------------------------------------------------------------------------------------------- */

struct stem {
    const float *picture; /* [height][width][3], 0..255 */
    int height, width;
    int first; /* output row of the block */
    float *columns;
};

/* Inputs of output row first + i: [x][7 rows][7 columns][3], normalised as ImageNet's pictures are. */
static void stem_row(void *arg, int i, int thread)
{
    (void)thread;
    static const float mean[3] = {0.485F, 0.456F, 0.406F}, deviation[3] = {0.229F, 0.224F, 0.225F};
    const struct stem *stem = arg;
    const int y = (stem->first + i) * 2 - STEM_TAPS / 2;
    float *out = stem->columns + (size_t)i * (size_t)(stem->width / 2) * STEM_TAPS * STEM_TAPS * 3;
    for (int x = -(STEM_TAPS / 2); x < stem->width - STEM_TAPS / 2; x += 2)
        for (int v = y; v < y + STEM_TAPS; v++)
            for (int u = x; u < x + STEM_TAPS; u++, out += 3) {
                const bool inside = v >= 0 && v < stem->height && u >= 0 && u < stem->width;
                const float *p = stem->picture + ((ptrdiff_t)v * stem->width + u) * 3;
                for (int c = 0; c < 3; c++) out[c] = inside ? (p[c] / 255.0F - mean[c]) / deviation[c] : 0;
            }
}

static vipo_status run_stem(vipo_unimatch_session *s, const float *picture, int height, int width,
                            unimatch_map out, vipo_error *error)
{
    const int depth = STEM_TAPS * STEM_TAPS * 3;
    struct stem stem = {.picture = picture, .height = height, .width = width};
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_COLUMNS, (size_t)STEM_ROWS * (size_t)out.width * (size_t)depth,
                                 &stem.columns, error));
    for (; stem.first < out.height; stem.first += STEM_ROWS) {
        const int rows = out.height - stem.first < STEM_ROWS ? out.height - stem.first : STEM_ROWS;
        unimatch_each(s, rows, stem_row, &stem);
        VIPO_TRY(unimatch_linear(s, s->net->stem, rows * out.width, stem.columns, (size_t)depth,
                                 VIPO_ACT_NONE, out.data + (size_t)stem.first * (size_t)out.width * STEM,
                                 error));
    }
    return VIPO_OK;
}

/* ---- network ------------------------------------------------------------------------------------------------ */

/* Every second pixel of every second row. */
static void halve(const unimatch_map *in, float *out)
{
    const size_t channels = (size_t)in->channels;
    for (int y = 0; y < in->height; y += 2)
        for (int x = 0; x < in->width; x += 2, out += channels)
            memcpy(out, in->data + ((size_t)y * (size_t)in->width + (size_t)x) * channels,
                   channels * sizeof *out);
}

/* x becomes the block's output, in one of the buffers MAP_A, MAP_B, MAP_C; the others are used. */
static vipo_status run_block(vipo_unimatch_session *s, const residual_block *block, unimatch_map *x,
                             unimatch_buffer at[3], vipo_error *error)
{
    const unimatch_map none = {.data = NULL}, in = *x;
    unimatch_map mid = {
        .height = in.height / block->stride, .width = in.width / block->stride, .channels = block->out};
    unimatch_map out = mid;
    const size_t size = (size_t)mid.height * (size_t)mid.width * (size_t)mid.channels;
    VIPO_TRY(unimatch_buffer_get(s, at[1], size, &mid.data, error));
    VIPO_TRY(unimatch_buffer_get(s, at[2], size, &out.data, error));
    VIPO_TRY(unimatch_conv(s, block->conv1, in, none, mid, error));
    VIPO_TRY(normalise(s, mid, true, NULL, error));
    VIPO_TRY(unimatch_conv(s, block->conv2, mid, none, out, error));
    const float *skip = in.data;
    if (block->downsample) {
        unimatch_map reduced = in;
        if (block->stride == 2) {
            reduced = (unimatch_map){.height = mid.height, .width = mid.width, .channels = in.channels};
            VIPO_TRY(unimatch_buffer_get(s, BUFFER_COLUMNS,
                                         (size_t)mid.height * (size_t)mid.width * (size_t)in.channels,
                                         &reduced.data, error));
            halve(&in, reduced.data);
        }
        VIPO_TRY(unimatch_conv(s, block->downsample, reduced, none, mid, error));
        VIPO_TRY(normalise(s, mid, false, NULL, error));
        skip = mid.data;
    }
    VIPO_TRY(normalise(s, out, true, skip, error));
    *x = out;
    const unimatch_buffer first = at[0];
    at[0] = at[2];
    at[2] = first;
    return VIPO_OK;
}

vipo_status vipo_unimatch_features(vipo_unimatch_session *session, const float *picture, int height,
                                   int width, int item, float *coarse, float *fine,
                                   const vipo_callbacks *callbacks, vipo_error *error)
{
    vipo_unimatch_session *const s = session;
    const vipo_unimatch *net = s->net;
    const unimatch_map none = {.data = NULL};
    unimatch_map x = {.height = height / 2, .width = width / 2, .channels = STEM}, out;
    unimatch_buffer at[3] = {BUFFER_MAP_A, BUFFER_MAP_B, BUFFER_MAP_C};
    VIPO_TRY(unimatch_buffer_get(s, at[0], (size_t)x.height * (size_t)x.width * STEM, &x.data, error));
    VIPO_TRY(run_stem(s, picture, height, width, x, error));
    VIPO_TRY(normalise(s, x, true, NULL, error));
    unimatch_dump(s, "backbone.stem", item, x.data, x.height, x.width, x.channels);
    for (int i = 0; i < 6; i++) {
        VIPO_TRY(vipo_check_cancelled(callbacks, error));
        VIPO_TRY(run_block(s, &net->blocks[i], &x, at, error));
        if (i == 1) unimatch_dump(s, "backbone.layer1", item, x.data, x.height, x.width, x.channels);
    }
    out = x;
    VIPO_TRY(unimatch_buffer_get(s, at[1], (size_t)x.height * (size_t)x.width * CHANNELS, &out.data, error));
    VIPO_TRY(unimatch_conv(s, net->project, x, none, out, error));
    VIPO_TRY(unimatch_conv(s, net->trident_fine, out, none,
                           (unimatch_map){fine, height / 4, width / 4, CHANNELS}, error));
    VIPO_TRY(unimatch_conv(s, net->trident_coarse, out, none,
                           (unimatch_map){coarse, height / 8, width / 8, CHANNELS}, error));
    unimatch_dump(s, "backbone.hi", item, fine, height / 4, width / 4, CHANNELS);
    unimatch_dump(s, "backbone.lo", item, coarse, height / 8, width / 8, CHANNELS);
    return VIPO_OK;
}
