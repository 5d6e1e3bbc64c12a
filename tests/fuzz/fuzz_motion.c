/* Recorded random draws: what is read is used, on a small scene, in every way that takes them. */
#include "fuzz.h"

#include <math.h>

#include "vipo/action.h"

enum { HEIGHT = 12, WIDTH = 16, FRAMES = 2, SAMPLES = 20, TRIES = 5, RESTARTS = 2 };

static const char path[] = "fuzz:draws.safetensors";

/* A square that moves a pixel to the right. */
static void make_scene(vipo_array *depth, vipo_array *flow, uint8_t *mask)
{
    const size_t shape[4] = {FRAMES, HEIGHT, WIDTH, 2};
    FUZZ_CHECK(vipo_array_alloc(depth, 2, shape + 1, NULL) == VIPO_OK);
    FUZZ_CHECK(vipo_array_alloc(flow, 4, shape, NULL) == VIPO_OK);
    for (size_t i = 0; i < HEIGHT * WIDTH; i++) {
        const size_t x = i % WIDTH, y = i / WIDTH;
        mask[i] = x > 3 && x < 11 && y > 2 && y < 9 ? 255 : 0;
        depth->data[i] = 1.0F + 0.01F * (float)(x + y);
        for (size_t k = 0; k < FRAMES; k++)
            flow->data[2 * (k * HEIGHT * WIDTH + i)] = 1.5F + 0.01F * (float)y;
    }
}

static void check_motion(vipo_status status, vipo_motion *motion, const vipo_error *error)
{
    if (status != VIPO_OK) {
        fuzz_check_failure(status, error);
        FUZZ_CHECK(fuzz_is_zero(motion, sizeof *motion));
        return;
    }
    FUZZ_CHECK(motion->n_steps >= 0 && motion->n_steps <= FRAMES);
    FUZZ_CHECK((motion->end == VIPO_MOTION_COMPLETE) == (motion->n_steps == FRAMES));
    for (int k = 0; k < motion->n_steps; k++) {
        const vipo_motion_step *const s = &motion->steps[k];
        FUZZ_CHECK(isfinite(s->loss) && s->points > 0 && s->points <= SAMPLES);
        for (int i = 0; i < 16; i++) FUZZ_CHECK(isfinite(s->motion[i]));
    }
    vipo_motion_free(motion);
}

static void use(const vipo_motion_draws *draws)
{
    static const double matrix[12] = {10, 0, 7.5, 0, 0, 10, 5.5, 0, 0, 0, 1, 0};
    uint8_t mask[HEIGHT * WIDTH];
    vipo_array depth, flow;
    vipo_motion motion;
    make_scene(&depth, &flow, mask);
    const vipo_motion_request request = {.depth = &depth, .matrix = matrix, .mask = mask, .flow = &flow};
    for (int fit = 0; fit < 2; fit++) {
        vipo_error error = {0};
        vipo_motion_options options;
        vipo_motion_default_options(&options);
        options.sampling = VIPO_MOTION_AVDC;
        options.fit = (vipo_motion_fit)fit;
        options.samples = SAMPLES;
        options.tries = TRIES;
        options.restarts = RESTARTS;
        options.draws = draws;
        vipo_status status = vipo_motion_solve(&request, &options, &motion, &error);
        check_motion(status, &motion, &error);

        vipo_navigation_options navigation;
        vipo_navigation_default_options(&navigation);
        navigation.fit = options.fit;
        navigation.samples = SAMPLES;
        navigation.restarts = RESTARTS;
        navigation.min_points = 3;
        navigation.border = 1;
        navigation.draws = draws;
        status = vipo_navigation_solve(&request, &navigation, &motion, &error);
        check_motion(status, &motion, &error);
    }
    vipo_array_free(&depth);
    vipo_array_free(&flow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_motion_draws *draws;
    fuzz_file(path, data, size);
    const vipo_status status = vipo_motion_draws_open(&draws, path, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(!draws);
    } else {
        use(draws);
        vipo_motion_draws_close(&draws);
        FUZZ_CHECK(!draws);
    }
    fuzz_forget_files();
    return 0;
}
