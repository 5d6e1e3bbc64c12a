/* Samplers on networks of a few numbers. */
#ifndef VIPO_TESTS_SAMPLING_H
#define VIPO_TESTS_SAMPLING_H

#include "sampling/sampler.h"
#include "support/support.h"

enum { TEST_SAMPLING_DIM = 48 };

/* A smooth, nonlinear "network" of TEST_SAMPLING_DIM numbers, element by element, so that a row does not depend on its
 * batch. */
vipo_status test_smooth_network(void *user, int rows, const int *video, const int *t, const float *x,
                                float *v, vipo_error *error);

/* Starting states of videos first, first + 1, ...: x [videos][TEST_SAMPLING_DIM]. */
void test_start(float *x, int videos, int first);

/* Runs the sampler on x [videos][dim]; `sampling` says the rest (all but videos, x and memory). Fails the test if the
 * sampler fails. */
vipo_sampler_stats test_sample(const vipo_sampler *sampler, vipo_sampling *sampling, int videos, float *x);

#endif
