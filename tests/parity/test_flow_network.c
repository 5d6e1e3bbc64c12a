/* From the published checkpoint's form to flow between two frames: conversion, the folder, AVDC's sizes. */
#include "support/flow_weights.h"
#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vipo/action.h"

enum { HEIGHT = 240, WIDTH = 320, STEP = 211 };

/* A checkpoint of seed 11, made once. */
static const char *checkpoint(void)
{
    static char path[600];
    if (path[0]) return path;
    flow_weights weights;
    snprintf(path, sizeof path, "%s", test_temporary("gmflow.pth"));
    flow_weights_open(&weights, 11);
    flow_weights_checkpoint(&weights, path, "model", -1);
    flow_weights_close(&weights);
    return path;
}

static vipo_convert_options convert_options(const char *path)
{
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.from = "unimatch";
    options.checkpoint = path;
    return options;
}

static const char *folder(void)
{
    static char path[600];
    if (path[0]) return path;
    vipo_error error = {0};
    snprintf(path, sizeof path, "%s", test_temporary("flow"));
    const vipo_convert_options options = convert_options(checkpoint());
    assert_ok(vipo_convert(path, &options, &error), &error);
    return path;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quantiles of the distance of every STEP-th pair of numbers. */
static void check_flow(const vipo_safetensors *file, const char *name, const float *flow, double allowed)
{
    vipo_array golden = golden_array(file, name);
    const size_t n = vipo_array_size(&golden);
    double *errors = calloc(n, sizeof *errors), norm = 0;
    assert_non_null(errors);
    for (size_t k = 0; k < n; k++) {
        errors[k] = fabs((double)flow[k * STEP] - (double)golden.data[k]);
        assert_true(errors[k] >= 0);
        norm = fmax(norm, fabs((double)golden.data[k]));
    }
    qsort(errors, n, sizeof *errors, by_size);
    const double middle = errors[n / 2], most = errors[n * 99 / 100], nearly_all = errors[n * 999 / 1000];
    print_message("%s: median %.4f, 99 %% %.4f, 99.9 %% %.4f of vectors up to %.0f pixels\n", name, middle,
                  most, nearly_all, norm);
    assert_true(norm > 20);
    assert_true(middle <= 0.01 * allowed && most <= 0.2 * allowed && nearly_all <= 0.6 * allowed);
    free(errors);
    vipo_array_free(&golden);
}

static void read_frames(vipo_image frames[2])
{
    vipo_error error = {0};
    for (int i = 0; i < 2; i++)
        assert_ok(
            vipo_image_read(test_path(i ? "tests/golden/flow/frame1.png" : "tests/golden/flow/frame0.png"),
                            &frames[i], &error),
            &error);
}

static void as_avdc(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_safetensors *file = golden_open("tests/golden/flow/case_e2e_240x320.safetensors");
    vipo_image frames[2];
    vipo_flow *flow;
    vipo_array forward, backward;
    vipo_flow_options options;
    vipo_flow_default_options(&options);
    options.model = folder();
    assert_ok(vipo_flow_open(&flow, &options, NULL, &error), &error);
    assert_string_equal(vipo_flow_method(flow), "unimatch");
    read_frames(frames);
    assert_ok(vipo_flow_images(flow, frames, 2, &forward, &backward, NULL, &error), &error);
    assert_int_equal(vipo_array_size(&forward), HEIGHT * WIDTH * 2);
    check_flow(file, "flow_forward", forward.data, 1);
    check_flow(file, "flow_backward", backward.data, 3);
    vipo_array_free(&forward);
    vipo_array_free(&backward);
    for (int i = 0; i < 2; i++) vipo_image_free(&frames[i]);
    vipo_flow_close(&flow);
    vipo_safetensors_close(&file);
}

/* A film: every pair as it is alone, whatever was computed before, and at the pictures' own size. */
static void films_are_pairs(void **state)
{
    (void)state;
    enum { H = 45, W = 70 };
    vipo_error error = {0};
    vipo_flow *flow;
    vipo_flow_options options;
    vipo_image images[3];
    vipo_array film, back, pair, pair_back;
    vipo_flow_default_options(&options);
    options.model = folder();
    options.native = true;
    options.threads = 2;
    assert_ok(vipo_flow_open(&flow, &options, NULL, &error), &error);
    for (int i = 0; i < 3; i++) {
        images[i] = (vipo_image){malloc(H * W * 3), H, W};
        assert_non_null(images[i].data);
        for (size_t k = 0; k < H * W * 3; k++)
            images[i].data[k] = (uint8_t)(128 + 120 * (double)test_uniform((uint64_t)i, k / 40));
    }
    assert_ok(vipo_flow_images(flow, images, 3, &film, &back, NULL, &error), &error);
    assert_int_equal(film.shape[0], 2);
    assert_int_equal(film.shape[1], H);
    assert_int_equal(film.shape[2], W);
    for (size_t i = 0; i < 2; i++) {
        const size_t size = H * W * 2;
        assert_ok(vipo_flow_images(flow, images + i, 2, &pair, &pair_back, NULL, &error), &error);
        assert_memory_equal(pair.data, film.data + i * size, size * sizeof(float));
        assert_memory_equal(pair_back.data, back.data + i * size, size * sizeof(float));
        vipo_array_free(&pair);
        vipo_array_free(&pair_back);
    }
    vipo_array_free(&film);
    vipo_array_free(&back);
    for (int i = 0; i < 3; i++) free(images[i].data);
    vipo_flow_close(&flow);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void folder_fails(const char *path, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    vipo_flow *flow;
    vipo_flow_options options;
    vipo_flow_default_options(&options);
    options.model = path;
    const vipo_status status = vipo_flow_open(&flow, &options, NULL, &error);
    assert_null(flow);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
}

static void bad_folders(void **state)
{
    (void)state;
    vipo_error error = {0};
    char path[600], config[700], weights[700], whole[700];
    vipo_flow_info info;
    assert_ok(vipo_flow_read_info(folder(), &info, &error), &error);
    assert_int_equal(info.height, 480);
    assert_int_equal(info.width, 640);
    assert_int_equal(info.parameters, VIPO_UNIMATCH_PARAMETERS);
    assert_string_equal(info.dtype, "F32");
    snprintf(whole, sizeof whole, "%s/flow.safetensors", folder());

    snprintf(path, sizeof path, "%s", test_temporary("bad"));
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(config, sizeof config, "%s/config.json", path);
    snprintf(weights, sizeof weights, "%s/flow.safetensors", path);
    folder_fails(path, VIPO_IO, "config.json");
    write_text(config, "{\"kind\":");
    folder_fails(path, VIPO_FORMAT, "config.json");
    write_text(config, "[]");
    folder_fails(path, VIPO_FORMAT, "expected a JSON object");
    write_text(config, "{\"unet\": {}}");
    folder_fails(path, VIPO_MISMATCH, "vipo convert --from unimatch");
    write_text(config, "{\"kind\": \"flow\", \"network\": \"raft\", \"height\": 480, \"width\": 640}");
    folder_fails(path, VIPO_UNSUPPORTED, "gmflow-scale2-regrefine6");
    write_text(config, "{\"kind\": \"flow\", \"network\": \"gmflow-scale2-regrefine6\", \"height\": 480}");
    folder_fails(path, VIPO_FORMAT, "width");
    write_text(
        config,
        "{\"kind\": \"flow\", \"network\": \"gmflow-scale2-regrefine6\", \"height\": 480, \"width\": 630}");
    folder_fails(path, VIPO_FORMAT, "multiples of 32");
    write_text(
        config,
        "{\"kind\": \"flow\", \"network\": \"gmflow-scale2-regrefine6\", \"height\": 64, \"width\": 96}");
    folder_fails(path, VIPO_IO, "flow.safetensors");
    write_text(weights, "no tensors");
    folder_fails(path, VIPO_FORMAT, "flow.safetensors");
    assert_int_equal(unlink(weights), 0);
    assert_int_equal(symlink(whole, weights), 0);
    vipo_flow *flow;
    vipo_flow_options options;
    vipo_flow_default_options(&options);
    options.model = path;
    assert_ok(vipo_flow_open(&flow, &options, NULL, &error), &error);
    vipo_flow_close(&flow);
    options.method = "dis";
    assert_int_equal(vipo_flow_open(&flow, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
    options.method = "unimatch";
    options.compute = "mmx";
    assert_int_equal(vipo_flow_open(&flow, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
    options.model = NULL;
    assert_int_equal(vipo_flow_open(&flow, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
}

static void conversion_fails(const vipo_convert_options *options, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    const char *out = test_temporary("failed");
    const vipo_status status = vipo_convert(out, options, &error);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
    assert_int_not_equal(access(out, F_OK), 0);
}

static void bad_checkpoints(void **state)
{
    (void)state;
    vipo_error error = {0};
    flow_weights weights;
    char path[600];
    flow_weights_open(&weights, 2);
    snprintf(path, sizeof path, "%s", test_temporary("other.pth"));
    vipo_convert_options options = convert_options(path);
    flow_weights_checkpoint(&weights, path, "model", 151);
    conversion_fails(&options, VIPO_MISMATCH, "model/refine.mask.2.bias: expected shape [144], found [143]");
    flow_weights_checkpoint(&weights, path, "ema", -1);
    conversion_fails(&options, VIPO_MISMATCH, "holds no optical flow network");
    options.checkpoint = test_path("tests/golden/unet/square.model-24.pt");
    conversion_fails(&options, VIPO_MISMATCH, "holds no optical flow network");
    options.checkpoint = checkpoint();
    options.preset = "mw";
    conversion_fails(&options, VIPO_INVALID_ARGUMENT, "preset");
    options.preset = NULL;
    options.dtype = "f8";
    conversion_fails(&options, VIPO_INVALID_ARGUMENT, "f32, f16 or bf16");
    options.checkpoint = NULL;
    conversion_fails(&options, VIPO_INVALID_ARGUMENT, "needs a checkpoint");

    /* the tensors alone, to half precision */
    flow_weights_checkpoint(&weights, path, NULL, -1);
    options.checkpoint = path;
    options.dtype = "f16";
    assert_ok(vipo_convert(test_temporary("half"), &options, &error), &error);
    vipo_flow_info info;
    assert_ok(vipo_flow_read_info(test_temporary("half"), &info, &error), &error);
    assert_string_equal(info.dtype, "F16");
    flow_weights_close(&weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_avdc),
        cmocka_unit_test(films_are_pairs),
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(bad_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
