/* What tools/summary computes: distributions, intervals in closed form, those of resampled
 * clusters. Expected numbers are scipy's (tests/fixtures/summary.py has those of a whole table);
 * how often 95% intervals hold the truth is simulated. */
#include "summary/intervals.h"
#include "summary/resample.h"
#include "unit.h"

#include <math.h>
#include "base/random.h"

static void assert_near(double value, double expected) {
  if (!(fabs(value - expected) <= 1e-9 * fabs(expected)))
    fail_msg("%.17g, not %.17g", value, expected);
}

/* ---- Distributions ---- */

static void distributions_are_those_of_scipy(void **state) {
  (void)state;
  assert_near(summary_t_quantile(0.975, 1), 12.706204736174694); /* stats.t.ppf */
  assert_near(summary_t_quantile(0.975, 4), 2.7764451051977934);
  assert_near(summary_t_quantile(0.995, 37.5), 2.7134562409408796);
  assert_near(summary_t_quantile(0.1, 1000), -1.2823987214609245);
  assert_near(summary_t_quantile(0.975, INFINITY), 1.959963984540054); /* stats.norm.ppf */
  assert_near(summary_t_quantile(1e-9, INFINITY), -5.9978070150076865);
  assert_true(isnan(summary_t_quantile(0.975, 0)));
  assert_near(summary_binomial(3, 10, 0.5), 0.171875); /* stats.binom.cdf */
  assert_near(summary_binomial(0, 60, 0.9), 1e-60);
  assert_near(summary_binomial(482, 1000, 0.5), 0.13418634992955486);
  assert_near(summary_binomial(89800, 100000, 0.9), 0.017945857126054142);
  assert_near(summary_binomial(-1, 5, 0.3) + summary_binomial(5, 5, 0.3), 1);
}

/* ---- Closed forms at their ends ---- */

static void a_share_of_none_or_all_has_one_open_end(void **state) {
  (void)state;
  double z = summary_t_quantile(0.975, INFINITY);
  struct summary_interval none = summary_share(0, 20, z), all = summary_share(1, 20, z);
  assert_true(none.low == 0 && all.high == 1);
  assert_near(none.high, 0.16112515805281941); /* statsmodels, proportion_confint(0, 20) */
  assert_near(all.low, 1 - 0.16112515805281941);
  assert_true(isnan(summary_share(NAN, 0, z).low));
}

/* The examples of Newcombe, "Two-sided confidence intervals for the single proportion" and
 * "Interval estimation for the difference between independent proportions" (Statistics in Medicine,
 * 1998): method 3 and method 10, to their four decimals. */
static void shares_have_the_intervals_of_newcombes_examples(void **state) {
  static const struct {
    double part, n, low, high;
  } one[] = {{81, 263, 0.2553, 0.3662},
             {15, 148, 0.0624, 0.1605},
             {0, 20, 0, 0.1611},
             {1, 29, 0.0061, 0.1718}};
  static const struct {
    double a, n_a, b, n_b, low, high;
  } two[] = {{56, 70, 48, 80, 0.0524, 0.3339},
             {9, 10, 3, 10, 0.1705, 0.8090},
             {5, 56, 0, 29, -0.0381, 0.1926},
             {10, 10, 0, 10, 0.6075, 1}};
  double z = summary_t_quantile(0.975, INFINITY);
  (void)state;
  for (size_t i = 0; i < sizeof one / sizeof one[0]; i++) {
    struct summary_interval share = summary_share(one[i].part / one[i].n, one[i].n, z);
    assert_true(fabs(share.low - one[i].low) < 5.1e-5);
    assert_true(fabs(share.high - one[i].high) < 5.1e-5);
  }
  for (size_t i = 0; i < sizeof two / sizeof two[0]; i++) {
    struct summary_interval a = summary_share(two[i].a / two[i].n_a, two[i].n_a, z);
    struct summary_interval b = summary_share(two[i].b / two[i].n_b, two[i].n_b, z);
    struct summary_interval difference = summary_difference(&a, &b);
    assert_true(fabs(difference.low - two[i].low) < 5.1e-5);
    assert_true(fabs(difference.high - two[i].high) < 5.1e-5);
  }
}

