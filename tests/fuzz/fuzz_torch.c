/* PyTorch checkpoints: zip archive, pickle, storages. The mutator changes one entry of the archive and packs it
 * anew with right sizes and checksums, as otherwise nearly every change ends at the checksum. */
#include "fuzz.h"

#include "weights/torch_checkpoint.h"
#include "weights/weight_file.h"

static const char path[] = "fuzz:in.pt";

enum { LOADS = 64, LOAD_ELEMENTS = 1 << 20 };

static void check_tensor(vipo_torch_checkpoint *checkpoint, vipo_weight_file *file, int i)
{
    vipo_error error = {0};
    const vipo_tensor_view *view = vipo_torch_checkpoint_at(checkpoint, i);
    FUZZ_CHECK(view->rank >= 0 && view->rank <= VIPO_MAX_RANK && !view->data);
    FUZZ_CHECK(i == 0 || strcmp(vipo_torch_checkpoint_at(checkpoint, i - 1)->name, view->name) < 0);
    size_t count = 1;
    for (int d = 0; d < view->rank; d++) count *= view->shape[d];
    FUZZ_CHECK(count == view->count);
    if (i >= LOADS) return;

    vipo_tensor_view loaded;
    vipo_status status = vipo_torch_checkpoint_load(checkpoint, i, &loaded, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(fuzz_is_zero(&loaded, sizeof loaded));
    } else {
        FUZZ_CHECK(loaded.count == count && loaded.data);
        FUZZ_CHECK(loaded.dtype == view->dtype && loaded.rank == view->rank);
        unsigned sum = 0; /* every byte can be read */
        for (size_t b = 0; b < count * vipo_dtype_size(loaded.dtype); b++)
            sum += ((const unsigned char *)loaded.data)[b];
        FUZZ_CHECK(sum <= 255 * count * 8);
    }
    if (count > LOAD_ELEMENTS) return;
    float *values = malloc((count + 1) * sizeof *values);
    FUZZ_CHECK(values && vipo_weight_file_find(file, view->name));
    const vipo_status again =
        vipo_weight_file_read(file, view->name, view->rank, view->shape, values, &error);
    if (again != VIPO_OK) fuzz_check_failure(again, &error);
    FUZZ_CHECK(status == VIPO_OK || again == status);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_torch_checkpoint *checkpoint;
    vipo_weight_file *file;
    fuzz_file(path, data, size);
    const vipo_status status = vipo_torch_checkpoint_open(&checkpoint, path, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(!checkpoint);
    } else {
        const vipo_status second = vipo_weight_file_open(&file, path, &error);
        if (second == VIPO_OK) {
            FUZZ_CHECK(vipo_weight_file_is_torch(file));
            FUZZ_CHECK(vipo_weight_file_count(file) == vipo_torch_checkpoint_count(checkpoint));
            for (int i = 0; i < vipo_torch_checkpoint_count(checkpoint); i++)
                check_tensor(checkpoint, file, i);
            vipo_weight_file_close(&file);
        } else { /* it begins as a safetensors file */
            fuzz_check_failure(second, &error);
            FUZZ_CHECK(!vipo_torch_checkpoint_recognise(path) && !file);
        }
        vipo_torch_checkpoint_close(&checkpoint);
        FUZZ_CHECK(!checkpoint);
    }
    fuzz_forget_files();
    return 0;
}

/* ---- mutator --------------------------------------------------------------------------------------------- */

enum { ENTRIES = 12, ENTRY_NAME = 64, LOCAL_BYTES = 30, DIRECTORY_BYTES = 46, END_BYTES = 22 };

typedef struct entry {
    uint8_t name[ENTRY_NAME];
    size_t name_size;
    uint8_t *bytes; /* owned */
    size_t size;
    unsigned method, flags;
    uint32_t unpacked, crc;
} entry;

static uint32_t number(const uint8_t *at, size_t n)
{
    uint32_t value = 0;
    for (size_t i = n; i-- > 0;) value = value << 8 | at[i];
    return value;
}

static void put(uint8_t **at, uint32_t value, size_t n)
{
    for (size_t i = 0; i < n; i++, value >>= 8) *(*at)++ = (uint8_t)(value & 0xff);
}

