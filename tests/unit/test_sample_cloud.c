/* Draws from a region's normal distribution, and paths between rows of a set. */
#include "nokens.h"

/* ---- The normal cloud ---- */

static struct nk_vectors *draw(struct nk_region *region, size_t n, uint64_t seed) {
  const struct nk_sample_options options = {.kind = NK_SAMPLE_GAUSSIAN, .n = n, .seed = seed};
  struct nk_vectors *set = nk_sample(region, &options);
  if (set == NULL) fail_msg("%s", nk_error());
  return set;
}

/* Whitened draws have mean 0, variance 1 and covariance 0, with their standard errors. */
static void draws_have_the_mean_and_covariance_of_the_region(void **state) {
  (void)state;
  enum { DRAWS = 20000 };
  struct nk_region *region = make_region();
  const double *mean = nki_gaussian_mean(region->gaussian);
  struct nk_vectors *set = draw(region, DRAWS, 4);
  assert_int_equal(set->n, DRAWS);
  double sum[DIM] = {0}, products[DIM][DIM] = {{0}};
  for (size_t i = 0; i < DRAWS; i++)
    for (size_t j = 0; j < DIM; j++) {
      double away = (double)set->values[i * DIM + j] - mean[j];
      sum[j] += away / DRAWS;
      for (size_t k = 0; k <= j; k++)
        products[j][k] += away * ((double)set->values[i * DIM + k] - mean[k]) / DRAWS;
    }
  for (size_t j = 0; j < DIM; j++) {
    double own = nki_gaussian_covariance(region->gaussian, j, j);
    assert_true(fabs(sum[j]) < 5 * sqrt(own / DRAWS));
    for (size_t k = 0; k <= j; k++) {
      double expected = nki_gaussian_covariance(region->gaussian, j, k);
      double other = nki_gaussian_covariance(region->gaussian, k, k);
      assert_true(fabs(products[j][k] - expected) <
                  5 * sqrt((own * other + expected * expected) / DRAWS));
    }
  }
  for (size_t i = 0; i < 50; i++) {
    assert_near(numbers(set, "mahalanobis")[i], mahalanobis(region, set->values + i * DIM), 2e-6);
    assert_true(numbers(set, "distance")[i] == numbers(set, "mahalanobis")[i]);
    assert_near(numbers(set, "knn")[i], knn(region, set->values + i * DIM), 2e-6);
  }
  nk_vectors_free(set);
  nk_region_free(region);
}

static void draws_depend_on_seed_and_number_alone(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *many = draw(region, 130, 4), *few = draw(region, 10, 4);
  struct nk_vectors *other = draw(region, 10, 5);
  nk_set_threads(1);
  struct nk_vectors *alone = draw(region, 130, 4);
  nk_set_threads(0);
  assert_memory_equal(many->values, alone->values, 130 * DIM * sizeof(float));
  assert_memory_equal(many->values, few->values, 10 * DIM * sizeof(float));
  assert_int_not_equal(memcmp(few->values, other->values, 10 * DIM * sizeof(float)), 0);
  nk_vectors_free(many);
  nk_vectors_free(few);
  nk_vectors_free(other);
  nk_vectors_free(alone);
  nk_region_free(region);
}

/* The p-value of Kolmogorov and Smirnov's statistic of two samples, asymptotically, with Stephens's
 * factor for small ones (Press et al., "Numerical recipes", section 14.3). */
static double kolmogorov(double statistic, double n) {
  double lambda = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) * statistic, sum = 0;
  if (lambda < 0.2) return 1;
  for (int k = 1; k <= 100; k++) sum += (k % 2 == 1 ? 2 : -2) * exp(-2.0 * k * k * lambda * lambda);
  return fmin(fmax(sum, 0), 1);
}

/* Both ascending. */
static double two_samples(const double *a, size_t n_a, const double *b, size_t n_b) {
  double most = 0;
  for (size_t i = 0, j = 0; i < n_a && j < n_b;) {
    double value = fmin(a[i], b[j]);
    while (i < n_a && a[i] <= value) i++;
    while (j < n_b && b[j] <= value) j++;
    most = fmax(most, fabs((double)i / (double)n_a - (double)j / (double)n_b));
  }
  return kolmogorov(most, (double)n_a * (double)n_b / (double)(n_a + n_b));
}

