/* Texts and tokens -> task embeddings. */
#include <string.h>

#include "core/log.h"
#include "core/memory.h"
#include "policy/planner.h"

vipo_status vipo_planner_check_tokens(const vipo_planner *planner, const vipo_array *tokens,
                                      vipo_error *error)
{
    const int width = planner->model->config.unet.token_channels;
    const int most = planner->model->config.unet.perceiver.max_length;
    if (tokens->rank != 3 || tokens->shape[2] != (size_t)width || tokens->shape[1] > (size_t)most ||
        tokens->shape[0] == 0 || tokens->shape[1] == 0)
        return vipo_fail(error, VIPO_MISMATCH,
                         "task tokens: expected shape [1][L in 1..%d][%d], found rank %d [%zu][%zu][%zu]",
                         most, width, tokens->rank, tokens->rank > 0 ? tokens->shape[0] : 0,
                         tokens->rank > 1 ? tokens->shape[1] : 0, tokens->rank > 2 ? tokens->shape[2] : 0);
    for (size_t i = 0; i < vipo_array_size(tokens); i++)
        if (!(tokens->data[i] - tokens->data[i] == 0))
            return vipo_fail(error, VIPO_NUMERIC, "task tokens: element %zu is not a finite number", i);
    return VIPO_OK;
}

vipo_status vipo_planner_embed_tokens(vipo_planner *planner, const float *tokens, int length,
                                      bool unconditional, float *embedding, vipo_dump_function dump,
                                      void *dump_user, vipo_error *error)
{
    const vipo_unet3d *unet = planner->model->unet;
    float *zeros = NULL;
    if (unconditional) {
        const size_t n = (size_t)length * (size_t)unet->config.token_channels;
        zeros = vipo_aligned_calloc(n, sizeof *zeros);
        if (!zeros) return vipo_fail_memory(error, n * sizeof *zeros, "task tokens");
        tokens = zeros;
    }
    const vipo_status status = vipo_perceiver_forward(&unet->perceiver, &planner->compute, tokens, length,
                                                      embedding, dump, dump_user, error);
    vipo_aligned_free(zeros);
    return status;
}

vipo_status vipo_planner_encode_text(vipo_planner *planner, const char *text, int32_t *ids_out, int *n_ids,
                                     vipo_array *out, const vipo_callbacks *callbacks, vipo_error *error)
{
    const vipo_model *model = planner->model;
    if (out) memset(out, 0, sizeof *out);
    VIPO_TRY(vipo_model_need_text(model, error));
    int32_t ids[VIPO_MAX_TEXT_POSITIONS];
    int count;
    bool truncated;
    const int most = model->config.text.positions;
    VIPO_TRY(vipo_clip_bpe_encode(model->bpe, text, most, ids, VIPO_MAX_TEXT_POSITIONS, &count, &truncated,
                                  error));
    if (truncated)
        vipo_log(callbacks, VIPO_LOG_WARNING, "the text is longer than %d tokens; the rest is cut", most);
    if (ids_out) memcpy(ids_out, ids, (size_t)count * sizeof *ids);
    if (n_ids) *n_ids = count;
    if (!out) return VIPO_OK;
    const size_t shape[3] = {1, (size_t)count, (size_t)model->config.text.width};
    VIPO_TRY(vipo_array_alloc(out, 3, shape, error));
    const vipo_status status = vipo_clip_text_forward(model->text, &planner->compute, ids, 1, count, NULL,
                                                      out->data, NULL, NULL, error);
    if (status != VIPO_OK) vipo_array_free(out);
    return status;
}
