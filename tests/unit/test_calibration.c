/* The calibration of draft-target-lazy in config.json: read, stored, used. */
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "core/json_edit.h"
#include "nets/config.h"
#include "support/tiny_session.h"

/* ---- reading -------------------------------------------------------------------------------------------------- */

static vipo_status parse(const char *calibration, vipo_config *config, vipo_error *error)
{
    char text[8192];
    snprintf(text, sizeof text,
             "{\"image_size\": [16, 16], \"frames\": 3, \"model_channels\": 32, \"channel_mult\": [1, 2],"
             " \"num_res_blocks\": 1, \"attention_ds\": [2], \"task_token_channels\": 64%s%s}",
             calibration ? ", \"calibration\": " : "", calibration ? calibration : "");
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!root) fail_msg("not JSON: %s", text);
    const vipo_status status = vipo_config_parse(config, root, "c.json", error);
    json_decref(root);
    return status;
}

static void test_parsed(void **state)
{
    (void)state;
    vipo_config c;
    vipo_error error = {0};
    assert_ok(parse("{\"note\": 1, \"draft_target_lazy\": {\"draft_stride\": 20, \"target_stride\": 5, "
                    "\"plans\": 24, \"ratios\": [0.5, 1, 1.25, 100], \"log_spread\": [0, 0.01, 1, 10]}}",
                    &c, &error),
              &error);
    assert_int_equal(c.calibration.draft_stride, 20);
    assert_int_equal(c.calibration.target_stride, 5);
    assert_int_equal(c.calibration.plans, 24);
    assert_int_equal(c.calibration.n_ratios, 4);
    const double ratios[4] = {0.5, 1, 1.25, 100}, spread[4] = {0, 0.01, 1, 10};
    assert_memory_equal(c.calibration.ratios, ratios, sizeof ratios);
    assert_memory_equal(c.calibration.log_spread, spread, sizeof spread);
    /* what need not be there */
    assert_ok(parse("{\"draft_target_lazy\": {\"draft_stride\": 50, \"target_stride\": 25, \"ratios\": [2]}}",
                    &c, &error),
              &error);
    assert_int_equal(c.calibration.plans, 0);
    assert_true(c.calibration.log_spread[0] == 0);
    static const char *const none[] = {NULL, "null", "{}", "{\"draft_target_lazy\": null}", "{\"other\": 3}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_ok(parse(none[i], &c, &error), &error);
        assert_int_equal(c.calibration.draft_stride, 0);
        assert_int_equal(c.calibration.n_ratios, 0);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *members, *message;
    } wrong[] = {
        {"\"target_stride\": 2, \"ratios\": [1]", "draft_stride: missing, expected an integer in 1..100"},
        {"\"draft_stride\": 50, \"ratios\": [1]", "target_stride: missing, expected an integer in 1..100"},
        {"\"draft_stride\": 50, \"target_stride\": 2", "ratios: missing, expected an array of at most 128"},
        {"\"draft_stride\": 0, \"target_stride\": 2, \"ratios\": [1]",
         "draft_stride: expected an integer in 1..100, found 0"},
        {"\"draft_stride\": 30, \"target_stride\": 2, \"ratios\": [1, 1]",
         "draft_stride: 30 does not divide the model's 100 timesteps"},
        {"\"draft_stride\": 50, \"target_stride\": 3, \"ratios\": [1]",
         "target_stride: expected a divisor of draft_stride 50 that is less, found 3"},
        {"\"draft_stride\": 50, \"target_stride\": 50, \"ratios\": [1]",
         "target_stride: expected a divisor of draft_stride 50 that is less, found 50"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [1, 1]",
         "ratios: expected 3 numbers, one per token but the last, found 2"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [1, 1, 1, 1]",
         "ratios: expected 3 numbers, one per token but the last, found 4"},
        {"\"draft_stride\": 100, \"target_stride\": 5, \"ratios\": []",
         "ratios: expected 0 numbers, one per token but the last, found 0"},
        {"\"draft_stride\": 50, \"target_stride\": 5, \"ratios\": 1",
         "ratios: expected an array of at most 128 numbers in 0.01..100, found 1"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [1, 0, 1]",
         "ratios[1]: expected a number in 0.01..100, found 0"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [1, 1, -1]",
         "ratios[2]: expected a number in 0.01..100, found -1"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [101, 1, 1]",
         "ratios[0]: expected a number in 0.01..100, found 101"},
        {"\"draft_stride\": 25, \"target_stride\": 5, \"ratios\": [1, \"1\", 1]",
         "ratios[1]: expected a number in 0.01..100, found string \"1\""},
        {"\"draft_stride\": 50, \"target_stride\": 5, \"ratios\": [1], \"log_spread\": [0, 0]",
         "log_spread: expected 1 numbers, one per ratio, found 2"},
        {"\"draft_stride\": 50, \"target_stride\": 5, \"ratios\": [1], \"log_spread\": [-0.1]",
         "log_spread[0]: expected a number in 0..10, found -0.1"},
        {"\"draft_stride\": 50, \"target_stride\": 5, \"ratios\": [1], \"plans\": -1",
         "plans: expected an integer in 0.."},
    };
    vipo_config c;
    char text[512], expected[256];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        vipo_error error = {0};
        snprintf(text, sizeof text, "{\"draft_target_lazy\": {%s}}", wrong[i].members);
        snprintf(expected, sizeof expected, "c.json: calibration.draft_target_lazy.%s", wrong[i].message);
        assert_int_equal(parse(text, &c, &error), VIPO_FORMAT);
        if (strncmp(error.message, expected, strlen(expected)) != 0)
            fail_msg("%s: \"%s\", expected \"%s\"", text, error.message, expected);
    }
    vipo_error error = {0};
    assert_int_equal(parse("[]", &c, &error), VIPO_FORMAT);
    assert_string_equal(error.message, "c.json: calibration: expected an object, found an array of 0");
    assert_int_equal(parse("{\"draft_target_lazy\": 1}", &c, &error), VIPO_FORMAT);
    assert_string_equal(error.message, "c.json: calibration.draft_target_lazy: expected an object, found 1");
}

