/* Every op table of this machine on the shapes of bench/shapes, reduced to what a test has time for. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkop/checkop.h"

/* Multiply-adds of a shape of the networks, and its largest product of channels. Sanitizers make ref and the packing of
 * weights ten times as slow, and look at memory, not at sums. */
#ifdef __SANITIZE_ADDRESS__
static const double network_macs = 3e6, network_channels = 256 * 256;
#else
static const double network_macs = 2e7, network_channels = INFINITY;
#endif

static void check_file(const char *name, double macs, bool all_inputs)
{
    char path[128];
    snprintf(path, sizeof path, "bench/shapes/%s.txt", name);
    int n;
    checkop_shape *shapes = checkop_shapes_read(test_path(path), &n);
    assert_non_null(shapes);
    checkop_context context;
    assert_true(checkop_context_open(&context, 1));
    int failures = 0;
    int checked = 0;
    for (int s = 0; s < n; s++) {
        const int *v = shapes[s].v;
        if (!all_inputs && (v[KEY_IN] + v[KEY_IN2]) * (double)v[KEY_OUT] > network_channels) continue;
        checked++;
        checkop_shape_reduce(&shapes[s], macs);
        /* ref is slow: its own repeatability is checked on the small shapes alone */
        for (int input = 0; input < (all_inputs ? CHECKOP_INPUTS : 1); input++)
            for (int t = all_inputs ? 0 : 1; vipo_ops_available(t); t++)
                failures += checkop_check(&context, &shapes[s], (checkop_input)input, vipo_ops_available(t));
    }
    print_message("%s: %d shapes, largest relative L2 %.2e\n", name, checked, context.worst);
    checkop_context_close(&context);
    free(shapes);
    assert_int_equal(failures, 0);
}

static void test_small(void **state)
{
    (void)state;
    check_file("small", 4e7, true);
}

static void test_metaworld_64(void **state)
{
    (void)state;
    check_file("metaworld-64", network_macs, false);
}

static void test_full_size(void **state)
{
    (void)state;
    check_file("mw", network_macs, false);
    check_file("thor", network_macs, false);
    check_file("bridge", network_macs, false);
}

static void test_shape_text(void **state)
{
    (void)state;
    checkop_shape shape;
    char message[600], line[512];
    const char *text = "conv_space kind=upsample2 frames=3 height=4 width=5 in=6 out=7 silu=1";
    assert_true(checkop_shape_parse(&shape, text, message, sizeof message));
    assert_int_equal(shape.v[KEY_KIND], VIPO_WEIGHT_3X3_UPSAMPLE2);
    checkop_shape_print(&shape, line, sizeof line);
    assert_string_equal(line, text);
    assert_false(checkop_shape_parse(&shape, "conv_space kind=5x5", message, sizeof message));
    assert_string_equal(message, "\"kind=5x5\" is not a key=value of a shape");
    assert_false(checkop_shape_parse(&shape, "convolve", message, sizeof message));
}

/* What a user gets who asks for nothing computes in float32; by their names all can be had. */
static void test_default_table(void **state)
{
    (void)state;
    const vipo_ops *ops, *found;
    vipo_error error;
    assert_int_equal(unsetenv("VIPO_COMPUTE"), 0);
    assert_ok(vipo_ops_find(&found, NULL, &error), &error);
    assert_false(found->by_name);
    for (int i = 0; (ops = vipo_ops_available(i)) != NULL; i++) {
        const vipo_ops *named;
        assert_ok(vipo_ops_find(&named, ops->name, &error), &error);
        assert_ptr_equal(named, ops);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_text), cmocka_unit_test(test_default_table),
        cmocka_unit_test(test_small),      cmocka_unit_test(test_metaworld_64),
        cmocka_unit_test(test_full_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
