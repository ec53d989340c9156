/* The indicators that are columns of their own: how far a row is from where unused rows, or typical
 * rows, are. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>
#include "base/random.h"

#include "geometry/internal.h"
#include "glitch/constants.h"
#include "glitch/internal.h"

/* What angles are measured from, and to: [dim] each. What lies along the axis, a unit vector or
 * zeros, is left out. */
struct frame {
  const double *origin, *target, *axis;
};

/* sums = { (x - origin) . (target - origin), |x - origin|^2, (x - origin) . axis } of one row. */
NKI_CLONES static void add_products(const float *restrict x, const double *restrict origin,
                                    const double *restrict target, const double *restrict axis,
                                    size_t dim, double sums[3]) {
  double product[NKI_LANES] = {0}, square[NKI_LANES] = {0}, along[NKI_LANES] = {0};
  size_t j = 0;
  for (; j + NKI_LANES <= dim; j += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double o = origin[j + l], value = (double)x[j + l] - o;
      product[l] += value * (target[j + l] - o);
      square[l] += value * value;
      along[l] += value * axis[j + l];
    }
  sums[0] = sums[1] = sums[2] = 0;
  for (; j < dim; j++) {
    double value = (double)x[j] - origin[j];
    sums[0] += value * (target[j] - origin[j]);
    sums[1] += value * value;
    sums[2] += value * axis[j];
  }
  for (size_t l = 0; l < NKI_LANES; l++) {
    sums[0] += product[l];
    sums[1] += square[l];
    sums[2] += along[l];
  }
}

/* out [n] = the cosine distance, 1 - cos, of each row of x [n, dim] and the target, seen from the
 * origin. NaN where one of the two has no length. */
static void angles(const float *x, size_t n, size_t dim, const struct frame *frame, double *out) {
  double target_squares = 0, target_along = 0;
  for (size_t j = 0; j < dim; j++) {
    double t = frame->target[j] - frame->origin[j];
    target_squares += t * t;
    target_along += t * frame->axis[j];
  }
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    double sums[3];
    add_products(x + i * dim, frame->origin, frame->target, frame->axis, dim, sums);
    double product = sums[0] - sums[2] * target_along;
    double lengths = sqrt(fmax(sums[1] - sums[2] * sums[2], 0) *
                          fmax(target_squares - target_along * target_along, 0));
    out[i] = lengths > 0 ? fmax(1 - product / lengths, 0) : (double)NAN;
  }
}

double *nki_column(struct nk_glitch *glitch, const char *name, bool large_is_odd) {
  struct nk_glitch_column *columns =
      nk_realloc(glitch->columns, glitch->n_columns, glitch->n_columns + 1, sizeof *columns);
  if (columns == NULL) return NULL;
  glitch->columns = columns;
  double *values = nk_alloc(glitch->n, sizeof *values);
  if (values != NULL)
    columns[glitch->n_columns++] = (struct nk_glitch_column){name, values, large_is_odd};
  return values;
}

int nki_output_columns(struct nk_glitch *glitch, const float *x, struct nk_moments *moments) {
  const struct nki_evidence *output = &glitch->own->output;
  size_t n = glitch->n, dim = moments->dim;
  double *unused = nk_alloc(dim, sizeof *unused), *zero = nk_calloc(dim, sizeof *zero);
  double *axis = nk_alloc(dim, sizeof *axis);
  struct nk_pca *pca = nk_pca_new(moments, 1, 0);
  double *cosine = nki_column(glitch, "output_cosine", false);
  double *centred = nki_column(glitch, "output_cosine_centred", false);
  double *minus_pc = nki_column(glitch, "output_cosine_minus_pc", false);
  double *l2 = nki_column(glitch, "output_l2", false);
  double *exposure = nki_column(glitch, "exposure", false);
  double *way = nki_column(glitch, "way", false);
  int code = pca == NULL ? nk_error_code() : NK_OK;
  if (unused == NULL || zero == NULL || axis == NULL || cosine == NULL || centred == NULL ||
      minus_pc == NULL || l2 == NULL || exposure == NULL || way == NULL)
    code = NK_EMEMORY;
  if (code == NK_OK) code = nk_mean(x, glitch->unused, glitch->n_unused, dim, unused);
  if (code == NK_OK) {
    for (size_t j = 0; j < dim; j++) axis[j] = (double)pca->components[j];
    nk_row_distances(x, n, dim, unused, NULL, l2, NULL);
    angles(x, n, dim, &(struct frame){zero, unused, zero}, cosine);
    angles(x, n, dim, &(struct frame){moments->mean, unused, zero}, centred);
    angles(x, n, dim, &(struct frame){zero, unused, axis}, minus_pc);
    for (size_t i = 0; i < n; i++) exposure[i] = log(output->ball.square[i]) / 2;
    memcpy(way, output->way, n * sizeof *way);
  }
  nk_free(unused);
  nk_free(zero);
  nk_free(axis);
  nk_pca_free(pca);
  return code;
}

/* out [n] = Mahalanobis distance to the distribution of all rows. */
static int mahalanobis(const float *x, size_t n, struct nk_moments *moments, double *out) {
  struct nk_gaussian *dist = nk_gaussian_new(moments, -1, 0);
  float *distances = dist != NULL ? nk_alloc(n, sizeof *distances) : NULL;
  int code = dist == NULL ? nk_error_code() : distances == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_mahalanobis(dist, x, n, distances);
  for (size_t i = 0; i < n && code == NK_OK; i++) out[i] = (double)distances[i];
  nk_free(distances);
  nk_gaussian_free(dist);
  return code;
}

