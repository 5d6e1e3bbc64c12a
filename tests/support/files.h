/* Files and safetensors files for tests, right ones and wrong ones. Every function fails the test if it cannot
 * do its work. */
#ifndef VIPO_TESTS_FILES_H
#define VIPO_TESTS_FILES_H

#include "support/support.h"

/* Returns path. */
const char *test_file_write(const char *path, const void *data, size_t size);
/* Bytes of a file, with a 0 after them; free with free(). */
char *test_file_read(const char *path, size_t *size);

enum { TEST_TENSOR_RANK = 8 };

typedef struct test_tensor {
    char name[192];
    char dtype[16];
    int rank;
    size_t shape[TEST_TENSOR_RANK];
    unsigned char *data; /* owned */
    size_t bytes;
} test_tensor;

/* Tensors of a file in the order of their bytes. Begin with a zeroed struct. */
typedef struct test_tensors {
    test_tensor *list;
    int count;
    const char *metadata; /* JSON text of __metadata__, borrowed; NULL: none */
} test_tensors;

/* Copies; data NULL: zeros. */
void test_tensors_add(test_tensors *tensors, const char *name, const char *dtype, int rank,
                      const size_t *shape, const void *data, size_t bytes);
test_tensor *test_tensors_find(test_tensors *tensors, const char *name);
void test_tensors_write(const test_tensors *tensors, const char *path);
/* All tensors of an existing file. */
void test_tensors_read(test_tensors *out, const char *path);
/* Floating-point tensors become F32. */
void test_tensors_to_f32(test_tensors *tensors);
void test_tensors_free(test_tensors *tensors);

/* A safetensors file of this header text and `data_size` bytes of zeros; `declared` is the header length it
 * claims. Returns path. */
const char *test_safetensors_raw(const char *path, const char *header, uint64_t declared, size_t data_size);

#endif
