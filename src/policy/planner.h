/* One session on a model: threads, memory for the network's batches, and the arrow from task to plan. Public
 * functions: vipo/vipo.h. planner.c keeps the session and plans; noise.c draws a plan's noise; task.c turns
 * texts and tokens into task embeddings; rows.c runs the network on batches of any size; denoise.c serves
 * single calls; auto.c resolves sampler "auto"; score.c scores the samples of a plan. */
#ifndef VIPO_POLICY_PLANNER_H
#define VIPO_POLICY_PLANNER_H

#include "policy/model.h"
#include "sampling/auto.h"

struct vipo_planner {
    const vipo_model *model;
    vipo_compute compute;
    int max_batch; /* rows of one network call */
    /* Memory for batches of `batch` rows, grown before a plan begins, never inside one. */
    int batch;
    float *arena;       /* the UNet's */
    float *row_x;       /* [batch][video] */
    float *row_v;       /* [batch][video] */
    float *row_cond;    /* [batch][H][W][3] */
    float *row_task;    /* [batch][embedding] */
    int *row_t;         /* [batch] */
    size_t arena_bytes; /* of all of the above */
    vipo_batch_cost batch_cost;
    bool batch_cost_known; /* measured, at the first plan with sampler "auto" */
};

/* Floats of one video and of one condition frame. */
size_t vipo_planner_video_size(const vipo_planner *planner);
size_t vipo_planner_cond_size(const vipo_planner *planner);

/* Makes room for network batches of `rows` rows (at most max_batch are run at once). */
vipo_status vipo_planner_reserve(vipo_planner *planner, int rows, vipo_error *error);

/* The timestep that the request asks to start from; not checked. */
int vipo_planner_start_time(const vipo_planner *planner, const vipo_request *request,
                            const vipo_sampler *sampler);

/* ---- auto.c ---- */

/* Checks the request's sampler settings. "auto" is replaced by the settings of the chosen sampler, and *out, to be freed
 * by free(), says why; else *out is NULL. */
vipo_status vipo_planner_resolve(vipo_planner *planner, vipo_request *request, vipo_sampler_choice **out,
                                 vipo_error *error);

/* ---- task.c ---- */

/* Task embedding [embedding] of tokens [length][C], conditional or with the tokens times 0. */
vipo_status vipo_planner_embed_tokens(vipo_planner *planner, const float *tokens, int length,
                                      bool unconditional, float *embedding, vipo_dump_function dump,
                                      void *dump_user, vipo_error *error);
/* Checks an array of task tokens: [n][L][C]. */
vipo_status vipo_planner_check_tokens(const vipo_planner *planner, const vipo_array *tokens,
                                      vipo_error *error);

/* ---- rows.c ---- */

/* Rows to be run through the network, any number of them: row r is state x[r] at t[r] of video video[r], whose
 * condition frame is cond[video] and whose task embedding is task[video] (stride 0: shared by all). */
typedef struct vipo_rows_run {
    int rows;
    const int *video; /* [rows] */
    const int *t;     /* [rows] */
    const float *x;   /* [rows][video size] */
    float *v;         /* [rows][video size] */
    const float *cond;
    size_t cond_stride; /* floats between videos, or 0 */
    const float *task, *no_task;
    size_t task_stride; /* floats between videos, or 0 */
    double guidance;    /* 0: conditional only; else v = (1 + w) v(task) - w v(no_task) */
    const vipo_callbacks *callbacks;
    vipo_dump_function dump; /* needs all rows in one batch and no guidance */
    void *dump_user;
    vipo_profile_function profile; /* likewise */
    void *profile_user;
} vipo_rows_run;

vipo_status vipo_planner_run_rows(vipo_planner *planner, const vipo_rows_run *run, vipo_error *error);

#endif
