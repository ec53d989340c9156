/* The geometry of the rows of a matrix: moments, distances, normal distributions, principal
 * components, nearest neighbours. A function that is given NULL because the call before it failed
 * fails too and leaves that call's message. */
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

enum nk_metric {
  NK_METRIC_DEFAULT,     /* l2 for neighbours and regions, mahalanobis for nokens */
  NK_METRIC_L2,          /* Euclidean */
  NK_METRIC_COSINE,      /* 1 - cos: 0 in the same direction, 2 in the opposite one */
  NK_METRIC_MAHALANOBIS, /* in standard deviations of a distribution */
  NK_METRIC_KNN,         /* L2 distance to the k-th nearest of a set of rows */
  NK_N_METRICS
};

/* "default", "l2", "cosine", "mahalanobis", "knn". */
NK_API extern const char *const nk_metric_names[NK_N_METRICS];

/* ==== Moments and distances ==== */

/* Mean and covariance of the rows of a matrix, in one pass over it. Products are computed in float
 * by BLAS on rows shifted by a provisional mean, so that a mean far larger than the spread costs no
 * digits; every sum over blocks of rows is in double. Where an eigenvalue of the covariance comes
 * out below 1e-5 of the largest, as with massive dimensions, a second pass computes the products in
 * double too (and takes about twice the time). Memory beside the matrix: 8 dim^2 bytes for
 * the covariance (5 MB at dim = 768, 128 MiB at 4,096, 2 GiB at 16,384), and 12 to 30 MiB of blocks
 * (80 MiB at 16,384). */

struct nk_moments {
  size_t n;           /* rows counted */
  size_t n_different; /* of them, those that copy no earlier one; 0: not known */
  size_t dim;
  double *mean;          /* [dim] */
  double *covariance;    /* [dim, dim] symmetric, divided by n (not n - 1) */
  double total_variance; /* the covariance's trace: 0 when all rows are the same */
  double fourth;         /* mean over the rows of |x - mean|^4, for Ledoit and Wolf's shrinkage */
};

/* Moments of n rows of x, [any, dim] row-major: those that rows [n] lists, or the first n when rows
 * is NULL. NULL on failure: no rows, a row that is not finite (named), no memory, interrupted. */
NK_API struct nk_moments *nk_moments_compute(const float *x, const size_t *rows, size_t n,
                                             size_t dim);
NK_API void nk_moments_free(struct nk_moments *moments);

/* Means of the columns only: mean [dim]. rows as in nk_moments_compute. Returns NK_OK, or NK_EDATA
 * without rows or for a row that is not finite. */
NK_API int nk_mean(const float *x, const size_t *rows, size_t n, size_t dim, double *mean);

/* Length of each row of x [n, dim], its L2 distance to centre [dim], and its cosine distance to it,
 * 1 - cos (NaN when the row or centre is zero). Each of the outputs is [n] or NULL. */
NK_API void nk_row_distances(const float *x, size_t n, size_t dim, const double *centre,
                             double *norm, double *l2, double *cosine);

/* out [n_levels] = the quantiles levels [n_levels] (each in [0, 1]) of values [n], which it sorts
 * ascending with NaN last; NaN are not counted. Linear interpolation between order statistics
 * (definition 7 of Hyndman and Fan, 1996: numpy's default). Returns how many values were counted;
 * out is NaN for none. */
NK_API size_t nk_quantiles(double *values, size_t n, const double *levels, size_t n_levels,
                           double *out);

/* p [n] = two-sided p-values of values [n] (finite, or NaN, which has none and is not counted):
 * twice the share of the reference [n_reference] that is as small or as large, whichever is fewer;
 * at most 1. The value itself counts as one more, so that of values drawn like the reference at
 * most a share a has a p-value of at most a (conformal), and the smallest is 2 / (n_reference + 1).
 * With reference NULL the values are the reference: each counts once, and the smallest is 2 / n. A
 * value that the reference holds is counted twice, which adds at most 2 / (n_reference + 1).
 * Returns NK_OK or NK_EMEMORY. */
NK_API int nk_two_sided_p(const double *values, size_t n, const double *reference,
                          size_t n_reference, double *p);

/* ==== Normal distributions ==== */