static void few_rows_do_not_bound_a_quantile(void **state) {
  (void)state;
  const double x[] = {1, 2, 3, 4, 5, 6, 7};
  struct summary_interval five = summary_quantile(x, 5, 0.5, 0.95); /* 2^-5 > 0.025 */
  assert_true(five.value == 3 && isnan(five.low) && isnan(five.high));
  struct summary_interval six = summary_quantile(x, 6, 0.5, 0.95); /* 2^-6 <= 0.025 */
  assert_true(six.value == 3.5 && six.low >= 1 && six.low < 2 && six.high > 5 && six.high <= 6);
  struct summary_interval high = summary_quantile(x, 7, 0.9, 0.95);
  assert_true(high.low > 1 && isnan(high.high));
  struct summary_interval one = summary_quantile(x, 1, 0.99, 0.95); /* 0.01 <= 0.025 */
  assert_true(one.low == 1 && isnan(one.high));
  assert_true(isnan(summary_quantile(x, 0, 0.5, 0.95).value));
  assert_true(isnan(summary_mean(x, 1, 0.95).low) && summary_mean(x, 1, 0.95).value == 1);
}

static void equal_values_have_an_interval_of_length_zero(void **state) {
  (void)state;
  double x[40];
  for (size_t i = 0; i < 40; i++) x[i] = 0.25;
  struct summary_interval median = summary_quantile(x, 40, 0.5, 0.95);
  struct summary_interval mean = summary_mean(x, 40, 0.95);
  assert_true(median.low == 0.25 && median.high == 0.25);
  assert_true(mean.low == 0.25 && mean.high == 0.25);
}

static void an_infinite_value_leaves_quantiles_finite(void **state) {
  (void)state;
  double x[40];
  for (size_t i = 0; i < 40; i++) x[i] = i < 38 ? (double)i : INFINITY;
  struct summary_interval median = summary_quantile(x, 40, 0.5, 0.95);
  assert_true(isfinite(median.low) && isfinite(median.high));
  assert_true(isinf(summary_mean(x, 40, 0.95).value) && isnan(summary_mean(x, 40, 0.95).low));
}

static void separated_groups_have_an_interval_of_their_size(void **state) {
  (void)state;
  const double x[] = {1, 2, 3, 4, 5, 6, 7, 8};
  const uint8_t second[] = {1, 1, 1, 1, 1, 0, 0, 0}, tied[] = {1, 0, 1, 0, 1, 0, 1, 0};
  const double same[] = {1, 1, 1, 1, 1, 1, 1, 1};
  struct summary_interval auc = summary_auc(x, second, 8, 0.95);
  double t = summary_t_quantile(0.975, 2); /* three rows: two degrees of freedom */
  assert_true(auc.value == 1 && auc.high == 1);
  assert_near(auc.low, 1 / (1 + t * t / 3)); /* Wilson's of 3 of 3 */
  assert_true(summary_auc(same, tied, 8, 0.95).value == 0.5);
  assert_true(isnan(summary_auc(x, same[0] == 1 ? (const uint8_t[8]){0} : second, 8, 0.95).value));
}

/* ---- Coverage ---- */

/* A table as of a study: items, of which the first are one group, each in all prompts, with random
 * effects of both. */
struct design {
  size_t n_items, n_prompts, n_first;
  double item, prompt, noise; /* standard deviations */
  double shift;               /* of the first group */
  size_t n_kinds;             /* of clusters that are told: none, items, items and prompts */
  bool rounded;               /* to whole numbers: many ties */
};

struct entry {
  double value;
  uint32_t item, prompt;
};

static int compare_entries(const void *a, const void *b) {
  double x = ((const struct entry *)a)->value, y = ((const struct entry *)b)->value;
  return (x > y) - (x < y);
}

enum { MOST = 1024, MOST_PROMPTS = 32 };

/* The memory of a sample. */
struct table {
  struct entry entries[MOST];
  double value[MOST];
  uint8_t second[MOST];
  uint32_t cluster[2][MOST];
};

/* With a cut, the values are 1 up to it and 0 above. */
static void draw(const struct design *d, uint64_t index, const double *cut, struct table *table,
                 struct summary_sample *s) {
  struct nki_random random = nki_random_stream(7, NKI_RANDOM_TEST, index);
  double prompt[MOST_PROMPTS];
  size_t n = 0;
  for (size_t p = 0; p < d->n_prompts; p++) prompt[p] = d->prompt * nki_random_normal(&random);
  for (size_t i = 0; i < d->n_items; i++) {
    double item = d->item * nki_random_normal(&random) + (i < d->n_first ? d->shift : 0);
    for (size_t p = 0; p < d->n_prompts; p++) {
      double x = item + prompt[p] + d->noise * nki_random_normal(&random);
      if (d->rounded) x = rint(x);
      table->entries[n++] = (struct entry){cut != NULL ? x <= *cut : x, (uint32_t)i, (uint32_t)p};
    }
  }
  qsort(table->entries, n, sizeof *table->entries, compare_entries);
  for (size_t i = 0; i < n; i++) {
    table->value[i] = table->entries[i].value;
    table->second[i] = table->entries[i].item >= d->n_first;
    table->cluster[0][i] = table->entries[i].item;
    table->cluster[1][i] = table->entries[i].prompt;
  }
  size_t n_second = d->n_items - d->n_first;
  *s = (struct summary_sample){
      .n = n,
      .value = table->value,
      .second = table->second,
      .n_kinds = d->n_kinds,
      .cluster = {table->cluster[0], table->cluster[1]},
      .n_clusters = {d->n_items, d->n_prompts},
      .n_in = {{d->n_first, d->n_prompts}, {n_second, n_second > 0 ? d->n_prompts : 0}},
  };
}

