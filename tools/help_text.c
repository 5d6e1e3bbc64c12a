/* Help as text for a terminal: `vipo help`, `vipo COMMAND --help`. */
#include <string.h>

#include "commands.h"
#include "help.h"

enum { COLUMNS = 92, OPTION_AT = 27, NAME_AT = 17 };

/* A paragraph wrapped at COLUMNS; the first line starts at column `at`, the others at `indent`. */
static void print_wrapped(FILE *stream, const char *text, int at, int indent)
{
    int column = at;
    bool first = true;
    while (*text) {
        const int length = (int)strcspn(text, " \n");
        if (!first && column + 1 + length > COLUMNS) {
            fprintf(stream, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', stream);
            column++;
        }
        fprintf(stream, "%.*s", length, text);
        column += length;
        first = false;
        text += length;
        text += strspn(text, " \n");
    }
    fputc('\n', stream);
}

static void print_option(FILE *stream, const option_cursor *at, const void *defaults)
{
    const option *const o = at->option;
    char left[80], initial[160], choices[240] = "", text[1024];
    const char short_form[] = {'-', o->letter, ',', '\0'};
    snprintf(left, sizeof left, "  %3s --%s%s%s", o->letter ? short_form : "", o->name,
             o->placeholder ? " " : "", o->placeholder ? o->placeholder : "");
    option_default(at, defaults, initial, sizeof initial);
    if (o->choice && o->kind != OPTION_STRING) join_choices(o->choice, choices, sizeof choices);
    snprintf(text, sizeof text, "%s%s%s%s%s%s", o->help, choices[0] ? ": " : "", choices,
             initial[0] ? " [default: " : "", initial, initial[0] ? "]" : "");

    int column = fprintf(stream, "%s", left);
    if (column > OPTION_AT - 2) {
        fputc('\n', stream);
        column = 0;
    }
    fprintf(stream, "%*s", OPTION_AT - column, "");
    print_wrapped(stream, text, OPTION_AT, OPTION_AT);
}

static void print_glossary(FILE *stream, const glossary *g)
{
    fprintf(stream, "\n%s:\n", g->title);
    for (int i = 0; g->name(i); i++) {
        const int column = fprintf(stream, "  %-*s", NAME_AT - 3, g->name(i));
        fputc(' ', stream);
        print_wrapped(stream, g->meaning(i), column + 1, NAME_AT);
    }
}

static void print_example(FILE *stream, const char *at, int length)
{
    fprintf(stream, "  %.*s\n", length, at);
}

static void print_overview(FILE *stream)
{
    fprintf(stream, "Usage: vipo COMMAND [options]\n\n%s\n\nCommands:\n", help_about);
    for (int i = 0; command_at(i); i++)
        fprintf(stream, "  %-14s %s\n", command_at(i)->name, command_at(i)->summary);
    fputs("\n`vipo COMMAND --help` explains a command and shows examples.\n", stream);
}

void help_print_text(FILE *stream, const command *c, const void *defaults)
{
    if (!c) {
        print_overview(stream);
        return;
    }
    fprintf(stream, "Usage: vipo %s %s\n\n", c->name, c->usage);
    print_wrapped(stream, c->description, 0, 0);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at)) {
        if (option_title(&at)) fprintf(stream, "\n%s:\n", option_title(&at));
        print_option(stream, &at, defaults);
    }
    if (c->glossary) print_glossary(stream, c->glossary);
    fputs("\nExamples:\n", stream);
    help_each_line(stream, c->examples, print_example);
    fprintf(stream, "\nExit status: %s\n", help_exit_status);
}
