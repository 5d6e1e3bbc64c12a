/* One idiom for command-line options: a command describes each option once, in a static table, and the
 * table drives parsing, range checks, `--help` and whatever else wants to know the options.
 *
 * A group is a titled table plus the offset of its values inside the command's struct, so that several
 * commands can share a table. Tables end with a row whose name is NULL, lists of groups with a group
 * whose options are NULL. */
#ifndef VIPO_TOOLS_OPTIONS_H
#define VIPO_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { LIST_CAPACITY = 64, MESSAGE_SIZE = 640 };

typedef struct string_list {
    const char *items[LIST_CAPACITY]; /* borrowed from argv */
    int count;
} string_list;

typedef struct int_list {
    int items[LIST_CAPACITY];
    int count;
} int_list;

/* What an option takes and the type of the value it fills in. */
typedef enum option_kind {
    OPTION_FLAG,         /* bool, becomes true */
    OPTION_FLAG_OFF,     /* bool, becomes false */
    OPTION_COUNT,        /* int, one more each time */
    OPTION_INT,          /* int in [min, max] */
    OPTION_INTS,         /* int_list: comma-separated, each in [min, max] */
    OPTION_UINT64,       /* uint64_t, at most 2^63 - 1, which JSON readers can hold */
    OPTION_DOUBLE,       /* double in [min, max], finite */
    OPTION_STRING,       /* const char *, the last one counts; choice, if any, are values worth suggesting */
    OPTION_STRINGS,      /* string_list, one more each time */
    OPTION_CHOICE,       /* const char *, one of choice(0), choice(1), ... */
    OPTION_CHOICE_INDEX, /* int or enum, the index of the choice */
} option_kind;

typedef struct option {
    const char *name;        /* without dashes */
    const char *placeholder; /* of the value, as in --model DIR; NULL for flags */
    const char *help;
    const char *default_text;     /* shown in the help in place of the value in the defaults; "": nothing */
    const char *(*choice)(int i); /* i-th choice, NULL past the end */
    const char *endings;          /* of files, "png jpg"; NULL: that of a placeholder such as FILE.npy */
    size_t offset;                /* of the value, from the base of the group */
    double min, max;
    option_kind kind;
    char letter;   /* short form, 0: none */
    bool required; /* must be given */
} option;

typedef struct option_group {
    const char *title; /* "": continues the group before */
    const option *options;
    size_t base; /* offset of the group's values in the command's struct */
} option_group;

/* Walks the options of all groups in order:
 *     for (option_cursor at = option_first(groups); at.option; option_next(&at)) */
typedef struct option_cursor {
    const option_group *group;
    const option *option; /* NULL: past the end */
} option_cursor;
option_cursor option_first(const option_group *groups);
void option_next(option_cursor *at);
/* The title that begins at this option, NULL if none does. */
const char *option_title(const option_cursor *at);

/* What the command line held. */
typedef struct option_use {
    string_list arguments;              /* those that are no options */
    const option *given[LIST_CAPACITY]; /* options in order, each once */
    int n_given;
} option_use;

/* Parses argv[0..argc) into `values`, which holds the defaults. Accepts --name value, --name=value,
 * -x value, -xvalue, several flags behind one dash, and `--` before plain arguments. An option called
 * "help" ends the parsing at once. False: `message` (of MESSAGE_SIZE) says in one line what is wrong. */
bool options_parse(const option_group *groups, void *values, int argc, char *const *argv, option_use *use,
                   char *message);
/* True if the option was on the command line. */
bool option_was_given(const option_use *use, const char *name);

/* The option of that name in a table, NULL if there is none. */
const option *option_find(const option *options, const char *name);
/* Parses `text` (NULL for flags) into the value at base + offset. `shown` is how the user wrote the
 * option, for the message. */
bool option_set(const option *o, void *base, const char *text, const char *shown, char *message);

/* ---- describing an option, for whatever prints them ------------------------------------------------ */

bool option_takes_value(const option *o);
/* May be given more than once, each time with effect. */
bool option_repeats(const option *o);
/* The default as text, taken from `defaults` (of the command); "" if there is nothing to say. */
void option_default(const option_cursor *at, const void *defaults, char *out, size_t size);

/* What a value can be, as far as a shell can complete it. */
typedef enum option_hint { HINT_NONE, HINT_CHOICE, HINT_FILE, HINT_FOLDER } option_hint;
option_hint option_value_hint(const option *o);
/* The i-th ending of the files an option names, copied to `out`; NULL past the end. */
const char *option_ending(const option *o, int i, char *out, size_t size);

/* ---- names ----------------------------------------------------------------------------------------- */

/* The candidate nearest to `word` if it is near enough to be what was meant, else NULL. name(i) is the
 * i-th candidate, NULL past the end. */
const char *closest_name(const char *word, const char *(*name)(const void *list, int i), const void *list);
/* "a, b or c" of choice(0), choice(1), ... */
void join_choices(const char *(*choice)(int i), char *out, size_t size);

#endif