/* What is estimated, p: the quantile, or the cut of a share; the truth. */
struct target {
  enum summary_statistic statistic;
  double p, truth;
  bool difference;
};

/* The share of simulated tables in which the 95% interval holds the truth is between 93% and 97%,
 * give or take three standard errors where the tables are few. */
static void assert_covers(const struct design *d, const struct target *t, size_t n_worlds) {
  const struct summary_options options = {.level = 0.95, .n_resamples = 300, .seed = 3};
  struct table *table = malloc(sizeof *table);
  size_t covered = 0;
  assert_non_null(table);
  for (size_t w = 0; w < n_worlds; w++) {
    struct summary_sample sample;
    struct summary_result result;
    draw(d, w, t->statistic == SUMMARY_SHARE ? &t->p : NULL, table, &sample);
    assert_int_equal(summary_estimate(&sample, t->statistic, t->p, &options, &result), NK_OK);
    const struct summary_interval *i = t->difference ? &result.difference : &result.first;
    covered += i->low <= t->truth && t->truth <= i->high;
  }
  free(table);
  double coverage = (double)covered / (double)n_worlds,
         slack = n_worlds < 2000 ? 3 * sqrt(0.05 * 0.95 / (double)n_worlds) : 0;
  print_message("# %zu items in %zu prompts, statistic %d%s: %.4f\n", d->n_items, d->n_prompts,
                t->statistic, t->difference ? ", difference" : "", coverage);
  if (coverage < 0.93 - slack || coverage > 0.97 + slack)
    fail_msg("%zu items in %zu prompts: coverage %.4f", d->n_items, d->n_prompts, coverage);
}

static void intervals_of_independent_rows_cover_the_truth(void **state) {
  (void)state;
  const struct design ten = {.n_items = 10, .n_prompts = 1, .n_first = 10, .item = 1},
                      forty = {.n_items = 40, .n_prompts = 1, .n_first = 40, .item = 1},
                      many = {.n_items = 400, .n_prompts = 1, .n_first = 400, .item = 1};
  double q90 = summary_t_quantile(0.9, INFINITY);
  const struct target median = {SUMMARY_QUANTILE, 0.5, 0, false};
  assert_covers(&ten, &median, 4000);
  assert_covers(&forty, &median, 4000);
  assert_covers(&many, &median, 4000);
  assert_covers(&ten, &(struct target){SUMMARY_MEAN, 0, 0, false}, 4000);
  assert_covers(&many, &(struct target){SUMMARY_QUANTILE, 0.9, q90, false}, 4000);
  assert_covers(&forty, &(struct target){SUMMARY_SHARE, -1, summary_normal(-1), false}, 4000);
  assert_covers(&many, &(struct target){SUMMARY_SHARE, -1, summary_normal(-1), false}, 4000);
}

static void intervals_of_two_groups_cover_the_truth(void **state) {
  (void)state;
  struct design d = {.n_items = 50, .n_prompts = 1, .n_first = 20, .item = 1, .shift = 1};
  double auc = summary_normal(1 / sqrt(2)), share = summary_normal(-0.5) - summary_normal(0.5);
  assert_covers(&d, &(struct target){SUMMARY_AUC, 0, auc, false}, 4000);
  assert_covers(&d, &(struct target){SUMMARY_SHARE, 0.5, share, true}, 4000);
  assert_covers(&d, &(struct target){SUMMARY_MEAN, 0, 1, true}, 4000);
  d = (struct design){.n_items = 400, .n_prompts = 1, .n_first = 100, .item = 1, .shift = 2.5};
  auc = summary_normal(2.5 / sqrt(2));
  assert_covers(&d, &(struct target){SUMMARY_AUC, 0, auc, false}, 4000);
  assert_covers(&d, &(struct target){SUMMARY_QUANTILE, 0.5, 2.5, true}, 4000);
  d = (struct design){.n_items = 100, .n_prompts = 1, .n_first = 40, .item = 0.7, .rounded = true};
  assert_covers(&d, &(struct target){SUMMARY_AUC, 0, 0.5, false}, 4000);
}

