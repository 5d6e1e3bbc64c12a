/* Atomic output files: all or nothing, whatever goes wrong. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file_output.h"
#include "support/support.h"

/* In the place of the system's: the library's calls end here. */
static int fsync_code, fsync_calls;

int fsync(int descriptor)
{
    (void)descriptor;
    fsync_calls++;
    errno = fsync_code;
    return fsync_code ? -1 : 0;
}

/* A fresh folder under the temporary one, made the current one of the path helper below. */
static char folder[512];

static void make_folder(const char *name)
{
    snprintf(folder, sizeof folder, "%s", test_temporary(name));
    assert_int_equal(mkdir(folder, 0777), 0);
}

static const char *in_folder(const char *name)
{
    static char paths[2][600];
    static int next;
    char *path = paths[next ^= 1];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int count_entries(void)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    int n = 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return n;
}

static void write_now(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *path, const char *expected)
{
    char text[64] = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    return info.st_mode & 0777;
}

static void test_commit_and_abandon(void **state)
{
    (void)state;
    make_folder("commit");
    const char *path = in_folder("a.txt");
    vipo_file_output output;
    vipo_error error;
    assert_ok(vipo_file_output_open(&output, path, &error), &error);
    fputs("first", output.stream);
    assert_int_equal(access(path, F_OK), -1); /* not before commit */
    assert_int_equal(access(output.temporary, F_OK), 0);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    assert_content(path, "first");
    vipo_file_output_abandon(&output); /* of a committed file: nothing */
    assert_content(path, "first");
    assert_int_equal(count_entries(), 1);

    assert_ok(vipo_file_output_open(&output, path, &error), &error);
    fputs("second", output.stream);
    fflush(output.stream);
    vipo_file_output_abandon(&output);
    assert_content(path, "first");
    assert_int_equal(count_entries(), 1);
    vipo_file_output_abandon(&output);

    /* Two at once do not share a temporary file. */
    vipo_file_output other;
    assert_ok(vipo_file_output_open(&output, path, &error), &error);
    assert_ok(vipo_file_output_open(&other, path, &error), &error);
    assert_string_not_equal(output.temporary, other.temporary);
    fputs("third", output.stream);
    fputs("fourth", other.stream);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    assert_ok(vipo_file_output_commit(&other, &error), &error);
    assert_content(path, "fourth");
    assert_int_equal(count_entries(), 1);
}

static void test_impossible_places(void **state)
{
    (void)state;
    make_folder("impossible");
    vipo_file_output output;
    vipo_error error;
    assert_int_equal(vipo_file_output_open(&output, in_folder("no/such/file.txt"), &error), VIPO_IO);
    assert_non_null(strstr(error.message, "no/such/file.txt: cannot write: its folder does not exist"));
    assert_null(output.stream);
    assert_int_equal(vipo_file_output_open(&output, folder, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "it is a folder"));
    write_now(in_folder("file"), "x");
    assert_int_equal(vipo_file_output_open(&output, in_folder("file/inside"), &error), VIPO_IO);
    assert_non_null(strstr(error.message, "what should be its folder is a file"));
    assert_int_equal(vipo_file_output_open(&output, "", &error), VIPO_IO);
    assert_int_equal(vipo_file_output_open(&output, "/dev/fd/999", &error), VIPO_IO);
    assert_int_equal(count_entries(), 1);

    /* The folder becomes unusable between open and commit: the destination turned into one. */
    assert_ok(vipo_file_output_open(&output, in_folder("late"), &error), &error);
    fputs("lost", output.stream);
    assert_int_equal(mkdir(in_folder("late"), 0777), 0);
    assert_int_equal(vipo_file_output_commit(&output, &error), VIPO_IO);
    assert_null(output.path);
    assert_int_equal(count_entries(), 2);
}

