#include "session.h"

#include <string.h>
#include <unistd.h>

#define AT(member) offsetof(input_options, member)
#define MODEL_ROW                                                                                            \
    {                                                                                                        \
        .name = "model", .letter = 'm', .placeholder = "DIR", .kind = OPTION_STRING, .offset = AT(model),    \
        .required = true, .help = "model folder: config.json, unet.safetensors, ..."                         \
    }
#define COMPUTE_ROW                                                                                          \
    {                                                                                                        \
        .name = "compute", .placeholder = "NAME", .kind = OPTION_STRING, .offset = AT(compute),              \
        .choice = compute_name, .default_text = "$VIPO_COMPUTE, else the fastest in float32",                \
        .help = "kernels: ref, avx2, avx512 or amx"                                                          \
    }
#define HALF_ROW                                                                                             \
    {                                                                                                        \
        .name = "half-weights", .kind = OPTION_FLAG, .offset = AT(half_weights),                             \
        .help = "keep the weights of low resolutions as 16-bit floats: half their memory, a network step "   \
                "differs by 1e-4 to 1e-3"                                                                    \
    }

const option input_option_table[] = {
    MODEL_ROW,
    {.name = "image",
     .letter = 'i',
     .placeholder = "FILE",
     .kind = OPTION_STRING,
     .offset = AT(image),
     .endings = "png jpg jpeg",
     .help = "what the robot sees now, PNG or JPEG"},
    {.name = "text",
     .letter = 't',
     .placeholder = "TEXT",
     .kind = OPTION_STRING,
     .offset = AT(text),
     .help = "the task, for example \"door open\""},
    {.name = "cond",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(cond),
     .help = "in place of --image: float32 [n or 1][H][W][3] in [0,1], as `vipo preprocess` writes it"},
    {.name = "tokens",
     .placeholder = "FILE.npy",
     .kind = OPTION_STRING,
     .offset = AT(tokens),
     .help = "in place of --text: float32 [1][L][C], as `vipo encode-text --out` writes it; the model "
             "folder then needs no text encoder"},
    COMPUTE_ROW,
    HALF_ROW,
    {0},
};

const option model_option_table[] = {MODEL_ROW, COMPUTE_ROW, {0}};
const option half_option_table[] = {HALF_ROW, {0}};

int input_check(tool *t, const input_options *inputs)
{
    if (!inputs->image && !inputs->cond)
        return tool_usage_error(t, "--image FILE (or --cond FILE.npy) is missing (--help shows the usage)");
    if (inputs->image && inputs->cond) return tool_usage_error(t, "give one of --image and --cond, not both");
    if (!inputs->text && !inputs->tokens)
        return tool_usage_error(t, "--text TEXT (or --tokens FILE.npy) is missing (--help shows the usage)");
    if (inputs->text && inputs->tokens)
        return tool_usage_error(t, "give one of --text and --tokens, not both");
    return STATUS_DONE;
}

static vipo_status open_planner(tool *t, session *s, const input_options *inputs, bool texts,
                                vipo_error *error)
{
    const vipo_callbacks callbacks = tool_callbacks(t);
    vipo_model_options model_options;
    vipo_model_default_options(&model_options);
    model_options.compute = inputs->compute;
    model_options.half_weights = inputs->half_weights;
    model_options.parts = texts ? VIPO_MODEL_UNET | VIPO_MODEL_TEXT : VIPO_MODEL_UNET;
    model_options.callbacks = &callbacks;
    model_options.threads = t->common->threads;
    const double start = clock_seconds();
    vipo_status status = vipo_model_open(&s->model, inputs->model, &model_options, error);
    if (status != VIPO_OK) return status;
    vipo_planner_options planner_options;
    vipo_planner_default_options(&planner_options);
    planner_options.threads = t->common->threads;
    status = vipo_planner_open(&s->planner, s->model, &planner_options, error);
    if (status != VIPO_OK) return status;
    s->load_seconds = clock_seconds() - start;
    s->threads = vipo_planner_threads(s->planner);
    vipo_load_times load;
    vipo_model_load_times(s->model, &load);
    tool_note(
        t,
        "model loaded in %.2f s (tokenizer %.2f s, reading %.2f s, packing %.2f s); kernels %s, methods %s, "
        "%d thread%s",
        s->load_seconds, load.tokenizer, load.map + load.read, load.pack, vipo_model_compute(s->model),
        vipo_model_methods(s->model), s->threads, s->threads == 1 ? "" : "s");
    return VIPO_OK;
}

int session_open_model(tool *t, session *s, const input_options *inputs)
{
    vipo_error error = {0};
    memset(s, 0, sizeof *s);
    if (open_planner(t, s, inputs, true, &error) == VIPO_OK) return STATUS_DONE;
    return tool_library_error(t, &error);
}

int session_open(tool *t, session *s, const input_options *inputs)
{
    vipo_error error = {0};
    vipo_image image = {0};
    memset(s, 0, sizeof *s);

    /* The small files first: a mistake in their names should not cost the time of loading. */
    if (inputs->cond && vipo_npy_read(inputs->cond, &s->cond, &error) != VIPO_OK) goto fail;
    if (inputs->tokens && vipo_npy_read(inputs->tokens, &s->tokens, &error) != VIPO_OK) goto fail;
    if (inputs->image && vipo_image_read(inputs->image, &image, &error) != VIPO_OK) goto fail;

    if (open_planner(t, s, inputs, !inputs->tokens, &error) != VIPO_OK) goto fail;
    if (image.data && vipo_model_preprocess(s->model, &image, &s->cond, &error) != VIPO_OK) goto fail;
    vipo_image_free(&image);
    return STATUS_DONE;

fail:
    vipo_image_free(&image);
    return tool_library_error(t, &error);
}

void session_close(session *s)
{
    vipo_planner_close(&s->planner);
    vipo_model_close(&s->model);
    vipo_array_free(&s->cond);
    vipo_array_free(&s->tokens);
}

void session_describe(const session *s, json_t *object)
{
    vipo_load_times load;
    vipo_model_load_times(s->model, &load);
    json_t *const phases = json_object();
    json_object_set_new(phases, "config", json_number(load.config));
    json_object_set_new(phases, "tokenizer", json_number(load.tokenizer));
    json_object_set_new(phases, "map", json_number(load.map));
    json_object_set_new(phases, "read", json_number(load.read));
    json_object_set_new(phases, "pack", json_number(load.pack));
    json_object_set_new(object, "load_seconds", json_number(s->load_seconds));
    json_object_set_new(object, "load", phases);
    json_object_set_new(object, "compute", json_text(vipo_model_compute(s->model)));
    json_object_set_new(object, "methods", json_text(vipo_model_methods(s->model)));
    json_object_set_new(object, "threads", json_integer(s->threads));
}
