/* The intervals of nk-verify's rates, and kappa. The rates are known: simulated attempts fail with
 * given probabilities. */
#include "unit.h"

#include <math.h>

#include "base/random.h"
#include "summary/intervals.h"

enum { RERUNS = 1000, MOST_TOKENS = 200 };
static const double LEAST = 0.93, MOST = 0.97; /* of 0.95 */

static size_t failures_of(struct nki_random *random, size_t n, double rate) {
  size_t failures = 0;
  for (size_t i = 0; i < n; i++) failures += nki_random_uniform(random) < rate;
  return failures;
}

static bool holds(struct summary_interval interval, double truth) {
  return interval.low <= truth + 1e-12 && truth <= interval.high + 1e-12;
}

static void check_coverage(const char *name, size_t n, double share) {
  if (getenv("NOKEN_COVERAGE") != NULL)
    printf("%-32s %6zu %.3f\n", name, n, share);
  else if (!(share >= LEAST && share <= MOST))
    fail_msg("%s, n %zu: held in %.3f", name, n, share);
}

static double coverage_of_rate(double rate, size_t n, struct nki_random *random) {
  size_t held = 0;
  for (int rerun = 0; rerun < RERUNS; rerun++) {
    size_t failures = failures_of(random, n, rate);
    held += holds(summary_stratified_share(&failures, 1, n, 0.95), rate);
  }
  return (double)held / RERUNS;
}

/* One prompt: Wilson's own interval. Of 50 attempts a single rate may have 92 to 98%, as the
 * binomial is coarse (Brown, Cai and DasGupta 2001): the mean over the rates is tested. */
static void the_interval_of_a_rate_holds_it(void **state) {
  (void)state;
  static const double rates[] = {0.05, 0.1, 0.25, 0.5, 0.8, 0.95};
  static const size_t sizes[] = {50, 100, 200};
  enum { N_RATES = sizeof rates / sizeof rates[0], N_SIZES = sizeof sizes / sizeof sizes[0] };
  for (size_t s = 0; s < N_SIZES; s++) {
    double mean = 0;
    for (size_t r = 0; r < N_RATES; r++) {
      struct nki_random random = nki_random_stream(r, NKI_RANDOM_TEST, s);
      double held = coverage_of_rate(rates[r], sizes[s], &random);
      char name[32];
      snprintf(name, sizeof name, "rate %g", rates[r]);
      mean += held / N_RATES;
      if (sizes[s] >= 100) check_coverage(name, sizes[s], held);
    }
    check_coverage("mean over rates", sizes[s], mean);
  }
}

/* Three prompts that differ: the attempts of all as one sample would give intervals that are too
 * long. */
static void the_interval_of_a_mean_of_prompts_holds_it(void **state) {
  (void)state;
  static const double prompts[][3] = {{0.1, 0.1, 0.1},   {0.5, 0.5, 0.5}, {0.05, 0.5, 0.9},
                                      {0.01, 0.3, 0.99}, {0, 0, 0.5},     {0.3, 0.6, 0.9},
                                      {0.02, 0.1, 0.2},  {0.2, 1, 1}};
  static const size_t sizes[] = {50, 100};
  for (size_t p = 0; p < sizeof prompts / sizeof prompts[0]; p++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      struct nki_random random = nki_random_stream(100 + p, NKI_RANDOM_TEST, s);
      double truth = (prompts[p][0] + prompts[p][1] + prompts[p][2]) / 3;
      size_t held = 0;
      for (int rerun = 0; rerun < RERUNS; rerun++) {
        size_t failures[3];
        for (int k = 0; k < 3; k++) failures[k] = failures_of(&random, sizes[s], prompts[p][k]);
        held += holds(summary_stratified_share(failures, 3, sizes[s], 0.95), truth);
      }
      char name[64];
      snprintf(name, sizeof name, "prompts %g,%g,%g", prompts[p][0], prompts[p][1], prompts[p][2]);
      check_coverage(name, sizes[s], (double)held / RERUNS);
    }
}

static double binomial(size_t k, size_t n, double p) {
  double x = (double)k, m = (double)n;
  return exp(lgamma(m + 1) - lgamma(x + 1) - lgamma(m - x + 1) + x * log(p) + (m - x) * log1p(-p));
}

/* Few attempts at prompts that nearly always or hardly ever fail, summed over all outcomes: some
 * prompts have no failure or no success, and their attempts say less of the rate than they seem to.
 * So few outcomes have a probability that a coverage near 0.95 need not exist: the least counts. */
