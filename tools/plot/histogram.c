/* Histogram: the counts of x in bins; for several groups the percentages of each group, so that
 * groups of very different sizes can be compared. Marked rows are a group of their own. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "plot/internal.h"

/* One group's bars. */
struct series {
  const double *values; /* [n] in the units of the edges */
  size_t n;
  int style;
};

struct histogram {
  double *values; /* [rows->n] those of all series, in order */
  struct series series[PLOT_MAX_GROUPS + 1];
  size_t n_series;
  double *edges; /* [n_bins + 1]; log10 of x on a logarithmic axis */
  size_t n_bins;
  double *height; /* [n_series, n_bins] */
  bool shares;    /* heights are percentages of the series */
};

static void histogram_free(struct histogram *h) {
  nk_free(h->values);
  nk_free(h->edges);
  nk_free(h->height);
}

/* The groups without the marked rows, then the marked ones; empty groups are left out. */
static int split(struct histogram *h, const struct plot_canvas *canvas,
                 const struct plot_rows *rows) {
  h->values = nk_alloc(rows->n, sizeof *h->values);
  if (h->values == NULL) return NK_EMEMORY;
  size_t used = 0;
  for (size_t s = 0; s <= rows->n_groups; s++) {
    bool marks = s == rows->n_groups;
    struct series *series = &h->series[h->n_series];
    series->values = h->values + used;
    series->style = marks ? PLOT_MARK_STYLE : (int)s + 1;
    series->n = 0;
    for (size_t i = 0; i < rows->n; i++) {
      if (marks ? !rows->marked[i] : (rows->marked[i] || rows->group[i] != s)) continue;
      h->values[used++] = canvas->plot->log_x ? log10(rows->x[i]) : rows->x[i];
      series->n++;
    }
    h->n_series += series->n > 0;
  }
  h->shares = h->n_series > 1 && !canvas->plot->counts;
  return NK_OK;
}

static int fill_bins(struct histogram *h, const struct plot_canvas *canvas, size_t n) {
  size_t most = canvas->text ? (size_t)canvas->width - 14 : 160;
  int code = plot_bin_edges(h->values, n, canvas->plot->bins, most, &h->edges, &h->n_bins);
  if (code != NK_OK) return code;
  size_t *counts = nk_alloc(h->n_bins, sizeof *counts);
  h->height = nk_alloc(h->n_series * h->n_bins, sizeof *h->height);
  if (counts == NULL || h->height == NULL) code = NK_EMEMORY;
  for (size_t s = 0; code == NK_OK && s < h->n_series; s++) {
    plot_bin_count(h->series[s].values, h->series[s].n, h->edges, h->n_bins, counts);
    double unit = h->shares ? 100.0 / (double)h->series[s].n : 1;
    for (size_t b = 0; b < h->n_bins; b++) h->height[s * h->n_bins + b] = unit * (double)counts[b];
  }
  nk_free(counts);
  return code;
}

static double edge(const struct histogram *h, const struct plot_canvas *canvas, size_t b) {
  return canvas->plot->log_x ? pow(10, h->edges[b]) : h->edges[b];
}

static int set_ranges(struct plot_canvas *canvas, const struct histogram *h) {
  double ends[2] = {edge(h, canvas, 0), edge(h, canvas, h->n_bins)}, heights[2] = {INFINITY, 0};
  for (size_t i = 0; i < h->n_series * h->n_bins; i++) {
    if (h->height[i] > 0) heights[0] = fmin(heights[0], h->height[i]);
    heights[1] = fmax(heights[1], h->height[i]);
  }
  heights[0] = canvas->plot->log_y ? heights[0] / 2 : 0; /* so that the lowest bar is visible */
  int code = plot_canvas_range(canvas, false, ends, 2, 0.015);
  if (code == NK_OK) code = plot_canvas_range(canvas, true, heights, 2, 0.04);
  if (!canvas->y.log && !canvas->plot->y_range.has_lo) canvas->y.lo = 0;
  return code;
}

