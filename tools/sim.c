#define _POSIX_C_SOURCE 200809L
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(sim_inputs, member)
const option sim_scene_options[] = {
    {.name = "task",
     .letter = 't',
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(task),
     .choice = vipo_sim_task_name,
     .required = true,
     .help = "task, such as door-open; `vipo sim list` shows all"},
    {.name = "profile",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(profile),
     .choice = vipo_sim_profile_name,
     .default_text = "farama-v3",
     .help = "farama-v3: Meta-World 3.1.1; avdc-v2: the Meta-World that AVDC's results come from"},
    {.name = "seed",
     .placeholder = "N",
     .kind = OPTION_UINT64,
     .offset = AT(seed),
     .help = "of the initial state"},
    {.name = "initial",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(initial),
     .endings = "safetensors",
     .default_text = "",
     .help = ".safetensors: take the initial state from a recorded episode, in place of --seed"},
    {0},
};
#undef AT

#define AT(member) offsetof(vipo_sim_options, member)
const option sim_assets_options[] = {
    {.name = "assets",
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(assets),
     .default_text = "$VIPO_METAWORLD_ASSETS, else as set up",
     .help = "Meta-World's models"},
    {0},
};

const option sim_gl_options[] = {
    {.name = "gl",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(gl),
     .choice = vipo_sim_gl_name,
     .default_text = "$VIPO_GL, else the first that works",
     .help = "OpenGL without a screen: egl or osmesa"},
    {0},
};

const option sim_picture_options[] = {
    {.name = "shadow-size",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(shadow_size),
     .min = -1,
     .max = 16384,
     .help = "pixels of a shadow map; 0: as authored, 4096; -1: no shadows"},
    {.name = "multisamples",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(multisamples),
     .min = -1,
     .max = 16,
     .default_text = "as authored, 4",
     .help = "samples per pixel; -1: one"},
    {0},
};

int sim_profile(const char *name)
{
    for (int i = 0; vipo_sim_profile_name(i); i++)
        if (strcmp(name, vipo_sim_profile_name(i)) == 0) return i;
    return -1;
}

int sim_open(tool *t, const sim_inputs *inputs, vipo_sim **sim, double observation[VIPO_SIM_OBSERVATION])
{
    vipo_error error = {0};
    vipo_sim_options options = inputs->sim;
    *sim = NULL;
    /* What a driver would say about its failures is in our one line. */
    setenv("EGL_LOG_LEVEL", "fatal", 0);
    if (inputs->profile && vipo_sim_mujoco_version()) {
        const int profile = sim_profile(inputs->profile);
        if (profile < 0)
            return tool_usage_error(t, "--profile %.80s: expected farama-v3 or avdc-v2", inputs->profile);
        options.profile = (vipo_sim_profile)profile;
    }
    if (inputs->initial && option_was_given(t->use, "seed"))
        return tool_usage_error(t, "give one of --seed N and --initial FILE");
    vipo_status status = vipo_sim_open(sim, inputs->task, &options, &error);
    if (status == VIPO_OK)
        status = inputs->initial ? vipo_sim_load_state(*sim, inputs->initial, observation, &error)
                                 : vipo_sim_reset(*sim, inputs->seed, observation, &error);
    if (status == VIPO_OK) return STATUS_DONE;
    vipo_sim_close(sim);
    return tool_library_error(t, &error);
}

int sim_split_names(char *text, const char **names, int capacity)
{
    int n = 0;
    for (char *at = text; at && n < capacity;) {
        names[n++] = at;
        at = strchr(at, ',');
        if (at) *at++ = '\0';
    }
    return n;
}

bool sim_parse_size(const char *text, int *height, int *width)
{
    char *end;
    const long w = strtol(text, &end, 10);
    if (end == text || *end != 'x' || end[1] < '0' || end[1] > '9') return false;
    const char *const second = end + 1;
    const long h = strtol(second, &end, 10);
    if (*end || w < 1 || h < 1 || w > 8192 || h > 8192) return false;
    *height = (int)h;
    *width = (int)w;
    return true;
}
