/* The safetensors reader: every dtype, and files that are wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files.h"
#include "weights/safetensors.h"

static const char *file_path(void)
{
    return test_temporary("file.safetensors");
}

static vipo_safetensors *write_and_open(const test_tensors *tensors)
{
    vipo_error error = {0};
    vipo_safetensors *file;
    test_tensors_write(tensors, file_path());
    assert_ok(vipo_safetensors_open(&file, file_path(), &error), &error);
    return file;
}

/* ---- right files --------------------------------------------------------------------------------- */

static void test_dtypes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},
                  {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U8", 1},  {"BOOL", 1}};
    test_tensors tensors = {0};
    const size_t shape[2] = {2, 3};
    for (size_t i = 0; i < 10; i++)
        test_tensors_add(&tensors, dtypes[i].name, dtypes[i].name, 2, shape, NULL, 6 * dtypes[i].size);
    vipo_safetensors *file = write_and_open(&tensors);
    assert_int_equal(vipo_safetensors_count(file), 10);
    for (size_t i = 0; i < 10; i++) {
        const vipo_tensor_view *view = vipo_safetensors_find(file, dtypes[i].name);
        assert_non_null(view);
        assert_string_equal(vipo_dtype_name(view->dtype), dtypes[i].name);
        assert_int_equal(vipo_dtype_size(view->dtype), dtypes[i].size);
        assert_int_equal(view->rank, 2);
        assert_int_equal(view->shape[0], 2);
        assert_int_equal(view->shape[1], 3);
        assert_int_equal(view->shape[2], 0);
        assert_int_equal(view->count, 6);
        float floats[6] = {1, 1, 1, 1, 1, 1};
        vipo_error error = {0};
        const vipo_status status = vipo_tensor_to_float(view, "f", floats, &error);
        if (i < 4) {
            assert_ok(status, &error);
            for (int j = 0; j < 6; j++) assert_true(floats[j] == 0);
        } else {
            char expected[96];
            snprintf(expected, sizeof expected, "f: tensor %s: expected F32, F16 or BF16, found %s",
                     dtypes[i].name, dtypes[i].name);
            assert_int_equal(status, VIPO_MISMATCH);
            assert_string_equal(error.message, expected);
        }
    }
    /* in name order */
    for (int i = 1; i < 10; i++)
        assert_true(strcmp(vipo_safetensors_at(file, i - 1)->name, vipo_safetensors_at(file, i)->name) < 0);
    assert_null(vipo_safetensors_find(file, "F3"));
    assert_null(vipo_safetensors_find(file, "F322"));
    assert_null(vipo_safetensors_find(file, ""));
    size_t size;
    free(test_file_read(file_path(), &size));
    assert_int_equal(vipo_safetensors_file_bytes(file), size);
    vipo_safetensors_close(&file);
    assert_null(file);
    vipo_safetensors_close(&file);
    test_tensors_free(&tensors);
}

/* The value of a binary16 pattern by the definition of IEEE 754. */
static double half_value(unsigned pattern)
{
    const int exponent = (int)(pattern >> 10 & 31), fraction = (int)(pattern & 1023);
    const double sign = pattern & 0x8000U ? -1 : 1;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static double bfloat_value(unsigned pattern)
{
    const int exponent = (int)(pattern >> 7 & 255), fraction = (int)(pattern & 127);
    const double sign = pattern & 0x8000U ? -1 : 1;
    if (exponent == 255) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -133);
    return sign * ldexp(128 + fraction, exponent - 134);
}

