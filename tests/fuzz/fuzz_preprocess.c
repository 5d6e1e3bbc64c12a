/* The steps from a picture to the condition frame, as config.json says them. Input: height and width of the
 * picture, height and width of the model (a byte each), then a phrase a line, or '=' and the name of a preset. */
#include "fuzz.h"

#include <math.h>
#include <stdio.h>

#include "media/preprocess.h"

enum { SIDE_TRIED = 512 };

static json_t *config_root(fuzz_input *input)
{
    json_t *said;
    if (input->left > 0 && *input->at == '=') {
        fuzz_take(input, 1);
        char *name = fuzz_take_line(input);
        said = json_string(name ? name : "");
        free(name);
    } else {
        said = json_array();
        for (char *line; (line = fuzz_take_line(input)); free(line))
            json_array_append_new(said, json_string(line));
    }
    if (!said) said = json_null(); /* not UTF-8 */
    json_t *root = json_pack("{s:{s:o}}", "image", "preprocess", said);
    FUZZ_CHECK(root);
    return root;
}

static void check_use(const vipo_preprocess_steps *steps, const vipo_image *image, size_t height,
                      size_t width)
{
    vipo_error error = {0};
    vipo_array out;
    const vipo_status status = vipo_preprocess_apply(steps, image, &out, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&out, sizeof out));
        return;
    }
    FUZZ_CHECK(out.rank == 4 && out.shape[0] == 1 && out.shape[1] == height && out.shape[2] == width &&
               out.shape[3] == 3);
    /* Each step is a mean or a choice of pixels: nothing leaves the picture's range 64..191. */
    for (size_t i = 0; i < vipo_array_size(&out); i++)
        FUZZ_CHECK(out.data[i] >= 64.0F / 255.0F && out.data[i] <= 191.0F / 255.0F);
    vipo_array_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    vipo_error error = {0};
    vipo_preprocess_steps steps;
    vipo_image image = {.height = 1 + (int)fuzz_take(&input, 1), .width = 1 + (int)fuzz_take(&input, 1)};
    const int height = 1 + (int)fuzz_take(&input, 1), width = 1 + (int)fuzz_take(&input, 1);
    json_t *root = config_root(&input);
    const vipo_status status = vipo_preprocess_from_config(&steps, root, height, width, "fuzz", &error);
    json_decref(root);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&steps, sizeof steps));
        return 0;
    }
    char text[256];
    vipo_preprocess_describe(&steps, text, sizeof text);
    fuzz_check_line(text);
    FUZZ_CHECK(steps.count > 0 && steps.count <= VIPO_PREPROCESS_MAX_STEPS);
    for (int i = 0; i < steps.count; i++)
        if (steps.steps[i].height > SIDE_TRIED || steps.steps[i].width > SIDE_TRIED) return 0; /* for speed */

    const size_t bytes = (size_t)image.height * (size_t)image.width * 3;
    image.data = malloc(bytes);
    FUZZ_CHECK(image.data);
    for (size_t i = 0; i < bytes; i++) image.data[i] = (uint8_t)(64 + (i * 73 + i / 7) % 128);
    check_use(&steps, &image, (size_t)height, (size_t)width);
    free(image.data);
    return 0;
}
