#include "nets/clip_words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Longest canonical decomposition of one code point, in code points (Unicode: 4 in NFD). */
enum { DECOMPOSITION_MAX = 8, HANGUL_TBASE = 0x11a7, CAPITAL_I_DOT = 0x130, COMBINING_DOT = 0x307 };

static vipo_status not_utf8(vipo_error *error, size_t offset)
{
    return vipo_fail(error, VIPO_FORMAT, "text: byte %zu is not UTF-8", offset);
}

vipo_status vipo_clip_text_check(const char *text, size_t size, vipo_error *error)
{
    if (size > VIPO_CLIP_TEXT_MAX)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "text: %zu bytes, expected at most %zu", size,
                         VIPO_CLIP_TEXT_MAX);
    for (size_t i = 0; i < size;) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(size - i), &code);
        if (n <= 0) return not_utf8(error, i);
        i += (size_t)n;
    }
    return VIPO_OK;
}

/* ---- normalisation ------------------------------------------------------------------------------- */

static int combining_class(int32_t code)
{
    return utf8proc_get_property(code)->combining_class;
}

/* Canonical order: each run of combining marks is sorted by class, stably. utf8proc's own way takes
 * quadratic time on long runs; a counting sort does not. scratch has room for n. */
static void order_marks(int32_t *codes, size_t n, int32_t *scratch)
{
    size_t end;
    for (size_t first = 0; first < n; first = end + 1) {
        bool sorted = true;
        int previous = 0, class;
        for (end = first; end < n && (class = combining_class(codes[end])) != 0; end++) {
            sorted = sorted && class >= previous;
            previous = class;
        }
        if (sorted) continue;
        size_t start[257] = {0}; /* of each class */
        for (size_t i = first; i < end; i++) start[combining_class(codes[i]) + 1]++;
        for (int i = 1; i <= 256; i++) start[i] += start[i - 1];
        for (size_t i = first; i < end; i++) scratch[start[combining_class(codes[i])]++] = codes[i];
        memcpy(codes + first, scratch, (end - first) * sizeof *codes);
    }
}

/* Composes codes[0..n) in place, returns the new n. utf8proc takes U+11A7 for a trailing consonant and
 * drops it (it is the code before the first one), so the text is cut there: it composes with nothing. */
static size_t compose(int32_t *codes, size_t n)
{
    size_t written = 0;
    for (size_t first = 0; first < n;) {
        size_t end = first + 1;
        while (end < n && codes[end] != HANGUL_TBASE) end++;
        const utf8proc_ssize_t kept = utf8proc_normalize_utf32(codes + first, (utf8proc_ssize_t)(end - first),
                                                               UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        memmove(codes + written, codes + first, (size_t)kept * sizeof *codes);
        written += (size_t)kept;
        first = end;
    }
    return written;
}

/* Full lower case of one code point, without regard to its neighbours. */
static size_t lower(int32_t code, int32_t out[2])
{
    if (code == CAPITAL_I_DOT) { /* the one code point whose full mapping is longer (SpecialCasing.txt) */
        out[0] = 'i';
        out[1] = COMBINING_DOT;
        return 2;
    }
    out[0] = utf8proc_tolower(code);
    return 1;
}

/* NFC, then lower case. *out is UTF-8, owned by the caller; *out_size its bytes. */
static vipo_status normalise(const char *text, size_t size, char **out, size_t *out_size, vipo_error *error)
{
    size_t length = 0, room = size + DECOMPOSITION_MAX;
    int32_t *codes = malloc(room * sizeof *codes), *scratch = NULL;
    if (!codes) return vipo_fail_memory(error, room * sizeof *codes, "a text");
    for (size_t i = 0; i < size;) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t step =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(size - i), &code);
        if (step <= 0) {
            free(codes);
            return not_utf8(error, i);
        }
        i += (size_t)step;
        if (room - length < DECOMPOSITION_MAX) {
            room += room / 2;
            int32_t *grown = realloc(codes, room * sizeof *codes);
            if (!grown) {
                free(codes);
                return vipo_fail_memory(error, room * sizeof *codes, "a text");
            }
            codes = grown;
        }
        int boundary = 0;
        const utf8proc_ssize_t parts = utf8proc_decompose_char(code, codes + length, DECOMPOSITION_MAX,
                                                               UTF8PROC_COMPOSE | UTF8PROC_STABLE, &boundary);
        if (parts < 1 || parts > DECOMPOSITION_MAX) {
            free(codes);
            return vipo_fail(error, VIPO_INTERNAL, "text: U+%04X does not decompose", (unsigned)code);
        }
        length += (size_t)parts;
    }

    /* Lower case adds at most one code point for each. */
    scratch = malloc((2 * length + 1) * sizeof *scratch);
    if (!scratch) {
        free(codes);
        return vipo_fail_memory(error, (2 * length + 1) * sizeof *scratch, "a text");
    }
    order_marks(codes, length, scratch);
    length = compose(codes, length);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) n += lower(codes[i], scratch + n);
    free(codes);
    char *bytes = malloc(4 * n + 1);
    *out_size = 0;
    for (size_t i = 0; bytes && i < n; i++)
        *out_size += (size_t)utf8proc_encode_char(scratch[i], (utf8proc_uint8_t *)bytes + *out_size);
    free(scratch);
    *out = bytes;
    return bytes ? VIPO_OK : vipo_fail_memory(error, 4 * n + 1, "a text");
}

