#include "nets/unet3d.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"

enum { NAME_ROOM = 192, MAX_SKIPS = 1 + 8 * 33, HALF_PIXELS = 256 };

/* ---- writing the network down -------------------------------------------------------------------- */

typedef struct builder {
    vipo_unet3d *unet;
    vipo_program *program;
    vipo_weight_store *store;
    vipo_error *error;
    vipo_status status; /* first failure; everything after it is skipped */
    /* Linear layers of all residual blocks' embeddings, stacked: [embedding_total][embedding_width] */
    float *embedding_weights, *embedding_bias;
    int embedding_total;
} builder;

static bool keep(builder *b, vipo_status status)
{
    if (b->status == VIPO_OK) b->status = status;
    return b->status == VIPO_OK;
}

/* Notices when the program has run out of memory, after which channel counts mean nothing. */
static void check_program(builder *b)
{
    if (b->status == VIPO_OK && vipo_program_failed(b->program))
        b->status = vipo_program_finish(b->program, b->error);
}

/* Loads "<name>.weight" and ".bias" of a layer over `map`, or of a linear one if there is none; a stand-in
 * after a failure, so that the walk can go on harmlessly. */
static const vipo_packed *load(builder *b, const char *name, vipo_weight_kind kind, int rank, int in, int out,
                               vipo_value map)
{
    static const vipo_packed nothing = {.kind = VIPO_WEIGHT_LINEAR, .in = 1, .out = 1};
    const vipo_packed *packed = &nothing;
    check_program(b);
    vipo_layer layer = {kind, in, out, 1, 1, 1, false};
    if (map != VIPO_NO_VALUE)
        vipo_program_map_size(b->program, map, &layer.frames, &layer.height, &layer.width);
    layer.half = b->store->packer.half_weights && layer.height * layer.width <= HALF_PIXELS;
    if (b->status == VIPO_OK)
        keep(b, vipo_weight_store_packed(b->store, name, &layer, rank, true, &packed, b->error));
    return packed;
}

static vipo_value group_norm(builder *b, const char *name, vipo_concat in, bool per_frame)
{
    const vipo_unet_config *config = &b->unet->config;
    int channels = 0;
    check_program(b);
    for (int i = 0; i < in.count; i++) channels += vipo_program_channels(b->program, in.maps[i]);
    if (b->status == VIPO_OK && channels % config->groups)
        keep(b, vipo_fail(b->error, VIPO_FORMAT, "%s: %d channels do not split into %d norm groups", name,
                          channels, config->groups));
    const float *gamma = NULL, *beta = NULL;
    char full[NAME_ROOM + 8];
    snprintf(full, sizeof full, "%s.weight", name);
    if (b->status == VIPO_OK) keep(b, vipo_weight_store_vector(b->store, full, channels, &gamma, b->error));
    snprintf(full, sizeof full, "%s.bias", name);
    if (b->status == VIPO_OK) keep(b, vipo_weight_store_vector(b->store, full, channels, &beta, b->error));
    return vipo_program_group_norm(b->program, name, in, config->groups, config->norm_eps, gamma, beta,
                                   per_frame);
}

/* What a convolution pair adds to its plain form. */
typedef struct pair_extras {
    vipo_value norm; /* GroupNorm + SiLU before it */
    const char *silu_name;
    int embedding;
    vipo_value residual;
    vipo_concat skip;
    const vipo_packed *skip_weights;
    const char *skip_name;
    vipo_value external;
} pair_extras;

static const pair_extras no_extras = {
    .norm = VIPO_NO_VALUE, .embedding = -1, .residual = VIPO_NO_VALUE, .external = VIPO_NO_VALUE};

