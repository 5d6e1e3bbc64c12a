/* A program may have set a locale whose numbers have a comma; vipo's have a point all the same. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "sampling/sampler.h"
#include "support/support.h"

/* Makes a locale that no machine has to have installed; false: localedef or its tables are missing. */
static bool use_commas(void)
{
    char command[2000];
    static const char source[] =
        "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n"
        "LC_CTYPE\ncopy \"POSIX\"\nEND LC_CTYPE\n";
    const char *const folder = test_temporary("locales");
    snprintf(command, sizeof command,
             "mkdir -p '%s' && printf '%s' >'%s/source' && "
             "localedef -c -i '%s/source' --no-archive '%s/commas' >/dev/null 2>&1; test -d '%s/commas'",
             folder, source, folder, folder, folder, folder);
    if (system(command) != 0) return false;
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_NUMERIC, "commas") != NULL;
}

static void test_commas(void **state)
{
    (void)state;
    if (!use_commas()) skip(); /* package locales */
    char text[200], *end;
    snprintf(text, sizeof text, "%g", 1.5);
    assert_string_equal(text, "1,5");

    vipo_snprintf(text, sizeof text, "%g %.3f", 1.5, 1000.25);
    assert_string_equal(text, "1.5 1000.250");
    assert_true(vipo_strtod("1.25,", &end) == 1.25 && strcmp(end, ",") == 0);
    snprintf(text, sizeof text, "%g", 1.5); /* and the program's own are as before */
    assert_string_equal(text, "1,5");
    const locale_t outer = vipo_points_begin();
    vipo_snprintf(text, sizeof text, "%g", 0.5);
    vipo_points_end(outer);
    assert_string_equal(text, "0.5");

    vipo_error error = {0};
    const vipo_sampler *sampler;
    vipo_schedule schedule;
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = "ab2";
    options.grid = "s:1.7,1.5";
    options.steps = 8;
    assert_ok(vipo_schedule_open(&schedule, 100, &error), &error);
    assert_ok(vipo_sampler_find(&sampler, "ab2", &error), &error);
    assert_ok(sampler->check(&options, &schedule, &error), &error);
    vipo_sampler_describe(sampler, &options, &schedule, 99, text, sizeof text);
    assert_string_equal(text, "ab2-8 s:1.7:1.5");
    vipo_schedule_close(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_commas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
