/* Reports: statistics against values from tables, sums over made-up episodes, texts that could break a page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/store.h"
#include "eval/summary.h"
#include "eval/text.h"
#include "support/files.h"

static void test_wilson(void **state)
{
    (void)state;
    /* Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3 */
    static const struct {
        int k, n;
        double low, high;
    } known[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}};
    double low, high;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        vipo_wilson_interval(known[i].k, known[i].n, &low, &high);
        assert_true(fabs(low - known[i].low) < 6e-5 && fabs(high - known[i].high) < 6e-5);
        double a, b;
        vipo_wilson_interval(known[i].n - known[i].k, known[i].n, &a, &b);
        assert_true(fabs(a - (1 - high)) < 1e-12 && fabs(b - (1 - low)) < 1e-12);
    }
    vipo_wilson_interval(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
    vipo_wilson_interval(33, 33, &low, &high);
    assert_true(low > 0.89 && low < 0.9 && high == 1);
}

static void test_mcnemar(void **state)
{
    (void)state;
    assert_true(vipo_mcnemar(0, 0) == 1);
    assert_true(vipo_mcnemar(5, 5) == 1);
    assert_true(fabs(vipo_mcnemar(1, 9) - 22.0 / 1024) < 1e-12);
    assert_true(fabs(vipo_mcnemar(9, 1) - 22.0 / 1024) < 1e-12);
    assert_true(fabs(vipo_mcnemar(0, 6) - 2.0 / 64) < 1e-12);
    assert_true(fabs(vipo_mcnemar(2, 3) - 1) < 1e-12);
    assert_true(vipo_mcnemar(100, 400) < 1e-40 && vipo_mcnemar(100, 400) > 0);
}

/* ---- made-up stores ---------------------------------------------------------------------------------------- */

static vipo_store *new_store(const char *name)
{
    vipo_store *store;
    vipo_error error = {0};
    remove(test_temporary(name));
    assert_ok(vipo_store_open(&store, test_temporary(name), VIPO_STORE_WRITE, &error), &error);
    return store;
}

static void add_settings(vipo_store *store, const char *hash, const char *label, const char *json)
{
    vipo_error error = {0};
    vipo_settings settings = {.json = (char *)(uintptr_t)json};
    snprintf(settings.hash, sizeof settings.hash, "%s", hash);
    snprintf(settings.label, sizeof settings.label, "%s", label);
    assert_ok(vipo_store_add_settings(store, &settings, &error), &error);
}

static vipo_record episode(const char *settings, const char *task, int seed, bool success)
{
    vipo_record r = {.seed = (uint64_t)seed, .success = success, .steps = success ? 50 : 500};
    r.first_success = success ? 40 + seed : 0;
    r.total_reward = 2;
    r.max_reward = 1;
    r.plans = 2;
    r.replans = 1;
    r.calls = 20;
    r.evaluations = 40;
    r.rounds = 4;
    r.drafted = 10;
    r.accepted = 7;
    r.plan_seconds[0] = 1;
    r.plan_seconds[1] = 3;
    r.plan_steps[1] = 20;
    r.seconds = 6;
    r.planning_seconds = 4;
    r.physics_seconds = 1;
    snprintf(r.settings, sizeof r.settings, "%s", settings);
    snprintf(r.task, sizeof r.task, "%s", task);
    snprintf(r.camera, sizeof r.camera, "corner");
    return r;
}

static void add(vipo_store *store, const vipo_record *record)
{
    vipo_error error = {0};
    bool added;
    assert_ok(vipo_store_add(store, record, &added, &error), &error);
    assert_true(added);
}

static const char json_a[] =
    "{\"policy\":\"flow\",\"plan\":\"model\",\"profile\":\"farama-v3\",\"sampler\":{\"resolved\":\"a\"}}";
static const char json_b[] =
    "{\"policy\":\"flow\",\"plan\":\"model\",\"profile\":\"farama-v3\",\"sampler\":{\"resolved\":\"b\"}}";
static const char json_c[] = "{\"policy\":\"flow\",\"plan\":\"model\",\"profile\":\"avdc-v2\"}";
static const char nasty[] = "<script>alert(\"1\")</script> | 'x', y & z";