static void test_all_halves(void **state)
{
    (void)state;
    enum { PATTERNS = 65536 };
    uint16_t *patterns = malloc(PATTERNS * sizeof *patterns);
    float *floats = malloc(PATTERNS * sizeof *floats);
    assert_true(patterns && floats);
    for (unsigned i = 0; i < PATTERNS; i++) patterns[i] = (uint16_t)i;
    test_tensors tensors = {0};
    const size_t shape[1] = {PATTERNS};
    /* a byte before them, so that the values are not aligned */
    const size_t one[1] = {1};
    test_tensors_add(&tensors, "odd", "U8", 1, one, NULL, 1);
    test_tensors_add(&tensors, "f16", "F16", 1, shape, patterns, 2 * PATTERNS);
    test_tensors_add(&tensors, "bf16", "BF16", 1, shape, patterns, 2 * PATTERNS);
    vipo_safetensors *file = write_and_open(&tensors);
    for (int kind = 0; kind < 2; kind++) {
        vipo_error error = {0};
        assert_ok(
            vipo_tensor_to_float(vipo_safetensors_find(file, kind ? "bf16" : "f16"), "f", floats, &error),
            &error);
        for (unsigned i = 0; i < PATTERNS; i++) {
            const double expected = kind ? bfloat_value(i) : half_value(i);
            const bool same =
                isnan(expected) ? isnan(floats[i])
                                : (double)floats[i] == expected && !signbit(floats[i]) == !signbit(expected);
            if (!same)
                fail_msg("%s 0x%04x: %g, expected %g", kind ? "BF16" : "F16", i, (double)floats[i], expected);
        }
    }
    vipo_safetensors_close(&file);
    test_tensors_free(&tensors);
    free(patterns);
    free(floats);
}

static void test_values(void **state)
{
    (void)state;
    const double doubles[4] = {1.0 / 3, -2, 1e-300, 0.1};
    const float floats[3] = {1.5F, -0.0F, 3e38F};
    const size_t four[1] = {4}, three[3] = {1, 3, 1};
    test_tensors tensors = {.metadata = "{\"format\": \"pt\"}"};
    test_tensors_add(&tensors, "double", "F64", 1, four, doubles, sizeof doubles);
    test_tensors_add(&tensors, "single", "F32", 3, three, floats, sizeof floats);
    test_tensors_add(&tensors, "scalar", "F32", 0, NULL, floats, 4);
    vipo_safetensors *file = write_and_open(&tensors);
    assert_int_equal(vipo_safetensors_count(file), 3); /* metadata is no tensor */
    float out[4];
    vipo_error error = {0};
    assert_ok(vipo_tensor_to_float(vipo_safetensors_find(file, "double"), "f", out, &error), &error);
    for (int i = 0; i < 4; i++) assert_true(out[i] == (float)doubles[i]);
    assert_ok(vipo_tensor_to_float(vipo_safetensors_find(file, "single"), "f", out, &error), &error);
    assert_memory_equal(out, floats, sizeof floats);
    const vipo_tensor_view *scalar = vipo_safetensors_find(file, "scalar");
    assert_int_equal(scalar->rank, 0);
    assert_int_equal(scalar->count, 1);
    vipo_safetensors_close(&file);
    test_tensors_free(&tensors);
}

static void count_visit(void *user, const vipo_tensor_info *info)
{
    int *count = user;
    static const char *const names[] = {"a", "b", "c"};
    assert_string_equal(info->name, names[*count]);
    assert_int_equal(info->bytes, *count == 1 ? 8 : 0);
    ++*count;
}

static void test_empty(void **state)
{
    (void)state;
    const size_t none[2] = {0, 3}, two[1] = {2}, far[3] = {3, 0, 1000000};
    test_tensors tensors = {0};
    vipo_safetensors *file = write_and_open(&tensors); /* no tensors at all */
    assert_int_equal(vipo_safetensors_count(file), 0);
    assert_null(vipo_safetensors_find(file, "a"));
    vipo_safetensors_close(&file);

    test_tensors_add(&tensors, "c", "F32", 2, none, NULL, 0);
    test_tensors_add(&tensors, "b", "F32", 1, two, NULL, 8);
    test_tensors_add(&tensors, "a", "F64", 3, far, NULL, 0);
    file = write_and_open(&tensors);
    assert_int_equal(vipo_safetensors_find(file, "a")->count, 0);
    assert_int_equal(vipo_safetensors_find(file, "c")->count, 0);
    vipo_safetensors_close(&file);
    int count = 0;
    vipo_error error = {0};
    assert_ok(vipo_safetensors_list(file_path(), count_visit, &count, &error), &error);
    assert_int_equal(count, 3);
    test_tensors_free(&tensors);
}

