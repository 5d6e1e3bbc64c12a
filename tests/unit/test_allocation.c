/* Memory: a network call and the steps of a plan allocate nothing, and when memory runs out anywhere - at the first,
 * the second, the n-th request - opening a model, making a plan, writing it and converting a model fail with one line,
 * without a leak (the sanitizers watch) and with nothing left behind. The linker sends the library's requests here
 * (--wrap, tests/CMakeLists.txt). */
#include "support/geometry.h"
#include "support/scripted_ops.h"
#include "support/tiny_session.h"

#include "policy/model.h"

#include <glob.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/ops.h"

static long requests;     /* so far */
static long failing = -1; /* the request that fails; -1: none */

static bool refuse(void)
{
    return requests++ == failing;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *memory, size_t size)
{
    return refuse() ? NULL : __real_realloc(memory, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return refuse() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}
char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : __real_strdup(text);
}

/* Counts requests between the first and the last network operation of a plan: cancelled is asked before each. */
typedef struct watch {
    long calls, at_first, most;
} watch;

static bool watch_requests(void *user)
{
    watch *w = user;
    if (w->calls++ == 0) w->at_first = requests;
    w->most = requests - w->at_first;
    return false;
}

static void on_dump(void *user, const char *name, const vipo_array *value)
{
    (void)user, (void)name, (void)value;
}

static void on_operation(void *user, const vipo_operation *operation)
{
    *(long *)user = requests; /* the last one's stays */
    assert_true(operation->seconds >= 0);
}

/* A single call from its first operation to its last, by every op table; a dump, which allocates, is noticed. */
static void test_a_call_allocates_nothing(void **state)
{
    const tiny_session *session = *state;
    const int t = 3;
    const char *folder = test_tiny_folder("memory");
    for (int table = 0; vipo_ops_available(table); table++) {
        vipo_model_options options;
        vipo_model_default_options(&options);
        options.compute = vipo_ops_available(table)->name;
        vipo_model *model;
        vipo_error error = {0};
        assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
        vipo_planner *planner = tiny_planner(model, 2, 0);
        for (int dump = 0; dump < 2; dump++) {
            watch w = {0};
            long at_end = -1;
            vipo_denoise_request request = {.x = &session->noise,
                                            .cond = &session->conds,
                                            .tokens = &session->tokens,
                                            .t = &t,
                                            .n_t = 1,
                                            .dump = dump ? on_dump : NULL,
                                            .profile = on_operation,
                                            .profile_user = &at_end,
                                            .callbacks = {.user = &w, .cancelled = watch_requests}};
            vipo_array v;
            assert_ok(vipo_planner_denoise(planner, &request, &v, NULL, &error), &error);
            vipo_array_free(&v);
            assert_true(w.calls > 30);
            if (dump)
                assert_true(w.most > 30 && at_end - w.at_first > 30);
            else
                assert_true(w.most == 0 && at_end == w.at_first);
        }
        vipo_planner_close(&planner);
        vipo_model_close(&model);
    }
}

static void test_steps_allocate_nothing(void **state)
{
    tiny_session *session = *state;
    vipo_error error = {0};
    vipo_request request;
    vipo_request_default(&request);
    request.cond = &session->cond;
    request.tokens = &session->tokens;
    request.samples = 2;
    request.sampler.guidance = 1;
    request.sampler.draft_stride = 10;
    request.sampler.target_stride = 5;
    request.sampler.verify = true;
    int samplers = 0, verified = 0;
    for (const char *name; (name = vipo_sampler_name(samplers)) != NULL; samplers++) {
        watch w = {0};
        request.sampler.name = name;
        request.callbacks = (vipo_callbacks){.user = &w, .cancelled = watch_requests};
        vipo_plan plan;
        if (strcmp(name, "auto") == 0) continue; /* measures first, which takes memory */
        assert_ok(vipo_planner_plan(session->planner, &request, &plan, &error), &error);
        verified += plan.verify_calls > 0;
        vipo_plan_free(&plan);
        assert_true(w.calls > 100);
        if (w.most) fail_msg("%s: %ld requests in its steps", name, w.most);
    }
    assert_int_equal(samplers, 8);
    assert_int_equal(verified, 1);
}

static bool went_through(vipo_status status, const vipo_error *error)
{
    if (status != VIPO_OK && status != VIPO_OUT_OF_MEMORY) {
        failing = -1;
        fail_msg("%s, not out of memory: %s", vipo_status_text(status), error->message);
    }
    return status == VIPO_OK;
}

/* The parts of the jobs with plans, and how many requests came before each; what comes before is the same for several. */
typedef enum part { ALL, PLANNING, WRITING, PARTS } part;
static long begun[PARTS];

