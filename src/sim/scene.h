/* A MuJoCo model and its state. MuJoCo reports errors through process-wide callbacks that must not return: scene.c alone
 * installs them, and turns errors into status codes. */
#ifndef VIPO_SIM_SCENE_H
#define VIPO_SIM_SCENE_H

#include <mujoco/mujoco.h>

#include "core/status.h"

typedef struct vipo_scene {
    mjModel *model; /* body_pos and site_pos may be written by tasks */
    mjData *data;
    char *path; /* of the model, for messages */
} vipo_scene;

/* Loads an XML model; paths inside it are relative to it. The error says which file and what MuJoCo found. */
vipo_status vipo_scene_open(vipo_scene **out, const char *xml_path, vipo_error *error);
/* The same with `text` in place of what the file holds. */
vipo_status vipo_scene_open_text(vipo_scene **out, const char *xml_path, const char *text, vipo_error *error);
void vipo_scene_close(vipo_scene **scene);

/* mj_resetData; mj_forward; n times mj_step. VIPO_NUMERIC if the simulation became unstable (MuJoCo's warnings BADQPOS,
 * BADQVEL, BADQACC, BADCTRL, ...), which MuJoCo answers by resetting: the state is then the model's initial one. */
vipo_status vipo_scene_reset(vipo_scene *scene, vipo_error *error);
vipo_status vipo_scene_forward(vipo_scene *scene, vipo_error *error);
vipo_status vipo_scene_step(vipo_scene *scene, int n, vipo_error *error);
/* Where everything is in the present state (mj_kinematics, mj_camlight), for pictures. Simulation works it out anew, so this
 * changes nothing for it. */
vipo_status vipo_scene_place(vipo_scene *scene, vipo_error *error);

/* The state of another scene of the same model, and where its bodies and sites are. */
vipo_status vipo_scene_copy(vipo_scene *to, const vipo_scene *from, vipo_error *error);

/* Number of the object with that name; VIPO_MISMATCH if the model has none. */
vipo_status vipo_scene_find(const vipo_scene *scene, mjtObj type, const char *name, int *id,
                            vipo_error *error);

/* Runs work(argument), which calls MuJoCo. An error that MuJoCo raises in this thread meanwhile ends the work (what it
 * had allocated is lost unless `argument` holds it) and becomes VIPO_INTERNAL, "what: MuJoCo's text". Warnings are
 * dropped: MuJoCo would print them and write a log file. Not to be nested. */
vipo_status vipo_mujoco_run(void (*work)(void *argument), void *argument, const char *what,
                            vipo_error *error);

#endif
