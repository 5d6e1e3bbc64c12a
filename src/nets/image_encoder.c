#include "nets/image_encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/raster.h"

enum { COLOURS = 3, NAME_ROOM = 192 };

/* A side after a layer of stride 2 whose padding is half its kernel. */
static int halved(int side)
{
    return (side + 1) / 2;
}

/* ---- loading ------------------------------------------------------------------------------------------ */

/* Where the parameters are read from. */
typedef struct loader {
    vipo_weight_store *store;
    const char *prefix;
} loader;

static void full_name(char out[NAME_ROOM], const loader *l, const char *name)
{
    snprintf(out, NAME_ROOM, "%s%s", l->prefix, name);
}

static vipo_status load_norm(const loader *l, const char *name, int channels, vipo_encoder_norm *norm,
                             vipo_error *error)
{
    char full[NAME_ROOM], part[NAME_ROOM + 8];
    full_name(full, l, name);
    snprintf(part, sizeof part, "%s.weight", full);
    VIPO_TRY(vipo_weight_store_vector(l->store, part, channels, &norm->gamma, error));
    snprintf(part, sizeof part, "%s.bias", full);
    return vipo_weight_store_vector(l->store, part, channels, &norm->beta, error);
}

static vipo_status load_window(const loader *l, const char *name, const vipo_window *window,
                               const vipo_packed **packed, vipo_error *error)
{
    char full[NAME_ROOM];
    full_name(full, l, name);
    return vipo_window_packed(l->store, full, window, packed, error);
}

static vipo_status load_3x3(const loader *l, const char *name, const vipo_layer *layer,
                            const vipo_packed **packed, vipo_error *error)
{
    char full[NAME_ROOM];
    full_name(full, l, name);
    return vipo_weight_store_packed(l->store, full, layer, 4, false, packed, error);
}

static vipo_status load_block(const loader *l, vipo_encoder_block *b, const char *name, vipo_error *error)
{
    char part[64];
    const int height = b->stride == 2 ? halved(b->height) : b->height;
    const int width = b->stride == 2 ? halved(b->width) : b->width;
    const vipo_layer first = {b->stride == 2 ? VIPO_WEIGHT_3X3_STRIDE2 : VIPO_WEIGHT_3X3,
                              b->in,
                              b->out,
                              1,
                              b->height,
                              b->width,
                              false};
    const vipo_layer second = {VIPO_WEIGHT_3X3, b->out, b->out, 1, height, width, false};
    snprintf(part, sizeof part, "%s.conv1", name);
    VIPO_TRY(load_3x3(l, part, &first, &b->conv[0], error));
    snprintf(part, sizeof part, "%s.bn1", name);
    VIPO_TRY(load_norm(l, part, b->out, &b->norm[0], error));
    snprintf(part, sizeof part, "%s.conv2", name);
    VIPO_TRY(load_3x3(l, part, &second, &b->conv[1], error));
    snprintf(part, sizeof part, "%s.bn2", name);
    VIPO_TRY(load_norm(l, part, b->out, &b->norm[1], error));
    if (b->stride == 1 && b->in == b->out) return VIPO_OK;
    snprintf(part, sizeof part, "%s.downsample.0", name);
    VIPO_TRY(load_window(l, part, &(vipo_window){4, b->in, b->out, 1, 1, false}, &b->skip, error));
    snprintf(part, sizeof part, "%s.downsample.1", name);
    return load_norm(l, part, b->out, &b->skip_norm, error);
}

static void grow(size_t *most, int height, int width, int channels)
{
    const size_t floats = (size_t)height * (size_t)width * (size_t)channels;
    if (floats > *most) *most = floats;
}

