#include "core/json_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading: places in a text that is known to be valid; at its end all of these stop ---------------------- */

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* at: the opening quote. */
static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
    return *at ? at + 1 : at;
}

static const char *skip_value(const char *at)
{
    if (*at == '"') return skip_string(at);
    if (*at != '{' && *at != '[') return at + strcspn(at, ",]} \t\r\n");
    int open = 0;
    while (*at) {
        if (*at == '"') {
            at = skip_string(at);
            continue;
        }
        if (*at == '{' || *at == '[') open++;
        if ((*at == '}' || *at == ']') && --open == 0) return at + 1;
        at++;
    }
    return at;
}

/* What was found of a member in an object. */
typedef struct found {
    const char *value, *value_end; /* NULL: not there */
    const char *last_end;          /* of the object's last value; after its brace if it is empty */
    bool empty;
} found;

/* object: its opening brace. Names are compared as they are spelled. */
static found find_member(const char *object, const char *name)
{
    found f = {.last_end = object + 1, .empty = true};
    const size_t length = strlen(name);
    const char *at = skip_space(object + 1);
    while (*at == '"') {
        const char *const key = at + 1, *const key_end = skip_string(at);
        at = skip_space(key_end);
        if (*at) at = skip_space(at + 1); /* the colon */
        const char *const end = skip_value(at);
        if (!f.value && (size_t)(key_end - key) == length + 1 && strncmp(key, name, length) == 0) {
            f.value = at;
            f.value_end = end;
        }
        f.last_end = end;
        f.empty = false;
        at = skip_space(end);
        if (*at == ',') at = skip_space(at + 1);
    }
    return f;
}

/* Spaces before the first member; 0: it is on the line of the brace. */
static int indentation(const char *object)
{
    const char *at = object + 1;
    at += strspn(at, " \t\r");
    if (*at != '\n') return 0;
    at++;
    const size_t n = strspn(at, " ");
    return n < 1 ? 1 : n > 31 ? 31 : (int)n; /* jansson's largest; tabs become single spaces */
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static void put_line(FILE *out, int spaces)
{
    fprintf(out, "\n%*s", spaces, "");
}

/* Dumped text with `spaces` more at the beginning of every line. */
static void put_shifted(FILE *out, const char *dump, int spaces)
{
    for (; *dump; dump++)
        if (*dump == '\n')
            put_line(out, spaces);
        else
            fputc(*dump, out);
}

vipo_status vipo_json_edit(char **out, const char *text, const char *const *path, int depth,
                           const json_t *value, int digits, const char *file, vipo_error *error)
{
    *out = NULL;
    const char *object = skip_space(text);
    const int indent = indentation(object);
    int level = 0;
    found f = find_member(object, path[0]);
    while (f.value && level < depth - 1) {
        if (strncmp(f.value, "null", 4) == 0) break; /* as good as absent, and replaced by an object */
        if (*f.value != '{')
            return vipo_fail(error, VIPO_FORMAT, "%s: %s: expected an object", file, path[level]);
        object = f.value;
        f = find_member(object, path[++level]);
    }

    const size_t flags =
        (indent ? JSON_INDENT((size_t)indent) : 0) | JSON_REAL_PRECISION((size_t)digits) | JSON_ENCODE_ANY;
    char *const dump = json_dumps(value, flags);
    char *edited = NULL;
    size_t size = 0;
    FILE *const stream = dump ? open_memstream(&edited, &size) : NULL;
    if (!stream) {
        free(dump);
        return vipo_fail_memory(error, strlen(text), file);
    }
    const char *const before = f.value ? f.value : f.last_end;
    fwrite(text, 1, (size_t)(before - text), stream);
    /* the missing objects of the path around the value */
    if (!f.value && !f.empty) fputc(',', stream);
    for (int i = f.value ? level + 1 : level; i < depth; i++) {
        if (i > level) fputc('{', stream);
        if (indent)
            put_line(stream, indent * (i + 1));
        else if (i == level && !f.empty)
            fputc(' ', stream);
        fprintf(stream, "\"%s\": ", path[i]);
    }
    put_shifted(stream, dump, indent * depth);
    for (int i = depth - 1; i > level; i--) {
        if (indent) put_line(stream, indent * i);
        fputc('}', stream);
    }
    if (!f.value && f.empty && indent) put_line(stream, indent * level);
    fputs(f.value ? f.value_end : f.empty ? skip_space(f.last_end) : f.last_end, stream);
    free(dump);
    const bool failed = ferror(stream) != 0;
    if (fclose(stream) != 0 || failed) {
        free(edited);
        return vipo_fail_memory(error, strlen(text), file);
    }
    *out = edited;
    return VIPO_OK;
}
