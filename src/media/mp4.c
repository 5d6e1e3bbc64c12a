/* MP4 through libavcodec and libavformat: H.264 by libx264, else MPEG-4 part 2, which every libavcodec
 * can encode. The file is muxed in memory (a plan is a few frames) and written in one go, so that
 * outputs that cannot seek work and a failed stream is ours to report.
 *
 * libav's log is one setting of the process, so it is left alone: the encoder's messages are pushed
 * below every level by its own offset, and the muxer has nothing to say about what it is given here. */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <string.h>

#include "core/file_output.h"
#include "media/film.h"
#include "media/picture.h"
#include "media/plan_writer.h"

/* libav's levels end at 56 and are looked at modulo 256. */
enum { LOG_OFFSET_SILENT = 128, MPEG4_QUANTISER = 2 };
/* Nearly lossless to the eye; a plan takes 20 to 100 kB. */
static const char x264_quality[] = "14";

typedef struct mp4_job {
    const char *path;
    const vipo_film *film;
    vipo_image canvas;
    AVCodecContext *encoder;
    AVFormatContext *muxer;
    AVStream *stream; /* borrowed from the muxer */
    AVFrame *frame;
    AVPacket *packet;
} mp4_job;

static vipo_status fail(const mp4_job *job, int code, const char *what, vipo_error *error)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    return vipo_fail(error, code == AVERROR(ENOMEM) ? VIPO_OUT_OF_MEMORY : VIPO_UNSUPPORTED, "%s: %s: %s",
                     job->path, what, text);
}

/* ---- RGB to YCbCr 4:2:0, BT.601, Y in 16..235: what players assume for small pictures ---- */

/* Pixel at (y, x), the last row and column repeated where the size was made even. */
static const uint8_t *pixel_at(const vipo_image *image, int y, int x)
{
    const size_t row = (size_t)(y < image->height ? y : image->height - 1);
    const size_t column = (size_t)(x < image->width ? x : image->width - 1);
    return image->data + (row * (size_t)image->width + column) * 3;
}

static uint8_t round_level(double value)
{
    return (uint8_t)(value + 0.5);
}

static void fill_luma(AVFrame *frame, const vipo_image *image)
{
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            const uint8_t *p = pixel_at(image, y, x);
            frame->data[0][y * frame->linesize[0] + x] =
                round_level(16 + (65.481 * p[0] + 128.553 * p[1] + 24.966 * p[2]) / 255);
        }
}

static void fill_chroma(AVFrame *frame, const vipo_image *image)
{
    for (int y = 0; y < frame->height / 2; y++)
        for (int x = 0; x < frame->width / 2; x++) {
            int sum[3] = {0, 0, 0};
            for (int i = 0; i < 4; i++) {
                const uint8_t *p = pixel_at(image, 2 * y + i / 2, 2 * x + i % 2);
                for (int k = 0; k < 3; k++) sum[k] += p[k];
            }
            frame->data[1][y * frame->linesize[1] + x] =
                round_level(128 + (-37.797 * sum[0] - 74.203 * sum[1] + 112.0 * sum[2]) / (4 * 255));
            frame->data[2][y * frame->linesize[2] + x] =
                round_level(128 + (112.0 * sum[0] - 93.786 * sum[1] - 18.214 * sum[2]) / (4 * 255));
        }
}

/* ---- encoder and muxer ---- */

static vipo_status open_encoder(mp4_job *job, double fps, vipo_error *error)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    const bool x264 = codec != NULL;
    if (!codec) codec = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    if (!codec)
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "%s: this libavcodec has no encoder for MP4, expected libx264 or mpeg4", job->path);
    AVCodecContext *encoder = job->encoder = avcodec_alloc_context3(codec);
    if (!encoder) return fail(job, AVERROR(ENOMEM), "encoder", error);
    encoder->log_level_offset = LOG_OFFSET_SILENT;
    encoder->width = (job->film->width + 1) / 2 * 2;
    encoder->height = (job->film->height + 1) / 2 * 2;
    encoder->framerate = av_d2q(fps, 60000);
    encoder->time_base = av_inv_q(encoder->framerate);
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->colorspace = AVCOL_SPC_SMPTE170M;
    encoder->color_primaries = AVCOL_PRI_BT709;
    encoder->color_trc = AVCOL_TRC_IEC61966_2_1;
    encoder->color_range = AVCOL_RANGE_MPEG;
    encoder->chroma_sample_location = AVCHROMA_LOC_CENTER;
    encoder->max_b_frames = 0; /* so that the first picture has time 0 */
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    if (x264) {
        av_opt_set(encoder->priv_data, "crf", x264_quality, 0);
        av_opt_set(encoder->priv_data, "preset", "medium", 0);
    } else {
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = MPEG4_QUANTISER * FF_QP2LAMBDA;
    }
    const int code = avcodec_open2(encoder, codec, NULL);
    return code < 0 ? fail(job, code, "the encoder refuses this video", error) : VIPO_OK;
}

