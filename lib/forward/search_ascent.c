/* Projected gradient ascent, by two rules in turn: objectives have many places to settle in, and
 * which rule finds the better one differs from case to case.
 *
 * The 1st, 3rd, .. start of a noken: steps that adapt, after Auto-PGD (Croce and Hein, "Reliable
 * evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML
 * 2020, section 3). Each row moves by
 *   z_{k+1} = P(z_k + a s_k u_k + (1 - a) (z_k - z_{k-1}))
 * with u_k the unit vector of the gradient in coordinates (along the surface, where rows have to
 * stay on one), a = 3/4, and P what brings a row back to the constraint. (The paper has a second
 * projection, of the step without momentum.) The step s begins at half of the constraint's size. At
 * checkpoints, which come closer to each other, it is halved, and the row goes back to its best
 * iterate, where fewer than 3/4 of the moves since the last one increased the objective, or where
 * neither the step nor the best objective have changed.
 *
 * The others: Adam (Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015),
 * followed by P.
 *
 * Mean KL of 32 nokens with 4 starts and 50 steps. Two sizes: the first step of the paper; one
 * length: moves of 0.2 of the size, the best of three, with the same momentum.
 *
 *                                   both  Auto-PGD    Adam  two sizes  no momentum  one length
 *   gpt2-tiny,  mahalanobis 12      8.61      6.03    9.20       5.38         5.25        7.50
 *   gpt2-tiny,  mahalanobis 9       3.65      3.69    3.18                                3.23
 *   llama-tiny, mahalanobis 12      6.84      7.77    5.48                                5.95
 *   llama-tiny, l2 1.5              8.82      9.03    8.65       8.45         7.85        8.66
 *   gpt2-tiny,  p-value 0.05        9.56      9.73    9.95       9.31         8.97        8.93
 *   llama-tiny, p-value 0.05        8.56      8.91    8.41       8.17                     8.39 */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/search.h"

static const double FIRST_STEP = 0.5, MOMENTUM = 0.75, ENOUGH = 0.75;

/* The step of a coordinate, in units of size / sqrt(dim), and the rates of both moments. */
static const double ADAM_STEP = 0.3, ADAM_FIRST = 0.9, ADAM_SECOND = 0.999;

/* The first checkpoint, as a part of all steps; each distance to the next one is shorter by the
 * second number, down to the third. */
static const double FIRST = 0.22, SHORTER = 0.03, SHORTEST = 0.06;

/* Rows at work, [n, dim] each, and their steps. */
struct rows {
  double *previous, *gradient, *best, *best_gradient, *work, *mean, *square;
  float *x, *slopes;
  double *value, *last;  /* [n] */
  double *step;          /* [n] */
  double *best_at_check; /* [n] */
  size_t *n_increased;   /* [n] since the last checkpoint */
  bool *halved;          /* [n] at the last checkpoint */
  bool *restarted;       /* [n] no momentum in the next move */
};

static void free_rows(struct rows *r) {
  nk_free(r->previous);
  nk_free(r->gradient);
  nk_free(r->best);
  nk_free(r->best_gradient);
  nk_free(r->work);
  nk_free(r->mean);
  nk_free(r->square);
  nk_free(r->x);
  nk_free(r->slopes);
  nk_free(r->value);
  nk_free(r->last);
  nk_free(r->step);
  nk_free(r->best_at_check);
  nk_free(r->n_increased);
  nk_free(r->halved);
  nk_free(r->restarted);
}

static int make_rows(const struct nki_ascent *a, struct rows *r) {
  size_t wide = a->constraint->dim * sizeof(double), narrow = a->constraint->dim * sizeof(float);
  *r = (struct rows){.previous = nk_alloc(a->n, wide),
                     .gradient = nk_alloc(a->n, wide),
                     .best = nk_alloc(a->n, wide),
                     .best_gradient = nk_alloc(a->n, wide),
                     .work = nk_alloc(a->n, wide),
                     .mean = nk_alloc(a->n, wide),
                     .square = nk_alloc(a->n, wide),
                     .x = nk_alloc(a->n, narrow),
                     .slopes = nk_alloc(a->n, narrow),
                     .value = nk_alloc(a->n, sizeof(double)),
                     .last = nk_alloc(a->n, sizeof(double)),
                     .step = nk_alloc(a->n, sizeof(double)),
                     .best_at_check = nk_alloc(a->n, sizeof(double)),
                     .n_increased = nk_calloc(a->n, sizeof(size_t)),
                     .halved = nk_calloc(a->n, sizeof(bool)),
                     .restarted = nk_calloc(a->n, sizeof(bool))};
  bool made = r->previous != NULL && r->gradient != NULL && r->best != NULL &&
              r->best_gradient != NULL && r->work != NULL && r->mean != NULL && r->square != NULL &&
              r->x != NULL && r->slopes != NULL && r->value != NULL && r->last != NULL &&
              r->step != NULL && r->best_at_check != NULL && r->n_increased != NULL &&
              r->halved != NULL && r->restarted != NULL;
  return made ? NK_OK : NK_EMEMORY;
}

/* Every other start of a noken ascends by Adam. */
static bool by_moments(const struct nki_ascent *a, size_t i) {
  return i % a->n_restarts % 2 == 1;
}