/* The entries that follow each other from the beginning of the file. */
static int read_entries(const uint8_t *data, size_t size, entry *entries)
{
    int n = 0;
    for (size_t at = 0; n < ENTRIES && size - at >= LOCAL_BYTES && memcmp(data + at, "PK\3\4", 4) == 0; n++) {
        const uint8_t *header = data + at;
        const size_t packed = number(header + 18, 4), name = number(header + 26, 2);
        const size_t before = LOCAL_BYTES + name + number(header + 28, 2);
        if (name > ENTRY_NAME || before > size - at || packed > size - at - before) break;
        entries[n] = (entry){.name_size = name,
                             .bytes = (uint8_t *)fuzz_text(header + before, packed),
                             .size = packed,
                             .flags = number(header + 6, 2),
                             .method = number(header + 8, 2),
                             .crc = number(header + 14, 4),
                             .unpacked = number(header + 22, 4)};
        memcpy(entries[n].name, header + LOCAL_BYTES, name);
        at += before + packed;
    }
    return n;
}

/* The fields that local header and directory share. */
static void put_fields(uint8_t **at, const entry *e)
{
    put(at, 20, 2);
    put(at, e->flags, 2);
    put(at, e->method, 2);
    put(at, 0x21, 4);
    put(at, e->crc, 4);
    put(at, (uint32_t)e->size, 4);
    put(at, e->unpacked, 4);
    put(at, (uint32_t)e->name_size, 2);
    put(at, 0, 2);
}

static void put_bytes(uint8_t **at, const uint8_t *bytes, size_t n)
{
    if (n > 0) memcpy(*at, bytes, n);
    *at += n;
}

/* The archive; 0 if there is no room for it. */
static size_t write_entries(uint8_t *data, size_t room, const entry *entries, int n)
{
    size_t needed = END_BYTES, offset = 0;
    for (int i = 0; i < n; i++)
        needed += LOCAL_BYTES + DIRECTORY_BYTES + 2 * entries[i].name_size + entries[i].size;
    if (needed > room) return 0;
    uint8_t *at = data;
    for (int i = 0; i < n; i++) {
        put_bytes(&at, (const uint8_t *)"PK\3\4", 4);
        put_fields(&at, &entries[i]);
        put_bytes(&at, entries[i].name, entries[i].name_size);
        put_bytes(&at, entries[i].bytes, entries[i].size);
    }
    const uint8_t *directory = at;
    for (int i = 0; i < n; i++) {
        put_bytes(&at, (const uint8_t *)"PK\1\2\24\0", 6);
        put_fields(&at, &entries[i]);
        put(&at, 0, 8);
        put(&at, 0, 2);
        put(&at, (uint32_t)offset, 4);
        put_bytes(&at, entries[i].name, entries[i].name_size);
        offset += LOCAL_BYTES + entries[i].name_size + entries[i].size;
    }
    const uint32_t directory_size = (uint32_t)(at - directory);
    put_bytes(&at, (const uint8_t *)"PK\5\6\0\0\0\0", 8);
    put(&at, (uint32_t)n, 2);
    put(&at, (uint32_t)n, 2);
    put(&at, directory_size, 4);
    put(&at, (uint32_t)(directory - data), 4);
    put(&at, 0, 2);
    return (size_t)(at - data);
}

static void change_entry(entry *e, unsigned *seed)
{
    const uint32_t what = fuzz_random(seed) % 16;
    if (what == 0) {
        e->name_size = LLVMFuzzerMutate(e->name, e->name_size, ENTRY_NAME);
    } else if (what == 1) { /* claims another size */
        e->unpacked = fuzz_random(seed) >> fuzz_random(seed) % 24;
        e->method = 8;
    } else if (what == 2) { /* deflated, in a stored block */
        const uint32_t n = (uint32_t)(e->size & 0xffff);
        uint8_t *packed = malloc((size_t)n + 5), *at = packed;
        FUZZ_CHECK(packed);
        put(&at, 1, 1);
        put(&at, n, 2);
        put(&at, ~n & 0xffff, 2);
        put_bytes(&at, e->bytes, n);
        free(e->bytes);
        e->bytes = packed;
        e->size = (size_t)n + 5;
        e->method = 8;
    } else {
        const size_t room = 2 * e->size + 64;
        uint8_t *grown = realloc(e->bytes, room);
        FUZZ_CHECK(grown);
        e->bytes = grown;
        e->size = LLVMFuzzerMutate(e->bytes, e->size, room);
        if (e->method == 0) {
            e->unpacked = (uint32_t)e->size;
            e->crc = fuzz_crc32(e->bytes, e->size);
        }
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    entry entries[ENTRIES];
    const int n = read_entries(data, size, entries);
    size_t written = 0;
    if (n > 0 && fuzz_random(&seed) % 8 > 0) {
        change_entry(&entries[fuzz_random(&seed) % (uint32_t)n], &seed);
        written = write_entries(data, room, entries, n);
    }
    for (int i = 0; i < n; i++) free(entries[i].bytes);
    return written > 0 ? written : LLVMFuzzerMutate(data, size, room);
}
