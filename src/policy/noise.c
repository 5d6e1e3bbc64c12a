#include "policy/noise.h"

#include <string.h>

#include "core/memory.h"
#include "core/rng.h"

enum { BEFORE_ALL = -2, START = -1 };

vipo_status vipo_noise_open(vipo_noise *out, const vipo_request *request, const vipo_unet_config *config,
                            vipo_error *error)
{
    *out = (vipo_noise){.request = request,
                        .frames = (size_t)config->frames,
                        .pixels = (size_t)config->height * (size_t)config->width,
                        .channels = (size_t)config->out_channels,
                        .drawn_step = BEFORE_ALL};
    if (request->rng == VIPO_RNG_PHILOX) return VIPO_OK;
    if (request->rng != VIPO_RNG_TORCH)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "rng: %d, expected VIPO_RNG_PHILOX or VIPO_RNG_TORCH",
                         (int)request->rng);
    const size_t n = (size_t)request->samples * out->frames * out->pixels * out->channels;
    out->drawn = vipo_aligned_calloc(n, sizeof *out->drawn);
    if (!out->drawn) return vipo_fail_memory(error, n * sizeof *out->drawn, "noise");
    vipo_torch_rng_seed(&out->torch, request->seed);
    return VIPO_OK;
}

void vipo_noise_close(vipo_noise *noise)
{
    vipo_aligned_free(noise->drawn);
    noise->drawn = NULL;
}

/* Noise of a step for one video. PyTorch draws it for all videos at once: torch.randn(samples, 3 x frames, H, W).
 * (AVDC's DDIM draws too, at every step but the last, and does not use it: nothing is drawn for it here,
 * because nothing comes after it.) */
static void draw(vipo_noise *noise, int step, int video, float *out)
{
    const vipo_request *request = noise->request;
    const size_t frames = noise->frames, pixels = noise->pixels, channels = noise->channels;
    const size_t dim = frames * pixels * channels;
    if (request->rng == VIPO_RNG_PHILOX) {
        const vipo_rng_stream stream = {.sample = (uint32_t)video, .purpose = (uint32_t)(step + 1)};
        vipo_rng_normal(request->seed, &stream, 0, dim, out);
        return;
    }
    if (noise->drawn_step != step) {
        vipo_torch_rng_normal(&noise->torch, (size_t)request->samples * dim, noise->drawn);
        noise->drawn_step = step;
    }
    const float *planes = noise->drawn + (size_t)video * dim;
    for (size_t f = 0; f < frames; f++)
        for (size_t c = 0; c < channels; c++, planes += pixels)
            for (size_t i = 0; i < pixels; i++) out[(f * pixels + i) * channels + c] = planes[i];
}

void vipo_noise_start(vipo_noise *noise, float *x)
{
    const vipo_request *request = noise->request;
    const size_t dim = noise->frames * noise->pixels * noise->channels;
    if (request->noise)
        memcpy(x, request->noise->data, (size_t)request->samples * dim * sizeof *x);
    else
        for (int i = 0; i < request->samples; i++) draw(noise, START, i, x + (size_t)i * dim);
}

void vipo_noise_draw(void *user, int step, int video, size_t dim, float *out)
{
    vipo_noise *noise = user;
    const vipo_request *request = noise->request;
    if (!request->step_noise) {
        draw(noise, step, video, out);
        return;
    }
    const size_t at = (size_t)step * (size_t)request->samples + (size_t)video;
    memcpy(out, request->step_noise->data + at * dim, dim * sizeof *out);
}
