/* Golden data and weights for tests. */
#ifndef VIPO_TESTS_GOLDEN_H
#define VIPO_TESTS_GOLDEN_H

#include "support/support.h"

#include "compute/ops.h"
#include "nets/config.h"
#include "weights/safetensors.h"

/* Opens a safetensors file of the source tree or fails the test. */
vipo_safetensors *golden_open(const char *relative);
/* tests/golden/unet/square.model-24.pt as a model folder, made on the first call: weights "ema" or "online". The
 * path lives as long as the program. */
const char *golden_square_folder(const char *weights);
/* A tensor as floats (integers too), in the file's own shape; fails the test if it is missing. */
vipo_array golden_array(const vipo_safetensors *file, const char *name);

/* [b][f][3][h][w] or [f][3][h][w] or [b][3][h][w] -> channels last, i.e. [..][h][w][3]. */
vipo_array golden_video(const vipo_safetensors *file, const char *name);

/* Configuration from a JSON file of the source tree. */
vipo_config golden_config(const char *relative);

/* Weights made from a recipe (tests/golden/unet/make_weights.py): a tensor's numbers follow from its name. */
typedef struct generated_weights {
    json_t *recipe; /* NULL: every tensor uniform, scale by fan-in, from the seed */
    uint64_t seed;
    int reads;                                                                    /* tensors asked for */
    size_t parameters;                                                            /* numbers asked for */
    void (*on_read)(void *user, const char *name, int rank, const size_t *shape); /* may be NULL */
    void *user;
} generated_weights;
void generated_weights_open(generated_weights *out, const char *relative_recipe); /* NULL: no recipe */
void generated_weights_close(generated_weights *weights);
vipo_weight_source generated_weights_source(generated_weights *weights);

/* How many times as far as float32 a table may be from golden tensors. */
static inline double test_table_slack(const vipo_ops *ops)
{
    return ops->by_name ? 10 : 1;
}

/* A compute context of a table: pool, scratch. */
typedef struct test_compute {
    vipo_compute compute;
} test_compute;
void test_compute_open(test_compute *out, const vipo_ops *ops, int threads, size_t scratch_bytes);
void test_compute_close(test_compute *compute);

#endif
