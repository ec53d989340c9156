/* The scores of regions: the three distances, and the one score made of features of a row. The
 * formulas are in noken/region.h. */
#include "geometry/region.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/geometry.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/neighbours.h"

/* ---- The three distances ---- */

int nki_region_mahalanobis(const struct nk_region *region, const float *x, size_t n, double *out) {
  float *distances = nk_alloc(n, sizeof *distances);
  int code = distances != NULL ? nk_mahalanobis(region->gaussian, x, n, distances) : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) out[i] = (double)distances[i];
  nk_free(distances);
  return code;
}

static int fail_without_tokens(void) {
  return nk_fail(NK_EUSAGE, "distances to neighbours: the region does not hold its tokens");
}

struct nki_base *nki_region_base(const struct nk_region *region) {
  if (region->tokens->values != NULL)
    return nki_base_new(region->tokens->values, region->n_fit, region->dim, region->metric);
  fail_without_tokens();
  return NULL;
}

int nki_region_knn(const struct nk_region *region, const struct nki_base *base, const float *x,
                   size_t n, double *out, int64_t *kth) {
  const struct nk_knn_options options = {.k = region->k, .metric = region->metric};
  if (region->tokens->values == NULL) return fail_without_tokens();
  struct nk_knn *knn = base != NULL ? nki_base_search(base, x, n, &options)
                                    : nk_knn_search(region->tokens->values, region->n_fit,
                                                    region->dim, x, n, &options);
  if (knn == NULL) return nk_error_code();
  for (size_t i = 0; i < knn->n; i++)
    out[i] = knn->k > 0 ? knn->distances[i * knn->k + knn->k - 1] : 0;
  for (size_t i = 0; i < knn->n && kth != NULL; i++)
    kth[i] = knn->k > 0 ? knn->rows[i * knn->k + knn->k - 1] : -1;
  nk_knn_free(knn);
  return NK_OK;
}

/* scores [n, rest] of a block of rows on the components after the first n_components; work has room
 * for n rows of dim floats, or of dim + rest doubles where the basis has components in double. */
static void residual_scores(const struct nk_region *region, const float *x, size_t n, void *work,
                            float *scores) {
  const struct nk_pca *basis = region->basis;
  size_t dim = region->dim, first = region->n_components;
  const struct nki_range range = {first, dim - first};
  if (basis->precise == NULL) {
    nki_copy_rows_centred(x, NULL, 0, n, dim, basis->mean, work);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)range.count, (int)dim, 1.0f,
                work, (int)dim, basis->components + first * dim, (int)dim, 0.0f, scores,
                (int)range.count);
    return;
  }
  double *wide = (double *)work + n * dim;
  nki_pca_wide_scores(basis, x, n, &range, work, wide);
  for (size_t i = 0; i < n * range.count; i++) scores[i] = (float)wide[i];
}

/* Length of the part of x - mean in the components after the first n_components: by those
 * components, as the difference of two squares would lose digits. */
static int residual(const struct nk_region *region, const float *x, size_t n, double *out) {
  size_t dim = region->dim, rest = dim - region->n_components;
  size_t block_rows = nki_block_rows(dim) < n ? nki_block_rows(dim) : n;
  size_t width =
      region->basis->precise != NULL ? (dim + rest) * sizeof(double) : dim * sizeof(float);
  void *block = nk_alloc(block_rows, width);
  float *scores = nk_alloc(block_rows, rest * sizeof *scores);
  int code = block != NULL && scores != NULL ? NK_OK : NK_EMEMORY;
  for (size_t first = 0; first < n && code == NK_OK; first += block_rows) {
    size_t count = n - first < block_rows ? n - first : block_rows, bad = 0;
    residual_scores(region, x + first * dim, count, block, scores);
#pragma omp parallel for schedule(static) reduction(+ : bad)
    for (size_t i = 0; i < count; i++) {
      out[first + i] = sqrt(nki_sum_squares(scores + i * rest, rest));
      if (!isfinite(out[first + i])) bad++;
    }
    if (bad > 0 && (code = nki_check_rows(x, NULL, first, count, dim)) == NK_OK)
      code = nk_fail(NK_EDATA, "the distance of a vector exceeds a float's range");
    if (code == NK_OK) code = nk_progress("residuals", first + count, n);
  }
  nk_free(block);
  nk_free(scores);
  return code;
}

/* What a kind measures of the rows, where it is known already; else NULL. */
static const double *known(const struct nk_region *region, enum nk_region_kind kind,
                           const struct nki_region_rows *rows) {
  const double *own = kind == NK_REGION_MAHALANOBIS ? region->own[NK_METRIC_MAHALANOBIS]
                      : kind == NK_REGION_KNN       ? region->own[NK_METRIC_KNN]
                                                    : NULL;
  if (rows->token != NKI_NO_TOKENS && own != NULL) return own + rows->token;
  return kind == NK_REGION_KNN ? rows->knn : NULL;
}

