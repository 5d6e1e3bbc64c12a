/* What the test programs share. cmocka's own includes come first here, so tests include only this. */
#ifndef VIPO_TESTS_SUPPORT_H
#define VIPO_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vipo/vipo.h"

/* Absolute path of a file of the source tree, e.g. test_path("tests/golden/clip/tokens.json"). Four
 * calls may be alive at once. */
const char *test_path(const char *relative);

/* A private temporary folder, made on the first call, removed at exit; path of a file inside it. */
const char *test_temporary(const char *file_name);

/* Fails the test with the error's message if status is not VIPO_OK. */
#define assert_ok(status, error)                                                                             \
    do {                                                                                                     \
        if ((status) != VIPO_OK) fail_msg("%s: %s", vipo_status_text(status), (error)->message);             \
    } while (0)

/* || a - b || / || b ||; NaN anywhere gives infinity. */
double test_relative_l2(const float *a, const float *b, size_t n);
double test_max_abs(const float *a, const float *b, size_t n);

/* Deterministic numbers for inputs: uniform in [-1,1) of (seed, index). */
float test_uniform(uint64_t seed, uint64_t index);

/* Kilobytes of this process that are in memory now. */
long test_resident(void);

#endif
