/* Attention's chunks and the probabilities in them, for its output (attention.c) and its gradient
 * (backward_attention.c). */
#ifndef NOKEN_FORWARD_ATTENTION_H
#define NOKEN_FORWARD_ATTENTION_H

#include "forward/internal.h"

enum {
  NKI_CHUNK = 128,   /* queries */
  NKI_FEW_KEYS = 64, /* of the prefix or a sequence, up to here: the small loops */
};

/* Queries [row, row + n_rows), of views [view, view + n_views), whose rows of q are consecutive. A
 * view that is longer than a chunk is cut into chunks of its own. */
struct nki_chunk {
  size_t row, n_rows;
  size_t view, n_views;
  size_t n_prefix;
  size_t own; /* the most own keys that a query of it sees */
};

struct nki_scratch {
  float *scores; /* [n_rows, width] */
  float *packed; /* [head_dim, NKI_FEW_KEYS] */
  size_t width;  /* of a row of scores: prefix, then own keys, a multiple of 16 */
};

/* All views cut into *n chunks, and *width = that of the widest one's scores. For nk_free; NULL:
 * NK_EMEMORY. */
struct nki_chunk *nki_attention_cut(const struct nki_attention *attention, size_t *n,
                                    size_t *width);
/* Floats of a row of the chunk's scores. */
size_t nki_chunk_width(const struct nki_chunk *chunk);
/* The own keys of one view for one head, and the chunk's queries that see them. */
struct nki_keys nki_attention_own(const struct nki_attention *attention,
                                  const struct nki_chunk *chunk, size_t view, size_t head,
                                  const struct nki_scratch *scratch);
/* The prefix's keys for one head, and the chunk's queries. */
struct nki_keys nki_attention_prefix(const struct nki_attention *attention,
                                     const struct nki_chunk *chunk, size_t head,
                                     const struct nki_scratch *scratch);
/* scores = q k^T of the prefix's keys and each view's own, or with `values` q v^T. */
void nki_attention_scores(const struct nki_attention *attention, const struct nki_chunk *chunk,
                          size_t head, bool values, const struct nki_scratch *scratch);
/* keys->out = (with `add`: +=) keys->scores keys->v. */
void nki_attention_sums(const struct nki_keys *keys, bool add);
/* Scores become probabilities. Each query sees the keys up to its own position and within the
 * window; the rest of its row becomes 0. */
void nki_attention_normalize(const struct nki_attention *attention, const struct nki_chunk *chunk,
                             size_t head, const struct nki_scratch *scratch);

#endif
