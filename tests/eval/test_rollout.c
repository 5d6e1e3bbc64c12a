/* Episodes: pure functions of their settings, what a policy is given, when plans are made, how an episode ends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/rollout.h"
#include "eval/view.h"
#include "support/files.h"

enum { MOST = 64 };

/* ---- a policy that writes down what happens to it ---------------------------------------------------------- */

typedef struct diary {
    int loads, opens, resets, acts, closes;
    int plans, plan_step[MOST], plan_seen_at[MOST], frames;
    uint64_t key, plan_key[MOST];
    vipo_crop crop;
    double first_frame[MOST], last_frame[MOST]; /* means */
    double observation_x[MOST];
    bool depth_negative, mask_seen, pictures;
    int picture_steps;
    /* what it does */
    int still_from, fail_at, nan_at;
} diary;

static diary *the_diary;

static vipo_status open_session(void **session, const void *model, const vipo_predictor_place *place,
                                vipo_error *error)
{
    (void)model, (void)error;
    *session = the_diary;
    the_diary->opens++;
    the_diary->crop = place->crop;
    assert_string_equal(place->task, "handle-press");
    assert_string_equal(place->text, "handle press");
    assert_int_equal(place->height, 240);
    assert_int_equal(place->width, 320);
    return VIPO_OK;
}

static void close_session(void **session)
{
    ((diary *)*session)->closes++;
    *session = NULL;
}

static vipo_status reset(void *session, const vipo_predictor_episode *episode, vipo_error *error)
{
    diary *const d = session;
    (void)error;
    d->resets++;
    d->acts = 0;
    d->key = episode->key;
    assert_string_equal(episode->camera, "corner2");
    return VIPO_OK;
}

static double mean(const float *frame, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)frame[i];
    return sum / (double)n;
}

static void look_at_view(diary *d, const vipo_view *view)
{
    const size_t pixels = (size_t)view->height * (size_t)view->width;
    size_t on = 0;
    d->depth_negative = view->depth != NULL;
    for (size_t i = 0; view->depth && i < pixels; i++) d->depth_negative &= view->depth[i] < 0;
    for (size_t i = 0; view->mask && i < pixels; i++) {
        assert_true(view->mask[i] == 0 || view->mask[i] == 255);
        on += view->mask[i] != 0;
    }
    d->mask_seen = on > 20 && on < pixels / 4;
}

static vipo_status plan(void *session, const vipo_imagined *imagined, vipo_error *error)
{
    diary *const d = session;
    (void)error;
    const size_t frame = (size_t)imagined->frame_height * (size_t)imagined->frame_width * 3;
    assert_int_equal(imagined->number, d->plans);
    d->plan_step[d->plans] = imagined->step;
    d->plan_seen_at[d->plans] = d->acts;
    d->plan_key[d->plans] = imagined->key;
    d->frames = imagined->n;
    d->first_frame[d->plans] = mean(imagined->frames, frame);
    d->last_frame[d->plans] = mean(imagined->frames + (size_t)imagined->n * frame, frame);
    d->observation_x[d->plans] = imagined->observation[0];
    look_at_view(d, imagined->view);
    /* the first frame is the crop of the picture */
    const vipo_crop c = imagined->crop;
    for (int i = 0; i < 50 && c.height == imagined->frame_height; i++) {
        const int y = i * 2 % c.height, x = i * 7 % c.width;
        const size_t at = (size_t)(y * imagined->frame_width + x) * 3,
                     seen = (size_t)((c.y + y) * imagined->view->width + c.x + x) * 3;
        assert_true(fabsf(imagined->frames[at] * 255 - (float)imagined->view->rgb[seen]) < 0.01f);
    }
    d->plans++;
    return VIPO_OK;
}

