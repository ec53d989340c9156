/* Intrinsic dimension by TwoNN: Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic
 * dimension of datasets by a minimal neighborhood information" (2017).
 *
 * Where rows lie on a manifold of dimension d, as densely as around them at their second neighbour,
 * the ratio of the distances to the second and the first neighbour has the distribution
 * 1 - ratio^-d: its logarithm is exponential with rate d. As in the paper, the largest tenth of the
 * ratios, which rows at borders and outliers have, is not used; here they are censored (they count
 * as at least the largest that is used), so that the estimate is the maximum of a likelihood and
 * has an interval, which the slope of a line through the paper's plot does not.
 *
 * For independent rows 2 d (sum of logarithms) has the chi-squared distribution with 2 n_kept
 * degrees of freedom. Rows are not independent of their neighbours, above all of those whose
 * neighbours they are themselves: where all rows are used that interval holds d in 88% instead of
 * 95%. The number of rows is therefore divided by the variance of the score of the likelihood, in
 * which the products of neighbours' scores are counted, over the one that independent rows have:
 * about 1.5 for all rows, 1 for few of many. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"

enum { USUAL_ROWS = 5000, LEAST_ROWS = 3 };

/* kept [*n_kept] = the rows of x [n, dim] of which no earlier row is a copy, ascending. */
static int leave_out_copies(const float *x, size_t n, size_t dim, size_t *kept, size_t *n_kept) {
  int code = nki_find_copies(x, NULL, n, dim, kept);
  *n_kept = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (kept[i] == i) kept[(*n_kept)++] = i;
  return code;
}

/* ---- Ratios of distances ---- */

/* What is known of the n rows that are used, evenly spaced among m. */
struct ratios {
  size_t n, m;
  double *logs;      /* [n] logarithms of the ratios */
  size_t (*near)[2]; /* [n] the two neighbours, numbers among the m */
};

static size_t row_of(const struct ratios *r, size_t i) {
  return i * r->m / r->n;
}

/* The place of row j among those that are used; r->n where it is not. */
static size_t place_of(const struct ratios *r, size_t j) {
  size_t i = (j * r->n + r->m - 1) / r->m;
  return i < r->n && row_of(r, i) == j ? i : r->n;
}

/* The rows that `list` gives, or all of x where none is left out; *copy is to be freed. */
static const float *rows_of(const float *x, size_t dim, const size_t *list, size_t n, size_t n_all,
                            float **copy) {
  size_t size = 0;
  if (n == n_all) return x;
  if (!nk_size_mul(n, dim, &size)) return NULL;
  if ((*copy = nk_alloc(size, sizeof **copy)) == NULL) return NULL;
  nki_copy_rows(x, list, n, dim, NULL, 1, *copy);
  return *copy;
}

static int find_ratios(const float *base, size_t dim, struct ratios *r) {
  struct nk_knn *knn = NULL;
  size_t *list = nk_alloc(r->n, sizeof *list);
  if (list == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < r->n; i++) list[i] = row_of(r, i);
  const struct nk_knn_options options = {.k = 2, .rows = r->n < r->m ? list : NULL, .n_rows = r->n};
  knn = nk_knn_search(base, r->m, dim, NULL, 0, &options);
  int code = knn != NULL ? NK_OK : nk_error_code();
  for (size_t i = 0; i < r->n && code == NK_OK; i++) {
    r->logs[i] = log(knn->distances[2 * i + 1] / knn->distances[2 * i]);
    for (size_t k = 0; k < 2; k++) r->near[i][k] = (size_t)knn->rows[2 * i + k];
  }
  nk_knn_free(knn);
  nk_free(list);
  return code;
}

/* ---- The estimate ---- */

/* Of a row to the likelihood's derivative, times d. */
static double score_of(const struct ratios *r, size_t i, double d, double largest) {
  return r->logs[i] <= largest ? 1 - d * r->logs[i] : -d * largest;
}

/* The variance of the sum of scores over the number of rows kept, which independent rows have. */
static double inflation(const struct ratios *r, double d, double largest, size_t n_kept) {
  double sum = 0;
  for (size_t i = 0; i < r->n; i++) {
    double score = score_of(r, i, d, largest);
    sum += score * score;
    for (size_t k = 0; k < 2; k++) {
      size_t j = place_of(r, r->near[i][k]);
      if (j == r->n) continue;
      bool mutual = place_of(r, r->near[j][0]) == i || place_of(r, r->near[j][1]) == i;
      if (!mutual || i < j) sum += 2 * score * score_of(r, j, d, largest);
    }
  }
  return fmax(sum / (double)n_kept, 1);
}

/* The quantile at z standard deviations of chi-squared over its degrees of freedom df: Wilson and
 * Hilferty (1931), to 0.2% for df = 20 and 1e-5 for 1,000. */
static double chi_squared(double z, double df) {
  double part = 2 / (9 * df), root = 1 - part + z * sqrt(part);
  return root > 0 ? root * root * root : 0;
}

static int estimate(const struct ratios *r, struct nk_dimension *out) {
  size_t n_kept = 9 * r->n / 10;
  double *sorted = nk_alloc(r->n, sizeof *sorted), sum = 0;
  if (sorted == NULL) return NK_EMEMORY;
  memcpy(sorted, r->logs, r->n * sizeof *sorted);
  nki_sort_numbers(sorted, r->n);
  double largest = n_kept > 0 ? sorted[n_kept - 1] : 0;
  for (size_t i = 0; i < n_kept; i++) sum += sorted[i];
  sum += (double)(r->n - n_kept) * largest;
  nk_free(sorted);
  if (n_kept < 2 || !(sum > 0)) return NK_OK;
  out->estimate = (double)(n_kept - 1) / sum;
  double likeliest = (double)n_kept / sum;
  double df = 2 * (double)n_kept / inflation(r, likeliest, largest, n_kept);
  out->low = likeliest * chi_squared(-1.959963984540054, df);
  out->high = likeliest * chi_squared(1.959963984540054, df);
  return NK_OK;
}

int nk_intrinsic_dimension(const float *x, size_t n, size_t dim, size_t most,
                           struct nk_dimension *out) {
  if (x == NULL || out == NULL) return nki_null("the rows");
  *out = (struct nk_dimension){.estimate = (double)NAN, .low = (double)NAN, .high = (double)NAN};
  int code = nki_check_rows(x, NULL, 0, n, dim);
  if (code != NK_OK || n == 0 || dim == 0) return code;
  float *copy = NULL;
  struct ratios r = {0};
  size_t *kept = nk_alloc(n, sizeof *kept);
  if (kept == NULL) return NK_EMEMORY;
  code = leave_out_copies(x, n, dim, kept, &r.m);
  if (code != NK_OK) goto done;
  out->n_copies = n - r.m;
  if (r.m < LEAST_ROWS) goto done;
  if (most == 0) most = USUAL_ROWS;
  out->n_rows = r.n = r.m < most ? r.m : most;
  code = NK_EMEMORY;
  r.logs = nk_alloc(r.n, sizeof *r.logs);
  r.near = nk_alloc(r.n, sizeof *r.near);
  const float *base = rows_of(x, dim, kept, r.m, n, &copy);
  if (base == NULL || r.logs == NULL || r.near == NULL) goto done;
  code = find_ratios(base, dim, &r);
  if (code == NK_OK) code = estimate(&r, out);

done:
  nk_free(copy);
  nk_free(kept);
  nk_free(r.logs);
  nk_free(r.near);
  return code;
}
