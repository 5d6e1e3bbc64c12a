/* The UNet against AVDC's own tensors, every recorded intermediate, with every op table of this machine. */
#include "support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "nets/unet3d.h"

typedef struct comparison {
    const vipo_safetensors *io;
    const int *kept; /* frames that block outputs hold */
    int n_kept;
    double bound, worst;
    int compared;
} comparison;

/* Keeps only the recorded frames of [b][C][f][h][w]. */
static void keep_frames(vipo_array *array, const int *kept, int n_kept)
{
    const size_t outer = array->shape[0] * array->shape[1], f = array->shape[2],
                 plane = array->shape[3] * array->shape[4];
    float *to = array->data;
    for (size_t o = 0; o < outer; o++)
        for (int k = 0; k < n_kept; k++) {
            memmove(to, array->data + (o * f + (size_t)kept[k]) * plane, plane * sizeof *to);
            to += plane;
        }
    array->shape[2] = (size_t)n_kept;
}

static void compare(void *user, const char *name, const vipo_array *value)
{
    comparison *c = user;
    char detail[256];
    snprintf(detail, sizeof detail, "detail.%s", name);
    const char *key = vipo_safetensors_find(c->io, name) ? name : detail;
    if (!vipo_safetensors_find(c->io, key)) return;
    vipo_array golden = golden_array(c->io, key), own;
    vipo_error error = {0};
    assert_ok(vipo_array_alloc(&own, value->rank, value->shape, &error), &error);
    memcpy(own.data, value->data, vipo_array_size(value) * sizeof *own.data);
    if (own.rank == 5 && golden.shape[2] == (size_t)c->n_kept) keep_frames(&own, c->kept, c->n_kept);
    /* the perceiver runs for one sample at a time, PyTorch's for the batch: compare the first */
    if (vipo_array_size(&own) != vipo_array_size(&golden))
        fail_msg("%s: %zu values, golden has %zu", name, vipo_array_size(&own), vipo_array_size(&golden));
    const double distance = test_relative_l2(own.data, golden.data, vipo_array_size(&own));
    if (distance > c->worst) c->worst = distance;
    const bool embedding = !strcmp(name, "time_embed") || !strcmp(name, "emb") ||
                           !strcmp(name, "task_embed") || !strcmp(name, "perceiver_out");
    const double bound = embedding ? 3e-6 : c->bound;
    if (!(distance <= bound)) fail_msg("%s: relative L2 %.2e, bound %.0e", name, distance, bound);
    c->compared++;
    vipo_array_free(&golden);
    vipo_array_free(&own);
}

