#include "support/torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ------------------------------------------------------------------------------------------- */

void test_bytes_add(test_bytes *out, const void *bytes, size_t n)
{
    if (out->size + n >= out->capacity) {
        out->capacity = 2 * (out->size + n) + 64;
        unsigned char *grown = realloc(out->bytes, out->capacity);
        assert_non_null(grown);
        out->bytes = grown;
    }
    if (n > 0) memcpy(out->bytes + out->size, bytes, n);
    out->size += n;
}

static void add_number(test_bytes *out, uint64_t value, size_t n)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (unsigned char)(value >> (8 * i) & 0xff);
    test_bytes_add(out, bytes, n);
}

test_bytes test_bytes_from_hex(const char *hex)
{
    test_bytes out = {0};
    for (; hex[0] && hex[1]; hex += 2) {
        const char digits[3] = {hex[0], hex[1], 0};
        add_number(&out, strtoul(digits, NULL, 16), 1);
    }
    return out;
}

uint64_t test_hash(const void *bytes, size_t n)
{
    uint64_t hash = 0xCBF29CE484222325ULL;
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001B3ULL;
    return hash;
}

/* ---- pickles ----------------------------------------------------------------------------------------- */

void test_pickle_op(test_bytes *pickle, const char *opcodes)
{
    test_bytes_add(pickle, opcodes, strlen(opcodes));
}

void test_pickle_text(test_bytes *pickle, const char *text)
{
    test_pickle_op(pickle, "X");
    add_number(pickle, strlen(text), 4);
    test_pickle_op(pickle, text);
}

void test_pickle_int(test_bytes *pickle, int64_t value)
{
    test_pickle_op(pickle, "\x8a\x08");
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_number(pickle, bits, 8);
}

void test_pickle_global(test_bytes *pickle, const char *module, const char *name)
{
    test_pickle_op(pickle, "c");
    test_pickle_op(pickle, module);
    test_pickle_op(pickle, "\n");
    test_pickle_op(pickle, name);
    test_pickle_op(pickle, "\n");
}

static void add_tuple(test_bytes *pickle, const int64_t *values, int n)
{
    test_pickle_op(pickle, "(");
    for (int i = 0; i < n; i++) test_pickle_int(pickle, values[i]);
    test_pickle_op(pickle, "t");
}

void test_pickle_view(test_bytes *pickle, const test_view *view)
{
    test_pickle_global(pickle, "torch._utils", "_rebuild_tensor_v2");
    test_pickle_op(pickle, "((");
    test_pickle_text(pickle, "storage");
    test_pickle_global(pickle, "torch", view->type);
    test_pickle_text(pickle, view->key);
    test_pickle_text(pickle, "cpu");
    test_pickle_int(pickle, view->elements);
    test_pickle_op(pickle, "tQ");
    test_pickle_int(pickle, view->offset);
    add_tuple(pickle, view->shape, view->rank);
    add_tuple(pickle, view->stride, view->rank);
    test_pickle_op(pickle, "\x89");
    test_pickle_global(pickle, "collections", "OrderedDict");
    test_pickle_op(pickle, ")RtR");
}

/* ---- archives ---------------------------------------------------------------------------------------- */

static uint32_t checksum(const unsigned char *bytes, size_t n)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

/* The fields that a local header and a directory entry have in common: from "version needed" on. */
static void add_fields(test_bytes *out, const test_zip_entry *entry, size_t packed)
{
    uint32_t crc = checksum(entry->data, entry->size);
    if (entry->bad_checksum) crc ^= 1;
    add_number(out, 20, 2);
    add_number(out, entry->flags, 2);
    add_number(out, (uint64_t)entry->method, 2);
    add_number(out, 0x21, 4); /* time 0, 1 January 1980 */
    add_number(out, crc, 4);
    add_number(out, packed, 4);
    add_number(out, entry->declared ? entry->declared : entry->size, 4);
    add_number(out, strlen(entry->name), 2);
    add_number(out, 0, 2);
}

