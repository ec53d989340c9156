/* An open tokenizer, and the state of one thread that encodes with it. */
#ifndef NOKEN_TEXT_TOKENIZER_H
#define NOKEN_TEXT_TOKENIZER_H

#include <noken/tokenizer.h>
#include <pthread.h>

#include "text/added.h"
#include "text/bpe.h"
#include "text/cache.h"
#include "text/decoder.h"
#include "text/pretokenizer.h"
#include "text/unigram.h"
#include "text/vocabulary.h"
#include "text/wordpiece.h"

/* Buffers and the cache of one thread. */
struct nki_encoder {
  struct nki_encoder *next; /* in the pool */
  struct nki_match *match;
  struct nki_normalizing normalizing;
  struct nki_splitting splitting;
  struct nki_bpe_work bpe;
  struct nki_unigram_work unigram;
  struct nk_buffer wordpiece; /* a key */
  struct nki_cached *cache;
};

struct nk_tokenizer {
  struct nki_spec *spec;
  struct nki_vocabulary *vocabulary;
  bool encodes; /* false when only the vocabulary was opened: the rest is not set */
  struct nki_normalizer *normalizer;
  struct nki_pretokenizer *pretokenizer;
  nki_split_fast *fast; /* does all of the pre-tokenizer's work, or NULL */
  struct nki_bpe *bpe;  /* one of these three */
  struct nki_unigram *unigram;
  struct nki_wordpiece *wordpiece;
  struct nki_decoder *decoder;
  struct nki_added_set added;            /* found in the text as it is given */
  struct nki_added_set added_normalized; /* found after the normalizer */
  struct nki_ids before, after;          /* the tokens around a text */
  int64_t *rank;                         /* [n_tokens] nki_tokenizer_merge_rank */
  struct nki_pool {
    pthread_mutex_t lock;
    struct nki_encoder *idle;
  } * pool;
};

/* NK_OK, or a negative code for NULL and for a tokenizer that was opened for its vocabulary only.
 */
int nki_tokenizer_check_encodes(const struct nk_tokenizer *tokenizer);

/* A tokenizer from a tokenizer.json in memory, which it does not keep, without the files beside it.
 * NULL on failure. */
struct nk_tokenizer *nki_tokenizer_parse(const struct nk_file *file);

/* How early the tokenizer's own training made the token: the smallest rank of a merge that gives it
 * (BPE), or the rank of its score (SentencePiece's BPE, Unigram), 0 for the most frequent. -1 for
 * tokens that no merge makes (single units, added tokens). */
int64_t nki_tokenizer_merge_rank(const struct nk_tokenizer *tokenizer, size_t id);

struct nki_pool *nki_pool_new(void);
void nki_pool_free(struct nki_pool *pool);
/* Takes an idle encoder, or makes one; NULL when out of memory. Return it with nki_encoder_return.
 */
struct nki_encoder *nki_encoder_borrow(const struct nk_tokenizer *tokenizer);
void nki_encoder_return(const struct nk_tokenizer *tokenizer, struct nki_encoder *encoder);

/* Appends the ids of text[0..n), without the tokens around it. */
int nki_encode(const struct nk_tokenizer *tokenizer, struct nki_encoder *encoder, const char *text,
               size_t n, int flags, struct nki_ids *ids);

/* nk_tokenizer_encode with NK_ENCODE_WITHIN and these other flags (within.c). Where no tokens spell
 * the text, a normalizer changed it, or a special token took the white space after it: the tokens
 * are those of the changed text. */
int nki_encode_within(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n, int flags,
                      int64_t **ids, size_t *n_ids);

/* Reads the post-processor: the tokens before and after a text (post_processor.c). */
int nki_post_processor_read(const struct nki_spec *spec, struct nki_ids *before,
                            struct nki_ids *after);

#endif