/* ---- editing a text ------------------------------------------------------------------------------------------- */

static void test_edit(void **state)
{
    (void)state;
    static const char *const path[] = {"a", "b"};
    static const struct {
        const char *before, *after;
    } cases[] = {
        /* on one line */
        {"{}", "{\"a\": {\"b\": [1, 0.25]}}"},
        {" { } \n", " {\"a\": {\"b\": [1, 0.25]}} \n"},
        {"{\"x\": 1e-05}", "{\"x\": 1e-05, \"a\": {\"b\": [1, 0.25]}}"},
        {"{\"x\":1 ,\"a\":{}}", "{\"x\":1 ,\"a\":{\"b\": [1, 0.25]}}"},
        {"{\"a\":{\"c\":2}, \"x\": 0.10}", "{\"a\":{\"c\":2, \"b\": [1, 0.25]}, \"x\": 0.10}"},
        {"{\"a\": {\"b\": {\"b\": \"}]\\\"\"}, \"c\": true}}", "{\"a\": {\"b\": [1, 0.25], \"c\": true}}"},
        {"{\"a\": {\"b\": null}}", "{\"a\": {\"b\": [1, 0.25]}}"},
        {"{\"a\": null, \"x\": 1}", "{\"a\": {\"b\": [1, 0.25]}, \"x\": 1}"},
        {"{\n \"a\": null\n}", "{\n \"a\": {\n  \"b\": [\n   1,\n   0.25\n  ]\n }\n}"},
        /* names inside texts and other objects are others */
        {"{\"x\": \"\\\"a\\\": {\", \"y\": {\"a\": {\"b\": 1}}, \"aa\": [\"a\"]}",
         "{\"x\": \"\\\"a\\\": {\", \"y\": {\"a\": {\"b\": 1}}, \"aa\": [\"a\"], \"a\": {\"b\": [1, 0.25]}}"},
        /* indented */
        {"{\n \"x\": 1\n}\n", "{\n \"x\": 1,\n \"a\": {\n  \"b\": [\n   1,\n   0.25\n  ]\n }\n}\n"},
        {"{\n  \"a\": {\n    \"b\": 7\n  },\n  \"x\": \"\xc3\xa9\"\n}",
         "{\n  \"a\": {\n    \"b\": [\n      1,\n      0.25\n    ]\n  },\n  \"x\": \"\xc3\xa9\"\n}"},
        {"{\n  \"a\": {},\n  \"x\": 1\n}",
         "{\n  \"a\": {\n    \"b\": [\n      1,\n      0.25\n    ]\n  },\n  \"x\": 1\n}"},
        {"{\n}", "{\n \"a\": {\n  \"b\": [\n   1,\n   0.25\n  ]\n }\n}"},
    };
    json_t *value = json_loads("[1, 0.25]", 0, NULL);
    vipo_error error = {0};
    char *out;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(vipo_json_edit(&out, cases[i].before, path, 2, value, 6, "e.json", &error), &error);
        if (strcmp(out, cases[i].after) != 0)
            fail_msg("%s: \"%s\", expected \"%s\"", cases[i].before, out, cases[i].after);
        json_t *again = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
        assert_true(
            json_equal(value, json_object_get(json_object_get(again, "a"), "b"))); /* and it is JSON */
        json_decref(again);
        free(out);
    }
    assert_int_equal(vipo_json_edit(&out, "{\"a\": [1]}", path, 2, value, 6, "e.json", &error), VIPO_FORMAT);
    assert_null(out);
    assert_string_equal(error.message, "e.json: a: expected an object");
    json_decref(value);
}

