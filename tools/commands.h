/* One row per command, in the order of the help. */
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

#endif