static void the_interval_of_extreme_prompts_holds_it(void **state) {
  (void)state;
  static const struct {
    double rate[3];
    size_t n;
  } cases[] = {{{0.01, 0.5, 0.99}, 10}, {{0.02, 0.98, 0.5}, 10}, {{0.02, 0.02, 0.98}, 50},
               {{0.05, 0.5, 0.9}, 10},  {{0.01, 0.5, 0.99}, 20}, {{0.02, 0.02, 0.98}, 30}};
  for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
    const double *rate = cases[c].rate;
    double truth = (rate[0] + rate[1] + rate[2]) / 3, share = 0;
    size_t n = cases[c].n;
    for (size_t i = 0; i < (n + 1) * (n + 1) * (n + 1); i++) {
      const size_t x[3] = {i % (n + 1), i / (n + 1) % (n + 1), i / (n + 1) / (n + 1)};
      double p = binomial(x[0], n, rate[0]) * binomial(x[1], n, rate[1]);
      if (p > 1e-9 && holds(summary_stratified_share(x, 3, n, 0.95), truth))
        share += p * binomial(x[2], n, rate[2]);
    }
    if (getenv("NOKEN_COVERAGE") != NULL)
      printf("%g,%g,%g %zu %.3f\n", rate[0], rate[1], rate[2], n, share);
    if (!(share >= LEAST))
      fail_msg("%g, %g, %g, n %zu: held in %.3f", rate[0], rate[1], rate[2], n, share);
  }
}

/* Tokens of three kinds, a third of them each, with 150 attempts: their attempts are alike. */
static void the_interval_of_a_mean_of_tokens_holds_it(void **state) {
  (void)state;
  static const double kinds[][3] = {{0.05, 0.1, 0.3}, {0.02, 0.5, 0.98}, {0.3, 0.3, 0.3}};
  static const size_t sizes[] = {30, 100, MOST_TOKENS};
  enum { TRIALS = 150 };
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      struct nki_random random = nki_random_stream(200 + k, NKI_RANDOM_TEST, s);
      double truth = (kinds[k][0] + kinds[k][1] + kinds[k][2]) / 3, shares[MOST_TOKENS];
      size_t held = 0;
      for (int rerun = 0; rerun < RERUNS; rerun++) {
        for (size_t i = 0; i < sizes[s]; i++) {
          double rate = kinds[k][nki_random_below(&random, 3)];
          shares[i] = (double)failures_of(&random, TRIALS, rate) / TRIALS;
        }
        held += holds(summary_clustered_share(shares, sizes[s], 0.95), truth);
      }
      char name[64];
      snprintf(name, sizeof name, "tokens %g,%g,%g", kinds[k][0], kinds[k][1], kinds[k][2]);
      check_coverage(name, sizes[s], (double)held / RERUNS);
    }
}

static void rates_of_none_and_all_have_wilsons_interval_of_all_trials(void **state) {
  (void)state;
  const size_t none[] = {0, 0, 0}, all[] = {50, 50, 50};
  const double same[] = {1, 1, 1, 1};
  double z = summary_t_quantile(0.975, INFINITY), t = summary_t_quantile(0.975, 3);
  struct summary_interval low = summary_stratified_share(none, 3, 50, 0.95);
  struct summary_interval high = summary_stratified_share(all, 3, 50, 0.95);
  assert_true(low.low == 0 && high.high == 1);
  assert_true(fabs(low.high - z * z / (150 + z * z)) < 1e-12);
  assert_true(fabs(high.low - 150 / (150 + z * z)) < 1e-12);
  struct summary_interval clusters = summary_clustered_share(same, 4, 0.95);
  assert_true(clusters.high == 1 && fabs(clusters.low - 4 / (4 + t * t)) < 1e-12);
  const double sizes[] = {0.8, 1.2, 1, 1}; /* of 4, 6, 5 and 5 values, all of them successes */
  struct summary_interval unequal = summary_clustered_share(sizes, 4, 0.95);
  assert_true(unequal.value == 1 && unequal.high == 1 && unequal.low == clusters.low);
  assert_true(isnan(summary_clustered_share(same, 1, 0.95).low));
  assert_true(isnan(summary_clustered_share(same, 0, 0.95).value));
}

/* statsmodels 0.14, statsmodels.stats.inter_rater.cohens_kappa(table): kappa, kappa_low, kappa_upp.
 */
