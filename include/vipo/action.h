/* vipo: from an imagined video to robot actions.
 *
 *   1. optical flow: how pixels move from one frame to the next
 *   2. motion: flow, depth and a mask -> rigid motions, subgoals, a controller (AVDC's flow policy)
 *   3. goal-conditioned policy: observation and goal frame -> a short sequence of actions (GCP)
 *
 * Conventions are those of vipo.h: statuses and errors, ownership, arrays in C order. Pixel (u, v): u column, v row,
 * centres at integers, (0, 0) the first pixel of the first row.
 */
#ifndef VIPO_ACTION_H
#define VIPO_ACTION_H

#include "vipo/vipo.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. optical flow ---------------------------------------------------------------------------- */

/* A flow from picture a to picture b is float32 [H][W][2]: what is at pixel (u, v) of a lies at (u + f[v][u][0],
 * v + f[v][u][1]) in b. */

/* A method and what it keeps between calls (weights, memory). One mutable session, used by one thread at a time. */
typedef struct vipo_flow vipo_flow;

typedef struct vipo_flow_options {
    const char *method; /* one of vipo_flow_method_name; NULL: "unimatch" with a model, else "dis" */
    const char *model;  /* unimatch: folder with config.json and flow.safetensors (vipo_convert); else NULL */
    bool native; /* unimatch: at the pictures' size, rounded up to multiples of 32, not at config.json's */
    int threads; /* 0: all cores. Results do not depend on it. "dis" uses one. */
    const char *compute; /* unimatch: op table, as in vipo_model_options */
} vipo_flow_options;

/* Name of method i, NULL past the end; a line that says what it is.
 *   unimatch  GMFlow with two scales and six refinements (Xu et al., TPAMI 2023), the network that AVDC uses. As there,
 *             pictures are enlarged to 480x640 (the folder's config.json) and flows reduced again. Seconds.
 *   dis       dense inverse search (Kroeger et al., ECCV 2016), OpenCV's: no weights, milliseconds. It tells all of
 *             OpenCV in this process to use one thread, or its results would depend on the number of cores. Sides of at
 *             least 24 pixels. VIPO_UNSUPPORTED where vipo was built without OpenCV. */
VIPO_API const char *vipo_flow_method_name(int i);
VIPO_API const char *vipo_flow_method_summary(int i);

VIPO_API void vipo_flow_default_options(vipo_flow_options *options);
/* callbacks: borrowed during the call; may be NULL. An unknown method is VIPO_INVALID_ARGUMENT and told the known. */
VIPO_API vipo_status vipo_flow_open(vipo_flow **out, const vipo_flow_options *options,
                                    const vipo_callbacks *callbacks, vipo_error *error);
VIPO_API void vipo_flow_close(vipo_flow **flow);
/* Name of its method. */
VIPO_API const char *vipo_flow_method(const vipo_flow *flow);

/* What is in the folder of an optical flow network; reads config.json and the header of its weights. */
typedef struct vipo_flow_info {
    char network[64];
    int height, width; /* that pictures are enlarged to */
    size_t parameters, file_bytes;
    char dtype[8];
} vipo_flow_info;
VIPO_API vipo_status vipo_flow_read_info(const char *folder, vipo_flow_info *out, vipo_error *error);

/* *forward: flow from each of n >= 2 pictures to the next, [n-1][H][W][2]; *backward, unless NULL: from the next back to
 * it. Pictures of different sizes are VIPO_MISMATCH. Results belong to the caller (vipo_array_free); zeroed on failure. */
VIPO_API vipo_status vipo_flow_images(vipo_flow *flow, const vipo_image *images, int n, vipo_array *forward,
                                      vipo_array *backward, const vipo_callbacks *callbacks,
                                      vipo_error *error);
/* The same for the frames of a video [n][H][W][3], nominally in [0,1]. As in AVDC they become 8 bit first, 255 x cut to a
 * whole number; what lies outside [0,1] becomes 0 or 255. A number that is not finite is VIPO_NUMERIC. */
VIPO_API vipo_status vipo_flow_video(vipo_flow *flow, const vipo_array *video, vipo_array *forward,
                                     vipo_array *backward, const vipo_callbacks *callbacks,
                                     vipo_error *error);

/* ---- 2. motion ---------------------------------------------------------------------------------- */

