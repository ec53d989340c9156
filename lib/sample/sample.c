/* Nokens on rays: the radius for each ray and distance, and the columns that tell of a noken. */
#include <noken/sample.h>

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdio.h>
#include <string.h>

#include <noken/region.h>
#include <noken/vectors.h>
#include "sample/internal.h"

static const double TOLERANCE = 1e-5; /* relative, of the achieved distance */

/* ---- The space of a region ---- */

int nki_open_space(struct nk_region *region, struct nki_space *space) {
  *space = (struct nki_space){
      .gaussian = region->gaussian,
      .mean = nk_gaussian_mean(region->gaussian),
      .tokens = region->tokens->values,
      .ids = region->tokens->ids,
      .n_tokens = region->tokens->n,
      .n_fit = region->n_fit,
      .k = region->k,
      .dim = region->dim,
  };
  return 0;
}

int nki_need_tokens(const struct nki_space *space, const char *what) {
  if (space->tokens) return 0;
  return nk_fail(NK_EDATA, "%s needs the tokens, which this region was written without", what);
}

/* The region's distances to neighbours may be by cosine; a noken's are lengths. */
int nki_need_neighbours(const struct nk_region *region, const struct nki_space *space,
                        const char *what) {
  if (region->metric != NK_METRIC_L2)
    return nk_fail(NK_EDATA,
                   "%s places nokens by l2, the region measures neighbours by %s: fit it with "
                   "--metric l2",
                   what, nk_metric_name(region->metric));
  return nki_need_tokens(space, what);
}

int nki_find_token(const struct nki_space *space, int64_t id, int64_t *row) {
  for (size_t i = 0; i < space->n_tokens; i++)
    if (space->ids[i] == id) {
      *row = (int64_t)i;
      return 0;
    }
  return nk_fail(NK_ENOTFOUND, "the region has no token %lld", (long long)id);
}

/* ---- Distances asked for ---- */

/* The held-out tokens' own distances, ascending; *n of them. NULL on failure. */
static double *own_sorted(struct nk_region *region, enum nk_metric metric, size_t *n) {
  const double *own = nk_region_own(region, metric);
  *n = region->tokens->n - region->n_fit;
  double *sorted = own ? nk_alloc(*n, sizeof *sorted) : NULL;
  if (!sorted) return NULL;
  memcpy(sorted, own + region->n_fit, *n * sizeof *sorted);
  nk_sort_numbers(sorted, *n);
  return sorted;
}

int nk_sample_quantiles(struct nk_region *region, enum nk_metric metric, const double *levels,
                        size_t n, double *out, double *largest) {
  struct nki_space space;
  int code = nki_open_space(region, &space);
  if (code == NK_OK && metric == NK_METRIC_KNN)
    code = nki_need_neighbours(region, &space, "metric knn");
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (!(levels[i] >= 0 && levels[i] <= 1))
      code = nk_fail(NK_EUSAGE, "quantile %g is not between 0 and 1", levels[i]);
  if (code != NK_OK) return code;
  size_t n_own;
  double *sorted = own_sorted(region, metric, &n_own);
  if (!sorted) return nk_error_code();
  for (size_t i = 0; i < n; i++) out[i] = nk_quantile_sorted(sorted, n_own, levels[i]);
  *largest = sorted[n_own - 1];
  nk_free(sorted);
  return 0;
}

/* ---- What a thread works with ---- */

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
  bool made = work->rays.origin && work->rays.u && work->rays.from && work->rays.toward &&
              work->white_origin && work->white_u && (metric != NK_METRIC_KNN || work->neighbours);
  return made ? 0 : NK_EMEMORY;
}

