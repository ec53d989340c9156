/* The geometry of the rows of a matrix: moments, normal distributions, principal components,
 * nearest neighbours. */
#ifndef NOKEN_GEOMETRY_H
#define NOKEN_GEOMETRY_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Metrics ==== */

/* The ways in which distances are measured here, and their names on command lines. */

enum nk_metric {
  NK_METRIC_L2,          /* Euclidean */
  NK_METRIC_COSINE,      /* 1 - cos: 0 in the same direction, 2 in the opposite one */
  NK_METRIC_MAHALANOBIS, /* in standard deviations of a distribution */
  NK_METRIC_KNN,         /* L2 distance to the k-th nearest of a set of rows */
  NK_N_METRICS
};

/* "l2", "cosine", "mahalanobis", "knn". */
NK_API const char *nk_metric_name(enum nk_metric metric);

/* ==== Moments ==== */

/* Mean and covariance of the rows of a matrix, in one pass over it, and what is measured from the
 * mean alone. Products are taken in float by BLAS on rows shifted by a provisional mean, so that a
 * mean far larger than the spread costs no digits; every sum over blocks of rows is in double.
 * Memory beside the matrix: 8 dim^2 bytes for the covariance (5 MB at dim = 768, 128 MiB at 4,096,
 * 2 GiB at 16,384), and 12 to 30 MiB of blocks (80 MiB at 16,384). */

struct nk_moments {
  size_t n; /* rows counted */
  size_t dim;
  double *mean;       /* [dim] */
  double *covariance; /* [dim, dim] symmetric, divided by n (not n - 1) */
  double fourth;      /* mean over the rows of |x - mean|^4, which nk_ledoit_wolf needs */
};

/* Moments of n rows of x, [any, dim] row-major: those that rows [n] lists, or the first n when rows
 * is NULL. NULL on failure: no rows, a row that is not finite (named), no memory, interrupted. */
NK_API struct nk_moments *nk_moments_compute(const float *x, const size_t *rows, size_t n,
                                             size_t dim);
NK_API void nk_moments_free(struct nk_moments *moments);

/* Sum of the columns' variances, the covariance's trace: 0 when all rows are the same. */
NK_API double nk_total_variance(const struct nk_moments *moments);

/* How far the covariance is to be shrunk towards (trace / dim) I, in [0, 1]: Ledoit and Wolf, "A
 * well-conditioned estimator for large-dimensional covariance matrices" (2004), Lemma 3.2 to 3.4.
 */
NK_API double nk_ledoit_wolf(const struct nk_moments *moments);

/* Means of the columns only: mean [dim]. rows as in nk_moments_compute. */
NK_API int nk_mean(const float *x, const size_t *rows, size_t n, size_t dim, double *mean);

/* Length of each row of x [n, dim], its L2 distance to centre [dim], and its cosine distance to it,
 * 1 - cos (NaN when the row or centre is zero). Each of the outputs is [n] or NULL. */
NK_API void nk_row_distances(const float *x, size_t n, size_t dim, const double *centre,
                             double *norm, double *l2, double *cosine);

/* values of the quantiles levels [n_levels] (each in [0, 1]) of sorted [n] ascending, by linear
 * interpolation between order statistics (definition 7 of Hyndman and Fan, 1996: numpy's default).
 * NaN for n = 0. */
NK_API double nk_quantile_sorted(const double *sorted, size_t n, double level);
/* Sorts values [n] ascending; NaN last. */
NK_API void nk_sort_numbers(double *values, size_t n);

/* ==== Normal distributions ==== */

/* A normal distribution: mean and covariance with its Cholesky factor, for Mahalanobis distances
 * and for drawing from it. Memory: 12 dim^2 bytes (covariance and factor in double share one
 * square, a float copy of the factor for the products): 7 MB at dim = 768, 200 MB at 4,096, 3.2 GB
 * at 16,384. */

typedef struct nk_gaussian nk_gaussian;

/* The distribution with these moments, the covariance shrunk to
 *   (1 - shrinkage) covariance + shrinkage (trace / dim) I.
 * shrinkage in [0, 1], or negative for nk_ledoit_wolf's. The moments stay the caller's, unless
 * `take` is not 0: they are then used up (also on failure), which saves 8 dim^2 bytes. NULL on
 * failure: all rows are the same. A covariance that is singular even so (two rows; or shrinkage 0
 * asked for) gets the least of 1e-9, 1e-6 and 1e-3 of its mean variance that makes it regular added
 * to the diagonal, with a warning. */
NK_API nk_gaussian *nk_gaussian_new(struct nk_moments *moments, double shrinkage, int take);

/* The same from a mean [dim] and the lower triangle of a covariance, row by row, [dim (dim + 1) /
 * 2] (copied). NULL when it is not positive definite. */
NK_API nk_gaussian *nk_gaussian_of(const double *mean, const double *packed, size_t dim);
NK_API void nk_gaussian_free(nk_gaussian *dist);

NK_API size_t nk_gaussian_dim(const nk_gaussian *dist);
NK_API const double *nk_gaussian_mean(const nk_gaussian *dist); /* [dim] */
/* How far the covariance was shrunk (0 for nk_gaussian_of). */
NK_API double nk_gaussian_shrinkage(const nk_gaussian *dist);
/* One element of the covariance. */
NK_API double nk_gaussian_covariance(const nk_gaussian *dist, size_t row, size_t column);
/* Copies the lower triangle, row by row: packed [dim (dim + 1) / 2]. */
NK_API void nk_gaussian_packed(const nk_gaussian *dist, double *packed);

