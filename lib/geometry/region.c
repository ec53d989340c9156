/* Regions: the split, calibration, the tokens' own distances. Scores are in region_scores.c, files
 * in region_file.c. */
#include "geometry/region.h"

#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <string.h>
#include "base/random.h"
#include "model/dtype.h"

#include <noken/model.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/conformal.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/tensors.h"
#include "io/vectors.h"

enum { USUAL_K = 10 };

const char *const nk_region_kind_names[NK_N_REGION_KINDS] = {"combined", "mahalanobis", "knn",
                                                             "subspace"};

const char *const nki_region_metadata[] = {"noken.model", "noken.space", "noken.history", NULL};

bool nki_region_takes(enum nk_region_kind kind, enum nk_region_kind score) {
  return kind == score || kind == NK_REGION_COMBINED;
}

struct nk_vectors *nki_region_tokens(size_t n, size_t dim, float *values, const int64_t *ids,
                                     const void *text, const int64_t *offsets) {
  struct nk_vectors *tokens = nk_vectors_new(n, dim, values, values == NULL);
  if (tokens == NULL) return NULL;
  memcpy(tokens->ids, ids, n * sizeof *ids);
  if (text == NULL || nk_vectors_set_text(tokens, text, offsets) == NK_OK) return tokens;
  tokens->own_values = NULL; /* on failure they stay the caller's */
  nk_vectors_free(tokens);
  return NULL;
}

/* ---- Scores ---- */

int nk_region_score(const struct nk_region *region, const float *x, size_t n, double *scores,
                    double *p_values) {
  if (region == NULL || x == NULL) return nki_null("the region or the vectors");
  double *own = scores != NULL ? scores : nk_alloc(n, sizeof *own);
  if (own == NULL) return NK_EMEMORY;
  int code = nki_region_score(region, &(struct nki_region_rows){x, n, .token = NKI_NO_TOKENS}, own);
  for (size_t i = 0; i < n && code == NK_OK && p_values != NULL; i++)
    p_values[i] = nki_conformal_p(region->calibration, own[i]);
  if (scores == NULL) nk_free(own);
  return code;
}

double nk_region_threshold(const struct nk_region *region, double level) {
  return region != NULL ? nki_conformal_threshold(region->calibration, level) : (double)NAN;
}

/* ---- Fitting ---- */

size_t nki_round_trip(float *x, size_t n, enum nk_dtype dtype, bool keep_rounded) {
  enum { BLOCK = 1 << 14 };
  size_t changed = 0;
#pragma omp parallel for schedule(static) reduction(+ : changed)
  for (size_t first = 0; first < n; first += BLOCK) {
    size_t count = n - first < BLOCK ? n - first : BLOCK;
    uint16_t bits[BLOCK];
    float back[BLOCK];
    for (size_t i = 0; i < count; i++)
      bits[i] = dtype == NK_F16 ? nki_f16_of_float(x[first + i]) : nki_bf16_of_float(x[first + i]);
    nki_widen(dtype, bits, count, back);
    for (size_t i = 0; i < count; i++)
      if (!(back[i] == x[first + i])) changed++;
    if (keep_rounded) memcpy(x + first, back, count * sizeof *x);
  }
  return changed;
}

/* Whether a half type holds all of x [n]. Where it does not, the first ones tell already. */
static bool holds_all(enum nk_dtype dtype, float *x, size_t n) {
  size_t some = n < 1 << 14 ? n : 1 << 14;
  return nki_round_trip(x, some, dtype, false) == 0 && nki_round_trip(x, n, dtype, false) == 0;
}

