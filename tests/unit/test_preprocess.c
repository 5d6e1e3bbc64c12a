/* The steps of config.json and of the presets. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "media/preprocess.h"
#include "media/resize.h"

/* Parses the value of image.preprocess, or no such key for NULL. */
static vipo_status parse(vipo_preprocess_steps *out, const char *value, int height, int width,
                         vipo_error *error)
{
    char text[1024];
    if (value)
        snprintf(text, sizeof text, "{\"image\": {\"preprocess\": %s}}", value);
    else
        snprintf(text, sizeof text, "{\"image\": {\"height\": 64}}");
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const vipo_status status = vipo_preprocess_from_config(out, root, height, width, "config.json", error);
    json_decref(root);
    return status;
}

static void assert_steps(const char *value, int height, int width, const char *described)
{
    vipo_preprocess_steps steps;
    vipo_error error;
    assert_ok(parse(&steps, value, height, width, &error), &error);
    char text[256];
    vipo_preprocess_describe(&steps, text, sizeof text);
    assert_string_equal(text, described);
}

static void assert_refused(const char *value, int height, int width, vipo_status expected, const char *words)
{
    vipo_preprocess_steps steps;
    vipo_error error = {0};
    const vipo_status status = parse(&steps, value, height, width, &error);
    if (status != expected)
        fail_msg("%s: status %d, expected %d: %s", value, status, expected, error.message);
    if (!strstr(error.message, words)) fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    assert_non_null(strstr(error.message, "config.json"));
    assert_int_equal(steps.count, 0);
}

static void reads_phrases(void **state)
{
    (void)state;
    assert_steps(
        "[\"resize to 240x320 if it is not\", \"centre crop 128x128 (rows 56..183, columns 96..223)\","
        " \"2x2 box mean (a+b+c+d+2)>>2 to 64x64\", \"/255\"]",
        64, 64, "resize 240x320, centre crop 128x128, box mean 2x2");
    assert_steps("[\"Resize 48 x 64\"]", 48, 64, "resize 48x64");
    assert_steps("[\"center crop to 128x128\", \"box mean 4x4\", \"/ 255\"]", 32, 32,
                 "centre crop 128x128, box mean 4x4");
    assert_steps("\"mw\"", 128, 128, "resize 240x320, centre crop 128x128");
    assert_steps("\"bridge\"", 48, 64, "resize 48x64");
    assert_steps(NULL, 128, 128, "resize 240x320, centre crop 128x128");
    assert_steps(NULL, 40, 56, "resize 40x56");
    assert_steps("null", 64, 64, "resize 64x64");
}

static void reads_the_model_of_the_examples(void **state)
{
    (void)state;
    json_t *root = json_load_file(test_path("models/metaworld-64/config.json"), 0, NULL);
    assert_non_null(root);
    vipo_preprocess_steps steps;
    vipo_error error;
    assert_ok(vipo_preprocess_from_config(&steps, root, 64, 64, "config.json", &error), &error);
    json_decref(root);
    assert_int_equal(steps.count, 3);
}

static void refuses_what_it_does_not_understand(void **state)
{
    (void)state;
    assert_refused("[\"sharpen\"]", 64, 64, VIPO_FORMAT, "image.preprocess[0]: unknown step \"sharpen\"");
    assert_refused("[\"resize to 64x64 with lanczos\"]", 64, 64, VIPO_FORMAT, "unknown step");
    assert_refused("[\"resize to 64\"]", 64, 64, VIPO_FORMAT, "unknown step");
    assert_refused("[\"resize to 99999999x64\"]", 64, 64, VIPO_FORMAT, "unknown step");
    assert_refused("[\"resize to 0x64\"]", 64, 64, VIPO_FORMAT, "0x64");
    assert_refused("[\"resize to 64x64\", 3]", 64, 64, VIPO_FORMAT, "image.preprocess[1]: expected a string");
    assert_refused("[\"resize to 64x64\", \"/255\", \"2x2 box mean\"]", 32, 32, VIPO_FORMAT, "last");
    assert_refused("[\"resize to 64x64\", \"2x3 box mean\"]", 32, 32, VIPO_FORMAT, "square");
    assert_refused("{}", 64, 64, VIPO_FORMAT, "expected a list");
    assert_refused("\"mww\"", 64, 64, VIPO_FORMAT, "mw, thor, bridge");
    assert_refused("[\"/255\",\"/255\"]", 64, 64, VIPO_FORMAT, "last");
    assert_refused(
        "[\"resize 9x9\",\"resize 8x8\",\"resize 9x9\",\"resize 8x8\",\"resize 9x9\",\"resize 8x8\","
        "\"resize 9x9\",\"resize 8x8\",\"resize 9x9\"]",
        9, 9, VIPO_FORMAT, "more than 8");
}

