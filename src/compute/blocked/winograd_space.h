/* 3x3 convolution by Winograd's F(2x2, 3x3) and F(4x4, 3x3). */
#ifndef VIPO_COMPUTE_BLOCKED_WINOGRAD_SPACE_H
#define VIPO_COMPUTE_BLOCKED_WINOGRAD_SPACE_H

#include "compute/blocked/blocked.h"

/* Floats of the transformed weights: [panel][product][in][columns of the panel]. */
size_t BLOCKED(winograd_space_floats)(const vipo_layer *layer, vipo_method method);
void BLOCKED(winograd_space_pack)(const vipo_layer *layer, vipo_method method, const float *weights,
                                  float *memory, vipo_pool *pool);

size_t BLOCKED(winograd_space_scratch)(const vipo_conv_space *args);
void BLOCKED(winograd_space)(const vipo_compute *compute, const vipo_conv_space *args);

#endif
