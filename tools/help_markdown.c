/* Markdown for docs/: the table of commands, and the tables of a command's options. */
#include <ctype.h>
#include <string.h>

#include "commands.h"
#include "help.h"

/* One cell of a table. `code` between backticks stays as it is. */
static void print(FILE *stream, const char *text)
{
    bool code = false;
    for (const char *at = text; *at; at++) {
        if (*at == '`') code = !code;
        const bool word_inside = at > text && isalnum((unsigned char)at[-1]) && isalnum((unsigned char)at[1]);
        const bool special = strchr("*<\\", *at) || (*at == '_' && !word_inside) ||
                             (*at == ']' && (at[1] == '(' || at[1] == ':'));
        if (*at == '|' || (!code && special)) fputc('\\', stream);
        fputc(*at == '\n' ? ' ' : *at, stream);
    }
}

static void print_code(FILE *stream, const char *text)
{
    fputc('`', stream);
    help_print_marked(stream, text, "|", "\\");
    fputc('`', stream);
}

static void print_option(FILE *stream, const option_cursor *at, const void *defaults)
{
    const option *const o = at->option;
    char initial[160];
    fputs("| ", stream);
    if (o->letter) fprintf(stream, "`-%c`, ", o->letter);
    fprintf(stream, "`--%s", o->name);
    if (o->placeholder) {
        fputc(' ', stream);
        help_print_marked(stream, o->placeholder, "|", "\\");
    }
    fputs("` | ", stream);
    print(stream, o->help);
    if (o->choice && o->kind != OPTION_STRING) {
        fputs(": ", stream);
        for (int i = 0; o->choice(i); i++) {
            if (i) fputs(o->choice(i + 1) ? ", " : " or ", stream);
            print_code(stream, o->choice(i));
        }
    }
    fputs(" | ", stream);
    option_default(at, defaults, initial, sizeof initial);
    print(stream, o->required ? "required" : initial);
    fputs(" |\n", stream);
}

static void print_overview(FILE *stream)
{
    fputs("| command | does |\n|---|---|\n", stream);
    for (int i = 0; command_at(i); i++) {
        const command *const c = command_at(i);
        fprintf(stream, "| [`vipo %s`](commands/%s.md) | ", c->name, c->name);
        print(stream, c->summary);
        fputs(" |\n", stream);
    }
}

void help_print_markdown(FILE *stream, const command *c, const void *defaults)
{
    if (!c) {
        print_overview(stream);
        return;
    }
    fprintf(stream, "```\nvipo %s%s%s\n```\n", c->name, c->usage[0] ? " " : "", c->usage);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at)) {
        if (option_title(&at)) {
            fputs("\n**", stream);
            print(stream, option_title(&at));
            fputs("**\n\n| option | meaning | default |\n|---|---|---|\n", stream);
        }
        print_option(stream, &at, defaults);
    }
    if (!c->glossary) return;
    fputs("\n**", stream);
    print(stream, c->glossary->title);
    fputs("**\n\n| name | |\n|---|---|\n", stream);
    for (int i = 0; c->glossary->name(i); i++) {
        fputs("| ", stream);
        print_code(stream, c->glossary->name(i));
        fputs(" | ", stream);
        print(stream, c->glossary->meaning(i));
        fputs(" |\n", stream);
    }
}
