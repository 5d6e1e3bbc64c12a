#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "core/memory.h"

vipo_safetensors *golden_open(const char *relative)
{
    vipo_error error = {0};
    vipo_safetensors *file;
    assert_ok(vipo_safetensors_open(&file, test_path(relative), &error), &error);
    return file;
}

const char *golden_square_folder(const char *weights)
{
    static char folders[2][1200];
    char *folder = folders[strcmp(weights, "ema") == 0];
    if (folder[0]) return folder;
    vipo_error error = {0};
    vipo_convert_options options;
    vipo_convert_default_options(&options);
    options.checkpoint = test_path("tests/golden/unet/square.model-24.pt");
    options.config = test_path("tests/golden/unet/square.config.json");
    options.weights = weights;
    snprintf(folder, sizeof folders[0], "%s-%s", test_temporary("square"), weights);
    assert_ok(vipo_convert(folder, &options, &error), &error);
    return folder;
}

vipo_array golden_array(const vipo_safetensors *file, const char *name)
{
    vipo_error error = {0};
    vipo_array array;
    const vipo_tensor_view *view = vipo_safetensors_find(file, name);
    if (!view) fail_msg("golden tensor %s is missing", name);
    assert_ok(vipo_array_alloc(&array, view->rank, view->shape, &error), &error);
    if (view->dtype == VIPO_DTYPE_I32) {
        for (size_t i = 0; i < view->count; i++) {
            int32_t value;
            memcpy(&value, (const char *)view->data + 4 * i, 4);
            array.data[i] = (float)value;
        }
    } else {
        assert_ok(vipo_tensor_to_float(view, "golden", array.data, &error), &error);
    }
    return array;
}

vipo_array golden_video(const vipo_safetensors *file, const char *name)
{
    vipo_error error = {0};
    vipo_array planar = golden_array(file, name), out;
    const int rank = planar.rank;
    size_t shape[VIPO_MAX_RANK];
    memcpy(shape, planar.shape, sizeof shape);
    const size_t c = shape[rank - 3], h = shape[rank - 2], w = shape[rank - 1];
    shape[rank - 3] = h;
    shape[rank - 2] = w;
    shape[rank - 1] = c;
    assert_ok(vipo_array_alloc(&out, rank, shape, &error), &error);
    const size_t pictures = vipo_array_size(&planar) / (c * h * w);
    for (size_t p = 0; p < pictures; p++)
        for (size_t ci = 0; ci < c; ci++)
            for (size_t i = 0; i < h * w; i++)
                out.data[(p * h * w + i) * c + ci] = planar.data[(p * c + ci) * h * w + i];
    vipo_array_free(&planar);
    return out;
}

vipo_config golden_config(const char *relative)
{
    vipo_error error = {0};
    json_t *root;
    vipo_config config;
    assert_ok(vipo_json_load(&root, test_path(relative), &error), &error);
    assert_ok(vipo_config_parse(&config, root, relative, &error), &error);
    json_decref(root);
    return config;
}

void generated_weights_open(generated_weights *out, const char *relative_recipe)
{
    vipo_error error = {0};
    memset(out, 0, sizeof *out);
    if (!relative_recipe) return;
    assert_ok(vipo_json_load(&out->recipe, test_path(relative_recipe), &error), &error);
    out->seed = (uint64_t)json_integer_value(json_object_get(out->recipe, "seed"));
}

void generated_weights_close(generated_weights *weights)
{
    json_decref(weights->recipe);
}

static vipo_status generated_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                                  vipo_error *error)
{
    generated_weights *weights = user;
    size_t count = 1, fan_in = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    for (int i = 1; i < rank; i++) fan_in *= shape[i];
    const char *dot = strrchr(name, '.');
    const bool gain = rank == 1 && dot && strcmp(dot, ".bias") != 0;
    double offset = gain ? 1 : 0, scale = rank == 1 ? 0.1 : sqrt(3.0 / (double)fan_in);
    if (weights->recipe) {
        const json_t *tensors = json_object_get(weights->recipe, "tensors"), *found = NULL;
        size_t i;
        const json_t *entry;
        json_array_foreach(tensors, i, entry) if (strcmp(json_string_value(json_object_get(entry, "name")),
                                                         name) == 0) found = entry;
        if (!found) return vipo_fail(error, VIPO_MISMATCH, "recipe has no tensor %s", name);
        const json_t *dims = json_object_get(found, "shape");
        bool same = (int)json_array_size(dims) == rank;
        for (int d = 0; same && d < rank; d++)
            same = (size_t)json_integer_value(json_array_get(dims, (size_t)d)) == shape[d];
        if (!same) return vipo_fail(error, VIPO_MISMATCH, "recipe has another shape for %s", name);
        offset = json_number_value(json_object_get(found, "offset"));
        scale = json_number_value(json_object_get(found, "scale"));
    }
    uint64_t key = 0xCBF29CE484222325ULL; /* FNV-1a of the name */
    for (const char *c = name; *c; c++) key = (key ^ (unsigned char)*c) * 0x100000001B3ULL;
    key ^= weights->seed;
    for (size_t i = 0; i < count; i++) { /* splitmix64 */
        uint64_t z = key + ((uint64_t)i + 1) * 0x9E3779B97F4A7C15ULL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        z ^= z >> 31;
        const double u = (double)(z >> 40) * 0x1p-24;
        out[i] = (float)(offset + scale * (2 * u - 1));
    }
    weights->reads++;
    weights->parameters += count;
    if (weights->on_read) weights->on_read(weights->user, name, rank, shape);
    return VIPO_OK;
}

vipo_weight_source generated_weights_source(generated_weights *weights)
{
    return (vipo_weight_source){.user = weights, .read = generated_read};
}

void test_compute_open(test_compute *out, const vipo_ops *ops, int threads, size_t scratch_bytes)
{
    vipo_error error = {0};
    memset(out, 0, sizeof *out);
    out->compute.ops = ops;
    assert_ok(vipo_pool_open(&out->compute.pool, threads, &error), &error);
    out->compute.scratch_bytes = (scratch_bytes + 63) / 64 * 64 + 64;
    out->compute.scratch =
        vipo_aligned_calloc((size_t)vipo_pool_threads(out->compute.pool), out->compute.scratch_bytes);
    assert_non_null(out->compute.scratch);
}

void test_compute_close(test_compute *compute)
{
    vipo_aligned_free(compute->compute.scratch);
    vipo_pool_close(&compute->compute.pool);
}
