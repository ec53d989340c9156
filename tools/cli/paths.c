/* Distances along paths. The ends of a path are rows of the set themselves, so that a set that was
 * captured at a layer is measured at that layer. */
#include "cli/paths.h"

#include <math.h>
#include <noken/noken.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/sets.h"

static const char *const KEYS[CLI_PATH_KEYS] = {"pair", "prompt", "layer", "offset"};

/* ---- Which rows are a path ---- */

struct place {
  int64_t key[CLI_PATH_KEYS];
  double t;
  size_t row;
};

static int compare_keys(const struct place *x, const struct place *y) {
  for (size_t k = 0; k < CLI_PATH_KEYS; k++)
    if (x->key[k] != y->key[k]) return x->key[k] < y->key[k] ? -1 : 1;
  return 0;
}

static int compare_places(const void *a, const void *b) {
  const struct place *x = a, *y = b;
  int order = compare_keys(x, y);
  if (order != 0) return order;
  if (x->t != y->t) return x->t < y->t ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static int find_columns(struct cli_paths *paths, const struct nk_vectors *set) {
  paths->t = nk_vectors_column(set, "t");
  if (paths->t == NULL) return nk_fail(NK_ENOTFOUND, "the set has no column 't'");
  for (size_t k = 0; k < CLI_PATH_KEYS; k++) {
    const struct nk_column *column = nk_vectors_column(set, KEYS[k]);
    if (column != NULL) paths->key[paths->n_keys++] = column;
  }
  return NK_OK;
}

static int divide(struct cli_paths *paths, const struct nk_vectors *set) {
  struct place *places = nk_calloc(set->n, sizeof *places);
  paths->begin = nk_alloc(set->n + 1, sizeof *paths->begin);
  paths->rows = nk_alloc(set->n, sizeof *paths->rows);
  bool ok = places != NULL && paths->begin != NULL && paths->rows != NULL;
  int code = ok ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    places[i].t = cli_column_number(paths->t, i);
    places[i].row = i;
    for (size_t k = 0; k < paths->n_keys && code == NK_OK; k++)
      code = cli_whole_number(paths->key[k], i, &places[i].key[k]);
    if (code == NK_OK && !(places[i].t >= 0 && places[i].t <= 1))
      code = nk_fail(NK_EDATA, "column 't', row %zu: %.9g, expected 0 to 1", i, places[i].t);
  }
  if (code == NK_OK && set->n > 1) qsort(places, set->n, sizeof *places, compare_places);
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    if (i == 0 || compare_keys(&places[i], &places[i - 1]) != 0) paths->begin[paths->n++] = i;
    paths->rows[i] = places[i].row;
  }
  if (code == NK_OK) paths->begin[paths->n] = set->n;
  nk_free(places);
  return code;
}

/* ---- Distances ---- */

/* "pair 3, layer 2", for messages. */
static const char *name_of(const struct cli_paths *paths, size_t row, char name[160]) {
  size_t length = 0;
  name[0] = 0;
  for (size_t k = 0; k < paths->n_keys; k++)
    length += (size_t)snprintf(name + length, 160 - length, "%s%s %.0f", k > 0 ? ", " : "",
                               paths->key[k]->name, cli_column_number(paths->key[k], row));
  return name[0] != 0 ? name : "the path";
}

/* The only row of rows [n] at which t has this value. */
static int find_row(const struct cli_paths *paths, const size_t *rows, size_t n, double t,
                    size_t *row) {
  size_t found = 0;
  char name[160];
  for (size_t i = 0; i < n; i++) {
    if (cli_column_number(paths->t, rows[i]) != t) continue;
    *row = rows[i];
    found++;
  }
  if (found == 1) return NK_OK;
  return nk_fail(NK_EDATA, "%s: %zu rows with t = %g, expected 1", name_of(paths, rows[0], name),
                 found, t);
}

/* out [n] = distances of x [n, dim] from a row of the set; centre [dim] is overwritten. */
static void measure_from(const struct nk_vectors *set, size_t row, const float *x, size_t n,
                         double *centre, double *out) {
  for (size_t j = 0; j < set->dim; j++) centre[j] = (double)set->values[row * set->dim + j];
  nk_row_distances(x, n, set->dim, centre, NULL, out, NULL);
}

/* Whether a path has a row at each end. */
static bool has_ends(const struct cli_paths *paths, const size_t *rows, size_t n) {
  return !(cli_column_number(paths->t, rows[0]) > 0 ||
           cli_column_number(paths->t, rows[n - 1]) < 1);
}

/* Leaves a path out of the tables. */
static void omit_path(struct cli_paths *paths, const size_t *rows, size_t n) {
  char name[160];
  for (size_t i = 0; i < n; i++) paths->to_a[rows[i]] = NAN;
  nk_warn("%s: an end is missing, and the path is left out", name_of(paths, rows[0], name));
}

