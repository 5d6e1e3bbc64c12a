/* vipo denoise: one network call, for comparison with other implementations and for timing. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "profile.h"

enum { MAX_REPEAT = 100000 };

typedef struct denoise_options {
    common_options common;
    input_options inputs;
    const char *x, *out, *dump, *profile;
    int_list t;
    bool unconditional;
    int repeat;
} denoise_options;

#define AT(member) offsetof(denoise_options, member)
static const option call_options[] = {
    {.name = "x",
     .letter = 'x',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(x),
     .required = true,
     .help = "noisy frames, float32 [B][frames][H][W][3]"},
    {.name = "t",
     .letter = 'T',
     .placeholder = "LIST",
     .kind = OPTION_INTS,
     .offset = AT(t),
     .required = true,
     .min = 0,
     .max = 1000000,
     .help = "timestep, one for all or B separated by commas"},
    {.name = "unconditional",
     .kind = OPTION_FLAG,
     .offset = AT(unconditional),
     .help = "task tokens times 0, as the second call of classifier-free guidance"},
    {.name = "repeat",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(repeat),
     .min = 1,
     .max = MAX_REPEAT,
     .help = "call N times and report the time of each"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .help = "the network's output, float32 [B][frames][H][W][3]"},
    {.name = "dump",
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(dump),
     .help = "every intermediate as DIR/NAME.npy, with PyTorch's module names and layout"},
    {.name = "profile",
     .placeholder = "FILE.csv",
     .kind = OPTION_STRING,
     .offset = AT(profile),
     .help = "the time of every operation, median over --repeat; tables by level and kind are printed"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_option_table, AT(inputs)},
    {"Call", call_options, 0},
    {"Output", output_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    ((denoise_options *)values)->repeat = 1;
}

static void count_dumped(void *user, const char *name, const vipo_array *value)
{
    (void)name, (void)value;
    ++*(size_t *)user;
}

/* ---- the command ----------------------------------------------------------------------------------- */

static int check(tool *t, const denoise_options *options)
{
    const int status = input_check(t, &options->inputs);
    if (status != STATUS_DONE) return status;
    if (!options->out && !options->dump && !options->profile && !t->common->json &&
        !option_was_given(t->use, "repeat"))
        return tool_usage_error(t,
                                "give --out FILE.npy, --dump DIR, --profile FILE.csv, --repeat N or --json");
    if (options->dump && (options->repeat > 1 || options->profile))
        return tool_usage_error(t, "--dump would spoil the times of --%s, give one of them",
                                options->profile ? "profile" : "repeat");
    if (options->out) {
        const size_t length = strlen(options->out);
        if (length < 4 || strcmp(options->out + length - 4, ".npy") != 0)
            return tool_usage_error(t, "--out %.300s: the name must end in .npy", options->out);
    }
    const char *const outputs[] = {options->out, options->profile};
    return tool_check_outputs(t, outputs, 2);
}

static int print_results(tool *t, const denoise_options *options, const session *s, const vipo_array *v,
                         double *seconds, size_t dumped, const profile *p)
{
    json_t *const out = json_object(), *const times = json_array();
    for (int i = 0; i < options->repeat; i++) json_array_append_new(times, json_number(seconds[i]));
    if (!t->common->json) {
        json_decref(out);
        json_decref(times);
        progress_erase(&t->bar);
        if (options->repeat > 1)
            for (int i = 0; i < options->repeat; i++) printf("call %d: %.4f s\n", i + 1, seconds[i]);
        printf("%zu row%s, %s %.4f s\n", v->shape[0], v->shape[0] == 1 ? "" : "s",
               options->repeat > 1 ? "median" : "network", median(seconds, options->repeat));
        if (options->out) tool_print_file(t, options->out);
        if (options->dump) {
            printf("%zu arrays in ", dumped);
            print_safe(stdout, options->dump);
            printf("\n");
        }
        if (options->profile) {
            profile_print(p);
            tool_print_file(t, options->profile);
        }
        return STATUS_DONE;
    }
    json_object_set_new(out, "seconds", times);
    json_object_set_new(out, "median", json_number(median(seconds, options->repeat)));
    json_object_set_new(out, "rows", json_integer((json_int_t)v->shape[0]));
    json_object_set_new(out, "shape", json_shape(v));
    json_object_set_new(out, "out", options->out ? json_text(options->out) : json_null());
    json_object_set_new(out, "dumped", json_integer((json_int_t)dumped));
    if (options->profile) json_object_set_new(out, "profile", profile_json(p));
    session_describe(s, out);
    return tool_print_json(t, out);
}

