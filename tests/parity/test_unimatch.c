/* The optical flow network against PyTorch's tensors, every intermediate, and identities that need no weights. */
#include "support/flow_weights.h"
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "core/memory.h"
#include "nets/unimatch_private.h"

enum { HEIGHT = 64, WIDTH = 96, COARSE = HEIGHT / 8 * (WIDTH / 8), MAX_TENSORS = 64 };

/* The network's intermediates beside the golden ones. A golden tensor keeps every step-th number of [items][channels][
 * height][width]. */
typedef struct comparison {
    const vipo_safetensors *file;
    json_t *info;
    double slack; /* of the table, to the tolerances of the golden tensors */
    struct {
        char name[40];
        size_t compared;
    } tensors[MAX_TENSORS];
    int n;
    double worst; /* error / tolerance */
    char worst_name[40];
    float *matched[2]; /* the features that are matched at 1/8 */
} comparison;

static size_t *count_of(comparison *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->tensors[i].name, name) == 0) return &c->tensors[i].compared;
    assert_true(c->n < MAX_TENSORS);
    snprintf(c->tensors[c->n].name, sizeof c->tensors[0].name, "%s", name);
    return &c->tensors[c->n++].compared;
}

typedef float value_at(const float *value, size_t channel, size_t pixel, int channels, int pixels);

static float of_map(const float *value, size_t channel, size_t pixel, int channels, int pixels)
{
    (void)pixels;
    return value[pixel * (size_t)channels + channel];
}

/* tokens: [pixel][channel] in the golden tensor too */
static float of_tokens(const float *value, size_t channel, size_t pixel, int channels, int pixels)
{
    (void)channels;
    return value[channel * (size_t)pixels + pixel];
}

static void compare(comparison *c, const char *name, int item, const float *value, int pixels, int channels,
                    value_at *at, bool rectified)
{
    const json_t *info = json_object_get(json_object_get(c->info, "tensors"), name);
    if (!info) return;
    const double max = json_number_value(json_object_get(info, "max_abs")),
                 rounding = json_number_value(json_object_get(info, "err_f32_vs_f64"));
    const double tolerance = c->slack * fmax(10 * rounding, 2e-6 * max);
    const size_t step = (size_t)json_integer_value(json_object_get(info, "step")),
                 size = (size_t)pixels * (size_t)channels, first = (size_t)item * size;
    vipo_array golden = golden_array(c->file, name);
    size_t *count = count_of(c, name);
    for (size_t k = (first + step - 1) / step; k < vipo_array_size(&golden) && k * step < first + size; k++) {
        const size_t e = k * step - first;
        const float wanted = rectified ? fmaxf(golden.data[k], 0) : golden.data[k];
        const double difference = fabs(
            (double)at(value, e / (size_t)pixels, e % (size_t)pixels, channels, pixels) - (double)wanted);
        if (!(difference <= c->worst * tolerance)) {
            c->worst = isnan(difference) ? INFINITY : difference / tolerance;
            snprintf(c->worst_name, sizeof c->worst_name, "%s", name);
        }
        ++*count;
    }
    vipo_array_free(&golden);
}

static void see(void *user, const char *name, int item, const float *value, int height, int width,
                int channels)
{
    comparison *c = user;
    const int pixels = height * width;
    if (strcmp(name, "backbone.stem") == 0) {
        compare(c, "backbone.stem_norm", item, value, pixels, channels, of_map, true);
    } else if (strstr(name, ".block")) { /* [picture][item][pixel][channel] */
        char golden[40];
        const size_t length = strlen(name) - 2;
        const int items = strncmp(name, "scale1", 6) == 0 ? 2 : 1, picture = name[length + 1] - '0';
        snprintf(golden, sizeof golden, "%.*s", (int)length, name);
        compare(c, golden, picture * items + item, value, channels, pixels, of_tokens, false);
    } else {
        compare(c, name, item, value, pixels, channels, of_map, false);
    }
    if (strncmp(name, "scale0.tr_out", 13) == 0)
        memcpy(c->matched[name[13] - '0'], value, (size_t)COARSE * CHANNELS * sizeof *value);
}

