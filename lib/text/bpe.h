/* Byte-pair encoding: the units of a piece (bytes, or characters) are merged, the pair of smallest
 * rank first, the leftmost of equals (Sennrich, Haddow and Birch 2016). SentencePiece's BPE is the
 * same with ranks from its scores. */
#ifndef NOKEN_TEXT_BPE_H
#define NOKEN_TEXT_BPE_H

#include "text/ids.h"
#include "text/spec.h"

struct nki_bpe;

/* From the spec's merges and pieces; the spec must outlive it. NULL on failure (an option that is
 * not implemented: the message names it). */
struct nki_bpe *nki_bpe_new(const struct nki_spec *spec);
void nki_bpe_free(struct nki_bpe *bpe);

/* The buffers of one thread. */
struct nki_bpe_work {
  struct nki_symbol *symbol; /* [n_symbols] the units, then what they became */
  size_t n_symbols;
  struct nki_candidate *heap; /* [n_heap] pairs that may be merged */
  size_t n_heap;
  struct nk_buffer key; /* the string of a unit with prefix and suffix */
  uint32_t parts[2];    /* the two tokens that the last merge joined */
};
void nki_bpe_work_free(struct nki_bpe_work *work);

/* Appends the tokens of one piece. */
int nki_bpe_encode(const struct nki_bpe *bpe, struct nki_bpe_work *work, const char *s, size_t n,
                   struct nki_ids *ids);

/* *id = the token that the merges alone make of s[0..n), and parts [2] the tokens that the last of
 * them joins; NKI_NO_ID where they leave several tokens, or where s is one unit. */
int nki_bpe_parts(const struct nki_bpe *bpe, struct nki_bpe_work *work, const char *s, size_t n,
                  uint32_t parts[2], int64_t *id);

/* The first place after `at` where s[0..n) can be cut without changing its tokens; n when there is
 * none. */
size_t nki_bpe_cut(const struct nki_bpe *bpe, const char *s, size_t n, size_t at);

#endif
