/* The energy distance of tools/summary: closed forms, the level of its test and the coverage of its
 * interval by simulation. tests/fixtures/summary_energy.py has the values of other programs. */
#include "base/random.h"
#include "summary/energy.h"
#include "unit.h"

#include <math.h>

/* Two samples of items, each in every stratum, with an effect of the item on all its rows. Ranks of
 * the first are those of the largest of `power` uniform draws, of the second uniform. */
struct design {
  size_t n_first, n_second, n_strata, n_features;
  double item; /* variance of the item's effect, of 1 */
  double power;
  bool told; /* that rows of an item belong together */
};

enum { MOST_ROWS = 2048, MOST_FEATURES = 3 };

struct rows {
  double value[MOST_ROWS * MOST_FEATURES];
  uint32_t stratum[MOST_ROWS], unit[MOST_ROWS];
};

static void draw(const struct design *d, uint64_t index, struct rows *rows,
                 struct summary_two_samples *out) {
  struct nki_random random = nki_random_stream(11, NKI_RANDOM_TEST, index);
  size_t n_items = d->n_first + d->n_second, n = 0;
  for (size_t i = 0; i < n_items; i++) {
    double item[MOST_FEATURES];
    for (size_t f = 0; f < d->n_features; f++) item[f] = sqrt(d->item) * nki_random_normal(&random);
    for (size_t s = 0; s < d->n_strata; s++, n++) {
      for (size_t f = 0; f < d->n_features; f++) {
        double u = summary_normal(item[f] + sqrt(1 - d->item) * nki_random_normal(&random));
        if (i < d->n_first) u = pow(u, 1 / d->power);
        rows->value[n * d->n_features + f] = (double)s * 10 + u; /* strata are far apart */
      }
      rows->stratum[n] = (uint32_t)s;
      rows->unit[n] = (uint32_t)(d->told ? i : n);
    }
  }
  assert_true(n <= MOST_ROWS);
  *out = (struct summary_two_samples){.n = n,
                                      .n_features = d->n_features,
                                      .n_strata = d->n_strata,
                                      .n_units = d->told ? n_items : n,
                                      .n_first = d->n_first * (d->told ? 1 : d->n_strata),
                                      .value = rows->value,
                                      .stratum = rows->stratum,
                                      .unit = rows->unit};
}

static struct summary_energy energy_of(const struct summary_two_samples *samples,
                                       size_t n_resamples) {
  const struct summary_options options = {.level = 0.95, .n_resamples = n_resamples, .seed = 2};
  struct summary_energy out;
  assert_int_equal(summary_energy(samples, &options, &out), NK_OK);
  return out;
}

/* ---- Values ---- */

/* Of 1 feature, with ranks 1/8, 3/8, 5/8, 7/8: means of pairs are 1/2 between and 1/4 within. */
static void separated_pairs_have_the_value_of_their_definition(void **state) {
  (void)state;
  const double value[] = {-INFINITY, 2, 1e300, INFINITY}, same[] = {3, 3, 3, 3};
  const uint32_t stratum[4] = {0}, unit[] = {0, 1, 2, 3};
  struct summary_two_samples two = {4, 1, 1, 4, 2, value, stratum, unit};
  struct summary_energy energy = energy_of(&two, 2000);
  assert_true(fabs(energy.interval.value - 0.5) < 1e-15 && energy.n_strata == 1);
  /* 2 of the 6 divisions of 4 into pairs are this one */
  assert_true(fabs(energy.p_value - 1.0 / 3) < 0.04);
  two.value = same;
  energy = energy_of(&two, 100);
  assert_true(energy.interval.value == 0 && energy.p_value == 1);
  two.n_first = 1; /* no pair within the first */
  energy = energy_of(&two, 100);
  assert_true(isnan(energy.interval.value) && isnan(energy.p_value) && energy.n_strata == 0);
}

/* A feature that grows with another gives the same ranks, an infinity that of a largest value. */
static void values_depend_on_ranks_alone(void **state) {
  (void)state;
  const struct design d = {12, 15, 3, 2, 0.5, 2, true};
  struct rows *rows = malloc(sizeof *rows);
  assert_non_null(rows);
  struct summary_two_samples two;
  draw(&d, 0, rows, &two);
  struct summary_energy before = energy_of(&two, 100);
  for (size_t i = 0; i < two.n * 2; i++) rows->value[i] = exp(30 * rows->value[i]);
  for (size_t i = 0, best = 0; i < two.n; i++) {
    if (rows->value[2 * i] > rows->value[2 * best]) best = i;
    if (i + 1 == two.n) rows->value[2 * best] = INFINITY;
  }
  struct summary_energy after = energy_of(&two, 100);
  free(rows);
  assert_memory_equal(&before, &after, sizeof before);
}