/* out [n] = what a kind measures of the rows. */
static int measure(const struct nk_region *region, enum nk_region_kind kind,
                   const struct nki_region_rows *rows, double *out) {
  const double *found = known(region, kind, rows);
  if (found != NULL) {
    memcpy(out, found, rows->n * sizeof *out);
    return NK_OK;
  }
  return kind == NK_REGION_MAHALANOBIS ? nki_region_mahalanobis(region, rows->x, rows->n, out)
         : kind == NK_REGION_KNN
             ? nki_region_knn(region, rows->base, rows->x, rows->n, out, rows->kth)
             : residual(region, rows->x, rows->n, out);
}

/* ---- The combined score ---- */

enum {
  NORM = NKI_NORM,
  L2 = NKI_L2,
  MAHALANOBIS = NKI_MAHALANOBIS,
  KNN = NKI_KNN,
  RESIDUAL = NKI_RESIDUAL,
  N_FEATURES = NKI_N_FEATURES
};

_Static_assert((int)N_FEATURES == (int)NKI_N_JOINT, "the joint distance is of these features");

const enum nki_feature *nki_region_alone(const struct nk_region *region) {
  static const enum nki_feature ALONE[NKI_N_RANKED - 1] = {NKI_NORM, NKI_MAHALANOBIS, NKI_KNN};
  static const enum nki_feature LEGACY[NKI_N_RANKED - 1] = {NKI_MAHALANOBIS, NKI_KNN, NKI_RESIDUAL};
  return region->joint != NULL ? ALONE : LEGACY;
}

int nki_region_features(const struct nk_region *region, const struct nki_region_rows *rows,
                        double *out) {
  size_t n = rows->n;
  nk_row_distances(rows->x, n, region->dim, nki_gaussian_mean(region->gaussian), out + NORM * n,
                   out + L2 * n, NULL);
  int code = measure(region, NK_REGION_MAHALANOBIS, rows, out + MAHALANOBIS * n);
  if (code == NK_OK) code = measure(region, NK_REGION_KNN, rows, out + KNN * n);
  if (code == NK_OK) code = measure(region, NK_REGION_SUBSPACE, rows, out + RESIDUAL * n);
  return code;
}

/* out [n, N_FEATURES] = the logarithms of features [N_FEATURES, n], less mean (NULL: nothing). A
 * distance of 0 is as one of the smallest number. */
static void copy_logarithms(const double *features, size_t n, const double *mean, double *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t f = 0; f < N_FEATURES; f++) {
      double value = features[f * n + i];
      out[i * N_FEATURES + f] =
          log(value > DBL_MIN ? value : DBL_MIN) - (mean != NULL ? mean[f] : 0);
    }
}

int nki_region_joint(const struct nk_gaussian *joint, const double *features, size_t n, double *out,
                     double *slopes) {
  double *logs = nk_alloc(n, N_FEATURES * sizeof *logs);
  if (logs == NULL) return NK_EMEMORY;
  copy_logarithms(features, n, nki_gaussian_mean(joint), logs);
  if (slopes != NULL) memcpy(slopes, logs, n * N_FEATURES * sizeof *logs);
  nki_gaussian_whiten(joint, logs, n);
  for (size_t i = 0; i < n; i++) {
    double square = 0;
    for (size_t f = 0; f < N_FEATURES; f++)
      square += logs[i * N_FEATURES + f] * logs[i * N_FEATURES + f];
    out[i] = sqrt(square);
  }
  if (slopes != NULL) nki_gaussian_precision(joint, slopes, n);
  for (size_t i = 0; i < n && slopes != NULL; i++)
    for (size_t f = 0; f < N_FEATURES; f++) {
      double *slope = &slopes[i * N_FEATURES + f], size = out[i] * features[f * n + i];
      *slope = size > 0 ? *slope / size : 0;
    }
  nk_free(logs);
  return NK_OK;
}

/* The normal distribution of the logarithms of features [N_FEATURES, n]. The covariance is shrunk
 * by 1 / n towards its diagonal, which is enough for the five; what never differs gets a spread of
 * 1e-6 of its size. */
static struct nk_gaussian *fit_joint(const double *features, size_t n) {
  double mean[N_FEATURES] = {0}, packed[N_FEATURES * (N_FEATURES + 1) / 2];
  double *logs = nk_alloc(n, N_FEATURES * sizeof *logs), count = (double)n;
  if (logs == NULL) return NULL;
  copy_logarithms(features, n, NULL, logs);
  for (size_t i = 0; i < n; i++)
    for (size_t f = 0; f < N_FEATURES; f++) mean[f] += logs[i * N_FEATURES + f] / count;
  for (size_t f = 0, at = 0; f < N_FEATURES; f++)
    for (size_t g = 0; g <= f; g++, at++) {
      double sum = 0;
      for (size_t i = 0; i < n; i++)
        sum += (logs[i * N_FEATURES + f] - mean[f]) * (logs[i * N_FEATURES + g] - mean[g]);
      packed[at] = f == g ? sum / count + 1e-12 : sum / count * (1 - 1 / count);
    }
  nk_free(logs);
  return nki_gaussian_of(mean, packed, N_FEATURES);
}

