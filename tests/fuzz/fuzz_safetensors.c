/* safetensors files: what opens is consistent, and floats written again read the same. */
#include "fuzz.h"

#include <math.h>

#include "weights/safetensors_writer.h"
#include "weights/weight_file.h"

static const char path[] = "fuzz:in.safetensors", copy_path[] = "fuzz:copy.safetensors";

static bool is_float(vipo_dtype dtype)
{
    return dtype == VIPO_DTYPE_F32 || dtype == VIPO_DTYPE_F16 || dtype == VIPO_DTYPE_BF16 ||
           dtype == VIPO_DTYPE_F64;
}

static float *read_floats(const vipo_tensor_view *view, bool *finite)
{
    vipo_error error = {0};
    float *values = malloc((view->count + 1) * sizeof *values);
    FUZZ_CHECK(values);
    const vipo_status status = vipo_tensor_to_float(view, path, values, &error);
    FUZZ_CHECK((status == VIPO_OK) == is_float(view->dtype));
    *finite = status == VIPO_OK;
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        return values;
    }
    if (view->dtype == VIPO_DTYPE_F32 && view->count > 0)
        FUZZ_CHECK(memcmp(values, view->data, view->count * sizeof *values) == 0);
    for (size_t i = 0; i < view->count; i++) *finite = *finite && isfinite(values[i]);
    const vipo_status again = vipo_tensor_to_finite(view, path, values, &error);
    FUZZ_CHECK((again == VIPO_OK) == *finite);
    if (again != VIPO_OK) fuzz_check_failure(again, &error);
    return values;
}

/* One tensor, written as F32 under its name, opens and holds the same bits. */
static void check_copy(const vipo_tensor_view *view, const float *values)
{
    vipo_error error = {0};
    vipo_tensor_entry entry = {.name = view->name, .rank = view->rank};
    memcpy(entry.shape, view->shape, sizeof entry.shape);
    vipo_safetensors_writer writer;
    FUZZ_CHECK(vipo_safetensors_writer_open(&writer, copy_path, VIPO_DTYPE_F32, &entry, 1, &error) ==
               VIPO_OK);
    FUZZ_CHECK(vipo_safetensors_writer_add(&writer, values, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_safetensors_writer_commit(&writer, &error) == VIPO_OK);
    vipo_safetensors *copy;
    FUZZ_CHECK(vipo_safetensors_open(&copy, copy_path, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_safetensors_count(copy) == 1);
    const vipo_tensor_view *read = vipo_safetensors_find(copy, view->name);
    FUZZ_CHECK(read && read->count == view->count && read->rank == view->rank);
    FUZZ_CHECK(memcmp(read->shape, view->shape, (size_t)view->rank * sizeof view->shape[0]) == 0);
    FUZZ_CHECK(view->count == 0 || memcmp(read->data, values, view->count * sizeof *values) == 0);
    vipo_safetensors_close(&copy);
}

static void check_tensor(const vipo_safetensors *file, int i)
{
    const vipo_tensor_view *view = vipo_safetensors_at(file, i);
    FUZZ_CHECK(view->rank >= 0 && view->rank <= VIPO_MAX_RANK);
    FUZZ_CHECK(vipo_safetensors_find(file, view->name) == view);
    FUZZ_CHECK(i == 0 || strcmp(vipo_safetensors_at(file, i - 1)->name, view->name) < 0);
    size_t count = 1;
    for (int d = 0; d < view->rank; d++) count *= view->shape[d];
    FUZZ_CHECK(count == view->count);
    const vipo_tensor_info info = vipo_tensor_describe(view);
    FUZZ_CHECK(info.bytes == count * vipo_dtype_size(view->dtype));
    bool finite;
    float *values = read_floats(view, &finite);
    if (finite && strcmp(view->name, "__metadata__") != 0) check_copy(view, values);
    free(values);
}

/* A network's way of reading: by name and shape. */
static void check_reader(const vipo_safetensors *file)
{
    vipo_error error = {0};
    vipo_safetensors_reader reader;
    FUZZ_CHECK(vipo_safetensors_reader_open(&reader, file, "unet.", &error) == VIPO_OK);
    const vipo_weight_source source = vipo_safetensors_reader_source(&reader);
    float values[6];
    const size_t shape[2] = {2, 3};
    const vipo_status status = source.read(source.user, "w", 2, shape, values, &error);
    if (status != VIPO_OK) fuzz_check_failure(status, &error);
    int unused = 0;
    const char *name = vipo_safetensors_reader_unused(&reader, &unused);
    FUZZ_CHECK(unused == vipo_safetensors_count(file) - (status == VIPO_OK) &&
               (unused > 0) == (name != NULL));
    vipo_safetensors_reader_close(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_safetensors *file;
    fuzz_file(path, data, size);
    const vipo_status status = vipo_safetensors_open(&file, path, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(!file);
    } else {
        size_t bytes = 0;
        FUZZ_CHECK(vipo_safetensors_file_bytes(file) == size);
        for (int i = 0; i < vipo_safetensors_count(file); i++) {
            check_tensor(file, i);
            bytes += vipo_tensor_describe(vipo_safetensors_at(file, i)).bytes;
        }
        FUZZ_CHECK(bytes < size);
        check_reader(file);
        vipo_safetensors_close(&file);
        FUZZ_CHECK(!file);
    }

    /* The way in that tells formats apart gives the same answer. */
    vipo_weight_file *either;
    error = (vipo_error){0};
    const vipo_status second = vipo_weight_file_open(&either, path, &error);
    if (second == VIPO_OK) {
        FUZZ_CHECK(vipo_weight_file_is_torch(either) || status == VIPO_OK);
        vipo_weight_file_close(&either);
    } else {
        fuzz_check_failure(second, &error);
        FUZZ_CHECK(!either && status != VIPO_OK);
    }
    fuzz_forget_files();
    return 0;
}
