/* The optical flow network as a whole: its weights, and the way from features to flow. */
#include "nets/unimatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "nets/unimatch_private.h"

enum { COARSE_WINDOWS = 2, FINE_WINDOWS = 8, TRIDENT = 9 * CHANNELS * CHANNELS /* read twice */ };

/* ---- weights --------------------------------------------------------------------------------------------- */

/* [out][in][taps] -> [out][taps][in] */
static void to_columns(const float *from, int out, int in, int taps, float *to)
{
    for (int o = 0; o < out; o++)
        for (int t = 0; t < taps; t++)
            for (int c = 0; c < in; c++) *to++ = from[(o * in + c) * taps + t];
}

vipo_status unimatch_columns(vipo_weight_store *store, const char *const *names, int n, int in, int out_each,
                             int tap_rows, int tap_columns, bool has_bias, const vipo_packed **packed,
                             vipo_error *error)
{
    const int taps = tap_rows * tap_columns;
    const size_t each = (size_t)out_each * (size_t)in * (size_t)taps, outputs = (size_t)out_each;
    const size_t shape[4] = {outputs, (size_t)in, (size_t)tap_rows, (size_t)tap_columns};
    char full[96];
    float *memory = vipo_aligned_calloc(((size_t)n + 1) * each + (size_t)n * outputs, sizeof *memory);
    if (!memory) return vipo_fail_memory(error, ((size_t)n + 1) * each * sizeof *memory, "weights");
    float *read = memory + (size_t)n * each, *bias = read + each;
    vipo_status status = VIPO_OK;
    for (int i = 0; i < n && status == VIPO_OK; i++) {
        snprintf(full, sizeof full, "%s.weight", names[i]);
        status = vipo_weight_store_read(store, full, 4, shape, read, error);
        if (status == VIPO_OK) to_columns(read, out_each, in, taps, memory + (size_t)i * each);
        if (status != VIPO_OK || !has_bias) continue;
        snprintf(full, sizeof full, "%s.bias", names[i]);
        status = vipo_weight_store_read(store, full, 1, shape, bias + (size_t)i * outputs, error);
    }
    if (status == VIPO_OK)
        status = vipo_weight_store_linear(store, in * taps, n * out_each, memory, bias, packed, error);
    vipo_aligned_free(memory);
    return status;
}

static vipo_status open_parts(vipo_unimatch *net, vipo_error *error)
{
    VIPO_TRY(unimatch_open_backbone(net, error));
    VIPO_TRY(unimatch_open_transformer(net, error));
    return unimatch_open_refinement(net, error);
}

vipo_status vipo_unimatch_open(vipo_unimatch **out, const vipo_packer *packer,
                               const vipo_weight_source *source, const vipo_callbacks *callbacks,
                               vipo_error *error)
{
    *out = NULL;
    vipo_unimatch *net = calloc(1, sizeof *net);
    if (!net) return vipo_fail_memory(error, sizeof *net, "an optical flow network");
    net->store = (vipo_weight_store){.packer = *packer,
                                     .source = source,
                                     .callbacks = callbacks,
                                     .expected_parameters = VIPO_UNIMATCH_PARAMETERS + TRIDENT};
    const vipo_status status = open_parts(net, error);
    net->store.source = NULL;
    net->store.packer.pool = NULL;
    net->store.packer.choices = NULL;
    net->store.callbacks = NULL;
    if (status != VIPO_OK) {
        vipo_unimatch_close(&net);
        return status;
    }
    *out = net;
    return VIPO_OK;
}

void vipo_unimatch_close(vipo_unimatch **net)
{
    if (!*net) return;
    vipo_weight_store_free(&(*net)->store);
    free(*net);
    *net = NULL;
}

size_t vipo_unimatch_bytes(const vipo_unimatch *net)
{
    return net->store.bytes;
}

/* ---- flow ---------------------------------------------------------------------------------------------------- */

static void dump_pair(vipo_unimatch_session *s, const char *name, int item, const float *x, int height,
                      int width)
{
    char full[32];
    for (int picture = 0; picture < 2; picture++) {
        snprintf(full, sizeof full, "%s%d", name, picture);
        unimatch_dump(s, full, item, x + (size_t)picture * (size_t)(height * width) * CHANNELS, height, width,
                      CHANNELS);
    }
}

