/* Guarantees of p-values: their numbers, against tests/fixtures/guarantees.py, and that they hold,
 * in simulations whose truth is known. */
#include "unit.h"

#include <math.h>

#include "base/random.h"
#include "geometry/conformal.h"
#include "geometry/guarantees.h"

enum { RUNS = 2000 };

/* Three standard errors of a share of the runs, beyond which one in 700 is. */
static double tolerance(double share) {
  return 3 * sqrt(share * (1 - share) / RUNS);
}

static void assert_near(double value, double expected, double relative) {
  if (!(fabs(value - expected) <= relative * fabs(expected)))
    fail_msg("%.12g, expected %.12g", value, expected);
}

static int guarantee(size_t m, enum nk_guarantee which, double delta, const double *p, size_t n,
                     double *out) {
  const struct nk_conformal calibration = {.n = m, .p_min = 1 / (double)(m + 1)};
  return nk_conformal_guarantee(&calibration, which, delta, p, n, out);
}

/* ---- Numbers ---- */

static void conditional_p_values_are_the_bounds_by_scipy(void **state) {
  (void)state;
  static const struct {
    size_t m, at[4];
    double delta, expected[4];
  } CASES[] = {
      {20, {1, 2, 3, 10}, 0.1, {0.16839674, 0.24869256, 0.31694077, 0.68468463}},
      {101, {1, 2, 13, 51}, 0.05, {0.049894953, 0.069913987, 0.22286673, 0.62365077}},
      {400, {1, 2, 51, 200}, 0.1, {0.011782026, 0.016862928, 0.16946917, 0.55793667}},
      {400, {1, 2, 51, 200}, 0.001, {0.024747504, 0.031135366, 0.20080986, 0.59577986}},
  };
  for (size_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++)
    for (size_t j = 0; j < 4; j++) {
      double p = (double)CASES[c].at[j] / (double)(CASES[c].m + 1), adjusted;
      assert_int_equal(
          guarantee(CASES[c].m, NK_GUARANTEE_CONDITIONAL, CASES[c].delta, &p, 1, &adjusted), NK_OK);
      /* The level is found to 1e-3, from below. */
      assert_near(adjusted, CASES[c].expected[j], 3e-4);
      assert_true(adjusted >= CASES[c].expected[j] * (1 - 1e-6));
    }
}

static void conditional_p_values_of_one_or_two_rows_are_in_closed_form(void **state) {
  (void)state;
  const double p[] = {0.5, 1, 1.0 / 3};
  double out[3];
  /* U <= 1 - delta; the smaller of two <= 1 - sqrt(delta). */
  assert_int_equal(guarantee(1, NK_GUARANTEE_CONDITIONAL, 0.1, p, 2, out), NK_OK);
  assert_near(out[0], 0.9, 1e-3);
  assert_true(out[1] == 1);
  assert_int_equal(guarantee(2, NK_GUARANTEE_CONDITIONAL, 0.1, p + 2, 1, out), NK_OK);
  assert_near(out[0], 1 - sqrt(0.1), 1e-3);
}

static void conditional_p_values_grow_with_p_and_exceed_it(void **state) {
  (void)state;
  enum { M = 5000 };
  static double p[M + 1], out[M + 1], strict[M + 1];
  for (size_t i = 0; i <= M; i++) p[i] = (double)(i + 1) / (M + 1);
  assert_int_equal(guarantee(M, NK_GUARANTEE_CONDITIONAL, 0.1, p, M + 1, out), NK_OK);
  assert_int_equal(guarantee(M, NK_GUARANTEE_CONDITIONAL, 0.01, p, M + 1, strict), NK_OK);
  for (size_t i = 0; i <= M; i++) {
    assert_true(out[i] <= strict[i] && out[i] <= 1 && (i == M || out[i] > p[i]));
    assert_true(i == 0 || out[i] > out[i - 1] || out[i] == 1);
    assert_true(p[i] > 0.5 + 1e-9 ? out[i] == 1 : out[i] < 0.55);
  }
  /* Bounds that seldom hold are below many p-values, which are never made smaller. */
  assert_int_equal(guarantee(M, NK_GUARANTEE_CONDITIONAL, 0.99, p, M + 1, out), NK_OK);
  for (size_t i = 0; i <= M; i++) assert_true(out[i] >= p[i]);
}