/* Entropy of the matching probabilities of each pixel. */
static void compare_entropy(comparison *c)
{
    float entropy[COARSE];
    for (int item = 0; item < 2; item++) {
        for (size_t i = 0; i < COARSE; i++) {
            double scores[COARSE], top = -INFINITY, sum = 0, value = 0;
            for (size_t j = 0; j < COARSE; j++) {
                scores[j] = 0;
                for (size_t k = 0; k < CHANNELS; k++)
                    scores[j] += (double)c->matched[item][i * CHANNELS + k] *
                                 (double)c->matched[1 - item][j * CHANNELS + k] / sqrt(CHANNELS);
                top = fmax(top, scores[j]);
            }
            for (size_t j = 0; j < COARSE; j++) sum += exp(scores[j] - top);
            for (size_t j = 0; j < COARSE; j++)
                value -= exp(scores[j] - top) / sum * (scores[j] - top - log(sum));
            entropy[i] = (float)value;
        }
        compare(c, "scale0.prob_row_entropy", item, entropy, COARSE, 1, of_map, false);
    }
}

/* A network, a session and the two pictures of the case. */
typedef struct fixture {
    vipo_pool *pool;
    vipo_unimatch *net;
    vipo_unimatch_session *session;
    float *pictures[2], *coarse[2], *fine[2], *flow[2];
} fixture;

