/* The added tokens, which are looked for in a text before the model sees it. */
#ifndef NOKEN_TEXT_ADDED_H
#define NOKEN_TEXT_ADDED_H

#include "text/normalizer.h"
#include "text/prefixes.h"
#include "text/spec.h"

struct nki_added_set {
  const struct nki_added *added; /* the spec's */
  struct nki_prefixes prefixes;
  struct nk_buffer bytes; /* what is looked for */
};

/* The set of the spec's tokens that are looked for before (normalized false) or after the
 * normalizer (true: their contents go through it too). */
int nki_added_build(struct nki_added_set *set, const struct nki_spec *spec, bool normalized,
                    const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                    struct nki_match *match);
void nki_added_free(struct nki_added_set *set);

struct nki_hit {
  size_t begin, end; /* what it takes of the text, with white space where the token wants it */
  size_t next;       /* where to look for the next */
  int64_t id;
};

/* The first token in s[0..n) from `at`, the longest of those that begin there; text before `taken`
 * belongs to the one before. plain: special tokens are passed over. False when there is none. */
bool nki_added_find(const struct nki_added_set *set, const char *s, size_t n, size_t at,
                    size_t taken, bool plain, struct nki_hit *hit);

#endif
