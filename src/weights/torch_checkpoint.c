#include "weights/torch_checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "weights/pickle.h"
#include "weights/torch_archive.h"

enum {
    MAX_TENSORS = 200000,
    MAX_NAME = VIPO_TORCH_MAX_NAME,
    MAX_NESTING = 8,           /* dicts in dicts */
    EXPANDED_BYTES = 64 << 20, /* a view that repeats elements may be larger than its storage by this */
    ROOM = 1024,
};

typedef struct torch_tensor {
    vipo_tensor_view view;        /* name owned */
    uint64_t entry;               /* of the storage */
    size_t storage_bytes;         /* as declared by the archive */
    size_t offset;                /* elements */
    size_t stride[VIPO_MAX_RANK]; /* elements */
} torch_tensor;

struct vipo_torch_checkpoint {
    vipo_torch_archive archive;
    const char *path; /* the archive's */
    unsigned char *pickle_bytes;
    vipo_pickle *pickle;
    torch_tensor *tensors;
    int count, capacity;
    bool *walked; /* [values of the pickle]: containers whose tensors are listed already */
    /* the storage read last, and the last tensor whose elements had to be brought in order */
    unsigned char *storage, *gathered;
    uint64_t storage_entry;
};

/* ---- globals of the pickle -------------------------------------------------------------------------- */

enum {
    GLOBAL_TENSOR,
    GLOBAL_PARAMETER,
    GLOBAL_SIZE,
    GLOBAL_DEVICE,
    GLOBAL_ORDERED_DICT,
    FIRST_STORAGE, /* the storages follow, then the dtypes */
};

static const vipo_pickle_global globals[] = {
    [GLOBAL_TENSOR] = {"torch._utils", "_rebuild_tensor_v2", VIPO_PICKLE_USE_CALL},
    [GLOBAL_PARAMETER] = {"torch._utils", "_rebuild_parameter", VIPO_PICKLE_USE_CALL},
    [GLOBAL_SIZE] = {"torch", "Size", VIPO_PICKLE_USE_CALL},
    [GLOBAL_DEVICE] = {"torch", "device", VIPO_PICKLE_USE_CALL},
    [GLOBAL_ORDERED_DICT] = {"collections", "OrderedDict", VIPO_PICKLE_USE_DICT},
    [FIRST_STORAGE] = {"torch", "FloatStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "HalfStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "BFloat16Storage", VIPO_PICKLE_USE_NAME},
    {"torch", "DoubleStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "LongStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "IntStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "ShortStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "CharStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "ByteStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "BoolStorage", VIPO_PICKLE_USE_NAME},
    {"torch", "float32", VIPO_PICKLE_USE_NAME},
    {"torch", "float16", VIPO_PICKLE_USE_NAME},
    {"torch", "bfloat16", VIPO_PICKLE_USE_NAME},
    {"torch", "float64", VIPO_PICKLE_USE_NAME},
    {"torch", "int64", VIPO_PICKLE_USE_NAME},
    {"torch", "int32", VIPO_PICKLE_USE_NAME},
};
enum { GLOBALS = sizeof globals / sizeof globals[0] };

static const vipo_dtype storage_types[] = {VIPO_DTYPE_F32, VIPO_DTYPE_F16, VIPO_DTYPE_BF16, VIPO_DTYPE_F64,
                                           VIPO_DTYPE_I64, VIPO_DTYPE_I32, VIPO_DTYPE_I16,  VIPO_DTYPE_I8,
                                           VIPO_DTYPE_U8,  VIPO_DTYPE_BOOL};
enum { STORAGE_TYPES = sizeof storage_types / sizeof storage_types[0] };

