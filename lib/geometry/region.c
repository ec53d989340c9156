/* Regions: the split, the three scores and the one made of them, calibration, the tokens' own
 * distances, and the view of a region in two components. Files are in region_file.c. */
#include "geometry/region.h"

#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <string.h>
#include "base/random.h"
#include "model/dtype.h"

#include <noken/model.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/internal.h"
#include "io/vectors.h"

const char *nk_region_kind_name(enum nk_region_kind kind) {
  static const char *const NAMES[NK_N_REGION_KINDS] = {"mahalanobis", "knn", "subspace",
                                                       "combined"};
  return (size_t)kind < NK_N_REGION_KINDS ? NAMES[kind] : "";
}

bool nki_region_takes(enum nk_region_kind kind, enum nk_region_kind score) {
  return kind == score || kind == NK_REGION_COMBINED;
}

enum nk_dtype nki_token_dtype(enum nk_region_tokens keep) {
  return keep == NK_TOKENS_F16 ? NK_F16 : keep == NK_TOKENS_BF16 ? NK_BF16 : NK_F32;
}

/* ---- The three scores ---- */

static int score_mahalanobis(const struct nk_region *region, const float *x, size_t n,
                             double *out) {
  float *distances = nk_alloc(n, sizeof *distances);
  int code = distances != NULL ? nk_mahalanobis(region->gaussian, x, n, distances) : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) out[i] = (double)distances[i];
  nk_free(distances);
  return code;
}

/* Distance to the k-th nearest (or the last there is) of the fitting tokens; x NULL: of each of
 * those themselves to the others. */
static int score_knn(const struct nk_region *region, const float *x, size_t n, double *out) {
  const struct nk_knn_options options = {.k = region->k, .metric = region->metric};
  if (region->tokens->values == NULL)
    return nk_fail(NK_EUSAGE,
                   "the region was made without its tokens (--tokens none), which "
                   "distances to neighbours need");
  struct nk_knn *knn =
      nk_knn_search(region->tokens->values, region->n_fit, region->dim, x, n, &options);
  if (knn == NULL) return nk_error_code();
  for (size_t i = 0; i < knn->n; i++)
    out[i] = knn->k > 0 ? knn->distances[i * knn->k + knn->k - 1] : 0;
  nk_knn_free(knn);
  return NK_OK;
}

/* Length of the part of x - mean in the components after the first n_components: by those
 * components, as the difference of two squares would lose digits. */
static int score_subspace(const struct nk_region *region, const float *x, size_t n, double *out) {
  size_t dim = region->dim, rest = dim - region->n_components;
  size_t block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  const float *components = region->basis->components + region->n_components * dim;
  float *block = nk_alloc(block_rows, dim * sizeof *block);
  float *scores = nk_alloc(block_rows, rest * sizeof *scores);
  int code = block != NULL && scores != NULL ? NK_OK : NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t count = n - first < block_rows ? n - first : block_rows, bad = 0;
    nki_copy_rows_centred(x, NULL, first, count, dim, region->basis->mean, block);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)rest, (int)dim, 1.0f,
                block, (int)dim, components, (int)dim, 0.0f, scores, (int)rest);
#pragma omp parallel for schedule(static) reduction(+ : bad)
    for (size_t i = 0; i < count; i++) {
      out[first + i] = sqrt(nki_sum_squares(scores + i * rest, rest));
      if (!isfinite(out[first + i])) bad++;
    }
    if (bad > 0 && (code = nki_check_rows(x, NULL, first, count, dim)) == NK_OK)
      code = nk_fail(NK_EDATA, "a vector is too long for its distance to be a number");
    if (code == NK_OK) code = nk_progress("residuals", first + count, n);
  }
  nk_free(block);
  nk_free(scores);
  return code;
}

static int score_one(const struct nk_region *region, enum nk_region_kind score, const float *x,
                     size_t n, double *out) {
  if (n == 0) return NK_OK;
  return score == NK_REGION_MAHALANOBIS ? score_mahalanobis(region, x, n, out)
         : score == NK_REGION_KNN       ? score_knn(region, x, n, out)
                                        : score_subspace(region, x, n, out);
}

/* ---- The combined score ---- */

/* How far the rank of a score among sorted [m] lies from the middle one. Between two scores the
 * rank is linear; beyond the largest or least it grows by one for each distance of that from the
 * median. */
