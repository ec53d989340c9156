/* The pre-tokenizer of tokenizer.json, which splits a text into pieces that are encoded one by one.
 */
#ifndef NOKEN_TEXT_PRETOKENIZER_H
#define NOKEN_TEXT_PRETOKENIZER_H

#include "text/pattern.h"
#include "text/spec.h"
#include "text/split_fast.h"

struct nki_pretokenizer;

/* The spec's pre-tokenizer. NULL on failure (a step that is not implemented: the message names it).
 */
struct nki_pretokenizer *nki_pretokenizer_new(const struct nki_spec *spec);
void nki_pretokenizer_free(struct nki_pretokenizer *pretokenizer);

/* The function that does all of the pre-tokenizer's work; NULL when there is none. */
nki_split_fast *nki_pretokenizer_fast(const struct nki_pretokenizer *pretokenizer);

struct nki_span {
  size_t begin, end; /* bytes of a text */
};

struct nki_spans {
  struct nki_span *span; /* [n] */
  size_t n, capacity;
};

/* The buffers of one thread: texts and their pieces, written in turn by the steps. */
struct nki_splitting {
  struct nk_buffer text[2];
  struct nki_spans spans[2];
};
void nki_splitting_free(struct nki_splitting *work);

/* A text in pieces: text[span[i].begin .. span[i].end) for i < n, none empty. */
struct nki_split {
  const char *text;
  const struct nki_span *span;
  size_t n;
};

/* Splits s[0..n), valid UTF-8. at_start: it is the beginning of the whole text. out is valid until
 * the next call with the same work. */
int nki_pretokenize(const struct nki_pretokenizer *pretokenizer, struct nki_splitting *work,
                    struct nki_match *match, const char *s, size_t n, bool at_start,
                    struct nki_split *out);

#endif
