/* Regions and conformal p-values: closed forms, coverage over many draws, files. */
#include "unit.h"

#include <math.h>
#include "base/random.h"
#include "geometry/conformal.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/region.h"
#include "plot/ellipse.h"

static void assert_close(double got, double want, double relative, double scale) {
  double allowed = relative * (fabs(want) > scale ? fabs(want) : scale);
  if (!(fabs(got - want) <= allowed)) fail_msg("got %.12g, not %.12g", got, want);
}

/* ---- p-values ---- */

static void p_values_count_scores_at_least_as_large(void **state) {
  (void)state;
  const double scores[9] = {5, 1, 2, 2, 9, 3, 4, 7, 8};
  struct nk_conformal *c = nki_conformal_new(scores, 9);
  assert_close(nki_conformal_p(c, 10), 0.1, 1e-12, 0);
  assert_close(nki_conformal_p(c, 9), 0.2, 1e-12, 0);
  assert_close(nki_conformal_p(c, 2), 0.9, 1e-12, 0);
  assert_close(nki_conformal_p(c, 0), 1, 1e-12, 0);
  assert_true(isnan(nki_conformal_p(c, (double)NAN)));
  double at = nki_conformal_threshold(c, 0.2);
  assert_true(nki_conformal_p(c, at) <= 0.2 && at > 8 && at < 9);
  assert_true(nki_conformal_p(c, nextafter(at, 0)) > 0.2);
  assert_true(isinf(nki_conformal_threshold(c, 0.05)));
  assert_true(c->p_min == 0.1); /* 1 / (9 + 1) */
  nki_conformal_free(c);
  assert_null(nki_conformal_new(scores, 0));
}

/* ---- Coverage ---- */

enum { DRAWS = 200, TOKENS = 198, DIM = 6, HELD_OUT = 20 };

/* Rows of a skewed distribution with a few components, nothing like a normal one. */
static struct nk_vectors *draw(uint64_t seed, size_t n) {
  struct nk_vectors *set = nk_vectors_new(n, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 99);
  for (size_t i = 0; i < n; i++) {
    double centre = nki_random_uniform(&random) < 0.3 ? 6 : 0;
    double size = exp(0.7 * nki_random_normal(&random));
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (float)(centre + size * nki_random_normal(&random) * (double)(j + 1));
  }
  return set;
}

/* P(X >= x) for X binomial(n, p). */
static double binomial_tail(int n, double p, int x) {
  double sum = 0;
  for (int i = x; i <= n; i++)
    sum +=
        exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log1p(-p));
  return sum;
}

/* One held-out row of each draw: independent trials that come out with probability 4 / 100 exactly
 * (99 calibrating scores, level 0.04). And all of them: with 99 scores and level 0.04 the number of
 * h held-out rows outside is beta-binomial(h, 4, 96), whose mean and variance are known. */
static void held_out_rows_are_outside_as_often_as_promised(void **state) {
  (void)state;
  const double level = 0.04, a = 4, b = 96;
  for (int kind = 0; kind < NK_N_REGION_KINDS; kind++) {
    int outside = 0, first = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
      struct nk_vectors *set = draw(seed, TOKENS), *others = draw(seed + 100000, HELD_OUT);
      struct nk_region_options options = {
          .kind = (enum nk_region_kind)kind, .k = 5, .n_components = 3, .seed = seed};
      struct nk_region *region = nk_region_fit(set, NULL, set->n, &options);
      if (region == NULL) fail_msg("%s", nk_error());
      assert_int_equal(region->calibration->n, 99);
      double p[HELD_OUT];
      assert_int_equal(nk_region_score(region, others->values, HELD_OUT, NULL, p), 0);
      for (size_t i = 0; i < HELD_OUT; i++) outside += p[i] <= level;
      first += p[0] <= level;
      nk_region_free(region);
      nk_vectors_free(set);
      nk_vectors_free(others);
    }
    double upper = binomial_tail(DRAWS, 0.04, first);
    double lower = 1 - binomial_tail(DRAWS, 0.04, first + 1);
    print_message("%s: %d of %d first rows, %d of %d rows outside at level 0.04\n",
                  nk_region_kind_names[kind], first, DRAWS, outside, DRAWS * HELD_OUT);
    assert_true(upper > 1e-4 && lower > 1e-4);
    double h = HELD_OUT, mean = h * a / (a + b);
    double variance = h * a * b * (a + b + h) / ((a + b) * (a + b) * (a + b + 1));
    assert_true(fabs(outside - DRAWS * mean) < 4 * sqrt(DRAWS * variance));
  }
}

/* ---- Short vectors of features ---- */

enum { TYPICAL = 3 }; /* features: one bounded, one skewed, one that never differs */

static void draw_typical(uint64_t seed, size_t n, double *features) {
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 3);
  for (size_t i = 0; i < n; i++) {
    features[i * TYPICAL] = 1e-3 * nki_random_uniform(&random);
    features[i * TYPICAL + 1] = 1e4 * exp(nki_random_normal(&random));
    features[i * TYPICAL + 2] = 7;
  }
}