static double rank_from_middle(const double *sorted, size_t m, double score) {
  double least = sorted[0], most = sorted[m - 1], median = nk_quantile_sorted(sorted, m, 0.5);
  double middle = 0.5 * (double)(m - 1);
  if (score > most) return middle + (score - most) / (most > median ? most - median : 1);
  if (score < least) return middle + (least - score) / (least < median ? median - least : 1);
  size_t below = 0, above = m - 1; /* sorted[below - 1] < score <= sorted[above] */
  while (below < above) {
    size_t between = below + (above - below) / 2;
    if (sorted[between] < score)
      below = between + 1;
    else
      above = between;
  }
  double rank = (double)above;
  if (above > 0) rank -= (sorted[above] - score) / (sorted[above] - sorted[above - 1]);
  return fabs(rank - middle);
}

static int score_combined(const struct nk_region *region, const float *x, size_t n, double *out) {
  double *part = nk_alloc(n, sizeof *part);
  int code = part != NULL ? NK_OK : NK_EMEMORY;
  for (int j = 0; j < 3 && code == NK_OK; j++) {
    const double *sorted = region->ranks + (size_t)j * region->n_ranks;
    code = score_one(region, (enum nk_region_kind)j, x, n, part);
    for (size_t i = 0; i < n && code == NK_OK; i++) {
      double rank = rank_from_middle(sorted, region->n_ranks, part[i]);
      if (j == 0 || rank > out[i]) out[i] = rank;
    }
  }
  nk_free(part);
  return code;
}

static int score_rows(const struct nk_region *region, const float *x, size_t n, double *out) {
  if (n == 0) return NK_OK;
  return region->kind == NK_REGION_COMBINED ? score_combined(region, x, n, out)
                                            : score_one(region, region->kind, x, n, out);
}

int nk_region_score(const struct nk_region *region, const float *x, size_t n, double *scores,
                    double *p_values) {
  double *own = scores != NULL ? scores : nk_alloc(n, sizeof *own);
  if (own == NULL) return NK_EMEMORY;
  int code = score_rows(region, x, n, own);
  for (size_t i = 0; i < n && code == NK_OK && p_values != NULL; i++)
    p_values[i] = nk_conformal_p(region->calibration, own[i]);
  if (scores == NULL) nk_free(own);
  return code;
}

/* ---- Fitting ---- */

