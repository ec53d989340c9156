/* What is drawn instead of rows: quantiles, bins, distances from the bulk, densities. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* ---- Quantiles ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void plot_sort(double *x, size_t n) {
  if (n > 1) qsort(x, n, sizeof *x, compare_doubles);
}

double plot_quantile(const double *sorted, size_t n, double p) {
  double place = p * (double)(n - 1);
  size_t below = (size_t)place;
  if (below + 1 >= n) return sorted[n - 1];
  double part = place - (double)below;
  return part == 0 ? sorted[below] : (1 - part) * sorted[below] + part * sorted[below + 1];
}

static double *sorted_copy(const double *x, size_t n) {
  double *copy = nk_alloc(n, sizeof *copy);
  if (copy == NULL) return NULL;
  memcpy(copy, x, n * sizeof *copy);
  plot_sort(copy, n);
  return copy;
}

/* ---- Bins ---- */

static bool all_whole(const double *x, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (x[i] != floor(x[i]) || fabs(x[i]) > 1e15) return false;
  return true;
}

static double freedman_diaconis(const double *sorted, size_t n) {
  double range = sorted[n - 1] - sorted[0];
  double iqr = plot_quantile(sorted, n, 0.75) - plot_quantile(sorted, n, 0.25);
  if (iqr > 0) return 2 * iqr / cbrt((double)n);
  return range / (ceil(log2((double)n)) + 1);
}

int plot_bin_edges(const double *x, size_t n, size_t asked, size_t max_bins, double **edges,
                   size_t *n_bins) {
  double *sorted = sorted_copy(x, n);
  if (sorted == NULL) return NK_EMEMORY;
  double lo = sorted[0], hi = sorted[n - 1], width = freedman_diaconis(sorted, n);
  nk_free(sorted);
  if (lo == hi) { /* one value: one bin around it */
    double half = lo == 0 ? 0.5 : fabs(lo) * 0.05;
    if (lo == floor(lo) && fabs(lo) < 1e15) half = 0.5;
    lo -= half;
    hi += half;
    *n_bins = asked > 0 ? asked : 1;
  } else if (asked == 0 && all_whole(x, n)) {
    double step = fmax(1, round(width));
    step = fmax(step, ceil((hi - lo + 1) / (double)max_bins));
    *n_bins = (size_t)ceil((hi - lo + 1) / step);
    lo -= 0.5;
    hi = lo + step * (double)*n_bins;
  } else {
    double wanted = ceil((hi - lo) / width);
    *n_bins = asked > 0 ? asked : wanted < (double)max_bins ? (size_t)wanted : max_bins;
    if (*n_bins == 0) *n_bins = 1;
  }
  *edges = nk_alloc(*n_bins + 1, sizeof **edges);
  if (*edges == NULL) return NK_EMEMORY;
  for (size_t b = 0; b <= *n_bins; b++)
    (*edges)[b] = b == *n_bins ? hi : lo + (hi - lo) * ((double)b / (double)*n_bins);
  return NK_OK;
}

int64_t plot_bin_of(double value, const double *edges, size_t n_bins) {
  if (!(value >= edges[0] && value <= edges[n_bins])) return -1;
  size_t lo = 0, hi = n_bins; /* edges[lo] <= value, and value < edges[hi] or hi is the end */
  while (hi - lo > 1) {
    size_t middle = (lo + hi) / 2;
    if (value >= edges[middle]) {
      lo = middle;
    } else {
      hi = middle;
    }
  }
  return (int64_t)lo;
}

void plot_bin_count(const double *x, size_t n, const double *edges, size_t n_bins, size_t *counts) {
  memset(counts, 0, n_bins * sizeof *counts);
  for (size_t i = 0; i < n; i++) {
    int64_t bin = plot_bin_of(x[i], edges, n_bins);
    if (bin >= 0) counts[bin]++;
  }
}

/* ---- Distance from the bulk ---- */

