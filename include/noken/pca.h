/* Principal components, from the covariance: the cost of the eigensolver does not grow with the
 * number of rows. A basis can be kept in a file (safetensors, noken.kind = basis: `mean` F64 [dim],
 * `eigenvalues` F64 [dim], `components` F32 [n_components, dim]) and applied to other sets. */
#ifndef NOKEN_PCA_H
#define NOKEN_PCA_H

#include <noken/file.h>
#include <noken/moments.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

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
struct nk_pca *nk_pca_new(struct nk_moments *moments, size_t n_components, int take);
void nk_pca_free(struct nk_pca *pca);

/* Sum of the eigenvalues: the total variance. */
double nk_pca_total_variance(const struct nk_pca *pca);
/* (sum l)^2 / sum l^2: how many equal eigenvalues would spread as much. 0 without variance. */
double nk_pca_participation_ratio(const struct nk_pca *pca);
/* exp of the entropy of l / sum l: Roy and Vetterli, "The effective rank" (2007). */
double nk_pca_effective_rank(const struct nk_pca *pca);

/* Scores of n rows x [n, dim] on the first `count` components: out [n, count]. With whiten each is
 * divided by the component's standard deviation; a component without variance (below 1e-7 of the
 * first) is then refused. */
int nk_pca_project(const struct nk_pca *pca, const float *x, size_t n, size_t count, bool whiten,
                   float *out);
/* out [n, dim] = the rows without the mean and without their part in the first `count` components:
 * "all but the top" of Mu and Viswanath (2018). out may be x. */
int nk_pca_remove(const struct nk_pca *pca, const float *x, size_t n, size_t count, float *out);

/* Writes the basis; does not commit the output. */
int nk_pca_write(const struct nk_pca *pca, struct nk_output *output);
/* Reads a basis, or the one that a region's file holds. NULL on failure. */
struct nk_pca *nk_pca_read(const char *path);

#ifdef __cplusplus
}
#endif
#endif