static vipo_status act(void *session, const vipo_moment *moment, double action[VIPO_SIM_ACTION],
                       vipo_error *error)
{
    diary *const d = session;
    assert_int_equal(moment->step, d->acts);
    d->acts++;
    d->picture_steps += moment->picture != NULL;
    if (d->fail_at && d->acts == d->fail_at) return vipo_fail(error, VIPO_NUMERIC, "no way out");
    VIPO_TRY(vipo_sim_expert(moment->sim, moment->observation, action, error));
    if (d->still_from && d->acts > d->still_from) memset(action, 0, 4 * sizeof *action);
    if (d->nan_at && d->acts == d->nan_at) action[1] = NAN;
    return VIPO_OK;
}

static bool now_and_then(const void *session, int step)
{
    (void)session;
    return step % 40 == 0;
}

static const vipo_predictor diarist = {.name = "diarist",
                                       .summary = "writes down what happens",
                                       .needs = VIPO_NEEDS_FRAMES | VIPO_NEEDS_VIEW | VIPO_NEEDS_PICTURE,
                                       .open = open_session,
                                       .close = close_session,
                                       .reset = reset,
                                       .plan = plan,
                                       .wants_picture = now_and_then,
                                       .act = act};

/* ---- evaluations ------------------------------------------------------------------------------------------- */

static const char *const one_task[] = {"handle-press"};
static const char *const one_camera[] = {"corner2"};

static vipo_eval_options cheap(void)
{
    vipo_eval_options options;
    vipo_eval_default_options(&options);
    options.policy = "expert";
    options.tasks = one_task;
    options.n_tasks = 1;
    options.cameras = one_camera;
    options.n_cameras = 1;
    options.seeds = 100;
    options.sim.shadow_size = options.sim.multisamples = -1;
    return options;
}

static void init(vipo_evaluation *e, const vipo_eval_options *options, const vipo_predictor *predictor)
{
    vipo_error error = {0};
    assert_ok(vipo_evaluation_init(e, options, 1, &error), &error);
    if (predictor) e->predictor = predictor;
}

static vipo_record run_one(const vipo_evaluation *e, int number)
{
    const vipo_stop stop = {NULL, NULL};
    vipo_error error = {0};
    vipo_rollout *rollout;
    vipo_record record;
    vipo_job job;
    vipo_evaluation_job(e, number, &job);
    assert_ok(vipo_rollout_open(&rollout, e, &stop, &error), &error);
    assert_ok(vipo_rollout_run(rollout, &job, &record, &error), &error);
    vipo_rollout_close(&rollout);
    assert_null(rollout);
    return record;
}

static uint64_t digest(const vipo_record *record)
{
    return vipo_record_digest(1, record);
}

/* The same results from a worker that has run other episodes, in another order, as from a fresh one. */
static void test_pure(void **state)
{
    (void)state;
    static const char *const tasks[] = {"faucet-close", "door-open", "hammer"};
    const vipo_stop stop = {NULL, NULL};
    vipo_error error = {0};
    vipo_evaluation e;
    vipo_eval_options options = cheap();
    options.tasks = tasks;
    options.n_tasks = 3;
    options.seeds = 2;
    init(&e, &options, NULL);
    assert_int_equal(vipo_evaluation_jobs(&e), 6);
    vipo_rollout *rollout;
    vipo_record record;
    uint64_t wanted[6];
    for (int i = 0; i < 6; i++) {
        record = run_one(&e, i);
        wanted[i] = digest(&record);
        assert_true(record.success && record.first_success > 0);
        assert_int_equal(record.steps, record.first_success + 9); /* ten successes in a row, then the end */
        for (int k = 0; k < i; k++) assert_true(wanted[k] != wanted[i]);
    }
    static const int order[] = {5, 0, 3, 3, 1, 2, 4, 0};
    assert_ok(vipo_rollout_open(&rollout, &e, &stop, &error), &error);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        vipo_job job;
        vipo_evaluation_job(&e, order[i], &job);
        assert_ok(vipo_rollout_run(rollout, &job, &record, &error), &error);
        assert_true(digest(&record) == wanted[order[i]]);
    }
    vipo_rollout_close(&rollout);
    vipo_evaluation_release(&e);
}