/* Settles how the tokens are kept, and rounds them where that is coarser than they are. */
static int settle_tokens(struct nk_region *region, enum nk_region_tokens keep) {
  size_t size = region->tokens->n * region->dim;
  float *x = nk_vectors_writable(region->tokens);
  region->keep = keep;
  if (keep == NK_TOKENS_AUTO)
    region->keep = holds_all(NK_BF16, x, size)  ? NK_TOKENS_BF16
                   : holds_all(NK_F16, x, size) ? NK_TOKENS_F16
                                                : NK_TOKENS_F32;
  if (keep != NK_TOKENS_F16 && keep != NK_TOKENS_BF16) return NK_OK;
  enum nk_dtype dtype = keep == NK_TOKENS_F16 ? NK_F16 : NK_BF16;
  nki_round_trip(x, size, dtype, true);
  return nki_check_rows(x, NULL, 0, region->tokens->n, region->dim) == NK_OK
             ? NK_OK
             : nk_fail(NK_EDATA, "values exceed the range of %s: keep the tokens as F32",
                       nk_dtype_names[dtype]);
}

/* The rows in the order of a seeded permutation, those of each part sorted again as they stood. */
static int split(struct nk_region *region, const struct nk_vectors *set, const size_t *rows,
                 size_t n) {
  size_t *order = nk_alloc(n, sizeof *order), *chosen = nk_alloc(n, sizeof *chosen);
  unsigned char *part = nk_alloc(n, 1);
  int code = order != NULL && chosen != NULL && part != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    struct nki_random random = nki_random_stream(region->seed, NKI_RANDOM_SPLIT, 0);
    nki_random_permutation(&random, n, order);
    for (size_t i = 0; i < n; i++)
      part[order[i]] = i < region->n_fit ? 0 : i < region->n_fit + region->n_ranks ? 1 : 2;
    size_t count = 0;
    for (unsigned char p = 0; p < 3; p++)
      for (size_t i = 0; i < n; i++)
        if (part[i] == p) chosen[count++] = rows != NULL ? rows[i] : i;
    region->tokens = nki_vectors_select(set, chosen, n);
    if (region->tokens == NULL) code = nk_error_code();
  }
  nk_free(order);
  nk_free(chosen);
  nk_free(part);
  return code;
}

/* As many components as explain nine tenths of the variance, less than dim. */
static size_t enough_components(const struct nk_pca *pca) {
  double sum = 0;
  size_t count = 0;
  while (count + 1 < pca->dim && sum < 0.9 * pca->total_variance) sum += pca->eigenvalues[count++];
  return count;
}

/* Mean, covariance and, where the kind needs it, the basis of the fitting tokens. */
static int fit_distribution(struct nk_region *region, size_t n_components) {
  struct nk_moments *moments =
      nk_moments_compute(region->tokens->values, NULL, region->n_fit, region->dim);
  if (moments == NULL) return nk_error_code();
  if (nki_region_takes(region->kind, NK_REGION_SUBSPACE)) {
    region->basis = nk_pca_new(moments, region->dim, false);
    if (region->basis == NULL) {
      nk_moments_free(moments);
      return nk_error_code();
    }
    region->n_components = n_components == 0 ? enough_components(region->basis) : n_components;
    nki_pca_drop_precise(region->basis, region->n_components);
  }
  double shrinkage = nki_ledoit_wolf(moments), n = (double)region->n_fit;
  double mean_variance = moments->total_variance / (double)region->dim;
  region->gaussian = nk_gaussian_new(moments, shrinkage, true);
  if (region->gaussian == NULL) return nk_error_code();
  for (size_t k = 0; region->basis != NULL && k < region->dim; k++)
    region->basis->eigenvalues[k] =
        (1 - shrinkage) * region->basis->eigenvalues[k] * (n - 1) / n + shrinkage * mean_variance;
  if (region->basis != NULL) nki_pca_summarize(region->basis);
  return NK_OK;
}

/* The ranks and the calibration, by the tokens that had no part in fitting. */
static int calibrate(struct nk_region *region) {
  size_t first = region->n_fit, n = region->n_calibration;
  const float *x = region->tokens->values;
  int code = NK_OK;
  if (region->n_ranks > 0) {
    const struct nki_region_rows rows = {x + first * region->dim, region->n_ranks, .token = first};
    code = nki_region_fit_combined(region, &rows);
    first += region->n_ranks;
  }
  double *scores = nk_alloc(n, sizeof *scores);
  if (scores == NULL) code = NK_EMEMORY;
  if (code == NK_OK)
    code = nki_region_score(
        region, &(struct nki_region_rows){x + first * region->dim, n, .token = first}, scores);
  if (code == NK_OK) {
    region->calibration = nki_conformal_new(scores, n);
    if (region->calibration == NULL) code = nk_error_code();
  }
  nk_free(scores);
  return code;
}

