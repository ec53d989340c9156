/* Nokens that share the length, Mahalanobis and k-NN distance of given tokens. Each begins as a
 * random draw and is moved onto the three surfaces by Newton's method, taking the shortest step
 * that meets their tangents: d numbers against three equations leave it free in all other
 * directions. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <string.h>

#include <noken/sample.h>
#include <noken/vectors.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "io/vectors.h"
#include "sample/internal.h"

/* A noken that has not arrived after PATIENCE rounds (its k-th neighbour may alternate) begins
 * again at another draw. */
enum { PATIENCE = 40, ROUNDS = 20 * PATIENCE, EQUATIONS = 3 };

static const double CLOSE = 2e-6; /* relative, of each of the three, when a noken is done */

struct target {
  double norm, mahalanobis, knn;
};

struct matching {
  struct nki_space space;
  size_t n;              /* nokens */
  struct target *target; /* [n] */
  double *x;             /* [n, dim] */
  double *gradient;      /* [n, dim] of the Mahalanobis distance's square, halved */
  size_t *left;          /* [n_left] nokens that are not there yet */
  size_t n_left;
  float *rounded; /* [n_left, dim] their x as it will be stored */
};

/* Solves the symmetric a [3, 3] y = b by Cramer's rule; false when a has no inverse. */
static bool solve(double a[EQUATIONS][EQUATIONS], const double b[EQUATIONS], double y[EQUATIONS]) {
  double c00 = a[1][1] * a[2][2] - a[1][2] * a[2][1];
  double c01 = a[1][2] * a[2][0] - a[1][0] * a[2][2];
  double c02 = a[1][0] * a[2][1] - a[1][1] * a[2][0];
  double determinant = a[0][0] * c00 + a[0][1] * c01 + a[0][2] * c02;
  if (!(fabs(determinant) > 1e-12 * a[0][0] * a[1][1] * a[2][2])) return false;
  double c11 = a[0][0] * a[2][2] - a[0][2] * a[2][0];
  double c12 = a[0][1] * a[2][0] - a[0][0] * a[2][1];
  double c22 = a[0][0] * a[1][1] - a[0][1] * a[1][0];
  y[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / determinant;
  y[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / determinant;
  y[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / determinant;
  return true;
}

/* One step of the i-th noken; kth is the row of its k-th nearest token, at distance knn. The
 * equations are halves of squares, so that their gradients are x, the precision times (x - mean)
 * and x - token. Where two gradients are parallel the step follows the one that is most wrong. */
static void step(struct matching *m, size_t i, int64_t kth) {
  size_t dim = m->space.dim;
  double *x = m->x + i * dim, *gradient = m->gradient + i * dim;
  const float *token = m->space.tokens + (size_t)kth * dim;
  const struct target *target = &m->target[i];
  double a[EQUATIONS][EQUATIONS] = {{0}}, away = 0, square = 0, mahalanobis = 0;
  for (size_t j = 0; j < dim; j++) {
    const double g[EQUATIONS] = {x[j], gradient[j], x[j] - (double)token[j]};
    for (int p = 0; p < EQUATIONS; p++)
      for (int q = 0; q < EQUATIONS; q++) a[p][q] += g[p] * g[q];
    square += x[j] * x[j];
    mahalanobis += gradient[j] * (x[j] - m->space.mean[j]);
    away += g[2] * g[2];
  }
  double b[EQUATIONS] = {(target->norm * target->norm - square) / 2,
                         (target->mahalanobis * target->mahalanobis - mahalanobis) / 2,
                         (target->knn * target->knn - away) / 2};
  double y[EQUATIONS] = {0};
  if (!solve(a, b, y)) {
    int worst = 0;
    for (int p = 1; p < EQUATIONS; p++)
      if (fabs(b[p]) * sqrt(a[worst][worst]) > fabs(b[worst]) * sqrt(a[p][p])) worst = p;
    y[worst] = a[worst][worst] > 0 ? b[worst] / a[worst][worst] : 0;
  }
  /* A step longer than half of x would leave the range in which the tangents are valid. */
  double length = 0;
  for (int p = 0; p < EQUATIONS; p++)
    for (int q = 0; q < EQUATIONS; q++) length += y[p] * a[p][q] * y[q];
  length = sqrt(fmax(length, 0));
  double most = 0.5 * fmax(target->norm, sqrt(square));
  double scale = length > most ? most / length : 1;
  for (size_t j = 0; j < dim; j++) {
    double away_j = x[j] - (double)token[j];
    x[j] += scale * (y[0] * x[j] + y[1] * gradient[j] + y[2] * away_j);
  }
}

/* Draws the i-th noken from the region's normal distribution, at its target's Mahalanobis distance.
 */
static void draw(struct matching *m, size_t i, uint64_t seed, int attempt) {
  size_t dim = m->space.dim;
  double *x = m->x + i * dim;
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_MATCH, i);
  random.position = (uint64_t)attempt << 40; /* far beyond what one draw takes */
  nki_random_normals(&random, dim, x);
  double scale = m->target[i].mahalanobis / sqrt(nki_product(x, x, dim));
  nki_gaussian_colour(m->space.gaussian, x, 1);
  for (size_t j = 0; j < dim; j++) x[j] = m->space.mean[j] + scale * x[j];
}

static void draw_left(struct matching *m, uint64_t seed, int attempt) {
#pragma omp parallel for schedule(dynamic)
  for (size_t l = 0; l < m->n_left; l++) draw(m, m->left[l], seed, attempt);
}

static bool is_close(double value, double target) {
  return fabs(value - target) <= CLOSE * target;
}

/* One round for the nokens that are left, of which those that have arrived are taken off the list.
 */
static int round_of_steps(struct matching *m) {
  size_t dim = m->space.dim, still = 0;
  const struct nk_knn_options options = {.k = m->space.k, .metric = NK_METRIC_L2};
  for (size_t l = 0; l < m->n_left; l++)
    for (size_t j = 0; j < dim; j++) m->rounded[l * dim + j] = (float)m->x[m->left[l] * dim + j];
  struct nk_knn *knn =
      nk_knn_search(m->space.tokens, m->space.n_fit, dim, m->rounded, m->n_left, &options);
  double *mahalanobis = nk_alloc(m->n_left, sizeof *mahalanobis);
  bool *arrived = nk_calloc(m->n_left, sizeof *arrived);
  int code = knn != NULL && mahalanobis != NULL && arrived != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK) code = nki_mahalanobis(&m->space, m->rounded, m->n_left, mahalanobis);
  size_t n = code == NK_OK ? m->n_left : 0;
#pragma omp parallel for schedule(dynamic)
  for (size_t l = 0; l < n; l++) {
    size_t i = m->left[l], last = (l + 1) * knn->k - 1;
    double *gradient = m->gradient + i * dim, square = 0;
    for (size_t j = 0; j < dim; j++) {
      double stored = (double)m->rounded[l * dim + j];
      square += stored * stored;
      gradient[j] = m->x[i * dim + j] - m->space.mean[j];
    }
    arrived[l] = is_close(sqrt(square), m->target[i].norm) &&
                 is_close(mahalanobis[l], m->target[i].mahalanobis) &&
                 is_close(knn->distances[last], m->target[i].knn);
    if (arrived[l]) continue;
    nki_gaussian_precision(m->space.gaussian, gradient, 1);
    step(m, i, knn->rows[last]);
  }
  for (size_t l = 0; l < n; l++)
    if (!arrived[l]) m->left[still++] = m->left[l];
  if (code == NK_OK) m->n_left = still;
  nk_free(arrived);
  nk_free(mahalanobis);
  nk_knn_free(knn);
  return code;
}

/* The three numbers of each row of set, n times over. */
static int measure(const struct matching *m, const struct nk_vectors *set, size_t n) {
  const struct nk_knn_options options = {.k = m->space.k, .metric = NK_METRIC_L2};
  struct nk_knn *knn =
      nk_knn_search(m->space.tokens, m->space.n_fit, set->dim, set->values, set->n, &options);
  double *mahalanobis = nk_alloc(set->n, sizeof *mahalanobis);
  int code = knn != NULL && mahalanobis != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK) code = nki_mahalanobis(&m->space, set->values, set->n, mahalanobis);
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    double square = 0;
    for (size_t j = 0; j < set->dim; j++)
      square += (double)set->values[i * set->dim + j] * (double)set->values[i * set->dim + j];
    struct target target = {sqrt(square), mahalanobis[i], knn->distances[(i + 1) * knn->k - 1]};
    if (!(target.knn > 0 && target.norm > 0 && target.mahalanobis > 0))
      code = nk_fail(NK_EDATA,
                     "token %lld cannot be matched: one of its distances is 0, as of the region's "
                     "own tokens",
                     (long long)set->ids[i]);
    for (size_t copy = 0; copy < n; copy++) m->target[i * n + copy] = target;
  }
  nk_free(mahalanobis);
  nk_knn_free(knn);
  return code;
}