/* Names as long as a file system allows: the temporary one is not longer. */
static void test_long_names(void **state)
{
    (void)state;
    make_folder("long");
    char name[300];
    vipo_output *output;
    vipo_error error;
    for (size_t length = 190; length <= 255; length += 65) {
        memset(name, 'n', length);
        name[length] = '\0';
        assert_ok(vipo_output_check(in_folder(name), &error), &error);
        assert_int_equal(count_entries(), length > 190);
        assert_ok(vipo_output_open(&output, in_folder(name), &error), &error);
        assert_ok(vipo_output_write(output, "text", 4, &error), &error);
        assert_ok(vipo_output_commit(&output, &error), &error);
        assert_content(in_folder(name), "text");
    }
    assert_int_equal(count_entries(), 2);
    memset(name, 'n', 256);
    name[256] = '\0';
    assert_int_equal(vipo_output_check(in_folder(name), &error), VIPO_IO);
    assert_non_null(strstr(error.message, "cannot write: File name too long"));
    assert_int_equal(count_entries(), 2);
}

/* The first error stays, and nothing is left. */
static void test_public_output(void **state)
{
    (void)state;
    make_folder("public");
    char path[600];
    snprintf(path, sizeof path, "%s", in_folder("a.jsonl"));
    vipo_output *output;
    vipo_error error;
    assert_int_equal(vipo_output_check(in_folder("no/a"), &error), VIPO_IO);
    assert_int_equal(vipo_output_check(folder, &error), VIPO_IO);
    assert_int_equal(vipo_output_check("", NULL), VIPO_IO);
    assert_int_equal(vipo_output_check("/dev/fd/999", &error), VIPO_IO);
    assert_ok(vipo_output_check("/dev/stderr", &error), &error);
    assert_ok(vipo_output_check("/dev/full", &error), &error);
    assert_ok(vipo_output_open(&output, path, &error), &error);
    assert_ok(vipo_output_write(output, "line\n", 5, &error), &error);
    assert_int_equal(access(path, F_OK), -1);
    vipo_output_abandon(&output);
    assert_null(output);
    vipo_output_abandon(&output);
    assert_int_equal(count_entries(), 0);

    assert_ok(vipo_output_open(&output, "/dev/full", &error), &error);
    memset(&error, 0, sizeof error);
    assert_int_equal(vipo_output_write(output, "line\n", 5, &error), VIPO_IO);
    assert_string_equal(error.message, "/dev/full: cannot write: No space left on device");
    memset(&error, 0, sizeof error);
    assert_int_equal(vipo_output_write(output, "x", 1, NULL), VIPO_IO);
    assert_int_equal(vipo_output_commit(&output, &error), VIPO_IO);
    assert_null(output);
    assert_string_equal(error.message, "/dev/full: cannot write: No space left on device");
    assert_int_equal(vipo_output_open(&output, in_folder("no/a"), &error), VIPO_IO);
    assert_null(output);

    assert_ok(vipo_file_write(path, "whole", 5, &error), &error);
    assert_content(path, "whole");
    assert_int_equal(vipo_file_write("/dev/full", "whole", 5, &error), VIPO_IO);
    assert_int_equal(count_entries(), 1);
}

static void test_full_disk(void **state)
{
    (void)state;
    vipo_file_output output;
    vipo_error error;
    char block[4096] = {0};
    /* Small: noticed when flushed. Large: when written. */
    for (int blocks = 0; blocks < 2; blocks++) {
        assert_ok(vipo_file_output_open(&output, "/dev/full", &error), &error);
        fputs("x", output.stream);
        for (int i = 0; i < blocks * 100; i++) fwrite(block, 1, sizeof block, output.stream);
        assert_int_equal(vipo_file_output_commit(&output, &error), VIPO_IO);
        assert_string_equal(error.message, "/dev/full: cannot write: No space left on device");
    }
    assert_int_equal(access("/dev/full", F_OK), 0); /* written, not replaced or removed */
    assert_ok(vipo_file_output_open(&output, "/dev/full", &error), &error);
    vipo_file_output_abandon(&output);
    assert_int_equal(access("/dev/full", F_OK), 0);
}

