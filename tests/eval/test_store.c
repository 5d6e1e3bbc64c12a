/* Stores of results: rows come back as they went in, once; merging, digests, files of others, a full disk, a kill. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "eval/store.h"
#include "support/files.h"

static vipo_record sample(int i)
{
    vipo_record r = {.seed = (uint64_t)i + (i % 3 == 0 ? UINT64_C(1) << 40 : 0),
                     .success = i % 2,
                     .first_success = i % 2 ? 60 + i : 0,
                     .steps = i % 2 ? 70 + i : 500,
                     .total_reward = 100.0 / 3 * i,
                     .plans = i % 5,
                     .replans = i % 5 ? i % 5 - 1 : 0,
                     .calls = 18 * (i % 5),
                     .evaluations = 50 * (i % 5),
                     .seconds = 1.5,
                     .planning_seconds = 0.5};
    snprintf(r.settings, sizeof r.settings, "%016d", i % 2);
    snprintf(r.task, sizeof r.task, "task-%d", i % 4);
    snprintf(r.camera, sizeof r.camera, "corner");
    for (int k = 0; k < r.plans; k++) {
        r.plan_steps[k] = 20 * k;
        r.plan_seconds[k] = 0.25 + k;
    }
    snprintf(r.error, sizeof r.error, "%s", i % 7 == 6 ? "no object; \"quoted\", 'so'" : "");
    snprintf(r.host, sizeof r.host, "here");
    return r;
}

static vipo_store *open_new(const char *name)
{
    char path[512];
    static const char *const ends[] = {"", "-wal", "-shm"};
    vipo_store *store;
    vipo_error error = {0};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", test_temporary(name), ends[i]);
        unlink(path);
    }
    assert_ok(vipo_store_open(&store, test_temporary(name), VIPO_STORE_WRITE, &error), &error);
    return store;
}

static void add(vipo_store *store, int i, bool expected)
{
    vipo_error error = {0};
    bool added;
    const vipo_record record = sample(i);
    assert_ok(vipo_store_add(store, &record, &added, &error), &error);
    assert_int_equal(added, expected);
}

static void digest(vipo_store *store, char out[VIPO_SETTINGS_HASH], int rows)
{
    vipo_error error = {0};
    int found;
    assert_ok(vipo_store_digest(store, out, &found, &error), &error);
    assert_int_equal(found, rows);
}

static void test_rows(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_store *store = open_new("rows.db");
    for (int i = 0; i < 40; i++) add(store, i, true);
    for (int i = 0; i < 40; i++) add(store, i, false); /* what is there stays */
    vipo_store_close(&store);
    assert_null(store);
    assert_ok(vipo_store_open(&store, test_temporary("rows.db"), VIPO_STORE_READ, &error), &error);
    for (int i = 0; i < 40; i++) {
        const vipo_record wanted = sample(i);
        vipo_record record;
        bool found;
        assert_ok(vipo_store_find(store, wanted.settings, wanted.task, wanted.camera, wanted.seed, &found,
                                  &record, &error),
                  &error);
        assert_true(found);
        assert_memory_equal(&record, &wanted, sizeof wanted);
        assert_ok(vipo_store_find(store, wanted.settings, wanted.task, "corner9", wanted.seed, &found,
                                  &record, &error),
                  &error);
        assert_false(found);
    }
    bool added;
    const vipo_record more = sample(41);
    assert_int_equal(vipo_store_add(store, &more, &added, &error), VIPO_IO);
    vipo_store_close(&store);
}

/* Keys come in order. */
typedef struct walk {
    char last[256];
    int n, most;
} walk;

static bool visit(void *user, const vipo_record *record)
{
    walk *const w = user;
    char key[256];
    snprintf(key, sizeof key, "%s|%s|%s|%020llu", record->settings, record->task, record->camera,
             (unsigned long long)record->seed);
    assert_true(strcmp(w->last, key) < 0);
    strcpy(w->last, key);
    return ++w->n < w->most;
}

static bool keep_labels(void *user, const vipo_settings *settings)
{
    char *const out = user;
    assert_non_null(settings->json);
    snprintf(out + strlen(out), 64, "%s=%s;", settings->hash, settings->label);
    return true;
}

static void test_walks(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_store *store = open_new("walks.db");
    for (int i = 39; i >= 0; i--) add(store, i, true);
    walk all = {.most = 1000}, some = {.most = 1000}, few = {.most = 3};
    assert_ok(vipo_store_each(store, NULL, visit, &all, &error), &error);
    assert_int_equal(all.n, 40);
    assert_ok(vipo_store_each(store, "0000000000000001", visit, &some, &error), &error);
    assert_int_equal(some.n, 20);
    assert_ok(vipo_store_each(store, NULL, visit, &few, &error), &error);
    assert_int_equal(few.n, 3);

    char labels[256] = "";
    vipo_settings b = {.hash = "b", .label = "first", .json = (char[]){"{}"}},
                  a = {.hash = "a", .label = "second", .json = (char[]){"{}"}};
    assert_ok(vipo_store_add_settings(store, &b, &error), &error);
    assert_ok(vipo_store_add_settings(store, &a, &error), &error);
    strcpy(b.label, "other");
    assert_ok(vipo_store_add_settings(store, &b, &error), &error);
    assert_ok(vipo_store_each_settings(store, keep_labels, labels, &error), &error);
    assert_string_equal(labels, "b=first;a=second;");
    vipo_store_close(&store);
}

