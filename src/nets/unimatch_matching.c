/* From features to flow: softmax over the whole map or a neighbourhood, and flow carried to where features are alike. */
#include <math.h>
#include <string.h>

#include "nets/unimatch_private.h"

vipo_status unimatch_match_global(vipo_unimatch_session *s, const float *a, const float *b, int height,
                                  int width, float *flow, vipo_error *error)
{
    const int n = height * width;
    float *grid;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_GRID, (size_t)n * 2, &grid, error));
    for (int i = 0; i < n; i++) {
        grid[2 * i] = (float)(i % width);
        grid[2 * i + 1] = (float)(i / width);
    }
    VIPO_TRY(unimatch_attention(s, 1, n, n, a, b, grid, 2, flow, error));
    for (int i = 0; i < 2 * n; i++) flow[i] -= grid[i];
    return VIPO_OK;
}

vipo_status unimatch_propagate_global(vipo_unimatch_session *s, const float *features, int height, int width,
                                      float *flow, vipo_error *error)
{
    const int n = height * width;
    float *q, *k, *before;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_Q, (size_t)n * CHANNELS, &q, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_K, (size_t)n * CHANNELS, &k, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_GRID, (size_t)n * 2, &before, error));
    VIPO_TRY(unimatch_linear(s, s->net->flow_q, n, features, CHANNELS, VIPO_ACT_NONE, q, error));
    /* of the projected query, as the network was trained */
    VIPO_TRY(unimatch_linear(s, s->net->flow_k, n, q, CHANNELS, VIPO_ACT_NONE, k, error));
    memcpy(before, flow, (size_t)n * 2 * sizeof *flow);
    return unimatch_attention(s, 1, n, n, q, k, before, 2, flow, error);
}

/* ---- neighbourhoods ---------------------------------------------------------------------------------------- */

struct local {
    const float *scores; /* [height][width][window] */
    const float *before; /* flow of neighbours; NULL: their places */
    float *flow;
    int height, width, radius;
};

/* flow += softmax over neighbours inside the map of where they are. */
static void match_row(void *arg, int y, int thread)
{
    (void)thread;
    const struct local *l = arg;
    const int side = 2 * l->radius + 1;
    for (int x = 0; x < l->width; x++) {
        const size_t at = (size_t)y * (size_t)l->width + (size_t)x;
        const float *scores = l->scores + at * (size_t)(side * side);
        float top = -INFINITY, sum = 0, u = 0, v = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int d = 0; d < side * side; d++) {
                const int dx = d % side - l->radius, dy = d / side - l->radius;
                if (x + dx < 0 || x + dx >= l->width || y + dy < 0 || y + dy >= l->height) continue;
                if (pass == 0) {
                    top = fmaxf(top, scores[d]);
                } else {
                    const float e = expf(scores[d] - top);
                    sum += e;
                    u += e * (float)dx;
                    v += e * (float)dy;
                }
            }
        l->flow[2 * at] = u / sum;
        l->flow[2 * at + 1] = v / sum;
    }
}

vipo_status unimatch_match_local(vipo_unimatch_session *s, const float *a, const float *b, int height,
                                 int width, float *flow, int item, vipo_error *error)
{
    const size_t n = (size_t)height * (size_t)width;
    struct local l = {.height = height, .width = width, .radius = MATCH_RADIUS};
    float *scores;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_CORRELATION, n * MATCH_WINDOW, &scores, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_GRID, n * 2, &l.flow, error));
    unimatch_correlation(s, a, b, NULL, height, width, MATCH_RADIUS, scores);
    l.scores = scores;
    unimatch_each(s, height, match_row, &l);
    unimatch_dump(s, "scale1.flow_match_residual", item, l.flow, height, width, 2);
    unimatch_add(s, flow, l.flow, n * 2);
    return VIPO_OK;
}

/* flow = softmax over all 3x3 neighbours of theirs; those outside have score 0 and flow 0. */
static void propagate_row(void *arg, int y, int thread)
{
    (void)thread;
    const struct local *l = arg;
    for (int x = 0; x < l->width; x++) {
        const size_t at = (size_t)y * (size_t)l->width + (size_t)x;
        const float *scores = l->scores + at * 9;
        float top = scores[0], sum = 0, u = 0, v = 0;
        for (int d = 1; d < 9; d++) top = fmaxf(top, scores[d]);
        for (int d = 0; d < 9; d++) {
            const int nx = x + d % 3 - 1, ny = y + d / 3 - 1;
            const float e = expf(scores[d] - top);
            sum += e;
            if (nx < 0 || nx >= l->width || ny < 0 || ny >= l->height) continue;
            const float *there = l->before + 2 * ((size_t)ny * (size_t)l->width + (size_t)nx);
            u += e * there[0];
            v += e * there[1];
        }
        l->flow[2 * at] = u / sum;
        l->flow[2 * at + 1] = v / sum;
    }
}

vipo_status unimatch_propagate_local(vipo_unimatch_session *s, const float *features, int height, int width,
                                     float *flow, vipo_error *error)
{
    const int n = height * width;
    float *q, *k, *before, *scores;
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_Q, (size_t)n * CHANNELS, &q, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_K, (size_t)n * CHANNELS, &k, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_GRID, (size_t)n * 2, &before, error));
    VIPO_TRY(unimatch_buffer_get(s, BUFFER_CORRELATION, (size_t)n * 9, &scores, error));
    VIPO_TRY(unimatch_linear(s, s->net->flow_q, n, features, CHANNELS, VIPO_ACT_NONE, q, error));
    VIPO_TRY(unimatch_linear(s, s->net->flow_k, n, features, CHANNELS, VIPO_ACT_NONE, k, error));
    unimatch_correlation(s, q, k, NULL, height, width, 1, scores);
    memcpy(before, flow, (size_t)n * 2 * sizeof *flow);
    struct local l = {scores, before, flow, height, width, 1};
    unimatch_each(s, height, propagate_row, &l);
    return VIPO_OK;
}

/* ---- warp ------------------------------------------------------------------------------------------------------ */

struct warp {
    const float *x, *flow;
    float *out;
    int height, width;
};

static void warp_row(void *arg, int y, int thread)
{
    (void)thread;
    const struct warp *w = arg;
    for (int x = 0; x < w->width; x++) {
        const size_t at = (size_t)y * (size_t)w->width + (size_t)x;
        float *restrict out = w->out + at * CHANNELS;
        const float u = (float)x + w->flow[2 * at], v = (float)y + w->flow[2 * at + 1];
        memset(out, 0, CHANNELS * sizeof *out);
        if (!(u > -1 && v > -1 && u < (float)w->width && v < (float)w->height)) continue;
        const int left = (int)(u + 1) - 1, top = (int)(v + 1) - 1; /* floor */
        const float fx = u - (float)left, fy = v - (float)top;
        for (int corner = 0; corner < 4; corner++) {
            const int cx = left + (corner & 1), cy = top + (corner >> 1);
            const float weight = (corner & 1 ? fx : 1 - fx) * (corner & 2 ? fy : 1 - fy);
            if (cx < 0 || cy < 0 || cx >= w->width || cy >= w->height) continue;
            const float *restrict in = w->x + ((size_t)cy * (size_t)w->width + (size_t)cx) * CHANNELS;
            for (int c = 0; c < CHANNELS; c++) out[c] += weight * in[c];
        }
    }
}

void unimatch_warp(vipo_unimatch_session *s, const float *x, const float *flow, int height, int width,
                   float *out)
{
    struct warp w = {x, flow, out, height, width};
    unimatch_each(s, height, warp_row, &w);
}
