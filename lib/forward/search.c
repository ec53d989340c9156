/* nk_search: its options and starts, and the set of what was found. */
#include <noken/search.h>

#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/geometry.h>
#include <noken/vectors.h>
#include "base/random.h"
#include "forward/objective.h"
#include "forward/search.h"
#include "geometry/internal.h"
#include "geometry/region.h"
#include "io/vectors.h"

enum { USUAL_RESTARTS = 4, USUAL_STEPS = 50 };

/* Rows that ascend at once: enough for the products of a model to be fast. */
enum { ROWS = 512 };

/* Restarts from a row begin this part of the constraint's size away. */
static const double AWAY = 0.5;

static const double AGREED = 0.02;    /* of the gain: objectives that are the same */
static const double TOLERANCE = 1e-5; /* relative, of a distance */

struct search {
  struct nk_region *region; /* or NULL */
  struct nk_search_options options;
  struct nki_constraint constraint;
  size_t n, dim;                       /* nokens */
  struct nk_vectors *drawn;            /* [n * n_restarts, dim] starts; NULL with a set */
  struct nk_vectors *set;              /* what is found */
  double *objective, *objective_start; /* [n] */
  int64_t *steps, *agreed;             /* [n] */
};

/* ---- Options ---- */

static int check_dims(const struct search *s) {
  const struct nk_search_options *o = &s->options;
  size_t dim = o->objective.probes[0]->forward->config.shape.dim;
  if (s->region != NULL && s->region->dim != dim)
    return nk_fail(NK_EDATA, "the region is for %zu values, the model's vectors have %zu",
                   s->region->dim, dim);
  if (o->from == NULL) return NK_OK;
  if (o->from->dim != dim)
    return nki_fail_in_set(
        nk_fail(NK_EDATA, "rows of %zu values, the model's vectors have %zu", o->from->dim, dim),
        o->from);
  int code = nki_vectors_need_values(o->from);
  return code == NK_OK
             ? nki_fail_in_set(nki_check_rows(o->from->values, NULL, 0, o->from->n, dim), o->from)
             : code;
}

static int open_search(struct search *s) {
  struct nk_search_options *o = &s->options;
  if (o->n_restarts == 0) o->n_restarts = USUAL_RESTARTS;
  if (o->n_steps == 0) o->n_steps = USUAL_STEPS;
  s->n = o->from != NULL ? o->from->n : o->n > 0 ? o->n : 1;
  int code = nki_objective_check(&o->objective);
  if (code == NK_OK) code = nki_constraint_open(s->region, o, &s->constraint);
  if (code == NK_OK) code = check_dims(s);
  if (code != NK_OK) return code;
  size_t rows;
  if (s->n > NKI_MOST_SET_RAYS || o->n_restarts > NKI_MOST_SET_RAYS ||
      !nk_size_mul(s->n, o->n_restarts, &rows))
    return nk_fail(NK_EUSAGE, "%zu starts of %zu nokens: at most %d of each", o->n_restarts, s->n,
                   (int)NKI_MOST_SET_RAYS);
  s->dim = s->constraint.dim;
  s->set = nk_vectors_new(s->n, s->dim, NULL, false);
  s->objective = nk_alloc(s->n, sizeof *s->objective);
  s->objective_start = nk_alloc(s->n, sizeof *s->objective_start);
  s->steps = nk_alloc(s->n, sizeof *s->steps);
  s->agreed = nk_alloc(s->n, sizeof *s->agreed);
  bool made = s->set != NULL && s->objective != NULL && s->objective_start != NULL &&
              s->steps != NULL && s->agreed != NULL;
  return made ? NK_OK : NK_EMEMORY;
}

static void close_search(struct search *s) {
  nki_constraint_close(&s->constraint);
  nk_vectors_free(s->drawn);
  nk_free(s->objective);
  nk_free(s->objective_start);
  nk_free(s->steps);
  nk_free(s->agreed);
}

