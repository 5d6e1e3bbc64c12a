/* Optical flow by name: known motions are found, results repeat, bad requests are answered. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/dis.h"
#include "vipo/action.h"

enum { HEIGHT = 120, WIDTH = 160 };

static void skip_without_opencv(void)
{
    vipo_error error = {0};
    if (vipo_dis_available(&error) == VIPO_OK) return;
    assert_non_null(strstr(error.message, "scripts/setup.sh"));
    vipo_flow *flow;
    assert_int_equal(vipo_flow_open(&flow, NULL, NULL, &error), VIPO_UNSUPPORTED);
    assert_null(flow);
    skip();
}

/* A texture of waves at (x, y), 20..235. */
static double texture(double x, double y, int channel)
{
    double value = 0;
    for (uint64_t i = 0; i < 12; i++) {
        const double angle = 3.14159265 * (double)test_uniform(5, i), length = 7 + 2.5 * (double)i;
        value +=
            sin(6.2831853 * (x * cos(angle) + y * sin(angle)) / length + (double)(3 * i) + 0.4 * channel);
    }
    return 127 + 108 * value / 12 * 2.4 / (1 + fabs(value / 12) * 1.4);
}

/* Picture i of a film: what is at p in picture 0 is at centre + A^i (p - centre) + i shift. */
struct film {
    double angle, scale, shift[2];
};

static void move_point(const struct film *film, int steps, double x, double y, double out[2])
{
    const double c = cos(film->angle * steps) * pow(film->scale, steps),
                 s = sin(film->angle * steps) * pow(film->scale, steps);
    x -= WIDTH / 2.0;
    y -= HEIGHT / 2.0;
    out[0] = WIDTH / 2.0 + c * x - s * y + steps * film->shift[0];
    out[1] = HEIGHT / 2.0 + s * x + c * y + steps * film->shift[1];
}

static void unmove_point(const struct film *film, int steps, double x, double y, double out[2])
{
    const double c = cos(film->angle * steps) / pow(film->scale, steps),
                 s = sin(film->angle * steps) / pow(film->scale, steps);
    x -= WIDTH / 2.0 + steps * film->shift[0];
    y -= HEIGHT / 2.0 + steps * film->shift[1];
    out[0] = WIDTH / 2.0 + c * x + s * y;
    out[1] = HEIGHT / 2.0 - s * x + c * y;
}

static vipo_image picture(const struct film *film, int i)
{
    vipo_image image = {malloc(HEIGHT * WIDTH * 3), HEIGHT, WIDTH};
    assert_non_null(image.data);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            double at[2];
            unmove_point(film, i, x, y, at);
            for (int k = 0; k < 3; k++)
                image.data[(y * WIDTH + x) * 3 + k] = (uint8_t)lrint(texture(at[0], at[1], k));
        }
    return image;
}

/* Mean error in pixels of the flow from picture i to i + 1, away from the border. */
static double flow_error(const float *flow, const struct film *film, int i, int sign)
{
    double sum = 0;
    int n = 0;
    for (int y = 16; y < HEIGHT - 16; y++)
        for (int x = 16; x < WIDTH - 16; x++, n++) {
            double start[2], end[2];
            unmove_point(film, sign > 0 ? i : i + 1, x, y, start);
            move_point(film, sign > 0 ? i + 1 : i, start[0], start[1], end);
            sum += hypot((double)flow[(y * WIDTH + x) * 2] - (end[0] - x),
                         (double)flow[(y * WIDTH + x) * 2 + 1] - (end[1] - y));
        }
    return sum / n;
}

static void finds_known_motions(void **state)
{
    (void)state;
    static const struct film films[] = {
        {0, 1, {0, 0}}, {0, 1, {3, -2}}, {0, 1, {-5.5, 4.25}}, {0.03, 1, {1, 2}}, {-0.02, 1.03, {-2.5, 0.5}}};
    skip_without_opencv();
    vipo_flow *flow;
    vipo_error error;
    assert_ok(vipo_flow_open(&flow, NULL, NULL, &error), &error);
    assert_string_equal(vipo_flow_method(flow), "dis");
    for (size_t f = 0; f < sizeof films / sizeof films[0]; f++) {
        vipo_image images[3];
        vipo_array forward, backward;
        for (int i = 0; i < 3; i++) images[i] = picture(&films[f], i);
        assert_ok(vipo_flow_images(flow, images, 3, &forward, &backward, NULL, &error), &error);
        const size_t shape[4] = {2, HEIGHT, WIDTH, 2}, size = HEIGHT * WIDTH * 2;
        assert_int_equal(forward.rank, 4);
        assert_memory_equal(forward.shape, shape, sizeof shape);
        assert_int_equal(backward.rank, 4);
        assert_memory_equal(backward.shape, shape, sizeof shape);
        for (int i = 0; i < 2; i++) {
            const double there = flow_error(forward.data + (size_t)i * size, &films[f], i, 1);
            const double back = flow_error(backward.data + (size_t)i * size, &films[f], i, -1);
            if (!(there < 0.12) || !(back < 0.12))
                fail_msg("film %zu, pair %d: mean error %g forward, %g backward", f, i, there, back);
            /* and x is not y */
            if (fabs(films[f].shift[0] - films[f].shift[1]) > 1)
                assert_true(flow_error(backward.data, &films[f], i, 1) > 1);
        }
        vipo_array_free(&forward);
        vipo_array_free(&backward);
        for (int i = 0; i < 3; i++) vipo_image_free(&images[i]);
    }
    vipo_flow_close(&flow);
    assert_null(flow);
    vipo_flow_close(&flow);
}

