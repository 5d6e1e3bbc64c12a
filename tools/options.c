#include "options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool complain(char *message, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool complain(char *message, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

bool option_takes_value(const option *o)
{
    return o->kind != OPTION_FLAG && o->kind != OPTION_FLAG_OFF && o->kind != OPTION_COUNT;
}

/* ---- walking the tables ---------------------------------------------------------------------------- */

static void skip_ends(option_cursor *at)
{
    while (at->option && !at->option->name) {
        at->group++;
        at->option = at->group->options;
    }
}

option_cursor option_first(const option_group *groups)
{
    option_cursor at = {groups, groups->options};
    skip_ends(&at);
    return at;
}

void option_next(option_cursor *at)
{
    at->option++;
    skip_ends(at);
}

const char *option_title(const option_cursor *at)
{
    return at->option == at->group->options && at->group->title[0] ? at->group->title : NULL;
}

/* ---- looking up names ------------------------------------------------------------------------------ */

const option *option_find(const option *options, const char *name)
{
    for (; options->name; options++)
        if (strcmp(options->name, name) == 0) return options;
    return NULL;
}

bool option_was_given(const option_use *use, const char *name)
{
    for (int i = 0; i < use->n_given; i++)
        if (strcmp(use->given[i]->name, name) == 0) return true;
    return false;
}

static option_cursor find_in_groups(const option_group *groups, const char *name, size_t length, char letter)
{
    option_cursor at = option_first(groups);
    for (; at.option; option_next(&at)) {
        const option *const o = at.option;
        if (name ? strlen(o->name) == length && memcmp(o->name, name, length) == 0 : o->letter == letter)
            break;
    }
    return at;
}

/* Edits (insert, delete, replace, swap of neighbours) between two words, at most LONGEST letters. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST) return INT_MAX;
    int d[LONGEST + 1][LONGEST + 1];
    for (int i = 0; i <= n; i++)
        for (int j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *closest_name(const char *word, const char *(*name)(const void *list, int i), const void *list)
{
    const size_t length = strlen(word);
    const char *closest = NULL;
    int best = length < 4 ? 2 : length < 9 ? 3 : 4; /* more edits than this are another word */
    for (int i = 0;; i++) {
        const char *candidate = name(list, i);
        if (!candidate) return closest;
        int distance = edit_distance(word, candidate);
        if (length >= 3 && strncmp(candidate, word, length) == 0) distance = 1; /* an abbreviation */
        if (distance >= best) continue;
        best = distance;
        closest = candidate;
    }
}

static const char *name_in_groups(const void *list, int i)
{
    option_cursor at = option_first(list);
    while (at.option && i-- > 0) option_next(&at);
    return at.option ? at.option->name : NULL;
}

static const char *name_of_choice(const void *list, int i)
{
    return ((const option *)list)->choice(i);
}

void join_choices(const char *(*choice)(int i), char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; choice(i) && used < size; i++) {
        const char *separator = i == 0 ? "" : choice(i + 1) ? ", " : " or ";
        const int n = snprintf(out + used, size - used, "%s%s", separator, choice(i));
        used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- values ---------------------------------------------------------------------------------------- */

/* strtol, strtoull and strtod skip white space, which a careful reader does not want. */
static bool starts_like_number(const char *text)
{
    return (text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '+' || text[0] == '.';
}

static bool parse_int(const char *text, const option *o, int *out)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (!starts_like_number(text) || end == text || *end || errno) return false;
    if ((double)value < o->min || (double)value > o->max) return false;
    *out = (int)value;
    return true;
}

static bool set_int(const option *o, int *out, const char *text, const char *shown, char *message)
{
    if (parse_int(text, o, out)) return true;
    return complain(message, "%s %.80s: expected an integer from %.0f to %.0f", shown, text, o->min, o->max);
}

static bool set_ints(const option *o, int_list *out, const char *text, const char *shown, char *message)
{
    out->count = 0;
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        char item[32];
        if (out->count == LIST_CAPACITY)
            return complain(message, "%s: more than %d values", shown, LIST_CAPACITY);
        snprintf(item, sizeof item, "%.*s", length < sizeof item ? (int)length : 0, at);
        if (!parse_int(item, o, &out->items[out->count++]))
            return complain(message, "%s %.80s: expected integers from %.0f to %.0f, separated by commas",
                            shown, text, o->min, o->max);
        at += length;
        if (!*at) return true;
    }
}

