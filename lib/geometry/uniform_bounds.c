/* Bounds that hold for all order statistics of uniform numbers at once: what conformal p-values
 * lack to be valid given the calibrating objects.
 *
 * Given n calibrating scores, an object drawn as they were has p <= i / (n + 1) with the
 * probability that its score exceeds the i-th largest: U_(i), the i-th smallest of n uniform
 * numbers (less where scores tie), at most b_i. So b_i in place of i / (n + 1) makes p-values that
 * are valid given the calibrating scores, wherever all bounds hold (Bates, Candes, Lei, Romano and
 * Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 2023).
 *
 * Of the sequences of bounds, this one gives each U_(i) the same local level: b_i is the quantile
 * 1 - level of its Beta(i, n + 1 - i) distribution, at the largest level with which no bound is
 * exceeded with a probability of 1 - delta (Gontscharuk, Landwehr and Finner, "Goodness of fit
 * tests in terms of local levels", Bernoulli 2016). The probability is computed, not simulated and
 * not a limit, so that the bounds hold for every n. p-values beyond 1/2 count as 1, as they are no
 * evidence: without bounds for them the level is more than twice as high. Compared with the bounds
 * by Simes' inequality, whose p-values beyond 1/2 are as little evidence, these are larger up to
 * about i = 40, by a third at most for n up to 131,072, and smaller beyond, at p = 0.05 by a fifth
 * for n = 10,000. */
#include "geometry/guarantees.h"

#include <math.h>
#include <noken/base.h>
#include <stdbool.h>
#include <string.h>

#include "base/clones.h"

struct bounds {
  size_t n, m;
  double omitted;        /* a probability too small to be kept */
  double *log_factorial; /* [n + 1] */
  double *bound;         /* [m] */
  double *chain, *next;  /* [n + 2] */
  double *kernel;        /* [n + 2] */
};

/* ---- The quantiles of one order statistic ---- */

/* P(U_(i) > x) = P(Binomial(n, x) <= i - 1), divided by its last term, which goes to *last_log. */
static double upper_tail(const struct bounds *b, size_t i, double x, double *last_log) {
  double odds = (1 - x) / x, term = 1, sum = 1;
  for (size_t j = i - 1; j > 0 && term > 1e-17 * sum; j--) {
    term *= (double)j / (double)(b->n - j + 1) * odds;
    sum += term;
  }
  *last_log = b->log_factorial[b->n] - b->log_factorial[i - 1] - b->log_factorial[b->n - i + 1] +
              (double)(i - 1) * log(x) + (double)(b->n - i + 1) * log1p(-x);
  return sum;
}

/* About the normal distribution's 1 - level quantile: Abramowitz and Stegun (1964), 26.2.22. */
static double normal_quantile(double level) {
  double t = sqrt(-2 * log(level));
  return fmax(0, t - (2.30753 + 0.27061 * t) / (1 + t * (0.99229 + 0.04481 * t)));
}

/* The x that U_(i) exceeds with probability `level`, by Newton's method on the logarithm of that
 * probability. It is concave in x, so that the steps end on one side of the solution. */
static double order_quantile(const struct bounds *b, size_t i, double level) {
  double n = (double)b->n, z = normal_quantile(level), last_log;
  double share = (double)i / (n + 1);
  double x = share + z * sqrt(share * (1 - share) / n) + z * z / (2 * n);
  if (!(x < 1)) x = (1 + share) / 2;
  for (int step = 0; step < 60; step++) {
    double sum = upper_tail(b, i, x, &last_log);
    double slope = (n - (double)i + 1) / ((1 - x) * sum);
    double better = x + (last_log + log(sum) - log(level)) / slope;
    if (!(better < 1)) better = (1 + x) / 2;
    bool done = fabs(better - x) <= 1e-8 * x; /* the next step would be about its square */
    x = better;
    if (done) break;
  }
  return x;
}

/* ---- The probability that one of them is exceeded ----
 *
 * N(x) = how many of the n numbers are at most x; bound i is exceeded where N(b_i) < i. N is a
 * Poisson process of rate n, given that N(1) = n. The chain of the process at b_1 to b_m keeps the
 * probabilities of the paths that have exceeded no bound. Where bound i is the first one exceeded,
 * N(b_(i-1)) = i - 1, and no number is between b_(i-1) and b_i. */