/* What all radii of a block need. Origins at the centroid are zeros, whitened or not. */
static void prepare_block(const struct nki_space *space, enum nk_metric metric, struct work *work) {
  size_t n = work->rays.n, bytes = n * space->dim * sizeof(double);
  if (metric == NK_METRIC_MAHALANOBIS) {
    memcpy(work->white_origin, work->rays.origin, bytes);
    memcpy(work->white_u, work->rays.u, bytes);
    bool from_tokens = false;
    for (size_t i = 0; i < n; i++) from_tokens = from_tokens || work->rays.from[i] >= 0;
    if (from_tokens) nk_gaussian_whiten_wide(space->gaussian, work->white_origin, n);
    nk_gaussian_whiten_wide(space->gaussian, work->white_u, n);
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

/* ---- Sampling ---- */

struct sampling {
  const struct nk_sample_options *options;
  struct nki_space space;
  double *token_squares; /* [n_fit] for metric knn */
  int64_t fixed;         /* as nki_make_rays takes it */
  struct nk_vectors *set;
  double *distance;                     /* [rows] asked */
  int64_t *origin, *toward, *direction; /* [rows] */
  /* The first failure in the order of rays: threads have messages of their own. */
  size_t failed_ray;
  int code;
  char message[512];
};

static void note_failure(struct sampling *s, size_t ray, int code, const char *message) {
#pragma omp critical(sample_failure)
  if (s->code == NK_OK || ray < s->failed_ray) {
    s->failed_ray = ray;
    s->code = code;
    snprintf(s->message, sizeof s->message, "%s", message);
  }
}

static void note_unreached(struct sampling *s, size_t direction, size_t ray, double distance) {
  struct nk_buffer text = {0};
  nk_buffer_printf(&text, "no point of ray %zu in direction ", ray);
  nk_direction_name(&s->options->directions[direction], &text);
  nk_buffer_printf(&text, " has %s distance %.9g%s", nk_metric_name(s->options->metric), distance,
                   s->options->metric == NK_METRIC_COSINE
                       ? " (far out it tends to the direction's own)"
                       : " (the ray begins farther out, or never gets there)");
  note_failure(s, direction * s->options->n + ray, NK_EDATA,
               text.failed ? "out of memory" : text.data);
  nk_buffer_free(&text);
}

/* Places the nokens of a block of rays, at every distance. */
static void place_block(struct sampling *s, struct work *work, size_t direction, size_t first) {
  const struct nk_sample_options *o = s->options;
  size_t dim = s->space.dim;
  float *values = nk_vectors_writable(s->set);
  prepare_block(&s->space, o->metric, work);
  for (size_t i = 0; i < work->rays.n; i++)
    for (size_t q = 0; q < o->n_distances; q++) {
      double r = radius(&s->space, o->metric, work, i, o->distances[q]);
      if (isnan(r)) {
        note_unreached(s, direction, first + i, o->distances[q]);
        return;
      }
      size_t row = (direction * o->n_distances + q) * o->n + first + i;
      const double *origin = work->rays.origin + i * dim, *u = work->rays.u + i * dim;
      for (size_t j = 0; j < dim; j++)
        values[row * dim + j] = (float)(s->space.mean[j] + origin[j] + r * u[j]);
      s->distance[row] = o->distances[q];
      s->origin[row] = work->rays.from[i] < 0 ? -1 : s->space.ids[work->rays.from[i]];
      s->toward[row] = work->rays.toward[i] < 0 ? -1 : s->space.ids[work->rays.toward[i]];
      s->direction[row] = (int64_t)direction;
    }
}

static int place_direction(struct sampling *s, size_t direction) {
  const struct nk_sample_options *o = s->options;
  size_t n_blocks = (o->n + NKI_RAYS - 1) / NKI_RAYS, done = 0;
#pragma omp parallel
  {
    struct work work;
    int code = make_work(&s->space, o->metric, s->token_squares, &work);
    if (code != NK_OK) note_failure(s, 0, code, nk_error());
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * NKI_RAYS, n = o->n - first < NKI_RAYS ? o->n - first : NKI_RAYS;
      if (code != NK_OK || s->code != NK_OK) continue;
      code = nki_make_rays(&s->space, &o->directions[direction], s->fixed, o->seed, first, n,
                           &work.rays);
      if (code != NK_OK)
        note_failure(s, direction * o->n + first, code, nk_error());
      else
        place_block(s, &work, direction, first);
#pragma omp critical(sample_progress)
      if (nk_progress("placing nokens", ++done, n_blocks) != 0)
        note_failure(s, 0, NK_EINTERRUPTED, nk_error());
    }
    free_work(&work);
  }
  return s->code == NK_OK ? 0 : nk_fail(s->code, "%s", s->message);
}

static int check_options(struct nk_region *region, struct sampling *s) {
  const struct nk_sample_options *o = s->options;
  int code = nki_open_space(region, &s->space);
  bool tokens = o->origin != NK_ORIGIN_CENTROID;
  for (size_t i = 0; i < o->n_directions && code == NK_OK; i++) {
    const struct nk_direction *direction = &o->directions[i];
    tokens = tokens || direction->kind >= NK_DIRECTION_TOKEN;
    if (direction->kind != NK_DIRECTION_COMPONENTS) continue;
    if (direction->last > s->space.dim)
      return nk_fail(NK_EUSAGE, "pc:%zu-%zu: there are %zu components", direction->first,
                     direction->last, s->space.dim);
    const struct nk_pca *basis = nk_region_basis(region);
    if (!basis) return nk_error_code();
    s->space.components = basis->components;
  }
  for (size_t i = 0; i < o->n_distances && code == NK_OK; i++)
    if (!(o->distances[i] > 0 && isfinite(o->distances[i])))
      code = nk_fail(NK_EUSAGE, "distance %g: distances are numbers above 0", o->distances[i]);
  if (code == NK_OK && tokens)
    code = nki_need_tokens(&s->space, "an origin or direction from tokens");
  if (code == NK_OK && o->metric == NK_METRIC_KNN)
    code = nki_need_neighbours(region, &s->space, "metric knn");
  if (code == NK_OK && o->metric == NK_METRIC_COSINE &&
      !(nki_product(s->space.mean, s->space.mean, s->space.dim) > 0))
    code = nk_fail(NK_EDATA, "the centroid is zero: there is no cosine distance to it");
  s->fixed = o->origin == NK_ORIGIN_TOKENS ? -2 : -1;
  if (code == NK_OK && o->origin == NK_ORIGIN_TOKEN)
    code = nki_find_token(&s->space, o->origin_id, &s->fixed);
  return code;
}

static int make_memory(struct sampling *s) {
  const struct nk_sample_options *o = s->options;
  size_t rows;
  if (!nk_size_mul(o->n, o->n_distances, &rows) || !nk_size_mul(rows, o->n_directions, &rows))
    return nk_fail(NK_EMEMORY, "out of memory for so many nokens");
  s->set = nk_vectors_new(rows, s->space.dim, NULL, false);
  s->distance = nk_alloc(rows, sizeof *s->distance);
  s->origin = nk_alloc(rows, sizeof *s->origin);
  s->toward = nk_alloc(rows, sizeof *s->toward);
  s->direction = nk_alloc(rows, sizeof *s->direction);
  if (!s->set || !s->distance || !s->origin || !s->toward || !s->direction) return NK_EMEMORY;
  if (o->metric != NK_METRIC_KNN) return 0;
  s->token_squares = nk_alloc(s->space.n_fit, sizeof *s->token_squares);
  if (!s->token_squares) return NK_EMEMORY;
  nk_row_distances(s->space.tokens, s->space.n_fit, s->space.dim, s->space.mean, s->token_squares,
                   NULL, NULL);
  for (size_t i = 0; i < s->space.n_fit; i++) s->token_squares[i] *= s->token_squares[i];
  return 0;
}

/* What the numbers of the column `direction` mean. */
static int name_directions(const struct nk_sample_options *o, struct nk_vectors *set) {
  struct nk_buffer text = {0};
  for (size_t i = 0; i < o->n_directions; i++) {
    if (i > 0) nk_buffer_byte(&text, ' ');
    nk_direction_name(&o->directions[i], &text);
  }
  int code =
      text.failed ? NK_EMEMORY : nk_vectors_set_metadata(set, "noken.codes.direction", text.data);
  nk_buffer_free(&text);
  return code;
}

/* ---- The columns ---- */

int nki_mahalanobis(const struct nki_space *space, const float *x, size_t n, double *out) {
  size_t n_blocks = (n + NKI_RAYS - 1) / NKI_RAYS;
  bool failed = false;
#pragma omp parallel
  {
    double *block = nk_alloc(NKI_RAYS * space->dim, sizeof *block);
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * NKI_RAYS, count = n - first < NKI_RAYS ? n - first : NKI_RAYS;
      if (!block) {
#pragma omp atomic write
        failed = true;
        continue;
      }
      for (size_t i = 0; i < count * space->dim; i++)
        block[i] = (double)x[first * space->dim + i] - space->mean[i % space->dim];
      nk_gaussian_whiten_wide(space->gaussian, block, count);
      for (size_t i = 0; i < count; i++) {
        const double *row = block + i * space->dim;
        out[first + i] = sqrt(nki_product(row, row, space->dim));
      }
    }
    nk_free(block);
  }
  return failed ? nk_fail(NK_EMEMORY, "out of memory for Mahalanobis distances") : 0;
}

