/* What the tests of nokens share: a small region, and distances measured again by plain loops and
 * Gaussian elimination. */
#ifndef NOKEN_NOKENS_H
#define NOKEN_NOKENS_H

#include "unit.h"

#include <math.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "sample/internal.h"

enum { N = 600, DIM = 12, K = 5 };

/* Tokens with a mean, spreads of 0.3 to 2 and correlated coordinates. */
static inline struct nk_vectors *make_tokens(void) {
  struct nk_vectors *set = nk_vectors_new(N, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  for (size_t i = 0; i < N; i++) {
    struct nki_random random = nki_random_stream(77, NKI_RANDOM_TEST, i);
    double last = 0;
    set->ids[i] = 1000 + (int64_t)i;
    for (size_t j = 0; j < DIM; j++) {
      last = 0.5 * last + (0.3 + 0.15 * (double)j) * nki_random_normal(&random);
      x[i * DIM + j] = (float)(last + (j % 3 == 0 ? 1.5 : -0.4));
    }
  }
  return set;
}

static inline struct nk_region *make_region(void) {
  struct nk_vectors *set = make_tokens();
  const struct nk_region_options options = {.kind = NK_REGION_MAHALANOBIS, .k = K, .seed = 3};
  struct nk_region *region = nk_region_fit(set, NULL, N, &options);
  nk_vectors_free(set);
  assert_non_null(region);
  return region;
}

/* ---- Distances, measured again ---- */

static inline double l2(const struct nk_region *region, const float *x) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  double square = 0;
  for (size_t j = 0; j < DIM; j++) square += pow((double)x[j] - mean[j], 2);
  return sqrt(square);
}

static inline double cosine(const struct nk_region *region, const float *x) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  double product = 0, xx = 0, mm = 0;
  for (size_t j = 0; j < DIM; j++) {
    product += (double)x[j] * mean[j];
    xx += (double)x[j] * (double)x[j];
    mm += mean[j] * mean[j];
  }
  return 1 - product / sqrt(xx * mm);
}

/* sqrt(d' C^-1 d), by elimination on [C | d]. */
static inline double mahalanobis(const struct nk_region *region, const float *x) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  double a[DIM][DIM + 1], y[DIM], square = 0;
  for (size_t i = 0; i < DIM; i++) {
    for (size_t j = 0; j < DIM; j++) a[i][j] = nki_gaussian_covariance(region->gaussian, i, j);
    a[i][DIM] = (double)x[i] - mean[i];
  }
  for (size_t p = 0; p < DIM; p++)
    for (size_t i = p + 1; i < DIM; i++) {
      double factor = a[i][p] / a[p][p];
      for (size_t j = p; j <= DIM; j++) a[i][j] -= factor * a[p][j];
    }
  for (size_t i = DIM; i-- > 0;) {
    y[i] = a[i][DIM];
    for (size_t j = i + 1; j < DIM; j++) y[i] -= a[i][j] * y[j];
    y[i] /= a[i][i];
    square += y[i] * ((double)x[i] - mean[i]);
  }
  return sqrt(square);
}

static inline int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline double knn(const struct nk_region *region, const float *x) {
  double distances[N];
  for (size_t i = 0; i < region->n_fit; i++) {
    double square = 0;
    for (size_t j = 0; j < DIM; j++)
      square += pow((double)x[j] - (double)region->tokens->values[i * DIM + j], 2);
    distances[i] = sqrt(square);
  }
  qsort(distances, region->n_fit, sizeof *distances, ascending);
  return distances[K - 1];
}

static inline double measure(const struct nk_region *region, enum nk_metric metric,
                             const float *x) {
  switch (metric) {
    case NK_METRIC_L2:
      return l2(region, x);
    case NK_METRIC_COSINE:
      return cosine(region, x);
    case NK_METRIC_MAHALANOBIS:
      return mahalanobis(region, x);
    default:
      return knn(region, x);
  }
}

static inline void assert_near(double value, double expected, double relative) {
  if (!(fabs(value - expected) <= relative * fabs(expected)))
    fail_msg("%.12g for %.12g", value, expected);
}

#endif
