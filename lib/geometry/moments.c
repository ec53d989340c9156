/* Moments in one blocked pass. Each block of rows is copied, shifted by a provisional mean (of rows
 * taken evenly from the whole matrix) and scaled by a power of two that keeps float products in
 * range; BLAS multiplies it with itself in float, tile by tile; the tiles are added to the sums in
 * double. What the provisional mean was off by is taken out at the end, exactly.
 *
 * Float products round by some 1e-7 of the largest variance. Where an eigenvalue of the result is
 * not far above that, a second pass makes the products in double: rows with massive dimensions, or
 * rows that do not span the space. A Cholesky factorization finds such an eigenvalue, at 1/3 dim^3
 * operations beside the n dim^2 of the pass. */
#include <noken/geometry.h>

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/gaussian.h"
#include "geometry/internal.h"

enum { TILE = 2048, PROVISIONAL_ROWS = 1024, POWER_STEPS = 8 };

/* Eigenvalues below this part of the largest are measured in double. */
static const double SMALLEST_FLOAT_EIGENVALUE = 1e-5;

struct pass {
  const float *x;
  const size_t *rows;
  size_t n, dim;
  float *centre; /* [dim] provisional mean */
  float scale;
  size_t block_rows;
  float *block;                   /* [block_rows, dim] y = (x - centre) * scale */
  double *wide;                   /* the same, in a pass in double */
  float *tile;                    /* [TILE, TILE] products of a block */
  float *squares;                 /* [block_rows] |y|^2 */
  float *ones;                    /* [block_rows] */
  float *column;                  /* [dim] sums over a block */
  double *sum;                    /* [dim] of y */
  double *cubic;                  /* [dim] of |y|^2 y */
  double *outer;                  /* [dim, dim] of y y^T, upper triangle */
  double sum_squares, sum_fourth; /* of |y|^2 and |y|^4 */
};

/* The column means of up to PROVISIONAL_ROWS evenly spaced rows, and the power of two that brings
 * the largest difference from them near 1. */
static void provisional_mean(struct pass *pass) {
  size_t count = pass->n < PROVISIONAL_ROWS ? pass->n : PROVISIONAL_ROWS;
  memset(pass->sum, 0, pass->dim * sizeof(double));
  for (size_t i = 0; i < count; i++) {
    const float *row = nki_row(pass->x, pass->rows, i * pass->n / count, pass->dim);
    for (size_t j = 0; j < pass->dim; j++) pass->sum[j] += (double)row[j];
  }
  for (size_t j = 0; j < pass->dim; j++) {
    double mean = pass->sum[j] / (double)count;
    pass->centre[j] = isfinite(mean) ? (float)mean : 0.0f;
    pass->sum[j] = 0;
  }
  float largest = 0;
  for (size_t i = 0; i < count; i++) {
    const float *row = nki_row(pass->x, pass->rows, i * pass->n / count, pass->dim);
    for (size_t j = 0; j < pass->dim; j++) {
      float difference = fabsf(row[j] - pass->centre[j]);
      if (isfinite(difference) && difference > largest) largest = difference;
    }
  }
  int exponent = 0;
  if (largest > 0) frexpf(largest, &exponent);
  if (exponent < -100) exponent = -100;
  pass->scale = ldexpf(1.0f, -exponent);
}

/* Adds the products of the block's columns [row0, row0 + n_rows) with [column0, ...), the upper
 * triangle only where the tile lies on the diagonal. */
static void add_tile(struct pass *pass, size_t count, size_t row0, size_t column0) {
  size_t dim = pass->dim;
  size_t n_rows = dim - row0 < TILE ? dim - row0 : TILE;
  size_t n_columns = dim - column0 < TILE ? dim - column0 : TILE;
  if (row0 == column0)
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)n_rows, (int)count, 1.0f,
                pass->block + row0, (int)dim, 0.0f, pass->tile, (int)n_columns);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n_rows, (int)n_columns, (int)count,
                1.0f, pass->block + row0, (int)dim, pass->block + column0, (int)dim, 0.0f,
                pass->tile, (int)n_columns);
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < n_rows; i++) {
    const float *from = pass->tile + i * n_columns;
    double *to = pass->outer + (row0 + i) * dim + column0;
    for (size_t j = row0 == column0 ? i : 0; j < n_columns; j++) to[j] += (double)from[j];
  }
}