/* Both directions' flow at 1/8: flows [2][height][width][2]. */
static vipo_status coarse_flow(vipo_unimatch_session *s, const vipo_unimatch_pair *pair, float *flows,
                               const vipo_callbacks *callbacks, vipo_error *error)
{
    const int height = pair->height / 8, width = pair->width / 8;
    const size_t map = (size_t)(height * width) * CHANNELS, flow = (size_t)(height * width) * 2;
    float *x;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_TOKENS, 2 * map, &x, error));
    for (int i = 0; i < 2; i++) {
        memcpy(x + (size_t)i * map, pair->coarse[i], map * sizeof *x);
        unimatch_add_positions(s, x + (size_t)i * map, height, width, COARSE_WINDOWS);
    }
    dump_pair(s, "scale0.tr_in", 0, x, height, width);
    VIPO_TRY(unimatch_transform(s, x, height, width, COARSE_WINDOWS, "scale0", 0, callbacks, error));
    dump_pair(s, "scale0.tr_out", 0, x, height, width);
    for (size_t i = 0; i < 2 && (i == 0 || pair->backward); i++) {
        const float *own = x + i * map, *other = x + (1 - i) * map;
        VIPO_TRY(unimatch_match_global(s, own, other, height, width, flows + i * flow, error));
        unimatch_dump(s, "scale0.flow_match", (int)i, flows + i * flow, height, width, 2);
        VIPO_TRY(unimatch_propagate_global(s, own, height, width, flows + i * flow, error));
        unimatch_dump(s, "scale0.flow_prop", (int)i, flows + i * flow, height, width, 2);
    }
    return VIPO_OK;
}

/* One direction from 1/8 to full resolution; a, b: features at 1/4. */
static vipo_status fine_flow(vipo_unimatch_session *s, const vipo_unimatch_pair *pair, const float *a,
                             const float *b, const float *coarse, int item, float *out,
                             const vipo_callbacks *callbacks, vipo_error *error)
{
    static const float twice[2] = {2, 2};
    const int height = pair->height / 4, width = pair->width / 4;
    const size_t pixels = (size_t)height * (size_t)width, map = pixels * CHANNELS;
    float *flow, *x;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_FLOW, pixels * 2, &flow, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_TOKENS, 2 * map, &x, error));
    vipo_bilinear_corners(s->compute.pool, coarse, height / 2, width / 2, 2, flow, height, width, twice);
    unimatch_dump(s, "scale1.flow_up2", item, flow, height, width, 2);
    memcpy(x, a, map * sizeof *x);
    unimatch_warp(s, b, flow, height, width, x + map);
    unimatch_dump(s, "scale1.feature1_warped", item, x + map, height, width, CHANNELS);
    for (size_t i = 0; i < 2; i++) unimatch_add_positions(s, x + i * map, height, width, FINE_WINDOWS);
    dump_pair(s, "scale1.tr_in", item, x, height, width);
    VIPO_TRY(unimatch_transform(s, x, height, width, FINE_WINDOWS, "scale1", item, callbacks, error));
    dump_pair(s, "scale1.tr_out", item, x, height, width);
    VIPO_TRY(unimatch_match_local(s, x, x + map, height, width, flow, item, error));
    VIPO_TRY(unimatch_propagate_local(s, x, height, width, flow, error));
    unimatch_dump(s, "scale1.flow_prop", item, flow, height, width, 2);
    return unimatch_refine(s, x, a, b, height, width, flow, out, item, callbacks, error);
}

vipo_status vipo_unimatch_flow(vipo_unimatch_session *session, const vipo_unimatch_pair *pair,
                               const vipo_callbacks *callbacks, vipo_error *error)
{
    const size_t coarse = (size_t)(pair->height / 8) * (size_t)(pair->width / 8) * 2;
    float *flows;
    VIPO_TRY(unimatch_buffer_get(session, BUFFER_COARSE_FLOW, 2 * coarse, &flows, error));
    VIPO_TRY(coarse_flow(session, pair, flows, callbacks, error));
    VIPO_TRY(
        fine_flow(session, pair, pair->fine[0], pair->fine[1], flows, 0, pair->forward, callbacks, error));
    if (!pair->backward) return VIPO_OK;
    return fine_flow(session, pair, pair->fine[1], pair->fine[0], flows + coarse, 1, pair->backward,
                     callbacks, error);
}
