/* libav's log is one setting of the process, so it is left alone: the encoder's messages are pushed below every level by
 * its own offset, and the muxer has nothing to say about what it is given here. */
#include "media/video_encoder.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libav's levels end at 56 and are looked at modulo 256. */
enum { LOG_OFFSET_SILENT = 128, MPEG4_QUANTISER = 2, MAX_CLOCK = 60000 };

struct vipo_video_encoder {
    char *name;
    vipo_video_settings settings;
    AVCodecContext *codec;
    AVFormatContext *muxer;
    AVStream *stream; /* borrowed from the muxer */
    AVFrame *frame;
    AVPacket *packet;
    uint8_t *bytes; /* once complete */
};

static vipo_status fail(const vipo_video_encoder *encoder, int code, const char *what, vipo_error *error)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    return vipo_fail(error, code == AVERROR(ENOMEM) ? VIPO_OUT_OF_MEMORY : VIPO_UNSUPPORTED, "%s: %s: %s",
                     encoder->name, what, text);
}

/* ---- RGB to YCbCr, BT.601, Y in 16..235: what players assume for small pictures ---- */

/* Pixel at (y, x), the last row and column repeated where the size was made even. */
static const uint8_t *pixel_at(const vipo_video_settings *settings, const uint8_t *rgb, int y, int x)
{
    const size_t row = (size_t)(y < settings->height ? y : settings->height - 1);
    const size_t column = (size_t)(x < settings->width ? x : settings->width - 1);
    return rgb + (row * (size_t)settings->width + column) * 3;
}

static uint8_t round_level(double value)
{
    return (uint8_t)(value + 0.5);
}

static void fill_luma(const vipo_video_settings *settings, AVFrame *frame, const uint8_t *rgb)
{
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            const uint8_t *p = pixel_at(settings, rgb, y, x);
            frame->data[0][y * frame->linesize[0] + x] =
                round_level(16 + (65.481 * p[0] + 128.553 * p[1] + 24.966 * p[2]) / 255);
        }
}

/* side: of the square of pixels that share a colour, 1 or 2. */
static void fill_chroma(const vipo_video_settings *settings, AVFrame *frame, const uint8_t *rgb, int side)
{
    const int n = side * side;
    for (int y = 0; y < frame->height / side; y++)
        for (int x = 0; x < frame->width / side; x++) {
            int sum[3] = {0, 0, 0};
            for (int i = 0; i < n; i++) {
                const uint8_t *p = pixel_at(settings, rgb, side * y + i / side, side * x + i % side);
                for (int k = 0; k < 3; k++) sum[k] += p[k];
            }
            frame->data[1][y * frame->linesize[1] + x] =
                round_level(128 + (-37.797 * sum[0] - 74.203 * sum[1] + 112.0 * sum[2]) / (n * 255));
            frame->data[2][y * frame->linesize[2] + x] =
                round_level(128 + (112.0 * sum[0] - 93.786 * sum[1] - 18.214 * sum[2]) / (n * 255));
        }
}

static void fill(const vipo_video_settings *settings, AVFrame *frame, const uint8_t *rgb)
{
    if (settings->colour == VIPO_VIDEO_RGB) {
        const size_t row = (size_t)settings->width * 3;
        for (int y = 0; y < settings->height; y++)
            memcpy(frame->data[0] + y * frame->linesize[0], rgb + (size_t)y * row, row);
        return;
    }
    fill_luma(settings, frame, rgb);
    fill_chroma(settings, frame, rgb, settings->colour == VIPO_VIDEO_420 ? 2 : 1);
}

/* ---- encoder and muxer ---- */

static vipo_status find_codec(const vipo_video_encoder *encoder, const AVCodec **out, vipo_error *error)
{
    const vipo_video_colour colour = encoder->settings.colour;
    const char *const name = colour == VIPO_VIDEO_RGB ? "libx264rgb" : "libx264";
    *out = avcodec_find_encoder_by_name(name);
    if (!*out && colour == VIPO_VIDEO_420) *out = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    if (*out) return VIPO_OK;
    return vipo_fail(error, VIPO_UNSUPPORTED,
                     "%s: this libavcodec has no encoder for this kind of MP4, expected %s%s", encoder->name,
                     name, colour == VIPO_VIDEO_420 ? " or mpeg4" : "");
}

