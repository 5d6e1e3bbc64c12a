/* The memory plan of a network's program, and that running it depends on nothing but its inputs: not on what
 * the memory held before, not on the other samples of the batch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "nets/program_private.h"
#include "nets/unet3d.h"
#include "support/golden.h"

/* ---- configurations ------------------------------------------------------------------------------ */

/* Odd sizes: several strips of statistics, a partial one, 5x7 pixels at the bottom, and channels that make a
 * block's two sources as wide as its result. */
static const vipo_unet_config odd = {.height = 20,
                                     .width = 28,
                                     .frames = 2,
                                     .in_channels = 6,
                                     .out_channels = 3,
                                     .model_channels = 32,
                                     .levels = 3,
                                     .channel_mult = {1, 2, 1},
                                     .res_blocks = 1,
                                     .attention_levels = 2,
                                     .attention_ds = {2, 4},
                                     .head_channels = 32,
                                     .token_channels = 16,
                                     .groups = 32,
                                     .norm_eps = 1e-5F,
                                     .perceiver = {.depth = 1,
                                                   .heads = 2,
                                                   .head_dim = 16,
                                                   .latents = 8,
                                                   .mean_pooled_latents = 2,
                                                   .max_length = 77,
                                                   .ff_mult = 2,
                                                   .logit_scale = 8}};

static vipo_unet_config released(int height, int width, int model_channels, int levels, const int *mult,
                                 int blocks, const int *attention)
{
    vipo_unet_config c = golden_config("tests/golden/unet/square.config.json").unet;
    c.height = height;
    c.width = width;
    c.model_channels = model_channels;
    c.levels = levels;
    memcpy(c.channel_mult, mult, (size_t)levels * sizeof *mult);
    c.res_blocks = blocks;
    c.attention_levels = 2;
    memcpy(c.attention_ds, attention, 2 * sizeof *attention);
    return c;
}

/* ---- plan ---------------------------------------------------------------------------------------- */

/* Weights that nobody runs: the plan depends on shapes alone. */
static size_t no_floats(const vipo_layer *layer, vipo_method method)
{
    (void)layer, (void)method;
    return 16;
}

static void no_pack(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                    float *memory, vipo_packed *packed, vipo_pool *pool)
{
    (void)weights, (void)bias, (void)pool;
    *packed = (vipo_packed){.kind = layer->kind,
                            .method = method,
                            .in = layer->in,
                            .out = layer->out,
                            .data = memory,
                            .bias = memory};
}

static vipo_status no_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                           vipo_error *error)
{
    (void)user, (void)name, (void)rank, (void)shape, (void)out, (void)error;
    return VIPO_OK;
}

enum { MOST_READS = 8 };

/* Values that a node reads. */
static int reads(const struct node *node, vipo_value *values)
{
    int n = 0;
    vipo_concat lists[2] = {{{VIPO_NO_VALUE, VIPO_NO_VALUE}, 0}, {{VIPO_NO_VALUE, VIPO_NO_VALUE}, 0}};
    vipo_value single[2] = {VIPO_NO_VALUE, VIPO_NO_VALUE};
    switch (node->kind) {
    case NODE_GROUP_NORM:
        lists[0] = node->u.norm.in;
        break;
    case NODE_CONV_SPACE:
        lists[0] = node->u.space.step.in;
        single[0] = node->u.space.step.norm;
        break;
    case NODE_CONV_TIME:
        lists[0] = node->u.time.step.skip;
        single[0] = node->u.time.step.in;
        single[1] = node->u.time.step.residual;
        break;
    case NODE_ATTENTION:
        single[0] = node->u.attention.qkv;
        break;
    }
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < lists[l].count; i++) values[n++] = lists[l].maps[i];
    for (int i = 0; i < 2; i++)
        if (single[i] != VIPO_NO_VALUE) values[n++] = single[i];
    return n;
}

/* Walks the program with an owner for every piece of memory: whoever writes takes it, whoever reads must still
 * have it. */