/* Every job once, shards without overlap, samplers of an episode in one shard. */
static void test_jobs(void **state)
{
    (void)state;
    vipo_evaluation e;
    vipo_eval_options options = cheap();
    options.n_tasks = options.n_cameras = 0;
    options.seeds = 5;
    init(&e, &options, NULL);
    e.n_variants = 3;
    const int jobs = vipo_evaluation_jobs(&e);
    assert_int_equal(jobs, 11 * 3 * 5 * 3);
    int seen[11][3][5][3] = {{{{0}}}};
    for (int i = 0; i < jobs; i++) {
        vipo_job job;
        vipo_evaluation_job(&e, i, &job);
        seen[job.task][job.camera][job.seed][job.variant]++;
    }
    for (int i = 0; i < jobs; i++) assert_int_equal((&seen[0][0][0][0])[i], 1);
    for (int shards = 1; shards <= 4; shards++) {
        int *const owner = calloc((size_t)jobs, sizeof *owner);
        for (int shard = 1; shard <= shards; shard++) {
            e.options.shard = shard;
            e.options.shards = shards;
            int n = 0;
            for (int i = 0; i < jobs; i++) {
                if (!vipo_evaluation_wants(&e, i)) continue;
                assert_int_equal(owner[i], 0);
                owner[i] = shard;
                n++;
            }
            assert_in_range(n, jobs / shards - 3, jobs / shards + 3);
        }
        for (int i = 0; i < jobs; i++) {
            assert_true(owner[i] > 0);
            assert_int_equal(owner[i], owner[i / 3 * 3]);
        }
        e.options.shard = 0; /* counted from 0: the same parts */
        for (int i = 0; i < jobs; i++) assert_int_equal(vipo_evaluation_wants(&e, i), owner[i] == shards);
        free(owner);
    }
    e.n_variants = 1;
    vipo_evaluation_release(&e);
}

/* A policy that looks at pictures and needs no plan is told which part of them a plan would show. */
static void test_no_plan(void **state)
{
    (void)state;
    static const vipo_predictor looker = {.name = "looker",
                                          .summary = "looks",
                                          .needs = VIPO_NEEDS_PICTURE,
                                          .open = open_session,
                                          .close = close_session,
                                          .reset = reset,
                                          .wants_picture = now_and_then,
                                          .act = act};
    vipo_evaluation e;
    diary d = {0};
    the_diary = &d;
    vipo_eval_options options = cheap();
    init(&e, &options, &looker);
    const vipo_record record = run_one(&e, 4);
    assert_true(record.success);
    assert_int_equal(record.plans, 0);
    assert_int_equal(d.picture_steps, (d.acts + 39) / 40);
    assert_true(d.crop.y == 56 && d.crop.x == 96 && d.crop.height == 128 && d.crop.width == 128);
    vipo_evaluation_release(&e);
}

