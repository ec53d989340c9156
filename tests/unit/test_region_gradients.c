/* Gradients of distances and of the limits of a region's features, against central differences of
 * the formulas of noken/region.h, which are written here a second time, in double. */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "geometry/region.h"

enum { DIM = 7, TOKENS = 240, ROWS = 60, N_LIMITS = NKI_N_RANKED };

/* Rows of several sizes, so that those of other draws lie on both sides of a region's limits. */
static struct nk_vectors *draw(uint64_t seed, size_t n) {
  struct nk_vectors *set = nk_vectors_new(n, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 7);
  for (size_t i = 0; i < n; i++) {
    double size = exp(0.8 * nki_random_normal(&random));
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (float)(0.5 + size * nki_random_normal(&random) * (double)(j + 1));
  }
  return set;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double knn_of(const struct nk_region *region, const double *x) {
  double *distance = malloc(region->n_fit * sizeof *distance), kth;
  for (size_t t = 0; t < region->n_fit; t++) {
    const float *token = region->tokens->values + t * DIM;
    double away = 0, xx = 0, tt = 0, xt = 0;
    for (size_t j = 0; j < DIM; j++) {
      away += (x[j] - (double)token[j]) * (x[j] - (double)token[j]);
      xx += x[j] * x[j];
      tt += (double)token[j] * (double)token[j];
      xt += x[j] * (double)token[j];
    }
    distance[t] = region->metric == NK_METRIC_L2 ? sqrt(away) : 1 - xt / sqrt(xx * tt);
  }
  qsort(distance, region->n_fit, sizeof *distance, ascending);
  kth = distance[region->k - 1];
  free(distance);
  return kth;
}

static double feature_of(const struct nk_region *region, enum nki_feature feature,
                         const double *x) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  double away[DIM], square = 0;
  if (feature == NKI_KNN) return knn_of(region, x);
  if (feature == NKI_N_FEATURES) {
    double logs[NKI_N_JOINT];
    for (enum nki_feature f = 0; f < NKI_N_FEATURES; f++)
      logs[f] = log(feature_of(region, f, x)) - nki_gaussian_mean(region->joint)[f];
    nki_gaussian_whiten(region->joint, logs, 1);
    for (size_t f = 0; f < NKI_N_JOINT; f++) square += logs[f] * logs[f];
    return sqrt(square);
  }
  for (size_t j = 0; j < DIM; j++) away[j] = feature == NKI_NORM ? x[j] : x[j] - mean[j];
  if (feature == NKI_MAHALANOBIS) nki_gaussian_whiten(region->gaussian, away, 1);
  if (feature != NKI_RESIDUAL) {
    for (size_t j = 0; j < DIM; j++) square += away[j] * away[j];
    return sqrt(square);
  }
  for (size_t c = region->n_components; c < DIM; c++) {
    double score = 0;
    for (size_t j = 0; j < DIM; j++)
      score += away[j] * (double)region->basis->components[c * DIM + j];
    square += score * score;
  }
  return sqrt(square);
}

/* By central differences; the step is far above the rounding of doubles, and its square far below
 * the tolerance. */
static void differences(const struct nk_region *region, enum nki_feature feature, const float *x,
                        double out[DIM]) {
  const double h = 1e-5;
  double moved[DIM];
  for (size_t j = 0; j < DIM; j++) moved[j] = (double)x[j];
  for (size_t j = 0; j < DIM; j++) {
    moved[j] = (double)x[j] + h;
    out[j] = feature_of(region, feature, moved);
    moved[j] = (double)x[j] - h;
    out[j] = (out[j] - feature_of(region, feature, moved)) / (2 * h);
    moved[j] = (double)x[j];
  }
}

static void assert_gradient(const double *got, const double want[DIM], double factor) {
  double away = 0, size = 0;
  for (size_t j = 0; j < DIM; j++) {
    away += (got[j] - factor * want[j]) * (got[j] - factor * want[j]);
    size += factor * want[j] * factor * want[j];
  }
  if (!(away <= 1e-8 * size)) fail_msg("gradient: off by %g of its length", sqrt(away / size));
}

static void distances_have_the_gradients_of_differences(void **state) {
  (void)state;
  static const enum nk_metric METRICS[] = {NK_METRIC_DEFAULT, NK_METRIC_L2, NK_METRIC_KNN};
  static const enum nki_feature FEATURES[] = {NKI_MAHALANOBIS, NKI_L2, NKI_KNN};
  struct nk_vectors *set = draw(1, TOKENS), *rows = draw(2, ROWS);
  struct nk_region *region = nk_region_fit(set, NULL, 0, NULL);
  double gradients[ROWS * DIM], want[DIM];
  for (size_t m = 0; m < 3; m++) {
    assert_int_equal(
        nki_region_distance_gradients(region, METRICS[m], rows->values, ROWS, gradients), NK_OK);
    for (size_t i = 0; i < ROWS; i++) {
      differences(region, FEATURES[m], rows->values + i * DIM, want);
      assert_gradient(gradients + i * DIM, want, 1);
    }
  }
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(rows);
}

static void the_cosine_distance_has_the_gradient_of_differences(void **state) {
  (void)state;
  struct nk_vectors *set = draw(1, TOKENS), *rows = draw(2, ROWS);
  struct nk_region *region = nk_region_fit(set, NULL, 0, NULL);
  const double *mean = nki_gaussian_mean(region->gaussian), h = 1e-5;
  double gradients[ROWS * DIM];
  assert_int_equal(
      nki_region_distance_gradients(region, NK_METRIC_COSINE, rows->values, ROWS, gradients),
      NK_OK);
  for (size_t i = 0; i < ROWS; i++) {
    double want[DIM];
    for (size_t j = 0; j < DIM; j++) {
      double value[2];
      for (int side = 0; side < 2; side++) {
        double xx = 0, mm = 0, xm = 0;
        for (size_t l = 0; l < DIM; l++) {
          double x = (double)rows->values[i * DIM + l] + (l == j ? side == 0 ? h : -h : 0);
          xx += x * x;
          mm += mean[l] * mean[l];
          xm += x * mean[l];
        }
        value[side] = 1 - xm / sqrt(xx * mm);
      }
      want[j] = (value[0] - value[1]) / (2 * h);
    }
    assert_gradient(gradients + i * DIM, want, 1);
  }
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(rows);
}

