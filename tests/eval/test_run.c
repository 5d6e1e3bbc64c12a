/* Whole evaluations: the same store for any number of workers and interruptions, what is told meanwhile, what a failure leaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/store.h"
#include "support/files.h"
#include "vipo/eval.h"

static const char *const tasks[] = {"handle-press", "faucet-close"};
static const char *const cameras[] = {"corner", "corner2"};

typedef struct watch {
    int told, successes, progress;
    int most; /* episodes after which the evaluation is cancelled; 0: never */
    double done;
} watch;

static void on_episode(void *user, const vipo_eval_episode *episode)
{
    watch *const w = user;
    w->told++;
    w->successes += episode->success;
    assert_string_equal(episode->settings, "expert");
    assert_true(strcmp(episode->task, tasks[0]) == 0 || strcmp(episode->task, tasks[1]) == 0);
    assert_true(episode->steps > 0 && episode->seconds > 0 && episode->total_reward > 0);
    assert_string_equal(episode->error, "");
}

static void on_progress(void *user, const char *phase, double done, double total)
{
    watch *const w = user;
    assert_string_equal(phase, "episodes");
    assert_true(done >= w->done && done <= total);
    w->done = done;
    w->progress++;
}

static bool on_cancelled(void *user)
{
    const watch *const w = user;
    return w->most && w->told >= w->most;
}

static vipo_status evaluate(const char *store, int workers, int seeds, watch *w, vipo_eval_result *result,
                            vipo_error *error)
{
    vipo_eval_options options;
    vipo_eval_default_options(&options);
    options.policy = "expert";
    options.tasks = tasks;
    options.n_tasks = 2;
    options.cameras = cameras;
    options.n_cameras = 2;
    options.seeds = seeds;
    options.workers = workers;
    options.callbacks = (vipo_callbacks){.user = w, .progress = on_progress, .cancelled = on_cancelled};
    options.episode = on_episode;
    memset(error, 0, sizeof *error);
    return vipo_eval_run(store, &options, result, error);
}

static const char *new_path(const char *name)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[600];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", test_temporary(name), ends[i]);
        unlink(path);
    }
    return test_temporary(name);
}

static void test_workers(void **state)
{
    (void)state;
    vipo_eval_result one, three;
    vipo_error error;
    watch w = {0}, v = {0};
    assert_ok(evaluate(new_path("one.db"), 1, 3, &w, &one, &error), &error);
    assert_int_equal(one.episodes, 12);
    assert_int_equal(one.done, 12);
    assert_int_equal(one.earlier, 0);
    assert_int_equal(one.processes, 1);
    assert_int_equal(w.told, 12);
    assert_int_equal(w.successes, one.successes);
    assert_true(w.done == 12 && w.progress >= 12);
    assert_ok(evaluate(new_path("three.db"), 3, 3, &v, &three, &error), &error);
    assert_string_equal(one.digest, three.digest);
    assert_int_equal(one.successes, three.successes);
    assert_int_equal(strlen(one.digest), 16);
    w = (watch){0};
    assert_ok(evaluate(test_temporary("one.db"), 2, 3, &w, &three, &error), &error);
    assert_int_equal(three.earlier, 12);
    assert_int_equal(w.told, 0);
    assert_string_equal(one.digest, three.digest);
}

static void test_cancelled(void **state)
{
    (void)state;
    vipo_eval_result whole, part;
    vipo_error error;
    watch w = {0};
    assert_ok(evaluate(new_path("whole.db"), 3, 3, &w, &whole, &error), &error);
    const char *const path = new_path("parts.db");
    int known = 0, rounds = 0;
    for (vipo_status status = VIPO_CANCELLED; status != VIPO_OK; rounds++) {
        w = (watch){.most = 3};
        status = evaluate(path, 2, 3, &w, &part, &error);
        if (status == VIPO_OK) break;
        assert_int_equal(status, VIPO_CANCELLED);
        assert_int_equal(part.earlier, known);
        assert_true(part.done >= 3 && part.done <= 4);
        assert_int_equal(w.told, part.done);
        known += part.done;
    }
    assert_in_range(rounds, 2, 4);
    assert_string_equal(part.digest, whole.digest);
}

/* Nothing is left where nothing was done; what is there stays. */
static void test_failures(void **state)
{
    (void)state;
    vipo_eval_result result;
    vipo_eval_options options;
    vipo_error error = {0};
    const char *const path = new_path("failures.db");
    vipo_eval_default_options(&options);
    options.policy = "nobody";
    assert_int_equal(vipo_eval_run(path, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_int_equal(access(path, F_OK), -1);
    options.policy = "expert";
    options.sim.assets = "/nowhere";
    options.seeds = 2;
    options.workers = 2;
    assert_int_equal(vipo_eval_run(path, &options, &result, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "/nowhere/sawyer_xyz/"));
    assert_int_equal(result.done, 0);
    options.sim.assets = NULL;
    options.tasks = tasks;
    options.n_tasks = 1;
    options.n_cameras = 1;
    options.cameras = cameras;
    assert_ok(vipo_eval_run(path, &options, &result, &error), &error);
    assert_int_equal(result.done, 2);
    options.videos = test_temporary("failures.db"); /* a file, not a folder */
    options.seeds = 3;
    assert_int_equal(vipo_eval_run(path, &options, &result, &error), VIPO_IO);
    assert_int_equal(result.earlier, 2);
    assert_int_equal(vipo_eval_run(test_temporary("no/folder.db"), &options, &result, &error), VIPO_IO);
}

int main(void)
{
    if (!vipo_sim_mujoco_version()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