/* 3x3 on each frame, then three taps over frames. */
static vipo_value conv_pair(builder *b, const char *name, vipo_concat in, vipo_weight_kind kind,
                            int out_channels, const pair_extras *extras)
{
    int in_channels = 0;
    for (int i = 0; i < in.count; i++) in_channels += vipo_program_channels(b->program, in.maps[i]);
    char full[NAME_ROOM + 16];
    snprintf(full, sizeof full, "%s.spatial_conv", name);
    const vipo_space_step space = {.in = in,
                                   .norm = extras->norm,
                                   .silu = extras->norm != VIPO_NO_VALUE,
                                   .silu_name = extras->silu_name,
                                   .weights = load(b, full, kind, 4, in_channels, out_channels, in.maps[0])};
    const vipo_value h = vipo_program_conv_space(b->program, name, &space);
    snprintf(full, sizeof full, "%s.temporal_conv", name);
    const vipo_time_step time = {.in = h,
                                 .weights = load(b, full, VIPO_WEIGHT_TIME, 3, out_channels, out_channels, h),
                                 .embedding = extras->embedding,
                                 .residual = extras->residual,
                                 .skip = extras->skip,
                                 .skip_weights = extras->skip_weights,
                                 .skip_name = extras->skip_name,
                                 .external = extras->external};
    return vipo_program_conv_time(b->program, name, &time);
}

/* Reads the embedding layer of residual block `block` into the stack; returns its offset. */
static int stack_embedding(builder *b, const char *block, int channels)
{
    vipo_unet3d *unet = b->unet;
    const int offset = b->embedding_total;
    if (b->status != VIPO_OK) return offset;
    const size_t width = (size_t)b->unet->embedding_width, total = (size_t)(offset + channels);
    float *weights = realloc(b->embedding_weights, total * width * sizeof *weights);
    if (weights) b->embedding_weights = weights;
    float *bias = realloc(b->embedding_bias, total * sizeof *bias);
    if (bias) b->embedding_bias = bias;
    vipo_embedding_part *parts = realloc(unet->parts, ((size_t)unet->n_parts + 1) * sizeof *parts);
    if (parts) unet->parts = parts;
    if (!weights || !bias || !parts) {
        keep(b, vipo_fail_memory(b->error, total * width * sizeof *weights, "weights"));
        return offset;
    }
    char full[NAME_ROOM + 24];
    const size_t shape[2] = {(size_t)channels, width};
    vipo_embedding_part *part = &parts[unet->n_parts++];
    *part = (vipo_embedding_part){.offset = offset, .channels = channels};
    snprintf(part->name, sizeof part->name, "%s", block);
    snprintf(full, sizeof full, "%s.emb_layers.1.weight", block);
    if (keep(b,
             vipo_weight_store_read(b->store, full, 2, shape, weights + (size_t)offset * width, b->error))) {
        snprintf(full, sizeof full, "%s.emb_layers.1.bias", block);
        keep(b, vipo_weight_store_read(b->store, full, 1, shape, bias + offset, b->error));
    }
    b->embedding_total = offset + channels;
    return offset;
}

/* h = conv(silu(norm(x))) + embedding; conv(silu(norm(h))) + skip(x). */
static vipo_value residual_block(builder *b, const char *name, vipo_concat x, int out_channels)
{
    char norm_name[NAME_ROOM], silu_name[NAME_ROOM], conv_name[NAME_ROOM], other[NAME_ROOM];
    snprintf(norm_name, sizeof norm_name, "%s.in_layers.0", name);
    snprintf(silu_name, sizeof silu_name, "%s.in_layers.1", name);
    snprintf(conv_name, sizeof conv_name, "%s.in_layers.2", name);
    pair_extras in = no_extras;
    in.norm = group_norm(b, norm_name, x, false);
    in.silu_name = silu_name;
    in.embedding = stack_embedding(b, name, out_channels);
    const vipo_value h = conv_pair(b, conv_name, x, VIPO_WEIGHT_3X3, out_channels, &in);

    snprintf(norm_name, sizeof norm_name, "%s.out_layers.0", name);
    snprintf(silu_name, sizeof silu_name, "%s.out_layers.1", name);
    snprintf(conv_name, sizeof conv_name, "%s.out_layers.3", name);
    snprintf(other, sizeof other, "%s.skip_connection", name);
    pair_extras out = no_extras;
    out.norm = group_norm(b, norm_name, vipo_single(h), false);
    out.silu_name = silu_name;
    int in_channels = 0;
    for (int i = 0; i < x.count; i++) in_channels += vipo_program_channels(b->program, x.maps[i]);
    if (in_channels != out_channels) {
        char full[NAME_ROOM + 16];
        snprintf(full, sizeof full, "%s.spatial_conv", other);
        out.skip = x;
        out.skip_weights = load(b, full, VIPO_WEIGHT_LINEAR, 4, in_channels, out_channels, x.maps[0]);
        out.skip_name = other;
    } else if (x.count == 1) {
        out.residual = x.maps[0];
    } else { /* as many channels as the two sources together: the identity as a 1x1 convolution */
        const size_t n = (size_t)in_channels;
        float *identity = calloc(n * n, sizeof *identity);
        if (!identity) {
            keep(b, vipo_fail_memory(b->error, n * n * sizeof *identity, "weights"));
        } else {
            for (size_t i = 0; i < n; i++) identity[i * n + i] = 1;
            out.skip = x;
            out.skip_name = other;
            keep(b, vipo_weight_store_linear(b->store, in_channels, in_channels, identity, NULL,
                                             &out.skip_weights, b->error));
            free(identity);
        }
    }
    const vipo_value y = conv_pair(b, conv_name, vipo_single(h), VIPO_WEIGHT_3X3, out_channels, &out);
    vipo_program_label(b->program, y, name);
    return y;
}

