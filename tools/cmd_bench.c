/* vipo bench: how fast a model's network is here, as a whole, in batches, and operation by operation. */
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "process.h"
#include "profile.h"

enum { MAX_REPEAT = 1000, MAX_ROWS = 256, WARM_UP = 1, TEXT_LENGTH = 8 };

typedef struct bench_options {
    common_options common;
    input_options inputs; /* model, compute and half_weights of it */
    int_list rows;
    int repeat;
    const char *profile;
} bench_options;

#define AT(member) offsetof(bench_options, member)
static const option measure_options[] = {
    {.name = "rows",
     .placeholder = "LIST",
     .kind = OPTION_INTS,
     .offset = AT(rows),
     .min = 1,
     .max = MAX_ROWS,
     .default_text = "1,2,4,8",
     .help = "batches to time, separated by commas; a single row always is"},
    {.name = "repeat",
     .letter = 'n',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(repeat),
     .min = 1,
     .max = MAX_REPEAT,
     .help = "calls of each batch; the shortest counts, of operations the median"},
    {.name = "profile",
     .placeholder = "FILE.csv",
     .kind = OPTION_STRING,
     .offset = AT(profile),
     .help = "the time of every operation of a single row"},
    {0},
};
static const option_group groups[] = {
    {"Input", model_option_table, AT(inputs)},
    {"", half_option_table, AT(inputs)},
    {"Measurement", measure_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    bench_options *const options = values;
    options->rows = (int_list){.items = {1, 2, 4, 8}, .count = 4};
    options->repeat = 5;
}

/* ---- measuring --------------------------------------------------------------------------------------- */

/* Numbers of order 1 without a pattern that matters. */
static void fill(vipo_array *array, float low, float high)
{
    uint32_t state = 1;
    for (size_t i = 0; i < vipo_array_size(array); i++) {
        state = state * 1664525U + 1013904223U;
        array->data[i] = low + (high - low) * (float)(state >> 8) / 16777216.0F;
    }
}

/* Calls of one row, each operation timed. */
static int measure_operations(tool *t, const bench_options *options, const session *s, profile *p)
{
    vipo_model_info info;
    vipo_error error = {0};
    vipo_array x = {0}, cond = {0}, tokens = {0}, v = {0};
    vipo_model_get_info(s->model, &info);
    const size_t h = (size_t)info.height, w = (size_t)info.width;
    const int middle = info.timesteps / 2;
    int status = STATUS_DONE;
    if (vipo_array_alloc(&x, 5, (const size_t[]){1, (size_t)info.frames, h, w, 3}, &error) != VIPO_OK ||
        vipo_array_alloc(&cond, 4, (const size_t[]){1, h, w, 3}, &error) != VIPO_OK ||
        vipo_array_alloc(&tokens, 3, (const size_t[]){1, TEXT_LENGTH, (size_t)info.token_channels}, &error) !=
            VIPO_OK)
        goto fail;
    fill(&x, -1.7F, 1.7F);
    fill(&cond, 0, 1);
    fill(&tokens, -1.7F, 1.7F);
    vipo_denoise_request request = {.x = &x,
                                    .cond = &cond,
                                    .tokens = &tokens,
                                    .t = &middle,
                                    .n_t = 1,
                                    .profile_user = p,
                                    .callbacks = tool_callbacks(t)};
    for (int i = -WARM_UP; i < options->repeat; i++) {
        if (i >= 0) {
            request.profile = profile_visit;
            profile_begin_call(p);
            progress_update(&t->bar, "operations", i, options->repeat);
        }
        vipo_array_free(&v);
        if (vipo_planner_denoise(s->planner, &request, &v, NULL, &error) != VIPO_OK) goto fail;
    }
    status = profile_finish(t, p);
    goto done;

fail:
    status = tool_library_error(t, &error);
done:
    vipo_array_free(&x);
    vipo_array_free(&cond);
    vipo_array_free(&tokens);
    vipo_array_free(&v);
    return status;
}

/* The list with a single row in front, if it has none. */
static int_list with_single_row(const int_list *rows)
{
    int_list out = {.items = {1}, .count = 1};
    for (int i = 0; i < rows->count; i++)
        if (rows->items[i] == 1) return *rows;
    for (int i = 0; i < rows->count && out.count < LIST_CAPACITY; i++)
        out.items[out.count++] = rows->items[i];
    return out;
}

/* ---- results ----------------------------------------------------------------------------------------- */

typedef struct batches {
    int_list rows;
    double seconds[LIST_CAPACITY];
    double single; /* seconds of one row */
} batches;

static int print_text(const bench_options *options, tool *t, const session *s, const batches *b,
                      const profile *p)
{
    vipo_model_info info;
    char bytes[32];
    const double resident = process_peak_bytes();
    vipo_model_get_info(s->model, &info);
    progress_erase(&t->bar);
    print_safe(stdout, info.name);
    printf(": %dx%d, %.2f GMAC; kernels %s, %d thread%s", info.height, info.width, 1e-9 * profile_macs(p),
           vipo_model_compute(s->model), s->threads, s->threads == 1 ? "" : "s");
    if (resident >= 0) printf(", memory %s", format_bytes(resident, bytes, sizeof bytes));
    printf("\n%6s %10s %10s %8s %9s", "rows", "ms", "ms a row", "c(rows)", "GFLOP/s");
    printf(p->peak > 0 ? " %9s\n" : "\n", "of peak");
    for (int i = 0; i < b->rows.count; i++) {
        const int rows = b->rows.items[i];
        const double rate = 2e-9 * rows * profile_macs(p) / b->seconds[i];
        printf("%6d %10.2f %10.2f %8.2f %9.1f", rows, 1e3 * b->seconds[i], 1e3 * b->seconds[i] / rows,
               b->seconds[i] / b->single, rate);
        if (p->peak > 0) printf(" %7.1f %%", 100 * rate / p->peak);
        printf("\n");
    }
    profile_print(p);
    if (options->profile) tool_print_file(t, options->profile);
    return STATUS_DONE;
}

static int print_json(tool *t, const bench_options *options, const session *s, const batches *b,
                      const profile *p)
{
    json_t *const out = json_object(), *const list = json_array();
    vipo_model_info info;
    const double resident = process_peak_bytes();
    vipo_model_get_info(s->model, &info);
    for (int i = 0; i < b->rows.count; i++) {
        json_t *const batch = json_object();
        const double rate = 2e-9 * b->rows.items[i] * profile_macs(p) / b->seconds[i];
        json_object_set_new(batch, "rows", json_integer(b->rows.items[i]));
        json_object_set_new(batch, "seconds", json_number(b->seconds[i]));
        json_object_set_new(batch, "cost", json_number(b->seconds[i] / b->single));
        json_object_set_new(batch, "gflops", json_number(rate));
        json_object_set_new(batch, "peak_share", json_number(rate / p->peak));
        json_array_append_new(list, batch);
    }
    json_object_set_new(out, "model", json_text(info.name));
    json_object_set_new(out, "height", json_integer(info.height));
    json_object_set_new(out, "width", json_integer(info.width));
    json_object_set_new(out, "macs", json_number(profile_macs(p)));
    json_object_set_new(out, "batches", list);
    json_object_set_new(out, "profile", profile_json(p));
    json_object_set_new(out, "resident_peak",
                        resident < 0 ? json_null() : json_integer((json_int_t)resident));
    json_object_set_new(out, "out", options->profile ? json_text(options->profile) : json_null());
    session_describe(s, out);
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    const bench_options *const options = values;
    int status = tool_check_outputs(t, &options->profile, 1);
    if (status != STATUS_DONE) return status;

    session s = {0};
    vipo_error error = {0};
    batches b = {.rows = with_single_row(&options->rows)};
    profile p;
    profile_open(&p, options->repeat);
    status = session_open_model(t, &s, &options->inputs);
    if (status != STATUS_DONE) goto done;
    p.peak = vipo_planner_measure_peak(s.planner);
    status = measure_operations(t, options, &s, &p);
    if (status != STATUS_DONE) goto done;
    const vipo_callbacks callbacks = tool_callbacks(t);
    if (vipo_planner_measure_batches(s.planner, b.rows.items, b.rows.count, options->repeat, b.seconds,
                                     &callbacks, &error) != VIPO_OK)
        goto fail;
    for (int i = 0; i < b.rows.count; i++)
        if (b.rows.items[i] == 1) b.single = b.seconds[i];
    const double after = vipo_planner_measure_peak(s.planner); /* the machine may have been busy before */
    if (after > p.peak) p.peak = after;
    if (options->profile && profile_write(&p, &s, options->profile, &error) != VIPO_OK) goto fail;
    status = t->common->json ? print_json(t, options, &s, &b, &p) : print_text(options, t, &s, &b, &p);
    goto done;

fail:
    status = tool_library_error(t, &error);
done:
    profile_close(&p);
    session_close(&s);
    return status;
}

const command command_bench = {
    .name = "bench",
    .summary = "how fast the network is here: batches, levels, operations",
    .usage = "--model DIR [options]",
    .description =
        "Times calls of the network on made-up input: batches of several sizes, and every operation of "
        "a single row, summed by level and by kind. GFLOP/s count two for each multiply-add of the plain "
        "algorithm; \"of peak\" compares them with the multiply-adds that this machine was measured to "
        "do at most, \"real\" compares only the multiplications that the methods need.",
    .groups = groups,
    .examples = "vipo bench -m models/metaworld-64\n"
                "vipo bench -m models/metaworld-64 --threads 1 --rows 1 --repeat 20 --profile profile.csv\n"
                "vipo bench -m models/metaworld-64 --json",
    .values_size = sizeof(bench_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
