/* What the fuzz targets share. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput: it gives the bytes to
 * a parser and checks what must hold whatever they are. libFuzzer calls it (scripts/fuzz.sh), and so does
 * replay.c, which needs no special compiler.
 *
 * Files are kept in memory: the linker sends vipo's opening and writing of files here (--wrap), so that
 * reading one byte too far is seen and nothing is left on a disk. */
#ifndef VIPO_TESTS_FUZZ_H
#define VIPO_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vipo/vipo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional: a target that knows how to change its format. `mutate` of libFuzzer changes bytes[0..size), makes them
 * at most `room` long and returns the new length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* Ends the program unless the condition holds. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_violated(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_violated(const char *file, int line, const char *condition);

/* How a call must fail: its status is in the error, whose message is one line of UTF-8; and never for want of memory,
 * which no small file may cause, nor as an internal error. */
void fuzz_check_failure(vipo_status status, const vipo_error *error);
/* One line of UTF-8 that is not empty. */
void fuzz_check_line(const char *text);
bool fuzz_is_zero(const void *bytes, size_t size);

/* ---- files in memory: names that begin with "fuzz:" ---- */

/* Makes or replaces the file, a copy of the bytes; returns its name. Other names with that prefix do not exist. */
const char *fuzz_file(const char *name, const void *bytes, size_t size);
/* What vipo wrote under that name (complete, not abandoned), NULL if nothing; borrowed. */
const uint8_t *fuzz_written(const char *name, size_t *size);
/* Removes all files. Fails if vipo still has one open. */
void fuzz_forget_files(void);

/* ---- bytes as decisions ---- */

typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

/* The next n <= 8 bytes as a little-endian number; zeros past the end. */
uint64_t fuzz_take(fuzz_input *input, size_t n);
/* Bytes up to a newline (which is dropped), or the rest, as text that ends at the first zero; to be freed. NULL at
 * the end. */
char *fuzz_take_line(fuzz_input *input);
/* A copy with a 0 behind it; to be freed. */
char *fuzz_text(const void *bytes, size_t size);

/* ---- for mutators ---- */

/* The checksum of zip and PNG (CRC-32, reflected 0x04C11DB7). */
uint32_t fuzz_crc32(const uint8_t *bytes, size_t size);
uint32_t fuzz_random(unsigned *state);

#endif
