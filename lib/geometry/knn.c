/* Nearest neighbours: the rows as they are compared, searches with an index that FAISS makes from a
 * description, and what is computed from lists of neighbours. The exact search is in knn_exact.c.
 */
#include <noken/geometry.h>

#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"
#include "geometry/neighbours.h"

const char *nk_metric_name(enum nk_metric metric) {
  static const char *const NAMES[NK_N_METRICS] = {"l2", "cosine", "mahalanobis", "knn"};
  return (size_t)metric < NK_N_METRICS ? NAMES[metric] : "";
}

/* ---- Rows as they are compared ---- */

/* Sum of squares of scale_x x - scale_y y, written so that copies give exactly 0 with fused
 * products too. */
NKI_CLONES static double scaled_distance_squares(const float *restrict x, double scale_x,
                                                 const float *restrict y, double scale_y,
                                                 size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double a = (double)x[i + l], b = (double)y[i + l];
      double difference = (a - b) * scale_x + b * (scale_x - scale_y);
      part[l] += difference * difference;
    }
  for (; i < n; i++) {
    double a = (double)x[i], b = (double)y[i];
    double difference = (a - b) * scale_x + b * (scale_x - scale_y);
    sum += difference * difference;
  }
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

/* 1 - cos is half the squared distance of the rows at length 1: exactly 0 for copies, and without
 * the digits that 1 - x . y would lose near 0. */
double nki_distance(const struct nki_rows *a, size_t i, const struct nki_rows *b, size_t j) {
  const float *x = a->x + i * a->dim, *y = b->x + j * a->dim;
  if (a->scale == NULL) return sqrt(nki_distance_squares(x, y, a->dim));
  return 0.5 * scaled_distance_squares(x, a->scale[i], y, b->scale[j], a->dim);
}

NKI_CLONES static void prepare_row(const float *restrict x, double scale,
                                   const double *restrict centre, size_t dim, float *restrict out) {
  for (size_t j = 0; j < dim; j++) out[j] = (float)((double)x[j] * scale - centre[j]);
}

void nki_prepare(const struct nki_rows *rows, const size_t *list, size_t first, size_t n,
                 const double *centre, size_t stride, float last, float *out) {
  size_t dim = rows->dim;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    size_t row = list != NULL ? list[first + i] : first + i;
    float *to = out + i * stride;
    prepare_row(rows->x + row * dim, rows->scale != NULL ? rows->scale[row] : 1, centre, dim, to);
    if (stride > dim) to[dim] = isnan(last) ? (float)(-0.5 * nki_sum_squares(to, dim)) : last;
  }
}

