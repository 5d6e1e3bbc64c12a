/* Settings and their hash, lists of settings, predictors by name, random keys of episodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eval/predictor.h"
#include "eval/setting_list.h"
#include "eval/settings.h"
#include "support/files.h"

static void hash_of(const char *json, char out[VIPO_SETTINGS_HASH])
{
    vipo_settings settings;
    vipo_error error = {0};
    assert_ok(vipo_settings_make(&settings, json_loads(json, 0, NULL), "label", &error), &error);
    strcpy(out, settings.hash);
    char again[VIPO_SETTINGS_HASH];
    vipo_settings_hash(settings.json, again);
    assert_string_equal(again, settings.hash);
    vipo_settings_free(&settings);
    assert_null(settings.json);
}

static void test_hash(void **state)
{
    (void)state;
    char a[VIPO_SETTINGS_HASH], b[VIPO_SETTINGS_HASH];
    hash_of("{\"policy\":\"expert\",\"steps\":100,\"x\":{\"p\":1,\"q\":2.5}}", a);
    hash_of("{\"x\":{\"q\":2.5,\"p\":1},\"steps\":100,\"policy\":\"expert\"}", b);
    assert_string_equal(a, b); /* the order of keys is nothing */
    assert_int_equal(strlen(a), 16);
    static const char *const others[] = {
        "{\"policy\":\"expert\",\"steps\":101,\"x\":{\"p\":1,\"q\":2.5}}",
        "{\"policy\":\"expert\",\"steps\":100,\"x\":{\"p\":1,\"q\":2.5000000001}}",
        "{\"policy\":\"flow\",\"steps\":100,\"x\":{\"p\":1,\"q\":2.5}}",
        "{\"policy\":\"expert\",\"steps\":100,\"x\":{\"p\":1}}",
        "{\"policy\":\"expert\",\"steps\":100,\"x\":{\"p\":2.5,\"q\":1}}",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        hash_of(others[i], b);
        assert_string_not_equal(a, b);
    }
    /* kept in files: a known value keeps its meaning */
    hash_of("{\"policy\":\"expert\"}", a);
    assert_string_equal(a, "e84113d356b14905");
    vipo_settings settings;
    vipo_error error = {0};
    assert_int_equal(vipo_settings_make(&settings, NULL, "", &error), VIPO_OUT_OF_MEMORY);
    assert_null(settings.json);
}

static void test_fingerprints(void **state)
{
    (void)state;
    char a[VIPO_SETTINGS_HASH], b[VIPO_SETTINGS_HASH], path[512];
    vipo_error error = {0};
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
    const char *const folder = test_temporary("model");
    assert_int_equal(mkdir(folder, 0777), 0);
    snprintf(path, sizeof path, "%s/one.safetensors", folder);
    test_file_write(path, bytes, sizeof bytes);
    assert_ok(vipo_fingerprint_file(path, a, &error), &error);
    for (size_t at = 0; at < sizeof bytes; at += 37) { /* every byte counts */
        bytes[at] ^= 1;
        test_file_write(path, bytes, sizeof bytes);
        assert_ok(vipo_fingerprint_file(path, b, &error), &error);
        assert_string_not_equal(a, b);
        bytes[at] ^= 1;
    }
    test_file_write(path, bytes, sizeof bytes - 1);
    assert_ok(vipo_fingerprint_file(path, b, &error), &error);
    assert_string_not_equal(a, b);
    test_file_write(path, bytes, sizeof bytes);

    assert_ok(vipo_fingerprint_folder(folder, a, &error), &error);
    snprintf(path, sizeof path, "%s/.hidden", folder);
    test_file_write(path, "x", 1);
    snprintf(path, sizeof path, "%s/sub", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    static const char *const beside[] = {"README.md", "results.db", "eval.log", "safetensors",
                                         ".x.safetensors"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, beside[i]);
        test_file_write(path, "x", 1);
    }
    assert_ok(vipo_fingerprint_folder(folder, b, &error), &error);
    assert_string_equal(a, b);
    assert_ok(vipo_fingerprint_check(folder, a, &error), &error);
    static const char *const parts[] = {"two.safetensors", "config.json"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        test_file_write(path, "x", 1);
        assert_int_equal(vipo_fingerprint_check(folder, a, &error), VIPO_MISMATCH);
        assert_non_null(strstr(error.message, "model: has changed since the evaluation began"));
        assert_ok(vipo_fingerprint_folder(folder, b, &error), &error);
        assert_string_not_equal(a, b);
        memcpy(a, b, sizeof a);
    }
    assert_int_equal(vipo_fingerprint_folder(test_temporary("nowhere"), b, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "nowhere: No such file"));
}

