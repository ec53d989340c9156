/* Nearest neighbours: the call, and what is computed from lists of neighbours. The searches are in
 * knn_exact.c and knn_index.c. */
#include <noken/geometry.h>

#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "geometry/internal.h"
#include "geometry/knn_exact.h"
#include "geometry/knn_index.h"
#include "geometry/neighbours.h"

enum { USUAL_K = 10 };

const char *const nk_metric_names[NK_N_METRICS] = {"default", "l2", "cosine", "mahalanobis", "knn"};

/* ---- The search ---- */

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

static int check_options(const struct nk_knn_options *options, const float *base, size_t n_base) {
  if (base == NULL) return nki_null("the rows to search in");
  if (options->metric > NK_METRIC_COSINE)
    return nk_fail(NK_EUSAGE, "neighbours are searched by l2 or cosine");
  return n_base > 0 ? NK_OK : nk_fail(NK_EDATA, "no rows to search in");
}

/* Opens the rows to search for: the base's own, those of the query, or a copy of the ones among
 * them that options choose. */
static int open_query(struct nki_search *s, const float *query, size_t n_query,
                      enum nk_metric metric, const struct nk_knn_options *options, float **copy) {
  size_t n = options->n_rows, size = 0;
  s->query = s->base;
  s->rows = options->rows;
  if (s->self && s->rows == NULL) return NK_OK;
  if (s->rows == NULL) return nki_rows_open(&s->query, query, n_query, s->base.dim, metric);
  if (s->self) query = s->base.x;
  if (s->self) n_query = s->base.n;
  for (size_t i = 0; i < n; i++)
    if (s->rows[i] >= n_query)
      return nk_fail(NK_EUSAGE, "row %zu is not one of %zu", s->rows[i], n_query);
  if (nk_size_mul(n, s->base.dim, &size)) *copy = nk_alloc(size, sizeof **copy);
  if (*copy == NULL) return NK_EMEMORY;
  nki_copy_rows(query, s->rows, n, s->base.dim, NULL, 1, *copy);
  return nki_rows_open(&s->query, *copy, n, s->base.dim, metric);
}

/* Fills the rest of the search, whose base is open; frees query and result where it fails. */
static struct nk_knn *search(struct nki_search *s, const float *query, size_t n_query,
                             enum nk_metric metric, const struct nk_knn_options *options) {
  size_t n_base = s->base.n - (s->self ? 1 : 0);
  float *copy = NULL;
  int code = open_query(s, query, n_query, metric, options, &copy);
  if (code != NK_OK) {
    nk_fail_in(code, "query");
    goto done;
  }
  s->k = options->k > 0 ? options->k : USUAL_K;
  if (s->k > n_base) s->k = n_base;
  s->out = new_result(s->query.n, s->k);
  code = s->out != NULL ? NK_OK : NK_EMEMORY;
  if (code != NK_OK || s->k == 0 || s->query.n == 0) goto done;
  bool exact = s->kept != NULL || options->index == NULL || strcmp(options->index, "Flat") == 0;
  code = exact ? nki_search_exact(s) : nki_search_index(s, options);

done:
  if (s->query.scale != s->base.scale) nk_free(s->query.scale);
  nk_free(copy);
  if (code == NK_OK) return s->out;
  nk_knn_free(s->out);
  return NULL;
}

struct nk_knn *nk_knn_search(const float *base, size_t n_base, size_t dim, const float *query,
                             size_t n_query, const struct nk_knn_options *options) {
  static const struct nk_knn_options usual = {0};
  struct nki_search s = {.self = query == NULL};
  struct nk_knn *knn = NULL;
  if (options == NULL) options = &usual;
  int code = check_options(options, base, n_base);
  if (code == NK_OK) code = nki_rows_open(&s.base, base, n_base, dim, options->metric);
  if (code == NK_OK) knn = search(&s, query, n_query, options->metric, options);
  nk_free(s.base.scale);
  return knn;
}

struct nk_knn *nki_base_search(const struct nki_base *base, const float *query, size_t n_query,
                               const struct nk_knn_options *options) {
  struct nki_search s = {.base = base->rows, .kept = base};
  return search(&s, query, n_query, base->metric, options);
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
