/* The flow policy on a flat scene: a camera one metre above a table looks down on an object that the frames show moving to
 * the right. A hand that obeys must end where the object is at the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/predictor.h"
#include "eval/scene_frames.h"
#include "support/support.h"
#include "vipo/action.h"

enum { HEIGHT = 240, WIDTH = 320, SIDE = 128, FRAMES = 7, SHIFT = 2 /* pixels from frame to frame */ };
static const double focal = 300;

typedef struct scene {
    uint8_t rgb[HEIGHT * WIDTH * 3], mask[HEIGHT * WIDTH];
    float depth[HEIGHT * WIDTH];
    float frames[(FRAMES + 1) * SIDE * SIDE * 3];
    vipo_view view;
    vipo_imagined imagined;
} scene;

/* A smooth texture of pixel (y, x) in [0,1]. */
static float texture(double y, double x, int c)
{
    return (float)(.5 + .2 * sin(.35 * x + .9 * c) * cos(.27 * y) + .2 * sin(.13 * x - .41 * y + c));
}

static bool on_object(int y, int x)
{
    return y >= 100 && y < 140 && x >= 130 && x < 170;
}

/* What is at (y, x) of the picture when the object has moved by `shift`. */
static float pixel(int y, int x, int c, int shift)
{
    if (on_object(y, x - shift)) return texture(y, x - shift, c);
    return .3F * texture(.5 * y, .4 * x, c + 2);
}

static void make_scene(scene *s)
{
    memset(s, 0, sizeof *s);
    const vipo_crop crop = {56, 96, SIDE, SIDE};
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            s->depth[y * WIDTH + x] = -1;
            s->mask[y * WIDTH + x] = on_object(y, x) ? 255 : 0;
            for (int c = 0; c < 3; c++) s->rgb[(y * WIDTH + x) * 3 + c] = (uint8_t)(255 * pixel(y, x, c, 0));
        }
    for (int k = 0; k <= FRAMES; k++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int c = 0; c < 3; c++)
                    s->frames[((k * SIDE + y) * SIDE + x) * 3 + c] =
                        pixel(crop.y + y, crop.x + x, c, k * SHIFT);
    s->view =
        (vipo_view){.height = HEIGHT, .width = WIDTH, .rgb = s->rgb, .depth = s->depth, .mask = s->mask};
    /* At (0, 0, 1), looking along -z: u = (WIDTH - 1) / 2 + focal X at depth -1. */
    const double cx = (WIDTH - 1) / 2., cy = (HEIGHT - 1) / 2.;
    const double matrix[12] = {-focal, 0, cx, -cx, 0, -focal, cy, -cy, 0, 0, 1, -1};
    memcpy(s->view.camera_matrix, matrix, sizeof matrix);
    s->imagined = (vipo_imagined){.key = 7,
                                  .n = FRAMES,
                                  .frame_height = SIDE,
                                  .frame_width = SIDE,
                                  .frames = s->frames,
                                  .crop = crop,
                                  .view = &s->view};
}

/* Without OpenCV there is no flow out of the box. */
static void need_flow(void)
{
    vipo_flow *flow = NULL;
    vipo_flow_options options;
    vipo_error error;
    vipo_flow_default_options(&options);
    if (vipo_flow_open(&flow, &options, NULL, &error) == VIPO_UNSUPPORTED) skip();
    vipo_flow_close(&flow);
}

static void *load(const char *settings)
{
    const vipo_predictor *p = &vipo_predictor_flow;
    vipo_setting_list list;
    vipo_error error;
    void *model = NULL;
    assert_ok(vipo_setting_list_parse(&list, "--predictor-settings", settings, &error), &error);
    const vipo_predictor_options options = {.settings = &list, .threads = 1, .patience = 200, .max_plans = 6};
    assert_ok(p->load(&model, &options, &error), &error);
    assert_ok(vipo_setting_list_finish(&list, &error), &error);
    return model;
}

/* Carries one plan out for `steps`; where the hand ends. */
static void run(const char *settings, const scene *s, int steps, double hand[3])
{
    const vipo_predictor *p = &vipo_predictor_flow;
    const vipo_predictor_place place = {
        .task = "door-open", .height = HEIGHT, .width = WIDTH, .crop = s->imagined.crop, .threads = 1};
    vipo_error error;
    void *model = load(settings), *session = NULL;
    double observation[VIPO_SIM_OBSERVATION] = {-.1, .05, .25};
    assert_ok(p->open(&session, model, &place, &error), &error);
    const vipo_predictor_episode episode = {.camera = "corner", .observation = observation};
    assert_ok(p->reset(session, &episode, &error), &error);
    for (int step = 0; step < steps; step++) {
        const vipo_moment moment = {.step = step, .observation = observation};
        const bool wanted = p->wants_plan(session, &moment, step > 0);
        assert_int_equal(wanted, step == 0);
        if (wanted) assert_ok(p->plan(session, &s->imagined, &error), &error);
        double action[VIPO_SIM_ACTION];
        assert_ok(p->act(session, &moment, action, &error), &error);
        for (int i = 0; i < 3; i++) {
            assert_true(isfinite(action[i]));
            observation[i] += .01 * (action[i] < -1 ? -1 : action[i] > 1 ? 1 : action[i]);
        }
    }
    if (s->mask[120 * WIDTH + 150]) assert_int_equal(p->executed(session), FRAMES);
    memcpy(hand, observation, 3 * sizeof *hand);
    p->close(&session);
    assert_null(session);
    p->unload(&model);
    assert_null(model);
}

