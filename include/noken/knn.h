/* Nearest neighbours by FAISS, and what is made of them: hubness, local outlier factors.
 *
 * The exact search is exact in the result too: FAISS proposes more candidates than are asked for by
 * float products, their distances are taken again in double, and rows whose candidates could have
 * missed one by rounding (rows in a tight ball far from the others, exact copies) are searched
 * again until none could. Equal distances are ordered by row.
 *
 * Memory: at most 400 MiB beside the rows and the result for an exact search, whatever their number
 * (FAISS takes a copy, a part at a time), and a whole copy of the rows for other indexes. */
#ifndef NOKEN_KNN_H
#define NOKEN_KNN_H

#include <noken/error.h>
#include <noken/metric.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_knn_options {
  size_t k;              /* neighbours per row, at least 1 */
  enum nk_metric metric; /* NK_METRIC_L2 or NK_METRIC_COSINE */
  const char *index;     /* a FAISS factory string ("IVF256,Flat", "HNSW32"); NULL: exact */
  const char *search;    /* FAISS search parameters ("nprobe=16", "efSearch=64"); NULL: its own */
};

struct nk_knn {
  size_t n, k;
  int64_t *rows;     /* [n, k] neighbours' row numbers, nearest first; -1 where the index of
                      * options->index found no more */
  double *distances; /* [n, k]; NaN where rows is -1 */
};

/* The k nearest among base [n_base, dim] of each row of query [n_query, dim]; with query NULL those
 * of each row of base, never itself (an exact copy of it is a neighbour at distance 0). k is cut to
 * the number of rows that there are. A row of zeros has no direction: by cosine it is at 0.5 from
 * every row that has one, and at 0 from its like. NULL on failure: no rows in base, a row that is
 * not finite, an index or parameters that FAISS does not know, interrupted. */
struct nk_knn *nk_knn_search(const float *base, size_t n_base, size_t dim, const float *query,
                             size_t n_query, const struct nk_knn_options *options);
void nk_knn_free(struct nk_knn *knn);

/* counts [n] = in how many other rows' lists each row stands. knn of a set against itself. */
void nk_hubness(const struct nk_knn *knn, int64_t *counts);

/* lof [n] = local outlier factor of each row: Breunig, Kriegel, Ng and Sander (2000), with exactly
 * k neighbours. 1 is as dense as the neighbours, larger is sparser. Copies beyond k are infinitely
 * dense: a row among them gets 1, another whose neighbours they are infinity. NaN without
 * neighbours. Returns 0 or NK_EMEMORY. */
int nk_lof(const struct nk_knn *knn, double *lof);

#ifdef __cplusplus
}
#endif
#endif