/* What AVDC's flow policy does with the optical flow between the frames of a plan (Ko et al. 2024, "Learning to Act from
 * Actionless Videos through Dense Correspondences"): points of the object are lifted to 3-D by a depth map and followed by
 * the flow, a rigid motion is fitted from each frame to the next, and a point of the object, carried along, gives the
 * robot's subgoals. Units: metres, radians, pixels; matrices row by row; doubles. */

/* A camera is a 3x4 matrix with (u, v, 1) z = matrix (x, y, z, 1), z what its depth map holds: of a camera that looks along
 * -z, as AVDC's (and vipo_sim_camera_matrix's), negative. Reads a .npy of shape [3][4]. */
VIPO_API vipo_status vipo_camera_matrix_read(const char *path, double matrix[12], vipo_error *error);

/* AVDC's 3x3 median filter of masks, borders replicated: 255 where most of the 9 pixels are set, else 0. in, out:
 * [height][width], not the same. */
VIPO_API void vipo_mask_median(const uint8_t *in, int height, int width, uint8_t *out);

/* Recorded random draws of AVDC's policy, from a safetensors file: draw.sample_index [n] (I32 or I64) and
 * draw.sample_jitter [n][2] (F64); if they are there, draw.ransac_pairs [frames][tries][2] and draw.start_x0 [m][6]. */
typedef struct vipo_motion_draws vipo_motion_draws;
VIPO_API vipo_status vipo_motion_draws_open(vipo_motion_draws **out, const char *path, vipo_error *error);
VIPO_API void vipo_motion_draws_close(vipo_motion_draws **draws);

/* Which points are followed, and what happens where AVDC's code fails. */
typedef enum vipo_motion_sampling {
    VIPO_MOTION_ROBUST, /* not where the depth jumps (the silhouette) or is unknown; of each frame those that agree with the
                           fitted motion; reads outside of maps take the nearest pixel; an object that is not seen and too few
                           points end the plan */
    VIPO_MOTION_AVDC, /* as AVDC, its failures included: each is an error */
} vipo_motion_sampling;
/* "robust", "avdc"; NULL past the end. */
VIPO_API const char *vipo_motion_sampling_name(int i);

typedef enum vipo_motion_fit {
    VIPO_MOTION_LM,        /* Levenberg-Marquardt */
    VIPO_MOTION_REFERENCE, /* as AVDC: BFGS, started again up to `restarts` times; slow */
} vipo_motion_fit;
/* "lm", "reference"; NULL past the end. */
VIPO_API const char *vipo_motion_fit_name(int i);

typedef struct vipo_motion_options {
    vipo_motion_sampling sampling;
    vipo_motion_fit fit;
    int samples;      /* points taken from the mask, 2..100000; AVDC: 500 */
    int tries;        /* of RANSAC, 1..100000; AVDC: 100 */
    double threshold; /* pixels that an inlier may be off; AVDC: 0.5 */
    int restarts;     /* reference: 0..1024; AVDC: 50 */
    double
        depth_jump; /* robust: metres between the depths of neighbouring pixels that count as a silhouette */
    int min_points; /* robust: with fewer inliers the plan ends, 3.. */
    double
        round_trip; /* robust, with a backward flow: pixels that flow and backward flow may disagree; 0: not checked */
    /* Draws: recorded ones (AVDC sampling only; borrowed), or numbers of a counter: the same for any shards. */
    const vipo_motion_draws *draws;
    uint64_t seed;
    uint32_t episode, plan;
} vipo_motion_options;
VIPO_API void vipo_motion_default_options(vipo_motion_options *options);

/* What the camera saw; borrowed. */
typedef struct vipo_motion_request {
    const vipo_array *depth; /* [H][W], finite where the mask is set (robust: 0 and not finite: not known) */
    const double *matrix;    /* [12] */
    bool positive_depth;     /* depth holds -z, as vipo_sim_render gives it beside vipo_sim_camera_matrix */
    const uint8_t *mask;     /* [H][W], the object is where it is not 0 */
    const vipo_array *flow;  /* [n][H][W][2]: pixels (u, v) from frame k to frame k + 1 */
    const vipo_array *backward; /* the same from frame k + 1 to frame k, or NULL */
} vipo_motion_request;

typedef enum vipo_motion_end {
    VIPO_MOTION_COMPLETE, /* a motion for every flow */
    VIPO_MOTION_NOT_SEEN, /* no motion: the mask is empty, or its depth is not known */
    VIPO_MOTION_FEW_POINTS, /* fewer motions than flows: too few points moved together, or they left the picture */
} vipo_motion_end;
/* "complete", "object not seen", "too few points". */
VIPO_API const char *vipo_motion_end_name(int i);

