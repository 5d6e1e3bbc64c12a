#include "nets/clip_bpe.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_util.h"
#include "core/mapped_file.h"
#include "core/memory.h"
#include "nets/clip_words.h"

/* TOKEN_ROOM bounds a token's length in bytes, vocabulary and merges their number. */
enum { TOKEN_ROOM = 1024, MAX_VOCABULARY = 1 << 24, MAX_MERGES = 1 << 24 };

static const char begin_text[] = "<|startoftext|>", end_text[] = "<|endoftext|>";

/* A slot of the merge table: the pair (left, right) becomes `id`; lower ranks go first. */
typedef struct merge {
    int32_t left, right, id; /* left -1: empty */
    int32_t rank;
} merge;

struct vipo_clip_bpe {
    vipo_clip_words *words;
    int32_t symbol[2][256]; /* [last of its word][byte] */
    int32_t begin, end;
    int vocabulary;
    merge *merges; /* hash table with linear probing, at most half full */
    size_t mask;   /* slots - 1, slots a power of two */
};

/* ---- merge table --------------------------------------------------------------------------------- */

/* Slot of the pair, or the empty slot where it belongs. */
static merge *find_slot(const vipo_clip_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 32;
    for (size_t i = (size_t)hash & bpe->mask;; i = (i + 1) & bpe->mask) {
        merge *slot = &bpe->merges[i];
        if (slot->left < 0 || (slot->left == left && slot->right == right)) return slot;
    }
}

static const merge *find_merge(const vipo_clip_bpe *bpe, int32_t left, int32_t right)
{
    const merge *slot = find_slot(bpe, left, right);
    return slot->left < 0 ? NULL : slot;
}

/* ---- reading vocab.json and merges.txt ----------------------------------------------------------- */

static vipo_status check_vocabulary(vipo_clip_bpe *bpe, json_t *vocabulary, const char *path,
                                    vipo_error *error)
{
    const vipo_json_at at = {path, ""};
    if (!json_is_object(vocabulary))
        return vipo_fail(error, VIPO_FORMAT, "%s: expected an object of tokens and ids", path);
    unsigned char *used = calloc(MAX_VOCABULARY / 8, 1); /* a bit for each id */
    if (!used) return vipo_fail_memory(error, MAX_VOCABULARY / 8, "a vocabulary");
    vipo_status status = VIPO_OK;
    for (void *entry = json_object_iter(vocabulary); entry && status == VIPO_OK;
         entry = json_object_iter_next(vocabulary, entry)) {
        const char *token = json_object_iter_key(entry);
        int id = 0;
        status = vipo_json_int(vocabulary, at, token, true, 0, MAX_VOCABULARY - 1, &id, error);
        if (status != VIPO_OK) break;
        if (used[id / 8] >> (id % 8) & 1)
            status = vipo_fail(error, VIPO_FORMAT, "%s: token \"%.64s\" has id %d, which another token has",
                               path, token, id);
        used[id / 8] |= (unsigned char)(1U << (id % 8));
        if (id >= bpe->vocabulary) bpe->vocabulary = id + 1;
    }
    free(used);
    return status;
}

/* The printable stand-in of a byte (the byte-level alphabet of GPT-2): printable Latin-1 bytes stand for
 * themselves, the other 68 for U+0100.. in their order. Always U+0021..U+0143. */
static unsigned stand_in(unsigned byte)
{
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (printable) return byte;
    if (byte <= ' ') return 0x100 + byte;
    return byte == 0xad ? 0x143 : 0x121 + byte - 0x7f;
}

