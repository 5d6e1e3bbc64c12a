#include "checkop/checkop.h"

#include <stdlib.h>
#include <string.h>

static const char *const op_names[CHECKOP_OPS] = {"conv_space",  "conv_time", "group_norm",
                                                  "linear",      "attention", "layer_norm",
                                                  "conv_window", "norm_act",  "correlation"};

static const char *const kind_words[] = {"linear", "3x3", "stride2", "upsample2", "time", NULL};
static const char *const method_words[] = {"auto",  "direct",          "winograd2", "winograd4",
                                           "split", "split-winograd2", NULL};
static const char *const act_words[] = {"none", "silu",    "gelu", "quick_gelu", "relu",
                                        "mish", "sigmoid", "tanh", NULL};

/* Name, smallest value, default and words of each key. */
static const struct key {
    const char *name;
    int least, normal;
    const char *const *words;
} keys[CHECKOP_KEYS] = {
    [KEY_KIND] = {"kind", 0, 0, kind_words},
    [KEY_SAMPLES] = {"samples", 1, 1, NULL},
    [KEY_FRAMES] = {"frames", 1, 1, NULL},
    [KEY_HEIGHT] = {"height", 1, 1, NULL},
    [KEY_WIDTH] = {"width", 1, 1, NULL},
    [KEY_IN] = {"in", 1, 1, NULL},
    [KEY_IN2] = {"in2", 0, 0, NULL},
    [KEY_FRAMES2] = {"frames2", 0, 0, NULL},
    [KEY_OUT] = {"out", 1, 1, NULL},
    [KEY_NORM] = {"norm", 0, 0, NULL},
    [KEY_SILU] = {"silu", 0, 0, NULL},
    [KEY_EMBEDDING] = {"embedding", 0, 0, NULL},
    [KEY_RESIDUAL] = {"residual", 0, 0, NULL},
    [KEY_SKIP] = {"skip", 0, 0, NULL},
    [KEY_SKIP2] = {"skip2", 0, 0, NULL},
    [KEY_STATS] = {"stats", 0, 0, NULL},
    [KEY_GROUPS] = {"groups", 1, 1, NULL},
    [KEY_ROWS] = {"rows", 1, 1, NULL},
    [KEY_ACT] = {"act", 0, 0, act_words},
    [KEY_LAST] = {"last", 0, 0, act_words},
    [KEY_HEADS] = {"heads", 1, 1, NULL},
    [KEY_QUERIES] = {"queries", 1, 1, NULL},
    [KEY_KEYS] = {"keys", 1, 1, NULL},
    [KEY_DIM] = {"dim", 1, 1, NULL},
    [KEY_CAUSAL] = {"causal", 0, 0, NULL},
    [KEY_COUNTS] = {"counts", 0, 0, NULL},
    [KEY_BETA] = {"beta", 0, 0, NULL},
    [KEY_KERNEL] = {"kernel", 1, 1, NULL},
    [KEY_KERNEL2] = {"kernel2", 1, 1, NULL},
    [KEY_STRIDE] = {"stride", 1, 1, NULL},
    [KEY_VALUES] = {"values", 0, 0, NULL},
    [KEY_RADIUS] = {"radius", 0, 0, NULL},
    [KEY_FLOW] = {"flow", 0, 0, NULL},
    [KEY_FILM] = {"film", 0, 0, NULL},
    [KEY_METHOD] = {"method", 0, 0, method_words},
    [KEY_HALF] = {"half", 0, 0, NULL},
    [KEY_COUNT] = {"count", 0, 1, NULL},
};

const char *checkop_op_name(checkop_op op)
{
    return op_names[op];
}

static bool parse_value(const struct key *key, const char *text, int *value)
{
    for (int i = 0; key->words && key->words[i]; i++)
        if (strcmp(text, key->words[i]) == 0) {
            *value = i;
            return true;
        }
    char *end;
    const long n = strtol(text, &end, 10);
    if (key->words || end == text || *end || n < key->least || n > 1000000) return false;
    *value = (int)n;
    return true;
}

bool checkop_shape_parse(checkop_shape *shape, const char *line, char *message, size_t room)
{
    char text[512], *rest = NULL;
    snprintf(text, sizeof text, "%s", line);
    const char *word = strtok_r(text, " \t\r\n", &rest);
    int op = 0;
    while (op < CHECKOP_OPS && word && strcmp(word, op_names[op]) != 0) op++;
    if (!word || op == CHECKOP_OPS) {
        snprintf(message, room, "\"%s\" is not an op", word ? word : "");
        return false;
    }
    shape->op = (checkop_op)op;
    for (int k = 0; k < CHECKOP_KEYS; k++) shape->v[k] = keys[k].normal;
    while ((word = strtok_r(NULL, " \t\r\n", &rest))) {
        const char *equals = strchr(word, '=');
        int k = 0;
        while (k < CHECKOP_KEYS && equals &&
               (strlen(keys[k].name) != (size_t)(equals - word) ||
                strncmp(word, keys[k].name, (size_t)(equals - word)) != 0))
            k++;
        if (!equals || k == CHECKOP_KEYS || !parse_value(&keys[k], equals + 1, &shape->v[k])) {
            snprintf(message, room, "\"%s\" is not a key=value of a shape", word);
            return false;
        }
    }
    return true;
}

