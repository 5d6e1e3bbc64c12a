#include "core/json_util.h"

#include <stdio.h>
#include <string.h>

#include "core/mapped_file.h"

enum { MAX_BYTES = 64 << 20, MAX_SHOWN = 48, DESCRIPTION_ROOM = 128 };

vipo_status vipo_json_load(json_t **out, const char *path, vipo_error *error)
{
    *out = NULL;
    vipo_mapped_file file;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_status status = VIPO_OK;
    json_error_t where;
    if (file.size == 0) {
        status = vipo_fail(error, VIPO_FORMAT, "%s: empty file, expected JSON", path);
    } else if (file.size > MAX_BYTES) {
        status = vipo_fail(error, VIPO_FORMAT, "%s: %zu bytes of JSON, expected at most %d", path, file.size,
                           (int)MAX_BYTES);
    } else {
        *out = json_loadb((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &where);
        if (!*out) {
            /* jansson reports a failed allocation without a place of its own. */
            const bool memory = json_error_code(&where) == json_error_out_of_memory;
            status = memory ? vipo_fail_memory(error, file.size, path)
                            : vipo_fail(error, VIPO_FORMAT, "%s: line %d, column %d: %s", path, where.line,
                                        where.column, where.text);
        }
    }
    vipo_mapped_file_close(&file);
    return status;
}

/* "string "x"" and the like, for the found-part of a message. */
static const char *describe(const json_t *value, char *room)
{
    switch (json_typeof(value)) {
    case JSON_STRING: {
        const char *text = json_string_value(value);
        const size_t length = strlen(text);
        snprintf(room, DESCRIPTION_ROOM, "string \"%.*s%s\"", (int)MAX_SHOWN, text,
                 length > MAX_SHOWN ? "..." : "");
        break;
    }
    case JSON_INTEGER:
        snprintf(room, DESCRIPTION_ROOM, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        snprintf(room, DESCRIPTION_ROOM, "%.17g", json_real_value(value));
        break;
    case JSON_ARRAY:
        snprintf(room, DESCRIPTION_ROOM, "an array of %zu", json_array_size(value));
        break;
    case JSON_OBJECT:
        return "an object";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
    default:
        return "null";
    }
    return room;
}

/* found NULL: the member is missing. */
static vipo_status fail_at(vipo_error *error, vipo_json_at at, const char *key, const char *expected,
                           const json_t *found)
{
    char room[DESCRIPTION_ROOM];
    const char *path = at.path ? at.path : "";
    const char *dot = path[0] ? "." : "";
    if (!found)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s%s%s: missing, expected %s", at.file, path, dot, key,
                         expected);
    return vipo_fail(error, VIPO_FORMAT, "%s: %s%s%s: expected %s, found %s", at.file, path, dot, key,
                     expected, describe(found, room));
}

/* *value is NULL if the member is absent (or null) and that is allowed. */
static vipo_status member(const json_t *object, vipo_json_at at, const char *key, bool required,
                          const char *expected, const json_t **value, vipo_error *error)
{
    const json_t *found = json_object_get(object, key);
    *value = found && !json_is_null(found) ? found : NULL;
    if (*value || !required) return VIPO_OK;
    return fail_at(error, at, key, expected, found);
}

vipo_status vipo_json_int(const json_t *object, vipo_json_at at, const char *key, bool required, int min,
                          int max, int *out, vipo_error *error)
{
    char expected[64];
    snprintf(expected, sizeof expected, "an integer in %d..%d", min, max);
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return fail_at(error, at, key, expected, value);
    *out = (int)json_integer_value(value);
    return VIPO_OK;
}

vipo_status vipo_json_double(const json_t *object, vipo_json_at at, const char *key, bool required,
                             double min, double max, double *out, vipo_error *error)
{
    char expected[80];
    snprintf(expected, sizeof expected, "a number in %g..%g", min, max);
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    const double number = json_number_value(value); /* 0 for what is no number */
    if (!json_is_number(value) || !(number >= min && number <= max))
        return fail_at(error, at, key, expected, value);
    *out = number;
    return VIPO_OK;
}

vipo_status vipo_json_bool(const json_t *object, vipo_json_at at, const char *key, bool required, bool *out,
                           vipo_error *error)
{
    static const char expected[] = "true or false";
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_boolean(value)) return fail_at(error, at, key, expected, value);
    *out = json_is_true(value);
    return VIPO_OK;
}

vipo_status vipo_json_string(const json_t *object, vipo_json_at at, const char *key, bool required,
                             const char **out, vipo_error *error)
{
    static const char expected[] = "a string";
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_string(value)) return fail_at(error, at, key, expected, value);
    *out = json_string_value(value);
    return VIPO_OK;
}

vipo_status vipo_json_ints(const json_t *object, vipo_json_at at, const char *key, bool required, int min,
                           int max, int *out, int capacity, int *count, vipo_error *error)
{
    char expected[96];
    snprintf(expected, sizeof expected, "an array of at most %d integers in %d..%d", capacity, min, max);
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_array(value) || json_array_size(value) > (size_t)capacity)
        return fail_at(error, at, key, expected, value);

    const size_t n = json_array_size(value);
    for (size_t i = 0; i < n; i++) { /* checked whole before *out is touched */
        const json_t *item = json_array_get(value, i);
        if (json_is_integer(item) && json_integer_value(item) >= min && json_integer_value(item) <= max)
            continue;
        char place[128];
        snprintf(place, sizeof place, "%.100s[%zu]", key, i);
        snprintf(expected, sizeof expected, "an integer in %d..%d", min, max);
        return fail_at(error, at, place, expected, item);
    }
    for (size_t i = 0; i < n; i++) out[i] = (int)json_integer_value(json_array_get(value, i));
    *count = (int)n;
    return VIPO_OK;
}

vipo_status vipo_json_doubles(const json_t *object, vipo_json_at at, const char *key, bool required,
                              double min, double max, double *out, int capacity, int *count,
                              vipo_error *error)
{
    char expected[96];
    snprintf(expected, sizeof expected, "an array of at most %d numbers in %g..%g", capacity, min, max);
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_array(value) || json_array_size(value) > (size_t)capacity)
        return fail_at(error, at, key, expected, value);

    const size_t n = json_array_size(value);
    for (size_t i = 0; i < n; i++) { /* checked whole before *out is touched */
        const json_t *item = json_array_get(value, i);
        const double number = json_number_value(item); /* 0 for what is no number */
        if (json_is_number(item) && number >= min && number <= max) continue;
        char place[128];
        snprintf(place, sizeof place, "%.100s[%zu]", key, i);
        snprintf(expected, sizeof expected, "a number in %g..%g", min, max);
        return fail_at(error, at, place, expected, item);
    }
    for (size_t i = 0; i < n; i++) out[i] = json_number_value(json_array_get(value, i));
    *count = (int)n;
    return VIPO_OK;
}

vipo_status vipo_json_object(const json_t *object, vipo_json_at at, const char *key, bool required,
                             const json_t **out, vipo_error *error)
{
    static const char expected[] = "an object";
    *out = NULL;
    const json_t *value;
    VIPO_TRY(member(object, at, key, required, expected, &value, error));
    if (!value) return VIPO_OK;
    if (!json_is_object(value)) return fail_at(error, at, key, expected, value);
    *out = value;
    return VIPO_OK;
}
