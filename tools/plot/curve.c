/* Curve: the median of y at each x, with a band between two quantiles, a line per group. Where x
 * has many values, they are binned, and a bin is drawn at the median of its x. Where lines are
 * summarized, each is thin and pale and their median bold. Of a table of nk-summary, its statistics
 * and intervals; where its x are texts, they are categories, and the intervals are bars. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "plot/knots.h"

enum { MAX_LINES = 64 };

struct curve {
  struct plot_knots knots;
  struct plot_strands strands;
  bool ramp; /* many groups, all numbers: coloured along a scale */
  struct plot_estimates estimates;
  struct plot_ordinary ordinary;
};

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
  const struct plot_knots *knots = &curve->knots;
  const struct plot_strands *strands = &curve->strands;
  const struct plot_estimate *ordinary = &curve->ordinary.at;
  size_t n = 0;
  double *values = nk_alloc(3 * knots->n + strands->n + 3, sizeof *values);
  if (values == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < knots->n; i++) values[n++] = knots->knot[i].x;
  for (size_t i = 0; i < strands->n; i++) values[n++] = strands->bead[i].x;
  int code = plot_canvas_range(canvas, false, values, n, 0.02);
  if (curve->estimates.n_categories > 0) set_categories(canvas, curve);
  n = 0;
  for (size_t i = 0; i < knots->n; i++) {
    const struct plot_knot *knot = &knots->knot[i];
    values[n++] = knot->value;
    values[n++] = knots->band ? knot->lo : knot->value;
    values[n++] = knots->band ? knot->hi : knot->value;
  }
  for (size_t i = 0; i < strands->n; i++) values[n++] = strands->bead[i].y;
  if (curve->ordinary.any) {
    values[n++] = ordinary->value;
    values[n++] = ordinary->low;
    values[n++] = ordinary->high;
  }
  if (code == NK_OK) code = plot_canvas_range(canvas, true, values, n, 0.05);
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
  for (size_t i = 0; i < curve->knots.n && first == 0; i++)
    ends[curve->knots.knot[i].group] = plot_axis_position(&canvas->y, curve->knots.knot[i].value);
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

/* $Strands: "x y", a block per group in which an empty line ends a strand; none of a summary that
 * is drawn without them. */
static void write_strands(struct plot_canvas *canvas, const struct curve *curve) {
  struct nk_buffer *script = &canvas->script;
  const struct plot_strands *strands = &curve->strands;
  size_t n = strands->n > 0;
  plot_script_data(script, "Strands");
  for (size_t i = 0; i < strands->n; i++) {
    const struct plot_bead *bead = &strands->bead[i];
    if (i > 0 && bead->group != bead[-1].group)
      nk_buffer_text(script, "\n\n");
    else if (i > 0 && bead->strand != bead[-1].strand)
      nk_buffer_text(script, "\n");
    n += i > 0 && (bead->group != bead[-1].group || bead->strand != bead[-1].strand);
    nk_buffer_printf(script, "%.9g %.9g\n", bead->x, bead->y);
  }
  plot_script_data_end(script);
  plot_script_number(script, "Strands_n", (double)n);
}

/* $Knots: "x value lo hi", a block per group; Shade: each group's position on the scale. */
static void write_knots(struct plot_canvas *canvas, const struct plot_rows *rows,
                        const struct curve *curve) {
  struct nk_buffer *script = &canvas->script;
  double shades[MAX_LINES] = {0};
  bool summary = canvas->plot->summary != PLOT_ROWS, many = curve->knots.n > 32 * rows->n_groups;
  plot_script_number(script, "Band", curve->knots.band && (!curve->ramp || summary));
  plot_script_number(script, "Dots", !curve->ramp && !many);
  plot_script_number(script, "Diagonal", canvas->plot->kind == PLOT_PATHS);
  plot_script_number(script, "Bars", curve->estimates.n_categories > 0);
  plot_script_number(script, "Ordinary", curve->ordinary.any);
  plot_script_number(script, "Ordinary_at", curve->ordinary.at.value);
  plot_script_number(script, "Ordinary_lo", curve->ordinary.at.low);
  plot_script_number(script, "Ordinary_hi", curve->ordinary.at.high);
  plot_script_data(script, "Knots");
  for (size_t i = 0; i < curve->knots.n; i++) {
    const struct plot_knot *knot = &curve->knots.knot[i];
    if (i > 0 && knot->group != knot[-1].group) nk_buffer_text(script, "\n\n");
    nk_buffer_printf(script, "%.9g %.9g %.9g %.9g\n", knot->x, knot->value, knot->lo, knot->hi);
  }
  plot_script_data_end(script);
  for (size_t g = 0; g < rows->n_groups && curve->ramp; g++)
    shades[g] = plot_axis_position(&canvas->scale, plot_rows_group_value(rows, g));
  plot_script_numbers(script, "Shade", shades, rows->n_groups);
  plot_script_number(script, "Ramp", curve->ramp);
}

/* Adds to the y axis's label what the lines and the band are: "entropy (median, 5–95%)", "median
 * kl (95% interval)", "kl (mean over ray, 95% interval)". */