/* The features of a kind's limits. */
static size_t features_of(const struct nk_region *region, enum nki_feature *out) {
  switch (region->kind) {
    case NK_REGION_MAHALANOBIS:
      out[0] = NKI_MAHALANOBIS;
      return 1;
    case NK_REGION_KNN:
      out[0] = NKI_KNN;
      return 1;
    case NK_REGION_SUBSPACE:
      out[0] = NKI_RESIDUAL;
      return 1;
    default:
      out[0] = NKI_NORM;
      out[1] = NKI_MAHALANOBIS;
      out[2] = NKI_KNN;
      out[3] = NKI_N_FEATURES;
      return 4;
  }
}

/* Returns how many of the closer limits are lower ones. */
static size_t check_limits(const struct nk_region_options *options, double level) {
  struct nk_vectors *set = draw(3, TOKENS), *rows = draw(4, ROWS);
  struct nk_region *region = nk_region_fit(set, NULL, 0, options);
  assert_non_null(region);
  enum nki_feature features[N_LIMITS];
  size_t n = features_of(region, features), n_outside = 0, n_under = 0;
  assert_int_equal(nki_region_n_limits(region), n);
  double at = nk_region_threshold(region, level), scores[ROWS], plain[ROWS];
  double excess[ROWS * N_LIMITS], gradients[ROWS * N_LIMITS * DIM], want[DIM];
  assert_int_equal(nki_region_excess(region, at,
                                     &(struct nki_region_rows){
                                         .x = rows->values, .n = ROWS, .token = NKI_NO_TOKENS},
                                     scores, excess, gradients),
                   NK_OK);
  assert_int_equal(nk_region_score(region, rows->values, ROWS, plain, NULL), NK_OK);
  for (size_t i = 0; i < ROWS; i++) {
    double x[DIM], worst = -INFINITY;
    for (size_t j = 0; j < DIM; j++) x[j] = (double)rows->values[i * DIM + j];
    for (size_t l = 0; l < n; l++) {
      double e = excess[i * n + l], value = feature_of(region, features[l], x);
      const double *gradient = gradients + (i * n + l) * DIM;
      worst = fmax(worst, e);
      differences(region, features[l], rows->values + i * DIM, want);
      /* e = value / limit - 1 grows with the feature, e = 1 - value / limit falls. */
      double along = 0;
      for (size_t j = 0; j < DIM; j++) along += gradient[j] * want[j];
      n_under += along < 0;
      assert_gradient(gradient, want, along < 0 ? (e - 1) / value : (e + 1) / value);
    }
    assert_float_equal(scores[i], plain[i], 0);
    n_outside += scores[i] > at;
    if (fabs(worst) > 1e-5) assert_int_equal(scores[i] > at, worst > 0);
  }
  assert_in_range(n_outside, 1, ROWS - 1);
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(rows);
  return n_under;
}

static void limits_are_where_the_score_is_the_level(void **state) {
  (void)state;
  static const double LEVELS[] = {0.05, 0.3, 0.7};
  size_t n_under = 0;
  for (enum nk_region_kind kind = 0; kind < NK_N_REGION_KINDS; kind++)
    for (size_t l = 0; l < 3; l++)
      n_under +=
          check_limits(&(struct nk_region_options){.kind = kind, .n_components = 3}, LEVELS[l]);
  assert_true(n_under > 0);
  check_limits(&(struct nk_region_options){.kind = NK_REGION_KNN, .metric = NK_METRIC_COSINE}, 0.2);
}

/* Cosine distances of tokens on the other side of the origin are above 1; that of zeros is half the
 * square of a unit vector. */
static void a_neighbour_of_zeros_has_no_gradient(void **state) {
  (void)state;
  const struct nk_region_options options = {
      .kind = NK_REGION_KNN, .metric = NK_METRIC_COSINE, .k = 1};
  struct nk_vectors *set = draw(1, TOKENS);
  float *x = nk_vectors_writable(set), row[DIM];
  for (size_t i = 0; i < TOKENS * DIM; i++) x[i] = i / DIM % 2 == 0 ? 0 : 1 + fabsf(x[i]);
  for (size_t j = 0; j < DIM; j++) row[j] = -1;
  struct nk_region *region = nk_region_fit(set, NULL, 0, &options);
  if (region == NULL) fail_msg("%s", nk_error());
  double score, excess, gradient[DIM];
  assert_int_equal(
      nki_region_excess(region, 0.5,
                        &(struct nki_region_rows){.x = row, .n = 1, .token = NKI_NO_TOKENS}, &score,
                        &excess, gradient),
      NK_OK);
  assert_float_equal(score, 0.5, 1e-6);
  for (size_t j = 0; j < DIM; j++) assert_true(fabs(gradient[j]) <= 0); /* not NaN */
  nk_region_free(region);
  nk_vectors_free(set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distances_have_the_gradients_of_differences),
      cmocka_unit_test(the_cosine_distance_has_the_gradient_of_differences),
      cmocka_unit_test(a_neighbour_of_zeros_has_no_gradient),
      cmocka_unit_test(limits_are_where_the_score_is_the_level),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
