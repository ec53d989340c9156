/* A normal distribution by the Cholesky factor of its covariance. One square of doubles holds both:
 * the covariance above the diagonal, the factor L (covariance = L L^T) below it and on it; the
 * covariance's own diagonal lies beside it.
 *
 * A block of rows is whitened by the triangular system Y L^T = X - mean, in float where that keeps
 * five digits and in double where it would not: the smallest ratio L_ii / sqrt(covariance_ii) is
 * the part of a coordinate's spread that the coordinates before it leave unexplained, and errors
 * grow with its inverse. */
#include <noken/geometry.h>

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "geometry/internal.h"

struct nk_gaussian {
  size_t dim;
  double *mean;     /* [dim] */
  double *square;   /* [dim, dim] covariance above, L on and below the diagonal */
  double *diagonal; /* [dim] of the covariance */
  float *factor;    /* [dim, dim] L in float; NULL when rows are whitened in double */
  double shrinkage;
};

static const double SMALLEST_FLOAT_PART = 3e-3;

/* Added to the diagonal of a singular covariance, as a part of the mean variance: this, or a
 * thousand or a million times it where the rounding of the moments' float products, some 1e-7 of
 * the largest variance, has made eigenvalues negative by more. */
static const double LEAST_RIDGE = 1e-9;

/* a [dim, dim] = L, on and below the diagonal, of the matrix a = L L^T of which that part is read;
 * what lies above stays. False when it is not positive definite. LAPACK's own routine rounds
 * differently for each number of threads, and every noken is placed by L: blocks of one size, each
 * by one thread, make it the same for all. */
static bool cholesky(double *a, size_t dim) {
  enum { BLOCK = 128 };
  int info = 0;
#pragma omp parallel
  for (size_t k = 0; k < dim; k += BLOCK) {
    size_t n = dim - k < BLOCK ? dim - k : BLOCK, next = k + n;
    double *corner = a + k * dim + k;
    /* Row-major lower is LAPACK's upper. */
#pragma omp single
    info = LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (int)n, corner, (int)dim);
    if (info != 0) break;
#pragma omp for schedule(dynamic)
    for (size_t i = next; i < dim; i += BLOCK)
      cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
                  (int)(dim - i < BLOCK ? dim - i : BLOCK), (int)n, 1, corner, (int)dim,
                  a + i * dim + k, (int)dim);
#pragma omp for schedule(dynamic)
    for (size_t i = next; i < dim; i += BLOCK) {
      int rows = (int)(dim - i < BLOCK ? dim - i : BLOCK);
      if (i > next)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, (int)(i - next), (int)n, -1,
                    a + i * dim + k, (int)dim, a + next * dim + k, (int)dim, 1, a + i * dim + next,
                    (int)dim);
      cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, rows, (int)n, -1, a + i * dim + k,
                  (int)dim, 1, a + i * dim + i, (int)dim);
    }
  }
  return info == 0;
}

/* Factors the matrix whose upper triangle is in square and whose diagonal is in diagonal, with
 * `ridge` added to the latter. */
static bool factor(nk_gaussian *dist, double ridge) {
  size_t dim = dist->dim;
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < dim; i++) {
    for (size_t j = 0; j < i; j++) dist->square[i * dim + j] = dist->square[j * dim + i];
    dist->square[i * dim + i] = dist->diagonal[i] + ridge;
  }
  if (!cholesky(dist->square, dim)) return false;
  for (size_t i = 0; i < dim; i++) dist->diagonal[i] += ridge;
  return true;
}

/* The float copy of L, where float is good enough. */
static int make_float_factor(nk_gaussian *dist) {
  size_t dim = dist->dim;
  double smallest = 1;
  for (size_t i = 0; i < dim; i++) {
    double part = dist->square[i * dim + i] / sqrt(dist->diagonal[i]);
    double size = dist->square[i * dim + i];
    if (part < smallest) smallest = part;
    if (size < 1e-30 || size > 1e30) smallest = 0;
  }
  if (smallest < SMALLEST_FLOAT_PART) return NK_OK;
  if ((dist->factor = nk_alloc(dim * dim, sizeof(float))) == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < dim; j++)
      dist->factor[i * dim + j] = j <= i ? (float)dist->square[i * dim + j] : 0.0f;
  return NK_OK;
}

