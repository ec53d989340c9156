/* Moments in one blocked pass. Each block of rows is copied, shifted by a provisional mean (of rows
 * taken evenly from the whole matrix) and scaled by a power of two that keeps float products in
 * range; BLAS multiplies it with itself in float, tile by tile; the tiles are added to the sums in
 * double. What the provisional mean was off by is taken out at the end, exactly. */
#include <noken/geometry.h>

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/gaussian.h"
#include "geometry/internal.h"

enum { TILE = 2048, PROVISIONAL_ROWS = 1024 };

struct pass {
  const float *x;
  const size_t *rows;
  size_t n, dim;
  float *centre; /* [dim] provisional mean */
  float scale;
  size_t block_rows;
  float *block;                   /* [block_rows, dim] y = (x - centre) * scale */
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

static double dot(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
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
  double M = dot(m, m, dim), quadratic = 0;
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < i; j++) pass->outer[i * dim + j] = pass->outer[j * dim + i];
  for (size_t i = 0; i < dim; i++) quadratic += m[i] * dot(pass->outer + i * dim, m, dim);
  double fourth = pass->sum_fourth + 4 * quadratic - 4 * dot(m, pass->cubic, dim) +
                  2 * M * pass->sum_squares - 3 * n * M * M;
  out->fourth = (fourth > 0 ? fourth / n : 0) / (scale * scale * scale * scale);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < dim; i++) {
    double *row = pass->outer + i * dim;
    for (size_t j = 0; j < dim; j++) row[j] = (row[j] / n - m[i] * m[j]) / (scale * scale);
    if (row[i] < 0) row[i] = 0;
  }
  for (size_t j = 0; j < dim; j++) out->mean[j] = (double)pass->centre[j] + m[j] / scale;
  for (size_t j = 0; j < dim; j++) out->total_variance += out->covariance[j * dim + j];
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
    norm += dot(moments->covariance + i * dim, moments->covariance + i * dim, dim);
  double mu = trace / p;
  double d2 = (norm - 2 * mu * trace + p * mu * mu) / p;
  double b2 = (moments->fourth - norm) / (n * p);
  if (b2 > d2) b2 = d2;
  return b2 > 0 && d2 > 0 ? b2 / d2 : 0;
}