static int run(tool *t, void *values)
{
    denoise_options *const options = values;
    int status = check(t, options);
    if (status != STATUS_DONE) return status;

    session s = {0};
    size_t dumped = 0;
    vipo_array x = {0}, v = {0};
    vipo_error error = {0};
    profile p;
    profile_open(&p, options->repeat);
    double *const seconds = calloc((size_t)options->repeat, sizeof *seconds);
    if (!seconds) return tool_fail(t, "out of memory for the times");
    if (vipo_npy_read(options->x, &x, &error) != VIPO_OK) goto fail;
    status = session_open(t, &s, &options->inputs);
    if (status != STATUS_DONE) goto done;

    const vipo_denoise_request request = {
        .x = &x,
        .cond = &s.cond,
        .tokens = s.tokens.data ? &s.tokens : NULL,
        .text = options->inputs.text,
        .t = options->t.items,
        .n_t = options->t.count,
        .unconditional = options->unconditional,
        .dump = options->dump ? count_dumped : NULL,
        .dump_user = &dumped,
        .dump_folder = options->dump,
        .profile = options->profile ? profile_visit : NULL,
        .profile_user = &p,
        .callbacks = tool_callbacks(t),
    };
    for (int i = 0; i < options->repeat; i++) {
        vipo_array_free(&v);
        if (interrupt_signal()) {
            status = tool_interrupted(t);
            goto done;
        }
        profile_begin_call(&p);
        if (vipo_planner_denoise(s.planner, &request, &v, &seconds[i], &error) != VIPO_OK) goto fail;
        if (options->repeat > 1) progress_update(&t->bar, "calls", i + 1, options->repeat);
    }
    if (options->profile) {
        p.peak = vipo_planner_measure_peak(s.planner);
        status = profile_finish(t, &p);
        if (status != STATUS_DONE) goto done;
        if (profile_write(&p, &s, options->profile, &error) != VIPO_OK) goto fail;
        t->has_written = true;
    }
    if (options->out && vipo_npy_write(options->out, &v, &error) != VIPO_OK) goto fail;
    status = print_results(t, options, &s, &v, seconds, dumped, &p);
    goto done;

fail:
    status = tool_library_error(t, &error);
done:
    free(seconds);
    profile_close(&p);
    vipo_array_free(&x);
    vipo_array_free(&v);
    session_close(&s);
    return status;
}

const command command_denoise = {
    .name = "denoise",
    .summary = "call the network once: noisy frames -> v",
    .usage = "--model DIR --x FILE.npy --t LIST --cond FILE.npy --tokens FILE.npy --out FILE.npy [options]",
    .description = "One call of the network on given inputs, for comparison with other implementations and "
                   "for timing (weights loaded and packed before).",
    .groups = groups,
    .examples =
        "vipo denoise -m models/metaworld-64 --x X.npy --cond C.npy -t \"door open\" --t 50 -o V.npy\n"
        "vipo denoise -m models/metaworld-64 --x X.npy --cond C.npy --tokens K.npy --t 50 --dump layers\n"
        "vipo denoise -m models/metaworld-64 --x X.npy --cond C.npy --tokens K.npy --t 50 --repeat 20 --json",
    .values_size = sizeof(denoise_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
