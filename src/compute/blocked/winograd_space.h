/* 3x3 convolution by Winograd's F(2x2, 3x3) and F(4x4, 3x3). */
#ifndef VIPO_COMPUTE_BLOCKED_WINOGRAD_SPACE_H
#define VIPO_COMPUTE_BLOCKED_WINOGRAD_SPACE_H

#include "compute/blocked/blocked.h"

/* Names of the copy that multiplies by AMX (winograd_v.h). */
#ifdef VIPO_SPLIT
#define WINOGRAD(name) vipo_split_##name
#else
#define WINOGRAD(name) BLOCKED(name)
#endif

/* Floats of the transformed weights: [panel][product][in][columns of the panel]. */
size_t WINOGRAD(winograd_space_floats)(const vipo_layer *layer, vipo_method method);
void WINOGRAD(winograd_space_pack)(const vipo_layer *layer, vipo_method method, const float *weights,
                                   float *memory, vipo_pool *pool);

size_t WINOGRAD(winograd_space_scratch)(const vipo_conv_space *args);
void WINOGRAD(winograd_space)(const vipo_compute *compute, const vipo_conv_space *args);

#endif