static void refuses_contradictions(void **state)
{
    (void)state;
    assert_refused("[\"resize to 64x64\"]", 48, 64, VIPO_MISMATCH,
                   "ends at 64x64, expected the model's 48x64");
    assert_refused("\"mw\"", 64, 64, VIPO_MISMATCH, "128x128");
    assert_refused("[]", 64, 64, VIPO_MISMATCH, "open");
    assert_refused("[\"2x2 box mean\"]", 64, 64, VIPO_MISMATCH, "open");
    assert_refused("[\"resize to 100x100\", \"centre crop 128x128\"]", 128, 128, VIPO_MISMATCH, "fits");
    assert_refused("[\"resize to 65x64\", \"2x2 box mean\"]", 32, 32, VIPO_MISMATCH, "divide");
    assert_refused("[\"resize to 64x64\", \"2x2 box mean to 16x16\"]", 32, 32, VIPO_MISMATCH, "32x32");
    assert_refused("[\"resize to 240x320\", \"centre crop 128x128 (rows 55..182, columns 96..223)\"]", 128,
                   128, VIPO_MISMATCH, "rows 55..182, expected 56..183");
}

static void applies_the_steps(void **state)
{
    (void)state;
    vipo_image image = {malloc(240 * 320 * 3), 240, 320};
    assert_non_null(image.data);
    for (size_t i = 0; i < 240 * 320 * 3; i++) image.data[i] = (uint8_t)(i * 131 >> 3);
    vipo_preprocess_steps steps;
    vipo_error error;
    assert_ok(
        parse(&steps, "[\"resize to 240x320\", \"centre crop 128x128\", \"2x2 box mean\"]", 64, 64, &error),
        &error);
    vipo_array out;
    assert_ok(vipo_preprocess_apply(&steps, &image, &out, &error), &error);
    assert_int_equal(out.shape[1], 64);
    assert_int_equal(out.shape[2], 64);
    const uint8_t *p = image.data + ((56 + 2 * 5) * 320 + 96 + 2 * 7) * 3 + 1;
    const int mean = (p[0] + p[3] + p[320 * 3] + p[320 * 3 + 3] + 2) >> 2;
    assert_true(out.data[(5 * 64 + 7) * 3 + 1] == (float)mean / 255.0F);
    vipo_array_free(&out);

    /* a crop that does not fit shows only with the picture */
    assert_ok(parse(&steps, "[\"centre crop 250x250\"]", 250, 250, &error), &error);
    assert_int_equal(vipo_preprocess_apply(&steps, &image, &out, &error), VIPO_MISMATCH);
    assert_null(out.data);
    vipo_image_free(&image);

    assert_int_equal(vipo_preprocess_from_preset(&steps, "libero", &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "mw, thor, bridge"));
    char tiny[12];
    assert_ok(vipo_preprocess_from_preset(&steps, "mw", &error), &error);
    vipo_preprocess_describe(&steps, tiny, sizeof tiny);
    assert_string_equal(tiny, "resize 240x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_phrases),
        cmocka_unit_test(reads_the_model_of_the_examples),
        cmocka_unit_test(refuses_what_it_does_not_understand),
        cmocka_unit_test(refuses_contradictions),
        cmocka_unit_test(applies_the_steps),
    };
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
