/* Flow method unimatch: the network of nets/unimatch.h on pictures of any size, as AVDC uses it. */
#include <stdlib.h>

#include "core/log.h"
#include "core/memory.h"
#include "policy/flow_folder.h"
#include "policy/flow_method.h"

typedef struct unimatch_state {
    vipo_flow_config config;
    bool native;
    vipo_pool *pool;
    vipo_unimatch *net;
    vipo_unimatch_session *session;
} unimatch_state;

static void close(void *state)
{
    unimatch_state *s = state;
    if (!s) return;
    vipo_unimatch_session_close(&s->session);
    vipo_unimatch_close(&s->net);
    vipo_pool_close(&s->pool);
    free(s);
}

static vipo_status open(void **state, const vipo_flow_options *options, const vipo_callbacks *callbacks,
                        vipo_error *error)
{
    *state = NULL;
    vipo_packer packer = {.ops = NULL};
    if (!options->model)
        return vipo_fail(
            error, VIPO_INVALID_ARGUMENT,
            "flow method unimatch needs a model folder (vipo convert --from unimatch makes one)");
    VIPO_TRY(vipo_ops_find(&packer.ops, options->compute, error));
    unimatch_state *s = calloc(1, sizeof *s);
    if (!s) return vipo_fail_memory(error, sizeof *s, "optical flow");
    s->native = options->native;
    vipo_status status = vipo_pool_open(&s->pool, options->threads, error);
    packer.pool = s->pool;
    if (status == VIPO_OK)
        status = vipo_flow_folder_open(options->model, &s->config, &s->net, &packer, callbacks, error);
    if (status == VIPO_OK) status = vipo_unimatch_session_open(&s->session, s->net, s->pool, error);
    if (status != VIPO_OK) {
        close(s);
        return status;
    }
    *state = s;
    return VIPO_OK;
}

/* What a run works with: pictures and flows at the size of the network, features of two neighbours. */
typedef struct run_memory {
    int height, width; /* of the network's pictures */
    float *bytes;      /* a picture as floats, at its own size */
    float *picture;    /* enlarged */
    float *coarse[2], *fine[2], *flow[2];
} run_memory;

static void free_memory(run_memory *m)
{
    float *const parts[] = {m->bytes,   m->picture, m->coarse[0], m->coarse[1],
                            m->fine[0], m->fine[1], m->flow[0],   m->flow[1]};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) vipo_aligned_free(parts[i]);
}

static int multiple(int side)
{
    return (side + VIPO_UNIMATCH_MULTIPLE - 1) / VIPO_UNIMATCH_MULTIPLE * VIPO_UNIMATCH_MULTIPLE;
}

static vipo_status get_memory(const unimatch_state *s, const vipo_flow_frames *frames, bool backward,
                              run_memory *m, vipo_error *error)
{
    m->height = s->native ? multiple(frames->height) : s->config.height;
    m->width = s->native ? multiple(frames->width) : s->config.width;
    const size_t own = (size_t)frames->height * (size_t)frames->width,
                 pixels = (size_t)m->height * (size_t)m->width;
    float **const parts[] = {&m->bytes,   &m->picture, &m->coarse[0], &m->coarse[1],
                             &m->fine[0], &m->fine[1], &m->flow[0],   &m->flow[1]};
    const size_t sizes[] = {own * 3,
                            pixels * 3,
                            pixels / 64 * VIPO_UNIMATCH_CHANNELS,
                            pixels / 64 * VIPO_UNIMATCH_CHANNELS,
                            pixels / 16 * VIPO_UNIMATCH_CHANNELS,
                            pixels / 16 * VIPO_UNIMATCH_CHANNELS,
                            pixels * 2,
                            backward ? pixels * 2 : 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        *parts[i] = vipo_aligned_alloc(sizes[i], sizeof(float));
        if (!*parts[i]) return vipo_fail_memory(error, sizes[i] * sizeof(float), "optical flow");
    }
    return VIPO_OK;
}

static vipo_status features(const unimatch_state *s, const vipo_flow_frames *frames, int i, run_memory *m,
                            const vipo_callbacks *callbacks, vipo_error *error)
{
    const uint8_t *picture = vipo_flow_picture(frames, i);
    const size_t n = (size_t)frames->height * (size_t)frames->width * 3;
    for (size_t k = 0; k < n; k++) m->bytes[k] = (float)picture[k];
    vipo_bilinear_corners(s->pool, m->bytes, frames->height, frames->width, 3, m->picture, m->height,
                          m->width, NULL);
    return vipo_unimatch_features(s->session, m->picture, m->height, m->width, i, m->coarse[i % 2],
                                  m->fine[i % 2], callbacks, error);
}

/* A flow at the network's size to the pictures' size and units. */
static void reduce(const unimatch_state *s, const vipo_flow_frames *frames, const run_memory *m,
                   const float *flow, float *out)
{
    const float gain[2] = {(float)frames->width / (float)m->width, (float)frames->height / (float)m->height};
    vipo_bilinear_corners(s->pool, flow, m->height, m->width, 2, out, frames->height, frames->width, gain);
}

static vipo_status run_pairs(const unimatch_state *s, const vipo_flow_frames *frames, float *forward,
                             float *backward, run_memory *m, const vipo_callbacks *callbacks,
                             vipo_error *error)
{
    const size_t size = (size_t)frames->height * (size_t)frames->width * 2;
    VIPO_TRY(get_memory(s, frames, backward != NULL, m, error));
    VIPO_TRY(features(s, frames, 0, m, callbacks, error));
    for (int i = 0; i + 1 < frames->n; i++) {
        vipo_progress(callbacks, "flow", i, frames->n - 1);
        VIPO_TRY(features(s, frames, i + 1, m, callbacks, error));
        const int first = i % 2, second = 1 - first;
        const vipo_unimatch_pair pair = {m->height,
                                         m->width,
                                         {m->coarse[first], m->coarse[second]},
                                         {m->fine[first], m->fine[second]},
                                         m->flow[0],
                                         backward ? m->flow[1] : NULL};
        VIPO_TRY(vipo_unimatch_flow(s->session, &pair, callbacks, error));
        reduce(s, frames, m, m->flow[0], forward + (size_t)i * size);
        if (backward) reduce(s, frames, m, m->flow[1], backward + (size_t)i * size);
    }
    vipo_progress(callbacks, "flow", frames->n - 1, frames->n - 1);
    return VIPO_OK;
}

static vipo_status run(void *state, const vipo_flow_frames *frames, float *forward, float *backward,
                       const vipo_callbacks *callbacks, vipo_error *error)
{
    run_memory memory = {.bytes = NULL};
    const vipo_status status = run_pairs(state, frames, forward, backward, &memory, callbacks, error);
    free_memory(&memory);
    return status;
}

const vipo_flow_method_table vipo_flow_unimatch = {
    .name = "unimatch",
    .summary = "the network that AVDC uses (GMFlow, two scales, six refinements): needs --model; seconds",
    .min_side = 1,
    .needs_model = true,
    .open = open,
    .close = close,
    .run = run,
};
