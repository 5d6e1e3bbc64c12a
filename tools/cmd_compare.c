/* vipo compare: several samplers on the same noise. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "sampler.h"
#include "session.h"

enum { MAX_SAMPLERS = 64, MAX_REPEAT = 1000 };

typedef struct compare_options {
    common_options common;
    input_options inputs;
    const char *samplers, *reference;
    vipo_sampler_options base; /* guidance for those that do not set their own */
    int repeat, samples;
    uint64_t seed;
    const char *noise, *out, *csv;
    vipo_write_options write;
} compare_options;

#define AT(member) offsetof(compare_options, member)
static const option compared_options[] = {
    {.name = "samplers",
     .letter = 's',
     .placeholder = "LIST",
     .kind = OPTION_STRING,
     .offset = AT(samplers),
     .choice = vipo_sampler_name,
     .help = "what to compare, separated by commas: NAME[:STEPS][:SETTING=VALUE]..., with the settings of "
             "`vipo plan`"},
    {.name = "reference",
     .placeholder = "ONE",
     .kind = OPTION_STRING,
     .offset = AT(reference),
     .choice = vipo_sampler_name,
     .help = "sampler whose time and result the others are measured against; run first"},
    {.name = "repeat",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(repeat),
     .min = 1,
     .max = MAX_REPEAT,
     .help = "run each sampler N times in turn and report the median time"},
    {0},
};
static const option noise_options[] = {
    {.name = "seed", .placeholder = "N", .kind = OPTION_UINT64, .offset = AT(seed), .help = "of the noise"},
    {.name = "samples",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(samples),
     .min = 1,
     .max = 1024,
     .help = "plans per sampler"},
    {.name = "noise",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(noise),
     .help = "starting noise, float32 [samples][frames][H][W][3]"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE.png",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .help = "a picture with one row per sampler"},
    {.name = "csv",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(csv),
     .endings = "csv",
     .help = "the table as CSV"},
    {.name = "scale",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(write.scale),
     .min = 1,
     .max = 64,
     .default_text = "frames about 128 pixels high",
     .help = "enlargement of the picture"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_option_table, AT(inputs)},
    {"Samplers", compared_options, 0},
    {"", guidance_option_table, AT(base)},
    {"Noise", noise_options, 0},
    {"Output", output_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    compare_options *const options = values;
    options->samplers = "ddim,ddim:10,draft-target,draft-target-lazy,unipc";
    options->reference = "ddim";
    options->repeat = 1;
    options->samples = 1;
    vipo_sampler_default_options(&options->base);
    vipo_write_default_options(&options->write);
}

typedef struct row {
    vipo_sampler_options sampler;
    vipo_plan plan;    /* of the first run */
    double *times;     /* of all runs, seconds */
    double seconds;    /* their median */
    double speed_up;   /* over the reference */
    double rms;        /* distance to the reference */
    char name[128];    /* of the sampler, with guidance */
    char caption[192]; /* of the picture's row */
} row;

/* The reference comes first; a sampler of the list that equals it is not run twice. */
static int parse_samplers(tool *t, const compare_options *options, row *rows, int *n_rows)
{
    vipo_sampler_options list[MAX_SAMPLERS], reference;
    char message[MESSAGE_SIZE];
    if (sampler_parse_list(options->reference, &options->base, &reference, 1, message) != 1)
        return tool_usage_error(t, "--reference: %s", message);
    const int n = sampler_parse_list(options->samplers, &options->base, list, MAX_SAMPLERS, message);
    if (n == 0) return tool_usage_error(t, "--samplers: %s", message);
    rows[0].sampler = reference;
    *n_rows = 1;
    for (int i = 0; i < n; i++)
        if (!sampler_equal(&list[i], &reference)) rows[(*n_rows)++].sampler = list[i];
    return STATUS_DONE;
}

static int check(tool *t, const compare_options *options)
{
    const int status = input_check(t, &options->inputs);
    if (status != STATUS_DONE) return status;
    if (options->out) {
        const size_t length = strlen(options->out);
        if (length < 4 || strcmp(options->out + length - 4, ".png") != 0)
            return tool_usage_error(t, "--out %.300s: the name must end in .png", options->out);
    }
    const char *const outputs[] = {options->out, options->csv};
    return tool_check_outputs(t, outputs, 2);
}

static vipo_status run_samplers(tool *t, const compare_options *options, const session *s,
                                const vipo_array *noise, row *rows, int n_rows, vipo_error *error)
{
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &s->cond;
    request.text = options->inputs.text;
    request.tokens = s->tokens.data ? &s->tokens : NULL;
    request.samples = options->samples;
    request.seed = options->seed;
    request.noise = noise->data ? noise : NULL;
    request.callbacks = tool_callbacks(t);
    /* In turn, so that a machine that grows slower or faster treats all alike. */
    for (int run = 0; run < options->repeat; run++)
        for (int i = 0; i < n_rows; i++) {
            vipo_plan again = {0}, *const plan = run == 0 ? &rows[i].plan : &again;
            request.sampler = rows[i].sampler;
            const vipo_status status = vipo_planner_plan(s->planner, &request, plan, error);
            if (status != VIPO_OK) return status;
            rows[i].times[run] = plan->seconds;
            tool_note(t, "%s: %.3f s", plan->sampler, plan->seconds);
            vipo_plan_free(&again);
        }
    return VIPO_OK;
}

/* Rms distance in [-1,1] units (x = 2 video - 1). */
static double distance(const row *a, const row *b)
{
    return 2 * vipo_array_rms_difference(&a->plan.video, &b->plan.video);
}

static void measure(row *rows, int n_rows, int repeat)
{
    for (int i = 0; i < n_rows; i++) {
        row *const r = &rows[i];
        r->seconds = median(r->times, repeat);
        r->speed_up = r->seconds > 0 ? rows[0].seconds / r->seconds : 0;
        r->rms = distance(r, &rows[0]);
        if (r->sampler.guidance > 0)
            snprintf(r->name, sizeof r->name, "%s w=%g", r->plan.sampler, r->sampler.guidance);
        else
            snprintf(r->name, sizeof r->name, "%s", r->plan.sampler);
        snprintf(r->caption, sizeof r->caption, "%s   %d calls   %.2f s   %.1fx", r->name, r->plan.calls,
                 r->seconds, r->speed_up);
    }
}

static void print_table(tool *t, const row *rows, int n_rows)
{
    int width = 7;
    bool verified = false;
    progress_erase(&t->bar);
    for (int i = 0; i < n_rows; i++) verified = verified || rows[i].plan.verified > 0;
    for (int i = 0; i < n_rows; i++)
        if ((int)strlen(rows[i].name) > width) width = (int)strlen(rows[i].name);
    printf("%-*s  %5s  %11s  %8s  %8s  %8s  %9s%s\n", width, "sampler", "calls", "evaluations", "time (s)",
           "speed-up", "rms", "accepted", verified ? "     agreed" : "");
    for (int i = 0; i < n_rows; i++) {
        const row *const r = &rows[i];
        char accepted[32] = "-", speed_up[32], agreed[32] = "";
        if (r->plan.rounds > 0)
            snprintf(accepted, sizeof accepted, "%d/%d", r->plan.accepted, r->plan.drafted);
        if (r->plan.verified > 0)
            snprintf(agreed, sizeof agreed, "  %d/%d", r->plan.agreed, r->plan.verified);
        else if (verified)
            snprintf(agreed, sizeof agreed, "  -");
        snprintf(speed_up, sizeof speed_up, "%.2fx", r->speed_up);
        printf("%-*s  %5d  %11d  %8.3f  %8s  %8.4f  %9s%*s\n", width, r->name, r->plan.calls,
               r->plan.evaluations, r->seconds, speed_up, r->rms, accepted, verified ? 11 : 0, agreed);
    }
    if (!t->common->quiet)
        printf("\nspeed-up over and rms distance to %s; rms in [-1,1] units\n", rows[0].name);
    if (verified && !t->common->quiet)
        puts("agreed: decisions as with true distances; the time includes measuring those");
}

static int print_json(tool *t, const row *rows, int n_rows)
{
    json_t *const list = json_array();
    for (int i = 0; i < n_rows; i++) {
        const row *const r = &rows[i];
        json_t *const out = json_object();
        json_object_set_new(out, "sampler", json_text(r->plan.sampler));
        json_object_set_new(out, "reference", json_boolean(i == 0));
        json_object_set_new(out, "guidance", json_number(r->sampler.guidance));
        json_object_set_new(out, "calls", json_integer(r->plan.calls));
        json_object_set_new(out, "evaluations", json_integer(r->plan.evaluations));
        json_object_set_new(out, "network_rows", json_integer(r->plan.network_rows));
        json_object_set_new(out, "seconds", json_number(r->seconds));
        json_object_set_new(out, "speed_up", json_number(r->speed_up));
        json_object_set_new(out, "rms", json_number(r->rms));
        json_object_set_new(out, "rounds", json_integer(r->plan.rounds));
        json_object_set_new(out, "drafted", json_integer(r->plan.drafted));
        json_object_set_new(out, "accepted", json_integer(r->plan.accepted));
        json_object_set_new(out, "calibrated", json_boolean(r->plan.calibrated));
        json_object_set_new(out, "verify_calls", json_integer(r->plan.verify_calls));
        json_object_set_new(out, "verify_evaluations", json_integer(r->plan.verify_evaluations));
        json_object_set_new(out, "verified", json_integer(r->plan.verified));
        json_object_set_new(out, "agreed", json_integer(r->plan.agreed));
        json_object_set_new(out, "peak_bytes", json_integer((json_int_t)r->plan.peak_bytes));
        json_t *const distances = json_array();
        for (int j = 0; j < n_rows; j++) json_array_append_new(distances, json_number(distance(r, &rows[j])));
        json_object_set_new(out, "rms_to", distances);
        json_array_append_new(list, out);
    }
    return tool_print_json(t, list);
}

static vipo_status write_csv(const char *path, const row *rows, int n_rows, vipo_error *error)
{
    vipo_output *out;
    char line[320];
    if (vipo_output_open(&out, path, error) != VIPO_OK) return error->status;
    static const char head[] =
        "sampler,calls,evaluations,seconds,speed_up,rms,rounds,drafted,accepted,verified,agreed\n";
    vipo_status status = vipo_output_write(out, head, sizeof head - 1, error);
    for (int i = 0; i < n_rows && status == VIPO_OK; i++) {
        const row *const r = &rows[i];
        const int n =
            snprintf(line, sizeof line, "%s,%d,%d,%.6f,%.4f,%.6f,%d,%d,%d,%d,%d\n", r->name, r->plan.calls,
                     r->plan.evaluations, r->seconds, r->speed_up, r->rms, r->plan.rounds, r->plan.drafted,
                     r->plan.accepted, r->plan.verified, r->plan.agreed);
        status = vipo_output_write(out, line, (size_t)n, error);
    }
    return vipo_output_commit(&out, error);
}

/* A row shows the first sample. */
static vipo_array first_of(const vipo_array *all)
{
    vipo_array first = *all;
    first.shape[0] = 1;
    return first;
}

static vipo_status write_sheet(const compare_options *options, const session *s, const row *rows, int n_rows,
                               vipo_error *error)
{
    vipo_sheet_row sheet[MAX_SAMPLERS + 1];
    vipo_array videos[MAX_SAMPLERS + 1];
    const vipo_array cond = first_of(&s->cond);
    for (int i = 0; i < n_rows; i++) {
        videos[i] = first_of(&rows[i].plan.video);
        sheet[i] = (vipo_sheet_row){rows[i].caption, &cond, &videos[i]};
    }
    return vipo_sheet_write(options->out, sheet, n_rows, &options->write, error);
}

static int run(tool *t, void *values)
{
    compare_options *const options = values;
    row rows[MAX_SAMPLERS + 1];
    int n_rows = 0;
    memset(rows, 0, sizeof rows);
    int status = parse_samplers(t, options, rows, &n_rows);
    if (status == STATUS_DONE) status = check(t, options);
    if (status != STATUS_DONE) return status;

    session s = {0};
    vipo_array noise = {0};
    vipo_error error = {0};
    double *const times = calloc((size_t)n_rows * (size_t)options->repeat, sizeof *times);
    if (!times) return tool_fail(t, "out of memory for the times");
    for (int i = 0; i < n_rows; i++) rows[i].times = times + i * options->repeat;
    if (options->noise && vipo_npy_read(options->noise, &noise, &error) != VIPO_OK) goto fail;
    if (noise.data && !option_was_given(t->use, "samples") && noise.shape[0] <= 1024)
        options->samples = (int)noise.shape[0];
    status = session_open(t, &s, &options->inputs);
    if (status != STATUS_DONE) goto done;
    vipo_model_info info;
    vipo_model_get_info(s.model, &info);
    if (options->out &&
        vipo_plan_write_check(options->out, n_rows, &info, &options->write, &error) != VIPO_OK)
        goto fail;

    if (run_samplers(t, options, &s, &noise, rows, n_rows, &error) != VIPO_OK) goto fail;
    if (interrupt_signal()) {
        status = tool_interrupted(t);
        goto done;
    }
    measure(rows, n_rows, options->repeat);
    if (options->out && write_sheet(options, &s, rows, n_rows, &error) != VIPO_OK) goto fail;
    if (options->csv && write_csv(options->csv, rows, n_rows, &error) != VIPO_OK) goto fail;
    if (t->common->json) {
        status = print_json(t, rows, n_rows);
    } else {
        print_table(t, rows, n_rows);
        if (options->out) tool_print_file(t, options->out);
        if (options->csv) tool_print_file(t, options->csv);
    }
    goto done;

fail:
    status = tool_library_error(t, &error);
done:
    for (int i = 0; i < n_rows; i++) vipo_plan_free(&rows[i].plan);
    free(times);
    vipo_array_free(&noise);
    session_close(&s);
    return status;
}

const command command_compare = {
    .name = "compare",
    .summary = "run several samplers on the same noise, side by side",
    .usage = "--model DIR --image FILE --text TEXT [--samplers LIST] [options]",
    .description = "Plans with several samplers from the same noise and prints calls, evaluations, time, "
                   "speed-up, distance to the reference and share of accepted drafts.",
    .groups = groups,
    .glossary = &sampler_glossary,
    .examples =
        "vipo compare -m models/metaworld-64 -i frame.png -t \"door open\" --repeat 5 -o compare.png\n"
        "vipo compare -m models/metaworld-64 -i frame.png -t \"door open\" \\\n"
        "     -s ddim:25,ddpm,draft-target:chunk=6:threshold=11,draft-target:no-draft-reuse --csv table.csv",
    .values_size = sizeof(compare_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