/* ---- storing -------------------------------------------------------------------------------------------------- */

static const vipo_calibration three = {.draft_stride = 5,
                                       .target_stride = 1,
                                       .plans = 8,
                                       .n_ratios = 3,
                                       .ratios = {0.5, 1.25, 3},
                                       .log_spread = {0.01, 0.02, 0.03}};

/* A folder with a config.json of its own. */
static const char *config_folder(const char *name, const char *config)
{
    const char *folder = test_folder(name);
    test_file_write(test_in_folder(folder, "config.json"), config, strlen(config));
    return folder;
}

static void assert_config(const char *folder, const char *expected)
{
    char *found = test_file_read(test_in_folder(folder, "config.json"), NULL);
    assert_string_equal(found, expected);
    free(found);
    int files = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream));) files += entry->d_name[0] != '.';
    closedir(stream);
    assert_int_equal(files, 1); /* no temporary file */
}

static const char indented[] = "{\n \"name\": \"n\",\n \"unknown\": {\"z\": 1e-05, \"a\": 0.10},\n"
                               " \"image_size\": [16, 16], \"frames\": 3, \"model_channels\": 32,\n"
                               " \"channel_mult\": [1, 2], \"num_res_blocks\": 1, \"attention_ds\": [2],\n"
                               " \"task_token_channels\": 64,\n \"diffusion\": {\"timesteps\": 20}%s\n}\n";
static const char stored[] =
    ",\n \"calibration\": {\n  \"draft_target_lazy\": {\n   \"draft_stride\": 5,\n   \"target_stride\": 1,\n"
    "   \"plans\": 8,\n   \"ratios\": [\n    0.5,\n    1.25,\n    3.0\n   ],\n   \"log_spread\": [\n"
    "    0.01,\n    0.02,\n    0.03\n   ]\n  }\n }";

