/* The score: how far a token's rows have come from where never-seen rows lie.
 *
 * Training moves a row out of the ball of never-seen rows (ball.c), at first by a step of the
 * optimizer each time. Of one matrix in d dimensions the score uses
 *
 *   D = |x - c|^2 / r^2               the distance from the ball's centre
 *   w = sqrt(d) (x - c) . v / r       the way along v, the unit vector from c to the mean m of the
 *                                     ordinary rows, in standard deviations
 *   h = max(0, |m - c|^2 / s^2 - 1)   how much the way tells: s is the root mean square distance
 *                                     of the ordinary rows from m
 *   near = 1 / max(1, D)
 *   f = log(1 + D + (1 - near) h max(w, 0)^2 / d) + near WAY w / d
 *
 * In the ball d log(1 + D) is, but for a constant, the logarithm of a round normal density, to
 * which w adds that rows leave on one side. Farther out f grows with the logarithm of how often a
 * token was seen; where ordinary rows lie close together beside their distance from the ball, the
 * way counts for more than the distance across it.
 *
 * The score of an untied model is the mean of f over its matrices, with the weights (log of a
 * typical D)^2: a matrix in which never-seen rows do not stand out, as an input matrix of rows that
 * began large or were normalized, has next to none. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/guarantees.h"
#include "geometry/internal.h"
#include "glitch/constants.h"
#include "glitch/internal.h"

/* ---- One matrix ---- */

/* rows [*k]: the ordinary rows; all ranked rows where those are too few. */
static size_t *ordinary_rows(const struct nk_glitch *glitch, size_t *k) {
  size_t *rows = nk_alloc(glitch->n, sizeof *rows);
  *k = 0;
  if (rows == NULL) return NULL;
  for (size_t i = 0; i < glitch->n; i++)
    if (nki_is_ordinary(glitch, i)) rows[(*k)++] = i;
  if (*k >= NKI_FEWEST_ORDINARY) return rows;
  *k = 0;
  for (size_t i = 0; i < glitch->n; i++)
    if (glitch->role[i] == NK_ROLE_TEXT) rows[(*k)++] = i;
  return rows;
}

bool nki_is_ordinary(const struct nk_glitch *glitch, size_t row) {
  return glitch->role[row] == NK_ROLE_TEXT && !glitch->own->output.ball.member[row];
}

/* out->way [n] along the vector from the ball's centre to mean [dim]. */
static int measure_way(const float *x, size_t n, const double *mean, struct nki_evidence *out) {
  size_t dim = out->dim;
  const double *c = out->ball.centre;
  double squares = 0, *along = nk_alloc(dim, sizeof *along);
  if (along == NULL) return NK_EMEMORY;
  for (size_t j = 0; j < dim; j++) {
    along[j] = mean[j] - c[j];
    squares += along[j] * along[j];
  }
  double unit = sqrt((double)dim) / out->ball.radius / sqrt(squares);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++)
    out->way[i] = squares > 0 ? unit * nki_dot_from(x + i * dim, c, along, dim) : 0;
  nk_free(along);
  return NK_OK;
}

/* out->typical, spread and lead: the mean of |x - mean|^2 is that of |x - c|^2 - |mean - c|^2. */
static int measure_ordinary(const size_t *rows, size_t k, const double *mean,
                            struct nki_evidence *out) {
  double *square = nk_alloc(k, sizeof *square), all = 0, away = 0, radius = out->ball.radius;
  if (square == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < k; i++) all += square[i] = out->ball.square[rows[i]];
  for (size_t j = 0; j < out->dim; j++)
    away += (mean[j] - out->ball.centre[j]) * (mean[j] - out->ball.centre[j]);
  double variance = fmax(all / (double)k * radius * radius - away, 0);
  nki_sort_numbers(square, k);
  out->typical = nki_quantile_sorted(square, k, 0.5);
  out->spread = sqrt(variance);
  out->lead = variance > 0 ? fmax(away / variance - 1, 0) : 0;
  nk_free(square);
  return NK_OK;
}