static void values_do_not_depend_on_threads(void **state) {
  (void)state;
  const struct design d = {12, 15, 3, 2, 0.5, 2, true};
  struct rows *rows = malloc(sizeof *rows);
  struct summary_two_samples two;
  assert_non_null(rows);
  draw(&d, 0, rows, &two);
  nk_set_threads(1);
  struct summary_energy one = energy_of(&two, 1500);
  nk_set_threads(3);
  struct summary_energy three = energy_of(&two, 1500);
  nk_set_threads(0);
  free(rows);
  assert_memory_equal(&one, &three, sizeof one);
}

/* ---- The test ---- */

/* The shares of worlds with p <= 0.05 and p <= 0.5. */
static void reject(const struct design *d, size_t n_worlds, double share[2]) {
  struct rows *rows = malloc(sizeof *rows);
  assert_non_null(rows);
  share[0] = share[1] = 0;
  for (size_t w = 0; w < n_worlds; w++) {
    struct summary_two_samples two;
    draw(d, w, rows, &two);
    struct summary_energy energy = energy_of(&two, 199);
    share[0] += (energy.p_value <= 0.05) / (double)n_worlds;
    share[1] += (energy.p_value <= 0.5) / (double)n_worlds;
  }
  free(rows);
  print_message("# %zu and %zu items in %zu strata%s: p <= 0.05 in %.3f, <= 0.5 in %.3f\n",
                d->n_first, d->n_second, d->n_strata, d->told ? "" : ", not told", share[0],
                share[1]);
}

/* Within three standard errors: 0.021 of 0.05, 0.047 of 0.5. */
static void p_values_of_equal_distributions_are_uniform(void **state) {
  (void)state;
  const struct design designs[] = {
      {8, 30, 4, 2, 0.7, 1, true},  /* items in all strata */
      {15, 15, 1, 3, 0.5, 1, true}, /* one stratum */
      {8, 12, 3, 2, 0, 1, false},   /* every row by itself: exchanged within strata */
  };
  for (size_t i = 0; i < sizeof designs / sizeof *designs; i++) {
    double share[2];
    reject(&designs[i], 1000, share);
    assert_true(fabs(share[0] - 0.05) < 0.021 && fabs(share[1] - 0.5) < 0.047);
  }
}

static void rows_of_an_item_that_are_not_told_reject_too_often(void **state) {
  (void)state;
  const struct design d = {10, 30, 16, 2, 0.95, 1, false};
  double share[2];
  reject(&d, 200, share);
  assert_true(share[0] > 0.12);
}

/* A shift of half a standard deviation and more. */
static void different_distributions_are_found(void **state) {
  (void)state;
  const struct design d = {20, 30, 4, 2, 0.5, 2.5, true};
  double share[2];
  reject(&d, 200, share);
  assert_true(share[0] > 0.9);
}

/* ---- The interval ---- */

/* With F = G^power and equal sizes, H = (F + G) / 2, the energy is 2 int (F - G)^2 dH and the mean
 * between the samples int F (1 - G) + G (1 - F) dH: 0 for power 1, 2/21 for 2, 2/7 for 4. */
static void intervals_cover_the_population_value(void **state) {
  (void)state;
  static const struct {
    struct design design;
    double truth;
  } worlds[] = {
      {{30, 30, 1, 1, 0.5, 1, true}, 0},         {{30, 30, 1, 1, 0.5, 2, true}, 2.0 / 21},
      {{30, 30, 1, 1, 0.5, 4, true}, 2.0 / 7},   {{20, 20, 4, 1, 0.6, 1, true}, 0},
      {{20, 20, 4, 1, 0.6, 2, true}, 2.0 / 21},  {{20, 20, 4, 1, 0.6, 4, true}, 2.0 / 7},
      {{100, 100, 1, 1, 0.5, 4, true}, 2.0 / 7},
  };
  enum { N_WORLDS = 500 };
  struct rows *rows = malloc(sizeof *rows);
  assert_non_null(rows);
  for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) {
    size_t covered = 0;
    double mean = 0;
    for (size_t w = 0; w < N_WORLDS; w++) {
      struct summary_two_samples two;
      draw(&worlds[i].design, w, rows, &two);
      struct summary_interval interval = energy_of(&two, 300).interval;
      covered += interval.low <= worlds[i].truth && worlds[i].truth <= interval.high;
      mean += interval.value / N_WORLDS;
    }
    print_message("# truth %.3f, mean %.3f: coverage %.3f\n", worlds[i].truth, mean,
                  (double)covered / N_WORLDS);
    assert_true(fabs(mean - worlds[i].truth) < 0.02);
    assert_true((double)covered / N_WORLDS > 0.95 - 3 * sqrt(0.05 * 0.95 / N_WORLDS));
  }
  free(rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(separated_pairs_have_the_value_of_their_definition),
      cmocka_unit_test(values_depend_on_ranks_alone),
      cmocka_unit_test(values_do_not_depend_on_threads),
      cmocka_unit_test(p_values_of_equal_distributions_are_uniform),
      cmocka_unit_test(rows_of_an_item_that_are_not_told_reject_too_often),
      cmocka_unit_test(different_distributions_are_found),
      cmocka_unit_test(intervals_cover_the_population_value),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
