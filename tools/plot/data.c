/* From the table to numbers: which rows can be drawn, their groups, which of them are marked. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/condition.h"
#include "plot/internal.h"

bool plot_next_name(const char **list, char *name, size_t size) {
  if (*list == NULL) return false;
  const char *comma = strchr(*list, ',');
  size_t length = comma != NULL ? (size_t)(comma - *list) : strlen(*list);
  if (length >= size) length = size - 1;
  memcpy(name, *list, length);
  name[length] = 0;
  *list = comma != NULL ? comma + 1 : NULL;
  return true;
}

static bool is_number(const char *cell, double *value) {
  char *end;
  *value = strtod(cell, &end);
  return end != cell && *end == 0;
}

/* ---- Groups ---- */

/* A group's name, and where it appears first. */
struct named {
  const char *cell;
  size_t first; /* point */
  size_t group;
};

static int compare_cells(const void *a, const void *b) {
  const struct named *x = a, *y = b;
  int order = strcmp(x->cell, y->cell);
  return order != 0 ? order : (x->first > y->first) - (x->first < y->first);
}

static int compare_first(const void *a, const void *b) {
  const struct named *x = a, *y = b;
  return (x->first > y->first) - (x->first < y->first);
}

static int compare_values(const void *a, const void *b) {
  double x = 0, y = 0;
  is_number(((const struct named *)a)->cell, &x);
  is_number(((const struct named *)b)->cell, &y);
  return x != y ? (x > y) - (x < y) : compare_first(a, b);
}

static int set_group_names(struct plot_rows *rows, const struct named *groups, size_t n) {
  rows->group_names = nk_calloc(n, sizeof *rows->group_names);
  if (rows->group_names == NULL) return NK_EMEMORY;
  rows->n_groups = n;
  for (size_t g = 0; g < n; g++) {
    rows->group_names[g] = nk_strdup(groups[g].cell[0] ? groups[g].cell : "(none)");
    if (rows->group_names[g] == NULL) return NK_EMEMORY;
  }
  return NK_OK;
}

/* Sets rows->group by points [rows->n], sorted by cell, to the number of the cell among them, and
 * groups [*n_groups] to the different cells. */
static void number_cells(struct plot_rows *rows, const struct named *points, struct named *groups,
                         size_t *n_groups) {
  double value;
  *n_groups = 0;
  rows->numeric_groups = true;
  for (size_t i = 0; i < rows->n; i++) {
    if (i == 0 || strcmp(points[i].cell, points[i - 1].cell) != 0) {
      groups[*n_groups] = points[i];
      groups[*n_groups].group = *n_groups;
      ++*n_groups;
      if (!is_number(points[i].cell, &value)) rows->numeric_groups = false;
    }
    rows->group[points[i].first] = (uint32_t)(*n_groups - 1);
  }
}

/* Groups by the cells of a column: numbers ascending, others in order of first appearance. */
static int group_by_cells(struct plot_rows *rows, const struct cli_frame *frame, size_t column) {
  struct named *points = nk_alloc(rows->n, sizeof *points);
  struct named *groups = nk_alloc(rows->n, sizeof *groups);
  uint32_t *place = nk_alloc(rows->n, sizeof *place);
  size_t n_groups;
  int code = NK_EMEMORY;
  if (points == NULL || groups == NULL || place == NULL) goto done;
  for (size_t i = 0; i < rows->n; i++)
    points[i] = (struct named){cli_frame_cell(frame, rows->row[i], column), i, 0};
  if (rows->n > 1) qsort(points, rows->n, sizeof *points, compare_cells);
  number_cells(rows, points, groups, &n_groups);
  if (n_groups > 1)
    qsort(groups, n_groups, sizeof *groups, rows->numeric_groups ? compare_values : compare_first);
  for (size_t g = 0; g < n_groups; g++) place[groups[g].group] = (uint32_t)g;
  for (size_t i = 0; i < rows->n; i++) rows->group[i] = place[rows->group[i]];
  code = set_group_names(rows, groups, n_groups);
done:
  nk_free(points);
  nk_free(groups);
  nk_free(place);
  return code;
}

int plot_rows_group(struct plot_rows *rows, const struct cli_frame *frame, const char *column) {
  int64_t found = cli_frame_column(frame, column);
  if (found < 0) return (int)found;
  for (size_t g = 0; g < rows->n_groups; g++) nk_free(rows->group_names[g]);
  nk_free(rows->group_names);
  rows->group_names = NULL;
  rows->n_groups = 0;
  return group_by_cells(rows, frame, (size_t)found);
}

double plot_rows_group_value(const struct plot_rows *rows, size_t group) {
  return strtod(rows->group_names[group], NULL);
}

/* Whether numbers with `digits` digits stay different from their neighbours (they ascend), and none
 * is in exponential form that could be plain. */
static bool round_names(const struct plot_rows *rows, int digits) {
  char text[2][48] = {"", ""};
  for (size_t g = 0; g < rows->n_groups; g++) {
    double value = plot_rows_group_value(rows, g), size = fabs(value);
    snprintf(text[g % 2], sizeof text[0], "%.*g", digits, value);
    bool plain = size == 0 || (size >= 1e-4 && size < 1e7);
    if (strcmp(text[0], text[1]) == 0 || (plain && strchr(text[g % 2], 'e') != NULL)) return false;
  }
  return true;
}

