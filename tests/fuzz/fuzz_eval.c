/* Texts of an evaluation: settings of a policy ("key=value,..."), and the lists in a store's columns, which come back as they were
 * written. The first byte says which. */
#include "fuzz.h"

#include "eval/record.h"
#include "eval/setting_list.h"

enum { MOST = 4096 };

static void check_settings(const char *text)
{
    static const char *const words[] = {"push", "grasp", NULL};
    vipo_setting_list list;
    vipo_error error = {0};
    vipo_status status = vipo_setting_list_parse(&list, "--settings", text, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        return;
    }
    FUZZ_CHECK(list.n >= 0 && list.n <= VIPO_SETTINGS_MAX);
    for (int i = 0; i < list.n; i++) {
        double number = 1;
        int whole = 2, choice = 0;
        bool flag = false;
        const char *value = "x";
        FUZZ_CHECK(list.items[i].key[0]);
        status = vipo_setting_double(&list, list.items[i].key, -10, 10, &number, &error);
        FUZZ_CHECK(number >= -10 && number <= 10);
        if (status != VIPO_OK) fuzz_check_failure(status, &error);
        status = vipo_setting_int(&list, list.items[i].key, -10, 10, &whole, &error);
        FUZZ_CHECK(whole >= -10 && whole <= 10);
        if (status != VIPO_OK) fuzz_check_failure(status, &error);
        status = vipo_setting_choice(&list, list.items[i].key, words, &choice, &error);
        FUZZ_CHECK(choice == 0 || choice == 1);
        if (status != VIPO_OK) fuzz_check_failure(status, &error);
        status = vipo_setting_bool(&list, list.items[i].key, &flag, &error);
        if (status != VIPO_OK) fuzz_check_failure(status, &error);
        status = vipo_setting_text(&list, list.items[i].key, &value, &error);
        FUZZ_CHECK(value[0]);
        FUZZ_CHECK(strlen(list.asked) < sizeof list.asked);
    }
    FUZZ_CHECK(vipo_setting_list_finish(&list, &error) == VIPO_OK); /* each key was asked for */
    double none = 3;
    FUZZ_CHECK(vipo_setting_list_parse(&list, "--settings", text, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_setting_double(&list, "", 0, 1, &none, &error) == VIPO_OK && none == 3);
    status = vipo_setting_list_finish(&list, &error);
    FUZZ_CHECK((status == VIPO_OK) == (list.n == 0));
    if (status != VIPO_OK) fuzz_check_failure(status, &error);
}

static void check_list(const char *text, vipo_field_kind kind)
{
    char written[VIPO_RECORD_PLANS * 24];
    vipo_record record = {.plans = VIPO_RECORD_PLANS}, again = {.plans = VIPO_RECORD_PLANS};
    for (int i = 0; i < vipo_n_fields; i++) {
        if (vipo_fields[i].kind != kind || !vipo_field_parse_list(&vipo_fields[i], &record, text)) continue;
        vipo_field_print(&vipo_fields[i], &record, written, sizeof written);
        FUZZ_CHECK(vipo_field_parse_list(&vipo_fields[i], &again, written));
        char twice[VIPO_RECORD_PLANS * 24];
        vipo_field_print(&vipo_fields[i], &again, twice, sizeof twice);
        FUZZ_CHECK(strcmp(written, twice) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > MOST || memchr(data, 0, size)) return 0;
    char *const text = malloc(size); /* so that one byte too far is seen */
    FUZZ_CHECK(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] == '[')
        check_list(text, VIPO_FIELD_INTS);
    else if (data[0] == ']')
        check_list(text, VIPO_FIELD_DOUBLES);
    else
        check_settings(text);
    free(text);
    return 0;
}
