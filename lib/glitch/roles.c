/* Which rows mark the ball of never-seen tokens. What a tokenizer tells is not all to be trusted
 * (padding may have been added after training, a token that the tokenizer cannot produce may have
 * been in the data), so rows count only where they agree with one another. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/tokenizer.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/internal.h"
#include "glitch/constants.h"
#include "glitch/internal.h"

/* ---- From categories and from ids ---- */

static enum nk_glitch_role role_of(enum nk_category category) {
  switch (category) {
    case NK_TOKEN_OK:
    case NK_TOKEN_BYTE:
    case NK_TOKEN_PARTIAL_UTF8:
      return NK_ROLE_TEXT;
    case NK_TOKEN_UNUSED_BYTE:
      return NK_ROLE_UNUSED;
    case NK_TOKEN_UNREACHABLE:
    case NK_TOKEN_PADDING:
      return NK_ROLE_SUSPECT;
    default:
      return NK_ROLE_APART;
  }
}

int nki_roles_of_tokens(const struct nk_tokenizer *tokenizer, size_t n, enum nk_category *category,
                        enum nk_glitch_role *role) {
  for (size_t i = 0; i < n; i++) category[i] = NK_TOKEN_OK;
  int code = tokenizer != NULL ? nk_tokenizer_categories(tokenizer, n, category) : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) role[i] = role_of(category[i]);
  return code;
}

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

int nki_roles_of_ids(const struct nk_vectors *set, const int64_t *unused, size_t n_unused,
                     enum nk_glitch_role *role) {
  int64_t *sorted = nk_alloc(n_unused, sizeof *sorted);
  size_t found = 0;
  if (sorted == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n_unused; i++) sorted[i] = unused[i];
  qsort(sorted, n_unused, sizeof *sorted, compare_ids);
  for (size_t i = 0; i < set->n; i++) {
    bool known = n_unused > 0 &&
                 bsearch(&set->ids[i], sorted, n_unused, sizeof *sorted, compare_ids) != NULL;
    role[i] = known ? NK_ROLE_UNUSED : NK_ROLE_TEXT;
    found += known;
  }
  nk_free(sorted);
  if (found < n_unused)
    nk_warn("%zu of the %zu unused ids are not in the set", n_unused - found, n_unused);
  return NK_OK;
}

/* ---- Which rows mark the ball ---- */

struct candidates {
  size_t *rows; /* [n] */
  size_t n;
};