static void add_columns(const float *column, size_t dim, double *to) {
  for (size_t j = 0; j < dim; j++) to[j] += (double)column[j];
}

static int add_block(struct pass *pass, size_t first, size_t count) {
  size_t dim = pass->dim;
  const float *x = pass->rows != NULL ? pass->x : pass->x + first * dim;
  const size_t *rows = pass->rows != NULL ? pass->rows + first : NULL;
  nki_copy_rows(x, rows, count, dim, pass->centre, pass->scale, pass->block);
  double squares = 0, fourth = 0;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < count; i++)
    pass->squares[i] = (float)nki_sum_squares(pass->block + i * dim, dim);
  for (size_t i = 0; i < count; i++) {
    squares += (double)pass->squares[i];
    fourth += (double)pass->squares[i] * (double)pass->squares[i];
  }
  if (!isfinite(squares)) {
    int code = nki_check_rows(pass->x, pass->rows, first, count, dim);
    return code != NK_OK ? code
                         : nk_fail(NK_EDATA, "rows %zu to %zu hold values too large to be squared",
                                   first, first + count - 1);
  }
  pass->sum_squares += squares;
  pass->sum_fourth += fourth;

  cblas_sgemv(CblasRowMajor, CblasTrans, (int)count, (int)dim, 1.0f, pass->block, (int)dim,
              pass->ones, 1, 0.0f, pass->column, 1);
  add_columns(pass->column, dim, pass->sum);
  cblas_sgemv(CblasRowMajor, CblasTrans, (int)count, (int)dim, 1.0f, pass->block, (int)dim,
              pass->squares, 1, 0.0f, pass->column, 1);
  add_columns(pass->column, dim, pass->cubic);
  for (size_t row = 0; row < dim; row += TILE)
    for (size_t column = row; column < dim; column += TILE) add_tile(pass, count, row, column);
  return nk_progress("covariance", first + count, pass->n);
}

/* The same in double. Its rows are finite: the pass in float has seen them. */
static int add_wide_block(struct pass *pass, size_t first, size_t count) {
  size_t dim = pass->dim;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < count; i++) {
    const float *row = nki_row(pass->x, pass->rows, first + i, dim);
    double *y = pass->wide + i * dim;
    for (size_t j = 0; j < dim; j++)
      y[j] = ((double)row[j] - (double)pass->centre[j]) * (double)pass->scale;
  }
  for (size_t i = 0; i < count; i++) {
    const double *y = pass->wide + i * dim;
    double square = 0;
    for (size_t j = 0; j < dim; j++) square += y[j] * y[j];
    for (size_t j = 0; j < dim; j++) pass->sum[j] += y[j];
    for (size_t j = 0; j < dim; j++) pass->cubic[j] += square * y[j];
    pass->sum_squares += square;
    pass->sum_fourth += square * square;
  }
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)dim, (int)count, 1, pass->wide, (int)dim,
              1, pass->outer, (int)dim);
  return nk_progress("covariance in double", first + count, pass->n);
}

/* From sums about the provisional mean to moments about the mean. With m the mean of y, M = |m|^2:
 *   sum (y - m)(y - m)^T = sum y y^T - n m m^T
 *   sum |y - m|^4 = sum |y|^4 + 4 m^T (sum y y^T) m - 4 m . sum |y|^2 y + 2 M sum |y|^2 - 3 n M^2
 */
