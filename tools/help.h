/* What is printed about commands, all of it from their tables: text, manual pages, Markdown, JSON, and
 * completion for shells. `c` NULL stands for the tool as a whole. `defaults` are the values of the command's
 * options before any is given. */
#ifndef VIPO_TOOLS_HELP_H
#define VIPO_TOOLS_HELP_H

#include "tool.h"

extern const char help_about[]; /* the tool in a sentence */
extern const char help_exit_status[];

void help_print_text(FILE *stream, const command *c, const void *defaults);
void help_print_man(FILE *stream, const command *c, const void *defaults);
void help_print_markdown(FILE *stream, const command *c, const void *defaults);
json_t *help_json(const command *c); /* one command, or all in an array; NULL: out of memory */

void help_print_bash(FILE *stream);
void help_print_zsh(FILE *stream);
void help_print_fish(FILE *stream);

/* ---- shared by the printers -------------------------------------------------------------------------- */

/* Calls line(stream, at, length) for each line of `text`. */
void help_each_line(FILE *stream, const char *text, void (*line)(FILE *stream, const char *at, int length));
/* The first clause of an option's help, for one line beside its name. */
const char *help_brief(const option *o, char *out, size_t size);
/* Prints `text` with `mark` before every byte that is in `set`. */
void help_print_marked(FILE *stream, const char *text, const char *set, const char *mark);

#endif
