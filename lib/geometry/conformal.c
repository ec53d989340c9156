/* Conformal p-values, and what is ordinary for short vectors of features. */
#include "geometry/conformal.h"

#include <cblas.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <noken/base.h>
#include <omp.h>
#include <stdbool.h>
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
  size_t below = nki_count_below(conformal->scores, conformal->n, score);
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
 * An object is judged within a set, the reference and itself, in which all objects are treated
 * alike: its p-value, the share of the set with a score at least as large, is exact whatever the
 * score (full conformal prediction; Vovk, Gammerman and Shafer 2005). An object of the reference is
 * judged within the reference.
 *
 * In each feature t is the share of the set that is at least as far from the median as the object,
 * on either side; in the Mahalanobis distance, the share at least as far from the mean. The score
 * is the mean of 1/t over the first features, plus that over the others, plus 1/t of the
 * Mahalanobis distance: the inverse of a harmonic mean p-value (Wilson 2019), which the least of
 * the shares determines. A feature alone sees what the distance loses among collinear features; the
 * distance sees an unusual combination of features. */

/* Added to the correlation matrix, whose least eigenvalues are those of rounding otherwise. */
static const double RIDGE = 1e-4;

/* Times a number: the least one that ties with it. Equal objects differ by rounding in a distance,
 * which depends on their places among the rows. */
static const double TIE = 1 - 1e-9;

struct nki_typical {
  size_t n, dim, n_first;
  double *features; /* [n, dim] */
  double *scores;   /* [n] within the reference */
};

/* A set of m objects, and room to score it. */
struct set {
  size_t m, dim, n_first;
  double *rows;        /* [m, dim] */
  double *z;           /* [m, dim] standardized */
  double *correlation; /* [dim, dim] */
  double *deviation;   /* [m] */
  double *sorted;      /* [m] */
  double *scores;      /* [m] */
};

static size_t room_of(size_t m, size_t dim) {
  return m * (2 * dim + 3) + dim * dim;
}

/* A set in `room`, of room_of(m, dim) values. */
static struct set set_in(double *room, const struct nki_typical *typical, size_t m) {
  size_t dim = typical->dim, values = m * dim;
  struct set set = {.m = m, .dim = dim, .n_first = typical->n_first, .rows = room};
  set.z = set.rows + values;
  set.correlation = set.z + values;
  set.deviation = set.correlation + dim * dim;
  set.sorted = set.deviation + m;
  set.scores = set.sorted + m;
  return set;
}

/* Adds weight / t of the deviations to the scores. */
static void add_shares(const struct set *set, double weight) {
  memcpy(set->sorted, set->deviation, set->m * sizeof *set->sorted);
  nki_sort_numbers(set->sorted, set->m);
  for (size_t i = 0; i < set->m; i++) {
    size_t below = nki_count_below(set->sorted, set->m, TIE * set->deviation[i]);
    set->scores[i] += weight * (double)set->m / (double)(set->m - below);
  }
}

static void score_feature(const struct set *set, size_t j) {
  size_t m = set->m, dim = set->dim, n_first = set->n_first;
  for (size_t i = 0; i < m; i++) set->sorted[i] = set->rows[i * dim + j];
  nki_sort_numbers(set->sorted, m);
  double median = (set->sorted[(m - 1) / 2] + set->sorted[m / 2]) / 2;
  for (size_t i = 0; i < m; i++) set->deviation[i] = fabs(set->rows[i * dim + j] - median);
  add_shares(set, 1 / (double)(j < n_first ? n_first : dim - n_first));
}

/* z of feature j; 0 where it does not differ beyond rounding. */
static void standardize(const struct set *set, size_t j) {
  size_t m = set->m, dim = set->dim;
  double sum = 0, squares = 0;
  for (size_t i = 0; i < m; i++) sum += set->rows[i * dim + j];
  double mean = sum / (double)m;
  for (size_t i = 0; i < m; i++) {
    double difference = set->rows[i * dim + j] - mean;
    squares += difference * difference;
  }
  double spread = sqrt(squares / (double)m);
  bool differs = spread > 1e-9 * fmax(fabs(mean), 1);
  for (size_t i = 0; i < m; i++)
    set->z[i * dim + j] = differs ? (set->rows[i * dim + j] - mean) / spread : 0;
}