/* One forward of a golden case with an op table; returns v. */
static vipo_array forward(const char *name, const vipo_ops *ops, int threads, comparison *c,
                          bool unconditional)
{
    char path[128];
    vipo_error error = {0};
    snprintf(path, sizeof path, "tests/golden/unet/%s.config.json", name);
    const vipo_config config = golden_config(path);
    vipo_unet3d *unet = calloc(1, sizeof *unet);
    assert_non_null(unet);
    if (strcmp(name, "square") == 0) {
        vipo_safetensors *weights;
        snprintf(path, sizeof path, "%s/unet.safetensors", golden_square_folder("ema"));
        assert_ok(vipo_safetensors_open(&weights, path, &error), &error);
        vipo_safetensors_reader reader;
        assert_ok(vipo_safetensors_reader_open(&reader, weights, "", &error), &error);
        const vipo_weight_source source = vipo_safetensors_reader_source(&reader);
        assert_ok(vipo_unet3d_open(unet, &config.unet, &(vipo_packer){.ops = ops}, &source, 0, NULL, &error),
                  &error);
        int unused;
        assert_null(vipo_safetensors_reader_unused(&reader, &unused));
        vipo_safetensors_reader_close(&reader);
        vipo_safetensors_close(&weights);
    } else {
        generated_weights generated;
        snprintf(path, sizeof path, "tests/golden/unet/%s.weights.gen.json", name);
        generated_weights_open(&generated, path);
        const vipo_weight_source source = generated_weights_source(&generated);
        assert_ok(vipo_unet3d_open(unet, &config.unet, &(vipo_packer){.ops = ops}, &source, 0, NULL, &error),
                  &error);
        generated_weights_close(&generated);
    }

    vipo_array x = golden_video(c->io, "x"), cond = golden_video(c->io, "x_cond");
    vipo_array tokens = golden_array(c->io, "task_tokens"), times = golden_array(c->io, "t"), v;
    const int samples = (int)x.shape[0];
    assert_ok(vipo_array_alloc(&v, x.rank, x.shape, &error), &error);
    test_compute compute;
    test_compute_open(&compute, ops, threads, vipo_unet3d_scratch(unet, ops, samples));
    float *memory = vipo_aligned_calloc(vipo_unet3d_memory(unet, samples), sizeof *memory);
    const size_t width = (size_t)unet->embedding_width;
    float *task = calloc((size_t)samples * width, sizeof *task);
    int t[8];
    assert_non_null(memory);
    assert_non_null(task);
    const size_t text = tokens.shape[1] * tokens.shape[2];
    if (unconditional) memset(tokens.data, 0, vipo_array_size(&tokens) * sizeof *tokens.data);
    for (int s = 0; s < samples; s++) {
        t[s] = (int)times.data[s];
        assert_ok(vipo_perceiver_forward(&unet->perceiver, &compute.compute, tokens.data + (size_t)s * text,
                                         (int)tokens.shape[1], task + (size_t)s * width,
                                         samples == 1 && !unconditional ? compare : NULL, c, &error),
                  &error);
    }
    const vipo_unet3d_run run = {.compute = &compute.compute,
                                 .memory = memory,
                                 .samples = samples,
                                 .x = x.data,
                                 .cond = cond.data,
                                 .t = t,
                                 .task_embedding = task,
                                 .v = v.data,
                                 .dump = unconditional ? NULL : compare,
                                 .dump_user = c};
    assert_ok(vipo_unet3d_forward(unet, &run, &error), &error);
    free(task);
    vipo_aligned_free(memory);
    test_compute_close(&compute);
    vipo_array_free(&x);
    vipo_array_free(&cond);
    vipo_array_free(&tokens);
    vipo_array_free(&times);
    vipo_unet3d_close(unet);
    free(unet);
    return v;
}

static void check_case(const char *name, const int *kept, int n_kept, int expected)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/unet/%s.io.safetensors", name);
    vipo_safetensors *io = golden_open(path);
    const vipo_ops *ops;
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        comparison c = {
            .io = io, .kept = kept, .n_kept = n_kept, .bound = strcmp(ops->name, "ref") == 0 ? 1e-5 : 1e-4};
        vipo_array v = forward(name, ops, 2, &c, false), golden = golden_video(io, "v_f64");
        const double distance = test_relative_l2(v.data, golden.data, vipo_array_size(&v));
        print_message("%s %s: v relative L2 %.2e, worst of %d intermediates %.2e\n", name, ops->name,
                      distance, c.compared, c.worst);
        assert_true(distance <=
                    (strcmp(ops->name, "ref") == 0 ? 1e-6 : 1e-4) * (strcmp(name, "wide") == 0 ? 3 : 1));
        assert_true(c.compared >= expected);
        vipo_array one = forward(name, ops, 1, &c, false);
        assert_memory_equal(v.data, one.data, vipo_array_size(&v) * sizeof *v.data);
        vipo_array_free(&one);
        vipo_array_free(&v);
        vipo_array_free(&golden);
        v = forward(name, ops, 2, &c, true);
        golden = golden_video(io, "v_uncond");
        assert_true(test_relative_l2(v.data, golden.data, vipo_array_size(&v)) <= 1e-5 * 10);
        vipo_array_free(&v);
        vipo_array_free(&golden);
    }
    vipo_safetensors_close(&io);
}

static void test_square(void **state)
{
    (void)state;
    static const int kept[] = {0, 3, 6};
    check_case("square", kept, 3, 36);
}

static void test_wide(void **state)
{
    (void)state;
    static const int kept[] = {0, 2, 5};
    check_case("wide", kept, 3, 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_square),
        cmocka_unit_test(test_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