/* A normal distribution: mean and covariance with its Cholesky factor, for Mahalanobis distances
 * and for drawing from it. Memory: 12 dim^2 bytes (covariance and factor in double share one
 * square, a float copy of the factor for the products): 7 MB at dim = 768, 200 MB at 4,096, 3.2 GB
 * at 16,384. */

struct nk_gaussian;

/* The distribution with these moments, the covariance shrunk to
 *   (1 - shrinkage) covariance + shrinkage (trace / dim) I.
 * shrinkage in [0, 1], or negative for the estimate of Ledoit and Wolf, "A well-conditioned
 * estimator for large-dimensional covariance matrices" (2004). The moments remain the caller's;
 * with `take` they are freed here (also on failure), which saves 8 dim^2 bytes. NULL on failure:
 * all rows are the same. A covariance that is singular even so (two rows; or shrinkage 0) gets the
 * least of 1e-9, 1e-6 and 1e-3 of its mean variance that makes it regular added to the diagonal,
 * with a warning. */
NK_API struct nk_gaussian *nk_gaussian_new(struct nk_moments *moments, double shrinkage, bool take);
NK_API void nk_gaussian_free(struct nk_gaussian *dist);

/* Mahalanobis distance of each row of x to the distribution.
 *   x    [n, dim] row-major
 *   out  [n], in units of standard deviations
 * Returns NK_OK, or a negative code (a row is not finite; interrupted). */
NK_API int nk_mahalanobis(const struct nk_gaussian *dist, const float *x, size_t n, float *out);

/* ==== Principal components ==== */

/* Principal components, from the covariance: the cost of the eigensolver does not grow with the
 * number of rows. A basis can be kept in a file (safetensors, noken.kind = basis: `mean` F64 [dim],
 * `eigenvalues` F64 [dim], `components` F32 [n_components, dim], and `components_f64` where there
 * is `precise`; metadata noken.rows, noken.different and noken.varying) and applied to other sets.
 */

struct nk_pca {
  size_t n; /* rows it was made from */
  size_t dim;
  size_t n_components;
  size_t n_different;  /* rows that copy no earlier one; 0: not known, n is taken */
  size_t n_varying;    /* dimensions that have variance; 0: not known, dim is taken */
  double *mean;        /* [dim] */
  double *eigenvalues; /* [dim] all of them, descending, of the covariance divided by n - 1 */
  float *components;   /* [n_components, dim] unit rows; each one's entry of largest size is > 0 */
  double *precise;     /* the same in double, where a component's variance is below 1e-6 of the
                        * first's, whose rounding would drown its scores; else NULL */
  /* The spectrum l in one number: */
  double total_variance;      /* sum l */
  double participation_ratio; /* (sum l)^2 / sum l^2: how many equal l would spread as much */
  double effective_rank;      /* exp of the entropy of l / sum l: Roy and Vetterli (2007) */
  double iso_score;           /* IsoScore of Rudman, Gillman, Rayne and Eickhoff (2022), which is
                               * (participation_ratio - 1) / (dim - 1): 1 for equal l, 0 for a
                               * single one. NaN for dim = 1 and without variance */
  double noise_edge;          /* the largest l that uncorrelated values of equal variance would give
                               * (Marchenko and Pastur 1967; their variance from the median of l, as
                               * in Gavish and Donoho 2014; the largest l of pure noise is above it
                               * in about 1 of 6 sets), of n_different rows and n_varying
                               * dimensions. NaN without variance */
  size_t n_above_noise;       /* l above noise_edge */
};

/* The first n_components (at most dim) principal components of a distribution with these moments.
 * `take`: as in nk_gaussian_new. Eigenvalues below the rounding of the covariance are small numbers
 * or 0, never negative. NULL on failure. Moments with an eigenvalue that small are computed in
 * double, so the rounding is some 1e-16 of the largest. */
NK_API struct nk_pca *nk_pca_new(struct nk_moments *moments, size_t n_components, bool take);
NK_API void nk_pca_free(struct nk_pca *pca);

/* Scores of n rows x [n, dim] on the first `count` components: out [n, count]. With whiten each is
 * divided by the component's standard deviation; NK_EUSAGE for a component without variance (below
 * what double can tell from 0: 4 max(dim, 16) 2^-52, about 1e-15 dim, of the first). */
NK_API int nk_pca_project(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                          bool whiten, float *out);
/* out [n, dim] = the rows without the mean and without their part in the first `count` components:
 * "all but the top" of Mu and Viswanath (2018). out may be x. */
