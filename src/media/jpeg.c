/* JPEG through libjpeg-turbo. Its errors leave by longjmp; the setjmp sits in one small function that
 * keeps everything it changes in a struct of its caller, so no local is clobbered. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "media/picture.h"

/* A progressive file may hold any number of scans, each costing a pass over the picture; encoders write
 * about ten. */
enum { MAX_SCANS = 100 };

typedef struct jpeg_job {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char complaint[JMSG_LENGTH_MAX];
    const char *name;
    vipo_error *error;
    vipo_image *image;
    JSAMPROW row;
} jpeg_job;

static void on_error(j_common_ptr common)
{
    jpeg_job *job = common->client_data;
    job->manager.format_message(common, job->complaint);
    longjmp(job->escape, 1);
}

/* Level -1 is damage that the decoder papers over (grey areas, lost rows): refused when pixels are lost,
 * ignored when the file only holds oddities. */
static void on_message(j_common_ptr common, int level)
{
    const int code = common->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
                      code == JWRN_MUST_RESYNC))
        on_error(common);
}

static void on_output(j_common_ptr common)
{
    (void)common;
}

static void on_progress(j_common_ptr common)
{
    jpeg_job *job = common->client_data;
    if (job->decoder.input_scan_number <= MAX_SCANS) return;
    snprintf(job->complaint, sizeof job->complaint, "more than %d scans", MAX_SCANS);
    longjmp(job->escape, 1);
}

static vipo_status decode(jpeg_job *job, const vipo_mapped_file *file)
{
    if (setjmp(job->escape))
        return vipo_fail(job->error, VIPO_FORMAT, "%s: damaged JPEG: %s", job->name, job->complaint);

    struct jpeg_decompress_struct *decoder = &job->decoder;
    decoder->err = jpeg_std_error(&job->manager);
    decoder->client_data = job;
    job->manager.error_exit = on_error;
    job->manager.emit_message = on_message;
    job->manager.output_message = on_output;
    jpeg_create_decompress(decoder);
    job->progress.progress_monitor = on_progress;
    decoder->progress = &job->progress;
    jpeg_mem_src(decoder, file->data, (unsigned long)file->size);
    jpeg_read_header(decoder, TRUE);
    if (decoder->jpeg_color_space == JCS_CMYK || decoder->jpeg_color_space == JCS_YCCK)
        return vipo_fail(job->error, VIPO_UNSUPPORTED, "%s: JPEG in CMYK, expected grey or RGB colours",
                         job->name);
    if (decoder->data_precision != 8)
        return vipo_fail(job->error, VIPO_UNSUPPORTED, "%s: JPEG of %d bits, expected 8", job->name,
                         decoder->data_precision);
    const vipo_status status =
        vipo_picture_alloc(job->image, job->name, decoder->image_height, decoder->image_width, job->error);
    if (status != VIPO_OK) return status;

    decoder->out_color_space = JCS_RGB;
    decoder->dct_method = JDCT_ISLOW; /* the exact transform, with the default smooth chroma: as Pillow */
    jpeg_start_decompress(decoder);
    while (decoder->output_scanline < decoder->output_height) {
        job->row = job->image->data + (size_t)decoder->output_scanline * decoder->output_width * 3;
        jpeg_read_scanlines(decoder, &job->row, 1);
    }
    jpeg_finish_decompress(decoder);
    return VIPO_OK;
}

bool vipo_jpeg_matches(const vipo_mapped_file *file)
{
    return file->size >= 3 && file->data[0] == 0xFF && file->data[1] == 0xD8 && file->data[2] == 0xFF;
}

vipo_status vipo_jpeg_decode(const vipo_mapped_file *file, const char *name, vipo_image *out,
                             vipo_error *error)
{
    memset(out, 0, sizeof *out);
    jpeg_job *job = calloc(1, sizeof *job);
    if (!job) return vipo_fail_memory(error, sizeof *job, "the JPEG decoder");
    job->name = name;
    job->error = error;
    job->image = out;
    const vipo_status status = decode(job, file);
    jpeg_destroy_decompress(&job->decoder);
    free(job);
    if (status != VIPO_OK) vipo_image_free(out);
    return status;
}
