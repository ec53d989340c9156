/* A normal distribution by the Cholesky factor of its covariance. One square of doubles holds both:
 * the covariance above the diagonal, the factor L (covariance = L L^T) below it and on it; the
 * covariance's own diagonal lies beside it.
 *
 * A block of rows is whitened by Y L^T = X - mean. In float, where that keeps five digits, by a
 * product with the inverse of L, which takes half the time of the triangular system; else by that
 * system in double: the smallest ratio L_ii / sqrt(covariance_ii) is the part of a coordinate's
 * spread that the coordinates before it leave unexplained, and errors grow with its inverse. */
#include "geometry/gaussian.h"

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
  float *inverse;   /* [dim, dim] of L, in float; NULL when rows are whitened in double */
  double shrinkage;
};

static const double SMALLEST_FLOAT_PART = 3e-3;

/* Added to the diagonal of a singular covariance, as a part of the mean variance: this, or a
 * thousand or a million times it where rounding has made eigenvalues negative by more. */
static const double LEAST_RIDGE = 1e-9;

/* LAPACK's own routine rounds differently for each number of threads, and every noken is placed by
 * L: blocks of one size, each by one thread, make it the same for all. */
bool nki_cholesky(double *a, size_t dim) {
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
static bool factor(struct nk_gaussian *dist, double ridge) {
  size_t dim = dist->dim;
#pragma omp parallel for schedule(guided)
  for (size_t i = 0; i < dim; i++) {
    for (size_t j = 0; j < i; j++) dist->square[i * dim + j] = dist->square[j * dim + i];
    dist->square[i * dim + i] = dist->diagonal[i] + ridge;
  }
  if (!nki_cholesky(dist->square, dim)) return false;
  for (size_t i = 0; i < dim; i++) dist->diagonal[i] += ridge;
  return true;
}

/* inverse = that of L, in columns that threads share: of each the system from the diagonal on. */
static int invert(struct nk_gaussian *dist) {
  enum { COLUMNS = 64 };
  size_t dim = dist->dim;
  bool failed = false;
#pragma omp parallel
  {
    double *panel = nk_alloc(dim, COLUMNS * sizeof *panel);
#pragma omp for schedule(dynamic)
    for (size_t first = 0; first < dim; first += COLUMNS) {
      size_t n = dim - first, width = n < COLUMNS ? n : COLUMNS;
      if (panel == NULL) {
#pragma omp atomic write
        failed = true;
        continue;
      }
      memset(panel, 0, n * width * sizeof *panel);
      for (size_t j = 0; j < width; j++) panel[j * width + j] = 1;
      cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (int)n,
                  (int)width, 1, dist->square + first * dim + first, (int)dim, panel, (int)width);
      for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < width; j++)
          dist->inverse[i * dim + first + j] =
              i < first ? 0.0f : (float)panel[(i - first) * width + j];
    }
    nk_free(panel);
  }
  return failed ? nk_fail(NK_EMEMORY, "out of memory for a covariance of %zu values", dim) : NK_OK;
}

/* The inverse of L, where float is good enough. */
static int make_float_inverse(struct nk_gaussian *dist) {
  size_t dim = dist->dim;
  double smallest = 1;
  for (size_t i = 0; i < dim; i++) {
    double part = dist->square[i * dim + i] / sqrt(dist->diagonal[i]);
    double size = dist->square[i * dim + i];
    if (part < smallest) smallest = part;
    if (size < 1e-30 || size > 1e30) smallest = 0;
  }
  if (smallest < SMALLEST_FLOAT_PART) return NK_OK;
  dist->inverse = nk_alloc(dim * dim, sizeof(float));
  return dist->inverse != NULL ? invert(dist) : NK_EMEMORY;
}

struct nk_gaussian *nk_gaussian_new(struct nk_moments *moments, double shrinkage, bool take) {
  int code = NK_EMEMORY;
  struct nk_gaussian *dist = NULL;
  if (moments == NULL) {
    nki_null("the moments");
    return NULL;
  }
  size_t dim = moments->dim;
  dist = nk_calloc(1, sizeof *dist);
  if (dist == NULL) goto done;
  dist->dim = dim;
  dist->shrinkage = shrinkage < 0 ? nki_ledoit_wolf(moments) : shrinkage;
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
                                             : "all rows are the same: they have no covariance");
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
  code = make_float_inverse(dist);

done:
  if (take) nk_moments_free(moments);
  if (code == NK_OK) return dist;
  nk_gaussian_free(dist);
  return NULL;
}