/* What a plan by the simulator's own future looks like to a policy, and AVDC's rule of replanning. */
static void test_plans(void **state)
{
    (void)state;
    vipo_evaluation e;
    diary d = {.still_from = 10};
    the_diary = &d;
    vipo_eval_options options = cheap();
    options.plan = "truth";
    options.plan_frames = 3;
    options.max_plans = 3;
    init(&e, &options, &diarist);
    const vipo_record record = run_one(&e, 4);
    assert_int_equal(d.opens, 1);
    assert_int_equal(d.closes, 1);
    assert_int_equal(d.resets, 1);
    assert_int_equal(record.steps, 500);
    assert_int_equal(d.acts, 500);
    assert_false(record.success);
    assert_int_equal(record.plans, 3);
    assert_int_equal(record.replans, 2);
    assert_int_equal(d.plans, 3);
    assert_int_equal(d.frames, 3);
    assert_int_equal(d.picture_steps, 13);
    assert_true(d.depth_negative && d.mask_seen);
    assert_int_equal(d.crop.y, 56);
    assert_int_equal(d.crop.x, 96);
    assert_int_equal(d.crop.height, 128);
    /* at the first step; then 15 steps after the hand came to rest; then 15 steps later */
    assert_int_equal(d.plan_step[0], 0);
    assert_in_range(d.plan_step[1], 25, 60);
    assert_int_equal(d.plan_step[2], d.plan_step[1] + 15);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(record.plan_steps[i], d.plan_step[i]);
        assert_int_equal(d.plan_seen_at[i], d.plan_step[i]);
        assert_true(record.plan_seconds[i] > 0);
        assert_true(fabs(d.first_frame[i] - d.last_frame[i]) > 1e-4); /* something moves */
        assert_true(d.plan_key[i] == vipo_plan_key(d.key, i));
    }
    assert_true(d.key == vipo_episode_key("farama-v3", "handle-press", "corner2", 4));
    assert_int_equal(record.calls, 0);
    assert_true(record.planning_seconds > 0 && record.rendering_seconds > 0 && record.physics_seconds > 0);
    assert_true(record.planning_seconds + record.rendering_seconds + record.physics_seconds +
                    record.flow_seconds + record.acting_seconds <=
                record.seconds * 1.0001);
    const diary first = d;
    d = (diary){.still_from = 10};
    const vipo_record again = run_one(&e, 4);
    assert_true(digest(&again) == digest(&record));
    for (int i = 0; i < 3; i++)
        assert_true(d.first_frame[i] == first.first_frame[i] && d.last_frame[i] == first.last_frame[i]);
    vipo_evaluation_release(&e);
}

/* Beside the arm: the picture of the step at which the plan is asked for, effect some steps later. */
static void test_ahead(void **state)
{
    (void)state;
    vipo_evaluation e;
    diary d = {.still_from = 10};
    the_diary = &d;
    vipo_eval_options options = cheap();
    options.plan = "truth";
    options.plan_frames = 2;
    options.max_plans = 3;
    options.ahead = 6;
    init(&e, &options, &diarist);
    const vipo_record record = run_one(&e, 4);
    assert_int_equal(d.plans, 3);
    assert_int_equal(d.plan_step[0], 0);
    assert_int_equal(d.plan_seen_at[0], 0); /* there is nothing else to follow */
    assert_int_equal(d.plan_seen_at[1], d.plan_step[1] + 6);
    assert_int_equal(d.plan_seen_at[2], d.plan_step[2] + 6);
    assert_int_equal(record.plan_steps[2], d.plan_step[2]);
    /* as patient as without */
    assert_int_equal(d.plan_step[2], d.plan_step[1] + 15);
    vipo_evaluation_release(&e);

    /* an episode that ends before its plan is made */
    options.ahead = 480;
    d = (diary){.still_from = 10};
    init(&e, &options, &diarist);
    const vipo_record late = run_one(&e, 4);
    assert_int_equal(late.plans, 2);
    assert_int_equal(d.plans, 1);
    vipo_evaluation_release(&e);
}

/* Plans of a video model: counted, the same for any number of threads and beside the arm; a warm start changes only those that
 * have one before. */
