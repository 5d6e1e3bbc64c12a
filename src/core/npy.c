/* NumPy's .npy container (NumPy Enhancement Proposal 1 and numpy.lib.format): a magic string, a version,
 * the length of a header, the header - a Python dict literal that pads the data to 64 bytes - and the
 * elements. */
#include "core/npy.h"

#include <stdio.h>
#include <string.h>

#include "core/file_output.h"
#include "core/mapped_file.h"
#include "core/memory.h"

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

enum { NATIVE_LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ };

/* What the header says. */
struct header {
    char kind;    /* f, i, u or b */
    size_t bytes; /* of an element */
    bool little;  /* byte order of the elements */
    bool fortran; /* first index runs fastest */
    int rank;
    size_t shape[VIPO_MAX_RANK];
};

/* A place in the header text; `name` is the file's. */
struct cursor {
    const char *at, *end;
    const char *start;
    const char *name;
    vipo_error *error;
};

static vipo_status fail_header(const struct cursor *cursor, const char *expected)
{
    enum { SHOWN = 24 };
    const ptrdiff_t left = cursor->end - cursor->at;
    if (left == 0)
        return vipo_fail(cursor->error, VIPO_FORMAT, "%s: .npy header: expected %s, found its end",
                         cursor->name, expected);
    return vipo_fail(cursor->error, VIPO_FORMAT,
                     "%s: .npy header, character %td: expected %s, found \"%.*s\"", cursor->name,
                     cursor->at - cursor->start, expected, (int)(left < SHOWN ? left : SHOWN), cursor->at);
}

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at != '\0' && strchr(" \t\r\n\f\v", *cursor->at))
        cursor->at++;
}

/* Skips white space, then takes c if it is next. */
static bool take(struct cursor *cursor, char c)
{
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != c) return false;
    cursor->at++;
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    const size_t n = strlen(word);
    skip_space(cursor);
    if ((size_t)(cursor->end - cursor->at) < n || memcmp(cursor->at, word, n) != 0) return false;
    cursor->at += n;
    return true;
}

/* A string in single or double quotes, without escapes, into text[room]. */
static vipo_status parse_string(struct cursor *cursor, char *text, size_t room, const char *what)
{
    skip_space(cursor);
    const char *p = cursor->at;
    if (p == cursor->end || (*p != '\'' && *p != '"')) return fail_header(cursor, what);
    const char quote = *p++;
    const char *first = p;
    while (p < cursor->end && *p != quote && *p != '\\' && *p != '\n') p++;
    if (p == cursor->end || *p != quote || (size_t)(p - first) >= room) return fail_header(cursor, what);
    memcpy(text, first, (size_t)(p - first));
    text[p - first] = '\0';
    cursor->at = p + 1;
    return VIPO_OK;
}

static vipo_status parse_dtype(struct cursor *cursor, struct header *header)
{
    static const char known[] = "f2 f4 f8 u1 i1 u2 i2 u4 i4 u8 i8 b1";
    skip_space(cursor);
    if (cursor->at < cursor->end && (*cursor->at == '[' || *cursor->at == '('))
        return vipo_fail(cursor->error, VIPO_UNSUPPORTED, "%s: structured dtype, expected one of %s",
                         cursor->name, known);
    char text[64];
    VIPO_TRY(parse_string(cursor, text, sizeof text, "a dtype such as '<f4'"));
    /* Order, kind, size; NumPy leaves no other spelling in files. */
    const bool formed = strlen(text) == 3 && strchr("<>=|", text[0]) && strchr("fiub", text[1]);
    char name[3] = {0};
    if (formed) memcpy(name, text + 1, 2);
    if (!formed || !strstr(known, name) || (text[0] == '|' && name[1] != '1'))
        return vipo_fail(cursor->error, VIPO_UNSUPPORTED, "%s: dtype '%s', expected one of %s", cursor->name,
                         text, known);
    header->kind = name[0];
    header->bytes = (size_t)(name[1] - '0');
    header->little = text[0] == '<' || (text[0] != '>' && NATIVE_LITTLE);
    return VIPO_OK;
}