/* x + proj(attention(qkv(norm(x)))) inside every frame. */
static vipo_value attention_block(builder *b, const char *name, vipo_value x)
{
    const int channels = vipo_program_channels(b->program, x);
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s.norm", name);
    const vipo_value norm = group_norm(b, full, vipo_single(x), true);
    snprintf(full, sizeof full, "%s.qkv", name);
    const vipo_space_step qkv = {.in = vipo_single(x),
                                 .norm = norm,
                                 .weights = load(b, full, VIPO_WEIGHT_LINEAR, 3, channels, 3 * channels, x)};
    const vipo_value heads = vipo_program_conv_space(b->program, full, &qkv);
    snprintf(full, sizeof full, "%s.attention", name);
    const vipo_value mixed = vipo_program_attention(b->program, full, heads, b->unet->config.head_channels);
    snprintf(full, sizeof full, "%s.proj_out", name);
    const vipo_time_step projection = {.in = mixed,
                                       .weights = load(b, full, VIPO_WEIGHT_LINEAR, 3, channels, channels, x),
                                       .embedding = -1,
                                       .residual = x,
                                       .external = VIPO_NO_VALUE};
    const vipo_value y = vipo_program_conv_time(b->program, full, &projection);
    vipo_program_label(b->program, y, name);
    return y;
}

/* A block of the input or output side: residual block, then attention where its level has it. */
static vipo_value level_block(builder *b, const char *name, vipo_concat x, int channels, int ds, int *modules)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s.0", name);
    vipo_value h = residual_block(b, full, x, channels);
    *modules = 1;
    if (vipo_unet_config_attends(&b->unet->config, ds)) {
        snprintf(full, sizeof full, "%s.1", name);
        h = attention_block(b, full, h);
        *modules = 2;
    }
    return h;
}

