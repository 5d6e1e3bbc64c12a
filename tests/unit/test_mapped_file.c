/* Mapped files, and what is no file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mapped_file.h"
#include "support/support.h"

static const char *write_bytes(const char *name, const void *data, size_t size)
{
    const char *path = test_temporary(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void test_content(void **state)
{
    (void)state;
    unsigned char bytes[10000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
    vipo_mapped_file file;
    vipo_error error;
    assert_ok(vipo_mapped_file_open(&file, write_bytes("data", bytes, sizeof bytes), &error), &error);
    assert_int_equal(file.size, sizeof bytes);
    assert_int_equal((uintptr_t)file.data % 4096, 0);
    assert_memory_equal(file.data, bytes, sizeof bytes);
    vipo_mapped_file_close(&file);
    assert_null(file.data);
    vipo_mapped_file_close(&file);

    assert_ok(vipo_mapped_file_open(&file, write_bytes("empty", "", 0), &error), &error);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
    vipo_mapped_file_close(&file);
}

/* Kilobytes of files that are resident here; -1 where the system does not say. */
static long resident(void)
{
    char line[256];
    long kilobytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && kilobytes < 0 && fgets(line, sizeof line, status))
        if (sscanf(line, "RssFile: %ld", &kilobytes) != 1) kilobytes = -1;
    if (status) fclose(status);
    return kilobytes;
}

static void test_release(void **state)
{
    (void)state;
    enum { BYTES = 8 << 20, FIRST = 5000, SIZE = 7 << 20 };
    unsigned char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    for (size_t i = 0; i < BYTES; i++) bytes[i] = (unsigned char)(i * 31 >> 4);
    vipo_mapped_file file;
    vipo_error error;
    assert_ok(vipo_mapped_file_open(&file, write_bytes("released", bytes, BYTES), &error), &error);
    assert_memory_equal(file.data, bytes, BYTES);
    const long before = resident();
    vipo_mapped_file_release(&file, file.data + FIRST, SIZE);
    if (before >= 0) assert_true(resident() < before - SIZE / 1024 + 64);
    assert_memory_equal(file.data, bytes, BYTES);
    vipo_mapped_file_release(&file, file.data + FIRST, 100); /* less than a page */
    vipo_mapped_file_release(&file, file.data + BYTES, 0);
    assert_memory_equal(file.data, bytes, BYTES);
    vipo_mapped_file_close(&file);
    free(bytes);
}

static void assert_refused(const char *path, const char *part)
{
    vipo_mapped_file file;
    vipo_error error;
    assert_int_equal(vipo_mapped_file_open(&file, path, &error), VIPO_IO);
    assert_null(file.data);
    if (strncmp(error.message, path, strlen(path)) != 0 || !strstr(error.message, part))
        fail_msg("%s: %s", path, error.message);
    vipo_mapped_file_close(&file);
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused(test_temporary("absent"), "No such file or directory");
    assert_refused("/tmp", "is a folder, expected a regular file");
    assert_refused("/dev/zero", "is a pipe or device");
    const char *pipe = test_temporary("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_refused(pipe, "is a pipe or device"); /* and does not wait for a writer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_content), cmocka_unit_test(test_release),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