static void bounds_of_false_discoveries_are_those_by_counting(void **state) {
  (void)state;
  static const unsigned char FEW[] = {1, 1, 1, 1, 1,  1,  1,  1,  1,  2,
                                      2, 4, 5, 8, 12, 16, 21, 25, 30, 31};
  static const double FEW_BOUNDS[] = {0.2222222222, 0.2222222222, 0.2222222222, 0.2222222222,
                                      0.2222222222, 0.2222222222, 0.2222222222, 0.2222222222,
                                      0.2222222222, 0.2727272727, 0.2727272727, 0.3333333333,
                                      0.3846153846, 0.4285714286, 0.4666666667, 0.5,
                                      0.5294117647, 0.5555555556, 0.5789473684, 0.6};
  double p[48], out[48];
  for (size_t i = 0; i < 20; i++) p[i] = FEW[i] / 31.0;
  assert_int_equal(guarantee(30, NK_GUARANTEE_FDP, 0.1, p, 20, out), NK_OK);
  for (size_t i = 0; i < 20; i++) assert_near(out[i], FEW_BOUNDS[i], 1e-9);
  for (size_t i = 0; i < 48; i++)
    p[i] = (double)(i < 20   ? 1
                    : i < 23 ? (const unsigned char[]){3, 7, 9}[i - 20]
                             : 2 * (i - 18)) /
           61;
  assert_int_equal(guarantee(60, NK_GUARANTEE_FDP, 0.2, p, 48, out), NK_OK);
  for (size_t i = 0; i < 20; i++) assert_near(out[i], 0.1, 1e-9);
  for (size_t i = 20; i < 48;
       i++) /* one more ordinary row for each row, at most 18 less than all */
    assert_near(out[i], ((double)i - 17) / ((double)i + 1), 1e-9);
  const double three[] = {0.1, 0.2, 0.9};
  assert_int_equal(guarantee(9, NK_GUARANTEE_FDP, 0.3, three, 3, out), NK_OK);
  assert_true(out[0] == 0);
  assert_near(out[1], 0.5, 1e-9);
  assert_near(out[2], 2.0 / 3, 1e-9);
}

/* p-values between those of m calibrating rows count as the next larger of these. */
static void bounds_of_other_p_values_are_those_of_the_next_cut(void **state) {
  (void)state;
  static const double BETWEEN[][8] = {{0.01, 0.02, 0.04, 0.11, 0.13, 0.2, 0.62, 1},
                                      {0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02},
                                      {0.06, 0.06, 0.07, 0.07, 0.11, 0.11, 0.11, 0.11}};
  double p[8], expected[8], out[8];
  for (size_t c = 0; c < 6; c++) {
    enum nk_guarantee which = c % 2 == 0 ? NK_GUARANTEE_CONDITIONAL : NK_GUARANTEE_FDP;
    for (size_t i = 0; i < 8; i++) p[i] = ceil(BETWEEN[c / 2][i] * 20 - 1e-9) / 20;
    assert_int_equal(guarantee(19, which, 0.04, p, 8, expected), NK_OK);
    assert_int_equal(guarantee(19, which, 0.04, BETWEEN[c / 2], 8, out), NK_OK);
    for (size_t i = 0; i < 8; i++) assert_near(out[i], expected[i], 1e-12);
  }
}

static void a_single_new_object_is_surely_outside_where_p_is_at_most_delta(void **state) {
  (void)state;
  for (size_t i = 1; i <= 100; i++) {
    double p = (double)i / 101, bound;
    assert_int_equal(guarantee(100, NK_GUARANTEE_FDP, 0.1, &p, 1, &bound), NK_OK);
    assert_true(bound == (p <= 0.1 ? 0 : 1));
  }
}

