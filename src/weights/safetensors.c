#include "weights/safetensors.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mapped_file.h"
#include "core/memory.h"

enum { MAX_HEADER_BYTES = 100000000 }; /* the format's own limit */

struct vipo_safetensors {
    vipo_mapped_file map;
    char *path;
    json_t *header; /* owns the names */
    vipo_tensor_view *tensors;
    int count;
};

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [VIPO_DTYPE_F32] = {"F32", 4},   [VIPO_DTYPE_F16] = {"F16", 2}, [VIPO_DTYPE_BF16] = {"BF16", 2},
    [VIPO_DTYPE_F64] = {"F64", 8},   [VIPO_DTYPE_I64] = {"I64", 8}, [VIPO_DTYPE_I32] = {"I32", 4},
    [VIPO_DTYPE_I16] = {"I16", 2},   [VIPO_DTYPE_I8] = {"I8", 1},   [VIPO_DTYPE_U8] = {"U8", 1},
    [VIPO_DTYPE_BOOL] = {"BOOL", 1},
};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

const char *vipo_dtype_name(vipo_dtype dtype)
{
    return dtypes[dtype].name;
}
size_t vipo_dtype_size(vipo_dtype dtype)
{
    return dtypes[dtype].size;
}

/* Fills one view from its header entry; [begin, end) are offsets into the data section. */
static vipo_status parse_entry(vipo_tensor_view *view, const char *path, const char *name,
                               const json_t *entry, const unsigned char *data, size_t data_size,
                               vipo_error *error)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
        return vipo_fail(error, VIPO_FORMAT, "%s: tensor %.200s: expected dtype, shape and data_offsets",
                         path, name);
    int kind = 0;
    while (kind < DTYPES && strcmp(dtype, dtypes[kind].name) != 0) kind++;
    if (kind == DTYPES)
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "%s: tensor %.200s: unknown dtype \"%.32s\", expected F32, F16, BF16, F64 or an integer type",
            path, name, dtype);
    if (json_array_size(shape) > VIPO_MAX_RANK)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: tensor %.200s: rank %zu, expected at most %d", path,
                         name, json_array_size(shape), VIPO_MAX_RANK);
    view->name = name;
    view->dtype = (vipo_dtype)kind;
    view->rank = (int)json_array_size(shape);
    view->count = 1;
    for (int i = 0; i < view->rank; i++) {
        const json_t *n = json_array_get(shape, (size_t)i);
        if (!json_is_integer(n) || json_integer_value(n) < 0 ||
            !vipo_mul_size(view->count, (size_t)json_integer_value(n), &view->count))
            return vipo_fail(error, VIPO_FORMAT,
                             "%s: tensor %.200s: bad shape, expected sizes that are not negative and "
                             "multiply without overflow",
                             path, name);
        view->shape[i] = (size_t)json_integer_value(n);
    }
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    size_t bytes;
    if (!json_is_integer(first) || !json_is_integer(last) || begin < 0 || end < begin ||
        !vipo_mul_size(view->count, dtypes[kind].size, &bytes) || (size_t)(end - begin) != bytes)
        return vipo_fail(error, VIPO_FORMAT, "%s: tensor %.200s: data_offsets do not fit shape and dtype",
                         path, name);
    if ((size_t)end > data_size)
        return vipo_fail(error, VIPO_FORMAT, "%s: truncated: tensor %.200s ends at byte %lld of %zu", path,
                         name, (long long)end, data_size);
    view->data = data + begin;
    return VIPO_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vipo_tensor_view *)a)->name, ((const vipo_tensor_view *)b)->name);
}