/* The rank of a score among sorted [m], linear between them; for one that is among them. */
static double place_among(const double *sorted, size_t m, double score) {
  size_t above = nki_count_below(sorted, m, score); /* below m, as score <= sorted[m - 1] */
  double rank = (double)above;
  if (above > 0) rank -= (sorted[above] - score) / (sorted[above] - sorted[above - 1]);
  return rank;
}

/* How far the rank of a score lies from the middle one; beyond the largest or least it grows by one
 * for each distance of that from the median. */
static double rank_from_middle(const double *sorted, size_t m, double score) {
  double least = sorted[0], most = sorted[m - 1], median = nki_quantile_sorted(sorted, m, 0.5);
  double middle = 0.5 * (double)(m - 1);
  if (score > most) return middle + (score - most) / (most > median ? most - median : 1);
  if (score < least) return middle + (least - score) / (least < median ? median - least : 1);
  return fabs(place_among(sorted, m, score) - middle);
}

/* The same for a score that is unusual when it is large only: its rank, in units in which the
 * largest is as far from the middle as above. */
static double rank_above(const double *sorted, size_t m, double score) {
  if (score > sorted[m - 1]) return rank_from_middle(sorted, m, score);
  return 0.5 * place_among(sorted, m, score);
}

static double value_beyond(double end, double median, double distance) {
  double unit = fabs(end - median);
  return end + (end < median ? -distance : distance) * (unit > 0 ? unit : 1);
}

void nki_rank_limits(const double *sorted, size_t m, double rank, double *least, double *most) {
  double median = nki_quantile_sorted(sorted, m, 0.5), middle = 0.5 * (double)(m - 1);
  double part = rank / (double)(m - 1); /* of all ranks, on either side of the middle */
  if (rank > middle) {
    *most = value_beyond(sorted[m - 1], median, rank - middle);
    *least = value_beyond(sorted[0], median, rank - middle);
    return;
  }
  *most = nki_quantile_sorted(sorted, m, fmin(0.5 + part, 1));
  *least = nki_quantile_sorted(sorted, m, fmax(0.5 - part, 0));
}

void nki_region_combine(const struct nk_region *region, const double *features, const double *joint,
                        size_t n, double *out) {
  const enum nki_feature *alone = nki_region_alone(region);
  size_t m = region->n_ranks;
  for (size_t i = 0; i < n; i++) {
    double largest = 0;
    for (size_t j = 0; j < NKI_N_RANKED - 1; j++) {
      double rank = rank_from_middle(region->ranks + j * m, m, features[alone[j] * n + i]);
      if (rank > largest) largest = rank;
    }
    if (joint != NULL) {
      double rank = rank_above(region->ranks + (NKI_N_RANKED - 1) * m, m, joint[i]);
      if (rank > largest) largest = rank;
    }
    out[i] = largest;
  }
}

static int score_combined(const struct nk_region *region, const struct nki_region_rows *rows,
                          double *out) {
  double *features = nk_alloc(rows->n, N_FEATURES * sizeof *features);
  double *joint = region->joint != NULL ? nk_alloc(rows->n, sizeof *joint) : NULL;
  int code = features == NULL || (joint == NULL && region->joint != NULL)
                 ? NK_EMEMORY
                 : nki_region_features(region, rows, features);
  if (code == NK_OK && joint != NULL)
    code = nki_region_joint(region->joint, features, rows->n, joint, NULL);
  if (code == NK_OK) nki_region_combine(region, features, joint, rows->n, out);
  nk_free(features);
  nk_free(joint);
  return code;
}

int nki_region_fit_combined(struct nk_region *region, const struct nki_region_rows *rows) {
  size_t n = rows->n;
  double *features = nk_alloc(n, N_FEATURES * sizeof *features);
  region->ranks = nk_alloc(NKI_N_RANKED, n * sizeof *region->ranks);
  int code = features != NULL && region->ranks != NULL ? nki_region_features(region, rows, features)
                                                       : NK_EMEMORY;
  if (code == NK_OK && (region->joint = fit_joint(features, n)) == NULL) code = nk_error_code();
  if (code == NK_OK)
    code =
        nki_region_joint(region->joint, features, n, region->ranks + (NKI_N_RANKED - 1) * n, NULL);
  for (size_t j = 0; j < NKI_N_RANKED && code == NK_OK; j++) {
    double *sorted = region->ranks + j * n;
    if (j < NKI_N_RANKED - 1)
      memcpy(sorted, features + nki_region_alone(region)[j] * n, n * sizeof *sorted);
    nki_sort_numbers(sorted, n);
  }
  nk_free(features);
  return code;
}

int nki_region_score(const struct nk_region *region, const struct nki_region_rows *rows,
                     double *out) {
  if (rows->n == 0) return NK_OK;
  return region->kind == NK_REGION_COMBINED ? score_combined(region, rows, out)
                                            : measure(region, region->kind, rows, out);
}
