#include "checkop/checkop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compute/ref/strip_stats.h"
#include "core/memory.h"

enum { GUARD = 64, LINE = 512 };

/* Relative L2 of a table's output against ref; absolute errors that denormal arithmetic may make. */
#define BOUND 2e-6
/* Winograd's transforms add and subtract what nearly cancels: about twice the error of plain sums. */
#define WINOGRAD_BOUND 4e-6
/* Numbers as sums of two bfloat16, less the product of both low parts; what is below the normal numbers counts as 0. */
#define SPLIT_BOUND    1e-5
#define SPLIT_DENORMAL 2e-38
/* Weights rounded to 11 bits. */
#define HALF_BOUND     2e-3
#define DENORMAL_ERROR 2e-43
/* Attention on inputs of 1000 exponentiates differences of scores near 1e6. */
#define SCORE_BOUND 2e-2
/* Strip statistics against those of the same output in double. */
#define MEAN_BOUND    1e-6
#define SQUARES_BOUND 1e-5

bool checkop_context_open(checkop_context *context, uint64_t seed)
{
    *context = (checkop_context){.seed = seed};
    for (int i = 0; i < CHECKOP_MAX_THREADS; i++)
        if (vipo_pool_open(&context->pools[i], i + 1, NULL) != VIPO_OK) return false;
    return true;
}

/* Outputs of one run, each between guard bands; everything starts as NaN. */
struct result {
    float *block[CHECKOP_OUTPUTS], *out[CHECKOP_OUTPUTS];
    size_t floats[CHECKOP_OUTPUTS];
    bool intact;
};

static void run(struct result *r, const checkop_problem *p, const vipo_ops *ops, vipo_pool *pool, int first,
                int n)
{
    *r = (struct result){.intact = true};
    for (int o = 0; o < p->outputs; o++) {
        r->floats[o] = p->output_floats[o] * (size_t)n;
        const size_t total = r->floats[o] + 2 * GUARD;
        r->block[o] = vipo_aligned_calloc(total, sizeof(float));
        if (!r->block[o]) abort();
        memset(r->block[o], 0xff, total * sizeof(float));
        r->out[o] = r->block[o] + GUARD;
    }
    checkop_call call;
    checkop_call_open(&call, p, ops, pool, first, n, r->out);
    checkop_call_run(&call);
    r->intact = checkop_call_close(&call);
    for (int o = 0; o < p->outputs; o++) {
        const unsigned char *low = (const void *)r->block[o],
                            *high = (const void *)(r->out[o] + r->floats[o]);
        for (size_t i = 0; i < GUARD * sizeof(float); i++)
            r->intact = r->intact && low[i] == 0xff && high[i] == 0xff;
    }
}

static void release(struct result *r)
{
    for (int o = 0; o < CHECKOP_OUTPUTS; o++) vipo_aligned_free(r->block[o]);
}

struct checkop_reference {
    checkop_shape shape;
    checkop_input input;
    struct result result; /* of the first item */
};

static void forget_reference(checkop_context *context)
{
    if (!context->reference) return;
    release(&context->reference->result);
    free(context->reference);
    context->reference = NULL;
}

static const struct checkop_reference *reference_of(checkop_context *context, const checkop_problem *p)
{
    struct checkop_reference *known = context->reference;
    if (known && known->input == p->input && memcmp(&known->shape, &p->shape, sizeof p->shape) == 0)
        return known;
    forget_reference(context);
    known = context->reference = malloc(sizeof *known);
    if (!known) abort();
    known->shape = p->shape;
    known->input = p->input;
    run(&known->result, p, &vipo_ops_ref, context->pools[1], 0, 1);
    return known;
}

void checkop_context_close(checkop_context *context)
{
    forget_reference(context);
    for (int i = 0; i < CHECKOP_MAX_THREADS; i++) vipo_pool_close(&context->pools[i]);
}

static int fail(const checkop_context *context, const checkop_problem *p, const vipo_ops *ops,
                const char *what)
{
    char line[LINE];
    checkop_shape_print(&p->shape, line, sizeof line);
    printf("FAILED: %s\n  repeat: checkop --table %s --seed %llu --input %s --shape '%s'\n", what, ops->name,
           (unsigned long long)context->seed, checkop_input_name(p->input), line);
    return 1;
}

/* || a - b || / || b ||, differences within `slack` (root mean square) forgiven; NaN gives infinity. */
static double distance(const float *a, const float *b, size_t n, double slack)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    difference = sqrt(difference) - slack * sqrt((double)n);
    if (difference <= 0) return 0;
    const double result = difference / sqrt(norm);
    return isnan(result) || isnan(difference) ? INFINITY : result;
}

/* Statistics against those of the output itself, which may differ from ref's output by rounding. */
static const char *check_stats(const checkop_problem *p, const struct result *r, int n)
{
    const int *v = p->shape.v;
    float *stats = vipo_aligned_calloc(r->floats[1], sizeof *stats);
    if (!stats) abort();
    vipo_map map = {r->out[0], n, v[KEY_FRAMES], v[KEY_HEIGHT], v[KEY_WIDTH], v[KEY_OUT], stats};
    const char *problem = NULL;
    const size_t channels = (size_t)v[KEY_OUT];
    for (int i = 0; i < n * v[KEY_FRAMES] * vipo_map_strips(&map); i++) {
        const int strips = vipo_map_strips(&map), strip = i % strips;
        vipo_strip_stats(&map, i / strips / v[KEY_FRAMES], i / strips % v[KEY_FRAMES], strip);
        const int left = v[KEY_HEIGHT] * v[KEY_WIDTH] - strip * VIPO_STRIP_PIXELS;
        const double count = left < VIPO_STRIP_PIXELS ? left : VIPO_STRIP_PIXELS;
        for (size_t c = 0; c < channels; c++) {
            const size_t at = (size_t)i * 2 * channels + c;
            const double mean = (double)stats[at], m2 = (double)stats[at + channels];
            const double mean_error = fabs((double)r->out[1][at] - mean);
            const double m2_error = fabs((double)r->out[1][at + channels] - m2);
            const double rounding = 1e-7 * fabs(mean);
            if (!(mean_error <= MEAN_BOUND * (fabs(mean) + sqrt(m2 / count)) + DENORMAL_ERROR))
                problem = "a strip's mean is wrong";
            if (!(m2_error <= SQUARES_BOUND * m2 + count * rounding * rounding + DENORMAL_ERROR))
                problem = "a strip's sum of squares is wrong";
        }
    }
    vipo_aligned_free(stats);
    return problem;
}