static vipo_status read_pickle(vipo_torch_checkpoint *c, vipo_error *error)
{
    char name[ROOM];
    size_t size;
    uint64_t entry, other;
    if (!vipo_torch_archive_find(&c->archive, "data.pkl", &entry, &size))
        return vipo_fail(error, VIPO_FORMAT, "%s: not a PyTorch checkpoint: it has no %.200s/data.pkl",
                         c->path, c->archive.root);
    if (size > VIPO_PICKLE_MAX_BYTES)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: data.pkl has %zu bytes, expected at most %d", c->path,
                         size, VIPO_PICKLE_MAX_BYTES);
    if (vipo_torch_archive_find(&c->archive, "constants.pkl", &other, &size))
        return vipo_fail(error, VIPO_UNSUPPORTED,
                         "%s: a TorchScript archive, expected a checkpoint written by torch.save", c->path);
    VIPO_TRY(vipo_torch_archive_read(&c->archive, entry, &c->pickle_bytes, &size, error));
    snprintf(name, sizeof name, "%.500s: data.pkl", c->path);
    return vipo_pickle_parse(&c->pickle, c->pickle_bytes, size, name, globals, GLOBALS, error);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static vipo_status bad_tensor(const vipo_torch_checkpoint *c, const char *name, const char *what,
                              vipo_error *error)
{
    return vipo_fail(error, VIPO_FORMAT, "%s: tensor %.200s: %s", c->path, name, what);
}

static bool as_size(const vipo_pickle_value *value, size_t *out)
{
    if (!value || value->kind != VIPO_PICKLE_INT || value->integer < 0) return false;
    *out = (size_t)value->integer;
    return true;
}

/* A tuple of integers that are not negative, or torch.Size of one; false if it is anything else. */
static bool as_sizes(const vipo_pickle *p, const vipo_pickle_value *value, size_t *out, int *count)
{
    if (value && value->kind == VIPO_PICKLE_CALL && value->global == GLOBAL_SIZE)
        value = vipo_pickle_item(p, vipo_pickle_at(p, value->part), 0);
    if (!value || value->kind != VIPO_PICKLE_TUPLE || value->list.count > VIPO_MAX_RANK) return false;
    for (uint32_t i = 0; i < value->list.count; i++)
        if (!as_size(vipo_pickle_item(p, value, i), &out[i])) return false;
    *count = (int)value->list.count;
    return true;
}

/* ('storage', torch.FloatStorage, '17', 'cuda:0', elements) */
static vipo_status parse_storage(vipo_torch_checkpoint *c, torch_tensor *t, const vipo_pickle_value *value,
                                 size_t *elements, vipo_error *error)
{
    const vipo_pickle *p = c->pickle;
    const char *name = t->view.name;
    if (!value || value->kind != VIPO_PICKLE_PERSISTENT) return bad_tensor(c, name, "has no storage", error);
    const vipo_pickle_value *id = vipo_pickle_at(p, value->part);
    const vipo_pickle_value *type = vipo_pickle_item(p, id, 1), *key = vipo_pickle_item(p, id, 2);
    if (!vipo_pickle_text_is(vipo_pickle_item(p, id, 0), "storage") || !type || !key ||
        type->kind != VIPO_PICKLE_GLOBAL || type->global < FIRST_STORAGE ||
        type->global >= FIRST_STORAGE + STORAGE_TYPES || key->kind != VIPO_PICKLE_TEXT ||
        !as_size(vipo_pickle_item(p, id, 4), elements))
        return bad_tensor(c, name, "its storage is described wrongly", error);
    t->view.dtype = storage_types[type->global - FIRST_STORAGE];

    char entry_name[ROOM];
    if (key->text.length == 0 || key->text.length > MAX_NAME || memchr(key->text.bytes, 0, key->text.length))
        return bad_tensor(c, name, "its storage has no name", error);
    snprintf(entry_name, sizeof entry_name, "data/%.*s", (int)key->text.length, key->text.bytes);
    if (!vipo_torch_archive_find(&c->archive, entry_name, &t->entry, &t->storage_bytes))
        return vipo_fail(error, VIPO_FORMAT, "%s: tensor %.200s: its storage %.100s is missing", c->path,
                         name, entry_name);
    size_t bytes;
    if (!vipo_mul_size(*elements, vipo_dtype_size(t->view.dtype), &bytes) || bytes != t->storage_bytes)
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: tensor %.200s: %s has %zu bytes, expected %zu elements of %s", c->path, name,
                         entry_name, t->storage_bytes, *elements, vipo_dtype_name(t->view.dtype));
    return VIPO_OK;
}

