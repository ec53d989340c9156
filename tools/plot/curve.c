/* Curve: the median of y at each x, with a band between two quantiles, a line per group. Where x
 * has many values, they are binned, and a bin is drawn at the median of its x. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"

enum { MAX_LINES = 64, MAX_POSITIONS = 64, DEFAULT_BINS = 40 };

/* A point of a line. */
struct knot {
  double x, median, lo, hi;
  size_t group;
};

struct curve {
  struct knot *knots; /* by group, then x */
  size_t n_knots;
  bool band;
  bool ramp; /* many groups, all numbers: coloured along a scale */
};

/* A row with its position: its x, or the number of its bin. */
struct sample {
  size_t group;
  double position, x, y;
};

static int compare_samples(const void *a, const void *b) {
  const struct sample *s = a, *t = b;
  if (s->group != t->group) return s->group < t->group ? -1 : 1;
  if (s->position != t->position) return s->position < t->position ? -1 : 1;
  return (s->y > t->y) - (s->y < t->y);
}

static size_t count_distinct(const double *sorted, size_t n) {
  size_t distinct = n > 0;
  for (size_t i = 1; i < n; i++) distinct += sorted[i] != sorted[i - 1];
  return distinct;
}

/* Positions are the values of x where they are few, otherwise the numbers of bins. */
static int set_positions(struct sample *samples, const struct plot_rows *rows,
                         const struct plot *plot) {
  double *x = nk_alloc(rows->n, sizeof *x), *edges = NULL;
  size_t n_bins = 0;
  if (x == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < rows->n; i++) x[i] = plot->log_x ? log10(rows->x[i]) : rows->x[i];
  int code = NK_OK;
  plot_sort(x, rows->n);
  if (plot->bins > 0 || count_distinct(x, rows->n) > MAX_POSITIONS) {
    size_t bins = plot->bins > 0 ? plot->bins : DEFAULT_BINS;
    code = plot_bin_edges(x, rows->n, bins, bins, &edges, &n_bins);
  }
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    double value = plot->log_x ? log10(rows->x[i]) : rows->x[i];
    samples[i] = (struct sample){
        .group = rows->group[i],
        .position = edges != NULL ? (double)plot_bin_of(value, edges, n_bins) : value,
        .x = rows->x[i],
        .y = rows->y[i],
    };
  }
  nk_free(edges);
  nk_free(x);
  return code;
}

/* The knot of samples[0..n), which share group and position; work [n] is overwritten. */
static struct knot make_knot(const struct sample *samples, size_t n, const double band[2],
                             double *work) {
  struct knot knot = {.group = samples[0].group};
  for (size_t i = 0; i < n; i++) work[i] = samples[i].x;
  plot_sort(work, n);
  knot.x = plot_quantile(work, n, 0.5);
  for (size_t i = 0; i < n; i++) work[i] = samples[i].y; /* sorted by y already */
  knot.median = plot_quantile(work, n, 0.5);
  knot.lo = plot_quantile(work, n, band[0]);
  knot.hi = plot_quantile(work, n, band[1]);
  return knot;
}

static int make_knots(struct curve *curve, const struct plot_rows *rows, const struct plot *plot) {
  struct sample *samples = nk_alloc(rows->n, sizeof *samples);
  double *work = nk_alloc(rows->n, sizeof *work);
  curve->knots = nk_alloc(rows->n, sizeof *curve->knots);
  int code = samples != NULL && work != NULL && curve->knots != NULL
                 ? set_positions(samples, rows, plot)
                 : NK_EMEMORY;
  if (code == NK_OK && rows->n > 1) qsort(samples, rows->n, sizeof *samples, compare_samples);
  for (size_t i = 0, end; code == NK_OK && i < rows->n; i = end) {
    for (end = i + 1; end < rows->n; end++)
      if (samples[end].group != samples[i].group || samples[end].position != samples[i].position)
        break;
    struct knot knot = make_knot(samples + i, end - i, plot->band, work);
    curve->band = curve->band || (knot.lo < knot.hi && !plot->no_band);
    curve->knots[curve->n_knots++] = knot;
  }
  nk_free(samples);
  nk_free(work);
  return code;
}

static int set_ranges(struct plot_canvas *canvas, const struct curve *curve) {
  double *values = nk_alloc(3 * curve->n_knots, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < curve->n_knots; i++) values[i] = curve->knots[i].x;
  int code = plot_canvas_range(canvas, false, values, curve->n_knots, 0.02);
  for (size_t i = 0; i < curve->n_knots; i++) {
    values[3 * i] = curve->knots[i].median;
    values[3 * i + 1] = curve->band ? curve->knots[i].lo : curve->knots[i].median;
    values[3 * i + 2] = curve->band ? curve->knots[i].hi : curve->knots[i].median;
  }
  if (code == NK_OK) code = plot_canvas_range(canvas, true, values, 3 * curve->n_knots, 0.05);
  nk_free(values);
  return code;
}

