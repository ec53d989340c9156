/* Constraints of a search, and how a step is brought back to where they hold. A distance: along the
 * ray from the centroid, as nk_sample places nokens. A radius: along the ray from the origin. The
 * region: to where all of its features are within their limits, as far as their gradients tell, a
 * few times, and when that does not suffice by halving the step. */
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/search.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/neighbours.h"
#include "geometry/region.h"

enum { CORRECTIONS = 4, HALVINGS = 8, SWEEPS = 50 };

/* A corrected row is aimed at a score so far inside, relative, as the corrections end beside the
 * surface: where several features have limits, and for one alone. */
static const double INSIDE = 3e-2, INSIDE_ALONE = 1e-5;

/* Rows are kept so far from the score itself, relative, that its rounding changes no p-value. */
static const double ROUNDING = 1e-6;

/* A p-value that is meant differs by so much, relative, from the one that is written. */
static const double ROUNDING_OF_P = 1e-12;

/* ---- The constraint ---- */

/* The largest score with a p-value of at least the bound, which becomes the least p-value that
 * there is from it on, but for rounding. */
static int find_level(struct nki_constraint *c) {
  const struct nk_conformal *calibration = c->region->calibration;
  double places = ceil(c->bound * (double)(calibration->n + 1) * (1 - ROUNDING_OF_P));
  if (!(c->bound <= 1 && places >= 2)) /* every score has the least p-value */
    return nk_fail(NK_EUSAGE,
                   "a p-value of at least %g: expected one above the region's least, %g, "
                   "and at most 1",
                   c->bound, calibration->p_min);
  size_t n_above = (size_t)places - 1; /* calibrating scores that are as large or larger */
  c->bound = places / (double)(calibration->n + 1);
  c->level = calibration->scores[calibration->n - n_above] * (1 - ROUNDING);
  return NK_OK;
}

int nki_constraint_open(struct nk_region *region, const struct nk_search_options *options,
                        struct nki_constraint *constraint) {
  struct nki_constraint *c = constraint;
  *c = (struct nki_constraint){
      .kind = options->constraint, .bound = options->bound, .metric = options->metric};
  if (c->kind > NK_WITHIN_RADIUS) return nk_fail(NK_EUSAGE, "unknown constraint");
  if (c->kind != NK_WITHIN_REGION && !(c->bound > 0 && c->bound <= (double)FLT_MAX))
    return nk_fail(NK_EUSAGE, "a %s of %g: expected a number above 0, of at most %.3g",
                   c->kind == NK_AT_DISTANCE ? "distance" : "radius", c->bound, (double)FLT_MAX);
  if (c->kind == NK_WITHIN_RADIUS) {
    if (options->from == NULL)
      return nk_fail(NK_EUSAGE, "a radius needs origins: a set to start from");
    c->dim = options->from->dim;
    return NK_OK;
  }
  if (region == NULL) return nki_null("the region");
  if (c->metric >= NK_N_METRICS) return nk_fail(NK_EUSAGE, "unknown metric");
  if (c->metric == NK_METRIC_DEFAULT) c->metric = NK_METRIC_MAHALANOBIS;
  c->region = region;
  c->mean = nki_gaussian_mean(region->gaussian);
  c->dim = region->dim;
  c->whitened = c->kind == NK_WITHIN_REGION || c->metric == NK_METRIC_MAHALANOBIS;
  if (c->kind == NK_WITHIN_REGION) {
    bool neighbours = nki_region_takes(region->kind, NK_REGION_KNN);
    if (neighbours && (c->base = nki_region_base(region)) == NULL) return nk_error_code();
    return find_level(c);
  }
  c->surface = nki_surface_new(region, c->metric, c->bound);
  return c->surface != NULL ? NK_OK : nk_error_code();
}

void nki_constraint_close(struct nki_constraint *constraint) {
  nki_surface_free(constraint->surface);
  nki_base_free(constraint->base);
}

/* ---- Coordinates ---- */

void nki_to_coordinates(const struct nki_constraint *c, const float *origins, const float *x,
                        size_t n, double *z) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0, at = i * c->dim; j < c->dim; j++, at++)
      z[at] = (double)x[at] - (c->mean != NULL ? c->mean[j] : (double)origins[at]);
  if (c->whitened) nki_gaussian_whiten(c->region->gaussian, z, n);
}

