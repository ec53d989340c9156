/* Placing nokens on rays: the radius for each ray and distance. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "geometry/internal.h"
#include "sample/sampling.h"

enum { MOST_DRAWS = 1000 }; /* of one ray */
enum { STEPS = 5 };         /* towards a radius that rounding has changed */

static const double CLOSE = 1e-6; /* relative, of a radius that needs no correction */

const char *nki_measure_name(const struct nk_sample_options *options) {
  static const char *const METRICS[NK_N_METRICS] = {"distance", "l2 distance", "cosine distance",
                                                    "mahalanobis distance", "knn distance"};
  if (options->measure == NK_MEASURE_RADIUS) return "radius";
  return options->measure == NK_MEASURE_ANGLE ? "angle" : METRICS[options->metric];
}

/* ---- Failures ---- */

static void note_failure(struct sampling *s, size_t ray, int code, const char *message) {
#pragma omp critical(sample_failure)
  if (s->code == NK_OK || ray < s->failed_ray) {
    s->failed_ray = ray;
    s->code = code;
    snprintf(s->message, sizeof s->message, "%s", message);
  }
}

/* While other threads may fail. */
static bool has_failed(const struct sampling *s) {
  int code;
#pragma omp critical(sample_failure)
  code = s->code;
  return code != NK_OK;
}

void nki_name_origin(const struct sampling *s, int64_t id, size_t row, struct nk_buffer *out) {
  if (s->fixed == NKI_FROM_SET)
    nk_buffer_printf(out, "row %zu of the set, id %lld", row, (long long)id);
  else if (id >= 0)
    nk_buffer_printf(out, "token %lld", (long long)id);
  else
    nk_buffer_text(out, "the centroid");
}

static void note_unreached(struct sampling *s, const struct nki_radii *work, size_t i,
                           size_t direction, size_t ray, double distance) {
  const struct nk_sample_options *o = &s->options;
  const double *u = work->rays.u + i * s->space.dim;
  struct nk_buffer text = {0};
  const char *why = " (the ray begins farther out, or never reaches it)";
  const char *remedy =
      "; choose a larger one, or radii, which count from where rays begin, or skip "
      "or redraw such rays";
  if (o->keep_norm || o->measure == NK_MEASURE_ANGLE || o->metric == NK_METRIC_COSINE) {
    why = " (far from the origin it tends to the direction's own)";
    remedy = "; choose another one, or skip or redraw such rays";
  }
  if (!(nki_product(u, u, s->space.dim) > 0)) {
    why = " (it begins where it leads to: it has no direction)";
    remedy = "; choose other origins, or skip such rays";
  }
  nk_buffer_printf(&text, "no point of ray %zu in direction ", ray);
  nki_direction_name(&o->directions[direction], &text);
  nk_buffer_printf(&text, " has %s %.9g%s", nki_measure_name(o), distance, why);
  if (s->fixed == NKI_FROM_SET) {
    nk_buffer_text(&text, "; it begins at ");
    nki_name_origin(s, work->rays.from[i], ray / o->n, &text);
  }
  nk_buffer_text(&text, remedy);
  note_failure(s, direction * s->n_rays + ray, NK_EDATA, text.failed ? "out of memory" : text.data);
  nk_buffer_free(&text);
}

/* Whether an angle, or a length to keep, is defined at the origins of a block. */
static bool check_origins(struct sampling *s, const struct nki_radii *work, size_t direction,
                          const size_t *ray) {
  const struct nk_sample_options *o = &s->options;
  if (!o->keep_norm && o->measure != NK_MEASURE_ANGLE) return true;
  for (size_t i = 0; i < work->rays.n; i++) {
    if (work->turning[i].length > 0) continue;
    struct nk_buffer text = {0};
    nki_name_origin(s, work->rays.from[i], ray[i] / o->n, &text);
    nk_buffer_text(&text, o->keep_norm
                              ? " is 0: it has no length to keep"
                              : " lies at the vertex of the angles: there is none from it");
    note_failure(s, direction * s->n_rays + ray[i], NK_EDATA,
                 text.failed ? "out of memory" : text.data);
    nk_buffer_free(&text);
    return false;
  }
  return true;
}

/* ---- Placing ---- */

/* The set's row for a ray of a direction at its q-th distance, and the number of the ray in the
 * whole set. */
