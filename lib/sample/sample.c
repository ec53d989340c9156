/* nk_sample: its options, and the nokens on rays from one end to the other. */
#include <noken/sample.h>

#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>

#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/internal.h"
#include "io/vectors.h"
#include "sample/sampling.h"

/* ---- Options ---- */

static void set_defaults(struct sampling *s) {
  static const struct nk_direction isotropic = {.kind = NK_DIRECTION_ISOTROPIC};
  static const double usual = 0.99;
  struct nk_sample_options *o = &s->options;
  if (o->n == 0) o->n = 1;
  if (o->metric == NK_METRIC_DEFAULT) o->metric = NK_METRIC_MAHALANOBIS;
  if (o->n_directions == 0) {
    o->directions = &isotropic;
    o->n_directions = 1;
  }
  if (o->n_distances + o->n_quantiles + o->n_times == 0 && o->measure == NK_MEASURE_METRIC) {
    o->quantiles = &usual;
    o->n_quantiles = 1;
  }
}

/* The gradients are those of origins that are known before rays are drawn. */
static int check_gradient(const struct sampling *s, const struct nk_direction *direction) {
  const struct nk_sample_options *o = &s->options;
  bool pair =
      direction->kind == NK_DIRECTION_MIXTURE && (direction->parts[0].kind == NK_DIRECTION_PAIR ||
                                                  direction->parts[1].kind == NK_DIRECTION_PAIR);
  if (o->gradient == NULL)
    return nk_fail(NK_EUSAGE, "a direction along gradients: there is nothing to differentiate");
  if (o->origin == NK_ORIGIN_TOKENS || (o->origin == NK_ORIGIN_CENTROID && pair))
    return nk_fail(NK_EUSAGE,
                   "a direction along gradients: the origin is a random token: use the centroid, "
                   "one token or the rows of a set");
  if (o->unreached == NK_UNREACHED_REDRAW)
    return nk_fail(NK_EUSAGE, "an origin has one gradient: no other ray can be drawn in its place");
  return NK_OK;
}

/* A row for each ray of an origin, or for each ray. */
static int check_along(const struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  int code = nki_need_set(o->along, &s->space, "directions along rows");
  if (code != NK_OK) return code;
  size_t n_origins = o->origin == NK_ORIGIN_SET ? o->set->n : 1;
  if (o->along->n != o->n && (o->along->n % o->n != 0 || o->along->n / o->n != n_origins))
    return nk_fail(NK_EUSAGE,
                   "directions along %zu rows: expected %zu, one for each ray of an origin%s",
                   o->along->n, o->n, n_origins > 1 ? ", or one for each ray" : "");
  if (o->unreached == NK_UNREACHED_REDRAW)
    return nk_fail(NK_EUSAGE, "a ray has one row to be along: no other can be drawn in its place");
  return nki_fail_in_set(nki_check_rows(o->along->values, NULL, 0, o->along->n, o->along->dim),
                         o->along);
}

/* What one part of a direction needs: tokens, components, the set. */
static int check_part(struct sampling *s, const struct nk_direction_part *part, bool *tokens) {
  const struct nk_vectors *set = s->options.set;
  if (nki_is_gradient(part->kind)) return NK_OK;
  if (part->kind == NK_DIRECTION_ALONG) return check_along(s);
  if (part->kind >= NK_DIRECTION_MIXTURE)
    return nk_fail(NK_EUSAGE, "unknown direction, or a mixture in a mixture");
  *tokens = *tokens || part->kind == NK_DIRECTION_TOKEN || part->kind == NK_DIRECTION_PAIR ||
            part->kind == NK_DIRECTION_DIFFERENCE;
  if (part->kind == NK_DIRECTION_TOWARDS || part->kind == NK_DIRECTION_ROW) {
    int code = nki_need_set(set, &s->space, "a direction towards rows of a set");
    if (code == NK_OK && part->kind == NK_DIRECTION_ROW && part->first >= set->n)
      code = nk_fail(NK_EUSAGE, "towards:%zu: the set has %zu rows, from 0", part->first, set->n);
    if (code == NK_OK && part->kind == NK_DIRECTION_ROW && s->options.origin == NK_ORIGIN_SET &&
        s->options.unreached == NK_UNREACHED_REDRAW)
      code = nk_fail(NK_EUSAGE,
                     "towards:%zu begins where it leads to at row %zu of the set: no other ray can "
                     "be drawn in its place",
                     part->first, part->first);
    if (code == NK_OK && set->n == 0 && s->options.origin != NK_ORIGIN_SET)
      code = nk_fail(NK_EDATA, "a direction towards rows of a set: the set has no rows");
    return code;
  }
  if (part->kind != NK_DIRECTION_COMPONENTS) return NK_OK;
  if (part->first < 1 || part->last < part->first || part->last > s->space.dim)
    return nk_fail(NK_EUSAGE, "pc:%zu-%zu: there are %zu components", part->first, part->last,
                   s->space.dim);
  const struct nk_pca *basis = nk_region_basis(s->region);
  if (basis == NULL) return nk_error_code();
  s->space.components = basis->components;
  return NK_OK;
}

