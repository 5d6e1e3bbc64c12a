/* Every format of plans is written and read back. */
#include "support/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <gif_lib.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES = 7, SIDE = 24, SCALE = 4 };

/* Smooth content that moves: [samples][FRAMES][SIDE][width][3] and [1][SIDE][width][3]. */
static float level_at(size_t sample, size_t frame, size_t y, size_t x, size_t k)
{
    const double phase = 0.3 * (double)frame + (double)sample + 0.4 * (double)k;
    return (float)(0.5 + 0.45 * sin(0.12 * (double)y + phase) * cos(0.1 * (double)x - 0.5 * phase));
}

static void make_plan(vipo_array *video, vipo_array *cond, size_t samples, size_t width)
{
    vipo_error error;
    const size_t video_shape[5] = {samples, FRAMES, SIDE, width, 3}, cond_shape[4] = {1, SIDE, width, 3};
    assert_ok(vipo_array_alloc(video, 5, video_shape, &error), &error);
    assert_ok(vipo_array_alloc(cond, 4, cond_shape, &error), &error);
    float *to = video->data;
    for (size_t s = 0; s < samples; s++)
        for (size_t f = 0; f < FRAMES; f++)
            for (size_t i = 0; i < SIDE * width * 3; i++)
                *to++ = level_at(s, f + 1, i / 3 / width, i / 3 % width, i % 3);
    for (size_t i = 0; i < SIDE * width * 3; i++)
        cond->data[i] = level_at(0, 0, i / 3 / width, i / 3 % width, i % 3);
}

static void free_plan(vipo_array *video, vipo_array *cond)
{
    vipo_array_free(video);
    vipo_array_free(cond);
}

/* Level 0..255 of frame i (0: condition frame) of a sample. */
static double true_level(const vipo_array *video, const vipo_array *cond, size_t sample, size_t i, size_t at)
{
    const size_t size = video->shape[2] * video->shape[3] * 3;
    return 255 * (double)(i == 0 ? cond->data[at] : video->data[(sample * FRAMES + i - 1) * size + at]);
}

static vipo_write_options make_options(const char *caption)
{
    vipo_write_options options;
    vipo_write_default_options(&options);
    options.scale = SCALE;
    options.caption = caption;
    return options;
}

static int count_entries(const char *folder)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    int n = 0;
    while (readdir(directory)) n++;
    closedir(directory);
    return n - 2;
}

/* ---- options and names ---- */

static void knows_extensions(void **state)
{
    (void)state;
    assert_true(vipo_plan_can_write("a.gif"));
    assert_true(vipo_plan_can_write("folder.x/a.MP4"));
    assert_true(vipo_plan_can_write("a.b.Png"));
    assert_true(vipo_plan_can_write("/a/.npy"));
    assert_false(vipo_plan_can_write("a.jpg"));
    assert_false(vipo_plan_can_write("gif"));
    assert_false(vipo_plan_can_write("a.gif/b"));
    assert_false(vipo_plan_can_write(""));
    vipo_write_options options;
    vipo_write_default_options(&options);
    assert_true(options.fps == 4 && options.scale == 0 && !options.caption);
    vipo_array video, cond;
    make_plan(&video, &cond, 1, SIDE);
    vipo_error error;
    assert_int_equal(vipo_plan_write("plan.webm", &video, &cond, &options, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, ".gif, .mp4, .png, .npy"));
    free_plan(&video, &cond);
}

