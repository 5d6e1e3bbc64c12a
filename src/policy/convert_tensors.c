#include "policy/convert_tensors.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/memory.h"

vipo_status vipo_convert_dtype(const char *name, vipo_dtype *out, vipo_error *error)
{
    static const struct {
        const char *name;
        vipo_dtype dtype;
    } dtypes[] = {{"f32", VIPO_DTYPE_F32}, {"f16", VIPO_DTYPE_F16}, {"bf16", VIPO_DTYPE_BF16}};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(name, dtypes[i].name) != 0) continue;
        *out = dtypes[i].dtype;
        return VIPO_OK;
    }
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "dtype: \"%.40s\", expected f32, f16 or bf16", name);
}

const char *vipo_convert_dtype_text(vipo_dtype dtype)
{
    return dtype == VIPO_DTYPE_F32 ? "float32" : dtype == VIPO_DTYPE_F16 ? "float16" : "bfloat16";
}

vipo_status vipo_convert_check(const vipo_tensor_list *list, const vipo_weight_file *file, const char *path,
                               const char *prefix, bool others, vipo_error *error)
{
    char full[320];
    int held = 0;
    for (int i = 0; i < list->count; i++) {
        const vipo_tensor_entry *entry = &list->entries[i];
        snprintf(full, sizeof full, "%s%s", prefix, entry->name);
        VIPO_TRY(vipo_tensor_expect(vipo_weight_file_find(file, full), path, full, entry->rank, entry->shape,
                                    error));
    }
    if (others) return VIPO_OK;
    for (int i = 0; i < vipo_weight_file_count(file); i++)
        held += strncmp(vipo_weight_file_at(file, i)->name, prefix, strlen(prefix)) == 0;
    if (held == list->count) return VIPO_OK;
    for (int i = 0; i < vipo_weight_file_count(file); i++) {
        const char *name = vipo_weight_file_at(file, i)->name;
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        int j = 0;
        while (j < list->count && strcmp(list->entries[j].name, name + strlen(prefix)) != 0) j++;
        if (j < list->count) continue;
        return vipo_fail(error, VIPO_MISMATCH,
                         "%s: %d tensors are not part of the network described, the first is %s", path,
                         held - list->count, name);
    }
    return VIPO_OK;
}

vipo_status vipo_convert_copy(const vipo_tensor_list *list, vipo_weight_reader *reader, const char *path,
                              vipo_dtype dtype, vipo_convert_progress *progress, vipo_error *error)
{
    size_t largest = 0;
    for (int i = 0; i < list->count; i++) {
        const size_t count = vipo_tensor_entry_count(&list->entries[i]);
        if (count > largest) largest = count;
    }
    float *values = vipo_aligned_calloc(largest, sizeof *values);
    if (!values) return vipo_fail_memory(error, largest * sizeof *values, "a tensor");
    vipo_safetensors_writer writer;
    const vipo_weight_source source = vipo_weight_reader_source(reader);
    vipo_status status =
        vipo_safetensors_writer_open(&writer, path, dtype, list->entries, list->count, error);
    for (int i = 0; i < list->count && status == VIPO_OK; i++) {
        const vipo_tensor_entry *entry = &list->entries[i];
        status = vipo_check_cancelled(progress->callbacks, error);
        if (status == VIPO_OK)
            status = source.read(source.user, entry->name, entry->rank, entry->shape, values, error);
        if (status == VIPO_OK) status = vipo_safetensors_writer_add(&writer, values, error);
        progress->done += (double)vipo_tensor_entry_count(entry);
        vipo_progress(progress->callbacks, "convert", progress->done, progress->total);
    }
    if (status == VIPO_OK)
        status = vipo_safetensors_writer_commit(&writer, error);
    else
        vipo_safetensors_writer_abandon(&writer);
    vipo_aligned_free(values);
    return status;
}