static int check_directions(struct sampling *s, bool *tokens) {
  int code = NK_OK;
  for (size_t i = 0; i < s->options.n_directions; i++) {
    struct nk_direction_part parts[2];
    size_t n = nki_direction_parts(&s->options.directions[i], parts);
    for (size_t p = 0; p < n && code == NK_OK; p++) {
      code = check_part(s, &parts[p], tokens);
      if (code == NK_OK && nki_is_gradient(parts[p].kind))
        code = check_gradient(s, &s->options.directions[i]);
    }
  }
  return code;
}

/* The set whose rows are origins or ends of rays. */
static int check_set(const struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  int code = NK_OK;
  if (o->origin == NK_ORIGIN_SET) code = nki_need_set(o->set, &s->space, "origins from a set");
  if (code == NK_OK && o->set != NULL) code = nki_vectors_need_values(o->set);
  if (code != NK_OK || o->set == NULL) return code;
  if (o->origin == NK_ORIGIN_SET && (o->set->n > NKI_MOST_SET_RAYS || o->n > NKI_MOST_SET_RAYS))
    return nk_fail(NK_EUSAGE, "%zu rays from each of %zu rows: at most %d of each", o->n, o->set->n,
                   (int)NKI_MOST_SET_RAYS);
  return nki_fail_in_set(nki_check_rows(o->set->values, NULL, 0, o->set->n, o->set->dim), o->set);
}

/* A value of an option that is outside its enumeration, and options that do not go together. */
static int check_combination(const struct nk_sample_options *o) {
  bool metric = o->measure == NK_MEASURE_METRIC;
  if (o->metric >= NK_N_METRICS) return nk_fail(NK_EUSAGE, "unknown metric");
  if (o->measure > NK_MEASURE_ANGLE) return nk_fail(NK_EUSAGE, "unknown measure of distances");
  if (o->origin > NK_ORIGIN_SET) return nk_fail(NK_EUSAGE, "unknown kind of origin");
  if (o->unreached > NK_UNREACHED_REDRAW)
    return nk_fail(NK_EUSAGE, "unknown way to treat rays that never reach a distance");
  if (!metric && o->n_quantiles + o->n_times > 0)
    return nk_fail(
        NK_EUSAGE,
        "quantiles and multiples are of the tokens' distances by a metric: an angle or a "
        "radius has values only");
  if (!metric && o->n_distances == 0)
    return nk_fail(NK_EUSAGE, "no values of the radius or angle are given");
  if (o->about_zero && o->measure != NK_MEASURE_ANGLE)
    return nk_fail(NK_EUSAGE, "only angles can be about zero");
  if (o->keep_norm && o->measure == NK_MEASURE_ANGLE && !o->about_zero)
    return nk_fail(NK_EUSAGE,
                   "an angle about the centroid at a kept length has no closed form: keep "
                   "it with angles about zero, a radius, or the metrics l2 and cosine");
  if (o->keep_norm && metric && o->metric != NK_METRIC_L2 && o->metric != NK_METRIC_COSINE)
    return nk_fail(NK_EUSAGE,
                   "%s distances at a kept length have no closed form: keep it with the metrics l2 "
                   "and cosine, a radius, or angles about zero",
                   nk_metric_names[o->metric]);
  return NK_OK;
}

static int check_options(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  bool tokens = o->origin == NK_ORIGIN_TOKEN || o->origin == NK_ORIGIN_TOKENS;
  bool metric = o->measure == NK_MEASURE_METRIC;
  int code = check_combination(o);
  if (code == NK_OK) code = check_set(s);
  if (code == NK_OK) code = check_directions(s, &tokens);
  if (code == NK_OK && tokens)
    code = nki_need_tokens(&s->space, "an origin or direction from tokens");
  if (code == NK_OK && metric) code = nki_check_metric(s->region, &s->space, o->metric);
  s->fixed = o->origin == NK_ORIGIN_TOKENS ? NKI_FROM_RANDOM_TOKEN
             : o->origin == NK_ORIGIN_SET  ? NKI_FROM_SET
                                           : NKI_FROM_CENTROID;
  if (code == NK_OK && o->origin == NK_ORIGIN_TOKEN)
    code = nki_find_token(&s->space, o->origin_id, &s->fixed);
  return code;
}

