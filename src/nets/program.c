#include "nets/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "nets/program_private.h"

enum { ALIGN_FLOATS = 16 };

vipo_status vipo_program_open(vipo_program **out, vipo_error *error)
{
    *out = calloc(1, sizeof **out);
    return *out ? VIPO_OK : vipo_fail_memory(error, sizeof **out, "a network");
}

void vipo_program_close(vipo_program **program_pointer)
{
    vipo_program *program = *program_pointer;
    if (!program) return;
    for (int i = 0; i < program->n_nodes; i++) {
        struct node *node = &program->nodes[i];
        free(node->name);
        if (node->kind == NODE_CONV_SPACE) free(node->u.space.silu_name);
        if (node->kind == NODE_CONV_TIME) free(node->u.time.skip_name);
    }
    for (int i = 0; i < program->n_labels; i++) free(program->labels[i].name);
    free(program->values);
    free(program->nodes);
    free(program->labels);
    free(program);
    *program_pointer = NULL;
}

/* ---- writing it down ----------------------------------------------------------------------------- */

/* Room for one more element; lists grow by doubling. */
static bool grow(vipo_program *program, void **list, int count, size_t size)
{
    if (program->failed) return false;
    if (count == 0 || (count >= 16 && (count & (count - 1)) == 0)) {
        void *larger = realloc(*list, (count ? 2 * (size_t)count : 16) * size);
        if (!larger) {
            program->failed = true;
            return false;
        }
        *list = larger;
    }
    return true;
}

static char *copy_name(vipo_program *program, const char *name)
{
    if (!name) return NULL;
    char *copy = strdup(name);
    if (!copy) program->failed = true;
    return copy;
}

static vipo_value add_value(vipo_program *program, struct value value)
{
    if (!grow(program, (void **)&program->values, program->n_values, sizeof value)) return VIPO_NO_VALUE;
    program->values[program->n_values] = value;
    return program->n_values++;
}

static struct node *add_node(vipo_program *program, enum node_kind kind, const char *name)
{
    if (!grow(program, (void **)&program->nodes, program->n_nodes, sizeof(struct node))) return NULL;
    struct node *node = &program->nodes[program->n_nodes++];
    memset(node, 0, sizeof *node);
    node->kind = kind;
    node->name = copy_name(program, name);
    return node;
}

/* A value made up for a caller whose program has already failed, so that building code need not check. */
static const struct value *value_at(const vipo_program *program, vipo_value value)
{
    static const struct value nothing = {.frames = 1, .height = 1, .width = 1, .channels = 1, .external = -1};
    return value >= 0 && value < program->n_values ? &program->values[value] : &nothing;
}

static int concat_channels(const vipo_program *program, vipo_concat concat)
{
    int channels = 0;
    for (int i = 0; i < concat.count; i++) channels += value_at(program, concat.maps[i])->channels;
    return channels;
}

bool vipo_program_failed(const vipo_program *program)
{
    return program->failed;
}

int vipo_program_channels(const vipo_program *program, vipo_value map)
{
    return value_at(program, map)->channels;
}

void vipo_program_map_size(const vipo_program *program, vipo_value map, int *frames, int *height, int *width)
{
    const struct value *v = value_at(program, map);
    *frames = v->frames;
    *height = v->height;
    *width = v->width;
}

vipo_value vipo_program_external(vipo_program *program, int frames, int height, int width, int channels)
{
    return add_value(program, (struct value){.frames = frames,
                                             .height = height,
                                             .width = width,
                                             .channels = channels,
                                             .external = program->n_externals++});
}

static vipo_value add_map(vipo_program *program, const struct value *like, int height, int width,
                          int channels)
{
    return add_value(
        program,
        (struct value){
            .frames = like->frames, .height = height, .width = width, .channels = channels, .external = -1});
}

vipo_value vipo_program_group_norm(vipo_program *program, const char *name, vipo_concat in, int groups,
                                   float eps, const float *gamma, const float *beta, bool per_frame)
{
    struct value value = *value_at(program, in.maps[0]);
    for (int i = 0; i < in.count; i++)
        if (!program->failed) program->values[in.maps[i]].has_stats = true;
    value.is_norm = true;
    value.per_frame = per_frame;
    value.has_stats = false;
    value.external = -1;
    value.channels = concat_channels(program, in);
    const vipo_value out = add_value(program, value);
    struct node *node = add_node(program, NODE_GROUP_NORM, name);
    if (!node) return VIPO_NO_VALUE;
    node->out = out;
    node->u.norm.in = in;
    node->u.norm.groups = groups;
    node->u.norm.eps = eps;
    node->u.norm.gamma = gamma;
    node->u.norm.beta = beta;
    return out;
}

