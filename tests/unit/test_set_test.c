/* Whether a set is like the tokens: numpy's values (tests/fixtures/set_test.py), exact p-values,
 * the level and the power on the models that ship, and what cannot be tested.
 *
 * NOKEN_SETS=2000 build/bin/test_set_test is the long form: so many sets for each model,
 * compared with more tokens. */
#include "unit.h"

#include <math.h>
#include <omp.h>

#include "base/random.h"
#include "geometry/conformal.h"
#include "geometry/gaussian.h"
#include "geometry/region.h"
#include "set_test_fixture.h"

static void assert_near(double value, double expected, double absolute) {
  if (!(fabs(value - expected) <= absolute)) fail_msg("%.17g, expected %.17g", value, expected);
}

static struct nk_vectors *normal_set(uint64_t seed, size_t n, size_t dim) {
  struct nk_vectors *set = nk_vectors_new(n, dim, NULL, false);
  float *x = nk_vectors_writable(set);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 0);
  for (size_t i = 0; i < n * dim; i++) x[i] = (float)nki_random_normal(&random);
  return set;
}

static struct nk_region *normal_region(size_t n, size_t dim) {
  const struct nk_region_options options = {.kind = NK_REGION_MAHALANOBIS};
  struct nk_vectors *set = normal_set(1, n, dim);
  struct nk_region *region = nk_region_fit(set, NULL, n, &options);
  nk_vectors_free(set);
  if (region == NULL) fail_msg("%s", nk_error());
  return region;
}

/* ---- Values from outside ---- */

/* A region with the fixture's distribution and these calibrating tokens. */
static struct nk_region *region_of(const float *tokens) {
  struct nk_region *region = normal_region(2 * SET_M, SET_DIM);
  double scores[SET_M];
  assert_int_equal(region->n_calibration, SET_M);
  memcpy(nk_vectors_writable(region->tokens) + SET_M * SET_DIM, tokens,
         SET_M * SET_DIM * sizeof *tokens);
  region->keep = NK_TOKENS_F32;
  nk_gaussian_free(region->gaussian);
  region->gaussian = nki_gaussian_of(set_mean, set_covariance, SET_DIM);
  assert_non_null(region->gaussian);
  assert_int_equal(nki_region_mahalanobis(region, tokens, SET_M, scores), NK_OK);
  nki_conformal_free(region->calibration);
  region->calibration = nki_conformal_new(scores, SET_M);
  return region;
}

/* The p-value of random permutations is that of all 1,365 relabellings, but for four standard
 * errors, and for two relabellings that may tie with the set where a permutation's mean and
 * standard deviation are estimated. */
static void values_are_those_of_numpy(void **state) {
  (void)state;
  enum { PERMUTATIONS = 40000 };
  const struct {
    const float *rows, *tokens;
    const struct nk_set_test *expected;
  } cases[] = {{set_0_rows, set_0_tokens, &set_0},
               {set_1_rows, set_1_tokens, &set_1},
               {set_2_rows, set_2_tokens, &set_2}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    const struct nk_set_test_options options = {.n_permutations = PERMUTATIONS};
    const struct nk_set_test *expected = cases[c].expected;
    struct nk_region *region = region_of(cases[c].tokens);
    float rows[SET_N * SET_DIM];
    memcpy(rows, cases[c].rows, sizeof rows);
    struct nk_vectors *set = nk_vectors_new(SET_N, SET_DIM, rows, true);
    struct nk_set_test test;
    if (nk_region_test(region, set, &options, &test) != NK_OK) fail_msg("%s", nk_error());
    assert_int_equal(test.n_rows, expected->n_rows);
    assert_int_equal(test.n_tokens, expected->n_tokens);
    assert_int_equal(test.whitened, expected->whitened);
    assert_near(test.mmd2, expected->mmd2, 1e-9);
    assert_near(test.auc, expected->auc, 1e-12);
    assert_near(test.p_simes, expected->p_simes, 1e-12);
    double p = expected->p_value;
    assert_near(test.p_value, p, 4 * sqrt(p * (1 - p) / PERMUTATIONS) + 2.0 / 1365);
    assert_near(test.p_min, 1 / (1.0 + PERMUTATIONS), 1e-15);
    nk_vectors_free(set);
    nk_region_free(region);
  }
}