/* From one frame to the next. */
typedef struct vipo_motion_step {
    double motion[16];    /* 4x4, of the world */
    double parameters[6]; /* the same as x, y, z, roll, pitch, yaw: [Rx(roll) Ry(pitch) Rz(yaw) | x, y, z] */
    double center_uv[2];  /* where the grasp point, moved so far, is in the picture */
    int points;           /* that were fitted: the inliers */
    int iterations;       /* of the fit, all starts */
    double loss;          /* mean squared distance per coordinate, square pixels */
} vipo_motion_step;

typedef enum vipo_motion_mode { VIPO_MOTION_PUSH, VIPO_MOTION_GRASP } vipo_motion_mode;
/* "push", "grasp". */
VIPO_API const char *vipo_motion_mode_name(int i);

typedef struct vipo_motion {
    double grasp[3]; /* the object's point nearest to all others in the picture, at its neighbours' depth */
    double (*subgoals)[3];   /* [n_steps + 1]: the grasp point, then where each motion takes it */
    vipo_motion_step *steps; /* [n_steps] */
    int n_steps;
    vipo_motion_end end;
    int samples;           /* points that were followed */
    bool mode_known;       /* there are enough subgoals to tell */
    vipo_motion_mode mode; /* grasp if a step between subgoals rises or falls by more than 0.1 m */
    double largest_rise;   /* metres */
    double seconds;
} vipo_motion;

/* Frees nothing of the request; the caller frees *out. Cost: milliseconds with lm. */
VIPO_API vipo_status vipo_motion_solve(const vipo_motion_request *request, const vipo_motion_options *options,
                                       vipo_motion *out, vipo_error *error);
VIPO_API void vipo_motion_free(vipo_motion *motion);

/* AVDC's closed loop on Meta-World: goes to the grasp point, then from subgoal to subgoal, and wants a new plan when the hand
 * stands still. One episode; fed with the hand's position, it never sees the simulator. In each control step
 *
 *     if (vipo_flow_controller_observe(c, hand)) - make a plan - vipo_flow_controller_plan(c, grasp, motions, n, error);
 *     vipo_flow_controller_act(c, action);
 *
 * Unlike AVDC's it takes plans of fewer than 3 motions (a push, until a plan says otherwise), and a subgoal straight above
 * the grasp point gives no NaN. */
typedef struct vipo_flow_controller vipo_flow_controller;

typedef struct vipo_flow_controller_options {
    int plans;    /* that may be asked for, >= 1; AVDC: 6 */
    int patience; /* steps of less than a millimetre, together, until a new plan is wanted, >= 1; AVDC: 15 */
} vipo_flow_controller_options;
VIPO_API void vipo_flow_controller_default_options(vipo_flow_controller_options *options);

VIPO_API vipo_status vipo_flow_controller_open(vipo_flow_controller **out,
                                               const vipo_flow_controller_options *options,
                                               vipo_error *error);
VIPO_API void vipo_flow_controller_close(vipo_flow_controller **controller);

/* Begins a control step: the hand is at `position`, metres. True: a plan of what is seen now is wanted before act. */
VIPO_API bool vipo_flow_controller_observe(vipo_flow_controller *controller, const double position[3]);
/* The wanted plan: a grasp point and n >= 0 motions (4x4, row by row), [n][16]; vipo_motion's. VIPO_NUMERIC, with nothing
 * changed, if they are not finite. */
VIPO_API vipo_status vipo_flow_controller_plan(vipo_flow_controller *controller, const double grasp[3],
                                               const double *motions, int n, vipo_error *error);
/* None could be made: the old one is followed, the next is wanted after as much patience. */
VIPO_API void vipo_flow_controller_skip_plan(vipo_flow_controller *controller);
/* The step's action: hand dx, dy, dz in centimetres times 0.2 (20 per metre; the environment clips to -1..1) and gripper effort
 * 0.8 or -0.8. Without any plan the hand stays where it is, open. */
VIPO_API void vipo_flow_controller_act(vipo_flow_controller *controller, double action[4]);

