/* Agreement of raters in tools/summary: closed forms, and the coverage of intervals by simulation.
 * tests/fixtures/summary_kappa.py has the values of other programs. */
#include "base/random.h"
#include "summary/kappa.h"
#include "unit.h"

#include <math.h>

enum { MOST_ITEMS = 128, MOST_RATERS = 3 };

struct rows {
  uint32_t item[MOST_ITEMS * MOST_RATERS], rater[MOST_ITEMS * MOST_RATERS],
      class[MOST_ITEMS * MOST_RATERS];
};

static struct summary_agreement agree(const struct summary_ratings *ratings, size_t n_resamples) {
  const struct summary_options options = {.level = 0.95, .n_resamples = n_resamples, .seed = 1};
  struct summary_agreement out;
  assert_int_equal(summary_agree(ratings, &options, &out), NK_OK);
  return out;
}

/* Two raters and a 2 by 2 table of counts: an example of Fleiss, Cohen and Everitt's formula is in
 * summary_kappa, whose value is the same. */
static void kappa_of_two_classes_is_that_of_their_table(void **state) {
  (void)state;
  size_t table[2][2] = {{20, 5}, {10, 15}}, n = 0;
  struct rows rows;
  for (uint32_t a = 0, item = 0; a < 2; a++)
    for (uint32_t b = 0; b < 2; b++)
      for (size_t k = 0; k < table[a][b]; k++, item++)
        for (uint32_t r = 0; r < 2; r++, n++) {
          rows.item[n] = item;
          rows.rater[n] = r;
          rows.class[n] = r == 0 ? a : b;
        }
  struct summary_ratings ratings = {n, 50, 2, 2, rows.item, rows.rater, rows.class};
  struct summary_agreement found = agree(&ratings, 4000);
  struct summary_interval closed = summary_kappa(table, 0.95);
  assert_true(fabs(found.kappa.value - 0.4) < 1e-12 && fabs(found.share.value - 0.7) < 1e-12);
  assert_true(fabs(closed.value - found.kappa.value) < 1e-12);
  assert_true(fabs(closed.low - found.kappa.low) < 0.05);
  assert_true(fabs(closed.high - found.kappa.high) < 0.05);
}

static void full_agreement_is_not_certain(void **state) {
  (void)state;
  struct rows rows;
  for (uint32_t i = 0; i < 40; i++) {
    rows.item[i] = i / 2;
    rows.rater[i] = i % 2;
    rows.class[i] = i / 2 % 2;
  }
  struct summary_ratings ratings = {40, 20, 2, 2, rows.item, rows.rater, rows.class};
  struct summary_agreement found = agree(&ratings, 200);
  double t = summary_t_quantile(0.975, 19), low = 1 / (1 + t * t / 20); /* Wilson's of 20 in 20 */
  assert_true(found.kappa.value == 1 && found.kappa.high == 1);
  assert_true(fabs(found.kappa.low - (low - 0.5) / 0.5) < 1e-9);
  assert_string_equal(found.of_kappa, "Wilson");
  for (uint32_t i = 0; i < 40; i++) rows.class[i] = 0; /* chance alone agrees */
  found = agree(&ratings, 200);
  assert_true(found.share.value == 1 && isnan(found.kappa.value) && isnan(found.kappa.low));
}

/* Raters who see a class of probability 0.4 and err with probability 0.15, each by itself. */
static void intervals_cover_the_agreement_of_the_population(void **state) {
  (void)state;
  enum { N_WORLDS = 600 };
  const double p = 0.4, error = 0.15;
  double shown = p * (1 - error) + (1 - p) * error, observed = 1 - 2 * error * (1 - error);
  double chance = shown * shown + (1 - shown) * (1 - shown);
  double kappa = (observed - chance) / (1 - chance);
  static const struct { size_t n_items, n_raters; } designs[] = {{40, 2}, {100, 2}, {40, 3}};
  for (size_t d = 0; d < sizeof designs / sizeof *designs; d++) {
    size_t covered[2] = {0, 0}, n_raters = designs[d].n_raters;
    for (size_t w = 0; w < N_WORLDS; w++) {
      struct nki_random random = nki_random_stream(13, NKI_RANDOM_TEST, w);
      struct rows rows;
      size_t n = 0;
      for (uint32_t i = 0; i < designs[d].n_items; i++) {
        uint32_t truth = nki_random_uniform(&random) < p;
        for (uint32_t r = 0; r < n_raters; r++, n++) {
          rows.item[n] = i;
          rows.rater[n] = r;
          rows.class[n] = truth ^ (nki_random_uniform(&random) < error);
        }
      }
      struct summary_ratings ratings = {n,         designs[d].n_items, n_raters,  2,
                                        rows.item, rows.rater,         rows.class};
      struct summary_agreement found = agree(&ratings, 400);
      covered[0] += found.share.low <= observed && observed <= found.share.high;
      covered[1] += found.kappa.low <= kappa && kappa <= found.kappa.high;
    }
    for (int k = 0; k < 2; k++) {
      double coverage = (double)covered[k] / N_WORLDS;
      print_message("# %zu items, %zu raters, %s: coverage %.3f\n", designs[d].n_items, n_raters,
                    k == 0 ? "share" : "kappa", coverage);
      assert_true(fabs(coverage - 0.95) < 0.02 + 3 * sqrt(0.05 * 0.95 / N_WORLDS) / 2);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kappa_of_two_classes_is_that_of_their_table),
      cmocka_unit_test(full_agreement_is_not_certain),
      cmocka_unit_test(intervals_cover_the_agreement_of_the_population),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