nk_gaussian *nk_gaussian_new(struct nk_moments *moments, double shrinkage, int take) {
  size_t dim = moments->dim;
  int code = NK_EMEMORY;
  nk_gaussian *dist = nk_calloc(1, sizeof *dist);
  if (dist == NULL) goto done;
  dist->dim = dim;
  dist->shrinkage = shrinkage < 0 ? nk_ledoit_wolf(moments) : shrinkage;
  if (take) {
    dist->square = moments->covariance;
    moments->covariance = NULL;
  } else {
    if ((dist->square = nk_alloc(dim * dim, sizeof(double))) == NULL) goto done;
    memcpy(dist->square, moments->covariance, dim * dim * sizeof(double));
  }
  dist->mean = nk_alloc(dim, sizeof(double));
  dist->diagonal = nk_alloc(dim, sizeof(double));
  if (dist->mean == NULL || dist->diagonal == NULL) goto done;
  memcpy(dist->mean, moments->mean, dim * sizeof(double));

  double trace = 0, keep = 1 - dist->shrinkage;
  for (size_t i = 0; i < dim; i++) trace += dist->square[i * dim + i];
  double mu = trace / (double)dim;
  if (!(mu > 0)) {
    code = nk_fail(NK_EDATA, moments->n == 1 ? "a single row has no covariance"
                                             : "all rows are the same: there is no covariance");
    goto done;
  }
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < dim; i++) {
    dist->diagonal[i] = keep * dist->square[i * dim + i] + dist->shrinkage * mu;
    for (size_t j = i + 1; j < dim; j++) dist->square[i * dim + j] *= keep;
  }
  double ridge = 0;
  while (!factor(dist, ridge * mu)) {
    if (ridge > 1e-4) {
      code = nk_fail(NK_EDATA, "the covariance is not positive definite");
      goto done;
    }
    ridge = ridge > 0 ? 1000 * ridge : LEAST_RIDGE;
  }
  if (ridge > 0)
    nk_warn("the covariance is singular: %.0e of the mean variance is added to its diagonal",
            ridge);
  code = make_float_factor(dist);

done:
  if (take) nk_moments_free(moments);
  if (code == NK_OK) return dist;
  nk_gaussian_free(dist);
  return NULL;
}

nk_gaussian *nk_gaussian_of(const double *mean, const double *packed, size_t dim) {
  nk_gaussian *dist = nk_calloc(1, sizeof *dist);
  size_t square = 0;
  if (dist == NULL) return NULL;
  dist->dim = dim;
  dist->mean = nk_alloc(dim, sizeof(double));
  dist->diagonal = nk_alloc(dim, sizeof(double));
  if (nk_size_mul(dim, dim, &square)) dist->square = nk_alloc(square, sizeof(double));
  if (dist->mean == NULL || dist->diagonal == NULL || dist->square == NULL) goto failed;
  memcpy(dist->mean, mean, dim * sizeof(double));
  for (size_t i = 0; i < dim; i++) {
    const double *row = packed + i * (i + 1) / 2;
    for (size_t j = 0; j < i; j++) dist->square[j * dim + i] = row[j];
    dist->diagonal[i] = row[i];
  }
  if (!factor(dist, 0)) {
    nk_fail(NK_EDATA, "the covariance is not positive definite");
    goto failed;
  }
  if (make_float_factor(dist) != NK_OK) goto failed;
  return dist;

failed:
  nk_gaussian_free(dist);
  return NULL;
}

void nk_gaussian_free(nk_gaussian *dist) {
  if (dist == NULL) return;
  nk_free(dist->mean);
  nk_free(dist->square);
  nk_free(dist->diagonal);
  nk_free(dist->factor);
  nk_free(dist);
}

size_t nk_gaussian_dim(const nk_gaussian *dist) {
  return dist->dim;
}

const double *nk_gaussian_mean(const nk_gaussian *dist) {
  return dist->mean;
}

double nk_gaussian_shrinkage(const nk_gaussian *dist) {
  return dist->shrinkage;
}

double nk_gaussian_covariance(const nk_gaussian *dist, size_t row, size_t column) {
  if (row == column) return dist->diagonal[row];
  return row < column ? dist->square[row * dist->dim + column]
                      : dist->square[column * dist->dim + row];
}

void nk_gaussian_packed(const nk_gaussian *dist, double *packed) {
  for (size_t i = 0; i < dist->dim; i++)
    for (size_t j = 0; j <= i; j++)
      packed[i * (i + 1) / 2 + j] = nk_gaussian_covariance(dist, i, j);
}

/* ---- Whitening, a block at a time ---- */

/* block [count, dim] = whitened rows, in float; wide [count, dim] is used instead where the factor
 * is only there in double. centre NULL: the rows are differences. */
