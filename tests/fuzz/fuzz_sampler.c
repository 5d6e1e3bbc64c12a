/* Settings of samplers, on the command line and in a request, and the samplers that run by them. The first byte says
 * which: 0 a request, 1 a list of samplers, else command-line words, one a line. */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>

#include "../../tools/sampler.h"
#include "core/memory.h"
#include "sampling/auto.h"
#include "sampling/grid.h"

/* ---- a request ------------------------------------------------------------------------------------------- */

enum { DIM = 5, VIDEOS = 2, MOST_MEMORY = 1 << 24 };

/* A network that depends on all it is given and stays bounded. */
static vipo_status denoise(void *user, int rows, const int *video, const int *t, const float *x, float *v,
                           vipo_error *error)
{
    (void)error;
    const vipo_schedule *schedule = user;
    for (int r = 0; r < rows; r++) {
        FUZZ_CHECK(video[r] >= 0 && video[r] < VIDEOS && t[r] >= 0 && t[r] < schedule->timesteps);
        for (int i = 0; i < DIM; i++)
            v[r * DIM + i] = sinf(x[r * DIM + i] + (float)(t[r] % 97)) + (float)video[r];
    }
    return VIPO_OK;
}

static void draw(void *user, int step, int video, size_t dim, float *out)
{
    (void)user;
    for (size_t i = 0; i < dim; i++) out[i] = sinf((float)(step * 31 + video * 7) + (float)i);
}

static void run_sampler(const vipo_sampler *sampler, const vipo_sampler_options *options,
                        vipo_schedule *schedule, int from)
{
    vipo_error error = {0};
    char text[96];
    vipo_sampler_describe(sampler, options, schedule, from, text, sizeof text);
    fuzz_check_line(text);
    const size_t floats = vipo_sampler_memory(sampler, options, schedule, VIDEOS, DIM);
    FUZZ_CHECK(floats <= MOST_MEMORY);
    const vipo_denoiser denoiser = {.user = schedule, .dim = DIM, .denoise = denoise};
    float x[VIDEOS * DIM];
    for (int i = 0; i < VIDEOS * DIM; i++) x[i] = sinf((float)i);
    static const double ratios[] = {0.9, 1.1, 1.0};
    vipo_sampling sampling = {.denoiser = &denoiser,
                              .schedule = schedule,
                              .options = options,
                              .noise = {.draw = draw},
                              .lazy_ratios = ratios,
                              .n_lazy_ratios = 3,
                              .videos = VIDEOS,
                              .from = from,
                              .x = x,
                              .memory = vipo_aligned_calloc(floats + 1, sizeof(float))};
    FUZZ_CHECK(sampling.memory);
    const vipo_status status = vipo_sampler_run(sampler, &sampling, &error);
    if (status != VIPO_OK) fuzz_check_failure(status, &error);
    FUZZ_CHECK(sampling.stats.calls > 0 && sampling.stats.evaluations >= sampling.stats.calls);
    FUZZ_CHECK(sampling.stats.accepted <= sampling.stats.drafted);
    for (int i = 0; i < VIDEOS * DIM; i++) FUZZ_CHECK(status != VIPO_OK || isfinite(x[i]));
    vipo_aligned_free(sampling.memory);
}

static void check_grid(const vipo_sampler_options *options, const vipo_schedule *schedule, int from)
{
    static vipo_grid grid;
    static const vipo_grid_defaults defaults = {.steps = 12, .kind = VIPO_GRID_S, .p = 1.7, .q = 1.5};
    vipo_error error = {0};
    char text[64];
    vipo_grid_describe(options, &defaults, schedule, text, sizeof text);
    fuzz_check_line(text);
    const vipo_status status = vipo_grid_make(&grid, options, &defaults, schedule, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        return;
    }
    FUZZ_CHECK(grid.steps >= 1 && grid.steps <= schedule->timesteps);
    FUZZ_CHECK(grid.times[0] == schedule->timesteps - 1 && grid.times[grid.steps] == -1);
    for (int i = 0; i < grid.steps; i++) FUZZ_CHECK(grid.times[i] > grid.times[i + 1]);
    const int steps = grid.steps;
    vipo_grid_start_at(&grid, from);
    FUZZ_CHECK(grid.steps >= 1 && grid.steps <= steps);
    FUZZ_CHECK(grid.times[0] == from && grid.times[grid.steps] == -1);
    for (int i = 0; i < grid.steps; i++) FUZZ_CHECK(grid.times[i] > grid.times[i + 1]);
}

