/* The vocabulary of a model: for each id the raw bytes that the token stands for. Byte-level
 * alphabets are decoded (GPT-2's table), SentencePiece's U+2581 is a space and <0xNN> a byte; added
 * tokens are as written. Encoding text is tokenizer.h's. */
#ifndef NOKEN_VOCABULARY_H
#define NOKEN_VOCABULARY_H

#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_vocabulary;

/* Reads tokenizer.json, or a GGUF file's vocabulary. NULL on failure (invalid JSON: line and
 * column). */
struct nk_vocabulary *nk_vocabulary_open(const char *path);
void nk_vocabulary_free(struct nk_vocabulary *vocabulary);

/* One more than the largest id. */
size_t nk_vocabulary_size(const struct nk_vocabulary *vocabulary);
/* The token's bytes, not 0-terminated, and their number. NULL for an id without a token. */
const char *nk_vocabulary_bytes(const struct nk_vocabulary *vocabulary, size_t id, size_t *n_bytes);
/* True for added tokens that are marked special ("<|endoftext|>"). */
bool nk_vocabulary_is_special(const struct nk_vocabulary *vocabulary, size_t id);
/* True for any token of added_tokens. */
bool nk_vocabulary_is_added(const struct nk_vocabulary *vocabulary, size_t id);

/* Gives each row of set the text of its id's token, the empty text to ids without one. Returns 0 or
 * a negative code. */
int nk_vocabulary_label(const struct nk_vocabulary *vocabulary, struct nk_vectors *set);

#ifdef __cplusplus
}
#endif
#endif