static void q_values_are_those_of_scipy(void **state) {
  (void)state;
  static const double RANKS[] = {1, 3, 1, 12, 30, 2, 31, 7, 1, 4};
  static const double EXPECTED[] = {
      0.10752688172,  0.193548387097, 0.10752688172, 0.483870967742, 1, 0.161290322581, 1,
      0.322580645161, 0.10752688172,  0.215053763441};
  double p[10], q[10];
  for (size_t i = 0; i < 10; i++) p[i] = RANKS[i] / 31;
  assert_int_equal(guarantee(30, NK_GUARANTEE_FDR, 0, p, 10, q), NK_OK);
  for (size_t i = 0; i < 10; i++) assert_near(q[i], EXPECTED[i], 1e-11);
}

static void what_cannot_be_guaranteed_is_refused(void **state) {
  (void)state;
  double p[] = {0.5, (double)NAN}, out[2] = {7, 7};
  static const enum nk_guarantee WHICH[] = {NK_GUARANTEE_CONDITIONAL, NK_GUARANTEE_FDP};
  for (size_t k = 0; k < 2; k++) {
    enum nk_guarantee which = WHICH[k];
    assert_int_equal(guarantee(9, which, 0, p, 1, out), NK_EUSAGE);
    assert_int_equal(guarantee(9, which, 1, p, 1, out), NK_EUSAGE);
    assert_int_equal(guarantee(9, which, (double)NAN, p, 1, out), NK_EUSAGE);
    assert_int_equal(guarantee(9, which, 0.1, p, 2, out), NK_EDATA);
    p[1] = 0;
    assert_int_equal(guarantee(9, which, 0.1, p, 2, out), NK_EDATA);
    p[1] = (double)NAN;
    assert_int_equal(guarantee(9, which, 0.1, p, 0, out), NK_OK);
  }
  assert_true(nk_conformal_guarantee(NULL, NK_GUARANTEE_FDP, 0.1, p, 1, out) < 0);
  assert_true(out[0] == 7);
}

/* ---- The guarantees, in simulations ---- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* A uniform number, with `steps` of so many values. */
static double drawn(struct nki_random *random, size_t steps) {
  double u = nki_random_uniform(random);
  return steps > 0 ? floor(u * (double)steps) / (double)steps : u;
}

/* Calibrating scores, uniform: the false positive rate at a threshold t is then 1 - t. */
static struct nk_conformal *calibrate(struct nki_random *random, double *scores, size_t m,
                                      size_t steps) {
  for (size_t i = 0; i < m; i++) scores[i] = drawn(random, steps);
  struct nk_conformal *calibration = nki_conformal_new(scores, m);
  assert_non_null(calibration);
  return calibration;
}

/* In how many of the splits the false positive rate at a level exceeds it: by p, by the conditional
 * p, by the latter at any level whatever. */