static void build_unet(builder *b)
{
    const vipo_unet_config *c = &b->unet->config;
    const int frames = c->frames, height = c->height, width = c->width;
    const vipo_value x = vipo_program_external(b->program, frames, height, width, c->out_channels);
    const vipo_value cond =
        vipo_program_external(b->program, 1, height, width, c->in_channels - c->out_channels);
    const vipo_value v = vipo_program_external(b->program, frames, height, width, c->out_channels);
    vipo_value skips[MAX_SKIPS];
    int n_skips = 0, block = 0, ds = 1, modules;
    char name[NAME_ROOM], full[NAME_ROOM + 16];

    /* input side */
    vipo_value h = conv_pair(b, "input_blocks.0.0", (vipo_concat){{x, cond}, 2}, VIPO_WEIGHT_3X3,
                             c->model_channels, &no_extras);
    vipo_program_label(b->program, h, "input_blocks.0");
    skips[n_skips++] = h;
    for (int level = 0; level < c->levels; level++) {
        const int channels = c->channel_mult[level] * c->model_channels;
        for (int i = 0; i < c->res_blocks; i++) {
            snprintf(name, sizeof name, "input_blocks.%d", ++block);
            h = level_block(b, name, vipo_single(h), channels, ds, &modules);
            vipo_program_label(b->program, h, name);
            skips[n_skips++] = h;
        }
        if (level + 1 < c->levels) {
            snprintf(name, sizeof name, "input_blocks.%d", ++block);
            snprintf(full, sizeof full, "%s.0.op", name);
            h = conv_pair(b, full, vipo_single(h), VIPO_WEIGHT_3X3_STRIDE2, channels, &no_extras);
            vipo_program_label(b->program, h, name);
            skips[n_skips++] = h;
            ds *= 2;
        }
    }

    /* middle */
    const int deepest = c->channel_mult[c->levels - 1] * c->model_channels;
    h = residual_block(b, "middle_block.0", vipo_single(h), deepest);
    h = attention_block(b, "middle_block.1", h);
    h = residual_block(b, "middle_block.2", vipo_single(h), deepest);
    vipo_program_label(b->program, h, "middle_block");

    /* output side: each block sees the concatenation [h, skip] */
    block = -1;
    for (int level = c->levels - 1; level >= 0; level--) {
        const int channels = c->channel_mult[level] * c->model_channels;
        for (int i = 0; i <= c->res_blocks; i++) {
            snprintf(name, sizeof name, "output_blocks.%d", ++block);
            h = level_block(b, name, (vipo_concat){{h, skips[--n_skips]}, 2}, channels, ds, &modules);
            if (level > 0 && i == c->res_blocks) {
                snprintf(full, sizeof full, "%s.%d.conv", name, modules);
                h = conv_pair(b, full, vipo_single(h), VIPO_WEIGHT_3X3_UPSAMPLE2, channels, &no_extras);
                ds /= 2;
            }
            vipo_program_label(b->program, h, name);
        }
    }

    pair_extras last = no_extras;
    last.norm = group_norm(b, "out.0", vipo_single(h), false);
    last.silu_name = "out.1";
    last.external = v;
    conv_pair(b, "out.2", vipo_single(h), VIPO_WEIGHT_3X3, c->out_channels, &last);
    vipo_program_label(b->program, v, "out");
}

/* With a store that is ready to be filled. */
static vipo_status open_network(vipo_unet3d *out, vipo_error *error)
{
    builder b = {.unet = out, .store = &out->store, .error = error};
    const vipo_unet_config *config = &out->config;
    const int mc = config->model_channels, width = out->embedding_width;
    b.status = vipo_program_open(&out->program, error);
    b.program = out->program;
    if (b.status == VIPO_OK) {
        out->time_in = load(&b, "time_embed.0", VIPO_WEIGHT_LINEAR, 2, mc, width, VIPO_NO_VALUE);
        out->time_out = load(&b, "time_embed.2", VIPO_WEIGHT_LINEAR, 2, width, width, VIPO_NO_VALUE);
    }
    if (b.status == VIPO_OK)
        keep(&b, vipo_perceiver_open(&out->perceiver, &config->perceiver, config->token_channels, width,
                                     &out->store, error));
    if (b.status == VIPO_OK) build_unet(&b);
    if (b.status == VIPO_OK)
        keep(&b, vipo_weight_store_linear(&out->store, width, b.embedding_total, b.embedding_weights,
                                          b.embedding_bias, &out->embeddings, error));
    out->embedding_total = b.embedding_total;
    free(b.embedding_weights);
    free(b.embedding_bias);
    if (b.status == VIPO_OK) keep(&b, vipo_program_finish(out->program, error));
    out->store.source = NULL;
    out->store.packer.pool = NULL;
    out->store.packer.choices = NULL;
    out->store.callbacks = NULL;
    if (b.status != VIPO_OK) vipo_unet3d_close(out);
    return b.status;
}

