/* vipo calibrate: how far draft-target-lazy's estimated distances are from the true ones on this model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "frames.h"
#include "interrupt.h"
#include "sampler.h"
#include "session.h"

enum { MAX_SEEDS = 1000, MAX_FRAMES = 4096, N_THRESHOLDS = 5 };

/* Agreement is shown at these: below, around and at what the paper uses (4 to 12). */
static const double thresholds[N_THRESHOLDS] = {0.5, 1, 2, 4, 11};

typedef struct calibrate_options {
    common_options common;
    input_options inputs; /* model, image, text, compute */
    const char *frames;
    int seeds, draft_stride, target_stride;
    bool dry_run;
} calibrate_options;

#define AT(member) offsetof(calibrate_options, member)
static const option input_options_here[] = {
    {.name = "model",
     .letter = 'm',
     .placeholder = "DIR",
     .kind = OPTION_STRING,
     .offset = AT(inputs.model),
     .required = true,
     .help = "model folder; its config.json gets the result"},
    {.name = "frames",
     .letter = 'f',
     .placeholder = "FILE.json",
     .kind = OPTION_STRING,
     .offset = AT(frames),
     .endings = "json",
     .help =
         "observations to measure on: an array of objects with members file (PNG or JPEG, relative to this "
         "file's folder) and text"},
    {.name = "image",
     .letter = 'i',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(inputs.image),
     .endings = "png jpg jpeg",
     .help = "in place of --frames: one observation, PNG or JPEG"},
    {.name = "text",
     .letter = 't',
     .placeholder = "TEXT",
     .kind = OPTION_STRING,
     .offset = AT(inputs.text),
     .help = "with --image: its task"},
    {.name = "compute",
     .placeholder = "NAME",
     .kind = OPTION_STRING,
     .offset = AT(inputs.compute),
     .choice = compute_name,
     .default_text = "$VIPO_COMPUTE, else the fastest in float32",
     .help = "kernels: ref, avx2, avx512 or amx"},
    {0},
};
static const option measurement_options[] = {
    {.name = "seeds",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(seeds),
     .min = 1,
     .max = MAX_SEEDS,
     .help = "plans per observation, from seeds 0 to N - 1"},
    {.name = "draft-stride",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(draft_stride),
     .min = 1,
     .max = 100000,
     .help = "timesteps of a draft step"},
    {.name = "target-stride",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(target_stride),
     .min = 1,
     .max = 100000,
     .help = "timesteps of a target step; divides the draft's"},
    {.name = "dry-run",
     .kind = OPTION_FLAG,
     .offset = AT(dry_run),
     .help = "measure and print, store nothing"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_options_here, 0},
    {"Measurement", measurement_options, 0},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    calibrate_options *const options = values;
    vipo_sampler_options sampler;
    vipo_sampler_default_options(&sampler);
    options->seeds = 2;
    options->draft_stride = sampler.draft_stride;
    options->target_stride = sampler.target_stride;
}

static int check(tool *t, const calibrate_options *o)
{
    char path[4096];
    if (o->frames && (o->inputs.image || o->inputs.text))
        return tool_usage_error(t, "give one of --frames and --image with --text, not both");
    if (!o->frames && (!o->inputs.image || !o->inputs.text))
        return tool_usage_error(t, "--frames FILE.json or --image FILE with --text TEXT is missing (--help "
                                   "shows the usage)");
    if (o->target_stride >= o->draft_stride || o->draft_stride % o->target_stride)
        return tool_usage_error(t,
                                "the target stride must be less than the draft stride and divide it, found "
                                "%d and %d",
                                o->target_stride, o->draft_stride);
    snprintf(path, sizeof path, "%s/config.json", o->inputs.model);
    const char *const outputs[] = {path};
    struct stat info;
    const bool wanted =
        !o->dry_run && stat(path, &info) == 0; /* what is not there is found by opening the model */
    return wanted ? tool_check_outputs(t, outputs, 1) : STATUS_DONE;
}

/* ---- measuring --------------------------------------------------------------------------------------------- */

/* The round of an accept-all plan: logarithms of estimate / distance and of the distance, per token. */
typedef struct measured {
    int frame;
    double log_ratio[VIPO_MAX_RATIOS], log_distance[VIPO_MAX_RATIOS];
} measured;

typedef struct measurement {
    vipo_callbacks tool; /* of the tool, which the wrappers pass on to */
    int n_plans, plan;   /* all; the present one */
    int tokens;          /* with an estimate */
    measured *plans;
    char problem[160]; /* what kept a round from being used */
} measurement;

