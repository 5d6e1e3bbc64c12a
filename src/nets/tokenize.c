/* Public vipo_tokenize. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/clip_bpe.h"

static char *join(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

vipo_status vipo_tokenize(const char *folder, const char *text, int max_length, int32_t *ids, int capacity,
                          int *count, bool *truncated, vipo_error *error)
{
    *count = 0;
    if (truncated) *truncated = false;
    vipo_clip_bpe *bpe = NULL;
    vipo_status status = VIPO_OK;
    char *vocabulary = join(folder, "vocab.json"), *merges = join(folder, "merges.txt");
    if (!vocabulary || !merges)
        VIPO_TRY_GOTO(vipo_fail_memory(error, strlen(folder) + 12, "a file name"), done);
    VIPO_TRY_GOTO(vipo_clip_bpe_open(&bpe, vocabulary, merges, error), done);
    status = vipo_clip_bpe_encode(bpe, text, max_length, ids, capacity, count, truncated, error);
done:
    vipo_clip_bpe_close(&bpe);
    free(vocabulary);
    free(merges);
    return status;
}
