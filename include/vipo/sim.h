/* vipo's simulator: the eleven Meta-World tasks of AVDC and Draft-and-Target Sampling on the MuJoCo C API, headless. A second
 * library (libvipo_sim), built where MuJoCo is installed; conventions of errors and ownership as in vipo.h.
 *
 *   1. what there is: tasks, cameras, profiles      4. pictures
 *   2. environments: open, reset, step              5. scripted experts, recorded episodes
 *   3. states                                       6. data sets
 *
 * Units: metres, radians, seconds. Pictures have the rows of glReadPixels, bottom row first: the cameras are rolled by 180
 * degrees, so they look upright and are mirrored left-right, as AVDC's data are. */
#ifndef VIPO_SIM_H
#define VIPO_SIM_H

#include "vipo/vipo.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. what there is ------------------------------------------------------------------------- */

/* farama-v3: Meta-World 3.1.1, the current public benchmark. avdc-v2: the patched Meta-World v2 that AVDC's and the paper's
 * results come from: its own initial distributions (a random hand start in every task), thresholds and quirks. */
typedef enum vipo_sim_profile { VIPO_SIM_FARAMA_V3, VIPO_SIM_AVDC_V2 } vipo_sim_profile;
/* "farama-v3", "avdc-v2"; NULL past the end. */
VIPO_API const char *vipo_sim_profile_name(int i);

enum {
    VIPO_SIM_OBSERVATION =
        39, /* hand xyz, gripper opening 0..1, object poses padded to 14, the same 18 of the step before, goal xyz */
    VIPO_SIM_ACTION = 4,     /* hand dx, dy, dz (in centimetres) and gripper effort, each within -1..1 */
    VIPO_SIM_MAX_STEPS = 500 /* of an episode */
};

/* Name of task i ("door-open"), NULL past the end; what a person would call it ("door open"), the text AVDC trains with. */
VIPO_API const char *vipo_sim_task_name(int i);
VIPO_API const char *vipo_sim_task_text(int i);
/* "corner", "corner2", "corner3"; NULL past the end. */
VIPO_API const char *vipo_sim_camera_name(int i);
/* Of the library in use, "3.3.0". */
VIPO_API const char *vipo_sim_mujoco_version(void);

/* ---- 2. environments -------------------------------------------------------------------------- */

/* One environment: a scene, its state and, once pictures are asked for, an OpenGL context. Used by one thread at a time;
 * several may live side by side. */
typedef struct vipo_sim vipo_sim;

typedef struct vipo_sim_options {
    vipo_sim_profile profile;
    const char *
        assets; /* folder with Meta-World's models; NULL: $VIPO_METAWORLD_ASSETS, else where set-up put them */
    const char *gl;   /* "egl" or "osmesa"; NULL: $VIPO_GL, else the first that works */
    int shadow_size;  /* of shadow maps, pixels; 0: as authored (4096), -1: no shadows */
    int multisamples; /* of the off-screen buffer; 0: as authored (4), -1: none */
} vipo_sim_options;

VIPO_API void vipo_sim_default_options(vipo_sim_options *options);
/* An unknown task is answered with the known ones, missing assets with how to install them. */
VIPO_API vipo_status vipo_sim_open(vipo_sim **out, const char *task, const vipo_sim_options *options,
                                   vipo_error *error);
VIPO_API void vipo_sim_close(vipo_sim **sim);

/* The initial state of a seed: the same for every call, as the Python packages make it (NumPy's legacy generator). */
VIPO_API vipo_status vipo_sim_reset(vipo_sim *sim, uint64_t seed, double observation[VIPO_SIM_OBSERVATION],
                                    vipo_error *error);

typedef struct vipo_sim_step_result {
    double observation[VIPO_SIM_OBSERVATION];
    double reward; /* 0..10 */
    bool success;  /* in this step; may be lost again */
} vipo_sim_step_result;
/* One control step, 12.5 ms of simulated time. Actions outside the box are clipped, as upstream; NaN and infinity are errors and
 * leave the state as it was. Once the simulation has become unstable, every step until the next reset gives the observation
 * before that, reward 0 and no success, as upstream. VIPO_INVALID_ARGUMENT after VIPO_SIM_MAX_STEPS. */
VIPO_API vipo_status vipo_sim_step(vipo_sim *sim, const double action[VIPO_SIM_ACTION],
                                   vipo_sim_step_result *out, vipo_error *error);

