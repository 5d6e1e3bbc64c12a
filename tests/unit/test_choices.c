/* Choices of methods: kept on disk, taken from there, and what happens where that cannot be. */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/files.h"
#include "support/model_folder.h"
#include "support/scripted_ops.h"

static const vipo_layer first = {VIPO_WEIGHT_3X3, 16, 24, 7, 8, 8, false},
                        second = {VIPO_WEIGHT_TIME, 24, 24, 7, 8, 8, false},
                        third = {VIPO_WEIGHT_3X3_UPSAMPLE2, 24, 24, 7, 4, 4, false};

/* ---- helpers --------------------------------------------------------------------------------------------- */

typedef struct heard {
    int warnings, notes;
    char last[1024], warning[1024];
    bool cancel;
} heard;

static void on_log(void *user, vipo_log_level level, const char *line)
{
    heard *h = user;
    assert_true(level == VIPO_LOG_WARNING || level == VIPO_LOG_INFO || level == VIPO_LOG_DEBUG);
    assert_null(strchr(line, '\n'));
    if (level == VIPO_LOG_DEBUG) return;
    h->warnings += level == VIPO_LOG_WARNING;
    h->notes += level == VIPO_LOG_INFO;
    snprintf(level == VIPO_LOG_WARNING ? h->warning : h->last, sizeof h->last, "%s", line);
}

static bool on_cancelled(void *user)
{
    return ((heard *)user)->cancel;
}

typedef struct setting {
    vipo_pool *pool;
    heard heard;
    vipo_callbacks callbacks;
    vipo_choosing how;
} setting;

static int setup(void **state)
{
    static setting s;
    vipo_error error = {0};
    memset(&s, 0, sizeof s);
    assert_ok(vipo_pool_open(&s.pool, 1, &error), &error);
    s.callbacks = (vipo_callbacks){.user = &s.heard, .log = on_log, .cancelled = on_cancelled};
    s.how = (vipo_choosing){.ops = &scripted_ops,
                            .pool = s.pool,
                            .mode = VIPO_CHOOSE_MEASURE,
                            .callbacks = &s.callbacks,
                            .clock = &scripted_clock};
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    vipo_pool_close(&((setting *)*state)->pool);
    return 0;
}

/* A folder of that name that does not exist yet. */
static const char *new_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_temporary("cache"), name);
    return path;
}

static vipo_choices network(const vipo_layer *const *layers, int n)
{
    vipo_choices choices = {0};
    vipo_error error = {0};
    for (int i = 0; i < n; i++) assert_ok(vipo_choices_add(&choices, layers[i], &error), &error);
    return choices;
}

/* What is chosen for a network of the first n layers; its name. */
static const char *choose(setting *s, int n, vipo_method *methods)
{
    static char name[sizeof((vipo_choices *)NULL)->name];
    const vipo_layer *const layers[] = {&first, &second, &third};
    vipo_error error = {0};
    vipo_choices choices = network(layers, n);
    memset(scripted.calls, 0, sizeof scripted.calls);
    assert_ok(vipo_choices_make(&choices, &s->how, &error), &error);
    for (int i = 0; methods && i < n; i++) methods[i] = choices.list[i].method;
    snprintf(name, sizeof name, "%s", choices.name);
    vipo_choices_free(&choices);
    return name;
}

static int calls(void)
{
    return scripted.calls[0] + scripted.calls[1] + scripted.calls[2];
}