/* Mahalanobis distance of each row of x to the distribution.
 *   x    [n, dim] row-major
 *   out  [n], in units of standard deviations
 * Returns 0, or a negative code with nk_error() set (a row is not finite; interrupted). */
NK_API int nk_mahalanobis(const nk_gaussian *dist, const float *x, size_t n, float *out);
/* The same for the rows of x that rows [n] lists. */
NK_API int nk_mahalanobis_rows(const nk_gaussian *dist, const float *x, const size_t *rows,
                               size_t n, float *out);

/* out [n, dim] = the rows of x in coordinates in which the distribution is standard normal: their
 * length is the Mahalanobis distance. With `centred` not 0 the rows are differences already and the
 * mean is not subtracted. */
NK_API int nk_gaussian_whiten(const nk_gaussian *dist, const float *x, size_t n, int centred,
                              float *out);
/* The inverse for differences: out [n, dim] = the rows of z times the transposed factor, without
 * the mean: rows of a standard normal z become differences that spread as the distribution does. z
 * may be out. */
NK_API int nk_gaussian_colour(const nk_gaussian *dist, const float *z, size_t n, float *out);
/* In double and in place, for differences from the mean [n, dim]; the last one multiplies by the
 * inverse of the covariance. Called from one thread of a parallel region they stay in it. */
NK_API void nk_gaussian_whiten_wide(const nk_gaussian *dist, double *x, size_t n);
NK_API void nk_gaussian_colour_wide(const nk_gaussian *dist, double *z, size_t n);
NK_API void nk_gaussian_precision_wide(const nk_gaussian *dist, double *x, size_t n);

/* ==== Principal components ==== */

/* Principal components, from the covariance: the cost of the eigensolver does not grow with the
 * number of rows. A basis can be kept in a file (safetensors, noken.kind = basis: `mean` F64 [dim],
 * `eigenvalues` F64 [dim], `components` F32 [n_components, dim]) and applied to other sets. */

struct nk_pca {
  size_t n; /* rows it was made from */
  size_t dim;
  size_t n_components;
  double *mean;        /* [dim] */
  double *eigenvalues; /* [dim] all of them, descending, of the covariance divided by n - 1 */
  float *components;   /* [n_components, dim] unit rows; each one's entry of largest size is > 0 */
};

/* The first n_components (at most dim) principal components of a distribution with these moments.
 * `take`: as in nk_gaussian_new. Eigenvalues below the rounding of the covariance come out as
 * small numbers or 0, never negative. NULL on failure. */
NK_API struct nk_pca *nk_pca_new(struct nk_moments *moments, size_t n_components, int take);
NK_API void nk_pca_free(struct nk_pca *pca);

/* Sum of the eigenvalues: the total variance. */
NK_API double nk_pca_total_variance(const struct nk_pca *pca);
/* (sum l)^2 / sum l^2: how many equal eigenvalues would spread as much. 0 without variance. */
NK_API double nk_pca_participation_ratio(const struct nk_pca *pca);
/* exp of the entropy of l / sum l: Roy and Vetterli, "The effective rank" (2007). */
NK_API double nk_pca_effective_rank(const struct nk_pca *pca);

/* Scores of n rows x [n, dim] on the first `count` components: out [n, count]. With whiten each is
 * divided by the component's standard deviation; a component without variance (below 1e-7 of the
 * first) is then refused. */
NK_API int nk_pca_project(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                          bool whiten, float *out);
/* out [n, dim] = the rows without the mean and without their part in the first `count` components:
 * "all but the top" of Mu and Viswanath (2018). out may be x. */
NK_API int nk_pca_remove(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                         float *out);

/* Writes the basis; does not commit the output. */
NK_API int nk_pca_write(const struct nk_pca *pca, struct nk_output *output);
/* Reads a basis, or the one that a region's file holds. NULL on failure. */
NK_API struct nk_pca *nk_pca_read(const char *path);

/* ==== Nearest neighbours ==== */

/* Nearest neighbours by FAISS, and what is made of them: hubness, local outlier factors.
 *
 * The exact search is exact in the result too: FAISS proposes more candidates than are asked for by
 * float products, their distances are taken again in double, and rows whose candidates could have
 * missed one by rounding (rows in a tight ball far from the others, exact copies) are searched
 * again until none could. Equal distances are ordered by row.
 *
 * Memory: at most 400 MiB beside the rows and the result for an exact search, whatever their number
 * (FAISS takes a copy, a part at a time), and a whole copy of the rows for other indexes. */

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
NK_API struct nk_knn *nk_knn_search(const float *base, size_t n_base, size_t dim,
                                    const float *query, size_t n_query,
                                    const struct nk_knn_options *options);
NK_API void nk_knn_free(struct nk_knn *knn);

/* counts [n] = in how many other rows' lists each row stands. knn of a set against itself. */
NK_API void nk_hubness(const struct nk_knn *knn, int64_t *counts);

/* lof [n] = local outlier factor of each row: Breunig, Kriegel, Ng and Sander (2000), with exactly
 * k neighbours. 1 is as dense as the neighbours, larger is sparser. Copies beyond k are infinitely
 * dense: a row among them gets 1, another whose neighbours they are infinity. NaN without
 * neighbours. Returns 0 or NK_EMEMORY. */
NK_API int nk_lof(const struct nk_knn *knn, double *lof);

#ifdef __cplusplus
}
#endif
#endif