static void typical_features_are_outside_as_often_as_promised(void **state) {
  (void)state;
  enum { N = 199 };
  int outside = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    double features[(N + 1) * TYPICAL], p[1];
    draw_typical(seed, N + 1, features);
    struct nki_typical *typical = nki_typical_new(features, N, TYPICAL, 1);
    assert_non_null(typical);
    assert_int_equal(nki_typical_p(typical, features + N * TYPICAL, 1, p), NK_OK);
    outside += p[0] <= 0.05;
    nki_typical_free(typical);
  }
  assert_true(binomial_tail(400, 0.05, outside) > 1e-4);
  assert_true(binomial_tail(400, 0.05, outside + 1) < 1 - 1e-4);
}

/* Judged within the reference, a member has the share of members that are as strange. */
static void typical_members_have_the_p_values_of_their_ranks(void **state) {
  (void)state;
  enum { N = 60 };
  double features[N * TYPICAL], p[N], least = 1;
  draw_typical(5, N, features);
  struct nki_typical *typical = nki_typical_new(features, N, TYPICAL, 2);
  for (size_t i = 0; i < N; i++) p[i] = nki_typical_p_of_member(typical, i);
  for (size_t i = 0; i < N; i++) {
    size_t as_strange = 0;
    for (size_t k = 0; k < N; k++) as_strange += p[k] <= p[i];
    assert_close(p[i] * N, (double)as_strange, 1e-9, 0);
    least = fmin(least, p[i]);
  }
  assert_close(least, 1.0 / N, 1e-12, 0);
  nki_typical_free(typical);
}

/* A p-value does not depend on which of the set is called the tested one: object k of n + 1, judged
 * by the n others, has the p-value that it has as a member of a reference of all n + 1. */
static void typical_treats_the_tested_object_as_the_others(void **state) {
  (void)state;
  enum { N = 24 };
  double features[(N + 1) * TYPICAL], others[N * TYPICAL], p;
  draw_typical(8, N + 1, features);
  features[4 * TYPICAL + 1] = features[9 * TYPICAL + 1]; /* a tie */
  features[6 * TYPICAL + 2] = 8;
  struct nki_typical *all = nki_typical_new(features, N + 1, TYPICAL, 1);
  for (size_t k = 0; k <= N; k++) {
    for (size_t i = 0, to = 0; i <= N; i++)
      if (i != k) memcpy(others + TYPICAL * to++, features + i * TYPICAL, sizeof(double[TYPICAL]));
    struct nki_typical *rest = nki_typical_new(others, N, TYPICAL, 1);
    assert_int_equal(nki_typical_p(rest, features + k * TYPICAL, 1, &p), NK_OK);
    assert_close(p, nki_typical_p_of_member(all, k), 1e-12, 0);
    nki_typical_free(rest);
  }
  nki_typical_free(all);
}

/* An object equal to a member ties with it, wherever their rows stand in a matrix product. */
static void typical_counts_an_equal_member_as_a_tie(void **state) {
  (void)state;
  enum { N = 256, WIDTH = 15 };
  double *features = nk_alloc((N + 1) * WIDTH, sizeof *features);
  struct nki_random random = nki_random_stream(2, NKI_RANDOM_TEST, 3);
  for (size_t i = 0; i < N * WIDTH; i++)
    features[i] = nki_random_normal(&random) + (i % WIDTH > 3 ? 5 * features[i - 1] : 0);
  struct nki_typical *typical = nki_typical_new(features, N, WIDTH, 3);
  for (size_t k = 0; k < N; k++) {
    double p;
    memcpy(features + N * WIDTH, features + k * WIDTH, sizeof(double[WIDTH]));
    struct nki_typical *all = nki_typical_new(features, N + 1, WIDTH, 3);
    assert_int_equal(nki_typical_p(typical, features + N * WIDTH, 1, &p), NK_OK);
    assert_true(p == nki_typical_p_of_member(all, k));
    assert_true(p == nki_typical_p_of_member(all, N));
    nki_typical_free(all);
  }
  nki_typical_free(typical);
  nk_free(features);
}

/* On either side of each feature, and of collinear ones together. */
static void typical_sees_strangeness_on_every_side(void **state) {
  (void)state;
  enum { N = 256, STRANGE = 6 };
  double features[N * 2], p[STRANGE + 1];
  const double strange[] = {0, 3, 0, -3, 3, 0, -3, 0, 3, -2.5, 3.5, 3.5, 0, 0};
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 3);
  for (size_t i = 0; i < N; i++) {
    features[2 * i] = nki_random_normal(&random);
    features[2 * i + 1] = 0.9 * features[2 * i] + 0.1 * nki_random_normal(&random);
  }
  struct nki_typical *typical = nki_typical_new(features, N, 2, 1);
  assert_int_equal(nki_typical_p(typical, strange, STRANGE + 1, p), NK_OK);
  for (int i = 0; i < STRANGE; i++)
    if (p[i] > 0.02) fail_msg("strange object %d: p %g", i, p[i]);
  assert_close(p[STRANGE - 1], 1.0 / (N + 1), 1e-12, 0); /* the farthest of all in both features */
  assert_close(nki_typical_p_min(typical), 1.0 / (N + 1), 1e-12, 0);
  assert_true(p[STRANGE] > 0.5);
  nki_typical_free(typical);
  features[5] = (double)INFINITY;
  assert_null(nki_typical_new(features, N, 2, 1));
  assert_null(nki_typical_new(features, 3, 1, 1));
}

/* ---- Scores ---- */

