/* Completion for bash; needs nothing but bash. */
#include "commands.h"
#include "help.h"

/* A word of the script; ' inside it leaves and enters the quotes. */
static void print_word(FILE *stream, const char *text)
{
    fputc('\'', stream);
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            fputc(*text, stream);
    }
    fputc('\'', stream);
}

static void print_words(FILE *stream, const char *(*word)(int i))
{
    fputs("_vipo_words", stream);
    for (int i = 0; word(i); i++) {
        fputc(' ', stream);
        print_word(stream, word(i));
    }
}

/* What follows an option. */
static void print_value(FILE *stream, const option *o)
{
    static const char line[] = "\n            ";
    char ending[32];
    fputs("        ", stream);
    if (o->letter) fprintf(stream, "-%c | ", o->letter);
    fprintf(stream, "--%s)", o->name);
    if (option_value_hint(o) != HINT_NONE) fputs(line, stream);
    switch (option_value_hint(o)) {
    case HINT_CHOICE:
        print_words(stream, o->choice);
        break;
    case HINT_FILE:
        fputs("_vipo_files", stream);
        for (int i = 0; option_ending(o, i, ending, sizeof ending); i++) {
            fputc(' ', stream);
            print_word(stream, ending);
        }
        break;
    case HINT_FOLDER:
        fputs("_vipo_folders", stream);
        break;
    case HINT_NONE:
        break;
    }
    fprintf(stream, "%sreturn%s;;\n", line, line);
}

static void print_command(FILE *stream, const command *c)
{
    fprintf(stream, "    %s)\n        case $option in\n", c->name);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at))
        if (option_takes_value(at.option)) print_value(stream, at.option);
    fputs("        esac\n", stream);
    if (c->max_arguments > 0) {
        fputs("        if [[ $current != -* ]]; then\n            ", stream);
        if (c->argument)
            print_words(stream, c->argument);
        else
            fputs("_vipo_files", stream);
        fputs("\n            return\n        fi\n", stream);
    }
    fputs("        _vipo_words", stream);
    for (option_cursor at = option_first(c->groups); at.option; option_next(&at))
        fprintf(stream, " --%s", at.option->name);
    fputs("\n        ;;\n", stream);
}

void help_print_bash(FILE *stream)
{
    fprintf(stream, "# bash completion for vipo %s, made by `vipo help --completion bash`\n", vipo_version());
    fputs("\n# Words that begin like the current one.\n"
          "_vipo_words() {\n"
          "    local word\n"
          "    for word; do\n"
          "        [[ $word == \"$current\"* ]] && COMPREPLY+=(\"$word\")\n"
          "    done\n"
          "}\n"
          "\n"
          "_vipo_folders() {\n"
          "    compopt -o filenames 2>/dev/null\n"
          "    mapfile -t COMPREPLY < <(compgen -d -- \"$current\")\n"
          "}\n"
          "\n"
          "# Files with one of the endings, and folders; any file if there is none of them.\n"
          "_vipo_files() {\n"
          "    local ending found\n"
          "    compopt -o filenames 2>/dev/null\n"
          "    for ending; do\n"
          "        mapfile -t found < <(compgen -f -X \"!*.$ending\" -- \"$current\")\n"
          "        COMPREPLY+=(\"${found[@]}\")\n"
          "    done\n"
          "    mapfile -t found < <(compgen -d -- \"$current\")\n"
          "    COMPREPLY+=(\"${found[@]}\")\n"
          "    if [[ $# -eq 0 || ${#COMPREPLY[@]} -eq 0 ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
          "    fi\n"
          "}\n"
          "\n"
          "_vipo() {\n"
          "    # --name=value is three words to bash\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    if [[ $current == = ]]; then\n"
          "        current=\n"
          "    elif [[ $option == = && $COMP_CWORD -gt 2 ]]; then\n"
          "        option=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    COMPREPLY=()\n"
          "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
          "        ",
          stream);
    print_words(stream, command_name);
    fputs(" --help --version\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          stream);
    for (int i = 0; command_at(i); i++) print_command(stream, command_at(i));
    fputs("    esac\n"
          "}\n"
          "\n"
          "complete -F _vipo vipo\n",
          stream);
}