/* The lines' names are at their right ends, moved apart where the ends are close. */
static int write_names(struct plot_canvas *canvas, const struct plot_rows *rows,
                       const struct curve *curve) {
  struct plot_notes notes = {0};
  double ends[PLOT_MAX_GROUPS] = {0};
  int code = NK_OK;
  if (rows->n_groups > 1 && !curve->ramp && !canvas->text) {
    for (size_t i = 0; i < curve->n_knots; i++) {
      const struct knot *knot = &curve->knots[i];
      ends[knot->group] = plot_axis_position(&canvas->y, knot->median);
    }
    code = plot_spread(ends, rows->n_groups, 1.05 * canvas->line, canvas->inside.y0,
                       canvas->inside.y1);
    for (size_t g = 0; code == NK_OK && g < rows->n_groups; g++) {
      struct plot_note note = {
          .text = plot_canvas_text(canvas, rows->group_names[g], true, 28),
          .x = canvas->inside.x1 + 0.5 * canvas->em,
          .y = ends[g],
          .side = 1,
          .style = (int)g + 1,
      };
      code = plot_notes_add(&notes, &note);
    }
  }
  plot_canvas_notes(canvas, "End", &notes);
  plot_notes_free(&notes);
  return code;
}

/* Reserves room at the right for the names; on a text terminal they are in the legend. */
static int name_lines(struct plot_canvas *canvas, const struct plot_rows *rows,
                      const struct curve *curve) {
  int code = NK_OK;
  double widest = 0;
  if (curve->ramp) {
    canvas->scale_name = canvas->plot->by;
    canvas->scale.lo = plot_rows_group_value(rows, 0);
    canvas->scale.hi = plot_rows_group_value(rows, rows->n_groups - 1);
  } else if (canvas->text) {
    code = plot_canvas_legend_rows(canvas, rows);
  } else if (rows->n_groups > 1) {
    for (size_t g = 0; code == NK_OK && g < rows->n_groups; g++) {
      char *name = plot_canvas_text(canvas, rows->group_names[g], true, 28);
      if (name == NULL) return NK_EMEMORY;
      widest = fmax(widest, plot_canvas_width(canvas, name, canvas->em));
      nk_free(name);
    }
    canvas->room_right = widest;
  }
  return code;
}

/* $Knots: "x median lo hi", a block per group; Shade: each group's position on the scale. */
static void write_knots(struct plot_canvas *canvas, const struct plot_rows *rows,
                        const struct curve *curve) {
  struct nk_buffer *script = &canvas->script;
  double shades[MAX_LINES] = {0};
  plot_script_number(script, "Band", curve->band);
  plot_script_data(script, "Knots");
  for (size_t i = 0; i < curve->n_knots; i++) {
    const struct knot *knot = &curve->knots[i];
    if (i > 0 && knot->group != curve->knots[i - 1].group) nk_buffer_text(script, "\n\n");
    nk_buffer_printf(script, "%.9g %.9g %.9g %.9g\n", knot->x, knot->median, knot->lo, knot->hi);
  }
  plot_script_data_end(script);
  for (size_t g = 0; g < rows->n_groups && curve->ramp; g++)
    shades[g] = plot_axis_position(&canvas->scale, plot_rows_group_value(rows, g));
  plot_script_numbers(script, "Shade", shades, rows->n_groups);
  plot_script_number(script, "Ramp", curve->ramp);
}

/* Adds to the y axis's label what the band is: "entropy (median, 5–95%)". */
static int name_axis(struct plot_canvas *canvas, const struct curve *curve) {
  const struct plot *plot = canvas->plot;
  struct nk_buffer name = {0};
  if (plot->y_label != NULL || !curve->band) return NK_OK;
  bool named = canvas->y_name[0] != 0;
  nk_buffer_printf(&name, "%s%smedian, %g\u2013%g%%%s", canvas->y_name, named ? " (" : "",
                   100 * plot->band[0], 100 * plot->band[1], named ? ")" : "");
  nk_free(canvas->y_name);
  canvas->y_name = name.failed ? NULL : nk_strdup(name.data);
  nk_buffer_free(&name);
  return canvas->y_name != NULL ? NK_OK : NK_EMEMORY;
}

static int draw(struct plot_canvas *canvas, const struct plot_rows *rows, struct curve *curve,
                struct nk_output *output) {
  if (rows->n_groups > PLOT_MAX_GROUPS) {
    curve->ramp = rows->numeric_groups && rows->n_groups <= MAX_LINES;
    if (!curve->ramp)
      return nk_fail(NK_EUSAGE,
                     "column '%s' makes %zu lines: the limit is %d, or %d for a column of numbers",
                     canvas->plot->by, rows->n_groups, PLOT_MAX_GROUPS, MAX_LINES);
  }
  int code = make_knots(curve, rows, canvas->plot);
  if (code == NK_OK) code = name_axis(canvas, curve);
  if (code == NK_OK) code = name_lines(canvas, rows, curve);
  if (code == NK_OK) code = set_ranges(canvas, curve);
  if (code == NK_OK) code = plot_canvas_layout(canvas, false, false);
  if (code != NK_OK) return code;
  write_knots(canvas, rows, curve);
  code = write_names(canvas, rows, curve);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

int plot_draw_curve(const struct plot *plot, const struct cli_frame *frame,
                    struct nk_output *output) {
  struct plot_rows rows;
  struct plot_canvas canvas = {0};
  struct curve curve = {0};
  int code = plot_rows_collect(&rows, plot, frame, PLOT_X | PLOT_Y);
  const char *y_name = plot->y != NULL && strchr(plot->y, ',') == NULL ? plot->y : "";
  if (code == NK_OK) code = plot_canvas_begin(&canvas, plot, frame, plot->x, y_name);
  if (code == NK_OK) code = draw(&canvas, &rows, &curve, output);
  nk_free(curve.knots);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
