/* Divergences of nk-compare between the answers of two models, against closed forms. */
#include "unit.h"

#include <math.h>

#include "compare/compare.h"

static void equal_logits_do_not_diverge(void **state) {
  (void)state;
  enum { N = 1000 };
  float x[N];
  for (int i = 0; i < N; i++) x[i] = sinf((float)i) * 30;
  assert_true(compare_divergence_of(x, x, N) == 0);
}

/* log p and log q of (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2), with different constants: log(2) / 4. */
static void a_divergence_is_that_of_the_softmax(void **state) {
  (void)state;
  const float ln2 = 0.69314718f;
  const float x[] = {100 - ln2, 100 - 2 * ln2, 100 - 2 * ln2};
  const float y[] = {-80 - 2 * ln2, -80 - 2 * ln2, -80 - ln2};
  assert_true(fabs(compare_divergence_of(x, y, 3) - log(2) / 4) < 1e-5);
}

/* A distribution that is a point, to far below what a float holds: -log of its probability. */
static void a_divergence_from_a_point_is_its_surprise(void **state) {
  (void)state;
  const float x[] = {0, 500, -500}, y[] = {0, -50, 0};
  assert_true(fabs(compare_divergence_of(x, y, 3) - (50 + log(2))) < 1e-9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_logits_do_not_diverge),
      cmocka_unit_test(a_divergence_is_that_of_the_softmax),
      cmocka_unit_test(a_divergence_from_a_point_is_its_surprise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