static void test_model(void **state)
{
    (void)state;
    enum { COLD, THREADS, WARM, AHEAD, RUNS };
    diary d[RUNS];
    vipo_record records[RUNS];
    vipo_sampler_options sampler;
    vipo_sampler_default_options(&sampler);
    sampler.name = "ab2";
    sampler.steps = 2;
    for (int i = 0; i < RUNS; i++) {
        vipo_evaluation e;
        vipo_error error = {0};
        vipo_eval_options options = cheap();
        options.plan = "model";
        options.model = test_path("models/metaworld-64");
        options.model_options.tuning = VIPO_TUNING_OFF;
        options.samplers = &sampler;
        options.n_samplers = 1;
        options.max_plans = 2;
        options.patience = 2;
        options.threads = i == THREADS ? 2 : 1;
        options.warm = i == WARM;
        options.ahead = i == AHEAD ? 3 : 0;
        d[i] = (diary){.still_from = 5};
        the_diary = &d[i];
        init(&e, &options, &diarist);
        assert_ok(vipo_evaluation_open_model(&e, &error), &error);
        records[i] = run_one(&e, 4);
        vipo_evaluation_release(&e);
        assert_int_equal(records[i].plans, 2);
        assert_int_equal(records[i].calls, i == WARM ? records[i].evaluations : 4);
        assert_string_equal(records[i].methods, "fixed");
        assert_true(records[i].compute[0] && d[i].plans == 2 && d[i].frames == 7);
        assert_true(d[i].first_frame[0] == d[COLD].first_frame[0] &&
                    d[i].last_frame[0] == d[COLD].last_frame[0]);
    }
    assert_true(d[THREADS].last_frame[1] == d[COLD].last_frame[1]);
    assert_true(d[AHEAD].last_frame[1] == d[COLD].last_frame[1]); /* of the same picture, later */
    assert_int_equal(d[AHEAD].plan_seen_at[1], d[COLD].plan_seen_at[1] + 3);
    assert_true(d[WARM].last_frame[1] != d[COLD].last_frame[1]);
    assert_true(strcmp(records[WARM].settings, records[COLD].settings) != 0);
    assert_true(strcmp(records[AHEAD].settings, records[COLD].settings) != 0);
    assert_string_equal(records[THREADS].settings, records[COLD].settings);
    assert_true(digest(&records[THREADS]) == digest(&records[COLD]));
}

/* Failures of an episode are results; others are errors; what was under way when stopped is no result. */
static bool at_once(void *user)
{
    return ++*(int *)user > 5;
}

static void test_failures(void **state)
{
    (void)state;
    vipo_evaluation e;
    diary d = {.fail_at = 8};
    the_diary = &d;
    vipo_eval_options options = cheap();
    options.plan = "truth";
    options.plan_frames = 1;
    init(&e, &options, &diarist);
    vipo_record record = run_one(&e, 1);
    assert_string_equal(record.error, "no way out");
    assert_int_equal(record.steps, 7);
    assert_false(record.success);
    d = (diary){.nan_at = 5};
    record = run_one(&e, 1);
    assert_int_equal(record.steps, 4);
    assert_non_null(strstr(record.error, "action[1] is nan"));
    vipo_evaluation_release(&e);

    int asked = 0;
    const vipo_stop stop = {&asked, at_once};
    vipo_error error = {0};
    vipo_rollout *rollout;
    options = cheap();
    init(&e, &options, NULL);
    const vipo_job job = {0};
    assert_ok(vipo_rollout_open(&rollout, &e, &stop, &error), &error);
    assert_int_equal(vipo_rollout_run(rollout, &job, &record, &error), VIPO_CANCELLED);
    vipo_rollout_close(&rollout);
    vipo_evaluation_release(&e);
}