static int check_options(const struct nk_vectors *set, size_t n,
                         const struct nk_region_options *o) {
  size_t least = o->kind == NK_REGION_COMBINED ? 10 : 4;
  if (o->kind >= NK_N_REGION_KINDS) return nk_fail(NK_EUSAGE, "unknown kind of region");
  if (n < least)
    return nk_fail(NK_EDATA, "%zu rows are too few for a region: at least %zu are needed", n,
                   least);
  if (nki_region_takes(o->kind, NK_REGION_SUBSPACE) && o->n_components >= set->dim)
    return nk_fail(NK_EUSAGE, "%zu components of %zu: no residual is left as a score",
                   o->n_components, set->dim);
  if (nki_region_takes(o->kind, NK_REGION_KNN) && o->tokens == NK_TOKENS_NONE)
    return nk_fail(NK_EUSAGE, "a region of kind %s has to keep its tokens",
                   nk_region_kind_names[o->kind]);
  if (o->metric > NK_METRIC_COSINE)
    return nk_fail(NK_EUSAGE, "neighbours are searched by l2 or cosine");
  return nki_vectors_need_values(set);
}

/* The distances that cost little beside fitting; those to neighbours only for a kind that uses
 * them. */
static int own_distances(struct nk_region *region) {
  for (int m = NK_METRIC_L2; m < NK_N_METRICS; m++) {
    if (m == NK_METRIC_KNN && !nki_region_takes(region->kind, NK_REGION_KNN)) continue;
    if (nki_region_own(region, (enum nk_metric)m) == NULL) return nk_error_code();
  }
  return NK_OK;
}

/* Frees the values of the tokens but not their ids and texts. */
static int forget_tokens(struct nk_region *region) {
  struct nk_vectors *tokens = region->tokens;
  struct nk_vectors *bare = nki_region_tokens(tokens->n, region->dim, NULL, tokens->ids,
                                              tokens->text, tokens->text_offsets);
  int code = bare != NULL ? NK_OK : nk_error_code();
  for (const char *const *key = nki_region_metadata; *key != NULL && code == NK_OK; key++) {
    const char *value = nk_vectors_metadata(tokens, *key);
    if (value != NULL) code = nk_vectors_set_metadata(bare, *key, value);
  }
  if (code != NK_OK) {
    nk_vectors_free(bare);
    return code;
  }
  nk_vectors_free(tokens);
  region->tokens = bare;
  return NK_OK;
}

struct nk_region *nk_region_fit(const struct nk_vectors *set, const size_t *rows, size_t n,
                                const struct nk_region_options *options) {
  static const struct nk_region_options usual = {0};
  struct nk_region *region = NULL;
  int code = NK_OK;
  if (set == NULL) {
    nki_null("the tokens");
    return NULL;
  }
  if (options == NULL) options = &usual;
  if (rows == NULL && n == 0) n = set->n;
  if (rows == NULL && n > set->n) code = nk_fail(NK_EUSAGE, "%zu rows: the set has %zu", n, set->n);
  if (code == NK_OK) code = check_options(set, n, options);
  if (code != NK_OK) goto done;
  region = nk_calloc(1, sizeof *region);
  code = region != NULL ? NK_OK : NK_EMEMORY;
  if (code != NK_OK) goto done;
  region->kind = options->kind;
  region->dim = set->dim;
  region->k = options->k > 0 ? options->k : USUAL_K;
  region->metric = options->metric == NK_METRIC_COSINE ? NK_METRIC_COSINE : NK_METRIC_L2;
  region->seed = options->seed;
  size_t half = n / 2;
  region->n_ranks = options->kind == NK_REGION_COMBINED ? (half + 4) / 5 : 0;
  region->n_fit = half - region->n_ranks;
  region->n_calibration = n - half;

  code = split(region, set, rows, n);
  if (code == NK_OK) code = settle_tokens(region, options->tokens);
  if (code == NK_OK) code = fit_distribution(region, options->n_components);
  if (code == NK_OK) code = own_distances(region);
  if (code == NK_OK) code = calibrate(region);
  if (code == NK_OK && options->tokens == NK_TOKENS_NONE) code = forget_tokens(region);

done:
  if (code == NK_OK) return region;
  nk_region_free(region);
  return NULL;
}

