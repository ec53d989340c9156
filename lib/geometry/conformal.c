/* Conformal p-values, and what is ordinary for short vectors of features. */
#include "geometry/conformal.h"

#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <string.h>
#include "base/random.h"
#include "geometry/internal.h"

/* ---- p-values from scores ---- */

struct nk_conformal *nki_conformal_new(const double *scores, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (isnan(scores[i])) {
      nk_fail(NK_EDATA, "a score to calibrate with is not a number");
      return NULL;
    }
  if (n == 0) {
    nk_fail(NK_EDATA, "no scores to calibrate with");
    return NULL;
  }
  struct nk_conformal *conformal = nk_calloc(1, sizeof *conformal);
  if (conformal == NULL) return NULL;
  conformal->n = n;
  conformal->p_min = 1 / (double)(n + 1);
  if ((conformal->scores = nk_alloc(n, sizeof(double))) == NULL) {
    nk_free(conformal);
    return NULL;
  }
  memcpy(conformal->scores, scores, n * sizeof *scores);
  nki_sort_numbers(conformal->scores, n);
  return conformal;
}

void nki_conformal_free(struct nk_conformal *conformal) {
  if (conformal == NULL) return;
  nk_free(conformal->scores);
  nk_free(conformal);
}

double nki_conformal_p(const struct nk_conformal *conformal, double score) {
  if (isnan(score)) return (double)NAN;
  size_t below = nki_count_below(conformal->scores, conformal->n, score);
  return (double)(1 + conformal->n - below) / (double)(conformal->n + 1);
}

/* At or above it at most floor(level (n + 1)) - 1 scores may lie. */
double nki_conformal_threshold(const struct nk_conformal *conformal, double level) {
  double places = floor(level * (double)(conformal->n + 1) * (1 + 1e-12));
  if (!(places >= 1)) return (double)INFINITY;
  if (places > (double)conformal->n) return (double)-INFINITY;
  double below = conformal->scores[conformal->n - (size_t)places];
  return nextafter(below, (double)INFINITY);
}

/* ---- Short vectors of features ---- */

struct nki_typical {
  size_t dim;
  double *mean, *spread;        /* [dim] of the features of the fitting half */
  struct nk_gaussian *gaussian; /* of the standardized features */
  struct nk_conformal *calibration;
};

/* Means and standard deviations of the rows that order [n] lists. */
static void standardize(struct nki_typical *t, const double *features, const size_t *order,
                        size_t n) {
  for (size_t j = 0; j < t->dim; j++) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += features[order[i] * t->dim + j];
    t->mean[j] = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
      double difference = features[order[i] * t->dim + j] - t->mean[j];
      squares += difference * difference;
    }
    double size = fabs(t->mean[j]) > 1 ? fabs(t->mean[j]) : 1;
    t->spread[j] = sqrt(squares / (double)n);
    if (!(t->spread[j] > 1e-6 * size)) t->spread[j] = 1e-6 * size;
  }
}

/* out [n, dim] = the rows that order lists (NULL: the first n), standardized; beyond 1e15 spreads
 * all are as far away, so that their squares stay numbers. */
static void copy_standardized(const struct nki_typical *t, const double *features,
                              const size_t *order, size_t n, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < t->dim; j++) {
      double value = features[(order != NULL ? order[i] : i) * t->dim + j];
      value = (value - t->mean[j]) / t->spread[j];
      out[i * t->dim + j] = (float)(value > 1e15 ? 1e15 : value < -1e15 ? -1e15 : value);
    }
}

static int fit_typical(struct nki_typical *t, const double *features, size_t n, const size_t *order,
                       float *rows) {
  size_t n_fit = n / 2, n_rest = n - n_fit;
  standardize(t, features, order, n_fit);
  copy_standardized(t, features, order, n_fit, rows);
  struct nk_moments *moments = nk_moments_compute(rows, NULL, n_fit, t->dim);
  if (moments == NULL) return nk_error_code();
  double variance = moments->total_variance;
  if (!(variance > 0)) /* no feature ever differs: each is scaled alone */
    for (size_t j = 0; j < t->dim; j++) moments->covariance[j * t->dim + j] = 1;
  if ((t->gaussian = nk_gaussian_new(moments, variance > 0 ? -1 : 0, true)) == NULL)
    return nk_error_code();
  float *distances = nk_alloc(n_rest, sizeof *distances);
  double *scores = nk_alloc(n_rest, sizeof *scores);
  int code = distances != NULL && scores != NULL ? NK_OK : NK_EMEMORY;
  copy_standardized(t, features, order + n_fit, n_rest, rows);
  if (code == NK_OK) code = nk_mahalanobis(t->gaussian, rows, n_rest, distances);
  if (code == NK_OK) {
    for (size_t i = 0; i < n_rest; i++) scores[i] = (double)distances[i];
    t->calibration = nki_conformal_new(scores, n_rest);
    if (t->calibration == NULL) code = nk_error_code();
  }
  nk_free(distances);
  nk_free(scores);
  return code;
}

struct nki_typical *nki_typical_new(const double *features, size_t n, size_t dim, uint64_t seed) {
  if (n < 4 || dim == 0) {
    nk_fail(NK_EDATA, "%zu reference objects are too few", n);
    return NULL;
  }
  for (size_t i = 0; i < n * dim; i++)
    if (!isfinite(features[i])) {
      nk_fail(NK_EDATA, "feature %zu of reference object %zu is not a finite number", i % dim,
              i / dim);
      return NULL;
    }
  struct nki_typical *t = nk_calloc(1, sizeof *t);
  if (t == NULL) return NULL;
  t->dim = dim;
  t->mean = nk_alloc(dim, sizeof(double));
  t->spread = nk_alloc(dim, sizeof(double));
  size_t *order = nk_alloc(n, sizeof *order);
  float *rows = nk_alloc(n, dim * sizeof *rows);
  int code =
      t->mean != NULL && t->spread != NULL && order != NULL && rows != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TYPICAL, 0);
    nki_random_permutation(&random, n, order);
    code = fit_typical(t, features, n, order, rows);
  }
  nk_free(order);
  nk_free(rows);
  if (code == NK_OK) return t;
  nki_typical_free(t);
  return NULL;
}

void nki_typical_free(struct nki_typical *typical) {
  if (typical == NULL) return;
  nk_free(typical->mean);
  nk_free(typical->spread);
  nk_gaussian_free(typical->gaussian);
  nki_conformal_free(typical->calibration);
  nk_free(typical);
}

int nki_typical_score(const struct nki_typical *typical, const double *features, size_t n,
                      double *scores, double *p_values) {
  float *rows = nk_alloc(n, typical->dim * sizeof *rows), *distances = nk_alloc(n, sizeof *rows);
  int code = rows != NULL && distances != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    copy_standardized(typical, features, NULL, n, rows);
    code = nk_mahalanobis(typical->gaussian, rows, n, distances);
  }
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (scores != NULL) scores[i] = (double)distances[i];
    if (p_values != NULL) p_values[i] = nki_conformal_p(typical->calibration, (double)distances[i]);
  }
  nk_free(rows);
  nk_free(distances);
  return code;
}

double nki_typical_p_min(const struct nki_typical *typical) {
  return typical->calibration->p_min;
}
