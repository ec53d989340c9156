/* A text as it is encoded in the middle of another, without the space that some tokenizers
 * (SentencePiece's) put before every text: it is encoded after something else, whose tokens are
 * then left out. */
#include <noken/base.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "text/tokenizer.h"

struct piece {
  const char *bytes;
  size_t n;
  int flags; /* NK_ENCODE_PLAIN or 0 */
};

/* True when the tokens' bytes, one after the other, are the text. */
static bool spells(const struct nk_tokenizer *tokenizer, const int64_t *ids, size_t n,
                   struct piece text) {
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    size_t length;
    const char *bytes = nk_tokenizer_bytes(tokenizer, (size_t)ids[i], &length);
    if (bytes == NULL || length > text.n - at || memcmp(bytes, text.bytes + at, length) != 0)
      return false;
    at += length;
  }
  return at == text.n;
}

/* Encodes text as it is encoded after `before`: true, with the tokens in *ids, when the tokens of
 * `before` stay the same and, where `exact`, the others spell the text. */
static bool encode_after(const struct nk_tokenizer *tokenizer, const char *before, bool exact,
                         struct piece text, int64_t **ids, size_t *n_ids) {
  struct nk_buffer both = {0};
  int64_t *alone = NULL, *joined = NULL;
  size_t n_alone = 0, n_joined = 0;
  bool done = false;
  nk_buffer_text(&both, before);
  nk_buffer_append(&both, text.bytes, text.n);
  if (!both.failed &&
      nk_tokenizer_encode(tokenizer, before, strlen(before), text.flags, &alone, &n_alone) ==
          NK_OK &&
      nk_tokenizer_encode(tokenizer, both.data, both.size, text.flags, &joined, &n_joined) ==
          NK_OK &&
      n_joined >= n_alone && memcmp(joined, alone, n_alone * sizeof *alone) == 0 &&
      (!exact || spells(tokenizer, joined + n_alone, n_joined - n_alone, text))) {
    memmove(joined, joined + n_alone, (n_joined - n_alone) * sizeof *joined);
    *ids = joined;
    *n_ids = n_joined - n_alone;
    joined = NULL;
    done = true;
  }
  nk_buffer_free(&both);
  nk_free(alone);
  nk_free(joined);
  return done;
}

int nki_encode_within(const struct nk_tokenizer *tokenizer, const char *bytes, size_t n, int flags,
                      int64_t **ids, size_t *n_ids) {
  static const char *const befores[] = {"\n", "a", "0", ")"};
  enum { N_BEFORES = sizeof befores / sizeof befores[0] };
  const struct piece text = {bytes, n, flags};
  int code = nk_tokenizer_encode(tokenizer, bytes, n, flags, ids, n_ids);
  if (code != NK_OK || n == 0 || spells(tokenizer, *ids, *n_ids, text)) return code;
  int64_t *better;
  for (size_t i = 0; i < (size_t)2 * N_BEFORES; i++) { /* exactly, then as it is changed */
    const char *before = befores[i % N_BEFORES];
    if (!encode_after(tokenizer, before, i < N_BEFORES, text, &better, n_ids)) continue;
    nk_free(*ids);
    *ids = better;
    return NK_OK;
  }
  return NK_OK;
}
