/* A normal distribution: mean and covariance with its Cholesky factor, for Mahalanobis distances
 * and for drawing from it. Memory: 12 dim^2 bytes (covariance and factor in double share one
 * square, a float copy of the factor for the products): 7 MB at dim = 768, 200 MB at 4,096, 3.2 GB
 * at 16,384. */
#ifndef NOKEN_GAUSSIAN_H
#define NOKEN_GAUSSIAN_H

#include <noken/moments.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nk_gaussian nk_gaussian;

/* The distribution with these moments, the covariance shrunk to
 *   (1 - shrinkage) covariance + shrinkage (trace / dim) I.
 * shrinkage in [0, 1], or negative for nk_ledoit_wolf's. The moments stay the caller's, unless
 * `take` is not 0: they are then used up (also on failure), which saves 8 dim^2 bytes. NULL on
 * failure: all rows are the same. A covariance that is singular even so (two rows; or shrinkage 0
 * asked for) gets the least of 1e-9, 1e-6 and 1e-3 of its mean variance that makes it regular added
 * to the diagonal, with a warning. */
nk_gaussian *nk_gaussian_new(struct nk_moments *moments, double shrinkage, int take);

/* The same from a mean [dim] and the lower triangle of a covariance, row by row, [dim (dim + 1) /
 * 2] (copied). NULL when it is not positive definite. */
nk_gaussian *nk_gaussian_of(const double *mean, const double *packed, size_t dim);
void nk_gaussian_free(nk_gaussian *dist);

size_t nk_gaussian_dim(const nk_gaussian *dist);
const double *nk_gaussian_mean(const nk_gaussian *dist); /* [dim] */
/* How far the covariance was shrunk (0 for nk_gaussian_of). */
double nk_gaussian_shrinkage(const nk_gaussian *dist);
/* One element of the covariance. */
double nk_gaussian_covariance(const nk_gaussian *dist, size_t row, size_t column);
/* Copies the lower triangle, row by row: packed [dim (dim + 1) / 2]. */
void nk_gaussian_packed(const nk_gaussian *dist, double *packed);

/* Mahalanobis distance of each row of x to the distribution.
 *   x    [n, dim] row-major
 *   out  [n], in units of standard deviations
 * Returns 0, or a negative code with nk_error() set (a row is not finite; interrupted). */
int nk_mahalanobis(const nk_gaussian *dist, const float *x, size_t n, float *out);
/* The same for the rows of x that rows [n] lists. */
int nk_mahalanobis_rows(const nk_gaussian *dist, const float *x, const size_t *rows, size_t n,
                        float *out);

/* out [n, dim] = the rows of x in coordinates in which the distribution is standard normal: their
 * length is the Mahalanobis distance. With `centred` not 0 the rows are differences already and the
 * mean is not subtracted. */
int nk_gaussian_whiten(const nk_gaussian *dist, const float *x, size_t n, int centred, float *out);
/* The inverse for differences: out [n, dim] = the rows of z times the transposed factor, without
 * the mean: rows of a standard normal z become differences that spread as the distribution does. z
 * may be out. */
int nk_gaussian_colour(const nk_gaussian *dist, const float *z, size_t n, float *out);
/* In double and in place, for differences from the mean [n, dim]; the last one multiplies by the
 * inverse of the covariance. Called from one thread of a parallel region they stay in it. */
void nk_gaussian_whiten_wide(const nk_gaussian *dist, double *x, size_t n);
void nk_gaussian_colour_wide(const nk_gaussian *dist, double *z, size_t n);
void nk_gaussian_precision_wide(const nk_gaussian *dist, double *x, size_t n);

#ifdef __cplusplus
}
#endif
#endif
