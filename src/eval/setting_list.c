#include "eval/setting_list.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"

vipo_status vipo_setting_list_parse(vipo_setting_list *out, const char *option, const char *text,
                                    vipo_error *error)
{
    memset(out, 0, sizeof *out);
    out->option = option;
    if (!text || !*text) return VIPO_OK;
    if (strlen(text) >= sizeof out->text)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: longer than %zu bytes", option,
                         sizeof out->text - 1);
    strcpy(out->text, text);
    for (char *at = out->text; at;) {
        char *const next = strchr(at, ',');
        if (next) *next = '\0';
        char *const equals = strchr(at, '=');
        if (equals) *equals = '\0';
        if (!*at)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s '%.200s': expected KEY=VALUE,KEY=VALUE",
                             option, text);
        for (int i = 0; i < out->n; i++)
            if (strcmp(out->items[i].key, at) == 0)
                return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: %.80s is there twice", option, at);
        if (out->n == VIPO_SETTINGS_MAX)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: more than %d settings", option,
                             VIPO_SETTINGS_MAX);
        out->items[out->n++] = (vipo_setting){at, equals ? equals + 1 : NULL, false};
        at = next ? next + 1 : NULL;
    }
    return VIPO_OK;
}

/* The setting of that key, NULL if it was not given. */
static const vipo_setting *ask(vipo_setting_list *list, const char *key)
{
    const size_t used = strlen(list->asked);
    snprintf(list->asked + used, sizeof list->asked - used, "%s%s", used ? ", " : "", key);
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->items[i].key, key) == 0) {
            list->items[i].used = true;
            return &list->items[i];
        }
    return NULL;
}

static const char *shown(const vipo_setting *setting)
{
    return setting->value ? setting->value : "";
}

static vipo_status refuse(const vipo_setting_list *list, const vipo_setting *setting, const char *expected,
                          vipo_error *error)
{
    return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: %s=%.80s: expected %s", list->option, setting->key,
                     shown(setting), expected);
}

vipo_status vipo_setting_double(vipo_setting_list *list, const char *key, double min, double max, double *out,
                                vipo_error *error)
{
    char expected[96], *end;
    const vipo_setting *const setting = ask(list, key);
    if (!setting) return VIPO_OK;
    const double value = vipo_strtod(shown(setting), &end);
    snprintf(expected, sizeof expected, "a number in %g..%g", min, max);
    if (end == shown(setting) || *end || !isfinite(value) || value < min || value > max)
        return refuse(list, setting, expected, error);
    *out = value;
    return VIPO_OK;
}

vipo_status vipo_setting_int(vipo_setting_list *list, const char *key, int min, int max, int *out,
                             vipo_error *error)
{
    char expected[96], *end;
    const vipo_setting *const setting = ask(list, key);
    if (!setting) return VIPO_OK;
    const long value = strtol(shown(setting), &end, 10);
    snprintf(expected, sizeof expected, "a whole number in %d..%d", min, max);
    if (end == shown(setting) || *end || value < min || value > max)
        return refuse(list, setting, expected, error);
    *out = (int)value;
    return VIPO_OK;
}

vipo_status vipo_setting_bool(vipo_setting_list *list, const char *key, bool *out, vipo_error *error)
{
    static const char *const words[] = {"0", "1", "false", "true", "off", "on", "no", "yes"};
    const vipo_setting *const setting = ask(list, key);
    if (!setting) return VIPO_OK;
    if (!setting->value) {
        *out = true;
        return VIPO_OK;
    }
    for (int i = 0; i < 8; i++)
        if (strcmp(setting->value, words[i]) == 0) {
            *out = i % 2 == 1;
            return VIPO_OK;
        }
    return refuse(list, setting, "true or false", error);
}

vipo_status vipo_setting_choice(vipo_setting_list *list, const char *key, const char *const *choices,
                                int *out, vipo_error *error)
{
    char expected[200] = "";
    const vipo_setting *const setting = ask(list, key);
    if (!setting) return VIPO_OK;
    for (int i = 0; choices[i]; i++) {
        if (setting->value && strcmp(setting->value, choices[i]) == 0) {
            *out = i;
            return VIPO_OK;
        }
        const size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : "one of ", choices[i]);
    }
    return refuse(list, setting, expected, error);
}

vipo_status vipo_setting_text(vipo_setting_list *list, const char *key, const char **out, vipo_error *error)
{
    const vipo_setting *const setting = ask(list, key);
    if (!setting) return VIPO_OK;
    if (!setting->value || !*setting->value) return refuse(list, setting, "a value", error);
    *out = setting->value;
    return VIPO_OK;
}

vipo_status vipo_setting_list_finish(const vipo_setting_list *list, vipo_error *error)
{
    for (int i = 0; i < list->n; i++)
        if (!list->items[i].used)
            return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: unknown setting %.80s, expected %s",
                             list->option, list->items[i].key, list->asked[0] ? list->asked : "none");
    return VIPO_OK;
}
