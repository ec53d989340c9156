/* Gradients with respect to the vector: of distances, and of how far the features of a region's
 * score are from the values that have a score. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/geometry.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/region.h"

/* Rows, and what gradients of their features are made of. */
struct rows {
  const struct nk_region *region;
  const float *x; /* [n, dim] */
  size_t n;
  const int64_t *kth;   /* [n] their k-th neighbours */
  const size_t *number; /* [n] among the rows that were measured; not of distances */
  double *precision;    /* [n, dim] the precision times x - mean; or NULL */
  double *residual;     /* [n, dim] x - mean within the components that are left over; or NULL */
};

static int make_precision(struct rows *rows) {
  rows->precision = nk_alloc(rows->n, rows->region->dim * sizeof(double));
  if (rows->precision == NULL) return NK_EMEMORY;
  nki_centre_rows(rows->x, rows->n, rows->region->dim, nki_gaussian_mean(rows->region->gaussian),
                  rows->precision);
  nki_gaussian_precision(rows->region->gaussian, rows->precision, rows->n);
  return NK_OK;
}

/* x - mean, less its part in the first components. */
static int make_residual(struct rows *rows) {
  const struct nk_pca *basis = rows->region->basis;
  size_t dim = rows->region->dim, count = rows->region->n_components;
  double *scores = nk_alloc(rows->n, count * sizeof *scores);
  double *components = nk_alloc(count, dim * sizeof *components);
  rows->residual = nk_alloc(rows->n, dim * sizeof(double));
  int code = scores != NULL && components != NULL && rows->residual != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    for (size_t i = 0; i < count * dim; i++)
      components[i] = basis->precise != NULL ? basis->precise[i] : (double)basis->components[i];
    nki_centre_rows(rows->x, rows->n, rows->region->dim, nki_gaussian_mean(rows->region->gaussian),
                    rows->residual);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows->n, (int)count, (int)dim, 1,
                rows->residual, (int)dim, components, (int)dim, 0, scores, (int)count);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows->n, (int)dim, (int)count, -1,
                scores, (int)count, components, (int)dim, 1, rows->residual, (int)dim);
  }
  nk_free(scores);
  nk_free(components);
  return code;
}

static void free_rows(struct rows *rows) {
  nk_free(rows->precision);
  nk_free(rows->residual);
}

/* out [dim] += weight times the gradient of row i's distance to its k-th neighbour, `value`. */
static void add_neighbour(const struct rows *rows, size_t i, double value, double weight,
                          double *out) {
  size_t dim = rows->region->dim;
  const float *x = rows->x + i * dim;
  const float *t = rows->region->tokens->values + (size_t)rows->kth[i] * dim;
  if (rows->region->metric == NK_METRIC_L2) {
    for (size_t j = 0; j < dim; j++) out[j] += weight / value * ((double)x[j] - (double)t[j]);
    return;
  }
  double length = sqrt(nki_sum_squares(x, dim)), other = sqrt(nki_sum_squares(t, dim));
  double cosine = 1 - value;
  if (!(length > 0 && other > 0)) return; /* rows of zeros are at the same distance from all */
  for (size_t j = 0; j < dim; j++)
    out[j] += weight / length * (cosine * (double)x[j] / length - (double)t[j] / other);
}

/* out [dim] += weight times the gradient of a feature of row i, which has that value. */
static void add_feature(const struct rows *rows, enum nki_feature feature, size_t i, double value,
                        double weight, double *out) {
  size_t dim = rows->region->dim;
  const double *mean = nki_gaussian_mean(rows->region->gaussian);
  const double *made = feature == NKI_MAHALANOBIS ? rows->precision : rows->residual;
  const float *x = rows->x + i * dim;
  if (!(value > 0) || weight == 0) return;
  if (feature == NKI_KNN) {
    add_neighbour(rows, i, value, weight, out);
    return;
  }
  for (size_t j = 0; j < dim; j++) {
    double away = (double)x[j];
    if (feature == NKI_L2) away -= mean[j];
    if (feature == NKI_MAHALANOBIS || feature == NKI_RESIDUAL)
      away =
          made[i * dim + j]; /* NOLINT(clang-analyzer-core.NullDereference): the caller made it */
    out[j] += weight / value * away;
  }
}

/* ---- Distances ---- */

