/* CLIP's text transformer against Hugging Face's. */
#include "support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "nets/clip_text.h"

typedef struct comparison {
    const vipo_safetensors *io;
    const char *run;
    int compared;
} comparison;

static void compare(void *user, const char *name, const vipo_array *value)
{
    comparison *c = user;
    char key[64];
    snprintf(key, sizeof key, "%s.%s", c->run, name);
    vipo_array golden = golden_array(c->io, key);
    const double distance = test_relative_l2(value->data, golden.data, vipo_array_size(value));
    if (!(distance <= 5e-6)) fail_msg("%s: relative L2 %.2e", key, distance);
    vipo_array_free(&golden);
    c->compared++;
}

static void check_run(const vipo_ops *ops, const char *run)
{
    vipo_error error = {0};
    json_t *root;
    assert_ok(vipo_json_load(&root, test_path("tests/golden/clip/text.config.json"), &error), &error);
    const json_t *sizes = json_object_get(root, "config");
    const vipo_text_config config = {
        .width = (int)json_integer_value(json_object_get(sizes, "hidden_size")),
        .intermediate = (int)json_integer_value(json_object_get(sizes, "intermediate_size")),
        .layers = (int)json_integer_value(json_object_get(sizes, "num_hidden_layers")),
        .heads = (int)json_integer_value(json_object_get(sizes, "num_attention_heads")),
        .positions = 77,
        .vocabulary = 1000,
        .quick_gelu = true,
        .norm_eps = 1e-5F,
    };
    json_decref(root);
    vipo_safetensors *weights = golden_open("tests/golden/clip/text.weights.safetensors");
    vipo_safetensors_reader reader;
    assert_ok(vipo_safetensors_reader_open(&reader, weights, "", &error), &error);
    const vipo_weight_source source = vipo_safetensors_reader_source(&reader);
    vipo_clip_text *text = calloc(1, sizeof *text);
    assert_non_null(text);
    assert_ok(vipo_clip_text_open(text, &config, &(vipo_packer){.ops = ops}, &source, NULL, &error), &error);
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&weights);

    vipo_safetensors *io = golden_open("tests/golden/clip/text.io.safetensors");
    char key[64];
    snprintf(key, sizeof key, "%s.input_ids", run);
    vipo_array ids = golden_array(io, key);
    snprintf(key, sizeof key, "%s.attention_mask", run);
    vipo_array mask = golden_array(io, key);
    snprintf(key, sizeof key, "%s.last_hidden_state_f64", run);
    vipo_array golden = golden_array(io, key), out;
    const int batch = (int)ids.shape[0], length = (int)ids.shape[1];
    int32_t values[512];
    int lengths[16] = {0};
    for (int i = 0; i < batch * length; i++) {
        values[i] = (int32_t)ids.data[i];
        lengths[i / length] += mask.data[i] > 0;
    }
    assert_ok(vipo_array_alloc(&out, golden.rank, golden.shape, &error), &error);
    test_compute compute;
    test_compute_open(&compute, ops, 2, vipo_clip_text_scratch(text, ops));
    comparison c = {.io = io, .run = run};
    assert_ok(vipo_clip_text_forward(text, &compute.compute, values, batch, length, lengths, out.data,
                                     compare, &c, &error),
              &error);
    const double distance = test_relative_l2(out.data, golden.data, vipo_array_size(&out));
    const double worst = test_max_abs(out.data, golden.data, vipo_array_size(&out));
    print_message("%s %s: relative L2 %.2e, max %.1e\n", run, ops->name, distance, worst);
    assert_true(distance <= 5e-6 && worst <= 3e-5);
    assert_int_equal(c.compared, config.layers + 1);

    values[0] = 1000; /* not in the vocabulary */
    assert_int_equal(vipo_clip_text_forward(text, &compute.compute, values, batch, length, lengths, out.data,
                                            NULL, NULL, &error),
                     VIPO_INVALID_ARGUMENT);
    test_compute_close(&compute);
    vipo_array_free(&ids);
    vipo_array_free(&mask);
    vipo_array_free(&golden);
    vipo_array_free(&out);
    vipo_safetensors_close(&io);
    vipo_clip_text_close(text);
    free(text);
}

static void check_all(const char *run)
{
    const vipo_ops *ops;
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) check_run(ops, run);
}

static void test_single(void **state)
{
    (void)state;
    check_all("single0");
    check_all("single1");
}

static void test_batch_with_padding(void **state)
{
    (void)state;
    check_all("batch");
}

static void test_longest(void **state)
{
    (void)state;
    check_all("long77");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_batch_with_padding),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
