/* vipo act: an observation, a goal and a policy -> actions. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "vipo/action.h"

enum { MAX_REPEAT = 100000, MAX_SAMPLES = 256 };

typedef struct act_options {
    common_options common;
    const char *model, *obs, *goal, *vector, *task, *compute;
    const char *sampler, *noise, *step_noise, *out;
    int steps, samples, repeat;
    uint64_t seed;
} act_options;

#define AT(member) offsetof(act_options, member)
static const option input_options[] = {
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(model),
     .required = true,
     .help = "folder of the policy: config.json, policy.safetensors"},
    {.name = "obs",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(obs),
     .endings = "npy png jpg jpeg",
     .help = "what the robot sees: .npy of uint8 or of numbers in [0,1], [H][W][3] or [3][H][W], also "
             "several; PNG or "
             "JPEG"},
    {.name = "goal",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(goal),
     .endings = "npy png jpg jpeg",
     .help = "what it should see later, such as a frame of a plan"},
    {.name = "vector",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(vector),
     .help = "numbers that a policy takes besides: float32 [dim] or [samples][dim], with --task without "
             "those of the "
             "tasks"},
    {.name = "task",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(task),
     .help = "one of the policy's tasks, where it knows some (vipo info)"},
    {.name = "compute",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(compute),
     .choice = compute_name,
     .default_text = "the fastest in float32",
     .help = "kernels to use"},
    {0},
};
static const option sampler_options[] = {
    {.name = "sampler",
     .letter = 's',
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(sampler),
     .choice = vipo_action_sampler_name,
     .default_text = "the policy's own",
     .help = "how a diffusion policy draws, see below"},
    {.name = "steps",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(steps),
     .min = 1,
     .max = 4096,
     .default_text = "the policy's own",
     .help = "network calls of a drawing"},
    {.name = "samples",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(samples),
     .min = 1,
     .max = MAX_SAMPLES,
     .default_text = "as many as there are observations",
     .help = "sequences to draw"},
    {.name = "seed", .placeholder = "N", .kind = OPTION_UINT64, .offset = AT(seed), .help = "of the noise"},
    {.name = "noise",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(noise),
     .help = "start, float32 [samples][horizon][dim], in place of --seed"},
    {.name = "step-noise",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(step_noise),
     .help = "ddpm: noise of all steps but the last, float32 [steps - 1][samples][horizon][dim]"},
    {.name = "repeat",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(repeat),
     .min = 1,
     .max = MAX_REPEAT,
     .help = "call N times and report the time of each; later calls do not encode the goal again"},
    {0},
};
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(out),
     .help = "the actions, float32 [horizon][dim]; of several samples [samples][horizon][dim]"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_options, 0},
    {"Sampler", sampler_options, 0},
    {"Output", output_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};
static const glossary samplers = {"Samplers", vipo_action_sampler_name, vipo_action_sampler_summary};

static void set_defaults(void *values)
{
    ((act_options *)values)->repeat = 1;
}

/* Everything of a run that is released at its end. */
typedef struct act_run {
    vipo_goal_policy *policy;
    vipo_goal_policy_info info;
    vipo_array obs, goal, vector, noise, step_noise;
    vipo_goal_actions actions;
    double *seconds;
} act_run;

static void close_run(act_run *r)
{
    vipo_array *const arrays[] = {&r->obs, &r->goal, &r->vector, &r->noise, &r->step_noise};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) vipo_array_free(arrays[i]);
    vipo_goal_actions_free(&r->actions);
    vipo_goal_policy_close(&r->policy);
    free(r->seconds);
}

/* ---- inputs ----------------------------------------------------------------------------------------- */

static int check(tool *t, const act_options *options)
{
    if (!options->out && !t->common->json && !option_was_given(t->use, "repeat"))
        return tool_usage_error(t, "give --out FILE.npy, --repeat N or --json");
    if (options->noise && option_was_given(t->use, "seed"))
        return tool_usage_error(t, "give --seed or --noise, not both");
    if (options->out) {
        const size_t length = strlen(options->out);
        if (length < 4 || strcmp(options->out + length - 4, ".npy") != 0)
            return tool_usage_error(t, "--out %.300s: the name must end in .npy", options->out);
    }
    return tool_check_outputs(t, &options->out, 1);
}