static void videos_are_pictures(void **state)
{
    (void)state;
    const struct film film = {0.01, 1.01, {2, 1}};
    skip_without_opencv();
    vipo_flow *flow;
    vipo_error error;
    assert_ok(vipo_flow_open(&flow, NULL, NULL, &error), &error);
    vipo_image images[2] = {picture(&film, 0), picture(&film, 1)};
    vipo_array of_images, video, of_video, again;
    const size_t shape[4] = {2, HEIGHT, WIDTH, 3}, size = HEIGHT * WIDTH * 3;
    assert_ok(vipo_array_alloc(&video, 4, shape, &error), &error);
    /* every byte b is what (b + 1/2) / 255 is cut to; 0 and 255 also what lies outside */
    for (size_t i = 0; i < 2 * size; i++) {
        const uint8_t byte = images[i / size].data[i % size];
        video.data[i] = ((float)byte + 0.5F) / 255.0F;
    }
    images[0].data[0] = 0, video.data[0] = -0.7F;
    images[1].data[1] = 255, video.data[size + 1] = 1.3F;
    assert_ok(vipo_flow_images(flow, images, 2, &of_images, NULL, NULL, &error), &error);
    assert_ok(vipo_flow_video(flow, &video, &of_video, NULL, NULL, &error), &error);
    assert_memory_equal(of_images.data, of_video.data, HEIGHT * WIDTH * 2 * sizeof(float));
    assert_ok(vipo_flow_video(flow, &video, &again, NULL, NULL, &error), &error);
    assert_memory_equal(again.data, of_video.data, HEIGHT * WIDTH * 2 * sizeof(float));
    vipo_array_free(&again);

    video.data[size + 5] = NAN;
    assert_int_equal(vipo_flow_video(flow, &video, &again, NULL, NULL, &error), VIPO_NUMERIC);
    assert_non_null(strstr(error.message, "frame 1"));
    assert_null(again.data);
    video.data[size + 5] = 0;
    video.shape[0] = 1;
    assert_int_equal(vipo_flow_video(flow, &video, &again, NULL, NULL, &error), VIPO_MISMATCH);
    video.shape[0] = 2;
    video.rank = 3;
    assert_int_equal(vipo_flow_video(flow, &video, &again, NULL, NULL, &error), VIPO_MISMATCH);
    vipo_array_free(&of_images);
    vipo_array_free(&of_video);
    vipo_array_free(&video);
    for (int i = 0; i < 2; i++) vipo_image_free(&images[i]);
    vipo_flow_close(&flow);
}

static bool always(void *user)
{
    (void)user;
    return true;
}

static void refuses(void **state)
{
    (void)state;
    skip_without_opencv();
    vipo_flow *flow;
    vipo_error error;
    vipo_flow_options options;
    vipo_flow_default_options(&options);
    options.method = "farneback";
    assert_int_equal(vipo_flow_open(&flow, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_null(flow);
    for (int i = 0; vipo_flow_method_name(i); i++)
        assert_non_null(strstr(error.message, vipo_flow_method_name(i)));
    options.method = "dis";
    options.threads = -1;
    assert_int_equal(vipo_flow_open(&flow, &options, NULL, &error), VIPO_INVALID_ARGUMENT);
    options.threads = 0;
    assert_ok(vipo_flow_open(&flow, &options, NULL, &error), &error);

    static uint8_t data[3 * 24 * 1000];
    vipo_array out, back;
    vipo_image images[2] = {{data, 24, 24}, {data, 24, 25}};
    assert_int_equal(vipo_flow_images(flow, images, 2, &out, &back, NULL, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "24x25"));
    assert_null(out.data);
    assert_null(back.data);
    assert_int_equal(vipo_flow_images(flow, images, 1, &out, NULL, NULL, &error), VIPO_MISMATCH);
    assert_int_equal(vipo_flow_images(flow, images, 0, &out, NULL, NULL, &error), VIPO_MISMATCH);
    images[0] = images[1] = (vipo_image){data, 24, 23};
    assert_int_equal(vipo_flow_images(flow, images, 2, &out, NULL, NULL, &error), VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, "at least 24"));
    images[0].data = NULL, images[0].width = images[1].width = 24;
    assert_int_equal(vipo_flow_images(flow, images, 2, &out, NULL, NULL, &error), VIPO_INVALID_ARGUMENT);
    images[0].data = data;
    const vipo_callbacks cancelled = {.cancelled = always};
    assert_int_equal(vipo_flow_images(flow, images, 2, &out, NULL, &cancelled, &error), VIPO_CANCELLED);
    assert_null(out.data);

    /* the smallest, and the longest shapes of it; flat pictures do not move */
    static const int widths[] = {24, 25, 37, 1000};
    for (int i = 0; i < 4; i++)
        for (int turned = 0; turned < 2; turned++) {
            images[0] = images[1] = (vipo_image){data, turned ? widths[i] : 24, turned ? 24 : widths[i]};
            assert_ok(vipo_flow_images(flow, images, 2, &out, NULL, NULL, &error), &error);
            for (size_t k = 0; k < vipo_array_size(&out); k++) assert_true(fabsf(out.data[k]) < 1e-3F);
            vipo_array_free(&out);
        }
    vipo_flow_close(&flow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_known_motions),
        cmocka_unit_test(videos_are_pictures),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
