/* Rows as they are compared, their distances in double, and their floats for products. */
#include "geometry/neighbours.h"

#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"

/* ---- Rows and distances ---- */

int nki_rows_open(struct nki_rows *rows, const float *x, size_t n, size_t dim,
                  enum nk_metric metric) {
  *rows = (struct nki_rows){.x = x, .n = n, .dim = dim};
  double *scale = nk_alloc(n, sizeof *scale);
  size_t bad = 0;
  if (scale == NULL) return NK_EMEMORY;
#pragma omp parallel for schedule(static) reduction(+ : bad)
  for (size_t i = 0; i < n; i++) {
    double square = nki_sum_squares(x + i * dim, dim);
    scale[i] = square > 0 ? 1 / sqrt(square) : 0;
    if (!isfinite(square)) bad++;
  }
  if (metric == NK_METRIC_COSINE)
    rows->scale = scale;
  else
    nk_free(scale);
  return bad == 0 ? NK_OK : nki_check_rows(x, NULL, 0, n, dim);
}

/* Sum of squares of scale_x x - scale_y y. Products are not fused (-ffp-contract=off), so that a
 * row and its copy give exactly 0. */
NKI_CLONES static double scaled_distance_squares(const float *restrict x, double scale_x,
                                                 const float *restrict y, double scale_y,
                                                 size_t n) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + NKI_LANES <= n; i += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double difference = (double)x[i + l] * scale_x - (double)y[i + l] * scale_y;
      part[l] += difference * difference;
    }
  for (; i < n; i++) {
    double difference = (double)x[i] * scale_x - (double)y[i] * scale_y;
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

double nki_l2_of(const struct nki_rows *rows, double distance) {
  return rows->scale != NULL ? sqrt(2 * distance) : distance;
}

int nki_centroid(const struct nki_rows *rows, double *mean) {
  if (rows->scale == NULL) return nk_mean(rows->x, NULL, rows->n, rows->dim, mean);
  memset(mean, 0, rows->dim * sizeof *mean);
  for (size_t i = 0; i < rows->n; i++) {
    double weight = rows->scale[i] / (double)rows->n;
    for (size_t j = 0; j < rows->dim; j++) mean[j] += weight * (double)rows->x[i * rows->dim + j];
  }
  return NK_OK;
}

/* ---- Rows as floats ---- */

double nki_length_from(const struct nki_rows *rows, size_t i, const double *centre) {
  const float *x = rows->x + i * rows->dim;
  double scale = rows->scale != NULL ? rows->scale[i] : 1, sum = 0;
  for (size_t j = 0; j < rows->dim; j++) {
    double difference = (double)x[j] * scale - centre[j];
    sum += difference * difference;
  }
  return sqrt(sum);
}

struct nki_frame nki_frame_about(const double *centre, size_t dim, double longest) {
  double square = 0;
  int exponent = 0;
  for (size_t j = 0; j < dim; j++) square += centre[j] * centre[j];
  if (longest > 0) frexp(longest, &exponent);
  return (struct nki_frame){
      .centre = centre, .centre_length = sqrt(square), .scale = ldexp(1, -exponent)};
}

/* Sum of squares of the row in the frame, in double. */
NKI_CLONES static double prepare_row(const float *restrict x, double row_scale,
                                     const double *restrict centre, double scale, size_t dim,
                                     float *restrict out) {
  double part[NKI_LANES] = {0}, sum = 0;
  size_t j = 0;
  for (; j + NKI_LANES <= dim; j += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double value = ((double)x[j + l] * row_scale - centre[j + l]) * scale;
      out[j + l] = (float)(value > NKI_FAR ? NKI_FAR : value < -NKI_FAR ? -NKI_FAR : value);
      part[l] += (double)out[j + l] * (double)out[j + l];
    }
  for (; j < dim; j++) {
    double value = ((double)x[j] * row_scale - centre[j]) * scale;
    out[j] = (float)(value > NKI_FAR ? NKI_FAR : value < -NKI_FAR ? -NKI_FAR : value);
    sum += (double)out[j] * (double)out[j];
  }
  for (size_t l = 0; l < NKI_LANES; l++) sum += part[l];
  return sum;
}

void nki_prepare(const struct nki_frame *frame, const struct nki_rows *rows, const size_t *list,
                 size_t first, size_t n, float *out, float *half) {
  size_t dim = rows->dim;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) {
    size_t row = list != NULL ? list[first + i] : first + i;
    double row_scale = rows->scale != NULL ? rows->scale[row] : 1;
    double square = prepare_row(rows->x + row * dim, row_scale, frame->centre, frame->scale, dim,
                                out + i * dim);
    if (half != NULL) half[i] = (float)(-0.5 * square);
  }
}

/* ---- Lists of neighbours ---- */

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
