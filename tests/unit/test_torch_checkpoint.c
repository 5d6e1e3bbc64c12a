/* PyTorch checkpoints: AVDC's own, views of every kind, and archives that lie. */
#include "support/golden.h"
#include "support/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/torch_checkpoint.h"

static const char golden_path[] = "tests/golden/unet/square.model-24.pt";

/* ---- reading ------------------------------------------------------------------------------------------ */

static int find(const vipo_torch_checkpoint *c, const char *name)
{
    for (int i = 0; i < vipo_torch_checkpoint_count(c); i++)
        if (strcmp(vipo_torch_checkpoint_at(c, i)->name, name) == 0) return i;
    fail_msg("no tensor %s", name);
    return -1;
}

static void test_golden(void **state)
{
    (void)state;
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    assert_true(vipo_torch_checkpoint_recognise(test_path(golden_path)));
    assert_ok(vipo_torch_checkpoint_open(&c, test_path(golden_path), &error), &error);
    assert_int_equal(vipo_torch_checkpoint_count(c), 665);
    static const char name[] = "model.unet.time_embed.0.weight";
    char full[128];
    vipo_tensor_view ema, online, shared;
    snprintf(full, sizeof full, "ema/ema_model.%s", name);
    assert_ok(vipo_torch_checkpoint_load(c, find(c, full), &ema, &error), &error);
    assert_int_equal(ema.dtype, VIPO_DTYPE_F32);
    assert_int_equal(ema.rank, 2);
    assert_int_equal(ema.shape[0], 128);
    assert_int_equal(ema.shape[1], 32);
    const size_t bytes = ema.count * sizeof(float);
    const uint64_t ema_hash = test_hash(ema.data, bytes);
    snprintf(full, sizeof full, "model/%s", name);
    assert_ok(vipo_torch_checkpoint_load(c, find(c, full), &online, &error), &error);
    const uint64_t online_hash = test_hash(online.data, bytes);
    assert_true(ema_hash != online_hash);
    /* two names of one storage */
    snprintf(full, sizeof full, "ema/online_model.%s", name);
    assert_ok(vipo_torch_checkpoint_load(c, find(c, full), &shared, &error), &error);
    assert_int_equal(test_hash(shared.data, bytes), online_hash);
    assert_int_equal(vipo_torch_checkpoint_at(c, find(c, "ema/step"))->dtype, VIPO_DTYPE_I64);
    assert_int_equal(vipo_torch_checkpoint_at(c, find(c, "ema/initted"))->dtype, VIPO_DTYPE_F32);
    vipo_torch_checkpoint_close(&c);
    vipo_torch_checkpoint_close(&c);
}

/* The model in a checkpoint does what AVDC's did: EMA and online weights. */
static void check_forward(const char *weights, const char *expected)
{
    vipo_error error = {0};
    vipo_model *model;
    vipo_planner *planner;
    assert_ok(vipo_model_open(&model, golden_square_folder(weights), NULL, &error), &error);
    assert_ok(vipo_planner_open(&planner, model, NULL, &error), &error);
    vipo_safetensors *io = golden_open("tests/golden/unet/square.io.safetensors");
    vipo_array x = golden_video(io, "x"), cond = golden_video(io, "x_cond"),
               tokens = golden_array(io, "task_tokens");
    vipo_array golden = golden_video(io, expected), other = golden_video(io, "v_online_weights"), v;
    const int t = 63;
    const vipo_denoise_request request = {.x = &x, .cond = &cond, .tokens = &tokens, .t = &t, .n_t = 1};
    assert_ok(vipo_planner_denoise(planner, &request, &v, NULL, &error), &error);
    const size_t n = vipo_array_size(&v);
    assert_true(test_relative_l2(v.data, golden.data, n) < 1e-5);
    if (strcmp(weights, "ema") == 0) assert_true(test_relative_l2(v.data, other.data, n) > 0.1);
    vipo_array_free(&x), vipo_array_free(&cond), vipo_array_free(&tokens), vipo_array_free(&golden);
    vipo_array_free(&other), vipo_array_free(&v);
    vipo_safetensors_close(&io);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
}