static void follows_the_object(void **state)
{
    (void)state;
    need_flow();
    scene *s = malloc(sizeof *s);
    assert_non_null(s);
    make_scene(s);
    const char *const settings[] = {"", "sampling=avdc", "border=black,round-trip=1,samples=200"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        double hand[3];
        run(settings[i], s, 60, hand);
        /* The middle of the object, moved; a push goes 3 cm below the grasp point. */
        const double x = (149.5 - (WIDTH - 1) / 2. + FRAMES * SHIFT) / focal;
        const double y = (119.5 - (HEIGHT - 1) / 2.) / focal;
        if (fabs(hand[0] - x) > .012 || fabs(hand[1] - y) > .012 || fabs(hand[2] + .03) > .012)
            fail_msg("'%s': the hand ends at %.4f %.4f %.4f, the object at %.4f %.4f", settings[i], hand[0],
                     hand[1], hand[2], x, y);
    }
    free(s);
}

static void not_seen_stays(void **state)
{
    (void)state;
    need_flow();
    scene *s = malloc(sizeof *s);
    assert_non_null(s);
    make_scene(s);
    memset(s->mask, 0, sizeof s->mask);
    double hand[3];
    run("", s, 10, hand);
    assert_float_equal(hand[0], -.1, 1e-12);
    assert_float_equal(hand[1], .05, 1e-12);
    assert_float_equal(hand[2], .25, 1e-12);
    free(s);
}

/* Frames of half the size are enlarged; around them is the picture, or nothing. */
static void frames_in_their_place(void **state)
{
    (void)state;
    scene *s = malloc(sizeof *s);
    assert_non_null(s);
    make_scene(s);
    vipo_error error;
    vipo_image *pictures = NULL;
    const vipo_crop crop = s->imagined.crop;
    for (int i = 0; i < SIDE * SIDE * 3; i++) s->frames[i] = i % 3 ? .5F : 2; /* above 1: saturates */
    s->imagined.n = 0;
    for (int half = 0; half < 2; half++)
        for (int border = VIPO_BORDER_PICTURE; border <= VIPO_BORDER_BLACK; border++) {
            s->imagined.frame_height = s->imagined.frame_width = half ? SIDE / 2 : SIDE;
            assert_ok(vipo_scene_frames(&s->imagined, (vipo_border)border, &pictures, &error), &error);
            for (int y = 0; y < HEIGHT; y++)
                for (int x = 0; x < WIDTH; x++) {
                    const bool inside = y >= crop.y && y < crop.y + SIDE && x >= crop.x && x < crop.x + SIDE;
                    for (int c = 0; c < 3; c++) {
                        const int at = (y * WIDTH + x) * 3 + c;
                        const int around = border == VIPO_BORDER_PICTURE ? s->rgb[at] : 0;
                        assert_int_equal(pictures[0].data[at], inside ? (c ? 127 : 255) : around);
                    }
                }
            vipo_scene_frames_free(&pictures, 1);
            assert_null(pictures);
        }
    s->frames[5] = NAN;
    assert_int_equal(vipo_scene_frames(&s->imagined, VIPO_BORDER_BLACK, &pictures, &error), VIPO_NUMERIC);
    assert_null(pictures);
    free(s);
}

/* What changes results is in the settings; what is wrong is refused. */
static void settings(void **state)
{
    (void)state;
    need_flow();
    vipo_error error;
    const vipo_predictor *p = &vipo_predictor_flow;
    void *model = load("fit=reference,tries=9");
    json_t *object = json_object();
    assert_ok(p->describe(model, object, &error), &error);
    assert_string_equal(json_string_value(json_object_get(object, "fit")), "reference");
    assert_string_equal(json_string_value(json_object_get(object, "border")), "picture");
    assert_int_equal(json_integer_value(json_object_get(object, "tries")), 9);
    json_decref(object);
    p->unload(&model);
    /* Weights are of unimatch, and it needs them. */
    for (int file = 0; file < 2; file++) {
        vipo_setting_list list;
        assert_ok(vipo_setting_list_parse(&list, "--predictor-settings", file ? "flow=dis" : "flow=unimatch",
                                          &error),
                  &error);
        const vipo_predictor_options options = {.file = file ? "nowhere" : NULL,
                                                .settings = &list,
                                                .threads = 1,
                                                .patience = 200,
                                                .max_plans = 6};
        assert_true(p->load(&model, &options, &error) != VIPO_OK);
        assert_non_null(strstr(error.message, file ? "--predictor-file" : "unimatch"));
        assert_null(model);
    }
    const char *const wrong[] = {"fit=least", "samples=1", "flow=magic", "tries=0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vipo_setting_list list;
        assert_ok(vipo_setting_list_parse(&list, "--predictor-settings", wrong[i], &error), &error);
        const vipo_predictor_options options = {
            .settings = &list, .threads = 1, .patience = 200, .max_plans = 6};
        assert_int_equal(p->load(&model, &options, &error), VIPO_INVALID_ARGUMENT);
        assert_null(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_object),
        cmocka_unit_test(not_seen_stays),
        cmocka_unit_test(frames_in_their_place),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