static void on_log(void *user, vipo_log_level level, const char *line)
{
    const measurement *const m = user;
    m->tool.log(m->tool.user, level, line);
}

static bool on_cancelled(void *user)
{
    const measurement *const m = user;
    return m->tool.cancelled(m->tool.user);
}

static void on_progress(void *user, const char *phase, double done, double total)
{
    const measurement *const m = user;
    (void)phase;
    m->tool.progress(m->tool.user, "calibrate", m->plan + done / total, m->n_plans);
}

/* The one round of a plan. */
static void on_trace(void *user, const char *line)
{
    measurement *const m = user;
    measured *const plan = &m->plans[m->plan];
    json_t *const event = json_loads(line, 0, NULL);
    const json_t *const estimates = json_object_get(event, "distances"), *const distances = json_object_get(
                                                                             event, "true_distances");
    if (distances) {
        m->tokens = (int)json_array_size(distances);
        for (int i = 0; i < m->tokens && i < VIPO_MAX_RATIOS; i++) {
            const double estimate = json_number_value(json_array_get(estimates, (size_t)i)),
                         distance = json_number_value(json_array_get(distances, (size_t)i));
            if (!(estimate > 0 && distance > 0) && !m->problem[0])
                snprintf(m->problem, sizeof m->problem,
                         "token %d of plan %d: estimate %g and distance %g have no ratio", i + 1, m->plan,
                         estimate, distance);
            plan->log_ratio[i] = log(estimate / distance);
            plan->log_distance[i] = log(distance);
        }
    }
    json_decref(event);
}

/* Plans every frame with every seed, all drafts accepted, and keeps what the trace tells. */
static vipo_status measure(tool *t, const calibrate_options *options, const frame_list *frames,
                           const session *s, measurement *m, vipo_error *error)
{
    vipo_request request;
    vipo_request_default(&request);
    request.sampler.name = "draft-target-lazy";
    request.sampler.chunk = 10000; /* one round */
    request.sampler.draft_stride = options->draft_stride;
    request.sampler.target_stride = options->target_stride;
    request.sampler.threshold = 1e12;
    request.sampler.lazy_calibrated = false;
    request.sampler.verify = true;
    m->tool = tool_callbacks(t);
    request.callbacks = (vipo_callbacks){
        .user = m, .log = on_log, .progress = on_progress, .trace = on_trace, .cancelled = on_cancelled};
    m->plan = 0;
    for (int i = 0; i < frames->count; i++) {
        request.cond = &frames->list[i].cond;
        request.text = frames->list[i].text;
        for (int seed = 0; seed < options->seeds; seed++, m->plan++) {
            vipo_plan plan;
            request.seed = (uint64_t)seed;
            m->plans[m->plan].frame = i;
            const vipo_status status = vipo_planner_plan(s->planner, &request, &plan, error);
            if (status != VIPO_OK) return status;
            tool_note(t, "frame %d of %d, seed %d: %.2f s", i + 1, frames->count, seed, plan.seconds);
            vipo_plan_free(&plan);
        }
    }
    return VIPO_OK;
}

/* ---- the result -------------------------------------------------------------------------------------------- */

typedef struct agreement {
    int tokens[VIPO_MAX_RATIOS][N_THRESHOLDS]; /* leave-one-out, plans of n_plans */
    int all[N_THRESHOLDS], uncalibrated[N_THRESHOLDS], decisions;
} agreement;

/* Mean logarithm of token i's ratio over the plans of other frames; over other plans if there is one frame. */
static double left_out_mean(const measurement *m, int n_frames, int left_out, int i)
{
    double sum = 0;
    int n = 0;
    for (int p = 0; p < m->n_plans; p++) {
        const bool left = n_frames > 1 ? m->plans[p].frame == m->plans[left_out].frame : p == left_out;
        if (left) continue;
        sum += m->plans[p].log_ratio[i];
        n++;
    }
    return n > 0 ? sum / n : 0;
}