static void test_forward(void **state)
{
    (void)state;
    check_forward("ema", "v_f64");
    check_forward("online", "v_online_weights");
}

static const float numbers[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* Loads the only tensor of a made-up checkpoint as floats. */
static void expect_floats(const test_view *view, const test_zip_entry *storage, const float *expected,
                          size_t n)
{
    static const char *const names[] = {"x"};
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    vipo_tensor_view loaded;
    float found[32];
    const char *path = test_checkpoint_write(test_temporary("view.pt"), names, view, 1, storage, 1);
    assert_ok(vipo_torch_checkpoint_open(&c, path, &error), &error);
    assert_int_equal(vipo_torch_checkpoint_count(c), 1);
    assert_ok(vipo_torch_checkpoint_load(c, 0, &loaded, &error), &error);
    assert_int_equal(loaded.count, n);
    assert_int_equal(loaded.rank, view->rank);
    assert_true(n <= 32);
    assert_ok(vipo_tensor_to_float(&loaded, path, found, &error), &error);
    if (n > 0) assert_memory_equal(found, expected, n * sizeof *found);
    vipo_torch_checkpoint_close(&c);
}

/* A view that opens, as nobody may want its numbers, but is not loaded. */
static void refused_load(const test_view *view, const test_zip_entry *storage, const char *part)
{
    static const char *const names[] = {"x"};
    static const vipo_tensor_view nothing;
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    vipo_tensor_view loaded;
    const char *path = test_checkpoint_write(test_temporary("view.pt"), names, view, 1, storage, 1);
    assert_ok(vipo_torch_checkpoint_open(&c, path, &error), &error);
    assert_int_equal(vipo_torch_checkpoint_load(c, 0, &loaded, &error), VIPO_UNSUPPORTED);
    assert_non_null(strstr(error.message, part));
    assert_memory_equal(&loaded, &nothing, sizeof loaded);
    vipo_torch_checkpoint_close(&c);
}

static void test_views(void **state)
{
    (void)state;
    const test_zip_entry floats = {.name = "data/0", .data = numbers, .size = sizeof numbers};
    const test_zip_entry deflated = {.name = "data/0", .data = numbers, .size = sizeof numbers, .method = 8};
    const test_view whole = {"FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}};
    expect_floats(&whole, &floats, numbers, 12);
    expect_floats(&whole, &deflated, numbers, 12);
    const test_view offset = {"FloatStorage", "0", 12, 5, 1, {3}, {1}};
    expect_floats(&offset, &floats, numbers + 5, 3);
    const test_view transposed = {"FloatStorage", "0", 12, 0, 2, {4, 3}, {1, 4}};
    expect_floats(&transposed, &floats, (const float[]){0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, 12);
    const test_view column = {"FloatStorage", "0", 12, 1, 1, {3}, {4}};
    expect_floats(&column, &floats, (const float[]){1, 5, 9}, 3);
    const test_view expanded = {"FloatStorage", "0", 12, 2, 2, {2, 3}, {0, 1}};
    expect_floats(&expanded, &floats, (const float[]){2, 3, 4, 2, 3, 4}, 6);
    refused_load(&(test_view){"FloatStorage", "0", 12, 2, 2, {1 << 23, 3}, {0, 1}}, &floats,
                 "repeats the 48 bytes");
    refused_load(&(test_view){"FloatStorage", "0", 12, 0, 1, {(int64_t)1 << 60}, {0}}, &floats,
                 "repeats the 48");
    const test_view ones = {"FloatStorage", "0", 12, 3, 3, {1, 2, 1}, {77, 1, 99}};
    expect_floats(&ones, &floats, numbers + 3, 2);
    const test_view scalar = {"FloatStorage", "0", 12, 7, 0, {0}, {0}};
    expect_floats(&scalar, &floats, numbers + 7, 1);
    const test_view empty = {"FloatStorage", "0", 12, 0, 2, {0, 5}, {5, 1}};
    expect_floats(&empty, &floats, NULL, 0);
}

static void test_types(void **state)
{
    (void)state;
    static const uint16_t halves[2] = {0x3c00, 0xc000}, bfloats[2] = {0x3f80, 0xc000};
    static const double doubles[2] = {1, -2};
    static const float values[2] = {1, -2};
    const test_zip_entry half = {.name = "data/h", .data = halves, .size = 4};
    const test_zip_entry bfloat = {.name = "data/h", .data = bfloats, .size = 4};
    const test_zip_entry wide = {.name = "data/h", .data = doubles, .size = 16};
    test_view view = {"HalfStorage", "h", 2, 0, 1, {2}, {1}};
    expect_floats(&view, &half, values, 2);
    view.type = "BFloat16Storage";
    expect_floats(&view, &bfloat, values, 2);
    view.type = "DoubleStorage";
    expect_floats(&view, &wide, values, 2);
    static const struct {
        const char *type;
        vipo_dtype dtype;
    } others[] = {{"LongStorage", VIPO_DTYPE_I64},  {"IntStorage", VIPO_DTYPE_I32},
                  {"ShortStorage", VIPO_DTYPE_I16}, {"CharStorage", VIPO_DTYPE_I8},
                  {"ByteStorage", VIPO_DTYPE_U8},   {"BoolStorage", VIPO_DTYPE_BOOL}};
    static const char *const names[] = {"x"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        vipo_error error = {0};
        vipo_torch_checkpoint *c;
        const test_zip_entry entry = {
            .name = "data/h", .data = doubles, .size = 2 * vipo_dtype_size(others[i].dtype)};
        view.type = others[i].type;
        const char *path = test_checkpoint_write(test_temporary("type.pt"), names, &view, 1, &entry, 1);
        assert_ok(vipo_torch_checkpoint_open(&c, path, &error), &error);
        assert_int_equal(vipo_torch_checkpoint_at(c, 0)->dtype, others[i].dtype);
        vipo_torch_checkpoint_close(&c);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void refused(const char *path, vipo_status expected, const char *part)
{
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    const vipo_status status = vipo_torch_checkpoint_open(&c, path, &error);
    if (status == VIPO_OK) fail_msg("accepted, expected: %s", part);
    assert_null(c);
    if (status != expected || !strstr(error.message, part))
        fail_msg("expected \"%s\", found %s: %s", part, vipo_status_text(status), error.message);
}

static void test_bad_views(void **state)
{
    (void)state;
    const test_zip_entry floats = {.name = "data/0", .data = numbers, .size = sizeof numbers};
    static const struct {
        test_view view;
        const char *part;
    } cases[] = {
        {{"FloatStorage", "0", 12, 0, 1, {13}, {1}}, "outside its storage"},
        {{"FloatStorage", "0", 12, 1, 1, {12}, {1}}, "outside its storage"},
        {{"FloatStorage", "0", 12, 12, 0, {0}, {0}}, "outside its storage"},
        {{"FloatStorage", "0", 12, 0, 2, {2, 2}, {11, 1}}, "outside its storage"},
        {{"FloatStorage", "0", 12, INT64_MAX, 1, {1}, {1}}, "outside its storage"},
        {{"FloatStorage", "0", 12, INT64_MAX, 1, {3}, {INT64_MAX}}, "outside its storage"},
        {{"FloatStorage", "0", 12, 0, 1, {3}, {-1}}, "not negative"},
        {{"FloatStorage", "0", 12, 0, 1, {-3}, {1}}, "not negative"},
        {{"FloatStorage", "0", 12, -1, 1, {3}, {1}}, "not negative"},
        {{"FloatStorage", "0", 12, 0, 7, {1, 1, 1, 1, 1, 1, 1}, {0}}, "rank at most 6"},
        {{"FloatStorage", "0", 12, 0, 2, {INT64_MAX, INT64_MAX}, {0, 0}}, "overflows"},
        {{"FloatStorage", "0", 12, 0, 1, {INT64_MAX}, {0}}, "overflows"},
        {{"FloatStorage", "0", 11, 0, 1, {3}, {1}}, "expected 11 elements of F32"},
        {{"DoubleStorage", "0", 12, 0, 1, {3}, {1}}, "expected 12 elements of F64"},
        {{"FloatStorage", "0", INT64_MAX, 0, 1, {3}, {1}}, "has 48 bytes"},
        {{"FloatStorage", "0", -1, 0, 1, {3}, {1}}, "described wrongly"},
        {{"FloatStorage", "1", 12, 0, 1, {3}, {1}}, "data/1 is missing"},
        {{"FloatStorage", "../../data.pkl", 12, 0, 1, {3}, {1}}, "is missing"},
        {{"FloatStorage", "", 12, 0, 1, {3}, {1}}, "no name"},
        {{"float32", "0", 12, 0, 1, {3}, {1}}, "described wrongly"},
    };
    static const char *const names[] = {"x"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(test_checkpoint_write(test_temporary("bad.pt"), names, &cases[i].view, 1, &floats, 1),
                VIPO_FORMAT, cases[i].part);
    const test_view foreign = {"ComplexFloatStorage", "0", 6, 0, 1, {3}, {1}};
    refused(test_checkpoint_write(test_temporary("bad.pt"), names, &foreign, 1, &floats, 1), VIPO_UNSUPPORTED,
            "torch.ComplexFloatStorage");
    static const char *const twice[] = {"x", "x"};
    const test_view views[2] = {{"FloatStorage", "0", 12, 0, 1, {3}, {1}},
                                {"FloatStorage", "0", 12, 0, 1, {3}, {1}}};
    refused(test_checkpoint_write(test_temporary("bad.pt"), twice, views, 2, &floats, 1), VIPO_FORMAT,
            "is there twice");
}

static const char *write_entries(const test_zip_entry *entries, int n)
{
    return test_zip_write(test_temporary("archive.pt"), entries, n);
}

static void test_bad_archives(void **state)
{
    (void)state;
    static const char empty[] = "\x80\2}."; /* an empty dict */
    static const char zeros[4096];
    const test_zip_entry pickle = {.name = "a/data.pkl", .data = empty, .size = 4};
    const test_zip_entry order = {.name = "a/byteorder", .data = "little", .size = 6};
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    assert_ok(
        vipo_torch_checkpoint_open(&c, write_entries((const test_zip_entry[]){pickle, order}, 2), &error),
        &error);
    vipo_torch_checkpoint_close(&c);
    const test_zip_entry big = {.name = "a/byteorder", .data = "big", .size = 3};
    refused(write_entries((const test_zip_entry[]){pickle, big}, 2), VIPO_UNSUPPORTED, "big-endian");
    refused(write_entries(&order, 1), VIPO_FORMAT, "no a/data.pkl");
    refused(write_entries(&order, 0), VIPO_FORMAT, "not a PyTorch checkpoint");
    refused(write_entries((const test_zip_entry[]){pickle, order, pickle}, 3), VIPO_UNSUPPORTED,
            "is there twice");

    test_zip_entry other = {.name = "/etc/passwd", .data = "x", .size = 1};
    static const char *const names[] = {"/etc/passwd", "a/../../x", "../x", "a\\..\\x", "a/.."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        other.name = names[i];
        refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_UNSUPPORTED,
                "inside the archive");
    }
    other.name = "b/x";
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_FORMAT, "in one folder");
    other.name = "ab/x";
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_FORMAT, "in one folder");
    other.name = "a/constants.pkl";
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_UNSUPPORTED, "TorchScript");

    other = (test_zip_entry){.name = "a/x", .data = zeros, .size = 64, .flags = 1};
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_UNSUPPORTED, "encrypted");
    other = (test_zip_entry){.name = "a/x", .data = zeros, .size = 64, .method = 12};
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_UNSUPPORTED,
            "stored or deflated");
    other = (test_zip_entry){.name = "a/x", .data = zeros, .size = 64, .declared = 65};
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_FORMAT, "says it has 65 bytes");
    other = (test_zip_entry){.name = "a/x", .data = zeros, .size = 64, .method = 8, .declared = 4000000000U};
    refused(write_entries((const test_zip_entry[]){pickle, other}, 2), VIPO_UNSUPPORTED, "zip bomb");

    test_zip_entry lying = pickle;
    lying.bad_checksum = true;
    refused(write_entries((const test_zip_entry[]){lying, order}, 2), VIPO_FORMAT, "damaged");
    lying = pickle;
    lying.method = 8;
    lying.declared = 3;
    refused(write_entries((const test_zip_entry[]){lying, order}, 2), VIPO_FORMAT, "damaged");
    lying.declared = 5;
    refused(write_entries((const test_zip_entry[]){lying, order}, 2), VIPO_FORMAT, "damaged");
}