static struct nk_region *fit(const struct nk_vectors *set, enum nk_region_kind kind) {
  struct nk_region_options options = {.kind = kind, .k = 3, .n_components = 2, .seed = 4};
  struct nk_region *region = nk_region_fit(set, NULL, set->n, &options);
  if (region == NULL) fail_msg("%s", nk_error());
  return region;
}

static void scores_are_what_their_kinds_say(void **state) {
  (void)state;
  struct nk_vectors *set = draw(1, 120), *others = draw(2, 7);
  double scores[7];
  float mahalanobis[7];

  struct nk_region *region = fit(set, NK_REGION_MAHALANOBIS);
  struct nk_moments *moments = nk_moments_compute(region->tokens->values, NULL, 60, DIM);
  struct nk_gaussian *gaussian = nk_gaussian_new(moments, -1, false);
  assert_int_equal(region->n_fit, 60);
  assert_int_equal(nk_region_score(region, others->values, 7, scores, NULL), 0);
  assert_int_equal(nk_mahalanobis(gaussian, others->values, 7, mahalanobis), 0);
  for (size_t i = 0; i < 7; i++) assert_close(scores[i], (double)mahalanobis[i], 1e-6, 0);
  nk_gaussian_free(gaussian);
  nk_region_free(region);

  region = fit(set, NK_REGION_KNN);
  struct nk_knn *knn = nk_knn_search(region->tokens->values, 60, DIM, others->values, 7,
                                     &(struct nk_knn_options){.k = 3});
  assert_int_equal(nk_region_score(region, others->values, 7, scores, NULL), 0);
  for (size_t i = 0; i < 7; i++) assert_close(scores[i], knn->distances[i * 3 + 2], 1e-9, 0);
  nk_knn_free(knn);
  nk_region_free(region);

  region = fit(set, NK_REGION_SUBSPACE);
  struct nk_pca *pca = nk_pca_new(moments, 2, true);
  float left[7 * DIM];
  assert_int_equal(nk_pca_remove(pca, others->values, 7, 2, left), 0);
  assert_int_equal(nk_region_score(region, others->values, 7, scores, NULL), 0);
  for (size_t i = 0; i < 7; i++) {
    double square = 0;
    for (size_t j = 0; j < DIM; j++) square += pow((double)left[i * DIM + j], 2);
    assert_close(scores[i], sqrt(square), 1e-5, 0.1);
  }
  nk_pca_free(pca);
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(others);
}

/* Outside by one score only is outside by the combined one: a copy of a token is near its
 * neighbours, but a vector far along the smallest component is seen by the subspace. */
static void the_combined_score_sees_what_each_score_sees(void **state) {
  (void)state;
  struct nk_vectors *set = draw(5, 400);
  struct nk_region *region = fit(set, NK_REGION_COMBINED);
  assert_int_equal(region->n_fit, 160);
  assert_int_equal(region->n_ranks, 40);
  float far[3 * DIM];
  const double *mean = nki_gaussian_mean(region->gaussian);
  const struct nk_pca *basis = nk_region_basis(region);
  for (size_t j = 0; j < DIM; j++) {
    far[j] = (float)(mean[j] + 1000 * (double)basis->components[j]);
    far[DIM + j] = (float)(mean[j] + 100 * (double)basis->components[(DIM - 1) * DIM + j]);
    far[2 * DIM + j] = region->tokens->values[j];
  }
  double p[3];
  assert_int_equal(nk_region_score(region, far, 3, NULL, p), 0);
  assert_close(p[0], 1.0 / 201, 1e-12, 0);
  assert_close(p[1], 1.0 / 201, 1e-12, 0);
  assert_true(p[2] > 0.01);
  nk_region_free(region);
  nk_vectors_free(set);
}

/* Five features of a row, by other ways than the region's: the inverse of the covariance, all
 * distances, all components. */
static void features_of(const struct nk_region *region, const float *x, double out[5]) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  const struct nk_pca *basis = region->basis;
  double difference[DIM], solved[DIM], distance[TOKENS];
  memset(out, 0, 5 * sizeof *out);
  for (size_t j = 0; j < DIM; j++) {
    difference[j] = solved[j] = (double)x[j] - mean[j];
    out[0] += (double)x[j] * (double)x[j];
    out[1] += difference[j] * difference[j];
  }
  nki_gaussian_precision(region->gaussian, solved, 1);
  for (size_t j = 0; j < DIM; j++) out[2] += difference[j] * solved[j];
  for (size_t i = 0; i < region->n_fit; i++)
    distance[i] = nki_distance_squares(x, region->tokens->values + i * DIM, DIM);
  nki_sort_numbers(distance, region->n_fit);
  out[3] = distance[region->k - 1];
  for (size_t k = region->n_components; k < DIM; k++) {
    double score = 0;
    for (size_t j = 0; j < DIM; j++)
      score += difference[j] * (double)basis->components[k * DIM + j];
    out[4] += score * score;
  }
  for (size_t f = 0; f < 5; f++) out[f] = sqrt(out[f]);
}

/* The Mahalanobis distance of the logarithms of features by the region's joint distribution. */
static double joint_of(const struct nk_region *region, const double features[5]) {
  double difference[5], solved[5], sum = 0;
  for (size_t f = 0; f < 5; f++)
    difference[f] = solved[f] = log(features[f]) - nki_gaussian_mean(region->joint)[f];
  nki_gaussian_precision(region->joint, solved, 1);
  for (size_t f = 0; f < 5; f++) sum += difference[f] * solved[f];
  return sqrt(sum);
}

