/* Nokens on rays: the radius for each ray and distance. */
#include <noken/sample.h>

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdio.h>
#include <string.h>

#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "io/vectors.h"
#include "sample/internal.h"

enum { MOST_DRAWS = 1000 }; /* of one ray */

static const double TOLERANCE = 1e-5; /* relative, of the achieved distance */

/* ---- Radii of a block of rays ---- */

/* One thread's memory. */
struct work {
  struct nki_rays rays;
  double *white_origin, *white_u;    /* [NKI_RAYS, dim] whitened; metric mahalanobis */
  struct nki_neighbours *neighbours; /* metric knn */
};

static void free_work(struct work *work) {
  nk_free(work->rays.origin);
  nk_free(work->rays.u);
  nk_free(work->rays.from);
  nk_free(work->rays.toward);
  nk_free(work->white_origin);
  nk_free(work->white_u);
  nki_neighbours_free(work->neighbours);
}

static int make_work(const struct nki_space *space, enum nk_metric metric,
                     const double *token_squares, struct work *work) {
  *work = (struct work){.rays.n = 0};
  size_t size = NKI_RAYS * space->dim;
  work->rays.origin = nk_alloc(size, sizeof(double));
  work->rays.u = nk_alloc(size, sizeof(double));
  work->rays.from = nk_alloc(NKI_RAYS, sizeof(int64_t));
  work->rays.toward = nk_alloc(NKI_RAYS, sizeof(int64_t));
  work->white_origin = nk_alloc(size, sizeof(double));
  work->white_u = nk_alloc(size, sizeof(double));
  if (metric == NK_METRIC_KNN) work->neighbours = nki_neighbours_new(space, token_squares);
  bool made = work->rays.origin != NULL && work->rays.u != NULL && work->rays.from != NULL &&
              work->rays.toward != NULL && work->white_origin != NULL && work->white_u != NULL;
  if (metric == NK_METRIC_KNN) made = made && work->neighbours != NULL;
  return made ? NK_OK : NK_EMEMORY;
}

/* What all radii of a block need. Origins at the centroid are zeros, whitened or not. */
static void prepare_block(const struct nki_space *space, enum nk_metric metric, struct work *work) {
  size_t n = work->rays.n, bytes = n * space->dim * sizeof(double);
  if (metric == NK_METRIC_MAHALANOBIS) {
    memcpy(work->white_origin, work->rays.origin, bytes);
    memcpy(work->white_u, work->rays.u, bytes);
    bool from_tokens = false;
    for (size_t i = 0; i < n; i++) from_tokens = from_tokens || work->rays.from[i] >= 0;
    if (from_tokens) nki_gaussian_whiten(space->gaussian, work->white_origin, n);
    nki_gaussian_whiten(space->gaussian, work->white_u, n);
  } else if (metric == NK_METRIC_KNN) {
    nki_neighbours_block(work->neighbours, &work->rays);
  }
}

static double cosine_radius(const struct nki_space *space, const double *origin, const double *u,
                            double distance) {
  size_t dim = space->dim;
  double length = sqrt(nki_product(space->mean, space->mean, dim));
  double origin_m = nki_product(origin, space->mean, dim) / length + length;
  double origin_square = nki_product(origin, origin, dim) + length * (2 * origin_m - length);
  double origin_u = nki_product(origin, u, dim) + nki_product(space->mean, u, dim);
  return nki_radius_of_cosine(origin_m, nki_product(u, space->mean, dim) / length, origin_square,
                              origin_u, distance);
}

/* The radius on the i-th ray of the block; NaN when there is none. */
static double radius(const struct nki_space *space, enum nk_metric metric, const struct work *work,
                     size_t i, double distance) {
  size_t dim = space->dim, at = i * dim;
  const double *origin = work->rays.origin + at, *u = work->rays.u + at;
  if (metric == NK_METRIC_KNN)
    return nki_neighbours_radius(work->neighbours, &work->rays, i, distance);
  if (metric == NK_METRIC_COSINE) return cosine_radius(space, origin, u, distance);
  if (metric == NK_METRIC_MAHALANOBIS) {
    origin = work->white_origin + at;
    u = work->white_u + at;
  }
  return nki_radius_of_quadratic(nki_product(u, u, dim), nki_product(origin, u, dim),
                                 nki_product(origin, origin, dim) - distance * distance);
}

/* ---- Options ---- */