/* Deflate's stored blocks of at most 65535 bytes. */
static test_bytes pack(const test_zip_entry *entry)
{
    test_bytes out = {0};
    if (entry->method != 8) {
        test_bytes_add(&out, entry->data, entry->size);
        return out;
    }
    size_t at = 0;
    do {
        const size_t n = entry->size - at < 65535 ? entry->size - at : 65535;
        add_number(&out, at + n == entry->size, 1);
        add_number(&out, n, 2);
        add_number(&out, ~(uint64_t)n & 0xffff, 2);
        test_bytes_add(&out, (const unsigned char *)entry->data + at, n);
        at += n;
    } while (at < entry->size);
    return out;
}

const char *test_zip_write(const char *path, const test_zip_entry *entries, int n)
{
    test_bytes file = {0}, directory = {0};
    size_t offset = 0;
    for (int i = 0; i < n; i++) {
        const test_zip_entry *entry = &entries[i];
        test_bytes packed = pack(entry);
        if (!entry->shares_data) {
            offset = file.size;
            test_bytes_add(&file, "PK\3\4", 4);
            add_fields(&file, entry, packed.size);
            test_bytes_add(&file, entry->name, strlen(entry->name));
            test_bytes_add(&file, packed.bytes, packed.size);
        }
        test_bytes_add(&directory, "PK\1\2\24\0", 6);
        add_fields(&directory, entry, packed.size);
        add_number(&directory, 0, 8); /* comment, disk, attributes */
        add_number(&directory, 0, 2);
        add_number(&directory, offset, 4);
        test_bytes_add(&directory, entry->name, strlen(entry->name));
        free(packed.bytes);
    }
    const size_t start = file.size;
    test_bytes_add(&file, directory.bytes, directory.size);
    test_bytes_add(&file, "PK\5\6\0\0\0\0", 8);
    add_number(&file, (uint64_t)n, 2);
    add_number(&file, (uint64_t)n, 2);
    add_number(&file, directory.size, 4);
    add_number(&file, start, 4);
    add_number(&file, 0, 2);
    test_file_write(path, file.bytes, file.size);
    free(file.bytes);
    free(directory.bytes);
    return path;
}

const char *test_checkpoint_write(const char *path, const char *const *names, const test_view *views,
                                  int n_views, const test_zip_entry *storages, int n_storages)
{
    return test_checkpoint_write_in(path, NULL, names, views, n_views, storages, n_storages);
}

const char *test_checkpoint_write_in(const char *path, const char *outer, const char *const *names,
                                     const test_view *views, int n_views, const test_zip_entry *storages,
                                     int n_storages)
{
    test_bytes pickle = {0};
    test_pickle_op(&pickle, "\x80\x02}(");
    if (outer) {
        test_pickle_text(&pickle, outer);
        test_pickle_op(&pickle, "}(");
    }
    for (int i = 0; i < n_views; i++) {
        test_pickle_text(&pickle, names[i]);
        test_pickle_view(&pickle, &views[i]);
    }
    test_pickle_op(&pickle, outer ? "uu." : "u.");
    test_zip_entry *entries = calloc((size_t)n_storages + 2, sizeof *entries);
    char(*full)[64] = calloc((size_t)n_storages + 1, sizeof *full);
    assert_non_null(entries);
    assert_non_null(full);
    entries[0] = (test_zip_entry){.name = "made/data.pkl", .data = pickle.bytes, .size = pickle.size};
    entries[1] = (test_zip_entry){.name = "made/byteorder", .data = "little", .size = 6};
    for (int i = 0; i < n_storages; i++) {
        entries[i + 2] = storages[i];
        snprintf(full[i], sizeof full[i], "made/%s", storages[i].name);
        entries[i + 2].name = full[i];
    }
    test_zip_write(path, entries, n_storages + 2);
    free(full);
    free(entries);
    free(pickle.bytes);
    return path;
}