static vipo_status parse_shape(struct cursor *cursor, struct header *header)
{
    static const char expected[] = "a tuple of sizes such as (3, 4)";
    if (!take(cursor, '(')) return fail_header(cursor, expected);
    bool comma = true;
    while (!take(cursor, ')')) {
        if (!comma || cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9')
            return fail_header(cursor, expected);
        size_t size = 0;
        for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++)
            if (!vipo_mul_size(size, 10, &size) ||
                __builtin_add_overflow(size, (size_t)(*cursor->at - '0'), &size))
                return fail_header(cursor, "a size of at most 64 bits");
        if (cursor->at < cursor->end && *cursor->at == 'L') cursor->at++; /* written by Python 2 */
        if (header->rank == VIPO_MAX_RANK)
            return vipo_fail(cursor->error, VIPO_UNSUPPORTED, "%s: more than %d dimensions", cursor->name,
                             VIPO_MAX_RANK);
        header->shape[header->rank++] = size;
        comma = take(cursor, ',');
    }
    /* In Python, (3) is a number. */
    if (header->rank == 1 && !comma) return fail_header(cursor, "a comma: (3,)");
    return VIPO_OK;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } with its keys in any order. */
static vipo_status parse_dict(struct cursor *cursor, struct header *header)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    static const char keys[] = "the keys 'descr', 'fortran_order' and 'shape', each once";
    unsigned seen = 0;
    bool comma = true;
    if (!take(cursor, '{')) return fail_header(cursor, "a dict");
    while (!take(cursor, '}')) {
        if (!comma) return fail_header(cursor, "a comma or }");
        char key[32];
        VIPO_TRY(parse_string(cursor, key, sizeof key, keys));
        const unsigned which = strcmp(key, "descr") == 0           ? DESCR
                               : strcmp(key, "fortran_order") == 0 ? ORDER
                               : strcmp(key, "shape") == 0         ? SHAPE
                                                                   : 0;
        if (which == 0 || (seen & which))
            return vipo_fail(cursor->error, VIPO_FORMAT, "%s: .npy header: key '%s'%s, expected %s",
                             cursor->name, key, which ? " twice" : "", keys);
        seen |= which;
        if (!take(cursor, ':')) return fail_header(cursor, "a colon");
        if (which == DESCR) {
            VIPO_TRY(parse_dtype(cursor, header));
        } else if (which == SHAPE) {
            VIPO_TRY(parse_shape(cursor, header));
        } else {
            header->fortran = take_word(cursor, "True");
            if (!header->fortran && !take_word(cursor, "False")) return fail_header(cursor, "True or False");
        }
        comma = take(cursor, ',');
    }
    skip_space(cursor);
    if (cursor->at != cursor->end) return fail_header(cursor, "nothing after the dict");
    if (seen != (DESCR | ORDER | SHAPE))
        return vipo_fail(cursor->error, VIPO_FORMAT, "%s: .npy header: %s is missing, expected %s",
                         cursor->name,
                         !(seen & DESCR)   ? "'descr'"
                         : !(seen & ORDER) ? "'fortran_order'"
                                           : "'shape'",
                         keys);
    return VIPO_OK;
}