static vipo_status read_symbols(vipo_clip_bpe *bpe, const json_t *vocabulary, const char *path,
                                vipo_error *error)
{
    const vipo_json_at at = {path, ""};
    for (unsigned byte = 0; byte < 256; byte++) {
        const unsigned code = stand_in(byte);
        for (int last = 0; last < 2; last++) {
            char token[8] = {0}, *end = token;
            if (code >= 0x80) *end++ = (char)(0xc0 | code >> 6);
            *end++ = (char)(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
            if (last) memcpy(end, "</w>", 4);
            VIPO_TRY(vipo_json_int(vocabulary, at, token, true, 0, INT_MAX, &bpe->symbol[last][byte], error));
        }
    }
    VIPO_TRY(vipo_json_int(vocabulary, at, begin_text, true, 0, INT_MAX, &bpe->begin, error));
    return vipo_json_int(vocabulary, at, end_text, true, 0, INT_MAX, &bpe->end, error);
}

/* One line of merges.txt, without its newline: left, space, right. */
static vipo_status read_merge(vipo_clip_bpe *bpe, const json_t *vocabulary, const char *line, size_t length,
                              int32_t rank, const char *place, vipo_error *error)
{
    const char *space = memchr(line, ' ', length);
    const size_t left_size = space ? (size_t)(space - line) : 0;
    const size_t right_size = space ? length - left_size - 1 : 0;
    if (left_size == 0 || right_size == 0 || length >= TOKEN_ROOM || memchr(space + 1, ' ', right_size) ||
        memchr(line, '\0', length))
        return vipo_fail(error, VIPO_FORMAT,
                         "%s: expected two tokens and a space between them, found \"%.*s\"", place,
                         (int)(length < 64 ? length : 64), line);

    char tokens[3][TOKEN_ROOM] = {{0}}; /* left, right, joined */
    int ids[3] = {0};
    memcpy(tokens[0], line, left_size);
    memcpy(tokens[1], space + 1, right_size);
    memcpy(tokens[2], line, left_size);
    memcpy(tokens[2] + left_size, space + 1, right_size);
    for (int i = 0; i < 3; i++) {
        const json_t *id = json_object_get(vocabulary, tokens[i]);
        if (!id)
            return vipo_fail(error, VIPO_FORMAT, "%s: \"%.64s\" is not in the vocabulary", place, tokens[i]);
        ids[i] = (int)json_integer_value(id); /* checked by check_vocabulary */
    }
    merge *slot = find_slot(bpe, ids[0], ids[1]);
    if (slot->left >= 0) return vipo_fail(error, VIPO_FORMAT, "%s: this merge was given before", place);
    *slot = (merge){.left = ids[0], .right = ids[1], .id = ids[2], .rank = rank};
    return VIPO_OK;
}

/* End of the line at `at`. */
static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline : end;
}

static vipo_status read_merges(vipo_clip_bpe *bpe, const json_t *vocabulary, const vipo_mapped_file *file,
                               const char *path, vipo_error *error)
{
    const char *first = file->size ? (const char *)file->data : "", *end = first + file->size;
    size_t lines = 1;
    for (const char *p = first; p < end; p++) lines += *p == '\n';
    if (lines > MAX_MERGES)
        return vipo_fail(error, VIPO_FORMAT, "%s: %zu lines, expected at most %d", path, lines,
                         (int)MAX_MERGES);
    size_t slots = 2;
    while (slots < 2 * lines) slots *= 2;
    bpe->merges = malloc(slots * sizeof *bpe->merges);
    if (!bpe->merges) return vipo_fail_memory(error, slots * sizeof *bpe->merges, "merges");
    bpe->mask = slots - 1;
    for (size_t i = 0; i < slots; i++) bpe->merges[i].left = -1;

    static const char version[] = "#version";
    int32_t rank = 0;
    size_t number = 1;
    for (const char *line = first; line < end; number++) {
        const char *newline = line_end(line, end);
        size_t length = (size_t)(newline - line);
        if (length > 0 && line[length - 1] == '\r') length--;
        const bool skipped = length == 0 || (number == 1 && length >= sizeof version - 1 &&
                                             memcmp(line, version, sizeof version - 1) == 0);
        if (!skipped) {
            char place[400];
            snprintf(place, sizeof place, "%.360s: line %zu", path, number);
            VIPO_TRY(read_merge(bpe, vocabulary, line, length, rank++, place, error));
        }
        line = newline < end ? newline + 1 : end;
    }
    return VIPO_OK;
}