static void check_owners(const vipo_program *program)
{
    enum { GRAIN = 16 }; /* floats; every place is a multiple */
    int *owner = malloc(program->memory / GRAIN * sizeof *owner);
    assert_non_null(owner);
    for (size_t i = 0; i < program->memory / GRAIN; i++) owner[i] = -1;
    for (int i = 0; i < program->n_nodes; i++) {
        vipo_value values[MOST_READS];
        const struct node *node = &program->nodes[i];
        const int n = reads(node, values);
        const struct value *out = &program->values[node->out];
        assert_int_equal(out->offset % GRAIN, 0);
        assert_int_equal(out->size % GRAIN, 0);
        for (size_t at = out->offset; at < out->offset + out->size; at += GRAIN)
            owner[at / GRAIN] = node->out;
        for (int r = 0; r < n; r++) {
            const struct value *value = &program->values[values[r]];
            assert_true(value->external >= 0 || value->size > 0);
            for (size_t at = value->offset; at < value->offset + value->size; at += GRAIN)
                if (owner[at / GRAIN] != values[r])
                    fail_msg("node %s reads value %d where value %d is", node->name, values[r],
                             owner[at / GRAIN]);
        }
    }
    free(owner);
}

static vipo_method f4(const vipo_layer *layer)
{
    return layer->kind == VIPO_WEIGHT_LINEAR ? VIPO_METHOD_DIRECT : VIPO_METHOD_WINOGRAD_4;
}

/* A network without weights, its convolutions direct or F(4, 3); vipo_unet3d_close and free. */
static vipo_unet3d *open_plan(const vipo_unet_config *config, bool winograd)
{
    vipo_ops ops = vipo_ops_ref;
    ops.packed_floats = no_floats;
    ops.pack = no_pack;
    if (winograd) ops.choose = f4;
    const vipo_weight_source source = {.read = no_read};
    vipo_error error = {0};
    vipo_unet3d *unet = calloc(1, sizeof *unet);
    assert_non_null(unet);
    assert_ok(vipo_unet3d_open(unet, config, &(vipo_packer){.ops = &ops}, &source, 0, NULL, &error), &error);
    return unet;
}

/* Returns the bytes of one row. */
static size_t check_plan(const char *name, const vipo_unet_config *config)
{
    vipo_unet3d *unet = open_plan(config, false);
    const vipo_program *program = unet->program;
    size_t sum = 0, largest = 0, alive = 0;
    for (int i = 0; i < program->n_values; i++) {
        const struct value *a = &program->values[i];
        sum += a->size;
        if (a->size > largest) largest = a->size;
        assert_true(a->offset + a->size <= program->memory);
        assert_true(a->first >= 0 && a->last >= a->first && a->last < program->n_nodes);
        for (int j = 0; j < i; j++) {
            const struct value *b = &program->values[j];
            const bool together = a->first <= b->last && b->first <= a->last;
            if (together && a->size && b->size && a->offset < b->offset + b->size &&
                b->offset < a->offset + a->size)
                fail_msg("%s: values %d and %d share memory", name, i, j);
        }
    }
    check_owners(program);
    /* the most that lives at one time is a lower bound of any plan */
    for (int node = 0; node < program->n_nodes; node++) {
        size_t now = 0;
        for (int i = 0; i < program->n_values; i++)
            if (program->values[i].first <= node && node <= program->values[i].last)
                now += program->values[i].size;
        if (now > alive) alive = now;
    }
    print_message("%s: %d values of %zu KiB in %zu KiB, at least %zu KiB\n", name, program->n_values,
                  sum / 256, program->memory / 256, alive / 256);
    assert_true(program->memory >= alive && alive >= largest);
    assert_true((double)program->memory <= 1.25 * (double)alive);
    assert_true(program->memory < sum / 2);
    assert_int_equal(vipo_program_memory(program), program->memory);
    const size_t bytes = vipo_unet3d_memory(unet, 1) * sizeof(float);
    vipo_unet3d_close(unet);
    free(unet);
    return bytes;
}