static bool set_uint64(uint64_t *out, const char *text, const char *shown, char *message)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value > INT64_MAX)
        return complain(message, "%s %.80s: expected an integer from 0 to 9223372036854775807", shown, text);
    *out = value;
    return true;
}

static bool set_double(const option *o, double *out, const char *text, const char *shown, char *message)
{
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    const bool overflow = errno == ERANGE && fabs(value) > 1;
    if (!starts_like_number(text) || end == text || *end || overflow || !isfinite(value) || value < o->min ||
        value > o->max)
        return complain(message, "%s %.80s: expected a number from %g to %g", shown, text, o->min, o->max);
    *out = value;
    return true;
}

static bool set_choice(const option *o, void *value, const char *text, const char *shown, char *message)
{
    for (int i = 0; o->choice(i); i++) {
        const char *const name = o->choice(i);
        if (strcmp(name, text) != 0) continue;
        if (o->kind == OPTION_CHOICE)
            *(const char **)value = name;
        else
            memcpy(value, &i, sizeof i); /* the field may be an enum */
        return true;
    }
    char known[400];
    join_choices(o->choice, known, sizeof known);
    const char *near = closest_name(text, name_of_choice, o);
    return complain(message, "%s %.80s: unknown, expected %s%s%s%s", shown, text, known,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

bool option_set(const option *o, void *base, const char *text, const char *shown, char *message)
{
    void *const value = (char *)base + o->offset;
    if (option_takes_value(o) && !text)
        return complain(message, "%s needs a value: %s %s", shown, shown, o->placeholder);
    if (!option_takes_value(o) && text)
        return complain(message, "%s takes no value, found %.80s", shown, text);
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)value = true;
        return true;
    case OPTION_FLAG_OFF:
        *(bool *)value = false;
        return true;
    case OPTION_COUNT:
        ++*(int *)value;
        return true;
    case OPTION_INT:
        return set_int(o, value, text, shown, message);
    case OPTION_INTS:
        return set_ints(o, value, text, shown, message);
    case OPTION_UINT64:
        return set_uint64(value, text, shown, message);
    case OPTION_DOUBLE:
        return set_double(o, value, text, shown, message);
    case OPTION_STRING:
        *(const char **)value = text;
        return true;
    case OPTION_STRINGS: {
        string_list *list = value;
        if (list->count == LIST_CAPACITY)
            return complain(message, "%s: given more than %d times", shown, LIST_CAPACITY);
        list->items[list->count++] = text;
        return true;
    }
    case OPTION_CHOICE:
    case OPTION_CHOICE_INDEX:
        return set_choice(o, value, text, shown, message);
    }
    return complain(message, "%s: unknown kind of option", shown);
}

/* ---- the command line ------------------------------------------------------------------------------ */

typedef struct parser {
    const option_group *groups;
    char *values;
    int argc, next;
    char *const *argv;
    option_use *use;
    char *message;
} parser;

static bool apply(parser *p, const option_cursor *at, const char *attached, const char *shown)
{
    const option *const o = at->option;
    const char *text = attached;
    if (option_takes_value(o) && !attached) {
        /* A value may start with one dash (--threshold -1); two mean that the value was forgotten. */
        const char *const following = p->next < p->argc ? p->argv[p->next] : NULL;
        if (following && strncmp(following, "--", 2) != 0) {
            text = following;
            p->next++;
        }
    }
    if (!option_set(o, p->values + at->group->base, text, shown, p->message)) return false;
    if (!option_was_given(p->use, o->name) && p->use->n_given < LIST_CAPACITY)
        p->use->given[p->use->n_given++] = o;
    return true;
}

static bool parse_long(parser *p, const char *argument)
{
    const char *const name = argument + 2;
    const size_t length = strcspn(name, "=");
    const option_cursor found = find_in_groups(p->groups, name, length, 0);
    char shown[64];
    snprintf(shown, sizeof shown, "--%.*s", length < 60 ? (int)length : 60, name);
    if (found.option) return apply(p, &found, name[length] ? name + length + 1 : NULL, shown);
    const char *const near = closest_name(shown + 2, name_in_groups, p->groups);
    if (near) return complain(p->message, "unknown option %s, did you mean --%s?", shown, near);
    return complain(p->message, "unknown option %s (--help lists those there are)", shown);
}

