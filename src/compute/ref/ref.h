/* The reference ops, also used by other tables for slots that they do not overwrite. */
#ifndef VIPO_COMPUTE_REF_REF_H
#define VIPO_COMPUTE_REF_REF_H

#include "compute/ops.h"

struct ref_task {
    const vipo_compute *compute;
    const void *args;
};

/* sum[o] += x[c] weights[c][o]: reference weights are packed [tap][in][out]. */
void vipo_ref_accumulate(double *restrict sum, const double *restrict x, const float *restrict weights,
                         size_t in, size_t out);

double vipo_ref_activate(double x, vipo_activation activation);

bool vipo_ref_knows(const vipo_layer *layer, vipo_method method);
vipo_method vipo_ref_choose(const vipo_layer *layer);
size_t vipo_ref_packed_floats(const vipo_layer *layer, vipo_method method);
void vipo_ref_pack(const vipo_layer *layer, vipo_method method, const float *weights, const float *bias,
                   float *memory, vipo_packed *packed, vipo_pool *pool);
size_t vipo_ref_conv_space_scratch(const vipo_conv_space *args);
size_t vipo_ref_conv_time_scratch(const vipo_conv_time *args);
size_t vipo_ref_linear_scratch(const vipo_linear *args);
size_t vipo_ref_attention_scratch(const vipo_attention *args);
void vipo_ref_conv_space(const vipo_compute *compute, const vipo_conv_space *args);
void vipo_ref_conv_time(const vipo_compute *compute, const vipo_conv_time *args);
void vipo_ref_group_norm(const vipo_compute *compute, const vipo_group_norm *args);
void vipo_ref_linear(const vipo_compute *compute, const vipo_linear *args);
void vipo_ref_attention(const vipo_compute *compute, const vipo_attention *args);
void vipo_ref_layer_norm(const vipo_compute *compute, const vipo_layer_norm *args);
size_t vipo_ref_conv_window_scratch(const vipo_conv_window *args);
void vipo_ref_conv_window(const vipo_compute *compute, const vipo_conv_window *args);
void vipo_ref_norm_act(const vipo_compute *compute, const vipo_norm_act *args);
void vipo_ref_correlation(const vipo_compute *compute, const vipo_correlation *args);

#endif
