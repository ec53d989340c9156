/* What a curve shows beside rows: the statistics and intervals of nk-summary's tables, and the
 * range of ordinary rows behind the lines. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/condition.h"
#include "plot/internal.h"

/* ---- Tables of nk-summary ---- */

/* The columns of nk-summary, and of nk-run --flag-summary. */
static const char *const FORMS[][PLOT_ESTIMATE_COLUMNS] = {
    {"statistic", "value", "low", "high"},
    {"flag", "share", "low", "high"},
};
static const char *const *const FLAGS = FORMS[1]; /* their intervals are of 95% */

/* The names of the columns, or NULL. */
static const char *const *find_columns(const struct cli_frame *frame,
                                       size_t column[PLOT_ESTIMATE_COLUMNS]) {
  for (size_t f = 0; f < sizeof FORMS / sizeof FORMS[0]; f++) {
    size_t c = 0;
    for (; c < PLOT_ESTIMATE_COLUMNS; c++) {
      int64_t found = cli_frame_find(frame, FORMS[f][c]);
      if (found < 0) break;
      column[c] = (size_t)found;
    }
    if (c == PLOT_ESTIMATE_COLUMNS) return FORMS[f];
  }
  return NULL;
}

/* Whether the cells of a column that are not skipped differ. */
static bool has_several(const struct cli_frame *frame, size_t column, const bool *skip) {
  const char *first = NULL;
  for (size_t row = 0; row < cli_frame_n_rows(frame); row++) {
    if (skip[row]) continue;
    const char *cell = cli_frame_cell(frame, row, column);
    if (first == NULL) first = cell;
    if (strcmp(first, cell) != 0) return true;
  }
  return false;
}

/* Leaves out the rows of other statistics than the one that y names. */
static int choose_statistic(struct plot_estimates *e, const struct plot *plot,
                            const struct cli_frame *frame) {
  size_t left = 0;
  for (size_t row = 0; plot->y != NULL && row < cli_frame_n_rows(frame); row++) {
    e->skip[row] = strcmp(cli_frame_cell(frame, row, e->column[PLOT_STATISTIC]), plot->y) != 0;
    left += !e->skip[row];
  }
  if (plot->y != NULL && left == 0)
    return nk_fail(NK_ENOTFOUND, "%s: no %s '%s'", cli_frame_name(frame), e->form[PLOT_STATISTIC],
                   plot->y);
  return NK_OK;
}

/* Without groups, those that differ are the statistics, or the sides of a comparison. */
static int choose_groups(const struct plot_estimates *e, struct plot *plot,
                         const struct cli_frame *frame) {
  bool statistics = has_several(frame, e->column[PLOT_STATISTIC], e->skip);
  int64_t between = cli_frame_find(frame, "between");
  bool sides = between >= 0 && has_several(frame, (size_t)between, e->skip);
  const char *statistic = e->form[PLOT_STATISTIC];
  if (plot->by == NULL) {
    plot->by = statistics ? statistic : sides ? "between" : NULL;
    return NK_OK;
  }
  if (statistics && strcmp(plot->by, statistic) != 0)
    return nk_fail(NK_EUSAGE, "%s: several %ss; choose one, such as -y '%s'", cli_frame_name(frame),
                   statistic, cli_frame_cell(frame, 0, e->column[PLOT_STATISTIC]));
  return NK_OK;
}

int plot_estimates_find(struct plot_estimates *e, struct plot *plot,
                        const struct cli_frame *frame) {
  *e = (struct plot_estimates){0};
  e->skip = nk_calloc(cli_frame_n_rows(frame), sizeof *e->skip);
  if (e->skip == NULL) return NK_EMEMORY;
  plot->skip = e->skip;
  e->form = find_columns(frame, e->column);
  const char *value = e->form != NULL ? e->form[PLOT_VALUE] : "";
  e->any = e->form != NULL &&
           (plot->y == NULL || cli_frame_find(frame, plot->y) < 0 || strcmp(plot->y, value) == 0);
  if (!e->any) return NK_OK;
  if (plot->y != NULL && strcmp(plot->y, value) == 0) plot->y = NULL;
  int code = choose_statistic(e, plot, frame);
  if (code == NK_OK) code = choose_groups(e, plot, frame);
  for (size_t row = 0; row < cli_frame_n_rows(frame) && e->statistic == NULL; row++)
    if (!e->skip[row] && (plot->by == NULL || strcmp(plot->by, e->form[PLOT_STATISTIC]) != 0))
      e->statistic = cli_frame_cell(frame, row, e->column[PLOT_STATISTIC]);
  plot->y = value;
  return code;
}