/* ---- Starts ---- */

static int draw_starts(struct search *s) {
  static const double INSIDE = 0.05; /* the level of nk_sample_inside */
  const struct nk_search_options *o = &s->options;
  size_t rows = s->n * o->n_restarts;
  if (o->constraint == NK_WITHIN_REGION) {
    double level = fmax(INSIDE, nextafter(s->constraint.bound, 0));
    s->drawn = nki_sample_inside(s->region, rows, level, o->seed);
  } else {
    const struct nk_sample_options rays = {.n = rows,
                                           .metric = o->metric,
                                           .distances = &o->bound,
                                           .n_distances = 1,
                                           .unreached = NK_UNREACHED_REDRAW,
                                           .seed = o->seed};
    s->drawn = nk_sample(s->region, &rays);
  }
  return s->drawn != NULL ? NK_OK : nk_error_code();
}

/* Rows [first, first + n) of the set have to be inside the region. */
static int check_inside(const struct search *s, size_t first, size_t n) {
  const struct nk_vectors *from = s->options.from;
  double *p = nk_alloc(n, sizeof *p);
  int code = p == NULL ? NK_EMEMORY
                       : nk_region_score(s->region, from->values + first * s->dim, n, NULL, p);
  size_t n_outside = 0, outside = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (p[i] < s->constraint.bound && n_outside++ == 0) outside = i;
  if (n_outside > 0)
    code = nki_fail_in_set(
        nk_fail(NK_EDATA,
                "row %zu, id %lld: p-value %.6g, expected at least %g to start inside the region",
                first + outside, (long long)from->ids[first + outside], p[outside],
                s->options.bound),
        from);
  nk_free(p);
  return code;
}

/* z [n, dim]: rows of the set brought to the distance. */
static int bring_to_distance(const struct search *s, size_t first, size_t n, double *z) {
  const struct nk_vectors *from = s->options.from;
  double *nowhere = nk_alloc(n, s->dim * sizeof *nowhere);
  if (nowhere == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n * s->dim; i++) nowhere[i] = (double)NAN;
  int code = nki_constrain(&s->constraint, nowhere, z, n, NULL);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (isnan(z[i * s->dim]))
      code = nki_fail_in_set(
          nk_fail(NK_EDATA, "row %zu, id %lld: its ray from the centroid never reaches %s %g",
                  first + i, (long long)from->ids[first + i], nk_metric_names[s->constraint.metric],
                  s->options.bound),
          from);
  nk_free(nowhere);
  return code;
}

/* How large the constraint is about the centre: of the region a typical Mahalanobis distance. */
static double size_of(const struct search *s, const double *z) {
  if (s->options.constraint == NK_WITHIN_RADIUS) return s->options.bound;
  double length = sqrt(nki_product(z, z, s->dim));
  return s->options.constraint == NK_WITHIN_REGION ? sqrt((double)s->dim) : length;
}

/* Starts of the n nokens from `first` on, z [n, n_restarts, dim], from rows of the set. */
static int start_from_rows(const struct search *s, size_t first, size_t n, double *z) {
  size_t n_each = s->options.n_restarts, dim = s->dim;
  const float *x = s->options.from->values + first * dim;
  double *row = nk_alloc(n, dim * sizeof *row), *anchor = nk_alloc(n * n_each, dim * sizeof *row);
  int code = row != NULL && anchor != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && s->options.constraint == NK_WITHIN_REGION) code = check_inside(s, first, n);
  if (code == NK_OK) nki_to_coordinates(&s->constraint, x, x, n, row);
  if (code == NK_OK && s->options.constraint == NK_AT_DISTANCE)
    code = bring_to_distance(s, first, n, row);
  for (size_t i = 0; i < n * n_each && code == NK_OK; i++) {
    double *to = z + i * dim, square = 0;
    const double *begin = row + i / n_each * dim;
    struct nki_random random = nki_random_stream(s->options.seed, NKI_RANDOM_SEARCH,
                                                 (uint64_t)(first + i / n_each) << 24 | i % n_each);
    memcpy(anchor + i * dim, begin, dim * sizeof *to);
    for (size_t j = 0; j < dim; j++) {
      to[j] = nki_random_normal(&random);
      square += to[j] * to[j];
    }
    double scale = i % n_each == 0 ? 0 : AWAY * size_of(s, begin) / sqrt(square);
    for (size_t j = 0; j < dim; j++) to[j] = begin[j] + scale * to[j];
  }
  if (code == NK_OK) code = nki_constrain(&s->constraint, anchor, z, n * n_each, NULL);
  nk_free(row);
  nk_free(anchor);
  return code;
}

