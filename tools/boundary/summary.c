/* Median onsets of groups of rays. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "boundary/report.h"
#include "cli/sets.h"
#include "summary/intervals.h"

/* ---- Columns ---- */

struct factors {
  char *names;                     /* of `by`, cut at its commas */
  const char **name;               /* [n] */
  const struct nk_column **column; /* [n] NULL: the prompt */
  size_t n;
};

static int find_column(const struct boundary_report *report, const char *name,
                       const struct nk_column **column) {
  *column = nk_vectors_column(report->rows, name);
  if (*column != NULL || (report->prompts != NULL && strcmp(name, "prompt") == 0)) return NK_OK;
  struct nk_buffer known = {0};
  for (size_t c = 0; c < report->rows->n_columns; c++)
    nk_buffer_printf(&known, " %s", report->rows->columns[c].name);
  int code = nk_fail(NK_ENOTFOUND, "--by: the rays have no column '%s', but:%s%s", name,
                     report->prompts != NULL ? " prompt" : "", known.size > 0 ? known.data : "");
  nk_buffer_free(&known);
  return code;
}

static int find_factors(const struct boundary_report *report, const char *by, struct factors *out) {
  if (by == NULL) {
    bool prompt = report->prompts != NULL && report->prompts->n > 1;
    bool direction = nk_vectors_column(report->rows, "direction") != NULL;
    by = prompt ? (direction ? "prompt,direction" : "prompt") : direction ? "direction" : NULL;
  }
  if (by == NULL) return NK_OK;
  size_t most = strlen(by) + 1;
  out->names = nk_strdup(by);
  out->name = nk_alloc(most, sizeof *out->name);
  out->column = nk_alloc(most, sizeof *out->column);
  if (out->names == NULL || out->name == NULL || out->column == NULL) return NK_EMEMORY;
  for (char *at = out->names; at != NULL;) {
    char *comma = strchr(at, ',');
    if (comma != NULL) *comma = 0;
    int code = find_column(report, at, &out->column[out->n]);
    if (code != NK_OK) return code;
    out->name[out->n++] = at;
    at = comma != NULL ? comma + 1 : NULL;
  }
  return NK_OK;
}

static bool same_group(const struct boundary_report *report, const struct factors *by, size_t a,
                       size_t b) {
  for (size_t f = 0; f < by->n; f++)
    if (by->column[f] == NULL ? report->places[a].context != report->places[b].context
                              : !cli_column_same(by->column[f], a, b))
      return false;
  return true;
}

/* ---- Groups ---- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* An infinite quantile is beyond the rays' ends. */
static void write_known(double value, struct cli_table *table) {
  cli_table_number(table, isinf(value) ? (double)NAN : value);
}

/* The row of the trials with group[i] == number, of which `first` is one; sorted [n] is for the
 * onsets. */
static int write_group(const struct boundary_report *report, const struct factors *by, size_t first,
                       const size_t *group, double *sorted, struct cli_table *table) {
  size_t n = 0, reached = 0;
  for (size_t i = first; i < report->n; i++) {
    if (group[i] != first) continue;
    double onset = report->onsets[i].onset;
    reached += isnan(onset) ? 0 : 1;
    sorted[n++] = isnan(onset) ? (double)INFINITY : onset;
  }
  qsort(sorted, n, sizeof *sorted, by_value);
  const struct summary_interval median = summary_quantile(sorted, n, 0.5, 0.95);
  for (size_t f = 0; f < by->n; f++)
    if (by->column[f] == NULL)
      cli_table_string(table, report->prompts->item[report->places[first].context].name);
    else
      cli_set_cell(report->rows, by->column[f], first, table);
  cli_table_integer(table, (int64_t)n);
  cli_table_integer(table, (int64_t)reached);
  write_known(median.value, table);
  write_known(median.low, table);
  write_known(median.high, table);
  return cli_table_end_row(table);
}

int boundary_write_summary(const struct boundary_report *report, const char *by,
                           struct cli_table *table) {
  static const char *const columns[] = {"rays", "reached", "onset", "low", "high"};
  struct factors factors = {0};
  double *sorted = nk_alloc(report->n, sizeof *sorted);
  size_t *group = nk_alloc(report->n, sizeof *group), *firsts, n_groups = 0;
  firsts = nk_alloc(report->n, sizeof *firsts);
  int code = sorted == NULL || group == NULL || firsts == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = find_factors(report, by, &factors);
  for (size_t f = 0; f < factors.n && code == NK_OK; f++)
    code = cli_table_column(table, factors.name[f]);
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  for (size_t i = 0, g; i < report->n && code == NK_OK; i++) {
    for (g = 0; g < n_groups && !same_group(report, &factors, firsts[g], i);) g++;
    if (g == n_groups) firsts[n_groups++] = i;
    group[i] = firsts[g];
  }
  for (size_t g = 0; g < n_groups && code == NK_OK; g++)
    code = write_group(report, &factors, firsts[g], group, sorted, table);
  nk_free(sorted);
  nk_free(group);
  nk_free(firsts);
  nk_free(factors.names);
  nk_free(factors.name);
  nk_free(factors.column);
  return code;
}