static vipo_status load(vipo_image_encoder *e, const loader *l, vipo_error *error)
{
    const vipo_encoder_config *c = &e->config;
    int height = halved(c->height), width = halved(c->width), channels = c->stem_channels, n = 0;
    VIPO_TRY(load_window(l, "nets.0.nets.0",
                         &(vipo_window){4, COLOURS, channels, c->stem_kernel, c->stem_kernel, false},
                         &e->stem, error));
    VIPO_TRY(load_norm(l, "nets.0.nets.1", channels, &e->stem_norm, error));
    grow(&e->map_floats, height, width, channels);
    height = halved(height);
    width = halved(width);
    for (int stage = 0; stage < c->stages; stage++)
        for (int i = 0; i < c->blocks[stage]; i++) {
            char name[48];
            vipo_encoder_block *b = &e->blocks[n++];
            *b = (vipo_encoder_block){.stage = stage,
                                      .in = channels,
                                      .out = c->widths[stage],
                                      .stride = i == 0 && stage > 0 ? 2 : 1,
                                      .height = height,
                                      .width = width};
            snprintf(name, sizeof name, "nets.0.nets.%d.%d", stage + 4,
                     i); /* after conv, norm, ReLU, pooling */
            VIPO_TRY(load_block(l, b, name, error));
            channels = b->out;
            if (b->stride == 2) {
                height = halved(height);
                width = halved(width);
            }
            grow(&e->map_floats, height, width, channels);
        }
    e->height = height;
    e->width = width;
    grow(&e->map_floats, height, width, c->keypoints);
    char temperature[NAME_ROOM];
    full_name(temperature, l, "nets.1.temperature");
    const size_t one = 1;
    VIPO_TRY(vipo_weight_store_read(l->store, temperature, 1, &one, &e->temperature, error));
    VIPO_TRY(load_window(l, "nets.1.nets", &(vipo_window){4, channels, c->keypoints, 1, 1, true},
                         &e->keypoints, error));
    return load_window(l, "nets.3", &(vipo_window){2, 2 * c->keypoints, c->feature_size, 1, 1, true},
                       &e->linear, error);
}

vipo_status vipo_image_encoder_open(vipo_image_encoder *out, const vipo_encoder_config *config,
                                    vipo_weight_store *store, const char *prefix, vipo_error *error)
{
    *out = (vipo_image_encoder){.config = *config, .temperature = 1};
    for (int i = 0; i < config->stages; i++) out->n_blocks += config->blocks[i];
    out->blocks = calloc((size_t)out->n_blocks, sizeof *out->blocks);
    vipo_status status =
        out->blocks ? load(out, &(loader){store, prefix}, error)
                    : vipo_fail_memory(error, (size_t)out->n_blocks * sizeof *out->blocks, "an encoder");
    if (status == VIPO_OK && !(out->temperature > 0))
        status = vipo_fail(error, VIPO_NUMERIC, "%snets.1.temperature is %g, expected a positive number",
                           prefix, (double)out->temperature);
    if (status != VIPO_OK) vipo_image_encoder_close(out);
    return status;
}

