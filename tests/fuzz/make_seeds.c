/* Writes the binary files that fuzzing starts from: make_seeds tests/fuzz/corpus. Built on demand (target
 * fuzz_seeds); the text ones are written by hand. */
#include "support/torch_file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

static const char *folder;

/* Four calls may be alive at once. */
static const char *seed_path(const char *target, const char *name)
{
    static char room[4][512];
    static int next;
    char *path = room[next++ % 4];
    snprintf(path, sizeof room[0], "%s/%s/%s", folder, target, name);
    return path;
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

#define SHAPE(...) ((const size_t[]){__VA_ARGS__})

static void make_safetensors(void)
{
    static const float values[6] = {0, -1.5F, 3e38F, 1e-40F, 2, 7};
    static const char *const types[] = {"F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL"};
    static const size_t sizes[] = {2, 2, 8, 8, 4, 2, 1, 1, 1};
    test_tensors tensors = {.metadata = "{\"format\":\"pt\"}"};
    test_tensors_add(&tensors, "unet.w", "F32", 2, SHAPE(2, 3), values, sizeof values);
    test_tensors_add(&tensors, "unet.scalar", "F32", 0, SHAPE(0), values, 4);
    test_tensors_add(&tensors, "empty", "F32", 1, SHAPE(0), NULL, 0);
    test_tensors_write(&tensors, seed_path("safetensors", "floats"));
    test_tensors_free(&tensors);
    tensors = (test_tensors){.count = 0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        test_tensors_add(&tensors, types[i], types[i], 1, SHAPE(2), values, 2 * sizes[i]);
    test_tensors_write(&tensors, seed_path("safetensors", "types"));
    test_tensors_free(&tensors);
    tensors = (test_tensors){.count = 0};
    test_tensors_add(&tensors, "unet.w", "F64", 2, SHAPE(2, 3), NULL, 48);
    test_tensors_add(&tensors, "shape", "F64", 6, SHAPE(1, 1, 1, 1, 1, 1), NULL, 8);
    test_tensors_write(&tensors, seed_path("safetensors", "doubles"));
    test_tensors_free(&tensors);
    test_safetensors_raw(seed_path("safetensors", "nothing"), "{}", 2, 0);
    test_safetensors_raw(seed_path("safetensors", "hole"),
                         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 55, 8);
}

/* Draws of fuzz_motion.c's sizes: whole, without what is optional, indices that are none. */
static void make_motion(void)
{
    int32_t index[20], pairs[2][5][2];
    int64_t wide[20];
    double jitter[20][2], starts[8][6];
    for (int i = 0; i < 20; i++) {
        index[i] = i * 7 % 42;
        wide[i] = i == 19 ? 1 << 20 : index[i];
        for (int k = 0; k < 2; k++) jitter[i][k] = (double)test_uniform(5, (uint64_t)(2 * i + k)) / 2;
    }
    for (int i = 0; i < 10; i++) {
        pairs[i / 5][i % 5][0] = i;
        pairs[i / 5][i % 5][1] = (i + 3) % 10;
    }
    for (int i = 0; i < 48; i++) starts[i / 6][i % 6] = 2 * (double)test_uniform(6, (uint64_t)i);
    test_tensors tensors = {0};
    test_tensors_add(&tensors, "draw.sample_index", "I32", 1, (const size_t[]){20}, index, sizeof index);
    test_tensors_add(&tensors, "draw.sample_jitter", "F64", 2, (const size_t[]){20, 2}, jitter,
                     sizeof jitter);
    test_tensors_write(&tensors, seed_path("motion", "samples"));
    test_tensors_add(&tensors, "draw.ransac_pairs", "I32", 3, (const size_t[]){2, 5, 2}, pairs, sizeof pairs);
    test_tensors_add(&tensors, "draw.start_x0", "F64", 2, (const size_t[]){8, 6}, starts, sizeof starts);
    test_tensors_write(&tensors, seed_path("motion", "all"));
    test_tensors_free(&tensors);
    test_tensors_add(&tensors, "draw.sample_index", "I64", 1, (const size_t[]){20}, wide, sizeof wide);
    test_tensors_add(&tensors, "draw.sample_jitter", "F64", 2, (const size_t[]){20, 2}, jitter,
                     sizeof jitter);
    test_tensors_write(&tensors, seed_path("motion", "far"));
    test_tensors_free(&tensors);
}

static void make_torch(void)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static const char *const names[] = {"a", "b", "c"};
    const test_zip_entry floats = {.name = "data/0", .data = values, .size = sizeof values};
    test_zip_entry deflated = floats, renamed = floats;
    deflated.method = 8;
    renamed.name = "data/1";
    const test_view whole = {"FloatStorage", "0", 6, 0, 2, {2, 3}, {3, 1}};
    const test_view turned = {"FloatStorage", "0", 6, 0, 2, {3, 2}, {1, 3}};
    const test_view part = {"FloatStorage", "0", 6, 1, 1, {2}, {2}};
    const test_view halves = {"HalfStorage", "1", 12, 0, 1, {12}, {1}};
    const test_view expanded = {"LongStorage", "1", 3, 2, 2, {4, 1}, {0, 9}};
    test_checkpoint_write(seed_path("torch", "one"), names, &whole, 1, &floats, 1);
    test_checkpoint_write(seed_path("torch", "deflated"), names, &turned, 1, &deflated, 1);
    test_checkpoint_write(seed_path("torch", "views"), names, (const test_view[]){whole, turned, part}, 3,
                          &floats, 1);
    test_checkpoint_write(seed_path("torch", "types"), names, (const test_view[]){part, halves, expanded}, 3,
                          (const test_zip_entry[]){floats, renamed}, 2);
    /* One element seen 2^40 times. */
    const test_view vast = {"FloatStorage", "0", 6, 0, 1, {(int64_t)1 << 40}, {0}};
    test_checkpoint_write(seed_path("torch", "crash-expanded"), names, &vast, 1, &floats, 1);
    test_zip_entry broken = floats;
    broken.bad_checksum = true;
    test_checkpoint_write(seed_path("torch", "checksum"), names, &whole, 1, &broken, 1);
}

/* What torch.save also writes: nested containers, numbers as keys, parameters, torch.Size. */
static void make_nested(void)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    test_bytes pickle = {0};
    const test_view view = {"FloatStorage", "0", 6, 0, 2, {2, 3}, {3, 1}};
    test_pickle_op(&pickle, "\x80\x02}(");
    test_pickle_text(&pickle, "model");
    test_pickle_global(&pickle, "collections", "OrderedDict");
    test_pickle_op(&pickle, ")R(");
    test_pickle_text(&pickle, "w");
    test_pickle_global(&pickle, "torch._utils", "_rebuild_parameter");
    test_pickle_op(&pickle, "(");
    test_pickle_view(&pickle, &view);
    test_pickle_op(&pickle, "\x88");
    test_pickle_global(&pickle, "collections", "OrderedDict");
    test_pickle_op(&pickle, ")RtRu");
    test_pickle_text(&pickle, "state");
    test_pickle_op(&pickle, "}(K\x07");
    test_pickle_view(&pickle, &view);
    test_pickle_text(&pickle, "size");
    test_pickle_global(&pickle, "torch", "Size");
    test_pickle_op(&pickle, "(K\x02K\x03t\x85R");
    test_pickle_op(&pickle, "u");
    test_pickle_text(&pickle, "list");
    test_pickle_op(&pickle, "](");
    test_pickle_view(&pickle, &view);
    test_pickle_op(&pickle, "NeN\x88u.");
    const test_zip_entry entries[] = {{.name = "made/data.pkl", .data = pickle.bytes, .size = pickle.size},
                                      {.name = "made/data/0", .data = values, .size = sizeof values}};
    test_zip_write(seed_path("torch", "nested"), entries, 2);
    const test_zip_entry script[] = {entries[0], {.name = "made/constants.pkl", .data = "N.", .size = 2}};
    test_zip_write(seed_path("torch", "script"), script, 2);
    const test_zip_entry overlapping[] = {
        entries[0],
        entries[1],
        {.name = "made/data/1", .data = values, .size = sizeof values, .shares_data = true}};
    test_zip_write(seed_path("torch", "overlapping"), overlapping, 3);
    const test_zip_entry root[] = {{.name = "made/data.pkl", .data = "\x80\x02K\x01.", .size = 5}};
    test_zip_write(seed_path("torch", "number"), root, 1);
    test_file_write(seed_path("torch", "legacy"), "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9 j\xa8P\x19.", 17);
    free(pickle.bytes);
}