/* Place of a task's name among the policy's. */
static int find_task(tool *t, const act_options *options, const vipo_goal_policy_info *info, int *found)
{
    char known[600] = "";
    *found = -1;
    if (info->n_tasks == 0)
        return tool_fail(t, "--task %.80s: %.300s knows no tasks by name", options->task, options->model);
    for (int i = 0; i < info->n_tasks; i++) {
        if (strcmp(info->tasks[i], options->task) == 0) *found = i;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", info->tasks[i]);
    }
    if (*found >= 0) return STATUS_DONE;
    return tool_fail(t, "--task %.80s: the policy knows %.400s", options->task, known);
}

/* The vector with the task's one-hot put in its place. */
static int add_task(tool *t, const act_options *options, act_run *r)
{
    const vipo_goal_policy_info *info = &r->info;
    const size_t others = (size_t)(info->vector_dim - info->n_tasks);
    vipo_array given = r->vector;
    vipo_error error = {0};
    int task, status = find_task(t, options, info, &task);
    if (status != STATUS_DONE) return status;
    const size_t rows = given.rank == 2 ? given.shape[0] : 1, width = (size_t)info->vector_dim;
    if (given.data ? given.rank > 2 || given.shape[given.rank - 1] != others : others > 0)
        return tool_fail(t, "--vector: expected [%zu] or [samples][%zu] numbers besides --task", others,
                         others);
    if (vipo_array_alloc(&r->vector, 2, (const size_t[]){rows, width}, &error) != VIPO_OK) {
        r->vector = given;
        return tool_library_error(t, &error);
    }
    for (size_t row = 0; row < rows; row++) {
        const float *from = given.data + row * others;
        float *const to = r->vector.data + row * width;
        for (int i = 0; i < info->n_parts; i++) {
            const vipo_vector_part *const part = &info->parts[i];
            for (int k = 0; k < part->size; k++)
                to[part->offset + k] = part->tasks ? (float)(k == task) : *from++;
        }
    }
    vipo_array_free(&given);
    return STATUS_DONE;
}

static int read_inputs(tool *t, const act_options *options, act_run *r)
{
    const struct {
        const char *path;
        vipo_array *array;
        bool picture;
    } files[] = {{options->obs, &r->obs, true},
                 {options->goal, &r->goal, true},
                 {options->vector, &r->vector, false},
                 {options->noise, &r->noise, false},
                 {options->step_noise, &r->step_noise, false}};
    vipo_error error = {0};
    if ((r->info.obs && !options->obs) || (r->info.goal && !options->goal))
        return tool_usage_error(t, "give --%s FILE, the policy looks at this picture",
                                r->info.obs && !options->obs ? "obs" : "goal");
    if ((options->goal && !r->info.goal) || (options->obs && !r->info.obs))
        tool_warn(t, "--%s is not used, the policy does not look at this picture",
                  options->goal && !r->info.goal ? "goal" : "obs");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!files[i].path) continue;
        const vipo_status status =
            files[i].picture ? vipo_goal_policy_read_picture(r->policy, files[i].path, files[i].array, &error)
                             : vipo_npy_read(files[i].path, files[i].array, &error);
        if (status != VIPO_OK) return tool_library_error(t, &error);
    }
    return options->task ? add_task(t, options, r) : STATUS_DONE;
}

/* ---- output ------------------------------------------------------------------------------------------ */

static json_t *actions_json(const vipo_array *actions)
{
    json_t *const list = json_array();
    const size_t dim = actions->shape[actions->rank - 1];
    for (size_t i = 0; i < vipo_array_size(actions); i += dim) {
        json_t *const row = json_array();
        for (size_t k = 0; k < dim; k++)
            json_array_append_new(row, json_number((double)actions->data[i + k]));
        json_array_append_new(list, row);
    }
    return list;
}

/* [1][horizon][dim] -> [horizon][dim] */
static void drop_first_axis(vipo_array *array)
{
    if (array->shape[0] != 1) return;
    array->rank--;
    memmove(array->shape, array->shape + 1, (size_t)array->rank * sizeof array->shape[0]);
}

