/* Conformal p-values, and what is ordinary for short vectors of features. */
#include "geometry/conformal.h"

#include <math.h>
#include <noken/base.h>
#include <string.h>
#include "geometry/internal.h"

/* ---- p-values from scores ---- */

struct nk_conformal *nki_conformal_new(const double *scores, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (isnan(scores[i])) {
      nk_fail(NK_EDATA, "a score to calibrate with is not a number");
      return NULL;
    }
  if (n == 0) {
    nk_fail(NK_EDATA, "no scores to calibrate with");
    return NULL;
  }
  struct nk_conformal *conformal = nk_calloc(1, sizeof *conformal);
  if (conformal == NULL) return NULL;
  conformal->n = n;
  conformal->p_min = 1 / (double)(n + 1);
  if ((conformal->scores = nk_alloc(n, sizeof(double))) == NULL) {
    nk_free(conformal);
    return NULL;
  }
  memcpy(conformal->scores, scores, n * sizeof *scores);
  nki_sort_numbers(conformal->scores, n);
  return conformal;
}

void nki_conformal_free(struct nk_conformal *conformal) {
  if (conformal == NULL) return;
  nk_free(conformal->scores);
  nk_free(conformal);
}

double nki_conformal_p(const struct nk_conformal *conformal, double score) {
  if (isnan(score)) return (double)NAN;
  size_t below = 0, above = conformal->n; /* scores[below - 1] < score <= scores[above] */
  while (below < above) {
    size_t middle = below + (above - below) / 2;
    if (conformal->scores[middle] < score)
      below = middle + 1;
    else
      above = middle;
  }
  return (double)(1 + conformal->n - below) / (double)(conformal->n + 1);
}

/* At or above it at most floor(level (n + 1)) - 1 scores may lie. */
double nki_conformal_threshold(const struct nk_conformal *conformal, double level) {
  double places = floor(level * (double)(conformal->n + 1) * (1 + 1e-12));
  if (!(places >= 1)) return (double)INFINITY;
  if (places > (double)conformal->n) return (double)-INFINITY;
  double below = conformal->scores[conformal->n - (size_t)places];
  return nextafter(below, (double)INFINITY);
}

/* ---- Short vectors of features ----
 *
 * An object is judged within the set of the reference and itself, in which every object is treated
 * alike: the p-value is then exact (full conformal prediction, Vovk et al. 2005), whatever the
 * score. An object of the reference is judged within the reference.
 *
 * Each feature gives an object the share t of the set that is at least as far out on its side, from
 * 1 in the middle down to 1 / n at an end. Beyond the other objects t is divided by 1 + the gap to
 * the next object over the distance of that from the median. The score is the mean of (log t)^2
 * over the features of the first group and that over the second. (log t)^2 grows as the fourth
 * power of a normal deviation: few features far out count more than many a little out. */

struct nki_typical {
  size_t n, dim, n_first;
  double *features; /* [n, dim] */
  double *sorted;   /* [dim, n] */
  size_t *below;    /* [n, dim] twice the objects below, and once each other object as large */
  double *scores;   /* [n] ascending: of the objects within the reference */
  double *own;      /* [n] the same in their order */
};

/* How many of sorted [n] are below value, and how many are not above it. */
static void count_below(const double *sorted, size_t n, double value, size_t *below, size_t *upto) {
  size_t lo = 0, hi = n;
  while (lo < hi) {
    size_t middle = lo + (hi - lo) / 2;
    if (sorted[middle] < value)
      lo = middle + 1;
    else
      hi = middle;
  }
  *below = lo;
  for (hi = n; lo < hi;) {
    size_t middle = lo + (hi - lo) / 2;
    if (sorted[middle] <= value)
      lo = middle + 1;
    else
      hi = middle;
  }
  *upto = lo;
}

/* -log t of an object with `twice` / 2 of the n_others others below it. */
static double depth(size_t twice, size_t n_others) {
  size_t least = twice < 2 * n_others - twice ? twice : 2 * n_others - twice;
  return -log((double)(least + 1) / (double)(n_others + 1));
}

/* What an object beyond all others has more: value, the next object's, the median of all. */
static double beyond(double value, double next, double median) {
  double scale = fabs(next - median), least = 1e-6 * fmax(fabs(value), 1);
  return log1p(fabs(value - next) / fmax(scale, least));
}

/* The set of the reference and one more object, x [dim]; NULL: the reference alone. */
struct company {
  const struct nki_typical *typical;
  const double *x;
};

/* The k-th smallest value of feature j in the set. */
static double kth_value(const struct company *set, size_t j, size_t k) {
  const double *sorted = set->typical->sorted + j * set->typical->n;
  if (set->x == NULL) return sorted[k];
  if (k > 0 && set->x[j] <= sorted[k - 1]) return sorted[k - 1];
  return k < set->typical->n && sorted[k] < set->x[j] ? sorted[k] : set->x[j];
}

/* (log t)^2 of an object with this value of feature j. */
static double deviation(const struct company *set, size_t j, double value, size_t twice) {
  size_t n = set->typical->n + (set->x != NULL);
  double out = depth(twice, n - 1);
  if (twice == 0) out += beyond(value, kth_value(set, j, 1), kth_value(set, j, n / 2));
  if (twice == 2 * (n - 1))
    out += beyond(value, kth_value(set, j, n - 2), kth_value(set, j, n / 2));
  return out * out;
}