vipo_status vipo_unet3d_open(vipo_unet3d *out, const vipo_unet_config *config, const vipo_packer *packer,
                             const vipo_weight_source *source, size_t expected,
                             const vipo_callbacks *callbacks, vipo_error *error)
{
    *out = (vipo_unet3d){
        .config = *config,
        .embedding_width = 4 * config->model_channels,
        .store = {
            .packer = *packer, .source = source, .callbacks = callbacks, .expected_parameters = expected}};
    return open_network(out, error);
}

vipo_status vipo_unet3d_survey(const vipo_unet_config *config, bool half_weights, vipo_choices *out,
                               vipo_error *error)
{
    memset(out, 0, sizeof *out);
    vipo_unet3d unet = {.config = *config,
                        .embedding_width = 4 * config->model_channels,
                        .store = {.packer = {.half_weights = half_weights}, .survey = out}};
    const vipo_status status = open_network(&unet, error);
    if (status == VIPO_OK)
        vipo_unet3d_close(&unet);
    else
        vipo_choices_free(out);
    return status;
}

void vipo_unet3d_close(vipo_unet3d *unet)
{
    vipo_program_close(&unet->program);
    vipo_weight_store_free(&unet->store);
    free(unet->parts);
    memset(unet, 0, sizeof *unet);
}

/* ---- running it -------------------------------------------------------------------------------------- */

/* Vectors of a run that come before the program's own memory, in floats for one sample: sinusoid, hidden,
 * time embedding, sum with the task embedding, and the stacked per-block embeddings. */
static size_t vectors(const vipo_unet3d *unet)
{
    const size_t floats = (size_t)unet->config.model_channels + 3 * (size_t)unet->embedding_width +
                          (size_t)unet->embedding_total;
    return (floats + 15) / 16 * 16;
}