/* work [2 * n] and x [n * dim] for the longest path, centre [dim]: all overwritten. */
static int measure_path(struct cli_paths *paths, const struct nk_vectors *set, size_t path,
                        float *x, double *work, double *centre) {
  const size_t *rows = paths->rows + paths->begin[path];
  size_t n = paths->begin[path + 1] - paths->begin[path], dim = set->dim, a = 0, b = 0;
  int code = find_row(paths, rows, n, 0, &a);
  if (code == NK_OK) code = find_row(paths, rows, n, 1, &b);
  for (size_t i = 1; i < n && code == NK_OK; i++) {
    size_t same;
    double t = cli_column_number(paths->t, rows[i]);
    if (!(t > cli_column_number(paths->t, rows[i - 1]))) code = find_row(paths, rows, n, t, &same);
  }
  if (code != NK_OK) return code;
  for (size_t i = 0; i < n; i++) memcpy(x + i * dim, set->values + rows[i] * dim, dim * sizeof *x);
  measure_from(set, a, x, n, centre, work);
  measure_from(set, b, x, n, centre, work + n);
  for (size_t i = 0; i < n; i++) {
    paths->to_a[rows[i]] = work[i];
    paths->to_b[rows[i]] = work[n + i];
    paths->relative[rows[i]] = work[i] / (work[i] + work[n + i]);
  }
  return NK_OK;
}

int cli_paths_measure(struct cli_paths *paths, const struct nk_vectors *set, bool skip) {
  *paths = (struct cli_paths){0};
  int code = find_columns(paths, set);
  if (code == NK_OK) code = divide(paths, set);
  if (code != NK_OK) return code;
  size_t longest = 0, n = set->n, n_values;
  for (size_t p = 0; p < paths->n; p++)
    if (paths->begin[p + 1] - paths->begin[p] > longest)
      longest = paths->begin[p + 1] - paths->begin[p];
  float *x = nk_size_mul(longest, set->dim, &n_values) ? nk_alloc(n_values, sizeof *x) : NULL;
  double *work = nk_alloc(2 * longest, sizeof *work);
  double *centre = nk_alloc(set->dim, sizeof *centre);
  paths->to_a = nk_alloc(n, sizeof *paths->to_a);
  paths->to_b = nk_alloc(n, sizeof *paths->to_b);
  paths->relative = nk_alloc(n, sizeof *paths->relative);
  if (x == NULL || work == NULL || centre == NULL || paths->to_a == NULL || paths->to_b == NULL ||
      paths->relative == NULL)
    code = NK_EMEMORY;
  for (size_t p = 0; p < paths->n && code == NK_OK; p++) {
    const size_t *rows = paths->rows + paths->begin[p];
    size_t n_rows = paths->begin[p + 1] - paths->begin[p];
    if (skip && !has_ends(paths, rows, n_rows))
      omit_path(paths, rows, n_rows);
    else
      code = measure_path(paths, set, p, x, work, centre);
  }
  nk_free(x);
  nk_free(work);
  nk_free(centre);
  return code;
}

void cli_paths_free(struct cli_paths *paths) {
  nk_free(paths->begin);
  nk_free(paths->rows);
  nk_free(paths->to_a);
  nk_free(paths->to_b);
  nk_free(paths->relative);
}

/* ---- Tables ---- */

static int write_columns(struct cli_table *table, const char *const *names, size_t n) {
  int code = NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) code = cli_table_column(table, names[i]);
  return code;
}

int cli_paths_write_rows(const struct cli_paths *paths, const struct nk_vectors *set,
                         struct cli_table *table) {
  static const char *const COLUMNS[] = {"to_a", "to_b", "relative"};
  int code = cli_set_head(set, table);
  if (code == NK_OK) code = write_columns(table, COLUMNS, 3);
  if (code == NK_OK) code = cli_set_head_tail(set, table);
  for (size_t row = 0; row < set->n && code == NK_OK; row++) {
    if (isnan(paths->to_a[row])) continue;
    cli_set_row(set, row, table);
    cli_table_number(table, paths->to_a[row]);
    cli_table_number(table, paths->to_b[row]);
    cli_table_number(table, paths->relative[row]);
    cli_set_row_tail(set, row, table);
    code = cli_table_end_row(table);
  }
  return code;
}

/* The least t at which relative reaches the level; NaN where it never does. */
static double reaches(const struct cli_paths *paths, size_t path, double level) {
  for (size_t i = paths->begin[path]; i < paths->begin[path + 1]; i++) {
    size_t row = paths->rows[i], before = i > paths->begin[path] ? paths->rows[i - 1] : row;
    double high = paths->relative[row], low = paths->relative[before];
    if (!(high >= level)) continue;
    double t = cli_column_number(paths->t, before), step = cli_column_number(paths->t, row) - t;
    return high > low ? t + step * (level - low) / (high - low) : t;
  }
  return NAN;
}

int cli_paths_write_widths(const struct cli_paths *paths, struct cli_table *table) {
  static const char *const COLUMNS[] = {"rows", "length", "t10", "t50", "t90", "width"};
  int code = NK_OK;
  for (size_t k = 0; k < paths->n_keys && code == NK_OK; k++)
    code = cli_table_column(table, paths->key[k]->name);
  if (code == NK_OK) code = write_columns(table, COLUMNS, 6);
  for (size_t p = 0; p < paths->n && code == NK_OK; p++) {
    size_t begin = paths->begin[p], end = paths->begin[p + 1], last = paths->rows[end - 1];
    if (isnan(paths->to_a[last])) continue;
    double t10 = reaches(paths, p, 0.1), t90 = reaches(paths, p, 0.9);
    for (size_t k = 0; k < paths->n_keys; k++)
      cli_table_integer(table, (int64_t)cli_column_number(paths->key[k], last));
    cli_table_integer(table, (int64_t)(end - begin));
    cli_table_number(table, paths->to_a[last]);
    cli_table_number(table, t10);
    cli_table_number(table, reaches(paths, p, 0.5));
    cli_table_number(table, t90);
    cli_table_number(table, t90 - t10);
    code = cli_table_end_row(table);
  }
  return code;
}