static void test_stored(void **state)
{
    (void)state;
    char before[1024], after[2048];
    snprintf(before, sizeof before, indented, "");
    snprintf(after, sizeof after, indented, stored);
    const char *folder = config_folder("stored", before);
    chmod(test_in_folder(folder, "config.json"), 0640);
    vipo_error error = {0};
    assert_ok(vipo_model_store_calibration(folder, &three, &error), &error);
    assert_config(folder, after);
    struct stat info;
    assert_int_equal(stat(test_in_folder(folder, "config.json"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    vipo_model_info read;
    assert_ok(vipo_model_read_info(folder, &read, &error), &error);
    assert_int_equal(read.calibration.draft_stride, 5);
    assert_int_equal(read.calibration.n_ratios, 3);
    assert_memory_equal(read.calibration.ratios, three.ratios, sizeof three.ratios);
    assert_memory_equal(read.calibration.log_spread, three.log_spread, sizeof three.log_spread);
    /* again, and another: in place of the old one */
    assert_ok(vipo_model_store_calibration(folder, &three, &error), &error);
    assert_config(folder, after);
    vipo_calibration other = {
        .draft_stride = 10, .target_stride = 5, .plans = 1, .n_ratios = 1, .ratios = {1.0 / 3}};
    assert_ok(vipo_model_store_calibration(folder, &other, &error), &error);
    assert_ok(vipo_model_read_info(folder, &read, &error), &error);
    assert_int_equal(read.calibration.draft_stride, 10);
    assert_true(fabs(read.calibration.ratios[0] - 1.0 / 3) < 1e-6);
    assert_ok(vipo_model_store_calibration(folder, &three, &error), &error);
    assert_config(folder, after);
    /* calibrations of other kinds stay */
    snprintf(before, sizeof before, indented, ", \"calibration\": {\"other\": [0.30]}");
    folder = config_folder("beside", before);
    assert_ok(vipo_model_store_calibration(folder, &three, &error), &error);
    char *found = test_file_read(test_in_folder(folder, "config.json"), NULL);
    assert_non_null(strstr(found, "\"calibration\": {\"other\": [0.30],\n  \"draft_target_lazy\": {\n"));
    free(found);
}

/* Whatever is wrong, the file stays as it was. */
static void refuse_store(const char *folder, const vipo_calibration *c, vipo_status expected,
                         const char *message)
{
    vipo_error error = {0};
    char *before = test_file_read(test_in_folder(folder, "config.json"), NULL);
    const vipo_status status = vipo_model_store_calibration(folder, c, &error);
    if (status != expected || !strstr(error.message, message))
        fail_msg("%s: \"%s\", expected \"%s\"", vipo_status_text(status), error.message, message);
    assert_config(folder, before);
    free(before);
}

static void test_not_stored(void **state)
{
    (void)state;
    char config[1024];
    snprintf(config, sizeof config, indented, "");
    const char *folder = config_folder("refusing", config);
    vipo_calibration c = three;
    c.n_ratios = 0;
    refuse_store(folder, &c, VIPO_INVALID_ARGUMENT, "0 ratios, expected 1..128");
    c.n_ratios = VIPO_MAX_RATIOS + 1;
    refuse_store(folder, &c, VIPO_INVALID_ARGUMENT, "129 ratios");
    c.n_ratios = 2;
    refuse_store(folder, &c, VIPO_FORMAT, "ratios: expected 3 numbers");
    c = three;
    c.ratios[1] = NAN;
    refuse_store(folder, &c, VIPO_INVALID_ARGUMENT, "ratio 1 is nan");
    c.ratios[1] = 0;
    refuse_store(folder, &c, VIPO_FORMAT, "ratios[1]: expected a number in 0.01..100, found 0");
    c = three;
    c.log_spread[2] = INFINITY;
    refuse_store(folder, &c, VIPO_INVALID_ARGUMENT, "ratio 2 is 3 with spread inf");
    c = three;
    c.draft_stride = 7;
    refuse_store(folder, &c, VIPO_FORMAT, "7 does not divide the model's 20 timesteps");
    refuse_store(config_folder("list", "[1]"), &three, VIPO_FORMAT, "config.json: expected a JSON object");
    refuse_store(config_folder("malformed", "{\"a\": "), &three, VIPO_FORMAT, "config.json: line 1");
    refuse_store(config_folder("no_model", "{\"a\": 1}"), &three, VIPO_FORMAT,
                 "config.json: expected image_size");
    snprintf(config, sizeof config, indented, ", \"calibration\": 3");
    refuse_store(config_folder("number", config), &three, VIPO_FORMAT, "calibration: expected an object");
    vipo_error error = {0};
    assert_int_equal(vipo_model_store_calibration(test_temporary("nowhere"), &three, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "nowhere/config.json"));
}

/* A file that cannot grow: the disk is full, as far as the library can see. */
static void test_full_disk(void **state)
{
    (void)state;
    char config[1024];
    snprintf(config, sizeof config, indented, "");
    const char *folder = config_folder("full", config);
    struct rlimit usual, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    small.rlim_cur = 64;
    void (*const action)(int) = signal(SIGXFSZ, SIG_IGN);
    vipo_error error = {0};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const vipo_status status = vipo_model_store_calibration(folder, &three, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    signal(SIGXFSZ, action);
    assert_int_equal(status, VIPO_IO);
    assert_non_null(strstr(error.message, "config.json: cannot write: "));
    assert_config(folder, config);
}

/* The administrator may write everywhere, so it becomes somebody else for the while. */
static void test_read_only_folder(void **state)
{
    (void)state;
    char config[1024], parent[1200];
    snprintf(config, sizeof config, indented, "");
    const char *folder = config_folder("read_only", config);
    snprintf(parent, sizeof parent, "%s/..", folder);
    assert_int_equal(chmod(parent, 0711), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    const bool administrator = geteuid() == 0;
    if (administrator) assert_int_equal(seteuid(65534), 0);
    vipo_error error = {0};
    const vipo_status status = vipo_model_store_calibration(folder, &three, &error);
    if (administrator) assert_int_equal(seteuid(0), 0);
    chmod(folder, 0755);
    assert_int_equal(status, VIPO_IO);
    assert_non_null(strstr(error.message, "config.json: cannot write: Permission denied"));
    assert_config(folder, config);
}

/* ---- using ---------------------------------------------------------------------------------------------------- */

typedef struct judged {
    int n, verified; /* distances seen; of rounds with true ones */
    double distances[64];
    int notes; /* that the calibration is for other strides */
} judged;

static void on_trace(void *user, const char *line)
{
    judged *j = user;
    json_t *event = json_loads(line, 0, NULL);
    const json_t *distances = json_object_get(event, "distances");
    for (size_t i = 0; i < json_array_size(distances) && j->n < 64; i++)
        j->distances[j->n++] = json_real_value(json_array_get(distances, i));
    j->verified += (int)json_array_size(json_object_get(event, "true_distances"));
    json_decref(event);
}

static void on_log(void *user, vipo_log_level level, const char *line)
{
    ((judged *)user)->notes +=
        level == VIPO_LOG_INFO && strstr(line, "calibration is for draft stride 5") != NULL;
}

static vipo_plan plan_on(vipo_planner *planner, const tiny_session *f, const vipo_sampler_options *options,
                         int samples, judged *j)
{
    vipo_request request;
    vipo_request_default(&request);
    *j = (judged){.n = 0};
    request.cond = &f->cond;
    request.tokens = &f->tokens;
    request.seed = 3;
    request.samples = samples;
    request.sampler = *options;
    request.callbacks = (vipo_callbacks){.user = j, .trace = on_trace, .log = on_log};
    vipo_plan plan;
    vipo_error error = {0};
    assert_ok(vipo_planner_plan(planner, &request, &plan, &error), &error);
    return plan;
}

static vipo_sampler_options lazy_options(double threshold)
{
    vipo_sampler_options options;
    vipo_sampler_default_options(&options);
    assert_true(options.lazy_calibrated);
    assert_false(options.verify);
    options.name = "draft-target-lazy";
    options.draft_stride = 5;
    options.target_stride = 1;
    options.chunk = 4;
    options.threshold = threshold;
    return options;
}

static void test_used(void **state)
{
    const tiny_session *f = *state;
    const char *folder = test_tiny_folder("calibrated");
    vipo_error error = {0};
    assert_ok(vipo_model_store_calibration(folder, &three, &error), &error);
    vipo_model *model;
    vipo_planner *planner;
    assert_ok(vipo_model_open(&model, folder, NULL, &error), &error);
    assert_ok(vipo_planner_open(&planner, model, NULL, &error), &error);
    judged with, without, j;
    vipo_sampler_options options = lazy_options(1e9);
    vipo_plan calibrated = plan_on(planner, f, &options, 1, &with);
    assert_true(calibrated.calibrated);
    assert_string_equal(calibrated.sampler, "draft-target-lazy k=4 5/1 lambda=1e+09");
    options.lazy_calibrated = false;
    vipo_plan plain = plan_on(planner, f, &options, 1, &without);
    assert_false(plain.calibrated);
    assert_string_equal(plain.sampler, "draft-target-lazy k=4 5/1 lambda=1e+09 uncalibrated");
    assert_int_equal(with.n, 3);
    assert_int_equal(without.n, 3);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(with.distances[i] * three.ratios[i] / without.distances[i] - 1) < 1e-12);
    vipo_plan_free(&plain);
    /* a model without calibration gives what --no-calibration gives */
    options.lazy_calibrated = true;
    plain = plan_on(f->planner, f, &options, 1, &j);
    assert_false(plain.calibrated);
    assert_memory_equal(j.distances, without.distances, sizeof j.distances);
    assert_memory_equal(plain.video.data, calibrated.video.data, VIDEO * sizeof(float)); /* all accepted */
    vipo_plan_free(&plain);
    /* between estimate and estimate / 0.5 of the first token: calibration rejects what is accepted without */
    options.threshold = 1.5 * without.distances[0];
    vipo_plan_free(&calibrated);
    calibrated = plan_on(planner, f, &options, 1, &with);
    assert_int_equal(with.n >= 1, 1);
    assert_true(with.distances[0] > options.threshold);
    assert_true(calibrated.rounds > 1);
    vipo_plan_free(&calibrated);
    /* another target stride: used all the same */
    options.target_stride = 5;
    plain = plan_on(planner, f, &options, 1, &j);
    assert_true(plain.calibrated);
    vipo_plan_free(&plain);
    /* another draft stride: not used, and said so */
    options.draft_stride = 10;
    plain = plan_on(planner, f, &options, 1, &j);
    assert_false(plain.calibrated);
    assert_int_equal(j.notes, 1);
    vipo_plan_free(&plain);
    /* other samplers do not have it */
    options = lazy_options(1e9);
    options.name = "draft-target";
    plain = plan_on(planner, f, &options, 1, &j);
    assert_false(plain.calibrated);
    vipo_plan_free(&plain);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
}

static void test_verified_plan(void **state)
{
    const tiny_session *f = *state;
    judged j;
    vipo_sampler_options options = lazy_options(1e9);
    vipo_plan plain = plan_on(f->planner, f, &options, 3, &j);
    assert_int_equal(j.verified, 0);
    assert_int_equal(plain.verified + plain.verify_calls + plain.verify_evaluations, 0);
    options.verify = true;
    static const int batches[] = {1, 2, 8};
    for (size_t b = 0; b < 3; b++) {
        vipo_planner *planner = tiny_planner(f->model, 2, batches[b]);
        vipo_plan plan = plan_on(planner, f, &options, 3, &j);
        assert_memory_equal(plan.video.data, plain.video.data, 3 * VIDEO * sizeof(float));
        assert_int_equal(plan.calls, plain.calls);
        assert_int_equal(plan.evaluations, plain.evaluations);
        assert_int_equal(plan.verified, 9);
        assert_int_equal(plan.agreed, 9); /* with a threshold above everything */
        assert_int_equal(j.verified, 9);
        assert_int_equal(plan.verify_calls, 4);
        assert_int_equal(plan.verify_evaluations, 36);
        assert_int_equal(plan.network_rows, plan.evaluations + 36);
        assert_true(plan.peak_bytes > plain.peak_bytes || batches[b] < 8);
        vipo_plan_free(&plan);
        vipo_planner_close(&planner);
    }
    vipo_plan_free(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parsed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_edit),
        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_not_stored),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_read_only_folder),
        cmocka_unit_test(test_used),
        cmocka_unit_test(test_verified_plan),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