static size_t row_of(const struct sampling *s, size_t direction, size_t ray, size_t q,
                     size_t *number) {
  size_t n_directions = s->options.n_directions, n = s->options.n;
  *number = direction * s->n_rays + ray;
  if (s->fixed != NKI_FROM_SET) return (direction * s->n_distances + q) * s->n_rays + ray;
  *number = (ray / n * n_directions + direction) * n + ray % n;
  return *number * s->n_distances + q;
}

/* x [dim] = the vector of the i-th ray of the block at radius r. */
static void place_vector(const struct sampling *s, const struct nki_radii *work, size_t i, double r,
                         float *x) {
  size_t dim = s->space.dim;
  const double *mean = s->space.mean, *u = work->rays.u + i * dim;
  const double *origin = work->rays.origin + i * dim;
  if (!s->options.keep_norm) {
    for (size_t j = 0; j < dim; j++) x[j] = (float)(mean[j] + origin[j] + r * u[j]);
    return;
  }
  double square = 0;
  for (size_t j = 0; j < dim; j++) {
    double y = mean[j] + origin[j] + r * u[j];
    square += y * y;
  }
  double scale = work->turning[i].length / sqrt(square);
  for (size_t j = 0; j < dim; j++) x[j] = (float)(scale * (mean[j] + origin[j] + r * u[j]));
}

static double radius_of(const struct sampling *s, const struct nki_radii *work, size_t i,
                        const float *x) {
  const float *start = work->rays.start[i];
  return sqrt(nki_distance_squares(x, start != NULL ? start : s->centroid, s->space.dim));
}

/* Rounding to floats adds a length of its own to a small radius from a long origin. A few steps
 * choose r such that what is stored has the radius that is asked. */
static void correct_radius(const struct sampling *s, const struct nki_radii *work, size_t i,
                           double r, float *x) {
  const double asked = r;
  for (int step = 0; step < STEPS; step++) {
    double radius = radius_of(s, work, i, x);
    if (!(radius > 0 && fabs(radius - asked) > CLOSE * asked)) return;
    r *= asked / radius;
    place_vector(s, work, i, r, x);
  }
}

/* Places the noken of the i-th ray of the block at radius r in that row, or without r the origin
 * itself. Distances from it are of the values that are stored. */
static void place(struct sampling *s, const struct nki_radii *work, size_t i, const double *r,
                  size_t row) {
  size_t dim = s->space.dim;
  float *x = nk_vectors_writable(s->set) + row * dim;
  const float *start = work->rays.start[i] != NULL ? work->rays.start[i] : s->centroid;
  if (r != NULL)
    place_vector(s, work, i, *r, x);
  else
    memcpy(x, start, dim * sizeof *x);
  if (r != NULL && s->options.measure == NK_MEASURE_RADIUS && !s->options.keep_norm)
    correct_radius(s, work, i, *r, x);
  s->origin[row] = work->rays.from[i];
  s->toward[row] = work->rays.toward[i];
  if (s->radius != NULL) s->radius[row] = radius_of(s, work, i, x);
  if (s->angle == NULL) return;
  const double *vertex = s->options.about_zero ? NULL : s->space.mean;
  s->angle[row] = r != NULL ? nki_angle(start, x, vertex, dim) / NKI_RADIANS : 0;
}

/* Places the nokens of the i-th ray of the block, number `ray`, at every distance. The place of a
 * distance that it does not reach, or s->n_distances. */
static size_t place_ray(struct sampling *s, const struct nki_radii *work, size_t i,
                        size_t direction, size_t ray) {
  size_t unreached = s->n_distances, first = s->options.with_origin, n_placed = 0, number;
  for (size_t q = 0; q < s->n_distances; q++) {
    size_t row = row_of(s, direction, ray, q, &number);
    double r = q < first ? 0 : nki_radii_at(s, work, i, s->distances[q]);
    s->distance[row] = s->distances[q];
    s->ray[row] = (int64_t)number;
    s->direction[row] = isnan(r) ? -1 : (int64_t)direction;
    if (s->origin_row != NULL) s->origin_row[row] = ray / s->options.n;
    if (!isnan(r)) {
      place(s, work, i, q < first ? NULL : &r, row);
      n_placed += q >= first;
      continue;
    }
    unreached = q;
    if (s->options.unreached != NK_UNREACHED_SKIP) break;
#pragma omp atomic
    s->n_unreached[direction * s->n_distances + q]++;
  }
  if (n_placed == 0 && first > 0) s->direction[row_of(s, direction, ray, 0, &number)] = -1;
  return unreached;
}

