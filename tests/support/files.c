#include "support/files.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/safetensors.h"

const char *test_file_write(const char *path, const void *data, size_t size)
{
    remove(path); /* it may be a link into the source tree */
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    if (size > 0) assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

char *test_file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot read %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long end = ftell(file);
    assert_true(end >= 0);
    rewind(file);
    char *data = malloc((size_t)end + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)end, file), (size_t)end);
    data[end] = '\0';
    fclose(file);
    if (size) *size = (size_t)end;
    return data;
}

void test_tensors_add(test_tensors *tensors, const char *name, const char *dtype, int rank,
                      const size_t *shape, const void *data, size_t bytes)
{
    test_tensor *list = realloc(tensors->list, ((size_t)tensors->count + 1) * sizeof *list);
    assert_non_null(list);
    tensors->list = list;
    test_tensor *tensor = &list[tensors->count++];
    memset(tensor, 0, sizeof *tensor);
    assert_true(strlen(name) < sizeof tensor->name && strlen(dtype) < sizeof tensor->dtype);
    strcpy(tensor->name, name);
    strcpy(tensor->dtype, dtype);
    assert_true(rank <= TEST_TENSOR_RANK);
    tensor->rank = rank;
    if (rank > 0) memcpy(tensor->shape, shape, (size_t)rank * sizeof *shape);
    tensor->bytes = bytes;
    tensor->data = calloc(bytes + 1, 1);
    assert_non_null(tensor->data);
    if (data && bytes > 0) memcpy(tensor->data, data, bytes);
}

test_tensor *test_tensors_find(test_tensors *tensors, const char *name)
{
    for (int i = 0; i < tensors->count; i++)
        if (strcmp(tensors->list[i].name, name) == 0) return &tensors->list[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void write_length(FILE *file, uint64_t length)
{
    for (int i = 0; i < 8; i++) fputc((int)(length >> (8 * i) & 0xff), file);
}

void test_tensors_write(const test_tensors *tensors, const char *path)
{
    json_t *header = json_object();
    json_int_t at = 0;
    if (tensors->metadata)
        json_object_set_new(header, "__metadata__", json_loads(tensors->metadata, JSON_DECODE_ANY, NULL));
    for (int i = 0; i < tensors->count; i++) {
        const test_tensor *tensor = &tensors->list[i];
        json_t *shape = json_array();
        for (int d = 0; d < tensor->rank; d++)
            json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->dtype, "shape", shape,
                                  "data_offsets", at, at + (json_int_t)tensor->bytes);
        assert_int_equal(json_object_set_new(header, tensor->name, entry), 0);
        at += (json_int_t)tensor->bytes;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    assert_non_null(text);
    remove(path);
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    write_length(file, strlen(text));
    fputs(text, file);
    for (int i = 0; i < tensors->count; i++)
        assert_int_equal(fwrite(tensors->list[i].data, 1, tensors->list[i].bytes, file),
                         tensors->list[i].bytes);
    assert_int_equal(fclose(file), 0);
    free(text);
}

void test_tensors_read(test_tensors *out, const char *path)
{
    vipo_error error = {0};
    vipo_safetensors *file;
    assert_ok(vipo_safetensors_open(&file, path, &error), &error);
    memset(out, 0, sizeof *out);
    for (int i = 0; i < vipo_safetensors_count(file); i++) {
        const vipo_tensor_view *view = vipo_safetensors_at(file, i);
        test_tensors_add(out, view->name, vipo_dtype_name(view->dtype), view->rank, view->shape, view->data,
                         view->count * vipo_dtype_size(view->dtype));
    }
    vipo_safetensors_close(&file);
}

void test_tensors_to_f32(test_tensors *tensors)
{
    for (int i = 0; i < tensors->count; i++) {
        test_tensor *tensor = &tensors->list[i];
        const vipo_dtype dtype = strcmp(tensor->dtype, "F16") == 0    ? VIPO_DTYPE_F16
                                 : strcmp(tensor->dtype, "BF16") == 0 ? VIPO_DTYPE_BF16
                                 : strcmp(tensor->dtype, "F64") == 0  ? VIPO_DTYPE_F64
                                                                      : VIPO_DTYPE_F32;
        if (dtype == VIPO_DTYPE_F32) continue;
        vipo_error error = {0};
        const vipo_tensor_view view = {.name = tensor->name,
                                       .dtype = dtype,
                                       .count = tensor->bytes / vipo_dtype_size(dtype),
                                       .data = tensor->data};
        float *floats = malloc(view.count * sizeof *floats + 1);
        assert_non_null(floats);
        assert_ok(vipo_tensor_to_float(&view, "a test", floats, &error), &error);
        free(tensor->data);
        tensor->data = (unsigned char *)floats;
        tensor->bytes = view.count * sizeof *floats;
        strcpy(tensor->dtype, "F32");
    }
}

void test_tensors_free(test_tensors *tensors)
{
    for (int i = 0; i < tensors->count; i++) free(tensors->list[i].data);
    free(tensors->list);
    memset(tensors, 0, sizeof *tensors);
}

const char *test_safetensors_raw(const char *path, const char *header, uint64_t declared, size_t data_size)
{
    remove(path);
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    write_length(file, declared);
    fputs(header, file);
    for (size_t i = 0; i < data_size; i++) fputc(0, file);
    assert_int_equal(fclose(file), 0);
    return path;
}
