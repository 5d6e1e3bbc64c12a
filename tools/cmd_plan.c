/* vipo plan: one observation and a task text -> the next frames. */
#include <math.h>

#include "commands.h"
#include "interrupt.h"
#include "process.h"
#include "sampler.h"
#include "session.h"

typedef struct plan_options {
    common_options common;
    input_options inputs;
    string_list out;
    int samples, best_of, score;
    uint64_t seed;
    vipo_rng rng;
    const char *noise, *step_noise, *trace, *warm;
    int from_step, executed;
    vipo_sampler_options sampler;
    vipo_write_options write;
} plan_options;

/* Without "none". */
static const char *score_name(int i)
{
    return vipo_score_name(i + 1);
}

/* In the order of vipo_rng. */
static const char *rng_name(int i)
{
    static const char *const names[] = {"philox", "torch"};
    return i < 2 ? names[i] : NULL;
}

#define AT(member) offsetof(plan_options, member)
static const option output_options[] = {
    {.name = "out",
     .letter = 'o',
     .placeholder = "FILE",
     .kind = OPTION_STRINGS,
     .offset = AT(out),
     .endings = "gif mp4 png npy",
     .help = "where to write the plan; may be repeated. .gif and .mp4: the condition frame, then the plan; "
             ".png: a contact sheet; .npy: float32 [samples][frames][H][W][3], not clipped"},
    {.name = "trace",
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(trace),
     .endings = "jsonl",
     .help = "what the sampler did, step by step, as JSON lines"},
    {.name = "fps",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(write.fps),
     .min = 0.1,
     .max = 100,
     .help = "frames per second of .gif and .mp4"},
    {.name = "scale",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(write.scale),
     .min = 1,
     .max = 64,
     .default_text = "frames about 128 pixels high",
     .help = "enlargement of pictures"},
    {.name = "caption",
     .placeholder = "TEXT",
     .kind = OPTION_STRING,
     .offset = AT(write.caption),
     .help = "a line of text in .png and .gif"},
    {0},
};
static const option noise_options[] = {
    {.name = "seed",
     .placeholder = "N",
     .kind = OPTION_UINT64,
     .offset = AT(seed),
     .help = "of the noise; the same seed gives the same plan"},
    {.name = "rng",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(rng),
     .choice = rng_name,
     .help = "whose numbers; torch repeats PyTorch's on a CPU after torch.manual_seed"},
    {.name = "samples",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(samples),
     .min = 1,
     .max = 1024,
     .default_text = "1, or as many as --noise, --cond or --warm hold",
     .help = "plans to make from different noise"},
    {.name = "best-of",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(best_of),
     .min = 1,
     .max = 1024,
     .default_text = "",
     .help = "in place of --samples: make N plans from different noise and keep the one of the best score"},
    {.name = "score",
     .placeholder = "NAME",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(score),
     .choice = score_name,
     .help =
         "of --best-of: consensus, nearness to the other plans; or denoising, how well the network recovers "
         "the plan from noise, 3 evaluations per plan"},
    {.name = "noise",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(noise),
     .help = "starting noise, float32 [samples][frames][H][W][3]"},
    {.name = "step-noise",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(step_noise),
     .help = "ddpm: the noise of each step, float32 [timesteps - 1][samples][frames][H][W][3]"},
    {0},
};
static const option warm_options[] = {
    {.name = "warm",
     .placeholder = "PLAN.npy",
     .kind = OPTION_STRING,
     .offset = AT(warm),
     .help = "start from a plan made before, float32 [samples or 1][frames][H][W][3] as --out writes it, "
             "in place of pure noise: fewer steps are left"},
    {.name = "from-step",
     .placeholder = "T",
     .kind = OPTION_INT,
     .offset = AT(from_step),
     .min = 0,
     .max = 100000,
     .default_text = "35 % of the timesteps",
     .help = "timestep that the plan is noised to; more noise keeps less of it. draft-target: one less than "
             "a multiple of the draft stride"},
    {.name = "executed",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(executed),
     .min = 0,
     .max = 10000,
     .help = "frames of it that have been carried out: the plan is moved on by as many, its last frame "
             "repeated"},
    {0},
};
static const option_group groups[] = {
    {"Input", input_option_table, AT(inputs)},
    {"Output", output_options, 0},
    {"Noise", noise_options, 0},
    {"Warm start", warm_options, 0},
    {"Sampler", sampler_option_table, AT(sampler)},
    {"Sampler draft-target", draft_target_option_table, AT(sampler)},
    {"Common", common_option_table, AT(common)},
    {0},
};

static void set_defaults(void *values)
{
    plan_options *const options = values;
    options->from_step = -1;
    vipo_sampler_default_options(&options->sampler);
    vipo_write_default_options(&options->write);
}