/* ---- Nokens ---- */

/* Of each noken the best of its starts. */
static void choose(struct search *s, const struct nki_ascent *a, size_t first) {
  size_t n_each = s->options.n_restarts, dim = s->dim;
  double sign = s->options.objective.minimize ? -1 : 1;
  for (size_t i = 0; i < a->n / n_each; i++) {
    size_t begin = i * n_each, best = begin;
    for (size_t r = begin + 1; r < begin + n_each; r++)
      if (a->value[r] > a->value[best]) best = r;
    double gain = a->value[best] - a->start[begin];
    int64_t agreed = 0;
    for (size_t r = begin; r < begin + n_each; r++)
      if (a->value[r] >= a->value[best] - AGREED * gain) agreed++;
    memcpy(nk_vectors_writable(s->set) + (first + i) * dim, a->best + best * dim,
           dim * sizeof(float));
    s->objective[first + i] = sign * a->value[best];
    s->objective_start[first + i] = sign * a->start[begin];
    s->steps[first + i] = (int64_t)a->steps[best];
    s->agreed[first + i] = agreed;
  }
}

/* Nokens [first, first + n) from their starts to their best. */
static int search_block(struct search *s, size_t first, size_t n) {
  const struct nk_search_options *o = &s->options;
  size_t rows = n * o->n_restarts, dim = s->dim;
  struct nki_ascent a = {.objective = &o->objective,
                         .constraint = &s->constraint,
                         .n = rows,
                         .n_steps = o->n_steps,
                         .n_restarts = o->n_restarts,
                         .z = nk_alloc(rows, dim * sizeof(double)),
                         .best = nk_alloc(rows, dim * sizeof(float)),
                         .value = nk_alloc(rows, sizeof(double)),
                         .start = nk_alloc(rows, sizeof(double)),
                         .steps = nk_alloc(rows, sizeof(size_t)),
                         .n_done = first * o->n_restarts,
                         .n_total = s->n * o->n_restarts};
  float *origins = nk_alloc(rows, dim * sizeof *origins);
  double *size = nk_alloc(rows, sizeof *size);
  bool made = a.z != NULL && a.best != NULL && a.value != NULL && a.start != NULL &&
              a.steps != NULL && origins != NULL && size != NULL;
  int code = made ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && s->drawn != NULL)
    nki_to_coordinates(&s->constraint, NULL, s->drawn->values + first * o->n_restarts * dim, rows,
                       a.z);
  else if (code == NK_OK)
    code = start_from_rows(s, first, n, a.z);
  for (size_t i = 0; i < rows && code == NK_OK; i++) {
    if (o->from != NULL)
      memcpy(origins + i * dim, o->from->values + (first + i / o->n_restarts) * dim,
             dim * sizeof *origins);
    size[i] = size_of(s, a.z + i * dim);
  }
  a.origins = o->from != NULL ? origins : NULL;
  a.size = size;
  if (code == NK_OK) code = nki_ascend(&a);
  if (code == NK_OK) choose(s, &a, first);
  nk_free(a.z);
  nk_free(a.best);
  nk_free(a.value);
  nk_free(a.start);
  nk_free(a.steps);
  nk_free(origins);
  nk_free(size);
  return code;
}