static int ascending_rows(const void *a, const void *b) {
  size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

/* rows [count] of n, drawn without replacement, ascending; NULL when there is no memory. */
static size_t *draw_rows(size_t n, size_t count, uint64_t seed) {
  size_t *rows = nk_alloc(n, sizeof *rows);
  struct nki_random random = nki_random_stream(seed, NKI_RANDOM_KNN_ROWS, 0);
  if (rows == NULL) return NULL;
  nki_random_permutation(&random, n, rows);
  qsort(rows, count, sizeof *rows, ascending_rows);
  return rows;
}

/* out [n] = L2 distance of each row of x to its k-th nearest among `count` drawn rows. Where these
 * are not all, a row that was drawn is its own neighbour there: one neighbour more is asked for,
 * and it is left out. */
static int knn_distance(const float *x, size_t n, size_t dim, size_t k, size_t count, uint64_t seed,
                        double *out) {
  size_t *drawn = draw_rows(n, count, seed), size = 0, next = 0;
  float *base = nk_size_mul(count, dim, &size) ? nk_alloc(size, sizeof *base) : NULL;
  struct nk_knn_options options = {.k = count < n ? k + 1 : k, .metric = NK_METRIC_L2};
  struct nk_knn *knn = NULL;
  int code = drawn == NULL || base == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) {
    nki_copy_rows(x, drawn, count, dim, NULL, 1, base);
    knn = nk_knn_search(base, count, dim, count < n ? x : NULL, n, &options);
    if (knn == NULL) code = nk_error_code();
  }
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    bool self = next < count && drawn[next] == i;
    size_t last = knn->k - 1, at = knn->k < k + 1 || self ? last : last - 1;
    out[i] = knn->distances[i * knn->k + at];
    if (self) next++;
  }
  nk_knn_free(knn);
  nk_free(base);
  nk_free(drawn);
  return code;
}

int nki_input_columns(struct nk_glitch *glitch, const float *x, struct nk_moments *moments,
                      const struct nk_glitch_options *options) {
  size_t n = glitch->n, dim = moments->dim, k = options->knn_k;
  size_t drawn = options->knn_rows == 0 || options->knn_rows > n ? n : options->knn_rows;
  double *norm = nki_column(glitch, "input_norm", false);
  double *centroid = nki_column(glitch, "input_centroid_l2", true);
  double *distance = nki_column(glitch, "input_mahalanobis", true);
  double *knn = k > 0 && k < drawn ? nki_column(glitch, "input_knn", true) : NULL;
  if (norm == NULL || centroid == NULL || distance == NULL) return NK_EMEMORY;
  if (k > 0 && k < drawn && knn == NULL) return NK_EMEMORY;
  nk_row_distances(x, n, dim, moments->mean, norm, centroid, NULL);
  int code = mahalanobis(x, n, moments, distance);
  if (code == NK_OK && knn != NULL) code = knn_distance(x, n, dim, k, drawn, options->seed, knn);
  return code;
}

/* ---- Scores against those of their merge rank ---- */

static double median_of(double *values, size_t n) {
  nki_sort_numbers(values, n);
  return nki_quantile_sorted(values, n, 0.5);
}

struct merge {
  int64_t rank;
  size_t row;
};

static int by_merge(const void *a, const void *b) {
  const struct merge *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* How much higher a token scores than the tokens that the tokenizer learned just before and after
 * it, and so saw about as often: in units of those tokens' median distance from their median. */
int nki_merge_column(struct nk_glitch *glitch, const int64_t *merge_rank) {
  size_t n = 0;
  double *out = nki_column(glitch, "rank_mismatch", true), *peers = NULL;
  struct merge *merges = nk_alloc(glitch->n, sizeof *merges);
  int code = out == NULL || merges == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && (peers = nk_alloc(2 * NKI_PEERS + 1, sizeof *peers)) == NULL)
    code = NK_EMEMORY;
  for (size_t i = 0; i < glitch->n && code == NK_OK; i++) {
    out[i] = (double)NAN;
    if (merge_rank[i] >= 0) merges[n++] = (struct merge){merge_rank[i], i};
  }
  if (code == NK_OK) qsort(merges, n, sizeof *merges, by_merge);
  double median = 0, deviation = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    /* The window moves in steps of a fifth of its half, and is the last one at the end. */
    if (i % (NKI_PEERS / 5) == 0 || i == 0) {
      size_t first = i > NKI_PEERS ? i - NKI_PEERS : 0, m = 0;
      for (size_t j = first; j < n && j <= i + NKI_PEERS; j++)
        peers[m++] = glitch->score[merges[j].row];
      median = median_of(peers, m);
      for (size_t j = 0; j < m; j++) peers[j] = fabs(peers[j] - median);
      deviation = median_of(peers, m);
    }
    double above = glitch->score[merges[i].row] - median;
    out[merges[i].row] = deviation > 0 ? above / deviation : (double)NAN;
  }
  nk_free(merges);
  nk_free(peers);
  return code;
}