static float half_to_float(unsigned half)
{
    const unsigned sign = (half & 0x8000U) << 16, exponent = (half >> 10) & 31U, fraction = half & 1023U;
    uint32_t bits;
    if (exponent == 0) { /* zero and subnormals: fraction / 2^24 is exact */
        const float magnitude = (float)fraction * 0x1p-24F;
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 31)
        bits = sign | 0x7f800000U | fraction << 13;
    else
        bits = sign | (exponent + 112U) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double element(const unsigned char *source, const struct header *header)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < header->bytes; i++)
        bits |= (uint64_t)source[i] << (8 * (header->little ? i : header->bytes - 1 - i));
    switch (header->kind) {
    case 'b':
        return bits ? 1 : 0;
    case 'u':
        return (double)bits;
    case 'i': {
        const uint64_t sign = UINT64_C(1) << (8 * header->bytes - 1);
        return (double)(int64_t)((bits ^ sign) - sign); /* sign extension */
    }
    default:
        break;
    }
    if (header->bytes == 2) return (double)half_to_float((unsigned)bits);
    if (header->bytes == 4) {
        const uint32_t word = (uint32_t)bits;
        float value;
        memcpy(&value, &word, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Where elements go, in C order: one of them is NULL. */
struct sink {
    float *floats;
    double *doubles;
};

static void store(const struct sink *sink, size_t i, double value)
{
    if (sink->floats)
        sink->floats[i] = (float)value;
    else
        sink->doubles[i] = value;
}

/* n elements of `source` in the header's order -> sink. */
static void convert(const unsigned char *source, const struct header *header, size_t n, struct sink sink)
{
    if (!header->fortran || header->rank < 2) {
        if (sink.floats && header->kind == 'f' && header->bytes == 4 && header->little == NATIVE_LITTLE)
            memcpy(sink.floats, source, n * sizeof(float));
        else
            for (size_t i = 0; i < n; i++) store(&sink, i, element(source + i * header->bytes, header));
        return;
    }
    size_t stride[VIPO_MAX_RANK], index[VIPO_MAX_RANK] = {0};
    stride[0] = header->bytes;
    for (int d = 1; d < header->rank; d++) stride[d] = stride[d - 1] * header->shape[d - 1];
    size_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        store(&sink, i, element(source + offset, header));
        for (int d = header->rank - 1; d >= 0; d--) { /* odometer, last index fastest */
            offset += stride[d];
            if (++index[d] < header->shape[d]) break;
            offset -= stride[d] * header->shape[d];
            index[d] = 0;
        }
    }
}

/* Reads and checks everything but the elements, which begin at *elements. */
static vipo_status parse_file(const void *data, size_t size, const char *name, struct header *out,
                              const unsigned char **elements, vipo_error *error)
{
    const unsigned char *bytes = data;
    if (size < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return vipo_fail(error, VIPO_FORMAT, "%s: not a .npy file", name);
    if (size < 10)
        return vipo_fail(error, VIPO_FORMAT, "%s: truncated in the .npy header (%zu bytes)", name, size);
    const unsigned major = bytes[6], minor = bytes[7];
    if (major < 1 || major > 3 || minor != 0)
        return vipo_fail(error, VIPO_UNSUPPORTED, "%s: .npy version %u.%u, expected 1.0, 2.0 or 3.0", name,
                         major, minor);
    const size_t before = major == 1 ? 10 : 12;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (size < before)
        return vipo_fail(error, VIPO_FORMAT, "%s: truncated in the .npy header (%zu bytes)", name, size);
    if (major > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - before)
        return vipo_fail(error, VIPO_FORMAT, "%s: truncated: a .npy header of %zu bytes in a file of %zu",
                         name, length, size);

    struct header header = {0};
    const char *text = (const char *)bytes + before;
    struct cursor cursor = {.at = text, .end = text + length, .start = text, .name = name, .error = error};
    VIPO_TRY(parse_dict(&cursor, &header));

    size_t needed = header.bytes;
    for (int d = 0; d < header.rank; d++) {
        if (header.shape[d] == 0)
            return vipo_fail(error, VIPO_UNSUPPORTED, "%s: dimension %d is 0, expected at least 1", name, d);
        if (!vipo_mul_size(needed, header.shape[d], &needed))
            return vipo_fail(error, VIPO_FORMAT, "%s: the shape in the .npy header overflows", name);
    }
    const size_t found = size - before - length;
    if (found != needed)
        return vipo_fail(error, VIPO_FORMAT, "%s: %s: %zu bytes of elements, expected %zu by dtype and shape",
                         name, found < needed ? "truncated" : "too long", found, needed);
    *out = header;
    *elements = bytes + before + length;
    return VIPO_OK;
}

vipo_status vipo_npy_parse(const void *data, size_t size, const char *name, vipo_array *out,
                           vipo_error *error)
{
    struct header header;
    const unsigned char *elements;
    memset(out, 0, sizeof *out);
    VIPO_TRY(parse_file(data, size, name, &header, &elements, error));
    if (vipo_array_alloc(out, header.rank, header.shape, error) != VIPO_OK)
        return vipo_fail_prefix(error, VIPO_OUT_OF_MEMORY, name);
    convert(elements, &header, vipo_array_size(out), (struct sink){.floats = out->data});
    return VIPO_OK;
}

vipo_status vipo_npy_read_matrix(const char *path, size_t rows, size_t columns, double *out,
                                 vipo_error *error)
{
    vipo_mapped_file file;
    struct header header;
    const unsigned char *elements;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_status status = parse_file(file.data, file.size, path, &header, &elements, error);
    if (status == VIPO_OK && (header.rank != 2 || header.shape[0] != rows || header.shape[1] != columns)) {
        char found[128] = "";
        for (int d = 0, used = 0; d < header.rank; d++)
            used +=
                snprintf(found + used, sizeof found - (size_t)used, "%s%zu", d ? ", " : "", header.shape[d]);
        status = vipo_fail(error, VIPO_MISMATCH, "%s: expected shape [%zu, %zu], found [%s]", path, rows,
                           columns, found);
    }
    if (status == VIPO_OK) convert(elements, &header, rows * columns, (struct sink){.doubles = out});
    vipo_mapped_file_close(&file);
    return status;
}

vipo_status vipo_npy_read(const char *path, vipo_array *out, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    vipo_mapped_file file;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    const vipo_status status = vipo_npy_parse(file.data, file.size, path, out, error);
    vipo_mapped_file_close(&file);
    return status;
}

vipo_status vipo_npy_read_typed(const char *path, vipo_array *out, bool *bytes, vipo_error *error)
{
    memset(out, 0, sizeof *out);
    *bytes = false;
    vipo_mapped_file file;
    struct header header;
    const unsigned char *elements;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    vipo_status status = parse_file(file.data, file.size, path, &header, &elements, error);
    if (status == VIPO_OK) status = vipo_npy_parse(file.data, file.size, path, out, error);
    if (status == VIPO_OK) *bytes = header.kind == 'u' && header.bytes == 1;
    vipo_mapped_file_close(&file);
    return status;
}

vipo_status vipo_npy_write(const char *path, const vipo_array *array, vipo_error *error)
{
    const size_t n = array ? vipo_array_size(array) : 0;
    if (n == 0 || array->rank < 0 || array->rank > VIPO_MAX_RANK)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: nothing to write: an array without elements",
                         path);

    enum { ALIGNMENT = 64, ROOM = 4 * ALIGNMENT, PREFIX = 10 };
    char header[ROOM];
    int used = snprintf(header + PREFIX, sizeof header - PREFIX,
                        "{'descr': '%cf4', 'fortran_order': False, 'shape': (", NATIVE_LITTLE ? '<' : '>');
    for (int d = 0; d < array->rank; d++)
        used += snprintf(header + PREFIX + used, sizeof header - PREFIX - (size_t)used, "%s%zu%s",
                         d ? " " : "", array->shape[d], d + 1 < array->rank || array->rank == 1 ? "," : "");
    used += snprintf(header + PREFIX + used, sizeof header - PREFIX - (size_t)used, "), }");
    const size_t total = (PREFIX + (size_t)used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(header + PREFIX + used, ' ', total - PREFIX - (size_t)used);
    header[total - 1] = '\n';
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)((total - PREFIX) & 0xff);
    header[9] = (char)((total - PREFIX) >> 8);

    vipo_file_output output;
    VIPO_TRY(vipo_file_output_open(&output, path, error));
    /* Write errors stay in the stream and are reported by commit. */
    fwrite(header, 1, total, output.stream);
    fwrite(array->data, sizeof(float), n, output.stream);
    return vipo_file_output_commit(&output, error);
}