static void test_plan(void **state)
{
    (void)state;
    static const int mw[5] = {1, 2, 3, 4, 5}, others[3] = {1, 2, 4}, deep[2] = {8, 16}, shallow[2] = {4, 8};
    vipo_unet_config c = golden_config("tests/golden/unet/square.config.json").unet;
    check_plan("square", &c);
    c = golden_config("tests/golden/unet/wide.config.json").unet;
    check_plan("wide", &c);
    c = golden_config("models/metaworld-64/config.json").unet;
    check_plan("metaworld-64", &c);
    check_plan("odd", &odd);
    c = released(128, 128, 128, 5, mw, 2, deep);
    assert_true(check_plan("mw", &c) * 2 <= 1000000000); /* a guided step's rows: the planner's aim */
    c = released(64, 64, 128, 3, others, 3, shallow);
    check_plan("thor", &c);
    c = released(48, 64, 160, 3, others, 3, shallow);
    check_plan("bridge", &c);
}

/* ---- profiles ------------------------------------------------------------------------------------ */

/* Sums over the operations of one sample; GMAC. */
typedef struct work {
    double space, time, skip, stride, projections, attention, products;
} work;

static work count_work(const vipo_unet_config *config, bool winograd)
{
    vipo_unet3d *unet = open_plan(config, winograd);
    const vipo_program_run run = {.samples = 1};
    work sum = {0};
    for (int i = 0; i < unet->program->n_nodes; i++) {
        vipo_operation o;
        vipo_program_describe_node(unet->program, &run, i, &o);
        const double pixels = 1e-9 * o.rows * o.frames * o.height * o.width,
                     skip = pixels * o.skip_channels * o.out_channels;
        if (strcmp(o.op, "attention") == 0) {
            sum.attention += 1e-9 * o.macs;
        } else if (strcmp(o.op, "group_norm") == 0) {
            assert_true(o.macs == 0 && o.products == 0);
        } else if (strcmp(o.kind, "linear") == 0) {
            sum.projections += 1e-9 * o.macs;
            assert_true(fabs(1e-9 * o.macs - pixels * o.in_channels * o.out_channels) < 1e-9);
        } else if (strcmp(o.kind, "time") == 0) {
            assert_string_equal(o.op, "conv_time");
            sum.time += 1e-9 * o.macs - skip;
        } else if (strcmp(o.kind, "stride2") == 0) {
            sum.stride += 1e-9 * o.macs;
        } else {
            assert_string_equal(o.op, "conv_space");
            sum.space += 1e-9 * o.macs;
        }
        sum.skip += skip;
        sum.products += 1e-9 * o.products;
    }
    vipo_unet3d_close(unet);
    free(unet);
    return sum;
}

static void assert_work(double found, double expected)
{
    if (fabs(found - expected) > 0.06) fail_msg("%g GMAC, expected %g", found, expected);
}

/* The multiply-adds of the published networks, counted by hand from their shapes. */
static void test_work(void **state)
{
    (void)state;
    static const int mw[5] = {1, 2, 3, 4, 5}, others[3] = {1, 2, 4}, deep[2] = {8, 16}, shallow[2] = {4, 8};
    vipo_unet_config configs[3] = {released(128, 128, 128, 5, mw, 2, deep),
                                   released(64, 64, 128, 3, others, 3, shallow),
                                   released(48, 64, 160, 3, others, 3, shallow)};
    for (int i = 0; i < 3; i++) configs[i].frames = 7;
    static const work expected[3] = {{780.4, 198.1, 36.8, 11.9, 13.8, 2.6, 365.8},
                                     {279.3, 70.8, 12.2, 2.1, 15.0, 3.8, 141.6},
                                     {327.3, 82.9, 14.3, 2.5, 17.6, 2.6, 164.1}};
    for (int i = 0; i < 3; i++) {
        const work found = count_work(&configs[i], false), fast = count_work(&configs[i], true),
                   *e = &expected[i];
        print_message("%.1f + %.1f + %.1f + %.1f + %.1f + %.1f, products %.1f, %.1f\n", found.space,
                      found.time, found.skip, found.stride, found.projections, found.attention,
                      found.products, fast.products);
        assert_work(found.space, e->space);
        assert_work(found.time, e->time);
        assert_work(found.skip, e->skip);
        assert_work(found.stride, e->stride);
        assert_work(found.projections, e->projections);
        assert_work(found.attention, e->attention);
        const double sum =
            found.space + found.time + found.skip + found.stride + found.projections + found.attention;
        assert_true(found.products < sum && found.products > 0.9 * sum); /* enlargement is cheaper */
        assert_true(fabs(fast.products / e->products - 1) < 0.01);
    }
}

