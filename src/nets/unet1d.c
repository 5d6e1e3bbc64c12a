#include "nets/unet1d.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "nets/raster.h"

enum { NAME_ROOM = 192, STEP_WIDENING = 4 };

/* ---- loading ------------------------------------------------------------------------------------------ */

typedef struct loader {
    vipo_unet1d *unet;
    vipo_weight_store *store;
    const char *prefix;
} loader;

/* Place of one more padded map. */
static size_t padded_map(vipo_unet1d *unet, int length, int channels)
{
    const size_t place = unet->padded;
    unet->padded += vipo_raster_floats(1, length, channels, unet->border);
    return place;
}

static void dense_map(vipo_unet1d *unet, int length, int channels)
{
    const size_t floats = (size_t)length * (size_t)channels;
    if (floats > unet->dense) unet->dense = floats;
}

static vipo_status load_window(const loader *l, const char *name, int rank, int in, int out, int taps,
                               const vipo_packed **packed, vipo_error *error)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    return vipo_window_packed(l->store, full, &(vipo_window){rank, in, out, 1, taps, true}, packed, error);
}

/* Convolution "<name>.0" and GroupNorm "<name>.1". */
static vipo_status load_unit(const loader *l, const char *name, int in, int out, const vipo_packed **conv,
                             const float **gamma, const float **beta, vipo_error *error)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s.0", name);
    VIPO_TRY(load_window(l, full, 3, in, out, l->unet->config.kernel, conv, error));
    snprintf(full, sizeof full, "%s%s.1.weight", l->prefix, name);
    VIPO_TRY(vipo_weight_store_vector(l->store, full, out, gamma, error));
    snprintf(full, sizeof full, "%s%s.1.bias", l->prefix, name);
    return vipo_weight_store_vector(l->store, full, out, beta, error);
}

/* Block "<module>.<i>", called `name` in dumps. */
static vipo_status load_block(const loader *l, const char *module, const char *name, int in, int out,
                              int length, vipo_error *error)
{
    vipo_unet1d *unet = l->unet;
    vipo_unet1d_block *b = &unet->blocks[unet->n_blocks++];
    char part[96];
    *b = (vipo_unet1d_block){.in = in, .out = out, .length = length, .film = unet->film_total};
    snprintf(b->name, sizeof b->name, "%s", name);
    unet->film_total += (size_t)out * (unet->config.scale ? 2 : 1);
    b->input = padded_map(unet, length, in);
    b->middle = padded_map(unet, length, out);
    dense_map(unet, length, out);
    for (int k = 0; k < 2; k++) {
        snprintf(part, sizeof part, "%s.blocks.%d.block", module, k);
        VIPO_TRY(load_unit(l, part, k ? out : in, out, &b->conv[k], &b->gamma[k], &b->beta[k], error));
    }
    if (in == out) return VIPO_OK;
    snprintf(part, sizeof part, "%s.residual_conv", module);
    return load_window(l, part, 3, in, out, 1, &b->residual, error);
}

static vipo_status load_down(const loader *l, int level, vipo_error *error)
{
    const vipo_unet1d_config *c = &l->unet->config;
    const int in = level ? c->widths[level - 1] : c->action_dim, out = c->widths[level];
    const int length = c->horizon >> level;
    char module[64], name[24];
    for (int k = 0; k < 2; k++) {
        snprintf(module, sizeof module, "down_modules.%d.%d", level, k);
        snprintf(name, sizeof name, "down%d.res%d", level, k);
        VIPO_TRY(load_block(l, module, name, k ? out : in, out, length, error));
    }
    if (level + 1 == c->levels) return VIPO_OK;
    snprintf(module, sizeof module, "down_modules.%d.2.conv", level);
    l->unet->down[level].input = padded_map(l->unet, length, out);
    return load_window(l, module, 3, out, out, 3, &l->unet->down[level].weights[0], error);
}