static void kappa_and_its_interval_are_those_of_statsmodels(void **state) {
  (void)state;
  struct {
    size_t table[2][2];
    double kappa, low, high;
  } cases[] = {
      {{{44, 5}, {11, 40}}, 0.6806387225548901, 0.5382357779850346, 0.8230416671247456},
      {{{6451, 913}, {0, 619}}, 0.5228434487954912, 0.4972458437883195, 0.5484410538026628},
      {{{3, 2}, {1, 4}}, 0.3999999999999999, -0.15657455861795766, 0.9565745586179575},
      {{{0, 7}, {9, 0}}, -0.9692307692307692, -1.2048830386019773, -0.7335784998595611}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct summary_interval kappa = summary_kappa(cases[i].table, 0.95);
    assert_true(fabs(kappa.value - cases[i].kappa) < 1e-12);
    assert_true(fabs(kappa.low - cases[i].low) < 1e-9);
    assert_true(fabs(kappa.high - cases[i].high) < 1e-9);
  }
  size_t one_sided[][2][2] = {{{5, 0}, {0, 0}}, {{5, 3}, {0, 0}}, {{5, 0}, {3, 0}}};
  for (size_t i = 0; i < sizeof one_sided / sizeof one_sided[0]; i++) {
    struct summary_interval kappa = summary_kappa(one_sided[i], 0.95);
    assert_true(isnan(kappa.value) && isnan(kappa.low) && isnan(kappa.high));
  }
}

/* Nokens of three kinds in 4 prompts, with other rates in two models; what one does in both is
 * alike. Where little changes, the interval is longer than it needs to be: the least counts. */
static void the_interval_of_a_paired_change_holds_it(void **state) {
  (void)state;
  enum { PROMPTS = 4, MOST_NOKENS = 96 };
  static const double rates[][2][3] = {{{0.02, 0.05, 0.1}, {0.02, 0.05, 0.1}},
                                       {{0.1, 0.5, 0.95}, {0.05, 0.05, 0.05}},
                                       {{0.98, 0.98, 1}, {0.9, 0.95, 0.98}},
                                       {{0, 0, 1}, {0, 0.5, 0.5}},
                                       {{1, 1, 1}, {0.05, 0.05, 0.05}}};
  static const size_t sizes[] = {16, 32, MOST_NOKENS};
  for (size_t c = 0; c < sizeof rates / sizeof rates[0]; c++)
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
      struct nki_random random = nki_random_stream(300 + c, NKI_RANDOM_TEST, s);
      double truth = 0, change[MOST_NOKENS];
      size_t held = 0;
      for (int kind = 0; kind < 3; kind++) truth += (rates[c][1][kind] - rates[c][0][kind]) / 3;
      for (int rerun = 0; rerun < RERUNS; rerun++) {
        for (size_t i = 0; i < sizes[s]; i++) {
          size_t kind = (size_t)(3 * nki_random_uniform(&random));
          change[i] = 0;
          for (int p = 0; p < PROMPTS; p++) {
            double before = nki_random_uniform(&random), other = nki_random_uniform(&random);
            double after = nki_random_uniform(&random) < 0.8 ? before : other;
            change[i] += (after < rates[c][1][kind]) - (before < rates[c][0][kind]);
          }
          change[i] /= PROMPTS;
        }
        held += holds(summary_paired_share(change, sizes[s], 0.95), truth);
      }
      if (getenv("NOKEN_COVERAGE") != NULL)
        printf("paired %zu %6zu %.3f\n", c, sizes[s], (double)held / RERUNS);
      if (!((double)held / RERUNS >= LEAST))
        fail_msg("rates %zu, n %zu: held in %.3f", c, sizes[s], (double)held / RERUNS);
    }
}

/* Of 50 pairs 3 change one way and 11 the other: Agresti and Min's formula by numpy, with scipy's
 * quantile of Student's t in place of the normal one. */
static void a_paired_change_of_single_pairs_has_the_interval_of_agresti_and_min(void **state) {
  (void)state;
  double change[50] = {0};
  for (int i = 0; i < 14; i++) change[i] = i < 3 ? 1 : -1;
  struct summary_interval interval = summary_paired_share(change, 50, 0.95);
  assert_true(fabs(interval.value + 0.16) < 1e-12);
  assert_true(fabs(interval.low - -0.29724833803869705) < 1e-9 &&
              fabs(interval.high - -0.010443969653610663) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_interval_of_a_rate_holds_it),
      cmocka_unit_test(the_interval_of_a_mean_of_prompts_holds_it),
      cmocka_unit_test(the_interval_of_extreme_prompts_holds_it),
      cmocka_unit_test(the_interval_of_a_mean_of_tokens_holds_it),
      cmocka_unit_test(rates_of_none_and_all_have_wilsons_interval_of_all_trials),
      cmocka_unit_test(the_interval_of_a_paired_change_holds_it),
      cmocka_unit_test(a_paired_change_of_single_pairs_has_the_interval_of_agresti_and_min),
      cmocka_unit_test(kappa_and_its_interval_are_those_of_statsmodels),
  };
  return cmocka_run_group_tests_name("rates", tests, NULL, NULL);
}