/* ---- running ------------------------------------------------------------------------------------- */

typedef struct network {
    vipo_unet3d *unet;
    test_compute compute;
    float *memory;
    size_t memory_floats, video, cond, width;
    int most;
} network;

static void open_network(network *n, const vipo_unet_config *config, const vipo_ops *ops, int threads,
                         int most)
{
    vipo_error error = {0};
    generated_weights generated;
    generated_weights_open(&generated, NULL);
    const vipo_weight_source source = generated_weights_source(&generated);
    n->unet = calloc(1, sizeof *n->unet);
    assert_non_null(n->unet);
    assert_ok(vipo_unet3d_open(n->unet, config, &(vipo_packer){.ops = ops}, &source, 0, NULL, &error),
              &error);
    generated_weights_close(&generated);
    test_compute_open(&n->compute, ops, threads, vipo_unet3d_scratch(n->unet, ops, most));
    n->most = most;
    n->memory_floats = vipo_unet3d_memory(n->unet, most);
    n->memory = vipo_aligned_calloc(n->memory_floats, sizeof *n->memory);
    assert_non_null(n->memory);
    n->cond = (size_t)config->height * (size_t)config->width * 3;
    n->video = n->cond * (size_t)config->frames;
    n->width = (size_t)n->unet->embedding_width;
}

static void close_network(network *n)
{
    vipo_aligned_free(n->memory);
    test_compute_close(&n->compute);
    vipo_unet3d_close(n->unet);
    free(n->unet);
}

static void fill(float *floats, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) floats[i] = value;
}

/* Output for samples first..first+count-1 of an endless row of made-up inputs; free with free(). */
static float *run(network *n, int first, int count)
{
    const size_t samples = (size_t)count;
    float *x = malloc(samples * n->video * sizeof *x), *v = malloc(samples * n->video * sizeof *v);
    float *cond = malloc(samples * n->cond * sizeof *cond), *task = malloc(samples * n->width * sizeof *task);
    assert_true(x && v && cond && task && count <= n->most && count <= 8);
    int t[8];
    for (size_t s = 0; s < samples; s++) {
        const uint64_t sample = (uint64_t)first + s;
        t[s] = (int)(7 + 31 * sample) % 100;
        for (size_t i = 0; i < n->video; i++) x[s * n->video + i] = test_uniform(3 * sample, i);
        for (size_t i = 0; i < n->cond; i++)
            cond[s * n->cond + i] = 0.5F + 0.5F * test_uniform(3 * sample + 1, i);
        for (size_t i = 0; i < n->width; i++) task[s * n->width + i] = test_uniform(3 * sample + 2, i);
    }
    fill(v, samples * n->video, NAN);
    const vipo_unet3d_run arguments = {.compute = &n->compute.compute,
                                       .memory = n->memory,
                                       .samples = count,
                                       .x = x,
                                       .cond = cond,
                                       .t = t,
                                       .task_embedding = task,
                                       .v = v};
    vipo_error error = {0};
    assert_ok(vipo_unet3d_forward(n->unet, &arguments, &error), &error);
    for (size_t i = 0; i < samples * n->video; i++)
        if (!isfinite(v[i])) fail_msg("%s: element %zu is not finite", n->compute.compute.ops->name, i);
    free(x);
    free(cond);
    free(task);
    return v;
}