static vipo_status load_up(const loader *l, int i, vipo_error *error)
{
    const vipo_unet1d_config *c = &l->unet->config;
    const int level = c->levels - 1 - i, in = c->widths[level], out = c->widths[level - 1];
    const int length = c->horizon >> level;
    char module[NAME_ROOM], name[24];
    for (int k = 0; k < 2; k++) {
        snprintf(module, sizeof module, "up_modules.%d.%d", i, k);
        snprintf(name, sizeof name, "up%d.res%d", i, k);
        VIPO_TRY(load_block(l, module, name, k ? out : 2 * in, out, length, error));
    }
    l->unet->up[i].input = padded_map(l->unet, length, out);
    snprintf(module, sizeof module, "%sup_modules.%d.2.conv", l->prefix, i);
    return vipo_window_packed_transposed(l->store, module, out, l->unet->up[i].weights, error);
}

/* The module of block i, whose condition is "<module>.cond_encoder.1". */
static void module_of(const vipo_unet1d *unet, int i, char out[64])
{
    const int levels = unet->config.levels;
    if (i < 2 * levels)
        snprintf(out, 64, "down_modules.%d.%d", i / 2, i % 2);
    else if (i < 2 * levels + 2)
        snprintf(out, 64, "mid_modules.%d", i - 2 * levels);
    else
        snprintf(out, 64, "up_modules.%d.%d", (i - 2 * levels - 2) / 2, i % 2);
}

/* The linear layers of all blocks' conditions as one. */
static vipo_status load_films(const loader *l, vipo_error *error)
{
    vipo_unet1d *unet = l->unet;
    const size_t in = (size_t)(unet->config.step_embedding + unet->config.condition), out = unet->film_total;
    float *weights = vipo_aligned_alloc(out * (in + 1), sizeof *weights);
    if (!weights) return vipo_fail_memory(error, out * (in + 1) * sizeof *weights, "weights");
    float *bias = weights + out * in;
    vipo_status status = VIPO_OK;
    for (int i = 0; i < unet->n_blocks && status == VIPO_OK; i++) {
        const vipo_unet1d_block *b = &unet->blocks[i];
        const size_t rows = (size_t)b->out * (unet->config.scale ? 2 : 1), shape[2] = {rows, in};
        char module[64], name[NAME_ROOM];
        module_of(unet, i, module);
        snprintf(name, sizeof name, "%s%s.cond_encoder.1.weight", l->prefix, module);
        status = vipo_weight_store_read(l->store, name, 2, shape, weights + b->film * in, error);
        snprintf(name, sizeof name, "%s%s.cond_encoder.1.bias", l->prefix, module);
        if (status == VIPO_OK)
            status = vipo_weight_store_read(l->store, name, 1, shape, bias + b->film, error);
    }
    if (status == VIPO_OK)
        status = vipo_weight_store_linear(l->store, (int)in, (int)out, weights, bias, &unet->films, error);
    vipo_aligned_free(weights);
    return status;
}

static vipo_status load(const loader *l, vipo_error *error)
{
    vipo_unet1d *unet = l->unet;
    const vipo_unet1d_config *c = &unet->config;
    const int step = c->step_embedding, bottom = c->widths[c->levels - 1];
    VIPO_TRY(
        load_window(l, "diffusion_step_encoder.1", 2, step, STEP_WIDENING * step, 1, &unet->step[0], error));
    VIPO_TRY(
        load_window(l, "diffusion_step_encoder.3", 2, STEP_WIDENING * step, step, 1, &unet->step[1], error));
    for (int level = 0; level < c->levels; level++) VIPO_TRY(load_down(l, level, error));
    for (int i = 0; i < 2; i++) {
        char module[64], name[24];
        snprintf(module, sizeof module, "mid_modules.%d", i);
        snprintf(name, sizeof name, "mid%d", i);
        VIPO_TRY(load_block(l, module, name, bottom, bottom, c->horizon >> (c->levels - 1), error));
    }
    for (int i = 0; i + 1 < c->levels; i++) VIPO_TRY(load_up(l, i, error));
    VIPO_TRY(load_films(l, error));
    unet->last_input = padded_map(unet, c->horizon, c->widths[0]);
    unet->last_middle = padded_map(unet, c->horizon, c->widths[0]);
    VIPO_TRY(load_unit(l, "final_conv.0.block", c->widths[0], c->widths[0], &unet->last_conv,
                       &unet->last_gamma, &unet->last_beta, error));
    return load_window(l, "final_conv.1", 3, c->widths[0], c->action_dim, 1, &unet->last, error);
}

