/* What all episodes of an evaluation share. Constant once set up, and shared by threads. */
#ifndef VIPO_EVAL_EVALUATION_H
#define VIPO_EVAL_EVALUATION_H

#include "eval/frame_format.h"
#include "eval/predictor.h"
#include "eval/settings.h"
#include "vipo/eval.h"

typedef enum vipo_plan_kind { VIPO_PLAN_NONE, VIPO_PLAN_MODEL, VIPO_PLAN_TRUTH } vipo_plan_kind;

enum { VIPO_EVAL_MAX_TASKS = 32, VIPO_EVAL_MAX_CAMERAS = 8, VIPO_AVDC_PLANS = 6 };

/* One sampler with its settings. */
typedef struct vipo_variant {
    vipo_sampler_options sampler;
    vipo_settings settings;
} vipo_variant;

typedef struct vipo_evaluation {
    vipo_eval_options options; /* checked; lists are borrowed */
    const char *tasks[VIPO_EVAL_MAX_TASKS], *cameras[VIPO_EVAL_MAX_CAMERAS];
    int n_tasks, n_cameras;
    const vipo_predictor *predictor;
    vipo_setting_list predictor_settings;
    void *predictor_model; /* may be NULL */
    vipo_plan_kind plan;
    vipo_frame_format format;
    char fingerprint[VIPO_SETTINGS_HASH]; /* of the model's files */
    vipo_model *model;                    /* plan "model"; NULL until opened */
    vipo_variant variants[VIPO_EVAL_MAX_SAMPLERS];
    int n_variants;
    int workers, threads; /* threads: of each worker */
    char host[64];
} vipo_evaluation;

/* An episode by its place in the lists. Its number counts all of them, of all shards. */
typedef struct vipo_job {
    int variant, task, camera;
    uint64_t seed;
} vipo_job;
int vipo_evaluation_jobs(const vipo_evaluation *e);
void vipo_evaluation_job(const vipo_evaluation *e, int number, vipo_job *out);
/* Is it in the shard of the options? */
bool vipo_evaluation_wants(const vipo_evaluation *e, int number);

/* Checks options and names, reads the policy's files and the model's config, makes settings; opens no model yet. `processes`
 * share this machine's cores. Release in every case. */
vipo_status vipo_evaluation_init(vipo_evaluation *out, const vipo_eval_options *options, int processes,
                                 vipo_error *error);
/* Opens the video model, where one is needed. */
vipo_status vipo_evaluation_open_model(vipo_evaluation *e, vipo_error *error);
void vipo_evaluation_release(vipo_evaluation *e);

/* The index of a plan's name, -1: there is none. */
int vipo_plan_kind_find(const char *name);

#endif