static int check(tool *t, const plan_options *options)
{
    char message[MESSAGE_SIZE];
    const int status = input_check(t, &options->inputs);
    if (status != STATUS_DONE) return status;
    if (!sampler_check(&options->sampler, t->use, message)) return tool_usage_error(t, "%s", message);
    if (!options->warm && option_was_given(t->use, "from-step"))
        return tool_usage_error(t, "--from-step needs the plan to start from: --warm PLAN.npy");
    if (!options->warm && option_was_given(t->use, "executed"))
        return tool_usage_error(t, "--executed needs the plan that was carried out: --warm PLAN.npy");
    if (options->best_of && option_was_given(t->use, "samples"))
        return tool_usage_error(t, "give one of --samples and --best-of, not both");
    if (!options->best_of && option_was_given(t->use, "score"))
        return tool_usage_error(t, "--score chooses among the plans of --best-of N, which is missing");
    if (options->out.count == 0 && !options->trace && !t->common->json)
        return tool_usage_error(t, "give at least one --out FILE (.gif .mp4 .png .npy)");
    for (int i = 0; i < options->out.count; i++)
        if (!vipo_plan_can_write(options->out.items[i]))
            return tool_usage_error(t, "--out %.300s: the name must end in .gif, .mp4, .png or .npy",
                                    options->out.items[i]);
    const char *outputs[LIST_CAPACITY + 1];
    for (int i = 0; i < options->out.count; i++) outputs[i] = options->out.items[i];
    outputs[options->out.count] = options->trace;
    return tool_check_outputs(t, outputs, options->out.count + 1);
}

/* What auto chose, and why. */
static json_t *choice_json(const vipo_sampler_choice *choice)
{
    json_t *const out = json_object(), *const batch = json_object(), *const candidates = json_array();
    json_object_set_new(batch, "fixed", json_number(choice->seconds_fixed));
    json_object_set_new(batch, "per_row", json_number(choice->seconds_per_row));
    for (int i = 0; i < choice->n_candidates; i++) {
        json_t *const candidate = json_object();
        json_object_set_new(candidate, "sampler", json_text(choice->candidates[i].sampler));
        json_object_set_new(candidate, "distance", json_number(choice->candidates[i].distance));
        json_object_set_new(candidate, "predicted_seconds", json_number(choice->candidates[i].seconds));
        json_array_append_new(candidates, candidate);
    }
    json_object_set_new(out, "chosen", json_text(choice->candidates[choice->chosen].sampler));
    json_object_set_new(out, "distance", json_number(choice->distance));
    json_object_set_new(out, "within", json_boolean(choice->within));
    json_object_set_new(out, "batch_seconds", batch);
    json_object_set_new(out, "measure_seconds", json_number(choice->measure_seconds));
    json_object_set_new(out, "candidates", candidates);
    return out;
}

/* All scores, and which plan the outputs hold. */
static json_t *best_of_json(const plan_options *options, const vipo_plan *plan)
{
    json_t *const out = json_object(), *const scores = json_array();
    for (size_t i = 0; i < vipo_array_size(&plan->scores); i++)
        json_array_append_new(scores, json_number((double)plan->scores.data[i]));
    json_object_set_new(out, "score", json_text(score_name(options->score)));
    json_object_set_new(out, "scores", scores);
    json_object_set_new(out, "best", json_integer(plan->best));
    json_object_set_new(out, "evaluations", json_integer(plan->score_evaluations));
    json_object_set_new(out, "seconds", json_number(plan->score_seconds));
    return out;
}

/* What the outputs hold: every sample, or the best one. A view, not to be freed. */
static vipo_array shown_video(const vipo_plan *plan)
{
    vipo_array video = plan->video;
    if (!plan->scores.data) return video;
    video.data += (size_t)plan->best * (vipo_array_size(&video) / video.shape[0]);
    video.shape[0] = 1;
    return video;
}

/* What was asked for, and what the system says was most: mapped weight files while they are read count there. */
static json_t *memory_json(const vipo_plan *plan)
{
    json_t *const out = json_object();
    const double resident = process_peak_bytes();
    json_object_set_new(out, "weights", json_integer((json_int_t)plan->weight_bytes));
    json_object_set_new(out, "arena", json_integer((json_int_t)plan->arena_bytes));
    json_object_set_new(out, "scratch", json_integer((json_int_t)plan->scratch_bytes));
    json_object_set_new(out, "sampler", json_integer((json_int_t)plan->sampler_bytes));
    json_object_set_new(out, "resident_peak",
                        resident < 0 ? json_null() : json_integer((json_int_t)resident));
    return out;
}

