#include "support/tiny_session.h"

#include <stdlib.h>

vipo_array made_up_array(int rank, const size_t *shape, uint64_t seed, float middle, float scale)
{
    vipo_array array;
    vipo_error error = {0};
    assert_ok(vipo_array_alloc(&array, rank, shape, &error), &error);
    for (size_t i = 0; i < vipo_array_size(&array); i++)
        array.data[i] = middle + scale * test_uniform(seed, i);
    return array;
}

vipo_array tiny_video(size_t samples, uint64_t seed)
{
    return made_up_array(5, SHAPE(samples, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3), seed, 0, 1.7F);
}

vipo_planner *tiny_planner(const vipo_model *model, int threads, int max_batch)
{
    vipo_planner_options options;
    vipo_planner *planner;
    vipo_error error = {0};
    vipo_planner_default_options(&options);
    options.threads = threads;
    options.max_batch = max_batch;
    assert_ok(vipo_planner_open(&planner, model, &options, &error), &error);
    return planner;
}

int tiny_session_open(void **state)
{
    tiny_session *f = calloc(1, sizeof *f);
    assert_non_null(f);
    vipo_error error = {0};
    assert_ok(vipo_model_open(&f->model, test_tiny_folder("tiny"), NULL, &error), &error);
    f->planner = tiny_planner(f->model, 2, 0);
    f->cond = made_up_array(4, SHAPE(1, TINY_SIDE, TINY_SIDE, 3), 1, 0.5F, 0.5F);
    f->conds = made_up_array(4, SHAPE(3, TINY_SIDE, TINY_SIDE, 3), 2, 0.5F, 0.5F);
    f->tokens = made_up_array(3, SHAPE(1, 5, TINY_TOKEN_WIDTH), 3, 0, 1);
    f->noise = tiny_video(3, 4);
    *state = f;
    return 0;
}

int tiny_session_close(void **state)
{
    tiny_session *f = *state;
    vipo_planner_close(&f->planner);
    assert_null(f->planner);
    vipo_planner_close(&f->planner);
    vipo_model_close(&f->model);
    vipo_array_free(&f->cond);
    vipo_array_free(&f->conds);
    vipo_array_free(&f->tokens);
    vipo_array_free(&f->noise);
    free(f);
    return 0;
}