static void finish(struct pass *pass, struct nk_moments *out) {
  size_t dim = pass->dim;
  double n = (double)pass->n, scale = (double)pass->scale;
  double *m = pass->sum; /* becomes the mean of y */
  for (size_t j = 0; j < dim; j++) m[j] /= n;
  double M = nki_product(m, m, dim), quadratic = 0;
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < i; j++) pass->outer[i * dim + j] = pass->outer[j * dim + i];
  for (size_t i = 0; i < dim; i++) quadratic += m[i] * nki_product(pass->outer + i * dim, m, dim);
  double fourth = pass->sum_fourth + 4 * quadratic - 4 * nki_product(m, pass->cubic, dim) +
                  2 * M * pass->sum_squares - 3 * n * M * M;
  out->fourth = (fourth > 0 ? fourth / n : 0) / (scale * scale * scale * scale);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < dim; i++) {
    double *row = pass->outer + i * dim;
    for (size_t j = 0; j < dim; j++) row[j] = (row[j] / n - m[i] * m[j]) / (scale * scale);
    if (row[i] < 0) row[i] = 0;
  }
  for (size_t j = 0; j < dim; j++) out->mean[j] = (double)pass->centre[j] + m[j] / scale;
  out->total_variance = 0;
  for (size_t j = 0; j < dim; j++) out->total_variance += out->covariance[j * dim + j];
}

/* About the largest eigenvalue of the symmetric a [dim, dim], and never more than it: the quotient
 * of Rayleigh after a few power steps from the column with the largest diagonal. v, w [dim]. */
static double largest_eigenvalue(const double *a, size_t dim, double *v, double *w) {
  size_t largest = 0;
  double value = 0;
  for (size_t j = 1; j < dim; j++)
    if (a[j * dim + j] > a[largest * dim + largest]) largest = j;
  memcpy(v, a + largest * dim, dim * sizeof *v);
  for (int step = 0; step < POWER_STEPS; step++) {
    double length = sqrt(nki_product(v, v, dim));
    if (!(length > 0)) return 0;
    for (size_t j = 0; j < dim; j++) v[j] /= length;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < dim; i++) w[i] = nki_product(a + i * dim, v, dim);
    value = nki_product(v, w, dim);
    memcpy(v, w, dim * sizeof *v);
  }
  return value;
}

/* Whether an eigenvalue of the covariance is below the part of the largest that float products can
 * measure: then it, less that much of the unit matrix, is not positive definite. The factor takes
 * the lower triangle, which the upper one restores. */
static bool float_is_too_coarse(struct pass *pass, double *covariance) {
  size_t dim = pass->dim;
  double *diagonal = pass->cubic;
  if (pass->n <= dim) return true;
  double shift =
      SMALLEST_FLOAT_EIGENVALUE * largest_eigenvalue(covariance, dim, pass->sum, pass->cubic);
  for (size_t j = 0; j < dim; j++) {
    diagonal[j] = covariance[j * dim + j];
    covariance[j * dim + j] -= shift;
  }
  bool definite = nki_cholesky(covariance, dim);
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < dim; i++) {
    for (size_t j = 0; j < i; j++) covariance[i * dim + j] = covariance[j * dim + i];
    covariance[i * dim + i] = diagonal[i];
  }
  return !definite;
}

/* The moments again, by products in double. */
static int measure_in_double(struct pass *pass, struct nk_moments *out) {
  size_t dim = pass->dim;
  pass->wide = nk_alloc(pass->block_rows, dim * sizeof *pass->wide);
  if (pass->wide == NULL) return NK_EMEMORY;
  memset(pass->outer, 0, dim * dim * sizeof *pass->outer);
  memset(pass->sum, 0, dim * sizeof *pass->sum);
  memset(pass->cubic, 0, dim * sizeof *pass->cubic);
  pass->sum_squares = pass->sum_fourth = 0;
  int code = NK_OK;
  for (size_t first = 0; first < pass->n && code == NK_OK; first += pass->block_rows) {
    size_t left = pass->n - first;
    code = add_wide_block(pass, first, left < pass->block_rows ? left : pass->block_rows);
  }
  if (code == NK_OK) finish(pass, out);
  nk_free(pass->wide);
  return code;
}