static void whiten_block(const nk_gaussian *dist, const float *x, const size_t *rows, size_t first,
                         size_t count, const double *centre, float *block, double *wide) {
  size_t dim = dist->dim;
  if (wide == NULL) {
    if (centre != NULL)
      nki_copy_rows_centred(x, rows, first, count, dim, centre, block);
    else
      nki_copy_rows(x, rows, first, count, dim, NULL, 1.0f, block);
    cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)count,
                (int)dim, 1.0f, dist->factor, (int)dim, block, (int)dim);
    return;
  }
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < count; i++) {
    const float *row = nki_row(x, rows, first + i, dim);
    for (size_t j = 0; j < dim; j++)
      wide[i * dim + j] = (double)row[j] - (centre != NULL ? centre[j] : 0);
  }
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)count, (int)dim,
              1.0, dist->square, (int)dim, wide, (int)dim);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < count * dim; i++) block[i] = (float)wide[i];
}

/* Memory for whiten_block: *block_rows rows. */
static int whiten_memory(const nk_gaussian *dist, size_t n, size_t *block_rows, float **block,
                         double **wide) {
  *block_rows = nki_block_rows(dist->dim) < n ? nki_block_rows(dist->dim) : n;
  if (block != NULL && (*block = nk_alloc(*block_rows, dist->dim * sizeof(float))) == NULL)
    return NK_EMEMORY;
  *wide = NULL;
  if (dist->factor == NULL && (*wide = nk_alloc(*block_rows, dist->dim * sizeof(double))) == NULL)
    return NK_EMEMORY;
  return NK_OK;
}

int nk_mahalanobis_rows(const nk_gaussian *dist, const float *x, const size_t *rows, size_t n,
                        float *out) {
  size_t dim = dist->dim, block_rows = 0;
  float *block = NULL;
  double *wide = NULL;
  if (n == 0) return NK_OK;
  int code = whiten_memory(dist, n, &block_rows, &block, &wide);
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t count = n - first < block_rows ? n - first : block_rows, bad = 0;
    whiten_block(dist, x, rows, first, count, dist->mean, block, wide);
#pragma omp parallel for schedule(static) reduction(+ : bad)
    for (size_t i = 0; i < count; i++) {
      double square = nki_sum_squares(block + i * dim, dim);
      out[first + i] = (float)sqrt(square);
      if (!isfinite(square)) bad++;
    }
    if (bad > 0 && (code = nki_check_rows(x, rows, first, count, dim)) == NK_OK)
      code = nk_fail(NK_EDATA, "a Mahalanobis distance is too large for a float");
    if (code == NK_OK) code = nk_progress("Mahalanobis distances", first + count, n);
  }
  nk_free(block);
  nk_free(wide);
  return code;
}

int nk_mahalanobis(const nk_gaussian *dist, const float *x, size_t n, float *out) {
  return nk_mahalanobis_rows(dist, x, NULL, n, out);
}

int nk_gaussian_whiten(const nk_gaussian *dist, const float *x, size_t n, int centred, float *out) {
  size_t block_rows = 0;
  double *wide = NULL;
  if (n == 0) return NK_OK;
  int code = whiten_memory(dist, n, &block_rows, NULL, &wide);
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t count = n - first < block_rows ? n - first : block_rows;
    whiten_block(dist, x, NULL, first, count, centred ? NULL : dist->mean, out + first * dist->dim,
                 wide);
    code = nki_check_rows(out, NULL, first, count, dist->dim);
  }
  nk_free(wide);
  return code;
}

void nk_gaussian_whiten_wide(const nk_gaussian *dist, double *x, size_t n) {
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, x, (int)dist->dim);
}

void nk_gaussian_precision_wide(const nk_gaussian *dist, double *x, size_t n) {
  nk_gaussian_whiten_wide(dist, x, n);
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, x, (int)dist->dim);
}

/* Z L^T, where L stands in the lower triangle. */
void nk_gaussian_colour_wide(const nk_gaussian *dist, double *z, size_t n) {
  cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, z, (int)dist->dim);
}

int nk_gaussian_colour(const nk_gaussian *dist, const float *z, size_t n, float *out) {
  size_t dim = dist->dim, block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  if (n == 0) return NK_OK;
  double *wide = nk_alloc(block_rows, dim * sizeof(double));
  if (wide == NULL) return NK_EMEMORY;
  for (size_t first = 0; first < n; first += block_rows) {
    size_t size = (n - first < block_rows ? n - first : block_rows) * dim;
    for (size_t i = 0; i < size; i++) wide[i] = (double)z[first * dim + i];
    nk_gaussian_colour_wide(dist, wide, size / dim);
    for (size_t i = 0; i < size; i++) out[first * dim + i] = (float)wide[i];
  }
  nk_free(wide);
  return NK_OK;
}
