/* .npy files: an array that was read and written again is the same array. */
#include "fuzz.h"

#include "core/npy.h"

static const char in_path[] = "fuzz:in.npy", out_path[] = "fuzz:out.npy";

/* The same numbers as doubles, which rounded are the floats. */
static void check_matrix(const vipo_array *array)
{
    double values[64];
    vipo_error error = {0};
    const bool small = array->rank == 2 && vipo_array_size(array) <= 64;
    const size_t rows = small ? array->shape[0] : 3, columns = small ? array->shape[1] : 4;
    const vipo_status status = vipo_npy_read_matrix(in_path, rows, columns, values, &error);
    FUZZ_CHECK((status == VIPO_OK) == small);
    if (status != VIPO_OK) fuzz_check_failure(status, &error);
    for (size_t i = 0; small && i < rows * columns; i++) {
        const float rounded = (float)values[i];
        FUZZ_CHECK(rounded == array->data[i] || rounded != rounded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_array array, again;
    fuzz_file(in_path, data, size);
    const vipo_status status = vipo_npy_read(in_path, &array, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&array, sizeof array));
        FUZZ_CHECK(vipo_npy_parse(data, size, in_path, &again, NULL) == status);
    } else {
        const size_t n = vipo_array_size(&array);
        FUZZ_CHECK(array.rank >= 0 && array.rank <= VIPO_MAX_RANK && n > 0 && n < size);
        FUZZ_CHECK(vipo_npy_write(out_path, &array, &error) == VIPO_OK);
        FUZZ_CHECK(vipo_npy_read(out_path, &again, &error) == VIPO_OK);
        FUZZ_CHECK(again.rank == array.rank && vipo_array_size(&again) == n);
        FUZZ_CHECK(memcmp(again.shape, array.shape, sizeof array.shape) == 0);
        FUZZ_CHECK(memcmp(again.data, array.data, n * sizeof *array.data) == 0);
        check_matrix(&array);
        vipo_array_free(&array);
        vipo_array_free(&again);
    }
    fuzz_forget_files();
    return 0;
}
