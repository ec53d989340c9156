/* The radius at which each ray of a block has a measure's value, and vectors that are scaled about
 * the centroid to a distance from it. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/geometry.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "sample/sampling.h"

static bool is_metric(const struct nk_sample_options *o, enum nk_metric metric) {
  return o->measure == NK_MEASURE_METRIC && o->metric == metric;
}

void nki_radii_close(struct nki_radii *work) {
  nk_free(work->rays.origin);
  nk_free(work->rays.u);
  nk_free(work->rays.other);
  nk_free(work->rays.start);
  nk_free(work->rays.from);
  nk_free(work->rays.toward);
  nk_free(work->white_origin);
  nk_free(work->rays.white);
  nki_neighbours_free(work->neighbours);
}

size_t nki_radii_block(const struct sampling *s, size_t n) {
  enum { PRODUCT_BYTES = 64 << 20 }; /* of a thread: products of rays and origins with tokens */
  size_t rays = nki_block_of_rays(n), most = PRODUCT_BYTES / (2 * sizeof(float)) / s->space.n_fit;
  if (!is_metric(&s->options, NK_METRIC_KNN) || rays <= most) return rays;
  return most > NKI_FEWEST_RAYS ? most : NKI_FEWEST_RAYS;
}

int nki_radii_open(const struct sampling *s, size_t n_rays, bool mixture, struct nki_radii *work) {
  *work = (struct nki_radii){.rays.n = 0};
  size_t size = n_rays * s->space.dim;
  work->rays.origin = nk_alloc(size, sizeof(double));
  work->rays.u = nk_alloc(size, sizeof(double));
  work->rays.start = nk_alloc(NKI_RAYS, sizeof *work->rays.start);
  work->rays.from = nk_alloc(NKI_RAYS, sizeof(int64_t));
  work->rays.toward = nk_alloc(NKI_RAYS, sizeof(int64_t));
  bool made = work->rays.origin != NULL && work->rays.u != NULL && work->rays.start != NULL &&
              work->rays.from != NULL && work->rays.toward != NULL;
  if (mixture) {
    work->rays.other = nk_alloc(size, sizeof(double));
    made = made && work->rays.other != NULL;
  }
  if (is_metric(&s->options, NK_METRIC_MAHALANOBIS)) {
    work->white_origin = nk_alloc(size, sizeof(double));
    work->rays.white = nk_alloc(size, sizeof(double));
    made = made && work->white_origin != NULL && work->rays.white != NULL;
  } else if (is_metric(&s->options, NK_METRIC_KNN)) {
    work->neighbours = nki_neighbours_new(&s->space, n_rays, s->token_squares);
    made = made && work->neighbours != NULL;
  }
  return made ? NK_OK : NK_EMEMORY;
}

static bool has_origin(const struct nki_rays *rays) {
  for (size_t i = 0; i < rays->n; i++)
    if (rays->start[i] != NULL) return true;
  return false;
}

