/* Manual pages: vipo(1) and one page per command, in roff's man macros. */
#include <string.h>

#include "commands.h"
#include "help.h"

/* One UTF-8 character at *text as roff's \[uXXXX]; advances. */
static void print_character(FILE *stream, const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    const int more = at[0] >= 0xF0 ? 3 : at[0] >= 0xE0 ? 2 : 1;
    unsigned code = at[0] & (0x3Fu >> more);
    int used = 1;
    for (; used <= more && (at[used] & 0xC0) == 0x80; used++) code = code << 6 | (at[used] & 0x3Fu);
    fprintf(stream, "\\[u%04X]", code);
    *text += used;
}

/* Text of a line that does not begin with a control character. `code` between backticks becomes bold. */
static void print_n(FILE *stream, const char *text, size_t length)
{
    bool code = false;
    for (const char *const end = text + length; text < end;) {
        const unsigned char byte = (unsigned char)*text;
        if (byte >= 0x80) {
            print_character(stream, &text);
            continue;
        }
        switch (byte) {
        case '\\':
            fputs("\\e", stream);
            break;
        case '-':
            fputs("\\-", stream);
            break;
        case '\'':
            fputs("\\(aq", stream);
            break;
        case '^':
            fputs("\\(ha", stream);
            break;
        case '~':
            fputs("\\(ti", stream);
            break;
        case '`':
            code = !code;
            fputs(code ? "\\fB" : "\\fR", stream);
            break;
        case '\n':
            fputc(' ', stream);
            break;
        default:
            fputc(byte, stream);
        }
        text++;
    }
    if (code) fputs("\\fR", stream);
}

static void print(FILE *stream, const char *text)
{
    print_n(stream, text, strlen(text));
}

static void print_bold(FILE *stream, const char *text)
{
    fputs("\\fB", stream);
    print(stream, text);
    fputs("\\fR", stream);
}

/* A line of text, which may begin with anything. */
static void print_line(FILE *stream, const char *text)
{
    if (text[0] == '.' || text[0] == '\'') fputs("\\&", stream);
    print(stream, text);
    fputc('\n', stream);
}

/* "a, b or c", each bold */
static void print_choices(FILE *stream, const char *(*choice)(int i))
{
    for (int i = 0; choice(i); i++) {
        if (i) fputs(choice(i + 1) ? ", " : " or ", stream);
        print_bold(stream, choice(i));
    }
}

static void print_option(FILE *stream, const option_cursor *at, const void *defaults)
{
    const option *const o = at->option;
    char initial[160];
    fputs(".TP\n", stream);
    if (o->letter) fprintf(stream, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", stream);
    print(stream, o->name);
    fputs("\\fR", stream);
    if (o->placeholder) {
        fputs(" \\fI", stream);
        print(stream, o->placeholder);
        fputs("\\fR", stream);
    }
    fputc('\n', stream);
    if (o->help[0] == '.' || o->help[0] == '\'') fputs("\\&", stream);
    print(stream, o->help);
    if (o->choice && o->kind != OPTION_STRING) {
        fputs(": ", stream);
        print_choices(stream, o->choice);
    }
    option_default(at, defaults, initial, sizeof initial);
    if (initial[0]) {
        fputs(" [default: ", stream);
        print(stream, initial);
        fputc(']', stream);
    }
    fputc('\n', stream);
}

static void print_example(FILE *stream, const char *at, int length)
{
    if (at[0] == '.' || at[0] == '\'') fputs("\\&", stream);
    print_n(stream, at, (size_t)length);
    fputc('\n', stream);
}

static void print_title(FILE *stream, const char *name)
{
    /* no date: the same program makes the same page */
    fputs(".TH VIPO", stream);
    if (name[0]) fputs("\\-", stream);
    for (; *name; name++) {
        const bool lower = *name >= 'a' && *name <= 'z';
        if (*name == '-')
            fputs("\\-", stream);
        else
            fputc(lower ? *name - 'a' + 'A' : *name, stream);
    }
    fprintf(stream, " 1 \"\" \"vipo %s\" \"vipo manual\"\n", vipo_version());
}

/* What follows "vipo" in the name of a page: "\-plan". */
static void print_reference(FILE *stream, const command *c)
{
    fputs("\\fBvipo", stream);
    if (c) {
        fputs("\\-", stream);
        print(stream, c->name);
    }
    fputs("\\fR(1)", stream);
}

static void print_exit_status(FILE *stream)
{
    fputs(".SH EXIT STATUS\n", stream);
    print_line(stream, help_exit_status);
}

static void print_overview(FILE *stream)
{
    print_title(stream, "");
    fputs(".SH NAME\nvipo \\- video\\-generation robot policies\n"
          ".SH SYNOPSIS\n\\fBvipo\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n",
          stream);
    print_line(stream, help_about);
    fputs("Results go to standard output, progress and messages to standard error.\n"
          ".SH COMMANDS\n",
          stream);
    for (int i = 0; command_at(i); i++) {
        fputs(".TP\n", stream);
        print_reference(stream, command_at(i));
        fputc('\n', stream);
        print_line(stream, command_at(i)->summary);
    }
    fputs(".SH ENVIRONMENT\n.TP\n\\fBVIPO_COMPUTE\\fR\n"
          "the kernels to compute with where \\fB\\-\\-compute\\fR is not given\n"
          ".TP\n\\fBVIPO_TUNE\\fR\n"
          "on, the default: the fastest way to compute each layer is measured once on a machine and stored; "
          "off: a fixed choice\n"
          ".TP\n\\fBVIPO_CACHE\\fR\n"
          "the folder where that is stored, in place of \\fI$XDG_CACHE_HOME/vipo\\fR or "
          "\\fI~/.cache/vipo\\fR\n",
          stream);
    print_exit_status(stream);
}

void help_print_man(FILE *stream, const command *c, const void *defaults)
{
    if (!c) {
        print_overview(stream);
        return;
    }
    print_title(stream, c->name);
    fputs(".SH NAME\nvipo\\-", stream);
    print(stream, c->name);
    fputs(" \\- ", stream);
    print(stream, c->summary);
    fputs("\n.SH SYNOPSIS\n\\fBvipo ", stream);
    print(stream, c->name);
    fputs(c->usage[0] ? "\\fR " : "\\fR", stream);
    print(stream, c->usage);
    fputs("\n.SH DESCRIPTION\n", stream);
    print_line(stream, c->description);
    fputs(".SH OPTIONS\n", stream);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at)) {
        if (option_title(&at)) {
            fputs(".SS \"", stream);
            print(stream, option_title(&at));
            fputs("\"\n", stream);
        }
        print_option(stream, &at, defaults);
    }
    if (c->glossary) {
        fputs(".SH \"", stream);
        print(stream, c->glossary->title);
        fputs("\"\n", stream);
        for (int i = 0; c->glossary->name(i); i++) {
            fputs(".TP\n", stream);
            print_bold(stream, c->glossary->name(i));
            fputc('\n', stream);
            print_line(stream, c->glossary->meaning(i));
        }
    }
    fputs(".SH EXAMPLES\n.nf\n", stream);
    help_each_line(stream, c->examples, print_example);
    fputs(".fi\n", stream);
    print_exit_status(stream);
    fputs(".SH SEE ALSO\n", stream);
    print_reference(stream, NULL);
    for (int i = 0; command_at(i); i++) {
        if (command_at(i) == c) continue;
        fputs(", ", stream);
        print_reference(stream, command_at(i));
    }
    fputc('\n', stream);
}