vipo_status vipo_unet1d_open(vipo_unet1d *out, const vipo_unet1d_config *config, vipo_weight_store *store,
                             const char *prefix, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->config = *config;
    out->border = config->kernel / 2 > 1 ? config->kernel / 2 : 1;
    const vipo_status status = load(&(loader){out, store, prefix}, error);
    if (status != VIPO_OK) memset(out, 0, sizeof *out);
    return status;
}

/* ---- memory ------------------------------------------------------------------------------------------- */

/* Of one sample: two dense maps; sinusoids, hidden and output of the step encoder; Mish(step | condition); films. */
static size_t vector_floats(const vipo_unet1d *unet)
{
    const size_t step = (size_t)unet->config.step_embedding;
    return (1 + STEP_WIDENING + 1) * step + (step + (size_t)unet->config.condition) + unet->film_total;
}

size_t vipo_unet1d_memory(const vipo_unet1d *unet, int samples)
{
    return (size_t)samples * (unet->padded + 2 * unet->dense + vector_floats(unet));
}

static vipo_linear linear_of(const vipo_packed *weights, int rows, const float *x, float *y,
                             vipo_activation activation)
{
    return (vipo_linear){.rows = rows,
                         .x = x,
                         .x_stride = (size_t)weights->in,
                         .weights = weights,
                         .activation = activation,
                         .y = y,
                         .y_stride = (size_t)weights->out};
}

size_t vipo_unet1d_scratch(const vipo_unet1d *unet, const vipo_ops *ops, int samples)
{
    const vipo_packed *const linears[] = {unet->step[0], unet->step[1], unet->films};
    size_t most = 0;
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        const vipo_linear args = linear_of(linears[i], samples, NULL, NULL, VIPO_ACT_MISH);
        const size_t bytes = ops->linear_scratch ? ops->linear_scratch(&args) : 0;
        if (bytes > most) most = bytes;
    }
    for (int i = 0; i < unet->n_blocks; i++) {
        const vipo_unet1d_block *b = &unet->blocks[i];
        const vipo_packed *const convs[] = {b->conv[0], b->conv[1], b->residual};
        for (int k = 0; k < 3; k++) {
            const size_t bytes = convs[k] ? vipo_window_scratch(ops, convs[k]) : 0;
            if (bytes > most) most = bytes;
        }
    }
    const vipo_packed *const others[] = {unet->last_conv, unet->last};
    for (int k = 0; k < 2; k++) {
        const size_t bytes = vipo_window_scratch(ops, others[k]);
        if (bytes > most) most = bytes;
    }
    for (int i = 0; i + 1 < unet->config.levels; i++) {
        const vipo_packed *const changes[] = {unet->down[i].weights[0], unet->up[i].weights[0]};
        for (int k = 0; k < 2; k++) {
            const size_t bytes = vipo_window_scratch(ops, changes[k]);
            if (bytes > most) most = bytes;
        }
    }
    return most;
}

/* ---- running ------------------------------------------------------------------------------------------ */

/* A run with its memory shared out. */
typedef struct pass {
    const vipo_unet1d *unet;
    const vipo_unet1d_run *run;
    float *dense[2];
    float *sinusoids, *hidden, *step, *mixed, *films;
    vipo_error *error;
} pass;