struct nk_gaussian *nki_gaussian_of(const double *mean, const double *packed, size_t dim) {
  struct nk_gaussian *dist = nk_calloc(1, sizeof *dist);
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
  if (make_float_inverse(dist) != NK_OK) goto failed;
  return dist;

failed:
  nk_gaussian_free(dist);
  return NULL;
}

void nk_gaussian_free(struct nk_gaussian *dist) {
  if (dist == NULL) return;
  nk_free(dist->mean);
  nk_free(dist->square);
  nk_free(dist->diagonal);
  nk_free(dist->inverse);
  nk_free(dist);
}

const double *nki_gaussian_mean(const struct nk_gaussian *dist) {
  return dist->mean;
}

double nki_gaussian_covariance(const struct nk_gaussian *dist, size_t row, size_t column) {
  if (row == column) return dist->diagonal[row];
  return row < column ? dist->square[row * dist->dim + column]
                      : dist->square[column * dist->dim + row];
}

void nki_gaussian_packed(const struct nk_gaussian *dist, double *packed) {
  for (size_t i = 0; i < dist->dim; i++)
    for (size_t j = 0; j <= i; j++)
      packed[i * (i + 1) / 2 + j] = nki_gaussian_covariance(dist, i, j);
}

/* ---- Distances, a block at a time ---- */

struct whitening {
  size_t block_rows;
  float *block; /* [block_rows, dim] */
  double *wide; /* the same, where the factor exists in double only; else NULL */
};

/* work->block [n, dim] = whitened rows of x, in float. */
static void whiten_block(const struct nk_gaussian *dist, const float *x, size_t n,
                         const struct whitening *work) {
  size_t dim = dist->dim;
  float *block = work->block;
  double *wide = work->wide;
  if (wide == NULL) {
    nki_copy_rows_centred(x, NULL, 0, n, dim, dist->mean, block);
    cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n, (int)dim,
                1.0f, dist->inverse, (int)dim, block, (int)dim);
    return;
  }
  nki_centre_rows(x, n, dim, dist->mean, wide);
  nki_gaussian_whiten(dist, wide, n);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n * dim; i++) block[i] = (float)wide[i];
}

/* out [n] = distances of rows of x; NK_EDATA when one is not a number. */
static int measure_block(const struct nk_gaussian *dist, const float *x, size_t n,
                         const struct whitening *work, float *out) {
  size_t dim = dist->dim, bad = 0;
  whiten_block(dist, x, n, work);
#pragma omp parallel for schedule(static) reduction(+ : bad)
  for (size_t i = 0; i < n; i++) {
    double square = nki_sum_squares(work->block + i * dim, dim);
    out[i] = (float)sqrt(square);
    if (!isfinite(square)) bad++;
  }
  return bad == 0 ? NK_OK : NK_EDATA;
}

int nk_mahalanobis(const struct nk_gaussian *dist, const float *x, size_t n, float *out) {
  if (dist == NULL || x == NULL) return nki_null("the distribution or the rows");
  size_t dim = dist->dim;
  struct whitening work = {.block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n};
  int code = NK_OK;
  if (n == 0) return NK_OK;
  work.block = nk_alloc(work.block_rows, dim * sizeof(float));
  if (dist->inverse == NULL) work.wide = nk_alloc(work.block_rows, dim * sizeof(double));
  if (work.block == NULL || (dist->inverse == NULL && work.wide == NULL)) code = NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += work.block_rows) {
    size_t count = n - first < work.block_rows ? n - first : work.block_rows;
    if (measure_block(dist, x + first * dim, count, &work, out + first) != NK_OK) {
      code = nki_check_rows(x, NULL, first, count, dim);
      if (code == NK_OK) code = nk_fail(NK_EDATA, "a Mahalanobis distance exceeds a float's range");
    }
    if (code == NK_OK) code = nk_progress("Mahalanobis distances", first + count, n);
  }
  nk_free(work.block);
  nk_free(work.wide);
  return code;
}

/* ---- Coordinates in double ---- */

void nki_gaussian_whiten(const struct nk_gaussian *dist, double *x, size_t n) {
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, x, (int)dist->dim);
}

void nki_gaussian_precision(const struct nk_gaussian *dist, double *x, size_t n) {
  nki_gaussian_whiten(dist, x, n);
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, x, (int)dist->dim);
}

/* Z L^T, where L stands in the lower triangle. */
void nki_gaussian_colour(const struct nk_gaussian *dist, double *z, size_t n) {
  cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, z, (int)dist->dim);
}

/* G L, as x = L z. */
void nki_gaussian_whiten_gradients(const struct nk_gaussian *dist, double *g, size_t n) {
  cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)n,
              (int)dist->dim, 1.0, dist->square, (int)dist->dim, g, (int)dist->dim);
}
