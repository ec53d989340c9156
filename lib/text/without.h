/* A tokenizer without some of its tokens: what would stand in a text in their place. */
#ifndef NOKEN_TEXT_WITHOUT_H
#define NOKEN_TEXT_WITHOUT_H

#include <noken/tokenizer.h>

#include "text/ids.h"

struct nki_without;

/* The tokenizer, which must outlive the result, without the tokens that banned [n_tokens] marks.
 * NULL on failure: NK_EUNSUPPORTED for WordPiece, and for BPE that writes something before or after
 * the strings of a word's units. */
struct nki_without *nki_without_new(const struct nk_tokenizer *tokenizer, const bool *banned);
void nki_without_free(struct nki_without *without);

/* Appends what the token's own string is then encoded to: the model alone is run on it, as within a
 * text, and an added token's content is encoded as a text. Nothing is appended where the other
 * tokens cannot give the string: a single byte, or a character where no bytes stand in; and for an
 * id without a token. Returns NK_OK or a negative code. For one thread at a time. */
int nki_without_pieces(struct nki_without *without, size_t id, struct nki_ids *ids);

#endif
