/* Completion for zsh, by its function _arguments. */
#include "commands.h"
#include "help.h"

/* Text inside single quotes; what stands in `set` has a meaning there and gets a backslash. */
static void print(FILE *stream, const char *text, const char *set)
{
    for (; *text; text++) {
        const char one[] = {*text, '\0'};
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            help_print_marked(stream, one, set, "\\");
    }
}

static void print_list(FILE *stream, const char *(*word)(int i))
{
    fputc('(', stream);
    for (int i = 0; word(i); i++) {
        if (i) fputc(' ', stream);
        print(stream, word(i), ":\\ ()");
    }
    fputc(')', stream);
}

static void print_value(FILE *stream, const option *o)
{
    char ending[32];
    fputc(':', stream);
    print(stream, o->placeholder, ":\\");
    fputc(':', stream);
    switch (option_value_hint(o)) {
    case HINT_CHOICE:
        print_list(stream, o->choice);
        break;
    case HINT_FILE:
        fputs("_files", stream);
        for (int i = 0; option_ending(o, i, ending, sizeof ending); i++) {
            fputs(i ? "|" : " -g \"*.(", stream);
            print(stream, ending, ":\\");
        }
        if (option_ending(o, 0, ending, sizeof ending)) fputs(")\"", stream);
        break;
    case HINT_FOLDER:
        fputs("_files -/", stream);
        break;
    case HINT_NONE:
        break;
    }
}

static void print_option(FILE *stream, const option *o)
{
    char brief[200];
    const bool takes = option_takes_value(o);
    fputs(" \\\n            ", stream);
    if (option_repeats(o))
        fputs(o->letter ? "'*'" : "'*", stream);
    else if (o->letter)
        fprintf(stream, "'(-%c --%s)'", o->letter, o->name);
    else
        fputc('\'', stream);
    if (o->letter)
        fprintf(stream, "{-%c%s,--%s%s}'", o->letter, takes ? "+" : "", o->name, takes ? "=" : "");
    else
        fprintf(stream, "--%s%s", o->name, takes ? "=" : "");
    fputc('[', stream);
    print(stream, help_brief(o, brief, sizeof brief), "[]:\\");
    fputc(']', stream);
    if (takes) print_value(stream, o);
    fputc('\'', stream);
}

static void print_command(FILE *stream, const command *c)
{
    fprintf(stream, "    %s)\n        _arguments -s -S", c->name);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at))
        print_option(stream, at.option);
    if (c->max_arguments > 0) {
        fprintf(stream, " \\\n            '%c:argument:", c->max_arguments == 1 ? '1' : '*');
        if (c->argument)
            print_list(stream, c->argument);
        else
            fputs("_files", stream);
        fputc('\'', stream);
    }
    fputs("\n        ;;\n", stream);
}

void help_print_zsh(FILE *stream)
{
    fprintf(stream, "#compdef vipo\n# zsh completion for vipo %s, made by `vipo help --completion zsh`\n",
            vipo_version());
    fputs("\n_vipo() {\n"
          "    local context state state_descr line\n"
          "    typeset -A opt_args\n"
          "    local -a commands=(\n",
          stream);
    for (int i = 0; command_at(i); i++) {
        fputs("        '", stream);
        print(stream, command_at(i)->name, ":\\");
        fputc(':', stream);
        print(stream, command_at(i)->summary, "");
        fputs("'\n", stream);
    }
    fputs("    )\n"
          "    _arguments -C '(- *)'{-h,--help}'[list the commands]' '(- *)'{-V,--version}'[print the "
          "version]' \\\n"
          "        '1:command:->command' '*::argument:->argument' && return\n"
          "    if [[ $state == command ]]; then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    case $words[1] in\n",
          stream);
    for (int i = 0; command_at(i); i++) print_command(stream, command_at(i));
    fputs("    esac\n"
          "}\n"
          "\n"
          "# from a folder of $fpath the file is the function; elsewhere it is sourced\n"
          "if [[ $funcstack[1] == _vipo ]]; then\n"
          "    _vipo \"$@\"\n"
          "else\n"
          "    compdef _vipo vipo\n"
          "fi\n",
          stream);
}
