#include "weights/safetensors_writer.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum { CHUNK = 4096 }; /* elements converted at a time */

static bool entry_bytes(const vipo_tensor_entry *entry, vipo_dtype dtype, size_t *count, size_t *bytes)
{
    *count = 1;
    for (int i = 0; i < entry->rank; i++)
        if (!vipo_mul_size(*count, entry->shape[i], count)) return false;
    return vipo_mul_size(*count, vipo_dtype_size(dtype), bytes);
}

/* The header's JSON text with spaces after it, so that the data begins at a multiple of 8. */
static char *header_text(const vipo_safetensors_writer *w, size_t *length)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    json_int_t at = 0;
    for (int i = 0; i < w->count; i++) {
        const vipo_tensor_entry *entry = &w->entries[i];
        size_t count, bytes;
        if (!entry_bytes(entry, w->dtype, &count, &bytes)) break;
        json_t *shape = json_array();
        for (int d = 0; d < entry->rank; d++)
            json_array_append_new(shape, json_integer((json_int_t)entry->shape[d]));
        const json_int_t end = at + (json_int_t)bytes;
        json_object_set_new(header, entry->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", vipo_dtype_name(w->dtype), "shape",
                                      shape, "data_offsets", at, end));
        at = end;
    }
    const bool complete = json_object_size(header) == (size_t)w->count + 1;
    char *text = complete ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) return NULL;
    *length = (strlen(text) + 7) / 8 * 8;
    char *padded = malloc(*length);
    if (padded) {
        memset(padded, ' ', *length);
        memcpy(padded, text, strlen(text));
    }
    free(text);
    return padded;
}

vipo_status vipo_safetensors_writer_open(vipo_safetensors_writer *out, const char *path, vipo_dtype dtype,
                                         const vipo_tensor_entry *entries, int count, vipo_error *error)
{
    *out = (vipo_safetensors_writer){.dtype = dtype, .entries = entries, .count = count};
    size_t length;
    char *text = header_text(out, &length);
    if (!text) return vipo_fail_memory(error, (size_t)count, "a safetensors header");
    vipo_status status = vipo_file_output_open(&out->output, path, error);
    if (status == VIPO_OK) {
        unsigned char size[8];
        for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)length >> (8 * i) & 0xff);
        status = vipo_file_output_write(&out->output, size, sizeof size, error);
    }
    if (status == VIPO_OK) status = vipo_file_output_write(&out->output, text, length, error);
    free(text);
    if (status != VIPO_OK) vipo_safetensors_writer_abandon(out);
    return status;
}

/* binary32 to binary16, ties to even; infinity if it is too large. */
static uint16_t float_to_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000U);
    const uint32_t magnitude = bits & 0x7fffffffU;
    if (magnitude >= 0x477ff000U) return (uint16_t)(sign | 0x7c00U); /* 65520 and above */
    if (magnitude < 0x38800000U)                                     /* below 2^-14: steps of 2^-24 */
        return (uint16_t)(sign | (uint16_t)lrintf(fabsf(value) * 0x1p24F));
    const uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
    return (uint16_t)(sign | (uint16_t)((rounded >> 13) - (112U << 10)));
}

static uint16_t float_to_bfloat(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

static vipo_status put_halves(vipo_safetensors_writer *w, const char *name, const float *values, size_t count,
                              vipo_error *error)
{
    const bool is_half = w->dtype == VIPO_DTYPE_F16;
    const uint16_t infinity = is_half ? 0x7c00U : 0x7f80U;
    uint16_t halves[CHUNK];
    for (size_t done = 0; done < count;) {
        const size_t n = count - done < CHUNK ? count - done : CHUNK;
        for (size_t i = 0; i < n; i++) {
            const float value = values[done + i];
            halves[i] = is_half ? float_to_half(value) : float_to_bfloat(value);
            if ((halves[i] & 0x7fffU) >= infinity)
                return vipo_fail(error, VIPO_NUMERIC, "%s: tensor %s: element %zu is %g, too large for %s",
                                 w->output.path, name, done + i, (double)value, vipo_dtype_name(w->dtype));
        }
        VIPO_TRY(vipo_file_output_write(&w->output, halves, n * sizeof *halves, error));
        done += n;
    }
    return VIPO_OK;
}

/* The next entry of the header. */
static vipo_status next_entry(vipo_safetensors_writer *w, const vipo_tensor_entry **entry, size_t *count,
                              size_t *bytes, vipo_error *error)
{
    if (w->next == w->count)
        return vipo_fail(error, VIPO_INTERNAL, "%s: more tensors than its header lists", w->output.path);
    *entry = &w->entries[w->next++];
    if (!entry_bytes(*entry, w->dtype, count, bytes))
        return vipo_fail(error, VIPO_INTERNAL, "%s: tensor %s is too large", w->output.path, (*entry)->name);
    return VIPO_OK;
}

vipo_status vipo_safetensors_writer_add(vipo_safetensors_writer *w, const float *values, vipo_error *error)
{
    const vipo_tensor_entry *entry = NULL;
    size_t count = 0, bytes = 0;
    VIPO_TRY(next_entry(w, &entry, &count, &bytes, error));
    return w->dtype == VIPO_DTYPE_F32 ? vipo_file_output_write(&w->output, values, bytes, error)
                                      : put_halves(w, entry->name, values, count, error);
}

vipo_status vipo_safetensors_writer_add_double(vipo_safetensors_writer *w, const double *values,
                                               vipo_error *error)
{
    const vipo_tensor_entry *entry = NULL;
    size_t count = 0, bytes = 0;
    VIPO_TRY(next_entry(w, &entry, &count, &bytes, error));
    return vipo_file_output_write(&w->output, values, bytes, error);
}

vipo_status vipo_safetensors_writer_commit(vipo_safetensors_writer *w, vipo_error *error)
{
    if (w->next == w->count) return vipo_file_output_commit(&w->output, error);
    const vipo_status status = vipo_fail(error, VIPO_INTERNAL, "%s: %d of %d tensors were written",
                                         w->output.path, w->next, w->count);
    vipo_safetensors_writer_abandon(w);
    return status;
}

void vipo_safetensors_writer_abandon(vipo_safetensors_writer *w)
{
    vipo_file_output_abandon(&w->output);
}
