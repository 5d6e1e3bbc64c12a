/* .npy files: every dtype, order and version, and files that lie. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/npy.h"
#include "support/support.h"

enum { FILE_ROOM = 4096 };

/* A .npy file of version `major` with this header text and these elements; returns its size. The header is
 * not padded: readers must not need it. */
static size_t compose(unsigned char *file, unsigned major, const char *header, const void *elements,
                      size_t bytes)
{
    const size_t length = strlen(header), before = major == 1 ? 10 : 12;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (unsigned char)major;
    file[7] = 0;
    for (size_t i = 8; i < before; i++) file[i] = (unsigned char)(length >> (8 * (i - 8)));
    memcpy(file + before, header, length);
    memcpy(file + before + length, elements, bytes);
    return before + length + bytes;
}

/* Parses from a heap block of exactly this size, so that the sanitizer sees any read past its end. */
static vipo_status parse(const unsigned char *file, size_t size, vipo_array *out, vipo_error *error)
{
    unsigned char *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, file, size);
    const vipo_status status = vipo_npy_parse(exact, size, "x.npy", out, error);
    free(exact);
    if (status != VIPO_OK) assert_null(out->data);
    return status;
}

static void assert_values(const char *header, const void *elements, size_t bytes, const float *expected,
                          size_t n)
{
    for (unsigned major = 1; major <= 3; major++) {
        unsigned char file[FILE_ROOM];
        vipo_array array;
        vipo_error error;
        assert_ok(parse(file, compose(file, major, header, elements, bytes), &array, &error), &error);
        assert_int_equal(vipo_array_size(&array), n);
        for (size_t i = 0; i < n; i++)
            if (isnan(expected[i]))
                assert_true(isnan(array.data[i]));
            else if (array.data[i] != expected[i] || signbit(array.data[i]) != signbit(expected[i]))
                fail_msg("%s: element %zu is %g, expected %g", header, i, (double)array.data[i],
                         (double)expected[i]);
        vipo_array_free(&array);
    }
}

#define HEADER(descr) "{'descr': '" descr "', 'fortran_order': False, 'shape': (2,), }"

static void test_dtypes(void **state)
{
    (void)state;
#define CASE(descr, bytes, ...)                                                                              \
    assert_values(HEADER(descr), bytes, sizeof bytes - 1, (const float[]){__VA_ARGS__}, 2)
    CASE("|b1", "\x00\x01", 0, 1);
    CASE("|u1", "\x07\xff", 7, 255);
    CASE("|i1", "\x07\xff", 7, -1);
    CASE("<u1", "\x07\x80", 7, 128);
    CASE("<u2", "\x01\x02\xff\xff", 513, 65535);
    CASE(">u2", "\x01\x02\xff\xff", 258, 65535);
    CASE("<i2", "\x00\x80\xfe\xff", -32768, -2);
    CASE(">i2", "\x80\x00\xff\xfe", -32768, -2);
    CASE("<u4", "\x00\x00\x00\x80\x01\x00\x00\x00", 2147483648.0F, 1);
    CASE(">i4", "\x80\x00\x00\x00\xff\xff\xff\xff", -2147483648.0F, -1);
    CASE("<u8", "\x00\x00\x00\x00\x00\x00\x00\x80\x05\x00\x00\x00\x00\x00\x00\x00", 9223372036854775808.0F,
         5);
    CASE("<i8", "\x00\x00\x00\x00\x00\x00\x00\x80\xfb\xff\xff\xff\xff\xff\xff\xff", -9223372036854775808.0F,
         -5);
    CASE(">i8", "\xff\xff\xff\xff\xff\xff\xff\xfb\x00\x00\x00\x00\x00\x00\x01\x00", -5, 256);
    CASE("<f2", "\x00\x3c\x00\xc0", 1, -2);
    CASE(">f2", "\x35\x55\xfb\xff", 0.333251953125F, -65504);
    CASE("<f2", "\x01\x00\x00\x80", 0x1p-24F, -0.0F);
    CASE("<f2", "\xff\x03\x00\x04", 0x1.ff8p-15F, 0x1p-14F);
    CASE("<f2", "\x00\x7c\x01\x7e", INFINITY, NAN);
    CASE("<f4", "\x00\x00\x80\x3f\x00\x00\x20\xc0", 1, -2.5F);
    CASE("=f4", "\x00\x00\x80\x3f\x00\x00\x20\xc0", 1, -2.5F);
    CASE(">f4", "\x3f\x80\x00\x00\xc0\x20\x00\x00", 1, -2.5F);
    CASE("<f4", "\x01\x00\x00\x00\x00\x00\xc0\x7f", 0x1p-149F, NAN);
    CASE("<f8", "\x00\x00\x00\x00\x00\x00\xf0\x3f\x9a\x99\x99\x99\x99\x99\xb9\x3f", 1, 0.1F);
    CASE(">f8", "\x3f\xf0\x00\x00\x00\x00\x00\x00\x7f\xe0\x00\x00\x00\x00\x00\x00", 1, INFINITY);
#undef CASE
}

