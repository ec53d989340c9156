/* Ranks of features, and distances of units. */
#include "summary/space.h"

#include <math.h>
#include <stdlib.h>

/* ---- Ranks ---- */

struct keyed {
  double value;
  size_t row;
};

static int compare_keyed(const void *a, const void *b) {
  double x = ((const struct keyed *)a)->value, y = ((const struct keyed *)b)->value;
  return (x > y) - (x < y);
}

/* Mid-ranks less 1/2, divided by n, of a feature of the rows from begin to begin + n. */
static void set_ranks(struct summary_space *space, size_t begin, size_t n, size_t feature,
                      struct keyed *key) {
  size_t width = space->of->n_features;
  for (size_t i = 0; i < n; i++)
    key[i] = (struct keyed){space->of->value[space->order[begin + i] * width + feature], begin + i};
  if (n > 1) qsort(key, n, sizeof *key, compare_keyed);
  for (size_t i = 0, end; i < n; i = end) {
    for (end = i; end < n && key[end].value == key[i].value; end++) continue;
    for (size_t k = i; k < end; k++)
      space->rank[key[k].row * width + feature] = ((double)i + (double)end) / 2 / (double)n;
  }
}

int summary_space_make(struct summary_space *space, const struct summary_two_samples *of) {
  size_t n_cells, n_ranks;
  space->of = of;
  if (!nk_size_mul(of->n_strata, of->n_units, &n_cells) || !nk_size_add(n_cells, 2, &n_cells) ||
      !nk_size_mul(of->n, of->n_features, &n_ranks))
    return nk_fail(NK_EMEMORY, "out of memory");
  space->order = nk_alloc(of->n, sizeof *space->order);
  space->begin = nk_calloc(n_cells, sizeof *space->begin);
  space->rank = nk_alloc(n_ranks, sizeof *space->rank);
  struct keyed *key = nk_alloc(of->n, sizeof *key);
  bool ok = space->order != NULL && space->begin != NULL && space->rank != NULL && key != NULL;
  for (size_t i = 0; ok && i < of->n; i++)
    space->begin[of->stratum[i] * of->n_units + of->unit[i] + 2]++;
  for (size_t c = 2; ok && c < n_cells; c++) space->begin[c] += space->begin[c - 1];
  for (size_t i = 0; ok && i < of->n; i++)
    space->order[space->begin[of->stratum[i] * of->n_units + of->unit[i] + 1]++] = i;
  for (size_t s = 0; ok && s < of->n_strata; s++) {
    size_t begin = space->begin[s * of->n_units], end = space->begin[(s + 1) * of->n_units];
    for (size_t f = 0; f < of->n_features; f++) set_ranks(space, begin, end - begin, f, key);
  }
  nk_free(key);
  return ok ? NK_OK : NK_EMEMORY;
}

void summary_space_free(struct summary_space *space) {
  nk_free(space->order);
  nk_free(space->begin);
  nk_free(space->rank);
}

/* ---- Distances ---- */

size_t summary_space_rows(const struct summary_space *space, size_t stratum, size_t unit) {
  size_t cell = stratum * space->of->n_units + unit;
  return space->begin[cell + 1] - space->begin[cell];
}

static double row_distance(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t f = 0; f < n; f++) sum += (a[f] - b[f]) * (a[f] - b[f]);
  return sqrt(sum);
}

double summary_space_distance(const struct summary_space *space, size_t first, size_t end, size_t i,
                              size_t j) {
  size_t width = space->of->n_features, n_units = space->of->n_units;
  double sum = 0;
  for (size_t s = first; s < end; s++) {
    const size_t *a = &space->begin[s * n_units + i], *b = &space->begin[s * n_units + j];
    double of_stratum = 0;
    for (size_t k = a[0]; k < a[1]; k++)
      for (size_t m = b[0]; m < b[1]; m++)
        of_stratum += row_distance(&space->rank[k * width], &space->rank[m * width], width);
    sum += of_stratum / (double)((a[1] - a[0]) * (b[1] - b[0]));
  }
  return sum / (double)(end - first);
}