NK_API int nk_pca_remove(const struct nk_pca *pca, const float *x, size_t n, size_t count,
                         float *out);

/* Writes the basis; does not commit the output. */
NK_API int nk_pca_write(const struct nk_pca *pca, struct nk_output *output);
/* Reads a basis, or the one of a region's file. NULL on failure. */
NK_API struct nk_pca *nk_pca_read(const char *path);

/* ==== Nearest neighbours ==== */

/* Nearest neighbours, and what is computed from them: hubness, local outlier factors.
 *
 * The exact search gives what comparing every pair in double gives: float products propose
 * candidates, their distances are computed in double, and every row that the error bound of those
 * products does not exclude is compared in double too. Equal distances are ordered by row. Rows may
 * have any lengths. Of a set with itself each pair is multiplied once. Other indexes are FAISS's.
 *
 * Memory beside the rows and the result: for an exact search at most 400 MiB (a copy is made a part
 * at a time) and 12 bytes for each neighbour of k + 4; for other indexes a copy of the rows. */

struct nk_knn_options {
  size_t k;              /* neighbours per row; 0: 10 */
  enum nk_metric metric; /* NK_METRIC_L2 (default) or NK_METRIC_COSINE */
  const char *index;     /* a FAISS factory string ("IVF256,Flat", "HNSW32"); NULL: exact */
  const char *search;    /* FAISS search parameters ("nprobe=16", "efSearch=64"); NULL: its own */
  const size_t *rows;    /* [n_rows] numbers of the only rows to search for; NULL: all */
  size_t n_rows;
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
 * every row that has one, and at 0 from another row of zeros. options NULL: all defaults. With
 * options->rows the result has n_rows lists, in their order. NULL on failure: no rows in base, a
 * row that is not finite, a number of a row that is not there, an index or parameters unknown to
 * FAISS, interrupted. */
NK_API struct nk_knn *nk_knn_search(const float *base, size_t n_base, size_t dim,
                                    const float *query, size_t n_query,
                                    const struct nk_knn_options *options);
NK_API void nk_knn_free(struct nk_knn *knn);

/* counts [n] = the number of other rows' lists that contain each row. knn of all rows of a set
 * against itself. */
NK_API void nk_hubness(const struct nk_knn *knn, int64_t *counts);

/* lof [n] = local outlier factor of each row: Breunig, Kriegel, Ng and Sander (2000), with exactly
 * k neighbours, of the same. 1 is as dense as the neighbours, larger is sparser. Copies beyond k
 * are infinitely dense: a row among them gets 1, another whose neighbours they are infinity. NaN
 * without neighbours. Returns NK_OK or NK_EMEMORY. */
NK_API int nk_lof(const struct nk_knn *knn, double *lof);

/* ==== Intrinsic dimension ==== */

/* The dimension of the manifold near which rows lie, by TwoNN: Facco, d'Errico, Rodriguez and Laio,
 * "Estimating the intrinsic dimension of datasets by a minimal neighborhood information" (2017). It
 * reads the ratios of the distances to the second and the first neighbour, the largest tenth
 * censored. The interval is that of the estimate's chance, with rows' dependence on their
 * neighbours; it does not hold the bias of about 4 dimensions and more, which are estimated too
 * small because neighbours are no longer near (cubes of 5 and 20 dimensions and 5,000 rows give
 * 4.67 and 15.5). */
struct nk_dimension {
  double estimate, low, high; /* with its 95% interval. NaN for fewer than 3 different rows, and
                               * where all ratios are 1 (a grid) */
  size_t n_rows;              /* rows whose neighbours were searched */
  size_t n_copies;            /* rows left out, since an earlier row has the same values */
};

/* The dimension of the rows of x [n, dim]. The neighbours, among all rows, of at most `most` evenly
 * spaced ones are searched (0: 5,000, which gives a standard error of 1.5%), exactly. Memory beside
 * the search's: a copy of the rows where some are copies, and of those that are used. Returns
 * NK_OK, or a negative code (a row is not finite; interrupted). */
NK_API int nk_intrinsic_dimension(const float *x, size_t n, size_t dim, size_t most,
                                  struct nk_dimension *out);

#ifdef __cplusplus
}
#endif
#endif