/* Origin plus away, rounded towards the origin: the difference of both is never longer. */
static float step_from(float origin, double away) {
  float x = (float)((double)origin + away);
  return fabs((double)x - (double)origin) > fabs(away) ? nextafterf(x, origin) : x;
}

void nki_to_vectors(const struct nki_constraint *c, const float *origins, const double *z, size_t n,
                    double *work, float *x) {
  memcpy(work, z, n * c->dim * sizeof *z);
  if (c->whitened) nki_gaussian_colour(c->region->gaussian, work, n);
  if (c->mean != NULL)
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0, at = i * c->dim; j < c->dim; j++, at++)
        x[at] = (float)(work[at] + c->mean[j]);
  else if (origins != NULL) /* without a region */
    for (size_t i = 0; i < n * c->dim; i++) x[i] = step_from(origins[i], work[i]);
}

void nki_to_coordinate_gradients(const struct nki_constraint *c, double *gradients, size_t n) {
  if (c->whitened) nki_gaussian_whiten_gradients(c->region->gaussian, gradients, n);
}

/* ---- The region ---- */

/* Rows that are outside. */
struct outside {
  size_t *row; /* [n] */
  size_t n, n_limits;
  double *z, *work; /* [n, dim] theirs */
  float *x;         /* [n, dim] */
  double *score;    /* [n] */
  double *excess;   /* [n, n_limits] */
  double *gradient; /* [n, n_limits, dim] */
};

/* Moves a row by the l-th excesses and gradients to the nearest place where all excesses, as linear
 * functions of where the row is, are at most 0: the projection onto half-spaces by Hildreth (1957),
 * one multiplier for each of them. */
static void correct(const struct nki_constraint *c, const struct outside *o, size_t l, double *z) {
  size_t n = o->n_limits, dim = c->dim;
  const double *gradient = o->gradient + l * n * dim, *excess = o->excess + l * n;
  double product[NKI_N_RANKED][NKI_N_RANKED], multiplier[NKI_N_RANKED] = {0};
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      product[i][j] = nki_product(gradient + i * dim, gradient + j * dim, dim);
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (size_t i = 0; i < n; i++) {
      double left = excess[i];
      for (size_t j = 0; j < n; j++) left -= multiplier[j] * product[i][j];
      if (product[i][i] > 0) multiplier[i] = fmax(0, multiplier[i] + left / product[i][i]);
    }
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim && multiplier[i] > 0; j++)
      z[j] -= multiplier[i] * gradient[i * dim + j];
}

/* Keeps those rows on the list that are outside, and moves them. */
static int judge(const struct nki_constraint *c, struct outside *o, bool corrects,
                 const double *from, double *z) {
  size_t still = 0, dim = c->dim;
  for (size_t l = 0; l < o->n; l++) memcpy(o->z + l * dim, z + o->row[l] * dim, dim * sizeof *z);
  nki_to_vectors(c, NULL, o->z, o->n, o->work, o->x);
  double aim = c->level * (1 - (o->n_limits > 1 ? INSIDE : INSIDE_ALONE));
  const struct nki_region_rows rows = {
      .x = o->x, .n = o->n, .token = NKI_NO_TOKENS, .base = c->base, .inside = c->level};
  int code = corrects ? nki_region_excess(c->region, aim, &rows, o->score, o->excess, o->gradient)
                      : nki_region_score(c->region, &rows, o->score);
  if (code != NK_OK) return code;
  for (size_t l = 0; l < o->n; l++)
    if (!(o->score[l] <= c->level)) o->row[still++] = o->row[l];
  o->n = still;
  if (corrects) nki_to_coordinate_gradients(c, o->gradient, o->n * o->n_limits);
#pragma omp parallel for schedule(static)
  for (size_t l = 0; l < o->n; l++) {
    double *row = z + o->row[l] * dim;
    if (corrects) correct(c, o, l, row);
    for (size_t j = 0; j < dim && !corrects; j++)
      row[j] = 0.5 * (row[j] + from[o->row[l] * dim + j]);
  }
  return NK_OK;
}