static void test_merge(void **state)
{
    (void)state;
    vipo_error error = {0};
    char whole[VIPO_SETTINGS_HASH], merged[VIPO_SETTINGS_HASH], other[VIPO_SETTINGS_HASH];
    vipo_merge_counts counts;
    vipo_store *one = open_new("one.db"), *a = open_new("a.db"), *b = open_new("b.db"), *c = open_new("c.db");
    for (int i = 0; i < 30; i++) add(one, i, true);
    for (int i = 29; i >= 0; i--) add(i % 2 ? a : b, i, true);
    add(a, 4, true); /* in both, alike */
    digest(one, whole, 30);
    digest(a, other, 16);
    assert_string_not_equal(whole, other);
    assert_ok(vipo_store_merge(c, a, &counts, &error), &error);
    assert_int_equal(counts.added, 16);
    assert_ok(vipo_store_merge(c, b, &counts, &error), &error);
    assert_int_equal(counts.added, 14);
    assert_int_equal(counts.present, 1);
    assert_int_equal(counts.different, 0);
    digest(c, merged, 30);
    assert_string_equal(whole, merged);

    /* times and machines are no results; steps are */
    vipo_store *d = open_new("d.db");
    bool added;
    vipo_record record = sample(3);
    record.seconds = 99;
    strcpy(record.host, "elsewhere");
    assert_ok(vipo_store_add(d, &record, &added, &error), &error);
    record = sample(5);
    record.steps++;
    assert_ok(vipo_store_add(d, &record, &added, &error), &error);
    assert_ok(vipo_store_merge(c, d, &counts, &error), &error);
    assert_int_equal(counts.present, 1);
    assert_int_equal(counts.different, 1);
    digest(c, merged, 30);
    assert_string_equal(whole, merged);
    vipo_store_close(&one);
    vipo_store_close(&a);
    vipo_store_close(&b);
    vipo_store_close(&c);
    vipo_store_close(&d);
}

static void refuse(const char *path, vipo_store_mode mode, vipo_status wanted, const char *message)
{
    vipo_store *store;
    vipo_error error = {0};
    assert_int_equal(vipo_store_open(&store, path, mode, &error), wanted);
    assert_null(store);
    if (!strstr(error.message, message)) fail_msg("%s", error.message);
    assert_null(strchr(error.message, '\n'));
}

static void test_other_files(void **state)
{
    (void)state;
    char command[600];
    refuse(test_temporary("none.db"), VIPO_STORE_READ, VIPO_IO, "none.db: No such file");
    refuse(test_temporary("no/where.db"), VIPO_STORE_WRITE, VIPO_IO, "where.db: cannot write");
    assert_int_equal(mkdir(test_temporary("folder"), 0777), 0);
    refuse(test_temporary("folder"), VIPO_STORE_WRITE, VIPO_IO,
           "folder: expected a file of results, found a folder");
    char text[2000];
    memset(text, 'x', sizeof text);
    test_file_write(test_temporary("text.db"), text, sizeof text);
    refuse(test_temporary("text.db"), VIPO_STORE_WRITE, VIPO_FORMAT, "text.db: not a store of results");
    refuse(test_temporary("text.db"), VIPO_STORE_READ, VIPO_FORMAT, "text.db: not a store of results");
    size_t size;
    char *const kept = test_file_read(test_temporary("text.db"), &size);
    assert_int_equal(size, sizeof text); /* as it was */
    assert_memory_equal(kept, text, size);
    free(kept);
    test_file_write(test_temporary("empty.db"), "", 0);
    refuse(test_temporary("empty.db"), VIPO_STORE_READ, VIPO_FORMAT, "empty.db: holds no results");

    vipo_store *store = open_new("damaged.db");
    vipo_error error = {0};
    for (int i = 0; i < 100; i++) add(store, i, true);
    vipo_store_close(&store);
    snprintf(command, sizeof command, "cp '%s' '%s'", test_temporary("damaged.db"), test_temporary("cut.db"));
    assert_int_equal(system(command), 0);
    assert_int_equal(truncate(test_temporary("cut.db"), 9000), 0);
    vipo_status status = vipo_store_open(&store, test_temporary("cut.db"), VIPO_STORE_READ, &error);
    walk all = {.most = 1000};
    if (status == VIPO_OK) status = vipo_store_each(store, NULL, visit, &all, &error);
    assert_int_equal(status, VIPO_FORMAT);
    vipo_store_close(&store);
}

