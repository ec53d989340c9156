/* WordPiece (Schuster and Nakajima 2012), as BERT has it: a word is its longest prefix that is a
 * token, then the longest token for the rest, and so on; tokens within a word begin with "##". */
#ifndef NOKEN_TEXT_WORDPIECE_H
#define NOKEN_TEXT_WORDPIECE_H

#include "text/ids.h"
#include "text/spec.h"

struct nki_wordpiece;

/* The spec must outlive it. NULL on failure. */
struct nki_wordpiece *nki_wordpiece_new(const struct nki_spec *spec);
void nki_wordpiece_free(struct nki_wordpiece *wordpiece);

/* Appends the tokens of one word; key is overwritten. */
int nki_wordpiece_encode(const struct nki_wordpiece *wordpiece, struct nk_buffer *key,
                         const char *s, size_t n, struct nki_ids *ids);

/* Removes the prefix of tokens within a word from bytes[0..*n): true where it was there. */
bool nki_wordpiece_within(const struct nki_wordpiece *wordpiece, const char **bytes, size_t *n);

#endif
