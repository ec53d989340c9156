/* Ranges, margins, ticks, legend, cuts, outlines, the colour scale. Margins are computed here
 * instead of by gnuplot, because labels can be placed only where all positions are known. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "plot/internal.h"

/* ---- Ranges ---- */

static void include(struct plot_axis *axis, double value) {
  if (!(fabs(value) < 1e300) || (axis->log && value <= 0)) return;
  if (!(value >= axis->lo)) axis->lo = value; /* true for the first, when lo is NaN */
  if (!(value <= axis->hi)) axis->hi = value;
}

/* The columns of an outline's points: those with the names of x and y, or else the first two. */
static void outline_columns(const struct plot *plot, const struct cli_frame *outline,
                            size_t columns[2]) {
  const char *names[2] = {plot->x, plot->y};
  for (size_t k = 0; k < 2; k++) {
    int64_t found = names[k] != NULL ? cli_frame_find(outline, names[k]) : -1;
    columns[k] = found >= 0 ? (size_t)found : k;
  }
}

static int include_outlines(const struct plot *plot, struct plot_axis *axis, bool vertical) {
  for (size_t o = 0; o < plot->n_outlines; o++) {
    const struct cli_frame *outline = plot->outlines[o];
    if (cli_frame_n_columns(outline) < 2)
      return nk_fail(NK_EDATA, "%s: an outline needs two columns", cli_frame_name(outline));
    size_t columns[2];
    outline_columns(plot, outline, columns);
    for (size_t row = 0; row < cli_frame_n_rows(outline); row++) {
      double value;
      int code = cli_frame_number(outline, row, columns[vertical], &value);
      if (code == NK_OK)
        include(axis, value);
      else if (code != NK_ENOTFOUND)
        return code;
    }
  }
  return NK_OK;
}

int plot_canvas_range(struct plot_canvas *canvas, bool vertical, const double *values, size_t n,
                      double margin) {
  const struct plot *plot = canvas->plot;
  struct plot_axis *axis = vertical ? &canvas->y : &canvas->x;
  const struct plot_range *asked = vertical ? &plot->y_range : &plot->x_range;
  axis->log = vertical ? plot->log_y : plot->log_x;
  axis->lo = axis->hi = NAN;
  axis->whole = true;
  for (size_t i = 0; i < n; i++) {
    include(axis, values[i]);
    axis->whole = axis->whole && (isnan(values[i]) || values[i] == floor(values[i]));
  }
  for (size_t i = 0; i < canvas->n_cuts; i++)
    if (canvas->cut[i].vertical != vertical) include(axis, canvas->cut[i].at);
  int code = include_outlines(plot, axis, vertical);
  if (code != NK_OK) return code;
  plot_axis_pad(axis, margin);
  if (asked->has_lo) axis->lo = asked->lo;
  if (asked->has_hi) axis->hi = asked->hi;
  if (!(axis->lo < axis->hi) || (axis->log && axis->lo <= 0))
    return nk_fail(NK_EUSAGE, "range of %s: %g to %g is empty%s", vertical ? "y" : "x", axis->lo,
                   axis->hi, axis->log ? " on a logarithmic axis" : "");
  return NK_OK;
}

/* ---- Layout ---- */

/* Sets the positions of the legend's entries, in lines between left and right, the first at height
 * `top`. Returns the number of lines. */
static size_t flow_legend(struct plot_canvas *canvas, double left, double right, double top) {
  double swatch = canvas->text ? 2 : 1.1 * canvas->em, gap = canvas->text ? 3 : 1.6 * canvas->em;
  double x = left;
  size_t lines = canvas->legend.n > 0;
  for (size_t i = 0; i < canvas->legend.n; i++) {
    struct plot_note *note = &canvas->legend.note[i];
    double width = swatch + plot_canvas_width(canvas, note->text, canvas->em);
    if (x > left && x + width > right) {
      x = left;
      lines++;
    }
    note->x = x + swatch / 2;
    note->y = canvas->text ? top - (double)(lines - 1)
                           : top - ((double)lines - 0.5) * canvas->line * 1.15;
    x += width + gap;
  }
  return lines;
}