/* The weight of feature j in the score. */
static double weight_of(const struct nki_typical *t, size_t j) {
  return 1 / (double)(j < t->n_first ? t->n_first : t->dim - t->n_first);
}

/* The score of object i of the reference within the set. levels [2 n + 1]: (log t)^2 inside. */
static double score_member(const struct company *set, const double *levels, size_t i) {
  const struct nki_typical *t = set->typical;
  size_t most = 2 * (t->n - 1 + (set->x != NULL));
  double score = 0;
  for (size_t j = 0; j < t->dim; j++) {
    double value = t->features[i * t->dim + j];
    size_t twice = t->below[i * t->dim + j];
    if (set->x != NULL) twice += set->x[j] < value ? 2 : set->x[j] == value ? 1 : 0;
    bool end = twice == 0 || twice == most;
    score += weight_of(t, j) * (end ? deviation(set, j, value, twice) : levels[twice]);
  }
  return score;
}

static double score_other(const struct company *set) {
  const struct nki_typical *t = set->typical;
  double score = 0;
  for (size_t j = 0; j < t->dim; j++) {
    size_t below, upto;
    count_below(t->sorted + j * t->n, t->n, set->x[j], &below, &upto);
    score += weight_of(t, j) * deviation(set, j, set->x[j], below + upto);
  }
  return score;
}

/* levels [2 n_others + 1] */
static void fill_levels(size_t n_others, double *levels) {
  for (size_t twice = 0; twice <= 2 * n_others; twice++) {
    double out = depth(twice, n_others);
    levels[twice] = out * out;
  }
}

/* The ranks of the reference's objects and their scores within the reference. */
static int rank_reference(struct nki_typical *t) {
  double *levels = nk_alloc(2 * t->n + 1, sizeof *levels);
  if (levels == NULL) return NK_EMEMORY;
  for (size_t j = 0; j < t->dim; j++) {
    double *sorted = t->sorted + j * t->n;
    for (size_t i = 0; i < t->n; i++) sorted[i] = t->features[i * t->dim + j];
    nki_sort_numbers(sorted, t->n);
    for (size_t i = 0; i < t->n; i++) {
      size_t below, upto;
      count_below(sorted, t->n, t->features[i * t->dim + j], &below, &upto);
      t->below[i * t->dim + j] = below + upto - 1;
    }
  }
  const struct company set = {t, NULL};
  fill_levels(t->n - 1, levels);
  for (size_t i = 0; i < t->n; i++) t->own[i] = score_member(&set, levels, i);
  memcpy(t->scores, t->own, t->n * sizeof *t->own);
  nki_sort_numbers(t->scores, t->n);
  nk_free(levels);
  return NK_OK;
}

struct nki_typical *nki_typical_new(const double *features, size_t n, size_t dim, size_t n_first) {
  if (n < 4 || dim == 0) {
    nk_fail(NK_EDATA, "%zu reference objects are too few", n);
    return NULL;
  }
  for (size_t i = 0; i < n * dim; i++)
    if (!isfinite(features[i])) {
      nk_fail(NK_EDATA, "feature %zu of reference object %zu is not a finite number", i % dim,
              i / dim);
      return NULL;
    }
  struct nki_typical *t = nk_calloc(1, sizeof *t);
  if (t == NULL) return NULL;
  *t = (struct nki_typical){.n = n,
                            .dim = dim,
                            .n_first = n_first,
                            .features = nk_alloc(n, dim * sizeof *t->features),
                            .sorted = nk_alloc(n, dim * sizeof *t->sorted),
                            .below = nk_alloc(n, dim * sizeof *t->below),
                            .scores = nk_alloc(n, sizeof *t->scores),
                            .own = nk_alloc(n, sizeof *t->own)};
  if (t->features == NULL || t->sorted == NULL || t->below == NULL || t->scores == NULL ||
      t->own == NULL)
    goto failed;
  memcpy(t->features, features, n * dim * sizeof *features);
  if (rank_reference(t) == NK_OK) return t;

failed:
  nki_typical_free(t);
  return NULL;
}

void nki_typical_free(struct nki_typical *typical) {
  if (typical == NULL) return;
  nk_free(typical->features);
  nk_free(typical->sorted);
  nk_free(typical->below);
  nk_free(typical->scores);
  nk_free(typical->own);
  nk_free(typical);
}

double nki_typical_p_of_member(const struct nki_typical *t, size_t member) {
  size_t below, upto;
  count_below(t->scores, t->n, t->own[member], &below, &upto);
  return (double)(t->n - below) / (double)t->n;
}

int nki_typical_p(const struct nki_typical *t, const double *features, size_t n, double *p_values) {
  double *levels = nk_alloc(2 * t->n + 1, sizeof *levels);
  if (levels == NULL) return NK_EMEMORY;
  fill_levels(t->n, levels);
#pragma omp parallel for schedule(dynamic, 8)
  for (size_t k = 0; k < n; k++) {
    const struct company set = {t, features + k * t->dim};
    double score = score_other(&set);
    size_t as_far = 1;
    for (size_t i = 0; i < t->n; i++) as_far += score_member(&set, levels, i) >= score;
    p_values[k] = (double)as_far / (double)(t->n + 1);
  }
  nk_free(levels);
  return NK_OK;
}

double nki_typical_p_min(const struct nki_typical *typical) {
  return 1 / (double)(typical->n + 1);
}
