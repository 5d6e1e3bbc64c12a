/* Meta-World's eleven tasks (Yu et al. 2019, arXiv 1910.10897), in Farama's version 3 and in the version 2 that AVDC (Ko et al.
 * 2023, arXiv 2310.08576) patched. A task is a row of a table (metaworld_tasks.c); functions are only what differs in kind:
 * rewards (metaworld_rewards.c) and experts (experts.c). How a state comes about: metaworld_reset.c. */
#ifndef VIPO_SIM_METAWORLD_H
#define VIPO_SIM_METAWORLD_H

#include "sim/renderer.h"
#include "sim/scene.h"
#include "vipo/sim.h"
#include "weights/safetensors.h"

enum {
    VIPO_TASK_PROFILES = 2,
    VIPO_TASK_VECTOR = 6,      /* most numbers that a reset draws */
    VIPO_OBSERVATION_HALF = 18 /* hand, gripper, objects */
};

/* Numbers drawn uniformly, each between its own bounds. */
typedef struct vipo_task_space {
    int size;
    double low[VIPO_TASK_VECTOR], high[VIPO_TASK_VECTOR];
} vipo_task_space;

/* Something in the scene that is looked at. */
typedef struct vipo_task_object {
    mjtObj type; /* body, geom or site; mjOBJ_UNKNOWN: nothing */
    const char *name;
    double offset[3]; /* added to its position */
    mjtObj
        orientation_type; /* body: quaternion w x y z; geom: from its matrix, x y z w; mjOBJ_UNKNOWN: zeros */
    const char *orientation; /* name */
} vipo_task_object;

/* Where the target is. v: the drawn vector. */
typedef enum vipo_target_rule {
    VIPO_TARGET_OFFSET,      /* v[0:3] + offset */
    VIPO_TARGET_DRAWN,       /* v[3:6] */
    VIPO_TARGET_SITE,        /* where the site is in the world */
    VIPO_TARGET_SITE_IN_BODY /* the site's place in the model + that of the placed body */
} vipo_target_rule;

/* What reset writes into qpos from number 9 on: the arm and the fingers come before. */
typedef enum vipo_object_rule {
    VIPO_OBJECT_NONE,
    VIPO_OBJECT_JOINT,    /* one number, object_joint */
    VIPO_OBJECT_DRAWN,    /* a position: v[0:3] */
    VIPO_OBJECT_DRAWN_XY, /* v[0:2] and the height object_height */
    VIPO_OBJECT_DRAWN_ON_TABLE /* v[0:2] and the height at which the object came to rest while the hand was reset */
} vipo_object_rule;

/* The part of a task that the profiles do not share. */
typedef struct vipo_task_rules {
    vipo_task_space hand;   /* added to hand_start; size 0: nothing */
    int unused_draws;       /* numbers that upstream draws after the hand's and does not use */
    vipo_task_space vector; /* v */
    double min_distance;    /* v is drawn again while |v[0:2] - v[3:5]| is less; 0: never */
    const char *moved_site; /* its place in the model becomes the target's; NULL: none */
    const char *arm_before; /* the model has the arm right before this body; NULL: as the file says */
    bool forward;           /* mj_forward once the body is placed */
    double success_distance;
} vipo_task_rules;

typedef struct vipo_task_outcome {
    double reward; /* 0..10 */
    bool success;
} vipo_task_outcome;

/* A geom by its body and its number there (most of them have no name). */
typedef struct vipo_task_geom {
    const char *body; /* NULL: end of a list */
    int number;
} vipo_task_geom;

typedef struct vipo_task {
    const char *name, *text;
    const char
        *opposite;     /* the task of the same model whose expert undoes it; NULL: none. (Those of the faucets
                              rarely can: they look for the handle where it stands at the start.) */
    const char *model; /* sawyer_xyz/<model>.xml */
    double hand_start[3];             /* single precision where upstream's is */
    double hand_low_z;                /* lower bound of the hand's box, see vipo_hand_low */
    double goal_low[3], goal_high[3]; /* bounds of the goal in an observation (farama-v3) */
    vipo_task_object objects[2];      /* of an observation */
    const char *placed_body; /* its place in the model becomes v[placed_from:] + placed_offset; NULL: none */
    int placed_from;
    double placed_offset[3];
    vipo_object_rule object_rule;
    double object_joint, object_height;
    vipo_target_rule target_rule;
    double target_offset[3];
    const char *target_site;
    /* Sites that version 2 moves in every picture: one to the target, one out of sight. */
    const char *marker_site, *hidden_site;
    const char *start_site;  /* where a button or a handle is at the start */
    const char *joint;       /* that reward or success looks at */
    const char *center_site; /* of what is put over a peg */
    vipo_task_outcome (*evaluate)(const vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                  const double action[VIPO_SIM_ACTION]);
    vipo_task_geom mask[3]; /* AVDC's choice for segmentation */
    vipo_task_rules rules[VIPO_TASK_PROFILES];
} vipo_task;

