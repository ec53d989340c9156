/* Normal distributions from within the library: beyond noken/geometry.h, their parts and their
 * coordinates. */
#ifndef GEOMETRY_GAUSSIAN_H
#define GEOMETRY_GAUSSIAN_H

#include <noken/geometry.h>
#include <stdbool.h>
#include <stddef.h>

/* Ledoit and Wolf's estimate of how far the covariance is to be shrunk towards (trace / dim) I, in
 * [0, 1]: "A well-conditioned estimator for large-dimensional covariance matrices" (2004), Lemma
 * 3.2 to 3.4. */
double nki_ledoit_wolf(const struct nk_moments *moments);

/* The distribution with a mean [dim] and the lower triangle of a covariance, row by row, [dim (dim
 * + 1) / 2] (copied). NULL when it is not positive definite. */
struct nk_gaussian *nki_gaussian_of(const double *mean, const double *packed, size_t dim);

const double *nki_gaussian_mean(const struct nk_gaussian *dist); /* [dim] */
/* One element of the covariance. */
double nki_gaussian_covariance(const struct nk_gaussian *dist, size_t row, size_t column);
/* Copies the lower triangle, row by row: packed [dim (dim + 1) / 2]. */
void nki_gaussian_packed(const struct nk_gaussian *dist, double *packed);

/* a [dim, dim] = L, on and below the diagonal, of the matrix a = L L^T of which that part is read;
 * the part above is left as it is. False when it is not positive definite. */
bool nki_cholesky(double *a, size_t dim);

/* In double and in place, on differences from the mean [n, dim]: whitening gives coordinates in
 * which the distribution is standard normal and lengths are Mahalanobis distances, colouring is its
 * inverse, and the third one multiplies by the inverse of the covariance. Gradients with respect to
 * the rows become those with respect to their whitened coordinates. Called from one thread of a
 * parallel region they stay in it. */
void nki_gaussian_whiten(const struct nk_gaussian *dist, double *x, size_t n);
void nki_gaussian_colour(const struct nk_gaussian *dist, double *z, size_t n);
void nki_gaussian_precision(const struct nk_gaussian *dist, double *x, size_t n);
void nki_gaussian_whiten_gradients(const struct nk_gaussian *dist, double *g, size_t n);

#endif