/* Sets the kernel to the probabilities of a Poisson number, at most `most`; returns how many. */
static size_t set_kernel(const struct bounds *b, double mean, size_t most) {
  double p = exp(-mean);
  size_t k = 0;
  for (; k < most && (p > b->omitted || (double)k < mean); k++) {
    b->kernel[k] = p;
    p *= mean / (double)(k + 1);
  }
  return k;
}

/* next [width + n_kernel - 2] = chain [width] convolved with kernel, without its first entry. */
NKI_CLONES
static void convolve(const double *restrict chain, size_t width, const double *restrict kernel,
                     size_t n_kernel, double *restrict next) {
  memset(next, 0, (width + n_kernel) * sizeof *next);
  for (size_t k = 0; k < n_kernel; k++) {
    double weight = kernel[k];
    if (k == 0)
      for (size_t d = 1; d < width; d++) next[d - 1] += weight * chain[d];
    else
      for (size_t d = 0; d < width; d++) next[d + k - 1] += weight * chain[d];
  }
}

/* Stores as chain [*width] what of next [n] is not omitted, up to `most`. */
static void trim(struct bounds *b, size_t n, size_t most, size_t *width) {
  double *swap = b->chain;
  if (n > most) n = most;
  while (n > 0 && b->next[n - 1] < b->omitted) n--;
  *width = n;
  b->chain = b->next;
  b->next = swap;
}

/* The logarithm of P(a Poisson number = k). */
static double log_poisson(const struct bounds *b, double mean, size_t k) {
  return (double)k * log(mean) - mean - b->log_factorial[k];
}

static double chain_exceeded(struct bounds *b) {
  double n = (double)b->n, exceeded = 0, before = 0, log_all = log_poisson(b, n, b->n);
  size_t width = 1;
  b->chain[0] = 1;
  for (size_t i = 1; i <= b->m && width > 0; i++) {
    double bound = b->bound[i - 1], mean = n * (bound - before);
    before = bound;
    if (bound >= 1) break; /* which no number exceeds */
    exceeded += b->chain[0] * exp(log_poisson(b, n * (1 - bound), b->n - i + 1) - mean - log_all);
    size_t n_kernel = set_kernel(b, mean, b->n + 2 - i);
    convolve(b->chain, width, b->kernel, n_kernel, b->next);
    trim(b, width + n_kernel - 2, b->n - i + 1, &width); /* from N = i to n */
  }
  return exceeded;
}

static double exceeded_at(void *problem, double level) {
  struct bounds *b = problem;
#pragma omp parallel for schedule(dynamic, 64)
  for (size_t i = 1; i <= b->m; i++) b->bound[i - 1] = order_quantile(b, i, level);
  return chain_exceeded(b);
}

/* ---- All of them ---- */

static void free_room(struct bounds *b) {
  nk_free(b->log_factorial);
  nk_free(b->chain);
  nk_free(b->next);
  nk_free(b->kernel);
}

static bool make_room(struct bounds *b) {
  size_t width = 2 * b->n + 4; /* of a chain and a kernel together */
  b->log_factorial = nki_log_factorials(b->n);
  b->chain = nk_alloc(width, sizeof *b->chain);
  b->next = nk_alloc(width, sizeof *b->next);
  b->kernel = nk_alloc(b->n + 2, sizeof *b->kernel);
  return b->log_factorial != NULL && b->chain != NULL && b->next != NULL && b->kernel != NULL;
}

size_t nki_n_uniform_bounds(size_t n) {
  return (n + 1) / 2;
}

double *nki_uniform_bounds(size_t n, double delta) {
  struct bounds b = {.n = n, .m = nki_n_uniform_bounds(n), .omitted = 1e-18 * delta};
  b.bound = nk_alloc(b.m, sizeof *b.bound);
  if (b.bound != NULL && make_room(&b)) {
    double level = nki_local_level(exceeded_at, &b, nki_guess_level(b.m, delta), delta);
    for (size_t i = 1; i <= b.m; i++) b.bound[i - 1] = order_quantile(&b, i, level);
  } else {
    nk_free(b.bound);
    b.bound = NULL;
  }
  free_room(&b);
  return b.bound;
}
