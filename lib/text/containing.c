/* Which tokens are within others. At each place of each token's text, the strings of the vocabulary
 * that begin there are found by a walk down the sorted vocabulary: a few steps, since most strings
 * of a language's bytes are no beginning of a token. In a vocabulary of long runs of one character
 * they are, and the steps grow with the square of a token's length: long tokens are left out. The
 * longest of known models have 128 bytes. */
#include <noken/base.h>
#include <string.h>

#include <noken/tokenizer.h>
#include "base/error.h"
#include "text/prefixes.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

struct search {
  const struct nki_vocabulary *vocabulary;
  struct nki_prefixes set; /* the tokens' bytes; value: the id */
  size_t *in_others;       /* [n] */
  int64_t *first, *last;   /* [n] the first and the last token that contains it, -1: none */
  size_t n;
};

static int build(struct search *s) {
  size_t n_entries = 0, length;
  struct nki_prefix_entry *entry = nk_alloc(s->n, sizeof *entry);
  if (entry == NULL) return NK_EMEMORY;
  for (size_t id = 0; id < s->n; id++) {
    const char *bytes = nki_vocabulary_bytes(s->vocabulary, id, &length);
    if (bytes == NULL || length == 0 || length > UINT32_MAX) continue;
    entry[n_entries++] = (struct nki_prefix_entry){bytes, (uint32_t)length, (uint32_t)id};
  }
  nki_prefixes_build(&s->set, entry, n_entries);
  return NK_OK;
}

/* Counts the token for those that it contains. Of equal strings the walk finds one. */
static void search_token(struct search *s, size_t id, const char *bytes, size_t length) {
  for (size_t at = 0; at < length; at++) {
    struct nki_prefix_walk walk = {0};
    for (size_t end = at; end < length && end - at + 1 < length; end++) {
      if (!nki_prefixes_step(&s->set, &walk, bytes[end])) break;
      int64_t found = nki_prefixes_value(&s->set, &walk);
      if (found < 0 || s->last[found] == (int64_t)id) continue;
      s->last[found] = (int64_t)id;
      if (s->in_others[found]++ == 0) s->first[found] = (int64_t)id;
    }
  }
}

/* Gives equal strings what was found for the first of them in the set. */
static void copy_to_equals(struct search *s) {
  const struct nki_prefix_entry *entry = s->set.entry;
  for (size_t i = 1; i < s->set.n; i++) {
    if (entry[i].length != entry[i - 1].length ||
        memcmp(entry[i].bytes, entry[i - 1].bytes, entry[i].length) != 0)
      continue;
    s->in_others[entry[i].value] = s->in_others[entry[i - 1].value];
    s->first[entry[i].value] = s->first[entry[i - 1].value];
  }
}

int nk_tokenizer_containing(const struct nk_tokenizer *tokenizer, size_t n, size_t *in_others,
                            int64_t *first) {
  enum { BLOCK = 16384, MAX_LENGTH = 256 };
  if (tokenizer == NULL) return nki_fail_null();
  struct search s = {.vocabulary = tokenizer->vocabulary, .in_others = in_others, .first = first};
  size_t n_tokens = nki_vocabulary_n_tokens(s.vocabulary), length = 0;
  s.n = n < n_tokens ? n : n_tokens;
  for (size_t id = 0; id < n; id++) {
    in_others[id] = 0;
    first[id] = -1;
  }
  s.last = nk_alloc(n, sizeof *s.last);
  int code = s.last != NULL ? build(&s) : NK_EMEMORY;
  for (size_t id = 0; id < n && code == NK_OK; id++) s.last[id] = -1;
  for (size_t id = 0; id < s.n && code == NK_OK; id++) {
    const char *bytes = nki_vocabulary_bytes(s.vocabulary, id, &length);
    if (bytes != NULL && length <= MAX_LENGTH && !nki_vocabulary_is_special(s.vocabulary, id))
      search_token(&s, id, bytes, length);
    if (id % BLOCK == BLOCK - 1 || id + 1 == s.n)
      code = nk_progress("tokens within others", id + 1, s.n);
  }
  if (code == NK_OK) copy_to_equals(&s);
  nki_prefixes_free(&s.set);
  nk_free(s.last);
  return code;
}