vipo_status vipo_clip_bpe_open(vipo_clip_bpe **out, const char *vocab_path, const char *merges_path,
                               vipo_error *error)
{
    *out = NULL;
    json_t *vocabulary = NULL;
    vipo_mapped_file merges = {0};
    vipo_status status = VIPO_OK;
    vipo_clip_bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe) return vipo_fail_memory(error, sizeof *bpe, "a tokenizer");
    VIPO_TRY_GOTO(vipo_clip_words_open(&bpe->words, error), done);
    VIPO_TRY_GOTO(vipo_json_load(&vocabulary, vocab_path, error), done);
    VIPO_TRY_GOTO(check_vocabulary(bpe, vocabulary, vocab_path, error), done);
    VIPO_TRY_GOTO(read_symbols(bpe, vocabulary, vocab_path, error), done);
    VIPO_TRY_GOTO(vipo_mapped_file_open(&merges, merges_path, error), done);
    VIPO_TRY_GOTO(read_merges(bpe, vocabulary, &merges, merges_path, error), done);
    *out = bpe;
    bpe = NULL;
done:
    vipo_mapped_file_close(&merges);
    json_decref(vocabulary);
    vipo_clip_bpe_close(&bpe);
    return status;
}

void vipo_clip_bpe_close(vipo_clip_bpe **bpe)
{
    if (!*bpe) return;
    vipo_clip_words_close(&(*bpe)->words);
    free((*bpe)->merges);
    free(*bpe);
    *bpe = NULL;
}

int vipo_clip_bpe_vocabulary(const vipo_clip_bpe *bpe)
{
    return bpe->vocabulary;
}

int32_t vipo_clip_bpe_begin(const vipo_clip_bpe *bpe)
{
    return bpe->begin;
}

int32_t vipo_clip_bpe_end(const vipo_clip_bpe *bpe)
{
    return bpe->end;
}

/* ---- one word ------------------------------------------------------------------------------------ */

/* A list of the word's symbols; id -1: merged into its left neighbour. Links are -1 at the ends. */
typedef struct symbol {
    int32_t id, previous, next;
} symbol;

/* A merge that was possible at `position` when it was queued. */
typedef struct candidate {
    int32_t rank, position, id;
} candidate;

/* What one call of encode needs. */
struct scratch {
    const vipo_clip_bpe *bpe;
    symbol *symbols;
    candidate *heap; /* smallest (rank, position) first */
    size_t queued, room;
    int32_t *ids; /* NULL: count only */
    int capacity, limit, count;
    bool full; /* more than `limit` tokens */
    vipo_status status;
    vipo_error *error;
};

static bool before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void push(struct scratch *scratch, int32_t position)
{
    const symbol *left = &scratch->symbols[position];
    if (left->next < 0) return;
    const merge *found = find_merge(scratch->bpe, left->id, scratch->symbols[left->next].id);
    if (!found) return;
    const candidate added = {.rank = found->rank, .position = position, .id = found->id};
    size_t i = scratch->queued++;
    for (; i > 0 && before(&added, &scratch->heap[(i - 1) / 2]); i = (i - 1) / 2)
        scratch->heap[i] = scratch->heap[(i - 1) / 2];
    scratch->heap[i] = added;
}

static candidate pop(struct scratch *scratch)
{
    candidate *heap = scratch->heap;
    const candidate top = heap[0], moved = heap[--scratch->queued];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= scratch->queued) break;
        if (child + 1 < scratch->queued && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &moved)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
    return top;
}

static bool reserve(struct scratch *scratch, size_t size)
{
    if (size <= scratch->room) return true;
    const size_t room = size < 64 ? 64 : size;
    free(scratch->symbols);
    free(scratch->heap);
    scratch->symbols = malloc(room * sizeof *scratch->symbols);
    /* At first a candidate for each pair; each of the size - 1 merges takes one and adds two. */
    scratch->heap = malloc(2 * room * sizeof *scratch->heap);
    scratch->room = scratch->symbols && scratch->heap ? room : 0;
    if (scratch->room) return true;
    scratch->status =
        vipo_fail_memory(scratch->error, room * (sizeof(symbol) + 2 * sizeof(candidate)), "a word");
    return false;
}

/* False if the result is full. */
static bool emit(struct scratch *scratch, int32_t id)
{
    if (scratch->limit > 0 && scratch->count == scratch->limit) {
        scratch->full = true;
        return false;
    }
    if (scratch->ids && scratch->count < scratch->capacity) scratch->ids[scratch->count] = id;
    scratch->count++;
    return true;
}

