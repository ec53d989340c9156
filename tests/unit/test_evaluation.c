/* Measures of rankings, against scikit-learn and scipy (tests/fixtures/evaluation.py) and against
 * what can be counted by hand. */
#include "unit.h"

#include <math.h>

#include "geometry/guarantees.h"
#include "glitch/internal.h"

enum { N = 200 };

static void assert_near(double value, double expected) {
  if (!(fabs(value - expected) <= 1e-12 * fmax(1, fabs(expected))))
    fail_msg("%.17g, expected %.17g", value, expected);
}

static void measures_with_ties_are_those_of_scikit_learn(void **state) {
  (void)state;
  double scores[N], count[N], spearman;
  bool positive[N];
  struct nk_retrieval r;
  for (int i = 0; i < N; i++) {
    scores[i] = floor(i * 37 % 101 / 10.0);
    positive[i] = i * i % 7 == 1 || scores[i] > 8;
    count[i] = i * 53 % 67;
  }
  assert_int_equal(nk_retrieval(scores, positive, N, &r), 0);
  assert_near(r.auc, 0.640006471793765);
  assert_near(r.average_precision, 0.609415753770191);
  assert_int_equal(nki_spearman(scores, count, N, &spearman), 0);
  assert_near(spearman, 0.0352410380269796);
}

static void a_small_ranking_is_measured_as_by_hand(void **state) {
  (void)state;
  const double scores[] = {5, 4, 3, 3, 1};
  const bool positive[] = {true, false, true, false, false};
  struct nk_retrieval r;
  assert_int_equal(nk_retrieval(scores, positive, 5, &r), 0);
  assert_int_equal(r.positives, 2);
  /* Of the 6 pairs, 5 beats three and 3 beats one, loses one and ties one. */
  assert_near(r.auc, 4.5 / 6);
  /* Recall goes up by 1/2 at precision 1, and by 1/2 at precision 2/4. */
  assert_near(r.average_precision, 0.5 * 1 + 0.5 * 0.5);
  assert_near(r.precision, 0.5);
}

static void rankings_without_a_class_have_no_curve(void **state) {
  (void)state;
  const double scores[] = {1, (double)NAN, 0};
  const bool none[] = {false, false, false}, last[] = {false, true, false};
  struct nk_retrieval r;
  assert_int_equal(nk_retrieval(scores, none, 3, &r), 0);
  assert_true(isnan(r.auc) && isnan(r.average_precision) && isnan(r.precision));
  assert_int_equal(nk_retrieval(scores, last, 3, &r), 0); /* NaN ranks last */
  assert_near(r.auc, 0);
  assert_near(r.average_precision, 1.0 / 3);
  double constant[] = {2, 2, 2}, spearman = 0;
  assert_int_equal(nki_spearman(scores, constant, 3, &spearman), 0);
  assert_true(isnan(spearman));
}

static void q_values_are_those_of_benjamini_and_hochberg(void **state) {
  (void)state;
  double p[N + 1], q[N + 1];
  for (int i = 0; i < N; i++) p[i] = pow(i * 29 % 199 + 1, 3) / 8e6;
  p[N] = (double)NAN; /* not one of the tests */
  assert_int_equal(nki_q_values(p, N + 1, q), 0);
  assert_near(q[0], 1.25e-05);
  assert_near(q[1], 0.0217741935483871);
  assert_near(q[7], 0.000520833333333333);
  assert_near(q[100], 0.327774784482759);
  assert_near(q[199], 1.25e-05);
  assert_true(isnan(q[N]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(measures_with_ties_are_those_of_scikit_learn),
      cmocka_unit_test(a_small_ranking_is_measured_as_by_hand),
      cmocka_unit_test(rankings_without_a_class_have_no_curve),
      cmocka_unit_test(q_values_are_those_of_benjamini_and_hochberg),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