/* knn and nearest, where the region has its tokens. */
static int add_neighbours(const struct nki_space *space, struct nk_vectors *set) {
  const struct nk_knn_options options = {.k = space->k, .metric = NK_METRIC_L2};
  struct nk_knn *knn =
      nk_knn_search(space->tokens, space->n_fit, space->dim, set->values, set->n, &options);
  double *kth = nk_alloc(set->n, sizeof *kth);
  int64_t *nearest = nk_alloc(set->n, sizeof *nearest);
  int code = knn && kth && nearest ? NK_OK : nk_error_code();
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    kth[i] = knn->distances[(i + 1) * knn->k - 1];
    nearest[i] = space->ids[knn->rows[i * knn->k]];
  }
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "knn", kth);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "nearest", nearest);
  nk_free(kth);
  nk_free(nearest);
  nk_knn_free(knn);
  return code;
}

int nki_describe(struct nk_region *region, const struct nki_space *space, struct nk_vectors *set) {
  size_t n = set->n;
  double *value = nk_alloc(n, sizeof *value);
  int code = value ? 0 : NK_EMEMORY;
  if (code == NK_OK) code = nk_region_distances(region, NK_METRIC_L2, set->values, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "l2", value);
  if (code == NK_OK) code = nk_region_distances(region, NK_METRIC_COSINE, set->values, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "cosine", value);
  if (code == NK_OK) code = nki_mahalanobis(space, set->values, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "mahalanobis", value);
  if (code == NK_OK && space->tokens && n > 0) code = add_neighbours(space, set);
  if (code == NK_OK) code = nk_region_score(region, set->values, n, NULL, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "p_value", value);
  nk_free(value);
  for (const char *const *key =
           (const char *const[]){"noken.model", "noken.space", "noken.history", NULL};
       *key && code == NK_OK; key++) {
    const char *text = nk_vectors_metadata(region->tokens, *key);
    if (text) code = nk_vectors_set_metadata(set, *key, text);
  }
  return code;
}

