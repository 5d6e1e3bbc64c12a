/* What program.c and program_dump.c share. */
#ifndef VIPO_NETS_PROGRAM_PRIVATE_H
#define VIPO_NETS_PROGRAM_PRIVATE_H

#include "nets/program.h"

struct value {
    int frames, height, width, channels;
    bool is_norm, per_frame; /* a norm: scale and shift, frames rows if per_frame */
    bool has_stats;
    int external;        /* number, or -1 */
    int first, last;     /* nodes that write and last read it */
    size_t size, offset; /* floats per sample in the run's memory */
};

enum node_kind { NODE_GROUP_NORM, NODE_CONV_SPACE, NODE_CONV_TIME, NODE_ATTENTION };

struct node {
    enum node_kind kind;
    char *name;
    vipo_value out;
    union {
        struct {
            vipo_concat in;
            int groups;
            float eps;
            const float *gamma, *beta;
        } norm;
        struct {
            vipo_space_step step;
            char *silu_name;
        } space;
        struct {
            vipo_time_step step;
            char *skip_name;
        } time;
        struct {
            vipo_value qkv;
            int head_channels;
        } attention;
    } u;
};

struct label {
    vipo_value map;
    char *name;
};

struct vipo_program {
    struct value *values;
    struct node *nodes;
    struct label *labels;
    int n_values, n_nodes, n_labels, n_externals;
    size_t memory; /* floats per sample */
    bool failed;   /* out of memory while writing it down */
};

/* The value's map in a run's memory. */
vipo_map vipo_program_map_at(const vipo_program *program, const vipo_program_run *run, vipo_value value);
vipo_affine vipo_program_norm_at(const vipo_program *program, const vipo_program_run *run, vipo_value value);
/* Arguments of a node's op in a run. */
vipo_group_norm vipo_program_group_norm_args(const vipo_program *program, const vipo_program_run *run,
                                             const struct node *node);
vipo_conv_space vipo_program_conv_space_args(const vipo_program *program, const vipo_program_run *run,
                                             const struct node *node);
vipo_conv_time vipo_program_conv_time_args(const vipo_program *program, const vipo_program_run *run,
                                           const struct node *node);
vipo_attention vipo_program_attention_args(const vipo_program *program, const vipo_program_run *run,
                                           const struct node *node);

/* Hands the intermediates that node i stands for to run->dump. */
vipo_status vipo_program_dump_node(const vipo_program *program, const vipo_program_run *run, int i,
                                   vipo_error *error);

/* What node i of a run computes, without a time. run->memory may be NULL. */
void vipo_program_describe_node(const vipo_program *program, const vipo_program_run *run, int i,
                                vipo_operation *operation);
/* Hands that with its time to run->profile. */
void vipo_program_profile_node(const vipo_program *program, const vipo_program_run *run, int i,
                               double seconds);

#endif