static void refuse(vipo_eval_options options, const char *message)
{
    vipo_evaluation e;
    vipo_error error = {0};
    assert_int_equal(vipo_evaluation_init(&e, &options, 1, &error), VIPO_INVALID_ARGUMENT);
    vipo_evaluation_release(&e);
    if (!strstr(error.message, message)) fail_msg("\"%s\" lacks \"%s\"", error.message, message);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const doors[] = {"door-open", "doors"}, *const twice[] = {"hammer", "hammer"};
    vipo_eval_options o = cheap();
    o.policy = "wizard";
    refuse(o, "unknown policy \"wizard\", expected");
    o = cheap();
    o.plan = "dream";
    refuse(o, "unknown plan \"dream\", expected none, model or truth");
    o = cheap();
    o.plan = "model";
    refuse(o, "plan model needs a video model");
    o = cheap();
    o.model = "models/metaworld-64";
    refuse(o, "a model is of no use without plan");
    o = cheap();
    o.predictor_file = "x";
    refuse(o, "policy expert has no file of its own");
    o = cheap();
    o.predictor_settings = "speed=2";
    refuse(o, "unknown setting speed, expected none");
    o = cheap();
    o.tasks = doors;
    o.n_tasks = 2;
    refuse(o, "unknown task 'doors', expected door-open, door-close,");
    o.tasks = twice;
    refuse(o, "task hammer is there twice");
    o = cheap();
    o.cameras = doors;
    refuse(o, "unknown camera 'door-open', expected corner, corner2, corner3");
    o = cheap();
    o.seeds = 0;
    refuse(o, "seeds: 0, expected 1 to");
    o = cheap();
    o.seed = UINT32_MAX;
    o.seeds = 2;
    refuse(o, "NumPy's legacy generator");
    o = cheap();
    o.shards = 3;
    o.shard = 4;
    refuse(o, "shard: 4, expected 0 to 3");
    o = cheap();
    o.warm = true;
    refuse(o, "a warm start is one of a video model");
    o = cheap();
    o.ahead = 3;
    refuse(o, "planning while acting needs plans");
}

static void test_geometry(void **state)
{
    (void)state;
    vipo_frame_format format;
    vipo_error error = {0};
    assert_ok(vipo_frame_format_init(&format, NULL, 7, &error), &error);
    assert_int_equal(format.n, 7);
    assert_true(format.crop.y == 56 && format.crop.x == 96 && format.crop.height == 128 &&
                format.crop.width == 128);
    assert_true(format.height == 128 && format.width == 128);
    assert_ok(vipo_frame_format_init(&format, test_path("models/metaworld-64"), 3, &error), &error);
    assert_int_equal(format.n, 7); /* the model's */
    assert_true(format.crop.y == 56 && format.crop.x == 96 && format.crop.height == 128 &&
                format.crop.width == 128);
    assert_true(format.height == 64 && format.width == 64);
    const vipo_preprocess_steps steps = {
        3, {{VIPO_PREPROCESS_RESIZE, 120, 160}, {VIPO_PREPROCESS_CROP, 60, 80}, {VIPO_PREPROCESS_BOX, 2, 2}}};
    int height, width;
    vipo_crop crop;
    vipo_frame_format_trace(&steps, 240, 320, &crop, &height, &width);
    assert_true(crop.y == 60 && crop.x == 80 && crop.height == 120 && crop.width == 160);
    assert_true(height == 30 && width == 40);

    uint8_t in[5 * 6] = {0}, out[5 * 6];
    in[2 * 6 + 2] = 255; /* alone: gone */
    vipo_median_mask(in, 5, 6, out);
    for (int i = 0; i < 30; i++) assert_int_equal(out[i], 0);
    for (int y = 1; y < 4; y++)
        for (int x = 1; x < 5; x++) in[y * 6 + x] = 255;
    in[2 * 6 + 2] = 0; /* a hole: filled */
    vipo_median_mask(in, 5, 6, out);
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 6; x++) {
            int on = 0;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const int v = y + dy < 0   ? 0
                                  : y + dy > 4 ? 4
                                               : y + dy,
                              u = x + dx < 0   ? 0
                                  : x + dx > 5 ? 5
                                               : x + dx;
                    on += in[v * 6 + u] > 0;
                }
            assert_int_equal(out[y * 6 + x], on >= 5 ? 255 : 0);
        }
    assert_int_equal(out[2 * 6 + 2], 255);
    memset(in, 255, sizeof in);
    vipo_median_mask(in, 5, 6, out);
    assert_memory_equal(in, out, sizeof in); /* the border is repeated, not dark */
}

int main(void)
{
    if (!vipo_sim_mujoco_version()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pure),     cmocka_unit_test(test_jobs),     cmocka_unit_test(test_no_plan),
        cmocka_unit_test(test_plans),    cmocka_unit_test(test_ahead),    cmocka_unit_test(test_model),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_refusals), cmocka_unit_test(test_geometry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
