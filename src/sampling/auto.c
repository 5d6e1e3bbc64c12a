#include "sampling/auto.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_BATCHES = 3 };

/* A sampler with its settings, what it asks of the network and how near it comes to the exact flow. */
typedef struct entry {
    const char *name; /* as `vipo compare` writes it */
    const char *sampler;
    int steps, chunk;
    double distance;
    struct {
        int calls, rows;
    } batches[MAX_BATCHES]; /* of one sample */
} entry;

/* Distances: bench/samplers.py on the shipped model (bench/results/samplers-metaworld-64.csv), rms in [-1,1] units,
 * geometric mean over frames and seeds. Another model may bring its own (config.json, calibration.samplers); these are
 * then not used. draft-target: threshold 11, where nearly every draft was accepted; calls of rounds of 6 + 4 tokens, and
 * of one of 10, by 100 timesteps. */
static const entry entries[] = {
    {"ab2:6", "ab2", 6, 0, 0.0300, {{6, 1}}},
    {"ab2:8", "ab2", 8, 0, 0.0178, {{8, 1}}},
    {"ab2:10", "ab2", 10, 0, 0.0107, {{10, 1}}},
    {"ab2:12", "ab2", 12, 0, 0.0071, {{12, 1}}},
    {"ab2:16", "ab2", 16, 0, 0.0045, {{16, 1}}},
    {"ab2:20", "ab2", 20, 0, 0.0046, {{20, 1}}},
    {"unipc:8", "unipc", 8, 0, 0.0189, {{8, 1}}},
    {"unipc:12", "unipc", 12, 0, 0.0094, {{12, 1}}},
    {"unipc:20", "unipc", 20, 0, 0.0024, {{20, 1}}},
    {"dpm-solver++:12", "dpm-solver++", 12, 0, 0.0132, {{12, 1}}},
    {"dpm-solver++:20", "dpm-solver++", 20, 0, 0.0053, {{20, 1}}},
    {"ddim:10", "ddim", 10, 0, 0.0372, {{10, 1}}},
    {"ddim:25", "ddim", 25, 0, 0.0196, {{25, 1}}},
    {"ddim:50", "ddim", 50, 0, 0.0105, {{50, 1}}},
    {"ddim:100", "ddim", 100, 0, 0.0046, {{100, 1}}},
    {"draft-target", "draft-target", 0, 6, 0.0264, {{10, 1}, {4, 6}, {4, 4}}},
    {"draft-target:chunk=10", "draft-target", 0, 10, 0.0266, {{10, 1}, {4, 10}}},
    {"draft-target-lazy", "draft-target-lazy", 0, 6, 0.0264, {{18, 1}}},
    {"draft-target-lazy:chunk=10", "draft-target-lazy", 0, 10, 0.0266, {{14, 1}}},
};

enum { ENTRIES = sizeof entries / sizeof entries[0], RECORDED_TIMESTEPS = 100 };
_Static_assert((int)ENTRIES <= (int)VIPO_MAX_CANDIDATES, "the table fits into a choice");

/* ---- cost --------------------------------------------------------------------------------------------- */

vipo_batch_cost vipo_batch_cost_fit(double seconds_of_one, int rows, double seconds_of_rows, int max_batch)
{
    vipo_batch_cost cost = {.seconds_per_row = seconds_of_one, .max_batch = max_batch};
    if (rows < 2) return cost;
    const double slope = (seconds_of_rows - seconds_of_one) / (rows - 1);
    cost.seconds_per_row = fmax(0, fmin(slope, seconds_of_one));
    cost.seconds_fixed = seconds_of_one - cost.seconds_per_row;
    return cost;
}

double vipo_batch_cost_seconds(const vipo_batch_cost *cost, int rows)
{
    const int calls = (rows + cost->max_batch - 1) / cost->max_batch;
    return calls * cost->seconds_fixed + rows * cost->seconds_per_row;
}

static double predict(const entry *e, const vipo_batch_cost *cost, const vipo_auto_wish *wish)
{
    const int factor = (wish->guidance ? 2 : 1) * wish->samples;
    double seconds = 0;
    for (int i = 0; i < MAX_BATCHES; i++)
        seconds += e->batches[i].calls * vipo_batch_cost_seconds(cost, e->batches[i].rows * factor);
    return seconds;
}

/* ---- candidates --------------------------------------------------------------------------------------- */

static const entry *find(const char *name)
{
    for (int i = 0; i < ENTRIES; i++)
        if (strcmp(entries[i].name, name) == 0) return &entries[i];
    return NULL;
}

