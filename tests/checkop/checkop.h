/* Tests and times every op of an op table on shapes read from text (bench/shapes). */
#ifndef VIPO_TESTS_CHECKOP_H
#define VIPO_TESTS_CHECKOP_H

#include <stdio.h>

#include "compute/ops.h"

/* ---- shapes ------------------------------------------------------------------------------------------ */

typedef enum checkop_op {
    CHECKOP_CONV_SPACE,
    CHECKOP_CONV_TIME,
    CHECKOP_GROUP_NORM,
    CHECKOP_LINEAR,
    CHECKOP_ATTENTION,
    CHECKOP_LAYER_NORM,
    CHECKOP_CONV_WINDOW,
    CHECKOP_NORM_ACT,
    CHECKOP_CORRELATION,
    CHECKOP_OPS
} checkop_op;

/* Keys of a line "op key=value ...". Values are whole numbers; kind and act take words. */
typedef enum checkop_key {
    KEY_KIND,    /* linear 3x3 stride2 upsample2 time */
    KEY_SAMPLES, /* of a batch; frames, height, width of the input */
    KEY_FRAMES,
    KEY_HEIGHT,
    KEY_WIDTH,
    KEY_IN, /* channels; in2: of a second source, 0: none */
    KEY_IN2,
    KEY_FRAMES2, /* of the second source: 0: frames, or 1 */
    KEY_OUT,
    KEY_NORM, /* 0: none, 1: for each sample, 2: for each frame */
    KEY_SILU, /* and the other yes/no keys: 0 or 1 */
    KEY_EMBEDDING,
    KEY_RESIDUAL, /* 2: the output itself (linear) */
    KEY_SKIP,     /* channels of the 1x1 convolution's sources */
    KEY_SKIP2,
    KEY_STATS,
    KEY_GROUPS,
    KEY_ROWS,
    KEY_ACT,  /* none silu gelu quick_gelu relu mish sigmoid tanh */
    KEY_LAST, /* the same, after the residual */
    KEY_HEADS,
    KEY_QUERIES,
    KEY_KEYS,
    KEY_DIM,
    KEY_VALUES, /* value_dim; 0: dim */
    KEY_CAUSAL,
    KEY_COUNTS, /* 1: the keys that exist differ by batch entry */
    KEY_BETA,
    KEY_KERNEL, /* rows and columns of a window */
    KEY_KERNEL2,
    KEY_STRIDE,
    KEY_FILM,   /* 1: factor and summand, 2: only the summand */
    KEY_RADIUS, /* of a correlation; with flow=1 the window is moved */
    KEY_FLOW,
    KEY_METHOD, /* auto: the one that the table chooses; direct winograd2 winograd4 split split-winograd2, where the table knows it */
    KEY_HALF,   /* 1: weights as binary16 where the table can */
    KEY_COUNT,  /* calls in one network step, for sums over a network */
    CHECKOP_KEYS
} checkop_key;

typedef struct checkop_shape {
    checkop_op op;
    int v[CHECKOP_KEYS];
} checkop_shape;

const char *checkop_op_name(checkop_op op);
/* False with a message for a line that is not a shape. */
bool checkop_shape_parse(checkop_shape *shape, const char *line, char *message, size_t room);
/* Writes the line that parses to this shape. */
void checkop_shape_print(const checkop_shape *shape, char *line, size_t room);
/* All shapes of a file, in order; NULL with a message on stderr. Release with free. */
checkop_shape *checkop_shapes_read(const char *path, int *n);
/* Multiply-adds of a call, direct convolution; upsampling counts nine taps of each output. */
double checkop_shape_macs(const checkop_shape *shape);
/* Fewer frames, rows, columns, so that a sample costs at most `macs` where that is possible: channels stay.
 */
void checkop_shape_reduce(checkop_shape *shape, double macs);

/* ---- problems: a shape with inputs ------------------------------------------------------------------- */

typedef enum checkop_input {
    INPUT_NORMAL,
    INPUT_CONSTANT,
    INPUT_HUGE,     /* 1e15 */
    INPUT_DENORMAL, /* 1e-40 */
    INPUT_OFFSET,   /* mean 1000 times the deviation */
    CHECKOP_INPUTS
} checkop_input;

const char *checkop_input_name(checkop_input input);

enum { CHECKOP_BUFFERS = 12, CHECKOP_OUTPUTS = 2 };

typedef struct checkop_problem {
    checkop_shape shape; /* a batch: samples, rows or batch entries */
    checkop_input input;
    float *buffers[CHECKOP_BUFFERS];
    int *key_counts;
    int items; /* samples, rows or batch entries */
    int outputs;
    size_t output_floats[CHECKOP_OUTPUTS]; /* of one item */
    const char *output_names[CHECKOP_OUTPUTS];
} checkop_problem;

/* Ends the program if memory is short. */
checkop_problem *checkop_problem_open(const checkop_shape *shape, checkop_input input, uint64_t seed);
void checkop_problem_close(checkop_problem **problem);

/* A table's call for items [first, first + n) with outputs at out[] (of those items), ready to run. */
typedef struct checkop_call {
    vipo_compute compute;
    char *scratch_block;
    size_t scratch_floats;
    float *packed_memory[2];
    vipo_packed packed[2];
    checkop_op op;
    union {
        vipo_conv_space space;
        vipo_conv_time time;
        vipo_group_norm norm;
        vipo_linear linear;
        vipo_attention attention;
        vipo_layer_norm layer_norm;
        vipo_conv_window window;
        vipo_norm_act norm_act;
        vipo_correlation correlation;
    } u;
} checkop_call;

void checkop_call_open(checkop_call *call, const checkop_problem *problem, const vipo_ops *ops,
                       vipo_pool *pool, int first, int n, float *const out[]);
void checkop_call_run(checkop_call *call);
/* False if the call wrote behind its scratch. */
bool checkop_call_close(checkop_call *call);

/* ---- checks and times -------------------------------------------------------------------------------- */

enum { CHECKOP_MAX_THREADS = 4 };

typedef struct checkop_context {
    vipo_pool *pools[CHECKOP_MAX_THREADS]; /* of 1, 2, ... threads */
    uint64_t seed;
    double worst; /* largest relative L2 so far */
    struct checkop_reference
        *reference; /* ref's outputs of the last shape and inputs: tables take turns on them */
} checkop_context;

bool checkop_context_open(checkop_context *context, uint64_t seed);
void checkop_context_close(checkop_context *context);

/* Compares a table with ref and with itself; returns the number of failures, each printed as one line with
 * the command that repeats it. */
int checkop_check(checkop_context *context, const checkop_shape *shape, checkop_input input,
                  const vipo_ops *ops);

/* Times of shapes for each table; tables ends with NULL. */
void checkop_bench(const checkop_shape *shapes, int n, const vipo_ops *const *tables, vipo_pool *pool,
                   double seconds);

#endif