/* Rows of one item share its effect: 300 rows are worth little more than 30. */
static void intervals_of_clusters_cover_the_truth(void **state) {
  (void)state;
  struct design d = {
      .n_items = 30, .n_prompts = 10, .n_first = 30, .item = 0.7, .noise = 1, .n_kinds = 1};
  double sd = sqrt(0.7 * 0.7 + 1);
  assert_covers(&d, &(struct target){SUMMARY_MEAN, 0, 0, false}, 600);
  assert_covers(&d, &(struct target){SUMMARY_QUANTILE, 0.5, 0, false}, 600);
  assert_covers(&d, &(struct target){SUMMARY_SHARE, -1, summary_normal(-1 / sd), false}, 600);
  d.n_first = 15;
  d.shift = 1;
  double auc = summary_normal(1 / sd / sqrt(2));
  assert_covers(&d, &(struct target){SUMMARY_AUC, 0, auc, false}, 600);
  assert_covers(&d, &(struct target){SUMMARY_MEAN, 0, 1, true}, 600);
}

static void intervals_of_crossed_clusters_cover_the_truth(void **state) {
  (void)state;
  struct design d = {.n_items = 40,
                     .n_prompts = 16,
                     .n_first = 40,
                     .item = 1,
                     .prompt = 0.7,
                     .noise = 1,
                     .n_kinds = 2};
  double sd = sqrt(1 + 0.7 * 0.7 + 1);
  assert_covers(&d, &(struct target){SUMMARY_MEAN, 0, 0, false}, 400);
  assert_covers(&d, &(struct target){SUMMARY_QUANTILE, 0.5, 0, false}, 400);
  assert_covers(&d, &(struct target){SUMMARY_SHARE, -1, summary_normal(-1 / sd), false}, 400);
  d.n_first = 20; /* no shift: then the AUC is 0.5 within a prompt and between prompts */
  assert_covers(&d, &(struct target){SUMMARY_AUC, 0, 0.5, false}, 400);
}

/* The same tables as if rows were independent. */
static void clusters_that_are_not_told_leave_intervals_too_short(void **state) {
  (void)state;
  struct design d = {
      .n_items = 40, .n_prompts = 16, .n_first = 40, .item = 1, .prompt = 0.7, .noise = 1};
  const struct summary_options options = {.level = 0.95, .n_resamples = 300};
  struct table *table = malloc(sizeof *table);
  size_t covered = 0;
  assert_non_null(table);
  for (size_t w = 0; w < 200; w++) {
    struct summary_sample sample;
    struct summary_result result;
    draw(&d, w, NULL, table, &sample);
    assert_int_equal(summary_estimate(&sample, SUMMARY_MEAN, 0, &options, &result), NK_OK);
    covered += result.first.low <= 0 && result.first.high >= 0;
  }
  free(table);
  assert_true(covered < 120);
}

/* ---- Resamples ---- */

static void resamples_do_not_depend_on_threads(void **state) {
  (void)state;
  struct design d = {.n_items = 50,
                     .n_prompts = 20,
                     .n_first = 20,
                     .item = 1,
                     .prompt = 0.5,
                     .noise = 1,
                     .n_kinds = 2};
  struct summary_options options = {.level = 0.95, .n_resamples = 3000, .seed = 5};
  struct summary_result result[3];
  struct summary_sample sample;
  struct table *table = malloc(sizeof *table);
  assert_non_null(table);
  draw(&d, 0, NULL, table, &sample);
  for (size_t k = 0; k < 3; k++) {
    nk_set_threads(k == 1 ? 3 : 1);
    options.seed += k == 2;
    assert_int_equal(summary_estimate(&sample, SUMMARY_QUANTILE, 0.5, &options, &result[k]), NK_OK);
  }
  nk_set_threads(0);
  free(table);
  assert_memory_equal(&result[0], &result[1], sizeof *result);
  assert_true(result[2].first.low != result[0].first.low); /* another seed */
}