static void rates_given_the_calibrating_half_exceed_their_level_as_seldom_as_promised(
    void **state) {
  (void)state;
  static const struct {
    size_t m;
    double delta;
  } CASES[] = {{50, 0.1}, {200, 0.05}, {1000, 0.1}, {1000, 0.2}};
  static const double LEVELS[] = {0.02, 0.05, 0.1, 0.3};
  static double p[1001], adjusted[1001], scores[1000];
  for (size_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
    size_t m = CASES[c].m, n_any = 0, n_adjusted[4] = {0}, n_plain[4] = {0};
    for (size_t i = 0; i <= m; i++) p[i] = (double)(i + 1) / (double)(m + 1);
    assert_int_equal(guarantee(m, NK_GUARANTEE_CONDITIONAL, CASES[c].delta, p, m + 1, adjusted),
                     NK_OK);
    for (size_t run = 0; run < RUNS; run++) {
      struct nki_random random = nki_random_stream(c, NKI_RANDOM_TEST, run);
      struct nk_conformal *calibration = calibrate(&random, scores, m, 0);
      bool any = false;
      for (size_t i = 0; i < m; i++) { /* p <= p[i] is a score above the (i + 1)-th largest */
        double rate = 1 - calibration->scores[m - 1 - i];
        any = any || rate > adjusted[i];
      }
      n_any += any;
      for (size_t l = 0; l < 4; l++) {
        size_t plain = 0, given = 0;
        while (plain <= m && p[plain] <= LEVELS[l]) plain++;
        while (given <= m && adjusted[given] <= LEVELS[l]) given++;
        n_plain[l] += plain > 0 && 1 - calibration->scores[m - plain] > LEVELS[l];
        n_adjusted[l] += given > 0 && 1 - calibration->scores[m - given] > LEVELS[l];
      }
      nki_conformal_free(calibration);
    }
    double share = (double)n_any / RUNS, delta = CASES[c].delta;
    print_message(
        "# m %zu, delta %g: exceeded at any level %.4f; at %g by p %.3f, conditional %.4f\n", m,
        delta, share, LEVELS[1], (double)n_plain[1] / RUNS, (double)n_adjusted[1] / RUNS);
    /* The probability is delta to 1e-3, so that the bounds are no larger than they have to be. */
    assert_true(share <= delta + tolerance(delta) && share >= delta - tolerance(delta));
    for (size_t l = 0; l < 4; l++) {
      assert_true((double)n_adjusted[l] <= delta * RUNS);
      assert_true(LEVELS[l] * (double)m < 2 || (double)n_plain[l] > 0.25 * RUNS);
    }
  }
}

enum { CUTS = 402 };

/* New objects: ordinary with uniform scores, and `n_outside` others, further out. */
static void draw(struct nki_random *random, const struct nk_conformal *calibration, size_t n,
                 size_t n_outside, double *p) {
  for (size_t i = 0; i < n; i++) {
    double u = nki_random_uniform(random);
    p[i] = nki_conformal_p(calibration, i < n_outside ? 1.03 - 0.05 * u : u);
  }
}

/* Whether at some cut more of the rows from n_outside on are called outside than share [n] of all
 * that are called so; p by m calibrating scores. */
static bool is_exceeded(const double *p, const double *share, size_t n, size_t n_outside,
                        size_t m) {
  size_t outside[CUTS] = {0}, ordinary[CUTS] = {0};
  bool exceeded = false;
  assert_true(m + 2 <= CUTS);
  for (size_t i = 0; i < n; i++) {
    size_t cut = (size_t)lround(p[i] * (double)(m + 1));
    outside[cut]++;
    ordinary[cut] += i >= n_outside;
  }
  for (size_t cut = 1; cut <= m + 1; cut++) {
    outside[cut] += outside[cut - 1];
    ordinary[cut] += ordinary[cut - 1];
  }
  for (size_t i = 0; i < n; i++) {
    size_t cut = (size_t)lround(p[i] * (double)(m + 1));
    exceeded = exceeded || (double)ordinary[cut] > share[i] * (double)outside[cut] + 1e-9;
  }
  return exceeded;
}