/* Everything a plan takes, with memory running out at request i; true if it went through. */
static bool plan_job(const char *folder, const tiny_session *session, const vipo_sampler_options *sampler,
                     vipo_score score, const char *out, vipo_error *error)
{
    vipo_model *model = NULL;
    vipo_planner *planner = NULL;
    vipo_plan plan = {.calls = 0};
    vipo_request request;
    const vipo_planner_options options = {.threads = 1};
    vipo_request_default(&request);
    request.cond = &session->cond;
    request.text = "open the door";
    request.sampler = *sampler;
    request.score = score;
    vipo_write_options write;
    vipo_write_default_options(&write);
    vipo_status status = vipo_model_open(&model, folder, NULL, error);
    if (status == VIPO_OK) status = vipo_planner_open(&planner, model, &options, error);
    if (status == VIPO_OK) begun[PLANNING] = requests;
    if (status == VIPO_OK) status = vipo_planner_plan(planner, &request, &plan, error);
    if (status == VIPO_OK) begun[WRITING] = requests;
    if (status == VIPO_OK) status = vipo_plan_write(out, &plan.video, &session->cond, &write, error);
    vipo_plan_free(&plan);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    return went_through(status, error);
}

static bool whole_job(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    return plan_job(folder, session, &(vipo_sampler_options){.name = "ddim", .steps = 1}, VIPO_SCORE_NONE,
                    out, error);
}

static bool auto_job(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    return plan_job(folder, session, &(vipo_sampler_options){.name = "auto", .distance = 1}, VIPO_SCORE_NONE,
                    out, error);
}

static bool score_job(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    return plan_job(folder, session, &(vipo_sampler_options){.name = "ddim", .steps = 1},
                    VIPO_SCORE_DENOISING, out, error);
}

/* The same for a conversion; `out` is the model folder. */
static bool conversion(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    (void)folder, (void)session;
    char checkpoint[512], config[512];
    snprintf(checkpoint, sizeof checkpoint, "%s", test_path("tests/golden/unet/square.model-24.pt"));
    snprintf(config, sizeof config, "%s", test_path("tests/golden/unet/square.config.json"));
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.checkpoint = checkpoint;
    options.config = config;
    return went_through(vipo_convert(out, &options, error), error);
}

/* A calibration stored in config.json; `out` is a model folder that has none yet. */
static bool calibration(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    (void)folder, (void)session;
    const vipo_calibration c = {
        .draft_stride = 5, .target_stride = 1, .n_ratios = 3, .ratios = {1, 0.5, 2}, .plans = 1};
    const char *path = test_in_folder(out, "config.json");
    const long kept = failing; /* the test's own requests go through */
    failing = -1;
    mkdir(out, 0777);
    test_file_write(path, test_tiny_config, strlen(test_tiny_config));
    requests = 0;
    failing = kept;
    const bool through = went_through(vipo_model_store_calibration(out, &c, error), error);
    const long used = requests;
    failing = -1;
    if (!through) { /* as it was */
        char *text = test_file_read(path, NULL);
        assert_string_equal(text, test_tiny_config);
        free(text);
        unlink(path);
        assert_int_equal(rmdir(out), 0); /* and nothing beside it */
    }
    requests = used;
    return through;
}

/* Removes a folder of files; returns how many of them ended in that. */
static int empty_folder(const char *folder, const char *ending)
{
    char pattern[560];
    glob_t files = {0};
    int n = 0;
    snprintf(pattern, sizeof pattern, "%s/*", folder);
    glob(pattern, 0, NULL, &files);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *name = files.gl_pathv[i];
        const size_t length = strlen(name), end = strlen(ending);
        n += length > end && strcmp(name + length - end, ending) == 0;
        unlink(name);
    }
    globfree(&files);
    rmdir(folder);
    return n;
}

/* Methods measured and stored; `out` is the folder for that. */
static bool choices(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    (void)folder;
    vipo_choices list;
    vipo_choosing how = {
        .ops = &scripted_ops, .mode = VIPO_CHOOSE_MEASURE, .cache = out, .clock = &scripted_clock};
    scripted_reset(3e-6, 2e-6, 1e-6);
    vipo_status status = vipo_pool_open(&how.pool, 1, error);
    if (status == VIPO_OK) status = vipo_unet3d_survey(&session->model->config.unet, false, &list, error);
    if (status == VIPO_OK) {
        status = vipo_choices_make(&list, &how, error);
        if (status == VIPO_OK) assert_int_equal(list.state, VIPO_CHOICES_TUNED);
        vipo_choices_free(&list);
    }
    vipo_pool_close(&how.pool);
    assert_int_equal(empty_folder(out, ".json"), status == VIPO_OK);
    assert_int_not_equal(access(out, F_OK), 0);
    return went_through(status, error);
}