void vipo_image_encoder_close(vipo_image_encoder *encoder)
{
    free(encoder->blocks);
    memset(encoder, 0, sizeof *encoder);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

/* Three maps, each as large as the largest; keypoints; the picture in its border. */
enum { MAPS = 3 };

static size_t keypoint_floats(const vipo_image_encoder *e)
{
    return 2 * (size_t)e->config.keypoints;
}

static int stem_border(const vipo_image_encoder *e)
{
    return e->config.stem_kernel / 2;
}

size_t vipo_image_encoder_memory(const vipo_image_encoder *e, int samples)
{
    const size_t picture = vipo_raster_floats(e->config.height, e->config.width, COLOURS, stem_border(e));
    return (size_t)samples * (MAPS * e->map_floats + keypoint_floats(e) + picture);
}

static vipo_map map_of(float *data, int samples, int height, int width, int channels)
{
    return (vipo_map){.data = data,
                      .samples = samples,
                      .frames = 1,
                      .height = height,
                      .width = width,
                      .channels = channels};
}

static vipo_conv_space conv_3x3(const vipo_packed *weights, float *x, float *y, int samples, int height,
                                int width)
{
    const bool down = weights->kind == VIPO_WEIGHT_3X3_STRIDE2;
    return (vipo_conv_space){.in = {map_of(x, samples, height, width, weights->in)},
                             .n_in = 1,
                             .weights = weights,
                             .out = map_of(y, samples, down ? halved(height) : height,
                                           down ? halved(width) : width, weights->out)};
}

static void at_least(size_t *most, size_t bytes)
{
    if (bytes > *most) *most = bytes;
}

size_t vipo_image_encoder_scratch(const vipo_image_encoder *e, const vipo_ops *ops, int samples)
{
    size_t most = 0;
    at_least(&most, vipo_window_scratch(ops, e->stem));
    at_least(&most, vipo_window_scratch(ops, e->keypoints));
    at_least(&most, vipo_window_scratch(ops, e->linear));
    for (int i = 0; i < e->n_blocks; i++) {
        const vipo_encoder_block *b = &e->blocks[i];
        int height = b->height, width = b->width;
        for (int k = 0; k < 2 && ops->conv_space_scratch; k++) {
            const vipo_conv_space args = conv_3x3(b->conv[k], NULL, NULL, samples, height, width);
            at_least(&most, ops->conv_space_scratch(&args));
            height = args.out.height;
            width = args.out.width;
        }
        if (b->skip) at_least(&most, vipo_window_scratch(ops, b->skip));
    }
    return most;
}

/* ---- running ------------------------------------------------------------------------------------------ */

/* y = last(GroupNorm(x) + residual) of dense maps; y may be x or the residual. */
static void norm(const vipo_image_encoder *e, const vipo_image_encoder_run *run,
                 const vipo_encoder_norm *norm_, int height, int width, int channels, const float *x,
                 float *residual, vipo_activation last, float *y)
{
    vipo_norm_act args = {.samples = run->samples,
                          .height = height,
                          .width = width,
                          .channels = channels,
                          .groups = channels / e->config.channels_per_group,
                          .eps = e->config.norm_eps,
                          .gamma = norm_->gamma,
                          .beta = norm_->beta,
                          .x = x,
                          .last = last,
                          .y = vipo_raster_dense(y, height, width, channels)};
    if (residual) args.residual = vipo_raster_dense(residual, height, width, channels);
    run->compute->ops->norm_act(run->compute, &args);
}

struct pooling {
    const float *x; /* [samples][height][width][channels] */
    float *y;       /* [samples][halved height][halved width][channels] */
    int height, width, channels;
};

/* ReLU and the largest of 3x3 pixels at stride 2 (padding 1), which may change places. Task i: an output row. */
static void pool_row(void *arg, int i, int thread)
{
    (void)thread;
    const struct pooling *p = arg;
    const int rows = halved(p->height), columns = halved(p->width), row = i % rows;
    const size_t channels = (size_t)p->channels, line = (size_t)p->width * channels;
    const float *x = p->x + (size_t)(i / rows) * (size_t)p->height * line;
    float *y = p->y + (size_t)i * (size_t)columns * channels;
    memset(y, 0, (size_t)columns * channels * sizeof *y);
    for (int from_row = 2 * row - 1; from_row <= 2 * row + 1; from_row++) {
        if (from_row < 0 || from_row >= p->height) continue;
        for (int column = 0; column < columns; column++)
            for (int from = 2 * column - 1; from <= 2 * column + 1; from++) {
                if (from < 0 || from >= p->width) continue;
                const float *pixel = x + (size_t)from_row * line + (size_t)from * channels;
                float *most = y + (size_t)column * channels;
                for (size_t c = 0; c < channels; c++) most[c] = pixel[c] > most[c] ? pixel[c] : most[c];
            }
    }
}

static void window(const vipo_compute *compute, const vipo_packed *weights, int samples, int height,
                   int width, int kernel_height, int stride, vipo_raster x, vipo_raster y)
{
    const vipo_conv_window args = {.samples = samples,
                                   .height = height,
                                   .width = width,
                                   .kernel_height = kernel_height,
                                   .stride = stride,
                                   .x = x,
                                   .weights = weights,
                                   .y = y};
    compute->ops->conv_window(compute, &args);
}

/* Maps of a run. */
struct maps {
    float *x, *y, *work; /* input of a block, and two more */
    float *keypoints;
    vipo_raster picture;
};

static vipo_status dump_map(const vipo_image_encoder_run *run, const char *name, float *map, int height,
                            int width, int channels, vipo_error *error)
{
    const vipo_raster raster = vipo_raster_dense(map, height, width, channels);
    return vipo_raster_dump(run->dump, run->dump_user, run->dump_prefix, name, &raster, 4, run->samples,
                            height, width, channels, error);
}

/* Picture -> maps.x. */
static vipo_status run_stem(const vipo_image_encoder *e, const vipo_image_encoder_run *run,
                            const struct maps *m, vipo_error *error)
{
    const vipo_encoder_config *c = &e->config;
    const int border = stem_border(e), height = halved(c->height), width = halved(c->width);
    const size_t line = (size_t)c->width * COLOURS;
    const vipo_raster bordered = vipo_raster_moved(m->picture, -border, -border);
    memset(bordered.data, 0, (size_t)run->samples * bordered.sample * sizeof *bordered.data);
    for (int s = 0; s < run->samples; s++)
        for (int row = 0; row < c->height; row++) {
            const float *from = run->pictures + ((size_t)s * (size_t)c->height + (size_t)row) * line;
            float *to = m->picture.data + (size_t)s * m->picture.sample + (size_t)row * m->picture.row;
            for (size_t i = 0; i < line; i++) to[i] = from[i] * 2 - 1;
        }
    window(run->compute, e->stem, run->samples, height, width, c->stem_kernel, 2, bordered,
           vipo_raster_dense(m->y, height, width, c->stem_channels));
    VIPO_TRY(dump_map(run, "conv1", m->y, height, width, c->stem_channels, error));
    norm(e, run, &e->stem_norm, height, width, c->stem_channels, m->y, NULL, VIPO_ACT_NONE, m->y);
    VIPO_TRY(dump_map(run, "gn1", m->y, height, width, c->stem_channels, error));
    struct pooling pooling = {m->y, m->x, height, width, c->stem_channels};
    vipo_pool_run(run->compute->pool, run->samples * halved(height), pool_row, &pooling);
    return dump_map(run, "pool", m->x, halved(height), halved(width), c->stem_channels, error);
}

/* x = ReLU(GN(conv(ReLU(GN(conv(x))))) + skip(x)). */
static void run_block(const vipo_image_encoder *e, const vipo_image_encoder_run *run,
                      const vipo_encoder_block *b, const struct maps *m)
{
    const vipo_compute *compute = run->compute;
    const int n = run->samples;
    const vipo_conv_space first = conv_3x3(b->conv[0], m->x, m->y, n, b->height, b->width);
    const int height = first.out.height, width = first.out.width;
    compute->ops->conv_space(compute, &first);
    norm(e, run, &b->norm[0], height, width, b->out, m->y, NULL, VIPO_ACT_RELU, m->work);
    const vipo_conv_space second = conv_3x3(b->conv[1], m->work, m->y, n, height, width);
    compute->ops->conv_space(compute, &second);
    float *skip = m->x;
    if (b->skip) {
        skip = m->work;
        window(compute, b->skip, n, height, width, 1, b->stride,
               vipo_raster_dense(m->x, b->height, b->width, b->in),
               vipo_raster_dense(skip, height, width, b->out));
        norm(e, run, &b->skip_norm, height, width, b->out, skip, NULL, VIPO_ACT_NONE, skip);
    }
    norm(e, run, &b->norm[1], height, width, b->out, m->y, skip, VIPO_ACT_RELU, m->x);
}

/* Column i of n from -1 to 1. */
static double position(int i, int n)
{
    return n == 1 ? -1 : -1 + 2 * (double)i / (n - 1);
}

/* Expected column and row of every keypoint: out [keypoints][2] of logits [height][width][keypoints]. */
static void expect_places(const vipo_image_encoder *e, const float *logits, float *out)
{
    const int keypoints = e->config.keypoints, cells = e->height * e->width;
    const double temperature = (double)e->temperature;
    for (int k = 0; k < keypoints; k++) {
        double most = -INFINITY, sum = 0, x = 0, y = 0;
        for (int i = 0; i < cells; i++)
            most = fmax(most, (double)logits[(size_t)i * (size_t)keypoints + (size_t)k]);
        for (int i = 0; i < cells; i++) {
            const double p =
                exp(((double)logits[(size_t)i * (size_t)keypoints + (size_t)k] - most) / temperature);
            sum += p;
            x += p * position(i % e->width, e->width);
            y += p * position(i / e->width, e->height);
        }
        out[2 * k] = (float)(x / sum);
        out[2 * k + 1] = (float)(y / sum);
    }
}

static vipo_status dump_rows(const vipo_image_encoder_run *run, const char *name, const float *rows,
                             size_t stride, int columns, int depth, vipo_error *error)
{
    if (!run->dump) return VIPO_OK;
    char full[160];
    snprintf(full, sizeof full, "%s%s", run->dump_prefix, name);
    const size_t shape[3] = {(size_t)run->samples, (size_t)columns, (size_t)depth};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, depth > 1 ? 3 : 2, shape, error));
    const size_t n = (size_t)(columns * depth);
    for (int s = 0; s < run->samples; s++)
        memcpy(array.data + (size_t)s * n, rows + (size_t)s * stride, n * sizeof *rows);
    run->dump(run->dump_user, full, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

vipo_status vipo_image_encoder_forward(const vipo_image_encoder *e, const vipo_image_encoder_run *run,
                                       vipo_error *error)
{
    const vipo_encoder_config *c = &e->config;
    const size_t n = (size_t)run->samples, size = n * e->map_floats;
    const int last = c->widths[c->stages - 1], points = 2 * c->keypoints;
    struct maps m = {.x = run->memory, .y = run->memory + size, .work = run->memory + 2 * size};
    m.keypoints = run->memory + MAPS * size;
    m.picture = vipo_raster_inside(m.keypoints + n * keypoint_floats(e), c->height, c->width, COLOURS,
                                   stem_border(e));
    VIPO_TRY(run_stem(e, run, &m, error));
    for (int i = 0; i < e->n_blocks; i++) {
        const vipo_encoder_block *b = &e->blocks[i];
        run_block(e, run, b, &m);
        if (i + 1 < e->n_blocks && e->blocks[i + 1].stage == b->stage) continue;
        char name[16];
        snprintf(name, sizeof name, "layer%d", b->stage + 1);
        VIPO_TRY(dump_map(run, name, m.x, b->stride == 2 ? halved(b->height) : b->height,
                          b->stride == 2 ? halved(b->width) : b->width, b->out, error));
    }
    window(run->compute, e->keypoints, run->samples, e->height, e->width, 1, 1,
           vipo_raster_dense(m.x, e->height, e->width, last),
           vipo_raster_dense(m.y, e->height, e->width, c->keypoints));
    VIPO_TRY(dump_map(run, "kp_logits", m.y, e->height, e->width, c->keypoints, error));
    for (size_t s = 0; s < n; s++)
        expect_places(e, m.y + s * (size_t)(e->height * e->width * c->keypoints),
                      m.keypoints + s * (size_t)points);
    VIPO_TRY(dump_rows(run, "keypoints", m.keypoints, (size_t)points, c->keypoints, 2, error));
    const vipo_raster features = {run->features, run->feature_stride, 0, run->feature_stride};
    window(run->compute, e->linear, run->samples, 1, 1, 1, 1, vipo_raster_dense(m.keypoints, 1, 1, points),
           features);
    return dump_rows(run, "feature", run->features, run->feature_stride, c->feature_size, 1, error);
}
