/* Encoder and UNet of the goal-conditioned policy against PyTorch's intermediates, full size. */
#include "support/golden.h"
#include "support/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "core/memory.h"
#include "nets/image_encoder.h"
#include "nets/unet1d.h"

enum { SIDE = 128, FEATURE = 64, ACTION = 7, HORIZON = 16 };

static const vipo_encoder_config encoder_config = {.height = SIDE,
                                                   .width = SIDE,
                                                   .stem_channels = 64,
                                                   .stem_kernel = 7,
                                                   .stages = 4,
                                                   .widths = {64, 128, 256, 512},
                                                   .blocks = {2, 2, 2, 2},
                                                   .channels_per_group = 16,
                                                   .keypoints = 32,
                                                   .feature_size = FEATURE,
                                                   .norm_eps = 1e-5F};
static const vipo_unet1d_config unet_config = {.action_dim = ACTION,
                                               .horizon = HORIZON,
                                               .condition = 2 * FEATURE,
                                               .levels = 3,
                                               .widths = {256, 512, 1024},
                                               .kernel = 5,
                                               .groups = 8,
                                               .step_embedding = 128,
                                               .scale = true,
                                               .norm_eps = 1e-5F};

/* What the tests share: the case, opened once. */
typedef struct golden_case {
    json_t *root;
    vipo_safetensors *file;
} golden_case;

static int open_case(void **state)
{
    golden_case *g = calloc(1, sizeof *g);
    vipo_error error = {0};
    assert_non_null(g);
    assert_ok(vipo_json_load(&g->root, test_path("tests/golden/policy/case.json"), &error), &error);
    g->file = golden_open("tests/golden/policy/case.safetensors");
    *state = g;
    return 0;
}

static int close_case(void **state)
{
    golden_case *g = *state;
    vipo_safetensors_close(&g->file);
    json_decref(g->root);
    free(g);
    return 0;
}

/* ---- comparing ---------------------------------------------------------------------------------------- */

typedef struct comparison {
    const golden_case *g;
    double slack; /* of the table, to the golden bounds */
    int compared;
    double worst; /* error / bound */
} comparison;

static void compare(void *user, const char *name, const vipo_array *value)
{
    comparison *c = user;
    const json_t *entry = json_object_get(json_object_get(c->g->root, "tensors"), name);
    if (!entry) return;
    const double bound = c->slack * json_number_value(json_object_get(entry, "bound"));
    const size_t of = (size_t)json_integer_value(json_object_get(entry, "of"));
    vipo_array golden = golden_array(c->g->file, name);
    const size_t kept = vipo_array_size(&golden);
    assert_true(of ? of <= vipo_array_size(value) : kept == vipo_array_size(value));
    for (size_t i = 0; i < kept; i++) {
        const size_t at = of ? i * of / kept : i;
        const double error = fabs((double)value->data[at] - (double)golden.data[i]);
        if (!(error <= bound))
            fail_msg("%s: element %zu is %.9g, golden %.9g, bound %.2e", name, at, (double)value->data[at],
                     (double)golden.data[i], bound);
        if (error / bound > c->worst) c->worst = error / bound;
    }
    vipo_array_free(&golden);
    c->compared++;
}

static void compare_rows(comparison *c, const char *name, float *data, size_t rows, size_t columns)
{
    const vipo_array array = {.data = data, .rank = 2, .shape = {rows, columns}};
    compare(c, name, &array);
}

/* ---- encoder -------------------------------------------------------------------------------------------- */

static vipo_array observation(void)
{
    vipo_error error = {0};
    vipo_image image;
    vipo_array out;
    const size_t shape[4] = {1, SIDE, SIDE, 3};
    assert_ok(vipo_image_read(test_path("tests/golden/policy/obs.png"), &image, &error), &error);
    assert_int_equal(image.height, SIDE);
    assert_ok(vipo_array_alloc(&out, 4, shape, &error), &error);
    for (size_t i = 0; i < vipo_array_size(&out); i++) out.data[i] = (float)image.data[i] / 255;
    vipo_image_free(&image);
    return out;
}

/* Features of `samples` copies of the picture. */
static void encode(const golden_case *g, const vipo_ops *ops, const char *name, const vipo_array *picture,
                   int samples, comparison *c, float *features)
{
    vipo_error error = {0};
    recipe_weights weights = recipe_weights_of(g->root);
    const vipo_weight_source source = recipe_weights_source(&weights);
    vipo_weight_store store = {.packer = {.ops = ops}, .source = &source};
    vipo_image_encoder encoder;
    char prefix[64], dump_prefix[16];
    snprintf(prefix, sizeof prefix, "obs_encoder.key_model_map.img_%s_1.", name);
    snprintf(dump_prefix, sizeof dump_prefix, "enc.%s.", name);
    assert_ok(vipo_image_encoder_open(&encoder, &encoder_config, &store, prefix, &error), &error);
    assert_int_equal(weights.reads, 65);
    assert_true(weights.sums > 0);
    test_compute compute;
    test_compute_open(&compute, ops, 2, vipo_image_encoder_scratch(&encoder, ops, samples));
    float *memory = vipo_aligned_calloc(vipo_image_encoder_memory(&encoder, samples), sizeof *memory);
    const size_t size = vipo_array_size(picture);
    float *pictures = malloc((size_t)samples * size * sizeof *pictures);
    assert_non_null(memory);
    assert_non_null(pictures);
    for (int s = 0; s < samples; s++)
        memcpy(pictures + (size_t)s * size, picture->data, size * sizeof *pictures);
    const vipo_image_encoder_run run = {.compute = &compute.compute,
                                        .memory = memory,
                                        .samples = samples,
                                        .pictures = pictures,
                                        .features = features,
                                        .feature_stride = FEATURE,
                                        .dump = c ? compare : NULL,
                                        .dump_user = c,
                                        .dump_prefix = dump_prefix};
    assert_ok(vipo_image_encoder_forward(&encoder, &run, &error), &error);
    free(pictures);
    vipo_aligned_free(memory);
    test_compute_close(&compute);
    vipo_image_encoder_close(&encoder);
    vipo_weight_store_free(&store);
}

