/* Labels of rows: the choice of rows (the most extreme ones, those with the largest values of a
 * column, or given ids), their texts, and the drawing. */
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

/* values [rows->n] of the column; a missing one or a NaN is below all others. */
static int values_of_column(const struct plot_rows *rows, const struct cli_frame *frame,
                            const char *name, double *values) {
  int64_t column = cli_frame_column(frame, name);
  if (column < 0) return (int)column;
  for (size_t i = 0; i < rows->n; i++) {
    int code = cli_frame_number(frame, rows->row[i], (size_t)column, &values[i]);
    if (code == NK_EDATA) return code;
    if (code != NK_OK || isnan(values[i])) values[i] = -INFINITY;
  }
  return NK_OK;
}

/* values [rows->n]: the extremeness as it is seen, on a logarithmic axis that of the logarithms. */
static int values_of_extremeness(const struct plot_canvas *canvas, const struct plot_rows *rows,
                                 double *values) {
  double *x = nk_alloc(rows->n, sizeof *x), *y = nk_alloc(rows->n, sizeof *y);
  int code = x != NULL && y != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    x[i] = canvas->x.log ? log(rows->x[i]) : rows->x[i];
    if (rows->y != NULL) y[i] = canvas->y.log ? log(rows->y[i]) : rows->y[i];
  }
  if (code == NK_OK) code = plot_extremeness(x, rows->y != NULL ? y : NULL, rows->n, values);
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
    if (cli_frame_integer(canvas->frame, rows->row[i], (size_t)column, &id) != NK_OK) continue;
    for (size_t k = 0; k < plot->n_label_ids; k++)
      if (plot->label_ids[k] == id) {
        chosen[(*n_chosen)++] = i;
        break;
      }
  }
  return NK_OK;
}

/* chosen [*n_chosen] points, the most extreme first. */
static int choose_by_values(const struct plot_canvas *canvas, const struct plot_rows *rows,
                            size_t *chosen, size_t *n_chosen) {
  double *values = nk_alloc(rows->n, sizeof *values);
  struct candidate *order = nk_alloc(rows->n, sizeof *order);
  const char *by = canvas->plot->label_by;
  int code = NK_EMEMORY;
  if (values == NULL || order == NULL) goto done;
  code = by != NULL ? values_of_column(rows, canvas->frame, by, values)
                    : values_of_extremeness(canvas, rows, values);
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < rows->n; i++) order[i] = (struct candidate){values[i], i};
  qsort(order, rows->n, sizeof *order, compare_candidates);
  *n_chosen = rows->n < canvas->plot->n_labels ? rows->n : canvas->plot->n_labels;
  while (*n_chosen > 0 && order[*n_chosen - 1].value == -INFINITY) --*n_chosen;
  for (size_t i = 0; i < *n_chosen; i++) chosen[i] = order[i].point;
done:
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

/* The column of the texts, or a negative code. */
static int64_t label_column(const struct plot_canvas *canvas) {
  static const char *const usual[] = {"text", "name", "id"};
  const char *asked = canvas->plot->label_column;
  if (asked != NULL) return cli_frame_column(canvas->frame, asked);
  for (size_t k = 0; k < 3; k++) {
    int64_t found = cli_frame_find(canvas->frame, usual[k]);
    if (found >= 0) return found;
  }
  return nk_fail(NK_ENOTFOUND, "%s: no column 'text' or 'id' for labels (use --label-column)",
                 cli_frame_name(canvas->frame));
}

/* A label's text. An empty cell is shown as two quotation marks. */
static char *label_text(struct plot_canvas *canvas, size_t row, size_t column) {
  const char *cell = cli_frame_cell(canvas->frame, row, column);
  return plot_canvas_text(canvas, *cell != 0 ? cell : "\"\"", true, 26);
}

/* ---- Drawing ---- */

/* The labels of a picture, [n] each. */
struct labelling {
  size_t n;
  size_t *point;
  struct plot_label *label;
  char **text;
  double *ink_x, *ink_y; /* [rows->n] */
};

static void labelling_free(struct labelling *l) {
  for (size_t i = 0; l->text != NULL && i < l->n; i++) nk_free(l->text[i]);
  nk_free(l->point);
  nk_free(l->label);
  nk_free(l->text);
  nk_free(l->ink_x);
  nk_free(l->ink_y);
}

/* The position of rows without a y: a little above the bottom of the frame. */
static double floor_of(const struct plot_canvas *canvas) {
  return canvas->inside.y0 + (canvas->text ? 0 : 0.4 * canvas->em);
}

/* The same, as a value on the y axis. */
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
    l->ink_y[i] = y != NULL ? plot_axis_position(&canvas->y, y[i]) : bottom;
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

/* Adds the label's text, anchored at the side that faces the point: where the viewer's font is
 * wider, the text grows away from the point. */
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

static int write_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y,
                        const struct labelling *l) {
  struct plot_notes notes = {0};
  struct nk_buffer *script = &canvas->script;
  size_t left_out = 0;
  int code = NK_OK;
  plot_script_data(script, "Labelled");
  for (size_t i = 0; i < l->n; i++) {
    size_t p = l->point[i];
    if (l->label[i].placed)
      nk_buffer_printf(script, "%.9g %.9g\n", rows->x[p], y != NULL ? y[p] : floor_value(canvas));
  }
  plot_script_data_end(script);
  plot_script_data(script, "Leaders"); /* in fractions of the picture */
  for (size_t i = 0; code == NK_OK && i < l->n; i++) {
    const struct plot_label *label = &l->label[i];
    if (!label->placed || (canvas->text && label->leader)) { /* characters cannot draw leaders */
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
    nk_warn("%zu of %zu labels left out: no room for them", left_out, l->n);
  plot_canvas_notes(canvas, "Label", &notes);
  plot_notes_free(&notes);
  return code;
}

static int labelling_alloc(struct labelling *l, size_t most, size_t n_rows) {
  l->point = nk_alloc(most, sizeof *l->point);
  l->label = nk_calloc(most, sizeof *l->label);
  l->text = nk_calloc(most, sizeof *l->text);
  l->ink_x = nk_alloc(n_rows, sizeof *l->ink_x);
  l->ink_y = nk_alloc(n_rows, sizeof *l->ink_y);
  if (l->point == NULL || l->label == NULL || l->text == NULL) return NK_EMEMORY;
  return l->ink_x != NULL && l->ink_y != NULL ? NK_OK : NK_EMEMORY;
}

/* Chooses at most `most` rows, sets their texts and places them. */
static int make_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y,
                       size_t most, struct labelling *l) {
  int64_t column = label_column(canvas);
  if (column < 0) return (int)column;
  int code = labelling_alloc(l, most, rows->n);
  if (code == NK_OK) code = choose(canvas, rows, l->point, &l->n);
  for (size_t i = 0; code == NK_OK && i < l->n; i++) {
    l->text[i] = label_text(canvas, rows->row[l->point[i]], (size_t)column);
    if (l->text[i] == NULL) code = NK_EMEMORY;
  }
  return code == NK_OK ? place(canvas, rows, y, l) : code;
}

int plot_canvas_labels(struct plot_canvas *canvas, const struct plot_rows *rows, const double *y) {
  struct labelling l = {0};
  const struct plot *plot = canvas->plot;
  size_t most = plot->n_label_ids > 0 ? plot->n_label_ids : plot->n_labels;
  int code = most > 0 ? make_labels(canvas, rows, y, most, &l) : NK_OK;
  if (code == NK_OK) code = write_labels(canvas, rows, y, &l);
  labelling_free(&l);
  return code;
}