static double widest_tick(const struct plot_canvas *canvas, const struct plot_axis *axis) {
  double widest = 0;
  for (size_t i = 0; i < axis->ticks.n; i++)
    widest = fmax(widest, plot_canvas_width(canvas, axis->ticks.text[i], canvas->tick_em));
  return widest;
}

/* The colour scale: a bar to the right of the frame, with ticks of its own. */
static void lay_scale(struct plot_canvas *canvas) {
  struct plot_axis *scale = &canvas->scale;
  if (!(scale->lo < scale->hi)) return;
  if (canvas->text) return;
  plot_axis_ticks(scale, (size_t)fmax(2, canvas->height / 110));
  double name = plot_canvas_width(canvas, canvas->scale_name, canvas->em);
  canvas->room_right += fmax(2.6 * canvas->em + widest_tick(canvas, scale), name * 0.6);
}

static size_t wanted_ticks(double length, double each) {
  return (size_t)fmax(2, length / each);
}

/* The position of the frame. From the top: margin, title, legend, the y axis's label, the frame. */
static void lay_frame(struct plot_canvas *canvas, bool x_categories, bool y_categories) {
  const struct plot *plot = canvas->plot;
  double em = canvas->em, edge = canvas->text ? 0 : 1.1 * em;
  double bottom = canvas->text ? 2 : edge + 1.5 * canvas->tick_em;
  if (canvas->x_name[0] != 0) bottom += canvas->text ? 1 : 1.9 * em;
  double top = canvas->height - edge;
  if (plot->title != NULL && plot->title[0] != 0) top -= canvas->text ? 1 : 1.75 * canvas->title_em;
  double legend_top = top;
  size_t lines = flow_legend(canvas, edge, canvas->width - edge, top);
  if (lines > 0)
    top -= canvas->text ? (double)lines : (double)lines * canvas->line * 1.15 + 0.4 * em;
  if (canvas->y_name[0] != 0 || canvas->scale_name != NULL) top -= canvas->text ? 1 : 1.75 * em;
  canvas->y.from = bottom;
  canvas->y.to = fmax(top, bottom + canvas->line);
  double each = canvas->text ? 4 : 62;
  if (!y_categories) plot_axis_ticks(&canvas->y, wanted_ticks(canvas->y.to - bottom, each));
  double left = edge + widest_tick(canvas, &canvas->y) + (canvas->text ? 2 : 0.8 * em);
  double right = canvas->width - 1.6 * edge - canvas->room_right - (canvas->text ? 2 : 0);
  canvas->x.from = left;
  canvas->x.to = fmax(right, left + canvas->line);
  each = canvas->text ? 13 : 105;
  if (!x_categories) plot_axis_ticks(&canvas->x, wanted_ticks(canvas->x.to - left, each));
  canvas->inside = (struct plot_box){left, bottom, canvas->x.to, canvas->y.to};
  flow_legend(canvas, left, canvas->width - edge, legend_top);
}

static void write_axis(struct plot_canvas *canvas, const char *name, const struct plot_axis *axis) {
  char variable[64];
  struct nk_buffer *script = &canvas->script;
  nk_buffer_printf(script, "%s_lo = %.17g\n%s_hi = %.17g\n%s_log = %d\n", name, axis->lo, name,
                   axis->hi, name, axis->log);
  snprintf(variable, sizeof variable, "%s_tick_at", name);
  plot_script_numbers(script, variable, axis->ticks.at, axis->ticks.n);
  nk_buffer_printf(script, "array %s_tick_text[%zu]\n", name,
                   axis->ticks.n > 0 ? axis->ticks.n : 1);
  for (size_t i = 0; i < axis->ticks.n; i++) {
    snprintf(variable, sizeof variable, "%s_tick_text[%zu]", name, i + 1);
    plot_script_text(script, variable, axis->ticks.text[i]);
  }
}

