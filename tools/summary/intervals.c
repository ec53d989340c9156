/* Confidence intervals in closed form. Both distributions that are needed, Student's t and the
 * binomial, are incomplete beta functions. */
#include "summary/intervals.h"

#include <math.h>
#include <noken/base.h>

/* ---- Distributions ---- */

double summary_normal(double z) {
  return 0.5 * erfc(-z / sqrt(2));
}

/* The continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by the modified
 * method of Lentz (Thompson and Barnett 1986). It converges fast for x < (a + 1) / (a + b + 2), in
 * about sqrt(max(a, b)) steps. */
static double beta_fraction(double a, double b, double x) {
  static const double tiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (fabs(d) < tiny ? tiny : d);
  double fraction = d;
  for (int m = 1; m < 100000; m++) {
    for (int odd = 0; odd < 2; odd++) {
      double term = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                        : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (fabs(d) < tiny ? tiny : d);
      if (fabs(c) < tiny) c = tiny;
      fraction *= c * d;
    }
    if (fabs(c * d - 1) < 1e-15) break;
  }
  return fraction;
}

/* The logarithm of the gamma function. lgamma writes the sign of the result to a variable of the
 * process. */
static double log_gamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}

/* The regularized incomplete beta function I_x(a, b), a and b > 0. */
static double incomplete_beta(double a, double b, double x) {
  if (!(x > 0)) return 0;
  if (!(x < 1)) return 1;
  double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double summary_binomial(double k, double n, double p) {
  if (k < 0) return 0;
  if (k >= n) return 1;
  return incomplete_beta(n - k, k + 1, 1 - p);
}

/* P(T <= t) */
static double t_distribution(double t, double df) {
  if (isinf(df)) return summary_normal(t);
  double tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2;
  return t > 0 ? 1 - tail : tail;
}

double summary_t_quantile(double p, double df) {
  if (!(df > 0) || !(p > 0 && p < 1)) return NAN;
  if (p > 0.5) return -summary_t_quantile(1 - p, df); /* tails are exact near 0 only */
  double low = -1, high = 0;
  while (t_distribution(low, df) > p && low > -1e300) low *= 2;
  for (int step = 0; step < 200 && low < high; step++) {
    double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    if (t_distribution(middle, df) < p)
      low = middle;
    else
      high = middle;
  }
  return low + (high - low) / 2;
}

/* ---- Shares and means ---- */

struct summary_interval summary_share(double share, double n, double critical) {
  struct summary_interval out = {share, NAN, NAN};
  double square = critical * critical;
  double centre = (share + square / (2 * n)) / (1 + square / n);
  double half = critical / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n));
  if (!(n > 0) || isnan(critical)) return out;
  out.low = share <= 0 ? 0 : fmax(0, centre - half);
  out.high = share >= 1 ? 1 : fmin(1, centre + half);
  return out;
}

struct summary_interval summary_share_of(size_t k, size_t n, double level) {
  return summary_share((double)k / (double)n, (double)n,
                       summary_t_quantile((1 + level) / 2, INFINITY));
}

struct summary_interval summary_stratified_share(const size_t *successes, size_t n_strata,
                                                 size_t n_each, double level) {
  double each = (double)n_each, strata = (double)n_strata, sum = 0, variance = 0;
  for (size_t s = 0; s < n_strata; s++) {
    double part =
        ((double)successes[s] + 0.5) / (each + 1); /* of none or all the variance is not 0 */
    sum += (double)successes[s];
    if (n_each > 1) variance += part * (1 - part) / (each - 1) / (strata * strata);
  }
  double n = each * strata, share = sum / n;
  double effective = variance > 0 ? share * (1 - share) / variance : n;
  return summary_share(share, fmax(n, effective), summary_t_quantile((1 + level) / 2, INFINITY));
}