/* What it is at, for records. */
typedef struct vipo_flow_controller_state {
    int plans_left, countdown; /* the countdown goes on below 0 when no plans are left */
    bool grasped;              /* the hand was at the grasp point */
    vipo_motion_mode mode;
    double grasp[3];             /* the point that is approached */
    int n_subgoals;              /* left */
    const double (*subgoals)[3]; /* the first is next; borrowed until the next call */
} vipo_flow_controller_state;
VIPO_API void vipo_flow_controller_get_state(const vipo_flow_controller *controller,
                                             vipo_flow_controller_state *out);

/* AVDC's navigation in iTHOR: the camera moves, and the scene with respect to it. Points are taken where the first flow moves. */
typedef struct vipo_navigation_options {
    vipo_motion_fit fit;
    int samples;                    /* 2..100000; AVDC: 1000 */
    int restarts;                   /* reference: 0..1024; AVDC: 8 */
    double moving;                  /* pixels: more than this is motion; AVDC: 1; nothing moves: all pixels */
    int border;                     /* pixels at the picture's edge that are not used; AVDC: 4 */
    int min_points;                 /* fewer end the plan, >= 1; AVDC: 100 */
    const vipo_motion_draws *draws; /* as in vipo_motion_options */
    uint64_t seed;
    uint32_t episode, plan;
} vipo_navigation_options;
VIPO_API void vipo_navigation_default_options(vipo_navigation_options *options);

/* Motions of the scene from the camera's old to its new frame (x right, y down, z forward for a matrix without rotation). The
 * request's mask and backward flow are not used. In *out, subgoals[0] is the point (0, 0, 1) ahead and subgoals[1 + k] where
 * motion k alone takes it; grasp, mode and center_uv mean nothing. The caller frees *out. */
VIPO_API vipo_status vipo_navigation_solve(const vipo_motion_request *request,
                                           const vipo_navigation_options *options, vipo_motion *out,
                                           vipo_error *error);

typedef enum vipo_navigation_action {
    VIPO_MOVE_AHEAD,
    VIPO_ROTATE_LEFT,
    VIPO_ROTATE_RIGHT,
    VIPO_NAVIGATION_DONE
} vipo_navigation_action;
/* "MoveAhead", "RotateLeft", "RotateRight", "Done"; NULL past the end. */
VIPO_API const char *vipo_navigation_action_name(int i);
/* One action per motion; the first that moves nothing is Done and ends the list. actions: room for n_steps. Returns how many. */
VIPO_API int vipo_navigation_actions(const vipo_motion *motion, vipo_navigation_action *actions);

/* ---- 3. goal-conditioned policy ----------------------------------------------------------------- */

/* A policy maps what the robot sees, what it should see later (one imagined frame) and, if it was trained so, a vector (the
 * hand's position, a task) to a short sequence of actions, of which the first few are executed before it is asked again.
 * Kinds: "gcp", a diffusion policy (Luo and Du 2024, "Grounding Video Models to Actions through Goal Conditioned
 * Exploration"; networks after Chi et al. 2023); "bc", behaviour cloning: one network call, nothing drawn. */

/* One open policy: weights and the memory of a session. Used by one thread at a time. */
typedef struct vipo_goal_policy vipo_goal_policy;

typedef struct vipo_goal_policy_options {
    /* Op table: "ref", "avx2", "avx512", "amx"; NULL: $VIPO_COMPUTE, else the fastest here but amx, whose rounding errors are
     * about ten times as large. */
    const char *compute;
    int threads; /* 0: all cores. Results do not depend on it. */
} vipo_goal_policy_options;

enum { VIPO_POLICY_PARTS = 8, VIPO_POLICY_TASKS = 64, VIPO_POLICY_ACTION = 64, VIPO_POLICY_NAME = 64 };

/* A run of the vector input. */
typedef struct vipo_vector_part {
    char name[VIPO_POLICY_NAME];
    int offset, size;
    bool
        tasks; /* a one-hot over vipo_goal_policy_info.tasks; other parts take numbers as they are measured */
} vipo_vector_part;

typedef struct vipo_goal_policy_info {
    char name[VIPO_POLICY_NAME];
    char kind[8];      /* "gcp", "bc" */
    bool obs, goal;    /* pictures that it looks at */
    int height, width; /* of a picture */
    int vector_dim, n_parts;
    vipo_vector_part parts[VIPO_POLICY_PARTS];
    int n_tasks;
    char tasks[VIPO_POLICY_TASKS][VIPO_POLICY_NAME];
    int action_dim, horizon;
    int executed; /* actions to carry out before asking again */
    float action_min[VIPO_POLICY_ACTION], action_max[VIPO_POLICY_ACTION];
    int timesteps;    /* gcp; bc: 0 */
    char sampler[16]; /* default of a call; bc: "" */
    int steps;
    size_t parameters, file_bytes;
    char dtype[8]; /* of the file: "F32", "F16", "BF16" or "mixed" */
    int n_tensors;
} vipo_goal_policy_info;