extern const vipo_task vipo_tasks[];
enum { VIPO_TASKS = 11 };
/* -1 if there is none of that name. */
int vipo_task_find(const char *name);

/* Box of the mocap body that pulls the hand; z from the task. */
extern const double vipo_hand_low[3], vipo_hand_high[3];

/* Numbers in the model of everything that is looked at. */
typedef struct vipo_sim_places {
    int hand, right_claw, left_claw, right_pad, left_pad; /* bodies */
    int right_finger, left_finger;                        /* sites: rightEndEffector, leftEndEffector */
    int placed_body, moved_site;                          /* -1: none, as below */
    int target_site, marker_site, hidden_site, start_site, center_site;
    int joint; /* in qpos */
    int object[2], orientation[2];
} vipo_sim_places;

struct vipo_sim {
    const vipo_task *task;
    const vipo_task_rules *rules;
    vipo_sim_profile profile;
    vipo_scene *scene;
    vipo_sim_places at;
    mjtNum *model_body_pos, *model_site_pos; /* as loaded */
    /* of the episode; hand_start is where reset brings the hand */
    double vector[VIPO_TASK_VECTOR];
    double hand_start[3], target[3], object_start[3];
    double finger_start[3]; /* middle of the fingers before the object was put down */
    double site_start[3];   /* start_site after it */
    int steps;
    bool ready, unstable;
    double previous[VIPO_OBSERVATION_HALF];   /* half of the observation of the step before */
    double observation[VIPO_SIM_OBSERVATION]; /* the last one given out */
    /* pictures */
    char **geom_names;       /* "geom|body" of each geom; one block */
    vipo_renderer *renderer; /* NULL until the first */
    vipo_renderer_options picture;
    char gl[16]; /* "": the first that works */
};

/* metaworld.c */
/* Middle of the two finger tips. */
void vipo_sim_finger_center(const vipo_sim *sim, double out[3]);
/* Hand, gripper and objects now. */
void vipo_sim_observe_half(const vipo_sim *sim, double out[VIPO_OBSERVATION_HALF]);
/* Begins an episode with that observation. */
void vipo_sim_begin(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION]);

/* Version 2's markers, after a step: one at the target, one out of sight. */
void vipo_sim_place_markers(vipo_sim *sim);

/* pictures.c */
/* Fills geom_names. */
vipo_status vipo_sim_name_geoms(vipo_sim *sim, vipo_error *error);
/* The middle [height][width][3] of the picture of picture_height x picture_width that vipo_sim_render gives. */
vipo_status vipo_sim_render_middle(vipo_sim *sim, const char *camera, int picture_height, int picture_width,
                                   int height, int width, uint8_t *rgb, vipo_error *error);

/* metaworld_reset.c */
/* The numbers that seed gives: sim->hand_start and sim->vector. */
void vipo_sim_draw(vipo_sim *sim, uint32_t seed);
/* Makes the initial state of sim->hand_start and sim->vector, whatever was before. */
vipo_status vipo_sim_make_state(vipo_sim *sim, double observation[VIPO_SIM_OBSERVATION], vipo_error *error);

/* metaworld_state.c */
/* Reads tensor `name` of a recorded episode, which must be F64, finite and of this shape; `file` is its path. */
vipo_status vipo_record_read(const vipo_safetensors *record, const char *file, const char *name, int rank,
                             const size_t *shape, double *out, vipo_error *error);
vipo_status vipo_sim_load_record(vipo_sim *sim, const vipo_safetensors *record, const char *file,
                                 double observation[VIPO_SIM_OBSERVATION], vipo_error *error);
/* Begins an episode of to's task where `from`, an environment of its opposite, is now: the scene stays as it is, what is
 * wanted of it changes. */
vipo_status vipo_sim_turn_round(vipo_sim *to, const vipo_sim *from, double observation[VIPO_SIM_OBSERVATION],
                                vipo_error *error);

/* episode.c */
/* What watches an episode of the expert; any function may be NULL. Steps count from 0. */
typedef struct vipo_expert_hooks {
    void *user;
    bool (*before_step)(void *user, vipo_sim *sim, int step); /* false ends the episode */
    /* sees the expert's action and may change it */
    void (*on_action)(void *user, int step, double action[VIPO_SIM_ACTION]);
    void (*after_step)(void *user, const vipo_sim *sim, int step, const double action[VIPO_SIM_ACTION],
                       const vipo_sim_step_result *result);
} vipo_expert_hooks;
vipo_status vipo_sim_play_expert(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                 const vipo_expert_hooks *hooks, vipo_sim_episode *out, vipo_error *error);

#endif
