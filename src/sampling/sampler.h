/* Samplers: noise -> video through a denoiser. Each is one const struct in one file; sampler.c lists them. */
#ifndef VIPO_SAMPLING_SAMPLER_H
#define VIPO_SAMPLING_SAMPLER_H

#include "core/log.h"
#include "sampling/denoiser.h"
#include "sampling/schedule.h"

typedef struct vipo_sampler_stats {
    int calls;       /* batched denoiser calls */
    int evaluations; /* rows of all calls */
    int rounds, drafted, accepted;
    int verify_calls, verify_evaluations; /* not among those above */
    int verified, agreed;                 /* decisions by estimates; the same by true distances */
    int fallbacks;                        /* steps of single videos taken with a lower order */
    bool has_error;                       /* the sampler estimates its error: */
    double error_squares;                 /* squares of its steps' estimates, summed */
} vipo_sampler_stats;

/* Where stochastic samplers get their noise: standard normals for step `step`, counted from T - 1 (0 is the step that
 * leaves T - 1) wherever a plan starts; asked for in increasing order. */
typedef struct vipo_step_noise {
    void *user;
    void (*draw)(void *user, int step, int video, size_t dim, float *out);
} vipo_step_noise;

typedef struct vipo_sampling {
    const vipo_denoiser *denoiser;
    const vipo_schedule *schedule;
    const vipo_sampler_options *options; /* checked */
    const vipo_callbacks *callbacks;     /* progress, trace, cancellation; may be NULL */
    vipo_step_noise noise;
    const double *
        lazy_ratios; /* draft-target-lazy: estimate / distance of tokens 1, 2, ...; from the model's config */
    int n_lazy_ratios; /* 0: not calibrated */
    int videos;
    int from;      /* timestep that x is at: T - 1, or less when it starts from an earlier plan */
    float *x;      /* [videos][dim]: x_from at the start, x_0 in [-1,1] units at the end */
    float *memory; /* as many floats as the sampler asked for, zeros at the start, 64-byte aligned */
    vipo_sampler_stats stats;
    double expected_evaluations; /* for progress; samplers may raise it */
    double step_error; /* set by a grid sampler's step: estimated error, rms over all videos; -1: none */
} vipo_sampling;

typedef struct vipo_grid vipo_grid;
typedef struct vipo_grid_defaults vipo_grid_defaults;

/* A sampler is either a step through a time grid (`grid` and `step`), or a `sample` of its own. */
typedef struct vipo_sampler {
    const char *name, *summary;
    /* Refuses options that make no sense, before anything is allocated; the grid's are checked for it. May be
     * NULL. */
    vipo_status (*check)(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error);
    /* Name with settings but without the time grid: "unipc3"; NULL: the name. */
    void (*describe)(const vipo_sampler_options *options, const vipo_schedule *schedule, char *text,
                     size_t size);
    /* After the grid: settings that are not the usual ones, " fallback=0.03"; NULL: nothing. */
    void (*describe_rest)(const vipo_sampler_options *options, char *text, size_t size);
    /* Floats of working memory; NULL: `states` times [videos][dim]. */
    size_t (*memory)(const vipo_sampler_options *options, const vipo_schedule *schedule, int videos,
                     size_t dim);
    int states;
    /* Timesteps between the times that it can start at, which count down from T - 1; NULL: 1. */
    int (*stride)(const vipo_sampler_options *options);

    const vipo_grid_defaults *grid; /* grid.h */
    /* Step i of the grid: x goes from times[i] to times[i + 1]. The first of the `states` holds v at x. */
    void (*step)(vipo_sampling *sampling, const vipo_grid *grid, int i);

    vipo_status (*sample)(vipo_sampling *sampling, vipo_error *error);
} vipo_sampler;

extern const vipo_sampler vipo_sampler_ddpm;
extern const vipo_sampler vipo_sampler_ddim;
extern const vipo_sampler vipo_sampler_dpm_solver;
extern const vipo_sampler vipo_sampler_unipc;
extern const vipo_sampler vipo_sampler_ab2;
extern const vipo_sampler vipo_sampler_draft_target;
/* Settings of both draft-target samplers that are not the usual ones: "", "+2 remainder". */
void vipo_draft_target_describe_rest(const vipo_sampler_options *options, char *text, size_t size);
extern const vipo_sampler vipo_sampler_draft_target_lazy;
extern const vipo_sampler vipo_sampler_auto; /* name, summary and check only: sampling/auto.h */

/* By name; an unknown one is answered with the list of known ones. */
vipo_status vipo_sampler_find(const vipo_sampler **out, const char *name, vipo_error *error);

/* ---- running one: these serve samplers of both kinds ---- */

/* Options and start time; the sampler's own check comes first. */
vipo_status vipo_sampler_check(const vipo_sampler *sampler, const vipo_sampler_options *options,
                               const vipo_schedule *schedule, int from, vipo_error *error);
/* Name with settings: "ddim-100", "ab2-12 from 35", "unipc2-20 uniform". */
void vipo_sampler_describe(const vipo_sampler *sampler, const vipo_sampler_options *options,
                           const vipo_schedule *schedule, int from, char *text, size_t size);
size_t vipo_sampler_memory(const vipo_sampler *sampler, const vipo_sampler_options *options,
                           const vipo_schedule *schedule, int videos, size_t dim);
/* The time nearest to t that the sampler can start at. */
int vipo_sampler_nearest_start(const vipo_sampler *sampler, const vipo_sampler_options *options,
                               const vipo_schedule *schedule, int t);
vipo_status vipo_sampler_run(const vipo_sampler *sampler, vipo_sampling *sampling, vipo_error *error);

/* ---- for samplers ---- */

/* Pieces of working memory: rounded up to cache lines; floats that hold n objects of that many bytes. */
static inline size_t vipo_whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static inline size_t vipo_floats_for(size_t n, size_t bytes)
{
    return vipo_whole_lines((n * bytes + sizeof(float) - 1) / sizeof(float));
}

/* One batched denoiser call: counts it, reports progress, stops when the caller wants to, refuses results
 * that are not finite. */
vipo_status vipo_sampling_call(vipo_sampling *sampling, int rows, const int *video, const int *t,
                               const float *x, float *v, vipo_error *error);

/* The same for a call that only verifies: counted apart. */
vipo_status vipo_sampling_verify_call(vipo_sampling *sampling, int rows, const int *video, const int *t,
                                      const float *x, float *v, vipo_error *error);

/* vipo_sampling_call for all videos at one timestep. */
vipo_status vipo_sampling_call_all(vipo_sampling *sampling, int t, const float *x, float *v,
                                   vipo_error *error);

#endif
