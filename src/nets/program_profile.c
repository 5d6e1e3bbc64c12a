/* What the operations of a program are and cost: for profiles. */
#include "nets/program_private.h"

static const char *kind_name(vipo_weight_kind kind)
{
    switch (kind) {
    case VIPO_WEIGHT_LINEAR:
        return "linear";
    case VIPO_WEIGHT_3X3:
        return "3x3";
    case VIPO_WEIGHT_3X3_STRIDE2:
        return "stride2";
    case VIPO_WEIGHT_3X3_UPSAMPLE2:
        return "upsample2";
    case VIPO_WEIGHT_TIME:
        return "time";
    }
    return "";
}

static double tiles(int size, int tile)
{
    return (size + tile - 1) / tile;
}

/* Products per input and output channel that a frame of a 3x3 convolution needs: F(m x m, 3x3) has (m + 2)^2 for m x m
 * outputs, also where a tile reaches over the edge. After enlargement, four 2x2 convolutions with summed weights. */
static double space_products(const vipo_packed *weights, int height, int width)
{
    const double pixels = (double)height * width;
    if (weights->kind == VIPO_WEIGHT_LINEAR) return pixels;
    switch (weights->method) {
    case VIPO_METHOD_WINOGRAD_2:
    case VIPO_METHOD_SPLIT_WINOGRAD_2:
        return 16 * tiles(height, 2) * tiles(width, 2);
    case VIPO_METHOD_WINOGRAD_4:
        return 36 * tiles(height, 4) * tiles(width, 4);
    case VIPO_METHOD_DIRECT:
    case VIPO_METHOD_SPLIT:
    case VIPO_METHODS:
        break;
    }
    return (weights->kind == VIPO_WEIGHT_3X3_UPSAMPLE2 ? 4 : 9) * pixels;
}

/* Those of a pixel over all frames. Taps that reach over the ends are left out. F(m, 3) has m + 2 for m outputs; what
 * whole tiles of m = 4 leave over is a smaller one, or direct. */
static double time_products(const vipo_packed *weights, int frames)
{
    const double direct = 3 * frames - 2;
    if (weights->kind == VIPO_WEIGHT_LINEAR) return frames;
    const int tile = weights->method == VIPO_METHOD_WINOGRAD_4   ? 4
                     : weights->method == VIPO_METHOD_WINOGRAD_2 ? 2
                                                                 : 0;
    if (tile == 0) return direct;
    const int whole = frames / tile, rest = frames % tile;
    const double products = (double)whole * (tile + 2) + (rest ? rest + 2 : 0);
    return products < direct ? products : direct;
}

static void describe_space(vipo_operation *operation, const vipo_conv_space *args)
{
    const vipo_packed *weights = args->weights;
    const double frames = (double)args->out.samples * args->out.frames;
    const double channels = (double)weights->in * weights->out;
    const double pixels = (double)args->out.height * args->out.width;
    operation->op = "conv_space";
    operation->kind = kind_name(weights->kind);
    operation->method = vipo_method_name(weights->method);
    operation->half = weights->half;
    operation->in_channels = weights->in;
    operation->macs = frames * pixels * vipo_weight_taps(weights->kind) * channels;
    operation->products = frames * channels * space_products(weights, args->out.height, args->out.width);
}

static void describe_time(vipo_operation *operation, const vipo_conv_time *args)
{
    const vipo_packed *weights = args->weights;
    const double channels = (double)weights->in * weights->out;
    const double pixels = (double)args->out.samples * args->out.height * args->out.width;
    const int frames = args->out.frames;
    const double taps = weights->kind == VIPO_WEIGHT_TIME ? 3.0 * frames - 2 : frames;
    operation->op = "conv_time";
    operation->kind = kind_name(weights->kind);
    operation->method = vipo_method_name(weights->method);
    operation->half = weights->half;
    operation->in_channels = weights->in;
    operation->macs = pixels * taps * channels;
    operation->products = pixels * time_products(weights, frames) * channels;
    if (args->n_skip) {
        const double skip = pixels * frames * args->skip_weights->in * args->skip_weights->out;
        operation->skip_channels = args->skip_weights->in;
        operation->macs += skip;
        operation->products += skip;
    }
}

void vipo_program_describe_node(const vipo_program *program, const vipo_program_run *run, int i,
                                vipo_operation *operation)
{
    const struct node *node = &program->nodes[i];
    const struct value *out = &program->values[node->out];
    *operation = (vipo_operation){.name = node->name,
                                  .op = "",
                                  .kind = "",
                                  .method = "",
                                  .rows = run->samples,
                                  .frames = out->frames,
                                  .height = out->height,
                                  .width = out->width,
                                  .in_channels = out->channels,
                                  .out_channels = out->channels};
    switch (node->kind) {
    case NODE_GROUP_NORM:
        operation->op = "group_norm";
        break;
    case NODE_CONV_SPACE: {
        const vipo_conv_space args = vipo_program_conv_space_args(program, run, node);
        describe_space(operation, &args);
        break;
    }
    case NODE_CONV_TIME: {
        const vipo_conv_time args = vipo_program_conv_time_args(program, run, node);
        describe_time(operation, &args);
        break;
    }
    case NODE_ATTENTION: {
        const vipo_attention args = vipo_program_attention_args(program, run, node);
        operation->op = "attention";
        operation->in_channels = 3 * out->channels;
        operation->macs = 2.0 * args.batch * args.heads * args.queries * args.keys * args.head_dim;
        operation->products = operation->macs;
        break;
    }
    }
}

void vipo_program_profile_node(const vipo_program *program, const vipo_program_run *run, int i,
                               double seconds)
{
    vipo_operation operation;
    vipo_program_describe_node(program, run, i, &operation);
    operation.seconds = seconds;
    run->profile(run->profile_user, &operation);
}