size_t vipo_unet3d_memory(const vipo_unet3d *unet, int samples)
{
    return (vectors(unet) + vipo_program_memory(unet->program)) * (size_t)samples;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t vipo_unet3d_scratch(const vipo_unet3d *unet, const vipo_ops *ops, int samples)
{
    size_t bytes = vipo_program_scratch(unet->program, ops, samples);
    const vipo_packed *const layers[] = {unet->time_in, unet->time_out, unet->embeddings};
    for (size_t i = 0; ops->linear_scratch && i < sizeof layers / sizeof layers[0]; i++) {
        const vipo_linear args = {.rows = samples, .weights = layers[i]};
        bytes = larger(bytes, ops->linear_scratch(&args));
    }
    return larger(bytes, vipo_perceiver_scratch(&unet->perceiver, ops));
}

/* [cos(t w_i), sin(t w_i)], w_i = 10000^(-i / half). */
static void time_sinusoid(float *out, int t, int width)
{
    const int half = width / 2;
    for (int i = 0; i < half; i++) {
        const double angle = (double)t * exp(-log(10000.0) * (double)i / (double)half);
        out[i] = (float)cos(angle);
        out[half + i] = (float)sin(angle);
    }
    if (width % 2) out[width - 1] = 0;
}

/* [samples][width] of rows that lie stride floats apart. */
static vipo_status dump_vector(const vipo_unet3d_run *run, const char *name, const float *data, size_t stride,
                               int width, vipo_error *error)
{
    if (!run->dump) return VIPO_OK;
    const size_t shape[2] = {(size_t)run->samples, (size_t)width};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, 2, shape, error));
    for (size_t s = 0; s < shape[0]; s++)
        memcpy(array.data + s * shape[1], data + s * stride, shape[1] * sizeof *data);
    run->dump(run->dump_user, name, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

static vipo_status dump_embeddings(const vipo_unet3d *unet, const vipo_unet3d_run *run,
                                   const float *activated, const float *embeddings, vipo_error *error)
{
    for (int i = 0; run->dump && i < unet->n_parts; i++) {
        const vipo_embedding_part *part = &unet->parts[i];
        char name[96];
        snprintf(name, sizeof name, "%s.emb_layers.0", part->name);
        VIPO_TRY(
            dump_vector(run, name, activated, (size_t)unet->embedding_width, unet->embedding_width, error));
        snprintf(name, sizeof name, "%s.emb_layers.1", part->name);
        VIPO_TRY(dump_vector(run, name, embeddings + part->offset, (size_t)unet->embedding_total,
                             part->channels, error));
    }
    return VIPO_OK;
}

/* The time embedding's two layers, from the sinusoid on, or all residual blocks' embedding layers in one. */
static void profile_linear(const vipo_unet3d_run *run, const char *name, const vipo_packed *first,
                           const vipo_packed *second, double seconds)
{
    const double weights = (double)first->in * first->out + (second ? (double)second->in * second->out : 0.0);
    const vipo_operation operation = {.name = name,
                                      .op = "linear",
                                      .kind = "linear",
                                      .method = vipo_method_name(first->method),
                                      .rows = run->samples,
                                      .frames = 1,
                                      .height = 1,
                                      .width = 1,
                                      .in_channels = first->in,
                                      .out_channels = second ? second->out : first->out,
                                      .macs = run->samples * weights,
                                      .products = run->samples * weights,
                                      .seconds = seconds};
    run->profile(run->profile_user, &operation);
}

vipo_status vipo_unet3d_forward(const vipo_unet3d *unet, const vipo_unet3d_run *run, vipo_error *error)
{
    const vipo_compute *compute = run->compute;
    const size_t samples = (size_t)run->samples, mc = (size_t)unet->config.model_channels;
    const size_t width = (size_t)unet->embedding_width, total = (size_t)unet->embedding_total;
    float *sinusoid = run->memory, *hidden = sinusoid + samples * mc, *time = hidden + samples * width;
    float *sum = time + samples * width, *embeddings = sum + samples * width;

    double start = run->profile ? vipo_clock_seconds() : 0;
    for (size_t s = 0; s < samples; s++)
        time_sinusoid(sinusoid + s * mc, run->t[s], unet->config.model_channels);
    compute->ops->linear(compute, &(vipo_linear){.rows = run->samples,
                                                 .x = sinusoid,
                                                 .x_stride = mc,
                                                 .weights = unet->time_in,
                                                 .activation = VIPO_ACT_SILU,
                                                 .y = hidden,
                                                 .y_stride = width});
    compute->ops->linear(compute, &(vipo_linear){.rows = run->samples,
                                                 .x = hidden,
                                                 .x_stride = width,
                                                 .weights = unet->time_out,
                                                 .y = time,
                                                 .y_stride = width});
    if (run->profile)
        profile_linear(run, "time_embed", unet->time_in, unet->time_out, vipo_clock_seconds() - start);
    for (size_t i = 0; i < samples * width; i++) sum[i] = time[i] + run->task_embedding[i];
    VIPO_TRY(dump_vector(run, "time_sinusoid", sinusoid, mc, (int)mc, error));
    VIPO_TRY(dump_vector(run, "time_embed", time, width, (int)width, error));
    VIPO_TRY(dump_vector(run, "emb", sum, width, (int)width, error));
    if (run->profile) start = vipo_clock_seconds();
    for (size_t i = 0; i < samples * width; i++)
        sum[i] = (float)((double)sum[i] / (1.0 + exp(-(double)sum[i])));
    compute->ops->linear(compute, &(vipo_linear){.rows = run->samples,
                                                 .x = sum,
                                                 .x_stride = width,
                                                 .weights = unet->embeddings,
                                                 .y = embeddings,
                                                 .y_stride = total});
    if (run->profile) profile_linear(run, "emb_layers", unet->embeddings, NULL, vipo_clock_seconds() - start);
    VIPO_TRY(dump_embeddings(unet, run, sum, embeddings, error));

    const vipo_program_run program_run = {
        .compute = compute,
        .memory = run->memory + vectors(unet) * samples,
        .samples = run->samples,
        .externals = {(float *)(uintptr_t)run->x, (float *)(uintptr_t)run->cond, run->v},
        .embedding = embeddings,
        .embedding_stride = total,
        .callbacks = run->callbacks,
        .dump = run->dump,
        .dump_user = run->dump_user,
        .profile = run->profile,
        .profile_user = run->profile_user};
    return vipo_program_execute(unet->program, &program_run, error);
}
