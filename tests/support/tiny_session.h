/* The tiny model opened, with inputs for it: the fixture of tests that plan. */
#ifndef VIPO_TESTS_TINY_SESSION_H
#define VIPO_TESTS_TINY_SESSION_H

#include "support/model_folder.h"

enum {
    FRAME = TINY_SIDE * TINY_SIDE * 3, /* numbers of a frame and of a video */
    VIDEO = TINY_FRAMES * FRAME,
};

typedef struct tiny_session {
    vipo_model *model;
    vipo_planner *planner;
    vipo_array cond;   /* [1][H][W][3] */
    vipo_array conds;  /* [3][H][W][3] */
    vipo_array tokens; /* [1][5][C] */
    vipo_array noise;  /* [3][frames][H][W][3] */
} tiny_session;

/* cmocka's group setup and teardown; *state is a tiny_session. */
int tiny_session_open(void **state);
int tiny_session_close(void **state);

/* A planner on the model with that many threads and rows per call (0: the defaults). */
vipo_planner *tiny_planner(const vipo_model *model, int threads, int max_batch);

#define SHAPE(...) ((const size_t[]){__VA_ARGS__})

/* Numbers middle + scale * [-1, 1), owned by the caller; a noise of [samples][frames][H][W][3]. */
vipo_array made_up_array(int rank, const size_t *shape, uint64_t seed, float middle, float scale);
vipo_array tiny_video(size_t samples, uint64_t seed);

#endif