static void test_header_spelling(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }               \n",
        "{'shape':(2,3),'fortran_order':False,'descr':'|u1'}",
        "  { \"fortran_order\" :\tFalse , \"shape\" : ( 2 , 3 , ) , \"descr\" : \"|u1\" , }\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 3L), }",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_values(headers[i], "\x01\x02\x03\x04\x05\x06", 6, (const float[]){1, 2, 3, 4, 5, 6}, 6);
    assert_values("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "\x09", 1, (const float[]){9},
                  1);
    assert_values("{'descr': '|u1', 'fortran_order': True, 'shape': ()}", "\x09", 1, (const float[]){9}, 1);
    assert_values("{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1)}", "\x09", 1,
                  (const float[]){9}, 1);
}

static void test_fortran_order(void **state)
{
    (void)state;
    assert_values("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", "\x01\x04\x02\x05\x03\x06", 6,
                  (const float[]){1, 2, 3, 4, 5, 6}, 6);
    assert_values("{'descr': '<i2', 'fortran_order': True, 'shape': (3,), }", "\x01\x00\x02\x00\x03\x00", 6,
                  (const float[]){1, 2, 3}, 3);
    /* Four dimensions against the index formula. */
    enum { A = 2, B = 3, C = 4, D = 5, N = A * B * C * D };
    unsigned char elements[N];
    float expected[N];
    for (int a = 0; a < A; a++)
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++)
                for (int d = 0; d < D; d++) {
                    const int from = a + A * (b + B * (c + C * d)), to = ((a * B + b) * C + c) * D + d;
                    elements[from] = (unsigned char)(to + 1);
                    expected[to] = (float)(to + 1);
                }
    assert_values("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4, 5), }", elements, N, expected,
                  N);
}

/* Parsing this header (with 8 bytes of elements) fails with this status and a message that has `part`. */
static void assert_refused(const char *header, vipo_status expected, const char *part)
{
    unsigned char file[FILE_ROOM];
    vipo_array array;
    vipo_error error;
    const vipo_status status = parse(file, compose(file, 1, header, "\0\0\0\0\0\0\0", 8), &array, &error);
    if (status != expected || !strstr(error.message, part) || strncmp(error.message, "x.npy: ", 7) != 0)
        fail_msg("%s: %s: %s", header, vipo_status_text(status), status ? error.message : "accepted");
}

