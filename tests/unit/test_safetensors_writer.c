/* Writing safetensors files: what is read back, rounding, and what is left after a failure. */
#include "support/files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/safetensors_writer.h"

static const float some[6] = {0.1F, -2, 3e-6F, 1024.5F, 0, -1e-3F};
static const vipo_tensor_entry entries[] = {
    {"b.weight", 2, {2, 3}}, {"a.scalar", 0, {0}}, {"empty", 2, {0, 3}}, {"a.bias", 1, {3}}};
enum { ENTRIES = sizeof entries / sizeof entries[0] };

static void write_all(const char *path, vipo_dtype dtype)
{
    vipo_error error = {0};
    vipo_safetensors_writer writer;
    assert_ok(vipo_safetensors_writer_open(&writer, path, dtype, entries, ENTRIES, &error), &error);
    for (int i = 0; i < ENTRIES; i++) assert_ok(vipo_safetensors_writer_add(&writer, some, &error), &error);
    assert_int_equal(vipo_safetensors_writer_add(&writer, some, &error), VIPO_INTERNAL);
    assert_ok(vipo_safetensors_writer_commit(&writer, &error), &error);
    vipo_safetensors_writer_abandon(&writer);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const vipo_dtype dtypes[] = {VIPO_DTYPE_F32, VIPO_DTYPE_F16, VIPO_DTYPE_BF16};
    static const double precision[] = {0, 0x1p-11, 0x1p-8};
    const char *path = test_temporary("three.safetensors");
    for (int d = 0; d < 3; d++) {
        vipo_error error = {0};
        vipo_safetensors *file;
        float found[6];
        write_all(path, dtypes[d]);
        assert_ok(vipo_safetensors_open(&file, path, &error), &error);
        assert_int_equal(vipo_safetensors_count(file), ENTRIES);
        for (int i = 0; i < ENTRIES; i++) {
            const vipo_tensor_view *view = vipo_safetensors_find(file, entries[i].name);
            assert_ok(
                vipo_tensor_expect(view, path, entries[i].name, entries[i].rank, entries[i].shape, &error),
                &error);
            assert_int_equal(view->dtype, dtypes[d]);
            assert_int_equal((uintptr_t)view->data % vipo_dtype_size(dtypes[d]), 0);
            assert_ok(vipo_tensor_to_float(view, path, found, &error), &error);
            for (size_t k = 0; k < view->count; k++)
                assert_true(fabs((double)found[k] - (double)some[k]) <=
                            precision[d] * fabs((double)some[k]) + (precision[d] > 0 ? 0x1p-25 : 0));
        }
        vipo_safetensors_close(&file);
    }
}

static uint16_t written_half(float value, vipo_dtype dtype, vipo_status *status)
{
    static const vipo_tensor_entry entry = {"x", 1, {1}};
    const char *path = test_temporary("half.safetensors");
    vipo_error error = {0};
    vipo_safetensors_writer writer;
    assert_ok(vipo_safetensors_writer_open(&writer, path, dtype, &entry, 1, &error), &error);
    *status = vipo_safetensors_writer_add(&writer, &value, &error);
    if (*status != VIPO_OK) {
        assert_non_null(strstr(error.message, "too large for"));
        vipo_safetensors_writer_abandon(&writer);
        return 0;
    }
    assert_ok(vipo_safetensors_writer_commit(&writer, &error), &error);
    size_t size;
    char *bytes = test_file_read(path, &size);
    uint16_t half;
    memcpy(&half, bytes + size - 2, 2);
    free(bytes);
    return half;
}

