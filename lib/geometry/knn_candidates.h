/* Candidates for neighbours: the rows of the base whose float products with a query row make them
 * the nearest. */
#ifndef GEOMETRY_KNN_CANDIDATES_H
#define GEOMETRY_KNN_CANDIDATES_H

#include "geometry/neighbours.h"

#define NKI_NO_ROW SIZE_MAX

/* Rows as floats in a frame. */
struct nki_floats {
  float *rows; /* [n, dim] */
  float *half; /* [n] minus half of their squared lengths */
};

/* What is searched: rows that were prepared once. */
struct nki_base {
  struct nki_rows rows;
  enum nk_metric metric;
  double longest; /* of the rows, from the frame's centre */
  struct nki_frame frame;
  double *centre;           /* [dim] of the frame */
  size_t *order;            /* [n] in which a search takes the rows */
  struct nki_floats floats; /* the rows in that order and frame; empty where they are too many */
};

int nki_floats_new(struct nki_floats *floats, size_t n, size_t dim);
void nki_floats_free(struct nki_floats *floats);

/* Of each query row the rows of the base with the highest scores. No other row has a score above
 * the lowest of them. */
struct nki_candidates {
  size_t n, per_row; /* lists, and candidates of each */
  float *scores;     /* [n, per_row] each a heap: the lowest first */
  size_t *rows;      /* [n, per_row] of the base; NKI_NO_ROW where there are no more */
  float *least;      /* [n] the lowest score of the list, minus infinity until it is full */
};

int nki_candidates_new(struct nki_candidates *c, size_t n, size_t per_row);
void nki_candidates_free(struct nki_candidates *c);

/* Whether the list of a row does not contain the row itself: each pair of rows is then multiplied
 * once, for the lists of both. */
static inline bool nki_is_paired(const struct nki_search *s, const size_t *list) {
  return s->self && list == s->order;
}

/* Fills c with the candidates of the query rows of list [c->n] (NULL: all), as floats in the
 * frame. */
int nki_propose(const struct nki_search *s, const struct nki_frame *frame, const size_t *list,
                struct nki_candidates *c);

/* How many rows of the base nki_propose has as floats at once: all of few rows. */
size_t nki_part_of(const struct nki_rows *base);

#endif