static int make_memory(struct matching *m, size_t rows, size_t n) {
  size_t size;
  if (!nk_size_mul(rows, n, &m->n) || !nk_size_mul(m->n, m->space.dim, &size))
    return nk_fail(NK_EMEMORY, "out of memory for %zu nokens of %zu tokens", n, rows);
  m->target = nk_alloc(m->n, sizeof *m->target);
  m->x = nk_alloc(size, sizeof *m->x);
  m->gradient = nk_alloc(size, sizeof *m->gradient);
  m->rounded = nk_alloc(size, sizeof *m->rounded);
  m->left = nk_alloc(m->n, sizeof *m->left);
  if (m->target == NULL || m->x == NULL || m->gradient == NULL || m->rounded == NULL ||
      m->left == NULL)
    return NK_EMEMORY;
  for (size_t i = 0; i < m->n; i++) m->left[i] = i;
  m->n_left = m->n;
  return NK_OK;
}

/* The set of the nokens made, with its columns; m->rounded becomes theirs. */
static struct nk_vectors *gather(struct nk_region *region, struct matching *m,
                                 const struct nk_vectors *set, size_t n) {
  for (size_t i = 0; i < m->n * m->space.dim; i++) m->rounded[i] = (float)m->x[i];
  struct nk_vectors *made = nk_vectors_new(m->n, m->space.dim, m->rounded, false);
  if (made != NULL) m->rounded = NULL;
  int64_t *match = nk_alloc(m->n, sizeof *match);
  double *distance = nk_alloc(m->n, sizeof *distance), *norm = nk_alloc(m->n, sizeof *norm);
  int code = made != NULL && match != NULL && distance != NULL && norm != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < m->n && code == NK_OK; i++) {
    match[i] = set->ids[i / n];
    distance[i] = m->target[i].mahalanobis;
    norm[i] = m->target[i].norm;
  }
  if (code == NK_OK) code = nk_vectors_set_integers(made, "match", match);
  if (code == NK_OK) code = nk_vectors_set_numbers(made, "distance", distance);
  if (code == NK_OK) code = nk_vectors_set_numbers(made, "norm", norm);
  if (code == NK_OK) code = nki_describe(region, &m->space, made);
  nk_free(match);
  nk_free(distance);
  nk_free(norm);
  if (code == NK_OK) return made;
  nk_vectors_free(made);
  return NULL;
}

