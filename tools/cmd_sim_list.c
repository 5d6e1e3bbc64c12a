/* vipo sim list: what there is to simulate, and what draws it. */
#include <stdlib.h>

#include "commands.h"
#include "sim.h"

typedef struct list_options {
    common_options common;
} list_options;
static const option_group groups[] = {{"Common", common_option_table, offsetof(list_options, common)}, {0}};

static json_t *names_json(const char *(*name)(int i))
{
    json_t *const list = json_array();
    for (int i = 0; name(i); i++) json_array_append_new(list, json_text(name(i)));
    return list;
}

static int print_json(tool *t)
{
    json_t *const out = json_object(), *const tasks = json_array(), *const gl = json_array();
    for (int i = 0; vipo_sim_task_name(i); i++) {
        json_t *const task = json_object();
        json_object_set_new(task, "name", json_text(vipo_sim_task_name(i)));
        json_object_set_new(task, "text", json_text(vipo_sim_task_text(i)));
        json_array_append_new(tasks, task);
    }
    for (int i = 0; vipo_sim_gl_name(i); i++) {
        char device[128];
        vipo_error error = {0};
        const bool works = vipo_sim_gl_probe(vipo_sim_gl_name(i), device, sizeof device, &error) == VIPO_OK;
        json_t *const backend = json_object();
        json_object_set_new(backend, "name", json_text(vipo_sim_gl_name(i)));
        json_object_set_new(backend, "works", json_boolean(works));
        json_object_set_new(backend, "device", works ? json_text(device) : json_null());
        json_object_set_new(backend, "problem", works ? json_null() : json_text(error.message));
        json_array_append_new(gl, backend);
    }
    json_object_set_new(out, "mujoco", json_text(vipo_sim_mujoco_version()));
    json_object_set_new(out, "tasks", tasks);
    json_object_set_new(out, "cameras", names_json(vipo_sim_camera_name));
    json_object_set_new(out, "profiles", names_json(vipo_sim_profile_name));
    json_object_set_new(out, "gl", gl);
    return tool_print_json(t, out);
}

static void print_names(const char *title, const char *(*name)(int i))
{
    printf("%-10s", title);
    for (int i = 0; name(i); i++) printf("%s %s", i ? "," : "", name(i));
    putchar('\n');
}

static int run(tool *t, void *values)
{
    (void)values;
    if (!vipo_sim_mujoco_version()) { /* opening says why */
        vipo_sim *sim;
        vipo_error error = {0};
        vipo_sim_open(&sim, "", NULL, &error);
        return tool_library_error(t, &error);
    }
    setenv("EGL_LOG_LEVEL", "fatal", 0);
    if (t->common->json) return print_json(t);
    printf("%-24s text\n", "task");
    for (int i = 0; vipo_sim_task_name(i); i++)
        printf("%-24s %s\n", vipo_sim_task_name(i), vipo_sim_task_text(i));
    putchar('\n');
    print_names("cameras", vipo_sim_camera_name);
    print_names("profiles", vipo_sim_profile_name);
    printf("%-10s %s\n", "MuJoCo", vipo_sim_mujoco_version());
    for (int i = 0; vipo_sim_gl_name(i); i++) {
        char device[128];
        vipo_error error = {0};
        const bool works = vipo_sim_gl_probe(vipo_sim_gl_name(i), device, sizeof device, &error) == VIPO_OK;
        printf("%-10s %s: %s\n", i ? "" : "OpenGL", vipo_sim_gl_name(i), works ? device : "");
        if (!works) tool_note(t, "%s", error.message);
    }
    return STATUS_DONE;
}

const command command_sim_list = {
    .name = "sim-list",
    .summary = "simulator: its tasks, cameras, profiles and OpenGL",
    .usage = "[options]",
    .description = "Lists the simulated tasks with the texts that AVDC trains with, the cameras, the "
                   "profiles, and the ways "
                   "to draw without a screen that work here.",
    .groups = groups,
    .examples = "vipo sim list\nvipo sim list --json",
    .values_size = sizeof(list_options),
    .run = run,
};
