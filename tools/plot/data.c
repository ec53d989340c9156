/* From the table to numbers: which rows can be drawn, in which group, and which stand out. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "plot/internal.h"

bool plot_next_name(const char **list, char *name, size_t size) {
  if (!*list) return false;
  const char *comma = strchr(*list, ',');
  size_t length = comma ? (size_t)(comma - *list) : strlen(*list);
  if (length >= size) length = size - 1;
  memcpy(name, *list, length);
  name[length] = 0;
  *list = comma ? comma + 1 : NULL;
  return true;
}

/* ---- Rows that stand out ---- */

struct condition {
  size_t column;
  char operator[3]; /* "" for a column alone */
  const char *value;
  double number;
  bool numeric; /* value is a number */
};

/* "steps<=10": the operator is the first of these characters, with an '=' that may follow it. */
static int condition_parse(struct condition *condition, const char *text,
                           const struct cli_frame *frame) {
  *condition = (struct condition){0};
  size_t name_length = strcspn(text, "=!<>");
  const char *s = text + name_length;
  if (*s) {
    condition->operator[0] = * s++;
    if (*s == '=') condition->operator[1] = * s++;
    if (strcmp(condition->operator, "!") == 0)
      return nk_fail(NK_EUSAGE, "'%s': the operators are = != < <= > >=", text);
    char *end;
    condition->value = s;
    condition->number = strtod(s, &end);
    condition->numeric = end != s && *end == 0;
    if (!condition->numeric && (condition->operator[0] == '<' || condition->operator[0] == '>'))
      return nk_fail(NK_EUSAGE, "'%s': '%s' is no number", text, s);
  }
  char *name = nk_strndup(text, name_length);
  int64_t column = name ? cli_frame_column(frame, name) : NK_EMEMORY;
  nk_free(name);
  if (column < 0) return (int)column;
  condition->column = (size_t)column;
  return 0;
}

/* A cell that says yes: a number that is not 0, or a word that is not a no. */
static bool is_true(const char *cell, bool is_number, double value) {
  static const char *const no[] = {"", "false", "no", "nan"};
  if (is_number) return value != 0 && !isnan(value);
  for (size_t i = 0; i < sizeof no / sizeof *no; i++)
    if (strcasecmp(cell, no[i]) == 0) return false;
  return true;
}

static bool condition_holds(const struct condition *condition, const struct cli_frame *frame,
                            size_t row) {
  const char *cell = cli_frame_cell(frame, row, condition->column);
  char *end;
  double value = strtod(cell, &end);
  bool is_number = end != cell && *end == 0;
  const char *o = condition->operator;
  if (*o == 0) return is_true(cell, is_number, value);
  bool equal = condition->numeric ? is_number && value == condition->number
                                  : strcmp(cell, condition->value) == 0;
  if (*o == '=') return equal;
  if (*o == '!') return !equal;
  if (!is_number) return false;
  bool beyond = *o == '<' ? value < condition->number : value > condition->number;
  return beyond || (o[1] == '=' && equal);
}

/* ---- Groups ---- */

static bool is_number(const char *cell, double *value) {
  char *end;
  *value = strtod(cell, &end);
  return end != cell && *end == 0;
}

/* A group's name with the place where it came first. */
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
  if (!rows->group_names) return NK_EMEMORY;
  rows->n_groups = n;
  for (size_t g = 0; g < n; g++) {
    rows->group_names[g] = nk_strdup(groups[g].cell[0] ? groups[g].cell : "(none)");
    if (!rows->group_names[g]) return NK_EMEMORY;
  }
  return 0;
}

