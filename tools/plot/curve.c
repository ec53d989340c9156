/* Curve: the median of y at each x, with a band between two quantiles, a line per group. Where x
 * has many values, they are binned, and a bin is drawn at the median of its x. Of a table of
 * nk-summary, its statistics and intervals; where its x are texts, they are categories, and the
 * intervals are bars. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/internal.h"
#include "summary/intervals.h"

enum { MAX_LINES = 64, MAX_POSITIONS = 64, DEFAULT_BINS = 40 };

/* A point of a line: a median or another statistic, with its band. */
struct knot {
  double x, median, lo, hi;
  size_t group;
};

struct curve {
  struct knot *knots; /* by group, then x */
  size_t n_knots;
  bool band;
  bool ramp; /* many groups, all numbers: coloured along a scale */
  struct plot_estimates estimates;
  struct plot_ordinary ordinary;
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
static struct knot make_knot(const struct sample *samples, size_t n, const struct plot *plot,
                             double *work) {
  struct knot knot = {.group = samples[0].group};
  for (size_t i = 0; i < n; i++) work[i] = samples[i].x;
  plot_sort(work, n);
  knot.x = plot_quantile(work, n, 0.5);
  for (size_t i = 0; i < n; i++) work[i] = samples[i].y; /* sorted by y already */
  knot.median = plot_quantile(work, n, 0.5);
  knot.lo = plot_quantile(work, n, plot->band[0]);
  knot.hi = plot_quantile(work, n, plot->band[1]);
  if (plot->interval) {
    struct summary_interval interval = summary_quantile(work, n, 0.5, 0.95);
    knot.lo = interval.low;
    knot.hi = interval.high;
  }
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
    struct knot knot = make_knot(samples + i, end - i, plot, work);
    curve->band = curve->band || (knot.lo < knot.hi && !plot->no_band);
    curve->knots[curve->n_knots++] = knot;
  }
  nk_free(samples);
  nk_free(work);
  return code;
}

/* The knots of a summary are its rows. Bars of one category are beside one another. */
static int take_knots(struct curve *curve, const struct plot_rows *rows, const struct plot *plot,
                      const struct cli_frame *frame) {
  struct sample *samples = nk_alloc(rows->n, sizeof *samples);
  double step = 0.6 / (double)(rows->n_groups > 4 ? rows->n_groups : 4);
  curve->knots = nk_alloc(rows->n, sizeof *curve->knots);
  int code = samples != NULL && curve->knots != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++)
    samples[i] = (struct sample){rows->group[i], rows->x[i], (double)rows->row[i], 0};
  if (code == NK_OK && rows->n > 1) qsort(samples, rows->n, sizeof *samples, compare_samples);
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    struct plot_estimate at;
    size_t g = samples[i].group;
    if (i > 0 && g == samples[i - 1].group && samples[i].position == samples[i - 1].position)
      code =
          nk_fail(NK_EUSAGE, "several rows of a group have one value of '%s'; use --by", plot->x);
    plot_estimate_of(&curve->estimates, frame, (size_t)samples[i].x, &at);
    double beside = step * ((double)g - (double)(rows->n_groups - 1) / 2);
    curve->knots[curve->n_knots++] = (struct knot){
        samples[i].position + (curve->estimates.n_categories > 0 ? beside : 0),
        at.value,
        plot->no_band ? at.value : at.low,
        plot->no_band ? at.value : at.high,
        g,
    };
    curve->band = curve->band || at.low < at.high;
  }
  nk_free(samples);
  return code;
}

/* ---- Axes and names ---- */

/* A tick in the middle of each category. */
static void set_categories(struct plot_canvas *canvas, const struct curve *curve) {
  struct plot_axis *x = &canvas->x;
  x->lo = 0.5;
  x->hi = (double)curve->estimates.n_categories + 0.5;
  x->ticks.n = 0;
  for (size_t c = 0; c < curve->estimates.n_categories && c < PLOT_MAX_TICKS; c++) {
    x->ticks.at[c] = (double)c + 1;
    snprintf(x->ticks.text[x->ticks.n++], sizeof x->ticks.text[0], "%.31s",
             curve->estimates.categories[c]);
  }
}

