/* Measures of a ranking. All sort once and walk over groups of equal scores. */
#include <noken/glitch.h>

#include <math.h>
#include <noken/base.h>
#include <stdlib.h>

#include "glitch/internal.h"

struct item {
  double value;
  size_t row;
};

static int ascending(const void *a, const void *b) {
  const struct item *x = a, *y = b;
  if (isnan(x->value) || isnan(y->value)) {
    if (isnan(x->value) != isnan(y->value)) return isnan(x->value) ? -1 : 1;
  } else if (x->value != y->value) {
    return x->value < y->value ? -1 : 1;
  }
  return (x->row > y->row) - (x->row < y->row);
}

static struct item *sorted(const double *values, size_t n) {
  struct item *items = nk_alloc(n, sizeof *items);
  if (items == NULL) return NULL;
  for (size_t i = 0; i < n; i++) items[i] = (struct item){values[i], i};
  qsort(items, n, sizeof *items, ascending);
  return items;
}

static bool same(double a, double b) {
  return a == b || (isnan(a) && isnan(b));
}

int nki_mean_ranks(const double *values, size_t n, double *ranks) {
  struct item *items = sorted(values, n);
  if (items == NULL) return NK_EMEMORY;
  for (size_t first = 0, last; first < n; first = last) {
    for (last = first + 1; last < n && same(items[last].value, items[first].value);) last++;
    for (size_t i = first; i < last; i++) ranks[items[i].row] = (double)(first + 1 + last) / 2;
  }
  nk_free(items);
  return NK_OK;
}

int nk_retrieval(const double *scores, const bool *positive, size_t n, struct nk_retrieval *out) {
  struct item *items = sorted(scores, n);
  if (items == NULL) return NK_EMEMORY;
  *out = (struct nk_retrieval){.n = n};
  for (size_t i = 0; i < n; i++) out->positives += positive[i];
  double negatives = (double)(n - out->positives), pairs = 0, found = 0, seen = 0;
  double all = (double)out->positives, top = 0;
  for (size_t first = n, last; first > 0; first = last) { /* from the highest score down */
    double here = 0, size = 0;
    for (last = first; last > 0 && same(items[last - 1].value, items[first - 1].value); last--) {
      here += positive[items[last - 1].row];
      size++;
    }
    double below = negatives - (seen - found) - (size - here); /* negatives that score less */
    pairs += here * (below + (size - here) / 2);
    if (seen < all) top += here * fmin(1, (all - seen) / size);
    found += here;
    seen += size;
    out->average_precision += here / all * (found / seen);
  }
  out->auc = pairs / (all * negatives);
  out->precision = top / all;
  if (out->positives == 0) out->average_precision = out->precision = (double)NAN;
  if (out->positives == 0 || negatives == 0) out->auc = (double)NAN;
  nk_free(items);
  return NK_OK;
}

int nki_spearman(const double *x, const double *y, size_t n, double *out) {
  double *rank_x = nk_alloc(n, sizeof *rank_x), *rank_y = nk_alloc(n, sizeof *rank_y);
  int code = rank_x == NULL || rank_y == NULL ? NK_EMEMORY : nki_mean_ranks(x, n, rank_x);
  if (code == NK_OK) code = nki_mean_ranks(y, n, rank_y);
  if (code == NK_OK) {
    double mean = (double)(n + 1) / 2, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
      double dx = rank_x[i] - mean, dy = rank_y[i] - mean;
      xx += dx * dx;
      yy += dy * dy;
      xy += dx * dy;
    }
    *out = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
  }
  nk_free(rank_x);
  nk_free(rank_y);
  return code;
}