/* Groups by the cells of one column: numbers ascending, else in the order in which they come. */
static int group_by_cells(struct plot_rows *rows, const struct cli_frame *frame, size_t column) {
  struct named *points = nk_alloc(rows->n, sizeof *points);
  struct named *groups = nk_alloc(rows->n, sizeof *groups);
  uint32_t *place = nk_alloc(rows->n, sizeof *place);
  int code = points && groups && place ? 0 : NK_EMEMORY;
  size_t n_groups = 0;
  rows->numeric_groups = true;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++)
    points[i] = (struct named){cli_frame_cell(frame, rows->row[i], column), i, 0};
  if (code == NK_OK && rows->n > 1) qsort(points, rows->n, sizeof *points, compare_cells);
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    double value;
    if (i == 0 || strcmp(points[i].cell, points[i - 1].cell) != 0) {
      groups[n_groups] = points[i];
      groups[n_groups].group = n_groups;
      n_groups++;
      if (!is_number(points[i].cell, &value)) rows->numeric_groups = false;
    }
    rows->group[points[i].first] = (uint32_t)(n_groups - 1);
  }
  if (code == NK_OK) {
    if (n_groups > 1)
      qsort(groups, n_groups, sizeof *groups,
            rows->numeric_groups ? compare_values : compare_first);
    for (size_t g = 0; g < n_groups; g++) place[groups[g].group] = (uint32_t)g;
    for (size_t i = 0; i < rows->n; i++) rows->group[i] = place[rows->group[i]];
    code = set_group_names(rows, groups, n_groups);
  }
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

int plot_rows_join_groups(struct plot_rows *rows, size_t most) {
  if (rows->n_groups <= most || most == 0) return 0;
  size_t n = rows->n_groups, joined = n - (most - 1), kept = 0;
  size_t *counts = nk_calloc(n, sizeof *counts);
  uint32_t *place = nk_alloc(n, sizeof *place);
  int code = counts && place ? 0 : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) counts[rows->group[i]]++;
  for (size_t g = 0; code == NK_OK && g < n; g++) {
    size_t larger = 0; /* groups that go before this one by size, then by order */
    for (size_t h = 0; h < n && larger < most; h++)
      larger += counts[h] > counts[g] || (counts[h] == counts[g] && h < g);
    place[g] = larger < most - 1 ? (uint32_t)kept : (uint32_t)(most - 1);
    if (larger >= most - 1) {
      nk_free(rows->group_names[g]);
    } else {
      rows->group_names[kept++] = rows->group_names[g];
    }
  }
  if (code == NK_OK) {
    for (size_t i = 0; i < rows->n; i++) rows->group[i] = place[rows->group[i]];
    char other[48];
    snprintf(other, sizeof other, "other (%zu groups)", joined);
    rows->group_names[most - 1] = nk_strdup(other);
    rows->n_groups = most;
    rows->numeric_groups = false;
    if (!rows->group_names[most - 1]) code = NK_EMEMORY;
  }
  nk_free(counts);
  nk_free(place);
  return code;
}

/* ---- Numbers ---- */

/* Why rows were left out. */
struct left_out {
  size_t missing, not_finite, not_positive;
};

/* The cell as a number that can be drawn: 1; or 0, counted, when it cannot; or a negative code. */
static int take(const struct cli_frame *frame, size_t row, size_t column, bool log_axis,
                const double range[2], struct left_out *left, double *out) {
  int code = cli_frame_number(frame, row, column, out);
  if (code == NK_ENOTFOUND) {
    left->missing++;
    return 0;
  }
  if (code < 0) return code;
  if (!(fabs(*out) < 1e300)) { /* beyond it a range's length overflows */
    left->not_finite++;
    return 0;
  }
  if (log_axis && *out <= 0) {
    left->not_positive++;
    return 0;
  }
  return !(range && (*out < range[0] || *out > range[1]));
}

static void warn_of(const struct left_out *left, const struct cli_frame *frame) {
  const char *name = cli_frame_name(frame);
  if (left->missing) nk_warn("%s: %zu points left out: a number is missing", name, left->missing);
  if (left->not_finite)
    nk_warn("%s: %zu points left out: not a finite number", name, left->not_finite);
  if (left->not_positive)
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
  bool ok = rows->x && rows->row && rows->group && rows->marked && (rows->y || !(need & PLOT_Y)) &&
            (rows->z || !(need & PLOT_Z));
  return ok ? 0 : NK_EMEMORY;
}

/* What columns a picture reads: list is that of x or y which may name several. */
struct reading {
  int64_t x, y, z;
  const char *list;
  size_t n_list;
};