VIPO_API void vipo_goal_policy_default_options(vipo_goal_policy_options *options);
/* Opens a folder with config.json and policy.safetensors (docs/policies.md, docs/commands/act.md). Every tensor is checked
 * by name, shape and type. options, callbacks (borrowed during the call): may be NULL. */
VIPO_API vipo_status vipo_goal_policy_open(vipo_goal_policy **out, const char *folder,
                                           const vipo_goal_policy_options *options,
                                           const vipo_callbacks *callbacks, vipo_error *error);
VIPO_API void vipo_goal_policy_close(vipo_goal_policy **policy);
VIPO_API const char *
vipo_goal_policy_compute(const vipo_goal_policy *policy); /* name of the op table in use */
VIPO_API void vipo_goal_policy_get_info(const vipo_goal_policy *policy, vipo_goal_policy_info *out);
/* Reads config.json and the tensor headers only. */
VIPO_API vipo_status vipo_goal_policy_read_info(const char *folder, vipo_goal_policy_info *out,
                                                vipo_error *error);
/* Is this the folder of an action policy, by its config.json? False also where there is none. */
VIPO_API bool vipo_goal_policy_is(const char *folder);

/* A picture file as a policy takes it: [n][height][width][3] in [0,1]. PNG, JPEG or .npy; of a .npy, uint8 is divided by
 * 255 and the shape is [H][W][3] or [3][H][W], also with one or two dimensions before these. Nothing is resized. */
VIPO_API vipo_status vipo_goal_policy_read_picture(const vipo_goal_policy *policy, const char *path,
                                                   vipo_array *out, vipo_error *error);

/* Names of samplers, NULL past the end; a line that says what it is. */
VIPO_API const char *vipo_action_sampler_name(int i);
VIPO_API const char *vipo_action_sampler_summary(int i);

/* Arrays are borrowed. Where a picture or vector is one for all samples it may have 1 in place of samples. */
typedef struct vipo_goal_request {
    const vipo_array *obs,
        *goal; /* [samples or 1][H][W][3] in [0,1]; those that the policy looks at. A goal that is equal to
                                     that of the call before is not encoded again. */
    const vipo_array *vector; /* [samples or 1][vector_dim] */
    int samples;              /* 1..256 */
    const char *sampler;      /* gcp: "ddim", "ddpm"; NULL: the policy's own */
    int steps;     /* 1..timesteps; 0: the policy's own, or what the sampler named has: ddim 8, ddpm all */
    uint64_t seed; /* noise is drawn from (seed, episode, plan, sample) ... */
    uint32_t episode, plan;
    const vipo_array *noise;      /* ... or given: [samples][horizon][action_dim] */
    const vipo_array *step_noise; /* ddpm: [steps - 1][samples][horizon][action_dim] in order of use */
    /* Every intermediate of encoders and network, the network's of its first call; PyTorch's layout. NULL: off. */
    void (*dump)(void *user, const char *name, const vipo_array *value);
    void *dump_user;
    vipo_callbacks callbacks;
} vipo_goal_request;

typedef struct vipo_goal_actions {
    vipo_array actions;             /* [samples][horizon][action_dim], within [action_min, action_max] */
    char sampler[32];               /* with its steps: "ddim-8"; bc: "" */
    int calls;                      /* of the network that makes actions */
    bool goal_reused;               /* the goal's features were those of the call before */
    double encode_seconds, seconds; /* of the pictures; of all */
} vipo_goal_actions;

VIPO_API void vipo_goal_request_default(vipo_goal_request *request);
/* On failure *out is zeroed. Release with vipo_goal_actions_free. */
VIPO_API vipo_status vipo_goal_policy_act(vipo_goal_policy *policy, const vipo_goal_request *request,
                                          vipo_goal_actions *out, vipo_error *error);
VIPO_API void vipo_goal_actions_free(vipo_goal_actions *actions);

#ifdef __cplusplus
}
#endif

#endif