/* The origin's own, then values, then quantiles, then multiples of the largest. */
static int list_distances(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  bool metric = o->measure == NK_MEASURE_METRIC;
  size_t first = o->with_origin, count = first;
  int code = metric ? nki_held_out(s->region, o->metric, &s->held_out, &s->n_held_out) : NK_OK;
  if (code != NK_OK) return code;
  s->n_distances = first + o->n_distances + o->n_quantiles + o->n_times;
  s->distances = nk_alloc(s->n_distances, sizeof *s->distances);
  if (s->distances == NULL) return NK_EMEMORY;
  if (first > 0) s->distances[0] = metric ? (double)NAN : 0;
  for (size_t i = 0; i < o->n_distances; i++) s->distances[count++] = o->distances[i];
  for (size_t i = 0; i < o->n_quantiles; i++) {
    if (!(o->quantiles[i] >= 0 && o->quantiles[i] <= 1))
      return nk_fail(NK_EUSAGE, "quantile %g is not between 0 and 1", o->quantiles[i]);
    s->distances[count++] = nki_quantile_sorted(s->held_out, s->n_held_out, o->quantiles[i]);
  }
  for (size_t i = 0; i < o->n_times; i++) {
    if (!(o->times[i] > 0 && isfinite(o->times[i])))
      return nk_fail(NK_EUSAGE, "%g times the largest distance: expected a number above 0",
                     o->times[i]);
    s->distances[count++] = o->times[i] * s->held_out[s->n_held_out - 1];
  }
  for (size_t i = first; i < count; i++) {
    if (!(s->distances[i] > 0 && isfinite(s->distances[i])))
      return nk_fail(NK_EUSAGE, "distance %g is not a number above 0", s->distances[i]);
    if (o->measure == NK_MEASURE_ANGLE && !(s->distances[i] < 180))
      return nk_fail(NK_EUSAGE, "angle %g is not below 180 degrees", s->distances[i]);
  }
  return NK_OK;
}

/* ---- Memory ---- */

/* The columns that depend on the options. */
static int make_optional_columns(struct sampling *s, size_t rows) {
  const struct nk_sample_options *o = &s->options;
  bool from_set = o->origin == NK_ORIGIN_SET, made = true;
  if (from_set || o->with_origin || o->measure != NK_MEASURE_METRIC) {
    s->radius = nk_alloc(rows, sizeof *s->radius);
    made = made && s->radius != NULL;
  }
  if (o->measure == NK_MEASURE_ANGLE) {
    s->angle = nk_alloc(rows, sizeof *s->angle);
    made = made && s->angle != NULL;
  }
  if (from_set) {
    s->origin_row = nk_alloc(rows, sizeof *s->origin_row);
    made = made && s->origin_row != NULL;
  }
  return made ? NK_OK : NK_EMEMORY;
}

static int make_memory(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  size_t rows, dim = s->space.dim, n_origins = o->origin == NK_ORIGIN_SET ? o->set->n : 1;
  if (!nk_size_mul(o->n, n_origins, &s->n_rays) || !nk_size_mul(s->n_rays, s->n_distances, &rows) ||
      !nk_size_mul(rows, o->n_directions, &rows))
    return nk_fail(NK_EMEMORY, "out of memory for %zu nokens at each distance", o->n);
  s->set = nk_vectors_new(rows, dim, NULL, false);
  s->centroid = nk_alloc(dim, sizeof *s->centroid);
  s->distance = nk_alloc(rows, sizeof *s->distance);
  s->origin = nk_alloc(rows, sizeof *s->origin);
  s->toward = nk_alloc(rows, sizeof *s->toward);
  s->direction = nk_alloc(rows, sizeof *s->direction);
  s->ray = nk_alloc(rows, sizeof *s->ray);
  s->n_unreached = nk_calloc(o->n_directions * s->n_distances, sizeof *s->n_unreached);
  if (s->set == NULL || s->centroid == NULL || s->distance == NULL || s->origin == NULL ||
      s->toward == NULL || s->direction == NULL || s->ray == NULL || s->n_unreached == NULL ||
      make_optional_columns(s, rows) != NK_OK)
    return NK_EMEMORY;
  for (size_t j = 0; j < dim; j++) s->centroid[j] = (float)s->space.mean[j];
  return nki_square_tokens(s);
}

