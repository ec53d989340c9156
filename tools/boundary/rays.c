/* Rays out of a set, and sets with a row per ray. */
#include "boundary/rays.h"

#include <math.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/sets.h"

/* ---- Reading ---- */

static double distance(const struct nk_vectors *set, size_t a, size_t b) {
  const float *x = set->values + a * set->dim, *y = set->values + b * set->dim;
  double sum = 0;
  for (size_t i = 0; i < set->dim; i++) {
    double difference = (double)y[i] - (double)x[i];
    sum += difference * difference;
  }
  return sqrt(sum);
}

/* Distances of float rows differ from radii by their rounding, relative to their lengths. */
static bool is_distance(double distance, double radius) {
  return fabs(distance - radius) <= 1e-3 * radius;
}

/* The ray of rows [n]: its origin and its farthest row. */
static int read_ray(const struct nk_vectors *set, const struct nk_column *radius, int64_t number,
                    const size_t *rows, size_t n, struct boundary_rays *out) {
  size_t origin = SIZE_MAX, far = SIZE_MAX;
  for (size_t i = 0; i < n; i++) {
    double r = cli_column_number(radius, rows[i]);
    if (r == 0 && origin != SIZE_MAX)
      return nk_fail(NK_EDATA, "ray %lld: rows %zu and %zu have radius 0, one origin is expected",
                     (long long)number, origin, rows[i]);
    if (r == 0) origin = rows[i];
    if (!(r >= 0) || isinf(r))
      return nk_fail(NK_EDATA, "ray %lld: row %zu has radius %.9g", (long long)number, rows[i], r);
    if (r > 0 && (far == SIZE_MAX || r > cli_column_number(radius, far))) far = rows[i];
  }
  if (origin == SIZE_MAX)
    return nk_fail(NK_EDATA,
                   "ray %lld: no row has radius 0: the origin is needed (nk-sample --with-origin)",
                   (long long)number);
  if (far == SIZE_MAX)
    return nk_fail(NK_EDATA,
                   "ray %lld: no row beside its origin: one at a radius above 0 is needed",
                   (long long)number);
  double length = distance(set, origin, far), r = cli_column_number(radius, far);
  if (!is_distance(length, r) || !(length > 0))
    return nk_fail(NK_EDATA, "ray %lld: row %zu has radius %.9g, its distance to row %zu is %.9g",
                   (long long)number, far, r, origin, length);
  out->origin[out->n] = origin;
  out->far[out->n] = far;
  out->length[out->n++] = length;
  return NK_OK;
}

int boundary_rays_of(const struct nk_vectors *set, struct boundary_rays *out) {
  struct cli_groups groups = {0};
  const struct nk_column *radius = nk_vectors_column(set, "radius");
  *out = (struct boundary_rays){.set = set};
  int code = cli_groups_of(set, "ray", NULL, 0, &groups);
  if (code != NK_OK) goto done;
  if (radius == NULL) {
    code = nk_fail(NK_ENOTFOUND, "the set has no column 'radius'");
    goto done;
  }
  out->origin = nk_alloc(groups.n, sizeof *out->origin);
  out->far = nk_alloc(groups.n, sizeof *out->far);
  out->length = nk_alloc(groups.n, sizeof *out->length);
  if (out->origin == NULL || out->far == NULL || out->length == NULL) code = NK_EMEMORY;
  for (size_t g = 0; g < groups.n && code == NK_OK; g++)
    code = read_ray(set, radius, groups.value[g], groups.rows + groups.begin[g],
                    groups.begin[g + 1] - groups.begin[g], out);
done:
  cli_groups_free(&groups);
  return code;
}

void boundary_rays_free(struct boundary_rays *rays) {
  nk_free(rays->origin);
  nk_free(rays->far);
  nk_free(rays->length);
}

void boundary_point(const struct boundary_rays *rays, size_t ray, double radius, float *out) {
  size_t dim = rays->set->dim;
  const float *origin = rays->set->values + rays->origin[ray] * dim;
  const float *far = rays->set->values + rays->far[ray] * dim;
  double part = radius / rays->length[ray];
  for (size_t i = 0; i < dim; i++)
    out[i] = (float)((double)origin[i] + part * ((double)far[i] - (double)origin[i]));
}

/* ---- A row per ray ---- */

/* What nk-sample says about the place of a noken on its ray, and nk-run about the place of a
 * state. */
static const char *const placed[] = {
    "radius",      "distance", "achieved", "quantile", "times",   "l2",       "cosine", "angle",
    "mahalanobis", "knn",      "nearest",  "p_value",  "context", "position", "token",  "layer"};

static bool is_placed(const char *name) {
  for (size_t i = 0; i < sizeof placed / sizeof *placed; i++)
    if (strcmp(name, placed[i]) == 0) return true;
  return false;
}

static bool is_of_rays(const struct boundary_rays *rays, const struct nk_column *column) {
  for (size_t i = 0; i < rays->n; i++)
    if (!cli_column_same(column, rays->origin[i], rays->far[i])) return false;
  return !is_placed(column->name);
}

/* Row i of `out` is row row[i] of the set. */
static int copy_texts(const struct nk_vectors *set, const size_t *row, struct nk_vectors *out) {
  struct nk_buffer bytes = {0};
  if (set->text_offsets == NULL) return NK_OK;
  int64_t *offsets = nk_alloc(out->n + 1, sizeof *offsets);
  if (offsets == NULL) return NK_EMEMORY;
  offsets[0] = 0;
  for (size_t i = 0; i < out->n; i++) {
    size_t length;
    const char *text = nk_vectors_text(set, row[i], &length);
    nk_buffer_append(&bytes, text, length);
    offsets[i + 1] = (int64_t)bytes.size;
  }
  int code = bytes.failed ? nk_fail(NK_EMEMORY, "no memory for texts")
                          : nk_vectors_set_text(out, bytes.data, offsets);
  nk_buffer_free(&bytes);
  nk_free(offsets);
  return code;
}

static int copy_metadata(const struct nk_vectors *from, struct nk_vectors *to) {
  static const char *const keys[] = {"noken.model", "noken.space", "noken.contexts",
                                     "noken.prompts", "noken.history"};
  int code = NK_OK;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && code == NK_OK; i++) {
    const char *value = nk_vectors_metadata(from, keys[i]);
    if (value != NULL) code = nk_vectors_set_metadata(to, keys[i], value);
  }
  return code;
}

struct nk_vectors *boundary_rays_set(const struct boundary_rays *rays, const size_t *ray, size_t n,
                                     bool with_values) {
  const struct nk_vectors *set = rays->set;
  struct nk_vectors *out = nk_vectors_new(n, set->dim, NULL, !with_values);
  size_t *row = out == NULL ? NULL : nk_alloc(n, sizeof *row);
  int code = row == NULL ? nk_error_code() : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    row[i] = rays->far[ray[i]];
    out->ids[i] = set->ids[row[i]];
  }
  if (code == NK_OK) code = copy_texts(set, row, out);
  if (code == NK_OK) code = copy_metadata(set, out);
  for (size_t c = 0; c < set->n_columns && code == NK_OK; c++)
    if (is_of_rays(rays, &set->columns[c]))
      code = cli_copy_column(set, &set->columns[c], row, set->columns[c].name, out);
  nk_free(row);
  if (code == NK_OK) return out;
  nk_vectors_free(out);
  return NULL;
}
