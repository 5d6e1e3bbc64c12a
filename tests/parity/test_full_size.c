/* The released sizes of AVDC's network: every parameter name and shape, and one forward with made-up weights. */
#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json_util.h"
#include "core/memory.h"
#include "nets/unet3d.h"

/* Every parameter of a released size is asked for once, with its shape. */
static void manifest_read(void *user, const char *name, int rank, const size_t *shape)
{
    json_t *parameters = user;
    char full[256];
    snprintf(full, sizeof full, "unet.%s", name);
    const json_t *dims = json_object_get(parameters, full);
    if (!dims) fail_msg("%s is not in the manifest (or was asked for twice)", full);
    if ((int)json_array_size(dims) != rank)
        fail_msg("%s: rank %d, manifest has %zu", full, rank, json_array_size(dims));
    for (int i = 0; i < rank; i++)
        assert_int_equal((size_t)json_integer_value(json_array_get(dims, (size_t)i)), shape[i]);
    json_object_del(parameters, full);
}

static const struct released {
    const char *name;
    vipo_unet_config config;
} released[] = {
    {"MW",
     {.height = 128,
      .width = 128,
      .levels = 5,
      .channel_mult = {1, 2, 3, 4, 5},
      .res_blocks = 2,
      .attention_ds = {8, 16},
      .model_channels = 128,
      .frames = 7}},
    {"Thor",
     {.height = 64,
      .width = 64,
      .levels = 3,
      .channel_mult = {1, 2, 4},
      .res_blocks = 3,
      .attention_ds = {4, 8},
      .model_channels = 128,
      .frames = 7}},
    {"Bridge",
     {.height = 48,
      .width = 64,
      .levels = 3,
      .channel_mult = {1, 2, 4},
      .res_blocks = 3,
      .attention_ds = {4, 8},
      .model_channels = 160,
      .frames = 7}},
};

/* Names and shapes, then one full-size forward with the fastest table. */
static void check_released(const struct released *r)
{
    vipo_error error = {0};
    char path[128];
    json_t *manifest;
    snprintf(path, sizeof path, "tests/golden/unet/param_manifest.%s.json", r->name);
    assert_ok(vipo_json_load(&manifest, test_path(path), &error), &error);
    vipo_unet_config config = r->config;
    config.in_channels = 6;
    config.out_channels = 3;
    config.attention_levels = 2;
    config.head_channels = config.groups = 32;
    config.token_channels = 512;
    config.norm_eps = 1e-5F;
    config.perceiver = (vipo_perceiver_config){2, 8, 64, 64, 4, 512, 4, 8};
    generated_weights generated;
    generated_weights_open(&generated, NULL);
    generated.on_read = manifest_read;
    generated.user = json_object_get(manifest, "parameters");
    const vipo_weight_source source = generated_weights_source(&generated);
    const vipo_ops *ops;
    assert_ok(vipo_ops_find(&ops, NULL, &error), &error);
    vipo_unet3d *unet = calloc(1, sizeof *unet);
    assert_non_null(unet);
    assert_ok(vipo_unet3d_open(unet, &config, &(vipo_packer){.ops = ops}, &source, 0, NULL, &error), &error);
    assert_int_equal(json_object_size(generated.user), 0);
    assert_int_equal(generated.parameters,
                     (size_t)json_integer_value(json_object_get(manifest, "n_parameters")));
    json_decref(manifest);

    const size_t pixels = (size_t)config.height * (size_t)config.width, n = 7 * pixels * 3;
    float *x = calloc(n, sizeof *x), *v = calloc(n, sizeof *v), *cond = calloc(pixels * 3, sizeof *cond);
    float *task = calloc((size_t)unet->embedding_width, sizeof *task);
    float *memory = vipo_aligned_calloc(vipo_unet3d_memory(unet, 1), sizeof *memory);
    assert_true(x && v && cond && task && memory);
    for (size_t i = 0; i < n; i++) x[i] = test_uniform(1, i);
    for (size_t i = 0; i < pixels * 3; i++) cond[i] = 0.5F + 0.5F * test_uniform(2, i);
    test_compute compute;
    test_compute_open(&compute, ops, 0, vipo_unet3d_scratch(unet, ops, 1));
    const int t = 42;
    const vipo_unet3d_run run = {.compute = &compute.compute,
                                 .memory = memory,
                                 .samples = 1,
                                 .x = x,
                                 .cond = cond,
                                 .t = &t,
                                 .task_embedding = task,
                                 .v = v};
    assert_ok(vipo_unet3d_forward(unet, &run, &error), &error);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    assert_true(sum > 0 && sum < 1e12);
    print_message("%s: %zu parameters, %zu MB of memory for a forward, rms of v %.3g\n", r->name,
                  generated.parameters, vipo_unet3d_memory(unet, 1) * sizeof(float) >> 20,
                  sqrt(sum / (double)n));
    test_compute_close(&compute);
    vipo_aligned_free(memory);
    free(x), free(v), free(cond), free(task);
    vipo_unet3d_close(unet);
    free(unet);
    generated_weights_close(&generated);
}

static void test_metaworld_size(void **state)
{
    (void)state;
    check_released(&released[0]);
}

static void test_thor_size(void **state)
{
    (void)state;
    check_released(&released[1]);
}

static void test_bridge_size(void **state)
{
    (void)state;
    check_released(&released[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thor_size),
        cmocka_unit_test(test_bridge_size),
        cmocka_unit_test(test_metaworld_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