static int set_ranges(struct plot_canvas *canvas, const struct curve *curve) {
  const struct plot_estimate *ordinary = &curve->ordinary.at;
  size_t n = 3 * curve->n_knots;
  double *values = nk_alloc(n + 3, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < curve->n_knots; i++) values[i] = curve->knots[i].x;
  int code = plot_canvas_range(canvas, false, values, curve->n_knots, 0.02);
  if (curve->estimates.n_categories > 0) set_categories(canvas, curve);
  for (size_t i = 0; i < curve->n_knots; i++) {
    values[3 * i] = curve->knots[i].median;
    values[3 * i + 1] = curve->band ? curve->knots[i].lo : curve->knots[i].median;
    values[3 * i + 2] = curve->band ? curve->knots[i].hi : curve->knots[i].median;
  }
  values[n] = curve->ordinary.any ? ordinary->value : NAN; /* NaN is ignored */
  values[n + 1] = curve->ordinary.any ? ordinary->low : NAN;
  values[n + 2] = curve->ordinary.any ? ordinary->high : NAN;
  if (code == NK_OK) code = plot_canvas_range(canvas, true, values, n + 3, 0.05);
  nk_free(values);
  return code;
}

/* The name of a line, or after the last one that of the ordinary rows. */
static char *name_of(struct plot_canvas *canvas, const struct plot_rows *rows,
                     const struct curve *curve, size_t line) {
  char number[48];
  if (line == rows->n_groups) return nk_strdup(curve->ordinary.name);
  return plot_canvas_text(canvas, plot_rows_group_text(rows, line, number), true, 28);
}

/* Which of the names there are: those of several lines, and the one of the ordinary rows. */
static void choose_names(const struct plot_rows *rows, const struct curve *curve, size_t *first,
                         size_t *end) {
  bool lines = rows->n_groups > 1 && !curve->ramp && curve->estimates.n_categories == 0;
  *first = lines ? 0 : rows->n_groups;
  *end = rows->n_groups + curve->ordinary.any;
}

/* The names are at the right ends of the lines, moved apart where the ends are close. */
static int write_names(struct plot_canvas *canvas, const struct plot_rows *rows,
                       const struct curve *curve) {
  struct plot_notes notes = {0};
  double ends[PLOT_MAX_GROUPS + 1] = {0};
  size_t first, end;
  int code = NK_OK;
  choose_names(rows, curve, &first, &end);
  if (canvas->text) end = first;
  for (size_t i = 0; i < curve->n_knots && first == 0; i++)
    ends[curve->knots[i].group] = plot_axis_position(&canvas->y, curve->knots[i].median);
  if (end > rows->n_groups)
    ends[rows->n_groups - first] = plot_axis_position(&canvas->y, curve->ordinary.at.value);
  if (end > first)
    code =
        plot_spread(ends, end - first, 1.05 * canvas->line, canvas->inside.y0, canvas->inside.y1);
  for (size_t g = first; code == NK_OK && g < end; g++) {
    struct plot_note note = {
        .text = name_of(canvas, rows, curve, g),
        .x = canvas->inside.x1 + 0.5 * canvas->em,
        .y = ends[g - first],
        .side = 1,
        .style = g < rows->n_groups ? (int)g + 1 : PLOT_NEUTRAL_STYLE,
    };
    code = plot_notes_add(&notes, &note);
  }
  plot_canvas_notes(canvas, "End", &notes);
  plot_notes_free(&notes);
  return code;
}

/* Reserves room at the right for the names; on a text terminal and of bars they are in the legend.
 */
static int name_lines(struct plot_canvas *canvas, const struct plot_rows *rows,
                      const struct curve *curve) {
  size_t first, end;
  int code = NK_OK;
  if (curve->ramp) {
    canvas->scale_name = canvas->plot->by;
    canvas->scale.lo = plot_rows_group_value(rows, 0);
    canvas->scale.hi = plot_rows_group_value(rows, rows->n_groups - 1);
  } else if (canvas->text || curve->estimates.n_categories > 0) {
    code = plot_canvas_legend_rows(canvas, rows);
  }
  if (code == NK_OK && canvas->text && curve->ordinary.any) {
    const struct plot_estimate *at = &curve->ordinary.at;
    char text[160];
    snprintf(text, sizeof text, "%s: %.3g (%.3g to %.3g)", curve->ordinary.name, at->value, at->low,
             at->high);
    code = plot_canvas_legend(canvas, text, PLOT_NEUTRAL_STYLE);
  }
  choose_names(rows, curve, &first, &end);
  for (size_t g = first; code == NK_OK && g < end && !canvas->text; g++) {
    char *name = name_of(canvas, rows, curve, g);
    if (name == NULL) return NK_EMEMORY;
    canvas->room_right = fmax(canvas->room_right, plot_canvas_width(canvas, name, canvas->em));
    nk_free(name);
  }
  return code;
}