static void set_quality(AVCodecContext *codec, const vipo_video_settings *settings)
{
    if (codec->codec_id != AV_CODEC_ID_H264) {
        codec->flags |= AV_CODEC_FLAG_QSCALE;
        codec->global_quality = MPEG4_QUANTISER * FF_QP2LAMBDA;
        return;
    }
    if (settings->colour == VIPO_VIDEO_RGB)
        av_opt_set_int(codec->priv_data, "qp", 0, 0);
    else
        av_opt_set_double(codec->priv_data, "crf", settings->crf, 0);
    av_opt_set(codec->priv_data, "preset", settings->preset, 0);
    if (settings->tune) av_opt_set(codec->priv_data, "tune", settings->tune, 0);
}

static vipo_status open_codec(vipo_video_encoder *encoder, vipo_error *error)
{
    static const enum AVPixelFormat formats[] = {[VIPO_VIDEO_420] = AV_PIX_FMT_YUV420P,
                                                 [VIPO_VIDEO_444] = AV_PIX_FMT_YUV444P,
                                                 [VIPO_VIDEO_RGB] = AV_PIX_FMT_RGB24};
    const vipo_video_settings *const settings = &encoder->settings;
    const bool even = settings->colour == VIPO_VIDEO_420;
    const AVCodec *found;
    VIPO_TRY(find_codec(encoder, &found, error));
    AVCodecContext *const codec = encoder->codec = avcodec_alloc_context3(found);
    if (!codec) return fail(encoder, AVERROR(ENOMEM), "encoder", error);
    codec->log_level_offset = LOG_OFFSET_SILENT;
    codec->width = even ? (settings->width + 1) / 2 * 2 : settings->width;
    codec->height = even ? (settings->height + 1) / 2 * 2 : settings->height;
    const AVRational clock = av_d2q(settings->clock, MAX_CLOCK);
    codec->framerate = av_div_q(clock, (AVRational){settings->spacing, 1});
    codec->time_base = av_inv_q(clock);
    codec->pix_fmt = formats[settings->colour];
    codec->colorspace = settings->colour == VIPO_VIDEO_RGB ? AVCOL_SPC_RGB : AVCOL_SPC_SMPTE170M;
    codec->color_primaries = AVCOL_PRI_BT709;
    codec->color_trc = AVCOL_TRC_IEC61966_2_1;
    codec->color_range = settings->colour == VIPO_VIDEO_RGB ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    if (even) codec->chroma_sample_location = AVCHROMA_LOC_CENTER;
    codec->max_b_frames = 0; /* so that the first picture has time 0 */
    codec->thread_count = 1;
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    set_quality(codec, settings);
    const int code = avcodec_open2(codec, found, NULL);
    return code < 0 ? fail(encoder, code, "the encoder refuses this video", error) : VIPO_OK;
}

static vipo_status open_muxer(vipo_video_encoder *encoder, vipo_error *error)
{
    int code = avformat_alloc_output_context2(&encoder->muxer, NULL, "mp4", NULL);
    if (code < 0) return fail(encoder, code, "MP4 muxer", error);
    encoder->muxer->flags |= AVFMT_FLAG_BITEXACT;
    encoder->stream = avformat_new_stream(encoder->muxer, NULL);
    if (!encoder->stream) return fail(encoder, AVERROR(ENOMEM), "MP4 muxer", error);
    encoder->stream->time_base = encoder->codec->time_base;
    encoder->stream->avg_frame_rate = encoder->codec->framerate;
    code = avcodec_parameters_from_context(encoder->stream->codecpar, encoder->codec);
    if (code >= 0) code = avio_open_dyn_buf(&encoder->muxer->pb);
    if (code >= 0) code = avformat_write_header(encoder->muxer, NULL);
    return code < 0 ? fail(encoder, code, "MP4 muxer", error) : VIPO_OK;
}