/* Does the view stay inside its storage? */
static bool fits(const torch_tensor *t, size_t elements)
{
    if (t->view.count == 0) return true;
    size_t last = t->offset;
    for (int i = 0; i < t->view.rank; i++) {
        size_t way;
        if (!vipo_mul_size(t->view.shape[i] - 1, t->stride[i], &way) || way > SIZE_MAX - last) return false;
        last += way;
    }
    return last < elements;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks) */
static vipo_status parse_tensor(vipo_torch_checkpoint *c, torch_tensor *t, const vipo_pickle_value *call,
                                vipo_error *error)
{
    const vipo_pickle *p = c->pickle;
    const vipo_pickle_value *arguments = vipo_pickle_at(p, call->part);
    if (call->global == GLOBAL_PARAMETER) { /* _rebuild_parameter(tensor, requires_grad, hooks) */
        const vipo_pickle_value *inner = vipo_pickle_item(p, arguments, 0);
        if (!inner || inner->kind != VIPO_PICKLE_CALL || inner->global != GLOBAL_TENSOR)
            return bad_tensor(c, t->view.name, "is a parameter of something that is no tensor", error);
        arguments = vipo_pickle_at(p, inner->part);
    }
    size_t elements;
    int strides;
    VIPO_TRY(parse_storage(c, t, vipo_pickle_item(p, arguments, 0), &elements, error));
    if (!as_size(vipo_pickle_item(p, arguments, 1), &t->offset) ||
        !as_sizes(p, vipo_pickle_item(p, arguments, 2), t->view.shape, &t->view.rank) ||
        !as_sizes(p, vipo_pickle_item(p, arguments, 3), t->stride, &strides) || strides != t->view.rank)
        return bad_tensor(c, t->view.name,
                          "expected an offset, sizes and strides that are not negative, rank at most 6",
                          error);
    t->view.count = 1;
    bool overflow = false;
    for (int i = 0; i < t->view.rank; i++)
        overflow |= !vipo_mul_size(t->view.count, t->view.shape[i], &t->view.count);
    size_t bytes;
    if (overflow || !vipo_mul_size(t->view.count, vipo_dtype_size(t->view.dtype), &bytes))
        return bad_tensor(c, t->view.name, "its size overflows", error);
    if (!fits(t, elements)) return bad_tensor(c, t->view.name, "lies outside its storage", error);
    return VIPO_OK;
}

static vipo_status add_tensor(vipo_torch_checkpoint *c, const char *name, const vipo_pickle_value *call,
                              vipo_error *error)
{
    if (c->count == MAX_TENSORS)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: more than %d tensors", c->path, (int)MAX_TENSORS);
    if (c->count == c->capacity) {
        const int capacity = c->capacity ? 2 * c->capacity : 64;
        torch_tensor *tensors = realloc(c->tensors, (size_t)capacity * sizeof *tensors);
        if (!tensors) return vipo_fail_memory(error, (size_t)capacity * sizeof *tensors, "a tensor list");
        c->tensors = tensors;
        c->capacity = capacity;
    }
    torch_tensor *t = &c->tensors[c->count];
    memset(t, 0, sizeof *t);
    t->view.name = strdup(name);
    if (!t->view.name) return vipo_fail_memory(error, strlen(name), "a tensor's name");
    c->count++;
    return parse_tensor(c, t, call, error);
}

/* Appends "/key" to a name of `used` bytes; false if there is no room or the key is no text or number. */
static bool append_key(char *name, size_t used, const vipo_pickle_value *key)
{
    const char *slash = used ? "/" : "";
    int n = -1;
    if (key->kind == VIPO_PICKLE_TEXT && key->text.length < MAX_NAME &&
        !memchr(key->text.bytes, 0, key->text.length))
        n = snprintf(name + used, MAX_NAME - used, "%s%.*s", slash, (int)key->text.length, key->text.bytes);
    else if (key->kind == VIPO_PICKLE_INT)
        n = snprintf(name + used, MAX_NAME - used, "%s%lld", slash, (long long)key->integer);
    return n >= 0 && (size_t)n < MAX_NAME - used;
}

