/* CLIP's tokenizer: byte-level byte-pair encoding with end-of-word symbols, from the two files of a Hugging
 * Face CLIP folder. Gives the ids of CLIPTokenizer (transformers 5.x). */
#ifndef VIPO_NETS_CLIP_BPE_H
#define VIPO_NETS_CLIP_BPE_H

#include "core/status.h"

/* Constant once open; may be shared by threads. */
typedef struct vipo_clip_bpe vipo_clip_bpe;

/* vocab.json: {token: id}, with the 512 byte symbols and "<|startoftext|>" and "<|endoftext|>".
 * merges.txt: "a b" in the order of their rank; a first line "#version..." is skipped. Every part and
 * result of a merge must be in the vocabulary. VIPO_IO, VIPO_FORMAT, VIPO_OUT_OF_MEMORY. */
vipo_status vipo_clip_bpe_open(vipo_clip_bpe **out, const char *vocab_path, const char *merges_path,
                               vipo_error *error);
void vipo_clip_bpe_close(vipo_clip_bpe **bpe);

/* Text -> begin token, the text's tokens, end token. The strings "<|startoftext|>" and "<|endoftext|>" in a
 * text become these tokens, as in the reference. Longer results than max_length (0: no limit, else >= 2)
 * are cut, the end token stays last and *truncated (may be NULL) is set.
 *   text      UTF-8, at most VIPO_CLIP_TEXT_MAX bytes; else VIPO_FORMAT (with the byte's offset),
 *             VIPO_INVALID_ARGUMENT
 *   ids       room for capacity, VIPO_INVALID_ARGUMENT if that is too few; NULL: only count
 *   count     number of ids */
vipo_status vipo_clip_bpe_encode(const vipo_clip_bpe *bpe, const char *text, int max_length, int32_t *ids,
                                 int capacity, int *count, bool *truncated, vipo_error *error);

int vipo_clip_bpe_vocabulary(const vipo_clip_bpe *bpe); /* largest id + 1 */
int32_t vipo_clip_bpe_begin(const vipo_clip_bpe *bpe);
int32_t vipo_clip_bpe_end(const vipo_clip_bpe *bpe);

#endif