static void bounds_of_false_discoveries_hold_at_all_cuts(void **state) {
  (void)state;
  enum { M = 400, MOST = 200 };
  static const size_t N[] = {40, MOST};
  static const double OUTSIDE[] = {0, 0.1, 0.5, 0.9}, DELTA = 0.1;
  double scores[M], p[MOST], bound[MOST], naive[MOST];
  for (size_t c = 0; c < 8; c++) {
    size_t n = N[c % 2], n_outside = (size_t)(OUTSIDE[c / 2] * (double)n), n_naive = 0;
    size_t n_exceeded = 0;
    double least = 0;
    struct nki_discoveries *discoveries = nki_discoveries_new(M, n, DELTA);
    assert_non_null(discoveries);
    for (size_t run = 0; run < RUNS; run++) {
      struct nki_random random = nki_random_stream(100 + c, NKI_RANDOM_TEST, run);
      struct nk_conformal *calibration = calibrate(&random, scores, M, 0);
      draw(&random, calibration, n, n_outside, p);
      nki_conformal_free(calibration);
      assert_int_equal(nki_discoveries_bound(discoveries, p, bound), NK_OK);
      n_exceeded += is_exceeded(p, bound, n, n_outside, M);
      assert_int_equal(guarantee(M, NK_GUARANTEE_FDR, 0, p, n, naive), NK_OK);
      n_naive += is_exceeded(p, naive, n, n_outside, M);
      qsort(bound, n, sizeof *bound, ascending);
      least += bound[0];
    }
    nki_discoveries_free(discoveries);
    print_message(
        "# n %zu, %zu outside: exceeded %.4f of runs, q-values taken for it %.3f; mean of "
        "the least bound %.3f\n",
        n, n_outside, (double)n_exceeded / RUNS, (double)n_naive / RUNS, least / RUNS);
    assert_true((double)n_exceeded <= (DELTA + tolerance(DELTA)) * RUNS);
    assert_true(OUTSIDE[c / 2] > 0.5 || (double)n_naive > 0.2 * RUNS);
    if (n_outside == 0) /* as large as it has to be, but for steps of whole numbers */
      assert_true((double)n_exceeded >= (0.8 * DELTA - tolerance(DELTA)) * RUNS);
    if (OUTSIDE[c / 2] == 0.5) assert_true(least / RUNS < 0.2);
  }
}

/* Scores of few values, such as counts: ties make p-values larger, and nothing promised is lost. */
static void guarantees_hold_for_scores_that_tie(void **state) {
  (void)state;
  enum { M = 200, N = 60, N_OUTSIDE = 20, LEVELS = 3 };
  static const size_t STEPS[LEVELS] = {2, 10, 100};
  static const double DELTA = 0.1, LEVEL = 0.1;
  double scores[M], p[N], bound[N], q[N], grid[M + 1], adjusted[M + 1];
  for (size_t i = 0; i <= M; i++) grid[i] = (double)(i + 1) / (M + 1);
  assert_int_equal(guarantee(M, NK_GUARANTEE_CONDITIONAL, DELTA, grid, M + 1, adjusted), NK_OK);
  struct nki_discoveries *discoveries = nki_discoveries_new(M, N, DELTA);
  assert_non_null(discoveries);
  for (size_t c = 0; c < LEVELS; c++) {
    size_t n_small = 0, n_any = 0, n_exceeded = 0, steps = STEPS[c];
    double fdp = 0;
    for (size_t run = 0; run < RUNS; run++) {
      struct nki_random random = nki_random_stream(400 + c, NKI_RANDOM_TEST, run);
      struct nk_conformal *calibration = calibrate(&random, scores, M, steps);
      bool any = false;
      for (size_t v = 1; v < steps; v++) { /* a score is at least v / steps at the rate 1 - that */
        double value = (double)v / (double)steps;
        double p_of = nki_conformal_p(calibration, value);
        any = any || 1 - value > adjusted[lround(p_of * (M + 1)) - 1] + 1e-9;
      }
      n_any += any;
      for (size_t i = 0; i < N; i++)
        p[i] = nki_conformal_p(calibration, i < N_OUTSIDE ? 1 : drawn(&random, steps));
      nki_conformal_free(calibration);
      n_small += p[N - 1] <= LEVEL;
      assert_int_equal(nki_discoveries_bound(discoveries, p, bound), NK_OK);
      n_exceeded += is_exceeded(p, bound, N, N_OUTSIDE, M);
      assert_int_equal(guarantee(M, NK_GUARANTEE_FDR, 0, p, N, q), NK_OK);
      size_t ordinary = 0, outside = 0;
      for (size_t i = 0; i < N; i++) outside += q[i] <= LEVEL;
      for (size_t i = N_OUTSIDE; i < N; i++) ordinary += q[i] <= LEVEL;
      if (outside > 0) fdp += (double)ordinary / (double)outside;
    }
    print_message("# %zu values: p %.3f, conditional %.3f, FDP %.3f, FDR %.3f\n", steps,
                  (double)n_small / RUNS, (double)n_any / RUNS, (double)n_exceeded / RUNS,
                  fdp / RUNS);
    assert_true((double)n_small <= (LEVEL + tolerance(LEVEL)) * RUNS);
    assert_true((double)n_any <= (DELTA + tolerance(DELTA)) * RUNS);
    assert_true((double)n_exceeded <= (DELTA + tolerance(DELTA)) * RUNS);
    assert_true(fdp / RUNS <= LEVEL + tolerance(LEVEL));
    assert_true(steps < 100 || (n_small > 0 && n_any > 0 && n_exceeded > 0));
  }
  nki_discoveries_free(discoveries);
}

