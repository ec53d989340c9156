/* Scatter: a point per row. A single group is coloured by the density of its points, several groups
 * by group; marked rows are drawn over the others, and labelled ones get a ring. */
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

/* With more points than this, those that others hide are not drawn: the picture of a whole
 * vocabulary is then as small, and drawn as fast, as one of 20,000 rows. */
enum { THIN_FROM = 20000 };

/* The points on the canvas, relative to the frame's lower left corner. */
struct spots {
  double *x, *y; /* [n] */
  double *shade; /* [n] in [0, 1] */
  bool *keep;    /* [n] */
  size_t *order; /* [n] the points in drawing order, the densest last */
};

static int spots_make(struct spots *spots, const struct plot_canvas *canvas,
                      const struct plot_rows *rows) {
  size_t n = rows->n;
  spots->x = nk_alloc(n, sizeof *spots->x);
  spots->y = nk_alloc(n, sizeof *spots->y);
  spots->shade = nk_calloc(n, sizeof *spots->shade);
  spots->keep = nk_alloc(n, sizeof *spots->keep);
  spots->order = nk_alloc(n, sizeof *spots->order);
  if (spots->x == NULL || spots->y == NULL || spots->shade == NULL || spots->keep == NULL ||
      spots->order == NULL)
    return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    spots->x[i] = plot_axis_position(&canvas->x, rows->x[i]) - canvas->inside.x0;
    spots->y[i] = plot_axis_position(&canvas->y, rows->y[i]) - canvas->inside.y0;
    spots->keep[i] = true;
    spots->order[i] = i;
  }
  return NK_OK;
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

/* Shades by a column, or by density where there is a single group. */
static int set_shades(struct spots *spots, const struct plot_canvas *canvas,
                      const struct plot_rows *rows) {
  const struct plot_points points = {
      .n = rows->n,
      .x = spots->x,
      .y = spots->y,
      .width = canvas->inside.x1 - canvas->inside.x0,
      .height = canvas->inside.y1 - canvas->inside.y0,
  };
  int code = NK_OK;
  if (rows->z != NULL) {
    for (size_t i = 0; i < rows->n; i++)
      spots->shade[i] = plot_axis_position(&canvas->scale, rows->z[i]);
  } else if (rows->n_groups == 1) {
    code = plot_density(&points, spots->shade);
  }
  if (code == NK_OK && rows->n > 1)
    qsort_r(spots->order, rows->n, sizeof *spots->order, compare_shades, spots->shade);
  if (code == NK_OK && rows->n > THIN_FROM && rows->z == NULL)
    code = plot_thin(&points, canvas->text ? 1 : 1.5, rows->n_groups > 1 ? 6 : 2, spots->keep);
  return code;
}

/* A block of lines "x y shade" per group, two empty lines between them. */
static void write_points(struct plot_canvas *canvas, const struct plot_rows *rows,
                         const struct spots *spots, bool marked) {
  struct nk_buffer *script = &canvas->script;
  plot_script_data(script, marked ? "Marked" : "Points");
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
  plot_script_data_end(script);
}

static int compare_sizes(const void *a, const void *b, void *counts) {
  const size_t *count = counts;
  size_t i = *(const size_t *)a, j = *(const size_t *)b;
  if (count[i] != count[j]) return count[i] > count[j] ? -1 : 1;
  return (i > j) - (i < j);
}

/* The drawing order of groups: the largest is below the others. */
static void write_order(struct plot_canvas *canvas, const struct plot_rows *rows) {
  size_t counts[PLOT_MAX_GROUPS] = {0}, order[PLOT_MAX_GROUPS];
  double numbers[PLOT_MAX_GROUPS];
  for (size_t i = 0; i < rows->n; i++) counts[rows->group[i]]++;
  for (size_t g = 0; g < rows->n_groups; g++) order[g] = g;
  qsort_r(order, rows->n_groups, sizeof *order, compare_sizes, counts);
  for (size_t g = 0; g < rows->n_groups; g++) numbers[g] = (double)order[g] + 1;
  plot_script_numbers(&canvas->script, "Group", numbers, rows->n_groups);
}

/* Radius (in 1/96 inch) and opacity of points, which decrease with their number. */
static void write_look(struct plot_canvas *canvas, const struct plot_rows *rows) {
  double n = (double)rows->n;
  double radius = fmin(fmax(5.2 - 0.85 * log10(n), 1.3), 4) * canvas->em / 15;
  plot_script_number(&canvas->script, "Radius", radius);
  plot_script_number(&canvas->script, "Opacity", fmin(fmax(1.15 - 0.17 * log10(n), 0.35), 0.85));
  plot_script_number(&canvas->script, "Shaded", rows->z != NULL || rows->n_groups == 1);
  plot_script_number(&canvas->script, "Marked_n", (double)rows->n_marked);
}

static int draw(struct plot_canvas *canvas, struct plot_rows *rows, struct nk_output *output) {
  struct spots spots = {0};
  int code = plot_canvas_legend_rows(canvas, rows);
  if (code == NK_OK) code = plot_canvas_range(canvas, false, rows->x, rows->n, 0.035);
  if (code == NK_OK) code = plot_canvas_range(canvas, true, rows->y, rows->n, 0.045);
  if (code == NK_OK && rows->z != NULL) {
    canvas->scale =
        (struct plot_axis){.lo = rows->z[0], .hi = rows->z[0], .log = canvas->plot->log_z};
    for (size_t i = 0; i < rows->n; i++) {
      canvas->scale.lo = fmin(canvas->scale.lo, rows->z[i]);
      canvas->scale.hi = fmax(canvas->scale.hi, rows->z[i]);
    }
    if (canvas->scale.lo == canvas->scale.hi) plot_axis_pad(&canvas->scale, 0);
    canvas->scale_name = canvas->plot->z;
  }
  if (code == NK_OK) code = plot_canvas_layout(canvas, false, false);
  if (code == NK_OK) code = spots_make(&spots, canvas, rows);
  if (code == NK_OK) code = set_shades(&spots, canvas, rows);
  if (code == NK_OK) {
    write_points(canvas, rows, &spots, false);
    write_points(canvas, rows, &spots, true);
    write_order(canvas, rows);
    write_look(canvas, rows);
    code = plot_canvas_labels(canvas, rows, rows->y);
  }
  if (code == NK_OK) code = plot_canvas_draw(canvas, output);
  spots_free(&spots);
  return code;
}

int plot_draw_scatter(const struct plot *plot, const struct cli_frame *frame,
                      struct nk_output *output) {
  struct plot_rows rows;
  struct plot_canvas canvas = {0};
  int code =
      plot_rows_collect(&rows, plot, frame, PLOT_X | PLOT_Y | (plot->z != NULL ? PLOT_Z : 0U));
  if (code == NK_OK) code = plot_rows_join_groups(&rows, PLOT_MAX_GROUPS);
  const char *y_name = plot->y != NULL && strchr(plot->y, ',') == NULL ? plot->y : "";
  if (code == NK_OK) code = plot_canvas_begin(&canvas, plot, frame, plot->x, y_name);
  if (code == NK_OK) code = draw(&canvas, &rows, output);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
