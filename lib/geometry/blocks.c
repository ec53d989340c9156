/* The loops over rows that the rest of lib/geometry uses. They are bound by memory, so they only
 * have to be vectorized: partial sums are written out, and GCC makes versions for wider registers.
 */
#include "geometry/internal.h"

#include <noken/base.h>
#include <string.h>
#include "model/dtype.h"

size_t nki_block_rows(size_t dim) {
  size_t rows = ((size_t)8 << 20) / (sizeof(float) * dim);
  if (rows < 1024) rows = 1024;
  if (rows > 8192) rows = 8192;
  return rows;
}

NKI_CLONES static void copy_row(const float *restrict row, const float *restrict centre,
                                float scale, size_t dim, float *restrict out) {
  for (size_t j = 0; j < dim; j++) out[j] = (row[j] - centre[j]) * scale;
}

void nki_copy_rows(const float *x, const size_t *rows, size_t n, size_t dim, const float *centre,
                   float scale, float *block) {
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    const float *row = nki_row(x, rows, i, dim);
    if (centre == NULL)
      memcpy(block + i * dim, row, dim * sizeof *row);
    else
      copy_row(row, centre, scale, dim, block + i * dim);
  }
}

NKI_CLONES static void centre_row(const float *restrict row, const double *restrict centre,
                                  size_t dim, float *restrict out) {
  for (size_t j = 0; j < dim; j++) out[j] = (float)((double)row[j] - centre[j]);
}

void nki_copy_rows_centred(const float *x, const size_t *rows, size_t first, size_t n, size_t dim,
                           const double *centre, float *block) {
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++)
    centre_row(nki_row(x, rows, first + i, dim), centre, dim, block + i * dim);
}

void nki_centre_rows(const float *x, size_t n, size_t dim, const double *centre, double *block) {
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) block[i * dim + j] = (double)x[i * dim + j] - centre[j];
}

NKI_CLONES double nki_sum_squares(const float *x, size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) part[l] += (double)x[i + l] * (double)x[i + l];
  for (; i < n; i++) sum += (double)x[i] * (double)x[i];
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

NKI_CLONES double nki_distance_squares(const float *x, const float *y, size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double difference = (double)x[i + l] - (double)y[i + l];
      part[l] += difference * difference;
    }
  for (; i < n; i++) sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

NKI_CLONES double nki_dot(const float *x, const float *y, size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) part[l] += (double)x[i + l] * (double)y[i + l];
  for (; i < n; i++) sum += (double)x[i] * (double)y[i];
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

NKI_CLONES double nki_product(const double *x, const double *y, size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) part[l] += x[i + l] * y[i + l];
  for (; i < n; i++) sum += x[i] * y[i];
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

NKI_CLONES double nki_dot_from(const float *restrict x, const double *restrict c,
                               const double *restrict y, size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) part[l] += ((double)x[i + l] - c[i + l]) * y[i + l];
  for (; i < n; i++) sum += ((double)x[i] - c[i]) * y[i];
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

int nki_null(const char *what) {
  int code = nk_error_code();
  return code != NK_OK ? code : nk_fail(NK_EUSAGE, "%s: NULL", what);
}

int nki_check_rows(const float *x, const size_t *rows, size_t first, size_t n, size_t dim) {
  size_t bad = SIZE_MAX;
#pragma omp parallel for schedule(static) reduction(min : bad)
  for (size_t i = first; i < first + n; i++)
    if (i < bad && nki_first_not_finite(nki_row(x, rows, i, dim), dim) < dim) bad = i;
  if (bad == SIZE_MAX) return NK_OK;
  return nk_fail(NK_EDATA, "row %zu holds a NaN or an infinity", rows != NULL ? rows[bad] : bad);
}