/* d(1 - cos)/dx = (cos x / |x| - m / |m|) / |x| */
static void add_cosine(const double *mean, const float *x, size_t dim, double *out) {
  double xx = 0, mm = 0, xm = 0;
  for (size_t j = 0; j < dim; j++) {
    xx += (double)x[j] * (double)x[j];
    mm += mean[j] * mean[j];
    xm += (double)x[j] * mean[j];
  }
  double length = sqrt(xx), other = sqrt(mm);
  if (!(length > 0 && other > 0)) return;
  for (size_t j = 0; j < dim; j++)
    out[j] = (xm / (length * other) * (double)x[j] / length - mean[j] / other) / length;
}

int nki_region_distance_gradients(const struct nk_region *region, enum nk_metric metric,
                                  const float *x, size_t n, double *gradients) {
  struct rows rows = {.region = region, .x = x, .n = n};
  double *values = nk_alloc(n, sizeof *values);
  int64_t *kth = nk_alloc(n, sizeof *kth);
  int code = values != NULL && kth != NULL ? NK_OK : NK_EMEMORY;
  rows.kth = kth;
  if (metric == NK_METRIC_DEFAULT) metric = NK_METRIC_MAHALANOBIS;
  if (code == NK_OK)
    code = metric == NK_METRIC_KNN ? nki_region_knn(region, NULL, x, n, values, kth)
                                   : nki_region_distances(region, metric, x, n, values);
  if (code == NK_OK && metric == NK_METRIC_MAHALANOBIS) code = make_precision(&rows);
  enum nki_feature feature = metric == NK_METRIC_L2    ? NKI_L2
                             : metric == NK_METRIC_KNN ? NKI_KNN
                                                       : NKI_MAHALANOBIS;
  if (code == NK_OK) memset(gradients, 0, n * region->dim * sizeof *gradients);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    double *out = gradients + i * region->dim;
    if (metric == NK_METRIC_COSINE)
      add_cosine(nki_gaussian_mean(region->gaussian), x + i * region->dim, region->dim, out);
    else
      add_feature(&rows, feature, i, values[i], 1, out);
  }
  free_rows(&rows);
  nk_free(values);
  nk_free(kth);
  return code;
}

/* ---- Scores ---- */

/* The values between which a feature, or the joint distance (feature NKI_N_FEATURES), has at most a
 * score. */
struct limit {
  enum nki_feature feature;
  double least, most;
};

/* The limits of a score; returns their number. */
static size_t limits_of(const struct nk_region *region, double level, struct limit *limits) {
  static const enum nki_feature OF_KIND[NK_N_REGION_KINDS] = {
      [NK_REGION_MAHALANOBIS] = NKI_MAHALANOBIS,
      [NK_REGION_KNN] = NKI_KNN,
      [NK_REGION_SUBSPACE] = NKI_RESIDUAL};
  if (region->kind != NK_REGION_COMBINED) {
    limits[0] = (struct limit){OF_KIND[region->kind], 0, level};
    return 1;
  }
  size_t m = region->n_ranks, n = NKI_N_RANKED - 1;
  for (size_t j = 0; j < n; j++) {
    limits[j].feature = nki_region_alone(region)[j];
    nki_rank_limits(region->ranks + j * m, m, level, &limits[j].least, &limits[j].most);
  }
  if (region->joint == NULL) return n;
  /* Its rank counts half, from the least one on; beyond the largest as the others'. */
  double middle = 0.5 * (double)(m - 1), from_middle = level > middle ? level : 2 * level - middle;
  double least;
  const double *sorted = region->ranks + n * m;
  limits[n] = (struct limit){NKI_N_FEATURES, 0, 0};
  if (from_middle >= 0)
    nki_rank_limits(sorted, m, from_middle, &least, &limits[n].most);
  else
    nki_rank_limits(sorted, m, -from_middle, &limits[n].most, &least);
  return n + 1;
}

/* How far a value is beyond its limits; *slope = the derivative. */
static double beyond(const struct limit *limit, double value, double *slope) {
  double over = limit->most > 0 ? value / limit->most - 1 : value;
  double under = limit->least > 0 ? 1 - value / limit->least : (double)-INFINITY;
  if (under > over) {
    *slope = -1 / limit->least;
    return under;
  }
  *slope = limit->most > 0 ? 1 / limit->most : 1;
  return over;
}

/* The scores, features, joint distances and their slopes of n rows. */
struct measured {
  size_t n;
  double *features; /* [NKI_N_FEATURES, n]; of other than combined regions the one alone */
  double *joint;    /* [n] */
  double *slopes;   /* [n, NKI_N_FEATURES] */
};