static float *floats(size_t n)
{
    float *p = vipo_aligned_calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

static void open_fixture(fixture *f, flow_weights *weights, const vipo_ops *ops, int threads)
{
    vipo_error error = {0};
    assert_ok(vipo_pool_open(&f->pool, threads, &error), &error);
    f->net = flow_weights_network(weights, ops);
    assert_ok(vipo_unimatch_session_open(&f->session, f->net, f->pool, &error), &error);
    for (int i = 0; i < 2; i++) {
        const size_t pixels = HEIGHT * WIDTH;
        vipo_image image;
        assert_ok(vipo_image_read(test_path(i ? "tests/golden/flow/img1.png" : "tests/golden/flow/img0.png"),
                                  &image, &error),
                  &error);
        assert_true(image.height == HEIGHT && image.width == WIDTH);
        f->pictures[i] = floats(pixels * 3);
        for (size_t k = 0; k < pixels * 3; k++) f->pictures[i][k] = (float)image.data[k];
        vipo_image_free(&image);
        f->coarse[i] = floats(pixels / 64 * CHANNELS);
        f->fine[i] = floats(pixels / 16 * CHANNELS);
        f->flow[i] = floats(pixels * 2);
    }
}

static void close_fixture(fixture *f)
{
    for (int i = 0; i < 2; i++) {
        vipo_aligned_free(f->pictures[i]);
        vipo_aligned_free(f->coarse[i]);
        vipo_aligned_free(f->fine[i]);
        vipo_aligned_free(f->flow[i]);
    }
    vipo_unimatch_session_close(&f->session);
    vipo_unimatch_close(&f->net);
    vipo_pool_close(&f->pool);
}

static void run(fixture *f, bool backward)
{
    vipo_error error = {0};
    for (int i = 0; i < 2; i++)
        assert_ok(vipo_unimatch_features(f->session, f->pictures[i], HEIGHT, WIDTH, i, f->coarse[i],
                                         f->fine[i], NULL, &error),
                  &error);
    const vipo_unimatch_pair pair = {HEIGHT,
                                     WIDTH,
                                     {f->coarse[0], f->coarse[1]},
                                     {f->fine[0], f->fine[1]},
                                     f->flow[0],
                                     backward ? f->flow[1] : NULL};
    assert_ok(vipo_unimatch_flow(f->session, &pair, NULL, &error), &error);
}

/* Tables to test: the fast ones, which checkop compares with ref, or ref alone. */
static const vipo_ops *table(int i)
{
    return vipo_ops_available(vipo_ops_available(1) ? i + 1 : i);
}

static void recipe_is_the_reference(void **state)
{
    (void)state;
    vipo_error error = {0};
    flow_weights weights;
    flow_weights_open(&weights, 11);
    const vipo_weight_source source = flow_weights_source(&weights);
    size_t total = 0;
    for (int i = 0; i < flow_weights_count(&weights); i++) {
        int rank;
        size_t shape[4], count = 1;
        const char *crc32, *name = flow_weights_name(&weights, i, &rank, shape, &crc32);
        for (int d = 0; d < rank; d++) count *= shape[d];
        float *values = floats(count);
        assert_ok(source.read(source.user, name, rank, shape, values, &error), &error);
        uint32_t crc = 0xffffffffU;
        for (size_t b = 0; b < count * sizeof *values; b++) {
            crc ^= ((const unsigned char *)values)[b];
            for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
        }
        assert_int_equal(crc ^ 0xffffffffU, strtoul(crc32, NULL, 16));
        vipo_aligned_free(values);
        total += count;
    }
    assert_int_equal(total, VIPO_UNIMATCH_PARAMETERS);
    flow_weights_close(&weights);
}

static void every_intermediate(void **state)
{
    (void)state;
    vipo_error error = {0};
    flow_weights weights;
    flow_weights_open(&weights, 11);
    vipo_safetensors *file = golden_open("tests/golden/flow/case_64x96.safetensors");
    json_t *info;
    assert_ok(vipo_json_load(&info, test_path("tests/golden/flow/case_64x96.json"), &error), &error);
    for (int t = 0; table(t); t++) {
        comparison c = {.file = file,
                        .info = info,
                        .slack = test_table_slack(table(t)),
                        .matched = {floats(COARSE * CHANNELS), floats(COARSE * CHANNELS)}};
        fixture f;
        open_fixture(&f, &weights, table(t), 2);
        vipo_unimatch_session_dump(f.session, see, &c);
        run(&f, true);
        compare_entropy(&c);
        for (int item = 0; item < 2; item++)
            compare(&c, "flow_final", item, f.flow[item], HEIGHT * WIDTH, 2, of_map, false);
        print_message("%s: worst error %.2f of its tolerance (%s)\n", table(t)->name, c.worst, c.worst_name);
        assert_true(c.worst <= 1);
        /* all of them, all of each */
        const char *name;
        json_t *tensor;
        json_object_foreach(json_object_get(info, "tensors"), name, tensor)
        {
            vipo_array golden = golden_array(file, name);
            if (*count_of(&c, name) != vipo_array_size(&golden))
                fail_msg("%s: %zu of %zu numbers were compared", name, *count_of(&c, name),
                         vipo_array_size(&golden));
            vipo_array_free(&golden);
        }

        /* without the way back, and with another number of threads: the same bits */
        fixture one;
        open_fixture(&one, &weights, table(t), 3);
        run(&one, false);
        assert_memory_equal(one.flow[0], f.flow[0], HEIGHT * WIDTH * 2 * sizeof(float));
        /* the pictures' normalisation matters (66 pixels in the reference) */
        static const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
        for (int i = 0; i < 2; i++)
            for (size_t k = 0; k < HEIGHT * WIDTH * 3; k++)
                one.pictures[i][k] =
                    (float)(255 * (mean[k % 3] + deviation[k % 3] * (double)one.pictures[i][k] / 255));
        run(&one, false);
        assert_true(test_max_abs(one.flow[0], f.flow[0], HEIGHT * WIDTH * 2) > 10);
        close_fixture(&one);
        close_fixture(&f);
        for (int i = 0; i < 2; i++) vipo_aligned_free(c.matched[i]);
    }
    json_decref(info);
    vipo_safetensors_close(&file);
    flow_weights_close(&weights);
}

static void equal_pictures(void **state)
{
    (void)state;
    flow_weights weights;
    fixture f;
    flow_weights_open(&weights, 3);
    open_fixture(&f, &weights, table(0), 2);
    memcpy(f.pictures[1], f.pictures[0], HEIGHT * WIDTH * 3 * sizeof(float));
    run(&f, true);
    assert_memory_equal(f.flow[0], f.flow[1], HEIGHT * WIDTH * 2 * sizeof(float));
    close_fixture(&f);
    flow_weights_close(&weights);
}

static void keep_flow(void *user, const char *name, int item, const float *value, int height, int width,
                      int channels)
{
    float *flow = user;
    if (item == 0 && (strcmp(name, "refine5.flow_in") == 0 || strcmp(name, "refine5.delta") == 0))
        for (int i = 0; i < height * width * channels; i++) flow[i] += value[i];
}

/* Without logits every neighbour counts alike, those outside as 0. */
static void upsampling_is_a_mean(void **state)
{
    (void)state;
    enum { H = HEIGHT / 4, W = WIDTH / 4 };
    flow_weights weights;
    fixture f;
    flow_weights_open(&weights, 5);
    weights.zeroed = "refine.mask.2";
    open_fixture(&f, &weights, table(0), 1);
    float *coarse = floats(H * W * 2);
    vipo_unimatch_session_dump(f.session, keep_flow, coarse);
    run(&f, false);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int k = 0; k < 2; k++) {
                double sum = 0;
                for (int v = y / 4 - 1; v <= y / 4 + 1; v++)
                    for (int u = x / 4 - 1; u <= x / 4 + 1; u++)
                        if (v >= 0 && v < H && u >= 0 && u < W)
                            sum += 4 * (double)coarse[(v * W + u) * 2 + k] / 9;
                assert_true(fabs((double)f.flow[0][(y * WIDTH + x) * 2 + k] - sum) < 1e-3);
            }
    vipo_aligned_free(coarse);
    close_fixture(&f);
    flow_weights_close(&weights);
}