static int print_json(tool *t, const plan_options *options, const session *s, const vipo_request *request,
                      const vipo_plan *plan, double first_step)
{
    json_t *const out = json_object(), *const files = json_array(), *const video = json_object();
    json_object_set_new(out, "sampler", json_text(plan->sampler));
    if (plan->choice) json_object_set_new(out, "auto", choice_json(plan->choice));
    json_object_set_new(out, "samples", json_integer(request->samples));
    if (plan->scores.data) json_object_set_new(out, "best_of", best_of_json(options, plan));
    json_object_set_new(out, "seed", json_integer((json_int_t)request->seed));
    json_object_set_new(out, "rng", json_text(rng_name((int)options->rng)));
    json_object_set_new(out, "guidance", json_number(request->sampler.guidance));
    json_object_set_new(out, "from_step", json_integer(plan->from_step));
    json_object_set_new(out, "calls", json_integer(plan->calls));
    json_object_set_new(out, "evaluations", json_integer(plan->evaluations));
    json_object_set_new(out, "network_rows", json_integer(plan->network_rows));
    json_object_set_new(out, "seconds", json_number(plan->seconds));
    json_object_set_new(out, "text_seconds", json_number(plan->text_seconds));
    json_object_set_new(out, "rounds", json_integer(plan->rounds));
    json_object_set_new(out, "drafted", json_integer(plan->drafted));
    json_object_set_new(out, "accepted", json_integer(plan->accepted));
    json_object_set_new(out, "fallbacks", json_integer(plan->fallbacks));
    json_object_set_new(out, "error_estimate", json_number(plan->error_estimate));
    json_object_set_new(out, "calibrated", json_boolean(plan->calibrated));
    json_object_set_new(out, "verify_calls", json_integer(plan->verify_calls));
    json_object_set_new(out, "verify_evaluations", json_integer(plan->verify_evaluations));
    json_object_set_new(out, "verified", json_integer(plan->verified));
    json_object_set_new(out, "agreed", json_integer(plan->agreed));
    json_object_set_new(out, "peak_bytes", json_integer((json_int_t)plan->peak_bytes));
    json_object_set_new(out, "memory", memory_json(plan));
    json_object_set_new(out, "start_seconds", json_number(first_step));
    session_describe(s, out);
    for (int i = 0; i < options->out.count; i++)
        json_array_append_new(files, json_text(options->out.items[i]));
    json_object_set_new(out, "outputs", files);
    const vipo_array shown = shown_video(plan);
    json_object_set_new(video, "shape", json_shape(&shown));
    json_object_set_new(out, "video", video);
    return tool_print_json(t, out);
}

static int print_summary(tool *t, const plan_options *options, const session *s, const vipo_plan *plan)
{
    char bytes[32];
    progress_erase(&t->bar);
    printf("%s: %d call%s, %d evaluation%s, %.2f s", plan->sampler, plan->calls, plan->calls == 1 ? "" : "s",
           plan->evaluations, plan->evaluations == 1 ? "" : "s", plan->seconds);
    printf(" (text %.2f s, load %.2f s), memory %s\n", plan->text_seconds, s->load_seconds,
           format_bytes((double)plan->peak_bytes, bytes, sizeof bytes));
    if (plan->rounds > 0) {
        const vipo_sampler_options *const used = &options->sampler;
        const double values = (double)(vipo_array_size(&plan->video) / plan->video.shape[0]);
        printf("accepted %d of %d drafts in %d round%s; threshold %g", plan->accepted, plan->drafted,
               plan->rounds, plan->rounds == 1 ? "" : "s", used->threshold);
        if (used->threshold_growth != 0) printf(" %+g a round", used->threshold_growth);
        printf(" (L2; rms %.4f)%s\n", used->threshold / sqrt(values),
               plan->calibrated ? ", calibrated estimates" : "");
    }
    if (plan->verified > 0)
        printf("%d of %d decisions as with true distances (%d more calls, %d evaluations)\n", plan->agreed,
               plan->verified, plan->verify_calls, plan->verify_evaluations);
    if (plan->scores.data) {
        printf("best of %zu by %s: plan %d, counted from 0; score %.4g", plan->scores.shape[0],
               score_name(options->score), plan->best, (double)plan->scores.data[plan->best]);
        if (plan->score_evaluations) printf(", %d further evaluations", plan->score_evaluations);
        printf(", %.2f s\n", plan->score_seconds);
    }
    if (plan->choice)
        printf("chosen by auto: %s, %s distance %g; measuring took %.2f s\n",
               plan->choice->candidates[plan->choice->chosen].sampler,
               plan->choice->within ? "within" : "the nearest, none is within", plan->choice->distance,
               plan->choice->measure_seconds);
    for (int i = 0; i < options->out.count; i++) tool_print_file(t, options->out.items[i]);
    if (options->trace) tool_print_file(t, options->trace);
    return STATUS_DONE;
}