static int into_region(const struct nki_constraint *c, const double *from, double *z, size_t n,
                       size_t *n_stuck) {
  size_t dim = c->dim, n_limits = nki_region_n_limits(c->region);
  struct outside o = {.n = n,
                      .n_limits = n_limits,
                      .row = nk_alloc(n, sizeof *o.row),
                      .z = nk_alloc(n, dim * sizeof(double)),
                      .work = nk_alloc(n, dim * sizeof(double)),
                      .x = nk_alloc(n, dim * sizeof(float)),
                      .score = nk_alloc(n, sizeof(double)),
                      .excess = nk_alloc(n, n_limits * sizeof(double)),
                      .gradient = nk_alloc(n, n_limits * dim * sizeof(double))};
  bool made = o.row != NULL && o.z != NULL && o.work != NULL && o.x != NULL && o.score != NULL &&
              o.excess != NULL && o.gradient != NULL;
  int code = made ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < (made ? n : 0); i++) o.row[i] = i;
  for (int round = 0; round <= CORRECTIONS + HALVINGS && o.n > 0 && code == NK_OK; round++)
    code = judge(c, &o, round < CORRECTIONS, from, z);
  for (size_t l = 0; l < o.n && code == NK_OK; l++)
    memcpy(z + o.row[l] * dim, from + o.row[l] * dim, dim * sizeof *z);
  if (n_stuck != NULL) *n_stuck = o.n;
  nk_free(o.row);
  nk_free(o.z);
  nk_free(o.work);
  nk_free(o.x);
  nk_free(o.score);
  nk_free(o.excess);
  nk_free(o.gradient);
  return code;
}

/* ---- Distances and radii ---- */

/* scale [n]: what brings z [n, dim] to the distance. */
static int scale_to_distance(const struct nki_constraint *c, const double *z, size_t n,
                             double *scale) {
  if (!c->whitened) return nki_surface_scale(c->surface, z, n, scale);
  for (size_t i = 0; i < n; i++) {
    const double *row = z + i * c->dim;
    double length = sqrt(nki_product(row, row, c->dim));
    scale[i] = length > 0 ? c->bound / length : (double)NAN;
  }
  return NK_OK;
}

static int onto_distance(const struct nki_constraint *c, const double *from, double *z, size_t n,
                         size_t *n_stuck) {
  double *scale = nk_alloc(n, sizeof *scale);
  int code = scale != NULL ? scale_to_distance(c, z, n, scale) : NK_EMEMORY;
  if (n_stuck != NULL) *n_stuck = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    double *row = z + i * c->dim;
    if (isnan(scale[i])) {
      memcpy(row, from + i * c->dim, c->dim * sizeof *row);
      if (n_stuck != NULL) ++*n_stuck;
      continue;
    }
    for (size_t j = 0; j < c->dim; j++) row[j] *= scale[i];
  }
  nk_free(scale);
  return code;
}

/* Within the radius but for what sums in double leave of it. */
static void into_radius(const struct nki_constraint *c, double *z, size_t n) {
  double most = c->bound * (1 - 1e-12);
  for (size_t i = 0; i < n; i++) {
    double *row = z + i * c->dim, length = sqrt(nki_product(row, row, c->dim));
    for (size_t j = 0; j < c->dim && length > most; j++) row[j] *= most / length;
  }
}

int nki_constrain(const struct nki_constraint *c, const double *from, double *z, size_t n,
                  size_t *n_stuck) {
  if (c->kind == NK_WITHIN_REGION) return into_region(c, from, z, n, n_stuck);
  if (c->kind == NK_AT_DISTANCE) return onto_distance(c, from, z, n, n_stuck);
  into_radius(c, z, n);
  if (n_stuck != NULL) *n_stuck = 0;
  return NK_OK;
}

int nki_constrain_gradients(const struct nki_constraint *c, const double *z, const float *x,
                            size_t n, double *gradients) {
  size_t dim = c->dim;
  if (c->kind != NK_AT_DISTANCE) return NK_OK;
  /* Distances that are lengths of coordinates have these as their normals. */
  bool lengths = c->metric == NK_METRIC_MAHALANOBIS || c->metric == NK_METRIC_L2;
  double *normals = lengths ? NULL : nk_alloc(n, dim * sizeof *normals);
  int code = lengths || normals != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && !lengths)
    code = nki_region_distance_gradients(c->region, c->metric, x, n, normals);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const double *normal = (lengths ? z : normals) + i * dim;
    double *row = gradients + i * dim, square = nki_product(normal, normal, dim);
    double part = square > 0 ? nki_product(row, normal, dim) / square : 0;
    for (size_t j = 0; j < dim; j++) row[j] -= part * normal[j];
  }
  nk_free(normals);
  return code;
}