static int print_results(tool *t, const act_options *options, act_run *r)
{
    const vipo_goal_actions *const a = &r->actions;
    if (t->common->json) {
        json_t *const out = json_object(), *const times = json_array();
        for (int i = 0; i < options->repeat; i++) json_array_append_new(times, json_number(r->seconds[i]));
        json_object_set_new(out, "kind", json_text(r->info.kind));
        json_object_set_new(out, "sampler", a->sampler[0] ? json_text(a->sampler) : json_null());
        json_object_set_new(out, "shape", json_shape(&a->actions));
        json_object_set_new(out, "executed", json_integer(r->info.executed));
        if (a->actions.rank == 2) json_object_set_new(out, "actions", actions_json(&a->actions));
        json_object_set_new(out, "calls", json_integer(a->calls));
        json_object_set_new(out, "encode_seconds", json_number(a->encode_seconds));
        json_object_set_new(out, "seconds", times);
        json_object_set_new(out, "median", json_number(median(r->seconds, options->repeat)));
        json_object_set_new(out, "compute", json_text(vipo_goal_policy_compute(r->policy)));
        json_object_set_new(out, "out", options->out ? json_text(options->out) : json_null());
        return tool_print_json(t, out);
    }
    progress_erase(&t->bar);
    if (t->common->quiet) return STATUS_DONE;
    if (options->repeat > 1)
        for (int i = 0; i < options->repeat; i++) printf("call %d: %.4f s\n", i + 1, r->seconds[i]);
    printf("%s%s%s: %d actions of %d numbers, the first %d to execute, in %.4f s\n", r->info.kind,
           a->sampler[0] ? " " : "", a->sampler, r->info.horizon, r->info.action_dim, r->info.executed,
           median(r->seconds, options->repeat));
    if (options->out) tool_print_file(t, options->out);
    return STATUS_DONE;
}

static int act(tool *t, const act_options *options, act_run *r)
{
    vipo_error error = {0};
    vipo_goal_request request;
    vipo_goal_request_default(&request);
    request.obs = r->obs.data && r->info.obs ? &r->obs : NULL;
    request.goal = r->goal.data && r->info.goal ? &r->goal : NULL;
    request.vector = r->vector.data ? &r->vector : NULL;
    request.samples = options->samples                                ? options->samples
                      : r->obs.data && r->obs.shape[0] <= MAX_SAMPLES ? (int)r->obs.shape[0]
                                                                      : 1;
    request.sampler = options->sampler;
    request.steps = options->steps;
    request.seed = options->seed;
    request.noise = r->noise.data ? &r->noise : NULL;
    request.step_noise = r->step_noise.data ? &r->step_noise : NULL;
    request.callbacks = tool_callbacks(t);
    for (int i = 0; i < options->repeat; i++) {
        vipo_goal_actions_free(&r->actions);
        if (interrupt_signal()) return tool_interrupted(t);
        if (vipo_goal_policy_act(r->policy, &request, &r->actions, &error) != VIPO_OK)
            return tool_library_error(t, &error);
        r->seconds[i] = r->actions.seconds;
        if (options->repeat > 1) progress_update(&t->bar, "calls", i + 1, options->repeat);
    }
    drop_first_axis(&r->actions.actions);
    if (options->out && vipo_npy_write(options->out, &r->actions.actions, &error) != VIPO_OK)
        return tool_library_error(t, &error);
    return print_results(t, options, r);
}

static int run(tool *t, void *values)
{
    act_options *const options = values;
    vipo_error error = {0};
    act_run r = {0};
    int status = check(t, options);
    if (status != STATUS_DONE) return status;
    r.seconds = calloc((size_t)options->repeat, sizeof *r.seconds);
    if (!r.seconds) return tool_fail(t, "out of memory for the times");
    const vipo_goal_policy_options opening = {.compute = options->compute,
                                              .threads = options->common.threads};
    const vipo_callbacks callbacks = tool_callbacks(t);
    if (vipo_goal_policy_open(&r.policy, options->model, &opening, &callbacks, &error) != VIPO_OK) {
        status = tool_library_error(t, &error);
    } else {
        vipo_goal_policy_get_info(r.policy, &r.info);
        status = read_inputs(t, options, &r);
    }
    if (status == STATUS_DONE) status = act(t, options, &r);
    close_run(&r);
    return status;
}

const command command_act = {
    .name = "act",
    .summary = "observation, goal picture and policy -> actions",
    .usage = "--model DIR --obs FILE --goal FILE --out FILE.npy [options]",
    .description =
        "Asks an action policy what to do: a goal-conditioned diffusion policy or behaviour cloning.",
    .groups = groups,
    .glossary = &samplers,
    .examples =
        "vipo act -m policy --obs O.npy --goal G.npy -o A.npy\n"
        "vipo act -m policy --obs frame.png --goal goal.png --sampler ddim --steps 8 --seed 3 --json\n"
        "vipo act -m policy --obs O.npy --goal G.npy --sampler ddpm --noise N.npy --step-noise S.npy -o "
        "A.npy",
    .values_size = sizeof(act_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