const char *plot_rows_group_text(const struct plot_rows *rows, size_t group, char number[48]) {
  const char *name = rows->group_names[group];
  int digits = 3;
  if (!rows->numeric_groups || name[strspn(name, "-0123456789")] == 0) return name;
  while (digits < 17 && !round_names(rows, digits)) digits++;
  snprintf(number, 48, "%.*g", digits, plot_rows_group_value(rows, group));
  return number;
}

static int group_by_column_names(struct plot_rows *rows, const char *list) {
  struct named groups[64];
  char names[64][128];
  size_t n = 0;
  while (n < 64 && plot_next_name(&list, names[n], sizeof names[n])) {
    groups[n] = (struct named){names[n], 0, 0};
    n++;
  }
  return set_group_names(rows, groups, n);
}

/* place [n_groups]: the new number of each group where the most - 1 largest keep their order and
 * the others become the last one. Frees the names of those and closes the gaps. */
static void place_groups(struct plot_rows *rows, size_t most, const size_t *counts,
                         uint32_t *place) {
  size_t n = rows->n_groups, kept = 0;
  for (size_t g = 0; g < n; g++) {
    size_t larger = 0; /* groups that precede this one by size, then by order */
    for (size_t h = 0; h < n && larger < most; h++)
      larger += counts[h] > counts[g] || (counts[h] == counts[g] && h < g);
    bool keep = larger < most - 1;
    place[g] = (uint32_t)(keep ? kept : most - 1);
    if (keep)
      rows->group_names[kept++] = rows->group_names[g];
    else
      nk_free(rows->group_names[g]);
  }
  rows->n_groups = kept;
}

int plot_rows_join_groups(struct plot_rows *rows, size_t most) {
  if (rows->n_groups <= most || most == 0) return NK_OK;
  size_t joined = rows->n_groups - (most - 1);
  size_t *counts = nk_calloc(rows->n_groups, sizeof *counts);
  uint32_t *place = nk_alloc(rows->n_groups, sizeof *place);
  char other[48];
  int code = NK_EMEMORY;
  if (counts == NULL || place == NULL) goto done;
  for (size_t i = 0; i < rows->n; i++) counts[rows->group[i]]++;
  place_groups(rows, most, counts, place);
  for (size_t i = 0; i < rows->n; i++) rows->group[i] = place[rows->group[i]];
  rows->numeric_groups = false;
  snprintf(other, sizeof other, "other (%zu groups)", joined);
  if ((rows->group_names[most - 1] = nk_strdup(other)) == NULL) goto done;
  rows->n_groups = most;
  code = NK_OK;
done:
  nk_free(counts);
  nk_free(place);
  return code;
}

/* ---- Numbers ---- */

/* Why rows were left out. */
struct left_out {
  size_t missing, not_finite, not_positive;
};

/* Reads the cell. Returns 1 where its number can be drawn, 0 where it cannot (counted in left) or
 * is outside the range, or a negative code. range can be NULL. */
static int take(const struct cli_frame *frame, size_t row, size_t column, bool log_axis,
                const struct plot_range *range, struct left_out *left, double *out) {
  int code = cli_frame_number(frame, row, column, out);
  if (code == NK_ENOTFOUND) {
    left->missing++;
    return 0;
  }
  if (code != NK_OK) return code;
  if (!(fabs(*out) < 1e300)) { /* larger ones let the length of a range overflow */
    left->not_finite++;
    return 0;
  }
  if (log_axis && *out <= 0) {
    left->not_positive++;
    return 0;
  }
  return range == NULL ||
         ((!range->has_lo || *out >= range->lo) && (!range->has_hi || *out <= range->hi));
}

static void warn_of(const struct left_out *left, const struct cli_frame *frame) {
  const char *name = cli_frame_name(frame);
  if (left->missing > 0)
    nk_warn("%s: %zu points left out: a number is missing", name, left->missing);
  if (left->not_finite > 0)
    nk_warn("%s: %zu points left out: not a finite number", name, left->not_finite);
  if (left->not_positive > 0)
    nk_warn("%s: %zu points left out: zero or less on a logarithmic axis", name,
            left->not_positive);
}

static int rows_alloc(struct plot_rows *rows, size_t capacity, unsigned need) {
  rows->x = nk_alloc(capacity, sizeof *rows->x);
  rows->row = nk_alloc(capacity, sizeof *rows->row);
  rows->group = nk_calloc(capacity, sizeof *rows->group);
  rows->marked = nk_calloc(capacity, sizeof *rows->marked);
  if (need & PLOT_Y) rows->y = nk_alloc(capacity, sizeof *rows->y);
  if (need & PLOT_Z) rows->z = nk_alloc(capacity, sizeof *rows->z);
  bool ok = rows->x != NULL && rows->row != NULL && rows->group != NULL && rows->marked != NULL &&
            (rows->y != NULL || !(need & PLOT_Y)) && (rows->z != NULL || !(need & PLOT_Z));
  return ok ? NK_OK : NK_EMEMORY;
}