/* ---- Level and power ---- */

enum { SET_ROWS = 64, FITTED = 6000, SETS_OF_SPLIT = 20 };

/* A region of random 6,000 tokens, those of order; the rest are held out. */
static struct nk_region *split_region(const struct nk_vectors *tokens, uint64_t seed,
                                      size_t *order) {
  const struct nk_region_options options = {.kind = NK_REGION_MAHALANOBIS, .seed = seed};
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 1);
  nki_random_permutation(&random, tokens->n, order);
  struct nk_region *region = nk_region_fit(tokens, order, FITTED, &options);
  if (region == NULL) fail_msg("%s", nk_error());
  return region;
}

static struct nk_vectors *held_out(const struct nk_vectors *tokens, const size_t *order,
                                   uint64_t seed) {
  struct nk_vectors *set = nk_vectors_new(SET_ROWS, tokens->dim, NULL, false);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_TEST, 2);
  size_t rest = tokens->n - FITTED, places[8192];
  assert_true(rest <= 8192);
  nki_random_permutation(&random, rest, places);
  for (size_t i = 0; i < SET_ROWS; i++)
    memcpy(nk_vectors_writable(set) + i * tokens->dim,
           tokens->values + order[FITTED + places[i]] * tokens->dim, tokens->dim * sizeof(float));
  return set;
}

/* Nokens as the tokens spread, at the 0.99 quantile of their Mahalanobis distances. */
static struct nk_vectors *nokens(struct nk_region *region, uint64_t seed) {
  const struct nk_direction covariance = {.kind = NK_DIRECTION_COVARIANCE};
  const struct nk_sample_options options = {
      .n = SET_ROWS, .directions = &covariance, .n_directions = 1, .seed = seed};
  return nk_sample(region, &options);
}

static bool is_reported(const struct nk_region *region, struct nk_vectors *set,
                        const struct nk_set_test_options *options) {
  struct nk_set_test test;
  if (nk_region_test(region, set, options, &test) != NK_OK) fail_msg("%s", nk_error());
  nk_vectors_free(set);
  return test.p_value <= 0.05;
}

/* Sets of 64 held-out tokens have p <= 0.05 in 0.05 of cases, and sets of 64 nokens in 0.9 or more.
 * The long form, 2,000 sets: 0.04 to 0.06. The short form, 200 sets: four standard errors, 0.0616.
 */
static void ordinary_sets_are_reported_as_promised_and_nokens_are_found(void **state) {
  (void)state;
  static const char *const models[] = {"data/gpt2-tiny", "data/llama-tiny"};
  const char *asked = getenv("NOKEN_SETS");
  size_t n_sets = asked != NULL ? strtoul(asked, NULL, 10) : 200;
  struct nk_set_test_options options = {.n_permutations = 99, .most = 300};
  double tolerance =
      asked != NULL && n_sets >= 2000 ? 0.01 : 4 * sqrt(0.05 * 0.95 / (double)n_sets);
  if (asked != NULL) options = (struct nk_set_test_options){.n_permutations = 199, .most = 500};
  for (size_t m = 0; m < 2; m++) {
    size_t order[8192], reported = 0, n_nokens = 0, found = 0;
    struct nk_model *model = nk_model_open(models[m]);
    struct nk_vectors *tokens = nk_model_vectors(model, NK_MATRIX_INPUT);
    if (tokens == NULL) fail_msg("%s", nk_error());
    assert_int_equal(tokens->n, 8192);
    struct nk_region *region = NULL;
    for (size_t s = 0; s < n_sets; s++) {
      options.seed = s;
      if (s % SETS_OF_SPLIT == 0) {
        nk_region_free(region);
        region = split_region(tokens, s, order);
        found += is_reported(region, nokens(region, s), &options);
        n_nokens++;
      }
      reported += is_reported(region, held_out(tokens, order, s), &options);
    }
    double level = (double)reported / (double)n_sets, power = (double)found / (double)n_nokens;
    print_message("%s: level %.4f of %zu, power %.3f of %zu\n", models[m], level, n_sets, power,
                  n_nokens);
    assert_near(level, 0.05, tolerance);
    assert_true(power >= 0.9);
    nk_region_free(region);
    nk_vectors_free(tokens);
    nk_model_free(model);
  }
}