void nk_region_free(struct nk_region *region) {
  if (region == NULL) return;
  nk_vectors_free(region->tokens);
  nk_gaussian_free(region->gaussian);
  nk_pca_free(region->basis);
  nk_gaussian_free(region->joint);
  nki_conformal_free(region->calibration);
  nk_free(region->ranks);
  for (int m = 0; m < NK_N_METRICS; m++) nk_free(region->own[m]);
  nk_free(region);
}

/* ---- Distances ---- */

int nki_region_distances(const struct nk_region *region, enum nk_metric metric, const float *x,
                         size_t n, double *out) {
  if (region == NULL || x == NULL) return nki_null("the region or the vectors");
  if (metric == NK_METRIC_DEFAULT) metric = NK_METRIC_MAHALANOBIS;
  if (n == 0) return NK_OK;
  if (metric == NK_METRIC_MAHALANOBIS) return nki_region_mahalanobis(region, x, n, out);
  if (metric == NK_METRIC_KNN) return nki_region_knn(region, NULL, x, n, out, NULL);
  nk_row_distances(x, n, region->dim, nki_gaussian_mean(region->gaussian), NULL,
                   metric == NK_METRIC_L2 ? out : NULL, metric == NK_METRIC_COSINE ? out : NULL);
  return NK_OK;
}

const double *nki_region_own(struct nk_region *region, enum nk_metric metric) {
  size_t n = region->tokens->n, dim = region->dim;
  if (metric == NK_METRIC_DEFAULT) metric = NK_METRIC_MAHALANOBIS;
  if (region->own[metric] != NULL) return region->own[metric];
  const float *x = region->tokens->values;
  if (x == NULL) {
    nk_fail(NK_EUSAGE, "%s distances: the region does not hold its tokens",
            nk_metric_names[metric]);
    return NULL;
  }
  double *own = nk_alloc(n, sizeof *own);
  if (own == NULL) return NULL;
  int code;
  if (metric == NK_METRIC_KNN) { /* the fitting tokens are not their own neighbours */
    code = nki_region_knn(region, NULL, NULL, 0, own, NULL);
    if (code == NK_OK)
      code = nki_region_knn(region, NULL, x + region->n_fit * dim, n - region->n_fit,
                            own + region->n_fit, NULL);
  } else {
    code = nki_region_distances(region, metric, x, n, own);
  }
  if (code == NK_OK) return region->own[metric] = own;
  nk_free(own);
  return NULL;
}

/* ---- Components ---- */

const struct nk_pca *nk_region_basis(struct nk_region *region) {
  if (region == NULL) {
    nki_null("the region");
    return NULL;
  }
  size_t dim = region->dim;
  if (region->basis != NULL) return region->basis;
  struct nk_moments *moments = nk_calloc(1, sizeof *moments);
  if (moments == NULL) return NULL;
  moments->n = region->n_fit;
  moments->dim = dim;
  moments->mean = nk_alloc(dim, sizeof(double));
  moments->covariance = nk_alloc(dim, dim * sizeof(double));
  if (moments->mean == NULL || moments->covariance == NULL) {
    nk_moments_free(moments);
    return NULL;
  }
  memcpy(moments->mean, nki_gaussian_mean(region->gaussian), dim * sizeof(double));
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < dim; j++)
      moments->covariance[i * dim + j] = nki_gaussian_covariance(region->gaussian, i, j);
  region->basis = nk_pca_new(moments, dim, true);
  if (region->basis == NULL) return NULL;
  double n = (double)region->n_fit;
  for (size_t k = 0; k < dim; k++) region->basis->eigenvalues[k] *= (n - 1) / n;
  nki_pca_summarize(region->basis);
  return region->basis;
}
