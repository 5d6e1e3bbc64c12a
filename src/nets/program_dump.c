/* Intermediates under PyTorch's names and in its layouts. The fused ops never write some of what the original
 * modules do (a norm's output, a convolution before its residual); those are recomputed here. */
#include <math.h>
#include <stdio.h>

#include "core/memory.h"
#include "nets/program_private.h"

enum layout {
    LAYOUT_BLOCK,  /* [b][C][f][h][w] */
    LAYOUT_FRAMES, /* [b*f][C][h][w] */
    LAYOUT_PIXELS, /* [b*h*w][C][f] */
    LAYOUT_TOKENS, /* [b*f][C][h*w] */
};

static vipo_status emit(const vipo_program_run *run, const char *name, const vipo_map *map,
                        enum layout layout, vipo_error *error)
{
    const size_t b = (size_t)map->samples, f = (size_t)map->frames, h = (size_t)map->height,
                 w = (size_t)map->width;
    const size_t c = (size_t)map->channels, pixels = h * w;
    const size_t shapes[4][5] = {{b, c, f, h, w}, {b * f, c, h, w}, {b * pixels, c, f}, {b * f, c, pixels}};
    static const int ranks[4] = {5, 4, 3, 3};
    vipo_array array;
    VIPO_TRY(vipo_array_alloc(&array, ranks[layout], shapes[layout], error));
    const float *x = map->data;
    for (size_t bi = 0; bi < b; bi++)
        for (size_t fi = 0; fi < f; fi++)
            for (size_t p = 0; p < pixels; p++)
                for (size_t ci = 0; ci < c; ci++) {
                    size_t to = 0;
                    switch (layout) {
                    case LAYOUT_BLOCK:
                        to = ((bi * c + ci) * f + fi) * pixels + p;
                        break;
                    case LAYOUT_FRAMES:
                    case LAYOUT_TOKENS:
                        to = ((bi * f + fi) * c + ci) * pixels + p;
                        break;
                    case LAYOUT_PIXELS:
                        to = ((bi * pixels + p) * c + ci) * f + fi;
                        break;
                    }
                    array.data[to] = *x++;
                }
    run->dump(run->dump_user, name, &array);
    vipo_array_free(&array);
    return VIPO_OK;
}

/* A map of the same shape with memory of its own; free data with vipo_aligned_free. */
static vipo_status own_map(vipo_map *out, const vipo_map *like, int channels, vipo_error *error)
{
    *out = *like;
    out->channels = channels;
    out->stats = NULL;
    const size_t n = (size_t)out->samples * (size_t)out->frames * (size_t)out->height * (size_t)out->width *
                     (size_t)channels;
    out->data = vipo_aligned_calloc(n, sizeof(float));
    return out->data ? VIPO_OK : vipo_fail_memory(error, n * sizeof(float), "a dump");
}

/* silu(scale x + shift) or without silu, over concatenated sources. */
static void apply_norm(const vipo_conv_space *args, bool silu, const vipo_map *out)
{
    const size_t channels = (size_t)out->channels, pixels = (size_t)out->height * (size_t)out->width;
    float *y = out->data;
    for (int b = 0; b < out->samples; b++)
        for (int f = 0; f < out->frames; f++) {
            const size_t row = args->norm.per_frame ? (size_t)b * (size_t)out->frames + (size_t)f : (size_t)b;
            for (size_t p = 0; p < pixels; p++) {
                size_t c = 0;
                for (int s = 0; s < args->n_in; s++) {
                    const size_t n = (size_t)args->in[s].channels;
                    const float *x = vipo_map_frame(&args->in[s], b, f) + p * n;
                    for (size_t i = 0; i < n; i++, c++) {
                        const size_t at = row * channels + c;
                        const double value =
                            (double)x[i] * (double)args->norm.scale[at] + (double)args->norm.shift[at];
                        *y++ = (float)(silu ? value / (1.0 + exp(-value)) : value);
                    }
                }
            }
        }
}

static bool is_one_tap(const vipo_packed *weights)
{
    return weights->kind == VIPO_WEIGHT_LINEAR;
}

static vipo_status dump_space(const vipo_program *program, const vipo_program_run *run,
                              const struct node *node, vipo_error *error)
{
    const vipo_conv_space args = vipo_program_conv_space_args(program, run, node);
    const bool tokens = is_one_tap(args.weights);
    if (args.norm.scale) {
        const char *norm_name = NULL;
        for (int i = 0; i < program->n_nodes; i++)
            if (program->nodes[i].out == node->u.space.step.norm) norm_name = program->nodes[i].name;
        vipo_map normed;
        VIPO_TRY(own_map(&normed, &args.in[0], args.weights->in, error));
        apply_norm(&args, false, &normed);
        vipo_status status = emit(run, norm_name, &normed, tokens ? LAYOUT_TOKENS : LAYOUT_BLOCK, error);
        if (status == VIPO_OK && args.silu) {
            apply_norm(&args, true, &normed);
            status = emit(run, node->u.space.silu_name, &normed, LAYOUT_BLOCK, error);
        }
        vipo_aligned_free(normed.data);
        VIPO_TRY(status);
    }
    char name[256];
    snprintf(name, sizeof name, tokens ? "%s" : "%s.spatial_conv", node->name);
    return emit(run, name, &args.out, tokens ? LAYOUT_TOKENS : LAYOUT_FRAMES, error);
}

static vipo_status dump_time(const vipo_program *program, const vipo_program_run *run,
                             const struct node *node, vipo_error *error)
{
    vipo_conv_time args = vipo_program_conv_time_args(program, run, node);
    const vipo_conv_time fused = args;
    args.embedding = NULL;
    args.residual.data = NULL;
    args.n_skip = 0;
    VIPO_TRY(own_map(&args.out, &fused.out, fused.out.channels, error));
    run->compute->ops->conv_time(run->compute, &args);
    char name[256];
    const bool tokens = is_one_tap(args.weights);
    snprintf(name, sizeof name, tokens ? "%s" : "%s.temporal_conv", node->name);
    vipo_status status = emit(run, name, &args.out, tokens ? LAYOUT_TOKENS : LAYOUT_PIXELS, error);
    if (status == VIPO_OK && fused.n_skip) {
        const vipo_conv_space skip = {.in = {fused.skip[0], fused.skip[1]},
                                      .n_in = fused.n_skip,
                                      .weights = fused.skip_weights,
                                      .out = args.out};
        run->compute->ops->conv_space(run->compute, &skip);
        snprintf(name, sizeof name, "%s.spatial_conv", node->u.time.skip_name);
        status = emit(run, name, &args.out, LAYOUT_FRAMES, error);
    }
    vipo_aligned_free(args.out.data);
    return status;
}

vipo_status vipo_program_dump_node(const vipo_program *program, const vipo_program_run *run, int i,
                                   vipo_error *error)
{
    const struct node *node = &program->nodes[i];
    if (node->kind == NODE_CONV_SPACE) VIPO_TRY(dump_space(program, run, node, error));
    if (node->kind == NODE_CONV_TIME) VIPO_TRY(dump_time(program, run, node, error));
    if (node->kind == NODE_ATTENTION) {
        const vipo_map out = vipo_program_map_at(program, run, node->out);
        VIPO_TRY(emit(run, node->name, &out, LAYOUT_TOKENS, error));
    }
    for (int j = 0; j < program->n_labels; j++)
        if (program->labels[j].map == node->out) {
            const vipo_map out = vipo_program_map_at(program, run, node->out);
            VIPO_TRY(emit(run, program->labels[j].name, &out, LAYOUT_BLOCK, error));
        }
    return VIPO_OK;
}
