/* PNG pictures. The mutator repairs the checksums of chunks, at which nearly every change would end. */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_picture(data, size);
    return 0;
}

static void repair(uint8_t *data, size_t size)
{
    for (size_t at = 8; size >= 12 && at <= size - 12;) {
        size_t length = 0;
        for (size_t i = 0; i < 4; i++) length = length << 8 | data[at + i];
        if (length > size - at - 12) return;
        const uint32_t crc = fuzz_crc32(data + at + 4, length + 4);
        for (size_t i = 0; i < 4; i++) data[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i) & 0xff);
        at += 12 + length;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    const size_t changed = LLVMFuzzerMutate(data, size, room);
    if (fuzz_random(&seed) % 16 > 0) repair(data, changed);
    return changed;
}