static vipo_status open_frame(vipo_video_encoder *encoder, vipo_error *error)
{
    encoder->packet = av_packet_alloc();
    encoder->frame = av_frame_alloc();
    if (!encoder->packet || !encoder->frame) return fail(encoder, AVERROR(ENOMEM), "frame", error);
    encoder->frame->format = encoder->codec->pix_fmt;
    encoder->frame->width = encoder->codec->width;
    encoder->frame->height = encoder->codec->height;
    const int code = av_frame_get_buffer(encoder->frame, 0);
    return code < 0 ? fail(encoder, code, "frame", error) : VIPO_OK;
}

vipo_status vipo_video_encoder_open(vipo_video_encoder **out, const char *name,
                                    const vipo_video_settings *settings, vipo_error *error)
{
    *out = NULL;
    vipo_video_encoder *encoder = calloc(1, sizeof *encoder);
    if (encoder) encoder->name = strdup(name);
    vipo_status status = VIPO_OUT_OF_MEMORY;
    if (!encoder || !encoder->name) {
        vipo_fail_memory(error, sizeof *encoder, name);
        goto fail;
    }
    encoder->settings = *settings;
    VIPO_TRY_GOTO(open_codec(encoder, error), fail);
    VIPO_TRY_GOTO(open_muxer(encoder, error), fail);
    VIPO_TRY_GOTO(open_frame(encoder, error), fail);
    *out = encoder;
    return VIPO_OK;
fail:
    vipo_video_encoder_close(&encoder);
    return status;
}

/* Sends a frame, or NULL for the end, and moves the packets that come out to the muxer. */
static vipo_status encode(vipo_video_encoder *encoder, const AVFrame *frame, vipo_error *error)
{
    int code = avcodec_send_frame(encoder->codec, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(encoder->codec, encoder->packet);
        if (code < 0) break;
        encoder->packet->duration = encoder->settings.spacing;
        av_packet_rescale_ts(encoder->packet, encoder->codec->time_base, encoder->stream->time_base);
        encoder->packet->stream_index = encoder->stream->index;
        code = av_interleaved_write_frame(encoder->muxer, encoder->packet);
    }
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return VIPO_OK;
    return fail(encoder, code, "encoding failed", error);
}

vipo_status vipo_video_encoder_add(vipo_video_encoder *encoder, const uint8_t *rgb, int64_t time,
                                   vipo_error *error)
{
    const int code = av_frame_make_writable(encoder->frame);
    if (code < 0) return fail(encoder, code, "frame", error);
    fill(&encoder->settings, encoder->frame, rgb);
    encoder->frame->pts = time;
    return encode(encoder, encoder->frame, error);
}

vipo_status vipo_video_encoder_finish(vipo_video_encoder *encoder, const uint8_t **bytes, size_t *size,
                                      vipo_error *error)
{
    *bytes = NULL;
    *size = 0;
    VIPO_TRY(encode(encoder, NULL, error));
    const int code = av_write_trailer(encoder->muxer);
    if (code < 0) return fail(encoder, code, "MP4 muxer", error);
    const int n = avio_close_dyn_buf(encoder->muxer->pb, &encoder->bytes);
    encoder->muxer->pb = NULL;
    if (n <= 0 || !encoder->bytes) return fail(encoder, AVERROR(ENOMEM), "MP4 muxer", error);
    *bytes = encoder->bytes;
    *size = (size_t)n;
    return VIPO_OK;
}

void vipo_video_encoder_close(vipo_video_encoder **encoder_pointer)
{
    vipo_video_encoder *const encoder = *encoder_pointer;
    if (!encoder) return;
    if (encoder->muxer && encoder->muxer->pb) avio_close_dyn_buf(encoder->muxer->pb, &encoder->bytes);
    av_free(encoder->bytes);
    av_packet_free(&encoder->packet);
    av_frame_free(&encoder->frame);
    avcodec_free_context(&encoder->codec);
    avformat_free_context(encoder->muxer);
    free(encoder->name);
    free(encoder);
    *encoder_pointer = NULL;
}
