/* What the commands of the simulator (`vipo sim ...`) share: which environment, in which state. */
#ifndef VIPO_TOOLS_SIM_H
#define VIPO_TOOLS_SIM_H

#include "tool.h"
#include "vipo/sim.h"

typedef struct sim_inputs {
    const char *task, *profile, *initial;
    uint64_t seed;
    vipo_sim_options sim;
} sim_inputs;

extern const option sim_scene_options[]; /* --task --profile --seed --initial, of a sim_inputs */
/* Of a vipo_sim_options. */
extern const option sim_assets_options[];  /* --assets */
extern const option sim_gl_options[];      /* --gl */
extern const option sim_picture_options[]; /* --shadow-size --multisamples */

/* Checks names and files, opens the environment and brings it into its initial state. Returns the exit status; *sim is
 * NULL unless that is STATUS_DONE. */
int sim_open(tool *t, const sim_inputs *inputs, vipo_sim **sim, double observation[VIPO_SIM_OBSERVATION]);
/* The index of a profile's name, -1 if there is none. */
int sim_profile(const char *name);

/* Names between commas, at most `capacity`; `text` is cut up. Returns how many there are. */
int sim_split_names(char *text, const char **names, int capacity);

/* "640x480": width, then height. */
bool sim_parse_size(const char *text, int *height, int *width);

#endif