static int by_data(const void *a, const void *b)
{
    const vipo_tensor_view *x = *(const vipo_tensor_view *const *)a, *y = *(const vipo_tensor_view *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->count < y->count ? -1 : x->count > y->count; /* empty tensors first */
}

/* The data section must be covered exactly once. */
static vipo_status check_layout(const vipo_safetensors *file, const unsigned char *data, size_t data_size,
                                vipo_error *error)
{
    const vipo_tensor_view **order = calloc((size_t)file->count + 1, sizeof *order);
    if (!order) return vipo_fail_memory(error, (size_t)file->count * sizeof *order, "a tensor list");
    for (int i = 0; i < file->count; i++) order[i] = &file->tensors[i];
    qsort(order, (size_t)file->count, sizeof *order, by_data);
    size_t at = 0;
    vipo_status status = VIPO_OK;
    for (int i = 0; i < file->count && status == VIPO_OK; i++) {
        if ((const unsigned char *)order[i]->data != data + at)
            status = vipo_fail(error, VIPO_FORMAT,
                               "%s: tensor %.200s: its bytes overlap another's or leave a hole", file->path,
                               order[i]->name);
        at += order[i]->count * dtypes[order[i]->dtype].size;
    }
    if (status == VIPO_OK && at != data_size)
        status = vipo_fail(error, VIPO_FORMAT, "%s: %zu bytes after the last tensor, expected none",
                           file->path, data_size - at);
    free(order);
    return status;
}

static vipo_status parse(vipo_safetensors *file, vipo_error *error)
{
    const unsigned char *bytes = file->map.data;
    uint64_t length = 0;
    if (file->map.size < 8)
        return vipo_fail(error, VIPO_FORMAT, "%s: not a safetensors file: %zu bytes, expected at least 8",
                         file->path, file->map.size);
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > MAX_HEADER_BYTES || bytes[8 < file->map.size ? 8 : 0] != '{')
        return vipo_fail(
            error, VIPO_FORMAT,
            "%s: not a safetensors file: expected the length of a JSON header, at most %d, and the header",
            file->path, (int)MAX_HEADER_BYTES);
    if (length > file->map.size - 8)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: truncated inside its header: %zu bytes, the header alone ends at %llu",
                         file->path, file->map.size, (unsigned long long)length + 8);

    json_error_t json_error;
    file->header = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES, &json_error);
    if (!file->header && json_error_code(&json_error) == json_error_out_of_memory)
        return vipo_fail_memory(error, (size_t)length, file->path);
    if (!json_is_object(file->header))
        return vipo_fail(error, VIPO_FORMAT, "%s: bad header: %s", file->path,
                         file->header ? "not a JSON object" : json_error.text);
    const unsigned char *data = bytes + 8 + length;
    const size_t data_size = file->map.size - 8 - (size_t)length;

    file->tensors = calloc(json_object_size(file->header) + 1, sizeof *file->tensors);
    if (!file->tensors) return vipo_fail_memory(error, json_object_size(file->header), "a tensor list");
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        VIPO_TRY(parse_entry(&file->tensors[file->count], file->path, name, entry, data, data_size, error));
        file->count++;
    }
    VIPO_TRY(check_layout(file, data, data_size, error));
    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
    return VIPO_OK;
}

vipo_status vipo_safetensors_open(vipo_safetensors **out, const char *path, vipo_error *error)
{
    *out = NULL;
    vipo_safetensors *file = calloc(1, sizeof *file);
    if (!file) return vipo_fail_memory(error, sizeof *file, "a file object");
    file->path = strdup(path);
    vipo_status status = file->path ? vipo_mapped_file_open(&file->map, path, error)
                                    : vipo_fail_memory(error, strlen(path), "a file name");
    if (status == VIPO_OK) status = parse(file, error);
    if (status != VIPO_OK) vipo_safetensors_close(&file);
    *out = file;
    return status;
}

void vipo_safetensors_close(vipo_safetensors **file_pointer)
{
    vipo_safetensors *file = *file_pointer;
    if (!file) return;
    vipo_mapped_file_close(&file->map);
    json_decref(file->header);
    free(file->tensors);
    free(file->path);
    free(file);
    *file_pointer = NULL;
}

int vipo_safetensors_count(const vipo_safetensors *file)
{
    return file->count;
}
const vipo_tensor_view *vipo_safetensors_at(const vipo_safetensors *file, int i)
{
    return &file->tensors[i];
}
size_t vipo_safetensors_file_bytes(const vipo_safetensors *file)
{
    return file->map.size;
}

const vipo_tensor_view *vipo_safetensors_find(const vipo_safetensors *file, const char *name)
{
    const vipo_tensor_view key = {.name = name};
    return bsearch(&key, file->tensors, (size_t)file->count, sizeof key, by_name);
}

/* IEEE binary16 to binary32. */
static float half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000U) << 16, exponent = (half >> 10) & 0x1fU;
    uint32_t fraction = half & 0x3ffU, bits;
    if (exponent == 0x1f)
        bits = sign | 0x7f800000U | fraction << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else
        return (sign ? -1.0F : 1.0F) * (float)fraction * 0x1p-24F; /* subnormal or zero */
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float bfloat_to_float(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

vipo_status vipo_tensor_to_float(const vipo_tensor_view *view, const char *file, float *out,
                                 vipo_error *error)
{
    const unsigned char *bytes = view->data;
    switch (view->dtype) {
    case VIPO_DTYPE_F32:
        memcpy(out, bytes, view->count * sizeof *out);
        return VIPO_OK;
    case VIPO_DTYPE_F16:
    case VIPO_DTYPE_BF16:
        for (size_t i = 0; i < view->count; i++) {
            uint16_t half;
            memcpy(&half, bytes + 2 * i, 2);
            out[i] = view->dtype == VIPO_DTYPE_F16 ? half_to_float(half) : bfloat_to_float(half);
        }
        return VIPO_OK;
    case VIPO_DTYPE_F64:
        for (size_t i = 0; i < view->count; i++) {
            double value;
            memcpy(&value, bytes + 8 * i, 8);
            out[i] = (float)value;
        }
        return VIPO_OK;
    default:
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %.200s: expected F32, F16 or BF16, found %s", file,
                         view->name, vipo_dtype_name(view->dtype));
    }
}