/* The score of noken/region.h, from sorted scores [4, m], by counting. */
static double largest_rank(const struct nk_region *region, const double score[4]) {
  double largest = 0, m = (double)region->n_ranks, middle = (m - 1) / 2;
  for (size_t j = 0; j < 4; j++) {
    const double *s = region->ranks + j * region->n_ranks;
    size_t below = 0;
    double median = 0.5 * (s[region->n_ranks / 2] + s[(region->n_ranks - 1) / 2]), rank;
    while (below < region->n_ranks && s[below] <= score[j]) below++;
    if (below == region->n_ranks)
      rank = middle + (score[j] - s[below - 1]) / (s[below - 1] - median);
    else if (below == 0)
      rank = j == 3 ? 0 : middle + (s[0] - score[j]) / (median - s[0]);
    else
      rank = (double)below - 1 + (score[j] - s[below - 1]) / (s[below] - s[below - 1]);
    if (below > 0 && below < region->n_ranks) rank = j == 3 ? rank / 2 : fabs(rank - middle);
    if (rank > largest) largest = rank;
  }
  return largest;
}

static void the_combined_score_is_the_largest_of_its_ranks(void **state) {
  (void)state;
  struct nk_vectors *set = draw(17, TOKENS), *others = draw(18, 30);
  struct nk_region *region = fit(set, NK_REGION_COMBINED);
  double got[30], features[5];
  for (size_t i = 0; i < 3; i++) /* one near the mean, one far away, one at a token */
    for (size_t j = 0; j < DIM; j++)
      nk_vectors_writable(others)[i * DIM + j] =
          i == 0   ? (float)nki_gaussian_mean(region->gaussian)[j] + 0.01f
          : i == 1 ? 500.0f * (float)j
                   : region->tokens->values[j] + 0.001f;
  assert_int_equal(nk_region_score(region, others->values, 30, got, NULL), NK_OK);
  for (size_t i = 0; i < 30; i++) {
    features_of(region, others->values + i * DIM, features);
    const double score[4] = {features[0], features[2], features[3], joint_of(region, features)};
    assert_close(got[i], largest_rank(region, score), 1e-4, 1);
  }
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(others);
}

/* The joint distribution is that of the logarithms over the tokens that rank, shrunk by 1 / r. */
static void the_joint_distribution_is_of_the_ranking_tokens(void **state) {
  (void)state;
  enum { R = 20 };
  struct nk_vectors *set = draw(20, TOKENS);
  struct nk_region *region = fit(set, NK_REGION_COMBINED);
  double features[R][5], mean[5] = {0};
  assert_int_equal(region->n_ranks, R);
  for (size_t i = 0; i < R; i++) {
    features_of(region, region->tokens->values + (region->n_fit + i) * DIM, features[i]);
    for (size_t f = 0; f < 5; f++) mean[f] += log(features[i][f]) / R;
  }
  for (size_t f = 0; f < 5; f++) {
    assert_close(nki_gaussian_mean(region->joint)[f], mean[f], 1e-5, 1);
    for (size_t g = 0; g < 5; g++) {
      double sum = 0;
      for (size_t i = 0; i < R; i++)
        sum += (log(features[i][f]) - mean[f]) * (log(features[i][g]) - mean[g]) / R;
      assert_close(nki_gaussian_covariance(region->joint, f, g), f == g ? sum : sum * (1 - 1.0 / R),
                   1e-4, 0.01);
    }
  }
  nk_region_free(region);
  nk_vectors_free(set);
}

/* Normal rows of standard deviation 1, and 10^6 in one direction off the axes. */
static struct nk_vectors *draw_massive(uint64_t seed, size_t n) {
  struct nk_vectors *set = nk_vectors_new(n, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 98);
  for (size_t i = 0; i < n; i++) {
    double far = 1e6 * nki_random_normal(&random) / sqrt(DIM);
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (float)(nki_random_normal(&random) + (j % 2 ? far : -far));
  }
  return set;
}

/* The residual of the first row after the first component of rows x [n, DIM], by power steps in
 * double. */
static double first_residual(const float *x, size_t n) {
  double mean[DIM] = {0}, v[DIM], w[DIM], score = 0, square = 0;
  for (size_t i = 0; i < n * DIM; i++) mean[i % DIM] += (double)x[i] / (double)n;
  for (size_t j = 0; j < DIM; j++) v[j] = j % 2 ? 1 : -1;
  for (int step = 0; step < 5; step++) {
    double length = 0;
    memset(w, 0, sizeof w);
    for (size_t i = 0; i < n; i++) {
      double product = 0;
      for (size_t j = 0; j < DIM; j++) product += ((double)x[i * DIM + j] - mean[j]) * v[j];
      for (size_t j = 0; j < DIM; j++) w[j] += product * ((double)x[i * DIM + j] - mean[j]);
    }
    for (size_t j = 0; j < DIM; j++) length += w[j] * w[j];
    for (size_t j = 0; j < DIM; j++) v[j] = w[j] / sqrt(length);
  }
  for (size_t j = 0; j < DIM; j++) score += ((double)x[j] - mean[j]) * v[j];
  for (size_t j = 0; j < DIM; j++) square += pow((double)x[j] - mean[j] - score * v[j], 2);
  return sqrt(square);
}

