/* What the exact and the other searches for neighbours share. */
#ifndef GEOMETRY_NEIGHBOURS_H
#define GEOMETRY_NEIGHBOURS_H

#include <noken/geometry.h>
#include <stdbool.h>
#include <stddef.h>

/* Rows as they are compared: as they stand, or for the cosine scaled to length 1. */
struct nki_rows {
  const float *x; /* [n, dim] */
  size_t n, dim;
  double *scale; /* [n] 1 / length (0 for a row of zeros); NULL: as they stand */
};

struct nki_search {
  struct nki_rows base, query; /* the same when self is set */
  bool self;                   /* a row is not its own neighbour */
  size_t k;                    /* at most base.n - self */
  struct nk_knn *out;
};

/* The distance of options->metric between row i of a and row j of b, in double. */
double nki_distance(const struct nki_rows *a, size_t i, const struct nki_rows *b, size_t j);

/* out [n, stride] = the rows from `first` on (those of list, when not NULL) as they are compared,
 * less centre [dim], followed, when stride is dim + 1, by `last`, or for `last` NaN by minus half
 * of their squared length. */
void nki_prepare(const struct nki_rows *rows, const size_t *list, size_t first, size_t n,
                 const double *centre, size_t stride, float last, float *out);

/* A neighbour found: kept in order of distance, then of row. */
struct nki_neighbour {
  double distance;
  int64_t row;
};

/* Sorts found [n] and writes the first k of them as row q of out, the rest as missing. */
void nki_keep(struct nki_neighbour *found, size_t n, struct nk_knn *out, size_t q);

/* Turns what a FAISS call returned into NK_OK or a code with its message. */
int nki_faiss(int status, const char *what);

/* Fills search->out exactly. */
int nki_search_exact(struct nki_search *search);

#endif
