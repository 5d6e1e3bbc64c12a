/* Action predictors: from what was seen and imagined to what the arm does. The plug of `vipo eval --policy NAME`: a const
 * struct of functions, in one file predictor_<name>.c, and its line in predictor.c.
 *
 *     load     once per evaluation: files and settings, shared by all workers, constant from then on
 *     open     once per worker and task: a session
 *     reset    once per episode
 *       plan   whenever wants_plan says so: frames and, if needed, depth, mask and camera
 *       act    once per control step
 *
 * An episode must be a pure function of the inputs given here: nothing may depend on the time, on threads, on earlier
 * episodes or on other sessions, and random numbers come from the keys alone. */
#ifndef VIPO_EVAL_PREDICTOR_H
#define VIPO_EVAL_PREDICTOR_H

#include <jansson.h>

#include "core/status.h"
#include "eval/setting_list.h"
#include "vipo/sim.h"

/* What a predictor asks for. */
enum {
    VIPO_NEEDS_FRAMES =
        1, /* plan: imagined frames. Without it nothing is imagined unless the user asks for it */
    VIPO_NEEDS_VIEW = 2, /* plan: depth, mask and camera matrix of the picture that the frames begin with */
    VIPO_NEEDS_PICTURE = 4, /* act: the picture of the step, where wants_picture says so */
    VIPO_NEEDS_FILE = 8,    /* load: --predictor-file must be given */
};

/* `file` and `settings` are what the user gave. */
typedef struct vipo_predictor_options {
    const char *file;            /* --predictor-file: a folder or a file; NULL: none was given */
    vipo_setting_list *settings; /* --predictor-settings; never NULL */
    int threads;                 /* that a session may use */
    const char *compute;         /* op table of networks; NULL: the default. Borrowed, outlives the model. */
    int patience, max_plans;     /* for a rule of replanning of its own, as AVDC's at wants_plan */
} vipo_predictor_options;

/* A part of a picture, in its pixels. */
typedef struct vipo_crop {
    int y, x, height, width;
} vipo_crop;

/* For a session: what stays the same over its episodes. */
typedef struct vipo_predictor_place {
    vipo_sim_profile profile;
    const char *task, *text; /* "door-open", "door open" */
    int height, width;       /* of pictures, 240 x 320 */
    vipo_crop crop;          /* of the picture that the frames show */
    int threads;             /* as in vipo_predictor_options */
} vipo_predictor_place;

typedef struct vipo_predictor_episode {
    const char *camera;
    uint64_t seed;             /* of the initial state */
    uint64_t key;              /* for random numbers: a function of profile, task, camera and seed alone */
    const double *observation; /* [VIPO_SIM_OBSERVATION], before the first step */
} vipo_predictor_episode;

/* What the camera saw when a plan was asked for. Rows in AVDC's order (vipo/sim.h). */
typedef struct vipo_view {
    int height, width;
    const uint8_t *rgb; /* [height][width][3] */
    const float *
        depth; /* [height][width]: negative metres, the camera looks along -z; NULL without VIPO_NEEDS_VIEW */
    const uint8_t
        *mask; /* [height][width]: 255 on the task's object, after a 3x3 median, else 0; NULL likewise */
    double camera_matrix[12]; /* 3x4, rows first: (u, v, 1) depth = matrix (x, y, z, 1) */
} vipo_view;

/* All of it borrowed for the call. */
typedef struct vipo_imagined {
    int number;   /* of the plan in its episode, from 0 */
    int step;     /* of the control step that its picture was taken before, from 0 */
    uint64_t key; /* for random numbers: of the episode's key and the number of the plan alone */
    int n;        /* imagined frames; 0 where nothing is imagined */
    int frame_height, frame_width;
    const float *
        frames; /* [1 + n][frame_height][frame_width][3], nominally in [0,1]: the observed crop, then the plan */
    vipo_crop crop; /* where the frames lie in the view: all of it, scaled to the frame's size */
    const vipo_view *view;
    const double *observation; /* [VIPO_SIM_OBSERVATION] when the picture was taken */
} vipo_imagined;

/* What act sees; borrowed for the call. */
typedef struct vipo_moment {
    int step;                  /* from 0 */
    const double *observation; /* [VIPO_SIM_OBSERVATION] */
    const uint8_t *picture;    /* [height][width][3] of the whole picture; NULL unless it was asked for */
    const vipo_sim *sim;       /* for oracles: what no robot could see */
} vipo_moment;

typedef struct vipo_predictor {
    const char *name, *summary; /* one line for the help */
    unsigned needs;             /* VIPO_NEEDS_* */
    const char *settings;       /* for the help: "mode=push|grasp, draws=N"; NULL: it has none */

    /* *model is owned by the caller, shared by threads; NULL load: there is none. Unknown settings are refused by the
     * caller after load: those that nobody asked for (setting_list.h). */
    vipo_status (*load)(void **model, const vipo_predictor_options *options, vipo_error *error);
    void (*unload)(void **model);
    /* Adds what determines results, defaults filled in, to an object of the evaluation's settings: other results, other
     * settings. Files by content (vipo_fingerprint_file, settings.h), not by name. NULL: nothing. */
    vipo_status (*describe)(const void *model, json_t *into, vipo_error *error);

    vipo_status (*open)(void **session, const void *model, const vipo_predictor_place *place,
                        vipo_error *error); /* NULL: no session, the others get NULL */
    void (*close)(void **session);
    vipo_status (*reset)(void *session, const vipo_predictor_episode *episode, vipo_error *error);

    /* True: a plan is made before this step's act. NULL: AVDC's rule - one at the first step, then whenever the hand has
     * moved by less than 1 mm in 15 steps since the last plan, at most 6 in all. */
    bool (*wants_plan)(void *session, const vipo_moment *moment,
                       int plans); /* keeps to the options' max_plans */
    /* NULL: plans are made as wants_plan says, and dropped. VIPO_NUMERIC here and in act: the episode has failed, with the
     * message as its reason, and the evaluation goes on; any other failure ends it. */
    vipo_status (*plan)(void *session, const vipo_imagined *imagined, vipo_error *error);
    /* How many of the last plan's frames have been carried out, 0..n, for plans that start from it. NULL: the evaluation
     * counts none. */
    int (*executed)(const void *session);

    /* True: act of this step gets a picture (a picture costs about 0.1 s). NULL with VIPO_NEEDS_PICTURE: always. */
    bool (*wants_picture)(const void *session, int step);
    /* Hand dx, dy, dz in centimetres and gripper effort; not clipped, the simulator does that. */
    vipo_status (*act)(void *session, const vipo_moment *moment, double action[VIPO_SIM_ACTION],
                       vipo_error *error);
    /* Name of the op table that the session's own network computes with; NULL: it has none. */
    const char *(*compute)(const void *session);
} vipo_predictor;

extern const vipo_predictor vipo_predictor_expert;
extern const vipo_predictor vipo_predictor_flow;
extern const vipo_predictor vipo_predictor_goal, vipo_predictor_bc;

/* The i-th, NULL past the end. */
const vipo_predictor *vipo_predictor_at(int i);
/* By name; an unknown one is answered with the list of known ones. */
vipo_status vipo_predictor_find(const vipo_predictor **out, const char *name, vipo_error *error);

#endif