static int run(tool *t, void *values)
{
    plan_options *const options = values;
    int status = check(t, options);
    if (status != STATUS_DONE) return status;

    session s = {0};
    vipo_array noise = {0}, step_noise = {0}, warm = {0};
    vipo_plan plan = {0};
    vipo_error error = {0};
    if (options->noise && vipo_npy_read(options->noise, &noise, &error) != VIPO_OK) goto fail;
    if (options->warm && vipo_npy_read(options->warm, &warm, &error) != VIPO_OK) goto fail;
    if (options->step_noise && vipo_npy_read(options->step_noise, &step_noise, &error) != VIPO_OK) goto fail;
    if (options->trace && vipo_output_open(&t->trace, options->trace, &error) != VIPO_OK) goto fail;
    status = session_open(t, &s, &options->inputs);
    if (status != STATUS_DONE) goto done;

    vipo_request request;
    vipo_request_default(&request);
    request.cond = &s.cond;
    request.text = options->inputs.text;
    request.tokens = s.tokens.data ? &s.tokens : NULL;
    request.seed = options->seed;
    request.rng = options->rng;
    request.noise = noise.data ? &noise : NULL;
    request.step_noise = step_noise.data ? &step_noise : NULL;
    request.warm = warm.data ? &warm : NULL;
    request.from_step = options->from_step;
    request.executed = options->executed;
    request.sampler = options->sampler;
    request.callbacks = tool_callbacks(t);
    request.samples = options->best_of ? options->best_of : options->samples;
    request.score = options->best_of ? (vipo_score)(options->score + 1) : VIPO_SCORE_NONE;
    if (!request.samples) { /* as many as the inputs hold */
        const size_t frames = s.cond.shape[0], plans = warm.rank == 5 ? warm.shape[0] : 1;
        const size_t held = noise.data ? noise.shape[0] : plans > frames ? plans : frames;
        request.samples = held >= 1 && held <= 1024 ? (int)held : 1;
    }
    vipo_model_info info;
    vipo_model_get_info(s.model, &info);
    for (int i = 0; i < options->out.count; i++)
        if (vipo_plan_write_check(options->out.items[i], options->best_of ? 1 : request.samples, &info,
                                  &options->write, &error) != VIPO_OK)
            goto fail;
    const double called = clock_seconds();
    if (vipo_planner_plan(s.planner, &request, &plan, &error) != VIPO_OK) goto fail;
    const double measured = plan.choice ? plan.choice->measure_seconds : 0,
                 first_step = called - t->begun + measured + plan.start_seconds;
    tool_note(t, "first step %.2f s after the start of the process", first_step);

    progress_erase(&t->bar);
    if (t->trace_error.status != VIPO_OK) goto fail;
    const vipo_array shown = shown_video(&plan);
    for (int i = 0; i < options->out.count; i++) {
        if (interrupt_signal()) goto interrupted;
        if (vipo_plan_write(options->out.items[i], &shown, &s.cond, &options->write, &error) != VIPO_OK)
            goto fail;
        t->has_written = true;
    }
    if (interrupt_signal()) goto interrupted;
    if (options->trace && vipo_output_commit(&t->trace, &error) != VIPO_OK) goto fail;
    status = t->common->json ? print_json(t, options, &s, &request, &plan, first_step)
                             : print_summary(t, options, &s, &plan);
    goto done;

interrupted:
    status = tool_interrupted(t);
    goto done;
fail:
    status = tool_library_error(t, &error);
done:
    vipo_output_abandon(&t->trace);
    vipo_plan_free(&plan);
    vipo_array_free(&noise);
    vipo_array_free(&step_noise);
    vipo_array_free(&warm);
    session_close(&s);
    return status;
}

const command command_plan = {
    .name = "plan",
    .summary = "imagine the next frames for an observation and a task",
    .usage = "--model DIR --image FILE --text TEXT --out FILE [options]",
    .description = "Imagines the frames that follow the observation when the task is carried out, and writes "
                   "them as animation, video, contact sheet or array.",
    .groups = groups,
    .glossary = &sampler_glossary,
    .examples =
        "vipo plan -m models/metaworld-64 -i examples/frames/00_door-open_corner_seed1000.png \\\n"
        "     -t \"door open\" -o plan.gif -o plan.png\n"
        "vipo plan -m models/metaworld-64 -i frame.png -t \"door open\" -s draft-target -o plan.mp4 --json\n"
        "vipo plan -m models/metaworld-64 -i next.png -t \"door open\" -s ab2 --warm V.npy --executed 2 -o "
        "W.npy\n"
        "vipo plan -m models/metaworld-64 --cond C.npy --tokens K.npy --noise N.npy -s ddim -n 10 -o V.npy",
    .values_size = sizeof(plan_options),
    .common = AT(common),
    .set_defaults = set_defaults,
    .run = run,
};