/* The columns that a picture reads: list is the one of x and y that can name several. */
struct reading {
  int64_t x, z;
  const char *list;
  size_t n_list;
};

static int find_columns(struct reading *r, const struct plot *plot, const struct cli_frame *frame,
                        unsigned need) {
  char name[128];
  r->list = need & PLOT_Y ? plot->y : plot->x;
  for (const char *rest = r->list; plot_next_name(&rest, name, sizeof name);) r->n_list++;
  if (r->n_list > 64) return nk_fail(NK_EUSAGE, "too many columns: the limit is 64");
  if (r->n_list > 1 && plot->by != NULL)
    return nk_fail(NK_EUSAGE, "groups by a column cannot be combined with several columns");
  if (plot->x == NULL || ((need & PLOT_Y) && plot->y == NULL) ||
      ((need & PLOT_Z) && plot->z == NULL))
    return nk_fail(NK_EUSAGE, "missing columns: this picture needs -x%s%s",
                   need & PLOT_Y ? ", -y" : "", need & PLOT_Z ? ", -z" : "");
  r->x = need & PLOT_Y ? cli_frame_column(frame, plot->x) : 0;
  r->z = need & PLOT_Z ? cli_frame_column(frame, plot->z) : 0;
  return r->x < 0 ? (int)r->x : r->z < 0 ? (int)r->z : NK_OK;
}

/* Appends the rows for one column of the list, `listed`, as group `group`. */
static int collect_column(struct plot_rows *rows, const struct reading *r, size_t listed,
                          const struct plot *plot, const struct cli_frame *frame, uint32_t group,
                          struct left_out *left) {
  size_t n = cli_frame_n_rows(frame);
  for (size_t row = 0; row < n; row++) {
    size_t i = rows->n;
    if (plot->skip != NULL && plot->skip[row]) continue;
    size_t x_column = rows->y != NULL ? (size_t)r->x : listed;
    int taken = take(frame, row, x_column, plot->log_x, &plot->x_range, left, &rows->x[i]);
    if (taken > 0 && rows->y != NULL)
      taken = take(frame, row, listed, plot->log_y, &plot->y_range, left, &rows->y[i]);
    if (taken > 0 && rows->z != NULL)
      taken = take(frame, row, (size_t)r->z, plot->log_z, NULL, left, &rows->z[i]);
    if (taken < 0) return taken;
    if (taken == 0) continue;
    rows->row[i] = row;
    rows->group[i] = group;
    rows->n++;
  }
  return NK_OK;
}

static int mark_rows(struct plot_rows *rows, const char *mark, const struct cli_frame *frame) {
  struct cli_condition condition;
  int code = cli_condition_parse(&condition, mark);
  int64_t column = code == NK_OK ? cli_frame_column(frame, condition.column) : code;
  if (column < 0) code = (int)column;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    rows->marked[i] =
        cli_condition_holds(&condition, cli_frame_cell(frame, rows->row[i], (size_t)column));
    rows->n_marked += rows->marked[i];
  }
  cli_condition_free(&condition);
  if (code == NK_OK && rows->n_marked == 0)
    nk_warn("%s: no row is marked by '%s'", cli_frame_name(frame), mark);
  return code;
}

int plot_rows_collect(struct plot_rows *rows, const struct plot *plot,
                      const struct cli_frame *frame, unsigned need) {
  *rows = (struct plot_rows){0};
  struct reading r = {0};
  struct left_out left = {0};
  int code = find_columns(&r, plot, frame, need);
  if (code != NK_OK) return code;
  if (cli_frame_n_rows(frame) == 0)
    return nk_fail(NK_EDATA, "%s: the table has no rows", cli_frame_name(frame));
  code = rows_alloc(rows, cli_frame_n_rows(frame) * r.n_list, need); /* n_list is at most 64 */
  char name[128];
  uint32_t listed = 0;
  for (const char *rest = r.list; code == NK_OK && plot_next_name(&rest, name, sizeof name);
       listed++) {
    int64_t column = cli_frame_column(frame, name);
    code = column < 0 ? (int)column
                      : collect_column(rows, &r, (size_t)column, plot, frame, listed, &left);
  }
  if (code != NK_OK) return code;
  warn_of(&left, frame);
  if (rows->n == 0) return nk_fail(NK_EDATA, "%s: no row can be drawn", cli_frame_name(frame));
  code = plot->by != NULL ? plot_rows_group(rows, frame, plot->by)
                          : group_by_column_names(rows, r.list);
  return code == NK_OK && plot->mark != NULL ? mark_rows(rows, plot->mark, frame) : code;
}

void plot_rows_free(struct plot_rows *rows) {
  nk_free(rows->x);
  nk_free(rows->y);
  nk_free(rows->z);
  nk_free(rows->row);
  nk_free(rows->group);
  nk_free(rows->marked);
  for (size_t g = 0; g < rows->n_groups; g++) nk_free(rows->group_names[g]);
  nk_free(rows->group_names);
  *rows = (struct plot_rows){0};
}
