/* The division of rows into groups. The key of a group is the text of all its cells: one look-up a
 * row, whatever the number of factors. */
#include "summary/factors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/names.h"
#include "summary/intervals.h"

/* ---- Columns ---- */

int summary_find(const struct summary_table *table, const char *name,
                 struct summary_column *column) {
  int64_t own = cli_frame_find(table->frame, name);
  int64_t joined = own < 0 && table->with != NULL ? cli_frame_find(table->with, name) : -1;
  if (own < 0 && joined < 0) return (int)cli_frame_column(table->frame, name);
  *column = (struct summary_column){(size_t)(own < 0 ? joined : own), own < 0};
  return NK_OK;
}

const char *summary_cell(const struct summary_table *table, struct summary_column column,
                         size_t row) {
  if (!column.joined) return cli_frame_cell(table->frame, row, column.index);
  if (table->row_of[row] < 0) return "";
  return cli_frame_cell(table->with, (size_t)table->row_of[row], column.index);
}

int summary_number(const struct summary_table *table, struct summary_column column, size_t row,
                   double *out) {
  if (column.joined && table->row_of[row] < 0) return NK_ENOTFOUND;
  const char *cell = summary_cell(table, column, row);
  char *end;
  *out = strtod(cell, &end); /* most cells: the message of a missing one is not needed */
  if (end != cell && *end == 0) return isnan(*out) ? NK_ENOTFOUND : NK_OK;
  if (cli_frame_is_missing(cell)) return NK_ENOTFOUND;
  return column.joined
             ? cli_frame_number(table->with, (size_t)table->row_of[row], column.index, out)
             : cli_frame_number(table->frame, row, column.index, out);
}

/* ---- Factors ---- */

static int add_factor(struct summary_factors *factors, const char *text, size_t length,
                      const struct summary_table *table) {
  void *grown = nk_realloc(factors->item, factors->n, factors->n + 1, sizeof *factors->item);
  if (grown == NULL) return NK_EMEMORY;
  factors->item = grown;
  struct summary_factor *factor = &factors->item[factors->n];
  *factor = (struct summary_factor){.name = nk_strndup(text, length)};
  if (factor->name == NULL) return NK_EMEMORY;
  factors->n++;
  if (!cli_condition_is(factor->name)) return summary_find(table, factor->name, &factor->column);
  int code = cli_condition_parse(&factor->condition, factor->name);
  return code == NK_OK ? summary_find(table, factor->condition.column, &factor->column) : code;
}

int summary_factors_add(struct summary_factors *factors, const char *list, char separator,
                        const struct summary_table *table) {
  int code = NK_OK;
  while (list != NULL && code == NK_OK) {
    const char *end = strchr(list, separator);
    code = add_factor(factors, list, end != NULL ? (size_t)(end - list) : strlen(list), table);
    list = end != NULL ? end + 1 : NULL;
  }
  return code;
}

void summary_factors_free(struct summary_factors *factors) {
  for (size_t f = 0; f < factors->n; f++) {
    struct summary_factor *factor = &factors->item[f];
    for (size_t b = 0; factor->label != NULL && b < factor->n_bins; b++) nk_free(factor->label[b]);
    nk_free(factor->label);
    nk_free(factor->edge);
    nk_free(factor->name);
    cli_condition_free(&factor->condition);
  }
  nk_free(factors->item);
  *factors = (struct summary_factors){0};
}

static size_t bin_of(const struct summary_factor *factor, double value) {
  size_t bin = 0;
  while (bin + 1 < factor->n_bins && value >= factor->edge[bin]) bin++;
  return bin;
}

const char *summary_factor_cell(const struct summary_factor *factor,
                                const struct summary_table *table, size_t row) {
  double value;
  if (factor->n_bins > 0)
    return summary_number(table, factor->column, row, &value) == NK_OK
               ? factor->label[bin_of(factor, value)]
               : "";
  const char *cell = summary_cell(table, factor->column, row);
  if (factor->condition.column == NULL) return cell;
  if (cli_condition_lacks(&factor->condition, cell)) return "";
  return cli_condition_holds(&factor->condition, cell) ? "1" : "0";
}

