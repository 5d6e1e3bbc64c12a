/* The commands, in the order of the help. */
#ifndef VIPO_TOOLS_COMMANDS_H
#define VIPO_TOOLS_COMMANDS_H

#include "tool.h"

extern const command command_plan;
extern const command command_compare;
extern const command command_denoise;
extern const command command_encode_text;
extern const command command_preprocess;
extern const command command_info;
extern const command command_convert;
extern const command command_calibrate;
extern const command command_bench;
extern const command command_motion;
extern const command command_act;
extern const command command_sim_list;
extern const command command_sim_render;
extern const command command_sim_expert;
extern const command command_sim_replay;
extern const command command_sim_collect;
extern const command command_flow;
extern const command command_eval;
extern const command command_eval_merge;
extern const command command_report;
extern const command command_help;
extern const command command_version;

/* The i-th command, NULL past the end. */
const command *command_at(int i);
const command *command_find(const char *name);
/* The command that argv[0..argc) begins with: its name, or the parts of "sim-render" as two words. *words: how many they
 * are. NULL if there is none. */
const command *command_find_words(int argc, char *const *argv, int *words);
const char *command_name(int i);
/* Values of a command's options, set to the defaults; released with free(). NULL: out of memory. */
void *command_new_values(const command *c);
/* Says that argv[0..argc), at least one word, begins with no command, and which are near it. Returns the exit status. */
int command_unknown(tool *t, int argc, char *const *argv);

#endif