struct sampling {
  struct nk_region *region;
  struct nk_sample_options options; /* without defaults: n, metric and directions are set */
  struct nki_space space;
  int64_t fixed;    /* as struct nki_bundle's */
  double *held_out; /* [n_held_out] ascending, the tokens' own distances */
  size_t n_held_out;
  double *distances; /* [n_distances] asked */
  size_t n_distances;
  double *token_squares; /* [n_fit] for metric knn */
  struct nk_vectors *set;
  double *distance;                     /* [rows] asked */
  int64_t *origin, *toward, *direction; /* [rows]; direction -1 for a noken that is omitted */
  int64_t *ray;                         /* [rows] */
  size_t *n_unreached;                  /* [n_directions, n_distances] rays */
  size_t n_redrawn;                     /* rays of the direction at work */
  /* The first failure in the order of rays: threads have messages of their own. */
  size_t failed_ray;
  int code;
  char message[512];
};

static void set_defaults(struct sampling *s) {
  static const struct nk_direction isotropic = {NK_DIRECTION_ISOTROPIC, 0, 0};
  static const double usual = 0.99;
  struct nk_sample_options *o = &s->options;
  if (o->n == 0) o->n = 1;
  if (o->metric == NK_METRIC_DEFAULT) o->metric = NK_METRIC_MAHALANOBIS;
  if (o->n_directions == 0) {
    o->directions = &isotropic;
    o->n_directions = 1;
  }
  if (o->n_distances + o->n_quantiles + o->n_times == 0) {
    o->quantiles = &usual;
    o->n_quantiles = 1;
  }
}

/* The components that directions ask for, and whether tokens are needed. */
static int check_directions(struct sampling *s, bool *tokens) {
  for (size_t i = 0; i < s->options.n_directions; i++) {
    const struct nk_direction *direction = &s->options.directions[i];
    *tokens = *tokens || direction->kind >= NK_DIRECTION_TOKEN;
    if (direction->kind != NK_DIRECTION_COMPONENTS) continue;
    if (direction->first < 1 || direction->last < direction->first ||
        direction->last > s->space.dim)
      return nk_fail(NK_EUSAGE, "pc:%zu-%zu: there are %zu components", direction->first,
                     direction->last, s->space.dim);
    const struct nk_pca *basis = nk_region_basis(s->region);
    if (basis == NULL) return nk_error_code();
    s->space.components = basis->components;
  }
  return NK_OK;
}

static int check_options(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  bool tokens = o->origin != NK_ORIGIN_CENTROID;
  if (o->metric >= NK_N_METRICS) return nk_fail(NK_EUSAGE, "unknown metric");
  if (o->unreached > NK_UNREACHED_REDRAW)
    return nk_fail(NK_EUSAGE, "unknown way to treat rays that never reach a distance");
  int code = check_directions(s, &tokens);
  if (code == NK_OK && tokens)
    code = nki_need_tokens(&s->space, "an origin or direction from tokens");
  if (code == NK_OK && o->metric == NK_METRIC_KNN)
    code = nki_need_neighbours(s->region, &s->space, "metric knn");
  if (code == NK_OK && o->metric == NK_METRIC_COSINE &&
      !(nki_product(s->space.mean, s->space.mean, s->space.dim) > 0))
    code = nk_fail(NK_EDATA, "the centroid is zero: there is no cosine distance to it");
  s->fixed = o->origin == NK_ORIGIN_TOKENS ? NKI_FROM_RANDOM_TOKEN : NKI_FROM_CENTROID;
  if (code == NK_OK && o->origin == NK_ORIGIN_TOKEN)
    code = nki_find_token(&s->space, o->origin_id, &s->fixed);
  return code;
}

/* Values, then quantiles, then multiples of the largest. */
static int list_distances(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  size_t count = 0;
  int code = nki_held_out(s->region, o->metric, &s->held_out, &s->n_held_out);
  if (code != NK_OK) return code;
  s->n_distances = o->n_distances + o->n_quantiles + o->n_times;
  s->distances = nk_alloc(s->n_distances, sizeof *s->distances);
  if (s->distances == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < o->n_distances; i++) s->distances[count++] = o->distances[i];
  for (size_t i = 0; i < o->n_quantiles; i++) {
    if (!(o->quantiles[i] >= 0 && o->quantiles[i] <= 1))
      return nk_fail(NK_EUSAGE, "quantile %g is not between 0 and 1", o->quantiles[i]);
    s->distances[count++] = nki_quantile_sorted(s->held_out, s->n_held_out, o->quantiles[i]);
  }
  for (size_t i = 0; i < o->n_times; i++)
    s->distances[count++] = o->times[i] * s->held_out[s->n_held_out - 1];
  for (size_t i = 0; i < count; i++)
    if (!(s->distances[i] > 0 && isfinite(s->distances[i])))
      return nk_fail(NK_EUSAGE, "distance %g is not a number above 0", s->distances[i]);
  return NK_OK;
}

