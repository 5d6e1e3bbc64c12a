/* PyTorch checkpoints made by hand: pickles byte by byte and zip archives that may lie. */
#ifndef VIPO_TESTS_TORCH_FILE_H
#define VIPO_TESTS_TORCH_FILE_H

#include "support/files.h"

/* Bytes that grow; begin with a zeroed struct, free bytes. */
typedef struct test_bytes {
    unsigned char *bytes;
    size_t size, capacity;
} test_bytes;

void test_bytes_add(test_bytes *out, const void *bytes, size_t n);
/* From "80025d2e". */
test_bytes test_bytes_from_hex(const char *hex);
/* FNV-1a, 64 bits. */
uint64_t test_hash(const void *bytes, size_t n);

/* ---- pickles ---- */

/* Opcodes without arguments, as characters: test_pickle_op(p, "}(") */
void test_pickle_op(test_bytes *pickle, const char *opcodes);
void test_pickle_text(test_bytes *pickle, const char *text);
void test_pickle_int(test_bytes *pickle, int64_t value);
void test_pickle_global(test_bytes *pickle, const char *module, const char *name);

/* A tensor as torch.save writes it: a view of storage `key` with `elements` elements of torch.<type>. */
typedef struct test_view {
    const char *type, *key;
    int64_t elements, offset;
    int rank;
    int64_t shape[TEST_TENSOR_RANK], stride[TEST_TENSOR_RANK];
} test_view;
void test_pickle_view(test_bytes *pickle, const test_view *view);

/* ---- archives ---- */

typedef struct test_zip_entry {
    const char *name;
    const void *data;
    size_t size;
    int method;      /* 0: stored, 8: deflated (in stored blocks), others are only declared */
    unsigned flags;  /* general purpose bits; 1: encrypted */
    size_t declared; /* size in the directory; 0: the true one */
    bool bad_checksum;
    bool shares_data; /* the directory points at the entry before */
} test_zip_entry;

/* Returns path. */
const char *test_zip_write(const char *path, const test_zip_entry *entries, int n);

/* A checkpoint of one dict whose members are the views; storages: n entries named "data/KEY". */
const char *test_checkpoint_write(const char *path, const char *const *names, const test_view *views,
                                  int n_views, const test_zip_entry *storages, int n_storages);
/* The same dict as the only member, `outer`, of another; outer NULL: itself. */
const char *test_checkpoint_write_in(const char *path, const char *outer, const char *const *names,
                                     const test_view *views, int n_views, const test_zip_entry *storages,
                                     int n_storages);

#endif
