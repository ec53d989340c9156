/* Scatter: a point per row. One group is coloured by how densely its points stand, several groups
 * by group; marked rows are drawn over the others, and the labelled ones get a ring. */
#include <math.h>
#include <noken/memory.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* From so many points on, those that others hide completely are not drawn: a picture of a whole
 * vocabulary is then as quick and as small as one of 20,000 rows. */
enum { THIN_FROM = 20000 };

/* The points on the canvas, relative to the frame's lower left corner. */
struct spots {
  double *x, *y; /* [n] */
  double *shade; /* [n] in [0, 1] */
  bool *keep;    /* [n] */
  size_t *order; /* [n] the points as they are drawn, the densest last */
};

static int spots_make(struct spots *spots, const struct nki_canvas *canvas,
                      const struct nki_rows *rows) {
  size_t n = rows->n;
  spots->x = nk_alloc(n, sizeof *spots->x);
  spots->y = nk_alloc(n, sizeof *spots->y);
  spots->shade = nk_calloc(n, sizeof *spots->shade);
  spots->keep = nk_alloc(n, sizeof *spots->keep);
  spots->order = nk_alloc(n, sizeof *spots->order);
  if (!spots->x || !spots->y || !spots->shade || !spots->keep || !spots->order) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    spots->x[i] = nki_axis_position(&canvas->x, rows->x[i]) - canvas->inside.x0;
    spots->y[i] = nki_axis_position(&canvas->y, rows->y[i]) - canvas->inside.y0;
    spots->keep[i] = true;
    spots->order[i] = i;
  }
  return 0;
}

static void spots_free(struct spots *spots) {
  nk_free(spots->x);
  nk_free(spots->y);
  nk_free(spots->shade);
  nk_free(spots->keep);
  nk_free(spots->order);
}

static int compare_shades(const void *a, const void *b, void *shades) {
  const double *shade = shades;
  size_t i = *(const size_t *)a, j = *(const size_t *)b;
  if (shade[i] != shade[j]) return shade[i] < shade[j] ? -1 : 1;
  return (i > j) - (i < j);
}

/* Shades by a column, or by density where there is one group. */
static int set_shades(struct spots *spots, const struct nki_canvas *canvas,
                      const struct nki_rows *rows) {
  double width = canvas->inside.x1 - canvas->inside.x0;
  double height = canvas->inside.y1 - canvas->inside.y0;
  int code = 0;
  if (rows->z) {
    for (size_t i = 0; i < rows->n; i++)
      spots->shade[i] = nki_axis_position(&canvas->scale, rows->z[i]);
  } else if (rows->n_groups == 1) {
    code = nki_density(spots->x, spots->y, rows->n, width, height, spots->shade);
  }
  if (code == 0 && rows->n > 1)
    qsort_r(spots->order, rows->n, sizeof *spots->order, compare_shades, spots->shade);
  if (code == 0 && rows->n > THIN_FROM && !rows->z)
    code = nki_thin(spots->x, spots->y, rows->n, width, height, canvas->text ? 1 : 1.5,
                    rows->n_groups > 1 ? 6 : 2, spots->keep);
  return code;
}

/* A block of lines "x y shade" per group, two empty lines between them. */
static void give_points(struct nki_canvas *canvas, const struct nki_rows *rows,
                        const struct spots *spots, bool marked) {
  struct nk_buffer *script = &canvas->script;
  nki_script_data(script, marked ? "Marked" : "Points");
  for (size_t g = 0; g < (marked ? 1 : rows->n_groups); g++) {
    size_t given = 0;
    for (size_t k = 0; k < rows->n; k++) {
      size_t i = spots->order[k];
      if (marked != rows->marked[i] || (!marked && (rows->group[i] != g || !spots->keep[i])))
        continue;
      nk_buffer_printf(script, "%.9g %.9g %.4g %u\n", rows->x[i], rows->y[i], spots->shade[i],
                       rows->group[i] + 1);
      given++;
    }
    if (given == 0) nk_buffer_text(script, "NaN NaN NaN 1\n"); /* a block cannot be empty */
    nk_buffer_text(script, "\n\n");
  }
  nki_script_data_end(script);
}

