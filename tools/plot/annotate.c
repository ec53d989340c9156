/* Which rows get a label, and its drawing: the most extreme rows or those with the largest values
 * of a column, with their tokens. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* ---- Which rows ---- */

struct candidate {
  double value;
  size_t point;
};

/* Largest value first, then the order of the table. */
static int compare_candidates(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? 1 : -1;
  return (x->point > y->point) - (x->point < y->point);
}

/* Values of the column for the points; a missing one or a NaN is below all others. */
static int values_of_column(const struct plot_rows *rows, const struct cli_frame *frame,
                            const char *name, double *values) {
  int64_t column = cli_frame_column(frame, name);
  if (column < 0) return (int)column;
  for (size_t i = 0; i < rows->n; i++) {
    int code = cli_frame_number(frame, rows->row[i], (size_t)column, &values[i]);
    if (code == NK_EDATA) return code;
    if (code < 0 || isnan(values[i])) values[i] = -INFINITY;
  }
  return 0;
}

/* Extremeness is judged as it is seen: on a logarithmic axis, that of the logarithms. */
static int values_of_extremeness(const struct plot_canvas *canvas, const struct plot_rows *rows,
                                 double *values) {
  double *x = nk_alloc(rows->n, sizeof *x), *y = nk_alloc(rows->n, sizeof *y);
  int code = x && y ? 0 : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    x[i] = canvas->x.log ? log(rows->x[i]) : rows->x[i];
    if (rows->y) y[i] = canvas->y.log ? log(rows->y[i]) : rows->y[i];
  }
  if (code == NK_OK) code = plot_extremeness(x, rows->y ? y : NULL, rows->n, values);
  nk_free(x);
  nk_free(y);
  return code;
}

/* The points whose row has one of the ids asked for. */
static int choose_by_ids(const struct plot_canvas *canvas, const struct plot_rows *rows,
                         size_t *chosen, size_t *n_chosen) {
  const struct plot *plot = canvas->plot;
  int64_t column = cli_frame_column(canvas->frame, "id"), id;
  if (column < 0) return (int)column;
  for (size_t i = 0; i < rows->n && *n_chosen < plot->n_label_ids; i++) {
    if (cli_frame_integer(canvas->frame, rows->row[i], (size_t)column, &id) < 0) continue;
    for (size_t k = 0; k < plot->n_label_ids; k++)
      if (plot->label_ids[k] == id) {
        chosen[(*n_chosen)++] = i;
        break;
      }
  }
  return 0;
}

/* chosen [*n_chosen] points, the first the most extreme. */
static int choose_by_values(const struct plot_canvas *canvas, const struct plot_rows *rows,
                            size_t *chosen, size_t *n_chosen) {
  double *values = nk_alloc(rows->n, sizeof *values);
  struct candidate *order = nk_alloc(rows->n, sizeof *order);
  const char *by = canvas->plot->label_by;
  int code = values && order ? 0 : NK_EMEMORY;
  if (code == NK_OK)
    code = by ? values_of_column(rows, canvas->frame, by, values)
              : values_of_extremeness(canvas, rows, values);
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) order[i] = (struct candidate){values[i], i};
  if (code == NK_OK) {
    qsort(order, rows->n, sizeof *order, compare_candidates);
    *n_chosen = rows->n < canvas->plot->n_labels ? rows->n : canvas->plot->n_labels;
    while (*n_chosen > 0 && order[*n_chosen - 1].value == -INFINITY) --*n_chosen;
    for (size_t i = 0; i < *n_chosen; i++) chosen[i] = order[i].point;
  }
  nk_free(values);
  nk_free(order);
  return code;
}

static int choose(const struct plot_canvas *canvas, const struct plot_rows *rows, size_t *chosen,
                  size_t *n_chosen) {
  *n_chosen = 0;
  return canvas->plot->n_label_ids > 0 ? choose_by_ids(canvas, rows, chosen, n_chosen)
                                       : choose_by_values(canvas, rows, chosen, n_chosen);
}

/* ---- Their texts ---- */

static int64_t label_column(const struct plot_canvas *canvas) {
  static const char *const usual[] = {"text", "name", "id"};
  const char *asked = canvas->plot->label_column;
  if (asked) return cli_frame_column(canvas->frame, asked);
  for (size_t k = 0; k < 3; k++)
    for (size_t c = 0; c < cli_frame_n_columns(canvas->frame); c++)
      if (strcmp(cli_frame_column_name(canvas->frame, c), usual[k]) == 0) return (int64_t)c;
  return nk_fail(NK_ENOTFOUND, "%s: no column 'text' or 'id' for labels (--label-column names one)",
                 cli_frame_name(canvas->frame));
}

/* What the label of a point reads: an empty cell shows as two quotes. */
static char *label_text(struct plot_canvas *canvas, size_t row, size_t column) {
  const char *cell = cli_frame_cell(canvas->frame, row, column);
  return plot_canvas_text(canvas, *cell ? cell : "\"\"", true, 26);
}

/* ---- Drawing ---- */

/* Everything about the labels of one picture, [n] each. */
struct labelling {
  size_t n;
  size_t *point;
  struct plot_label *label;
  char **text;
  double *ink_x, *ink_y; /* [rows->n] */
};