/* Spaces after the header, tensors in another order than their bytes, six dimensions. */
static void test_spellings(void **state)
{
    (void)state;
    static const char header[] =
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,2],\"data_offsets\":[3,5]},"
        "\"a\":{\"data_offsets\":[0,3],\"shape\":[3],\"dtype\":\"I8\",\"more\":1}}   ";
    vipo_error error = {0};
    vipo_safetensors *file;
    test_safetensors_raw(file_path(), header, sizeof header - 1, 5);
    assert_ok(vipo_safetensors_open(&file, file_path(), &error), &error);
    assert_int_equal(vipo_safetensors_find(file, "b")->rank, 6);
    vipo_safetensors_close(&file);
}

/* ---- wrong files --------------------------------------------------------------------------------- */

/* One line that names the file and says what is wrong. */
static void assert_refused(vipo_status expected, const char *part)
{
    vipo_error error = {0};
    vipo_safetensors *file = (vipo_safetensors *)1;
    const vipo_status status = vipo_safetensors_open(&file, file_path(), &error);
    assert_null(file);
    if (status != expected || !strstr(error.message, part))
        fail_msg("%s: \"%s\"; expected %s: \"%s\"", vipo_status_text(status), error.message,
                 vipo_status_text(expected), part);
    if (strncmp(error.message, file_path(), strlen(file_path())) != 0)
        fail_msg("no file name: %s", error.message);
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(vipo_safetensors_open(&file, file_path(), NULL), expected);
}

static void refuse(const char *header, size_t data_size, vipo_status expected, const char *part)
{
    test_safetensors_raw(file_path(), header, strlen(header), data_size);
    assert_refused(expected, part);
}

static void test_short_files(void **state)
{
    (void)state;
    static const unsigned char zeros[16] = {0};
    for (size_t size = 0; size < 8; size++) {
        test_file_write(file_path(), zeros, size);
        assert_refused(VIPO_FORMAT, "bytes, expected at least 8");
    }
    test_file_write(file_path(), zeros, 8);
    assert_refused(VIPO_FORMAT, "not a safetensors file");
    test_file_write(file_path(), zeros, 16);
    assert_refused(VIPO_FORMAT, "not a safetensors file");
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63, 100000001,
                                       UINT64_C(1) << 32};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        test_safetensors_raw(file_path(), "{}", lengths[i], 0);
        assert_refused(VIPO_FORMAT, "expected the length of a JSON header");
    }
    test_safetensors_raw(file_path(), "{}", 100000000, 0);
    assert_refused(VIPO_FORMAT, "truncated inside its header");
    test_safetensors_raw(file_path(), "{}", 3, 0);
    assert_refused(VIPO_FORMAT, "truncated inside its header: 10 bytes, the header alone ends at 11");
    test_safetensors_raw(file_path(), "{", 0, 0);
    assert_refused(VIPO_FORMAT, "bad header");

    vipo_error error = {0};
    vipo_safetensors *file;
    assert_int_equal(vipo_safetensors_open(&file, "/no/such/file", &error), VIPO_IO);
    assert_string_equal(error.message, "/no/such/file: No such file or directory");
    assert_int_equal(vipo_safetensors_open(&file, "/tmp", &error), VIPO_IO);
}

