/* What the files of lib/geometry share: the size of blocks, the copy of rows into a block, and the
 * few loops that are no BLAS call. */
#ifndef GEOMETRY_INTERNAL_H
#define GEOMETRY_INTERNAL_H

#include <noken/geometry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clones.h"

/* Independent partial sums in the loops below: enough for the widest registers, and a fixed number,
 * so that a sum does not depend on the processor. */
#define NKI_LANES 16

/* Rows of a block for a dim: about 8 MiB of floats, at least 1,024 rows so that adding a block's
 * products to the double sums stays small beside making them. */
size_t nki_block_rows(size_t dim);

/* block [n, dim] = (row - centre) * scale for the rows of x that rows [n] lists, or for the first n
 * when rows is NULL. centre NULL: the rows as they are. In parallel. */
void nki_copy_rows(const float *x, const size_t *rows, size_t n, size_t dim, const float *centre,
                   float scale, float *block);
/* block [n, dim] = row - centre for n rows from `first` on: of those that rows lists, or of x
 * itself when rows is NULL. Subtracted in double before rounding to float. */
void nki_copy_rows_centred(const float *x, const size_t *rows, size_t first, size_t n, size_t dim,
                           const double *centre, float *block);
/* block [n, dim] = x [n, dim] - centre, in double. */
void nki_centre_rows(const float *x, size_t n, size_t dim, const double *centre, double *block);

/* Sum of squares of x [n], in double. */
double nki_sum_squares(const float *x, size_t n);
/* Sum of squares of x - y, both [n], in double. */
double nki_distance_squares(const float *x, const float *y, size_t n);
/* Inner product of x and y, both [n], in double. */
double nki_dot(const float *x, const float *y, size_t n);
/* Inner product of x and y, [n] each. */
double nki_product(const double *x, const double *y, size_t n);
/* Inner product of x - c and y, [n] each, in double. */
double nki_dot_from(const float *x, const double *c, const double *y, size_t n);

/* For an object that is NULL because the call before it failed: that call's code, its message left
 * as it is; NK_EUSAGE, naming `what`, when no call failed. */
int nki_null(const char *what);

/* Sorts values [n] ascending; NaN last. */
void nki_sort_numbers(double *values, size_t n);
/* The quantile `level` (in [0, 1]) of sorted [n] ascending, as nk_quantiles defines it. NaN for
 * n = 0. */
double nki_quantile_sorted(const double *sorted, size_t n, double level);
/* How many of sorted [n] ascending are less than value. */
size_t nki_count_below(const double *sorted, size_t n, double value);

/* NK_EDATA "row R holds a NaN or an infinity" for the first such row among the n rows from `first`
 * on (of those that rows lists, or of x itself when rows is NULL); NK_OK when there is none. */
int nki_check_rows(const float *x, const size_t *rows, size_t first, size_t n, size_t dim);

/* A hash of a row's [dim] values. */
uint64_t nki_hash_row(const float *row, size_t dim);
/* first [n] = for each of the n rows (those that rows lists, or those of x when rows is NULL) the
 * number among them of the first one with the same values: its own where none is earlier. */
int nki_find_copies(const float *x, const size_t *rows, size_t n, size_t dim, size_t *first);

/* values [dim] = the eigenvalues of the symmetric a [dim, dim], which is overwritten, descending;
 * *vectors [count, dim] = unit eigenvectors of the first count, each with its entry of largest size
 * positive (free it; NULL for count 0). Memory beside a: 8 dim count bytes, or 8 dim^2 for more
 * than dim / 2 of them. */
int nki_eigen(double *a, size_t dim, size_t count, double *values, double **vectors);

/* Components first to first + count - 1 of a basis. */
struct nki_range {
  size_t first, count;
};

/* scores [n, count] of n rows x [n, dim] on the components of range of a basis that has them in
 * double; block [n, dim] becomes the rows without the mean. */
void nki_pca_wide_scores(const struct nk_pca *pca, const float *x, size_t n,
                         const struct nki_range *range, double *block, double *scores);

/* The i-th of the rows that rows lists, or of x itself when rows is NULL. */
static inline const float *nki_row(const float *x, const size_t *rows, size_t i, size_t dim) {
  return x + (rows != NULL ? rows[i] : i) * dim;
}

#endif