/* Objectives at all rows, and for all but the last time gradients in coordinates. */
static int evaluate(const struct nki_ascent *a, struct rows *r, bool last) {
  const struct nki_constraint *c = a->constraint;
  size_t size = a->n * c->dim;
  nki_to_vectors(c, a->origins, a->z, a->n, r->work, r->x);
  int code = nk_objective_run(a->objective, r->x, a->n, r->value, last ? NULL : r->slopes);
  if (code != NK_OK || last) return code;
  for (size_t i = 0; i < size; i++) r->gradient[i] = (double)r->slopes[i];
  nki_to_coordinate_gradients(c, r->gradient, a->n);
  return nki_constrain_gradients(c, a->z, r->x, a->n, r->gradient);
}

static void keep_best(struct nki_ascent *a, struct rows *r, size_t k) {
  size_t dim = a->constraint->dim;
  for (size_t i = 0; i < a->n; i++) {
    if (k == 0) {
      a->start[i] = r->value[i];
      r->best_at_check[i] = r->value[i];
      r->step[i] = FIRST_STEP * a->size[i];
    }
    if (k > 0 && r->value[i] > r->last[i]) r->n_increased[i]++;
    r->last[i] = r->value[i];
    if (k > 0 && !(r->value[i] > a->value[i])) continue;
    a->value[i] = r->value[i];
    a->steps[i] = k;
    memcpy(a->best + i * dim, r->x + i * dim, dim * sizeof *r->x);
    memcpy(r->best + i * dim, a->z + i * dim, dim * sizeof *a->z);
    memcpy(r->best_gradient + i * dim, r->gradient + i * dim, dim * sizeof *a->z);
  }
}

/* Halves the steps of rows that have not come on in the n_moves since the last checkpoint. */
static void check(struct nki_ascent *a, struct rows *r, size_t n_moves) {
  size_t dim = a->constraint->dim;
  for (size_t i = 0; i < a->n; i++) {
    if (by_moments(a, i)) continue;
    bool slow = (double)r->n_increased[i] < ENOUGH * (double)n_moves;
    bool still = !r->halved[i] && !(a->value[i] > r->best_at_check[i]);
    r->halved[i] = slow || still;
    r->best_at_check[i] = a->value[i];
    r->n_increased[i] = 0;
    if (!r->halved[i]) continue;
    r->step[i] /= 2;
    r->restarted[i] = true;
    r->last[i] = a->value[i];
    memcpy(a->z + i * dim, r->best + i * dim, dim * sizeof *a->z);
    memcpy(r->gradient + i * dim, r->best_gradient + i * dim, dim * sizeof *a->z);
  }
}

/* Auto-PGD. */
static void move_by_steps(const struct nki_ascent *a, struct rows *r, size_t i, size_t k) {
  size_t dim = a->constraint->dim;
  double *z = a->z + i * dim, *previous = r->previous + i * dim;
  const double *gradient = r->gradient + i * dim;
  double length = sqrt(nki_product(gradient, gradient, dim));
  bool first = k == 0 || r->restarted[i];
  double step = length > 0 ? r->step[i] / length * (first ? 1 : MOMENTUM) : 0;
  for (size_t j = 0; j < dim; j++) {
    double back = first ? z[j] : previous[j];
    previous[j] = z[j];
    z[j] += step * gradient[j] + (1 - MOMENTUM) * (z[j] - back);
  }
  r->restarted[i] = false;
}

/* Adam. */
static void move_by_moments(const struct nki_ascent *a, struct rows *r, size_t i, size_t k) {
  size_t dim = a->constraint->dim;
  double first = 1 - pow(ADAM_FIRST, (double)k + 1), second = 1 - pow(ADAM_SECOND, (double)k + 1);
  double step = ADAM_STEP * a->size[i] / sqrt((double)dim);
  for (size_t j = i * dim; j < (i + 1) * dim; j++) {
    double g = r->gradient[j];
    r->previous[j] = a->z[j];
    r->mean[j] = k == 0 ? (1 - ADAM_FIRST) * g : ADAM_FIRST * r->mean[j] + (1 - ADAM_FIRST) * g;
    r->square[j] =
        k == 0 ? (1 - ADAM_SECOND) * g * g : ADAM_SECOND * r->square[j] + (1 - ADAM_SECOND) * g * g;
    double size = sqrt(r->square[j] / second);
    if (size > 0) a->z[j] += step * r->mean[j] / first / size;
  }
}

static int move(struct nki_ascent *a, struct rows *r, size_t k) {
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < a->n; i++)
    if (by_moments(a, i))
      move_by_moments(a, r, i, k);
    else
      move_by_steps(a, r, i, k);
  return nki_constrain(a->constraint, r->previous, a->z, a->n, NULL);
}

int nki_ascend(struct nki_ascent *a) {
  struct rows r;
  int code = make_rows(a, &r);
  double place = FIRST, gap = FIRST;
  size_t checked = 0, next = (size_t)ceil(FIRST * (double)a->n_steps);
  for (size_t k = 0; k <= a->n_steps && code == NK_OK; k++) {
    code = evaluate(a, &r, k == a->n_steps);
    if (code == NK_OK) keep_best(a, &r, k);
    if (code == NK_OK)
      code = nk_progress("search", a->n_done * (a->n_steps + 1) + (k + 1) * a->n,
                         a->n_total * (a->n_steps + 1));
    if (code != NK_OK || k == a->n_steps) break;
    if (k > 0 && k == next) {
      check(a, &r, k - checked);
      checked = k;
      gap = fmax(gap - SHORTER, SHORTEST);
      place += gap;
      next = (size_t)ceil(place * (double)a->n_steps);
      if (next <= k) next = k + 1;
    }
    code = move(a, &r, k);
  }
  free_rows(&r);
  return code;
}