static int name_axis(struct plot_canvas *canvas, const struct curve *curve, const char *strands) {
  const struct plot *plot = canvas->plot;
  struct nk_buffer name = {0};
  bool band = curve->knots.band, of_rows = plot->summary == PLOT_ROWS;
  if (plot->y_label != NULL || (!band && of_rows) || (curve->estimates.any && plot->no_band))
    return NK_OK;
  bool named = canvas->y_name[0] != 0;
  nk_buffer_printf(&name, "%s%s", canvas->y_name, named ? " (" : "");
  double level = plot_estimates_level(&curve->estimates, canvas->frame);
  if (curve->estimates.any && !isnan(level)) nk_buffer_printf(&name, "%g%% ", 100 * level);
  if (curve->estimates.any)
    nk_buffer_text(&name, "interval");
  else
    nk_buffer_text(&name, plot->summary == PLOT_MEAN ? "mean" : "median");
  if (!of_rows) nk_buffer_printf(&name, " over %s", strands);
  bool percent = band && !curve->estimates.any;
  if (percent && plot->interval)
    nk_buffer_text(&name, ", 95% interval");
  else if (percent)
    nk_buffer_printf(&name, ", %g\u2013%g%%", 100 * plot->band[0], 100 * plot->band[1]);
  nk_buffer_text(&name, named ? ")" : "");
  nk_free(canvas->y_name);
  canvas->y_name = name.failed ? NULL : plot_canvas_text(canvas, name.data, false, 0);
  nk_buffer_free(&name);
  return canvas->y_name != NULL ? NK_OK : NK_EMEMORY;
}

static int draw(struct plot_canvas *canvas, const struct plot_rows *rows, struct curve *curve,
                const char *strands, struct nk_output *output) {
  const struct plot *plot = canvas->plot;
  bool categories = curve->estimates.n_categories > 0;
  int code = curve->estimates.any
                 ? plot_knots_take(&curve->knots, rows, &curve->estimates, plot, canvas->frame)
                 : plot_knots_make(&curve->knots, rows, &curve->strands, plot);
  bool strands_too = plot->kind != PLOT_PATHS || rows->n_groups == 1;
  if (code == NK_OK && plot->summary != PLOT_ROWS && !plot->no_strands && strands_too &&
      !canvas->text)
    code = plot_strands_draw(&curve->strands, rows, plot);
  if (code == NK_OK) code = name_axis(canvas, curve, strands);
  if (code == NK_OK) code = name_lines(canvas, rows, curve);
  if (code == NK_OK) code = set_ranges(canvas, curve);
  if (code == NK_OK) code = plot_canvas_layout(canvas, categories, false);
  if (code != NK_OK) return code;
  write_knots(canvas, rows, curve);
  write_strands(canvas, curve);
  code = write_names(canvas, rows, curve);
  return code == NK_OK ? plot_canvas_draw(canvas, output) : code;
}

/* ---- The rows ---- */

/* Many groups are coloured along a scale, where they are numbers, and those of paths always. */
static int choose_ramp(struct curve *curve, const struct plot_rows *rows, const struct plot *plot) {
  bool few = rows->n_groups <= PLOT_MAX_GROUPS;
  if (few && (plot->kind != PLOT_PATHS || rows->n_groups == 1)) return NK_OK;
  curve->ramp = rows->numeric_groups && rows->n_groups <= MAX_LINES;
  if (curve->ramp || few) return NK_OK;
  return nk_fail(NK_EUSAGE,
                 "column '%s' makes %zu lines: the limit is %d, or %d for a column of numbers%s",
                 plot->by, rows->n_groups, PLOT_MAX_GROUPS, MAX_LINES,
                 plot->summary == PLOT_ROWS ? "; any number where they are summarized" : "");
}

/* The rows in groups that have a colour each, and the strands of a summary. */
static int take_rows(struct curve *curve, struct plot_rows *rows, struct plot *plot,
                     const struct cli_frame *frame) {
  int code = plot_estimates_find(&curve->estimates, plot, frame);
  if (code == NK_OK) code = plot_ordinary_find(&curve->ordinary, plot, frame, &curve->estimates);
  if (code == NK_OK && plot->summary != PLOT_ROWS && curve->estimates.any)
    return nk_fail(NK_EUSAGE, "%s: a table of statistics is not summarized again",
                   cli_frame_name(frame));
  if (code == NK_OK) code = plot_estimates_rows(&curve->estimates, rows, plot, frame);
  if (code == NK_OK && plot->summary != PLOT_ROWS) {
    code = plot_strands_take(&curve->strands, rows, frame, plot->colour);
    plot->by = plot->colour;
  }
  return code == NK_OK ? choose_ramp(curve, rows, plot) : code;
}

int plot_draw_curve(const struct plot *plot, const struct cli_frame *frame,
                    struct nk_output *output) {
  struct plot chosen = *plot;
  struct plot_rows rows = {0};
  struct plot_canvas canvas = {0};
  struct curve curve = {0};
  int code = take_rows(&curve, &rows, &chosen, frame);
  const char *y_name = chosen.y != NULL && strchr(chosen.y, ',') == NULL ? chosen.y : "";
  char name[256];
  if (curve.estimates.any) plot_estimates_name(&curve.estimates, name, sizeof name);
  if (curve.estimates.any) y_name = name;
  if (code == NK_OK) code = plot_canvas_begin(&canvas, &chosen, frame, chosen.x, y_name);
  if (code == NK_OK) code = draw(&canvas, &rows, &curve, plot->by, output);
  nk_free(curve.knots.knot);
  plot_strands_free(&curve.strands);
  plot_estimates_free(&curve.estimates);
  plot_canvas_free(&canvas);
  plot_rows_free(&rows);
  return code;
}