static void test_encoder(void **state)
{
    const golden_case *g = *state;
    vipo_array obs = observation(), both = golden_array(g->file, "global_cond");
    const vipo_ops *ops;
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        comparison c = {.g = g, .slack = test_table_slack(ops)};
        float feature[FEATURE], three[3 * FEATURE];
        encode(g, ops, "obs", &obs, 1, &c, feature);
        assert_true(test_max_abs(feature, both.data + FEATURE, FEATURE) <=
                    2e-5 * c.slack); /* behind the goal's */
        print_message("%s: %d tensors, largest error %.2f of the bound\n", ops->name, c.compared, c.worst);
        assert_int_equal(c.compared, 10);
        if (ops == &vipo_ops_ref) continue;
        encode(g, ops, "obs", &obs, 3, NULL, three); /* the same bits in a batch */
        for (int s = 0; s < 3; s++) assert_memory_equal(three + s * FEATURE, feature, sizeof feature);
    }
    vipo_array_free(&obs);
    vipo_array_free(&both);
}

/* ---- UNet ----------------------------------------------------------------------------------------------- */

/* A network with the memory of a session. */
typedef struct denoiser {
    vipo_weight_store store;
    vipo_unet1d *unet;
    test_compute compute;
    float *memory, *condition;
    int samples;
} denoiser;

static denoiser denoiser_open(const golden_case *g, const vipo_ops *ops, int samples)
{
    vipo_error error = {0};
    recipe_weights weights = recipe_weights_of(g->root);
    const vipo_weight_source source = recipe_weights_source(&weights);
    denoiser d = {.store = {.packer = {.ops = ops}, .source = &source}, .samples = samples};
    d.unet = calloc(1, sizeof *d.unet);
    assert_non_null(d.unet);
    assert_ok(vipo_unet1d_open(d.unet, &unet_config, &d.store, "model.", &error), &error);
    assert_int_equal(weights.reads, 148);
    assert_true(weights.sums > 0);
    d.store.source = NULL;
    test_compute_open(&d.compute, ops, 2, vipo_unet1d_scratch(d.unet, ops, samples));
    d.memory = vipo_aligned_calloc(vipo_unet1d_memory(d.unet, samples), sizeof *d.memory);
    assert_non_null(d.memory);
    vipo_array one = golden_array(g->file, "global_cond");
    d.condition = malloc((size_t)samples * 2 * FEATURE * sizeof *d.condition);
    assert_non_null(d.condition);
    for (int s = 0; s < samples; s++)
        memcpy(d.condition + (size_t)s * 2 * FEATURE, one.data, 2 * FEATURE * sizeof *one.data);
    vipo_array_free(&one);
    return d;
}

static void denoiser_close(denoiser *d)
{
    free(d->condition);
    vipo_aligned_free(d->memory);
    test_compute_close(&d->compute);
    vipo_weight_store_free(&d->store);
    free(d->unet);
}

static void denoise(const denoiser *d, const float *x, const int *t, float *out, comparison *c)
{
    vipo_error error = {0};
    const vipo_unet1d_run run = {.compute = &d->compute.compute,
                                 .memory = d->memory,
                                 .samples = d->samples,
                                 .x = x,
                                 .t = t,
                                 .condition = d->condition,
                                 .out = out,
                                 .dump = c ? compare : NULL,
                                 .dump_user = c,
                                 .dump_prefix = "unet."};
    assert_ok(vipo_unet1d_forward(d->unet, &run, &error), &error);
}

enum { SIZE = HORIZON * ACTION };

static void test_unet(void **state)
{
    const golden_case *g = *state;
    vipo_array x = golden_array(g->file, "unet_x"), times = golden_array(g->file, "unet_t");
    const int t[2] = {(int)times.data[0], (int)times.data[1]};
    const vipo_ops *ops;
    assert_int_not_equal(t[0], t[1]);
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        denoiser d = denoiser_open(g, ops, 2);
        comparison c = {.g = g, .slack = test_table_slack(ops)};
        float out[2 * SIZE], again[2 * SIZE], alone[SIZE];
        denoise(&d, x.data, t, out, &c);
        compare_rows(&c, "unet.out", out, 2, SIZE);
        print_message("%s: %d tensors, largest error %.2f of the bound\n", ops->name, c.compared, c.worst);
        assert_int_equal(c.compared, 21 + 1);
        denoise(&d, x.data, t, again, NULL); /* memory used before, nothing dumped */
        assert_memory_equal(again, out, sizeof out);
        memset(d.memory, 0, vipo_unet1d_memory(d.unet, 2) * sizeof *d.memory);
        d.samples = 1; /* the second of the batch by itself: the same bits */
        denoise(&d, x.data + SIZE, t + 1, alone, NULL);
        assert_memory_equal(alone, out + SIZE, sizeof alone);
        denoiser_close(&d);
    }
    vipo_array_free(&x);
    vipo_array_free(&times);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoder),
        cmocka_unit_test(test_unet),
    };
    return cmocka_run_group_tests(tests, open_case, close_case);
}
