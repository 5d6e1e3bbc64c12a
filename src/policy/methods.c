/* The methods of a model's convolutions: what the caller wants, and what would be taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/environment.h"
#include "policy/model.h"

static vipo_status find_mode(vipo_choose_mode *out, vipo_tuning tuning, vipo_choose_mode on,
                             vipo_error *error)
{
    *out = on;
    if ((unsigned)tuning > VIPO_TUNING_OFF)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "tuning: %d, expected a vipo_tuning", (int)tuning);
    const char *wish = tuning == VIPO_TUNING_DEFAULT ? vipo_environment("VIPO_TUNE") : NULL;
    if (tuning == VIPO_TUNING_OFF || (wish && strcmp(wish, "off") == 0))
        *out = VIPO_CHOOSE_FIXED;
    else if (wish && strcmp(wish, "on") != 0)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "VIPO_TUNE: \"%s\", expected on or off", wish);
    return VIPO_OK;
}

vipo_status vipo_model_choose_methods(vipo_model *model, const vipo_model_options *options, vipo_pool *pool,
                                      vipo_error *error)
{
    vipo_pool *all = NULL;
    vipo_choosing how = {
        .ops = model->ops, .pool = pool, .cache = options->cache, .callbacks = options->callbacks};
    VIPO_TRY(find_mode(&how.mode, options->tuning, VIPO_CHOOSE_MEASURE, error));
    VIPO_TRY(vipo_unet3d_survey(&model->config.unet, options->half_weights, &model->choices, error));
    /* Whatever threads the caller wants: a choice holds for all cores. */
    if (how.mode == VIPO_CHOOSE_MEASURE && options->threads != 0) {
        VIPO_TRY(vipo_model_open_pool(&all, 0, error));
        how.pool = all;
    }
    const vipo_status status = vipo_choices_make(&model->choices, &how, error);
    vipo_pool_close(&all);
    return status;
}

const char *vipo_model_methods(const vipo_model *model)
{
    return model->choices.n ? model->choices.name : "fixed";
}

static vipo_status list_methods(vipo_methods *out, const vipo_choices *choices, const vipo_ops *ops,
                                vipo_error *error)
{
    out->layers = calloc((size_t)choices->n, sizeof *out->layers);
    if (!out->layers)
        return vipo_fail_memory(error, (size_t)choices->n * sizeof *out->layers, "a list of layers");
    snprintf(out->compute, sizeof out->compute, "%s", ops->name);
    snprintf(out->name, sizeof out->name, "%s", choices->name);
    out->n_layers = choices->n;
    for (int i = 0; i < choices->n; i++) {
        const vipo_choice *c = &choices->list[i];
        out->layers[i] = (vipo_layer_method){.kind = vipo_weight_kind_name(c->layer.kind),
                                             .method = vipo_method_name(c->method),
                                             .in = c->layer.in,
                                             .out = c->layer.out,
                                             .frames = c->layer.frames,
                                             .height = c->layer.height,
                                             .width = c->layer.width,
                                             .half_weights = c->layer.half,
                                             .uses = c->uses,
                                             .seconds = c->seconds[c->method]};
    }
    return VIPO_OK;
}

vipo_status vipo_model_read_methods(const char *folder, const vipo_model_options *options, vipo_methods *out,
                                    vipo_error *error)
{
    vipo_model_options defaults;
    vipo_model_default_options(&defaults);
    if (!options) options = &defaults;
    memset(out, 0, sizeof *out);
    vipo_config config;
    vipo_preprocess_steps preprocess;
    VIPO_TRY(vipo_model_read_config(folder, &config, &preprocess, error));
    vipo_choosing how = {.cache = options->cache, .callbacks = options->callbacks};
    VIPO_TRY(vipo_ops_find(&how.ops, options->compute, error));
    VIPO_TRY(find_mode(&how.mode, options->tuning, VIPO_CHOOSE_STORED, error));
    vipo_choices choices;
    VIPO_TRY(vipo_unet3d_survey(&config.unet, options->half_weights, &choices, error));
    vipo_status status = vipo_choices_make(&choices, &how, error);
    if (status == VIPO_OK) status = list_methods(out, &choices, how.ops, error);
    vipo_choices_free(&choices);
    return status;
}

void vipo_methods_free(vipo_methods *methods)
{
    if (!methods) return;
    free(methods->layers);
    memset(methods, 0, sizeof *methods);
}
