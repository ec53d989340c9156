/* What the files of nk_top_directions share. */
#ifndef NOKEN_FORWARD_DIRECTIONS_H
#define NOKEN_FORWARD_DIRECTIONS_H

#include "forward/objective.h"

/* Origins that are at work together. */
struct nki_directions {
  const struct nk_top_options *options;
  size_t dim, vocabulary;
  size_t k, width; /* directions wanted, and iterated, of an origin */
  size_t n_each;   /* rows of the forward pass of an origin: a pair for each direction, itself */
  size_t first, n; /* origins */
  const float *x;  /* [n, dim] */
  double *step;    /* [n] lengths of the differences */
  double *v;       /* [n, width, dim] orthonormal */
  double *b;       /* [n, width, dim] J^T J v */
  double *gram;    /* [n, width, width] products of J v */
  float *moved;    /* [n, n_each, dim] */
  float *logits;   /* [n, n_each, vocabulary]; then J v, weighted, in the first rows of an origin */
  float *slopes;   /* [n, width, dim] */
  double *residual, *value; /* [n, width] */
};

/* b and gram += what the probe gives to J^T J v and to the products of J v (directions_products.c).
 * NK_OK or a negative code. */
int nki_directions_multiply(const struct nki_directions *block, const struct nk_probe *probe);
/* moved = the origin a step forward and back along each direction, and the origin itself. */
void nki_directions_move(const struct nki_directions *block);

#endif