/* Every cut of a valid file is refused. */
static void test_truncated(void **state)
{
    (void)state;
    const size_t shape[1] = {5};
    test_tensors tensors = {0};
    test_tensors_add(&tensors, "one", "F32", 1, shape, NULL, 20);
    test_tensors_add(&tensors, "two", "F16", 1, shape, NULL, 10);
    test_tensors_write(&tensors, file_path());
    test_tensors_free(&tensors);
    size_t size;
    char *whole = test_file_read(file_path(), &size);
    for (size_t cut = 0; cut < size; cut++) {
        vipo_error error = {0};
        vipo_safetensors *file;
        test_file_write(file_path(), whole, cut);
        assert_int_equal(vipo_safetensors_open(&file, file_path(), &error), VIPO_FORMAT);
        assert_null(file);
    }
    test_file_write(file_path(), whole, size - 1);
    assert_refused(VIPO_FORMAT, "truncated: tensor two ends at byte 30 of 29");
    free(whole);
}

/* No byte of the header, whatever it becomes, may do harm. */
static void test_flipped_bytes(void **state)
{
    (void)state;
    const size_t shape[2] = {2, 2};
    test_tensors tensors = {0};
    test_tensors_add(&tensors, "one", "F32", 2, shape, NULL, 16);
    test_tensors_add(&tensors, "two", "F16", 2, shape, NULL, 8);
    test_tensors_write(&tensors, file_path());
    test_tensors_free(&tensors);
    size_t size;
    char *whole = test_file_read(file_path(), &size);
    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x10, 0x20, 0x80, 0xff};
    for (size_t at = 0; at < size - 24; at++)
        for (size_t m = 0; m < sizeof masks; m++) {
            vipo_error error = {0};
            vipo_safetensors *file;
            whole[at] = (char)(whole[at] ^ masks[m]);
            test_file_write(file_path(), whole, size);
            if (vipo_safetensors_open(&file, file_path(), &error) == VIPO_OK)
                for (int i = 0; i < vipo_safetensors_count(file); i++) {
                    const vipo_tensor_view *view = vipo_safetensors_at(file, i);
                    float floats[24];
                    assert_true(view->count * vipo_dtype_size(view->dtype) <= 24);
                    (void)vipo_tensor_to_float(view, "f", floats, NULL);
                }
            else
                assert_non_null(strstr(error.message, "file.safetensors: "));
            vipo_safetensors_close(&file);
            whole[at] = (char)(whole[at] ^ masks[m]);
        }
    free(whole);
}

static void test_bad_json(void **state)
{
    (void)state;
    refuse("{\"a\":", 0, VIPO_FORMAT, "bad header: ");
    refuse("{} x", 0, VIPO_FORMAT, "bad header: ");
    refuse("[]", 0, VIPO_FORMAT, "not a safetensors file");
    refuse("\"a\"", 0, VIPO_FORMAT, "not a safetensors file");
    refuse("{\"a\xff\":1}", 0, VIPO_FORMAT, "bad header: ");
    refuse("{\"a\\u0000b\":1}", 0, VIPO_FORMAT, "bad header: ");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
           "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
           1, VIPO_FORMAT, "duplicate object key");
    refuse("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, VIPO_FORMAT,
           "duplicate object key");
    /* nesting without end */
    char *deep = malloc(200001);
    assert_non_null(deep);
    memset(deep, '[', 200000);
    memcpy(deep, "{\"a\":", 5);
    deep[200000] = '\0';
    refuse(deep, 0, VIPO_FORMAT, "bad header: ");
    free(deep);
}