/* Appends the rows of a role; of more than NKI_MOST_UNUSED, as many at even steps. */
static int add_role(const enum nk_glitch_role *role, size_t n, enum nk_glitch_role wanted,
                    struct candidates *out) {
  size_t total = 0, seen = 0, first = out->n;
  for (size_t i = 0; i < n; i++) total += role[i] == wanted;
  size_t taken = total < NKI_MOST_UNUSED ? total : NKI_MOST_UNUSED;
  size_t *rows = nk_realloc(out->rows, out->n, out->n + taken, sizeof *rows);
  if (rows == NULL) return NK_EMEMORY;
  out->rows = rows;
  for (size_t i = 0; i < n && out->n < first + taken; i++) {
    if (role[i] != wanted) continue;
    if (seen++ * taken / total >= out->n - first) rows[out->n++] = i;
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
 * times that distance of it, or nearer to it than NKI_NEAR times a typical row of x [n_all, dim].
 * Rows in a ball of many dimensions are all at about the same distance from each other, unless they
 * were rounded. */
static int keep_tightest(const float *x, size_t n_all, size_t dim, size_t k, double group,
                         struct candidates *c) {
  size_t n = c->n, best = 0, kept = 0;
  double nearest = INFINITY;
  if (n < 2) return NK_OK;
  if (k > n - 1) k = n - 1;
  size_t room = n > NKI_MOST_UNUSED ? n : NKI_MOST_UNUSED;
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
    nki_sort_numbers(sorted, n); /* itself comes first */
    if (sorted[k] < nearest) {
      nearest = sorted[k];
      best = i;
    }
  }
  double typical = typical_square(x, n_all, dim, c->rows[best], sorted, room);
  double reach = fmax(group * group * nearest, NKI_NEAR * NKI_NEAR * typical);
  for (size_t i = 0; i < n; i++)
    if (square[best * n + i] <= reach) c->rows[kept++] = c->rows[i];
  c->n = kept;

done:
  nk_free(square);
  nk_free(sorted);
  return code;
}

/* The special tokens whose rows nearly coincide: trained ones lie as far apart as other rows, those
 * that were reserved and never used end where weight decay and the softmax leave all such rows. */
static int coinciding_specials(const float *x, size_t n, size_t dim,
                               const enum nk_glitch_role *role, struct candidates *out) {
  out->n = 0;
  int code = add_role(role, n, NK_ROLE_APART, out);
  if (code != NK_OK) return code;
  leave_one_copy(x, dim, out);
  return keep_tightest(x, n, dim, NKI_FEWEST_UNUSED - 1, 0, out);
}

/* Appends the rows with the NKI_EXTREMES smallest and largest of values [n]; sorted [n] is free. */
static void add_extremes(const double *values, size_t n, double *sorted, bool *taken) {
  memcpy(sorted, values, n * sizeof *sorted);
  nki_sort_numbers(sorted, n);
  size_t ends = n < (size_t)2 * NKI_EXTREMES ? n / 2 : NKI_EXTREMES;
  double low = sorted[ends > 0 ? ends - 1 : 0], high = sorted[n - (ends > 0 ? ends : 1)];
  for (size_t i = 0; i < n; i++)
    if (values[i] <= low || values[i] >= high) taken[i] = true;
}

/* taken [n]: the rows that stand out by length, or along the mean. */
static int find_extremes(const float *x, size_t n, size_t dim, bool *taken) {
  double *values = nk_alloc(n, sizeof *values), *sorted = nk_alloc(n, sizeof *sorted);
  double *mean = nk_alloc(dim, sizeof *mean);
  int code = NK_EMEMORY;
  if (values == NULL || sorted == NULL || mean == NULL) goto done;
  if ((code = nk_mean(x, NULL, n, dim, mean)) != NK_OK) goto done;
  nk_row_distances(x, n, dim, mean, values, NULL, NULL);
  add_extremes(values, n, sorted, taken);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++) values[i] = nki_dot_from(x + i * dim, mean, mean, dim);
  add_extremes(values, n, sorted, taken);

done:
  nk_free(values);
  nk_free(sorted);
  nk_free(mean);
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
  return keep_tightest(x, n, dim, NKI_FEWEST_UNUSED, NKI_WIDE_GROUP, out);
}

static int ascending_rows(const void *a, const void *b) {
  size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

/* Keeps the candidates that agree: at least NKI_FEWEST_UNUSED, or as many as there are. */
static int agree(const float *x, size_t n, size_t dim, size_t k, struct candidates *c) {
  leave_one_copy(x, dim, c);
  if (c->n < NKI_FEWEST_UNUSED) return NK_OK;
  return keep_tightest(x, n, dim, k, NKI_SAME_GROUP, c);
}

int nki_find_unused(const float *x, size_t n, size_t dim, const enum nk_glitch_role *role,
                    size_t **rows, size_t *n_rows, enum nk_glitch_source *source) {
  struct candidates found = {0};
  *source = NK_SOURCE_KNOWN;
  int code = add_role(role, n, NK_ROLE_UNUSED, &found);
  /* Most of these agree, so the group is found from half of them. */
  if (code == NK_OK) code = agree(x, n, dim, found.n / 2 > 2 ? found.n / 2 : 2, &found);
  if (code == NK_OK && found.n < NKI_FEWEST_UNUSED) {
    *source = NK_SOURCE_SUSPECT;
    code = add_role(role, n, NK_ROLE_SUSPECT, &found);
    if (code == NK_OK) code = agree(x, n, dim, NKI_FEWEST_UNUSED, &found);
  }
  if (code == NK_OK && found.n < NKI_FEWEST_UNUSED) {
    *source = NK_SOURCE_SPECIAL;
    code = coinciding_specials(x, n, dim, role, &found);
  }
  if (code == NK_OK && found.n < NKI_FEWEST_UNUSED) {
    *source = NK_SOURCE_EXTREME;
    nk_warn(
        "fewer than %d unused tokens are known: the rows that lie closest together among the "
        "extreme ones are taken for never-seen tokens",
        NKI_FEWEST_UNUSED);
    code = without_hint(x, n, dim, &found);
  }
  if (code == NK_OK && found.n < NKI_FEWEST_UNUSED)
    code = nk_fail(NK_EDATA, "no three different rows: there is nothing to rank");
  if (code != NK_OK) {
    nk_free(found.rows);
    return code;
  }
  qsort(found.rows, found.n, sizeof *found.rows, ascending_rows);
  *rows = found.rows;
  *n_rows = found.n;
  return NK_OK;
}
