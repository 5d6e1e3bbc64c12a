#include "weights/weight_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/torch_checkpoint.h"

struct vipo_weight_file {
    char *path;
    vipo_safetensors *safetensors; /* one of these two is NULL */
    vipo_torch_checkpoint *checkpoint;
};

vipo_status vipo_weight_file_open(vipo_weight_file **out, const char *path, vipo_error *error)
{
    *out = NULL;
    vipo_weight_file *file = calloc(1, sizeof *file);
    if (file) file->path = strdup(path);
    vipo_status status;
    if (!file || !file->path)
        status = vipo_fail_memory(error, sizeof *file, "a file object");
    else if (vipo_torch_checkpoint_recognise(path))
        status = vipo_torch_checkpoint_open(&file->checkpoint, path, error);
    else
        status = vipo_safetensors_open(&file->safetensors, path, error);
    if (status != VIPO_OK) vipo_weight_file_close(&file);
    *out = file;
    return status;
}

void vipo_weight_file_close(vipo_weight_file **file_pointer)
{
    vipo_weight_file *file = *file_pointer;
    if (!file) return;
    vipo_safetensors_close(&file->safetensors);
    vipo_torch_checkpoint_close(&file->checkpoint);
    free(file->path);
    free(file);
    *file_pointer = NULL;
}

bool vipo_weight_file_is_torch(const vipo_weight_file *file)
{
    return file->checkpoint != NULL;
}

int vipo_weight_file_count(const vipo_weight_file *file)
{
    return file->checkpoint ? vipo_torch_checkpoint_count(file->checkpoint)
                            : vipo_safetensors_count(file->safetensors);
}

const vipo_tensor_view *vipo_weight_file_at(const vipo_weight_file *file, int i)
{
    return file->checkpoint ? vipo_torch_checkpoint_at(file->checkpoint, i)
                            : vipo_safetensors_at(file->safetensors, i);
}

/* Position in name order, -1 if there is none. */
static int position(const vipo_weight_file *file, const char *name)
{
    int first = 0, end = vipo_weight_file_count(file);
    while (first < end) {
        const int middle = first + (end - first) / 2;
        const int order = strcmp(name, vipo_weight_file_at(file, middle)->name);
        if (order == 0) return middle;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return -1;
}

const vipo_tensor_view *vipo_weight_file_find(const vipo_weight_file *file, const char *name)
{
    const int i = position(file, name);
    return i < 0 ? NULL : vipo_weight_file_at(file, i);
}

vipo_status vipo_weight_file_read(vipo_weight_file *file, const char *name, int rank, const size_t *shape,
                                  float *out, vipo_error *error)
{
    const int i = position(file, name);
    const vipo_tensor_view *view = i < 0 ? NULL : vipo_weight_file_at(file, i);
    VIPO_TRY(vipo_tensor_expect(view, file->path, name, rank, shape, error));
    if (!file->checkpoint) return vipo_tensor_to_finite(view, file->path, out, error);
    vipo_tensor_view loaded;
    VIPO_TRY(vipo_torch_checkpoint_load(file->checkpoint, i, &loaded, error));
    return vipo_tensor_to_finite(&loaded, file->path, out, error);
}

/* ---- reader -------------------------------------------------------------------------------------------- */

static vipo_status reader_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                               vipo_error *error)
{
    vipo_weight_reader *reader = user;
    char full[320];
    snprintf(full, sizeof full, "%s%s", reader->prefix, name);
    VIPO_TRY(vipo_weight_file_read(reader->file, full, rank, shape, out, error));
    reader->used[position(reader->file, full)] = true;
    return VIPO_OK;
}

vipo_status vipo_weight_reader_open(vipo_weight_reader *out, vipo_weight_file *file, const char *prefix,
                                    vipo_error *error)
{
    *out = (vipo_weight_reader){.file = file};
    if (strlen(prefix) >= sizeof out->prefix)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "tensor prefix too long");
    strcpy(out->prefix, prefix);
    const size_t count = (size_t)vipo_weight_file_count(file);
    out->used = calloc(count + 1, sizeof *out->used);
    return out->used ? VIPO_OK : vipo_fail_memory(error, count, "a tensor list");
}

void vipo_weight_reader_close(vipo_weight_reader *reader)
{
    free(reader->used);
    *reader = (vipo_weight_reader){.file = NULL};
}

vipo_weight_source vipo_weight_reader_source(vipo_weight_reader *reader)
{
    return (vipo_weight_source){.user = reader, .read = reader_read};
}

const char *vipo_weight_reader_unused(const vipo_weight_reader *reader, int *count)
{
    const char *first = NULL;
    *count = 0;
    for (int i = 0; i < vipo_weight_file_count(reader->file); i++) {
        const char *name = vipo_weight_file_at(reader->file, i)->name;
        if (reader->used[i] || strncmp(name, reader->prefix, strlen(reader->prefix)) != 0) continue;
        if (!first) first = name;
        ++*count;
    }
    return first;
}

vipo_status vipo_weights_list(const char *path, void (*visit)(void *user, const vipo_tensor_info *info),
                              void *user, vipo_error *error)
{
    vipo_weight_file *file;
    VIPO_TRY(vipo_weight_file_open(&file, path, error));
    for (int i = 0; i < vipo_weight_file_count(file); i++) {
        const vipo_tensor_info info = vipo_tensor_describe(vipo_weight_file_at(file, i));
        visit(user, &info);
    }
    vipo_weight_file_close(&file);
    return VIPO_OK;
}