#define ENTRY(dtype, shape, offsets)                                                                         \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_bad_entries(void **state)
{
    (void)state;
    static const char members[] = "tensor a: expected dtype, shape and data_offsets";
    refuse("{\"a\":1}", 0, VIPO_FORMAT, members);
    refuse("{\"a\":null}", 0, VIPO_FORMAT, members);
    refuse("{\"a\":[]}", 0, VIPO_FORMAT, members);
    refuse("{\"a\":{}}", 0, VIPO_FORMAT, members);
    refuse(ENTRY("1", "[1]", "[0,1]"), 1, VIPO_FORMAT, members);
    refuse(ENTRY("\"U8\"", "1", "[0,1]"), 1, VIPO_FORMAT, members);
    refuse(ENTRY("\"U8\"", "[1]", "[0]"), 1, VIPO_FORMAT, members);
    refuse(ENTRY("\"U8\"", "[1]", "[0,1,2]"), 1, VIPO_FORMAT, members);
    refuse(ENTRY("\"U8\"", "[1]", "{}"), 1, VIPO_FORMAT, members);

    static const char unknown[] = "tensor a: unknown dtype \"";
    refuse(ENTRY("\"F8_E4M3\"", "[1]", "[0,1]"), 1, VIPO_UNSUPPORTED,
           "unknown dtype \"F8_E4M3\", expected F32");
    refuse(ENTRY("\"\"", "[1]", "[0,1]"), 1, VIPO_UNSUPPORTED, unknown);
    refuse(ENTRY("\"f32\"", "[1]", "[0,4]"), 4, VIPO_UNSUPPORTED, unknown);
    refuse(ENTRY("\"F32\\n\"", "[1]", "[0,4]"), 4, VIPO_UNSUPPORTED, unknown);
    refuse(ENTRY("\"U8\"", "[1,1,1,1,1,1,1]", "[0,1]"), 1, VIPO_UNSUPPORTED,
           "tensor a: rank 7, expected at most 6");

    static const char shape[] = "tensor a: bad shape";
    refuse(ENTRY("\"U8\"", "[-1]", "[0,1]"), 1, VIPO_FORMAT, shape);
    refuse(ENTRY("\"U8\"", "[1.0]", "[0,1]"), 1, VIPO_FORMAT, shape);
    refuse(ENTRY("\"U8\"", "[\"1\"]", "[0,1]"), 1, VIPO_FORMAT, shape);
    refuse(ENTRY("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, VIPO_FORMAT, shape);
    refuse(ENTRY("\"U8\"", "[9223372036854775807,4]", "[0,0]"), 0, VIPO_FORMAT, shape);
    refuse(ENTRY("\"U8\"", "[9223372036854775808]", "[0,0]"), 0, VIPO_FORMAT, "bad header: ");
    refuse(ENTRY("\"U8\"", "[-9223372036854775808]", "[0,0]"), 0, VIPO_FORMAT, shape);
    /* elements count, but bytes overflow: 2^62 doubles */
    refuse(ENTRY("\"F64\"", "[4611686018427387904]", "[0,0]"), 0, VIPO_FORMAT, "do not fit shape and dtype");

    static const char offsets[] = "tensor a: data_offsets do not fit shape and dtype";
    refuse(ENTRY("\"F32\"", "[2]", "[0,7]"), 7, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"F32\"", "[2]", "[8,0]"), 8, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"U8\"", "[2]", "[-2,0]"), 2, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"U8\"", "[2]", "[0.0,2.0]"), 2, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"U8\"", "[2]", "[null,2]"), 2, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"U8\"", "[0]", "[1,0]"), 1, VIPO_FORMAT, offsets);
    refuse(ENTRY("\"U8\"", "[2]", "[0,2]"), 1, VIPO_FORMAT, "truncated: tensor a ends at byte 2 of 1");
    refuse(ENTRY("\"U8\"", "[2]", "[9223372036854775805,9223372036854775807]"), 2, VIPO_FORMAT,
           "truncated: tensor a");
    refuse(ENTRY("\"U8\"", "[0]", "[7,7]"), 0, VIPO_FORMAT, "truncated: tensor a");
}

#define TWO(first, second)                                                                                   \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first "},"                                    \
    "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