/* Places the nokens of the rays numbered ray [n], at every distance; those that are to be drawn
 * again stay in ray, and their number is returned; *never = a distance that the first does not
 * reach. */
static size_t place_block(struct sampling *s, struct nki_radii *work, size_t direction, size_t *ray,
                          double *never) {
  size_t n_again = 0;
  nki_radii_prepare(s, work);
  if (!check_origins(s, work, direction, ray)) return 0;
  for (size_t i = 0; i < work->rays.n; i++) {
    size_t unreached = place_ray(s, work, i, direction, ray[i]);
    if (unreached == s->n_distances) continue;
    if (s->options.unreached == NK_UNREACHED_ERROR)
      note_unreached(s, work, i, direction, ray[i], s->distances[unreached]);
    if (s->options.unreached != NK_UNREACHED_REDRAW) continue;
    if (n_again == 0) *never = s->distances[unreached];
    ray[n_again++] = ray[i];
  }
  return n_again;
}

/* Draws n rays from number `first` on and places their nokens. */
static void draw_block(struct sampling *s, struct nki_radii *work, const struct nki_bundle *bundle,
                       size_t first, size_t n) {
  size_t direction = (size_t)(bundle->direction - s->options.directions), ray[NKI_RAYS] = {0};
  double never = 0;
  for (size_t i = 0; i < n; i++) ray[i] = first + i;
  for (size_t attempt = 0; n > 0; attempt++) {
    int code = attempt < MOST_DRAWS
                   ? nki_make_rays(&s->space, bundle, ray, n, attempt, &work->rays)
                   : nk_fail(NK_EDATA,
                             "%d rays drawn in the place of ray %zu never reach every distance: "
                             "%s %.9g; choose another one, or other origins",
                             MOST_DRAWS, ray[0], nki_measure_name(&s->options), never);
    if (code != NK_OK) {
      note_failure(s, direction * s->n_rays + ray[0], code, nk_error());
      return;
    }
    n = place_block(s, work, direction, ray, &never);
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
  const char *text = name.failed ? "?" : name.data, *measure = nki_measure_name(o);
  if (s->n_redrawn > 0)
    nk_warn("direction %s: %zu of %zu rays drawn never reach every %s and were drawn again", text,
            s->n_redrawn, s->n_redrawn + s->n_rays, measure);
  for (size_t q = 0; q < s->n_distances; q++)
    if (n_unreached[q] > 0)
      nk_warn("direction %s: %zu of %zu rays never reach %s %.9g: no nokens there", text,
              n_unreached[q], s->n_rays, measure, s->distances[q]);
  nk_buffer_free(&name);
}

int nki_place_direction(struct sampling *s, size_t direction) {
  const struct nk_sample_options *o = &s->options;
  const struct nki_bundle bundle = {
      .direction = &o->directions[direction],
      .fixed = s->fixed,
      .seed = o->seed,
      .set = o->set,
      .gradients = s->gradients,
      .along = o->along,
      .n_each = o->n,
      .from_stored =
          o->measure == NK_MEASURE_RADIUS || (o->measure == NK_MEASURE_ANGLE && o->about_zero)};
  size_t n_rays = nki_radii_block(s, s->n_rays), n_blocks = (s->n_rays + n_rays - 1) / n_rays;
  size_t done = 0;
  s->n_redrawn = 0;
#pragma omp parallel
  {
    struct nki_radii work;
    int code = nki_radii_open(s, n_rays, bundle.direction->kind == NK_DIRECTION_MIXTURE, &work);
    if (code != NK_OK) note_failure(s, 0, code, nk_error());
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * n_rays, left = s->n_rays - first;
      if (code != NK_OK || has_failed(s)) continue;
      draw_block(s, &work, &bundle, first, left < n_rays ? left : n_rays);
#pragma omp critical(sample_progress)
      if (nk_progress("placing nokens", ++done, n_blocks) != NK_OK)
        note_failure(s, 0, NK_EINTERRUPTED, nk_error());
    }
    nki_radii_close(&work);
  }
  if (s->code != NK_OK) return nk_fail(s->code, "%s", s->message);
  warn_unreached(s, direction);
  return NK_OK;
}