/* From flow to actions: draws, motions, navigation, a controller; `out` is not written. */
static bool motion(const char *folder, const tiny_session *session, const char *out, vipo_error *error)
{
    (void)folder, (void)session, (void)out;
    static const double hand[3] = {0, 0.6, 0.2};
    const long kept = failing; /* the test's own requests go through */
    geometry_case c;
    failing = -1;
    geometry_open(&c, "degenerate_5x5_mask");
    requests = 0;
    failing = kept;
    vipo_motion_draws *draws = NULL;
    vipo_motion moved = {.n_steps = 0}, walked = {.n_steps = 0};
    vipo_flow_controller *controller = NULL;
    vipo_motion_options options;
    vipo_navigation_options navigation;
    vipo_flow_controller_options patience;
    vipo_motion_default_options(&options);
    vipo_navigation_default_options(&navigation);
    vipo_flow_controller_default_options(&patience);
    vipo_status status = vipo_motion_draws_open(&draws, c.path, error);
    options.draws = draws;
    for (int sampling = VIPO_MOTION_AVDC; sampling >= VIPO_MOTION_ROBUST && status == VIPO_OK; sampling--) {
        options.sampling = (vipo_motion_sampling)sampling;
        vipo_motion_free(&moved);
        status = vipo_motion_solve(&c.request, &options, &moved, error);
        options.draws = NULL;
    }
    if (status == VIPO_OK) status = vipo_navigation_solve(&c.request, &navigation, &walked, error);
    if (status == VIPO_OK) status = vipo_flow_controller_open(&controller, &patience, error);
    if (status == VIPO_OK) {
        vipo_flow_controller_observe(controller, hand);
        status = vipo_flow_controller_plan(controller, moved.grasp, moved.steps[0].motion, 1, error);
    }
    const long used = requests;
    failing = -1;
    vipo_flow_controller_close(&controller);
    vipo_motion_free(&walked);
    vipo_motion_free(&moved);
    vipo_motion_draws_close(&draws);
    geometry_close(&c);
    requests = used;
    return went_through(status, error);
}

typedef bool job(const char *folder, const tiny_session *session, const char *out, vipo_error *error);

/* A file, or a model folder without text encoder. */
static void remove_result(const char *out)
{
    if (unlink(out) == 0) return;
    unlink(test_in_folder(out, "config.json"));
    unlink(test_in_folder(out, "unet.safetensors"));
    rmdir(out);
}

/* Runs the job with memory refused at each of `places` requests of its part. */
static void fail_everywhere(job *run, const tiny_session *session, const char *name, long places, part from)
{
    const char *folder = test_tiny_folder("memory");
    char out[512];
    snprintf(out, sizeof out, "%s", test_temporary(name));
    vipo_error error = {0};
    requests = 0;
    assert_true(run(folder, session, out, &error));
    const long total = requests, first = begun[from];
    remove_result(out);
    const long step = total - first > places ? (total - first) / places
                                             : 1; /* a few hundred places are enough of thousands alike */
    long failed = 0, tried = 0;
    for (long i = first; i < total; i += step) {
        tried++;
        memset(&error, 0, sizeof error);
        requests = 0;
        failing = i;
        const bool through = run(folder, session, out, &error);
        failing = -1;
        if (through) { /* a request that could be done without, for instance of a trace line */
            remove_result(out);
            continue;
        }
        failed++;
        assert_non_null(strstr(error.message, "memory"));
        assert_int_not_equal(access(out, F_OK), 0);
    }
    print_message("%s: %ld requests from %ld on, memory refused at %ld of %ld\n", name, total, first, failed,
                  tried);
    assert_true(failed * 10 > tried * 9);
}

static void test_gif(void **state)
{
    fail_everywhere(whole_job, *state, "plan.gif", 400, ALL);
}
static void test_png(void **state)
{
    fail_everywhere(whole_job, *state, "plan.png", 400, WRITING);
}
static void test_npy(void **state)
{
    fail_everywhere(whole_job, *state, "plan.npy", 400, WRITING);
}

static void test_auto(void **state)
{
    fail_everywhere(auto_job, *state, "auto.npy", 300, PLANNING);
}

static void test_score(void **state)
{
    fail_everywhere(score_job, *state, "score.npy", 300, PLANNING);
}

static void test_conversion(void **state)
{
    fail_everywhere(conversion, *state, "converted", 150, ALL);
}

static void test_calibration(void **state)
{
    fail_everywhere(calibration, *state, "calibrated", 150, ALL);
}

static void test_choices(void **state)
{
    fail_everywhere(choices, *state, "choices", 400, ALL);
}

static void test_motion(void **state)
{
    fail_everywhere(motion, *state, "motion", 100, ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_allocates_nothing),
        cmocka_unit_test(test_steps_allocate_nothing),
        cmocka_unit_test(test_gif),
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_motion),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
