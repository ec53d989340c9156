/* The space of a region in which nokens are placed, and the columns that describe a noken. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdio.h>
#include <string.h>

#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/conformal.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/region.h"
#include "sample/internal.h"

/* ---- The space ---- */

int nki_open_space(struct nk_region *region, struct nki_space *space) {
  if (region == NULL) return nki_null("the region");
  *space = (struct nki_space){
      .gaussian = region->gaussian,
      .mean = nki_gaussian_mean(region->gaussian),
      .tokens = region->tokens->values,
      .ids = region->tokens->ids,
      .n_tokens = region->tokens->n,
      .n_fit = region->n_fit,
      .k = region->k,
      .dim = region->dim,
  };
  return NK_OK;
}

int nki_need_tokens(const struct nki_space *space, const char *what) {
  if (space->tokens != NULL) return NK_OK;
  return nk_fail(NK_EDATA, "%s: the region does not hold its tokens", what);
}

/* The region's distances to neighbours may be by cosine; a noken's are lengths. */
int nki_need_neighbours(const struct nk_region *region, const struct nki_space *space,
                        const char *what) {
  if (region->metric != NK_METRIC_L2)
    return nk_fail(NK_EDATA, "%s needs neighbours by l2, the region has them by %s", what,
                   nk_metric_names[region->metric]);
  return nki_need_tokens(space, what);
}

int nki_check_metric(const struct nk_region *region, const struct nki_space *space,
                     enum nk_metric metric) {
  if (metric == NK_METRIC_KNN) return nki_need_neighbours(region, space, "metric knn");
  if (metric == NK_METRIC_COSINE && !(nki_product(space->mean, space->mean, space->dim) > 0))
    return nk_fail(NK_EDATA, "the centroid is zero: there is no cosine distance to it");
  return NK_OK;
}

int nki_find_token(const struct nki_space *space, int64_t id, int64_t *row) {
  for (size_t i = 0; i < space->n_tokens; i++)
    if (space->ids[i] == id) {
      *row = (int64_t)i;
      return NK_OK;
    }
  return nk_fail(NK_ENOTFOUND, "the region has no token %lld", (long long)id);
}

int nki_held_out(struct nk_region *region, enum nk_metric metric, double **sorted, size_t *n) {
  const double *own = nki_region_own(region, metric);
  *n = region->tokens->n - region->n_fit;
  *sorted = own != NULL ? nk_alloc(*n, sizeof **sorted) : NULL;
  if (*sorted == NULL) return nk_error_code();
  memcpy(*sorted, own + region->n_fit, *n * sizeof **sorted);
  nki_sort_numbers(*sorted, *n);
  return NK_OK;
}

/* ---- The columns ---- */

int nki_mahalanobis(const struct nki_space *space, const float *x, size_t n, double *out) {
  size_t rows = nki_block_of_rays(n), n_blocks = (n + rows - 1) / rows, dim = space->dim;
  bool failed = false;
#pragma omp parallel
  {
    double *block = nk_alloc(rows, dim * sizeof *block);
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * rows, count = n - first < rows ? n - first : rows;
      if (block == NULL) {
#pragma omp atomic write
        failed = true;
        continue;
      }
      nki_centre_rows(x + first * dim, count, dim, space->mean, block);
      nki_gaussian_whiten(space->gaussian, block, count);
      for (size_t i = 0; i < count; i++)
        out[first + i] = sqrt(nki_product(block + i * dim, block + i * dim, dim));
    }
    nk_free(block);
  }
  return failed ? nk_fail(NK_EMEMORY, "out of memory for Mahalanobis distances") : NK_OK;
}

/* knn and nearest, where the region has its tokens. */
static int add_neighbours(const struct nki_space *space, struct nk_vectors *set) {
  const struct nk_knn_options options = {.k = space->k, .metric = NK_METRIC_L2};
  struct nk_knn *knn = set->n == 0 ? NULL
                                   : nk_knn_search(space->tokens, space->n_fit, space->dim,
                                                   set->values, set->n, &options);
  double *kth = nk_alloc(set->n, sizeof *kth);
  int64_t *nearest = nk_alloc(set->n, sizeof *nearest);
  bool found = knn != NULL || set->n == 0;
  int code = found && kth != NULL && nearest != NULL ? NK_OK : nk_error_code();
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

/* The metadata that a set of nokens has of its region. */
static int add_metadata(const struct nk_region *region, struct nk_vectors *set) {
  char p_min[32];
  int code = NK_OK;
  for (const char *const *key = nki_region_metadata; *key != NULL && code == NK_OK; key++) {
    const char *text = nk_vectors_metadata(region->tokens, *key);
    if (text != NULL) code = nk_vectors_set_metadata(set, *key, text);
  }
  snprintf(p_min, sizeof p_min, "%.9g", region->calibration->p_min);
  return code == NK_OK ? nk_vectors_set_metadata(set, "noken.p_min", p_min) : code;
}

/* p_value, with the distances to neighbours that the set has as its column knn. */
static int add_p_values(const struct nk_region *region, struct nk_vectors *set, double *value) {
  struct nki_region_rows rows = {.x = set->values, .n = set->n, .token = NKI_NO_TOKENS};
  const struct nk_column *knn = nk_vectors_column(set, "knn");
  if (knn != NULL && region->metric == NK_METRIC_L2) rows.knn = knn->data.number;
  int code = nki_region_score(region, &rows, value);
  for (size_t i = 0; i < set->n && code == NK_OK; i++)
    value[i] = nki_conformal_p(region->calibration, value[i]);
  return code == NK_OK ? nk_vectors_set_numbers(set, "p_value", value) : code;
}

int nki_describe(struct nk_region *region, const struct nki_space *space, struct nk_vectors *set) {
  size_t n = set->n;
  const float *x = set->values;
  double *value = nk_alloc(n, sizeof *value);
  int code = value != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = nki_region_distances(region, NK_METRIC_L2, x, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "l2", value);
  if (code == NK_OK) code = nki_region_distances(region, NK_METRIC_COSINE, x, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "cosine", value);
  if (code == NK_OK) code = nki_mahalanobis(space, x, n, value);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "mahalanobis", value);
  if (code == NK_OK && space->tokens != NULL) code = add_neighbours(space, set);
  if (code == NK_OK) code = add_p_values(region, set, value);
  if (code == NK_OK) code = add_metadata(region, set);
  nk_free(value);
  return code;
}