static int score_distance(const struct set *set) {
  int m = (int)set->m, dim = (int)set->dim;
  for (size_t j = 0; j < set->dim; j++) standardize(set, j);
  cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, dim, m, 1 / (double)m, set->z, dim, 0,
              set->correlation, dim);
  for (size_t j = 0; j < set->dim; j++) set->correlation[j * set->dim + j] += RIDGE;
  /* Row-major lower is LAPACK's upper. */
  if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', dim, set->correlation, dim) != 0) return NK_EDATA;
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, m, dim, 1,
              set->correlation, dim, set->z, dim);
  for (size_t i = 0; i < set->m; i++) {
    set->deviation[i] = 0;
    for (size_t j = 0; j < set->dim; j++)
      set->deviation[i] += set->z[i * set->dim + j] * set->z[i * set->dim + j];
  }
  add_shares(set, 1);
  return NK_OK;
}

/* The scores of the set's objects. NK_EDATA where their features are too large to compute with. */
static int score_set(const struct set *set) {
  memset(set->scores, 0, set->m * sizeof *set->scores);
  for (size_t j = 0; j < set->dim; j++) score_feature(set, j);
  return score_distance(set);
}

/* The share of the set with a score at least as large as that of object i. */
static double p_within(const double *scores, size_t m, size_t i) {
  size_t as_large = 0;
  for (size_t k = 0; k < m; k++) as_large += scores[k] >= TIE * scores[i];
  return (double)as_large / (double)m;
}

static int score_reference(struct nki_typical *t) {
  double *room = nk_alloc(room_of(t->n, t->dim), sizeof *room);
  if (room == NULL) return NK_EMEMORY;
  struct set set = set_in(room, t, t->n);
  memcpy(set.rows, t->features, t->n * t->dim * sizeof *set.rows);
  int code = score_set(&set);
  memcpy(t->scores, set.scores, t->n * sizeof *t->scores);
  nk_free(room);
  return code == NK_OK ? NK_OK : nk_fail(code, "the features of the reference are too large");
}

struct nki_typical *nki_typical_new(const double *features, size_t n, size_t dim, size_t n_first) {
  if (n < NKI_TYPICAL_LEAST || n >= INT_MAX || dim == 0 || dim >= INT_MAX) {
    nk_fail(NK_EDATA, "%zu reference objects of %zu features", n, dim);
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
                            .scores = nk_alloc(n, sizeof *t->scores)};
  if (t->features != NULL && t->scores != NULL) {
    memcpy(t->features, features, n * dim * sizeof *features);
    if (score_reference(t) == NK_OK) return t;
  }
  nki_typical_free(t);
  return NULL;
}

void nki_typical_free(struct nki_typical *typical) {
  if (typical == NULL) return;
  nk_free(typical->features);
  nk_free(typical->scores);
  nk_free(typical);
}

int nki_typical_p(const struct nki_typical *t, const double *features, size_t n, double *p_values) {
  size_t m = t->n + 1, room = room_of(m, t->dim), n_failed = 0;
  double *rooms = nk_alloc((size_t)omp_get_max_threads(), room * sizeof *rooms);
  if (rooms == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(dynamic, 8) reduction(+ : n_failed)
  for (size_t k = 0; k < n; k++) {
    struct set set = set_in(rooms + (size_t)omp_get_thread_num() * room, t, m);
    memcpy(set.rows, t->features, t->n * t->dim * sizeof *set.rows);
    memcpy(set.rows + t->n * t->dim, features + k * t->dim, t->dim * sizeof *set.rows);
    n_failed += score_set(&set) != NK_OK;
    p_values[k] = p_within(set.scores, m, t->n);
  }
  nk_free(rooms);
  return n_failed == 0 ? NK_OK : nk_fail(NK_EDATA, "features are too large to compare");
}

double nki_typical_p_of_member(const struct nki_typical *typical, size_t member) {
  return p_within(typical->scores, typical->n, member);
}

double nki_typical_p_min(const struct nki_typical *typical) {
  return 1 / (double)(typical->n + 1);
}