static int measure(const struct nk_region *region, const struct nki_region_rows *rows,
                   enum nki_feature alone, struct measured *out, double *scores) {
  size_t n = rows->n;
  if (region->kind != NK_REGION_COMBINED) {
    int code = region->kind == NK_REGION_KNN
                   ? nki_region_knn(region, rows->base, rows->x, n, scores, rows->kth)
                   : nki_region_score(region, rows, scores);
    if (code == NK_OK) memcpy(out->features + alone * n, scores, n * sizeof *scores);
    return code;
  }
  int code = nki_region_features(region, rows, out->features);
  bool joint = region->joint != NULL;
  if (code == NK_OK && joint)
    code = nki_region_joint(region->joint, out->features, n, out->joint, out->slopes);
  if (code == NK_OK)
    nki_region_combine(region, out->features, joint ? out->joint : NULL, n, scores);
  return code;
}

/* The excess [n_limits] of row i, and its gradients [n_limits, dim]. */
static void find_excess(const struct rows *rows, const struct measured *measured,
                        const struct limit *limits, size_t n_limits, size_t i, double *excess,
                        double *gradients) {
  size_t n = measured->n, at = rows->number[i];
  for (size_t l = 0; l < n_limits; l++) {
    enum nki_feature feature = limits[l].feature;
    double *gradient = gradients + l * rows->region->dim, slope;
    bool joint = feature == NKI_N_FEATURES;
    double value = joint ? measured->joint[at] : measured->features[feature * n + at];
    excess[l] = beyond(&limits[l], value, &slope);
    if (!joint) add_feature(rows, feature, i, value, slope, gradient);
    for (enum nki_feature f = 0; f < NKI_N_FEATURES && joint; f++)
      add_feature(rows, f, i, measured->features[f * n + at],
                  slope * measured->slopes[at * NKI_N_FEATURES + f], gradient);
  }
}

size_t nki_region_n_limits(const struct nk_region *region) {
  if (region->kind != NK_REGION_COMBINED) return 1;
  return region->joint != NULL ? NKI_N_RANKED : NKI_N_LEGACY;
}

/* The rows with a score above `inside`: x [n, dim], kth moved to the front, and number [n]. Returns
 * how many there are. */
static size_t keep_outside(const struct nki_region_rows *given, const double *scores, size_t dim,
                           float *x, int64_t *kth, size_t *number) {
  size_t n = 0;
  for (size_t i = 0; i < given->n; i++) {
    if (scores[i] <= given->inside) continue;
    memcpy(x + n * dim, given->x + i * dim, dim * sizeof *x);
    kth[n] = kth[i];
    number[n++] = i;
  }
  return n;
}

int nki_region_excess(const struct nk_region *region, double level,
                      const struct nki_region_rows *given, double *scores, double *excess,
                      double *gradients) {
  struct limit limits[NKI_N_RANKED];
  size_t n_limits = limits_of(region, level, limits), dim = region->dim, n = given->n;
  float *x = nk_alloc(n, dim * sizeof *x);
  int64_t *kth = nk_calloc(n, sizeof *kth);
  size_t *number = nk_alloc(n, sizeof *number);
  struct measured measured = {
      .n = n,
      .features = nk_calloc(n, NKI_N_FEATURES * sizeof(double)),
      .joint = nk_alloc(n, sizeof(double)),
      .slopes = nk_alloc(n, NKI_N_FEATURES * sizeof(double)),
  };
  struct rows rows = {.region = region, .x = x, .kth = kth, .number = number};
  bool made = x != NULL && kth != NULL && number != NULL && measured.features != NULL &&
              measured.joint != NULL && measured.slopes != NULL;
  int code = made ? NK_OK : NK_EMEMORY;
  struct nki_region_rows scored = *given;
  scored.kth = kth;
  if (code == NK_OK) code = measure(region, &scored, limits[0].feature, &measured, scores);
  if (code == NK_OK) rows.n = keep_outside(given, scores, dim, x, kth, number);
  if (code == NK_OK && nki_region_takes(region->kind, NK_REGION_MAHALANOBIS))
    code = make_precision(&rows);
  if (code == NK_OK && nki_region_takes(region->kind, NK_REGION_SUBSPACE))
    code = make_residual(&rows);
  if (code == NK_OK) memset(gradients, 0, rows.n * n_limits * dim * sizeof *gradients);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < (code == NK_OK ? rows.n : 0); i++)
    find_excess(&rows, &measured, limits, n_limits, i, excess + i * n_limits,
                gradients + i * n_limits * dim);
  free_rows(&rows);
  nk_free(x);
  nk_free(kth);
  nk_free(number);
  nk_free(measured.features);
  nk_free(measured.joint);
  nk_free(measured.slopes);
  return code;
}