static void labelling_free(struct labelling *l) {
  for (size_t i = 0; l->text && i < l->n; i++) nk_free(l->text[i]);
  nk_free(l->point);
  nk_free(l->label);
  nk_free(l->text);
  nk_free(l->ink_x);
  nk_free(l->ink_y);
}

/* Where rows without a y stand: a little over the frame's bottom. */
static double floor_of(const struct plot_canvas *canvas) {
  return canvas->inside.y0 + (canvas->text ? 0 : 0.4 * canvas->em);
}

/* The same as a value of the y axis. */
static double floor_value(const struct plot_canvas *canvas) {
  const struct plot_axis *y = &canvas->y;
  double part = (floor_of(canvas) - y->from) / (y->to - y->from);
  return y->log ? y->lo * pow(y->hi / y->lo, part) : y->lo + part * (y->hi - y->lo);
}

static int place(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y,
                 struct labelling *l) {
  double bottom = floor_of(canvas);
  for (size_t i = 0; i < rows->n; i++) {
    l->ink_x[i] = plot_axis_position(&canvas->x, rows->x[i]);
    l->ink_y[i] = y ? plot_axis_position(&canvas->y, y[i]) : bottom;
  }
  for (size_t i = 0; i < l->n; i++)
    l->label[i] = (struct plot_label){
        .x = l->ink_x[l->point[i]],
        .y = l->ink_y[l->point[i]],
        .width = plot_canvas_width(canvas, l->text[i], canvas->em) * (canvas->text ? 1 : 1.03),
        .height = canvas->text ? 0.9 : 1.1 * canvas->em,
    };
  struct plot_placing placing = {
      .frame = canvas->inside,
      .taken = canvas->taken,
      .n_taken = canvas->n_taken,
      .ink_x = l->ink_x,
      .ink_y = l->ink_y,
      .n_ink = rows->n,
      .gap = canvas->text ? 1 : 0.55 * canvas->em,
  };
  return plot_labels_place(l->label, l->n, &placing);
}

/* A label on the side that faces its point is set from there, so that text which the viewer's font
 * makes longer grows away from it. */
static int add_note(struct plot_notes *notes, const struct plot_label *label, const char *text) {
  bool left = label->box.x1 < label->x;
  struct plot_note note = {
      .text = nk_strdup(text),
      .x = left ? label->box.x1 : label->box.x0,
      .y = (label->box.y0 + label->box.y1) / 2,
      .side = left ? -1 : 1,
  };
  return plot_notes_add(notes, &note);
}

static int give_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y,
                       const struct labelling *l) {
  struct plot_notes notes = {0};
  struct nk_buffer *script = &canvas->script;
  size_t left_out = 0;
  int code = NK_OK;
  plot_script_data(script, "Labelled");
  for (size_t i = 0; i < l->n; i++) {
    size_t p = l->point[i];
    if (l->label[i].placed)
      nk_buffer_printf(script, "%.9g %.9g\n", rows->x[p], y ? y[p] : floor_value(canvas));
  }
  plot_script_data_end(script);
  plot_script_data(script, "Leaders"); /* in parts of the picture */
  for (size_t i = 0; code == NK_OK && i < l->n; i++) {
    const struct plot_label *label = &l->label[i];
    if (!label->placed || (canvas->text && label->leader)) { /* no thin lines among characters */
      left_out++;
      continue;
    }
    code = add_note(&notes, label, l->text[i]);
    if (label->leader)
      nk_buffer_printf(script, "%.6g %.6g %.6g %.6g\n", label->x / canvas->width,
                       label->y / canvas->height, label->end_x / canvas->width,
                       label->end_y / canvas->height);
  }
  plot_script_data_end(script);
  if (code == NK_OK && left_out > 0 && !canvas->text)
    nk_warn("%zu of %zu labels left out: there is no room for them", left_out, l->n);
  plot_canvas_notes(canvas, "Label", &notes);
  plot_notes_free(&notes);
  return code;
}

int plot_canvas_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y) {
  struct labelling l = {0};
  size_t most = canvas->plot->n_label_ids ? canvas->plot->n_label_ids : canvas->plot->n_labels;
  int64_t column = most > 0 ? label_column(canvas) : 0;
  if (column < 0) return (int)column;
  int code = NK_OK;
  if (most > 0) {
    l.point = nk_alloc(most, sizeof *l.point);
    l.label = nk_calloc(most, sizeof *l.label);
    l.text = nk_calloc(most, sizeof *l.text);
    l.ink_x = nk_alloc(rows->n, sizeof *l.ink_x);
    l.ink_y = nk_alloc(rows->n, sizeof *l.ink_y);
    code = l.point && l.label && l.text && l.ink_x && l.ink_y ? 0 : NK_EMEMORY;
    if (code == NK_OK) code = choose(canvas, rows, l.point, &l.n);
    for (size_t i = 0; code == NK_OK && i < l.n; i++) {
      l.text[i] = label_text(canvas, rows->row[l.point[i]], (size_t)column);
      if (!l.text[i]) code = NK_EMEMORY;
    }
    if (code == NK_OK) code = place(canvas, rows, y, &l);
  }
  if (code == NK_OK) code = give_labels(canvas, rows, y, &l);
  labelling_free(&l);
  return code;
}