/* Does the table know the split method for this layer? */
static bool may_split(const checkop_problem *p, const vipo_ops *ops)
{
    const vipo_layer layer = {.kind = (vipo_weight_kind)p->shape.v[KEY_KIND],
                              .in = p->shape.v[KEY_IN] + p->shape.v[KEY_IN2],
                              .out = p->shape.v[KEY_OUT],
                              .frames = p->shape.v[KEY_FRAMES],
                              .height = p->shape.v[KEY_HEIGHT],
                              .width = p->shape.v[KEY_WIDTH]};
    const bool taps = p->shape.op == CHECKOP_CONV_SPACE || p->shape.op == CHECKOP_CONV_TIME;
    return taps && ops->knows(&layer, VIPO_METHOD_SPLIT);
}

/* Largest relative L2 to ref. */
static double bound_of(const checkop_problem *p, const vipo_ops *ops)
{
    if (p->shape.op == CHECKOP_ATTENTION && p->input == INPUT_OFFSET) return SCORE_BOUND;
    if (p->shape.v[KEY_HALF]) return HALF_BOUND;
    const bool taps = p->shape.op == CHECKOP_CONV_SPACE || p->shape.op == CHECKOP_CONV_TIME;
    if (may_split(p, ops)) return SPLIT_BOUND;
    return taps && p->shape.v[KEY_KIND] != VIPO_WEIGHT_LINEAR ? WINOGRAD_BOUND : BOUND;
}

static int compare_with_ref(checkop_context *context, const checkop_problem *p, const vipo_ops *ops,
                            const struct result *own)
{
    char what[200];
    int failures = 0;
    const struct result ref = reference_of(context, p)->result;
    const int outputs = p->shape.op == CHECKOP_CONV_TIME ? 1 : p->outputs;
    for (int o = 0; o < outputs; o++) {
        const double lost = may_split(p, ops) ? SPLIT_DENORMAL : DENORMAL_ERROR;
        const double slack = p->input == INPUT_DENORMAL ? lost : 0;
        const double d = distance(own->out[o], ref.out[o], p->output_floats[o], slack);
        const double bound = bound_of(p, ops);
        if (!(d <= bound)) {
            snprintf(what, sizeof what, "%s: relative L2 to ref %.2e, bound %.0e", p->output_names[o], d,
                     bound);
            failures += fail(context, p, ops, what);
        } else if (d > context->worst && bound <= SPLIT_BOUND) {
            context->worst = d;
        }
    }
    return failures;
}

/* The bits of a run's outputs against those of items [first, first + n) of another. */
static int compare_bits(checkop_context *context, const checkop_problem *p, const vipo_ops *ops,
                        const struct result *all, vipo_pool *pool, int first, int n)
{
    char what[200];
    int failures = 0;
    struct result other;
    run(&other, p, ops, pool, first, n);
    for (int o = 0; o < p->outputs; o++) {
        if (memcmp(other.out[o], all->out[o] + (size_t)first * p->output_floats[o],
                   other.floats[o] * sizeof(float)) == 0)
            continue;
        snprintf(what, sizeof what, "%s: items %d to %d of %d with %d threads have other bits",
                 p->output_names[o], first, first + n - 1, p->items, vipo_pool_threads(pool));
        failures += fail(context, p, ops, what);
    }
    if (!other.intact) failures += fail(context, p, ops, "wrote outside its output or scratch");
    release(&other);
    return failures;
}

int checkop_check(checkop_context *context, const checkop_shape *shape, checkop_input input,
                  const vipo_ops *ops)
{
    int failures = 0;
    checkop_problem *p = checkop_problem_open(shape, input, context->seed);
    struct result all;
    run(&all, p, ops, context->pools[1], 0, p->items);
    if (!all.intact) failures += fail(context, p, ops, "wrote outside its output or scratch");
    if (p->shape.op == CHECKOP_CONV_TIME && p->outputs == 2) {
        const char *problem = check_stats(p, &all, p->items);
        if (problem) failures += fail(context, p, ops, problem);
    }
    /* ref makes the first item; the others must equal runs of their own */
    if (ops != &vipo_ops_ref) failures += compare_with_ref(context, p, ops, &all);
    if (input == INPUT_NORMAL) {
        for (int t = 0; t < CHECKOP_MAX_THREADS && failures == 0; t++)
            failures += compare_bits(context, p, ops, &all, context->pools[t], 0, p->items);
        for (int i = 0; i < p->items && i < 3 && p->items > 1 && failures == 0; i++)
            failures += compare_bits(context, p, ops, &all, context->pools[1], i, 1);
        if (p->items > 3 && failures == 0)
            failures += compare_bits(context, p, ops, &all, context->pools[2], p->items - 2, 2);
    }
    release(&all);
    checkop_problem_close(&p);
    return failures;
}