static void refuses_bad_plans(void **state)
{
    (void)state;
    vipo_array video, cond, small, other;
    make_plan(&video, &cond, 2, SIDE);
    make_plan(&other, &small, 2, SIDE - 2);
    static const char *const names[] = {"bad.gif", "bad.mp4", "bad.png"};
    for (int i = 0; i < 3; i++) {
        const char *path = test_temporary(names[i]);
        vipo_write_options options = make_options(NULL);
        vipo_error error;
        assert_int_equal(vipo_plan_write(path, &video, NULL, &options, &error), VIPO_MISMATCH);
        assert_int_equal(vipo_plan_write(path, &cond, &cond, &options, &error), VIPO_MISMATCH);
        assert_int_equal(vipo_plan_write(path, &video, &small, &options, &error), VIPO_MISMATCH);
        assert_non_null(strstr(error.message, "24x22"));
        const float kept = video.data[1000];
        video.data[1000] = NAN;
        assert_int_equal(vipo_plan_write(path, &video, &cond, &options, &error), VIPO_NUMERIC);
        assert_non_null(strstr(error.message, "element 1000 of the video is NaN"));
        video.data[1000] = kept;
        options.scale = -1;
        assert_int_equal(vipo_plan_write(path, &video, &cond, &options, &error), VIPO_INVALID_ARGUMENT);
        options.scale = 0;
        options.fps = 0;
        assert_int_equal(vipo_plan_write(path, &video, &cond, &options, &error), VIPO_INVALID_ARGUMENT);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    free_plan(&video, &cond);
    free_plan(&other, &small);
}

/* ---- gif ---- */

/* Delay in hundredths of a second, and the root mean square error of the part that shows frames. */
static double gif_error(GifFileType *gif, const vipo_array *video, const vipo_array *cond, int *delays)
{
    const size_t width = video->shape[3], samples = video->shape[0];
    double sum = 0, n = 0;
    for (size_t i = 0; i < (size_t)gif->ImageCount; i++) {
        GraphicsControlBlock control;
        assert_int_equal(DGifSavedExtensionToGCB(gif, (int)i, &control), GIF_OK);
        delays[i] = control.DelayTime;
        for (size_t s = 0; s < samples; s++)
            for (size_t y = 0; y < SIDE * SCALE; y++)
                for (size_t x = 0; x < width * SCALE; x++) {
                    const size_t column = s * (width * SCALE + 4) + x;
                    const int index = gif->SavedImages[i].RasterBits[y * (size_t)gif->SWidth + column];
                    const GifColorType colour = gif->SColorMap->Colors[index];
                    const uint8_t got[3] = {colour.Red, colour.Green, colour.Blue};
                    for (size_t k = 0; k < 3; k++) {
                        const size_t at = ((y / SCALE) * width + x / SCALE) * 3 + k;
                        const double d = got[k] - true_level(video, cond, s, i, at);
                        sum += d * d;
                        n++;
                    }
                }
    }
    return sqrt(sum / n);
}

static void assert_loops(const GifFileType *gif)
{
    const SavedImage *first = &gif->SavedImages[0];
    for (int i = 0; i + 1 < first->ExtensionBlockCount; i++)
        if (first->ExtensionBlocks[i].Function == APPLICATION_EXT_FUNC_CODE) {
            assert_memory_equal(first->ExtensionBlocks[i].Bytes, "NETSCAPE2.0", 11);
            assert_memory_equal(first->ExtensionBlocks[i + 1].Bytes, "\1\0\0", 3);
            return;
        }
    fail_msg("the GIF does not loop");
}

static void check_gif(size_t samples, const char *caption)
{
    vipo_array video, cond;
    make_plan(&video, &cond, samples, SIDE + 3);
    const vipo_write_options options = make_options(caption);
    const char *path = test_temporary("plan.gif");
    vipo_error error;
    assert_ok(vipo_plan_write(path, &video, &cond, &options, &error), &error);
    int code;
    GifFileType *gif = DGifOpenFileName(path, &code);
    assert_non_null(gif);
    assert_int_equal(DGifSlurp(gif), GIF_OK);
    assert_int_equal(gif->ImageCount, FRAMES + 1);
    assert_int_equal(gif->SWidth, samples * (SIDE + 3) * SCALE + (samples - 1) * 4);
    if (caption)
        assert_true(gif->SHeight > SIDE * SCALE);
    else
        assert_int_equal(gif->SHeight, SIDE * SCALE);
    assert_loops(gif);
    int delays[FRAMES + 1];
    const double rms = gif_error(gif, &video, &cond, delays);
    if (!(rms < 4)) fail_msg("rms palette error %g levels", rms);
    for (int i = 0; i <= FRAMES; i++) assert_int_equal(delays[i], i == 0 || i == FRAMES ? 75 : 25);
    DGifCloseFile(gif, &code);
    free_plan(&video, &cond);
}

static void writes_gif(void **state)
{
    (void)state;
    check_gif(1, NULL);
    check_gif(1,
              "open the door, then close it again, then press the button from above, and so on, and so on");
    check_gif(3, "door open \xc3\xa9");
}

/* ---- mp4 ---- */

/* Sums squared differences of a decoded picture, converted by libswscale, to the plan. */
static double picture_error(const AVFrame *frame, const vipo_array *video, const vipo_array *cond, size_t i)
{
    const int width = frame->width, height = frame->height;
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    assert_non_null(rgb);
    struct SwsContext *scaler =
        sws_getContext(width, height, (enum AVPixelFormat)frame->format, width, height, AV_PIX_FMT_RGB24,
                       SWS_POINT | SWS_ACCURATE_RND, NULL, NULL, NULL);
    assert_non_null(scaler);
    const int stride = 3 * width;
    sws_scale(scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, height, &rgb, &stride);
    sws_freeContext(scaler);
    const size_t video_width = video->shape[3];
    double sum = 0;
    for (size_t y = 0; y < SIDE * SCALE; y++)
        for (size_t x = 0; x < video_width * SCALE; x++)
            for (size_t k = 0; k < 3; k++) {
                const double d =
                    rgb[y * (size_t)stride + 3 * x + k] -
                    true_level(video, cond, 0, i, ((y / SCALE) * video_width + x / SCALE) * 3 + k);
                sum += d * d;
            }
    free(rgb);
    return sum / (double)(SIDE * SCALE * video_width * SCALE * 3);
}

static void check_mp4(size_t width, int expected_width)
{
    vipo_array video, cond;
    make_plan(&video, &cond, 1, width);
    const vipo_write_options options = make_options("ignored");
    const char *path = test_temporary("plan.mp4");
    vipo_error error;
    assert_ok(vipo_plan_write(path, &video, &cond, &options, &error), &error);

    AVFormatContext *file = NULL;
    assert_int_equal(avformat_open_input(&file, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(file, NULL) >= 0);
    assert_int_equal(file->nb_streams, 1);
    const AVStream *stream = file->streams[0];
    assert_true(fabs(av_q2d(stream->avg_frame_rate) - 4) < 1e-6);
    assert_true(fabs((double)file->duration / AV_TIME_BASE - (FRAMES + 1) / 4.0) < 0.02);
    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(stream->codecpar->codec_id));
    assert_non_null(decoder);
    assert_true(avcodec_parameters_to_context(decoder, stream->codecpar) >= 0);
    assert_int_equal(avcodec_open2(decoder, NULL, NULL), 0);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    assert_true(packet && frame);
    size_t n = 0;
    double sum = 0;
    for (bool ended = false; !ended;) {
        ended = av_read_frame(file, packet) < 0;
        assert_int_equal(avcodec_send_packet(decoder, ended ? NULL : packet), 0);
        if (!ended) av_packet_unref(packet);
        while (avcodec_receive_frame(decoder, frame) == 0) {
            assert_int_equal(frame->width, expected_width);
            assert_int_equal(frame->height, SIDE * SCALE);
            assert_true(n < FRAMES + 1);
            sum += picture_error(frame, &video, &cond, n++);
        }
    }
    assert_int_equal(n, FRAMES + 1);
    const double psnr = 10 * log10(255 * 255 / (sum / (double)n));
    if (!(psnr > 36)) fail_msg("PSNR %.2f dB", psnr);
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&file);
    free_plan(&video, &cond);
}