/* Of n_seeds regions of normal tokens, or for `skewed` of squares of normal numbers, those whose
 * cloud has the scores of their calibrating tokens: its p-values are uniform, as far as so many
 * scores can tell. */
static size_t count_uniform(enum nk_region_kind kind, bool skewed, uint64_t n_seeds) {
  enum { TOKENS = 4000, FEW = 4, CLOUD = 100 };
  size_t uniform = 0;
  double scores[CLOUD];
  for (uint64_t seed = 0; seed < n_seeds; seed++) {
    struct nk_vectors *tokens = nk_vectors_new(TOKENS, FEW, NULL, false);
    for (size_t i = 0; i < TOKENS; i++) {
      struct nki_random random = nki_random_stream(1000 + seed, NKI_RANDOM_TEST, i);
      double last = 0;
      for (size_t j = 0; j < FEW; j++) {
        double drawn = nki_random_normal(&random);
        last = 0.5 * last + (1 + (double)j / FEW) * (skewed ? drawn * drawn : drawn);
        nk_vectors_writable(tokens)[i * FEW + j] = (float)(last + 3);
      }
    }
    const struct nk_region_options options = {.kind = kind, .seed = seed};
    struct nk_region *region = nk_region_fit(tokens, NULL, 0, &options);
    if (region == NULL) fail_msg("%s", nk_error());
    struct nk_vectors *cloud = draw(region, CLOUD, seed);
    assert_int_equal(nk_region_score(region, cloud->values, CLOUD, scores, NULL), NK_OK);
    qsort(scores, CLOUD, sizeof *scores, ascending);
    const struct nk_conformal *calibration = region->calibration;
    uniform += two_samples(scores, CLOUD, calibration->scores, calibration->n) > 0.05;
    nk_vectors_free(cloud);
    nk_region_free(region);
    nk_vectors_free(tokens);
  }
  return uniform;
}

/* The scores of a cloud and of the calibrating tokens differ by what the fitted mean and covariance
 * differ from the true ones, little with 2,000 tokens in 4 dimensions. In 95% of seeds, 190 +- 3 of
 * 200, the p-value of the test is then above 0.05. */
static void p_values_of_a_cloud_are_uniform_where_tokens_are_normal(void **state) {
  (void)state;
  nk_set_threads(1); /* regions are small */
  size_t mahalanobis_count = count_uniform(NK_REGION_MAHALANOBIS, false, 200);
  size_t combined_count = count_uniform(NK_REGION_COMBINED, false, 200);
  size_t skewed = count_uniform(NK_REGION_MAHALANOBIS, true, 20);
  nk_set_threads(0);
  print_message("uniform: mahalanobis %zu of 200, combined %zu of 200, skewed tokens %zu of 20\n",
                mahalanobis_count, combined_count, skewed);
  assert_true(mahalanobis_count >= 190);
  assert_true(combined_count >= 183); /* fewer in 1 of 100 choices of seeds */
  assert_true(skewed == 0);
}

/* ---- Paths ---- */

enum { STEPS = 8 };

static double length_of(const float *x) {
  double square = 0;
  for (size_t j = 0; j < DIM; j++) square += (double)x[j] * (double)x[j];
  return sqrt(square);
}

/* Of the unit vectors, by the law of cosines. */
static double angle_of(const float *x, const float *y) {
  double square = 0;
  for (size_t j = 0; j < DIM; j++)
    square += pow((double)x[j] / length_of(x) - (double)y[j] / length_of(y), 2);
  return 2 * asin(sqrt(square) / 2);
}

/* Tokens 1000, 1001, ... whose lengths differ. */
static struct nk_vectors *make_ends(void) {
  struct nk_vectors *set = make_tokens();
  float *x = nk_vectors_writable(set);
  for (size_t i = 0; i < N * DIM; i++) x[i] *= (float)(1 + i / DIM % 5);
  return set;
}