static void a_massive_dimension_does_not_drown_the_residual(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/massive.safetensors", (char *)*state);
  for (uint64_t seed = 0; seed < 10; seed++) {
    struct nk_vectors *set = draw_massive(seed, 200);
    struct nk_region *region =
        nk_region_fit(set, NULL, set->n, &(struct nk_region_options){.kind = NK_REGION_SUBSPACE});
    assert_int_equal(region->n_components, 1);
    double score, want = first_residual(region->tokens->values, region->n_fit);
    assert_int_equal(nk_region_score(region, region->tokens->values, 1, &score, NULL), NK_OK);
    assert_close(score, want, 1e-4, 0);
    struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
    assert_int_equal(nk_region_write(region, output), NK_OK);
    assert_int_equal(nk_output_commit(output), NK_OK);
    nk_output_free(output);
    nk_region_free(region);
    region = nk_region_read(path);
    assert_non_null(region);
    assert_int_equal(nk_region_score(region, region->tokens->values, 1, &score, NULL), NK_OK);
    assert_close(score, want, 1e-4, 0);
    nk_region_free(region);
    nk_vectors_free(set);
  }
}

static void the_tokens_own_distances_leave_themselves_out(void **state) {
  (void)state;
  struct nk_vectors *set = draw(6, 80);
  struct nk_region *region = fit(set, NK_REGION_MAHALANOBIS);
  assert_null(region->own[NK_METRIC_KNN]);
  const double *own = nki_region_own(region, NK_METRIC_KNN);
  struct nk_knn *self =
      nk_knn_search(region->tokens->values, 40, DIM, NULL, 0, &(struct nk_knn_options){.k = 3});
  for (size_t i = 0; i < 40; i++) assert_close(own[i], self->distances[i * 3 + 2], 1e-9, 0);
  double distance[80];
  for (int m = NK_METRIC_L2; m < NK_N_METRICS; m++) {
    own = nki_region_own(region, (enum nk_metric)m);
    assert_int_equal(nki_region_distances(region, (enum nk_metric)m,
                                          region->tokens->values + 40 * DIM, 40, distance),
                     0);
    for (size_t i = 0; i < 40; i++) assert_close(own[40 + i], distance[i], 1e-6, 0);
  }
  nk_knn_free(self);
  nk_region_free(region);
  nk_vectors_free(set);
}

static void the_split_is_seeded(void **state) {
  (void)state;
  struct nk_vectors *set = draw(7, 60);
  struct nk_region_options options = {.seed = 1};
  struct nk_region *a = nk_region_fit(set, NULL, 60, &options);
  struct nk_region *b = nk_region_fit(set, NULL, 60, &options);
  options.seed = 2;
  struct nk_region *c = nk_region_fit(set, NULL, 60, &options);
  assert_memory_equal(a->tokens->ids, b->tokens->ids, 60 * sizeof(int64_t));
  assert_memory_not_equal(a->tokens->ids, c->tokens->ids, 60 * sizeof(int64_t));
  size_t in_both = 0;
  for (size_t i = 0; i < 30; i++)
    for (size_t j = 30; j < 60; j++) in_both += a->tokens->ids[i] == a->tokens->ids[j];
  assert_int_equal(in_both, 0);
  nk_region_free(a);
  nk_region_free(b);
  nk_region_free(c);
  nk_vectors_free(set);
}