/* Entries that share their bytes: each is honest, all together unpack to more than there is. */
static void test_overlapping_entries(void **state)
{
    (void)state;
    enum { N = 64 };
    static const char zeros[4096];
    static char names[N][16];
    test_zip_entry entries[N + 1] = {{.name = "a/data.pkl", .data = "\x80\2}.", .size = 4}};
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "a/data/%d", i);
        entries[i + 1] =
            (test_zip_entry){.name = names[i], .data = zeros, .size = sizeof zeros, .shares_data = i > 0};
    }
    refused(write_entries(entries, N + 1), VIPO_UNSUPPORTED, "overlap");
}

static void test_other_files(void **state)
{
    (void)state;
    static const char legacy[] = "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.";
    refused(test_file_write(test_temporary("old.pt"), legacy, sizeof legacy - 1), VIPO_UNSUPPORTED,
            "before version 1.6");
    refused(test_file_write(test_temporary("empty.pt"), "", 0), VIPO_FORMAT, "expected a zip archive");
    refused(test_file_write(test_temporary("text.pt"), "PK\3\4 is how it begins", 21), VIPO_FORMAT,
            "damaged zip");
    refused(test_temporary("absent.pt"), VIPO_IO, "No such file");
    refused(test_path("tests"), VIPO_IO, "folder");
    assert_false(vipo_torch_checkpoint_recognise(test_temporary("absent.pt")));
    assert_false(vipo_torch_checkpoint_recognise(test_path("models/metaworld-64/unet.safetensors")));
    assert_true(vipo_torch_checkpoint_recognise(test_temporary("old.pt")));
}