/* ---- The set ---- */

/* The constraint of what was found, measured as nk_sample's nokens are. */
static int check_found(const struct search *s, const double *radius) {
  const struct nk_search_options *o = &s->options;
  const char *name = o->constraint == NK_WITHIN_RADIUS   ? "radius"
                     : o->constraint == NK_WITHIN_REGION ? "p_value"
                                                         : nk_metric_names[s->constraint.metric];
  const double *found = radius != NULL ? radius : nk_vectors_column(s->set, name)->data.number;
  for (size_t i = 0; i < s->n; i++) {
    bool kept = o->constraint == NK_WITHIN_REGION ? found[i] >= s->constraint.bound
                : o->constraint == NK_WITHIN_RADIUS
                    ? found[i] <= o->bound
                    : fabs(found[i] - o->bound) <= TOLERANCE * o->bound;
    if (!kept)
      return nk_fail(NK_EDATA, "noken %zu: %s %.9g instead of %.9g: floats are too coarse", i, name,
                     found[i], o->bound);
  }
  return NK_OK;
}

/* origin, origin_row, radius and what the rows of the set have. */
static int add_origins(struct search *s, double *radius) {
  const struct nk_vectors *from = s->options.from;
  size_t *rows = nk_alloc(s->n, sizeof *rows);
  int64_t *number = nk_alloc(s->n, sizeof *number);
  int code = rows != NULL && number != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < s->n && code == NK_OK; i++) {
    rows[i] = i;
    number[i] = (int64_t)i;
  }
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "origin", from->ids);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "origin_row", number);
  if (code == NK_OK) code = nk_vectors_set_numbers(s->set, "radius", radius);
  if (code == NK_OK) code = nki_carry_rows(from, rows, s->set);
  nk_free(rows);
  nk_free(number);
  return code;
}

static int add_columns(struct search *s) {
  const struct nk_search_options *o = &s->options;
  struct nki_space space;
  double *number = nk_alloc(s->n, sizeof *number);
  int code = number == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_vectors_set_numbers(s->set, "objective_start", s->objective_start);
  if (code == NK_OK) code = nk_vectors_set_numbers(s->set, "objective", s->objective);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "steps", s->steps);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "agreed", s->agreed);
  for (size_t i = 0; i < s->n && code == NK_OK; i++) number[i] = o->bound;
  if (code == NK_OK && o->constraint == NK_AT_DISTANCE)
    code = nk_vectors_set_numbers(s->set, "distance", number);
  if (code == NK_OK && s->region != NULL) code = nki_open_space(s->region, &space);
  if (code == NK_OK && s->region != NULL) code = nki_describe(s->region, &space, s->set);
  for (size_t i = 0; i < s->n && code == NK_OK && o->from != NULL; i++)
    number[i] = sqrt(
        nki_distance_squares(s->set->values + i * s->dim, o->from->values + i * s->dim, s->dim));
  if (code == NK_OK) code = check_found(s, o->constraint == NK_WITHIN_RADIUS ? number : NULL);
  if (code == NK_OK && o->from != NULL) code = add_origins(s, number);
  nk_free(number);
  return code;
}

struct nk_vectors *nk_search(struct nk_region *region, const struct nk_search_options *options) {
  struct search s = {.region = region, .options = *options};
  int code = open_search(&s);
  if (code == NK_OK && options->from == NULL) code = draw_starts(&s);
  size_t step = code == NK_OK && s.options.n_restarts < ROWS ? ROWS / s.options.n_restarts : 1;
  for (size_t first = 0; first < s.n && code == NK_OK; first += step)
    code = search_block(&s, first, s.n - first < step ? s.n - first : step);
  if (code == NK_OK) code = add_columns(&s);
  close_search(&s);
  if (code == NK_OK) return s.set;
  nk_vectors_free(s.set);
  return NULL;
}
