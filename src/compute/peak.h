/* What the processor could do at most: the measure that times of kernels are held against. */
#ifndef VIPO_COMPUTE_PEAK_H
#define VIPO_COMPUTE_PEAK_H

#include "compute/ops.h"

/* Fused multiply-adds of vectors in registers by all threads of the pool together, GFLOP/s (2 per multiply-add): the best
 * of a few tries of about a millisecond. Vectors as wide as those of the table; for `ref` or NULL, the widest of this
 * CPU. 0: no way to measure it here. */
double vipo_peak_measure(vipo_pool *pool, const vipo_ops *ops);

#endif
