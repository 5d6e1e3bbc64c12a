/* Messages: one clean line, cut to fit. */
#include <string.h>

#include "core/status.h"
#include "support/support.h"

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(vipo_status_text(VIPO_OK), "ok");
    assert_string_equal(vipo_status_text(VIPO_INTERNAL), "internal error");
    assert_string_equal(vipo_status_text((vipo_status)1000), "unknown status");
    assert_string_equal(vipo_status_text((vipo_status)-1), "unknown status");
    assert_string_equal(vipo_version(), "0.1.0");
}

static void test_fail(void **state)
{
    (void)state;
    vipo_error error;
    memset(&error, 0x55, sizeof error);
    assert_int_equal(vipo_fail(&error, VIPO_IO, "%s: %d", "file", 7), VIPO_IO);
    assert_int_equal(error.status, VIPO_IO);
    assert_string_equal(error.message, "file: 7");
    assert_int_equal(vipo_fail(NULL, VIPO_FORMAT, "nobody listens"), VIPO_FORMAT);
    assert_int_equal(vipo_fail_prefix(&error, VIPO_MISMATCH, "model"), VIPO_MISMATCH);
    assert_string_equal(error.message, "model: file: 7");
    assert_int_equal(error.status, VIPO_MISMATCH);
    assert_int_equal(vipo_fail_prefix(NULL, VIPO_MISMATCH, "model"), VIPO_MISMATCH);
    assert_int_equal(vipo_fail_memory(&error, 1024, "weights"), VIPO_OUT_OF_MEMORY);
    assert_string_equal(error.message, "out of memory: 1024 bytes for weights");
}

/* What arrives for what is said. */
static void assert_cleaned(const char *said, const char *expected)
{
    vipo_error error;
    vipo_fail(&error, VIPO_IO, "%s", said);
    assert_string_equal(error.message, expected);
}

static void test_clean(void **state)
{
    (void)state;
    assert_cleaned("a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?");
    assert_cleaned("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96");
    assert_cleaned("\xff|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe9", "?|??|???|????|?");
    assert_cleaned("\x80\xe2\x82", "???");
}

static void test_cut(void **state)
{
    (void)state;
    enum { ROOM = sizeof(((vipo_error *)0)->message) };
    /* Whatever the cut hits, whole characters stay. */
    for (int shift = 0; shift < 4; shift++) {
        char text[ROOM * 2];
        size_t n = 0;
        while (n < (size_t)shift) text[n++] = 'x';
        while (n + 4 < sizeof text) {
            memcpy(text + n, "\xf0\x9f\xa4\x96", 4);
            n += 4;
        }
        text[n] = '\0';
        vipo_error error;
        vipo_fail(&error, VIPO_IO, "%s", text);
        const size_t length = strlen(error.message);
        assert_in_range(length, ROOM - 4, ROOM - 1);
        assert_int_equal((length - (size_t)shift) % 4, 0);
        assert_memory_equal(error.message, text, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_fail),
                                       cmocka_unit_test(test_clean), cmocka_unit_test(test_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