/* ---- 3. states -------------------------------------------------------------------------------- */

/* Everything that a state holds, as named arrays of double: "qpos", "qvel", "mocap_pos", "mocap_quat", "ctrl",
 * "qacc_warmstart", "time", "obs", "rand_vec", "hand_init_pos", "target_pos", "obj_init_pos", and "body_pos/<name>",
 * "site_pos/<name>" for those that reset moved in the model. visit sees each once; values are borrowed. */
VIPO_API vipo_status vipo_sim_get_state(const vipo_sim *sim,
                                        void (*visit)(void *user, const char *name, int rank,
                                                      const size_t *shape, const double *values),
                                        void *user, vipo_error *error);
/* Sets the state from the tensors "init/<name>" of a safetensors file of float64 (the format of recorded episodes). The file must
 * be of the same task and profile; where the drawn numbers do not give its target, that is an error. */
VIPO_API vipo_status vipo_sim_load_state(vipo_sim *sim, const char *path,
                                         double observation[VIPO_SIM_OBSERVATION], vipo_error *error);

/* Puts `to` into the state of `from`, an environment of the same task and profile: what follows is the same for both. `from`
 * may be used by another thread only once this has returned. */
VIPO_API vipo_status vipo_sim_copy_state(vipo_sim *to, const vipo_sim *from, vipo_error *error);

/* ---- 4. pictures ------------------------------------------------------------------------------ */

typedef struct vipo_sim_picture {
    int height, width;
    vipo_image rgb;   /* [height][width][3] */
    vipo_array depth; /* [height][width], metres along the view axis */
    int32_t *type;    /* [height][width]: what is seen: 5 a geom, 6 a site (MuJoCo's mjtObj), -1 background */
    int32_t *id;      /* [height][width]: its number in the model */
} vipo_sim_picture;
enum { VIPO_SIM_RGB = 1, VIPO_SIM_DEPTH = 2, VIPO_SIM_SEGMENTATION = 4 };

/* Draws what `camera` sees now; parts not asked for stay NULL. The caller frees the picture. */
VIPO_API vipo_status vipo_sim_render(vipo_sim *sim, const char *camera, int height, int width, unsigned parts,
                                     vipo_sim_picture *out, vipo_error *error);
VIPO_API void vipo_sim_picture_free(vipo_sim_picture *picture);
/* Which backend draws, and by what device ("llvmpipe (LLVM 15.0.6, 256 bits)"); NULL before the first picture. */
VIPO_API const char *vipo_sim_gl(const vipo_sim *sim);
VIPO_API const char *vipo_sim_gl_device(const vipo_sim *sim);
/* Name of backend i, "egl", "osmesa", NULL past the end; whether it works here, and with what device. A process draws
 * with the backend of its first picture only; asking does not choose. */
VIPO_API const char *vipo_sim_gl_name(int i);
VIPO_API vipo_status vipo_sim_gl_probe(const char *gl, char *device, size_t size, vipo_error *error);

/* AVDC's 3x4 camera matrix for a picture of this size, row by row: (u, v, 1) z = matrix (x, y, z, 1), z the negative depth,
 * u and v index the picture as it is. */
VIPO_API vipo_status vipo_sim_camera_matrix(const vipo_sim *sim, const char *camera, int height, int width,
                                            double matrix[12], vipo_error *error);
/* "geom|body" of geom id, NULL past the end; unnamed ones are "". */
VIPO_API const char *vipo_sim_geom_name(const vipo_sim *sim, int id);
/* 255 where a picture's segmentation shows the object that the task is about (AVDC's choice of geoms, by name; no median
 * filter), else 0. mask: [height][width]. */
VIPO_API vipo_status vipo_sim_object_mask(const vipo_sim *sim, const vipo_sim_picture *picture, uint8_t *mask,
                                          vipo_error *error);

/* ---- 5. scripted experts, recorded episodes ----------------------------------------------------- */

/* The action of the task's scripted policy (upstream's v3 policies; v2's for avdc-v2 where they differ), not clipped. Stateless. */
VIPO_API vipo_status vipo_sim_expert(const vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                     double action[VIPO_SIM_ACTION], vipo_error *error);

/* What became of an episode. It goes on for 10 steps after the first success, whether success lasts or not, and has at most
 * VIPO_SIM_MAX_STEPS. (AVDC stops as soon as success is lost again; it counts an episode as a success if its pictures, one
 * of the initial state and one per step, are at most 500.) */
