/* The tensors that a network of given sizes wants to read: names and shapes, in the order of reading. */
#ifndef VIPO_POLICY_TENSOR_LIST_H
#define VIPO_POLICY_TENSOR_LIST_H

#include "nets/config.h"
#include "nets/policy_config.h"
#include "weights/safetensors_writer.h"

/* Begin with a zeroed struct; release in every case. */
typedef struct vipo_tensor_list {
    vipo_tensor_entry *entries; /* names owned */
    int count, capacity;
} vipo_tensor_list;

/* The UNet with its Perceiver, and the text encoder. No weights are needed and next to no memory is used. */
vipo_status vipo_tensor_list_unet(vipo_tensor_list *list, const vipo_unet_config *config, vipo_error *error);
vipo_status vipo_tensor_list_text(vipo_tensor_list *list, const vipo_text_config *config, vipo_error *error);
/* An action policy. */
vipo_status vipo_tensor_list_policy(vipo_tensor_list *list, const vipo_policy_config *config,
                                    vipo_error *error);
/* The optical flow network. */
vipo_status vipo_tensor_list_unimatch(vipo_tensor_list *list, vipo_error *error);
void vipo_tensor_list_free(vipo_tensor_list *list);

/* Numbers in one tensor. */
size_t vipo_tensor_entry_count(const vipo_tensor_entry *entry);

#endif