vipo_value vipo_program_conv_space(vipo_program *program, const char *name, const vipo_space_step *step)
{
    const struct value in = *value_at(program, step->in.maps[0]);
    int height = in.height, width = in.width;
    if (step->weights->kind == VIPO_WEIGHT_3X3_STRIDE2) {
        height = (height + 1) / 2;
        width = (width + 1) / 2;
    } else if (step->weights->kind == VIPO_WEIGHT_3X3_UPSAMPLE2) {
        height *= 2;
        width *= 2;
    }
    const vipo_value out = add_map(program, &in, height, width, step->weights->out);
    struct node *node = add_node(program, NODE_CONV_SPACE, name);
    if (!node) return VIPO_NO_VALUE;
    node->out = out;
    node->u.space.step = *step;
    node->u.space.silu_name = copy_name(program, step->silu_name);
    return out;
}

vipo_value vipo_program_conv_time(vipo_program *program, const char *name, const vipo_time_step *step)
{
    const struct value in = *value_at(program, step->in);
    const vipo_value out = step->external != VIPO_NO_VALUE
                               ? step->external
                               : add_map(program, &in, in.height, in.width, step->weights->out);
    struct node *node = add_node(program, NODE_CONV_TIME, name);
    if (!node) return VIPO_NO_VALUE;
    node->out = out;
    node->u.time.step = *step;
    node->u.time.skip_name = copy_name(program, step->skip_name);
    return out;
}

vipo_value vipo_program_attention(vipo_program *program, const char *name, vipo_value qkv, int head_channels)
{
    const struct value in = *value_at(program, qkv);
    const vipo_value out = add_map(program, &in, in.height, in.width, in.channels / 3);
    struct node *node = add_node(program, NODE_ATTENTION, name);
    if (!node) return VIPO_NO_VALUE;
    node->out = out;
    node->u.attention.qkv = qkv;
    node->u.attention.head_channels = head_channels;
    return out;
}

void vipo_program_label(vipo_program *program, vipo_value map, const char *name)
{
    if (!grow(program, (void **)&program->labels, program->n_labels, sizeof(struct label))) return;
    program->labels[program->n_labels++] = (struct label){map, copy_name(program, name)};
}

/* ---- lifetimes and places --------------------------------------------------------------------------- */

static void use(vipo_program *program, vipo_value value, int node)
{
    if (value == VIPO_NO_VALUE) return;
    struct value *v = &program->values[value];
    if (v->first < 0) v->first = node;
    v->last = node;
}

static void use_concat(vipo_program *program, vipo_concat concat, int node)
{
    for (int i = 0; i < concat.count; i++) use(program, concat.maps[i], node);
}

static size_t aligned(size_t floats)
{
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static size_t map_floats(const struct value *v)
{
    return (size_t)v->frames * (size_t)v->height * (size_t)v->width * (size_t)v->channels;
}

static size_t stats_floats(const struct value *v)
{
    const vipo_map map = {.height = v->height, .width = v->width};
    return (size_t)v->frames * (size_t)vipo_map_strips(&map) * 2 * (size_t)v->channels;
}

static size_t norm_floats(const struct value *v)
{
    return (size_t)(v->per_frame ? v->frames : 1) * (size_t)v->channels;
}

static void measure(vipo_program *program)
{
    for (int i = 0; i < program->n_values; i++) {
        struct value *v = &program->values[i];
        v->first = v->last = -1;
        if (v->is_norm)
            v->size = 2 * aligned(norm_floats(v));
        else if (v->external >= 0)
            v->size = 0;
        else
            v->size = aligned(map_floats(v)) + (v->has_stats ? aligned(stats_floats(v)) : 0);
    }
    for (int i = 0; i < program->n_nodes; i++) {
        const struct node *node = &program->nodes[i];
        switch (node->kind) {
        case NODE_GROUP_NORM:
            use_concat(program, node->u.norm.in, i);
            break;
        case NODE_CONV_SPACE:
            use_concat(program, node->u.space.step.in, i);
            use(program, node->u.space.step.norm, i);
            break;
        case NODE_CONV_TIME:
            use(program, node->u.time.step.in, i);
            use(program, node->u.time.step.residual, i);
            use_concat(program, node->u.time.step.skip, i);
            break;
        case NODE_ATTENTION:
            use(program, node->u.attention.qkv, i);
            break;
        }
        use(program, node->out, i);
    }
}

static int by_size(const void *a, const void *b)
{
    const struct value *x = *(struct value *const *)a, *y = *(struct value *const *)b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->first - y->first;
}

/* Largest first, each at the lowest place where nothing that lives at the same time lies. */
static vipo_status place(vipo_program *program, vipo_error *error)
{
    const int n = program->n_values;
    struct value **order = calloc((size_t)n + 1, sizeof(struct value *));
    if (!order) return vipo_fail_memory(error, (size_t)n * sizeof(struct value *), "a memory plan");
    for (int i = 0; i < n; i++) order[i] = &program->values[i];
    qsort(order, (size_t)n, sizeof(struct value *), by_size);
    program->memory = 0;
    for (int i = 0; i < n && order[i]->size > 0; i++) {
        struct value *v = order[i];
        bool moved = true;
        v->offset = 0;
        while (moved) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const struct value *w = order[j];
                const bool together = v->first <= w->last && w->first <= v->last;
                if (together && v->offset < w->offset + w->size && w->offset < v->offset + v->size) {
                    v->offset = w->offset + w->size;
                    moved = true;
                }
            }
        }
        if (v->offset + v->size > program->memory) program->memory = v->offset + v->size;
    }
    free(order);
    return VIPO_OK;
}

