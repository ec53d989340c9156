/* What conformal p-values are turned into where a guarantee beyond one new object is asked for. */
#include "geometry/guarantees.h"

#include <math.h>
#include <noken/base.h>
#include <noken/region.h>
#include <stdlib.h>

#include "geometry/internal.h"

/* ---- What the bounds of several objects share ---- */

double *nki_log_factorials(size_t n) {
  double *log_factorial = nk_alloc(n + 1, sizeof *log_factorial);
  int sign; /* lgamma writes it to a variable of the process */
  for (size_t i = 0; log_factorial != NULL && i <= n; i++)
    log_factorial[i] = lgamma_r((double)i + 1, &sign);
  return log_factorial;
}

double nki_local_level(double (*exceeded)(void *problem, double level), void *problem, double guess,
                       double delta) {
  static const double CLOSE = 1e-3;
  double low = 0, high = (double)INFINITY, level = guess;
  for (int step = 0; step < 60; step++) {
    double at = exceeded(problem, level);
    if (at <= delta)
      low = level;
    else
      high = level;
    if (low >= fmin(high, delta) * (1 - CLOSE) || fabs(at / delta - (1 - CLOSE / 2)) <= CLOSE / 2)
      break;
    /* Nearly proportional to the level, but for few objects in steps. */
    double next = level * (1 - CLOSE / 2) * delta / fmax(at, delta / 16);
    if (next >= delta && high > delta)
      next = delta;
    else if (!(next > low && next < high) || step % 4 == 3)
      next = low > 0 ? sqrt(low * fmin(high, delta)) : high / 4;
    level = next;
  }
  return low;
}

double nki_guess_level(size_t n, double delta) {
  return delta / (1 + 2 * log((double)n));
}

size_t nki_cut(double p_value, size_t m) {
  double cut = ceil(p_value * (double)(m + 1) - 1e-6);
  return cut > 1 ? (size_t)cut : 1;
}

/* ---- Benjamini and Hochberg ---- */

struct place {
  double p;
  size_t row;
};

static int by_p(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  return (x->p > y->p) - (x->p < y->p);
}

int nki_q_values(const double *p_values, size_t n, double *q_values) {
  struct place *places = nk_alloc(n, sizeof *places);
  size_t known = 0;
  double least = 1;
  if (places == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    q_values[i] = (double)NAN;
    if (!isnan(p_values[i])) places[known++] = (struct place){p_values[i], i};
  }
  qsort(places, known, sizeof *places, by_p);
  for (size_t at = known; at > 0; at--) {
    double q = places[at - 1].p * (double)known / (double)at;
    if (q < least) least = q;
    q_values[places[at - 1].row] = least;
  }
  nk_free(places);
  return NK_OK;
}

/* ---- All of them ---- */

static int conditional(size_t m, double delta, const double *p_values, size_t n, double *out) {
  double *bounds = nki_uniform_bounds(m, delta);
  size_t n_bounds = nki_n_uniform_bounds(m);
  if (bounds == NULL) return NK_EMEMORY;
  for (size_t row = 0; row < n; row++) {
    size_t i = nki_cut(p_values[row], m);
    out[row] = i <= n_bounds ? fmax(bounds[i - 1], p_values[row]) : 1;
  }
  nk_free(bounds);
  return NK_OK;
}

static int discoveries(size_t m, double delta, const double *p_values, size_t n, double *out) {
  struct nki_discoveries *d = nki_discoveries_new(m, n, delta);
  int code = d != NULL ? nki_discoveries_bound(d, p_values, out) : NK_EMEMORY;
  nki_discoveries_free(d);
  return code;
}

int nk_conformal_guarantee(const struct nk_conformal *calibration, enum nk_guarantee guarantee,
                           double delta, const double *p_values, size_t n, double *out) {
  if (calibration == NULL || p_values == NULL || out == NULL)
    return nki_null("the calibration or the p-values");
  if (n == 0) return NK_OK;
  if (guarantee == NK_GUARANTEE_FDR) return nki_q_values(p_values, n, out);
  if (!(delta >= NKI_LEAST_DELTA && delta < 1))
    return nk_fail(NK_EUSAGE, "probability %g of a guarantee to fail: from %g to below 1", delta,
                   NKI_LEAST_DELTA);
  for (size_t row = 0; row < n; row++)
    if (!(p_values[row] > 0 && p_values[row] <= 1))
      return nk_fail(NK_EDATA, "p-value %g of row %zu: above 0 and at most 1", p_values[row], row);
  return guarantee == NK_GUARANTEE_CONDITIONAL
             ? conditional(calibration->n, delta, p_values, n, out)
             : discoveries(calibration->n, delta, p_values, n, out);
}
