/* The normal stream: Philox's known answers, its independence of how it is drawn, its moments. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "support/support.h"

/* Box-Muller of two words, as core/rng.c defines it. */
static void assert_pair(uint32_t a, uint32_t b, const float *z)
{
    const double radius = sqrt(-2 * log(((double)a + 1) / 4294967296.0));
    const double angle = 2 * 3.14159265358979323846 * ((double)b / 4294967296.0);
    assert_true(fabs((double)z[0] - radius * cos(angle)) < 1e-6);
    assert_true(fabs((double)z[1] - radius * sin(angle)) < 1e-6);
}

/* Known answers of philox4x32-10 (kat_vectors of Random123): counter, key, result. */
static void test_known_answers(void **state)
{
    (void)state;
    const vipo_rng_stream zero = {0};
    float z[4];
    vipo_rng_normal(0, &zero, 0, 4, z);
    assert_pair(0x6627e8d5, 0xe169c58d, z);
    assert_pair(0xbc57ac4c, 0x9b00dbd8, z + 2);

    const vipo_rng_stream ones = {UINT32_MAX, UINT32_MAX, 0xfffff, 0xfff};
    vipo_rng_normal(UINT64_MAX, &ones, 4 * (uint64_t)UINT32_MAX, 4, z);
    assert_pair(0x408f276d, 0x41c83b0e, z);
    assert_pair(0xa20bc7c6, 0x6d5451fd, z + 2);

    /* counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 */
    const vipo_rng_stream pi = {0x85a308d3, 0x13198a2e, 0x07344 & 0xfffff, 0x037};
    vipo_rng_normal(UINT64_C(0x299f31d0a4093822), &pi, 4 * UINT64_C(0x243f6a88), 4, z);
    assert_pair(0xd16cfe09, 0x94fdcceb, z);
    assert_pair(0x5001e420, 0x24126ea1, z + 2);
}

static void test_pieces(void **state)
{
    (void)state;
    enum { N = 257 };
    const vipo_rng_stream stream = {.episode = 3, .plan = 1, .sample = 2, .purpose = 5};
    float whole[N], pieces[N];
    vipo_rng_normal(42, &stream, 0, N, whole);
    for (size_t step = 1; step <= 9; step++) {
        memset(pieces, 0, sizeof pieces);
        for (size_t first = 0; first < N; first += step)
            vipo_rng_normal(42, &stream, first, N - first < step ? N - first : step, pieces + first);
        assert_memory_equal(pieces, whole, sizeof whole);
    }
    pieces[0] = 9;
    double exact[N];
    vipo_rng_normal_double(42, &stream, 0, N, exact);
    for (size_t first = 0; first < N; first++) {
        double one;
        vipo_rng_normal_double(42, &stream, first, 1, &one);
        assert_true(one == exact[first] && (float)one == whole[first]);
    }
    vipo_rng_normal(42, &stream, 7, 0, pieces); /* nothing asked, nothing written */
    assert_true(pieces[0] == 9);
}

static void test_streams_differ(void **state)
{
    (void)state;
    enum { N = 64, STREAMS = 7 };
    static const vipo_rng_stream streams[STREAMS] = {
        {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {0, 0, 0, 2}, {0, 0, 2, 0},
    };
    float z[STREAMS + 2][N];
    for (int i = 0; i < STREAMS; i++) vipo_rng_normal(1, &streams[i], 0, N, z[i]);
    vipo_rng_normal(2, &streams[0], 0, N, z[STREAMS]);
    vipo_rng_normal(UINT64_C(1) << 32 | 1, &streams[0], 0, N, z[STREAMS + 1]);
    for (int i = 0; i < STREAMS + 2; i++)
        for (int j = 0; j < i; j++)
            for (int k = 0; k < N; k++)
                if (z[i][k] == z[j][k]) fail_msg("streams %d and %d agree at %d", i, j, k);
}

static void test_moments(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    const vipo_rng_stream stream = {0};
    float *z = malloc(N * sizeof *z);
    assert_non_null(z);
    vipo_rng_normal(2024, &stream, 0, N, z);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0;
    for (int i = 0; i < N; i++) {
        const double x = (double)z[i];
        assert_true(fabs(x) < 7);
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        if (i > 0) lag += x * (double)z[i - 1];
    }
    free(z);
    /* Five standard errors each: sqrt(1, 2, 15, 96, 1) / sqrt(N). */
    const double unit = 5 / sqrt((double)N);
    assert_true(fabs(m1 / N) < unit);
    assert_true(fabs(m2 / N - 1) < sqrt(2.0) * unit);
    assert_true(fabs(m3 / N) < sqrt(15.0) * unit);
    assert_true(fabs(m4 / N - 3) < sqrt(96.0) * unit);
    assert_true(fabs(lag / N) < unit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_answers), cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_streams_differ), cmocka_unit_test(test_moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