vipo_status vipo_program_finish(vipo_program *program, vipo_error *error)
{
    if (program->failed)
        return vipo_fail_memory(error, (size_t)program->n_nodes * sizeof(struct node), "a network");
    if (program->n_externals > VIPO_MAX_EXTERNALS)
        return vipo_fail(error, VIPO_INTERNAL, "too many external maps");
    measure(program);
    return place(program, error);
}

size_t vipo_program_memory(const vipo_program *program)
{
    return program->memory;
}

/* ---- running it ------------------------------------------------------------------------------------------
 */

vipo_map vipo_program_map_at(const vipo_program *program, const vipo_program_run *run, vipo_value value)
{
    if (value == VIPO_NO_VALUE) return (vipo_map){.data = NULL};
    const struct value *v = &program->values[value];
    const size_t samples = (size_t)run->samples;
    vipo_map map = {.samples = run->samples,
                    .frames = v->frames,
                    .height = v->height,
                    .width = v->width,
                    .channels = v->channels};
    if (v->external >= 0) {
        map.data = run->externals[v->external];
    } else if (run->memory) {
        map.data = run->memory + v->offset * samples;
        if (v->has_stats) map.stats = map.data + aligned(map_floats(v)) * samples;
    }
    return map;
}

vipo_affine vipo_program_norm_at(const vipo_program *program, const vipo_program_run *run, vipo_value value)
{
    if (value == VIPO_NO_VALUE || !run->memory) return (vipo_affine){.scale = NULL};
    const struct value *v = &program->values[value];
    const size_t samples = (size_t)run->samples;
    float *scale = run->memory + v->offset * samples;
    return (vipo_affine){
        .scale = scale, .shift = scale + aligned(norm_floats(v)) * samples, .per_frame = v->per_frame};
}

vipo_group_norm vipo_program_group_norm_args(const vipo_program *program, const vipo_program_run *run,
                                             const struct node *node)
{
    vipo_group_norm args = {.n_in = node->u.norm.in.count,
                            .groups = node->u.norm.groups,
                            .eps = node->u.norm.eps,
                            .gamma = node->u.norm.gamma,
                            .beta = node->u.norm.beta,
                            .out = vipo_program_norm_at(program, run, node->out)};
    for (int i = 0; i < args.n_in; i++)
        args.in[i] = vipo_program_map_at(program, run, node->u.norm.in.maps[i]);
    return args;
}

vipo_conv_space vipo_program_conv_space_args(const vipo_program *program, const vipo_program_run *run,
                                             const struct node *node)
{
    const vipo_space_step *step = &node->u.space.step;
    vipo_conv_space args = {.n_in = step->in.count,
                            .norm = vipo_program_norm_at(program, run, step->norm),
                            .silu = step->silu,
                            .weights = step->weights,
                            .out = vipo_program_map_at(program, run, node->out)};
    for (int i = 0; i < args.n_in; i++) args.in[i] = vipo_program_map_at(program, run, step->in.maps[i]);
    return args;
}