struct nk_vectors *nk_sample_match(struct nk_region *region, const struct nk_vectors *set, size_t n,
                                   uint64_t seed) {
  struct matching m = {0};
  struct nk_vectors *made = NULL;
  if (set == NULL) {
    nki_null("the tokens to match");
    return NULL;
  }
  int code = nki_open_space(region, &m.space);
  if (code == NK_OK) code = nki_need_neighbours(region, &m.space, "matching");
  if (code == NK_OK && set->dim != m.space.dim)
    code = nk_fail(NK_EDATA, "the tokens to match have %zu values, the region is for %zu", set->dim,
                   m.space.dim);
  if (code == NK_OK) code = nki_vectors_need_values(set);
  if (code == NK_OK) code = make_memory(&m, set->n, n);
  if (code == NK_OK && m.n > 0) code = measure(&m, set, n);
  for (int round = 0; round < ROUNDS && m.n_left > 0 && code == NK_OK; round++) {
    if (round % PATIENCE == 0) draw_left(&m, seed, round / PATIENCE);
    code = round_of_steps(&m);
    if (code == NK_OK) code = nk_progress("matching distances", m.n - m.n_left, m.n);
  }
  if (code == NK_OK && m.n_left > 0)
    code = nk_fail(NK_EDATA, "%zu of %zu nokens did not reach the three distances of their token",
                   m.n_left, m.n);
  if (code == NK_OK) made = gather(region, &m, set, n);
  nk_free(m.target);
  nk_free(m.x);
  nk_free(m.gradient);
  nk_free(m.left);
  nk_free(m.rounded);
  return made;
}