/* ---- The choice of what is compared ---- */

static size_t n_warnings;
static void count_warning(const char *message, void *user) {
  (void)message;
  (void)user;
  n_warnings++;
}

/* Calibrating tokens that are in the set are not compared with it, also when the region has rounded
 * its tokens; for fitted ones there is a warning. */
static void tokens_of_the_set_are_left_out(void **state) {
  (void)state;
  const struct nk_region_options kept = {.kind = NK_REGION_MAHALANOBIS, .tokens = NK_TOKENS_F16};
  struct nk_vectors *tokens = normal_set(7, 100, 4);
  struct nk_region *region = nk_region_fit(tokens, NULL, 0, &kept);
  struct nk_set_test test;
  nk_on_warning(count_warning, NULL);
  n_warnings = 0;
  struct nk_vectors *set = nk_vectors_select_ids(tokens, region->tokens->ids + 50, 20);
  assert_int_equal(nk_region_test(region, set, NULL, &test), NK_OK);
  assert_int_equal(test.n_rows, 20);
  assert_int_equal(test.n_tokens, 30);
  assert_int_equal(n_warnings, 0);
  nk_vectors_free(set);
  set = nk_vectors_select_ids(tokens, region->tokens->ids + 45, 10);
  assert_int_equal(nk_region_test(region, set, NULL, &test), NK_OK);
  assert_int_equal(test.n_tokens, 45);
  assert_int_equal(n_warnings, 1);
  nk_vectors_free(set);
  set = nk_vectors_select_ids(tokens, region->tokens->ids + 50, 41);
  assert_int_equal(nk_region_test(region, set, NULL, &test), NK_EDATA);
  assert_non_null(strstr(nk_error(), "9 calibrating tokens that are not in the set"));
  nk_on_warning(NULL, NULL);
  nk_vectors_free(set);
  nk_vectors_free(tokens);
  nk_region_free(region);
}

static void large_sets_are_compared_in_part(void **state) {
  (void)state;
  struct nk_region *region = normal_region(400, 5);
  struct nk_vectors *set = normal_set(2, 300, 5);
  struct nk_set_test_options options = {.most = 50, .seed = 3};
  struct nk_set_test first, again, other;
  assert_int_equal(nk_region_test(region, set, &options, &first), NK_OK);
  assert_int_equal(first.n_rows, 50);
  assert_int_equal(first.n_tokens, 50);
  int n_threads = omp_get_max_threads();
  omp_set_num_threads(1);
  assert_int_equal(nk_region_test(region, set, &options, &again), NK_OK);
  omp_set_num_threads(n_threads);
  assert_true(again.p_value == first.p_value && again.mmd2 == first.mmd2);
  options.seed = 4;
  assert_int_equal(nk_region_test(region, set, &options, &other), NK_OK);
  assert_true(other.mmd2 != first.mmd2);
  assert_true(other.p_simes == first.p_simes); /* of all rows */
  nk_vectors_free(set);
  nk_region_free(region);
}