/* The padded map at a place; all samples of a map lie together. */
static vipo_raster padded(const pass *p, size_t place, int length, int channels)
{
    return vipo_raster_inside(p->run->memory + place * (size_t)p->run->samples, 1, length, channels,
                              p->unet->border);
}

static vipo_status dump(const pass *p, const char *name, const vipo_raster *raster, int length, int channels)
{
    return vipo_raster_dump(p->run->dump, p->run->dump_user, p->run->dump_prefix, name, raster, 3,
                            p->run->samples, 1, length, channels, p->error);
}

static vipo_status dump_vector(const pass *p, const char *name, const float *vector, int n)
{
    if (!p->run->dump) return VIPO_OK;
    char full[160];
    snprintf(full, sizeof full, "%s%s", p->run->dump_prefix, name);
    const size_t shape[2] = {(size_t)p->run->samples, (size_t)n};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, 2, shape, p->error));
    memcpy(array.data, vector, shape[0] * shape[1] * sizeof *vector);
    p->run->dump(p->run->dump_user, full, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

/* y(l) = W x(stride l + offset ...) for `length` outputs. */
static void convolve(const pass *p, const vipo_packed *weights, int length, int stride, vipo_raster x,
                     int offset, vipo_raster y)
{
    const vipo_conv_window args = {.samples = p->run->samples,
                                   .height = 1,
                                   .width = length,
                                   .kernel_height = 1,
                                   .stride = stride,
                                   .x = vipo_raster_moved(x, 0, offset),
                                   .weights = weights,
                                   .y = y};
    p->run->compute->ops->conv_window(p->run->compute, &args);
}

static vipo_norm_act mish_norm(const pass *p, int length, int channels, const float *gamma, const float *beta,
                               const float *x, vipo_raster y)
{
    return (vipo_norm_act){.samples = p->run->samples,
                           .height = 1,
                           .width = length,
                           .channels = channels,
                           .groups = p->unet->config.groups,
                           .eps = p->unet->config.norm_eps,
                           .gamma = gamma,
                           .beta = beta,
                           .x = x,
                           .activation = VIPO_ACT_MISH,
                           .y = y};
}

static vipo_status dump_film(const pass *p, const vipo_unet1d_block *b)
{
    if (!p->run->dump) return VIPO_OK;
    char name[40];
    snprintf(name, sizeof name, "%s.film", b->name);
    const vipo_raster raster = {p->films + b->film, p->unet->film_total, 0, 0};
    return dump(p, name, &raster, 1, b->out * (p->unet->config.scale ? 2 : 1));
}

/* out = Mish(GN(conv(film(Mish(GN(conv(in))))))) + residual(in), where in is the block's own padded map. */
static vipo_status run_block(const pass *p, const vipo_unet1d_block *b, vipo_raster out)
{
    const vipo_unet1d *unet = p->unet;
    const vipo_ops *ops = p->run->compute->ops;
    const int pad = unet->config.kernel / 2;
    const vipo_raster in = padded(p, b->input, b->length, b->in),
                      middle = padded(p, b->middle, b->length, b->out);
    const vipo_raster sum = vipo_raster_dense(p->dense[0], 1, b->length, b->out);
    const vipo_raster skip = vipo_raster_dense(p->dense[1], 1, b->length, b->out);
    char name[40];

    convolve(p, b->conv[0], b->length, 1, in, -pad, sum);
    vipo_norm_act norm = mish_norm(p, b->length, b->out, b->gamma[0], b->beta[0], sum.data, middle);
    if (p->run->dump) { /* before the film */
        vipo_norm_act plain = norm;
        plain.y = skip;
        ops->norm_act(p->run->compute, &plain);
        snprintf(name, sizeof name, "%s.block0", b->name);
        VIPO_TRY(dump(p, name, &skip, b->length, b->out));
        VIPO_TRY(dump_film(p, b));
    }
    const float *film = p->films + b->film;
    norm.film_stride = unet->film_total;
    norm.factor = unet->config.scale ? film : NULL;
    norm.summand = unet->config.scale ? film + b->out : film;
    ops->norm_act(p->run->compute, &norm);

    convolve(p, b->conv[1], b->length, 1, middle, -pad, sum);
    norm = mish_norm(p, b->length, b->out, b->gamma[1], b->beta[1], sum.data, out);
    norm.residual = in;
    if (b->residual) {
        convolve(p, b->residual, b->length, 1, in, 0, skip);
        norm.residual = skip;
    }
    ops->norm_act(p->run->compute, &norm);
    return dump(p, b->name, &out, b->length, b->out);
}

/* Films of all blocks from the diffusion steps and the conditions. */
static vipo_status condition(const pass *p)
{
    const vipo_unet1d *unet = p->unet;
    const vipo_compute *compute = p->run->compute;
    const int samples = p->run->samples, width = unet->config.step_embedding, half = width / 2;
    const size_t step = (size_t)width, given = (size_t)unet->config.condition;
    for (int s = 0; s < samples; s++)
        for (int i = 0; i < half; i++) {
            const double angle = p->run->t[s] * exp(-i * log(10000) / (half - 1));
            p->sinusoids[(size_t)s * step + (size_t)i] = (float)sin(angle);
            p->sinusoids[(size_t)s * step + (size_t)(half + i)] = (float)cos(angle);
        }
    VIPO_TRY(dump_vector(p, "time_sin", p->sinusoids, width));
    vipo_linear linear = linear_of(unet->step[0], samples, p->sinusoids, p->hidden, VIPO_ACT_MISH);
    compute->ops->linear(compute, &linear);
    linear = linear_of(unet->step[1], samples, p->hidden, p->step, VIPO_ACT_NONE);
    compute->ops->linear(compute, &linear);
    VIPO_TRY(dump_vector(p, "time_embed", p->step, width));
    for (size_t s = 0; s < (size_t)samples; s++) {
        float *row = p->mixed + s * (step + given);
        memcpy(row, p->step + s * step, step * sizeof *row);
        memcpy(row + step, p->run->condition + s * given, given * sizeof *row);
        for (size_t i = 0; i < step + given; i++) {
            const double x = (double)row[i];
            row[i] = (float)(x * tanh(x > 30 ? x : log1p(exp(x))));
        }
    }
    linear = linear_of(unet->films, samples, p->mixed, p->films, VIPO_ACT_NONE);
    compute->ops->linear(compute, &linear);
    return VIPO_OK;
}

/* Input of the block at a place in the list, or of what follows the last one. */
static vipo_raster input_of(const pass *p, int i)
{
    const vipo_unet1d *unet = p->unet;
    if (i == unet->n_blocks) return padded(p, unet->last_input, unet->config.horizon, unet->config.widths[0]);
    return padded(p, unet->blocks[i].input, unet->blocks[i].length, unet->blocks[i].in);
}

/* The second half of what up module i takes: the output of its level on the way down. */
static vipo_raster skip_of(const pass *p, int level)
{
    const vipo_unet1d_config *c = &p->unet->config;
    const int up = c->levels - 1 - level;
    vipo_raster raster = input_of(p, 2 * c->levels + 2 + 2 * up);
    raster.data += c->widths[level];
    return raster;
}

static vipo_status run_down(const pass *p)
{
    const vipo_unet1d *unet = p->unet;
    const vipo_unet1d_config *c = &unet->config;
    for (int level = 0; level < c->levels; level++) {
        const bool last = level + 1 == c->levels;
        const int length = c->horizon >> level, width = c->widths[level], next = 2 * level + 2;
        VIPO_TRY(run_block(p, &unet->blocks[next - 2], input_of(p, next - 1)));
        const vipo_raster out = last ? input_of(p, next) : padded(p, unet->down[level].input, length, width);
        VIPO_TRY(run_block(p, &unet->blocks[next - 1], out));
        if (level > 0) { /* the first one is never taken up again */
            const vipo_raster skip = skip_of(p, level);
            vipo_raster_copy(&skip, &out, p->run->samples, 1, length, width);
        }
        if (last) break;
        char name[24];
        const vipo_raster half = input_of(p, next);
        convolve(p, unet->down[level].weights[0], length / 2, 2, out, -1, half);
        snprintf(name, sizeof name, "down%d.down", level);
        VIPO_TRY(dump(p, name, &half, length / 2, width));
    }
    return VIPO_OK;
}

static vipo_status run_up(const pass *p)
{
    const vipo_unet1d *unet = p->unet;
    const vipo_unet1d_config *c = &unet->config;
    for (int i = 0; i + 1 < c->levels; i++) {
        const int level = c->levels - 1 - i, length = c->horizon >> level, width = c->widths[level - 1];
        const int first = 2 * c->levels + 2 + 2 * i;
        const vipo_raster out = padded(p, unet->up[i].input, length, width);
        VIPO_TRY(run_block(p, &unet->blocks[first], input_of(p, first + 1)));
        VIPO_TRY(run_block(p, &unet->blocks[first + 1], out));
        const vipo_raster whole = input_of(p, first + 2);
        vipo_raster every = whole; /* second step */
        every.pixel *= 2;
        convolve(p, unet->up[i].weights[0], length, 1, out, -1, every);
        every.data += whole.pixel;
        convolve(p, unet->up[i].weights[1], length, 1, out, 0, every);
        char name[24];
        snprintf(name, sizeof name, "up%d.up", i);
        VIPO_TRY(dump(p, name, &whole, 2 * length, width));
    }
    return VIPO_OK;
}

vipo_status vipo_unet1d_forward(const vipo_unet1d *unet, const vipo_unet1d_run *run, vipo_error *error)
{
    const vipo_unet1d_config *c = &unet->config;
    const size_t n = (size_t)run->samples, step = (size_t)c->step_embedding;
    pass p = {.unet = unet, .run = run, .error = error};
    p.dense[0] = run->memory + n * unet->padded;
    p.dense[1] = p.dense[0] + n * unet->dense;
    p.sinusoids = p.dense[1] + n * unet->dense;
    p.hidden = p.sinusoids + n * step;
    p.step = p.hidden + n * STEP_WIDENING * step;
    p.mixed = p.step + n * step;
    p.films = p.mixed + n * (step + (size_t)c->condition);
    VIPO_TRY(condition(&p));

    const vipo_raster x = vipo_raster_dense((float *)(uintptr_t)run->x, 1, c->horizon, c->action_dim);
    const vipo_raster input = input_of(&p, 0);
    vipo_raster_copy(&input, &x, run->samples, 1, c->horizon, c->action_dim);
    VIPO_TRY(run_down(&p));
    const int mid = 2 * c->levels;
    VIPO_TRY(run_block(&p, &unet->blocks[mid], input_of(&p, mid + 1)));
    VIPO_TRY(run_block(&p, &unet->blocks[mid + 1], input_of(&p, mid + 2)));
    VIPO_TRY(run_up(&p));

    const vipo_raster sum = vipo_raster_dense(p.dense[0], 1, c->horizon, c->widths[0]);
    const vipo_raster middle = padded(&p, unet->last_middle, c->horizon, c->widths[0]);
    convolve(&p, unet->last_conv, c->horizon, 1, input_of(&p, unet->n_blocks), -(c->kernel / 2), sum);
    const vipo_norm_act norm =
        mish_norm(&p, c->horizon, c->widths[0], unet->last_gamma, unet->last_beta, sum.data, middle);
    run->compute->ops->norm_act(run->compute, &norm);
    VIPO_TRY(dump(&p, "final_block", &middle, c->horizon, c->widths[0]));
    convolve(&p, unet->last, c->horizon, 1, middle, 0,
             vipo_raster_dense(run->out, 1, c->horizon, c->action_dim));
    return VIPO_OK;
}