static int make_memory(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  size_t rows;
  if (!nk_size_mul(o->n, s->n_distances, &rows) || !nk_size_mul(rows, o->n_directions, &rows))
    return nk_fail(NK_EMEMORY, "out of memory for %zu nokens at each distance", o->n);
  s->set = nk_vectors_new(rows, s->space.dim, NULL, false);
  s->distance = nk_alloc(rows, sizeof *s->distance);
  s->origin = nk_alloc(rows, sizeof *s->origin);
  s->toward = nk_alloc(rows, sizeof *s->toward);
  s->direction = nk_alloc(rows, sizeof *s->direction);
  s->ray = nk_alloc(rows, sizeof *s->ray);
  s->n_unreached = nk_calloc(o->n_directions * s->n_distances, sizeof *s->n_unreached);
  if (s->set == NULL || s->distance == NULL || s->origin == NULL || s->toward == NULL ||
      s->direction == NULL || s->ray == NULL || s->n_unreached == NULL)
    return NK_EMEMORY;
  if (o->metric != NK_METRIC_KNN) return NK_OK;
  s->token_squares = nk_alloc(s->space.n_fit, sizeof *s->token_squares);
  if (s->token_squares == NULL) return NK_EMEMORY;
  nk_row_distances(s->space.tokens, s->space.n_fit, s->space.dim, s->space.mean, s->token_squares,
                   NULL, NULL);
  for (size_t i = 0; i < s->space.n_fit; i++) s->token_squares[i] *= s->token_squares[i];
  return NK_OK;
}

/* ---- Placing ---- */

static void note_failure(struct sampling *s, size_t ray, int code, const char *message) {
#pragma omp critical(sample_failure)
  if (s->code == NK_OK || ray < s->failed_ray) {
    s->failed_ray = ray;
    s->code = code;
    snprintf(s->message, sizeof s->message, "%s", message);
  }
}

static void note_unreached(struct sampling *s, size_t direction, size_t ray, double distance) {
  const struct nk_sample_options *o = &s->options;
  struct nk_buffer text = {0};
  nk_buffer_printf(&text, "no point of ray %zu in direction ", ray);
  nki_direction_name(&o->directions[direction], &text);
  nk_buffer_printf(&text, " has %s distance %.9g%s", nk_metric_names[o->metric], distance,
                   o->metric == NK_METRIC_COSINE
                       ? " (far from the origin it tends to the direction's own)"
                       : " (the ray begins farther out, or never reaches it)");
  note_failure(s, direction * o->n + ray, NK_EDATA, text.failed ? "out of memory" : text.data);
  nk_buffer_free(&text);
}

/* Places the noken of the i-th ray of the block at radius r. */
static void place(struct sampling *s, const struct nki_rays *rays, size_t i, double r, size_t row) {
  const struct nki_space *space = &s->space;
  const double *origin = rays->origin + i * space->dim, *u = rays->u + i * space->dim;
  float *x = nk_vectors_writable(s->set) + row * space->dim;
  for (size_t j = 0; j < space->dim; j++) x[j] = (float)(space->mean[j] + origin[j] + r * u[j]);
  s->origin[row] = rays->from[i] < 0 ? -1 : space->ids[rays->from[i]];
  s->toward[row] = rays->toward[i] < 0 ? -1 : space->ids[rays->toward[i]];
}

/* Places the nokens of the i-th ray of the block, number `ray`, at every distance. The place of a
 * distance that it does not reach, or s->n_distances. */
