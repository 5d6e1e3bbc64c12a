/* vipo's evaluation: closed-loop episodes of a policy in the simulator, kept in a store of results, and reports on them. A third
 * library (libvipo_eval); conventions of errors and ownership as in vipo.h.
 *
 *   1. what there is: policies, plans, suites      3. stores
 *   2. running episodes                            4. reports
 *
 * An episode is a pure function of profile, task, camera, seed, policy, plan and sampler settings: whoever runs it, in whatever
 * order, with any number of threads, gets the same (on machines whose kernels and OpenGL agree; both are recorded). */
#ifndef VIPO_EVAL_H
#define VIPO_EVAL_H

#include "vipo/sim.h"
#include "vipo/vipo.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. what there is ------------------------------------------------------------------------- */

/* Policies: what turns plans into actions. NULL past the end. */
VIPO_API const char *vipo_eval_policy_name(int i);
VIPO_API const char *vipo_eval_policy_summary(int i);
/* What predictor_settings may hold: "fit=lm|reference, samples=N"; NULL: nothing. */
VIPO_API const char *vipo_eval_policy_settings(int i);
/* Does it follow plans, so that `plan` is "model" unless another is named? */
VIPO_API bool vipo_eval_policy_follows_plans(int i);

/* Where plans come from: "none", "model" (a video model imagines them), "truth" (the future that the scripted expert would
 * bring about, drawn by the simulator). NULL past the end. */
VIPO_API const char *vipo_eval_plan_name(int i);

enum { VIPO_EVAL_MAX_SAMPLERS = 32 };

/* Ready-made evaluations. Pointers are to static tables. */
typedef struct vipo_eval_suite {
    const char *name, *summary;
    vipo_sim_profile profile;
    const char *const *cameras; /* n_cameras of them; 0: all */
    int n_cameras;
    int seeds; /* 0, 1, ... of each task and camera; tasks are always all */
    const vipo_sampler_options *samplers;
    int n_samplers; /* 0: as the user says */
} vipo_eval_suite;
/* NULL past the end. */
VIPO_API const vipo_eval_suite *vipo_eval_suite_at(int i);

/* ---- 2. running episodes ---------------------------------------------------------------------- */

/* What is told about an episode when it is over. Strings are borrowed. */
typedef struct vipo_eval_episode {
    const char *settings; /* what a person calls them: "flow ddim-100" */
    const char *task, *camera;
    uint64_t seed;
    bool success;
    int first_success, steps, plans;
    double total_reward, seconds;
    const char *error; /* why the episode could not go on; "": it ended by its rules */
} vipo_eval_episode;

typedef struct vipo_eval_options {
    vipo_sim_options sim;

    const char *policy;             /* a name */
    const char *predictor_file;     /* a model folder or file of the policy's own; NULL: none */
    const char *predictor_settings; /* "key=value,key=value", NULL: none */

    const char *plan;  /* a name; NULL: "model" for a policy that needs plans, else "none" */
    const char *model; /* folder of the video model; plan "truth" takes the shape of its frames, if given */
    vipo_model_options model_options;
    const vipo_sampler_options
        *samplers; /* n_samplers of them, each evaluated on the same episodes and the same noise */
    int n_samplers;
    int plan_frames; /* of plan "truth" without a model */
    /* Plans start from the one before, noised to timestep from_step (-1: 35 % of them), in place of pure noise. */
    bool warm;
    int from_step;
    /* The arm goes on with the plan it has for this many steps while the next one is made; 0: it waits. The first plan
     * is always waited for. */
    int ahead;
    /* Policies without a rule of their own plan at the first step, and again when the hand has moved by less than 1 mm in
     * `patience` steps since; max_plans 0: at most 6 (a rule of the policy's own: no limit). */
    int patience, max_plans;

    const char *const *tasks; /* n_tasks names; 0: all */
    int n_tasks;
    const char *const *cameras; /* n_cameras names; 0: all */
    int n_cameras;
    uint64_t seed; /* of the first episode of each task and camera */
    int seeds;     /* how many follow each other */
    /* Only every `shards`-th (task, seed, camera): those whose number is `shard` modulo shards. 0 of 1: all. */
    int shard, shards;

    int workers; /* episodes at a time; 0: one per core without a model, else 1 */
    int threads; /* of all workers together, for planning; 0: all cores */

    const char *videos; /* folder for a film of every episode; NULL: none */
    int video_stride;   /* steps between its pictures */

    vipo_callbacks callbacks; /* progress: "episodes", those of this call */
    void (*episode)(void *user, const vipo_eval_episode *episode); /* callbacks.user; may be NULL */
} vipo_eval_options;