/* Sampler "auto" with distances of the model's own, one a line: NAME=DISTANCE. */
static void check_choice(const vipo_sampler_options *options, const vipo_schedule *schedule,
                         fuzz_input *input)
{
    vipo_error error = {0};
    vipo_sampler_candidate own[VIPO_MAX_CANDIDATES] = {{.distance = 0}};
    const double fixed = (double)fuzz_take(input, 1), row = (double)fuzz_take(input, 1);
    const vipo_batch_cost cost = vipo_batch_cost_fit(fixed, 1 + (int)fuzz_take(input, 1) % 9, row, 6);
    FUZZ_CHECK(cost.seconds_fixed >= 0 && cost.seconds_per_row >= 0);
    vipo_auto_wish wish = {.distance = options->distance,
                           .samples = 1 + (int)fuzz_take(input, 1),
                           .guidance = options->guidance > 0,
                           .schedule = schedule,
                           .own = own};
    for (char *line; wish.n_own < VIPO_MAX_CANDIDATES && (line = fuzz_take_line(input)); free(line)) {
        char *equals = strrchr(line, '=');
        if (equals) *equals = '\0';
        vipo_sampler_candidate *candidate = &own[wish.n_own++];
        snprintf(candidate->sampler, sizeof candidate->sampler, "%s", line);
        candidate->distance =
            fmin(fabs(equals ? strtod(equals + 1, NULL) : 1), 1e6); /* as config.json allows */
    }
    vipo_sampler_choice choice;
    vipo_sampler_options chosen;
    const vipo_status status = vipo_auto_choose(&wish, &cost, &choice, &chosen, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        return;
    }
    FUZZ_CHECK(choice.n_candidates > 0 && choice.chosen >= 0 && choice.chosen < choice.n_candidates);
    const vipo_sampler_candidate *best = &choice.candidates[choice.chosen];
    for (int i = 0; i < choice.n_candidates; i++) {
        const vipo_sampler_candidate *other = &choice.candidates[i];
        FUZZ_CHECK(other->seconds >= 0);
        if (choice.within)
            FUZZ_CHECK(best->distance <= wish.distance &&
                       (other->distance > wish.distance || other->seconds >= best->seconds));
        else
            FUZZ_CHECK(!(other->distance < best->distance));
    }
    const vipo_sampler *sampler;
    FUZZ_CHECK(vipo_sampler_find(&sampler, chosen.name, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_sampler_check(sampler, &chosen, schedule, schedule->timesteps - 1, &error) == VIPO_OK);
}

static void check_request(fuzz_input *input)
{
    vipo_error error = {0};
    vipo_schedule schedule;
    vipo_sampler_options options;
    const vipo_sampler *sampler;
    int n_samplers = 0;
    while (vipo_sampler_name(n_samplers)) n_samplers++;
    vipo_sampler_default_options(&options);
    options.name = vipo_sampler_name((int)fuzz_take(input, 1) % n_samplers);
    const int timesteps = 2 + (int)fuzz_take(input, 2) % 511;
    options.steps = (int16_t)fuzz_take(input, 2);
    options.order = (int8_t)fuzz_take(input, 1);
    options.form = fuzz_take(input, 1) % 2 ? VIPO_AB2_R : VIPO_AB2_X0;
    options.chunk = (int32_t)fuzz_take(input, 4);
    options.draft_stride = (int16_t)fuzz_take(input, 2);
    options.target_stride = (int16_t)fuzz_take(input, 2);
    options.chunk_rule = fuzz_take(input, 1) % 2 ? VIPO_CHUNK_REMAINDER : VIPO_CHUNK_FRESH;
    options.draft_reuse = fuzz_take(input, 1) % 2;
    char *threshold = fuzz_take_line(input), *growth = fuzz_take_line(input), *grid = fuzz_take_line(input);
    if (threshold) options.threshold = strtod(threshold, NULL);
    if (growth) options.threshold_growth = strtod(growth, NULL);
    options.distance = options.threshold;
    options.grid = grid && *grid ? grid : NULL;

    FUZZ_CHECK(vipo_schedule_open(&schedule, timesteps, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_sampler_find(&sampler, options.name, &error) == VIPO_OK);
    const int wanted = (int)fuzz_take(input, 2) % timesteps;
    const int from = vipo_sampler_nearest_start(sampler, &options, &schedule, wanted);
    vipo_status status = vipo_sampler_check(sampler, &options, &schedule, wanted, &error);
    if (status != VIPO_OK) fuzz_check_failure(status, &error);
    if (status == VIPO_OK) FUZZ_CHECK(wanted == from);
    if (wanted != from) status = vipo_sampler_check(sampler, &options, &schedule, from, &error);
    if (status == VIPO_OK && (sampler->sample || sampler->step))
        run_sampler(sampler, &options, &schedule, from);
    else if (status == VIPO_OK)
        check_choice(&options, &schedule, input);
    check_grid(&options, &schedule, wanted);
    vipo_schedule_close(&schedule);
    free(threshold);
    free(growth);
    free(grid);
}

/* ---- the command ------------------------------------------------------------------------------------------- */

enum { SAMPLERS = 6, WORDS = 24 };

static void check_list(const char *list)
{
    char message[MESSAGE_SIZE] = "";
    vipo_sampler_options base, samplers[SAMPLERS];
    vipo_sampler_default_options(&base);
    const int n = sampler_parse_list(list, &base, samplers, SAMPLERS, message);
    FUZZ_CHECK(n >= 0 && n <= SAMPLERS && (n > 0 || message[0]));
    for (int i = 0; i < n; i++) {
        const vipo_sampler *found;
        vipo_error error = {0};
        FUZZ_CHECK(vipo_sampler_find(&found, samplers[i].name, &error) == VIPO_OK);
        FUZZ_CHECK(samplers[i].steps >= 0 && isfinite(samplers[i].guidance) &&
                   isfinite(samplers[i].threshold));
        FUZZ_CHECK(sampler_equal(&samplers[i], &samplers[i]));
    }
}

typedef struct all_options {
    vipo_sampler_options sampler;
    bool flag;
    int count;
    uint64_t seed;
    int_list sizes;
    string_list names;
} all_options;

#define AT(member) offsetof(all_options, member)
static const option more_table[] = {
    {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, .offset = AT(flag)},
    {.name = "verbose", .letter = 'v', .kind = OPTION_COUNT, .offset = AT(count)},
    {.name = "seed", .letter = 'e', .placeholder = "N", .kind = OPTION_UINT64, .offset = AT(seed)},
    {.name = "sizes",
     .placeholder = "N,...",
     .kind = OPTION_INTS,
     .offset = AT(sizes),
     .min = -5,
     .max = 100},
    {.name = "out", .letter = 'o', .placeholder = "FILE", .kind = OPTION_STRINGS, .offset = AT(names)},
    {0},
};
static const option_group groups[] = {
    {"Sampler", sampler_option_table, AT(sampler)},
    {"Draft", draft_target_option_table, AT(sampler)},
    {"More", more_table, 0},
    {0},
};

static void check_words(fuzz_input *input)
{
    char *words[WORDS], message[MESSAGE_SIZE] = "";
    int n = 0;
    while (n < WORDS && (words[n] = fuzz_take_line(input))) n++;
    all_options values = {.count = 0};
    option_use use;
    vipo_sampler_default_options(&values.sampler);
    if (options_parse(groups, &values, n, words, &use, message)) {
        FUZZ_CHECK(use.n_given >= 0 && use.n_given <= LIST_CAPACITY && use.arguments.count <= n);
        for (int i = 0; i < values.sizes.count; i++)
            FUZZ_CHECK(values.sizes.items[i] >= -5 && values.sizes.items[i] <= 100);
        FUZZ_CHECK(values.sizes.count >= 0 && values.sizes.count <= LIST_CAPACITY);
        FUZZ_CHECK(values.seed <= INT64_MAX && values.count <= (int)input->left + 4096);
        FUZZ_CHECK(sampler_check(&values.sampler, &use, message) || message[0]);
    } else {
        FUZZ_CHECK(message[0] && memchr(message, 0, sizeof message));
    }
    while (n > 0) free(words[--n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    const uint64_t kind = fuzz_take(&input, 1);
    if (kind == 0) {
        check_request(&input);
    } else if (kind == 1) {
        char *list = fuzz_text(input.at, input.left);
        check_list(list);
        free(list);
    } else {
        check_words(&input);
    }
    return 0;
}
