/* A tokenizer's two files. Input: vocab.json, a line "--", merges.txt. A '+' at the beginning stands for a vocabulary
 * with the 514 tokens that every tokenizer needs, ids 0..513; its other members follow. */
#include "fuzz.h"

#include <stdio.h>

#include "nets/clip_bpe.h"

static const char vocabulary_path[] = "fuzz:/vocab.json", merges_path[] = "fuzz:/merges.txt";

enum { NEEDED_ROOM = 1 << 14, IDS_ROOM = 256 };

/* {"!":0, ... : the 256 characters of the byte-level alphabet, alone and with </w>, begin and end. */
static size_t needed_tokens(char *text, size_t room)
{
    size_t used = 0;
    int id = 0;
    used += (size_t)snprintf(text, room, "{");
    for (int last = 0; last < 2; last++)
        for (unsigned code = 0x21; code <= 0x143; code++) {
            if ((code > 0x7e && code < 0xa1) || code == 0xad) continue;
            used += (size_t)snprintf(text + used, room - used, "\"\\u%04x%s\":%d,", code, last ? "</w>" : "",
                                     id++);
        }
    return used + (size_t)snprintf(text + used, room - used, "\"<|startoftext|>\":512,\"<|endoftext|>\":513");
}

static void make_files(const uint8_t *data, size_t size)
{
    static char needed[NEEDED_ROOM];
    static size_t needed_size;
    if (needed_size == 0) needed_size = needed_tokens(needed, sizeof needed);
    FUZZ_CHECK(needed_size < NEEDED_ROOM);

    size_t cut = 0;
    while (cut + 4 <= size && memcmp(data + cut, "\n--\n", 4) != 0) cut++;
    const bool has_merges = cut + 4 <= size;
    if (!has_merges) cut = size;
    fuzz_file(merges_path, has_merges ? data + cut + 4 : data, has_merges ? size - cut - 4 : 0);
    if (cut == 0 || data[0] != '+') {
        fuzz_file(vocabulary_path, data, cut);
        return;
    }
    char *all = malloc(needed_size + cut);
    FUZZ_CHECK(all);
    memcpy(all, needed, needed_size);
    memcpy(all + needed_size, data + 1, cut - 1);
    fuzz_file(vocabulary_path, all, needed_size + cut - 1);
    free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vipo_error error = {0};
    vipo_clip_bpe *bpe;
    make_files(data, size);
    const vipo_status status = vipo_clip_bpe_open(&bpe, vocabulary_path, merges_path, &error);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(!bpe);
    } else {
        int32_t ids[IDS_ROOM];
        int count;
        bool truncated;
        const int vocabulary = vipo_clip_bpe_vocabulary(bpe);
        FUZZ_CHECK(vocabulary >= 514);
        FUZZ_CHECK(vipo_clip_bpe_encode(bpe, "abcabab aab b\xc3\xa9 opening the door", 77, ids, IDS_ROOM,
                                        &count, &truncated, &error) == VIPO_OK);
        FUZZ_CHECK(count >= 2 && count <= 77 && !truncated);
        for (int i = 0; i < count; i++) FUZZ_CHECK(ids[i] >= 0 && ids[i] < vocabulary);
        vipo_clip_bpe_close(&bpe);
    }

    if (size % 8 > 0) { /* for speed */
        fuzz_forget_files();
        return 0;
    }

    /* The public way to the same. */
    int32_t ids[IDS_ROOM];
    int count = -1;
    error = (vipo_error){0};
    const vipo_status again = vipo_tokenize("fuzz:", "ab", 0, ids, IDS_ROOM, &count, NULL, &error);
    FUZZ_CHECK(again == status && (again == VIPO_OK) == (count > 0));
    if (again != VIPO_OK) fuzz_check_failure(again, &error);
    fuzz_forget_files();
    return 0;
}