/* Adds the share of ordinary rows among those with value <= level, and how many others are. */
static void judge(const double *value, double level, size_t n, size_t n_outside, double *fdp,
                  double *found) {
  size_t others = 0, ordinary = 0;
  for (size_t i = 0; i < n; i++) {
    others += i < n_outside && value[i] <= level;
    ordinary += i >= n_outside && value[i] <= level;
  }
  if (ordinary > 0) *fdp += (double)ordinary / (double)(ordinary + others);
  *found += (double)others;
}

static void false_discovery_rates_hold(void **state) {
  (void)state;
  enum { M = 1000, N = 200 };
  static const double OUTSIDE[] = {0, 0.1, 0.5}, Q = 0.2;
  static double grid[M + 1], adjusted[M + 1];
  double scores[M], p[N], q[N], given[N];
  for (size_t i = 0; i <= M; i++) grid[i] = (double)(i + 1) / (M + 1);
  assert_int_equal(guarantee(M, NK_GUARANTEE_CONDITIONAL, 0.1, grid, M + 1, adjusted), NK_OK);
  for (size_t c = 0; c < 3; c++) {
    size_t n_outside = (size_t)(OUTSIDE[c] * N);
    double fdp[3] = {0}, found[3] = {0}; /* by q, by the q of conditional p, by p */
    for (size_t run = 0; run < RUNS; run++) {
      struct nki_random random = nki_random_stream(200 + c, NKI_RANDOM_TEST, run);
      struct nk_conformal *calibration = calibrate(&random, scores, M, 0);
      draw(&random, calibration, N, n_outside, p);
      nki_conformal_free(calibration);
      for (size_t i = 0; i < N; i++) given[i] = adjusted[lround(p[i] * (M + 1)) - 1];
      judge(p, Q, N, n_outside, &fdp[2], &found[2]);
      assert_int_equal(guarantee(M, NK_GUARANTEE_FDR, 0, p, N, q), NK_OK);
      judge(q, Q, N, n_outside, &fdp[0], &found[0]);
      assert_int_equal(guarantee(M, NK_GUARANTEE_FDR, 0, given, N, q), NK_OK);
      judge(q, Q, N, n_outside, &fdp[1], &found[1]);
    }
    double runs = RUNS, expected = Q * (1 - OUTSIDE[c]);
    print_message(
        "# %zu of %d outside: FDR %.3f by q, %.3f by conditional p, %.3f by p; found %.1f, "
        "%.1f, %.1f\n",
        n_outside, N, fdp[0] / runs, fdp[1] / runs, fdp[2] / runs, found[0] / runs, found[1] / runs,
        found[2] / runs);
    double wide = tolerance(expected); /* the variance of a share is at most p (1 - p) */
    assert_true(fdp[0] / runs <= expected + wide && fdp[1] / runs <= expected + wide);
    assert_true(OUTSIDE[c] == 0.5 || fdp[2] / runs > Q + 0.1); /* p alone does not control it */
    assert_true(found[0] / runs >= 0.6 * (double)n_outside);
  }
}