static void too_few_or_equal_rows_make_no_region(void **state) {
  (void)state;
  struct nk_vectors *set = draw(8, 60);
  struct nk_region_options options = {.kind = NK_REGION_COMBINED, .n_components = 2};
  assert_null(nk_region_fit(set, NULL, 9, &options));
  options = (struct nk_region_options){.kind = NK_REGION_SUBSPACE, .n_components = DIM};
  assert_null(nk_region_fit(set, NULL, 60, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  options = (struct nk_region_options){.kind = NK_REGION_KNN, .tokens = NK_TOKENS_NONE};
  assert_null(nk_region_fit(set, NULL, 60, &options));
  memset(nk_vectors_writable(set), 0, 60 * DIM * sizeof(float));
  options = (struct nk_region_options){.kind = NK_REGION_MAHALANOBIS};
  assert_null(nk_region_fit(set, NULL, 60, &options));
  nk_vectors_free(set);
}

static void zeroed_options_fit_the_defaults(void **state) {
  (void)state;
  struct nk_vectors *set = draw(15, 120), *others = draw(16, 5);
  const struct nk_region_options zeroed = {0};
  struct nk_region *region = nk_region_fit(set, NULL, 0, NULL);
  struct nk_region *same = nk_region_fit(set, NULL, 0, &zeroed);
  double a[5], b[5];
  assert_int_equal(region->kind, NK_REGION_COMBINED);
  assert_int_equal(region->tokens->n, 120);
  assert_int_equal(region->k, 10);
  assert_int_equal(region->metric, NK_METRIC_L2);
  assert_true(region->calibration->p_min == 1.0 / 61);
  assert_int_equal(nk_region_score(region, others->values, 5, a, NULL), NK_OK);
  assert_int_equal(nk_region_score(same, others->values, 5, b, NULL), NK_OK);
  assert_memory_equal(a, b, sizeof a);
  nk_region_free(region);
  nk_region_free(same);
  nk_vectors_free(set);
  nk_vectors_free(others);
}

/* Columns of variance 100, 25 and 1, and three near 0: two components explain 99%, one 79%. */
static void zeroed_components_explain_nine_tenths(void **state) {
  (void)state;
  enum { ROWS = 4000 };
  static const double spread[DIM] = {10, 5, 1, 0.01, 0.01, 0.01};
  struct nk_vectors *set = nk_vectors_new(ROWS, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 7);
  for (size_t i = 0; i < ROWS * DIM; i++)
    x[i] = (float)(spread[i % DIM] * nki_random_normal(&random));
  struct nk_region *region =
      nk_region_fit(set, NULL, 0, &(struct nk_region_options){.kind = NK_REGION_SUBSPACE});
  if (region == NULL) fail_msg("%s", nk_error());
  assert_int_equal(region->n_components, 2);
  nk_region_free(region);
  nk_vectors_free(set);
}

/* A program of several calls needs one check at its end. */
static void a_failed_call_is_passed_on(void **state) {
  (void)state;
  double value;
  float x[DIM] = {0};
  struct nk_vectors *none = nk_vectors_read("/nowhere/none.npy");
  struct nk_region *region = nk_region_fit(none, NULL, 0, NULL);
  assert_null(region);
  assert_null(nk_sample(region, NULL));
  assert_null(nk_sample_inside(region, 3, 0));
  assert_null(nk_sample_match(region, none, 3, 0));
  assert_null(nk_region_basis(region));
  assert_int_equal(nk_region_score(region, x, 1, &value, NULL), NK_ENOTFOUND);
  assert_int_equal(nki_region_distances(region, NK_METRIC_L2, x, 1, &value), NK_ENOTFOUND);
  assert_int_equal(nk_region_write(region, NULL), NK_ENOTFOUND);
  assert_true(isnan(nk_region_threshold(region, 0.05)));
  struct nk_moments *moments = nk_moments_compute(NULL, NULL, 1, DIM);
  assert_null(nk_gaussian_new(moments, -1, true));
  assert_null(nk_pca_new(moments, 2, true));
  assert_int_equal(nk_mahalanobis(NULL, x, 1, x), NK_ENOTFOUND);
  assert_int_equal(nk_pca_project(NULL, x, 1, 1, false, x), NK_ENOTFOUND);
  assert_null(nk_knn_search(NULL, 1, DIM, NULL, 0, NULL));
  assert_int_equal(nk_error_code(), NK_ENOTFOUND);
  assert_non_null(strstr(nk_error(), "/nowhere/none.npy"));
}

static void padding_is_told_from_tokens(void **state) {
  (void)state;
  float x[14] = {1, 2, 0, 0, 3, 4, 1, 2, 1, 2, 0, 0, 2, 1};
  unsigned char keep[7], want[7] = {1, 0, 1, 0, 0, 0, 1};
  assert_int_equal(nk_ordinary_rows(x, 7, 2, keep), 0);
  assert_memory_equal(keep, want, 7);
}

/* ---- Components ---- */

static void an_ellipse_holds_its_part(void **state) {
  (void)state;
  const struct plot_normal normal = {{3, -1}, {4, 1.5, 1}};
  double x[65], y[65];
  plot_ellipse(&normal, 0.95, 65, x, y);
  double determinant = 4 * 1 - 1.5 * 1.5;
  for (size_t i = 0; i < 65; i++) {
    double u = x[i] - 3, v = y[i] + 1;
    double square = (1 * u * u - 2 * 1.5 * u * v + 4 * v * v) / determinant;
    assert_close(square, 5.991464547107979, 1e-9, 0); /* scipy.stats.chi2.ppf(0.95, 2) */
  }
  assert_true(x[0] == x[64] && y[0] == y[64]);
}

/* u^T C v, with the elements of the covariance. */
static double along(const struct nk_region *region, const float *u, const float *v) {
  double sum = 0;
  for (size_t i = 0; i < DIM; i++)
    for (size_t j = 0; j < DIM; j++)
      sum += (double)u[i] * nki_gaussian_covariance(region->gaussian, i, j) * (double)v[j];
  return sum;
}

static void a_region_is_projected_on_components_of_any_basis(void **state) {
  (void)state;
  struct nk_vectors *set = draw(9, 200), *other = draw(19, 100);
  struct nk_pca *another = nk_pca_new(nk_moments_compute(other->values, NULL, 100, DIM), DIM, true);
  for (int kind = 0; kind < NK_N_REGION_KINDS; kind++) {
    struct nk_region *region = fit(set, (enum nk_region_kind)kind);
    const double *mean = nki_gaussian_mean(region->gaussian);
    struct plot_normal normal;
    for (int own = 0; own < 2; own++) {
      const struct nk_pca *basis = own ? nk_region_basis(region) : another;
      const float *u = basis->components, *v = basis->components + 2 * DIM;
      assert_int_equal(plot_project_region(region, basis, 0, 2, &normal), NK_OK);
      double centre = 0;
      for (size_t j = 0; j < DIM; j++) centre += (mean[j] - basis->mean[j]) * (double)u[j];
      assert_close(normal.centre[0], centre, 1e-6, 1);
      assert_close(normal.covariance[0], along(region, u, u), 1e-5, 0);
      assert_close(normal.covariance[1], along(region, u, v), 1e-5, normal.covariance[0]);
      assert_close(normal.covariance[2], along(region, v, v), 1e-5, 0);
      assert_int_equal(plot_project_region(region, basis, 0, 0, &normal), NK_EUSAGE);
    }
    nk_region_free(region);
  }
  nk_pca_free(another);
  nk_vectors_free(other);
  nk_vectors_free(set);
}

/* ---- Files ---- */

static void write_region(const struct nk_region *region, const char *path) {
  struct nk_output *output = nk_output_open(path, NK_OUTPUT_BINARY);
  assert_int_equal(nk_region_write(region, output), 0);
  assert_int_equal(nk_output_commit(output), 0);
  nk_output_free(output);
}

static void a_region_reads_back_the_same(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/region.safetensors", (char *)*state);
  struct nk_vectors *set = draw(10, 90), *others = draw(11, 9);
  int64_t ends[91];
  char text[91];
  for (int64_t i = 0; i <= 90; i++) ends[i] = i;
  memset(text, 'a', sizeof text);
  assert_int_equal(nk_vectors_set_text(set, text, ends), 0);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.model", "tiny"), 0);
  for (int kind = 0; kind < NK_N_REGION_KINDS; kind++) {
    struct nk_region *region = fit(set, (enum nk_region_kind)kind);
    write_region(region, path);
    struct nk_region *copy = nk_region_read(path);
    if (copy == NULL) fail_msg("%s", nk_error());
    double a[18], b[18];
    assert_int_equal(nk_region_score(region, others->values, 9, a, a + 9), 0);
    assert_int_equal(nk_region_score(copy, others->values, 9, b, b + 9), 0);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_equal(region->tokens->ids, copy->tokens->ids, 90 * sizeof(int64_t));
    assert_memory_equal(region->tokens->values, copy->tokens->values, 90 * DIM * sizeof(float));
    assert_string_equal(nk_vectors_metadata(copy->tokens, "noken.model"), "tiny");
    for (int m = 0; m < NK_N_METRICS; m++)
      if (region->own[m] != NULL)
        assert_memory_equal(region->own[m], copy->own[m], 90 * sizeof(double));
    nk_region_free(region);
    nk_region_free(copy);
  }
  nk_vectors_free(set);
  nk_vectors_free(others);
}

/* Tokens kept as F16 are rounded before anything is fitted: the file gives the same scores. Without
 * tokens the scores stay, neighbours are refused. */
static void tokens_can_be_kept_smaller_or_not_at_all(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/small.safetensors", (char *)*state);
  struct nk_vectors *set = draw(12, 90), *others = draw(13, 5);
  double a[5], b[5];
  struct nk_region_options options = {.kind = NK_REGION_KNN, .k = 2, .tokens = NK_TOKENS_F16};
  struct nk_region *region = nk_region_fit(set, NULL, 90, &options);
  write_region(region, path);
  struct nk_region *copy = nk_region_read(path);
  assert_int_equal(copy->keep, NK_TOKENS_F16);
  assert_int_equal(nk_region_score(region, others->values, 5, a, NULL), 0);
  assert_int_equal(nk_region_score(copy, others->values, 5, b, NULL), 0);
  assert_memory_equal(a, b, sizeof a);
  nk_region_free(region);
  nk_region_free(copy);

  options = (struct nk_region_options){.kind = NK_REGION_MAHALANOBIS, .tokens = NK_TOKENS_NONE};
  region = nk_region_fit(set, NULL, 90, &options);
  write_region(region, path);
  copy = nk_region_read(path);
  assert_null(copy->tokens->values);
  assert_int_equal(copy->tokens->n, 90);
  assert_int_equal(nk_region_score(copy, others->values, 5, a, NULL), 0);
  assert_non_null(nki_region_own(copy, NK_METRIC_MAHALANOBIS));
  assert_null(nki_region_own(copy, NK_METRIC_KNN));
  nk_region_free(region);
  nk_region_free(copy);

  options = (struct nk_region_options){.tokens = NK_TOKENS_AUTO};
  for (size_t i = 0; i < 90 * DIM; i++) nk_vectors_writable(set)[i] = (float)(i * 7 % 256) / 8;
  region = nk_region_fit(set, NULL, 90, &options);
  assert_int_equal(region->keep, NK_TOKENS_BF16);
  nk_region_free(region);
  nk_vectors_free(set);
  nk_vectors_free(others);
}

/* Of version 0.2.0, with scores and p-values by that version's nk-region: the rows are tokens 300
 * to 305 of gpt2-tiny on three components (nk-pca --project 3). */
static void a_combined_region_of_0_2_0_is_scored_as_before(void **state) {
  (void)state;
  static const float x[6][3] = {{-0.137845352f, 0.152628154f, -0.322316229f},
                                {-0.0775762796f, -0.246348798f, 0.243025482f},
                                {-0.0324911028f, -0.227836102f, 0.0248558614f},
                                {-0.0870592073f, -0.198077708f, -0.168703079f},
                                {0.592540026f, 0.130715579f, 0.0211936384f},
                                {-0.257568091f, 0.388918877f, 0.201944351f}};
  static const double want[6] = {0.275722909, 0.410054514, 26.7238922,
                                 14.6216052,  0.824111727, 0.565365332};
  struct nk_region *region = nk_region_read("tests/fuzz/corpus/region/combined-three-ranks");
  double got[6], p[6];
  if (region == NULL) fail_msg("%s", nk_error());
  assert_int_equal(nk_region_score(region, x[0], 6, got, p), NK_OK);
  for (size_t i = 0; i < 6; i++) assert_close(got[i], want[i], 1e-5, 1);
  assert_close(p[2], 1.0 / 13, 1e-12, 0);
  assert_close(p[4], 9.0 / 13, 1e-12, 0);
  nk_region_free(region);
}

static void damaged_files_are_refused(void **state) {
  char path[256];
  snprintf(path, sizeof path, "%s/damaged.safetensors", (char *)*state);
  struct nk_vectors *set = draw(14, 40);
  struct nk_region *region = fit(set, NK_REGION_COMBINED);
  write_region(region, path);
  nk_region_free(region);
  nk_vectors_free(set);
  FILE *file = fopen(path, "rb");
  static char bytes[1 << 16];
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  static const char *const CHANGES[][2] = {
      {"\"region\"", "\"recion\""},
      {"\"noken.region.fit\":\"16\"", "\"noken.region.fit\":\"96\""},
      {"\"combined\"", "\"conbined\""},
      {"\"ranks\"", "\"rants\""},
      {"\"joint.mean\"", "\"joint.mead\""},
      {"\"joint.covariance\"", "\"joint.covarianse\""},
      {"\"covariance\"", "\"covarianse\""},
      {"\"calibration\"", "\"calibratios\""},
      {"\"id\"", "\"io\""},
      {"\"noken.region.ranks\":\"4\"", "\"noken.region.ranks\":\"3\""}};
  for (size_t i = 0; i < sizeof CHANGES / sizeof CHANGES[0]; i++) {
    size_t length = strlen(CHANGES[i][0]);
    char *at = memmem(bytes, n, CHANGES[i][0], length);
    if (at == NULL) fail_msg("no %s in the header", CHANGES[i][0]);
    memcpy(at, CHANGES[i][1], length);
    write_bytes(path, bytes, n);
    assert_null(nk_region_read(path));
    memcpy(at, CHANGES[i][0], length);
  }
  /* Numbers that are none: in the data, the first one of a tensor. */
  static const char *const NAMES[] = {"\"mean\"", "\"covariance\"", "\"joint.mean\"",
                                      "\"joint.covariance\""};
  for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
    uint64_t header;
    double kept, bad = (double)NAN;
    memcpy(&header, bytes, sizeof header);
    const char *at = memmem(bytes, n, NAMES[i], strlen(NAMES[i]));
    char *data = bytes + 8 + header + strtoul(strstr(at, "offsets\":[") + 10, NULL, 10);
    memcpy(&kept, data, sizeof kept);
    memcpy(data, &bad, sizeof bad);
    write_bytes(path, bytes, n);
    assert_null(nk_region_read(path));
    assert_non_null(strstr(nk_error(), "holds a NaN"));
    memcpy(data, &kept, sizeof kept);
  }
  for (size_t cut = 1; cut < n; cut += n / 7) {
    write_bytes(path, bytes, cut);
    assert_null(nk_region_read(path));
  }
}

int main(void) {
  nk_set_threads(1); /* thousands of tiny fits: threads would only wait for each other */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(p_values_count_scores_at_least_as_large),
      cmocka_unit_test(held_out_rows_are_outside_as_often_as_promised),
      cmocka_unit_test(typical_features_are_outside_as_often_as_promised),
      cmocka_unit_test(typical_members_have_the_p_values_of_their_ranks),
      cmocka_unit_test(typical_treats_the_tested_object_as_the_others),
      cmocka_unit_test(typical_counts_an_equal_member_as_a_tie),
      cmocka_unit_test(typical_sees_strangeness_on_every_side),
      cmocka_unit_test(scores_are_what_their_kinds_say),
      cmocka_unit_test(the_combined_score_sees_what_each_score_sees),
      cmocka_unit_test(the_combined_score_is_the_largest_of_its_ranks),
      cmocka_unit_test(the_joint_distribution_is_of_the_ranking_tokens),
      cmocka_unit_test(a_massive_dimension_does_not_drown_the_residual),
      cmocka_unit_test(the_tokens_own_distances_leave_themselves_out),
      cmocka_unit_test(the_split_is_seeded),
      cmocka_unit_test(too_few_or_equal_rows_make_no_region),
      cmocka_unit_test(zeroed_options_fit_the_defaults),
      cmocka_unit_test(zeroed_components_explain_nine_tenths),
      cmocka_unit_test(a_failed_call_is_passed_on),
      cmocka_unit_test(padding_is_told_from_tokens),
      cmocka_unit_test(an_ellipse_holds_its_part),
      cmocka_unit_test(a_region_is_projected_on_components_of_any_basis),
      cmocka_unit_test(a_region_reads_back_the_same),
      cmocka_unit_test(tokens_can_be_kept_smaller_or_not_at_all),
      cmocka_unit_test(a_combined_region_of_0_2_0_is_scored_as_before),
      cmocka_unit_test(damaged_files_are_refused),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
