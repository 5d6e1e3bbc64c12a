#include "nets/clip_words.h"

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

/* NFC, then lower case. *out is owned by the caller; its room is for *n + 1. */
static vipo_status normalise(const char *text, size_t size, int32_t **out, size_t *n, vipo_error *error)
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
    *n = 0;
    for (size_t i = 0; i < length; i++) *n += lower(codes[i], scratch + *n);
    free(codes);
    *out = scratch;
    return VIPO_OK;
}

/* ---- words --------------------------------------------------------------------------------------- */

typedef enum word_class { SPACE, LETTER, NUMBER, OTHER } word_class;

static word_class class_of(int32_t code)
{
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return SPACE;
    default:
        /* The white space of category Cc (PropList.txt). */
        return (code >= '\t' && code <= '\r') || code == 0x85 ? SPACE : OTHER;
    }
}

/* True if codes[0..n) begins with the ASCII text. */
static bool begins(const int32_t *codes, size_t n, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        if (i == n || codes[i] != text[i]) return false;
    return true;
}

/* Length of a contraction or, with its three words, of a special token that only became one by lower case;
 * 0 for none. lengths is ended by 0. */
static size_t fixed_words(const int32_t *codes, size_t n, size_t lengths[4])
{
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    lengths[0] = lengths[1] = lengths[2] = lengths[3] = 0;
    for (size_t i = 0; i < sizeof contractions / sizeof contractions[0]; i++)
        if (begins(codes, n, contractions[i])) return lengths[0] = strlen(contractions[i]);
    const bool start = begins(codes, n, "<|startoftext|>");
    if (!start && !begins(codes, n, "<|endoftext|>")) return 0;
    lengths[0] = lengths[2] = 2;
    lengths[1] = strlen(start ? "startoftext" : "endoftext");
    return lengths[0] + lengths[1] + lengths[2];
}

/* Encodes codes[0..n) into buffer and visits it. */
static bool visit_word(const int32_t *codes, size_t n, char *buffer, vipo_clip_word_visit *visit, void *user)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += (size_t)utf8proc_encode_char(codes[i], (utf8proc_uint8_t *)buffer + bytes);
    return visit(user, buffer, bytes);
}

vipo_status vipo_clip_words(const char *text, size_t size, vipo_clip_word_visit *visit, void *user,
                            vipo_error *error)
{
    if (size == 0) return VIPO_OK;
    int32_t *codes = NULL;
    size_t n = 0;
    VIPO_TRY(normalise(text, size, &codes, &n, error));
    char *buffer = malloc(4 * n + 1);
    if (!buffer) {
        free(codes);
        return vipo_fail_memory(error, 4 * n + 1, "a text");
    }
    bool more = true;
    for (size_t i = 0; more && i < n;) {
        size_t lengths[4];
        if (fixed_words(codes + i, n - i, lengths) > 0) {
            for (int part = 0; more && lengths[part] > 0; part++) {
                more = visit_word(codes + i, lengths[part], buffer, visit, user);
                i += lengths[part];
            }
            continue;
        }
        const word_class class = class_of(codes[i]);
        size_t end = i + 1;
        if (class == LETTER || class == OTHER)
            while (end < n && class_of(codes[end]) == class) end++;
        if (class != SPACE) more = visit_word(codes + i, end - i, buffer, visit, user);
        i = end;
    }
    free(buffer);
    free(codes);
    return VIPO_OK;
}