void plot_estimates_name(const struct plot_estimates *e, char *name, size_t size) {
  const char *statistic = e->statistic != NULL ? e->statistic : "";
  if (e->form == FLAGS)
    snprintf(name, size, "share%s%s", statistic[0] != 0 ? " of " : "", statistic);
  else
    snprintf(name, size, "%s", statistic);
}

double plot_estimates_level(const struct plot_estimates *e, const struct cli_frame *frame) {
  double level = e->form == FLAGS ? 0.95 : NAN;
  int64_t column = cli_frame_find(frame, "level");
  if (column >= 0 && cli_frame_n_rows(frame) > 0)
    cli_frame_number(frame, 0, (size_t)column, &level);
  return level;
}

/* Whether a cell of the column that is drawn is a text. */
static bool has_texts(const struct plot *plot, const struct cli_frame *frame) {
  int64_t column = plot->x != NULL ? cli_frame_find(frame, plot->x) : -1;
  double value;
  for (size_t row = 0; column >= 0 && row < cli_frame_n_rows(frame); row++)
    if (!plot->skip[row] && cli_frame_number(frame, row, (size_t)column, &value) == NK_EDATA)
      return true;
  return false;
}

int plot_estimates_rows(struct plot_estimates *e, struct plot_rows *rows, const struct plot *plot,
                        const struct cli_frame *frame) {
  if (!e->any || !has_texts(plot, frame))
    return plot_rows_collect(rows, plot, frame, PLOT_X | PLOT_Y);
  struct plot values = *plot;
  char number[48];
  values.x = plot->y;
  values.by = plot->x;
  int code = plot_rows_collect(rows, &values, frame, PLOT_X | PLOT_Y);
  if (code != NK_OK) return code;
  e->categories = nk_calloc(rows->n_groups, sizeof *e->categories);
  if (e->categories == NULL) return NK_EMEMORY;
  for (; e->n_categories < rows->n_groups; e->n_categories++) {
    const char *name = plot_rows_group_text(rows, e->n_categories, number);
    e->categories[e->n_categories] = nk_strdup(name);
    if (e->categories[e->n_categories] == NULL) return NK_EMEMORY;
  }
  for (size_t i = 0; i < rows->n; i++) rows->x[i] = (double)rows->group[i] + 1;
  if (plot->by != NULL) return plot_rows_group(rows, frame, plot->by);
  for (size_t i = 0; i < rows->n; i++) rows->group[i] = 0;
  return plot_rows_join_groups(rows, 1);
}

void plot_estimates_free(struct plot_estimates *e) {
  for (size_t c = 0; c < e->n_categories; c++) nk_free(e->categories[c]);
  nk_free(e->categories);
  nk_free(e->skip);
  *e = (struct plot_estimates){0};
}

/* The end of an interval; NaN where it is missing. */
static double end_of(const struct cli_frame *frame, size_t row, size_t column) {
  double value;
  return cli_frame_number(frame, row, column, &value) == NK_OK ? value : NAN;
}

void plot_estimate_of(const struct plot_estimates *e, const struct cli_frame *frame, size_t row,
                      struct plot_estimate *out) {
  out->value = end_of(frame, row, e->column[PLOT_VALUE]);
  out->low = end_of(frame, row, e->column[PLOT_LOW]);
  out->high = end_of(frame, row, e->column[PLOT_HIGH]);
}

/* ---- Ordinary rows ---- */

/* The rows of a frame that meet the condition (NULL: all): in [n_rows]. */
static int mark_ordinary(const char *text, const struct cli_frame *frame, bool *in) {
  struct cli_condition condition = {0};
  int64_t column = 0;
  int code = NK_OK;
  if (text != NULL) code = cli_condition_parse(&condition, text);
  if (code == NK_OK && text != NULL) column = cli_frame_column(frame, condition.column);
  if (column < 0) code = (int)column;
  for (size_t row = 0; code == NK_OK && row < cli_frame_n_rows(frame); row++)
    in[row] =
        text == NULL || cli_condition_holds(&condition, cli_frame_cell(frame, row, (size_t)column));
  cli_condition_free(&condition);
  return code;
}

