/* Texts through CLIP's tokenizer with the shipped model's vocabulary, against a second encoder that is too simple to
 * be wrong: merge the leftmost pair of lowest rank until there is none. */
#include "fuzz.h"

#include <jansson.h>
#include <stdio.h>

#include "nets/clip_bpe.h"
#include "nets/clip_words.h"

#define VOCABULARY VIPO_SOURCE_DIR "/models/metaworld-64/vocab.json"
#define MERGES     VIPO_SOURCE_DIR "/models/metaworld-64/merges.txt"

enum { MERGES_ROOM = 1024, WORD_ROOM = 64, IDS_ROOM = 4096 };

static struct {
    vipo_clip_bpe *bpe;
    vipo_clip_words *words;
    json_t *vocabulary;
    int merges[MERGES_ROOM][3]; /* left, right, joined; by rank */
    int n_merges;
} tokenizer;

static int id_of(const char *token)
{
    const json_t *id = json_object_get(tokenizer.vocabulary, token);
    FUZZ_CHECK(id);
    return (int)json_integer_value(id);
}

static void open_tokenizer(void)
{
    vipo_error error = {0};
    char line[256], left[128], right[128], joined[256];
    FUZZ_CHECK(vipo_clip_bpe_open(&tokenizer.bpe, VOCABULARY, MERGES, &error) == VIPO_OK);
    FUZZ_CHECK(vipo_clip_words_open(&tokenizer.words, &error) == VIPO_OK);
    tokenizer.vocabulary = json_load_file(VOCABULARY, 0, NULL);
    FILE *file = fopen(MERGES, "r");
    FUZZ_CHECK(tokenizer.vocabulary && file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || sscanf(line, "%127s %127s", left, right) != 2) continue;
        FUZZ_CHECK(tokenizer.n_merges < MERGES_ROOM);
        snprintf(joined, sizeof joined, "%s%s", left, right);
        int *merge = tokenizer.merges[tokenizer.n_merges++];
        merge[0] = id_of(left);
        merge[1] = id_of(right);
        merge[2] = id_of(joined);
    }
    fclose(file);
}

static int rank_of(int left, int right)
{
    for (int i = 0; i < tokenizer.n_merges; i++)
        if (tokenizer.merges[i][0] == left && tokenizer.merges[i][1] == right) return i;
    return tokenizer.n_merges;
}

/* A byte's token: itself, or for what cannot be printed the next of U+0100, U+0101, ... */
static int byte_id(unsigned byte, bool last)
{
    unsigned code = byte, next = 0x100;
    for (unsigned b = 0; b <= byte; b++) {
        const bool printable = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        code = printable ? b : next;
        next += !printable;
    }
    char token[8] = {0}, *end = token;
    if (code >= 0x80) *end++ = (char)(0xc0 | code >> 6);
    *end++ = (char)(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
    if (last) memcpy(end, "</w>", 4);
    return id_of(token);
}

/* What the words of a text should give, compared with ids as they come. */
typedef struct comparison {
    const int32_t *ids;
    int at, count;
    bool skipped; /* a word was too long to check: ids do not line up any more */
} comparison;

static bool compare_word(void *user, const char *word, size_t size)
{
    comparison *c = user;
    int ids[WORD_ROOM], n = (int)size;
    c->skipped = c->skipped || size > WORD_ROOM;
    if (c->skipped) return false;
    for (int i = 0; i < n; i++) ids[i] = byte_id((unsigned char)word[i], i == n - 1);
    for (;;) {
        int best = tokenizer.n_merges, place = 0;
        for (int i = 0; i + 1 < n; i++) {
            const int rank = rank_of(ids[i], ids[i + 1]);
            if (rank < best) {
                best = rank;
                place = i;
            }
        }
        if (best == tokenizer.n_merges) break;
        ids[place] = tokenizer.merges[best][2];
        memmove(ids + place + 1, ids + place + 2, (size_t)(n - place - 2) * sizeof *ids);
        n--;
    }
    FUZZ_CHECK(c->at + n <= c->count);
    for (int i = 0; i < n; i++) FUZZ_CHECK(c->ids[c->at + i] == ids[i]);
    c->at += n;
    return true;
}

static void check_ids(const char *text, const int32_t *ids, int count)
{
    vipo_error error = {0};
    FUZZ_CHECK(count >= 2 && ids[0] == vipo_clip_bpe_begin(tokenizer.bpe) &&
               ids[count - 1] == vipo_clip_bpe_end(tokenizer.bpe));
    for (int i = 0; i < count; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < vipo_clip_bpe_vocabulary(tokenizer.bpe));
    if (strstr(text, "<|")) return; /* special tokens are no words */
    comparison c = {.ids = ids, .at = 1, .count = count - 1};
    FUZZ_CHECK(vipo_clip_words_visit(tokenizer.words, text, strlen(text), compare_word, &c, &error) ==
               VIPO_OK);
    FUZZ_CHECK(c.skipped || c.at == c.count);
}

/* Cut to `limit`: the beginning of all ids, then the end token. */
static void check_cut(const char *text, const int32_t *ids, int count, int limit)
{
    static int32_t cut[IDS_ROOM];
    vipo_error error = {0};
    int n;
    bool truncated;
    FUZZ_CHECK(vipo_clip_bpe_encode(tokenizer.bpe, text, limit, cut, IDS_ROOM, &n, &truncated, &error) ==
               VIPO_OK);
    FUZZ_CHECK(truncated == (count > limit) && n == (truncated ? limit : count));
    FUZZ_CHECK(memcmp(cut, ids, (size_t)(n - 1) * sizeof *ids) == 0 && cut[n - 1] == ids[count - 1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int32_t ids[IDS_ROOM];
    if (!tokenizer.bpe) open_tokenizer();
    vipo_error error = {0};
    char *text = fuzz_text(data, size < IDS_ROOM / 8 ? size : IDS_ROOM / 8);
    int count = -1, counted = -1;
    bool truncated = true;
    const vipo_status status =
        vipo_clip_bpe_encode(tokenizer.bpe, text, 0, ids, IDS_ROOM, &count, &truncated, &error);
    FUZZ_CHECK(vipo_clip_bpe_encode(tokenizer.bpe, text, 0, NULL, 0, &counted, NULL, &error) == status);
    FUZZ_CHECK(count == counted && !truncated);
    if (status != VIPO_OK) {
        fuzz_check_failure(status, &error);
        FUZZ_CHECK(count == 0 && vipo_clip_text_check(text, strlen(text), &error) == status);
    } else {
        check_ids(text, ids, count);
        check_cut(text, ids, count, 2 + (int)size % 80);
        check_cut(text, ids, count, count);
        FUZZ_CHECK(vipo_clip_bpe_encode(tokenizer.bpe, text, 0, ids, count - 1, &counted, NULL, &error) ==
                       VIPO_INVALID_ARGUMENT &&
                   counted == 0);
        fuzz_check_failure(VIPO_INVALID_ARGUMENT, &error);
    }
    free(text);
    return 0;
}
