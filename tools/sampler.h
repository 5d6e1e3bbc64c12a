/* Sampler settings on the command line: as options of plan, and as short texts ("ddim:10",
 * "draft-target:chunk=6:threshold=11") in the list of compare. */
#ifndef VIPO_TOOLS_SAMPLER_H
#define VIPO_TOOLS_SAMPLER_H

#include "tool.h"

/* Both fill a vipo_sampler_options. */
extern const option sampler_option_table[];
extern const option guidance_option_table[]; /* the last of the former alone */
extern const option draft_target_option_table[];

/* Do the settings belong to the sampler and fit each other? False: `message` (MESSAGE_SIZE) says why. */
bool sampler_check(const vipo_sampler_options *sampler, const option_use *use, char *message);

/* Parses a list of samplers: NAME[:STEPS][:SETTING=VALUE]..., separated by commas; settings may be
 * separated by commas too, and NAME-STEPS is NAME:STEPS. Settings are the options of the tables above.
 * What is not set is as in `base`. Returns the number of samplers, 0 after a mistake. */
int sampler_parse_list(const char *list, const vipo_sampler_options *base, vipo_sampler_options *out,
                       int capacity, char *message);
bool sampler_equal(const vipo_sampler_options *a, const vipo_sampler_options *b);

/* The known samplers with a line about each. */
extern const glossary sampler_glossary;

#endif
