/* Refinement at 1/4 (after Teed and Deng, "RAFT", ECCV 2020): six times, correlation around where the flow leads goes
 * through a recurrent unit whose answer is added to the flow. The unit begins anew each time. */
#include <math.h>
#include <string.h>

#include "nets/unimatch_private.h"

enum {
    CORR1 = 256,
    CORR2 = 192,
    FLOW1 = 128,
    FLOW2 = 64,
    FLOW_TAPS = 7,
    FLOW_DEPTH = 2 * FLOW_TAPS * FLOW_TAPS,
    MOTION = CHANNELS - 2,
    HEAD = 256
};

/* ---- weights --------------------------------------------------------------------------------------------- */

static vipo_status conv(vipo_weight_store *store, const char *name, int in, int out,
                        const vipo_packed **packed, vipo_error *error)
{
    const vipo_layer layer = {VIPO_WEIGHT_3X3, in, out, 1, 120, 160, false};
    return vipo_weight_store_packed(store, name, &layer, 4, true, packed, error);
}

vipo_status unimatch_open_refinement(vipo_unimatch *net, vipo_error *error)
{
    static const char *const zr[2][2] = {{"refine.gru.convz1", "refine.gru.convr1"},
                                         {"refine.gru.convz2", "refine.gru.convr2"}};
    static const char *const q[2] = {"refine.gru.convq1", "refine.gru.convq2"};
    static const char *const flow1 = "refine.encoder.convf1", *const corr1 = "refine.encoder.convc1",
                             *const mask2 = "refine.mask.2", *const project = "refine_proj";
    vipo_weight_store *s = &net->store;
    VIPO_TRY(unimatch_columns(s, &project, 1, CHANNELS, 2 * CHANNELS, 1, 1, true, &net->state, error));
    VIPO_TRY(unimatch_columns(s, &corr1, 1, MATCH_WINDOW, CORR1, 1, 1, true, &net->corr1, error));
    VIPO_TRY(conv(s, "refine.encoder.convc2", CORR1, CORR2, &net->corr2, error));
    VIPO_TRY(unimatch_columns(s, &flow1, 1, 2, FLOW1, FLOW_TAPS, FLOW_TAPS, true, &net->flow1, error));
    VIPO_TRY(conv(s, "refine.encoder.convf2", FLOW1, FLOW2, &net->flow2, error));
    VIPO_TRY(conv(s, "refine.encoder.conv", CORR2 + FLOW2, MOTION, &net->motion, error));
    for (int i = 0; i < 2; i++) {
        const int rows = i ? GRU_TAPS : 1, columns = i ? 1 : GRU_TAPS;
        VIPO_TRY(
            unimatch_columns(s, zr[i], 2, GRU_IN, CHANNELS, rows, columns, true, &net->gru[i].zr, error));
        VIPO_TRY(unimatch_columns(s, &q[i], 1, GRU_IN, CHANNELS, rows, columns, true, &net->gru[i].q, error));
    }
    VIPO_TRY(conv(s, "refine.flow_head.conv1", CHANNELS, HEAD, &net->head1, error));
    VIPO_TRY(conv(s, "refine.flow_head.conv2", HEAD, 2, &net->head2, error));
    VIPO_TRY(conv(s, "refine.mask.0", CHANNELS, HEAD, &net->mask1, error));
    return unimatch_columns(s, &mask2, 1, HEAD, MASK, 1, 1, true, &net->mask2, error);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

typedef struct refinement {
    int height, width, pixels, item;
    const float *a, *b;             /* untransformed features */
    float *flow, *initial, *state;  /* initial: [pixels][128], tanh part of the projection */
    float *context, *motion;        /* [pixels][128] */
    float *correlation, *columns;   /* [pixels][81], [pixels][98] */
    float *wide, *wide2;            /* [pixels][256] */
    float *gru_in, *gru_zr, *gru_q; /* padded lines, see gru */
} refinement;

static vipo_status get_memory(vipo_unimatch_session *s, refinement *r, vipo_error *error)
{
    const size_t n = (size_t)r->pixels;
    /* lines of a padded map, along rows or along columns */
    const size_t lines = (size_t)r->height * (size_t)(r->width + GRU_TAPS - 1),
                 turned = (size_t)r->width * (size_t)(r->height + GRU_TAPS - 1),
                 padded = lines > turned ? lines : turned;
    const struct {
        unimatch_buffer which;
        size_t floats;
        float **out;
    } wanted[] = {{BUFFER_STATE, 2 * n * CHANNELS, &r->state},
                  {BUFFER_CONTEXT, n * CHANNELS, &r->context},
                  {BUFFER_MOTION, n * CHANNELS, &r->motion},
                  {BUFFER_CORRELATION, n * MATCH_WINDOW, &r->correlation},
                  {BUFFER_COLUMNS, n * FLOW_DEPTH, &r->columns},
                  {BUFFER_MAP_A, n * 2 * CHANNELS, &r->wide},
                  {BUFFER_MAP_B, n * 2 * CHANNELS, &r->wide2},
                  {BUFFER_GRU_IN, padded * GRU_IN, &r->gru_in},
                  {BUFFER_GRU_ZR, padded * 2 * CHANNELS, &r->gru_zr},
                  {BUFFER_GRU_Q, padded * CHANNELS, &r->gru_q}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        VIPO_TRY(unimatch_buffer_get(s, wanted[i].which, wanted[i].floats, wanted[i].out, error));
    r->initial = r->state + n * CHANNELS;
    return VIPO_OK;
}

/* ---- state and context ------------------------------------------------------------------------------------------ */

/* [tanh | ReLU] of a row of the projection. */
static void split_row(void *arg, int y, int thread)
{
    (void)thread;
    const refinement *r = arg;
    for (size_t p = (size_t)y * (size_t)r->width; p < ((size_t)y + 1) * (size_t)r->width; p++) {
        const float *in = r->wide + p * 2 * CHANNELS;
        for (int c = 0; c < CHANNELS; c++) {
            r->initial[p * CHANNELS + (size_t)c] = tanhf(in[c]);
            r->context[p * CHANNELS + (size_t)c] = in[CHANNELS + c] > 0 ? in[CHANNELS + c] : 0;
        }
    }
}

/* ---- motion ------------------------------------------------------------------------------------------------------ */

/* 7x7 neighbours of the flow beside each other. */
static void flow_columns_row(void *arg, int y, int thread)
{
    (void)thread;
    const refinement *r = arg;
    float *out = r->columns + (size_t)y * (size_t)r->width * FLOW_DEPTH;
    for (int x = 0; x < r->width; x++)
        for (int v = y - FLOW_TAPS / 2; v <= y + FLOW_TAPS / 2; v++)
            for (int u = x - FLOW_TAPS / 2; u <= x + FLOW_TAPS / 2; u++, out += 2) {
                const bool inside = v >= 0 && v < r->height && u >= 0 && u < r->width;
                const float *p = r->flow + 2 * ((ptrdiff_t)v * r->width + u);
                out[0] = inside ? p[0] : 0;
                out[1] = inside ? p[1] : 0;
            }
}

/* [ReLU of 126 channels | flow] */
static void motion_row(void *arg, int y, int thread)
{
    (void)thread;
    const refinement *r = arg;
    for (size_t p = (size_t)y * (size_t)r->width; p < ((size_t)y + 1) * (size_t)r->width; p++) {
        const float *in = r->wide + p * MOTION;
        float *out = r->motion + p * CHANNELS;
        for (int c = 0; c < MOTION; c++) out[c] = in[c] > 0 ? in[c] : 0;
        out[MOTION] = r->flow[2 * p];
        out[MOTION + 1] = r->flow[2 * p + 1];
    }
}

static unimatch_map map_of(const refinement *r, float *data, int channels)
{
    return (unimatch_map){data, r->height, r->width, channels};
}

static vipo_status encode_motion(vipo_unimatch_session *s, refinement *r, vipo_error *error)
{
    const vipo_unimatch *net = s->net;
    const size_t n = (size_t)r->pixels;
    const unimatch_map none = {.data = NULL};
    float *corr = r->gru_in, *flow = r->gru_in + n * CORR2; /* free until the recurrent unit */
    unimatch_correlation(s, r->a, r->b, r->flow, r->height, r->width, MATCH_RADIUS, r->correlation);
    VIPO_TRY(unimatch_linear(s, net->corr1, r->pixels, r->correlation, MATCH_WINDOW, VIPO_ACT_RELU, r->wide,
                             error));
    VIPO_TRY(unimatch_conv(s, net->corr2, map_of(r, r->wide, CORR1), none, map_of(r, corr, CORR2), error));
    unimatch_relu(s, corr, n * CORR2);
    unimatch_each(s, r->height, flow_columns_row, r);
    VIPO_TRY(
        unimatch_linear(s, net->flow1, r->pixels, r->columns, FLOW_DEPTH, VIPO_ACT_RELU, r->wide, error));
    VIPO_TRY(unimatch_conv(s, net->flow2, map_of(r, r->wide, FLOW1), none, map_of(r, flow, FLOW2), error));
    unimatch_relu(s, flow, n * FLOW2);
    VIPO_TRY(unimatch_conv(s, net->motion, map_of(r, corr, CORR2), map_of(r, flow, FLOW2),
                           map_of(r, r->wide, MOTION), error));
    unimatch_each(s, r->height, motion_row, r);
    return VIPO_OK;
}

/* ---- recurrent unit ------------------------------------------------------------------------------------------------
 * A convolution with 1x5 (5x1) taps is a linear layer over five neighbours that lie side by side in memory: lines are
 * rows (columns) of the map with two zero pixels at both ends, and outputs at the ends are not used. */

struct gru {
    const refinement *r;
    float *state;           /* [pixels][128] */
    int lines, length;      /* of the lines */
    size_t line_step, step; /* pixels of the map from line to line, and along a line */
};

static size_t pixel(const struct gru *g, int line, int i)
{
    return (size_t)line * g->line_step + (size_t)i * g->step;
}

/* [state | context | motion] of a line. */
static void gather_line(void *arg, int line, int thread)
{
    (void)thread;
    const struct gru *g = arg;
    const size_t bytes = CHANNELS * sizeof(float), pad = GRU_TAPS / 2;
    float *out = g->r->gru_in + (size_t)line * (size_t)(g->length + GRU_TAPS - 1) * GRU_IN;
    memset(out, 0, pad * GRU_IN * sizeof *out);
    out += pad * GRU_IN;
    for (int i = 0; i < g->length; i++, out += GRU_IN) {
        const size_t p = pixel(g, line, i) * CHANNELS;
        memcpy(out, g->state + p, bytes);
        memcpy(out + CHANNELS, g->r->context + p, bytes);
        memcpy(out + 2 * CHANNELS, g->r->motion + p, bytes);
    }
    memset(out, 0, pad * GRU_IN * sizeof *out);
}

/* state -> r state in the gathered lines. */
static void reset_line(void *arg, int line, int thread)
{
    (void)thread;
    const struct gru *g = arg;
    const size_t at = (size_t)line * (size_t)(g->length + GRU_TAPS - 1);
    float *x = g->r->gru_in + (at + GRU_TAPS / 2) * GRU_IN;
    const float *gate = g->r->gru_zr + at * 2 * CHANNELS + CHANNELS;
    for (int i = 0; i < g->length; i++, x += GRU_IN, gate += 2 * CHANNELS)
        for (int c = 0; c < CHANNELS; c++) x[c] *= gate[c];
}

/* state = (1 - z) state + z q */
static void update_line(void *arg, int line, int thread)
{
    (void)thread;
    const struct gru *g = arg;
    const size_t at = (size_t)line * (size_t)(g->length + GRU_TAPS - 1);
    const float *restrict z = g->r->gru_zr + at * 2 * CHANNELS, *restrict q = g->r->gru_q + at * CHANNELS;
    for (int i = 0; i < g->length; i++, z += 2 * CHANNELS, q += CHANNELS) {
        float *restrict h = g->state + pixel(g, line, i) * CHANNELS;
        for (int c = 0; c < CHANNELS; c++) h[c] = (1 - z[c]) * h[c] + z[c] * q[c];
    }
}

static vipo_status gru(vipo_unimatch_session *s, refinement *r, bool along_columns, vipo_error *error)
{
    const gru_pass *pass = &s->net->gru[along_columns];
    struct gru g = {.r = r,
                    .state = r->state,
                    .lines = along_columns ? r->width : r->height,
                    .length = along_columns ? r->height : r->width,
                    .line_step = along_columns ? 1 : (size_t)r->width,
                    .step = along_columns ? (size_t)r->width : 1};
    const int rows = g.lines * (g.length + GRU_TAPS - 1) - (GRU_TAPS - 1);
    unimatch_each(s, g.lines, gather_line, &g);
    VIPO_TRY(unimatch_linear(s, pass->zr, rows, r->gru_in, GRU_IN, VIPO_ACT_SIGMOID, r->gru_zr, error));
    unimatch_each(s, g.lines, reset_line, &g);
    VIPO_TRY(unimatch_linear(s, pass->q, rows, r->gru_in, GRU_IN, VIPO_ACT_TANH, r->gru_q, error));
    unimatch_each(s, g.lines, update_line, &g);
    return VIPO_OK;
}

/* ---- upsampling ------------------------------------------------------------------------------------------------------ */

struct upsampling {
    const refinement *r;
    const float *mask; /* [pixels][9][4][4] */
    float *out;
};

/* Every fine pixel is a mean of the nine coarse neighbours' flows, with weights of its own. */
static void upsample_row(void *arg, int y, int thread)
{
    (void)thread;
    enum { CELLS = UPSAMPLE * UPSAMPLE };
    const struct upsampling *u = arg;
    const refinement *r = u->r;
    const size_t out_width = (size_t)r->width * UPSAMPLE;
    for (int x = 0; x < r->width; x++) {
        const float *mask = u->mask + ((size_t)y * (size_t)r->width + (size_t)x) * MASK;
        float top[CELLS], sum[CELLS] = {0}, flow[CELLS][2] = {{0}};
        memcpy(top, mask, sizeof top);
        for (int k = CELLS; k < MASK; k++) top[k % CELLS] = fmaxf(top[k % CELLS], mask[k]);
        for (int n = 0; n < 9; n++) {
            const int v = y + n / 3 - 1, w = x + n % 3 - 1;
            const bool inside = v >= 0 && v < r->height && w >= 0 && w < r->width;
            const float *there = r->flow + 2 * ((ptrdiff_t)v * r->width + w);
            const float fx = inside ? UPSAMPLE * there[0] : 0, fy = inside ? UPSAMPLE * there[1] : 0;
            for (int k = 0; k < CELLS; k++) {
                const float e = expf(mask[n * CELLS + k] - top[k]);
                sum[k] += e;
                flow[k][0] += e * fx;
                flow[k][1] += e * fy;
            }
        }
        for (int k = 0; k < CELLS; k++) {
            const size_t row = (size_t)(y * UPSAMPLE + k / UPSAMPLE),
                         column = (size_t)(x * UPSAMPLE + k % UPSAMPLE);
            float *out = u->out + 2 * (row * out_width + column);
            out[0] = flow[k][0] / sum[k];
            out[1] = flow[k][1] / sum[k];
        }
    }
}

static vipo_status upsample(vipo_unimatch_session *s, refinement *r, float *out, vipo_error *error)
{
    const unimatch_map none = {.data = NULL};
    float *mask = r->gru_in;
    VIPO_TRY(unimatch_conv(s, s->net->mask1, map_of(r, r->state, CHANNELS), none, map_of(r, r->wide, HEAD),
                           error));
    unimatch_relu(s, r->wide, (size_t)r->pixels * HEAD);
    VIPO_TRY(unimatch_linear(s, s->net->mask2, r->pixels, r->wide, HEAD, VIPO_ACT_NONE, mask, error));
    unimatch_dump(s, "refine5.mask", r->item, mask, r->height, r->width, MASK);
    struct upsampling u = {r, mask, out};
    unimatch_each(s, r->height, upsample_row, &u);
    return VIPO_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void dump_step(vipo_unimatch_session *s, const refinement *r, int step, const char *what,
                      const float *value, int channels)
{
    char name[] = "refine0.xxxxxxxx";
    name[6] = (char)('0' + step);
    memcpy(name + 8, what, strlen(what) + 1);
    unimatch_dump(s, name, r->item, value, r->height, r->width, channels);
}

static vipo_status refine_once(vipo_unimatch_session *s, refinement *r, int step, vipo_error *error)
{
    const unimatch_map none = {.data = NULL};
    const size_t n = (size_t)r->pixels;
    dump_step(s, r, step, "flow_in", r->flow, 2);
    VIPO_TRY(encode_motion(s, r, error));
    dump_step(s, r, step, "corr", r->correlation, MATCH_WINDOW);
    dump_step(s, r, step, "motion", r->motion, CHANNELS);
    memcpy(r->state, r->initial, n * CHANNELS * sizeof(float));
    VIPO_TRY(gru(s, r, false, error));
    VIPO_TRY(gru(s, r, true, error));
    dump_step(s, r, step, "net", r->state, CHANNELS);
    VIPO_TRY(unimatch_conv(s, s->net->head1, map_of(r, r->state, CHANNELS), none, map_of(r, r->wide, HEAD),
                           error));
    unimatch_relu(s, r->wide, n * HEAD);
    VIPO_TRY(unimatch_conv(s, s->net->head2, map_of(r, r->wide, HEAD), none, map_of(r, r->wide2, 2), error));
    dump_step(s, r, step, "delta", r->wide2, 2);
    unimatch_add(s, r->flow, r->wide2, 2 * n);
    return VIPO_OK;
}

vipo_status unimatch_refine(vipo_unimatch_session *s, const float *features, const float *a, const float *b,
                            int height, int width, float *flow, float *out, int item,
                            const vipo_callbacks *callbacks, vipo_error *error)
{
    refinement r = {.height = height,
                    .width = width,
                    .pixels = height * width,
                    .item = item,
                    .a = a,
                    .b = b,
                    .flow = flow};
    VIPO_TRY(get_memory(s, &r, error));
    VIPO_TRY(unimatch_linear(s, s->net->state, r.pixels, features, CHANNELS, VIPO_ACT_NONE, r.wide, error));
    unimatch_each(s, height, split_row, &r);
    for (int step = 0; step < REFINEMENTS; step++) {
        VIPO_TRY(vipo_check_cancelled(callbacks, error));
        VIPO_TRY(refine_once(s, &r, step, error));
    }
    return upsample(s, &r, out, error);
}