/* Settings a: successes at even seeds; b: at seeds 0..7 of 10. Settings c are of the other profile. */
static void fill(vipo_store *store)
{
    add_settings(store, "aaaaaaaaaaaaaaaa", "same <name>", json_a);
    add_settings(store, "bbbbbbbbbbbbbbbb", "same <name>", json_b);
    add_settings(store, "cccccccccccccccc", "other", json_c);
    add_settings(store, "dddddddddddddddd", "without episodes", json_c);
    for (int seed = 0; seed < 10; seed++) {
        vipo_record a = episode("aaaaaaaaaaaaaaaa", seed < 5 ? "hammer" : "door-open", seed, seed % 2 == 0);
        if (seed == 1 || seed == 3) snprintf(a.error, sizeof a.error, "%s", nasty);
        const vipo_record b = episode("bbbbbbbbbbbbbbbb", seed < 5 ? "hammer" : "door-open", seed, seed < 8);
        const vipo_record c = episode("cccccccccccccccc", "hammer", seed, true);
        add(store, &a);
        add(store, &b);
        add(store, &c);
    }
}

static vipo_report *open_report(const char *const *stores, int n, const char *baseline)
{
    vipo_report *report;
    vipo_report_options options;
    vipo_error error = {0};
    vipo_report_default_options(&options);
    options.stores = stores;
    options.n_stores = n;
    options.baseline = baseline;
    assert_ok(vipo_report_open(&report, &options, &error), &error);
    return report;
}

static void test_sums(void **state)
{
    (void)state;
    vipo_store *store = new_store("sums.db");
    fill(store);
    char digest[VIPO_SETTINGS_HASH];
    vipo_error error = {0};
    assert_ok(vipo_store_digest(store, digest, NULL, &error), &error);
    vipo_store_close(&store);
    const char *const stores[] = {test_temporary("sums.db")};
    vipo_report *report = open_report(stores, 1, NULL);
    vipo_report_info info;
    vipo_report_get_info(report, &info);
    assert_int_equal(info.episodes, 30);
    assert_int_equal(info.successes, 5 + 8 + 10);
    assert_int_equal(info.settings, 3);
    assert_int_equal(info.tasks, 2);
    assert_string_equal(info.digest, digest); /* a store and the report of it agree */
    assert_string_equal(report->settings[0].settings.label, "same <name>#aaaaaa");
    assert_string_equal(report->settings[1].settings.label, "same <name>#bbbbbb");
    assert_string_equal(report->settings[2].settings.label, "other");
    assert_string_equal(report->tasks[0], "door-open"); /* the simulator's order */
    const vipo_tally *const a = &report->settings[0].all;
    assert_int_equal(a->episodes, 10);
    assert_int_equal(a->successes, 5);
    assert_int_equal(a->errors, 2);
    assert_true(a->steps_to_success == 40 * 5 + 0 + 2 + 4 + 6 + 8);
    assert_int_equal(report->settings[0].by_task[0].successes, 2); /* seeds 6, 8 */
    assert_int_equal(report->settings[0].by_task[1].successes, 3); /* 0, 2, 4 */
    assert_true(report->settings[0].median_plan_seconds == 2);
    /* of a and b: both 0 2 4 6; a alone 8; b alone 1 3 5 7. c has no partner: another profile */
    assert_int_equal(report->n_comparisons, 1);
    const vipo_comparison *const c = &report->comparisons[0];
    assert_int_equal(c->pairs, 10);
    assert_int_equal(c->only_a, 1);
    assert_int_equal(c->only_b, 4);
    assert_true(fabs(c->p - 12.0 / 32) < 1e-12);
    assert_int_equal(report->n_failures, 1);
    assert_int_equal(report->failures[0].count, 2);
    assert_string_equal(report->failures[0].error, nasty);
    vipo_report_close(&report);
    assert_null(report);

    report = open_report(stores, 1, "bbbbbbbbbbbbbbbb");
    assert_int_equal(report->comparisons[0].a, 1);
    assert_int_equal(report->comparisons[0].only_a, 4);
    vipo_report_close(&report);
}