/* achieved, quantile and times; an achieved distance that is not the asked one is a failure. */
static int add_achieved(struct nk_region *region, const struct sampling *s) {
  static const char *const columns[] = {"l2", "cosine", "mahalanobis", "knn"};
  struct nk_vectors *set = s->set;
  const double *achieved = nk_vectors_column(set, columns[s->options->metric])->data.number;
  for (size_t i = 0; i < set->n; i++)
    if (!(fabs(achieved[i] - s->distance[i]) <= TOLERANCE * s->distance[i]))
      return nk_fail(NK_EDATA,
                     "row %zu: %s distance %.9g was asked and %.9g reached: floats are too coarse "
                     "for it here",
                     i, columns[s->options->metric], s->distance[i], achieved[i]);
  int code = nk_vectors_set_numbers(set, "distance", s->distance);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "achieved", achieved);
  size_t n_own;
  double *sorted = own_sorted(region, s->options->metric, &n_own);
  double *quantile = sorted ? nk_alloc(set->n, sizeof *quantile) : NULL;
  double *times = sorted ? nk_alloc(set->n, sizeof *times) : NULL;
  if ((!quantile || !times) && code == NK_OK) code = nk_error_code();
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    size_t below = 0, above = n_own;
    while (below < above) {
      size_t middle = below + (above - below) / 2;
      if (sorted[middle] < s->distance[i])
        below = middle + 1;
      else
        above = middle;
    }
    quantile[i] = (double)below / (double)n_own;
    times[i] = s->distance[i] / sorted[n_own - 1];
  }
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "quantile", quantile);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "times", times);
  nk_free(sorted);
  nk_free(quantile);
  nk_free(times);
  return code;
}

struct nk_vectors *nk_sample(struct nk_region *region, const struct nk_sample_options *options) {
  struct sampling s = {.options = options};
  int code = check_options(region, &s);
  if (code == NK_OK) code = make_memory(&s);
  for (size_t d = 0; d < options->n_directions && code == NK_OK; d++) code = place_direction(&s, d);
  if (code == NK_OK) code = nki_describe(region, &s.space, s.set);
  if (code == NK_OK) code = add_achieved(region, &s);
  if (code == NK_OK) code = nk_vectors_set_integers(s.set, "origin", s.origin);
  if (code == NK_OK) code = nk_vectors_set_integers(s.set, "toward", s.toward);
  if (code == NK_OK) code = nk_vectors_set_integers(s.set, "direction", s.direction);
  if (code == NK_OK) code = name_directions(options, s.set);
  nk_free(s.token_squares);
  nk_free(s.distance);
  nk_free(s.origin);
  nk_free(s.toward);
  nk_free(s.direction);
  if (code == NK_OK) return s.set;
  nk_vectors_free(s.set);
  return NULL;
}
