#include "support/recipe.h"

#include <stdlib.h>
#include <string.h>

recipe_weights recipe_weights_of(const json_t *root)
{
    return (recipe_weights){.root = root,
                            .seed = (uint64_t)json_integer_value(json_object_get(root, "seed"))};
}

float recipe_number(uint64_t seed, uint64_t index, uint64_t element, double offset, double scale)
{
    uint64_t z = seed * 0x9E3779B97F4A7C15u + index * 0xD1342543DE82EF95u + element +
                 0x9E3779B97F4A7C15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)(offset + scale * ((double)((int64_t)(z >> 40) - 8388608) / 8388608.0));
}

static uint32_t crc32_of(const float *numbers, size_t count)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) table[i] = table[i] & 1 ? 0xedb88320u ^ (table[i] >> 1) : table[i] >> 1;
    }
    const unsigned char *bytes = (const void *)numbers;
    for (size_t i = 0; i < count * sizeof *numbers; i++) crc = table[(crc ^ bytes[i]) & 255] ^ (crc >> 8);
    return ~crc;
}

static vipo_status recipe_read(void *user, const char *name, int rank, const size_t *shape, float *out,
                               vipo_error *error)
{
    (void)error;
    recipe_weights *weights = user;
    const json_t *list = json_object_get(weights->root, "weights");
    size_t index = 0, count = 1;
    while (index < json_array_size(list) &&
           strcmp(json_string_value(json_array_get(json_array_get(list, index), 0)), name) != 0)
        index++;
    if (index == json_array_size(list)) fail_msg("the recipe has no tensor %s", name);
    const json_t *entry = json_array_get(list, index);
    const double offset = (double)(float)json_number_value(json_array_get(entry, 1));
    const double scale = (double)(float)json_number_value(json_array_get(entry, 2));
    for (int i = 0; i < rank; i++) count *= shape[i];
    for (size_t i = 0; i < count; i++) out[i] = recipe_number(weights->seed, index, i, offset, scale);
    const char *sum = json_string_value(json_object_get(json_object_get(weights->root, "crc32"), name));
    if (sum) {
        assert_int_equal(strtoul(sum, NULL, 16), crc32_of(out, count));
        weights->sums++;
    }
    weights->reads++;
    return VIPO_OK;
}

vipo_weight_source recipe_weights_source(recipe_weights *weights)
{
    return (vipo_weight_source){.user = weights, .read = recipe_read};
}
