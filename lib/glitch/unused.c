/* Which rows mark the ball of never-seen tokens. What a tokenizer tells is not all to be trusted
 * (padding may have been added after training, a token that the tokenizer cannot produce may have
 * been in the data), so rows count only where they agree with one another. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>

#include <noken/glitch.h>
#include "geometry/internal.h"
#include "glitch/internal.h"

enum {
  FEWEST = 3,     /* rows that can show a place and a spread */
  MOST = 512,     /* candidates compared with each other */
  EXTREMES = 128, /* rows from each end when nothing is known */
};
/* How far rows of a group may be, in units of the distance that is usual within it. Without hints a
 * wide net: there the tightest rows of a ball stand for all of it. */
static const double SAME_GROUP = 1.5, WIDE_GROUP = 2, NEAR = 0.05;

struct candidates {
  size_t *rows; /* [n] */
  size_t n;
};

/* The rows of a role; of more than MOST, as many at even steps. */
static int of_role(const enum nk_glitch_role *role, size_t n, enum nk_glitch_role wanted,
                   struct candidates *out) {
  size_t total = 0, seen = 0;
  for (size_t i = 0; i < n; i++) total += role[i] == wanted;
  size_t taken = total < MOST ? total : MOST;
  out->n = 0;
  if ((out->rows = nk_alloc(taken, sizeof(size_t))) == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n && out->n < taken; i++) {
    if (role[i] != wanted) continue;
    if (seen++ * taken / total >= out->n) out->rows[out->n++] = i;
  }
  return NK_OK;
}

/* Leaves one of each set of exact copies: rows of zeros, say, that never belonged to training. */
static void leave_one_copy(const float *x, size_t dim, struct candidates *c) {
  size_t kept = 0;
  for (size_t i = 0; i < c->n; i++) {
    bool copy = false;
    for (size_t j = 0; j < kept && !copy; j++)
      copy = memcmp(x + c->rows[i] * dim, x + c->rows[j] * dim, dim * sizeof(float)) == 0;
    if (!copy) c->rows[kept++] = c->rows[i];
  }
  c->n = kept;
}

static int compare_distances(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median distance, squared, from row `from` to rows of x at even steps. */
static double typical_square(const float *x, size_t n, size_t dim, size_t from, double *sorted,
                             size_t room) {
  size_t taken = n < room ? n : room;
  for (size_t i = 0; i < taken; i++)
    sorted[i] = nki_distance_squares(x + from * dim, x + i * n / taken * dim, dim);
  nki_sort_numbers(sorted, taken);
  return nki_quantile_sorted(sorted, taken, 0.5);
}

/* Keeps the candidate whose k-th nearest other candidate is nearest, and those within `group`
 * times that distance of it, or nearer to it than NEAR times a typical row of x [n_all, dim]. Rows
 * in a ball of many dimensions are all at about the same distance from each other, unless they were
 * rounded. */
static int keep_tightest(const float *x, size_t n_all, size_t dim, size_t k, double group,
                         struct candidates *c) {
  size_t n = c->n, best = 0, kept = 0;
  double nearest = INFINITY;
  if (n < 2) return NK_OK;
  if (k > n - 1) k = n - 1;
  size_t room = n > MOST ? n : MOST;
  double *square = nk_alloc(n * n, sizeof *square), *sorted = nk_alloc(room, sizeof *sorted);
  int code = square == NULL || sorted == NULL ? NK_EMEMORY : NK_OK;
  if (code != NK_OK) goto done;
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      square[i * n + j] =
          i == j ? 0 : nki_distance_squares(x + c->rows[i] * dim, x + c->rows[j] * dim, dim);
  for (size_t i = 0; i < n; i++) {
    memcpy(sorted, square + i * n, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_distances); /* itself comes first */
    if (sorted[k] < nearest) {
      nearest = sorted[k];
      best = i;
    }
  }
  double typical = typical_square(x, n_all, dim, c->rows[best], sorted, room);
  double reach = fmax(group * group * nearest, NEAR * NEAR * typical);
  for (size_t i = 0; i < n; i++)
    if (square[best * n + i] <= reach) c->rows[kept++] = c->rows[i];
  c->n = kept;

done:
  nk_free(square);
  nk_free(sorted);
  return code;
}

/* Appends the rows with the EXTREMES smallest and largest of values [n]; sorted [n] is free. */
static void add_extremes(const double *values, size_t n, double *sorted, bool *taken) {
  memcpy(sorted, values, n * sizeof *sorted);
  nki_sort_numbers(sorted, n);
  size_t ends = n < 2 * EXTREMES ? n / 2 : EXTREMES;
  double low = sorted[ends > 0 ? ends - 1 : 0], high = sorted[n - (ends > 0 ? ends : 1)];
  for (size_t i = 0; i < n; i++)
    if (values[i] <= low || values[i] >= high) taken[i] = true;
}

/* taken [n]: the rows that stand out by length, or along the mean or the first component. */
static int find_extremes(const float *x, size_t n, size_t dim, bool *taken) {
  double *values = nk_alloc(n, sizeof *values), *sorted = nk_alloc(n, sizeof *sorted);
  struct nk_moments *moments = nk_moments_compute(x, NULL, n, dim);
  struct nk_pca *pca = NULL;
  int code = moments == NULL ? nk_error_code() : NK_EMEMORY;
  if (moments == NULL || values == NULL || sorted == NULL) goto done;
  if ((pca = nk_pca_new(moments, 1, 0)) == NULL) {
    code = nk_error_code();
    goto done;
  }
  code = NK_OK;
  nk_row_distances(x, n, dim, moments->mean, values, NULL, NULL);
  add_extremes(values, n, sorted, taken);
  for (int axis = 0; axis < 2; axis++) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
      double sum = 0;
      for (size_t j = 0; j < dim; j++)
        sum += (double)x[i * dim + j] * (axis == 0 ? moments->mean[j] : (double)pca->components[j]);
      values[i] = sum;
    }
    add_extremes(values, n, sorted, taken);
  }