/* The scripted expert on all tasks and cameras, one seed; ddim, should a plan be asked for. */
VIPO_API void vipo_eval_default_options(vipo_eval_options *options);

typedef struct vipo_eval_result {
    int episodes;          /* asked for, in this shard */
    int earlier, done;     /* of those: there before; run by this call */
    int successes, errors; /* among earlier and done */
    double seconds;        /* of this call */
    int processes,
        process; /* under mpirun; else 1 and 0. Results are told by process 0 alone, the others give zeros */
    char digest[17]; /* of all results in the store, without times: equal for equal results */
} vipo_eval_result;

/* Runs the episodes that the store at `path` does not have, which is made if it is not there. What is complete is kept,
 * whatever happens: on failure and VIPO_CANCELLED *out tells of it, and the same call goes on from there. Under mpirun
 * (OpenMPI) all processes make the same call: the first one hands out episodes and keeps the store. */
VIPO_API vipo_status vipo_eval_run(const char *path, const vipo_eval_options *options, vipo_eval_result *out,
                                   vipo_error *error);

/* ---- 3. stores -------------------------------------------------------------------------------- */

typedef struct vipo_eval_merge_result {
    int added;     /* episodes that were new */
    int present;   /* that the store had already, with equal results */
    int different; /* that it had with other results, which stay */
    int episodes;  /* now in the store */
    char digest[17];
} vipo_eval_merge_result;
/* Adds the episodes of n stores to the one at `path`, which is made if it is not there; of each of them all or nothing. */
VIPO_API vipo_status vipo_eval_merge(const char *path, const char *const *others, int n,
                                     vipo_eval_merge_result *out, vipo_error *error);

/* ---- 4. reports ------------------------------------------------------------------------------- */

/* What some stores hold together, summed up. Constant once open. */
typedef struct vipo_report vipo_report;

typedef struct vipo_report_options {
    const char *const
        *stores; /* n_stores of them; of an episode that is in several the first result counts */
    int n_stores;
    const char *title;    /* NULL: "Evaluation" */
    const char *baseline; /* label or hash of the settings that others are compared with; NULL: the first */
    const char *videos;   /* folder that films of episodes are taken from, for HTML; NULL: none */
    int max_videos;       /* that are put into the page */
} vipo_report_options;
VIPO_API void vipo_report_default_options(vipo_report_options *options);

VIPO_API vipo_status vipo_report_open(vipo_report **out, const vipo_report_options *options,
                                      vipo_error *error);
VIPO_API void vipo_report_close(vipo_report **report);

typedef struct vipo_report_info {
    int episodes, successes, settings, tasks, cameras;
    int different; /* episodes that stores have different results for */
    char digest[17];
} vipo_report_info;
VIPO_API void vipo_report_get_info(const vipo_report *report, vipo_report_info *out);

/* By ending: .md, .html (one self-contained page), .json, .csv (a row per episode); a file called eval_info.json has the shape
 * of LeRobot's. */
VIPO_API vipo_status vipo_report_write(const vipo_report *report, const char *path, vipo_error *error);
/* VIPO_INVALID_ARGUMENT, with the known endings, unless vipo_report_write knows the path's. */
VIPO_API vipo_status vipo_report_check_path(const char *path, vipo_error *error);
/* The same as text: kind "md", "html", "json", "csv" or "eval_info". Released by vipo_text_free. */
VIPO_API vipo_status vipo_report_text(const vipo_report *report, const char *kind, char **out,
                                      vipo_error *error);
VIPO_API void vipo_text_free(char **text);

/* ---- statistics of success ---- */

/* Wilson's interval of 95 % for a rate of which k of n were seen. n 0: 0 to 1. */
VIPO_API void vipo_wilson_interval(int k, int n, double *low, double *high);
/* McNemar's exact test, two-sided: of pairs that differ, b were won by one and c by the other; the chance to see a split as
 * uneven as that, or more, if both are equally good. */
VIPO_API double vipo_mcnemar(int b, int c);

#ifdef __cplusplus
}
#endif

#endif