int summary_factors_key(const struct summary_factors *factors, const struct summary_table *table,
                        size_t row, struct cli_names *names, size_t *index) {
  struct nk_buffer key = {0};
  for (size_t f = 0; f < factors->n; f++) {
    nk_buffer_text(&key, summary_factor_cell(&factors->item[f], table, row));
    nk_buffer_byte(&key, '\t');
  }
  int code = key.failed ? nk_fail(NK_EMEMORY, "out of memory")
                        : cli_names_add(names, key.data != NULL ? key.data : "", index);
  nk_buffer_free(&key);
  return code;
}

bool summary_factor_holds(const struct summary_factor *factor, const struct summary_table *table,
                          size_t row) {
  const char *cell = summary_cell(table, factor->column, row);
  return !cli_condition_lacks(&factor->condition, cell) &&
         cli_condition_holds(&factor->condition, cell);
}

/* ---- Bins ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Bins of sorted [n], n > 0. Equal values share a bin, so that there can be fewer than `wanted`. */
static int set_bins(struct summary_factor *factor, const double *sorted, size_t n, size_t wanted) {
  factor->edge = nk_alloc(wanted, sizeof *factor->edge);
  factor->label = nk_calloc(wanted, sizeof *factor->label);
  if (factor->edge == NULL || factor->label == NULL) return NK_EMEMORY;
  size_t begin = 0;
  for (size_t b = 1; b <= wanted && begin < n; b++) {
    size_t end = (size_t)((double)n * (double)b / (double)wanted);
    while (end > begin && end < n && sorted[end] == sorted[end - 1]) end++;
    if (end <= begin) continue;
    char text[32];
    snprintf(text, sizeof text, "%.9g", summary_quantile_value(sorted + begin, end - begin, 0.5));
    if (factor->n_bins > 0) factor->edge[factor->n_bins - 1] = sorted[begin];
    factor->label[factor->n_bins] = nk_strdup(text);
    if (factor->label[factor->n_bins++] == NULL) return NK_EMEMORY;
    begin = end;
  }
  return NK_OK;
}

int summary_factors_bin(struct summary_factors *factors, const char *text,
                        const struct summary_table *table, const size_t *rows, size_t n) {
  const char *colon = strrchr(text, ':');
  char *end = NULL;
  unsigned long wanted = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
  if (end == NULL || *end != 0 || wanted < 1 || wanted > 1000)
    return nk_fail(NK_EUSAGE, "option --bins: '%s' is not of the form COLUMN:N, N from 1 to 1000",
                   text);
  size_t f = 0, length = (size_t)(colon - text), n_values = 0;
  while (f < factors->n &&
         (strncmp(factors->item[f].name, text, length) != 0 || factors->item[f].name[length] != 0))
    f++;
  int code = f == factors->n ? add_factor(factors, text, length, table) : NK_OK;
  double *sorted = code == NK_OK ? nk_alloc(n, sizeof *sorted) : NULL;
  if (sorted == NULL) return nk_error_code();
  struct summary_factor *factor = &factors->item[f];
  if (factor->n_bins > 0)
    code = nk_fail(NK_EUSAGE, "option --bins: '%s' is given twice", factor->name);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    code = summary_number(table, factor->column, rows[i], &sorted[n_values]);
    n_values += code == NK_OK;
    if (code == NK_ENOTFOUND) code = NK_OK;
  }
  if (n_values > 1) qsort(sorted, n_values, sizeof *sorted, compare_doubles);
  if (code == NK_OK && n_values > 0) code = set_bins(factor, sorted, n_values, wanted);
  nk_free(sorted);
  return code;
}

/* ---- Groups ---- */

int summary_group(const struct summary_table *table, const struct summary_factors *factors,
                  const size_t *rows, size_t n, struct summary_groups *groups) {
  struct cli_names keys = {0};
  struct nk_buffer key = {0};
  size_t capacity = 0, group = 0;
  int code = NK_OK;
  groups->of = nk_alloc(n, sizeof *groups->of);
  if (groups->of == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    nk_buffer_clear(&key);
    for (size_t f = 0; f < factors->n; f++) {
      nk_buffer_text(&key, summary_factor_cell(&factors->item[f], table, rows[i]));
      nk_buffer_byte(&key, '\t');
    }
    code = key.failed ? nk_fail(NK_EMEMORY, "out of memory")
                      : cli_names_add(&keys, key.data != NULL ? key.data : "", &group);
    if (code != NK_OK) break;
    groups->of[i] = (uint32_t)group;
    if (group < groups->n) continue;
    if (groups->n == capacity) {
      size_t more = 2 * capacity + 16;
      void *grown = nk_realloc(groups->first, capacity, more, sizeof *groups->first);
      if (grown == NULL) code = NK_EMEMORY;
      if (grown != NULL) groups->first = grown;
      capacity = more;
    }
    if (code == NK_OK) groups->first[groups->n++] = rows[i];
  }
  nk_buffer_free(&key);
  cli_names_free(&keys);
  return code;
}