/* Adds ((x - median) / scale)^2 to out. work [n] is overwritten. */
static void add_deviations(const double *x, size_t n, double *work, double *out) {
  memcpy(work, x, n * sizeof *work);
  plot_sort(work, n);
  double median = plot_quantile(work, n, 0.5);
  double squares = 0;
  for (size_t i = 0; i < n; i++) {
    work[i] = fabs(x[i] - median);
    squares += work[i] * work[i];
  }
  plot_sort(work, n);
  double scale = 1.4826 * plot_quantile(work, n, 0.5);
  if (scale == 0) scale = sqrt(squares / (double)n);
  if (scale == 0) return;
  for (size_t i = 0; i < n; i++) out[i] += ((x[i] - median) / scale) * ((x[i] - median) / scale);
}

int plot_extremeness(const double *x, const double *y, size_t n, double *out) {
  if (n == 0) return 0;
  double *work = nk_alloc(n, sizeof *work);
  if (work == NULL) return NK_EMEMORY;
  memset(out, 0, n * sizeof *out);
  add_deviations(x, n, work, out);
  if (y != NULL) add_deviations(y, n, work, out);
  for (size_t i = 0; i < n; i++) out[i] = sqrt(out[i]);
  nk_free(work);
  return NK_OK;
}

/* ---- Density ---- */

struct grid {
  size_t columns, rows;
  double cell;
};

static size_t grid_of(const struct grid *grid, double x, double y) {
  double column = floor(x / grid->cell), row = floor(y / grid->cell);
  column = fmin(fmax(column, 0), (double)(grid->columns - 1));
  row = fmin(fmax(row, 0), (double)(grid->rows - 1));
  return (size_t)row * grid->columns + (size_t)column;
}

static struct grid grid_over(double width, double height, double cell) {
  return (struct grid){(size_t)fmax(1, ceil(width / cell)), (size_t)fmax(1, ceil(height / cell)),
                       cell};
}

/* The means over 2 radius + 1 neighbours along a line of n values that are `stride` apart. */
static void box_blur(const double *in, double *out, size_t n, size_t stride, size_t radius) {
  double sum = 0;
  for (size_t i = 0; i < radius && i < n; i++) sum += in[i * stride];
  for (size_t i = 0; i < n; i++) {
    if (i + radius < n) sum += in[(i + radius) * stride];
    if (i > radius) sum -= in[(i - radius - 1) * stride];
    out[i * stride] = fmax(sum, 0) / (double)(2 * radius + 1);
  }
}

/* Three box blurs in each direction approximate a Gaussian blur. */
static void blur(double *values, double *work, const struct grid *grid, size_t radius) {
  for (int pass = 0; pass < 3; pass++) {
    for (size_t r = 0; r < grid->rows; r++)
      box_blur(values + r * grid->columns, work + r * grid->columns, grid->columns, 1, radius);
    for (size_t c = 0; c < grid->columns; c++)
      box_blur(work + c, values + c, grid->rows, grid->columns, radius);
  }
}

int plot_density(const struct plot_points *points, double *out) {
  struct grid grid = grid_over(points->width, points->height, 3);
  size_t cells = grid.columns * grid.rows, n = points->n;
  double *counts = nk_calloc(cells, sizeof *counts), *work = nk_alloc(cells, sizeof *work);
  int code = NK_EMEMORY;
  if (counts == NULL || work == NULL) goto done;
  for (size_t i = 0; i < n; i++) counts[grid_of(&grid, points->x[i], points->y[i])] += 1;
  blur(counts, work, &grid, 2);
  double most = 0;
  for (size_t i = 0; i < n; i++) {
    out[i] = log1p(8 * counts[grid_of(&grid, points->x[i], points->y[i])]);
    most = fmax(most, out[i]);
  }
  for (size_t i = 0; i < n && most > 0; i++) out[i] /= most;
  code = NK_OK;
done:
  nk_free(counts);
  nk_free(work);
  return code;
}

int plot_thin(const struct plot_points *points, double cell, unsigned most, bool *keep) {
  struct grid grid = grid_over(points->width, points->height, cell);
  unsigned *counts = nk_calloc(grid.columns * grid.rows, sizeof *counts);
  if (counts == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < points->n; i++)
    keep[i] = counts[grid_of(&grid, points->x[i], points->y[i])]++ < most;
  nk_free(counts);
  return NK_OK;
}