/* All rows the same, at a place where tokens are: no token is as like the others as they are. */
static void copies_of_one_vector_are_no_set_of_tokens(void **state) {
  (void)state;
  struct nk_region *region = normal_region(400, 5);
  struct nk_vectors *set = normal_set(2, 2, 5);
  float *x = nk_vectors_writable(set);
  struct nk_set_test test;
  memcpy(x + 5, x, 5 * sizeof *x);
  assert_int_equal(nk_region_test(region, set, NULL, &test), NK_OK); /* 2 rows are enough */
  assert_int_equal(test.n_rows, 2);
  nk_vectors_free(set);
  set = normal_set(2, 40, 5);
  x = nk_vectors_writable(set);
  for (size_t i = 1; i < 40; i++) memcpy(x + i * 5, x, 5 * sizeof *x);
  assert_int_equal(nk_region_test(region, set, NULL, &test), NK_OK);
  assert_true(test.p_value == test.p_min && test.auc == 1);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- What cannot be tested ---- */

static void assert_refused(const struct nk_region *region, struct nk_vectors *set, int code,
                           const char *message) {
  struct nk_set_test test;
  assert_int_equal(nk_region_test(region, set, NULL, &test), code);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s', not '%s'", nk_error(), message);
  nk_vectors_free(set);
}

static void sets_that_do_not_fit_are_refused(void **state) {
  (void)state;
  struct nk_region *region = normal_region(100, 4), *few = normal_region(18, 4);
  assert_refused(region, normal_set(2, 1, 4), NK_EDATA, "1 rows are too few");
  assert_refused(region, normal_set(2, 9, 3), NK_EDATA, "3 values, the region is for 4");
  assert_refused(few, normal_set(2, 9, 4), NK_EDATA, "9 calibrating tokens");
  struct nk_vectors *set = normal_set(2, 9, 4);
  nk_vectors_writable(set)[17] = NAN;
  assert_refused(region, set, NK_EDATA, "row 4 holds a NaN");
  set = normal_set(2, 9, 4);
  nk_vectors_set_metadata(set, "noken.space", "residual:2");
  nk_vectors_set_metadata(region->tokens, "noken.space", "residual:1");
  assert_refused(region, set, NK_EDATA, "the space 'residual:2', the region of 'residual:1'");
  /* Most pairs are of two copies: the median distance is 0. */
  set = normal_set(2, 900, 4);
  for (size_t i = 1; i < 900; i++)
    memcpy(nk_vectors_writable(set) + i * 4, set->values, 4 * sizeof(float));
  assert_refused(region, set, NK_EDATA, "half of the pairs");
  /* Whitened by so small a variance, the rows are at 1e160, and their squares are not finite. */
  double mean[4] = {0}, packed[10] = {0};
  packed[0] = packed[2] = packed[5] = packed[9] = 1e-300;
  nk_gaussian_free(few->gaussian);
  few->gaussian = nki_gaussian_of(mean, packed, 4);
  assert_non_null(few->gaussian);
  few->n_ranks = 0;
  few->n_fit = 4;
  set = normal_set(2, 9, 4);
  for (size_t i = 0; i < 36; i++) nk_vectors_writable(set)[i] *= 1e10f;
  assert_refused(few, set, NK_EDATA, "distances exceed the range of a double");
  nk_region_free(few);
  nk_region_free(region);
  const struct nk_region_options bare = {.kind = NK_REGION_MAHALANOBIS, .tokens = NK_TOKENS_NONE};
  set = normal_set(1, 100, 4);
  region = nk_region_fit(set, NULL, 0, &bare);
  assert_refused(region, set, NK_EUSAGE, "does not hold its tokens");
  nk_region_free(region);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_those_of_numpy),
      cmocka_unit_test(ordinary_sets_are_reported_as_promised_and_nokens_are_found),
      cmocka_unit_test(tokens_of_the_set_are_left_out),
      cmocka_unit_test(large_sets_are_compared_in_part),
      cmocka_unit_test(copies_of_one_vector_are_no_set_of_tokens),
      cmocka_unit_test(sets_that_do_not_fit_are_refused),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