static int add_taken(struct plot_canvas *canvas, const struct plot_box *box) {
  void *grown = nk_realloc(canvas->taken, canvas->n_taken, canvas->n_taken + 1, sizeof *box);
  if (grown == NULL) return NK_EMEMORY;
  canvas->taken = grown;
  canvas->taken[canvas->n_taken++] = *box;
  return NK_OK;
}

/* Labels do not cover the line either. */
static int take_cut(struct plot_canvas *canvas, const struct plot_cut *cut) {
  struct plot_box box = canvas->inside;
  if (cut->vertical) {
    box.x0 = box.x1 = plot_axis_position(&canvas->x, cut->at);
  } else {
    box.y0 = box.y1 = plot_axis_position(&canvas->y, cut->at);
  }
  return add_taken(canvas, &box);
}

/* The text of a cut: beside the top of a vertical one, above the right end of a horizontal one. */
static int lay_cut_text(struct plot_canvas *canvas, const struct plot_cut *cut) {
  struct plot_note note = {.text = plot_canvas_text(canvas, cut->text, true, 40)};
  if (note.text == NULL) return NK_EMEMORY;
  const struct plot_box *inside = &canvas->inside;
  double gap = canvas->text ? 1 : 0.5 * canvas->em;
  double width = plot_canvas_width(canvas, note.text, canvas->em);
  double position = plot_axis_position(cut->vertical ? &canvas->x : &canvas->y, cut->at);
  if (cut->vertical) {
    note.side = position + gap + width < inside->x1 ? 1 : -1;
    note.x = position + note.side * gap;
    note.y = inside->y1 - 0.6 * canvas->line;
    for (size_t i = 0; i < canvas->n_taken; i++) /* below another one that it would overlap */
      if (note.y < canvas->taken[i].y1 && note.y > canvas->taken[i].y0 &&
          note.x < canvas->taken[i].x1 && note.x + width > canvas->taken[i].x0)
        note.y = canvas->taken[i].y0 - 0.6 * canvas->line;
  } else {
    note.side = -1;
    note.x = inside->x1 - gap;
    note.y = position + 0.6 * canvas->line;
    if (note.y + canvas->line / 2 > inside->y1) note.y = position - 0.6 * canvas->line;
  }
  double x0 = note.side > 0 ? note.x : note.x - width;
  struct plot_box box = {x0, note.y - canvas->line / 2, x0 + width, note.y + canvas->line / 2};
  int code = add_taken(canvas, &box);
  if (code != NK_OK) {
    nk_free(note.text);
    return code;
  }
  return plot_notes_add(&canvas->cut_texts, &note);
}

static int write_cuts(struct plot_canvas *canvas) {
  double at[2][PLOT_MAX_CUTS]; /* horizontal ones, vertical ones */
  size_t n[2] = {0, 0};
  for (size_t i = 0; i < canvas->n_cuts; i++) {
    const struct plot_cut *cut = &canvas->cut[i];
    const struct plot_axis *axis = cut->vertical ? &canvas->x : &canvas->y;
    if (cut->at < axis->lo || cut->at > axis->hi) continue; /* outside the asked range */
    at[cut->vertical][n[cut->vertical]++] = cut->at;
    int code = cut->text[0] != 0 ? lay_cut_text(canvas, cut) : NK_OK;
    if (code != NK_OK) return code;
  }
  for (size_t i = 0; i < canvas->n_cuts; i++) {
    int code = take_cut(canvas, &canvas->cut[i]);
    if (code != NK_OK) return code;
  }
  plot_script_numbers(&canvas->script, "Cut_level", at[0], n[0]);
  plot_script_numbers(&canvas->script, "Cut_upright", at[1], n[1]);
  plot_canvas_notes(canvas, "Cut", &canvas->cut_texts);
  return NK_OK;
}