int nki_evidence_measure(const struct nk_glitch *glitch, const float *x, size_t dim,
                         struct nki_evidence *out) {
  size_t n = glitch->n, k = 0, *rows = NULL;
  double *mean = nk_alloc(dim, sizeof *mean);
  bool core = !(glitch->own->without & NK_PART_CORE);
  out->way = nk_alloc(n, sizeof(double));
  int code = mean == NULL || out->way == NULL ? NK_EMEMORY : nki_check_rows(x, NULL, 0, n, dim);
  if (code == NK_OK)
    code = nki_ball_find(x, n, dim, glitch->unused, glitch->n_unused, core, &out->ball);
  if (code != NK_OK) goto done;
  out->dim = dim;
  if ((rows = ordinary_rows(glitch, &k)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK && k == 0) code = nk_fail(NK_EDATA, "no token is ranked: all are set apart");
  if (code == NK_OK) code = nk_mean(x, rows, k, dim, mean);
  if (code != NK_OK) goto done;
  code = measure_way(x, n, mean, out);
  if (code == NK_OK) code = measure_ordinary(rows, k, mean, out);

done:
  nk_free(rows);
  nk_free(mean);
  return code;
}

void nki_evidence_free(struct nki_evidence *evidence) {
  nk_free(evidence->ball.centre);
  nk_free(evidence->ball.square);
  nk_free(evidence->ball.member);
  nk_free(evidence->way);
  *evidence = (struct nki_evidence){0};
}

/* ---- Both matrices ---- */

static double score_of(const struct nki_evidence *evidence, size_t row, unsigned without) {
  double square = evidence->ball.square[row], d = (double)evidence->dim;
  double near = 1 / fmax(1, square), way = evidence->way[row];
  double far = way > 0 ? (1 - near) * evidence->lead * way * way / d : 0;
  if (without & NK_PART_DISTANCE) square = 0;
  if (without & NK_PART_LEAD) far = 0;
  if (without & NK_PART_WAY) way = 0;
  return log1p(square + far) + near * NKI_WAY_WEIGHT * way / d;
}

static double weight_of(const struct nki_evidence *evidence) {
  double range = log(fmax(evidence->typical, 1));
  return range * range;
}

void nki_fuse(const struct nk_glitch *glitch, double *fused) {
  const struct nki_evidence *a = &glitch->own->output, *b = &glitch->own->input;
  unsigned without = glitch->own->without;
  double weight = 0; /* of the input matrix */
  if (b->dim > 0 && !(without & NK_PART_INPUT)) weight = weight_of(b);
  weight /= fmax(weight_of(a), NKI_LEAST_WEIGHT) + weight;
  for (size_t i = 0; i < glitch->n; i++) {
    fused[i] = (1 - weight) * score_of(a, i, without);
    if (weight > 0) fused[i] += weight * score_of(b, i, without);
  }
}

/* ---- Ranks ---- */

struct place {
  double score;
  size_t row;
  bool apart;
};

static int by_score(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  if (x->apart != y->apart) return x->apart ? 1 : -1;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static int set_ranks(struct nk_glitch *glitch) {
  struct place *places = nk_alloc(glitch->n, sizeof *places);
  if (places == NULL) return NK_EMEMORY;
  glitch->n_ranked = 0;
  for (size_t i = 0; i < glitch->n; i++) {
    bool apart = glitch->role[i] != NK_ROLE_TEXT;
    places[i] = (struct place){glitch->score[i], i, apart};
    glitch->n_ranked += !apart;
  }
  qsort(places, glitch->n, sizeof *places, by_score);
  for (size_t at = 0; at < glitch->n; at++) {
    glitch->order[at] = places[at].row;
    glitch->rank[places[at].row] = at < glitch->n_ranked ? at + 1 : at - glitch->n_ranked + 1;
  }
  nk_free(places);
  return NK_OK;
}

static void describe(struct nk_glitch *glitch, const struct nki_null *null) {
  const struct nki_evidence *output = &glitch->own->output;
  glitch->overlap = null->overlap;
  glitch->basis.n_core = output->ball.n_core;
  glitch->basis.radius = output->ball.radius;
  glitch->basis.edge = output->ball.edge;
  glitch->basis.spread = output->spread;
  glitch->basis.overlap_limit = NKI_OVERLAP;
  glitch->basis.n_beyond = null->n_beyond;
  glitch->basis.n_expected = null->n_expected;
}

int nki_glitch_rank(struct nk_glitch *glitch, const int64_t *merge_rank) {
  double *fused = nk_alloc(glitch->n, sizeof *fused);
  struct nki_null null = {0};
  int code = fused == NULL ? NK_EMEMORY : NK_OK;
  if (code != NK_OK) goto done;
  nki_fuse(glitch, fused);
  if ((code = nki_null_find(glitch, fused, glitch->p_value, &null)) != NK_OK) goto done;
  double distance = null.typical - null.ball;
  for (size_t i = 0; i < glitch->n; i++)
    glitch->score[i] = distance > 0 ? 1 - (fused[i] - null.ball) / distance : -fused[i];
  describe(glitch, &null);
  code = nki_q_values(glitch->p_value, glitch->n, glitch->q_value);
  if (code == NK_OK) code = set_ranks(glitch);
  if (code == NK_OK && merge_rank != NULL) code = nki_merge_column(glitch, merge_rank);

done:
  nk_free(fused);
  return code;
}