static void free_memory(struct sampling *s) {
  nk_free(s->held_out);
  nk_free(s->distances);
  nk_free(s->token_squares);
  nk_free(s->gradients);
  nk_free(s->centroid);
  nk_free(s->distance);
  nk_free(s->origin);
  nk_free(s->toward);
  nk_free(s->direction);
  nk_free(s->ray);
  nk_free(s->radius);
  nk_free(s->angle);
  nk_free(s->origin_row);
  nk_free(s->n_unreached);
}

/* ---- Gradients ---- */

static bool needs_gradients(const struct nk_sample_options *o) {
  for (size_t i = 0; i < o->n_directions; i++) {
    struct nk_direction_part parts[2];
    size_t n = nki_direction_parts(&o->directions[i], parts);
    for (size_t p = 0; p < n; p++)
      if (nki_is_gradient(parts[p].kind)) return true;
  }
  return false;
}

/* Of n origins, which are finite, and not 0 where each ray is needed. */
static int check_gradients(const struct sampling *s, size_t n) {
  size_t dim = s->space.dim;
  for (size_t i = 0; i < n; i++) {
    double square = 0;
    for (size_t j = 0; j < dim; j++) square += pow((double)s->gradients[i * dim + j], 2);
    if (isfinite(square) && (square > 0 || s->options.unreached != NK_UNREACHED_ERROR)) continue;
    bool from_set = s->fixed == NKI_FROM_SET;
    int64_t id = from_set ? s->options.set->ids[i] : s->fixed < 0 ? -1 : s->space.ids[s->fixed];
    struct nk_buffer origin = {0};
    nki_name_origin(s, id, i, &origin);
    int code = nk_fail(NK_EDATA, "the gradient at %s is %s", origin.failed ? "?" : origin.data,
                       isfinite(square) ? "0: it has no direction" : "not finite");
    nk_buffer_free(&origin);
    return code;
  }
  return NK_OK;
}

static int find_gradients(struct sampling *s) {
  const struct nk_sample_options *o = &s->options;
  bool from_set = s->fixed == NKI_FROM_SET;
  size_t dim = s->space.dim, n = from_set ? o->set->n : 1;
  const float *origins = from_set       ? o->set->values
                         : s->fixed < 0 ? s->centroid
                                        : s->space.tokens + (size_t)s->fixed * dim;
  if (!needs_gradients(o)) return NK_OK;
  s->gradients = nk_alloc(n, dim * sizeof *s->gradients);
  if (s->gradients == NULL) return NK_EMEMORY;
  int code = o->gradient(o->user, origins, n, s->gradients);
  return code == NK_OK ? check_gradients(s, n) : code;
}

/* ---- Nokens ---- */

static struct nk_vectors *sample_rays(struct nk_region *region,
                                      const struct nk_sample_options *options) {
  struct sampling s = {.region = region, .options = *options};
  set_defaults(&s);
  int code = nki_open_space(region, &s.space);
  if (code == NK_OK) code = check_options(&s);
  if (code == NK_OK) code = list_distances(&s);
  if (code == NK_OK) code = make_memory(&s);
  if (code == NK_OK) code = find_gradients(&s);
  for (size_t d = 0; d < s.options.n_directions && code == NK_OK; d++)
    code = nki_place_direction(&s, d);
  if (code == NK_OK && s.options.unreached == NK_UNREACHED_SKIP) code = nki_omit_unreached(&s);
  if (code == NK_OK) code = nki_add_columns(&s);
  free_memory(&s);
  if (code == NK_OK) return s.set;
  nk_vectors_free(s.set);
  return NULL;
}

struct nk_vectors *nk_sample(struct nk_region *region, const struct nk_sample_options *options) {
  static const struct nk_sample_options usual = {0};
  if (options == NULL) options = &usual;
  switch (options->kind) {
    case NK_SAMPLE_RAYS:
      return sample_rays(region, options);
    case NK_SAMPLE_GAUSSIAN:
      return nki_sample_gaussian(region, options);
    case NK_SAMPLE_LERP:
    case NK_SAMPLE_SLERP:
      return nki_sample_paths(region, options);
  }
  nk_fail(NK_EUSAGE, "unknown kind of nokens");
  return NULL;
}
