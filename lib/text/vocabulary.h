/* The vocabulary: for each id the raw bytes that its token stands for. */
#ifndef NOKEN_TEXT_VOCABULARY_H
#define NOKEN_TEXT_VOCABULARY_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>

#include "text/spec.h"

struct nki_vocabulary;

/* NULL on failure. The spec stays the caller's and must outlive it. */
struct nki_vocabulary *nki_vocabulary_new(const struct nki_spec *spec);
void nki_vocabulary_free(struct nki_vocabulary *vocabulary);

/* One more than the largest id. */
size_t nki_vocabulary_n_tokens(const struct nki_vocabulary *vocabulary);
/* The token's bytes and their number (n_bytes may be NULL). NULL for an id without a token. */
const char *nki_vocabulary_bytes(const struct nki_vocabulary *vocabulary, size_t id,
                                 size_t *n_bytes);
/* The same for the token's string in the model or the added tokens, before the decoder. */
const char *nki_vocabulary_written(const struct nki_vocabulary *vocabulary, size_t id,
                                   size_t *n_bytes);
/* True for added tokens that are marked special ("<|endoftext|>"). */
bool nki_vocabulary_is_special(const struct nki_vocabulary *vocabulary, size_t id);
/* True for any token of added_tokens. */
bool nki_vocabulary_is_added(const struct nki_vocabulary *vocabulary, size_t id);

#endif
