/* The first half of CLIP's tokenizer: a text becomes normalised words, in the way of the published
 * tokenizer (Hugging Face CLIPTokenizer 5.x): Unicode form NFC, lower case, split at white space into
 * contractions ('s 't 're 've 'm 'll 'd), runs of letters, single digits and runs of anything else.
 * Characters newer than the Unicode tables of either side (utf8proc and PCRE2 here; the reference orders marks
 * by Unicode 9) may give other words. */
#ifndef VIPO_NETS_CLIP_WORDS_H
#define VIPO_NETS_CLIP_WORDS_H

#include "core/status.h"

/* Longest text in bytes; it bounds the memory of a call. CLIP sees 77 tokens. */
#define VIPO_CLIP_TEXT_MAX ((size_t)1 << 20)

/* VIPO_FORMAT with the offset of the first byte that is not UTF-8; VIPO_INVALID_ARGUMENT beyond
 * VIPO_CLIP_TEXT_MAX. */
vipo_status vipo_clip_text_check(const char *text, size_t size, vipo_error *error);

/* Receives each word of a text in order: UTF-8, 1..n bytes, not terminated. False ends the walk early. */
typedef bool vipo_clip_word_visit(void *user, const char *word, size_t size);

/* The compiled pattern of words. Constant once open; may be shared by threads. */
typedef struct vipo_clip_words vipo_clip_words;

vipo_status vipo_clip_words_open(vipo_clip_words **out, vipo_error *error);
void vipo_clip_words_close(vipo_clip_words **words);

/* Calls visit for each word of text[size], which must have passed vipo_clip_text_check. An early end is
 * VIPO_OK. Time and memory grow linearly with size. */
vipo_status vipo_clip_words_visit(const vipo_clip_words *words, const char *text, size_t size,
                                  vipo_clip_word_visit *visit, void *user, vipo_error *error);

#endif
