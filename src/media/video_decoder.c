#include "media/video_decoder.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_OFFSET_SILENT = 128, BUFFER = 1 << 15, GROWTH = 16 };
static const size_t max_bytes = (size_t)1 << 30;

/* What is read: bytes in memory. */
typedef struct memory_file {
    const uint8_t *bytes;
    size_t size, at;
} memory_file;

typedef struct decoding {
    const char *name;
    memory_file file;
    AVIOContext *input;
    AVFormatContext *demuxer;
    AVCodecContext *codec;
    int stream;
    struct SwsContext *converter;
    AVPacket *packet;
    AVFrame *frame;
    vipo_video *out;
    size_t capacity; /* frames */
} decoding;

static vipo_status fail(const decoding *d, int code, const char *what, vipo_error *error)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    return vipo_fail(error, code == AVERROR(ENOMEM) ? VIPO_OUT_OF_MEMORY : VIPO_FORMAT, "%s: %s: %s", d->name,
                     what, text);
}

static int read_memory(void *opaque, uint8_t *out, int wanted)
{
    memory_file *const file = opaque;
    const size_t left = file->size - file->at;
    const size_t n = left < (size_t)wanted ? left : (size_t)wanted;
    if (n == 0) return AVERROR_EOF;
    memcpy(out, file->bytes + file->at, n);
    file->at += n;
    return (int)n;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence)
{
    memory_file *const file = opaque;
    if (whence == AVSEEK_SIZE) return (int64_t)file->size;
    int64_t to = offset;
    if ((whence & ~AVSEEK_FORCE) == SEEK_CUR) to += (int64_t)file->at;
    if ((whence & ~AVSEEK_FORCE) == SEEK_END) to += (int64_t)file->size;
    if (to < 0 || to > (int64_t)file->size) return AVERROR(EINVAL);
    file->at = (size_t)to;
    return to;
}

static vipo_status open_demuxer(decoding *d, vipo_error *error)
{
    uint8_t *const buffer = av_malloc(BUFFER);
    if (buffer) d->input = avio_alloc_context(buffer, BUFFER, 0, &d->file, read_memory, NULL, seek_memory);
    if (!d->input) {
        av_free(buffer);
        return fail(d, AVERROR(ENOMEM), "input", error);
    }
    d->demuxer = avformat_alloc_context();
    if (!d->demuxer) return fail(d, AVERROR(ENOMEM), "input", error);
    d->demuxer->pb = d->input;
    int code = avformat_open_input(&d->demuxer, NULL, av_find_input_format("mp4"), NULL);
    if (code < 0) return fail(d, code, "no MP4 file", error);
    d->stream = av_find_best_stream(d->demuxer, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    return d->stream < 0 ? fail(d, d->stream, "no video in it", error) : VIPO_OK;
}

static vipo_status open_codec(decoding *d, vipo_error *error)
{
    const AVCodecParameters *const parameters = d->demuxer->streams[d->stream]->codecpar;
    const AVCodec *const found = avcodec_find_decoder(parameters->codec_id);
    if (!found)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: this libavcodec has no decoder for %s", d->name,
                         avcodec_get_name(parameters->codec_id));
    d->codec = avcodec_alloc_context3(found);
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    if (!d->codec || !d->packet || !d->frame) return fail(d, AVERROR(ENOMEM), "decoder", error);
    int code = avcodec_parameters_to_context(d->codec, parameters);
    d->codec->thread_count = 1;
    d->codec->log_level_offset = LOG_OFFSET_SILENT;
    if (code >= 0) code = avcodec_open2(d->codec, found, NULL);
    return code < 0 ? fail(d, code, "decoder", error) : VIPO_OK;
}

/* Room for one more picture. */
static vipo_status grow(decoding *d, vipo_error *error)
{
    vipo_video *const v = d->out;
    if (v->frames == 0) {
        v->height = d->frame->height;
        v->width = d->frame->width;
    }
    if (d->frame->height != v->height || d->frame->width != v->width)
        return vipo_fail(error, VIPO_FORMAT, "%s: pictures of %dx%d and of %dx%d", d->name, v->width,
                         v->height, d->frame->width, d->frame->height);
    if (v->frames < d->capacity) return VIPO_OK;
    const size_t capacity = d->capacity + GROWTH, picture = (size_t)v->height * (size_t)v->width * 3;
    if (capacity > max_bytes / picture)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: more than 1 GiB of pictures", d->name);
    uint8_t *const rgb = realloc(v->rgb, capacity * picture);
    if (rgb) v->rgb = rgb;
    double *const seconds = realloc(v->seconds, capacity * sizeof *seconds);
    if (seconds) v->seconds = seconds;
    if (!rgb || !seconds) return vipo_fail_memory(error, capacity * picture, d->name);
    d->capacity = capacity;
    return VIPO_OK;
}

/* The decoded picture as RGB. */
static vipo_status keep(decoding *d, vipo_error *error)
{
    VIPO_TRY(grow(d, error));
    vipo_video *const v = d->out;
    const AVFrame *const frame = d->frame;
    d->converter = sws_getCachedContext(d->converter, v->width, v->height, frame->format, v->width, v->height,
                                        AV_PIX_FMT_RGB24, SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!d->converter) return fail(d, AVERROR(ENOMEM), "colours", error);
    uint8_t *const to = v->rgb + v->frames * (size_t)v->height * (size_t)v->width * 3;
    const int stride = 3 * v->width;
    sws_scale(d->converter, (const uint8_t *const *)frame->data, frame->linesize, 0, v->height, &to, &stride);
    v->seconds[v->frames++] = (double)frame->pts * av_q2d(d->demuxer->streams[d->stream]->time_base);
    return VIPO_OK;
}

static vipo_status decode_all(decoding *d, vipo_error *error)
{
    for (bool ended = false; !ended;) {
        int code = av_read_frame(d->demuxer, d->packet);
        ended = code < 0;
        if (ended && code != AVERROR_EOF) return fail(d, code, "damaged", error);
        if (!ended && d->packet->stream_index != d->stream) {
            av_packet_unref(d->packet);
            continue;
        }
        code = avcodec_send_packet(d->codec, ended ? NULL : d->packet);
        av_packet_unref(d->packet);
        if (code < 0) return fail(d, code, "damaged", error);
        while ((code = avcodec_receive_frame(d->codec, d->frame)) >= 0) VIPO_TRY(keep(d, error));
        if (code != AVERROR(EAGAIN) && code != AVERROR_EOF) return fail(d, code, "damaged", error);
    }
    if (d->out->frames == 0) return vipo_fail(error, VIPO_FORMAT, "%s: no pictures in it", d->name);
    return VIPO_OK;
}

vipo_status vipo_video_decode(vipo_video *out, const uint8_t *bytes, size_t size, const char *name,
                              vipo_error *error)
{
    decoding d = {.name = name, .file = {bytes, size, 0}, .out = out};
    memset(out, 0, sizeof *out);
    vipo_status status = open_demuxer(&d, error);
    if (status == VIPO_OK) status = open_codec(&d, error);
    if (status == VIPO_OK) status = decode_all(&d, error);
    if (status != VIPO_OK) vipo_video_free(out);
    sws_freeContext(d.converter);
    av_frame_free(&d.frame);
    av_packet_free(&d.packet);
    avcodec_free_context(&d.codec);
    avformat_close_input(&d.demuxer);
    if (d.input) av_freep(&d.input->buffer);
    avio_context_free(&d.input);
    return status;
}

void vipo_video_free(vipo_video *video)
{
    free(video->rgb);
    free(video->seconds);
    memset(video, 0, sizeof *video);
}