typedef struct vipo_sim_episode {
    int steps;
    int first_success; /* 1-based; 0: none */
    double total_reward;
} vipo_sim_episode;
/* From the present state, whose observation is given. before_step (may be NULL) sees every state before its action; false
 * ends the episode. */
VIPO_API vipo_status vipo_sim_run_expert(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                         bool (*before_step)(void *user, vipo_sim *sim, int step), void *user,
                                         vipo_sim_episode *out, vipo_error *error);

/* Greatest differences between a recorded episode (safetensors: init/..., step/action|obs|qpos|reward|success) and its replay
 * here. */
typedef struct vipo_sim_replay_result {
    vipo_sim_episode episode;
    double max_observation_difference, max_qpos_difference, max_reward_difference;
    double first_observation_difference; /* of step 1 */
    int success_differences;             /* steps whose success flag differs */
} vipo_sim_replay_result;
VIPO_API vipo_status vipo_sim_replay(vipo_sim *sim, const char *path, vipo_sim_replay_result *out,
                                     vipo_error *error);

/* ---- 6. data sets ------------------------------------------------------------------------------- */

/* Ways to say what task number `task` is about; phrase 0 is its text. NULL past the end. The held-out ones are for testing,
 * not for training. */
VIPO_API const char *vipo_sim_task_phrase(int task, int i);
VIPO_API const char *vipo_sim_task_held_out_phrase(int task, int i);

/* Episodes of the scripted experts as videos: for each task the first `episodes` seeds from `seed` on with which its expert
 * succeeds. */
typedef struct vipo_sim_collect_options {
    vipo_sim_options sim;       /* profile, models, quality of the pictures */
    const char *const *tasks;   /* n_tasks names; NULL: all */
    const char *const *cameras; /* n_cameras names; NULL: all */
    int n_tasks, n_cameras;
    int episodes; /* of each task */
    uint64_t seed;
    int picture_height, picture_width; /* of what is drawn */
    int height, width;                 /* of its middle, which is kept */
    int stride;     /* environment steps between frames, counted from the last; 0: what max_frames needs */
    int max_frames; /* of a clip, with stride 0; at least 2 */
    bool keep_failures;       /* keep every seed's episode */
    bool undo;                /* each episode begins amid the opposite task, somewhere from .15 to .9 of its
                                 object's way (a function of seed and task): a change of mind. For door-open and
                                 door-close; tasks NULL: both. What comes before is not in
                                 the episode; a seed whose expert does not get so far counts as one without success. */
    double action_noise;      /* exploration: standard deviation of what is added to the action, which ends at
                                 +-1; 0: none. The noise depends on seed, task and step alone. */
    int noise_hold;           /* steps for which a draw of the noise stays; at least 1 */
    bool lossless;            /* the very pixels, 5 to 10 times the bytes */
    double crf;               /* x264's quality; lowered for clips that would fall below min_psnr */
    double min_psnr;          /* dB, of a clip, over all of its pixels and colours */
    int workers;              /* threads with an environment each; 0: one per core */
    vipo_callbacks callbacks; /* progress: "episodes", those of this call */
} vipo_sim_collect_options;

typedef struct vipo_sim_collect_result {
    int episodes, clips, skipped; /* in the folder; skipped: seeds without success */
    int earlier;                  /* episodes that were there before the call */
    size_t frames, video_bytes;   /* of all clips */
    double worst_psnr;            /* of a clip, dB; 0: lossless */
} vipo_sim_collect_result;

/* All tasks and cameras, 20 episodes from seed 0, the middle 128x128 of 320x240 (AVDC's), at most 45 frames, shadow maps of
 * 1024 pixels, above 38 dB. */
VIPO_API void vipo_sim_default_collect_options(vipo_sim_collect_options *options);
/* Fills `folder` (docs/data.md describes it), which is new, empty, or of an earlier call with the same options: what is
 * complete there is kept. The files are the same for any number of workers and interruptions. On failure and VIPO_CANCELLED
 * the complete episodes stay, *out and the index tell of them, and the same call goes on from there. */
VIPO_API vipo_status vipo_sim_collect(const char *folder, const vipo_sim_collect_options *options,
                                      vipo_sim_collect_result *out, vipo_error *error);

#ifdef __cplusplus
}
#endif

#endif
