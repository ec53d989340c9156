/* The pre-tokenizers that GGUF files give by name (tokenizer.ggml.pre): llama.cpp's names, each
 * with the patterns that the tokenizers of that name have in their tokenizer.json. */
#ifndef NOKEN_TEXT_GGUF_PRE_H
#define NOKEN_TEXT_GGUF_PRE_H

#include <stdbool.h>
#include <stddef.h>

enum { NKI_PRE_MAX_PATTERNS = 7 };

struct nki_gguf_pre {
  const char *name;
  /* Each cuts the pieces of those before it, into its matches and what is between them. */
  const char *const *patterns; /* NULL after the last */
  bool ignore_merges;          /* a piece that is a token is that token */
  bool add_bos;                /* when the file has no add_bos_token */
  bool nfc;                    /* text is normalized first */
  bool raw; /* tokens are text, with U+2581 for spaces and <0x00> for bytes, not byte-level */
  bool is_default;
};

/* The one of this name; NULL when there is none. */
const struct nki_gguf_pre *nki_gguf_pre_find(const char *name, size_t n);
/* The first of [*n]. */
const struct nki_gguf_pre *nki_gguf_pres(size_t *n);

#endif