done:
  nk_free(values);
  nk_free(sorted);
  nk_pca_free(pca);
  nk_moments_free(moments);
  return code;
}

/* With nothing known: the four or more rows that lie closest together among the extremes. */
static int without_hint(const float *x, size_t n, size_t dim, struct candidates *out) {
  bool *taken = nk_calloc(n, sizeof *taken);
  int code = taken == NULL ? NK_EMEMORY : find_extremes(x, n, dim, taken);
  nk_free(out->rows);
  out->rows = code == NK_OK ? nk_alloc(n, sizeof(size_t)) : NULL;
  out->n = 0;
  if (code == NK_OK && out->rows == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    if (taken[i]) out->rows[out->n++] = i;
  nk_free(taken);
  if (code != NK_OK) return code;
  leave_one_copy(x, dim, out);
  return keep_tightest(x, n, dim, FEWEST, WIDE_GROUP, out);
}

static int ascending_rows(const void *a, const void *b) {
  size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

int nk_find_unused(const float *x, size_t n, size_t dim, const enum nk_glitch_role *role,
                   size_t **rows, size_t *n_rows) {
  struct candidates sure = {0}, suspect = {0};
  int code = of_role(role, n, NK_ROLE_UNUSED, &sure);
  if (code != NK_OK) goto done;
  leave_one_copy(x, dim, &sure);
  size_t known = sure.n;
  if (known >= FEWEST) { /* most of them agree, so the group is found from half of them */
    code = keep_tightest(x, n, dim, known / 2 > 2 ? known / 2 : 2, SAME_GROUP, &sure);
    if (code != NK_OK || sure.n >= FEWEST) goto done;
  }
  if ((code = of_role(role, n, NK_ROLE_SUSPECT, &suspect)) != NK_OK) goto done;
  size_t *both = nk_realloc(sure.rows, sure.n, sure.n + suspect.n, sizeof(size_t));
  if (both == NULL) {
    code = NK_EMEMORY;
    goto done;
  }
  sure.rows = both;
  if (suspect.n > 0) memcpy(sure.rows + sure.n, suspect.rows, suspect.n * sizeof(size_t));
  sure.n += suspect.n;
  leave_one_copy(x, dim, &sure);
  size_t candidates = sure.n;
  if (candidates >= FEWEST && (code = keep_tightest(x, n, dim, FEWEST, SAME_GROUP, &sure)) != NK_OK)
    goto done;
  if (sure.n >= FEWEST) goto done;
  nk_warn(
      "only %zu unused tokens are known: the ball of never-seen tokens is guessed from the "
      "rows that lie closest together among the extreme ones",
      candidates);
  code = without_hint(x, n, dim, &sure);
  if (code == NK_OK && sure.n < FEWEST)
    code = nk_fail(NK_EDATA, "no three different rows: there is nothing to rank");

done:
  nk_free(suspect.rows);
  if (code != NK_OK) {
    nk_free(sure.rows);
    return code;
  }
  qsort(sure.rows, sure.n, sizeof *sure.rows, ascending_rows);
  *rows = sure.rows;
  *n_rows = sure.n;
  return NK_OK;
}