static vipo_status open_muxer(mp4_job *job, vipo_error *error)
{
    /* the format by name: the file being written has a temporary name */
    int code = avformat_alloc_output_context2(&job->muxer, NULL, "mp4", NULL);
    if (code < 0) return fail(job, code, "MP4 muxer", error);
    job->muxer->flags |= AVFMT_FLAG_BITEXACT;
    job->stream = avformat_new_stream(job->muxer, NULL);
    if (!job->stream) return fail(job, AVERROR(ENOMEM), "MP4 muxer", error);
    job->stream->time_base = job->encoder->time_base;
    job->stream->avg_frame_rate = job->encoder->framerate;
    code = avcodec_parameters_from_context(job->stream->codecpar, job->encoder);
    if (code >= 0) code = avio_open_dyn_buf(&job->muxer->pb);
    if (code >= 0) code = avformat_write_header(job->muxer, NULL);
    return code < 0 ? fail(job, code, "MP4 muxer", error) : VIPO_OK;
}

static vipo_status open_frame(mp4_job *job, vipo_error *error)
{
    job->packet = av_packet_alloc();
    job->frame = av_frame_alloc();
    if (!job->packet || !job->frame) return fail(job, AVERROR(ENOMEM), "frame", error);
    job->frame->format = job->encoder->pix_fmt;
    job->frame->width = job->encoder->width;
    job->frame->height = job->encoder->height;
    const int code = av_frame_get_buffer(job->frame, 0);
    return code < 0 ? fail(job, code, "frame", error) : VIPO_OK;
}

/* Sends a frame, or NULL for the end, and moves the packets that come out to the muxer. */
static vipo_status encode(mp4_job *job, const AVFrame *frame, vipo_error *error)
{
    int code = avcodec_send_frame(job->encoder, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(job->encoder, job->packet);
        if (code < 0) break;
        job->packet->duration = 1;
        av_packet_rescale_ts(job->packet, job->encoder->time_base, job->stream->time_base);
        job->packet->stream_index = job->stream->index;
        code = av_interleaved_write_frame(job->muxer, job->packet);
    }
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return VIPO_OK;
    return fail(job, code, "encoding failed", error);
}

static vipo_status encode_film(mp4_job *job, vipo_error *error)
{
    for (size_t i = 0; i < job->film->frames; i++) {
        const int code = av_frame_make_writable(job->frame);
        if (code < 0) return fail(job, code, "frame", error);
        vipo_film_draw(job->film, i, &job->canvas);
        fill_luma(job->frame, &job->canvas);
        fill_chroma(job->frame, &job->canvas);
        job->frame->pts = (int64_t)i;
        VIPO_TRY(encode(job, job->frame, error));
    }
    VIPO_TRY(encode(job, NULL, error));
    const int code = av_write_trailer(job->muxer);
    return code < 0 ? fail(job, code, "MP4 muxer", error) : VIPO_OK;
}

/* The muxed file, released with av_free; NULL with size 0 if there is none. */
static uint8_t *take_file(mp4_job *job, size_t *size)
{
    uint8_t *bytes = NULL;
    *size = 0;
    if (!job->muxer || !job->muxer->pb) return NULL;
    const int n = avio_close_dyn_buf(job->muxer->pb, &bytes);
    job->muxer->pb = NULL;
    if (n > 0) *size = (size_t)n;
    return bytes;
}

static void release(mp4_job *job)
{
    size_t size;
    av_free(take_file(job, &size));
    av_packet_free(&job->packet);
    av_frame_free(&job->frame);
    avcodec_free_context(&job->encoder);
    avformat_free_context(job->muxer);
    vipo_image_free(&job->canvas);
}

static vipo_status write_mp4(const char *path, const vipo_array *video, const vipo_array *cond,
                             const vipo_write_options *options, vipo_error *error)
{
    vipo_film film;
    VIPO_TRY(vipo_film_init(&film, path, video, cond, options, NULL, error));
    mp4_job job = {.path = path, .film = &film};
    uint8_t *bytes = NULL;
    vipo_status status;
    VIPO_TRY_GOTO(vipo_picture_alloc(&job.canvas, path, (size_t)film.height, (size_t)film.width, error), end);
    VIPO_TRY_GOTO(open_encoder(&job, options->fps, error), end);
    VIPO_TRY_GOTO(open_muxer(&job, error), end);
    VIPO_TRY_GOTO(open_frame(&job, error), end);
    VIPO_TRY_GOTO(encode_film(&job, error), end);
    size_t size;
    bytes = take_file(&job, &size);
    status = vipo_file_write(path, bytes, size, error);
end:
    av_free(bytes);
    release(&job);
    return status;
}

const vipo_plan_writer vipo_plan_writer_mp4 = {".mp4", true, write_mp4};