/* Pickles whose values are fine one by one and no checkpoint together. */
static void test_odd_roots(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        size_t size;
        const char *part;
    } cases[] = {
#define CASE(text, part) {text, sizeof(text) - 1, part}
        CASE("\x80\2K\1.", "holds an integer, expected a dict"),
        CASE("\x80\2].", "holds a list, expected a dict"),
        CASE("\x80\2}U\1xctorch._utils\n_rebuild_tensor_v2\n)Rs.", "no storage"),
        CASE("\x80\2}U\1xctorch._utils\n_rebuild_tensor_v2\nK\1Q\x85Rs.", "described wrongly"),
        CASE("\x80\2}U\1xctorch._utils\n_rebuild_parameter\nK\1\x85Rs.", "is a parameter of something"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const test_zip_entry entry = {.name = "a/data.pkl", .data = cases[i].pickle, .size = cases[i].size};
        refused(write_entries(&entry, 1), VIPO_FORMAT, cases[i].part);
    }
    /* dicts in dicts, each twice: 2^100 paths, and one that holds itself */
    test_bytes pickle = {0};
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    test_pickle_op(&pickle, "\x80\2}q");
    test_bytes_add(&pickle, "\0U\4selfh\0s", 10);
    for (int i = 0; i < 100; i++) {
        test_bytes_add(&pickle, "q\1", 2);
        test_bytes_add(&pickle, "0}U\1ah\1sU\1bh\1s", 14);
    }
    test_pickle_op(&pickle, ".");
    const test_zip_entry entry = {.name = "a/data.pkl", .data = pickle.bytes, .size = pickle.size};
    assert_ok(vipo_torch_checkpoint_open(&c, write_entries(&entry, 1), &error), &error);
    assert_int_equal(vipo_torch_checkpoint_count(c), 0);
    vipo_torch_checkpoint_close(&c);
    free(pickle.bytes);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

/* Opens and, if that works, loads every tensor. */
static vipo_status read_all(const char *path)
{
    vipo_error error = {0};
    vipo_torch_checkpoint *c;
    vipo_status status = vipo_torch_checkpoint_open(&c, path, &error);
    for (int i = 0; status == VIPO_OK && i < vipo_torch_checkpoint_count(c); i++) {
        vipo_tensor_view view;
        status = vipo_torch_checkpoint_load(c, i, &view, &error);
    }
    vipo_torch_checkpoint_close(&c);
    assert_true(status == VIPO_OK || error.message[0] != '\0');
    return status;
}

static const char *small_checkpoint(void)
{
    static const char *const names[] = {"one", "two"};
    const test_view views[2] = {{"FloatStorage", "0", 12, 0, 2, {3, 4}, {1, 3}},
                                {"FloatStorage", "1", 12, 2, 1, {5}, {2}}};
    const test_zip_entry storages[2] = {
        {.name = "data/0", .data = numbers, .size = sizeof numbers},
        {.name = "data/1", .data = numbers, .size = sizeof numbers, .method = 8}};
    return test_checkpoint_write(test_temporary("small.pt"), names, views, 2, storages, 2);
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
    return *random >> 33;
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    const char *path = small_checkpoint();
    assert_int_equal(read_all(path), VIPO_OK);
    size_t size;
    char *bytes = test_file_read(path, &size);
    for (size_t n = 0; n < size; n++) {
        test_file_write(path, bytes, n);
        assert_int_not_equal(read_all(path), VIPO_OK);
    }
    free(bytes);

    bytes = test_file_read(test_path(golden_path),
                           &size); /* and the end of a real one: directory and last entries */
    path = test_file_write(test_temporary("cut.pt"), bytes, size);
    for (size_t cut = 1; cut < 60000; cut += cut < 600 ? 1 : 97) {
        assert_int_equal(truncate(path, (off_t)(size - cut)), 0);
        assert_int_not_equal(read_all(path), VIPO_OK);
    }
    free(bytes);
}

static void test_random_damage(void **state)
{
    (void)state;
    uint64_t random = 7;
    const char *path = small_checkpoint();
    size_t size;
    char *bytes = test_file_read(path, &size);
    for (int round = 0; round < 3000; round++) {
        char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, bytes, size);
        for (uint64_t k = next_random(&random) % 3 + 1; k-- > 0;)
            copy[next_random(&random) % size] = (char)(next_random(&random) & 0xff);
        test_file_write(path, copy, size);
        (void)read_all(path);
        free(copy);
    }
    free(bytes);

    /* AVDC's: its pickle, and the archive's directory at the end */
    bytes = test_file_read(test_path(golden_path), &size);
    path = test_file_write(test_temporary("flip.pt"), bytes, size);
    for (int round = 0; round < 300; round++) {
        const size_t at =
            round % 2 ? 64 + next_random(&random) % 146000 : size - 1 - next_random(&random) % 50000;
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        fputc(bytes[at] ^ (1 << (int)(next_random(&random) % 8)), file);
        fclose(file);
        vipo_error error = {0};
        vipo_torch_checkpoint *c;
        if (vipo_torch_checkpoint_open(&c, path, &error) != VIPO_OK) assert_true(error.message[0] != '\0');
        vipo_torch_checkpoint_close(&c);
        file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
        fputc(bytes[at], file);
        fclose(file);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_bad_views),
        cmocka_unit_test(test_bad_archives),
        cmocka_unit_test(test_overlapping_entries),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_odd_roots),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
