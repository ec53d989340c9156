/* The added tokens, which are found in a text before it is split. */
#ifndef NOKEN_TEXT_ADDED_H
#define NOKEN_TEXT_ADDED_H

#include "text/normalizer.h"
#include "text/prefixes.h"
#include "text/spec.h"

struct nki_added_set {
  const struct nki_added *added; /* [n_added] the spec's */
  size_t n_added;
  struct nki_prefixes prefixes;
  struct nk_buffer bytes; /* the strings to find */
};

/* The set of the spec's tokens that are found before (normalized false) or after the
 * normalizer (true: their contents are normalized too). */
int nki_added_build(struct nki_added_set *set, const struct nki_spec *spec, bool normalized,
                    const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                    struct nki_match *match);
void nki_added_free(struct nki_added_set *set);

struct nki_hit {
  size_t begin, end; /* bytes of the text, with the white space of lstrip and rstrip */
  size_t next;       /* where the search continues */
  int64_t id;
};

/* The first token in s[0..n) from `at`, the longest of those that begin there; text before `taken`
 * belongs to the previous one. plain: special tokens are skipped. False when there is none. */
bool nki_added_find(const struct nki_added_set *set, const char *s, size_t n, size_t at,
                    size_t taken, bool plain, struct nki_hit *hit);

#endif