void checkop_shape_print(const checkop_shape *shape, char *line, size_t room)
{
    int used = snprintf(line, room, "%s", op_names[shape->op]);
    for (int k = 0; k < CHECKOP_KEYS; k++) {
        if (shape->v[k] == keys[k].normal || used < 0 || (size_t)used >= room) continue;
        const int value = shape->v[k];
        used += keys[k].words
                    ? snprintf(line + used, room - (size_t)used, " %s=%s", keys[k].name, keys[k].words[value])
                    : snprintf(line + used, room - (size_t)used, " %s=%d", keys[k].name, value);
    }
}

checkop_shape *checkop_shapes_read(const char *path, int *n)
{
    *n = 0;
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "%s: cannot open\n", path);
        return NULL;
    }
    checkop_shape *shapes = NULL;
    char line[512], message[600];
    bool good = true;
    for (int number = 1; good && fgets(line, sizeof line, file); number++) {
        if (line[strspn(line, " \t\r\n")] == '\0' || line[0] == '#') continue;
        checkop_shape *more = realloc(shapes, ((size_t)*n + 1) * sizeof *shapes);
        if (!more) abort();
        shapes = more;
        good = checkop_shape_parse(&shapes[*n], line, message, sizeof message);
        if (good)
            ++*n;
        else
            fprintf(stderr, "%s:%d: %s\n", path, number, message);
    }
    fclose(file);
    if (!good || *n == 0) {
        free(shapes);
        return NULL;
    }
    return shapes;
}

double checkop_shape_macs(const checkop_shape *shape)
{
    const int *v = shape->v;
    const double pixels = (double)v[KEY_SAMPLES] * v[KEY_FRAMES] * v[KEY_HEIGHT] * v[KEY_WIDTH];
    const double inputs = (double)v[KEY_IN] + v[KEY_IN2];
    switch (shape->op) {
    case CHECKOP_CONV_SPACE: {
        const double taps = v[KEY_KIND] == VIPO_WEIGHT_LINEAR ? 1 : 9;
        double outputs = pixels;
        if (v[KEY_KIND] == VIPO_WEIGHT_3X3_UPSAMPLE2) outputs *= 4;
        if (v[KEY_KIND] == VIPO_WEIGHT_3X3_STRIDE2)
            outputs =
                (double)v[KEY_SAMPLES] * v[KEY_FRAMES] * ((v[KEY_HEIGHT] + 1) / 2) * ((v[KEY_WIDTH] + 1) / 2);
        return outputs * taps * inputs * v[KEY_OUT];
    }
    case CHECKOP_CONV_TIME: {
        const double frames = v[KEY_FRAMES];
        const double taps = v[KEY_KIND] == VIPO_WEIGHT_TIME ? (3 * frames - 2) / frames : 1;
        return pixels * v[KEY_OUT] * (taps * v[KEY_IN] + v[KEY_SKIP] + v[KEY_SKIP2]);
    }
    case CHECKOP_GROUP_NORM:
        return pixels / VIPO_STRIP_PIXELS * inputs;
    case CHECKOP_LINEAR:
        return (double)v[KEY_ROWS] * v[KEY_IN] * v[KEY_OUT];
    case CHECKOP_ATTENTION:
        return (double)v[KEY_SAMPLES] * v[KEY_HEADS] * v[KEY_QUERIES] * v[KEY_KEYS] *
               (v[KEY_DIM] + (v[KEY_VALUES] ? v[KEY_VALUES] : v[KEY_DIM]));
    case CHECKOP_LAYER_NORM:
        return (double)v[KEY_ROWS] * v[KEY_WIDTH];
    case CHECKOP_CONV_WINDOW:
        return pixels * v[KEY_KERNEL] * v[KEY_KERNEL2] * v[KEY_IN] * v[KEY_OUT];
    case CHECKOP_NORM_ACT:
        return pixels * v[KEY_IN];
    case CHECKOP_CORRELATION:
        return pixels * v[KEY_IN] * (2.0 * v[KEY_RADIUS] + 1) * (2.0 * v[KEY_RADIUS] + 1);
    case CHECKOP_OPS:
        break;
    }
    return 0;
}

void checkop_shape_reduce(checkop_shape *shape, double macs)
{
    int *v = shape->v;
    const bool map = shape->op == CHECKOP_CONV_SPACE || shape->op == CHECKOP_CONV_TIME ||
                     shape->op == CHECKOP_CONV_WINDOW || shape->op == CHECKOP_CORRELATION;
    while (checkop_shape_macs(shape) > macs) {
        if (map && v[KEY_FRAMES] > 3)
            v[KEY_FRAMES] = 3;
        else if (map && v[KEY_HEIGHT] > 4 && v[KEY_HEIGHT] >= v[KEY_WIDTH] / 2)
            v[KEY_HEIGHT] /= 2;
        else if (map && v[KEY_WIDTH] > 4)
            v[KEY_WIDTH] = v[KEY_WIDTH] / 2;
        else if (map && shape->op == CHECKOP_CONV_SPACE && v[KEY_FRAMES] > 1)
            v[KEY_FRAMES]--;
        else if (shape->op == CHECKOP_LINEAR && v[KEY_ROWS] > 40)
            v[KEY_ROWS] /= 2;
        else if (shape->op == CHECKOP_ATTENTION && v[KEY_HEADS] > 2)
            v[KEY_HEADS] = 2;
        else if (shape->op == CHECKOP_ATTENTION && v[KEY_SAMPLES] > 1)
            v[KEY_SAMPLES] = 1;
        else if (shape->op == CHECKOP_ATTENTION && v[KEY_QUERIES] > 300)
            v[KEY_QUERIES] /= 2;
        else
            return;
    }
}
