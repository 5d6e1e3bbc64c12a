/* Pickles by themselves: a result holds only indices, texts and containers that exist. */
#include "fuzz.h"

#include "weights/pickle.h"

static const vipo_pickle_global globals[] = {
    {"torch._utils", "_rebuild_tensor_v2", VIPO_PICKLE_USE_CALL},
    {"collections", "OrderedDict", VIPO_PICKLE_USE_DICT},
    {"torch", "FloatStorage", VIPO_PICKLE_USE_NAME},
    {"t", "c", VIPO_PICKLE_USE_CALL}, /* short names are found sooner */
    {"t", "d", VIPO_PICKLE_USE_DICT},
    {"t", "n", VIPO_PICKLE_USE_NAME},
};
enum { GLOBALS = sizeof globals / sizeof globals[0] };

static void check_value(const vipo_pickle *pickle, const vipo_pickle_value *value, const uint8_t *data,
                        size_t size)
{
    FUZZ_CHECK(vipo_pickle_kind_name(value->kind)[0]);
    switch (value->kind) {
    case VIPO_PICKLE_TEXT:
    case VIPO_PICKLE_BYTES: {
        const uint8_t *bytes = (const uint8_t *)value->text.bytes;
        FUZZ_CHECK(bytes >= data && value->text.length <= size - (size_t)(bytes - data));
        break;
    }
    case VIPO_PICKLE_TUPLE:
    case VIPO_PICKLE_LIST:
    case VIPO_PICKLE_DICT:
        FUZZ_CHECK(value->kind != VIPO_PICKLE_DICT || value->list.count % 2 == 0);
        FUZZ_CHECK(value->list.count <= value->list.capacity);
        for (uint32_t i = 0; i < value->list.count; i++)
            FUZZ_CHECK(value->list.items[i] < vipo_pickle_count(pickle));
        FUZZ_CHECK(!vipo_pickle_item(pickle, value, value->list.count));
        break;
    case VIPO_PICKLE_GLOBAL:
    case VIPO_PICKLE_CALL:
        FUZZ_CHECK(value->global >= 0 && value->global < GLOBALS);
        if (value->kind == VIPO_PICKLE_GLOBAL) break;
        FUZZ_CHECK(globals[value->global].use == VIPO_PICKLE_USE_CALL);
        FUZZ_CHECK(value->part < vipo_pickle_count(pickle));
        FUZZ_CHECK(vipo_pickle_at(pickle, value->part)->kind == VIPO_PICKLE_TUPLE);
        break;
    case VIPO_PICKLE_PERSISTENT:
        FUZZ_CHECK(value->part < vipo_pickle_count(pickle));
        break;
    case VIPO_PICKLE_BOOL:
        FUZZ_CHECK(value->integer == 0 || value->integer == 1);
        break;
    default:
        FUZZ_CHECK(value->kind <= VIPO_PICKLE_PERSISTENT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_pickle *pickle;
    const vipo_status status = vipo_pickle_parse(&pickle, data, size, "fuzz", globals, GLOBALS, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(!pickle);
        return 0;
    }
    FUZZ_CHECK(vipo_pickle_count(pickle) > 0 && vipo_pickle_count(pickle) <= size);
    const vipo_pickle_value *first = vipo_pickle_at(pickle, 0), *root = vipo_pickle_root(pickle);
    FUZZ_CHECK(root >= first && root < first + vipo_pickle_count(pickle));
    for (uint32_t i = 0; i < vipo_pickle_count(pickle); i++)
        check_value(pickle, vipo_pickle_at(pickle, i), data, size);
    vipo_pickle_close(&pickle);
    FUZZ_CHECK(!pickle);
    return 0;
}