vipo_conv_time vipo_program_conv_time_args(const vipo_program *program, const vipo_program_run *run,
                                           const struct node *node)
{
    const vipo_time_step *step = &node->u.time.step;
    vipo_conv_time args = {.in = vipo_program_map_at(program, run, step->in),
                           .weights = step->weights,
                           .embedding_stride = run->embedding_stride,
                           .residual = vipo_program_map_at(program, run, step->residual),
                           .n_skip = step->skip.count,
                           .skip_weights = step->skip_weights,
                           .out = vipo_program_map_at(program, run, node->out)};
    if (step->embedding >= 0 && run->embedding) args.embedding = run->embedding + step->embedding;
    for (int i = 0; i < args.n_skip; i++)
        args.skip[i] = vipo_program_map_at(program, run, step->skip.maps[i]);
    return args;
}

vipo_attention vipo_program_attention_args(const vipo_program *program, const vipo_program_run *run,
                                           const struct node *node)
{
    const vipo_map qkv = vipo_program_map_at(program, run, node->u.attention.qkv);
    const vipo_map out = vipo_program_map_at(program, run, node->out);
    const int head_dim = node->u.attention.head_channels, pixels = qkv.height * qkv.width;
    const size_t d = (size_t)head_dim, row = (size_t)qkv.channels;
    const vipo_rows rows = {.data = qkv.data, .batch = (size_t)pixels * row, .row = row, .head = 3 * d};
    vipo_attention args = {
        .batch = qkv.samples * qkv.frames,
        .heads = out.channels / head_dim,
        .queries = pixels,
        .keys = pixels,
        .head_dim = head_dim,
        .q = rows,
        .k = rows,
        .v = rows,
        .out = {.data = out.data, .batch = (size_t)pixels * row / 3, .row = row / 3, .head = d},
        .scale = 1.0F / sqrtf((float)head_dim)};
    if (qkv.data) {
        args.k.data += d;
        args.v.data += 2 * d;
    }
    return args;
}

size_t vipo_program_scratch(const vipo_program *program, const vipo_ops *ops, int samples)
{
    const vipo_program_run run = {.samples = samples};
    size_t most = 0;
    for (int i = 0; i < program->n_nodes; i++) {
        const struct node *node = &program->nodes[i];
        size_t bytes = 0;
        if (node->kind == NODE_CONV_SPACE && ops->conv_space_scratch) {
            const vipo_conv_space args = vipo_program_conv_space_args(program, &run, node);
            bytes = ops->conv_space_scratch(&args);
        } else if (node->kind == NODE_CONV_TIME && ops->conv_time_scratch) {
            const vipo_conv_time args = vipo_program_conv_time_args(program, &run, node);
            bytes = ops->conv_time_scratch(&args);
            if (args.n_skip && ops->conv_space_scratch) { /* dumps run the skip alone */
                const vipo_conv_space skip = {.in = {args.skip[0], args.skip[1]},
                                              .n_in = args.n_skip,
                                              .weights = args.skip_weights,
                                              .out = args.out};
                const size_t more = ops->conv_space_scratch(&skip);
                if (more > bytes) bytes = more;
            }
        } else if (node->kind == NODE_ATTENTION && ops->attention_scratch) {
            const vipo_attention args = vipo_program_attention_args(program, &run, node);
            bytes = ops->attention_scratch(&args);
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

static void execute_node(const vipo_program *program, const vipo_program_run *run, const struct node *node)
{
    const vipo_compute *compute = run->compute;
    switch (node->kind) {
    case NODE_GROUP_NORM: {
        const vipo_group_norm args = vipo_program_group_norm_args(program, run, node);
        compute->ops->group_norm(compute, &args);
        break;
    }
    case NODE_CONV_SPACE: {
        const vipo_conv_space args = vipo_program_conv_space_args(program, run, node);
        compute->ops->conv_space(compute, &args);
        break;
    }
    case NODE_CONV_TIME: {
        const vipo_conv_time args = vipo_program_conv_time_args(program, run, node);
        compute->ops->conv_time(compute, &args);
        break;
    }
    case NODE_ATTENTION: {
        const vipo_attention args = vipo_program_attention_args(program, run, node);
        compute->ops->attention(compute, &args);
        break;
    }
    }
}

vipo_status vipo_program_execute(const vipo_program *program, const vipo_program_run *run, vipo_error *error)
{
    for (int i = 0; i < program->n_nodes; i++) {
        VIPO_TRY(vipo_check_cancelled(run->callbacks, error));
        const double start = run->profile ? vipo_clock_seconds() : 0;
        execute_node(program, run, &program->nodes[i]);
        if (run->profile) vipo_program_profile_node(program, run, i, vipo_clock_seconds() - start);
        if (run->dump) VIPO_TRY(vipo_program_dump_node(program, run, i, error));
    }
    return VIPO_OK;
}