/* The column of a table of rows that a statistic is made of: "median kl" of kl. */
static const char *column_of(const char *statistic) {
  bool of_values = strncmp(statistic, "median ", 7) == 0 || strncmp(statistic, "mean ", 5) == 0;
  return of_values ? strchr(statistic, ' ') + 1 : NULL;
}

/* From rows: the quantiles of the column. */
static int from_rows(struct plot_ordinary *out, const struct plot *plot,
                     const struct cli_frame *frame, const char *name, const bool *in) {
  size_t n = 0;
  int64_t column = name != NULL ? cli_frame_column(frame, name) : NK_EUSAGE;
  if (name == NULL)
    nk_fail(NK_EUSAGE, "ordinary rows have a range of a median or a mean only; use --line");
  if (column < 0) return (int)column;
  double *values = nk_alloc(cli_frame_n_rows(frame), sizeof *values);
  int code = values != NULL ? NK_OK : NK_EMEMORY;
  for (size_t row = 0; code == NK_OK && row < cli_frame_n_rows(frame); row++) {
    if (!in[row]) continue;
    code = cli_frame_number(frame, row, (size_t)column, &values[n]);
    n += code == NK_OK && !isnan(values[n]);
    if (code == NK_ENOTFOUND) code = NK_OK;
  }
  if (code == NK_OK && n == 0)
    code = nk_fail(NK_EDATA, "%s: no ordinary row has a number in the column '%s'",
                   cli_frame_name(frame), name);
  if (code == NK_OK) {
    plot_sort(values, n);
    out->at.value = plot_quantile(values, n, 0.5);
    out->at.low = plot_quantile(values, n, plot->band[0]);
    out->at.high = plot_quantile(values, n, plot->band[1]);
    snprintf(out->name, sizeof out->name, "ordinary, %g\u2013%g%%", 100 * plot->band[0],
             100 * plot->band[1]);
  }
  nk_free(values);
  return code;
}

/* From a summary: the row of the same statistic. */
static int from_summary(struct plot_ordinary *out, const struct plot_estimates *e,
                        const struct cli_frame *frame, const char *statistic, const bool *in) {
  size_t n = 0;
  for (size_t row = 0; row < cli_frame_n_rows(frame); row++) {
    const char *cell = cli_frame_cell(frame, row, e->column[PLOT_STATISTIC]);
    if (!in[row] || (statistic != NULL && strcmp(cell, statistic) != 0)) continue;
    plot_estimate_of(e, frame, row, &out->at);
    n++;
  }
  snprintf(out->name, sizeof out->name, "ordinary");
  if (n != 1)
    return nk_fail(NK_EDATA, "%s: %zu ordinary rows of the statistic '%s', expected 1",
                   cli_frame_name(frame), n, statistic != NULL ? statistic : "any");
  return NK_OK;
}

int plot_ordinary_find(struct plot_ordinary *out, const struct plot *plot,
                       const struct cli_frame *frame, const struct plot_estimates *drawn) {
  const struct cli_frame *from = plot->ordinary_frame != NULL ? plot->ordinary_frame : frame;
  struct plot_estimates e = {0};
  *out = (struct plot_ordinary){.any = plot->ordinary != NULL || plot->ordinary_frame != NULL};
  if (!out->any || plot->y == NULL) return NK_OK; /* what is missing is told with -x */
  bool *in = nk_calloc(cli_frame_n_rows(from), sizeof *in);
  int code = in != NULL ? mark_ordinary(plot->ordinary, from, in) : NK_EMEMORY;
  const char *column = drawn->statistic != NULL ? column_of(drawn->statistic) : plot->y;
  if (code == NK_OK && drawn->any && find_columns(from, e.column) != NULL)
    code = from_summary(out, &e, from, drawn->statistic, in);
  else if (code == NK_OK)
    code = from_rows(out, plot, from, drawn->any && drawn->statistic == NULL ? NULL : column, in);
  for (size_t row = 0; code == NK_OK && from == frame && row < cli_frame_n_rows(frame); row++)
    drawn->skip[row] = drawn->skip[row] || in[row]; /* they are not of the lines */
  nk_free(in);
  return code;
}