static void summarise(const measurement *m, const calibrate_options *options, int n_frames,
                      vipo_calibration *c, agreement *a)
{
    *c = (vipo_calibration){.draft_stride = options->draft_stride,
                            .target_stride = options->target_stride,
                            .plans = m->n_plans,
                            .n_ratios = m->tokens};
    memset(a, 0, sizeof *a);
    a->decisions = m->n_plans * m->tokens;
    for (int i = 0; i < m->tokens; i++) {
        double sum = 0, squares = 0;
        for (int p = 0; p < m->n_plans; p++) sum += m->plans[p].log_ratio[i];
        const double mean = sum / m->n_plans;
        for (int p = 0; p < m->n_plans; p++) squares += pow(m->plans[p].log_ratio[i] - mean, 2);
        c->ratios[i] = exp(mean);
        c->log_spread[i] = m->n_plans > 1 ? sqrt(squares / (m->n_plans - 1)) : 0;
        for (int p = 0; p < m->n_plans; p++) {
            const measured *const plan = &m->plans[p];
            const double estimate = plan->log_distance[i] + plan->log_ratio[i],
                         calibrated = estimate - left_out_mean(m, n_frames, p, i);
            for (int k = 0; k < N_THRESHOLDS; k++) {
                const double threshold = log(thresholds[k]);
                const bool truth = plan->log_distance[i] <= threshold;
                const bool same = (calibrated <= threshold) == truth;
                a->tokens[i][k] += same;
                a->all[k] += same;
                a->uncalibrated[k] += (estimate <= threshold) == truth;
            }
        }
    }
}

static double mean_distance(const measurement *m, int i)
{
    double sum = 0;
    for (int p = 0; p < m->n_plans; p++) sum += m->plans[p].log_distance[i];
    return exp(sum / m->n_plans);
}

static void print_agreement(const char *title, const int *agreed, int of)
{
    printf("%-32s", title);
    for (int k = 0; k < N_THRESHOLDS; k++) printf("  %5.1f%%", 100.0 * agreed[k] / of);
    putchar('\n');
}

static void print_table(const measurement *m, const vipo_calibration *c, const agreement *a, int timesteps,
                        int n_frames, int seeds)
{
    printf("draft-target-lazy %d/%d on %d plan%s: %d frame%s, %d seed%s\n\n", c->draft_stride,
           c->target_stride, m->n_plans, m->n_plans == 1 ? "" : "s", n_frames, n_frames == 1 ? "" : "s",
           seeds, seeds == 1 ? "" : "s");
    printf("   t    ratio   spread  distance  agreement at threshold\n%32s", "");
    for (int k = 0; k < N_THRESHOLDS; k++) printf("  %6g", thresholds[k]);
    putchar('\n');
    for (int i = 0; i < c->n_ratios; i++) {
        printf("%4d  %7.3f  %5.1f %%  %8.3f", timesteps - 1 - (i + 1) * c->draft_stride, c->ratios[i],
               100 * c->log_spread[i], mean_distance(m, i));
        for (int k = 0; k < N_THRESHOLDS; k++) printf("  %6d", a->tokens[i][k]);
        putchar('\n');
    }
    print_agreement(n_frames > 1 ? "all, by other frames' ratios" : "all, by other seeds' ratios", a->all,
                    a->decisions);
    print_agreement("all, without ratios", a->uncalibrated, a->decisions);
}

static json_t *json_counts(const int *counts)
{
    json_t *const list = json_array();
    for (int k = 0; k < N_THRESHOLDS; k++) json_array_append_new(list, json_integer(counts[k]));
    return list;
}

static int print_json(tool *t, const calibrate_options *options, const measurement *m,
                      const vipo_calibration *c, const agreement *a, int timesteps, int n_frames)
{
    json_t *const out = json_object(), *const tokens = json_array(), *const shown = json_array();
    for (int k = 0; k < N_THRESHOLDS; k++) json_array_append_new(shown, json_number(thresholds[k]));
    for (int i = 0; i < c->n_ratios; i++) {
        json_t *const token = json_object();
        json_object_set_new(token, "t", json_integer(timesteps - 1 - (i + 1) * c->draft_stride));
        json_object_set_new(token, "ratio", json_number(c->ratios[i]));
        json_object_set_new(token, "log_spread", json_number(c->log_spread[i]));
        json_object_set_new(token, "distance", json_number(mean_distance(m, i)));
        json_object_set_new(token, "agreed", json_counts(a->tokens[i]));
        json_array_append_new(tokens, token);
    }
    json_object_set_new(out, "model", json_text(options->inputs.model));
    json_object_set_new(out, "draft_stride", json_integer(c->draft_stride));
    json_object_set_new(out, "target_stride", json_integer(c->target_stride));
    json_object_set_new(out, "frames", json_integer(n_frames));
    json_object_set_new(out, "seeds", json_integer(options->seeds));
    json_object_set_new(out, "plans", json_integer(c->plans));
    json_object_set_new(out, "tokens", tokens);
    json_object_set_new(out, "thresholds", shown);
    json_object_set_new(out, "decisions", json_integer(a->decisions));
    json_object_set_new(out, "agreed", json_counts(a->all));
    json_object_set_new(out, "agreed_uncalibrated", json_counts(a->uncalibrated));
    json_object_set_new(out, "stored", json_boolean(!options->dry_run));
    return tool_print_json(t, out);
}

