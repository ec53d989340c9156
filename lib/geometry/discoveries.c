/* How many ordinary objects are among the new ones with the least p-values: bounds that hold at
 * all cuts at once.
 *
 * With m calibrating objects and k ordinary new ones, all orders of the m + k scores are equally
 * likely, whatever their distribution: this is the joint law of the p-values (Gazin, Blanchard and
 * Roquain, "Transductive conformal inference with adaptive scores", AISTATS 2024). W_i, the number
 * of new ones that lie beyond the i-th largest calibrating score, has a negative hypergeometric
 * distribution. Its bound c_i(k) is the least that W_i exceeds with a probability of at most the
 * local level, which is the largest with which all W_i <= c_i(k) hold with a probability of 1 -
 * delta (computed: the orders are paths on a lattice). Cuts beyond p = 1/2 are bounded by the
 * others.
 *
 * How many of the n new objects are ordinary, k, is not known; at most n are. At a cut that calls
 * R objects outside, at most c_i(n) of them are ordinary; so at most n - R + c_i(n) of all are,
 * which can be less than n, and then bounds for fewer apply. Bounds for a fixed series of k, from
 * n down, none above those for a larger k, make this valid: where those of the least k of the
 * series that is not below the true one hold, all larger ones do, and the steps end at it or
 * before. */
#include "geometry/guarantees.h"

#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "geometry/internal.h"

/* The bounds for k ordinary objects. */
struct level {
  size_t k;
  double local;  /* level of each bound */
  size_t *bound; /* [cuts] */
};

struct nki_discoveries {
  size_t m, n, cuts; /* cuts: those with a bound of their own, p <= i / (m + 1) for i = 1 to cuts */
  double delta;
  double *log_factorial; /* [m + n + 1] */
  double *chain;         /* [n + 1] */
  struct level *levels;  /* [room] descending k, the first n_levels computed */
  size_t n_levels, room;
};

/* What is computed: the bounds of one level, none above those of the level before. */
struct problem {
  const struct nki_discoveries *d;
  size_t k;
  size_t *bound;         /* [cuts] */
  const size_t *ceiling; /* [cuts], or NULL */
};

/* ---- The bounds of each W_i ---- */

/* The logarithm of the number of orders of a objects of one kind and b of another. */
static double log_orders(const struct nki_discoveries *d, size_t a, size_t b) {
  return d->log_factorial[a + b] - d->log_factorial[a] - d->log_factorial[b];
}

/* P(W_i = w) */
static double probability(const struct problem *p, size_t i, size_t w) {
  size_t m = p->d->m;
  return exp(log_orders(p->d, i - 1, w) + log_orders(p->d, m - i, p->k - w) -
             log_orders(p->d, m, p->k));
}

/* P(W_i > w) */
static double tail(const struct problem *p, size_t i, size_t w) {
  size_t m = p->d->m, k = p->k;
  if (w >= k) return 0;
  double term = probability(p, i, w + 1), sum = term;
  double mean = (double)k * (double)i / (double)(m + 1);
  for (size_t j = w + 1; j < k && (term > 1e-17 * sum || (double)j < mean); j++) {
    term *= (double)(i + j) / (double)(j + 1) * ((double)(k - j) / (double)(m - i + k - j));
    sum += term;
  }
  return sum;
}

/* The bounds of a local level, none above the ceiling. */
static void set_bounds(const struct problem *p, double level) {
  size_t c = 0;
  for (size_t i = 1; i <= p->d->cuts; i++) {
    size_t most = p->ceiling != NULL && p->ceiling[i - 1] < p->k ? p->ceiling[i - 1] : p->k;
    double beyond = c < most ? tail(p, i, c) : 0;
    while (c < most && beyond > level) beyond -= probability(p, i, ++c);
    p->bound[i - 1] = c < most ? c : most;
  }
}

/* ---- The probability that one of them is exceeded ----
 *
 * The order of all objects is a walk that calls each of them new with probability k / (m + k),
 * given that it ends with k new ones. The chain holds the probabilities that the walk has w new
 * ones at the i-th calibrating one and has exceeded no bound. It exceeds bound i first where it
 * gets from the calibrating one before to c_i + 1 new ones without meeting another. */

/* chain [from, to] at one calibrating object from that at the one before, [from, before]. */
static void step(double *chain, size_t from, size_t before, size_t to, double new_share) {
  double value = 0;
  for (size_t w = from; w <= to; w++) {
    value = new_share * value + (1 - new_share) * (w <= before ? chain[w] : 0);
    chain[w] = value;
  }
}

/* The logarithm of P(a walk of a new ones and b calibrating ones in any order). */
static double log_walk(const struct nki_discoveries *d, size_t a, size_t b, double new_share) {
  return log_orders(d, a, b) + (double)a * log(new_share) + (double)b * log1p(-new_share);
}

