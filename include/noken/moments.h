/* Mean and covariance of the rows of a matrix, in one pass over it, and what is measured from the
 * mean alone. Products are taken in float by BLAS on rows shifted by a provisional mean, so that a
 * mean far larger than the spread costs no digits; every sum over blocks of rows is in double.
 * Memory beside the matrix: 8 dim^2 bytes for the covariance (5 MB at dim = 768, 128 MiB at 4,096,
 * 2 GiB at 16,384), and 12 to 30 MiB of blocks (80 MiB at 16,384). */
#ifndef NOKEN_MOMENTS_H
#define NOKEN_MOMENTS_H

#include <noken/error.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_moments {
  size_t n; /* rows counted */
  size_t dim;
  double *mean;       /* [dim] */
  double *covariance; /* [dim, dim] symmetric, divided by n (not n - 1) */
  double fourth;      /* mean over the rows of |x - mean|^4, which nk_ledoit_wolf needs */
};

/* Moments of n rows of x, [any, dim] row-major: those that rows [n] lists, or the first n when rows
 * is NULL. NULL on failure: no rows, a row that is not finite (named), no memory, interrupted. */
struct nk_moments *nk_moments_compute(const float *x, const size_t *rows, size_t n, size_t dim);
void nk_moments_free(struct nk_moments *moments);

/* Sum of the columns' variances, the covariance's trace: 0 when all rows are the same. */
double nk_total_variance(const struct nk_moments *moments);

/* How far the covariance is to be shrunk towards (trace / dim) I, in [0, 1]: Ledoit and Wolf, "A
 * well-conditioned estimator for large-dimensional covariance matrices" (2004), Lemma 3.2 to 3.4.
 */
double nk_ledoit_wolf(const struct nk_moments *moments);

/* Means of the columns only: mean [dim]. rows as in nk_moments_compute. */
int nk_mean(const float *x, const size_t *rows, size_t n, size_t dim, double *mean);

/* Length of each row of x [n, dim], its L2 distance to centre [dim], and its cosine distance to it,
 * 1 - cos (NaN when the row or centre is zero). Each of the outputs is [n] or NULL. */
void nk_row_distances(const float *x, size_t n, size_t dim, const double *centre, double *norm,
                      double *l2, double *cosine);

/* values of the quantiles levels [n_levels] (each in [0, 1]) of sorted [n] ascending, by linear
 * interpolation between order statistics (definition 7 of Hyndman and Fan, 1996: numpy's default).
 * NaN for n = 0. */
double nk_quantile_sorted(const double *sorted, size_t n, double level);
/* Sorts values [n] ascending; NaN last. */
void nk_sort_numbers(double *values, size_t n);

#ifdef __cplusplus
}
#endif
#endif
