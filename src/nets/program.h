/* A network as a list of ops over feature maps, written down once and run many times. From the list follow
 * the lifetime of every map, hence one block of memory in which maps that never live together share space,
 * and the scratch that the ops need: nothing is allocated while it runs.
 *
 * Names are PyTorch module names; they serve dumps and profiles. */
#ifndef VIPO_NETS_PROGRAM_H
#define VIPO_NETS_PROGRAM_H

#include "compute/ops.h"

typedef struct vipo_program vipo_program;
typedef int vipo_value; /* a feature map or a norm of the program; VIPO_NO_VALUE: none */
enum { VIPO_NO_VALUE = -1, VIPO_MAX_EXTERNALS = 4 };

/* ---- writing it down (a failed call is remembered and reported by finish) ---- */

vipo_status vipo_program_open(vipo_program **out, vipo_error *error);
void vipo_program_close(vipo_program **program);

/* A map that the caller hands in at each run: external number 0, 1, ... in order of these calls. */
vipo_value vipo_program_external(vipo_program *program, int frames, int height, int width, int channels);
/* True once a call has failed for want of memory; values are stand-ins from then on. */
bool vipo_program_failed(const vipo_program *program);
int vipo_program_channels(const vipo_program *program, vipo_value map);
void vipo_program_map_size(const vipo_program *program, vipo_value map, int *frames, int *height, int *width);

/* One or two maps beside each other along channels. */
typedef struct vipo_concat {
    vipo_value maps[2];
    int count;
} vipo_concat;

static inline vipo_concat vipo_single(vipo_value map)
{
    return (vipo_concat){{map, VIPO_NO_VALUE}, 1};
}

/* GroupNorm of maps whose statistics their producer writes. gamma, beta: borrowed, [channels]. */
vipo_value vipo_program_group_norm(vipo_program *program, const char *name, vipo_concat in, int groups,
                                   float eps, const float *gamma, const float *beta, bool per_frame);

typedef struct vipo_space_step {
    vipo_concat in;
    vipo_value norm;       /* or VIPO_NO_VALUE */
    bool silu;             /* after the norm */
    const char *silu_name; /* for dumps */
    const vipo_packed *weights;
} vipo_space_step;
vipo_value vipo_program_conv_space(vipo_program *program, const char *name, const vipo_space_step *step);

typedef struct vipo_time_step {
    vipo_value in;
    const vipo_packed *weights;
    int embedding;       /* offset into the embedding vector of a run, or -1 */
    vipo_value residual; /* or VIPO_NO_VALUE */
    vipo_concat skip;    /* count 0: none */
    const vipo_packed *skip_weights;
    const char *skip_name;
    vipo_value external; /* where the result goes: an external, or VIPO_NO_VALUE for a new map */
} vipo_time_step;
vipo_value vipo_program_conv_time(vipo_program *program, const char *name, const vipo_time_step *step);

/* qkv: head-major channels (per head q, k, v of head_channels each), attention inside every frame. */
vipo_value vipo_program_attention(vipo_program *program, const char *name, vipo_value qkv, int head_channels);

/* Names a map as the output of a module, for dumps; may be called several times. */
void vipo_program_label(vipo_program *program, vipo_value map, const char *name);

/* Computes lifetimes and places. Reports whatever failed since open. */
vipo_status vipo_program_finish(vipo_program *program, vipo_error *error);

/* ---- running it ---- */

/* Floats of memory for one sample; a batch needs samples times that. */
size_t vipo_program_memory(const vipo_program *program);
/* Scratch bytes per thread for a batch. */
size_t vipo_program_scratch(const vipo_program *program, const vipo_ops *ops, int samples);

typedef void (*vipo_dump_function)(void *user, const char *name, const vipo_array *value);
typedef void (*vipo_profile_function)(void *user, const vipo_operation *operation);

typedef struct vipo_program_run {
    const vipo_compute *compute;
    float *memory; /* vipo_program_memory(program) * samples floats, 64-byte aligned */
    int samples;
    float *externals[VIPO_MAX_EXTERNALS];
    const float *embedding; /* [samples][embedding_stride] */
    size_t embedding_stride;
    const vipo_callbacks *callbacks; /* cancellation; may be NULL */
    vipo_dump_function dump;         /* every intermediate in PyTorch's layout; NULL: off (allocates) */
    void *dump_user;
    vipo_profile_function profile; /* every operation once it is done; NULL: off */
    void *profile_user;
} vipo_program_run;

vipo_status vipo_program_execute(const vipo_program *program, const vipo_program_run *run, vipo_error *error);

#endif
