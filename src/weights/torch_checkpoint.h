/* Checkpoints that torch.save writes (PyTorch 1.6 and later): a zip archive with data.pkl, which describes
 * nested dicts of tensors, and one entry per storage, data/KEY. Opening maps the file and reads data.pkl with
 * a reader that runs nothing (weights/pickle.h); storages are read when they are asked for, one at a time. */
#ifndef VIPO_WEIGHTS_TORCH_CHECKPOINT_H
#define VIPO_WEIGHTS_TORCH_CHECKPOINT_H

#include "weights/safetensors.h"

typedef struct vipo_torch_checkpoint vipo_torch_checkpoint;

/* VIPO_FORMAT: truncated, damaged, no such file; VIPO_UNSUPPORTED: the format before 1.6, TorchScript,
 * big-endian, encrypted, a zip bomb, names that leave the archive's folder, a pickle that wants to run
 * something. */
vipo_status vipo_torch_checkpoint_open(vipo_torch_checkpoint **out, const char *path, vipo_error *error);
void vipo_torch_checkpoint_close(vipo_torch_checkpoint **checkpoint);

int vipo_torch_checkpoint_count(const vipo_torch_checkpoint *checkpoint);
/* Tensor i in name order, without data. Names join the keys of nested dicts with '/':
 * "ema/ema_model.betas". */
const vipo_tensor_view *vipo_torch_checkpoint_at(const vipo_torch_checkpoint *checkpoint, int i);

/* Reads the storage of tensor i; *out is the tensor with its elements in C order, borrowed until the next
 * call, zeroed on failure. VIPO_FORMAT if the entry is damaged (checksum) or of another size than it says;
 * VIPO_UNSUPPORTED for a view that repeats its elements (stride 0) into much more than its storage. */
vipo_status vipo_torch_checkpoint_load(vipo_torch_checkpoint *checkpoint, int i, vipo_tensor_view *out,
                                       vipo_error *error);

/* True if the first bytes say zip archive or pickle: for choosing between formats. */
bool vipo_torch_checkpoint_recognise(const char *path);

#endif