/* Strides that the model cannot have are found before the first plan; the library says what is wrong with others. */
static int check_model(tool *t, const calibrate_options *o, int timesteps)
{
    const int ratios = timesteps / o->draft_stride - 1;
    if (timesteps % o->draft_stride == 0 && (ratios < 1 || ratios > VIPO_MAX_RATIOS))
        return tool_fail(t, "draft stride %d makes %d tokens of %d timesteps, expected 2 to %d",
                         o->draft_stride, ratios + 1, timesteps, VIPO_MAX_RATIOS + 1);
    return STATUS_DONE;
}

static int run(tool *t, void *values)
{
    calibrate_options *const options = values;
    int status = check(t, options);
    if (status != STATUS_DONE) return status;

    session s = {0};
    frame_list frames = {0};
    measurement m = {.n_plans = 0};
    agreement agreed;
    vipo_calibration calibration;
    vipo_model_info info;
    vipo_error error = {0};
    /* the observations before the model: a mistake there should not cost the time of loading */
    status = options->frames
                 ? frames_read(t, &frames, options->frames, options->inputs.model, MAX_FRAMES)
                 : frames_add(t, &frames, options->inputs.image, options->inputs.text, options->inputs.model);
    if (status != STATUS_DONE) goto done;
    status = session_open_model(t, &s, &options->inputs);
    if (status != STATUS_DONE) goto done;
    vipo_model_get_info(s.model, &info);
    status = check_model(t, options, info.timesteps);
    if (status != STATUS_DONE) goto done;
    m.n_plans = frames.count * options->seeds;
    m.plans = calloc((size_t)m.n_plans, sizeof *m.plans);
    if (!m.plans) {
        status = tool_fail(t, "out of memory for the measurements");
        goto done;
    }
    if (measure(t, options, &frames, &s, &m, &error) != VIPO_OK) goto fail;
    progress_erase(&t->bar);
    if (m.problem[0] || m.tokens == 0) {
        status = tool_fail(t, "%s", m.problem[0] ? m.problem : "out of memory for the measurements");
        goto done;
    }
    summarise(&m, options, frames.count, &calibration, &agreed);
    if (interrupt_signal()) {
        status = tool_interrupted(t);
        goto done;
    }
    if (!options->dry_run &&
        vipo_model_store_calibration(options->inputs.model, &calibration, &error) != VIPO_OK)
        goto fail;
    if (t->common->json) {
        status = print_json(t, options, &m, &calibration, &agreed, info.timesteps, frames.count);
    } else {
        print_table(&m, &calibration, &agreed, info.timesteps, frames.count, options->seeds);
        if (!options->dry_run && !t->common->quiet) {
            print_safe(stdout, options->inputs.model);
            puts("/config.json: calibration stored");
        }
    }
    goto done;

fail:
    status = tool_library_error(t, &error);
done:
    free(m.plans);
    frames_free(&frames);
    session_close(&s);
    return status;
}

const command command_calibrate = {
    .name = "calibrate",
    .summary = "measure how draft-target-lazy estimates on a model, and store it",
    .usage = "--model DIR (--frames FILE.json | --image FILE --text TEXT) [options]",
    .description =
        "Plans with every draft accepted, compares draft-target-lazy's estimated distances with the true "
        "ones, "
        "and stores the mean ratio of each token in the model's config.json, where plan and compare find it. "
        "The spread is the standard deviation of the ratio over plans; agreement is the number of plans "
        "whose "
        "estimate, divided by the ratio of the other frames, falls on the same side of a threshold as the "
        "true "
        "distance.",
    .groups = groups,
    .examples = "vipo calibrate -m models/metaworld-64 -f examples/frames/frames.json\n"
                "vipo calibrate -m models/metaworld-64 -i frame.png -t \"door open\" --seeds 8 --dry-run",
    .values_size = sizeof(calibrate_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