static int find_columns(struct reading *r, const struct plot *plot, const struct cli_frame *frame,
                        unsigned need) {
  char name[128];
  r->list = need & PLOT_Y ? plot->y : plot->x;
  for (const char *rest = r->list; plot_next_name(&rest, name, sizeof name);) r->n_list++;
  if (r->n_list > 64) return nk_fail(NK_EUSAGE, "more than 64 columns in one picture");
  if (r->n_list > 1 && plot->by)
    return nk_fail(NK_EUSAGE, "groups by a column and several columns do not go together");
  if (!plot->x || ((need & PLOT_Y) && !plot->y) || ((need & PLOT_Z) && !plot->z))
    return nk_fail(NK_EUSAGE, "which columns? this picture needs -x%s%s",
                   need & PLOT_Y ? ", -y" : "", need & PLOT_Z ? ", -z" : "");
  r->x = need & PLOT_Y ? cli_frame_column(frame, plot->x) : 0;
  r->z = need & PLOT_Z ? cli_frame_column(frame, plot->z) : 0;
  return r->x < 0 ? (int)r->x : r->z < 0 ? (int)r->z : 0;
}

/* Appends the rows of one column of the list, as group `group`. */
static int collect_column(struct plot_rows *rows, const struct reading *r, size_t listed,
                          const struct plot *plot, const struct cli_frame *frame, uint32_t group,
                          struct left_out *left) {
  size_t n = cli_frame_n_rows(frame);
  for (size_t row = 0; row < n; row++) {
    size_t i = rows->n;
    size_t x_column = rows->y ? (size_t)r->x : listed;
    int taken = take(frame, row, x_column, plot->log_x, plot->x_range, left, &rows->x[i]);
    if (taken > 0 && rows->y)
      taken = take(frame, row, listed, plot->log_y, plot->y_range, left, &rows->y[i]);
    if (taken > 0 && rows->z)
      taken = take(frame, row, (size_t)r->z, plot->log_z, NULL, left, &rows->z[i]);
    if (taken < 0) return taken;
    if (taken == 0) continue;
    rows->row[i] = row;
    rows->group[i] = group;
    rows->n++;
  }
  return 0;
}

static int mark_rows(struct plot_rows *rows, const char *mark, const struct cli_frame *frame) {
  struct condition condition;
  int code = condition_parse(&condition, mark, frame);
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    rows->marked[i] = condition_holds(&condition, frame, rows->row[i]);
    rows->n_marked += rows->marked[i];
  }
  if (code == NK_OK && rows->n_marked == 0)
    nk_warn("%s: no row to mark by '%s'", cli_frame_name(frame), mark);
  return code;
}

int plot_rows_collect(struct plot_rows *rows, const struct plot *plot,
                      const struct cli_frame *frame, unsigned need) {
  *rows = (struct plot_rows){0};
  struct reading r = {0};
  struct left_out left = {0};
  size_t capacity;
  int code = find_columns(&r, plot, frame, need);
  if (code < 0) return code;
  if (cli_frame_n_rows(frame) == 0)
    return nk_fail(NK_EDATA, "%s: the table has no rows", cli_frame_name(frame));
  if (!nk_size_mul(cli_frame_n_rows(frame), r.n_list, &capacity))
    return nk_fail(NK_EDATA, "%s: too many rows", cli_frame_name(frame));
  code = rows_alloc(rows, capacity, need);
  char name[128];
  uint32_t listed = 0;
  for (const char *rest = r.list; code == NK_OK && plot_next_name(&rest, name, sizeof name);
       listed++) {
    int64_t column = cli_frame_column(frame, name);
    code = column < 0 ? (int)column
                      : collect_column(rows, &r, (size_t)column, plot, frame, listed, &left);
  }
  if (code < 0) return code;
  warn_of(&left, frame);
  if (rows->n == 0) return nk_fail(NK_EDATA, "%s: no row can be drawn", cli_frame_name(frame));
  code = plot->by ? plot_rows_group(rows, frame, plot->by) : group_by_column_names(rows, r.list);
  return code == NK_OK && plot->mark ? mark_rows(rows, plot->mark, frame) : code;
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
