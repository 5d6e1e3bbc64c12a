#include "fuzz.h"

#include <stdio.h>

#include "core/file_output.h"
#include "core/mapped_file.h"

/* ---- checks -------------------------------------------------------------------------------------------- */

void fuzz_violated(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: violated: %s\n", file, line, condition);
    abort();
}

/* Length of the well-formed UTF-8 sequence at c, 0 if there is none (Unicode 15, table 3-7). */
static size_t sequence(const unsigned char *c)
{
    static const struct {
        unsigned char first, last, low, high;
        size_t length;
    } rows[] = {{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (c[0] < rows[i].first || c[0] > rows[i].last) continue;
        if (rows[i].length > 1 && (c[1] < rows[i].low || c[1] > rows[i].high)) return 0;
        for (size_t j = 2; j < rows[i].length; j++)
            if (c[j] < 0x80 || c[j] > 0xbf) return 0;
        return rows[i].length;
    }
    return 0;
}

void fuzz_check_line(const char *text)
{
    FUZZ_CHECK(*text);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const size_t n = sequence(c);
        FUZZ_CHECK(n > 0 /* printable ASCII or UTF-8 */);
        c += n;
    }
}

void fuzz_check_failure(vipo_status status, const vipo_error *error)
{
    FUZZ_CHECK(status > VIPO_OK && status <= VIPO_INTERNAL);
    FUZZ_CHECK(error->status == status);
    FUZZ_CHECK(memchr(error->message, 0, sizeof error->message));
    fuzz_check_line(error->message);
    FUZZ_CHECK(status != VIPO_OUT_OF_MEMORY);
    FUZZ_CHECK(status != VIPO_INTERNAL);
}

bool fuzz_is_zero(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        if (at[i]) return false;
    return true;
}

/* ---- files --------------------------------------------------------------------------------------------- */

enum { FILES = 8, NAME_ROOM = 64 };

typedef struct memory_file {
    char name[NAME_ROOM]; /* "": free */
    char *bytes;
    size_t size;
    bool written;
} memory_file;

static memory_file files[FILES];
static const unsigned char *open_maps[FILES]; /* given to vipo and not closed yet */

static memory_file *find_file(const char *name)
{
    for (int i = 0; i < FILES; i++)
        if (strcmp(files[i].name, name) == 0) return &files[i];
    return NULL;
}

/* An empty file in place of an old one. */
static memory_file *make_file(const char *name)
{
    memory_file *file = find_file(name);
    if (!file) file = find_file("");
    FUZZ_CHECK(file && strlen(name) < NAME_ROOM);
    free(file->bytes);
    *file = (memory_file){.bytes = NULL};
    memcpy(file->name, name, strlen(name));
    return file;
}

const char *fuzz_file(const char *name, const void *bytes, size_t size)
{
    memory_file *file = make_file(name);
    file->bytes = fuzz_text(bytes, size);
    file->size = size;
    return file->name;
}

const uint8_t *fuzz_written(const char *name, size_t *size)
{
    const memory_file *file = find_file(name);
    *size = file && file->written ? file->size : 0;
    return file && file->written ? (const uint8_t *)file->bytes : NULL;
}

void fuzz_forget_files(void)
{
    for (int i = 0; i < FILES; i++) {
        FUZZ_CHECK(!open_maps[i]);
        free(files[i].bytes);
        files[i] = (memory_file){.bytes = NULL};
    }
}

static bool in_memory(const char *path)
{
    return strncmp(path, "fuzz:", 5) == 0;
}

vipo_status __real_vipo_mapped_file_open(vipo_mapped_file *out, const char *path, vipo_error *error);
void __real_vipo_mapped_file_close(vipo_mapped_file *file);
vipo_status __wrap_vipo_mapped_file_open(vipo_mapped_file *out, const char *path, vipo_error *error);
void __wrap_vipo_mapped_file_close(vipo_mapped_file *file);

/* Copies of exactly the size, so that a sanitizer sees reads beyond. */
vipo_status __wrap_vipo_mapped_file_open(vipo_mapped_file *out, const char *path, vipo_error *error)
{
    if (!in_memory(path)) return __real_vipo_mapped_file_open(out, path, error);
    memset(out, 0, sizeof *out);
    const memory_file *file = find_file(path);
    if (!file) return vipo_fail(error, VIPO_IO, "%s: no such file", path);
    if (file->size == 0) return VIPO_OK;
    int i = 0;
    while (i < FILES && open_maps[i]) i++;
    unsigned char *copy = malloc(file->size);
    FUZZ_CHECK(i < FILES && copy);
    memcpy(copy, file->bytes, file->size);
    open_maps[i] = out->data = copy;
    out->size = file->size;
    return VIPO_OK;
}

void __wrap_vipo_mapped_file_close(vipo_mapped_file *file)
{
    for (int i = 0; file->data && i < FILES; i++)
        if (open_maps[i] == file->data) {
            free((void *)(uintptr_t)file->data);
            open_maps[i] = NULL;
            memset(file, 0, sizeof *file);
            return;
        }
    __real_vipo_mapped_file_close(file);
}

vipo_status __real_vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error);
vipo_status __wrap_vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error);
vipo_status __wrap_vipo_file_output_commit(vipo_file_output *out, vipo_error *error);
void __wrap_vipo_file_output_abandon(vipo_file_output *out);

/* No target writes real files. */
vipo_status __wrap_vipo_file_output_open(vipo_file_output *out, const char *path, vipo_error *error)
{
    (void)error;
    FUZZ_CHECK(in_memory(path));
    memset(out, 0, sizeof *out);
    out->path = strdup(path);
    FUZZ_CHECK(out->path);
    memory_file *file = make_file(path);
    out->stream = open_memstream(&file->bytes, &file->size);
    FUZZ_CHECK(out->stream);
    return VIPO_OK;
}

vipo_status __wrap_vipo_file_output_commit(vipo_file_output *out, vipo_error *error)
{
    (void)error;
    FUZZ_CHECK(!ferror(out->stream) && fclose(out->stream) == 0);
    find_file(out->path)->written = true;
    free(out->path);
    memset(out, 0, sizeof *out);
    return VIPO_OK;
}

void __wrap_vipo_file_output_abandon(vipo_file_output *out)
{
    if (!out->path) return;
    if (out->stream) fclose(out->stream);
    memory_file *file = find_file(out->path);
    free(file->bytes);
    *file = (memory_file){.bytes = NULL};
    free(out->path);
    memset(out, 0, sizeof *out);
}

/* ---- input --------------------------------------------------------------------------------------------- */

uint64_t fuzz_take(fuzz_input *input, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n && input->left > 0; i++, input->at++, input->left--)
        value |= (uint64_t)*input->at << (8 * i);
    return value;
}

char *fuzz_text(const void *bytes, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size > 0) memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

char *fuzz_take_line(fuzz_input *input)
{
    if (input->left == 0) return NULL;
    const uint8_t *end = memchr(input->at, '\n', input->left);
    const size_t length = end ? (size_t)(end - input->at) : input->left, used = length + (end ? 1 : 0);
    char *line = fuzz_text(input->at, length);
    input->at += used;
    input->left -= used;
    return line;
}

uint32_t fuzz_crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

uint32_t fuzz_random(unsigned *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}