static void one_cluster_has_no_interval(void **state) {
  (void)state;
  struct design d = {.n_items = 20, .n_prompts = 1, .n_first = 20, .item = 1, .n_kinds = 2};
  const struct summary_options options = {.level = 0.95, .n_resamples = 100};
  struct summary_result result;
  struct summary_sample sample;
  struct table *table = malloc(sizeof *table);
  assert_non_null(table);
  draw(&d, 0, NULL, table, &sample);
  assert_int_equal(summary_estimate(&sample, SUMMARY_MEAN, 0, &options, &result), NK_OK);
  assert_true(isfinite(result.first.value) && isnan(result.first.low));
  d.n_kinds = 1;
  draw(&d, 0, &(double){100}, table, &sample); /* every row is 1: 20 of 20 clusters */
  assert_int_equal(summary_estimate(&sample, SUMMARY_SHARE, 0, &options, &result), NK_OK);
  free(table);
  double t = summary_t_quantile(0.975, 19);
  assert_near(result.first.low, 1 / (1 + t * t / 20));
}

/* Pairs that all change by 1: 30 clusters whose values are far apart. A share of none has no length
 * by its resamples, but has one in truth. */
static void a_change_that_all_pairs_have_keeps_its_resampled_interval(void **state) {
  (void)state;
  enum { N = 30 };
  double value[2 * N];
  uint8_t second[2 * N];
  uint32_t cluster[2 * N];
  const struct summary_options options = {.level = 0.95, .n_resamples = 200};
  struct summary_sample sample = {2 * N, value, second, 1, {cluster}, {N}, {{N}, {N}}};
  struct summary_result result;
  for (uint32_t i = 0; i < 2 * N; i++) {
    cluster[i] = i / 2;
    second[i] = i % 2 == 0;
    value[i] = 100 * (double)cluster[i] + (i % 2);
  }
  for (enum summary_statistic s = SUMMARY_MEAN; s <= SUMMARY_QUANTILE; s++) {
    assert_int_equal(summary_estimate(&sample, s, 0.5, &options, &result), NK_OK);
    assert_near(result.difference.low, 1);
    assert_near(result.difference.high, 1);
  }
  for (size_t i = 0; i < 2 * N; i++) value[i] = 0;
  assert_int_equal(summary_estimate(&sample, SUMMARY_SHARE, 0, &options, &result), NK_OK);
  assert_true(result.difference.low < -0.05 && result.difference.high > 0.05);
}

/* scipy 1.17, stats.binom: below, the place k with cdf(k - 1, n, 0.99) <= 0.025 < cdf(k, n, 0.99);
 * above, the least k with cdf(k - 1, n, 0.99) >= 0.975. */
static void a_high_quantile_is_bounded_by_order_statistics(void **state) {
  (void)state;
  enum { N = 1000 };
  double x[N];
  for (int i = 0; i < N; i++) x[i] = i + 1;
  struct summary_interval q = summary_clustered_quantile(x, N, N, 0.99, 0.95);
  assert_near(q.low, 983);
  assert_near(q.high, 997);
  q = summary_clustered_quantile(x, 367, 367, 0.99, 0.95); /* 0.99^367 > 0.025 */
  assert_true(isfinite(q.low) && isnan(q.high));
  q = summary_clustered_quantile(x, 368, 368, 0.99, 0.95);
  assert_near(q.high, 368);
  q = summary_clustered_quantile(x, N, N / 2, 0.99, 0.95);
  assert_near(q.low, 2 * (490 - 1) + 1);
  assert_near(q.high, 2 * 500);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distributions_are_those_of_scipy),
      cmocka_unit_test(a_share_of_none_or_all_has_one_open_end),
      cmocka_unit_test(shares_have_the_intervals_of_newcombes_examples),
      cmocka_unit_test(few_rows_do_not_bound_a_quantile),
      cmocka_unit_test(equal_values_have_an_interval_of_length_zero),
      cmocka_unit_test(an_infinite_value_leaves_quantiles_finite),
      cmocka_unit_test(separated_groups_have_an_interval_of_their_size),
      cmocka_unit_test(intervals_of_independent_rows_cover_the_truth),
      cmocka_unit_test(intervals_of_two_groups_cover_the_truth),
      cmocka_unit_test(intervals_of_clusters_cover_the_truth),
      cmocka_unit_test(intervals_of_crossed_clusters_cover_the_truth),
      cmocka_unit_test(clusters_that_are_not_told_leave_intervals_too_short),
      cmocka_unit_test(resamples_do_not_depend_on_threads),
      cmocka_unit_test(one_cluster_has_no_interval),
      cmocka_unit_test(a_change_that_all_pairs_have_keeps_its_resampled_interval),
      cmocka_unit_test(a_high_quantile_is_bounded_by_order_statistics),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