static int compare_sizes(const void *a, const void *b, void *counts) {
  const size_t *count = counts;
  size_t i = *(const size_t *)a, j = *(const size_t *)b;
  if (count[i] != count[j]) return count[i] > count[j] ? -1 : 1;
  return (i > j) - (i < j);
}

/* The order in which groups are drawn: the largest lies below the others. */
static void give_order(struct nki_canvas *canvas, const struct nki_rows *rows) {
  size_t counts[NKI_MAX_GROUPS] = {0}, order[NKI_MAX_GROUPS];
  double numbers[NKI_MAX_GROUPS];
  for (size_t i = 0; i < rows->n; i++) counts[rows->group[i]]++;
  for (size_t g = 0; g < rows->n_groups; g++) order[g] = g;
  qsort_r(order, rows->n_groups, sizeof *order, compare_sizes, counts);
  for (size_t g = 0; g < rows->n_groups; g++) numbers[g] = (double)order[g] + 1;
  nki_script_numbers(&canvas->script, "Group", numbers, rows->n_groups);
}

/* Radius in 1/96 inch and opacity: small and light where points are many. */
static void give_look(struct nki_canvas *canvas, const struct nki_rows *rows) {
  double n = (double)rows->n;
  double radius = fmin(fmax(5.2 - 0.85 * log10(n), 1.3), 4) * canvas->em / 15;
  nki_script_number(&canvas->script, "Radius", radius);
  nki_script_number(&canvas->script, "Opacity", fmin(fmax(1.15 - 0.17 * log10(n), 0.35), 0.85));
  nki_script_number(&canvas->script, "Shaded", rows->z || rows->n_groups == 1);
  nki_script_number(&canvas->script, "Marked_n", (double)rows->n_marked);
}

static int draw(struct nki_canvas *canvas, struct nki_rows *rows, struct nk_output *output) {
  struct spots spots = {0};
  int code = nki_canvas_legend_rows(canvas, rows);
  if (code == 0) code = nki_canvas_range(canvas, false, rows->x, rows->n, 0.035);
  if (code == 0) code = nki_canvas_range(canvas, true, rows->y, rows->n, 0.045);
  if (code == 0 && rows->z) {
    canvas->scale =
        (struct nki_axis){.lo = rows->z[0], .hi = rows->z[0], .log = canvas->plot->log_z};
    for (size_t i = 0; i < rows->n; i++) {
      canvas->scale.lo = fmin(canvas->scale.lo, rows->z[i]);
      canvas->scale.hi = fmax(canvas->scale.hi, rows->z[i]);
    }
    if (canvas->scale.lo == canvas->scale.hi) nki_axis_pad(&canvas->scale, 0);
    canvas->scale_name = canvas->plot->z;
  }
  if (code == 0) code = nki_canvas_layout(canvas, false, false);
  if (code == 0) code = spots_make(&spots, canvas, rows);
  if (code == 0) code = set_shades(&spots, canvas, rows);
  if (code == 0) {
    give_points(canvas, rows, &spots, false);
    give_points(canvas, rows, &spots, true);
    give_order(canvas, rows);
    give_look(canvas, rows);
    code = nki_canvas_labels(canvas, rows, rows->y);
  }
  if (code == 0) code = nki_canvas_draw(canvas, output);
  spots_free(&spots);
  return code;
}

int nki_draw_scatter(const struct nk_plot *plot, const struct nk_frame *frame,
                     struct nk_output *output) {
  struct nki_rows rows;
  struct nki_canvas canvas = {0};
  int code = nki_rows_collect(&rows, plot, frame, NKI_X | NKI_Y | (plot->z ? NKI_Z : 0U));
  if (code == 0) code = nki_rows_join_groups(&rows, NKI_MAX_GROUPS);
  const char *y_name = plot->y && !strchr(plot->y, ',') ? plot->y : "";
  if (code == 0) code = nki_canvas_begin(&canvas, plot, frame, plot->x, y_name);
  if (code == 0) code = draw(&canvas, &rows, output);
  nki_canvas_free(&canvas);
  nki_rows_free(&rows);
  return code;
}