static size_t place_ray(struct sampling *s, const struct work *work, size_t i, size_t direction,
                        size_t ray) {
  size_t unreached = s->n_distances;
  for (size_t q = 0; q < s->n_distances; q++) {
    size_t row = (direction * s->n_distances + q) * s->options.n + ray;
    double r = radius(&s->space, s->options.metric, work, i, s->distances[q]);
    s->distance[row] = s->distances[q];
    s->ray[row] = (int64_t)ray;
    s->direction[row] = isnan(r) ? -1 : (int64_t)direction;
    if (!isnan(r)) {
      place(s, &work->rays, i, r, row);
      continue;
    }
    unreached = q;
    if (s->options.unreached != NK_UNREACHED_SKIP) break;
#pragma omp atomic
    s->n_unreached[direction * s->n_distances + q]++;
  }
  return unreached;
}

/* Places the nokens of the rays numbered ray [n], at every distance; those that are to be drawn
 * again stay in ray, and their number is returned. */
static size_t place_block(struct sampling *s, struct work *work, size_t direction, size_t *ray) {
  size_t n_again = 0;
  prepare_block(&s->space, s->options.metric, work);
  for (size_t i = 0; i < work->rays.n; i++) {
    size_t unreached = place_ray(s, work, i, direction, ray[i]);
    if (unreached == s->n_distances) continue;
    if (s->options.unreached == NK_UNREACHED_ERROR)
      note_unreached(s, direction, ray[i], s->distances[unreached]);
    if (s->options.unreached == NK_UNREACHED_REDRAW) ray[n_again++] = ray[i];
  }
  return n_again;
}

/* Draws n rays from number `first` on and places their nokens. */
static void draw_block(struct sampling *s, struct work *work, const struct nki_bundle *bundle,
                       size_t first, size_t n) {
  size_t direction = (size_t)(bundle->direction - s->options.directions), ray[NKI_RAYS] = {0};
  for (size_t i = 0; i < n; i++) ray[i] = first + i;
  for (size_t attempt = 0; n > 0; attempt++) {
    int code = attempt < MOST_DRAWS
                   ? nki_make_rays(&s->space, bundle, ray, n, attempt, &work->rays)
                   : nk_fail(NK_EDATA,
                             "%d rays drawn in the place of ray %zu never reach every %s distance",
                             MOST_DRAWS, ray[0], nk_metric_names[s->options.metric]);
    if (code != NK_OK) {
      note_failure(s, direction * s->options.n + ray[0], code, nk_error());
      return;
    }
    n = place_block(s, work, direction, ray);
#pragma omp atomic
    s->n_redrawn += n;
  }
}

/* Says how many rays of a direction never reach a distance. */
static void warn_unreached(const struct sampling *s, size_t direction) {
  const struct nk_sample_options *o = &s->options;
  const size_t *n_unreached = s->n_unreached + direction * s->n_distances;
  struct nk_buffer name = {0};
  nki_direction_name(&o->directions[direction], &name);
  const char *text = name.failed ? "?" : name.data, *metric = nk_metric_names[o->metric];
  if (s->n_redrawn > 0)
    nk_warn(
        "direction %s: %zu of %zu rays drawn never reach every %s distance and were drawn again",
        text, s->n_redrawn, s->n_redrawn + o->n, metric);
  for (size_t q = 0; q < s->n_distances; q++)
    if (n_unreached[q] > 0)
      nk_warn("direction %s: %zu of %zu rays never reach %s distance %.9g: no nokens there", text,
              n_unreached[q], o->n, metric, s->distances[q]);
  nk_buffer_free(&name);
}

static int place_direction(struct sampling *s, size_t direction) {
  const struct nk_sample_options *o = &s->options;
  const struct nki_bundle bundle = {&o->directions[direction], s->fixed, o->seed};
  size_t n_blocks = (o->n + NKI_RAYS - 1) / NKI_RAYS, done = 0;
  s->n_redrawn = 0;
#pragma omp parallel
  {
    struct work work;
    int code = make_work(&s->space, o->metric, s->token_squares, &work);
    if (code != NK_OK) note_failure(s, 0, code, nk_error());
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * NKI_RAYS, n = o->n - first < NKI_RAYS ? o->n - first : NKI_RAYS;
      if (code != NK_OK || s->code != NK_OK) continue;
      draw_block(s, &work, &bundle, first, n);
#pragma omp critical(sample_progress)
      if (nk_progress("placing nokens", ++done, n_blocks) != NK_OK)
        note_failure(s, 0, NK_EINTERRUPTED, nk_error());
    }
    free_work(&work);
  }
  if (s->code != NK_OK) return nk_fail(s->code, "%s", s->message);
  warn_unreached(s, direction);
  return NK_OK;
}