/* Origins at the centroid are zeros, whitened or not. */
void nki_radii_prepare(const struct sampling *s, struct nki_radii *work) {
  const struct nk_sample_options *o = &s->options;
  size_t n = work->rays.n, dim = s->space.dim, bytes = n * dim * sizeof(double);
  if (is_metric(o, NK_METRIC_MAHALANOBIS)) {
    memcpy(work->white_origin, work->rays.origin, bytes);
    if (has_origin(&work->rays)) nki_gaussian_whiten(s->space.gaussian, work->white_origin, n);
    if (!work->rays.is_white) {
      memcpy(work->rays.white, work->rays.u, bytes);
      nki_gaussian_whiten(s->space.gaussian, work->rays.white, n);
    }
  } else if (is_metric(o, NK_METRIC_KNN)) {
    nki_neighbours_block(work->neighbours, &work->rays);
  }
  bool about_zero = o->keep_norm || o->about_zero;
  for (size_t i = 0; i < n && (o->keep_norm || o->measure == NK_MEASURE_ANGLE); i++)
    work->turning[i] =
        nki_turning_of(work->rays.origin + i * dim, about_zero ? s->space.mean : NULL,
                       work->rays.u + i * dim, o->keep_norm ? s->space.mean : NULL, dim);
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

/* The radius at which x, scaled to the origin's length R, has the measure. The chord of an angle t
 * is 2 R sin(t / 2); |x - m|^2 = R^2 - 2 x.m + |m|^2. Angles about 0 and cosines stay as they are.
 */
static double radius_on_sphere(const struct sampling *s, const struct nki_turning *turning,
                               double distance) {
  const double *mean = s->space.mean;
  double length = turning->length, m_m = nki_product(mean, mean, s->space.dim);
  if (s->options.measure == NK_MEASURE_RADIUS)
    return distance < 2 * length ? nki_radius_of_angle(turning, 2 * asin(distance / (2 * length)))
                                 : (double)NAN;
  return nki_radius_of_product(turning,
                               (length * length + m_m - distance * distance) / (2 * length));
}

double nki_radii_at(const struct sampling *s, const struct nki_radii *work, size_t i,
                    double distance) {
  const struct nk_sample_options *o = &s->options;
  size_t dim = s->space.dim, at = i * dim;
  const double *origin = work->rays.origin + at, *u = work->rays.u + at;
  if (!(nki_product(u, u, dim) > 0)) return NAN;
  if (is_metric(o, NK_METRIC_COSINE)) return cosine_radius(&s->space, origin, u, distance);
  if (o->measure == NK_MEASURE_ANGLE)
    return nki_radius_of_angle(&work->turning[i], distance * NKI_RADIANS);
  if (o->keep_norm) return radius_on_sphere(s, &work->turning[i], distance);
  if (o->measure == NK_MEASURE_RADIUS) return distance;
  if (is_metric(o, NK_METRIC_KNN))
    return nki_neighbours_radius(work->neighbours, &work->rays, i, distance);
  if (is_metric(o, NK_METRIC_MAHALANOBIS)) {
    origin = work->white_origin + at;
    u = work->rays.white + at;
  }
  return nki_radius_of_quadratic(nki_product(u, u, dim), nki_product(origin, u, dim),
                                 nki_product(origin, origin, dim) - distance * distance);
}

int nki_square_tokens(struct sampling *s) {
  if (!is_metric(&s->options, NK_METRIC_KNN)) return NK_OK;
  size_t n = s->space.n_fit;
  s->token_squares = nk_alloc(n, 2 * sizeof *s->token_squares);
  if (s->token_squares == NULL) return NK_EMEMORY;
  nk_row_distances(s->space.tokens, n, s->space.dim, s->space.mean, s->token_squares,
                   s->token_squares + n, NULL);
  for (size_t i = 0; i < 2 * n; i++) s->token_squares[i] *= s->token_squares[i];
  return NK_OK;
}

/* ---- Vectors scaled to a distance ---- */

struct nki_distance_surface {
  struct sampling s;
  double distance;
};

void nki_surface_free(struct nki_distance_surface *surface) {
  if (surface == NULL) return;
  nk_free(surface->s.token_squares);
  nk_free(surface);
}

struct nki_distance_surface *nki_surface_new(struct nk_region *region, enum nk_metric metric,
                                             double distance) {
  struct nki_distance_surface *surface = nk_calloc(1, sizeof *surface);
  if (surface == NULL) return NULL;
  surface->distance = distance;
  surface->s.options.metric = metric != NK_METRIC_DEFAULT ? metric : NK_METRIC_MAHALANOBIS;
  int code = nki_open_space(region, &surface->s.space);
  if (code == NK_OK) code = nki_check_metric(region, &surface->s.space, surface->s.options.metric);
  if (code == NK_OK) code = nki_square_tokens(&surface->s);
  if (code == NK_OK) return surface;
  nki_surface_free(surface);
  return NULL;
}

/* A block of rays. */
static void scale_block(const struct sampling *s, struct nki_radii *radii, double distance,
                        const double *away, size_t n, double *scale) {
  size_t dim = s->space.dim;
  radii->rays.n = n;
  memset(radii->rays.origin, 0, n * dim * sizeof *away);
  for (size_t i = 0; i < n; i++) {
    const double *row = away + i * dim;
    double length = sqrt(nki_product(row, row, dim));
    radii->rays.start[i] = NULL;
    scale[i] = length;
    for (size_t j = 0; j < dim; j++) radii->rays.u[i * dim + j] = length > 0 ? row[j] / length : 0;
  }
  nki_radii_prepare(s, radii);
  for (size_t i = 0; i < n; i++) scale[i] = nki_radii_at(s, radii, i, distance) / scale[i];
}

int nki_surface_scale(const struct nki_distance_surface *surface, const double *away, size_t n,
                      double *scale) {
  const struct sampling *s = &surface->s;
  size_t n_rays = nki_radii_block(s, n), n_blocks = (n + n_rays - 1) / n_rays;
  bool failed = false;
#pragma omp parallel
  {
    struct nki_radii radii;
    int code = nki_radii_open(s, n_rays, false, &radii);
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * n_rays, count = n - first < n_rays ? n - first : n_rays;
      if (code == NK_OK) {
        scale_block(s, &radii, surface->distance, away + first * s->space.dim, count,
                    scale + first);
        continue;
      }
#pragma omp atomic write
      failed = true;
    }
    nki_radii_close(&radii);
  }
  return failed ? nk_fail(NK_EMEMORY, "out of memory for radii of %zu vectors", n) : NK_OK;
}
