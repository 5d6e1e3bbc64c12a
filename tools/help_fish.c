/* Completion for fish. */
#include "commands.h"
#include "help.h"

/* A word between single quotes, where fish knows \' and \\. */
static void print_word(FILE *stream, const char *text)
{
    fputc('\'', stream);
    help_print_marked(stream, text, "'\\", "\\");
    fputc('\'', stream);
}

/* The argument of complete -a, which fish expands and splits once more. */
static void print_list(FILE *stream, const char *(*word)(int i))
{
    fputs(" -a \"", stream);
    for (int i = 0; word(i); i++) {
        if (i) fputc(' ', stream);
        help_print_marked(stream, word(i), "\"\\$", "\\");
    }
    fputc('"', stream);
}

static void print_files(FILE *stream, const option *o)
{
    char ending[32];
    fputs(" -r", stream);
    if (!option_ending(o, 0, ending, sizeof ending)) {
        fputs(" -F", stream);
        return;
    }
    fputs(" -f -a '(__vipo_files", stream);
    for (int i = 0; option_ending(o, i, ending, sizeof ending); i++) fprintf(stream, " .%s", ending);
    fputs(")'", stream);
}

static void print_option(FILE *stream, const command *c, const option *o)
{
    char brief[200];
    fprintf(stream, "complete -c vipo -n '__vipo_command %s'", c->name);
    if (o->letter) fprintf(stream, " -s %c", o->letter);
    fprintf(stream, " -l %s", o->name);
    switch (option_value_hint(o)) {
    case HINT_CHOICE:
        fputs(" -x", stream);
        print_list(stream, o->choice);
        break;
    case HINT_FILE:
        print_files(stream, o);
        break;
    case HINT_FOLDER:
        fputs(" -x -a '(__fish_complete_directories)'", stream);
        break;
    case HINT_NONE:
        if (option_takes_value(o)) fputs(" -x", stream);
        break;
    }
    fputs(" -d ", stream);
    print_word(stream, help_brief(o, brief, sizeof brief));
    fputc('\n', stream);
}

void help_print_fish(FILE *stream)
{
    fprintf(stream, "# fish completion for vipo %s, made by `vipo help --completion fish`\n", vipo_version());
    fputs("\nfunction __vipo_command -d 'Is this the command on the command line?'\n"
          "    set -l words (commandline -opc)\n"
          "    test (count $words) -ge 2; and test $words[2] = $argv[1]\n"
          "end\n"
          "\n"
          "function __vipo_first -d 'Is there no command yet?'\n"
          "    test (count (commandline -opc)) -eq 1\n"
          "end\n"
          "\n"
          "function __vipo_files -d 'Files with one of these endings, and folders; any file if there are "
          "none'\n"
          "    set -l word (commandline -ct | string replace -r '^(--[^=]*=|-[a-zA-Z](?=[^-]))' '')\n"
          "    set -l endings (string join '|' (string escape --style=regex -- $argv))\n"
          "    set -l files (complete -C \"__vipo_any_file $word\")\n"
          "    string match -r -- '^.*(?:/|'$endings')$' $files; or string join -- \\n $files\n"
          "end\n"
          "\n"
          "complete -c vipo -f\n"
          "complete -c vipo -n __vipo_first -s h -l help -d 'list the commands'\n"
          "complete -c vipo -n __vipo_first -s V -l version -d 'print the version'\n",
          stream);
    for (int i = 0; command_at(i); i++) {
        const command *const c = command_at(i);
        fprintf(stream, "complete -c vipo -n __vipo_first -a %s -d ", c->name);
        print_word(stream, c->summary);
        fputc('\n', stream);
    }
    for (int i = 0; command_at(i); i++) {
        const command *const c = command_at(i);
        fprintf(stream, "\n# vipo %s\n", c->name);
        if (c->max_arguments > 0) {
            fprintf(stream, "complete -c vipo -n '__vipo_command %s'", c->name);
            if (c->argument)
                print_list(stream, c->argument);
            else
                fputs(" -F", stream);
            fputc('\n', stream);
        }
        for (option_cursor at = option_first(c->groups); at.option; option_next(&at))
            print_option(stream, c, at.option);
    }
}
