/* Without a covariance: column means, lengths, distances from a centre; quantiles and ranks. Each
 * reads the matrix once, so the loops are bound by memory. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"

NKI_CLONES static void add_row(const float *restrict row, size_t dim, double *restrict sum) {
  for (size_t j = 0; j < dim; j++) sum[j] += (double)row[j];
}

/* Rows are summed in chunks of a fixed size, each into its own array, and the arrays are then added
 * in their order: the result does not depend on the number of threads. */
int nk_mean(const float *x, const size_t *rows, size_t n, size_t dim, double *mean) {
  enum { CHUNKS = 64 };
  if (n == 0) return nk_fail(NK_EDATA, "no rows to take a mean of");
  size_t per_chunk = (n + CHUNKS - 1) / CHUNKS, size = 0;
  double *part = nk_size_mul(dim, CHUNKS, &size) ? nk_calloc(size, sizeof(double)) : NULL;
  if (part == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(dynamic)
  for (size_t chunk = 0; chunk < CHUNKS; chunk++) {
    size_t last = (chunk + 1) * per_chunk < n ? (chunk + 1) * per_chunk : n;
    for (size_t i = chunk * per_chunk; i < last; i++)
      add_row(nki_row(x, rows, i, dim), dim, part + chunk * dim);
  }
  int code = NK_OK;
  for (size_t j = 0; j < dim; j++) {
    double sum = 0;
    for (size_t chunk = 0; chunk < CHUNKS; chunk++) sum += part[chunk * dim + j];
    mean[j] = sum / (double)n;
    if (!isfinite(sum)) code = NK_EDATA;
  }
  nk_free(part);
  if (code != NK_OK) code = nki_check_rows(x, rows, 0, n, dim);
  return code;
}

/* sums = { |x|^2, |x - c|^2, x . c } of one row. */
NKI_CLONES static void row_sums(const float *restrict x, const double *restrict c, size_t dim,
                                double sums[3]) {
  double square[NKI_LANES] = {0}, distance[NKI_LANES] = {0}, product[NKI_LANES] = {0};
  size_t j = 0;
  for (; j + NKI_LANES <= dim; j += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double value = (double)x[j + l], centre = c[j + l], difference = value - centre;
      square[l] += value * value;
      distance[l] += difference * difference;
      product[l] += value * centre;
    }
  sums[0] = sums[1] = sums[2] = 0;
  for (; j < dim; j++) {
    double value = (double)x[j], difference = value - c[j];
    sums[0] += value * value;
    sums[1] += difference * difference;
    sums[2] += value * c[j];
  }
  for (size_t l = 0; l < NKI_LANES; l++) {
    sums[0] += square[l];
    sums[1] += distance[l];
    sums[2] += product[l];
  }
}

void nk_row_distances(const float *x, size_t n, size_t dim, const double *centre, double *norm,
                      double *l2, double *cosine) {
  double centre_squares = 0;
  for (size_t j = 0; j < dim; j++) centre_squares += centre[j] * centre[j];
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    double sums[3];
    row_sums(x + i * dim, centre, dim, sums);
    if (norm != NULL) norm[i] = sqrt(sums[0]);
    if (l2 != NULL) l2[i] = sqrt(sums[1]);
    if (cosine != NULL) {
      double lengths = sqrt(sums[0] * centre_squares);
      double distance = 1 - sums[2] / lengths;
      cosine[i] = lengths > 0 ? (distance > 0 ? distance : 0) : (double)NAN;
    }
  }
}

static int compare_numbers(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  if (isnan(x) || isnan(y)) return (int)isnan(x) - (int)isnan(y);
  return (x > y) - (x < y);
}

void nki_sort_numbers(double *values, size_t n) {
  qsort(values, n, sizeof *values, compare_numbers);
}

double nki_quantile_sorted(const double *sorted, size_t n, double level) {
  if (n == 0 || !(level >= 0 && level <= 1)) return (double)NAN;
  double place = level * (double)(n - 1);
  size_t below = (size_t)place;
  double part = place - (double)below;
  if (below + 1 >= n || part == 0) return sorted[below];
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

size_t nki_count_below(const double *sorted, size_t n, double value) {
  size_t below = 0, above = n; /* sorted[below - 1] < value <= sorted[above] */
  while (below < above) {
    size_t middle = below + (above - below) / 2;
    if (sorted[middle] < value)
      below = middle + 1;
    else
      above = middle;
  }
  return below;
}

size_t nk_quantiles(double *values, size_t n, const double *levels, size_t n_levels, double *out) {
  nki_sort_numbers(values, n);
  while (n > 0 && isnan(values[n - 1])) n--;
  for (size_t i = 0; i < n_levels; i++) out[i] = nki_quantile_sorted(values, n, levels[i]);
  return n;
}

int nk_two_sided_p(const double *values, size_t n, const double *reference, size_t n_reference,
                   double *p) {
  bool own = reference == NULL;
  size_t m = own ? n : n_reference;
  double *sorted = nk_alloc(m, sizeof *sorted);
  if (sorted == NULL) return NK_EMEMORY;
  if (m > 0) memcpy(sorted, own ? values : reference, m * sizeof *sorted);
  nki_sort_numbers(sorted, m);
  while (m > 0 && isnan(sorted[m - 1])) m--;
  size_t itself = own ? 0 : 1;
  for (size_t i = 0; i < n; i++) {
    size_t above = m - nki_count_below(sorted, m, values[i]);
    size_t below = nki_count_below(sorted, m, nextafter(values[i], (double)INFINITY));
    size_t fewer = (above < below ? above : below) + itself;
    p[i] = isnan(values[i]) ? (double)NAN : fmin(2 * (double)fewer / (double)(m + itself), 1);
  }
  nk_free(sorted);
  return NK_OK;
}