static struct nk_sample_options paths_of(const struct nk_vectors *set, enum nk_sample_kind kind,
                                         const int64_t *pairs, size_t n_pairs, bool rows) {
  return (struct nk_sample_options){.kind = kind,
                                    .set = set,
                                    .pairs = pairs,
                                    .n_pairs = n_pairs,
                                    .pairs_are_rows = rows,
                                    .steps = STEPS};
}

static const int64_t by_id[] = {1003, 1017, 1200, 1001, 1005, 1005};
static const int64_t by_row[] = {3, 17, 200, 1, 5, 5};

static void check_columns(const struct nk_vectors *made, size_t row) {
  size_t pair = row / (STEPS + 1);
  assert_int_equal(nk_vectors_column(made, "pair")->data.integer[row], pair);
  assert_true(numbers(made, "t")[row] == (double)(row % (STEPS + 1)) / STEPS);
  assert_int_equal(nk_vectors_column(made, "a")->data.integer[row], by_id[2 * pair]);
  assert_int_equal(nk_vectors_column(made, "b")->data.integer[row], by_id[2 * pair + 1]);
}

static void a_straight_path_has_equal_steps_and_ends_at_the_rows(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_ends();
  nk_vectors_set_metadata(set, "noken.space", "input");
  struct nk_sample_options options = paths_of(set, NK_SAMPLE_LERP, by_id, 3, false);
  struct nk_vectors *made = nk_sample(NULL, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  assert_int_equal(made->n, 3 * (STEPS + 1));
  assert_int_equal(made->n_columns, 4);
  assert_string_equal(nk_vectors_metadata(made, "noken.space"), "input");
  for (size_t row = 0; row < made->n; row++) {
    const float *x = made->values + row * DIM;
    const float *a = set->values + by_row[row / (STEPS + 1) * 2] * DIM;
    const float *b = set->values + by_row[row / (STEPS + 1) * 2 + 1] * DIM;
    size_t k = row % (STEPS + 1);
    check_columns(made, row);
    for (size_t j = 0; j < DIM; j++) {
      double expected = (double)a[j] + ((double)b[j] - (double)a[j]) * (double)k / STEPS;
      assert_true(fabs((double)x[j] - expected) < 1e-6 * (1 + fabs(expected)));
    }
    if (k == 0) assert_memory_equal(x, a, DIM * sizeof *x);
    if (k == STEPS) assert_memory_equal(x, b, DIM * sizeof *x);
  }
  options = paths_of(set, NK_SAMPLE_LERP, by_row, 3, true);
  struct nk_vectors *same = nk_sample(region, &options);
  if (same == NULL) fail_msg("%s", nk_error());
  assert_memory_equal(made->values, same->values, made->n * DIM * sizeof(float));
  for (size_t row = 0; row < same->n; row++) {
    check_columns(same, row);
    assert_near(numbers(same, "mahalanobis")[row], mahalanobis(region, same->values + row * DIM),
                2e-6);
  }
  nk_vectors_free(same);
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* The length grows linearly; each step turns by the same angle, in the plane of the ends: the
 * angles to them add up to theirs. */
static void a_path_on_the_sphere_turns_at_a_constant_speed(void **state) {
  (void)state;
  struct nk_vectors *set = make_ends();
  struct nk_sample_options options = paths_of(set, NK_SAMPLE_SLERP, by_id, 3, false);
  struct nk_vectors *made = nk_sample(NULL, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  for (size_t row = 0; row < made->n; row++) {
    const float *x = made->values + row * DIM;
    const float *a = set->values + by_row[row / (STEPS + 1) * 2] * DIM;
    const float *b = set->values + by_row[row / (STEPS + 1) * 2 + 1] * DIM;
    size_t k = row % (STEPS + 1);
    double t = (double)k / STEPS, whole = angle_of(a, b);
    check_columns(made, row);
    assert_near(length_of(x), (1 - t) * length_of(a) + t * length_of(b), 1e-6);
    assert_true(fabs(angle_of(x, a) - t * whole) < 1e-6);
    assert_true(fabs(angle_of(x, b) - (1 - t) * whole) < 1e-6);
    if (k == 0) assert_memory_equal(x, a, DIM * sizeof *x);
    if (k == STEPS) assert_memory_equal(x, b, DIM * sizeof *x);
  }
  nk_vectors_free(made);
  nk_vectors_free(set);
}

static void expect_failure(struct nk_sample_options options, int code, const char *message) {
  assert_null(nk_sample(NULL, &options));
  assert_string_equal(nk_error(), message);
  assert_int_equal(nk_error_code(), code);
}

static void paths_that_cannot_be_are_refused_by_name(void **state) {
  (void)state;
  static const int64_t opposite[] = {1, 2}, zero[] = {4, 3}, none[] = {0, N}, negative[] = {-1, 0};
  static const int64_t unknown[] = {1000, 7}, bad[] = {6, 1};
  struct nk_vectors *set = make_tokens();
  struct nk_region *region = make_region();
  float *x = nk_vectors_writable(set);
  for (size_t j = 0; j < DIM; j++) x[2 * DIM + j] = -3.3f * x[DIM + j];
  memset(x + 3 * DIM, 0, DIM * sizeof *x);
  x[6 * DIM] = INFINITY;
  expect_failure(
      paths_of(set, NK_SAMPLE_SLERP, opposite, 1, true), NK_EDATA,
      "row 1, id 1001, and row 2, id 1002, are opposite: no plane for slerp between them");
  expect_failure(paths_of(set, NK_SAMPLE_SLERP, zero, 1, true), NK_EDATA,
                 "row 3, id 1003, is 0: slerp needs its direction");
  expect_failure(paths_of(set, NK_SAMPLE_LERP, none, 1, true), NK_ENOTFOUND,
                 "pair 0: row 600: the set has 600 rows, from 0");
  expect_failure(paths_of(set, NK_SAMPLE_LERP, negative, 1, true), NK_ENOTFOUND,
                 "pair 0: row -1: the set has 600 rows, from 0");
  expect_failure(paths_of(set, NK_SAMPLE_LERP, unknown, 1, false), NK_ENOTFOUND,
                 "pair 0: the set has no row of id 7");
  expect_failure(paths_of(set, NK_SAMPLE_LERP, bad, 1, true), NK_EDATA,
                 "row 6 holds a NaN or an infinity");
  expect_failure(paths_of(NULL, NK_SAMPLE_LERP, none, 1, true), NK_EUSAGE,
                 "paths between rows: no set is given");
  expect_failure(paths_of(set, NK_SAMPLE_LERP, NULL, 1, true), NK_EUSAGE,
                 "paths between rows: no pairs are given");
  struct nk_vectors *wide = nk_vectors_new(2, DIM + 1, NULL, false);
  memset(nk_vectors_writable(wide), 0, 2 * (DIM + 1) * sizeof(float));
  struct nk_sample_options options = paths_of(wide, NK_SAMPLE_LERP, none, 0, true);
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(), "the set has rows of 13 values, the region is for 12");
  /* lerp goes through zero, and no pairs make no rows */
  options = paths_of(set, NK_SAMPLE_LERP, zero, 1, true);
  struct nk_vectors *made = nk_sample(region, &options);
  assert_non_null(made);
  nk_vectors_free(made);
  options.n_pairs = 0;
  made = nk_sample(region, &options);
  assert_non_null(made);
  assert_int_equal(made->n, 0);
  assert_non_null(nk_vectors_column(made, "t"));
  nk_vectors_free(made);
  nk_vectors_free(wide);
  nk_vectors_free(set);
  nk_region_free(region);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(draws_have_the_mean_and_covariance_of_the_region),
      cmocka_unit_test(draws_depend_on_seed_and_number_alone),
      cmocka_unit_test(a_straight_path_has_equal_steps_and_ends_at_the_rows),
      cmocka_unit_test(a_path_on_the_sphere_turns_at_a_constant_speed),
      cmocka_unit_test(paths_that_cannot_be_are_refused_by_name),
      cmocka_unit_test(p_values_of_a_cloud_are_uniform_where_tokens_are_normal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