static void test_bad_layout(void **state)
{
    (void)state;
    static const char overlap[] = "its bytes overlap another's or leave a hole";
    refuse(TWO("[0,4]", "[0,4]"), 4, VIPO_FORMAT, overlap);
    refuse(TWO("[0,4]", "[0,4]"), 8, VIPO_FORMAT, overlap);
    refuse(TWO("[0,4]", "[3,7]"), 8, VIPO_FORMAT, overlap);
    refuse(TWO("[3,7]", "[0,4]"), 7, VIPO_FORMAT, overlap);
    refuse(TWO("[0,4]", "[5,9]"), 9, VIPO_FORMAT, overlap);
    refuse(TWO("[1,5]", "[5,9]"), 9, VIPO_FORMAT, overlap);
    refuse(TWO("[0,4]", "[4,8]"), 10, VIPO_FORMAT, "2 bytes after the last tensor, expected none");
    refuse("{}", 3, VIPO_FORMAT, "3 bytes after the last tensor");
    refuse("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
           "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
           4, VIPO_FORMAT, overlap);
}

/* A name that fills the message leaves room for what is wrong. */
static void test_long_name(void **state)
{
    (void)state;
    char header[4096], name[2001];
    memset(name, 'n', 2000);
    name[2000] = '\0';
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}", name);
    refuse(header, 1, VIPO_FORMAT, "data_offsets do not fit shape and dtype");
}

/* ---- reader -------------------------------------------------------------------------------------- */

static void assert_read(vipo_safetensors_reader *reader, const char *name, int rank, const size_t *shape,
                        vipo_status expected, const char *message)
{
    float out[16];
    vipo_error error = {0};
    const vipo_weight_source source = vipo_safetensors_reader_source(reader);
    const vipo_status status = source.read(source.user, name, rank, shape, out, &error);
    if (expected == VIPO_OK) {
        assert_ok(status, &error);
        return;
    }
    assert_int_equal(status, expected);
    char full[512];
    snprintf(full, sizeof full, "%s: %s", file_path(), message);
    assert_string_equal(error.message, full);
}