static double exceeded_at(void *problem, double level) {
  const struct problem *p = problem;
  size_t m = p->d->m, k = p->k, from = 0, before = 0;
  double *chain = p->d->chain, share = (double)k / (double)(m + k), exceeded = 0;
  double log_all = log_walk(p->d, k, m, share);
  set_bounds(p, level);
  chain[0] = 1;
  for (size_t i = 1; i <= p->d->cuts; i++) {
    size_t c = p->bound[i - 1];
    step(chain, from, before, c, share);
    if (c < k)
      exceeded += chain[c] * share / (1 - share) *
                  exp(log_walk(p->d, k - c - 1, m - i + 1, share) - log_all);
    while (from < c && chain[from] < 1e-18 * p->d->delta) from++;
    before = c;
  }
  return exceeded;
}

/* ---- The bounds for n, and for fewer ---- */

/* The series of k: a tenth fewer each time, so that bounds are for at most a tenth too many. */
static size_t next_fewer(size_t k) {
  return k < 20 ? k - 1 : k - k / 10;
}

struct nki_discoveries *nki_discoveries_new(size_t m, size_t n, double delta) {
  struct nki_discoveries *d = nk_calloc(1, sizeof *d);
  size_t size;
  if (d == NULL) return NULL;
  *d = (struct nki_discoveries){.m = m, .n = n, .cuts = (m + 1) / 2, .delta = delta};
  for (size_t k = n; k > 0; k = next_fewer(k)) d->room++;
  if (nk_size_add(m, n, &size)) d->log_factorial = nki_log_factorials(size);
  d->chain = nk_alloc(n + 1, sizeof *d->chain);
  d->levels = nk_alloc(d->room, sizeof *d->levels);
  if (d->log_factorial != NULL && d->chain != NULL && d->levels != NULL) return d;
  nki_discoveries_free(d);
  return NULL;
}

void nki_discoveries_free(struct nki_discoveries *discoveries) {
  if (discoveries == NULL) return;
  for (size_t l = 0; l < discoveries->n_levels; l++) nk_free(discoveries->levels[l].bound);
  nk_free(discoveries->levels);
  nk_free(discoveries->log_factorial);
  nk_free(discoveries->chain);
  nk_free(discoveries);
}

/* Computes the bounds of the next level. */
static int add_level(struct nki_discoveries *d) {
  struct level *last = d->n_levels > 0 ? &d->levels[d->n_levels - 1] : NULL;
  struct problem p = {.d = d,
                      .k = last != NULL ? next_fewer(last->k) : d->n,
                      .bound = nk_alloc(d->cuts, sizeof *p.bound),
                      .ceiling = last != NULL ? last->bound : NULL};
  if (p.bound == NULL) return NK_EMEMORY;
  double guess = last != NULL && last->local > 0 ? last->local : nki_guess_level(d->cuts, d->delta);
  double local = nki_local_level(exceeded_at, &p, guess, d->delta);
  set_bounds(&p, local);
  d->levels[d->n_levels++] = (struct level){p.k, local, p.bound};
  return NK_OK;
}

/* counts [m + 2]: how many p-values are at most i / (m + 1), of each the cut that nki_cut gives. */
static void count_cuts(const double *p_values, size_t n, size_t m, size_t *counts) {
  memset(counts, 0, (m + 2) * sizeof *counts);
  for (size_t row = 0; row < n; row++) counts[nki_cut(p_values[row], m)]++;
  for (size_t i = 1; i <= m + 1; i++) counts[i] += counts[i - 1];
}

/* *most = how many of the rows can be ordinary, *level = the bounds that follow. */
static int narrow(struct nki_discoveries *d, const size_t *counts, size_t *most, size_t *level) {
  *most = d->n;
  for (size_t l = 0; l < d->room; l++) {
    if (l == d->n_levels && add_level(d) != NK_OK) return NK_EMEMORY;
    if (nk_progress("bounds of false discoveries", l, d->room) != NK_OK) return NK_EINTERRUPTED;
    if (d->levels[l].k < *most) break;
    *level = l;
    for (size_t i = 1; i <= d->cuts; i++) {
      size_t ordinary = d->levels[l].bound[i - 1], outside = counts[i];
      if (outside > ordinary && d->n - (outside - ordinary) < *most)
        *most = d->n - (outside - ordinary);
    }
  }
  return nk_progress("bounds of false discoveries", d->room, d->room);
}

int nki_discoveries_bound(struct nki_discoveries *d, const double *p_values, double *bounds) {
  size_t m = d->m, most, level = 0, ordinary = 0;
  size_t *counts = nk_alloc(m + 2, sizeof *counts);
  double *share = nk_calloc(m + 2, sizeof *share);
  int code = counts != NULL && share != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    count_cuts(p_values, d->n, m, counts);
    code = narrow(d, counts, &most, &level);
  }
  for (size_t i = 1; i <= m + 1 && code == NK_OK; i++) {
    ordinary += counts[i] - counts[i - 1];
    if (ordinary > most) ordinary = most;
    if (i <= d->cuts && ordinary > d->levels[level].bound[i - 1])
      ordinary = d->levels[level].bound[i - 1];
    if (counts[i] > 0) share[i] = (double)ordinary / (double)counts[i];
  }
  for (size_t row = 0; row < d->n && code == NK_OK; row++)
    bounds[row] = share[nki_cut(p_values[row], m)];
  nk_free(counts);
  nk_free(share);
  return code;
}