static bool parse_short(parser *p, const char *argument)
{
    for (const char *at = argument + 1; *at; at++) {
        const option_cursor found = find_in_groups(p->groups, NULL, 0, *at);
        if (!found.option)
            return complain(p->message, "unknown option -%c (--help lists those there are)", *at);
        const char shown[] = {'-', *at, '\0'};
        const bool takes = option_takes_value(found.option);
        if (!apply(p, &found, takes && at[1] ? at + 1 : NULL, shown)) return false;
        if (takes) break;
    }
    return true;
}

bool options_parse(const option_group *groups, void *values, int argc, char *const *argv, option_use *use,
                   char *message)
{
    parser p = {groups, values, argc, 0, argv, use, message};
    bool plain = false;
    memset(use, 0, sizeof *use);
    while (p.next < argc) {
        const char *const argument = argv[p.next++];
        if (!plain && strcmp(argument, "--") == 0) {
            plain = true;
        } else if (plain || argument[0] != '-' || !argument[1]) {
            if (use->arguments.count == LIST_CAPACITY) return complain(message, "too many arguments");
            use->arguments.items[use->arguments.count++] = argument;
        } else {
            if (!(argument[1] == '-' ? parse_long(&p, argument) : parse_short(&p, argument))) return false;
            if (option_was_given(use, "help")) return true;
        }
    }
    for (option_cursor at = option_first(groups); at.option; option_next(&at))
        if (at.option->required && !option_was_given(use, at.option->name))
            return complain(message, "--%s %s is missing (--help shows the usage)", at.option->name,
                            at.option->placeholder);
    return true;
}

/* ---- describing an option -------------------------------------------------------------------------- */

bool option_repeats(const option *o)
{
    return o->kind == OPTION_STRINGS || o->kind == OPTION_COUNT;
}

void option_default(const option_cursor *at, const void *defaults, char *out, size_t size)
{
    const option *const o = at->option;
    const void *const value = (const char *)defaults + at->group->base + o->offset;
    out[0] = '\0';
    if (o->default_text) {
        snprintf(out, size, "%s", o->default_text);
        return;
    }
    switch (o->kind) {
    case OPTION_INT:
        snprintf(out, size, "%d", *(const int *)value);
        break;
    case OPTION_UINT64:
        snprintf(out, size, "%llu", (unsigned long long)*(const uint64_t *)value);
        break;
    case OPTION_DOUBLE:
        snprintf(out, size, "%g", *(const double *)value);
        break;
    case OPTION_STRING:
    case OPTION_CHOICE: {
        const char *const text = *(const char *const *)value;
        if (text) snprintf(out, size, "%s", text);
        break;
    }
    case OPTION_CHOICE_INDEX: {
        int i;
        memcpy(&i, value, sizeof i);
        snprintf(out, size, "%s", o->choice(i));
        break;
    }
    case OPTION_FLAG:
    case OPTION_FLAG_OFF:
    case OPTION_COUNT:
    case OPTION_INTS:
    case OPTION_STRINGS:
        break;
    }
}

option_hint option_value_hint(const option *o)
{
    if (!option_takes_value(o)) return HINT_NONE;
    if (o->choice) return HINT_CHOICE;
    if (o->endings || strncmp(o->placeholder, "FILE", 4) == 0 || strchr(o->placeholder, '.'))
        return HINT_FILE;
    return strncmp(o->placeholder, "DIR", 3) == 0 ? HINT_FOLDER : HINT_NONE;
}

const char *option_ending(const option *o, int i, char *out, size_t size)
{
    const char *at = o->endings;
    if (!at) {
        const char *const dot = strchr(o->placeholder, '.');
        at = dot ? dot + 1 : "";
    }
    for (; i > 0; i--) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    if (!*at) return NULL;
    snprintf(out, size, "%.*s", (int)strcspn(at, " "), at);
    return out;
}