static void assert_same_bits(const char *what, const network *n, const float *a, const float *b,
                             size_t floats)
{
    if (memcmp(a, b, floats * sizeof *a) != 0)
        fail_msg("%s: %s: largest difference %g", n->compute.compute.ops->name, what,
                 test_max_abs(a, b, floats));
}

static void check_runs(const vipo_unet_config *config)
{
    const vipo_ops *ops;
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        network n;
        open_network(&n, config, ops, 2, 3);
        float *clean = run(&n, 0, 3);
        float *again = run(&n, 0, 3);
        assert_same_bits("second run", &n, clean, again, 3 * n.video);
        free(again);

        fill(n.memory, n.memory_floats, NAN);
        fill((float *)(void *)n.compute.compute.scratch, 2 * n.compute.compute.scratch_bytes / sizeof(float),
             NAN);
        again = run(&n, 0, 3);
        assert_same_bits("memory full of NaN", &n, clean, again, 3 * n.video);
        free(again);

        for (int sample = 0; sample < 3; sample++) {
            fill(n.memory, n.memory_floats, 1e30F);
            again = run(&n, sample, 1);
            assert_same_bits("batch of 1 and of 3", &n, clean + (size_t)sample * n.video, again, n.video);
            free(again);
        }
        again = run(&n, 1, 2);
        assert_same_bits("batch of 2 and of 3", &n, clean + n.video, again, 2 * n.video);
        free(again);
        close_network(&n);

        /* memory and scratch of one sample are enough for one sample, whatever the threads */
        open_network(&n, config, ops, 3, 1);
        again = run(&n, 0, 1);
        assert_same_bits("three threads", &n, clean, again, n.video);
        free(again);
        close_network(&n);
        free(clean);
    }
}

static void test_run_square(void **state)
{
    (void)state;
    vipo_unet_config c = golden_config("tests/golden/unet/square.config.json").unet;
    c.frames = 3;
    check_runs(&c);
}

static void test_run_wide(void **state)
{
    (void)state;
    vipo_unet_config c = golden_config("tests/golden/unet/wide.config.json").unet;
    c.frames = 2;
    check_runs(&c);
}

static void test_run_odd(void **state)
{
    (void)state;
    check_runs(&odd);
}

static void test_run_one_frame(void **state)
{
    (void)state;
    vipo_unet_config c = odd;
    c.frames = 1;
    check_runs(&c);
}

/* Stops at the first node when asked to. */
static bool always(void *user)
{
    ++*(int *)user;
    return true;
}

static void test_cancelled(void **state)
{
    (void)state;
    network n;
    open_network(&n, &odd, vipo_ops_available(0), 1, 1);
    int asked = 0;
    const vipo_callbacks callbacks = {.user = &asked, .cancelled = always};
    float *zeros = calloc(n.video + n.width, sizeof *zeros);
    assert_non_null(zeros);
    const int t = 0;
    const vipo_unet3d_run arguments = {.compute = &n.compute.compute,
                                       .memory = n.memory,
                                       .samples = 1,
                                       .x = zeros,
                                       .cond = zeros,
                                       .t = &t,
                                       .task_embedding = zeros,
                                       .v = zeros,
                                       .callbacks = &callbacks};
    vipo_error error = {0};
    assert_int_equal(vipo_unet3d_forward(n.unet, &arguments, &error), VIPO_CANCELLED);
    assert_int_equal(asked, 1);
    assert_string_equal(error.message, "interrupted");
    free(zeros);
    close_network(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),       cmocka_unit_test(test_work),
        cmocka_unit_test(test_run_square), cmocka_unit_test(test_run_wide),
        cmocka_unit_test(test_run_odd),    cmocka_unit_test(test_run_one_frame),
        cmocka_unit_test(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