static void test_setting_list(void **state)
{
    (void)state;
    static const char *const modes[] = {"push", "grasp", NULL};
    vipo_setting_list list;
    vipo_error error = {0};
    double x = 1;
    int n = 5, mode = 0;
    bool flag = false;
    const char *text = "none";
    assert_ok(
        vipo_setting_list_parse(&list, "--predictor-settings", "x=2.5,n=7,mode=grasp,flag,text=a=b", &error),
        &error);
    assert_ok(vipo_setting_double(&list, "x", 0, 10, &x, &error), &error);
    assert_ok(vipo_setting_int(&list, "n", 0, 10, &n, &error), &error);
    assert_ok(vipo_setting_choice(&list, "mode", modes, &mode, &error), &error);
    assert_ok(vipo_setting_bool(&list, "flag", &flag, &error), &error);
    assert_int_equal(vipo_setting_list_finish(&list, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message,
                        "--predictor-settings: unknown setting text, expected x, n, mode, flag");
    assert_ok(vipo_setting_text(&list, "text", &text, &error), &error);
    assert_ok(vipo_setting_list_finish(&list, &error), &error);
    assert_true(x == 2.5 && n == 7 && mode == 1 && flag);
    assert_string_equal(text, "a=b");

    assert_ok(vipo_setting_list_parse(&list, "-s", NULL, &error), &error);
    assert_ok(vipo_setting_double(&list, "x", 0, 10, &x, &error), &error);
    assert_true(x == 2.5); /* keeps its value */
    assert_ok(vipo_setting_list_finish(&list, &error), &error);

    static const struct {
        const char *text, *message;
    } bad[] = {
        {"x=", "-s: x=: expected a number in 0..10"},
        {"x", "-s: x=: expected a number in 0..10"},
        {"x=nan", "-s: x=nan: expected a number in 0..10"},
        {"x=11", "-s: x=11: expected a number in 0..10"},
        {"n=1.5", "-s: n=1.5: expected a whole number in 0..10"},
        {"n=-1", "-s: n=-1: expected a whole number in 0..10"},
        {"n=99999999999999999999", "-s: n=99999999999999999999: expected a whole number in 0..10"},
        {"mode=pull", "-s: mode=pull: expected one of push, grasp"},
        {"flag=2", "-s: flag=2: expected true or false"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(vipo_setting_list_parse(&list, "-s", bad[i].text, &error), &error);
        vipo_status status = vipo_setting_double(&list, "x", 0, 10, &x, &error);
        if (status == VIPO_OK) status = vipo_setting_int(&list, "n", 0, 10, &n, &error);
        if (status == VIPO_OK) status = vipo_setting_choice(&list, "mode", modes, &mode, &error);
        if (status == VIPO_OK) status = vipo_setting_bool(&list, "flag", &flag, &error);
        assert_int_equal(status, VIPO_INVALID_ARGUMENT);
        assert_string_equal(error.message, bad[i].message);
    }
    assert_int_equal(vipo_setting_list_parse(&list, "-s", "a=1,,b=2", &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "-s 'a=1,,b=2': expected KEY=VALUE,KEY=VALUE");
    assert_int_equal(vipo_setting_list_parse(&list, "-s", "a=1,", &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_setting_list_parse(&list, "-s", "=1", &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(vipo_setting_list_parse(&list, "-s", "a=1,a=2", &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "-s: a is there twice");
    char many[400] = "a0";
    for (int i = 1; i < 40; i++) snprintf(many + strlen(many), sizeof many - strlen(many), ",a%d", i);
    assert_int_equal(vipo_setting_list_parse(&list, "-s", many, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "-s: more than 32 settings");
}

static void test_predictors(void **state)
{
    (void)state;
    const vipo_predictor *found;
    vipo_error error = {0};
    for (int i = 0; vipo_predictor_at(i); i++) {
        const vipo_predictor *const one = vipo_predictor_at(i);
        assert_ok(vipo_predictor_find(&found, one->name, &error), &error);
        assert_ptr_equal(found, one);
        assert_non_null(one->act);
        assert_true(strlen(one->summary) > 10);
        assert_true((one->load != NULL) == (one->unload != NULL));
        assert_true((one->open != NULL) == (one->close != NULL));
    }
    assert_null(vipo_predictor_at(-1));
    assert_int_equal(vipo_predictor_find(&found, "wizard", &error), VIPO_INVALID_ARGUMENT);
    assert_null(found);
    assert_non_null(strstr(error.message, "unknown policy \"wizard\", expected "));
    assert_non_null(strstr(error.message, "expert"));
}

static void test_keys(void **state)
{
    (void)state;
    const uint64_t key = vipo_episode_key("farama-v3", "door-open", "corner", 7);
    assert_true(key == vipo_episode_key("farama-v3", "door-open", "corner", 7));
    const uint64_t others[] = {
        vipo_episode_key("avdc-v2", "door-open", "corner", 7),
        vipo_episode_key("farama-v3", "door-close", "corner", 7),
        vipo_episode_key("farama-v3", "door-open", "corner2", 7),
        vipo_episode_key("farama-v3", "door-open", "corner", 8),
        vipo_episode_key("farama-v3", "door-open", "corner", 7 + (UINT64_C(1) << 40)),
        vipo_episode_key("farama-v3", "door-openc", "orner", 7),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_true(others[i] != key);
    for (int plan = 0; plan < 20; plan++) {
        assert_true(vipo_plan_seed(key, plan) <= INT64_MAX);
        assert_true(vipo_plan_seed(key, plan) != vipo_plan_seed(key, plan + 1));
        assert_true(vipo_plan_key(key, plan) != vipo_plan_key(key, plan + 1));
        assert_true(vipo_plan_key(key, plan) >> 1 != vipo_plan_seed(key, plan));
    }
    /* the same on every machine: Philox4x32-10 of the names' FNV-1a hash */
    assert_true(key == UINT64_C(0x073c0387300b0ae1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),         cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_setting_list), cmocka_unit_test(test_predictors),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