static vipo_status walk(vipo_torch_checkpoint *c, uint32_t index, char *name, int depth, vipo_error *error);

/* Member or item `value`, whose name is in `name`. */
static vipo_status walk_member(vipo_torch_checkpoint *c, uint32_t index, char *name, int depth,
                               vipo_error *error)
{
    const vipo_pickle_value *value = vipo_pickle_at(c->pickle, index);
    if (value->kind == VIPO_PICKLE_CALL &&
        (value->global == GLOBAL_TENSOR || value->global == GLOBAL_PARAMETER))
        return add_tensor(c, name, value, error);
    return walk(c, index, name, depth + 1, error);
}

/* Lists the tensors of nested dicts, lists and tuples. A container that is there twice (or holds itself) is
 * walked once. */
static vipo_status walk(vipo_torch_checkpoint *c, uint32_t index, char *name, int depth, vipo_error *error)
{
    const vipo_pickle_value *value = vipo_pickle_at(c->pickle, index);
    const bool is_dict = value->kind == VIPO_PICKLE_DICT;
    if (!is_dict && value->kind != VIPO_PICKLE_LIST && value->kind != VIPO_PICKLE_TUPLE) return VIPO_OK;
    if (depth > MAX_NESTING || c->walked[index]) return VIPO_OK;
    c->walked[index] = true;
    const size_t used = strlen(name);
    for (uint32_t i = 0; i < value->list.count; i += is_dict ? 2 : 1) {
        const vipo_pickle_value position = {.kind = VIPO_PICKLE_INT, .integer = i};
        const vipo_pickle_value *key = is_dict ? vipo_pickle_at(c->pickle, value->list.items[i]) : &position;
        if (!append_key(name, used, key)) /* such keys do not lead to weights */
            continue;
        VIPO_TRY(walk_member(c, value->list.items[is_dict ? i + 1 : i], name, depth, error));
    }
    name[used] = '\0';
    return VIPO_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const torch_tensor *)a)->view.name, ((const torch_tensor *)b)->view.name);
}

static vipo_status list_tensors(vipo_torch_checkpoint *c, vipo_error *error)
{
    char name[MAX_NAME] = "";
    const vipo_pickle_value *root = vipo_pickle_root(c->pickle);
    if (root->kind != VIPO_PICKLE_DICT)
        return vipo_fail(error, VIPO_FORMAT, "%s: holds %s, expected a dict of tensors", c->path,
                         vipo_pickle_kind_name(root->kind));
    c->walked = calloc(vipo_pickle_count(c->pickle), sizeof *c->walked);
    if (!c->walked) return vipo_fail_memory(error, vipo_pickle_count(c->pickle), "a pickle");
    VIPO_TRY(walk(c, (uint32_t)(root - vipo_pickle_at(c->pickle, 0)), name, 0, error));
    if (c->count > 0) qsort(c->tensors, (size_t)c->count, sizeof *c->tensors, by_name);
    for (int i = 1; i < c->count; i++)
        if (by_name(&c->tensors[i - 1], &c->tensors[i]) == 0)
            return bad_tensor(c, c->tensors[i].view.name, "is there twice, expected each name once", error);
    return VIPO_OK;
}

/* ---- the object --------------------------------------------------------------------------------------- */

static vipo_status open_file(vipo_torch_checkpoint *c, const char *path, vipo_error *error)
{
    VIPO_TRY(vipo_torch_archive_open(&c->archive, path, error));
    c->path = c->archive.path;
    VIPO_TRY(read_pickle(c, error));
    VIPO_TRY(list_tensors(c, error));
    free(c->walked);
    c->walked = NULL;
    vipo_pickle_close(&c->pickle);
    free(c->pickle_bytes);
    c->pickle_bytes = NULL;
    return VIPO_OK;
}