static void test_texts(void **state)
{
    (void)state;
    vipo_store *store = new_store("texts.db");
    fill(store);
    vipo_store_close(&store);
    const char *const stores[] = {test_temporary("texts.db")};
    vipo_report *report = open_report(stores, 1, NULL);
    vipo_error error = {0};
    char *text;
    assert_ok(vipo_report_text(report, "html", &text, &error), &error);
    assert_null(strstr(text, "<script>"));
    assert_null(strstr(text, "<name>"));
    assert_non_null(
        strstr(text, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; | &#39;x&#39;, y &amp; z"));
    assert_null(strstr(text, "http")); /* needs nothing else */
    assert_null(strstr(text, "nan"));
    vipo_text_free(&text);
    assert_null(text);
    assert_ok(vipo_report_text(report, "md", &text, &error), &error);
    assert_non_null(strstr(text, "</script> \\| 'x', y & z | 2 |"));
    assert_non_null(strstr(
        text, "| same <name>#aaaaaa | farama-v3 | 10 | 50.0 % [23.7, 76.3] | 44.0 | 2.00 | 2.0 | 2 |"));
    assert_non_null(
        strstr(text, "| same <name>#aaaaaa | 10.00 | 20.00 | 2.00 | 70.0 % | 2.000 | 2.000 | 1.00 |"));
    assert_non_null(
        strstr(text, "| same <name>#aaaaaa | 6.000 | 4.000 | 0.000 | 0.000 | 1.000 | 0.000 | 1.000 |"));
    vipo_text_free(&text);
    assert_ok(vipo_report_text(report, "csv", &text, &error), &error);
    assert_non_null(strstr(text, ",\"<script>alert(\"\"1\"\")</script> | 'x', y & z\","));
    int lines = 0;
    for (const char *at = text; *at; at++) lines += *at == '\n';
    assert_int_equal(lines, 31);
    vipo_text_free(&text);
    assert_int_equal(vipo_report_text(report, "pdf", &text, &error), VIPO_INVALID_ARGUMENT);
    assert_null(text);
    vipo_report_close(&report);
}

/* Of an episode that is in several stores the first one's result counts. */
static void test_several(void **state)
{
    (void)state;
    vipo_store *one = new_store("one.db"), *two = new_store("two.db");
    add_settings(one, "aaaaaaaaaaaaaaaa", "a", json_a);
    add_settings(two, "aaaaaaaaaaaaaaaa", "renamed", json_a);
    for (int seed = 0; seed < 6; seed++) {
        const vipo_record mine = episode("aaaaaaaaaaaaaaaa", "hammer", seed, true);
        const vipo_record other = episode("aaaaaaaaaaaaaaaa", "hammer", seed, seed != 5);
        if (seed != 4) add(one, &mine);
        if (seed > 2) add(two, &other);
    }
    vipo_store_close(&one);
    vipo_store_close(&two);
    const char *const stores[] = {test_temporary("one.db"), test_temporary("two.db")};
    vipo_report *report = open_report(stores, 2, "a");
    vipo_report_info info;
    vipo_report_get_info(report, &info);
    assert_int_equal(info.episodes, 6);
    assert_int_equal(info.successes, 6);
    assert_int_equal(info.different, 1);
    assert_int_equal(info.settings, 1);
    vipo_report_close(&report);

    vipo_report_options options;
    vipo_error error = {0};
    vipo_report_default_options(&options);
    options.stores = stores;
    options.n_stores = 2;
    options.baseline = "b";
    assert_int_equal(vipo_report_open(&report, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "no settings are called 'b', expected 'a'");
    assert_null(report);
    vipo_store *none = new_store("none.db");
    vipo_store_close(&none);
    const char *const empty[] = {test_temporary("none.db")};
    options.stores = empty;
    options.n_stores = 1;
    options.baseline = NULL;
    assert_int_equal(vipo_report_open(&report, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "none.db: holds no episodes"));
    vipo_store *orphan = new_store("orphan.db");
    const vipo_record lost = episode("ffffffffffffffff", "hammer", 0, true);
    add(orphan, &lost);
    vipo_store_close(&orphan);
    const char *const orphans[] = {test_temporary("orphan.db")};
    options.stores = orphans;
    assert_int_equal(vipo_report_open(&report, &options, &error), VIPO_FORMAT);
    assert_non_null(strstr(error.message, "settings ffffffffffffffff"));
}

static void test_text(void **state)
{
    (void)state;
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"}; /* RFC 4648 */
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    vipo_error error = {0};
    for (int i = 0; i < 7; i++) {
        vipo_text text = {0};
        char *out;
        vipo_text_add_base64(&text, (const uint8_t *)plain[i], strlen(plain[i]));
        assert_ok(vipo_text_take(&text, &out, &error), &error);
        assert_string_equal(out, coded[i]);
        vipo_text_free(&out);
    }
    vipo_text text = {0};
    char *out;
    for (int i = 0; i < 20000; i++) vipo_text_add(&text, "%d,", i);
    assert_ok(vipo_text_take(&text, &out, &error), &error);
    assert_int_equal(strlen(out), 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5 + 10000 * 6);
    vipo_text_free(&out);
    vipo_text_add_csv(&text, "plain");
    vipo_text_add_csv(&text, "a\"b\nc");
    assert_ok(vipo_text_take(&text, &out, &error), &error);
    assert_string_equal(out, "plain\"a\"\"b\nc\"");
    vipo_text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wilson), cmocka_unit_test(test_mcnemar), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_texts),  cmocka_unit_test(test_several), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