/* A point per line; an empty line interrupts the line drawn. */
static void write_outlines(struct plot_canvas *canvas) {
  const struct plot *plot = canvas->plot;
  struct nk_buffer *script = &canvas->script;
  plot_script_number(script, "Outline_n", (double)plot->n_outlines);
  plot_script_data(script, "Outline");
  for (size_t o = 0; o < plot->n_outlines; o++) {
    size_t columns[2];
    outline_columns(plot, plot->outlines[o], columns);
    for (size_t row = 0; row < cli_frame_n_rows(plot->outlines[o]); row++) {
      double x, y;
      bool ok = cli_frame_number(plot->outlines[o], row, columns[0], &x) == NK_OK &&
                cli_frame_number(plot->outlines[o], row, columns[1], &y) == NK_OK && isfinite(x) &&
                isfinite(y) && !(plot->log_x && x <= 0) && !(plot->log_y && y <= 0);
      if (ok) nk_buffer_printf(script, "%.9g %.9g\n", x, y);
      if (!ok) nk_buffer_text(script, "\n");
    }
    nk_buffer_text(script, "\n");
  }
  plot_script_data_end(script);
}

static int write_names(struct plot_canvas *canvas) {
  struct nk_buffer *script = &canvas->script;
  const char *title = canvas->plot->title;
  char *shown = plot_canvas_text(canvas, title != NULL ? title : "", false, 0);
  if (shown == NULL) return NK_EMEMORY;
  plot_script_text(script, "Title", shown);
  nk_free(shown);
  plot_script_text(script, "X_name", canvas->x_name);
  plot_script_text(script, "Y_name", canvas->y_name);
  double above = canvas->inside.y1 + (canvas->text ? 1 : 0.85 * canvas->em);
  double edge = canvas->text ? 0 : 1.1 * canvas->em;
  plot_script_number(script, "Name_y", above / canvas->height);
  plot_script_number(script, "Edge_x", edge / canvas->width);
  double swatch = canvas->text ? 1 : 0.85 * canvas->em; /* from a legend entry's mark to its text */
  plot_script_number(script, "Swatch", swatch / canvas->width);
  double title_y = canvas->height - edge - (canvas->text ? 0 : 0.5 * canvas->title_em);
  plot_script_number(script, "Title_y", title_y / canvas->height);
  double below = canvas->text ? 0 : edge + 0.45 * canvas->em;
  plot_script_number(script, "Below_y", below / canvas->height);
  return NK_OK;
}

static void write_scale(struct plot_canvas *canvas) {
  struct nk_buffer *script = &canvas->script;
  bool any = canvas->scale.lo < canvas->scale.hi;
  plot_script_number(script, "Scale", any && !canvas->text);
  plot_script_text(script, "Scale_name", canvas->scale_name != NULL ? canvas->scale_name : "");
  struct plot_axis part =
      canvas->scale; /* positions from 0 to 1: the template has no logarithmic scale */
  part.from = 0;
  part.to = 1;
  for (size_t i = 0; i < part.ticks.n; i++)
    part.ticks.at[i] = plot_axis_position(&canvas->scale, part.ticks.at[i]);
  write_axis(canvas, "Scale", &part);
  plot_script_number(script, "Scale_x", (canvas->inside.x1 + 1.2 * canvas->em) / canvas->width);
  plot_script_number(script, "Scale_width", 0.9 * canvas->em / canvas->width);
}

int plot_canvas_layout(struct plot_canvas *canvas, bool x_categories, bool y_categories) {
  struct nk_buffer *script = &canvas->script;
  canvas->scale.from = 0;
  canvas->scale.to = 1;
  lay_scale(canvas);
  lay_frame(canvas, x_categories, y_categories);
  plot_script_number(script, "Left", canvas->inside.x0 / canvas->width);
  plot_script_number(script, "Right", canvas->inside.x1 / canvas->width);
  plot_script_number(script, "Bottom", canvas->inside.y0 / canvas->height);
  plot_script_number(script, "Top", canvas->inside.y1 / canvas->height);
  write_axis(canvas, "X", &canvas->x);
  write_axis(canvas, "Y", &canvas->y);
  write_scale(canvas);
  plot_canvas_notes(canvas, "Legend", &canvas->legend);
  nk_buffer_text(script, "Label_n = 0\n");
  write_outlines(canvas);
  int code = write_names(canvas);
  return code == NK_OK ? write_cuts(canvas) : code;
}
