/* Checked reading of JSON and the messages about it. */
#include <stdio.h>
#include <string.h>

#include "core/json_util.h"
#include "support/support.h"

static const char *write_text(const char *text, size_t size)
{
    const char *path = test_temporary("config.json");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
    return path;
}

static void assert_load_fails(const char *text, const char *part)
{
    json_t *document = NULL;
    vipo_error error;
    assert_int_equal(vipo_json_load(&document, write_text(text, strlen(text)), &error), VIPO_FORMAT);
    assert_null(document);
    if (!strstr(error.message, part) || !strstr(error.message, "config.json: "))
        fail_msg("%s: %s", text, error.message);
}

static void test_load(void **state)
{
    (void)state;
    json_t *document;
    vipo_error error;
    assert_ok(vipo_json_load(&document, write_text("{\"a\": 1}", 8), &error), &error);
    assert_int_equal(json_integer_value(json_object_get(document, "a")), 1);
    json_decref(document);
    assert_load_fails("", "empty file, expected JSON");
    assert_load_fails("{\"a\": 1, \"a\": 2}", "line 1, column");
    assert_load_fails("{\"a\":\n 1", "line 2, column");
    assert_load_fails("{} x", "line 1, column");
    assert_load_fails("{\"a\": \"\xff\"}", "line 1, column");
    char deep[10000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_load_fails(deep, "line 1, column");
    assert_int_equal(vipo_json_load(&document, test_temporary("absent.json"), &error), VIPO_IO);
    assert_null(document);
}

static json_t *sample(void)
{
    json_t *document =
        json_loads("{\"n\": 5, \"x\": 0.5, \"s\": \"text\", \"yes\": true, \"null\": null,"
                   " \"list\": [1, 2, 3], \"bad\": [1, \"two\"], \"o\": {\"k\": 1}, \"huge\": 1e300,"
                   " \"big\": 9223372036854775807,"
                   " \"long\": \"0123456789012345678901234567890123456789012345678901234567890123\"}",
                   0, NULL);
    assert_non_null(document);
    return document;
}

static const vipo_json_at top = {"config.json", ""}, inner = {"config.json", "unet"};

static void test_values(void **state)
{
    (void)state;
    json_t *object = sample();
    vipo_error error;
    int n = 0, list[3] = {0}, count = 0;
    double x = 0;
    bool yes = false;
    const char *s = NULL;
    const json_t *o = NULL;
    assert_ok(vipo_json_int(object, top, "n", true, 5, 5, &n, &error), &error);
    assert_int_equal(n, 5);
    assert_ok(vipo_json_double(object, top, "x", true, 0, 1, &x, &error), &error);
    assert_true(x == 0.5);
    assert_ok(vipo_json_double(object, top, "n", true, 0, 5, &x, &error), &error);
    assert_true(x == 5);
    assert_ok(vipo_json_bool(object, top, "yes", true, &yes, &error), &error);
    assert_true(yes);
    assert_ok(vipo_json_string(object, top, "s", true, &s, &error), &error);
    assert_string_equal(s, "text");
    assert_ok(vipo_json_ints(object, top, "list", true, 1, 3, list, 3, &count, &error), &error);
    assert_int_equal(count, 3);
    assert_int_equal(list[2], 3);
    assert_ok(vipo_json_object(object, top, "o", true, &o, &error), &error);
    assert_non_null(json_object_get(o, "k"));

    /* Absent and null members leave the value alone. */
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "null" : "absent";
        assert_ok(vipo_json_int(object, top, key, false, 0, 1, &n, &error), &error);
        assert_ok(vipo_json_double(object, top, key, false, 0, 1, &x, &error), &error);
        assert_ok(vipo_json_bool(object, top, key, false, &yes, &error), &error);
        assert_ok(vipo_json_string(object, top, key, false, &s, &error), &error);
        assert_ok(vipo_json_ints(object, top, key, false, 0, 1, list, 3, &count, &error), &error);
        assert_ok(vipo_json_object(object, top, key, false, &o, &error), &error);
        assert_null(o);
    }
    assert_int_equal(n, 5);
    assert_true(yes && x == 5 && count == 3);
    assert_string_equal(s, "text");
    json_decref(object);
}

static void test_messages(void **state)
{
    (void)state;
    json_t *object = sample();
    vipo_error error;
    int n = 77, list[3] = {0}, count = 77;
    double x = 77;
    bool yes = false;
    const char *s = NULL;
    const json_t *o = NULL;
#define FAILS(call, text)                                                                                    \
    do {                                                                                                     \
        assert_int_equal(call, VIPO_FORMAT);                                                                 \
        assert_string_equal(error.message, text);                                                            \
    } while (0)
    FAILS(vipo_json_int(object, inner, "s", true, 1, 4096, &n, &error),
          "config.json: unet.s: expected an integer in 1..4096, found string \"text\"");
    FAILS(vipo_json_int(object, top, "n", false, 6, 9, &n, &error),
          "config.json: n: expected an integer in 6..9, found 5");
    FAILS(vipo_json_int(object, top, "x", false, 0, 9, &n, &error),
          "config.json: x: expected an integer in 0..9, found 0.5");
    FAILS(vipo_json_int(object, top, "big", false, -9, 9, &n, &error),
          "config.json: big: expected an integer in -9..9, found 9223372036854775807");
    FAILS(vipo_json_int(object, inner, "absent", true, 0, 9, &n, &error),
          "config.json: unet.absent: missing, expected an integer in 0..9");
    FAILS(vipo_json_int(object, top, "null", true, 0, 9, &n, &error),
          "config.json: null: expected an integer in 0..9, found null");
    FAILS(vipo_json_double(object, top, "huge", true, 0, 1, &x, &error),
          "config.json: huge: expected a number in 0..1, found 1.0000000000000001e+300");
    FAILS(vipo_json_double(object, top, "yes", true, 0, 1, &x, &error),
          "config.json: yes: expected a number in 0..1, found true");
    FAILS(vipo_json_bool(object, top, "n", true, &yes, &error),
          "config.json: n: expected true or false, found 5");
    FAILS(vipo_json_string(object, top, "o", true, &s, &error),
          "config.json: o: expected a string, found an object");
    FAILS(vipo_json_object(object, top, "list", true, &o, &error),
          "config.json: list: expected an object, found an array of 3");
    FAILS(vipo_json_object(object, top, "long", true, &o, &error),
          "config.json: long: expected an object, found string "
          "\"012345678901234567890123456789012345678901234567...\"");
    FAILS(vipo_json_ints(object, top, "list", true, 0, 9, list, 2, &count, &error),
          "config.json: list: expected an array of at most 2 integers in 0..9, found an array of 3");
    FAILS(vipo_json_ints(object, top, "list", true, 0, 2, list, 3, &count, &error),
          "config.json: list[2]: expected an integer in 0..2, found 3");
    FAILS(vipo_json_ints(object, inner, "bad", true, 0, 2, list, 3, &count, &error),
          "config.json: unet.bad[1]: expected an integer in 0..2, found string \"two\"");
#undef FAILS
    assert_true(n == 77 && count == 77 && x == 77 && !yes && !s && !o);
    assert_int_equal(list[0], 0);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_load), cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
