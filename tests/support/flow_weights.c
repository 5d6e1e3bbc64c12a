#include "support/flow_weights.h"

#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "support/torch_file.h"

void flow_weights_open(flow_weights *out, uint64_t seed)
{
    vipo_error error = {0};
    memset(out, 0, sizeof *out);
    assert_ok(vipo_json_load(&out->manifest, test_path("tests/golden/flow/param_manifest.json"), &error),
              &error);
    out->seed = seed;
}

void flow_weights_close(flow_weights *weights)
{
    json_decref(weights->manifest);
}

static const json_t *params(const flow_weights *weights)
{
    return json_object_get(weights->manifest, "params");
}

int flow_weights_count(const flow_weights *weights)
{
    return (int)json_array_size(params(weights));
}

const char *flow_weights_name(const flow_weights *weights, int i, int *rank, size_t shape[4],
                              const char **crc32)
{
    const json_t *entry = json_array_get(params(weights), (size_t)i), *dims = json_object_get(entry, "shape");
    *rank = (int)json_array_size(dims);
    for (int d = 0; d < *rank; d++) shape[d] = (size_t)json_integer_value(json_array_get(dims, (size_t)d));
    if (crc32)
        *crc32 =
            (uint64_t)json_integer_value(json_object_get(weights->manifest, "crc32_of_seed")) == weights->seed
                ? json_string_value(json_object_get(entry, "crc32"))
                : NULL;
    return json_string_value(json_object_get(entry, "name"));
}

static float number(uint64_t seed, uint64_t tensor, uint64_t element, double offset, double scale)
{
    uint64_t z = seed * 0x9E3779B97F4A7C15U + tensor * 0xD1342543DE82EF95U + element + 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    return (float)(offset + scale * ((double)((int64_t)(z >> 40) - 8388608) / 8388608.0));
}

static vipo_status read_tensor(void *user, const char *name, int rank, const size_t *shape, float *out,
                               vipo_error *error)
{
    const flow_weights *weights = user;
    for (int i = 0; i < flow_weights_count(weights); i++) {
        int found_rank;
        size_t found[4], count = 1;
        if (strcmp(flow_weights_name(weights, i, &found_rank, found, NULL), name) != 0) continue;
        if (rank != found_rank || memcmp(shape, found, (size_t)rank * sizeof *shape) != 0)
            return vipo_fail(error, VIPO_MISMATCH, "%s is asked for with another shape", name);
        const json_t *entry = json_array_get(params(weights), (size_t)i);
        /* floats, written with fewer digits */
        const double offset = (double)(float)json_number_value(json_object_get(entry, "offset")),
                     scale = (double)(float)json_number_value(json_object_get(entry, "scale"));
        const bool zero = weights->zeroed && strncmp(name, weights->zeroed, strlen(weights->zeroed)) == 0;
        for (int d = 0; d < rank; d++) count *= shape[d];
        for (size_t e = 0; e < count; e++)
            out[e] = zero ? 0 : number(weights->seed, (uint64_t)i, e, offset, scale);
        return VIPO_OK;
    }
    return vipo_fail(error, VIPO_MISMATCH, "no tensor %s in the manifest", name);
}

vipo_weight_source flow_weights_source(flow_weights *weights)
{
    return (vipo_weight_source){.user = weights, .read = read_tensor};
}

vipo_unimatch *flow_weights_network(flow_weights *weights, const vipo_ops *ops)
{
    vipo_error error = {0};
    vipo_unimatch *net;
    const vipo_weight_source source = flow_weights_source(weights);
    assert_ok(vipo_unimatch_open(&net, &(vipo_packer){.ops = ops}, &source, NULL, &error), &error);
    return net;
}

void flow_weights_checkpoint(flow_weights *weights, const char *path, const char *outer, int changed)
{
    enum { MOST = 160 };
    static const char *names[MOST];
    static test_view views[MOST];
    static test_zip_entry storages[MOST];
    static char keys[MOST][8], files[MOST][16];
    vipo_error error = {0};
    const vipo_weight_source source = flow_weights_source(weights);
    const int n = flow_weights_count(weights);
    assert_true(n <= MOST);
    for (int i = 0; i < n; i++) {
        int rank;
        size_t shape[4], count = 1;
        names[i] = flow_weights_name(weights, i, &rank, shape, NULL);
        for (int d = 0; d < rank; d++) count *= shape[d];
        float *values = calloc(count, sizeof *values);
        assert_non_null(values);
        assert_ok(source.read(source.user, names[i], rank, shape, values, &error), &error);
        snprintf(keys[i], sizeof keys[i], "%d", i);
        snprintf(files[i], sizeof files[i], "data/%d", i);
        if (i == changed) shape[0]--;
        views[i] =
            (test_view){.type = "FloatStorage", .key = keys[i], .elements = (int64_t)count, .rank = rank};
        int64_t stride = 1;
        for (int d = rank - 1; d >= 0; d--) {
            views[i].shape[d] = (int64_t)shape[d];
            views[i].stride[d] = stride;
            stride *= (int64_t)shape[d];
        }
        storages[i] = (test_zip_entry){.name = files[i], .data = values, .size = count * sizeof *values};
    }
    test_checkpoint_write_in(path, outer, names, views, n, storages, n);
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)storages[i].data);
}