static void test_reader(void **state)
{
    (void)state;
    const float good[6] = {1, 2, 3, 4, 5, 6}, nan[6] = {1, 2, NAN, 4, NAN, 6},
                infinite[6] = {1, 2, 3, 4, 5, -INFINITY};
    const double large[2] = {0, 1e300};
    const uint16_t half_infinite[2] = {0x3c00, 0x7c00}, bfloat_nan[2] = {0x7fc0, 0};
    const size_t shape[2] = {2, 3}, turned[2] = {3, 2}, flat[1] = {6}, more[3] = {2, 3, 1}, two[1] = {2},
                 none[1] = {0};
    test_tensors tensors = {0};
    test_tensors_add(&tensors, "p.good", "F32", 2, shape, good, sizeof good);
    test_tensors_add(&tensors, "p.nan", "F32", 2, shape, nan, sizeof nan);
    test_tensors_add(&tensors, "p.infinite", "F32", 2, shape, infinite, sizeof infinite);
    test_tensors_add(&tensors, "p.half", "F16", 1, two, half_infinite, 4);
    test_tensors_add(&tensors, "p.bfloat", "BF16", 1, two, bfloat_nan, 4);
    test_tensors_add(&tensors, "p.double", "F64", 1, two, large, sizeof large);
    test_tensors_add(&tensors, "p.whole", "I64", 1, two, NULL, 16);
    test_tensors_add(&tensors, "q.empty", "F32", 1, none, NULL, 0);
    vipo_safetensors *file = write_and_open(&tensors);
    vipo_safetensors_reader reader;
    vipo_error error = {0};
    assert_ok(vipo_safetensors_reader_open(&reader, file, "p.", &error), &error);
    int unused;
    assert_string_equal(vipo_safetensors_reader_unused(&reader, &unused), "p.bfloat");
    assert_int_equal(unused, 8);
    assert_read(&reader, "good", 2, shape, VIPO_OK, NULL);
    assert_int_equal((vipo_safetensors_reader_unused(&reader, &unused), unused), 7);
    assert_read(&reader, "gone", 2, shape, VIPO_MISMATCH, "tensor p.gone is missing, expected shape [2, 3]");
    assert_read(&reader, "empty", 1, none, VIPO_MISMATCH, "tensor p.empty is missing, expected shape [0]");
    assert_read(&reader, "p.good", 2, shape, VIPO_MISMATCH,
                "tensor p.p.good is missing, expected shape [2, 3]");
    assert_read(&reader, "good", 2, turned, VIPO_MISMATCH,
                "tensor p.good: expected shape [3, 2], found [2, 3]");
    assert_read(&reader, "good", 1, flat, VIPO_MISMATCH, "tensor p.good: expected shape [6], found [2, 3]");
    assert_read(&reader, "good", 3, more, VIPO_MISMATCH,
                "tensor p.good: expected shape [2, 3, 1], found [2, 3]");
    assert_read(&reader, "nan", 2, shape, VIPO_NUMERIC,
                "tensor p.nan: element 2 is NaN, expected a finite number");
    assert_read(&reader, "infinite", 2, shape, VIPO_NUMERIC,
                "tensor p.infinite: element 5 is infinite, expected a finite number");
    assert_read(&reader, "half", 1, two, VIPO_NUMERIC,
                "tensor p.half: element 1 is infinite, expected a finite number");
    assert_read(&reader, "bfloat", 1, two, VIPO_NUMERIC,
                "tensor p.bfloat: element 0 is NaN, expected a finite number");
    assert_read(&reader, "double", 1, two, VIPO_MISMATCH,
                "tensor p.double: expected F32, F16 or BF16, found F64");
    assert_read(&reader, "whole", 1, two, VIPO_MISMATCH,
                "tensor p.whole: expected F32, F16 or BF16, found I64");
    vipo_safetensors_reader_close(&reader);

    char prefix[80];
    memset(prefix, 'p', sizeof prefix);
    prefix[63] = '\0';
    assert_ok(vipo_safetensors_reader_open(&reader, file, prefix, &error), &error);
    vipo_safetensors_reader_close(&reader);
    prefix[63] = 'p';
    prefix[64] = '\0';
    assert_int_equal(vipo_safetensors_reader_open(&reader, file, prefix, &error), VIPO_INVALID_ARGUMENT);
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&file);
    test_tensors_free(&tensors);
}

static void test_reader_uses_all(void **state)
{
    (void)state;
    const size_t one[1] = {1};
    test_tensors tensors = {0};
    test_tensors_add(&tensors, "b", "F16", 1, one, NULL, 2);
    test_tensors_add(&tensors, "a", "BF16", 1, one, NULL, 2);
    vipo_safetensors *file = write_and_open(&tensors);
    vipo_safetensors_reader reader;
    vipo_error error = {0};
    int unused;
    assert_ok(vipo_safetensors_reader_open(&reader, file, "", &error), &error);
    assert_read(&reader, "a", 1, one, VIPO_OK, NULL);
    assert_string_equal(vipo_safetensors_reader_unused(&reader, &unused), "b");
    assert_int_equal(unused, 1);
    assert_read(&reader, "b", 1, one, VIPO_OK, NULL);
    assert_null(vipo_safetensors_reader_unused(&reader, &unused));
    assert_int_equal(unused, 0);
    vipo_safetensors_reader_close(&reader);
    vipo_safetensors_close(&file);
    test_tensors_free(&tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),     cmocka_unit_test(test_all_halves),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_empty),
        cmocka_unit_test(test_spellings),  cmocka_unit_test(test_short_files),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_bad_json),   cmocka_unit_test(test_bad_entries),
        cmocka_unit_test(test_bad_layout), cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_reader),     cmocka_unit_test(test_reader_uses_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