static void test_temporary_names(void **state)
{
    (void)state;
    char name[64];
    vipo_temporary_name(name, "a.gif", 3);
    assert_true(vipo_is_temporary_name(name));
    assert_true(vipo_is_temporary_name("a.00000000.tmp"));
    static const char *const others[] = {"",
                                         "a",
                                         "draft.tmp",
                                         ".00000000.tmp",
                                         "a.0000000.tmp",
                                         "a.0000000G.tmp",
                                         "a-00000000.tmp",
                                         "a.00000000.tmq",
                                         "a.00000000.tmp2"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(vipo_is_temporary_name(others[i]));
}

/* Before a file takes its name it is on the disk; what some network file systems tell only then is an error as any other. */
static void test_stored_before_named(void **state)
{
    (void)state;
    make_folder("stored");
    const char *path = in_folder("a.txt");
    write_now(path, "old");
    vipo_error error;
    fsync_calls = 0;
    fsync_code = EIO;
    assert_int_equal(vipo_file_write(path, "new", 3, &error), VIPO_IO);
    assert_non_null(strstr(error.message, "a.txt: cannot write: Input/output error"));
    assert_content(path, "old");
    fsync_code = EINVAL; /* a file system without it */
    assert_ok(vipo_file_write(path, "new", 3, &error), &error);
    assert_content(path, "new");
    fsync_code = 0;
    assert_ok(vipo_file_write(path, "newer", 5, &error), &error);
    assert_content(path, "newer");
    assert_int_equal(fsync_calls, 3);
    assert_ok(vipo_file_write("/dev/null", "new", 3, &error), &error);
    assert_int_equal(fsync_calls, 3);
    assert_int_equal(count_entries(), 1);
}

static void test_modes(void **state)
{
    (void)state;
    make_folder("modes");
    const char *path = in_folder("a.txt");
    vipo_file_output output;
    vipo_error error;
    const mode_t before = umask(027);
    assert_ok(vipo_file_output_open(&output, path, &error), &error);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    assert_int_equal(mode_of(path), 0640);
    assert_int_equal(umask(before), 027);

    /* A file that is there keeps its mode. */
    assert_int_equal(chmod(path, 0606), 0);
    assert_ok(vipo_file_output_open(&output, path, &error), &error);
    fputs("new", output.stream);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    assert_int_equal(mode_of(path), 0606);
    assert_content(path, "new");
}

static void test_link(void **state)
{
    (void)state;
    make_folder("link");
    write_now(in_folder("target"), "old");
    assert_int_equal(symlink("target", in_folder("name")), 0);
    vipo_file_output output;
    vipo_error error;
    assert_ok(vipo_file_output_open(&output, in_folder("name"), &error), &error);
    fputs("new", output.stream);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    struct stat info;
    assert_int_equal(lstat(in_folder("name"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_content(in_folder("target"), "new");
    assert_int_equal(count_entries(), 2);
}

/* The name of a descriptor that leads to a regular file: appended to, never replaced. */
static void test_descriptor(void **state)
{
    (void)state;
    make_folder("descriptor");
    const char *path = in_folder("log");
    const int fd = open(path, O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "before ", 7), 7);
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    vipo_file_output output;
    vipo_error error;
    assert_ok(vipo_file_output_open(&output, name, &error), &error);
    fputs("inside ", output.stream);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    assert_int_equal(write(fd, "after", 5), 5); /* still open */
    close(fd);
    assert_content(path, "before inside after");
    assert_int_equal(count_entries(), 1);

    int ends[2];
    assert_int_equal(pipe(ends), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", ends[1]);
    assert_ok(vipo_file_output_open(&output, name, &error), &error);
    fputs("pipe", output.stream);
    assert_ok(vipo_file_output_commit(&output, &error), &error);
    char text[8] = {0};
    assert_int_equal(read(ends[0], text, sizeof text), 4);
    assert_string_equal(text, "pipe");
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_and_abandon),
        cmocka_unit_test(test_impossible_places),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_public_output),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_temporary_names),
        cmocka_unit_test(test_stored_before_named),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_link),
        cmocka_unit_test(test_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
