/* Convolution of three taps over frames by Winograd's F(4, 3). */
#ifndef VIPO_COMPUTE_BLOCKED_WINOGRAD_TIME_H
#define VIPO_COMPUTE_BLOCKED_WINOGRAD_TIME_H

#include "compute/blocked/blocked.h"

/* Floats of the transformed weights: [panel][product][in][columns of the panel]. */
size_t BLOCKED(winograd_time_floats)(const vipo_layer *layer);
void BLOCKED(winograd_time_pack)(const vipo_layer *layer, const float *weights, float *memory,
                                 vipo_pool *pool);

/* Calls need two frames or more. */
size_t BLOCKED(winograd_time_scratch)(const vipo_conv_time *args);
void BLOCKED(winograd_time)(const vipo_compute *compute, const vipo_conv_time *args);

#endif