/* Merges the pair of lowest rank, of equal ones the leftmost, until there is none. n log n. */
static bool encode_word(void *user, const char *word, size_t size)
{
    struct scratch *scratch = user;
    if (!reserve(scratch, size)) return false;
    symbol *symbols = scratch->symbols;
    const int32_t n = (int32_t)size; /* <= 4 * VIPO_CLIP_TEXT_MAX */
    for (int32_t i = 0; i < n; i++)
        symbols[i] = (symbol){.id = scratch->bpe->symbol[i == n - 1][(unsigned char)word[i]],
                              .previous = i - 1,
                              .next = i + 1 < n ? i + 1 : -1};
    scratch->queued = 0;
    for (int32_t i = 0; i < n; i++) push(scratch, i);
    while (scratch->queued > 0) {
        const candidate top = pop(scratch);
        symbol *left = &symbols[top.position];
        if (left->id < 0 || left->next < 0) continue;
        symbol *right = &symbols[left->next];
        const merge *now = find_merge(scratch->bpe, left->id, right->id);
        if (!now || now->id != top.id) continue; /* a neighbour has changed since */
        left->id = now->id;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0) symbols[left->next].previous = top.position;
        if (left->previous >= 0) push(scratch, left->previous);
        push(scratch, top.position);
    }
    for (int32_t i = 0; i >= 0; i = symbols[i].next)
        if (!emit(scratch, symbols[i].id)) return false;
    return true;
}

/* ---- a text -------------------------------------------------------------------------------------- */

static bool begins(const char *text, size_t size, const char *with, size_t with_size)
{
    return size >= with_size && memcmp(text, with, with_size) == 0;
}

/* The next special token's string in text[size], NULL if none; *id is its id, *length its length. */
static const char *find_special(const vipo_clip_bpe *bpe, const char *text, size_t size, int32_t *id,
                                size_t *length)
{
    const char *end = text + size;
    for (const char *at = text; (at = memchr(at, '<', (size_t)(end - at))); at++) {
        const size_t left = (size_t)(end - at);
        const bool is_begin = begins(at, left, begin_text, sizeof begin_text - 1);
        if (!is_begin && !begins(at, left, end_text, sizeof end_text - 1)) continue;
        *id = is_begin ? bpe->begin : bpe->end;
        *length = is_begin ? sizeof begin_text - 1 : sizeof end_text - 1;
        return at;
    }
    return NULL;
}

static vipo_status encode_text(struct scratch *scratch, const char *text, size_t size)
{
    while (!scratch->full) {
        int32_t id = 0;
        size_t length = 0;
        const char *special = find_special(scratch->bpe, text, size, &id, &length);
        const size_t before_it = special ? (size_t)(special - text) : size;
        VIPO_TRY(vipo_clip_words_visit(scratch->bpe->words, text, before_it, encode_word, scratch,
                                       scratch->error));
        if (scratch->status != VIPO_OK || !special) return scratch->status;
        if (!scratch->full) emit(scratch, id);
        text += before_it + length;
        size -= before_it + length;
    }
    return VIPO_OK;
}

vipo_status vipo_clip_bpe_encode(const vipo_clip_bpe *bpe, const char *text, int max_length, int32_t *ids,
                                 int capacity, int *count, bool *truncated, vipo_error *error)
{
    *count = 0;
    if (truncated) *truncated = false;
    if (max_length < 0 || max_length == 1)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "max_length %d, expected 0 (no limit) or at least 2",
                         max_length);
    const size_t size = strlen(text);
    VIPO_TRY(vipo_clip_text_check(text, size, error));

    struct scratch scratch = {.bpe = bpe, .ids = ids, .capacity = capacity, .error = error};
    scratch.limit = max_length > 0 ? max_length - 1 : 0; /* the end token needs its place */
    emit(&scratch, bpe->begin);
    const vipo_status status = encode_text(&scratch, text, size);
    free(scratch.symbols);
    free(scratch.heap);
    if (status != VIPO_OK) return status;
    scratch.limit = 0;
    emit(&scratch, bpe->end);

    if (ids && scratch.count > capacity)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "text: %d tokens, expected at most %d", scratch.count,
                         capacity);
    *count = scratch.count;
    if (truncated) *truncated = scratch.full;
    return VIPO_OK;
}