/* Features that occur once each are found where they are. */
static void matching_finds_shifts(void **state)
{
    (void)state;
    enum { H = 8, W = 12 };
    vipo_error error = {0};
    flow_weights weights;
    fixture f;
    flow_weights_open(&weights, 1);
    for (int t = 0; table(t); t++) {
        open_fixture(&f, &weights, table(t), 2);
        float *a = floats(H * W * CHANNELS), *b = floats(H * W * CHANNELS), flow[H * W * 2] = {0};
        const int dx = -2, dy = 1;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                a[(y * W + x) * CHANNELS + y * W + x] = 40;
                if (x + dx >= 0 && x + dx < W && y + dy >= 0 && y + dy < H)
                    b[((y + dy) * W + x + dx) * CHANNELS + y * W + x] = 40;
            }
        for (int local = 0; local < 2; local++) {
            memset(flow, 0, sizeof flow);
            if (local)
                assert_ok(unimatch_match_local(f.session, a, b, H, W, flow, 0, &error), &error);
            else
                assert_ok(unimatch_match_global(f.session, a, b, H, W, flow, &error), &error);
            for (int y = 0; y < H - dy; y++)
                for (int x = -dx; x < W; x++) {
                    assert_true(fabsf(flow[(y * W + x) * 2] - (float)dx) < 1e-4F);
                    assert_true(fabsf(flow[(y * W + x) * 2 + 1] - (float)dy) < 1e-4F);
                }
        }
        /* and b, seen where the flow leads, is a; outside there is nothing */
        for (int i = 0; i < H * W; i++) flow[2 * i] = dx, flow[2 * i + 1] = dy;
        float *warped = floats(H * W * CHANNELS);
        unimatch_warp(f.session, b, flow, H, W, warped);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < CHANNELS; c++) {
                    const bool inside = y < H - dy && x >= -dx;
                    const size_t at = (size_t)(y * W + x) * CHANNELS + (size_t)c;
                    assert_true(warped[at] == (inside ? a[at] : 0));
                }
        vipo_aligned_free(warped);
        vipo_aligned_free(a);
        vipo_aligned_free(b);
        close_fixture(&f);
    }
    flow_weights_close(&weights);
}

/* An affine picture stays one. */
static void corners_stay_corners(void **state)
{
    (void)state;
    static const int sizes[][4] = {{5, 7, 10, 14}, {3, 4, 3, 4}, {9, 6, 4, 11}, {1, 3, 5, 2}, {2, 1, 3, 6}};
    static const float gain[2] = {2, -0.5F};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int h = sizes[s][0], w = sizes[s][1], to_h = sizes[s][2], to_w = sizes[s][3];
        float *in = floats((size_t)(h * w * 2)), *out = floats((size_t)(to_h * to_w * 2));
        for (int i = 0; i < h * w; i++) {
            in[2 * i] = (float)(3 + 2 * (i % w) - i / w);
            in[2 * i + 1] = (float)(i % w + 4 * (i / w));
        }
        vipo_bilinear_corners(NULL, in, h, w, 2, out, to_h, to_w, gain);
        for (int i = 0; i < to_h * to_w; i++) {
            const double x = to_w > 1 ? (double)(i % to_w) * (w - 1) / (to_w - 1) : 0,
                         y = to_h > 1 ? (double)(i / to_w) * (h - 1) / (to_h - 1) : 0;
            assert_true(fabs((double)out[2 * i] - 2 * (3 + 2 * x - y)) < 1e-5);
            assert_true(fabs((double)out[2 * i + 1] + 0.5 * (x + 4 * y)) < 1e-5);
        }
        vipo_aligned_free(in);
        vipo_aligned_free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipe_is_the_reference), cmocka_unit_test(every_intermediate),
        cmocka_unit_test(equal_pictures),          cmocka_unit_test(upsampling_is_a_mean),
        cmocka_unit_test(matching_finds_shifts),   cmocka_unit_test(corners_stay_corners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