static void writes_mp4(void **state)
{
    (void)state;
    check_mp4(SIDE, SIDE * SCALE);
    check_mp4(SIDE + 5, (SIDE + 5) * SCALE);
}

/* Odd sizes, which 4:2:0 does not have, are made even. */
static void writes_odd_mp4(void **state)
{
    (void)state;
    vipo_array video, cond;
    make_plan(&video, &cond, 1, 33);
    vipo_write_options options = make_options(NULL);
    options.scale = 1;
    options.fps = 29.97;
    vipo_error error;
    const char *path = test_temporary("odd.mp4");
    assert_ok(vipo_plan_write(path, &video, &cond, &options, &error), &error);
    AVFormatContext *file = NULL;
    assert_int_equal(avformat_open_input(&file, path, NULL, NULL), 0);
    assert_int_equal(file->streams[0]->codecpar->width, 34);
    assert_int_equal(file->streams[0]->codecpar->height, SIDE);
    avformat_close_input(&file);
    free_plan(&video, &cond);
}

/* libav's messages go to stderr unless they are held back. */
static void is_silent(void **state)
{
    (void)state;
    vipo_array video, cond;
    make_plan(&video, &cond, 1, SIDE);
    const vipo_write_options options = make_options(NULL);
    const char *log = test_temporary("stderr");
    fflush(stderr);
    const int kept = dup(2), file = open(log, O_CREAT | O_RDWR, 0600);
    assert_true(kept >= 0 && file >= 0);
    dup2(file, 2);
    vipo_error error;
    const vipo_status status = vipo_plan_write(test_temporary("silent.mp4"), &video, &cond, &options, &error);
    dup2(kept, 2);
    assert_ok(status, &error);
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    close(kept);
    close(file);
    free_plan(&video, &cond);
}

/* ---- png and npy ---- */