struct summary_interval summary_clustered_share(const double *share, size_t n, double level) {
  double mean = 0, squares = 0, count = (double)n, effective = count;
  bool same = true;
  for (size_t i = 0; i < n; i++) {
    mean += share[i];
    same = same && share[i] == share[0];
  }
  mean = same && n > 0 ? share[0] : mean / count;
  for (size_t i = 0; i < n; i++) squares += (share[i] - mean) * (share[i] - mean);
  if (mean > 1 - 1e-12) mean = 1; /* to rounding */
  if (!same && mean < 1) effective = mean * (1 - mean) / (squares / (count - 1) / count);
  return summary_share(mean, effective, summary_t_quantile((1 + level) / 2, count - 1));
}

struct summary_interval summary_paired_share(const double *change, size_t n, double level) {
  double sum = 0, squares = 1, count = (double)n; /* and 2 pairs more */
  for (size_t i = 0; i < n; i++) {
    sum += change[i];
    squares += change[i] * change[i];
  }
  double mean = sum / (count + 2), variance = squares / (count + 2) - mean * mean;
  double half = summary_t_quantile((1 + level) / 2, count - 1) * sqrt(variance / (count + 2));
  struct summary_interval out = {n > 0 ? sum / count : NAN, mean - half, mean + half};
  if (out.low < -1) out.low = -1;
  if (out.high > 1) out.high = 1;
  return out;
}

struct summary_interval summary_kappa(size_t table[2][2], double level) {
  double n = 0, p[2][2], first[2], second[2], observed, chance = 0, squares = 0;
  for (int i = 0; i < 2; i++) n += (double)(table[i][0] + table[i][1]);
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) p[i][j] = (double)table[i][j] / n;
  for (int i = 0; i < 2; i++) {
    first[i] = p[i][0] + p[i][1];
    second[i] = p[0][i] + p[1][i];
    chance += first[i] * second[i];
  }
  observed = p[0][0] + p[1][1];
  for (int i = 0; i < 2; i++)
    if (first[i] == 0 || second[i] == 0) return (struct summary_interval){NAN, NAN, NAN};
  double kappa = (observed - chance) / (1 - chance), off = 1 - kappa;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) {
      double weight = i == j ? 1 - (first[i] + second[i]) * off : (second[i] + first[j]) * off;
      squares += p[i][j] * weight * weight;
    }
  double rest = kappa - chance * off;
  double half = summary_t_quantile((1 + level) / 2, INFINITY) *
                sqrt(fmax(0, squares - rest * rest) / n) / (1 - chance);
  return (struct summary_interval){kappa, kappa - half, kappa + half};
}

struct summary_interval summary_mean(const double *x, size_t n, double level) {
  double mean = 0, squares = 0, count = (double)n;
  for (size_t i = 0; i < n; i++) mean += x[i];
  mean = n > 0 ? mean / count : NAN;
  for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
  struct summary_interval out = {mean, NAN, NAN};
  if (n < 2 || !isfinite(squares)) return out;
  double half =
      summary_t_quantile((1 + level) / 2, count - 1) * sqrt(squares / (count - 1) / count);
  out.low = mean - half;
  out.high = mean + half;
  return out;
}

/* ---- Quantiles ---- */

double summary_quantile_value(const double *sorted, size_t n, double p) {
  if (n == 0) return NAN;
  double place = p * (double)(n - 1);
  size_t below = (size_t)place;
  if (below + 1 >= n) return sorted[n - 1];
  double part = place - (double)below;
  return part == 0 ? sorted[below] : (1 - part) * sorted[below] + part * sorted[below + 1];
}

/* The place, from 1 to n, that the quantile p exceeds with probability 1 - tail: whole numbers are
 * order statistics, others lie between two of them. NaN where even the first is too large. */
static double lower_place(double n, double p, double tail) {
  double low = 1, high = n; /* P(X < low) <= tail < P(X < high), X binomial */
  if (summary_binomial(0, n, p) > tail) return NAN;
  while (high - low > 1) {
    double middle = floor((low + high) / 2);
    if (summary_binomial(middle - 1, n, p) <= tail)
      low = middle;
    else
      high = middle;
  }
  double below = summary_binomial(low - 1, n, p), above = summary_binomial(low, n, p);
  if (low >= n || !(above > tail)) return fmin(low, n);
  if (below >= tail) return low;
  return low + 1 / (1 + low * (1 - p) * (above - tail) / ((n - low) * p * (tail - below)));
}