vipo_status vipo_auto_check_own(const vipo_sampler_candidate *own, int n_own, const char *file,
                                vipo_error *error)
{
    for (int i = 0; i < n_own; i++) {
        if (find(own[i].sampler)) continue;
        char known[384] = "";
        for (int j = 0; j < ENTRIES; j++) {
            const size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", entries[j].name);
        }
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: calibration.samplers[%d].sampler: \"%s\", expected one of %s", file, i,
                         own[i].sampler, known);
    }
    return VIPO_OK;
}

static vipo_sampler_options settings(const entry *e)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    options.name = e->sampler;
    options.steps = e->steps;
    if (e->chunk) options.chunk = e->chunk;
    return options;
}

/* Can the sampler run on this schedule, from there? The calls of draft-target depend on its length. */
static bool runs(const entry *e, const vipo_schedule *schedule, int from)
{
    const vipo_sampler *sampler;
    const vipo_sampler_options options = settings(e);
    if (e->chunk && schedule->timesteps != RECORDED_TIMESTEPS) return false;
    return vipo_sampler_find(&sampler, e->sampler, NULL) == VIPO_OK &&
           vipo_sampler_check(sampler, &options, schedule, from, NULL) == VIPO_OK;
}

static void add(vipo_sampler_choice *out, const entry *e, double distance, const vipo_auto_wish *wish,
                const vipo_batch_cost *cost)
{
    if (!runs(e, wish->schedule, wish->from)) return;
    vipo_sampler_candidate *c = &out->candidates[out->n_candidates++];
    snprintf(c->sampler, sizeof c->sampler, "%s", e->name);
    c->distance = distance;
    c->seconds = predict(e, cost, wish);
}

/* ---- choice ------------------------------------------------------------------------------------------- */

static bool better(const vipo_sampler_candidate *a, const vipo_sampler_candidate *b, double wanted)
{
    const bool a_fits = a->distance <= wanted, b_fits = b->distance <= wanted;
    if (a_fits != b_fits) return a_fits;
    if (a_fits) return a->seconds != b->seconds ? a->seconds < b->seconds : a->distance < b->distance;
    return a->distance != b->distance ? a->distance < b->distance : a->seconds < b->seconds;
}

vipo_status vipo_auto_choose(const vipo_auto_wish *wish, const vipo_batch_cost *cost,
                             vipo_sampler_choice *out, vipo_sampler_options *sampler, vipo_error *error)
{
    *out = (vipo_sampler_choice){.distance = wish->distance,
                                 .seconds_fixed = cost->seconds_fixed,
                                 .seconds_per_row = cost->seconds_per_row};
    VIPO_TRY(vipo_auto_check_own(wish->own, wish->n_own, "config.json", error));
    for (int i = 0; i < wish->n_own; i++)
        add(out, find(wish->own[i].sampler), wish->own[i].distance, wish, cost);
    for (int i = 0; wish->n_own == 0 && i < ENTRIES; i++)
        add(out, &entries[i], entries[i].distance, wish, cost);
    if (out->n_candidates == 0)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "sampler auto: none of its candidates runs on a model of %d timesteps from step %d, "
                         "name a sampler",
                         wish->schedule->timesteps, wish->from);
    for (int i = 1; i < out->n_candidates; i++)
        if (better(&out->candidates[i], &out->candidates[out->chosen], wish->distance)) out->chosen = i;
    const vipo_sampler_candidate *chosen = &out->candidates[out->chosen];
    out->within = chosen->distance <= wish->distance;
    *sampler = settings(find(chosen->sampler));
    return VIPO_OK;
}

/* ---- the sampler's name ------------------------------------------------------------------------------- */

static vipo_status check(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         vipo_error *error)
{
    (void)schedule;
    if (options->steps != 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "sampler auto chooses the steps itself, found steps %d", options->steps);
    if (options->grid)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                         "sampler auto chooses the grid itself, found grid \"%.60s\"", options->grid);
    if (!(options->distance >= 0) || isinf(options->distance))
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "distance: %g, expected 0 or more", options->distance);
    return VIPO_OK;
}

/* Has no way from noise to video of its own: the planner puts the chosen sampler in its place. */
const vipo_sampler vipo_sampler_auto = {
    .name = "auto",
    .summary =
        "the fastest of the other samplers that is as exact as --distance says, by the time that batches "
        "take on this machine",
    .check = check};