/* Rounds x [n] to a half type and back; returns how many values that changed. */
static size_t round_trip(float *x, size_t n, enum nk_dtype dtype, bool keep_rounded) {
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

/* Settles how the tokens are kept, and rounds them where that is coarser than they are. */
static int settle_tokens(struct nk_region *region, enum nk_region_tokens keep) {
  size_t size = region->tokens->n * region->dim;
  float *x = nk_vectors_writable(region->tokens);
  region->keep = keep;
  if (keep == NK_TOKENS_AUTO)
    region->keep = round_trip(x, size, NK_BF16, false) == 0  ? NK_TOKENS_BF16
                   : round_trip(x, size, NK_F16, false) == 0 ? NK_TOKENS_F16
                                                             : NK_TOKENS_F32;
  if (keep != NK_TOKENS_F16 && keep != NK_TOKENS_BF16) return NK_OK;
  enum nk_dtype dtype = nki_token_dtype(keep);
  round_trip(x, size, dtype, true);
  return nki_check_rows(x, NULL, 0, region->tokens->n, region->dim) == NK_OK
             ? NK_OK
             : nk_fail(NK_EDATA, "values beyond what %s holds: keep the tokens as F32",
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
  double total = nk_pca_total_variance(pca), sum = 0;
  size_t count = 0;
  while (count + 1 < pca->dim && sum < 0.9 * total) sum += pca->eigenvalues[count++];
  return count;
}

/* Mean, covariance and, where the kind needs it, the basis of the fitting tokens. */
static int fit_distribution(struct nk_region *region, size_t n_components) {
  struct nk_moments *moments =
      nk_moments_compute(region->tokens->values, NULL, region->n_fit, region->dim);
  if (moments == NULL) return nk_error_code();
  if (nki_region_takes(region->kind, NK_REGION_SUBSPACE)) {
    region->basis = nk_pca_new(moments, region->dim, 0);
    if (region->basis == NULL) {
      nk_moments_free(moments);
      return nk_error_code();
    }
    region->n_components =
        n_components == SIZE_MAX ? enough_components(region->basis) : n_components;
  }
  double shrinkage = nk_ledoit_wolf(moments), n = (double)region->n_fit;
  double mean_variance = nk_total_variance(moments) / (double)region->dim;
  region->gaussian = nk_gaussian_new(moments, shrinkage, 1);
  if (region->gaussian == NULL) return nk_error_code();
  for (size_t k = 0; region->basis != NULL && k < region->dim; k++)
    region->basis->eigenvalues[k] =
        (1 - shrinkage) * region->basis->eigenvalues[k] * (n - 1) / n + shrinkage * mean_variance;
  return NK_OK;
}

/* The scores' ranks and the calibration, by the tokens that had no part in fitting. */
static int calibrate(struct nk_region *region) {
  const float *x = region->tokens->values + region->n_fit * region->dim;
  if (region->n_ranks > 0) {
    region->ranks = nk_alloc(3 * region->n_ranks, sizeof *region->ranks);
    if (region->ranks == NULL) return NK_EMEMORY;
    for (size_t j = 0; j < 3; j++) {
      double *scores = region->ranks + j * region->n_ranks;
      int code = score_one(region, (enum nk_region_kind)j, x, region->n_ranks, scores);
      if (code != NK_OK) return code;
      nk_sort_numbers(scores, region->n_ranks);
    }
    x += region->n_ranks * region->dim;
  }
  double *scores = nk_alloc(region->n_calibration, sizeof *scores);
  int code = scores != NULL ? score_rows(region, x, region->n_calibration, scores) : NK_EMEMORY;
  if (code == NK_OK) {
    region->calibration = nk_conformal_new(scores, region->n_calibration);
    if (region->calibration == NULL) code = nk_error_code();
  }
  nk_free(scores);
  return code;
}

static int check_options(const struct nk_vectors *set, size_t n,
                         const struct nk_region_options *o) {
  size_t least = o->kind == NK_REGION_COMBINED ? 10 : 4;
  if (n < least)
    return nk_fail(NK_EDATA, "%zu rows are too few for a region (%zu are needed)", n, least);
  if (nki_region_takes(o->kind, NK_REGION_SUBSPACE) && o->n_components != SIZE_MAX &&
      o->n_components >= set->dim)
    return nk_fail(NK_EUSAGE, "%zu components of %zu leave nothing over to score", o->n_components,
                   set->dim);
  if (nki_region_takes(o->kind, NK_REGION_KNN) && o->tokens == NK_TOKENS_NONE)
    return nk_fail(NK_EUSAGE, "a region of kind %s has to keep its tokens",
                   nk_region_kind_name(o->kind));
  if (o->metric != NK_METRIC_L2 && o->metric != NK_METRIC_COSINE)
    return nk_fail(NK_EUSAGE, "neighbours are searched by l2 or cosine");
  return NK_OK;
}

/* The distances that cost little beside fitting; those to neighbours only where they are the kind's
 * own. */
static int own_distances(struct nk_region *region) {
  for (int m = 0; m < NK_N_METRICS; m++) {
    if (m == NK_METRIC_KNN && !nki_region_takes(region->kind, NK_REGION_KNN)) continue;
    if (nk_region_own(region, (enum nk_metric)m) == NULL) return nk_error_code();
  }
  return NK_OK;
}

/* Gives up the values of the tokens but not their ids and texts. */
static int forget_tokens(struct nk_region *region) {
  struct nk_vectors *tokens = region->tokens;
  struct nk_vectors *bare =
      nki_region_tokens(tokens->n, region->dim, NULL, tokens->ids, tokens->text_offsets != NULL,
                        tokens->text, tokens->text_offsets);
  int code = bare != NULL ? nki_region_metadata(bare, tokens) : nk_error_code();
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
  if (check_options(set, n, options) != NK_OK) return NULL;
  struct nk_region *region = nk_calloc(1, sizeof *region);
  if (region == NULL) return NULL;
  region->kind = options->kind;
  region->dim = set->dim;
  region->k = options->k > 0 ? options->k : 10;
  region->metric = options->metric;
  region->seed = options->seed;
  size_t half = n / 2;
  region->n_ranks = options->kind == NK_REGION_COMBINED ? (half + 4) / 5 : 0;
  region->n_fit = half - region->n_ranks;
  region->n_calibration = n - half;

  int code = split(region, set, rows, n);
  if (code == NK_OK) code = settle_tokens(region, options->tokens);
  if (code == NK_OK) code = fit_distribution(region, options->n_components);
  if (code == NK_OK) code = calibrate(region);
  if (code == NK_OK) code = own_distances(region);
  if (code == NK_OK && options->tokens == NK_TOKENS_NONE) code = forget_tokens(region);
  if (code == NK_OK) return region;
  nk_region_free(region);
  return NULL;
}

void nk_region_free(struct nk_region *region) {
  if (region == NULL) return;
  nk_vectors_free(region->tokens);
  nk_gaussian_free(region->gaussian);
  nk_pca_free(region->basis);
  nk_conformal_free(region->calibration);
  nk_free(region->ranks);
  for (int m = 0; m < NK_N_METRICS; m++) nk_free(region->own[m]);
  nk_free(region);
}

/* ---- Distances ---- */

int nk_region_distances(const struct nk_region *region, enum nk_metric metric, const float *x,
                        size_t n, double *out) {
  if (n == 0) return NK_OK;
  if (metric == NK_METRIC_MAHALANOBIS) return score_mahalanobis(region, x, n, out);
  if (metric == NK_METRIC_KNN) return score_knn(region, x, n, out);
  nk_row_distances(x, n, region->dim, nk_gaussian_mean(region->gaussian), NULL,
                   metric == NK_METRIC_L2 ? out : NULL, metric == NK_METRIC_COSINE ? out : NULL);
  return NK_OK;
}

const double *nk_region_own(struct nk_region *region, enum nk_metric metric) {
  size_t n = region->tokens->n, dim = region->dim;
  if (region->own[metric] != NULL) return region->own[metric];
  const float *x = region->tokens->values;
  if (x == NULL) {
    nk_fail(NK_EUSAGE, "the region was made without its tokens (--tokens none)");
    return NULL;
  }
  double *own = nk_alloc(n, sizeof *own);
  if (own == NULL) return NULL;
  int code;
  if (metric == NK_METRIC_KNN) { /* the fitting tokens are not their own neighbours */
    code = score_knn(region, NULL, 0, own);
    if (code == NK_OK)
      code = score_knn(region, x + region->n_fit * dim, n - region->n_fit, own + region->n_fit);
  } else {
    code = nk_region_distances(region, metric, x, n, own);
  }
  if (code == NK_OK) return region->own[metric] = own;
  nk_free(own);
  return NULL;
}

/* ---- Components ---- */

const struct nk_pca *nk_region_basis(struct nk_region *region) {
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
  memcpy(moments->mean, nk_gaussian_mean(region->gaussian), dim * sizeof(double));
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < dim; j++)
      moments->covariance[i * dim + j] = nk_gaussian_covariance(region->gaussian, i, j);
  region->basis = nk_pca_new(moments, dim, 1);
  if (region->basis == NULL) return NULL;
  double n = (double)region->n_fit;
  for (size_t k = 0; k < dim; k++) region->basis->eigenvalues[k] *= (n - 1) / n;
  return region->basis;
}

/* u^T C v for rows u and v. */
static double covariance_along(const nk_gaussian *dist, const float *u, const float *v) {
  size_t dim = nk_gaussian_dim(dist);
  double sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (size_t i = 0; i < dim; i++) {
    double product = 0;
    for (size_t j = 0; j < dim; j++) product += nk_gaussian_covariance(dist, i, j) * (double)v[j];
    sum += (double)u[i] * product;
  }
  return sum;
}

int nk_region_projection(const struct nk_region *region, const struct nk_pca *basis, size_t a,
                         size_t b, double centre[2], double covariance[3]) {
  size_t dim = region->dim;
  if (basis->dim != dim)
    return nk_fail(NK_EDATA, "the basis is for vectors of %zu values, the region for %zu",
                   basis->dim, dim);
  if (a >= basis->n_components || b >= basis->n_components || a == b)
    return nk_fail(NK_EUSAGE, "components %zu and %zu: two different ones of %zu are needed", a + 1,
                   b + 1, basis->n_components);
  const float *u = basis->components + a * dim, *v = basis->components + b * dim;
  const double *mean = nk_gaussian_mean(region->gaussian);
  centre[0] = centre[1] = 0;
  for (size_t j = 0; j < dim; j++) {
    centre[0] += (mean[j] - basis->mean[j]) * (double)u[j];
    centre[1] += (mean[j] - basis->mean[j]) * (double)v[j];
  }
  covariance[0] = covariance_along(region->gaussian, u, u);
  covariance[1] = covariance_along(region->gaussian, u, v);
  covariance[2] = covariance_along(region->gaussian, v, v);
  return NK_OK;
}

/* In two dimensions the squared Mahalanobis distance is chi-squared with two degrees of freedom,
 * whose quantile is -2 ln(1 - part). The circle of that radius through the Cholesky factor. */
void nk_ellipse(const double centre[2], const double covariance[3], double part, size_t n,
                double *x, double *y) {
  double radius = sqrt(-2 * log1p(-part)), l11 = sqrt(covariance[0]);
  double l21 = l11 > 0 ? covariance[1] / l11 : 0;
  double rest = covariance[2] - l21 * l21, l22 = rest > 0 ? sqrt(rest) : 0;
  for (size_t i = 0; i < n; i++) {
    double angle = n > 1 ? 2 * 3.14159265358979323846 * (double)i / (double)(n - 1) : 0;
    if (i + 1 == n) angle = 0;
    double c = radius * cos(angle), s = radius * sin(angle);
    x[i] = centre[0] + l11 * c;
    y[i] = centre[1] + l21 * c + l22 * s;
  }
}
