/* NumPy's legacy random numbers: numpy.random.seed(s); numpy.random.uniform(low, high), against numbers that AVDC's environments
 * drew (tests/golden/metaworld/avdc-v2.safetensors) and values printed by NumPy. */
#include <math.h>
#include <string.h>

#include "core/mt19937.h"
#include "support/golden.h"

static void test_words(void **state)
{
    (void)state;
    /* the reference implementation's init_genrand(5489): its first and its 10000th number (C++'s std::mt19937) */
    vipo_mt19937 mt;
    vipo_mt19937_seed(&mt, 5489);
    assert_int_equal(vipo_mt19937_next(&mt), 3499211612U);
    for (int i = 2; i < 10000; i++) vipo_mt19937_next(&mt);
    assert_int_equal(vipo_mt19937_next(&mt), 4123659995U);
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        uint32_t seed;
        double first, second;
    } printed[] = {{0, 0.5488135039273248, 0.7151893663724195},
                   {1, 0.417022004702574, 0.7203244934421581},
                   {42, 0.3745401188473625, 0.9507143064099162}};
    for (size_t i = 0; i < sizeof printed / sizeof printed[0]; i++) {
        vipo_mt19937 mt;
        vipo_mt19937_seed(&mt, printed[i].seed);
        assert_true(vipo_mt19937_res53(&mt) == printed[i].first);
        assert_true(vipo_mt19937_res53(&mt) == printed[i].second);
    }
}

/* Row `seed` of a task's draws against low + (high - low) u. */
static void check_draws(const vipo_safetensors *file, const char *name, int n, const double *low,
                        const double *high)
{
    const vipo_tensor_view *view = vipo_safetensors_find(file, name);
    assert_non_null(view);
    double draws[25 * 15];
    vipo_error error = {0};
    assert_true(view->count <= sizeof draws / sizeof draws[0] && view->shape[0] == 25);
    assert_ok(vipo_tensor_to_double(view, name, draws, &error), &error);
    for (uint32_t seed = 0; seed < 25; seed++) {
        vipo_mt19937 mt;
        vipo_mt19937_seed(&mt, seed);
        for (int i = 0; i < n; i++) {
            const double range = high[i] - low[i], drawn = draws[seed * view->shape[1] + (size_t)i];
            assert_true(fabs(low[i] + range * vipo_mt19937_res53(&mt) - drawn) <= 1e-15);
        }
    }
}

static void test_recorded(void **state)
{
    (void)state;
    vipo_safetensors *file = golden_open("tests/golden/metaworld/avdc-v2.safetensors");
    const double low[] = {-0.3, -0.3, 0, 0, (float)0.85, (float)0.15};
    const double high[] = {0.3, 0.3, 0.1, (float)0.1, (float)0.95, (float)0.15};
    check_draws(file, "door-open/draws", 6, low, high);
    const double wide_low[] = {-0.15, -0.15, -0.1}, wide_high[] = {0.15, 0.15, 0.1};
    check_draws(file, "basketball/draws", 3, wide_low, wide_high);
    vipo_safetensors_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