/* $Bars: "from to height" of each bin, a block per series. $Steps: "x y" of its outline. */
static void write_bars(struct plot_canvas *canvas, const struct histogram *h) {
  struct nk_buffer *script = &canvas->script;
  double styles[PLOT_MAX_GROUPS + 1];
  for (size_t s = 0; s < h->n_series; s++) styles[s] = h->series[s].style;
  plot_script_numbers(script, "Series", styles, h->n_series);
  for (int outline = 0; outline < 2; outline++) {
    plot_script_data(script, outline ? "Steps" : "Bars");
    for (size_t s = 0; s < h->n_series; s++) {
      const double *height = h->height + s * h->n_bins;
      for (size_t b = 0; b < h->n_bins; b++) {
        double from = edge(h, canvas, b), to = edge(h, canvas, b + 1);
        double top = fmax(height[b], canvas->y.lo);
        if (outline) {
          if (b == 0) nk_buffer_printf(script, "%.9g %.9g\n", from, canvas->y.lo);
          nk_buffer_printf(script, "%.9g %.9g\n%.9g %.9g\n", from, top, to, top);
          if (b + 1 == h->n_bins) nk_buffer_printf(script, "%.9g %.9g\n", to, canvas->y.lo);
        } else {
          nk_buffer_printf(script, "%.9g %.9g %.9g\n", from, to, top);
        }
      }
      nk_buffer_text(script, "\n\n");
    }
    plot_script_data_end(script);
  }
}

/* $Columns: "x height" of the first series at the position of each character, so that bars are
 * solid. */
static void write_columns(struct plot_canvas *canvas, const struct histogram *h) {
  const struct plot_axis *x = &canvas->x;
  plot_script_data(&canvas->script, "Columns");
  size_t n_columns = canvas->text ? (size_t)(x->to - x->from) : 0;
  for (size_t column = 1; column <= n_columns; column++) {
    double part = (double)column / (x->to - x->from);
    double value = x->log ? x->lo * pow(x->hi / x->lo, part) : x->lo + part * (x->hi - x->lo);
    int64_t bin = plot_bin_of(x->log ? log10(value) : value, h->edges, h->n_bins);
    if (bin >= 0 && h->height[bin] > 0)
      nk_buffer_printf(&canvas->script, "%.9g %.9g\n", value, h->height[bin]);
  }
  nk_buffer_text(&canvas->script, "NaN NaN\n");
  plot_script_data_end(&canvas->script);
}

/* Labels do not cover the bars. */
static int take_bars(struct plot_canvas *canvas, const struct histogram *h) {
  void *grown = nk_realloc(canvas->taken, canvas->n_taken, canvas->n_taken + h->n_bins,
                           sizeof *canvas->taken);
  if (grown == NULL) return NK_EMEMORY;
  canvas->taken = grown;
  double gap = canvas->text ? 0 : 0.3 * canvas->em;
  for (size_t b = 0; b < h->n_bins; b++) {
    double top = canvas->y.lo;
    for (size_t s = 0; s < h->n_series; s++) top = fmax(top, h->height[s * h->n_bins + b]);
    if (top <= canvas->y.lo) continue;
    canvas->taken[canvas->n_taken++] =
        (struct plot_box){plot_axis_position(&canvas->x, edge(h, canvas, b)), canvas->inside.y0,
                          plot_axis_position(&canvas->x, edge(h, canvas, b + 1)),
                          plot_axis_position(&canvas->y, fmin(top, canvas->y.hi)) + gap};
  }
  return NK_OK;
}

static int draw(struct plot_canvas *canvas, const struct plot_rows *rows, struct histogram *h,
                struct nk_output *output) {
  int code = split(h, canvas, rows);
  if (code == NK_OK) code = fill_bins(h, canvas, rows->n);
  if (code == NK_OK && canvas->plot->y_label == NULL) {
    nk_free(canvas->y_name);
    canvas->y_name = nk_strdup(h->shares ? "% of the group" : "count");
    if (canvas->y_name == NULL) code = NK_EMEMORY;
  }
  if (code == NK_OK) code = plot_canvas_legend_rows(canvas, rows);
  if (code == NK_OK) code = set_ranges(canvas, h);
  if (code == NK_OK) code = plot_canvas_layout(canvas, false, false);
  if (code == NK_OK) code = take_bars(canvas, h);
  if (code != NK_OK) return code;
  write_bars(canvas, h);
  write_columns(canvas, h);
  code = plot_canvas_labels(canvas, rows, NULL);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

int plot_draw_histogram(const struct plot *plot, const struct cli_frame *frame,
                        struct nk_output *output) {
  struct plot_rows rows;
  struct plot_canvas canvas = {0};
  struct histogram histogram = {0};
  int code = plot_rows_collect(&rows, plot, frame, PLOT_X);
  if (code == NK_OK) code = plot_rows_join_groups(&rows, PLOT_MAX_GROUPS);
  const char *x_name = plot->x != NULL && strchr(plot->x, ',') == NULL ? plot->x : "";
  if (code == NK_OK) code = plot_canvas_begin(&canvas, plot, frame, x_name, "");
  if (code == NK_OK) code = draw(&canvas, &rows, &histogram, output);
  histogram_free(&histogram);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
