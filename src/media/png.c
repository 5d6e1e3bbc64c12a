/* PNG through libpng. libpng leaves a failed call by longjmp; the setjmp sits in two small functions
 * that keep everything they change in a struct of their caller, so no local is clobbered. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "media/picture.h"

typedef struct png_job {
    jmp_buf escape;
    char complaint[128];
    png_structp png;
    png_infop info;
    const char *name;
    vipo_error *error;
    /* decoding */
    const unsigned char *next;
    size_t left;
    vipo_image *image;
    png_bytep *rows; /* [height] into the picture */
    /* encoding */
    FILE *stream;
} png_job;

static void on_error(png_structp png, png_const_charp message)
{
    png_job *job = png_get_error_ptr(png);
    snprintf(job->complaint, sizeof job->complaint, "%s", message);
    longjmp(job->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message; /* about chunks that do not touch the pixels */
}

static void read_bytes(png_structp png, png_bytep data, size_t size)
{
    png_job *job = png_get_io_ptr(png);
    if (size > job->left) png_error(png, "the file is cut short");
    memcpy(data, job->next, size);
    job->next += size;
    job->left -= size;
}

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    png_job *job = png_get_io_ptr(png);
    if (fwrite(data, 1, size, job->stream) == size) return;
    char complaint[sizeof job->complaint];
    snprintf(complaint, sizeof complaint, "cannot write: %s", strerror(errno));
    png_error(png, complaint);
}

static void flush_bytes(png_structp png)
{
    (void)png; /* the output is flushed when it is committed */
}

/* Makes the picture and the row pointers. */
static vipo_status make_rows(png_job *job)
{
    const size_t height = png_get_image_height(job->png, job->info);
    const size_t width = png_get_image_width(job->png, job->info);
    VIPO_TRY(vipo_picture_alloc(job->image, job->name, height, width, job->error));
    job->rows = malloc(height * sizeof *job->rows);
    if (!job->rows) return vipo_fail_memory(job->error, height * sizeof *job->rows, "the rows of a picture");
    for (size_t y = 0; y < height; y++) job->rows[y] = job->image->data + y * width * 3;
    return VIPO_OK;
}

static vipo_status decode(png_job *job)
{
    if (setjmp(job->escape))
        return vipo_fail(job->error, VIPO_FORMAT, "%s: damaged PNG: %s", job->name, job->complaint);

    job->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    if (job->png) job->info = png_create_info_struct(job->png);
    if (!job->info) return vipo_fail_memory(job->error, 0, "the PNG decoder");
    png_set_read_fn(job->png, job, read_bytes);
    png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours give the better message */
    /* Only what makes pixels (IHDR, PLTE, tRNS, IDAT, IEND) is looked at. Other chunks are skipped: libpng would
     * take memory for them by the length they claim, and of a limit it only warns. */
    png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(job->png, job->info);
    VIPO_TRY(vipo_picture_check_size(job->name, png_get_image_height(job->png, job->info),
                                     png_get_image_width(job->png, job->info), job->error));

    png_set_expand(job->png);      /* palette and 1, 2, 4 bit grey; a transparent colour becomes alpha ... */
    png_set_strip_16(job->png);    /* the high byte, as Pillow does */
    png_set_strip_alpha(job->png); /* ... which goes, colours unblended */
    png_set_gray_to_rgb(job->png);
    png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);

    const vipo_status status = make_rows(job);
    if (status != VIPO_OK) return status;
    if (png_get_rowbytes(job->png, job->info) != (size_t)job->image->width * 3)
        png_error(job->png, "unexpected row size");
    png_read_image(job->png, job->rows);
    png_read_end(job->png, NULL);
    return VIPO_OK;
}

bool vipo_png_matches(const vipo_mapped_file *file)
{
    return file->size >= 8 && png_sig_cmp(file->data, 0, 8) == 0;
}

vipo_status vipo_png_decode(const vipo_mapped_file *file, const char *name, vipo_image *out,
                            vipo_error *error)
{
    memset(out, 0, sizeof *out);
    png_job job = {.name = name, .error = error, .image = out, .next = file->data, .left = file->size};
    const vipo_status status = decode(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    free(job.rows);
    if (status != VIPO_OK) vipo_image_free(out);
    return status;
}

static vipo_status encode(png_job *job, const vipo_image *image)
{
    if (setjmp(job->escape)) return vipo_fail(job->error, VIPO_IO, "%s: %s", job->name, job->complaint);

    job->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    if (job->png) job->info = png_create_info_struct(job->png);
    if (!job->info) return vipo_fail_memory(job->error, 0, "the PNG encoder");
    png_set_write_fn(job->png, job, write_bytes, flush_bytes);
    png_set_IHDR(job->png, job->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(job->png, job->info);
    for (int y = 0; y < image->height; y++)
        png_write_row(job->png, image->data + (size_t)y * (size_t)image->width * 3);
    png_write_end(job->png, NULL);
    return VIPO_OK;
}

vipo_status vipo_png_encode(FILE *stream, const char *name, const vipo_image *image, vipo_error *error)
{
    png_job job = {.name = name, .error = error, .stream = stream};
    const vipo_status status = encode(&job, image);
    png_destroy_write_struct(&job.png, &job.info);
    return status;
}
