/* Tokenizers: text to token ids and back, and the bytes that each id stands for, as Hugging Face's
 * tokenizer.json or a GGUF file's vocabulary states. BPE (byte-level, with byte fallback, by
 * SentencePiece's scores) and Unigram, with their normalizers, pre-tokenizers, added tokens and
 * decoders. A component that noken does not implement is an error that names it when the tokenizer
 * is opened. An open tokenizer does not change: any number of threads may use it at once. */
#ifndef NOKEN_TOKENIZER_H
#define NOKEN_TOKENIZER_H

#include <noken/base.h>
#include <noken/model.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of Unicode whose classes of characters tokenizers use: "16.0.0". */
NK_API extern const char nk_unicode_version[];

/* ==== Opening ==== */

struct nk_tokenizer;

/* Opens a tokenizer.json, a .gguf file, a model's folder that holds a tokenizer.json (weights need
 * not be there), or a name in the local Hugging Face cache. Of a folder tokenizer_config.json is
 * read too, for the tokens around a text. NULL on failure (no such file; invalid JSON: line and
 * column; a component that is not implemented). */
NK_API struct nk_tokenizer *nk_tokenizer_open(const char *model);

/* The same for the vocabulary alone, of tokenizers too whose other components noken does not
 * implement: n_tokens, bytes, id and label work; encode, decode and categories fail. */
NK_API struct nk_tokenizer *nk_tokenizer_open_vocabulary(const char *model);

/* The model's own tokenizer: opened at the first call, freed with the model. NULL on failure, and
 * for a model of NULL. Not for several threads at once before the first call has returned. */
NK_API const struct nk_tokenizer *nk_model_tokenizer(struct nk_model *model);
NK_API void nk_tokenizer_free(struct nk_tokenizer *tokenizer);

/* ==== The vocabulary ==== */

/* One more than the largest id. */
NK_API size_t nk_tokenizer_n_tokens(const struct nk_tokenizer *tokenizer);

/* The bytes that a token stands for, not 0-terminated, and their number (n_bytes may be NULL):
 * byte-level alphabets are decoded (GPT-2's table), SentencePiece's U+2581 is a space and <0xNN> a
 * byte, in added tokens too, as nk_tokenizer_decode gives them. They live as long as the tokenizer.
 * NULL for an id without a token (no error is set). */
NK_API const char *nk_tokenizer_bytes(const struct nk_tokenizer *tokenizer, size_t id,
                                      size_t *n_bytes);

/* The id of the token that stands for these bytes (" the"), or that is written so ("<s>"). Of
 * several the one that text gives. NK_ENOTFOUND when there is none. */
NK_API int64_t nk_tokenizer_id(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n);

/* Sets the text of each row of set to its id's token, "" for ids without one. Returns NK_OK or a
 * negative code. */
NK_API int nk_tokenizer_label(const struct nk_tokenizer *tokenizer, struct nk_vectors *set);

/* ==== Encoding and decoding ==== */

enum {
  NK_ENCODE_SPECIAL = 1, /* with the begin and end tokens that the model is trained with */
  NK_ENCODE_PLAIN = 2,   /* "<|endoftext|>" in the text is text, not the special token */
  NK_ENCODE_WITHIN = 4,  /* as in the middle of a text: without the space that some tokenizers put
                          * before every text, and without begin and end tokens */
};

/* The ids of text[0..n), valid UTF-8. *ids [*n_ids] is to be freed with nk_free. Returns NK_OK or a
 * negative code (NK_EDATA: the position of the first byte that is not valid). */
NK_API int nk_tokenizer_encode(const struct nk_tokenizer *tokenizer, const char *text, size_t n,
                               int flags, int64_t **ids, size_t *n_ids);

enum {
  NK_DECODE_SKIP_SPECIAL = 1, /* special tokens give no text */
};

/* Appends the text of ids[0..n) to out. Tokens that are parts of characters give their bytes.
 * Returns NK_OK or a negative code (NK_EDATA: an id without a token). */
NK_API int nk_tokenizer_decode(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                               int flags, struct nk_buffer *out);

/* Which file decides which tokens NK_ENCODE_SPECIAL puts around a text, in words. NULL for NULL. */
NK_API const char *nk_tokenizer_around(const struct nk_tokenizer *tokenizer);

/* ==== Chats ==== */

/* How a chat model's training wrote a user's turn, and the beginning of the model's own. */
enum nk_chat {
  NK_CHAT_LLAMA3,         /* Llama 3 */
  NK_CHAT_CHATML,         /* ChatML: Qwen, SmolLM, ... */
  NK_CHAT_GEMMA,          /* Gemma 1 to 3 */
  NK_CHAT_MISTRAL,        /* Mistral, with its tokenizers V2 and V3, and V7 of SentencePiece */
  NK_CHAT_MISTRAL_TEKKEN, /* Mistral, with its tokenizers of the kind Tekken */
  NK_CHAT_PHI,            /* Phi-3 and Phi-3.5 */
  NK_N_CHATS
};