static void make_pickles(void)
{
    test_bytes pickle = {0};
    const test_view view = {"FloatStorage", "0", 6, 0, 1, {6}, {1}};
    test_pickle_op(&pickle, "\x80\x02}(");
    test_pickle_text(&pickle, "w");
    test_pickle_view(&pickle, &view);
    test_pickle_op(&pickle, "u.");
    test_file_write(seed_path("pickle", "state_dict"), pickle.bytes, pickle.size);
    free(pickle.bytes);
    /* Every opcode once or more, of CPython's picklers and of the short globals of fuzz_pickle.c. */
    static const char *const made[][2] = {
        {"calls", "8004288c01748c01639329528c01748c01649329527d622863740a630a4b016f284b0169740a630a6374"
                  "0a640a5d5d4b01614b026161855263740a630a298163740a630a297d928c0269645163740a6e0a742e"},
        {"containers", "8004952d00000000000000285d4b01615d284d02014a03000000657d8c016b4b05737d288c01714e758f"
                       "284b0690284b0791888986284b014b0264284b016c4e854e4e4e87284e314e304e32742e"},
        {"instance", "80022869740a630a5130284b014b0269740a630a2e"},
        {"keywords", "800463740a630a297d922e"},
        {"memo", "80045d71002868005d946a010000005d72020000006802652e"},
        {"numbers", "8002288a008a01ff8a08ffffffffffffff7f8a0900000000000000008047400921fb54442d188b030000"
                    "0001020388894e4bff4dffff4affffffff742e"},
        {"texts", "8005288c01615801000000625501635401000000644301654201000000668d0100000000000000678e01"
                  "000000000000006896010000000000000069742e"},
    };
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        test_bytes bytes = test_bytes_from_hex(made[i][1]);
        test_file_write(seed_path("pickle", made[i][0]), bytes.bytes, bytes.size);
        free(bytes.bytes);
    }
}