static int count_different(struct nk_moments *out, const float *x, const size_t *rows) {
  size_t *first = nk_alloc(out->n, sizeof *first);
  int code = first != NULL ? nki_find_copies(x, rows, out->n, out->dim, first) : NK_EMEMORY;
  for (size_t i = 0; i < out->n && code == NK_OK; i++) out->n_different += first[i] == i;
  nk_free(first);
  return code;
}

struct nk_moments *nk_moments_compute(const float *x, const size_t *rows, size_t n, size_t dim) {
  struct pass pass = {.x = x, .rows = rows, .n = n, .dim = dim};
  struct nk_moments *out = NULL;
  int code = NK_OK;
  if (x == NULL) {
    nki_null("the rows");
    return NULL;
  }
  if (n == 0 || dim == 0) {
    nk_fail(NK_EDATA, "no rows to take moments of");
    return NULL;
  }
  pass.block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  size_t side = dim < TILE ? dim : TILE;
  if ((out = nk_calloc(1, sizeof *out)) == NULL) return NULL;
  out->n = n;
  out->dim = dim;
  out->mean = nk_alloc(dim, sizeof(double));
  size_t square = 0;
  if (nk_size_mul(dim, dim, &square)) out->covariance = nk_calloc(square, sizeof(double));
  pass.outer = out->covariance;
  pass.centre = nk_alloc(dim, sizeof(float));
  pass.block = nk_alloc(pass.block_rows, dim * sizeof(float));
  pass.tile = nk_alloc(side * side, sizeof(float));
  pass.squares = nk_alloc(pass.block_rows, sizeof(float));
  pass.ones = nk_alloc(pass.block_rows, sizeof(float));
  pass.column = nk_alloc(dim, sizeof(float));
  pass.sum = nk_calloc(dim, sizeof(double));
  pass.cubic = nk_calloc(dim, sizeof(double));
  if (out->mean == NULL || out->covariance == NULL || pass.centre == NULL || pass.block == NULL ||
      pass.tile == NULL || pass.squares == NULL || pass.ones == NULL || pass.column == NULL ||
      pass.sum == NULL || pass.cubic == NULL) {
    code = NK_EMEMORY;
    goto done;
  }
  for (size_t i = 0; i < pass.block_rows; i++) pass.ones[i] = 1.0f;
  provisional_mean(&pass);
  for (size_t first = 0; first < n && code == NK_OK; first += pass.block_rows)
    code = add_block(&pass, first, n - first < pass.block_rows ? n - first : pass.block_rows);
  if (code == NK_OK) finish(&pass, out);
  if (code == NK_OK && float_is_too_coarse(&pass, out->covariance))
    code = measure_in_double(&pass, out);
  if (code == NK_OK) code = count_different(out, x, rows);

done:
  nk_free(pass.centre);
  nk_free(pass.block);
  nk_free(pass.tile);
  nk_free(pass.squares);
  nk_free(pass.ones);
  nk_free(pass.column);
  nk_free(pass.sum);
  nk_free(pass.cubic);
  if (code == NK_OK) return out;
  nk_moments_free(out);
  return NULL;
}

void nk_moments_free(struct nk_moments *moments) {
  if (moments == NULL) return;
  nk_free(moments->mean);
  nk_free(moments->covariance);
  nk_free(moments);
}

/* With X the centred rows, S their covariance, p = dim, mu = tr(S) / p:
 *   d^2 = |S - mu I|^2 / p,  b^2 = min(d^2, (mean |x|^4 - |S|^2) / (n p)),  shrinkage = b^2 / d^2
 */
double nki_ledoit_wolf(const struct nk_moments *moments) {
  size_t dim = moments->dim;
  double p = (double)dim, n = (double)moments->n, trace = moments->total_variance, norm = 0;
  for (size_t i = 0; i < dim; i++)
    norm += nki_product(moments->covariance + i * dim, moments->covariance + i * dim, dim);
  double mu = trace / p;
  double d2 = (norm - 2 * mu * trace + p * mu * mu) / p;
  double b2 = (moments->fourth - norm) / (n * p);
  if (b2 > d2) b2 = d2;
  return b2 > 0 && d2 > 0 ? b2 / d2 : 0;
}