struct nk_chat_format {
  const char *name;           /* "llama3" */
  const char *before, *after; /* what goes around a user's text; the model's turn follows. The
                               * begin token that special encoding adds is not in it. */
  const char *special;        /* the special tokens in both, separated by spaces */
};
/* "llama3", "chatml", "gemma", "mistral", "mistral-tekken", "phi". */
NK_API extern const struct nk_chat_format nk_chat_formats[NK_N_CHATS];

/* The format of the chat template that the model has: chat_template.jinja or the member
 * chat_template of tokenizer_config.json in its folder, tokenizer.chat_template in a GGUF file. The
 * template is not run: the control tokens in its text decide. NULL on failure, and for a model of
 * NULL: no template (NK_ENOTFOUND), one of another format (NK_EUNSUPPORTED: the message names
 * control tokens in it) or larger than 4 MiB. */
NK_API const struct nk_chat_format *nk_model_chat_format(const struct nk_model *model);

/* ==== What is known of each token ==== */

enum nk_category {
  NK_TOKEN_OK,           /* some text gives it */
  NK_TOKEN_BYTE,         /* stands for one byte, and some text gives it */
  NK_TOKEN_PARTIAL_UTF8, /* several bytes that are not valid UTF-8: a part of characters */
  NK_TOKEN_SPECIAL,      /* marked special: only its written name gives it */
  NK_TOKEN_UNREACHABLE,  /* its text gives other tokens in every context tried */
  NK_TOKEN_UNUSED_BYTE,  /* a byte that valid UTF-8 never holds: C0, C1, F5 to FF */
  NK_TOKEN_PADDING,      /* no token has this id */
  NK_N_CATEGORIES
};

/* "ok", "byte", "partial_utf8", "special", "unreachable", "unused_byte", "padding". */
NK_API extern const char *const nk_category_names[NK_N_CATEGORIES];

/* The category of each id from 0 to n - 1, category [n]. n is the number of rows of the model's
 * matrix, which may be larger than the vocabulary. Reports progress. Returns NK_OK or a negative
 * code. */
NK_API int nk_tokenizer_categories(const struct nk_tokenizer *tokenizer, size_t n,
                                   enum nk_category *category);

/* in_others [n] = for each id from 0 to n - 1 the number of longer tokens, special ones not
 * counted, whose bytes contain its token's; first [n] = the smallest id of these, -1 where there is
 * none. 0 and -1 for ids without a token or with one of no bytes. Tokens of more than 256 bytes
 * are not searched. Reports progress. Returns NK_OK or a negative code. */
NK_API int nk_tokenizer_containing(const struct nk_tokenizer *tokenizer, size_t n,
                                   size_t *in_others, int64_t *first);

/* ==== Pruning ==== */

/* What becomes of a listed token. */
enum nk_prune_result {
  NK_PRUNE_DONE,        /* no text gives it any more */
  NK_PRUNE_UNREACHABLE, /* no merge gave it before: there is nothing to prune */
  NK_PRUNE_ADDED,       /* kept: an added token, which its written name gives */
  NK_PRUNE_UNKNOWN,     /* kept: the token for text without tokens */
  NK_PRUNE_NO_PIECES,   /* kept: no other tokens stand for its text (a byte, most characters) */
  NK_PRUNE_PART,        /* kept: token `other`, which is not pruned, is built from it */
  NK_PRUNE_NO_NAME,     /* kept: it can only be given a name that some text may hold */
  NK_PRUNE_AROUND,      /* kept: the post-processor puts it before or after every text */
};

struct nk_pruned {
  enum nk_prune_result result;
  int64_t other; /* NK_PRUNE_PART: the token built from it, else -1 */
};

struct nk_prune_options {
  const char
      *check; /* valid UTF-8 [n_check]: texts that have to be encoded as before; NULL: none */
  size_t n_check;
};

/* A tokenizer.json whose encodings never hold the listed tokens: the tokenizer's own file without
 * the merges that give them, every id and every other byte as it is. Where text gives a token
 * without a merge (Unigram, ignore_merges, a character that byte tokens can replace), the string of
 * the vocabulary is given a beginning that no text holds, which a first step of the decoder
 * removes. pruned [n] is what becomes of each of ids [n]; json is appended to. Ids past the
 * vocabulary are unreachable.
 *
 * Before it returns it reads what it made and proves: no listed token that was pruned can be
 * given; each token's text, texts of eight tokens in a row and `check` have the same ids as before
 * or, where these held a pruned token, decode to the same text after another token; every id
 * decodes as before. Returns NK_OK, NK_EUNSUPPORTED (not a tokenizer.json; WordPiece; dropout; no
 * decoder), NK_EDATA (the proof found a difference, which the message states) or another negative
 * code. options may be NULL. */
NK_API int nk_tokenizer_prune(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                              const struct nk_prune_options *options, struct nk_pruned *pruned,
                              struct nk_buffer *json);

#ifdef __cplusplus
}
#endif
#endif
