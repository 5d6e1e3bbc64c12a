/* Flow method dis: OpenCV's dense inverse search. */
#include "core/log.h"
#include "media/dis.h"
#include "policy/flow_method.h"

static vipo_status open(void **state, const vipo_flow_options *options, const vipo_callbacks *callbacks,
                        vipo_error *error)
{
    (void)options, (void)callbacks;
    *state = NULL;
    return vipo_dis_available(error);
}

static void close(void *state)
{
    (void)state;
}

static vipo_status run(void *state, const vipo_flow_frames *frames, float *forward, float *backward,
                       const vipo_callbacks *callbacks, vipo_error *error)
{
    (void)state;
    const size_t size = (size_t)frames->height * (size_t)frames->width * 2;
    for (int i = 0; i + 1 < frames->n; i++) {
        const uint8_t *const a = vipo_flow_picture(frames, i), *const b = vipo_flow_picture(frames, i + 1);
        VIPO_TRY(vipo_check_cancelled(callbacks, error));
        VIPO_TRY(vipo_dis_flow(a, b, frames->height, frames->width, forward + (size_t)i * size, error));
        if (backward)
            VIPO_TRY(vipo_dis_flow(b, a, frames->height, frames->width, backward + (size_t)i * size, error));
        vipo_progress(callbacks, "flow", i + 1, frames->n - 1);
    }
    return VIPO_OK;
}

const vipo_flow_method_table vipo_flow_dis = {
    .name = "dis",
    .summary = "dense inverse search (OpenCV): no weights, milliseconds",
    .min_side = VIPO_DIS_MIN_SIDE,
    .open = open,
    .close = close,
    .run = run,
};