vipo_status vipo_tensor_to_double(const vipo_tensor_view *view, const char *file, double *out,
                                  vipo_error *error)
{
    if (view->dtype != VIPO_DTYPE_F64)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %.200s: expected F64, found %s", file, view->name,
                         vipo_dtype_name(view->dtype));
    memcpy(out, view->data, view->count * sizeof *out);
    return VIPO_OK;
}

/* "[3, 128]" */
static void shape_text(char *text, size_t size, int rank, const size_t *shape)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

vipo_status vipo_tensor_expect(const vipo_tensor_view *view, const char *file, const char *name, int rank,
                               const size_t *shape, vipo_error *error)
{
    char expected[128], found[128];
    shape_text(expected, sizeof expected, rank, shape);
    if (!view)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %s is missing, expected shape %s", file, name,
                         expected);
    shape_text(found, sizeof found, view->rank, view->shape);
    if (view->rank != rank || memcmp(view->shape, shape, (size_t)rank * sizeof *shape) != 0)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %s: expected shape %s, found %s", file, name,
                         expected, found);
    return VIPO_OK;
}

vipo_status vipo_tensor_to_finite(const vipo_tensor_view *view, const char *file, float *out,
                                  vipo_error *error)
{
    VIPO_TRY(vipo_tensor_to_float(view, file, out, error));
    for (size_t i = 0; i < view->count; i++)
        if (!isfinite(out[i]))
            return vipo_fail(error, VIPO_NUMERIC,
                             "%s: tensor %s: element %zu is %s, expected a finite number", file, view->name,
                             i, isnan(out[i]) ? "NaN" : "infinite");
    return VIPO_OK;
}

static vipo_status reader_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                               vipo_error *error)
{
    vipo_safetensors_reader *reader = user;
    const char *path = reader->file->path;
    char full[320];
    snprintf(full, sizeof full, "%s%s", reader->prefix, name);
    const vipo_tensor_view *view = vipo_safetensors_find(reader->file, full);
    VIPO_TRY(vipo_tensor_expect(view, path, full, rank, shape, error));
    if (view->dtype == VIPO_DTYPE_F64)
        return vipo_fail(error, VIPO_MISMATCH, "%s: tensor %s: expected F32, F16 or BF16, found F64", path,
                         full);
    VIPO_TRY(vipo_tensor_to_finite(view, path, out, error));
    vipo_mapped_file_release(&reader->file->map, view->data, view->count * vipo_dtype_size(view->dtype));
    reader->used[view - reader->file->tensors] = true;
    return VIPO_OK;
}

vipo_status vipo_safetensors_reader_open(vipo_safetensors_reader *out, const vipo_safetensors *file,
                                         const char *prefix, vipo_error *error)
{
    *out = (vipo_safetensors_reader){.file = file};
    if (strlen(prefix) >= sizeof out->prefix)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "tensor prefix too long");
    strcpy(out->prefix, prefix);
    out->used = calloc((size_t)file->count + 1, sizeof *out->used);
    return out->used ? VIPO_OK : vipo_fail_memory(error, (size_t)file->count, "a tensor list");
}

void vipo_safetensors_reader_close(vipo_safetensors_reader *reader)
{
    free(reader->used);
    *reader = (vipo_safetensors_reader){.file = NULL};
}

vipo_weight_source vipo_safetensors_reader_source(vipo_safetensors_reader *reader)
{
    return (vipo_weight_source){.user = reader, .read = reader_read};
}

const char *vipo_safetensors_reader_unused(const vipo_safetensors_reader *reader, int *count)
{
    const char *first = NULL;
    *count = 0;
    for (int i = 0; i < reader->file->count; i++)
        if (!reader->used[i]) {
            if (!first) first = reader->file->tensors[i].name;
            ++*count;
        }
    return first;
}

vipo_tensor_info vipo_tensor_describe(const vipo_tensor_view *view)
{
    vipo_tensor_info info = {.name = view->name,
                             .dtype = vipo_dtype_name(view->dtype),
                             .rank = view->rank,
                             .bytes = view->count * vipo_dtype_size(view->dtype)};
    memcpy(info.shape, view->shape, sizeof info.shape);
    return info;
}

vipo_status vipo_safetensors_list(const char *path, void (*visit)(void *user, const vipo_tensor_info *info),
                                  void *user, vipo_error *error)
{
    vipo_safetensors *file;
    VIPO_TRY(vipo_safetensors_open(&file, path, error));
    for (int i = 0; i < file->count; i++) {
        const vipo_tensor_info info = vipo_tensor_describe(&file->tensors[i]);
        visit(user, &info);
    }
    vipo_safetensors_close(&file);
    return VIPO_OK;
}