/* The value at a place from 1 to n. */
static double value_at(const double *sorted, size_t n, double place) {
  if (isnan(place)) return NAN;
  size_t below = (size_t)place;
  double part = place - (double)below;
  if (below >= n) return sorted[n - 1];
  if (part == 0 || sorted[below - 1] == sorted[below]) return sorted[below - 1];
  return (1 - part) * sorted[below - 1] + part * sorted[below];
}

struct summary_interval summary_quantile(const double *sorted, size_t n, double p, double level) {
  struct summary_interval out = {summary_quantile_value(sorted, n, p), NAN, NAN};
  double tail = (1 - level) / 2, count = (double)n;
  if (n == 0 || !(p > 0 && p < 1)) return out;
  out.low = value_at(sorted, n, lower_place(count, p, tail));
  out.high = value_at(sorted, n, count + 1 - lower_place(count, 1 - p, tail));
  return out;
}

/* Where each cluster is one value repeated, the k-th of n_clusters has the places (k - 1) size + 1
 * to k size: the outer one is taken. */
struct summary_interval summary_clustered_quantile(const double *sorted, size_t n,
                                                   size_t n_clusters, double p, double level) {
  struct summary_interval out = {summary_quantile_value(sorted, n, p), NAN, NAN};
  double tail = (1 - level) / 2, count = (double)n_clusters, size = (double)n / count;
  if (n == 0 || !(p > 0 && p < 1)) return out;
  double low = floor(lower_place(count, p, tail));
  double high = count + 1 - floor(lower_place(count, 1 - p, tail));
  out.low = value_at(sorted, n, (low - 1) * size + 1);
  out.high = value_at(sorted, n, high * size);
  return out;
}

/* ---- Two groups ---- */

/* Sums over the rows of one group, of the share of the other group that is below each. */
struct placements {
  double n, sum, squares;
};

static double variance_of_mean(const struct placements *of) {
  if (of->n < 2) return 0;
  double mean = of->sum / of->n;
  return fmax(0, of->squares / of->n - mean * mean) / (of->n - 1);
}

double summary_degrees(double a, double n_a, double b, double n_b) {
  return (a + b) * (a + b) / (a * a / (n_a - 1) + b * b / (n_b - 1));
}

struct summary_interval summary_auc(const double *sorted, const uint8_t *second, size_t n,
                                    double level) {
  struct placements of[2] = {{0}, {0}};
  double below[2] = {0, 0};
  for (size_t i = 0; i < n; i++) of[second[i] != 0].n++;
  struct summary_interval none = {NAN, NAN, NAN};
  if (of[0].n == 0 || of[1].n == 0) return none;
  for (size_t i = 0, end; i < n; i = end) {
    double tied[2] = {0, 0};
    for (end = i; end < n && sorted[end] == sorted[i]; end++) tied[second[end] != 0]++;
    for (int g = 0; g < 2; g++) { /* rows that are tied have the same share below them */
      double share = (below[1 - g] + tied[1 - g] / 2) / of[1 - g].n;
      of[g].sum += tied[g] * share;
      of[g].squares += tied[g] * share * share;
    }
    for (int g = 0; g < 2; g++) below[g] += tied[g];
  }
  double auc = of[0].sum / of[0].n, fewer = fmin(of[0].n, of[1].n);
  double parts[2] = {variance_of_mean(&of[0]), variance_of_mean(&of[1])};
  double variance = parts[0] + parts[1], effective = fewer, df = fewer - 1;
  if (variance > 0 && fewer > 1) {
    effective = auc * (1 - auc) / variance;
    df = summary_degrees(parts[0], of[0].n, parts[1], of[1].n);
  }
  return summary_share(auc, effective, summary_t_quantile((1 + level) / 2, df));
}

struct summary_interval summary_difference(const struct summary_interval *first,
                                           const struct summary_interval *second) {
  double value = first->value - second->value;
  return (struct summary_interval){
      .value = value,
      .low = value - hypot(first->value - first->low, second->high - second->value),
      .high = value + hypot(first->high - first->value, second->value - second->low),
  };
}