/* ---- words --------------------------------------------------------------------------------------- */

/* CLIP's pattern (Radford et al. 2021, simple_tokenizer.py) with three differences. White space is spelt
 * out, since PCRE2's \s takes U+180E for one and Unicode does not. Runs are possessive: nothing follows them,
 * so there is nothing to go back for. A special token that only became one by lower case is three words,
 * captured as such (a real one never gets here). */
static const char pattern[] = "(<\\|)((?:start|end)oftext)(\\|>)"
                              "|'(?:s|t|re|ve|m|ll|d)"
                              "|\\p{L}++"
                              "|\\p{N}"
                              "|[^\\p{L}\\p{N}\\p{Z}\\t-\\r\\x{85}]++";

/* CAPTURES: groups of the pattern. The limits bound the work and memory of one match from one place; the
 * pattern needs a handful of steps whatever the text, so a match that meets them is a defect. */
enum { CAPTURES = 3, MATCH_LIMIT = 10000, HEAP_LIMIT_KIB = 1024 };

struct vipo_clip_words {
    pcre2_code *code;
    pcre2_match_context *limits;
};

vipo_status vipo_clip_words_open(vipo_clip_words **out, vipo_error *error)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    *out = NULL;
    vipo_clip_words *words = calloc(1, sizeof *words);
    if (!words) return vipo_fail_memory(error, sizeof *words, "a tokenizer");
    words->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                                &offset, NULL);
    words->limits = pcre2_match_context_create(NULL);
    if (!words->code || !words->limits) {
        const bool memory = words->code || code == PCRE2_ERROR_HEAP_FAILED;
        vipo_clip_words_close(&words);
        if (memory) return vipo_fail_memory(error, sizeof pattern, "a pattern");
        return vipo_fail(
            error, VIPO_UNSUPPORTED,
            "PCRE2 refuses the tokenizer's pattern at %zu (error %d), expected a PCRE2 with Unicode", offset,
            code);
    }
    pcre2_set_match_limit(words->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(words->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(words->limits, HEAP_LIMIT_KIB);
    *out = words;
    return VIPO_OK;
}

void vipo_clip_words_close(vipo_clip_words **words)
{
    if (!*words) return;
    pcre2_match_context_free((*words)->limits);
    pcre2_code_free((*words)->code);
    free(*words);
    *words = NULL;
}

/* Visits the words of a normalised text. */
static vipo_status split(const vipo_clip_words *words, const char *text, size_t size,
                         vipo_clip_word_visit *visit, void *user, vipo_error *error)
{
    pcre2_match_data *match = pcre2_match_data_create(CAPTURES + 1, NULL);
    if (!match) return vipo_fail_memory(error, size, "a text");
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(match);
    vipo_status status = VIPO_OK;
    bool more = true;
    for (size_t at = 0; more && at < size; at = places[1]) {
        const int found =
            pcre2_match(words->code, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK, match, words->limits);
        if (found == PCRE2_ERROR_NOMATCH) break; /* white space is left */
        if (found < 1) {
            status = found == PCRE2_ERROR_NOMEMORY
                         ? vipo_fail_memory(error, size, "a text")
                         : vipo_fail(error, VIPO_INTERNAL, "text: PCRE2 error %d at byte %zu", found, at);
            break;
        }
        /* The whole match, or each of its groups. */
        for (int i = found > 1; more && i < found; i++)
            more = visit(user, text + places[2 * i], places[2 * i + 1] - places[2 * i]);
    }
    pcre2_match_data_free(match);
    return status;
}

vipo_status vipo_clip_words_visit(const vipo_clip_words *words, const char *text, size_t size,
                                  vipo_clip_word_visit *visit, void *user, vipo_error *error)
{
    if (size == 0) return VIPO_OK;
    char *normal = NULL;
    size_t normal_size = 0;
    VIPO_TRY(normalise(text, size, &normal, &normal_size, error));
    const vipo_status status = split(words, normal, normal_size, visit, user, error);
    free(normal);
    return status;
}