static void writes_png(void **state)
{
    (void)state;
    vipo_array video, cond;
    make_plan(&video, &cond, 2, SIDE);
    vipo_write_options options = make_options("door open");
    const char *path = test_temporary("sheet.png");
    vipo_error error;
    assert_ok(vipo_plan_write(path, &video, &cond, &options, &error), &error);
    vipo_image sheet;
    assert_ok(vipo_image_read(path, &sheet, &error), &error);
    assert_true(sheet.width > (FRAMES + 1) * SIDE * SCALE && sheet.height > 2 * SIDE * SCALE);
    /* the condition frame is in it, bit for bit: find the row where it begins, at the left margin */
    int found = 0;
    const size_t left = 20, stride = (size_t)sheet.width * 3;
    for (size_t y = 0; y + SIDE * SCALE <= (size_t)sheet.height; y++) {
        int equal = 1;
        for (size_t i = 0; equal && i < SIDE * SIDE * 3; i++) {
            const size_t row = y + i / 3 / SIDE * SCALE, column = left + i / 3 % SIDE * SCALE;
            equal = sheet.data[row * stride + column * 3 + i % 3] == (uint8_t)(cond.data[i] * 255.0F + 0.5F);
        }
        found += equal;
    }
    assert_int_equal(found, 2 * SCALE); /* once a sample, at each of the SCALE equal rows */
    vipo_image_free(&sheet);
    free_plan(&video, &cond);
}

static void writes_sheets_of_unequal_rows(void **state)
{
    (void)state;
    vipo_array a, a_cond, b, b_cond;
    make_plan(&a, &a_cond, 1, SIDE);
    make_plan(&b, &b_cond, 1, 2 * SIDE);
    const vipo_sheet_row rows[] = {{"ddim-100", &a_cond, &a}, {NULL, &b_cond, &b}, {"", &a_cond, &a}};
    const char *path = test_temporary("rows.png");
    vipo_error error;
    assert_ok(vipo_sheet_write(path, rows, 3, NULL, &error), &error);
    vipo_image sheet;
    assert_ok(vipo_image_read(path, &sheet, &error), &error);
    vipo_image_free(&sheet);
    assert_int_equal(vipo_sheet_write(path, rows, 0, NULL, &error), VIPO_INVALID_ARGUMENT);
    vipo_write_options options = make_options(NULL);
    options.scale = 64; /* 8 frames of 48 * 64 pixels are too wide */
    assert_int_equal(vipo_sheet_write(path, rows, 3, &options, &error), VIPO_UNSUPPORTED);
    free_plan(&a, &a_cond);
    free_plan(&b, &b_cond);
}

static void writes_npy(void **state)
{
    (void)state;
    vipo_array video, cond, back;
    make_plan(&video, &cond, 2, SIDE);
    video.data[5] = 1.5F; /* not clipped */
    const char *path = test_temporary("plan.npy");
    vipo_error error;
    assert_ok(vipo_plan_write(path, &video, NULL, NULL, &error), &error);
    assert_ok(vipo_npy_read(path, &back, &error), &error);
    assert_int_equal(back.rank, 5);
    assert_memory_equal(back.shape, video.shape, 5 * sizeof video.shape[0]);
    assert_memory_equal(back.data, video.data, vipo_array_size(&video) * sizeof *video.data);
    vipo_array_free(&back);
    free_plan(&video, &cond);
}

/* ---- outputs that fail ---- */

static void leaves_nothing_behind(void **state)
{
    (void)state;
    vipo_array video, cond;
    make_plan(&video, &cond, 1, SIDE);
    const vipo_write_options options = make_options("door open");
    char folder[256];
    snprintf(folder, sizeof folder, "%s", test_temporary("")); /* the temporary folder itself */
    static const char *const names[] = {"x.gif", "x.mp4", "x.png", "x.npy"};
    for (int i = 0; i < 4; i++) {
        char path[512];
        vipo_error error;
        snprintf(path, sizeof path, "%s/absent/%s", folder, names[i]);
        assert_int_equal(vipo_plan_write(path, &video, &cond, &options, &error), VIPO_IO);
        assert_non_null(strstr(error.message, path));

        snprintf(path, sizeof path, "%s/full-%s", folder, names[i]);
        assert_int_equal(symlink("/dev/full", path), 0);
        const int before = count_entries(folder);
        assert_int_equal(vipo_plan_write(path, &video, &cond, &options, &error), VIPO_IO);
        assert_non_null(strstr(error.message, path));
        assert_int_equal(count_entries(folder), before);
        assert_int_equal(unlink(path), 0);
    }
    free_plan(&video, &cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_extensions), cmocka_unit_test(refuses_bad_plans),
        cmocka_unit_test(writes_gif),       cmocka_unit_test(writes_mp4),
        cmocka_unit_test(writes_odd_mp4),   cmocka_unit_test(is_silent),
        cmocka_unit_test(writes_png),       cmocka_unit_test(writes_sheets_of_unequal_rows),
        cmocka_unit_test(writes_npy),       cmocka_unit_test(leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("plan_writer", tests, NULL, NULL);
}