static void test_hostile_headers(void **state)
{
    (void)state;
#define DICT(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape "}"
    assert_refused("", VIPO_FORMAT, "expected a dict, found its end");
    assert_refused("{", VIPO_FORMAT, "found its end");
    assert_refused("{}", VIPO_FORMAT, "'descr' is missing");
    assert_refused("[1]", VIPO_FORMAT, "expected a dict, found \"[1]\"");
    assert_refused("{'descr': '<f4', 'shape': (2,)}", VIPO_FORMAT, "'fortran_order' is missing");
    assert_refused("{'descr': '<f4', 'fortran_order': False}", VIPO_FORMAT, "'shape' is missing");
    assert_refused("{'descr': '<f4', 'descr': '<f4'}", VIPO_FORMAT, "'descr' twice");
    assert_refused("{'secret': 1}", VIPO_FORMAT, "key 'secret'");
    assert_refused("{'descr' '<f4'}", VIPO_FORMAT, "colon");
    assert_refused("{'descr': '<f4' 'shape': (2,)}", VIPO_FORMAT, "comma or }");
    assert_refused("{'descr': '<f4", VIPO_FORMAT, "a dtype such as");
    assert_refused("{'descr': '<f\\x34'}", VIPO_FORMAT, "a dtype such as");
    assert_refused(DICT("'<c8'", "False", "(1,)"), VIPO_UNSUPPORTED, "dtype '<c8', expected one of f2 f4 f8");
    assert_refused(DICT("'<U2'", "False", "(1,)"), VIPO_UNSUPPORTED, "dtype '<U2'");
    assert_refused(DICT("'|O'", "False", "(1,)"), VIPO_UNSUPPORTED, "dtype '|O'");
    assert_refused(DICT("'<f16'", "False", "(1,)"), VIPO_UNSUPPORTED, "dtype '<f16'");
    assert_refused(DICT("'|f4'", "False", "(2,)"), VIPO_UNSUPPORTED, "dtype '|f4'");
    assert_refused(DICT("'<b2'", "False", "(2,)"), VIPO_UNSUPPORTED, "dtype '<b2'");
    assert_refused(DICT("''", "False", "(2,)"), VIPO_UNSUPPORTED, "dtype ''");
    assert_refused(DICT("[('a', '<f4')]", "False", "(2,)"), VIPO_UNSUPPORTED, "structured dtype");
    assert_refused(DICT("'<f4'", "Maybe", "(2,)"), VIPO_FORMAT, "True or False");
    assert_refused(DICT("'<f4'", "False", "[2]"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(2)"), VIPO_FORMAT, "a comma: (3,)");
    assert_refused(DICT("'<f4'", "False", "(-2,)"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(2.0,)"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(1 2)"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(,)"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(2,"), VIPO_FORMAT, "a tuple of sizes");
    assert_refused(DICT("'<f4'", "False", "(0, 2)"), VIPO_UNSUPPORTED, "dimension 0 is 0");
    assert_refused(DICT("'<f4'", "False", "(1,1,1,1,1,1,2)"), VIPO_UNSUPPORTED, "more than 6 dimensions");
    assert_refused(DICT("'<f4'", "False", "(99999999999999999999,)"), VIPO_FORMAT, "at most 64 bits");
    assert_refused(DICT("'<f4'", "False", "(18446744073709551615,)"), VIPO_FORMAT, "overflows");
    assert_refused(DICT("'<f4'", "False", "(4294967296, 4294967296)"), VIPO_FORMAT, "overflows");
    assert_refused(DICT("'<f4'", "False", "(4611686018427387905,)"), VIPO_FORMAT, "overflows");
    assert_refused(DICT("'<f4'", "False", "(2,)") " x", VIPO_FORMAT, "nothing after the dict");
    assert_refused(DICT("'<f4'", "False", "(3,)"), VIPO_FORMAT,
                   "truncated: 8 bytes of elements, expected 12");
    assert_refused(DICT("'<f4'", "False", "(1,)"), VIPO_FORMAT, "too long: 8 bytes of elements, expected 4");
    assert_refused(DICT("'<f8'", "True", "(1000000, 1000000)"), VIPO_FORMAT, "truncated");
#undef DICT
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (unsigned major = 1; major <= 3; major++) {
        unsigned char file[FILE_ROOM];
        const size_t size = compose(file, major, HEADER("<f4"), "\0\0\x80\x3f\0\0\0\0", 8);
        vipo_array array;
        vipo_error error;
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(parse(file, cut, &array, &error), VIPO_FORMAT);
        /* Any one changed byte of the header: refused or read, nothing worse. */
        for (size_t i = 0; i < size - 8; i++)
            for (unsigned bit = 0; bit < 8; bit++) {
                file[i] ^= (unsigned char)(1U << bit);
                if (parse(file, size, &array, &error) == VIPO_OK) vipo_array_free(&array);
                file[i] ^= (unsigned char)(1U << bit);
            }
    }
}

static void test_versions(void **state)
{
    (void)state;
    unsigned char file[FILE_ROOM];
    vipo_array array;
    vipo_error error;
    const size_t size = compose(file, 4, HEADER("<f4"), "\0\0\0\0\0\0\0", 8);
    assert_int_equal(parse(file, size, &array, &error), VIPO_UNSUPPORTED);
    assert_string_equal(error.message, "x.npy: .npy version 4.0, expected 1.0, 2.0 or 3.0");
    assert_int_equal(parse((const unsigned char *)"PK\x03\x04\0\0\0\0\0\0\0\0", 12, &array, &error),
                     VIPO_FORMAT);
    assert_string_equal(error.message, "x.npy: not a .npy file");
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t shape[VIPO_MAX_RANK] = {2, 3, 1, 5, 7, 4};
    for (int rank = 0; rank <= VIPO_MAX_RANK; rank++) {
        vipo_array written, read;
        vipo_error error;
        assert_ok(vipo_array_alloc(&written, rank, shape, &error), &error);
        const size_t n = vipo_array_size(&written);
        for (size_t i = 0; i < n; i++) written.data[i] = test_uniform(7, i);
        const char *path = test_temporary("round.npy");
        assert_ok(vipo_npy_write(path, &written, &error), &error);

        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        unsigned char start[10];
        assert_int_equal(fread(start, 1, sizeof start, file), sizeof start);
        fseek(file, 0, SEEK_END);
        const size_t header = 10U + start[8] + 256U * start[9];
        assert_int_equal(header % 64, 0);
        assert_int_equal(ftell(file), header + n * sizeof(float));
        fclose(file);

        assert_ok(vipo_npy_read(path, &read, &error), &error);
        assert_int_equal(read.rank, rank);
        assert_memory_equal(read.shape, shape, (size_t)rank * sizeof *shape);
        assert_memory_equal(read.data, written.data, n * sizeof(float));
        vipo_array_free(&written);
        vipo_array_free(&read);
    }
}

/* The longest header there can be. */
static void test_long_header(void **state)
{
    (void)state;
    unsigned char file[FILE_ROOM];
    char header[200];
    vipo_array array;
    vipo_error error;
    snprintf(header, sizeof header,
             "{'descr':'|u1','fortran_order':False,'shape':(00000000000000000000000000000001,)}");
    assert_ok(parse(file, compose(file, 1, header, "\x05", 1), &array, &error), &error);
    vipo_array_free(&array);
}

static void test_files(void **state)
{
    (void)state;
    vipo_array array = {0};
    vipo_error error;
    assert_int_equal(vipo_npy_read(test_temporary("absent.npy"), &array, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "absent.npy: No such file"));
    assert_int_equal(vipo_npy_write(test_temporary("empty.npy"), &array, &error), VIPO_INVALID_ARGUMENT);
    FILE *file = fopen(test_temporary("empty.npy"), "wb");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(vipo_npy_read(test_temporary("empty.npy"), &array, &error), VIPO_FORMAT);

    const size_t shape[1] = {100000};
    assert_ok(vipo_array_alloc(&array, 1, shape, &error), &error);
    assert_ok(vipo_npy_write("/dev/null", &array, &error), &error);
    assert_int_equal(vipo_npy_write("/dev/full", &array, &error), VIPO_IO);
    assert_string_equal(error.message, "/dev/full: cannot write: No space left on device");
    vipo_array_free(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),        cmocka_unit_test(test_header_spelling),
        cmocka_unit_test(test_fortran_order), cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