/* Another writer's process, killed between its rows: complete rows, and more can be added. */
static void test_killed(void **state)
{
    (void)state;
    char before[VIPO_SETTINGS_HASH];
    vipo_store *store = open_new("killed.db");
    vipo_store_close(&store);
    for (int round = 0; round < 8; round++) {
        int added_one[2];
        assert_int_equal(pipe(added_one), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            vipo_error error;
            bool added;
            if (vipo_store_open(&store, test_temporary("killed.db"), VIPO_STORE_WRITE, &error) != VIPO_OK)
                _exit(1);
            for (int i = 0;; i++) {
                const vipo_record record = sample(i);
                if (vipo_store_add(store, &record, &added, &error) != VIPO_OK) _exit(1);
                if (i == 0 && write(added_one[1], "", 1) != 1) _exit(1);
            }
        }
        close(added_one[1]);
        char byte;
        assert_int_equal(read(added_one[0], &byte, 1), 1);
        close(added_one[0]);
        usleep(7000 * (unsigned)round);
        int status;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
    }
    vipo_error error = {0};
    int rows;
    assert_ok(vipo_store_open(&store, test_temporary("killed.db"), VIPO_STORE_WRITE, &error), &error);
    assert_ok(vipo_store_digest(store, before, &rows, &error), &error);
    assert_true(rows > 0);
    for (int i = 0; i < rows; i++) add(store, i, false); /* the first ones, all of them */
    add(store, rows, true);
    vipo_store_close(&store);
}

/* Reads a store that others make, fill and close; true if it never fails but for want of one. */
static bool read_beside(const char *name)
{
    for (int i = 0; i < 20; i++) {
        vipo_store *store;
        vipo_error error = {0};
        char digest[VIPO_SETTINGS_HASH];
        int rows;
        vipo_status status = vipo_store_open(&store, test_temporary(name), VIPO_STORE_READ, &error);
        if (status == VIPO_OK) status = vipo_store_digest(store, digest, &rows, &error);
        vipo_store_close(&store);
        if (status == VIPO_OK || strstr(error.message, "No such file") ||
            strstr(error.message, "holds no results"))
            continue;
        fprintf(stderr, "%s\n", error.message);
        return false;
    }
    return true;
}

/* Several processes at one moment make a store that is not there, fill it, and close it; one more reads. */
static void test_together(void **state)
{
    (void)state;
    enum { ROUNDS = 100, PROCESSES = 3, ROWS = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        char name[32];
        snprintf(name, sizeof name, "together%d.db", round);
        int start[2];
        assert_int_equal(pipe(start), 0);
        for (int i = 0; i <= PROCESSES; i++) {
            const pid_t child = fork();
            assert_true(child >= 0);
            if (child != 0) continue;
            char byte;
            close(start[1]);
            (void)!read(start[0], &byte, 1); /* until the parent has closed its end */
            if (i == PROCESSES) _exit(!read_beside(name));
            vipo_store *store;
            vipo_error error = {0};
            bool added;
            vipo_status status = vipo_store_open(&store, test_temporary(name), VIPO_STORE_WRITE, &error);
            for (int k = 0; k < ROWS && status == VIPO_OK; k++) {
                const vipo_record record = sample(k);
                status = vipo_store_add(store, &record, &added, &error);
            }
            vipo_store_close(&store);
            if (status != VIPO_OK) fprintf(stderr, "round %d: %s\n", round, error.message);
            _exit(status != VIPO_OK);
        }
        close(start[0]);
        close(start[1]);
        int failed = 0;
        for (int i = 0; i <= PROCESSES; i++) {
            int status;
            assert_true(wait(&status) > 0);
            failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        }
        assert_int_equal(failed, 0);
        char digest[VIPO_SETTINGS_HASH];
        int rows;
        vipo_store *store;
        vipo_error error = {0};
        assert_ok(vipo_store_open(&store, test_temporary(name), VIPO_STORE_READ, &error), &error);
        assert_ok(vipo_store_digest(store, digest, &rows, &error), &error);
        assert_int_equal(rows, ROWS);
        vipo_store_close(&store);
    }
}

/* A limit on the size of files stands for a full disk. */
static void test_full(void **state)
{
    (void)state;
    vipo_store *store = open_new("full.db");
    for (int i = 0; i < 10; i++) add(store, i, true);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = {60000, 60000};
        setrlimit(RLIMIT_FSIZE, &limit);
        vipo_error error = {0};
        vipo_store *own;
        bool added = true;
        vipo_status status = vipo_store_open(&own, test_temporary("full.db"), VIPO_STORE_WRITE, &error);
        for (int i = 10; i < 100000 && status == VIPO_OK; i++) {
            const vipo_record record = sample(i);
            status = vipo_store_add(own, &record, &added, &error);
        }
        vipo_store_close(&own);
        _exit(status == VIPO_IO && !added && strstr(error.message, "full.db: cannot write: ") ? 42 : 1);
    }
    int status, rows;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    char hash[VIPO_SETTINGS_HASH];
    vipo_error error = {0};
    assert_ok(vipo_store_digest(store, hash, &rows, &error), &error);
    assert_true(rows >= 10);
    for (int i = 0; i < rows; i++) add(store, i, false);
    add(store, rows, true);
    vipo_store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),        cmocka_unit_test(test_walks),  cmocka_unit_test(test_merge),
        cmocka_unit_test(test_other_files), cmocka_unit_test(test_killed), cmocka_unit_test(test_together),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
