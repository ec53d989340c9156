/* Unigram (Kudo 2018): of all ways to cut a piece into tokens, the one whose tokens' scores
 * (logarithms of probabilities) have the largest sum. */
#ifndef NOKEN_TEXT_UNIGRAM_H
#define NOKEN_TEXT_UNIGRAM_H

#include "text/ids.h"
#include "text/spec.h"

struct nki_unigram;

/* The spec must outlive it. NULL on failure. */
struct nki_unigram *nki_unigram_new(const struct nki_spec *spec);
void nki_unigram_free(struct nki_unigram *unigram);

/* The buffers of one thread. */
struct nki_unigram_work {
  struct nki_node *node; /* [n_nodes] the best tokens up to each place of the piece */
  size_t n_nodes;
  struct nki_span_ends *cut; /* [n_cuts] the tokens found, from the end */
  size_t n_cuts;
};
void nki_unigram_work_free(struct nki_unigram_work *work);

/* Appends the tokens of one piece. */
int nki_unigram_encode(const struct nki_unigram *unigram, struct nki_unigram_work *work,
                       const char *s, size_t n, struct nki_ids *ids);

#endif