/* $Knots: "x median lo hi", a block per group; Shade: each group's position on the scale. */
static void write_knots(struct plot_canvas *canvas, const struct plot_rows *rows,
                        const struct curve *curve) {
  struct nk_buffer *script = &canvas->script;
  double shades[MAX_LINES] = {0};
  plot_script_number(script, "Band", curve->band);
  plot_script_number(script, "Bars", curve->estimates.n_categories > 0);
  plot_script_number(script, "Ordinary", curve->ordinary.any);
  plot_script_number(script, "Ordinary_at", curve->ordinary.at.value);
  plot_script_number(script, "Ordinary_lo", curve->ordinary.at.low);
  plot_script_number(script, "Ordinary_hi", curve->ordinary.at.high);
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

/* Adds to the y axis's label what the band is: "entropy (median, 5–95%)", "median kl (95%
 * interval)". */
static int name_axis(struct plot_canvas *canvas, const struct curve *curve) {
  const struct plot *plot = canvas->plot;
  struct nk_buffer name = {0};
  if (plot->y_label != NULL || !curve->band || (curve->estimates.any && plot->no_band))
    return NK_OK;
  bool named = canvas->y_name[0] != 0;
  nk_buffer_printf(&name, "%s%s", canvas->y_name, named ? " (" : "");
  double level = plot_estimates_level(canvas->frame);
  if (curve->estimates.any && !isnan(level)) nk_buffer_printf(&name, "%g%% ", 100 * level);
  if (curve->estimates.any)
    nk_buffer_text(&name, "interval");
  else if (plot->interval)
    nk_buffer_text(&name, "median, 95% interval");
  else
    nk_buffer_printf(&name, "median, %g\u2013%g%%", 100 * plot->band[0], 100 * plot->band[1]);
  nk_buffer_text(&name, named ? ")" : "");
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
  int code = curve->estimates.any ? take_knots(curve, rows, canvas->plot, canvas->frame)
                                  : make_knots(curve, rows, canvas->plot);
  if (code == NK_OK) code = name_axis(canvas, curve);
  if (code == NK_OK) code = name_lines(canvas, rows, curve);
  if (code == NK_OK) code = set_ranges(canvas, curve);
  if (code == NK_OK) code = plot_canvas_layout(canvas, curve->estimates.n_categories > 0, false);
  if (code != NK_OK) return code;
  write_knots(canvas, rows, curve);
  code = write_names(canvas, rows, curve);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

int plot_draw_curve(const struct plot *plot, const struct cli_frame *frame,
                    struct nk_output *output) {
  struct plot chosen = *plot;
  struct plot_rows rows = {0};
  struct plot_canvas canvas = {0};
  struct curve curve = {0};
  int code = plot_estimates_find(&curve.estimates, &chosen, frame);
  if (code == NK_OK) code = plot_ordinary_find(&curve.ordinary, &chosen, frame, &curve.estimates);
  if (code == NK_OK) code = plot_estimates_rows(&curve.estimates, &rows, &chosen, frame);
  const char *y_name = chosen.y != NULL && strchr(chosen.y, ',') == NULL ? chosen.y : "";
  if (curve.estimates.any)
    y_name = curve.estimates.statistic != NULL ? curve.estimates.statistic : "";
  if (code == NK_OK) code = plot_canvas_begin(&canvas, &chosen, frame, chosen.x, y_name);
  if (code == NK_OK) code = draw(&canvas, &rows, &curve, output);
  nk_free(curve.knots);
  plot_estimates_free(&curve.estimates);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
