/* Tokenizers and their vocabularies. */
#ifndef NOKEN_TOKENIZER_H
#define NOKEN_TOKENIZER_H

#include <noken/base.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== The vocabulary ==== */

/* The vocabulary of a model: for each id the raw bytes that the token stands for. Byte-level
 * alphabets are decoded (GPT-2's table), SentencePiece's U+2581 is a space and <0xNN> a byte; added
 * tokens are as written. Encoding text is tokenizer.h's. */

struct nk_vocabulary;

/* Reads tokenizer.json, or a GGUF file's vocabulary. NULL on failure (invalid JSON: line and
 * column). */
NK_API struct nk_vocabulary *nk_vocabulary_open(const char *path);
NK_API void nk_vocabulary_free(struct nk_vocabulary *vocabulary);

/* One more than the largest id. */
NK_API size_t nk_vocabulary_n_tokens(const struct nk_vocabulary *vocabulary);
/* The token's bytes, not 0-terminated, and their number. NULL for an id without a token. */
NK_API const char *nk_vocabulary_bytes(const struct nk_vocabulary *vocabulary, size_t id,
                                       size_t *n_bytes);
/* True for added tokens that are marked special ("<|endoftext|>"). */
NK_API bool nk_vocabulary_is_special(const struct nk_vocabulary *vocabulary, size_t id);
/* True for any token of added_tokens. */
NK_API bool nk_vocabulary_is_added(const struct nk_vocabulary *vocabulary, size_t id);

/* Gives each row of set the text of its id's token, the empty text to ids without one. Returns 0 or
 * a negative code. */
NK_API int nk_vocabulary_label(const struct nk_vocabulary *vocabulary, struct nk_vectors *set);

/* ==== Text to ids and back ==== */

/* A tokenizer: text to token ids and back, as Hugging Face's tokenizer.json or a GGUF file's
 * vocabulary says. BPE (byte-level, with byte fallback, by SentencePiece's scores) and Unigram,
 * with their normalizers, pre-tokenizers, added tokens and decoders. What noken does not implement
 * is refused by name when the tokenizer is opened: nothing is guessed. An open tokenizer does not
 * change: any number of threads may use it at once. */

struct nk_tokenizer;

/* Opens a tokenizer.json, a .gguf file, a model's folder that holds a tokenizer.json (weights need
 * not be there), or a name in the local Hugging Face cache. NULL on failure. */
NK_API struct nk_tokenizer *nk_tokenizer_open(const char *model);
/* The model's own tokenizer: opened at the first call, freed with the model. NULL on failure, and
 * for a model of NULL. Not for several threads at once before the first call has returned. */
NK_API const struct nk_tokenizer *nk_model_tokenizer(struct nk_model *model);
NK_API void nk_tokenizer_free(struct nk_tokenizer *tokenizer);

/* Its tokens as raw bytes; lives as long as the tokenizer. */
NK_API const struct nk_vocabulary *nk_tokenizer_vocabulary(const struct nk_tokenizer *tokenizer);

/* The id of the token that stands for these bytes (" the"), or that is written so ("<s>"). Of
 * several the one that text gives. NK_ENOTFOUND when there is none. */
NK_API int64_t nk_tokenizer_id(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n);

/* ---- Encoding and decoding ---- */

enum {
  NK_ENCODE_SPECIAL = 1, /* with the begin and end tokens that the model is trained with */
  NK_ENCODE_PLAIN = 2,   /* "<|endoftext|>" in the text is text, not the special token */
};

/* The ids of text[0..n), which has to be valid UTF-8. *ids [*n_ids] is to be freed with nk_free.
 * Returns 0 or a negative code (NK_EDATA: the byte where the text is not valid). */
NK_API int nk_tokenizer_encode(const struct nk_tokenizer *tokenizer, const char *text, size_t n,
                               int flags, int64_t **ids, size_t *n_ids);

enum {
  NK_DECODE_SKIP_SPECIAL = 1, /* special tokens leave nothing */
};

/* Appends the text of ids[0..n) to out. Tokens that are parts of characters give their bytes.
 * Returns 0 or a negative code (NK_EDATA: an id without a token). */
NK_API int nk_tokenizer_decode(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                               int flags, struct nk_buffer *out);

/* ---- What is known of each token ---- */

enum nk_category {
  NK_TOKEN_OK,           /* text gives it */
  NK_TOKEN_BYTE,         /* stands for one byte, and text gives it */
  NK_TOKEN_PARTIAL_UTF8, /* more than one byte, not valid UTF-8: a part of characters */
  NK_TOKEN_SPECIAL,      /* marked special: text does not give it */
  NK_TOKEN_UNREACHABLE,  /* its text gives other tokens, wherever it stands */
  NK_TOKEN_UNUSED_BYTE,  /* a byte that valid UTF-8 never holds: C0, C1, F5 to FF */
  NK_TOKEN_PADDING,      /* no token has this id */
  NK_N_CATEGORIES
};

/* "ok", "byte", "partial_utf8", "special", "unreachable", "unused_byte", "padding". */
NK_API const char *nk_category_name(enum nk_category category);

/* The category of each id from 0 to n - 1, category [n]. n is the rows of the model's matrix, which
 * may be more than the tokenizer has tokens. Reports progress. Returns 0 or a negative code. */
NK_API int nk_tokenizer_categories(const struct nk_tokenizer *tokenizer, size_t n,
                                   enum nk_category *category);

/* How early training the tokenizer made the token: the smallest rank of a merge that gives it
 * (BPE), or the rank of its score (SentencePiece's BPE, Unigram), 0 for the most frequent. -1 for
 * tokens that no merge makes (single units, added tokens). */
NK_API int64_t nk_tokenizer_merge_rank(const struct nk_tokenizer *tokenizer, size_t id);

#ifdef __cplusplus
}
#endif
#endif
