/* The normalizer of tokenizer.json, which changes a text before it is split. */
#ifndef NOKEN_TEXT_NORMALIZER_H
#define NOKEN_TEXT_NORMALIZER_H

#include "text/pattern.h"
#include "text/spec.h"

struct nki_normalizer;

/* The spec's normalizer. NULL on failure (a step that is not implemented: the message names it). */
struct nki_normalizer *nki_normalizer_new(const struct nki_spec *spec);
void nki_normalizer_free(struct nki_normalizer *normalizer);

/* The buffers of one thread, two of which the steps write in turn. */
struct nki_normalizing {
  struct nk_buffer buffer[2];
  int32_t *codes; /* [capacity] */
  size_t capacity;
};
void nki_normalizing_free(struct nki_normalizing *work);

/* Normalizes s[0..n), valid UTF-8. *out [*n_out] is s itself, where nothing changes, or a buffer of
 * work, valid until the next call. */
int nki_normalize(const struct nki_normalizer *normalizer, struct nki_normalizing *work,
                  struct nki_match *match, const char *s, size_t n, const char **out,
                  size_t *n_out);

#endif