/* The whole way: tokens, a seeded split, the fit, new vectors. */
static void regions_keep_their_level_given_the_split(void **state) {
  (void)state;
  enum { N_TOKENS = 400, DIM = 3, N_NEW = 2000, SPLITS = RUNS };
  static const double LEVEL = 0.1, DELTA = 0.1;
  static float x[N_TOKENS * DIM], fresh[N_NEW * DIM];
  static double p[N_NEW], conditional[N_TOKENS / 2 + 1], grid[N_TOKENS / 2 + 1];
  size_t n_plain = 0, n_given = 0, m = N_TOKENS / 2, cut = 0;
  struct nki_random random = nki_random_stream(300, NKI_RANDOM_TEST, 0);
  for (size_t i = 0; i < N_NEW * DIM; i++) fresh[i] = (float)nki_random_normal(&random);
  for (size_t i = 0; i <= m; i++) grid[i] = (double)(i + 1) / (double)(m + 1);
  assert_int_equal(guarantee(m, NK_GUARANTEE_CONDITIONAL, DELTA, grid, m + 1, conditional), NK_OK);
  while (conditional[cut] <= LEVEL) cut++;
  for (size_t split = 0; split < SPLITS; split++) {
    for (size_t i = 0; i < N_TOKENS * DIM; i++) x[i] = (float)nki_random_normal(&random);
    struct nk_vectors *set = nk_vectors_new(N_TOKENS, DIM, x, true);
    assert_non_null(set);
    for (size_t i = 0; i < N_TOKENS; i++) set->ids[i] = (int64_t)i;
    const struct nk_region_options options = {
        .kind = NK_REGION_MAHALANOBIS, .seed = split, .tokens = NK_TOKENS_F32};
    struct nk_region *region = nk_region_fit(set, NULL, 0, &options);
    assert_non_null(region);
    assert_int_equal(nk_region_score(region, fresh, N_NEW, NULL, p), NK_OK);
    size_t plain = 0, given = 0;
    for (size_t i = 0; i < N_NEW; i++) {
      plain += p[i] <= LEVEL;
      given += p[i] <= grid[cut - 1];
    }
    n_plain += (double)plain > LEVEL * N_NEW;
    n_given += (double)given > LEVEL * N_NEW;
    nk_region_free(region);
    nk_vectors_free(set);
  }
  print_message(
      "# %d splits: the rate of %d new vectors exceeds %g in %zu by p, %zu by conditional p\n",
      SPLITS, N_NEW, LEVEL, n_plain, n_given);
  assert_true((double)n_given <= DELTA * SPLITS);
  assert_true((double)n_plain > 0.3 * SPLITS);
}

int main(void) {
  nk_set_threads(1); /* thousands of tiny fits: threads would only wait for each other */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(conditional_p_values_are_the_bounds_by_scipy),
      cmocka_unit_test(conditional_p_values_of_one_or_two_rows_are_in_closed_form),
      cmocka_unit_test(conditional_p_values_grow_with_p_and_exceed_it),
      cmocka_unit_test(bounds_of_false_discoveries_are_those_by_counting),
      cmocka_unit_test(bounds_of_other_p_values_are_those_of_the_next_cut),
      cmocka_unit_test(a_single_new_object_is_surely_outside_where_p_is_at_most_delta),
      cmocka_unit_test(q_values_are_those_of_scipy),
      cmocka_unit_test(what_cannot_be_guaranteed_is_refused),
      cmocka_unit_test(rates_given_the_calibrating_half_exceed_their_level_as_seldom_as_promised),
      cmocka_unit_test(bounds_of_false_discoveries_hold_at_all_cuts),
      cmocka_unit_test(guarantees_hold_for_scores_that_tie),
      cmocka_unit_test(false_discovery_rates_hold),
      cmocka_unit_test(regions_keep_their_level_given_the_split),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