static void test_rounding(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t half, bfloat;
    } cases[] = {
        {0.0F, 0, 0},
        {-0.0F, 0x8000, 0x8000},
        {1.0F, 0x3c00, 0x3f80},
        {-2.0F, 0xc000, 0xc000},
        {1.0F + 0x1p-11F, 0x3c00, 0x3f80}, /* ties to even */
        {1.0F + 0x3p-11F, 0x3c02, 0x3f80},
        {1.0F + 0x1p-8F, 0x3c04, 0x3f80},
        {1.0F + 0x3p-8F, 0x3c0c, 0x3f82},
        {65504.0F, 0x7bff, 0x4780},
        {65519.0F, 0x7bff, 0x4780},
        {0x1p-14F, 0x0400, 0x3880},
        {0x1p-24F, 0x0001, 0x3380},
        {0x1p-25F, 0x0000, 0x3300}, /* a tie */
        {0x1.8p-24F, 0x0002, 0x33c0},
        {0x1.ff8p-15F, 0x03ff, 0x3880},
        {0x1.ffcp-15F, 0x0400, 0x3880},
        {-0x1p-26F, 0x8000, 0xb280},
    };
    vipo_status status;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint16_t half = written_half(cases[i].value, VIPO_DTYPE_F16, &status);
        if (half != cases[i].half)
            fail_msg("%a: F16 %04x, expected %04x", (double)cases[i].value, half, cases[i].half);
        const uint16_t bfloat = written_half(cases[i].value, VIPO_DTYPE_BF16, &status);
        if (bfloat != cases[i].bfloat)
            fail_msg("%a: BF16 %04x, expected %04x", (double)cases[i].value, bfloat, cases[i].bfloat);
    }
    written_half(65520.0F, VIPO_DTYPE_F16, &status);
    assert_int_equal(status, VIPO_NUMERIC);
    written_half(-1e6F, VIPO_DTYPE_F16, &status);
    assert_int_equal(status, VIPO_NUMERIC);
    written_half(3.4e38F, VIPO_DTYPE_BF16, &status);
    assert_int_equal(status, VIPO_NUMERIC);
    assert_int_equal(written_half(3.38e38F, VIPO_DTYPE_BF16, &status), 0x7f7e);
}

/* Every F16 and BF16 number is written as it was read. */
static void test_all_halves(void **state)
{
    (void)state;
    static const vipo_dtype dtypes[] = {VIPO_DTYPE_F16, VIPO_DTYPE_BF16};
    const char *path = test_temporary("all.safetensors");
    for (int d = 0; d < 2; d++) {
        const uint16_t exponent = d == 0 ? 0x7c00 : 0x7f80;
        uint16_t *halves = malloc(65536 * sizeof *halves);
        float *floats = malloc(65536 * sizeof *floats);
        assert_non_null(halves);
        assert_non_null(floats);
        size_t n = 0;
        for (unsigned i = 0; i < 65536; i++)
            if ((i & exponent) != exponent) halves[n++] = (uint16_t)i;
        const vipo_tensor_view view = {.name = "x", .dtype = dtypes[d], .count = n, .data = halves};
        const vipo_tensor_entry entry = {"x", 1, {n}};
        vipo_error error = {0};
        vipo_safetensors_writer writer;
        assert_ok(vipo_tensor_to_float(&view, "a test", floats, &error), &error);
        assert_ok(vipo_safetensors_writer_open(&writer, path, dtypes[d], &entry, 1, &error), &error);
        assert_ok(vipo_safetensors_writer_add(&writer, floats, &error), &error);
        assert_ok(vipo_safetensors_writer_commit(&writer, &error), &error);
        size_t size;
        char *bytes = test_file_read(path, &size);
        assert_memory_equal(bytes + size - n * 2, halves, n * 2);
        free(bytes);
        free(halves);
        free(floats);
    }
}

static void test_failures(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_safetensors_writer writer;
    const char *path = test_temporary("unfinished.safetensors");
    assert_ok(vipo_safetensors_writer_open(&writer, path, VIPO_DTYPE_F32, entries, ENTRIES, &error), &error);
    assert_ok(vipo_safetensors_writer_add(&writer, some, &error), &error);
    assert_int_equal(vipo_safetensors_writer_commit(&writer, &error), VIPO_INTERNAL);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(vipo_safetensors_writer_open(&writer, test_temporary("no/folder"), VIPO_DTYPE_F32,
                                                  entries, ENTRIES, &error),
                     VIPO_IO);
    /* too large to have a size, and two of one name */
    static const vipo_tensor_entry huge = {"x", 2, {SIZE_MAX / 2, 3}},
                                   twice[] = {{"x", 1, {1}}, {"x", 1, {1}}};
    assert_int_not_equal(vipo_safetensors_writer_open(&writer, path, VIPO_DTYPE_F32, &huge, 1, &error),
                         VIPO_OK);
    assert_int_not_equal(vipo_safetensors_writer_open(&writer, path, VIPO_DTYPE_F32, twice, 2, &error),
                         VIPO_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    /* a full disk */
    assert_int_equal(symlink("/dev/full", test_temporary("full")), 0);
    assert_ok(
        vipo_safetensors_writer_open(&writer, test_temporary("full"), VIPO_DTYPE_F32, entries, 1, &error),
        &error);
    assert_ok(vipo_safetensors_writer_add(&writer, some, &error), &error);
    assert_int_equal(vipo_safetensors_writer_commit(&writer, &error), VIPO_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_all_halves),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
