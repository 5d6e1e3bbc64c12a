/* Public vipo_array. */
#include <math.h>
#include <string.h>

#include "core/memory.h"

size_t vipo_array_size(const vipo_array *array)
{
    size_t n = 1;
    for (int i = 0; i < array->rank; i++) n *= array->shape[i];
    return array->data ? n : 0;
}

vipo_status vipo_array_alloc(vipo_array *out, int rank, const size_t *shape, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    if (rank < 0 || rank > VIPO_MAX_RANK)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "array rank %d, expected 0..%d", rank, VIPO_MAX_RANK);
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        if (!vipo_mul_size(n, shape[i], &n))
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "array shape overflows");
    if (n == 0) return vipo_fail(error, VIPO_INVALID_ARGUMENT, "array with a dimension of 0");
    float *data = vipo_aligned_calloc(n, sizeof *data);
    if (!data)
        return vipo_fail_memory(error, n > SIZE_MAX / sizeof *data ? SIZE_MAX : n * sizeof *data, "an array");
    out->data = data;
    out->rank = rank;
    memcpy(out->shape, shape, (size_t)rank * sizeof *shape);
    return VIPO_OK;
}

void vipo_array_free(vipo_array *array)
{
    if (!array) return;
    vipo_aligned_free(array->data);
    memset(array, 0, sizeof *array);
}

double vipo_array_rms_difference(const vipo_array *a, const vipo_array *b)
{
    const size_t n = vipo_array_size(a);
    if (n == 0 || n != vipo_array_size(b)) return NAN;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a->data[i] - (double)b->data[i];
        sum += d * d;
    }
    return sqrt(sum / (double)n);
}