/* ---- .npy ---------------------------------------------------------------------------------------------- */

static void make_npy(void)
{
    static const char *const files[][3] = {
        {"f4", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", "24"},
        {"f8_fortran", "{'descr': '>f8', 'fortran_order': True, 'shape': (2, 1, 3), }\n", "48"},
        {"f2", "{\"shape\": (2,), \"descr\": \"=f2\", \"fortran_order\": False}", "4"},
        {"b1", "{'descr': '|b1', 'fortran_order': False, 'shape': (), }", "1"},
        {"i8", "{'descr': '<i8', 'fortran_order': False, 'shape': (3L,)}", "24"},
        {"u2", "{'descr': '>u2', 'fortran_order': True, 'shape': (1,1,1,1,2,2)}", "8"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        unsigned char bytes[256] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)(1 + i % 3)};
        const size_t length = strlen(files[i][1]), before = i % 3 == 0 ? 10 : 12;
        const size_t data = strtoul(files[i][2], NULL, 10);
        bytes[8] = (unsigned char)length;
        memcpy(bytes + before, files[i][1], length);
        for (size_t j = 0; j < data; j++) bytes[before + length + j] = (unsigned char)(60 + 37 * j);
        test_file_write(seed_path("npy", files[i][0]), bytes, before + length + data);
    }
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

enum { HEIGHT = 19, WIDTH = 23 };

static unsigned char sample(int y, int x, int channel)
{
    return (unsigned char)(y * (5 + channel) + x * 3 + (x * y) % 11 * channel);
}

static void make_png(const char *name, int colour, int depth, bool interlaced)
{
    FILE *file = fopen(seed_path("png", name), "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(file);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_init_io(png, file);
    png_set_IHDR(png, info, WIDTH, HEIGHT, depth, colour,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[4] = {{0, 0, 0}, {255, 0, 9}, {3, 200, 100}, {255, 255, 255}};
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, (png_byte[]){0, 128}, 2, NULL);
    }
    if (colour == PNG_COLOR_TYPE_GRAY && depth == 8)
        png_set_tRNS(png, info, NULL, 0, &(png_color_16){.gray = 5});
    if (colour == PNG_COLOR_TYPE_RGB) {
        png_set_gAMA(png, info, 0.45455);
        png_text text = {
            .compression = PNG_TEXT_COMPRESSION_zTXt, .key = "Title", .text = "a", .text_length = 1};
        png_set_text(png, info, &text, 1);
    }
    png_write_info(png, info);
    unsigned char row[WIDTH * 8];
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (int y = 0; y < HEIGHT; y++) {
            for (int i = 0; i < WIDTH * 8; i++) row[i] = sample(y, i / 3, i % 3);
            png_write_row(png, row);
        }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    assert_int_equal(fclose(file), 0);
}

static void make_jpeg(const char *name, int components, int sampling, bool progressive, int restart)
{
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr manager;
    FILE *file = fopen(seed_path("jpeg", name), "wb");
    assert_non_null(file);
    encoder.err = jpeg_std_error(&manager);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = WIDTH;
    encoder.image_height = HEIGHT;
    encoder.input_components = components;
    encoder.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, 60, TRUE);
    encoder.comp_info[0].h_samp_factor = encoder.comp_info[0].v_samp_factor = sampling;
    encoder.restart_interval = (unsigned)restart;
    if (progressive) jpeg_simple_progression(&encoder);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        unsigned char row[WIDTH * 4];
        for (int i = 0; i < WIDTH * components; i++)
            row[i] = sample((int)encoder.next_scanline, i / components, i % components);
        jpeg_write_scanlines(&encoder, &(unsigned char *){row}, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    assert_int_equal(fclose(file), 0);
}

static void make_all(void **state)
{
    (void)state;
    make_safetensors();
    make_motion();
    make_torch();
    make_nested();
    make_pickles();
    make_npy();
    make_png("rgb", PNG_COLOR_TYPE_RGB, 8, false);
    make_png("rgb16", PNG_COLOR_TYPE_RGB, 16, true);
    make_png("rgba", PNG_COLOR_TYPE_RGBA, 8, true);
    make_png("gray", PNG_COLOR_TYPE_GRAY, 8, false);
    make_png("gray1", PNG_COLOR_TYPE_GRAY, 1, false);
    make_png("gray_alpha16", PNG_COLOR_TYPE_GRAY_ALPHA, 16, false);
    make_png("palette", PNG_COLOR_TYPE_PALETTE, 2, true);
    make_jpeg("444", 3, 1, false, 0);
    make_jpeg("420", 3, 2, false, 2);
    make_jpeg("gray", 1, 1, false, 0);
    make_jpeg("progressive", 3, 2, true, 0);
    make_jpeg("cmyk", 4, 1, false, 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    folder = argv[1];
    const struct CMUnitTest steps[] = {cmocka_unit_test(make_all)};
    return cmocka_run_group_tests(steps, NULL, NULL);
}
