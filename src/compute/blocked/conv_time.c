/* Temporal convolution: the frames before, at and after an output frame are segments of one matrix product,
 * the 1x1 skip convolution one or two more; then statistics of the strip while it is in cache. */
#include <string.h>

#include "compute/blocked/blocked.h"
#include "compute/blocked/winograd_time.h"

enum { WEIGHT_BOUND_PIXELS = 128, TASKS_PER_THREAD = 8 };

struct time_loop {
    const vipo_compute *compute;
    const vipo_conv_time *args;
    int groups, group_panels; /* panels are shared out among `groups` tasks */
    int task_frames;          /* frames of a task: all, or 1 */
};

/* Scratch: offsets of the strip's pixels in the input, the output and both skip maps; the sum of biases. */
enum { OFFSET_LISTS = 4 };

static size_t list_bytes(void)
{
    return VIPO_STRIP_PIXELS * sizeof(ptrdiff_t);
}

size_t BLOCKED(conv_time_scratch)(const vipo_conv_time *args)
{
    if (args->weights->method != VIPO_METHOD_DIRECT) return BLOCKED(winograd_time_scratch)(args);
    return OFFSET_LISTS * list_bytes() + line_bytes(padded_columns(args->out.channels) * sizeof(float));
}

static const ptrdiff_t *pixel_offsets(char **scratch, int channels, int n)
{
    ptrdiff_t *offsets = (void *)*scratch;
    *scratch += list_bytes();
    for (int i = 0; i < n; i++) offsets[i] = (ptrdiff_t)i * channels * (ptrdiff_t)sizeof(float);
    return offsets;
}

const float *BLOCKED(sum_biases)(const vipo_conv_time *args, int sample, float *sum)
{
    const size_t channels = (size_t)args->out.channels;
    memcpy(sum, args->weights->bias, padded_columns(args->out.channels) * sizeof(float));
    const float *embedding =
        args->embedding ? args->embedding + (size_t)sample * args->embedding_stride : NULL;
    for (size_t c = 0; c < channels; c++) {
        if (embedding) sum[c] += embedding[c];
        if (args->n_skip) sum[c] += args->skip_weights->bias[c];
    }
    return sum;
}

/* Panels [first, end) of one strip of one frame. */
static void conv_time_strip(const struct time_loop *loop, int sample, int frame, int strip, int first_panel,
                            int end_panel, char *scratch)
{
    const vipo_conv_time *args = loop->args;
    const vipo_map *out = &args->out;
    const vipo_packed *weights = args->weights;
    const int first_pixel = strip * VIPO_STRIP_PIXELS;
    const int pixels = least(out->height * out->width - first_pixel, VIPO_STRIP_PIXELS);
    const ptrdiff_t *in_rows = pixel_offsets(&scratch, weights->in, pixels);
    const ptrdiff_t *out_rows = pixel_offsets(&scratch, out->channels, pixels);
    const ptrdiff_t *skip_rows[2] = {NULL, NULL};
    for (int s = 0; s < args->n_skip; s++)
        skip_rows[s] = pixel_offsets(&scratch, args->skip[s].channels, pixels);
    const size_t out_start = (size_t)first_pixel * (size_t)out->channels;
    struct gemm gemm = {
        .rows = pixels,
        .columns = out->channels,
        .bias = BLOCKED(sum_biases)(args, sample, (void *)scratch),
        .init = args->residual.data ? vipo_map_frame(&args->residual, sample, frame) + out_start : NULL,
        .init_rows = out_rows,
        .out = out->data +
               ((size_t)sample * (size_t)out->frames + (size_t)frame) * (size_t)out->height *
                   (size_t)out->width * (size_t)out->channels +
               out_start,
        .out_rows = out_rows,
    };
    const int taps = vipo_weight_taps(weights->kind);
    for (int tap = 0; tap < taps; tap++) {
        const int source = frame + tap - taps / 2;
        if (source < 0 || source >= out->frames) continue;
        gemm.segments[gemm.n_segments++] = (struct gemm_segment){
            .a = vipo_map_frame(&args->in, sample, source) + (size_t)first_pixel * (size_t)weights->in,
            .rows = in_rows,
            .k = weights->in,
            .weights = weights->data,
            .weights_k = taps * weights->in,
            .first_k = tap * weights->in,
        };
    }
    for (int s = 0, first_k = 0; s < args->n_skip; first_k += args->skip[s].channels, s++)
        gemm.segments[gemm.n_segments++] = (struct gemm_segment){
            .a = vipo_map_frame(&args->skip[s], sample, frame) +
                 (size_t)first_pixel * (size_t)args->skip[s].channels,
            .rows = skip_rows[s],
            .k = args->skip[s].channels,
            .weights = args->skip_weights->data,
            .weights_k = args->skip_weights->in,
            .first_k = first_k,
        };
    for (int panel = first_panel; panel < end_panel; panel++) {
        BLOCKED(gemm)(&gemm, panel, panel + 1);
        if (out->stats) BLOCKED(strip_stats)
        (out, sample, frame, strip, panel * PANEL, least((panel + 1) * PANEL, out->channels));
    }
}

/* Task i = ((group * samples + sample) * strips + strip) * parts of the frames + part: neighbours share
 * inputs, then weights. */
static void conv_time_task(void *arg, int i, int thread)
{
    const struct time_loop *loop = arg;
    const vipo_map *out = &loop->args->out;
    const int strips = vipo_map_strips(out), frame_parts = out->frames / loop->task_frames;
    const int first_frame = i % frame_parts * loop->task_frames;
    const int strip = i / frame_parts % strips;
    const int sample = i / frame_parts / strips % out->samples;
    const int first_panel = i / frame_parts / strips / out->samples * loop->group_panels;
    const int end_panel = least(first_panel + loop->group_panels, panel_count(out->channels));
    for (int f = first_frame; f < first_frame + loop->task_frames; f++)
        conv_time_strip(loop, sample, f, strip, first_panel, end_panel,
                        vipo_compute_scratch(loop->compute, thread));
}

void BLOCKED(conv_time)(const vipo_compute *compute, const vipo_conv_time *args)
{
    if (args->weights->method != VIPO_METHOD_DIRECT) {
        BLOCKED(winograd_time)(compute, args);
        return;
    }
    const vipo_map *out = &args->out;
    const int panels = panel_count(out->channels), strips = out->samples * vipo_map_strips(out);
    const int wanted = TASKS_PER_THREAD * vipo_pool_threads(compute->pool);
    struct time_loop loop = {compute, args, 1, panels, strips >= wanted ? out->frames : 1};
    const int units = strips * (out->frames / loop.task_frames);
    if (out->height * out->width <= WEIGHT_BOUND_PIXELS)
        loop.groups = panels;
    else if (units < wanted)
        loop.groups = least(panels, parts(wanted, units));
    loop.group_panels = parts(panels, loop.groups);
    loop.groups = parts(panels, loop.group_panels);
    vipo_pool_run(compute->pool, units * loop.groups, conv_time_task, &loop);
}