/* Checks the rows and, for the cosine, takes their lengths. */
static int open_rows(struct nki_rows *rows, const float *x, size_t n, size_t dim,
                     enum nk_metric metric) {
  *rows = (struct nki_rows){.x = x, .n = n, .dim = dim};
  double *lengths = nk_alloc(n, sizeof *lengths);
  size_t bad = 0;
  if (lengths == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(static) reduction(+ : bad)
  for (size_t i = 0; i < n; i++) {
    double square = nki_sum_squares(x + i * dim, dim);
    lengths[i] = square > 0 ? 1 / sqrt(square) : 0;
    if (!isfinite(square)) bad++;
  }
  if (metric == NK_METRIC_COSINE)
    rows->scale = lengths;
  else
    nk_free(lengths);
  return bad == 0 ? NK_OK : nki_check_rows(x, NULL, 0, n, dim);
}

/* ---- Results ---- */

static int compare_neighbours(const void *a, const void *b) {
  const struct nki_neighbour *x = a, *y = b;
  if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

void nki_keep(struct nki_neighbour *found, size_t n, struct nk_knn *out, size_t q) {
  qsort(found, n, sizeof *found, compare_neighbours);
  for (size_t i = 0; i < out->k; i++) {
    out->rows[q * out->k + i] = i < n ? found[i].row : -1;
    out->distances[q * out->k + i] = i < n ? found[i].distance : (double)NAN;
  }
}

static struct nk_knn *new_result(size_t n, size_t k) {
  struct nk_knn *knn = nk_calloc(1, sizeof *knn);
  size_t size = 0;
  if (knn == NULL) return NULL;
  knn->n = n;
  knn->k = k;
  if (nk_size_mul(n, k, &size)) {
    knn->rows = nk_alloc(size, sizeof *knn->rows);
    knn->distances = nk_alloc(size, sizeof *knn->distances);
  }
  if (knn->rows != NULL && knn->distances != NULL) return knn;
  nk_knn_free(knn);
  return NULL;
}

void nk_knn_free(struct nk_knn *knn) {
  if (knn == NULL) return;
  nk_free(knn->rows);
  nk_free(knn->distances);
  nk_free(knn);
}

/* ---- Any index of FAISS ---- */

int nki_faiss(int status, const char *what) {
  if (status == 0) return NK_OK;
  const char *message = faiss_get_last_error();
  if (message != NULL && strstr(message, "bad_alloc") != NULL)
    return nk_fail(NK_EMEMORY, "FAISS: %s: no memory", what);
  /* "Error in FUNCTION at FILE:LINE: Error: 'CONDITION' failed: for people" */
  const char *reason = message != NULL ? strstr(message, "' failed: ") : NULL;
  if (reason != NULL) message = reason + strlen("' failed: ");
  return nk_fail(NK_EDATA, "FAISS: %s: %s", what, message != NULL ? message : "failed");
}

/* The index of options, trained where it needs to be, with the rows of base in it. */
static int build_index(const struct nki_rows *base, const struct nk_knn_options *options,
                       const double *centre, FaissIndex **index) {
  size_t dim = base->dim;
  FaissParameterSpace *space = NULL;
  if (faiss_index_factory(index, (int)dim, options->index, METRIC_L2) != 0)
    return nk_fail(NK_EUSAGE, "FAISS knows no index '%s' for %zu dimensions", options->index, dim);
  float *rows = nk_alloc(base->n, dim * sizeof *rows);
  if (rows == NULL) return NK_EMEMORY;
  nki_prepare(base, NULL, 0, base->n, centre, dim, 0, rows);
  int code = NK_OK;
  if (!faiss_Index_is_trained(*index))
    code = nki_faiss(faiss_Index_train(*index, (idx_t)base->n, rows), "training");
  if (code == NK_OK) code = nki_faiss(faiss_Index_add(*index, (idx_t)base->n, rows), "adding rows");
  nk_free(rows);
  if (code != NK_OK || options->search == NULL) return code;
  code = nki_faiss(faiss_ParameterSpace_new(&space), "parameters");
  if (code == NK_OK &&
      faiss_ParameterSpace_set_index_parameters(space, *index, options->search) != 0)
    code = nk_fail(NK_EUSAGE, "the index '%s' takes no parameters '%s'", options->index,
                   options->search);
  faiss_ParameterSpace_free(space);
  return code;
}

/* What the index proposes, with its distances taken again in double. */
static int search_block(const FaissIndex *index, struct nki_search *s, size_t first, size_t n,
                        size_t n_found, const double *centre, float *block, float *scores,
                        idx_t *labels, struct nki_neighbour *found) {
  nki_prepare(&s->query, NULL, first, n, centre, s->query.dim, 0, block);
  int code = nki_faiss(faiss_Index_search(index, (idx_t)n, block, (idx_t)n_found, scores, labels),
                       "search");
  if (code != NK_OK) return code;
#pragma omp parallel for schedule(dynamic, 16)
  for (size_t i = 0; i < n; i++) {
    size_t count = 0;
    for (size_t c = 0; c < n_found; c++) {
      idx_t row = labels[i * n_found + c];
      if (row < 0 || (s->self && (size_t)row == first + i)) continue;
      found[i * n_found + count++] =
          (struct nki_neighbour){nki_distance(&s->query, first + i, &s->base, (size_t)row), row};
    }
    nki_keep(found + i * n_found, count, s->out, first + i);
  }
  return nk_progress("nearest neighbours", first + n, s->query.n);
}

static int search_index(struct nki_search *s, const struct nk_knn_options *options) {
  enum { BLOCK = 4096 };
  size_t dim = s->base.dim, n_found = s->k + (s->self ? 1 : 0);
  double *centre = nk_calloc(dim, sizeof *centre);
  float *block = nk_alloc(BLOCK, dim * sizeof *block);
  float *scores = nk_alloc(BLOCK, n_found * sizeof *scores);
  idx_t *labels = nk_alloc(BLOCK, n_found * sizeof *labels);
  struct nki_neighbour *found = nk_alloc(BLOCK, n_found * sizeof *found);
  FaissIndex *index = NULL;
  int code = centre && block && scores && labels && found ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && s->base.scale == NULL)
    code = nk_mean(s->base.x, NULL, s->base.n, dim, centre);
  if (code == NK_OK) code = build_index(&s->base, options, centre, &index);
  for (size_t first = 0; first < s->query.n && code == NK_OK; first += BLOCK)
    code = search_block(index, s, first, s->query.n - first < BLOCK ? s->query.n - first : BLOCK,
                        n_found, centre, block, scores, labels, found);
  faiss_Index_free(index);
  nk_free(centre);
  nk_free(block);
  nk_free(scores);
  nk_free(labels);
  nk_free(found);
  return code;
}

struct nk_knn *nk_knn_search(const float *base, size_t n_base, size_t dim, const float *query,
                             size_t n_query, const struct nk_knn_options *options) {
  struct nki_search s = {.self = query == NULL, .k = options->k};
  int code = NK_OK;
  if (options->metric != NK_METRIC_L2 && options->metric != NK_METRIC_COSINE)
    code = nk_fail(NK_EUSAGE, "neighbours are searched by l2 or cosine");
  else if (options->k == 0)
    code = nk_fail(NK_EUSAGE, "no neighbours asked for");
  else if (n_base == 0)
    code = nk_fail(NK_EDATA, "no rows to search in");
  if (code == NK_OK) code = open_rows(&s.base, base, n_base, dim, options->metric);
  if (code == NK_OK && s.self) s.query = s.base;
  if (code == NK_OK && !s.self)
    if ((code = open_rows(&s.query, query, n_query, dim, options->metric)) != NK_OK)
      nk_fail_in(code, "query");
  if (s.k > n_base - (s.self ? 1 : 0)) s.k = n_base - (s.self ? 1 : 0);
  if (code == NK_OK && (s.out = new_result(s.query.n, s.k)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK && s.k > 0 && s.query.n > 0)
    code = options->index == NULL || strcmp(options->index, "Flat") == 0
               ? nki_search_exact(&s)
               : search_index(&s, options);
  nk_free(s.base.scale);
  if (!s.self) nk_free(s.query.scale);
  if (code == NK_OK) return s.out;
  nk_knn_free(s.out);
  return NULL;
}

/* ---- From lists of neighbours ---- */

void nk_hubness(const struct nk_knn *knn, int64_t *counts) {
  memset(counts, 0, knn->n * sizeof *counts);
  for (size_t i = 0; i < knn->n * knn->k; i++)
    if (knn->rows[i] >= 0) counts[knn->rows[i]]++;
}

/* How many neighbours row i has: k, unless an approximate index found fewer. */
static size_t count_of(const struct nk_knn *knn, size_t i) {
  size_t count = knn->k;
  while (count > 0 && knn->rows[i * knn->k + count - 1] < 0) count--;
  return count;
}

/* Mean reachability distance of row p: of max(k-distance(o), distance(p, o)) over its neighbours o;
 * the inverse of its local reachability density. */
static double mean_reach(const struct nk_knn *knn, size_t p) {
  size_t count = count_of(knn, p);
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    size_t o = (size_t)knn->rows[p * knn->k + i], count_o = count_of(knn, o);
    double distance = knn->distances[p * knn->k + i];
    double reach = count_o > 0 ? knn->distances[o * knn->k + count_o - 1] : 0;
    sum += reach > distance ? reach : distance;
  }
  return count > 0 ? sum / (double)count : (double)NAN;
}

int nk_lof(const struct nk_knn *knn, double *lof) {
  double *reach = nk_alloc(knn->n, sizeof *reach);
  if (reach == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(static)
  for (size_t p = 0; p < knn->n; p++) reach[p] = mean_reach(knn, p);
#pragma omp parallel for schedule(static)
  for (size_t p = 0; p < knn->n; p++) {
    size_t count = count_of(knn, p);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
      double other = reach[knn->rows[p * knn->k + i]];
      sum += reach[p] == other ? 1 : reach[p] / other; /* 0 / 0: both are copies */
    }
    lof[p] = count > 0 ? sum / (double)count : (double)NAN;
  }
  nk_free(reach);
  return NK_OK;
}