/* A group, and its rank by each factor. */
struct ranked {
  size_t group, n_factors;
  const double *rank; /* [n_factors] */
};

static int compare_ranked(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  for (size_t f = 0; f < x->n_factors; f++)
    if (x->rank[f] != y->rank[f]) return x->rank[f] < y->rank[f] ? -1 : 1;
  return (x->group > y->group) - (x->group < y->group);
}

/* rank [groups->n, n_factors], column f: the number that a group's cell is, or the place of its
 * text among the different ones. A missing number precedes the others. */
static int set_ranks(const struct summary_table *table, const struct summary_factors *factors,
                     const struct summary_groups *groups, size_t f, double *rank) {
  struct cli_names texts = {0};
  bool numeric = true;
  int code = NK_OK;
  for (size_t g = 0; g < groups->n && code == NK_OK; g++) {
    const char *cell = summary_factor_cell(&factors->item[f], table, groups->first[g]);
    double *out = &rank[g * factors->n + f];
    char *end;
    *out = strtod(cell, &end);
    if (*end != 0) numeric = false;
    if (*cell == 0 || isnan(*out)) *out = -INFINITY;
  }
  for (size_t g = 0; g < groups->n && code == NK_OK && !numeric; g++) {
    size_t place = 0;
    code = cli_names_add(&texts, summary_factor_cell(&factors->item[f], table, groups->first[g]),
                         &place);
    rank[g * factors->n + f] = (double)place;
  }
  cli_names_free(&texts);
  return code;
}

int summary_groups_sort(const struct summary_table *table, const struct summary_factors *factors,
                        struct summary_groups *groups, size_t n) {
  size_t n_ranks = 0;
  if (!nk_size_mul(groups->n, factors->n, &n_ranks)) return NK_EMEMORY;
  double *rank = nk_alloc(n_ranks, sizeof *rank);
  struct ranked *order = nk_alloc(groups->n, sizeof *order);
  size_t *first = nk_alloc(groups->n, sizeof *first);
  uint32_t *place = nk_alloc(groups->n, sizeof *place);
  int code = rank != NULL && order != NULL && first != NULL && place != NULL ? NK_OK : NK_EMEMORY;
  for (size_t f = 0; f < factors->n && code == NK_OK; f++)
    code = set_ranks(table, factors, groups, f, rank);
  if (code == NK_OK) {
    for (size_t g = 0; g < groups->n; g++)
      order[g] = (struct ranked){g, factors->n, rank + g * factors->n};
    if (groups->n > 1) qsort(order, groups->n, sizeof *order, compare_ranked);
    for (size_t g = 0; g < groups->n; g++) {
      first[g] = groups->first[order[g].group];
      place[order[g].group] = (uint32_t)g;
    }
    for (size_t i = 0; i < n; i++) groups->of[i] = place[groups->of[i]];
    if (groups->n > 0) memcpy(groups->first, first, groups->n * sizeof *first);
  }
  nk_free(rank);
  nk_free(order);
  nk_free(first);
  nk_free(place);
  return code;
}

int summary_groups_rows(struct summary_groups *groups, size_t n) {
  size_t *at = groups->begin = nk_calloc(groups->n + 2, sizeof *at);
  groups->order = nk_alloc(n, sizeof *groups->order);
  if (groups->order == NULL || at == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) at[groups->of[i] + 2]++;
  for (size_t g = 2; g < groups->n + 2; g++) at[g] += at[g - 1];
  for (size_t i = 0; i < n; i++) groups->order[at[groups->of[i] + 1]++] = i;
  return NK_OK;
}

void summary_groups_free(struct summary_groups *groups) {
  nk_free(groups->of);
  nk_free(groups->first);
  nk_free(groups->order);
  nk_free(groups->begin);
  *groups = (struct summary_groups){0};
}
