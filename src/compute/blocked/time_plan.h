/* What the sources of the Winograd convolution over frames share: how frames are cut, what a task works on. */
#ifndef VIPO_COMPUTE_BLOCKED_TIME_PLAN_H
#define VIPO_COMPUTE_BLOCKED_TIME_PLAN_H

#include "compute/blocked/winograd_time.h"

enum {
    TIME_PRODUCTS = 6, /* in the order of winograd_filter_4: 0, A, -A, B, -B, infinity */
    TIME_INFINITE = 5, /* the product at infinity */
    TIME_SUMS = 3,     /* of a strip's pixels: a value near the mean, deviations from it, squares of these */
};

/* How the frames are cut into runs: fours, then a three, then a two. */
struct time_runs {
    int fours, three, two;
};

static inline struct time_runs time_runs_of(int frames)
{
    static const struct time_runs ends[4] = {{0, 0, 0}, {-1, 1, 1}, {0, 0, 1}, {0, 1, 0}};
    struct time_runs runs = ends[frames % 4];
    runs.fours += frames / 4;
    return runs;
}

static inline int run_count(const struct time_runs *runs)
{
    return runs->fours + runs->three + runs->two;
}

/* Runs that use a product; they are the first ones. */
static inline int product_runs(const struct time_runs *runs, int product)
{
    return runs->fours + (product > 0 ? runs->three : 0) +
           (product > 0 && product != TIME_INFINITE ? runs->two : 0);
}

/* Outputs of a run, and the first of them. */
static inline int run_length(const struct time_runs *runs, int run)
{
    return run < runs->fours ? 4 : run == runs->fours && runs->three ? 3 : 2;
}

static inline int run_frame(const struct time_runs *runs, int run)
{
    return 4 * least(run, runs->fours) + (run > runs->fours ? 3 : 0);
}

struct time_plan {
    const vipo_conv_time *args;
    struct time_runs runs;
    int channels;     /* inputs */
    int pixels;       /* of a frame */
    int block;        /* pixels of a block, at most; divides VIPO_STRIP_PIXELS */
    int blocks;       /* of a frame */
    bool small;       /* one V for some blocks, each a strip */
    int group;        /* blocks of V */
    size_t v_product; /* floats of one product of a block of V */
    size_t v_block;   /* floats of a block */
    size_t m_product;
    size_t v_bytes, m_bytes, skip_bytes;
    size_t bias_bytes, sums_bytes;
    size_t row_bytes, skip_row_bytes; /* of a list of offsets */
};

/* A thread's parts of the scratch. The V of small maps is thread 0's. */
struct time_scratch {
    float *v, *m;
    float *skip; /* [frame][pixel][PANEL]: the 1x1 convolution of a panel */
    float *bias;
    float *sums; /* [frame][TIME_SUMS][padded channels]: of the strip at work */
    ptrdiff_t *v_rows, *m_rows, *skip_in_rows[2], *skip_out_rows;
};

/* Pixels [first, first + n) of all frames of a sample. */
struct time_block {
    int sample, first, n;
};

/* Floats [first, first + n) of the frames of a block, pixels and channels counted together, to its V. */
void BLOCKED(time_input)(const struct time_plan *plan, const struct time_block *block, size_t first, size_t n,
                         float *v);

/* One panel of a block: from M and the skip convolution to the output and its statistics. */
void BLOCKED(time_output)(const struct time_plan *plan, const struct time_scratch *s,
                          const struct time_block *block, int panel);

#endif