vipo_status vipo_torch_checkpoint_open(vipo_torch_checkpoint **out, const char *path, vipo_error *error)
{
    *out = NULL;
    vipo_torch_checkpoint *c = calloc(1, sizeof *c);
    if (!c) return vipo_fail_memory(error, sizeof *c, "a checkpoint");
    const vipo_status status = open_file(c, path, error);
    if (status != VIPO_OK) vipo_torch_checkpoint_close(&c);
    *out = c;
    return status;
}

void vipo_torch_checkpoint_close(vipo_torch_checkpoint **checkpoint)
{
    vipo_torch_checkpoint *c = *checkpoint;
    if (!c) return;
    for (int i = 0; i < c->count; i++) free((void *)(uintptr_t)c->tensors[i].view.name);
    free(c->tensors);
    free(c->walked);
    free(c->storage);
    free(c->gathered);
    vipo_pickle_close(&c->pickle);
    free(c->pickle_bytes);
    vipo_torch_archive_close(&c->archive);
    free(c);
    *checkpoint = NULL;
}

int vipo_torch_checkpoint_count(const vipo_torch_checkpoint *checkpoint)
{
    return checkpoint->count;
}

const vipo_tensor_view *vipo_torch_checkpoint_at(const vipo_torch_checkpoint *checkpoint, int i)
{
    return &checkpoint->tensors[i].view;
}

static bool is_contiguous(const torch_tensor *t)
{
    size_t step = 1;
    for (int i = t->view.rank; i-- > 0;) {
        if (t->view.shape[i] != 1 && t->stride[i] != step) return false;
        step *= t->view.shape[i];
    }
    return true;
}

/* Copies the elements of a strided view in C order. */
static void gather(const torch_tensor *t, const unsigned char *storage, unsigned char *out)
{
    const size_t size = vipo_dtype_size(t->view.dtype);
    size_t at[VIPO_MAX_RANK] = {0}, position = t->offset;
    for (size_t i = 0; i < t->view.count; i++) {
        memcpy(out + i * size, storage + position * size, size);
        for (int d = t->view.rank; d-- > 0;) { /* the next index, as an odometer */
            position += t->stride[d];
            if (++at[d] < t->view.shape[d]) break;
            position -= t->stride[d] * t->view.shape[d];
            at[d] = 0;
        }
    }
}

vipo_status vipo_torch_checkpoint_load(vipo_torch_checkpoint *c, int i, vipo_tensor_view *out,
                                       vipo_error *error)
{
    const torch_tensor *t = &c->tensors[i];
    const size_t size = vipo_dtype_size(t->view.dtype);
    memset(out, 0, sizeof *out);
    if (t->view.count * size > t->storage_bytes + EXPANDED_BYTES)
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "%s: tensor %.200s: repeats the %zu bytes of its storage into %zu, expected at most %d "
            "more",
            c->path, t->view.name, t->storage_bytes, t->view.count * size, (int)EXPANDED_BYTES);
    if (!c->storage || c->storage_entry != t->entry) {
        size_t bytes;
        free(c->storage);
        VIPO_TRY(vipo_torch_archive_read(&c->archive, t->entry, &c->storage, &bytes, error));
        c->storage_entry = t->entry;
    }
    const unsigned char *data = c->storage;
    if (t->view.count > 0) data += t->offset * size;
    if (t->view.count > 0 && !is_contiguous(t)) {
        free(c->gathered);
        c->gathered = malloc(t->view.count * size);
        if (!c->gathered) return vipo_fail_memory(error, t->view.count * size, "a tensor");
        gather(t, c->storage, c->gathered);
        data = c->gathered;
    }
    *out = t->view;
    out->data = data;
    return VIPO_OK;
}

bool vipo_torch_checkpoint_recognise(const char *path)
{
    vipo_mapped_file map;
    if (vipo_mapped_file_open(&map, path, NULL) != VIPO_OK) return false;
    const bool found = vipo_torch_archive_recognise(&map);
    vipo_mapped_file_close(&map);
    return found;
}