/* Removes the rows of nokens that are omitted. */
static int omit_unreached(struct sampling *s) {
  size_t *rows = nk_alloc(s->set->n, sizeof *rows), n = 0;
  if (rows == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < s->set->n; i++) {
    if (s->direction[i] < 0) continue;
    s->distance[n] = s->distance[i];
    s->origin[n] = s->origin[i];
    s->toward[n] = s->toward[i];
    s->direction[n] = s->direction[i];
    s->ray[n] = s->ray[i];
    rows[n++] = i;
  }
  struct nk_vectors *kept = n > 0 ? nki_vectors_select(s->set, rows, n) : NULL;
  nk_free(rows);
  if (n == 0) return nk_fail(NK_EDATA, "no ray reaches any of the distances");
  if (kept == NULL) return nk_error_code();
  for (size_t i = 0; i < n; i++) kept->ids[i] = (int64_t)i;
  nk_vectors_free(s->set);
  s->set = kept;
  return NK_OK;
}

/* ---- The columns ---- */

/* The numbers of the column `direction`, named. */
static int name_directions(const struct nk_sample_options *o, struct nk_vectors *set) {
  struct nk_buffer text = {0};
  for (size_t i = 0; i < o->n_directions; i++) {
    if (i > 0) nk_buffer_byte(&text, ' ');
    nki_direction_name(&o->directions[i], &text);
  }
  int code =
      text.failed ? NK_EMEMORY : nk_vectors_set_metadata(set, "noken.codes.direction", text.data);
  nk_buffer_free(&text);
  return code;
}

/* achieved, quantile and times; an achieved distance that is not the asked one is a failure. */
static int add_achieved(const struct sampling *s) {
  const char *metric = nk_metric_names[s->options.metric];
  struct nk_vectors *set = s->set;
  const double *achieved = nk_vectors_column(set, metric)->data.number;
  for (size_t i = 0; i < set->n; i++)
    if (!(fabs(achieved[i] - s->distance[i]) <= TOLERANCE * s->distance[i]))
      return nk_fail(NK_EDATA, "row %zu: %s distance %.9g instead of %.9g: floats are too coarse",
                     i, metric, achieved[i], s->distance[i]);
  double *quantile = nk_alloc(set->n, sizeof *quantile), *times = nk_alloc(set->n, sizeof *times);
  int code = quantile != NULL && times != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    quantile[i] =
        (double)nki_count_below(s->held_out, s->n_held_out, s->distance[i]) / (double)s->n_held_out;
    times[i] = s->distance[i] / s->held_out[s->n_held_out - 1];
  }
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "distance", s->distance);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "achieved", achieved);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "quantile", quantile);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "times", times);
  nk_free(quantile);
  nk_free(times);
  return code;
}

static int add_columns(const struct sampling *s) {
  int code = nki_describe(s->region, &s->space, s->set);
  if (code == NK_OK) code = add_achieved(s);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "origin", s->origin);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "toward", s->toward);
  if (code == NK_OK) code = nk_vectors_set_integers(s->set, "direction", s->direction);
  if (code == NK_OK && s->options.unreached == NK_UNREACHED_SKIP)
    code = nk_vectors_set_integers(s->set, "ray", s->ray);
  if (code == NK_OK) code = name_directions(&s->options, s->set);
  return code;
}

struct nk_vectors *nk_sample(struct nk_region *region, const struct nk_sample_options *options) {
  struct sampling s = {.region = region};
  if (options != NULL) s.options = *options;
  set_defaults(&s);
  int code = nki_open_space(region, &s.space);
  if (code == NK_OK) code = check_options(&s);
  if (code == NK_OK) code = list_distances(&s);
  if (code == NK_OK) code = make_memory(&s);
  for (size_t d = 0; d < s.options.n_directions && code == NK_OK; d++)
    code = place_direction(&s, d);
  if (code == NK_OK && s.options.unreached == NK_UNREACHED_SKIP) code = omit_unreached(&s);
  if (code == NK_OK) code = add_columns(&s);
  nk_free(s.held_out);
  nk_free(s.distances);
  nk_free(s.token_squares);
  nk_free(s.distance);
  nk_free(s.origin);
  nk_free(s.toward);
  nk_free(s.direction);
  nk_free(s.ray);
  nk_free(s.n_unreached);
  if (code == NK_OK) return s.set;
  nk_vectors_free(s.set);
  return NULL;
}