/* The only file of a folder with that ending; "" if there is none. */
static const char *only_file(const char *folder, const char *ending)
{
    static char found[512];
    char pattern[560];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/*%s", folder, ending);
    found[0] = '\0';
    if (glob(pattern, 0, NULL, &files) == 0) {
        assert_int_equal(files.gl_pathc, 1);
        snprintf(found, sizeof found, "%s", files.gl_pathv[0]);
    }
    globfree(&files);
    return found;
}

/* ---- lists ----------------------------------------------------------------------------------------------- */

static void test_list(void **state)
{
    (void)state;
    const vipo_layer *const layers[] = {&first, &second, &first, &third, &first};
    vipo_choices choices = network(layers, 5);
    assert_int_equal(choices.n, 3);
    assert_int_equal(choices.list[0].uses, 3);
    assert_int_equal(choices.list[1].uses, 1);
    assert_ptr_equal(vipo_choices_find(&choices, &third), &choices.list[2]);
    vipo_layer other = first;
    other.width++;
    assert_null(vipo_choices_find(&choices, &other));
    other = first;
    other.half = true;
    assert_null(vipo_choices_find(&choices, &other));
    scripted_reset(1, 1, 1);
    scripted.fixed = VIPO_METHOD_WINOGRAD_2;
    choices.list[0].method = VIPO_METHOD_WINOGRAD_4;
    assert_int_equal(vipo_choices_method(&choices, &scripted_ops, &first), VIPO_METHOD_WINOGRAD_4);
    assert_int_equal(vipo_choices_method(&choices, &scripted_ops, &other), VIPO_METHOD_WINOGRAD_2);
    assert_int_equal(vipo_choices_method(NULL, &scripted_ops, &first), VIPO_METHOD_WINOGRAD_2);
    vipo_choices_free(&choices);
    assert_null(choices.list);
}

/* ---- measuring and storing ---------------------------------------------------------------------------------- */

static void test_made_once(void **state)
{
    setting *s = *state;
    vipo_method methods[3];
    s->how.cache = new_folder("once/below");
    scripted_reset(3e-6, 2e-6, 1e-6);
    char name[32];
    snprintf(name, sizeof name, "%s", choose(s, 2, methods));
    assert_int_equal(strncmp(name, "tuned ", 6), 0);
    assert_int_equal(strspn(name + 6, "0123456789abcdef"), 8);
    assert_int_equal(strlen(name), 14);
    assert_int_equal(methods[0], VIPO_METHOD_WINOGRAD_4);
    assert_int_equal(methods[1], VIPO_METHOD_WINOGRAD_4);
    assert_true(calls() > 0);
    assert_true(s->heard.notes == 1 && s->heard.warnings == 0);
    assert_non_null(strstr(s->heard.last, "methods of 2 layers measured in "));
    assert_non_null(strstr(s->heard.last, only_file(s->how.cache, ".json")));
    struct stat info;
    assert_int_equal(stat(s->how.cache, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);

    /* whatever the clock would say now */
    scripted_reset(1e-6, 2e-6, 3e-6);
    assert_string_equal(choose(s, 2, methods), name);
    assert_int_equal(methods[0], VIPO_METHOD_WINOGRAD_4);
    assert_int_equal(calls(), 0);
    assert_int_equal(s->heard.notes, 1);

    /* one layer more: only that is measured */
    assert_string_not_equal(choose(s, 3, methods), name);
    assert_int_equal(methods[1], VIPO_METHOD_WINOGRAD_4);
    assert_int_equal(methods[2], VIPO_METHOD_DIRECT);
    assert_non_null(strstr(s->heard.last, "methods of 1 layer measured in "));
    assert_string_equal(choose(s, 2, methods), name);

    /* looked up, not measured */
    s->how.mode = VIPO_CHOOSE_STORED;
    assert_string_equal(choose(s, 2, methods), name);
    s->how.mode = VIPO_CHOOSE_FIXED;
    assert_string_equal(choose(s, 2, methods), "fixed");
    assert_int_equal(methods[0], VIPO_METHOD_DIRECT);
}

/* The name tells methods and tables apart. */
static void test_names(void **state)
{
    setting *s = *state;
    char names[3][32];
    for (int i = 0; i < 3; i++) {
        s->how.cache = new_folder(i == 0 ? "a" : i == 1 ? "b" : "c");
        scripted_reset(2e-6, i == 1 ? 1e-6 : 4e-6, 1.1e-6);
        snprintf(names[i], sizeof names[i], "%s", choose(s, 2, NULL));
    }
    assert_string_not_equal(names[0], names[1]);
    assert_string_equal(names[0], names[2]);
    vipo_ops other = scripted_ops;
    other.name = "other";
    s->how.ops = &other;
    assert_string_not_equal(choose(s, 2, NULL), names[0]);
}

static void test_nothing_to_choose(void **state)
{
    setting *s = *state;
    s->how.cache = new_folder("nothing");
    scripted_reset(3e-6, 2e-6, 1e-6);
    scripted.knows[VIPO_METHOD_WINOGRAD_2] = scripted.knows[VIPO_METHOD_WINOGRAD_4] = false;
    assert_string_equal(choose(s, 3, NULL), "fixed");
    assert_int_equal(calls(), 0);
    assert_int_not_equal(access(s->how.cache, F_OK), 0);
}

static void test_not_measured(void **state)
{
    setting *s = *state;
    vipo_method methods[3];
    s->how.cache = new_folder("untuned");
    s->how.mode = VIPO_CHOOSE_STORED;
    scripted_reset(3e-6, 2e-6, 1e-6);
    scripted.fixed = VIPO_METHOD_WINOGRAD_2;
    assert_string_equal(choose(s, 3, methods), "untuned");
    for (int i = 0; i < 3; i++) assert_int_equal(methods[i], VIPO_METHOD_WINOGRAD_2);
    assert_int_not_equal(access(s->how.cache, F_OK), 0);
}

/* Measured choices are those of a processor, a table, a number of cores. */
static void test_keys(void **state)
{
    setting *s = *state;
    vipo_error error = {0};
    s->how.cache = new_folder("keys");
    scripted_reset(3e-6, 2e-6, 1e-6);
    choose(s, 2, NULL);
    vipo_pool *two;
    assert_ok(vipo_pool_open(&two, 2, &error), &error);
    s->how.pool = two;
    choose(s, 2, NULL);
    assert_true(calls() > 0);
    char pattern[560];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/methods-scripted-*.json", s->how.cache);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, 2);

    /* one in the other's place is recognised */
    size_t size;
    char *text = test_file_read(files.gl_pathv[0], &size);
    test_file_write(files.gl_pathv[1], text, size);
    free(text);
    globfree(&files);
    for (int i = 0; i < 2; i++) {
        s->how.pool = i ? two : s->pool;
        choose(s, 2, NULL);
    }
    assert_int_equal(s->heard.warnings, 1);
    vipo_pool_close(&two);
}

/* ---- files that are wrong ------------------------------------------------------------------------------------ */

static char *replaced(const char *text, const char *what, const char *by)
{
    const char *at = strstr(text, what);
    if (!at) fail_msg("no %s in %s", what, text);
    char *out = malloc(strlen(text) + strlen(by) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, by, at + strlen(what));
    return out;
}

static void test_broken_files(void **state)
{
    setting *s = *state;
    s->how.cache = new_folder("broken");
    scripted_reset(3e-6, 2e-6, 1e-6);
    choose(s, 2, NULL);
    const char *path = only_file(s->how.cache, ".json");
    size_t size;
    char *good = test_file_read(path, &size);
    static const struct {
        const char *what, *by, *message;
    } cases[] = {
        {NULL, "", "empty file"},
        {NULL, "{\"format\": 1", "line 1"},
        {NULL, "[]", "expected an object"},
        {"\"format\": 1", "\"format\": 2", "format"},
        {"\"format\": 1,", "", "format"},
        {"\"key\"", "\"lock\"", "key"},
        {"\"cores\": 1", "\"cores\": 3", "of another machine or version"},
        {"\"kernels\": ", "\"kernels\": 1", "of another machine or version"},
        {"\"layers\"", "\"lawyers\"", "layers"},
        {"{\"kind\"", "1, {\"kind\"", "layers[0]"},
        {"\"3x3\"", "\"4x4\"", "no method \"winograd4\" for a layer \"4x4\""},
        {"\"3x3\"", "3", "kind"},
        {"\"in\": 16", "\"in\": 0", "in"},
        {"\"in\": 16", "\"in\": 1.5", "in"},
        {"\"width\": 8,", "", "width"},
        {"\"half_weights\": false", "\"half_weights\": 0", "half_weights"},
        {"\"half_weights\": false, ", "", "half_weights"},
        {"\"method\": \"winograd4\"", "\"method\": \"winograd5\"", "no method \"winograd5\""},
        {"\"winograd4\": 0", "\"winograd4\": -0", "winograd4: expected a number in 0"},
        {"\"time\", \"in\": 24", "\"3x3\", \"in\": 16", "a second time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *bad = cases[i].what ? replaced(good, cases[i].what, cases[i].by) : strdup(cases[i].by);
        test_file_write(path, bad, strlen(bad));
        s->heard = (heard){0};
        /* is not written while it is only looked at */
        s->how.mode = VIPO_CHOOSE_STORED;
        assert_string_equal(choose(s, 2, NULL), "untuned");
        char *left = test_file_read(path, &size);
        assert_string_equal(left, bad);
        free(left);
        s->how.mode = VIPO_CHOOSE_MEASURE;
        choose(s, 2, NULL);
        if (s->heard.warnings != 1 || s->heard.notes != 1 || calls() == 0 ||
            strncmp(s->heard.warning, path, strlen(path)) != 0 ||
            !strstr(s->heard.warning, cases[i].message) || !strstr(s->heard.warning, "; it is not used"))
            fail_msg("case %zu: %d warnings, \"%s\"; %d notes; expected \"%s\"", i, s->heard.warnings,
                     s->heard.warning, s->heard.notes, cases[i].message);
        left = test_file_read(path, &size);
        assert_string_equal(left, good);
        free(left);
        free(bad);
        assert_string_equal(only_file(s->how.cache, ".json"), path);
    }
    free(good);
}

/* A method that this version of a table no longer knows for a layer. */
static void test_forgotten_method(void **state)
{
    setting *s = *state;
    vipo_method methods[2];
    s->how.cache = new_folder("forgotten");
    scripted_reset(3e-6, 2e-6, 1e-6);
    choose(s, 2, methods);
    assert_int_equal(methods[0], VIPO_METHOD_WINOGRAD_4);
    scripted.knows[VIPO_METHOD_WINOGRAD_4] = false;
    choose(s, 2, methods);
    assert_int_equal(methods[0], VIPO_METHOD_WINOGRAD_2);
    assert_int_equal(s->heard.warnings, 1);
}

/* ---- folders that cannot be written ------------------------------------------------------------------------- */

static void assert_fixed(setting *s, const char *reason)
{
    vipo_method methods[2];
    s->heard = (heard){0};
    scripted_reset(3e-6, 2e-6, 1e-6);
    scripted.fixed = VIPO_METHOD_WINOGRAD_2;
    assert_string_equal(choose(s, 2, methods), "fixed");
    assert_int_equal(methods[0], VIPO_METHOD_WINOGRAD_2);
    assert_int_equal(methods[1], VIPO_METHOD_WINOGRAD_2);
    assert_true(s->heard.notes == 1 && s->heard.warnings == 0);
    if (strncmp(s->heard.last, "methods are the fixed ones: ", 28) != 0 || !strstr(s->heard.last, reason))
        fail_msg("\"%s\" does not say \"%s\"", s->heard.last, reason);
}

static void test_nowhere_to_store(void **state)
{
    setting *s = *state;
    char *file = strdup(test_file_write(test_temporary("no_folder"), "x", 1));
    char below[512];
    snprintf(below, sizeof below, "%s/cache", file);
    s->how.cache = file;
    assert_fixed(s, "what should be its folder is a file");
    assert_int_equal(calls(), 0);
    s->how.cache = below;
    assert_fixed(s, "what should be its folder is a file");
    s->how.cache = "/proc/vipo";
    assert_fixed(s, "/proc/vipo");
    free(file);

    /* the file's place is taken by a folder: found out before anything is measured */
    s->how.cache = new_folder("taken");
    scripted_reset(3e-6, 2e-6, 1e-6);
    choose(s, 2, NULL);
    char *path = strdup(only_file(s->how.cache, ".json"));
    unlink(path);
    mkdir(path, 0700);
    scripted_reset(3e-6, 2e-6, 1e-6);
    s->heard = (heard){0};
    assert_string_equal(choose(s, 2, NULL), "fixed");
    assert_int_equal(calls(), 0);
    assert_int_equal(s->heard.warnings, 1);
    assert_non_null(strstr(s->heard.warning, "is a folder"));
    assert_non_null(strstr(s->heard.last, "it is a folder"));
    free(path);
}

/* What the superuser may not write does not exist: it becomes another one for a while. */
static void forbid_writing(const char *folder, uid_t *user)
{
    *user = geteuid();
    if (*user != 0) {
        assert_int_equal(chmod(folder, 0500), 0);
        return;
    }
    assert_int_equal(chmod(test_temporary(""), 0755), 0);
    assert_int_equal(chmod(test_temporary("cache"), 0755), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(seteuid(65534), 0);
}

static void allow_writing(const char *folder, uid_t user)
{
    if (user == 0) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(folder, 0700), 0);
}

/* Choices that are stored serve where nothing can be written. */
static void test_read_only(void **state)
{
    setting *s = *state;
    uid_t user;
    s->how.cache = new_folder("filled");
    scripted_reset(3e-6, 2e-6, 1e-6);
    char name[32];
    snprintf(name, sizeof name, "%s", choose(s, 2, NULL));
    forbid_writing(s->how.cache, &user);
    scripted_reset(1e-6, 2e-6, 3e-6);
    assert_string_equal(choose(s, 2, NULL), name);
    s->heard = (heard){0};
    assert_string_equal(choose(s, 3, NULL), "fixed"); /* one is missing: all are the fixed ones */
    assert_int_equal(calls(), 0);
    assert_non_null(strstr(s->heard.last, "Permission denied"));
    allow_writing(s->how.cache, user);
    assert_int_equal(strncmp(choose(s, 3, NULL), "tuned ", 6), 0);

    /* an empty one */
    s->how.cache = new_folder("readonly");
    assert_int_equal(mkdir(s->how.cache, 0700), 0);
    forbid_writing(s->how.cache, &user);
    assert_fixed(s, "Permission denied");
    assert_int_equal(calls(), 0);
    allow_writing(s->how.cache, user);
}

/* $VIPO_CACHE, $XDG_CACHE_HOME/vipo, ~/.cache/vipo. */
static void test_default_folders(void **state)
{
    setting *s = *state;
    char *before[3];
    static const char *const names[] = {"VIPO_CACHE", "XDG_CACHE_HOME", "HOME"};
    for (int i = 0; i < 3; i++) {
        before[i] = getenv(names[i]) ? strdup(getenv(names[i])) : NULL;
        unsetenv(names[i]);
    }
    s->how.cache = NULL;
    assert_fixed(s, "VIPO_CACHE, XDG_CACHE_HOME and HOME are not set");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_fixed(s, "are not set");

    char *home = strdup(new_folder("home")), folder[600];
    for (int i = 2; i >= 0; i--) {
        setenv(names[i], home, 1);
        if (i == 1) setenv(names[i], test_temporary("xdg"), 1);
        if (i == 0) setenv(names[i], test_temporary("own"), 1);
        snprintf(folder, sizeof folder, "%s%s", getenv(names[i]),
                 i == 2   ? "/.cache/vipo"
                 : i == 1 ? "/vipo"
                          : "");
        scripted_reset(3e-6, 2e-6, 1e-6);
        choose(s, 2, NULL);
        assert_true(calls() > 0);
        assert_string_not_equal(only_file(folder, ".json"), "");
        choose(s, 2, NULL);
        assert_int_equal(calls(), 0);
    }
    free(home);
    for (int i = 0; i < 3; i++) {
        if (before[i])
            setenv(names[i], before[i], 1);
        else
            unsetenv(names[i]);
        free(before[i]);
    }
}

/* ---- several at once ------------------------------------------------------------------------------------------ */

static void test_locked(void **state)
{
    setting *s = *state;
    s->how.cache = new_folder("locked");
    scripted_reset(3e-6, 2e-6, 1e-6);
    choose(s, 1, NULL);
    const int lock = open(only_file(s->how.cache, ".lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);

    /* who only reads does not wait */
    scripted_reset(3e-6, 2e-6, 1e-6);
    assert_int_equal(strncmp(choose(s, 1, NULL), "tuned ", 6), 0);
    s->how.wait = 0.05;
    s->heard = (heard){0};
    assert_string_equal(choose(s, 2, NULL), "fixed");
    assert_int_equal(calls(), 0);
    assert_int_equal(s->heard.notes, 2); /* that it waits, that it gave up */
    assert_non_null(strstr(s->heard.last, "locked by another process for 0.05 s"));

    s->how.wait = 60;
    s->heard = (heard){.cancel = true};
    vipo_error error = {0};
    const vipo_layer *const layers[] = {&first, &second};
    vipo_choices choices = network(layers, 2);
    assert_int_equal(vipo_choices_make(&choices, &s->how, &error), VIPO_CANCELLED);
    vipo_choices_free(&choices);
    s->heard.cancel = false;
    close(lock);
    assert_int_equal(strncmp(choose(s, 2, NULL), "tuned ", 6), 0);
}

/* Cancelled while it measures: nothing is stored, and nobody is kept waiting. */
static void test_cancelled(void **state)
{
    setting *s = *state;
    s->how.cache = new_folder("cancelled");
    scripted_reset(3e-6, 2e-6, 1e-6);
    s->heard.cancel = true;
    vipo_error error = {0};
    const vipo_layer *const layers[] = {&first};
    vipo_choices choices = network(layers, 1);
    assert_int_equal(vipo_choices_make(&choices, &s->how, &error), VIPO_CANCELLED);
    vipo_choices_free(&choices);
    s->heard.cancel = false;
    assert_string_equal(only_file(s->how.cache, ".json"), "");
    assert_int_equal(strncmp(choose(s, 1, NULL), "tuned ", 6), 0);
}

/* Processes that would each choose otherwise begin at the same time: all take what the first one found. */
static void test_processes(void **state)
{
    enum { PROCESSES = 6, ROUNDS = 5, ROOM = 32 };
    setting *s = *state;
    for (int round = 0; round < ROUNDS; round++) {
        char folder[32];
        snprintf(folder, sizeof folder, "processes%d", round);
        s->how.cache = new_folder(folder);
        int start[2], answers[2];
        assert_int_equal(pipe(start), 0);
        assert_int_equal(pipe(answers), 0);
        fflush(NULL);
        for (int i = 0; i < PROCESSES; i++) {
            if (fork() != 0) continue;
            char go, name[ROOM] = "";
            close(start[1]);
            if (read(start[0], &go, 1) < 0) _exit(1); /* until the parent closes its end */
            scripted_reset(i % 3 == 0 ? 1e-6 : 3e-6, i % 3 == 1 ? 1e-6 : 3e-6, i % 3 == 2 ? 1e-6 : 3e-6);
            snprintf(name, sizeof name, "%s", choose(s, 2 + i % 2, NULL));
            vipo_method methods[2];
            choose(s, 2, methods); /* what all of them have in common */
            name[30] = (char)('0' + methods[0]);
            name[31] = (char)('0' + methods[1]);
            _exit(write(answers[1], name, ROOM) == ROOM ? 0 : 1);
        }
        close(start[0]);
        close(start[1]);
        close(answers[1]);
        char names[PROCESSES][ROOM];
        for (int i = 0; i < PROCESSES; i++) assert_int_equal(read(answers[0], names[i], ROOM), ROOM);
        close(answers[0]);
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            assert_true(wait(&status) > 0);
            assert_int_equal(status, 0);
            assert_int_equal(strncmp(names[i], "tuned ", 6), 0);
            assert_memory_equal(names[i] + 30, names[0] + 30, 2);
        }
        scripted_reset(1, 1, 1);
        vipo_method methods[3];
        choose(s, 3, methods);
        assert_int_equal(calls(), 0);
        assert_int_equal('0' + methods[0], names[0][30]);
        assert_int_equal('0' + methods[1], names[0][31]);
        assert_int_equal(s->heard.warnings, 0);
    }
}

/* ---- models ---------------------------------------------------------------------------------------------------- */

static vipo_model *open_model(const char *folder, const vipo_model_options *options)
{
    vipo_model *model;
    vipo_error error = {0};
    assert_ok(vipo_model_open(&model, folder, options, &error), &error);
    return model;
}

/* The same bits as long as the choices are there, in every table. */
static void test_model(void **state)
{
    setting *s = *state;
    const char *folder = test_tiny_folder("tuned");
    vipo_error error = {0};
    vipo_model_options options;
    vipo_model_default_options(&options);
    assert_int_equal(options.tuning, VIPO_TUNING_DEFAULT);
    assert_null(options.cache);
    options.cache = test_temporary("model_cache");
    options.callbacks = &s->callbacks;
    for (int i = 0; vipo_ops_available(i); i++) {
        options.compute = vipo_ops_available(i)->name;
        const bool has_choice = strcmp(options.compute, "ref") != 0;
        vipo_methods before, after, off;
        options.tuning = VIPO_TUNING_ON;
        assert_ok(vipo_model_read_methods(folder, &options, &before, &error), &error);
        assert_string_equal(before.name, has_choice ? "untuned" : "fixed");
        assert_string_equal(before.compute, options.compute);
        vipo_model *first_model = open_model(folder, &options), *again = open_model(folder, &options);
        assert_string_equal(vipo_model_methods(first_model), vipo_model_methods(again));
        assert_ok(vipo_model_read_methods(folder, &options, &after, &error), &error);
        assert_string_equal(after.name, vipo_model_methods(first_model));
        assert_int_equal(strncmp(after.name, has_choice ? "tuned " : "fixed", 6), 0);
        options.tuning = VIPO_TUNING_OFF;
        assert_ok(vipo_model_read_methods(folder, &options, &off, &error), &error);
        assert_string_equal(off.name, "fixed");
        assert_int_equal(after.n_layers, before.n_layers);
        assert_int_equal(off.n_layers, before.n_layers);
        int uses = 0, measured = 0;
        for (int k = 0; k < before.n_layers; k++) {
            assert_string_equal(before.layers[k].method, off.layers[k].method);
            assert_true(before.layers[k].seconds == 0);
            uses += after.layers[k].uses;
            measured += after.layers[k].seconds > 0;
        }
        assert_int_equal(uses, 40);
        assert_true(has_choice ? measured > 5 : measured == 0);
        assert_string_equal(before.layers[0].kind, "3x3");
        assert_int_equal(before.layers[0].in, 6);
        assert_int_equal(before.layers[0].out, 32);
        assert_int_equal(before.layers[0].width, TINY_SIDE);
        assert_string_equal(before.layers[1].kind, "time");

        vipo_plan plans[2];
        vipo_array cond = {0};
        assert_ok(vipo_array_alloc(&cond, 4, (const size_t[]){1, TINY_SIDE, TINY_SIDE, 3}, &error), &error);
        for (int k = 0; k < 2; k++) {
            vipo_planner *planner;
            vipo_request request;
            const vipo_planner_options threads = {.threads = 1 + k};
            vipo_request_default(&request);
            request.cond = &cond;
            request.text = "door open";
            request.sampler.name = "ddim";
            request.sampler.steps = 2;
            assert_ok(vipo_planner_open(&planner, k ? again : first_model, &threads, &error), &error);
            assert_ok(vipo_planner_plan(planner, &request, &plans[k], &error), &error);
            assert_string_equal(plans[k].methods, after.name);
            assert_string_equal(plans[k].compute, options.compute);
            vipo_planner_close(&planner);
        }
        assert_memory_equal(plans[0].video.data, plans[1].video.data,
                            vipo_array_size(&plans[0].video) * sizeof(float));
        vipo_array_free(&cond);
        for (int k = 0; k < 2; k++) vipo_plan_free(&plans[k]);
        vipo_methods_free(&before);
        vipo_methods_free(&after);
        vipo_methods_free(&off);
        assert_null(off.layers);
        vipo_model_close(&first_model);
        vipo_model_close(&again);
    }
}

static void test_wishes(void **state)
{
    (void)state;
    const char *folder = test_tiny_folder("wishes");
    vipo_error error = {0};
    vipo_methods methods;
    vipo_model *model;
    vipo_model_options options;
    vipo_model_default_options(&options);
    options.compute = "ref";
    setenv("VIPO_TUNE", "perhaps", 1);
    assert_int_equal(vipo_model_read_methods(folder, &options, &methods, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "VIPO_TUNE: \"perhaps\", expected on or off");
    assert_int_equal(vipo_model_open(&model, folder, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "VIPO_TUNE: \"perhaps\", expected on or off");
    options.tuning = VIPO_TUNING_OFF; /* then the variable does not count */
    assert_ok(vipo_model_open(&model, folder, &options, &error), &error);
    assert_string_equal(vipo_model_methods(model), "fixed");
    vipo_model_close(&model);
    setenv("VIPO_TUNE", "off", 1);
    options.tuning = (vipo_tuning)7;
    assert_int_equal(vipo_model_open(&model, folder, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "tuning: 7, expected a vipo_tuning");
    assert_int_equal(vipo_model_read_methods(test_temporary("no_model"), NULL, &methods, &error), VIPO_IO);
    assert_null(methods.layers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list),
        TEST(test_made_once),
        TEST(test_names),
        TEST(test_nothing_to_choose),
        TEST(test_not_measured),
        TEST(test_keys),
        TEST(test_broken_files),
        TEST(test_forgotten_method),
        TEST(test_nowhere_to_store),
        TEST(test_read_only),
        TEST(test_default_folders),
        TEST(test_locked),
        TEST(test_cancelled),
        TEST(test_processes),
        TEST(test_model),
        TEST(test_wishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
